//! A file of this machine that is written on request: where its path leads, and what stands there.
//!
//! A symbolic link is followed, as by a shell's `>`: it stays, and the file that it leads to is
//! written anew, whole ([`LocalFile`]). What is no regular file (a device, a pipe, what a process has
//! open) is never replaced: it is written through ([`Through`]) by those that can, and refused by
//! others.

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

/// Symbolic links that are followed, as many as Linux follows.
const LINKS: usize = 40;

/// Bits of a mode that new content never inherits.
const SET_ID: u32 = SET_UID | SET_GID;

/// Where a path leads.
pub enum Destination {
    /// To a file that is written whole.
    Whole(LocalFile),
    /// To something that is written to as it stands.
    Through(Through),
}

/// A file that is to be, in a directory that stands.
pub struct LocalFile {
    pub(super) root: Arc<Root>,
    pub(super) target: LocalTarget,
    /// The directory's real path.
    pub(super) directory: PathBuf,
    /// Its name in that.
    pub key: Key,
    /// What it replaces.
    pub place: Precondition,
    /// What the file that stands there has of mode and owner; of an ACL's rights no more than that
    /// grants its group.
    existing: Option<Metadata>,
    /// What that has, and the new one hasn't.
    lost: Features,
}

/// Something that is no regular file, or that a process has open.
pub struct Through {
    path: PathBuf,
    file_type: FileType,
    /// The descriptor by which this process has it open, where that is what the path names.
    descriptor: Option<RawFd>,
}

impl LocalFile {
    /// What holds it.
    pub fn target(&self) -> &dyn Target {
        &self.target
    }

    /// Whether it is the same file as another one, however both are spelt.
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |file: &Self| file.root.directory().identity;
        (identity(self), &self.key) == (identity(other), &other.key)
    }

    /// What the file is to have: mode and owner of the one that stands there, without set-id bits,
    /// else this mode, the process's owner, and the group that the directory passes on.
    pub fn metadata(&self, mode: u32, mtime: Timestamp) -> Metadata {
        match self.existing {
            Some(existing) => of_existing(existing, mtime),
            None => self.of_new(mode, mtime),
        }
    }

    /// What of the file that stands there is lost, if anything is.
    pub fn not_kept(&self) -> Option<Notice> {
        (!self.lost.is_empty()).then_some(Notice::FeaturesLost { features: self.lost })
    }

    /// What the file is to have, whatever one that stands there has.
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

/// What is put in the place of a file or an object has of that: its mode, without set-id bits, and
/// its owner.
pub fn of_existing(existing: Metadata, mtime: Timestamp) -> Metadata {
    Metadata { mode: existing.mode & !SET_ID, mtime, ..existing }
}

impl Through {
    /// Opens it for writing. A descriptor of this process is written on from where it stands, as by a
    /// shell's `>&3`; to a file that another process has open is appended. A named pipe is waited for.
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
                // The path would open it a second time, at its start.
                Err(error) if is_file => {
                    let help = format!("write to standard output, and add >&{number}");
                    return Err(failed(error).help(help));
                }
                Err(_) => {}
            }
        }
        File::options().write(true).append(is_file).open(&self.path).map_err(failed)
    }

    /// What it is, in words.
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

/// A descriptor of this process under another number. Those beyond the standard streams are had by
/// `pidfd_getfd` (Linux 5.6; sandboxes may refuse it).
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

/// Finds the place of a file that is to be written whole; nothing is written yet.
///
/// # Errors
/// As those of [`find`], and [`ErrorKind::Unusable`] for what can only be written through.
pub fn find_whole(
    location: &SingleLocation,
    path: &Path,
    spool_dir: &Path,
) -> Result<LocalFile, Error> {
    match find(location, path, spool_dir)? {
        Destination::Whole(file) => Ok(file),
        Destination::Through(through) => {
            let cause = format!("{} stands there, and is not replaced", through.what());
            let cause = Cause::Other(cause);
            Err(cannot_write(location, cause))
        }
    }
}

/// Finds out where a path leads; nothing is written yet.
///
/// # Errors
/// [`ErrorKind::Usage`] for a directory, or a name that is vidimus's own; [`ErrorKind::Refused`] in
/// a bag's root or payload; [`ErrorKind::Unusable`] for a link that leads nowhere, or a directory that
/// can't be used.
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
            // The system follows it first: it refuses links that others set up in directories that
            // all may write to.
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
            let Inspected { features, mode } =
                target.inspect(&found).map_err(|cause| cannot_write(location, cause))?;
            // The new content has holes of its own.
            let mut holes = Features::default();
            holes.add(Feature::Holes);
            let (directory, place, lost) = (parent, Precondition::Leaf, features.without(holes));
            let existing = Some(Metadata { mode, ..found.metadata });
            return Ok(LocalFile { root, target, directory, key, place, existing, lost });
        }
        Ok(Some(found)) if found.kind == EntryKind::Directory => {
            return Err(names_directory(location));
        }
        // It was none a moment ago.
        Ok(Some(found)) => Cause::Other(format!("a {} stands there", found.kind)),
        Err(cause) => cause,
    };
    Err(cannot_write(location, cause))
}

/// Refuses what vidimus keeps for itself, among these names on the way to a file.
pub fn refuse_own<'a>(
    location: &impl fmt::Display,
    names: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), Error> {
    match names.into_iter().find(|name| is_own_name(name)) {
        None => Ok(()),
        Some(name) => {
            let name = printable(Path::new(OsStr::from_bytes(name)));
            let message =
                format!("\"{location}\": \"{name}\" is a name that vidimus keeps for itself");
            Err(Error::new(ErrorKind::Usage, message).help("choose another one"))
        }
    }
}

/// The link on a path's way that leads to what a process has open, if one does: that is the same file
/// only as long as nobody puts another in its place.
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

/// The descriptor of this process that such a link stands for.
fn own_descriptor(link: &Path) -> Option<RawFd> {
    let number = link.file_name()?.to_str()?.parse().ok()?;
    let directory = link.parent()?.canonicalize().ok()?;
    let is_own = |own| Path::new(own).canonicalize().is_ok_and(|own| own == directory);
    (is_own("/proc/self/fd") || is_own("/proc/thread-self/fd")).then_some(number)
}

/// The error of what can't be written.
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
    let message = format!("cannot write \"{location}\": it is a symbolic link that leads nowhere");
    Error::new(ErrorKind::Unusable, message).help("remove the link, or make what it leads to")
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

/// The error of a directory where a file is to be.
pub fn names_directory(location: &SingleLocation) -> Error {
    let message = format!("\"{location}\" names a directory, not a file that could be written");
    Error::new(ErrorKind::Usage, message).help("name the file that is to be, in that directory")
}
