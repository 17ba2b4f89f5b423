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

/// Returns a mirrored source of which a directory was moved. Of its keys some begin with others.
fn moved_directory() -> Scene {
    let mut scene =
        Scene::of(&["keep", "old/a", "old/d/b", "old/d/c", "old/d/c2/x", "old/d/c3", "z"]);
    scene.source.link("old/l", "text");
    scene.run().complete();
    scene.source.directory("in");
    scene.source.rename("old/", "in/new/");
    scene.delete = Some(all());
    scene
}

#[test]
fn a_moved_directory_is_renamed_with_all_in_it_and_nothing_is_read() {
    let scene = moved_directory();
    scene.target.clear_script();
    let ran = scene.run().complete();
    assert_eq!((ran.totals.directories_renamed, ran.totals.files_renamed), (1, 0), "{ran:?}");
    assert_eq!((ran.totals.files_copied, ran.totals.files_deleted), (0, 0));
    assert_eq!((ran.totals.bytes_hashed, ran.totals.directories_deleted), (0, 0));
    assert!(ran.changes.contains(&"rename in/new/ (moved from old/)".to_owned()), "{ran:?}");
    assert_eq!((count(&scene, Call::Rename), count(&scene, Call::Remove)), (1, 0));
    let keys = [".", "in/", "in/new/", "in/new/a", "in/new/d/", "in/new/d/b", "in/new/d/c"];
    let more = ["in/new/d/c2/", "in/new/d/c2/x", "in/new/d/c3", "in/new/l", "keep", "z"];
    assert_eq!(scene.recorded(), [&keys[..], &more].concat());
    scene.is_mirrored();
    let again = scene.run().complete();
    assert_eq!((again.totals.bytes_hashed, again.changes.len()), (0, 0), "{again:?}");
}

#[test]
fn what_changed_in_a_moved_directory_is_mirrored() {
    let scene = moved_directory();
    scene.source.write("in/new/d/b", "changed");
    scene.source.write("in/new/d/more", "more");
    scene.source.remove("in/new/d/c");
    // Moved into it, out of it, and within it.
    scene.source.rename("z", "in/new/d/z");
    scene.source.rename("in/new/d/c3", "c3");
    scene.source.rename("in/new/d/c2/", "in/new/d/c9/");
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_renamed, ran.totals.files_copied), (2, 2), "{ran:?}");
    assert_eq!((ran.totals.directories_renamed, ran.totals.files_deleted), (2, 1));
    scene.is_mirrored();
    assert_eq!(scene.run().complete().changes, [""; 0]);
}

#[test]
fn a_moved_directory_is_made_anew_where_nothing_may_be_deleted_or_it_cannot_be_renamed() {
    let mut scene = moved_directory();
    scene.refuses = true;
    let ran = scene.run();
    assert!(ran.refusal.is_some(), "{ran:?}");
    assert_eq!((ran.totals.directories_renamed, ran.totals.files_copied), (0, 6));
    assert!(scene.target_keys().contains(&"old/d/b".to_owned()));
    let scene = moved_directory();
    scene.target.fail(Call::Rename, When::Nth(1), Errno::PERM);
    let ran = scene.run().complete();
    assert_eq!((ran.totals.directories_renamed, ran.totals.files_renamed), (0, 5), "{ran:?}");
    scene.is_mirrored();
    assert_eq!(scene.run().complete().changes, [""; 0]);
}

#[test]
fn a_renamed_directory_that_was_not_recorded_is_recorded_without_reading() {
    let mut scene = Scene::of(&["keep", "old/a", "old/d/b"]);
    scene.run().complete();
    scene.source.rename("old/", "new/");
    scene.target.rename("old/", "new/");
    scene.delete = Some(all());
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_copied, ran.totals.bytes_hashed), (0, 0), "{ran:?}");
    assert!(scene.rows().iter().all(|row| row.key.is_directory() || row.digest.is_some()));
    assert_eq!(scene.recorded(), [".", "keep", "new/", "new/a", "new/d/", "new/d/b"]);
    scene.is_mirrored();
}
