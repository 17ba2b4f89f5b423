//! Repair of entries that aren't as recorded: a plan with few kinds of steps, which the engine
//! executes as it does that of a mirror.
//!
//! What was recorded is right. The source only gives content, which is used only if it has the
//! recorded digest; links, directories and metadata are restored from the record. Nothing is
//! removed except files and links in the place of a recorded file or link.

use super::broken::{Broken, How, Mend, Mends};
use super::tally::Tally;
use super::{VerifyOptions, record, unusable_spool};
use crate::backend::layer::{BandwidthLimit, PacedTarget};
use crate::backend::object::StoreSettings;
use crate::backend::{KeySpace, Precondition, Source, Target};
use crate::compare::policy::Surplus;
use crate::compare::{Policy, PolicyOptions};
use crate::engine::{
    BUFFER, Collisions, Committer, Context, Cores, Holes, Purpose, Refusals, execute, not_kept,
    now, renames_done,
};
use crate::location::Location;
use crate::manifest::{RunNumber, SourceNumber, State};
use crate::model::error::{Operation, Side};
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, Event, Key, Observer, Progress,
    Reason, Stop,
};
use crate::plan::links::Links;
use crate::plan::moves::Moves;
use crate::plan::subtrees::Subtrees;
use crate::plan::{
    DeletionTally, Finish, Planned, Remainder, Step, Steps, precondition_of, spool_error,
};
use crate::spool::Spool;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// In bytes: as much of each spool stays in memory.
const SPOOL_MEMORY: usize = 256 << 10;

/// Options of a repair.
#[derive(Debug)]
pub struct Repair {
    /// The source of content.
    pub source: Location,
    /// How its store is reached, if it is in one.
    pub source_store: Option<StoreSettings>,
}

/// The inputs of a repair.
pub(super) struct Mending<'a> {
    pub(super) source: Arc<dyn Source>,
    pub(super) target: Arc<dyn Target>,
    /// How the recorded keys are read.
    pub(super) key_space: KeySpace,
    /// The state in which repairs are recorded, if that is possible.
    pub(super) state: Option<&'a State>,
}

impl Mending<'_> {
    /// Repairs the entries in `broken`; returns the number of differences that this corrects.
    ///
    /// # Errors
    /// The error that stops it: a target that is full or fails, a state that can't be written.
    pub(super) fn mend(
        self,
        broken: Broken,
        tally: &Tally<'_>,
        options: &VerifyOptions,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<u64, Error> {
        let Self { source, target, key_space, state } = self;
        let policy = Policy {
            options: PolicyOptions::default(),
            filter: Arc::default(),
            surplus: Surplus::Keep,
            from: SourceNumber::NONE,
            // Links and devices that can't be made fail one by one.
            has_links: true,
            has_devices: true,
            hard_links: crate::compare::HardLinks::Separate,
            looks_for: crate::model::AttributeKinds::NONE,
            inspects: false,
            keeps_apart: false,
            retries_apart: false,
        };
        let repair_observer = RepairObserver { tally, state: Mutex::default() };
        let spool_dir = super::open::spool_dir(options);
        let bandwidth = BandwidthLimit::new(&options.limits, stop);
        let context = Context {
            source,
            target: PacedTarget::around(Arc::clone(&target), bandwidth.as_ref()),
            // Between stores, the headers of an object are restored too.
            purpose: Purpose::Mend { headers: key_space == KeySpace::Flat },
            run: RunNumber(0),
            began: now(),
            progress,
            observer: &repair_observer,
            stop,
            policy: &policy,
            can_copy_server_side: false,
            holes: Holes::default(),
            buffer: BUFFER,
            transfers: options.checkers,
            max_transfer: None,
            cores: Cores::default(),
            bandwidth,
            fatal: OnceLock::new(),
            filtered: false,
            collisions: Collisions::default(),
            refusals: Refusals::default(),
            seals: None,
            learned_links: Mutex::new(Links::new(&spool_dir)),
            renamed: renames_done(&spool_dir),
            spool_dir: &spool_dir,
            partials: None,
            // A repair neither sweeps nor deletes.
            is_under_way: &|_| false,
        };
        let writer = record::writer(state, tally.observer);
        let steps = MendSteps {
            mends: broken.finish().map_err(unusable_spool)?,
            target: &*target,
            observer: &repair_observer,
            spool_dir: &spool_dir,
            open: Vec::new(),
            blocked: None,
            directories: Spool::new(&*spool_dir, SPOOL_MEMORY),
            next: VecDeque::new(),
        };
        let committer = Committer::new(&context, writer);
        let executed = execute(&context, (steps, None), committer, (None, None), |_| Ok(()));
        context.fatal.into_inner().map_or(executed, Err)?;
        Ok(repair_observer.state.lock().differences)
    }
}

