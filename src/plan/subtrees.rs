//! Directories that the source has under another name than before: they are renamed in the target
//! when all steps are done, if the target's directory is deleted otherwise. Only then is what is in
//! them compared.

use super::moves::{MovedFrom, follow};
use super::{DeletionTally, spool_error};
use crate::backend::ListItem;
use crate::model::reserved::DIRECTORY;
use crate::model::{Entry, EntryError, EntryKind, Error, Key, Stamp};
use crate::spool::{Sorted, Sorter, Spool, SpoolReader, push_key, split_key};
use std::path::{Path, PathBuf};

/// The most directories that wait at a time: each may keep a file open. More are made anew.
const WAITING: usize = 64;
/// In bytes: as much of the entries of each stays in memory.
const SPOOL_MEMORY: usize = 256 << 10;

/// A new directory of the source that was recorded under another key, and what is in it.
#[derive(Debug)]
pub struct Subtree {
    /// The key that the target's has.
    pub from: Key,
    /// The key under which it was recorded, which is another one in a dry run.
    pub recorded_at: Key,
    /// The target's stamp of it, as it was recorded.
    recorded: Stamp,
    /// The source's directory.
    pub source: Entry,
    /// What the source has in it, by keys, as a join yields it in another order: a byte that says which,
    /// then that.
    items: Sorter,
}

/// The directories that wait, as the plan collects them.
#[derive(Debug)]
pub struct Subtrees {
    all: Vec<Subtree>,
    spool_dir: PathBuf,
    /// Whether entries follow that are in the last one.
    is_open: bool,
    /// Whether none of them may be renamed.
    is_barred: bool,
}

const ENTRY: u8 = 0;
const FAILED: u8 = 1;
const LEFT_OUT: u8 = 2;
/// The listing broke off: nothing is known any more.
const BROKE_OFF: u8 = 3;

impl Subtrees {
    /// Makes an empty collection, whose files are in `spool_dir`.
    pub fn new(spool_dir: &Path) -> Self {
        Self { all: Vec::new(), spool_dir: spool_dir.to_owned(), is_open: false, is_barred: false }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes all of them; none may be renamed if the other result is true.
    pub fn take(&mut self) -> (Vec<Subtree>, bool) {
        (std::mem::take(&mut self.all), self.is_barred)
    }

    /// Adds to the directory whose entries follow that the listing broke off.
    pub(super) fn break_off(&mut self) -> Result<(), Error> {
        match self.all.last_mut().filter(|_| self.is_open) {
            Some(last) => last.add_broke_off(),
            None => Ok(()),
        }
    }

    /// Adds those of another plan.
    pub(super) fn append(&mut self, mut other: Self) {
        self.all.append(&mut other.all);
        self.is_barred |= other.is_barred;
    }

    pub(super) fn has_room(&self) -> bool {
        self.all.len() < WAITING
    }

    /// Lets none of them be renamed.
    pub(super) fn bar(&mut self) {
        self.is_barred = true;
    }

    /// Begins with a directory, whose entries follow.
    pub(super) fn begin(&mut self, moved: &MovedFrom, source: &Entry) {
        self.all.push(Subtree {
            from: moved.row.key.clone(),
            recorded_at: moved.row.key.clone(),
            recorded: moved.row.target,
            source: source.clone(),
            items: Sorter::new(&*self.spool_dir, SPOOL_MEMORY),
        });
        self.is_open = true;
    }

    /// Returns the directory that waits and that the key lies in, if it does.
    pub(super) fn around(&mut self, key: &Key) -> Option<&mut Subtree> {
        let last = self.all.last_mut().filter(|_| self.is_open)?;
        self.is_open = key.is_within(last.source.key.as_bytes());
        Some(last).filter(|_| self.is_open)
    }
}

impl Subtree {
    /// Adds an entry of the source.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), Error> {
        self.push(&entry.key, ENTRY, &entry.encode())
    }

    /// Adds a scope of the source that could not be listed.
    pub(super) fn add_failed(&mut self, error: &EntryError) -> Result<(), Error> {
        let record = serde_json::to_vec(error).map_err(|error| spool_error(error.into()))?;
        self.push(&error.key, FAILED, &record)
    }

    /// Adds a key that is left out, with the reason.
    pub(super) fn add_left_out(&mut self, key: &Key, why: &str) -> Result<(), Error> {
        self.push(key, LEFT_OUT, why.as_bytes())
    }

    /// Adds that the listing broke off.
    fn add_broke_off(&mut self) -> Result<(), Error> {
        self.push(&Key::root(), BROKE_OFF, b"")
    }

    fn push(&mut self, key: &Key, kind: u8, item: &[u8]) -> Result<(), Error> {
        let mut record = Vec::with_capacity(key.as_bytes().len() + item.len() + 8);
        push_key(&mut record, key.as_bytes());
        record.push(kind);
        record.extend_from_slice(item);
        self.items.push(&record).map_err(spool_error)
    }

    /// Returns the key of an entry in the old directory that it has in the new one.
    pub fn moved(&self, key: &Key) -> Key {
        key.moved(&self.from, &self.source.key)
    }

    /// Follows directories that are renamed and that the old one was in: a dry run's rows don't.
    pub fn follow(&mut self, renamed: &[(Key, Key)]) {
        follow(&mut self.from, renamed);
    }

    /// Splits off what the source has.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be written.
    pub fn into_items(self) -> Result<Items, Error> {
        let items = self.items.finish().map_err(spool_error)?;
        Ok(Items { first: Some(self.source), items })
    }

    /// Returns whether the target's directory is the one that was recorded.
    fn is(&self, entry: &Entry) -> bool {
        let number = |stamp: &Stamp| stamp.inode().and_then(|inode| inode.number);
        entry.kind == EntryKind::Directory
            && entry.key == self.from
            && number(&entry.stamp).is_some()
            && number(&entry.stamp) == number(&self.recorded)
    }
}

