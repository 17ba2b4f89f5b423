//! SIGKILL at system calls: a rerun after it is an ordinary run.
//!
//! strace counts calls per thread, so the sweeps run with one transfer and one checker. The N-th
//! call of a set is killed for N = 1, 2, … up to the most that any thread makes, in steps that keep
//! a sweep to a bounded number of runs. No `--seccomp-bpf` where a signal is injected: strace 6.1
//! does not deliver it then.

use crate::common::{Disk, Environment, Snapshot, TestTree, assert_mirrored, tools};
use crate::needs;
use std::collections::BTreeMap;
use std::fs;

/// Kills a sweep makes at most; `VIDIMUS_TESTS_KILLS` raises it.
fn kills() -> usize {
    std::env::var("VIDIMUS_TESTS_KILLS").map_or(40, |kills| kills.parse().expect("a number"))
}

fn old() -> TestTree {
    TestTree::new()
        .file("same", "same")
        .mtime(1_500_000_000, 5)
        .file("changed", "old content")
        .file("d/changed too", "old content, longer")
        .file("d/gone", "gone")
        .file("gone/with/its/directory", "gone")
        .file("becomes a directory", "file")
        .file("directory becomes file/x", "x")
        .symlink("link", "old text")
        .file("group/one", "grouped")
        .link("group/two", "group/one")
        .link("other/three", "group/one")
        .file("touched", "touched")
        .file("attributed", "the same")
        .mtime(1_500_000_000, 5)
        .attribute("user.gone", "1")
        .attribute("user.changed", "old")
        .file("x/1", "first")
        .link("y/1", "x/1")
        .link("z/1", "x/1")
        .file("x/2", "second")
        .link("y/2", "x/2")
        .link("z/2", "x/2")
        .file("x/3", "third")
        .link("y/3", "x/3")
        .link("z/3", "x/3")
        .file("moves", "moved to the front")
        .file("d/moves", "moved away")
        .file("tree/one", "one of a tree")
        .file("tree/below/two", "two of a tree")
        .symlink("tree/link", "one")
}

/// What is moved in the source.
const MOVED: [[&str; 2]; 3] = [["moves", "a/moved"], ["d/moves", "z moved"], ["tree", "a/tree"]];

fn new() -> TestTree {
    TestTree::new()
        .file("same", "same")
        .mtime(1_500_000_000, 5)
        .file("changed", "new content")
        .file("d/changed too", "new content, different")
        .file("becomes a directory/y", "y")
        .file("directory becomes file", "file")
        .file("fresh/and/deep", "fresh")
        .dir("fresh/empty")
        .file("built/whole", "new content")
        .symlink("built/link", "whole")
        .symlink("link", "new text")
        .symlink("fresh/link", "../same")
        .file("group/one", "regrouped")
        .link("group/five", "group/one")
        .link("other/four", "group/one")
        .file("group/two", "grouped")
        .link("other/three", "group/two")
        .file("touched", "touched")
        .mode(0o600)
        .mtime(77, 7)
        .file("attributed", "the same")
        .mtime(1_500_000_000, 5)
        .attribute("user.changed", "new")
        .attribute("user.new", "2")
        .dir("fresh")
        .attribute("user.of", "a directory")
        // Three files exchange their names, and the content of one changes.
        .file("x/1", "first")
        .link("y/2", "x/1")
        .link("z/3", "x/1")
        .file("x/2", "second, changed")
        .link("y/3", "x/2")
        .link("z/1", "x/2")
        .file("x/3", "third")
        .link("y/1", "x/3")
        .link("z/2", "x/3")
        .dir("a")
}

const FLAGS: [&str; 9] = [
    "--delete",
    "--max-delete",
    "100%",
    "--accept-source",
    "--transfers",
    "1",
    "--checkers",
    "1",
    "-q",
];

