//! Repair of one leaf: it is restored as it was recorded.
//!
//! The step's entry is the recorded one. Content comes from the source, and is used only if it has
//! the recorded digest.

use super::attempt::{Attempt, Copied};
use super::batch::{CompletedStep, Record};
use super::copy::{Worker, prove};
use super::hash::{ReadSide, with_retries};
use super::now;
use crate::backend::Source;
use crate::model::{Action, Cause, Digest, Entry, EntryError, EntryKind, Operation};
use crate::plan::Step;

impl Worker<'_, '_> {
    /// Copies the recorded content of a file back from the source.
    pub(super) fn mend(&mut self, step: &Step) -> Result<CompletedStep, EntryError> {
        let context = self.context;
        let right = &step.source;
        let fail = |cause| EntryError::on_source(Operation::Read, &right.key, cause);
        let expected = right
            .recorded
            .ok_or_else(|| fail(Cause::Other("no digest of its content is recorded".to_owned())))?;
        let found = offered(&*context.source, right, expected).map_err(fail)?;
        let entry = found;
        let (slot, precondition, building) =
            (self.slot, step.precondition, self.building.as_deref());
        let attempt = Attempt {
            context,
            slot,
            building,
            precondition,
            target: None,
            row: None,
            unless: None,
        };
        let buffer = &mut self.buffer;
        // A file that changed and is read again must have the same recorded content.
        let copied = with_retries(ReadSide::source(&*context.source), &entry, |found| {
            attempt.run(&as_recorded(found, &entry), buffer)
        });
        let (found, done) = copied.map_err(|error| of_source(error, right))?;
        let Copied::Staged(staged) = done.copied else {
            return Err(fail(Cause::Changed { attempts: 1 }));
        };
        let mut finished = self.finished(step, as_recorded(&found, &entry), Some(Action::Mend));
        prove(&mut finished.row, done.hashed, None);
        finished.row.verified_at = Some(now());
        if right.stamp.is_unknown() {
            // Without a recorded size and metadata the row can't be mended: the next mirror makes
            // it.
            finished.record = Record::Nothing;
        }
        self.join(&mut finished, staged)?;
        Ok(finished)
    }

    /// Sets the metadata of a leaf back to the recorded one.
    pub(super) fn mend_metadata(
        &mut self,
        step: &Step,
        is_proven: bool,
    ) -> Result<CompletedStep, EntryError> {
        let target = &self.context.target;
        let right = &step.source;
        let existing = step.target.as_ref().map(|existing| &existing.metadata);
        let wanted = target.achievable_metadata(&right.metadata, right.kind, existing);
        let set = target
            .set_metadata(&right.key, right.kind, &(&wanted).into(), step.precondition)
            .map_err(|cause| EntryError::on_target(Operation::SetMetadata, &right.key, cause))?;
        let mut finished = self.finished(step, right.clone(), Some(Action::UpdateMetadata));
        finished.row.metadata = wanted;
        finished.row.digest = right.recorded;
        finished.target_stamp = set.stamp;
        if right.kind == EntryKind::File && !is_proven {
            // The target's stamp would vouch for content that was not read.
            finished.record = Record::Nothing;
        }
        Ok(finished)
    }
}

/// Looks up the source's file for a recorded one.
fn offered(source: &dyn Source, right: &Entry, expected: Digest) -> Result<Entry, Cause> {
    let other = |what: &str| Cause::Other(format!("the source {what}"));
    let found = source.look(&right.key)?.ok_or_else(|| other("doesn't have it"))?;
    if found.kind != EntryKind::File {
        return Err(other(&format!("has a {} there", found.kind)));
    }
    let is_seen = !right.stamp.is_unknown();
    if is_seen && found.stamp.size != right.stamp.size {
        return Err(other("has another content than was recorded (another size)"));
    }
    // If nothing of it was recorded when it was seen, the source's metadata is right.
    let mut metadata = right.metadata;
    if !is_seen {
        metadata = found.metadata;
        metadata.mode = source.inspect(&found)?.mode;
    }
    Ok(Entry { metadata, recorded: Some(expected), ..found })
}

/// Returns the source's file as found, with the recorded metadata and digest.
fn as_recorded(found: &Entry, right: &Entry) -> Entry {
    Entry { metadata: right.metadata, recorded: right.recorded, ..found.clone() }
}

/// Rewords an error so that the source's content isn't taken for the target's.
fn of_source(error: EntryError, right: &Entry) -> EntryError {
    let cause = match error.cause {
        Cause::OtherDigest { recorded, found } => Cause::Other(format!(
            "the source has another content: BLAKE3 {found}, recorded {recorded}"
        )),
        cause => cause,
    };
    EntryError { key: right.key.clone(), cause, ..error }
}
