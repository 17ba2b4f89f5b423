//! Listings of a tree in memory. The names of a directory are read when it is entered; each entry
//! is looked up when its turn comes.

use super::{Call, Memory};
use crate::backend::{ListItem, ListOptions, Listing};
use crate::filter::Filter;
use crate::model::error::Side;
use crate::model::reserved::{DIRECTORY, is_set_aside, is_temporary};
use crate::model::{Cause, EntryError, Error, Key, Operation};
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::IntoIter;

/// A walk in key order.
struct Walk {
    memory: Memory,
    side: Side,
    filter: Arc<Filter>,
    /// Entries still to visit in each directory on the way down.
    levels: Vec<IntoIter<Key>>,
    /// Items to return before those.
    next: VecDeque<ListItem>,
}

/// Lists a tree; see [`Source::list`](crate::backend::Source::list).
pub(super) fn list(memory: &Memory, side: Side, options: &ListOptions) -> Listing {
    let mut walk = Walk::new(memory, side, options);
    if let Some(name) = &options.only {
        let found = memory.disk().existing_key(name);
        walk.levels.push(Vec::from_iter(found).into_iter());
    } else {
        walk.visit(Key::root());
    }
    Box::new(walk.map(Ok::<_, Error>))
}

/// Lists one name; see [`Source::list_name`](crate::backend::Source::list_name).
pub(super) fn list_name(
    memory: &Memory,
    side: Side,
    name: &[u8],
    options: &ListOptions,
) -> Vec<ListItem> {
    let mut walk = Walk::new(memory, side, options);
    let found = if name.is_empty() { Some(Key::root()) } else { memory.disk().existing_key(name) };
    let Some(found) = found.filter(|found| !is_own(found)) else { return Vec::new() };
    let is_directory = found.is_directory() && !found.is_root();
    walk.visit(found);
    if !is_directory {
        walk.levels.clear();
    }
    // A leaf that was set aside keeps the directory from being removed, too.
    let keeps_directory = |item: &ListItem| match item {
        ListItem::Leftover(key) => is_set_aside(key.name()),
        _ => true,
    };
    let itself: Vec<_> = walk.next.drain(..).collect();
    let first = walk.find(keeps_directory);
    itself.into_iter().chain(first).collect()
}

/// Returns whether the key is vidimus's own directory, which is never listed.
fn is_own(key: &Key) -> bool {
    key.parent().is_empty() && key.name() == DIRECTORY.as_bytes()
}

impl Walk {
    fn new(memory: &Memory, side: Side, options: &ListOptions) -> Self {
        Self {
            memory: memory.clone(),
            side,
            filter: Arc::clone(&options.filter),
            levels: Vec::new(),
            next: VecDeque::new(),
        }
    }

    fn error(&self, key: Key, cause: Cause) -> EntryError {
        EntryError::new(Operation::List, self.side, key, cause)
    }

    /// Looks up an entry and, if it is a directory, reads the names in it.
    fn visit(&mut self, key: Key) {
        if is_temporary(key.name()) {
            self.next.push_back(match self.side {
                Side::Target => ListItem::Leftover(key),
                Side::Source => ListItem::Failed(self.error(key, Cause::ReservedName)),
            });
            return;
        }
        let found = match self.memory.call(Call::ListEntry, &key) {
            Ok(disk) => disk.entry(&key),
            Err(cause) => {
                self.levels.clear();
                self.next.push_back(ListItem::BrokeOff(self.error(Key::root(), cause)));
                return;
            }
        };
        let Some(entry) = found else {
            self.next.push_back(ListItem::Failed(self.error(key, Cause::Vanished)));
            return;
        };
        self.next.push_back(ListItem::Entry(entry));
        if !key.is_directory() {
            return;
        }
        let children = self.memory.call(Call::List, &key).map(|disk| disk.children(&key));
        match children {
            Ok(mut children) => {
                let is_listed = |key: &Key| match self.filter.names() {
                    Some(names) => names.takes(key),
                    None => true,
                };
                let takes = |key: &Key| {
                    is_listed(key) && (is_temporary(key.name()) || !self.filter.excludes(key))
                };
                children.retain(|child| !is_own(child) && takes(child));
                self.levels.push(children.into_iter());
            }
            Err(cause) => self.next.push_back(ListItem::Failed(self.error(key, cause))),
        }
    }
}

impl Iterator for Walk {
    type Item = ListItem;

    fn next(&mut self) -> Option<ListItem> {
        loop {
            if let Some(item) = self.next.pop_front() {
                return Some(item);
            }
            match self.levels.last_mut()?.next() {
                Some(key) => self.visit(key),
                None => {
                    self.levels.pop();
                }
            }
        }
    }
}
