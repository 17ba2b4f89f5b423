//! Content that is read in ranges and hashed by the threads that read it.

use super::hash::{Cores, Hashing, part_for};
use super::zeros;
use crate::backend::{Piece, Ranges, ReadError};
use crate::model::{Cause, Digest};
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, Scope};

/// Takes the offset of a piece of content, and the piece.
pub(super) type TakeAt<'a> = dyn Fn(u64, Piece<'_>) -> Result<(), Cause> + Sync + 'a;

impl Cores {
    /// Reads and hashes content of `size` bytes. Several threads call `take` with the offset of
    /// each piece and the piece; each of them has a buffer of the size of `buffer`.
    pub(super) fn hash_ranges(
        &self,
        ranges: &dyn Ranges,
        size: u64,
        buffer: &mut [u8],
        take: &TakeAt<'_>,
    ) -> Result<Digest, ReadError> {
        let hashes = RangeHashes::new(ranges.length(), size);
        self.hash_missing(ranges, &hashes, buffer, take)?;
        Ok(hashes.digest())
    }

    /// Does the same with the ranges whose hashes are missing, and adds these.
    pub(super) fn hash_missing(
        &self,
        ranges: &dyn Ranges,
        hashes: &RangeHashes,
        buffer: &mut [u8],
        take: &TakeAt<'_>,
    ) -> Result<(), ReadError> {
        let buffer = part_for(buffer, hashes.size);
        let reading = Reading {
            cores: self,
            ranges,
            hashes,
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
        ranges.end()
    }
}

/// Content that several threads read.
struct Reading<'a> {
    cores: &'a Cores,
    ranges: &'a dyn Ranges,
    hashes: &'a RangeHashes,
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
            let values = &self.hashes.values;
            let Some(value) = values.get(number as usize) else { return };
            if value.get().is_some() {
                continue;
            }
            if self.ranges.readers().is_none()
                && number + 1 < values.len() as u64
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

    fn read(&self, number: u64, buffer: &mut [u8]) -> Result<Value, ReadError> {
        let length = self.ranges.length();
        let mut offset = number * length;
        if let Some(block) = zeros::block_around(offset, length)
            && block.end <= self.hashes.size
            && self.ranges.is_hole(block)
        {
            (self.take)(offset, Piece::Hole(length)).map_err(ReadError::Sink)?;
            return Ok(Value::Zeros);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        self.ranges.read(number, buffer, &mut |piece| {
            if self.failed.get().is_some() {
                return Err(Cause::Stopped);
            }
            piece.bytes(&mut |chunk| {
                hasher.update(chunk);
                Ok(())
            })?;
            (self.take)(offset, piece)?;
            offset += piece.size();
            Ok(())
        })?;
        Ok(Value::Hash(hasher.finalize_non_root()))
    }
}

/// The hashes of the ranges of a content, as far as they are known.
pub(super) struct RangeHashes {
    /// The size of each range but the last, in bytes.
    length: u64,
    /// The size of the content in bytes.
    size: u64,
    values: Vec<OnceLock<Value>>,
}

impl RangeHashes {
    /// Makes the hashes of content of `size` bytes in at least two ranges of `length` bytes; none
    /// are known.
    pub(super) fn new(length: u64, size: u64) -> Self {
        let values = (0..size.div_ceil(length)).map(|_| OnceLock::new()).collect();
        Self { length, size, values }
    }

    /// Makes the hashes of these ranges alone: the others are not read.
    pub(super) fn of_some(length: u64, size: u64, numbers: impl Iterator<Item = u64>) -> Self {
        let wanted: BTreeSet<_> = numbers.collect();
        let hashes = Self::new(length, size);
        for (number, value) in (0..).zip(&hashes.values) {
            if !wanted.contains(&number) {
                value.get_or_init(|| Value::Zeros);
            }
        }
        hashes
    }

    /// Returns the size of a range in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Sets the hash of a range; returns how many bytes that has, 0 if there is no such range.
    pub(super) fn set(&self, number: u64, hash: ChainingValue) -> u64 {
        let Some(value) = self.values.get(number as usize) else { return 0 };
        value.get_or_init(|| Value::Hash(hash));
        self.length.min(self.size - number * self.length)
    }

    /// Returns the hash of a range, if it is known.
    pub(super) fn get(&self, number: u64) -> Option<ChainingValue> {
        match self.values.get(number as usize)?.get()? {
            Value::Hash(hash) => Some(*hash),
            Value::Zeros => None,
        }
    }

    /// Returns the numbers and hashes of the ranges that are known, but for zeros.
    pub(super) fn known(&self) -> impl Iterator<Item = (u64, ChainingValue)> {
        let numbers = 0..self.values.len() as u64;
        numbers.filter_map(|number| Some((number, self.get(number)?)))
    }

    /// Returns the digest of the whole content, all of whose ranges are known.
    pub(super) fn digest(&self) -> Digest {
        let value =
            |value: &OnceLock<Value>| *value.get().expect("without an error all ranges are read");
        let values: Vec<_> = self.values.iter().map(value).collect();
        Tree { values: &values, length: self.length }.root(self.size)
    }
}

/// What is known of a range's content.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Its hash.
    Hash(ChainingValue),
    /// It is in a [block](zeros::block_around) of zeros, whose hash is known.
    Zeros,
}

