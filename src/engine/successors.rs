//! Leaves that take the place of directories which are deleted for them.
//!
//! What lies in such a directory may be the only copy of what the leaf has (a file that was moved out of
//! a directory of its own name). So the leaf's content is written before anything is deleted, and put in
//! its place when the directory is gone.

use super::Context;
use super::batch::{BATCH_FILES, CompletedStep};
use super::commit::Committer;
use super::copy::Worker;
use super::finish::spool_damaged;
use crate::backend::Precondition;
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, Key, Operation, Reason, Status,
};
use crate::plan::{Step, spool_error};
use crate::spool::{Spool, SpoolReader};
use std::path::Path;

/// Files that are held, written and not yet in their place: what an interruption costs, and memory for
/// so many rows.
const STAGED: usize = BATCH_FILES;
/// Bytes in memory of those beyond.
const SPOOLED: usize = 64 << 10;

/// Leaves that wait for deletions.
pub(super) struct Successors {
    leaves: SpoolReader,
    /// What was written already; links have no content, and are made at once.
    staged: Vec<(Entry, Option<CompletedStep>)>,
    /// Those that are too many for one run.
    rest: Spool,
}

impl Successors {
    pub(super) fn new(leaves: SpoolReader, spool_dir: &Path) -> Self {
        Self { leaves, staged: Vec::new(), rest: Spool::new(spool_dir, SPOOLED) }
    }

    /// Writes their content, and makes it durable. What fails is told; the directory in its place stays
    /// in any case.
    pub(super) fn stage(
        &mut self,
        context: &Context<'_>,
        committer: &mut Committer<'_>,
    ) -> Result<(), Error> {
        let mut worker = Worker::new(context, 0);
        while let Some(record) = self.leaves.next().map_err(spool_error)? {
            if context.is_over() {
                return Ok(());
            }
            let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
            if self.staged.len() == STAGED {
                context.collisions.note_failed(&entry.key);
                self.rest.push(record).map_err(spool_error)?;
                continue;
            }
            if entry.kind == EntryKind::Symlink {
                self.staged.push((entry, None));
                continue;
            }
            match worker.step(&step(entry.clone())) {
                Ok(Some(finished)) => self.staged.push((entry, Some(finished))),
                Ok(None) => {}
                Err(error) => context.fail(error),
            }
        }
        if self.staged.iter().any(|(_, finished)| finished.is_some()) {
            committer.make_durable();
        }
        Ok(())
    }

    /// Puts them in their places, where nothing stands any more by what became of the `deletions`.
    pub(super) fn put_in_place(
        mut self,
        context: &Context<'_>,
        deletions: Option<Status>,
        committer: &mut Committer<'_>,
    ) -> Result<(), Error> {
        for (entry, finished) in std::mem::take(&mut self.staged) {
            if context.is_over() {
                return Ok(());
            }
            put(context, entry, finished, deletions, committer);
        }
        // Those of which nothing was written, since nothing was to be deleted.
        while let Some(record) = self.leaves.next().map_err(spool_error)? {
            if context.is_over() {
                return Ok(());
            }
            let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
            put(context, entry, None, deletions, committer);
        }
        let mut rest = self.rest.into_reader().map_err(spool_error)?;
        while let Some(record) = rest.next().map_err(spool_error)? {
            let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
            let why = "so many files take the place of directories that it waits for the next run";
            let cause = Cause::Other(why.to_owned());
            context.fail(EntryError::on_target(Operation::Write, &entry.key, cause));
        }
        committer.place();
        Ok(())
    }
}

fn step(source: Entry) -> Step {
    let action = match source.kind {
        EntryKind::Symlink => Action::MakeLink,
        _ => Action::Copy { unless: None },
    };
    Step {
        decision: Decision::new(action, Reason::Kind),
        source,
        target: None,
        row: None,
        precondition: Precondition::Absent,
    }
}

fn put(
    context: &Context<'_>,
    entry: Entry,
    finished: Option<CompletedStep>,
    deletions: Option<Status>,
    committer: &mut Committer<'_>,
) {
    let key = entry.key.clone();
    let directory = Key::child(key.parent(), key.name(), true);
    let in_the_way = match context.target.look(&directory) {
        Ok(Some(found)) if found.kind == EntryKind::Directory => {
            Some((Operation::Write, still_standing(deletions)))
        }
        Ok(_) => None,
        Err(cause) => Some((Operation::List, cause)),
    };
    let is_written = finished.is_some();
    let done = match (in_the_way, finished) {
        (None, Some(finished)) => return committer.take(finished),
        (None, None) => Worker::new(context, 0).step(&step(entry)),
        (Some((operation, cause)), _) => Err(EntryError::on_target(operation, &key, cause)),
    };
    match done {
        Ok(Some(finished)) => committer.take(finished),
        Ok(None) => {}
        Err(error) => {
            context.fail(error);
            // What was written is dropped, unless it stands already.
            if is_written
                && context.target.capabilities().atomic_put
                && let Err(cause) = take_back(context, &key)
            {
                context.fail(EntryError::on_target(Operation::Delete, &key, cause));
            }
        }
    }
}

fn take_back(context: &Context<'_>, key: &Key) -> Result<(), Cause> {
    match context.target.look(key)? {
        Some(entry) => context.target.remove(&entry),
        None => Ok(()),
    }
}

/// Why a directory stands in the place of a leaf that waited, by what became of the deletions.
pub(super) fn still_standing(deletions: Option<Status>) -> Cause {
    match deletions {
        Some(Status::Refused) => Cause::DeletionRefused,
        Some(Status::Waits) => Cause::DeletionWaits,
        _ => Cause::DirectoryStands,
    }
}
