//! `vidimus manifest`: what a mirror published, for people or as records.

use super::super::args::{ExportArgs, ManifestCommand, ManifestLookArgs};
use super::super::exit::Exit;
use super::super::settings;
use super::super::signals::Signals;
use crate::location::Location;
use crate::manifest::published::{Head, Publication};
use crate::model::{Error, ErrorKind, Key, Progress, Stop};
use crate::report::format::{count, counted, moment, size};
use crate::report::json::{self, JsonError, Level};
use crate::report::{Output, OutputOptions};
use crate::session::export::{ExportError, Exported, Missing, export, export_to};
use crate::session::manifest::OpenManifest;
use clap::ArgMatches;
use jiff::tz::TimeZone;
use rustix::fs::Mode;
use serde::Serialize;
use std::io;
use std::sync::Arc;

/// Runs the command; `umask` is the one that the process was started with.
pub(crate) fn run(command: &ManifestCommand, matches: &ArgMatches, umask: Mode) -> Exit {
    match command {
        ManifestCommand::Show(args) => look(args, |manifest, teller| {
            show(manifest, teller);
            Ok(())
        }),
        ManifestCommand::Log(args) => look(args, log),
        ManifestCommand::Export(args) => list(args, umask),
        ManifestCommand::Import(args) => super::import::run(args, matches),
    }
}

/// Opens a manifest and tells of it by `tell`.
fn look(
    args: &ManifestLookArgs,
    tell: impl FnOnce(&OpenManifest, &mut Teller<'_>) -> Result<(), Error>,
) -> Exit {
    let output = Output::new(OutputOptions::default(), None);
    let mut teller = Teller { args, output: &output, zone: TimeZone::system(), publications: 0 };
    let progress = Arc::new(Progress::default());
    let told = settings::manifest(&args.location, args.allow_http)
        .and_then(|at| OpenManifest::open(&at, &progress, &Stop::default()))
        .and_then(|manifest| tell(&manifest, &mut teller));
    let exit = told.as_ref().map_or_else(|error| error.kind.into(), |()| Exit::Done);
    teller.finish(&told, exit);
    super::close(&output, exit)
}

/// Where what is told goes.
struct Teller<'a> {
    args: &'a ManifestLookArgs,
    output: &'a Output,
    zone: TimeZone,
    /// Of how many publications it was told.
    publications: u64,
}

impl Teller<'_> {
    fn record(&self, publication: &Publication) {
        let body = JsonPublication::from(publication);
        self.output.line(&json::record(Level::Info, "publication", &body));
    }

    fn finish(&self, told: &Result<(), Error>, exit: Exit) {
        if self.args.json {
            let finished = Finished {
                location: &Location::printable(&self.args.location),
                publications: self.publications,
                verdict: if exit == Exit::Done { "complete" } else { "failed" },
                exit_code: exit.code(),
                error: told.as_ref().err().map(JsonError::from),
            };
            let level = if exit == Exit::Done { Level::Info } else { Level::Error };
            self.output.line(&json::record(level, "finished", &finished));
        } else if let Err(error) = told {
            self.output.flush();
            super::tell(self.output, error);
        }
    }
}

/// The last record's body.
#[derive(Serialize)]
struct Finished<'a> {
    location: &'a str,
    publications: u64,
    verdict: &'static str,
    exit_code: u8,
    #[serde(flatten)]
    error: Option<JsonError<'a>>,
}

/// The `publication` record's body.
#[derive(Serialize)]
struct JsonPublication<'a> {
    blake3: String,
    bytes: u64,
    lines: u64,
    changed: Option<u64>,
    #[serde(flatten)]
    head: &'a Head,
}

impl<'a> From<&'a Publication> for JsonPublication<'a> {
    fn from(publication: &'a Publication) -> Self {
        let head = &publication.head;
        Self {
            blake3: publication.digest.to_string(),
            bytes: bytes(head),
            lines: lines(head),
            changed: changed(head),
            head,
        }
    }
}

/// How many lines were written with a publication; `None` where it wrote all rows anew.
fn changed(head: &Head) -> Option<u64> {
    let own = head.segments.last().filter(|own| own.sequence == head.sequence);
    own.filter(|_| head.segments.len() > 1).map(|own| own.lines)
}

/// Bytes of all segments, compressed.
fn bytes(head: &Head) -> u64 {
    head.segments.iter().map(|segment| segment.bytes).sum()
}

/// Lines of all segments.
fn lines(head: &Head) -> u64 {
    head.segments.iter().map(|segment| segment.lines).sum()
}

