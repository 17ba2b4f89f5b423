//! Reading objects: the listed version, completely, with all bytes counted.
//!
//! A large object is read in several ranges at a time: by receivers that take them in any order
//! (`ranges`), or passed on in order (`window`). Each request names the listed tag (`If-Match`), so
//! that a new version is noticed. The receiver verifies the content against its digest. If no
//! digest is known, it is verified against the store's checksum of the whole object, if there is
//! one: the reply to a GET of a whole object includes it; for ranges an extra HEAD requests it.

use super::cause::refused;
use super::check::Check;
use super::object_read::ObjectRead;
use super::prefix::BucketPrefix;
use super::ranges::ObjectRanges;
use super::window;
use super::{ListQuery, Listed, StoreErrorKind, Wanted};
use crate::backend::{Ranges, ReadError, Sink};
use crate::model::entry::{Completeness, LONGEST_LINK};
use crate::model::{Cause, Entry, EntryKind, Key, Stamp};
use std::collections::{BTreeSet, HashMap};

impl BucketPrefix {
    /// Reads an object; see [`Source::read`](crate::backend::Source::read).
    pub(super) fn read(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ReadError> {
        let whole = ObjectRead::new(self, entry)?;
        if let Some(permits) = window::permits(&whole)
            && let Some(first) = whole.first_range(window::RANGE)?
        {
            return window::read(&whole, first, &permits, buffer.len(), sink);
        }
        whole.read_sequentially(buffer, sink)
    }

    /// Reads an object with one request at a time. This needs no memory budget, so a caller that
    /// rewrites the object can't deadlock with itself.
    pub(super) fn read_in_order(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ReadError> {
        ObjectRead::new(self, entry)?.read_sequentially(buffer, sink)
    }

    /// Begins to read an object in ranges; see
    /// [`Source::read_ranges`](crate::backend::Source::read_ranges).
    pub(super) fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        let Some(readers) = ObjectRanges::readers(entry) else { return Ok(None) };
        let ranges = ObjectRanges::begin(ObjectRead::new(self, entry)?, readers)?;
        Ok(ranges.map(|ranges| Box::new(ranges) as Box<dyn Ranges>))
    }

    /// Looks up an object; see [`Source::look`](crate::backend::Source::look).
    pub(super) fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        let object = self.object_key(key)?;
        let is_directory = key.is_directory() && !self.is_flat();
        let Some(head) = self.store.head(&object).map_err(refused)? else {
            return if is_directory { self.implied(key, &object) } else { Ok(None) };
        };
        let kind = if is_directory { EntryKind::Directory } else { EntryKind::File };
        let size = if is_directory { 0 } else { head.size };
        let stamp = Stamp::of_object(size, head.etag);
        let mut entry = self.listed(key.clone(), kind, stamp, head.modified);
        let facts = self.facts(&head, kind);
        facts.apply_to(&mut entry);
        entry.recorded = facts.digest;
        if entry.kind == EntryKind::Symlink {
            entry.link = Some(self.link_text(&object, &entry)?);
        }
        Ok(Some(entry))
    }

    /// Returns the names in a directory; see [`Source::names`](crate::backend::Source::names).
    pub(super) fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        let prefix = [&self.prefix, directory.as_bytes()].concat();
        let (mut names, mut token) = (BTreeSet::new(), None);
        loop {
            let query =
                ListQuery { prefix: &prefix, token: token.as_deref(), ..ListQuery::default() };
            let page = self.store.list(&query).map_err(refused)?;
            let rest = page.objects.iter().filter_map(|it| it.key.strip_prefix(&*prefix));
            let first = rest.filter_map(|key| key.split(|&byte| byte == b'/').next());
            // The rest of the directory's own marker is empty.
            names.extend(first.filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
            token = match page.next {
                Some(next) if Some(&next) != token.as_ref() => Some(next),
                _ => break,
            };
        }
        Ok(names.into_iter().collect())
    }

