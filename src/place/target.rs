//! Places that entries go to.

use super::directory::Directory;
use super::overlap::Position;
use super::{OpenPlace, SourcePlace, bag_root, printable};
use crate::backend::Capabilities;
use crate::manifest::{Lockable, bag};
use crate::model::{Error, ErrorKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place that entries go to. One that is still to be made, or looked at first, is not open yet.
pub struct TargetPlace {
    /// Its name in the state: a real path, or a URL.
    pub name: String,
    /// What it is called in messages: the target, or the bag around it.
    what: &'static str,
    /// Its real path, where it is a directory of this machine.
    path: Option<PathBuf>,
    /// Whether it was there when it was looked for.
    exists: bool,
    open: OnceLock<Box<dyn OpenPlace>>,
}

impl TargetPlace {
    /// One that is open.
    pub(super) fn opened_as(name: String, open: Box<dyn OpenPlace>) -> Self {
        let path = open.path().map(Path::to_owned);
        Self { name, what: "target", path, exists: true, open: OnceLock::from(open) }
    }

    /// The directory at a real path, which may be still to be made.
    pub(super) fn of_directory(what: &'static str, path: PathBuf, exists: bool) -> Self {
        let name = printable(&path);
        Self { name, what, path: Some(path), exists, open: OnceLock::new() }
    }

    /// Whether it was there when it was looked for.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// What it can do; a directory that is still to be made what directories can.
    pub fn capabilities(&self) -> Capabilities {
        self.opened().map_or(Capabilities::FILE_SYSTEM, OpenPlace::capabilities)
    }

    /// Its real path, where it is a directory of this machine.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// It, where it is open.
    pub(super) fn opened(&self) -> Option<&dyn OpenPlace> {
        self.open.get().map(|open| &**open)
    }

    /// Opens it, where it isn't; it stands, or was [made](TargetPlace::make).
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it can't be opened.
    pub fn open(&self) -> Result<(), Error> {
        let Some(path) = self.path().filter(|_| self.opened().is_none()) else { return Ok(()) };
        let directory = Directory::open(path.to_owned()).map_err(|e| self.cannot("open", e))?;
        self.open.get_or_init(|| Box::new(directory));
        Ok(())
    }

    /// Makes it with the mode `rights`, where it is a directory that is missing, and adds it to `made`.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it can't be made.
    pub fn make(&self, rights: u32, made: &mut MadeDirectories) -> Result<(), Error> {
        let Some(path) = self.path().filter(|_| !self.exists) else { return Ok(()) };
        match rustix::fs::mkdir(path, Mode::from_raw_mode(rights)) {
            // Where another run was faster, the lock decides between the two.
            Err(Errno::EXIST) => {}
            result => {
                result.map_err(|error| self.cannot("make", error.into()))?;
                made.paths.push(path.to_owned());
            }
        }
        Ok(())
    }

    fn cannot(&self, verb: &str, error: io::Error) -> Error {
        let Self { what, name, .. } = self;
        Error::new(ErrorKind::Unusable, format!("cannot {verb} the {what} \"{name}\""))
            .because(error)
    }

    /// What is locked before anything is written to it.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it isn't open.
    pub fn lockable(&self) -> Result<Lockable, Error> {
        let open = self.opened().map(OpenPlace::lockable);
        open.ok_or_else(|| {
            Error::new(ErrorKind::Unusable, format!("the {} is not open", self.what))
        })
    }

    /// Where it lies among other places.
    pub(super) fn position(&self) -> Result<Position, Error> {
        match (self.opened(), self.path()) {
            (Some(open), _) => open.position(),
            (None, path) => Position::of_directory(path.unwrap_or(Path::new("/")), self.exists),
        }
    }

    /// Has it take no inode number for evidence, as far as it is open.
    pub fn ignore_inodes(&self) {
        if let Some(open) = self.opened() {
            open.ignore_inodes();
        }
    }

    /// Whether its root can have an entry of its own where each key stands for itself.
    pub fn has_root_entry(&self) -> bool {
        self.opened().is_none_or(OpenPlace::has_root_entry)
    }

    /// Whether it is the directory of this machine that a path leads to, as far as it is open.
    pub fn is_at(&self, path: &Path) -> bool {
        self.opened().is_some_and(|open| open.is_at(path))
    }

    /// What a path of this machine has below it, whatever links and `..` lead there.
    pub fn below(&self, path: &Path) -> Option<PathBuf> {
        crate::backend::local::below(self.path()?, path)
    }

    /// Refuses one that is the payload of a bag, or lies in it.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where it is so, [`ErrorKind::Unusable`] when that can't be seen.
    pub fn refuse_within_bag(&self) -> Result<(), Error> {
        let Some(path) = self.path() else { return Ok(()) };
        let stands = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(stands, flags, Mode::empty()).map_err(|error| {
            let message = format!("cannot open \"{}\"", printable(stands));
            Error::new(ErrorKind::Unusable, message).because(io::Error::from(error))
        })?;
        bag::refuse_within(directory.as_fd())
    }

    /// Refuses one that is the root of a bag, or lies in it beside the payload, unless it is to be a
    /// copy of the bag that the source is. `help` is the way out where the bag is not vidimus's own.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for such a place, [`ErrorKind::Manifest`] where it can't be found out what
    /// was mirrored there, [`ErrorKind::Unusable`] where it can't be read.
    pub fn refuse_bag(
        &self,
        state_dir: &Path,
        from: Option<&SourcePlace>,
        help: &str,
    ) -> Result<(), Error> {
        match self.path() {
            Some(path) => bag_root::refuse(path, &self.name, state_dir, from, help),
            None => Ok(()),
        }
    }
}

/// Directories that were made for a run, each in the one before it. Dropped before the run began,
/// they are removed.
#[derive(Debug, Default)]
pub struct MadeDirectories {
    paths: Vec<PathBuf>,
    is_kept: AtomicBool,
}

impl MadeDirectories {
    /// Says that the run began: they stay.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        if !*self.is_kept.get_mut() {
            // One in which something is by now is somebody else's.
            self.paths.iter().rev().for_each(|path| drop(std::fs::remove_dir(path)));
        }
    }
}
