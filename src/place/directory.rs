//! Local directories as places.

use super::overlap::Position;
use super::{BackupPlace, OpenPlace, SourcePlace, Walkers, Writes, printable};
use crate::backend::local::{
    FileSystem, Guarded, LocalSource, LocalTarget, Root, dangling, unopened,
};
use crate::backend::{Capabilities, ListedExtras, Source, Target};
use crate::location::Location;
use crate::manifest::{Lockable, RootIdentity};
use crate::model::error::Side;
use crate::model::stamp::NO_NUMBER;
use crate::model::{Error, ErrorKind};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open local directory.
pub(super) struct Directory {
    root: Arc<Root>,
    /// Its real path.
    path: PathBuf,
}

impl Directory {
    /// Opens the directory at a real path.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { root: Arc::new(Root::open(&path)?), path })
    }

    /// Opens the directory at a path, as a side of a run.
    pub(super) fn open_as(side: Side, path: &Path) -> Result<Self, Error> {
        let failed = |error| unopened(Some(side), path, error);
        Self::open(path.canonicalize().map_err(failed)?).map_err(failed)
    }
}

impl OpenPlace for Directory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::FILE_SYSTEM
    }

    fn source(&self, walking: Walkers<'_>) -> Result<Arc<dyn Source>, Error> {
        Ok(Arc::new(LocalSource::new(Arc::clone(&self.root), walking()?)))
    }

    fn target(&self, walking: Walkers<'_>, writes: Writes<'_>) -> Result<Arc<dyn Target>, Error> {
        let Writes { durability, token, backup, clears_flags } = writes;
        let target = LocalTarget::new(Arc::clone(&self.root), walking()?, durability, token);
        let target = target.map_err(|error| {
            let error = io::Error::from(error);
            Error::new(ErrorKind::Unusable, "cannot find out which groups this user belongs to")
                .because(error)
        })?;
        let target = if clears_flags { target.clearing_flags() } else { target };
        Ok(Arc::new(match backup.map(BackupPlace::open).transpose()?.flatten() {
            Some(backup) => target.with_backup(backup),
            None => target,
        }))
    }

    fn lockable(&self) -> Lockable {
        Lockable::Directory(Arc::clone(&self.root))
    }

    fn position(&self) -> Result<Position, Error> {
        let mut position = Position::of_directory(&self.path, true)?;
        // The open directory counts, even if its path leads to another one by now.
        if let Position::Directory { chain, .. } = &mut position
            && let Some(first) = chain.first_mut()
        {
            *first = self.root.directory().identity;
        }
        Ok(position)
    }

    fn root_identity(&self) -> Result<RootIdentity, Error> {
        let directory = self.root.directory();
        let FileSystem { kind, id } = FileSystem::of(&**directory).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot identify the source's file system")
                .because(error)
        })?;
        Ok(RootIdentity { inode: directory.number().unwrap_or(NO_NUMBER), file_system: kind, id })
    }

    fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error> {
        Ok(self.path.join(path).symlink_metadata().err())
    }

    fn forbidden(&self) -> Option<Guarded> {
        Some(Guarded::Forbidden(self.root.directory().identity))
    }

    fn ignore_inodes(&self) {
        self.root.ignore_inodes();
    }

    fn follow_links(&self) {
        self.root.follow_links();
    }

    fn list_extras(&self, listed: ListedExtras) {
        self.root.list_extras(listed);
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn is_at(&self, path: &Path) -> bool {
        Root::open(path)
            .is_ok_and(|other| other.directory().identity == self.root.directory().identity)
    }
}

/// Opens a path as a source: a directory, or a single file in one.
pub(super) fn as_source(path: &Path, location: &Location) -> Result<SourcePlace, Error> {
    let unusable = |error| unopened(Some(Side::Source), path, error);
    let real = path.canonicalize().map_err(unusable)?;
    let stat = real.metadata().map_err(unusable)?;
    let (directory, only) = if stat.is_dir() {
        (real.clone(), None)
    } else if stat.is_file() {
        let name = real.file_name().map(|name| Box::from(name.as_bytes()));
        (real.parent().unwrap_or(Path::new("/")).to_owned(), name)
    } else {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the source \"{location}\" is neither a directory nor a file"),
        ));
    };
    let open = Box::new(Directory::open(directory).map_err(unusable)?);
    Ok(SourcePlace { name: printable(&real), only, open })
}

/// The directory of a target, which need not exist yet.
pub(super) struct TargetPath {
    /// Its real path.
    pub(super) path: PathBuf,
    pub(super) exists: bool,
}

/// Finds the directory that a path names as a target.
pub(super) fn as_target(path: &Path, location: &Location) -> Result<TargetPath, Error> {
    let unusable = |error| unopened(Some(Side::Target), path, error);
    let (path, exists) = match path.canonicalize() {
        Ok(path) => (path, true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dangling) = dangling(Some(Side::Target), path) {
                return Err(dangling);
            }
            (missing(path, location)?, false)
        }
        Err(error) => return Err(unusable(error)),
    };
    if exists && !path.metadata().map_err(unusable)?.is_dir() {
        return Err(Error::new(
            ErrorKind::Unusable,
            format!("the target \"{location}\" is not a directory"),
        )
        .help("name a directory; a single file as source goes into it"));
    }
    Ok(TargetPath { path, exists })
}

/// Returns the real path that a missing target will have.
fn missing(path: &Path, target: &Location) -> Result<PathBuf, Error> {
    let help = "make its parent directory first, or check its spelling";
    let name = path.file_name().ok_or_else(|| {
        Error::new(ErrorKind::Unusable, format!("there is no directory \"{target}\"")).help(help)
    })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = parent.canonicalize().and_then(|parent| {
        if parent.metadata()?.is_dir() {
            Ok(parent)
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    });
    let real = real.map_err(|error| {
        let message = format!("cannot make the target \"{target}\": its parent can't be used");
        Error::new(ErrorKind::Unusable, message).because(error).help(help)
    })?;
    Ok(real.join(name))
}
