//! One run, wired end to end: typed options in, events and an outcome out.
//!
//! [`mirror`] is the run that the tool is made for; [`ls`](ls::ls), [`cat`](cat::cat) and
//! [`put`](put::put) are what one does beside it, to what lies at a single location.

pub mod cat;
pub mod ls;
mod places;
pub mod put;
mod single;

pub use crate::model::Durability;
pub use crate::plan::{DeleteOptions, MaxDelete};

use crate::backend::local::{Guarded, LocalSource, LocalTarget, Root, Walking};
use crate::backend::object::s3::Settings;
use crate::backend::object::{ObjectSource, ObjectTarget, Stores};
use crate::backend::{ListOptions, Listing, Source, Target};
use crate::compare::policy::Surplus;
use crate::compare::{Join, Policy, PolicyOptions};
use crate::engine::{self, Committer, Context, Cores, execute, preview};
use crate::filter::{Filter, FilterSpec};
use crate::limits::{Bandwidth, LimitOptions};
use crate::listing::{Checked, Informed};
use crate::location::Location;
use crate::manifest::{
    Acquired, AcquiredLease, Lease, Lock, RecordedOptions, RootIdentity, Row, RunNumber, State,
    is_damage,
};
use crate::model::error::Side;
use crate::model::{
    EntryKind, Error, ErrorKind, Event, Key, Metadata, Observer, Progress, RunId, Stop, Timestamp,
    Totals, Verdict,
};
use crate::plan::{Evidence, Plan, Planning, guard};
use places::{Places, SourceAt, TargetAt};
use std::hash::BuildHasher as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What a mirror run is asked to do.
#[derive(Debug)]
pub struct MirrorOptions {
    /// Where entries come from.
    pub source: Location,
    /// Where they go.
    pub target: Location,
    /// How the source's store is reached, where it is one.
    pub source_store: Option<Settings>,
    /// How the target's store is reached, where it is one.
    pub target_store: Option<Settings>,
    /// Where state databases live; made when missing.
    pub state_dir: PathBuf,
    /// Decide and say, but do nothing.
    pub dry_run: bool,
    /// How entries are compared.
    pub policy: PolicyOptions,
    /// Which entries take part.
    pub filter: Filter,
    /// Delete what only the target has.
    pub delete: Option<DeleteOptions>,
    /// A file that the source's root must hold, else the run is refused.
    pub require_file: Option<PathBuf>,
    /// How durable a file is before it counts as done.
    pub durability: Durability,
    /// Files copied at the same time, at least 1.
    pub transfers: usize,
    /// Directories read and files hashed at the same time, at least 1.
    pub checkers: usize,
    /// What the run may use.
    pub limits: LimitOptions,
}

/// How a run ended.
#[derive(Debug)]
pub struct MirrorOutcome {
    /// Its id.
    pub run: RunId,
    /// What it counted.
    pub totals: Totals,
    /// How long it took.
    pub duration: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// What was refused (deletions, by a guard), if anything was.
    pub refusal: Option<Error>,
}

/// Mirrors the source to the target.
///
/// # Errors
/// What stops the run: a location that can't be used, a lock that is held, a guard that refuses
/// before anything was done, a target that is full. Errors of single entries are no errors here:
/// they are events, and the verdict is [`Verdict::Incomplete`].
pub fn mirror(
    options: &MirrorOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<MirrorOutcome, Error> {
    let began = Instant::now();
    let run = new_run_id();
    let (limits, requests) = (&options.limits, options.transfers);
    let run_and_start = (run.0.clone(), wall_clock());
    let spool_dir = if options.dry_run { std::env::temp_dir() } else { options.state_dir.clone() };
    let stores = Stores::new(limits, requests, progress, stop, run_and_start, &spool_dir);
    let places = places::resolve(options, &stores)?;
    if places.source.only.is_some() && options.delete.is_some() {
        return Err(Error::new(ErrorKind::Usage, "--delete needs a directory as source")
            .help("a single file is only copied; leave --delete out"));
    }
    let session = Session {
        options,
        places: &places,
        observer,
        progress,
        stop,
        run,
        filter: Arc::new(options.filter.clone()),
    };
    session.check_required_file()?;
    let ended = if options.dry_run { session.preview() } else { session.run() };
    let Ended { verdict, refusal } = ended?;
    Ok(MirrorOutcome {
        run: session.run,
        totals: progress.totals(),
        duration: began.elapsed(),
        verdict,
        refusal,
    })
}

struct Session<'a> {
    options: &'a MirrorOptions,
    places: &'a Places,
    observer: &'a dyn Observer,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    run: RunId,
    filter: Arc<Filter>,
}

