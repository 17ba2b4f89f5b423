//! Recorded means durable: the order of barrier, publication and record.

use super::scene::Scene;
use crate::backend::memory::{Call, MemoryOptions, Survivors, When};
use crate::model::{Cause, Key};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns a scene with single files, a new directory that is built completely, and a link.
fn scene() -> Scene {
    scene_into(MemoryOptions::default())
}

fn scene_into(options: MemoryOptions) -> Scene {
    let scene = Scene::into_target(options);
    for path in ["a", "b", "new/1", "new/2", "new/deep/x"] {
        scene.source.write(path, path);
    }
    scene.source.link("l", "a");
    scene
}

#[test]
fn content_is_durable_before_it_gets_its_name() {
    for builds_directories in [true, false] {
        let scene = scene_into(MemoryOptions { builds_directories, ..MemoryOptions::default() });
        scene.run().complete();
        let changes = scene.target.changes();
        let is_at = |wanted: Call, key: &Key| {
            changes.iter().position(|(call, found)| *call == wanted && found == key)
        };
        for name in ["a", "b", "new/1", "new/2", "new/deep/x"] {
            let key = Key::new(name.as_bytes());
            let finished = is_at(Call::Finish, &key).expect("the file is written");
            let published = is_at(Call::Publish, &key).expect("the file is put in place");
            // An entry of a directory that is built completely gets its name with the directory.
            let directory = is_at(Call::PublishDirectory, &Key::new(key.parent()));
            let named = directory.unwrap_or(published);
            let between = &changes[finished..named];
            assert!(
                between.iter().any(|(call, _)| *call == Call::Barrier),
                "{name}: no barrier in {between:?}"
            );
        }
    }
}

#[test]
fn every_row_would_survive_a_power_cut_at_any_moment() {
    let scene = scene();
    let (reader, most) = (scene.reader(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    scene.target.on_change(When::Always, move |target| {
        let rows = reader();
        seen.fetch_max(rows.len(), Ordering::Relaxed);
        for row in rows {
            let durable = target.durable(&row.key).map(|entry| entry.stamp);
            assert_eq!(durable, Some(row.target), "{} is recorded", row.key);
        }
        Ok(())
    });
    scene.run().complete();
    assert!(most.load(Ordering::Relaxed) > 0, "rows are written while the run goes on");
    for row in scene.rows() {
        let durable = scene.target.durable(&row.key).map(|entry| entry.stamp);
        assert_eq!(durable, Some(row.target), "{} is recorded", row.key);
    }
    assert_eq!(scene.recorded().len(), scene.source.snapshot().len());
}

#[test]
fn a_failed_barrier_ends_the_run_and_nothing_after_it_is_recorded() {
    for nth in [1, 2] {
        let scene = scene();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        scene.target.on(Call::Barrier, When::Always, move |_| {
            let is_it = count.fetch_add(1, Ordering::Relaxed) + 1 == nth;
            if is_it { Err(Cause::from(Errno::IO)) } else { Ok(()) }
        });
        let ran = scene.run();
        let fatal = ran.fatal.expect("the run ends").to_string();
        assert_eq!(fatal, "cannot make the target durable");
        assert_eq!(asked.load(Ordering::Relaxed), nth, "a failed sync is not repeated");
        // A link is made at once, so the first barrier covers it.
        let recorded = scene.recorded();
        assert!(recorded.iter().all(|key| key == "l" && nth == 2), "barrier {nth}: {recorded:?}");
        let keys = scene.target_keys();
        assert!(!keys.iter().any(|key| key.contains(".vidimus")), "{keys:?}");
        let is_in_place = keys.iter().any(|key| key == "a");
        assert_eq!(is_in_place, nth == 2, "nothing is put in place after it: {keys:?}");
        scene.target.clear_script();
        scene.run().complete();
        scene.is_mirrored();
    }
}

#[test]
fn without_barriers_everything_is_in_place_and_recorded() {
    let scene = scene_into(MemoryOptions { needs_barrier: false, ..MemoryOptions::default() });
    scene.run().complete();
    assert!(scene.target.changes().iter().all(|(call, _)| *call != Call::Barrier));
    scene.is_mirrored();
}

/// Cuts the power at each change of a run in turn, and mirrors again.
fn after_each_power_cut(prepare: impl Fn() -> Scene, survivors: Survivors) {
    for nth in 1.. {
        let scene = prepare();
        scene.target.clear_script();
        scene.target.on_change(When::Nth(nth), |target| {
            target.cut_power();
            Ok(())
        });
        let ran = scene.run();
        let was_cut = ran.fatal.is_some();
        scene.target.clear_script();
        scene.target.restore_power(survivors);
        let again = scene.run();
        assert!(again.fatal.is_none(), "change {nth}: {again:?}");
        assert_eq!(again.failures, [""; 0], "change {nth}");
        scene.is_mirrored();
        if !was_cut && ran.failures.is_empty() {
            assert!(nth > 10, "a run makes more than {nth} changes");
            return;
        }
    }
}

#[test]
fn a_power_cut_at_any_change_of_a_first_run_loses_nothing() {
    for survivors in [Survivors::None, Survivors::Names] {
        after_each_power_cut(scene, survivors);
    }
}

#[test]
fn a_power_cut_at_any_change_of_a_later_run_loses_nothing() {
    let changed = || {
        let mut scene = scene();
        scene.target.write("extra/x", "x");
        scene.run().complete();
        scene.target.sync();
        scene.delete = Some(super::scene::all());
        scene.source.write("a", "another");
        scene.source.remove("b");
        scene.source.write("b/in", "in the place of a file");
        scene.source.remove("new/deep");
        scene.source.write("new/deep", "in the place of a directory");
        scene.source.set("new/1", |metadata| metadata.mode = 0o640);
        scene
    };
    for survivors in [Survivors::None, Survivors::Names] {
        after_each_power_cut(changed, survivors);
    }
}

#[test]
fn a_full_target_stops_the_run_and_keeps_what_was_done() {
    let scene = Scene::of(&["a", "b", "c"]);
    scene.target.fail(Call::Write, When::Key("b"), Errno::NOSPC);
    let ran = scene.run();
    let fatal = ran.fatal.expect("the run ends").to_string();
    assert_eq!(fatal, "the target can't be written any more");
    assert_eq!(scene.target_keys(), [".", "a"]);
    assert_eq!(scene.recorded(), ["a"]);
    scene.target.clear_script();
    scene.run().complete();
    scene.is_mirrored();
}

#[test]
fn rows_of_a_renamed_directory_wait_until_its_name_is_durable() {
    for nth in 1..12 {
        let mut scene = Scene::of(&["keep", "old/a", "old/b"]);
        scene.run().complete();
        scene.target.sync();
        scene.source.rename("old/", "new/");
        scene.delete = Some(super::scene::all());
        scene.target.clear_script();
        scene.target.on_change(When::Nth(nth), |target| {
            target.cut_power();
            Ok(())
        });
        scene.run();
        scene.target.clear_script();
        scene.target.restore_power(Survivors::None);
        for row in scene.rows() {
            let key = &row.key;
            let is_old = key.is_within(b"old/") || *key == Key::new(*b"old/");
            assert!(is_old || scene.target.durable(key).is_some(), "change {nth}: {key}");
        }
        scene.run();
        scene.run().complete();
        scene.is_mirrored();
    }
}
