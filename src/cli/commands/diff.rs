//! `vidimus diff A B`: prints a line per difference, and a summary.

use super::super::args::DiffArgs;
use super::super::exit::Exit;
use super::super::settings::{self, Amount};
use super::super::signals::Signals;
use super::Purpose;
use super::presenting::Presenting;
use super::summary_table::{self, Conclusion, SummaryTable};
use crate::location::Location;
use crate::model::{Error, Progress, Stop, Totals, Verdict, run};
use crate::report::format::{counted, duration, error_rate, size};
use crate::report::json::{self, JsonError};
use crate::report::{Concludes, HumanOptions, HumanReport, JsonReport, ProgressStyle, Watch};
use crate::session::diff::{Basis, DiffOutcome, DiffTotals};
use clap::ArgMatches;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &DiffArgs, matches: &ArgMatches) -> Exit {
    let began = Instant::now();
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    let amount = settings::amount(matches, args.verbose, args.quiet);
    let human = HumanOptions {
        // Records tell what is found, whatever is asked for.
        quiet: amount == Amount::Quiet && !args.json,
        verbose: amount == Amount::Verbose,
        progress: ProgressStyle::Off,
        ..HumanOptions::default()
    };
    let Presenting { presenters, output } = Presenting::new(human, args.json, Watch::default());
    let (result, signal) = Signals::during(&stop, || {
        settings::diff(args, matches)?.observed(&*presenters, &progress, &stop)
    });
    let exit = exit_of(&result, signal);
    let names = [&args.a, &args.b].map(|typed| Location::printable(typed));
    presenters.finish(&DiffEnding { names, result, elapsed: began.elapsed(), exit });
    super::close(&output, exit, Purpose::Tell)
}

/// How a comparison ended.
struct DiffEnding {
    /// Both locations, as they print.
    names: [String; 2],
    result: Result<DiffOutcome, Error>,
    elapsed: Duration,
    exit: Exit,
}

impl Concludes<DiffEnding> for JsonReport {
    fn finish(&self, ending: &DiffEnding, _watch: &Watch) {
        let DiffEnding { names, result, elapsed, exit } = ending;
        let verdict = result.as_ref().map_or("failed", |outcome| verdict(outcome).word);
        let body = record_of(names, result, elapsed.as_secs_f64());
        let error = result.as_ref().err().map(JsonError::from);
        self.output.line(&json::finished(&body, verdict, exit.code(), error));
    }
}

impl Concludes<DiffEnding> for HumanReport {
    fn finish(&self, ending: &DiffEnding, _watch: &Watch) {
        match &ending.result {
            Ok(outcome) if !self.options.quiet => {
                for line in summary(&ending.names, outcome, self.failures.unprinted()) {
                    self.output.line(&line);
                }
            }
            Ok(outcome) => {
                self.failures.report_unprinted(&self.output);
                if outcome.interrupted {
                    summary_table::tell_interrupted(&self.output);
                }
            }
            Err(error) => super::tell(&self.output, error),
        }
    }
}

fn exit_of(result: &Result<DiffOutcome, Error>, signal: Option<Exit>) -> Exit {
    match result {
        Ok(outcome) => {
            let DiffOutcome { totals, interrupted, .. } = outcome;
            summary_table::exit_of(*interrupted, totals.failed, totals.differences(), signal)
        }
        Err(error) => signal.unwrap_or_else(|| error.kind.into()),
    }
}

/// What the last record tells of a comparison.
fn record_of<'a>(
    names: &'a [String; 2],
    result: &'a Result<DiffOutcome, Error>,
    elapsed: f64,
) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Compared<'a> {
        a: &'a str,
        b: &'a str,
        a_basis: Option<&'static str>,
        a_run: Option<&'a str>,
        a_run_verdict: Option<Verdict>,
        b_basis: Option<&'static str>,
        b_run: Option<&'a str>,
        b_run_verdict: Option<Verdict>,
        #[serde(flatten)]
        totals: DiffTotals,
        differences: u64,
        requests_list: u64,
        requests_get: u64,
        requests_head: u64,
        requests_retried: u64,
        requests_throttled: u64,
        duration_s: f64,
        error_rate: f64,
    }
    let outcome = result.as_ref().ok();
    let run = |side: usize| match &outcome?.bases[side] {
        Basis::Manifest { run, verdict } => Some((run.0.as_str(), Some(*verdict))),
        Basis::Listing(run) => Some((run.as_ref()?.0.as_str(), None)),
    };
    let ((a_run, a_run_verdict), (b_run, b_run_verdict)) = (run(0).unzip(), run(1).unzip());
    let basis = |side: usize| match outcome?.bases[side] {
        Basis::Manifest { .. } => Some("manifest"),
        Basis::Listing(_) => Some("listing"),
    };
    let totals = outcome.map(|outcome| outcome.totals).unwrap_or_default();
    let requests = outcome.map_or_else(Totals::default, |outcome| outcome.counted);
    Compared {
        a: &names[0],
        b: &names[1],
        a_basis: basis(0),
        a_run,
        a_run_verdict: a_run_verdict.flatten(),
        b_basis: basis(1),
        b_run,
        b_run_verdict: b_run_verdict.flatten(),
        totals,
        differences: totals.differences(),
        requests_list: requests.requests_list,
        requests_get: requests.requests_get,
        requests_head: requests.requests_head,
        requests_retried: requests.requests_retried,
        requests_throttled: requests.requests_throttled,
        duration_s: elapsed,
        error_rate: run::error_rate(totals.failed, totals.entries),
    }
}

