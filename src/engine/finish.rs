//! The last phase of a run: the metadata of directories.

use super::attributes::Kept;
use super::batch::{CompletedStep, Record};
use super::commit::Committer;
use super::mend::attributes_not_given;
use super::{Context, Purpose, start};
use crate::backend::{Intended, MetadataSet, Precondition};
use crate::manifest::{Origin, PendingRow};
use crate::model::entry::Completeness;
use crate::model::{
    Action, AttributeKinds, Attributes, Cause, Decision, Entry, EntryError, EntryKind, Error,
    ErrorKind, Feature, Key, Operation, Reason, Stamp,
};
use crate::plan::{Finish, spool_error};
use crate::spool::SpoolReader;
use crossbeam_channel::bounded;
use parking_lot::Mutex;
use std::io::ErrorKind::NotFound;

/// Sets the metadata of directories in which everything is done, children first. If changing an
/// entry doesn't change its directory's times, the order doesn't matter, and several threads do it.
pub(super) fn directories(
    context: &Context<'_>,
    mut directories: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    if context.target.capabilities().directory_times {
        while let Some(record) = directories.next().map_err(spool_error)? {
            if context.is_over() {
                return Ok(());
            }
            let (how, entry) = Finish::decode(record).ok_or_else(spool_damaged)?;
            if let Some(done) = directory(context, how, entry) {
                committer.take(done);
            }
        }
        return Ok(());
    }
    let directories = Mutex::new(directories);
    let next = || {
        let mut directories = directories.lock();
        let record = directories.next().map_err(spool_error)?;
        record.map(|record| Finish::decode(record).ok_or_else(spool_damaged)).transpose()
    };
    std::thread::scope(|scope| {
        let (done, finished) = bounded(context.transfers);
        for _ in 0..context.transfers {
            let (done, next) = (done.clone(), &next);
            start(scope, "finish", move || {
                while !context.is_over() {
                    let made = match next() {
                        Ok(Some((how, entry))) => Ok(directory(context, how, entry)),
                        Ok(None) => return,
                        Err(error) => Err(error),
                    };
                    // The receiver ends before its senders only on an error.
                    if done.send(made).is_err() {
                        return;
                    }
                }
            })?;
        }
        drop(done);
        for made in finished {
            if let Some(done) = made? {
                committer.take(done);
            }
        }
        Ok(())
    })
}

/// Sets the metadata of one directory. Returns `None` if that failed, which is reported, or if the
/// target keeps no metadata of directories.
fn directory(context: &Context<'_>, how: Finish, entry: Entry) -> Option<CompletedStep> {
    if context.collisions.is_unmade(&entry.key) || !context.target.keeps_directories() {
        return None;
    }
    finished(context, how, entry).unwrap_or_else(|error| {
        context.fail(error);
        None
    })
}

fn finished(
    context: &Context<'_>,
    mut how: Finish,
    mut entry: Entry,
) -> Result<Option<CompletedStep>, EntryError> {
    if entry.completeness == Completeness::ListingOnly {
        let looked = context.source.look(&entry.key);
        let failed = |cause| EntryError::on_source(Operation::List, &entry.key, cause);
        entry = looked.map_err(failed)?.unwrap_or(entry);
    }
    if how == Finish::NotKept {
        return Err(time_not_kept(&entry.key));
    }
    let mut kept = inspect(context, &mut how, &mut entry)
        .map_err(|cause| EntryError::on_source(Operation::Read, &entry.key, cause))?;
    let (mut target_stamp, was_inspected) = (None, how == Finish::Inspect);
    if matches!(how, Finish::Look | Finish::Inspect) {
        target_stamp = stamp_as_wanted(context, &entry, &kept)?;
        how = if target_stamp.is_some() { Finish::Restore } else { Finish::Update };
    }
    let target_keeps = context.target.capabilities().keeps_attributes;
    let set = if target_stamp.is_some() && (kept.attributes.is_none() || !target_keeps) {
        Ok(MetadataSet { stamp: target_stamp, ..MetadataSet::default() })
    } else {
        set(context, how, &mut entry, kept.attributes.as_deref())
    };
    let set = match set {
        Ok(set) => set,
        Err(cause) => {
            let gone = matches!(&cause, Cause::Io(error) if error.kind() == NotFound);
            // Its failure to be made was reported.
            if gone && context.progress.files_failed.get() > 0 {
                return Ok(None);
            }
            let is_kept = context.purpose != Purpose::Mirror && how == Finish::Restore;
            let operation = if is_kept { Operation::KeepTime } else { Operation::SetMetadata };
            return Err(EntryError::on_target(operation, &entry.key, cause));
        }
    };
    kept.lose(context, set.lost, &mut entry);
    // The target may have found out only now that it doesn't.
    if !context.target.keeps_directories() {
        return Ok(None);
    }
    // What was made or removed in it took its flags.
    if !entry.flags().is_empty() || how == Finish::Update {
        context.seal(&entry);
    }
    let wanted = context.target.achievable_metadata(&entry.metadata, EntryKind::Directory, None);
    let pending = PendingRow::of(entry, wanted, context.recorded_by());
    let looked = kept.attributes.as_ref().map_or(AttributeKinds::NONE, |wanted| wanted.kinds());
    let mut row = PendingRow { origin: Origin::Proven, link: None, looked, ..pending };
    row.set_apart(kept.apart);
    let is_mended = context.purpose != Purpose::Mirror;
    let failure_reported = is_mended && kept.lost.has(Feature::UnreadAttributes);
    if failure_reported {
        context.fail(attributes_not_given(&row.key));
    }
    let is_changed = how == Finish::Update || was_inspected && set.are_attributes_changed;
    Ok(Some(CompletedStep {
        row,
        staged: None,
        done: is_changed.then(|| Decision::new(Action::UpdateMetadata, Reason::Metadata)),
        target_stamp: set.stamp,
        failure_reported,
        lost: kept.lost,
        record: match Record::of(context.purpose) {
            // Its row is still right.
            Record::Stamp if how == Finish::Restore => Record::Nothing,
            record => record,
        },
    }))
}

