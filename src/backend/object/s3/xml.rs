//! A strict reader for the store's XML: anything truncated, nested unexpectedly or not understood
//! is an error, never an end. Parts without meaning, such as comments, are skipped.

use super::super::StoreError;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::str::FromStr;

/// The byte order mark, which has no meaning in UTF-8.
const MARK: char = '\u{feff}';

/// A reader of one document, element by element.
///
/// A call of [`Xml::child`] that returns a name has opened that element. It must be followed by
/// [`Xml::text`], [`Xml::skip`], or calls of [`Xml::child`] until one returns `None`.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
}

/// An element's name without its prefix.
pub(super) struct Name<'a>(quick_xml::events::BytesStart<'a>);

impl Name<'_> {
    pub(super) fn as_str(&self) -> &str {
        let name = self.0.name().into_inner();
        name.split_once(':').map_or(name, |(_, local)| local)
    }
}

fn broken(why: impl std::fmt::Display) -> StoreError {
    StoreError::bad_reply(format!("XML that cannot be read: {why}"))
}

impl<'a> Xml<'a> {
    /// Opens a document's outermost element.
    pub(super) fn open(document: &'a [u8]) -> Result<(Self, Name<'a>), StoreError> {
        let text = std::str::from_utf8(document).map_err(broken)?;
        // Some stores send white space first to keep the connection open.
        let text =
            text.trim_start_matches(|first: char| first.is_ascii_whitespace() || first == MARK);
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut xml = Self { reader };
        loop {
            match xml.next()? {
                Event::Start(start) => return Ok((xml, Name(start))),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Eof => return Err(broken("there is none")),
                _ => return Err(broken("it does not begin with an element")),
            }
        }
    }

    /// Opens a document whose outermost element must be `root`.
    pub(super) fn expect(document: &'a [u8], root: &str) -> Result<Self, StoreError> {
        let (xml, name) = Self::open(document)?;
        if name.as_str() == root {
            Ok(xml)
        } else {
            Err(broken(format!("{:?} where {root:?} belongs", name.as_str())))
        }
    }

