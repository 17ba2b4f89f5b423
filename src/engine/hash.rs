//! Reading and hashing of content: once, and only while it is as listed.

use super::now;
use super::tag::{TagHasher, Tagged};
use crate::backend::{Facts, Piece, ReadError, Reading, Source};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::run::Counter;
use crate::model::{
    Cause, Digest, Entry, EntryError, EntryKind, ExtraDigests, ExtraKinds, Metadata, Operation,
};
use md5::{Digest as _, Md5};
use ring::digest::{Context as Sha2, SHA256};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many times a file is read that changes while it is read.
const ATTEMPTS: u32 = 3;
/// The size of a read buffer in bytes; a smaller file takes one read and one write.
pub const BUFFER: usize = 1 << 20;
/// How much of a larger file is read at once, in bytes: little enough to stay in a core's cache
/// until it is hashed and written.
const CHUNK: usize = 256 << 10;
/// In bytes: digests other than BLAKE3 of smaller chunks are not computed beside other work, since
/// handing over would cost more than it gains.
const SHARED_CHUNK: usize = 64 << 10;

/// The machine's cores, and how many of them hash. A free core helps with another one's file, but
/// two that each have a file would only slow each other down.
#[derive(Debug)]
pub struct Cores {
    all: usize,
    hashing: AtomicUsize,
}

impl Default for Cores {
    fn default() -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Self { all, hashing: AtomicUsize::new(0) }
    }
}

impl Cores {
    /// Starts to hash a file, with BLAKE3 and the digests in `wanted`.
    pub(super) fn hasher(&self, wanted: ExtraKinds) -> Hasher<'_> {
        let extra = ExtraHasher {
            sha256: wanted.sha256.then(|| Sha2::new(&SHA256)),
            md5: wanted.md5.then(Md5::new),
        };
        Hasher { blake3: blake3::Hasher::new(), extra, hashing: self.hashing() }
    }

    /// Marks a core as busy until the returned value is dropped.
    pub(super) fn hashing(&self) -> Hashing<'_> {
        self.hashing.fetch_add(1, Ordering::Relaxed);
        Hashing(self)
    }

    /// Marks a free core as busy; returns `None` if there is none.
    pub(super) fn hashing_free(&self) -> Option<Hashing<'_>> {
        let claim = |busy| (busy < self.all).then_some(busy + 1);
        let claimed = self.hashing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        claimed.is_ok().then(|| Hashing(self))
    }

    /// Hashes the content of a regular file, and reads it again if it changed; returns the entry as
    /// it was read. `pass` is called with the number of bytes that come next, 0 for those of a hole;
    /// it may wait, and its error aborts the read.
    ///
    /// # Errors
    /// The error of `pass`, and errors of reading.
    pub fn hash_content(
        &self,
        side: ReadSide<'_>,
        entry: &Entry,
        buffer: &mut [u8],
        bytes: &Counter,
        pass: &(dyn Fn(u64) -> Result<(), Cause> + Sync),
        wanted: Wanted<'_>,
    ) -> Result<(Entry, Hashed), EntryError> {
        let source = side.source;
        with_retries(side, entry, |entry| {
            let began = now();
            let found = |digest, extra, is_tagged, object_info| {
                let racy = entry.stamp.is_racy(began);
                Ok(Hashed { digest, extra, racy, is_tagged, object_info })
            };
            // Only BLAKE3 can be computed from ranges in any order.
            if wanted.tagged.is_none()
                && !wanted.extra.any()
                && let Some(ranges) = source.read_ranges(entry)?
            {
                let take = |_, piece: Piece<'_>| {
                    pass(piece.stored())?;
                    bytes.add(piece.size());
                    Ok(())
                };
                let object_info = ranges.facts().map(ObjectInfo::from);
                let digest = self.hash_ranges(&*ranges, entry.stamp.size, buffer, &take)?;
                return found(digest, ExtraDigests::default(), false, object_info);
            }
            let mut hasher = self.hasher(wanted.extra);
            let mut by_tag = wanted.tagged.map(Tagged::hasher);
            let mut object_info = None;
            source.read(entry, part_for(buffer, entry.size()), &mut |reading| {
                let piece = match reading {
                    Reading::Content(piece) => piece,
                    Reading::Opened(_) => return Ok(()),
                    Reading::Facts(facts) => {
                        object_info = Some(ObjectInfo::from(&*facts));
                        return pass(0);
                    }
                };
                pass(piece.stored())?;
                piece.bytes(&mut |chunk| {
                    pass(0)?;
                    hasher.update(chunk);
                    if let Some(by_tag) = &mut by_tag {
                        by_tag.update(chunk);
                    }
                    bytes.add(chunk.len() as u64);
                    Ok(())
                })
            })?;
            let is_tagged = by_tag.is_some_and(TagHasher::finish);
            found(hasher.finalize(), hasher.extra.finish(), is_tagged, object_info)
        })
    }
}

/// A source or target to read from.
#[derive(Clone, Copy)]
pub struct ReadSide<'a> {
    /// The backend.
    pub source: &'a dyn Source,
    /// The side that errors name.
    pub side: Side,
}

impl<'a> ReadSide<'a> {
    /// Reads from the source of a run.
    pub fn source(source: &'a dyn Source) -> Self {
        Self { source, side: Side::Source }
    }

    /// Reads from the target of a run.
    pub fn target(source: &'a dyn Source) -> Self {
        Self { source, side: Side::Target }
    }
}

/// What to compute from content besides its BLAKE3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// A store's tag to compare with.
    pub tagged: Option<&'a Tagged>,
    /// Further digests.
    pub extra: ExtraKinds,
}

