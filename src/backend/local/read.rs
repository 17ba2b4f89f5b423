//! Reading files: once, beneath the root, and only if they are the ones listed.

use super::beneath::Root;
use super::capabilities::{Capabilities, is_unsupported};
use super::entries::for_each_entry;
use super::holes::{Unit, may_have_holes, read_part, split};
use super::inspect::OpenFile;
use super::metadata::{kind_of, look_at_open, look_through};
use super::stamp::{entry, look_afresh, stamp_of};
use crate::backend::{Piece, ReadError, Reading, Sink};
use crate::model::names::legal;
use crate::model::{Cause, Entry, EntryKind, Key, Stamp};
use rustix::fs::{Mode, OFlags, Statx, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

/// Reads a regular file; see [`Source::read`](crate::backend::Source::read).
///
/// The file is opened without following a link and without blocking (a FIFO may have replaced it).
/// After the last byte its stamp must be the listed one. As ctime never goes back, it was the same
/// before.
pub(super) fn read(
    root: &Root,
    entry: &Entry,
    buffer: &mut [u8],
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let listed = open_listed(root, entry)?;
    let file = &listed.0;
    let fits_buffer = entry.stamp.size < buffer.len() as u64;
    if !fits_buffer {
        // A small file is read by one call and checked after it: a check before isn't worth a call.
        let stat = check(&listed, &entry.stamp)?;
        inspect_open(file, &stat, 0, sink)?;
        if may_have_holes(&stat) {
            let take = &mut |piece: Piece<'_>| sink(Reading::Content(piece));
            let bytes = 0..entry.stamp.size;
            return match read_part(file.as_fd(), bytes, true, Unit::Byte, buffer, take) {
                Ok(()) => check(&listed, &entry.stamp).map(drop),
                Err(ReadError::Changed) => Err(wrong_length(&listed, &entry.stamp)),
                other => other,
            };
        }
    }
    let mut done = 0_u64;
    loop {
        let filled = fill(file, buffer, entry.stamp.size - done)?;
        let chunk = &buffer[..filled];
        done += filled as u64;
        if done > entry.stamp.size {
            return Err(wrong_length(&listed, &entry.stamp));
        }
        if filled < buffer.len() || done == entry.stamp.size && at_end(file)? {
            if done != entry.stamp.size {
                return Err(wrong_length(&listed, &entry.stamp));
            }
            let stat = check(&listed, &entry.stamp)?;
            if fits_buffer {
                inspect_open(file, &stat, done, sink)?;
                if may_have_holes(&stat) {
                    let take = &mut |piece: Piece<'_>| sink(Reading::Content(piece));
                    return split(file.as_fd(), chunk, take).map_err(ReadError::Sink);
                }
            }
            if filled > 0 || done == 0 {
                sink(Reading::Content(Piece::Chunk(chunk))).map_err(ReadError::Sink)?;
            }
            return Ok(());
        }
        sink(Reading::Content(Piece::Chunk(chunk))).map_err(ReadError::Sink)?;
    }
}

/// Passes the open file to the sink for inspection; reading continues at `offset` afterwards.
fn inspect_open(
    file: &OwnedFd,
    stat: &Statx,
    offset: u64,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let open = OpenFile::new(file, stat);
    sink(Reading::Opened(&open)).map_err(ReadError::Sink)?;
    open.restore_offset(offset).map_err(|error| ReadError::Source(error.into()))
}

/// Returns the error for a file whose length differs from the listed one: it changed, unless its
/// stamp is still the same.
fn wrong_length(file: &Listed, listed: &Stamp) -> ReadError {
    match check(file, listed) {
        Ok(_) => ReadError::Source(Cause::NotItsSize { size: listed.size }),
        Err(error) => error,
    }
}

/// Returns the names in a directory; see [`Source::names`](crate::backend::Source::names).
pub(super) fn names(root: &Root, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
    let directory = match root.descend(directory.as_bytes()) {
        // A file of that name contains no names.
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

/// Looks up one entry; see [`Source::look`](crate::backend::Source::look).
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
        let (stat, is_followed) = match stat {
            Ok(stat) if root.follows_links() && kind_of(&stat) == EntryKind::Symlink => {
                (look_through(&*parent, key.name()), true)
            }
            stat => (stat, false),
        };
        stat.map(|stat| (parent, stat, is_followed))
    });
    match found {
        Ok((parent, stat, is_followed)) => {
            let link = match kind_of(&stat) {
                EntryKind::Symlink => Some(link_text(&*parent, key.name())?),
                _ => None,
            };
            let mut found = entry(&parent.capabilities, key.clone(), &stat, link);
            if is_followed {
                found.ungroup();
            }
            Ok(Some(found))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the text of a symbolic link.
pub(super) fn link_text(
    directory: impl std::os::fd::AsFd,
    name: &[u8],
) -> rustix::io::Result<Box<[u8]>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes().into_boxed_slice())
}

/// An open file, and the behaviour of its file system.
pub(super) type Listed = (OwnedFd, Arc<Capabilities>);

/// Opens a listed file.
pub(super) fn open_listed(root: &Root, entry: &Entry) -> Result<Listed, ReadError> {
    legal(&entry.key).map_err(ReadError::Source)?;
    match open(root, &entry.key) {
        Ok(file) => Ok(file),
        Err(Errno::NOENT) => Err(ReadError::Source(Cause::Vanished)),
        // The file was replaced by a link, a socket or a device.
        Err(Errno::LOOP | Errno::NXIO) => Err(ReadError::Changed),
        Err(error) => Err(ReadError::Source(error.into())),
    }
}

fn open(root: &Root, key: &Key) -> rustix::io::Result<Listed> {
    let parent = root.descend(key.parent())?;
    let opened = |file| (file, Arc::clone(&parent.capabilities));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | root.no_follow();
    if root.leaves_no_trace() {
        // EPERM: a network file system doesn't treat us as its root. Others don't know the flag.
        match openat(&*parent, key.name(), flags | OFlags::NOATIME, Mode::empty()) {
            Err(error) if error == Errno::PERM || is_unsupported(error) => {}
            other => return other.map(opened),
        }
    }
    openat(&*parent, key.name(), flags, Mode::empty()).map(opened)
}

/// Checks that the open file is the regular file that was listed, and returns its `statx`.
pub(super) fn check((file, capabilities): &Listed, listed: &Stamp) -> Result<Statx, ReadError> {
    let stat = look_at_open(file).map_err(|error| ReadError::Source(error.into()))?;
    if kind_of(&stat) == EntryKind::File && stamp_of(capabilities, &stat).is_still(listed) {
        Ok(stat)
    } else {
        Err(ReadError::Changed)
    }
}

/// Reads until the buffer is full, the file ends, or more than `expected` bytes have come.
fn fill(file: &OwnedFd, buffer: &mut [u8], expected: u64) -> Result<usize, ReadError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                // A short read that ends at the listed size has reached the end of the file: the
                // check that follows proves it.
                if filled as u64 == expected && filled < buffer.len() {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            // The file was replaced by a FIFO or a directory.
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
