//! Directories that are built under a temporary name and put in their place by one rename.
//!
//! Their entries are created under their own names, which saves a rename and a lookup for each:
//! only this process sees them before, and renaming the directory doesn't change their stamps.

use super::beneath::{Directory, open_child, with_fallback};
use super::entries::{each_leaf, for_each_entry};
use super::metadata::{kind_of, look_at, look_at_open, mtime_of};
use super::rename::{Placed, is_unrenamable, rename_directory, rename_new_directory};
use super::shared::Shared;
use super::special;
use super::stage::{Hidden, LocalStage, written_of};
use super::stamp::look_afresh;
use super::xattr::Before;
use crate::backend::{Intended, Stage, StageDirectory, StagedDirectory, Written};
use crate::model::names::legal;
use crate::model::reserved::TemporaryName;
use crate::model::{Attributes, Cause, Entry, EntryKind, Key, Timestamp};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

/// A directory that is being built.
pub(super) struct LocalStageDirectory {
    unpublished: Unpublished,
    directory: Arc<Directory>,
}

impl LocalStageDirectory {
    pub(super) fn begin(shared: &Arc<Shared>, key: &Key) -> Result<Self, Cause> {
        shared.parent(key, |parent, _| {
            let name = shared.temporary_in(parent)?;
            mkdirat(&**parent, &name[..], Mode::from_raw_mode(0o700))?;
            // The umask or a default ACL may deny the owner access.
            let open = |flags| openat(parent, &name[..], flags | OFlags::NOFOLLOW, Mode::empty());
            let open = with_fallback(open)
                .and_then(|fd| Directory::from_fd(fd, shared.root.file_systems()));
            let directory = open.inspect_err(|_| {
                // If this fails too, the next run removes it.
                unlinkat(parent, &name[..], AtFlags::REMOVEDIR).ok();
            })?;
            let number = directory.number();
            let unpublished = Unpublished {
                shared: Arc::clone(shared),
                key: key.clone(),
                name,
                number,
                is_hidden: true,
                mtime: None,
            };
            Ok(Self { unpublished, directory: Arc::new(directory) })
        })
    }

    /// Calls `act` with the directory, and opens that up first if the owner has no access.
    fn within<T>(
        &self,
        act: impl Fn(&Arc<Directory>) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let directory = &self.directory;
        match act(directory) {
            Err(Errno::ACCESS) if self.unpublished.shared.open_up(&**directory)? => act(directory),
            other => other,
        }
    }
}

impl StageDirectory for LocalStageDirectory {
    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause> {
        let name = legal(&entry.key)?;
        let begin = |directory: &Arc<Directory>| {
            let hidden = || Hidden::member(directory, name);
            LocalStage::begin(&self.unpublished.shared, directory, name, entry, hidden)
        };
        match self.within(begin) {
            // Two names are the same to the file system.
            Err(Errno::EXIST) => Err(Cause::NameTaken),
            other => Ok(Box::new(other?)),
        }
    }

    fn make_link(&self, entry: &Entry, attributes: Option<&Attributes>) -> Result<Written, Cause> {
        let name = legal(&entry.key)?;
        let (shared, directory) = (&self.unpublished.shared, &self.directory);
        let text = entry.link.as_deref().unwrap_or_default();
        match self.within(|directory| symlinkat(text, directory, name)) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            other => other?,
        }
        let mut hidden = Hidden::member(directory, name);
        let set = shared.set_new_link(directory, name, &entry.metadata);
        let given = special::give_link(directory, name, Before::New, attributes)?;
        let found = look_afresh(&directory.capabilities, &**directory, name)?;
        let written = written_of(&directory.capabilities, &found);
        hidden.publish()?;
        set?;
        given.checked().map(|set| Written { lost: set.lost, ..written })
    }

    fn make_special(&self, entry: &Entry, intended: &Intended<'_>) -> Result<Written, Cause> {
        let name = legal(&entry.key)?;
        let (shared, directory) = (&self.unpublished.shared, &self.directory);
        match special::make(directory, name, entry) {
            Err(cause) if cause.is_denied() && shared.open_up(&**directory)? => {
                special::make(directory, name, entry)?;
            }
            other => other?,
        }
        let mut hidden = Hidden::member(directory, name);
        let set = special::set_new(directory, name, entry.kind, intended)?;
        let found = look_afresh(&directory.capabilities, &**directory, name)?;
        let written = Written { lost: set.lost, ..written_of(&directory.capabilities, &found) };
        hidden.publish()?;
        set.result.map(|()| written)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause> {
        let Self { mut unpublished, directory } = *self;
        unpublished.mtime = Some(mtime_of(&look_at_open(&*directory)?));
        unpublished.shared.syncing.entries_changed(&directory)?;
        Ok(Box::new(unpublished))
    }
}