/// Forwards the result for each entry to the verification's observer.
struct RepairObserver<'a> {
    tally: &'a Tally<'a>,
    state: Mutex<Mended>,
}

#[derive(Default)]
struct Mended {
    /// The number of differences that were corrected.
    differences: u64,
    /// Leaves under way, each with the number of its differences. The engine's queues bound them.
    under_way: HashMap<Key, u8>,
    /// Directories with metadata that could not be kept: they don't count as repaired when done.
    not_kept: HashSet<Key>,
}

impl RepairObserver<'_> {
    fn begin(&self, key: &Key, differences: u8) {
        self.state.lock().under_way.insert(key.clone(), differences);
    }

    fn changed(&self, key: &Key, action: Action) {
        let differences = {
            let mut mended = self.state.lock();
            let differences = match mended.under_way.remove(key) {
                Some(differences) => differences,
                None if action == Action::UpdateMetadata && key.is_directory() => {
                    u8::from(!mended.not_kept.remove(key))
                }
                // It failed in part, or is a directory that has yet to be finished.
                None => 0,
            };
            mended.differences += u64::from(differences);
            differences
        };
        if differences > 0 {
            self.tally.count(|totals| totals.mended += 1);
            self.tally.observer.observe(&Event::Mended { key: key.clone() });
        }
    }

    fn failed(&self, error: &EntryError) {
        if error.operation == Operation::KeepTime {
            return self.tally.fail(error);
        }
        {
            let mut mended = self.state.lock();
            let is_leaf = mended.under_way.remove(&error.key).is_some();
            if !is_leaf && error.key.is_directory() && matches!(error.cause, Cause::NotKept(_)) {
                mended.not_kept.insert(error.key.clone());
            }
        }
        let (key, cause) = (error.key.clone(), error.cause.clone());
        self.tally.observer.observe(&Event::NotMended { key, cause });
    }
}

impl Observer for RepairObserver<'_> {
    fn observe(&self, event: &Event) {
        match event {
            Event::Changed(outcome) => self.changed(&outcome.key, outcome.decision.action),
            Event::Failed(error) => self.failed(error),
            Event::Notice(notice) => self.tally.observer.notice(notice.clone()),
            _ => {}
        }
    }

    fn wants_changes(&self) -> bool {
        true
    }
}

/// A directory that is repaired, or in which something is.
struct Open {
    entry: Entry,
    how: Finish,
    state: DirectoryState,
}

/// What has to be done with a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DirectoryState {
    /// It is missing, so that nothing exists in it.
    Missing,
    /// It exists, and has to be finished only if something in it is repaired.
    Unused,
    /// It exists, and is finished when everything in it is done.
    Used,
}

/// The steps of a repair, in key order.
struct MendSteps<'a> {
    mends: Mends,
    target: &'a dyn Target,
    observer: &'a RepairObserver<'a>,
    spool_dir: &'a Path,
    open: Vec<Open>,
    /// A directory that can't be made, so that nothing in it can be.
    blocked: Option<Key>,
    /// Directories to finish, children first.
    directories: Spool,
    next: VecDeque<Planned>,
}

