//! Putting what was written in its place: renames that overwrite nothing they should not.
//!
//! Not every file system can rename to a name only if that is free; there a second name is made and
//! the first removed, and where it has no second names, the name is looked at and then renamed to. Where
//! a directory can't be renamed one is made, and what it holds is moved.

use super::beneath::{Directory, open_child};
use super::capabilities::{Capabilities, is_unsupported};
use super::entries::each_leaf;
use super::metadata::look_at;
use crate::model::Cause;
use rustix::fs::{AtFlags, Mode, RenameFlags, linkat, mkdirat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd};

/// Renames to a name that must be free.
pub(super) fn rename_new(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    let directory = parent.as_fd();
    move_new(&parent.capabilities, (directory, from), (directory, to))
}

/// Moves a leaf to a name that must be free, in the same directory or another.
fn move_new(
    capabilities: &Capabilities,
    (old_parent, from): (BorrowedFd<'_>, &[u8]),
    (parent, to): (BorrowedFd<'_>, &[u8]),
) -> Result<(), Cause> {
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
    // Only now: the name itself could have been what the calls before refused.
    capabilities.renames_new.get_or_init(|| false);
    capabilities.links.get_or_init(|| false);
    Ok(())
}

/// What a directory's rename answers where directories can't be renamed, or none with something in it
/// (FUSE over object stores), or none that lies on several file systems.
pub(super) fn is_unrenamable(error: Errno) -> bool {
    is_unsupported(error) || matches!(error, Errno::XDEV | Errno::PERM)
}

/// How a directory came to its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It was renamed.
    Renamed,
    /// It is another one, to which all that it held was moved.
    Moved,
}

/// Gives a directory, which holds no directories, a name that must be free.
pub(super) fn rename_new_directory(
    parent: &Directory,
    from: &[u8],
    to: &[u8],
) -> Result<Placed, Cause> {
    let renames = &parent.capabilities.renames_directories;
    if renames.get() != Some(&false) {
        match rename_directory(parent, from, to) {
            Err(error) if is_unrenamable(error) => {}
            // A directory never replaces a leaf, nor one that holds something, and an empty directory
            // that just turned up is no loss.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => return Err(Cause::NameTaken),
            other => return Ok(other.map(|()| Placed::Renamed)?),
        }
    }
    move_directory(parent, from, to)?;
    renames.get_or_init(|| false);
    Ok(Placed::Moved)
}

/// Renames a directory, to a name that is free as far as the file system can be told so.
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

/// Makes a directory of a name that must be free, moves all leaves of another to it, and removes that.
fn move_directory(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    match mkdirat(parent, to, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => return Err(Cause::NameTaken),
        other => other?,
    }
    let (old, new) = (open_child(parent.as_fd(), from)?, open_child(parent.as_fd(), to)?);
    each_leaf(&old, |name| {
        move_new(&parent.capabilities, (old.as_fd(), name), (new.as_fd(), name))
    })?;
    Ok(unlinkat(parent, from, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::super::capabilities::FileSystems;
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_that_cannot_be_renamed_is_made_anew_with_all_that_it_holds() {
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
