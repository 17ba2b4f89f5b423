//! Entity tags: a store's version tags of an object's content.

use super::{Digest, hex};
use std::fmt;

/// An object's `ETag` as the store lists it, without the quotes around it.
///
/// It changes with the content. It can be an MD5 only if [`ETag::md5`] returns one, and even then
/// only if the store documents it so. At most [`ETag::LONGEST`] bytes, kept inline because stamps
/// are copied a lot. A tag that is longer, or that a header can't hold, is replaced by its digest,
/// which distinguishes it from others but can't be sent back ([`ETag::is_whole`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    length: u8,
    bytes: [u8; Self::LONGEST],
}

/// Prefix of a tag's digest; 32 hexadecimal digits follow.
const DIGEST: &str = "~";

impl ETag {
    /// Maximum length in bytes of a tag that is kept as it is: known stores use at most 40.
    pub const LONGEST: usize = 63;

    /// Parses a tag from a listing or a header, quoted or not; `None` for an empty one.
    ///
    /// The prefix `W/` of a weak tag is dropped: proxies add it to tags that listings have without.
    pub fn new(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"W/").filter(|rest| rest.starts_with(b"\"")).unwrap_or(text);
        let text =
            text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(text);
        let legal = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"';
        if text.is_empty() {
            return None;
        }
        if text.len() > Self::LONGEST || !text.iter().all(legal) {
            let digest = Digest::of(text).to_string();
            return Some(Self::kept(format!("{DIGEST}{}", &digest[..32]).as_bytes()));
        }
        Some(Self::kept(text))
    }

    fn kept(text: &[u8]) -> Self {
        let mut bytes = [0; Self::LONGEST];
        bytes[..text.len()].copy_from_slice(text);
        Self { length: text.len() as u8, bytes }
    }

    /// Returns whether this is the store's tag rather than a digest of it: only then can it be sent
    /// back.
    pub fn is_whole(&self) -> bool {
        !self.as_str().starts_with(DIGEST)
    }

    /// Returns the tag without quotes: printable ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length.into()]).expect("only ASCII is let in")
    }

    /// Returns the MD5 of the whole content, if the tag has the form of one.
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.hash().filter(|hash| hash.parts.is_none()).map(|hash| hash.md5)
    }

    /// Returns the hash, if the tag has the form of one: 32 hexadecimal digits for an object
    /// uploaded in one part, followed by `-` and the number of parts for others
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
    pub fn hash(&self) -> Option<TagHash> {
        let (text, parts) = match self.as_str().split_once('-') {
            Some((text, parts)) => {
                let parts = parts.parse().ok().filter(|_| !parts.starts_with(['+', '0']))?;
                (text, Some(parts))
            }
            None => (self.as_str(), None),
        };
        hex::decode(text.as_bytes()).map(|md5| TagHash { md5, parts })
    }
}

/// The hash of an object's content, read from its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHash {
    /// The MD5 of the content; for a multipart upload the MD5 of the parts' MD5s.
    pub md5: [u8; 16],
    /// The number of parts; `None` for an object uploaded as a whole.
    pub parts: Option<u32>,
}

impl fmt::Display for ETag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ETag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_kept_without_its_quotes_and_without_loss() {
        let tag = ETag::new(b"\"0a-2\"").expect("a tag");
        assert_eq!(tag.as_str(), "0a-2");
        assert_eq!(Some(tag), ETag::new(b"0a-2"));
        assert_eq!(ETag::new(&[b'x'; ETag::LONGEST]).expect("a tag").as_str().len(), ETag::LONGEST);
    }

    #[test]
    fn long_and_illegal_tags_are_replaced_by_distinct_digests() {
        for text in [&b"a b"[..], b"a\"b", b"a\nb", b"\xff", &[b'x'; 64], &[b'x'; 5000]] {
            let tag = ETag::new(text).expect("a tag");
            assert!(!tag.is_whole(), "{text:?}");
            assert_eq!(ETag::new(tag.as_str().as_bytes()), Some(tag), "as read from a record");
            let other = ETag::new(&[text, b"x"].concat()).expect("a tag");
            assert_ne!(tag, other);
        }
        assert!(ETag::new(&[b'x'; ETag::LONGEST]).expect("a tag").is_whole());
        for none in [&b""[..], b"\"\"", b"W/\"\""] {
            assert_eq!(ETag::new(none), None);
        }
    }

    #[test]
    fn a_weak_tag_equals_the_tag_that_the_store_lists() {
        assert_eq!(ETag::new(b"W/\"0a-2\""), ETag::new(b"0a-2"));
        assert_ne!(ETag::new(b"W/0a-2"), ETag::new(b"0a-2"), "a part of the tag, not a prefix");
    }

    #[test]
    fn only_the_tag_of_a_single_part_can_be_an_md5() {
        let md5 = |text: &str| ETag::new(text.as_bytes()).expect("a tag").md5();
        assert_eq!(md5("d41d8cd98f00b204e9800998ecf8427e").map(|md5| md5[0]), Some(0xd4));
        assert_eq!(md5("d41d8cd98f00b204e9800998ecf8427e-2"), None);
        let parts = |text: &str| {
            let hash = ETag::new(text.as_bytes()).expect("a tag").hash();
            hash.map(|hash| (hash.md5[0], hash.parts))
        };
        assert_eq!(parts("d41d8cd98f00b204e9800998ecf8427e-2"), Some((0xd4, Some(2))));
        assert_eq!(parts("d41d8cd98f00b204e9800998ecf8427e"), Some((0xd4, None)));
        for none in ["-0", "-", "-+2", "-2-2", "-x", "-02", "-99999999999"] {
            assert_eq!(parts(&format!("d41d8cd98f00b204e9800998ecf8427e{none}")), None, "{none}");
        }
        assert_eq!(md5("+41d8cd98f00b204e9800998ecf8427e"), None);
    }
}
