//! Files that the source has under another name than before: they are renamed in the target when
//! all steps are done, if the target's file is deleted otherwise.

use super::{DeletionTally, Planning, spool_error};
use crate::backend::Precondition;
use crate::compare::policy::Surplus;
use crate::compare::{Pair, Seen};
use crate::manifest::Row;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{Action, Decision, Entry, EntryKind, Error, Key, Reason, Stamp};
use crate::spool::{Sorted, Sorter, Spool, SpoolReader, push_key, split_key};
use std::path::Path;

/// In bytes: as much of each sorter stays in memory.
const SORTER_MEMORY: usize = 1 << 20;
/// In bytes: as much of each spool stays in memory.
const SPOOL_MEMORY: usize = 256 << 10;

/// Where an entry of the source was when a run recorded it.
#[derive(Debug)]
pub struct MovedFrom {
    /// The row of that key.
    pub row: Row,
    /// Whether the source has nothing at that key any more.
    pub is_gone: bool,
}

/// New files of the source that were recorded under other keys.
#[derive(Debug)]
pub struct Moves {
    /// By the other key.
    candidates: Sorter,
    trust: StampFields,
    /// How many there are.
    pub count: u64,
}

/// A new file of the source that was recorded under another key.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    from: Key,
    /// The target's stamp at that key, as it was recorded.
    recorded: Stamp,
    source: Entry,
}

/// A file to rename in the target.
#[derive(Debug, PartialEq, Eq)]
pub struct Move {
    /// The number of its deletion among all planned.
    pub deletion: u64,
    /// The source's entry, whose key is the new one.
    pub source: Entry,
    /// The target's entry, whose key is the old one.
    pub target: Entry,
}

/// What is to be done with the files of [`Moves`].
pub struct MatchedMoves {
    /// Those whose other name is deleted in the target: [`Move`]s in the order of old keys.
    pub moves: SpoolReader,
    /// All others, to be copied: [`Entry::encode`]d.
    pub copies: SpoolReader,
    /// All planned deletions, in order.
    pub deletions: SpoolReader,
    /// The counts of deletions without those that the renames take the place of.
    pub tally: DeletionTally,
    /// How many files can be renamed.
    pub count: u64,
}

impl Moves {
    /// Makes the sorter, whose files are in `spool_dir`. Stamps are compared by `trust`.
    pub fn new(spool_dir: &Path, trust: StampFields) -> Self {
        Self { candidates: Sorter::new(spool_dir, SORTER_MEMORY), trust, count: 0 }
    }

    /// Adds a file that waits, and the row of its old name.
    pub(super) fn add(&mut self, row: &Row, source: &Entry) -> Result<(), Error> {
        let candidate =
            Candidate { from: row.key.clone(), recorded: row.target, source: source.clone() };
        self.count += 1;
        self.candidates.push(&candidate.encode()).map_err(spool_error)
    }

    /// Gives files that were in directories which are renamed the keys that they have by then.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be written or read.
    pub fn follow(&mut self, renamed: &[(Key, Key)], spool_dir: &Path) -> Result<(), Error> {
        if self.count == 0 || renamed.is_empty() {
            return Ok(());
        }
        let moved = Sorter::new(spool_dir, SORTER_MEMORY);
        let candidates = std::mem::replace(&mut self.candidates, moved);
        let mut candidates = candidates.finish().map_err(spool_error)?;
        while let Some(record) = candidates.next().map_err(spool_error)? {
            let mut candidate = Candidate::decode(record).ok_or_else(damaged)?;
            follow(&mut candidate.from, renamed);
            self.candidates.push(&candidate.encode()).map_err(spool_error)?;
        }
        Ok(())
    }

    /// Adds those of another plan.
    pub(super) fn append(&mut self, other: Self) -> Result<(), Error> {
        self.count += other.count;
        let mut candidates = other.candidates.finish().map_err(spool_error)?;
        while let Some(record) = candidates.next().map_err(spool_error)? {
            self.candidates.push(record).map_err(spool_error)?;
        }
        Ok(())
    }

