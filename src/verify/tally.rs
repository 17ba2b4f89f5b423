//! Comparison of the entry at a key with its row, and the counts of a verification.

use super::broken::Broken;
use super::links::Torn;
use super::{Depth, VerifyTotals};
use crate::backend::{Source, Target};
use crate::engine::{Cores, ReadSide, Wanted};
use crate::filter::Filter;
use crate::manifest::{Row, Verified};
use crate::model::entry::Completeness;
use crate::model::key::Escaped;
use crate::model::stamp::Evidence;
use crate::model::{
    AttributeKinds, Cause, DeviceNumber, Difference, Digest, ETag, Entry, EntryError, EntryKind,
    Event, ExtraKinds, Extras, Feature, Finding, Key, Metadata, Observer, Operation, Progress,
    Stamp, Stop, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::time::Instant;

/// A file to hash.
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) expected: Expected,
    /// The target's stamp in its row.
    pub(super) recorded: Stamp,
    /// When it was verified last.
    pub(super) verified_at: Option<Timestamp>,
    /// Whether a difference of its metadata was reported.
    pub(super) is_reported: bool,
    /// Whether it may be the work of a killed run.
    pub(super) is_unsettled: bool,
}

impl Job {
    /// Returns the record that it was verified, unless its row has no BLAKE3.
    pub(super) fn verified(self, at: Timestamp) -> Option<Verified> {
        let digest = self.expected.blake3()?;
        Some(Verified { key: self.entry.key, digest, target: self.recorded, at })
    }
}

/// The digest that a file's content should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Blake3(Digest),
    /// The only digest in an imported list, for a file that had other content at the time.
    Sha256([u8; 32]),
}

impl Expected {
    fn of(row: &Row) -> Option<Self> {
        row.digest.map(Self::Blake3).or(row.extra.sha256.map(Self::Sha256))
    }

    pub(super) fn blake3(self) -> Option<Digest> {
        match self {
            Self::Blake3(digest) => Some(digest),
            Self::Sha256(_) => None,
        }
    }

    /// Returns the digest for display, whichever it is.
    pub(super) fn shown(self) -> Digest {
        match self {
            Self::Blake3(digest) => digest,
            Self::Sha256(digest) => Digest(digest),
        }
    }
}

/// What is known about a file before it is read.
#[derive(Clone, Copy)]
struct Found {
    /// Whether a difference of its metadata was reported.
    is_reported: bool,
    /// Whether it may be the work of a killed run.
    is_unsettled: bool,
}

/// Compares entries with rows, and counts and reports the differences.
pub(super) struct Tally<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) totals: Mutex<VerifyTotals>,
    pub(super) target: &'a dyn Target,
    /// The target for reading content, within the bandwidth limit.
    pub(super) reader: &'a dyn Source,
    pub(super) filter: &'a Filter,
    pub(super) extras_count: bool,
    /// Whether what may be the work of a killed run is not counted.
    pub(super) allow_incomplete: bool,
    pub(super) directory_times_count: bool,
    pub(super) depth: Depth,
    pub(super) cores: Cores,
    /// The time from which no file is begun.
    pub(super) deadline: Option<Instant>,
    /// Collects entries to be repaired, if that is wanted.
    pub(super) broken: Option<Mutex<Broken>>,
}

