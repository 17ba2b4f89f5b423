//! The policy: from a pair to a decision, by a pure function.
//!
//! The evidence is told in `docs/architecture.md`: with a row, both sides' stamps against the
//! recorded ones; without, size and mtime of both sides against each other. Whatever is in doubt is
//! settled by content, and whatever is unknown is left alone.

use super::join::{Conflict, Pair, Seen};
use super::reason::Reason;
use crate::filter::Filter;
use crate::manifest::{Origin, Row, SourceNumber};
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::stamp::{COARSEST_TIMES, StampFields, StampMatch};
use crate::model::{Cause, Digest, Entry, EntryKind, ExtraKinds, Metadata};
use std::sync::Arc;

/// How entries are compared.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as users know them")]
pub struct PolicyOptions {
    /// Hash the source whatever its stamps say.
    pub checksum: bool,
    /// Files of one size are the same.
    pub size_only: bool,
    /// Leave files alone that are newer in the target.
    pub update: bool,
    /// Leave files alone that exist in the target.
    pub ignore_existing: bool,
    /// Which fields of a stamp count.
    pub trust: StampFields,
    /// Which digests beside BLAKE3 each file is to have on record: content is read for those that are
    /// missing.
    pub digests: ExtraKinds,
    /// Copy a source's content though nothing but the content says that it changed.
    pub accept_silent_changes: bool,
}

/// Which of the target's surplus goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// None of it (no `--delete`).
    Stays,
    /// What takes part and the source lacks.
    Goes,
    /// Excluded entries too (`--delete-excluded`).
    GoesWithExcluded,
}

/// What to do with one key.
#[derive(Debug)]
pub enum Action {
    /// Nothing: it is as it should be.
    Keep,
    /// Nothing: the options leave it alone.
    Skip,
    /// Take the target's copy as it is, and record it without a digest.
    Adopt,
    /// Copy its content; where the content has this digest, the target's copy is kept and only its
    /// metadata set.
    Copy {
        /// The digest of the target's copy, which its stamp vouches for.
        unless: Option<Digest>,
    },
    /// Hash what is in doubt, and copy where it differs.
    Check {
        /// Hash the source.
        source: bool,
        /// Hash the target.
        target: bool,
        /// What the content should be; `None` to compare both sides with each other.
        expected: Option<Digest>,
    },
    /// Look at what was only listed, and decide then.
    Look,
    /// Hash this side's file, and take the target's copy as it is where the other side's tag is the
    /// content's MD5; else copy.
    CompareTag(Side),
    /// Hash the target's file, which the source lacks, for digests that its row lacks.
    HashSurplus,
    /// Set its metadata.
    UpdateMetadata,
    /// Set its mode, owner and group; neither its time is set nor anything recorded, so that what may be
    /// another content shows to a later run.
    UpdateRights,
    /// It is as it should be; its row isn't.
    Record,
    /// Make the symbolic link.
    MakeLink,
    /// Make the directory.
    MakeDirectory,
    /// The directory stands; its metadata is compared when all in it is done.
    KeepDirectory,
    /// Remove it from the target.
    Delete,
    /// Remove it from the target once the directory that took its place is whole.
    RemoveSetAside,
    /// Drop its row: nothing is there any more.
    Forget,
    /// Copy or link it once a directory in its place has been deleted.
    AfterDeletion,
    /// It can't be mirrored.
    Fail(Cause),
}

/// An action and its reason.
#[derive(Debug)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

fn decide(action: Action, reason: Reason) -> Decision {
    Decision { action, reason }
}

fn fail(cause: Cause) -> Decision {
    decide(Action::Fail(cause), Reason::Impossible)
}

/// The rules of one run.
pub struct Policy {
    /// How entries are compared.
    pub options: PolicyOptions,
    /// What takes part.
    pub filter: Arc<Filter>,
    /// What becomes of the target's surplus.
    pub surplus: Surplus,
    /// Where entries come from: rows from any other source are evidence of the target alone.
    pub from: SourceNumber,
    /// Whether the target has symbolic links.
    pub has_links: bool,
}

