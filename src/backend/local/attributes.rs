//! Setting what an entry carries besides its content: owner, group, mode, times.

use super::beneath::Directory;
use crate::model::{Cause, Metadata, Timestamp};
use filetime::FileTime;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, openat,
    utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::Arc;

/// Sets owner, group, mode and mtime where they differ from what stands.
pub(super) fn set_open(file: &File, stands: &Metadata, wanted: &Metadata) -> Result<(), Cause> {
    let owner = (stands.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (stands.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    let mut failed = Ok(());
    let mut mode = wanted.mode;
    let chowned = owner.is_some() || group.is_some();
    if chowned && let Err(error) = fchown(file, owner, group) {
        mode &= 0o1777;
        failed = Err(Cause::from(error));
    }
    // chown clears set-id bits.
    if stands.mode != mode || (chowned && mode & 0o6000 != 0) {
        fchmod(file, Mode::from_raw_mode(mode))?;
    }
    if stands.mtime != wanted.mtime {
        filetime::set_file_handle_times(file, None, Some(file_time(wanted.mtime)))?;
    }
    failed
}

/// Sets a symbolic link's owner, group and mtime where they differ from what stands.
pub(super) fn set_link(
    parent: &Arc<Directory>,
    name: &[u8],
    stands: &Metadata,
    wanted: &Metadata,
) -> Result<(), Cause> {
    let owner = (stands.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (stands.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    let mut failed = Ok(());
    if owner.is_some() || group.is_some() {
        failed = chownat(&**parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW);
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: wanted.mtime.seconds,
            tv_nsec: wanted.mtime.nanos.into(),
        },
    };
    utimensat(&**parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    failed.map_err(Cause::from)
}

/// `fchmod` for handles that were opened without the right to read (`O_PATH`).
pub(super) fn chmod_handle(handle: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    let path = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
}

/// A handle of a directory that `fchmod` accepts.
pub(super) fn readable_directory(directory: &Directory) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(directory, c".", flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Ours, and closed to ourselves.
            chmod_handle(directory, 0o700)?;
            openat(directory, c".", flags, Mode::empty())
        }
        other => other,
    }
}

/// Opens a file to set its metadata: for reading, or, where that isn't allowed, as a mere handle.
pub(super) fn open_for_metadata(
    parent: &Directory,
    name: &[u8],
) -> rustix::io::Result<(File, bool)> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Err(Errno::ACCESS) => {
            Ok((File::from(openat(parent, name, flags | OFlags::PATH, Mode::empty())?), true))
        }
        other => Ok((File::from(other?), false)),
    }
}

fn file_time(time: Timestamp) -> FileTime {
    FileTime::from_unix_time(time.seconds, time.nanos)
}
