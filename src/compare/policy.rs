//! The policy: from a pair to a decision, by a pure function.
//!
//! `docs/architecture.md` describes the evidence: with a row, the stamps of both sides are compared
//! with the recorded ones; without one, the sizes and mtimes of both sides with each other.
//! Doubtful content is hashed, and unknown entries are left alone.

mod attributes;
mod links;
mod times;
mod unchanged;

use super::join::{Conflict, Pair, Seen};
use crate::filter::{Extent, Filter};
use crate::manifest::{Origin, Row, SourceNumber};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::stamp::{COARSEST_TIMES, StampFields, StampMatch};
use crate::model::{
    Action, AttributeKinds, Cause, Check, Decision, Digest, Entry, EntryKind, ExtraKinds, Metadata,
    Preserve, Reason, SpecialKind, Stamp,
};
use std::sync::Arc;
use std::time::Duration;

/// Options of the comparison.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as users know them")]
pub struct PolicyOptions {
    /// Hash the source even if its stamps are unchanged.
    pub checksum: bool,
    /// Take files of the same size for the same.
    pub size_only: bool,
    /// Skip files that are newer in the target.
    pub update: bool,
    /// Skip files that exist in the target.
    pub ignore_existing: bool,
    /// How far apart two modification times may be that count as one.
    pub modify_window: Duration,
    /// The resolution of times in the target, in nanoseconds, as it was found out; 0 if it wasn't.
    pub time_unit: u32,
    /// Skip what the target doesn't have.
    pub existing: bool,
    /// Skip symbolic links that lead out of the source.
    pub safe_links: bool,
    /// The fields of a stamp that are compared.
    pub trust: StampFields,
    /// The digests besides BLAKE3 that each file must have on record; content is read if any is
    /// missing.
    pub digests: ExtraKinds,
    /// Copy content of the source that changed without its stamp.
    pub accept_silent_changes: bool,
    /// What copies are to have, beside content and metadata.
    pub preserve: Preserve,
}

/// What becomes of entries that only the target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// They stay (no `--delete`).
    Keep,
    /// They are deleted if they take part.
    Delete,
    /// They are deleted, excluded ones too (`--delete-excluded`).
    DeleteExcluded,
}

/// What becomes of several names of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardLinks {
    /// They become names of one file in the target.
    Made,
    /// Each is copied by itself. Which are of one file is recorded, so that a restore links them.
    Recorded,
    /// Each is a file of its own.
    Separate,
}

fn decide(action: Action, reason: Reason) -> Decision {
    Decision::new(action, reason)
}

/// The rules of one run.
#[expect(clippy::struct_excessive_bools, reason = "each says another thing")]
pub struct Policy {
    /// Options of the comparison.
    pub options: PolicyOptions,
    /// The entries that take part.
    pub filter: Arc<Filter>,
    /// What becomes of entries that only the target has.
    pub surplus: Surplus,
    /// The source of this run: rows of other sources describe only the target.
    pub from: SourceNumber,
    /// Whether the target can store symbolic links.
    pub has_links: bool,
    /// Whether the target can have devices.
    pub has_devices: bool,
    /// What becomes of several names of one file.
    pub hard_links: HardLinks,
    /// Which attributes of the source's entries are looked for.
    pub looks_for: AttributeKinds,
    /// Whether a look at an entry of the source finds its attributes; else only its record tells
    /// them.
    pub inspects: bool,
    /// Whether the manifest keeps attributes that the target can't.
    pub keeps_apart: bool,
    /// Whether entries may get attributes now that earlier runs could not give them.
    pub retries_apart: bool,
}

