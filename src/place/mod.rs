//! Places: opened locations.
//!
//! [`Opener`] is the only way from a location to a [`Source`] or a [`Target`]: it knows which
//! scheme belongs to which backend. Code above this layer decides by [`Capabilities`] and by the
//! methods of [`SourcePlace`] and [`TargetPlace`]. Both contain an `OpenPlace`, which each backend
//! implements in a file of its own (`directory`, `prefix`).

mod access;
mod backup;
mod bag_root;
mod directory;
pub mod file;
mod mounts;
mod opener;
mod overlap;
mod prefix;
mod single;
mod source;
mod target;

pub use access::{access, access_single};
pub use backup::BackupPlace;
pub use bag_root::{InBag, bag_at};
pub use mounts::SharedDirectory;
pub use opener::{BagPlaces, OpenOptions, Opener, Sides, Writes};
pub use overlap::Overlap;
pub use single::{Browsed, ReadableFile, WritableFile, cannot_read};
pub use source::SourcePlace;
pub use target::{MadeDirectories, TargetPlace};

use crate::backend::local::{Guarded, Walking};
use crate::backend::{Capabilities, ListedExtras, Source, Target};
use crate::filter::Filter;
use crate::manifest::{Lockable, RootIdentity};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, Notice, RunId};
use overlap::Position;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open place of one backend.
trait OpenPlace: Send + Sync {
    /// Returns its capabilities, which are also those of its source.
    fn capabilities(&self) -> Capabilities;

    /// Makes a source. Backends that walk directories call `walking`.
    fn source(&self, walking: Walkers<'_>) -> Result<Arc<dyn Source>, Error>;

    /// Makes a target. Backends that walk directories call `walking`.
    fn target(&self, walking: Walkers<'_>, writes: Writes<'_>) -> Result<Arc<dyn Target>, Error>;

    /// Returns what has to be locked before anything is written.
    fn lockable(&self) -> Lockable;

    /// Returns its position, to compare it with other places.
    fn position(&self) -> Result<Position, Error>;

    /// Returns what distinguishes its root from another one that is mounted in its place.
    fn root_identity(&self) -> Result<RootIdentity, Error>;

    /// Returns why nothing is found at a path below its root; `None` if something is there.
    ///
    /// # Errors
    /// If the backend fails.
    fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error>;

    /// Returns whether its root can have an entry of its own when keys are plain names.
    fn has_root_entry(&self) -> bool {
        true
    }

    /// Returns the directory that the walker of the other side must not enter.
    fn forbidden(&self) -> Option<Guarded> {
        None
    }

    /// Disregards inode numbers as evidence.
    fn ignore_inodes(&self) {}

    /// Follows symbolic links below the root from now on.
    fn follow_links(&self) {}

    /// Lists more of entries than others need. A store tells what was kept with its objects anyway.
    fn list_extras(&self, _listed: ListedExtras) {}

    /// Returns its real path if it is a local directory.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Returns whether it is the local directory at a path.
    fn is_at(&self, _path: &Path) -> bool {
        false
    }
}

/// Makes what walkers of directories need, when it is needed.
type Walkers<'a> = &'a dyn Fn() -> Result<Walking, Error>;

/// Returns a random number from the system, to distinguish runs and to take samples.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the system has none.
pub fn random() -> Result<u32, Error> {
    getrandom::u32().map_err(|error| {
        Error::new(ErrorKind::Unusable, "the system provides no random numbers").because(error)
    })
}

/// Makes the id of a run that starts now.
///
/// # Errors
/// Those of [`random`].
pub fn new_run_id() -> Result<RunId, Error> {
    let start = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    Ok(RunId(format!("{start}-{:08x}", random()?)))
}

/// Returns a path as the state and messages show it.
pub fn printable(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

/// Returns a local path relative to a place that contains it, with links and `..` resolved.
fn below(place: &dyn OpenPlace, path: &Path) -> Option<PathBuf> {
    crate::backend::local::below(place.path()?, path)
}

/// Returns a notice for each pattern that is an absolute path below a place and so matches nothing.
fn misplaced_patterns(place: &dyn OpenPlace, filter: &Filter) -> Vec<Notice> {
    let of = |path| crate::backend::local::misplaced_patterns(filter, path);
    place.path().map(of).unwrap_or_default()
}
