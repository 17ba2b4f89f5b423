//! Join of two ordered streams.
//!
//! Unknown is not absent: below a directory that one side could not list, what the other side has
//! is [`Joined::Unknown`]. At most one item per side is read ahead.

use super::entry::SideEntry;
use crate::listing::Unknown;
use crate::model::{EntryError, Error, Key, Which};
use std::cmp::Ordering;
use std::iter::Peekable;

/// One item of a side.
#[derive(Debug)]
pub(super) enum Item {
    /// An entry.
    Entry(SideEntry),
    /// The key, and everything below it, could not be listed.
    Failed(EntryError),
}

impl Item {
    fn key(&self) -> &Key {
        match self {
            Self::Entry(side) => &side.entry.key,
            Self::Failed(error) => &error.key,
        }
    }
}

/// The items of a side, in key order.
pub(super) type Items = Box<dyn Iterator<Item = Result<Item, Error>> + Send>;

/// An item of the join.
#[derive(Debug)]
pub(super) enum Joined {
    /// Both sides have it.
    Both(SideEntry, SideEntry),
    /// Only one side has it.
    Only(Which, SideEntry),
    /// One side has it, the other could not be listed there.
    Unknown,
    /// A scope of one side could not be listed.
    Failed(Which, EntryError),
}

/// Joins two ordered streams.
pub(super) struct Join {
    a: Side,
    b: Side,
}

struct Side {
    items: Peekable<Items>,
    unknown: Unknown,
}

impl Side {
    fn new(items: Items) -> Self {
        Self { items: items.peekable(), unknown: Unknown::default() }
    }

    /// Returns whether this side, which lacks the key, could not be listed there.
    fn is_unknown_at(&mut self, key: &Key) -> bool {
        self.unknown.leave(key);
        self.unknown.covers(key)
    }
}

impl Join {
    /// Joins the items of two sides.
    pub(super) fn new(a: Items, b: Items) -> Self {
        Self { a: Side::new(a), b: Side::new(b) }
    }

    fn next_joined(&mut self) -> Result<Option<Joined>, Error> {
        let order = match (self.a.items.peek(), self.b.items.peek()) {
            (None, None) => return Ok(None),
            (Some(Err(_)), _) | (Some(Ok(_)), None) => Ordering::Less,
            (_, Some(Err(_))) | (None, Some(Ok(_))) => Ordering::Greater,
            (Some(Ok(a)), Some(Ok(b))) => a.key().cmp(b.key()).then_with(|| match (a, b) {
                // A failed scope must be known before the other side's entry is considered.
                (Item::Failed(_), _) => Ordering::Less,
                (_, Item::Failed(_)) => Ordering::Greater,
                _ => Ordering::Equal,
            }),
        };
        let a = if order.is_le() { self.a.items.next().transpose()? } else { None };
        let b = if order.is_ge() { self.b.items.next().transpose()? } else { None };
        Ok(match (a, b) {
            (Some(Item::Entry(a)), Some(Item::Entry(b))) => Some(Joined::Both(a, b)),
            (Some(item), _) => Some(one(Which::A, item, &mut self.a, &mut self.b)),
            (_, Some(item)) => Some(one(Which::B, item, &mut self.b, &mut self.a)),
            (None, None) => None,
        })
    }
}

/// Converts an item that only one side has.
fn one(which: Which, item: Item, own: &mut Side, other: &mut Side) -> Joined {
    match item {
        Item::Failed(error) => {
            own.unknown.leave(&error.key);
            own.unknown.add(error.key.clone());
            Joined::Failed(which, error)
        }
        Item::Entry(side) if other.is_unknown_at(&side.entry.key) => Joined::Unknown,
        Item::Entry(side) => Joined::Only(which, side),
    }
}

