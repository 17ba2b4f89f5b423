//! Renames that put new entries in their place without overwriting anything else.
//!
//! Not every file system supports `RENAME_NOREPLACE`. Without it a hard link is made and the old
//! name removed; without hard links the new name is looked up before the rename. Where directories
//! can't be renamed, a new one is made and the contents are moved.

use super::beneath::{Directory, open_child};
use super::capabilities::{Capabilities, is_unsupported};
use super::entries::each_leaf;
use super::metadata::look_at;
use crate::model::Cause;
use rustix::fs::{AtFlags, Mode, RenameFlags, linkat, mkdirat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd};

/// Renames to a name that must not exist.
pub(super) fn rename_new(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    let name = |name| NameIn { parent: parent.as_fd(), name };
    move_new(&parent.capabilities, name(from), name(to))
}

/// Moves a leaf to a name in another directory that must not exist.
pub(super) fn move_to_new(
    parent: &Directory,
    name: &[u8],
    into: &Directory,
    new: &[u8],
) -> Result<(), Cause> {
    let from = NameIn { parent: parent.as_fd(), name };
    move_new(&into.capabilities, from, NameIn { parent: into.as_fd(), name: new })
}

/// A name in a directory.
#[derive(Clone, Copy)]
struct NameIn<'a> {
    parent: BorrowedFd<'a>,
    name: &'a [u8],
}

/// Moves a leaf to a name that must not exist, in the same directory or another.
fn move_new(capabilities: &Capabilities, from: NameIn<'_>, to: NameIn<'_>) -> Result<(), Cause> {
    let NameIn { parent: old_parent, name: from } = from;
    let NameIn { parent, name: to } = to;
    if capabilities.renames_new.get() != Some(&false) {
        match renameat_with(old_parent, from, parent, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            Err(error) if is_unsupported(error) => {}
            other => return Ok(other?),
        }
    }
    if capabilities.links.get() != Some(&false) {
        match linkat(old_parent, from, parent, to, AtFlags::empty()) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            Err(error) if is_unsupported(error) || error == Errno::PERM => {}
            other => {
                other?;
                capabilities.renames_new.get_or_init(|| false);
                return Ok(unlinkat(old_parent, from, AtFlags::empty())?);
            }
        }
    }
    match look_at(parent, to) {
        Ok(_) => return Err(Cause::NameTaken),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    renameat(old_parent, from, parent, to)?;
    // Recorded only after this rename succeeded: else the calls before might have failed because of
    // the name.
    capabilities.renames_new.get_or_init(|| false);
    capabilities.links.get_or_init(|| false);
    Ok(())
}

/// Returns whether an error means that the file system can't rename directories, non-empty ones
/// (FUSE over object stores), or those that span several file systems.
pub(super) fn is_unrenamable(error: Errno) -> bool {
    is_unsupported(error) || matches!(error, Errno::XDEV | Errno::PERM)
}

/// How a directory got its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// The directory was renamed.
    Renamed,
    /// A new directory was made and all contents moved to it.
    Moved,
}

/// Renames a directory, which contains no directories, to a name that must not exist.
pub(super) fn rename_new_directory(
    parent: &Directory,
    from: &[u8],
    to: &[u8],
) -> Result<Placed, Cause> {
    let renames = &parent.capabilities.renames_directories;
    if renames.get() != Some(&false) {
        match rename_directory(parent, from, to) {
            Err(error) if is_unrenamable(error) => {}
            // A directory never replaces a leaf or a non-empty directory; an empty directory that
            // has just appeared is no loss.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => return Err(Cause::NameTaken),
            other => return Ok(other.map(|()| Placed::Renamed)?),
        }
    }
    move_directory(parent, from, to)?;
    renames.get_or_init(|| false);
    Ok(Placed::Moved)
}

/// Renames a directory, refusing to replace anything if the file system supports that.
pub(super) fn rename_directory(
    parent: &Directory,
    from: &[u8],
    to: &[u8],
) -> rustix::io::Result<()> {
    if parent.capabilities.renames_new.get() != Some(&false) {
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            Err(error) if is_unsupported(error) => {}
            other => return other,
        }
    }
    renameat(parent, from, parent, to)
}

/// Makes a directory whose name must not exist, moves all leaves of another to it, and removes that
/// one.
fn move_directory(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    match mkdirat(parent, to, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => return Err(Cause::NameTaken),
        other => other?,
    }
    let (old, new) = (open_child(parent.as_fd(), from)?, open_child(parent.as_fd(), to)?);
    each_leaf(&old, |name| {
        let from = NameIn { parent: old.as_fd(), name };
        move_new(&parent.capabilities, from, NameIn { parent: new.as_fd(), name })
    })?;
    Ok(unlinkat(parent, from, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::super::capabilities::FileSystems;
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_cannot_be_renamed_is_recreated_with_its_contents() {
        let root = tempfile::tempdir().unwrap();
        let open = fs::File::open(root.path()).unwrap();
        let parent = Directory::from_fd(open.into(), &FileSystems::default()).unwrap();
        let make = |name: &str| {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("f"), "content").unwrap();
            std::os::unix::fs::symlink("f", root.path().join(name).join("l")).unwrap();
        };
        make("one");
        assert_eq!(rename_new_directory(&parent, b"one", b"two").unwrap(), Placed::Renamed);
        parent.capabilities.renames_directories.get_or_init(|| false);
        assert_eq!(rename_new_directory(&parent, b"two", b"three").unwrap(), Placed::Moved);
        assert!(!root.path().join("two").exists());
        assert_eq!(fs::read(root.path().join("three/l")).unwrap(), b"content");
        make("four");
        let taken = rename_new_directory(&parent, b"four", b"three").unwrap_err();
        assert!(matches!(taken, Cause::NameTaken), "{taken}");
        assert!(root.path().join("four/f").exists());
    }
}
