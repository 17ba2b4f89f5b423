//! Writing a stream of unknown size, such as standard input, to a file or an object.
//!
//! The stream is hashed and written as it arrives, and published once it has ended; until then the
//! existing file remains. The target is the directory or prefix around it: it is locked as by a
//! mirror into it, its state gets a row from the source [`STREAM`], and a manifest that is
//! published in it is published anew.

use super::input::Input;
use super::published::{self as in_target, LookedAt, catch_up, unpublished};
use super::{new_run_id, single, wall_clock};
use crate::backend::layer::{BandwidthLimit, PacedTarget};
use crate::backend::object::StoreSettings;
use crate::filter::FilterSpec;
use crate::limits::LimitOptions;
use crate::location::SingleLocation;
use crate::manifest::keys::SecretKey;
use crate::manifest::published::{self, Done, ManifestReader, ManifestWriter, Publishing};
use crate::manifest::{
    LockRequest, Origin, PendingRow, RecordedBy, RecordedOptions, STREAM, State, TargetLock, recall,
};
use crate::model::error::Trouble;
use crate::model::stamp::StampFields;
use crate::model::{
    Cause, Digest, Durability, ETag, Entry, EntryKind, Error, ErrorKind, Key, Metadata,
    MetadataMapping, Notice, Preserve, Progress, RunId, Severity, Stamp, Stop, Timestamp, Verdict,
};
use crate::place::file::{cannot_write, of_existing};
use crate::place::{OpenOptions, Opener, WritableFile};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// What to write where.
#[derive(Debug)]
pub struct PutOptions {
    /// The file or object to write.
    pub location: SingleLocation,
    /// Settings of its store, if it is in one.
    pub store: Option<StoreSettings>,
    /// The directory of state databases; created if missing.
    pub state_dir: PathBuf,
    /// Expected size in bytes, if known: a large stream needs large parts.
    pub expected_size: Option<u64>,
    /// The key to sign the manifest with, if one is published there.
    pub sign: Option<SecretKey>,
    /// The mode of a new file; an existing file or object keeps its mode.
    pub mode: u32,
    /// The run's resource limits.
    pub limits: LimitOptions,
}

/// How a `put` ended.
#[derive(Debug)]
pub enum PutEnd {
    /// The whole stream is published.
    Done(Box<PutOutcome>),
    /// It was stopped: the existing file remains.
    Stopped,
}

/// The file that was written.
#[derive(Debug)]
pub struct PutOutcome {
    /// The run's id.
    pub run: RunId,
    /// The directory or prefix that contains it, as named in the state.
    pub target: String,
    /// Its name there.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its content.
    pub digest: Digest,
    /// Its tag, if the store returned one.
    pub etag: Option<ETag>,
    /// What is not as it should be, what the place doesn't support, and damage that was found.
    pub warnings: Vec<Notice>,
    /// Other notices.
    pub notes: Vec<Notice>,
}

