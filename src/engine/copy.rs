//! Workers: copy, check, link, and set metadata, a step at a time.
//!
//! A file is read once, hashed as it passes, and written under a name that nobody sees.

use super::attempt::{Attempt, Copied, Done};
use super::batch::{Batch, CompletedStep, FinishedDirectory, Record};
use super::commit::not_kept;
use super::hash::{Hashed, ReadSide, Wanted, with_retries};
use super::tag::Tagged;
use super::{Context, Purpose};
use crate::backend::{Inspected, Source, StageDirectory, Staged, Written};
use crate::compare::{Pair, Seen};
use crate::manifest::{Origin, PendingRow, Row};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::{
    Action, Cause, Check, Decision, Digest, Entry, EntryError, EntryKind, Features, Metadata,
    Operation, Outcome, Reason,
};
use crate::plan::Step;
use std::io::ErrorKind::NotFound;
use std::sync::Arc;
use std::time::Instant;

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

/// A source's entry as it is to be copied.
struct InspectedEntry {
    entry: Entry,
    /// What it has that its copy hasn't.
    lost: Features,
}

/// What came of the bytes that a planned copy was to move.
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
    /// The directory that is being built.
    pub(super) building: Option<Box<dyn StageDirectory>>,
}

impl<'c, 'a> Worker<'c, 'a> {
    pub(super) fn new(context: &'c Context<'a>, slot: usize) -> Self {
        Self { context, slot, buffer: vec![0; context.buffer], building: None }
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
                    Ok(Some(finished)) => done.add(finished),
                    Ok(None) => {}
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
            if context.is_over() {
                break;
            }
            match self.step(member) {
                Ok(made) => finished.extend(made),
                Err(error) => context.fail(error),
            }
        }
        let building = self.building.take().filter(|_| !context.is_over())?;
        match building.finish() {
            Ok(staged) => {
                let (key, reason) = (key.clone(), step.decision.reason);
                Some(FinishedDirectory { key, reason, staged, members: finished })
            }
            Err(cause) => {
                // What failed by itself was told.
                let untold = finished.iter().filter(|made| !made.told);
                context.fail_directory(key, cause, untold.map(|made| &made.row.key));
                None
            }
        }
    }

    /// Does one step; `None` where there turned out to be nothing to do or to record.
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
            Action::Mend => self.mend(step),
            Action::MendMetadata { is_proven } => self.mend_metadata(step, is_proven),
            // The dispatcher makes directories, and no other action is a step's.
            Action::MakeDirectory
            | Action::KeepDirectory
            | Action::Keep
            | Action::Skip
            | Action::Delete
            | Action::RemoveSetAside
            | Action::Sweep
            | Action::Forget
            | Action::AfterDeletion => Err(EntryError::on_target(
                Operation::MakeDirectory,
                &step.source.key,
                Cause::NoParent,
            )),
        }
        .map(Some)
    }

    /// Copies a file; `None` where it turned out to be a link that the target can't have.
    fn copy(
        &mut self,
        step: &Step,
        unless: Option<Digest>,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let copied = self.copy_content(step, unless);
        let bytes = if matches!(copied, Ok(Some(_))) { Bytes::Moved } else { Bytes::NotMoved };
        self.settle(step, bytes);
        copied
    }

    /// Takes note that a planned copy is over.
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
            // Sending it costs more than reading it twice.
            return self.check(step, Check::Source { expected });
        }
        let (slot, precondition, building) =
            (self.slot, step.precondition, self.building.as_deref());
        let row = step.row.as_ref();
        let attempt = Attempt { context, slot, building, precondition, row, unless };
        let buffer = &mut self.buffer;
        let copied = with_retries(ReadSide::source(&*context.source), &step.source, |entry| {
            attempt.run(entry, buffer)
        });
        let (entry, Done { copied, hashed, told, lost }) = copied?;
        let entry = told.unwrap_or(entry);
        match copied {
            Copied::Same => self.update(step, entry, step.target.clone(), Some(hashed)).map(Some),
            Copied::Link if context.policy.has_links => self.link(step, entry).map(Some),
            Copied::Link => {
                context.target.count_loss(&entry);
                context.progress.skip(Some(entry.kind));
                let kind = Some(entry.kind);
                context.tell(|| Outcome::new(&entry.key, kind, Action::Skip, Reason::NoLinks));
                Ok(None)
            }
            Copied::Staged(staged) => {
                let mut finished = self.finished(step, entry, Some(Action::Copy { unless: None }));
                finished.lost = lost;
                prove(&mut finished.row, hashed, row);
                self.join(&mut finished, staged)?;
                Ok(Some(finished))
            }
        }
    }

    /// Has the store copy it: nothing is read, so that its digest is the recorded one, or none. `None`
    /// where the store doesn't copy it.
    fn copy_server_side(&self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let (entry, target_stamp) =
            with_retries(ReadSide::source(&*context.source), &step.source, |entry| {
                context.target.copy_server_side(&*context.source, entry, step.precondition)
            })?;
        let Some(target_stamp) = target_stamp else { return Ok(None) };
        context.progress.settled.bytes_unmoved.add(step.source.size());
        let is_of_it = |row: &&Row| row.from == context.policy.from && row.source == entry.stamp;
        let recorded = step.row.as_ref().filter(is_of_it);
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

    /// Looks at what was only listed, and does what is decided then; `None` where that is nothing.
    fn look(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let began = Instant::now();
        let source = look_closer(&*context.source, Side::Source, &step.source)?;
        let Some(source) = source else {
            let key = &step.source.key;
            return Err(EntryError::on_source(Operation::Read, key, Cause::Vanished));
        };
        let target = match &step.target {
            Some(listed) => look_closer(&*context.target, Side::Target, listed)?,
            None => None,
        };
        if is_first_contact(step) {
            context.progress.adoption_files.add(1);
            took(context, began);
        }
        let pair = Pair {
            key: source.key.clone(),
            source: Seen::Present(source.clone()),
            target: target.clone().map_or(Seen::Absent, Seen::Present),
            row: step.row.clone(),
            conflict: None,
        };
        let holds = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            context.target.achievable_metadata(metadata, kind, existing)
        };
        let decided = context.policy.decide(&pair, holds);
        let Decision { action, reason } =
            decided.map_err(|cause| EntryError::on_target(Operation::Mirror, &pair.key, cause))?;
        let action = match action {
            Action::Skip => {
                let is_unrecorded = pair.row.is_none() && pair.target.entry().is_some();
                context.progress.kept_unrecorded.add(u64::from(is_unrecorded));
                let kind = pair.source.entry().map(|entry| entry.kind);
                context.progress.skip(kind);
                context.tell(|| Outcome::new(&pair.key, kind, action, reason));
                return Ok(None);
            }
            Action::Keep => Action::Record,
            // It was looked at: looking again tells no more.
            Action::Look => Action::Copy { unless: None },
            action => action,
        };
        let target = target.filter(|target| target.kind == source.kind);
        let (row, precondition) = (pair.row, step.precondition);
        let decision = Decision::new(action, reason);
        self.step(&Step { decision, source, target, row, precondition })
    }

    /// Takes the target's copy as it is where one side's content has the hash that is the other
    /// side's tag.
    fn compare_tag(
        &mut self,
        step: &Step,
        read: Side,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let Some(existing) = &step.target else { return self.copy_after_check(step) };
        let (source, target): (&dyn Source, &dyn Source) = (&*context.source, &*context.target);
        let ((side, entry), (store, other)) = match read {
            Side::Source => ((ReadSide::source(source), &step.source), (target, existing)),
            Side::Target => ((ReadSide::target(target), existing), (source, &step.source)),
        };
        let hash = other.stamp.tag().and_then(|tag| tag.hash());
        let tagged =
            hash.and_then(|hash| Tagged::new(hash, other.stamp.size, || store.first_part(other)));
        let Some(tagged) = tagged else { return self.copy_after_check(step) };
        let pass = |_| if context.is_over() { Err(Cause::Stopped) } else { Ok(()) };
        let bytes = &context.progress.bytes_hashed;
        let buffer = &mut self.buffer;
        let extra = context.policy.options.digests;
        let wanted = Wanted { tagged: Some(&tagged), extra };
        let began = Instant::now();
        let (entry, hashed) =
            context.cores.hash_content(side, entry, buffer, bytes, &pass, wanted)?;
        context.progress.adoption_bytes.add(entry.stamp.size);
        took(context, began);
        if !hashed.is_tagged {
            return self.copy_after_check(step);
        }
        let (source, existing) = match read {
            Side::Source => (entry, existing.clone()),
            Side::Target => (step.source.clone(), entry),
        };
        let racy = read == Side::Source && hashed.racy;
        let found = Hashed { racy, ..hashed };
        let mut finished = self.update(step, source, Some(existing), Some(found))?;
        // The other side's content was never read: its store vouches for it.
        finished.row.origin = Origin::Adopted;
        finished.done.get_or_insert(Decision::new(Action::Adopt, step.decision.reason));
        Ok(Some(finished))
    }

    /// Hashes what is in doubt, and copies where it isn't what it should be.
    fn check(&mut self, step: &Step, check: Check) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let expected = check.expected();
        let (mut existing, mut of_target) = (step.target.clone(), None);
        if let Some(listed) = step.target.as_ref().filter(|_| check.reads_target()) {
            let (entry, hashed) = self.hash(ReadSide::target(&*context.target), listed)?;
            (existing, of_target) = (Some(entry), Some(hashed));
        }
        let target_digest = of_target.map(|hashed| hashed.digest).or(expected);
        if expected.is_some() && target_digest != expected {
            // The target's copy is not the one recorded.
            return self.copy_after_check(step);
        }
        if !check.reads_source() {
            // What the source has was not read: of it no more is known than before.
            return self.update(step, step.source.clone(), existing, None).map(Some);
        }
        let (entry, hashed) = self.hash_source(step)?;
        if Some(hashed.digest) == target_digest {
            self.update(step, entry, existing, Some(hashed)).map(Some)
        } else {
            self.copy_after_check(step)
        }
    }

    /// Adds the digests that are missing to the row of a file which the source lacks, if the file is
    /// the one recorded.
    fn hash_surplus(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        let Some(row) = &step.row else { return Ok(None) };
        let target = Arc::clone(&self.context.target);
        let (entry, hashed) = self.hash(ReadSide::target(&*target), &step.source)?;
        let found = hashed.digest;
        if let Some(recorded) = row.digest.filter(|recorded| *recorded != found) {
            let cause = Cause::OtherDigest { recorded, found };
            return Err(EntryError::on_target(Operation::Verify, &entry.key, cause));
        }
        // What is recorded beside no BLAKE3 may be of other content.
        let same = row.digest.map(|_| row.extra).unwrap_or_default();
        let (digest, extra) = (Some(found), hashed.extra.or(same));
        let row = PendingRow { digest, extra, ..PendingRow::from(row.clone()) };
        Ok(Some(CompletedStep {
            row,
            staged: None,
            done: Some(step.decision),
            target_stamp: Some(entry.stamp),
            told: false,
            lost: Features::default(),
            record: Record::Row,
        }))
    }

    fn copy_after_check(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        self.context.progress.plan_copy(&step.source);
        self.copy(step, None)
    }

    /// Hashes the source's content; what changed in silence is read once more, and then named.
    fn hash_source(&mut self, step: &Step) -> Result<(Entry, Hashed), EntryError> {
        let context = self.context;
        let mut is_silent = false;
        loop {
            let (entry, hashed) = self.hash(ReadSide::source(&*context.source), &step.source)?;
            let row = step.row.as_ref();
            let found = hashed.digest;
            let silent = row.and_then(|row| context.policy.silent_change(row, &entry, found));
            match silent {
                Some(cause) if std::mem::replace(&mut is_silent, true) => {
                    return Err(EntryError::on_source(Operation::Read, entry.key, cause));
                }
                Some(_) => {}
                None => return Ok((entry, hashed)),
            }
        }
    }

    /// Hashes one side's content.
    fn hash(&mut self, side: ReadSide<'_>, entry: &Entry) -> Result<(Entry, Hashed), EntryError> {
        let context = self.context;
        let pass = |_| if context.is_over() { Err(Cause::Stopped) } else { Ok(()) };
        let bytes = &context.progress.bytes_hashed;
        let buffer = &mut self.buffer;
        let wanted = Wanted { tagged: None, extra: context.policy.options.digests };
        context.cores.hash_content(side, entry, buffer, bytes, &pass, wanted)
    }

    /// Takes the target's copy as it is, and records it; where its mode is a wider one than the
    /// source's ACL grants, which a listing doesn't show, that is set.
    fn adopt(&self, step: &Step) -> Result<CompletedStep, EntryError> {
        let inspected = self.inspected(step.source.clone())?;
        if inspected.entry.metadata.mode != step.source.metadata.mode {
            return self.update_inspected(step, inspected, step.target.clone(), None);
        }
        let InspectedEntry { entry: source, lost } = inspected;
        let source = as_it_stands(source, step.target.as_ref());
        let mut finished = self.finished(step, source, Some(Action::Adopt));
        finished.lost = lost;
        if let Some(existing) = &step.target {
            finished.target_stamp = Some(existing.stamp);
            let PendingRow { metadata, kind, .. } = &finished.row;
            let stood = Some(&existing.metadata);
            finished.row.metadata = self.context.target.achievable_metadata(metadata, *kind, stood);
            // What was kept with it when it was written.
            finished.row.digest = existing.recorded;
        }
        if let Some(row) = &step.row {
            self.know_by_digest(&mut finished.row, row);
        }
        self.count_unproven(&finished);
        Ok(finished)
    }

    /// The content is right: sets the metadata where it differs, and refreshes the row.
    fn update(
        &self,
        step: &Step,
        entry: Entry,
        existing: Option<Entry>,
        proof: Option<Hashed>,
    ) -> Result<CompletedStep, EntryError> {
        let inspected = self.inspected(entry)?;
        self.update_inspected(step, inspected, existing, proof)
    }

    fn update_inspected(
        &self,
        step: &Step,
        InspectedEntry { entry, lost }: InspectedEntry,
        existing: Option<Entry>,
        proof: Option<Hashed>,
    ) -> Result<CompletedStep, EntryError> {
        let entry = as_it_stands(entry, existing.as_ref());
        let stood = existing.as_ref().map(|existing| &existing.metadata);
        let wanted = self.context.target.achievable_metadata(&entry.metadata, entry.kind, stood);
        let differs = existing.as_ref().is_some_and(|existing| {
            if existing.completeness == Completeness::NoStoredMetadata {
                return false;
            }
            let mode =
                if entry.kind == EntryKind::Symlink { wanted.mode } else { existing.metadata.mode };
            crate::model::Metadata { mode, ..existing.metadata } != wanted
        });
        let mut target_stamp = None;
        if differs {
            target_stamp = self
                .context
                .target
                .set_metadata(&entry.key, entry.kind, &wanted, step.precondition)
                .map_err(|cause| {
                    EntryError::on_target(Operation::SetMetadata, &entry.key, cause)
                })?;
        }
        let mut finished = self.finished(step, entry, differs.then_some(Action::UpdateMetadata));
        finished.lost = lost;
        finished.row.metadata = wanted;
        finished.target_stamp =
            target_stamp.or(existing.filter(|_| !differs).map(|existing| existing.stamp));
        match (&step.row, proof) {
            (row, Some(hashed)) => {
                let same = row.as_ref().filter(|row| row.digest == Some(hashed.digest));
                // The target's copy is the one that was verified.
                finished.row.verified_at = same.and_then(|row| row.verified_at);
                prove(&mut finished.row, hashed, row.as_ref());
            }
            (Some(row), None) if !row.knows_source(self.context.policy.from) => {
                self.know_by_digest(&mut finished.row, row);
                self.count_unproven(&finished);
            }
            (Some(row), None) => {
                finished.row.digest = row.digest;
                finished.row.extra = row.extra;
                finished.row.origin = row.origin;
                finished.row.source_racy = row.source_racy;
                finished.row.run = row.run;
                finished.row.verified_at = row.verified_at;
            }
            (None, None) if finished.row.kind == EntryKind::File => {
                self.context.progress.files_adopted.add(1);
                self.count_unproven(&finished);
            }
            (None, None) => {}
        }
        Ok(finished)
    }

    /// Sets mode, owner and group of what has the source's size: nothing is known of its content, and no
    /// more is recorded of it than before.
    fn update_rights(&self, step: &Step) -> Result<CompletedStep, EntryError> {
        let InspectedEntry { entry, lost } = self.inspected(step.source.clone())?;
        let stood = step.target.as_ref().map(|existing| &existing.metadata);
        let wanted = self.context.target.achievable_metadata(&entry.metadata, entry.kind, stood);
        let mtime = stood.map_or(wanted.mtime, |stood| stood.mtime);
        let wanted = Metadata { mtime, ..wanted };
        let target_stamp = self
            .context
            .target
            .set_metadata(&entry.key, entry.kind, &wanted, step.precondition)
            .map_err(|cause| EntryError::on_target(Operation::SetMetadata, &entry.key, cause))?;
        let mut finished = self.finished(step, entry, Some(Action::UpdateMetadata));
        finished.row.metadata = wanted;
        (finished.target_stamp, finished.lost, finished.record) =
            (target_stamp, lost, Record::Nothing);
        Ok(finished)
    }

    /// The target's copy is the one that a row from another source tells of, which vouches for its
    /// digest, and for nothing of the source.
    fn know_by_digest(&self, known: &mut PendingRow, row: &Row) {
        if known.kind != EntryKind::File {
            known.origin = row.origin;
        } else if row.digest.is_some() {
            (known.digest, known.extra, known.verified_at) =
                (row.digest, row.extra, row.verified_at);
            self.context.progress.known_by_digest.add(1);
        }
    }

    /// A source's entry as it is to be copied: a file's mode has no more rights for its group than its
    /// ACL grants that.
    fn inspected(&self, mut entry: Entry) -> Result<InspectedEntry, EntryError> {
        if entry.kind != EntryKind::File || self.context.purpose != Purpose::Mirror {
            return Ok(InspectedEntry { entry, lost: Features::default() });
        }
        match self.context.source.inspect(&entry) {
            Ok(Inspected { features, mode }) => {
                entry.metadata.mode = mode;
                Ok(InspectedEntry { entry, lost: features })
            }
            Err(cause) => {
                let gone = matches!(&cause, Cause::Io(error) if error.kind() == NotFound);
                let cause = if gone { Cause::Vanished } else { cause };
                Err(EntryError::on_source(Operation::Read, entry.key, cause))
            }
        }
    }

    /// Counts a file that was adopted without a digest.
    fn count_unproven(&self, finished: &CompletedStep) {
        if finished.row.kind == EntryKind::File && finished.row.digest.is_none() {
            self.context.progress.adopted_without_digest.add(1);
        }
    }

    /// Makes a file part of the directory that is being built; another one waits to be put in place.
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

    /// Takes note of what was made in the directory that is being built.
    fn made(&self, finished: &mut CompletedStep, written: Written, refused: Option<Cause>) {
        let CompletedStep { row, target_stamp, told, .. } = finished;
        row.metadata = self.context.target.achievable_metadata(
            &row.metadata,
            row.kind,
            Some(&written.metadata),
        );
        let lost = || not_kept(&written.metadata, &row.metadata, row.kind).map(Cause::NotKept);
        if let Some(cause) = refused.or_else(lost) {
            self.context.fail(EntryError::on_target(Operation::SetMetadata, &row.key, cause));
            *told = true;
        }
        *target_stamp = Some(written.stamp);
    }

    fn link(&mut self, step: &Step, entry: Entry) -> Result<CompletedStep, EntryError> {
        let context = self.context;
        let (mut written, mut target_stamp) = (None, None);
        let made = match &self.building {
            Some(directory) => directory.make_link(&entry).map(|made| written = Some(made)),
            None => context
                .target
                .make_link(&entry, step.precondition)
                .map(|stamp| target_stamp = stamp),
        };
        made.map_err(|cause| EntryError::on_target(Operation::MakeLink, &entry.key, cause))?;
        let mut finished = self.finished(step, entry, Some(Action::MakeLink));
        finished.row.origin = Origin::Proven;
        finished.target_stamp = target_stamp;
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
        CompletedStep {
            row: PendingRow::of(entry, wanted, self.context.recorded_by()),
            staged: None,
            done: done.map(|action| Decision::new(action, step.decision.reason)),
            target_stamp: None,
            told: false,
            lost: Features::default(),
            record: Record::of(self.context.purpose),
        }
    }
}

