//! Verifying: the target's content against the rows of all runs into it, or against a source.
//!
//! [`verify`] holds it against rows: `open` finds both (`signed`, where a signature is demanded),
//! `expected` tells what else the runs let expect,
//! `ahead` counts how much there is to read,
//! `scan` goes through them side by side, `tally` compares and counts, `unsettled` tells what may be a
//! killed run's work, `choice` which content is read, `extra` what is extra, `stalest` in which order,
//! `record` keeps which files were verified,
//! `broken` keeps what is to be mended and `repair` has the engine mend it.
//! [`verify_against`] joins the listings of both sides and reads both: `held` compares.

mod against;
mod ahead;
mod broken;
mod choice;
mod content_comparer;
mod expected;
mod extra;
mod groups;
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
use crate::backend::{ListItem, ListOptions, Target};
pub use against::{Against, AgainstOutcome, AgainstTotals, verify_against};
pub use choice::{Budget, Choice, Sample};
pub use expected::Unfinished;
pub use repair::Repair;

use crate::backend::object::StoreSettings;
use crate::engine::{BUFFER, Cores, now};
use crate::filter::Filter;
use crate::limits::LimitOptions;
use crate::listing::OrderChecked;
use crate::location::Location;
use crate::manifest::keys::{KeyId, PublicKey};
use crate::manifest::published::ManifestReader;
use crate::manifest::{CutOff, Row, TargetLock, Writer, is_damage};
use crate::model::error::Side;
use crate::model::{
    Cause, Digest, EntryError, Error, ErrorKind, Key, Notice, Progress, RunId, Stop, Totals,
};
use crate::place::SourcePlace;
use broken::Broken;
use crossbeam_channel::bounded;
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

/// What a verification is asked to do.
#[derive(Debug)]
pub struct VerifyOptions {
    /// What to verify.
    pub target: Location,
    /// How its store is reached, where it is one.
    pub target_store: Option<StoreSettings>,
    /// Where state databases live.
    pub state_dir: PathBuf,
    /// Count extra entries as differences even where the latest run of a whole tree didn't delete
    /// extras.
    pub strict: bool,
    /// How thoroughly files are looked at.
    pub depth: Depth,
    /// Compare with the published manifest, signed with this key, and nothing else.
    pub key: Option<PublicKey>,
    /// Mend what isn't as it was recorded.
    pub repair: Option<Repair>,
    /// Files hashed at the same time, at least 1.
    pub checkers: usize,
    /// Count what there is to read beside it, into [`Progress::ahead`], to estimate by: once it has
    /// taken half a second, by what is recorded.
    pub count_ahead: bool,
    /// What the verification may use.
    pub limits: LimitOptions,
}

/// How thoroughly files are looked at. That they are there, of their size and with their metadata,
/// is made sure of in any case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// Their stamps are compared with the recorded ones; nothing is read.
    Stamps,
    /// The content of those chosen is read.
    Content(Choice),
}

impl Depth {
    /// How long is read at the most, from the beginning on.
    pub fn time(self) -> Option<Duration> {
        match self.budget() {
            Some(Budget::Time(time)) => Some(time),
            _ => None,
        }
    }

    /// How much is read at the most.
    fn budget(self) -> Option<Budget> {
        match self {
            Self::Stamps => None,
            Self::Content(choice) => choice.budget,
        }
    }
}

/// How an entry differs from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The entry of the row, or of the source, is not there.
    Missing,
    /// Its content isn't what was recorded, or what the source has that it is held against.
    Corrupt {
        /// The digest recorded, or the source's, unless the size alone told.
        expected: Option<Digest>,
        /// The digest found, unless the size alone told.
        found: Option<Digest>,
    },
    /// Its mode, owner, group, mtime, type or link text isn't what was recorded, or what the source
    /// has; in words.
    Metadata(String),
    /// Its size, mtime and all other metadata are what was recorded, but the rest of its stamp
    /// (ctime, inode, a store's tag) is not, in words: its content may be another.
    Touched(String),
    /// No row knows it, or the source lacks it.
    Extra,
    /// It isn't what was recorded, in words, but changed since a run began that was killed before it
    /// recorded all that it did: it may be as that run made it.
    Unknown(String),
}

/// What a verification found, one call a difference, in any order.
pub trait VerifyObserver: Send + Sync {
    /// Takes one difference; `counted` is false for extras that don't count as such.
    fn difference(&self, key: &Key, difference: &Difference, counted: bool);
    /// Takes an entry that could not be read.
    fn failed(&self, error: &EntryError);
    /// Takes what became of mending an entry.
    fn mended(&self, key: &Key, mended: Result<(), &Cause>);
    /// Takes what is worth knowing beside what differs.
    fn notice(&self, notice: &Notice);
}

