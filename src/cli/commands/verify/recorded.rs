//! The report of a verification against the records.

use super::super::super::exit::Exit;
use super::super::summary_table::{Conclusion, SummaryTable};
use super::ReadRequests;
use crate::model::run::{self, throughput};
use crate::model::{Error, ErrorKind, Verdict};
use crate::report::Output;
use crate::report::format::{counted, duration, error_rate, kinds, size, speed};
use crate::report::json::{self, JsonError};
use crate::verify::{Depth, Sample, Unfinished, VerifyOutcome, VerifyTotals};
use serde::Serialize;
use std::time::Duration;

/// Formats the last record.
pub(super) fn finished(
    target: &str,
    result: Result<&VerifyOutcome, &Error>,
    elapsed: Duration,
    exit: Exit,
) -> String {
    #[derive(Serialize)]
    struct Verified<'a> {
        run: Option<&'a str>,
        source: Option<&'a str>,
        sources: &'a [String],
        target: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sample: Option<String>,
        #[serde(flatten)]
        totals: VerifyTotals,
        #[serde(flatten)]
        requests: ReadRequests,
        differences: u64,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unfinished: Vec<JsonUnfinished<'a>>,
        duration_s: f64,
        throughput_bytes_per_s: f64,
        error_rate: f64,
    }
    let outcome = result.ok();
    let totals = outcome.map(|outcome| outcome.totals).unwrap_or_default();
    let counted = outcome.map(|outcome| outcome.counted).unwrap_or_default();
    let duration = outcome.map_or(elapsed, |outcome| outcome.duration);
    let body = Verified {
        run: outcome.map(|outcome| outcome.run.0.as_str()),
        source: outcome.map(|outcome| outcome.source.as_str()),
        sources: outcome.map_or(&[], |outcome| &outcome.sources),
        target,
        key: outcome.and_then(|outcome| outcome.key).map(|key| key.to_string()),
        sample: outcome.and_then(sample).map(|sample| sample.to_string()),
        totals,
        requests: ReadRequests::from(&counted),
        differences: outcome.map_or(0, |outcome| outcome.differences),
        unfinished: outcome.map_or_else(Vec::new, |outcome| {
            outcome.unfinished.iter().map(JsonUnfinished::from).collect()
        }),
        duration_s: duration.as_secs_f64(),
        throughput_bytes_per_s: throughput(totals.bytes_hashed, duration).round(),
        error_rate: run::error_rate(totals.failed, totals.entries),
    };
    let verdict = outcome.map_or("failed", |outcome| verdict(outcome).word);
    let error = result.map_or_else(Some, |outcome| outcome.fault.as_ref());
    json::finished(&body, verdict, exit.code(), error.map(JsonError::from))
}

/// A run that left something unknown.
#[derive(Serialize)]
struct JsonUnfinished<'a> {
    run: &'a str,
    source: Option<&'a str>,
    verdict: Option<Verdict>,
}

impl<'a> From<&'a Unfinished> for JsonUnfinished<'a> {
    fn from(unfinished: &'a Unfinished) -> Self {
        let Unfinished { run, source, verdict, .. } = unfinished;
        Self { run: &run.0, source: source.as_deref(), verdict: *verdict }
    }
}

/// The hint for a run that was not completed.
macro_rules! finish {
    () => {
        "mirror again, with --exclude for what can't be copied, or take it as it is by \
         --allow-incomplete"
    };
}

/// Reports runs that were not completed, if there is no summary.
pub(super) fn tell_unfinished(outcome: &VerifyOutcome, output: &Output) {
    for unfinished in &outcome.unfinished {
        output.message("error", &unknown(unfinished));
    }
    if !outcome.unfinished.is_empty() {
        output.message("help", finish!());
    }
}

