//! The main path: copying, skipping by evidence, adopting, replacing.

use crate::common::environment::text;
use crate::common::tree::{Closeness, assert_same, set_mtime_of};
use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, assert_untouched, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// A small tree with one of everything that is copied.
pub(crate) fn sample() -> TestTree {
    TestTree::new()
        .file("README.md", "hello, world\n")
        .mtime(1_600_000_000, 123_456_789)
        .file("bin/run", "#!/bin/sh\n")
        .mode(0o755)
        .file("bin/private", "secret")
        .mode(0o600)
        .file("data/older than the epoch", "x")
        .mtime(-157_680_000, 999_999_999)
        .file("data/nothing", "")
        .file("data/deep/er/leaf", "leaf")
        .file("data/naïve – ünïcode", "ü")
        .dir("empty")
        .mode(0o750)
        .mtime(1_000_000_000, 1)
        .symlink("links/dangling", "nowhere")
        .symlink("links/loop", "loop")
        .symlink("links/outside", "/etc/hostname")
        .mtime(-5, 7)
        .symlink("links/directory", "../data")
        .dir("data")
        .mtime(1_234_567_890, 987_654_321)
}

/// Regular files only: what the counts are exact about.
fn plain() -> TestTree {
    TestTree::new()
        .file("a", "first")
        .mtime(1_500_000_000, 1)
        .file("b/c", "second")
        .mtime(1_500_000_001, 2)
        .file("b/d/e", "third")
        .mtime(1_500_000_002, 3)
}

/// An environment whose source is `tree`, old enough to be trusted, and mirrored once.
pub(crate) fn mirrored(tree: &TestTree) -> Environment {
    let env = Environment::new();
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]);
    env
}

#[test]
fn the_first_copy_equals_the_source() {
    let env = Environment::new();
    let tree = sample();
    tree.write(&env.source);
    let before = Snapshot::read(&env.source);
    env.mirrored(&[]).counts(&[
        ("files_copied", tree.files()),
        ("files_unchanged", 0),
        ("files_adopted", 0),
        ("files_failed", 0),
        ("bytes_copied", tree.bytes()),
        ("bytes_hashed", tree.bytes()),
    ]);
    assert_mirrored(&env.source, &env.target);
    tree.assert_at(&env.target);
    assert_untouched(&before, &env.source);
}

#[test]
fn the_final_record_holds_every_field_that_is_promised() {
    let env = Environment::new();
    plain().write(&env.source);
    let finished = env.mirrored(&[]);
    for count in [
        "files_copied",
        "files_unchanged",
        "files_adopted",
        "files_deleted",
        "files_failed",
        "metadata_updated",
        "bytes_copied",
        "bytes_hashed",
    ] {
        finished.count(count);
    }
    for figure in ["duration_s", "throughput_bytes_per_s", "error_rate"] {
        assert!(finished.record[figure].is_number(), "{figure} in {}", finished.record);
    }
    assert_eq!(finished.record["verdict"], "complete");
}

