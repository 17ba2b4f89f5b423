//! Setting an entry's owner, group, attributes, mode and times.

use super::beneath::Directory;
use super::capabilities::{Capabilities, set_mtime};
use super::metadata::{kind_of, look_at, look_at_open, metadata_of, path_of_handle};
use super::xattr;
use super::xattr::{Before, Given};
use crate::backend::{Intended, MetadataSet};
use crate::model::acl;
use crate::model::attributes::ACCESS_ACL;
use crate::model::entry::{SET_GID, SET_UID};
use crate::model::{Attributes, Cause, Feature, Features, Metadata, Timestamp};
use filetime::FileTime;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, openat,
    utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

const SET_ID: u32 = SET_UID | SET_GID;

/// What became of setting an open entry's metadata.
#[derive(Debug)]
pub(super) struct SetOpen {
    /// Features that the file system, or this process, can't give it.
    pub(super) lost: Features,
    /// Whether an attribute was set or removed.
    pub(super) are_attributes_changed: bool,
    /// The mode that it was to get: the intended one, but without its ACL the group has no more
    /// rights than that would leave it.
    pub(super) mode: u32,
    /// The first failure; everything else was still set.
    pub(super) result: Result<(), Cause>,
}

impl SetOpen {
    /// Returns what an entry in its place got.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn checked(self) -> Result<MetadataSet, Cause> {
        let Self { lost, are_attributes_changed, result, .. } = self;
        result.map(|()| MetadataSet { stamp: None, are_attributes_changed, lost })
    }
}

/// Sets owner, group, attributes, mode and mtime where they differ from `existing`. Set-id bits are
/// set last, and only under the owner and group that they are meant for.
pub(super) fn set_open(
    file: &File,
    capabilities: &Capabilities,
    existing: &Metadata,
    intended: &Intended<'_>,
    before: Before,
) -> SetOpen {
    let wanted = intended.metadata;
    let is_given_away = (existing.uid, existing.gid) != (wanted.uid, wanted.gid);
    // chown removes it, and who sets no attributes leaves them as they are.
    let is_kept = is_given_away && before == Before::Unknown && intended.attributes.is_none();
    let capability = if is_kept { xattr::capability(file.as_fd()) } else { None };
    let owned = set_owner(file, existing, wanted);
    let mut existing = *existing;
    // An ACL brings a mode along.
    let given = match (intended.attributes, capability) {
        (Some(attributes), _) => give(file, &mut existing, before, attributes),
        (None, Some(value)) => xattr::give_capability(file.as_fd(), &value),
        (None, None) => Given::default(),
    };
    let wanted = Metadata { mode: mode_without(given.lost, intended), ..*intended.metadata };
    let wanted = Wanted { metadata: wanted, accessed: intended.accessed };
    let set = set_mode_and_time(file, capabilities, &existing, &wanted, owned);
    let owned = owned.map(drop).map_err(Cause::from);
    let result = owned.and(given.failed.map_or(Ok(()), Err)).and(set);
    let (lost, are_attributes_changed) = (given.lost, given.is_changed);
    SetOpen { lost, are_attributes_changed, mode: wanted.metadata.mode, result }
}