impl Policy {
    /// Decides on one key. `holds` says what metadata the target can hold of a source's entry,
    /// where one with that metadata stands.
    pub fn decide(
        &self,
        pair: &Pair,
        holds: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Decision {
        if pair.conflict == Some(Conflict::Both) {
            return fail(Cause::LeafAndDirectory);
        }
        match (&pair.source, &pair.target) {
            (Seen::Unknown, _) | (Seen::Absent, Seen::Unknown) => {
                decide(Action::Keep, Reason::Unknown)
            }
            (Seen::Present(source), target) => self.mirror(pair, source, target, holds),
            (Seen::Absent, Seen::Present(target))
                if pair.conflict == Some(Conflict::LeafBesideDirectory) =>
            {
                let options = &self.options;
                let is_kept = options.ignore_existing || options.update;
                if is_kept || self.excluded_by_size(target) {
                    decide(Action::Keep, Reason::Exists)
                } else {
                    decide(Action::RemoveSetAside, Reason::SetAside)
                }
            }
            (Seen::Absent, Seen::Present(target)) => self.surplus(target, pair.row.as_ref()),
            (Seen::Absent, Seen::Absent) => match &pair.row {
                // What is excluded is not listed, unless it is to be deleted from the target.
                Some(row)
                    if self.filter.excludes_within(&row.key)
                        && self.surplus != Surplus::GoesWithExcluded =>
                {
                    decide(Action::Keep, Reason::Gone)
                }
                Some(_) => decide(Action::Forget, Reason::Gone),
                None => decide(Action::Keep, Reason::Gone),
            },
        }
    }

    /// What the target is to hold of a source's entry, where it can hold `wanted`: a mode that an
    /// earlier run gave fewer rights for the group, since its ACL grants no more, stays as it is as
    /// long as the source's stamp says that neither changed. ctime tells of both.
    pub fn narrowed(&self, source: &Entry, row: Option<&Row>, wanted: Metadata) -> Metadata {
        const GROUP: u32 = 0o070;
        let given = row.filter(|row| {
            let trust = self.options.trust;
            !trust.ignore_ctime
                && row.knows_source(self.from)
                && row.source.inode().is_some()
                && source.stamp.compare(&row.source, trust) == StampMatch::Same
                && row.metadata.mode & !GROUP == wanted.mode & !GROUP
                && row.metadata.mode & GROUP & !wanted.mode == 0
        });
        given.map_or(wanted, |row| Metadata { mode: row.metadata.mode, ..wanted })
    }

    /// Whether a source's directory was touched since its row was written: what it has beside its
    /// metadata, an ACL, say, may be another. A copied tree has other inodes, which tell nothing.
    pub fn is_touched(&self, source: &Entry, row: &Row) -> bool {
        let trust = StampFields { ignore_inode: true, ..self.options.trust };
        row.knows_source(self.from)
            && source.stamp.inode().is_some()
            && source.stamp.compare(&row.source, trust) != StampMatch::Same
    }

    /// What is wrong with a source's content that was read as `found`, where its row says that it
    /// is another, and nothing that could be trusted says that it changed: a disk that rots, or
    /// memory. What was copied before is better then.
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
            Surplus::Stays => Reason::Extra,
            Surplus::Goes if self.excluded_by_size(target) => Reason::SizeExcluded,
            Surplus::Goes | Surplus::GoesWithExcluded => {
                return decide(Action::Delete, Reason::Extra);
            }
        };
        // What stays is listed with the rest where digests are exported.
        let lacks = |row: &Row| {
            (row.kind, target.kind) == (EntryKind::File, EntryKind::File)
                && row.extra.lack(self.options.digests)
                && match target.stamp.compare(&row.target, self.options.trust) {
                    StampMatch::Same => true,
                    // Its digest tells whether it is what was recorded.
                    StampMatch::Doubtful => row.digest.is_some(),
                    StampMatch::Size | StampMatch::Mtime | StampMatch::Tag => false,
                }
        };
        if row.is_some_and(lacks) {
            decide(Action::HashSurplus, Reason::Digest)
        } else {
            decide(Action::Keep, reason)
        }
    }

    fn excluded_by_size(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::File && self.filter.excludes_size(entry.stamp.size)
    }

    fn mirror(
        &self,
        pair: &Pair,
        source: &Entry,
        target: &Seen,
        holds: impl Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Decision {
        if self.excluded_by_size(source) {
            let goes = self.surplus == Surplus::GoesWithExcluded;
            let action = match target {
                Seen::Present(_) if goes => Action::Delete,
                // It is to be gone, and is.
                Seen::Absent if goes && pair.row.is_some() => Action::Forget,
                _ => Action::Skip,
            };
            return decide(action, Reason::SizeExcluded);
        }
        if let EntryKind::Special(_) = source.kind {
            return fail(Cause::Special(source.kind));
        }
        if source.kind == EntryKind::Symlink && !self.has_links {
            return self.without_link(target, pair.row.as_ref());
        }
        let existing = match target {
            Seen::Unknown => return fail(Cause::TargetUnknown),
            Seen::Present(existing) => Some(existing),
            Seen::Absent => None,
        };
        let afresh = |reason| match source.kind {
            EntryKind::File => decide(Action::Copy { unless: None }, reason),
            EntryKind::Symlink => decide(Action::MakeLink, reason),
            EntryKind::Directory => decide(Action::MakeDirectory, reason),
            EntryKind::Special(_) => fail(Cause::Special(source.kind)),
        };
        let in_the_way = pair.conflict.is_some();
        if self.options.ignore_existing
            && source.kind != EntryKind::Directory
            && (existing.is_some() || in_the_way)
        {
            return decide(Action::Skip, Reason::Exists);
        }
        if let Some(Conflict::DirectoryOverLeaf(leaf)) = &pair.conflict
            && self.leaves_alone(leaf, source)
        {
            return fail(Cause::LeafInTheWay);
        }
        match &pair.conflict {
            Some(Conflict::LeafOverDirectory { empty: true } | Conflict::DirectoryOverLeaf(_)) => {
                return afresh(Reason::Kind);
            }
            Some(Conflict::LeafOverDirectory { empty: false }) => {
                if self.surplus == Surplus::Stays {
                    return fail(Cause::DirectoryInTheWay);
                }
                // In a store it may stand beside the directory, and is compared.
                if existing.is_none() {
                    return decide(Action::AfterDeletion, Reason::Kind);
                }
            }
            Some(Conflict::Both | Conflict::LeafBesideDirectory) | None => {}
        }
        let Some(existing) = existing else { return afresh(Reason::New) };
        if source.kind != EntryKind::Directory
            && let Some((look, reason)) = self.unseen(source, existing, pair.row.as_ref())
        {
            return if look { decide(Action::Look, reason) } else { afresh(reason) };
        }
        if existing.kind != source.kind {
            return afresh(Reason::Kind);
        }
        let row = pair.row.as_ref().filter(|row| row.kind == source.kind);
        let wanted = holds(&source.metadata, source.kind, Some(&existing.metadata));
        let wanted = self.narrowed(source, row, wanted);
        match source.kind {
            EntryKind::Directory => decide(Action::KeepDirectory, Reason::Unchanged),
            EntryKind::Symlink => self.link(source, existing, row, &wanted),
            _ => self.file(source, existing, row, &wanted),
        }
    }

    /// What to do where the source has a link that the target can't have: as if the source had nothing.
    fn without_link(&self, target: &Seen, row: Option<&Row>) -> Decision {
        if let Seen::Present(target) = target
            && let delete @ Decision { action: Action::Delete, .. } = self.surplus(target, row)
        {
            return delete;
        }
        let is_gone = matches!(target, Seen::Absent) && row.is_some();
        decide(if is_gone { Action::Forget } else { Action::Skip }, Reason::NoLinks)
    }

    /// What to do with leaves of which one was only listed, and is not what its row tells: look at
    /// it (true), or copy it anew (false).
    fn unseen(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
    ) -> Option<(bool, Reason)> {
        let is_listed = |entry: &Entry| entry.completeness == Completeness::ListingOnly;
        if !is_listed(source) && !is_listed(existing) {
            return None;
        }
        let other_size = stored_size(source) != stored_size(existing);
        if self.options.size_only && !other_size {
            return None;
        }
        if self.options.update {
            return Some((true, Reason::SameSizeUnseen));
        }
        let trust = self.options.trust;
        if let Some(row) = row
            && is_drift(existing.stamp.compare(&row.target, trust))
        {
            return Some((false, Reason::TargetDrift));
        }
        let Some(row) = row.filter(|row| row.knows_source(self.from)) else {
            return Some(if other_size {
                (false, Reason::Size)
            } else {
                (true, Reason::SameSizeUnseen)
            });
        };
        Some(match source.stamp.compare(&row.source, trust) {
            StampMatch::Size => (false, Reason::Size),
            StampMatch::Mtime => (false, Reason::Mtime),
            StampMatch::Tag => (false, Reason::Tag),
            StampMatch::Same | StampMatch::Doubtful => (true, Reason::SourceDoubtful),
        })
    }

    /// Whether the options protect a leaf of the target from a directory of the source.
    fn leaves_alone(&self, leaf: &Entry, source: &Entry) -> bool {
        let newer = leaf.metadata.mtime > source.metadata.mtime;
        self.options.ignore_existing
            || (self.options.update && newer)
            || self.excluded_by_size(leaf)
    }

    fn link(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        wanted: &Metadata,
    ) -> Decision {
        if self.options.update && existing.metadata.mtime > source.metadata.mtime {
            return decide(Action::Skip, Reason::NewerInTarget);
        }
        if source.link != existing.link {
            return decide(Action::MakeLink, Reason::LinkText);
        }
        // Linux keeps no mode of a link.
        let found = Metadata { mode: wanted.mode, ..existing.metadata };
        let same_metadata = found == *wanted;
        match row {
            Some(row)
                if !same_metadata
                    && (&row.link, &row.metadata) == (&source.link, wanted)
                    && row.target.mtime() == Some(existing.metadata.mtime) =>
            {
                self.metadata_only(&found, wanted)
            }
            _ if !same_metadata => decide(Action::UpdateMetadata, Reason::Metadata),
            None => decide(Action::Adopt, Reason::SameSizeAndTime),
            // A run was killed between making the link and recording it.
            Some(row)
                if row.link != source.link || row.metadata != *wanted || row.from != self.from =>
            {
                decide(Action::Record, Reason::Unchanged)
            }
            Some(_) => decide(Action::Keep, Reason::Unchanged),
        }
    }

    fn file(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        wanted: &Metadata,
    ) -> Decision {
        let options = &self.options;
        if options.update && existing.metadata.mtime > source.metadata.mtime {
            return decide(Action::Skip, Reason::NewerInTarget);
        }
        // What others stored without metadata stays as they stored it, and asks for none elsewhere.
        let is_foreign = [source, existing]
            .iter()
            .any(|entry| entry.completeness == Completeness::NoStoredMetadata);
        let same_metadata = existing.metadata == *wanted || is_foreign;
        if options.size_only {
            let rights = Metadata { mtime: existing.metadata.mtime, ..*wanted };
            let same_rights = existing.metadata == rights || is_foreign;
            return self.size_only(source, existing, row, (same_metadata, same_rights));
        }
        let Some(row) = row else {
            return self.first_contact(source, existing, same_metadata);
        };
        let of_target = existing.stamp.compare(&row.target, options.trust);
        if is_drift(of_target) {
            return decide(Action::Copy { unless: None }, Reason::TargetDrift);
        }
        if !row.knows_source(self.from) {
            let is_vouched = of_target == StampMatch::Same;
            return self.first_contact_recorded(source, existing, (row, is_vouched), same_metadata);
        }
        let of_source = match source.stamp.compare(&row.source, options.trust) {
            StampMatch::Same if row.source_racy => StampMatch::Doubtful,
            other => other,
        };
        let check = |source, target, reason| {
            // A row without a digest can't settle anything: compare both sides.
            let both = row.digest.is_none();
            let expected = row.digest;
            decide(
                Action::Check { source: source || both, target: target || both, expected },
                reason,
            )
        };
        let vouched = of_target == StampMatch::Same;
        match of_source {
            StampMatch::Size => decide(Action::Copy { unless: None }, Reason::Size),
            StampMatch::Mtime | StampMatch::Tag => {
                let unless = row.digest.filter(|_| vouched);
                let reason = if of_source == StampMatch::Tag { Reason::Tag } else { Reason::Mtime };
                decide(Action::Copy { unless }, reason)
            }
            StampMatch::Doubtful => check(true, !vouched, Reason::SourceDoubtful),
            StampMatch::Same if options.checksum => check(true, !vouched, Reason::Checksum),
            StampMatch::Same if row.extra.lack(options.digests) => {
                check(true, !vouched, Reason::Digest)
            }
            StampMatch::Same if !vouched => check(false, true, Reason::TargetDoubtful),
            // What was given was less than the target has, or something else: nobody noticed a change.
            StampMatch::Same if same_metadata && !is_foreign && row.metadata != *wanted => {
                decide(Action::Record, Reason::Metadata)
            }
            StampMatch::Same if same_metadata => decide(Action::Keep, Reason::Unchanged),
            StampMatch::Same => self.metadata_only(&existing.metadata, wanted),
        }
    }

    /// Sizes alone decide on content; nothing is recorded or set that would hide a difference from a
    /// later run that looks closer.
    fn size_only(
        &self,
        source: &Entry,
        existing: &Entry,
        row: Option<&Row>,
        (same_metadata, same_rights): (bool, bool),
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
        if !same_time(source, existing) || !vouched {
            let action = if same_rights { Action::Keep } else { Action::UpdateRights };
            let reason = if same_rights { Reason::SameSize } else { Reason::Metadata };
            decide(action, reason)
        } else if !same_metadata {
            decide(Action::UpdateMetadata, Reason::Metadata)
        } else if is_new {
            decide(Action::Adopt, Reason::SameSizeAndTime)
        } else {
            decide(Action::Keep, Reason::SameSize)
        }
    }

    /// Both stamps are the recorded ones, and yet the metadata differs.
    #[expect(clippy::unused_self, reason = "one of the policy's rules")]
    fn metadata_only(&self, found: &Metadata, wanted: &Metadata) -> Decision {
        let mtime_alone = Metadata { mtime: wanted.mtime, ..*found } == *wanted;
        if !mtime_alone {
            return decide(Action::UpdateMetadata, Reason::Metadata);
        }
        // It was set when the row was recorded, and the target kept something else.
        if found.mtime.distance(wanted.mtime) < COARSEST_TIMES {
            decide(Action::Keep, Reason::Unchanged)
        } else {
            fail(Cause::NotKept("its modification time".into()))
        }
    }

    fn first_contact(&self, source: &Entry, existing: &Entry, same_metadata: bool) -> Decision {
        let decision = self.adoption(source, existing, same_metadata);
        match decision.action {
            // What is adopted without reading has no digest.
            Action::Adopt | Action::UpdateMetadata if self.options.digests.any() => {
                let action = Action::Check { source: true, target: true, expected: None };
                decide(action, Reason::Digest)
            }
            _ => decision,
        }
    }

    /// A file that a run from another source recorded: what is known of the target's content stays
    /// known, as far as the target's stamp holds, and the source's is compared as at first contact.
    fn first_contact_recorded(
        &self,
        source: &Entry,
        existing: &Entry,
        (row, is_vouched): (&Row, bool),
        same_metadata: bool,
    ) -> Decision {
        let Some(digest) = row.digest else {
            return self.first_contact(source, existing, same_metadata);
        };
        let check = |source, reason| {
            let expected = Some(digest);
            decide(Action::Check { source, target: !is_vouched, expected }, reason)
        };
        let Decision { action, reason } = self.adoption(source, existing, same_metadata);
        match action {
            Action::Check { .. } => check(true, reason),
            Action::Adopt | Action::UpdateMetadata if row.extra.lack(self.options.digests) => {
                check(true, Reason::Digest)
            }
            Action::Adopt | Action::UpdateMetadata if !is_vouched => {
                check(false, Reason::TargetDoubtful)
            }
            Action::Adopt => decide(Action::Adopt, Reason::KnownByDigest),
            Action::Copy { .. } if reason == Reason::Mtime => {
                decide(Action::Copy { unless: is_vouched.then_some(digest) }, reason)
            }
            action => decide(action, reason),
        }
    }

    /// What a file that stands on both sides, and that no run recorded, is taken for.
    fn adoption(&self, source: &Entry, existing: &Entry, same_metadata: bool) -> Decision {
        if source.stamp.size != existing.stamp.size {
            decide(Action::Copy { unless: None }, Reason::Size)
        } else if self.options.checksum {
            let action = Action::Check { source: true, target: true, expected: None };
            decide(action, Reason::Checksum)
        } else if let Some(decision) = by_tag(source, existing) {
            decision
        } else if !same_time(source, existing) {
            decide(Action::Copy { unless: None }, Reason::Mtime)
        } else if same_metadata {
            decide(Action::Adopt, Reason::SameSizeAndTime)
        } else {
            decide(Action::UpdateMetadata, Reason::Metadata)
        }
    }
}

