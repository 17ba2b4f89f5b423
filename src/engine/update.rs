//! Workers: existing entries of the target are recorded as they are, or get other metadata.

use super::Purpose;
use super::attributes::Kept;
use super::batch::{CompletedStep, Record};
use super::copy::{Worker, prove};
use super::hash::Hashed;
use crate::backend::{Intended, MetadataSet};
use crate::manifest::{PendingRow, Row};
use crate::model::entry::Completeness;
use crate::model::stamp::StampMatch;
use crate::model::{
    Action, Apart, Attributes, AttributesDigest, Cause, Entry, EntryError, EntryKind, Feature,
    Metadata, Operation,
};
use crate::plan::Step;
use std::io::ErrorKind::NotFound;

/// A source's entry with the mode that its copy gets.
pub(super) struct InspectedEntry {
    pub(super) entry: Entry,
    /// What the copy gets and lacks.
    pub(super) kept: Kept,
}

impl Worker<'_, '_> {
    /// Takes the target's entry as it is, and records it. Its attributes are set if they differ, and
    /// its mode if it is wider than the source's ACL grants, which a listing doesn't show.
    pub(super) fn adopt(&mut self, step: &Step) -> Result<CompletedStep, EntryError> {
        let inspected = self.inspected(step.source.clone(), step.target.as_ref())?;
        let is_narrowed = inspected.entry.metadata.mode != step.source.metadata.mode;
        let wanted = inspected.kept.attributes.as_deref();
        let differ = wanted.map(|wanted| self.have_others(step.target.as_ref(), wanted));
        if is_narrowed || differ.transpose()? == Some(true) {
            return self.update_inspected(step, inspected, step.target.clone(), None);
        }
        let InspectedEntry { entry: source, kept } = inspected;
        let source = with_existing_metadata(source, step.target.as_ref());
        let mut finished = self.finished(step, source, Some(Action::Adopt));
        finished.lost = kept.lost;
        finished.row.set_apart(kept.apart);
        if let Some(existing) = &step.target {
            finished.target_stamp = Some(existing.stamp);
            let PendingRow { metadata, kind, .. } = &finished.row;
            let existing_metadata = Some(&existing.metadata);
            let achievable =
                self.context.target.achievable_metadata(metadata, *kind, existing_metadata);
            finished.row.set_given(achievable);
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
        let inspected = self.inspected(entry, existing.as_ref())?;
        self.update_inspected(step, inspected, existing, proof)
    }

    fn update_inspected(
        &mut self,
        step: &Step,
        InspectedEntry { entry, mut kept }: InspectedEntry,
        existing: Option<Entry>,
        proof: Option<Hashed>,
    ) -> Result<CompletedStep, EntryError> {
        let mut entry = with_existing_metadata(entry, existing.as_ref());
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
        let attributes = kept
            .attributes
            .clone()
            .filter(|wanted| self.may_have_others(step, existing.as_ref(), wanted));
        let is_shared = existing.as_ref().and_then(Entry::group).is_some();
        let attributes = match attributes {
            // What is set would be set of its other names, too.
            Some(wanted) if is_shared && !self.have_others(existing.as_ref(), &wanted)? => None,
            attributes => attributes,
        };
        let has_other_flags = existing.as_ref().is_some_and(|existing| {
            self.context.policy.has_other_flags(&entry, existing, step.row.as_ref())
        });
        let is_sealed = has_other_flags && self.context.seals.is_some();
        let differs = differs
            || has_other_flags && !is_sealed
            || existing
                .as_ref()
                .is_some_and(|existing| self.context.policy.has_other_access(&entry, existing));
        let (mut set, is_set) = (MetadataSet::default(), differs || attributes.is_some());
        if is_set && is_shared {
            return self.make_anew(step, entry);
        }
        if is_set {
            let intended = self.context.intended(&wanted, &entry);
            let intended = Intended { attributes: attributes.as_deref(), ..intended };
            set = self
                .context
                .target
                .set_metadata(&entry.key, entry.kind, &intended, step.precondition)
                .map_err(|cause| {
                    EntryError::on_target(Operation::SetMetadata, &entry.key, cause)
                })?;
            kept.lose(self.context, set.lost, &mut entry);
        }
        let is_changed = differs || is_sealed || set.are_attributes_changed;
        // What was changed of a protected file took its flags.
        if is_sealed || is_set && !entry.flags().is_empty() {
            self.context.seal(&entry);
        }
        let wanted =
            self.context.target.achievable_metadata(&entry.metadata, entry.kind, existing_metadata);
        let mut finished = self.finished(step, entry, is_changed.then_some(Action::UpdateMetadata));
        finished.lost = kept.lost;
        let is_given = attributes.is_some();
        let apart = if is_given { kept.apart } else { recorded_apart(step.row.as_ref(), kept) };
        finished.row.set_apart(apart);
        finished.row.set_given(wanted);
        finished.target_stamp =
            set.stamp.or(existing.filter(|_| !is_set).map(|existing| existing.stamp));
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
        let InspectedEntry { mut entry, mut kept } =
            self.inspected(step.source.clone(), step.target.as_ref())?;
        if step.target.as_ref().and_then(Entry::group).is_some() {
            return self.make_anew(step, entry);
        }
        let existing = step.target.as_ref().map(|existing| &existing.metadata);
        let wanted = self.context.target.achievable_metadata(&entry.metadata, entry.kind, existing);
        let mtime = existing.map_or(wanted.mtime, |existing| existing.mtime);
        let wanted = Metadata { mtime, ..wanted };
        let intended = Intended { attributes: kept.attributes.as_deref(), ..(&wanted).into() };
        let set = self
            .context
            .target
            .set_metadata(&entry.key, entry.kind, &intended, step.precondition)
            .map_err(|cause| EntryError::on_target(Operation::SetMetadata, &entry.key, cause))?;
        kept.lose(self.context, set.lost, &mut entry);
        let mode = entry.metadata.mode;
        let mut finished = self.finished(step, entry, Some(Action::UpdateMetadata));
        finished.row.metadata =
            if set.lost.has(Feature::Acl) { Metadata { mode, ..wanted } } else { wanted };
        (finished.target_stamp, finished.lost, finished.record) =
            (set.stamp, kept.lost, Record::Nothing);
        Ok(finished)
    }

    /// Makes an entry anew whose file in the target has other names: what is set of it would be set
    /// of these, too, and they may be anybody's.
    fn make_anew(&mut self, step: &Step, entry: Entry) -> Result<CompletedStep, EntryError> {
        match entry.kind {
            EntryKind::Symlink => return self.link(step, entry),
            EntryKind::Special(_) => return self.special(step, entry),
            EntryKind::File | EntryKind::Directory => {}
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

    /// Returns the source's entry as it is to be copied, with its attributes. If the existing copy
    /// has holes, too, these are not lost.
    pub(super) fn inspected(
        &self,
        mut entry: Entry,
        existing: Option<&Entry>,
    ) -> Result<InspectedEntry, EntryError> {
        if entry.kind == EntryKind::Directory {
            return Ok(InspectedEntry { entry, kept: Kept::default() });
        }
        if self.context.purpose != Purpose::Mirror {
            let right = entry.clone();
            let kept = self.context.mended(&mut entry, || self.context.source.inspect(&right));
            return Ok(InspectedEntry { entry, kept });
        }
        match self.context.source.inspect(&entry) {
            Ok(inspected) => {
                let mut kept = self.context.kept(inspected, &mut entry);
                if kept.lost.has(Feature::Holes) && self.has_holes(existing) {
                    kept.lost.remove(Feature::Holes);
                }
                Ok(InspectedEntry { entry, kept })
            }
            Err(cause) => {
                let gone = matches!(&cause, Cause::Io(error) if error.kind() == NotFound);
                let cause = if gone { Cause::Vanished } else { cause };
                Err(EntryError::on_source(Operation::Read, entry.key, cause))
            }
        }
    }

    /// Returns whether the target's entry may have other attributes than those wanted: it has not
    /// if it is as it was recorded with these.
    fn may_have_others(&self, step: &Step, existing: Option<&Entry>, wanted: &Attributes) -> bool {
        let (Some(row), Some(existing)) = (&step.row, existing) else {
            return self.target_keeps()
                || existing.is_none_or(|it| digest_of(it) != wanted.digest());
        };
        let recorded = row.extras.as_ref().and_then(|extras| extras.attributes);
        if !self.target_keeps() {
            return recorded != wanted.digest();
        }
        let lacks_some = row.extras.as_ref().is_some_and(|extras| extras.apart.is_some());
        let is_recorded =
            row.looked.cover(wanted.kinds()) && recorded == wanted.digest() && !lacks_some;
        let trust = self.context.policy.options.trust;
        !is_recorded || existing.stamp.compare(&row.target, trust) != StampMatch::Same
    }

    /// Returns whether the target's entry has other attributes than those wanted.
    fn have_others(
        &self,
        existing: Option<&Entry>,
        wanted: &Attributes,
    ) -> Result<bool, EntryError> {
        let Some(existing) = existing else { return Ok(true) };
        if !self.target_keeps() {
            return Ok(digest_of(existing) != wanted.digest());
        }
        let found = self
            .context
            .target
            .inspect(existing)
            .map_err(|cause| EntryError::on_target(Operation::Read, &existing.key, cause))?;
        Ok(found.attributes.only(wanted.kinds()) != *wanted)
    }

    /// Returns whether the target's entries can have attributes themselves.
    fn target_keeps(&self) -> bool {
        self.context.target.capabilities().keeps_attributes
    }

    /// Returns whether the target's file has holes. One that can't be looked at counts as if not.
    fn has_holes(&self, existing: Option<&Entry>) -> bool {
        let found = existing.map(|existing| self.context.target.inspect(existing));
        found.is_some_and(|found| found.is_ok_and(|found| found.features.has(Feature::Holes)))
    }

    /// Counts a file that was adopted without a digest.
    fn count_unproven(&self, finished: &CompletedStep) {
        if finished.row.kind == EntryKind::File && finished.row.digest.is_none() {
            self.context.progress.adopted_without_digest.add(1);
        }
    }
}

/// Returns the digest of the attributes that are kept with an object.
fn digest_of(existing: &Entry) -> Option<AttributesDigest> {
    existing.extras.as_ref().and_then(|extras| extras.attributes)
}

/// Returns which attributes the target's entry lacks that was given none in this run.
fn recorded_apart(row: Option<&Row>, kept: Kept) -> Apart {
    let recorded = row.and_then(|row| row.extras.as_deref());
    let wanted = kept.attributes.as_ref().and_then(|wanted| wanted.digest());
    let same = recorded.filter(|extras| extras.attributes == wanted);
    if kept.apart.is_some() {
        kept.apart
    } else {
        same.map(|it| it.apart.clone()).unwrap_or_default()
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
