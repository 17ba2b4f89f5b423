//! `vidimus put - LOCATION`: writes a stream to a file or an object.

use super::super::args::PutArgs;
use super::super::exit::Exit;
use super::super::signals::Signals;
use super::super::{input, settings};
use super::Purpose;
use crate::location::SingleLocation;
use crate::model::run::throughput;
use crate::model::{Error, Notice, Progress, Stop, Totals};
use crate::report::bars::{self, Bars};
use crate::report::estimate::{Estimate, Sample};
use crate::report::flags;
use crate::report::format::{duration, size, speed};
use crate::report::json::{self, JsonError, JsonKey};
use crate::report::{Output, OutputOptions, ProgressStyle};
use crate::session::put::{PutEnd, PutOutcome, put};
use crate::ticker::Ticker;
use rustix::fs::Mode;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the command; `umask` is that of the process at its start.
pub(crate) fn run(args: &PutArgs, umask: Mode) -> Exit {
    let began = Instant::now();
    let bars = settings::shows_put(args).then(|| Arc::new(Bars::new()));
    let output = Output::new(OutputOptions::default(), bars.as_deref().map(Bars::bar));
    let location = SingleLocation::printable(&args.location);
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    let (result, signal) = Signals::during(&stop, || {
        let options = settings::put(args, umask)?;
        let _ticker = bars.clone().map(|bars| show(bars, &location, &progress)).transpose()?;
        put(&options, Box::new(input::stdin()?), &progress, &stop)
    });
    let exit = match &result {
        Ok(PutEnd::Done(_)) => Exit::Done,
        Ok(PutEnd::Stopped) => signal.unwrap_or(Exit::Interrupted),
        Err(error) => error.kind.into(),
    };
    if let Some(bars) = &bars {
        bars.clear();
    }
    let (took, totals) = (began.elapsed(), progress.totals());
    if args.json {
        let verdict = match &result {
            Ok(PutEnd::Done(_)) => "complete",
            Ok(PutEnd::Stopped) => "interrupted",
            Err(_) => "failed",
        };
        let body = record_of(&location, &result, &totals, took);
        let error = result.as_ref().err().map(JsonError::from);
        output.line(&json::finished(&body, verdict, exit.code(), error));
    } else {
        match &result {
            Ok(PutEnd::Done(outcome)) => {
                for warning in &outcome.warnings {
                    output.message("warning", &flags::notice(warning));
                }
                if !args.quiet {
                    for note in &outcome.notes {
                        output.message("note", &flags::notice(note));
                    }
                    for line in summary(&location, outcome, took) {
                        output.line(&line);
                    }
                }
            }
            Ok(PutEnd::Stopped) => {
                output.message("error", "stopped: nothing was put; the existing file remains");
            }
            Err(error) => super::tell(&output, error),
        }
    }
    super::close(&output, exit, Purpose::Work)
}

/// Shows how much was read, and how fast, until the returned ticker is dropped.
fn show(bars: Arc<Bars>, location: &str, progress: &Arc<Progress>) -> Result<Ticker, Error> {
    let (location, progress) = (location.to_owned(), Arc::clone(progress));
    let mut estimate = Estimate::default();
    Ticker::start(ProgressStyle::Bars.interval(), move |at| {
        let totals = progress.totals();
        estimate.push(at, &Sample::of(&progress));
        let rate = estimate.rate(|totals| totals.bytes_moved);
        bars.show(bars::put_shown(&totals, rate, at, &location));
    })
}

fn summary(location: &str, outcome: &PutOutcome, took: Duration) -> [String; 4] {
    [
        format!("put {location}"),
        format!("  size    {}", size(outcome.size)),
        format!("  BLAKE3  {}", outcome.digest),
        format!("time {}, speed {}", duration(took), speed(throughput(outcome.size, took))),
    ]
}

fn texts(notices: &[Notice]) -> Vec<String> {
    notices.iter().map(flags::notice).collect()
}

/// What the last record tells of a put.
fn record_of<'a>(
    location: &'a str,
    result: &'a Result<PutEnd, Error>,
    totals: &'a Totals,
    took: Duration,
) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Streamed<'a> {
        source: &'static str,
        location: &'a str,
        run: Option<&'a str>,
        target: Option<&'a str>,
        #[serde(flatten)]
        key: Option<JsonKey>,
        size: Option<u64>,
        digest: Option<String>,
        etag: Option<String>,
        warnings: Vec<String>,
        notes: Vec<String>,
        requests_list: u64,
        requests_put: u64,
        requests_head: u64,
        requests_multipart: u64,
        requests_lock: u64,
        requests_retried: u64,
        duration_s: f64,
        throughput_bytes_per_s: f64,
    }
    let outcome = match result {
        Ok(PutEnd::Done(outcome)) => Some(outcome),
        _ => None,
    };
    let bytes = outcome.map_or(0, |outcome| outcome.size);
    Streamed {
        source: "-",
        location,
        run: outcome.map(|outcome| &*outcome.run.0),
        target: outcome.map(|outcome| &*outcome.target),
        key: outcome.map(|outcome| JsonKey::from(&outcome.key)),
        size: outcome.map(|outcome| outcome.size),
        digest: outcome.map(|outcome| outcome.digest.to_string()),
        etag: outcome.and_then(|outcome| Some(outcome.etag.as_ref()?.as_str().to_owned())),
        warnings: outcome.map_or_else(Vec::new, |outcome| texts(&outcome.warnings)),
        notes: outcome.map_or_else(Vec::new, |outcome| texts(&outcome.notes)),
        requests_list: totals.requests_list,
        requests_put: totals.requests_put,
        requests_head: totals.requests_head,
        requests_multipart: totals.requests_multipart,
        requests_lock: totals.requests_lock,
        requests_retried: totals.requests_retried,
        duration_s: took.as_secs_f64(),
        throughput_bytes_per_s: throughput(bytes, took).round(),
    }
}
