//! Listings whose order is checked: keys in byte order, each entry once.
//!
//! The join would take entries of a disordered listing for absent. So everything from the first
//! item out of order on counts as unknown.

mod enriched;

pub use enriched::EnrichedListing;

use crate::backend::{ListItem, Listing};
use crate::filter::IgnoreRules;
use crate::model::error::Side;
use crate::model::{Cause, EntryError, Error, Key, Operation};
use std::sync::Arc;

/// A listing whose order is checked as it streams.
pub struct OrderChecked {
    listing: Listing,
    side: Side,
    /// The last key, in a buffer that is reused.
    last: Option<Vec<u8>>,
    broken: bool,
}

impl OrderChecked {
    /// Checks the order of `listing`.
    pub fn new(listing: Listing, side: Side) -> Self {
        Self { listing, side, last: None, broken: false }
    }
}

impl Iterator for OrderChecked {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let item = match self.listing.next()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        if let ListItem::BrokeOff(_) = item {
            return Some(Ok(item));
        }
        let key = item.key();
        let is_entry = matches!(item, ListItem::Entry(_));
        let in_order = self.last.as_ref().is_none_or(|last| {
            // The failure of an entry may follow the entry itself.
            if is_entry { **last < *key.as_bytes() } else { **last <= *key.as_bytes() }
        });
        if !in_order {
            self.broken = true;
            let cause = Cause::Other(format!("the listing is out of order at \"{key}\""));
            return Some(Ok(ListItem::BrokeOff(EntryError::new(
                Operation::List,
                self.side,
                Key::root(),
                cause,
            ))));
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key.as_bytes());
        Some(Ok(item))
    }
}

/// The parts of a tree that a listing could not see. A scope is a key: the name itself, as leaf or
/// directory, and everything below it. Scopes before the cursor are dropped, so that few are kept.
#[derive(Debug, Default)]
pub struct Unknown {
    scopes: Vec<Key>,
    /// Rules by which parts of directories are unknown, inner ones later.
    rules: Vec<Arc<IgnoreRules>>,
}

impl Unknown {
    /// Adds a scope.
    pub fn add(&mut self, scope: Key) {
        self.scopes.push(scope);
    }

    /// Adds what rules exclude of their directory.
    pub fn add_excluded(&mut self, rules: Arc<IgnoreRules>) {
        self.rules.push(rules);
    }

    /// Drops the scopes that no key from `cursor` on can be in.
    pub fn leave(&mut self, cursor: &Key) {
        let cursor = cursor.as_bytes();
        self.scopes
            .retain(|scope| cursor <= scope.as_bytes() || cursor.starts_with(scope.trimmed()));
        self.rules.retain(|rules| {
            let directory = rules.directory().as_bytes();
            cursor <= directory || cursor.starts_with(directory)
        });
    }

    /// Returns the number of scopes.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.scopes.len()
    }

    /// Returns whether it is unknown what is at `key`.
    pub fn covers(&self, key: &Key) -> bool {
        let innermost = self.rules.iter().rfind(|it| key.is_within(it.directory().as_bytes()));
        if innermost.is_some_and(|rules| rules.excludes_within(key)) {
            return true;
        }
        self.scopes.iter().any(|scope| {
            scope.is_root()
                || key
                    .as_bytes()
                    .strip_prefix(scope.trimmed())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    /// Returns whether anything in the directory `key` is unknown.
    pub fn is_within(&self, key: &Key) -> bool {
        self.scopes.iter().any(|scope| scope.is_within(key.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Entry, Metadata};

    fn item(key: &str) -> ListItem {
        ListItem::Entry(Entry::new_file(Key::new(key.as_bytes()), 0, Metadata::default()))
    }

    fn check(keys: &[&str]) -> Vec<bool> {
        let items: Vec<_> = keys.iter().map(|key| Ok(item(key))).collect();
        let checked = OrderChecked::new(Box::new(items.into_iter()), Side::Source);
        checked.map(|item| matches!(item, Ok(ListItem::Entry(_)))).collect()
    }

    #[test]
    fn a_listing_in_byte_order_passes() {
        assert_eq!(check(&["", "a", "a-b", "a/", "a/b"]), [true; 5]);
    }

    #[test]
    fn a_listing_in_path_order_or_with_a_key_twice_breaks_off() {
        assert_eq!(check(&["a/", "a-b", "c"]), [true, false]);
        assert_eq!(check(&["a", "a"]), [true, false]);
    }

    #[test]
    fn a_scope_is_a_name_as_leaf_and_directory_with_all_below_it() {
        let key = |text: &str| Key::new(text.as_bytes());
        let mut unknown = Unknown::default();
        unknown.add(key("d/a"));
        for covered in ["d/a", "d/a/", "d/a/b"] {
            assert!(unknown.covers(&key(covered)), "{covered}");
        }
        for other in ["d/", "d/a-b", "d/b", "a"] {
            assert!(!unknown.covers(&key(other)), "{other}");
        }
        unknown.leave(&key("d/a-b"));
        assert!(unknown.covers(&key("d/a/b")), "it may still come");
        unknown.leave(&key("d/b"));
        assert!(!unknown.covers(&key("d/a/b")));
        unknown.add(Key::root());
        assert!(unknown.covers(&key("x")));
    }
}
