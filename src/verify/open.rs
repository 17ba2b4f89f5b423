//! What a verification holds against each other: the target, and what was recorded of it.

use super::{Depth, VerifyObserver, VerifyOptions};
use crate::backend::Target;
use crate::backend::local::{Guarded, LocalTarget, Root, Walking};
use crate::backend::object::{ObjectTarget, Stores};
use crate::location::Location;
use crate::manifest::published::{Head, Merged, Shelf};
use crate::manifest::{Lease, Lock, RecordedOptions, Row, State, Writer};
use crate::model::key::Escaped;
use crate::model::{Durability, Error, ErrorKind, Progress, RunId, Stop, Timestamp};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// What a target is held against.
pub(super) struct Manifest {
    pub(super) run: RunId,
    /// The source of that run, as it prints.
    pub(super) source: String,
    pub(super) recorded: RecordedOptions,
    pub(super) rows: Box<dyn Iterator<Item = Result<Row, Error>>>,
    /// Records which of them were verified, where that can be.
    pub(super) writer: Option<Writer>,
}

impl Manifest {
    pub(super) fn of_state(
        state: State,
        depth: Depth,
        observer: &dyn VerifyObserver,
    ) -> Result<Option<Self>, Error> {
        let Some(record) = state.last_run()? else { return Ok(None) };
        // What is written to is read as such: immutable it is only to those who don't write.
        let recording = || state.for_recording().and_then(|state| Ok((state.writer()?, state)));
        let (writer, state) = match matches!(depth, Depth::Content(_)).then(recording).transpose() {
            Ok(Some((writer, state))) => (Some(writer), state),
            Ok(None) => (None, state),
            Err(error) => {
                observer.not_recorded(&error);
                (None, state)
            }
        };
        Ok(Some(Self {
            run: record.id,
            source: state.source().to_owned(),
            recorded: RecordedOptions::decode(&record.options)?,
            rows: Box::new(state.rows()?),
            writer,
        }))
    }

    /// What was published in the target itself, for a machine that has no state of it.
    pub(super) fn of_target(
        target: &dyn Target,
        options: &VerifyOptions,
        observer: &dyn VerifyObserver,
    ) -> Result<Option<Self>, Error> {
        let spool_dir = spool_dir(options);
        let shelf = Shelf::of(target, &spool_dir);
        let Some(latest) = shelf.latest()? else { return Ok(None) };
        let rows = Merged::of(&shelf, &latest.head)?.map(|row| row.map(|(row, _)| row));
        if let Depth::Content(choice) = options.depth
            && (choice.budget.is_some() || choice.unverified_since.is_some())
        {
            let why = "no run into the target is recorded here, its manifest alone was found";
            observer.not_recorded(&Error::new(ErrorKind::Manifest, why));
        }
        let Head { run, source, options: recorded, .. } = latest.head;
        Ok(Some(Self { run, source, recorded, rows: Box::new(rows), writer: None }))
    }
}

/// Where files without a name are made: nothing is made where no run was.
pub(super) fn spool_dir(options: &VerifyOptions) -> PathBuf {
    if options.state_dir.is_dir() { options.state_dir.clone() } else { std::env::temp_dir() }
}

/// A target that is verified.
pub(super) struct Opened {
    pub(super) target: Box<dyn Target>,
    /// Its name in the state.
    pub(super) name: String,
    pub(super) lock: Option<Lock>,
}

pub(super) fn open(
    options: &VerifyOptions,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Opened, Error> {
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
