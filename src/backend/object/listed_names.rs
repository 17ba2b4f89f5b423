//! Listing the names that a run is limited to, by a request or two each, without listing the rest.
//!
//! A few threads ask for one key each in turn, and the listing takes their answers in the order of
//! the keys. Each thread is at most [`ANSWERS_AHEAD`] items ahead of that.

use super::cause::cause;
use super::habits::Habits;
use super::list::Entries;
use super::page_cursor::Lister;
use super::pages;
use super::prefix::BucketPrefix;
use super::{ListQuery, Listed, Page, StoreError};
use crate::backend::{KeySpace, ListItem, ListOptions, Listing};
use crate::filter::{Filter, Missing, NameForm, NameList};
use crate::model::error::Side;
use crate::model::{Cause, EntryError, Error, ErrorKind, Key, Notice, Operation};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::path::Path;
use std::sync::Arc;

/// Threads that ask for keys.
const ASKING: usize = 8;
/// Items that a thread has ready before they are taken.
const ANSWERS_AHEAD: usize = 64;

/// Lists the names of a list, and the directories above them.
pub(super) fn list(
    place: &Arc<BucketPrefix>,
    side: Side,
    names: &Arc<NameList>,
    options: &ListOptions,
) -> Result<Listing, Error> {
    let key_space = options.key_space;
    let form = match key_space {
        KeySpace::Tree => NameForm::Path,
        KeySpace::Flat => NameForm::Key,
    };
    let keys: Arc<[(Key, bool)]> = names.keys(form).into();
    let asking = ASKING.min(keys.len()).max(1);
    let mut answers = Vec::with_capacity(asking);
    for first in 0..asking {
        let (sender, receiver) = bounded(ANSWERS_AHEAD);
        let asker = Asker {
            place: Arc::clone(place),
            side,
            names: Arc::clone(names),
            filter: Arc::clone(&options.filter),
            key_space,
            sender,
        };
        let keys = Arc::clone(&keys);
        std::thread::Builder::new()
            .name(format!("list-{side}"))
            .spawn(move || {
                let mut turns = keys.iter().skip(first).step_by(asking);
                // Nobody takes more once the receiver is gone.
                turns.try_for_each(|(key, is_whole)| asker.answer(key, *is_whole)).ok();
            })
            .map_err(|error| {
                Error::new(ErrorKind::Unusable, "cannot start a thread").because(error)
            })?;
        answers.push(receiver);
    }
    Ok(Box::new(Answers { askers: answers, next: 0, remaining: keys.len(), side }))
}

/// An item about a key, or the end of all items about it.
enum Answer {
    Item(Box<ListItem>),
    End,
}

/// The reader of the listing is gone.
struct Gone;

/// Asks the store for keys.
struct Asker {
    place: Arc<BucketPrefix>,
    side: Side,
    names: Arc<NameList>,
    filter: Arc<Filter>,
    key_space: KeySpace,
    sender: Sender<Answer>,
}

impl Asker {
    fn answer(&self, key: &Key, is_whole: bool) -> Result<(), Gone> {
        if !self.filter.excludes_within(key) {
            if is_whole {
                self.whole(key)?;
            } else if let Some(item) = self.one(key).unwrap_or_else(|cause| self.failed(key, cause))
            {
                self.send(item)?;
            }
        }
        self.sender.send(Answer::End).map_err(|_| Gone)
    }

