//! The opener: from a location to a place.

use super::directory::{self, Directory, TargetPath};
use super::prefix::Prefix;
use super::{BackupPlace, OpenPlace, SourcePlace, TargetPlace, printable};
use crate::backend::local::{Guarded, Root, Walking};
use crate::backend::object::{BucketPrefix, StoreSettings, Stores};
use crate::backend::{Source, Target};
use crate::limits::{LimitOptions, Memory};
use crate::location::{Location, S3Location};
use crate::manifest::bag::PAYLOAD;
use crate::model::error::Side;
use crate::model::{Durability, Error, ErrorKind, Progress, Stop, Timestamp};
use parking_lot::Mutex;
use rayon::ThreadPool;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most requests at a time of a command that only reads, and its threads that read directories.
const TO_LOOK: usize = 4;

/// Options that all places of a run share.
#[derive(Clone, Copy)]
pub struct OpenOptions<'a> {
    /// Limits of the requests to stores.
    pub limits: &'a LimitOptions,
    /// The most requests to each store at a time, at least 1.
    pub requests: usize,
    /// Threads that read directories ahead, at least 1.
    pub checkers: usize,
    /// Counts requests.
    pub progress: &'a Arc<Progress>,
    /// Ends waits.
    pub stop: &'a Stop,
    /// The run's id, which distinguishes its uploads from others'; empty if nothing is uploaded.
    pub run: &'a str,
    /// When the run began: the time of entries that have none.
    pub began: Timestamp,
    /// The directory in which listings are sorted.
    pub spool_dir: &'a Path,
    /// The directory of states, if the run has one. No walk enters it. What stores were found to do
    /// differently is remembered there.
    pub state_dir: Option<&'a Path>,
    /// Whether new findings are remembered there.
    pub learns: bool,
}

impl<'a> OpenOptions<'a> {
    /// Returns the options of a command that only reads places and records nothing.
    pub fn to_look(
        limits: &'a LimitOptions,
        progress: &'a Arc<Progress>,
        stop: &'a Stop,
        spool_dir: &'a Path,
        began: Timestamp,
    ) -> Self {
        Self {
            limits,
            requests: TO_LOOK,
            checkers: TO_LOOK,
            progress,
            stop,
            run: "",
            began,
            spool_dir,
            state_dir: None,
            learns: false,
        }
    }
}

/// Options for writing to a target.
#[derive(Clone, Copy, Debug)]
pub struct Writes<'a> {
    /// When a file counts as durable.
    pub durability: Durability,
    /// Distinguishes this run's temporary files from others'.
    pub token: u32,
    /// Where what is replaced or removed is kept, if it is.
    pub backup: Option<&'a BackupPlace>,
    /// Whether flags that are in the way are removed, since the run sets flags in the end.
    pub clears_flags: bool,
}

impl Writes<'_> {
    /// Returns the options of a writer that keeps nothing of what it replaces.
    pub fn new(durability: Durability, token: u32) -> Self {
        Self { durability, token, backup: None, clears_flags: false }
    }
}

/// A bag, which is a local directory, and its payload.
pub struct BagPlaces {
    /// The directory in it that holds the payload.
    pub payload: TargetPlace,
    /// The bag's own directory.
    pub bag: TargetPlace,
    /// The real path of the bag's directory.
    pub path: PathBuf,
}

/// Both sides of a run, open.
pub struct Sides {
    /// The side that is read.
    pub source: Arc<dyn Source>,
    /// The side that is written.
    pub target: Arc<dyn Target>,
}

/// Opens places within the limits of one run.
pub struct Opener {
    pub(super) stores: Stores,
    /// The memory for content of the source and of the target, if both are stores.
    divided: Option<[Memory; 2]>,
    checkers: usize,
    /// The threads that read directories, started with the first walk.
    pool: Mutex<Option<Arc<ThreadPool>>>,
    pub(super) spool_dir: PathBuf,
    state_dir: Option<PathBuf>,
    pub(super) began: Timestamp,
}