/// Describes what a run left unknown.
fn unknown(unfinished: &Unfinished) -> String {
    let Unfinished { run, source, verdict, .. } = unfinished;
    let Some(source) = source else {
        return format!(
            "run {run}, whose lock is still there, was killed: nothing is recorded of the entries \
             that it had not reached"
        );
    };
    match verdict {
        None => format!(
            "run {run} of {source} was killed: nothing is recorded of the entries that it had not \
             reached"
        ),
        Some(Verdict::Incomplete) => format!(
            "run {run} of {source} was incomplete: of the entries that failed in it, it is not \
             recorded what the target should have"
        ),
        Some(Verdict::Failed) => format!(
            "run {run} of {source} ended in an error: nothing is recorded of the entries that it \
             had not reached"
        ),
        Some(verdict) => format!(
            "run {run} of {source} was {verdict}: nothing is recorded of the entries that it had \
             not reached"
        ),
    }
}

/// Returns the sample that was read, if there was one.
fn sample(outcome: &VerifyOutcome) -> Option<Sample> {
    match outcome.depth {
        Depth::Stamps => None,
        Depth::Content(choice) => choice.sample,
    }
}

fn verdict(outcome: &VerifyOutcome) -> Conclusion {
    if outcome.interrupted {
        Conclusion::INTERRUPTED
    } else if outcome.totals.failed > 0 {
        Conclusion::new("incomplete", "some entries could not be read")
    } else if outcome.differences > 0 {
        Conclusion::new("different", "the target is not what was recorded")
    } else if let Some(fault) = &outcome.fault {
        match fault.kind {
            ErrorKind::Damaged if outcome.totals.unknown > 0 => Conclusion::new(
                "damaged",
                "the published manifest is damaged, and what it recorded of some entries is \
                 unknown",
            ),
            ErrorKind::Damaged => Conclusion::new(
                "damaged",
                "the target is what was recorded, but not its published manifest",
            ),
            _ => Conclusion::new(
                "incomplete",
                "the published manifest could not be read; nothing else differs",
            ),
        }
    } else if !outcome.unfinished.is_empty() {
        let why = match outcome.totals.unknown {
            0 => concat!(
                "nothing that is recorded differs, but a run was not completed; ",
                finish!()
            ),
            _ => "nothing differs, but an interrupted run may have changed some entries",
        };
        Conclusion::new("incomplete", why)
    } else {
        match outcome.totals.unproven {
            _ if outcome.totals.mended > 0 => {
                Conclusion::new("complete", "what differed is mended, nothing else differs")
            }
            _ if outcome.depth == Depth::Stamps => Conclusion::new(
                "complete",
                "nothing differs as far as stamps show; no content was read",
            ),
            _ if outcome.totals.left > 0 => Conclusion::new(
                "complete",
                "nothing differs in what the budget sufficed to read; some files were not read",
            ),
            _ if outcome.totals.unread > 0 => Conclusion::new(
                "complete",
                "nothing differs; files that were not read have the recorded size and metadata",
            ),
            0 => Conclusion::new("complete", "the target is what was recorded"),
            _ => Conclusion::new(
                "complete",
                "nothing differs, but adopted files have no digest to prove it by",
            ),
        }
    }
}

