//! Iterating over the entries of a directory.

use crate::model::Cause;
use rustix::fs::{FileType, Mode, OFlags, RawDir, openat};
use std::os::fd::{AsFd, OwnedFd};

/// Size in bytes of the buffer for directory entries.
const READ_AT_ONCE: usize = 32 << 10;
/// Names collected from a directory at once.
const NAMES: usize = 1_024;

/// An entry as its directory lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a [u8],
    /// The entry's type, if the file system includes it in the listing.
    pub(super) file_type: FileType,
    /// The inode number.
    pub(super) number: u64,
}

/// Calls `visit` for each entry of a directory from its beginning, whatever the offset of the
/// handle, until it returns false.
pub(super) fn for_each_entry<E: From<rustix::io::Errno>>(
    directory: impl AsFd,
    mut visit: impl FnMut(Listed<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from_start = openat(directory, c".", flags, Mode::empty())?;
    let mut buffer: Vec<u8> = Vec::with_capacity(READ_AT_ONCE);
    let mut entries = RawDir::new(&from_start, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let listed = Listed { name, file_type: entry.file_type(), number: entry.ino() };
        if name != b"." && name != b".." && !visit(listed)? {
            break;
        }
    }
    Ok(())
}

/// Calls `take` for each leaf of a directory without subdirectories. `take` must remove the leaf
/// from the directory.
pub(super) fn each_leaf(
    directory: &OwnedFd,
    mut take: impl FnMut(&[u8]) -> Result<(), Cause>,
) -> Result<(), Cause> {
    loop {
        let mut names = Vec::with_capacity(NAMES);
        for_each_entry(directory, |listed| {
            names.push(Box::<[u8]>::from(listed.name));
            rustix::io::Result::Ok(names.len() < NAMES)
        })?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            take(&name)?;
        }
    }
}

/// Returns the inode number that a directory lists for a name; `None` if the name isn't listed.
pub(super) fn listed_number(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<u64>> {
    let mut number = None;
    for_each_entry(directory, |listed| {
        number = (listed.name == name).then_some(listed.number);
        rustix::io::Result::Ok(number.is_none())
    })?;
    Ok(number)
}
