//! Directories of a plan: what waits until all in them is done.

use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Entry, EntryKind, Key, Metadata};

/// How a directory that waits in [`Remainder::directories`](super::Remainder::directories) is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Its metadata is set because entries in it changed, or its row is missing.
    Restore,
    /// Its own metadata changed.
    Update,
    /// Only a look tells whether its own metadata changed.
    Look,
    /// The source's could not be read: only its row is written, of what stands.
    Record,
    /// The target can't keep its time: that is told, and nothing set.
    NotKept,
    /// Its metadata is what it was, but not all of its stamp: what else it has may have changed.
    Inspect,
}

impl Finish {
    /// Splits a record of [`Remainder::directories`](super::Remainder::directories).
    pub fn decode(record: &[u8]) -> Option<(Self, Entry)> {
        let (&how, entry) = record.split_first()?;
        let how = match how {
            0 => Self::Restore,
            1 => Self::Update,
            2 => Self::Look,
            3 => Self::Record,
            4 => Self::NotKept,
            5 => Self::Inspect,
            _ => return None,
        };
        Some((how, Entry::decode(entry)?))
    }
}

/// A directory whose keys are passing.
pub(super) struct Open {
    pub(super) key: Key,
    /// The source's directory, to be finished.
    pub(super) source: Option<Entry>,
    /// The target's directory, to be deleted unless something in it stays.
    pub(super) doomed: Option<Entry>,
    /// Something in it is not to be deleted.
    pub(super) stays: bool,
    /// Entries in it change, so that its mtime must be set again.
    pub(super) dirty: bool,
    /// Whether its own mode, owner, group or mtime isn't the source's.
    pub(super) differs: Differs,
    /// The source's directory could not be read: closing the target's to ourselves would keep later
    /// runs from mending it.
    pub(super) unread: bool,
}

impl Open {
    /// A directory in which nothing changes yet.
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            source: None,
            doomed: None,
            stays: false,
            dirty: false,
            differs: Differs::No,
            unread: false,
        }
    }
}

/// Whether a directory's metadata differs between the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// It doesn't.
    No,
    /// It doesn't, but the source's was touched since its row was written.
    Touched,
    /// A listing told too little of a side.
    Perhaps,
    /// It does, and stood like that after it was set: the target can't keep the time.
    NotKept,
    /// It does.
    Yes,
}

impl Differs {
    /// Compares a directory that both sides have. `holds` says what metadata the target can hold of
    /// the source's.
    pub fn of(
        source: &Entry,
        target: &Entry,
        row: Option<&Row>,
        holds: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Self {
        let is_listed =
            [source, target].iter().any(|entry| entry.completeness == Completeness::ListingOnly);
        let unseen = is_listed || target.completeness == Completeness::Implicit;
        let wanted = holds(&as_it_stands(source, target), source.kind, Some(&target.metadata));
        // Setting again a time that the target made something else of would change nothing.
        let is_set = row.is_some_and(|row| {
            row.metadata == wanted
                && !unseen
                && row.target.mtime() == Some(target.metadata.mtime)
                && Metadata { mtime: wanted.mtime, ..target.metadata } == wanted
        });
        match unseen || wanted != target.metadata {
            true if is_set && target.metadata.mtime.distance(wanted.mtime) < COARSEST_TIMES => {
                Self::No
            }
            true if is_set => Self::NotKept,
            false => Self::No,
            true if is_listed && target.completeness != Completeness::Implicit => Self::Perhaps,
            true => Self::Yes,
        }
    }
}

/// The metadata of a source's directory. Of one that is only implied nobody says what it is like:
/// whatever stands is right.
pub(super) fn as_it_stands(source: &Entry, target: &Entry) -> Metadata {
    if source.completeness == Completeness::Implicit { target.metadata } else { source.metadata }
}
