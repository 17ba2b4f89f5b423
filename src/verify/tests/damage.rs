//! Differences from the record are reported once each, and failures aren't differences.

use super::super::Depth;
use super::scene::{TestOptions, mirrored, rot, verify};
use crate::backend::memory::{Call, When};
use crate::filter::{Filter, Rule};
use rustix::io::Errno;

const NONE: [&str; 0] = [];

#[test]
fn a_target_as_it_was_recorded_is_read_and_recorded_as_verified() {
    let scene = mirrored(&["a", "d/e/f"]);
    scene.source.link("l", "a");
    scene.run().complete();
    let found = verify(&scene, &TestOptions::default());
    assert_eq!(found.lines, NONE);
    assert_eq!((found.totals.entries, found.totals.verified, found.totals.unproven), (6, 2, 0));
    let verified = scene.rows().into_iter().filter(|row| row.verified_at.is_some());
    assert_eq!(verified.map(|row| row.key.to_string()).collect::<Vec<_>>(), ["a", "d/e/f"]);
}

#[test]
fn changed_content_is_corrupt_and_not_recorded_as_verified() {
    let scene = mirrored(&["bad", "good"]);
    rot(&scene.target, "bad", "BAD");
    let found = verify(&scene, &TestOptions::default());
    assert_eq!(found.lines, ["corrupt bad"]);
    assert_eq!((found.totals.corrupt, found.totals.verified), (1, 1));
    let rows = scene.rows();
    assert!(rows.iter().all(|row| row.verified_at.is_some() == (row.key.as_bytes() == b"good")));
}

#[test]
fn each_difference_is_reported_once_by_its_kind() {
    let scene = mirrored(&["a", "b", "c", "d/e/f", "g", "h", "i", "k"]);
    scene.source.link("l", "a");
    scene.run().complete();
    let target = &scene.target;
    target.write("a", "longer");
    target.remove("b");
    target.set("c", |metadata| metadata.mode = 0o604);
    target.remove("d");
    target.remove("g");
    target.directory("g");
    target.remove("h");
    target.link("h", "h");
    target.write("i", "I");
    target.set("k", |metadata| (metadata.uid, metadata.gid) = (7, 8));
    target.remove("l");
    target.link("l", "b");
    target.write("new/file", "new");
    let found = verify(&scene, &TestOptions::default());
    let kinds: Vec<_> = found.lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "corrupt a",
        "corrupt i",
        "extra g/",
        "extra new/",
        "extra new/file",
        "metadata .",
        "metadata a",
        "metadata c",
        "metadata h",
        "metadata i",
        "metadata k",
        "metadata l",
        "missing b",
        "missing d/",
        "missing d/e/",
        "missing d/e/f",
        "missing g",
    ];
    assert_eq!(kinds, expected);
    found.assert_line("corrupt a: size");
    found.assert_line("metadata c: mode 0600 -> 0604");
    found.assert_line("metadata h: file -> symbolic link");
    found.assert_line("metadata k: owner 0 -> 7, group 0 -> 8");
    let totals = found.totals;
    assert_eq!((totals.missing, totals.corrupt, totals.extra, totals.metadata), (5, 2, 3, 7));
    assert_eq!((totals.verified, totals.failed, totals.unknown), (2, 0, 0));
}

#[test]
fn comparing_stamps_finds_touched_files_and_reads_nothing() {
    let scene = mirrored(&["a", "b"]);
    rot(&scene.target, "a", "A");
    let asked = TestOptions { depth: Depth::Stamps, ..TestOptions::default() };
    let found = verify(&scene, &asked);
    assert_eq!(found.lines, ["touched a"]);
    assert_eq!((found.totals.touched, found.totals.verified, found.totals.unread), (1, 0, 2));
    scene.target.on(Call::Read, When::Always, |_| panic!("nothing is read"));
    verify(&scene, &asked);
}

#[test]
fn extra_entries_count_only_on_request_and_excluded_ones_are_none() {
    let scene = mirrored(&["a", "d/b"]);
    scene.target.write("d/extra", "x");
    scene.target.write("e/x.o", "x");
    scene.target.write("e/y", "x");
    let filter = Filter::new(&[Rule::Exclude("*.o".into())], None, None).unwrap();
    let asked = TestOptions { extras_count: false, filter, ..TestOptions::default() };
    let found = verify(&scene, &asked);
    // The extra entry changed the directory's time, which doesn't count either.
    assert_eq!(found.lines, ["extra d/extra, not counted", "extra e/y, not counted"]);
    assert_eq!((found.totals.extra, found.totals.metadata), (2, 0));
}

#[test]
fn a_file_that_cannot_be_read_is_a_failure_and_nothing_else() {
    let scene = mirrored(&["a", "b"]);
    scene.target.fail(Call::Read, When::Key("a"), Errno::IO);
    let found = verify(&scene, &TestOptions::default());
    assert_eq!(found.lines, ["failed a: Input/output error (os error 5)"]);
    assert_eq!((found.totals.failed, found.totals.verified, found.totals.corrupt), (1, 1, 0));
    assert!(scene.rows().iter().all(|row| row.key.as_bytes() != b"a" || row.verified_at.is_none()));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_a_failure() {
    let scene = mirrored(&["a"]);
    scene.target.on(Call::Read, When::Key("a"), |target| {
        target.write("a", "b");
        Ok(())
    });
    let found = verify(&scene, &TestOptions::default());
    assert_eq!(found.totals.failed + found.totals.corrupt, 1, "{found:?}");
    assert_eq!(found.totals.verified, 0);
}

#[test]
fn entries_that_could_not_be_listed_are_neither_missing_nor_extra() {
    let scene = mirrored(&["a", "d/e/f", "d/g", "h"]);
    scene.target.write("new/extra", "x");
    scene.target.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    let found = verify(&scene, &TestOptions { extras_count: false, ..TestOptions::default() });
    let expected = [
        "extra new/, not counted",
        "extra new/extra, not counted",
        "failed d/: Permission denied (os error 13)",
    ];
    assert_eq!(found.lines, expected);
    assert_eq!((found.totals.missing, found.totals.verified), (0, 2));
    // After a listing broke off, nothing is known.
    scene.target.clear_script();
    scene.target.fail(Call::ListEntry, When::Key("d/"), Errno::IO);
    let found = verify(&scene, &TestOptions { extras_count: false, ..TestOptions::default() });
    assert_eq!(found.lines, ["failed .: Input/output error (os error 5)"]);
    assert_eq!((found.totals.missing, found.totals.verified), (0, 1));
    // A directory whose contents are unknown is not extra.
    scene.target.clear_script();
    scene.target.fail(Call::List, When::Key("new/"), Errno::ACCESS);
    let found = verify(&scene, &TestOptions { extras_count: false, ..TestOptions::default() });
    assert_eq!(found.lines, ["failed new/: Permission denied (os error 13)"]);
}

#[test]
fn a_stopped_verification_reports_nothing_about_what_it_did_not_compare() {
    let scene = mirrored(&["a", "b"]);
    scene.target.remove("a");
    let asked = TestOptions::default();
    asked.stop.request();
    let found = verify(&scene, &asked);
    assert_eq!(found.lines, NONE);
    assert_eq!(found.totals.verified, 0);
}
