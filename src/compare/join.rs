//! The join: source listing, target listing and manifest rows, three streams in one order, to
//! pairs.
//!
//! Unknown is not absent: below a scope that a listing could not see, a key that it lacks is
//! [`Seen::Unknown`]. A leaf `a` and a directory `a/` are not neighbours in the order (`a-b` lies
//! between), so a leaf that is followed by a key that begins with it is held back until the cursor
//! leaves such keys; at most one leaf for each byte of a key is held.

use crate::backend::{KeySpace, ListItem};
use crate::listing::Unknown;
use crate::manifest::{Row, SourceNumber};
use crate::model::reserved::is_set_aside;
use crate::model::{Entry, EntryError, Error, Key};
use std::collections::VecDeque;
use std::iter::Fuse;

/// What is recorded of the target.
pub struct RecordedRows<R> {
    /// Rows in key order.
    pub rows: R,
    /// What those from the source of this run name it by: they tell of the source, too.
    pub from: SourceNumber,
}

/// What one side has at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, for certain.
    Absent,
    /// It could not be listed.
    Unknown,
    /// This.
    Present(Entry),
}

impl Seen {
    /// The entry, if there is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Present(entry) => Some(entry),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// A leaf and a directory claim one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The source has a leaf where the target has a directory.
    LeafOverDirectory {
        /// Whether the listing shows nothing in that directory.
        empty: bool,
    },
    /// The source has a directory where the target has this leaf.
    DirectoryOverLeaf(Entry),
    /// The target has this leaf beside the directory that the source has: it was in a store, where
    /// both have their place, and that directory was never whole since.
    LeafBesideDirectory,
    /// The source has both.
    Both,
}

/// What is known of one key.
#[derive(Debug)]
pub struct Pair {
    /// The key.
    pub key: Key,
    /// What the source has.
    pub source: Seen,
    /// What the target has.
    pub target: Seen,
    /// What the manifest recorded.
    pub row: Option<Row>,
    /// Whether a leaf and a directory claim its name.
    pub conflict: Option<Conflict>,
}

impl Pair {
    /// Adds what the row tells of entries that were only listed, where it was made of the same
    /// stamp; of the source's only where it is a row of that.
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

/// What the join yields.
#[derive(Debug)]
pub enum Joined {
    /// A key to decide on.
    Pair(Box<Pair>),
    /// A scope that could not be listed.
    Failed(EntryError),
    /// A listing broke off: what it lacked until then may be there as well.
    BrokeOff(EntryError),
    /// A temporary of a killed run, in the target.
    Leftover(Key),
    /// Something left out, with why.
    LeftOut(Key, String),
}

impl Joined {
    /// The key that it speaks of.
    pub fn key(&self) -> &Key {
        match self {
            Self::Pair(pair) => &pair.key,
            Self::Failed(error) | Self::BrokeOff(error) => &error.key,
            Self::Leftover(key) | Self::LeftOut(key, _) => key,
        }
    }
}

/// Joins three ordered streams.
pub struct Join<S, T, R> {
    source: Stream<S>,
    target: Stream<T>,
    rows: R,
    row: Option<Row>,
    from: SourceNumber,
    key_space: KeySpace,
    held: Vec<Pair>,
    ready: VecDeque<Joined>,
    ended: bool,
}

/// How many items that are no entries a listing is read ahead by: there may be millions in a row,
/// keys of a store that no directory can hold say.
const AHEAD: usize = 64;

/// One side's listing, an entry ahead.
struct Stream<I> {
    items: Fuse<I>,
    next: Option<Entry>,
    /// What stands before it and is no entry; said when the cursor comes to it.
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

