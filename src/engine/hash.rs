//! Reading and hashing content: once, and only as what it was listed to be.

use super::now;
use crate::backend::{ReadError, Source};
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
        self.hashing.fetch_add(1, Ordering::Relaxed);
        Hasher { hasher: blake3::Hasher::new(), cores: self }
    }

    /// Hashes a regular file's content, with the digest whether its stamp is racy; reads it anew when it
    /// changed, and gives the entry as it was read.
    ///
    /// # Errors
    /// [`Cause::Stopped`] once `is_over` says so.
    pub fn hash_content(
        &self,
        side: &dyn Source,
        name: Side,
        entry: &Entry,
        buffer: &mut [u8],
        bytes: &Counter,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(Entry, (Digest, bool)), EntryError> {
        with_retries(side, name, entry, |entry| {
            let began = now();
            let mut hasher = self.hasher();
            side.read(entry, buffer, &mut |chunk| {
                if is_over() {
                    return Err(Cause::Stopped);
                }
                hasher.update(chunk);
                bytes.add(chunk.len() as u64);
                Ok(())
            })?;
            Ok((hasher.finalize(), entry.stamp.is_racy(began)))
        })
    }
}

/// A hash under way; it keeps a core busy until it is dropped.
pub(super) struct Hasher<'a> {
    hasher: blake3::Hasher,
    cores: &'a Cores,
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
            && self.cores.hashing.load(Ordering::Relaxed) < self.cores.all
    }

    pub(super) fn finalize(&self) -> Digest {
        self.hasher.finalize().into()
    }
}

impl Drop for Hasher<'_> {
    fn drop(&mut self) {
        self.cores.hashing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads an entry, looking again and reading anew when it changed.
pub(super) fn with_retries<T>(
    backend: &dyn Source,
    side: Side,
    listed: &Entry,
    mut attempt: impl FnMut(&Entry) -> Result<T, ReadError>,
) -> Result<(Entry, T), EntryError> {
    let key = &listed.key;
    let fail =
        |operation, side, cause| Err(EntryError { operation, side, key: key.clone(), cause });
    let mut entry = listed.clone();
    for _ in 0..ATTEMPTS {
        match attempt(&entry) {
            Ok(result) => return Ok((entry, result)),
            Err(ReadError::Source(cause)) => return fail(Operation::Read, side, cause),
            Err(ReadError::Sink(cause)) => return fail(Operation::Write, Side::Target, cause),
            Err(ReadError::Changed) => {}
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
