//! NDJSON: one record per line on stdout, each with `time`, `level` and `event`; the last is
//! `finished`, with all totals. `docs/json.md` documents each event and field.

mod differences;

use super::estimate::Kind;
use super::flags;
use super::{Concludes, MirrorEnding, Output, Presenter, Watch};
use crate::model::hex::Hex;
use crate::model::{
    EntryError, EntryKind, ErrorKind, ErrorReport, Event, Key, Notice, Observer, Operation,
    Outcome, Progress, Reason, Severity, Status, Totals,
};
use differences::{JsonDifference, JsonMended, JsonSideDifference, JsonSideFailure};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How often a `progress` record is written.
const TICK: Duration = Duration::from_secs(1);

/// The level of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Ordinary information.
    Info,
    /// Something is damaged, missing or reduced.
    Warning,
    /// An entry or the run failed.
    Error,
}

/// Formats a record, without its line end.
pub(crate) fn record(level: Level, event: &str, body: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Record<'a, T> {
        time: String,
        level: Level,
        event: &'a str,
        #[serde(flatten)]
        body: T,
    }
    let record = Record { time: now(), level, event, body };
    serde_json::to_string(&record)
        .expect("records are maps with string keys, which JSON can always hold")
}

/// Formats the last record of a command: fields of its own, and how it ended, which also determines
/// the level.
pub(crate) fn finished(
    body: &impl Serialize,
    verdict: impl Serialize,
    exit_code: u8,
    error: Option<JsonError>,
) -> String {
    #[derive(Serialize)]
    struct Finished<T, V> {
        #[serde(flatten)]
        body: T,
        verdict: V,
        exit_code: u8,
        #[serde(flatten)]
        error: Option<JsonError>,
    }
    // A run that ended at a limit (8) or changed something (10) is no failure.
    let level = if matches!(exit_code, 0 | 8 | 10) { Level::Info } else { Level::Error };
    record(level, "finished", &Finished { body, verdict, exit_code, error })
}

/// Returns the current time in UTC to the millisecond, as in RFC 3339.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Returns the name of a kind of entry in records.
pub(crate) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Special(_) => "special",
    }
}

/// A key in a record: as it is if it is UTF-8, else escaped and, without loss, in hexadecimal.
#[derive(Debug, Serialize)]
pub(crate) struct JsonKey {
    pub(crate) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_hex: Option<String>,
}

impl From<&Key> for JsonKey {
    fn from(key: &Key) -> Self {
        let bytes = key.as_bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) if !key.is_root() => Self { key: text.to_owned(), key_hex: None },
            Ok(_) => Self { key: ".".into(), key_hex: None },
            Err(_) => Self { key: key.to_string(), key_hex: Some(Hex(bytes).to_string()) },
        }
    }
}

/// The body of a `changed` record.
#[derive(Debug, Serialize)]
struct JsonOutcome {
    #[serde(flatten)]
    key: JsonKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    change: String,
    action: &'static str,
    status: Status,
    reason: Cow<'static, str>,
    reason_code: Reason,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_hex: Option<String>,
    dry_run: bool,
}

impl JsonOutcome {
    fn new(outcome: &Outcome, dry_run: bool) -> Self {
        let from = outcome.from.as_ref().map(JsonKey::from);
        let (from, from_hex) = from.map(|from| (from.key, from.key_hex)).unzip();
        Self {
            key: (&outcome.key).into(),
            kind: outcome.kind.map(kind),
            change: outcome.word().replace(' ', "_"),
            action: outcome.decision.action.code(),
            status: outcome.status,
            reason: flags::reason(outcome.decision.reason),
            reason_code: outcome.decision.reason,
            bytes: outcome.bytes,
            from,
            from_hex: from_hex.flatten(),
            dry_run,
        }
    }
}

