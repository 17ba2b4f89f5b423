//! Flags of files (chattr(1)): what a listing shows of them, and changing them.
//!
//! A file that is immutable or append-only can't be renamed over, renamed or removed, and neither
//! can what an immutable or append-only directory holds. So what a run replaces or removes loses
//! these flags right before, and the flags of copies are set when all else is done.

use super::beneath::Directory;
use super::capabilities::is_unsupported;
use super::metadata::{kind_of, look_at, look_at_open, path_of_handle};
use crate::backend::FlagsSet;
use crate::model::{Cause, EntryKind, FileFlags};
use rustix::fs::{
    IFlags, Mode, OFlags, Statx, StatxAttributes, ioctl_getflags, ioctl_setflags, openat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

const OF_COPIES: [(FileFlags, StatxAttributes, IFlags); 3] = [
    (FileFlags::IMMUTABLE, StatxAttributes::IMMUTABLE, IFlags::IMMUTABLE),
    (FileFlags::APPEND, StatxAttributes::APPEND, IFlags::APPEND),
    (FileFlags::NO_DUMP, StatxAttributes::NODUMP, IFlags::NODUMP),
];

/// Returns the flags that `statx` reports.
pub(super) fn flags_of(stat: &Statx) -> FileFlags {
    let is_set = |attribute: StatxAttributes| stat.stx_attributes.contains(attribute);
    let set = OF_COPIES.into_iter().filter(|(_, attribute, _)| is_set(*attribute));
    set.fold(FileFlags::default(), |flags, (flag, ..)| flags.with(flag))
}

/// Removes the flags of a name that keep it from being replaced, changed or removed.
pub(super) fn unprotect(parent: &Directory, name: &[u8]) -> rustix::io::Result<()> {
    let stat = match look_at(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    if !flags_of(&stat).protect() {
        return Ok(());
    }
    let open = open(parent, name)?;
    let is_the_same = look_at_open(&open)?.stx_ino == stat.stx_ino;
    if is_the_same { unprotect_open(&open) } else { Ok(()) }
}

/// Removes the flags of a directory that keep its entries from being replaced or removed.
pub(super) fn unprotect_directory(directory: &Directory) -> rustix::io::Result<()> {
    // The handle may be one that can't be read by.
    unprotect_open(reopen(directory)?)
}

fn unprotect_open(open: impl AsFd) -> rustix::io::Result<()> {
    let flags = ioctl_getflags(&open)?;
    ioctl_setflags(&open, flags - (IFlags::IMMUTABLE | IFlags::APPEND))
}

fn open(parent: &Directory, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn reopen(directory: &Directory) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path_of_handle(directory), flags, Mode::empty())
}

/// Gives a file or directory exactly these flags, of those that copies have.
pub(super) fn set_flags(
    parent: &Directory,
    name: Option<&[u8]>,
    kind: EntryKind,
    wanted: FileFlags,
) -> Result<FlagsSet, Cause> {
    if !matches!(kind, EntryKind::File | EntryKind::Directory) {
        return Ok(FlagsSet::NotKept);
    }
    let open = match name {
        Some(name) => open(parent, name)?,
        None => reopen(parent)?,
    };
    if kind_of(&look_at_open(&open)?) != kind {
        return Err(Cause::TargetChanged);
    }
    let is_refused = |error| is_unsupported(error) || matches!(error, Errno::PERM | Errno::NOTTY);
    let before = match ioctl_getflags(&open) {
        Err(error) if is_refused(error) && wanted.is_empty() => return Ok(FlagsSet::Done),
        Err(error) if is_refused(error) => return Ok(FlagsSet::NotKept),
        before => before?,
    };
    let flags = OF_COPIES.into_iter().fold(before, |mut flags, (flag, _, bit)| {
        flags.set(bit, wanted.has(flag));
        flags
    });
    if flags == before {
        return Ok(FlagsSet::Done);
    }
    match ioctl_setflags(&open, flags) {
        Err(error) if is_refused(error) => Ok(FlagsSet::NotKept),
        set => Ok(set.map(|()| FlagsSet::Done)?),
    }
}
