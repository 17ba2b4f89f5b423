//! Workers: copy, check, link, and set metadata, a step at a time.
//!
//! A file is read once, hashed as it passes, and written under a name that nobody sees.

use super::batch::{Batch, Finished, FinishedDirectory};
use super::commit::not_kept;
use super::hash::{BUFFER, with_retries};
use super::{Context, now, on_target};
use crate::backend::{ReadError, Source, Stage, StageDirectory, Staged, Written};
use crate::manifest::{Origin, Row};
use crate::model::error::Side;
use crate::model::event::Change;
use crate::model::{Cause, Digest, Entry, EntryError, EntryKind, InFlight, Operation};
use crate::plan::{Step, Task};
use std::sync::PoisonError;

/// Files of this size are shown while they are under way.
const SHOWN: u64 = 4 << 20;

/// What a worker is given.
pub(super) enum Work {
    /// A step of its own.
    Step(Step),
    /// A new directory to be built whole.
    Directory {
        /// What makes it.
        step: Step,
        /// What is made in it.
        members: Vec<Step>,
    },
}

/// One worker.
pub(super) struct Worker<'c, 'a> {
    context: &'c Context<'a>,
    slot: usize,
    buffer: Vec<u8>,
    /// The directory that is being built.
    building: Option<Box<dyn StageDirectory>>,
}

/// What became of a copy.
enum Copied {
    /// Written, not yet in place.
    Staged(Box<dyn Staged>),
    /// The content turned out to be what the target has.
    Same,
}

impl<'c, 'a> Worker<'c, 'a> {
    pub(super) fn new(context: &'c Context<'a>, slot: usize) -> Self {
        Self { context, slot, buffer: vec![0; BUFFER], building: None }
    }

    /// Works a group off; steps that a stop leaves undone are dropped.
    pub(super) fn work(&mut self, group: Vec<Work>) -> Batch {
        let mut done = Batch::default();
        for work in group {
            if self.context.is_over() {
                break;
            }
            match work {
                Work::Step(step) => match self.step(&step) {
                    Ok(finished) => done.add(finished),
                    Err(error) => self.context.fail(error),
                },
                Work::Directory { step, members } => {
                    if let Some(directory) = self.build(&step, &members) {
                        done.add_directory(directory);
                    }
                }
            }
        }
        done
    }

    /// Builds a new directory whole; `None` when it failed, which was told, or was stopped.
    fn build(&mut self, step: &Step, members: &[Step]) -> Option<FinishedDirectory> {
        let context = self.context;
        let key = &step.source.key;
        self.building = match context.target.stage_directory(key) {
            Ok(building) => Some(building),
            Err(cause) => {
                let members = members.iter().map(|member| &member.source.key);
                context.fail_directory(key, cause, members);
                return None;
            }
        };
        let mut finished = Vec::with_capacity(members.len());
        for member in members {
            if context.is_over() {
                break;
            }
            match self.step(member) {
                Ok(made) => finished.push(made),
                Err(error) => context.fail(error),
            }
        }
        let building = self.building.take().filter(|_| !context.is_over())?;
        match building.finish() {
            Ok(staged) => {
                let (key, reason) = (key.clone(), step.reason);
                Some(FinishedDirectory { key, reason, staged, members: finished })
            }
            Err(cause) => {
                // What failed by itself was told.
                context.fail_directory(key, cause, finished.iter().map(|made| &made.row.key));
                None
            }
        }
    }

    /// Does one step.
    pub(super) fn step(&mut self, step: &Step) -> Result<Finished, EntryError> {
        match step.task {
            Task::Copy { unless } => self.copy(step, unless),
            Task::Check { source, target, expected } => self.check(step, source, target, expected),
            Task::UpdateMetadata | Task::Record => {
                self.update(step, step.source.clone(), step.target.clone(), None)
            }
            Task::Adopt => {
                let mut finished = self.finished(step, step.source.clone(), Some(Change::Adopt));
                finished.stands = step.target.as_ref().map(|existing| existing.stamp);
                Ok(finished)
            }
            Task::MakeLink => self.link(step),
            Task::MakeDirectory => {
                Err(on_target(Operation::MakeDirectory, &step.source.key, Cause::NoParent))
            }
        }
    }