impl Opener {
    /// Makes the opener of a run.
    pub fn new(options: OpenOptions<'_>) -> Self {
        let OpenOptions { limits, requests, progress, stop, run, began, spool_dir, .. } = options;
        let token = run.to_owned();
        let stores = Stores::new(limits, requests, progress, stop, token, began, spool_dir);
        Self {
            stores: match options.state_dir {
                Some(state_dir) => stores.with_habits(state_dir, options.learns),
                None => stores,
            },
            divided: None,
            checkers: options.checkers,
            pool: Mutex::default(),
            spool_dir: spool_dir.to_owned(),
            state_dir: options.state_dir.map(Path::to_owned),
            began,
        }
    }

    /// Divides the memory between source and target if both are stores.
    #[must_use]
    pub fn between(self, source: &Location, target: &Location) -> Self {
        let are_stores = matches!((source, target), (Location::S3(_), Location::S3(_)));
        Self { divided: are_stores.then(|| self.stores.divided()), ..self }
    }

    fn prefix(
        &self,
        location: &S3Location,
        settings: Option<&StoreSettings>,
        side: Side,
    ) -> Result<BucketPrefix, Error> {
        let mut place = self.stores.connect(location, settings)?;
        if let Some([reading, writing]) = &self.divided {
            place.memory = if side == Side::Source { reading } else { writing }.clone();
        }
        Ok(place)
    }

    /// Opens a location as a source: a directory or a prefix, or a single file or object.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when nothing is there, or it can't be opened.
    pub fn source(
        &self,
        location: &Location,
        settings: Option<&StoreSettings>,
    ) -> Result<SourcePlace, Error> {
        match location {
            Location::Local(path) => directory::as_source(path, location),
            Location::S3(bucket) => {
                let place = self.prefix(bucket, settings, Side::Source)?;
                let name = place.name();
                let (place, only) = place.as_source(bucket)?;
                let name =
                    if only.is_some() { name.trim_end_matches('/').to_owned() } else { name };
                Ok(SourcePlace { name, only, open: Box::new(Prefix(Arc::new(place))) })
            }
        }
    }

    /// Opens a target that exists.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it doesn't exist or can't be opened.
    pub fn target(
        &self,
        location: &Location,
        settings: Option<&StoreSettings>,
    ) -> Result<TargetPlace, Error> {
        Ok(match location {
            Location::Local(path) => {
                let directory = Directory::open_as(Side::Target, path)?;
                let name = directory.path().map(printable).unwrap_or_default();
                TargetPlace::opened_as(name, Box::new(directory))
            }
            Location::S3(bucket) => {
                let place = self.prefix(bucket, settings, Side::Target)?;
                TargetPlace::opened_as(place.name(), Box::new(Prefix(Arc::new(place))))
            }
        })
    }

    /// Finds a target, which need not exist yet. In a store, directories get no marker objects
    /// unless `markers` is set.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if it can't be used or made.
    pub fn target_to_be(
        &self,
        location: &Location,
        settings: Option<&StoreSettings>,
        markers: bool,
    ) -> Result<TargetPlace, Error> {
        match location {
            Location::Local(path) => {
                let found = directory::as_target(path, location)?;
                Ok(TargetPlace::of_directory("target", found))
            }
            Location::S3(bucket) => {
                let place = self.prefix(bucket, settings, Side::Target)?;
                let place = if markers { place } else { place.without_markers() };
                Ok(TargetPlace::opened_as(place.name(), Box::new(Prefix(Arc::new(place)))))
            }
        }
    }

