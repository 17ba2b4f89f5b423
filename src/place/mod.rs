//! Places: what locations lead to, opened.
//!
//! [`Opener`] is the one way from a location to a [`Source`] or a [`Target`]: it knows which scheme leads
//! to which backend. Nothing above this layer asks for that; it goes by [`Capabilities`], and by what a
//! [`SourcePlace`] or a [`TargetPlace`] answers. Both are made of an `OpenPlace`, which each backend
//! implements in a file of its own (`directory`, `prefix`).

mod access;
mod bag_root;
mod directory;
pub mod file;
mod opener;
mod overlap;
mod prefix;
mod single;
mod source;
mod target;

pub use access::{access, access_single};
pub use bag_root::{InBag, bag_at};
pub use opener::{BagPlaces, OpenOptions, Opener, Sides, Writes};
pub use overlap::Overlap;
pub use single::{Browsed, ReadableFile, WritableFile, cannot_read};
pub use source::SourcePlace;
pub use target::{MadeDirectories, TargetPlace};

use crate::backend::local::{Guarded, Walking};
use crate::backend::{Capabilities, Source, Target};
use crate::filter::Filter;
use crate::manifest::{Lockable, RootIdentity};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, Notice};
use overlap::Position;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place of one backend, open.
trait OpenPlace: Send + Sync {
    /// What it can do; the same that its source says.
    fn capabilities(&self) -> Capabilities;

    /// Makes a source of it. What walks directories asks for what it works with.
    fn source(&self, walking: Walkers<'_>) -> Result<Arc<dyn Source>, Error>;

    /// Makes a target of it, as [`OpenPlace::source`] makes a source.
    fn target(&self, walking: Walkers<'_>, writes: Writes) -> Result<Arc<dyn Target>, Error>;

    /// What is locked before anything is written to it.
    fn lockable(&self) -> Lockable;

    /// Where it lies among other places.
    fn position(&self) -> Result<Position, Error>;

    /// What tells its root from another one that is mounted in its place.
    fn root_identity(&self) -> Result<RootIdentity, Error>;

    /// Why nothing is found at a path below its root; `None` where something is.
    ///
    /// # Errors
    /// When it can't be asked.
    fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error>;

    /// Whether its root can have an entry of its own where each key stands for itself.
    fn has_root_entry(&self) -> bool {
        true
    }

    /// What a walker of the other side of a run must not meet.
    fn forbidden(&self) -> Option<Guarded> {
        None
    }

    /// Has it take no inode number for evidence.
    fn ignore_inodes(&self) {}

    /// Its real path, where it is a directory of this machine.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Whether it is the directory of this machine that a path leads to.
    fn is_at(&self, _path: &Path) -> bool {
        false
    }
}

/// Gives what walkers of directories work with, as soon as it is needed.
type Walkers<'a> = &'a dyn Fn() -> Result<Walking, Error>;

/// Returns a random number from the system, which tells a run and its temporaries from others'.
///
/// # Errors
/// [`ErrorKind::Unusable`] when the system gives none.
pub fn random() -> Result<u32, Error> {
    getrandom::u32().map_err(|error| {
        Error::new(ErrorKind::Unusable, "the system gives no random numbers").because(error)
    })
}

/// A path as the state and messages name it.
pub fn printable(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

/// What a path of this machine has below a place, whatever links and `..` lead there.
fn below(place: &dyn OpenPlace, path: &Path) -> Option<PathBuf> {
    crate::backend::local::below(place.path()?, path)
}

/// Says of each pattern that is a path below a place what was meant by it.
fn misplaced_patterns(place: &dyn OpenPlace, filter: &Filter) -> Vec<Notice> {
    let of = |path| crate::backend::local::misplaced_patterns(filter, path);
    place.path().map(of).unwrap_or_default()
}
