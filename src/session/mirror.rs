//! One mirror run: its options, its order of steps, and its outcome.
//!
//! A [`Session`] holds what the whole run shares. `sides` opens and lists the two places, `checks`
//! refuses dangerous runs, `published` maintains the manifest in the target; `dry_run` and
//! `explain` report what a run would do.

mod attributes;
mod bag;
mod checks;
mod dry_run;
mod explain;
mod policy;
mod published;
mod sides;

pub use explain::{CopiedBy, Explained, Explanation, Past, PastLine, explain};

use super::places::{self, Places};
use super::{new_run_id, wall_clock};
use crate::backend::layer::{BandwidthLimit, Mapper, PacedTarget};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, Source, Target};
use crate::compare::{Policy, PolicyOptions};
use crate::engine::{
    self, Collisions, Committer, Context, Cores, CountAhead, Holes, Partials, Purpose, Refusals,
    execute, renames_done,
};
use crate::filter::{Filter, FilterError, NameListText};
use crate::limits::LimitOptions;
use crate::location::Location;
use crate::manifest::keys::SecretKey;
use crate::manifest::published::ManifestReader;
use crate::manifest::{
    LockRequest, Lockable, ManifestMode, Opened, RecordedOptions, RootIdentity, RunNumber, State,
    TargetLock, is_damage, recall,
};
use crate::model::hint::hint;
use crate::model::notice::Instead;
use crate::model::run::{Counter, RunLimit};
use crate::model::{
    Action, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Event, Key, Metadata,
    MetadataMapping, Notice, Observer, Outcome, Progress, Reason, RunId, Setting, Stop, Totals,
    Verdict,
};
use crate::place::{BackupPlace, MadeDirectories, OpenOptions, Opener, Sides};
use crate::plan::links::Links;
use crate::plan::{DeleteOptions, MaxChange, Plan, Planning};
use crate::spool::Spool;
use crate::ticker::Ticker;
use attributes::{can_set_more, settable, told_more};
use bag::Bag;
pub use bag::BagOptions;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The options of a mirror run.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as users know them")]
pub struct MirrorOptions {
    /// Where entries are copied from.
    pub source: Location,
    /// Where they are copied to.
    pub target: Location,
    /// Settings of the source's store, if it is in one.
    pub source_store: Option<StoreSettings>,
    /// Settings of the target's store, if it is in one.
    pub target_store: Option<StoreSettings>,
    /// The directory of state databases; created if missing.
    pub state_dir: PathBuf,
    /// Report what would be done, but do nothing.
    pub dry_run: bool,
    /// Make the target a bag, with the source's entries as its payload.
    pub bag: Option<BagOptions>,
    /// How entries are compared.
    pub policy: PolicyOptions,
    /// How the owners, groups and modes of the source's entries are changed.
    pub mapping: MetadataMapping,
    /// Which entries take part.
    pub filter: Filter,
    /// The names to which the run is limited, if it is.
    pub files_from: Option<NameListText>,
    /// Delete entries that only the target has.
    pub delete: Option<DeleteOptions>,
    /// Refuse the run if more of the source's known files changed or are gone.
    pub max_change: Option<MaxChange>,
    /// Keep what is overwritten or deleted in this directory; a relative path begins at the target.
    pub backup_dir: Option<PathBuf>,
    /// A file that the source's root must contain, else the run is refused.
    pub require_file: Option<PathBuf>,
    /// The key to sign the manifest with.
    pub sign: Option<SecretKey>,
    /// The permissions of the lock and the manifest in a directory, if set.
    pub manifest_mode: Option<ManifestMode>,
    /// Write markers of directories if the target is a store.
    pub markers: bool,
    /// Rename files in the target that were moved in the source.
    pub renames: bool,
    /// What becomes of the holes of files.
    pub holes: Holes,
    /// What is synced before a file counts as done.
    pub durability: Durability,
    /// Files copied at the same time, at least 1.
    pub transfers: usize,
    /// Directories read and files hashed at the same time, at least 1.
    pub checkers: usize,
    /// Count the source's entries alongside the run into [`Progress::ahead`], for estimates. This
    /// is a second listing, started after half a second.
    pub count_ahead: bool,
    /// The run's resource limits.
    pub limits: LimitOptions,
}

