//! The join: combines source listing, target listing and recorded rows, all in key order, to pairs.
//!
//! Unknown is not absent: a key that a listing lacks in a scope that it could not see is
//! [`Seen::Unknown`]. A leaf `a` and a directory `a/` aren't adjacent in this order (`a-b` comes
//! between). So a leaf is kept waiting while keys follow that begin with its own. At most one leaf
//! for each byte of a key waits.

use super::{RecordedRows, RowCursor};
use crate::backend::{KeySpace, ListItem};
use crate::listing::Unknown;
use crate::manifest::{Row, SourceNumber};
use crate::model::reserved::is_set_aside;
use crate::model::{Entry, EntryError, Error, Key};
use std::collections::VecDeque;
use std::iter::Fuse;

/// What one side has at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Certainly nothing.
    Absent,
    /// It could not be listed.
    Unknown,
    /// This entry.
    Present(Entry),
}

impl Seen {
    /// Returns the entry, if there is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Present(entry) => Some(entry),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// A conflict of a leaf and a directory with the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The source has a leaf where the target has a directory.
    LeafOverDirectory {
        /// Whether the target's listing shows nothing in the directory.
        empty: bool,
    },
    /// The source has a directory where the target has this leaf.
    DirectoryOverLeaf(Entry),
    /// The target has this leaf as well as the directory that the source has: in a store both can
    /// exist. The leaf was set aside, and the directory has never been complete since.
    LeafBesideDirectory,
    /// The source has both.
    Both,
}

/// Everything that is known about one key.
#[derive(Debug)]
pub struct Pair {
    /// The key.
    pub key: Key,
    /// What the source has.
    pub source: Seen,
    /// What the target has.
    pub target: Seen,
    /// The recorded row.
    pub row: Option<Row>,
    /// The conflict of a leaf and a directory, if there is one.
    pub conflict: Option<Conflict>,
}

impl Pair {
    /// Completes entries from the row where their stamp is the recorded one; the source's entry
    /// only if the row is of that source.
    fn learn(&mut self, from: SourceNumber) {
        let Some(row) = &self.row else { return };
        if let Seen::Present(entry) = &mut self.source
            && row.from == from
        {
            row.complete(&row.source, entry);
        }
        if let Seen::Present(entry) = &mut self.target {
            row.complete(&row.target, entry);
        }
    }
}

/// An item that the join yields.
#[derive(Debug)]
pub enum Joined {
    /// A key to decide on.
    Pair(Box<Pair>),
    /// A regular file of the source that a row shows to be unchanged on both sides.
    Unchanged(Box<Entry>),
    /// A scope that could not be listed.
    Failed(EntryError),
    /// A listing broke off: even keys that it lacked before that may exist.
    BrokeOff(EntryError),
    /// A temporary file of a killed run, in the target.
    Leftover(Key),
    /// A key that is left out, with the reason.
    LeftOut(Key, String),
    /// The target has a file system mounted on the directory whose pair came before.
    MountPoint(Key),
}

impl Joined {
    /// Returns the key that the item is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Pair(pair) => &pair.key,
            Self::Unchanged(entry) => &entry.key,
            Self::Failed(error) | Self::BrokeOff(error) => &error.key,
            Self::Leftover(key) | Self::LeftOut(key, _) | Self::MountPoint(key) => key,
        }
    }
}

/// The join of three ordered streams.
pub struct Join<S, T, R> {
    source: Stream<S>,
    target: Stream<T>,
    rows: R,
    from: SourceNumber,
    key_space: KeySpace,
    /// Leaves whose directory may follow, each key a prefix of the next one.
    waiting: Vec<Pair>,
    ready: VecDeque<Joined>,
    ended: bool,
}

/// The most items other than entries that a listing is read ahead. There may be millions in a row,
/// for instance keys of a store that no directory can have.
const READ_AHEAD: usize = 64;

/// The listing of one side, read ahead to its next entry.
struct Stream<I> {
    items: Fuse<I>,
    next: Option<Entry>,
    /// Items before that entry that are none; each is yielded when the cursor reaches its key.
    waiting: VecDeque<Joined>,
    unknown: Unknown,
}

impl<I: Iterator<Item = Result<ListItem, Error>>> Stream<I> {
    fn new(items: I) -> Result<Self, Error> {
        let (items, waiting) = (items.fuse(), VecDeque::new());
        let mut stream = Self { items, next: None, waiting, unknown: Unknown::default() };
        stream.advance()?;
        Ok(stream)
    }

