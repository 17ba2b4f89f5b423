//! `vidimus verify TARGET`: prints a line per difference, and a summary.

mod against;
mod recorded;

use super::super::args::VerifyArgs;
use super::super::exit::Exit;
use super::super::settings::{self, Verifying};
use super::super::signals::Signals;
use super::Purpose;
use super::presenting::Presenting;
use super::summary_table;
use crate::location::Location;
use crate::model::{Error, Observer, Progress, Stop, Totals};
use crate::report::estimate::{Estimate, Kind};
use crate::report::format::counted;
use crate::report::{Concludes, HumanReport, JsonReport, Output, Presenters, Watch};
use crate::ticker::Ticker;
use crate::verify::{AgainstOutcome, VerifyOutcome};
use clap::ArgMatches;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &VerifyArgs, matches: &ArgMatches) -> Exit {
    let began = Instant::now();
    let human = settings::human(&args.output, matches, false);
    // Before signals are handled: reading patterns and keys may block.
    let made = settings::check_output(&args.output, matches)
        .and_then(|()| settings::verify(args, matches));
    let (against, time) = match &made {
        Ok(Verifying::Recorded(verify)) => (false, verify.options().depth.time()),
        Ok(Verifying::Against(_)) => (true, None),
        Err(_) => (args.against.is_some(), None),
    };
    let kind = if against { Kind::Against } else { Kind::Verify };
    let watch = Watch::new(Estimate::within(kind, time));
    let verification = Verification {
        began,
        target: Location::printable(&args.target),
        against: args.against.as_deref().filter(|_| against).map(Location::printable),
        allows_incomplete: args.allow_incomplete,
        presenting: Presenting::new(human, args.output.json, watch),
    };
    verification.present(|observer, progress, stop| match made? {
        Verifying::Recorded(verify) => {
            verify.observed(observer, progress, stop).map(Verified::Recorded)
        }
        Verifying::Against(verify) => {
            verify.observed(observer, progress, stop).map(Verified::Against)
        }
    })
}

/// The result of a verification.
pub(super) enum Verified {
    /// Of a target against its records.
    Recorded(VerifyOutcome),
    /// Of a target against a list of digests, which is now recorded.
    Imported(VerifyOutcome),
    /// Of a target against a source.
    Against(AgainstOutcome),
}

/// The requests for reading, in the last record.
#[derive(Serialize)]
struct ReadRequests {
    #[serde(rename = "requests_list")]
    list: u64,
    #[serde(rename = "requests_get")]
    get: u64,
    #[serde(rename = "requests_head")]
    head: u64,
    #[serde(rename = "requests_lock")]
    lock: u64,
    #[serde(rename = "requests_retried")]
    retried: u64,
    #[serde(rename = "requests_throttled")]
    throttled: u64,
}

impl From<&Totals> for ReadRequests {
    fn from(totals: &Totals) -> Self {
        Self {
            list: totals.requests_list,
            get: totals.requests_get,
            head: totals.requests_head,
            lock: totals.requests_lock,
            retried: totals.requests_retried,
            throttled: totals.requests_throttled,
        }
    }
}

/// A verification to be presented.
pub(super) struct Verification {
    pub(super) began: Instant,
    /// The target, as it prints.
    pub(super) target: String,
    /// The source to compare with, if there is one.
    pub(super) against: Option<String>,
    /// Whether incomplete runs don't count as a failure.
    pub(super) allows_incomplete: bool,
    pub(super) presenting: Presenting<VerifyEnding>,
}

/// How a verification ended.
pub(super) struct VerifyEnding {
    target: String,
    against: Option<String>,
    allows_incomplete: bool,
    verified: Result<Verified, Error>,
    elapsed: Duration,
    exit: Exit,
}

impl Verification {
    /// Does the work, shows its progress, and reports the result.
    pub(super) fn present(
        self,
        work: impl FnOnce(&dyn Observer, &Arc<Progress>, &Stop) -> Result<Verified, Error>,
    ) -> Exit {
        let Self { began, target, against, allows_incomplete, presenting } = self;
        let Presenting { presenters, output } = presenting;
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let (verified, signal) = Signals::during(&stop, || {
            let _ticker = tick(&presenters, &progress)?;
            work(&*presenters, &progress, &stop)
        });
        let exit = exit_of(&verified, allows_incomplete, signal);
        let elapsed = began.elapsed();
        let ending = VerifyEnding { target, against, allows_incomplete, verified, elapsed, exit };
        presenters.finish(&ending);
        super::close(&output, exit, Purpose::Work)
    }
}

