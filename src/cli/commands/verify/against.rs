//! The report of a verification against a source.

use super::super::super::exit::Exit;
use super::super::summary_table::{Conclusion, SummaryTable};
use super::ReadRequests;
use crate::model::Error;
use crate::model::run::{self, throughput};
use crate::report::format::{counted, duration, error_rate, size, speed};
use crate::report::json::{self, JsonError};
use crate::verify::{AgainstOutcome, AgainstTotals};
use serde::Serialize;
use std::time::Duration;

/// Formats the last record.
pub(super) fn finished(
    source: &str,
    target: &str,
    result: Result<&AgainstOutcome, &Error>,
    elapsed: Duration,
    exit: Exit,
) -> String {
    #[derive(Serialize)]
    struct Verified<'a> {
        against: &'a str,
        target: &'a str,
        filter_of: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sample: Option<String>,
        #[serde(flatten)]
        totals: AgainstTotals,
        #[serde(flatten)]
        requests: ReadRequests,
        differences: u64,
        duration_s: f64,
        throughput_bytes_per_s: f64,
        error_rate: f64,
    }
    let outcome = result.ok();
    let totals = outcome.map(|outcome| outcome.totals).unwrap_or_default();
    let counted = outcome.map(|outcome| outcome.counted).unwrap_or_default();
    let duration = outcome.map_or(elapsed, |outcome| outcome.duration);
    let body = Verified {
        against: source,
        target,
        filter_of: outcome.and_then(|outcome| outcome.filter_of.as_ref()).map(|run| &*run.0),
        sample: outcome.and_then(|outcome| outcome.sample).map(|sample| sample.to_string()),
        totals,
        requests: ReadRequests::from(&counted),
        differences: outcome.map_or(0, |outcome| outcome.differences),
        duration_s: duration.as_secs_f64(),
        throughput_bytes_per_s: throughput(read(&totals), duration).round(),
        error_rate: run::error_rate(totals.failed, totals.entries),
    };
    let verdict = outcome.map_or("failed", |outcome| verdict(outcome).word);
    json::finished(&body, verdict, exit.code(), result.err().map(JsonError::from))
}

/// Returns the bytes read on both sides.
fn read(totals: &AgainstTotals) -> u64 {
    totals.source_bytes + totals.target_bytes
}

fn verdict(outcome: &AgainstOutcome) -> Conclusion {
    if outcome.interrupted {
        Conclusion::INTERRUPTED
    } else if outcome.totals.failed > 0 {
        Conclusion::new("incomplete", "some entries could not be read, or changed meanwhile")
    } else if outcome.differences > 0 {
        Conclusion::new("different", "the target is not what the source is")
    } else if outcome.totals.unread > 0 {
        Conclusion::new("complete", "nothing differs; what was not read is of the same size")
    } else {
        Conclusion::new("complete", "the target has what the source has")
    }
}

/// Returns the lines of the summary.
pub(super) fn summary(
    source: &str,
    target: &str,
    outcome: &AgainstOutcome,
    unprinted: Option<String>,
) -> Vec<String> {
    let totals = &outcome.totals;
    let files = |number| counted(number, "file", "files");
    let entries = |number| counted(number, "entry", "entries");
    let mut table = SummaryTable::new(10, vec![format!("verified {target} against {source}")]);
    if let Some(run) = &outcome.filter_of {
        table.row("filter", &format!("that of run {run}"));
    }
    if let Some(sample) = outcome.sample {
        table.row("sample", &sample.to_string());
    }
    let [ours, theirs] = [totals.source_bytes, totals.target_bytes].map(size);
    let equal = files(totals.equal);
    table.row("equal", &format!("{equal}; {ours} of the source and {theirs} of the target read"));
    table.counts([
        (totals.unread, "unread", format!("{}, of the same size", files(totals.unread))),
        (totals.missing, "missing", entries(totals.missing)),
        (totals.content, "content", files(totals.content)),
        (totals.metadata, "metadata", entries(totals.metadata)),
        (totals.extra, "extra", entries(totals.extra)),
        (totals.failed, "failed", entries(totals.failed)),
    ]);
    let figures = format!(
        "time {}, speed {}, {}, {}",
        duration(outcome.duration),
        speed(throughput(read(totals), outcome.duration)),
        error_rate(totals.failed, totals.entries),
        counted(outcome.differences, "difference", "differences"),
    );
    table.end(&outcome.counted, figures, unprinted, verdict(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunId, Totals};

    #[test]
    fn the_summary_counts_what_is_the_same_and_what_differs() {
        let outcome = AgainstOutcome {
            filter_of: Some(RunId("r".into())),
            sample: None,
            totals: AgainstTotals {
                entries: 4000,
                equal: 3998,
                content: 1,
                extra: 7,
                source_bytes: 3 << 20,
                target_bytes: 1 << 20,
                ..AgainstTotals::default()
            },
            counted: Totals { requests_list: 4, requests_get: 3999, ..Totals::default() },
            differences: 1,
            duration: Duration::from_secs(2),
            interrupted: false,
        };
        assert_eq!(
            summary("/s", "/t", &outcome, None),
            [
                "verified /t against /s",
                "  filter    that of run r",
                "  equal     3,998 files; 3.0 MiB of the source and 1.0 MiB of the target read",
                "  content   1 file",
                "  extra     7 entries",
                "  requests  4 list, 3,999 get",
                "time 2.0 s, speed 2.0 MiB/s, error rate 0% (0 of 4,000 entries), 1 difference",
                "different: the target is not what the source is",
            ]
        );
        let record = finished("/s", "/t", Ok(&outcome), Duration::ZERO, Exit::Differences);
        let value: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!((&value["content"], &value["equal"]), (&1.into(), &3998.into()));
        assert_eq!((&value["verdict"], &value["exit_code"]), (&"different".into(), &3.into()));
    }
}
