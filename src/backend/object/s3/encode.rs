//! Percent-encoding of keys, byte by byte.
//!
//! The path of a request is also the text that is signed: S3 signs the path as sent, encoded once
//! and not normalised
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use crate::model::percent;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What is encoded in a query: all but the unreserved characters (RFC 3986, section 2.3).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is encoded in a path, which is also the one that is signed.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Appends a key for a path: `/` and unreserved characters are kept, everything else is encoded.
pub(super) fn path(key: &[u8], out: &mut String) {
    out.extend(percent_encode(key, PATH));
}

/// Appends a name or value for a query: only unreserved characters are kept.
pub(super) fn query(value: &[u8], out: &mut String) {
    out.extend(percent_encode(value, QUERY));
}

/// Decodes a key from a listing with `encoding-type=url`; returns `None` if it is not encoded like
/// that.
///
/// A `+` is a space: AWS and compatible stores encode as HTML forms do and write a plus as `%2B`.
pub(super) fn decode(text: &[u8]) -> Option<Box<[u8]>> {
    let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    percent::decode(&spaced).map(Vec::into_boxed_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_once_and_not_normalised() {
        for (key, encoded) in [
            (&b"./x"[..], "./x"),
            (b"a/../b", "a/../b"),
            (b"a//b", "a//b"),
            (b"/a", "/a"),
            (b"a/", "a/"),
            (b"%2e", "%252e"),
            (b"a+b c", "a%2Bb%20c"),
            ("é".as_bytes(), "%C3%A9"),
            (b"\x01\n\xff", "%01%0A%FF"),
            (b"-._~!*'()&=?#", "-._~%21%2A%27%28%29%26%3D%3F%23"),
        ] {
            let mut text = String::new();
            path(key, &mut text);
            assert_eq!(text, encoded);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(key));
        }
    }

    #[test]
    fn a_query_encodes_slashes() {
        let mut text = String::new();
        query(b"a/b c", &mut text);
        assert_eq!(text, "a%2Fb%20c");
    }

    #[test]
    fn listed_keys_are_decoded_as_forms_are() {
        assert_eq!(decode(b"a+b%2bc%2Bd").as_deref(), Some(&b"a b+c+d"[..]));
        for broken in [&b"%"[..], b"%2", b"%2x", b"%+1"] {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }
}
