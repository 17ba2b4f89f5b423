//! Deletions: what they wait for, and what they spare.

use super::scene::{Scene, all};
use crate::backend::memory::{Call, When};
use crate::plan::DeleteOptions;
use rustix::io::Errno;

/// Returns a mirrored source in which a directory was renamed, so that its old name is extra.
fn renamed() -> Scene {
    let mut scene = Scene::of(&["keep", "old/f"]);
    scene.run().complete();
    scene.source.write("new/f", "old/f");
    scene.source.remove("old");
    scene.delete = Some(all());
    scene
}

#[test]
fn extra_entries_are_deleted_children_first_after_the_copies_are_durable() {
    let scene = renamed();
    scene.target.clear_script();
    let ran = scene.run().complete();
    assert_eq!((ran.totals.files_deleted, ran.totals.directories_deleted), (1, 1));
    let changes = scene.target.changes();
    let at = |call: Call| changes.iter().position(|(found, _)| *found == call);
    let removed: Vec<_> = changes.iter().filter(|(call, _)| *call == Call::Remove).collect();
    assert_eq!(
        removed.iter().map(|(_, key)| key.to_string()).collect::<Vec<_>>(),
        ["old/f", "old/"]
    );
    let published = at(Call::Publish).expect("the copy is put in place");
    let first = at(Call::Remove).expect("something is removed");
    let between = &changes[published..first];
    assert!(between.iter().any(|(call, _)| *call == Call::Barrier), "{changes:?}");
    assert_eq!(scene.recorded(), [".", "keep", "new/", "new/f"]);
    scene.is_mirrored();
}

#[test]
fn deletions_wait_while_a_copy_fails() {
    for call in [Call::Read, Call::ListEntry] {
        let scene = renamed();
        scene.source.fail(call, When::Key("new/f"), Errno::ACCESS);
        let ran = scene.run();
        assert!(ran.fatal.is_none(), "{ran:?}");
        assert!(!ran.failures.is_empty() || call == Call::ListEntry, "{ran:?}");
        assert!(scene.target_keys().contains(&"old/f".to_owned()), "{call:?}");
        assert_eq!(ran.totals.files_deleted, 0);
        scene.source.clear_script();
        scene.run().complete();
        scene.is_mirrored();
    }
}

#[test]
fn deletions_go_on_despite_errors_on_request() {
    let mut scene = renamed();
    scene.delete = Some(DeleteOptions { despite_errors: true, ..all() });
    scene.source.fail(Call::Read, When::Key("new/f"), Errno::ACCESS);
    let ran = scene.run();
    assert_eq!((ran.totals.files_failed, ran.totals.files_deleted), (1, 1));
    assert!(!scene.target_keys().contains(&"old/f".to_owned()));
}

#[test]
fn nothing_is_deleted_where_a_listing_failed() {
    let mut scene = Scene::of(&["d/f", "e", "f", "g"]);
    scene.run().complete();
    scene.source.remove("e");
    scene.delete = Some(DeleteOptions { despite_errors: true, ..all() });
    // A directory of the source can't be read: its contents are unknown.
    scene.source.fail(Call::List, When::Key("d/"), Errno::ACCESS);
    let ran = scene.run();
    assert_eq!(ran.totals.files_deleted, 1, "{ran:?}");
    assert_eq!(scene.target_keys(), [".", "d/", "d/f", "f", "g"]);
    assert_eq!(scene.recorded(), [".", "d/", "d/f", "f", "g"], "its rows stay too");
    // A listing breaks off: everything after is unknown, and what came before is doubtful.
    scene.source.clear_script();
    scene.source.remove("d");
    scene.source.fail(Call::ListEntry, When::Key("g"), Errno::IO);
    let ran = scene.run();
    assert!(ran.fatal.is_none(), "{ran:?}");
    assert_eq!((ran.totals.files_deleted, ran.totals.directories_deleted), (0, 0));
    assert_eq!(scene.target_keys(), [".", "d/", "d/f", "f", "g"]);
}

#[test]
fn a_refusal_of_the_guard_keeps_all_entries_and_the_copies() {
    let mut scene = renamed();
    scene.refuses = true;
    let ran = scene.run();
    assert!(ran.refusal.is_some() && ran.failures.is_empty());
    assert_eq!(scene.target_keys(), [".", "keep", "new/", "new/f", "old/", "old/f"]);
    scene.refuses = false;
    scene.run().complete();
    scene.is_mirrored();
}

#[test]
fn an_entry_that_changed_since_its_listing_is_not_deleted() {
    let scene = renamed();
    scene.target.on(Call::Remove, When::Key("old/f"), |target| {
        target.write("old/f", "someone else's");
        Ok(())
    });
    let ran = scene.run();
    let changed = "cannot delete target \"old/f\": the target's entry changed during the run";
    assert_eq!(ran.failures, [changed]);
    assert_eq!(ran.changes.iter().filter(|change| change.contains(" old/ ")).count(), 1);
    assert!(scene.target_keys().contains(&"old/f".to_owned()));
}

#[test]
fn excluded_entries_keep_their_directory() {
    let mut scene = renamed();
    scene.target.write("old/x.o", "built");
    scene.exclude = vec!["*.o".into()];
    scene.run().complete();
    assert_eq!(scene.target_keys(), [".", "keep", "new/", "new/f", "old/", "old/x.o"]);
}

#[test]
fn leftovers_of_a_killed_run_are_swept() {
    let scene = Scene::of(&["d/f"]);
    scene.target.write("d/.vidimus.0123456789abcdef", "half a file");
    scene.target.write(".vidimus.fedcba9876543210/f", "half a directory");
    let ran = scene.run().complete();
    assert_eq!(ran.totals.leftovers_swept, 2);
    scene.is_mirrored();
}
