//! The dispatcher: reads the plan, makes directories, and feeds the workers.

use super::Context;
use super::batch::{Batch, Batches, Ending};
use super::commit::Committer;
use super::copy::{Work, Worker};
use super::delete::{delete, name_each, settle};
use super::set_aside::{self, Deletions, SetAside, Since};
use super::successors::Successors;
use crate::backend::Precondition;
use crate::model::{
    Action, Cause, Entry, EntryError, Error, ErrorKind, Key, Operation, Outcome, Reason, Status,
};
use crate::plan::{DeleteOptions, DeletionTally, Planned, Remainder, Step, Steps};
use crossbeam_channel::{Sender, bounded};

/// Steps in a group: enough that a hand-over costs little a file, few enough that the last groups
/// keep all workers busy.
const GROUP_STEPS: usize = 64;
/// Bytes to copy in a group before it is handed over.
const GROUP_BYTES: u64 = 4 << 20;
/// Entries and bytes of a new directory that is built whole under a temporary name: what a failing
/// directory costs, and how late its files show.
const WHOLE_STEPS: usize = 1_024;
const WHOLE_BYTES: u64 = 32 << 20;
/// Groups waiting, a worker: memory for that many steps.
const GROUPS_WAITING: usize = 4;

/// Executes a plan: every step, then what waited for them. Deletions are done when `allow` allows
/// them and no copy failed, and so is the removal of leaves whose place directories took; a refusal
/// is returned.
///
/// # Errors
/// What stopped the plan; what stopped the engine is in [`Context::fatal`]. What was recorded
/// before stands.
pub fn execute<P: Steps>(
    context: &Context<'_>,
    plan: P,
    committer: Committer<'_>,
    deletes: Option<&DeleteOptions>,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    let batches = Batches::default();
    let (done, mut committer) = std::thread::scope(|scope| {
        let (groups, waiting) = bounded::<Vec<Work>>(context.transfers * GROUPS_WAITING);
        let ending = Ending(&batches);
        let committing = scope.spawn(|| committer.work(&batches));
        let workers: Vec<_> = (0..context.transfers)
            .map(|slot| {
                let (waiting, batches) = (waiting.clone(), &batches);
                scope.spawn(move || {
                    let mut worker = Worker::new(context, slot);
                    for group in &waiting {
                        if !batches.add(worker.work(group)) {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(waiting);
        let mut dispatcher = Dispatcher {
            context,
            groups,
            batches: &batches,
            group: Vec::new(),
            steps: 0,
            bytes: 0,
            new: None,
            lost: None,
            set_aside: SetAside::new(context.spool_dir),
        };
        let remainder = dispatcher.run(plan);
        let Dispatcher { set_aside, groups, .. } = dispatcher;
        drop(groups);
        let broken = || Error::new(ErrorKind::Unusable, "a worker thread broke down");
        let mut whole = Ok(());
        for worker in workers {
            whole = whole.and(worker.join().map_err(|_| broken()));
        }
        drop(ending);
        let committer = committing.join().map_err(|_| broken());
        whole.and_then(|()| Ok(((remainder, set_aside), committer?)))
    })?;
    let (remainder, set_aside) = done;
    // Whatever ended the plan, what was done stands; directories' times are set once it does.
    committer.place();
    let removes = deletes.is_some() || !set_aside.is_empty();
    if remainder.is_err() || removes || context.is_over() {
        // Nothing is removed before its successor is durable.
        committer.flush();
    }
    let remainder = remainder?;
    let refusal = match remainder.filter(|_| !context.is_over()) {
        Some(remainder) => work_off(context, remainder, set_aside, &mut committer, deletes, allow)?,
        None => None,
    };
    committer.flush();
    Ok(refusal)
}

/// Does what waited for all steps; a refusal of the deletions is returned.
fn work_off(
    context: &Context<'_>,
    remainder: Remainder,
    set_aside: SetAside,
    committer: &mut Committer<'_>,
    deletes: Option<&DeleteOptions>,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    let Remainder { deletions, tally, after_deletion, directories, broke_off } = remainder;
    let Context { progress, observer, .. } = *context;
    let mut settled = settle(progress, observer, deletes, &tally, broke_off, allow);
    let mut successors = Successors::new(after_deletion, context.spool_dir);
    if settled.deletions == Some(Status::Done) {
        successors.stage(context, committer)?;
        settled.wait_for_copies(progress, deletes, &tally);
    }
    // What lies in directories that are to be deleted goes before them.
    let planned = Deletions { options: deletes, status: settled.deletions };
    set_aside::remove(context, set_aside.finish()?, planned, committer)?;
    match settled.deletions {
        Some(Status::Done) => delete(context, deletions, committer)?,
        Some(status) if observer.wants_changes() => {
            let tell = |entry: &Entry| {
                context.tell(|| {
                    Outcome::new(&entry.key, Some(entry.kind), Action::Delete, Reason::Extra)
                        .with_status(status)
                });
            };
            name_each(deletions, tell)?;
        }
        _ => {}
    }
    successors.put_in_place(context, settled.deletions, committer)?;
    super::finish::directories(context, directories, committer)?;
    Ok(settled.refusal)
}

struct Dispatcher<'c, 'a> {
    context: &'c Context<'a>,
    groups: Sender<Vec<Work>>,
    batches: &'c Batches,
    group: Vec<Work>,
    /// Steps in the group, and bytes that they copy.
    steps: usize,
    bytes: u64,
    /// A new directory whose entries are coming.
    new: Option<NewDirectory>,
    /// A directory that could not be made; nothing can be done in it.
    lost: Option<Key>,
    /// Leaves whose place a directory took.
    set_aside: SetAside,
}

/// How many of the entries of a new directory came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// All there are.
    All,
    /// Those that have room; others follow.
    Some,
}

/// A new directory with what is to be made in it.
struct NewDirectory {
    step: Step,
    members: Vec<Step>,
    bytes: u64,
}

impl NewDirectory {
    /// Whether the directory can still be built whole with this in it.
    fn has_room(&self, step: &Step) -> bool {
        matches!(step.decision.action, Action::Copy { unless: None } | Action::MakeLink)
            && self.members.len() < WHOLE_STEPS
            && self.bytes + step.source.size() <= WHOLE_BYTES
    }
}

impl Dispatcher<'_, '_> {
    /// Works off the plan; `None` when the run was stopped before its end.
    fn run<P: Steps>(&mut self, mut plan: P) -> Result<Option<Remainder>, Error> {
        while let Some(planned) = plan.next().transpose()? {
            match planned {
                Planned::Step(step) => self.step(*step)?,
                Planned::SetAside { key, is_doomed } => {
                    self.set_aside.add(&key, Since::before(is_doomed))?;
                }
                Planned::Failed(error) => self.context.fail(error),
                Planned::Settled(outcome) => self.context.tell(|| outcome),
                Planned::Forget(key) => self.forget(key),
                // It is a living run's.
                Planned::Sweep(key) if (self.context.is_under_way)(&key) => {}
                Planned::Sweep(key) => match self.context.target.sweep(&key) {
                    Ok(()) => {
                        self.context.progress.leftovers_swept.add(1);
                        let reason = Reason::LeftOver;
                        self.context.tell(|| Outcome::new(&key, None, Action::Sweep, reason));
                    }
                    Err(cause) => {
                        // It is no entry of either side, and counts once it fails.
                        self.context.progress.entries.add(1);
                        self.context.fail(EntryError::on_target(Operation::Delete, &key, cause));
                    }
                },
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
                new.bytes += step.source.size();
                new.members.push(step);
                return Ok(());
            }
            self.end_directory(if within { Members::Some } else { Members::All })?;
        }
        let is_new = matches!(step.decision.action, Action::MakeDirectory)
            && step.precondition == Precondition::Absent;
        if is_new && self.context.target.builds_directories() {
            self.new = Some(NewDirectory { step, members: Vec::new(), bytes: 0 });
            Ok(())
        } else {
            self.lone(step)
        }
    }

    /// Sends the new directory on, to be built whole when all its entries came.
    fn end_directory(&mut self, came: Members) -> Result<(), Error> {
        let Some(NewDirectory { step, members, bytes }) = self.new.take() else { return Ok(()) };
        if came == Members::All && members.len() > 1 && !self.is_lost(&step.source.key) {
            self.steps += members.len();
            self.bytes += bytes;
            self.add(Work::Directory { step, members });
            return Ok(());
        }
        self.lone(step)?;
        members.into_iter().try_for_each(|member| self.lone(member))
    }

    /// Whether nothing can be done there.
    fn is_lost(&mut self, key: &Key) -> bool {
        let is_lost = self.lost.as_ref().is_some_and(|lost| key.is_within(lost.as_bytes()));
        if !is_lost {
            self.lost = None;
        }
        is_lost
    }

    fn lone(&mut self, step: Step) -> Result<(), Error> {
        let key = &step.source.key;
        if self.is_lost(key) {
            self.context.fail(EntryError::on_target(Operation::Write, key, Cause::NoParent));
            return Ok(());
        }
        if matches!(step.decision.action, Action::MakeDirectory) {
            return self.make_directory(&step);
        }
        if matches!(step.decision.action, Action::Copy { .. } | Action::Mend) {
            self.bytes += step.source.size();
        }
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
                    // The row of the leaf that stood here.
                    self.forget(Key::new(key.trimmed()));
                }
            }
            Err(cause) => {
                self.context.fail_directory(key, cause, std::iter::empty());
                self.lost = Some(key.clone());
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

    fn hand_over(&mut self) {
        (self.steps, self.bytes) = (0, 0);
        if !self.group.is_empty() {
            let group = std::mem::take(&mut self.group);
            // Workers end before this side only when one broke down, which joining them tells.
            self.groups.send(group).ok();
        }
    }

    fn forget(&self, key: Key) {
        let mut done = Batch::default();
        done.forget(key);
        // The commit stage ends before this side only when it broke down, which joining it tells.
        self.batches.add(done);
    }
}
