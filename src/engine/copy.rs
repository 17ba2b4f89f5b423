//! Workers: each does one step after another. This file copies, and makes links and special files; `check` finds out
//! whether to copy; `update` records existing entries or sets their metadata.
//!
//! A file is read once, hashed as it passes, and written under a temporary name.

use super::Context;
use super::attempt::{Attempt, Copied, Done};
use super::batch::{Batch, CompletedStep, FinishedDirectory, Record};
use super::commit::not_kept;
use super::hash::{Hashed, ReadSide, with_retries};
use super::update::InspectedEntry;
use crate::backend::{Intended, MetadataSet, StageDirectory, Staged, Written};
use crate::manifest::{Origin, PendingRow, Row};
use crate::model::{
    Action, Cause, Check, Decision, Digest, Entry, EntryError, Features, Operation, Outcome, Reason,
};
use crate::plan::Step;

/// A piece of work for a worker.
pub(super) enum Work {
    /// A single step.
    Step(Step),
    /// A new directory that is built completely before it is put in place.
    Directory {
        /// The step that makes it.
        step: Step,
        /// The steps for its entries.
        members: Vec<Step>,
    },
    /// A file to rename.
    Rename {
        /// The step, whose target is the file under its old name.
        step: Step,
        /// The number of its deletion among all planned.
        deletion: u64,
    },
}

/// Whether a planned copy moved its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bytes {
    Moved,
    NotMoved,
}

/// One worker.
pub(super) struct Worker<'c, 'a> {
    pub(super) context: &'c Context<'a>,
    pub(super) slot: usize,
    pub(super) buffer: Vec<u8>,
    /// The directory that is being built, if any.
    pub(super) building: Option<Box<dyn StageDirectory>>,
}

impl<'c, 'a> Worker<'c, 'a> {
    pub(super) fn new(context: &'c Context<'a>, slot: usize) -> Self {
        Self { context, slot, buffer: vec![0; context.buffer], building: None }
    }

    /// Does the steps of a group; after a stop the remaining ones are dropped.
    pub(super) fn work(&mut self, group: Vec<Work>) -> Batch {
        let mut done = Batch::default();
        for work in group {
            if self.context.is_over() {
                break;
            }
            match work {
                Work::Step(step) => match self.step(&step) {
                    Ok(Some(finished)) => done.add(finished),
                    Ok(None) => {}
                    Err(error) => self.context.fail(error),
                },
                Work::Directory { step, members } => {
                    if let Some(directory) = self.build(&step, &members) {
                        done.add_directory(directory);
                    }
                }
                Work::Rename { step, deletion } => self.rename(step, deletion, &mut done),
            }
        }
        done
    }

    /// Builds a new directory; returns `None` if that failed, which is reported, or was stopped.
    fn build(&mut self, step: &Step, members: &[Step]) -> Option<FinishedDirectory> {
        let context = self.context;
        let key = &step.source.key;
        self.building = match context.target.stage_directory(key) {
            Ok(building) => Some(building),
            Err(cause) => {
                for member in members {
                    self.settle(member, Bytes::NotMoved);
                }
                let members = members.iter().map(|member| &member.source.key);
                context.fail_directory(key, cause, members);
                return None;
            }
        };
        let mut finished = Vec::with_capacity(members.len());
        for member in members {
            if context.breaks_off() {
                break;
            }
            match self.step(member) {
                Ok(made) => finished.extend(made),
                Err(error) => context.fail(error),
            }
        }
        let building = self.building.take().filter(|_| !context.breaks_off())?;
        match building.finish() {
            Ok(staged) => {
                let (key, reason) = (key.clone(), step.decision.reason);
                Some(FinishedDirectory { key, reason, staged, members: finished })
            }
            Err(cause) => {
                // Failures of single members were reported.
                let unreported = finished.iter().filter(|made| !made.failure_reported);
                context.fail_directory(key, cause, unreported.map(|made| &made.row.key));
                None
            }
        }
    }

    /// Does one step; returns `None` if there turned out to be nothing to do or to record.
    pub(super) fn step(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        match step.decision.action {
            Action::Copy { unless } => return self.copy(step, unless),
            Action::Check(check) => return self.check(step, check),
            Action::Look => return self.look(step),
            Action::CompareTag { read } => return self.compare_tag(step, read),
            Action::HashSurplus => return self.hash_surplus(step),
            Action::UpdateMetadata | Action::Record => {
                self.update(step, step.source.clone(), step.target.clone(), None)
            }
            Action::UpdateRights => self.update_rights(step),
            Action::Adopt => self.adopt(step),
            Action::MakeLink => self.link(step, step.source.clone()),
            Action::MakeSpecial => self.special(step, step.source.clone()),
            Action::Mend => self.mend(step),
            Action::MendMetadata { is_proven } => self.mend_metadata(step, is_proven),
            // The dispatcher makes directories; the other actions never become steps.
            Action::MakeDirectory
            | Action::KeepDirectory
            | Action::Keep
            | Action::Skip
            | Action::Delete
            | Action::RemoveSetAside
            | Action::Sweep
            | Action::Forget
            | Action::AfterDeletion
            | Action::Link
            | Action::Rename => Err(EntryError::on_target(
                Operation::MakeDirectory,
                &step.source.key,
                Cause::NoParent,
            )),
        }
        .map(Some)
    }

