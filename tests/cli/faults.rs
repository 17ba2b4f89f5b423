//! Faults: full disks, errors of system calls, special files, names, sources that change.

use crate::common::environment::text;
use crate::common::tree::FAILING;
use crate::common::{Disk, Environment, Run, Snapshot, TestTree, assert_mirrored, beside, tools};
use crate::mirror::mirrored;
use crate::needs;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Each file of the target is the source's, whole, or not there; no temporary is.
#[track_caller]
fn assert_whole(env: &Environment) {
    let [source, target] = [&env.source, &env.target].map(|side| Snapshot::read(side));
    assert!(target.temporaries().is_empty(), "left over: {:?}", target.temporaries());
    for (key, found) in &target.entries {
        let expected = source.get(key).unwrap_or_else(|| panic!("{}", key.escape_ascii()));
        assert_eq!(expected.kind, found.kind, "{}", key.escape_ascii());
    }
}

/// The target on a tmpfs with these options.
fn small_target(env: &Environment, options: &str) -> tools::Mount {
    fs::create_dir_all(&env.target).unwrap();
    tools::Mount::tmpfs(&env.target, options).expect("mounting was tried before")
}

#[test]
fn a_full_target_stops_the_run_and_leaves_whole_files() {
    needs!(tools::mounts());
    let env = Environment::new();
    let tree = (0..40).fold(TestTree::new(), |tree, n| {
        tree.file(format!("d{}/f{n:02}", n % 4), vec![n as u8; 60_000 + n])
    });
    tree.write(&env.source);
    let mount = small_target(&env, "size=1m");
    env.mirror(&[]).expect(7).names("os error 28");
    assert_whole(&env);
    let run = env.vidimus(&["mirror", "source", "target"]).expect(7);
    let told = run.stdout + &run.stderr;
    assert_eq!(told.matches("no space left").count(), 1, "{told}");
    drop(mount);
    let _mount = small_target(&env, "size=8m");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_put_into_a_full_directory_is_told_with_a_way_out() {
    needs!(tools::mounts());
    let env = Environment::new();
    let large = env.root.join("large");
    fs::write(&large, vec![7; 3 << 20]).unwrap();
    let _mount = small_target(&env, "size=1m");
    let mut command = env.command(&["put", "-", "target/large"]);
    command.stdin(fs::File::open(&large).unwrap());
    Run::of(command).expect(7).names("no space left").names("help: make room");
}

#[test]
fn one_file_too_large_for_the_target_stops_the_run() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("large", vec![7; 3 << 20]).file("small", "x").write(&env.source);
    let _mount = small_target(&env, "size=1m");
    env.mirror(&["--durability", "file"]).expect(7).names("large");
    assert_whole(&env);
}

#[test]
fn a_full_target_keeps_the_old_version_of_a_file() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", vec![1; 600_000]).write(&env.source);
    let _mount = small_target(&env, "size=1m");
    env.mirrored(&[]);
    TestTree::new().file("a", vec![2; 700_000]).write(&env.source);
    env.mirror(&[]).expect(7);
    assert!(fs::read(env.target.join("a")).unwrap() == vec![1; 600_000], "the old whole");
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

#[test]
fn a_target_without_inodes_stops_the_run_and_leaves_whole_files() {
    needs!(tools::mounts());
    let env = Environment::new();
    let tree = (0..60).fold(TestTree::new(), |tree, n| tree.file(format!("f{n}"), "x"));
    tree.dir("zz/empty").symlink("zz/link", "x").write(&env.source);
    let _mount = small_target(&env, "size=4m,nr_inodes=30");
    env.mirror(&[]).expect(7).names("os error 28");
    assert_whole(&env);
}

#[test]
fn a_read_only_target_exits_7() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    let mount = small_target(&env, "size=1m");
    env.mirrored(&[]);
    TestTree::new().file("a", "changed").file("d/b", "2").write(&env.source);
    mount.read_only(true);
    env.mirror(&[]).expect(7).names("os error 30");
    mount.read_only(false);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"1");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

/// strace options that make `calls` on exactly this path fail.
fn failing<'a>(path: &'a str, calls: &'a str) -> [&'a str; 4] {
    ["-P", path, "-e", calls]
}

