//! Workers: checks whether a file has to be copied, by looking it up, by a store's tag, or by
//! content.

use super::Context;
use super::batch::{CompletedStep, Record};
use super::copy::Worker;
use super::hash::{Hashed, ReadSide, Wanted};
use super::tag::Tagged;
use crate::backend::Source;
use crate::compare::{Pair, Seen};
use crate::manifest::{Origin, PendingRow};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::{
    Action, Cause, Check, Decision, Entry, EntryError, EntryKind, Features, Metadata, Operation,
    Outcome,
};
use crate::plan::Step;
use std::sync::Arc;
use std::time::Instant;

impl Worker<'_, '_> {
    /// Looks up entries that a listing described incompletely, and carries out the resulting
    /// decision; returns `None` if there is nothing to do.
    pub(super) fn look(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
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
            count_adoption_time(context, began);
        }
        let pair = Pair {
            key: source.key.clone(),
            source: Seen::Present(source.clone()),
            target: target.clone().map_or(Seen::Absent, Seen::Present),
            row: step.row.clone(),
            conflict: None,
        };
        let achievable = |metadata: &Metadata, kind: EntryKind, existing: Option<&Metadata>| {
            context.target.achievable_metadata(metadata, kind, existing)
        };
        let decided = context.policy.decide(&pair, achievable);
        let Decision { action, reason } =
            decided.map_err(|cause| EntryError::on_target(Operation::Mirror, &pair.key, cause))?;
        let action = match action {
            Action::Skip => {
                let is_unrecorded = pair.row.is_none() && pair.target.entry().is_some();
                context.progress.kept_unrecorded.add(u64::from(is_unrecorded));
                let kind = pair.source.entry().map(|entry| entry.kind);
                context.progress.skip(kind);
                context.report(|| Outcome::new(&pair.key, kind, action, reason));
                return Ok(None);
            }
            Action::Keep => Action::Record,
            // It has just been looked up.
            Action::Look => Action::Copy { unless: None },
            action => action,
        };
        let target = target.filter(|target| target.kind == source.kind);
        let (row, precondition) = (pair.row, step.precondition);
        let decision = Decision::new(action, reason);
        self.step(&Step { decision, source, target, row, precondition })
    }

    /// Takes the target's file as it is if the hash of one side's content equals the other side's
    /// tag.
    pub(super) fn compare_tag(
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
        let began = Instant::now();
        let (entry, hashed) = self.hash(side, entry, Some(&tagged))?;
        context.progress.adoption_bytes.add(entry.stamp.size);
        count_adoption_time(context, began);
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
        // The other side's content was not read: only its store's tag describes it.
        finished.row.origin = Origin::Adopted;
        finished.done.get_or_insert(Decision::new(Action::Adopt, step.decision.reason));
        Ok(Some(finished))
    }

    /// Hashes the content in question, and copies the file if the digests differ.
    pub(super) fn check(
        &mut self,
        step: &Step,
        check: Check,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let context = self.context;
        let expected = check.expected();
        let (mut existing, mut of_target) = (step.target.clone(), None);
        if let Some(listed) = step.target.as_ref().filter(|_| check.reads_target()) {
            let (entry, hashed) = self.hash(ReadSide::target(&*context.target), listed, None)?;
            (existing, of_target) = (Some(entry), Some(hashed));
        }
        let target_digest = of_target.map(|hashed| hashed.digest).or(expected);
        if expected.is_some() && target_digest != expected {
            // The target's file isn't the recorded one.
            return self.copy_after_check(step);
        }
        if !check.reads_source() {
            // The source wasn't read, so the row keeps what it says about it.
            return self.update(step, step.source.clone(), existing, None).map(Some);
        }
        let (entry, hashed) = self.hash_source(step)?;
        if Some(hashed.digest) == target_digest {
            self.update(step, entry, existing, Some(hashed)).map(Some)
        } else {
            self.copy_after_check(step)
        }
    }

    /// Adds missing digests to the row of a file that only the target has, if its content is the
    /// recorded one.
    pub(super) fn hash_surplus(
        &mut self,
        step: &Step,
    ) -> Result<Option<CompletedStep>, EntryError> {
        let Some(row) = &step.row else { return Ok(None) };
        let target = Arc::clone(&self.context.target);
        let (entry, hashed) = self.hash(ReadSide::target(&*target), &step.source, None)?;
        let found = hashed.digest;
        if let Some(recorded) = row.digest.filter(|recorded| *recorded != found) {
            let cause = Cause::OtherDigest { recorded, found };
            return Err(EntryError::on_target(Operation::Verify, &entry.key, cause));
        }
        // Without a BLAKE3 in the row, its other digests may be of other content.
        let same = row.digest.map(|_| row.extra).unwrap_or_default();
        let (digest, extra) = (Some(found), hashed.extra.or(same));
        let row = PendingRow { digest, extra, ..PendingRow::from(row.clone()) };
        Ok(Some(CompletedStep {
            row,
            staged: None,
            done: Some(step.decision),
            target_stamp: Some(entry.stamp),
            failure_reported: false,
            lost: Features::default(),
            record: Record::Row,
        }))
    }

    fn copy_after_check(&mut self, step: &Step) -> Result<Option<CompletedStep>, EntryError> {
        self.context.progress.plan_copy(&step.source);
        self.copy(step, None)
    }

    /// Hashes the source's content. Content that changed without its stamp is read once more and
    /// then reported as damaged.
    pub(super) fn hash_source(&mut self, step: &Step) -> Result<(Entry, Hashed), EntryError> {
        let context = self.context;
        let mut is_silent = false;
        loop {
            let side = ReadSide::source(&*context.source);
            let (entry, hashed) = self.hash(side, &step.source, None)?;
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

    /// Hashes the content of one side, and compares it with a tag if there is one.
    fn hash(
        &mut self,
        side: ReadSide<'_>,
        entry: &Entry,
        tagged: Option<&Tagged>,
    ) -> Result<(Entry, Hashed), EntryError> {
        let context = self.context;
        let pass = |_| if context.breaks_off() { Err(Cause::Stopped) } else { Ok(()) };
        let bytes = &context.progress.bytes_hashed;
        let buffer = &mut self.buffer;
        let wanted = Wanted { tagged, extra: context.policy.options.digests };
        context.cores.hash_content(side, entry, buffer, bytes, &pass, wanted)
    }
}

/// Returns whether the target has the step's file, but no run recorded it.
fn is_first_contact(step: &Step) -> bool {
    step.row.is_none() && step.target.is_some()
}

/// Adds the time since `began` to that spent on adopting files.
fn count_adoption_time(context: &Context<'_>, began: Instant) {
    let spent = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    context.progress.adoption_worker_us.add(spent);
}

/// Looks up an entry that a listing described incompletely; returns `None` if it is gone.
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
