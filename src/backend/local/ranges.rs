//! A large file in ranges that several threads read at the same time.

use super::beneath::Root;
use super::holes::{Unit, is_hole, may_have_holes, read_part};
use super::inspect::OpenFile;
use super::read::{Listed, check, open_listed};
use crate::backend::{Facts, Inspect as _, Inspected, Piece, Ranges, ReadError, range_length};
use crate::model::{Cause, Entry};
use rustix::fs::{Advice, Statx, fadvise};
use std::ops::Range;
use std::os::fd::AsFd as _;

/// Size in bytes of the smallest file for which threads pay off.
const MIN_FILE: u64 = 8 << 20;

/// A file that is read in ranges.
pub(super) struct FileRanges<'a> {
    file: Listed,
    stat: Statx,
    entry: &'a Entry,
    length: u64,
}

/// Opens the file as [`read`](super::read::read) does; returns `None` if it is better read
/// sequentially.
pub(super) fn begin<'a>(
    root: &Root,
    entry: &'a Entry,
) -> Result<Option<FileRanges<'a>>, ReadError> {
    if entry.stamp.size < MIN_FILE {
        return Ok(None);
    }
    let file = open_listed(root, entry)?;
    let stat = check(&file, &entry.stamp)?;
    // Only a hint.
    fadvise(&file.0, 0, None, Advice::Sequential).ok();
    Ok(Some(FileRanges { file, stat, entry, length: range_length(entry.stamp.size) }))
}

impl Ranges for FileRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        None
    }

    fn inspect(&self) -> Option<Inspected> {
        Some(OpenFile::new(&self.file.0, &self.stat).inspect())
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn is_hole(&self, bytes: Range<u64>) -> bool {
        may_have_holes(&self.stat) && is_hole(self.file.0.as_fd(), bytes)
    }

    fn readers(&self) -> Option<usize> {
        None
    }

    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        let start = number * self.length;
        let end = self.entry.stamp.size.min(start.saturating_add(self.length));
        let file = self.file.0.as_fd();
        read_part(file, start..end, may_have_holes(&self.stat), Unit::Byte, buffer, take)
    }

    /// Checks the stamp at the end only: as ctime never goes back, it was the same before.
    fn end(&self) -> Result<(), ReadError> {
        check(&self.file, &self.entry.stamp).map(drop)
    }
}
