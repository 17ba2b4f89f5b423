//! `verify --repair-from`: what isn't as it was recorded, mended by the engine.

use crate::common::environment::text;
use crate::common::tree::{Closeness, assert_same, set_mtime_of};
use crate::common::{Environment, Run, Snapshot, TestTree, assert_mirrored};
use crate::mirror::{mirrored, sample};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;

fn repair(env: &Environment, flags: &[&str]) -> Run {
    env.verify(&[&["--repair-from", text(&env.source)], flags].concat())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
}

#[test]
fn what_is_missing_or_corrupt_is_mended_from_a_source_and_nothing_else_is_touched() {
    // So many that what changes isn't a quarter of the rows.
    let many = (0..40).map(|number| format!("many/{number}"));
    let env = mirrored(&many.fold(sample(), |tree, name| tree.file(name, "x")));
    let good = Snapshot::read(&env.target);
    let times = |path: &str| {
        let (seconds, nanos) = good.get(path).expect("it is there").mtime;
        set_mtime_of(&env.target.join(path), seconds, nanos);
    };
    // Rotten; rewritten; gone, with what its directory had for a time put back.
    TestTree::new()
        .file("README.md", "Hello, world\n")
        .mtime(1_600_000_000, 123_456_789)
        .write(&env.target);
    fs::write(env.target.join("bin/run"), "#!/bin/false\n").expect("write");
    fs::remove_file(env.target.join("data/deep/er/leaf")).expect("remove");
    for directory in ["", "data/deep/er"] {
        times(directory);
    }
    env.verify(&[]).expect(3);
    let arguments = ["--repair-from", text(&env.source)];
    let run = env.verify(&arguments).expect(0);
    run.names("mended README.md").names("mended bin/run").names("mended    3 entries");
    assert_mirrored(&env.source, &env.target);
    env.verify(&["--quick", "--strict"]).expect(0);
    // The new stamps are recorded, and published by the next run.
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0), ("metadata_updated", 0)]);
    let manifest = env.target.join(".vidimus/manifest");
    let segment = fs::read(manifest.join("00000002.ndjson.zst")).expect("read a segment");
    let lines = String::from_utf8(zstd::decode_all(&segment[..]).expect("zstd")).expect("UTF-8");
    assert!(lines.contains("er/leaf") && !lines.contains("data/nothing"), "{lines}");
}

#[test]
fn a_source_that_has_something_else_mends_nothing() {
    let env =
        mirrored(&TestTree::new().file("a", "1").file("b", "2").file("c", "3").file("d", "4"));
    for name in ["a", "b", "c", "d"] {
        fs::write(env.target.join(name), "X").expect("write");
    }
    let before = Snapshot::read(&env.target);
    fs::write(env.source.join("a"), "Y").expect("write");
    fs::write(env.source.join("b"), "longer").expect("write");
    fs::remove_file(env.source.join("c")).expect("remove");
    fs::remove_file(env.source.join("d")).expect("remove");
    fs::create_dir(env.source.join("d")).expect("make a directory");
    let run = env.verify(&["--repair-from", text(&env.source)]).expect(3);
    run.names("cannot repair \"a\": the source has another content: BLAKE3")
        .names("cannot repair \"b\": the source has another content than was recorded")
        .names("cannot repair \"c\": the source doesn't have it")
        .names("cannot repair \"d\"")
        .is_silent_about("mended");
    let after = Snapshot::read(&env.target);
    let what = |all: &Snapshot, name| all.get(name).map(|node| (node.mtime, node.mode));
    for name in ["", "a", "b", "c", "d"] {
        assert_eq!(what(&before, name), what(&after, name), "{name}");
    }
    for name in ["a", "b", "c", "d"] {
        assert_eq!(fs::read(env.target.join(name)).expect("read"), b"X", "{name}");
    }
    env.verify(&["--repair-from", "nowhere"]).expect(7).names("nowhere");
}

