//! Percent-encoding of keys, byte by byte.
//!
//! The path of a request and the path that is signed are the same text: S3 signs the path as it is
//! sent, encoded once and not normalised
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a key for a path: `/` and unreserved characters stay, all else is encoded.
pub(super) fn path(key: &[u8], out: &mut String) {
    encode(key, b'/', out);
}

/// Appends a name or value for a query: only unreserved characters stay.
pub(super) fn query(value: &[u8], out: &mut String) {
    encode(value, b'-', out);
}

fn encode(bytes: &[u8], kept: u8, out: &mut String) {
    out.reserve(bytes.len());
    for &byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if unreserved || byte == kept {
            out.push(byte.into());
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)].into());
            out.push(HEX[usize::from(byte & 15)].into());
        }
    }
}

/// Decodes a key as a listing with `encoding-type=url` has it; `None` if it is not encoded so.
///
/// A `+` is a space: AWS and the stores after it encode as forms do, and write a plus as `%2B`.
pub(super) fn decode(text: &[u8]) -> Option<Box<[u8]>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            _ => byte,
        });
    }
    Some(bytes.into_boxed_slice())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
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
