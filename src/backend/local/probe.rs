//! Finding out what a target's file system does, by trying it on entries of vidimus's own.

use super::attributes::times;
use super::beneath::Directory;
use super::capabilities::{Capabilities, Kind, is_unsupported, set_mtime};
use super::entries::listed_number;
use super::metadata::{Ownership, look_at, look_at_open, metadata_of, mtime_of};
use super::place::rename_new;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Cause, Keeps, Timestamp};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, linkat, mkdirat, openat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// What is tried is tried on these; the lock keeps two runs from trying at once.
const FILE: &[u8] = b"probe";
const RENAMED: &[u8] = b"probe-renamed";
const LINK: &[u8] = b"probe-link";
const DIRECTORY: &[u8] = b"probe-directory";

/// A time that every file system can keep, but for what its unit cuts off.
const TIME: Timestamp = Timestamp { seconds: 1_000_000_001, nanos: 987_654_321 };

/// Learns what a file system does with inode numbers and metadata, in a directory of vidimus's own
/// on it; nothing of one of which that is known. What is tried is removed again.
///
/// # Errors
/// When nothing can be made there.
pub(super) fn probe(directory: &Directory, ownership: &Ownership) -> Result<(), Cause> {
    let capabilities = &*directory.capabilities;
    if capabilities.kind != Kind::Other {
        return Ok(());
    }
    remove(directory)?;
    let tried = Tried(directory);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, FILE, flags, Mode::from_raw_mode(0o600))?;
    let identifies = identifies(directory, &file)?;
    capabilities.learn_identifies(identifies);
    let time = kept_time(capabilities, &file)?;
    let keeps = Keeps {
        file_mode: given_mode(&file)?,
        directory_mode: directory_mode(directory)?,
        times: time.is_some(),
        time_unit: time.map_or(1, |found| Keeps::unit_of(TIME, found)),
        of_links: keeps_of_links(directory)?,
        owner: given_owner(&file, ownership)?,
        directories: true,
    };
    capabilities.learn_keeps(keeps);
    drop(tried);
    Ok(())
}

/// Removes what was tried.
struct Tried<'a>(&'a Directory);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        // What stays is removed by the next run, before it tries anything.
        remove(self.0).ok();
    }
}

fn remove(directory: &Directory) -> rustix::io::Result<()> {
    let no_flags = AtFlags::empty();
    for (name, flags) in
        [(FILE, no_flags), (RENAMED, no_flags), (LINK, no_flags), (DIRECTORY, AtFlags::REMOVEDIR)]
    {
        match unlinkat(directory, name, flags) {
            Err(Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Whether a file keeps the inode number that its directory lists, under a second and a third name.
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

/// The mode that an entry has whatever it is told to have; `None` where it takes what it is told.
fn given_mode(entry: &OwnedFd) -> rustix::io::Result<Option<u32>> {
    const ANY: u32 = 0o640;
    // What it answers counts less than what stands then.
    let set = fchmod(entry, Mode::from_raw_mode(ANY));
    let stands = metadata_of(&look_at_open(entry)?).mode;
    Ok((set.is_err() || stands != ANY).then_some(stands))
}

fn directory_mode(directory: &Directory) -> rustix::io::Result<Option<u32>> {
    mkdirat(directory, DIRECTORY, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    given_mode(&openat(directory, DIRECTORY, flags, Mode::empty())?)
}

/// What a file's time is once it was set; `None` where that isn't kept.
fn kept_time(capabilities: &Capabilities, file: &OwnedFd) -> rustix::io::Result<Option<Timestamp>> {
    let set = |atime| Ok(futimens(file, &times(atime, TIME))?);
    let set = set_mtime(capabilities, TIME, set, || look_at_open(file));
    let found = mtime_of(&look_at_open(file)?);
    Ok((set.is_ok() && is_near(found)).then_some(found))
}

/// Whether what is set of a symbolic link is not what it points to has then, or lost.
fn keeps_of_links(directory: &Directory) -> rustix::io::Result<bool> {
    if symlinkat(RENAMED, directory, LINK).is_err() {
        // There are none whose metadata could be lost.
        return Ok(true);
    }
    let both = times(Some(TIME), TIME);
    let set = utimensat(directory, LINK, &both, AtFlags::SYMLINK_NOFOLLOW);
    Ok(set.is_ok() && is_near(mtime_of(&look_at(directory, LINK)?)))
}

/// The owner and group that everything has; `None` where they are whose they are said to be.
fn given_owner(file: impl AsFd, ownership: &Ownership) -> rustix::io::Result<Option<(u32, u32)>> {
    // Nobody but root may give a file away.
    const ANY: u32 = 1;
    let wanted = if ownership.uid == 0 { (ANY, ANY) } else { (ownership.uid, ownership.gid) };
    let owner = (ownership.uid == 0).then(|| Uid::from_raw(ANY));
    let set = fchown(&file, owner, Some(Gid::from_raw(wanted.1)));
    let found = metadata_of(&look_at_open(&file)?);
    let stands = (found.uid, found.gid);
    Ok((set.is_err() || stands != wanted).then_some(stands))
}

fn is_near(found: Timestamp) -> bool {
    found.distance(TIME) < COARSEST_TIMES
}
