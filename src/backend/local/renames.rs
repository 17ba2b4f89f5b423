//! Renaming a file of the target to the name that the source's has now.

use super::beneath::Directory;
use super::rename::move_to_new;
use super::shared::Shared;
use super::stamp::{entry, look_afresh};
use crate::model::{Cause, Entry, EntryKind, Key};
use rustix::fs::Statx;
use rustix::io::Errno;
use std::sync::Arc;

/// Renames a file to a name at which nothing is, if it is still the one listed; returns `None` if it
/// can't be renamed there.
///
/// Another file may take the old name between the look and the rename. So what was renamed is looked
/// at, and what isn't the file that was listed gets its name back.
pub(super) fn rename_listed(
    shared: &Shared,
    listed: &Entry,
    to: &Key,
) -> Result<Option<Entry>, Cause> {
    shared.parent(&listed.key, |old, old_name| {
        shared.parent(to, |new, new_name| {
            let found = look(old, &listed.key, old_name)?;
            if found.is_none_or(|found| {
                found.kind != EntryKind::File || !found.stamp.is_still(&listed.stamp)
            }) {
                return Err(Cause::TargetChanged);
            }
            if old.is_append_only() {
                return Ok(None);
            }
            shared.unprotect(old, old_name)?;
            match move_to_new(old, old_name, new, new_name) {
                // Another file system is mounted at one of the names.
                Err(Cause::Io(error)) if is_barred(&error) => return Ok(None),
                other => other?,
            }
            let found = look(new, to, new_name)?;
            let Some(found) = found.filter(|found| is_renamed(found, listed)) else {
                move_to_new(new, new_name, old, old_name)?;
                return Err(Cause::TargetChanged);
            };
            shared.syncing.entries_changed(new)?;
            shared.syncing.entries_changed(old)?;
            Ok(Some(found))
        })
    })
}

fn is_barred(error: &std::io::Error) -> bool {
    let error = Errno::from_io_error(error);
    error.is_some_and(|error| matches!(error, Errno::XDEV | Errno::BUSY))
}

fn look(parent: &Arc<Directory>, key: &Key, name: &[u8]) -> Result<Option<Entry>, Cause> {
    let capabilities = &parent.capabilities;
    let of = |stat: &Statx| entry(capabilities, key.clone(), stat, None);
    match look_afresh(capabilities, &**parent, name) {
        Ok(stat) => Ok(Some(of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether an entry is the listed one, of which a rename changes the ctime alone.
fn is_renamed(found: &Entry, listed: &Entry) -> bool {
    let inodes = found.stamp.inode().zip(listed.stamp.inode());
    found.kind == listed.kind
        && found.stamp.size == listed.stamp.size
        && inodes.is_some_and(|(found, listed)| found.mtime == listed.mtime && found.may_be(listed))
}
