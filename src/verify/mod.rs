//! Verifying: the target's content against the rows of the latest run into it.

use crate::backend::local::{Guarded, LocalTarget, Root, Walking};
use crate::backend::object::s3::Settings;
use crate::backend::object::{ObjectTarget, Stores};
use crate::backend::{ListItem, ListOptions, Source, Target};
use crate::engine::{BUFFER, Cores};
use crate::filter::Filter;
use crate::limits::{Bandwidth, LimitOptions};
use crate::listing::{Checked, Unknown};
use crate::location::Location;
use crate::manifest::published::{Head, Merged, Shelf};
use crate::manifest::{Lease, Lock, RecordedOptions, Row, State};
use crate::model::entry::Known;
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::{
    Cause, Digest, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Progress,
    RunId, Stop, Timestamp, Totals,
};
use crossbeam_channel::{Sender, bounded};
use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a verification is asked to do.
#[derive(Debug)]
pub struct VerifyOptions {
    /// What to verify.
    pub target: Location,
    /// How its store is reached, where it is one.
    pub target_store: Option<Settings>,
    /// Where state databases live.
    pub state_dir: PathBuf,
    /// Count extra entries as differences even where the run didn't delete extras.
    pub strict: bool,
    /// Files hashed at the same time, at least 1.
    pub checkers: usize,
    /// What the verification may use.
    pub limits: LimitOptions,
}

/// How an entry differs from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The row's entry is not there.
    Missing,
    /// Its content isn't what was recorded.
    Corrupt {
        /// The digest recorded, unless the size alone told.
        expected: Option<Digest>,
        /// The digest found, unless the size alone told.
        found: Option<Digest>,
    },
    /// Its mode, owner, group, mtime, type or link text isn't what was recorded; in words.
    Metadata(String),
    /// No row knows it.
    Extra,
}

/// What a verification found, one call a difference, in any order.
pub trait VerifyObserver: Send + Sync {
    /// Takes one difference; `counted` is false for extras that don't count as such.
    fn difference(&self, key: &Key, difference: &Difference, counted: bool);
    /// Takes an entry that could not be read.
    fn failed(&self, error: &crate::model::EntryError);
}

/// What a verification counted.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct VerifyTotals {
    /// Entries that the rows name.
    pub entries: u64,
    /// Files whose content matched their digest.
    pub verified: u64,
    /// Files whose row has no digest (adopted ones): they exist in the right size.
    pub unproven: u64,
    /// Entries missing.
    pub missing: u64,
    /// Files whose content differs.
    pub corrupt: u64,
    /// Entries whose metadata differs.
    pub metadata: u64,
    /// Entries that no row knows.
    pub extra: u64,
    /// Entries that could not be read.
    pub failed: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
}

/// How a verification ended.
#[derive(Debug)]
pub struct VerifyOutcome {
    /// The run whose rows were compared with.
    pub run: RunId,
    /// The source of that run, as it prints.
    pub source: String,
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
}

