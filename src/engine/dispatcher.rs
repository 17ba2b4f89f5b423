//! The dispatcher: reads the plan, makes directories, and feeds the workers.

use super::commit::{Committer, Message};
use super::copy::Worker;
use super::{Context, on_target};
use crate::backend::Place;
use crate::compare::join::Joined;
use crate::model::event::Change;
use crate::model::{Cause, Error, ErrorKind, Event, Key, Operation};
use crate::plan::{Plan, Planned, Remainder, Step, Task};
use crossbeam_channel::{Sender, bounded};

/// Steps in a group: enough that a hand-over costs little a file, few enough that the last groups
/// keep all workers busy.
const GROUP_STEPS: usize = 64;
/// Bytes to copy in a group before it is handed over.
const GROUP_BYTES: u64 = 4 << 20;
/// Groups waiting, a worker: memory for that many steps.
const GROUPS_WAITING: usize = 4;
/// Groups of finished steps waiting to be committed, a worker.
const FINISHED_WAITING: usize = 4;

/// Executes a plan: every step, then what waited for them. Deletions are done when `allow` allows
/// them; its refusal is returned.
///
/// # Errors
/// What stopped the plan; what stopped the engine is in [`Context::fatal`]. What was recorded
/// before stands.
pub fn execute<J: Iterator<Item = Result<Joined, Error>>>(
    context: &Context<'_>,
    plan: Plan<'_, J>,
    committer: Committer<'_>,
    deletes: bool,
    allow: impl FnOnce() -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    let (remainder, mut committer) = std::thread::scope(|scope| {
        let (groups, waiting) = bounded::<Vec<Step>>(context.transfers * GROUPS_WAITING);
        let (finished, results) = bounded(context.transfers * FINISHED_WAITING);
        let committing = scope.spawn(move || committer.receive(&results));
        let workers: Vec<_> = (0..context.transfers)
            .map(|slot| {
                let (waiting, finished) = (waiting.clone(), finished.clone());
                scope.spawn(move || {
                    let mut worker = Worker::new(context, slot);
                    for group in &waiting {
                        let results = worker.work(group);
                        if finished.send(results).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(waiting);
        let mut dispatcher =
            Dispatcher { context, groups, finished, group: Vec::new(), bytes: 0, lost: None };
        let remainder = dispatcher.run(plan);
        drop(dispatcher);
        let broken = || Error::new(ErrorKind::Unusable, "a worker thread broke down");
        let mut whole = Ok(());
        for worker in workers {
            whole = whole.and(worker.join().map_err(|_| broken()));
        }
        let committer = committing.join().map_err(|_| broken());
        whole.and_then(|()| Ok((remainder, committer?)))
    })?;
    // Whatever ended the plan, what was done stands.
    committer.flush();
    let remainder = remainder?;
    let mut refusal = None;
    if let Some(remainder) = remainder.filter(|_| !context.is_over()) {
        let Remainder { deletions, after_deletion, directories } = remainder;
        if deletes {
            match allow() {
                Ok(()) => super::delete::delete(context, deletions, &mut committer)?,
                Err(refused) => {
                    context.observer.observe(&Event::Refused(&refused));
                    refusal = Some(refused);
                }
            }
        }
        super::finish::after_deletion(context, after_deletion, &mut committer)?;
        super::finish::directories(context, directories, &mut committer)?;
    }
    committer.flush();
    Ok(refusal)
}

struct Dispatcher<'c, 'a> {
    context: &'c Context<'a>,
    groups: Sender<Vec<Step>>,
    finished: Sender<Vec<Message>>,
    group: Vec<Step>,
    bytes: u64,
    /// A directory that could not be made; nothing can be done in it.
    lost: Option<Key>,
}

impl Dispatcher<'_, '_> {
    /// Works off the plan; `None` when the run was stopped before its end.
    fn run<J: Iterator<Item = Result<Joined, Error>>>(
        &mut self,
        mut plan: Plan<'_, J>,
    ) -> Result<Option<Remainder>, Error> {
        while let Some(planned) = plan.next().transpose()? {
            match planned {
                Planned::Step(step) => self.step(*step),
                Planned::Failed(error) => self.context.fail(error),
                Planned::Kept(key, reason) => {
                    self.context.tell(&key, Change::Keep, reason, 0);
                }
                Planned::Forget(key) => self.done(Message::Forget(key)),
                Planned::Sweep(key) => match self.context.target.sweep(&key) {
                    Ok(()) => self.context.progress.leftovers_swept.add(1),
                    Err(cause) => {
                        self.context.fail(on_target(Operation::Delete, &key, cause));
                    }
                },
                Planned::Note(note) => self.context.observer.observe(&Event::Note(&note)),
            }
        }
        if self.context.is_over() {
            return Ok(None);
        }
        self.hand_over();
        self.context.progress.plan_final.store(true, std::sync::atomic::Ordering::Relaxed);
        plan.finish().map(Some)
    }

    fn step(&mut self, step: Step) {
        let key = &step.source.key;
        if let Some(lost) = &self.lost {
            if key.is_within(lost.as_bytes()) {
                return self.context.fail(on_target(Operation::Write, key, Cause::NoParent));
            }
            self.lost = None;
        }
        if matches!(step.task, Task::MakeDirectory) {
            return self.make_directory(&step);
        }
        if matches!(step.task, Task::Copy { .. }) {
            self.bytes += step.source.size();
        }
        self.group.push(step);
        if self.group.len() >= GROUP_STEPS || self.bytes >= GROUP_BYTES {
            self.hand_over();
        }
    }

    /// Makes a directory at once: what follows needs it.
    fn make_directory(&mut self, step: &Step) {
        let key = &step.source.key;
        match self.context.target.make_directory(key, step.place) {
            Ok(()) => {
                self.context.progress.directories_created.add(1);
                self.context.tell(key, Change::MakeDirectory, step.reason, 0);
                if step.place == Place::Leaf {
                    // The row of the leaf that stood here.
                    self.done(Message::Forget(Key::new(key.trimmed())));
                }
            }
            Err(cause) => {
                let operation = Operation::MakeDirectory;
                self.context.fail(on_target(operation, key, cause));
                self.lost = Some(key.clone());
            }
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        if !self.group.is_empty() {
            let group = std::mem::take(&mut self.group);
            // Workers end before this side only when one broke down, which joining them tells.
            self.groups.send(group).ok();
        }
    }

    fn done(&self, message: Message) {
        self.finished.send(vec![message]).ok();
    }
}
