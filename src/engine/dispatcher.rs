//! The dispatcher: reads the plan, makes directories, and feeds the workers.

use super::batch::{Batch, Batches, Ending};
use super::commit::Committer;
use super::copy::{Work, Worker};
use super::set_aside::{SetAside, Since};
use super::{Context, start};
use crate::backend::Precondition;
use crate::model::{Action, Cause, EntryError, Error, ErrorKind, Key, Operation, Outcome, Reason};
use crate::plan::{Planned, Remainder, Step, Steps};
use crossbeam_channel::{Sender, bounded};

/// The most steps in a group: enough to keep the cost of handing over low, few enough to keep all
/// workers busy at the end.
const GROUP_STEPS: usize = 64;
/// Bytes to copy at which a group is handed over.
const GROUP_BYTES: u64 = 4 << 20;
/// So many bytes to copy a byte of a key counts for, so that few of the longest keys wait.
const KEY_BYTE: u64 = 16;
/// The most entries in a new directory that is built completely under a temporary name. This and
/// [`WHOLE_BYTES`] limit the loss if the directory fails, and the delay until its files appear.
const WHOLE_STEPS: usize = 1_024;
/// The most bytes in such a directory.
const WHOLE_BYTES: u64 = 32 << 20;
/// Groups that wait for each worker: this bounds the memory for steps.
const GROUPS_WAITING: usize = 4;

/// Starts the workers and the commit stage, and calls `feed` with a dispatcher that hands out work
/// to them. When all of it is done, returns what that returned, the leaves that were set aside before
/// and now, and the committer, which has put in place all that its batches were full of.
///
/// # Errors
/// Fails if a thread ended unexpectedly.
pub(super) fn with_workers<'k, T>(
    context: &Context<'_>,
    (committer, set_aside): (Committer<'k>, SetAside),
    feed: impl FnOnce(&mut Dispatcher<'_, '_>) -> T,
) -> Result<Worked<'k, T>, Error> {
    let batches = Batches::default();
    std::thread::scope(|scope| {
        let (groups, waiting) = bounded::<Vec<Work>>(context.transfers * GROUPS_WAITING);
        let ending = Ending(&batches);
        let committing = start(scope, "commit", || committer.work(&batches))?;
        let workers: Vec<_> = (0..context.transfers)
            .map(|slot| {
                let (waiting, batches) = (waiting.clone(), &batches);
                start(scope, &format!("copy-{slot}"), move || {
                    let mut worker = Worker::new(context, slot);
                    for group in &waiting {
                        if !batches.add(worker.work(group)) {
                            break;
                        }
                    }
                })
            })
            .collect::<Result<_, _>>()?;
        drop(waiting);
        let mut dispatcher = Dispatcher {
            context,
            groups,
            batches: &batches,
            group: Vec::new(),
            steps: 0,
            bytes: 0,
            new: None,
            failed_directory: None,
            set_aside,
        };
        let result = feed(&mut dispatcher);
        let Dispatcher { set_aside, groups, .. } = dispatcher;
        drop(groups);
        let broken = || Error::new(ErrorKind::Unusable, "a worker thread stopped unexpectedly");
        let mut whole = Ok(());
        for worker in workers {
            whole = whole.and(worker.join().map_err(|_| broken()));
        }
        drop(ending);
        let committer = committing.join().map_err(|_| broken());
        whole.and_then(|()| Ok(Worked { result, set_aside, committer: committer? }))
    })
}

/// What is left when the workers have ended.
pub(super) struct Worked<'k, T> {
    /// What the function returned that fed them.
    pub(super) result: T,
    /// Leaves that made room for directories.
    pub(super) set_aside: SetAside,
    pub(super) committer: Committer<'k>,
}

/// Removes a temporary file of a killed run.
pub(super) fn sweep(context: &Context<'_>, key: &Key) {
    match context.target.sweep(key) {
        Ok(()) => {
            context.progress.leftovers_swept.add(1);
            let reason = Reason::LeftOver;
            context.report(|| Outcome::new(key, None, Action::Sweep, reason));
        }
        Err(cause) => {
            // It is no entry of either side, and is counted only if it fails.
            context.progress.entries.add(1);
            context.fail(EntryError::on_target(Operation::Delete, key, cause));
        }
    }
}

/// Hands out work to the workers.
pub(super) struct Dispatcher<'c, 'a> {
    pub(super) context: &'c Context<'a>,
    groups: Sender<Vec<Work>>,
    batches: &'c Batches,
    group: Vec<Work>,
    /// Steps in the group, and bytes that they copy.
    steps: usize,
    bytes: u64,
    /// A new directory whose entries follow in the plan.
    new: Option<NewDirectory>,
    /// A directory that could not be made, so that everything in it fails.
    failed_directory: Option<Key>,
    /// Leaves that made room for directories.
    set_aside: SetAside,
}

/// How much of a new directory was collected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// All its entries.
    All,
    /// As many entries as there is room for; more follow.
    Some,
}

/// A new directory with the steps for its entries.
struct NewDirectory {
    step: Step,
    members: Vec<Step>,
    bytes: u64,
}

impl NewDirectory {
    /// Returns whether the directory can still be built completely with this step in it.
    fn has_room(&self, step: &Step) -> bool {
        let is_new_leaf = matches!(
            step.decision.action,
            Action::Copy { unless: None } | Action::MakeLink | Action::MakeSpecial
        );
        is_new_leaf
            && self.members.len() < WHOLE_STEPS
            && self.bytes + step.source.size() <= WHOLE_BYTES
    }
}

