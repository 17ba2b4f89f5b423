//! Prefixes in stores as places.

use super::overlap::Position;
use super::{BackupPlace, OpenPlace, Walkers, Writes};
use crate::backend::object::{BucketPrefix, ObjectBackup, ObjectSource, ObjectTarget};
use crate::backend::{Capabilities, Source, Target};
use crate::manifest::{Lockable, RootIdentity};
use crate::model::stamp::NO_NUMBER;
use crate::model::{Error, Key};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// A prefix in a store.
pub(super) struct Prefix(pub(super) Arc<BucketPrefix>);

impl OpenPlace for Prefix {
    fn capabilities(&self) -> Capabilities {
        ObjectSource::new(Arc::clone(&self.0)).capabilities()
    }

    fn source(&self, _walking: Walkers<'_>) -> Result<Arc<dyn Source>, Error> {
        Ok(Arc::new(ObjectSource::new(Arc::clone(&self.0))))
    }

    fn target(&self, _walking: Walkers<'_>, writes: Writes<'_>) -> Result<Arc<dyn Target>, Error> {
        let target = ObjectTarget::new(Arc::clone(&self.0));
        Ok(Arc::new(match writes.backup.and_then(BackupPlace::prefix) {
            Some(prefix) => target.with_backup(ObjectBackup::new(self.0.beside(prefix))),
            None => target,
        }))
    }

    fn lockable(&self) -> Lockable {
        Lockable::Store(Arc::clone(&self.0))
    }

    fn position(&self) -> Result<Position, Error> {
        Ok(Position::Prefix(Arc::clone(&self.0)))
    }

    /// A bucket has no identity besides its name, by which the state is found.
    fn root_identity(&self) -> Result<RootIdentity, Error> {
        Ok(RootIdentity { inode: NO_NUMBER, file_system: 0, id: None })
    }

    fn lacks(&self, path: &Path) -> Result<Option<io::Error>, Error> {
        let key = Key::new(path.as_os_str().as_bytes());
        let missing = || io::ErrorKind::NotFound.into();
        let has_entry = self.0.has_object(&key)? || self.0.has_objects_in(&key)?;
        Ok((!has_entry).then(missing))
    }

    /// The root of a bucket would have the empty key, which no object can have.
    fn has_root_entry(&self) -> bool {
        !self.0.prefix.is_empty()
    }
}
