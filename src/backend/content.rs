//! Content of files: pieces of it, and ranges that several threads read.

use super::{Facts, Inspected, ReadError};
use crate::model::Cause;
use std::ops::Range;

/// What holes read as.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A piece of a file's content.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes that were read.
    Chunk(&'a [u8]),
    /// A hole of this size in bytes: zeros that are stored nowhere and were not read.
    Hole(u64),
}

impl Piece<'_> {
    /// Returns the size of the piece in bytes.
    pub fn size(self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.len() as u64,
            Self::Hole(size) => size,
        }
    }

    /// Returns how many bytes were read.
    pub fn stored(self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.len() as u64,
            Self::Hole(_) => 0,
        }
    }

    /// Passes on the bytes of the piece, those of a hole as zeros.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn bytes(self, take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>) -> Result<(), Cause> {
        match self {
            Self::Chunk(chunk) => take(chunk),
            Self::Hole(mut left) => {
                while left > 0 {
                    let zeros = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
                    take(zeros)?;
                    left -= zeros.len() as u64;
                }
                Ok(())
            }
        }
    }
}

/// In bytes: what a stopped run copied of a file at least as large is left for the next run.
pub const SMALLEST_RESUMED: u64 = 64 << 20;

/// Returns the size in bytes of the ranges of a local file, as [`Ranges::length`] has to be; there
/// are at most 65,536, each of which takes some memory. Threads take one range after the other, so
/// that a disk still reads sequentially.
pub fn range_length(size: u64) -> u64 {
    const SMALLEST: u64 = 1 << 20;
    const MOST: u64 = 1 << 16;
    size.div_ceil(MOST).next_power_of_two().max(SMALLEST)
}

/// A file's content in at least two ranges, which several threads read at the same time. The data
/// is valid only once [`Ranges::end`] has succeeded.
pub trait Ranges: Sync {
    /// Returns the facts that only reading reveals, if any.
    fn facts(&self) -> Option<&Facts>;

    /// Inspects the open file, as [`Inspect::inspect`](super::Inspect::inspect) does; `None` if there is nothing that a
    /// listing doesn't give.
    fn inspect(&self) -> Option<Inspected> {
        None
    }

    /// Returns the size in bytes of each range but the last: a power of two, at least 1 MiB, so
    /// that each is a subtree of BLAKE3's tree.
    fn length(&self) -> u64;

    /// Returns how many ranges are best read at the same time, at least 1; `None` for as many as
    /// there are free cores.
    fn readers(&self) -> Option<usize>;

    /// Returns whether all of these bytes are known to be a hole.
    fn is_hole(&self, _bytes: Range<u64>) -> bool {
        false
    }

    /// Reads range `number` (from 0) in order. `buffer` may be used for the data.
    ///
    /// # Errors
    /// Those of [`Source::read`](super::Source::read); errors of `take` are returned as [`ReadError::Sink`].
    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError>;

    /// Takes content that an earlier run read and checked, for what [`end`](Self::end) checks. The
    /// pieces of a range come in order. A range may be [read](Self::read) after all.
    fn keep(&self, _offset: u64, _piece: Piece<'_>) {}

    /// Checks that the ranges, all of which have been read or kept, make up the whole content.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if they don't.
    fn end(&self) -> Result<(), ReadError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_has_few_ranges() {
        const MIB: u64 = 1 << 20;
        for size in [8 * MIB, 64 << 30, (64 << 30) + 1, 16 << 40, i64::MAX as u64, u64::MAX] {
            let length = range_length(size);
            assert!(length.is_power_of_two() && length >= MIB, "{size}: {length}");
            assert!(size.div_ceil(length) <= (1 << 16), "{size}: {length}");
            assert!(length == MIB || size.div_ceil(length / 2) > (1 << 16), "{size}: {length}");
        }
    }
}
