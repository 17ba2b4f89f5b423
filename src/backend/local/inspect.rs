//! What only an open file or directory tells: what it has that a copy hasn't, and what of its mode
//! an ACL takes back.

use super::acl;
use super::attributes::path_of_handle;
use super::beneath::Root;
use super::metadata::{kind_of, look_at_open};
use crate::backend::{Inspect, Inspected};
use crate::model::names::legal;
use crate::model::{Cause, Entry, EntryKind, Feature, Features};
use rustix::fs::{
    Mode, OFlags, SeekFrom, Statx, fgetxattr, flistxattr, getxattr, listxattr, openat, seek,
};
use rustix::io::Errno;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of the names of a file's attributes that are read at once; the kernel's bound is 64 KiB.
const NAMES: usize = 4 << 10;
/// Bytes of an ACL that are read: some 500 entries. One that is longer grants nothing.
const ACL: usize = 4 << 10;

/// A file that is being read, as it was found to be right before.
#[derive(Debug)]
pub(super) struct OpenFile<'a> {
    file: BorrowedFd<'a>,
    stat: &'a Statx,
    /// Whether its reading would go on elsewhere.
    is_moved: Cell<bool>,
}

impl<'a> OpenFile<'a> {
    pub(super) fn new(file: &'a OwnedFd, stat: &'a Statx) -> Self {
        Self { file: file.as_fd(), stat, is_moved: Cell::new(false) }
    }

    /// Has its reading go on at `at`, wherever it was left.
    pub(super) fn go_on(&self, at: u64) -> rustix::io::Result<()> {
        if self.is_moved.take() {
            seek(self.file, SeekFrom::Start(at))?;
        }
        Ok(())
    }

    fn has_holes(&self) -> bool {
        self.is_moved.set(true);
        let hole = seek(self.file, SeekFrom::Hole(0));
        // What can't tell its holes has none to lose.
        hole.is_ok_and(|hole| hole < self.stat.stx_size)
    }
}

impl Inspect for OpenFile<'_> {
    /// One system call, and another one of a file that has fewer blocks than bytes, or an ACL.
    fn inspect(&self) -> Inspected {
        let mut inspected = attributes(self.file, self.stat);
        if self.stat.stx_nlink > 1 {
            inspected.features.add(Feature::HardLinks);
        }
        // Compressed files have few blocks, too.
        if self.stat.stx_blocks * 512 < self.stat.stx_size && self.has_holes() {
            inspected.features.add(Feature::Holes);
        }
        inspected
    }
}

/// Inspects a file or directory; see [`Source::inspect`](crate::backend::Source::inspect).
pub(super) fn inspect(root: &Root, entry: &Entry) -> Result<Inspected, Cause> {
    if !matches!(entry.kind, EntryKind::File | EntryKind::Directory) {
        return Ok(Inspected::of(entry));
    }
    if entry.kind == EntryKind::Directory {
        let directory = root.descend(entry.key.as_bytes())?;
        return Ok(attributes(directory.as_fd(), &look_at_open(&*directory)?));
    }
    let name = legal(&entry.key)?;
    let parent = root.descend(entry.key.parent())?;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |access| openat(&*parent, name, flags | access, Mode::empty());
    let (file, is_readable) = match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => (open(OFlags::PATH)?, false),
        other => (other?, true),
    };
    let stat = look_at_open(&file)?;
    if kind_of(&stat) != EntryKind::File {
        return Err(Cause::Changed { attempts: 1 });
    }
    if is_readable {
        return Ok(OpenFile::new(&file, &stat).inspect());
    }
    Ok(attributes(file.as_fd(), &stat))
}

/// Finds out which attributes an entry has, and what of its mode an ACL takes back.
fn attributes(file: BorrowedFd<'_>, stat: &Statx) -> Inspected {
    let mut buffer = [0; NAMES];
    let mode = u32::from(stat.stx_mode) & 0o7777;
    Inspected::by(mode, names(file, &mut buffer), || narrowed(file))
}

