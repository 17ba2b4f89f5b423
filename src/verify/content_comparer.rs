//! Comparison of one entry of the source with the target's: first as listed, then by content.

use super::{AgainstTotals, Sample, tally};
use crate::backend::{KeySpace, Source, Target};
use crate::compare::{Conflict, Pair, Seen};
use crate::engine::{Cores, ReadSide, Wanted};
use crate::filter::Filter;
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::run::Counter;
use crate::model::{
    Cause, Difference, Digest, Entry, EntryError, EntryKind, Event, Feature, Features, Finding,
    Keeps, Key, Metadata, Observer, Operation, Progress, Stop,
};
use parking_lot::Mutex;
use std::fmt;

/// An entry of both sides that has to be read or looked up.
pub(super) struct Job {
    pub(super) source: Entry,
    pub(super) target: Entry,
}

impl Job {
    /// Returns the bytes to read on both sides together: 0 if sizes differ or there is no content.
    pub(super) fn bytes(&self) -> u64 {
        let Self { source, target } = self;
        if source.stamp.size == target.stamp.size { source.size() + target.size() } else { 0 }
    }
}

/// Compares entries of two sides, and counts and reports the differences.
pub(super) struct ContentComparer<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) totals: Mutex<AgainstTotals>,
    pub(super) source: &'a dyn Source,
    pub(super) target: &'a dyn Target,
    /// Source and target for reading content, within the bandwidth limit.
    pub(super) readers: [&'a dyn Source; 2],
    pub(super) filter: &'a Filter,
    pub(super) key_space: KeySpace,
    pub(super) sample: Option<Sample>,
    /// Whether special files take part.
    pub(super) has_specials: bool,
    pub(super) extras_count: bool,
    /// Whether runs into the target keep directories without contents.
    pub(super) keeps_directories: bool,
    pub(super) cores: Cores,
    /// Bytes that were hashed, of the source and of the target.
    pub(super) bytes: [Counter; 2],
}

/// What reading content takes.
struct Reading<'a> {
    buffer: &'a mut [u8],
    progress: &'a Progress,
    stop: &'a Stop,
}