/// Returns the stamp of the target's directory if it has the wanted metadata and, where they are
/// kept beside it, attributes.
fn stamp_as_wanted(
    context: &Context<'_>,
    entry: &Entry,
    kept: &Kept,
) -> Result<Option<Stamp>, EntryError> {
    let target_keeps = context.target.capabilities().keeps_attributes;
    let digest = kept.attributes.as_ref().map(|wanted| wanted.digest());
    let has_them = |found: &Entry| {
        let kept = found.extras.as_ref().and_then(|extras| extras.attributes);
        target_keeps || digest.is_none_or(|wanted| wanted == kept)
    };
    let found = context.target.look(&entry.key);
    let found = found.map_err(|cause| EntryError::on_target(Operation::List, &entry.key, cause))?;
    let is_as_wanted = |found: &Entry| {
        let existing = Some(&found.metadata);
        context.target.achievable_metadata(&entry.metadata, found.kind, existing) == found.metadata
            && has_them(found)
    };
    Ok(found.filter(is_as_wanted).map(|found| found.stamp))
}

/// Sets the metadata of a directory, or for [`Finish::Record`] takes over the existing one.
fn set(
    context: &Context<'_>,
    how: Finish,
    entry: &mut Entry,
    attributes: Option<&Attributes>,
) -> Result<MetadataSet, Cause> {
    let (key, kind) = (&entry.key, EntryKind::Directory);
    if how == Finish::Record {
        // The row records the existing metadata, so that the next run tries again.
        if let Some(found) = context.target.look(key)? {
            entry.metadata = found.metadata;
        }
        return Ok(MetadataSet::default());
    }
    let wanted = context.target.achievable_metadata(&entry.metadata, kind, None);
    let intended = Intended { attributes, ..context.intended(&wanted, entry) };
    context.target.set_metadata(key, kind, &intended, Precondition::Leaf)
}

/// Returns the error for a time that was set before and that the target didn't keep.
pub(super) fn time_not_kept(key: &Key) -> EntryError {
    let cause = Cause::NotKept("its modification time".to_owned());
    EntryError::on_target(Operation::SetMetadata, key, cause)
}

/// Finds out which attributes the target's directory is to have, and which features of the
/// source's it lacks.
fn inspect(context: &Context<'_>, how: &mut Finish, entry: &mut Entry) -> Result<Kept, Cause> {
    if *how == Finish::Record {
        return Ok(Kept::default());
    }
    if context.purpose != Purpose::Mirror {
        // It is as it was, but for its time.
        if *how == Finish::Restore {
            return Ok(Kept::default());
        }
        let right = entry.clone();
        return Ok(context.mended(entry, || context.source.inspect(&right)));
    }
    match context.source.inspect(entry) {
        Ok(inspected) => {
            let listed = entry.metadata.mode;
            let kept = context.kept(inspected, entry);
            // The listed mode is wider than the ACL, so the existing one may be right.
            if entry.metadata.mode != listed && *how == Finish::Update {
                *how = Finish::Look;
            }
            Ok(kept)
        }
        // It was removed since it was listed.
        Err(Cause::Io(error)) if error.kind() == NotFound => Ok(Kept::default()),
        Err(cause) => Err(cause),
    }
}

/// Returns the error for a spool whose records can't be decoded.
pub(super) fn spool_damaged() -> Error {
    Error::new(ErrorKind::Unusable, "a spool file of this run was damaged")
}