    /// Opens the next element within the open one; `None` closes the open one.
    pub(super) fn child(&mut self) -> Result<Option<Name<'a>>, StoreError> {
        loop {
            match self.next()? {
                Event::Start(start) => return Ok(Some(Name(start))),
                Event::End(_) => return Ok(None),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Eof => return Err(broken("it ends early")),
                _ => return Err(broken("text where elements belong")),
            }
        }
    }

    /// Reads the text of the open element and closes it.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let mut content = String::new();
        loop {
            match self.next()? {
                Event::Text(text) => content.push_str(&text),
                Event::CData(text) => content.push_str(&text),
                Event::GeneralRef(reference) => {
                    content.push(match reference.resolve_char_ref().map_err(broken)? {
                        Some(character) => character,
                        None => named(&reference)?,
                    });
                }
                Event::Comment(_) => {}
                Event::End(_) => return Ok(content),
                Event::Eof => return Err(broken("it ends early")),
                _ => return Err(broken("elements where text belongs")),
            }
        }
    }

    /// Parses the text of the open element as a value.
    pub(super) fn value<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.trim_ascii().parse().map_err(|_| broken(format!("{text:?} is not a valid value")))
    }

    /// Parses the text of the open element as a boolean.
    pub(super) fn truth(&mut self) -> Result<bool, StoreError> {
        let text = self.text()?;
        match text.trim_ascii().to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(broken(format!("{text:?} is neither true nor false"))),
        }
    }

    /// Skips the open element.
    pub(super) fn skip(&mut self) -> Result<(), StoreError> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Eof => return Err(broken("it ends early")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that nothing follows the outermost element, which must be closed.
    pub(super) fn end(mut self) -> Result<(), StoreError> {
        loop {
            match self.next()? {
                Event::Eof => return Ok(()),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                _ => return Err(broken("more than one document")),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, StoreError> {
        match self.reader.read_event().map_err(broken)? {
            Event::DocType(_) => Err(broken("a document type is not expected")),
            event => Ok(event),
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

fn named(name: &str) -> Result<char, StoreError> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(broken(format!("&{name}; is not known"))),
    }
}

/// Sets a value that may occur only once, or again with the same value.
pub(super) fn once<T: PartialEq>(
    place: &mut Option<T>,
    value: T,
    name: &str,
) -> Result<(), StoreError> {
    match place {
        Some(before) if *before != value => Err(broken(format!("{name} comes with two values"))),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

/// Returns a value that is required.
pub(super) fn required<T>(value: Option<T>, name: &str) -> Result<T, StoreError> {
    value.ok_or_else(|| broken(format!("{name} is missing")))
}

/// Appends text with XML's special characters as references. Returns false, and appends nothing,
/// for text that no XML document can contain.
pub(super) fn escape(bytes: &[u8], out: &mut String) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let illegal = |character: char| match character {
        '\t' | '\n' | '\r' => false,
        '\u{fffe}' | '\u{ffff}' => true,
        // Control characters from U+007F on are legal, but not all parsers keep them.
        _ => character.is_control(),
    };
    if text.contains(illegal) {
        return false;
    }
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(character),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stores_write() {
        let document = b"\xef\xbb\xbf \n<?xml version=\"1.0\"?><?style x?><!-- x -->\n<s3:A xmlns:s3='u'><B>1 &amp; &#34;\
            &#x1;<![CDATA[<]]></B>\n<C/><D><E><F/></E></D><G> 7 </G></s3:A>\n";
        let mut xml = Xml::expect(document, "A").expect("A");
        let next = |xml: &mut Xml<'_>| {
            xml.child().expect("well-formed").map(|name| name.as_str().to_owned())
        };
        assert_eq!(next(&mut xml).as_deref(), Some("B"));
        assert_eq!(xml.text().expect("text"), "1 & \"\u{1}<");
        assert_eq!(next(&mut xml).as_deref(), Some("C"));
        assert_eq!(xml.text().expect("no text"), "");
        assert_eq!(next(&mut xml).as_deref(), Some("D"));
        xml.skip().expect("elements");
        assert_eq!(next(&mut xml).as_deref(), Some("G"));
        assert_eq!(xml.value::<u64>().expect("a number"), 7);
        assert_eq!(next(&mut xml), None);
        xml.end().expect("nothing more");
    }

    fn read(document: &[u8]) -> Result<(), StoreError> {
        let mut xml = Xml::expect(document, "A")?;
        while xml.child()?.is_some() {
            xml.text()?;
        }
        xml.end()
    }

    #[test]
    fn every_cut_is_an_error() {
        let document = b"<?xml version=\"1.0\"?><A><B>1&amp;2</B><C/></A>";
        read(document).expect("whole");
        for length in 0..document.len() {
            read(&document[..length]).expect_err("cut");
        }
    }

    #[test]
    fn doubtful_documents_are_errors() {
        for document in [
            "<A><B>1</C></A>",
            "<A>text</A>",
            "<A><B><C/></B></A>",
            "<A><B>&nbsp;</B></A>",
            "<A/><A/>",
            "<!DOCTYPE A><A/>",
            "<html/>",
            "{}",
        ] {
            read(document.as_bytes()).expect_err(document);
        }
        read(b"<A><B>\xff</B></A>").expect_err("not UTF-8");
    }

    #[test]
    fn escapes_what_xml_can_hold() {
        let mut text = String::new();
        assert!(escape("a<b>&\r\n\té".as_bytes(), &mut text));
        assert_eq!(text, "a&lt;b&gt;&amp;&#13;&#10;&#9;é");
        for key in [&b"a\x01"[..], b"\xff", "\u{ffff}".as_bytes()] {
            assert!(!escape(key, &mut text));
        }
    }
}
