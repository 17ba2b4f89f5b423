//! Long listings, which are split and begun behind keys: stores that begin elsewhere, or lose a key.

use crate::common::Run;
use crate::s3::{Kind, Object, StartAfter};
use crate::scene::{PREFIX, Scene};

/// Objects in eight directories, in pages of ten; they were there long before.
fn scene(start_after: StartAfter) -> Scene {
    let scene = Scene::new();
    scene.server.settings(|settings| {
        settings.page = 10;
        settings.start_after = start_after;
    });
    for key in keys() {
        let object = Object::new(key.clone().into_bytes()).with_modified(1_600_000_000);
        scene.bucket.put_object(&format!("{PREFIX}{key}"), object);
    }
    scene
}

fn keys() -> Vec<String> {
    let keys = "abcdefgh".chars().flat_map(|name| (0..25).map(move |n| format!("{name}/{n:02}")));
    keys.collect()
}

/// How many listings began behind a key.
fn begun_behind(scene: &Scene) -> usize {
    let has_start =
        |query: &[(String, String)]| query.iter().any(|(name, _)| name == "start-after");
    let folds = |query: &[(String, String)]| query.iter().any(|(name, _)| name == "delimiter");
    let requests = scene.server.requests(Kind::List);
    requests.iter().filter(|list| has_start(&list.query) && !folds(&list.query)).count()
}

#[track_caller]
fn expect_all(scene: &Scene, run: &Run) {
    for key in keys() {
        assert_eq!(scene.downloaded(&key), Some(key.clone().into_bytes()), "{}", run.told());
    }
}

/// `minio/minio#21463`: three of 12,000 keys were lost, and `--delete` then deleted them.
#[test]
fn keys_that_a_store_loses_behind_a_key_are_listed_and_that_is_told_once() {
    let scene = scene(StartAfter::BehindWithLoss);
    let delete = ["--delete", "--max-delete", "100%"];
    let told = "omits keys when a listing starts after a key";
    let dry = scene.down(&["--dry-run"]).expect(0).names(told);
    assert_eq!(dry.finished().count("files_planned"), 200);
    let run = scene.down(&delete).expect(0).names(told);
    assert!(begun_behind(&scene) > 0, "the listing was split");
    expect_all(&scene, &run);

    scene.server.forget();
    let run = scene.down(&delete).expect(0).is_silent_about(told);
    assert_eq!(begun_behind(&scene), 0, "it is known by now");
    assert_eq!(run.finished().count("files_deleted"), 0);
    expect_all(&scene, &run);
}

#[test]
fn wherever_a_store_begins_behind_a_key_all_is_listed_once() {
    for start_after in [StartAfter::Behind, StartAfter::At, StartAfter::Ignored] {
        let scene = scene(start_after);
        // What a cut may lie behind: the store lists it again.
        for name in ["b", "c", "d", "e", "f", "g", "h"] {
            let marker = Object::new("").with_modified(1_600_000_000);
            scene.bucket.put_object(&format!("{PREFIX}{name}/"), marker);
        }
        let run = scene.down(&["--delete"]).expect(0).is_silent_about("leaves out keys");
        assert!(begun_behind(&scene) > 0, "{start_after:?}: the listing was split");
        expect_all(&scene, &run);
        let run = scene.down(&["--delete"]).expect(0);
        let finished = run.finished();
        assert_eq!(finished.count("files_deleted"), 0, "{start_after:?}");
        assert_eq!(finished.count("files_copied"), 0, "{start_after:?}");
    }
}

#[test]
fn a_target_that_loses_keys_is_listed_whole_too() {
    let scene = scene(StartAfter::BehindWithLoss);
    scene.across(&[]).expect(0);
    let run = scene.across(&["--delete", "--max-delete", "100%"]).expect(0);
    let finished = run.finished();
    assert_eq!((finished.count("files_copied"), finished.count("files_deleted")), (0, 0));
    let mirrored = |key: &&String| !key.contains(".vidimus");
    assert_eq!(scene.other.keys().iter().filter(mirrored).count(), 200, "{}", run.told());
}

#[test]
fn a_split_costs_a_few_pages_more() {
    let scene = scene(StartAfter::Behind);
    scene.down(&[]).expect(0);
    // 20 pages of keys and the end of each range, one of names, and two or three a join.
    let lists = scene.server.count(Kind::List);
    assert!((20..50).contains(&lists), "{lists} requests");
}