    /// Reads up to the next entry. After [`READ_AHEAD`] other items it stops at one whose scope is
    /// unknown, so that questions about its directory are answered with unknown.
    fn advance(&mut self) -> Result<(), Error> {
        self.next = None;
        for item in self.items.by_ref() {
            let is_scope = matches!(
                item,
                Ok(ListItem::BrokeOff(_) | ListItem::Failed(_) | ListItem::LeftOut(..))
            );
            match item? {
                ListItem::Entry(entry) => {
                    self.next = Some(entry);
                    return Ok(());
                }
                ListItem::BrokeOff(error) => {
                    self.unknown.add(error.key.clone());
                    self.waiting.push_back(Joined::BrokeOff(error));
                }
                ListItem::Failed(error) => {
                    self.unknown.add(error.key.clone());
                    self.waiting.push_back(Joined::Failed(error));
                }
                ListItem::Leftover(key) => self.waiting.push_back(Joined::Leftover(key)),
                ListItem::MountPoint(key) => self.waiting.push_back(Joined::MountPoint(key)),
                ListItem::Excluded(key) => {
                    // It isn't worth an item, and there may be many of them in a row.
                    self.unknown.add(key);
                    continue;
                }
                ListItem::Ignores(_, rules) => {
                    self.unknown.add_excluded(rules);
                    continue;
                }
                ListItem::LeftOut(key, why) => {
                    // Unknown on this side, so that it is never deleted on the other one.
                    self.unknown.add(key.clone());
                    self.waiting.push_back(Joined::LeftOut(key, why));
                }
            }
            if is_scope && self.waiting.len() >= READ_AHEAD {
                break;
            }
        }
        Ok(())
    }

    /// Takes an item at `key` that precedes any entry.
    fn take_waiting(&mut self, key: &Key) -> Result<Option<Joined>, Error> {
        let waiting = self.waiting.pop_front_if(|joined| joined.key() == key);
        if waiting.is_some() && self.waiting.is_empty() && self.next.is_none() {
            self.unknown.leave(key);
            self.advance()?;
        }
        Ok(waiting)
    }

    /// Returns whether a leaf was set aside in a directory: it is no entry, but must not be lost.
    fn keeps_in(&self, directory: &Key) -> bool {
        self.waiting
            .iter()
            .take_while(|item| item.key().is_within(directory.as_bytes()))
            .any(|item| matches!(item, Joined::Leftover(key) if is_set_aside(key.name())))
    }

    /// Returns the next key.
    fn next_key(&self) -> Option<&Key> {
        let waiting = self.waiting.front().map(Joined::key);
        waiting.or(self.next.as_ref().map(|entry| &entry.key))
    }

    /// Takes the entry at `key`, or returns why there is none.
    fn take(&mut self, key: &Key) -> Result<Seen, Error> {
        // A failure of the same key may follow its entry: read on before that is asked for.
        if self.next.as_ref().is_some_and(|entry| entry.key == *key) {
            let entry = self.next.take();
            self.advance()?;
            return Ok(entry.map_or(Seen::Absent, Seen::Present));
        }
        self.unknown.leave(key);
        Ok(if self.unknown.covers(key) { Seen::Unknown } else { Seen::Absent })
    }
}

