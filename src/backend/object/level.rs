//! Listing one level page by page; the store folds deeper keys into prefixes.

use super::cause::{cause, fatal};
use super::prefix::BucketPrefix;
use super::{ListQuery, Page};
use crate::backend::{ListItem, Listing};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::reserved::DIRECTORY;
use crate::model::{Entry, EntryError, EntryKind, Error, Key, Operation, Stamp};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lists one level in the store's order. An object at the prefix itself is the marker of the
/// location and is left out.
pub(super) fn level(place: &Arc<BucketPrefix>, side: Side) -> Result<Listing, Error> {
    let query = ListQuery { prefix: &place.prefix, delimiter: true, ..ListQuery::default() };
    let what = format!("cannot list \"{}\"", place.name());
    let page = place.store.list(&query).map_err(|error| fatal(&what, &error))?;
    let mut level = Level { place: Arc::clone(place), side, items: VecDeque::new(), next: None };
    level.turn(page);
    Ok(Box::new(level))
}

struct Level {
    place: Arc<BucketPrefix>,
    side: Side,
    /// The remaining items of the current page: at most 1,000.
    items: VecDeque<ListItem>,
    /// The token of the next page; `None` at the end.
    next: Option<String>,
}

impl Level {
    /// Merges a page's objects and folded prefixes.
    fn turn(&mut self, page: Page) {
        let place = &self.place;
        let below = |key: &[u8]| key.strip_prefix(&*place.prefix).map(Key::new);
        let objects = page.objects.iter().filter_map(|object| {
            let stamp = Stamp::of_object(object.size, object.etag);
            Some(place.listed(below(&object.key)?, EntryKind::File, stamp, object.modified))
        });
        let directories = page.prefixes.iter().filter_map(|prefix| {
            let none = Stamp::of_object(0, None);
            let entry = place.listed(below(prefix)?, EntryKind::Directory, none, None);
            Some(Entry { completeness: Completeness::Implicit, ..entry })
        });
        let is_listed =
            |entry: &Entry| !entry.key.is_root() && entry.key.trimmed() != DIRECTORY.as_bytes();
        let mut entries: Vec<_> = objects.chain(directories).filter(is_listed).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        self.items = entries.into_iter().map(ListItem::Entry).collect();
        self.next = page.next;
    }
}

impl Iterator for Level {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(Ok(item));
            }
            let token = self.next.take()?;
            let (prefix, token) = (&*self.place.prefix, Some(&*token));
            let query = ListQuery { prefix, token, delimiter: true, ..ListQuery::default() };
            match self.place.store.list(&query) {
                Ok(page) => self.turn(page),
                Err(error) => {
                    let cause = cause(&error);
                    let error = EntryError::new(Operation::List, self.side, Key::root(), cause);
                    return Some(Ok(ListItem::BrokeOff(error)));
                }
            }
        }
    }
}
