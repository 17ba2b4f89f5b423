//! `vidimus mirror SOURCE TARGET`.

use super::super::args::{MirrorArgs, RunArgs};
use super::super::exit::Exit;
use super::super::settings;
use super::super::signals::Signals;
use super::Purpose;
use super::presenting::Presenting;
use crate::api::Mirror;
use crate::location::Location;
use crate::model::{Error, Progress, Stop, Verdict};
use crate::report::{Deletions, MirrorEnding, Presenters, Watch};
use crate::session::{DeleteOptions, MirrorOutcome};
use crate::ticker::Ticker;
use clap::ArgMatches;
use rustix::fs::Mode;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn run(args: &MirrorArgs, matches: &ArgMatches, umask: Mode) -> Exit {
    let MirrorArgs { source, target, flags, .. } = args;
    let asked = Asked { source, target, run: &flags.run };
    execute(&asked, matches, || settings::mirror(args, matches, umask))
}

/// The arguments that the report of a run needs.
pub(super) struct Asked<'a> {
    pub(super) source: &'a OsStr,
    pub(super) target: &'a OsStr,
    pub(super) run: &'a RunArgs,
}

/// Runs the mirror that `make` makes, and reports its result.
pub(super) fn execute(
    asked: &Asked<'_>,
    matches: &ArgMatches,
    make: impl FnOnce() -> Result<Mirror, Error>,
) -> Exit {
    let began = Instant::now();
    let human = settings::human(&asked.run.output, matches, asked.run.dry_run);
    let presenting = Presenting::new(human, asked.run.output.json, Watch::default());
    let Presenting { presenters, output } = &presenting;
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    // Reading patterns, keys and passwords may block: there a signal ends the process at once.
    let mirror = settings::check_output(&asked.run.output, matches).and_then(|()| make());
    let deletions =
        mirror.as_ref().map_or(Deletions::None, |mirror| match mirror.options().delete {
            None => Deletions::None,
            Some(DeleteOptions { despite_errors: false, .. }) => Deletions::UnlessCopiesFail,
            Some(DeleteOptions { despite_errors: true, .. }) => Deletions::DespiteErrors,
        });
    let (result, signal) = Signals::during(&stop, || {
        mirror.and_then(|mirror| run_mirror(&mirror, &presenting, &progress, &stop))
    });
    let reader_left = asked.run.dry_run && output.is_closed();
    let (source, target) = (Location::printable(asked.source), Location::printable(asked.target));
    let totals = result.as_ref().map_or_else(|_| progress.totals(), |outcome| outcome.totals);
    let mut ending = MirrorEnding {
        dry_run: asked.run.dry_run,
        deletions,
        durability: asked.run.durability.into(),
        duration: began.elapsed(),
        ..MirrorEnding::new(source, target, totals)
    };
    let exit = match &result {
        Ok(outcome) => {
            ending.run = Some(outcome.run.clone());
            ending.duration = outcome.duration;
            ending.verdict = outcome.verdict;
            ending.limit = outcome.limit;
            ending.refusal = outcome.refusal.as_ref().map(Error::report);
            ending.unpublished = outcome.unpublished.as_ref().map(Error::report);
            let changed =
                asked.run.exit_changes && made_changes(outcome, asked.run.dry_run, presenters);
            exit_of(outcome, signal, reader_left, changed)
        }
        Err(error) => {
            ending.error = Some(error.report());
            if signal.is_some() {
                ending.verdict = Verdict::Interrupted;
            }
            signal.unwrap_or_else(|| error.kind.into())
        }
    };
    ending.exit_code = exit.code();
    presenters.finish(&ending);
    let purpose = if asked.run.dry_run { Purpose::Tell } else { Purpose::Work };
    super::close(output, exit, purpose)
}

