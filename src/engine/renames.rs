//! Renames: files that the source has under another name are renamed in the target.
//!
//! When all steps are done, the new files that waited are matched with the planned deletions. What a
//! deletion would remove is renamed instead, once the source's content was found to be the recorded
//! one; else the file is copied. In a store a rename is a copy, and the old name is deleted after it.
//! A file is never renamed over another, and what was renamed is
//! looked at: what isn't the file that was listed gets its name back.

use super::Context;
use super::batch::{Batch, CompletedStep};
use super::copy::Worker;
use super::dispatcher::{Dispatcher, Worked, with_workers};
use super::finish::spool_damaged;
use super::subtrees::Moving;
use crate::backend::{Precondition, Renames, Source};
use crate::manifest::{Row, SourceNumber, State};
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{Action, Decision, Entry, EntryError, EntryKind, Error, Key, Outcome, Reason};
use crate::plan::moves::{MatchedMoves, Move, MovedFrom, Moves, without};
use crate::plan::{DeletionTally, Remainder, Step, spool_error};
use crate::spool::{Sorter, SpoolReader};
use parking_lot::Mutex;
use std::path::Path;

/// In bytes: as much of the numbers of deletions stays in memory.
const RENAMES_MEMORY: usize = 64 << 10;

/// Returns an empty collection for [`Context::renamed`].
pub fn renames_done(spool_dir: &Path) -> Mutex<Sorter> {
    Mutex::new(Sorter::new(spool_dir, RENAMES_MEMORY))
}

/// Returns where an entry of the source was when a run from it recorded it, if that run recorded
/// the same inode, size and mtime.
///
/// # Errors
/// Fails if the state can't be read.
pub fn moved_from(
    source: &dyn Source,
    state: &State,
    from: SourceNumber,
    entry: &Entry,
) -> Result<Option<MovedFrom>, Error> {
    let number = |row: &Row| row.source.inode().and_then(|inode| inode.number);
    let Some(listed) = entry.stamp.inode().and_then(|inode| inode.number) else { return Ok(None) };
    let is_same = |row: &Row| {
        row.key != entry.key
            && row.from == from
            && row.kind == entry.kind
            && row.group().is_none()
            && number(row) == Some(listed)
            && row.born.zip(entry.born).is_none_or(|(before, now)| before == now)
            && (row.kind != EntryKind::File || row.digest.is_some())
    };
    for row in state.rows_stamped(&entry.stamp, is_same)? {
        // What can't be looked at may be there still.
        let Ok(found) = source.look(&row.key) else { continue };
        let is_gone = found.is_none();
        let is_other =
            |found: Entry| found.stamp.inode().is_some_and(|it| it.number != Some(listed));
        if found.is_none_or(is_other) {
            return Ok(Some(MovedFrom { row, is_gone }));
        }
    }
    Ok(None)
}

/// Renames or copies the files that waited for the end of the plan. `may_delete` says whether a number
/// of deletions is allowed: nothing is renamed where it isn't.
///
/// # Errors
/// Fails if the state or the spools can't be read.
pub(super) fn carry_out<'k>(
    context: &Context<'_>,
    Moving { remainder, set_aside, committer }: Moving<'k>,
    state: Option<&State>,
    may_delete: &mut dyn FnMut(&DeletionTally) -> bool,
) -> Result<Moving<'k>, Error> {
    if remainder.moves.count == 0 {
        return Ok(Moving { remainder, set_aside, committer });
    }
    let (spool_dir, trust) = (context.spool_dir, context.policy.options.trust);
    let Remainder { moves, deletions, tally, broke_off, .. } = remainder;
    let matched = moves.matched(deletions, tally, broke_off, spool_dir)?;
    let state = state.filter(|_| may_delete(&matched.tally));
    let MatchedMoves { moves, copies, deletions, tally: least, count } = matched;
    let worked = with_workers(context, (committer, set_aside), |dispatcher| {
        hand_out_moves(dispatcher, state, moves)?;
        hand_out_copies(dispatcher, copies)
    })?;
    let Worked { result, set_aside, mut committer } = worked;
    result?;
    // Nothing is deleted before its successor is durable.
    committer.flush();
    let none = renames_done(spool_dir).into_inner();
    let renamed = std::mem::replace(&mut *context.renamed.lock(), none);
    let renamed = renamed.finish().map_err(spool_error)?;
    let others = count - renamed.remaining();
    let tally = DeletionTally {
        leaves: least.leaves + others,
        deletable: least.deletable + others,
        ..least
    };
    let deletions = match context.target.capabilities().renames {
        Renames::InPlace => without(deletions, renamed, spool_dir)?,
        Renames::ByCopy => deletions,
    };
    let moves = Moves::new(spool_dir, trust);
    let remainder = Remainder { deletions, tally, moves, ..remainder };
    Ok(Moving { remainder, set_aside, committer })
}

