//! Listing: converts pages of a bucket into an ordered stream of entries.
//!
//! In tree form the directory `name/` is inserted before the first key below it, unless a marker
//! exists. A key that no tree can hold (`a//b`, `./x`, `/a`, content at `a/`) becomes an item that
//! says so, and so does a name reserved for vidimus's temporaries: a store has none of those, so
//! another program put it there and may need it. If a page can't be read, everything after it is
//! unknown; that is never taken for the end.

use super::cause::{cause, fatal};
use super::habits::Habits;
use super::listed_names;
use super::page_cursor::Lister;
use super::pages::{self, Objects};
use super::prefix::BucketPrefix;
use super::{Head, ListQuery, Listed, Page, StoreError, StoreErrorKind};
use crate::backend::{KeySpace, ListItem, ListOptions, Listing};
use crate::filter::Filter;
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::reserved::{DIRECTORY, is_in_directory, is_temporary};
use crate::model::{
    Cause, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Notice, Operation, Stamp,
};
use std::collections::VecDeque;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

/// Lists a prefix; see [`Source::list`](crate::backend::Source::list).
pub(super) fn list(
    place: &Arc<BucketPrefix>,
    side: Side,
    options: &ListOptions,
) -> Result<Listing, Error> {
    place.set_key_space(options.key_space);
    if let Some(names) = options.filter.names() {
        return listed_names::list(place, side, names, options);
    }
    let mut prefix = place.prefix.to_vec();
    prefix.extend_from_slice(options.only.as_deref().unwrap_or_default());
    // The first key with this prefix is the key itself, if that exists.
    let limit = options.only.as_ref().map(|_| 1);
    let query = ListQuery { prefix: &prefix, limit, ..ListQuery::default() };
    let what = || format!("cannot list \"{}\"", place.name());
    let first = place.take_first_page().filter(|_| options.only.is_none());
    let mut page = match first {
        Some(page) => page,
        None => match (place.store.list(&query), &options.only) {
            // Without permission to list, an object of known name may still be readable.
            (Err(error), Some(_)) if error.kind == StoreErrorKind::Denied => {
                single(place, &prefix).ok_or_else(|| fatal(&what(), &error))?
            }
            (listed, _) => listed.map_err(|error| fatal(&what(), &error))?,
        },
    };
    if options.only.is_some() {
        page.objects.retain(|object| *object.key == *prefix);
        page.next = None;
    }
    let lister = Arc::clone(place) as Arc<dyn Lister>;
    let objects = pages::objects(lister, page)
        .map_err(|error| Error::new(ErrorKind::Unusable, "cannot start a thread").because(error))?;
    let has_root = options.only.is_none() && options.key_space == KeySpace::Tree;
    let filter = Arc::clone(&options.filter);
    Ok(Box::new(Entries::new(place, side, filter, options.key_space, objects, has_root)))
}

/// Counts entries; see [`Source::count`](crate::backend::Source::count). Reads page after page in
/// the store's order. The result is only an estimate, so nothing is sorted, fetched concurrently or
/// remembered.
pub(super) fn count(
    place: &Arc<BucketPrefix>,
    side: Side,
    options: &ListOptions,
    take: &mut dyn FnMut(EntryKind, u64) -> bool,
) -> Result<bool, Error> {
    if options.filter.names().is_some() {
        // Looking for each name twice costs more than an estimate is worth.
        return Ok(false);
    }
    let lister = Arc::clone(place);
    let page = move |token: Option<&str>| {
        lister.counting.list(&ListQuery { prefix: &lister.prefix, token, ..ListQuery::default() })
    };
    let what = || format!("cannot list \"{}\"", place.name());
    let first = page(None).map_err(|error| fatal(&what(), &error))?;
    let (mut objects, mut next) = (first.objects.into_iter(), first.next);
    let objects = std::iter::from_fn(move || {
        loop {
            if let Some(object) = objects.next() {
                return Some(Ok(object));
            }
            match page(Some(&next.take()?)) {
                Ok(page) => (objects, next) = (page.objects.into_iter(), page.next),
                Err(error) => return Some(Err(cause(&error))),
            }
        }
    });
    let (filter, key_space) = (Arc::clone(&options.filter), options.key_space);
    let entries = Entries::new(
        place,
        side,
        filter,
        key_space,
        Box::new(objects),
        key_space == KeySpace::Tree,
    );
    let mut is_complete = true;
    for item in entries {
        match item? {
            ListItem::Entry(entry) if !take(entry.kind, entry.size()) => return Ok(false),
            ListItem::BrokeOff(_) => is_complete = false,
            _ => {}
        }
    }
    Ok(is_complete)
}