/// Runs a mirror while a thread shows its progress.
fn run_mirror(
    mirror: &Mirror,
    presenting: &Presenting<MirrorEnding>,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<MirrorOutcome, Error> {
    let _ticker = {
        let mut reported = false;
        let (presenters, output) =
            (Arc::clone(&presenting.presenters), Arc::clone(&presenting.output));
        let (progress, stop) = (Arc::clone(progress), stop.clone());
        let dry_run = mirror.options().dry_run;
        Ticker::start(presenters.interval(), move |at| {
            presenters.tick(at, &progress);
            if dry_run && output.is_closed() {
                // A dry run that nobody reads (`| head`) has nothing left to do.
                stop.request();
            } else if stop.requested() && !std::mem::replace(&mut reported, true) {
                presenters.stopping();
            }
        })?
    };
    mirror.observed(&*presenting.presenters, progress, stop)
}

fn made_changes(
    outcome: &MirrorOutcome,
    dry_run: bool,
    presenters: &Presenters<MirrorEnding>,
) -> bool {
    if dry_run { presenters.would_change() } else { outcome.totals.changed_anything() }
}

/// Returns the exit code of a run that ended or was stopped.
fn exit_of(
    outcome: &MirrorOutcome,
    signal: Option<Exit>,
    reader_left: bool,
    changed: bool,
) -> Exit {
    let verdict = match outcome.verdict {
        // The copies are finished: why the manifest isn't published decides.
        Verdict::Failed if outcome.unpublished.is_some() => Exit::Done,
        Verdict::Interrupted => match signal {
            Some(signal) => signal,
            None if outcome.limit.is_some() => Exit::Limit,
            None if reader_left => Exit::Done,
            None => Exit::Interrupted,
        },
        verdict => verdict.into(),
    };
    let failed = if outcome.totals.files_failed > 0 { Exit::Incomplete } else { Exit::Done };
    let of = |error: Option<&Error>| error.map_or(Exit::Done, |error| error.kind.into());
    let (refused, unpublished) = (of(outcome.refusal.as_ref()), of(outcome.unpublished.as_ref()));
    let changed = if changed { Exit::Changes } else { Exit::Done };
    verdict.and(failed).and(refused).and(unpublished).and(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::RunLimit;
    use crate::model::{ErrorKind, RunId, Totals};
    use std::time::Duration;

    fn outcome(verdict: Verdict, files_failed: u64, refusal: Option<Error>) -> MirrorOutcome {
        MirrorOutcome {
            run: RunId("r".into()),
            totals: Totals { files_failed, ..Totals::default() },
            duration: Duration::ZERO,
            verdict,
            limit: None,
            refusal,
            unpublished: None,
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_most_serious_reason() {
        let refusal = || Some(Error::new(ErrorKind::Refused, "no"));
        let cases = [
            (outcome(Verdict::Complete, 0, None), None, false, Exit::Done),
            (outcome(Verdict::Complete, 0, None), None, true, Exit::Changes),
            (outcome(Verdict::Incomplete, 3, None), None, true, Exit::Incomplete),
            (outcome(Verdict::Refused, 3, refusal()), None, true, Exit::Refused),
            (
                outcome(Verdict::Interrupted, 3, None),
                Some(Exit::Terminated),
                true,
                Exit::Terminated,
            ),
            (outcome(Verdict::Interrupted, 0, None), None, false, Exit::Interrupted),
            // The signal came when everything was done.
            (outcome(Verdict::Complete, 0, None), Some(Exit::Terminated), false, Exit::Done),
        ];
        for (outcome, signal, changed, expected) in cases {
            assert_eq!(exit_of(&outcome, signal, false, changed), expected, "{outcome:?}");
        }
        let unpublished = MirrorOutcome {
            unpublished: Some(Error::new(ErrorKind::Manifest, "no")),
            ..outcome(Verdict::Failed, 0, None)
        };
        assert_eq!(exit_of(&unpublished, None, false, true), ErrorKind::Manifest.into());
        let limited = MirrorOutcome {
            limit: Some(RunLimit::Transfer),
            ..outcome(Verdict::Interrupted, 2, None)
        };
        assert_eq!(exit_of(&limited, None, false, true), Exit::Limit);
        let unread = outcome(Verdict::Interrupted, 0, None);
        assert_eq!(exit_of(&unread, None, true, false), Exit::Done);
    }
}