/// An invisible directory; dropping it removes it with its contents. It keeps no handle, because
/// thousands may wait for a barrier.
struct Unpublished {
    shared: Arc<Shared>,
    /// The final key.
    key: Key,
    name: TemporaryName,
    /// The inode number, if it identifies the directory.
    number: Option<u64>,
    /// Whether it still exists under the temporary name.
    is_hidden: bool,
    /// The directory's mtime after its last entry was made; a rename keeps it.
    mtime: Option<Timestamp>,
}

impl StagedDirectory for Unpublished {
    fn publish(&mut self) -> Result<(), Cause> {
        let Self { shared, key, name: temporary, number, is_hidden, mtime } = self;
        shared.parent(key, |parent, name| {
            let placed = rename_new_directory(parent, temporary, name)?;
            *is_hidden = false;
            shared.syncing.entries_changed(parent)?;
            if placed == Placed::Moved {
                let made = open_child(parent.as_fd(), name)?;
                let made = Directory::from_fd(made, shared.root.file_systems())?;
                return Ok(shared.syncing.entries_changed(&Arc::new(made))?);
            }
            let found = look_afresh(&parent.capabilities, &**parent, name)?;
            let is_same = number.is_none_or(|number| number == found.stx_ino);
            if is_same || Some(mtime_of(&found)) == *mtime {
                Ok(())
            } else {
                Err(Cause::TargetChanged)
            }
        })
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if self.is_hidden
            && let Ok(parent) = self.shared.root.descend(self.key.parent())
        {
            // If this fails, the next run removes it.
            self.remove(&parent).ok();
        }
    }
}

impl Unpublished {
    fn remove(&self, parent: &Directory) -> Result<(), Cause> {
        match unlinkat(parent, &self.name[..], AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            other => return Ok(other?),
        }
        let directory = open_child(parent.as_fd(), &self.name)?;
        let found = look_at_open(&directory)?.stx_ino;
        if self.number.is_none_or(|number| number == found) {
            remove_leaves(&directory)?;
            unlinkat(parent, &self.name[..], AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }
}

/// Removes a directory that a killed run was building under a temporary name, with its leaves.
///
/// # Errors
/// [`Cause::NoTemporary`] if vidimus did not build it: its own contain no directories, belong to
/// this user and are closed to all others, or have the owner and mode that the target forces.
pub(super) fn sweep_directory(
    shared: &Shared,
    parent: &Directory,
    name: &[u8],
) -> Result<(), Cause> {
    let directory = open_child(parent.as_fd(), name)?;
    let found = look_at_open(&directory)?;
    if holds_directories(&directory)? || !could_be_own(shared, parent, &found)? {
        return Err(Cause::NoTemporary);
    }
    // Another run, whose target overlaps this one, may be about to publish it: the first to rename
    // it owns it.
    let temporary = shared.temporary_in(parent)?;
    let claimed = match rename_directory(parent, name, &temporary) {
        // Then no other run can rename it either.
        Err(error) if is_unrenamable(error) => name,
        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => return Err(Cause::NameTaken),
        other => {
            other?;
            &temporary
        }
    };
    let remove = || {
        let identifies = parent.capabilities.identifies();
        if identifies && look_at(parent, claimed)?.stx_ino != found.stx_ino {
            return Err(Cause::TargetChanged);
        }
        shared.open_up(&directory)?;
        remove_leaves(&directory)?;
        Ok(unlinkat(parent, claimed, AtFlags::REMOVEDIR)?)
    };
    remove().inspect_err(|_| {
        // The next run finds it under either name; the first error is the one to report.
        if claimed != name {
            rename_directory(parent, claimed, name).ok();
        }
    })
}

/// Returns whether a directory has the owner and mode of those that vidimus builds, or, if the
/// target or a default ACL forces others, those of a new directory beside it.
fn could_be_own(shared: &Shared, parent: &Directory, found: &Statx) -> Result<bool, Cause> {
    let owner_and_mode = |stat: &Statx| (stat.stx_uid, stat.stx_mode & 0o777);
    let found = owner_and_mode(found);
    if found == (shared.ownership.uid, 0o700) {
        return Ok(true);
    }
    let fresh = shared.temporary_in(parent)?;
    mkdirat(parent, &fresh[..], Mode::from_raw_mode(0o700))?;
    let made = look_at(parent, &fresh);
    unlinkat(parent, &fresh[..], AtFlags::REMOVEDIR)?;
    Ok(found == owner_and_mode(&made?))
}

/// Removes everything in a directory without subdirectories.
fn remove_leaves(directory: &OwnedFd) -> Result<(), Cause> {
    each_leaf(directory, |name| match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => Err(Cause::NotEmpty),
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    })
}

fn holds_directories(directory: &OwnedFd) -> rustix::io::Result<bool> {
    let mut holds = false;
    for_each_entry(directory, |listed| {
        holds = match listed.file_type {
            FileType::Unknown => kind_of(&look_at(directory, listed.name)?) == EntryKind::Directory,
            kind => kind == FileType::Directory,
        };
        rustix::io::Result::Ok(!holds)
    })?;
    Ok(holds)
}