/// What a verification counted.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
#[non_exhaustive]
pub struct VerifyTotals {
    /// What was looked at: entries that the rows name, those that no row knows and that are told, and
    /// each part of the target that could not be listed.
    pub entries: u64,
    /// Files chosen to be read: they have a digest.
    pub chosen: u64,
    /// Files chosen that were not read when the budget was spent.
    pub left: u64,
    /// Bytes of those.
    pub left_bytes: u64,
    /// Files whose content matched their digest.
    pub verified: u64,
    /// Files whose row has no digest (adopted ones): they exist in the right size.
    pub unproven: u64,
    /// Files that have a digest and were not chosen to be read.
    pub unread: u64,
    /// Entries missing.
    pub missing: u64,
    /// Files, and links of a store, whose content differs.
    pub corrupt: u64,
    /// Of these, symbolic links.
    pub corrupt_links: u64,
    /// Entries whose metadata differs.
    pub metadata: u64,
    /// Files whose stamp differs and nothing else.
    pub touched: u64,
    /// Entries that no row knows.
    pub extra: u64,
    /// Entries that aren't what was recorded, and may be as a killed run made them.
    pub unknown: u64,
    /// Entries that differed and were mended.
    pub mended: u64,
    /// Entries that could not be read.
    pub failed: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
}

/// How a verification ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifyOutcome {
    /// The latest run whose rows were compared with.
    pub run: RunId,
    /// The source of that run, as it prints.
    pub source: String,
    /// All sources whose rows were, as they print.
    pub sources: Vec<String>,
    /// Runs that left unknown what should stand in the target.
    pub unfinished: Vec<Unfinished>,
    /// The key that what was compared with is signed with, where that was demanded.
    pub key: Option<KeyId>,
    /// How thoroughly files were looked at.
    pub depth: Depth,
    /// What was counted.
    pub totals: VerifyTotals,
    /// The run's counters at its end, those of requests to a store among them.
    pub counted: Totals,
    /// Differences that count.
    pub differences: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// What is wrong with the manifest published in the target, beside the record that was compared
    /// with: it is damaged, or can't be read.
    pub fault: Option<Error>,
}