/// Shows the progress until the returned ticker is dropped.
fn tick(
    presenters: &Arc<Presenters<VerifyEnding>>,
    progress: &Arc<Progress>,
) -> Result<Ticker, Error> {
    let (ticked, progress) = (Arc::clone(presenters), Arc::clone(progress));
    Ticker::start(presenters.interval(), move |at| ticked.tick(at, &progress))
}

fn exit_of(
    verified: &Result<Verified, Error>,
    allows_incomplete: bool,
    signal: Option<Exit>,
) -> Exit {
    match verified {
        Ok(Verified::Recorded(outcome) | Verified::Imported(outcome)) => {
            let VerifyOutcome { totals, differences, interrupted, fault, .. } = outcome;
            let unknown = if allows_incomplete { 0 } else { outcome.unfinished.len() };
            let differences = *differences + unknown as u64;
            let found = summary_table::exit_of(*interrupted, totals.failed, differences, signal);
            found.and(fault.as_ref().map_or(Exit::Done, |fault| fault.kind.into()))
        }
        Ok(Verified::Against(outcome)) => {
            let AgainstOutcome { totals, differences, interrupted, .. } = outcome;
            summary_table::exit_of(*interrupted, totals.failed, *differences, signal)
        }
        Err(error) => signal.unwrap_or_else(|| error.kind.into()),
    }
}

impl Concludes<VerifyEnding> for JsonReport {
    fn finish(&self, ending: &VerifyEnding, _watch: &Watch) {
        let VerifyEnding { target, against, verified, elapsed, exit, .. } = ending;
        let of_record = |result| recorded::finished(target, result, *elapsed, *exit);
        let of_source = |result| {
            let source = against.as_deref().unwrap_or_default();
            against::finished(source, target, result, *elapsed, *exit)
        };
        self.output.line(&match verified {
            Ok(Verified::Recorded(outcome) | Verified::Imported(outcome)) => of_record(Ok(outcome)),
            Ok(Verified::Against(outcome)) => of_source(Ok(outcome)),
            Err(error) if against.is_some() => of_source(Err(error)),
            Err(error) => of_record(Err(error)),
        });
    }
}

impl Concludes<VerifyEnding> for HumanReport {
    fn finish(&self, ending: &VerifyEnding, _watch: &Watch) {
        let verified = match &ending.verified {
            Err(error) => return super::tell(&self.output, error),
            Ok(verified) => verified,
        };
        if self.options.quiet {
            self.failures.report_unprinted(&self.output);
            tell_failures(verified, ending.allows_incomplete, &self.output);
        } else {
            for line in summary(self, ending, verified) {
                self.output.line(&line);
            }
            self.output.flush();
        }
        if let Verified::Recorded(VerifyOutcome { fault: Some(fault), .. }) = verified {
            super::tell(&self.output, fault);
        }
    }
}

/// Returns the lines of the summary.
fn summary(report: &HumanReport, ending: &VerifyEnding, verified: &Verified) -> Vec<String> {
    let VerifyEnding { target, against: source, .. } = ending;
    let unprinted = report.failures.unprinted();
    match verified {
        Verified::Recorded(outcome) => {
            let VerifyOutcome { run, source, sources, .. } = outcome;
            let mut heading = format!("verified {target} against run {run} of {source}");
            match sources.len().saturating_sub(1) as u64 {
                0 => {}
                others => {
                    heading += ", and what runs of ";
                    heading += &counted(others, "other source", "other sources");
                    heading += " recorded";
                }
            }
            let mut lines = recorded::summary(heading, outcome, unprinted);
            if report.options.verbose && sources.len() > 1 {
                lines.splice(1..1, sources.iter().map(|of| format!("  source    {of}")));
            }
            lines
        }
        Verified::Imported(outcome) => {
            let VerifyOutcome { run, source, .. } = outcome;
            let heading = format!("compared {target} with {source}, imported by run {run}");
            recorded::summary(heading, outcome, unprinted)
        }
        Verified::Against(outcome) => {
            against::summary(source.as_deref().unwrap_or_default(), target, outcome, unprinted)
        }
    }
}

/// Reports why the exit code isn't 0, unless that was reported when it was found.
fn tell_failures(verified: &Verified, allows_incomplete: bool, output: &Output) {
    let interrupted = match verified {
        Verified::Recorded(outcome) | Verified::Imported(outcome) => {
            if !allows_incomplete {
                recorded::tell_unfinished(outcome, output);
            }
            outcome.interrupted
        }
        Verified::Against(outcome) => outcome.interrupted,
    };
    if interrupted {
        summary_table::tell_interrupted(output);
    }
}
