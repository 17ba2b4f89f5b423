//! The local file system, accessed through directory handles.
//!
//! Nothing here follows a symbolic link below the root, and nothing uses a path of several
//! components, which another process could swap: `beneath` opens directories beneath the root, and
//! every change is made through a directory handle and a leaf name.

mod attributes;
mod backup;
mod beneath;
mod capabilities;
mod entries;
mod file_system;
mod flags;
mod holes;
mod inspect;
mod link;
mod metadata;
mod misplaced;
mod paths;
mod probe;
mod ranges;
mod read;
mod reflink;
mod rename;
mod renames;
mod set_aside;
mod shared;
mod special;
mod stage;
mod stage_directory;
mod stamp;
mod sync;
mod user;
mod walk;
mod write;
mod xattr;

pub use backup::Backup;
pub use beneath::{Identity, Root};
pub use file_system::{FileSystem, FileSystemId};
pub use misplaced::misplaced_patterns;
pub use paths::{below, dangling, unopened};
pub use user::{LocalNames, user_name};
pub use walk::Guarded;
pub use write::LocalTarget;

use self::capabilities::Capabilities;
use super::{Inspected, KeySpace, ListItem, ListOptions, Listing, Ranges, ReadError, Sink, Source};
use crate::model::error::Side;
use crate::model::{Cause, Entry, Error, Key, Notice};
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

/// What the walkers of both sides share.
#[derive(Clone)]
pub struct Walking {
    /// The thread pool that reads directories ahead and looks up their entries.
    pub pool: Arc<rayon::ThreadPool>,
    /// The directory of files for sorting the names of huge directories.
    pub spool_dir: PathBuf,
    /// Directories that are not entered, or that the walk must not reach.
    pub guarded: Arc<[Guarded]>,
}

/// A directory of this machine as a source.
pub struct LocalSource {
    root: Arc<Root>,
    walking: Walking,
    side: Side,
}

impl LocalSource {
    /// Makes a source from an open root.
    pub fn new(root: Arc<Root>, walking: Walking) -> Self {
        Self { root, walking, side: Side::Source }
    }

    /// Lists the root and its entries, without the contents of directories below.
    ///
    /// # Errors
    /// Fails if the root can't be read.
    pub fn list_level(&self) -> Result<Listing, Error> {
        let options = ListOptions { filter: Arc::default(), only: None, key_space: KeySpace::Tree };
        walk::list_level(&self.root, &self.walking, self.side, &options)
    }
}

impl Source for LocalSource {
    fn capabilities(&self) -> super::Capabilities {
        super::Capabilities::FILE_SYSTEM
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        walk::list(&self.root, &self.walking, self.side, options)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        walk::list_name(&self.root, &self.walking, self.side, name, options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        read::read(&self.root, entry, buffer, sink)
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        let ranges = ranges::begin(&self.root, entry)?;
        Ok(ranges.map(|ranges| Box::new(ranges) as Box<dyn Ranges>))
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        read::look(&self.root, key)
    }

    fn copy_origin(&self) -> Option<&dyn Any> {
        Some(&*self.root)
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        read::names(&self.root, directory)
    }

    fn notices(&self) -> Vec<Notice> {
        let side = self.side;
        let made_up = self.root.file_systems().any(Capabilities::made_up_numbers);
        let leaves_out = side == Side::Source && self.root.has_left_out();
        let numbers = made_up.then_some(Notice::InodesGivenAnew { side });
        let flagged = self.root.file_systems().asked().flagged();
        let left_out = leaves_out.then_some(Notice::ReservedNameLeftOut);
        numbers.into_iter().chain(left_out).chain(flagged).collect()
    }

    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        inspect::inspect(&self.root, entry)
    }
}