    fn copy(&mut self, step: &Step, unless: Option<Digest>) -> Result<Finished, EntryError> {
        let context = self.context;
        let slot = self.slot;
        let shown = step.source.size() >= SHOWN;
        let (buffer, building) = (&mut self.buffer, &self.building);
        let copied = with_retries(&*context.source, Side::Source, &step.source, |entry| {
            let began = now();
            let mut hasher = context.cores.hasher();
            let mut whole = None;
            let mut stage: Option<Box<dyn Stage>> = None;
            let mut done = 0_u64;
            let read = context.source.read(entry, buffer, &mut |chunk| {
                if context.is_over() {
                    return Err(Cause::Stopped);
                }
                let bytes = chunk.len() as u64;
                if context.bandwidth.take(bytes, &|| context.is_over()).is_err() {
                    return Err(Cause::Stopped);
                }
                if bytes == entry.stamp.size {
                    let digest = Digest::of(chunk);
                    whole = Some(digest);
                    if unless == Some(digest) {
                        return Ok(());
                    }
                }
                let stage = match &mut stage {
                    Some(stage) => stage,
                    none => none.insert(match building {
                        Some(directory) => directory.stage(entry)?,
                        None => context.target.stage(entry, step.place)?,
                    }),
                };
                if whole.is_some() {
                    stage.write(chunk)?;
                } else {
                    hasher.update_beside(chunk, || stage.write(chunk))?;
                }
                done += bytes;
                context.progress.bytes_moved.add(bytes);
                if shown {
                    show(context, slot, Some((entry, done)));
                }
                Ok(())
            });
            if let Err(error) = read {
                context.progress.bytes_moved.sub(done);
                return Err(error);
            }
            let digest = whole.unwrap_or_else(|| hasher.finalize());
            context.progress.bytes_hashed.add(entry.stamp.size);
            let racy = entry.stamp.is_racy(began);
            if unless == Some(digest) {
                return Ok((Copied::Same, digest, racy));
            }
            let wanted = context.target.holds(&entry.metadata, EntryKind::File);
            let stage = stage.ok_or(ReadError::Changed)?;
            let staged = stage.finish(&wanted).map_err(ReadError::Sink)?;
            Ok((Copied::Staged(staged), digest, racy))
        });
        if shown {
            show(context, slot, None);
        }
        let (entry, (copied, digest, racy)) = copied?;
        let proof = Some((digest, racy));
        match copied {
            Copied::Same => self.update(step, entry, step.target.clone(), proof),
            Copied::Staged(staged) => {
                let mut finished = self.finished(step, entry, Some(Change::Copy));
                prove(&mut finished.row, proof);
                self.join(&mut finished, staged)?;
                Ok(finished)
            }
        }
    }

    /// Hashes what is in doubt, and copies where it isn't what it should be.
    fn check(
        &mut self,
        step: &Step,
        source: bool,
        target: bool,
        expected: Option<Digest>,
    ) -> Result<Finished, EntryError> {
        let context = self.context;
        let mut existing = step.target.clone();
        let target_digest = match &step.target {
            Some(listed) if target => {
                let (hashed, (digest, _)) = self.hash(&*context.target, Side::Target, listed)?;
                existing = Some(hashed);
                Some(digest)
            }
            _ => expected,
        };
        if expected.is_some() && target_digest != expected {
            // The target's copy is not the one recorded.
            return self.copy_after_check(step);
        }
        if !source {
            let racy = step.row.as_ref().is_some_and(|row| row.source_racy);
            let proof = target_digest.map(|digest| (digest, racy));
            return self.update(step, step.source.clone(), existing, proof);
        }
        let (entry, (digest, racy)) = self.hash(&*context.source, Side::Source, &step.source)?;
        if Some(digest) == target_digest {
            self.update(step, entry, existing, Some((digest, racy)))
        } else {
            self.copy_after_check(step)
        }
    }

    fn copy_after_check(&mut self, step: &Step) -> Result<Finished, EntryError> {
        self.context.progress.files_planned.add(1);
        self.context.progress.bytes_planned.add(step.source.size());
        self.copy(step, None)
    }

    /// Hashes one side's content.
    fn hash(
        &mut self,
        side: &dyn Source,
        name: Side,
        entry: &Entry,
    ) -> Result<(Entry, (Digest, bool)), EntryError> {
        let context = self.context;
        let is_over = || context.is_over();
        let hashed = &context.progress.bytes_hashed;
        context.cores.hash_content(side, name, entry, &mut self.buffer, hashed, &is_over)
    }

