//! Entries and their stamps, built from the kernel's answers as far as the file system can be
//! trusted.

use super::capabilities::{Capabilities, Kind};
use super::flags::flags_of;
use super::metadata::{ASKED, atime_of, born, device_of, kind_of, look_at, metadata_of, mtime_of};
use crate::model::entry::Completeness;
use crate::model::stamp::Inode;
use crate::model::{Entry, EntryKind, Extras, FileFlags, Key, Stamp, Timestamp};
use rustix::fs::{AtFlags, Statx, statx};
use std::os::fd::AsFd;

/// Returns the result of `statx` for `name` in a directory without using cached attributes. FUSE
/// and network file systems cache them for a while, and after a rename the cached ctime is
/// outdated.
pub(super) fn look_afresh(
    capabilities: &Capabilities,
    directory: impl AsFd,
    name: &[u8],
) -> rustix::io::Result<Statx> {
    if capabilities.kind != Kind::Other {
        return look_at(directory, name);
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
    statx(directory, name, flags, ASKED)
}

/// Returns the stamp that `statx` reports.
pub(super) fn stamp_of(capabilities: &Capabilities, stat: &Statx) -> Stamp {
    let mtime = mtime_of(stat);
    let ctime = Timestamp { seconds: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec };
    Stamp::of_inode(stat.stx_size, Inode { mtime, ctime, number: capabilities.number(stat) })
}

/// Builds an entry from `statx`.
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
        extras: extras(capabilities, stat),
        born: born(stat),
    }
}

/// Returns what few entries have, as far as `statx` reports it.
fn extras(capabilities: &Capabilities, stat: &Statx) -> Option<Box<Extras>> {
    let asked = &capabilities.asked;
    let is_accessed = asked.accessed() && kind_of(stat) == EntryKind::File;
    Extras {
        group: capabilities.group(stat),
        device: device_of(stat),
        flags: if asked.flags() { flags_of(stat) } else { FileFlags::default() },
        accessed: is_accessed.then(|| atime_of(stat)),
        ..Extras::default()
    }
    .boxed()
}