/// The result of hashing content.
#[derive(Clone, Copy, Debug)]
pub struct Hashed {
    /// Its digest.
    pub digest: Digest,
    /// The further digests that were wanted.
    pub extra: ExtraDigests,
    /// Whether the stamp under which it was read is racy.
    pub racy: bool,
    /// Whether the content matches the tag, if there was one to compare with.
    pub is_tagged: bool,
    /// What reading returned beyond the listing.
    pub object_info: Option<ObjectInfo>,
}

/// What a store keeps with an object about its kind and metadata.
#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo {
    /// Its kind.
    pub kind: EntryKind,
    /// Its metadata.
    pub metadata: Metadata,
    /// Where the metadata comes from.
    pub completeness: Completeness,
}

impl From<&Facts> for ObjectInfo {
    fn from(facts: &Facts) -> Self {
        Self { kind: facts.kind, metadata: facts.metadata, completeness: facts.completeness }
    }
}

/// A core that is marked as busy with hashing.
pub(super) struct Hashing<'a>(&'a Cores);

/// A hash under way; it marks a core as busy until it is dropped.
pub(super) struct Hasher<'a> {
    blake3: blake3::Hasher,
    /// The further digests. If one chunk is all content, they are updated without `blake3`.
    pub(super) extra: ExtraHasher,
    hashing: Hashing<'a>,
}

impl Hasher<'_> {
    /// Hashes a chunk.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.update_and(chunk, || ());
    }

    /// Hashes a chunk, then calls `other`. The digests other than BLAKE3, which take longer than
    /// everything else, are left to a free core meanwhile.
    pub(super) fn update_and<T>(&mut self, chunk: &[u8], other: impl FnOnce() -> T) -> T {
        if !self.has_help(chunk) {
            self.blake3.update(chunk);
            self.extra.update(chunk);
            return other();
        }
        let (blake3, extra) = (&mut self.blake3, &mut self.extra);
        rayon::in_place_scope(|scope| {
            scope.spawn(move |_| extra.update(chunk));
            blake3.update(chunk);
            other()
        })
    }

    /// Returns whether a free core can help with a chunk.
    fn has_help(&self, chunk: &[u8]) -> bool {
        self.extra.is_any()
            && chunk.len() >= SHARED_CHUNK
            && self.hashing.0.hashing.load(Ordering::Relaxed) < self.hashing.0.all
    }

    pub(super) fn finalize(&self) -> Digest {
        self.blake3.finalize().into()
    }
}

/// Digests other than BLAKE3 under way. They need content in order.
pub(super) struct ExtraHasher {
    sha256: Option<Sha2>,
    md5: Option<Md5>,
}

impl ExtraHasher {
    fn is_any(&self) -> bool {
        self.sha256.is_some() || self.md5.is_some()
    }

    /// Hashes a chunk.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(chunk);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(chunk);
        }
    }

    /// Returns the digests of what was hashed so far.
    pub(super) fn finish(&self) -> ExtraDigests {
        let sha256 = self.sha256.clone().map(Sha2::finish);
        ExtraDigests {
            sha256: sha256.and_then(|digest| digest.as_ref().try_into().ok()),
            md5: self.md5.clone().map(|md5| md5.finalize().into()),
        }
    }
}

impl Drop for Hashing<'_> {
    fn drop(&mut self) {
        self.0.hashing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the part of a buffer for reading a file of `size` bytes.
pub(super) fn part_for(buffer: &mut [u8], size: u64) -> &mut [u8] {
    let fits = size < buffer.len() as u64;
    let bytes = if fits { buffer.len() } else { buffer.len().min(CHUNK) };
    &mut buffer[..bytes]
}

/// Calls `attempt` to read an entry. If the entry changed, it is looked up and read again; if its
/// content was damaged, it is read once more. An entry that changed within the last clock tick is
/// read only after that tick ([`Stamp::tick_left`](crate::model::Stamp::tick_left)).
pub(super) fn with_retries<T>(
    ReadSide { source, side }: ReadSide<'_>,
    listed: &Entry,
    mut attempt: impl FnMut(&Entry) -> Result<T, ReadError>,
) -> Result<(Entry, T), EntryError> {
    let key = &listed.key;
    let fail = |operation, side, cause| Err(EntryError::new(operation, side, key, cause));
    let (mut entry, mut changes, mut is_damaged) = (listed.clone(), 0, false);
    while changes < ATTEMPTS {
        if let Some(left) = entry.stamp.tick_left(now()) {
            std::thread::sleep(left);
        }
        match attempt(&entry) {
            Ok(result) => return Ok((entry, result)),
            Err(ReadError::Source(cause)) => return fail(Operation::Read, side, cause),
            Err(ReadError::Sink(cause)) => return fail(Operation::Write, Side::Target, cause),
            Err(ReadError::Damaged(cause)) => {
                if std::mem::replace(&mut is_damaged, true) {
                    return fail(Operation::Read, side, cause);
                }
                continue;
            }
            Err(ReadError::Changed) => changes += 1,
        }
        match source.look(key) {
            Ok(Some(found)) if found.kind == EntryKind::File => entry = found,
            Ok(Some(_)) => break,
            Ok(None) => return fail(Operation::Read, side, Cause::Vanished),
            Err(cause) => return fail(Operation::Read, side, cause),
        }
    }
    fail(Operation::Read, side, Cause::Changed { attempts: ATTEMPTS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_claimed_once() {
        let cores = Cores { all: 2, hashing: AtomicUsize::new(0) };
        let (one, other) = (cores.hashing(), cores.hashing_free());
        assert!(other.is_some());
        assert!(cores.hashing_free().is_none());
        assert!(cores.hashing_free().is_none(), "a failed claim frees no core");
        drop(one);
        assert!(cores.hashing_free().is_some());
    }
}