    /// Copies a file; returns `None` if it turned out to be a link that the target can't store.
    pub(super) fn copy(
        &mut self,
        step: &Step,
        unless: Option<Digest>,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let copied = self.copy_content(step, unless);
        let bytes = if matches!(copied, Ok(Some(_))) { Bytes::Moved } else { Bytes::NotMoved };
        self.settle(step, bytes);
        copied
    }

    /// Counts a planned copy as settled.
    fn settle(&self, step: &Step, bytes: Bytes) {
        let settled = &self.context.progress.settled;
        settled.files.add(1);
        if bytes == Bytes::NotMoved {
            settled.bytes_unmoved.add(step.source.size());
        }
    }

    fn copy_content(
        &mut self,
        step: &Step,
        unless: Option<Digest>,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        if context.can_copy_server_side
            && let Some(finished) = self.copy_server_side(step)?
        {
            return Ok(Some(finished));
        }
        if let Some(expected) = unless
            && context.target.capabilities().remote
            && step.source.size() > context.buffer as u64
        {
            // Sending content costs more than reading it twice.
            return self.check(step, Check::Source { expected });
        }
        let (slot, precondition, building) =
            (self.slot, step.precondition, self.building.as_deref());
        let row = step.row.as_ref();
        let target = step.target.as_ref();
        let attempt = Attempt { context, slot, building, precondition, target, row, unless };
        let buffer = &mut self.buffer;
        let copied = with_retries(ReadSide::source(&*context.source), &step.source, |entry| {
            attempt.run(entry, buffer)
        });
        let (entry, Done { copied, hashed, read_entry, lost, apart }) = copied?;
        let entry = read_entry.unwrap_or(entry);
        match copied {
            Copied::Same => self.update(step, entry, step.target.clone(), Some(hashed)).map(Some),
            Copied::Link if context.policy.has_links => {
                context.learn_link(&step.source, &entry, hashed.digest);
                self.link(step, entry).map(Some)
            }
            Copied::Link => {
                context.target.count_loss(&entry);
                context.progress.skip(Some(entry.kind));
                let kind = Some(entry.kind);
                context.report(|| Outcome::new(&entry.key, kind, Action::Skip, Reason::NoLinks));
                Ok(None)
            }
            Copied::Special => {
                if !context.policy.options.preserve.specials {
                    context.progress.skip(Some(entry.kind));
                    let kind = Some(entry.kind);
                    context.report(|| {
                        Outcome::new(&entry.key, kind, Action::Skip, Reason::NoSpecials)
                    });
                    return Ok(None);
                }
                context.learn_link(&step.source, &entry, hashed.digest);
                self.special(step, entry).map(Some)
            }
            Copied::Staged(staged) => {
                context.learn_link(&step.source, &entry, hashed.digest);
                if !entry.flags().is_empty() {
                    context.seal(&entry);
                }
                let mut finished = self.finished(step, entry, Some(Action::Copy { unless: None }));
                finished.lost = lost;
                finished.row.set_apart(apart);
                prove(&mut finished.row, hashed, row);
                self.join(&mut finished, staged)?;
                Ok(Some(finished))
            }
        }
    }

    /// Has the store copy the object. As nothing is read, the digest is the recorded one or
    /// missing. Returns `None` if the store can't copy it.
    fn copy_server_side(&self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let (entry, target_stamp) =
            with_retries(ReadSide::source(&*context.source), &step.source, |entry| {
                context.target.copy_server_side(&*context.source, entry, step.precondition)
            })?;
        let Some(target_stamp) = target_stamp else { return Ok(None) };
        context.progress.settled.bytes_unmoved.add(step.source.size());
        let is_of_source =
            |row: &&Row| row.from == context.policy.from && row.source == entry.stamp;
        let recorded = step.row.as_ref().filter(is_of_source);
        let digest = recorded.and_then(|row| row.digest).or(entry.recorded);
        if digest.is_none() {
            context.progress.files_without_digest.add(1);
        }
        let mut finished = self.finished(step, entry, Some(Action::Copy { unless: None }));
        finished.row.digest = digest;
        finished.row.extra = recorded.map(|row| row.extra).unwrap_or_default();
        finished.row.origin = recorded.map_or(Origin::Adopted, |row| row.origin);
        finished.target_stamp = Some(target_stamp);
        Ok(Some(finished))
    }

