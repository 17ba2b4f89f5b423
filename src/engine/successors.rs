//! Leaves that replace directories, which are deleted first.
//!
//! Such a directory may contain the only copy of the leaf's content (a file that was moved out of a
//! directory of its own name). So the leaf's content is staged before anything is deleted, and put
//! in place when the directory is gone. A leaf that is another name of a file which the target has
//! by then needs no content: it becomes a name of that.

use super::Context;
use super::batch::{BATCH_FILES, CompletedStep};
use super::commit::Committer;
use super::copy::Worker;
use super::finish::spool_damaged;
use super::links::stays_linked;
use crate::backend::Precondition;
use crate::manifest::State;
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, Key, Operation, Reason, Status,
};
use crate::plan::links::{Follower, Links};
use crate::plan::{Step, spool_error};
use crate::spool::{Spool, SpoolReader};
use std::collections::HashSet;
use std::path::Path;

/// The most files that are staged at a time: this bounds what an interruption loses, and the memory
/// for rows.
const MAX_STAGED: usize = BATCH_FILES;
/// In bytes: as much of the other files' entries stays in memory.
const SPOOL_MEMORY: usize = 64 << 10;

/// Leaves that wait for deletions.
pub(super) struct Successors {
    leaves: SpoolReader,
    /// Entries that are put in place, each with how.
    staged: Vec<(Entry, Prepared)>,
    /// Leaves that exceed [`MAX_STAGED`] and wait for the next run.
    rest: Spool,
}

/// What an entry gets in the place of its directory.
enum Prepared {
    /// Its staged content.
    Content(Box<CompletedStep>),
    /// All of it: what is no file has no content.
    Nothing,
    /// The file of another of its names.
    OtherName,
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
        state: Option<&State>,
    ) -> Result<(), Error> {
        let mut files = HashSet::new();
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
            if let (Some(group), Some(state)) = (entry.group(), state)
                && (!files.insert(group.id) || stays_linked(context, state, &entry)?)
            {
                self.staged.push((entry, Prepared::OtherName));
                continue;
            }
            if entry.kind != EntryKind::File {
                self.staged.push((entry, Prepared::Nothing));
                continue;
            }
            match worker.step(&step(entry.clone())) {
                Ok(Some(finished)) => self.staged.push((entry, Prepared::Content(finished.into()))),
                Ok(None) => {}
                Err(error) => context.fail(error),
            }
        }
        if self.staged.iter().any(|(_, how)| matches!(how, Prepared::Content(_))) {
            committer.make_durable();
        }
        Ok(())
    }

    /// Puts the leaves in place, unless the directories still exist after the `deletions`. Returns
    /// those that are to become names of other leaves' files.
    pub(super) fn put_in_place(
        mut self,
        context: &Context<'_>,
        deletions: Option<Status>,
        committer: &mut Committer<'_>,
    ) -> Result<Links, Error> {
        let mut names = Links::new(context.spool_dir);
        for (entry, how) in std::mem::take(&mut self.staged) {
            if context.is_over() {
                return Ok(names);
            }
            match (how, entry.group()) {
                (Prepared::Content(finished), _) => {
                    put(context, entry, Some(*finished), deletions, committer);
                }
                (Prepared::OtherName, Some(group)) => {
                    if let Err(error) = check_place(context, &entry.key, deletions) {
                        context.fail(error);
                        continue;
                    }
                    let name = Follower {
                        file: group.id,
                        source: entry,
                        target: None,
                        place: Precondition::Absent,
                        is_foreseen: true,
                    };
                    names.follow(&name).map_err(spool_error)?;
                }
                (Prepared::Nothing | Prepared::OtherName, _) => {
                    put(context, entry, None, deletions, committer);
                }
            }
        }
        // If nothing was to be deleted, nothing was staged.
        while let Some(record) = self.leaves.next().map_err(spool_error)? {
            if context.is_over() {
                return Ok(names);
            }
            let mut entry = Entry::decode(record).ok_or_else(spool_damaged)?;
            // The next run links it.
            entry.ungroup();
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
        Ok(names)
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
    let is_written = finished.is_some();
    let done = match (check_place(context, &key, deletions), finished) {
        (Ok(()), Some(finished)) => return committer.take(finished),
        (Ok(()), None) => Worker::new(context, 0).step(&step(entry)),
        (Err(error), _) => Err(error),
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

/// Checks that no directory is in the place of a leaf any longer.
fn check_place(
    context: &Context<'_>,
    key: &Key,
    deletions: Option<Status>,
) -> Result<(), EntryError> {
    let directory = Key::child(key.parent(), key.name(), true);
    match context.target.look(&directory) {
        Ok(Some(found)) if found.kind == EntryKind::Directory => {
            let cause = not_deleted_cause(deletions);
            Err(EntryError::on_target(Operation::Write, key, cause))
        }
        Ok(_) => Ok(()),
        Err(cause) => Err(EntryError::on_target(Operation::List, key, cause)),
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