fn verdict(outcome: &DiffOutcome) -> Conclusion {
    let totals = &outcome.totals;
    let is_recorded = |basis: &Basis| matches!(basis, Basis::Manifest { .. });
    if outcome.interrupted {
        Conclusion::INTERRUPTED
    } else if totals.failed > 0 {
        Conclusion::new("incomplete", "some parts could not be listed or read")
    } else if totals.differences() > 0 {
        Conclusion::new("different", "A and B are not the same")
    } else if outcome.bases.iter().all(is_recorded) {
        Conclusion::new("equal", "the manifests say the same; neither place was looked at")
    } else if outcome.bases.iter().any(is_recorded) {
        Conclusion::new(
            "equal",
            "nothing differs from what one manifest says; its place was not looked at",
        )
    } else if totals.files_touched > 0 {
        Conclusion::new(
            "equal",
            "nothing differs, but what was touched since it was recorded was not read",
        )
    } else if totals.files_by_size > 0 {
        Conclusion::new(
            "equal",
            "nothing differs, but not all files have digests to prove it by (see --content)",
        )
    } else {
        Conclusion::new("equal", "nothing differs")
    }
}

/// Formats the number of files that were touched but otherwise show no difference.
fn touched(files: u64) -> String {
    let number = counted(files, "file", "files");
    if files == 1 {
        format!("{number} was touched since it was recorded: --content reads it")
    } else {
        format!("{number} were touched since they were recorded: --content reads them")
    }
}

/// Returns the lines of the summary.
fn summary(names: &[String; 2], outcome: &DiffOutcome, unprinted: Option<String>) -> Vec<String> {
    let totals = &outcome.totals;
    let files = |number| counted(number, "file", "files");
    let entries = |number| counted(number, "entry", "entries");
    let sides = ["A", "B"].into_iter().zip(names).zip(&outcome.bases);
    let heads = sides.map(|((side, name), basis)| match basis {
        Basis::Manifest { run, verdict } => {
            let how = match verdict {
                Verdict::Complete => String::new(),
                verdict => format!(", which was {verdict},"),
            };
            format!("{side} is what the manifest of run {run}{how} says of {name}")
        }
        Basis::Listing(None) => format!("{side} is {name}, as it is listed now"),
        Basis::Listing(Some(run)) => {
            format!("{side} is {name}, as it is listed now, with the digests of run {run}")
        }
    });
    let unproven = match totals.files_unproven {
        0 => String::new(),
        number => format!("; of {} a manifest has no digest", files(number)),
    };
    let read = match totals.files_read {
        0 => String::new(),
        number => format!("; {} read, {}", files(number), size(totals.bytes_hashed)),
    };
    let mut table = SummaryTable::new(18, heads.collect());
    table.counts([
        (totals.files_by_digest, "by digest", files(totals.files_by_digest) + &read),
        (totals.files_by_size, "by size and time", files(totals.files_by_size) + &unproven),
        (totals.files_touched, "touched", touched(totals.files_touched)),
        (totals.only_in_a, "only in A", entries(totals.only_in_a)),
        (totals.only_in_b, "only in B", entries(totals.only_in_b)),
        (totals.type_differs, "type", entries(totals.type_differs)),
        (totals.content_differs, "content", files(totals.content_differs)),
        (totals.link_differs, "link", counted(totals.link_differs, "link", "links")),
        (totals.metadata_differs, "metadata", entries(totals.metadata_differs)),
        (totals.unknown, "unknown", entries(totals.unknown)),
    ]);
    let figures = format!(
        "time {}, {}, {}",
        duration(outcome.duration),
        error_rate(totals.failed, totals.entries),
        counted(totals.differences(), "difference", "differences"),
    );
    table.end(&outcome.counted, figures, unprinted, verdict(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, RunId};

    fn outcome(totals: DiffTotals, interrupted: bool) -> DiffOutcome {
        let run = RunId("r1".into());
        DiffOutcome {
            bases: [Basis::Manifest { run, verdict: Verdict::Incomplete }, Basis::Listing(None)],
            totals,
            counted: Totals { requests_list: 4, ..Totals::default() },
            duration: Duration::from_secs(2),
            interrupted,
        }
    }

    #[test]
    fn unlisted_parts_outrank_differences_and_a_signal_both() {
        let exit = |only_in_a, failed, interrupted| {
            let totals = DiffTotals { only_in_a, failed, ..DiffTotals::default() };
            exit_of(&Ok(outcome(totals, interrupted)), Some(Exit::Terminated))
        };
        assert_eq!(exit(0, 0, false), Exit::Done);
        assert_eq!(exit(2, 0, false), Exit::Differences);
        assert_eq!(exit(2, 1, false), Exit::Incomplete);
        assert_eq!(exit(2, 1, true), Exit::Terminated);
        let error = Err(Error::new(ErrorKind::Manifest, "damaged"));
        assert_eq!(exit_of(&error, None), Exit::Manifest);
    }

    #[test]
    fn the_summary_says_what_was_compared_and_how() {
        let totals = DiffTotals {
            entries: 4_000,
            files_by_digest: 3_000,
            files_by_size: 20,
            files_unproven: 1,
            files_touched: 1,
            only_in_b: 1,
            unknown: 7,
            failed: 1,
            ..DiffTotals::default()
        };
        let lines = summary(&["/a".into(), "/b".into()], &outcome(totals, false), None);
        assert_eq!(
            lines,
            [
                "A is what the manifest of run r1, which was incomplete, says of /a",
                "B is /b, as it is listed now",
                "  by digest         3,000 files",
                "  by size and time  20 files; of 1 file a manifest has no digest",
                "  touched           1 file was touched since it was recorded: --content reads it",
                "  only in B         1 entry",
                "  unknown           7 entries",
                "  requests          4 list",
                "time 2.0 s, error rate 0.03% (1 of 4,000 entries), 1 difference",
                "incomplete: some parts could not be listed or read",
            ]
        );
    }
}
