//! Putting what was written in its place: renames that overwrite nothing they should not.

use super::beneath::Directory;
use crate::model::Cause;
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

/// Renames to a name that must be free.
pub(super) fn rename_new(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Err(Cause::NameTaken),
        // A file system without the flag.
        Err(Errno::INVAL | Errno::NOSYS) => {
            match linkat(parent, from, parent, to, AtFlags::empty()) {
                Err(Errno::EXIST) => return Err(Cause::NameTaken),
                other => other?,
            }
            Ok(unlinkat(parent, from, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// Puts the directory `temporary` where the leaf `name` stands, and removes the leaf.
pub(super) fn exchange_leaf(
    parent: &Directory,
    temporary: &[u8],
    name: &[u8],
) -> Result<(), Cause> {
    match renameat_with(parent, temporary, parent, name, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            unlinkat(parent, name, AtFlags::empty())?;
            Ok(rename_new_directory(parent, temporary, name)?)
        }
        other => {
            other?;
            unlinkat(parent, temporary, AtFlags::empty()).map_err(|error| {
                // It wasn't the leaf any more that stood there: put it back.
                match renameat_with(parent, temporary, parent, name, RenameFlags::EXCHANGE) {
                    Ok(()) if error == Errno::ISDIR => Cause::TargetChanged,
                    Ok(()) => error.into(),
                    Err(error) => error.into(),
                }
            })
        }
    }
}

/// Renames a directory to a name that must be free.
pub(super) fn rename_new_directory(
    parent: &Directory,
    from: &[u8],
    to: &[u8],
) -> Result<(), Cause> {
    match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Err(Cause::NameTaken),
        // A file system without the flag. A directory never replaces a leaf, nor one that holds
        // something, and an empty directory that just turned up is no loss.
        Err(Errno::INVAL | Errno::NOSYS) => match renameat(parent, from, parent, to) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => Err(Cause::NameTaken),
            other => Ok(other?),
        },
        other => Ok(other?),
    }
}
