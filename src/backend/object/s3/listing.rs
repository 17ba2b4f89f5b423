//! Requesting and parsing pages of a listing.

use super::super::{ListQuery, Listed, Page, StoreError};
use super::S3;
use super::call::Request;
use super::encode;
use super::reply;
use super::time;
use super::xml::{Xml, once, required};
use crate::model::{ETag, RequestKind, Timestamp};
use http::Method;

/// The `Server` header of a store that lists `a/b` before `a-b`: by components, not by bytes.
const OF_ITS_OWN_ORDER: &str = "SeaweedFS";

impl S3 {
    /// Requests one page of a listing.
    ///
    /// A key or prefix that occurs twice in a row with the same attributes counts once.
    ///
    /// # Errors
    /// `BadReply` for anything doubtful in a page: what isn't understood is not taken for absent.
    pub fn list(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        let limit = query.limit.map(|limit| limit.to_string());
        let parameters = [
            ("continuation-token", query.token.map(str::as_bytes)),
            ("delimiter", query.delimiter.then_some(&b"/"[..])),
            ("encoding-type", Some(&b"url"[..])),
            ("list-type", Some(b"2")),
            ("max-keys", limit.as_deref().map(str::as_bytes)),
            ("prefix", Some(query.prefix)),
            ("start-after", query.after.filter(|_| query.token.is_none())),
        ];
        let parameters: Vec<_> =
            parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let request = Request::new(self, RequestKind::List, Method::GET, None, &parameters)?;
        self.call(&request, |reply| {
            let mut page = read(reply.document()?, query)?;
            let server = reply::text(&reply.headers, "server").unwrap_or_default();
            page.date = reply::text(&reply.headers, "date").and_then(time::parse);
            let keys = page.objects.windows(2);
            page.in_order = !server.starts_with(OF_ITS_OWN_ORDER)
                && keys.into_iter().all(|pair| pair[0].key < pair[1].key);
            if page.next.is_some() && page.next.as_deref() == query.token {
                return Err(StoreError::bad_reply("the next page has the same marker as this one"));
            }
            Ok(page)
        })
    }
}

/// The default number of objects and prefixes of a page.
const FULL_PAGE: usize = 1000;

fn read(mut xml: Xml<'_>, query: &ListQuery<'_>) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let (mut encoding, mut truncated, mut next, mut most) = (None, None, None, None);
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "MaxKeys" => most = xml.text()?.trim_ascii().parse::<usize>().ok(),
            "EncodingType" => once(&mut encoding, xml.text()?, "EncodingType")?,
            "IsTruncated" => once(&mut truncated, xml.truth()?, "IsTruncated")?,
            "NextContinuationToken" => once(&mut next, xml.text()?, "NextContinuationToken")?,
            "Contents" => page.objects.push(read_object(&mut xml)?),
            "CommonPrefixes" => page.prefixes.push(read_prefix(&mut xml)?),
            _ => xml.skip()?,
        }
    }
    xml.end()?;

    // The element may come after the keys.
    let encoded = is_encoded(encoding.as_deref())?;
    let keys = page.objects.iter_mut().map(|object| &mut object.key);
    for key in keys.chain(&mut page.prefixes) {
        if encoded {
            *key = decoded(key)?;
        }
        if !key.starts_with(query.prefix) {
            return Err(StoreError::bad_reply("it lists keys that were not asked for"));
        }
    }
    let listed = page.objects.len() + page.prefixes.len();
    let requested = query.limit.map_or(FULL_PAGE, usize::from);
    let full = most.map_or(requested, |most| most.min(requested));
    page.objects.dedup();
    page.prefixes.dedup();
    let next = next.filter(|token| !token.is_empty());
    page.next = match (truncated, next) {
        (Some(false), _) => None,
        (Some(true) | None, Some(token)) => Some(token),
        (Some(true), None) => {
            return Err(StoreError::bad_reply(
                "it says that more follows, but not where it continues",
            ));
        }
        // Some stores say this only if there is more. A page that isn't full is the last one.
        (None, None) if listed < full => None,
        (None, None) => {
            return Err(StoreError::bad_reply(
                "a full page, and it does not say whether more follows",
            ));
        }
    };
    Ok(page)
}

/// Returns whether keys are encoded, from the reply's element about it.
pub(super) fn is_encoded(encoding: Option<&str>) -> Result<bool, StoreError> {
    match encoding {
        None | Some("") => Ok(false),
        Some(url) if url.eq_ignore_ascii_case("url") => Ok(true),
        Some(other) => Err(StoreError::bad_reply(format!("its encoding is {other:?}"))),
    }
}

pub(super) fn decoded(key: &[u8]) -> Result<Box<[u8]>, StoreError> {
    encode::decode(key).ok_or_else(|| StoreError::bad_reply("a key is not encoded as it should be"))
}