impl MendSteps<'_> {
    fn advance(&mut self) -> Result<Option<Planned>, Error> {
        loop {
            if let Some(next) = self.next.pop_front() {
                return Ok(Some(next));
            }
            let Some(mend) = self.mends.next().map_err(unusable_spool)? else {
                self.close(None)?;
                return Ok(None);
            };
            self.close(Some(&mend.right.key))?;
            let key = mend.right.key.clone();
            if let Err(hindrance) = self.plan(mend) {
                self.next.push_back(failed(key, hindrance));
            }
        }
    }

    fn plan(&mut self, mend: Mend) -> Result<(), Hindrance> {
        let Mend { right, existing, how } = mend;
        let key = &right.key;
        if self.blocked.as_ref().is_some_and(|blocked| key.is_within(blocked.as_bytes())) {
            return Err(Hindrance::new(Operation::Write, Cause::NoParent));
        }
        let (action, differences) = match how {
            How::Time => {
                let (how, state) = (Finish::Restore, DirectoryState::Unused);
                self.open.push(Open { entry: right, how, state });
                return Ok(());
            }
            _ if right.kind == EntryKind::Directory => {
                return self.directory(right, existing.as_ref());
            }
            How::Metadata { is_proven } => (Action::MendMetadata { is_proven }, 1),
            How::Anew { differences, by_sha256 } => (anew(&right, by_sha256)?, differences),
        };
        if !matches!(action, Action::MendMetadata { .. }) && self.needs_directories() {
            self.enter(&right, existing.is_none())?;
        }
        // Metadata that can't be kept is reported, and the rest is repaired.
        if !self.report_lost(&right, existing.as_ref()) {
            self.observer.begin(&right.key, differences);
        }
        let decision = Decision::new(action, Reason::TargetDrift);
        let precondition = existing.as_ref().map_or(Precondition::Absent, precondition_of);
        self.push(Step { decision, source: right, target: existing, row: None, precondition });
        Ok(())
    }

    /// Returns whether a directory has to exist before anything is written into it.
    fn needs_directories(&self) -> bool {
        !self.target.capabilities().implied_directories
    }

    /// Plans a directory that is missing, or whose metadata differs.
    fn directory(&mut self, entry: Entry, existing: Option<&Entry>) -> Result<(), Hindrance> {
        if existing.is_none() {
            if self.needs_directories()
                && let Err(refused) = self.enter(&entry, true)
            {
                self.blocked = Some(entry.key);
                return Err(refused);
            }
            let decision = Decision::new(Action::MakeDirectory, Reason::New);
            let (source, precondition) = (entry.clone(), Precondition::Absent);
            self.push(Step { decision, source, target: None, row: None, precondition });
        }
        self.report_lost(&entry, existing);
        let state = if existing.is_none() { DirectoryState::Missing } else { DirectoryState::Used };
        self.open.push(Open { entry, how: Finish::Update, state });
        Ok(())
    }

    /// Reports metadata of an entry that the target can't store; returns whether there is any.
    fn report_lost(&mut self, right: &Entry, existing: Option<&Entry>) -> bool {
        let existing = existing.map(|existing| &existing.metadata);
        let achievable = self.target.achievable_metadata(&right.metadata, right.kind, existing);
        let lost = not_kept(&achievable, &right.metadata, right.kind).map(Cause::NotKept);
        let failure = lost
            .map(|lost| failed(right.key.clone(), Hindrance::new(Operation::SetMetadata, lost)));
        let is_lost = failure.is_some();
        self.next.extend(failure);
        is_lost
    }

    /// Checks that an entry can be made in its place, and has its directory's time restored
    /// afterwards: making an entry changes it, even if the entry is removed again.
    fn enter(&mut self, entry: &Entry, is_missing: bool) -> Result<(), Hindrance> {
        let fail = |cause| Hindrance::new(Operation::List, cause);
        let parent = Key::new(entry.key.parent());
        if self.open.last().is_none_or(|open| open.entry.key != parent) {
            let Some(found) = self.target.look(&parent).map_err(fail)? else {
                let why = "its directory is missing too, and not recorded; a mirror makes it anew";
                return Err(Hindrance::new(Operation::Write, Cause::Other(why.to_owned())));
            };
            let state = DirectoryState::Used;
            self.open.push(Open { entry: found, how: Finish::Restore, state });
        }
        let directory = self.open.last_mut();
        let is_new = directory.is_some_and(|open| match open.state {
            DirectoryState::Missing => true,
            DirectoryState::Used | DirectoryState::Unused => {
                open.state = DirectoryState::Used;
                false
            }
        });
        let name = Key::new(entry.key.trimmed());
        let existing =
            if is_missing && !is_new { self.target.look(&name).map_err(fail)? } else { None };
        match (entry.kind, existing.map(|existing| existing.kind)) {
            (EntryKind::Directory, Some(kind)) if kind != EntryKind::Directory => {
                let cause = Cause::Other(format!("a {kind} is in its place"));
                Err(Hindrance::new(Operation::MakeDirectory, cause))
            }
            (kind, Some(EntryKind::Directory)) if kind != EntryKind::Directory => {
                Err(Hindrance::new(Operation::Write, Cause::DirectoryStands))
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, step: Step) {
        self.next.push_back(Planned::Step(Box::new(step)));
    }

    /// Closes the directories that don't contain `key`; at the end (`None`) all.
    fn close(&mut self, key: Option<&Key>) -> Result<(), Error> {
        let lies_in = |open: &Open| key.is_some_and(|key| key.is_within(open.entry.key.as_bytes()));
        while let Some(Open { entry, how, state }) = self.open.pop_if(|open| !lies_in(open)) {
            if state == DirectoryState::Unused {
                continue;
            }
            let mut record = vec![how as u8];
            record.extend_from_slice(&entry.encode());
            self.directories.push(&record).map_err(spool_error)?;
        }
        Ok(())
    }
}

/// Returns the action that makes a leaf anew, or why there is none.
fn anew(right: &Entry, by_sha256: bool) -> Result<Action, Hindrance> {
    let why = match right.kind {
        EntryKind::Symlink | EntryKind::Special(_) => return Ok(Action::making(right.kind)),
        _ if by_sha256 => "only its SHA-256 is recorded; a mirror from the source corrects it",
        _ if right.recorded.is_none() => {
            "no digest of its content is recorded; a mirror from the source corrects it"
        }
        _ => return Ok(Action::Mend),
    };
    Err(Hindrance::new(Operation::Read, Cause::Other(why.to_owned())))
}

/// The reason why an entry can't be repaired.
struct Hindrance {
    operation: Operation,
    cause: Cause,
}

impl Hindrance {
    fn new(operation: Operation, cause: Cause) -> Self {
        Self { operation, cause }
    }
}

/// Returns the item for an entry that can't be repaired.
fn failed(key: Key, Hindrance { operation, cause }: Hindrance) -> Planned {
    let side = if operation == Operation::Read { Side::Source } else { Side::Target };
    Planned::Failed(EntryError::new(operation, side, key, cause))
}

impl Iterator for MendSteps<'_> {
    type Item = Result<Planned, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Steps for MendSteps<'_> {
    fn finish(self) -> Result<Remainder, Error> {
        let none = || Spool::new(self.spool_dir, SPOOL_MEMORY).into_reader().map_err(spool_error);
        Ok(Remainder {
            deletions: none()?,
            tally: DeletionTally::default(),
            after_deletion: none()?,
            links: Links::new(self.spool_dir),
            moves: Moves::new(self.spool_dir, crate::model::stamp::StampFields::default()),
            subtrees: Subtrees::new(self.spool_dir),
            forgotten: none()?,
            directories: self.directories.into_reader().map_err(spool_error)?,
            broke_off: false,
        })
    }
}
