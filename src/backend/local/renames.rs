//! Renaming an entry of the target to the name that the source's has now.

use super::beneath::Directory;
use super::rename::move_to_new;
use super::shared::Shared;
use super::stamp::{entry, look_afresh};
use crate::model::{Cause, Entry, EntryKind, Key};
use rustix::fs::{RenameFlags, Statx, renameat_with};
use rustix::io::Errno;
use std::sync::Arc;

/// Renames a file or a directory to a name at which nothing is, if it is still the one listed; returns
/// `None` if it can't be renamed there.
///
/// Another entry may take the old name between the look and the rename. So what was renamed is looked
/// at, and what isn't the entry that was listed gets its name back.
pub(super) fn rename_listed(
    shared: &Shared,
    listed: &Entry,
    to: &Key,
) -> Result<Option<Entry>, Cause> {
    shared.parent(&listed.key, |old, old_name| {
        shared.parent(to, |new, new_name| {
            let found = look(old, &listed.key, old_name)?;
            if !found.is_some_and(|found| is_still(&found, listed)) {
                return Err(Cause::TargetChanged);
            }
            if old.is_append_only() {
                return Ok(None);
            }
            if listed.kind != EntryKind::Directory {
                shared.unprotect(old, old_name)?;
            }
            match rename(listed.kind, (old, old_name), (new, new_name)) {
                // Another file system is mounted at one of the names.
                Err(Cause::Io(error)) if is_barred(&error) => return Ok(None),
                other => other?,
            }
            if listed.kind == EntryKind::Directory {
                // Their keys lead to other directories now.
                shared.root.forget_below(listed.key.as_bytes());
                shared.root.forget_below(to.as_bytes());
            }
            let found = look(new, to, new_name)?;
            let Some(found) = found.filter(|found| is_renamed(found, listed)) else {
                rename(listed.kind, (new, new_name), (old, old_name))?;
                return Err(Cause::TargetChanged);
            };
            shared.syncing.entries_changed(new)?;
            shared.syncing.entries_changed(old)?;
            Ok(Some(found))
        })
    })
}

/// Renames an entry to a name at which nothing is. What a file system without `RENAME_NOREPLACE` can
/// do instead is for files alone.
fn rename(
    kind: EntryKind,
    (old, old_name): (&Arc<Directory>, &[u8]),
    (new, new_name): (&Arc<Directory>, &[u8]),
) -> Result<(), Cause> {
    if kind != EntryKind::Directory {
        return move_to_new(old, old_name, new, new_name);
    }
    match renameat_with(&**old, old_name, &**new, new_name, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Err(Cause::NameTaken),
        other => Ok(other?),
    }
}

fn is_still(found: &Entry, listed: &Entry) -> bool {
    match listed.kind {
        EntryKind::Directory => is_renamed(found, listed),
        _ => found.kind == listed.kind && found.stamp.is_still(&listed.stamp),
    }
}

fn is_barred(error: &std::io::Error) -> bool {
    let error = Errno::from_io_error(error);
    error.is_some_and(|error| matches!(error, Errno::XDEV | Errno::BUSY | Errno::INVAL))
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

/// Returns whether an entry is the listed one, of which a rename changes the ctime alone. Of a
/// directory, what this run did in it changed more.
fn is_renamed(found: &Entry, listed: &Entry) -> bool {
    let inodes = found.stamp.inode().zip(listed.stamp.inode());
    let is_same_file =
        || found.stamp.size == listed.stamp.size && found.stamp.mtime() == listed.stamp.mtime();
    found.kind == listed.kind
        && inodes.is_some_and(|(found, listed)| found.may_be(listed))
        && (found.kind == EntryKind::Directory || is_same_file())
}
