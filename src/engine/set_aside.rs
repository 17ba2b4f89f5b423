//! Leaves that were set aside for a directory of the same name; they are removed once it is
//! complete.
//!
//! Such a leaf may be the only copy of a file that belongs into the directory (one that was moved
//! into a directory of its own name). So its removal waits, as deletions do.

use super::Context;
use super::commit::Committer;
use super::finish::spool_damaged;
use crate::model::reserved::is_set_aside;
use crate::model::{
    Action, EntryError, Error, Key, Notice, Operation, Outcome, Progress, Reason, Status,
};
use crate::plan::{DeleteOptions, spool_error};
use crate::spool::{Spool, SpoolReader};
use std::path::Path;

/// In bytes: as much of their keys stays in memory.
const SPOOL_MEMORY: usize = 64 << 10;

/// Leaves that are to be removed when all steps are done.
pub(super) struct SetAside(Spool);

/// Which run set a leaf aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// This run.
    Now,
    /// An earlier run.
    Before,
    /// An earlier run, and the directory that took its place is to be deleted.
    Doomed,
}

impl Since {
    /// Returns the value for a leaf that an earlier run set aside.
    pub(super) fn before(is_deleted: bool) -> Self {
        if is_deleted { Self::Doomed } else { Self::Before }
    }
}

impl SetAside {
    pub(super) fn new(spool_dir: &Path) -> Self {
        Self(Spool::new(spool_dir, SPOOL_MEMORY))
    }

    pub(super) fn add(&mut self, key: &Key, since: Since) -> Result<(), Error> {
        let mut record = vec![since as u8];
        record.extend_from_slice(key.as_bytes());
        self.0.push(&record).map_err(spool_error)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn finish(self) -> Result<Leaves, Error> {
        self.0.into_reader().map(Leaves).map_err(spool_error)
    }
}

/// Leaves that were set aside, in the order in which they were added.
pub(super) struct Leaves(SpoolReader);

impl Leaves {
    pub(super) fn next(&mut self) -> Result<Option<(Key, Since)>, Error> {
        let Some(record) = self.0.next().map_err(spool_error)? else { return Ok(None) };
        let (&since, key) = record.split_first().ok_or_else(spool_damaged)?;
        let since = match since {
            0 => Since::Now,
            1 => Since::Before,
            2 => Since::Doomed,
            _ => return Err(spool_damaged()),
        };
        Ok(Some((Key::new(key), since)))
    }
}

/// Returns the directory that took the leaf's place.
fn directory_of(key: &Key) -> Key {
    match key.name() {
        name if is_set_aside(name) => Key::new(key.parent()),
        name => Key::child(key.parent(), name, true),
    }
}

/// What a run does about deletions, on which the removal of leaves set aside depends.
#[derive(Clone, Copy)]
pub(super) struct Deletions<'a> {
    /// What the user asked for; `None` if nothing is deleted.
    pub(super) options: Option<&'a DeleteOptions>,
    /// What becomes of the planned deletions; `None` if none were planned.
    pub(super) status: Option<Status>,
}

/// The state of the directory that took a leaf's place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Successor {
    /// Everything in it was copied.
    Complete,
    /// Something in it could not be copied.
    Incomplete,
}

/// Returns what becomes of a leaf set aside: [`Status::Done`] if it is removed; `None` if nothing
/// is reported.
pub(super) fn status(
    progress: &Progress,
    deletions: Deletions<'_>,
    since: Since,
    successor: Successor,
) -> Option<Status> {
    let despite_errors = deletions.options.is_some_and(|options| options.despite_errors);
    if since == Since::Doomed && deletions.status != Some(Status::Done) {
        return deletions.status;
    }
    let waits =
        progress.copies_failed.get() > 0 && (!despite_errors || successor == Successor::Incomplete);
    Some(if waits { Status::Waits } else { Status::Done })
}

/// Returns the outcome of a leaf that was set aside.
pub(super) fn outcome(key: &Key, status: Status) -> Outcome {
    Outcome::new(key, None, Action::RemoveSetAside, Reason::SetAside).with_status(status)
}

/// Removes the leaves that were set aside, unless copies failed.
pub(super) fn remove(
    context: &Context<'_>,
    mut leaves: Leaves,
    deletions: Deletions<'_>,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let progress = context.progress;
    while let Some((key, since)) = leaves.next()? {
        if context.is_over() {
            return Ok(());
        }
        let directory = directory_of(&key);
        let successor = if context.collisions.is_incomplete(&directory) {
            Successor::Incomplete
        } else {
            Successor::Complete
        };
        match status(progress, deletions, since, successor) {
            Some(Status::Done) => {}
            Some(status) => {
                context.report(|| outcome(&key, status));
                if status == Status::Waits {
                    progress.file_deletions_waiting.add(1);
                }
                if successor == Successor::Incomplete {
                    let directory = directory.to_string();
                    context.notice(Notice::SetAsideStays { key: key.clone(), directory });
                }
                continue;
            }
            None => continue,
        }
        if let Err(cause) = context.target.remove_set_aside(&key) {
            context.fail(EntryError::on_target(Operation::Delete, &key, cause));
            continue;
        }
        if since != Since::Now {
            progress.leftovers_swept.add(1);
            context.report(|| outcome(&key, Status::Done));
        }
        if !is_set_aside(key.name()) {
            // A store keeps the leaf at its own key, so it had a row until now.
            committer.forget(key);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_aside_comes_back_with_the_directory_that_took_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut aside = SetAside::new(directory.path());
        assert!(aside.is_empty());
        let keys = ["d/f/.vidimus.6173696400000001", "d/f", ".vidimus.6173696400000001"];
        for (key, since) in keys.iter().zip([Since::Now, Since::Before, Since::Doomed]) {
            aside.add(&Key::new(key.as_bytes()), since).unwrap();
        }
        let mut leaves = aside.finish().unwrap();
        let mut found = Vec::new();
        while let Some((key, since)) = leaves.next().unwrap() {
            found.push((directory_of(&key), since));
        }
        let directory = Key::new(&b"d/f/"[..]);
        let expected = [
            (directory.clone(), Since::Now),
            (directory, Since::Before),
            (Key::root(), Since::Doomed),
        ];
        assert_eq!(found, expected);
    }
}
