//! `verify --against`: the target's content against the source's, both read.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Run, Snapshot, TestTree, assert_untouched, tools};
use crate::mirror::{mirrored, sample};
use crate::needs;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

fn against(env: &Environment, flags: &[&str]) -> Run {
    env.verify(&[&["--against", text(&env.source)], flags].concat())
}

/// Writes to a file, and puts its times back.
fn rot(path: &std::path::Path, content: &str) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn equal_sides_are_read_whole_and_not_touched() {
    let env = mirrored(&sample());
    let before = [&env.source, &env.target, &env.state].map(|side| Snapshot::read(side));
    let finished = against(&env, &["--strict", "--json"]).expect(0).finished();
    let bytes = sample().bytes();
    finished.counts(&[("equal", 7), ("differences", 0), ("source_bytes", bytes)]);
    finished.counts(&[("target_bytes", bytes)]);
    against(&env, &[]).expect(0).names("the target has what the source has");
    for (before, side) in before.iter().zip([&env.source, &env.target, &env.state]) {
        assert_untouched(before, side);
    }
}

#[test]
fn no_record_is_needed() {
    let env = Environment::new();
    for side in [&env.source, &env.target] {
        sample().write(side);
    }
    fs::write(env.target.join("README.md"), "hello, wOrld\n").unwrap();
    let run = against(&env, &[]).expect(3).names("content README.md (source").names("target");
    run.names("metadata README.md: mtime").is_silent_about("cannot find out");
    assert!(fs::read_dir(&env.state).unwrap().next().is_none());
    assert!(!env.target.join(".vidimus").exists());
}

