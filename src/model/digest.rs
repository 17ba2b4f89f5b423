//! Digests: BLAKE3 of an entry's content, and those that other tools ask for.

use std::fmt;

/// BLAKE3 of an entry's content (plaintext), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `content`, held in memory.
    pub fn of(content: &[u8]) -> Self {
        blake3::hash(content).into()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    /// Prints 64 lower-case hexadecimal digits, as `b3sum` does.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(out)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({self})")
    }
}

/// Bytes that print as lower-case hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // A manifest has millions of them: they are written many digits at a time.
        let mut digits = [0; 64];
        self.0.chunks(32).try_for_each(|bytes| {
            for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
                pair.copy_from_slice(
                    &[byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]),
                );
            }
            let digits = &digits[..2 * bytes.len()];
            out.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
        })
    }
}

/// Which digests a run records beside BLAKE3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraKinds {
    /// SHA-256 (FIPS 180-4).
    pub sha256: bool,
    /// MD5 (RFC 1321). Nobody should trust it; there are tools that know nothing else.
    pub md5: bool,
}

impl ExtraKinds {
    /// Whether any is asked for.
    pub fn any(self) -> bool {
        self.sha256 || self.md5
    }
}

/// What is recorded of a file's content beside its BLAKE3: digests that other tools ask for. Each is
/// of the content that the BLAKE3 is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraDigests {
    /// SHA-256, 32 bytes.
    pub sha256: Option<[u8; 32]>,
    /// MD5, 16 bytes.
    pub md5: Option<[u8; 16]>,
}

impl ExtraDigests {
    /// Whether a digest that is wanted is missing.
    pub fn lack(&self, wanted: ExtraKinds) -> bool {
        wanted.sha256 && self.sha256.is_none() || wanted.md5 && self.md5.is_none()
    }

    /// These, and of the `others` (which are of the same content) those that are missing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { sha256: self.sha256.or(others.sha256), md5: self.md5.or(others.md5) }
    }
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
        assert_eq!(Digest::from(hash).to_string(), hash.to_hex().as_str());
    }
}
