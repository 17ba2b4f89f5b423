//! Access to single objects with any key: `a/` is an ordinary object here, with or without content.

use super::ListQuery;
use super::cause::fatal;
use super::prefix::BucketPrefix;
use crate::backend::Facts;
use crate::model::{Cause, Entry, EntryKind, Error, ErrorKind, Key, Stamp};

impl BucketPrefix {
    /// Looks up the object at a key with its facts; as an entry it is a file, to be read as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the request fails, or a store could never hold the key.
    pub fn find(&self, key: &Key) -> Result<Option<(Entry, Facts)>, Error> {
        let object = self.object_key(key).map_err(|cause| illegal_key(key, cause))?;
        let head = self.store.head(&object);
        let what = || format!("cannot look up \"{}{key}\"", self.name());
        let head = head.map_err(|error| fatal(&what(), &error))?;
        Ok(head.map(|head| {
            let stamp = Stamp::of_object(head.size, head.etag);
            let entry = self.listed(key.clone(), EntryKind::File, stamp, head.modified);
            (entry, self.facts(&head, EntryKind::File))
        }))
    }

    /// Returns whether any key begins with these bytes; fails if the bucket is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the request fails.
    pub fn has_keys(&self, prefix: &[u8]) -> Result<bool, Error> {
        let query = ListQuery { prefix, limit: Some(1), ..ListQuery::default() };
        let what = format!("cannot list \"{}\"", self.name());
        let page = self.store.list(&query).map_err(|error| fatal(&what, &error))?;
        Ok(!page.objects.is_empty())
    }
}

fn illegal_key(key: &Key, cause: Cause) -> Error {
    Error::new(ErrorKind::Unusable, format!("\"{key}\" is not a possible key of an object"))
        .because(cause)
}
