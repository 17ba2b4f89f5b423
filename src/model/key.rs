//! Keys: an entry's name below its root, as bytes.
//!
//! One order holds everywhere: byte order of the full key, `/` an ordinary byte. A directory is the
//! key `name/`, the root the empty key. A key is opaque; each backend says which keys it can hold.

use std::borrow::Borrow;
use std::fmt;

/// Bytes of a key beyond which it is long, as that of an entry deep in a tree: such keys are held a
/// few at a time, so that memory doesn't grow with the square of the depth. No path that the kernel
/// takes at once is longer (`PATH_MAX`).
pub const LONG_KEY: usize = 4_096;

/// An entry's name below its root: bytes, `/` between components, a directory's key ends in `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Makes a key from bytes as they are.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Makes the key of the root directory: no bytes.
    pub fn root() -> Self {
        Self::default()
    }

    /// Makes the key of `name` in the directory `parent` (which ends in `/` or is the root).
    pub fn child(parent: &[u8], name: &[u8], is_directory: bool) -> Self {
        let mut bytes = Vec::with_capacity(parent.len() + name.len() + usize::from(is_directory));
        bytes.extend_from_slice(parent);
        bytes.extend_from_slice(name);
        if is_directory {
            bytes.push(b'/');
        }
        Self(bytes.into_boxed_slice())
    }

    /// Returns the key that an entry in the directory `from`, or that itself, has when it is renamed to
    /// `to`.
    ///
    /// # Panics
    /// If the key isn't within `from`.
    #[must_use]
    pub fn moved(&self, from: &Self, to: &Self) -> Self {
        Self::new([&*to.0, &self.0[from.0.len()..]].concat())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether it has more than `LONG_KEY` bytes.
    pub fn is_long(&self) -> bool {
        self.0.len() > LONG_KEY
    }

    /// Returns whether this is the root directory.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this is a directory's key: the root, or one that ends in `/`.
    pub fn is_directory(&self) -> bool {
        self.0.last().is_none_or(|&byte| byte == b'/')
    }

    /// Returns the key without a directory's final `/`.
    pub fn trimmed(&self) -> &[u8] {
        self.0.strip_suffix(b"/").unwrap_or(&self.0)
    }

    /// Returns the key of the directory that holds this entry, with its final `/`; empty for the
    /// root.
    pub fn parent(&self) -> &[u8] {
        let trimmed = self.trimmed();
        match trimmed.iter().rposition(|&byte| byte == b'/') {
            Some(at) => &self.0[..=at],
            None => &[],
        }
    }

    /// Returns the last component, without a directory's final `/`.
    pub fn name(&self) -> &[u8] {
        &self.trimmed()[self.parent().len()..]
    }

    /// Returns whether this entry lies in the directory `prefix` (at any depth) or is that
    /// directory.
    pub fn is_within(&self, prefix: &[u8]) -> bool {
        self.0.starts_with(prefix)
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    /// Prints the key so that it is safe in a terminal; the root prints as `.`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return out.write_str(".");
        }
        write!(out, "{}", Escaped(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", Escaped(&self.0))
    }
}

/// Bytes of a name, printed without control characters.
///
/// Control characters, characters that turn the writing direction, backslashes, and bytes that are
/// not UTF-8 print as escapes (`\n`, `\u{202e}`, `\\`, `\xff`), so that two names never print alike
/// and no name can move a terminal's cursor.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => out.write_str("\\\\")?,
                    _ if character.is_control() || turns_direction(character) => {
                        write!(out, "{}", character.escape_default())?;
                    }
                    _ => out.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Reverses [`Escaped`]; `None` if `text` has no escapes, or illegal ones.
pub fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = std::str::from_utf8(text).ok().filter(|text| text.contains('\\'))?;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let kind = escape.chars().next()?;
        rest = &escape[kind.len_utf8()..];
        match kind {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'x' => {
                let digits = rest.get(..2)?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let (digits, behind) = rest.strip_prefix('{')?.split_once('}')?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
            }
            _ => return None,
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// Returns whether untrusted text can be printed as it is: nothing in it moves a cursor or changes
/// the writing direction.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() || turns_direction(character))
}

/// Makes untrusted text printable, escaping it if necessary.
pub fn printable(text: String) -> String {
    if is_printable(&text) { text } else { Escaped(text.as_bytes()).to_string() }
}

/// Returns whether a character reorders or hides its neighbours (Unicode's `Bidi_Control`, line
/// separators, and the byte-order mark).
fn turns_direction(character: char) -> bool {
    matches!(character,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_name_split_at_the_last_component() {
        for (key, parent, name) in
            [("a", "", "a"), ("a/", "", "a"), ("a/b", "a/", "b"), ("a/b/", "a/", "b"), ("", "", "")]
        {
            let key = Key::new(key.as_bytes());
            assert_eq!(key.parent(), parent.as_bytes(), "{key:?}");
            assert_eq!(key.name(), name.as_bytes(), "{key:?}");
        }
    }

    #[test]
    fn escapes_what_would_move_a_cursor_or_read_two_ways() {
        let name = Escaped(b"a\nb\x1b[2J\xff\xc3\xa9 \\x \xe2\x80\xae");
        assert_eq!(name.to_string(), "a\\nb\\u{1b}[2J\\xffé \\\\x \\u{202e}");
    }

    #[test]
    fn what_is_escaped_can_be_read_back() {
        let name = b"a\nb\t\x1b[2J\xff\xc3\xa9 \\x \xe2\x80\xae";
        let printed = Escaped(name).to_string();
        assert_eq!(unescaped(printed.as_bytes()).as_deref(), Some(&name[..]));
        for text in ["plain", "a\\", "a\\q", "a\\x", "a\\xg0", "a\\xé", "a\\u{d800}", "a\\u{41"] {
            assert_eq!(unescaped(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_directory_sorts_by_its_name_with_a_slash() {
        let mut keys: Vec<_> =
            ["a/", "a-b", "a", "a/b", "a.c"].map(|k| Key::new(k.as_bytes())).into();
        keys.sort();
        let sorted: Vec<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a-b", "a.c", "a/", "a/b"]);
    }
}
