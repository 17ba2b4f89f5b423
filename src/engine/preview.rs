//! A dry run: reads the plan and says what would be done, in the same words.

use super::delete::{name_each, preview_deletions, settle};
use super::finish::{spool_damaged, time_not_kept};
use super::set_aside::{self, SetAside, Since};
use super::successors::still_standing;
use crate::compare::Reason;
use crate::compare::join::Joined;
use crate::model::event::Change;
use crate::model::{
    Entry, EntryError, EntryKind, Error, Event, Key, Observer, Operation, Progress, Stop,
};
use crate::plan::{
    DeleteOptions, DeletionTally, Finish, Plan, Planned, Remainder, Step, Task, spool_error,
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
    let tell = |key: &Key, kind, change, reason: Reason, bytes| {
        let reason = &reason.to_string();
        observer.observe(&Event::Changed { key, kind, change, reason, bytes });
    };
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
                let is_kept = matches!(planned.task, Task::Adopt | Task::Record);
                if is_kept && is_wider(&planned) {
                    let (key, kind) = (&planned.source.key, Some(planned.source.kind));
                    tell(key, kind, Change::UpdateMetadata, Reason::Metadata, 0);
                    continue;
                }
                // A root that is missing is made in any case.
                if matches!(planned.task, Task::Record) || planned.source.key.is_root() {
                    continue;
                }
                let change = match planned.task {
                    Task::Copy { unless: None } | Task::Mend => Change::Copy,
                    Task::Copy { unless: Some(_) }
                    | Task::Check { .. }
                    | Task::Look
                    | Task::CompareTag(_) => Change::Check,
                    Task::UpdateMetadata
                    | Task::UpdateRights
                    | Task::Record
                    | Task::MendMetadata { .. } => Change::UpdateMetadata,
                    Task::HashSurplus => Change::Keep,
                    Task::Adopt => Change::Adopt,
                    Task::MakeLink => Change::MakeLink,
                    Task::MakeDirectory => Change::MakeDirectory,
                };
                let source = &planned.source;
                tell(&source.key, Some(source.kind), change, planned.reason, source.size());
            }
            Planned::Failed(error) => fail(&error),
            Planned::Kept(key, kind, reason) => tell(&key, kind, Change::Keep, reason, 0),
            Planned::Sweep(key) if under_way(&key) => {}
            Planned::Sweep(key) => tell(&key, None, Change::Sweep, Reason::LeftOver, 0),
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
    while let Some((key, since)) = set_aside.next()? {
        // What fails in a dry run is nothing that would have to be read.
        let change = set_aside::change(progress, (deletes, settled.change), since, true);
        if let Some(change) = change {
            tell(&key, None, change, Reason::SetAside, 0);
        }
    }
    let tell_deletion = |entry: &Entry, change, reason| {
        tell(&entry.key, Some(entry.kind), change, reason, 0);
    };
    match settled.change {
        Some(Change::Delete) => {
            preview_deletions(deletions, observer, under_way, tell_deletion)?;
        }
        Some(change) => {
            name_each(deletions, |entry| tell_deletion(entry, change, Reason::Extra))?;
        }
        None => {}
    }
    while let Some(record) = after_deletion.next().map_err(spool_error)? {
        let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
        if settled.change != Some(Change::Delete) {
            let cause = still_standing(settled.change);
            fail(&super::on_target(Operation::Write, &entry.key, cause));
            continue;
        }
        let link = entry.kind == EntryKind::Symlink;
        let change = if link { Change::MakeLink } else { Change::Copy };
        tell(&entry.key, Some(entry.kind), change, Reason::Kind, entry.size());
    }
    while let Some(record) = directories.next().map_err(spool_error)? {
        let (how, entry) = Finish::decode(record).ok_or_else(spool_damaged)?;
        match how {
            Finish::Update => {
                tell(&entry.key, Some(entry.kind), Change::UpdateMetadata, Reason::Metadata, 0);
            }
            Finish::Look => tell(&entry.key, Some(entry.kind), Change::Check, Reason::Metadata, 0),
            Finish::NotKept => fail(&time_not_kept(&entry.key)),
            Finish::Restore | Finish::Record | Finish::Inspect => {}
        }
    }
    Ok(settled.refusal)
}
