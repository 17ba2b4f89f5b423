//! Whether content has the hash that a store's tag may be.
//!
//! The tag of an object that was uploaded in parts is the MD5 of its parts' MD5s, and says how many
//! these were, but not how long. Where the store doesn't tell either, the lengths that clients are
//! known to choose are tried, several of them in one reading.

use crate::backend::object::OWN_PART_SIZES;
use crate::model::TagHash;
use md5::{Digest as _, Md5};

const MEBIBYTE: u64 = 1 << 20;
/// Lengths of parts in bytes that clients choose unless told otherwise: rclone and many libraries
/// 5 MiB, the AWS CLI 8, s3cmd 15, `MinIO`'s client 16, s5cmd 50, others 64 and 100.
const KNOWN: [u64; 7] = [5, 8, 15, 16, 50, 64, 100];
/// How many lengths are tried at most: each costs an MD5 of the content.
const TRIED: usize = 4;

/// What a tag may say of content.
#[derive(Debug)]
pub struct Tagged {
    wanted: TagHash,
    /// Lengths of parts to try; one that is longer than the content where it came as a whole.
    lengths: Vec<u64>,
}

impl Tagged {
    /// Prepares to tell content of `size` bytes by its tag; `first_part` is asked for the length of
    /// the first part, if anybody knows, where there are several. `None` where the tag can't be such
    /// content's.
    pub(super) fn new(
        wanted: TagHash,
        size: u64,
        first_part: impl FnOnce() -> Option<u64>,
    ) -> Option<Self> {
        let lengths = match wanted.parts {
            None | Some(1) => vec![u64::MAX],
            Some(parts) => lengths(size, parts.into(), first_part),
        };
        (!lengths.is_empty()).then_some(Self { wanted, lengths })
    }

    /// Begins with content.
    pub(super) fn hasher(&self) -> TagHasher {
        let in_parts = |&length: &u64| InParts {
            length,
            filled: 0,
            part: Md5::new(),
            parts: 0,
            all: self.wanted.parts.map(|_| Md5::new()),
        };
        TagHasher { wanted: self.wanted, tried: self.lengths.iter().map(in_parts).collect() }
    }
}

/// The lengths that so many parts of an object of `size` bytes may have.
fn lengths(size: u64, parts: u64, first_part: impl FnOnce() -> Option<u64>) -> Vec<u64> {
    let fits = |length: &u64| *length > 0 && size.div_ceil(*length) == parts;
    let (least, most) = (size.div_ceil(parts), size.saturating_sub(1) / (parts - 1).max(1));
    if least > most {
        return Vec::new();
    }
    if let Some(told) = first_part().filter(fits) {
        return vec![told];
    }
    let known = KNOWN.map(|length| length * MEBIBYTE).into_iter().chain(OWN_PART_SIZES);
    // Whatever else is chosen is most often a whole number of mebibytes.
    let whole = (least.div_ceil(MEBIBYTE)..=most / MEBIBYTE).map(|length| length * MEBIBYTE);
    let mut lengths = Vec::new();
    for length in known.chain(whole).filter(fits) {
        if lengths.len() == TRIED {
            break;
        }
        if !lengths.contains(&length) {
            lengths.push(length);
        }
    }
    lengths
}

/// The hashes that a tag may be, under way.
pub(super) struct TagHasher {
    wanted: TagHash,
    tried: Vec<InParts>,
}

impl TagHasher {
    pub(super) fn update(&mut self, chunk: &[u8]) {
        for tried in &mut self.tried {
            tried.update(chunk);
        }
    }

    /// Whether one of them is the tag.
    pub(super) fn finish(self) -> bool {
        self.tried.into_iter().any(|tried| tried.finish() == self.wanted)
    }
}

/// The hash of content in parts of one length.
struct InParts {
    length: u64,
    filled: u64,
    part: Md5,
    /// Parts that ended.
    parts: u32,
    /// Of the parts' hashes; `None` for content that came as a whole.
    all: Option<Md5>,
}

impl InParts {
    fn update(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.filled == self.length {
                self.end_part();
            }
            let room = self.length - self.filled;
            let fits = usize::try_from(room).map_or(chunk.len(), |room| room.min(chunk.len()));
            let (now, rest) = chunk.split_at(fits);
            self.part.update(now);
            self.filled += now.len() as u64;
            chunk = rest;
        }
    }

    fn end_part(&mut self) {
        let part = self.part.finalize_reset();
        if let Some(all) = &mut self.all {
            all.update(part);
        }
        (self.filled, self.parts) = (0, self.parts + 1);
    }

    fn finish(mut self) -> TagHash {
        if self.all.is_none() {
            return TagHash { md5: self.part.finalize().into(), parts: None };
        }
        self.end_part();
        let all = self.all.unwrap_or_default();
        TagHash { md5: all.finalize().into(), parts: Some(self.parts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;

    /// A tag as S3 makes it.
    fn tag(content: &[u8], length: usize) -> TagHash {
        let mut all = Md5::new();
        let mut parts = 0;
        for part in content.chunks(length) {
            all.update(Md5::digest(part));
            parts += 1;
        }
        TagHash { md5: all.finalize().into(), parts: Some(parts) }
    }

    fn is_met(tagged: &Tagged, content: &[u8], chunk: usize) -> bool {
        let mut hasher = tagged.hasher();
        content.chunks(chunk).for_each(|chunk| hasher.update(chunk));
        hasher.finish()
    }

    #[test]
    fn content_is_told_by_the_tag_of_its_parts_whatever_its_chunks() {
        let content: Vec<_> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        for length in [1_000, 33_333, 50_000, 99_999] {
            let wanted = tag(&content, length);
            let tagged = Tagged::new(wanted, 100_000, || Some(length as u64)).expect("it may be");
            for chunk in [1, 999, 50_000, 100_000] {
                assert!(is_met(&tagged, &content, chunk), "{length} {chunk}");
            }
            let mut other = content.clone();
            other[70_000] ^= 1;
            assert!(!is_met(&tagged, &other, 10_000));
        }
        let whole = tag(&content, content.len());
        assert!(is_met(&Tagged::new(whole, 100_000, || None).expect("one"), &content, 7_000));
    }

    #[test]
    fn content_is_told_by_the_tag_of_the_whole() {
        let tag = ETag::new(b"5d41402abc4b2a76b9719d911017c592").expect("a tag");
        let tagged = Tagged::new(tag.hash().expect("a hash"), 5, || panic!("it has no parts"));
        let tagged = tagged.expect("it may be");
        assert!(is_met(&tagged, b"hello", 2));
        assert!(!is_met(&tagged, b"hellO", 2));
    }

    #[test]
    fn lengths_are_those_that_give_so_many_parts() {
        let of = |size: u64, parts| {
            lengths(size, parts, || None).into_iter().map(|it| it / MEBIBYTE).collect::<Vec<_>>()
        };
        assert_eq!(of(17 * MEBIBYTE, 3), [8, 6, 7]);
        assert_eq!(of(17 * MEBIBYTE, 4), [5]);
        assert_eq!(of(120 * MEBIBYTE, 3), [50, 40, 41, 42]);
        assert_eq!(of(1 << 30, 128), [8]);
        assert_eq!(of(1 << 40, 8_739), [120]);
        assert_eq!(of(3, 4), [0_u64; 0], "more parts than bytes");
        let told = |told| lengths(17 * MEBIBYTE, 3, || Some(told));
        assert_eq!(told(6_000_001), [6_000_001]);
        assert_eq!(told(17 * MEBIBYTE).len(), 3, "the store took no notice");
        assert_eq!(told(0).len(), 3);
    }
}
