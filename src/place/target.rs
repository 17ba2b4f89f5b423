//! Targets as places.

use super::directory::{Directory, TargetPath};
use super::overlap::Position;
use super::{OpenPlace, SourcePlace, bag_root, printable};
use crate::backend::{Capabilities, ListedExtras};
use crate::manifest::{Lockable, bag};
use crate::model::{Error, ErrorKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place that entries are written to. It is not open as long as it has yet to be made or
/// examined.
pub struct TargetPlace {
    /// Its name in the state: a real path or a URL.
    pub name: String,
    /// Its name in messages: "target", or "bag" for the directory around a payload.
    what: &'static str,
    /// Its real path, if it is a local directory.
    path: Option<PathBuf>,
    /// Whether it existed when it was looked up.
    exists: bool,
    open: OnceLock<Box<dyn OpenPlace>>,
}

impl TargetPlace {
    /// Wraps an open place.
    pub(super) fn opened_as(name: String, open: Box<dyn OpenPlace>) -> Self {
        let path = open.path().map(Path::to_owned);
        Self { name, what: "target", path, exists: true, open: OnceLock::from(open) }
    }

    /// Returns a directory, which need not exist yet.
    pub(super) fn of_directory(what: &'static str, found: TargetPath) -> Self {
        let TargetPath { path, exists } = found;
        let name = printable(&path);
        Self { name, what, path: Some(path), exists, open: OnceLock::new() }
    }

    /// Returns whether it existed when it was looked up.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Returns its capabilities; those of a file system if it has yet to be made.
    pub fn capabilities(&self) -> Capabilities {
        self.opened().map_or(Capabilities::FILE_SYSTEM, OpenPlace::capabilities)
    }

    /// Returns its real path if it is a local directory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the open place, if it is open.
    pub(super) fn opened(&self) -> Option<&dyn OpenPlace> {
        self.open.get().map(|open| &**open)
    }

    /// Opens it, unless it is open. It must exist, or have been [made](TargetPlace::make).
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it can't be opened.
    pub fn open(&self) -> Result<(), Error> {
        let Some(path) = self.path().filter(|_| self.opened().is_none()) else { return Ok(()) };
        let directory = Directory::open(path.to_owned()).map_err(|e| self.cannot("open", e))?;
        self.open.get_or_init(|| Box::new(directory));
        Ok(())
    }

    /// Makes it with `mode` if it is a missing directory, and adds it to `created`.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it can't be made.
    pub fn make(&self, mode: u32, created: &mut MadeDirectories) -> Result<(), Error> {
        let Some(path) = self.path().filter(|_| !self.exists) else { return Ok(()) };
        match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
            // If another run was faster, the lock decides between the two.
            Err(Errno::EXIST) => {}
            result => {
                result.map_err(|error| self.cannot("make", error.into()))?;
                created.paths.push(path.to_owned());
            }
        }
        Ok(())
    }

    fn cannot(&self, verb: &str, error: io::Error) -> Error {
        let Self { what, name, .. } = self;
        Error::new(ErrorKind::Unusable, format!("cannot {verb} the {what} \"{name}\""))
            .because(error)
    }

    /// Returns what has to be locked before anything is written.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it isn't open.
    pub fn lockable(&self) -> Result<Lockable, Error> {
        let open = self.opened().map(OpenPlace::lockable);
        open.ok_or_else(|| {
            Error::new(ErrorKind::Unusable, format!("the {} is not open", self.what))
        })
    }

    /// Returns its position, to compare it with other places.
    pub(super) fn position(&self) -> Result<Position, Error> {
        match (self.opened(), self.path()) {
            (Some(open), _) => open.position(),
            (None, path) => Position::of_directory(path.unwrap_or(Path::new("/")), self.exists),
        }
    }

    /// Disregards inode numbers as evidence, if it is open.
    pub fn ignore_inodes(&self) {
        if let Some(open) = self.opened() {
            open.ignore_inodes();
        }
    }

    /// Lists more of entries than others need, if it is open.
    pub fn list_extras(&self, listed: ListedExtras) {
        if let Some(open) = self.opened() {
            open.list_extras(listed);
        }
    }

    /// Returns whether its root can have an entry of its own when keys are plain names.
    pub fn has_root_entry(&self) -> bool {
        self.opened().is_none_or(OpenPlace::has_root_entry)
    }

    /// Returns whether it is open and the local directory at a path.
    pub fn is_at(&self, path: &Path) -> bool {
        self.opened().is_some_and(|open| open.is_at(path))
    }

    /// Returns a local path relative to it, with links and `..` resolved, if it contains the path.
    pub fn below(&self, path: &Path) -> Option<PathBuf> {
        crate::backend::local::below(self.path()?, path)
    }

    /// Refuses a directory that is the payload of a bag or lies in it.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for such a directory, [`ErrorKind::Unusable`] if that can't be found
    /// out.
    pub fn refuse_within_bag(&self) -> Result<(), Error> {
        let Some(path) = self.path() else { return Ok(()) };
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(existing, flags, Mode::empty()).map_err(|error| {
            let message = format!("cannot open \"{}\"", printable(existing));
            Error::new(ErrorKind::Unusable, message).because(io::Error::from(error))
        })?;
        bag::refuse_within(directory.as_fd())
    }

    /// Refuses a directory that is the root of a bag, or lies in a bag beside the payload, unless
    /// it is a copy of the bag at `from`. `help` is the advice for a bag that vidimus didn't make.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for such a directory, [`ErrorKind::Manifest`] if the record of what
    /// was mirrored there can't be read, [`ErrorKind::Unusable`] if the directory can't be read.
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

/// Directories that were made for a run, each in the one before it. They are
/// [removed](Self::remove) again if the run doesn't begin.
#[derive(Debug, Default)]
pub struct MadeDirectories {
    paths: Vec<PathBuf>,
    is_kept: AtomicBool,
}

impl MadeDirectories {
    /// Keeps the directories, because the run began.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Removes the directories, unless the run began. One that somebody else uses or has removed
    /// meanwhile is left alone.
    ///
    /// # Errors
    /// The first failure to remove one; those around it stay too.
    pub fn remove(self) -> Result<(), Error> {
        if self.is_kept.into_inner() {
            return Ok(());
        }
        for path in self.paths.iter().rev() {
            match std::fs::remove_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = format!("cannot remove \"{}\"", printable(path));
                    return Err(Error::new(ErrorKind::Unusable, message).because(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_directories_go_unless_somebody_uses_them_and_failures_are_reported() {
        let scratch = tempfile::tempdir().unwrap();
        let (bag, payload) = (scratch.path().join("bag"), scratch.path().join("bag/data"));
        let directories = || {
            std::fs::create_dir_all(&payload).unwrap();
            let paths = vec![bag.clone(), payload.clone()];
            MadeDirectories { paths, ..MadeDirectories::default() }
        };
        directories().remove().unwrap();
        assert!(!bag.exists());
        let made = directories();
        std::fs::write(payload.join("file"), "x").unwrap();
        made.remove().unwrap();
        assert!(payload.join("file").exists());
        let made = directories();
        std::fs::remove_dir_all(&payload).unwrap();
        made.remove().unwrap();
        assert!(!bag.exists(), "what is gone keeps nothing");
        let made = directories();
        made.keep();
        made.remove().unwrap();
        assert!(payload.exists());
        let made = directories();
        std::fs::remove_dir(&payload).unwrap();
        std::fs::write(&payload, "a file in its place").unwrap();
        let error = made.remove().unwrap_err().to_string();
        assert!(error.contains("bag/data"), "{error}");
    }
}
