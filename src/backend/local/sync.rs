//! Durability: what is synced, and when.
//!
//! `--durability batch` syncs a whole file system at a barrier where `syncfs` tells the truth, and
//! elsewhere each file as it is finished and its directory at the barrier.

use super::beneath::{Directory, Identity};
use super::capabilities::Kind;
use crate::limits::descriptors::handles;
use crate::model::{Cause, Durability};
use rustix::fs::{fsync, syncfs};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Directories that wait for a barrier, a handle each, where so many files may be open; more are
/// synced at once.
const DIRECTORIES: usize = 128;

/// What has to be synced before what was written is durable.
#[derive(Debug)]
pub struct Syncing {
    durability: Durability,
    /// Readable, whatever directories below it are: stands for its whole file system.
    root: Arc<Directory>,
    dirty: Mutex<Dirty>,
    /// How many directories wait for a barrier.
    most: usize,
    /// How the syncs of surplus directories went. They go on beside the barriers: one that begins
    /// meanwhile waits for them, for what they took counts as synced by it.
    surplus: Mutex<rustix::io::Result<()>>,
    file_sync_unsupported: AtomicBool,
    directory_sync_unsupported: AtomicBool,
    syncfs_reports_errors: bool,
}

#[derive(Debug, Default)]
struct Dirty {
    /// File systems to sync at the next barrier, by a directory in each.
    file_systems: HashMap<u64, Arc<Directory>>,
    /// Directories to sync at the next barrier, where the file system can't be.
    directories: HashMap<(u64, u64), Arc<Directory>>,
}

/// How a file system is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not at all: it lives in memory.
    Volatile,
    /// As a whole.
    Whole,
    /// File by file and directory by directory.
    Piecemeal,
}

impl Syncing {
    pub(super) fn new(durability: Durability, root: Arc<Directory>) -> Self {
        Self {
            durability,
            root,
            dirty: Mutex::default(),
            most: handles(DIRECTORIES),
            surplus: Mutex::new(Ok(())),
            file_sync_unsupported: AtomicBool::new(false),
            directory_sync_unsupported: AtomicBool::new(false),
            syncfs_reports_errors: syncfs_reports_errors(),
        }
    }

    /// Whether anything is to be synced.
    pub(super) fn is_wanted(&self) -> bool {
        self.durability != Durability::None
    }

    pub(super) fn needs_barrier(&self) -> bool {
        self.durability == Durability::Batch
    }

    /// Whether a directory could not be synced because its file system can't do that.
    pub(super) fn directory_sync_unsupported(&self) -> bool {
        self.directory_sync_unsupported.load(Ordering::Relaxed)
    }

    /// Whether a file could not be synced because its file system can't do that.
    pub(super) fn file_sync_unsupported(&self) -> bool {
        self.file_sync_unsupported.load(Ordering::Relaxed)
    }

    /// Takes note that a file in `directory` got new content or metadata; syncs it where that is
    /// the way.
    pub(super) fn file_changed(
        &self,
        directory: &Arc<Directory>,
        file: impl AsFd,
    ) -> rustix::io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::File => self.sync_file(file),
            Durability::Batch => {
                if self.note(directory, false) == Way::Piecemeal {
                    self.sync_file(file)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Takes note that entries of `directory` were added, renamed or removed.
    pub(super) fn entries_changed(&self, directory: &Arc<Directory>) -> rustix::io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::File => self.sync_directory(directory),
            Durability::Batch => {
                self.note(directory, true);
                self.sync_surplus();
                Ok(())
            }
        }
    }