/// Sets owner and group where they differ from `existing`; returns whether they did.
fn set_owner(file: &File, existing: &Metadata, wanted: &Metadata) -> rustix::io::Result<bool> {
    let owner = (existing.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (existing.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    let differs = owner.is_some() || group.is_some();
    if differs {
        fchown(file, owner, group)?;
    }
    Ok(differs)
}

/// Gives an open entry its attributes; `existing` then has the mode that it has.
fn give(file: &File, existing: &mut Metadata, before: Before, wanted: &Attributes) -> Given {
    const OWNER_WRITES: u32 = 0o200;
    let mut given = xattr::give(file.as_fd(), before, wanted);
    // Attributes of users are written with the right to write, even by the owner.
    let is_denied = given.failed.as_ref().is_some_and(Cause::is_denied);
    if is_denied && existing.mode & OWNER_WRITES == 0 {
        let mode = Mode::from_raw_mode(existing.mode | OWNER_WRITES);
        // If this fails, the first failure says why.
        if fchmod(file, mode).is_ok() {
            existing.mode |= OWNER_WRITES;
            let again = xattr::give(file.as_fd(), Before::Unknown, wanted);
            let is_changed = given.is_changed || again.is_changed;
            let is_acl_changed = given.is_acl_changed || again.is_acl_changed;
            given = Given { is_changed, is_acl_changed, ..again };
        }
    }
    if given.is_acl_changed {
        match look_at_open(file) {
            Ok(stat) => existing.mode = metadata_of(&stat).mode,
            Err(error) => given.fail(error),
        }
    }
    given
}

/// Returns the mode that an entry gets, given what it lacks: without its ACL its group gets no more
/// rights than that would leave it.
pub(super) fn mode_without(lost: Features, intended: &Intended<'_>) -> u32 {
    let mode = intended.metadata.mode;
    let acl = intended.attributes.and_then(|attributes| attributes.get(ACCESS_ACL.as_bytes()));
    let group = acl.filter(|_| lost.has(Feature::Acl)).and_then(acl::group_bits);
    group.map_or(mode, |group| mode & (!0o070 | group << 3))
}

/// Metadata, and the time of the last access, if that is to be set.
struct Wanted {
    metadata: Metadata,
    accessed: Option<Timestamp>,
}

/// Sets mode and mtime where they differ from `existing`, and the time of the last access.
///
/// # Errors
/// The first failure; the other is still set.
fn set_mode_and_time(
    file: &File,
    capabilities: &Capabilities,
    existing: &Metadata,
    Wanted { metadata: wanted, accessed }: &Wanted,
    owned: rustix::io::Result<bool>,
) -> Result<(), Cause> {
    let mode = if owned.is_ok() { wanted.mode } else { wanted.mode & !SET_ID };
    let mut failed = io::Result::Ok(());
    // chown clears set-id bits.
    if existing.mode != mode || (owned == Ok(true) && mode & SET_ID != 0) {
        let mode = mode_under_its_owner(file, &Metadata { mode, ..*wanted });
        let set = mode.and_then(|mode| fchmod(file, Mode::from_raw_mode(mode)));
        failed = set.map_err(io::Error::from);
    }
    if existing.mtime != wanted.mtime || accessed.is_some() {
        let time = |time: Timestamp| FileTime::from_unix_time(time.seconds, time.nanos);
        let mtime = Some(time(wanted.mtime));
        let set = |atime: Option<_>| {
            filetime::set_file_handle_times(file, accessed.or(atime).map(time), mtime)
        };
        failed = failed.and(set_mtime(capabilities, wanted.mtime, set, || look_at_open(file)));
    }
    Ok(failed?)
}

/// Returns the mode that may be set on an open file under its actual owner and group. A file system
/// may ignore a change of owner and still report success, or give new files to another user.
pub(super) fn mode_under_its_owner(open: impl AsFd, wanted: &Metadata) -> rustix::io::Result<u32> {
    if wanted.mode & SET_ID == 0 {
        return Ok(wanted.mode);
    }
    let stat = look_at_open(open)?;
    Ok(wanted.owned_by(stat.stx_uid, stat.stx_gid, kind_of(&stat)).mode)
}

/// Sets a symbolic link's owner, group and mtime where they differ from `existing`.
pub(super) fn set_link(
    parent: &Arc<Directory>,
    name: &[u8],
    existing: &Metadata,
    wanted: &Metadata,
) -> Result<(), Cause> {
    let owner = (existing.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (existing.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    let mut failed = io::Result::Ok(());
    if owner.is_some() || group.is_some() {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        failed = chownat(&**parent, name, owner, group, flags).map_err(io::Error::from);
    }
    if existing.mtime != wanted.mtime {
        let set = |atime| {
            let times = times(atime, wanted.mtime);
            Ok(utimensat(&**parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        };
        let look = || look_at(&**parent, name);
        failed = failed.and(set_mtime(&parent.capabilities, wanted.mtime, set, look));
    }
    Ok(failed?)
}

/// Sets owner, group, attributes, mode and mtime of an entry that must not or can't be opened, by
/// its name and a handle of kind `O_PATH`.
pub(super) fn set_unopened(
    parent: &Arc<Directory>,
    name: &[u8],
    handle: &File,
    existing: &Metadata,
    intended: &Intended<'_>,
    before: Before,
) -> SetOpen {
    let (file, attributes) = (handle.as_fd(), intended.attributes);
    let capability = attributes.is_none().then(|| xattr::capability(file));
    // chown clears set-id bits and file capabilities.
    let rest = set_link(parent, name, existing, intended.metadata);
    let given = match (attributes, capability.flatten()) {
        (Some(wanted), _) => xattr::give(file, before, wanted),
        (None, Some(value)) => xattr::give_capability(file, &value),
        (None, None) => Given::default(),
    };
    let Given { lost, is_changed, failed, .. } = given;
    let wanted = Metadata { mode: mode_without(lost, intended), ..*intended.metadata };
    let mode = mode_under_its_owner(handle, &wanted);
    let moded = mode.and_then(|mode| chmod_handle(handle, mode)).map_err(Cause::from);
    let result = rest.and(failed.map_or(Ok(()), Err)).and(moded);
    SetOpen { lost, are_attributes_changed: is_changed, mode: wanted.mode, result }
}

/// Returns both times as the kernel takes them; `None` leaves the access time as it is.
pub(super) fn times(atime: Option<Timestamp>, mtime: Timestamp) -> Timestamps {
    let spec = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    let omitted = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access: atime.map_or(omitted, spec), last_modification: spec(mtime) }
}

/// Sets the mode through a handle that was opened without read permission (`O_PATH`), for which
/// `fchmod` fails.
pub(super) fn chmod_handle(handle: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(path_of_handle(handle), Mode::from_raw_mode(mode))
}

/// Opens a directory handle that `fchmod` accepts.
pub(super) fn readable_directory(directory: &Directory) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(directory, c".", flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // The directory is ours, but its mode denies us access.
            chmod_handle(directory, 0o700)?;
            openat(directory, c".", flags, Mode::empty())
        }
        other => other,
    }
}

/// Opens a file to set its metadata: for reading, or if that isn't allowed with `O_PATH`. The flag
/// is true in the latter case.
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

#[cfg(test)]
mod tests {
    use super::super::beneath::Root;
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn set_id_bits_are_not_set_under_another_owner_than_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        let is = file.metadata().unwrap();
        let mtime = Timestamp::default();
        let (uid, gid) = (is.uid(), is.gid());
        for (uid, gid, mode) in [
            (uid, gid, 0o6755),
            (uid + 1, gid, 0o2755),
            (uid, gid + 1, 0o4755),
            (uid + 1, gid + 1, 0o755),
        ] {
            let wanted = Metadata { mode: 0o6755, uid, gid, mtime };
            // As if owner and group were set already, so that they are not set again.
            let existing = Metadata { mode: 0o600, ..wanted };
            let capabilities = &root.directory().capabilities;
            let set = set_open(&file, capabilities, &existing, &(&wanted).into(), Before::New);
            set.result.unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, mode, "{uid} {gid}");
        }
    }
}
