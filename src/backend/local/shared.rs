//! State shared by all writes to one target: root, process owner, syncs, temporary names.

use super::attributes::{chmod_handle, set_link};
use super::backup::Backup;
use super::beneath::{Directory, Root};
use super::flags::unprotect;
use super::metadata::{Ownership, look_at, look_at_open, metadata_of};
use super::rename::rename_new;
use super::sync::Syncing;
use crate::backend::Precondition;
use crate::model::names::legal;
use crate::model::reserved::{self, TemporaryName};
use crate::model::{Cause, Durability, EntryKind, Key, Metadata, Timestamp};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, renameat, unlinkat};
use rustix::io::Errno;
use std::io;
use std::io::ErrorKind::PermissionDenied;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The capability to make devices (`capabilities(7)`), as a bit of the effective ones.
const CAP_MKNOD: u64 = 1 << 27;

/// The shared state of a target.
pub(super) struct Shared {
    pub(super) root: Arc<Root>,
    pub(super) syncing: Syncing,
    pub(super) ownership: Ownership,
    /// Mode bits that the kernel removes from new files.
    pub(super) umask: u32,
    /// Whether this process may make devices, as far as its capabilities tell.
    pub(super) makes_devices: bool,
    /// The first half of temporary names, different for each run.
    token: u32,
    temporaries: AtomicU64,
    /// The devices of source and target between which files can't share their content.
    pub(super) refused_reflinks: Mutex<Vec<(u64, u64)>>,
    /// Where what is replaced or removed is kept, if it is.
    pub(super) backup: OnceLock<Backup>,
    /// Whether some directory of another user differs from what it should be.
    pub(super) leaves_directories: AtomicBool,
    /// Whether flags that are in the way are removed, as the run sets flags.
    pub(super) clears_flags: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        root: Arc<Root>,
        durability: Durability,
        token: u32,
    ) -> rustix::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Self {
            syncing: Syncing::new(durability, Arc::clone(root.directory())),
            root,
            ownership: Ownership::of_this_process()?,
            umask: field(&status, "Umask:", 8).unwrap_or(0o777) as u32,
            makes_devices: field(&status, "CapEff:", 16).is_none_or(|all| all & CAP_MKNOD != 0),
            token,
            temporaries: AtomicU64::new(0),
            refused_reflinks: Mutex::default(),
            backup: OnceLock::new(),
            leaves_directories: AtomicBool::new(false),
            clears_flags: AtomicBool::new(false),
        })
    }

    /// Calls `act` with the directory that contains `key`. If we own that directory but closed it
    /// to ourselves (its source has mode 0555, for example), it is opened up first; its mode is set
    /// again when it is finished.
    pub(super) fn parent<T>(
        &self,
        key: &Key,
        mut act: impl FnMut(&Arc<Directory>, &[u8]) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        let name = legal(key)?;
        let parent = self.root.descend(key.parent())?;
        if self.clears_flags() {
            parent.unprotect()?;
        }
        match act(&parent, name) {
            Err(Cause::Io(error))
                if error.kind() == PermissionDenied && self.open_up(&*parent)? =>
            {
                act(&parent, name)
            }
            other => other,
        }
    }

    /// Returns whether flags that are in the way are removed.
    pub(super) fn clears_flags(&self) -> bool {
        self.clears_flags.load(Ordering::Relaxed)
    }

    /// Removes the flags of what is to be replaced, changed or removed, if the run keeps flags: it
    /// sets those of the copy in the end.
    pub(super) fn unprotect(&self, parent: &Directory, name: &[u8]) -> rustix::io::Result<()> {
        if self.clears_flags() { unprotect(parent, name) } else { Ok(()) }
    }

    /// Gives the owner all rights in a directory that lacks them; returns false if that isn't the
    /// problem.
    pub(super) fn open_up(&self, directory: impl AsFd + Copy) -> rustix::io::Result<bool> {
        let stat = look_at_open(directory)?;
        let mode = u32::from(stat.stx_mode) & 0o7777;
        if stat.stx_uid != self.ownership.uid || mode & 0o700 == 0o700 {
            return Ok(false);
        }
        chmod_handle(directory, mode | 0o700)?;
        Ok(true)
    }

    /// Makes the state for `put`, whose temporary names carry [`reserved::PUTS`].
    pub(super) fn of_puts(root: Arc<Root>) -> io::Result<Self> {
        // Begin at another number than a leftover that could not be removed.
        let temporaries = AtomicU64::new(getrandom::u64()?);
        Ok(Self { temporaries, ..Self::new(root, Durability::File, reserved::PUTS)? })
    }

    /// Returns the metadata that an entry with the source's metadata will have here. What can't be
    /// set stays as in the `existing` entry: owner and group of another user's leaf, and all
    /// metadata of another user's directory.
    pub(super) fn achievable(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        let keeps = self.root.directory().capabilities.keeps();
        let achievable = keeps.achievable(self.ownership.achievable(source, kind), kind, existing);
        let Some(existing) = existing.filter(|existing| self.ownership.is_anothers(existing))
        else {
            return achievable;
        };
        if kind != EntryKind::Directory {
            return achievable.owned_by(existing.uid, existing.gid, kind);
        }
        let kept = Metadata { uid: achievable.uid, gid: achievable.gid, ..*existing };
        self.leaves_directories.fetch_or(kept != achievable, Ordering::Relaxed);
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
        let wanted = self.achievable(source, EntryKind::Symlink, None);
        let existing =
            parent.capabilities.keeps().achievable(existing, EntryKind::Symlink, Some(&wanted));
        set_link(parent, name, &existing, &wanted)
    }

    /// Returns a temporary name in `parent`.
    ///
    /// # Errors
    /// [`Cause::AppendOnly`] in a directory where the temporary could not be renamed, so that each
    /// run would leave one.
    pub(super) fn temporary_in(&self, parent: &Directory) -> Result<TemporaryName, Cause> {
        if parent.is_append_only() { Err(Cause::AppendOnly) } else { Ok(self.temporary()) }
    }

    /// Returns a name for a leaf that a directory replaces. A leaf kept from an earlier run may
    /// have the same name.
    ///
    /// # Errors
    /// Those of [`Shared::temporary_in`].
    pub(super) fn set_aside_in(&self, parent: &Directory) -> Result<TemporaryName, Cause> {
        if parent.is_append_only() {
            return Err(Cause::AppendOnly);
        }
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        Ok(reserved::temporary_name(reserved::SET_ASIDE, u64::from(self.token) + number))
    }

    pub(super) fn temporary(&self) -> TemporaryName {
        reserved::temporary_name(self.token, self.temporaries.fetch_add(1, Ordering::Relaxed))
    }

    /// Renames a temporary to its final name, that of `key` in `parent`.
    pub(super) fn place(
        &self,
        parent: &Arc<Directory>,
        key: &Key,
        temporary: &[u8],
        precondition: Precondition,
    ) -> Result<(), Cause> {
        let name = legal(key)?;
        match precondition {
            Precondition::Absent => rename_new(parent, temporary, name)?,
            Precondition::Leaf | Precondition::Object(_) => {
                self.unprotect(parent, name)?;
                if let Some(backup) = self.backup.get() {
                    backup.keep_leaf(self, parent, key)?;
                }
                renameat(&**parent, temporary, &**parent, name)?;
            }
            Precondition::EmptyDirectory => {
                self.unprotect(parent, name)?;
                if let Some(backup) = self.backup.get() {
                    let metadata = metadata_of(&look_at(&**parent, name)?);
                    let directory = Key::child(key.parent(), key.name(), true);
                    backup.keep_directory(self, &directory, &metadata)?;
                }
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

/// Returns a number that the kernel reports of this process; `None` if it doesn't.
fn field(status: &str, name: &str, radix: u32) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(value.trim(), radix).ok()
}