impl Inspected {
    /// What an entry of this mode has by the names of its attributes, and the group's rights that its
    /// ACL leaves. Where either can't be told its group is taken to have no rights.
    fn by(
        mode: u32,
        names: rustix::io::Result<&[u8]>,
        group: impl Fn() -> rustix::io::Result<Option<u32>>,
    ) -> Self {
        let mut inspected = Self { features: Features::default(), mode };
        let names = match names {
            Ok(names) => names,
            // A file system without attributes.
            Err(Errno::NOTSUP) => return inspected,
            // More of them than are looked through.
            Err(Errno::RANGE) => {
                inspected.features.add(Feature::Attributes);
                inspected.narrow(group());
                return inspected;
            }
            Err(error) => {
                inspected.narrow(Err(error));
                return inspected;
            }
        };
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            match name {
                name if name == acl::ACCESS.as_bytes() => {
                    inspected.features.add(Feature::Acl);
                    inspected.narrow(group());
                }
                name if name == acl::DEFAULT.as_bytes() => inspected.features.add(Feature::Acl),
                name if is_lost(name) => inspected.features.add(Feature::Attributes),
                _ => {}
            }
        }
        inspected
    }

    /// Takes back what the mode's group bits, an ACL's mask, say more than the ACL: all of them, where
    /// nobody knows.
    fn narrow(&mut self, group: rustix::io::Result<Option<u32>>) {
        let group = group.unwrap_or_else(|_| {
            self.features.add(Feature::UnreadAttributes);
            Some(0)
        });
        if let Some(group) = group {
            self.mode &= !0o070 | group << 3;
        }
    }
}

/// Whether an attribute is one of the file's own. What a security policy gives each new file, and
/// what a network file system makes up, is none: rsync's `-X` leaves that out, too.
fn is_lost(name: &[u8]) -> bool {
    !name.starts_with(b"system.") && name != b"security.selinux"
}

/// What a file's ACL leaves its owning group; `None` where it has none.
fn narrowed(file: BorrowedFd<'_>) -> rustix::io::Result<Option<u32>> {
    let mut buffer = [0; ACL];
    match value(file, acl::ACCESS, &mut buffer) {
        Ok(acl) => Ok(acl::group_bits(acl)),
        Err(Errno::RANGE) => Ok(Some(0)),
        // Gone since its name was read, or never there.
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of a file's attributes, each followed by a NUL. A mere handle (`O_PATH`) is asked by
/// its path.
fn names<'b>(file: BorrowedFd<'_>, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let length = match flistxattr(file, &mut *buffer) {
        Err(Errno::BADF) => listxattr(path_of_handle(file), &mut *buffer),
        other => other,
    }?;
    Ok(&buffer[..length])
}

/// The value of one attribute.
fn value<'b>(
    file: BorrowedFd<'_>,
    name: &str,
    buffer: &'b mut [u8],
) -> rustix::io::Result<&'b [u8]> {
    let length = match fgetxattr(file, name, &mut *buffer) {
        Err(Errno::BADF) => getxattr(path_of_handle(file), name, &mut *buffer),
        other => other,
    }?;
    Ok(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_cannot_be_read_no_more_is_known_and_no_right_of_the_group() {
        let by = |names, group| {
            let Inspected { features, mode } = Inspected::by(0o2674, names, || group);
            (features.to_string(), mode)
        };
        let told = |features: &str, mode| (features.to_owned(), mode);
        let unread = "attributes that could not be read";
        let access = Ok(acl::ACCESS.as_bytes());
        for error in [Errno::IO, Errno::PERM, Errno::UCLEAN] {
            assert_eq!(by(Err(error), Ok(None)), told(unread, 0o2604));
            assert_eq!(by(access, Err(error)), told(&format!("ACL, {unread}"), 0o2604));
        }
        assert_eq!(by(Err(Errno::NOTSUP), Err(Errno::IO)), told("", 0o2674));
        assert_eq!(by(Ok(b"user.a\0"), Err(Errno::IO)), told("extended attributes", 0o2674));
        assert_eq!(by(Err(Errno::RANGE), Ok(None)), told("extended attributes", 0o2674));
        assert_eq!(by(access, Ok(Some(4))), told("ACL", 0o2644));
    }
}
