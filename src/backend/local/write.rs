//! Writing: every change of the target, each through a directory handle and a leaf name.

use super::beneath::{Directory, Root, legal};
use super::metadata::{Ownership, kind_of, look_at, look_at_open, metadata_of, stamp_of};
use super::place::{exchange_leaf, rename_new};
use super::stage::{Hidden, LocalStage, TEMPORARY, TemporaryName, is_temporary, set_open};
use super::stage_directory::{LocalStageDirectory, sweep_directory};
use super::sync::Syncing;
use super::{LocalSource, Walking, read};
use crate::backend::{
    ListOptions, Listing, Place, ReadError, Sink, Source, Stage, StageDirectory, Target,
};
use crate::model::error::Side;
use crate::model::{Cause, Durability, Entry, EntryKind, Error, Key, Metadata};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, mkdirat, openat, renameat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of this machine as a target.
pub struct LocalTarget {
    /// Lists and reads; its side in messages is the target.
    reader: LocalSource,
    shared: Arc<Shared>,
}

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
}

impl LocalTarget {
    /// Makes a target of an open root. `token` tells this run's temporaries from others'.
    ///
    /// # Errors
    /// When the kernel doesn't say who this process is.
    pub fn new(
        root: Arc<Root>,
        walking: Walking,
        durability: Durability,
        token: u32,
    ) -> rustix::io::Result<Self> {
        Ok(Self {
            reader: LocalSource { root: Arc::clone(&root), walking, side: Side::Target },
            shared: Arc::new(Shared {
                syncing: Syncing::new(durability, Arc::clone(root.directory())),
                root,
                ownership: Ownership::of_this_process()?,
                umask: umask(),
                token,
                temporaries: AtomicU64::new(0),
            }),
        })
    }
}

impl Shared {
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

    pub(super) fn temporary(&self) -> TemporaryName {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let mut name = [0; 25];
        name[..9].copy_from_slice(TEMPORARY);
        let value = (u64::from(self.token) << 32) | (number & 0xffff_ffff);
        for (digit, at) in name[9..].iter_mut().zip((0..16).rev()) {
            *digit = b"0123456789abcdef"[(value >> (at * 4)) as usize & 15];
        }
        name
    }

    /// Puts a temporary in its place.
    pub(super) fn place(
        &self,
        parent: &Arc<Directory>,
        temporary: &[u8],
        name: &[u8],
        place: Place,
    ) -> Result<(), Cause> {
        match place {
            Place::New => rename_new(parent, temporary, name)?,
            Place::Leaf => renameat(&**parent, temporary, &**parent, name)?,
            Place::EmptyDirectory => {
                match unlinkat(&**parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(Cause::DirectoryInTheWay),
                    other => other?,
                }
                rename_new(parent, temporary, name)?;
            }
        }
        self.syncing.entries_changed(parent)?;
        Ok(())
    }
}