/// An old mirror whose source is new.
fn prepared(disk: &Disk) -> (Environment, [Snapshot; 2]) {
    let env = disk.environment();
    old().write(&env.source);
    env.age();
    env.mirrored(&FLAGS);
    let before = Snapshot::read(&env.target);
    for entry in fs::read_dir(&env.source).unwrap() {
        let entry = entry.unwrap();
        if !["same", "moves", "d", "tree"].iter().any(|kept| entry.file_name() == *kept) {
            let path = entry.path();
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
    fs::remove_file(env.source.join("d/gone")).unwrap();
    new().write(&env.source);
    for [from, to] in MOVED {
        fs::rename(env.source.join(from), env.source.join(to)).unwrap();
    }
    env.age();
    let after = Snapshot::read(&env.source);
    (env, [before, after])
}

/// Each path holds its old or its new whole content (or is absent, where old or new is).
fn assert_old_or_new(when: &str, env: &Environment, [old, new]: &[Snapshot; 2]) {
    let found = Snapshot::read(&env.target);
    let mut keys: Vec<_> = old.entries.keys().chain(new.entries.keys()).collect();
    keys.extend(found.entries.keys());
    for key in keys {
        if key.split(|&byte| byte == b'/').any(|name| name.starts_with(b".vidimus.")) {
            continue; // the next run sweeps it
        }
        let kinds = [old, new, &found].map(|tree| tree.get(key).map(|seen| &seen.kind));
        let [old, new, found] = kinds;
        // A change of type passes through absence: no call replaces a directory by a file.
        let typed = old
            .zip(new)
            .is_some_and(|(old, new)| std::mem::discriminant(old) != std::mem::discriminant(new));
        let sound = found == old || found == new || (found.is_none() && typed);
        let key = key.escape_ascii();
        assert!(sound, "{when}: {key}: old {old:?}, new {new:?}, found {found:?}");
    }
}

/// What stood where another kind of entry belongs is there until that was written.
fn assert_nothing_lost(when: &str, env: &Environment) {
    let found = Snapshot::read(&env.target);
    let contents: Vec<_> = found
        .entries
        .keys()
        .map(|key| str::from_utf8(key).expect("UTF-8"))
        .filter_map(|key| Some((key, fs::read_to_string(env.target.join(key)).ok()?)))
        .collect();
    for (name, old, new) in
        [("becomes a directory", "file", "y"), ("directory becomes file", "x", "file")]
    {
        // In its place, in a directory of that name, or beside it under a temporary's.
        let is_near = |key: &str| key.starts_with(name) || key.starts_with(".vidimus.");
        let is_kept =
            contents.iter().any(|(key, found)| is_near(key) && [old, new].contains(&&**found));
        assert!(is_kept, "{when}: {name}: {contents:?}");
    }
}

/// What was moved is under one of its names, and under both only if it was copied.
fn assert_moved_once(when: &str, env: &Environment) {
    for names in MOVED {
        let is_there = names.iter().any(|name| env.target.join(name).exists());
        assert!(is_there, "{when}: {names:?}");
    }
}

/// The manifest that counts can be read to its end, each file of it what vouches for it.
fn assert_manifest_whole(when: &str, env: &Environment) {
    let target = env.target.to_str().unwrap();
    for command in [&["log", target][..], &["export", "--format", "json", target]] {
        let run = env.vidimus(&[&["manifest"], command].concat());
        assert!(run.code() == 0, "{when}\n{}", run.told());
    }
}

/// The most calls of the set that any one thread makes.
fn most_calls(set: &str, env: &Environment, arguments: &[String]) -> usize {
    let trace = format!("trace={set}");
    env.strace(&["--seccomp-bpf", "-e", &trace], arguments).expect(0);
    let mut threads = BTreeMap::<String, usize>::new();
    for line in env.trace().lines().filter(|line| !line.contains("resumed>")) {
        let thread = line.split_whitespace().next().unwrap_or_default();
        *threads.entry(thread.to_owned()).or_default() += 1;
    }
    threads.into_values().max().unwrap_or(0)
}

fn sweep(set: &str, durability: &str) {
    needs!(tools::strace());
    let flags = [&FLAGS[..], &["--durability", durability]].concat();
    let disk = Disk::new();
    let (env, _) = prepared(&disk);
    let most = most_calls(set, &env, &env.mirror_arguments(&flags));
    assert!(most > 0, "no run of {durability} calls any of {set}");
    let step = most.div_ceil(kills()).max(1);
    let mut killed = 0;
    // From the end, where the loader's own calls are not.
    for at in (1..=most).rev().step_by(step) {
        let (env, trees) = prepared(&disk);
        let when = format!("{set} {durability} when={at} of {most}");
        let inject = format!("inject={set}:signal=KILL:when={at}");
        let trace = format!("trace={set}");
        let options = ["-e", &trace, "-e", &inject];
        let run = env.strace(&options, &env.mirror_arguments(&flags));
        assert!([0, 137].contains(&run.code()), "{when}\n{}", run.told());
        killed += usize::from(run.code() == 137);
        assert_old_or_new(&when, &env, &trees);
        assert_nothing_lost(&when, &env);
        assert_moved_once(&when, &env);
        assert_manifest_whole(&when, &env);
        // What the killed run did and could not record is no difference.
        let verified = env.verify(&["--strict", "--allow-incomplete"]);
        assert!(verified.code() == 0, "{when}\n{}", verified.told());
        let rerun = env.mirror(&flags);
        assert!(rerun.code() == 0, "{when}\n{}", rerun.told());
        let found = Snapshot::read(&env.target);
        assert!(found.temporaries().is_empty(), "{when}: {:?}", found.temporaries());
        assert_mirrored(&env.source, &env.target);
        let verified = env.verify(&["--strict"]);
        assert!(verified.code() == 0, "{when}\n{}", verified.told());
        assert_manifest_whole(&when, &env);
        let third = env.mirrored(&flags);
        assert_eq!(third.count("files_copied"), 0, "{when}");
    }
    assert!(killed > 0, "no run was killed at {set}");
}

#[test]
fn killed_at_openat() {
    sweep("open,openat,openat2", "batch");
}

#[test]
fn killed_at_write() {
    sweep("write,pwrite64,writev,copy_file_range", "batch");
}

#[test]
fn killed_at_rename() {
    sweep("/^rename", "batch");
}

#[test]
fn killed_at_link() {
    sweep("linkat", "batch");
}

#[test]
fn killed_at_unlink() {
    sweep("/^(unlink|rmdir)", "batch");
}

#[test]
fn killed_at_sync() {
    sweep("syncfs,fsync,fdatasync", "batch");
}

#[test]
fn killed_at_mkdir() {
    sweep("/^mkdir", "batch");
}

#[test]
fn killed_at_metadata() {
    sweep("/^(f?chmod|f?chown|utimensat|symlink)", "batch");
}

#[test]
fn killed_at_attributes() {
    sweep("/(set|remove)xattr", "batch");
}

/// The copy shares its content with the source's file.
#[test]
fn killed_at_sharing() {
    needs!(tools::strace(), tools::mounts(), tools::tool("mkfs.xfs"));
    let outer = Environment::new();
    let mounted = tools::Mount::xfs(&outer.root.join("image"), &outer.outside);
    needs!(mounted.as_ref().map(drop).map_err(Clone::clone));
    let mut killed = 0;
    for at in 1..=20 {
        let env = Environment::within(&outer.outside);
        let tree = TestTree::new().file("a", vec![1; 3 << 20]).file("d/b", vec![2; 9 << 20]);
        tree.sparse("d/c", 20 << 20, &[(9 << 20, b"c")]).write(&env.source);
        TestTree::new().file("a", "old").write(&env.target);
        let inject = format!("inject=ioctl:signal=KILL:when={at}");
        let flags = ["--transfers", "1", "--checkers", "1"];
        let options = ["-e", "trace=ioctl", "-e", &*inject];
        let run = env.strace(&options, &env.mirror_arguments(&flags));
        assert!([0, 137].contains(&run.code()), "ioctl {at}\n{}", run.told());
        env.mirrored(&[]);
        assert_mirrored(&env.source, &env.target);
        assert!(Snapshot::read(&env.target).temporaries().is_empty());
        env.verify(&["--strict"]).expect(0);
        if run.code() == 0 {
            break;
        }
        killed += 1;
    }
    assert!(killed > 1, "{killed} runs were killed");
    drop(mounted);
}

#[test]
fn killed_at_rename_one_by_one() {
    sweep("/^rename", "file");
}

#[test]
fn killed_at_sync_one_by_one() {
    sweep("syncfs,fsync,fdatasync", "file");
}

#[test]
fn killed_at_rename_of_a_first_copy() {
    needs!(tools::strace());
    let disk = Disk::new();
    for at in 1..=30 {
        let env = disk.environment();
        new().write(&env.source);
        env.age();
        let inject = format!("inject=/^rename:signal=KILL:when={at}");
        let options = ["-e", "trace=/^rename", "-e", &inject];
        let flags = ["--transfers", "1", "--checkers", "1"];
        let run = env.strace(&options, &env.mirror_arguments(&flags));
        let empty = Snapshot { entries: BTreeMap::new() };
        let trees = [empty, Snapshot::read(&env.source)];
        assert_old_or_new(&format!("rename {at}"), &env, &trees);
        env.mirrored(&[]);
        assert_mirrored(&env.source, &env.target);
        assert!(Snapshot::read(&env.target).temporaries().is_empty());
        env.verify(&["--strict"]).expect(0);
        if run.code() == 0 {
            assert!(at > 3, "no run was killed at its renames");
            return;
        }
    }
    panic!("no run came to its end");
}

/// A mirror of which three files are broken, and what is mended.
fn broken(disk: &Disk) -> (Environment, [Snapshot; 2], Vec<String>) {
    let env = disk.environment();
    old().write(&env.source);
    env.age();
    env.mirrored(&[]);
    let good = Snapshot::read(&env.target);
    fs::write(env.target.join("changed"), "OLD CONTENT").unwrap();
    fs::write(env.target.join("d/gone"), "g").unwrap();
    fs::remove_file(env.target.join("gone/with/its/directory")).unwrap();
    let trees = [Snapshot::read(&env.target), good];
    let [source, target] = [&env.source, &env.target].map(|path| path.to_str().unwrap().to_owned());
    let verify = ["verify", "--checkers", "1", "--repair-from"].map(String::from);
    let arguments = verify.into_iter().chain([source, target]).collect();
    (env, trees, arguments)
}

/// Mending is killed: each file is as it was or mended, and mending again, or a mirror, ends it.
fn sweep_of_mending(set: &str) {
    needs!(tools::strace());
    let disk = Disk::new();
    let (env, _, arguments) = broken(&disk);
    let most = most_calls(set, &env, &arguments);
    assert!(most > 0, "no mending calls any of {set}");
    let mut killed = 0;
    for at in (1..=most).rev().step_by(most.div_ceil(kills()).max(1)) {
        let (env, trees, arguments) = broken(&disk);
        let when = format!("mending {set} when={at} of {most}");
        let inject = format!("inject={set}:signal=KILL:when={at}");
        let trace = format!("trace={set}");
        let run = env.strace(&["-e", &trace, "-e", &inject], &arguments);
        assert!([0, 137].contains(&run.code()), "{when}\n{}", run.told());
        killed += usize::from(run.code() == 137);
        assert_old_or_new(&when, &env, &trees);
        if at % 2 == 0 {
            let again = env.vidimus(&arguments);
            assert!(again.code() == 0, "{when}\n{}", again.told());
        }
        let copied = env.mirrored(&[]).count("files_copied");
        assert!(copied == 0 || at % 2 == 1, "{when}: {copied}");
        let found = Snapshot::read(&env.target);
        assert!(found.temporaries().is_empty(), "{when}: {:?}", found.temporaries());
        assert_mirrored(&env.source, &env.target);
        assert_manifest_whole(&when, &env);
        let verified = env.verify(&["--strict"]);
        assert!(verified.code() == 0, "{when}\n{}", verified.told());
    }
    assert!(killed > 0, "no mending was killed at {set}");
}

#[test]
fn mending_killed_at_openat() {
    sweep_of_mending("open,openat,openat2");
}

#[test]
fn mending_killed_at_write() {
    sweep_of_mending("write,pwrite64,writev,copy_file_range");
}

#[test]
fn mending_killed_at_rename_and_metadata() {
    sweep_of_mending("/^(rename|f?chmod|f?chown|utimensat)");
}

#[test]
fn mending_killed_at_sync() {
    sweep_of_mending("syncfs,fsync,fdatasync");
}
