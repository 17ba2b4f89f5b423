//! Durability: what is synced, and when.
//!
//! `--durability batch` syncs a whole file system at a barrier if its `syncfs` is reliable; else
//! each file when it is finished and its directory at the barrier.

use super::beneath::{Directory, Identity};
use super::capabilities::Kind;
use crate::limits::descriptors::handles;
use crate::model::{Cause, Durability};
use parking_lot::Mutex;
use rustix::fs::{fsync, syncfs};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most directories that wait for a barrier, one handle each, if the descriptor limit allows;
/// further ones are synced at once.
const DIRECTORIES: usize = 128;

/// Records what has to be synced before written data is durable.
#[derive(Debug)]
pub struct Syncing {
    durability: Durability,
    /// The root, which is always readable and so can be synced for its whole file system.
    root: Arc<Directory>,
    dirty: Mutex<Dirty>,
    /// Most directories that may wait for a barrier.
    max_directories: usize,
    /// The result of syncing surplus directories. This runs concurrently with barriers: a barrier
    /// waits for it, because the directories it took are no longer in `dirty`.
    surplus: Mutex<rustix::io::Result<()>>,
    file_sync_unsupported: AtomicBool,
    directory_sync_unsupported: AtomicBool,
    syncfs_reports_errors: bool,
}

#[derive(Debug, Default)]
struct Dirty {
    /// File systems to sync at the next barrier, by device, with a directory on each.
    file_systems: HashMap<u64, Arc<Directory>>,
    /// Directories to sync at the next barrier on file systems that can't be synced as a whole.
    directories: HashMap<(u64, u64), Arc<Directory>>,
}

/// How a file system is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not at all: it is in memory.
    Volatile,
    /// By `syncfs`.
    Whole,
    /// File by file and directory by directory.
    PerFile,
}

impl Syncing {
    pub(super) fn new(durability: Durability, root: Arc<Directory>) -> Self {
        Self {
            durability,
            root,
            dirty: Mutex::default(),
            max_directories: handles(DIRECTORIES),
            surplus: Mutex::new(Ok(())),
            file_sync_unsupported: AtomicBool::new(false),
            directory_sync_unsupported: AtomicBool::new(false),
            syncfs_reports_errors: syncfs_reports_errors(),
        }
    }

    /// Returns whether anything is synced.
    pub(super) fn is_wanted(&self) -> bool {
        self.durability != Durability::None
    }

    pub(super) fn needs_barrier(&self) -> bool {
        self.durability == Durability::Batch
    }

    /// Returns whether a directory could not be synced because its file system doesn't support
    /// that.
    pub(super) fn directory_sync_unsupported(&self) -> bool {
        self.directory_sync_unsupported.load(Ordering::Relaxed)
    }

    /// Returns whether a file could not be synced because its file system doesn't support that.
    pub(super) fn file_sync_unsupported(&self) -> bool {
        self.file_sync_unsupported.load(Ordering::Relaxed)
    }

    /// Records that a file in `directory` has new content or metadata, and syncs it if the file
    /// system is synced file by file.
    pub(super) fn file_changed(
        &self,
        directory: &Arc<Directory>,
        file: impl AsFd,
    ) -> rustix::io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::File => self.sync_file(file),
            Durability::Batch => {
                if self.record(directory, false) == Way::PerFile {
                    self.sync_file(file)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Records that entries of `directory` were added, renamed or removed.
    pub(super) fn entries_changed(&self, directory: &Arc<Directory>) -> rustix::io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::File => self.sync_directory(directory),
            Durability::Batch => {
                self.record(directory, true);
                self.sync_surplus();
                Ok(())
            }
        }
    }

    /// Makes entries that were added to `directory` durable before any change that follows. Where
    /// the whole file system is synced, its journal keeps the order of changes.
    pub(super) fn entries_precede(&self, directory: &Arc<Directory>) -> rustix::io::Result<()> {
        match self.durability {
            Durability::None => Ok(()),
            Durability::Batch if self.record(directory, false) != Way::PerFile => Ok(()),
            Durability::Batch | Durability::File => self.sync_directory(directory),
        }
    }