    /// Finds out which of the files can be renamed: the planned deletions have their old names, and
    /// the target's files are as they were recorded. If `none` is to be renamed, all are copied.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be written or read.
    pub fn matched(
        self,
        mut deletions: SpoolReader,
        mut tally: DeletionTally,
        none: bool,
        spool_dir: &Path,
    ) -> Result<MatchedMoves, Error> {
        let spool = || Spool::new(spool_dir, SPOOL_MEMORY);
        let (mut all, mut moves, mut copies) = (spool(), spool(), spool());
        let mut leaves = Sorter::new(spool_dir, SORTER_MEMORY);
        let (mut number, mut count) = (0_u64, 0);
        while let Some(record) = deletions.next().map_err(spool_error)? {
            let entry = Entry::decode(record).ok_or_else(damaged)?;
            if !none && entry.kind == EntryKind::File {
                let mut leaf = Vec::with_capacity(record.len() + 64);
                push_key(&mut leaf, entry.key.as_bytes());
                leaf.extend_from_slice(&number.to_be_bytes());
                leaf.extend_from_slice(record);
                leaves.push(&leaf).map_err(spool_error)?;
            }
            all.push(record).map_err(spool_error)?;
            number += 1;
        }
        let mut leaves = Leaves::new(leaves.finish().map_err(spool_error)?)?;
        let mut candidates = self.candidates.finish().map_err(spool_error)?;
        while let Some(record) = candidates.next().map_err(spool_error)? {
            let Candidate { from, recorded, source } =
                Candidate::decode(record).ok_or_else(damaged)?;
            let is_as_recorded = |target: &Entry| {
                target.group().is_none()
                    && target.stamp.compare(&recorded, self.trust) == StampMatch::Same
            };
            match leaves.take(&from)?.filter(|(_, target)| is_as_recorded(target)) {
                Some((deletion, target)) => {
                    count += 1;
                    tally.leaves -= 1;
                    tally.deletable -= 1;
                    let found = Move { deletion, source, target };
                    moves.push(&found.encode()).map_err(spool_error)?;
                }
                None => copies.push(&source.encode()).map_err(spool_error)?,
            }
        }
        Ok(MatchedMoves {
            moves: moves.into_reader().map_err(spool_error)?,
            copies: copies.into_reader().map_err(spool_error)?,
            deletions: all.into_reader().map_err(spool_error)?,
            tally,
            count,
        })
    }
}

/// Returns the deletions but for those whose numbers are given, each encoded in 8 bytes (big-endian).
///
/// # Errors
/// Fails if a spool's disk can't be written or read.
pub fn without(
    mut deletions: SpoolReader,
    mut numbers: Sorted,
    spool_dir: &Path,
) -> Result<SpoolReader, Error> {
    let mut rest = Spool::new(spool_dir, SPOOL_MEMORY);
    let next = |numbers: &mut Sorted| -> Result<Option<u64>, Error> {
        let record = numbers.next().map_err(spool_error)?;
        record
            .map(|number| number.try_into().map(u64::from_be_bytes).map_err(|_| damaged()))
            .transpose()
    };
    let (mut dropped, mut number) = (next(&mut numbers)?, 0);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        if dropped == Some(number) {
            dropped = next(&mut numbers)?;
        } else {
            rest.push(record).map_err(spool_error)?;
        }
        number += 1;
    }
    rest.into_reader().map_err(spool_error)
}

/// Gives a key the name that it has when these directories are renamed in turn.
pub(super) fn follow(key: &mut Key, renamed: &[(Key, Key)]) {
    for (from, to) in renamed {
        if key.is_within(from.as_bytes()) {
            *key = key.moved(from, to);
        }
    }
}

/// The files to be deleted, by key.
struct Leaves {
    sorted: Sorted,
    next: Option<(Key, u64, Entry)>,
}

impl Leaves {
    fn new(sorted: Sorted) -> Result<Self, Error> {
        let mut leaves = Self { sorted, next: None };
        leaves.advance()?;
        Ok(leaves)
    }

    fn advance(&mut self) -> Result<(), Error> {
        let decode = |record: &[u8]| {
            let (key, rest) = split_key(record)?;
            let (number, entry) = rest.split_first_chunk::<8>()?;
            Some((Key::new(key), u64::from_be_bytes(*number), Entry::decode(entry)?))
        };
        let record = self.sorted.next().map_err(spool_error)?;
        self.next = record.map(|record| decode(record).ok_or_else(damaged)).transpose()?;
        Ok(())
    }

    /// Takes the file with a key, and the number of its deletion. Keys are asked for in order.
    fn take(&mut self, wanted: &Key) -> Result<Option<(u64, Entry)>, Error> {
        while let Some((key, ..)) = &self.next
            && key < wanted
        {
            self.advance()?;
        }
        match self.next.take_if(|(key, ..)| key == wanted) {
            Some((_, number, entry)) => {
                self.advance()?;
                Ok(Some((number, entry)))
            }
            None => Ok(None),
        }
    }
}

impl Candidate {
    fn encode(&self) -> Vec<u8> {
        let mut record = Vec::new();
        push_key(&mut record, self.from.as_bytes());
        push_block(&mut record, &self.recorded.encode());
        record.extend_from_slice(&self.source.encode());
        record
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (from, rest) = split_key(record)?;
        let (recorded, source) = split_block(rest)?;
        Some(Self {
            from: Key::new(from),
            recorded: Stamp::decode(recorded)?,
            source: Entry::decode(source)?,
        })
    }
}

impl Move {
    fn encode(&self) -> Vec<u8> {
        let mut record = self.deletion.to_be_bytes().to_vec();
        push_block(&mut record, &self.source.encode());
        record.extend_from_slice(&self.target.encode());
        record
    }

    /// Decodes a record of [`MatchedMoves::moves`]; `None` for anything else.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (deletion, rest) = record.split_first_chunk::<8>()?;
        let (source, target) = split_block(rest)?;
        Some(Self {
            deletion: u64::from_be_bytes(*deletion),
            source: Entry::decode(source)?,
            target: Entry::decode(target)?,
        })
    }
}

