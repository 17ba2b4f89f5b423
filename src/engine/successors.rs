//! Leaves that replace directories, which are deleted first.
//!
//! Such a directory may contain the only copy of the leaf's content (a file that was moved out of a
//! directory of its own name). So the leaf's content is staged before anything is deleted, and put
//! in place when the directory is gone.

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

/// The most files that are staged at a time: this bounds what an interruption loses, and the memory
/// for rows.
const MAX_STAGED: usize = BATCH_FILES;
/// In bytes: as much of the other files' entries stays in memory.
const SPOOL_MEMORY: usize = 64 << 10;

/// Leaves that wait for deletions.
pub(super) struct Successors {
    leaves: SpoolReader,
    /// Entries whose content is staged. Links have no content; they are made when they are put in
    /// place.
    staged: Vec<(Entry, Option<CompletedStep>)>,
    /// Leaves that exceed [`MAX_STAGED`] and wait for the next run.
    rest: Spool,
}

impl Successors {
    pub(super) fn new(leaves: SpoolReader, spool_dir: &Path) -> Self {
        Self { leaves, staged: Vec::new(), rest: Spool::new(spool_dir, SPOOL_MEMORY) }
    }

    /// Stages the leaves' content and makes it durable. A failure is reported, and keeps the
    /// directory from being deleted.
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
            if self.staged.len() == MAX_STAGED {
                context.collisions.note_failed(&entry.key);
                self.rest.push(record).map_err(spool_error)?;
                continue;
            }
            if entry.kind != EntryKind::File {
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

    /// Puts the leaves in place, unless the directories still exist after the `deletions`.
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
        // If nothing was to be deleted, nothing was staged.
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
            let why = "too many files replace directories in this run: the next run copies this \
                       one";
            let cause = Cause::Other(why.to_owned());
            context.fail(EntryError::on_target(Operation::Write, &entry.key, cause));
        }
        committer.place();
        Ok(())
    }
}

fn step(source: Entry) -> Step {
    Step {
        decision: Decision::new(Action::making(source.kind), Reason::Kind),
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
            Some((Operation::Write, not_deleted_cause(deletions)))
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
            // The staged content was dropped; a store has already put it in place.
            if is_written
                && context.target.capabilities().atomic_put
                && let Err(cause) = remove_published(context, &key)
            {
                context.fail(EntryError::on_target(Operation::Delete, &key, cause));
            }
        }
    }
}

fn remove_published(context: &Context<'_>, key: &Key) -> Result<(), Cause> {
    match context.target.look(key)? {
        Some(entry) => context.target.remove(&entry),
        None => Ok(()),
    }
}

/// Returns why a directory is still in the place of a leaf after the deletions.
pub(super) fn not_deleted_cause(deletions: Option<Status>) -> Cause {
    match deletions {
        Some(Status::Refused) => Cause::DeletionRefused,
        Some(Status::Waits) => Cause::DeletionWaits,
        _ => Cause::DirectoryStands,
    }
}
