//! One mirror run: what it is asked, what it does in which order, and how it ended.
//!
//! A [`Session`] holds what the whole run shares. `sides` opens and lists the two places, `checks`
//! refuses what must not be done to them, `published` keeps the manifest in the target; `dry_run`
//! and `explain` say what a run would do.

mod bag;
mod checks;
mod dry_run;
mod explain;
mod published;
mod sides;

pub use explain::{CopiedBy, Explained, Explanation, Past, PastLine, explain};

use super::places::{self, Places};
use super::{new_run_id, wall_clock};
use crate::backend::layer::{BandwidthLimit, PacedTarget};
use crate::backend::object::StoreSettings;
use crate::backend::{Source, Target};
use crate::compare::policy::Surplus;
use crate::compare::{Policy, PolicyOptions};
use crate::engine::{self, Collisions, Committer, Context, Cores, CountAhead, Purpose, execute};
use crate::filter::Filter;
use crate::limits::LimitOptions;
use crate::location::Location;
use crate::manifest::keys::SecretKey;
use crate::manifest::published::ManifestReader;
use crate::manifest::{
    LockRequest, Lockable, ManifestMode, Opened, RecordedOptions, RootIdentity, RunNumber,
    SourceNumber, State, TargetLock, is_damage, recall,
};
use crate::model::entry::Completeness;
use crate::model::hint::hint;
use crate::model::notice::Instead;
use crate::model::run::Counter;
use crate::model::{
    Action, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Event, Key, Metadata,
    Notice, Observer, Outcome, Progress, Reason, RunId, Setting, Stop, Totals, Verdict,
};
use crate::place::{OpenOptions, Opener, Sides};
use crate::plan::{DeleteOptions, Plan, Planning};
use bag::Bag;
pub use bag::BagOptions;
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
    pub source_store: Option<StoreSettings>,
    /// How the target's store is reached, where it is one.
    pub target_store: Option<StoreSettings>,
    /// Where state databases live; made when missing.
    pub state_dir: PathBuf,
    /// Decide and say, but do nothing.
    pub dry_run: bool,
    /// Make the target a bag, whose payload the source's entries are.
    pub bag: Option<BagOptions>,
    /// How entries are compared.
    pub policy: PolicyOptions,
    /// Which entries take part.
    pub filter: Filter,
    /// Delete what only the target has.
    pub delete: Option<DeleteOptions>,
    /// A file that the source's root must hold, else the run is refused.
    pub require_file: Option<PathBuf>,
    /// What the manifest is signed with.
    pub sign: Option<SecretKey>,
    /// To whom the lock and the manifest of a directory are open, where that is asked for.
    pub manifest_mode: Option<ManifestMode>,
    /// Write markers of directories where the target is a store.
    pub markers: bool,
    /// How durable a file is before it counts as done.
    pub durability: Durability,
    /// Files copied at the same time, at least 1.
    pub transfers: usize,
    /// Directories read and files hashed at the same time, at least 1.
    pub checkers: usize,
    /// Count what the source has beside the run, into [`Progress::ahead`], to estimate by: a second
    /// listing, once the run has taken half a second.
    pub count_ahead: bool,
    /// What the run may use.
    pub limits: LimitOptions,
}

