//! The inputs of a verification: the target and its record.

use super::expected::Expected;
use super::record::report_not_recorded;
use super::{Depth, VerifyOptions};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, Source, Target};
use crate::engine::now;
use crate::location::Location;
use crate::manifest::published::{History, ManifestReader, Merged, Publication, used_instead};
use crate::manifest::{LockRequest, Row, SharedLock, State, TargetLock};
use crate::model::hint::hint;
use crate::model::key::Escaped;
use crate::model::notice::Overtaken;
use crate::model::reserved::is_reserved;
use crate::model::shell::Quoted;
use crate::model::{
    Durability, Error, ErrorKind, Notice, Observer, Progress, RunId, Setting, Stop, Timestamp,
};
use crate::place::{
    InBag, OpenOptions, Opener, Overlap, SourcePlace, Writes, bag_at, new_run_id, random,
};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// The record that a target is compared with.
pub(super) struct Manifest {
    pub(super) expected: Expected,
    pub(super) rows: Box<dyn Iterator<Item = Result<Row, Error>>>,
    /// The same rows again, for counting ahead, if that is wanted and cheap.
    pub(super) ahead: Option<Box<dyn Iterator<Item = Result<Row, Error>> + Send>>,
    /// The state in which verified files are recorded, if that is possible.
    pub(super) state: Option<State>,
}

/// The record of a target and its condition.
#[derive(Default)]
pub(super) struct Recorded {
    /// The record that the target is compared with.
    pub(super) manifest: Option<Manifest>,
    /// What is wrong with the published manifest, if the record isn't that one.
    pub(super) fault: Option<Error>,
    /// Since when the record may be outdated: somebody published a later manifest, which is lost.
    pub(super) overtaken_since: Option<Timestamp>,
}

impl Recorded {
    /// Refuses repairs if the record may be older than the target.
    pub(super) fn mendable(mut self, name: &str) -> Result<Self, Error> {
        let is_overtaken = self.overtaken_since.is_some();
        let may_be_older = |fault: &mut Error| is_overtaken || fault.kind == ErrorKind::Unusable;
        let Some(fault) = self.fault.take_if(may_be_older) else { return Ok(self) };
        let message =
            format!("cannot repair \"{name}\": what is recorded may be older than the target");
        Err(Error::new(fault.kind, message).because(fault).help(
            "nothing was changed; run again once the manifest can be read; if it is damaged, \
             whoever published there last must mirror first",
        ))
    }
}

impl Manifest {
    pub(super) fn of_state(
        state: &State,
        options: &VerifyOptions,
        observer: &dyn Observer,
    ) -> Result<Option<Self>, Error> {
        let Some(expected) = Expected::by_state(state)? else { return Ok(None) };
        let recording = recording(state, options, observer);
        let rows = recording.as_ref().unwrap_or(state).rows()?;
        let rows = Box::new(without_own(rows, expected.key_space));
        let ahead = options.count_ahead.then(|| state.rows()).transpose()?;
        let ahead = ahead.map(|rows| Box::new(without_own(rows, expected.key_space)) as Box<_>);
        Ok(Some(Self { expected, rows, state: recording, ahead }))
    }

    /// Reads the manifest published in the target, for a machine without a state of it.
    pub(super) fn of_target(
        target: &dyn Target,
        options: &VerifyOptions,
        observer: &dyn Observer,
    ) -> Result<Option<Recorded>, Error> {
        let spool_dir = spool_dir(options);
        let reader = ManifestReader::of(target, &spool_dir);
        let Some((latest, fault)) = reader.latest_or_highest()? else { return Ok(None) };
        report_unrecorded(options, observer);
        let manifest = Self::published(&reader, &latest, options)?;
        let mut overtaken_since = None;
        let fault = match fault {
            Some(fault) => {
                if reader.is_overtaken(Some(&latest))? {
                    overtaken_since = Some(latest.head.published);
                }
                let follows = overtaken_since.map(|_| Overtaken::Unknown);
                observer.notice(used_instead(&latest, None, follows));
                Some(fault)
            }
            None => History::fault(&latest, &reader)?,
        };
        Ok(Some(Recorded { manifest: Some(manifest), fault, overtaken_since }))
    }

    /// Reads a publication; its segments are fetched and their digests checked.
    pub(super) fn published(
        reader: &ManifestReader<'_>,
        latest: &Publication,
        options: &VerifyOptions,
    ) -> Result<Self, Error> {
        let merged = Merged::of(reader, &latest.head)?;
        let expected = Expected::by_head(&latest.head)?;
        let rows = |merged: Merged| {
            without_own(merged.map(|row| row.map(|(row, _)| row)), expected.key_space)
        };
        let ahead = options.count_ahead.then(|| merged.again()).transpose()?;
        let ahead = ahead.map(|again| Box::new(rows(again)) as Box<_>);
        let rows = Box::new(rows(merged));
        Ok(Self { expected, rows, state: None, ahead })
    }
}

/// Opens the state of a target and checks its integrity, since differences are reported while its
/// rows are read.
pub(super) fn state(options: &VerifyOptions, name: &str) -> Result<Option<State>, Error> {
    let state = State::latest_into(&options.state_dir, name)?;
    state.map(|state| state.check_whole().map(|()| state)).transpose()
}

