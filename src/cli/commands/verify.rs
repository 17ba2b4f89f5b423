//! `vidimus verify TARGET`: a line a difference, and a summary.

use super::super::args::VerifyArgs;
use super::super::exit::Exit;
use super::super::settings;
use super::super::signals::Signals;
use crate::location::Location;
use crate::model::{Cause, Digest, EntryError, Error, ErrorKind, Key, Progress, Stop};
use crate::report::bars::{self, Bars};
use crate::report::estimate::Window;
use crate::report::format::{counted, duration, size, speed};
use crate::report::json::{self, JsonError, JsonFailure, JsonKey, Level};
use crate::report::requests::{requests_by_kind, trouble};
use crate::report::text::{self, Failures, Telling};
use crate::report::{HumanOptions, Output, ProgressStyle, Ticker};
use crate::verify::{self, Depth, Difference, Sample, VerifyObserver, VerifyOutcome, VerifyTotals};
use clap::ArgMatches;
use serde::Serialize;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a plain progress line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a `progress` record is written.
const RECORD_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &VerifyArgs, matches: &ArgMatches) -> Exit {
    let began = Instant::now();
    let options = settings::human(&args.output, matches, false);
    let report = Arc::new(Report::new(options, args.output.json));
    let (result, signal) = report.watch(|progress, stop| {
        let options = settings::verify(args, matches)?;
        verify::verify(&options, &*report, progress, stop)
    });
    report.close(&args.target, heading, (result, signal), began)
}

fn exit_of(result: &Result<VerifyOutcome, Error>, signal: Option<Exit>) -> Exit {
    match result {
        Ok(outcome) => {
            let stopped =
                if outcome.interrupted { signal.unwrap_or(Exit::Interrupted) } else { Exit::Done };
            let failed = if outcome.totals.failed > 0 { Exit::Incomplete } else { Exit::Done };
            let differs = if outcome.differences > 0 { Exit::Differences } else { Exit::Done };
            stopped.and(failed).and(differs)
        }
        Err(error) => signal.unwrap_or_else(|| error.kind.into()),
    }
}

/// Presents a verification, to a person or as NDJSON.
#[derive(Debug)]
pub(super) struct Report {
    options: HumanOptions,
    json: bool,
    output: Output,
    bars: Option<Bars>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: Failures,
    window: Window,
    last_line: Duration,
}

impl Report {
    pub(super) fn new(options: HumanOptions, json: bool) -> Self {
        let bars = (options.progress == ProgressStyle::Bars).then(Bars::new);
        let output = Output::new(options.output, bars.as_ref().map(Bars::multi));
        Self { options, json, output, bars, state: Mutex::default() }
    }

