//! Entries and their stamps: what the kernel says, as far as the file system is to be believed.

use super::capabilities::{Capabilities, Kind};
use super::metadata::{kind_of, look_at, metadata_of, mtime_of};
use crate::model::entry::Completeness;
use crate::model::stamp::Inode;
use crate::model::{Entry, Key, Stamp, Timestamp};
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};
use std::os::fd::AsFd;

/// What `statx` says of `name` in a directory, and not what was kept of an earlier look: FUSE and network file systems keep that for a
/// while, and the change time in it is not yet the one that a rename left.
pub(super) fn look_afresh(
    capabilities: &Capabilities,
    directory: impl AsFd,
    name: &[u8],
) -> rustix::io::Result<Statx> {
    if capabilities.kind != Kind::Other {
        return look_at(directory, name);
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
    statx(directory, name, flags, StatxFlags::BASIC_STATS)
}

/// The stamp that `statx` reports.
pub(super) fn stamp_of(capabilities: &Capabilities, stat: &Statx) -> Stamp {
    let mtime = mtime_of(stat);
    let ctime = Timestamp { seconds: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec };
    Stamp::of_inode(stat.stx_size, Inode { mtime, ctime, number: capabilities.number(stat) })
}

/// An entry as `statx` reports it.
pub(super) fn entry(
    capabilities: &Capabilities,
    key: Key,
    stat: &Statx,
    link: Option<Box<[u8]>>,
) -> Entry {
    Entry {
        key,
        kind: kind_of(stat),
        stamp: stamp_of(capabilities, stat),
        metadata: metadata_of(stat),
        link,
        completeness: Completeness::Full,
        recorded: None,
    }
}