fn read_object(xml: &mut Xml<'_>) -> Result<Listed, StoreError> {
    let (mut key, mut size, mut etag, mut modified, mut class) = (None, None, None, None, None);
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "Key" => once(&mut key, xml.text()?, "Key")?,
            "Size" => once(&mut size, xml.value::<u64>()?, "Size")?,
            "ETag" => once(&mut etag, xml.text()?, "ETag")?,
            "LastModified" => once(&mut modified, moment(xml)?, "LastModified")?,
            "StorageClass" => once(&mut class, xml.text()?, "StorageClass")?,
            _ => xml.skip()?,
        }
    }
    Ok(Listed {
        key: required(key, "Key")?.into_bytes().into_boxed_slice(),
        size: required(size, "Size")?,
        etag: etag.and_then(|etag| ETag::new(etag.as_bytes())),
        modified: modified.flatten(),
        archived: matches!(class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE")),
    })
}

fn read_prefix(xml: &mut Xml<'_>) -> Result<Box<[u8]>, StoreError> {
    let mut prefix = None;
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "Prefix" => once(&mut prefix, xml.text()?, "Prefix")?,
            _ => xml.skip()?,
        }
    }
    Ok(required(prefix, "Prefix")?.into_bytes().into_boxed_slice())
}

/// Reads the time in the open element; returns `None` if it isn't understood, because no decision
/// depends on it.
pub(super) fn moment(xml: &mut Xml<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(time::parse(&xml.text()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
        <Prefix>p%2B</Prefix><KeyCount>3</KeyCount><MaxKeys>3</MaxKeys>\
        <IsTruncated>true</IsTruncated><NextContinuationToken>1+/=</NextContinuationToken>\
        <Contents><Key>p%2B+%0A%C3%A9</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
        <ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><Size>434234</Size>\
        <Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>\
        <Contents><Key>p%2B./a//b/../</Key><Size>0</Size><StorageClass>GLACIER</StorageClass>\
        </Contents><CommonPrefixes><Prefix>p%2Bx/</Prefix></CommonPrefixes>\
        <EncodingType>url</EncodingType></ListBucketResult>";

    fn page(text: &str) -> Result<Page, StoreError> {
        let query = ListQuery { prefix: b"p+", limit: Some(3), ..ListQuery::default() };
        read(Xml::expect(text.as_bytes(), "ListBucketResult")?, &query)
    }

    #[test]
    fn a_page_is_read_whole() {
        let page = page(PAGE).expect("a page");
        let first = &page.objects[0];
        assert_eq!(&*first.key, "p+ \né".as_bytes());
        assert_eq!(first.size, 434_234);
        assert_eq!(first.etag, ETag::new(b"fba9dede5f27731c9771645a39863328"));
        assert_eq!(first.modified, Some(Timestamp { seconds: 1_255_369_830, nanos: 0 }));
        assert!(!first.archived);
        let second = &page.objects[1];
        assert_eq!((&*second.key, second.archived), (&b"p+./a//b/../"[..], true));
        assert_eq!((second.etag, second.modified), (None, None));
        assert_eq!(*page.prefixes, [b"p+x/"[..].into()]);
        assert_eq!(page.next.as_deref(), Some("1+/="));
    }

    #[test]
    fn keys_are_taken_as_they_are_when_nothing_says_that_they_are_encoded() {
        let text = PAGE.replace("<EncodingType>url</EncodingType>", "");
        page(&text).expect_err("the keys do not begin with the prefix then");
        let text = text.replace("p%2B", "p+").replace("%0A", "&#x1;");
        assert_eq!(&*page(&text).expect("a page").objects[0].key, b"p++\x01%C3%A9");
    }

    #[test]
    fn doubtful_pages_are_errors() {
        for (what, by) in [
            (
                "<IsTruncated>true</IsTruncated><NextContinuationToken>1+/=</NextContinuationToken>",
                "",
            ),
            ("<IsTruncated>true</IsTruncated>", "<IsTruncated>maybe</IsTruncated>"),
            (
                "<IsTruncated>true</IsTruncated>",
                "<IsTruncated>true</IsTruncated><IsTruncated>false</IsTruncated>",
            ),
            ("<NextContinuationToken>1+/=</NextContinuationToken>", ""),
            ("<NextContinuationToken>1+/=</NextContinuationToken>", "<NextContinuationToken/>"),
            ("<Size>0</Size>", ""),
            ("<Size>0</Size>", "<Size>-1</Size>"),
            ("<Size>0</Size>", "<Size>0</Size><Size>1</Size>"),
            ("<Key>p%2B./a//b/../</Key>", ""),
            ("<Key>p%2B./", "<Key>p%2B%2./"),
            ("<Key>p%2B./", "<Key>q%2B./"),
            (">url<", ">base64<"),
            ("</ListBucketResult>", ""),
        ] {
            let text = PAGE.replacen(what, by, 1);
            assert_ne!(text, PAGE, "{what}");
            page(&text).expect_err(&text);
        }
    }

    #[test]
    fn every_cut_of_a_page_is_an_error() {
        for length in 0..PAGE.len() {
            page(&PAGE[..length]).expect_err("cut");
        }
    }

    #[test]
    fn an_end_is_an_end() {
        for end in [">false<", ">False<", "> FALSE\n<", ">0<"] {
            let text = PAGE.replace(">true<", end);
            assert_eq!(page(&text).expect("a page").next, None);
        }
    }

    #[test]
    fn what_decides_nothing_may_come_in_any_form() {
        let whole = page(PAGE).expect("a page");
        let truncated = "<IsTruncated>true</IsTruncated>";
        for (what, by) in [
            // A token implies it.
            (truncated.to_owned(), String::new()),
            (truncated.to_owned(), truncated.repeat(2)),
            (truncated.to_owned(), "<IsTruncated>True</IsTruncated>".to_owned()),
            (">url<".to_owned(), ">URL<".to_owned()),
            ("<Size>0</Size>".to_owned(), "<Size>0</Size>".repeat(2)),
            (
                "<CommonPrefixes><Prefix>p%2Bx/</Prefix></CommonPrefixes>".to_owned(),
                "<CommonPrefixes><Prefix>p%2Bx/</Prefix></CommonPrefixes>".repeat(2),
            ),
        ] {
            let text = PAGE.replacen(&what, &by, 1);
            assert_ne!(text, PAGE, "{what}");
            assert_eq!(page(&text).expect(&text), whole);
        }
        let undated = PAGE.replace("2009-10-12T17", "2009-10-12 at 17");
        assert_eq!(page(&undated).expect("a page").objects[0].modified, None);
    }

    #[test]
    fn a_page_with_room_to_spare_is_the_last_one() {
        let ends = "<IsTruncated>true</IsTruncated>\
            <NextContinuationToken>1+/=</NextContinuationToken>";
        let prefix = "<CommonPrefixes><Prefix>p%2Bx/</Prefix></CommonPrefixes>";
        let text = PAGE.replacen(ends, "", 1).replacen(prefix, "", 1);
        assert_eq!(page(&text).expect("a page").next, None);
    }

    #[test]
    fn a_key_listed_twice_with_the_same_attributes_counts_once() {
        let start = PAGE.find("<Contents>").expect("there are objects");
        let end = PAGE.find("</Contents>").expect("and they end") + "</Contents>".len();
        let first = &PAGE[start..end];
        let twice = page(&PAGE.replacen(first, &first.repeat(2), 1)).expect("a page");
        assert_eq!(twice.objects, page(PAGE).expect("a page").objects);
        let other = first.replace("434234", "434235");
        let two = page(&PAGE.replacen(first, &(first.to_owned() + &other), 1)).expect("a page");
        assert_eq!(two.objects.len(), 3, "both are kept if they differ");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::model::fuzz::{Input, assert_printable, config, inputs};
    use proptest::prelude::*;
    use std::fmt::Write as _;

    /// Formats a page with the same objects and prefixes, as a store that encodes keys does.
    fn written(page: &Page) -> String {
        let encoded = |key: &[u8]| {
            let mut text = String::new();
            encode::path(key, &mut text);
            text
        };
        let mut text =
            "<L><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>".to_owned();
        for Listed { key, size, .. } in &page.objects {
            let key = encoded(key);
            write!(text, "<Contents><Key>{key}</Key><Size>{size}</Size></Contents>").unwrap();
        }
        for prefix in &page.prefixes {
            let prefix = encoded(prefix);
            write!(text, "<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>").unwrap();
        }
        text + "</L>"
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn whatever_a_store_sends_as_a_page(Input(bytes) in inputs("listing")) {
            let read = |bytes: &[u8], root: &str| {
                let query = ListQuery { prefix: b"photos/", ..ListQuery::default() };
                Xml::expect(bytes, root).and_then(|xml| super::read(xml, &query))
            };
            match read(&bytes, "ListBucketResult") {
                Ok(page) => {
                    let keys = || page.objects.iter().map(|object| &object.key).chain(&page.prefixes);
                    let all: usize = keys().map(|key| key.len()).sum();
                    prop_assert!(all <= bytes.len(), "no more than came");
                    prop_assert!(keys().all(|key| key.starts_with(b"photos/")));
                    let again = read(written(&page).as_bytes(), "L").unwrap();
                    prop_assert!(again.objects.iter().map(|object| &object.key).chain(&again.prefixes).eq(keys()));
                }
                Err(error) => assert_printable(&error),
            }
        }

        #[test]
        fn a_key_comes_back_as_it_was_encoded(key in prop::collection::vec(any::<u8>(), 0..40)) {
            for encode in [encode::path, encode::query] {
                let mut text = String::new();
                encode(&key, &mut text);
                let decoded = encode::decode(text.as_bytes());
                prop_assert_eq!(decoded.as_deref(), Some(&key[..]));
            }
        }
    }
}
