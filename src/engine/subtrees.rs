//! Renames of directories: what the source has in a directory that was moved is compared when the
//! target's directory has the new name, by a plan of its own.

use super::Context;
use super::commit::Committer;
use super::dispatcher::{Worked, with_workers};
use super::set_aside::SetAside;
use crate::backend::{KeySpace, ListItem};
use crate::compare::{Join, ReadAhead, RecordedRows};
use crate::manifest::{Row, State};
use crate::model::{Action, Entry, EntryKind, Error, Key, Outcome, Reason};
use crate::plan::subtrees::{Found, Renamed, Subtree, found_in, split};
use crate::plan::{DeletionTally, Plan, Planning, Remainder};
use crate::spool::Sorter;

/// How deep renames within renamed directories are looked for. What was moved beyond is made anew.
pub(super) const ROUNDS: usize = 8;

/// Entries of one side, or rows, as a join takes them.
type Stream<'a, T> = Box<dyn Iterator<Item = Result<T, Error>> + 'a>;
/// What is in a directory that was moved.
pub(super) type SubtreeJoin<'a> =
    Join<Stream<'a, ListItem>, Stream<'a, ListItem>, ReadAhead<Stream<'a, Row>>>;

/// What is left to do beside renames.
pub(super) struct Moving<'k> {
    pub(super) remainder: Remainder,
    pub(super) set_aside: SetAside,
    pub(super) committer: Committer<'k>,
}

/// Renames the directories that waited for the end of the plan, or makes them anew, and carries out
/// what differs in them. `may_delete` says whether a number of deletions is allowed: nothing is
/// renamed where it isn't.
///
/// # Errors
/// Those of [`execute`](super::execute).
pub(super) fn carry_out<'k>(
    context: &Context<'_>,
    Moving { mut remainder, mut set_aside, mut committer }: Moving<'k>,
    (state, planning): (Option<&State>, Planning<'_>),
    may_delete: &mut dyn FnMut(&DeletionTally) -> bool,
) -> Result<Moving<'k>, Error> {
    if remainder.subtrees.is_empty() {
        return Ok(Moving { remainder, set_aside, committer });
    }
    let mut keys = Vec::new();
    for round in 1..=ROUNDS {
        if remainder.subtrees.is_empty() || context.is_over() {
            break;
        }
        let mut renaming =
            Renaming { remainder: &mut remainder, keys: &mut keys, spool_dir: context.spool_dir };
        let rename = |subtree: &Subtree, found: &Entry| rename(context, subtree, found);
        let renamed = renaming.rename(state.is_some(), may_delete, rename)?;
        if renamed.iter().any(|(_, found)| found.is_some()) {
            // Rows get their new keys when the names are durable. They are no part of a batch.
            committer.flush();
            committer.make_durable();
            if committer.is_broken() {
                break;
            }
        }
        for (subtree, found) in &renamed {
            if let (Some(_), Some(state)) = (found, state) {
                state.rename_directory(&subtree.from, &subtree.source.key)?;
            }
        }
        for (subtree, found) in renamed {
            let key = subtree.source.key.clone();
            let rows: Stream<'_, Row> = match (state, &found) {
                (Some(state), Some(_)) => {
                    let is_within = move |row: &Result<Row, Error>| {
                        row.as_ref().map_or(true, |row| row.key.is_within(key.as_bytes()))
                    };
                    Box::new(state.rows_from(&subtree.source.key)?.take_while(is_within))
                }
                _ => Box::new(std::iter::empty()),
            };
            let planning = planning_of(planning, found.is_some() && round < ROUNDS);
            let plan = Plan::new(join(subtree, found, rows, &planning)?, planning);
            let worked =
                with_workers(context, (committer, set_aside), |dispatcher| dispatcher.run(plan))?;
            let Worked { result, set_aside: aside, committer: done } = worked;
            (set_aside, committer) = (aside, done);
            committer.place();
            let Some(more) = result? else { break };
            remainder.append(more, context.spool_dir)?;
        }
    }
    // Nothing is deleted before its successor is durable.
    committer.flush();
    Ok(Moving { remainder, set_aside, committer })
}

