//! A single local file to be written: where its path leads, and what exists there.
//!
//! A symbolic link is followed, as by a shell's `>`: it stays, and the file that it leads to is
//! replaced atomically ([`LocalFile`]). Anything but a regular file (a device, a pipe, a descriptor
//! that a process has open) is never replaced: callers either write into it ([`Through`]) or refuse
//! it.

use super::opener::walking_alone;
use super::{bag_root, printable};
use crate::backend::local::{self, LocalTarget, Root};
use crate::backend::{Inspected, Precondition, Source as _, Target};
use crate::location::SingleLocation;
use crate::manifest::bag;
use crate::model::entry::{SET_GID, SET_UID};
use crate::model::reserved::is_own_name;
use crate::model::{
    Cause, Durability, EntryKind, Error, ErrorKind, Feature, Features, Key, Metadata, Notice,
    Timestamp,
};
use crate::place::random;
use rustix::fs::{OFlags, PROC_SUPER_MAGIC, fcntl_getfl};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, FileType};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most symbolic links that are followed, as on Linux (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// Mode bits that new content never takes over from the file that it replaces.
const SET_ID: u32 = SET_UID | SET_GID;

/// Where a path leads.
pub enum Destination {
    /// To a file that is written completely before it is put in place.
    Whole(LocalFile),
    /// To something that is written into.
    Through(Through),
}

/// A file to be written, in a directory that exists.
pub struct LocalFile {
    pub(super) root: Arc<Root>,
    pub(super) target: LocalTarget,
    /// The directory's real path.
    pub(super) directory: PathBuf,
    /// The file's name in that directory.
    pub key: Key,
    /// What it may replace.
    pub place: Precondition,
    /// Mode and owner of the existing file, if there is one. The mode is narrowed to the rights
    /// that the file's ACL grants its group.
    existing: Option<Metadata>,
    /// Features of the existing file that the new one lacks.
    lost: Features,
}

/// Something that is written into: no regular file, or one that a process has open.
pub struct Through {
    path: PathBuf,
    file_type: FileType,
    /// The descriptor of this process that the path names, if it names one.
    descriptor: Option<RawFd>,
}

impl LocalFile {
    /// Returns the target that contains the file.
    pub fn target(&self) -> &dyn Target {
        &self.target
    }

    /// Returns whether both are the same file, even if their paths differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |file: &Self| file.root.directory().identity;
        (identity(self), &self.key) == (identity(other), &other.key)
    }

    /// Returns the metadata for the file: mode and owner of the existing one, without set-id bits;
    /// for a new file `mode`, the process's user, and the group that the directory passes on or
    /// else the process's.
    pub fn metadata(&self, mode: u32, mtime: Timestamp) -> Metadata {
        match self.existing {
            Some(existing) => of_existing(existing, mtime),
            None => self.of_new(mode, mtime),
        }
    }

    /// Returns a notice about features of the existing file that are lost, if any are.
    pub fn not_kept(&self) -> Option<Notice> {
        (!self.lost.is_empty()).then_some(Notice::FeaturesLost { features: self.lost })
    }

    /// Returns the metadata for the file as if none existed.
    pub fn of_new(&self, mode: u32, mtime: Timestamp) -> Metadata {
        let own = || rustix::process::getegid().as_raw();
        Metadata {
            mode,
            uid: rustix::process::geteuid().as_raw(),
            gid: self.root.directory().passed_on_group.unwrap_or_else(own),
            mtime,
        }
    }
}

/// Returns the metadata for content that replaces an existing file or object: its owner and its
/// mode without set-id bits.
pub fn of_existing(existing: Metadata, mtime: Timestamp) -> Metadata {
    Metadata { mode: existing.mode & !SET_ID, mtime, ..existing }
}

impl Through {
    /// Opens it for writing. A descriptor of this process is written to at its current offset, as
    /// by a shell's `>&3`; to a file that another process has open is appended. Opening a named
    /// pipe waits for a reader.
    pub fn open(&self, location: &SingleLocation) -> Result<File, Error> {
        let failed = |error: io::Error| cannot_write(location, error.into());
        let is_file = self.file_type.is_file();
        if let Some(number) = self.descriptor {
            match duplicate(number) {
                Ok(descriptor) if is_writable(&descriptor) => return Ok(descriptor.into()),
                Ok(_) => {
                    let cause = Cause::Other("it is open for reading only".to_owned());
                    return Err(cannot_write(location, cause));
                }
                // Opening the path would write from the start of the file.
                Err(error) if is_file => {
                    let help = format!("write to standard output, and add >&{number}");
                    return Err(failed(error).help(help));
                }
                Err(_) => {}
            }
        }
        File::options().write(true).append(is_file).open(&self.path).map_err(failed)
    }

