//! Workers: existing entries of the target are recorded as they are, or get other metadata.

use super::Purpose;
use super::batch::{CompletedStep, Record};
use super::copy::{Worker, prove};
use super::hash::Hashed;
use crate::backend::Inspected;
use crate::manifest::{PendingRow, Row};
use crate::model::entry::Completeness;
use crate::model::{Action, Cause, Entry, EntryError, EntryKind, Features, Metadata, Operation};
use crate::plan::Step;
use std::io::ErrorKind::NotFound;

/// A source's entry with the mode that its copy gets.
struct InspectedEntry {
    entry: Entry,
    /// Features of the entry that the copy lacks.
    lost: Features,
}

impl Worker<'_, '_> {
    /// Takes the target's entry as it is, and records it. Its mode is set if it is wider than the
    /// source's ACL grants, which a listing doesn't show.
    pub(super) fn adopt(&mut self, step: &Step) -> Result<CompletedStep, EntryError> {
        let inspected = self.inspected(step.source.clone())?;
        if inspected.entry.metadata.mode != step.source.metadata.mode {
            return self.update_inspected(step, inspected, step.target.clone(), None);
        }
        let InspectedEntry { entry: source, lost } = inspected;
        let source = with_existing_metadata(source, step.target.as_ref());
        let mut finished = self.finished(step, source, Some(Action::Adopt));
        finished.lost = lost;
        if let Some(existing) = &step.target {
            finished.target_stamp = Some(existing.stamp);
            let PendingRow { metadata, kind, .. } = &finished.row;
            let existing_metadata = Some(&existing.metadata);
            let achievable =
                self.context.target.achievable_metadata(metadata, *kind, existing_metadata);
            finished.row.metadata = achievable;
            // The digest that was stored with it when it was written.
            finished.row.digest = existing.recorded;
        }
        if let Some(row) = &step.row {
            self.take_digest(&mut finished.row, row);
        }
        self.count_unproven(&finished);
        Ok(finished)
    }

    /// Sets the metadata where it differs and refreshes the row; the content is right.
    pub(super) fn update(
        &mut self,
        step: &Step,
        entry: Entry,
        existing: Option<Entry>,
        proof: Option<Hashed>,
    ) -> Result<CompletedStep, EntryError> {
        let inspected = self.inspected(entry)?;
        self.update_inspected(step, inspected, existing, proof)
    }

    fn update_inspected(
        &mut self,
        step: &Step,
        InspectedEntry { entry, lost }: InspectedEntry,
        existing: Option<Entry>,
        proof: Option<Hashed>,
    ) -> Result<CompletedStep, EntryError> {
        let entry = with_existing_metadata(entry, existing.as_ref());
        let existing_metadata = existing.as_ref().map(|existing| &existing.metadata);
        let wanted =
            self.context.target.achievable_metadata(&entry.metadata, entry.kind, existing_metadata);
        let differs = existing.as_ref().is_some_and(|existing| {
            if existing.completeness == Completeness::NoStoredMetadata {
                return false;
            }
            let mode =
                if entry.kind == EntryKind::Symlink { wanted.mode } else { existing.metadata.mode };
            crate::model::Metadata { mode, ..existing.metadata } != wanted
        });
        if differs && existing.as_ref().and_then(Entry::group).is_some() {
            return self.make_anew(step, entry);
        }
        let mut target_stamp = None;
        if differs {
            target_stamp = self
                .context
                .target
                .set_metadata(&entry.key, entry.kind, &(&wanted).into(), step.precondition)
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
                // The target's file still has the content that was verified.
                finished.row.verified_at = same.and_then(|row| row.verified_at);
                prove(&mut finished.row, hashed, row.as_ref());
            }
            (Some(row), None) if !row.knows_source(self.context.policy.from) => {
                self.take_digest(&mut finished.row, row);
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

    /// Sets mode, owner and group of a file that has the source's size. As its content is unknown,
    /// nothing is recorded.
    pub(super) fn update_rights(&mut self, step: &Step) -> Result<CompletedStep, EntryError> {
        let InspectedEntry { entry, lost } = self.inspected(step.source.clone())?;
        if step.target.as_ref().and_then(Entry::group).is_some() {
            return self.make_anew(step, entry);
        }
        let existing = step.target.as_ref().map(|existing| &existing.metadata);
        let wanted = self.context.target.achievable_metadata(&entry.metadata, entry.kind, existing);
        let mtime = existing.map_or(wanted.mtime, |existing| existing.mtime);
        let wanted = Metadata { mtime, ..wanted };
        let target_stamp = self
            .context
            .target
            .set_metadata(&entry.key, entry.kind, &(&wanted).into(), step.precondition)
            .map_err(|cause| EntryError::on_target(Operation::SetMetadata, &entry.key, cause))?;
        let mut finished = self.finished(step, entry, Some(Action::UpdateMetadata));
        finished.row.metadata = wanted;
        (finished.target_stamp, finished.lost, finished.record) =
            (target_stamp, lost, Record::Nothing);
        Ok(finished)
    }

    /// Makes an entry anew whose file in the target has other names: what is set of it would be set
    /// of these, too, and they may be anybody's.
    fn make_anew(&mut self, step: &Step, entry: Entry) -> Result<CompletedStep, EntryError> {
        if entry.kind == EntryKind::Symlink {
            return self.link(step, entry);
        }
        self.context.progress.plan_copy(&step.source);
        let changed = || Cause::Changed { attempts: 1 };
        let key = entry.key;
        self.copy(step, None)?.ok_or_else(|| EntryError::on_source(Operation::Read, key, changed()))
    }

    /// Takes over the digests from a row that a run from another source recorded. The row describes
    /// the target's file, but nothing of this source.
    fn take_digest(&self, pending: &mut PendingRow, row: &Row) {
        if pending.kind != EntryKind::File {
            pending.origin = row.origin;
        } else if row.digest.is_some() {
            (pending.digest, pending.extra, pending.verified_at) =
                (row.digest, row.extra, row.verified_at);
            self.context.progress.known_by_digest.add(1);
        }
    }

    /// Returns the source's entry as it is to be copied: the mode of a file grants its group no
    /// more than the file's ACL does.
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
}

/// Gives a source's entry without stored metadata that of the existing one, which then is right.
fn with_existing_metadata(mut source: Entry, existing: Option<&Entry>) -> Entry {
    if let Some(existing) =
        existing.filter(|_| source.completeness == Completeness::NoStoredMetadata)
    {
        source.metadata = existing.metadata;
    }
    source
}