impl Dispatcher<'_, '_> {
    /// Executes the plan; returns `None` if the run was stopped before its end.
    pub(super) fn run<P: Steps>(&mut self, mut plan: P) -> Result<Option<Remainder>, Error> {
        while let Some(planned) = plan.next().transpose()? {
            match planned {
                Planned::Step(step) => self.step(*step)?,
                Planned::SetAside { key, is_deleted } => {
                    self.set_aside.add(&key, Since::before(is_deleted))?;
                }
                Planned::Failed(error) => self.context.fail(error),
                Planned::Settled(outcome) => self.context.report(|| outcome),
                Planned::Forget(key) => self.forget(key),
                Planned::Later(key) => self.make_room(&key)?,
                // It belongs to a run that is under way.
                Planned::Sweep(key) if (self.context.is_under_way)(&key) => {}
                Planned::Sweep(key) => sweep(self.context, &key),
                Planned::Notice(notice) => self.context.notice(notice),
            }
        }
        if self.context.is_over() {
            return Ok(None);
        }
        self.end_directory(Members::All)?;
        self.hand_over();
        self.context.progress.plan_final.store(true, std::sync::atomic::Ordering::Relaxed);
        plan.finish().map(Some)
    }

    fn step(&mut self, step: Step) -> Result<(), Error> {
        if let Some(new) = &mut self.new {
            let within = step.source.key.is_within(new.step.source.key.as_bytes());
            if within && new.has_room(&step) {
                new.bytes = new.bytes.saturating_add(step.source.size());
                new.members.push(step);
                return Ok(());
            }
            self.end_directory(if within { Members::Some } else { Members::All })?;
        }
        let is_new = matches!(step.decision.action, Action::MakeDirectory)
            && step.precondition == Precondition::Absent;
        // All keys of a directory that is built whole are held at once.
        let is_deep = step.source.key.is_long();
        if is_new && !is_deep && self.context.target.builds_directories() {
            self.new = Some(NewDirectory { step, members: Vec::new(), bytes: 0 });
            Ok(())
        } else {
            self.lone(step)
        }
    }

    /// Makes the new directory at once in which this entry may come later.
    fn make_room(&mut self, key: &Key) -> Result<(), Error> {
        let new = self.new.as_ref().map(|new| &new.step.source.key);
        if new.is_some_and(|new| key.is_within(new.as_bytes())) {
            return self.end_directory(Members::Some);
        }
        Ok(())
    }

    /// Sends on the new directory: as one piece of work if all its entries were collected.
    fn end_directory(&mut self, came: Members) -> Result<(), Error> {
        let Some(NewDirectory { step, members, bytes }) = self.new.take() else { return Ok(()) };
        if came == Members::All
            && members.len() > 1
            && !self.is_in_failed_directory(&step.source.key)
        {
            self.steps += members.len();
            self.bytes += bytes;
            self.add(Work::Directory { step, members });
            return Ok(());
        }
        self.lone(step)?;
        members.into_iter().try_for_each(|member| self.lone(member))
    }

    /// Returns whether `key` lies in a directory that could not be made.
    fn is_in_failed_directory(&mut self, key: &Key) -> bool {
        let failed = self.failed_directory.as_ref();
        let is_within = failed.is_some_and(|failed| key.is_within(failed.as_bytes()));
        if !is_within {
            self.failed_directory = None;
        }
        is_within
    }

    /// Hands out a file to rename.
    pub(super) fn rename(&mut self, step: Step, deletion: u64) {
        // Its content is read.
        let of_key = KEY_BYTE * step.source.key.as_bytes().len() as u64;
        self.bytes = self.bytes.saturating_add(step.source.size()).saturating_add(of_key);
        self.steps += 1;
        self.add(Work::Rename { step, deletion });
    }

    /// Hands out a step by itself.
    pub(super) fn lone(&mut self, step: Step) -> Result<(), Error> {
        let key = &step.source.key;
        if self.is_in_failed_directory(key) {
            self.context.fail(EntryError::on_target(Operation::Write, key, Cause::NoParent));
            return Ok(());
        }
        if matches!(step.decision.action, Action::MakeDirectory) {
            return self.make_directory(&step);
        }
        if matches!(step.decision.action, Action::Copy { .. } | Action::Mend) {
            self.bytes = self.bytes.saturating_add(step.source.size());
        }
        let of_key = KEY_BYTE * step.source.key.as_bytes().len() as u64;
        self.bytes = self.bytes.saturating_add(of_key);
        self.steps += 1;
        self.add(Work::Step(step));
        Ok(())
    }

    /// Makes a directory at once: what follows needs it.
    fn make_directory(&mut self, step: &Step) -> Result<(), Error> {
        let key = &step.source.key;
        match self.context.target.make_directory(key, step.precondition) {
            Ok(aside) => {
                if self.context.target.keeps_directories() {
                    self.context.made_directory(key, step.decision.reason);
                }
                let Some(aside) = aside else { return Ok(()) };
                self.set_aside.add(&aside, Since::Now)?;
                if aside.as_bytes() != key.trimmed() {
                    // The leaf at this key is gone, and so is its row.
                    self.forget(Key::new(key.trimmed()));
                }
            }
            Err(cause) => {
                self.context.fail_directory(key, cause, std::iter::empty());
                self.failed_directory = Some(key.clone());
            }
        }
        Ok(())
    }

    fn add(&mut self, work: Work) {
        self.group.push(work);
        if self.steps >= GROUP_STEPS || self.bytes >= GROUP_BYTES {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        (self.steps, self.bytes) = (0, 0);
        if !self.group.is_empty() {
            let group = std::mem::take(&mut self.group);
            // Workers end before this thread only if one panicked, which joining them reports.
            self.groups.send(group).ok();
        }
    }

    fn forget(&self, key: Key) {
        let mut done = Batch::default();
        done.forget(key);
        // The commit stage ends before this thread only if it failed, which joining it reports.
        self.batches.add(done);
    }
}