impl Iterator for Join {
    type Item = Result<Joined, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_joined().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, DiffEntry, EntryKind, ErrorKind, Operation};

    fn entry(key: &str) -> SideEntry {
        SideEntry {
            entry: DiffEntry {
                key: Key::new(key.as_bytes()),
                kind: Some(EntryKind::File),
                size: 0,
                digest: None,
                metadata: None,
                link: None,
                device: None,
            },
            also_mtime: None,
            provenance: super::super::entry::Provenance::Objects,
            has_row: false,
            is_touched: false,
            is_read: false,
            listed: None,
            attributes: None,
        }
    }

    /// Makes items from keys; those that begin with `!` could not be listed, `broken` is an error.
    fn items(keys: &'static [&'static str]) -> Items {
        Box::new(keys.iter().map(|&key| match key.strip_prefix('!') {
            _ if key == "broken" => Err(Error::new(ErrorKind::Manifest, key)),
            Some(scope) => Ok(Item::Failed(EntryError::on_source(
                Operation::List,
                Key::new(scope.as_bytes()),
                Cause::Vanished,
            ))),
            None => Ok(Item::Entry(entry(key))),
        }))
    }

    fn joined(a: &'static [&'static str], b: &'static [&'static str]) -> Vec<String> {
        let text = |joined: Result<_, Error>| match joined {
            Ok(Joined::Both(a, b)) => {
                assert_eq!(a.entry.key, b.entry.key);
                format!("{}=", a.entry.key)
            }
            Ok(Joined::Only(which, side)) => format!("{}{which:?}", side.entry.key),
            Ok(Joined::Unknown) => "?".to_owned(),
            Ok(Joined::Failed(which, error)) => format!("{}!{which:?}", error.key),
            Err(error) => error.message,
        };
        Join::new(items(a), items(b)).map(text).collect()
    }

    #[test]
    fn keys_come_in_order_with_the_sides_that_have_them() {
        let found = joined(&["", "a", "b/", "b/x", "d"], &["", "a-b", "b/", "c"]);
        assert_eq!(found, [".=", "aA", "a-bB", "b/=", "b/xA", "cB", "dA"]);
        assert_eq!(joined(&[], &["a"]), ["aB"]);
    }

    #[test]
    fn a_file_and_a_directory_of_one_name_are_two_keys() {
        assert_eq!(joined(&["a", "a.c"], &["a.c", "a/", "a/b"]), ["aA", "a.c=", "a/B", "a/bB"]);
    }

    #[test]
    fn keys_that_the_other_side_could_not_list_are_no_difference() {
        let a = &["", "d/", "d/x", "d/y/", "e", "f"];
        assert_eq!(joined(a, &["", "d/", "!d/", "e"]), [".=", "d/=", "d/!B", "?", "?", "e=", "fA"]);
        assert_eq!(joined(&["a", "b"], &["!a"]), ["a!B", "?", "bA"]);
        assert_eq!(joined(&["!a"], &["a"]), ["a!A", "?"]);
        assert_eq!(joined(&["a", "b", "c"], &["a", "!"]), ["a=", ".!B", "?", "?"]);
    }

    #[test]
    fn a_directory_that_could_not_be_read_is_itself_compared() {
        assert_eq!(joined(&["d/", "!d/"], &["d/", "d/x", "g"]), ["d/=", "d/!A", "?", "gB"]);
    }

    #[test]
    fn an_error_of_either_side_is_passed_on() {
        assert_eq!(joined(&["a", "broken"], &["a", "b"])[..2], ["a=", "broken"]);
        assert_eq!(joined(&["b"], &["broken"])[0], "broken");
    }

    #[test]
    fn failed_scopes_are_dropped_once_passed() {
        let keys = (0..10_000).map(|at| format!("{at:05}"));
        let failed = keys.map(|key| {
            let key = Key::new(key.as_bytes());
            Ok(Item::Failed(EntryError::on_source(Operation::List, key, Cause::Vanished)))
        });
        let mut join = Join::new(Box::new(failed.collect::<Vec<_>>().into_iter()), items(&["z"]));
        while let Some(joined) = join.next() {
            joined.unwrap();
            assert!(join.a.unknown.len() <= 2, "{}", join.a.unknown.len());
        }
    }
}