    /// The content is right: sets the metadata where it differs, and refreshes the row.
    fn update(
        &mut self,
        step: &Step,
        entry: Entry,
        existing: Option<Entry>,
        proof: Option<(Digest, bool)>,
    ) -> Result<Finished, EntryError> {
        let wanted = self.context.target.holds(&entry.metadata, entry.kind);
        let differs = existing.as_ref().is_some_and(|existing| {
            let mode =
                if entry.kind == EntryKind::Symlink { wanted.mode } else { existing.metadata.mode };
            crate::model::Metadata { mode, ..existing.metadata } != wanted
        });
        if differs {
            self.context
                .target
                .set_metadata(&entry.key, entry.kind, &wanted)
                .map_err(|cause| on_target(Operation::SetMetadata, &entry.key, cause))?;
        }
        let mut finished = self.finished(step, entry, differs.then_some(Change::UpdateMetadata));
        finished.stands = existing.filter(|_| !differs).map(|existing| existing.stamp);
        match (&step.row, proof) {
            (_, Some(_)) => prove(&mut finished.row, proof),
            (Some(row), None) => {
                finished.row.digest = row.digest;
                finished.row.origin = row.origin;
                finished.row.source_racy = row.source_racy;
                finished.row.run = row.run;
                finished.row.verified_at = row.verified_at;
            }
            (None, None) if finished.row.kind == EntryKind::File => {
                self.context.progress.files_adopted.add(1);
            }
            (None, None) => {}
        }
        Ok(finished)
    }

    /// Makes a file part of the directory that is being built; another one waits to be put in place.
    fn join(&self, finished: &mut Finished, mut staged: Box<dyn Staged>) -> Result<(), EntryError> {
        if self.building.is_none() {
            finished.staged = Some(staged);
            return Ok(());
        }
        let key = &finished.row.key;
        let refused =
            staged.publish().map_err(|cause| on_target(Operation::Publish, key, cause))?;
        self.made(finished, staged.written(), refused);
        Ok(())
    }

    /// Takes note of what was made in the directory that is being built.
    fn made(&self, finished: &mut Finished, written: Written, refused: Option<Cause>) {
        let Finished { row, stands, told, .. } = finished;
        let lost = || not_kept(&written.metadata, &row.metadata, row.kind).map(Cause::NotKept);
        if let Some(cause) = refused.or_else(lost) {
            self.context.fail(on_target(Operation::SetMetadata, &row.key, cause));
            *told = true;
        }
        *stands = Some(written.stamp);
    }

    fn link(&mut self, step: &Step) -> Result<Finished, EntryError> {
        let (entry, context) = (&step.source, self.context);
        let made = match &self.building {
            Some(directory) => directory.make_link(entry).map(Some),
            None => context.target.make_link(entry, step.place).map(|()| None),
        };
        let written = made.map_err(|cause| on_target(Operation::MakeLink, &entry.key, cause))?;
        let mut finished = self.finished(step, entry.clone(), Some(Change::MakeLink));
        finished.row.origin = Origin::Proven;
        if let Some(written) = written {
            self.made(&mut finished, written, None);
        }
        Ok(finished)
    }

    fn finished(&self, step: &Step, entry: Entry, change: Option<Change>) -> Finished {
        let wanted = self.context.target.holds(&entry.metadata, entry.kind);
        Finished {
            row: Row {
                kind: entry.kind,
                digest: None,
                origin: Origin::Adopted,
                source: entry.stamp,
                source_racy: entry.stamp.is_racy(self.context.began),
                target: entry.stamp,
                metadata: wanted,
                link: entry.link,
                run: self.context.run,
                verified_at: None,
                key: entry.key,
            },
            staged: None,
            change,
            reason: step.reason,
            stands: None,
            told: false,
        }
    }
}

/// Both sides are known to have this content.
fn prove(row: &mut Row, proof: Option<(Digest, bool)>) {
    if let Some((digest, racy)) = proof {
        row.digest = Some(digest);
        row.source_racy = racy;
        row.origin = Origin::Proven;
    }
}

fn show(context: &Context<'_>, slot: usize, at: Option<(&Entry, u64)>) {
    let mut slots = context.progress.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
    if slots.len() <= slot {
        slots.resize(slot + 1, None);
    }
    slots[slot] =
        at.map(|(entry, done)| InFlight { key: entry.key.clone(), size: entry.stamp.size, done });
}
