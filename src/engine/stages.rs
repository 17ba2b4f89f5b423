//! Stages of a run: all steps of its plan, then in turn what has to wait for them.

use super::Context;
use super::commit::Committer;
use super::delete::{Settled, delete, for_each_planned, settle};
use super::dispatcher::{Worked, sweep, with_workers};
use super::links;
use super::partials::Partials;
use super::renames;
use super::set_aside::{self, Deletions, SetAside};
use super::subtrees::{self, Moving};
use super::successors::Successors;
use crate::manifest::State;
use crate::model::{Action, Entry, Error, Key, Outcome, Reason, Status};
use crate::plan::{DeleteOptions, DeletionTally, Planning, Remainder, Steps, spool_error};

/// Executes a plan: all steps, then what had to wait for them: first what is to be renamed and the
/// names of hard-linked files, which need the state that the committer writes to. Plans of
/// directories that are renamed depend on `planning`; without it none is. Entries are deleted if
/// `allow` permits it and no copy failed; the same holds for leaves set aside for directories. Returns
/// the error of `allow` if it refused.
///
/// # Errors
/// The error that stopped the plan; one that stopped the engine is in [`Context::fatal`]. Rows that
/// were recorded before remain.
pub fn execute<P: Steps>(
    context: &Context<'_>,
    (plan, planning): (P, Option<Planning<'_>>),
    committer: Committer<'_>,
    (state, deletes): (Option<&State>, Option<&DeleteOptions>),
    mut allow: impl FnMut(&DeletionTally) -> Result<(), Error>,
) -> Result<Option<Error>, Error> {
    let Worked { result: remainder, set_aside, mut committer } =
        with_workers(context, (committer, SetAside::new(context.spool_dir)), |dispatcher| {
            dispatcher.run(plan)
        })?;
    // Even if the plan failed, what was done is put in place. Directories' times are set after
    // that.
    committer.place();
    let removes = deletes.is_some() || !set_aside.is_empty();
    if remainder.is_err() || removes || context.is_over() {
        // Nothing is removed before its successor is durable.
        committer.flush();
    }
    let remainder = remainder?;
    let refusal = match remainder.filter(|_| !context.is_over()) {
        Some(remainder) => {
            let moving = Moving { remainder, set_aside, committer };
            let mut may_delete = |tally: &_| deletes.is_some() && allow(tally).is_ok();
            let moving = match planning {
                Some(planning) => {
                    subtrees::carry_out(context, moving, (state, planning), &mut may_delete)?
                }
                None => moving,
            };
            let moving = renames::carry_out(context, moving, state, &mut may_delete)?;
            let Moving { remainder, set_aside, .. } = moving;
            committer = moving.committer;
            let Remainder { tally, broke_off, .. } = &remainder;
            let settled = settle(context.observer, deletes, tally, *broke_off, &mut allow);
            let waiting = Waiting { remainder, set_aside, settled };
            work_off(context, waiting, &mut committer, (state, deletes))?
        }
        None => None,
    };
    committer.flush();
    context.report_refusals();
    Ok(refusal)
}

/// Does what had to wait for all steps; returns the error of `allow` if it refused.
fn work_off(
    context: &Context<'_>,
    Waiting { remainder, set_aside, mut settled }: Waiting,
    committer: &mut Committer<'_>,
    (state, deletes): (Option<&State>, Option<&DeleteOptions>),
) -> Result<Option<Error>, Error> {
    if context.is_over() {
        return Ok(settled.refusal);
    }
    let Remainder { deletions, tally, after_deletion, links, directories, mut forgotten, .. } =
        remainder;
    while let Some(key) = forgotten.next().map_err(spool_error)? {
        committer.forget(Key::new(key));
    }
    let Context { progress, observer, .. } = *context;
    let touched = match state {
        Some(state) => links::make(context, links, state, committer)?,
        None => None,
    };
    for key in context.partials.map(Partials::take_left).unwrap_or_default() {
        // Most of them were put in their place, or dropped.
        if !matches!(context.target.look(&key), Ok(None)) {
            sweep(context, &key);
        }
    }
    settled.wait_for_copies(progress, deletes, &tally);
    let mut successors = Successors::new(after_deletion, context.spool_dir);
    if settled.deletions == Some(Status::Done) {
        successors.stage(context, committer, state)?;
        settled.wait_for_copies(progress, deletes, &tally);
    }
    // Leaves set aside in directories that are to be deleted are removed before these.
    let planned = Deletions { options: deletes, status: settled.deletions };
    set_aside::remove(context, set_aside.finish()?, planned, committer)?;
    match settled.deletions {
        Some(Status::Done) => delete(context, deletions, committer)?,
        Some(status) if observer.wants_changes() => {
            let tell = |entry: &Entry| {
                context.report(|| {
                    Outcome::new(&entry.key, Some(entry.kind), Action::Delete, Reason::Extra)
                        .with_status(status)
                });
            };
            for_each_planned(deletions, tell)?;
        }
        _ => {}
    }
    let names = successors.put_in_place(context, settled.deletions, committer)?;
    if let Some(state) = state {
        let of_successors = links::make(context, names, state, committer)?;
        for touched in touched.into_iter().chain(of_successors) {
            touched.record(context, state, committer)?;
        }
    }
    super::finish::directories(context, directories, committer)?;
    if let Some(state) = state {
        super::seal::seal(context, state, committer)?;
    }
    Ok(settled.refusal)
}

/// What has to wait for all steps.
struct Waiting {
    remainder: Remainder,
    set_aside: SetAside,
    /// The decision about the deletions.
    settled: Settled,
}
