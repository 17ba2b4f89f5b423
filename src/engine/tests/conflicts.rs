//! A leaf where the other side has a directory of the same name.

use super::scene::{Scene, all};
use crate::backend::memory::{Call, When};
use crate::engine::batch::BATCH_FILES;
use crate::model::Key;
use crate::model::reserved::is_set_aside;
use rustix::io::Errno;

/// Returns a mirrored file that was moved into a directory of its own name.
fn moved_into_directory() -> Scene {
    let scene = Scene::of(&["f", "g"]);
    scene.run().complete();
    scene.source.remove("f");
    scene.source.write("f/f", "f");
    scene
}

fn set_aside(scene: &Scene) -> Vec<Key> {
    scene.target.snapshot().into_keys().filter(|key| is_set_aside(key.name())).collect()
}

#[test]
fn a_leaf_replaced_by_a_directory_is_removed_when_all_in_that_is_durable() {
    let scene = moved_into_directory();
    scene.target.on(Call::RemoveSetAside, When::Always, |target| {
        assert!(target.durable(&Key::new(&b"f/f"[..])).is_some(), "its copy is durable");
        Ok(())
    });
    scene.run().complete();
    let removed = scene.target.changes();
    assert!(removed.iter().any(|(call, _)| *call == Call::RemoveSetAside));
    assert_eq!(scene.recorded(), [".", "f/", "f/f", "g"]);
    scene.is_mirrored();
}

#[test]
fn a_leaf_stays_set_aside_until_everything_in_the_directory_was_copied() {
    let scene = moved_into_directory();
    scene.source.fail(Call::Read, When::Key("f/f"), Errno::IO);
    let ran = scene.run();
    assert_eq!(ran.totals.copies_failed, 1);
    assert_eq!(set_aside(&scene).len(), 1);
    scene.source.clear_script();
    scene.run().complete();
    assert_eq!(set_aside(&scene), []);
    scene.is_mirrored();
}

#[test]
fn a_leaf_replaces_a_directory_once_its_content_is_durable() {
    let mut scene = Scene::of(&["d/only", "e"]);
    scene.run().complete();
    scene.source.remove("d");
    scene.source.write("d", "d/only");
    let ran = scene.run();
    assert_eq!(ran.failures.len(), 1, "without --delete it stays: {ran:?}");
    assert_eq!(scene.target_keys(), [".", "d/", "d/only", "e"]);
    scene.delete = Some(all());
    scene.source.fail(Call::Read, When::Key("d"), Errno::IO);
    let ran = scene.run();
    assert_eq!(ran.totals.files_deleted, 0, "a failed copy keeps it: {ran:?}");
    assert_eq!(scene.target_keys(), [".", "d/", "d/only", "e"]);
    scene.source.clear_script();
    scene.target.clear_script();
    scene.run().complete();
    let changes = scene.target.changes();
    let at = |wanted: Call| changes.iter().position(|(call, _)| *call == wanted);
    let (finished, removed) = (at(Call::Finish).unwrap(), at(Call::Remove).unwrap());
    let between = &changes[finished..removed];
    assert!(between.iter().any(|(call, _)| *call == Call::Barrier), "{changes:?}");
    assert!(removed < at(Call::Publish).unwrap());
    scene.is_mirrored();
}

#[test]
fn a_leaf_replaces_an_empty_directory_at_once() {
    let scene = Scene::new();
    scene.source.write("d", "d");
    scene.target.directory("d");
    scene.run().complete();
    scene.is_mirrored();
}

#[test]
fn leaves_that_exceed_the_limit_wait_with_their_directories_for_the_next_run() {
    let mut scene = Scene::new();
    scene.delete = Some(all());
    let count = BATCH_FILES + 2;
    for number in 0..count {
        scene.source.write(&format!("{number:05}"), "x");
        scene.target.write(&format!("{number:05}/x"), "x");
    }
    let ran = scene.run();
    assert!(ran.fatal.is_none(), "{:?}", ran.fatal);
    assert_eq!(ran.totals.files_failed, 2);
    assert!(ran.failures[0].contains("the next run copies this one"), "{:?}", ran.failures);
    let entries = scene.target.snapshot();
    let directories = entries.keys().filter(|key| key.is_directory() && !key.is_root()).count();
    assert_eq!(directories, 2, "they are as they were");
    scene.run().complete();
    scene.is_mirrored();
}
