//! Keeping what a run replaces or removes.
//!
//! Every change that takes an entry out of the target goes through here first, if the run has a
//! backup directory: a leaf that is replaced gets a second name there, so that its path in the
//! target is never without a file; one that is removed is moved there. Where the file system has no
//! links, or the entry lies on another one, it is copied. Entries keep their keys, below a
//! directory that has the run's id as its name.

use super::attributes::{readable_directory, set_link, set_open, times};
use super::beneath::{Directory, Root, open_child};
use super::capabilities::is_unsupported;
use super::holes::{Unit, may_have_holes, read_part};
use super::inspect::attributes;
use super::metadata::{kind_of, look_at, look_at_open, metadata_of};
use super::read::link_text;
use super::rename::{move_to_new, rename_new};
use super::shared::Shared;
use super::special;
use super::stamp::entry;
use super::xattr::Before;
use crate::backend::{Intended, Piece, ReadError};
use crate::model::key::Escaped;
use crate::model::reserved::{TemporaryName, is_in_directory};
use crate::model::{Attributes, Cause, EntryKind, Key, Metadata, Notice};
use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, futimens, linkat, mkdirat, openat, openat2,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes: how much of a file is copied at once.
const BUFFER: usize = 256 << 10;

/// Where a run keeps what it replaces or removes. It is made when there is something to keep.
#[derive(Debug)]
pub struct Backup {
    /// The directory that holds the backup directory.
    parent: OwnedFd,
    /// The backup directory's name in it.
    name: Box<[u8]>,
    /// The name of this run's directory in the backup directory.
    run: Box<[u8]>,
    /// Whether the backup directory lies in the target.
    in_target: bool,
    /// This run's directory, once it is made.
    root: Mutex<Option<Arc<Root>>>,
    /// The path of that directory, for messages.
    shown: String,
    kept: AtomicU64,
}

impl Backup {
    /// Opens the parent of the backup directory at a real path. `run` is the run's id. If that is
    /// `in_target`, the directory around it keeps its time.
    ///
    /// # Errors
    /// Fails if that directory can't be opened, or the path is the root of all.
    pub fn open(path: &Path, run: &str, in_target: bool) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(Self {
            parent: open_real(parent)?,
            name: name.as_bytes().into(),
            run: run.as_bytes().into(),
            in_target,
            root: Mutex::default(),
            shown: Escaped(path.join(run).as_os_str().as_bytes()).to_string(),
            kept: AtomicU64::new(0),
        })
    }

    /// Returns the notice of what was kept, if anything was.
    pub(super) fn notice(&self) -> Option<Notice> {
        let count = self.kept.load(Ordering::Relaxed);
        (count > 0).then(|| Notice::BackupKept { directory: self.shown.clone(), count })
    }

    /// Returns this run's directory, and makes it if it doesn't exist yet.
    fn root(&self, shared: &Shared) -> Result<Arc<Root>, Cause> {
        let mut root = self.root.lock();
        if let Some(root) = &*root {
            return Ok(Arc::clone(root));
        }
        let make = |parent: &OwnedFd, name: &[u8]| -> Result<OwnedFd, Cause> {
            match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => Ok(open_child(parent.as_fd(), name)?),
                made => {
                    made?;
                    let directory = open_child(parent.as_fd(), name)?;
                    set_like(shared, &directory, shared.root.directory())?;
                    shared.syncing.sync_at_once(parent)?;
                    Ok(directory)
                }
            }
        };
        let around = metadata_of(&look_at_open(&self.parent)?);
        let directory = make(&self.parent, &self.name)?;
        if self.in_target {
            futimens(&self.parent, &times(None, around.mtime))?;
        }
        let run = make(&directory, &self.run)?;
        Ok(Arc::clone(root.insert(Arc::new(Root::of(run)?))))
    }

    /// Returns the directory that keeps what was in a directory of the target, and makes it with
    /// that one's mode and owner if it doesn't exist yet.
    fn directory(&self, shared: &Shared, key: &[u8]) -> Result<Arc<Directory>, Cause> {
        let root = self.root(shared)?;
        match root.descend(key) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            found => return Ok(found?),
        }
        let mut parent = Arc::clone(root.directory());
        let ends = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        let mut begin = 0;
        for end in ends {
            let (name, key) = (&key[begin..end - 1], &key[..end]);
            match mkdirat(&*parent, name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) if is_leaf(&parent, name)? => {
                    // A leaf of this name was replaced by the directory, and is kept here.
                    with_number(name, 1, |free| rename_new(&parent, name, free))?;
                    mkdirat(&*parent, name, Mode::from_raw_mode(0o700))?;
                }
                Err(Errno::EXIST) => {}
                made => made?,
            }
            let made = root.descend(key)?;
            match shared.root.descend(key) {
                Ok(of) => set_like(shared, &readable_directory(&made)?, &of)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
            shared.syncing.entries_precede(&parent)?;
            (parent, begin) = (made, end);
        }
        Ok(parent)
    }

    /// Keeps the leaf that is about to be replaced, if there is one: it stays in its place.
    pub(super) fn keep_leaf(
        &self,
        shared: &Shared,
        parent: &Arc<Directory>,
        key: &Key,
    ) -> Result<(), Cause> {
        let name = key.name();
        let stat = match look_at(&**parent, name) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        // What follows doesn't replace a directory. What is vidimus's own is no content.
        if kind_of(&stat) == EntryKind::Directory || is_in_directory(key.as_bytes()) {
            return Ok(());
        }
        let into = self.directory(shared, key.parent())?;
        with_number(name, 0, |free| {
            match linkat(&**parent, name, &*into, free, AtFlags::empty()) {
                // An attempt before this one linked it.
                Err(Errno::EXIST) if is_same_file(parent, name, &into, free)? => Ok(()),
                Err(Errno::EXIST) => Err(Cause::NameTaken),
                Err(error) if is_unlinkable(error) => copy(shared, (parent, name), (&into, free)),
                linked => Ok(linked?),
            }
        })?;
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(shared.syncing.entries_precede(&into)?)
    }

    /// Moves a leaf of the target here. `key` is the one that it is kept under.
    pub(super) fn take_leaf(
        &self,
        shared: &Shared,
        (parent, name): (&Arc<Directory>, &[u8]),
        key: &Key,
    ) -> Result<(), Cause> {
        if is_in_directory(key.as_bytes()) {
            return Ok(unlinkat(&**parent, name, AtFlags::empty())?);
        }
        let into = self.directory(shared, key.parent())?;
        with_number(key.name(), 0, |free| match move_to_new(parent, name, &into, free) {
            Err(Cause::Io(error)) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
                copy(shared, (parent, name), (&into, free))?;
                shared.syncing.entries_precede(&into)?;
                Ok(unlinkat(&**parent, name, AtFlags::empty())?)
            }
            moved => moved,
        })?;
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(shared.syncing.entries_precede(&into)?)
    }

    /// Keeps a directory that is about to be removed, empty as it is, with this metadata.
    pub(super) fn keep_directory(
        &self,
        shared: &Shared,
        key: &Key,
        metadata: &Metadata,
    ) -> Result<(), Cause> {
        if is_in_directory(key.as_bytes()) {
            return Ok(());
        }
        let kept = self.directory(shared, key.as_bytes())?;
        let file = File::from(readable_directory(&kept)?);
        set_metadata(shared, &file, &kept, metadata, None)?;
        Ok(shared.syncing.entries_precede(&kept)?)
    }
}

