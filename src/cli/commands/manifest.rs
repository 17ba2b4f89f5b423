//! `vidimus manifest`: shows, checks, signs, exports and imports published manifests.

use super::super::args::{
    ExportArgs, ManifestCommand, ManifestHoldArgs, ManifestLookArgs, ManifestSignArgs,
};
use super::super::exit::Exit;
use super::super::keys;
use super::super::settings::{self, ExportSettings};
use super::super::signals::Signals;
use super::Purpose;
use crate::location::Location;
use crate::manifest::keys::PublicKey;
use crate::manifest::published::{Head, Publication, SignatureStatus};
use crate::model::{Error, ErrorKind, Key, Notice, Progress, Stop};
use crate::report::flags;
use crate::report::format::{count, counted, moment, size};
use crate::report::json::{self, JsonError, Level};
use crate::report::output::stdout;
use crate::report::{Output, OutputOptions};
use crate::session::export::{
    ExportError, ExportFile, ExportFormat, ExportPlace, Exported, Missing, export, export_to,
};
use crate::session::manifest::{CheckedManifest, ManifestAt, OpenManifest};
use crate::session::sign;
use clap::ArgMatches;
use rustix::fs::Mode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::sync::Arc;

/// Runs the command; `umask` is that of the process at its start.
pub(crate) fn run(command: &ManifestCommand, matches: &ArgMatches, umask: Mode) -> Exit {
    match command {
        ManifestCommand::Show(args) => look(args, None, |manifest, _, printer| {
            let status = manifest.signature_status(&manifest.latest, None)?;
            printer.publications += 1;
            show(manifest, &status, printer);
            Ok(())
        }),
        ManifestCommand::Log(args) => {
            hold(args, |manifest, key, printer| log(manifest, key, printer))
        }
        ManifestCommand::Check(args) => hold(args, check),
        ManifestCommand::Sign(args) => add_signature(args),
        ManifestCommand::Export(args) => list(args, umask),
        ManifestCommand::Import(args) => super::import::run(args, matches),
    }
}

/// Opens a manifest and prints it by `print`, which requires a signature if there is a key.
fn hold(
    args: &ManifestHoldArgs,
    print: impl FnOnce(&mut OpenManifest, Option<&PublicKey>, &mut Printer<'_>) -> Result<(), Error>,
) -> Exit {
    look(&args.look, args.key.as_deref(), print)
}

fn look(
    args: &ManifestLookArgs,
    key: Option<&OsStr>,
    print: impl FnOnce(&mut OpenManifest, Option<&PublicKey>, &mut Printer<'_>) -> Result<(), Error>,
) -> Exit {
    with_printer(args, Purpose::Tell, |printer| {
        let key = key.map(keys::public).transpose()?;
        let at = settings::manifest(&args.location, args.allow_http)?;
        let progress = Arc::new(Progress::default());
        let mut manifest = OpenManifest::open(&at, &progress, &Stop::default())?;
        print(&mut manifest, key.as_ref(), printer)
    })
}

/// Calls `print`, then prints the last record or the error.
fn with_printer(
    args: &ManifestLookArgs,
    purpose: Purpose,
    print: impl FnOnce(&mut Printer<'_>) -> Result<(), Error>,
) -> Exit {
    let output = Output::new(OutputOptions::default(), None);
    let mut printer = Printer { args, output: &output, publications: 0 };
    let result = print(&mut printer);
    let exit = result.as_ref().map_or_else(|error| error.kind.into(), |()| Exit::Done);
    printer.finish(&result, exit);
    super::close(&output, exit, purpose)
}

/// Prints publications for a person, or as NDJSON.
struct Printer<'a> {
    args: &'a ManifestLookArgs,
    output: &'a Output,
    /// How many publications were printed.
    publications: u64,
}

impl Printer<'_> {
    fn record(&self, publication: &Publication, status: &SignatureStatus) {
        let body = JsonPublication::new(publication, status);
        self.output.line(&json::record(Level::Info, "publication", &body));
    }

    fn notice(&self, notice: &Notice) {
        if self.args.json {
            self.output.line(&json::notice_record(notice));
        } else {
            self.output.notice(notice, false);
        }
    }

    fn finish(&self, result: &Result<(), Error>, exit: Exit) {
        if self.args.json {
            let body = serde_json::json!({
                "location": Location::printable(&self.args.location),
                "publications": self.publications,
            });
            let error = result.as_ref().err().map(JsonError::from);
            self.output.line(&json::finished(&body, exit.word(), exit.code(), error));
        } else if let Err(error) = result {
            self.output.flush();
            super::tell(self.output, error);
        }
    }
}

/// The body of a `publication` record.
#[derive(Serialize)]
struct JsonPublication<'a> {
    blake3: String,
    bytes: u64,
    lines: u64,
    changed: Option<u64>,
    signature: Option<JsonSignature<'a>>,
    #[serde(flatten)]
    head: Map<String, Value>,
}

