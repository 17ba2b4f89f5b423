use super::*;
use crate::model::{Durability, ErrorKind, Event, Stop, Verdict};
use crate::session::{BagOptions, DeleteOptions, MirrorOutcome};
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

    /// Makes the next mirror incomplete: the name is reserved for temporaries.
    fn add_failure(&self) {
        fs::write(self.at("source/.vidimus.0123456789abcdef"), "").unwrap();
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
    site.add_failure();
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
    assert_eq!(kind(site.mirror().checksum(true).size_only(true)), Some(ErrorKind::Usage));
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

#[test]
fn a_repair_takes_content_from_a_source_and_can_be_run_again() {
    let site = Site::new();
    site.mirror().run().unwrap();
    let repair = site.verify().repair_from(site.at("source")).build().unwrap();
    for _ in 0..2 {
        fs::remove_file(site.at("target/a")).unwrap();
        let outcome = repair.run().unwrap();
        assert_eq!((outcome.totals.missing, outcome.totals.mended), (1, 1));
        assert_eq!(fs::read(site.at("target/a")).unwrap(), b"first");
    }
}

#[test]
fn a_repair_that_fails_is_an_error_and_says_which_entry() {
    let site = Site::new();
    site.mirror().run().unwrap();
    fs::remove_file(site.at("target/a")).unwrap();
    fs::write(site.at("source/a"), "other").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&told);
    let repaired = site
        .verify()
        .repair_from(site.at("source"))
        .on_event(move |event| {
            if let Event::NotMended { key, .. } = event {
                events.lock().push(key.to_string());
            }
        })
        .run();
    let message = "the run found 1 differences from what was recorded";
    assert_eq!(repaired.unwrap_err().to_string(), message);
    assert_eq!(*told.lock(), ["a"]);
}

#[test]
fn a_target_is_compared_with_its_source_without_a_record() {
    let site = Site::new();
    site.mirror().run().unwrap();
    let against = || {
        let builder = VerifyAgainst::builder(site.at("target"), site.at("source"));
        builder.state_dir(site.at("no records"))
    };
    assert_eq!(against().run().unwrap().totals.equal, 2);
    fs::write(site.at("target/a"), "other").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&told);
    let compared = against().on_event(move |event| events.lock().push(event.code())).run();
    // Its time is another, too.
    let message = "the run found 2 differences from the source";
    assert_eq!(compared.unwrap_err().to_string(), message);
    assert_eq!(*told.lock(), ["difference"; 2]);
    assert_eq!(against().exclude("a").run().unwrap().totals.equal, 1);
}

#[test]
fn what_an_incomplete_run_left_unknown_is_an_error_unless_it_is_accepted() {
    let site = Site::new();
    site.add_failure();
    incomplete(site.mirror().run());
    let message = "the run found that a mirror into the target was not completed";
    assert_eq!(site.verify().run().unwrap_err().to_string(), message);
    assert_eq!(site.verify().allow_incomplete(true).run().unwrap().unfinished.len(), 1);
    fs::remove_file(site.at("target/a")).unwrap();
    assert!(site.verify().allow_incomplete(true).run().is_err());
}

#[test]
fn a_bag_is_declared_only_if_it_is_whole() {
    let site = Site::new();
    let bag = || {
        let builder = Mirror::builder(site.at("source"), site.at("bag"));
        builder.bag(BagOptions::default()).state_dir(site.at("records"))
    };
    assert_eq!(bag().run().unwrap().totals.files_copied, 2);
    let declared = site.at("bag/bagit.txt");
    assert!(declared.exists() && site.at("bag/manifest-sha256.txt").exists());
    site.add_failure();
    incomplete(bag().run());
    assert!(!declared.exists());
    let refused = bag().durability(Durability::None).build().err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Usage);
    assert!(bag().update(true).build().is_err());
}