/// Verifies a target. `progress` counts `bytes_hashed` and `entries` as it goes.
///
/// # Errors
/// [`ErrorKind::Manifest`] when no run into the target is recorded or its state can't be used,
/// [`ErrorKind::Unusable`] when the target can't be read, [`ErrorKind::Locked`] when a run is
/// writing to it.
pub fn verify(
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<VerifyOutcome, Error> {
    let began = Instant::now();
    let Opened { target, name, lock } = open(options, progress, stop)?;
    let nothing = || {
        let state_dir = Escaped(options.state_dir.as_os_str().as_bytes());
        Error::new(ErrorKind::Manifest, format!("no run into \"{name}\" is recorded"))
            .help(format!("mirror to it first, or name its state by --state-dir (now {state_dir})"))
    };
    let manifest = match State::latest_into(&options.state_dir, &name)? {
        Some(state) => Manifest::of_state(&state)?,
        None => Manifest::of_target(&*target, options)?,
    };
    let Manifest { run, source, recorded, rows } = manifest.ok_or_else(nothing)?;
    let filter = Filter::try_from(recorded.filter).map_err(|error| {
        Error::new(ErrorKind::Manifest, "the recorded run's filter can't be used").because(error)
    })?;
    let extras_count = recorded.delete || options.strict;
    // Rows of entries that were excluded since are verified too.
    let everything = Arc::default();
    let listing = target.list(&ListOptions {
        filter: everything,
        only: recorded.only.clone(),
        form: recorded.form,
    })?;
    let mut scan = Scan {
        listing: Checked::new(listing, Side::Target).peekable(),
        rows: rows.peekable(),
        unknown: Unknown::default(),
    };
    let tally = Tally {
        observer,
        totals: Mutex::default(),
        target: &*target,
        filter: &filter,
        extras_count,
        cores: Cores::default(),
        bandwidth: Bandwidth::new(&options.limits),
    };
    let whole = std::thread::scope(|scope| {
        let (jobs, waiting) = bounded::<Vec<Job>>(options.checkers * GROUPS_WAITING);
        for _ in 0..options.checkers {
            let (waiting, tally) = (waiting.clone(), &tally);
            scope.spawn(move || {
                let mut buffer = vec![0; BUFFER];
                for group in &waiting {
                    for job in group {
                        tally.hash(&job, &mut buffer, progress, stop);
                    }
                }
            });
        }
        drop(waiting);
        scan.run(&tally, &jobs, progress, stop)
    });
    whole?;
    drop(lock);
    let mut totals = tally.totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.bytes_hashed = progress.bytes_hashed.get();
    let extra = if extras_count { totals.extra } else { 0 };
    Ok(VerifyOutcome {
        run,
        source,
        differences: totals.missing + totals.corrupt + totals.metadata + extra,
        totals,
        counted: progress.totals(),
        duration: began.elapsed(),
        interrupted: stop.requested(),
    })
}

/// What a target is held against.
struct Manifest {
    run: RunId,
    /// The source of that run, as it prints.
    source: String,
    recorded: RecordedOptions,
    rows: Box<dyn Iterator<Item = Result<Row, Error>>>,
}

impl Manifest {
    fn of_state(state: &State) -> Result<Option<Self>, Error> {
        let Some(record) = state.last_run()? else { return Ok(None) };
        Ok(Some(Self {
            run: record.id,
            source: state.source().to_owned(),
            recorded: RecordedOptions::decode(&record.options)?,
            rows: Box::new(state.rows()?),
        }))
    }

    /// What was published in the target itself, for a machine that has no state of it.
    fn of_target(target: &dyn Target, options: &VerifyOptions) -> Result<Option<Self>, Error> {
        // Nothing is made where no run was.
        let has_state_dir = options.state_dir.is_dir();
        let spool_dir =
            if has_state_dir { options.state_dir.clone() } else { std::env::temp_dir() };
        let shelf = Shelf::of(target, &spool_dir);
        let Some(latest) = shelf.latest()? else { return Ok(None) };
        let rows = Merged::of(&shelf, &latest.head)?.map(|row| row.map(|(row, _)| row));
        let Head { run, source, options: recorded, .. } = latest.head;
        Ok(Some(Self { run, source, recorded, rows: Box::new(rows) }))
    }
}

/// A target that is verified.
struct Opened {
    target: Box<dyn Target>,
    /// Its name in the state.
    name: String,
    lock: Option<Lock>,
}

fn open(options: &VerifyOptions, progress: &Arc<Progress>, stop: &Stop) -> Result<Opened, Error> {
    let path = match &options.target {
        Location::Local(path) => path,
        Location::S3(location) => {
            let none = (String::new(), Timestamp::default());
            let (requests, spool_dir) = (options.checkers, &options.state_dir);
            let stores = Stores::new(&options.limits, requests, progress, stop, none, spool_dir)
                .with_orders(spool_dir, true);
            let place = stores.connect(location, options.target_store.as_ref())?;
            Lease::check(&place)?;
            let name = place.name();
            let target = Box::new(ObjectTarget::new(Arc::new(place)));
            return Ok(Opened { target, name, lock: None });
        }
    };
    let unusable = |error: std::io::Error| {
        let message = format!("cannot open the target \"{}\"", options.target);
        Error::new(ErrorKind::Unusable, message).because(error)
    };
    let path = path.canonicalize().map_err(unusable)?;
    let root = Arc::new(Root::open(&path).map_err(|error| unusable(error.into()))?);
    let lock = Lock::shared(root.directory().as_fd())?;
    let name = Escaped(path.as_os_str().as_bytes()).to_string();
    Ok(Opened { target: Box::new(open_local(root, options)?), name, lock })
}

fn open_local(root: Arc<Root>, options: &VerifyOptions) -> Result<LocalTarget, Error> {
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Unusable, "cannot begin to read the target").because(error)
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.checkers)
        .build()
        .map_err(|error| broken(error.into()))?;
    let state = Root::open(&options.state_dir).ok();
    let walking = Walking {
        pool: Arc::new(pool),
        spool_dir: options.state_dir.as_path().into(),
        guarded: state
            .map(|state| Guarded::LeaveOut(state.directory().identity))
            .into_iter()
            .collect(),
    };
    LocalTarget::new(root, walking, Durability::None, 0).map_err(|error| broken(error.into()))
}