#[test]
fn owners_and_set_id_bits_are_kept_by_root() {
    needs!(tools::root());
    let tree = TestTree::new()
        .file("theirs", "x")
        .owner(1234, 5678)
        .file("setuid", "x")
        .owner(1234, 5678)
        .mode(0o6755)
        .dir("sticky")
        .owner(4321, 8765)
        .mode(0o1777)
        .symlink("link", "theirs")
        .owner(1234, 5678);
    let env = mirrored(&tree);
    tree.assert_at(&env.target);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_second_run_copies_nothing() {
    let env = Environment::new();
    let tree = sample();
    tree.write(&env.source);
    env.mirrored(&[]);
    env.mirrored(&[]).counts(&[
        ("files_copied", 0),
        ("files_unchanged", tree.files()),
        ("metadata_updated", 0),
        ("bytes_copied", 0),
    ]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_second_run_over_aged_stamps_reads_nothing_and_touches_nothing() {
    let tree = sample();
    let env = mirrored(&tree);
    let [source, target] = [&env.source, &env.target].map(|side| Snapshot::read(side));
    env.mirrored(&[]).counts(&[
        ("files_copied", 0),
        ("files_unchanged", tree.files()),
        ("bytes_hashed", 0),
    ]);
    assert_untouched(&source, &env.source);
    assert_untouched(&target, &env.target);
}

#[test]
fn a_rerun_opens_no_file_for_reading() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("a/needle-1", "x").file("needle-2", "y").write(&env.source);
    env.age();
    let opened = || {
        let options = ["-e", "trace=open,openat,openat2"];
        env.strace(&options, &env.mirror_arguments(&[])).expect(0);
        env.trace().lines().filter(|line| line.contains("needle")).count()
    };
    assert!(opened() >= 2, "the first run must open what it copies");
    assert_eq!(opened(), 0, "{}", env.trace());
}

#[test]
fn changed_content_is_copied_and_nothing_else() {
    let env = mirrored(&plain());
    fs::write(env.source.join("b/c"), "second, longer").unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_unchanged", 2), ("bytes_copied", 14)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_same_size_edit_that_keeps_mtime_is_caught() {
    let env = mirrored(&plain());
    TestTree::new().file("a", "FIRST").mtime(1_500_000_000, 1).write(&env.source);
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_unchanged", 2)]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"FIRST");
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_same_size_edit_right_after_a_run_is_caught() {
    // The stamp is as young as the run: git's racily clean case.
    for round in 0..10 {
        let env = Environment::new();
        TestTree::new().file("a", "first").mtime(7, 7).write(&env.source);
        env.mirrored(&[]);
        TestTree::new().file("a", "FIRST").mtime(7, 7).write(&env.source);
        env.mirrored(&[]);
        assert_eq!(fs::read(env.target.join("a")).unwrap(), b"FIRST", "round {round}");
    }
}

#[test]
fn a_touched_file_gets_a_metadata_update_and_no_copy() {
    let env = mirrored(&plain());
    set_mtime_of(&env.source.join("a"), 1_700_000_000, 5);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 1), ("bytes_copied", 0)]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("metadata_updated", 0), ("files_copied", 0)]);
}

#[test]
fn a_changed_mode_gets_a_metadata_update_and_no_copy() {
    let env = mirrored(&plain());
    fs::set_permissions(env.source.join("a"), fs::Permissions::from_mode(0o640)).unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 1)]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("metadata_updated", 0), ("files_copied", 0)]);
}

#[test]
fn a_changed_directory_mode_and_time_are_kept() {
    let env = mirrored(&plain());
    TestTree::new().dir("b").mode(0o711).mtime(42, 42).write(&env.source);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_unchanged", 3)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_directorys_time_survives_new_entries_below_it() {
    let env = mirrored(&plain());
    TestTree::new().file("b/new", "new").dir("b").mtime(42, 42).write(&env.source);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
    assert_eq!(Snapshot::read(&env.target).get("b").unwrap().mtime, (42, 42));
}