impl Tally<'_> {
    /// Returns the number of differences so far that count.
    pub(super) fn differences(&self) -> u64 {
        let totals = self.totals.lock();
        let extra = if self.extras_count { totals.extra } else { 0 };
        totals.missing + totals.corrupt + totals.metadata + totals.touched + extra
    }

    /// Returns whether an entry without a row is excluded, so that a mirror doesn't delete it.
    pub(super) fn is_left_out(&self, entry: &Entry) -> bool {
        self.filter.excludes_within(&entry.key) || self.filter.excludes_file(entry)
    }

    /// Counts and reports an entry without a row.
    pub(super) fn extra(&self, key: &Key) {
        self.count(|totals| totals.entries += 1);
        self.differs(key, &Difference::Extra);
    }

    /// Counts and reports a name that isn't of one file with the same names as was recorded.
    pub(super) fn torn(&self, key: &Key, torn: Torn) {
        self.differs(key, &Difference::Metadata(torn.words().to_owned()));
    }

    /// Counts and reports an entry without a row that may be the work of a killed run.
    pub(super) fn unsettled_extra(&self, key: &Key) {
        self.count(|totals| totals.entries += 1);
        self.unsettles(key, &Difference::Extra, false);
    }

    /// Returns whether a missing entry was replaced by one of another kind: a leaf by a directory,
    /// or the reverse.
    pub(super) fn is_replaced(&self, key: &Key) -> bool {
        let other = Key::child(key.parent(), key.name(), !key.is_directory());
        match self.target.look(&other) {
            Ok(found) => found.is_some(),
            Err(cause) => {
                self.fail(&EntryError::on_target(Operation::List, other, cause));
                false
            }
        }
    }

    /// Compares an entry as listed with its row; returns a job if it has to be hashed.
    /// `is_unsettled` says that a killed run may have made or removed the entry.
    pub(super) fn compare(
        &self,
        entry: Option<Entry>,
        row: Option<Row>,
        is_unsettled: bool,
    ) -> Option<Job> {
        // Entries without a row are handled elsewhere.
        let row = row?;
        self.count(|totals| totals.entries += 1);
        let Some(mut entry) = entry else {
            self.breaks(&row, None, &Difference::Missing, is_unsettled);
            return None;
        };
        let is_seen =
            entry.completeness == Completeness::Full || row.complete(&row.target, &mut entry);
        if !is_seen {
            // The listing of a store gives kind and metadata only of objects that are as recorded.
            let difference = match row.kind {
                EntryKind::Symlink | EntryKind::Special(_) => {
                    Difference::Corrupt { expected: row.digest, found: None }
                }
                EntryKind::Directory => Difference::Metadata("its marker is missing".to_owned()),
                EntryKind::File => {
                    entry.kind = row.kind;
                    (entry.metadata, entry.link) = (row.metadata, row.link.clone());
                    return self.content(entry, &row, Found { is_reported: false, is_unsettled });
                }
            };
            if entry.stamp != row.target {
                self.breaks(&row, Some(&entry), &difference, is_unsettled);
            }
            return None;
        }
        if entry.kind != row.kind {
            let what = format!("{} -> {}", row.kind, entry.kind);
            self.breaks(&row, Some(&entry), &Difference::Metadata(what), is_unsettled);
            return None;
        }
        let is_known = !row.target.is_unknown() || row.kind != EntryKind::File;
        let metadata = if is_known { self.metadata(&entry, &row) } else { None };
        let is_reported = metadata.is_some();
        if let Some(what) = metadata {
            let difference = Difference::Metadata(what);
            let is_another = row.link != entry.link || row.device() != entry.device();
            if is_another || is_unsettled {
                self.breaks(&row, Some(&entry), &difference, is_unsettled);
            } else {
                self.differs(&row.key, &difference);
                if let Some(mut broken) = self.broken() {
                    broken.metadata(&recorded(&row), &entry);
                }
            }
        } else if row.kind == EntryKind::Directory
            && row.target.mtime().is_some_and(|mtime| mtime != entry.metadata.mtime)
            && let Some(mut broken) = self.broken()
        {
            broken.time(&recorded(&row));
        }
        if row.kind != EntryKind::File {
            return None;
        }
        self.content(entry, &row, Found { is_reported, is_unsettled })
    }

    /// Compares the size of a file, and its stamp if content isn't read and nothing else differs;
    /// returns a job if it has to be hashed.
    fn content(&self, entry: Entry, row: &Row, found: Found) -> Option<Job> {
        let expected = Expected::of(row);
        // If no size was recorded, only the digest can be compared.
        let is_of_any_size = row.target.is_unknown() && expected.is_some();
        if entry.stamp.size != row.target.size && !is_of_any_size {
            let difference = Difference::Corrupt { expected: row.digest, found: None };
            if found.is_unsettled {
                self.unsettles(&row.key, &difference, found.is_reported);
                return None;
            }
            self.differs(&row.key, &difference);
            if let Some(mut broken) = self.broken() {
                let by_sha256 = expected.is_some_and(|expected| expected.blake3().is_none());
                let differences = 1 + u8::from(found.is_reported);
                broken.anew(&recorded(row), Some(&entry), differences, by_sha256);
            }
            return None;
        }
        if self.depth == Depth::Stamps
            && !found.is_reported
            && let Some(what) = touched(&entry.stamp, &row.target)
        {
            let difference = Difference::Touched(what);
            if found.is_unsettled {
                self.unsettles(&row.key, &difference, false);
            } else {
                self.differs(&row.key, &difference);
            }
        }
        let Some(expected) = expected else {
            self.count(|totals| totals.unproven += 1);
            return None;
        };
        let is_chosen = matches!(self.depth, Depth::Content(choice) if choice.takes(row));
        if !is_chosen {
            self.count(|totals| totals.unread += 1);
            return None;
        }
        self.count(|totals| totals.chosen += 1);
        Some(job(entry, row, expected, found))
    }

    /// Returns, in words, the metadata that isn't as recorded.
    fn metadata(&self, entry: &Entry, row: &Row) -> Option<String> {
        let recorded = &row.metadata;
        let found = &entry.metadata;
        let mut differences = Vec::new();
        let mut differ = |name: &str, recorded: &dyn fmt::Display, found: &dyn fmt::Display| {
            differences.push(format!("{name} {recorded} -> {found}"));
        };
        if row.kind == EntryKind::Symlink && row.link != entry.link {
            let text = |link: &Option<Box<[u8]>>| {
                format!("\"{}\"", Escaped(link.as_deref().unwrap_or_default()))
            };
            differ("link", &text(&row.link), &text(&entry.link));
        }
        if row.device() != entry.device() {
            differ("device", &device(row.device()), &device(entry.device()));
        }
        // The time that the target stored when the row was written counts as right. Extra entries
        // change their directory's time: it counts only if extra entries do, and no other run wrote
        // to the target since.
        let counts = row.kind != EntryKind::Directory || self.directory_times_count;
        let has_time = counts && Some(found.mtime) != row.target.mtime();
        let is_right = Metadata {
            mode: if row.kind == EntryKind::Symlink { found.mode } else { recorded.mode },
            mtime: if has_time { recorded.mtime } else { found.mtime },
            ..*recorded
        };
        metadata(&is_right, found, &mut differ);
        differences.extend(self.attributes(entry, row));
        (!differences.is_empty()).then(|| differences.join(", "))
    }

    /// Returns, in words, that the attributes of an entry aren't those recorded. Nothing is asked of
    /// an entry with the recorded stamp: a change of them changes the ctime.
    fn attributes(&self, entry: &Entry, row: &Row) -> Option<String> {
        let extras = row.extras.as_deref();
        let is_asked = row.looked != AttributeKinds::NONE
            // What the entry lacks is not told apart from what it lost.
            && !extras.is_some_and(|extras| extras.apart.is_some())
            && self.target.capabilities().inspects
            && entry.stamp.inode().is_some()
            && entry.stamp != row.target;
        if !is_asked {
            return None;
        }
        let found = self.target.inspect(entry).inspect_err(|cause| {
            let cause = cause.clone();
            self.fail(&EntryError::on_target(Operation::Read, entry.key.clone(), cause));
        });
        let found = found.ok()?;
        if found.features.has(Feature::UnreadAttributes) {
            return Some(Feature::UnreadAttributes.to_string());
        }
        let found = found.attributes.only(row.looked);
        let user = rustix::process::geteuid();
        // Others than root don't see all that root recorded.
        let sees_all = user.is_root() || user.as_raw() == entry.metadata.uid;
        if !sees_all || found.digest() == extras.and_then(|extras| extras.attributes) {
            return None;
        }
        let listed = if found.is_empty() { "none".to_owned() } else { found.listed().join(", ") };
        Some(format!("attributes as recorded -> {listed}"))
    }

    /// Hashes a file; returns whether its content is the recorded one.
    pub(super) fn hash(
        &self,
        job: &Job,
        buffer: &mut [u8],
        progress: &Progress,
        stop: &Stop,
    ) -> bool {
        if stop.requested() {
            return false;
        }
        if self.is_late() {
            self.leave(1, job.entry.stamp.size);
            return false;
        }
        let pass = |_| if stop.requested() { Err(Cause::Stopped) } else { Ok(()) };
        let bytes = &progress.bytes_hashed;
        let from = ReadSide::target(self.reader);
        let mut hash = || {
            let extra = ExtraKinds { sha256: job.expected.blake3().is_none(), md5: false };
            let wanted = Wanted { tagged: None, extra };
            let read = self.cores.hash_content(from, &job.entry, buffer, bytes, &pass, wanted);
            read.map(|(_, hashed)| match hashed.extra.sha256 {
                Some(digest) => Expected::Sha256(digest),
                None => Expected::Blake3(hashed.digest),
            })
        };
        let mut read = hash();
        if self.target.capabilities().remote && matches!(&read, Ok(found) if *found != job.expected)
        {
            // Content may be damaged in transit; damaged content in the store stays so.
            read = hash();
        }
        match read {
            Ok(found) if found == job.expected => {
                self.count(|totals| totals.verified += 1);
                if job.is_reported
                    && !job.is_unsettled
                    && let Some(mut broken) = self.broken()
                {
                    broken.add_proof(&job.entry.key);
                }
                return true;
            }
            Ok(found) => {
                let (expected, found) = (Some(job.expected.shown()), Some(found.shown()));
                let difference = Difference::Corrupt { expected, found };
                if job.is_unsettled {
                    self.unsettles(&job.entry.key, &difference, job.is_reported);
                    return false;
                }
                self.differs(&job.entry.key, &difference);
                if let Some(mut broken) = self.broken() {
                    let right = Entry {
                        stamp: job.recorded,
                        completeness: Completeness::Full,
                        ..job.entry.clone()
                    };
                    let by_sha256 = job.expected.blake3().is_none();
                    let differences = 1 + u8::from(job.is_reported);
                    broken.anew(&right, Some(&job.entry), differences, by_sha256);
                }
            }
            Err(error) if matches!(error.cause, Cause::Stopped) => {}
            Err(error) => self.fail(&error),
        }
        false
    }

    /// Returns the collection of entries to be repaired, if that is wanted.
    fn broken(&self) -> Option<MutexGuard<'_, Broken>> {
        let broken = self.broken.as_ref()?;
        Some(broken.lock())
    }

    /// Reports a difference and collects the entry to be made anew, unless it may be the work of a
    /// killed run: then the next run decides.
    fn breaks(
        &self,
        row: &Row,
        existing: Option<&Entry>,
        difference: &Difference,
        is_unsettled: bool,
    ) {
        if is_unsettled {
            return self.unsettles(&row.key, difference, false);
        }
        self.differs(&row.key, difference);
        if row.kind == EntryKind::Symlink && matches!(difference, Difference::Corrupt { .. }) {
            self.count(|totals| totals.corrupt_links += 1);
        }
        if let Some(mut broken) = self.broken() {
            let by_sha256 = row.digest.is_none() && row.extra.sha256.is_some();
            broken.anew(&recorded(row), existing, 1, by_sha256);
        }
    }

    /// Returns whether the time limit is reached, so that no file is begun.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Counts chosen files that aren't read, and their bytes.
    pub(super) fn leave(&self, files: u64, bytes: u64) {
        self.count(|totals| {
            totals.left += files;
            totals.left_bytes += bytes;
        });
    }

    /// Reports, once, an entry with a difference that may be the work of a killed run.
    fn unsettles(&self, key: &Key, difference: &Difference, is_reported: bool) {
        if is_reported {
            return;
        }
        let how = match difference {
            Difference::Missing => "missing".to_owned(),
            Difference::Corrupt { found: None, .. } | Difference::Content { target: None, .. } => {
                "another size".to_owned()
            }
            Difference::Corrupt { .. } | Difference::Content { .. } => "other content".to_owned(),
            Difference::Extra => "no run recorded it".to_owned(),
            Difference::Metadata(how) | Difference::Touched(how) | Difference::Unknown(how) => {
                how.clone()
            }
        };
        self.differs(key, &Difference::Unknown(how));
    }

    fn differs(&self, key: &Key, difference: &Difference) {
        let counted = match difference {
            Difference::Extra => self.extras_count,
            Difference::Unknown(_) => !self.allow_incomplete,
            _ => true,
        };
        self.count(|totals| match difference {
            Difference::Missing => totals.missing += 1,
            Difference::Corrupt { .. } | Difference::Content { .. } => totals.corrupt += 1,
            Difference::Metadata(_) => totals.metadata += 1,
            Difference::Touched(_) => totals.touched += 1,
            Difference::Extra => totals.extra += 1,
            Difference::Unknown(_) => totals.unknown += 1,
        });
        let finding = Finding::new(key, difference.clone(), counted);
        self.observer.observe(&Event::Difference(finding));
    }

    /// Counts and reports a part of the target that could not be listed.
    pub(super) fn fail_to_list(&self, error: &EntryError) {
        self.count(|totals| totals.entries += 1);
        self.fail(error);
    }

    pub(super) fn fail(&self, error: &EntryError) {
        self.count(|totals| totals.failed += 1);
        self.observer.observe(&Event::Failed(error.clone()));
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut VerifyTotals)) {
        add(&mut self.totals.lock());
    }
}

