//! Probing a target's file system with temporary entries in vidimus's own directory.

use super::attributes::times;
use super::beneath::Directory;
use super::capabilities::{Capabilities, Kind, is_unsupported, set_mtime};
use super::entries::listed_number;
use super::holes::may_have_holes;
use super::metadata::{Ownership, kind_of, look_at, look_at_open, metadata_of, mtime_of};
use super::rename::{rename_new, rename_new_directory};
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Cause, EntryKind, Keeps, NameLimit, NameLimits, Timestamp};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, linkat, mkdirat, openat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};
use std::os::fd::{AsFd, OwnedFd};

/// Names of the probe's entries; the target's lock keeps two runs from probing at once.
const FILE: &[u8] = b"probe";
const RENAMED: &[u8] = b"probe-renamed";
const LINK: &[u8] = b"probe-link";
const DIRECTORY: &[u8] = b"probe-directory";
const RENAMED_DIRECTORY: &[u8] = b"probe-directory-renamed";

/// Two names that contain most of the characters that some file system refuses.
const STRANGE: [&[u8]; 2] = [b"probe\x01\"*:<>?\\|\xff.", b"probe\x01\"*:<>?\\|\xff "];

/// A time that every file system can store, apart from the digits that its resolution cuts off.
const TIME: Timestamp = Timestamp { seconds: 1_000_000_001, nanos: 987_654_321 };

/// Finds out how a file system treats inode numbers and metadata, in a directory of vidimus's own
/// on it, and removes what it made there. Does nothing if the behaviour is known.
///
/// # Errors
/// Fails if nothing can be created there.
pub(super) fn probe(directory: &Directory, ownership: &Ownership) -> Result<(), Cause> {
    let capabilities = &*directory.capabilities;
    if capabilities.kind != Kind::Other {
        return Ok(());
    }
    remove(directory)?;
    let cleanup = Cleanup(directory);
    let file = create(directory, FILE)?;
    let identifies = identifies(directory, &file)?;
    capabilities.set_identifies(identifies);
    capabilities.set_makes_holes(makes_holes(&file)?);
    let time = kept_time(capabilities, &file)?;
    let of_links = keeps_of_links(directory)?;
    let keeps = Keeps {
        file_mode: given_mode(&file)?,
        directory_mode: directory_mode(directory)?,
        times: time.is_some(),
        time_unit: time.map_or(1, |found| Keeps::unit_of(TIME, found)),
        // Without links there is no link metadata to lose.
        of_links: of_links.unwrap_or(true),
        links: of_links.is_some(),
        owner: given_owner(&file, ownership)?,
        directories: true,
        names: name_limits(directory)?,
    };
    // This falls back to another way if directories can't be renamed, and records that.
    rename_new_directory(directory, DIRECTORY, RENAMED_DIRECTORY)?;
    capabilities.set_keeps(keeps);
    drop(cleanup);
    Ok(())
}

/// Removes the probe's entries when dropped.
struct Cleanup<'a>(&'a Directory);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        // The next run removes what is left before it probes.
        remove(self.0).ok();
    }
}