#[test]
fn the_roots_own_mode_and_time_are_kept() {
    let env = Environment::new();
    TestTree::new().mode(0o750).mtime(86_400, 12).file("a", "x").write(&env.source);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_directory_without_write_permission_is_filled_all_the_same() {
    let env = Environment::new();
    TestTree::new().file("locked/a", "x").dir("locked").mode(0o555).write(&env.source);
    let run = env.as_nobody(&env.mirror_arguments(&[]));
    needs!(run.as_ref().map(drop).map_err(Clone::clone));
    run.unwrap().expect(0);
    assert_eq!(fs::read(env.target.join("locked/a")).unwrap(), b"x");
    assert_eq!(Snapshot::read(&env.target).get("locked").unwrap().mode, 0o555);
}

#[test]
fn a_changed_symlink_is_replaced() {
    let env = mirrored(&TestTree::new().symlink("l", "one").file("a", "x"));
    TestTree::new().symlink("l", "two").write(&env.source);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

/// The types an entry named `x` can have here.
fn types() -> [(&'static str, TestTree); 5] {
    [
        ("file", TestTree::new().file("x", "content")),
        ("empty directory", TestTree::new().dir("x").mode(0o700)),
        ("full directory", TestTree::new().file("x/y/z", "inner").symlink("x/l", "y")),
        ("link to a file", TestTree::new().symlink("x", "/etc/hostname")),
        ("link to a directory", TestTree::new().symlink("x", "../outside")),
    ]
}

#[test]
fn every_type_becomes_every_other_with_delete() {
    for (from, old) in &types() {
        for (to, new) in &types() {
            let env = Environment::new();
            TestTree::new().file("z", "outside").write(&env.outside);
            let outside = Snapshot::read(&env.outside);
            for tree in [old, new] {
                fs::remove_dir_all(&env.source).unwrap();
                // `x-` and `x.` sort between the file `x` and the directory `x/`.
                tree.clone().file("x-", "1").file("x.", "2").file("keep", "k").write(&env.source);
                let flags = ["--delete", "--max-delete", "100%", "--accept-source"];
                let run = env.mirror(&flags);
                assert!(run.code() == 0, "{from} to {to}\n{}", run.told());
                let [expected, found] = [&env.source, &env.target].map(|side| Snapshot::read(side));
                let differences = expected.differences(&found, Closeness::Mirror);
                assert!(differences.is_empty(), "{from} to {to}: {differences:#?}");
            }
            assert_untouched(&outside, &env.outside);
            env.verify(&[]).expect(0);
        }
    }
}

#[test]
fn a_type_change_that_deletes_nothing_needs_no_delete() {
    for (from, old) in types().iter().filter(|(name, _)| *name != "full directory") {
        for (to, new) in &types() {
            let env = mirrored(&old.clone().file("keep", "k"));
            fs::remove_dir_all(&env.source).unwrap();
            new.clone().file("keep", "k").write(&env.source);
            let run = env.mirror(&[]);
            assert!(run.code() == 0, "{from} to {to}\n{}", run.told());
            let [expected, found] = [&env.source, &env.target].map(|side| Snapshot::read(side));
            let differences = expected.differences(&found, Closeness::Mirror);
            assert!(differences.is_empty(), "{from} to {to}: {differences:#?}");
        }
    }
}

#[test]
fn a_full_directory_gives_way_to_a_file_only_with_delete() {
    for new in [TestTree::new().file("x", "file"), TestTree::new().symlink("x", "z")] {
        let env = mirrored(&TestTree::new().file("x/y", "inner").file("z", "z").file("zz", "zz"));
        let inner = Snapshot::read(&env.target).without(|key| key == b"z" || key.is_empty());
        fs::remove_dir_all(env.source.join("x")).unwrap();
        new.file("z", "changed").write(&env.source);
        env.mirror(&[]).expect(1).names("\"x").finished().counts(&[("files_failed", 1)]);
        assert_eq!(fs::read(env.target.join("z")).unwrap(), b"changed");
        let found = Snapshot::read(&env.target);
        assert_eq!(inner.get("x/y"), found.get("x/y"));
        env.mirrored(&["--delete", "--max-delete", "100%"]);
        assert_mirrored(&env.source, &env.target);
    }
}

fn copied_by_cp(env: &Environment) {
    let (from, to) = (format!("{}/.", text(&env.source)), text(&env.target));
    fs::create_dir(to).unwrap();
    let done = Command::new("cp").args(["-a", &from, to]).status().unwrap();
    assert!(done.success());
    env.age();
}

#[test]
fn a_copy_made_by_cp_is_adopted_without_reading() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    let before = Snapshot::read(&env.target);
    env.mirrored(&[]).counts(&[
        ("files_adopted", 3),
        ("files_copied", 0),
        ("bytes_hashed", 0),
        ("bytes_copied", 0),
    ]);
    assert_mirrored(&env.source, &env.target);
    // The root gets the run's record, and a new ctime by it.
    let [before, after] = [before, Snapshot::read(&env.target)].map(|mut tree| {
        tree.entries.remove(&b""[..]);
        tree
    });
    assert_same(&before, &after, Closeness::Untouched);
    env.mirrored(&[]).counts(&[("files_adopted", 0), ("files_unchanged", 3), ("bytes_hashed", 0)]);
}

#[test]
fn an_adopted_copys_metadata_is_put_right() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    fs::set_permissions(env.target.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(env.target.join("b"), fs::Permissions::from_mode(0o700)).unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_older_copy_is_adopted_where_it_is_equal_and_copied_where_not() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    fs::write(env.source.join("a"), "changed").unwrap();
    env.mirrored(&[]).counts(&[("files_adopted", 2), ("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_mirror_whose_records_are_lost_is_adopted_again() {
    let env = mirrored(&plain());
    env.lose_records();
    env.age();
    env.mirrored(&[]).counts(&[("files_adopted", 3), ("files_copied", 0), ("bytes_hashed", 0)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_adopted_file_that_is_edited_with_its_mtime_kept_is_copied() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    env.mirrored(&[]);
    env.age();
    TestTree::new().file("a", "FIRST").mtime(1_500_000_000, 1).write(&env.source);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_adopted_file_that_drifts_in_the_target_is_put_right() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    env.mirrored(&[]);
    env.age();
    TestTree::new().file("a", "DRIFT").mtime(1_500_000_000, 1).write(&env.target);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn damaged_state_costs_time_and_no_data() {
    for damage in ["truncated", "overwritten"] {
        let env = mirrored(&plain());
        let mut damaged = 0;
        for entry in walkdir::WalkDir::new(&env.state) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() && entry.metadata().unwrap().len() > 0 {
                let length = entry.metadata().unwrap().len() as usize;
                let content = if damage == "truncated" {
                    fs::read(entry.path()).unwrap()[..length / 2].to_vec()
                } else {
                    b"not a database ".iter().copied().cycle().take(length).collect()
                };
                fs::write(entry.path(), content).unwrap();
                damaged += 1;
            }
        }
        assert!(damaged > 0, "there is state to damage");
        fs::write(env.source.join("a"), "changed").unwrap();
        env.mirrored(&[]);
        assert_mirrored(&env.source, &env.target);
        env.mirrored(&[]).counts(&[("files_copied", 0)]);
    }
}

#[test]
fn an_edited_target_file_is_copied_again() {
    let env = mirrored(&plain());
    fs::write(env.target.join("b/c"), "edited in the target").unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_unchanged", 2)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_target_file_edited_in_size_and_mtime_kept_is_copied_again() {
    let env = mirrored(&plain());
    TestTree::new().file("a", "FIRST").mtime(1_500_000_000, 1).write(&env.target);
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_unchanged", 2)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_target_file_that_was_only_touched_is_hashed_and_not_copied() {
    let env = mirrored(&plain());
    let path = env.target.join("a");
    let mode = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, mode).unwrap(); // a new ctime, nothing else
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_unchanged", 3), ("bytes_hashed", 5)]);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
}

#[test]
fn a_mode_changed_in_the_target_is_put_right() {
    let env = mirrored(&plain());
    fs::set_permissions(env.target.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(env.target.join("b"), fs::Permissions::from_mode(0o700)).unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn what_was_removed_from_the_target_comes_back() {
    let env = mirrored(&sample());
    fs::remove_file(env.target.join("README.md")).unwrap();
    fs::remove_dir_all(env.target.join("data")).unwrap();
    fs::remove_dir(env.target.join("empty")).unwrap();
    fs::remove_file(env.target.join("links/loop")).unwrap();
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_target_removed_whole_is_copied_again() {
    let env = mirrored(&plain());
    fs::remove_dir_all(&env.target).unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 3)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_new_inode_with_the_same_content_is_hashed_and_not_copied() {
    let env = mirrored(&plain());
    fs::write(env.source.join("a.new"), "first").unwrap();
    set_mtime_of(&env.source.join("a.new"), 1_500_000_000, 1);
    fs::rename(env.source.join("a.new"), env.source.join("a")).unwrap();
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 5)]);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
}

#[test]
fn ignore_inode_and_ctime_trust_size_and_mtime() {
    let env = mirrored(&plain());
    fs::write(env.source.join("a.new"), "first").unwrap();
    set_mtime_of(&env.source.join("a.new"), 1_500_000_000, 1);
    fs::rename(env.source.join("a.new"), env.source.join("a")).unwrap();
    env.age();
    env.mirrored(&["--ignore-inode", "--ignore-ctime"]).counts(&[
        ("files_copied", 0),
        ("files_unchanged", 3),
        ("bytes_hashed", 0),
    ]);
}

#[test]
fn ignore_ctime_hides_an_edit_that_checksum_finds() {
    let env = mirrored(&plain());
    TestTree::new().file("a", "FIRST").mtime(1_500_000_000, 1).write(&env.source);
    env.age();
    env.mirrored(&["--ignore-ctime"]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"first");
    env.mirrored(&["--ignore-ctime", "--checksum"]).counts(&[("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn checksum_hashes_an_unchanged_source_and_copies_nothing() {
    let env = mirrored(&plain());
    let finished = env.mirrored(&["--checksum"]);
    finished.counts(&[("files_copied", 0), ("files_unchanged", 3), ("bytes_copied", 0)]);
    assert!(finished.count("bytes_hashed") >= 16, "{}", finished.record);
}

#[test]
fn checksum_proves_a_copy_that_would_be_adopted() {
    let env = Environment::new();
    plain().write(&env.source);
    copied_by_cp(&env);
    TestTree::new().file("a", "WRONG").mtime(1_500_000_000, 1).write(&env.target);
    env.mirrored(&["-c"]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn size_only_copies_other_sizes_only() {
    let env = mirrored(&plain());
    fs::write(env.source.join("a"), "FIRST").unwrap();
    fs::write(env.source.join("b/c"), "longer than before").unwrap();
    env.mirrored(&["--size-only"]).counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"first");
    assert_eq!(fs::read(env.target.join("b/c")).unwrap(), b"longer than before");
}

#[test]
fn size_only_does_not_make_a_later_run_blind() {
    let env = mirrored(&plain());
    fs::write(env.source.join("a"), "FIRST").unwrap();
    env.age();
    env.mirrored(&["--size-only"]);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn update_leaves_newer_target_files_alone() {
    let env = mirrored(&plain());
    fs::write(env.target.join("a"), "newer in the target").unwrap();
    fs::write(env.source.join("b/c"), "newer in the source").unwrap();
    set_mtime_of(&env.target.join("a"), 1_900_000_000, 0);
    env.mirrored(&["--update"]).counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"newer in the target");
    assert_eq!(fs::read(env.target.join("b/c")).unwrap(), b"newer in the source");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn ignore_existing_copies_new_files_only() {
    let env = mirrored(&plain());
    fs::write(env.source.join("a"), "changed").unwrap();
    fs::write(env.source.join("new"), "new").unwrap();
    env.mirrored(&["--ignore-existing"]).counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"first");
    assert_eq!(fs::read(env.target.join("new")).unwrap(), b"new");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_single_file_goes_to_the_target_under_its_name() {
    let env = Environment::new();
    TestTree::new().file("one", "1").mode(0o640).mtime(7, 8).file("two", "2").write(&env.source);
    fs::create_dir(&env.target).unwrap();
    fs::write(env.target.join("other"), "stays").unwrap();
    let one = env.source.join("one");
    let arguments = ["mirror", "--json", text(&one), text(&env.target)];
    env.vidimus(&arguments).expect(0).finished().counts(&[("files_copied", 1)]);
    TestTree::new()
        .file("one", "1")
        .mode(0o640)
        .mtime(7, 8)
        .file("other", "stays")
        .assert_at(&env.target);
    env.age();
    env.vidimus(&arguments).expect(0).finished().counts(&[("files_copied", 0)]);
    fs::write(&one, "changed").unwrap();
    env.vidimus(&arguments).expect(0).finished().counts(&[("files_copied", 1)]);
    assert_eq!(fs::read(env.target.join("one")).unwrap(), b"changed");
}

#[test]
fn a_single_file_with_delete_is_wrong_usage() {
    let env = Environment::new();
    TestTree::new().file("one", "1").write(&env.source);
    fs::create_dir(&env.target).unwrap();
    fs::write(env.target.join("other"), "stays").unwrap();
    let one = env.source.join("one");
    env.vidimus(&["mirror", "--delete", text(&one), text(&env.target)]).expect(2);
    TestTree::new().file("other", "stays").assert_at(&env.target);
}

#[test]
fn several_sources_are_refused_with_help() {
    let env = Environment::new();
    fs::create_dir(env.root.join("second")).unwrap();
    env.vidimus(&["mirror", "source", "second", "target"]).expect(2).names("help: ");
    assert!(!env.target.exists());
}

#[test]
fn a_missing_source_exits_7_and_makes_no_target() {
    let env = Environment::new();
    let run = env.vidimus(&["mirror", "nowhere", "target"]).expect(7).names("nowhere");
    assert!(run.stdout.is_empty(), "{}", run.told());
    assert!(!env.target.exists());
}

#[test]
fn a_missing_source_with_delete_exits_7_and_deletes_nothing() {
    let env = mirrored(&plain());
    fs::rename(&env.source, env.root.join("away")).unwrap();
    let before = Snapshot::read(&env.target);
    env.mirror(&["--delete"]).expect(7);
    assert_untouched(&before, &env.target);
}

#[test]
fn a_missing_parent_of_the_target_exits_7() {
    let env = Environment::new();
    plain().write(&env.source);
    env.vidimus(&["mirror", "source", "no/target"]).expect(7).names("no");
    assert!(!env.root.join("no").exists());
}

#[test]
fn a_target_that_is_a_file_exits_7() {
    let env = Environment::new();
    plain().write(&env.source);
    fs::write(&env.target, "a file").unwrap();
    env.mirror(&["--delete"]).expect(7);
    assert_eq!(fs::read(&env.target).unwrap(), b"a file");
}

#[test]
fn a_trailing_slash_changes_nothing() {
    let env = Environment::new();
    plain().write(&env.source);
    env.vidimus(&["mirror", "source/", "target/"]).expect(0);
    assert_mirrored(&env.source, &env.target);
    let rerun = env.vidimus(&["mirror", "--json", "source", "target"]).expect(0);
    rerun.finished().counts(&[("files_copied", 0), ("files_unchanged", 3)]);
}

#[test]
fn an_empty_source_is_mirrored_without_delete() {
    let env = Environment::new();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_failed", 0)]);
    assert_mirrored(&env.source, &env.target);
}

/// Sources and targets that overlap, by every way to name one place twice.
#[test]
fn overlapping_places_are_refused_and_nothing_changes() {
    let env = Environment::new();
    TestTree::new().file("a", "x").file("inner/b", "y").write(&env.source);
    std::os::unix::fs::symlink("source", env.root.join("other-name")).unwrap();
    std::os::unix::fs::symlink("source/inner", env.root.join("other-inner")).unwrap();
    let before = Snapshot::read(&env.root).without(|key| key == b"state" || key == b"home");
    for (source, target) in [
        ("source", "source"),
        ("source", "./source/"),
        ("source/inner", "source"),
        ("source", "source/inner"),
        ("source", "source/new"),
        ("source", "other-name"),
        ("other-name", "source"),
        ("other-name", "source/inner"),
        ("source", "other-inner"),
        ("other-inner", "source"),
        (".", "source"),
    ] {
        for flags in [&[][..], &["--delete"], &["--dry-run"]] {
            let run = env.vidimus(&[&["mirror", source, target], flags].concat());
            assert!(run.code() == 6, "{source} to {target} {flags:?}\n{}", run.told());
        }
    }
    let after = Snapshot::read(&env.root).without(|key| key == b"state" || key == b"home");
    assert_same(&before, &after, Closeness::Untouched);
}

#[test]
fn one_place_by_a_bind_mount_is_refused() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "x").file("inner/b", "y").write(&env.source);
    fs::create_dir(&env.target).unwrap();
    let before = Snapshot::read(&env.source);
    let mount = tools::Mount::bind(&env.source, &env.target).unwrap();
    env.mirror(&["--delete"]).expect(6);
    env.vidimus(&["mirror", "source/inner", "target"]).expect(6);
    env.vidimus(&["mirror", "target", "source/inner"]).expect(6);
    drop(mount);
    assert_untouched(&before, &env.source);
}

#[test]
fn new_directories_of_any_form_are_whole() {
    let env = Environment::new();
    let mut tree = TestTree::new().file("one/a", "1").dir("none").symlink("links/l", "x");
    // More than are built under one temporary name: by count, and by bytes.
    for n in 0..1_100 {
        tree = tree.file(format!("many/f{n:04}"), format!("{n}"));
    }
    for n in 0..3 {
        tree = tree.file(format!("large/f{n}"), vec![n; 17 << 20]);
    }
    // A directory after some files, and before others.
    tree = tree
        .file("deep/a", "1")
        .file("deep/b", "2")
        .file("deep/c/d/e", "3")
        .file("deep/c/d/f", "4");
    tree = tree.file("deep/x", "5").symlink("deep/y", "x").file("deep/c-d", "6");
    tree.write(&env.source);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
    env.verify(&[]).expect(0);
}