/// The status of a signature.
#[derive(Serialize)]
struct JsonSignature<'a> {
    state: &'static str,
    key: Option<String>,
    /// The signer's comment if the state is "good"; else it may be anybody's.
    comment: Option<&'a str>,
    /// Why the signature is invalid.
    reason: Option<&'a str>,
}

impl<'a> JsonSignature<'a> {
    fn of(status: &'a SignatureStatus) -> Option<Self> {
        let (state, signature, reason) = match status {
            SignatureStatus::None => return None,
            SignatureStatus::Unchecked(signature) => ("unchecked", Some(signature), None),
            SignatureStatus::Good(signature) => ("good", Some(signature), None),
            SignatureStatus::OtherKey(signature) => ("other_key", Some(signature), None),
            SignatureStatus::Broken(how) => ("broken", None, Some(&**how)),
        };
        let key = signature.map(|signature| signature.key.to_string());
        Some(Self { state, key, comment: signature.map(|signature| &*signature.comment), reason })
    }
}

impl<'a> JsonPublication<'a> {
    fn new(publication: &'a Publication, status: &'a SignatureStatus) -> Self {
        let head = &publication.head;
        Self {
            blake3: publication.digest.to_string(),
            bytes: bytes(head),
            lines: lines(head),
            changed: changed(head),
            signature: JsonSignature::of(status),
            head: in_records(head),
        }
    }
}

/// Returns a head's fields, with times in the form of all records.
fn in_records(head: &Head) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(head) else { return Map::new() };
    for (name, time) in [("started", head.started), ("published", head.published)] {
        fields.insert(name.to_owned(), time.to_string().into());
    }
    let sources = fields.get_mut("sources").and_then(Value::as_array_mut).into_iter().flatten();
    for (fields, source) in sources.zip(head.sources()) {
        fields["started"] = source.started.to_string().into();
    }
    fields
}

/// Returns the number of lines written with a publication; `None` if it wrote all rows anew.
fn changed(head: &Head) -> Option<u64> {
    let own = head.segments.last().filter(|own| own.sequence == head.sequence);
    own.filter(|_| head.segments.len() > 1).map(|own| own.lines)
}

/// Returns the compressed size of all segments in bytes.
fn bytes(head: &Head) -> u64 {
    head.segments.iter().map(|segment| segment.bytes).sum()
}

/// Returns the number of lines of all segments.
fn lines(head: &Head) -> u64 {
    head.segments.iter().map(|segment| segment.lines).sum()
}

