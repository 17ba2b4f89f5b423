//! Percent-encoded text, read strictly.

/// Decodes `%XX` with digits of either case; `None` for a `%` before anything else, which the crate
/// would keep as it is.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_encoding::percent_decode(text).collect();
    // A valid escape is three bytes and becomes one.
    let escapes = text.split(|&byte| byte == b'%').count() - 1;
    (decoded.len() + 2 * escapes == text.len()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_of_either_case_are_decoded_once() {
        let decoded = decode(b"a%2f%2F%252e%00%FF+\xff");
        assert_eq!(decoded.as_deref(), Some(&b"a//%2e\0\xff+\xff"[..]));
    }

    #[test]
    fn a_broken_escape_is_refused_beside_whole_ones_too() {
        for broken in [&b"%"[..], b"%2", b"%2x", b"%+1", b"%%41", b"%41%", b"%4%41", b"%%%414141"] {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }
}