impl ContentComparer<'_> {
    /// Returns the number of differences so far that count.
    pub(super) fn differences(&self) -> u64 {
        let totals = self.totals.lock();
        let extra = if self.extras_count { totals.extra } else { 0 };
        totals.missing + totals.content + totals.metadata + extra
    }

    /// Compares an entry as listed; returns a job if it has to be read or looked up as well.
    pub(super) fn compare(&self, pair: Pair) -> Option<Job> {
        let Pair { key, source, target, conflict, .. } = pair;
        let (source, target) = match (source, target) {
            // Failures to list were reported already, and extra entries are handled elsewhere.
            (Seen::Unknown | Seen::Absent, _) | (_, Seen::Unknown) => return None,
            (Seen::Present(source), target) => (source, target),
        };
        let is_skipped = !self.has_specials && matches!(source.kind, EntryKind::Special(_));
        if is_skipped || self.is_excluded(&source) {
            return None;
        }
        self.count(|totals| totals.entries += 1);
        let is_kept = source.kind != EntryKind::Directory || self.keeps_directories;
        let Seen::Present(target) = target else {
            // A bucket can't have a marker for its root.
            let is_rootless = key.is_root() && self.key_space == KeySpace::Flat;
            let has_links = self.target.keeps().is_none_or(|keeps| keeps.links);
            if source.kind == EntryKind::Symlink && !has_links {
                let what = format!("{} -> none", source.kind);
                self.differs(&key, &Difference::Metadata(what));
            } else if !is_rootless && (is_kept || conflict.is_some()) {
                self.differs(&key, &Difference::Missing);
            }
            if let Some(Conflict::DirectoryOverLeaf(leaf)) = &conflict
                && !self.is_left_out(leaf)
            {
                self.extra(&leaf.key);
            }
            return None;
        };
        if !is_kept && target.kind == EntryKind::Directory {
            return None;
        }
        let is_whole = |entry: &Entry| entry.completeness != Completeness::ListingOnly;
        if !(is_whole(&source) && is_whole(&target)) {
            let is_chosen = self.is_chosen(&key) || source.kind == EntryKind::Directory;
            if !is_chosen && source.stamp.size == target.stamp.size {
                self.count(|totals| totals.unread += 1);
                return None;
            }
            return Some(Job { source, target });
        }
        let are_files = (source.kind, target.kind) == (EntryKind::File, EntryKind::File);
        let is_of_size = source.stamp.size == target.stamp.size;
        if are_files && is_of_size && self.is_chosen(&key) {
            // Metadata is compared after reading, since it may change meanwhile.
            return Some(Job { source, target });
        }
        // A file that isn't read isn't inspected either.
        let attributes =
            if are_files { Vec::new() } else { self.attributes_or_fail(&source, &target)? };
        if !self.compare_whole(&source, &target, attributes) || !are_files {
            return None;
        }
        if is_of_size {
            self.count(|totals| totals.unread += 1);
        } else {
            self.differs(&key, &Difference::Content { source: None, target: None });
        }
        None
    }

    fn is_chosen(&self, key: &Key) -> bool {
        self.sample.is_none_or(|sample| sample.takes(key))
    }

    /// Returns whether a file is excluded by its size or age.
    pub(super) fn is_excluded(&self, entry: &Entry) -> bool {
        self.filter.excludes_file(entry)
    }

    /// Returns whether a mirror leaves an extra entry of the target alone.
    pub(super) fn is_left_out(&self, entry: &Entry) -> bool {
        self.filter.excludes_within(&entry.key) || self.is_excluded(entry)
    }

    /// Counts and reports an entry that the source lacks.
    pub(super) fn extra(&self, key: &Key) {
        self.differs(key, &Difference::Extra);
    }

    /// Returns, in words, how the attributes of both entries differ, if both sides have some.
    fn attributes(&self, source: &Entry, target: &Entry) -> Result<Vec<String>, EntryError> {
        if source.kind != target.kind || !self.both_inspect() {
            return Ok(Vec::new());
        }
        let inspect = |side: Side, entry: &Entry| {
            self.side(side)
                .inspect(entry)
                .map_err(|cause| EntryError::new(Operation::Read, side, &entry.key, cause))
        };
        let (source, target) = (inspect(Side::Source, source)?, inspect(Side::Target, target)?);
        let kinds = source.attributes.kinds().and(target.attributes.kinds());
        let (wanted, found) = (source.attributes.only(kinds), target.attributes.only(kinds));
        let mut differences = wanted.differences(&found);
        let are_unread = |inspected: Features| inspected.has(Feature::UnreadAttributes);
        for (side, features) in [("source", source.features), ("target", target.features)] {
            if are_unread(features) {
                differences.push(format!("{} in the {side}", Feature::UnreadAttributes));
            }
        }
        Ok(differences)
    }

    fn both_inspect(&self) -> bool {
        self.source.capabilities().inspects && self.target.capabilities().inspects
    }

    /// Returns whether both sides' listings tell which names are of one file.
    pub(super) fn both_list_links(&self) -> bool {
        [self.source.capabilities(), self.target.capabilities()].iter().all(|it| it.lists_metadata)
    }

    /// Does the same as [`attributes`](Self::attributes); returns `None` after reporting a failure.
    fn attributes_or_fail(&self, source: &Entry, target: &Entry) -> Option<Vec<String>> {
        self.attributes(source, target).inspect_err(|error| self.fail(error)).ok()
    }

    /// Compares kind, link text and metadata of entries that are fully known, of which these
    /// `attributes` differ. Returns whether both have the same kind.
    fn compare_whole(&self, source: &Entry, target: &Entry, attributes: Vec<String>) -> bool {
        if source.kind != target.kind {
            let what = format!("{} -> {}", source.kind, target.kind);
            self.differs(&source.key, &Difference::Metadata(what));
            return false;
        }
        let mut differences = Vec::new();
        let mut differ = |name: &str, source: &dyn fmt::Display, target: &dyn fmt::Display| {
            differences.push(format!("{name} {source} -> {target}"));
        };
        if source.kind == EntryKind::Symlink && source.link != target.link {
            let text = |link: &Option<Box<[u8]>>| {
                format!("\"{}\"", Escaped(link.as_deref().unwrap_or_default()))
            };
            differ("link", &text(&source.link), &text(&target.link));
        }
        if source.device() != target.device() {
            differ("device", &tally::device(source.device()), &tally::device(target.device()));
        }
        // Metadata that was not stored with an object can't be compared.
        if source.completeness == Completeness::Full && target.completeness == Completeness::Full {
            let found = &target.metadata;
            let is_link = target.kind == EntryKind::Symlink;
            let achievable =
                |existing| self.target.achievable_metadata(&source.metadata, source.kind, existing);
            // A mirror doesn't change entries of other users, but it is a difference.
            let owned = Metadata { uid: achievable(None).uid, ..*found };
            let wanted = achievable(Some(if is_link { found } else { &owned }));
            // Extra entries change their directory's time: it counts only if extra entries do.
            let has_time = source.kind != EntryKind::Directory || self.extras_count;
            // Both the source's value and the one that a mirror could achieve are right.
            let source = &source.metadata;
            let right =
                |source: u32, found: u32, wanted| if found == source { found } else { wanted };
            let is_kept = |keeps: Keeps| keeps.is_time(source.mtime, found.mtime);
            let has_time = has_time
                && found.mtime != source.mtime
                && !self.target.keeps().is_some_and(is_kept);
            let is_right = Metadata {
                mode: if is_link {
                    found.mode
                } else {
                    right(source.mode, found.mode, wanted.mode)
                },
                uid: right(source.uid, found.uid, wanted.uid),
                gid: right(source.gid, found.gid, wanted.gid),
                mtime: if has_time { wanted.mtime } else { found.mtime },
            };
            tally::metadata(&is_right, found, &mut differ);
        }
        differences.extend(attributes);
        if !differences.is_empty() {
            self.differs(&source.key, &Difference::Metadata(differences.join(", ")));
        }
        true
    }

    /// Reads and compares the content of both sides.
    pub(super) fn read(&self, job: Job, buffer: &mut [u8], progress: &Progress, stop: &Stop) {
        if stop.requested() {
            return;
        }
        let reading = &mut Reading { buffer, progress, stop };
        let (both, target) = (job.bytes(), job.target.size());
        match self.comparer(job, reading) {
            Ok(()) => {}
            Err(error) if matches!(error.cause, Cause::Stopped) => {}
            Err(error) => {
                let unread = if error.side == Side::Source { both } else { both.min(target) };
                progress.settled.bytes_unmoved.add(unread);
                self.fail(&error);
            }
        }
    }

    fn comparer(&self, job: Job, reading: &mut Reading<'_>) -> Result<(), EntryError> {
        let Job { source: mut one, target: mut other } = job;
        let key = one.key.clone();
        let is_other_size = one.stamp.size != other.stamp.size;
        if is_other_size || one.kind == EntryKind::Directory {
            // The content needn't be read.
            one = self.looked(Side::Source, one)?;
            other = self.looked(Side::Target, other)?;
            let is_one_kind = self.compare_whole(&one, &other, self.attributes(&one, &other)?);
            if is_one_kind && one.kind == EntryKind::File {
                self.differs(&key, &Difference::Content { source: None, target: None });
            }
            return Ok(());
        }
        let (listed_one, listed_other) = (one.stamp, other.stamp);
        let mut expected = self.hash(Side::Source, &mut one, reading)?;
        // With the digest known, a store needn't be asked for the one it recorded.
        other.recorded = Some(expected);
        let mut found = self.hash(Side::Target, &mut other, reading)?;
        // Content may be damaged in transit; damaged content in a store stays so on a second read.
        if expected != found && self.source.capabilities().remote {
            expected = self.hash(Side::Source, &mut one, reading)?;
        }
        if expected != found && self.target.capabilities().remote {
            found = self.hash(Side::Target, &mut other, reading)?;
        }
        if expected != found {
            // A difference proves nothing if a side has just been changed.
            self.check_unchanged(Side::Source, &one, listed_one == one.stamp)?;
            self.check_unchanged(Side::Target, &other, listed_other == other.stamp)?;
        }
        one = self.looked_at_rest(Side::Source, one)?;
        other = self.looked_at_rest(Side::Target, other)?;
        let attributes = self.attributes(&one, &other)?;
        if !self.compare_whole(&one, &other, attributes) || one.kind != EntryKind::File {
            return Ok(());
        }
        if expected == found {
            self.count(|totals| totals.equal += 1);
        } else {
            let (source, target) = (Some(expected), Some(found));
            self.differs(&key, &Difference::Content { source, target });
        }
        Ok(())
    }

    fn side(&self, side: Side) -> &dyn Source {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    /// Hashes an entry's content, and completes the entry by what reading returns.
    fn hash(
        &self,
        side: Side,
        entry: &mut Entry,
        reading: &mut Reading<'_>,
    ) -> Result<Digest, EntryError> {
        if let (EntryKind::Symlink, Some(text)) = (entry.kind, &entry.link) {
            return Ok(Digest::of(text));
        }
        // A special file is never opened; an object may turn out to be one.
        if matches!(entry.kind, EntryKind::Special(_)) {
            return Ok(Digest::of(b""));
        }
        let Reading { buffer, progress, stop } = reading;
        let (source, bytes) = match side {
            Side::Source => (self.readers[0], &self.bytes[0]),
            Side::Target => (self.readers[1], &self.bytes[1]),
        };
        let pass = |amount| {
            if stop.requested() {
                return Err(Cause::Stopped);
            }
            bytes.add(amount);
            Ok(())
        };
        let hashed = &progress.bytes_hashed;
        let from = ReadSide { source, side };
        let (read, hashed) =
            self.cores.hash_content(from, entry, buffer, hashed, &pass, Wanted::default())?;
        *entry = read;
        if let Some(info) =
            hashed.object_info.filter(|_| entry.completeness == Completeness::ListingOnly)
        {
            (entry.kind, entry.metadata, entry.completeness) =
                (info.kind, info.metadata, info.completeness);
        }
        Ok(hashed.digest)
    }

    /// Looks up an entry that was only listed.
    fn looked(&self, side: Side, listed: Entry) -> Result<Entry, EntryError> {
        if listed.completeness != Completeness::ListingOnly {
            return Ok(listed);
        }
        let Entry { key, .. } = &listed;
        let fail = |cause| EntryError::new(Operation::List, side, key, cause);
        match self.side(side).look(key).map_err(fail)? {
            Some(found) => Ok(found),
            // The root of a bucket has no object until metadata is stored for it.
            None if key.is_root() => Ok(Entry { completeness: Completeness::Implicit, ..listed }),
            None => Err(fail(Cause::Vanished)),
        }
    }

    /// Looks up the text of an entry that turned out to be a link, or the number of a device.
    fn looked_at_rest(&self, side: Side, entry: Entry) -> Result<Entry, EntryError> {
        let lacks_text = entry.kind == EntryKind::Symlink && entry.link.is_none();
        if lacks_text || entry.kind.is_device() && entry.device().is_none() {
            return self.looked(side, Entry { completeness: Completeness::ListingOnly, ..entry });
        }
        Ok(entry)
    }

    /// Returns an error if an entry has changed since it was listed and read.
    fn check_unchanged(
        &self,
        side: Side,
        read: &Entry,
        is_as_listed: bool,
    ) -> Result<(), EntryError> {
        let fail = |cause| Err(EntryError::new(Operation::Read, side, &read.key, cause));
        match self.side(side).look(&read.key) {
            Ok(Some(found)) if is_as_listed && found.stamp == read.stamp => Ok(()),
            Ok(Some(_)) => fail(Cause::Changed { attempts: 1 }),
            Ok(None) => fail(Cause::Vanished),
            Err(cause) => fail(cause),
        }
    }

    pub(super) fn differs(&self, key: &Key, difference: &Difference) {
        let counted = self.extras_count || *difference != Difference::Extra;
        self.count(|totals| match difference {
            Difference::Missing => totals.missing += 1,
            Difference::Content { .. } | Difference::Corrupt { .. } => totals.content += 1,
            Difference::Metadata(_) | Difference::Touched(_) | Difference::Unknown(_) => {
                totals.metadata += 1;
            }
            Difference::Extra => {
                totals.extra += 1;
                totals.entries += 1;
            }
        });
        let finding = Finding::new(key, difference.clone(), counted);
        self.observer.observe(&Event::Difference(finding));
    }

    /// Counts and reports a part of a side that could not be listed.
    pub(super) fn fail_to_list(&self, error: &EntryError) {
        self.count(|totals| totals.entries += 1);
        self.fail(error);
    }

    fn fail(&self, error: &EntryError) {
        self.count(|totals| totals.failed += 1);
        self.observer.observe(&Event::Failed(error.clone()));
    }

    fn count(&self, add: impl FnOnce(&mut AgainstTotals)) {
        add(&mut self.totals.lock());
    }
}