/// Returns what the plan of a directory depends on.
pub(super) fn planning_of(planning: Planning<'_>, moves_directories: bool) -> Planning<'_> {
    Planning { moves_directories, is_recount: true, root_is_new: false, ..planning }
}

/// What the target has in a directory that was renamed, and the directory itself.
pub(super) type InTarget = Option<(Entry, Sorter)>;

/// Decides which directories are renamed.
pub(super) struct Renaming<'r> {
    pub(super) remainder: &'r mut Remainder,
    /// The old and new keys of those that were renamed so far.
    pub(super) keys: &'r mut Vec<(Key, Key)>,
    pub(super) spool_dir: &'r std::path::Path,
}

impl Renaming<'_> {
    /// Takes the directories that waited, and calls `rename` for each that can be renamed. Returns
    /// all of them, and of those that were renamed what the target has in them. That is in no
    /// deletion any more.
    pub(super) fn rename(
        &mut self,
        has_state: bool,
        may_delete: &mut dyn FnMut(&DeletionTally) -> bool,
        mut rename: impl FnMut(&Subtree, &Entry) -> Option<Entry>,
    ) -> Result<Vec<(Subtree, InTarget)>, Error> {
        let Self { remainder, keys, spool_dir } = self;
        let (mut subtrees, is_barred) = remainder.subtrees.take();
        for subtree in &mut subtrees {
            subtree.follow(keys);
        }
        let (found, deletions) = found_in(&mut remainder.deletions, &subtrees, spool_dir)?;
        let mut tally = remainder.tally;
        for found in found.iter().filter(|found| found.target.is_some()) {
            tally = tally.without(&found.tally);
        }
        // The most files that may be renamed, too.
        let files = DeletionTally {
            deletable: remainder.moves.count,
            leaves: remainder.moves.count,
            ..DeletionTally::default()
        };
        let is_allowed =
            has_state && !is_barred && !remainder.broke_off && may_delete(&tally.without(&files));
        let mut directories = Vec::new();
        for (subtree, Found { target, tally, .. }) in subtrees.iter().zip(found) {
            let directory =
                target.filter(|_| is_allowed).and_then(|target| rename(subtree, &target));
            if directory.is_some() {
                remainder.tally = remainder.tally.without(&tally);
            }
            directories.push(directory);
        }
        let renamed: Vec<_> = subtrees
            .iter()
            .zip(&directories)
            .filter_map(|(subtree, directory)| directory.as_ref().map(|_| subtree))
            .collect();
        let (entries, rest) = split(deletions, &renamed, spool_dir)?;
        remainder.deletions = rest;
        keys.extend(renamed.iter().map(|it| (it.from.clone(), it.source.key.clone())));
        remainder.moves.follow(keys, spool_dir)?;
        let mut entries = entries.into_iter();
        let all = subtrees.into_iter().zip(directories).map(|(subtree, directory)| {
            let found = directory.and_then(|directory| Some((directory, entries.next()?)));
            (subtree, found)
        });
        Ok(all.collect())
    }
}

/// Renames the target's directory; returns it under its new key.
fn rename(context: &Context<'_>, subtree: &Subtree, found: &Entry) -> Option<Entry> {
    // What can't be renamed is made anew.
    let renamed = context.target.rename(found, &subtree.source.key).ok()??;
    context.progress.directories_renamed.add(1);
    context.report(|| outcome(subtree));
    Some(renamed)
}

/// Returns the outcome of renaming a directory.
pub(super) fn outcome(subtree: &Subtree) -> Outcome {
    let kind = Some(EntryKind::Directory);
    Outcome::new(&subtree.source.key, kind, Action::Rename, Reason::Moved)
        .renamed_from(&subtree.from)
}

/// Joins what both sides have in a directory that was moved.
pub(super) fn join<'a>(
    subtree: Subtree,
    found: InTarget,
    rows: Stream<'a, Row>,
    planning: &Planning<'_>,
) -> Result<SubtreeJoin<'a>, Error> {
    let target: Stream<'a, ListItem> = match found {
        Some((directory, entries)) => Box::new(Renamed::new(directory, entries)?),
        None => Box::new(std::iter::empty()),
    };
    let source: Stream<'a, ListItem> = Box::new(subtree.into_items()?);
    let recorded = RecordedRows { rows, from: planning.policy.from }.read_ahead();
    Join::new(source, target, recorded, KeySpace::Tree)
}
