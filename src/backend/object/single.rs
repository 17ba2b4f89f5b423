//! Single objects, whatever bytes their keys have: `a/` is an object here, with content or without.

use super::ListQuery;
use super::cause::fatal;
use super::prefix::BucketPrefix;
use crate::backend::Facts;
use crate::model::{Cause, Entry, EntryKind, Error, ErrorKind, Key, Stamp};

impl BucketPrefix {
    /// Looks for the object at a key, with what is kept with it; as an entry it is a file, to be
    /// read as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when the store can't be asked, or could never hold the key.
    pub fn find(&self, key: &Key) -> Result<Option<(Entry, Facts)>, Error> {
        let object = self.object_key(key).map_err(|cause| cannot_be(key, cause))?;
        let head = self.store.head(&object);
        let what = || format!("cannot look at \"{}{key}\"", self.name());
        let head = head.map_err(|error| fatal(&what(), &error))?;
        Ok(head.map(|head| {
            let stamp = Stamp::of_object(head.size, head.etag);
            let entry = self.listed(key.clone(), EntryKind::File, stamp, head.modified);
            (entry, self.facts(&head, EntryKind::File))
        }))
    }

    /// Whether any key begins with these bytes; this fails where the bucket is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when the store can't be asked.
    pub fn has_keys(&self, prefix: &[u8]) -> Result<bool, Error> {
        let query = ListQuery { prefix, limit: Some(1), ..ListQuery::default() };
        let what = format!("cannot list \"{}\"", self.name());
        let page = self.store.list(&query).map_err(|error| fatal(&what, &error))?;
        Ok(!page.objects.is_empty())
    }
}

fn cannot_be(key: &Key, cause: Cause) -> Error {
    Error::new(ErrorKind::Unusable, format!("there can be no object \"{key}\"")).because(cause)
}
