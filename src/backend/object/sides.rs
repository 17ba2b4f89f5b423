//! A prefix of a bucket as a source and as a target.

use super::backup::ObjectBackup;
use super::cause::{cause, refused};
use super::level::level;
use super::list::{count, list};
use super::name::list_name;
use super::prefix::BucketPrefix;
use super::write::ObjectStage;
use super::{Condition, StoreErrorKind};
use crate::backend::{
    Capabilities, Inspected, Intended, KeySpace, ListItem, ListOptions, Listing, MetadataSet,
    Precondition, Ranges, ReadError, Sink, Source, Stage, StageDirectory, Target,
};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::{
    Attributes, Cause, Entry, EntryKind, Error, Keeps, Key, Metadata, Notice, Stamp,
};
use std::any::Any;
use std::sync::Arc;

/// A prefix of a bucket as a source.
pub struct ObjectSource {
    place: Arc<BucketPrefix>,
    side: Side,
}

impl ObjectSource {
    /// Makes a source from a prefix.
    pub fn new(place: Arc<BucketPrefix>) -> Self {
        Self { place, side: Side::Source }
    }

    /// Lists one level: objects, and a directory for each first name of deeper keys.
    ///
    /// # Errors
    /// Fails if the first page can't be read.
    pub fn list_level(&self) -> Result<Listing, Error> {
        level(&self.place, self.side)
    }
}

impl Source for ObjectSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of_store(self.place.store.capabilities().delete_batch)
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        list(&self.place, self.side, options)
    }

    fn count(
        &self,
        options: &ListOptions,
        take: &mut dyn FnMut(EntryKind, u64) -> bool,
    ) -> Result<bool, Error> {
        count(&self.place, self.side, options, take)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        list_name(&self.place, self.side, name, options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.place.read(entry, buffer, sink)
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        self.place.read_ranges(entry)
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        self.place.look(key)
    }

    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        Ok(Inspected::told(entry))
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        self.place.names(directory)
    }

    fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        self.place.look_all(keys)
    }

    fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
        self.place.read_small(key, max_size)
    }

    fn first_part(&self, entry: &Entry) -> Option<u64> {
        self.place.first_part(entry)
    }

    fn copy_origin(&self) -> Option<&dyn Any> {
        Some(&*self.place)
    }

    fn exists(&self) -> Result<bool, Error> {
        Ok(self.place.has_entries()? || self.place.prefix.is_empty())
    }

    fn set_key_space(&self, key_space: KeySpace) {
        self.place.set_key_space(key_space);
    }

    fn notices(&self) -> Vec<Notice> {
        self.place.notices()
    }
}

/// A prefix of a bucket as a target.
pub struct ObjectTarget {
    reader: ObjectSource,
    /// Where what is replaced or removed is kept, if it is.
    backup: Option<Arc<ObjectBackup>>,
}

impl ObjectTarget {
    /// Makes a target from a prefix.
    pub fn new(place: Arc<BucketPrefix>) -> Self {
        Self { reader: ObjectSource { place, side: Side::Target }, backup: None }
    }

    /// Makes the target keep what it replaces or removes.
    #[must_use]
    pub fn with_backup(self, backup: ObjectBackup) -> Self {
        Self { backup: Some(Arc::new(backup)), ..self }
    }

    /// Keeps the object that is about to be replaced, if that is wanted.
    fn keep_replaced(&self, key: &Key, precondition: Precondition) -> Result<(), Cause> {
        match &self.backup {
            Some(backup) => backup.keep_replaced(self.place(), key, precondition),
            None => Ok(()),
        }
    }

    /// Writes a leaf that is no file.
    fn put_leaf(&self, entry: &Entry, precondition: Precondition) -> Result<MetadataSet, Cause> {
        let key = &entry.key;
        self.keep_replaced(key, precondition)?;
        let set = self.place().put_leaf(entry, precondition)?;
        if precondition == Precondition::EmptyDirectory {
            let marker = Key::child(key.parent(), key.name(), true);
            self.delete(&self.place().object_key(&marker)?)?;
        }
        Ok(set)
    }