    /// Does the work and shows how it goes; what came of it, and the signal that stopped it.
    pub(super) fn watch<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Progress>, &Stop) -> Result<T, Error>,
    ) -> (Result<T, Error>, Option<Exit>) {
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let signals = Signals::listen(&stop);
        let result = match &signals {
            Ok(_) => {
                let (ticking, counters) = (Arc::clone(self), Arc::clone(&progress));
                let tick = move |at| ticking.tick(at, &counters);
                let ticker = Ticker::start(self.interval(), tick).map_err(|error| {
                    Error::new(ErrorKind::Unusable, "cannot start a thread").because(error)
                });
                ticker.and_then(|_ticker| work(&progress, &stop))
            }
            Err(error) => {
                let error = std::io::Error::new(error.kind(), error.to_string());
                Err(Error::new(ErrorKind::Unusable, "cannot listen for signals").because(error))
            }
        };
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        (result, signals.ok().and_then(|signals| signals.exit()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.state();
        state.window.push(at, &totals);
        let rate = state.window.rate(|totals| totals.bytes_hashed);
        if self.json {
            drop(state);
            if !self.options.quiet {
                let body = serde_json::json!({
                    "entries": totals.entries,
                    "bytes_hashed": totals.bytes_hashed,
                    "requests_retried": totals.requests_retried,
                    "requests_throttled": totals.requests_throttled,
                    "bytes_per_s": rate.map(f64::round),
                });
                self.output.line(&json::record(Level::Info, "progress", &body));
                self.output.flush();
            }
        } else if let Some(bars) = &self.bars {
            drop(state);
            let in_flight: Vec<_> = {
                let slots = progress.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
                slots.iter().flatten().take(8).cloned().collect()
            };
            let looked_at = counted(totals.entries, "entry looked at", "entries looked at");
            let looked_at = trouble(&totals) + &looked_at;
            bars.show(bars::verify_line(&totals, rate), None, looked_at, &in_flight);
        } else if at.saturating_sub(state.last_line) >= LINE_INTERVAL {
            state.last_line = at;
            drop(state);
            let line = trouble(&totals) + &bars::verify_line(&totals, rate);
            self.output.stderr_line(&line);
        }
    }

    /// Tells the result, which begins with a heading, and ends the output.
    pub(super) fn close(
        &self,
        target: &OsStr,
        heading: fn(&str, &VerifyOutcome) -> String,
        (result, signal): (Result<VerifyOutcome, Error>, Option<Exit>),
        began: Instant,
    ) -> Exit {
        let exit = exit_of(&result, signal);
        let target = Location::printable(target);
        self.finish((&target, heading), &result, began.elapsed(), exit);
        super::close(&self.output, exit)
    }

    fn finish(
        &self,
        (target, heading): (&str, fn(&str, &VerifyOutcome) -> String),
        result: &Result<VerifyOutcome, Error>,
        elapsed: Duration,
        exit: Exit,
    ) {
        match result {
            _ if self.json => {
                let level = if exit == Exit::Done { Level::Info } else { Level::Error };
                let body = finished(target, result, elapsed, exit);
                self.output.line(&json::record(level, "finished", &body));
            }
            Ok(outcome) => {
                if !self.options.quiet {
                    let lines = summary(heading(target, outcome), outcome, &self.state().failures);
                    for line in &lines {
                        self.output.line(line);
                    }
                }
            }
            Err(error) => super::tell(&self.output, error),
        }
    }
}

impl VerifyObserver for Report {
    fn difference(&self, key: &Key, difference: &Difference, counted: bool) {
        if self.json {
            let level = if counted { Level::Error } else { Level::Info };
            let body = JsonDifference::new(key, difference, counted);
            if counted || !self.options.quiet {
                self.output.line(&json::record(level, "difference", &body));
            }
        } else if counted || self.options.verbose {
            // Differences are what a verification fails with: quiet means not to say anything else.
            self.output.line(&difference_line(key, difference, counted));
        }
    }

    fn failed(&self, error: &EntryError) {
        if self.json {
            let body = JsonFailure::from(error);
            self.output.line(&json::record(Level::Error, "failed", &body));
            return;
        }
        let text = text::entry_error(error);
        let telling = self.state().failures.add(&text);
        match telling {
            Telling::Print => self.output.message("error", &text),
            Telling::SayThatTheRestIsCounted => self.output.message("note", text::REST_IS_COUNTED),
            Telling::Count => {}
        }
    }

    fn not_recorded(&self, error: &Error) {
        let why = text::error(error);
        self.note(&format!("it is not recorded which files were verified: {why}"));
    }

    fn mended(&self, key: &Key, mended: Result<(), &Cause>) {
        let error = mended.err().map(text::cause);
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
            Some(error) => self.output.message("error", &format!("cannot mend \"{key}\": {error}")),
        }
    }

    fn note(&self, text: &str) {
        if !self.json {
            self.output.message("note", text);
        } else if !self.options.quiet {
            let body = serde_json::json!({ "text": text });
            self.output.line(&json::record(Level::Info, "note", &body));
        }
    }
}

/// The line of one difference: `corrupt a/b (expected 0a1b…, found 2c3d…)`.
fn difference_line(key: &Key, difference: &Difference, counted: bool) -> String {
    match difference {
        Difference::Missing => format!("missing {key}"),
        Difference::Corrupt { expected: None, found: None } => {
            format!("corrupt {key} (another size)")
        }
        Difference::Corrupt { expected, found } => {
            // The start of a digest is enough to see by; --json has all of it.
            let short = |digest: &Option<Digest>| {
                digest
                    .map_or("another size".into(), |digest| format!("{:.16}…", digest.to_string()))
            };
            format!("corrupt {key} (expected {}, found {})", short(expected), short(found))
        }
        Difference::Metadata(change) => format!("metadata {key}: {change}"),
        Difference::Touched(change) => format!("touched {key}: {change}"),
        Difference::Extra if counted => format!("extra {key}"),
        Difference::Extra => format!("extra {key} (not counted)"),
    }
}

#[derive(Debug, Serialize)]
struct JsonDifference<'a> {
    #[serde(flatten)]
    key: JsonKey,
    difference: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    counted: bool,
}

impl<'a> JsonDifference<'a> {
    fn new(key: &Key, difference: &'a Difference, counted: bool) -> Self {
        let mut body = Self {
            key: key.into(),
            difference: match difference {
                Difference::Missing => "missing",
                Difference::Corrupt { .. } => "corrupt",
                Difference::Metadata(_) => "metadata",
                Difference::Touched(_) => "touched",
                Difference::Extra => "extra",
            },
            expected: None,
            found: None,
            detail: None,
            counted,
        };
        match difference {
            Difference::Corrupt { expected, found } => {
                body.expected = expected.map(|digest| digest.to_string());
                body.found = found.map(|digest| digest.to_string());
            }
            Difference::Metadata(change) | Difference::Touched(change) => {
                body.detail = Some(change);
            }
            Difference::Missing | Difference::Extra => {}
        }
        body
    }
}

