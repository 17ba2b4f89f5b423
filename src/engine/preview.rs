//! A dry run: reads the plan and says what would be done, in the same words.

use super::delete::{name_each, preview_deletions, settle};
use super::finish::{spool_damaged, time_not_kept};
use super::set_aside::{self, Deletions, SetAside, Since};
use super::successors::still_standing;
use crate::compare::join::Joined;
use crate::model::{
    Action, Decision, Entry, EntryError, EntryKind, Error, Event, Key, Observer, Operation,
    Outcome, Progress, Reason, Status, Stop,
};
use crate::plan::{
    DeleteOptions, DeletionTally, Finish, Plan, Planned, Remainder, Step, spool_error,
};

/// Says what executing the plan would do. Whether a file that is taken as it is has a wider mode than
/// its source's ACL grants, which a listing doesn't show, `is_wider` tells. Temporaries that are
/// `under_way` belong to a run that is not over, and are left out. A refusal of the deletions is
/// returned.
///
/// # Errors
/// What would stop the run before its end.
pub fn preview<J: Iterator<Item = Result<Joined, Error>>>(
    mut plan: Plan<'_, J>,
    (observer, progress): (&dyn Observer, &Progress),
    stop: &Stop,
    deletes: Option<&DeleteOptions>,
    under_way: &dyn Fn(&Key) -> bool,
    is_wider: &dyn Fn(&Step) -> bool,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    let tell = |outcome| observer.observe(&Event::Changed(outcome));
    let fail = |error: &EntryError| {
        progress.fail(error);
        observer.observe(&Event::Failed(error));
    };
    let mut set_aside = SetAside::new(plan.spool_dir());
    while let Some(planned) = plan.next().transpose()? {
        match planned {
            Planned::SetAside { key, is_doomed } => {
                set_aside.add(&key, Since::before(is_doomed))?;
            }
            Planned::Step(planned) => {
                if let Some(outcome) = foreseen(&planned, is_wider) {
                    tell(outcome);
                }
            }
            Planned::Failed(error) => fail(&error),
            Planned::Settled(outcome) => tell(outcome),
            Planned::Sweep(key) if under_way(&key) => {}
            Planned::Sweep(key) => {
                tell(Outcome::new(&key, None, Action::Sweep, Reason::LeftOver));
            }
            Planned::Note(note) => observer.observe(&Event::Note(&note)),
            Planned::Forget(_) => {}
        }
    }
    if stop.requested() {
        return Ok(None);
    }
    let Remainder { deletions, tally, mut after_deletion, mut directories, broke_off } =
        plan.finish()?;
    let settled = settle((progress, observer), deletes, &tally, broke_off, allow);
    let mut set_aside = set_aside.finish()?;
    let planned = Deletions { options: deletes, status: settled.deletions };
    while let Some((key, since)) = set_aside.next()? {
        // What fails in a dry run is nothing that would have to be read.
        if let Some(status) = set_aside::status(progress, planned, since, true) {
            tell(set_aside::outcome(&key, status));
        }
    }
    match settled.deletions {
        Some(Status::Done) => preview_deletions(deletions, observer, under_way, tell)?,
        Some(status) => name_each(deletions, |entry| {
            let (kind, action) = (Some(entry.kind), Action::Delete);
            tell(Outcome::new(&entry.key, kind, action, Reason::Extra).with_status(status));
        })?,
        None => {}
    }
    while let Some(record) = after_deletion.next().map_err(spool_error)? {
        let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
        if settled.deletions != Some(Status::Done) {
            let cause = still_standing(settled.deletions);
            fail(&EntryError::on_target(Operation::Write, &entry.key, cause));
            continue;
        }
        let link = entry.kind == EntryKind::Symlink;
        let action = if link { Action::MakeLink } else { Action::AfterDeletion };
        let outcome = Outcome::new(&entry.key, Some(entry.kind), action, Reason::Kind);
        tell(outcome.moving(entry.size()));
    }
    while let Some(record) = directories.next().map_err(spool_error)? {
        let (how, entry) = Finish::decode(record).ok_or_else(spool_damaged)?;
        let outcome = |action| Outcome::new(&entry.key, Some(entry.kind), action, Reason::Metadata);
        match how {
            Finish::Update => tell(outcome(Action::UpdateMetadata)),
            Finish::Look => tell(outcome(Action::Look)),
            Finish::NotKept => fail(&time_not_kept(&entry.key)),
            Finish::Restore | Finish::Record | Finish::Inspect => {}
        }
    }
    Ok(settled.refusal)
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
