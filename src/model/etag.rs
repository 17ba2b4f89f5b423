//! Entity tags: what a store says of an object's content.

use super::{Digest, hex};
use std::fmt;

/// An object's `ETag` as the store lists it, without the quotes around it.
///
/// It changes with the content; it is an MD5 only where [`ETag::md5`] says that it can be one, and
/// even then only if the store says so. At most [`ETag::LONGEST`] bytes, kept inline: stamps are
/// copied a lot. A tag that is longer, or that no header can hold, is kept as a digest of it, which
/// tells it from others and can't be sent back ([`ETag::is_whole`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    length: u8,
    bytes: [u8; Self::LONGEST],
}

/// What the digest of a tag begins with; 32 hexadecimal digits follow.
const DIGEST: &str = "~";

impl ETag {
    /// The longest tag that is kept as it is, in bytes: those of the stores in use have at most 40.
    pub const LONGEST: usize = 63;

    /// Takes a tag as a listing or a header has it, in quotes or without; `None` for an empty one.
    ///
    /// The mark of a weak one is left out: proxies add it to what the store lists without.
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

    /// Whether it is what the store gave, rather than a digest of that: only then can it be sent
    /// back.
    pub fn is_whole(&self) -> bool {
        !self.as_str().starts_with(DIGEST)
    }

    /// The tag without quotes: printable ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length.into()]).expect("only ASCII is let in")
    }

    /// The MD5 of the whole content that this tag may be.
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.hash().filter(|hash| hash.parts.is_none()).map(|hash| hash.md5)
    }

    /// The hash that this tag may be: that of an object that was uploaded in one part has 32
    /// hexadecimal digits, that of several parts goes on with `-` and their number
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

/// The hash of an object's content that its tag may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHash {
    /// The MD5 of the content, or where that came in parts the MD5 of their MD5s.
    pub md5: [u8; 16],
    /// How many parts it came in; `None` where it came as a whole.
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
    fn a_tag_of_any_length_and_form_is_told_from_others() {
        for text in [&b"a b"[..], b"a\"b", b"a\nb", b"\xff", &[b'x'; 64], &[b'x'; 5000]] {
            let tag = ETag::new(text).expect("a tag");
            assert!(!tag.is_whole(), "{text:?}");
            assert_eq!(ETag::new(tag.as_str().as_bytes()), Some(tag), "as a record has it");
            let other = ETag::new(&[text, b"x"].concat()).expect("a tag");
            assert_ne!(tag, other);
        }
        assert!(ETag::new(&[b'x'; ETag::LONGEST]).expect("a tag").is_whole());
        for none in [&b""[..], b"\"\"", b"W/\"\""] {
            assert_eq!(ETag::new(none), None);
        }
    }

    #[test]
    fn a_weak_tag_is_the_one_that_the_store_lists() {
        assert_eq!(ETag::new(b"W/\"0a-2\""), ETag::new(b"0a-2"));
        assert_ne!(ETag::new(b"W/0a-2"), ETag::new(b"0a-2"), "no mark, but a part of it");
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