/// Writes everything that `input` yields to a location.
///
/// # Errors
/// [`ErrorKind::Usage`] for a location that can't be a file's, [`ErrorKind::Locked`] if another run
/// holds the target, or took it meanwhile; [`ErrorKind::Unusable`] if the input or the target
/// fails: the existing file then remains. [`ErrorKind::Manifest`] if it can't be recorded, before
/// anything was read or after it was published; the error says which.
pub fn put(
    options: &PutOptions,
    input: Box<dyn Read + Send>,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<PutEnd, Error> {
    let started = wall_clock();
    let run = new_run_id()?;
    let looking =
        OpenOptions::to_look(&options.limits, progress, stop, &options.state_dir, started);
    let places = Opener::new(OpenOptions { run: &run.0, ..looking });
    let mut at = places.writable(&options.location, options.store.as_ref(), options.mode)?;
    let mut notices = Vec::new();
    let lock = TargetLock::take(&at.lockable, LockRequest::of(&run), stop, &mut |notice| {
        notices.push(notice);
    });
    let lock = match lock {
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        lock => lock?,
    };
    let prepared = prepare(&mut at, options, stop, &mut notices);
    // A run that loses its lock is stopped by that.
    if let Some(lost) = lock.lost() {
        return Err(lost_lock(&options.location, lost, false));
    }
    let record = match prepared {
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        prepared => prepared?,
    };
    let written = write(&at, options, input, progress, stop);
    if let Some(lost) = lock.lost() {
        return Err(lost_lock(&options.location, lost, written.is_ok()));
    }
    let written = match written {
        Err(Fault::Target(Cause::Stopped)) => return Ok(PutEnd::Stopped),
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        written => written.map_err(|fault| fault.at(&options.location))?,
    };
    lock.keep();
    let done = record.conclude(&at, options, Began { run: &run, started }, &written, progress)?;
    notices.extend(done.iter().flat_map(Done::notices));
    // If releasing fails, the next run takes the lock over.
    let stays = |error: Error| Notice::LockNotReleased { cause: error.sentence() };
    notices.extend(lock.release().err().map(stays));
    let Written { size, digest, target_stamp, refused, .. } = written;
    notices.extend(refused.map(|cause| Notice::MetadataNotSet { cause: cause.to_string() }));
    notices.extend(at.not_kept);
    let is_warning = |notice: &Notice| notice.severity() == Severity::Warning;
    let (mut warnings, notes): (Vec<_>, Vec<_>) = notices.into_iter().partition(is_warning);
    // For a single file, limits of its place are warnings: nobody expects them there.
    warnings.extend(at.target.notices());
    let (target, key, etag) = (at.name, at.key, target_stamp.tag());
    Ok(PutEnd::Done(Box::new(PutOutcome { run, target, key, size, digest, etag, warnings, notes })))
}

/// Opens the record of the locked target, takes in what is published there, and finds out what the
/// new file keeps of the existing one.
fn prepare(
    at: &mut WritableFile,
    options: &PutOptions,
    stop: &Stop,
    notices: &mut Vec<Notice>,
) -> Result<Record, Error> {
    at.lockable.probe(&*at.target, &mut |notice| notices.push(notice));
    at.target.accepts(&at.key).map_err(|cause| cannot_write(&options.location, cause))?;
    let opened = State::open(&options.state_dir, STREAM, &at.name)?;
    notices.extend(opened.lost(None));
    let record = Record::up_to_date(opened.state, at, options, stop, notices)?;
    recall(Some(&record.state), &*at.target, &options.state_dir)?;
    if let Err(cause) = at.target.abort_stale_streams() {
        notices.push(Notice::StreamsStay { cause: cause.to_string() });
    }
    if !at.has_looked {
        let kept = keep_existing(at);
        notices.extend(kept.map_err(|cause| cannot_write(&options.location, cause))?);
    }
    Ok(record)
}

/// Looks for an existing object, to keep its mode and owner. Returns a notice if looking is not
/// allowed: a user who may only write there can still put.
fn keep_existing(at: &mut WritableFile) -> Result<Option<Notice>, Cause> {
    let existing = match at.target.look(&at.key) {
        Err(cause @ Cause::Store { trouble: Trouble::Denied, .. }) => {
            return Ok(Some(Notice::ModeNotKept { cause: cause.to_string() }));
        }
        found => found?.filter(|found| found.kind == EntryKind::File),
    };
    if let Some(existing) = existing {
        at.metadata = of_existing(existing.metadata, at.metadata.mtime);
    }
    Ok(None)
}

/// The run that writes it.
#[derive(Clone, Copy)]
struct Began<'a> {
    run: &'a RunId,
    started: Timestamp,
}

/// The result of writing.
struct Written {
    size: u64,
    digest: Digest,
    target_stamp: Stamp,
    metadata: Metadata,
    /// Why its metadata could not be set.
    refused: Option<Cause>,
}

enum Fault {
    Input(io::Error),
    Target(Cause),
}

