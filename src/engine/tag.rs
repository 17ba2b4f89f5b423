//! Comparison of content with the `ETag` of an object, which may be an MD5.
//!
//! The `ETag` of a multipart upload is the MD5 of its parts' MD5s; it gives the number of the parts,
//! but not their length. If the store doesn't return that either, the part sizes that clients
//! commonly use are tried, several of them in one read.

use crate::backend::object::OWN_PART_SIZES;
use crate::model::TagHash;
use md5::{Digest as _, Md5};

const MEBIBYTE: u64 = 1 << 20;
/// Part sizes in mebibytes that clients use by default: rclone and many libraries 5, the AWS CLI 8,
/// s3cmd 15, `MinIO`'s client 16, s5cmd 50, others 64 and 100.
const COMMON_PART_SIZES: [u64; 7] = [5, 8, 15, 16, 50, 64, 100];
/// The most part sizes that are tried: each costs an MD5 of the content.
const MAX_TRIED: usize = 4;

/// A tag with which content can be compared.
#[derive(Debug)]
pub struct Tagged {
    wanted: TagHash,
    /// Part sizes to try, in bytes; `u64::MAX` if the content was uploaded in one piece.
    lengths: Vec<u64>,
}

impl Tagged {
    /// Prepares the comparison with content of `size` bytes. `first_part` is called for the length
    /// of the first of several parts and returns `None` if that is unknown. Returns `None` if the
    /// tag can't be one of content of this size.
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

    /// Returns a hasher for content from its beginning.
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

/// Returns the part sizes to try for an object of `size` bytes in so many parts.
fn lengths(size: u64, parts: u64, first_part: impl FnOnce() -> Option<u64>) -> Vec<u64> {
    let fits = |length: &u64| *length > 0 && size.div_ceil(*length) == parts;
    let (least, most) = (size.div_ceil(parts), size.saturating_sub(1) / (parts - 1).max(1));
    if least > most {
        return Vec::new();
    }
    if let Some(length) = first_part().filter(fits) {
        return vec![length];
    }
    let known = COMMON_PART_SIZES.map(|length| length * MEBIBYTE).into_iter().chain(OWN_PART_SIZES);
    // Other part sizes are most often a whole number of mebibytes.
    let whole = (least.div_ceil(MEBIBYTE)..=most / MEBIBYTE).map(|length| length * MEBIBYTE);
    let mut lengths = Vec::new();
    for length in known.chain(whole).filter(fits) {
        if lengths.len() == MAX_TRIED {
            break;
        }
        if !lengths.contains(&length) {
            lengths.push(length);
        }
    }
    lengths
}

/// Hashes content for all part sizes that are tried.
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

    /// Returns whether one of the hashes equals the tag.
    pub(super) fn finish(self) -> bool {
        self.tried.into_iter().any(|tried| tried.finish() == self.wanted)
    }
}

/// The hash of content in parts of a given length.
struct InParts {
    length: u64,
    filled: u64,
    part: Md5,
    /// The number of parts that are complete.
    parts: u32,
    /// The hash of the parts' hashes; `None` for content that was uploaded in one piece.
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

    /// Returns the tag that S3 makes of content in parts of `length` bytes.
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
    fn content_matches_the_tag_of_its_parts_whatever_its_chunks() {
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
    fn content_matches_the_tag_of_a_single_upload() {
        let tag = ETag::new(b"5d41402abc4b2a76b9719d911017c592").expect("a tag");
        let tagged = Tagged::new(tag.hash().expect("a hash"), 5, || panic!("it has no parts"));
        let tagged = tagged.expect("it may be");
        assert!(is_met(&tagged, b"hello", 2));
        assert!(!is_met(&tagged, b"hellO", 2));
    }

    #[test]
    fn lengths_to_try_give_the_number_of_parts() {
        let of = |size: u64, parts| {
            lengths(size, parts, || None).into_iter().map(|it| it / MEBIBYTE).collect::<Vec<_>>()
        };
        assert_eq!(of(17 * MEBIBYTE, 3), [8, 6, 7]);
        assert_eq!(of(17 * MEBIBYTE, 4), [5]);
        assert_eq!(of(120 * MEBIBYTE, 3), [50, 40, 41, 42]);
        assert_eq!(of(1 << 30, 128), [8]);
        assert_eq!(of(1 << 40, 8_739), [120]);
        assert_eq!(of(3, 4), [0_u64; 0], "more parts than bytes");
        let length = |length| lengths(17 * MEBIBYTE, 3, || Some(length));
        assert_eq!(length(6_000_001), [6_000_001]);
        assert_eq!(length(17 * MEBIBYTE).len(), 3, "the store ignored the request for a part");
        assert_eq!(length(0).len(), 3);
    }
}
