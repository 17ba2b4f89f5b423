//! Extended attributes and ACLs: reading them, and giving an entry those that it is to have.

use super::metadata::path_of_handle;
use crate::backend::MetadataSet;
use crate::model::attributes::{ACCESS_ACL, LARGEST_SET};
use crate::model::{
    Attribute, AttributeKind, AttributeKinds, Attributes, Cause, Feature, Features,
    SettableAttributes,
};
use rustix::fs::{
    Mode, OFlags, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstatvfs, getxattr,
    lgetxattr, listxattr, llistxattr, openat, removexattr, setxattr,
};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd};

/// Size in bytes of the first buffer for names and for a value.
const USUAL: usize = 4 << 10;
/// The kernel's limit for all names of an entry, and for a value, in bytes.
const LARGEST: usize = 64 << 10;

/// Returns the names of an open entry's attributes, each followed by a NUL.
pub(super) fn names(file: BorrowedFd<'_>) -> Result<Vec<u8>> {
    read(|buffer| match flistxattr(file, &mut *buffer) {
        // It was opened by O_PATH.
        Err(Errno::BADF) => listxattr(path_of_handle(file), buffer),
        other => other,
    })
}

/// Returns the names of the attributes of a directory's leaf, which is neither opened nor followed,
/// each followed by a NUL.
pub(super) fn names_of_leaf(path: &[u8]) -> Result<Vec<u8>> {
    read(|buffer| llistxattr(path, buffer))
}

/// Returns the value of one attribute of such a leaf.
pub(super) fn value_of_leaf(path: &[u8], name: &[u8]) -> Result<Vec<u8>> {
    read(|buffer| lgetxattr(path, name, buffer))
}

/// Returns the value of one attribute.
pub(super) fn value(file: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    read(|buffer| match fgetxattr(file, name, &mut *buffer) {
        Err(Errno::BADF) => getxattr(path_of_handle(file), name, buffer),
        other => other,
    })
}

fn read(read: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut usual = [0; USUAL];
    match read(&mut usual) {
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        length => Ok(usual[..length?].to_vec()),
    }
}

fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<()> {
    match fsetxattr(file, name, value, XattrFlags::empty()) {
        Err(Errno::BADF) => setxattr(path_of_handle(file), name, value, XattrFlags::empty()),
        other => other,
    }
}

fn remove(file: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let removed = match fremovexattr(file, name) {
        Err(Errno::BADF) => removexattr(path_of_handle(file), name),
        other => other,
    };
    if removed == Err(Errno::NODATA) { Ok(()) } else { removed }
}

/// What is known of an entry's attributes before it is given others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It was just made and inherited nothing: it has none.
    New,
    /// It may have some.
    Unknown,
}

/// What became of giving an entry its attributes.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// What the file system, or this process, can't give it.
    pub(super) lost: Features,
    /// Whether an attribute was set or removed.
    pub(super) is_changed: bool,
    /// Whether an ACL was, which may change the mode.
    pub(super) is_acl_changed: bool,
    /// The first failure; everything else was set.
    pub(super) failed: Option<Cause>,
}

impl Given {
    fn changed(&mut self, name: &[u8]) {
        self.is_changed = true;
        self.is_acl_changed |= AttributeKind::of(name) == Some(AttributeKind::Acl);
    }

    /// Returns what a link that has no other metadata to set got.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn checked(self) -> std::result::Result<MetadataSet, Cause> {
        let Self { lost, is_changed, failed, .. } = self;
        let set = MetadataSet { stamp: None, are_attributes_changed: is_changed, lost };
        failed.map_or(Ok(set), Err)
    }

    /// Records a failure.
    pub(super) fn fail(&mut self, cause: impl Into<Cause>) {
        self.failed.get_or_insert_with(|| cause.into());
    }

    fn refused(&mut self, file: BorrowedFd<'_>, name: &[u8], value: &[u8], error: Errno) {
        match error {
            // The file system has none of this namespace, only root may set them, or they are too
            // large for it.
            Errno::NOTSUP | Errno::PERM | Errno::TOOBIG | Errno::RANGE => {
                self.lost.add(feature_of(name));
            }
            // A file has room for a few KiB of them on ext4.
            Errno::NOSPC if has_space(file) => self.lost.add(feature_of(name)),
            // This entry fails and not the run: others may need no more room.
            Errno::NOSPC | Errno::DQUOT => {
                self.lost.add(feature_of(name));
                let name = String::from_utf8_lossy(name).escape_debug().to_string();
                let bytes = value.len();
                self.fail(Cause::NotKept(format!(
                    "the attribute \"{name}\" of {bytes} bytes, for which a file there has no room"
                )));
            }
            error => {
                self.lost.add(feature_of(name));
                self.fail(error);
            }
        }
    }
}