/// Returns a page with the object at a key, found by HEAD; `None` if it can't be seen.
fn single(place: &BucketPrefix, key: &[u8]) -> Option<Page> {
    let head = place.store.head(key).ok().flatten()?;
    let Head { size, etag, modified, .. } = head;
    let object = Listed { key: key.into(), size, etag, modified, archived: false };
    Some(Page { objects: vec![object], in_order: true, ..Page::default() })
}

impl Lister for BucketPrefix {
    fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn page(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        self.store.list(query)
    }

    fn habits(&self) -> Option<&Habits> {
        self.habits.as_ref()
    }

    fn add_notice(&self, notice: Notice) {
        Self::add_notice(self, notice);
    }

    fn spool_dir(&self) -> &Arc<Path> {
        &self.spool_dir
    }
}

/// Converts objects into entries.
pub(super) struct Entries {
    place: Arc<BucketPrefix>,
    side: Side,
    filter: Arc<Filter>,
    key_space: KeySpace,
    objects: Peekable<Objects>,
    /// Whether the root is still to be listed.
    has_root: bool,
    ended: bool,
    ready: VecDeque<ListItem>,
    /// The innermost directory listed so far: empty, or a key that ends in `/`.
    directory: Vec<u8>,
    /// An excluded directory, in which everything is excluded.
    pruned: Option<Vec<u8>>,
}

impl Entries {
    pub(super) fn new(
        place: &Arc<BucketPrefix>,
        side: Side,
        filter: Arc<Filter>,
        key_space: KeySpace,
        objects: Objects,
        has_root: bool,
    ) -> Self {
        Self {
            place: Arc::clone(place),
            side,
            filter,
            key_space,
            objects: objects.peekable(),
            has_root,
            ended: false,
            ready: VecDeque::new(),
            directory: Vec::new(),
            pruned: None,
        }
    }

    /// Lists the root, with the metadata of its marker if there is one.
    fn root(&mut self) {
        let kind = EntryKind::Directory;
        let has_no_marker = self.place.prefix.is_empty();
        let prefix = &self.place.prefix;
        let marker = self.objects.next_if(|object| {
            let is_marker = |object: &Listed| object.key == *prefix && object.size == 0;
            !has_no_marker && object.as_ref().is_ok_and(is_marker)
        });
        let entry = match marker {
            Some(Ok(marker)) => {
                self.place.markers.set_listed();
                let stamp = Stamp::of_object(0, marker.etag);
                self.place.listed(Key::root(), kind, stamp, marker.modified)
            }
            _ => Entry {
                completeness: if has_no_marker {
                    Completeness::ListingOnly
                } else {
                    Completeness::Implicit
                },
                ..self.place.listed(Key::root(), kind, Stamp::of_object(0, None), None)
            },
        };
        self.ready.push_back(ListItem::Entry(entry));
    }