/// Calls `keep` with the name, and as long as that is taken with `name.~1~`, `name.~2~` and so on:
/// something of its name may be kept already. `first` is the number to begin with, 0 for none.
fn with_number(
    name: &[u8],
    first: u32,
    mut keep: impl FnMut(&[u8]) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let mut number = first;
    loop {
        let free = match number {
            0 => name.to_vec(),
            number => [name, format!(".~{number}~").as_bytes()].concat(),
        };
        match keep(&free) {
            Err(Cause::NameTaken) => number += 1,
            done => return done,
        }
    }
}

/// Opens a directory at a path that has no symbolic links in it, and none by now.
fn open_real(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Kernels before 5.6, and sandboxes that don't allow the call.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    }
}

/// Returns whether an error means that a leaf can be copied but not linked: no links here, another
/// file system, too many links, or those of another user's files are forbidden.
fn is_unlinkable(error: Errno) -> bool {
    is_unsupported(error) || matches!(error, Errno::XDEV | Errno::PERM | Errno::MLINK)
}

fn is_leaf(parent: &Directory, name: &[u8]) -> Result<bool, Cause> {
    Ok(kind_of(&look_at(parent, name)?) != EntryKind::Directory)
}

fn is_same_file(
    parent: &Directory,
    name: &[u8],
    other_parent: &Directory,
    other: &[u8],
) -> rustix::io::Result<bool> {
    let (one, other) = (look_at(parent, name)?, look_at(other_parent, other)?);
    let device = |stat: &rustix::fs::Statx| (stat.stx_dev_major, stat.stx_dev_minor);
    Ok(device(&one) == device(&other) && one.stx_ino == other.stx_ino)
}

