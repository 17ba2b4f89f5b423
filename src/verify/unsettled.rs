//! Detection of entries that may be the unrecorded work of a killed run.

use crate::manifest::{CutOff, Row};
use crate::model::entry::Completeness;
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{Entry, EntryKind, Key, Timestamp};

/// Finds such entries among those that differ, in key order: they must have changed since the run
/// began.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Since when such runs were under way, if there were any.
    cut_off: Option<CutOff>,
    /// The directories around the last entry in which such runs may have changed something.
    directories: Vec<Changed>,
}

/// A directory that changed since such a run began.
#[derive(Debug)]
struct Changed {
    key: Key,
    /// Whether it changed since the start of a run that deletes.
    may_lack: bool,
    /// Whether such a run may have renamed it, so that what is in it didn't change.
    may_be_renamed: bool,
}

impl Unsettled {
    /// Returns a detector that ignores everything unchanged since before such runs.
    pub(super) fn by(cut_off: Option<CutOff>) -> Self {
        Self { cut_off, directories: Vec::new() }
    }

    /// Returns whether an entry may be the work of such a run; `row` is the recorded one.
    pub(super) fn may_have_changed(&mut self, entry: &Entry, row: Option<&Row>) -> bool {
        let Some(CutOff { since, deletes_since }) = self.cut_off else { return false };
        let is_changed = may_be_since(entry, since);
        self.leave(&entry.key);
        let parent = self.directories.last().filter(|it| it.key.as_bytes() == entry.key.parent());
        let is_moved = row.is_none() && parent.is_some_and(|parent| parent.may_be_renamed);
        if (is_changed || is_moved) && entry.kind == EntryKind::Directory {
            let may_lack = deletes_since.is_some_and(|since| may_be_since(entry, since));
            let may_be_renamed = row.is_none() && (may_lack || is_moved);
            self.directories.push(Changed { key: entry.key.clone(), may_lack, may_be_renamed });
        }
        is_moved || is_changed && row.is_none_or(|row| row.target != entry.stamp)
    }

    /// Returns whether such a run may have removed the entry missing at a key: its directory
    /// changed since, or may have been removed by the run too. A run that doesn't delete only
    /// removes entries that it replaces by one of another kind, which `is_replaced` finds out.
    pub(super) fn may_have_removed(
        &mut self,
        key: &Key,
        is_replaced: impl FnOnce() -> bool,
    ) -> bool {
        self.leave(key);
        let directory = self.directories.last().filter(|it| it.key.as_bytes() == key.parent());
        match directory {
            None => false,
            Some(Changed { may_lack: false, .. }) => is_replaced(),
            Some(Changed { may_lack: true, .. }) => {
                if key.is_directory() {
                    let (key, may_be_renamed) = (key.clone(), false);
                    self.directories.push(Changed { key, may_lack: true, may_be_renamed });
                }
                true
            }
        }
    }

    /// Leaves the directories that don't contain `key`.
    fn leave(&mut self, key: &Key) {
        while self.directories.pop_if(|it| !key.is_within(it.key.as_bytes())).is_some() {}
    }
}

/// Returns whether an entry may have changed since a point in time.
fn may_be_since(entry: &Entry, since: Timestamp) -> bool {
    match entry.stamp.inode() {
        Some(_) => entry.stamp.may_be_since(since),
        // The listing of a store gives the time of the PUT, by the store's own clock.
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

    /// Returns a detector after a killed run that deletes.
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
    fn only_entries_that_changed_since_are_unsettled() {
        let mut unsettled = deleting();
        assert!(unsettled.may_have_changed(&entry("a", at(101)), None));
        assert!(
            unsettled
                .may_have_changed(&entry("b", Timestamp { nanos: 495_000_000, ..SINCE }), None)
        );
        assert!(!unsettled.may_have_changed(&entry("c", at(99)), None));
        assert!(!Unsettled::by(None).may_have_changed(&entry("a", at(101)), None));
    }

    #[test]
    fn an_object_is_unsettled_by_the_time_of_its_put() {
        let mut unsettled = deleting();
        let object = |put| Entry {
            stamp: Stamp::of_object(1, ETag::new(b"t")),
            metadata: Metadata { mtime: at(put), ..Metadata::default() },
            completeness: Completeness::ListingOnly,
            ..entry("a", at(1))
        };
        assert!(unsettled.may_have_changed(&object(99), None));
        assert!(!unsettled.may_have_changed(&object(97), None));
        let looked_at = Entry { completeness: Completeness::Full, ..object(101) };
        assert!(!unsettled.may_have_changed(&looked_at, None), "its time is the file's");
    }

    #[test]
    fn a_missing_entry_is_unsettled_if_its_directory_changed() {
        let mut unsettled = deleting();
        let lacks = |unsettled: &mut Unsettled, key: &str| {
            unsettled.may_have_removed(&Key::new(key.as_bytes()), || false)
        };
        unsettled.may_have_changed(&entry("", at(99)), None);
        assert!(!lacks(&mut unsettled, "a"));
        unsettled.may_have_changed(&entry("d/", at(101)), None);
        assert!(lacks(&mut unsettled, "d/e"));
        assert!(lacks(&mut unsettled, "d/f/"));
        assert!(lacks(&mut unsettled, "d/f/g"));
        unsettled.may_have_changed(&entry("d/h/", at(99)), None);
        assert!(!lacks(&mut unsettled, "d/h/i"));
        assert!(lacks(&mut unsettled, "d/j"));
        assert!(!lacks(&mut unsettled, "k"));
    }

    #[test]
    fn what_is_in_a_directory_that_may_be_renamed_is_unsettled() {
        let mut unsettled = deleting();
        let mut is_unsettled =
            |key: &str, ctime| unsettled.may_have_changed(&entry(key, at(ctime)), None);
        assert!(is_unsettled("d/", 101));
        assert!(is_unsettled("d/a", 99));
        assert!(is_unsettled("d/e/", 99) && is_unsettled("d/e/f", 99) && is_unsettled("d/g", 99));
        assert!(!is_unsettled("h/", 99) && !is_unsettled("h/i", 99) && !is_unsettled("j", 99));
    }

    #[test]
    fn a_run_that_does_not_delete_can_only_have_removed_what_it_replaced() {
        let (first, second) = (at(90), at(110));
        for deletes_since in [None, Some(second)] {
            let mut unsettled = Unsettled::by(Some(CutOff { since: first, deletes_since }));
            let mut lacks = |key: &str, is_replaced| {
                unsettled.may_have_changed(&entry("d/", at(100)), None);
                unsettled.may_have_removed(&Key::new(key.as_bytes()), || is_replaced)
            };
            assert!(!lacks("d/gone", false), "{deletes_since:?}");
            assert!(!lacks("d/e/", false) && !lacks("d/e/f", true));
            assert!(lacks("d/file", true) && lacks("d/directory/", true));
            assert!(!lacks("d/directory/f", true), "it was empty");
            unsettled.may_have_changed(&entry("e/", at(120)), None);
            let lacks = unsettled.may_have_removed(&Key::new(&b"e/f"[..]), || false);
            assert_eq!(lacks, deletes_since.is_some());
        }
    }

    #[test]
    fn several_runs_that_were_cut_off_count_from_the_first() {
        let one = CutOff { since: at(2), deletes_since: None };
        let other = CutOff { since: at(3), deletes_since: Some(at(3)) };
        let both = CutOff { since: at(2), deletes_since: Some(at(3)) };
        assert_eq!((one.and(other), other.and(one)), (both, both));
        assert_eq!(one.and(one), one);
    }
}