#[test]
fn each_difference_is_named_by_its_kind() {
    let env = mirrored(&sample());
    rot(&env.target.join("README.md"), "hello, wOrld\n");
    rot(&env.source.join("data/deep/er/leaf"), "lEaf");
    fs::write(env.target.join("bin/private"), "longer than it was").unwrap();
    fs::remove_file(env.target.join("bin/run")).unwrap();
    fs::set_permissions(env.target.join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(env.target.join("links/loop")).unwrap();
    symlink("elsewhere", env.target.join("links/loop")).unwrap();
    fs::remove_file(env.target.join("data/nothing")).unwrap();
    fs::create_dir(env.target.join("data/nothing")).unwrap();
    fs::write(env.target.join("extra"), "x").unwrap();
    let run = against(&env, &["-v"]).expect(3);
    let run = run
        .names("content README.md (source 623a5460d841b6d1…, target ffc6")
        .names("content data/deep/er/leaf (source ");
    let run = run.names("content bin/private (another size)").names("missing bin/run\n");
    let run =
        run.names("metadata empty/: mode 0750 -> 0700").names("link \"loop\" -> \"elsewhere\"");
    let run = run.names("missing data/nothing\n").names("extra extra (not counted)");
    run.is_silent_about("data/older").names("  content   3 files");
    against(&env, &["--strict"]).expect(3).names("extra extra\n");
    let records = against(&env, &["--json"]).expect(3).records();
    let content = records.iter().find(|record| record["key"] == "README.md").unwrap();
    assert_eq!(content["difference"], "content");
    assert_eq!(content["expected"], blake3::hash(b"hello, world\n").to_hex().as_str());
    assert_eq!(content["found"], blake3::hash(b"hello, wOrld\n").to_hex().as_str());
}

#[test]
fn what_the_latest_run_left_out_is_left_out_unless_a_filter_is_given() {
    let env = Environment::new();
    sample().file("cache/x", "x").write(&env.source);
    env.mirrored(&["--exclude", "cache/", "--max-size", "11B"]);
    fs::create_dir(env.target.join("cache")).unwrap();
    fs::write(env.target.join("cache/own"), "own").unwrap();
    let run = against(&env, &["-v"]).expect(0).names("filter    that of run");
    run.is_silent_about("cache");
    let run = against(&env, &["--max-size", "11B"]).expect(3);
    run.names("missing cache/x").is_silent_about("README.md").is_silent_about("that of run");
    against(&env, &["--exclude", "/cache"]).expect(3).names("missing README.md");
    // On another machine the manifest tells.
    fs::remove_dir_all(&env.state).unwrap();
    against(&env, &[]).expect(0).names("filter    that of run");
    fs::remove_dir_all(env.target.join(".vidimus")).unwrap();
    against(&env, &[]).expect(3).names("missing README.md").is_silent_about("that of run");
}

#[test]
fn extras_count_after_a_run_that_deleted() {
    let env = mirrored(&sample());
    env.mirrored(&["--delete"]);
    fs::write(env.target.join("bin/extra"), "x").unwrap();
    let run = against(&env, &[]).expect(3).names("extra bin/extra\n");
    run.names("metadata bin/: mtime");
}

#[test]
fn a_sample_is_read_and_the_rest_looked_at() {
    let env = mirrored(&sample());
    let count = |flags: &[&str], name| against(&env, flags).expect(0).finished().count(name);
    let parts: u64 = ["1/3", "2/3", "3/3"]
        .map(|part| count(&["--json", "--sample", part], "equal"))
        .into_iter()
        .sum();
    assert_eq!(parts, 7);
    against(&env, &["--sample", "0%"]).expect(2);
    let run = against(&env, &["--json", "--sample", "0.000001%"]).expect(0).finished();
    run.counts(&[("equal", 0), ("unread", 7), ("source_bytes", 0), ("target_bytes", 0)]);
    fs::write(env.target.join("README.md"), "longer than before").unwrap();
    against(&env, &["--sample", "0.000001%"]).expect(3).names("content README.md (another size)");
}

#[test]
fn what_changes_meanwhile_is_named_as_that_and_not_as_a_difference() {
    needs!(tools::strace());
    let env = mirrored(&TestTree::new().file("a", "1").file("b", "2"));
    let path = env.target.join("a");
    rot(&path, "9");
    let arguments = ["verify", "--against", text(&env.source), text(&env.target)];
    // The source's file changes once the target's is read.
    let run = env.strace_stopping("read:when=1", &["-P", text(&path)], &arguments, |_| {
        fs::write(env.source.join("a"), "X").unwrap();
    });
    run.expect(1)
        .names("cannot read source \"a\": changed while")
        .is_silent_about("content a")
        .is_silent_about("metadata a");
    env.age();
    set_mtime_of(&env.source.join("a"), 5, 5);
    against(&env, &[]).expect(3).names("content a (source");
}

#[test]
fn an_empty_source_proves_nothing() {
    let env = mirrored(&sample());
    fs::remove_dir_all(&env.source).unwrap();
    against(&env, &[]).expect(7).names("cannot open the source");
    fs::create_dir(&env.source).unwrap();
    against(&env, &[]).expect(6).names("help: ");
    fs::create_dir(env.root.join("empty too")).unwrap();
    env.vidimus(&["verify", "empty too", "--against", text(&env.source)]).expect(0);
}

#[test]
fn a_source_that_cannot_be_listed_whole_is_incomplete() {
    let env = mirrored(&sample());
    needs!(tools::strace());
    let path = env.source.join("data");
    let options = ["-P", text(&path), "-e", "inject=getdents64:error=EIO"];
    let run = env.strace(&options, &["verify", "--strict", "--against", "source", "target"]);
    run.expect(1).names("cannot list source \"data/\"").is_silent_about("extra");
}

#[test]
fn a_single_file_is_held_against_its_copy() {
    let env = Environment::new();
    sample().write(&env.source);
    let file = env.source.join("README.md");
    env.vidimus(&["mirror", text(&file), text(&env.target)]).expect(0);
    fs::write(env.target.join("other"), "other").unwrap();
    let verify = || env.vidimus(&["verify", "--strict", "--against", text(&file), "target"]);
    verify().expect(0).names("equal     1 file");
    rot(&env.target.join("README.md"), "hello, wOrld\n");
    verify().expect(3).names("content README.md");
}

#[test]
fn what_goes_by_the_record_is_refused_beside_it() {
    let env = mirrored(&sample());
    for flags in [
        &["--quick"][..],
        &["--budget", "1h"],
        &["--older-than", "1d"],
        &["--repair-from", "source"],
    ] {
        against(&env, flags).expect(2).names(flags[0]).names("--against");
    }
    env.verify(&["--exclude", "x"]).expect(2).names("--exclude needs --against");
    let mut command = env.command(&["verify", "--against", "source", "target"]);
    command.env("VIDIMUS_QUICK", "true");
    Run::of(command).expect(0).names("equal     7 files");
    let mut command = env.command(&["verify", "--quick", "target"]);
    command.env("VIDIMUS_AGAINST", "source").env("VIDIMUS_EXCLUDE", "x");
    Run::of(command).expect(0).names("no content was read");
}

#[test]
fn no_run_writes_meanwhile() {
    let env = mirrored(&sample());
    let lock = fs::File::open(env.target.join(".vidimus/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    against(&env, &[]).expect(5);
}

#[test]
fn a_signal_ends_the_reading() {
    let env = Environment::new();
    for side in [&env.source, &env.target] {
        fs::create_dir_all(side).unwrap();
        fs::write(side.join("large"), vec![0; 64 << 20]).unwrap();
    }
    let arguments = ["verify", "--json", "--against", "source", "target", "--bwlimit", "1MiB/s"];
    let mut command = env.command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let at = ("progress", Signal::INT);
    let run = Run::signalled_at(child, at, "an interrupted verification".into()).expect(130);
    assert_eq!(run.finished().record["verdict"], "interrupted", "{}", run.told());
}

#[test]
fn a_place_held_against_itself_is_refused() {
    let env = mirrored(&sample());
    let link = env.root.join("link");
    symlink(&env.target, &link).unwrap();
    for same in [&env.target, &link] {
        let run = env.verify(&["--against", text(same)]).expect(6);
        run.names("the same place").names("help:");
    }
}

/// Nobody but root could have given a copy another owner than its own.
#[test]
fn without_root_what_is_the_sources_is_right_and_what_a_mirror_makes_of_it() {
    needs!(tools::root());
    let env = Environment::new();
    TestTree::new().file("a", "1").dir("d").write(&env.source);
    env.mirrored(&[]);
    let arguments = ["verify", "--against", text(&env.source), text(&env.target)];
    env.as_nobody(&arguments).expect("setpriv").expect(0);
    for name in ["a", "d", ""] {
        let path = env.target.join(name);
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("give it away");
    }
    env.as_nobody(&arguments).expect("setpriv").expect(0);
    std::os::unix::fs::chown(env.target.join("a"), Some(7), None).expect("give it away");
    env.as_nobody(&arguments).expect("setpriv").expect(3).names("metadata a: owner 65534 -> 7");
}

#[test]
fn a_directory_in_the_place_of_a_file_that_is_left_out_by_size_is_not_extra() {
    let env = Environment::new();
    TestTree::new()
        .file("keep", "never empty, and long enough")
        .file("b/a", "12345")
        .dir("c")
        .write(&env.source);
    env.mirrored(&[]);
    for name in ["b", "c"] {
        fs::remove_dir_all(env.source.join(name)).unwrap();
        fs::write(env.source.join(name), "").unwrap();
    }
    env.age();
    env.mirrored(&["--delete", "--min-size", "20B"]);
    for how in [&[][..], &["--against", env.source.to_str().unwrap()]] {
        env.verify(how).expect(0).is_silent_about("extra");
    }
}