impl<S, T, R> Join<S, T, R>
where
    S: Iterator<Item = Result<ListItem, Error>>,
    T: Iterator<Item = Result<ListItem, Error>>,
    R: RowCursor,
{
    /// Starts to join listings with keys of `key_space` and recorded rows.
    ///
    /// # Errors
    /// If the first item of a stream is an error.
    pub fn new(
        source: S,
        target: T,
        recorded: RecordedRows<R>,
        key_space: KeySpace,
    ) -> Result<Self, Error> {
        let (source, target) = (Stream::new(source)?, Stream::new(target)?);
        let RecordedRows { mut rows, from } = recorded;
        rows.advance()?;
        Ok(Self {
            source,
            target,
            rows,
            from,
            key_space,
            waiting: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        })
    }

    fn step(&mut self) -> Result<(), Error> {
        if self.step_over_unchanged()? {
            return Ok(());
        }
        let listed = [self.source.next_key(), self.target.next_key()];
        let next = listed.map(|key| key.map(Key::as_bytes)).into_iter().chain([self.rows.key()]);
        let Some(key) = next.flatten().min().map(Key::new) else {
            self.release(None);
            self.ended = true;
            return Ok(());
        };
        self.release(Some(&key));
        let waiting = match self.source.take_waiting(&key)? {
            None => self.target.take_waiting(&key)?,
            waiting => waiting,
        };
        if waiting.is_some() {
            self.ready.extend(waiting);
            return Ok(());
        }
        let source = self.source.take(&key)?;
        let target = self.target.take(&key)?;
        let has_row = self.rows.key() == Some(key.as_bytes());
        let row = if has_row { self.rows.take()? } else { None };
        let mut pair = Pair { key, source, target, row, conflict: None };
        pair.learn(self.from);
        if self.key_space == KeySpace::Flat {
            self.ready.push_back(Joined::Pair(Box::new(pair)));
        } else if pair.key.is_directory() {
            self.directory(pair);
        } else {
            self.leaf(pair);
        }
        Ok(())
    }

    /// Yields the next key if it is that of a file which is certainly unchanged. Most are in most
    /// runs, so that neither a pair is made of them nor the row decoded. Returns whether it was.
    fn step_over_unchanged(&mut self) -> Result<bool, Error> {
        let (Some(source), Some(target)) = (&self.source.next, &self.target.next) else {
            return Ok(false);
        };
        let is_next = source.key == target.key
            && self.rows.key() == Some(source.key.as_bytes())
            && self.source.waiting.is_empty()
            && self.target.waiting.is_empty();
        if !is_next || !self.rows.shows_unchanged(source, target) {
            return Ok(false);
        }
        let (Some(source), Some(target)) = (self.source.next.take(), self.target.next.take())
        else {
            return Ok(false);
        };
        self.release(Some(&source.key));
        self.source.advance()?;
        self.target.advance()?;
        if self.key_space == KeySpace::Tree && self.directory_may_follow(&source.key) {
            let (key, row) = (source.key.clone(), self.rows.take()?);
            let (source, target) = (Seen::Present(source), Seen::Present(target));
            self.waiting.push(Pair { key, source, target, row, conflict: None });
        } else {
            self.rows.advance()?;
            self.ready.push_back(Joined::Unchanged(Box::new(source)));
        }
        Ok(true)
    }

    /// Yields waiting leaves whose keys `cursor` doesn't begin with.
    fn release(&mut self, cursor: Option<&Key>) {
        while let Some(leaf) = self.waiting.last() {
            if cursor.is_some_and(|cursor| cursor.as_bytes().starts_with(leaf.key.as_bytes())) {
                break;
            }
            if let Some(mut pair) = self.waiting.pop() {
                self.mark_unknown(&mut pair, &Seen::Absent, &Seen::Absent);
                self.ready.push_back(Joined::Pair(Box::new(pair)));
            }
        }
    }

    /// Makes an absent leaf unknown if a failure that came later covers it: one of `a/` comes after
    /// `a-b` and covers `a` too. A side that has the directory has no such leaf.
    fn mark_unknown(&self, leaf: &mut Pair, source: &Seen, target: &Seen) {
        let sides = [
            (&mut leaf.source, source, &self.source.unknown),
            (&mut leaf.target, target, &self.target.unknown),
        ];
        for (seen, directory, unknown) in sides {
            if *seen == Seen::Absent && directory.entry().is_none() && unknown.covers(&leaf.key) {
                *seen = Seen::Unknown;
            }
        }
    }

    fn leaf(&mut self, pair: Pair) {
        if self.directory_may_follow(&pair.key) {
            self.waiting.push(pair);
        } else {
            self.ready.push_back(Joined::Pair(Box::new(pair)));
        }
    }

    /// Returns whether a directory with the name of a leaf may follow: keys between `a` and `a/`
    /// begin with `a`, so that no such directory follows if neither listing continues with such a
    /// key.
    fn directory_may_follow(&self, leaf: &Key) -> bool {
        let next = [self.source.next_key(), self.target.next_key()];
        next.into_iter().flatten().any(|next| next.is_within(leaf.as_bytes()))
    }

    fn directory(&mut self, mut pair: Pair) {
        // The leaf of this name is the last one, if it waits: the keys of all others are shorter.
        let at = self.waiting.iter().rposition(|leaf| leaf.key.as_bytes() == pair.key.trimmed());
        if let Some(at) = at {
            let mut leaf = self.waiting.remove(at);
            self.mark_unknown(&mut leaf, &pair.source, &pair.target);
            match (leaf.source.entry(), leaf.target.entry(), &pair.source, &pair.target) {
                (Some(_), _, Seen::Present(_), _) => {
                    leaf.conflict = Some(Conflict::Both);
                    pair.conflict = Some(Conflict::Both);
                }
                (Some(_), Some(_), _, Seen::Present(_)) => {
                    leaf.conflict = Some(Conflict::LeafOverDirectory { empty: false });
                }
                (None, Some(_), Seen::Present(_), Seen::Present(_)) => {
                    leaf.conflict = Some(Conflict::LeafBesideDirectory);
                }
                (Some(_), None, _, Seen::Present(_)) => {
                    let next = self.target.next.as_ref();
                    let listed = next.is_some_and(|next| next.key.is_within(pair.key.as_bytes()));
                    let unknown = self.target.unknown.is_within(&pair.key);
                    let empty = !listed && !unknown && !self.target.keeps_in(&pair.key);
                    leaf.conflict = Some(Conflict::LeafOverDirectory { empty });
                    if empty {
                        // The leaf's step removes the directory, after it was swept.
                        pair.target = Seen::Absent;
                        while let Some(Joined::Leftover(key)) = self.target.waiting.front()
                            && key.is_within(pair.key.as_bytes())
                        {
                            self.ready.extend(self.target.waiting.pop_front());
                        }
                    }
                }
                (None, Some(_), Seen::Present(_), _) => {
                    if let Seen::Present(entry) = leaf.target {
                        pair.conflict = Some(Conflict::DirectoryOverLeaf(entry));
                        leaf.target = Seen::Absent;
                    }
                }
                _ => {}
            }
            self.ready.push_back(Joined::Pair(Box::new(leaf)));
        }
        self.ready.push_back(Joined::Pair(Box::new(pair)));
    }
}

impl<S, T, R> Iterator for Join<S, T, R>
where
    S: Iterator<Item = Result<ListItem, Error>>,
    T: Iterator<Item = Result<ListItem, Error>>,
    R: RowCursor,
{
    type Item = Result<Joined, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(joined) = self.ready.pop_front() {
                return Some(Ok(joined));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.step() {
                self.ended = true;
                self.waiting.clear();
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