/// The body of a `failed` record.
#[derive(Debug, Serialize)]
pub(crate) struct JsonFailure {
    operation: &'static str,
    side: String,
    #[serde(flatten)]
    key: JsonKey,
    cause: String,
    operation_code: Operation,
    cause_code: &'static str,
}

impl From<&EntryError> for JsonFailure {
    fn from(error: &EntryError) -> Self {
        Self {
            operation: error.operation.verb(),
            side: error.side.to_string(),
            key: (&error.key).into(),
            cause: flags::cause(&error.cause),
            operation_code: error.operation,
            cause_code: error.cause.code(),
        }
    }
}

/// The fields of a fatal error or refusal in a record.
#[derive(Debug, Serialize)]
pub(crate) struct JsonError {
    error: String,
    error_code: ErrorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl From<&ErrorReport> for JsonError {
    fn from(report: &ErrorReport) -> Self {
        let help = report.help.as_ref().map(flags::hint);
        Self { error: report.error.clone(), error_code: report.code, help }
    }
}

impl From<&crate::model::Error> for JsonError {
    fn from(error: &crate::model::Error) -> Self {
        Self::from(&error.report())
    }
}

/// The body of a `note` or `warning` record.
#[derive(Debug, Serialize)]
struct JsonNotice<'a> {
    text: &'a str,
    code: &'static str,
    #[serde(flatten)]
    key: Option<JsonKey>,
}

/// Formats the record of a notice.
pub(crate) fn notice_record(notice: &Notice) -> String {
    notice_record_as(notice.severity(), notice, &flags::notice(notice))
}

/// Formats the record of a notice with another severity or text than its own.
pub(crate) fn notice_record_as(severity: Severity, notice: &Notice, text: &str) -> String {
    let (level, event) = match severity {
        Severity::Note => (Level::Info, "note"),
        Severity::Warning => (Level::Warning, "warning"),
    };
    let body = JsonNotice { text, code: notice.code(), key: notice.key().map(JsonKey::from) };
    record(level, event, &body)
}

/// Presents a run as NDJSON.
#[derive(Debug)]
pub struct JsonReport {
    pub(crate) output: Arc<Output>,
    changes: bool,
    quiet: bool,
    dry_run: bool,
}

impl JsonReport {
    /// Makes the presenter. With `changes` (always in a dry run) there is a record of each change;
    /// with `quiet` only failures, warnings, refusals and the end are written.
    pub fn new(output: Arc<Output>, changes: bool, quiet: bool, dry_run: bool) -> Self {
        let changes = (changes || dry_run) && !quiet;
        Self { output, changes, quiet, dry_run }
    }

    fn write(&self, level: Level, event: &str, body: &impl Serialize) {
        if level != Level::Info || !self.quiet {
            self.output.line(&record(level, event, body));
        }
    }
}