impl MirrorOptions {
    /// Makes the opener for both places of a run; with `learns` it saves what it finds out about
    /// them.
    fn opener(&self, run: &RunId, learns: bool, progress: &Arc<Progress>, stop: &Stop) -> Opener {
        let temporary = std::env::temp_dir();
        let options = OpenOptions {
            limits: &self.limits,
            requests: self.transfers,
            checkers: self.checkers,
            progress,
            stop,
            run: &run.0,
            began: wall_clock(),
            spool_dir: if learns { &self.state_dir } else { &temporary },
            state_dir: Some(&self.state_dir),
            learns,
        };
        Opener::new(options).between(&self.source, &self.target)
    }
}

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct MirrorOutcome {
    /// The run's id.
    pub run: RunId,
    /// The counts.
    pub totals: Totals,
    /// The duration.
    pub duration: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// The limit that ended the run before all was done, if one did; the verdict is then
    /// [`Verdict::Interrupted`].
    pub limit: Option<RunLimit>,
    /// What was refused (deletions, by a guard), if anything was.
    pub refusal: Option<Error>,
    /// Why the manifest could not be published, though all entries were processed; the verdict is
    /// then [`Verdict::Failed`].
    pub unpublished: Option<Error>,
}

/// Mirrors the source to the target.
///
/// # Errors
/// Whatever stops the run: a location that can't be used, a lock that another run holds, a guard
/// that refuses before anything was done, a full target. Errors of single entries are events, and
/// make the verdict [`Verdict::Incomplete`].
pub fn mirror(
    options: &MirrorOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<MirrorOutcome, Error> {
    let began = Instant::now();
    let run = new_run_id()?;
    let stop = &stop.for_run();
    let opener = options.opener(&run, !options.dry_run, progress, stop);
    let places = places::resolve(options, &opener)?;
    if places.source.only.is_some() && options.delete.is_some() {
        return Err(Error::new(ErrorKind::Usage, "deletions need a directory as source")
            .help(hint!["a single file is only copied; leave ", Setting::Delete, " out"]));
    }
    match &places.bag {
        Some(place) => bag::check(place)?,
        None => checks::refuse_bag(&places, &options.state_dir)?,
    }
    let session =
        Session::new(options, &opener, &places, Running { observer, progress, stop }, run)?;
    session.check_required_file()?;
    let ended = if options.dry_run { session.preview() } else { session.run_until(began) };
    let Ended { verdict, refusal, unpublished } = ended?;
    Ok(MirrorOutcome {
        run: session.run,
        totals: progress.totals(),
        duration: began.elapsed(),
        verdict: if unpublished.is_some() { Verdict::Failed } else { verdict },
        limit: stop.limit().filter(|_| verdict == Verdict::Interrupted && !stop.is_urgent()),
        refusal,
        unpublished,
    })
}

struct Session<'a> {
    options: &'a MirrorOptions,
    opener: &'a Opener,
    places: &'a Places,
    observer: &'a dyn Observer,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    run: RunId,
    /// Where what is overwritten or deleted is kept, if it is.
    backup: Option<BackupPlace>,
    /// Which entries take part. A backup directory in the target doesn't.
    filter: Arc<Filter>,
    /// What is left out of the target's listing in any case: a backup directory in it.
    backup_filter: Arc<Filter>,
    /// What changes the metadata of the source's entries, if anything does.
    mapper: OnceLock<Option<Arc<Mapper>>>,
    /// Whether it was told that the source may be on another file system.
    told_other_source: OnceLock<()>,
    /// Why the record of the source could not be read to its end.
    record_broke_off: Arc<OnceLock<Error>>,
    /// Whether the manifest in a store that is the source told more than the store has.
    source_tells: AtomicBool,
}

/// What a run reports to, and what ends it.
#[derive(Clone, Copy)]
struct Running<'a> {
    observer: &'a dyn Observer,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
}

/// A run whose start is recorded.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing")]
struct Begun {
    number: RunNumber,
    /// Whether it creates the target's root.
    root_is_new: bool,
    /// Whether no earlier recorded run from this source into the target completed.
    is_first_contact: bool,
    /// Whether entries may get attributes that earlier runs could not give them.
    retries_apart: bool,
    /// Whether the manifest in a store that is the source is read.
    reads_manifest: bool,
}

struct Ended {
    verdict: Verdict,
    refusal: Option<Error>,
    unpublished: Option<Error>,
}

