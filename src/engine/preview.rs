//! A dry run: reads the plan and reports the same outcomes as its execution would.

use super::delete::{for_each_planned, preview_deletions, settle};
use super::finish::{spool_damaged, time_not_kept};
use super::refusals::Refusals;
use super::renames::renames_done;
use super::set_aside::{self, Deletions, SetAside, Since, Successor};
use super::subtrees::{self, ROUNDS, Renaming, planning_of};
use super::successors::not_deleted_cause;
use crate::backend::Renames;
use crate::compare::join::Joined;
use crate::manifest::{Row, State};
use crate::model::stamp::StampFields;
use crate::model::{
    Action, Decision, Entry, EntryError, EntryKind, Error, Event, Key, Observer, Operation,
    Outcome, Progress, Reason, Status, Stop,
};
use crate::plan::links::Follower;
use crate::plan::moves::{MatchedMoves, Move, Moves, without};
use crate::plan::subtrees::Subtree;
use crate::plan::{
    DeleteOptions, DeletionTally, Finish, Plan, Planned, Planning, Remainder, Step, spool_error,
};
use std::path::Path;

/// A dry run.
pub struct Preview<'a> {
    /// Receives the events.
    pub observer: &'a dyn Observer,
    /// The counters.
    pub progress: &'a Progress,
    /// The user's request to stop.
    pub stop: &'a Stop,
    /// What the user asked for; `None` if nothing is deleted.
    pub deletes: Option<&'a DeleteOptions>,
    /// What earlier runs recorded, if any did.
    pub state: Option<&'a State>,
    /// How the target renames files.
    pub renames: Renames,
    /// The directory of spool files.
    pub spool_dir: &'a Path,
    /// Returns whether a temporary file belongs to a run that is under way, and is left alone.
    pub under_way: &'a dyn Fn(&Key) -> bool,
    /// Returns whether a run would set what a listing doesn't show of a file that is otherwise taken
    /// as it is: its attributes, or a mode that an ACL narrows.
    pub sets_unlisted: &'a dyn Fn(&Step) -> bool,
    /// Special files that the target would refuse.
    pub refusals: Refusals,
}