/// Calls `differ` for each part of the metadata that isn't right.
pub(super) fn metadata(
    right: &Metadata,
    found: &Metadata,
    differ: &mut dyn FnMut(&str, &dyn fmt::Display, &dyn fmt::Display),
) {
    if right.mode != found.mode {
        let (right, found) = (right.mode, found.mode);
        differ("mode", &format_args!("{right:04o}"), &format_args!("{found:04o}"));
    }
    if right.uid != found.uid {
        differ("owner", &right.uid, &found.uid);
    }
    if right.gid != found.gid {
        differ("group", &right.gid, &found.gid);
    }
    if right.mtime != found.mtime {
        differ("mtime", &right.mtime, &found.mtime);
    }
}

/// Returns the job for a listed file, with its recorded metadata and digest: so a store needn't be
/// asked for the digest that it has.
fn job(entry: Entry, row: &Row, expected: Expected, found: Found) -> Job {
    let Found { is_reported, is_unsettled } = found;
    // A repair gives it the recorded attributes.
    let extras = told(row.extras.clone(), row.looked);
    let entry = Entry { metadata: row.metadata, recorded: row.digest, extras, ..entry };
    Job {
        entry,
        expected,
        recorded: row.target,
        verified_at: row.verified_at,
        is_reported,
        is_unsettled,
    }
}

