//! Putting what was written in its place: renames that overwrite nothing they should not.
//!
//! Not every file system can rename to a name only if that is free; there a second name is made and
//! the first removed, and where it has no second names, the name is looked at and then renamed to.

use super::beneath::Directory;
use super::capabilities::is_unsupported;
use super::metadata::look_at;
use crate::model::Cause;
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

/// Renames to a name that must be free.
pub(super) fn rename_new(parent: &Directory, from: &[u8], to: &[u8]) -> Result<(), Cause> {
    let capabilities = &parent.capabilities;
    if capabilities.renames_new.get() != Some(&false) {
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            Err(error) if is_unsupported(error) => {}
            other => return Ok(other?),
        }
    }
    if capabilities.links.get() != Some(&false) {
        match linkat(parent, from, parent, to, AtFlags::empty()) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            Err(error) if is_unsupported(error) || error == Errno::PERM => {}
            other => {
                other?;
                capabilities.renames_new.get_or_init(|| false);
                return Ok(unlinkat(parent, from, AtFlags::empty())?);
            }
        }
    }
    match look_at(parent, to) {
        Ok(_) => return Err(Cause::NameTaken),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    renameat(parent, from, parent, to)?;
    // Only now: the name itself could have been what the calls before refused.
    capabilities.renames_new.get_or_init(|| false);
    capabilities.links.get_or_init(|| false);
    Ok(())
}

/// Renames a directory to a name that must be free.
pub(super) fn rename_new_directory(
    parent: &Directory,
    from: &[u8],
    to: &[u8],
) -> Result<(), Cause> {
    if parent.capabilities.renames_new.get() != Some(&false) {
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            Err(error) if is_unsupported(error) => {}
            other => return Ok(other?),
        }
    }
    // A directory never replaces a leaf, nor one that holds something, and an empty directory that
    // just turned up is no loss.
    match renameat(parent, from, parent, to) {
        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => Err(Cause::NameTaken),
        other => Ok(other?),
    }
}