    /// Finds a bag and its payload, neither of which need exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a location where no bag can be, [`ErrorKind::Refused`] if the
    /// payload is a link, [`ErrorKind::Unusable`] if either can't be used.
    pub fn bag(&self, location: &Location) -> Result<BagPlaces, Error> {
        let Location::Local(path) = location else {
            let message = "a bag can only be made in a local directory";
            return Err(Error::new(ErrorKind::Usage, message)
                .help("make it in a local directory, then mirror that to the bucket"));
        };
        let bag = directory::as_target(path, location)?;
        let payload = bag.path.join(PAYLOAD);
        if payload.is_symlink() {
            let message = format!("\"{}\" is a symbolic link", printable(&payload));
            return Err(Error::new(ErrorKind::Refused, message).help(
                "the payload of a bag must lie in the bag: replace the link by the directory",
            ));
        }
        let payload = if bag.exists {
            directory::as_target(&payload, location)?
        } else {
            TargetPath { path: payload, exists: false }
        };
        Ok(BagPlaces {
            path: bag.path.clone(),
            payload: TargetPlace::of_directory("target", payload),
            bag: TargetPlace::of_directory("bag", bag),
        })
    }

    /// Returns a source that reads a place.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if no threads can be started.
    pub fn read(&self, place: &SourcePlace) -> Result<Arc<dyn Source>, Error> {
        place.open.source(&|| self.walking(None))
    }

    /// Returns a target that writes to a place.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if no threads can be started, or the kernel doesn't return this
    /// process's user.
    pub fn write(&self, place: &TargetPlace, writes: Writes<'_>) -> Result<Arc<dyn Target>, Error> {
        self.write_guarded(place.opened(), writes, None)
    }

    /// Returns both sides of a run, where walks of the one never enter the other. If the target
    /// isn't open, because it has yet to be made, it can only be asked for what targets support.
    ///
    /// # Errors
    /// As those of [`Opener::read`] and [`Opener::write`].
    pub fn sides(
        &self,
        source: &SourcePlace,
        target: &TargetPlace,
        writes: Writes<'_>,
    ) -> Result<Sides, Error> {
        let forbidden_in_source = target.opened().and_then(OpenPlace::forbidden);
        let all = source.only.is_none();
        let read = source.open.source(&|| self.walking(forbidden_in_source.as_ref()))?;
        let forbidden = source.open.forbidden().filter(|_| all);
        let target = self.write_guarded(target.opened(), writes, forbidden.as_ref())?;
        Ok(Sides { source: read, target })
    }

    fn write_guarded(
        &self,
        open: Option<&dyn OpenPlace>,
        writes: Writes<'_>,
        forbidden: Option<&Guarded>,
    ) -> Result<Arc<dyn Target>, Error> {
        let walking = || self.walking(forbidden);
        match open {
            Some(open) => open.target(&walking, writes),
            None => Directory::open(PathBuf::from("/"))
                .map_err(|error| {
                    Error::new(ErrorKind::Unusable, "cannot open \"/\"").because(error)
                })?
                .target(&walking, writes),
        }
    }

    pub(super) fn walking(&self, forbidden: Option<&Guarded>) -> Result<Walking, Error> {
        let state = self.state_dir.as_ref().and_then(|state_dir| Root::open(state_dir).ok());
        let leave_out = state.map(|state| Guarded::LeaveOut(state.directory().identity));
        Ok(Walking {
            pool: self.pool()?,
            spool_dir: self.spool_dir.clone(),
            guarded: leave_out.into_iter().chain(forbidden.cloned()).collect(),
        })
    }

    fn pool(&self) -> Result<Arc<ThreadPool>, Error> {
        let mut pool = self.pool.lock();
        if let Some(pool) = &*pool {
            return Ok(Arc::clone(pool));
        }
        Ok(Arc::clone(pool.insert(start_threads(self.checkers)?)))
    }
}

/// Returns what a walk needs that has a thread of its own and leaves nothing out.
pub(super) fn walking_alone(spool_dir: &Path) -> Result<Walking, Error> {
    let (pool, guarded) = (start_threads(1)?, Arc::new([]));
    Ok(Walking { pool, spool_dir: spool_dir.to_owned(), guarded })
}

fn start_threads(number: usize) -> Result<Arc<ThreadPool>, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(number)
        .thread_name(|number| format!("check-{number}"))
        .build()
        .map(Arc::new)
        .map_err(|error| Error::new(ErrorKind::Unusable, "cannot start threads").because(error))
}
