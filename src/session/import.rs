//! Import of a list of digests, to adopt a mirror that another program made.
//!
//! First the whole list is read. Then the files that it names are read in the target, hashed, and
//! recorded with the list's digests. Rows of files that have that content prove it; the others
//! record what the content should be. A mirror from any source takes the rows over, and reads its
//! source instead of copying.

mod sorted;

use super::published::unpublished;
use super::{new_run_id, wall_clock};
use crate::backend::layer::{BandwidthLimit, PacedSource};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, ListItem, ListOptions, Source, Target};
use crate::engine::{BUFFER, Cores, Hashed, ReadSide, Wanted};
use crate::filter::FilterSpec;
use crate::limits::LimitOptions;
use crate::listing::{OrderChecked, Unknown};
use crate::location::Location;
use crate::manifest::list::{ListFormat, Listed};
use crate::manifest::published::{self, Done, ManifestReader, ManifestWriter, Publishing};
use crate::manifest::{
    IMPORTED, LockRequest, PendingRow, RecordedBy, RecordedOptions, Row, RunNumber, State,
    TargetLock, Writer, is_damage,
};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::{
    Cause, Difference, Digest, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Event,
    ExtraDigests, ExtraKinds, Finding, Key, Metadata, MetadataMapping, Notice, Observer, Operation,
    Preserve, Progress, RunId, Stamp, Stop, Timestamp, Totals, Verdict,
};
use crate::place::random;
use crate::place::{OpenOptions, Opener, Writes};
use crate::spool::Sorted;
use crate::verify::{Choice, Depth, VerifyOutcome, VerifyTotals};
use crossbeam_channel::{Receiver, Sender, bounded};
pub use sorted::DigestList;
use sorted::{SortedList, next_file, sort};
use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Files queued for hashing per worker, and rows queued for recording.
const WAITING: usize = 64;
/// Rows per commit.
const BATCH: u64 = 10_000;

/// What to import, and for which target.
#[derive(Debug)]
pub struct ImportOptions {
    /// The target that the list describes.
    pub target: Location,
    /// Settings of its store, if it is in one.
    pub target_store: Option<StoreSettings>,
    /// The format of the list.
    pub format: ListFormat,
    /// The directory of state databases; created if missing.
    pub state_dir: PathBuf,
    /// Files hashed at the same time, at least 1.
    pub checkers: usize,
    /// The run's resource limits.
    pub limits: LimitOptions,
}

