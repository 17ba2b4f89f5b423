//! Verification: compares the target's content with the rows of all runs into it, or with a source.
//!
//! [`verify`] compares with rows. `open` finds target and rows (`signed` if a signature is
//! required), `expected` what else the runs let expect, and `ahead` counts what there is to read.
//! `scan` goes through entries and rows side by side; `tally` compares and counts; `unsettled`
//! finds possible work of killed runs; `extra` finds extra entries. `choice` selects the content
//! that is read, `stalest` orders it, and `record` saves which files were verified. `broken`
//! collects entries to be repaired, and `repair` has the engine repair them.
//!
//! [`verify_against`] joins the listings of both sides and reads both; `content_comparer` compares.

mod against;
mod ahead;
mod broken;
mod choice;
mod content_comparer;
mod expected;
mod extra;
mod groups;
mod links;
mod open;
mod published;
mod record;
mod repair;
mod scan;
mod signed;
mod stalest;
mod tally;
mod unsettled;

use crate::backend::layer::{BandwidthLimit, PacedSource};
use crate::backend::{ListItem, Target};
pub use against::{Against, AgainstOutcome, AgainstTotals, verify_against};
pub use choice::{Budget, Choice, Sample};
pub use expected::Unfinished;
pub use repair::Repair;

use crate::backend::object::StoreSettings;
use crate::engine::{BUFFER, Cores, now};
use crate::limits::LimitOptions;
use crate::listing::OrderChecked;
use crate::location::Location;
use crate::manifest::keys::{KeyId, PublicKey};
use crate::manifest::published::ManifestReader;
use crate::manifest::{CutOff, Row, TargetLock, Writer, is_damage};
use crate::model::error::Side;
use crate::model::{Error, ErrorKind, Notice, Observer, Progress, RunId, Stop, Timestamp, Totals};
use broken::Broken;
use crossbeam_channel::bounded;
use expected::Expected;
use groups::Groups;
use open::{Manifest, NamedSource, Opened, Recorded, open};
use parking_lot::Mutex;
use repair::Mending;
use scan::Scan;
use stalest::Stalest;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::{Job, Tally};
use unsettled::Unsettled;

/// Options of a verification.
#[derive(Debug)]
pub struct VerifyOptions {
    /// The target.
    pub target: Location,
    /// How its store is reached, if it is in one.
    pub target_store: Option<StoreSettings>,
    /// The directory of state databases.
    pub state_dir: PathBuf,
    /// Count extra entries as differences even if the latest run of a whole tree didn't delete
    /// them.
    pub strict: bool,
    /// Accept that runs left something unknown: what may be their work is not counted.
    pub allow_incomplete: bool,
    /// How thoroughly files are verified.
    pub depth: Depth,
    /// Compare only with the published manifest, which must be signed with this key.
    pub key: Option<PublicKey>,
    /// Repair entries that aren't as recorded.
    pub repair: Option<Repair>,
    /// The number of files hashed at the same time, at least 1.
    pub checkers: usize,
    /// Count the rows to read into [`Progress::ahead`] for an estimate, once the verification has
    /// taken half a second.
    pub count_ahead: bool,
    /// Limits of the verification.
    pub limits: LimitOptions,
}

/// How thoroughly files are verified. Existence, size and metadata are compared in any case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// Compare the stamps with the recorded ones; read nothing.
    Stamps,
    /// Read the content of the chosen files.
    Content(Choice),
}

impl Depth {
    /// Returns the time limit for reading, counted from the beginning.
    pub fn time(self) -> Option<Duration> {
        match self.budget() {
            Some(Budget::Time(time)) => Some(time),
            _ => None,
        }
    }

    /// Returns which share of the files is read, if not all.
    fn sample(self) -> Option<Sample> {
        match self {
            Self::Stamps => None,
            Self::Content(choice) => choice.sample,
        }
    }