/// Hands out renames; without a state, copies in their place.
fn hand_out_moves(
    dispatcher: &mut Dispatcher<'_, '_>,
    state: Option<&State>,
    mut moves: SpoolReader,
) -> Result<(), Error> {
    while let Some(record) = moves.next().map_err(spool_error)? {
        if dispatcher.context.is_over() {
            return Ok(());
        }
        let Move { deletion, source, target } = Move::decode(record).ok_or_else(spool_damaged)?;
        let row = state.map(|state| state.row(&target.key)).transpose()?.flatten();
        let Some(row) = row else {
            copy(dispatcher, source)?;
            continue;
        };
        let decision = Decision::new(Action::Rename, Reason::Moved);
        let (target, row) = (Some(target), Some(row));
        let precondition = Precondition::Absent;
        dispatcher.rename(Step { decision, source, target, row, precondition }, deletion);
    }
    Ok(())
}

fn hand_out_copies(
    dispatcher: &mut Dispatcher<'_, '_>,
    mut copies: SpoolReader,
) -> Result<(), Error> {
    while let Some(record) = copies.next().map_err(spool_error)? {
        if dispatcher.context.is_over() {
            return Ok(());
        }
        copy(dispatcher, Entry::decode(record).ok_or_else(spool_damaged)?)?;
    }
    dispatcher.hand_over();
    Ok(())
}

fn copy(dispatcher: &mut Dispatcher<'_, '_>, source: Entry) -> Result<(), Error> {
    dispatcher.context.progress.plan_copy(&source);
    dispatcher.lone(copy_of(source))
}

/// Returns the step that copies a new file.
fn copy_of(source: Entry) -> Step {
    let decision = Decision::new(Action::Copy { unless: None }, Reason::New);
    Step { decision, source, target: None, row: None, precondition: Precondition::Absent }
}

impl Worker<'_, '_> {
    /// Renames the file that is the step's target, or else copies the source's; `deletion` is the
    /// number of the deletion whose place this takes.
    pub(super) fn rename(&mut self, step: Step, deletion: u64, done: &mut Batch) {
        match self.rename_or_copy(step, deletion) {
            Ok(Renamed { finished, from }) => {
                if let Some(finished) = finished {
                    done.add(finished);
                }
                if let Some(from) = from {
                    done.forget(from);
                }
            }
            Err(error) => self.context.fail(error),
        }
    }

    fn rename_or_copy(&mut self, mut step: Step, deletion: u64) -> Result<Renamed, EntryError> {
        let (context, options) = (self.context, &self.context.policy.options);
        let (Some(listed), Some(row)) = (step.target.take(), &step.row) else {
            return self.copy_moved(step.source);
        };
        // The rename in the source changed the file's ctime. Where it didn't, as below a directory
        // that was renamed, the content is known. The ctime counts in any case.
        let trust = StampFields { ignore_ctime: false, ..options.trust };
        let is_known = !options.checksum
            && !row.source_racy
            && !row.extra.lack(options.digests)
            && step.source.stamp.compare(&row.source, trust) == StampMatch::Same;
        let (entry, hashed) = if is_known {
            (step.source.clone(), None)
        } else {
            let (entry, hashed) = self.hash_source(&step)?;
            (entry, Some(hashed))
        };
        let is_recorded = hashed.is_none_or(|hashed| Some(hashed.digest) == row.digest);
        let renamed =
            if is_recorded { context.target.rename(&listed, &entry.key) } else { Ok(None) };
        // What can't be renamed is copied, and that fails for the same reason, if it was one.
        let Ok(Some(found)) = renamed else { return self.copy_moved(entry) };
        if let Err(error) = context.renamed.lock().push(&deletion.to_be_bytes()) {
            context.abort(spool_error(error));
        }
        context.progress.files_renamed.add(1);
        let (key, kind, decision) = (&entry.key, Some(entry.kind), step.decision);
        context.report(|| {
            Outcome::new(key, kind, decision.action, decision.reason).renamed_from(&listed.key)
        });
        step.precondition = Precondition::Leaf;
        step.target = Some(found.clone());
        step.row = step.row.map(|row| Row { key: key.clone(), target: found.stamp, ..row });
        if !entry.flags().is_empty() {
            context.seal(&entry);
        }
        let mut finished = self.update(&step, entry, Some(found), hashed)?;
        finished.done = Some(decision);
        let is_copy = context.target.capabilities().renames == Renames::ByCopy;
        let from = Some(listed.key).filter(|_| !is_copy);
        Ok(Renamed { finished: Some(finished), from })
    }

    fn copy_moved(&mut self, source: Entry) -> Result<Renamed, EntryError> {
        self.context.progress.plan_copy(&source);
        let finished = self.copy(&copy_of(source), None)?;
        Ok(Renamed { finished, from: None })
    }
}

/// What became of a file that was moved.
struct Renamed {
    finished: Option<CompletedStep>,
    /// The key that it had in the target and has no more; `None` if it was copied.
    from: Option<Key>,
}
