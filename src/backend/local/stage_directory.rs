//! Directories that are built whole under a temporary name and put in their place by one rename.
//!
//! What is in them was made under its own name, so that a file costs no rename and no look
//! afterwards: nobody but this process sees it before, and the directory's rename leaves its stamp
//! as it is.

use super::beneath::{Directory, open_child, with_fallback};
use super::entries::{each_leaf, for_each_entry};
use super::metadata::{kind_of, look_at, look_at_open, mtime_of};
use super::rename::{Placed, is_unrenamable, rename_directory, rename_new_directory};
use super::shared::Shared;
use super::stage::{Hidden, LocalStage, written_of};
use super::stamp::look_afresh;
use crate::backend::{Stage, StageDirectory, StagedDirectory, Written};
use crate::model::names::legal;
use crate::model::reserved::TemporaryName;
use crate::model::{Cause, Entry, EntryKind, Key, Timestamp};
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
            // A umask or a default ACL may have closed it to its owner.
            let open = |flags| openat(parent, &name[..], flags | OFlags::NOFOLLOW, Mode::empty());
            let open = with_fallback(open)
                .and_then(|fd| Directory::from_fd(fd, shared.root.file_systems()));
            let directory = open.inspect_err(|_| {
                // Should this fail too, the next run sweeps it.
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

    /// Acts in the directory; opens it up first where it is closed to its owner.
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
            // Two names that are one to the file system.
            Err(Errno::EXIST) => Err(Cause::NameTaken),
            other => Ok(Box::new(other?)),
        }
    }

    fn make_link(&self, entry: &Entry) -> Result<Written, Cause> {
        let name = legal(&entry.key)?;
        let (shared, directory) = (&self.unpublished.shared, &self.directory);
        let text = entry.link.as_deref().unwrap_or_default();
        match self.within(|directory| symlinkat(text, directory, name)) {
            Err(Errno::EXIST) => return Err(Cause::NameTaken),
            other => other?,
        }
        let mut hidden = Hidden::member(directory, name);
        let set = shared.set_new_link(directory, name, &entry.metadata);
        let written = written_of(
            &directory.capabilities,
            &look_afresh(&directory.capabilities, &**directory, name)?,
        );
        hidden.publish()?;
        set.map(|()| written)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause> {
        let Self { mut unpublished, directory } = *self;
        unpublished.mtime = Some(mtime_of(&look_at_open(&*directory)?));
        unpublished.shared.syncing.entries_changed(&directory)?;
        Ok(Box::new(unpublished))
    }
}

/// A directory that nobody sees. Dropped, it is removed with all in it. It holds no handle:
/// thousands of them wait for a barrier.
struct Unpublished {
    shared: Arc<Shared>,
    /// The key that it is to have.
    key: Key,
    name: TemporaryName,
    /// The number of its inode, where that identifies it.
    number: Option<u64>,
    /// Whether there is something to be removed.
    is_hidden: bool,
    /// When its last entry was made; a rename keeps it.
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
            let is_it = number.is_none_or(|number| number == found.stx_ino);
            if is_it || Some(mtime_of(&found)) == *mtime {
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
            // Should this fail, the next run sweeps it.
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

/// Removes a directory that a killed run built under a temporary's name, with the leaves in it.
///
/// # Errors
/// [`Cause::NoTemporary`] when it isn't one that vidimus built: its own hold no directories,
/// and are this user's and closed to all others, or whatever the target makes of that.
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
    // Another run, whose target lies in this one or around it, may be about to put it in its place:
    // whoever renames it first has it.
    let temporary = shared.temporary_in(parent)?;
    let claimed = match rename_directory(parent, name, &temporary) {
        // Nobody else renames it either.
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
        // Under either name the next run meets it again; what went wrong first is told.
        if claimed != name {
            rename_directory(parent, claimed, name).ok();
        }
    })
}

/// Whether a directory has the owner and the mode of those that are built, or, where the target or
/// a default ACL decides on them, those that a directory gets which is made beside it.
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

/// Removes all that a directory holds, which is no directories.
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