    /// Returns the limit for reading.
    fn budget(self) -> Option<Budget> {
        match self {
            Self::Stamps => None,
            Self::Content(choice) => choice.budget,
        }
    }
}

/// Counts of a verification.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
#[non_exhaustive]
pub struct VerifyTotals {
    /// Entries with a row, entries without one that are reported, and parts of the target that
    /// could not be listed.
    pub entries: u64,
    /// Files chosen to be read; all have a digest.
    pub chosen: u64,
    /// Chosen files that were not read because the budget was spent.
    pub left: u64,
    /// The bytes of those.
    pub left_bytes: u64,
    /// Files whose content matched their digest.
    pub verified: u64,
    /// Files whose row has no digest because they were adopted: they exist and have the right size.
    pub unproven: u64,
    /// Files with a digest that were not chosen to be read.
    pub unread: u64,
    /// Entries that are missing.
    pub missing: u64,
    /// Files, and links of a store, whose content differs.
    pub corrupt: u64,
    /// Symbolic links among those.
    pub corrupt_links: u64,
    /// Entries whose metadata differs.
    pub metadata: u64,
    /// Files of which only the stamp differs.
    pub touched: u64,
    /// Entries without a row.
    pub extra: u64,
    /// Entries that aren't as recorded but may be the work of a killed run.
    pub unknown: u64,
    /// Entries that differed and were repaired.
    pub mended: u64,
    /// Entries that could not be read.
    pub failed: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
}

/// The result of a verification.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifyOutcome {
    /// The latest run whose rows were compared.
    pub run: RunId,
    /// The source of that run, as printed.
    pub source: String,
    /// All sources whose rows were compared, as printed.
    pub sources: Vec<String>,
    /// Runs that ended without recording everything they did.
    pub unfinished: Vec<Unfinished>,
    /// The key of the signature, if one was required.
    pub key: Option<KeyId>,
    /// How thoroughly files were verified.
    pub depth: Depth,
    /// What was counted.
    pub totals: VerifyTotals,
    /// The counters at the end, including requests to a store.
    pub counted: Totals,
    /// The number of differences that count.
    pub differences: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// What is wrong with the published manifest, if the target was compared with another record:
    /// it is damaged or can't be read.
    pub fault: Option<Error>,
}

