//! One entry of the source held against the target's: what listings tell first, then content.

use super::{AgainstTotals, Difference, Sample, VerifyObserver, tally};
use crate::backend::{KeySpace, Source, Target};
use crate::compare::{Conflict, Pair, Seen};
use crate::engine::{Cores, ReadSide, Wanted};
use crate::filter::Filter;
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::run::Counter;
use crate::model::{
    Cause, Digest, Entry, EntryError, EntryKind, Features, Keeps, Key, Metadata, Operation,
    Progress, Stop,
};
use parking_lot::Mutex;
use std::fmt;

/// An entry that both sides have, of which more is to be found out.
pub(super) struct Job {
    pub(super) source: Entry,
    pub(super) target: Entry,
}

impl Job {
    /// Bytes to read, of both sides together: none of what has another size, or no content.
    pub(super) fn bytes(&self) -> u64 {
        let Self { source, target } = self;
        if source.stamp.size == target.stamp.size { source.size() + target.size() } else { 0 }
    }
}

/// What was found so far.
pub(super) struct ContentComparer<'a> {
    pub(super) observer: &'a dyn VerifyObserver,
    pub(super) totals: Mutex<AgainstTotals>,
    pub(super) source: &'a dyn Source,
    pub(super) target: &'a dyn Target,
    /// Both as their content is read, within the limit of bandwidth: the source, the target.
    pub(super) readers: [&'a dyn Source; 2],
    pub(super) filter: &'a Filter,
    pub(super) key_space: KeySpace,
    pub(super) sample: Option<Sample>,
    pub(super) extras_count: bool,
    /// Whether runs into the target keep directories for themselves.
    pub(super) keeps_directories: bool,
    pub(super) cores: Cores,
    /// Bytes hashed of the source and of the target.
    pub(super) bytes: [Counter; 2],
}

/// What is asked while content is read.
struct Reading<'a> {
    buffer: &'a mut [u8],
    progress: &'a Progress,
    stop: &'a Stop,
}

