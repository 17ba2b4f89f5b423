//! Bugs that reviews found, one test each; the name states what holds since they were fixed.

use crate::common::environment::{NOBODY, text};
use crate::common::tree::set_mtime_of;
use crate::common::{Disk, Environment, Run, Snapshot, TestTree, assert_mirrored, tools};
use crate::mirror::mirrored;
use crate::needs;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, chown};
use std::process::Command;

const OLD: (i64, u32) = (978_307_200, 0);

/// Deletes what is extra, however much it is.
const DELETE: [&str; 3] = ["--delete", "--max-delete", "100%"];

#[test]
fn an_edit_within_the_second_of_the_copy_is_found_where_stamps_are_whole_seconds() {
    needs!(tools::mounts(), tools::strace(), tools::tool("mkfs.ext4"));
    let env = Environment::new();
    let image = env.root.join("image");
    // Inodes of 128 bytes have no room for nanoseconds.
    let made = tools::Mount::ext4_of(&image, &env.source, 16, &["-I", "128"]);
    let _mount = made.unwrap();
    let target = env.source.join("t");
    let source = env.source.join("s");
    fs::create_dir(&source).unwrap();
    let path = source.join("f");
    let arguments = ["mirror", text(&source), text(&target), "-q"];
    let second = || fs::metadata(&path).unwrap().mtime();
    // Where the second ended before the edit, it shows in any case: that is tried again.
    let is_within_a_second = (0..20).any(|_| {
        fs::write(&path, vec![0; 400_000]).unwrap();
        let written = second();
        let options = ["-P", text(&path), "-P", "f"];
        let reads = "read,pread64,copy_file_range:when=1";
        let run = env.strace_stopping(reads, &options, &arguments, |_| {
            fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"X", 0).unwrap();
        });
        let edited = second();
        run.expect_one_of(&[0, 1]);
        env.vidimus(&arguments).expect(0);
        assert_mirrored(&source, &target);
        written == edited
    });
    assert!(is_within_a_second, "no edit came within the second of the file's making");
}

#[test]
fn a_target_edited_between_publishing_and_recording_is_mended_by_the_next_run() {
    needs!(tools::strace());
    let disk = Disk::new();
    for stamped_back in [true, false] {
        let env = disk.environment();
        TestTree::new().file("f", "good1\n").mtime(OLD.0, OLD.1).write(&env.source);
        env.age();
        let (path, mut edits) = (env.target.join("f"), 0);
        // Of the syncs, the first that finds the file in its place comes behind the look at it.
        let run = env.strace_stopping("syncfs", &[], &env.mirror_arguments(&[]), |_| {
            if edits == 0 && path.exists() {
                fs::write(&path, "evil1\n").unwrap();
                if stamped_back {
                    set_mtime_of(&path, OLD.0, OLD.1);
                }
                edits += 1;
            }
        });
        assert_eq!(edits, 1, "no sync followed the publishing\n{}", run.told());
        run.expect_one_of(&[0, 1]);
        env.mirrored(&[]);
        assert_eq!(fs::read(env.target.join("f")).unwrap(), b"good1\n", "{stamped_back}");
        assert_mirrored(&env.source, &env.target);
    }
}