/// Returns whether a file system has room for more than the largest attribute.
fn has_space(file: BorrowedFd<'_>) -> bool {
    let most = 2 * LARGEST as u64;
    fstatvfs(file).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) > most)
}

/// Returns what an entry without the attribute lacks.
fn feature_of(name: &[u8]) -> Feature {
    match AttributeKind::of(name) {
        Some(AttributeKind::Acl) => Feature::Acl,
        _ => Feature::Attributes,
    }
}

/// Gives an open entry exactly the wanted attributes, as far as they are of the kinds that were
/// looked for.
pub(super) fn give(file: BorrowedFd<'_>, before: Before, wanted: &Attributes) -> Given {
    let mut given = Given::default();
    let existing = match before {
        Before::New => Attributes::default(),
        Before::Unknown => existing(file, wanted.kinds(), &mut given),
    };
    for Attribute { name, .. } in existing.iter().filter(|one| wanted.get(&one.name).is_none()) {
        match remove(file, name) {
            Ok(()) => given.changed(name),
            Err(error) => given.fail(error),
        }
    }
    // An ACL may take the owner's right to write, without which a user's attributes can't be set.
    let is_acl = |one: &&Attribute| AttributeKind::of(&one.name) == Some(AttributeKind::Acl);
    let acls_last = wanted.iter().filter(|one| !is_acl(one)).chain(wanted.iter().filter(is_acl));
    for Attribute { name, value } in acls_last {
        if existing.get(name) == Some(value) {
            continue;
        }
        match set(file, name, value) {
            Ok(()) => given.changed(name),
            Err(error) => given.refused(file, name, value, error),
        }
    }
    given
}

/// Reads the attributes that an entry of the target has.
fn existing(file: BorrowedFd<'_>, kinds: AttributeKinds, given: &mut Given) -> Attributes {
    let names = match names(file) {
        Ok(names) => names,
        Err(error) => {
            if error != Errno::NOTSUP {
                given.fail(error);
            }
            return Attributes::default();
        }
    };
    let (mut found, mut size) = (Vec::new(), 0);
    for name in each(&names).filter(|name| AttributeKind::of(name).is_some()) {
        let value = if size > LARGEST_SET { Err(Errno::TOOBIG) } else { value(file, name) };
        match value {
            Ok(value) => {
                size += value.len();
                found.push(Attribute { name: name.into(), value: value.into() });
            }
            Err(Errno::NODATA) => {}
            // It is set or removed without having been compared.
            Err(_) => {
                given.is_changed = true;
                found.push(Attribute { name: name.into(), value: Box::default() });
            }
        }
    }
    Attributes::new(kinds, found)
}

/// Iterates over [`names`].
pub(super) fn each(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|&byte| byte == 0).filter(|name| !name.is_empty())
}

/// The attribute that chown removes.
const CAPABILITY: &[u8] = b"security.capability";

/// Returns a file's capability, if it has one.
pub(super) fn capability(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
    value(file, CAPABILITY).ok()
}

/// Gives a file its capability again after a change of owner.
pub(super) fn give_capability(file: BorrowedFd<'_>, value: &[u8]) -> Given {
    let mut given = Given::default();
    match set(file, CAPABILITY, value) {
        Ok(()) => given.changed(CAPABILITY),
        Err(error) => given.refused(file, CAPABILITY, value, error),
    }
    given
}

/// Finds out which attributes can be set of entries of a directory's file system, by a file without
/// a name; `None` if it can't have one.
pub(super) fn settable(directory: impl AsFd) -> Option<SettableAttributes> {
    /// `u::rw-,u:0:rw-,g::r--,m::rw-,o::---`
    const ACL: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0, 0, 0, 0, 4, 0, 4, 0, 255, 255,
        255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(directory, c".", flags, Mode::from_raw_mode(0o600)).ok()?;
    let is_set = |name: &str, value: &[u8]| set(file.as_fd(), name.as_bytes(), value).is_ok();
    Some(SettableAttributes {
        user: is_set("user.vidimus", b"1"),
        root: is_set("trusted.vidimus", b"1"),
        acls: is_set(ACCESS_ACL, &ACL),
    })
}

/// Returns whether new entries of a directory inherit an ACL.
pub(super) fn passes_on_acl(directory: impl AsFd) -> bool {
    let acl = value(directory.as_fd(), crate::model::attributes::DEFAULT_ACL.as_bytes());
    // What can't be found out is looked for at each new entry.
    !matches!(acl, Err(Errno::NODATA | Errno::NOTSUP))
}