    /// Returns its kind in words.
    fn what(&self) -> &'static str {
        if self.file_type.is_fifo() {
            "a named pipe"
        } else if self.file_type.is_socket() {
            "a socket"
        } else if self.file_type.is_file() {
            "a file that a process has open"
        } else {
            "a device"
        }
    }
}

/// Duplicates a descriptor of this process. Those beyond the standard streams need `pidfd_getfd`
/// (Linux 5.6), which sandboxes may refuse.
fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => {
            let this = pidfd_open(getpid(), PidfdFlags::empty())?;
            Ok(pidfd_getfd(this, number, PidfdGetfdFlags::empty())?)
        }
    }
}

fn is_writable(descriptor: &OwnedFd) -> bool {
    fcntl_getfl(descriptor).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::RDONLY)
}

/// Finds where a file would be written that replaces an existing one atomically. Writes nothing.
///
/// # Errors
/// Those of [`find`], and [`ErrorKind::Unusable`] for what can only be written into.
pub fn find_whole(
    location: &SingleLocation,
    path: &Path,
    spool_dir: &Path,
) -> Result<LocalFile, Error> {
    match find(location, path, spool_dir)? {
        Destination::Whole(file) => Ok(file),
        Destination::Through(through) => {
            let cause = format!("there is already {}, which is not replaced", through.what());
            let cause = Cause::Other(cause);
            Err(cannot_write(location, cause))
        }
    }
}

/// Finds out where a path leads. Writes nothing.
///
/// # Errors
/// [`ErrorKind::Usage`] for a directory or a name that vidimus reserves; [`ErrorKind::Refused`] in
/// the root or payload of a bag; [`ErrorKind::Unusable`] for a link that leads nowhere, or a
/// directory that can't be used.
pub fn find(
    location: &SingleLocation,
    path: &Path,
    spool_dir: &Path,
) -> Result<Destination, Error> {
    let bytes = path.as_os_str().as_bytes();
    if path.file_name().is_none() || bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        return Err(names_directory(location));
    }
    let failed = |error: io::Error| cannot_write(location, error.into());
    let through = |file_type, descriptor| {
        Destination::Through(Through { path: path.to_owned(), file_type, descriptor })
    };
    let mut real = path.to_owned();
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => {
            // The system follows it first: it refuses links that other users made in sticky
            // world-writable directories (`fs.protected_symlinks`).
            let led_to = path.metadata().map_err(|error| dangling(location, error))?;
            if led_to.is_dir() {
                return Err(names_directory(location));
            }
            let opened = opened_by_a_process(path);
            if led_to.is_file() && opened.is_none() {
                real = path.canonicalize().map_err(failed)?;
                let there = real.symlink_metadata().map_err(failed)?;
                if (there.dev(), there.ino()) != (led_to.dev(), led_to.ino()) {
                    return Err(cannot_write(location, Cause::TargetChanged));
                }
            } else {
                let descriptor = opened.as_deref().and_then(own_descriptor);
                return Ok(through(led_to.file_type(), descriptor));
            }
        }
        Ok(found) if !found.is_file() && !found.is_dir() => {
            return Ok(through(found.file_type(), None));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(no_directory(location, error)),
    }
    whole(location, &real, spool_dir).map(Destination::Whole)
}

