//! Holes: parts of a file that were never written, take no space and read as zeros.

use crate::backend::{Piece, ReadError};
use crate::model::Cause;
use rustix::fs::{SeekFrom, Statx, seek};
use rustix::io::{Errno, pread};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// In bytes: longer holes are passed on in parts, so that whoever hashes them can be stopped.
const LONGEST: u64 = 64 << 20;

/// What reads are a multiple of: their offsets, their lengths, and their place in memory.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Byte,
    /// As reads past the page cache have to be.
    Block,
}

impl Unit {
    /// The size of a block in bytes: what any disk takes.
    pub(super) const BLOCK: usize = 4 << 10;

    /// Returns the part of a buffer that can be read into.
    pub(super) fn aligned(self, buffer: &mut [u8]) -> &mut [u8] {
        match self {
            Self::Byte => buffer,
            Self::Block => {
                let start = buffer.as_ptr().align_offset(Self::BLOCK).min(buffer.len());
                let length = (buffer.len() - start) / Self::BLOCK * Self::BLOCK;
                &mut buffer[start..start + length]
            }
        }
    }

    /// Returns how many of the `read` bytes count, if `left` were asked for: a read that ends
    /// within a block is followed by one that begins with that block.
    fn complete(self, read: usize, left: u64) -> usize {
        let read = read.min(left as usize);
        match self {
            Self::Block if (read as u64) < left && read > Self::BLOCK => read - read % Self::BLOCK,
            _ => read,
        }
    }

    /// Returns the size to read for so many bytes.
    fn whole(self, bytes: u64) -> u64 {
        match self {
            Self::Byte => bytes,
            Self::Block => bytes.next_multiple_of(Self::BLOCK as u64),
        }
    }
}

/// Returns whether a file may have holes, because it has fewer blocks than bytes. So have
/// compressed files.
pub(super) fn may_have_holes(stat: &Statx) -> bool {
    stat.stx_blocks.saturating_mul(512) < stat.stx_size
}

/// Returns whether all of these bytes are a hole.
pub(super) fn is_hole(file: BorrowedFd<'_>, bytes: Range<u64>) -> bool {
    matches!(span_at(file, &bytes), Span::Hole(size) if size == bytes.end - bytes.start)
}

/// Reads a part of a file in chunks that fit in `buffer`; holes, if it `may_have` any, are passed
/// on without being read. The file's offset may move.
pub(super) fn read_part(
    file: BorrowedFd<'_>,
    mut bytes: Range<u64>,
    may_have: bool,
    unit: Unit,
    buffer: &mut [u8],
    take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
) -> Result<(), ReadError> {
    let buffer = unit.aligned(buffer);
    while bytes.start < bytes.end {
        let span =
            if may_have { span_at(file, &bytes) } else { Span::Data(bytes.end - bytes.start) };
        let end = match span {
            Span::Hole(size) => {
                let size = size.min(LONGEST);
                take(Piece::Hole(size)).map_err(ReadError::Sink)?;
                bytes.start += size;
                continue;
            }
            Span::Data(size) => bytes.start + size,
        };
        while bytes.start < end {
            let left = end - bytes.start;
            let wanted = unit.whole(left).min(buffer.len() as u64) as usize;
            let chunk = match pread(file, &mut buffer[..wanted], bytes.start) {
                Ok(0) => return Err(ReadError::Changed),
                // What is read in blocks may hold more than was asked for, or end within a block.
                Ok(count) => &buffer[..unit.complete(count, left)],
                Err(Errno::INTR) => continue,
                Err(error) => return Err(ReadError::Source(error.into())),
            };
            take(Piece::Chunk(chunk)).map_err(ReadError::Sink)?;
            bytes.start += chunk.len() as u64;
        }
    }
    Ok(())
}

/// Passes on all content of a file, which was read already, in chunks and holes. What was read
/// decides: a hole that was made since is none.
pub(super) fn split(
    file: BorrowedFd<'_>,
    content: &[u8],
    take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let mut bytes = 0..content.len() as u64;
    while bytes.start < bytes.end {
        let (size, is_hole) = match span_at(file, &bytes) {
            Span::Hole(size) => (size, true),
            Span::Data(size) => (size, false),
        };
        let part = &content[bytes.start as usize..(bytes.start + size) as usize];
        let is_hole = is_hole && part.iter().all(|&byte| byte == 0);
        take(if is_hole { Piece::Hole(size) } else { Piece::Chunk(part) })?;
        bytes.start += size;
    }
    Ok(())
}

/// The first part of a range of a file, with its size in bytes, which is never 0.
enum Span {
    Data(u64),
    Hole(u64),
}

fn span_at(file: BorrowedFd<'_>, bytes: &Range<u64>) -> Span {
    let left = bytes.end - bytes.start;
    match seek(file, SeekFrom::Data(bytes.start)) {
        Ok(data) if data > bytes.start => Span::Hole((data - bytes.start).min(left)),
        Ok(_) => match seek(file, SeekFrom::Hole(bytes.start)) {
            Ok(hole) if hole > bytes.start => Span::Data((hole - bytes.start).min(left)),
            // The hole was made just now, or can't be found: it is read.
            _ => Span::Data(left),
        },
        // There is no data behind this.
        Err(Errno::NXIO) => Span::Hole(left),
        // The file system doesn't know of holes.
        Err(_) => Span::Data(left),
    }
}