fn remove(directory: &Directory) -> rustix::io::Result<()> {
    for name in [FILE, RENAMED, LINK] {
        remove_one(directory, name, AtFlags::empty())?;
    }
    for name in [DIRECTORY, RENAMED_DIRECTORY] {
        match open_directory(directory, name) {
            Err(Errno::NOENT) => continue,
            inner => remove_one(inner?, FILE, AtFlags::empty())?,
        }
        remove_one(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn remove_one(directory: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<()> {
    match unlinkat(directory, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn create(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o600))
}

fn open_directory(directory: &Directory, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Returns whether a file keeps the inode number that its directory lists, under a second and a
/// third name.
fn identifies(directory: &Directory, file: &OwnedFd) -> Result<bool, Cause> {
    let number = look_at_open(file)?.stx_ino;
    let is_same = |name| look_at(directory, name).map(|found| found.stx_ino == number);
    let mut identifies = listed_number(directory, FILE)?.is_none_or(|listed| listed == number);
    match linkat(directory, FILE, directory, LINK, AtFlags::empty()) {
        Err(error) if is_unsupported(error) || error == Errno::PERM => {}
        other => {
            other?;
            identifies &= is_same(LINK)?;
            unlinkat(directory, LINK, AtFlags::empty())?;
        }
    }
    rename_new(directory, FILE, RENAMED)?;
    Ok(identifies & is_same(RENAMED)?)
}

/// Returns whether the file, which is empty, has a hole before the only part that is written.
fn makes_holes(file: &OwnedFd) -> rustix::io::Result<bool> {
    pwrite(file, b"x", 1 << 20)?;
    Ok(may_have_holes(&look_at_open(file)?))
}

/// Returns the mode that the file system gives an entry regardless of `fchmod`; `None` if it obeys.
fn given_mode(entry: &OwnedFd) -> rustix::io::Result<Option<u32>> {
    const ANY: u32 = 0o640;
    // The result matters, not whether the call reported success.
    let set = fchmod(entry, Mode::from_raw_mode(ANY));
    let existing = metadata_of(&look_at_open(entry)?).mode;
    Ok((set.is_err() || existing != ANY).then_some(existing))
}

/// Does the same with a new directory that contains a file.
fn directory_mode(directory: &Directory) -> rustix::io::Result<Option<u32>> {
    mkdirat(directory, DIRECTORY, Mode::from_raw_mode(0o700))?;
    let made = open_directory(directory, DIRECTORY)?;
    drop(create(&made, FILE)?);
    given_mode(&made)
}

/// Returns the time that a file has after setting it; `None` if it isn't kept.
fn kept_time(capabilities: &Capabilities, file: &OwnedFd) -> rustix::io::Result<Option<Timestamp>> {
    let set = |atime| Ok(futimens(file, &times(atime, TIME))?);
    let set = set_mtime(capabilities, TIME, set, || look_at_open(file));
    let found = mtime_of(&look_at_open(file)?);
    Ok((set.is_ok() && is_near(found)).then_some(found))
}

/// Returns whether a symbolic link has metadata of its own that can be set; `None` if there are no
/// symbolic links.
fn keeps_of_links(directory: &Directory) -> rustix::io::Result<Option<bool>> {
    match symlinkat(RENAMED, directory, LINK) {
        Err(error) if is_unsupported(error) || error == Errno::PERM => return Ok(None),
        other => other?,
    }
    if kind_of(&look_at(directory, LINK)?) != EntryKind::Symlink {
        return Ok(None);
    }
    let both = times(Some(TIME), TIME);
    let set = utimensat(directory, LINK, &both, AtFlags::SYMLINK_NOFOLLOW);
    Ok(Some(set.is_ok() && is_near(mtime_of(&look_at(directory, LINK)?))))
}

/// Returns which limits the file system sets to names; each is tried on its own only if not all
/// names are accepted.
fn name_limits(directory: &Directory) -> rustix::io::Result<NameLimits> {
    let mut takes_all = true;
    for name in STRANGE {
        takes_all &= takes_name(directory, name)?;
    }
    if takes_all {
        return Ok(NameLimits::NONE);
    }
    let find_limit =
        |limit: NameLimit| Ok((!takes_name(directory, &limit.sample())?).then_some(limit));
    NameLimit::ALL.into_iter().filter_map(|limit| find_limit(limit).transpose()).collect()
}

/// Returns whether a file can have this name exactly: some file systems drop characters at its end.
fn takes_name(directory: &Directory, name: &[u8]) -> rustix::io::Result<bool> {
    match create(directory, name) {
        // EEXIST: a killed probe left it.
        Ok(_) | Err(Errno::EXIST) => {}
        // The reason is not the name.
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::INTR)) => {
            return Err(error);
        }
        Err(_) => return Ok(false),
    }
    let takes = listed_number(directory, name)?.is_some();
    remove_one(directory, name, AtFlags::empty())?;
    Ok(takes)
}

/// Returns the owner and group that the file system gives every entry; `None` if it obeys `fchown`.
fn given_owner(file: impl AsFd, ownership: &Ownership) -> rustix::io::Result<Option<(u32, u32)>> {
    // Only root may give a file away.
    const ANY: u32 = 1;
    let wanted = if ownership.uid == 0 { (ANY, ANY) } else { (ownership.uid, ownership.gid) };
    let owner = (ownership.uid == 0).then(|| Uid::from_raw(ANY));
    let set = fchown(&file, owner, Some(Gid::from_raw(wanted.1)));
    let found = metadata_of(&look_at_open(&file)?);
    let existing = (found.uid, found.gid);
    Ok((set.is_err() || existing != wanted).then_some(existing))
}

fn is_near(found: Timestamp) -> bool {
    found.distance(TIME) < COARSEST_TIMES
}
