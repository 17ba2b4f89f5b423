//! Differences are repaired from the record, with content from the source.

use super::scene::{TestOptions, mirrored, repair, repair_as, rot, verify};
use crate::backend::memory::{Call, When};
use crate::model::Key;
use rustix::io::Errno;

const NONE: [&str; 0] = [];

fn content(tree: &crate::backend::memory::Memory, path: &str) -> Vec<u8> {
    tree.snapshot()[&Key::new(path.as_bytes())].content.to_vec()
}

#[test]
fn differences_are_repaired_and_nothing_else_is_touched() {
    let scene = mirrored(&["a", "b", "c", "d/e/f", "d/g", "h"]);
    scene.source.link("l", "a");
    scene.run().complete();
    rot(&scene.target, "a", "A");
    scene.target.remove("b");
    scene.target.set("c", |metadata| metadata.mode = 0o604);
    scene.target.remove("d");
    scene.target.remove("l");
    scene.target.link("l", "elsewhere");
    scene.target.clear_script();
    let found = repair(&scene);
    let mended: Vec<_> = found.lines.iter().filter(|line| line.starts_with("mended")).collect();
    let keys = [".", "a", "b", "c", "d/", "d/e/", "d/e/f", "d/g", "l"];
    assert_eq!(mended, keys.map(|key| format!("mended {key}")).iter().collect::<Vec<_>>());
    let totals = found.totals;
    let differences = totals.missing + totals.corrupt + totals.metadata + totals.touched;
    assert!(found.mended <= differences && totals.mended == 9, "{found:?}");
    assert_eq!(verify(&scene, &TestOptions::default()).lines, NONE);
    scene.is_mirrored();
}

#[test]
fn content_is_used_only_with_the_recorded_digest() {
    let scene = mirrored(&["changed", "gone", "unread"]);
    for path in ["changed", "gone", "unread"] {
        let rotten = path.to_uppercase();
        rot(&scene.target, path, &rotten);
    }
    scene.source.write("changed", "CHANGES");
    scene.source.remove("gone");
    scene.source.fail(Call::Read, When::Key("unread"), Errno::IO);
    let found = repair(&scene);
    assert_eq!((found.mended, found.totals.corrupt), (0, 3), "{found:?}");
    let not_mended = found.lines.iter().filter(|line| line.starts_with("not mended")).count();
    assert_eq!(not_mended, 3, "{found:?}");
    // The rotten files stay: they may be the only copies.
    assert_eq!(content(&scene.target, "changed"), b"CHANGED");
    assert_eq!(content(&scene.target, "gone"), b"GONE");
    assert_eq!(content(&scene.target, "unread"), b"UNREAD");
    assert!(scene.target_keys().iter().all(|key| !key.contains(".vidimus")));
}

#[test]
fn an_entry_without_a_recorded_digest_is_not_repaired() {
    let scene = mirrored(&["a"]);
    // An adopted file has none.
    scene.source.write("b", "b");
    scene.target.write("b", "b");
    let mtime = scene.source.entry("b").unwrap().metadata.mtime;
    scene.target.set("b", |metadata| metadata.mtime = mtime);
    scene.run().complete();
    scene.target.remove("b");
    let found = repair(&scene);
    let why = "no digest of its content is recorded";
    let is_reported = |line: &String| line.starts_with("not mended b: ") && line.contains(why);
    assert!(found.lines.iter().any(is_reported), "{found:?}");
    assert!(!scene.target_keys().contains(&"b".to_owned()));
}

#[test]
fn only_leaves_in_the_place_of_recorded_ones_are_removed() {
    let scene = mirrored(&["a", "d/e"]);
    scene.target.remove("a");
    scene.target.write("a/keep", "x");
    scene.target.remove("d");
    scene.target.write("d", "x");
    scene.target.write("extra", "x");
    let found = repair(&scene);
    found.assert_line("not mended a: a directory is in its place");
    found.assert_line("not mended d/: a file is in its place");
    found.assert_line("not mended d/e: its directory could not be made");
    assert_eq!(scene.target_keys(), [".", "a/", "a/keep", "d", "extra"]);
    let mended: Vec<_> = found.lines.iter().filter(|line| line.starts_with("mended")).collect();
    assert_eq!(mended, ["mended ."], "its time");
}

#[test]
fn a_repair_restores_the_time_of_the_directory() {
    let scene = mirrored(&["d/a", "d/b"]);
    let before = scene.target.entry("d/").unwrap().metadata;
    rot(&scene.target, "d/a", "d/A");
    let found = repair(&scene);
    assert_eq!((found.mended, found.totals.mended), (1, 1), "{found:?}");
    assert_eq!(scene.target.entry("d/").unwrap().metadata, before);
    scene.is_mirrored();
}

#[test]
fn a_time_that_does_not_count_is_set_only_if_something_in_the_directory_is_repaired() {
    let scene = mirrored(&["d/a", "e/b"]);
    let before = scene.target.entry("d/").unwrap().metadata;
    for path in ["d/extra", "e/extra"] {
        scene.target.write(path, "x");
    }
    rot(&scene.target, "d/a", "d/A");
    let changed = scene.target.entry("e/").unwrap();
    let found = repair_as(&scene, &TestOptions { extras_count: false, ..TestOptions::default() });
    assert_eq!((found.mended, found.totals.mended), (1, 1), "{found:?}");
    assert_eq!(scene.target.entry("d/").unwrap().metadata, before);
    assert_eq!(scene.target.entry("e/").unwrap(), changed, "it is left alone");
}

#[test]
fn repairs_are_recorded_and_other_rows_stay_as_they_were() {
    let scene = mirrored(&["a", "b"]);
    let before = scene.rows();
    rot(&scene.target, "a", "A");
    rot(&scene.target, "b", "B");
    scene.source.fail(Call::Read, When::Key("b"), Errno::IO);
    repair(&scene);
    for (row, before) in scene.rows().iter().zip(&before) {
        assert_eq!((&row.key, row.digest, row.source), (&before.key, before.digest, before.source));
        match row.key.as_bytes() {
            b"a" => assert_eq!(Some(row.target), scene.target.entry("a").map(|it| it.stamp)),
            b"b" => assert_eq!(row.target, before.target),
            _ => {}
        }
    }
}