struct Ended {
    verdict: Verdict,
    refusal: Option<Error>,
}

/// Bytes that each of a store's many workers reads at once: memory that no limit counts.
const STORE_BUFFER: usize = 256 << 10;

/// A target's lock.
enum Held {
    /// Of a directory.
    Lock(Lock),
    /// Of a store.
    Lease(Lease),
}

impl Held {
    fn lost(&self) -> Option<Error> {
        match self {
            Self::Lock(_) => None,
            Self::Lease(lease) => lease.lost(),
        }
    }

    fn release(self) -> Result<(), Error> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::Lease(lease) => lease.release(),
        }
    }
}

type Sides = (Arc<dyn Source>, Arc<dyn Target>);
type Rows = Box<dyn Iterator<Item = Result<Row, Error>> + Send>;

impl Session<'_> {
    /// A run that writes: locks, records, executes; a state found damaged on the way is put aside
    /// and the run begun anew, once.
    fn run(&self) -> Result<Ended, Error> {
        let root = self.places.open_target()?.map(Arc::new);
        self.check_state_dir(root.as_deref())?;
        let lock = self.lock(root.as_deref())?;
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        let opened = State::open(&self.options.state_dir, source, target)?;
        self.tell_set_aside(opened.set_aside.as_deref());
        let root = root.as_ref();
        let ended = match self.record(&opened.state, root) {
            Err(error) if is_damage(&error) => {
                let opened = opened.state.set_aside()?;
                self.tell_set_aside(opened.set_aside.as_deref());
                self.progress.reset();
                self.record(&opened.state, root)
            }
            other => other,
        };
        // A lock that stays is taken over by the next run; the run's own result counts more.
        let lost = lock.lost();
        let released = lock.release();
        if let Some(lost) = lost {
            return Err(lost);
        }
        let ended = ended?;
        if let Err(error) = released {
            self.note(&error.to_string());
        }
        Ok(ended)
    }

    /// Whether either side is a store.
    fn has_store(&self) -> bool {
        let Places { source, target } = self.places;
        source.root().is_none() || matches!(target.at, TargetAt::Object(_))
    }

    /// Locks the target, whose directory is open where it is one.
    fn lock(&self, root: Option<&Root>) -> Result<Held, Error> {
        let (held, taken_over) = match (&self.places.target.at, root) {
            (TargetAt::Object(place), _) => {
                let AcquiredLease { lease, taken_over, best_effort } =
                    Lease::acquire(place, &self.run, self.stop)?;
                if best_effort {
                    self.note(
                        "the store has no conditional writes: nothing keeps a second run out of \
                         the target while this one goes on",
                    );
                }
                (Held::Lease(lease), taken_over)
            }
            (TargetAt::Local { .. }, Some(root)) => {
                let Acquired { lock, taken_over } =
                    Lock::acquire(root.directory().as_fd(), &self.run)?;
                (Held::Lock(lock), taken_over)
            }
            (TargetAt::Local { .. }, None) => {
                return Err(Error::new(ErrorKind::Unusable, "the target is not open"));
            }
        };
        if let Some(whose) = taken_over {
            self.note(&format!("took over the lock of a run that was killed: {whose}"));
        }
        Ok(held)
    }

    fn tell_set_aside(&self, aside: Option<&std::path::Path>) {
        if let Some(aside) = aside {
            self.note(&format!(
                "the state of this mirror was damaged; it was put aside as \"{}\" and is made anew \
                 from a full comparison",
                places::printable(aside)
            ));
        }
    }

    /// Executes, and records the run.
    fn record(&self, state: &State, root: Option<&Arc<Root>>) -> Result<Ended, Error> {
        let previous = state.last_finished_totals()?;
        self.started(previous);
        let options = RecordedOptions {
            filter: self.filter.spec().clone(),
            delete: self.options.delete.is_some(),
            durability: self.options.durability,
            only: self.places.source.only.clone(),
            form: self.places.form(),
        };
        let is_first = state.last_run()?.is_none();
        let number = state.begin_run(&self.run, wall_clock(), &options.encode()?)?;
        let mut allowed_root = None;
        let executed = self.execute(state, root, (number, is_first), &mut allowed_root);
        let verdict = match &executed {
            Err(_) => Verdict::Failed,
            Ok(_) if self.stop.requested() => Verdict::Interrupted,
            Ok(Some(_)) => Verdict::Refused,
            Ok(None) if self.progress.files_failed.get() > 0 => Verdict::Incomplete,
            Ok(None) => Verdict::Complete,
        };
        let totals = self.progress.totals();
        let finished = state.finish_run(number, wall_clock(), verdict, &totals, allowed_root);
        // What stopped the run says more than that its end could not be recorded.
        let refusal = executed?;
        finished?;
        Ok(Ended { verdict, refusal })
    }

    fn execute(
        &self,
        state: &State,
        root: Option<&Arc<Root>>,
        (number, is_first): (RunNumber, bool),
        allowed_root: &mut Option<RootIdentity>,
    ) -> Result<Option<Error>, Error> {
        let began = engine::now();
        let options = self.options;
        let (source, target) = self.open(root, &self.options.state_dir)?;
        let policy = self.policy();
        let rows: Rows = Box::new(state.rows()?);
        let join =
            self.join(source.list(&self.listing())?, target.list(&self.target_listing())?, rows)?;
        let keeper = Arc::clone(&target);
        let holds = move |metadata: &Metadata, kind: EntryKind| keeper.holds(metadata, kind);
        let context = Context {
            is_beside: target.is_beside(&*source),
            source,
            target: Arc::clone(&target),
            policy: &policy,
            buffer: if self.has_store() { STORE_BUFFER } else { engine::BUFFER },
            run: number,
            began,
            progress: self.progress,
            observer: self.observer,
            stop: self.stop,
            transfers: options.transfers,
            cores: Cores::default(),
            bandwidth: Bandwidth::new(&options.limits),
            fatal: OnceLock::new(),
            filtered: *self.filter.spec() != FilterSpec::default(),
        };
        let is_over = || context.is_over();
        let planning = Planning {
            policy: &policy,
            holds: &holds,
            progress: self.progress,
            spool_dir: &options.state_dir,
            root_is_new: !self.places.target_exists() || (root.is_none() && is_first),
            directories_change: !target.is_store(),
            is_over: &is_over,
        };
        let plan = Plan::new(join, planning);
        let committer = Committer::new(&context, state.writer()?);
        let result = execute(&context, plan, committer, options.delete.is_some(), || {
            let identity = self.root_identity()?;
            self.allow(state.last_allowed_root()?, identity)?;
            *allowed_root = Some(identity);
            Ok(())
        });
        if result.is_ok() && !context.is_over() {
            match target.give_up_left() {
                Ok(left) => self.progress.leftovers_swept.add(left),
                Err(cause) => {
                    self.note(&format!("an upload that a killed run left stays: {cause}"));
                }
            }
        }
        for warning in target.warnings() {
            self.note(&warning);
        }
        context.fatal.into_inner().map_or(result, Err)
    }

    /// A dry run: reads what a run would read, and writes nothing.
    fn preview(&self) -> Result<Ended, Error> {
        let options = self.options;
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        let state = match State::open_read_only(&options.state_dir, source, target) {
            Err(error) if is_damage(&error) => {
                self.note("the state of this mirror is damaged; a run would make it anew");
                None
            }
            other => other?,
        };
        self.started(match &state {
            Some(state) => state.last_finished_totals()?,
            None => None,
        });
        let rows: Rows = match &state {
            Some(state) => Box::new(state.rows()?),
            None => Box::new(std::iter::empty()),
        };
        let exists = self.places.target_exists();
        let root = if exists { self.places.open_target()?.map(Arc::new) } else { None };
        self.check_state_dir(root.as_deref())?;
        let (source, target) = self.open(root.as_ref(), &std::env::temp_dir())?;
        let target_listing: Listing = if exists {
            target.list(&self.target_listing())?
        } else {
            Box::new(std::iter::empty())
        };
        let policy = self.policy();
        let join = self.join(source.list(&self.listing())?, target_listing, rows)?;
        let holds = |metadata: &Metadata, kind: EntryKind| target.holds(metadata, kind);
        let is_over = || self.stop.requested();
        let planning = Planning {
            policy: &policy,
            holds: &holds,
            progress: self.progress,
            // Only what exceeds its memory goes there, unlinked: a dry run makes no state.
            spool_dir: &std::env::temp_dir(),
            root_is_new: !exists,
            directories_change: !target.is_store(),
            is_over: &is_over,
        };
        let plan = Plan::new(join, planning);
        let deletes = options.delete.is_some();
        let refusal = preview(plan, self.observer, self.progress, self.stop, deletes, || {
            let before = match &state {
                Some(state) => state.last_allowed_root()?,
                None => None,
            };
            self.allow(before, self.root_identity()?)
        })?;
        let verdict = if self.stop.requested() {
            Verdict::Interrupted
        } else if refusal.is_some() {
            Verdict::Refused
        } else if self.progress.files_failed.get() > 0 {
            Verdict::Incomplete
        } else {
            Verdict::Complete
        };
        Ok(Ended { verdict, refusal })
    }

    fn policy(&self) -> Policy {
        Policy {
            options: self.options.policy,
            filter: Arc::clone(&self.filter),
            surplus: match &self.options.delete {
                None => Surplus::Stays,
                Some(delete) if delete.excluded => Surplus::GoesWithExcluded,
                Some(_) => Surplus::Goes,
            },
        }
    }

    fn listing(&self) -> ListOptions {
        ListOptions {
            filter: Arc::clone(&self.filter),
            only: self.places.source.only.clone(),
            form: self.places.form(),
        }
    }

    /// In the target, excluded entries are looked at only when they are to be deleted.
    fn target_listing(&self) -> ListOptions {
        let all = self.options.delete.is_some_and(|delete| delete.excluded);
        let filter = if all { Arc::default() } else { Arc::clone(&self.filter) };
        ListOptions { filter, ..self.listing() }
    }

    /// What the two walkers work with; each guards against meeting the other side.
    fn walking(
        &self,
        target: Option<&Arc<Root>>,
        spool_dir: &std::path::Path,
    ) -> Result<(Walking, Walking), Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.checkers)
            .thread_name(|number| format!("check-{number}"))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unusable, "cannot start threads").because(error)
            })?;
        let pool = Arc::new(pool);
        let state = Root::open(&self.options.state_dir).ok();
        let leave_out = state.map(|state| Guarded::LeaveOut(state.directory().identity));
        let walking = |forbidden: Option<&Arc<Root>>| Walking {
            pool: Arc::clone(&pool),
            spool_dir: spool_dir.into(),
            guarded: leave_out
                .clone()
                .into_iter()
                .chain(forbidden.map(|root| Guarded::Forbidden(root.directory().identity)))
                .collect(),
        };
        let source = &self.places.source;
        let source = source.root().filter(|_| source.only.is_none());
        Ok((walking(target), walking(source)))
    }

    /// The state may lie below a root, where it is left out, but not be one.
    fn check_state_dir(&self, target: Option<&Root>) -> Result<(), Error> {
        let Ok(state) = Root::open(&self.options.state_dir) else { return Ok(()) };
        let is_state = |root: &Root| root.directory().identity == state.directory().identity;
        let source = &self.places.source;
        let source = source.root().filter(|_| source.only.is_none());
        let side = if target.is_some_and(is_state) {
            Side::Target
        } else if source.is_some_and(|root| is_state(root)) {
            Side::Source
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Refused, format!("the state directory is the {side} itself"))
            .help("name another directory by --state-dir"))
    }

    fn allow(&self, before: Option<RootIdentity>, now: RootIdentity) -> Result<(), Error> {
        let Some(delete) = &self.options.delete else { return Ok(()) };
        let totals = self.progress.totals();
        guard::allow(
            delete,
            &Evidence {
                deletions: totals.deletions_planned,
                source_entries: totals.source_entries.saturating_sub(1),
                target_entries: totals.target_entries.saturating_sub(1),
                root: Some(now),
                root_before: before,
                proven_by_file: self.options.require_file.is_some(),
            },
        )
    }

    fn root_identity(&self) -> Result<RootIdentity, Error> {
        let Some(root) = self.places.source.root() else {
            // A bucket has no identity beside its name, which the state is kept by.
            return Ok(RootIdentity { inode: 0, file_system: 0 });
        };
        let directory = root.directory();
        let file_system = rustix::fs::fstatfs(&**directory).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot look at the source's file system")
                .because(error)
        })?;
        Ok(RootIdentity { inode: directory.identity.inode, file_system: file_system.f_type as u64 })
    }

    fn join(
        &self,
        source: Listing,
        target: Listing,
        rows: Rows,
    ) -> Result<Join<Checked, Checked, Rows>, Error> {
        let source = Checked::new(self.informed(source)?, Side::Source);
        Join::new(source, Checked::new(target, Side::Target), rows, self.places.form())
    }

    /// Adds to the listing of a store what an earlier run into it recorded.
    fn informed(&self, listing: Listing) -> Result<Listing, Error> {
        let Places { source, .. } = self.places;
        if source.root().is_some() || source.only.is_some() {
            return Ok(listing);
        }
        let state = match State::latest_into(&self.options.state_dir, &source.name) {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(listing),
            Err(error) => {
                let name = &source.name;
                self.note(&format!("what was recorded of \"{name}\" can't be used: {error}"));
                return Ok(listing);
            }
        };
        let rows = state.rows()?;
        Ok(Box::new(Informed::new(listing, rows, self.places.form())))
    }

    /// Makes both sides, of which the target's `root` is open where it is a directory that exists.
    fn open(&self, root: Option<&Arc<Root>>, spool_dir: &std::path::Path) -> Result<Sides, Error> {
        let (ours, theirs) = self.walking(root, spool_dir)?;
        let source: Arc<dyn Source> = match &self.places.source.at {
            SourceAt::Local { root, .. } => Arc::new(LocalSource::new(Arc::clone(root), ours)),
            SourceAt::Object(place) => Arc::new(ObjectSource::new(Arc::clone(place))),
        };
        let target: Arc<dyn Target> = match (&self.places.target.at, root) {
            (TargetAt::Object(place), _) => Arc::new(ObjectTarget::new(Arc::clone(place))),
            (TargetAt::Local { .. }, root) => {
                // Only to ask what a target here would hold, where there is none yet.
                let root = root.map_or_else(any_directory, |root| Ok(Arc::clone(root)))?;
                let durability = self.options.durability;
                let target = LocalTarget::new(root, theirs, durability, random());
                Arc::new(target.map_err(|error| {
                    Error::new(ErrorKind::Unusable, "cannot ask who runs this").because(error)
                })?)
            }
        };
        Ok((source, target))
    }

    fn check_required_file(&self) -> Result<(), Error> {
        let Some(name) = &self.options.require_file else { return Ok(()) };
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        if !name.components().all(plain) {
            return Err(Error::new(
                ErrorKind::Usage,
                "--require-file names a file below the source",
            )
            .help("a relative path without \"..\": --require-file .mounted"));
        }
        let found = match &self.places.source.at {
            SourceAt::Local { path, .. } => path.join(name).symlink_metadata().map(|_| ()),
            SourceAt::Object(place) => {
                let key = Key::new(name.as_os_str().as_bytes());
                let missing = || std::io::ErrorKind::NotFound.into();
                if place.has_object(&key)? { Ok(()) } else { Err(missing()) }
            }
        };
        found.map_err(|error| {
            let name = places::printable(name);
            Error::new(
                ErrorKind::Refused,
                format!(
                    "the source lacks the file that --require-file names, \"{name}\": is it mounted?"
                ),
            )
            .because(error)
        })
    }

    fn started(&self, previous: Option<Totals>) {
        self.observer.observe(&Event::Started {
            run: &self.run,
            source: &self.places.source.name,
            target: &self.places.target.name,
            dry_run: self.options.dry_run,
            previous: previous.as_ref(),
        });
    }

    fn note(&self, note: &str) {
        self.observer.observe(&Event::Note(note));
    }
}

fn any_directory() -> Result<Arc<Root>, Error> {
    Root::open(std::path::Path::new("/"))
        .map(Arc::new)
        .map_err(|error| Error::new(ErrorKind::Unusable, "cannot open \"/\"").because(error))
}

fn new_run_id() -> RunId {
    let start = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    RunId(format!("{start}-{:08x}", random()))
}

/// Random enough to tell runs apart: the standard library's hasher is seeded by the system.
fn random() -> u32 {
    std::hash::RandomState::new().hash_one(std::process::id()) as u32
}

fn wall_clock() -> Timestamp {
    let now = jiff::Timestamp::now();
    let nanos = now.as_nanosecond();
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000) as i64,
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}
