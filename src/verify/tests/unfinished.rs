//! Only what may be the work of a run that was cut off is unknown.

use super::super::CutOff;
use super::scene::{TestOptions, mirrored, now, rot, verify};
use crate::backend::memory::{Call, When};
use rustix::io::Errno;

#[test]
fn changes_since_a_run_that_was_cut_off_are_unknown_and_earlier_ones_are_differences() {
    let scene = mirrored(&["a", "b", "c", "d/e", "f/g"]);
    rot(&scene.target, "a", "A");
    scene.target.remove("f/g");
    let since = now(&scene.target);
    rot(&scene.target, "b", "B");
    scene.target.write("c", "longer");
    scene.target.remove("d/e");
    scene.target.write("new", "new");
    let cut_off = Some(CutOff { since, deletes_since: Some(since) });
    let found = verify(&scene, &TestOptions { cut_off, ..TestOptions::default() });
    found.assert_line("corrupt a");
    found.assert_line("unknown b: other content");
    found.assert_line("missing f/g");
    found.assert_line("unknown d/e: missing");
    found.assert_line("unknown new: no run recorded it");
    assert!(found.lines.iter().any(|line| line.starts_with("unknown c: ")), "{found:?}");
    let totals = found.totals;
    assert_eq!((totals.corrupt, totals.missing, totals.extra), (1, 1, 0));
}

#[test]
fn a_run_without_deletions_can_have_removed_only_what_it_replaced() {
    let scene = mirrored(&["d/gone", "d/leaf", "d/x/f", "d/y"]);
    scene.target.remove("d/x/f");
    let since = now(&scene.target);
    let target = &scene.target;
    target.remove("d/gone");
    target.remove("d/leaf");
    target.directory("d/leaf");
    target.remove("d/x");
    target.write("d/x", "a leaf in the place of an empty directory");
    let found = |deletes_since| {
        let cut_off = Some(CutOff { since, deletes_since });
        verify(&scene, &TestOptions { cut_off, ..TestOptions::default() }).lines
    };
    let lines = found(None);
    let has = |lines: &[String], line: &str| lines.iter().any(|it| it == line);
    assert!(has(&lines, "missing d/gone"), "{lines:?}");
    assert!(has(&lines, "unknown d/leaf: missing"), "{lines:?}");
    assert!(has(&lines, "unknown d/x/: missing"), "{lines:?}");
    assert!(has(&lines, "missing d/x/f"), "it was removed before: {lines:?}");
    assert!(has(&found(Some(since)), "unknown d/gone: missing"));
}

#[test]
fn a_failure_to_look_up_what_replaced_a_missing_entry_is_reported() {
    let scene = mirrored(&["d/gone"]);
    let since = now(&scene.target);
    scene.target.remove("d/gone");
    scene.target.fail(Call::Look, When::Always, Errno::IO);
    let cut_off = Some(CutOff { since, deletes_since: None });
    let found = verify(&scene, &TestOptions { cut_off, ..TestOptions::default() });
    assert_eq!((found.totals.failed, found.totals.missing), (1, 1), "{found:?}");
}