#[test]
fn what_size_only_passed_over_is_copied_by_the_next_plain_run() {
    let env = mirrored(&TestTree::new().file("f", "aaaa"));
    env.age();
    fs::write(env.source.join("f"), "bbbb").unwrap();
    env.age();
    env.mirrored(&["--size-only"]);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn ignore_existing_keeps_a_directory_where_a_file_would_go_and_a_file_where_a_directory_would() {
    let env = Environment::new();
    TestTree::new().file("a", "l").file("b/n", "n").file("c", "").file("d", "").write(&env.source);
    let kept = TestTree::new().file("a/x", "precious").file("b", "precious too");
    let kept = kept.file("c", "").file("d", "");
    kept.write(&env.target);
    env.mirror(&["--ignore-existing", "--delete"]).expect(1).names("b/");
    kept.assert_at(&env.target);
}

#[test]
fn update_keeps_a_newer_file_where_a_directory_would_go() {
    let env = Environment::new();
    TestTree::new().dir("a").mtime(OLD.0, OLD.1).write(&env.source);
    let kept = TestTree::new().file("a", "newer");
    kept.write(&env.target);
    env.mirror(&["--update"]).expect(1).names("a/");
    kept.assert_at(&env.target);
}

#[test]
fn a_file_that_a_size_limit_protects_is_kept_where_a_directory_would_go() {
    let env = Environment::new();
    TestTree::new().file("a/n", "n").file("b", "b").write(&env.source);
    TestTree::new().file("a", vec![7; 5000]).write(&env.target);
    let flags = [&DELETE[..], &["--max-size", "1KiB"]].concat();
    env.mirror(&flags).expect(1).names("a/");
    TestTree::new().file("a", vec![7; 5000]).file("b", "b").assert_at(&env.target);
}

#[test]
fn more_directories_than_a_process_may_open_files_are_mirrored() {
    let env = Environment::new();
    (0..1500).fold(TestTree::new(), |tree, n| tree.file(format!("d{n}/f"), "x")).write(&env.source);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 512 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_vidimus")]);
    command.args(env.mirror_arguments(&[]));
    Run::of(env.hermetic(command)).expect(0).finished().counts(&[("files_copied", 1500)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn sweeping_a_leftover_keeps_its_directorys_time() {
    let tree = TestTree::new().file("b/f", "1").dir("b").mtime(OLD.0, OLD.1);
    let env = mirrored(&tree);
    env.age();
    env.mirrored(&[]);
    TestTree::new()
        .file("b/.vidimus.0123456789abcdef", "")
        .dir("b")
        .mtime(OLD.0, OLD.1)
        .write(&env.target);
    env.age();
    env.mirrored(&[]);
    assert_eq!(Snapshot::read(&env.target).temporaries(), Vec::<String>::new());
    tree.assert_at(&env.target);
}

#[test]
fn deletions_beside_a_leftover_are_done_in_one_run() {
    let env = Environment::new();
    TestTree::new().file("k", "").write(&env.source);
    TestTree::new()
        .file("k", "")
        .file(".d/x", "")
        .file(".vidimus.0123456789abcdef", "")
        .write(&env.target);
    env.mirrored(&DELETE);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn what_is_in_a_directory_without_write_permission_is_changed_and_its_mode_restored() {
    needs!(tools::root(), tools::tool("setpriv"));
    let env = Environment::new();
    let give_away = || {
        for entry in walkdir::WalkDir::new(&env.source) {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    let tree = TestTree::new().file("ro/f", "").file("ro/g", "").dir("ro").mode(0o555);
    tree.write(&env.source);
    give_away();
    let arguments = env.mirror_arguments(&DELETE);
    env.as_nobody(&arguments).unwrap().expect(0);
    fs::write(env.source.join("ro/f"), "changed").unwrap();
    fs::remove_file(env.source.join("ro/g")).unwrap();
    env.as_nobody(&arguments).unwrap().expect(0);
    TestTree::new().file("ro/f", "changed").dir("ro").mode(0o555).assert_at(&env.target);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_target_verifies_after_a_run_that_excludes_more() {
    let env = mirrored(&TestTree::new().file("skip/x", "1").file("y", "2"));
    env.mirrored(&["--exclude", "skip/"]);
    env.verify(&[]).expect(0);
}

#[test]
fn a_directory_whose_file_a_size_limit_protects_is_no_failed_deletion() {
    let env = Environment::new();
    TestTree::new().file("a", "a").write(&env.source);
    let protected = TestTree::new().file("big/f", vec![0; 5000]);
    protected.clone().file("x", "").file("y", "").file("z", "").write(&env.target);
    let flags = [&DELETE[..], &["--max-size", "1KiB"]].concat();
    env.mirrored(&flags).counts(&[("files_deleted", 3)]);
    protected.file("a", "a").assert_at(&env.target);
}

#[test]
fn a_state_directory_within_the_target_survives_deletions() {
    let env = Environment::new();
    TestTree::new().file("a", "").write(&env.source);
    TestTree::new().file("x", "").file("y", "").write(&env.target);
    let flags = [&DELETE[..], &["--state-dir", "target/st"]].concat();
    env.mirrored(&flags).counts(&[("files_deleted", 2)]);
    env.mirrored(&flags).counts(&[("files_deleted", 0), ("files_unchanged", 1)]);
    env.verify(&["--state-dir", "target/st"]).expect(0);
    assert!(!env.target.join("x").exists());
}

#[test]
fn a_state_directory_that_is_the_target_or_the_source_is_refused() {
    for side in ["target", "source"] {
        let env = Environment::new();
        TestTree::new().file("a", "1").write(&env.source);
        TestTree::new().file("x", "2").file("y", "3").write(&env.target);
        let before = [&env.source, &env.target].map(|side| Snapshot::read(side));
        let flags = [&DELETE[..], &["--state-dir", side]].concat();
        env.mirror(&flags).expect(6);
        for (before, root) in before.iter().zip([&env.source, &env.target]) {
            let after = Snapshot::read(root);
            assert!(before.entries.keys().eq(after.entries.keys()), "--state-dir {side}");
        }
    }
}

#[test]
fn a_file_named_like_the_targets_own_directory_is_left_out() {
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    fs::write(env.source.join(".vidimus"), "mine").unwrap();
    env.mirror(&[]).expect(0);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"1");
    assert!(env.target.join(".vidimus").is_dir());
}

#[test]
fn verify_goes_by_the_later_of_two_runs_within_one_second() {
    let env = Environment::new();
    TestTree::new().file("a", "from source").write(&env.source);
    TestTree::new().file("a", "from outside").write(&env.outside);
    // Each is the later one once: no order of names decides.
    for source in ["source", "outside", "source"] {
        env.vidimus(&["mirror", source, "target"]).expect(0);
        env.verify(&[]).expect(0);
    }
}
