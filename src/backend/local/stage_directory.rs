//! Directories that are built whole under a temporary name and put in their place by one rename.
//!
//! What is in them was made under its own name, so that a file costs no rename and no look
//! afterwards: nobody but this process sees it before, and the directory's rename leaves its stamp
//! as it is.

use super::beneath::{Directory, legal, open_child, with_fallback};
use super::metadata::{look_at, look_at_open};
use super::place::rename_new_directory;
use super::stage::{Hidden, LocalStage, TemporaryName, written_of};
use super::write::{Shared, set_link};
use crate::backend::{Stage, StageDirectory, StagedDirectory, Written};
use crate::model::{Cause, Entry, EntryKind, Key, Metadata};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

/// Names taken from a directory at once, to be removed.
const NAMES: usize = 1_024;

/// A directory that is being built.
pub(super) struct LocalStageDirectory {
    unpublished: Unpublished,
    directory: Arc<Directory>,
}

impl LocalStageDirectory {
    pub(super) fn begin(shared: &Arc<Shared>, key: &Key) -> Result<Self, Cause> {
        shared.parent(key, |parent, _| {
            let name = shared.temporary();
            mkdirat(&**parent, &name[..], Mode::from_raw_mode(0o700))?;
            // A umask or a default ACL may have closed it to its owner.
            let open = |flags| openat(parent, &name[..], flags | OFlags::NOFOLLOW, Mode::empty());
            let directory = with_fallback(open).and_then(Directory::from_fd).inspect_err(|_| {
                // Should this fail too, the next run sweeps it.
                unlinkat(parent, &name[..], AtFlags::REMOVEDIR).ok();
            })?;
            let inode = Some(directory.identity.inode);
            let unpublished =
                Unpublished { shared: Arc::clone(shared), key: key.clone(), name, inode };
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
        let wanted = shared.ownership.held(&entry.metadata, EntryKind::Symlink);
        let group = directory.passed_on_group.unwrap_or(shared.ownership.gid);
        let stands = Metadata { uid: shared.ownership.uid, gid: group, ..wanted };
        let set = set_link(directory, name, &stands, &wanted);
        let written = written_of(&look_at(&**directory, name)?);
        hidden.publish()?;
        set.map(|()| written)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause> {
        let Self { unpublished, directory } = *self;
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
    /// Which directory it is; `None` once there is nothing to be removed.
    inode: Option<u64>,
}

impl StagedDirectory for Unpublished {
    fn publish(&mut self) -> Result<(), Cause> {
        let Self { shared, key, name: temporary, inode } = self;
        shared.parent(key, |parent, name| {
            rename_new_directory(parent, temporary, name)?;
            let built = inode.take();
            shared.syncing.entries_changed(parent)?;
            if Some(look_at(&**parent, name)?.stx_ino) == built {
                Ok(())
            } else {
                Err(Cause::TargetChanged)
            }
        })
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if self.inode.is_some()
            && let Ok(parent) = self.shared.root.descend(self.key.parent())
        {
            // Should this fail, the next run sweeps it.
            remove_unpublished(&parent, &self.name, self.shared.ownership.uid).ok();
        }
    }
}

/// Removes a directory that was built under a temporary's name, with the leaves in it.
///
/// # Errors
/// [`Cause::DirectoryInTheWay`] when it isn't one that vidimus built: its own are this user's,
/// closed to all others, and hold no directories.
pub(super) fn remove_unpublished(parent: &Directory, name: &[u8], uid: u32) -> Result<(), Cause> {
    let directory = open_child(parent.as_fd(), name)?;
    let stat = look_at_open(&directory)?;
    if stat.stx_uid != uid || stat.stx_mode & 0o777 != 0o700 {
        return Err(Cause::DirectoryInTheWay);
    }
    loop {
        let names = some_leaves(&directory)?;
        if names.is_empty() {
            return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?);
        }
        for name in names {
            match unlinkat(&directory, &*name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => return Err(Cause::DirectoryInTheWay),
                Err(Errno::NOENT) => {}
                other => other?,
            }
        }
    }
}

/// The first names that a directory lists from its beginning; it must hold no directories.
fn some_leaves(directory: &OwnedFd) -> Result<Vec<Box<[u8]>>, Cause> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from_start = openat(directory, c".", flags, Mode::empty())?;
    let mut buffer: Vec<u8> = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&from_start, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            return Err(Cause::DirectoryInTheWay);
        }
        names.push(name.into());
        if names.len() == NAMES {
            break;
        }
    }
    Ok(names)
}