    /// Puts a file into the directory that is being built; without one, the commit stage publishes
    /// it.
    pub(super) fn join(
        &self,
        finished: &mut CompletedStep,
        mut staged: Box<dyn Staged>,
    ) -> Result<(), EntryError> {
        if self.building.is_none() {
            finished.staged = Some(staged);
            return Ok(());
        }
        let key = &finished.row.key;
        let refused = staged
            .publish()
            .map_err(|cause| EntryError::on_target(Operation::Publish, key, cause))?;
        self.made(finished, staged.written(), refused);
        Ok(())
    }

    /// Completes the step of an entry that was made in the directory that is being built.
    fn made(&self, finished: &mut CompletedStep, written: Written, refused: Option<Cause>) {
        let CompletedStep { row, target_stamp, failure_reported, .. } = finished;
        let existing = Some(&written.metadata);
        row.set_given(self.context.target.achievable_metadata(&row.metadata, row.kind, existing));
        let lost = || not_kept(&written.metadata, &row.metadata, row.kind).map(Cause::NotKept);
        if let Some(cause) = refused.or_else(lost) {
            self.context.fail(EntryError::on_target(Operation::SetMetadata, &row.key, cause));
            *failure_reported = true;
        }
        *target_stamp = Some(written.stamp);
    }

    pub(super) fn link(&mut self, step: &Step, entry: Entry) -> Result<CompletedStep, EntryError> {
        let target = &self.context.target;
        let InspectedEntry { mut entry, mut kept } = self.inspected(entry, None)?;
        let attributes = kept.attributes.clone();
        let attributes = attributes.as_deref();
        let (mut written, mut set) = (None, MetadataSet::default());
        let made = match &self.building {
            Some(directory) => directory.make_link(&entry, attributes).map(|made| {
                set.lost = made.lost;
                written = Some(made);
            }),
            None => target.make_link(&entry, attributes, step.precondition).map(|made| set = made),
        };
        made.map_err(|cause| EntryError::on_target(Operation::MakeLink, &entry.key, cause))?;
        kept.lose(self.context, set.lost, &mut entry);
        let mut finished = self.finished(step, entry, Some(Action::MakeLink));
        finished.lost = kept.lost;
        finished.row.set_apart(kept.apart);
        finished.row.origin = Origin::Proven;
        finished.target_stamp = set.stamp;
        if let Some(written) = written {
            self.made(&mut finished, written, None);
        }
        Ok(finished)
    }

    /// Makes a special file.
    pub(super) fn special(
        &mut self,
        step: &Step,
        entry: Entry,
    ) -> Result<CompletedStep, EntryError> {
        let target = &self.context.target;
        let InspectedEntry { mut entry, mut kept } = self.inspected(entry, None)?;
        let wanted = target.achievable_metadata(&entry.metadata, entry.kind, None);
        let attributes = kept.attributes.clone();
        let intended = Intended { attributes: attributes.as_deref(), ..(&wanted).into() };
        let (mut written, mut set) = (None, MetadataSet::default());
        let made = match &self.building {
            Some(directory) => directory.make_special(&entry, &intended).map(|made| {
                set.lost = made.lost;
                written = Some(made);
            }),
            None => {
                target.make_special(&entry, &intended, step.precondition).map(|made| set = made)
            }
        };
        made.map_err(|cause| EntryError::on_target(Operation::MakeSpecial, &entry.key, cause))?;
        kept.lose(self.context, set.lost, &mut entry);
        let mut finished = self.finished(step, entry, Some(Action::MakeSpecial));
        finished.lost = kept.lost;
        finished.row.set_apart(kept.apart);
        finished.row.origin = Origin::Proven;
        finished.target_stamp = set.stamp;
        if let Some(written) = written {
            self.made(&mut finished, written, None);
        }
        Ok(finished)
    }

    pub(super) fn finished(
        &self,
        step: &Step,
        entry: Entry,
        done: Option<Action>,
    ) -> CompletedStep {
        let wanted = self.context.target.achievable_metadata(&entry.metadata, entry.kind, None);
        let looked = self.context.looks_for(&entry);
        let row = PendingRow::of(entry, wanted, self.context.recorded_by());
        CompletedStep {
            row: PendingRow { looked, ..row },
            staged: None,
            done: done.map(|action| Decision::new(action, step.decision.reason)),
            target_stamp: None,
            failure_reported: false,
            lost: Features::default(),
            record: Record::of(self.context.purpose),
        }
    }
}

/// Sets the digests of content that both sides are known to have. Further digests that were
/// recorded of the same content are kept, even if this run doesn't compute them.
pub(super) fn prove(row: &mut PendingRow, hashed: Hashed, recorded: Option<&Row>) {
    let same = recorded.filter(|recorded| recorded.digest == Some(hashed.digest));
    row.digest = Some(hashed.digest);
    row.extra = hashed.extra.or(same.map(|same| same.extra).unwrap_or_default());
    row.source_racy = hashed.racy;
    row.origin = Origin::Proven;
}