/// BLAKE3's tree over the ranges of a content.
#[derive(Clone, Copy)]
struct Tree<'a> {
    values: &'a [Value],
    /// The size of each range but the last, in bytes.
    length: u64,
}

impl Tree<'_> {
    /// Returns the hash of the whole content, of at least two ranges.
    fn root(self, size: u64) -> Digest {
        let (left, right) = self.halves(0..size);
        merge_subtrees_root(&left, &right, Mode::Hash).into()
    }

    /// Returns the hashes of both halves of a subtree of two or more ranges.
    fn halves(self, bytes: Range<u64>) -> (ChainingValue, ChainingValue) {
        let middle = bytes.start + left_subtree_len(bytes.end - bytes.start);
        (self.subtree(bytes.start..middle), self.subtree(middle..bytes.end))
    }

    fn subtree(self, bytes: Range<u64>) -> ChainingValue {
        let numbers = bytes.start / self.length..bytes.end.div_ceil(self.length);
        let values = &self.values[numbers.start as usize..numbers.end as usize];
        if values.iter().all(|value| *value == Value::Zeros)
            && let Some(known) = zeros::known(bytes.clone())
        {
            return known;
        }
        match values {
            [Value::Hash(one)] => *one,
            [Value::Zeros] => zeros::hash(bytes),
            _ => {
                let (left, right) = self.halves(bytes);
                merge_subtrees_non_root(&left, &right, Mode::Hash)
            }
        }
    }
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
                        Value::Hash(hasher.update(chunk).finalize_non_root())
                    })
                    .collect();
                let tree = Tree { values: &values, length: LENGTH as u64 };
                let found = tree.root(content.len() as u64);
                assert_eq!(found, Digest::of(content), "{ranges} ranges, {short} bytes short");
            }
        }
    }

    /// Content with data in some ranges only, which counts what is read of it.
    struct Sparse {
        size: u64,
        length: u64,
        /// The ranges with data, each a single byte at its end.
        data: Vec<u64>,
        read: AtomicU64,
    }

    impl Ranges for Sparse {
        fn facts(&self) -> Option<&crate::backend::Facts> {
            None
        }

        fn length(&self) -> u64 {
            self.length
        }

        fn readers(&self) -> Option<usize> {
            None
        }

        fn is_hole(&self, bytes: Range<u64>) -> bool {
            !self.data.iter().any(|number| bytes.contains(&(number * self.length)))
        }

        fn read(
            &self,
            number: u64,
            _buffer: &mut [u8],
            take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
        ) -> Result<(), ReadError> {
            self.read.fetch_add(1, Ordering::Relaxed);
            let start = number * self.length;
            let length = self.length.min(self.size - start);
            if !self.data.contains(&number) {
                return take(Piece::Hole(length)).map_err(ReadError::Sink);
            }
            take(Piece::Hole(length - 1)).map_err(ReadError::Sink)?;
            take(Piece::Chunk(b"x")).map_err(ReadError::Sink)
        }

        fn end(&self) -> Result<(), ReadError> {
            Ok(())
        }
    }

    /// Returns the digest of sparse content, and how many ranges of it were read.
    fn digest(size: u64, length: u64, data: &[u64]) -> (Digest, u64) {
        let sparse = Sparse { size, length, data: data.to_vec(), read: AtomicU64::new(0) };
        let taken = AtomicU64::new(0);
        let digest = Cores::default().hash_ranges(&sparse, size, &mut [0; 8], &|_, piece| {
            taken.fetch_add(piece.size(), Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(taken.into_inner(), size);
        (digest.expect("nothing fails"), sparse.read.into_inner())
    }

    #[test]
    fn holes_are_hashed_as_the_zeros_that_they_are() {
        const MIB: u64 = 1 << 20;
        for size in [64 * MIB, 128 * MIB, 200 * MIB + 1] {
            for data in [&[][..], &[0], &[70], &[63, 64, 127]] {
                let data: Vec<u64> =
                    data.iter().copied().filter(|number| number * MIB < size).collect();
                let mut content = vec![0; size as usize];
                for number in &data {
                    content[((number + 1) * MIB).min(size) as usize - 1] = b'x';
                }
                let mut hasher = blake3::Hasher::new();
                let expected = Digest::from(hasher.update_rayon(&content).finalize());
                assert_eq!(digest(size, MIB, &data).0, expected, "{size} bytes, data in {data:?}");
            }
        }
    }

    #[test]
    fn a_file_of_a_tebibyte_costs_what_its_data_cost() {
        let (length, ranges) = (16 << 20, 1 << 16);
        let (one, read) = digest(length * ranges, length, &[5, 40_000]);
        // A block of 64 MiB around each.
        assert_eq!(read, 8);
        assert_ne!(one, digest(length * ranges, length, &[5, 40_001]).0);
    }
}