/// Verifies a target. `progress` counts `bytes_hashed` and `entries` as it goes.
///
/// # Errors
/// [`ErrorKind::Manifest`] when no run into the target is recorded or its state can't be used, or the
/// published manifest isn't whole or signed as it should be,
/// [`ErrorKind::Unusable`] when the target can't be read, [`ErrorKind::Locked`] when a run is
/// writing to it.
pub fn verify(
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<VerifyOutcome, Error> {
    let began = Instant::now();
    let mends_from = options.repair.as_ref().map(|repair| NamedSource {
        location: &repair.source,
        store: repair.source_store.as_ref(),
    });
    let Opened { target, name, shared, held, source: mends_from } =
        open(options, mends_from, observer, progress, stop)?;
    if let Some(SourcePlace { name, only: Some(_), .. }) = mends_from.as_ref().map(|it| &it.place) {
        let message = format!("cannot mend from \"{name}\": it is a file");
        return Err(Error::new(ErrorKind::Unusable, message).help("name a directory, or a prefix"));
    }
    let mut found = recorded(&*target, &name, options, observer)?;
    if options.repair.is_some() {
        found = found.mendable(&name)?;
    }
    let Recorded { manifest, fault, overtaken_since } = found;
    let Manifest { mut expected, rows, state, ahead } =
        manifest.ok_or_else(|| open::nothing_recorded(options, &name))?;
    let _count = ahead.and_then(|rows| ahead::count_ahead(rows, options.depth, progress));
    if let Some(left_behind) = shared.as_ref().and_then(|shared| shared.left_behind.clone()) {
        expected.add_left_behind(left_behind);
    }
    // What is not signed never speaks for what differs from what is.
    let cut_off = expected.cut_off().filter(|_| options.key.is_none());
    let overtaken = overtaken_since.map(CutOff::of_unknown_runs);
    let unsettled = Unsettled::by(cut_off.into_iter().chain(overtaken).reduce(CutOff::and));
    let filter = Filter::try_from(expected.filter).map_err(|error| {
        Error::new(ErrorKind::Manifest, "the recorded run's filter can't be used").because(error)
    })?;
    let extras_count = expected.deletes || options.strict;
    if let Some(from) = &mends_from {
        from.source.set_key_space(expected.key_space);
    }
    // Rows of entries that were excluded since are verified too.
    let everything = Arc::default();
    let listing = target.list(&ListOptions {
        filter: everything,
        only: expected.only,
        key_space: expected.key_space,
    })?;
    let mut scan = Scan::new(OrderChecked::new(listing, Side::Target), rows, unsettled);
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let paced = PacedSource::around(&*target, bandwidth.as_ref());
    let mut tally = Tally {
        observer,
        totals: Mutex::default(),
        target: &*target,
        reader: paced.as_ref().map_or(&*target, |paced| paced),
        filter: &filter,
        extras_count,
        directory_times_count: extras_count && expected.keeps_times,
        depth: options.depth,
        cores: Cores::default(),
        deadline: options.depth.time().and_then(|time| began.checked_add(time)),
        broken: options.repair.as_ref().map(|_| Mutex::new(Broken::new(&open::spool_dir(options)))),
    };
    let recorded = state.as_ref().filter(|_| options.depth != Depth::Stamps);
    let writer = record::writer(recorded, observer);
    read(&mut scan, &tally, writer, options, progress, stop)?;
    target.notices().iter().for_each(|notice| observer.notice(notice));
    // What is copied to mend is hashed too.
    let bytes_hashed = progress.bytes_hashed.get();
    let mut mended = 0;
    if let (Some(broken), Some(from)) = (tally.broken.take(), mends_from) {
        drop(scan);
        let broken = broken.into_inner();
        let (source, target) = (from.source, Arc::clone(&target));
        let repair =
            Mending { source, target, key_space: expected.key_space, state: state.as_ref() };
        mended = repair.mend(broken, &tally, options, progress, stop)?;
    }
    if let Some(held) = held {
        release(held, observer)?;
    }
    drop(shared);
    let mut totals = tally.totals.into_inner();
    totals.bytes_hashed = bytes_hashed;
    let extra = if extras_count { totals.extra } else { 0 };
    Ok(VerifyOutcome {
        run: expected.run,
        source: expected.source,
        sources: expected.sources,
        unfinished: expected.unfinished,
        key: options.key.as_ref().map(PublicKey::id),
        depth: options.depth,
        differences: totals.missing + totals.corrupt + totals.metadata + totals.touched + extra
            - mended,
        totals,
        counted: progress.totals(),
        duration: began.elapsed(),
        interrupted: stop.requested(),
        fault: fault.filter(|_| !stop.requested()),
    })
}

/// What is recorded of a target, if anything is: what is signed, where that is demanded; else what was
/// recorded here, unless that is damaged or somebody else published since; else what was published.
fn recorded(
    target: &dyn Target,
    name: &str,
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
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
            observer.notice(&open::instead_of(&damage));
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let published::Stands { fault, later, overtaken_since } =
        published::look(target, &state, options, observer);
    let manifest = match later {
        Some(later) => {
            let spool_dir = open::spool_dir(options);
            let mut manifest =
                Manifest::published(&ManifestReader::of(target, &spool_dir), &later, options)?;
            signed::dated(&mut manifest, &state, options, observer)?;
            Some(manifest)
        }
        None => Manifest::of_state(&state, options, observer)?,
    };
    Ok(Recorded { manifest, fault, overtaken_since })
}

/// Releases the lock under which files were mended.
fn release(held: TargetLock, observer: &dyn VerifyObserver) -> Result<(), Error> {
    if let Some(lost) = held.lost() {
        return Err(lost);
    }
    // A lock that stays is taken over by the next run.
    if let Err(error) = held.release() {
        observer.notice(&Notice::LockNotReleased { cause: error.to_string() });
    }
    Ok(())
}

/// Goes through all, hashes what is to be hashed, and has it recorded.
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
                    record::tell_not_recorded(&error, observer);
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
                            && let Some(word) = job.verified(now())
                        {
                            // Nobody takes it any more where it can't be recorded.
                            verified.send(word).ok();
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

/// Hands over what a budget is enough for, and counts what it isn't.
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
    let mut turn = stalest.finish()?;
    let all = turn.bytes;
    while all - turn.bytes < most && !tally.is_late() && !stop.requested() {
        let Some(job) = turn.next()? else { break };
        let bytes = job.entry.stamp.size;
        groups.push(job, bytes);
    }
    tally.leave(turn.files, turn.bytes);
    Ok(())
}

fn unusable_spool(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot keep what is to be mended").because(error)
}

fn cannot_sort(error: io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot sort the files to verify").because(error)
}

#[cfg(test)]
mod tests;
