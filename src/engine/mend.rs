//! Repair of one leaf: it is restored as it was recorded.
//!
//! The step's entry is the recorded one. Content comes from the source, and is used only if it has
//! the recorded digest.

use super::attempt::{Attempt, Copied};
use super::batch::{CompletedStep, Record};
use super::copy::{Worker, prove};
use super::hash::{ReadSide, with_retries};
use super::{Context, now};
use crate::backend::{Inspected, Intended, Source};
use crate::model::{
    Action, Cause, Digest, Entry, EntryError, EntryKind, Feature, Features, Key, Metadata,
    Operation,
};
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
        let mut mended = as_recorded(&found, &entry);
        if let Some(read) = done.read_entry {
            mended.metadata = read.metadata;
        }
        let mut finished = self.finished(step, mended, Some(Action::Mend));
        self.report_not_given(&mut finished, right, done.lost);
        finished.row.set_apart(done.apart);
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

    /// Sets the metadata of a leaf back to the recorded one, and its attributes.
    pub(super) fn mend_metadata(
        &mut self,
        step: &Step,
        is_proven: bool,
    ) -> Result<CompletedStep, EntryError> {
        let existing = step.target.as_ref();
        let target = &self.context.target;
        if target.capabilities().hard_links && existing.and_then(Entry::group).is_some() {
            // What is set would be set of its other names, too, and they may be anybody's.
            return match step.source.kind {
                EntryKind::File => self.mend(step),
                EntryKind::Symlink => self.link(step, step.source.clone()),
                _ => self.special(step, step.source.clone()),
            };
        }
        let mut right = step.source.clone();
        let mut kept = self.context.mended(&mut right, || self.offered_attributes(step));
        let existing = existing.map(|existing| &existing.metadata);
        let wanted = target.achievable_metadata(&right.metadata, right.kind, existing);
        let intended = Intended { attributes: kept.attributes.as_deref(), ..(&wanted).into() };
        let set = target
            .set_metadata(&right.key, right.kind, &intended, step.precondition)
            .map_err(|cause| EntryError::on_target(Operation::SetMetadata, &right.key, cause))?;
        kept.lose(self.context, set.lost, &mut right);
        let digest = right.recorded;
        let mode = right.metadata.mode;
        let mut finished = self.finished(step, right, Some(Action::UpdateMetadata));
        self.report_not_given(&mut finished, &step.source, kept.lost);
        finished.row.set_apart(kept.apart);
        finished.row.metadata = Metadata { mode, ..wanted };
        finished.row.digest = digest;
        finished.target_stamp = set.stamp;
        if step.source.kind == EntryKind::File && !is_proven {
            // The target's stamp would vouch for content that was not read.
            finished.record = Record::Nothing;
        }
        Ok(finished)
    }

    /// Records that an entry got its recorded attributes, or reports that it could not.
    fn report_not_given(&self, finished: &mut CompletedStep, right: &Entry, lost: Features) {
        let told = right.extras.as_ref().map(|extras| extras.told);
        finished.row.looked = told.unwrap_or_default();
        finished.lost = lost;
        if lost.has(Feature::UnreadAttributes) {
            self.context.fail(attributes_not_given(&finished.row.key));
            finished.failure_reported = true;
        }
    }

    /// Returns the attributes that an entry of the target still has, or the source's.
    fn offered_attributes(&self, step: &Step) -> Result<Inspected, Cause> {
        let Context { source, target, .. } = self.context;
        let recorded = step.source.extras.as_deref();
        let is_right = |found: &Inspected| {
            recorded.is_some_and(|recorded| {
                found.attributes.clone().only(recorded.told).digest() == recorded.attributes
            })
        };
        if target.capabilities().inspects
            && let Some(existing) = &step.target
            && let Ok(found) = target.inspect(existing)
            && is_right(&found)
        {
            return Ok(found);
        }
        let found = source.look(&step.source.key)?.ok_or(Cause::Vanished)?;
        source.inspect(&found)
    }
}

/// Returns the error for recorded attributes that neither side has any more.
pub(super) fn attributes_not_given(key: &Key) -> EntryError {
    let what = "its extended attributes and ACL, which neither side has any more";
    EntryError::on_target(Operation::SetMetadata, key, Cause::NotKept(what.to_owned()))
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
    Ok(Entry { metadata, recorded: Some(expected), extras: right.extras.clone(), ..found })
}

/// Returns the source's file as found, with the recorded metadata and digest.
fn as_recorded(found: &Entry, right: &Entry) -> Entry {
    let (metadata, recorded, extras) = (right.metadata, right.recorded, right.extras.clone());
    Entry { metadata, recorded, extras, ..found.clone() }
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
