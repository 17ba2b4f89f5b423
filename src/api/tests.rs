use super::*;
use crate::model::{ErrorKind, Event, Stop, Verdict};
use crate::session::{DeleteOptions, MirrorOutcome};
use parking_lot::Mutex;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A directory with a source of two files, and places for a target and the state.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::create_dir(site.at("source")).unwrap();
        fs::write(site.at("source/a"), "first").unwrap();
        fs::write(site.at("source/b"), "second").unwrap();
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mirror(&self) -> MirrorBuilder {
        Mirror::builder(self.at("source"), self.at("target")).state_dir(self.at("records"))
    }

    fn verify(&self) -> VerifyBuilder {
        Verify::builder(self.at("target")).state_dir(self.at("records"))
    }

    /// Makes the next mirror incomplete: special files are not copied.
    fn add_fifo(&self) {
        let (mode, kind) = (rustix::fs::Mode::from_raw_mode(0o600), rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, self.at("source/fifo"), kind, mode, 0).unwrap();
    }
}

fn incomplete(run: Result<MirrorOutcome, RunError<MirrorOutcome>>) -> (String, MirrorOutcome) {
    let error = run.unwrap_err();
    let message = error.to_string();
    match error {
        RunError::Incomplete(outcome) => (message, *outcome),
        RunError::Stopped(error) => panic!("{}", error.sentence()),
    }
}

#[test]
fn a_mirror_can_be_run_repeatedly_and_verified() {
    let site = Site::new();
    let mirror = site.mirror().build().unwrap();
    assert_eq!(mirror.run().unwrap().totals.files_copied, 2);
    fs::write(site.at("source/c"), "third").unwrap();
    let again = mirror.run().unwrap();
    assert_eq!((again.totals.files_copied, again.totals.files_unchanged), (1, 2));
    assert_eq!(site.verify().run().unwrap().totals.verified, 3);
}

#[test]
fn a_mirror_in_which_an_entry_failed_is_an_error_with_its_outcome() {
    let site = Site::new();
    site.add_fifo();
    let (message, outcome) = incomplete(site.mirror().run());
    assert_eq!(message, "the run is incomplete: 1 of 4 entries failed");
    assert_eq!((outcome.verdict, outcome.totals.files_copied), (Verdict::Incomplete, 2));
}

#[test]
fn refused_deletions_are_an_error_that_says_why() {
    let site = Site::new();
    site.mirror().run().unwrap();
    fs::remove_file(site.at("source/a")).unwrap();
    fs::remove_file(site.at("source/b")).unwrap();
    let (message, outcome) = incomplete(site.mirror().delete(DeleteOptions::default()).run());
    assert!(message.starts_with("the run refused deletions: "), "{message}");
    assert_eq!(outcome.verdict, Verdict::Refused);
    assert!(site.at("target/a").exists());
}

#[test]
fn a_run_that_is_stopped_is_an_error() {
    let site = Site::new();
    let stop = Stop::default();
    stop.request();
    let (message, outcome) = incomplete(site.mirror().stop(stop).run());
    assert_eq!(message, "the run was stopped early");
    assert_eq!(outcome.verdict, Verdict::Interrupted);
}

#[test]
fn a_location_that_does_not_exist_stops_the_run_with_a_sentence() {
    let site = Site::new();
    let missing = site.at("missing");
    let run = Mirror::builder(&missing, site.at("target")).state_dir(site.at("records")).run();
    let error = run.unwrap_err();
    assert!(error.outcome().is_none());
    let path = missing.display();
    let message =
        format!("cannot open the source \"{path}\": no such file or directory (os error 2)");
    assert_eq!((error.to_string(), format!("{error:?}")), (message.clone(), message));
}

#[test]
fn illegal_options_are_refused_before_anything_is_done() {
    let site = Site::new();
    let kind = |builder: MirrorBuilder| builder.build().err().map(|error| error.kind);
    assert_eq!(kind(Mirror::builder("ftp://host/a", site.at("target"))), Some(ErrorKind::Usage));
    assert_eq!(kind(site.mirror().exclude("!a")), Some(ErrorKind::Usage));
    assert_eq!(kind(site.mirror().transfers(0)), Some(ErrorKind::Usage));
    assert_eq!(kind(site.mirror().checkers(0)), Some(ErrorKind::Usage));
    assert_eq!(kind(site.mirror()), None);
}

#[test]
fn callbacks_report_events_and_progress() {
    let site = Site::new();
    let copied = Arc::new(Mutex::new(Vec::new()));
    let ticks = Arc::new(AtomicU64::new(0));
    let (keys, counted) = (Arc::clone(&copied), Arc::clone(&ticks));
    site.mirror()
        .exclude("b")
        .on_event(move |event| {
            if let Event::Changed(outcome) = event {
                keys.lock().push(outcome.key.to_string());
                // Blocks until progress was reported once.
                while counted.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
            }
        })
        .on_progress(Duration::from_millis(1), move |_| {
            ticks.fetch_add(1, Ordering::Relaxed);
        })
        .run()
        .unwrap();
    assert_eq!(*copied.lock(), ["a"]);
}

#[test]
fn a_verification_that_finds_a_difference_reports_it_and_is_an_error() {
    let site = Site::new();
    site.mirror().run().unwrap();
    fs::remove_file(site.at("target/a")).unwrap();
    let missing = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&missing);
    let verified = site
        .verify()
        .on_event(move |event| {
            if let Event::Difference(finding) = event {
                found.lock().push(finding.to_string());
            }
        })
        .run();
    assert_eq!(
        verified.unwrap_err().to_string(),
        "the run found 1 differences from what was recorded"
    );
    assert_eq!(*missing.lock(), ["missing a"]);
}

#[test]
fn a_comparison_succeeds_whether_or_not_the_sides_are_equal() {
    let site = Site::new();
    site.mirror().run().unwrap();
    let diff = || Diff::builder(site.at("source"), site.at("target")).metadata(false);
    assert_eq!(diff().run().unwrap().totals.differences(), 0);
    fs::remove_file(site.at("target/a")).unwrap();
    let found = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&found);
    let listener = move |event: &Event| {
        if let Event::SideDifference(finding) = event {
            told.lock().push(finding.to_string());
        }
    };
    assert_eq!(diff().on_event(listener).run().unwrap().totals.differences(), 1);
    assert_eq!(*found.lock(), ["only in A a"]);
}
