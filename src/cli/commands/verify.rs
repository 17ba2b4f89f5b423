//! `vidimus verify TARGET`: prints a line per difference, and a summary.

mod against;
mod differences;
mod recorded;

use super::super::args::VerifyArgs;
use super::super::exit::Exit;
use super::super::settings;
use super::super::signals::Signals;
use super::Purpose;
use super::summary_table;
use crate::location::Location;
use crate::model::{Cause, EntryError, Error, Key, Notice, Progress, Severity, Stop, Totals};
use crate::report::bars::{self, Bars, Figures, Shown};
use crate::report::estimate::{Estimate, Kind, Sample};
use crate::report::failures::Failures;
use crate::report::flags;
use crate::report::format::counted;
use crate::report::json::{self, JsonFailure, JsonKey, Level};
use crate::report::{HumanOptions, Output, ProgressStyle};
use crate::ticker::Ticker;
use crate::verify::{
    AgainstOutcome, Difference, VerifyObserver, VerifyOutcome, verify, verify_against,
};
use clap::ArgMatches;
use differences::{AGAINST, JsonDifference, RECORDED, Words, difference_line};
use parking_lot::Mutex;
use serde::Serialize;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a plain progress line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a `progress` record is written.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &VerifyArgs, matches: &ArgMatches) -> Exit {
    let began = Instant::now();
    let human = settings::human(&args.output, matches, false);
    // Before signals are handled: reading patterns and keys may block.
    let options = settings::check_output(&args.output, matches)
        .and_then(|()| settings::verify(args, matches));
    let against = match &options {
        Ok((_, against)) => against.is_some(),
        Err(_) => args.against.is_some(),
    };
    let against = args.against.as_deref().filter(|_| against).map(Location::printable);
    let mut report = Report::new(human, args.output.json, &args.target, against);
    report.allows_incomplete = args.allow_incomplete;
    if let Ok((options, against)) = &options {
        let kind = if against.is_some() { Kind::Against } else { Kind::Verify };
        report.state = Mutex::new(State::new(Estimate::within(kind, options.depth.time())));
    }
    let report = Arc::new(report);
    report.present(began, |report, progress, stop| {
        let (options, against) = options?;
        match against {
            None => verify(&options, report, progress, stop).map(Verified::Recorded),
            Some(against) => {
                verify_against(&options, &against, report, progress, stop).map(Verified::Against)
            }
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

/// The locations named, as they print.
#[derive(Debug)]
struct Names {
    target: String,
    /// The source to compare with, if there is one.
    against: Option<String>,
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

/// Presents a verification to a person, or as NDJSON.
#[derive(Debug)]
pub(super) struct Report {
    options: HumanOptions,
    json: bool,
    /// Whether incomplete runs don't count as a failure.
    allows_incomplete: bool,
    names: Names,
    output: Output,
    bars: Option<Bars>,
    failures: Failures,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    estimate: Estimate,
    last_line: Duration,
}

impl State {
    fn new(estimate: Estimate) -> Self {
        Self { estimate, last_line: Duration::ZERO }
    }
}

impl Report {
    pub(super) fn new(
        options: HumanOptions,
        json: bool,
        target: &OsStr,
        against: Option<String>,
    ) -> Self {
        let bars = (options.progress == ProgressStyle::Bars).then(Bars::new);
        let output = Output::new(options.output, bars.as_ref().map(Bars::bar));
        let names = Names { target: Location::printable(target), against };
        let (allows_incomplete, failures) = (false, Failures::new(options.verbose));
        let state = Mutex::new(State::new(Estimate::new(Kind::Verify)));
        Self { options, json, allows_incomplete, names, output, bars, failures, state }
    }

    /// Does the work, shows its progress, and reports the result.
    pub(super) fn present(
        self: &Arc<Self>,
        began: Instant,
        work: impl FnOnce(&Self, &Arc<Progress>, &Stop) -> Result<Verified, Error>,
    ) -> Exit {
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let (verified, signal) = Signals::during(&stop, || {
            let (ticking, counters) = (Arc::clone(self), Arc::clone(&progress));
            let tick = move |at| ticking.tick(at, &counters);
            let _ticker = Ticker::start(self.interval(), tick)?;
            work(self, &progress, &stop)
        });
        let exit = match &verified {
            Ok(Verified::Recorded(outcome) | Verified::Imported(outcome)) => {
                let VerifyOutcome { totals, differences, interrupted, fault, .. } = outcome;
                let unknown = if self.allows_incomplete { 0 } else { outcome.unfinished.len() };
                let differences = *differences + unknown as u64;
                let found =
                    summary_table::exit_of(*interrupted, totals.failed, differences, signal);
                found.and(fault.as_ref().map_or(Exit::Done, |fault| fault.kind.into()))
            }
            Ok(Verified::Against(outcome)) => {
                let AgainstOutcome { totals, differences, interrupted, .. } = outcome;
                summary_table::exit_of(*interrupted, totals.failed, *differences, signal)
            }
            Err(error) => signal.unwrap_or_else(|| error.kind.into()),
        };
        self.finish(&verified, began.elapsed(), exit);
        super::close(&self.output, exit, Purpose::Work)
    }

    fn interval(&self) -> Duration {
        if self.json { RECORD_INTERVAL } else { self.options.progress.interval() }
    }

    fn tick(&self, at: Duration, progress: &Progress) {
        self.output.flush();
        if !self.json && self.options.progress == ProgressStyle::Off {
            return;
        }
        let totals = progress.totals();
        let mut state = self.state.lock();
        state.estimate.push(at, &Sample::of(progress));
        let rate = state.estimate.rate(|totals| totals.bytes_hashed);
        let remaining = state.estimate.remaining();
        if self.json {
            drop(state);
            if !self.options.quiet {
                let body = serde_json::json!({
                    "entries": totals.entries,
                    "bytes_hashed": totals.bytes_hashed,
                    "requests_retried": totals.requests_retried,
                    "requests_throttled": totals.requests_throttled,
                    "bytes_per_s": rate.map(f64::round),
                    "remaining_s": remaining.map(|left| left.as_secs()),
                });
                self.output.line(&json::record(Level::Info, "progress", &body));
                self.output.flush();
            }
            return;
        }
        let Figures { share, pieces: figures } =
            bars::verify_figures(&totals, &state.estimate, rate);
        let counts = bars::verify_counts(&totals, &state.estimate, at, self.failures.count());
        let shown = Shown { share, figures, counts, in_flight: bars::in_flight(progress) };
        if let Some(bars) = &self.bars {
            drop(state);
            bars.show(shown);
        } else if at.saturating_sub(state.last_line) >= LINE_INTERVAL {
            state.last_line = at;
            drop(state);
            self.output.stderr_line(&shown.line());
        }
    }

    /// Returns the words for differences.
    fn words(&self) -> &'static Words {
        if self.names.against.is_some() { &AGAINST } else { &RECORDED }
    }

    fn finish(&self, verified: &Result<Verified, Error>, elapsed: Duration, exit: Exit) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        if self.json {
            let line = self.last_record(verified, elapsed, exit);
            return self.output.line(&line);
        }
        let Names { target, against: source } = &self.names;
        let lines = match verified {
            Err(error) => return super::tell(&self.output, error),
            Ok(verified) if self.options.quiet => return self.tell_failures(verified),
            Ok(Verified::Recorded(outcome)) => {
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
                let unprinted = self.failures.unprinted();
                let mut lines = recorded::summary(heading, outcome, unprinted);
                if self.options.verbose && sources.len() > 1 {
                    lines.splice(1..1, sources.iter().map(|of| format!("  source    {of}")));
                }
                lines
            }
            Ok(Verified::Imported(outcome)) => {
                let VerifyOutcome { run, source, .. } = outcome;
                let heading = format!("compared {target} with {source}, imported by run {run}");
                recorded::summary(heading, outcome, self.failures.unprinted())
            }
            Ok(Verified::Against(outcome)) => {
                let source = source.as_deref().unwrap_or_default();
                against::summary(source, target, outcome, self.failures.unprinted())
            }
        };
        for line in &lines {
            self.output.line(line);
        }
        self.output.flush();
        if let Ok(verified) = verified {
            self.tell_fault(verified);
        }
    }

    /// Reports why the exit code isn't 0, unless that was reported when it was found.
    fn tell_failures(&self, verified: &Verified) {
        self.failures.report_unprinted(&self.output);
        let interrupted = match verified {
            Verified::Recorded(outcome) | Verified::Imported(outcome) => {
                if !self.allows_incomplete {
                    recorded::tell_unfinished(outcome, &self.output);
                }
                outcome.interrupted
            }
            Verified::Against(outcome) => outcome.interrupted,
        };
        if interrupted {
            summary_table::tell_interrupted(&self.output);
        }
        self.tell_fault(verified);
    }

    /// Reports what is wrong with the published manifest.
    fn tell_fault(&self, verified: &Verified) {
        if let Verified::Recorded(VerifyOutcome { fault: Some(fault), .. }) = verified {
            super::tell(&self.output, fault);
        }
    }

    fn last_record(
        &self,
        verified: &Result<Verified, Error>,
        elapsed: Duration,
        exit: Exit,
    ) -> String {
        let Names { target, against: source } = &self.names;
        let of_record = |result| recorded::finished(target, result, elapsed, exit);
        let of_source = |result| {
            let source = source.as_deref().unwrap_or_default();
            against::finished(source, target, result, elapsed, exit)
        };
        match verified {
            Ok(Verified::Recorded(outcome) | Verified::Imported(outcome)) => of_record(Ok(outcome)),
            Ok(Verified::Against(outcome)) => of_source(Ok(outcome)),
            Err(error) if source.is_some() => of_source(Err(error)),
            Err(error) => of_record(Err(error)),
        }
    }
}

impl VerifyObserver for Report {
    fn difference(&self, key: &Key, difference: &Difference, counted: bool) {
        let is_unknown = matches!(difference, Difference::Unknown(_));
        let counted = counted && !(is_unknown && self.allows_incomplete);
        if self.json {
            let level = if counted { Level::Error } else { Level::Info };
            let body = JsonDifference::new(key, difference, counted, self.words());
            if counted || !self.options.quiet {
                self.output.line(&json::record(level, "difference", &body));
            }
        } else if counted || self.options.verbose || is_unknown && !self.options.quiet {
            // Differences are what a verification looks for: quiet means to print nothing else.
            self.output.line(&difference_line(key, difference, counted, self.words()));
        }
    }

    fn failed(&self, error: &EntryError) {
        if self.json {
            let body = JsonFailure::from(error);
            self.output.line(&json::record(Level::Error, "failed", &body));
            return;
        }
        self.failures.report(&self.output, &flags::entry_error(error));
    }

    fn mended(&self, key: &Key, mended: Result<(), &Cause>) {
        let error = mended.err().map(flags::cause);
        if self.json {
            #[derive(Serialize)]
            struct Mended {
                #[serde(flatten)]
                key: JsonKey,
                #[serde(skip_serializing_if = "Option::is_none")]
                error: Option<String>,
            }
            let (level, event) = match &error {
                None => (Level::Info, "mended"),
                Some(_) => (Level::Error, "not_mended"),
            };
            let body = Mended { key: key.into(), error };
            if level == Level::Error || !self.options.quiet {
                self.output.line(&json::record(level, event, &body));
            }
            return;
        }
        match error {
            None => self.output.line(&format!("mended {key}")),
            Some(error) => {
                self.failures.report(&self.output, &format!("cannot repair \"{key}\": {error}"));
            }
        }
    }

    fn notice(&self, notice: &Notice) {
        if !self.json {
            self.output.notice(notice, self.options.quiet);
        } else if notice.severity() == Severity::Warning || !self.options.quiet {
            self.output.line(&json::notice_record(notice));
        }
    }
}