/// Verifies a target. `progress` counts `bytes_hashed` and `entries` as it goes.
///
/// # Errors
/// [`ErrorKind::Manifest`] if no run into the target is recorded, its state can't be used, or the
/// published manifest is incomplete or not signed as required; [`ErrorKind::Unusable`] if the
/// target can't be read; [`ErrorKind::Locked`] if a run is writing to it.
pub fn verify(
    options: &VerifyOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<VerifyOutcome, Error> {
    let began = Instant::now();
    let Opened { target, name, shared, lock, source: repair_source } =
        open_sides(options, observer, progress, stop)?;
    let mut found = recorded(&*target, &name, options, observer)?;
    if options.repair.is_some() {
        found = found.mendable(&name)?;
    }
    let Recorded { manifest, fault, overtaken_since } = found;
    let Manifest { mut expected, rows, state, ahead } =
        manifest.ok_or_else(|| open::nothing_recorded(options, &name))?;
    let _count = ahead.and_then(|rows| ahead::count_ahead(rows, options.depth, progress, observer));
    if let Some(left_behind) = shared.as_ref().and_then(|shared| shared.left_behind.clone()) {
        expected.add_left_behind(left_behind);
    }
    let filter = expected.filter()?;
    if let Some(from) = &repair_source {
        from.source.set_key_space(expected.key_space);
    }
    let listing = OrderChecked::new(target.list(&expected.listing())?, Side::Target);
    let unsettled = unsettled(&expected, overtaken_since, options);
    let scan = Scan::new(listing, rows, unsettled);
    let mut scan = scan.with_links(&open::spool_dir(options));
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let paced = PacedSource::around(&*target, bandwidth.as_ref());
    let extras_count = expected.deletes || options.strict;
    let mut tally = Tally {
        observer,
        totals: Mutex::default(),
        target: &*target,
        reader: paced.as_ref().map_or(&*target, |paced| paced),
        filter: &filter,
        extras_count,
        allow_incomplete: options.allow_incomplete,
        directory_times_count: extras_count && expected.keeps_times,
        depth: options.depth,
        cores: Cores::default(),
        deadline: options.depth.time().and_then(|time| began.checked_add(time)),
        broken: options.repair.as_ref().map(|_| Mutex::new(Broken::new(&open::spool_dir(options)))),
    };
    let recorded = state.as_ref().filter(|_| options.depth != Depth::Stamps);
    let writer = record::writer(recorded, observer);
    read(&mut scan, &tally, writer, options, progress, stop)?;
    target.notices().into_iter().for_each(|notice| observer.notice(notice));
    // Repairs hash content too, which isn't counted.
    let bytes_hashed = progress.bytes_hashed.get();
    let mut mended = 0;
    if let (Some(broken), Some(from)) = (tally.broken.take(), repair_source) {
        drop(scan);
        let repair = Mending {
            source: from.source,
            target: Arc::clone(&target),
            key_space: expected.key_space,
            state: state.as_ref(),
        };
        mended = repair.mend(broken.into_inner(), &tally, options, progress, stop)?;
    }
    if let Some(lock) = lock {
        release(lock, observer)?;
    }
    drop(shared);
    let differences = tally.differences() - mended;
    let totals = VerifyTotals { bytes_hashed, ..tally.totals.into_inner() };
    Ok(VerifyOutcome {
        run: expected.run,
        source: expected.source,
        sources: expected.sources,
        unfinished: expected.unfinished,
        key: options.key.as_ref().map(PublicKey::id),
        depth: options.depth,
        differences,
        totals,
        counted: progress.totals(),
        duration: began.elapsed(),
        interrupted: stop.requested(),
        fault: fault.filter(|_| !stop.requested()),
    })
}

/// Opens the target, and the source to repair from if there is one.
fn open_sides(
    options: &VerifyOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Opened, Error> {
    let source = options.repair.as_ref().map(|repair| NamedSource {
        location: &repair.source,
        store: repair.source_store.as_ref(),
    });
    let opened = open(options, source, observer, progress, stop)?;
    if let Some(source) = &opened.source
        && source.place.only.is_some()
    {
        let message = format!("cannot repair from \"{}\": it is a file", source.place.name);
        return Err(Error::new(ErrorKind::Unusable, message).help("name a directory, or a prefix"));
    }
    Ok(opened)
}

/// Returns what tells differences from unrecorded work: of runs that were cut off, and of those
/// that somebody published since a point in time, in a manifest that is lost.
fn unsettled(
    expected: &Expected,
    overtaken_since: Option<Timestamp>,
    options: &VerifyOptions,
) -> Unsettled {
    // With a signature required, an unsigned record must not excuse differences.
    let cut_off = expected.cut_off().filter(|_| options.key.is_none());
    let overtaken = overtaken_since.map(CutOff::of_unknown_runs);
    Unsettled::by(cut_off.into_iter().chain(overtaken).reduce(CutOff::and))
}

/// Returns what is recorded of a target, if anything is. If a signature is required, that is the
/// signed manifest; else the state here, unless it is damaged or somebody published later; else the
/// manifest.
fn recorded(
    target: &dyn Target,
    name: &str,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Result<Recorded, Error> {
    if let Some(key) = &options.key {
        let manifest = signed::signed(target, name, key, options, observer)?;
        return Ok(Recorded { manifest: Some(manifest), ..Recorded::default() });
    }
    let state = match open::state(options, name) {
        Ok(Some(state)) => state,
        Ok(None) => {
            return Ok(Manifest::of_target(target, options, observer)?.unwrap_or_default());
        }
        Err(damage) if is_damage(&damage) => {
            let found = Manifest::of_target(target, options, observer)?;
            let Some(found) = found else { return Err(damage) };
            observer.notice(open::instead_of(&damage));
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let published::Published { fault, later, overtaken_since } =
        published::look(target, &state, options, observer);
    let manifest = match later {
        Some(later) => {
            let spool_dir = open::spool_dir(options);
            let mut manifest =
                Manifest::published(&ManifestReader::of(target, &spool_dir), &later, options)?;
            signed::add_dates(&mut manifest, &state, options, observer)?;
            Some(manifest)
        }
        None => Manifest::of_state(&state, options, observer)?,
    };
    Ok(Recorded { manifest, fault, overtaken_since })
}

/// Releases the lock that was held for repairs.
fn release(lock: TargetLock, observer: &dyn Observer) -> Result<(), Error> {
    if let Some(lost) = lock.lost() {
        return Err(lost);
    }
    // The next run takes over a lock that isn't released.
    if let Err(error) = lock.release() {
        observer.notice(Notice::LockNotReleased { cause: error.sentence() });
    }
    Ok(())
}

/// Goes through entries and rows, hashes the chosen files, and has the verified ones recorded.
fn read<L, R>(
    scan: &mut Scan<L, R>,
    tally: &Tally<'_>,
    writer: Option<Writer>,
    options: &VerifyOptions,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), Error>
where
    L: Iterator<Item = Result<ListItem, Error>>,
    R: Iterator<Item = Result<Row, Error>>,
{
    let observer = tally.observer;
    std::thread::scope(|scope| {
        let verified = writer.map(|writer| {
            let (verified, waiting) = bounded(record::BATCH);
            scope.spawn(move || {
                if let Err(error) = record::record(writer, &waiting) {
                    record::report_not_recorded(&error, observer);
                }
            });
            verified
        });
        let (mut groups, waiting) = Groups::new(options.checkers);
        for _ in 0..options.checkers {
            let (waiting, verified) = (waiting.clone(), verified.clone());
            scope.spawn(move || {
                let mut buffer = vec![0; BUFFER];
                for group in &waiting {
                    for job in group {
                        let is_verified = tally.hash(&job, &mut buffer, progress, stop);
                        if let Some(verified) = verified.as_ref().filter(|_| is_verified)
                            && let Some(verification) = job.verified(now())
                        {
                            // The receiver has ended if nothing can be recorded.
                            verified.send(verification).ok();
                        }
                    }
                }
            });
        }
        drop((waiting, verified));
        if let Some(budget) = options.depth.budget() {
            let mut stalest = Stalest::new(&open::spool_dir(options));
            let mut push = |job| stalest.push(&job).map_err(cannot_sort);
            scan.run(tally, &mut push, progress, stop)?;
            spend(budget, stalest, tally, &mut groups, stop).map_err(cannot_sort)?;
        } else {
            let mut push = |job: Job| {
                let bytes = job.entry.stamp.size;
                groups.push(job, bytes);
                Ok(())
            };
            scan.run(tally, &mut push, progress, stop)?;
        }
        groups.send();
        Ok(())
    })
}

/// Hands over the files that fit the budget, and counts the others as left.
fn spend(
    budget: Budget,
    stalest: Stalest,
    tally: &Tally<'_>,
    groups: &mut Groups<Job>,
    stop: &Stop,
) -> io::Result<()> {
    let most = match budget {
        Budget::Time(_) => u64::MAX,
        Budget::Bytes(most) => most,
    };
    let mut sorted = stalest.finish()?;
    let all = sorted.bytes;
    while all - sorted.bytes < most && !tally.is_late() && !stop.requested() {
        let Some(job) = sorted.next()? else { break };
        let bytes = job.entry.stamp.size;
        groups.push(job, bytes);
    }
    tally.leave(sorted.files, sorted.bytes);
    Ok(())
}

fn unusable_spool(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot store what is to be repaired").because(error)
}

fn cannot_sort(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot sort the files to verify").because(error)
}

#[cfg(test)]
mod tests;
