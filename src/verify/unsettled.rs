//! What in a target may be the work of a run that was killed before it could record it.

use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Entry, EntryKind, Key, Timestamp};

/// Tells such entries from what differs, as they come in key order: they changed, and that since the
/// run began.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// When the first such run began, if there was any.
    since: Option<Timestamp>,
    /// The directories around the last entry in which anything may have been removed since.
    directories: Vec<Key>,
}

impl Unsettled {
    /// Makes one that takes all for settled that stands since before `since`.
    pub(super) fn since(since: Option<Timestamp>) -> Self {
        Self { since, directories: Vec::new() }
    }

    /// Whether what stands at a key may be such a run's work; `row` is what is recorded of it.
    pub(super) fn holds(&mut self, entry: &Entry, row: Option<&Row>) -> bool {
        let Some(since) = self.since else { return false };
        let is_changed = match entry.stamp.inode() {
            Some(_) => entry.stamp.may_be_since(since),
            // A listing of a store tells when an object was put; its clock is another.
            None if entry.completeness == Completeness::ListingOnly => {
                let put = entry.metadata.mtime;
                put >= since || put.distance(since) <= COARSEST_TIMES
            }
            None => false,
        };
        if is_changed && entry.kind == EntryKind::Directory {
            self.enter(&entry.key);
        }
        is_changed && row.is_none_or(|row| row.target != entry.stamp)
    }

    /// Whether such a run may have removed what is missing at a key: the directory that held it changed
    /// since, or is gone in the same way.
    pub(super) fn lacks(&mut self, key: &Key) -> bool {
        self.leave(key);
        let is_changed = self.directories.last().is_some_and(|it| it.as_bytes() == key.parent());
        if is_changed && key.is_directory() {
            self.enter(key);
        }
        is_changed
    }

    fn enter(&mut self, directory: &Key) {
        self.leave(directory);
        self.directories.push(directory.clone());
    }

    /// Leaves the directories that `key` doesn't lie in.
    fn leave(&mut self, key: &Key) {
        while self.directories.pop_if(|it| !key.is_within(it.as_bytes())).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::Inode;
    use crate::model::{ETag, Metadata, Stamp};

    const SINCE: Timestamp = Timestamp { seconds: 100, nanos: 500_000_000 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 1 }
    }

    fn entry(key: &str, ctime: Timestamp) -> Entry {
        let stamp = Stamp::of_inode(1, Inode { mtime: at(1), ctime, number: Some(1) });
        let key = Key::new(key.as_bytes());
        let kind = if key.is_directory() || key.is_root() {
            EntryKind::Directory
        } else {
            EntryKind::File
        };
        let metadata = Metadata::default();
        Entry {
            key,
            kind,
            stamp,
            metadata,
            link: None,
            completeness: Completeness::Full,
            recorded: None,
        }
    }

    #[test]
    fn what_changed_since_is_unsettled_and_nothing_else() {
        let mut unsettled = Unsettled::since(Some(SINCE));
        assert!(unsettled.holds(&entry("a", at(101)), None));
        assert!(unsettled.holds(&entry("b", Timestamp { nanos: 495_000_000, ..SINCE }), None));
        assert!(!unsettled.holds(&entry("c", at(99)), None));
        assert!(!Unsettled::since(None).holds(&entry("a", at(101)), None));
    }

    #[test]
    fn an_object_is_unsettled_by_when_it_was_put() {
        let mut unsettled = Unsettled::since(Some(SINCE));
        let object = |put| Entry {
            stamp: Stamp::of_object(1, ETag::new(b"t")),
            metadata: Metadata { mtime: at(put), ..Metadata::default() },
            completeness: Completeness::ListingOnly,
            ..entry("a", at(1))
        };
        assert!(unsettled.holds(&object(99), None));
        assert!(!unsettled.holds(&object(97), None));
        let looked_at = Entry { completeness: Completeness::Full, ..object(101) };
        assert!(!unsettled.holds(&looked_at, None), "its time is the file's");
    }

    #[test]
    fn what_is_missing_is_unsettled_where_its_directory_changed() {
        let mut unsettled = Unsettled::since(Some(SINCE));
        let lacks =
            |unsettled: &mut Unsettled, key: &str| unsettled.lacks(&Key::new(key.as_bytes()));
        unsettled.holds(&entry("", at(99)), None);
        assert!(!lacks(&mut unsettled, "a"));
        unsettled.holds(&entry("d/", at(101)), None);
        assert!(lacks(&mut unsettled, "d/e"));
        assert!(lacks(&mut unsettled, "d/f/"));
        assert!(lacks(&mut unsettled, "d/f/g"));
        unsettled.holds(&entry("d/h/", at(99)), None);
        assert!(!lacks(&mut unsettled, "d/h/i"));
        assert!(lacks(&mut unsettled, "d/j"));
        assert!(!lacks(&mut unsettled, "k"));
    }
}