/// Groups of files waiting to be hashed, a worker.
const GROUPS_WAITING: usize = 4;
/// Files in a group, and bytes after which it is handed over.
const GROUP: (usize, u64) = (64, 4 << 20);

/// What stands at a key, and what should.
type Found = (Option<Entry>, Option<Row>);

/// A file to hash.
struct Job {
    entry: Entry,
    expected: Digest,
}

/// The target's listing and the rows, side by side.
struct Scan<L: Iterator, R: Iterator> {
    listing: Peekable<L>,
    rows: Peekable<R>,
    /// Neither missing nor extra.
    unknown: Unknown,
}

impl<L, R> Scan<L, R>
where
    L: Iterator<Item = Result<ListItem, Error>>,
    R: Iterator<Item = Result<Row, Error>>,
{
    fn run(
        &mut self,
        tally: &Tally<'_>,
        jobs: &Sender<Vec<Job>>,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<(), Error> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while !stop.requested() {
            let Some((entry, row)) = self.next(tally)? else { break };
            progress.entries.add(1);
            let Some(job) = tally.compare(entry, row) else { continue };
            bytes += job.entry.stamp.size;
            group.push(job);
            if group.len() >= GROUP.0 || bytes >= GROUP.1 {
                bytes = 0;
                // Workers end only when this side does.
                jobs.send(std::mem::take(&mut group)).ok();
            }
        }
        jobs.send(group).ok();
        Ok(())
    }

    /// The next key that either side has.
    fn next(&mut self, tally: &Tally<'_>) -> Result<Option<Found>, Error> {
        loop {
            let next = match (self.listing.peek(), self.rows.peek()) {
                (Some(Err(_)), _) => {
                    self.listing.next().transpose()?;
                    continue;
                }
                (_, Some(Err(_))) => {
                    self.rows.next().transpose()?;
                    continue;
                }
                (None, None) => return Ok(None),
                (Some(Ok(_)), None) => Ordering::Less,
                (None, Some(Ok(_))) => Ordering::Greater,
                (Some(Ok(item)), Some(Ok(row))) => item.key().cmp(&row.key),
            };
            let row = if next == Ordering::Less { None } else { self.rows.next().transpose()? };
            if next == Ordering::Greater {
                if let Some(row) = &row {
                    self.unknown.leave(&row.key);
                    if self.unknown.covers(&row.key) {
                        continue;
                    }
                }
                return Ok(Some((None, row)));
            }
            match self.listing.next().transpose()? {
                Some(ListItem::Entry(entry)) => {
                    // A failure to look into a directory stands behind its entry.
                    return Ok(Some((Some(entry), row)));
                }
                Some(ListItem::Failed(error) | ListItem::BrokeOff(error)) => {
                    self.unknown.add(error.key.clone());
                    tally.fail(&error);
                }
                Some(ListItem::LeftOut(key, _)) => self.unknown.add(key),
                Some(ListItem::Leftover(_)) | None => {}
            }
        }
    }
}

/// What was found so far.
struct Tally<'a> {
    observer: &'a dyn VerifyObserver,
    totals: Mutex<VerifyTotals>,
    target: &'a dyn Target,
    filter: &'a Filter,
    extras_count: bool,
    cores: Cores,
    bandwidth: Bandwidth,
}