fn finished<'a>(
    target: &'a str,
    result: &'a Result<VerifyOutcome, Error>,
    elapsed: Duration,
    exit: Exit,
) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Finished<'a> {
        run: Option<&'a str>,
        source: Option<&'a str>,
        target: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sample: Option<String>,
        #[serde(flatten)]
        totals: VerifyTotals,
        requests_list: u64,
        requests_get: u64,
        requests_head: u64,
        requests_lock: u64,
        requests_retried: u64,
        requests_throttled: u64,
        differences: u64,
        duration_s: f64,
        throughput_bytes_per_s: f64,
        verdict: &'static str,
        exit_code: u8,
        #[serde(flatten)]
        error: Option<JsonError<'a>>,
    }
    let outcome = result.as_ref().ok();
    let totals = outcome.map(|outcome| outcome.totals).unwrap_or_default();
    let counted = outcome.map(|outcome| outcome.counted).unwrap_or_default();
    let duration = outcome.map_or(elapsed, |outcome| outcome.duration);
    Finished {
        run: outcome.map(|outcome| outcome.run.0.as_str()),
        source: outcome.map(|outcome| outcome.source.as_str()),
        target,
        key: outcome.and_then(|outcome| outcome.key).map(|key| key.to_string()),
        sample: outcome.and_then(sample).map(|sample| sample.to_string()),
        totals,
        requests_list: counted.requests_list,
        requests_get: counted.requests_get,
        requests_head: counted.requests_head,
        requests_lock: counted.requests_lock,
        requests_retried: counted.requests_retried,
        requests_throttled: counted.requests_throttled,
        differences: outcome.map_or(0, |outcome| outcome.differences),
        duration_s: duration.as_secs_f64(),
        throughput_bytes_per_s: rate(&totals, duration).round(),
        verdict: outcome.map_or("failed", |outcome| verdict(outcome).0),
        exit_code: exit.code(),
        error: result.as_ref().err().map(JsonError::from),
    }
}

/// The sample that was read, where one was.
fn sample(outcome: &VerifyOutcome) -> Option<Sample> {
    match outcome.depth {
        Depth::Stamps => None,
        Depth::Content(choice) => choice.sample,
    }
}

/// Speed S: bytes hashed a second.
fn rate(totals: &VerifyTotals, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 { totals.bytes_hashed as f64 / seconds } else { 0.0 }
}

fn verdict(outcome: &VerifyOutcome) -> (&'static str, &'static str) {
    if outcome.interrupted {
        ("interrupted", "what was not looked at is unknown")
    } else if outcome.totals.failed > 0 {
        ("incomplete", "some entries could not be read")
    } else if outcome.differences > 0 {
        ("different", "the target is not what was recorded")
    } else {
        match outcome.totals.unproven {
            _ if outcome.totals.mended > 0 => {
                ("complete", "what differed is mended, nothing else differs")
            }
            _ if outcome.depth == Depth::Stamps => {
                ("complete", "nothing differs as far as stamps tell; no content was read")
            }
            _ if outcome.totals.left > 0 => {
                ("complete", "nothing differs as far as the budget went; files are left to read")
            }
            _ if outcome.totals.unread > 0 => (
                "complete",
                "nothing differs; what was not read is there, of its size, with its metadata",
            ),
            0 => ("complete", "the target is what was recorded"),
            _ => ("complete", "nothing differs, but adopted files have no digest to prove it by"),
        }
    }
}

fn heading(target: &str, outcome: &VerifyOutcome) -> String {
    format!("verified {target} against run {} of {}", outcome.run, outcome.source)
}