pub(super) fn set_link(
    parent: &Arc<Directory>,
    name: &[u8],
    stands: &Metadata,
    wanted: &Metadata,
) -> Result<(), Cause> {
    let owner = (stands.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (stands.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    let mut failed = Ok(());
    if owner.is_some() || group.is_some() {
        failed = chownat(&**parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW);
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: wanted.mtime.seconds,
            tv_nsec: wanted.mtime.nanos.into(),
        },
    };
    utimensat(&**parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    failed.map_err(Cause::from)
}

impl Source for LocalTarget {
    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        self.reader.list(options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.reader.read(entry, buffer, sink)
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        read::look(&self.shared.root, key)
    }
}

impl Target for LocalTarget {
    fn stage(&self, entry: &Entry, place: Place) -> Result<Box<dyn Stage>, Cause> {
        let shared = &self.shared;
        shared.parent(&entry.key, |parent, _| {
            let name = shared.temporary();
            let hidden = || Hidden::temporary(shared, &entry.key, name, place);
            Ok(Box::new(LocalStage::begin(shared, parent, &name, entry, hidden)?) as Box<dyn Stage>)
        })
    }

    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        Ok(Box::new(LocalStageDirectory::begin(&self.shared, key)?))
    }

    fn make_directory(&self, key: &Key, place: Place) -> Result<(), Cause> {
        let shared = &self.shared;
        let closed = Mode::from_raw_mode(0o700);
        shared.parent(key, |parent, name| {
            match place {
                Place::New => match mkdirat(&**parent, name, closed) {
                    Err(Errno::EXIST) => return Err(Cause::NameTaken),
                    other => other?,
                },
                Place::Leaf | Place::EmptyDirectory => {
                    let temporary = shared.temporary();
                    mkdirat(&**parent, &temporary[..], closed)?;
                    exchange_leaf(parent, &temporary, name).inspect_err(|_| {
                        // Should this fail too, the next run sweeps it.
                        unlinkat(&**parent, &temporary[..], AtFlags::REMOVEDIR).ok();
                    })?;
                }
            }
            Ok(shared.syncing.entries_changed(parent)?)
        })
    }

    fn make_link(&self, entry: &Entry, place: Place) -> Result<(), Cause> {
        let shared = &self.shared;
        let text = entry.link.as_deref().unwrap_or_default();
        let wanted = self.holds(&entry.metadata, EntryKind::Symlink);
        shared.parent(&entry.key, |parent, _| {
            let temporary = shared.temporary();
            symlinkat(text, &**parent, &temporary[..])?;
            let mut link = Hidden::temporary(shared, &entry.key, temporary, place);
            let group = parent.passed_on_group.unwrap_or(shared.ownership.gid);
            let stands = Metadata { uid: shared.ownership.uid, gid: group, ..wanted };
            let set = set_link(parent, &temporary, &stands, &wanted);
            link.publish()?;
            set
        })
    }

    fn set_metadata(&self, key: &Key, kind: EntryKind, wanted: &Metadata) -> Result<(), Cause> {
        let shared = &self.shared;
        if kind == EntryKind::Directory {
            if !key.is_root() {
                legal(key)?;
            }
            let directory = shared.root.descend(key.as_bytes())?;
            let file = File::from(readable_directory(&directory)?);
            let stands = metadata_of(&look_at_open(&file)?);
            set_open(&file, &stands, wanted)?;
            return Ok(shared.syncing.entries_changed(&directory)?);
        }
        shared.parent(key, |parent, name| {
            let stat = look_at(&**parent, name)?;
            if kind_of(&stat) != kind {
                return Err(Cause::TargetChanged);
            }
            if kind == EntryKind::Symlink {
                set_link(parent, name, &metadata_of(&stat), wanted)?;
                return Ok(shared.syncing.entries_changed(parent)?);
            }
            let (file, through_proc) = open_for_metadata(parent, name)?;
            let stat = look_at_open(&file)?;
            if kind_of(&stat) != kind {
                return Err(Cause::TargetChanged);
            }
            let stands = metadata_of(&stat);
            if through_proc {
                chmod_handle(&file, wanted.mode)?;
                let rest = Metadata { mode: stands.mode, ..*wanted };
                set_link(parent, name, &stands, &rest)?;
                return Ok(shared.syncing.entries_changed(parent)?);
            }
            set_open(&file, &stands, wanted)?;
            Ok(shared.syncing.file_changed(parent, &file)?)
        })
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        let shared = &self.shared;
        shared.parent(&entry.key, |parent, name| {
            let stat = match look_at(&**parent, name) {
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            };
            let same = kind_of(&stat) == entry.kind
                && stat.stx_ino == entry.stamp.inode
                && (entry.kind == EntryKind::Directory
                    || entry.stamp.size == stat.stx_size
                        && entry.stamp.mtime == stamp_of(&stat).mtime);
            if !same {
                return Err(Cause::TargetChanged);
            }
            if entry.kind == EntryKind::Directory {
                shared.root.forget(entry.key.as_bytes());
                match unlinkat(&**parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(Cause::DirectoryInTheWay),
                    other => other?,
                }
            } else {
                unlinkat(&**parent, name, AtFlags::empty())?;
            }
            Ok(shared.syncing.entries_changed(parent)?)
        })
    }

    fn sweep(&self, key: &Key) -> Result<(), Cause> {
        if !is_temporary(key.name()) {
            return Err(Cause::IllegalName);
        }
        self.shared.parent(key, |parent, name| {
            let flags = if key.is_directory() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match unlinkat(&**parent, name, flags) {
                Err(Errno::NOENT) => Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) if key.is_directory() => {
                    match sweep_directory(&self.shared, parent, name) {
                        // Another run put it in its place.
                        Err(Cause::Io(error)) if error.kind() == NotFound => Ok(()),
                        other => other,
                    }
                }
                other => Ok(other?),
            }
        })
    }

    fn needs_barrier(&self) -> bool {
        self.shared.syncing.needs_barrier()
    }

    fn barrier(&self) -> Result<(), Cause> {
        self.shared.syncing.barrier()
    }

    fn holds(&self, source: &Metadata, kind: EntryKind) -> Metadata {
        self.shared.ownership.held(source, kind)
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.shared.syncing.directory_sync_unsupported() {
            warnings.push("the target's file system can't sync directories: after a power cut, entries made last may be missing".into());
        }
        warnings
    }
}

/// `fchmod` for handles that were opened without the right to read (`O_PATH`).
fn chmod_handle(handle: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    let path = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
}

/// A handle of a directory that `fchmod` accepts.
fn readable_directory(directory: &Directory) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(directory, c".", flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Ours, and closed to ourselves.
            chmod_handle(directory, 0o700)?;
            openat(directory, c".", flags, Mode::empty())
        }
        other => other,
    }
}

/// Opens a file to set its metadata: for reading, or, where that isn't allowed, as a mere handle.
fn open_for_metadata(parent: &Directory, name: &[u8]) -> rustix::io::Result<(File, bool)> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Err(Errno::ACCESS) => {
            Ok((File::from(openat(parent, name, flags | OFlags::PATH, Mode::empty())?), true))
        }
        other => Ok((File::from(other?), false)),
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