impl ImportOptions {
    /// Makes the opener for the target of a run that began at `began`.
    fn opener(
        &self,
        run: &RunId,
        began: Timestamp,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Opener {
        Opener::new(OpenOptions {
            limits: &self.limits,
            requests: self.checkers,
            checkers: self.checkers,
            progress,
            stop,
            run: &run.0,
            began,
            spool_dir: &self.state_dir,
            state_dir: Some(&self.state_dir),
            learns: true,
        })
    }
}

/// Imports a list of digests, and reports how the target differs from it. If stopped, nothing is
/// imported. `progress` counts `bytes_hashed` and `entries`.
///
/// # Errors
/// [`ErrorKind::Usage`] for a list that can't be used, [`ErrorKind::Refused`] if the target has a
/// manifest already, [`ErrorKind::Locked`] if a run is writing to it, [`ErrorKind::Unusable`] if
/// list or target can't be read, [`ErrorKind::Manifest`] if it can't be recorded.
pub fn import(
    options: &ImportOptions,
    list: DigestList,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<VerifyOutcome, Error> {
    let (began, started, run) = (Instant::now(), wall_clock(), new_run_id()?);
    let name = list.name.clone();
    let SortedList { lines: listed, left_out } =
        sort(options.format, list, &options.state_dir, stop)?;
    if left_out > 0 {
        observer.notice(Notice::OwnNamesLeftOut { count: left_out });
    }
    let state_dir = &options.state_dir;
    let places = options.opener(&run, started, progress, stop);
    let place = places.target(&options.target, options.target_store.as_ref())?;
    let (target_name, lockable) = (&place.name, place.lockable()?);
    let target = places.write(&place, Writes::new(Durability::File, random()?))?;
    let lock = TargetLock::take(&lockable, LockRequest::of(&run), stop, &mut |notice| {
        observer.notice(notice);
    })?;
    let reader = ManifestReader::of(&*target, state_dir);
    refuse_where_known(options, &reader, target_name)?;
    lockable.probe(&*target, &mut |notice| observer.notice(notice));
    let record =
        ImportRecord::begin(options, run.clone(), started, &*target, target_name, observer)?;
    lock.keep();
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let paced = PacedSource::around(&*target, bandwidth.as_ref());
    let content: &dyn Source = paced.as_ref().map_or(&*target, |paced| paced);
    let by = RecordedBy { run: record.number, from: record.state.number()?, began: started };
    let importing = Importing { options, target: &*target, content, by, observer, progress, stop };
    let imported = importing.run(listed, record.state.writer()?);
    if let Some(why) = lock.lost() {
        return Err(why);
    }
    let totals = imported?;
    let (verdict, counted) = (verdict(&totals, stop), progress.totals());
    let writer = ManifestWriter::new(&*target, state_dir, wall_clock()).going_by(&reader);
    let ended = record.end(&writer, &name, verdict, &counted);
    if let Some(why) = lock.lost() {
        return Err(why);
    }
    ended?.iter().flat_map(Done::notices).for_each(|notice| observer.notice(notice));
    // If releasing fails, the next run takes the lock over.
    if let Err(error) = lock.release() {
        observer.notice(Notice::LockNotReleased { cause: error.sentence() });
    }
    Ok(VerifyOutcome {
        run,
        source: name.clone(),
        sources: vec![name],
        unfinished: Vec::new(),
        depth: Depth::Content(Choice::default()),
        differences: totals.missing + totals.corrupt,
        key: None,
        totals,
        counted,
        duration: began.elapsed(),
        interrupted: verdict == Verdict::Interrupted,
        fault: None,
    })
}

/// An import whose beginning is recorded.
struct ImportRecord {
    state: State,
    number: RunNumber,
    run: RunId,
    started: Timestamp,
    options: RecordedOptions,
}

impl ImportRecord {
    /// Records that an import begins, in the target's state.
    fn begin(
        options: &ImportOptions,
        run: RunId,
        started: Timestamp,
        target: &dyn Target,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let opened = State::open(&options.state_dir, IMPORTED, name)?;
        if let Some(lost) = opened.lost(None) {
            observer.notice(lost);
        }
        let state = opened.state;
        // Drops what an interrupted import recorded.
        state.clear_source()?;
        let options = RecordedOptions {
            filter: FilterSpec::default(),
            delete: false,
            durability: Durability::Batch,
            only: None,
            key_space: KeySpace::Tree,
            keeps: target.limited_keeps(),
            preserve: Preserve::NOTHING,
            settable: None,
            source_tells: false,
            mapping: MetadataMapping::default(),
        };
        let number = state.begin_run(&run, started, &options.encode()?)?;
        Ok(Self { state, number, run, started, options })
    }

    /// Records its end, and publishes its rows unless it was interrupted.
    fn end(
        self,
        writer: &ManifestWriter<'_>,
        list: &str,
        verdict: Verdict,
        totals: &Totals,
    ) -> Result<Option<Done>, Error> {
        let Self { state, number, run, started, options } = self;
        let now = wall_clock();
        state.finish_run(number, now, verdict, totals, None)?;
        if verdict == Verdict::Interrupted {
            return Ok(None);
        }
        let totals = *totals;
        let publishing = Publishing { run, started, now, verdict, options, totals };
        published::publish(&state, writer, publishing)
            .map_err(|error| unpublished(&format!("{list} is imported"), error))
    }
}

/// Returns how an import ended.
fn verdict(totals: &VerifyTotals, stop: &Stop) -> Verdict {
    match totals {
        _ if stop.requested() => Verdict::Interrupted,
        VerifyTotals { corrupt: 0, missing: 0, failed: 0, .. } => Verdict::Complete,
        _ => Verdict::Incomplete,
    }
}

/// Refuses a target that a manifest or the state already describes.
fn refuse_where_known(
    options: &ImportOptions,
    reader: &ManifestReader<'_>,
    name: &str,
) -> Result<(), Error> {
    let refused = |message: String, help: &str| {
        Err(Error::new(ErrorKind::Refused, message).help(help.to_owned()))
    };
    match reader.latest_or_highest()? {
        None => {}
        // An earlier import was killed or failed before it updated the pointer.
        Some((latest, Some(_)))
            if latest.head.source == IMPORTED && !reader.is_overtaken(Some(&latest))? => {}
        Some(_) => {
            return refused(
                format!("\"{name}\" has a manifest already"),
                "`vidimus verify` compares the target with it; to import again, remove \
                 .vidimus/manifest there first",
            );
        }
    }
    let state = match State::open_read_only(&options.state_dir, IMPORTED, name) {
        // It will be put aside.
        Err(error) if is_damage(&error) => None,
        state => state?,
    };
    match state.map(|state| state.last_mirror()).transpose()?.flatten() {
        Some(run) => refused(
            format!("a mirror from \"{}\" to \"{name}\" is recorded here", run.source),
            "`vidimus verify` compares the target with what it recorded",
        ),
        None => Ok(()),
    }
}

/// An import in progress.
struct Importing<'a> {
    options: &'a ImportOptions,
    target: &'a dyn Target,
    /// The target for reading content, with the bandwidth limit applied.
    content: &'a dyn Source,
    /// The run, with the list as its source.
    by: RecordedBy,
    observer: &'a dyn Observer,
    progress: &'a Progress,
    stop: &'a Stop,
}

/// A file to hash.
struct Job {
    listed: Entry,
    /// The list's digest.
    expected: Digest,
}

/// A file that was read.
struct ReadFile {
    /// The entry as read.
    entry: Entry,
    hashed: Hashed,
    /// The digest to compare with the list's.
    digest: Digest,
}

/// Counts of recorded rows.
#[derive(Default)]
struct Recorded {
    verified: u64,
    corrupt: u64,
}

/// A file found in the target.
struct Found {
    row: Row,
    /// Whether its content has the listed digest; `None` if it could not be read.
    matches: Option<bool>,
}

impl Importing<'_> {
    /// Compares the target with the list and records the result.
    fn run(&self, mut listed: Sorted, mut writer: Writer) -> Result<VerifyTotals, Error> {
        let checkers = self.options.checkers;
        let cores = Cores::default();
        let pass = |_| if self.stop.requested() { Err(Cause::Stopped) } else { Ok(()) };
        let mut totals = VerifyTotals::default();
        std::thread::scope(|scope| -> Result<(), Error> {
            let (jobs, waiting) = bounded::<Job>(checkers * WAITING);
            let (found, finds) = bounded::<Found>(checkers * WAITING);
            for _ in 0..checkers {
                let (waiting, found, cores, pass) = (waiting.clone(), found.clone(), &cores, &pass);
                scope.spawn(move || {
                    let mut buffer = vec![0; BUFFER];
                    for job in &waiting {
                        let hashed = self.hash(job, cores, pass, &mut buffer);
                        if let Some(hashed) = hashed
                            && found.send(hashed).is_err()
                        {
                            // The recording thread failed.
                            break;
                        }
                    }
                });
            }
            drop(waiting);
            let recording = scope.spawn(move || record(&mut writer, &finds));
            let scanned = self.scan(&mut listed, &jobs, &found, &mut totals);
            drop((jobs, found));
            let recorded =
                recording.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            scanned?;
            Recorded { verified: totals.verified, corrupt: totals.corrupt } = recorded?;
            Ok(())
        })?;
        totals.failed = self.progress.files_failed.get();
        totals.bytes_hashed = self.progress.bytes_hashed.get();
        Ok(totals)
    }

