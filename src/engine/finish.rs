//! What comes last: directories' metadata.

use super::batch::{CompletedStep, Record};
use super::commit::Committer;
use super::{Context, Purpose};
use crate::backend::{Inspected, Precondition};
use crate::manifest::{Origin, PendingRow};
use crate::model::entry::Completeness;
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, ErrorKind, Features, Key,
    Operation, Reason,
};
use crate::plan::{Finish, spool_error};
use crate::spool::SpoolReader;
use crossbeam_channel::bounded;
use std::io::ErrorKind::NotFound;
use std::sync::{Mutex, PoisonError};

/// Sets the metadata of directories in which all is done, children first; where entries change nothing
/// of their directory there is no such order, and it is several at a time.
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
        let mut directories = directories.lock().unwrap_or_else(PoisonError::into_inner);
        let record = directories.next().map_err(spool_error)?;
        record.map(|record| Finish::decode(record).ok_or_else(spool_damaged)).transpose()
    };
    std::thread::scope(|scope| {
        let (done, finished) = bounded(context.transfers);
        for _ in 0..context.transfers {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while !context.is_over() {
                    let made = match next() {
                        Ok(Some((how, entry))) => Ok(directory(context, how, entry)),
                        Ok(None) => return,
                        Err(error) => Err(error),
                    };
                    // Nobody takes it only where an error ended that.
                    if done.send(made).is_err() {
                        return;
                    }
                }
            });
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

/// Sets the metadata of one directory; `None` where that failed, which was told, or where the target
/// keeps nothing of directories.
fn directory(context: &Context<'_>, mut how: Finish, mut entry: Entry) -> Option<CompletedStep> {
    if context.collisions.is_unmade(&entry.key) || !context.target.keeps_directories() {
        return None;
    }
    if entry.completeness == Completeness::ListingOnly {
        match context.source.look(&entry.key) {
            Ok(Some(found)) => entry = found,
            Ok(None) => {}
            Err(cause) => {
                context.fail(EntryError::on_source(Operation::List, entry.key, cause));
                return None;
            }
        }
    }
    if how == Finish::NotKept {
        context.fail(time_not_kept(&entry.key));
        return None;
    }
    let lost = match inspect(context, &mut how, &mut entry) {
        Ok(lost) => lost,
        Err(cause) => {
            context.fail(EntryError::on_source(Operation::Read, entry.key, cause));
            return None;
        }
    };
    let mut target_stamp = None;
    if matches!(how, Finish::Look | Finish::Inspect) {
        how = Finish::Update;
        let is_as_wanted = |found: &Entry| {
            context.target.achievable_metadata(&entry.metadata, found.kind, Some(&found.metadata))
                == found.metadata
        };
        match context.target.look(&entry.key) {
            Ok(Some(found)) if is_as_wanted(&found) => {
                target_stamp = Some(found.stamp);
                how = Finish::Restore;
            }
            Ok(_) => {}
            Err(cause) => {
                context.fail(EntryError::on_target(Operation::List, &entry.key, cause));
                return None;
            }
        }
    }
    let set = if target_stamp.is_some() {
        Ok(target_stamp)
    } else if how == Finish::Record {
        // Whatever stands is what its row tells; the next run tries again.
        context.target.look(&entry.key).map(|found| {
            entry.metadata = found.map_or(entry.metadata, |found| found.metadata);
            None
        })
    } else {
        let wanted =
            context.target.achievable_metadata(&entry.metadata, EntryKind::Directory, None);
        context.target.set_metadata(&entry.key, EntryKind::Directory, &wanted, Precondition::Leaf)
    };
    let wanted = context.target.achievable_metadata(&entry.metadata, EntryKind::Directory, None);
    let target_stamp = match set {
        Ok(target_stamp) => target_stamp,
        Err(cause) => {
            let gone = matches!(&cause, Cause::Io(error) if error.kind() == NotFound);
            // One that could not be made was told.
            if !(gone && context.progress.files_failed.get() > 0) {
                let is_kept = context.purpose != Purpose::Mirror && how == Finish::Restore;
                let operation = if is_kept { Operation::KeepTime } else { Operation::SetMetadata };
                context.fail(EntryError::on_target(operation, &entry.key, cause));
            }
            return None;
        }
    };
    // It may have been found out right now.
    if !context.target.keeps_directories() {
        return None;
    }
    let pending = PendingRow::of(entry, wanted, context.recorded_by());
    let row = PendingRow { origin: Origin::Proven, link: None, ..pending };
    Some(CompletedStep {
        row,
        staged: None,
        done: (how == Finish::Update)
            .then(|| Decision::new(Action::UpdateMetadata, Reason::Metadata)),
        target_stamp,
        told: false,
        lost,
        record: match Record::of(context.purpose) {
            // It is what it was.
            Record::Stamp if how == Finish::Restore => Record::Nothing,
            record => record,
        },
    })
}

/// A directory's time that was set once, and that the target made another of.
pub(super) fn time_not_kept(key: &Key) -> EntryError {
    let cause = Cause::NotKept("its modification time".to_owned());
    EntryError::on_target(Operation::SetMetadata, key, cause)
}

/// Finds out what a source's directory has that the target's hasn't, and leaves of its mode what an
/// ACL grants.
fn inspect(context: &Context<'_>, how: &mut Finish, entry: &mut Entry) -> Result<Features, Cause> {
    if *how == Finish::Record || context.purpose != Purpose::Mirror {
        return Ok(Features::default());
    }
    match context.source.inspect(entry) {
        Ok(Inspected { features, mode }) => {
            // The listing's mode said more than the ACL: what stands may be right.
            if mode != entry.metadata.mode && *how == Finish::Update {
                *how = Finish::Look;
            }
            entry.metadata.mode = mode;
            Ok(features)
        }
        // It was listed, and is gone: nothing more is known of it.
        Err(Cause::Io(error)) if error.kind() == NotFound => Ok(Features::default()),
        Err(cause) => Err(cause),
    }
}

/// A spool that gives back something else than it was given.
pub(super) fn spool_damaged() -> Error {
    Error::new(ErrorKind::Unusable, "a spool file of this run was damaged")
}