/// The source's entries in a directory that was moved, in order, itself first.
pub struct Items {
    first: Option<Entry>,
    items: Sorted,
}

impl Iterator for Items {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(ListItem::Entry(first)));
        }
        let record = match self.items.next() {
            Ok(record) => record?,
            Err(error) => return Some(Err(spool_error(error))),
        };
        Some(item(record).ok_or_else(damaged))
    }
}

fn item(record: &[u8]) -> Option<ListItem> {
    let (key, item) = split_key(record)?;
    match item.split_first()? {
        (&ENTRY, entry) => Entry::decode(entry).map(ListItem::Entry),
        (&FAILED, error) => serde_json::from_slice(error).ok().map(ListItem::Failed),
        (&LEFT_OUT, why) => {
            let why = std::str::from_utf8(why).ok()?;
            Some(ListItem::LeftOut(Key::new(key), why.to_owned()))
        }
        (&BROKE_OFF, _) => Some(ListItem::Excluded(Key::root())),
        _ => None,
    }
}

/// What the target has in an old directory, by the keys of the new one.
pub struct Renamed {
    first: Option<Entry>,
    sorted: Sorted,
}

impl Renamed {
    /// Returns the target's entries when the directory is renamed, which then is `directory`.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be read.
    pub fn new(directory: Entry, found: Sorter) -> Result<Self, Error> {
        let sorted = found.finish().map_err(spool_error)?;
        Ok(Self { first: Some(directory), sorted })
    }
}

impl Iterator for Renamed {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(ListItem::Entry(first)));
        }
        let record = match self.sorted.next() {
            Ok(record) => record?,
            Err(error) => return Some(Err(spool_error(error))),
        };
        let entry = split_key(record)
            .and_then(|(key, entry)| Some(Entry { key: Key::new(key), ..Entry::decode(entry)? }));
        Some(entry.map(ListItem::Entry).ok_or_else(damaged))
    }
}

/// What is known of the deletions of a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The target's directory; `None` if it isn't deleted, or isn't the one recorded.
    pub target: Option<Entry>,
    /// Counts of what is deleted with it.
    pub tally: DeletionTally,
    /// Whether something in it must not be moved.
    is_barred: bool,
}

impl Found {
    fn count(&mut self, entry: &Entry) {
        let tally = &mut self.tally;
        tally.deletable += 1;
        if entry.kind == EntryKind::Directory {
            tally.directories += 1;
        } else {
            tally.leaves += 1;
            tally.links += u64::from(entry.kind == EntryKind::Symlink);
        }
    }
}

/// Finds out which of the directories can be renamed: themselves and all in them is to be deleted.
/// Returns what was found of each, and all deletions.
///
/// # Errors
/// Fails if a spool's disk can't be written or read.
pub fn found_in(
    deletions: &mut SpoolReader,
    subtrees: &[Subtree],
    spool_dir: &Path,
) -> Result<(Vec<Found>, SpoolReader), Error> {
    let mut found: Vec<Found> = subtrees.iter().map(|_| Found::default()).collect();
    let mut all = Spool::new(spool_dir, SPOOL_MEMORY);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        all.push(record).map_err(spool_error)?;
        let entry = Entry::decode(record).ok_or_else(damaged)?;
        for (subtree, found) in subtrees.iter().zip(&mut found) {
            if !entry.key.is_within(subtree.from.as_bytes()) {
                continue;
            }
            found.count(&entry);
            let mut names = entry.key.trimmed().split(|&byte| byte == b'/');
            found.is_barred |= names.any(|name| name == DIRECTORY.as_bytes());
            if subtree.is(&entry) {
                found.target = Some(entry.clone());
            }
        }
    }
    let is_inner = |subtree: &Subtree| {
        let within = |other: &Subtree| {
            other.from != subtree.from && subtree.from.is_within(other.from.as_bytes())
        };
        subtrees.iter().any(within)
    };
    for (subtree, found) in subtrees.iter().zip(&mut found) {
        // Of one in another the key will be another one.
        if found.is_barred || is_inner(subtree) {
            found.target = None;
        }
    }
    Ok((found, all.into_reader().map_err(spool_error)?))
}

/// Takes the deletions in directories that are renamed out of all: returns those of each, by new
/// keys, and the rest.
///
/// # Errors
/// Fails if a spool's disk can't be written or read.
pub fn split(
    mut deletions: SpoolReader,
    renamed: &[&Subtree],
    spool_dir: &Path,
) -> Result<(Vec<Sorter>, SpoolReader), Error> {
    let sorter = |_: &&Subtree| Sorter::new(spool_dir, SPOOL_MEMORY);
    let mut found: Vec<Sorter> = renamed.iter().map(sorter).collect();
    let mut rest = Spool::new(spool_dir, SPOOL_MEMORY);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        let entry = Entry::decode(record).ok_or_else(damaged)?;
        let within = |subtree: &&Subtree| entry.key.is_within(subtree.from.as_bytes());
        let Some(at) = renamed.iter().position(within) else {
            rest.push(record).map_err(spool_error)?;
            continue;
        };
        if entry.key != renamed[at].from {
            let mut moved = Vec::with_capacity(record.len() + 64);
            push_key(&mut moved, renamed[at].moved(&entry.key).as_bytes());
            moved.extend_from_slice(record);
            found[at].push(&moved).map_err(spool_error)?;
        }
    }
    Ok((found, rest.into_reader().map_err(spool_error)?))
}

fn damaged() -> Error {
    spool_error(std::io::ErrorKind::InvalidData.into())
}
