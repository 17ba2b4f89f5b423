//! What may be the work of a run that was cut off is unknown, and nothing else.

use super::super::CutOff;
use super::scene::{Asked, mirrored, now, rot, verify};
use crate::backend::memory::{Call, When};
use rustix::io::Errno;

#[test]
fn what_changed_since_a_run_that_was_cut_off_is_unknown_and_what_differed_before_is_not() {
    let scene = mirrored(&["a", "b", "c", "d/e", "f/g"]);
    rot(&scene.target, "a", "A");
    scene.target.remove("f/g");
    let since = now(&scene.target);
    rot(&scene.target, "b", "B");
    scene.target.write("c", "longer");
    scene.target.remove("d/e");
    scene.target.write("new", "new");
    let cut_off = Some(CutOff { since, deletes_since: Some(since) });
    let found = verify(&scene, &Asked { cut_off, ..Asked::default() });
    let told = |line: &str| assert!(found.lines.iter().any(|it| it == line), "{line}: {found:?}");
    told("corrupt a");
    told("unknown b: other content");
    told("missing f/g");
    told("unknown d/e: missing");
    told("unknown new: no run recorded it");
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
        verify(&scene, &Asked { cut_off, ..Asked::default() }).lines
    };
    let lines = found(None);
    let is_told = |lines: &[String], line: &str| lines.iter().any(|it| it == line);
    assert!(is_told(&lines, "missing d/gone"), "{lines:?}");
    assert!(is_told(&lines, "unknown d/leaf: missing"), "{lines:?}");
    assert!(is_told(&lines, "unknown d/x/: missing"), "{lines:?}");
    assert!(is_told(&lines, "missing d/x/f"), "it was gone before: {lines:?}");
    assert!(is_told(&found(Some(since)), "unknown d/gone: missing"));
}

#[test]
fn what_replaced_a_missing_entry_and_cannot_be_looked_at_is_a_failure() {
    let scene = mirrored(&["d/gone"]);
    let since = now(&scene.target);
    scene.target.remove("d/gone");
    scene.target.fail(Call::Look, When::Always, Errno::IO);
    let cut_off = Some(CutOff { since, deletes_since: None });
    let found = verify(&scene, &Asked { cut_off, ..Asked::default() });
    assert_eq!((found.totals.failed, found.totals.missing), (1, 1), "{found:?}");
}