impl Tally<'_> {
    /// Compares what the listing shows with the row; what is left to be hashed is returned.
    fn compare(&self, entry: Option<Entry>, row: Option<Row>) -> Option<Job> {
        let row = match (&entry, row) {
            (_, Some(row)) => row,
            (Some(entry), None) => {
                // Every mirror of a directory has a row for its root.
                let excluded = self.filter.excludes_within(&entry.key);
                if !entry.key.is_root() && !excluded {
                    self.differs(&entry.key, &Difference::Extra);
                }
                return None;
            }
            (None, None) => return None,
        };
        self.count(|totals| totals.entries += 1);
        let Some(mut entry) = entry else {
            self.differs(&row.key, &Difference::Missing);
            return None;
        };
        let is_seen = entry.known == Known::Whole || row.tell(&row.target, &mut entry);
        if !is_seen {
            // A listing of a store tells neither kind nor metadata of what isn't as recorded.
            let difference = match row.kind {
                EntryKind::Symlink => Difference::Corrupt { expected: row.digest, found: None },
                EntryKind::Directory => Difference::Metadata("its marker is gone".to_owned()),
                _ => {
                    entry.kind = row.kind;
                    (entry.metadata, entry.link) = (row.metadata, row.link.clone());
                    return self.content(entry, &row);
                }
            };
            if entry.stamp != row.target {
                self.differs(&row.key, &difference);
            }
            return None;
        }
        if entry.kind != row.kind {
            let what = format!("{} -> {}", row.kind, entry.kind);
            self.differs(&row.key, &Difference::Metadata(what));
            return None;
        }
        if let Some(what) = self.metadata(&entry, &row) {
            self.differs(&row.key, &Difference::Metadata(what));
        }
        if row.kind == EntryKind::File { self.content(entry, &row) } else { None }
    }

    /// Compares the size of a file; what is left to be hashed is returned.
    fn content(&self, entry: Entry, row: &Row) -> Option<Job> {
        if entry.stamp.size != row.target.size {
            let difference = Difference::Corrupt { expected: row.digest, found: None };
            self.differs(&row.key, &difference);
            return None;
        }
        let Some(expected) = row.digest else {
            self.count(|totals| totals.unproven += 1);
            return None;
        };
        // So that nobody asks the store what it takes the content for: this says more.
        Some(Job { entry: Entry { recorded: Some(expected), ..entry }, expected })
    }

    /// What of the metadata isn't as recorded, in words.
    fn metadata(&self, entry: &Entry, row: &Row) -> Option<String> {
        let recorded = &row.metadata;
        let found = &entry.metadata;
        let mut differences = Vec::new();
        let mut differ = |name: &str, recorded: &dyn fmt::Display, found: &dyn fmt::Display| {
            differences.push(format!("{name} {recorded} -> {found}"));
        };
        if row.kind != EntryKind::Symlink && recorded.mode != found.mode {
            let (recorded, found) = (recorded.mode, found.mode);
            differ("mode", &format_args!("{recorded:04o}"), &format_args!("{found:04o}"));
        }
        if row.kind == EntryKind::Symlink && row.link != entry.link {
            let text = |link: &Option<Box<[u8]>>| {
                format!("\"{}\"", Escaped(link.as_deref().unwrap_or_default()))
            };
            differ("link", &text(&row.link), &text(&entry.link));
        }
        if recorded.uid != found.uid {
            differ("owner", &recorded.uid, &found.uid);
        }
        if recorded.gid != found.gid {
            differ("group", &recorded.gid, &found.gid);
        }
        // What the target kept of the time when the row was recorded is as good as the time itself.
        // An extra entry changes its directory's time: that counts where extras do.
        let counts = row.kind != EntryKind::Directory || self.extras_count;
        if counts && found.mtime != recorded.mtime && Some(found.mtime) != row.target.mtime() {
            differ("mtime", &recorded.mtime, &found.mtime);
        }
        (!differences.is_empty()).then(|| differences.join(", "))
    }

    fn hash(&self, job: &Job, buffer: &mut [u8], progress: &Progress, stop: &Stop) {
        if stop.requested() {
            return;
        }
        let pass = |bytes| {
            let taken = self.bandwidth.take(bytes, &|| stop.requested());
            if taken.is_err() || stop.requested() { Err(Cause::Stopped) } else { Ok(()) }
        };
        let bytes = &progress.bytes_hashed;
        let from: (&dyn Source, _) = (self.target, Side::Target);
        let mut hash = || {
            let cores = &self.cores;
            let read = cores.hash_content(from, &job.entry, buffer, bytes, &pass, None);
            read.map(|(_, hashed)| hashed.digest)
        };
        let mut read = hash();
        if self.target.is_store() && matches!(&read, Ok(found) if *found != job.expected) {
            // A bit may have flipped on the way; what lies there wrong is wrong the second time too.
            read = hash();
        }
        match read {
            Ok(found) if found == job.expected => {
                self.count(|totals| totals.verified += 1);
            }
            Ok(found) => {
                let (expected, found) = (Some(job.expected), Some(found));
                self.differs(&job.entry.key, &Difference::Corrupt { expected, found });
            }
            Err(error) if matches!(error.cause, Cause::Stopped) => {}
            Err(error) => self.fail(&error),
        }
    }

    fn differs(&self, key: &Key, difference: &Difference) {
        let counted = self.extras_count || *difference != Difference::Extra;
        self.count(|totals| match difference {
            Difference::Missing => totals.missing += 1,
            Difference::Corrupt { .. } => totals.corrupt += 1,
            Difference::Metadata(_) => totals.metadata += 1,
            Difference::Extra => totals.extra += 1,
        });
        self.observer.difference(key, difference, counted);
    }

    fn fail(&self, error: &EntryError) {
        self.count(|totals| totals.failed += 1);
        self.observer.failed(error);
    }

    fn count(&self, add: impl FnOnce(&mut VerifyTotals)) {
        add(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
