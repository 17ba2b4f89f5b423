//! Putting a stream in a place: standard input, say, of which nobody knows the size, to a file or
//! an object.
//!
//! What comes is hashed and written as it comes; it stands whole once it has ended, and until then
//! the target has what it had. The target is the directory or prefix that holds it: that is locked,
//! as by a mirror into it, in its state stands the row, from [`STREAM`], and what is published in
//! it is published anew.

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
    Cause, Digest, Durability, ETag, Entry, EntryKind, Error, ErrorKind, Key, Metadata, Notice,
    Progress, RunId, Severity, Stamp, Stop, Timestamp, Verdict,
};
use crate::place::file::{cannot_write, of_existing};
use crate::place::{OpenOptions, Opener, WritableFile};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// What to put where.
#[derive(Debug)]
pub struct PutOptions {
    /// The file or object that is to be.
    pub location: SingleLocation,
    /// How its store is reached, where it is one.
    pub store: Option<StoreSettings>,
    /// Where state databases live; made when missing.
    pub state_dir: PathBuf,
    /// Bytes that will come, as far as anybody knows: large parts for a large stream.
    pub expected_size: Option<u64>,
    /// What the manifest is signed with that holds what was put, where one is published there.
    pub sign: Option<SecretKey>,
    /// The mode that it is given, unless a file or an object stands there: that one's mode stays.
    pub mode: u32,
    /// What the run may use.
    pub limits: LimitOptions,
}

/// How putting ended.
#[derive(Debug)]
pub enum PutEnd {
    /// All that came stands.
    Done(Box<PutOutcome>),
    /// It was stopped: what stood before stands.
    Stopped,
}

/// What stands now.
#[derive(Debug)]
pub struct PutOutcome {
    /// The run's id.
    pub run: RunId,
    /// What holds it, as the state names it.
    pub target: String,
    /// Its name there.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its content.
    pub digest: Digest,
    /// Its tag, where a store gave one.
    pub etag: Option<ETag>,
    /// What it should be but isn't, what the place doesn't do for it, and what was found damaged.
    pub warnings: Vec<Notice>,
    /// What is worth knowing beside.
    pub notes: Vec<Notice>,
}