/// Both sides are known to have this content. What was recorded of the same content beside its
/// BLAKE3 stays, whether this run was asked for it or not.
pub(super) fn prove(row: &mut PendingRow, hashed: Hashed, recorded: Option<&Row>) {
    let same = recorded.filter(|recorded| recorded.digest == Some(hashed.digest));
    row.digest = Some(hashed.digest);
    row.extra = hashed.extra.or(same.map(|same| same.extra).unwrap_or_default());
    row.source_racy = hashed.racy;
    row.origin = Origin::Proven;
}

/// Whether a step is about a file that stands in the target, but that no run recorded.
fn is_first_contact(step: &Step) -> bool {
    step.row.is_none() && step.target.is_some()
}

/// Counts the time since `began` as spent on what others stored.
fn took(context: &Context<'_>, began: Instant) {
    let spent = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    context.progress.adoption_worker_us.add(spent);
}

/// Of what others stored without metadata nobody says what it is like: whatever stands is right.
fn as_it_stands(mut source: Entry, existing: Option<&Entry>) -> Entry {
    if let Some(existing) =
        existing.filter(|_| source.completeness == Completeness::NoStoredMetadata)
    {
        source.metadata = existing.metadata;
    }
    source
}

/// Looks at an entry of which a listing told too little; `None` when it is gone.
fn look_closer(
    backend: &dyn Source,
    side: Side,
    listed: &Entry,
) -> Result<Option<Entry>, EntryError> {
    if listed.completeness != Completeness::ListingOnly {
        return Ok(Some(listed.clone()));
    }
    backend
        .look(&listed.key)
        .map_err(|cause| EntryError::new(Operation::List, side, &listed.key, cause))
}