fn show(manifest: &OpenManifest, status: &SignatureStatus, printer: &Printer<'_>) {
    let publication = &manifest.latest;
    if printer.args.json {
        return printer.record(publication, status);
    }
    let head = &publication.head;
    let segments = counted(head.segments.len() as u64, "segment", "segments");
    let line = |name: &str, value: &str| printer.output.line(&format!("  {name:<12}{value}"));
    printer.output.line(&format!("manifest of {}", manifest.name()));
    line("publication", &format!("{}, {}", count(head.sequence), moment(head.published)));
    line("head", &publication.digest.to_string());
    line("run", &format!("{}, begun {}", head.run, moment(head.started)));
    line("verdict", &head.verdict.to_string());
    line("source", &head.source);
    for of in head.sources().iter().filter(|of| of.source != head.source) {
        line("", &format!("{}, by run {}", of.source, of.run));
    }
    line("target", &head.target);
    line("rows", &count(head.rows));
    let lines = counted(lines(head), "line", "lines");
    line("segments", &format!("{segments}, {lines}, {}", size(bytes(head))));
    line(
        "signature",
        &match status {
            SignatureStatus::None => "none".to_owned(),
            SignatureStatus::Unchecked(signature) => {
                format!("claims to be by key {}; `check --key` verifies that", signature.key)
            }
            SignatureStatus::Good(signature) => {
                format!("by key {}: {}", signature.key, signature.comment)
            }
            SignatureStatus::OtherKey(signature) => format!("by another key, {}", signature.key),
            SignatureStatus::Broken(how) => format!("is not valid: {how}"),
        },
    );
}

fn check(
    manifest: &mut OpenManifest,
    key: Option<&PublicKey>,
    printer: &mut Printer<'_>,
) -> Result<(), Error> {
    let CheckedManifest { chain, signature } = manifest.check(key)?;
    printer.publications = chain.publications;
    show(manifest, &signature, printer);
    if !printer.args.json {
        let publications = counted(chain.publications, "publication", "publications");
        let rows = counted(chain.rows, "row", "rows");
        let signed = if key.is_some() { ", and the signature is valid" } else { "" };
        let anew = begins_anew("the chain", chain.lost);
        printer.output.line(&format!("{publications}, {rows}: all is whole{signed}{anew}"));
    }
    Ok(())
}

/// Formats that a chain doesn't go back to the first publication, and why.
fn begins_anew(chain: &str, lost: Option<u64>) -> String {
    let text =
        |lost| format!("; {chain} begins anew after publication {}, which was lost", count(lost));
    lost.map_or_else(String::new, text)
}

fn add_signature(args: &ManifestSignArgs) -> Exit {
    with_printer(&args.look, Purpose::Work, |printer| {
        // Read first, so that a mistyped key is reported at once.
        let key = keys::secret(&args.key)?;
        let at = settings::manifest(&args.look.location, args.look.allow_http)?;
        let progress = Arc::new(Progress::default());
        let signed = sign::sign(&at, &key, &progress, &Stop::default())?;
        for notice in &signed.notices {
            printer.notice(notice);
        }
        printer.publications = 1;
        let (publication, id) = (&signed.publication, signed.signature.key);
        if printer.args.json {
            printer.record(publication, &SignatureStatus::Good(signed.signature));
        } else {
            let how = if signed.is_new { "signed with" } else { "was signed already with" };
            let sequence = count(publication.head.sequence);
            printer
                .output
                .line(&format!("publication {sequence} of {}: {how} key {id}", at.location));
        }
        Ok(())
    })
}