impl Policy {
    /// Decides on one key. `achievable` returns the metadata that the target can store for that of
    /// a source's entry, given the metadata of the existing one.
    ///
    /// # Errors
    /// Why the entry can't be mirrored.
    pub fn decide(
        &self,
        pair: &Pair,
        achievable: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Result<Decision, Cause> {
        if pair.conflict == Some(Conflict::Both) {
            return Err(Cause::LeafAndDirectory);
        }
        Ok(match (&pair.source, &pair.target) {
            (Seen::Unknown, _) | (Seen::Absent, Seen::Unknown) => {
                decide(Action::Keep, Reason::Unknown)
            }
            (Seen::Present(source), target) => {
                return self.mirror(pair, source, target, achievable);
            }
            (Seen::Absent, Seen::Present(target))
                if pair.conflict == Some(Conflict::LeafBesideDirectory) =>
            {
                let options = &self.options;
                let is_kept = options.ignore_existing || options.update;
                if is_kept || self.filter.excludes_file(target) {
                    decide(Action::Keep, Reason::Exists)
                } else {
                    decide(Action::RemoveSetAside, Reason::SetAside)
                }
            }
            (Seen::Absent, Seen::Present(target)) => self.surplus(target, pair.row.as_ref()),
            (Seen::Absent, Seen::Absent) => match &pair.row {
                // Excluded entries aren't listed, unless they are to be deleted from the target.
                Some(row)
                    if self.filter.excludes_within(&row.key)
                        && self.surplus != Surplus::DeleteExcluded =>
                {
                    decide(Action::Keep, Reason::Gone)
                }
                Some(_) => decide(Action::Forget, Reason::Gone),
                None => decide(Action::Keep, Reason::Gone),
            },
        })
    }

    /// Returns whether a leaf that is one of several names of a file, in the source or in the
    /// target, may have to be linked or to come apart: not if both sides are as they were recorded.
    /// Each name that is added to a file or taken from it changes the ctime of the others.
    pub fn links_changed(&self, source: &Entry, target: Option<&Entry>, row: Option<&Row>) -> bool {
        if source.group().is_none() && target.and_then(Entry::group).is_none() {
            return false;
        }
        let is_same_group = |row: &Row| match (row.group(), source.group()) {
            (None, None) => true,
            // A manifest doesn't say how many names there were.
            (Some(before), Some(now)) => {
                before.id == now.id
                    && (before.names == now.names || before.names == 0 || now.names == 0)
            }
            _ => false,
        };
        let is_as_recorded = |row: &Row| {
            let trust = self.options.trust;
            let is_same = |found: &Entry, recorded: &Stamp| {
                found.stamp.compare(recorded, trust) == StampMatch::Same
            };
            row.knows_source(self.from)
                && is_same_group(row)
                && is_same(source, &row.source)
                && target.is_some_and(|target| is_same(target, &row.target))
        };
        !row.is_some_and(is_as_recorded)
    }

    /// Returns the cause if the source's content, read as `found`, differs from the recorded one,
    /// while its trusted stamp is unchanged: then a disk or memory is corrupt, and the earlier copy
    /// is better.
    pub fn silent_change(&self, row: &Row, source: &Entry, found: Digest) -> Option<Cause> {
        let recorded = row.digest.filter(|recorded| *recorded != found)?;
        let trust = StampFields { ignore_inode: true, ..self.options.trust };
        let is_trusted = !self.options.accept_silent_changes
            && !trust.ignore_ctime
            && !row.source_racy
            && row.from == self.from
            && row.origin == Origin::Proven
            && source.stamp.compare(&row.source, trust) == StampMatch::Same;
        is_trusted.then_some(Cause::SilentChange { recorded, found })
    }

    fn surplus(&self, target: &Entry, row: Option<&Row>) -> Decision {
        let reason = match self.surplus {
            _ if target.key.is_root() => Reason::Extra,
            Surplus::Keep => Reason::Extra,
            _ if !self.is_listed(target) => Reason::NotListed,
            Surplus::Delete if self.filter.excludes_file(target) => self.exclusion(target),
            Surplus::Delete | Surplus::DeleteExcluded => {
                return decide(Action::Delete, Reason::Extra);
            }
        };
        // Entries that stay need digests too: an export of digests lists them.
        let lacks_digest = |row: &Row| {
            (row.kind, target.kind) == (EntryKind::File, EntryKind::File)
                && row.extra.lack(self.options.digests)
                && match target.stamp.compare(&row.target, self.options.trust) {
                    StampMatch::Same => true,
                    // Its digest decides whether it still is the recorded content.
                    StampMatch::Doubtful => row.digest.is_some(),
                    StampMatch::Size | StampMatch::Mtime | StampMatch::Tag => false,
                }
        };
        if row.is_some_and(lacks_digest) {
            decide(Action::HashSurplus, Reason::Digest)
        } else {
            decide(Action::Keep, reason)
        }
    }

    /// Returns whether an entry that only the target has may be deleted as far as the list of names
    /// goes: what else is in a directory of which not everything is listed isn't known.
    fn is_listed(&self, target: &Entry) -> bool {
        self.filter.names().is_none_or(|names| match target.kind {
            EntryKind::Directory => names.extent(&target.key) == Extent::Whole,
            _ => names.covers(&target.key),
        })
    }

    /// Returns why a file is excluded that [`Filter::excludes_file`] excludes.
    fn exclusion(&self, file: &Entry) -> Reason {
        if self.filter.excludes_by_age_alone(file) {
            Reason::AgeExcluded
        } else {
            Reason::SizeExcluded
        }
    }

    fn mirror(
        &self,
        pair: &Pair,
        source: &Entry,
        target: &Seen,
        achievable: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Result<Decision, Cause> {
        if self.filter.excludes_file(source) {
            let is_deleted = self.surplus == Surplus::DeleteExcluded;
            let action = match target {
                Seen::Present(_) if is_deleted => Action::Delete,
                // It is gone already.
                Seen::Absent if is_deleted && pair.row.is_some() => Action::Forget,
                _ => Action::Skip,
            };
            return Ok(decide(action, self.exclusion(source)));
        }
        if let EntryKind::Special(kind) = source.kind {
            if !self.options.preserve.specials {
                return Ok(decide(Action::Skip, Reason::NoSpecials));
            }
            if kind == SpecialKind::Unknown {
                return Err(Cause::Special(source.kind));
            }
            if source.kind.is_device() && !self.has_devices {
                return Err(Cause::SpecialRefused { kind: source.kind, others: 0 });
            }
        }
        if self.options.safe_links
            && let Some(text) = &source.link
            && links::leads_out(&source.key, text)
        {
            return Ok(decide(Action::Skip, Reason::UnsafeLink));
        }
        if source.kind == EntryKind::Symlink && !self.has_links {
            return Ok(self.without_link(target, pair.row.as_ref()));
        }
        let existing = match target {
            Seen::Unknown => return Err(Cause::TargetUnknown),
            Seen::Present(existing) => Some(existing),
            Seen::Absent => None,
        };
        let make_new = |reason| Ok(decide(Action::making(source.kind), reason));
        let in_the_way = pair.conflict.is_some();
        if self.options.ignore_existing
            && source.kind != EntryKind::Directory
            && (existing.is_some() || in_the_way)
        {
            return Ok(decide(Action::Skip, Reason::Exists));
        }
        if let Some(Conflict::DirectoryOverLeaf(leaf)) = &pair.conflict
            && self.protects(leaf, source)
        {
            return Err(Cause::LeafInTheWay);
        }
        match &pair.conflict {
            Some(Conflict::LeafOverDirectory { empty: true } | Conflict::DirectoryOverLeaf(_)) => {
                return make_new(Reason::Kind);
            }
            Some(Conflict::LeafOverDirectory { empty: false }) => {
                if self.surplus == Surplus::Keep {
                    return Err(Cause::DirectoryInTheWay);
                }
                // In a store a leaf can exist beside the directory, and is compared.
                if existing.is_none() {
                    return Ok(decide(Action::AfterDeletion, Reason::Kind));
                }
            }
            Some(Conflict::Both | Conflict::LeafBesideDirectory) | None => {}
        }
        let Some(existing) = existing else {
            return if self.options.existing {
                Ok(decide(Action::Skip, Reason::NotExisting))
            } else {
                make_new(Reason::New)
            };
        };
        if source.kind != EntryKind::Directory
            && let Some(decision) = self.decide_listed(source, existing, pair.row.as_ref())
        {
            return Ok(decision);
        }
        if existing.kind != source.kind {
            return make_new(Reason::Kind);
        }
        let row = pair.row.as_ref().filter(|row| row.kind == source.kind);
        let wanted = achievable(&source.metadata, source.kind, Some(&existing.metadata));
        let wanted = self.narrowed(source, row, wanted);
        match source.kind {
            EntryKind::Directory => Ok(decide(Action::KeepDirectory, Reason::Unchanged)),
            EntryKind::Symlink | EntryKind::Special(_) => {
                self.without_content(source, existing, row, &wanted)
            }
            EntryKind::File => self.file(source, existing, row, &wanted),
        }
    }

    /// Decides on a link of the source that the target can't store, as if the source lacked it.
    fn without_link(&self, target: &Seen, row: Option<&Row>) -> Decision {
        if let Seen::Present(target) = target
            && let delete @ Decision { action: Action::Delete, .. } = self.surplus(target, row)
        {
            return delete;
        }
        let is_gone = matches!(target, Seen::Absent) && row.is_some();
        decide(if is_gone { Action::Forget } else { Action::Skip }, Reason::NoLinks)
    }

    /// Decides on leaves of which at least one was only listed and not completed by its row: looks
    /// it up or copies it. Returns `None` if both are known well enough.
    fn decide_listed(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
    ) -> Option<Decision> {
        let look = |reason| decide(Action::Look, reason);
        let copy = |reason| decide(Action::making(source.kind), reason);
        let is_listed = |entry: &Entry| entry.completeness == Completeness::ListingOnly;
        if !is_listed(source) && !is_listed(existing) {
            return None;
        }
        let other_size = stored_size(source) != stored_size(existing);
        if self.options.size_only && !other_size {
            return None;
        }
        if self.options.update {
            return Some(look(Reason::SameSizeUnseen));
        }
        let trust = self.options.trust;
        if let Some(row) = row
            && is_drift(existing.stamp.compare(&row.target, trust))
        {
            return Some(copy(Reason::TargetDrift));
        }
        let Some(row) = row.filter(|row| row.knows_source(self.from)) else {
            return Some(if other_size {
                copy(Reason::Size)
            } else {
                look(Reason::SameSizeUnseen)
            });
        };
        Some(match source.stamp.compare(&row.source, trust) {
            StampMatch::Size => copy(Reason::Size),
            StampMatch::Mtime => copy(Reason::Mtime),
            StampMatch::Tag => copy(Reason::Tag),
            StampMatch::Same | StampMatch::Doubtful => look(Reason::SourceDoubtful),
        })
    }

    /// Returns whether the options protect a leaf of the target from a directory of the source.
    fn protects(&self, leaf: &Entry, source: &Entry) -> bool {
        let newer = self.is_newer(leaf, source);
        self.options.ignore_existing
            || (self.options.update && newer)
            || self.filter.excludes_file(leaf)
    }

    /// Decides on a symbolic link or a special file.
    fn without_content(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        wanted: &Metadata,
    ) -> Result<Decision, Cause> {
        if self.options.update && self.is_newer(existing, source) {
            return Ok(decide(Action::Skip, Reason::NewerInTarget));
        }
        if source.link != existing.link {
            return Ok(decide(Action::MakeLink, Reason::LinkText));
        }
        if source.device() != existing.device() {
            return Ok(decide(Action::MakeSpecial, Reason::DeviceNumber));
        }
        let mut found = self.within_window(&existing.metadata, wanted.mtime);
        // Linux keeps no mode for links.
        if source.kind == EntryKind::Symlink {
            found.mode = wanted.mode;
        }
        let same_metadata = found == *wanted;
        let is_special = matches!(source.kind, EntryKind::Special(_));
        let is_recorded = |row: &Row| row.link == source.link && row.device() == source.device();
        Ok(match row {
            Some(row)
                if !same_metadata
                    && is_recorded(row)
                    && row.metadata == *wanted
                    && row.target.mtime() == Some(existing.metadata.mtime) =>
            {
                return self.metadata_only(&found, wanted);
            }
            _ if !same_metadata => decide(Action::UpdateMetadata, Reason::Metadata),
            None => decide(Action::Adopt, Reason::SameSizeAndTime),
            // A run was killed after it made the entry and before it recorded it, or its attributes
            // may have changed.
            Some(row)
                if !is_recorded(row)
                    || is_special && self.is_touched(source, row)
                    || row.metadata != *wanted
                    || row.from != self.from
                    || self.is_unlooked(source, row)
                    || self.is_retold(source, row)
                    || self.may_have_other_attributes(source, existing, row) =>
            {
                decide(Action::Record, Reason::Unchanged)
            }
            Some(_) => decide(Action::Keep, Reason::Unchanged),
        })
    }

    fn file(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        wanted: &Metadata,
    ) -> Result<Decision, Cause> {
        let options = &self.options;
        if options.update && self.is_newer(existing, source) {
            return Ok(decide(Action::Skip, Reason::NewerInTarget));
        }
        // An object without stored metadata keeps none, and its copy needs none.
        let is_foreign = [source, existing]
            .iter()
            .any(|entry| entry.completeness == Completeness::NoStoredMetadata);
        let found = self.within_window(&existing.metadata, wanted.mtime);
        let has_others = !is_foreign
            && (self.has_other_access(source, existing)
                || self.has_other_flags(source, existing, row));
        let same_metadata = (found == *wanted && !has_others) || is_foreign;
        if options.size_only {
            let rights = Metadata { mtime: found.mtime, ..*wanted };
            let metadata = if same_metadata {
                MetadataMatch::Same
            } else if found == rights {
                MetadataMatch::Mtime
            } else {
                MetadataMatch::Rights
            };
            return Ok(self.size_only(source, existing, row, metadata));
        }
        let Some(row) = row else {
            return Ok(self.first_contact(source, existing, same_metadata));
        };
        let of_target = self.compare_target(existing, row);
        if is_drift(of_target) {
            return Ok(decide(Action::Copy { unless: None }, Reason::TargetDrift));
        }
        if !row.knows_source(self.from) {
            let is_vouched = of_target == StampMatch::Same;
            let recorded = Recorded { row, is_vouched };
            return Ok(self.first_contact_recorded(source, existing, recorded, same_metadata));
        }
        let of_source = match source.stamp.compare(&row.source, options.trust) {
            StampMatch::Same if row.source_racy => StampMatch::Doubtful,
            other => other,
        };
        let vouched = of_target == StampMatch::Same;
        // Without a recorded digest, both sides are compared with each other.
        let check_target = || match row.digest {
            Some(expected) => Check::Target { expected },
            None => Check::EachOther,
        };
        let check_source = |reason| {
            let check = match row.digest {
                Some(expected) if vouched => Check::Source { expected },
                Some(expected) => Check::Both { expected },
                None => Check::EachOther,
            };
            decide(Action::Check(check), reason)
        };
        Ok(match of_source {
            StampMatch::Size => decide(Action::Copy { unless: None }, Reason::Size),
            StampMatch::Mtime | StampMatch::Tag => {
                let unless = row.digest.filter(|_| vouched);
                let reason = if of_source == StampMatch::Tag { Reason::Tag } else { Reason::Mtime };
                decide(Action::Copy { unless }, reason)
            }
            StampMatch::Doubtful => check_source(Reason::SourceDoubtful),
            StampMatch::Same if options.checksum => check_source(Reason::Checksum),
            StampMatch::Same if row.extra.lack(options.digests) => check_source(Reason::Digest),
            StampMatch::Same if !vouched => {
                decide(Action::Check(check_target()), Reason::TargetDoubtful)
            }
            StampMatch::Same if has_others || self.is_retold(source, row) => {
                decide(Action::UpdateMetadata, Reason::Metadata)
            }
            StampMatch::Same if self.is_unlooked(source, row) && !is_foreign => {
                let decision = if same_metadata {
                    decide(Action::Keep, Reason::Unchanged)
                } else {
                    self.metadata_only(&found, wanted)?
                };
                match decision.action {
                    // Nobody looked for its attributes so far.
                    Action::Keep => decide(Action::Record, Reason::Metadata),
                    _ => decision,
                }
            }
            // The row's metadata differs because the target could store less; nothing changed
            // since.
            StampMatch::Same if same_metadata && !is_foreign && row.metadata != *wanted => {
                decide(Action::Record, Reason::Metadata)
            }
            StampMatch::Same if same_metadata => decide(Action::Keep, Reason::Unchanged),
            StampMatch::Same => return self.metadata_only(&found, wanted),
        })
    }

    /// Decides by sizes alone. Records and sets nothing that would hide a difference from a later
    /// run that compares more.
    fn size_only(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        metadata: MetadataMatch,
    ) -> Decision {
        if source.stamp.size != existing.stamp.size {
            return decide(Action::Copy { unless: None }, Reason::Size);
        }
        let trust = self.options.trust;
        let is_new = row.is_none_or(|row| !row.knows_source(self.from));
        let vouched = row.is_none_or(|row| {
            let of_source = || source.stamp.compare(&row.source, trust) == StampMatch::Same;
            (is_new || !row.source_racy && of_source())
                && existing.stamp.compare(&row.target, trust) == StampMatch::Same
        });
        if !self.same_time(source, existing) || !vouched {
            match metadata {
                MetadataMatch::Rights => decide(Action::UpdateRights, Reason::Metadata),
                MetadataMatch::Same | MetadataMatch::Mtime => {
                    decide(Action::Keep, Reason::SameSize)
                }
            }
        } else if metadata != MetadataMatch::Same {
            decide(Action::UpdateMetadata, Reason::Metadata)
        } else if is_new {
            decide(Action::Adopt, Reason::SameSizeAndTime)
        } else {
            decide(Action::Keep, Reason::SameSize)
        }
    }

    /// Decides on different metadata although both stamps are unchanged.
    #[expect(clippy::unused_self, reason = "one of the policy's rules")]
    fn metadata_only(&self, found: &Metadata, wanted: &Metadata) -> Result<Decision, Cause> {
        let mtime_alone = Metadata { mtime: wanted.mtime, ..*found } == *wanted;
        if !mtime_alone {
            return Ok(decide(Action::UpdateMetadata, Reason::Metadata));
        }
        // The wanted mtime was set when the row was recorded, and the target stored another one.
        if found.mtime.distance(wanted.mtime) < COARSEST_TIMES {
            Ok(decide(Action::Keep, Reason::Unchanged))
        } else {
            Err(Cause::NotKept("its modification time".into()))
        }
    }

    fn first_contact(&self, source: &Entry, existing: &Entry, same_metadata: bool) -> Decision {
        let decision = self.adoption(source, existing, same_metadata);
        match decision.action {
            // Adopting a file without reading it gives no digest.
            Action::Adopt | Action::UpdateMetadata if self.options.digests.any() => {
                decide(Action::Check(Check::EachOther), Reason::Digest)
            }
            _ => decision,
        }
    }

    /// Decides on a file that a run from another source recorded: the digest of the target's
    /// content is known if the target's stamp is unchanged; the source is compared as without a
    /// row.
    fn first_contact_recorded(
        &self,
        source: &Entry,
        existing: &Entry,
        Recorded { row, is_vouched }: Recorded<'_>,
        same_metadata: bool,
    ) -> Decision {
        let Some(expected) = row.digest else {
            return self.first_contact(source, existing, same_metadata);
        };
        let check_source = |reason| {
            let check =
                if is_vouched { Check::Source { expected } } else { Check::Both { expected } };
            decide(Action::Check(check), reason)
        };
        let Decision { action, reason } = self.adoption(source, existing, same_metadata);
        match action {
            Action::Check(_) => check_source(reason),
            Action::Adopt | Action::UpdateMetadata if row.extra.lack(self.options.digests) => {
                check_source(Reason::Digest)
            }
            Action::Adopt | Action::UpdateMetadata if !is_vouched => {
                decide(Action::Check(Check::Target { expected }), Reason::TargetDoubtful)
            }
            Action::Adopt => decide(Action::Adopt, Reason::KnownByDigest),
            Action::Copy { .. } if reason == Reason::Mtime => {
                decide(Action::Copy { unless: is_vouched.then_some(expected) }, reason)
            }
            action => decide(action, reason),
        }
    }

    /// Decides on files of the same size of which one has no mtime: by the hash that a tag contains.
    fn by_tag(&self, source: &Entry, existing: &Entry) -> Option<Decision> {
        if self.same_time(source, existing) {
            return None;
        }
        let hash = |entry: &Entry| entry.stamp.tag().and_then(|tag| tag.hash());
        match (hash(source), hash(existing)) {
            (Some(one), Some(other)) if one == other => {
                Some(decide(Action::Adopt, Reason::SameSizeAndTag))
            }
            (Some(_), None) if existing.stamp.inode().is_some() => {
                Some(decide(Action::CompareTag { read: Side::Target }, Reason::SameSizeUnseen))
            }
            (None, Some(_)) if source.stamp.inode().is_some() => {
                Some(decide(Action::CompareTag { read: Side::Source }, Reason::SameSizeUnseen))
            }
            _ => None,
        }
    }

    /// Decides on a file that both sides have and no run recorded.
    fn adoption(&self, source: &Entry, existing: &Entry, same_metadata: bool) -> Decision {
        if source.stamp.size != existing.stamp.size {
            decide(Action::Copy { unless: None }, Reason::Size)
        } else if self.options.checksum {
            decide(Action::Check(Check::EachOther), Reason::Checksum)
        } else if let Some(decision) = self.by_tag(source, existing) {
            decision
        } else if !self.same_time(source, existing) {
            decide(Action::Copy { unless: None }, Reason::Mtime)
        } else if same_metadata {
            decide(Action::Adopt, Reason::SameSizeAndTime)
        } else {
            decide(Action::UpdateMetadata, Reason::Metadata)
        }
    }
}

/// How existing metadata compares with the wanted one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MetadataMatch {
    /// Equal.
    Same,
    /// Only mtime differs.
    Mtime,
    /// Mode, owner or group differ.
    Rights,
}

/// A row, and whether the target's stamp confirms it.
struct Recorded<'a> {
    row: &'a Row,
    /// Whether the target's content is the recorded one, by its stamp.
    is_vouched: bool,
}

/// Returns whether a stamp shows that content isn't the recorded one.
fn is_drift(stamp: StampMatch) -> bool {
    matches!(stamp, StampMatch::Size | StampMatch::Mtime | StampMatch::Tag)
}

/// Returns the size of the object that stores an entry: for a link, the size of its text.
fn stored_size(entry: &Entry) -> u64 {
    entry.link.as_ref().map_or(entry.stamp.size, |text| text.len() as u64)
}

#[cfg(test)]
mod tests;
