//! A dry run: reads the plan and says what would be done, in the same words.

use super::delete::{name_each, preview_deletions, settle};
use super::finish::{spool_damaged, time_not_kept};
use super::set_aside::{self, Deletions, SetAside, Since, Successor};
use super::successors::still_standing;
use crate::compare::join::Joined;
use crate::model::{
    Action, Decision, Entry, EntryError, EntryKind, Error, Event, Key, Observer, Operation,
    Outcome, Progress, Reason, Status, Stop,
};
use crate::plan::{
    DeleteOptions, DeletionTally, Finish, Plan, Planned, Remainder, Step, spool_error,
};

/// A dry run under way.
pub struct Preview<'a> {
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// The counters.
    pub progress: &'a Progress,
    /// Whether to stop.
    pub stop: &'a Stop,
    /// What is asked of deletions; `None`: there are none.
    pub deletes: Option<&'a DeleteOptions>,
    /// Whether a temporary belongs to a run that is not over, and is left out.
    pub under_way: &'a dyn Fn(&Key) -> bool,
    /// Whether a file that is taken as it is has a wider mode than its source's ACL grants, which a
    /// listing doesn't show.
    pub is_wider: &'a dyn Fn(&Step) -> bool,
}

impl Preview<'_> {
    /// Says what executing the plan would do; a refusal of the deletions by `allow` is returned.
    ///
    /// # Errors
    /// What would stop the run before its end.
    pub fn run<J: Iterator<Item = Result<Joined, Error>>>(
        &self,
        mut plan: Plan<'_, J>,
        allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let mut set_aside = SetAside::new(plan.spool_dir());
        while let Some(planned) = plan.next().transpose()? {
            match planned {
                Planned::SetAside { key, is_doomed } => {
                    set_aside.add(&key, Since::before(is_doomed))?;
                }
                Planned::Step(planned) => {
                    if let Some(outcome) = foreseen(&planned, self.is_wider) {
                        self.tell(outcome);
                    }
                }
                Planned::Failed(error) => self.fail(error),
                Planned::Settled(outcome) => self.tell(outcome),
                Planned::Sweep(key) if (self.under_way)(&key) => {}
                Planned::Sweep(key) => {
                    self.tell(Outcome::new(&key, None, Action::Sweep, Reason::LeftOver));
                }
                Planned::Notice(notice) => {
                    self.observer.observe(&Event::Notice(notice));
                }
                Planned::Forget(_) => {}
            }
        }
        if self.stop.requested() {
            return Ok(None);
        }
        self.remainder(plan.finish()?, set_aside, allow)
    }

    /// Says what would become of what waits for all steps.
    fn remainder(
        &self,
        remainder: Remainder,
        set_aside: SetAside,
        allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
    ) -> Result<Option<Error>, Error> {
        let Remainder { deletions, tally, mut after_deletion, mut directories, broke_off } =
            remainder;
        let (progress, options) = (self.progress, self.deletes);
        let settled = settle(progress, self.observer, options, &tally, broke_off, allow);
        let mut set_aside = set_aside.finish()?;
        let planned = Deletions { options, status: settled.deletions };
        while let Some((key, since)) = set_aside.next()? {
            // What fails in a dry run is nothing that would have to be read.
            if let Some(status) = set_aside::status(progress, planned, since, Successor::Incomplete)
            {
                self.tell(set_aside::outcome(&key, status));
            }
        }
        match settled.deletions {
            Some(Status::Done) => {
                let tell = |outcome| self.tell(outcome);
                preview_deletions(deletions, self.observer, self.under_way, tell)?;
            }
            Some(status) => name_each(deletions, |entry| {
                let (kind, action) = (Some(entry.kind), Action::Delete);
                let outcome = Outcome::new(&entry.key, kind, action, Reason::Extra);
                self.tell(outcome.with_status(status));
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
        Ok(settled.refusal)
    }

    /// Says what would become of a leaf that waits for the directory in its place to be deleted.
    fn successor(&self, entry: &Entry, deletions: Option<Status>) {
        if deletions != Some(Status::Done) {
            let cause = still_standing(deletions);
            return self.fail(EntryError::on_target(Operation::Write, &entry.key, cause));
        }
        let is_link = entry.kind == EntryKind::Symlink;
        let action = if is_link { Action::MakeLink } else { Action::AfterDeletion };
        let outcome = Outcome::new(&entry.key, Some(entry.kind), action, Reason::Kind);
        self.tell(outcome.moving(entry.size()));
    }

    /// Says how a directory would be finished.
    fn directory(&self, how: Finish, entry: &Entry) {
        let outcome = |action| Outcome::new(&entry.key, Some(entry.kind), action, Reason::Metadata);
        match how {
            Finish::Update => self.tell(outcome(Action::UpdateMetadata)),
            Finish::Look => self.tell(outcome(Action::Look)),
            Finish::NotKept => self.fail(time_not_kept(&entry.key)),
            Finish::Restore | Finish::Record | Finish::Inspect => {}
        }
    }

    fn tell(&self, outcome: Outcome) {
        self.observer.observe(&Event::Changed(outcome));
    }

    fn fail(&self, error: EntryError) {
        self.progress.fail(&error);
        self.observer.observe(&Event::Failed(error));
    }
}

/// What a step would do, where that is worth telling.
fn foreseen(step: &Step, is_wider: &dyn Fn(&Step) -> bool) -> Option<Outcome> {
    let (source, Decision { action, reason }) = (&step.source, step.decision);
    let outcome = |action, reason| Outcome::new(&source.key, Some(source.kind), action, reason);
    if matches!(action, Action::Adopt | Action::Record) && is_wider(step) {
        return Some(outcome(Action::UpdateMetadata, Reason::Metadata));
    }
    // A root that is missing is made in any case.
    if action == Action::Record || source.key.is_root() {
        return None;
    }
    Some(outcome(action, reason).moving(source.size()))
}