#[test]
fn a_source_file_that_cannot_be_read_is_named_and_the_others_are_copied() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("a", "1").file("bad", "2").file("d/c", "3").write(&env.source);
    let bad = env.source.join("bad");
    let calls = "inject=read,pread64,preadv,preadv2,readv,copy_file_range,sendfile,mmap:error=EIO";
    let run = env.strace(&failing(text(&bad), calls), &env.mirror_arguments(&[]));
    run.expect(1)
        .names("\"bad\"")
        .names("os error 5")
        .finished()
        .counts(&[("files_failed", 1), ("files_copied", 2)]);
    assert!(!env.target.join("bad").exists());
    assert_whole(&env);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_source_directory_that_cannot_be_listed_is_named_and_blocks_its_deletions() {
    needs!(tools::strace());
    let tree = TestTree::new().file("bad/a", "1").file("good/b", "2").file("good/c", "3");
    let env = mirrored(&tree.file("good/d", "4").file("e", "5").file("f", "6"));
    fs::remove_file(env.source.join("bad/a")).unwrap();
    fs::remove_file(env.source.join("good/b")).unwrap();
    fs::write(env.source.join("good/c"), "changed").unwrap();
    let bad = env.source.join("bad");
    let arguments = env.mirror_arguments(&["--delete"]);
    let run = env.strace(&failing(text(&bad), "inject=getdents64:error=EIO"), &arguments);
    run.expect(1).names("\"bad").finished().counts(&[
        ("files_copied", 1),
        ("files_deleted", 0),
        ("file_deletions_waiting", 1),
    ]);
    // What can't be listed may hold what the target has elsewhere, under the name that it had.
    assert!(env.target.join("good/b").exists());
    let despite = env.mirror_arguments(&["--delete", "--delete-despite-errors"]);
    let run = env.strace(&failing(text(&bad), "inject=getdents64:error=EIO"), &despite);
    run.expect(1).finished().counts(&[("files_deleted", 1), ("file_deletions_waiting", 0)]);
    assert!(env.target.join("bad/a").exists(), "nothing is deleted there in any case");
    assert!(!env.target.join("good/b").exists());
    env.mirrored(&["--delete"]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_source_root_that_cannot_be_listed_is_never_an_empty_source() {
    needs!(tools::strace());
    let env = mirrored(&TestTree::new().file("a", "1").file("b/c", "2"));
    let before = Snapshot::read(&env.target);
    let arguments = env.mirror_arguments(&["--delete", "--max-delete", "100%"]);
    let failing = failing(text(&env.source), "inject=getdents64:error=EIO");
    env.strace(&failing, &arguments).expect_one_of(&[1, 6, 7]);
    assert_eq!(
        before.entries.keys().collect::<Vec<_>>(),
        Snapshot::read(&env.target).entries.keys().collect::<Vec<_>>()
    );
}

#[test]
fn a_target_directory_that_cannot_be_listed_is_never_taken_as_empty() {
    needs!(tools::strace());
    let env = mirrored(&TestTree::new().file("bad/a", "1").file("b", "2"));
    let before = Snapshot::read(&env.target).get("bad/a").cloned();
    fs::write(env.source.join("b"), "changed").unwrap();
    let bad = env.target.join("bad");
    let failing = failing(text(&bad), "inject=getdents64:error=EIO");
    env.strace(&failing, &env.mirror_arguments(&["--delete"])).expect(1).names("\"bad");
    assert_eq!(before, Snapshot::read(&env.target).get("bad/a").cloned(), "not copied again");
    assert_eq!(fs::read(env.target.join("b")).unwrap(), b"changed");
}

#[test]
fn a_write_error_stops_the_run_and_removes_the_temporary() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("a", vec![1; 300_000]).file("b", "2").write(&env.source);
    // The state is made first, so that the error meets the copying.
    env.mirrored(&["--exclude", "*"]);
    let calls = "write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile";
    let arguments = ["mirror", text(&env.source), text(&env.target), "-q"];
    // The state's own writes come first: where they fail, the run ends with 4.
    let is_met = (1..100).any(|n| {
        let inject = format!("inject={calls}:error=EIO:when={n}+");
        let run = env.strace(&["-e", &inject], &arguments).expect_one_of(&[4, 7]);
        assert!(env.trace().contains("(INJECTED)"));
        assert_whole(&env);
        run.code() == 7
    });
    assert!(is_met, "no write of content failed");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    env.verify(&[]).expect(0);
}

#[test]
fn a_failed_sync_is_not_recorded_as_done() {
    needs!(tools::strace());
    let disk = Disk::new();
    for (durability, calls, when) in [
        ("batch", "syncfs,fsync,fdatasync", 1),
        ("file", "fsync,fdatasync", 1),
        ("file", "fsync,fdatasync", 2),
        ("batch", "syncfs", 1),
    ] {
        let env = disk.environment();
        TestTree::new().file("a", "1").file("d/b", "2").write(&env.source);
        env.age();
        let inject = format!("inject={calls}:error=EIO:when={when}+");
        let arguments = env.mirror_arguments(&["--durability", durability, "--transfers", "1"]);
        let run = env.strace(&["-e", &inject], &arguments);
        let met = env.trace().contains("(INJECTED)");
        if calls == "syncfs" && !met {
            let missing = "the disk has no syncfs that tells the truth";
            tools::skipped(module_path!(), line!(), missing);
            continue;
        }
        assert!(met, "{durability}: the run never syncs\n{}", run.told());
        // The state's own files are synced by fsync as well: 4 where that comes first.
        let expected = [7, if calls == "syncfs" { 7 } else { 4 }];
        assert!(expected.contains(&run.code()), "{durability} {calls} {when}\n{}", run.told());
        // Where the state could not be begun, there is no trace of the run.
        if env.target.exists() {
            assert_whole(&env);
        }
        // What isn't recorded is looked at again: copied, or adopted where it came into place.
        let next = env.mirrored(&[]);
        assert_eq!(next.count("files_unchanged"), 0, "{durability} {calls} {when} {}", next.record);
        assert_mirrored(&env.source, &env.target);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn a_directory_whose_sync_is_not_supported_is_no_failure() {
    needs!(tools::strace());
    let disk = Disk::new();
    let env = disk.environment();
    TestTree::new().file("d/a", "1").file("d/b", "2").write(&env.source);
    let directory = env.target.join("d");
    let calls = "inject=fsync,fdatasync:error=EINVAL";
    let arguments = env.mirror_arguments(&["--durability", "file"]);
    env.strace(&failing(text(&directory), calls), &arguments).expect(0);
    assert!(env.trace().contains("(INJECTED)"), "nothing was injected");
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_special_file_in_the_target_gives_way() {
    let env = mirrored(&TestTree::new().file("a", "1").file("b", "2"));
    fs::remove_file(env.target.join("a")).unwrap();
    TestTree::new().fifo("a").write(&env.target);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_fifo_as_source_or_target_does_not_hang() {
    let env = Environment::new();
    TestTree::new().fifo("pipe").file("s/a", "1").write(&env.root.join("x"));
    env.vidimus(&["mirror", "x/pipe", "target"]).expect_one_of(&[1, 2, 7]);
    env.vidimus(&["mirror", "x/s", "x/pipe"]).expect(7);
}

/// Mirrors a source file that changes, as `change` says, behind each of these reads of it; the calls as
/// strace takes them.
fn changed_behind_reads(
    env: &Environment,
    reads: &str,
    mut change: impl FnMut(&Path, u32) + Send,
) -> Run {
    let path = env.source.join("needle");
    let calls = format!("read,pread64,copy_file_range:{reads}");
    env.strace_stopping(&calls, &["-P", text(&path)], &env.mirror_arguments(&[]), |stops| {
        change(&path, stops);
    })
}

#[test]
fn a_source_that_changes_once_while_it_is_read_is_read_again() {
    needs!(tools::strace());
    for (what, new) in [
        ("same size", "B".repeat(200_000)),
        ("grown", "B".repeat(300_000)),
        ("shrunk", "B".repeat(9)),
    ] {
        let env = Environment::new();
        TestTree::new().file("needle", "A".repeat(200_000)).file("other", "o").write(&env.source);
        let change = |path: &Path, _| fs::write(path, &new).unwrap();
        let run = changed_behind_reads(&env, "when=1", change);
        assert!(run.code() == 0, "{what}\n{}", run.told());
        run.finished().counts(&[("files_copied", 2), ("files_failed", 0)]);
        assert_mirrored(&env.source, &env.target);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn a_source_that_never_rests_is_named_and_not_recorded() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("needle", "A".repeat(200_000)).file("other", "o").write(&env.source);
    let change = |path: &Path, n| fs::write(path, format!("{n}").repeat(100_000)).unwrap();
    let run = changed_behind_reads(&env, "when=1+", change);
    run.expect(1)
        .names("needle")
        .names("changed")
        .finished()
        .counts(&[("files_copied", 1), ("files_failed", 1)]);
    assert!(!env.target.join("needle").exists(), "never a torn copy");
    assert_eq!(fs::read(env.target.join("other")).unwrap(), b"o");
    assert_eq!(Snapshot::read(&env.target).temporaries(), Vec::<String>::new());
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_unchanged", 1)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_named() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("needle", "A").file("other", "o").write(&env.source);
    let path = env.source.join("needle");
    // Opening it fails as it would for a file that went after the listing.
    let opens = "inject=open,openat,openat2:error=ENOENT";
    let options = ["-P", "needle", "-P", text(&path), "-e", opens];
    let run = env.strace(&options, &env.mirror_arguments(&[]));
    run.expect(1).names("needle").names("vanished").finished().counts(&[("files_copied", 1)]);
    assert!(!env.target.join("needle").exists(), "never copied empty");
}

#[test]
fn an_appended_log_is_copied_consistently_or_named() {
    let env = Environment::new();
    let path = env.source.join("log");
    fs::write(&path, "0123456789abcdef".repeat(1 << 20)).unwrap();
    let appending = |over: &AtomicBool| {
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        while !over.load(Ordering::Relaxed) {
            log.write_all(b"0123456789abcdef").unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
    };
    let ((), run) = beside(appending, || env.mirror(&[]));
    if env.target.join("log").exists() {
        let copy = fs::read(env.target.join("log")).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(&copy), "torn");
        assert_eq!(copy.len() % 16, 0, "torn within a record");
        run.expect(0);
        env.verify(&[]).expect(0);
    } else {
        run.expect(1).names("log").names("changed");
    }
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn names_of_any_bytes_are_copied_and_escaped_in_output() {
    let env = Environment::new();
    let long = vec![b'n'; 255];
    let wide = "ü".repeat(127);
    let tree = TestTree::new()
        .file(b"not utf-8 \xff\xfe", "1")
        .file("new\nline", "2")
        .file("escape \x1b[31m\x1b]0;title\x07", "3")
        .file(&long, "4")
        .file(&wide, "6")
        .file([b"directory \xe2\x28/", &long[..]].concat(), "7")
        .file(" leading and trailing ", "8")
        .file("-n", "9")
        .file("*?[a]\\", "10")
        .symlink(b"link \x80", b"text \x81\n")
        .dir("\u{202e}turned");
    tree.write(&env.source);
    let run = env.vidimus(&["mirror", "-v", "source", "target"]).expect(0);
    for raw in ["\x1b", "\x07", "new\nline", "\u{202e}"] {
        assert!(!run.stdout.contains(raw) && !run.stderr.contains(raw), "{}", run.told());
    }
    let run = run.names("new\\nline").names("\\u{1b}[31m").names("\\xff");
    drop(run);
    tree.assert_at(&env.target);
    assert_mirrored(&env.source, &env.target);
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    env.verify(&[]).expect(0);
    // Errors and deletions show names as well.
    TestTree::new().file(format!("d\x1b[2J\n/{FAILING}"), "").write(&env.source);
    TestTree::new().file("extra\x1b[2J\n", "x").write(&env.target);
    for flags in [&["-v"][..], &["--json"], &["--dry-run"]] {
        let run = env.vidimus(&[&["mirror", "--delete", "source", "target"], flags].concat());
        assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "{}", run.told());
    }
}

#[test]
fn names_that_look_like_temporaries_are_named_or_copied_but_never_lost_silently() {
    let env = Environment::new();
    TestTree::new().file(".vidimus.0123456789abcdef", "mine").file("a", "1").write(&env.source);
    let run = env.mirror(&[]);
    if run.code() == 0 {
        assert_mirrored(&env.source, &env.target);
    } else {
        run.expect(1).names(".vidimus.0123456789abcdef");
    }
    assert!(env.source.join(".vidimus.0123456789abcdef").exists());
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"1");
}

#[test]
fn a_tree_deeper_than_path_max_is_mirrored_and_verified() {
    let env = Environment::new();
    let mut key = String::new();
    let mut tree = TestTree::new();
    for level in 0..300 {
        write!(key, "level-{level:03}-abcdefghij/").unwrap();
        if level % 50 == 49 {
            tree =
                tree.file(format!("{key}file"), key.clone()).symlink(format!("{key}link"), "file");
        }
    }
    assert!(key.len() > 4096);
    tree = tree.dir(key.trim_end_matches('/')).mode(0o750).mtime(77, 7);
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 12)]);
    tree.assert_at(&env.target);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    env.verify(&[]).expect(0);
    // And taken away again.
    fs::remove_dir_all(env.source.join("level-000-abcdefghij")).unwrap();
    fs::write(env.source.join("a"), "x").unwrap();
    env.mirrored(&["--delete", "--max-delete", "100%"]).counts(&[("files_deleted", 12)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn leftovers_of_killed_runs_are_swept_from_every_directory() {
    let env = mirrored(&TestTree::new().file("a", "1").file("d/e/b", "2"));
    // What a killed run leaves: found by killing one.
    needs!(tools::strace());
    TestTree::new().file("a", "11").file("d/e/b", "22").write(&env.source);
    env.age();
    let options = ["-e", "trace=/^rename", "-e", "inject=/^rename:signal=KILL:when=1"];
    env.strace(&options, &env.mirror_arguments(&[])).expect(137);
    let left = Snapshot::read(&env.target).temporaries();
    assert!(!left.is_empty(), "a killed run leaves its temporaries");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

#[test]
fn leftovers_are_swept_even_when_nothing_is_left_to_copy() {
    needs!(tools::strace());
    let env = mirrored(&TestTree::new().file("a", "1").file("d/b", "2"));
    TestTree::new().file("d/b", "changed").write(&env.source);
    let options = ["-e", "trace=/^rename", "-e", "inject=/^rename:signal=KILL:when=1"];
    env.strace(&options, &env.mirror_arguments(&[])).expect(137);
    TestTree::new().file("d/b", "2").write(&env.source);
    env.mirrored(&[]);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_new_directory_that_cannot_be_put_in_its_place_is_named_with_all_in_it() {
    needs!(tools::strace());
    let env = Environment::new();
    TestTree::new().file("d/a", "1").symlink("d/b", "a").file("e/c", "2").write(&env.source);
    let arguments = env.mirror_arguments(&["--transfers", "1"]);
    let failing = ["-e", "trace=/^rename", "-e", "inject=/^rename:error=EEXIST:when=1"];
    let run = env.strace(&failing, &arguments);
    // 7: the first rename of each thread fails, that of the manifest too.
    run.expect(7).names("d/").names("d/a").names("d/b").names("manifest");
    assert!(Snapshot::read(&env.target).temporaries().is_empty(), "what was built is removed");
    assert!(env.target.join("e/c").exists(), "the rest is done");
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn modes_are_the_sources_behind_a_default_acl_too() {
    needs!(tools::tool("setfacl"));
    let env = Environment::new();
    let tree = TestTree::new().file("c", "1").file("d/a", "2").mode(0o640).file("d/b", "3");
    tree.symlink("d/l", "a").write(&env.source);
    fs::create_dir(&env.target).unwrap();
    let set = std::process::Command::new("setfacl")
        .args(["-d", "-m", "u:1:rwx,g::rx,m::rwx", text(&env.target)])
        .status();
    if !set.unwrap().success() {
        return eprintln!("SKIPPED: this file system keeps no ACLs");
    }
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
}

#[test]
fn no_more_than_all_that_was_looked_at_fails() {
    needs!(tools::root(), tools::tool("chattr").map(drop));
    let env = Environment::new();
    TestTree::new().file("a", "1").file("b", "2").write(&env.source);
    let names: Vec<_> = (0..9).map(|n| format!(".vidimus.{n:016x}")).collect();
    for name in &names {
        TestTree::new().file(name, "left over").write(&env.target);
    }
    let chattr = |flag: &str| {
        let done = std::process::Command::new("chattr").arg(flag).arg(&env.target).status();
        done.is_ok_and(|status| status.success())
    };
    needs!(if chattr("+a") { Ok(()) } else { Err("chattr +a does not work here".to_owned()) });
    let run = env.mirror(&[]);
    assert!(chattr("-a"));
    let finished = run.expect(1).finished();
    let rate = finished.record["error_rate"].as_f64().unwrap();
    assert!(rate > 0.5 && rate <= 1.0, "{}", finished.record);
    assert!(finished.count("files_failed") <= finished.count("entries"), "{}", finished.record);
}

#[test]
fn an_append_only_directory_is_recognised_and_not_filled() {
    needs!(tools::root(), tools::tool("chattr").map(drop));
    let env = Environment::new();
    let tree = TestTree::new().file("d/a", "1").symlink("d/l", "1").file("d/becomes", "1");
    tree.file("e", "1").write(&env.source);
    env.mirrored(&[]);
    fs::remove_file(env.source.join("d/l")).unwrap();
    fs::remove_file(env.source.join("d/becomes")).unwrap();
    let tree = TestTree::new().file("d/a", "22").symlink("d/l", "22").file("d/becomes/x", "");
    tree.file("d/new", "")
        .file("d/whole/x", "")
        .file("d/whole/y", "")
        .file("e", "22")
        .write(&env.source);
    let directory = env.target.join("d");
    let chattr = |flag: &str| {
        let done = std::process::Command::new("chattr").arg(flag).arg(&directory).status();
        done.is_ok_and(|status| status.success())
    };
    needs!(if chattr("+a") { Ok(()) } else { Err("chattr +a does not work here".to_owned()) });
    let before = Snapshot::read(&directory);
    for _ in 0..3 {
        let run = env.mirror(&[]);
        // What is there can be told whatever becomes of the rest.
        let after = Snapshot::read(&directory);
        if !before.entries.keys().eq(after.entries.keys()) {
            chattr("-a");
            panic!("{:?}", after.entries.keys());
        }
        for name in ["d/a", "d/l", "d/becomes", "d/new", "d/whole"] {
            assert!(run.stdout.contains(&format!("\"key\":\"{name}")), "{name}: {}", run.told());
        }
        run.expect(1).names("append-only").names("chattr -a");
    }
    assert_eq!(fs::read(env.target.join("e")).unwrap(), b"22");
    assert!(chattr("-a"));
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_file_whose_size_says_nothing_of_its_content_is_named_and_never_copied_empty() {
    needs!(if Path::new("/proc/version").exists() {
        Ok(())
    } else {
        Err("there is no /proc".to_owned())
    });
    let env = Environment::new();
    let mirror = ["mirror", "--json", "/proc/version", "target"];
    let run = env.vidimus(&mirror).expect(1).names("\"version").names("as files in /proc");
    run.finished().counts(&[("files_copied", 0), ("files_failed", 1)]);
    assert!(!env.target.join("version").exists());
    // An empty file is none of them.
    TestTree::new().file("empty", "").write(&env.source);
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
}

#[test]
fn a_link_that_leads_to_nothing_is_named_as_such() {
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    std::os::unix::fs::symlink("unmounted/disk", env.root.join("link")).unwrap();
    for words in [["mirror", "source", "link"], ["mirror", "link", "target"]] {
        let run = env.vidimus(&words).expect(7).names("is a symbolic link to \"unmounted/disk\"");
        run.names("help: mount the disk");
    }
    fs::write(env.root.join("list"), format!("{}  a\n", "0".repeat(64))).unwrap();
    for words in [
        &["verify", "link"][..],
        &["verify", "source", "--against", "link"],
        &["verify", "source", "--repair-from", "link"],
        &["diff", "source", "link"],
        &["ls", "link/x"],
        &["cat", "link"],
        &["manifest", "show", "link"],
        &["manifest", "import", "--format", "b3sum", "link", "list"],
        &["explain", "link", "target", "key"],
        &["mirror", "source", "link/x"],
        &["bag", "source", "link/x"],
        &["put", "-", "link/x"],
    ] {
        let run =
            env.vidimus(words).expect(7).names("link\" is a symbolic link to \"unmounted/disk\"");
        run.names("help: mount the disk");
    }
    assert!(!env.target.exists() && !env.root.join("unmounted").exists());
}