/// Buffer size of each of a store's many workers, in bytes; this memory isn't subject to a limit.
const STORE_BUFFER: usize = 256 << 10;

/// Memory in bytes for entries whose flags are set in the end; more of them go to disk.
const SEALS: usize = 256 << 10;

/// How often a run with a limit of time looks at the clock.
const LOOKS_AT_CLOCK: Duration = Duration::from_millis(100);

impl<'a> Session<'a> {
    fn new(
        options: &'a MirrorOptions,
        opener: &'a Opener,
        places: &'a Places,
        Running { observer, progress, stop }: Running<'a>,
        run: RunId,
    ) -> Result<Self, Error> {
        let backup = options.backup_dir.as_deref();
        let backup = backup
            .map(|path| BackupPlace::resolve(path, &places.source, &places.target, &run))
            .transpose()?;
        let rule = backup.as_ref().and_then(BackupPlace::rule);
        let mut spec = options.filter.spec().clone();
        spec.rules.extend(rule.clone());
        let usable = |filter: Result<Filter, FilterError>| {
            filter.map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))
        };
        let filter = sides::limited(usable(Filter::try_from(spec))?, options, places)?;
        let backup_filter = usable(Filter::new(rule.as_slice(), None, None))?;
        let backup_filter = match filter.names() {
            Some(names) => backup_filter.limited_to(Arc::clone(names)),
            None => backup_filter,
        };
        Ok(Self {
            options,
            opener,
            places,
            observer,
            progress,
            stop,
            run,
            backup,
            filter: Arc::new(filter),
            backup_filter: Arc::new(backup_filter),
            mapper: OnceLock::new(),
            told_other_source: OnceLock::new(),
            record_broke_off: Arc::default(),
            source_tells: AtomicBool::new(false),
        })
    }
}

