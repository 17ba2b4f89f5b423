//! Reading files: once, beneath the root, and only as the entry that was listed.

use super::beneath::Root;
use super::capabilities::{Capabilities, is_unsupported};
use super::entries::for_each_entry;
use super::inspect::OpenFile;
use super::metadata::{kind_of, look_at_open};
use super::stamp::{entry, look_afresh, stamp_of};
use crate::backend::{ReadError, Reading, Sink};
use crate::model::names::legal;
use crate::model::{Cause, Entry, EntryKind, Key, Stamp};
use rustix::fs::{Mode, OFlags, Statx, openat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Reads a regular file whole; see [`Source::read`](crate::backend::Source::read).
///
/// It is opened without following a link and without waiting (a FIFO may have taken its place); its
/// stamp must be the listed one after the last byte. A stamp that is the same after reading was the
/// same before: ctime never goes back.
pub(super) fn read(
    root: &Root,
    entry: &Entry,
    buffer: &mut [u8],
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let listed = open_listed(root, entry)?;
    let file = &listed.0;
    let fits = entry.stamp.size < buffer.len() as u64;
    if !fits {
        // Not worth a system call for a small file: its one read is followed by the last look.
        let stat = check(&listed, &entry.stamp)?;
        hand_out(file, &stat, 0, sink)?;
    }
    let mut done = 0_u64;
    loop {
        let filled = fill(file, buffer, entry.stamp.size - done)?;
        let chunk = &buffer[..filled];
        done += filled as u64;
        if done > entry.stamp.size {
            return Err(of_another_length(&listed, &entry.stamp));
        }
        if filled < buffer.len() || done == entry.stamp.size && at_end(file)? {
            if done != entry.stamp.size {
                return Err(of_another_length(&listed, &entry.stamp));
            }
            let stat = check(&listed, &entry.stamp)?;
            if fits {
                hand_out(file, &stat, done, sink)?;
            }
            if filled > 0 || done == 0 {
                sink(Reading::Chunk(chunk)).map_err(ReadError::Sink)?;
            }
            return Ok(());
        }
        sink(Reading::Chunk(chunk)).map_err(ReadError::Sink)?;
    }
}

/// Hands the open file out, whose reading goes on at `at`.
fn hand_out(file: &OwnedFd, stat: &Statx, at: u64, sink: &mut Sink<'_>) -> Result<(), ReadError> {
    let open = OpenFile::new(file, stat);
    sink(Reading::Opened(&open)).map_err(ReadError::Sink)?;
    open.go_on(at).map_err(|error| ReadError::Source(error.into()))
}

/// The error of a file with more or fewer bytes than were listed: it changed, unless its stamp is
/// what it was.
fn of_another_length(file: &Listed, listed: &Stamp) -> ReadError {
    match check(file, listed) {
        Ok(_) => ReadError::Source(Cause::NotItsSize { size: listed.size }),
        Err(error) => error,
    }
}

/// The names in a directory; see [`Source::names`](crate::backend::Source::names).
pub(super) fn names(root: &Root, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
    let directory = match root.descend(directory.as_bytes()) {
        // What stands there may be no directory: a file has no names in it.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        directory => directory?,
    };
    let mut names = Vec::new();
    for_each_entry(&*directory, |listed| {
        names.push(listed.name.to_vec());
        Ok::<_, Cause>(true)
    })?;
    Ok(names)
}

/// Looks at one entry; see [`Source::look`](crate::backend::Source::look).
pub(super) fn look(root: &Root, key: &Key) -> Result<Option<Entry>, Cause> {
    if !key.is_root() {
        legal(key)?;
    }
    let found = root.descend(key.parent()).and_then(|parent| {
        let stat = if key.is_root() {
            look_at_open(&*parent)
        } else {
            look_afresh(&parent.capabilities, &*parent, key.name())
        };
        stat.map(|stat| (parent, stat))
    });
    match found {
        Ok((parent, stat)) => {
            let link = match kind_of(&stat) {
                EntryKind::Symlink => Some(link_text(&*parent, key.name())?),
                _ => None,
            };
            Ok(Some(entry(&parent.capabilities, key.clone(), &stat, link)))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The text of a symbolic link.
pub(super) fn link_text(
    directory: impl std::os::fd::AsFd,
    name: &[u8],
) -> rustix::io::Result<Box<[u8]>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes().into_boxed_slice())
}

/// A file that was opened, and what it is on.
pub(super) type Listed = (OwnedFd, Arc<Capabilities>);

/// Opens the file that was listed.
pub(super) fn open_listed(root: &Root, entry: &Entry) -> Result<Listed, ReadError> {
    legal(&entry.key).map_err(ReadError::Source)?;
    match open(root, &entry.key) {
        Ok(file) => Ok(file),
        Err(Errno::NOENT) => Err(ReadError::Source(Cause::Vanished)),
        // It became a link, a socket or a device.
        Err(Errno::LOOP | Errno::NXIO) => Err(ReadError::Changed),
        Err(error) => Err(ReadError::Source(error.into())),
    }
}

fn open(root: &Root, key: &Key) -> rustix::io::Result<Listed> {
    let parent = root.descend(key.parent())?;
    let opened = |file| (file, Arc::clone(&parent.capabilities));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if root.leaves_no_trace() {
        // EPERM: whoever exports it says that it isn't root's; others don't know the flag.
        match openat(&*parent, key.name(), flags | OFlags::NOATIME, Mode::empty()) {
            Err(error) if error == Errno::PERM || is_unsupported(error) => {}
            other => return other.map(opened),
        }
    }
    openat(&*parent, key.name(), flags, Mode::empty()).map(opened)
}

/// Makes sure that the open file is the regular file that was listed; what it is found to be.
pub(super) fn check((file, capabilities): &Listed, listed: &Stamp) -> Result<Statx, ReadError> {
    let stat = look_at_open(file).map_err(|error| ReadError::Source(error.into()))?;
    if kind_of(&stat) == EntryKind::File && stamp_of(capabilities, &stat).is_still(listed) {
        Ok(stat)
    } else {
        Err(ReadError::Changed)
    }
}

/// Reads until the buffer is full, the file ends, or more than the `expected` rest has come.
fn fill(file: &OwnedFd, buffer: &mut [u8], expected: u64) -> Result<usize, ReadError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                // A read that ends short of the buffer at the listed size met the end: the look
                // that follows proves it.
                if filled as u64 == expected && filled < buffer.len() {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            // A FIFO or a directory, swapped in for the file.
            Err(Errno::AGAIN | Errno::ISDIR) => return Err(ReadError::Changed),
            Err(error) => return Err(ReadError::Source(error.into())),
        }
    }
    Ok(filled)
}

fn at_end(file: &OwnedFd) -> Result<bool, ReadError> {
    let mut probe = [0_u8; 1];
    loop {
        match rustix::io::read(file, &mut probe) {
            Ok(count) => return if count == 0 { Ok(true) } else { Err(ReadError::Changed) },
            Err(Errno::INTR) => {}
            Err(error) => return Err(ReadError::Source(error.into())),
        }
    }
}
