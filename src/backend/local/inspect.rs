//! Inspection of open files and directories: features that a copy doesn't preserve, and rights that
//! an ACL takes away from the mode.

use super::acl;
use super::attributes::path_of_handle;
use super::beneath::Root;
use super::holes::may_have_holes;
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

/// Size in bytes of the buffer for a file's attribute names; the kernel's limit is 64 KiB.
const NAMES: usize = 4 << 10;
/// Size in bytes of the buffer for an ACL: some 500 entries. A longer one is taken to grant
/// nothing.
const ACL: usize = 4 << 10;

/// A file that is being read, verified to be the one listed.
#[derive(Debug)]
pub(super) struct OpenFile<'a> {
    file: BorrowedFd<'a>,
    stat: &'a Statx,
    /// Whether the file offset was moved away from where reading has to continue.
    is_moved: Cell<bool>,
}

impl<'a> OpenFile<'a> {
    pub(super) fn new(file: &'a OwnedFd, stat: &'a Statx) -> Self {
        Self { file: file.as_fd(), stat, is_moved: Cell::new(false) }
    }

    /// Restores the file offset to `offset` if the inspection moved it.
    pub(super) fn restore_offset(&self, offset: u64) -> rustix::io::Result<()> {
        if self.is_moved.take() {
            seek(self.file, SeekFrom::Start(offset))?;
        }
        Ok(())
    }

    fn has_holes(&self) -> bool {
        self.is_moved.set(true);
        let hole = seek(self.file, SeekFrom::Hole(0));
        // A file system that can't report holes has none to lose.
        hole.is_ok_and(|hole| hole < self.stat.stx_size)
    }
}

impl Inspect for OpenFile<'_> {
    /// Takes one system call, and a second for a file with fewer blocks than bytes or with an ACL.
    fn inspect(&self) -> Inspected {
        let mut inspected = attributes(self.file, self.stat);
        if self.stat.stx_nlink > 1 {
            inspected.features.add(Feature::HardLinks);
        }
        if may_have_holes(self.stat) && self.has_holes() {
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

/// Reads which attributes an entry has, and which rights an ACL takes away from its mode.
fn attributes(file: BorrowedFd<'_>, stat: &Statx) -> Inspected {
    let mut buffer = [0; NAMES];
    let mode = u32::from(stat.stx_mode) & 0o7777;
    Inspected::from_parts(mode, names(file, &mut buffer), || acl_group_bits(file))
}

impl Inspected {
    /// Builds the result for an entry of this mode from its attribute names and the group's rights
    /// under its ACL. If either can't be read, the group is taken to have no rights.
    fn from_parts(
        mode: u32,
        names: rustix::io::Result<&[u8]>,
        group: impl Fn() -> rustix::io::Result<Option<u32>>,
    ) -> Self {
        let mut inspected = Self { features: Features::default(), mode };
        let names = match names {
            Ok(names) => names,
            // The file system has no attributes.
            Err(Errno::NOTSUP) => return inspected,
            // More names than fit in the buffer.
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
                name if is_own_attribute(name) => inspected.features.add(Feature::Attributes),
                _ => {}
            }
        }
        inspected
    }

    /// Reduces the mode's group bits, which are the ACL's mask, to the group's rights under the
    /// ACL: to none if those are unknown.
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

/// Returns whether an attribute belongs to the file itself. Attributes that a security policy gives
/// each new file, or that a network file system invents, don't: rsync's `-X` leaves them out, too.
fn is_own_attribute(name: &[u8]) -> bool {
    !name.starts_with(b"system.") && name != b"security.selinux"
}

/// Returns the rights that a file's ACL leaves its owning group; `None` if it has no ACL.
fn acl_group_bits(file: BorrowedFd<'_>) -> rustix::io::Result<Option<u32>> {
    let mut buffer = [0; ACL];
    match value(file, acl::ACCESS, &mut buffer) {
        Ok(acl) => Ok(acl::group_bits(acl)),
        Err(Errno::RANGE) => Ok(Some(0)),
        // Removed since its name was read, or never there.
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the names of a file's attributes, each followed by a NUL. An `O_PATH` handle is read by
/// its path.
fn names<'b>(file: BorrowedFd<'_>, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let length = match flistxattr(file, &mut *buffer) {
        Err(Errno::BADF) => listxattr(path_of_handle(file), &mut *buffer),
        other => other,
    }?;
    Ok(&buffer[..length])
}

/// Returns the value of one attribute.
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
    fn attributes_that_cannot_be_read_are_reported_and_leave_the_group_no_rights() {
        let inspected = |names, group| {
            let Inspected { features, mode } = Inspected::from_parts(0o2674, names, || group);
            (features.to_string(), mode)
        };
        let expected = |features: &str, mode| (features.to_owned(), mode);
        let unread = "attributes that could not be read";
        let access = Ok(acl::ACCESS.as_bytes());
        for error in [Errno::IO, Errno::PERM, Errno::UCLEAN] {
            assert_eq!(inspected(Err(error), Ok(None)), expected(unread, 0o2604));
            assert_eq!(inspected(access, Err(error)), expected(&format!("ACL, {unread}"), 0o2604));
        }
        assert_eq!(inspected(Err(Errno::NOTSUP), Err(Errno::IO)), expected("", 0o2674));
        assert_eq!(
            inspected(Ok(b"user.a\0"), Err(Errno::IO)),
            expected("extended attributes", 0o2674)
        );
        assert_eq!(inspected(Err(Errno::RANGE), Ok(None)), expected("extended attributes", 0o2674));
        assert_eq!(inspected(access, Ok(Some(4))), expected("ACL", 0o2644));
    }
}