    /// Makes durable all that was noted since the last barrier.
    pub(super) fn barrier(&self) -> Result<(), Cause> {
        let (file_systems, directories) = {
            let surplus = self.surplus.lock().unwrap_or_else(PoisonError::into_inner);
            (*surplus)?;
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut dirty.file_systems), std::mem::take(&mut dirty.directories))
        };
        for directory in file_systems.into_values() {
            syncfs(&*directory)?;
        }
        for directory in directories.into_values() {
            self.sync_directory(&directory)?;
        }
        Ok(())
    }

    /// Keeps the handles that wait within their bound. What fails is the next barrier's failure: it
    /// isn't the fault of the entry that was one too many.
    fn sync_surplus(&self) {
        let has_surplus = |dirty: &Dirty| dirty.directories.len() > self.most;
        if !has_surplus(&self.dirty.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut synced = self.surplus.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            if !has_surplus(&dirty) {
                return;
            }
            std::mem::take(&mut dirty.directories)
        };
        let all = surplus.values().try_for_each(|directory| self.sync_directory(directory));
        *synced = synced.and(all);
    }

    fn note(&self, directory: &Arc<Directory>, entries: bool) -> Way {
        let Identity { device, inode } = directory.identity;
        let way = way_of(directory.capabilities.kind, self.syncfs_reports_errors);
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        match way {
            Way::Whole => {
                let any = if self.root.identity.device == device { &self.root } else { directory };
                dirty.file_systems.entry(device).or_insert_with(|| Arc::clone(any));
            }
            Way::Piecemeal if entries => {
                let key = (device, inode);
                dirty.directories.entry(key).or_insert_with(|| Arc::clone(directory));
            }
            Way::Volatile | Way::Piecemeal => {}
        }
        way
    }

    fn sync_file(&self, file: impl AsFd) -> rustix::io::Result<()> {
        tolerated(fsync(file), &self.file_sync_unsupported)
    }

    fn sync_directory(&self, directory: &Directory) -> rustix::io::Result<()> {
        let synced = match fsync(directory) {
            // A mere handle (O_PATH): open it anew to sync it.
            Err(Errno::BADF) => {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, c".", flags, rustix::fs::Mode::empty());
                opened.and_then(fsync)
            }
            other => other,
        };
        match synced {
            // It was removed since it changed, and what it held is of no account: exfat-fuse says so, and
            // so does any that is asked to open it anew.
            Err(Errno::NOENT) => Ok(()),
            synced => tolerated(synced, &self.directory_sync_unsupported),
        }
    }
}

/// Takes what a file system can't sync for synced, and notes that: some network and FUSE file systems
/// sync no directories, and few no files.
fn tolerated(
    synced: rustix::io::Result<()>,
    is_unsupported: &AtomicBool,
) -> rustix::io::Result<()> {
    match synced {
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => {
            is_unsupported.store(true, Ordering::Relaxed);
            Ok(())
        }
        other => other,
    }
}

/// `syncfs` reports write errors since Linux 5.8 (commit 735e4ae5ba28, "vfs: track per-sb writeback
/// errors and report them to syncfs"); FUSE before 5.15 and some others answer 0 and do nothing.
fn way_of(kind: Kind, syncfs_reports_errors: bool) -> Way {
    match kind {
        Kind::Memory => Way::Volatile,
        Kind::Native if syncfs_reports_errors => Way::Whole,
        Kind::Native | Kind::Other => Way::Piecemeal,
    }
}

fn syncfs_reports_errors() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    (next(), next()) >= (5, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_removed_since_it_changed_needs_no_sync() {
        use super::super::capabilities::FileSystems;
        use rustix::fs::{Mode, OFlags, open};
        let root = tempfile::tempdir().unwrap();
        let handle = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            let opened = open(&path, OFlags::PATH, Mode::empty()).unwrap();
            Arc::new(Directory::from_fd(opened, &FileSystems::default()).unwrap())
        };
        let syncing = Syncing::new(Durability::File, handle("."));
        let (stays, goes) = (handle("stays"), handle("goes"));
        std::fs::remove_dir(root.path().join("goes")).unwrap();
        syncing.entries_changed(&stays).unwrap();
        syncing.entries_changed(&goes).unwrap();
    }

    #[test]
    fn what_cannot_be_synced_is_noted_and_what_fails_is_not() {
        let noted = AtomicBool::new(false);
        assert_eq!(tolerated(Ok(()), &noted), Ok(()));
        assert_eq!(tolerated(Err(Errno::IO), &noted), Err(Errno::IO));
        assert!(!noted.load(Ordering::Relaxed));
        // A pipe can't be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        assert_eq!(tolerated(fsync(&writer), &noted), Ok(()));
        assert!(noted.load(Ordering::Relaxed));
    }
}
