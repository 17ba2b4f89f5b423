//! Files that share their content with the source's, on file systems that can (XFS, Btrfs and
//! others): nothing is read or written for it, and no space is taken.
//!
//! What the copy holds is then read back from it, past the page cache where that is possible, so
//! that the digest is that of what the copy has.

use super::beneath::Root;
use super::capabilities::Capabilities;
use super::holes::{Unit, is_hole, may_have_holes, read_part};
use super::inspect::OpenFile;
use super::metadata::look_at_open;
use super::read::{check, open_listed};
use super::shared::Shared;
use crate::backend::{Facts, Inspect as _, Inspected, Piece, Ranges, ReadError, Source};
use crate::model::{Cause, Entry};
use rustix::fs::{OFlags, fcntl_setfl, ioctl_ficlone};
use rustix::io::{Errno, pread};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd as _;

/// Makes an empty file share the content of a source's entry; returns `None` if that is not
/// possible. See [`Stage::reflink`](crate::backend::Stage::reflink).
pub(super) fn reflink(
    shared: &Shared,
    file: &File,
    file_system: &Capabilities,
    source: &dyn Source,
    entry: &Entry,
) -> Result<Option<Inspected>, ReadError> {
    let origin = source.copy_origin().and_then(|origin| origin.downcast_ref::<Root>());
    let Some(root) = origin else { return Ok(None) };
    let listed = open_listed(root, entry)?;
    let pair = (listed.1.device(), file_system.device());
    let is_refused = || shared.refused_reflinks.lock().contains(&pair);
    if !listed.1.may_reflink || !file_system.may_reflink || is_refused() {
        return Ok(None);
    }
    let stat = check(&listed, &entry.stamp)?;
    match ioctl_ficlone(file, &listed.0) {
        Ok(()) => {}
        // One of the two files alone can't share its content (Btrfs, `chattr +C`).
        Err(Errno::INVAL) => return Ok(None),
        // Two file systems, or one that was made without this.
        Err(Errno::XDEV | Errno::NOTSUP | Errno::NOSYS | Errno::NOTTY | Errno::PERM) => {
            shared.refused_reflinks.lock().push(pair);
            return Ok(None);
        }
        Err(error) => return Err(ReadError::Sink(error.into())),
    }
    let inspected = OpenFile::new(&listed.0, &stat).inspect();
    check(&listed, &entry.stamp)?;
    Ok(Some(source.map_inspected(entry.kind, inspected)))
}

/// The content of a staged file, which is read back.
pub(super) struct ReadBack<'a> {
    file: &'a File,
    size: u64,
    length: u64,
    may_have_holes: bool,
    unit: Unit,
}

impl<'a> ReadBack<'a> {
    /// Reads `size` bytes of a file in ranges of `length` bytes.
    pub(super) fn new(file: &'a File, size: u64, length: u64) -> rustix::io::Result<Self> {
        let stat = look_at_open(file)?;
        let unit = if reads_directly(file) { Unit::Block } else { Unit::Byte };
        Ok(Self { file, size, length, may_have_holes: may_have_holes(&stat), unit })
    }
}

impl Drop for ReadBack<'_> {
    fn drop(&mut self) {
        // If this fails, so does writing, which is reported.
        fcntl_setfl(self.file, OFlags::empty()).ok();
    }
}

/// Makes reads of a file pass by the page cache, where pages for them would have to be made first.
/// Returns false if the file system doesn't take such reads.
fn reads_directly(file: &File) -> bool {
    if fcntl_setfl(file, OFlags::DIRECT).is_err() {
        return false;
    }
    let mut buffer = [0; 3 * Unit::BLOCK];
    let tried = pread(file, Unit::Block.aligned(&mut buffer), 0);
    // If that can't be undone, reading fails, and the entry with it.
    tried.is_ok() || fcntl_setfl(file, OFlags::empty()).is_err()
}

impl Ranges for ReadBack<'_> {
    fn facts(&self) -> Option<&Facts> {
        None
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn readers(&self) -> Option<usize> {
        None
    }

    fn is_hole(&self, bytes: Range<u64>) -> bool {
        self.may_have_holes && is_hole(self.file.as_fd(), bytes)
    }

    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        let start = number * self.length();
        let end = self.size.min(start.saturating_add(self.length()));
        let read =
            read_part(self.file.as_fd(), start..end, self.may_have_holes, self.unit, buffer, take);
        match read {
            // It is the target that can't be read, or that somebody changes.
            Err(ReadError::Source(cause)) => Err(ReadError::Sink(cause)),
            Err(ReadError::Changed) => Err(ReadError::Sink(Cause::TargetChanged)),
            other => other,
        }
    }

    fn end(&self) -> Result<(), ReadError> {
        Ok(())
    }
}
