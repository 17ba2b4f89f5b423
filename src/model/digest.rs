//! BLAKE3 digests of content, and digests of other kinds that are recorded on request.

use super::hex::Hex;
use std::fmt;

/// BLAKE3 of an entry's content (plaintext), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Computes the digest of content in memory.
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

/// Which digests a run records beside BLAKE3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraKinds {
    /// SHA-256 (FIPS 180-4).
    pub sha256: bool,
    /// MD5 (RFC 1321). It is broken, but some tools know nothing else.
    pub md5: bool,
}

impl ExtraKinds {
    /// Returns whether any is requested.
    pub fn any(self) -> bool {
        self.sha256 || self.md5
    }
}

/// Digests of a file's content that are recorded beside its BLAKE3, of the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraDigests {
    /// SHA-256, 32 bytes.
    pub sha256: Option<[u8; 32]>,
    /// MD5, 16 bytes.
    pub md5: Option<[u8; 16]>,
}

impl ExtraDigests {
    /// Returns whether a wanted digest is missing.
    pub fn lack(&self, wanted: ExtraKinds) -> bool {
        wanted.sha256 && self.sha256.is_none() || wanted.md5 && self.md5.is_none()
    }

    /// Fills in missing digests from `others`, which are of the same content.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { sha256: self.sha256.or(others.sha256), md5: self.md5.or(others.md5) }
    }
}
