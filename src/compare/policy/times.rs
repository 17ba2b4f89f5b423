//! Modification times that count as one although they differ.

use super::Policy;
use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::stamp::StampMatch;
use crate::model::{Entry, Metadata, Timestamp};

impl Policy {
    /// Returns whether a time of the target is what it keeps of the wanted one, or near enough.
    fn is_kept_time(&self, found: Timestamp, wanted: Timestamp) -> bool {
        self.is_one_time(found, wanted) || wanted.cut(self.options.time_unit) == found
    }

    /// Returns whether two modification times count as one.
    fn is_one_time(&self, one: Timestamp, other: Timestamp) -> bool {
        one.distance(other) <= self.options.modify_window.as_nanos()
    }

    /// Returns whether the target's entry is newer than the source's.
    pub(super) fn is_newer(&self, target: &Entry, source: &Entry) -> bool {
        let (target, source) = (target.metadata.mtime, source.metadata.mtime);
        target > source && !self.is_one_time(target, source)
    }

    /// Returns the metadata of a target's entry, with the wanted modification time if its own
    /// counts as the same.
    pub fn within_window(&self, found: &Metadata, wanted: Timestamp) -> Metadata {
        let mtime = if self.is_kept_time(found.mtime, wanted) { wanted } else { found.mtime };
        Metadata { mtime, ..*found }
    }

    /// Returns whether both have the same mtime. The time at which an object was put doesn't count
    /// as one.
    pub(super) fn same_time(&self, source: &Entry, existing: &Entry) -> bool {
        let is_whole = |entry: &Entry| entry.completeness == Completeness::Full;
        is_whole(source)
            && is_whole(existing)
            && self.is_kept_time(existing.metadata.mtime, source.metadata.mtime)
    }

    /// Returns whether a target's file was last read at another time than the source's, and the run
    /// keeps that time.
    pub fn has_other_access(&self, source: &Entry, existing: &Entry) -> bool {
        let wanted = source.accessed().filter(|_| self.options.preserve.atimes);
        wanted.is_some() && existing.accessed() != wanted
    }

    /// Returns whether a target's entry has other flags than the source's, and the run keeps flags.
    /// It has not if these were set as the row was written: the target can't have them.
    pub fn has_other_flags(&self, source: &Entry, existing: &Entry, row: Option<&Row>) -> bool {
        let wanted = source.flags();
        let is_tried = |row: &Row| {
            let tried = row.extras.as_ref().map(|extras| extras.flags).unwrap_or_default();
            tried == wanted
                && existing.stamp.compare(&row.target, self.options.trust) == StampMatch::Same
        };
        self.options.preserve.flags && existing.flags() != wanted && !row.is_some_and(is_tried)
    }

    /// Compares a target's stamp with the recorded one. Content whose time differs by no more than
    /// the window is hashed.
    pub(super) fn compare_target(&self, existing: &Entry, row: &Row) -> StampMatch {
        let compared = existing.stamp.compare(&row.target, self.options.trust);
        match (compared, existing.stamp.mtime(), row.target.mtime()) {
            (StampMatch::Mtime, Some(found), Some(recorded))
                if self.is_one_time(found, recorded) =>
            {
                StampMatch::Doubtful
            }
            _ => compared,
        }
    }
}
