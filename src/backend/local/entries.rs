//! Going through what a directory lists.

use crate::model::Cause;
use rustix::fs::{FileType, Mode, OFlags, RawDir, openat};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a directory's entries that are read at once.
const READ_AT_ONCE: usize = 32 << 10;
/// Names taken from a directory at once.
const NAMES: usize = 1_024;

/// An entry as its directory lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a [u8],
    /// What it is, where the file system says so in the list.
    pub(super) file_type: FileType,
    /// The number of its inode.
    pub(super) number: u64,
}

/// Goes through a directory's entries from its beginning, wherever the handle stands, as long as
/// `go_on` says so.
pub(super) fn for_each_entry<E: From<rustix::io::Errno>>(
    directory: impl AsFd,
    mut go_on: impl FnMut(Listed<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from_start = openat(directory, c".", flags, Mode::empty())?;
    let mut buffer: Vec<u8> = Vec::with_capacity(READ_AT_ONCE);
    let mut entries = RawDir::new(&from_start, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let listed = Listed { name, file_type: entry.file_type(), number: entry.ino() };
        if name != b"." && name != b".." && !go_on(listed)? {
            break;
        }
    }
    Ok(())
}

/// Acts on each leaf of a directory that holds no directories, which takes it from there.
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

/// The inode number that a directory lists for a name; `None` where it doesn't list that.
pub(super) fn listed_number(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<u64>> {
    let mut number = None;
    for_each_entry(directory, |listed| {
        number = (listed.name == name).then_some(listed.number);
        rustix::io::Result::Ok(number.is_none())
    })?;
    Ok(number)
}