    /// Fetches the next entry, and what stands before it. Where that is too much, it ends in a
    /// scope that is unknown: what is asked of the directory that holds it is answered by that.
    fn advance(&mut self) -> Result<(), Error> {
        self.next = None;
        for item in self.items.by_ref() {
            let is_scope = !matches!(item, Ok(ListItem::Entry(_) | ListItem::Leftover(_)));
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
                ListItem::LeftOut(key, why) => {
                    // What isn't looked at is unknown on this side: never deleted on the other's.
                    self.unknown.add(key.clone());
                    self.waiting.push_back(Joined::LeftOut(key, why));
                }
            }
            if is_scope && self.waiting.len() >= AHEAD {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is to be said at `key` before any entry.
    fn take_waiting(&mut self, key: &Key) -> Result<Option<Joined>, Error> {
        let waiting = self.waiting.pop_front_if(|joined| joined.key() == key);
        if waiting.is_some() && self.waiting.is_empty() && self.next.is_none() {
            self.unknown.leave(key);
            self.advance()?;
        }
        Ok(waiting)
    }

    /// Whether something was set aside in a directory: it is no entry, and yet it isn't to be lost.
    fn keeps_in(&self, directory: &Key) -> bool {
        self.waiting
            .iter()
            .take_while(|item| item.key().is_within(directory.as_bytes()))
            .any(|item| matches!(item, Joined::Leftover(key) if is_set_aside(key.name())))
    }

    /// The first key that is still to come.
    fn next_key(&self) -> Option<&Key> {
        let waiting = self.waiting.front().map(Joined::key);
        waiting.or(self.next.as_ref().map(|entry| &entry.key))
    }

    /// Takes the entry at `key`, or says why there is none.
    fn take(&mut self, key: &Key) -> Result<Seen, Error> {
        // A failure of this very key may stand behind its entry: fetch on before asking.
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
    R: Iterator<Item = Result<Row, Error>>,
{
    /// Begins a join of listings whose keys have this form with what is recorded.
    ///
    /// # Errors
    /// When a stream's first item is an error.
    pub fn new(
        source: S,
        target: T,
        recorded: RecordedRows<R>,
        key_space: KeySpace,
    ) -> Result<Self, Error> {
        let (source, target) = (Stream::new(source)?, Stream::new(target)?);
        let RecordedRows { mut rows, from } = recorded;
        let row = rows.next().transpose()?;
        Ok(Self {
            source,
            target,
            rows,
            row,
            from,
            key_space,
            held: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        })
    }

    fn step(&mut self) -> Result<(), Error> {
        let next =
            [self.source.next_key(), self.target.next_key(), self.row.as_ref().map(|row| &row.key)];
        let Some(key) = next.into_iter().flatten().min().cloned() else {
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
        let row = match &self.row {
            Some(row) if row.key == key => {
                let next = self.rows.next().transpose()?;
                std::mem::replace(&mut self.row, next)
            }
            _ => None,
        };
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

    /// Lets go of held leaves whose keys the cursor has left.
    fn release(&mut self, cursor: Option<&Key>) {
        while let Some(held) = self.held.last() {
            if cursor.is_some_and(|cursor| cursor.as_bytes().starts_with(held.key.as_bytes())) {
                break;
            }
            if let Some(mut pair) = self.held.pop() {
                self.doubt(&mut pair, &Seen::Absent, &Seen::Absent);
                self.ready.push_back(Joined::Pair(Box::new(pair)));
            }
        }
    }

    /// Takes a held leaf's absence back where the directory of its name, or what it is by now,
    /// turned out since to be unknown: a failure of `a/` comes behind `a-b`, and speaks of `a` too.
    /// A side that has the directory has no such leaf.
    fn doubt(&self, leaf: &mut Pair, source: &Seen, target: &Seen) {
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
        // What sorts between `a` and `a/` begins with `a`: where neither listing goes on with such
        // a key, no directory of this name comes.
        let goes_on = [self.source.next_key(), self.target.next_key()]
            .into_iter()
            .flatten()
            .any(|next| next.is_within(pair.key.as_bytes()));
        if goes_on {
            self.held.push(pair);
        } else {
            self.ready.push_back(Joined::Pair(Box::new(pair)));
        }
    }

    fn directory(&mut self, mut pair: Pair) {
        // The leaf of this name, if held, is the innermost: all others held are shorter prefixes.
        let at = self.held.iter().rposition(|held| held.key.as_bytes() == pair.key.trimmed());
        if let Some(at) = at {
            let mut leaf = self.held.remove(at);
            self.doubt(&mut leaf, &pair.source, &pair.target);
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
                        // The leaf's step removes it, once it is swept.
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
    R: Iterator<Item = Result<Row, Error>>,
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
                self.held.clear();
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