#[test]
fn mending_needs_the_target_alone() {
    let env = mirrored(&sample());
    let lock = fs::File::open(env.target.join(".vidimus/lock")).expect("open the lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).expect("lock");
    env.verify(&[]).expect(0);
    env.verify(&["--repair-from", text(&env.source)]).expect(5);
}

/// A tree with all that a row tells of.
fn recorded() -> TestTree {
    TestTree::new()
        .dir("d")
        .mode(0o750)
        .owner(7, 8)
        .mtime(1_500_000_000, 7)
        .file("d/a", "content of a")
        .file("d/e/deep", "deep")
        .owner(9, 10)
        .symlink("d/e/link", "deep")
        .dir("d/empty")
        .mode(0o1777)
        .dir("kept")
        .mode(0o700)
        .mtime(1_400_000_000, 5)
        .file("kept/chmod", "mode")
        .file("kept/chown", "owner")
        .file("kept/touched", "time")
        .file("kept/both", "rotten, and closed")
        .file("kept/was a file", "a file")
        .symlink("kept/was a link", "a file")
        .symlink("kept/link", "before")
        .owner(3, 4)
}

/// Breaks it in as many ways; how many differences that are.
fn break_it(target: &Path) -> u64 {
    let at = |name: &str| target.join(name);
    fs::remove_dir_all(at("d")).expect("remove");
    set_mode(&at("kept"), 0o755);
    set_mode(&at("kept/chmod"), 0o600);
    lchown(at("kept/chown"), Some(5), Some(6)).expect("chown");
    set_mtime_of(&at("kept/touched"), 1, 1);
    fs::write(at("kept/both"), "ROTTEN, AND CLOSED").expect("write");
    set_mode(&at("kept/both"), 0o400);
    for name in ["kept/was a file", "kept/was a link", "kept/link"] {
        fs::remove_file(at(name)).expect("remove");
    }
    symlink("elsewhere", at("kept/was a file")).expect("link");
    fs::write(at("kept/was a link"), "a file").expect("write");
    symlink("after", at("kept/link")).expect("link");
    // Five of `d/`, of `both` its content and its metadata, and one of each other.
    6 + 2 + 1 + 6
}

#[test]
fn directories_links_modes_owners_and_times_are_mended_too() {
    for flags in [&[][..], &["--delete"]] {
        let env = Environment::new();
        recorded().write(&env.source);
        env.age();
        env.mirrored(flags);
        let good = Snapshot::read(&env.target);
        // After a run that deleted, the root's time counts too.
        let broken = break_it(&env.target) + flags.len() as u64;
        env.verify(&["--json"]).expect(3).finished().counts(&[("differences", broken)]);
        let run = repair(&env, &["--json"]).expect(0);
        let mended = run.records().iter().filter(|record| record["event"] == "mended").count();
        run.finished().counts(&[("mended", mended as u64), ("differences", 0), ("failed", 0)]);
        assert_same(&good, &Snapshot::read(&env.target), Closeness::Mirror);
        env.verify(&["--strict"]).expect(0);
        // What was mended is recorded, and published by the next run.
        let copied = env.mirrored(&[]);
        copied.counts(&[("files_copied", 0), ("metadata_updated", 0), ("directories_created", 0)]);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn it_is_mended_by_the_published_manifest_where_there_is_no_record() {
    let env = mirrored(&recorded());
    let good = Snapshot::read(&env.target);
    break_it(&env.target);
    crate::manifest::lose_state(&env);
    repair(&env, &[]).expect(0);
    assert_same(&good, &Snapshot::read(&env.target), Closeness::Mirror);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn links_and_directories_are_mended_though_the_source_lacks_them() {
    let env = mirrored(&TestTree::new().dir("d").mode(0o750).symlink("d/l", "text").file("f", "1"));
    let good = Snapshot::read(&env.target);
    fs::remove_dir_all(env.target.join("d")).expect("remove");
    fs::remove_dir_all(env.source.join("d")).expect("remove");
    repair(&env, &[]).expect(0).names("mended d/\n").names("mended d/l\n");
    assert_same(&good, &Snapshot::read(&env.target), Closeness::Mirror);
}

#[test]
fn what_stands_in_the_way_is_named_and_stays() {
    let env = mirrored(&TestTree::new().file("f", "1").file("d/a", "2").file("g", "3"));
    fs::remove_file(env.target.join("f")).expect("remove");
    TestTree::new().file("f/new", "nobody recorded it").write(&env.target);
    fs::remove_dir_all(env.target.join("d")).expect("remove");
    fs::write(env.target.join("d"), "nobody recorded it either").expect("write");
    fs::remove_file(env.target.join("g")).expect("remove");
    let run = repair(&env, &[]).expect(3);
    run.names("cannot repair \"f\": a directory is in its place")
        .names("cannot repair \"d/\": a file is in its place")
        .names("cannot repair \"d/a\": its directory could not be made")
        .names("mended g");
    assert_eq!(fs::read(env.target.join("f/new")).expect("read"), b"nobody recorded it");
    assert_eq!(fs::read(env.target.join("d")).expect("read"), b"nobody recorded it either");
}

#[test]
fn what_has_no_digest_is_named() {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "1").mtime(1_000_000_000, 0);
    tree.write(&env.source);
    tree.write(&env.target);
    env.mirrored(&[]);
    fs::remove_file(env.target.join("a")).expect("remove");
    repair(&env, &[]).expect(3).names("cannot repair \"a\": no digest of its content is recorded");
}

/// ctime is all that tells of the other content: a mode that is mended must not vouch for it.
#[test]
fn metadata_that_is_mended_vouches_for_no_content_that_was_not_read() {
    let env = mirrored(&TestTree::new().file("a", "content").mtime(1_000_000_000, 0));
    fs::write(env.target.join("a"), "CONTENT").expect("write");
    set_mtime_of(&env.target.join("a"), 1_000_000_000, 0);
    set_mode(&env.target.join("a"), 0o600);
    repair(&env, &["--quick"]).expect(0).names("mended a");
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn what_the_target_can_t_be_given_is_named() {
    let env = Environment::new();
    TestTree::new().file("a", "1").owner(1, 1).file("b", "2").owner(1, 1).write(&env.source);
    env.mirrored(&[]);
    fs::remove_file(env.target.join("a")).expect("remove");
    for below in walkdir::WalkDir::new(&env.target) {
        lchown(below.expect("list the target").path(), Some(65_534), Some(65_534)).expect("chown");
    }
    let arguments = ["verify", "--repair-from", text(&env.source), text(&env.target)];
    let run = env.as_nobody(&arguments).expect("setpriv").expect(3);
    run.names("cannot repair \"a\": the target does not keep owner 1")
        .names("cannot repair \"b\": the target does not keep owner 1")
        .is_silent_about("mended");
    assert_eq!(fs::read(env.target.join("a")).expect("read"), b"1");
}

#[test]
fn a_file_whose_directory_is_neither_there_nor_recorded_is_named() {
    let env = Environment::new();
    TestTree::new().file("d/a", "1").write(&env.source);
    TestTree::new().file("d/a", "1").write(&env.target);
    let list = env.root.join("list");
    let digest = blake3::hash(b"1").to_hex();
    fs::write(&list, format!("{digest}  d/a\n")).expect("write");
    let import = ["manifest", "import", "--format", "b3sum", text(&env.target), text(&list)];
    env.vidimus(&import).expect(0);
    fs::remove_dir_all(env.target.join("d")).expect("remove");
    repair(&env, &[]).expect(3).names("cannot repair \"d/a\": its directory is missing too");
}
