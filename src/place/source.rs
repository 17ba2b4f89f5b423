//! Sources as places.

use super::overlap::{self, Extent};
use super::{OpenPlace, Overlap, SharedDirectory, TargetPlace, below, misplaced_patterns, mounts};
use crate::backend::{Capabilities, ListedExtras};
use crate::filter::Filter;
use crate::manifest::RootIdentity;
use crate::model::{Error, Notice};
use std::io;
use std::path::{Path, PathBuf};

/// A place that entries are read from. It exists and is open.
pub struct SourcePlace {
    /// Its name in the state: a real path or a URL.
    pub name: String,
    /// The only name in it that takes part, if a single file or object was named.
    pub only: Option<Box<[u8]>>,
    pub(super) open: Box<dyn OpenPlace>,
}

impl SourcePlace {
    /// Returns its capabilities.
    pub fn capabilities(&self) -> Capabilities {
        self.open.capabilities()
    }

    /// Returns how it and a target overlap.
    ///
    /// # Errors
    /// If a position can't be found out.
    pub fn overlap(&self, target: &TargetPlace) -> Result<Option<Overlap>, Error> {
        let source = self.open.position()?;
        let extent = if self.only.is_some() { Extent::SingleFile } else { Extent::Whole };
        Ok(overlap::overlap(&source, extent, &target.position()?))
    }

    /// Returns directories that are in it and in a target at once, by a mount. A single file shares
    /// none.
    ///
    /// # Errors
    /// If that can't be found out.
    pub fn shared_with(&self, target: &TargetPlace) -> Result<Vec<SharedDirectory>, Error> {
        match (self.open.path(), target.path()) {
            (Some(source), Some(target)) if self.only.is_none() => mounts::shared(source, target),
            _ => Ok(Vec::new()),
        }
    }

    /// Returns what distinguishes its root from another one that is mounted in its place.
    ///
    /// # Errors
    /// If its file system can't be identified.
    pub fn root_identity(&self) -> Result<RootIdentity, Error> {
        self.open.root_identity()
    }

    /// Returns why nothing is found at a path below its root; `None` if something is there.
    ///
    /// # Errors
    /// If the lookup fails.
    pub fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error> {
        self.open.lacks(path)
    }

    /// Disregards inode numbers as evidence.
    pub fn ignore_inodes(&self) {
        self.open.ignore_inodes();
    }

    /// Follows symbolic links below the root from now on, out of it too.
    pub fn follow_links(&self) {
        self.open.follow_links();
    }

    /// Lists more of entries than others need. Those with flags are counted, if flags are not
    /// among it.
    pub fn list_extras(&self, listed: ListedExtras) {
        self.open.list_extras(listed);
    }

    /// Returns whether it is the local directory at a path, and takes part completely.
    pub fn is_at(&self, path: &Path) -> bool {
        self.only.is_none() && self.open.is_at(path)
    }

    /// Returns a local path relative to it, with links and `..` resolved, if it contains the path.
    pub fn below(&self, path: &Path) -> Option<PathBuf> {
        below(&*self.open, path)
    }

    /// Returns a notice for each pattern that is an absolute local path below it. Patterns begin at
    /// its root, so such a pattern matches nothing.
    pub fn misplaced_patterns(&self, filter: &Filter) -> Vec<Notice> {
        if self.only.is_some() { Vec::new() } else { misplaced_patterns(&*self.open, filter) }
    }
}