fn show(manifest: &OpenManifest, teller: &mut Teller<'_>) {
    let publication = &manifest.latest;
    teller.publications += 1;
    if teller.args.json {
        return teller.record(publication);
    }
    let head = &publication.head;
    let when = |time| moment(time, &teller.zone);
    let segments = counted(head.segments.len() as u64, "segment", "segments");
    let line = |name: &str, value: &str| teller.output.line(&format!("  {name:<12}{value}"));
    teller.output.line(&format!("manifest of {}", manifest.name()));
    line("publication", &format!("{}, {}", count(head.sequence), when(head.published)));
    line("head", &publication.digest.to_string());
    line("run", &format!("{}, begun {}", head.run, when(head.started)));
    line("verdict", &head.verdict.to_string());
    line("source", &head.source);
    line("target", &head.target);
    line("rows", &count(head.rows));
    let lines = counted(lines(head), "line", "lines");
    line("segments", &format!("{segments}, {lines}, {}", size(bytes(head))));
}

fn log(manifest: &OpenManifest, teller: &mut Teller<'_>) -> Result<(), Error> {
    for publication in manifest.history() {
        let publication = publication?;
        teller.publications += 1;
        if teller.output.is_closed() {
            break;
        }
        if teller.args.json {
            teller.record(&publication);
            continue;
        }
        let head = &publication.head;
        let changed = match changed(head) {
            Some(changed) => counted(changed, "change", "changes"),
            None => "all rows".to_owned(),
        };
        let rows = counted(head.rows, "row", "rows");
        let (sequence, when) = (count(head.sequence), moment(head.published, &teller.zone));
        let (run, verdict) = (head.run.to_string(), head.verdict.to_string());
        teller
            .output
            .line(&format!("{sequence:>6}  {when}  {run}  {verdict:<10}  {rows:>15}  {changed}"));
    }
    if !teller.args.json {
        let publications = counted(teller.publications, "publication", "publications");
        teller.output.line(&format!("{publications}: the chain is whole"));
    }
    Ok(())
}

fn list(args: &ExportArgs, umask: Mode) -> Exit {
    let stderr = Output::new(OutputOptions::default(), None);
    let stop = Stop::default();
    // A pipe may be full for long: there a signal ends the process at once, as it does any filter.
    let signals = args.output.is_some().then(|| Signals::listen(&stop)).transpose();
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            let message = "cannot listen for signals";
            return super::fail(&Error::new(ErrorKind::Unusable, message).because(error));
        }
    };
    match written(args, umask, &stderr, &stop) {
        Ok(Exported { without_digest: 0, .. }) => Exit::Done,
        Ok(Exported { without_digest, .. }) => {
            let files = counted(without_digest, "file", "files");
            stderr.message("note", &format!("left out {files} without a recorded digest"));
            Exit::Done
        }
        Err(_) if stop.requested() => {
            stderr.message("error", "stopped: nothing was written; what stood before stands");
            signals.and_then(|signals| signals.exit()).unwrap_or(Exit::Interrupted)
        }
        Err(ExportError::Fatal(error)) => super::fail(&error),
        Err(ExportError::NoSha256(missing)) => super::fail(&no_sha256(&missing)),
        Err(ExportError::Stopped) => Exit::Interrupted,
        // Nobody wants the rest.
        Err(ExportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(ExportError::Output(error)) => super::fail(&super::cannot_write(error)),
    }
}

fn no_sha256(missing: &Missing) -> Error {
    let message = match missing.files - 1 {
        0 => format!("\"{}\" has no SHA-256 on record", missing.first),
        more => {
            let more = counted(more, "more file", "more files");
            format!("\"{}\" and {more} have no SHA-256 on record", missing.first)
        }
    };
    Error::new(ErrorKind::Usage, message)
        .help("mirror with --digest sha256: what lacks it is read once and not copied")
}

fn written(
    args: &ExportArgs,
    umask: Mode,
    stderr: &Output,
    stop: &Stop,
) -> Result<Exported, ExportError> {
    let (at, format, file) = settings::export(args, umask)?;
    let mut manifest = OpenManifest::open(&at, &Arc::new(Progress::default()), stop)?;
    let mut tell =
        |key: &Key, why: &str| stderr.message("note", &format!("left out \"{key}\": {why}"));
    match file {
        Some(file) => export_to(&file, &mut manifest, format, &mut tell, stop),
        None => export(&mut manifest, format, &mut tell, stop, &mut io::stdout().lock()),
    }
}