impl Preview<'_> {
    /// Reports what executing the plan would do; returns the error of `allow` if it refused
    /// deletions.
    ///
    /// # Errors
    /// The error that would stop the run.
    pub fn run<J: Iterator<Item = Result<Joined, Error>>>(
        &self,
        (mut plan, planning): (Plan<'_, J>, Planning<'_>),
        mut allow: impl FnMut(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let mut set_aside = SetAside::new(self.spool_dir);
        self.steps(&mut plan, &mut set_aside)?;
        if self.stop.requested() {
            return Ok(None);
        }
        let mut may_delete = |tally: &_| self.deletes.is_some() && allow(tally).is_ok();
        let mut remainder = plan.finish()?;
        self.subtrees(&mut remainder, &mut set_aside, planning, &mut may_delete)?;
        let remainder = self.moves(remainder, &mut may_delete)?;
        self.remainder(remainder, set_aside, allow)
    }

    /// Reports what would become of all that a plan yields.
    fn steps<J: Iterator<Item = Result<Joined, Error>>>(
        &self,
        plan: &mut Plan<'_, J>,
        set_aside: &mut SetAside,
    ) -> Result<(), Error> {
        while let Some(planned) = plan.next().transpose()? {
            match planned {
                Planned::SetAside { key, is_deleted } => {
                    set_aside.add(&key, Since::before(is_deleted))?;
                }
                Planned::Step(planned) => {
                    if let Some(outcome) = foreseen(&planned, self.sets_unlisted) {
                        self.report(outcome);
                    }
                }
                Planned::Failed(error) => self.fail(error),
                Planned::Settled(outcome) => self.report(outcome),
                Planned::Sweep(key) if (self.under_way)(&key) => {}
                Planned::Sweep(key) => {
                    self.report(Outcome::new(&key, None, Action::Sweep, Reason::LeftOver));
                }
                Planned::Notice(notice) => {
                    self.observer.observe(&Event::Notice(notice));
                }
                Planned::Forget(_) | Planned::Later(_) => {}
            }
        }
        Ok(())
    }

    /// Reports which directories would be renamed, and what would be done in them.
    fn subtrees(
        &self,
        remainder: &mut Remainder,
        set_aside: &mut SetAside,
        planning: Planning<'_>,
        may_delete: &mut dyn FnMut(&DeletionTally) -> bool,
    ) -> Result<(), Error> {
        let mut keys = Vec::new();
        for round in 1..=ROUNDS {
            if remainder.subtrees.is_empty() || self.stop.requested() {
                break;
            }
            let mut renaming = Renaming { remainder, keys: &mut keys, spool_dir: self.spool_dir };
            let renamed = renaming.rename(self.state.is_some(), may_delete, |subtree, found| {
                self.report(subtrees::outcome(subtree));
                Some(Entry { key: subtree.source.key.clone(), ..found.clone() })
            })?;
            for (subtree, found) in renamed {
                let planning = planning_of(planning, found.is_some() && round < ROUNDS);
                let rows = self.rows(&subtree, found.is_some())?;
                let joined = subtrees::join(subtree, found, rows, &planning)?;
                let mut plan = Plan::new(joined, planning);
                self.steps(&mut plan, set_aside)?;
                remainder.append(plan.finish()?, self.spool_dir)?;
            }
        }
        // Rows still have the old keys.
        remainder.moves.follow(&keys, self.spool_dir)
    }

    /// Returns the rows of a directory under their new keys, if it would be renamed.
    fn rows(
        &self,
        subtree: &Subtree,
        is_renamed: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<Row, Error>>>, Error> {
        let Some(state) = self.state.filter(|_| is_renamed) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let (from, to) = (subtree.recorded_at.clone(), subtree.source.key.clone());
        let is_within = {
            let from = from.clone();
            move |row: &Result<Row, Error>| {
                row.as_ref().map_or(true, |row| row.key.is_within(from.as_bytes()))
            }
        };
        let rows = state.rows_from(&from)?.take_while(is_within);
        let moved = move |row: Row| Row { key: row.key.moved(&from, &to), ..row };
        Ok(Box::new(rows.map(move |row| row.map(&moved))))
    }

    /// Reports what would become of everything that waits for all steps.
    fn remainder(
        &self,
        remainder: Remainder,
        set_aside: SetAside,
        allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let Remainder { deletions, tally, mut after_deletion, links, mut directories, .. } =
            remainder;
        let broke_off = remainder.broke_off;
        let mut settled = settle(self.observer, self.deletes, &tally, broke_off, allow);
        let mut followers = links.followers.finish().map_err(spool_error)?;
        while let Some(record) = followers.next().map_err(spool_error)? {
            let Follower { source, is_foreseen, .. } =
                Follower::decode(record).ok_or_else(spool_damaged)?;
            if is_foreseen {
                let kind = Some(source.kind);
                self.report(Outcome::new(&source.key, kind, Action::Link, Reason::HardLink));
            }
        }
        let (progress, options) = (self.progress, self.deletes);
        settled.wait_for_copies(progress, options, &tally);
        let mut set_aside = set_aside.finish()?;
        let planned = Deletions { options, status: settled.deletions };
        while let Some((key, since)) = set_aside.next()? {
            // In a dry run only what would not be read anyway can have failed.
            if let Some(status) = set_aside::status(progress, planned, since, Successor::Incomplete)
            {
                self.report(set_aside::outcome(&key, status));
            }
        }
        match settled.deletions {
            Some(Status::Done) => {
                let report = |outcome| self.report(outcome);
                preview_deletions(deletions, self.observer, self.under_way, report)?;
            }
            Some(status) => for_each_planned(deletions, |entry| {
                let (kind, action) = (Some(entry.kind), Action::Delete);
                let outcome = Outcome::new(&entry.key, kind, action, Reason::Extra);
                self.report(outcome.with_status(status));
            })?,
            None => {}
        }
        while let Some(record) = after_deletion.next().map_err(spool_error)? {
            self.successor(&Entry::decode(record).ok_or_else(spool_damaged)?, settled.deletions);
        }
        while let Some(record) = directories.next().map_err(spool_error)? {
            let (how, entry) = Finish::decode(record).ok_or_else(spool_damaged)?;
            self.directory(how, &entry);
        }
        if let Some(error) = self.refusals.take() {
            self.observer.observe(&Event::Failed(error));
        }
        Ok(settled.refusal)
    }

    /// Reports what would become of files that may only have to be renamed.
    fn moves(
        &self,
        remainder: Remainder,
        may_delete: &mut dyn FnMut(&DeletionTally) -> bool,
    ) -> Result<Remainder, Error> {
        if remainder.moves.count == 0 {
            return Ok(remainder);
        }
        let Remainder { moves, deletions, tally, broke_off, .. } = remainder;
        let rest = Moves::new(self.spool_dir, StampFields::default());
        let matched = moves.matched(deletions, tally, broke_off, self.spool_dir)?;
        let are_renamed = may_delete(&matched.tally);
        let MatchedMoves { mut moves, mut copies, deletions, tally: least, .. } = matched;
        let mut renamed = renames_done(self.spool_dir).into_inner();
        while let Some(record) = moves.next().map_err(spool_error)? {
            let Move { deletion, source, target } =
                Move::decode(record).ok_or_else(spool_damaged)?;
            if are_renamed {
                renamed.push(&deletion.to_be_bytes()).map_err(spool_error)?;
                let kind = Some(source.kind);
                let outcome = Outcome::new(&source.key, kind, Action::Rename, Reason::Moved);
                self.report(outcome.renamed_from(&target.key));
            } else {
                self.copy(&source);
            }
        }
        while let Some(record) = copies.next().map_err(spool_error)? {
            self.copy(&Entry::decode(record).ok_or_else(spool_damaged)?);
        }
        let renamed = renamed.finish().map_err(spool_error)?;
        let deletions = match self.renames {
            Renames::InPlace => without(deletions, renamed, self.spool_dir)?,
            Renames::ByCopy => deletions,
        };
        let tally = if are_renamed { least } else { tally };
        Ok(Remainder { deletions, tally, moves: rest, ..remainder })
    }

    /// Reports that a new file would be copied.
    fn copy(&self, source: &Entry) {
        self.progress.plan_copy(source);
        let action = Action::Copy { unless: None };
        let outcome = Outcome::new(&source.key, Some(source.kind), action, Reason::New);
        self.report(outcome.moving(source.size()));
    }

    /// Reports what would become of a leaf that waits for the directory in its place to be deleted.
    fn successor(&self, entry: &Entry, deletions: Option<Status>) {
        if deletions != Some(Status::Done) {
            let cause = not_deleted_cause(deletions);
            return self.fail(EntryError::on_target(Operation::Write, &entry.key, cause));
        }
        let action = match entry.kind {
            EntryKind::File => Action::AfterDeletion,
            kind => Action::making(kind),
        };
        let outcome = Outcome::new(&entry.key, Some(entry.kind), action, Reason::Kind);
        self.report(outcome.moving(entry.size()));
    }

    /// Reports how a directory would be finished.
    fn directory(&self, how: Finish, entry: &Entry) {
        let outcome = |action| Outcome::new(&entry.key, Some(entry.kind), action, Reason::Metadata);
        match how {
            Finish::Update => self.report(outcome(Action::UpdateMetadata)),
            Finish::Look => self.report(outcome(Action::Look)),
            Finish::NotKept => self.fail(time_not_kept(&entry.key)),
            Finish::Restore | Finish::Record | Finish::Inspect => {}
        }
    }

    fn report(&self, outcome: Outcome) {
        self.observer.observe(&Event::Changed(outcome));
    }

    fn fail(&self, error: EntryError) {
        self.progress.fail(&error);
        if let Some(error) = self.refusals.keep(error) {
            self.observer.observe(&Event::Failed(error));
        }
    }
}

/// Returns the outcome that a step would have, unless it isn't worth reporting.
fn foreseen(step: &Step, sets_unlisted: &dyn Fn(&Step) -> bool) -> Option<Outcome> {
    let (source, Decision { action, reason }) = (&step.source, step.decision);
    let outcome = |action, reason| Outcome::new(&source.key, Some(source.kind), action, reason);
    if matches!(action, Action::Adopt | Action::Record) && sets_unlisted(step) {
        return Some(outcome(Action::UpdateMetadata, Reason::Metadata));
    }
    // A missing root is made in any case.
    if action == Action::Record || source.key.is_root() {
        return None;
    }
    Some(outcome(action, reason).moving(source.size()))
}
