//! A large file in ranges that several threads read at the same time.

use super::beneath::Root;
use super::read::{Listed, check, open_listed};
use crate::backend::{Facts, Ranges, ReadError};
use crate::model::{Cause, Entry};
use rustix::io::{Errno, pread};

/// Bytes of a range at the least. Those who read take one behind the other, so that a disk reads on
/// in order.
const RANGE: u64 = 1 << 20;
/// How many ranges a file has at the most: something is held for each.
const MOST: u64 = 1 << 16;
/// The smallest file that is worth the threads.
const LEAST: u64 = 8 << 20;

/// A file that is read in ranges.
pub(super) struct FileRanges<'a> {
    file: Listed,
    entry: &'a Entry,
    length: u64,
}

/// Bytes of a file's ranges: a power of two.
fn length(size: u64) -> u64 {
    size.div_ceil(MOST).next_power_of_two().max(RANGE)
}

/// Opens the file as [`read`](super::read::read) does; `None` where it is better read in order.
pub(super) fn begin<'a>(
    root: &Root,
    entry: &'a Entry,
) -> Result<Option<FileRanges<'a>>, ReadError> {
    if entry.stamp.size < LEAST {
        return Ok(None);
    }
    let file = open_listed(root, entry)?;
    check(&file, &entry.stamp)?;
    Ok(Some(FileRanges { file, entry, length: length(entry.stamp.size) }))
}

impl Ranges for FileRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        None
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn readers(&self) -> Option<usize> {
        None
    }

    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        let mut offset = number * self.length;
        let end = self.entry.stamp.size.min(offset.saturating_add(self.length));
        while offset < end {
            let wanted = buffer.len().min((end - offset) as usize);
            let chunk = match pread(&self.file.0, &mut buffer[..wanted], offset) {
                Ok(0) => return Err(ReadError::Changed),
                Ok(count) => &buffer[..count],
                Err(Errno::INTR) => continue,
                Err(error) => return Err(ReadError::Source(error.into())),
            };
            take(chunk).map_err(ReadError::Sink)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// A stamp that is the same after reading was the same before: ctime never goes back.
    fn end(&self) -> Result<(), ReadError> {
        check(&self.file, &self.entry.stamp).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_has_few_ranges() {
        for size in [LEAST, 64 << 30, (64 << 30) + 1, 16 << 40, i64::MAX as u64, u64::MAX] {
            let length = length(size);
            assert!(length.is_power_of_two() && length >= RANGE, "{size}: {length}");
            assert!(size.div_ceil(length) <= MOST, "{size}: {length}");
            assert!(length == RANGE || size.div_ceil(length / 2) > MOST, "{size}: {length}");
        }
    }
}
