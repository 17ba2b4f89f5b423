//! Reading and hashing content: once, and only as what it was listed to be.

use super::now;
use super::tag::{TagHasher, Tagged};
use crate::backend::{ReadError, Reading, Source};
use crate::model::error::Side;
use crate::model::run::Counter;
use crate::model::{Cause, Digest, Entry, EntryError, EntryKind, Operation};
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
    /// Begins to hash a file.
    pub(super) fn hasher(&self) -> Hasher<'_> {
        Hasher { hasher: blake3::Hasher::new(), hashing: self.hashing() }
    }

    /// Keeps a core busy until what it gives is dropped.
    pub(super) fn hashing(&self) -> Hashing<'_> {
        self.hashing.fetch_add(1, Ordering::Relaxed);
        Hashing(self)
    }

    /// Hashes a regular file's content, holds it against what is `tagged`, reads it anew when it
    /// changed, and gives the entry as it was read. `pass` is asked before each chunk, with its
    /// bytes: it may wait, and its error ends it.
    ///
    /// # Errors
    /// That of `pass`, and those of reading.
    pub fn hash_content(
        &self,
        (side, name): (&dyn Source, Side),
        entry: &Entry,
        buffer: &mut [u8],
        bytes: &Counter,
        pass: &(dyn Fn(u64) -> Result<(), Cause> + Sync),
        tagged: Option<&Tagged>,
    ) -> Result<(Entry, Hashed), EntryError> {
        with_retries(side, name, entry, |entry| {
            let began = now();
            let found = |digest, is_tagged| {
                let racy = entry.stamp.is_racy(began);
                Ok(Hashed { digest, racy, is_tagged })
            };
            if tagged.is_none()
                && let Some(ranges) = side.read_ranges(entry)?
            {
                let take = |_, chunk: &[u8]| {
                    pass(chunk.len() as u64)?;
                    bytes.add(chunk.len() as u64);
                    Ok(())
                };
                return found(self.hash_ranges(&*ranges, entry.stamp.size, &take)?, false);
            }
            let mut hasher = self.hasher();
            let mut by_tag = tagged.map(Tagged::hasher);
            side.read(entry, buffer, &mut |reading| {
                let Reading::Chunk(chunk) = reading else { return pass(0) };
                pass(chunk.len() as u64)?;
                hasher.update(chunk);
                if let Some(by_tag) = &mut by_tag {
                    by_tag.update(chunk);
                }
                bytes.add(chunk.len() as u64);
                Ok(())
            })?;
            found(hasher.finalize(), by_tag.is_some_and(TagHasher::finish))
        })
    }
}

/// What content was found to be.
#[derive(Clone, Copy, Debug)]
pub struct Hashed {
    /// Its digest.
    pub digest: Digest,
    /// Whether the stamp that it was read under is racy.
    pub racy: bool,
    /// Whether it is what the tag says, if that was asked for.
    pub is_tagged: bool,
}

/// A core that hashes.
pub(super) struct Hashing<'a>(&'a Cores);

/// A hash under way; it keeps a core busy until it is dropped.
pub(super) struct Hasher<'a> {
    hasher: blake3::Hasher,
    hashing: Hashing<'a>,
}

impl Hasher<'_> {
    /// Hashes a chunk.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        if self.has_help(chunk) {
            self.hasher.update_rayon(chunk);
        } else {
            self.hasher.update(chunk);
        }
    }

    /// Hashes a chunk while something else is done with it.
    pub(super) fn update_beside<T>(&mut self, chunk: &[u8], other: impl FnOnce() -> T) -> T {
        if !self.has_help(chunk) {
            self.hasher.update(chunk);
            return other();
        }
        let hasher = &mut self.hasher;
        rayon::in_place_scope(|scope| {
            scope.spawn(move |_| {
                hasher.update(chunk);
            });
            other()
        })
    }

    /// Whether a core is free to help with a chunk.
    fn has_help(&self, chunk: &[u8]) -> bool {
        chunk.len() >= HASHED_TOGETHER
            && self.hashing.0.hashing.load(Ordering::Relaxed) < self.hashing.0.all
    }

    pub(super) fn finalize(&self) -> Digest {
        self.hasher.finalize().into()
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
    backend: &dyn Source,
    side: Side,
    listed: &Entry,
    mut attempt: impl FnMut(&Entry) -> Result<T, ReadError>,
) -> Result<(Entry, T), EntryError> {
    let key = &listed.key;
    let fail =
        |operation, side, cause| Err(EntryError { operation, side, key: key.clone(), cause });
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
        match backend.look(key) {
            Ok(Some(found)) if found.kind == EntryKind::File => entry = found,
            Ok(Some(_)) => break,
            Ok(None) => return fail(Operation::Read, side, Cause::Vanished),
            Err(cause) => return fail(Operation::Read, side, cause),
        }
    }
    fail(Operation::Read, side, Cause::Changed { attempts: ATTEMPTS })
}