    /// Removes entries that need not be kept, or are.
    fn remove_objects(&self, entries: &[&Entry]) -> Vec<Result<(), Cause>> {
        let objects: Vec<_> = entries.iter().map(|entry| self.object_of(entry)).collect();
        let keys: Vec<&[u8]> =
            objects.iter().flatten().filter_map(|object| object.as_deref().ok()).collect();
        let one_by_one = || entries.iter().map(|entry| self.remove_object(entry)).collect();
        if keys.len() < 2 {
            return one_by_one();
        }
        let failures = match self.place().store.delete_many(&keys) {
            Ok(failures) => failures,
            Err(error) if error.kind == StoreErrorKind::Unsupported => return one_by_one(),
            Err(error) => {
                let each = std::iter::repeat_with(|| Err(cause(&error)));
                return each.take(entries.len()).collect();
            }
        };
        let mut failures: std::collections::HashMap<Box<[u8]>, _> = failures.into_iter().collect();
        let result = |object: Option<Result<Vec<u8>, Cause>>| match object {
            None => Ok(()),
            Some(object) => {
                let object = object?;
                match failures.remove(&*object) {
                    Some(error) => Err(cause(&error)),
                    None if self.place().leaves_marker(&object) => self.delete(&object),
                    None => Ok(()),
                }
            }
        };
        objects.into_iter().map(result).collect()
    }

    fn remove_object(&self, entry: &Entry) -> Result<(), Cause> {
        match self.object_of(entry) {
            Some(object) => self.delete(&object?),
            None => Ok(()),
        }
    }

    fn place(&self) -> &Arc<BucketPrefix> {
        &self.reader.place
    }

    fn delete(&self, object: &[u8]) -> Result<(), Cause> {
        self.place().store.delete(object, Condition::None).map_err(refused)
    }

    /// Returns the object key of an entry; `None` for a directory that is only implied.
    fn object_of(&self, entry: &Entry) -> Option<Result<Vec<u8>, Cause>> {
        let is_implied =
            entry.kind == EntryKind::Directory && entry.completeness == Completeness::Implicit;
        (!is_implied).then(|| self.place().object_key(&entry.key))
    }
}

/// Returns the prefix of a source, through any layers around it.
fn origin(source: &dyn Source) -> Option<&BucketPrefix> {
    source.copy_origin()?.downcast_ref()
}

impl Source for ObjectTarget {
    fn capabilities(&self) -> Capabilities {
        self.reader.capabilities()
    }

    fn count(
        &self,
        options: &ListOptions,
        take: &mut dyn FnMut(EntryKind, u64) -> bool,
    ) -> Result<bool, Error> {
        self.reader.count(options, take)
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        self.reader.list(options)
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        self.reader.list_name(name, options)
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.reader.read(entry, buffer, sink)
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        self.reader.read_ranges(entry)
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        self.reader.look(key)
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        self.reader.names(directory)
    }

    fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        self.reader.look_all(keys)
    }

    fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
        self.reader.read_small(key, max_size)
    }

    fn first_part(&self, entry: &Entry) -> Option<u64> {
        self.reader.first_part(entry)
    }

    fn copy_origin(&self) -> Option<&dyn Any> {
        self.reader.copy_origin()
    }

    fn exists(&self) -> Result<bool, Error> {
        self.reader.exists()
    }

    fn set_key_space(&self, key_space: KeySpace) {
        self.reader.set_key_space(key_space);
    }

    fn notices(&self) -> Vec<Notice> {
        let kept = self.backup.as_ref().and_then(|backup| backup.notice());
        self.reader.notices().into_iter().chain(kept).collect()
    }
}

impl Target for ObjectTarget {
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause> {
        let stage = ObjectStage::begin(self.place(), entry, precondition)?;
        Ok(Box::new(stage.keeping(self.backup.clone())))
    }

    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause> {
        let stage = ObjectStage::begin_stream(self.place(), entry, precondition)?;
        Ok(Box::new(stage.keeping(self.backup.clone())))
    }

