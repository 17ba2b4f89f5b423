//! Renames: a file that was moved in the source is renamed in the target.

use super::scene::{Scene, all};
use crate::backend::memory::{Call, When};
use rustix::io::Errno;

/// Returns a mirrored source in which a file was moved.
fn moved() -> Scene {
    let mut scene = Scene::of(&["keep", "old/f"]);
    scene.run().complete();
    scene.source.directory("new");
    scene.source.rename("old/f", "new/g");
    scene.delete = Some(all());
    scene
}

fn count(scene: &Scene, call: Call) -> usize {
    scene.target.changes().iter().filter(|(found, _)| *found == call).count()
}

#[test]
fn a_moved_file_is_renamed_and_its_content_read_once() {
    let scene = moved();
    scene.target.clear_script();
    let ran = scene.run().complete();
    assert_eq!(ran.totals.files_renamed, 1);
    assert_eq!((ran.totals.files_copied, ran.totals.files_deleted), (0, 0));
    assert_eq!(ran.totals.bytes_hashed, 5);
    assert!(ran.changes.contains(&"rename new/g (moved from old/f)".to_owned()), "{ran:?}");
    assert_eq!((count(&scene, Call::Rename), count(&scene, Call::Stage)), (1, 0));
    assert_eq!(scene.recorded(), [".", "keep", "new/", "new/g", "old/"]);
    scene.is_mirrored();
    let again = scene.run().complete();
    assert_eq!((again.totals.bytes_hashed, again.changes.len()), (0, 0), "{again:?}");
}

#[test]
fn a_moved_file_gets_other_metadata_of_the_source() {
    let scene = moved();
    scene.source.set("new/g", |metadata| metadata.mode = 0o640);
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (1, 0));
    scene.is_mirrored();
    assert_eq!(scene.run().complete().changes, [""; 0]);
}

#[test]
fn other_content_of_the_same_size_and_time_is_copied() {
    let scene = moved();
    let before = scene.source.entry("new/g").expect("the file exists").metadata.mtime;
    scene.source.write("new/g", "other");
    scene.source.set("new/g", |metadata| metadata.mtime = before);
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (0, 1));
    assert_eq!(ran.totals.files_deleted, 1);
    scene.is_mirrored();
}

#[test]
fn nothing_is_renamed_where_nothing_may_be_deleted() {
    let mut scene = moved();
    scene.refuses = true;
    let ran = scene.run();
    assert!(ran.refusal.is_some(), "{ran:?}");
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (0, 1));
    assert_eq!(scene.target_keys(), [".", "keep", "new/", "new/g", "old/", "old/f"]);
    let mut scene = moved();
    scene.delete = None;
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (0, 1));
    assert!(scene.target_keys().contains(&"old/f".to_owned()));
}

#[test]
fn what_appears_under_the_new_name_is_not_overwritten() {
    let scene = moved();
    scene.target.on(Call::Rename, When::Always, |target| {
        target.write("new/g", "someone else's");
        Ok(())
    });
    let ran = scene.run();
    assert_eq!((ran.totals.files_renamed, ran.failures.len()), (0, 1), "{ran:?}");
    assert!(scene.target_keys().contains(&"old/f".to_owned()), "nothing is deleted");
    let found = scene.target.snapshot();
    assert!(found.values().any(|entry| &*entry.content == b"someone else's"));
}

#[test]
fn what_took_the_old_name_is_not_renamed() {
    let scene = moved();
    scene.target.on(Call::Rename, When::Always, |target| {
        target.remove("old/f");
        target.write("old/f", "someone else's");
        Ok(())
    });
    let ran = scene.run();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (0, 1), "{ran:?}");
    assert!(scene.target_keys().contains(&"old/f".to_owned()), "it isn't deleted either");
}

#[test]
fn a_file_that_cannot_be_renamed_is_copied() {
    let scene = moved();
    scene.target.fail(Call::Rename, When::Always, Errno::PERM);
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (0, 1));
    assert_eq!(ran.totals.files_deleted, 1);
    scene.is_mirrored();
}

#[test]
fn a_rename_that_was_not_recorded_is_recorded_by_the_next_run() {
    // The old name comes before the new one, and after it.
    for (old, new) in [("a", "b"), ("b", "a")] {
        let mut scene = Scene::of(&["keep", old]);
        scene.run().complete();
        scene.source.rename(old, new);
        scene.target.rename(old, new);
        scene.delete = Some(all());
        let ran = scene.run().complete();
        assert_eq!((ran.totals.files_copied, ran.totals.files_adopted), (0, 0), "{ran:?}");
        let row = scene.rows().into_iter().find(|row| row.key.as_bytes() == new.as_bytes());
        assert!(row.is_some_and(|row| row.digest.is_some()), "its digest stays known");
        assert_eq!(scene.rows().len(), 3);
        assert_eq!(scene.run().complete().totals.bytes_hashed, 0);
    }
}
