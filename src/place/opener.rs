//! The one way from a location to a place.

use super::directory::{self, Directory};
use super::prefix::Prefix;
use super::{OpenPlace, SourcePlace, TargetPlace, printable};
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

/// Requests of one command that only looks, and threads that read directories ahead for it.
const TO_LOOK: usize = 4;

/// What all places of a run share.
#[derive(Clone, Copy)]
pub struct OpenOptions<'a> {
    /// What requests to stores may use.
    pub limits: &'a LimitOptions,
    /// Requests to each store that may be under way at the same time, at least 1.
    pub requests: usize,
    /// Threads that read directories ahead, at least 1.
    pub checkers: usize,
    /// Counts requests.
    pub progress: &'a Arc<Progress>,
    /// Ends what waits.
    pub stop: &'a Stop,
    /// The run's id, which tells its uploads from others'; empty where nothing is uploaded.
    pub run: &'a str,
    /// When the run began: the time of what nobody tells the time of.
    pub began: Timestamp,
    /// Where listings are sorted.
    pub spool_dir: &'a Path,
    /// The directory of states, where the run has one: no walk enters it, and what stores do in a way
    /// of their own is remembered there.
    pub state_dir: Option<&'a Path>,
    /// Whether anything new is remembered there.
    pub learns: bool,
}

impl<'a> OpenOptions<'a> {
    /// Those of a command that looks at places by themselves, and records nothing.
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

/// How a target is written to.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// How durable a file is before it counts as done.
    pub durability: Durability,
    /// What tells this run's temporaries from others'.
    pub token: u32,
}

/// A bag, which is a directory of this machine, and its payload.
pub struct BagPlaces {
    /// The directory in it that holds the payload.
    pub payload: TargetPlace,
    /// The bag's own directory.
    pub bag: TargetPlace,
    /// The real path of that.
    pub path: PathBuf,
}

/// Both sides of a run, open.
pub struct Sides {
    /// What is read.
    pub source: Arc<dyn Source>,
    /// What is written.
    pub target: Arc<dyn Target>,
}

/// Opens places, all within the limits of one run.
pub struct Opener {
    pub(super) stores: Stores,
    /// The memory that content of a source and of a target may take, where both are stores.
    divided: Option<[Memory; 2]>,
    checkers: usize,
    /// Made for the first directory that is walked.
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

    /// The same for a run that reads one place while it writes the other.
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

    /// Opens what stands at a location as a source: a directory or a prefix with all in it, or a
    /// single file or object.
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

    /// Opens a target that stands.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it doesn't, or can't be opened.
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

    /// Finds the place of a target, which may be still to be made. In a store directories get no
    /// entries of their own without `markers`.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it can't be used, or made.
    pub fn target_to_be(
        &self,
        location: &Location,
        settings: Option<&StoreSettings>,
        markers: bool,
    ) -> Result<TargetPlace, Error> {
        match location {
            Location::Local(path) => {
                let (path, exists) = directory::as_target(path, location)?;
                Ok(TargetPlace::of_directory("target", path, exists))
            }
            Location::S3(bucket) => {
                let place = self.prefix(bucket, settings, Side::Target)?;
                let place = if markers { place } else { place.without_markers() };
                Ok(TargetPlace::opened_as(place.name(), Box::new(Prefix(Arc::new(place)))))
            }
        }
    }

    /// Finds the places of a bag's payload, and of the bag around it; either may be still to be made.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where no bag can be, [`ErrorKind::Refused`] where the payload is a link,
    /// [`ErrorKind::Unusable`] when either can't be used.
    pub fn bag(&self, location: &Location) -> Result<BagPlaces, Error> {
        let Location::Local(path) = location else {
            let message = "a bag is made in a directory of this machine";
            return Err(Error::new(ErrorKind::Usage, message)
                .help("make it here, then mirror it to the bucket"));
        };
        let (bag, exists) = directory::as_target(path, location)?;
        let payload = bag.join(PAYLOAD);
        if payload.is_symlink() {
            let message = format!("\"{}\" is a symbolic link", printable(&payload));
            return Err(Error::new(ErrorKind::Refused, message)
                .help("a bag holds its payload itself: put the directory in the link's place"));
        }
        let (payload, has_payload) =
            if exists { directory::as_target(&payload, location)? } else { (payload, false) };
        Ok(BagPlaces {
            payload: TargetPlace::of_directory("target", payload, has_payload),
            bag: TargetPlace::of_directory("bag", bag.clone(), exists),
            path: bag,
        })
    }

    /// Reads a place.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when no threads can be started.
    pub fn read(&self, place: &SourcePlace) -> Result<Arc<dyn Source>, Error> {
        place.open.source(&|| self.walking(None))
    }

    /// Reads and writes a place that is open.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when no threads can be started, or the kernel doesn't say who this
    /// process is.
    pub fn write(&self, place: &TargetPlace, writes: Writes) -> Result<Arc<dyn Target>, Error> {
        self.write_guarded(place.opened(), writes, None)
    }

    /// Makes both sides of a run, neither of which meets the other; a target that isn't open, because
    /// it is still to be made, only tells what one would hold.
    ///
    /// # Errors
    /// As those of [`Opener::read`] and [`Opener::write`].
    pub fn sides(
        &self,
        source: &SourcePlace,
        target: &TargetPlace,
        writes: Writes,
    ) -> Result<Sides, Error> {
        let standing = target.opened().and_then(OpenPlace::forbidden);
        let all = source.only.is_none();
        let read = source.open.source(&|| self.walking(standing.as_ref()))?;
        let forbidden = source.open.forbidden().filter(|_| all);
        let target = self.write_guarded(target.opened(), writes, forbidden.as_ref())?;
        Ok(Sides { source: read, target })
    }

    fn write_guarded(
        &self,
        open: Option<&dyn OpenPlace>,
        writes: Writes,
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

/// What walks and reads a directory of this machine by a thread of its own, and leaves nothing out.
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