    fn send(&self, item: ListItem) -> Result<(), Gone> {
        self.sender.send(Answer::Item(Box::new(item))).map_err(|_| Gone)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for an answer")]
    fn failed(&self, key: &Key, cause: Cause) -> Option<ListItem> {
        let error = EntryError::new(Operation::List, self.side, key.clone(), cause);
        Some(ListItem::Failed(error))
    }

    /// Returns the item for a key alone.
    fn one(&self, key: &Key) -> Result<Option<ListItem>, Cause> {
        let is_root = self.key_space == KeySpace::Tree && key.is_root();
        let first = self.first(key)?;
        let is_leaf = self.key_space == KeySpace::Flat || !key.is_directory();
        let objects: Vec<_> = first
            .into_iter()
            .filter(|object| {
                !is_leaf || object.key.len() == self.place.prefix.len() + key.as_bytes().len()
            })
            .collect();
        let is_listed = self.names.covers(key);
        if objects.is_empty() && !is_root {
            let is_missing = self.side == Side::Source
                && is_leaf
                && is_listed
                && self.names.missing == Missing::Fails
                && (self.key_space == KeySpace::Flat || self.first(&as_directory(key))?.is_none());
            return Ok(is_missing.then(|| self.failed(key, Cause::NotInSource)).flatten());
        }
        if is_leaf && !is_listed && self.side == Side::Source {
            // An object of the name of a directory in which names are listed.
            return Ok(None);
        }
        let objects = Box::new(objects.into_iter().map(Ok));
        let mut entries = self.entries(objects, is_root);
        let found = entries.find(|item| item.as_ref().map_or(true, |item| item.key() == key));
        found.transpose().map_err(|error| Cause::Other(error.to_string()))
    }

    /// Lists a directory with everything in it; in flat form, all keys that begin with `key`.
    fn whole(&self, key: &Key) -> Result<(), Gone> {
        let prefix: Box<[u8]> = [&*self.place.prefix, key.as_bytes()].concat().into();
        let page = self.place.store.list(&ListQuery { prefix: &prefix, ..ListQuery::default() });
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                return self.failed(key, cause(&error)).map_or(Ok(()), |item| self.send(item));
            }
        };
        let lister = Arc::new(Below { place: Arc::clone(&self.place), prefix });
        let is_missing = page.objects.is_empty() && page.next.is_none();
        let fails = self.side == Side::Source && self.names.missing == Missing::Fails;
        if is_missing && !key.is_root() {
            // In a tree the leaf of this name was asked for by itself.
            let leaf = Key::new(key.trimmed());
            let is_tree = self.key_space == KeySpace::Tree;
            let has_leaf = || {
                is_tree
                    && self.first(&leaf).is_ok_and(|first| {
                        first.is_some_and(|object| {
                            object.key.len() == self.place.prefix.len() + leaf.as_bytes().len()
                        })
                    })
            };
            return match self.failed(key, Cause::NotInSource).filter(|_| fails && !has_leaf()) {
                Some(item) => self.send(item),
                None => Ok(()),
            };
        }
        let objects = match pages::objects(lister, page) {
            Ok(objects) => objects,
            Err(error) => {
                let cause = Cause::from(error);
                return self.failed(key, cause).map_or(Ok(()), |item| self.send(item));
            }
        };
        let has_root = self.key_space == KeySpace::Tree && key.is_root();
        for item in self.entries(objects, has_root) {
            let item = match item {
                // The rest of the directory is unknown.
                Ok(ListItem::BrokeOff(error)) => {
                    ListItem::Failed(EntryError { key: key.clone(), ..error })
                }
                Ok(item) => item,
                Err(error) => match self.failed(key, Cause::Other(error.to_string())) {
                    Some(item) => item,
                    None => continue,
                },
            };
            if item.key() == key || item.key().is_within(key.as_bytes()) {
                self.send(item)?;
            }
        }
        Ok(())
    }

    fn entries(&self, objects: pages::Objects, has_root: bool) -> Entries {
        let filter = Arc::clone(&self.filter);
        Entries::new(&self.place, self.side, filter, self.key_space, objects, has_root)
    }

    /// Returns the first object whose key begins with `key`.
    fn first(&self, key: &Key) -> Result<Option<Listed>, Cause> {
        let prefix = [&*self.place.prefix, key.as_bytes()].concat();
        let query = ListQuery { prefix: &prefix, limit: Some(1), ..ListQuery::default() };
        let page = self.place.store.list(&query).map_err(|error| cause(&error))?;
        Ok(page.objects.into_iter().next())
    }
}

fn as_directory(leaf: &Key) -> Key {
    Key::child(leaf.parent(), leaf.name(), true)
}

/// The listing of a directory of a place.
struct Below {
    place: Arc<BucketPrefix>,
    prefix: Box<[u8]>,
}

impl Lister for Below {
    fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn page(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        self.place.page(query)
    }

    fn habits(&self) -> Option<&Habits> {
        self.place.habits()
    }

    fn add_notice(&self, notice: Notice) {
        Lister::add_notice(&*self.place, notice);
    }

    fn spool_dir(&self) -> &Arc<Path> {
        self.place.spool_dir()
    }
}

/// The answers, in the order of the keys.
struct Answers {
    askers: Vec<Receiver<Answer>>,
    /// Whose turn it is.
    next: usize,
    /// Keys that are not answered yet.
    remaining: usize,
    side: Side,
}

impl Iterator for Answers {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.remaining > 0 {
            match self.askers[self.next].recv() {
                Ok(Answer::Item(item)) => return Some(Ok(*item)),
                Ok(Answer::End) => {
                    self.remaining -= 1;
                    self.next = (self.next + 1) % self.askers.len();
                }
                Err(_) => {
                    self.remaining = 0;
                    let message = format!("the listing of the {} broke off", self.side);
                    return Some(Err(Error::new(ErrorKind::Unusable, message)));
                }
            }
        }
        None
    }
}