fn whole(location: &SingleLocation, path: &Path, spool_dir: &Path) -> Result<LocalFile, Error> {
    let name = path.file_name().ok_or_else(|| names_directory(location))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |error| no_directory(location, error);
    let parent = parent.canonicalize().map_err(failed)?;
    let on_the_way = parent.components().map(|component| component.as_os_str().as_bytes());
    refuse_own(location, on_the_way.chain([name.as_bytes()]))?;
    let key = Key::new(name.as_bytes());
    let root = Root::open(&parent).map_err(|error| failed(error.into()))?;
    bag::refuse_within(root.directory().as_fd())?;
    let help = "name another directory; `vidimus bag SOURCE BAG` brings a bag up to date";
    bag_root::refuse(&parent, &printable(&parent), spool_dir, None, help)?;
    let walking = walking_alone(spool_dir)?;
    let root = Arc::new(root);
    let target = LocalTarget::new(Arc::clone(&root), walking, Durability::File, random()?);
    let target = target.map_err(|error| failed(error.into()))?;
    let cause = match target.look(&key) {
        Ok(None) => {
            let (directory, place, lost) = (parent, Precondition::Absent, Features::default());
            return Ok(LocalFile { root, target, directory, key, place, existing: None, lost });
        }
        Ok(Some(found)) if found.kind == EntryKind::File => {
            let Inspected { features, mode, .. } =
                target.inspect(&found).map_err(|cause| cannot_write(location, cause))?;
            // New content makes holes of its own.
            let lost = features.without(Feature::Holes.into());
            let (directory, place) = (parent, Precondition::Leaf);
            let existing = Some(Metadata { mode, ..found.metadata });
            return Ok(LocalFile { root, target, directory, key, place, existing, lost });
        }
        Ok(Some(found)) if found.kind == EntryKind::Directory => {
            return Err(names_directory(location));
        }
        // It was no such thing a moment ago.
        Ok(Some(found)) => Cause::Other(format!("there is a {} in its place", found.kind)),
        Err(cause) => cause,
    };
    Err(cannot_write(location, cause))
}

/// Refuses names that vidimus reserves, among the components of a file's path.
pub fn refuse_own<'a>(
    location: &impl fmt::Display,
    names: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), Error> {
    match names.into_iter().find(|name| is_own_name(name)) {
        None => Ok(()),
        Some(name) => {
            let name = printable(Path::new(OsStr::from_bytes(name)));
            let message = format!("\"{location}\": the name \"{name}\" is reserved for vidimus");
            Err(Error::new(ErrorKind::Usage, message).help("choose another one"))
        }
    }
}

/// Returns the link on the way of a path that is a process's descriptor in `/proc`, if there is
/// one: the path it shows may lead to another file by now.
fn opened_by_a_process(path: &Path) -> Option<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let leads_to = fs::read_link(&at).ok()?;
        let parent = match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if rustix::fs::statfs(&parent).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC) {
            return Some(at);
        }
        at = parent.join(leads_to);
    }
    None
}

/// Returns the descriptor of this process that such a link is for.
fn own_descriptor(link: &Path) -> Option<RawFd> {
    let number = link.file_name()?.to_str()?.parse().ok()?;
    let directory = link.parent()?.canonicalize().ok()?;
    let is_own = |own| Path::new(own).canonicalize().is_ok_and(|own| own == directory);
    (is_own("/proc/self/fd") || is_own("/proc/thread-self/fd")).then_some(number)
}

/// Returns the error for a location that can't be written.
pub fn cannot_write(location: &SingleLocation, cause: Cause) -> Error {
    let is_full = matches!(&cause, Cause::Io(error) if matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT)
    ));
    let error = Error::unusable(format!("cannot write \"{location}\""), cause);
    if is_full { error.help("make room there, or name another place") } else { error }
}

fn dangling(location: &SingleLocation, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return cannot_write(location, error.into());
    }
    let message = format!(
        "cannot write \"{location}\": it is a symbolic link to something that does not exist"
    );
    Error::new(ErrorKind::Unusable, message).help("remove the link, or create what it points to")
}

fn no_directory(location: &SingleLocation, error: io::Error) -> Error {
    if let SingleLocation::Local(path) = location
        && let Some(dangling) = local::dangling(None, path)
    {
        return dangling;
    }
    let message = format!("cannot write \"{location}\": its directory can't be used");
    let help = "make its directory first, or check its spelling";
    Error::new(ErrorKind::Unusable, message).because(error).help(help)
}

/// Returns the error for a directory where a file is expected.
pub fn names_directory(location: &SingleLocation) -> Error {
    let message = format!("\"{location}\" names a directory, not a file that could be written");
    Error::new(ErrorKind::Usage, message).help("name the file to write in that directory")
}
