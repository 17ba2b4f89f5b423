//! Entries that change while a run goes on are never recorded as good.

use super::scene::Scene;
use crate::backend::memory::{Call, When};
use crate::model::{EntryKind, Key};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns the content of a file of the target.
fn content(scene: &Scene, path: &str) -> Vec<u8> {
    scene.target.snapshot()[&Key::new(path.as_bytes())].content.to_vec()
}

#[test]
fn a_source_that_changes_while_it_is_read_is_read_again() {
    let scene = Scene::of(&["a"]);
    scene.source.on(Call::Read, When::Nth(1), |source| {
        source.write("a", "b");
        Ok(())
    });
    scene.run().complete();
    assert_eq!(content(&scene, "a"), b"b");
    scene.is_mirrored();
}

#[test]
fn a_source_that_keeps_changing_fails_and_is_not_recorded() {
    for (content, same) in [(&b"x"[..], true), (b"longer", false)] {
        let scene = Scene::of(&["a", "b"]);
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        scene.source.on(Call::Read, When::Key("a"), move |source| {
            count.fetch_add(1, Ordering::Relaxed);
            source.write("a", content);
            if !same {
                source.write("a", "a");
                source.write("a", content);
            }
            Ok(())
        });
        let ran = scene.run();
        let changed = "cannot read source \"a\": changed while it was read (3 attempts)";
        assert_eq!(ran.failures, [changed]);
        assert_eq!(read.load(Ordering::Relaxed), 3);
        assert_eq!(scene.recorded(), [".", "b"]);
        assert_eq!(scene.target_keys(), [".", "b"]);
    }
}

#[test]
fn a_source_that_changes_after_it_was_read_is_copied_by_the_next_run() {
    for (call, keeps_mtime) in
        [(Call::Finish, false), (Call::Finish, true), (Call::Publish, false), (Call::Publish, true)]
    {
        let scene = Scene::of(&["a"]);
        let source = scene.source.clone();
        scene.target.on(call, When::Key("a"), move |_| {
            let before = source.entry("a").expect("the file exists").metadata.mtime;
            source.write("a", "b");
            if keeps_mtime {
                source.set("a", |metadata| metadata.mtime = before);
            }
            Ok(())
        });
        scene.run().complete();
        assert_eq!(content(&scene, "a"), b"a");
        scene.target.clear_script();
        scene.run().complete();
        assert_eq!(content(&scene, "a"), b"b");
        scene.is_mirrored();
    }
}

#[test]
fn a_source_that_vanishes_or_changes_its_kind_fails() {
    let scene = Scene::of(&["a", "b", "c"]);
    scene.source.on(Call::Read, When::Key("a"), |source| {
        source.remove("a");
        Ok(())
    });
    scene.source.on(Call::Read, When::Key("b"), |source| {
        source.remove("b");
        source.link("b", "elsewhere");
        Ok(())
    });
    let mut failures = scene.run().failures;
    failures.sort_unstable();
    let expected = [
        "cannot read source \"a\": vanished during the run",
        "cannot read source \"b\": changed while it was read (3 attempts)",
    ];
    assert_eq!(failures, expected);
    assert_eq!(scene.recorded(), [".", "c"]);
    let entries = scene.target.snapshot();
    assert!(entries.values().all(|found| found.kind != EntryKind::Symlink));
}

#[test]
fn a_source_that_cannot_be_read_leaves_nothing_behind() {
    let scene = Scene::of(&["a", "b"]);
    scene.source.fail(Call::Read, When::Key("a"), Errno::IO);
    let ran = scene.run();
    assert_eq!(ran.failures, ["cannot read source \"a\": Input/output error (os error 5)"]);
    assert_eq!(scene.target_keys(), [".", "b"]);
    assert_eq!(scene.recorded(), [".", "b"]);
}

#[test]
fn a_target_that_is_changed_right_after_its_publication_is_not_recorded() {
    let scene = Scene::of(&["a", "b"]);
    scene.target.on(Call::Look, When::Key("a"), |target| {
        target.remove("a");
        target.write("a", "someone else's");
        Ok(())
    });
    let ran = scene.run();
    let changed = "cannot put in place target \"a\": the target's entry changed during the run";
    assert_eq!(ran.failures, [changed]);
    assert_eq!(scene.recorded(), [".", "b"]);
}

#[test]
fn an_entry_that_appears_in_the_target_is_not_overwritten() {
    let scene = Scene::of(&["a"]);
    scene.target.on(Call::Publish, When::Key("a"), |target| {
        target.write("a", "someone else's");
        Ok(())
    });
    let ran = scene.run();
    assert_eq!(ran.failures.len(), 1);
    assert_eq!(content(&scene, "a"), b"someone else's");
    assert_eq!(scene.recorded(), ["."]);
    assert_eq!(scene.target_keys(), [".", "a"], "the staged file is removed");
}