fn push_block(record: &mut Vec<u8>, block: &[u8]) {
    record.extend_from_slice(&(block.len() as u32).to_le_bytes());
    record.extend_from_slice(block);
}

fn split_block(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn damaged() -> Error {
    spool_error(std::io::ErrorKind::InvalidData.into())
}

/// Finds out where an entry was before that the source has and that isn't recorded.
///
/// # Errors
/// Fails if the record can't be read.
pub(super) fn moved_from(with: &Planning<'_>, pair: &Pair) -> Result<Option<MovedFrom>, Error> {
    let (Some(find), Seen::Present(source)) = (with.moved_from, &pair.source) else {
        return Ok(None);
    };
    let is_wanted = source.kind != EntryKind::Directory || with.moves_directories;
    let is_of_use = match &pair.target {
        Seen::Absent => with.policy.surplus != Surplus::Keep,
        Seen::Present(existing) => existing.kind == source.kind,
        Seen::Unknown => false,
    };
    if is_wanted && is_of_use && may_be_moved(pair) { find(source) } else { Ok(None) }
}

/// Returns whether the source's entry may have been moved, as far as the pair tells: a
/// directory or file that isn't recorded, without other names. An empty file is made as fast.
pub fn may_be_moved(pair: &Pair) -> bool {
    let is_movable = |source: &Entry| match source.kind {
        EntryKind::File => source.size() > 0 && source.group().is_none(),
        EntryKind::Directory => !source.key.is_root() && pair.target == Seen::Absent,
        _ => false,
    };
    pair.row.is_none() && pair.conflict.is_none() && pair.source.entry().is_some_and(is_movable)
}

/// Returns the row of an entry that the target has under its new name, where no run recorded that: a
/// run was killed after it renamed the entry.
pub(super) fn renamed_row(pair: &Pair, moved: &MovedFrom) -> Option<Row> {
    let number = |stamp: &Stamp| stamp.inode().and_then(|inode| inode.number);
    let existing = pair.target.entry()?;
    let is_renamed =
        number(&existing.stamp).is_some() && number(&existing.stamp) == number(&moved.row.target);
    is_renamed.then(|| Row { key: pair.key.clone(), ..moved.row.clone() })
}

/// Returns whether an entry waits for the end of the plan, to be renamed then.
pub(super) fn waits(moved: &MovedFrom, decision: Decision, place: Precondition) -> bool {
    moved.is_gone
        && place == Precondition::Absent
        && decision.reason == Reason::New
        && matches!(decision.action, Action::Copy { unless: None } | Action::MakeDirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::Inode;
    use crate::model::{Metadata, Timestamp};

    fn file(key: &str, number: u64) -> Entry {
        let time = Timestamp { seconds: 1, nanos: 0 };
        let inode = Inode { mtime: time, ctime: time, number: Some(number) };
        let metadata = Metadata { mtime: time, ..Metadata::default() };
        let entry = Entry::new_file(Key::new(key.as_bytes()), 3, metadata);
        Entry { stamp: Stamp::of_inode(3, inode), ..entry }
    }

    #[test]
    fn only_deleted_files_that_are_as_recorded_are_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let mut moves = Moves::new(dir.path(), StampFields::default());
        for (from, number, to) in [("z", 1, "a"), ("b\0", 2, "c"), ("b", 3, "d"), ("no", 4, "e")] {
            moves.add(&Row::of_copied(file(from, number)), &file(to, 10 + number)).unwrap();
        }
        let mut deletions = Spool::new(dir.path(), 1 << 10);
        let directory = Entry { kind: EntryKind::Directory, ..file("b/", 5) };
        // The file "b" isn't the recorded one.
        for entry in [file("b", 9), file("b\0", 2), directory, file("z", 1)] {
            deletions.push(&entry.encode()).unwrap();
        }
        let tally =
            DeletionTally { leaves: 3, directories: 1, deletable: 9, ..DeletionTally::default() };
        let matched = |moves: Moves, deletions: Spool, none| {
            moves.matched(deletions.into_reader().unwrap(), tally, none, dir.path()).unwrap()
        };
        let mut found = matched(moves, deletions, false);
        let mut renames = Vec::new();
        while let Some(record) = found.moves.next().unwrap() {
            let Move { deletion, source, target } = Move::decode(record).unwrap();
            renames.push((deletion, target.key.to_string(), source.key.to_string()));
        }
        assert_eq!(renames, [(1, "b\\u{0}".into(), "c".into()), (3, "z".into(), "a".into())]);
        let mut copied = Vec::new();
        while let Some(record) = found.copies.next().unwrap() {
            copied.push(Entry::decode(record).unwrap().key.to_string());
        }
        assert_eq!(copied, ["d", "e"]);
        assert_eq!(found.tally, DeletionTally { leaves: 1, deletable: 7, ..tally });
    }
}