impl Session<'_> {
    /// Runs a mirror that writes until it is done or reaches a limit. A run that may not begin at
    /// this time does nothing.
    fn run_until(&self, began: Instant) -> Result<Ended, Error> {
        let LimitOptions { until, zone, .. } = self.options.limits.clone();
        let _watch = if until.has_no_time() {
            None
        } else {
            if let Some(limit) = until.reached(began.elapsed(), &zone) {
                self.stop.reach(limit);
                let verdict = Verdict::Interrupted;
                return Ok(Ended { verdict, refusal: None, unpublished: None });
            }
            let stop = self.stop.clone();
            Some(Ticker::start(LOOKS_AT_CLOCK, move |_| {
                if let Some(limit) = until.reached(began.elapsed(), &zone) {
                    stop.reach(limit);
                }
            })?)
        };
        self.run()
    }

    /// Runs a mirror that writes. What is made for it is removed again if it doesn't begin.
    fn run(&self) -> Result<Ended, Error> {
        let mut made = MadeDirectories::default();
        let made_target = self.places.make_target(&mut made);
        let ended = made_target.and_then(|()| self.run_locked(&made));
        if let Err(error) = made.remove() {
            self.notice(Notice::DirectoryStays { cause: error.sentence() });
        }
        ended
    }

    /// Opens and locks the target, and runs.
    fn run_locked(&self, made: &MadeDirectories) -> Result<Ended, Error> {
        self.places.target.open()?;
        self.check_state_dir()?;
        if let Some(bag) = &self.places.bag {
            bag.place.open()?;
        }
        let lock = self.lock()?;
        let ended = self.run_recorded(&|| {
            made.keep();
            lock.keep();
        });
        let lost = lock.lost();
        // If releasing fails, the next run takes the lock over; the run's own result matters more.
        if let Err(error) = lock.release() {
            self.notice(Notice::LockNotReleased { cause: error.sentence() });
        }
        lost.map_or(ended, Err)
    }

    /// Records and executes the run. If the state turns out to be damaged, it is put aside and the
    /// run is started again, once. `begins` is called before the target changes.
    fn run_recorded(&self, begins: &dyn Fn()) -> Result<Ended, Error> {
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        let opened = State::open(&self.options.state_dir, source, target)?;
        match self.record(&opened, begins) {
            Err(error) if is_damage(&error) => {
                let opened = opened.state.set_aside()?;
                self.progress.reset();
                self.record(&opened, begins)
            }
            ended => ended,
        }
    }

    /// Returns what to lock: the target, or the bag around it; it must be open.
    fn lockable(&self) -> Result<Lockable, Error> {
        let Places { target, bag, .. } = self.places;
        bag.as_ref().map_or(target, |bag| &bag.place).lockable()
    }

    /// Locks the target, or the bag around it; it must be open.
    fn lock(&self) -> Result<TargetLock, Error> {
        let target = self.lockable()?;
        let request = LockRequest { run: &self.run, mode: self.options.manifest_mode };
        TargetLock::take(&target, request, self.stop, &mut |notice| self.notice(notice))
    }

    /// Executes and records the run. `begins` is called before it changes the target.
    fn record(&self, opened: &Opened, begins: &dyn Fn()) -> Result<Ended, Error> {
        let state = &opened.state;
        let bag = self.places.bag.as_ref();
        let bag = bag.map(|place| Bag::of(place, self.opener)).transpose()?;
        let sides = self.open()?;
        self.lockable()?.probe(&*sides.target, &mut |notice| self.notice(notice));
        let target = Arc::clone(&sides.target);
        let kept = ManifestReader::of(&*target, &self.options.state_dir);
        // A bag has its own manifest.
        let is_dropped =
            bag.is_none() && self.take_over_published(opened, self.place(&*target, &kept))?;
        self.brake(&*sides.source, state)?;
        if let Some(bag) = &bag {
            begins();
            self.report_lost_state(opened, Instead::AllCompared);
            bag.begin(self)?;
        }
        let previous = state.last_finished_totals()?;
        self.started(previous.as_ref());
        recall(Some(state), &*sides.target, &self.options.state_dir)?;
        let mut options = RecordedOptions {
            filter: self.filter.spec().clone(),
            delete: self.options.delete.is_some(),
            durability: self.options.durability,
            only: self.places.source.only.clone(),
            key_space: self.places.key_space(),
            keeps: sides.target.limited_keeps(),
            preserve: self.preserved(&*sides.target),
            mapping: self.options.mapping.clone(),
            settable: settable(state, &*sides.target)?,
            source_tells: false,
        };
        let source_told = told_more(state)?;
        let retries_apart = match options.settable {
            Some(settable) => can_set_more(state, settable)?,
            None => false,
        };
        let is_first = is_dropped || state.last_run()?.is_none();
        let started = wall_clock();
        let is_first_contact = state.is_first_contact()?;
        let number = state.begin_run(&self.run, started, &options.encode()?)?;
        begins();
        let mut allowed_root = None;
        let is_implied = self.places.target.capabilities().implied_directories;
        let root_is_new = !self.places.target.exists() || (is_implied && is_first);
        let reads_manifest = is_first_contact || source_told;
        let begun = Begun { number, root_is_new, is_first_contact, retries_apart, reads_manifest };
        let surplus = Counter::default();
        let mut executed = self.execute(state, sides, begun, &surplus, &mut allowed_root);
        if let (Some(bag), Ok(None)) = (&bag, &executed)
            && self.progress.files_failed.get() == 0
            && !self.stop.is_ending()
            && let Err(error) = bag.complete(self, state, &*target, surplus.get())
        {
            executed = Err(error);
        }
        let verdict = match &executed {
            Ok(refusal) => self.verdict(refusal.as_ref()),
            Err(_) => Verdict::Failed,
        };
        let totals = self.progress.totals();
        let keeps = target.limited_keeps();
        let could_set = settable(state, &*target)?;
        // What an object has only the digest of, the next run looks for in the manifest.
        let lacks_some = self.places.source.capabilities().remote
            && self.places.key_space() == KeySpace::Tree
            && self.progress.attributes_lost.get() > 0;
        options.source_tells = self.source_tells.load(Ordering::Relaxed) || lacks_some;
        let learned =
            if keeps == options.keeps && could_set == options.settable && !options.source_tells {
                Ok(())
            } else {
                (options.keeps, options.settable) = (keeps, could_set);
                options.encode().and_then(|options| state.set_options(number, &options))
            };
        let finished = state.finish_run(number, wall_clock(), verdict, &totals, allowed_root);
        // The error that stopped the run matters more than one in recording its end.
        let refusal = executed?;
        learned.and(finished)?;
        let mut unpublished = None;
        if bag.is_some() {
            if verdict != Verdict::Complete {
                self.notice(Notice::BagIncomplete);
            }
        } else if verdict != Verdict::Interrupted {
            let publishing = self.publishing(started, verdict, options);
            match self.publish(state, self.place(&*target, &kept), publishing) {
                // A damaged state is put aside, and the run is started again.
                Err(error) if is_damage(&error) => return Err(error),
                published => unpublished = published.err(),
            }
        }
        Ok(Ended { verdict, refusal, unpublished })
    }

    /// Plans the run and executes the plan; returns the error of the guard if that refused the
    /// deletions.
    fn execute(
        &self,
        state: &State,
        Sides { source, target }: Sides,
        Begun { number, root_is_new, is_first_contact, retries_apart, reads_manifest }: Begun,
        surplus: &Counter,
        allowed_root: &mut Option<RootIdentity>,
    ) -> Result<Option<Error>, Error> {
        let began = engine::now();
        let options = self.options;
        let _count = self.count_ahead(&source);
        let policy = self.policy(state.number()?, &*source, &*target);
        let policy = Policy { retries_apart, ..policy };
        let source_listing =
            self.enrich(&*source, source.list(&self.listing())?, reads_manifest)?;
        let target_listing = target.list(&self.target_listing())?;
        let keeper = Arc::clone(&target);
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            keeper.achievable_metadata(metadata, kind, existing)
        };
        let recorded = self.judged_rows(state, &policy, &holds)?;
        let join = self.join(source_listing, target_listing, recorded)?;
        let accepts = |key: &Key| keeper.accepts(key);
        let stands_linked = |entry: &Entry| stands_linked(&*keeper, Some(state), entry);
        let (origin, from) = (Arc::clone(&source), policy.from);
        let moved_from = |entry: &Entry| engine::moved_from(&*origin, state, from, entry);
        let renames = self.renames(&*source, is_first_contact);
        let lockable = self.places.target.lockable()?;
        let partials = self.partials()?;
        let is_under_way = |key: &Key| lockable.is_held_below(key) || partials.holds(key);
        let is_remote = source.capabilities().remote || target.capabilities().remote;
        let bandwidth = BandwidthLimit::new(&options.limits, self.stop);
        let context = Context {
            // The digest of a server-side copy is not computed.
            can_copy_server_side: target.can_copy_server_side(&*source)
                && !options.policy.digests.any(),
            source,
            target: PacedTarget::around(Arc::clone(&target), bandwidth.as_ref()),
            policy: &policy,
            buffer: if is_remote { STORE_BUFFER } else { engine::BUFFER },
            purpose: Purpose::Mirror,
            holes: options.holes,
            run: number,
            began,
            progress: self.progress,
            observer: self.observer,
            stop: self.stop,
            transfers: options.transfers,
            max_transfer: options.limits.until.max_transfer,
            cores: Cores::default(),
            bandwidth,
            fatal: OnceLock::new(),
            filtered: self.hides_of_target(),
            collisions: Collisions::default(),
            refusals: Refusals::default(),
            learned_links: Mutex::new(Links::new(&options.state_dir)),
            // A store keeps them with the object.
            seals: (options.policy.preserve.flags && !self.places.target.capabilities().remote)
                .then(|| Mutex::new(Spool::new(options.state_dir.as_path(), SEALS))),
            renamed: renames_done(&options.state_dir),
            spool_dir: &options.state_dir,
            partials: Some(&partials),
            is_under_way: &is_under_way,
        };
        let is_over = || context.is_over();
        let planning = Planning {
            policy: &policy,
            achievable: &holds,
            count_loss: &|entry| keeper.count_loss(entry),
            accepts: &accepts,
            stands_linked: &stands_linked,
            moved_from: if renames { Some(&moved_from) } else { None },
            moves_directories: self.moves_directories(&*target),
            is_recount: false,
            is_first_contact,
            leaves_out: self.leaves_out(),
            surplus,
            progress: self.progress,
            spool_dir: &options.state_dir,
            root_is_new,
            directories_change: target.capabilities().directory_times,
            is_over: &is_over,
        };
        let plan = (Plan::new(join, planning), Some(planning));
        let committer = Committer::new(&context, Some(state.writer()?));
        let deletes = options.delete.as_ref();
        let result = execute(&context, plan, committer, (Some(state), deletes), |tally| {
            let identity = self.places.source.root_identity()?;
            let allowed = self.allow(tally, state.last_allowed_root()?, &identity);
            *allowed_root = allowed.is_ok().then_some(identity);
            allowed
        });
        if result.is_ok() && !context.is_over() {
            self.sweep(&*target, &partials);
        }
        self.warn(&[&*context.source, &*target]);
        context.fatal.into_inner().map_or(result, Err)
    }

    /// Returns how a run ended that nothing stopped but the user, or a guard that refused.
    fn verdict(&self, refusal: Option<&Error>) -> Verdict {
        if self.stop.is_ending() {
            Verdict::Interrupted
        } else if refusal.is_some() {
            Verdict::Refused
        } else if self.progress.files_failed.get() > 0 {
            Verdict::Incomplete
        } else {
            Verdict::Complete
        }
    }

    /// Starts to count the source's entries beside the run, if that is wanted.
    fn count_ahead(&self, source: &Arc<dyn Source>) -> Option<CountAhead> {
        if !self.options.count_ahead {
            return None;
        }
        let count = CountAhead::of_source(source, self.listing(), self.progress);
        count.unwrap_or_else(|error| {
            self.notice(Notice::NotCountedAhead { cause: error.to_string() });
            None
        })
    }

    /// Removes what earlier runs left behind and this one needs no more.
    fn sweep(&self, target: &dyn Target, partials: &Partials) {
        if let Err(cause) = target.abort_stale_uploads(&mut |key| self.swept(key)) {
            self.notice(Notice::LeftoversStay { cause: cause.to_string() });
        }
        if let Err(error) = partials.finish() {
            self.notice(Notice::LeftoversStay { cause: error.to_string() });
        }
    }

    /// Returns the copies that earlier runs were stopped in.
    fn partials(&self) -> Result<Partials, Error> {
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        Partials::open(&self.options.state_dir, source, target).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot read which copies were stopped").because(error)
        })
    }

    /// Returns the check of which source entries take no part, beside the filter.
    fn leaves_out(&self) -> &'static dyn Fn(&Entry) -> Option<&'static str> {
        if self.options.bag.is_some() { &bag::leaves_out } else { &|_| None }
    }

    /// Returns whether patterns exclude entries from the target's listing.
    fn hides_of_target(&self) -> bool {
        let all = self.options.delete.is_some_and(|delete| delete.excluded);
        if all { self.backup_filter.has_patterns() } else { self.filter.has_patterns() }
    }

    fn started(&self, previous: Option<&Totals>) {
        self.observer.observe(&Event::Started {
            run: self.run.clone(),
            source: self.places.source.name.clone(),
            target: self.places.target.name.clone(),
            dry_run: self.options.dry_run,
            previous: previous.copied().map(Box::new),
        });
        self.report_misplaced_patterns();
    }

    /// Counts and reports a leftover of a killed run that was removed.
    fn swept(&self, key: &Key) {
        self.progress.leftovers_swept.add(1);
        if self.observer.wants_changes() {
            let outcome = Outcome::new(key, None, Action::Sweep, Reason::LeftOver);
            self.observer.observe(&Event::Changed(outcome));
        }
    }

    /// Counts and reports an entry that failed.
    fn fail(&self, error: EntryError) {
        // It is not among the entries of the listings.
        self.progress.entries.add(1);
        self.progress.fail(&error);
        self.observer.observe(&Event::Failed(error));
    }

    /// Reports notices that the places have at the end of a run.
    fn warn(&self, places: &[&dyn Source]) {
        self.report_broken_record();
        let count = self.progress.attributes_kept_apart.get();
        if count > 0 {
            self.notice(Notice::AttributesKeptApart { count });
        }
        self.notices(places.iter().flat_map(|place| place.notices()));
    }

    fn notice(&self, notice: Notice) {
        self.observer.observe(&Event::Notice(notice));
    }

    fn notices(&self, notices: impl IntoIterator<Item = Notice>) {
        notices.into_iter().for_each(|notice| self.notice(notice));
    }
}

/// Returns whether another name of an entry's file stands in the target as it was recorded.
fn stands_linked(target: &dyn Target, state: Option<&State>, entry: &Entry) -> Result<bool, Error> {
    let Some(state) = state else { return Ok(false) };
    engine::stands_linked(target, state, state.number()?, entry)
}
