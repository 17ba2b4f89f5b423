//! What comes last: leaves in the place of deleted directories, and directories' metadata.

use super::batch::Finished;
use super::commit::Committer;
use super::copy::Worker;
use super::{Context, on_target};
use crate::backend::Place;
use crate::compare::Reason;
use crate::manifest::{Origin, Row};
use crate::model::event::Change;
use crate::model::{Cause, Entry, EntryKind, Error, ErrorKind, Operation};
use crate::plan::{Finish, Step, Task, spool_error};
use crate::spool::SpoolReader;
use std::io::ErrorKind::NotFound;

/// Makes the leaves whose place a directory held that should be deleted by now.
pub(super) fn after_deletion(
    context: &Context<'_>,
    mut leaves: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let mut worker = Worker::new(context, 0);
    while let Some(record) = leaves.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        let source = Entry::decode(record).ok_or_else(spool_damaged)?;
        let directory = crate::model::Key::child(source.key.parent(), source.key.name(), true);
        match context.target.look(&directory) {
            Ok(None) => {}
            Ok(Some(found)) if found.kind != EntryKind::Directory => {}
            Ok(Some(_)) => {
                let cause = Cause::DirectoryInTheWay;
                context.fail(on_target(Operation::Write, &source.key, cause));
                continue;
            }
            Err(cause) => {
                context.fail(on_target(Operation::List, &source.key, cause));
                continue;
            }
        }
        let task = match source.kind {
            EntryKind::Symlink => Task::MakeLink,
            _ => Task::Copy { unless: None },
        };
        let (reason, place) = (Reason::Kind, Place::New);
        let step = Step { task, reason, source, target: None, row: None, place };
        match worker.step(&step) {
            Ok(finished) => committer.take(finished),
            Err(error) => context.fail(error),
        }
    }
    committer.place();
    Ok(())
}

/// Sets the metadata of directories in which all is done, children first.
pub(super) fn directories(
    context: &Context<'_>,
    mut directories: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    while let Some(record) = directories.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        let (how, mut entry) = Finish::decode(record).ok_or_else(spool_damaged)?;
        let set = if how == Finish::Record {
            // Whatever stands is what its row tells; the next run tries again.
            context.target.look(&entry.key).map(|found| {
                entry.metadata = found.map_or(entry.metadata, |found| found.metadata);
            })
        } else {
            let wanted = context.target.holds(&entry.metadata, EntryKind::Directory);
            context.target.set_metadata(&entry.key, EntryKind::Directory, &wanted)
        };
        let wanted = context.target.holds(&entry.metadata, EntryKind::Directory);
        if let Err(cause) = set {
            let gone = matches!(&cause, Cause::Io(error) if error.kind() == NotFound);
            if gone && context.progress.files_failed.get() > 0 {
                // It could not be made, which was told.
                continue;
            }
            context.fail(on_target(Operation::SetMetadata, &entry.key, cause));
            continue;
        }
        let row = Row {
            kind: EntryKind::Directory,
            digest: None,
            origin: Origin::Proven,
            source: entry.stamp,
            source_racy: entry.stamp.is_racy(context.began),
            target: entry.stamp,
            metadata: wanted,
            link: None,
            run: context.run,
            verified_at: None,
            key: entry.key,
        };
        committer.take(Finished {
            row,
            staged: None,
            change: (how == Finish::Update).then_some(Change::UpdateMetadata),
            reason: Reason::Metadata,
            stands: None,
            told: false,
        });
    }
    Ok(())
}

/// A spool that gives back something else than it was given.
pub(super) fn spool_damaged() -> Error {
    Error::new(ErrorKind::Unusable, "a spool file of this run was damaged")
}