/// Puts all that `input` yields at a location.
///
/// # Errors
/// [`ErrorKind::Usage`] for a location that can't be a file's, [`ErrorKind::Locked`] when another
/// run holds the target, or took it meanwhile; [`ErrorKind::Unusable`] when the input or the target
/// fails: what stood before stands then. [`ErrorKind::Manifest`] when it can't be recorded: before
/// anything was read, or when it stands already, which the error says.
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
    let mut told = Vec::new();
    let held = TargetLock::take(&at.lockable, LockRequest::of(&run), stop, &mut |notice| {
        told.push(notice);
    });
    let held = match held {
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        held => held?,
    };
    at.lockable.probe(&*at.target, &mut |notice| told.push(notice));
    at.target.accepts(&at.key).map_err(|cause| cannot_write(&options.location, cause))?;
    let opened = State::open(&options.state_dir, STREAM, &at.name)?;
    told.extend(opened.lost(None));
    let state = opened.state;
    let reader = ManifestReader::of(&*at.target, &options.state_dir);
    let pointer = single::check_signed(&reader, &at.name, options.sign.as_ref())?;
    let mut unread = None;
    match take_over(&state, &at, &reader, options, stop) {
        Ok(notices) => told.extend(notices),
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        Err(error) if options.sign.is_some() => return Err(error),
        // As with a mirror: what can't be read is not built on.
        Err(error) if pointer == single::Pointer::Read && error.kind == ErrorKind::Unusable => {
            return Err(unread_manifest(&options.location, error));
        }
        // Whoever may only write there puts all the same, and replaces nothing of it.
        Err(error) if error.kind == ErrorKind::Unusable && state.published()?.is_some() => {
            unread = Some(error);
        }
        Err(error) => told.push(Notice::ManifestNotTakenOver { cause: error.to_string() }),
    }
    recall(Some(&state), &*at.target, &options.state_dir)?;
    if let Err(cause) = at.target.abort_stale_streams() {
        told.push(Notice::StreamsStay { cause: cause.to_string() });
    }
    let cannot = |cause| cannot_write(&options.location, cause);
    if !at.has_looked {
        match keep_what_stands(&mut at) {
            Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
            kept => told.extend(kept.map_err(cannot)?),
        }
    }
    let written = write(&at, options, input, progress, stop);
    // A lock that is lost stops the run: that is why, then.
    if let Some(lost) = held.lost() {
        return Err(lost_lock(&options.location, lost, written.is_ok()));
    }
    let written = match written {
        Ok(written) => written,
        Err(Fault::Target(Cause::Stopped)) => return Ok(PutEnd::Stopped),
        Err(_) if stop.requested() => return Ok(PutEnd::Stopped),
        Err(Fault::Target(cause)) => return Err(cannot(cause)),
        Err(Fault::Input(error)) => {
            return Err(Error::new(ErrorKind::Unusable, "cannot read standard input")
                .because(error)
                .help("nothing was put; what stood before stands"));
        }
    };
    held.keep();
    let began = Began { run: &run, started };
    let recorded = record(&state, &at, began, &written, progress).map_err(|error| {
        let message = format!("\"{}\" stands, but can't be recorded", options.location);
        Error::new(error.kind, message).because(error)
    })?;
    let done = match unread {
        Some(error) => Err(error),
        None => publish(&state, &at, options, publishing(began, recorded, progress)),
    };
    let what = || format!("\"{}\" stands", options.location);
    let done = done.map_err(|error| unpublished(&what(), error))?;
    told.extend(done.iter().flat_map(Done::notices));
    // A lock that stays is taken over by the next run.
    let stays = |error: Error| Notice::LockNotReleased { cause: error.to_string() };
    told.extend(held.release().err().map(stays));
    let Written { size, digest, target_stamp, refused, .. } = written;
    told.extend(refused.map(|cause| Notice::MetadataNotSet { cause: cause.to_string() }));
    told.extend(at.not_kept);
    let is_warning = |notice: &Notice| notice.severity() == Severity::Warning;
    let (mut warnings, notes): (Vec<_>, Vec<_>) = told.into_iter().partition(is_warning);
    // Of a single file it is no matter of course what its place does: nobody looks for it there.
    warnings.extend(at.target.notices());
    let (target, key, etag) = (at.name, at.key, target_stamp.tag());
    Ok(PutEnd::Done(Box::new(PutOutcome { run, target, key, size, digest, etag, warnings, notes })))
}

/// Looks for an object there, whose mode and owner stay; that they don't, where it may not be
/// looked at: whoever may only write there puts all the same.
fn keep_what_stands(at: &mut WritableFile) -> Result<Option<Notice>, Cause> {
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

/// The run that puts it.
#[derive(Clone, Copy)]
struct Began<'a> {
    run: &'a RunId,
    started: Timestamp,
}

/// What was written.
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
    let mut staged = stage.finish(&wanted, &digest)?;
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

/// Makes the state of what was published in the target, where it is new: else the file would be all
/// that is known of it; where it isn't, takes in what others published since. With a key, what that
/// must not sign is refused.
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

/// Records what stands, as a run of its own.
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
    };
    let number = state.begin_run(run, started, &options.encode()?)?;
    let ended = wall_clock();
    let mut writer = state.writer()?;
    let entry = Entry::new_file(at.key.clone(), written.size, written.metadata);
    let by = RecordedBy { run: number, from: state.number()?, began: started };
    let row = PendingRow {
        digest: Some(written.digest),
        origin: Origin::Proven,
        // A stream has no stamp that could be met again.
        source_racy: true,
        ..PendingRow::of(entry, written.metadata, by)
    };
    writer.put(&row.with_target(written.target_stamp))?;
    writer.commit()?;
    state.finish_run(number, ended, Verdict::Complete, &progress.totals(), None)?;
    Ok(options)
}

/// What is to be published of it.
fn publishing(
    Began { run, started }: Began<'_>,
    options: RecordedOptions,
    progress: &Progress,
) -> Publishing {
    let (run, now, totals) = (run.clone(), wall_clock(), progress.totals());
    Publishing { run, started, now, verdict: Verdict::Complete, options, totals }
}

/// Publishes what changed. A single file makes no manifest where there
/// is none.
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
    let message = format!("\"{location}\" stands, but is not recorded");
    Error::new(lost.kind, message)
        .because(lost)
        .help("run again once no other run writes to the target")
}