impl Fault {
    /// Returns it as the error of writing to a location.
    fn at(self, location: &SingleLocation) -> Error {
        match self {
            Self::Target(cause) => cannot_write(location, cause),
            Self::Input(error) => Error::new(ErrorKind::Unusable, "cannot read standard input")
                .because(error)
                .help("nothing was put; the existing file remains"),
        }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self::Target(cause)
    }
}

fn write(
    at: &WritableFile,
    options: &PutOptions,
    input: Box<dyn Read + Send>,
    progress: &Progress,
    stop: &Stop,
) -> Result<Written, Fault> {
    let metadata = at.metadata;
    let entry = Entry::new_file(at.key.clone(), options.expected_size.unwrap_or(0), metadata);
    at.target.count_loss(&entry);
    let bandwidth = BandwidthLimit::new(&options.limits, stop);
    let target = PacedTarget::around(Arc::clone(&at.target), bandwidth.as_ref());
    let mut stage = target.stage_stream(&entry, at.precondition)?;
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    let mut input = Input::new(input, stop).map_err(Cause::from)?;
    while let Some(chunk) = input.chunk().map_err(Fault::Input)? {
        if stop.requested() {
            return Err(Cause::Stopped.into());
        }
        hasher.update(&chunk);
        stage.write(&chunk)?;
        size += chunk.len() as u64;
        progress.bytes_moved.add(chunk.len() as u64);
    }
    let digest = Digest::from(hasher.finalize());
    progress.bytes_hashed.add(size);
    let wanted = at.target.achievable_metadata(&metadata, EntryKind::File, None);
    let mut staged = stage.finish(&(&wanted).into(), &digest)?;
    if stop.requested() && !staged.is_in_place() {
        return Err(Cause::Stopped.into());
    }
    let refused = staged.publish()?;
    if at.target.capabilities().needs_barrier {
        at.target.barrier()?;
    }
    let written = staged.written();
    let target_stamp = if staged.is_in_place() {
        written.stamp
    } else {
        at.target.look(&at.key)?.map_or(written.stamp, |found| found.stamp)
    };
    progress.files_copied.add(1);
    progress.bytes_copied.add(size);
    Ok(Written { size, digest, target_stamp, metadata: written.metadata, refused })
}

/// The state of the target around the file, with what is published in it.
struct Record {
    state: State,
    /// Why the published manifest can't be read, if it therefore must not be replaced.
    unreadable: Option<Error>,
}

impl Record {
    /// Takes in what is published in the target.
    fn up_to_date(
        state: State,
        at: &WritableFile,
        options: &PutOptions,
        stop: &Stop,
        notices: &mut Vec<Notice>,
    ) -> Result<Self, Error> {
        let reader = ManifestReader::of(&*at.target, &options.state_dir);
        let pointer = single::check_signed(&reader, &at.name, options.sign.as_ref())?;
        let mut unreadable = None;
        match take_over(&state, at, &reader, options, stop) {
            Ok(taken_over) => notices.extend(taken_over),
            Err(error) if stop.requested() || options.sign.is_some() => return Err(error),
            // As in a mirror: don't go on without a manifest that can't be read.
            Err(error) if pointer == single::Pointer::Read && error.kind == ErrorKind::Unusable => {
                return Err(unread_manifest(&options.location, error));
            }
            // A user who may only write there can still put, but doesn't replace the manifest.
            Err(error) if error.kind == ErrorKind::Unusable && state.published()?.is_some() => {
                unreadable = Some(error);
            }
            Err(error) => notices.push(Notice::ManifestNotTakenOver { cause: error.sentence() }),
        }
        Ok(Self { state, unreadable })
    }

    /// Records the file that was written, and publishes that.
    fn conclude(
        self,
        at: &WritableFile,
        options: &PutOptions,
        began: Began<'_>,
        written: &Written,
        progress: &Progress,
    ) -> Result<Option<Done>, Error> {
        let recorded = record(&self.state, at, began, written, progress).map_err(|error| {
            let message = format!("\"{}\" is written, but could not be recorded", options.location);
            Error::new(error.kind, message).because(error)
        })?;
        let done = match self.unreadable {
            Some(error) => Err(error),
            None => publish(&self.state, at, options, publishing(began, recorded, progress)),
        };
        let what = format!("\"{}\" is written", options.location);
        done.map_err(|error| unpublished(&what, error))
    }
}

