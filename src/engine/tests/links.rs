//! Names of one file: what is recorded of them, and that they come back together.

use super::scene::{Scene, all};
use crate::manifest::{Origin, Row};
use crate::model::EntryKind;

/// A scene whose source has one file with these names.
fn of_names(names: &[&str]) -> Scene {
    let mut scene = Scene::of(&names[..1]);
    for name in &names[1..] {
        scene.source.hard_link(names[0], name);
    }
    scene.delete = Some(all());
    scene.keeps_all = true;
    scene
}

/// Returns the keys of files that are recorded without a digest.
fn unproven(scene: &Scene) -> Vec<String> {
    let is_unproven = |row: &Row| row.kind == EntryKind::File && row.digest.is_none();
    scene.rows().iter().filter(|row| is_unproven(row)).map(|row| row.key.to_string()).collect()
}

/// Makes names of the target files of their own, and records all names as they stand then.
fn split_off(scene: &Scene, names: &[&str]) {
    for name in names {
        let metadata = scene.target.entry(name).expect("the target has it").metadata;
        scene.target.remove(name);
        scene.target.write(name, "a");
        scene.target.set(name, |now| *now = metadata);
    }
    let mut writer = scene.state().writer().expect("write to the state");
    for row in scene.rows().into_iter().filter(|row| row.kind == EntryKind::File) {
        let found = scene.target.entry(&row.key.to_string()).expect("the target has it");
        writer.put(&Row { target: found.stamp, ..row }).expect("write the row");
    }
    writer.commit().expect("commit");
}

#[test]
fn names_are_recorded_though_those_they_were_linked_by_are_deleted() {
    let scene = of_names(&["old/a", "old/b"]);
    scene.run().complete();
    scene.source.rename("old/", "new/");
    scene.run().complete();
    assert_eq!(unproven(&scene), [""; 0]);
    assert_eq!(scene.recorded(), [".", "new/", "new/a", "new/b"]);
    scene.is_mirrored();
}

/// Somebody linked a name on both sides, or a run was killed after it did.
#[test]
fn a_name_without_a_record_costs_the_others_no_digest() {
    for is_damaged in [false, true] {
        let scene = of_names(&["z"]);
        scene.run().complete();
        if is_damaged {
            let metadata = scene.target.entry("z").expect("it was copied").metadata;
            scene.target.write("z", "Z");
            scene.target.set("z", |now| *now = metadata);
        }
        scene.source.hard_link("z", "a");
        scene.target.hard_link("z", "a");
        scene.run().complete();
        assert_eq!(unproven(&scene), [""; 0]);
        let is_proven = |row: &Row| row.kind != EntryKind::File || row.origin == Origin::Proven;
        assert!(scene.rows().iter().all(is_proven));
        scene.is_mirrored();
    }
}

/// Nothing of any name differs from what is recorded of it.
#[test]
fn names_that_are_different_files_in_the_target_come_together() {
    for names in [&["a"][..], &["b"], &["d"], &["a", "b"], &["b", "c"], &["a", "b", "c", "d"]] {
        let scene = of_names(&["a", "b", "c", "d"]);
        scene.run().complete();
        scene.run().complete();
        split_off(&scene, names);
        let ran = scene.run().complete();
        assert_eq!(ran.totals.files_copied, 0, "{names:?}");
        scene.is_mirrored();
    }
}