impl Observer for JsonReport {
    fn observe(&self, event: &Event) {
        match event {
            Event::Started { run, source, target, dry_run, previous: _ } => {
                #[derive(Serialize)]
                struct Started<'a> {
                    run: &'a str,
                    source: &'a str,
                    target: &'a str,
                    dry_run: bool,
                    version: &'a str,
                }
                let version = env!("CARGO_PKG_VERSION");
                let body = Started { run: &run.0, source, target, dry_run: *dry_run, version };
                self.write(Level::Info, "started", &body);
            }
            Event::Changed(outcome) => {
                if self.changes {
                    let body = JsonOutcome::new(outcome, self.dry_run);
                    self.write(Level::Info, "changed", &body);
                }
            }
            Event::NotKept { key, features } => {
                #[derive(Serialize)]
                struct NotKept {
                    #[serde(flatten)]
                    key: JsonKey,
                    features: crate::model::Features,
                }
                if self.changes {
                    let body = NotKept { key: key.into(), features: *features };
                    self.write(Level::Info, "not_kept", &body);
                }
            }
            Event::Failed(error) => {
                self.write(Level::Error, "failed", &JsonFailure::from(error));
            }
            Event::Notice(notice) => {
                if notice.severity() == Severity::Warning || !self.quiet {
                    self.output.line(&notice_record(notice));
                }
            }
            // The command line ends the report, with the exit code.
            Event::Refused(error) => {
                self.write(Level::Error, "refused", &JsonError::from(error));
            }
            Event::Difference(finding) => {
                let level = if finding.counted { Level::Error } else { Level::Info };
                self.write(level, "difference", &JsonDifference::from(finding));
            }
            Event::Mended { key } => {
                self.write(Level::Info, "mended", &JsonMended::new(key, None));
            }
            Event::NotMended { key, cause } => {
                self.write(Level::Error, "not_mended", &JsonMended::new(key, Some(cause)));
            }
            Event::SideDifference(finding) => {
                self.write(Level::Error, "difference", &JsonSideDifference::from(&**finding));
            }
            Event::SideFailed { which, error } => {
                self.write(Level::Error, "failed", &JsonSideFailure::new(*which, error));
            }
            Event::SideNotice { which, notice } => {
                let text = format!("in {which}: {}", flags::notice(notice));
                self.output.line(&notice_record_as(Severity::Note, notice, &text));
            }
        }
    }

    fn wants_changes(&self) -> bool {
        self.changes || self.dry_run
    }
}

impl Presenter for JsonReport {
    fn interval(&self) -> Option<Duration> {
        Some(TICK)
    }

    fn tick(&self, _at: Duration, progress: &Progress, watch: &Watch) {
        #[derive(Serialize)]
        struct OfMirror {
            files_copied: u64,
            files_planned: u64,
            files_unchanged: u64,
            files_failed: u64,
            bytes_moved: u64,
            bytes_planned: u64,
        }
        #[derive(Serialize)]
        struct Sample {
            entries: u64,
            #[serde(flatten)]
            of_mirror: Option<OfMirror>,
            bytes_hashed: u64,
            requests_retried: u64,
            requests_throttled: u64,
            bytes_per_s: Option<f64>,
            remaining_s: Option<u64>,
        }
        let totals = progress.totals();
        let (bytes_per_s, remaining) = (watch.bytes_per_second(), watch.estimate().remaining());
        let copies = watch.estimate().kind() == Kind::Mirror;
        let sample = Sample {
            entries: totals.entries,
            of_mirror: copies.then_some(OfMirror {
                files_copied: totals.files_copied,
                files_planned: totals.files_planned,
                files_unchanged: totals.files_unchanged,
                files_failed: totals.files_failed,
                bytes_moved: totals.bytes_moved,
                bytes_planned: totals.bytes_planned,
            }),
            bytes_hashed: totals.bytes_hashed,
            requests_retried: totals.requests_retried,
            requests_throttled: totals.requests_throttled,
            bytes_per_s: bytes_per_s.map(f64::round),
            remaining_s: remaining.map(|left| left.as_secs()),
        };
        self.write(Level::Info, "progress", &sample);
        self.output.flush();
    }

    fn stopping(&self) {
        self.write(Level::Info, "stopping", &serde_json::json!({}));
    }
}

impl Concludes<MirrorEnding> for JsonReport {
    fn finish(&self, ending: &MirrorEnding, watch: &Watch) {
        if let Some(refusal) = ending.refusal.as_ref().filter(|_| !watch.refused()) {
            self.write(Level::Error, "refused", &JsonError::from(refusal));
        }
        // Written even if quiet: scripts read the last line.
        self.output.line(&last_record(ending, watch));
        self.output.flush();
    }
}