    /// Syncs a file or directory now, if anything is synced.
    pub(super) fn sync_at_once(&self, open: impl AsFd) -> rustix::io::Result<()> {
        if self.is_wanted() { self.sync_file(open) } else { Ok(()) }
    }

    /// Makes everything durable that was recorded since the last barrier.
    pub(super) fn barrier(&self) -> Result<(), Cause> {
        let (file_systems, directories) = {
            let surplus = self.surplus.lock();
            (*surplus)?;
            let mut dirty = self.dirty.lock();
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

    /// Syncs the waiting directories if there are too many. A failure is reported by the next
    /// barrier: the entry that was being written is not its cause.
    fn sync_surplus(&self) {
        let has_surplus = |dirty: &Dirty| dirty.directories.len() > self.max_directories;
        if !has_surplus(&self.dirty.lock()) {
            return;
        }
        let mut synced = self.surplus.lock();
        let surplus = {
            let mut dirty = self.dirty.lock();
            if !has_surplus(&dirty) {
                return;
            }
            std::mem::take(&mut dirty.directories)
        };
        let all = surplus.values().try_for_each(|directory| self.sync_directory(directory));
        *synced = synced.and(all);
    }

    fn record(&self, directory: &Arc<Directory>, entries: bool) -> Way {
        let Identity { device, inode } = directory.identity;
        let way = way_of(directory.capabilities.kind, self.syncfs_reports_errors);
        let mut dirty = self.dirty.lock();
        match way {
            Way::Whole => {
                let any = if self.root.identity.device == device { &self.root } else { directory };
                dirty.file_systems.entry(device).or_insert_with(|| Arc::clone(any));
            }
            Way::PerFile if entries => {
                let key = (device, inode);
                dirty.directories.entry(key).or_insert_with(|| Arc::clone(directory));
            }
            Way::Volatile | Way::PerFile => {}
        }
        way
    }

    fn sync_file(&self, file: impl AsFd) -> rustix::io::Result<()> {
        tolerated(fsync(file), &self.file_sync_unsupported)
    }

    fn sync_directory(&self, directory: &Directory) -> rustix::io::Result<()> {
        let synced = match fsync(directory) {
            // An O_PATH handle: open the directory again to sync it.
            Err(Errno::BADF) => {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
                let opened = rustix::fs::openat(directory, c".", flags, rustix::fs::Mode::empty());
                opened.and_then(fsync)
            }
            other => other,
        };
        match synced {
            // The directory was removed meanwhile, so its entries don't matter: exfat-fuse returns
            // this, and so does any file system when the directory is reopened.
            Err(Errno::NOENT) => Ok(()),
            synced => tolerated(synced, &self.directory_sync_unsupported),
        }
    }
}

/// Treats an unsupported sync as success and records that: some network and FUSE file systems can't
/// sync directories, and a few can't sync files.
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

/// Chooses how a file system is synced. `syncfs` reports write errors since Linux 5.8 (commit
/// 735e4ae5ba28, "vfs: track per-sb writeback errors and report them to syncfs"); FUSE before 5.15
/// and some others return 0 and do nothing.
fn way_of(kind: Kind, syncfs_reports_errors: bool) -> Way {
    match kind {
        Kind::Memory => Way::Volatile,
        Kind::Native if syncfs_reports_errors => Way::Whole,
        Kind::Native | Kind::Other => Way::PerFile,
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
    fn an_unsupported_sync_is_recorded_and_a_failed_one_is_an_error() {
        let unsupported = AtomicBool::new(false);
        assert_eq!(tolerated(Ok(()), &unsupported), Ok(()));
        assert_eq!(tolerated(Err(Errno::IO), &unsupported), Err(Errno::IO));
        assert!(!unsupported.load(Ordering::Relaxed));
        // A pipe can't be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        assert_eq!(tolerated(fsync(&writer), &unsupported), Ok(()));
        assert!(unsupported.load(Ordering::Relaxed));
    }
}
