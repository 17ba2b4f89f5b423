//! Reading and hashing content: once, and only as what it was listed to be.

use super::now;
use super::tag::{TagHasher, Tagged};
use crate::backend::{Facts, ReadError, Reading, Source};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::run::Counter;
use crate::model::{
    Cause, Digest, Entry, EntryError, EntryKind, ExtraDigests, ExtraKinds, Metadata, Operation,
};
use md5::{Digest as _, Md5};
use ring::digest::{Context as Sha2, SHA256};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a file that changes while it is read is read.
const ATTEMPTS: u32 = 3;
/// Bytes read at once; a file below this size costs one read and one write.
pub const BUFFER: usize = 1 << 20;
/// Chunks of this size are hashed with the help of cores that are free (below, handing over costs
/// more than it gains).
const HASHED_TOGETHER: usize = 512 << 10;

/// The machine's cores, and how many of them hash: one that is free helps with another's file, but
/// two that both have a file only hinder each other.
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
    /// Begins to hash a file, by BLAKE3 and what else is wanted.
    pub(super) fn hasher(&self, wanted: ExtraKinds) -> Hasher<'_> {
        let extra = ExtraHasher {
            sha256: wanted.sha256.then(|| Sha2::new(&SHA256)),
            md5: wanted.md5.then(Md5::new),
        };
        Hasher { blake3: blake3::Hasher::new(), extra, hashing: self.hashing() }
    }

    /// Keeps a core busy until what it gives is dropped.
    pub(super) fn hashing(&self) -> Hashing<'_> {
        self.hashing.fetch_add(1, Ordering::Relaxed);
        Hashing(self)
    }

    /// Keeps a core busy that is free, if one is.
    pub(super) fn hashing_free(&self) -> Option<Hashing<'_>> {
        let claim = |busy| (busy < self.all).then_some(busy + 1);
        let claimed = self.hashing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        claimed.is_ok().then(|| Hashing(self))
    }

    /// Hashes a regular file's content as is `wanted`, reads it anew when it changed, and gives the
    /// entry as it was read. `pass` is asked before each chunk, with its
    /// bytes: it may wait, and its error ends it.
    ///
    /// # Errors
    /// That of `pass`, and those of reading.
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
            let found = |digest, extra, is_tagged, told| {
                let racy = entry.stamp.is_racy(began);
                Ok(Hashed { digest, extra, racy, is_tagged, told })
            };
            // Only BLAKE3 is made of parts in any order.
            if wanted.tagged.is_none()
                && !wanted.extra.any()
                && let Some(ranges) = source.read_ranges(entry)?
            {
                let take = |_, chunk: &[u8]| {
                    pass(chunk.len() as u64)?;
                    bytes.add(chunk.len() as u64);
                    Ok(())
                };
                let told = ranges.facts().map(ObjectInfo::from);
                let digest = self.hash_ranges(&*ranges, entry.stamp.size, buffer, &take)?;
                return found(digest, ExtraDigests::default(), false, told);
            }
            let mut hasher = self.hasher(wanted.extra);
            let mut by_tag = wanted.tagged.map(Tagged::hasher);
            let mut told = None;
            source.read(entry, buffer, &mut |reading| {
                let chunk = match reading {
                    Reading::Chunk(chunk) => chunk,
                    Reading::Opened(_) => return Ok(()),
                    Reading::Facts(facts) => {
                        told = Some(ObjectInfo::from(&*facts));
                        return pass(0);
                    }
                };
                pass(chunk.len() as u64)?;
                hasher.update(chunk);
                if let Some(by_tag) = &mut by_tag {
                    by_tag.update(chunk);
                }
                bytes.add(chunk.len() as u64);
                Ok(())
            })?;
            let is_tagged = by_tag.is_some_and(TagHasher::finish);
            found(hasher.finalize(), hasher.extra.finish(), is_tagged, told)
        })
    }
}

