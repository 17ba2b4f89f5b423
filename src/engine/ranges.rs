//! Content that is read in ranges and hashed by the threads that read it.

use super::hash::{Cores, Hashing, part_for};
use crate::backend::{Ranges, ReadError};
use crate::model::{Cause, Digest};
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, Scope};

/// Takes the offset of a chunk of content, and the chunk.
pub(super) type TakeAt<'a> = dyn Fn(u64, &[u8]) -> Result<(), Cause> + Sync + 'a;

impl Cores {
    /// Reads and hashes content of `size` bytes. Several threads call `take` with the offset of
    /// each chunk and the chunk; each of them has a buffer of the size of `buffer`.
    pub(super) fn hash_ranges(
        &self,
        ranges: &dyn Ranges,
        size: u64,
        buffer: &mut [u8],
        take: &TakeAt<'_>,
    ) -> Result<Digest, ReadError> {
        let length = ranges.length();
        let buffer = part_for(buffer, size);
        let reading = Reading {
            cores: self,
            ranges,
            values: (0..size.div_ceil(length)).map(|_| OnceLock::new()).collect(),
            next: AtomicU64::new(0),
            failed: OnceLock::new(),
            take,
        };
        let mine = self.hashing();
        std::thread::scope(|scope| {
            for _ in 1..ranges.readers().unwrap_or(1) {
                let bytes = buffer.len();
                let reading = &reading;
                scope.spawn(move || {
                    reading.run(scope, reading.cores.hashing(), &mut vec![0; bytes]);
                });
            }
            reading.run(scope, mine, buffer);
        });
        if let Some(error) = reading.failed.into_inner() {
            return Err(error);
        }
        ranges.end()?;
        let values: Option<Vec<_>> = reading.values.into_iter().map(OnceLock::into_inner).collect();
        let values = values.expect("without an error all ranges are read");
        Ok(root(&values, length, size))
    }
}

/// Content that several threads read.
struct Reading<'a> {
    cores: &'a Cores,
    ranges: &'a dyn Ranges,
    /// The hashes of the ranges.
    values: Vec<OnceLock<ChainingValue>>,
    /// The number of the range that is read next.
    next: AtomicU64,
    /// The first error.
    failed: OnceLock<ReadError>,
    take: &'a TakeAt<'a>,
}

impl Reading<'_> {
    /// Reads ranges until there are none left. If the number of readers is open, cores that become
    /// free meanwhile help.
    fn run<'s>(&'s self, scope: &'s Scope<'s, '_>, _hashing: Hashing<'_>, buffer: &mut [u8]) {
        while self.failed.get().is_none() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(value) = self.values.get(number as usize) else { return };
            if self.ranges.readers().is_none()
                && number + 1 < self.values.len() as u64
                && let Some(free) = self.cores.hashing_free()
            {
                let bytes = buffer.len();
                let help = move || self.run(scope, free, &mut vec![0; bytes]);
                // If no thread can be started, this one reads on alone.
                Builder::new().spawn_scoped(scope, help).ok();
            }
            match self.read(number, buffer) {
                Ok(found) => value.get_or_init(|| found),
                Err(error) => {
                    // Later errors are consequences of the first.
                    self.failed.set(error).ok();
                    return;
                }
            };
        }
    }

    fn read(&self, number: u64, buffer: &mut [u8]) -> Result<ChainingValue, ReadError> {
        let mut offset = number * self.ranges.length();
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        self.ranges.read(number, buffer, &mut |chunk| {
            if self.failed.get().is_some() {
                return Err(Cause::Stopped);
            }
            hasher.update(chunk);
            (self.take)(offset, chunk)?;
            offset += chunk.len() as u64;
            Ok(())
        })?;
        Ok(hasher.finalize_non_root())
    }
}

/// Returns the hash of the whole content from those of its ranges, at least two.
fn root(values: &[ChainingValue], length: u64, size: u64) -> Digest {
    let (left, right) = halves(values, length, size);
    merge_subtrees_root(&left, &right, Mode::Hash).into()
}

/// Returns the hashes of both halves of the tree over two or more ranges.
fn halves(values: &[ChainingValue], length: u64, size: u64) -> (ChainingValue, ChainingValue) {
    let left = left_subtree_len(size);
    let (before, behind) = values.split_at((left / length) as usize);
    (subtree(before, length, left), subtree(behind, length, size - left))
}

fn subtree(values: &[ChainingValue], length: u64, size: u64) -> ChainingValue {
    if let [one] = values {
        return *one;
    }
    let (left, right) = halves(values, length, size);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_ranges_give_the_digest_of_the_whole_content() {
        const LENGTH: usize = 4096;
        let content: Vec<u8> = (0..9 * LENGTH as u32).map(|at| (at % 251) as u8).collect();
        for ranges in 2..=9 {
            for short in [0, 1, 1024, 1025, LENGTH - 1] {
                let content = &content[..ranges * LENGTH - short];
                let values: Vec<_> = (content.chunks(LENGTH).enumerate())
                    .map(|(number, chunk)| {
                        let mut hasher = blake3::Hasher::new();
                        hasher.set_input_offset((number * LENGTH) as u64);
                        hasher.update(chunk).finalize_non_root()
                    })
                    .collect();
                let found = root(&values, LENGTH as u64, content.len() as u64);
                assert_eq!(found, Digest::of(content), "{ranges} ranges, {short} bytes short");
            }
        }
    }
}
