//! `vidimus explain SOURCE TARGET KEY`: prints what a mirror would do with one key, and why.

mod json;
mod words;

use super::super::args::ExplainArgs;
use super::super::exit::Exit;
use super::super::settings::{self, FilteredMirror};
use super::Purpose;
use crate::compare::{Conflict, Seen};
use crate::filter::Rule;
use crate::location::Location;
use crate::manifest::{Origin, Row};
use crate::model::{Entry, EntryKind, Error, Event, Notice, Observer, Progress, Severity, Stop};
use crate::report::Output;
use crate::report::flags;
use crate::report::format::{counted, moment, size};
use crate::report::json::{JsonError, Level, finished, notice_record_as, record};
use crate::session::{CopiedBy, Explained, Explanation, MirrorOptions, Past, PastLine, explain};
use clap::ArgMatches;
use rustix::fs::Mode;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

pub(crate) fn run(args: &ExplainArgs, matches: &ArgMatches, umask: Mode) -> Exit {
    let human = settings::human(&args.flags.run.output, matches, false);
    let report =
        Report { output: Output::new(human.output, None), json: args.flags.run.output.json };
    let progress = Arc::new(Progress::default());
    let typed = args.key.as_bytes();
    let options = settings::check_output(&args.flags.run.output, matches)
        .and_then(|()| settings::explain(args, matches, umask));
    let explained = options.and_then(|asked| {
        let explanation =
            explain(asked.mirror.options(), typed, &report, &progress, &Stop::default())?;
        Ok((explanation, asked))
    });
    let exit = match &explained {
        Ok((explanation, ..)) if explanation.failed.is_empty() => Exit::Done,
        Ok(_) => Exit::Incomplete,
        Err(error) => error.kind.into(),
    };
    if let Ok((explanation, FilteredMirror { mirror, origins })) = &explained {
        let asked = Asked { options: mirror.options(), origins };
        if report.json {
            report.records(explanation, &asked);
        } else {
            report.print(explanation, &asked);
        }
    }
    report.finish(args, explained.as_ref().err(), exit);
    super::close(&report.output, exit, Purpose::Tell)
}

/// The mirror to explain, and the origin of each rule of its filter.
struct Asked<'a> {
    options: &'a MirrorOptions,
    origins: &'a [String],
}

impl Asked<'_> {
    /// Formats a rule of the filter with its origin: `--exclude '*.log'`.
    fn rule(&self, number: usize) -> String {
        let origin = self.origins.get(number).map_or("", |origin| origin);
        match self.options.filter.rules().get(number) {
            Some(Rule::Exclude(pattern) | Rule::Include(pattern)) => {
                format!("{origin} '{}'", pattern.escape_debug())
            }
            None => origin.to_owned(),
        }
    }
}

/// Presents an explanation to a person, or as NDJSON.
struct Report {
    output: Output,
    json: bool,
}

impl Observer for Report {
    fn observe(&self, event: &Event) {
        let Event::Notice(notice) = event else { return };
        if self.json {
            self.output.line(&json_note(notice));
        } else {
            self.output.message("note", &flags::notice(notice));
        }
    }
}

/// Formats a notice as a note, since warnings of a run are part of the explanation.
fn json_note(notice: &Notice) -> String {
    notice_record_as(Severity::Note, notice, &flags::notice(notice))
}

/// Width of the column of names.
const NAMES: usize = 10;

impl Report {
    fn line(&self, name: &str, value: &str) {
        self.output.line(format!("{name:<NAMES$}{value}").trim_end());
    }

    fn print(&self, explanation: &Explanation, asked: &Asked<'_>) {
        for error in &explanation.failed {
            self.output.message("error", &flags::entry_error(error));
        }
        for (at, explained) in explanation.keys.iter().enumerate() {
            if at > 0 {
                self.output.line("");
            }
            self.key(explained, asked);
        }
        for notice in &explanation.notices {
            self.line("note", &flags::notice(notice));
        }
        if let Some(run) = &explanation.last_run {
            let how = run.verdict.map_or("not ended".to_owned(), |verdict| verdict.to_string());
            let when = moment(run.started);
            self.line("last run", &format!("{}, begun {when}, {how}", run.id));
        }
        if let Some(past) = &explanation.past {
            self.past(past, explanation);
        }
    }

    fn key(&self, explained: &Explained, asked: &Asked<'_>) {
        let pair = &explained.pair;
        let row = pair.row.as_ref();
        self.line("key", &pair.key.to_string());
        let [of_source, of_target] = &explained.attributes;
        self.side("source", &pair.source, row.map(|row| row.source), row, true);
        self.attributes(of_source);
        self.side("target", &pair.target, row.map(|row| row.target), row, false);
        self.attributes(of_target);
        match row {
            Some(row) => self.row(row, explained),
            None => self.line("record", "none"),
        }
        let filter = match &explained.matched_rule {
            Some(matched) if matched.excludes && matched.key != pair.key => {
                let rule = asked.rule(matched.rule);
                format!("left out: {rule} excludes the directory {}, with all in it", matched.key)
            }
            Some(matched) if matched.excludes => {
                format!("left out by {}", asked.rule(matched.rule))
            }
            Some(matched) => format!("taken in by {}", asked.rule(matched.rule)),
            None if asked.options.filter.has_patterns() => {
                "takes part: no pattern matches it".to_owned()
            }
            None => "takes part: there are no patterns".to_owned(),
        };
        self.line("filter", &filter);
        match &pair.conflict {
            None => {}
            Some(Conflict::Both) => {
                self.line("conflict", "one side has a file and a directory of this name");
            }
            Some(Conflict::LeafBesideDirectory) => {
                self.line("conflict", "there is also a directory of this name");
            }
            Some(Conflict::DirectoryOverLeaf(leaf)) => {
                self.line("conflict", &format!("the target has a {} of this name", leaf.kind));
            }
            Some(Conflict::LeafOverDirectory { empty }) => {
                let what = if *empty { "an empty directory" } else { "a directory with entries" };
                self.line("conflict", &format!("the target has {what} of this name"));
            }
        }
        let (word, reason) = words::decision(explained);
        self.line("decision", &format!("{word}: {reason}"));
        for sentence in words::consequences(explained, asked.options) {
            self.line("", &sentence);
        }
    }