fn log(
    manifest: &OpenManifest,
    key: Option<&PublicKey>,
    printer: &mut Printer<'_>,
) -> Result<(), Error> {
    let (mut broken, mut lost) = (None, None);
    for publication in manifest.history() {
        let publication = publication?;
        let status = manifest.signature_status(&publication, key)?;
        printer.publications += 1;
        lost = publication.head.lost.as_ref().map(|lost| lost.sequence);
        if let SignatureStatus::Broken(how) = &status {
            broken.get_or_insert_with(|| (publication.head.sequence, how.clone()));
        }
        if printer.output.is_closed() {
            break;
        }
        if printer.args.json {
            printer.record(&publication, &status);
            continue;
        }
        let head = &publication.head;
        let changed = match changed(head) {
            Some(changed) => counted(changed, "change", "changes"),
            None => "all rows".to_owned(),
        };
        let rows = counted(head.rows, "row", "rows");
        let (sequence, when) = (count(head.sequence), moment(head.published));
        let (run, verdict) = (head.run.to_string(), head.verdict.to_string());
        let signed = match &status {
            SignatureStatus::None if key.is_some() => "  not signed".to_owned(),
            SignatureStatus::None => String::new(),
            SignatureStatus::Unchecked(signature) => {
                format!("  claims to be signed with {}", signature.key)
            }
            SignatureStatus::Good(signature) => format!("  signed with {}", signature.key),
            SignatureStatus::OtherKey(signature) => {
                format!("  signed with another key, {}", signature.key)
            }
            SignatureStatus::Broken(_) => "  signature is not valid".to_owned(),
        };
        printer.output.line(&format!(
            "{sequence:>6}  {when}  {run}  {verdict:<10}  {rows:>15}  {changed}{signed}"
        ));
    }
    if !printer.args.json {
        let publications = counted(printer.publications, "publication", "publications");
        let anew = begins_anew("it", lost);
        printer.output.line(&format!(
            "{publications}: the chain of heads is whole{anew}; `manifest check` reads the rows too"
        ));
    }
    let Some((sequence, how)) = broken else { return Ok(()) };
    let message = format!("the signature of publication {sequence} is not valid: {how}");
    Err(Error::new(ErrorKind::Manifest, message))
}

fn list(args: &ExportArgs, umask: Mode) -> Exit {
    let stderr = Output::new(OutputOptions::default(), None);
    let stop = Stop::default();
    let export = match Export::of(args, umask) {
        Ok(export) => export,
        Err(error) => return super::fail(&error),
    };
    // Writing to a pipe may block: there a signal ends the process at once, as it does any filter.
    let is_atomic = export.to.as_ref().is_some_and(|(_, place)| place.is_whole());
    let signals = match is_atomic.then(|| Signals::listen(&stop)).transpose() {
        Ok(signals) => signals,
        Err(error) => return super::fail(&error),
    };
    match export.write(&stderr, &stop) {
        Ok(Exported { without_digest, not_kept, .. }) => {
            if without_digest > 0 {
                let files = counted(without_digest, "file", "files");
                stderr.message("note", &format!("left out {files} without a recorded digest"));
            }
            if let Some(not_kept) = not_kept {
                stderr.message("note", &flags::notice(&not_kept));
            }
            Exit::Done
        }
        Err(_) if stop.requested() => {
            stderr.message("error", "stopped: nothing was written; the existing file remains");
            signals.and_then(|signals| signals.exit()).unwrap_or(Exit::Interrupted)
        }
        Err(ExportError::Fatal(error)) => super::fail(&error),
        Err(ExportError::NoSha256(missing)) => super::fail(&no_sha256(&missing)),
        Err(ExportError::Stopped) => Exit::Interrupted,
        Err(ExportError::Output(error)) => super::unwritten(error),
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

/// A requested export.
struct Export {
    at: ManifestAt,
    format: ExportFormat,
    /// The destination, unless it is standard output.
    to: Option<(ExportFile, ExportPlace)>,
}

impl Export {
    fn of(args: &ExportArgs, umask: Mode) -> Result<Self, Error> {
        let ExportSettings { at, format, file } = settings::export(args, umask)?;
        let place = |file| ExportPlace::find(&file).map(|place| (file, place));
        Ok(Self { at, format, to: file.map(place).transpose()? })
    }

    fn write(self, stderr: &Output, stop: &Stop) -> Result<Exported, ExportError> {
        let Self { at, format, to } = self;
        let mut skipped =
            |key: &Key, why: &str| stderr.message("note", &format!("left out \"{key}\": {why}"));
        let open = || OpenManifest::open(&at, &Arc::new(Progress::default()), stop);
        if let Some((file, place)) = to {
            export_to(&file, place, &mut open()?, format, &mut skipped, stop)
        } else {
            let mut stdout = stdout().map_err(ExportError::Output)?.lock();
            export(&mut open()?, format, &mut skipped, stop, &mut stdout)
        }
    }
}