impl ContentComparer<'_> {
    /// Compares what the listings show; what more is to be found out is returned.
    pub(super) fn compare(&self, pair: Pair) -> Option<Job> {
        let Pair { key, source, target, conflict, .. } = pair;
        let (source, target) = match (source, target) {
            // Of what is unknown a failure was told, and what only the target has is told apart.
            (Seen::Unknown | Seen::Absent, _) | (_, Seen::Unknown) => return None,
            (Seen::Present(source), target) => (source, target),
        };
        if self.is_excluded(&source) {
            return None;
        }
        self.count(|totals| totals.entries += 1);
        let is_kept = source.kind != EntryKind::Directory || self.keeps_directories;
        let Seen::Present(target) = target else {
            // A bucket has no place for a prefix's own marker.
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
            // What changes meanwhile has other metadata too: that is compared once it was read.
            return Some(Job { source, target });
        }
        // A file that isn't read isn't looked at closer either.
        let lost =
            if are_files { Features::default() } else { self.lost_or_fail(&source, &target)? };
        if !self.compare_whole(&source, &target, lost) || !are_files {
            return None;
        }
        if is_of_size {
            self.count(|totals| totals.unread += 1);
        } else {
            self.differs(&key, &Difference::Corrupt { expected: None, found: None });
        }
        None
    }

    fn is_chosen(&self, key: &Key) -> bool {
        self.sample.is_none_or(|sample| sample.takes(key))
    }

    /// Whether a file takes no part for its size.
    pub(super) fn is_excluded(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::File && self.filter.excludes_size(entry.stamp.size)
    }

    /// Whether a mirror leaves an entry of the target alone, though the source lacks it.
    pub(super) fn is_left_out(&self, entry: &Entry) -> bool {
        self.filter.excludes_within(&entry.key) || self.is_excluded(entry)
    }

    /// Takes note of an entry that the source lacks.
    pub(super) fn extra(&self, key: &Key) {
        self.differs(key, &Difference::Extra);
    }

    /// What a source's entry has that the target's hasn't, where both sides tell.
    fn lost(&self, source: &Entry, target: &Entry) -> Result<Features, EntryError> {
        if source.kind != target.kind || !self.both_inspect() {
            return Ok(Features::default());
        }
        let inspect = |side: Side, entry: &Entry| {
            self.side(side)
                .inspect(entry)
                .map(|inspected| inspected.features)
                .map_err(|cause| EntryError::new(Operation::Read, side, &entry.key, cause))
        };
        let features = inspect(Side::Source, source)?;
        if features.is_empty() {
            return Ok(features);
        }
        Ok(features.without(inspect(Side::Target, target)?))
    }

    fn both_inspect(&self) -> bool {
        self.source.capabilities().inspects && self.target.capabilities().inspects
    }

    /// The same; `None` where that failed, which was told.
    fn lost_or_fail(&self, source: &Entry, target: &Entry) -> Option<Features> {
        self.lost(source, target).inspect_err(|error| self.fail(error)).ok()
    }

    /// Compares kind, link text and metadata of entries of which all is known, and counts what was
    /// `lost`; whether both are of one kind.
    fn compare_whole(&self, source: &Entry, target: &Entry, lost: Features) -> bool {
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
        // What nobody stored with an object is neither right nor wrong.
        if source.completeness == Completeness::Full && target.completeness == Completeness::Full {
            let found = &target.metadata;
            let is_link = target.kind == EntryKind::Symlink;
            let holds =
                |existing| self.target.achievable_metadata(&source.metadata, source.kind, existing);
            // A mirror leaves alone what is another user's; a difference it is all the same.
            let owned = Metadata { uid: holds(None).uid, ..*found };
            let wanted = holds(Some(if is_link { found } else { &owned }));
            // An extra entry changes its directory's time: that counts where extras do.
            let has_time = source.kind != EntryKind::Directory || self.extras_count;
            // What is the source's is right, and so is what a mirror could make of that.
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
        if !lost.is_empty() {
            differences.push(format!("{lost} -> none"));
        }
        if !differences.is_empty() {
            self.differs(&source.key, &Difference::Metadata(differences.join(", ")));
        }
        true
    }

    /// Reads both sides, and compares what is found.
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
            // Reading would not be worth it.
            one = self.looked(Side::Source, one)?;
            other = self.looked(Side::Target, other)?;
            let is_one_kind = self.compare_whole(&one, &other, self.lost(&one, &other)?);
            if is_one_kind && one.kind == EntryKind::File {
                self.differs(&key, &Difference::Corrupt { expected: None, found: None });
            }
            return Ok(());
        }
        let (listed_one, listed_other) = (one.stamp, other.stamp);
        let mut expected = self.hash(Side::Source, &mut one, reading)?;
        // What is right is known: nobody needs to ask a store what it takes the content for.
        other.recorded = Some(expected);
        let mut found = self.hash(Side::Target, &mut other, reading)?;
        // A bit may have flipped on its way from a store; what lies there wrong is wrong the second
        // time too.
        if expected != found && self.source.capabilities().remote {
            expected = self.hash(Side::Source, &mut one, reading)?;
        }
        if expected != found && self.target.capabilities().remote {
            found = self.hash(Side::Target, &mut other, reading)?;
        }
        if expected != found {
            // What differs because one side is just being changed says nothing.
            self.stands(Side::Source, &one, listed_one == one.stamp)?;
            self.stands(Side::Target, &other, listed_other == other.stamp)?;
        }
        if one.kind == EntryKind::Symlink || other.kind == EntryKind::Symlink {
            one = self.looked_at_link(Side::Source, one)?;
            other = self.looked_at_link(Side::Target, other)?;
        }
        let lost = self.lost(&one, &other)?;
        if !self.compare_whole(&one, &other, lost) || one.kind == EntryKind::Symlink {
            return Ok(());
        }
        if expected == found {
            self.count(|totals| totals.equal += 1);
        } else {
            let (expected, found) = (Some(expected), Some(found));
            self.differs(&key, &Difference::Corrupt { expected, found });
        }
        Ok(())
    }

    fn side(&self, side: Side) -> &dyn Source {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    /// Hashes an entry's content, and adds what reading tells of it.
    fn hash(
        &self,
        side: Side,
        entry: &mut Entry,
        reading: &mut Reading<'_>,
    ) -> Result<Digest, EntryError> {
        if let (EntryKind::Symlink, Some(text)) = (entry.kind, &entry.link) {
            return Ok(Digest::of(text));
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
        if let Some(info) = hashed.object_info.filter(|_| entry.completeness == Completeness::ListingOnly)
        {
            (entry.kind, entry.metadata, entry.completeness) =
                (info.kind, info.metadata, info.completeness);
        }
        Ok(hashed.digest)
    }

    /// Looks at what was only listed.
    fn looked(&self, side: Side, listed: Entry) -> Result<Entry, EntryError> {
        if listed.completeness != Completeness::ListingOnly {
            return Ok(listed);
        }
        let Entry { key, .. } = &listed;
        let fail = |cause| EntryError::new(Operation::List, side, key, cause);
        match self.side(side).look(key).map_err(fail)? {
            Some(found) => Ok(found),
            // A bucket's root has no object until something is kept of it.
            None if key.is_root() => Ok(Entry { completeness: Completeness::Implicit, ..listed }),
            None => Err(fail(Cause::Vanished)),
        }
    }

    /// Looks at what turned out to be a link, for its text.
    fn looked_at_link(&self, side: Side, entry: Entry) -> Result<Entry, EntryError> {
        if entry.kind == EntryKind::Symlink && entry.link.is_none() {
            return self.looked(side, Entry { completeness: Completeness::ListingOnly, ..entry });
        }
        Ok(entry)
    }

    /// Makes sure that an entry still is as it was listed and read.
    fn stands(&self, side: Side, read: &Entry, is_as_listed: bool) -> Result<(), EntryError> {
        let fail = |cause| Err(EntryError::new(Operation::Read, side, &read.key, cause));
        match self.side(side).look(&read.key) {
            Ok(Some(found)) if is_as_listed && found.stamp == read.stamp => Ok(()),
            Ok(Some(_)) => fail(Cause::Changed { attempts: 1 }),
            Ok(None) => fail(Cause::Vanished),
            Err(cause) => fail(cause),
        }
    }

    fn differs(&self, key: &Key, difference: &Difference) {
        let counted = self.extras_count || *difference != Difference::Extra;
        self.count(|totals| match difference {
            Difference::Missing => totals.missing += 1,
            Difference::Corrupt { .. } => totals.content += 1,
            Difference::Metadata(_) | Difference::Touched(_) | Difference::Unknown(_) => {
                totals.metadata += 1;
            }
            Difference::Extra => {
                totals.extra += 1;
                totals.entries += 1;
            }
        });
        self.observer.difference(key, difference, counted);
    }

    /// Takes note of a part of a side that could not be listed.
    pub(super) fn fail_to_list(&self, error: &EntryError) {
        self.count(|totals| totals.entries += 1);
        self.fail(error);
    }

    fn fail(&self, error: &EntryError) {
        self.count(|totals| totals.failed += 1);
        self.observer.failed(error);
    }

    fn count(&self, add: impl FnOnce(&mut AgainstTotals)) {
        add(&mut self.totals.lock());
    }
}