/// The lines of the summary.
fn summary(heading: String, outcome: &VerifyOutcome, failures: &Failures) -> Vec<String> {
    let totals = &outcome.totals;
    let files = |number| counted(number, "file", "files");
    let entries = |number| counted(number, "entry", "entries");
    let mut lines = vec![heading];
    if let Some(key) = outcome.key {
        lines.push(format!("  {:<10}by key {key}; the chain is whole", "signed"));
    }
    if let Some(sample) = sample(outcome) {
        lines.push(format!("  {:<10}{sample}, {}", "sample", files(totals.chosen)));
    }
    if outcome.depth != Depth::Stamps {
        let hashed = format!("{}, {}", files(totals.verified), size(totals.bytes_hashed));
        lines.push(format!("  {:<10}{hashed}", "verified"));
    }
    for (number, label, value) in [
        (
            totals.left,
            "left",
            format!("{}, {}: the budget is spent", files(totals.left), size(totals.left_bytes)),
        ),
        (totals.unread, "unread", format!("{}, compared without reading", files(totals.unread))),
        (
            totals.unproven,
            "unproven",
            format!("{}, adopted without a digest", files(totals.unproven)),
        ),
        (totals.missing, "missing", entries(totals.missing)),
        (totals.corrupt, "corrupt", files(totals.corrupt)),
        (totals.mended, "mended", files(totals.mended)),
        (totals.metadata, "metadata", entries(totals.metadata)),
        (totals.touched, "touched", files(totals.touched)),
        (totals.extra, "extra", entries(totals.extra)),
        (totals.failed, "failed", entries(totals.failed)),
    ] {
        if number > 0 {
            lines.push(format!("  {label:<10}{value}"));
        }
    }
    if let Some(requests) = requests_by_kind(&outcome.counted) {
        lines.push(format!("  {:<10}{requests}", "requests"));
    }
    lines.push(format!(
        "time {}, speed {}, {} of {}",
        duration(outcome.duration),
        speed(rate(totals, outcome.duration)),
        counted(outcome.differences, "difference", "differences"),
        entries(totals.entries),
    ));
    if failures.count() > 0 {
        lines.push("failed:".into());
        lines.extend(failures.lines());
    }
    let (word, meaning) = verdict(outcome);
    lines.push(format!("{word}: {meaning}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunId, Totals};
    use crate::verify::Choice;

    fn outcome(differences: u64, failed: u64, interrupted: bool) -> VerifyOutcome {
        let totals = VerifyTotals {
            entries: 4000,
            verified: 3998,
            corrupt: differences,
            failed,
            bytes_hashed: 4 << 20,
            ..VerifyTotals::default()
        };
        VerifyOutcome {
            run: RunId("r".into()),
            source: "/s".into(),
            key: None,
            depth: Depth::Content(Choice::default()),
            totals,
            counted: Totals { requests_list: 4, requests_get: 3998, ..Totals::default() },
            differences,
            duration: Duration::from_secs(2),
            interrupted,
        }
    }

    #[test]
    fn a_difference_is_one_line_that_names_the_entry() {
        let key = Key::new(*b"a\nb");
        let digest = Some(Digest([0xab; 32]));
        let corrupt = Difference::Corrupt { expected: digest, found: None };
        let line = difference_line(&key, &corrupt, true);
        assert_eq!(line, "corrupt a\\nb (expected abababababababab…, found another size)");
        let metadata = Difference::Metadata("mode 0644 -> 0600".into());
        let line = difference_line(&key, &metadata, true);
        assert_eq!(line, "metadata a\\nb: mode 0644 -> 0600");
        assert_eq!(difference_line(&key, &Difference::Extra, false), "extra a\\nb (not counted)");
    }

    #[test]
    fn unread_entries_outrank_differences_and_a_signal_both() {
        let exit = |outcome, signal| exit_of(&Ok(outcome), signal);
        assert_eq!(exit(outcome(0, 0, false), None), Exit::Done);
        assert_eq!(exit(outcome(2, 0, false), None), Exit::Differences);
        assert_eq!(exit(outcome(2, 1, false), None), Exit::Incomplete);
        assert_eq!(exit(outcome(2, 1, true), Some(Exit::Terminated)), Exit::Terminated);
        let error = Err(Error::new(ErrorKind::Manifest, "no run"));
        assert_eq!(exit_of(&error, None), Exit::Manifest);
    }

    #[test]
    fn the_summary_counts_what_was_verified_and_what_differs() {
        let outcome = outcome(2, 0, false);
        let lines = summary(heading("/t", &outcome), &outcome, &Failures::default());
        assert_eq!(
            lines,
            [
                "verified /t against run r of /s",
                "  verified  3,998 files, 4.0 MiB",
                "  corrupt   2 files",
                "  requests  4 list, 3,998 get",
                "time 2.0 s, speed 2.0 MiB/s, 2 differences of 4,000 entries",
                "different: the target is not what was recorded",
            ]
        );
    }

    #[test]
    fn the_last_record_has_totals_verdict_and_exit_code() {
        let result = Ok(outcome(2, 0, false));
        let body = finished("/t", &result, Duration::ZERO, Exit::Differences);
        let value = serde_json::to_value(&body).unwrap();
        assert_eq!(value["corrupt"], 2);
        assert_eq!(value["verdict"], "different");
        assert_eq!(value["exit_code"], 3);
        assert_eq!(value["throughput_bytes_per_s"], 2_097_152.0);
    }
}
