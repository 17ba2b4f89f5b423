//! A dry run: reads the plan and reports the same outcomes as its execution would.

use super::delete::{Settled, for_each_planned, preview_deletions, settle};
use super::finish::{spool_damaged, time_not_kept};
use super::refusals::Refusals;
use super::renames::renames_done;
use super::set_aside::{self, Deletions, SetAside, Since, Successor};
use super::successors::not_deleted_cause;
use crate::backend::Renames;
use crate::compare::join::Joined;
use crate::model::stamp::StampFields;
use crate::model::{
    Action, Decision, Entry, EntryError, EntryKind, Error, Event, Key, Observer, Operation,
    Outcome, Progress, Reason, Status, Stop,
};
use crate::plan::links::Follower;
use crate::plan::moves::{MatchedMoves, Move, Moves, without};
use crate::plan::{
    DeleteOptions, DeletionTally, Finish, Plan, Planned, Remainder, Step, spool_error,
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
        mut plan: Plan<'_, J>,
        allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let mut set_aside = SetAside::new(self.spool_dir);
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
        if self.stop.requested() {
            return Ok(None);
        }
        self.remainder(plan.finish()?, set_aside, allow)
    }

    /// Reports what would become of everything that waits for all steps.
    fn remainder(
        &self,
        remainder: Remainder,
        set_aside: SetAside,
        allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let broke_off = remainder.broke_off;
        let settle = |tally: &_| settle(self.observer, self.deletes, tally, broke_off, allow);
        let (remainder, mut settled) = self.moves(remainder, settle)?;
        let Remainder { deletions, tally, mut after_deletion, links, mut directories, .. } =
            remainder;
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
        settle: impl FnOnce(&DeletionTally) -> Settled,
    ) -> Result<(Remainder, Settled), Error> {
        if remainder.moves.count == 0 {
            let settled = settle(&remainder.tally);
            return Ok((remainder, settled));
        }
        let Remainder { moves, deletions, tally, broke_off, .. } = remainder;
        let rest = Moves::new(self.spool_dir, StampFields::default());
        let matched = moves.matched(deletions, tally, broke_off, self.spool_dir)?;
        let settled = settle(&matched.tally);
        let are_renamed = settled.deletions == Some(Status::Done);
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
        Ok((Remainder { deletions, tally, moves: rest, ..remainder }, settled))
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