/// Formats the last record.
fn last_record(ending: &MirrorEnding, watch: &Watch) -> String {
    #[derive(Serialize)]
    struct Mirrored<'a> {
        run: Option<&'a str>,
        source: &'a str,
        target: &'a str,
        dry_run: bool,
        #[serde(flatten)]
        totals: &'a Totals,
        duration_s: f64,
        throughput_bytes_per_s: f64,
        error_rate: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<crate::model::run::RunLimit>,
        #[serde(skip_serializing_if = "Option::is_none")]
        would: Option<super::Would>,
    }
    let (source, target) = watch.sides().unwrap_or((&ending.source, &ending.target));
    let body = Mirrored {
        run: ending.run.as_ref().or(watch.run()).map(|run| run.0.as_str()),
        source,
        target,
        dry_run: ending.dry_run,
        totals: &ending.totals,
        duration_s: ending.duration.as_secs_f64(),
        throughput_bytes_per_s: ending.totals.throughput(ending.duration).round(),
        error_rate: ending.totals.error_rate(),
        limit: ending.limit,
        would: ending.dry_run.then_some(watch.would()),
    };
    let error = ending.error.as_ref().or(ending.unpublished.as_ref()).map(JsonError::from);
    finished(&body, ending.verdict, ending.exit_code, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Error, RunId, Verdict};
    use serde_json::Value;

    fn parse(line: &str) -> Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_record_begins_with_time_level_and_event() {
        let line = record(Level::Info, "note", &serde_json::json!({ "text": "x" }));
        assert!(line.starts_with("{\"time\":\"2"), "{line}");
        assert!(
            line.contains("Z\",\"level\":\"info\",\"event\":\"note\",\"text\":\"x\"}"),
            "{line}"
        );
    }

    #[test]
    fn keys_that_are_not_utf8_keep_a_lossless_form() {
        let json = |key: &[u8]| serde_json::to_string(&JsonKey::from(&Key::new(key))).unwrap();
        assert_eq!(json(b"a\\b\n"), r#"{"key":"a\\b\n"}"#);
        assert_eq!(json(b"a\xff"), r#"{"key":"a\\xff","key_hex":"61ff"}"#);
        assert_eq!(json(b""), r#"{"key":"."}"#);
    }

    #[test]
    fn the_last_record_holds_every_total_and_the_verdict() {
        let totals = Totals {
            files_copied: 2,
            bytes_copied: 100,
            entries: 4,
            files_failed: 1,
            ..Totals::default()
        };
        let ending = MirrorEnding {
            run: Some(RunId("r".into())),
            duration: Duration::from_secs(4),
            verdict: Verdict::Incomplete,
            exit_code: 1,
            ..MirrorEnding::new("s".into(), "t".into(), totals)
        };
        let watch = Watch::default();
        let value = parse(&last_record(&ending, &watch));
        for name in [
            "run",
            "source",
            "target",
            "files_copied",
            "files_unchanged",
            "files_adopted",
            "adopted_without_digest",
            "known_by_digest",
            "files_deleted",
            "files_failed",
            "metadata_updated",
            "bytes_copied",
            "bytes_hashed",
            "duration_s",
            "throughput_bytes_per_s",
            "error_rate",
            "verdict",
            "exit_code",
            "dry_run",
        ] {
            assert!(value.get(name).is_some(), "{name} is missing in {value}");
        }
        assert_eq!(value["level"], "error");
        assert_eq!(value["throughput_bytes_per_s"], 25.0);
        assert_eq!(value["error_rate"], 0.25);
        assert_eq!(value["verdict"], "incomplete");
        assert_eq!(value.get("error"), None);
    }

    #[test]
    fn a_fatal_error_is_in_the_last_record() {
        let error = Error::new(ErrorKind::Locked, "it is locked").help("wait");
        let totals = Totals::default();
        let ending = MirrorEnding::new("s".into(), "t".into(), totals);
        let ending = MirrorEnding { error: Some(error.report()), exit_code: 5, ..ending };
        let watch = Watch::default();
        let value = parse(&last_record(&ending, &watch));
        assert_eq!(value["verdict"], "failed");
        assert_eq!((&value["error"], &value["help"]), (&"it is locked".into(), &"wait".into()));
        assert_eq!(value["run"], Value::Null);
    }
}