/// Gives a directory here the mode, owner and attributes of one in the target. It stays open to its
/// owner, who has yet to put entries into it.
fn set_like(shared: &Shared, made: &OwnedFd, of: &Directory) -> Result<(), Cause> {
    let stat = look_at_open(of)?;
    let attributes = attributes(of.as_fd(), &stat).attributes;
    let of = metadata_of(&stat);
    let file = File::from(made.try_clone()?);
    let mtime = metadata_of(&look_at_open(&file)?).mtime;
    let directory = Directory::from_fd(made.try_clone()?, shared.root.file_systems())?;
    let wanted = Metadata { mode: of.mode | 0o700, mtime, ..of };
    set_metadata(shared, &file, &directory, &wanted, Some(&attributes))
}

/// Sets the metadata of an entry here, and its attributes if they are given, as far as this user
/// may.
fn set_metadata(
    shared: &Shared,
    file: &File,
    on: &Directory,
    metadata: &Metadata,
    attributes: Option<&Attributes>,
) -> Result<(), Cause> {
    let stat = look_at_open(file)?;
    let (existing, kind) = (metadata_of(&stat), kind_of(&stat));
    let wanted = shared.achievable(metadata, kind, None);
    let intended = Intended { attributes, ..(&wanted).into() };
    set_open(file, &on.capabilities, &existing, &intended, Before::Unknown).result
}

/// A name in a directory.
type Named<'a> = (&'a Arc<Directory>, &'a [u8]);

/// Copies a leaf, under a temporary name until it is complete and durable.
fn copy(shared: &Shared, (parent, name): Named<'_>, (into, free): Named<'_>) -> Result<(), Cause> {
    let temporary = shared.temporary();
    let copied = match kind_of(&look_at(&**parent, name)?) {
        EntryKind::File => copy_file(shared, (parent, name), into, &temporary),
        EntryKind::Symlink => copy_link(shared, (parent, name), into, &temporary),
        EntryKind::Special(_) => copy_special(shared, (parent, name), into, &temporary),
        EntryKind::Directory => return Err(Cause::TargetChanged),
    };
    copied.and_then(|()| rename_new(into, &temporary, free)).inspect_err(|_| {
        // It is no more than a copy of what stands in the target.
        unlinkat(&**into, &temporary[..], AtFlags::empty()).ok();
    })
}

fn copy_file(
    shared: &Shared,
    (parent, name): Named<'_>,
    into: &Arc<Directory>,
    temporary: &TemporaryName,
) -> Result<(), Cause> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(&**parent, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    let stat = look_at_open(&from)?;
    if kind_of(&stat) != EntryKind::File {
        return Err(Cause::TargetChanged);
    }
    let new = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let to = File::from(openat(&**into, &temporary[..], new, Mode::from_raw_mode(0o600))?);
    copy_content(&from, &stat, &to)?;
    let attributes = attributes(from.as_fd(), &stat).attributes;
    set_metadata(shared, &to, into, &metadata_of(&stat), Some(&attributes))?;
    Ok(shared.syncing.sync_at_once(&to)?)
}

fn copy_special(
    shared: &Shared,
    (parent, name): Named<'_>,
    into: &Arc<Directory>,
    temporary: &TemporaryName,
) -> Result<(), Cause> {
    let stat = look_at(&**parent, name)?;
    let kept = entry(&parent.capabilities, Key::new(name), &stat, None);
    special::make(into, &temporary[..], &kept)?;
    let wanted = shared.achievable(&kept.metadata, kept.kind, None);
    special::set_new(into, &temporary[..], kept.kind, &(&wanted).into())?.checked().map(drop)
}

/// Copies the content of a file with its holes.
fn copy_content(from: &OwnedFd, stat: &Statx, to: &File) -> Result<(), Cause> {
    let mut offset = 0;
    let mut put = |piece: Piece<'_>| {
        if let Piece::Chunk(chunk) = piece {
            to.write_all_at(chunk, offset)?;
        }
        offset += piece.size();
        Ok(())
    };
    let mut buffer = vec![0; BUFFER];
    let (size, may_have) = (stat.stx_size, may_have_holes(stat));
    let read = read_part(from.as_fd(), 0..size, may_have, Unit::Byte, &mut buffer, &mut put);
    match read {
        // The last hole may be at the end.
        Ok(()) => Ok(to.set_len(size)?),
        Err(ReadError::Source(cause) | ReadError::Sink(cause) | ReadError::Damaged(cause)) => {
            Err(cause)
        }
        Err(ReadError::Changed) => Err(Cause::TargetChanged),
    }
}

fn copy_link(
    shared: &Shared,
    (parent, name): Named<'_>,
    into: &Arc<Directory>,
    temporary: &TemporaryName,
) -> Result<(), Cause> {
    let text = link_text(&**parent, name)?;
    let wanted = metadata_of(&look_at(&**parent, name)?);
    symlinkat(&*text, &**into, &temporary[..])?;
    let wanted = shared.achievable(&wanted, EntryKind::Symlink, None);
    let existing = metadata_of(&look_at(&**into, &temporary[..])?);
    set_link(into, &temporary[..], &existing, &wanted)
}