    /// Walks list and target in key order, and queues files that both have for hashing. `progress`
    /// counts entries of the target, `totals` files that the list names.
    fn scan(
        &self,
        listed: &mut Sorted,
        jobs: &Sender<Job>,
        found: &Sender<Found>,
        totals: &mut VerifyTotals,
    ) -> Result<(), Error> {
        let listing = self.target.list(&ListOptions {
            filter: Arc::default(),
            only: None,
            key_space: KeySpace::Tree,
        })?;
        let mut listing = OrderChecked::new(listing, Side::Target).peekable();
        let mut unknown = Unknown::default();
        let mut next = next_file(listed, None, totals)?;
        while !self.stop.requested() {
            let order = match (listing.peek(), &next) {
                (None, None) => break,
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok(item)), Some(wanted)) => item.key().cmp(&wanted.key),
            };
            let item =
                if order == Ordering::Greater { None } else { listing.next().transpose()? };
            let entry = match item {
                Some(ListItem::Entry(entry)) => Some(entry),
                Some(ListItem::Failed(error) | ListItem::BrokeOff(error)) => {
                    unknown.add(error.key.clone());
                    self.fail(&error);
                    continue;
                }
                Some(ListItem::LeftOut(key, _) | ListItem::Excluded(key)) => {
                    unknown.add(key);
                    continue;
                }
                Some(ListItem::Leftover(_) | ListItem::MountPoint(_) | ListItem::Ignores(..)) => {
                    continue;
                }
                None => None,
            };
            self.progress.entries.add(u64::from(entry.is_some()));
            let file = entry.filter(|entry| entry.kind == EntryKind::File);
            let wanted = match (file, next.take_if(|_| order != Ordering::Less)) {
                (None, None) => continue,
                (Some(_), None) => {
                    totals.extra += 1;
                    continue;
                }
                (Some(entry), Some(wanted)) => {
                    let job = Job { listed: entry, expected: Digest(wanted.digest) };
                    if jobs.send(job).is_err() {
                        return Ok(());
                    }
                    wanted
                }
                (None, Some(wanted)) => {
                    unknown.leave(&wanted.key);
                    if !unknown.covers(&wanted.key) {
                        totals.missing += 1;
                        let finding = Finding::new(&wanted.key, Difference::Missing, true);
                        self.observer.observe(&Event::Difference(finding));
                    }
                    // The recording thread ends first only if it failed.
                    if found.send(self.unseen(&wanted)).is_err() {
                        return Ok(());
                    }
                    wanted
                }
            };
            next = next_file(listed, Some(&wanted), totals)?;
        }
        Ok(())
    }

    /// Hashes a file, and makes its row; `None` if the run is stopped.
    fn hash(
        &self,
        job: Job,
        cores: &Cores,
        pass: &(dyn Fn(u64) -> Result<(), Cause> + Sync),
        buffer: &mut [u8],
    ) -> Option<Found> {
        if self.stop.requested() {
            return None;
        }
        let Job { listed, expected } = job;
        let unverified = |entry: Entry, matches| {
            let size = entry.stamp.size;
            // The stamp of wrong content must not be recorded as valid.
            let row = self.listed_row(entry.key, expected, size).with_target(Stamp::unknown(size));
            Some(Found { row, matches })
        };
        let ReadFile { entry, hashed, digest } =
            match self.read(&listed, expected, cores, pass, buffer) {
                Ok(read) => read,
                Err(error) if matches!(error.cause, Cause::Stopped) => return None,
                Err(error) => {
                    self.fail(&error);
                    return unverified(listed, None);
                }
            };
        if digest != expected {
            let difference = Difference::Corrupt { expected: Some(expected), found: Some(digest) };
            let finding = Finding::new(&entry.key, difference, true);
            self.observer.observe(&Event::Difference(finding));
            return unverified(entry, Some(false));
        }
        let row = PendingRow {
            digest: Some(hashed.digest),
            metadata: entry.metadata,
            verified_at: Some(wall_clock()),
            ..self.listed_row(entry.key, expected, entry.stamp.size)
        };
        Some(Found { row: row.with_target(entry.stamp), matches: Some(true) })
    }

    /// Makes the row of a listed file that the target lacks.
    fn unseen(&self, listed: &Listed) -> Found {
        let row = self.listed_row(listed.key.clone(), Digest(listed.digest), 0);
        Found { row: row.with_target(Stamp::unknown(0)), matches: None }
    }

    /// Makes a row from the list alone. The source's stamp is unknown, so that the next mirror
    /// reads the file.
    fn listed_row(&self, key: Key, expected: Digest, size: u64) -> PendingRow {
        let (digest, sha256) = match self.options.format {
            ListFormat::B3sum => (Some(expected), None),
            ListFormat::Sha256sum => (None, Some(expected.0)),
        };
        let metadata = Metadata::default();
        let entry = Entry::new_file(key, size, metadata);
        let extra = ExtraDigests { sha256, md5: None };
        PendingRow { digest, extra, ..PendingRow::of(entry, metadata, self.by) }
    }

    /// Reads a file, and hashes it as the list requires.
    fn read(
        &self,
        listed: &Entry,
        expected: Digest,
        cores: &Cores,
        pass: &(dyn Fn(u64) -> Result<(), Cause> + Sync),
        buffer: &mut [u8],
    ) -> Result<ReadFile, EntryError> {
        let entry = self.look(listed)?;
        let bytes = &self.progress.bytes_hashed;
        let sha256 = self.options.format == ListFormat::Sha256sum;
        let mut read = || {
            let from = ReadSide::target(self.content);
            let wanted = Wanted { tagged: None, extra: ExtraKinds { sha256, md5: false } };
            let (entry, hashed) = cores.hash_content(from, &entry, buffer, bytes, pass, wanted)?;
            let digest = hashed.extra.sha256.map_or(hashed.digest, Digest);
            Ok(ReadFile { entry, hashed, digest })
        };
        let first = read()?;
        if !self.target.capabilities().remote || first.digest == expected {
            return Ok(first);
        }
        // A bit may have flipped in transit; if the stored content is wrong, it is wrong again.
        read()
    }

    /// Looks up an entry that was only listed, for the metadata in its row.
    fn look(&self, listed: &Entry) -> Result<Entry, EntryError> {
        if listed.completeness != Completeness::ListingOnly {
            return Ok(listed.clone());
        }
        let failed = |cause| EntryError::on_target(Operation::Read, &listed.key, cause);
        let looked = self.target.look(&listed.key).map_err(failed)?;
        match looked.ok_or_else(|| failed(Cause::Vanished))? {
            entry if entry.kind == EntryKind::File => Ok(entry),
            other => Err(failed(Cause::Other(format!("it is a {}", other.kind)))),
        }
    }

    fn fail(&self, error: &EntryError) {
        self.progress.files_failed.add(1);
        self.observer.observe(&Event::Failed(error.clone()));
    }
}

/// Records rows as they arrive, in batches.
fn record(writer: &mut Writer, finds: &Receiver<Found>) -> Result<Recorded, Error> {
    let (mut recorded, mut waiting) = (Recorded::default(), 0);
    for Found { row, matches } in finds {
        match matches {
            Some(true) => recorded.verified += 1,
            Some(false) => recorded.corrupt += 1,
            None => {}
        }
        writer.put(&row)?;
        waiting += 1;
        if waiting == BATCH {
            writer.commit()?;
            waiting = 0;
        }
    }
    writer.commit()?;
    Ok(recorded)
}
