//! What in a target may be the work of a run that was killed before it could record it.

use crate::manifest::{CutOff, Row};
use crate::model::entry::Completeness;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Entry, EntryKind, Key, Timestamp};

/// Tells such entries from what differs, as they come in key order: they changed, and that since the
/// run began.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Since when such runs were under way, if there was any.
    cut_off: Option<CutOff>,
    /// The directories around the last entry in which they may have changed anything.
    directories: Vec<Changed>,
}

/// A directory that changed since such a run began.
#[derive(Debug)]
struct Changed {
    key: Key,
    /// It changed since one began that deletes.
    may_lack: bool,
}

impl Unsettled {
    /// Makes one that takes for settled what stands since before such runs.
    pub(super) fn by(cut_off: Option<CutOff>) -> Self {
        Self { cut_off, directories: Vec::new() }
    }

    /// Whether what stands at a key may be such a run's work; `row` is what is recorded of it.
    pub(super) fn holds(&mut self, entry: &Entry, row: Option<&Row>) -> bool {
        let Some(CutOff { since, deletes_since }) = self.cut_off else { return false };
        let is_changed = may_be_since(entry, since);
        if is_changed && entry.kind == EntryKind::Directory {
            let may_lack = deletes_since.is_some_and(|since| may_be_since(entry, since));
            self.enter(&entry.key, may_lack);
        }
        is_changed && row.is_none_or(|row| row.target != entry.stamp)
    }

    /// Whether such a run may have removed what is missing at a key: the directory that held it changed
    /// since, or is gone in the same way. Unless it deletes, a run removes only what it puts something
    /// of another kind in the place of, which `is_replaced` tells.
    pub(super) fn lacks(&mut self, key: &Key, is_replaced: impl FnOnce() -> bool) -> bool {
        self.leave(key);
        let directory = self.directories.last().filter(|it| it.key.as_bytes() == key.parent());
        match directory {
            None => false,
            Some(Changed { may_lack: false, .. }) => is_replaced(),
            Some(Changed { may_lack: true, .. }) => {
                if key.is_directory() {
                    self.enter(key, true);
                }
                true
            }
        }
    }

    fn enter(&mut self, directory: &Key, may_lack: bool) {
        self.leave(directory);
        self.directories.push(Changed { key: directory.clone(), may_lack });
    }

    /// Leaves the directories that `key` doesn't lie in.
    fn leave(&mut self, key: &Key) {
        while self.directories.pop_if(|it| !key.is_within(it.key.as_bytes())).is_some() {}
    }
}

/// Whether an entry may have changed since a moment.
fn may_be_since(entry: &Entry, since: Timestamp) -> bool {
    match entry.stamp.inode() {
        Some(_) => entry.stamp.may_be_since(since),
        // A listing of a store tells when an object was put; its clock is another.
        None if entry.completeness == Completeness::ListingOnly => {
            let put = entry.metadata.mtime;
            put >= since || put.distance(since) <= COARSEST_TIMES
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::Inode;
    use crate::model::{ETag, Metadata, Stamp};

    const SINCE: Timestamp = Timestamp { seconds: 100, nanos: 500_000_000 };

    /// A run that deletes.
    fn deleting() -> Unsettled {
        Unsettled::by(Some(CutOff::of_unknown_runs(SINCE)))
    }

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
        Entry { kind, stamp, ..Entry::new_file(key, 1, Metadata::default()) }
    }

    #[test]
    fn what_changed_since_is_unsettled_and_nothing_else() {
        let mut unsettled = deleting();
        assert!(unsettled.holds(&entry("a", at(101)), None));
        assert!(unsettled.holds(&entry("b", Timestamp { nanos: 495_000_000, ..SINCE }), None));
        assert!(!unsettled.holds(&entry("c", at(99)), None));
        assert!(!Unsettled::by(None).holds(&entry("a", at(101)), None));
    }

    #[test]
    fn an_object_is_unsettled_by_when_it_was_put() {
        let mut unsettled = deleting();
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
        let mut unsettled = deleting();
        let lacks = |unsettled: &mut Unsettled, key: &str| {
            unsettled.lacks(&Key::new(key.as_bytes()), || false)
        };
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

    #[test]
    fn what_a_run_can_have_removed_that_does_not_delete_is_what_it_replaced() {
        let (first, second) = (at(90), at(110));
        for deletes_since in [None, Some(second)] {
            let mut unsettled = Unsettled::by(Some(CutOff { since: first, deletes_since }));
            let mut lacks = |key: &str, is_replaced| {
                unsettled.holds(&entry("d/", at(100)), None);
                unsettled.lacks(&Key::new(key.as_bytes()), || is_replaced)
            };
            assert!(!lacks("d/gone", false), "{deletes_since:?}");
            assert!(!lacks("d/e/", false) && !lacks("d/e/f", true));
            assert!(lacks("d/file", true) && lacks("d/directory/", true));
            assert!(!lacks("d/directory/f", true), "it was empty");
            unsettled.holds(&entry("e/", at(120)), None);
            let lacks = unsettled.lacks(&Key::new(&b"e/f"[..]), || false);
            assert_eq!(lacks, deletes_since.is_some());
        }
    }

    #[test]
    fn runs_that_were_cut_off_count_from_the_first_on() {
        let one = CutOff { since: at(2), deletes_since: None };
        let other = CutOff { since: at(3), deletes_since: Some(at(3)) };
        let both = CutOff { since: at(2), deletes_since: Some(at(3)) };
        assert_eq!((one.and(other), other.and(one)), (both, both));
        assert_eq!(one.and(one), one);
    }
}