    fn stage_directory(&self, _key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        Err(Cause::Other("a store builds no directories".to_owned()))
    }

    /// Makes nothing: the marker is written with the directory's metadata once its contents are
    /// complete. An object of the same name doesn't conflict with them.
    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause> {
        Ok((precondition == Precondition::Leaf).then(|| Key::new(key.trimmed())))
    }

    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause> {
        if let Some(backup) = &self.backup {
            backup.keep_version(self.place(), key)?;
        }
        self.delete(&self.place().object_key(key)?)
    }

    fn make_link(
        &self,
        entry: &Entry,
        _attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.put_leaf(entry, precondition)
    }

    fn make_special(
        &self,
        entry: &Entry,
        _intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.put_leaf(entry, precondition)
    }

    fn rename(&self, listed: &Entry, to: &Key) -> Result<Option<Entry>, Cause> {
        let place = self.place();
        let copied = place.copy(place, listed, to, Precondition::Absent);
        let stamp = copied.map_err(|error| match error {
            ReadError::Changed => Cause::TargetChanged,
            ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause) => cause,
        })?;
        Ok(stamp.map(|stamp| Entry { key: to.clone(), stamp, ..listed.clone() }))
    }

    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        if kind == EntryKind::Directory {
            return self.place().put_marker(key, intended);
        }
        self.place().set_metadata(key, kind, intended, precondition)
    }

    fn keeps_directories(&self) -> bool {
        self.place().has_markers()
    }

    fn keeps(&self) -> Option<Keeps> {
        (!self.place().markers.are_kept()).then_some(Keeps { directories: false, ..Keeps::ALL })
    }

    fn assume_keeps(&self, keeps: Keeps) {
        if !keeps.directories {
            self.place().markers.assume_none();
        }
    }

    fn can_copy_server_side(&self, source: &dyn Source) -> bool {
        origin(source).is_some_and(|other| self.place().store.id().is_same_store(other.store.id()))
    }

    fn copy_server_side(
        &self,
        source: &dyn Source,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        let Some(other) = origin(source) else { return Ok(None) };
        self.keep_replaced(&entry.key, precondition).map_err(ReadError::Sink)?;
        self.place().copy(other, entry, &entry.key, precondition)
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        if let Some(backup) = self.backup.as_ref().filter(|_| self.object_of(entry).is_some()) {
            backup.keep(self.place(), entry)?;
        }
        self.remove_object(entry)
    }

    fn remove_all(&self, entries: &[Entry]) -> Vec<Result<(), Cause>> {
        let all: Vec<_> = entries.iter().collect();
        let Some(backup) = &self.backup else { return self.remove_objects(&all) };
        // A directory that is only implied is no object, and goes with those in it.
        let objects: Vec<_> =
            all.iter().copied().filter(|entry| self.object_of(entry).is_some()).collect();
        let mut results: std::collections::HashMap<&Key, Result<(), Cause>> = objects
            .iter()
            .map(|entry| &entry.key)
            .zip(backup.keep_all(self.place(), &objects))
            .collect();
        let kept: Vec<_> =
            objects.into_iter().filter(|entry| results[&entry.key].is_ok()).collect();
        let removed = self.remove_objects(&kept);
        results.extend(kept.iter().map(|entry| &entry.key).zip(removed));
        all.iter().map(|entry| results.remove(&entry.key).unwrap_or(Ok(()))).collect()
    }

    fn sweep(&self, _key: &Key) -> Result<(), Cause> {
        Ok(())
    }

    fn barrier(&self) -> Result<(), Cause> {
        Ok(())
    }

    fn accepts(&self, key: &Key) -> Result<(), Cause> {
        self.place().object_key(key).map(drop)
    }

    fn achievable_metadata(
        &self,
        source: &Metadata,
        _kind: EntryKind,
        _existing: Option<&Metadata>,
    ) -> Metadata {
        *source
    }

    fn abort_stale_uploads(&self, given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        self.place().abort_stale_uploads(given_up)
    }

    fn abort_stale_streams(&self) -> Result<u64, Cause> {
        self.place().abort_unresumable_uploads()
    }
}