/// Returns the lines of the summary.
pub(super) fn summary(
    heading: String,
    outcome: &VerifyOutcome,
    unprinted: Option<String>,
) -> Vec<String> {
    let totals = &outcome.totals;
    let files = |number| counted(number, "file", "files");
    let entries = |number| counted(number, "entry", "entries");
    let mut table = SummaryTable::new(10, vec![heading]);
    if let Some(key) = outcome.key {
        table.row("signed", &format!("by key {key}; the chain is whole"));
    }
    if let Some(sample) = sample(outcome) {
        table.row("sample", &format!("{sample}, {}", files(totals.chosen)));
    }
    if outcome.depth != Depth::Stamps {
        let (verified, bytes) = (files(totals.verified), size(totals.bytes_hashed));
        // Files that differ were read as well.
        let hashed = match totals.corrupt {
            0 => format!("{verified}, {bytes}"),
            _ => format!("{verified}; {bytes} read"),
        };
        table.row("verified", &hashed);
    }
    let left = format!("{}, {}: the budget is spent", files(totals.left), size(totals.left_bytes));
    table.counts([
        (totals.left, "left", left),
        (totals.unread, "unread", format!("{}, compared without reading", files(totals.unread))),
        (
            totals.unproven,
            "unproven",
            format!("{}, adopted without a digest", files(totals.unproven)),
        ),
        (totals.missing, "missing", entries(totals.missing)),
        (totals.corrupt, "corrupt", kinds(totals.corrupt, totals.corrupt_links, 0)),
        (totals.mended, "mended", entries(totals.mended)),
        (totals.metadata, "metadata", entries(totals.metadata)),
        (totals.touched, "touched", files(totals.touched)),
        (totals.extra, "extra", entries(totals.extra)),
        (totals.failed, "failed", entries(totals.failed)),
        (
            totals.unknown,
            "unknown",
            format!(
                "{}, changed since the start of a run that was cut off",
                entries(totals.unknown)
            ),
        ),
    ]);
    for unfinished in &outcome.unfinished {
        table.row("unknown", &unknown(unfinished));
    }
    let figures = format!(
        "time {}, speed {}, {}, {}",
        duration(outcome.duration),
        speed(throughput(totals.bytes_hashed, outcome.duration)),
        error_rate(totals.failed, totals.entries),
        counted(outcome.differences, "difference", "differences"),
    );
    table.end(&outcome.counted, figures, unprinted, verdict(outcome))
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
            sources: vec!["/s".into()],
            unfinished: Vec::new(),
            depth: Depth::Content(Choice::default()),
            key: None,
            totals,
            counted: Totals { requests_list: 4, requests_get: 3998, ..Totals::default() },
            differences,
            duration: Duration::from_secs(2),
            interrupted,
            fault: None,
        }
    }

    #[test]
    fn the_summary_counts_what_was_verified_and_what_differs() {
        let lines =
            summary("verified /t against run r of /s".to_owned(), &outcome(2, 0, false), None);
        assert_eq!(
            lines,
            [
                "verified /t against run r of /s",
                "  verified  3,998 files; 4.0 MiB read",
                "  corrupt   2 files",
                "  requests  4 list, 3,998 get",
                "time 2.0 s, speed 2.0 MiB/s, error rate 0% (0 of 4,000 entries), 2 differences",
                "different: the target is not what was recorded",
            ]
        );
    }

    #[test]
    fn a_run_that_left_something_unknown_is_named_with_a_hint() {
        let mut outcome = outcome(0, 0, false);
        let started = crate::model::Timestamp { seconds: 1, nanos: 0 };
        let (id, source) = (RunId("q".into()), "/s".to_owned());
        let run = |verdict| Unfinished {
            run: id.clone(),
            source: Some(source.clone()),
            started,
            cut_off: None,
            verdict,
        };
        for (verdict, text) in [
            (Verdict::Incomplete, "was incomplete: of the entries that failed in it"),
            (Verdict::Failed, "ended in an error: "),
            (Verdict::Interrupted, "was interrupted: "),
        ] {
            outcome.unfinished = vec![run(Some(verdict))];
            let lines = summary("verified".to_owned(), &outcome, None);
            assert!(lines.iter().any(|line| line.contains(text)), "{lines:?}");
            let last = lines.last().unwrap();
            assert!(last.contains("--exclude") && last.contains("--allow-incomplete"), "{last}");
        }
    }

    #[test]
    fn the_last_record_has_totals_verdict_and_exit_code() {
        let outcome = outcome(2, 0, false);
        let record = finished("/t", Ok(&outcome), Duration::ZERO, Exit::Differences);
        let value: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(value["corrupt"], 2);
        assert_eq!(value["verdict"], "different");
        assert_eq!(value["exit_code"], 3);
        assert_eq!(value["throughput_bytes_per_s"], 2_097_152.0);
    }
}