/// Fills a new state from what is published in the target, so that it has more than this file;
/// otherwise adds what others have published since. With a key, a state that it must not sign is
/// refused.
fn take_over(
    state: &State,
    at: &WritableFile,
    reader: &ManifestReader<'_>,
    options: &PutOptions,
    stop: &Stop,
) -> Result<Vec<Notice>, Error> {
    let key = options.sign.as_ref().map(SecretKey::public);
    let (key_space, trust) = (at.key_space, StampFields::default());
    let place = LookedAt { target: &*at.target, reader, key_space, trust };
    if state.last_run()?.is_some() {
        if let Some(key) = key {
            single::check_trusted(state, key)?;
        }
        return catch_up(state, place, key, stop);
    }
    state.clear()?;
    Ok(in_target::take_over(state, place, key, &|| Ok(()), stop)?
        .map(|taken| taken.notices)
        .unwrap_or_default())
}

/// Records the file, as a run of its own.
fn record(
    state: &State,
    at: &WritableFile,
    Began { run, started }: Began<'_>,
    written: &Written,
    progress: &Progress,
) -> Result<RecordedOptions, Error> {
    let options = RecordedOptions {
        filter: FilterSpec::default(),
        delete: false,
        durability: Durability::File,
        only: Some(at.key.as_bytes().into()),
        key_space: at.key_space,
        keeps: at.target.limited_keeps(),
        preserve: Preserve::NOTHING,
        settable: None,
        source_tells: false,
        mapping: MetadataMapping::default(),
    };
    let number = state.begin_run(run, started, &options.encode()?)?;
    let ended = wall_clock();
    let mut writer = state.writer()?;
    let entry = Entry::new_file(at.key.clone(), written.size, written.metadata);
    let by = RecordedBy { run: number, from: state.number()?, began: started };
    let row = PendingRow {
        digest: Some(written.digest),
        origin: Origin::Proven,
        // A stream has no stamp that could match later.
        source_racy: true,
        ..PendingRow::of(entry, written.metadata, by)
    };
    writer.put(&row.with_target(written.target_stamp))?;
    writer.commit()?;
    state.finish_run(number, ended, Verdict::Complete, &progress.totals(), None)?;
    Ok(options)
}

/// Returns what to publish.
fn publishing(
    Began { run, started }: Began<'_>,
    options: RecordedOptions,
    progress: &Progress,
) -> Publishing {
    let (run, now, totals) = (run.clone(), wall_clock(), progress.totals());
    Publishing { run, started, now, verdict: Verdict::Complete, options, totals }
}

/// Publishes what changed. A single file doesn't create a manifest.
fn publish(
    state: &State,
    at: &WritableFile,
    options: &PutOptions,
    publishing: Publishing,
) -> Result<Option<Done>, Error> {
    if state.published()?.is_none() {
        return Ok(None);
    }
    let manifest_writer = ManifestWriter::new(&*at.target, &options.state_dir, publishing.now);
    let manifest_writer = manifest_writer.signing_with(options.sign.as_ref());
    published::publish(state, &manifest_writer, publishing)
}

fn unread_manifest(location: &SingleLocation, error: Error) -> Error {
    const LATER: &str = "nothing was put; run again once the manifest can be read";
    let help = error.help.clone().unwrap_or_else(|| LATER.into());
    Error::new(error.kind, format!("cannot put \"{location}\"")).because(error).help(help)
}

fn lost_lock(location: &SingleLocation, lost: Error, existing: bool) -> Error {
    if !existing {
        return lost.help("nothing was put; run again once no other run writes to the target");
    }
    let message = format!("\"{location}\" is written, but not recorded");
    Error::new(lost.kind, message)
        .because(lost)
        .help("run again once no other run writes to the target")
}
