//! File systems that are mounted in the target, and places that share a directory by a mount.

use crate::common::{Environment, Snapshot, TestTree, assert_untouched, tools};
use crate::needs;
use std::fs;
use tools::Mount;

const DELETE: [&str; 3] = ["--delete", "--max-delete", "100%"];

#[test]
fn a_mount_point_that_only_the_target_has_is_named_and_not_emptied() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("kept", "kept").write(&env.source);
    env.mirrored(&[]);
    TestTree::new().file("extra/gone", "x").dir("extra/mounted").write(&env.target);
    let at = env.target.join("extra/mounted");
    let mount = Mount::tmpfs(&at, "size=1m").expect("mounting was tried before");
    TestTree::new().file("a", "precious").file("d/b", "too").write(&at);
    let before = Snapshot::read(&at);
    let dry = env.mirror(&[&DELETE[..], &["--dry-run"]].concat()).expect(1);
    dry.names("extra/mounted/").names("mounted there");
    env.mirror(&DELETE).expect(1).names("extra/mounted/").names("mounted there");
    assert_untouched(&before, &at);
    assert!(!env.target.join("extra/gone").exists());
    for key in ["extra/mounted", "extra/mounted/a"] {
        let explained = env.vidimus(&["explain", "--delete", "source", "target", key]).expect(0);
        explained.is_silent_about("would be deleted");
    }
    env.mirror(&[&DELETE[..], &["--exclude", "/extra/mounted"]].concat()).expect(0);
    assert_untouched(&before, &at);
    drop(mount);
    env.mirrored(&DELETE);
    assert!(!env.target.join("extra").exists());
}

#[test]
fn a_mount_point_that_the_source_has_as_a_directory_is_mirrored_into() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("d/a", "a").file("d/b", "b").write(&env.source);
    fs::create_dir_all(env.target.join("d")).unwrap();
    let _mount = Mount::tmpfs(&env.target.join("d"), "size=1m").expect("it was tried before");
    env.mirrored(&DELETE);
    fs::remove_file(env.source.join("d/b")).unwrap();
    env.mirrored(&DELETE).counts(&[("files_deleted", 1)]);
    assert!(!env.target.join("d/b").exists());
}

#[test]
fn a_place_mounted_deep_in_the_other_is_refused_before_anything_is_copied() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "a").dir("z/deep/there").dir("inner/d").write(&env.source);
    TestTree::new().dir("y/deep/there").dir("old").write(&env.target);
    let before = [&env.source, &env.target].map(|place| Snapshot::read(place));
    let there = env.source.join("z/deep/there");
    for (from, at, told) in [
        (&env.target, &there, ["the target lies in the source", "z/deep/there/"]),
        (
            &env.source,
            &env.target.join("y/deep/there"),
            ["the source lies in the target", "y/deep/there/"],
        ),
        (&env.target.join("old"), &there, ["old/", "are one directory"]),
        (&env.source.join("inner"), &env.target.join("old"), ["inner/", "are one directory"]),
    ] {
        let mount = Mount::bind(from, at).expect("mounting was tried before");
        for flags in [&[][..], &DELETE, &["--dry-run"]] {
            env.mirror(flags).expect(6).names(told[0]).names(told[1]).names("bind mount");
        }
        drop(mount);
        for (before, place) in before.iter().zip([&env.source, &env.target]) {
            assert_untouched(before, place);
        }
    }
}

#[test]
fn a_target_that_is_yet_to_be_made_in_a_mounted_directory_is_found_in_the_source() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "a").dir("inner").write(&env.source);
    let beside = env.root.join("beside");
    fs::create_dir(&beside).unwrap();
    let _mount = Mount::bind(&env.source.join("inner"), &beside).expect("it was tried before");
    let run = env.vidimus(&["mirror", "source", "beside/new"]);
    run.expect(6).names("the target lies in the source").names("inner/new/");
    assert!(!beside.join("new").exists());
}

#[test]
fn a_mount_that_the_filter_leaves_out_is_no_reason_to_refuse() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "a").dir("z/bound").write(&env.source);
    fs::create_dir(&env.target).unwrap();
    let _mount = Mount::bind(&env.target, &env.source.join("z/bound")).expect("it was tried");
    env.mirrored(&["--delete", "--exclude", "/z/bound"]);
    assert!(env.target.join("a").exists());
}