    /// Prints what one side has, and how its stamp compares with the recorded one.
    fn side(
        &self,
        name: &str,
        seen: &Seen,
        recorded: Option<crate::model::Stamp>,
        row: Option<&Row>,
        is_source: bool,
    ) {
        let entry = match seen {
            Seen::Absent => return self.line(name, "nothing"),
            Seen::Unknown => return self.line(name, "unknown: it could not be listed"),
            Seen::Present(entry) => entry,
        };
        self.line(name, &words::entry(entry));
        if entry.kind == EntryKind::Directory {
            return;
        }
        let Some(recorded) = recorded else { return };
        let compared = words::stamps(&entry.stamp, &recorded);
        self.line("", &format!("since recorded: {compared}"));
        if is_source && row.is_some_and(|row| row.source_racy) {
            self.line(
                "",
                "the recorded stamp was taken within a clock tick of a change: it is not trusted",
            );
        }
    }

    /// Prints the extended attributes and ACLs of a side's entry, if it has some.
    fn attributes(&self, attributes: &[String]) {
        if !attributes.is_empty() {
            self.line("", &attributes.join(", "));
        }
    }

    fn row(&self, row: &Row, explained: &Explained) {
        let how = match row.origin {
            _ if row.kind != EntryKind::File => "",
            Origin::Proven => ": copied, or both sides were hashed",
            Origin::Adopted => ": adopted as it was found",
        };
        let by = match &explained.copied_by {
            Some(CopiedBy { run, record: Some(record) }) => {
                format!("by run {run} of {}", moment(record.started))
            }
            Some(CopiedBy { run, record: None }) => {
                format!("by run {run}, in the manifest in the target")
            }
            None => "by an unknown run".to_owned(),
        };
        self.line("record", &format!("{by}{how}"));
        if let Some(digest) = row.digest {
            self.line("", &format!("BLAKE3 {digest}"));
        } else if row.kind == EntryKind::File {
            self.line("", "no digest: its content was never read");
        }
        match row.verified_at {
            Some(at) => self.line("", &format!("verified {}", moment(at))),
            None if row.digest.is_some() => self.line("", "never verified"),
            None => {}
        }
    }

    fn past(&self, past: &Past, explanation: &Explanation) {
        for line in &past.lines {
            let PastLine { content, by } = line;
            let what = match &content.row {
                None => "removed".to_owned(),
                Some((row, run)) => {
                    let content = match (row.kind, row.digest) {
                        (EntryKind::File, Some(digest)) => {
                            format!("{}, BLAKE3 {:.16}…", size(row.source.size), digest.to_string())
                        }
                        (EntryKind::File, None) => format!("{}, no digest", size(row.source.size)),
                        (kind, _) => kind.to_string(),
                    };
                    let how = if row.origin == Origin::Adopted && row.kind == EntryKind::File {
                        "adopted"
                    } else {
                        "recorded"
                    };
                    format!("{how} by run {run}: {content}")
                }
            };
            let several = explanation.keys.len() > 1;
            let key = if several { format!("{}: ", content.key) } else { String::new() };
            let when = by.as_ref().map_or("-".to_owned(), |by| moment(by.published));
            let other = by
                .as_ref()
                .filter(|by| by.source != explanation.source)
                .map_or(String::new(), |by| format!(", from {}", by.source));
            let number = content.sequence;
            self.line("past", &format!("{key}publication {number}, {when}: {what}{other}"));
        }
        let since = past.since_run.as_ref();
        let when = since.map_or(String::new(), |by| format!(" of {}", moment(by.published)));
        let number = past.since;
        let before = match number {
            ..=1 => String::new(),
            number => {
                let gone = counted(number - 1, "publication", "publications");
                format!("; no rows are left of {gone} before it")
            }
        };
        self.line("history", &format!("reaches back to publication {number}{when}{before}"));
    }

    fn records(&self, explanation: &Explanation, asked: &Asked<'_>) {
        for error in &explanation.failed {
            let body = crate::report::json::JsonFailure::from(error);
            self.output.line(&record(Level::Error, "failed", &body));
        }
        for notice in &explanation.notices {
            self.output.line(&json_note(notice));
        }
        for explained in &explanation.keys {
            let body = json::explanation(explained, explanation, asked);
            self.output.line(&record(Level::Info, "explanation", &body));
        }
    }

    fn finish(&self, args: &ExplainArgs, error: Option<&Error>, exit: Exit) {
        if !self.json {
            self.output.flush();
            if let Some(error) = error {
                super::tell(&self.output, error);
            }
            return;
        }
        let [source, target] = [&args.source, &args.target].map(|typed| Location::printable(typed));
        let body = serde_json::json!({ "source": source, "target": target });
        let error = error.map(JsonError::from);
        self.output.line(&finished(&body, exit.word(), exit.code(), error));
    }
}

/// Returns the number of bytes that would be copied or read.
fn bytes(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, Entry::size)
}