/// Whether a stamp tells that content is another than the recorded one.
fn is_drift(likeness: StampMatch) -> bool {
    matches!(likeness, StampMatch::Size | StampMatch::Mtime | StampMatch::Tag)
}

/// Whether both have the same mtime. When an object was put is no such time, and no evidence.
fn same_time(source: &Entry, existing: &Entry) -> bool {
    let is_whole = |entry: &Entry| entry.completeness == Completeness::Full;
    is_whole(source) && is_whole(existing) && source.metadata.mtime == existing.metadata.mtime
}

/// The size of the object that an entry is, or would be: a link's is its text.
fn stored_size(entry: &Entry) -> u64 {
    entry.link.as_ref().map_or(entry.stamp.size, |text| text.len() as u64)
}

/// Decides on files of one size of which one has no mtime to compare: by the hash that its tag may
/// be.
fn by_tag(source: &Entry, existing: &Entry) -> Option<Decision> {
    if same_time(source, existing) {
        return None;
    }
    let hash = |entry: &Entry| entry.stamp.tag().and_then(|tag| tag.hash());
    match (hash(source), hash(existing)) {
        (Some(one), Some(other)) if one == other => {
            Some(decide(Action::Adopt, Reason::SameSizeAndTag))
        }
        (Some(_), None) if existing.stamp.inode().is_some() => {
            Some(decide(Action::CompareTag(Side::Target), Reason::SameSizeUnseen))
        }
        (None, Some(_)) if source.stamp.inode().is_some() => {
            Some(decide(Action::CompareTag(Side::Source), Reason::SameSizeUnseen))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
