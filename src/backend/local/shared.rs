//! What all that is written to one target shares: its root, its rights, its syncs, its temporaries.

use super::attributes::{chmod_handle, set_link};
use super::beneath::{Directory, Root};
use super::metadata::{Ownership, look_at_open};
use super::rename::rename_new;
use super::sync::Syncing;
use crate::backend::Precondition;
use crate::model::names::legal;
use crate::model::reserved::{self, TemporaryName};
use crate::model::{Cause, Durability, EntryKind, Key, Metadata, Timestamp};
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;
use std::io::ErrorKind::PermissionDenied;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What files under way need of their target.
pub(super) struct Shared {
    pub(super) root: Arc<Root>,
    pub(super) syncing: Syncing,
    pub(super) ownership: Ownership,
    /// Mode bits that the kernel takes from new files.
    pub(super) umask: u32,
    /// The first half of temporaries' names, told apart by run.
    token: u32,
    temporaries: AtomicU64,
    /// Whether directories of another user are other than they should be.
    pub(super) leaves_directories: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        root: Arc<Root>,
        durability: Durability,
        token: u32,
    ) -> rustix::io::Result<Self> {
        Ok(Self {
            syncing: Syncing::new(durability, Arc::clone(root.directory())),
            root,
            ownership: Ownership::of_this_process()?,
            umask: umask(),
            token,
            temporaries: AtomicU64::new(0),
            leaves_directories: AtomicBool::new(false),
        })
    }

    /// Acts in the directory that holds `key`. A directory of our own that we closed to ourselves
    /// (its source has mode 0555, say) is opened for it; its mode is set again when it is finished.
    pub(super) fn parent<T>(
        &self,
        key: &Key,
        mut act: impl FnMut(&Arc<Directory>, &[u8]) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        let name = legal(key)?;
        let parent = self.root.descend(key.parent())?;
        match act(&parent, name) {
            Err(Cause::Io(error))
                if error.kind() == PermissionDenied && self.open_up(&*parent)? =>
            {
                act(&parent, name)
            }
            other => other,
        }
    }

    /// Gives the owner all rights in a directory that lacks them; false when that isn't the trouble.
    pub(super) fn open_up(&self, directory: impl AsFd + Copy) -> rustix::io::Result<bool> {
        let stat = look_at_open(directory)?;
        let mode = u32::from(stat.stx_mode) & 0o7777;
        if stat.stx_uid != self.ownership.uid || mode & 0o700 == 0o700 {
            return Ok(false);
        }
        chmod_handle(directory, mode | 0o700)?;
        Ok(true)
    }

    /// What puts share, whose temporaries are told from those of other runs by [`reserved::PUTS`].
    pub(super) fn of_puts(root: Arc<Root>) -> rustix::io::Result<Self> {
        // What could not be swept is not in the way.
        let temporaries = AtomicU64::new(u64::from(std::process::id()));
        Ok(Self { temporaries, ..Self::new(root, Durability::File, reserved::PUTS)? })
    }

    /// What an entry with the source's metadata will carry here; where one stands already, what
    /// can't be kept stays as that is: the owner and group of what is another user's, and all that is
    /// known of his directory, which nobody else can set.
    pub(super) fn held(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        let keeps = self.root.directory().capabilities.keeps();
        let held = keeps.held(self.ownership.held(source, kind), kind, existing);
        let Some(existing) = existing.filter(|existing| self.ownership.is_anothers(existing))
        else {
            return held;
        };
        if kind != EntryKind::Directory {
            return held.owned_by(existing.uid, existing.gid, kind);
        }
        let kept = Metadata { uid: held.uid, gid: held.gid, ..*existing };
        self.leaves_directories.fetch_or(kept != held, Ordering::Relaxed);
        *existing
    }

    /// Sets the metadata of a symbolic link that was just made.
    pub(super) fn set_new_link(
        &self,
        parent: &Arc<Directory>,
        name: &[u8],
        source: &Metadata,
    ) -> Result<(), Cause> {
        let group = parent.passed_on_group.unwrap_or(self.ownership.gid);
        let time = Timestamp { seconds: i64::MIN, nanos: 0 };
        let existing =
            Metadata { uid: self.ownership.uid, gid: group, mtime: time, mode: source.mode };
        let wanted = self.held(source, EntryKind::Symlink, None);
        let existing =
            parent.capabilities.keeps().held(existing, EntryKind::Symlink, Some(&wanted));
        set_link(parent, name, &existing, &wanted)
    }

    /// A name for what is to be renamed to its own.
    ///
    /// # Errors
    /// [`Cause::AppendOnly`] in a directory where it would have to keep that name, each run's.
    pub(super) fn temporary_in(&self, parent: &Directory) -> Result<TemporaryName, Cause> {
        if parent.is_append_only { Err(Cause::AppendOnly) } else { Ok(self.temporary()) }
    }

    /// A name for a leaf whose place a directory takes; one that is kept from an earlier run may have
    /// it.
    ///
    /// # Errors
    /// As those of [`Shared::temporary_in`].
    pub(super) fn set_aside_in(&self, parent: &Directory) -> Result<TemporaryName, Cause> {
        if parent.is_append_only {
            return Err(Cause::AppendOnly);
        }
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        Ok(reserved::temporary_name(reserved::SET_ASIDE, u64::from(self.token) + number))
    }

    pub(super) fn temporary(&self) -> TemporaryName {
        reserved::temporary_name(self.token, self.temporaries.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a temporary in its place.
    pub(super) fn place(
        &self,
        parent: &Arc<Directory>,
        temporary: &[u8],
        name: &[u8],
        precondition: Precondition,
    ) -> Result<(), Cause> {
        match precondition {
            Precondition::Absent => rename_new(parent, temporary, name)?,
            Precondition::Leaf | Precondition::Object(_) => {
                renameat(&**parent, temporary, &**parent, name)?;
            }
            Precondition::EmptyDirectory => {
                match unlinkat(&**parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(Cause::DirectoryStands),
                    other => other?,
                }
                rename_new(parent, temporary, name)?;
            }
        }
        self.syncing.entries_changed(parent)?;
        Ok(())
    }
}

/// The process's umask, read without changing it; all bits where the kernel doesn't say.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}
