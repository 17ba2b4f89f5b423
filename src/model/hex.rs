//! Hexadecimal digits: written in lower case, read in either.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use std::fmt;

/// Bytes that print as lower-case hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A manifest has millions of digests, so each is written by one call.
        let mut digits = [0; 64];
        self.0.chunks(32).try_for_each(|bytes| {
            out.write_str(HEXLOWER.encode_mut_str(bytes, &mut digits[..2 * bytes.len()]))
        })
    }
}

/// Reads two digits per byte; `None` for any other text.
pub fn decode<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    HEXLOWER_PERMISSIVE.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_each_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        for bytes in [&bytes[..], &bytes[..16], &bytes[..33], &[]] {
            let expected: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Hex(bytes).to_string(), expected.concat());
        }
        let hash = blake3::hash(b"");
        assert_eq!(Hex(hash.as_bytes()).to_string(), hash.to_hex().as_str());
    }

    #[test]
    fn digits_of_either_case_are_read_and_nothing_else() {
        assert_eq!(decode(b"00fFA9"), Some([0, 0xff, 0xa9]));
        assert_eq!(decode(b""), Some([]));
        for broken in [&b"00ff"[..], b"00ffa", b"00ffa90", b"+0ffa9", b"00ffg9", b"00 fa9"] {
            assert_eq!(decode::<3>(broken), None, "{broken:?}");
        }
    }
}
