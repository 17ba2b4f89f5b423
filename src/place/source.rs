//! Places that entries come from.

use super::overlap::{self, Extent};
use super::{OpenPlace, Overlap, TargetPlace, below, misplaced_patterns};
use crate::backend::Capabilities;
use crate::filter::Filter;
use crate::manifest::RootIdentity;
use crate::model::{Error, Notice};
use std::io;
use std::path::{Path, PathBuf};

/// A place that entries come from: it stands, and is open.
pub struct SourcePlace {
    /// Its name in the state: a real path, or a URL.
    pub name: String,
    /// The only name that counts in it, where a single file or object was named.
    pub only: Option<Box<[u8]>>,
    pub(super) open: Box<dyn OpenPlace>,
}

impl SourcePlace {
    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.open.capabilities()
    }

    /// How it and a target lie in each other.
    ///
    /// # Errors
    /// When it can't be seen where they lie.
    pub fn overlap(&self, target: &TargetPlace) -> Result<Option<Overlap>, Error> {
        let source = self.open.position()?;
        let extent = if self.only.is_some() { Extent::SingleFile } else { Extent::Whole };
        Ok(overlap::overlap(&source, extent, &target.position()?))
    }

    /// What tells its root from another one that is mounted in its place.
    ///
    /// # Errors
    /// When its file system can't be asked.
    pub fn root_identity(&self) -> Result<RootIdentity, Error> {
        self.open.root_identity()
    }

    /// Why nothing is found at a path below its root; `None` where something is.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error> {
        self.open.lacks(path)
    }

    /// Has it take no inode number for evidence.
    pub fn ignore_inodes(&self) {
        self.open.ignore_inodes();
    }

    /// Whether it, all of it, is the directory of this machine that a path leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        self.only.is_none() && self.open.is_at(path)
    }

    /// What a path of this machine has below it, whatever links and `..` lead there.
    pub fn below(&self, path: &Path) -> Option<PathBuf> {
        below(&*self.open, path)
    }

    /// Says of each pattern that was meant for a path of this machine, and begins at its root so that
    /// it matches nothing, what was meant.
    pub fn misplaced_patterns(&self, filter: &Filter) -> Vec<Notice> {
        if self.only.is_some() { Vec::new() } else { misplaced_patterns(&*self.open, filter) }
    }
}
