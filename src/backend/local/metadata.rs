//! Conversion between the kernel's metadata and the model's.

use crate::model::{Birth, DeviceNumber, EntryKind, Metadata, SpecialKind, Timestamp};
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, statx};
use rustix::process::{getegid, geteuid, getgroups};
use std::os::fd::{AsFd, AsRawFd as _};

/// What is asked of the kernel: all that costs nothing, and when an entry was created.
pub(super) const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Returns the result of `statx` for `name` in a directory; for a symbolic link that of the link
/// itself.
pub(super) fn look_at(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(directory, name, flags, ASKED)
}

/// Returns the result of `statx` for what `name` in a directory leads to.
pub(super) fn look_through(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Statx> {
    statx(directory, name, AtFlags::NO_AUTOMOUNT, ASKED)
}

/// Returns the result of `statx` for an open file.
pub(super) fn look_at_open(file: impl AsFd) -> rustix::io::Result<Statx> {
    statx(file, c"", AtFlags::EMPTY_PATH, ASKED)
}

/// Returns the `/proc` path of an open handle, for calls that don't take an `O_PATH` handle.
pub(super) fn path_of_handle(handle: impl AsFd) -> String {
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())
}

/// Converts the type of an entry.
pub(super) fn kind(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Special(SpecialKind::Fifo),
        FileType::Socket => EntryKind::Special(SpecialKind::Socket),
        FileType::CharacterDevice => EntryKind::Special(SpecialKind::CharacterDevice),
        FileType::BlockDevice => EntryKind::Special(SpecialKind::BlockDevice),
        FileType::Unknown => EntryKind::Special(SpecialKind::Unknown),
    }
}

/// Returns the type that `statx` reports.
pub(super) fn kind_of(stat: &Statx) -> EntryKind {
    kind(FileType::from_raw_mode(stat.stx_mode.into()))
}

/// Returns the number of a device that `statx` reports.
pub(super) fn device_of(stat: &Statx) -> Option<DeviceNumber> {
    let number = DeviceNumber { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor };
    kind_of(stat).is_device().then_some(number)
}

/// Returns the modification time that `statx` reports.
pub(super) fn mtime_of(stat: &Statx) -> Timestamp {
    Timestamp { seconds: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec }
}

/// Returns the time of the last access that `statx` reports.
pub(super) fn atime_of(stat: &Statx) -> Timestamp {
    Timestamp { seconds: stat.stx_atime.tv_sec, nanos: stat.stx_atime.tv_nsec }
}

/// Returns the time of creation that `statx` reports, if the file system knows it.
pub(super) fn born(stat: &Statx) -> Option<Birth> {
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let time = stat.stx_btime;
    let time = Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec };
    if is_known { Birth::of(time) } else { None }
}

/// Returns the metadata that `statx` reports.
pub(super) fn metadata_of(stat: &Statx) -> Metadata {
    Metadata {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: mtime_of(stat),
    }
}

/// The user and groups of this process, which limit the owners and groups that it can set.
#[derive(Debug)]
pub(super) struct Ownership {
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<u32>,
}

impl Ownership {
    pub(super) fn of_this_process() -> rustix::io::Result<Self> {
        let groups = getgroups()?.into_iter().map(rustix::fs::Gid::as_raw).collect();
        Ok(Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups })
    }

    /// Returns whether only another user or root can set the metadata of an entry with this owner.
    pub(super) fn is_anothers(&self, existing: &Metadata) -> bool {
        self.uid != 0 && self.uid != existing.uid
    }

    /// Returns the metadata that a copy of a source file will have here.
    ///
    /// Root keeps everything. Other users own what they write, keep the source's group if they are
    /// in it, and never set a set-id bit under another owner or group than the source's.
    pub(super) fn achievable(&self, source: &Metadata, kind: EntryKind) -> Metadata {
        if self.uid == 0 {
            return *source;
        }
        let is_own_group = source.gid == self.gid || self.groups.contains(&source.gid);
        let gid = if is_own_group { source.gid } else { self.gid };
        source.owned_by(self.uid, gid, kind)
    }
}
