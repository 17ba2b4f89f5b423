//! `vidimus ls LOCATION`: prints a line, a record or a NUL-terminated name for each entry.

use super::super::args::LsArgs;
use super::super::exit::Exit;
use super::super::settings::{self, ListForm};
use super::Purpose;
use crate::location::SingleLocation;
use crate::model::entry::Completeness;
use crate::model::key::Escaped;
use crate::model::{Entry, EntryError, EntryKind, Error, Progress, Timestamp, Totals};
use crate::report::failures::Failures;
use crate::report::json::{self, JsonError, JsonFailure, JsonKey, Level};
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions, format};
use crate::session::ls::{LsItem, ls};
use clap::ArgMatches;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, StdoutLock, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Size of the output buffer in bytes.
const BUFFER: usize = 32 << 10;

pub(crate) fn run(args: &LsArgs, matches: &ArgMatches) -> Exit {
    let progress = Arc::new(Progress::default());
    let mut list = match stdout() {
        Ok(stdout) => List::new(args, matches, &stdout),
        Err(error) => return super::unwritten(error),
    };
    let listed = settings::ls(args).and_then(|options| {
        ls(&options, &progress, &mut |item| match list.item(&item) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                list.fault = Some(error);
                ControlFlow::Break(())
            }
        })
    });
    list.finish(&listed, &SingleLocation::printable(&args.location), &progress.totals())
}

/// The list being printed.
struct List<'a> {
    args: &'a LsArgs,
    form: ListForm,
    stdout: BufWriter<StdoutLock<'static>>,
    /// Whether to flush each line.
    is_terminal: bool,
    /// The error of stdout.
    fault: Option<io::Error>,
    /// The output for failures.
    stderr: Output,
    failures: Failures,
    failed: u64,
    entries: u64,
    bytes: u64,
}

impl<'a> List<'a> {
    fn new(args: &'a LsArgs, matches: &ArgMatches, stdout: &Stdout) -> Self {
        let form = settings::ls_form(args, matches);
        Self {
            args,
            form,
            stdout: BufWriter::with_capacity(BUFFER, stdout.lock()),
            is_terminal: stdout.is_terminal(),
            fault: None,
            stderr: Output::new(OutputOptions::default(), None),
            failures: Failures::new(args.verbose),
            failed: 0,
            entries: 0,
            bytes: 0,
        }
    }

    fn item(&mut self, item: &LsItem) -> io::Result<()> {
        match item {
            LsItem::Entry(entry) => self.entry(entry)?,
            LsItem::Failed(error) => self.failed(error)?,
        }
        if self.is_terminal { self.stdout.flush() } else { Ok(()) }
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.entries += 1;
        self.bytes += entry.size();
        if self.form == ListForm::Json {
            let record = json::record(Level::Info, "entry", &JsonEntry::from(entry));
            return writeln!(self.stdout, "{record}");
        }
        if self.args.long {
            let (size, time) = (self.size(entry), time(entry));
            let width = if self.args.human { 10 } else { 15 };
            write!(self.stdout, "{size:>width$}  {time:<19}  ")?;
        }
        if self.form == ListForm::Null {
            self.stdout.write_all(entry.key.as_bytes())?;
            return self.stdout.write_all(b"\0");
        }
        write!(self.stdout, "{}", entry.key)?;
        match entry.link.as_ref().filter(|_| self.args.long) {
            Some(link) => writeln!(self.stdout, " -> {}", Escaped(link)),
            None => writeln!(self.stdout),
        }
    }

    fn size(&self, entry: &Entry) -> String {
        match entry.kind {
            EntryKind::File if self.args.human => format::size(entry.stamp.size),
            EntryKind::File => entry.stamp.size.to_string(),
            _ => "-".to_owned(),
        }
    }

    fn failed(&mut self, error: &EntryError) -> io::Result<()> {
        self.failed += 1;
        if self.form == ListForm::Json {
            let record = json::record(Level::Error, "failed", &JsonFailure::from(error));
            return writeln!(self.stdout, "{record}");
        }
        self.failures.report(&self.stderr, &super::entry_failure(error));
        Ok(())
    }

    fn finish(mut self, listed: &Result<(), Error>, location: &str, totals: &Totals) -> Exit {
        let failed = if self.failed > 0 { Exit::Incomplete } else { Exit::Done };
        let exit = listed.as_ref().map_or_else(|error| error.kind.into(), |()| failed);
        let written = match self.fault.take() {
            Some(error) => Err(error),
            None => self.last(listed, location, totals, exit).and_then(|()| self.stdout.flush()),
        };
        self.failures.report_unprinted(&self.stderr);
        if let (Err(error), false) = (listed, self.form == ListForm::Json) {
            super::tell(&self.stderr, error);
        }
        super::end(&self.stderr, written, exit, Purpose::Tell)
    }

    /// Writes the last record.
    fn last(
        &mut self,
        listed: &Result<(), Error>,
        location: &str,
        totals: &Totals,
        exit: Exit,
    ) -> io::Result<()> {
        #[derive(Serialize)]
        struct Listed<'a> {
            location: &'a str,
            entries: u64,
            bytes: u64,
            failed: u64,
            requests_list: u64,
            requests_head: u64,
            requests_retried: u64,
        }
        if self.form != ListForm::Json {
            return Ok(());
        }
        let body = Listed {
            location,
            entries: self.entries,
            bytes: self.bytes,
            failed: self.failed,
            requests_list: totals.requests_list,
            requests_head: totals.requests_head,
            requests_retried: totals.requests_retried,
        };
        let error = listed.as_ref().err().map(JsonError::from);
        writeln!(self.stdout, "{}", json::finished(&body, exit.word(), exit.code(), error))
    }
}

/// Formats when an entry was changed.
fn time(entry: &Entry) -> String {
    time_of(entry).map_or("-".to_owned(), format::moment)
}

/// Returns when an entry was written; `None` for a directory that is only implied by keys below it.
fn time_of(entry: &Entry) -> Option<Timestamp> {
    (entry.completeness != Completeness::Implicit).then_some(entry.metadata.mtime)
}

#[derive(Serialize)]
struct JsonEntry {
    #[serde(flatten)]
    key: JsonKey,
    kind: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl From<&Entry> for JsonEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            key: JsonKey::from(&entry.key),
            kind: json::kind(entry.kind),
            size: entry.size(),
            mtime: time_of(entry).map(|time| time.to_string()),
            etag: entry.stamp.tag().map(|tag| tag.as_str().to_owned()),
            link: entry.link.as_ref().map(|link| Escaped(link).to_string()),
        }
    }
}