/// Adds to recorded extras which attributes they tell.
fn told(extras: Option<Box<Extras>>, looked: AttributeKinds) -> Option<Box<Extras>> {
    let has_some = extras.as_ref().is_some_and(|extras| extras.attributes.is_some());
    if looked == AttributeKinds::NONE && !has_some {
        return extras;
    }
    let mut extras = extras.unwrap_or_default();
    // A repair that could not give it its attributes leaves them for others to give.
    extras.told = if looked == AttributeKinds::NONE { AttributeKinds::ALL } else { looked };
    Some(extras)
}

/// Returns the entry that a row describes, with the target's stamp.
fn recorded(row: &Row) -> Entry {
    let Row { key, kind, metadata, target: stamp, link, digest, extras, born, .. } = row.clone();
    let extras = told(extras, row.looked);
    Entry {
        key,
        kind,
        stamp,
        metadata,
        link,
        completeness: Completeness::Full,
        recorded: digest,
        extras,
        born,
    }
}

/// Returns the number of a device in words.
pub(super) fn device(number: Option<DeviceNumber>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

/// Returns, in words, the parts of a stamp besides size that aren't as recorded.
fn touched(found: &Stamp, recorded: &Stamp) -> Option<String> {
    let mut differences = Vec::new();
    let mut differ = |name: &str, recorded: &dyn fmt::Display, found: &dyn fmt::Display| {
        differences.push(format!("{name} {recorded} -> {found}"));
    };
    match (recorded.evidence, found.evidence) {
        (Evidence::Inode(recorded), Evidence::Inode(found)) => {
            for (name, recorded, found) in
                [("mtime", recorded.mtime, found.mtime), ("ctime", recorded.ctime, found.ctime)]
            {
                if recorded != found {
                    differ(name, &recorded, &found);
                }
            }
            if let Some((recorded, found)) =
                recorded.number.zip(found.number).filter(|(recorded, found)| recorded != found)
            {
                differ("inode", &recorded, &found);
            }
        }
        (Evidence::Tag(recorded), Evidence::Tag(found)) if recorded != found => {
            let text = |tag: Option<ETag>| tag.map_or("none".into(), |tag| tag.as_str().to_owned());
            differ("tag", &text(recorded), &text(found));
        }
        (Evidence::Tag(_), Evidence::Tag(_)) => {}
        // The row was written for another kind of target.
        _ => differ("stamp", &"of another kind of place", &"of this one"),
    }
    (!differences.is_empty()).then(|| differences.join(", "))
}
