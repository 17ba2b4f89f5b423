//! Special files: named pipes, sockets and devices. Opening one may block, or do whatever its
//! driver does; so they are made by name, and get their metadata through handles that open nothing
//! (`O_PATH`).

use super::attributes::{SetOpen, set_unopened};
use super::beneath::Directory;
use super::capabilities::Kind;
use super::metadata::{kind_of, look_at_open, metadata_of};
use super::xattr::{self, Before, Given};
use crate::backend::Intended;
use crate::model::{Attributes, Cause, DeviceNumber, Entry, EntryKind, SpecialKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, makedev, mknodat, openat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// The device number that overlay file systems give what stands for a deleted entry.
const WHITEOUT: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// Makes a special file that is closed to others until its metadata is set.
///
/// # Errors
/// [`Cause::SpecialRefused`] if this process or the file system can't make it.
pub(super) fn make(directory: &Directory, name: &[u8], entry: &Entry) -> Result<(), Cause> {
    let kind = match entry.kind {
        EntryKind::Special(SpecialKind::Fifo) => FileType::Fifo,
        EntryKind::Special(SpecialKind::Socket) => FileType::Socket,
        EntryKind::Special(SpecialKind::CharacterDevice) => FileType::CharacterDevice,
        EntryKind::Special(SpecialKind::BlockDevice) => FileType::BlockDevice,
        kind => return Err(Cause::Special(kind)),
    };
    let device = match entry.device() {
        None if entry.kind.is_device() => {
            return Err(Cause::Other("the number of the device is not known".to_owned()));
        }
        number => number.map_or(0, |DeviceNumber { major, minor }| makedev(major, minor)),
    };
    match mknodat(directory, name, kind, Mode::from_raw_mode(0o600), device) {
        Err(Errno::PERM)
            if kind == FileType::CharacterDevice && entry.device() == Some(WHITEOUT) =>
        {
            let why = "an overlay file system has no character device 0:0, which marks what was \
                       deleted";
            Err(Cause::Other(why.to_owned()))
        }
        Err(Errno::INVAL) if let Some(number) = entry.device() => {
            let why = format!("the target's file system has no device number {number}");
            Err(Cause::Other(why))
        }
        // EPERM: no right to make devices, or a file system that has none, as others of these say.
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {
            Err(Cause::SpecialRefused { kind: entry.kind, others: 0 })
        }
        // Programs behind FUSE may say so when they know only regular files. A disk that fails fails
        // what comes next, too.
        Err(Errno::IO) if directory.capabilities.kind == Kind::Other => {
            // exfat-fuse makes a regular file, which the kernel then refuses to take for this one.
            match unlinkat(directory, name, AtFlags::empty()) {
                Err(Errno::NOENT) => {}
                other => other?,
            }
            Err(Cause::SpecialRefused { kind: entry.kind, others: 0 })
        }
        // Two names are the same to the file system.
        Err(Errno::EXIST) => Err(Cause::NameTaken),
        other => Ok(other?),
    }
}

/// Opens a handle for the metadata of a special file, which doesn't open the file itself. `no_follow`
/// is the flag that refuses a symbolic link, or nothing.
///
/// # Errors
/// [`Cause::TargetChanged`] if it is no special file of this kind.
pub(super) fn handle(
    directory: &Directory,
    name: &[u8],
    kind: EntryKind,
    no_follow: OFlags,
) -> Result<(File, Statx), Cause> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | no_follow;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let stat = look_at_open(&file)?;
    if kind_of(&stat) == kind { Ok((file, stat)) } else { Err(Cause::TargetChanged) }
}

/// Gives a symbolic link its attributes, which only root can: users' belong to files and
/// directories.
pub(super) fn give_link(
    directory: &Directory,
    name: &[u8],
    before: Before,
    attributes: Option<&Attributes>,
) -> Result<Given, Cause> {
    let Some(wanted) = attributes.filter(|wanted| before != Before::New || !wanted.is_empty())
    else {
        return Ok(Given::default());
    };
    if !rustix::process::geteuid().is_root() {
        return Ok(Given { lost: wanted.features(), ..Given::default() });
    }
    let (link, _) = handle(directory, name, EntryKind::Symlink, OFlags::NOFOLLOW)?;
    Ok(xattr::give(link.as_fd(), before, wanted))
}

/// Sets the metadata of a special file that was just made, as far as it can have it.
pub(super) fn set_new(
    directory: &Arc<Directory>,
    name: &[u8],
    kind: EntryKind,
    intended: &Intended<'_>,
) -> Result<SetOpen, Cause> {
    let (file, stat) = handle(directory, name, kind, OFlags::NOFOLLOW)?;
    let existing = metadata_of(&stat);
    let keeps = directory.capabilities.keeps();
    let wanted = keeps.achievable(*intended.metadata, kind, Some(&existing));
    let intended = Intended { metadata: &wanted, ..*intended };
    // It may have inherited an ACL.
    Ok(set_unopened(directory, name, &file, &existing, &intended, Before::Unknown))
}