/// Returns the notice that a state is damaged and the manifest is used instead.
pub(super) fn instead_of(damage: &Error) -> Notice {
    Notice::StateReplaced { cause: damage.sentence() }
}

/// Returns the error for a target without a record.
pub(super) fn nothing_recorded(options: &VerifyOptions, name: &str) -> Error {
    let error = Error::new(ErrorKind::Manifest, format!("no run into \"{name}\" is recorded"));
    match bag_at(&options.target) {
        Some(InBag::Root { payload, .. }) => {
            let payload = Quoted(payload.as_os_str().as_bytes()).to_string();
            return error.help(format!(
                "it is a bag; the run is recorded for its payload: vidimus verify {payload}"
            ));
        }
        Some(InBag::Payload) => {
            return error.help(
                "it is the payload of a bag that no run here made: `bagit.py --validate` checks it",
            );
        }
        None => {}
    }
    let state_dir = Escaped(options.state_dir.as_os_str().as_bytes());
    error.help(hint![
        "mirror to it first, or name its state by ",
        Setting::StateDir,
        format!(" (now {state_dir})"),
    ])
}

/// Leaves out rows of names that vidimus reserves, which an imported list may contain: the listing
/// of a tree never has them.
fn without_own(
    rows: impl Iterator<Item = Result<Row, Error>>,
    key_space: KeySpace,
) -> impl Iterator<Item = Result<Row, Error>> {
    let is_own = move |row: &Row| key_space == KeySpace::Tree && is_reserved(&row.key);
    rows.filter(move |row| !row.as_ref().is_ok_and(is_own))
}

/// Opens the state for writing while its rows are read, if anything is to be recorded. (A state
/// that is opened as immutable must not be written to meanwhile.)
pub(super) fn recording(
    state: &State,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Option<State> {
    let records = options.depth != Depth::Stamps || options.repair.is_some();
    let recording = records.then(|| state.for_recording()).transpose();
    recording.unwrap_or_else(|error| {
        report_not_recorded(&error, observer);
        None
    })
}

/// Reports that verified files can't be recorded because no run is recorded here, if that matters
/// for the options.
pub(super) fn report_unrecorded(options: &VerifyOptions, observer: &dyn Observer) {
    if let Depth::Content(choice) = options.depth
        && (choice.budget.is_some() || choice.unverified_since.is_some())
    {
        let cause =
            "no run into the target is recorded here; only its manifest was found".to_owned();
        observer.notice(Notice::NotRecorded { cause });
    }
}

/// Returns the directory of spool files: never a state directory that doesn't exist yet.
pub(super) fn spool_dir(options: &VerifyOptions) -> PathBuf {
    if options.state_dir.is_dir() { options.state_dir.clone() } else { std::env::temp_dir() }
}

/// An open target, with the source to compare with or to repair from.
pub(super) struct Opened {
    pub(super) target: Arc<dyn Target>,
    /// Its name in the state.
    pub(super) name: String,
    /// The lock that keeps runs from writing, if nothing is repaired.
    pub(super) shared: Option<SharedLock>,
    /// The exclusive lock, if files are repaired.
    pub(super) lock: Option<TargetLock>,
    /// The source to compare with or to repair from.
    pub(super) source: Option<OpenedSource>,
}

/// An open source to compare with or to repair from.
pub(super) struct OpenedSource {
    pub(super) source: Arc<dyn Source>,
    pub(super) place: SourcePlace,
    /// How it and the target overlap.
    pub(super) overlap: Option<Overlap>,
}

/// The location of a source, and how its store is reached, if it is in one.
pub(super) struct NamedSource<'a> {
    pub(super) location: &'a Location,
    pub(super) store: Option<&'a StoreSettings>,
}

/// Opens a target, and a source if one is named.
pub(super) fn open(
    options: &VerifyOptions,
    source: Option<NamedSource<'_>>,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Opened, Error> {
    let repairs = options.repair.is_some();
    let run = if repairs { Some(new_run_id()?) } else { None };
    let opener = Opener::new(OpenOptions {
        limits: &options.limits,
        requests: options.checkers,
        checkers: options.checkers,
        progress,
        stop,
        // Uploads are marked with the run that holds the lock.
        run: run.as_ref().map_or("", |run| &run.0),
        began: now(),
        spool_dir: &options.state_dir,
        state_dir: Some(&options.state_dir),
        learns: true,
    });
    let source = source.map(|named| opener.source(named.location, named.store)).transpose()?;
    let place = opener.target(&options.target, options.target_store.as_ref())?;
    let lockable = place.lockable()?;
    let take = |run: &RunId| {
        TargetLock::take(&lockable, LockRequest::of(run), stop, &mut |notice| {
            observer.notice(notice);
        })
    };
    let lock = run.as_ref().map(take).transpose()?;
    let shared = if lock.is_none() { Some(lockable.share()?) } else { None };
    let writes = if repairs {
        Writes::new(Durability::default(), random()?)
    } else {
        Writes::new(Durability::None, 0)
    };
    let target = opener.write(&place, writes)?;
    if lock.is_some() {
        lockable.probe(&*target, &mut |notice| observer.notice(notice));
    }
    let source = source.map(|source| -> Result<_, Error> {
        let overlap = source.overlap(&place)?;
        Ok(OpenedSource { source: opener.read(&source)?, place: source, overlap })
    });
    Ok(Opened { target, name: place.name, shared, lock, source: source.transpose()? })
}