/// What is read, and which side of a run that is.
#[derive(Clone, Copy)]
pub struct ReadSide<'a> {
    /// It.
    pub source: &'a dyn Source,
    /// Which side, in errors.
    pub side: Side,
}

impl<'a> ReadSide<'a> {
    /// The source of a run.
    pub fn source(source: &'a dyn Source) -> Self {
        Self { source, side: Side::Source }
    }

    /// The target of a run.
    pub fn target(source: &'a dyn Source) -> Self {
        Self { source, side: Side::Target }
    }
}

/// What content is hashed for beside its BLAKE3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// What a store's tag may say of it.
    pub tagged: Option<&'a Tagged>,
    /// Other digests.
    pub extra: ExtraKinds,
}

/// What content was found to be.
#[derive(Clone, Copy, Debug)]
pub struct Hashed {
    /// Its digest.
    pub digest: Digest,
    /// The other digests that were wanted.
    pub extra: ExtraDigests,
    /// Whether the stamp that it was read under is racy.
    pub racy: bool,
    /// Whether it is what the tag says, if that was asked for.
    pub is_tagged: bool,
    /// What reading told of it that a listing could not.
    pub told: Option<ObjectInfo>,
}

/// What a store keeps with an object, as far as it says what the entry is.
#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo {
    /// Its kind.
    pub kind: EntryKind,
    /// Its metadata.
    pub metadata: Metadata,
    /// Whether that was stored with it.
    pub completeness: Completeness,
}

impl From<&Facts> for ObjectInfo {
    fn from(facts: &Facts) -> Self {
        Self { kind: facts.kind, metadata: facts.metadata, completeness: facts.completeness }
    }
}

/// A core that hashes.
pub(super) struct Hashing<'a>(&'a Cores);

/// A hash under way; it keeps a core busy until it is dropped.
pub(super) struct Hasher<'a> {
    blake3: blake3::Hasher,
    /// The other hashes; by itself where a chunk is the whole.
    pub(super) extra: ExtraHasher,
    hashing: Hashing<'a>,
}

impl Hasher<'_> {
    /// Hashes a chunk.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        if !self.has_help(chunk) {
            self.blake3.update(chunk);
            self.extra.update(chunk);
        } else if self.extra.is_any() {
            let (blake3, extra) = (&mut self.blake3, &mut self.extra);
            rayon::join(|| blake3.update_rayon(chunk), || extra.update(chunk));
        } else {
            self.blake3.update_rayon(chunk);
        }
    }

    /// Hashes a chunk while something else is done with it.
    pub(super) fn update_beside<T>(&mut self, chunk: &[u8], other: impl FnOnce() -> T) -> T {
        if !self.has_help(chunk) {
            self.blake3.update(chunk);
            self.extra.update(chunk);
            return other();
        }
        let (blake3, extra) = (&mut self.blake3, &mut self.extra);
        rayon::in_place_scope(|scope| {
            scope.spawn(move |_| {
                blake3.update(chunk);
            });
            if extra.is_any() {
                scope.spawn(move |_| extra.update(chunk));
            }
            other()
        })
    }

    /// Whether a core is free to help with a chunk.
    fn has_help(&self, chunk: &[u8]) -> bool {
        chunk.len() >= HASHED_TOGETHER
            && self.hashing.0.hashing.load(Ordering::Relaxed) < self.hashing.0.all
    }

    pub(super) fn finalize(&self) -> Digest {
        self.blake3.finalize().into()
    }
}

/// The hashes beside BLAKE3, under way. They take content in order.
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

    /// The digests of what was hashed so far.
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

/// Reads an entry, looking again and reading anew when it changed; one that came damaged is read
/// once more. One that changed within the last clock tick is read when the tick is over
/// ([`Stamp::tick_left`](crate::model::Stamp::tick_left)).
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
        assert!(cores.hashing_free().is_none(), "who asks in vain sets none free");
        drop(one);
        assert!(cores.hashing_free().is_some());
    }
}