    fn object(&mut self, object: &Listed) {
        let Some(key) = object.key.strip_prefix(&*self.place.prefix) else {
            let what = "the store listed a key that does not begin with the prefix";
            let item = self.break_off(Cause::Other(what.to_owned()));
            return self.ready.push_back(item);
        };
        if is_in_directory(key) {
            if key.len() == DIRECTORY.len() && self.side == Side::Source {
                self.place.add_notice_once(&Notice::ReservedNameLeftOut);
            }
            return;
        }
        if object.size == 0 && object.key.ends_with(b"/") {
            self.place.markers.set_listed();
        }
        if self.key_space == KeySpace::Tree {
            return self.in_tree(object, key);
        }
        let key = Key::new(key);
        if !self.filter.excludes_within(&key) {
            let entry = self.entry(key, EntryKind::File, object);
            self.ready.push_back(entry);
        }
    }

    fn in_tree(&mut self, object: &Listed, key: &[u8]) {
        if self.pruned.as_ref().is_some_and(|pruned| key.starts_with(pruned)) {
            return;
        }
        let whole = Key::new(key);
        let is_marker = key.ends_with(b"/");
        let names = key.strip_suffix(b"/").unwrap_or(key);
        let mut end = 0;
        for name in names.split(|&byte| byte == b'/') {
            if matches!(name, b"" | b"." | b"..") {
                return self.cannot_hold(whole, Cause::IllegalName);
            }
            if is_temporary(name) {
                return self.cannot_hold(whole, Cause::ReservedName);
            }
            end += name.len() + 1;
            // As for any key, the directories above a key that no tree can hold are listed first.
            if end <= names.len() && !self.enter_implied(&key[..end]) {
                return;
            }
        }
        if !is_marker {
            if !self.filter.excludes(&whole) {
                let entry = self.entry(whole, EntryKind::File, object);
                self.ready.push_back(entry);
            }
            return;
        }
        let stamp = Stamp::of_object(0, object.etag);
        let entry = self.place.listed(whole.clone(), EntryKind::Directory, stamp, object.modified);
        if self.enter(&whole, entry) && object.size > 0 {
            let cause = Cause::Other("has content, which a directory cannot have".to_owned());
            self.cannot_hold(whole, cause);
        }
    }

    /// Lists a directory that has keys below it, if that wasn't done yet; returns false if it is
    /// excluded.
    fn enter_implied(&mut self, directory: &[u8]) -> bool {
        if self.directory.starts_with(directory) {
            return true;
        }
        let directory = Key::new(directory);
        let none = Stamp::of_object(0, None);
        let entry = self.place.listed(directory.clone(), EntryKind::Directory, none, None);
        self.enter(&directory, Entry { completeness: Completeness::Implicit, ..entry })
    }

    /// Lists a directory, unless it is excluded.
    fn enter(&mut self, key: &Key, entry: Entry) -> bool {
        if self.filter.excludes(key) {
            self.pruned = Some(key.as_bytes().to_vec());
            return false;
        }
        self.directory = key.as_bytes().to_vec();
        self.ready.push_back(ListItem::Entry(entry));
        true
    }

    /// Lists a key that no tree can hold: an error in the source; in the target it is left alone.
    fn cannot_hold(&mut self, key: Key, cause: Cause) {
        if self.filter.excludes(&key) {
            return;
        }
        self.ready.push_back(match self.side {
            Side::Source => {
                ListItem::Failed(EntryError::new(Operation::List, self.side, key, cause))
            }
            Side::Target => ListItem::LeftOut(key, cause.to_string()),
        });
    }

    fn entry(&self, key: Key, kind: EntryKind, object: &Listed) -> ListItem {
        let stamp = Stamp::of_object(object.size, object.etag);
        ListItem::Entry(self.place.listed(key, kind, stamp, object.modified))
    }
}

impl Iterator for Entries {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            if std::mem::take(&mut self.has_root) {
                self.root();
                continue;
            }
            match self.objects.next()? {
                Ok(object) => self.object(&object),
                Err(cause) => return Some(Ok(self.break_off(cause))),
            }
        }
    }
}

impl Entries {
    /// Ends the listing early: everything from here on is unknown.
    fn break_off(&mut self, cause: Cause) -> ListItem {
        self.ended = true;
        ListItem::BrokeOff(EntryError::new(Operation::List, self.side, Key::root(), cause))
    }
}
