//! `--backup-dir` in a bucket: the store copies what a run overwrites or deletes before it goes.

use crate::common::Run;
use crate::s3::{Fault, Kind, On};
use crate::scene::{OTHER, PLACE, Scene};
use std::fs;

const DELETE: [&str; 3] = ["--delete", "--max-delete", "100%"];

/// A mirror of some files, of which the source then has others.
fn changed() -> Scene {
    let files: [(&str, &[u8]); 4] =
        [("d/changed", b"old"), ("d/gone", b"gone"), ("gone/too", b"gone too"), ("same", b"same")];
    let scene = Scene::new().with_files(&files);
    std::os::unix::fs::symlink("old text", scene.env.source.join("link")).unwrap();
    scene.up(&[]).expect(0);
    change(&scene);
    scene
}

fn change(scene: &Scene) {
    fs::remove_file(scene.env.source.join("d/gone")).unwrap();
    fs::remove_dir_all(scene.env.source.join("gone")).unwrap();
    fs::remove_file(scene.env.source.join("link")).unwrap();
    std::os::unix::fs::symlink("new text, longer", scene.env.source.join("link")).unwrap();
    scene.write("d/changed", b"new content");
    scene.env.age();
}

fn up(scene: &Scene, backup: &str, more: &[&str]) -> Run {
    scene.up(&[&DELETE[..], &["--backup-dir", backup], more].concat())
}

/// The keys below a prefix without the run's id, which is the same of all.
fn kept(scene: &Scene, prefix: &str) -> Vec<String> {
    let keys = scene.bucket.keys();
    let keys: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix(prefix)).collect();
    let parts: Vec<_> = keys.iter().filter_map(|key| key.split_once('/')).collect();
    assert!(parts.iter().all(|(run, _)| *run == parts[0].0), "{keys:?}");
    parts.into_iter().map(|(_, key)| key.to_owned()).collect()
}

fn content(scene: &Scene, prefix: &str, key: &str) -> Vec<u8> {
    let keys = scene.bucket.keys();
    let found = keys.iter().find(|it| it.starts_with(prefix) && it.ends_with(&format!("/{key}")));
    scene.bucket.content(found.unwrap_or_else(|| panic!("no {key} in {keys:?}"))).to_vec()
}

#[test]
fn what_is_overwritten_or_deleted_is_kept_under_another_prefix() {
    for backup in ["/kept", "s3://bucket/kept/"] {
        let scene = changed();
        up(&scene, backup, &[]).expect(0).names("kept in");
        let names = ["d/changed", "d/gone", "gone/", "gone/too", "link"];
        assert_eq!(kept(&scene, "kept/"), names, "{backup}");
        assert_eq!(content(&scene, "kept/", "d/changed"), b"old");
        assert_eq!(content(&scene, "kept/", "link"), b"old text");
        let headers = |key: &str| scene.bucket.get(key).unwrap().metadata;
        let link = scene.bucket.keys().into_iter().find(|key| key.ends_with("/link")).unwrap();
        assert!(headers(&link).contains_key("vidimus-kind"), "{:?}", headers(&link));
        assert_eq!(scene.uploaded("d/changed").content, &b"new content"[..]);
        assert!(!scene.bucket.keys().iter().any(|key| key == "p/d/gone"));
        // Nothing more to keep.
        up(&scene, backup, &[]).expect(0).is_silent_about("kept in");
    }
}

#[test]
fn a_backup_prefix_in_the_target_takes_no_part_in_the_mirror() {
    let scene = changed();
    up(&scene, "old [x]", &[]).expect(0);
    let first = kept(&scene, "p/old [x]/");
    assert_eq!(first.len(), 5, "{first:?}");
    up(&scene, "old [x]", &["--delete-excluded"]).expect(0);
    assert_eq!(kept(&scene, "p/old [x]/"), first);
    Run::of(scene.command(&["verify", "--strict", PLACE])).expect(0);
}

#[test]
fn what_the_store_does_not_copy_is_neither_overwritten_nor_deleted() {
    let scene = changed();
    scene.server.fail(On::every(Kind::Copy), Fault::Error(501, "NotImplemented"));
    up(&scene, "/kept", &[]).expect(1).names("d/changed").names("link");
    assert_eq!(scene.uploaded("d/changed").content, &b"old"[..]);
    assert_eq!(scene.uploaded("d/gone").content, &b"gone"[..]);
    assert!(kept(&scene, "kept/").is_empty());
}

#[test]
fn what_a_copy_within_the_store_replaces_is_kept() {
    let scene = changed();
    scene.across(&[]).expect(0);
    scene.up(&DELETE).expect(0);
    let flags = [&DELETE[..], &["--backup-dir", "/kept"]].concat();
    scene.mirror(PLACE, OTHER, &flags).expect(0);
    let keys = scene.other.keys();
    let kept: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix("kept/")).collect();
    for key in ["d/changed", "d/gone", "gone/too"] {
        let found = kept.iter().any(|it| it.split_once('/').is_some_and(|(_, it)| it == key));
        assert!(found, "{key}: {kept:?}");
    }
    assert_eq!(scene.other.content("q/d/changed"), &b"new content"[..]);
}

#[test]
fn a_prefix_that_cannot_keep_anything_is_refused_before_the_run() {
    let scene = changed();
    up(&scene, "s3://other/kept", &[]).expect(2).names("not in the target's bucket");
    for backup in ["/p", "/", "s3://bucket/"] {
        up(&scene, backup, &[]).expect(2).names("no prefix of its own");
    }
    up(&scene, "a//b", &[]).expect(2).names("empty name");
    up(&scene, ".vidimus/kept", &[]).expect(2).names("a name that it can't have");
    let within = ["--backup-dir", "/p/kept"];
    scene.mirror(PLACE, "s3://bucket/r", &within).expect(6).names("in the source");
    assert_eq!(scene.uploaded("d/changed").content, &b"old"[..]);
}