impl MirrorOptions {
    /// Makes what opens both places of a run, which remembers anything new where it `learns`.
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

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
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
    /// Why the manifest could not be published, though the run came to its end; the verdict is
    /// [`Verdict::Failed`] then.
    pub unpublished: Option<Error>,
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
    let run = new_run_id()?;
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
    let session = Session {
        options,
        opener: &opener,
        places: &places,
        observer,
        progress,
        stop,
        run,
        filter: Arc::new(options.filter.clone()),
        record_broke_off: Arc::default(),
    };
    session.check_required_file()?;
    let ended = if options.dry_run { session.preview() } else { session.run() };
    let Ended { verdict, refusal, unpublished } = ended?;
    Ok(MirrorOutcome {
        run: session.run,
        totals: progress.totals(),
        duration: began.elapsed(),
        verdict: if unpublished.is_some() { Verdict::Failed } else { verdict },
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
    filter: Arc<Filter>,
    /// Why what was recorded of the source could not be read to its end.
    record_broke_off: Arc<OnceLock<Error>>,
}

/// A run that was recorded to begin.
#[derive(Clone, Copy)]
struct Begun {
    number: RunNumber,
    /// Whether it made the target's root.
    root_is_new: bool,
    /// Whether none from its source into the target that is recorded here did all it was to do.
    is_first_contact: bool,
}

struct Ended {
    verdict: Verdict,
    refusal: Option<Error>,
    unpublished: Option<Error>,
}

/// Bytes that each of a store's many workers reads at once: memory that no limit counts.
const STORE_BUFFER: usize = 256 << 10;

impl Session<'_> {
    /// A run that writes: locks, records, executes; a state found damaged on the way is put aside
    /// and the run begun anew, once.
    fn run(&self) -> Result<Ended, Error> {
        let made = self.places.make_target()?;
        self.places.target.open()?;
        self.check_state_dir()?;
        if let Some(bag) = &self.places.bag {
            bag.place.open()?;
        }
        let lock = self.lock()?;
        let begins = || {
            made.keep();
            lock.keep();
        };
        let (source, target) = (&self.places.source.name, &self.places.target.name);
        let opened = State::open(&self.options.state_dir, source, target)?;
        let ended = match self.record(&opened, &begins) {
            Err(error) if is_damage(&error) => {
                let opened = opened.state.set_aside()?;
                self.progress.reset();
                self.record(&opened, &begins)
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
            self.notice(Notice::LockNotReleased { cause: error.to_string() });
        }
        Ok(ended)
    }

    /// What is locked: the target, or the bag around it, which is open.
    fn lockable(&self) -> Result<Lockable, Error> {
        let Places { target, bag, .. } = self.places;
        bag.as_ref().map_or(target, |bag| &bag.place).lockable()
    }

    /// Locks the target, which is open, or the bag around it.
    fn lock(&self) -> Result<TargetLock, Error> {
        let target = self.lockable()?;
        let request = LockRequest { run: &self.run, mode: self.options.manifest_mode };
        TargetLock::take(&target, request, self.stop, &mut |notice| self.notice(notice))
    }

    /// Executes, and records the run. From `begins` on it leaves its traces in the target.
    fn record(&self, opened: &Opened, begins: &dyn Fn()) -> Result<Ended, Error> {
        let state = &opened.state;
        let bag = self.places.bag.as_ref();
        let bag = bag.map(|place| Bag::of(place, self.opener)).transpose()?;
        let sides = self.open()?;
        self.lockable()?.probe(&*sides.target, &mut |notice| self.notice(notice));
        let target = Arc::clone(&sides.target);
        let kept = ManifestReader::of(&*target, &self.options.state_dir);
        let is_dropped = match &bag {
            // Its manifest is the bag's.
            Some(bag) => {
                begins();
                self.tell_lost(opened, Instead::AllCompared);
                bag.begin(self).map(|()| false)?
            }
            None => self.take_over_published(opened, self.place(&*target, &kept))?,
        };
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
        };
        let is_first = is_dropped || state.last_run()?.is_none();
        let started = wall_clock();
        let is_first_contact = state.is_first_contact()?;
        let number = state.begin_run(&self.run, started, &options.encode()?)?;
        begins();
        let mut allowed_root = None;
        let is_implied = self.places.target.capabilities().implied_directories;
        let root_is_new = !self.places.target.exists() || (is_implied && is_first);
        let begun = Begun { number, root_is_new, is_first_contact };
        let surplus = Counter::default();
        let mut executed = self.execute(state, sides, begun, &surplus, &mut allowed_root);
        if let (Some(bag), Ok(None)) = (&bag, &executed)
            && self.progress.files_failed.get() == 0
            && !self.stop.requested()
            && let Err(error) = bag.complete(self, state, &*target, surplus.get())
        {
            executed = Err(error);
        }
        let verdict = match &executed {
            Err(_) => Verdict::Failed,
            Ok(_) if self.stop.requested() => Verdict::Interrupted,
            Ok(Some(_)) => Verdict::Refused,
            Ok(None) if self.progress.files_failed.get() > 0 => Verdict::Incomplete,
            Ok(None) => Verdict::Complete,
        };
        let totals = self.progress.totals();
        let keeps = target.limited_keeps();
        let learned = if keeps == options.keeps {
            Ok(())
        } else {
            options.keeps = keeps;
            options.encode().and_then(|options| state.set_options(number, &options))
        };
        let finished = state.finish_run(number, wall_clock(), verdict, &totals, allowed_root);
        // What stopped the run says more than that its end could not be recorded.
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
                // What is damaged here is put aside, and the run begun anew.
                Err(error) if is_damage(&error) => return Err(error),
                published => unpublished = published.err(),
            }
        }
        Ok(Ended { verdict, refusal, unpublished })
    }

    fn execute(
        &self,
        state: &State,
        Sides { source, target }: Sides,
        Begun { number, root_is_new, is_first_contact }: Begun,
        surplus: &Counter,
        allowed_root: &mut Option<RootIdentity>,
    ) -> Result<Option<Error>, Error> {
        let began = engine::now();
        let options = self.options;
        let counts_ahead = options.count_ahead;
        let _count = counts_ahead
            .then(|| CountAhead::of_source(&source, self.listing(), self.progress))
            .flatten();
        let policy = self.policy(state.number()?, &*target);
        let source_listing =
            self.informed_by_any(&*source, source.list(&self.listing())?, is_first_contact)?;
        let target_listing = target.list(&self.target_listing())?;
        let join = self.join(source_listing, target_listing, self.rows(state)?)?;
        let keeper = Arc::clone(&target);
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            keeper.achievable_metadata(metadata, kind, existing)
        };
        let accepts = |key: &Key| keeper.accepts(key);
        let lockable = self.places.target.lockable()?;
        let is_under_way = |key: &Key| lockable.is_held_below(key);
        let is_remote = source.capabilities().remote || target.capabilities().remote;
        let bandwidth = BandwidthLimit::new(&options.limits, self.stop);
        let context = Context {
            // What the store copies by itself nobody hashes.
            can_copy_server_side: target.can_copy_server_side(&*source)
                && !options.policy.digests.any(),
            source,
            target: PacedTarget::around(Arc::clone(&target), bandwidth.as_ref()),
            policy: &policy,
            buffer: if is_remote { STORE_BUFFER } else { engine::BUFFER },
            purpose: Purpose::Mirror,
            run: number,
            began,
            progress: self.progress,
            observer: self.observer,
            stop: self.stop,
            transfers: options.transfers,
            cores: Cores::default(),
            bandwidth,
            fatal: OnceLock::new(),
            filtered: self.hides_of_target(),
            collisions: Collisions::default(),
            spool_dir: &options.state_dir,
            is_under_way: &is_under_way,
        };
        let is_over = || context.is_over();
        let planning = Planning {
            policy: &policy,
            achievable: &holds,
            count_loss: &|entry| keeper.count_loss(entry),
            accepts: &accepts,
            leaves_out: self.leaves_out(),
            surplus,
            progress: self.progress,
            spool_dir: &options.state_dir,
            root_is_new,
            directories_change: target.capabilities().directory_times,
            is_over: &is_over,
        };
        let plan = Plan::new(join, planning);
        let committer = Committer::new(&context, Some(state.writer()?));
        let result = execute(&context, plan, committer, options.delete.as_ref(), |tally| {
            let identity = self.places.source.root_identity()?;
            self.allow(tally, state.last_allowed_root()?, &identity)?;
            *allowed_root = Some(identity);
            Ok(())
        });
        if result.is_ok()
            && !context.is_over()
            && let Err(cause) = target.abort_stale_uploads(&mut |key| self.swept(key))
        {
            self.notice(Notice::LeftoversStay { cause: cause.to_string() });
        }
        self.warn(&[&*context.source, &*target]);
        context.fatal.into_inner().map_or(result, Err)
    }

    /// What of the source takes no part.
    fn leaves_out(&self) -> &'static dyn Fn(&Entry) -> Option<&'static str> {
        if self.options.bag.is_some() { &bag::leaves_out } else { &|_| None }
    }

    /// Whether patterns leave entries out of the target's listing.
    fn hides_of_target(&self) -> bool {
        self.filter.has_patterns() && self.options.delete.is_none_or(|delete| !delete.excluded)
    }

    /// The rules of a run from the source of this number into a target.
    fn policy(&self, from: SourceNumber, target: &dyn Target) -> Policy {
        Policy {
            from,
            has_links: target.keeps().is_none_or(|keeps| keeps.links),
            options: self.options.policy,
            filter: Arc::clone(&self.filter),
            surplus: match &self.options.delete {
                None => Surplus::Keep,
                Some(delete) if delete.excluded => Surplus::DeleteExcluded,
                Some(_) => Surplus::Delete,
            },
        }
    }

    fn started(&self, previous: Option<&Totals>) {
        self.observer.observe(&Event::Started {
            run: self.run.clone(),
            source: self.places.source.name.clone(),
            target: self.places.target.name.clone(),
            dry_run: self.options.dry_run,
            previous: previous.copied().map(Box::new),
        });
        self.tell_misplaced_patterns();
    }

    /// Takes note of what a killed run left, and is gone now.
    fn swept(&self, key: &Key) {
        self.progress.leftovers_swept.add(1);
        if self.observer.wants_changes() {
            let outcome = Outcome::new(key, None, Action::Sweep, Reason::LeftOver);
            self.observer.observe(&Event::Changed(outcome));
        }
    }

    /// Takes note of an entry that failed.
    fn fail(&self, error: EntryError) {
        // It is looked at beside the entries of the listings.
        self.progress.entries.add(1);
        self.progress.fail(&error);
        self.observer.observe(&Event::Failed(error));
    }

    /// Tells what is to be told of places at the end.
    fn warn(&self, places: &[&dyn Source]) {
        self.tell_broken_off();
        self.notices(places.iter().flat_map(|place| place.notices()));
    }

    fn notice(&self, notice: Notice) {
        self.observer.observe(&Event::Notice(notice));
    }

    fn notices(&self, notices: impl IntoIterator<Item = Notice>) {
        notices.into_iter().for_each(|notice| self.notice(notice));
    }
}

/// What metadata a run gives a file that both sides have, where that is narrower than what stands:
/// its source's ACL grants its group less than the mode says, which a listing doesn't show.
fn narrower(
    source: &Entry,
    standing: &Entry,
    from: &dyn Source,
    to: &dyn Target,
) -> Option<Metadata> {
    if source.kind != EntryKind::File || standing.completeness == Completeness::NoStoredMetadata {
        return None;
    }
    // Why it can't be inspected, the run tells.
    let mode = from.inspect(source).ok()?.mode;
    if mode == source.metadata.mode {
        return None;
    }
    let narrowed = Metadata { mode, ..source.metadata };
    let wanted = to.achievable_metadata(&narrowed, source.kind, Some(&standing.metadata));
    (wanted != standing.metadata).then_some(wanted)
}
