//! Inspection of open files and directories: features that a copy doesn't preserve, and rights that
//! an ACL takes away from the mode.

use super::beneath::Root;
use super::holes::may_have_holes;
use super::metadata::{kind_of, look_at_open, path_of_handle};
use super::{special, xattr};
use crate::backend::{Inspect, Inspected};
use crate::model::acl;
use crate::model::attributes::{ACCESS_ACL, LARGEST_SET};
use crate::model::names::legal;
use crate::model::{
    Attribute, AttributeKind, AttributeKinds, Attributes, Cause, Entry, EntryKind, Feature,
    Features,
};
use rustix::fs::{Mode, OFlags, SeekFrom, Statx, openat, seek};
use rustix::io::Errno;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    // A symbolic link can have those of root alone.
    if entry.kind == EntryKind::Symlink && !rustix::process::geteuid().is_root() {
        return Ok(Inspected::of(entry).with_told(entry));
    }
    if entry.kind == EntryKind::Directory {
        let directory = root.descend(entry.key.as_bytes())?;
        let found = attributes(directory.as_fd(), &look_at_open(&*directory)?);
        return Ok(found.with_told(entry));
    }
    let name = legal(&entry.key)?;
    let parent = root.descend(entry.key.parent())?;
    if entry.kind == EntryKind::Symlink {
        let path = [path_of_handle(&*parent).as_bytes(), b"/", name].concat();
        let (mode, names) = (entry.metadata.mode, xattr::names_of_leaf(&path));
        let found = Inspected::from_parts(mode, names, |of| xattr::value_of_leaf(&path, of));
        return Ok(found.with_told(entry));
    }
    if let EntryKind::Special(_) = entry.kind {
        let found = special::handle(&parent, name, entry.kind, root.no_follow());
        let (file, stat) = found.map_err(|cause| match cause {
            Cause::TargetChanged => Cause::Changed { attempts: 1 },
            cause => cause,
        })?;
        return Ok(attributes(file.as_fd(), &stat).with_told(entry));
    }
    let flags = root.no_follow() | OFlags::NONBLOCK | OFlags::CLOEXEC;
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
        return Ok(OpenFile::new(&file, &stat).inspect().with_told(entry));
    }
    Ok(attributes(file.as_fd(), &stat).with_told(entry))
}

/// Reads which attributes an entry has, and which rights an ACL takes away from its mode.
pub(super) fn attributes(file: BorrowedFd<'_>, stat: &Statx) -> Inspected {
    let mode = u32::from(stat.stx_mode) & 0o7777;
    Inspected::from_parts(mode, xattr::names(file), |name| xattr::value(file, name))
}

impl Inspected {
    /// Builds the result for an entry of this mode from its attributes. If an ACL may be among
    /// those that can't be read, the group is taken to have no rights. More than [`LARGEST_SET`]
    /// bytes count as unreadable: each worker may hold as much.
    fn from_parts(
        mode: u32,
        names: rustix::io::Result<Vec<u8>>,
        value: impl Fn(&[u8]) -> rustix::io::Result<Vec<u8>>,
    ) -> Self {
        let (mut features, mut found, mut size) = (Features::default(), Vec::new(), 0);
        // The mode's group bits are the ACL's mask.
        let mut group = None;
        let names = names.unwrap_or_else(|error| {
            // A file system without attributes has none to lose.
            if error != Errno::NOTSUP {
                features.add(Feature::UnreadAttributes);
                group = Some(0);
            }
            Vec::new()
        });
        for name in xattr::each(&names) {
            let Some(kind) = AttributeKind::of(name) else { continue };
            features.add(match kind {
                AttributeKind::Extended => Feature::Attributes,
                AttributeKind::Acl => Feature::Acl,
            });
            let is_access_acl = name == ACCESS_ACL.as_bytes();
            match value(name) {
                Ok(value) => {
                    if is_access_acl {
                        group = acl::group_bits(&value);
                    }
                    size += name.len() + value.len();
                    if size > LARGEST_SET {
                        features.add(Feature::UnreadAttributes);
                        found.clear();
                        break;
                    }
                    found.push(Attribute { name: name.into(), value: value.into() });
                }
                // Removed since its name was read, or never there.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(_) => {
                    features.add(Feature::UnreadAttributes);
                    if is_access_acl {
                        group = Some(0);
                    }
                }
            }
        }
        let mode = group.map_or(mode, |group| mode & (!0o070 | group << 3));
        Self { features, mode, attributes: Attributes::new(AttributeKinds::ALL, found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_cannot_be_read_are_reported_and_leave_the_group_no_rights() {
        let inspected = |names: rustix::io::Result<&str>, value: rustix::io::Result<u32>| {
            let names = names.map(|names| names.as_bytes().to_vec());
            let found = Inspected::from_parts(0o2674, names, |_| value.map(with_group));
            (found.features.to_string(), found.mode)
        };
        let expected = |features: &str, mode| (features.to_owned(), mode);
        let unread = "attributes that could not be read";
        for error in [Errno::IO, Errno::PERM, Errno::UCLEAN, Errno::RANGE] {
            assert_eq!(inspected(Err(error), Ok(4)), expected(unread, 0o2604));
            let acl = expected(&format!("ACL, {unread}"), 0o2604);
            assert_eq!(inspected(Ok(ACCESS_ACL), Err(error)), acl);
            let attributes = expected(&format!("extended attributes, {unread}"), 0o2674);
            assert_eq!(inspected(Ok("user.a\0"), Err(error)), attributes);
        }
        assert_eq!(inspected(Err(Errno::NOTSUP), Err(Errno::IO)), expected("", 0o2674));
        assert_eq!(inspected(Ok(ACCESS_ACL), Ok(4)), expected("ACL", 0o2644));
        assert_eq!(inspected(Ok("system.nfs4_acl"), Err(Errno::IO)), expected("", 0o2674));
    }

    #[test]
    fn more_attributes_than_a_set_may_have_are_not_held() {
        let names: Vec<_> = (0..200).map(|number| format!("user.{number}\0")).collect();
        let inspected = Inspected::from_parts(0o644, Ok(names.concat().into_bytes()), |_| {
            Ok(vec![0; LARGEST_SET / 100])
        });
        assert!(inspected.attributes.is_empty());
        assert!(inspected.features.has(Feature::UnreadAttributes), "{}", inspected.features);
    }

    /// Returns an ACL under which the group has these rights.
    fn with_group(rights: u32) -> Vec<u8> {
        let entries = [(0x04_u16, rights), (0x10, 7)].map(|(tag, rights)| {
            let nobody = u32::MAX.to_le_bytes();
            [&tag.to_le_bytes()[..], &(rights as u16).to_le_bytes(), &nobody].concat()
        });
        [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
    }
}
