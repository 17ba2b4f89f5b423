//! A large file in ranges that several threads read at the same time.

use super::beneath::Root;
use super::read::{check, open_listed};
use crate::backend::{Facts, Ranges, ReadError};
use crate::model::{Cause, Entry};
use rustix::io::{Errno, pread};
use std::os::fd::OwnedFd;

/// Bytes of a range. Those who read take one behind the other, so that a disk reads on in order.
const RANGE: u64 = 1 << 20;
/// The smallest file that is worth the threads.
const LEAST: u64 = 8 << 20;

/// A file that is read in ranges.
pub(super) struct FileRanges<'a> {
    file: OwnedFd,
    entry: &'a Entry,
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
    Ok(Some(FileRanges { file, entry }))
}

impl Ranges for FileRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        None
    }

    fn length(&self) -> u64 {
        RANGE
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
        let mut offset = number * RANGE;
        let end = self.entry.stamp.size.min(offset + RANGE);
        while offset < end {
            let wanted = buffer.len().min((end - offset) as usize);
            let chunk = match pread(&self.file, &mut buffer[..wanted], offset) {
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
        check(&self.file, &self.entry.stamp)
    }
}