    /// Looks up objects; see [`Source::look_all`](crate::backend::Source::look_all). One page of a
    /// listing gives most of them and the others are looked up one by one, so a store that begins
    /// its listing elsewhere costs requests but hides nothing.
    pub(super) fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        let mut listed = HashMap::new();
        if let [first, _, ..] = keys {
            let first = self.object_key(first)?;
            let directory = first.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
            let query = ListQuery {
                prefix: &first[..directory],
                // The first key without its last byte: a listing begins after the given key.
                after: first.split_last().map(|(_, before)| before),
                ..ListQuery::default()
            };
            let page = self.store.list(&query).map_err(refused)?;
            listed.extend(page.objects.into_iter().map(|object| (object.key.clone(), object)));
        }
        let look = |key: &Key| match listed.remove(&*self.object_key(key)?) {
            Some(Listed { size, etag, modified, .. }) => {
                let stamp = Stamp::of_object(size, etag);
                Ok(Some(self.listed(key.clone(), EntryKind::File, stamp, modified)))
            }
            None => self.look(key),
        };
        keys.iter().map(look).collect()
    }

    /// Reads a small object; see [`Source::read_small`](crate::backend::Source::read_small).
    pub(super) fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
        // The content may have been damaged in transit; if it is damaged in the store, the second
        // read fails too.
        match self.read_small_once(key, max_size) {
            Err(ReadError::Damaged(_)) => self.read_small_once(key, max_size),
            read => read,
        }
        .map_err(|error| match error {
            ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause) => cause,
            ReadError::Changed => Cause::Changed { attempts: 1 },
        })
    }

    fn read_small_once(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let source = |error| ReadError::Source(refused(error));
        let object = self.object_key(key).map_err(ReadError::Source)?;
        let mut reader = match self.store.get(&object, &Wanted::default()) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            reader => reader.map_err(source)?,
        };
        if reader.head().size > max_size {
            let size = reader.head().size;
            return Err(ReadError::Source(Cause::NoSmallFile { kind: EntryKind::File, size }));
        }
        let mut check = Check::of(reader.head());
        let mut content = Vec::new();
        while let Some(bytes) = reader.read().map_err(source)? {
            check.take(&bytes);
            content.extend_from_slice(&bytes);
        }
        check.end()?;
        Ok(Some(content))
    }

    /// See [`Source::first_part`](crate::backend::Source::first_part).
    pub(super) fn first_part(&self, entry: &Entry) -> Option<u64> {
        // Only a hint: an error shows in the requests that follow.
        self.store.first_part(&self.object_key(&entry.key).ok()?).ok().flatten()
    }

    /// Looks up a directory without a marker, which exists as long as anything is in it.
    fn implied(&self, key: &Key, object: &[u8]) -> Result<Option<Entry>, Cause> {
        let query = ListQuery { prefix: object, limit: Some(1), ..ListQuery::default() };
        let page = self.store.list(&query).map_err(refused)?;
        let stamp = Stamp::of_object(0, None);
        let entry = self.listed(key.clone(), EntryKind::Directory, stamp, None);
        let is_there = !page.objects.is_empty();
        Ok(is_there.then_some(Entry { completeness: Completeness::Implicit, ..entry }))
    }

    fn link_text(&self, object: &[u8], entry: &Entry) -> Result<Box<[u8]>, Cause> {
        if entry.stamp.size > LONGEST_LINK {
            return Err(Cause::Other("its text is too long for a symbolic link".to_owned()));
        }
        let (version, size) = (entry.stamp.tag(), Some(entry.stamp.size));
        let wanted = Wanted { version: version.as_ref(), size, range: None };
        let mut reader = self.store.get(object, &wanted).map_err(refused)?;
        let mut text = Vec::new();
        while let Some(bytes) = reader.read().map_err(refused)? {
            text.extend_from_slice(&bytes);
        }
        Ok(text.into())
    }
}
