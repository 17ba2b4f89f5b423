//! Directories of a plan: they wait until everything in them is done.

use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::key::LONG_KEY;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Entry, EntryKind, Key, Metadata};

/// What has to be done with a directory in
/// [`Remainder::directories`](super::Remainder::directories).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Its metadata is set because entries in it changed, or because its row is missing.
    Restore,
    /// Its own metadata changed.
    Update,
    /// It is looked up to find out whether its own metadata changed.
    Look,
    /// The source's directory could not be read: only its row is written, with the existing
    /// metadata.
    Record,
    /// The target can't store its time: that is reported, and nothing is set.
    NotKept,
    /// Its metadata is unchanged, but not its stamp: its ACL or attributes may have changed.
    Inspect,
}

impl Finish {
    /// Decodes a record of [`Remainder::directories`](super::Remainder::directories).
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

/// A directory whose entries are being planned.
pub(super) struct Open {
    pub(super) key: Key,
    /// The length of its key, which is the root's while it is folded.
    pub(super) length: usize,
    /// The source's directory, if it has to be finished.
    pub(super) source: Option<Entry>,
    /// The target's directory, if it is to be deleted unless something in it stays.
    pub(super) to_delete: Option<Entry>,
    /// Whether something in it stays.
    pub(super) stays: bool,
    /// Whether entries in it change, so that its mtime has to be set again.
    pub(super) dirty: bool,
    /// Whether its own metadata differs from the source's.
    pub(super) differs: Differs,
    /// Whether the source's directory could not be read: setting its mode might lock later runs out
    /// of the target's directory.
    pub(super) unread: bool,
}

impl Open {
    /// Returns a directory in which nothing changes so far.
    pub(super) fn new(key: Key) -> Self {
        Self {
            length: key.as_bytes().len(),
            key,
            source: None,
            to_delete: None,
            stays: false,
            dirty: false,
            differs: Differs::No,
            unread: false,
        }
    }
}

impl Open {
    fn set_key(&mut self, key: &Key) {
        for entry in self.source.iter_mut().chain(&mut self.to_delete) {
            entry.key = key.clone();
        }
        self.key = key.clone();
    }
}

/// The directories whose entries are being planned, each in the one before. Of those with long
/// keys only the innermost holds its own.
#[derive(Default)]
pub(super) struct OpenDirectories(Vec<Open>);

impl OpenDirectories {
    /// Adds a directory in the innermost one.
    pub(super) fn push(&mut self, open: Open) {
        if let Some(outer) = self.0.last_mut().filter(|outer| outer.key.is_long()) {
            outer.set_key(&Key::root());
        }
        self.0.push(open);
    }

    /// Returns the innermost directory.
    pub(super) fn last_mut(&mut self) -> Option<&mut Open> {
        self.0.last_mut()
    }

    /// Removes the innermost directory.
    pub(super) fn pop(&mut self) -> Option<Open> {
        let open = self.0.pop()?;
        if let Some(outer) = self.0.last_mut().filter(|outer| outer.length > LONG_KEY) {
            outer.set_key(&Key::new(&open.key.as_bytes()[..outer.length]));
        }
        Some(open)
    }

    /// Removes the innermost directory if `is_it` says so.
    pub(super) fn pop_if(&mut self, is_it: impl FnOnce(&Open) -> bool) -> Option<Open> {
        if self.0.last().is_some_and(is_it) { self.pop() } else { None }
    }
}

/// Whether a directory's metadata differs between the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// Equal.
    No,
    /// Equal, but the source's directory was touched since its row was written.
    Touched,
    /// Unknown: a listing gave too little metadata.
    Perhaps,
    /// Different since it was set: the target can't store the time.
    NotKept,
    /// Different.
    Yes,
}

impl Differs {
    /// Compares a directory that both sides have. `achievable` returns the metadata that the target
    /// can store for the source's.
    pub fn of(
        source: &Entry,
        target: &Entry,
        row: Option<&Row>,
        achievable: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Self {
        let is_listed =
            [source, target].iter().any(|entry| entry.completeness == Completeness::ListingOnly);
        let unseen = is_listed || target.completeness == Completeness::Implicit;
        let known = known_metadata(source, target);
        let wanted = achievable(&known, source.kind, Some(&target.metadata));
        // A time that the target stored differently would not be stored as wanted next time either.
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

/// Returns the metadata of a source's directory. If that is only implied by keys, it has none, and
/// the target's is right.
pub(super) fn known_metadata(source: &Entry, target: &Entry) -> Metadata {
    if source.completeness == Completeness::Implicit { target.metadata } else { source.metadata }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_directories_with_long_keys_the_innermost_alone_holds_its_own() {
        let mut path = Vec::new();
        let (mut keys, mut open) = (Vec::new(), OpenDirectories::default());
        for length in [100, 4_000, 200, 300, 400] {
            path.extend(vec![b'd'; length]);
            path.push(b'/');
            let key = Key::new(&*path);
            let source = Some(Entry::new_file(key.clone(), 0, Metadata::default()));
            let to_delete = source.clone();
            open.push(Open { source, to_delete, ..Open::new(key.clone()) });
            keys.push(key);
        }
        let lengths: Vec<_> = open.0.iter().map(|open| open.key.as_bytes().len()).collect();
        assert_eq!(lengths, [101, 0, 0, 0, 5_005]);
        for key in keys.iter().rev() {
            assert!(open.pop_if(|open| open.key != *key).is_none());
            let innermost = open.pop().expect("a directory");
            let entries = [innermost.source, innermost.to_delete];
            assert!(entries.iter().flatten().all(|entry| entry.key == *key));
            assert_eq!((innermost.key, entries.iter().flatten().count()), (key.clone(), 2));
        }
        assert!(open.pop().is_none());
    }
}
