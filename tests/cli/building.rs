//! New directories, which are built under a temporary name: what goes wrong while they are, and
//! what a killed run leaves of them.

use crate::common::environment::{NOBODY, text};
use crate::common::{Disk, Environment, Snapshot, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::{Path, PathBuf};

/// A directory of a killed run's.
const LEFTOVER: &str = ".vidimus.0123456789abcdef";

/// Makes a directory with a default ACL that takes the right to write from new directories' owner.
fn directory_that_closes_those_in_it(at: &Path) -> Result<(), String> {
    fs::create_dir_all(at).unwrap();
    let arguments = ["-d", "-m", "u::r-x", text(at)];
    let set = std::process::Command::new("setfacl").args(arguments).output();
    match set {
        Ok(output) if output.status.success() => Ok(()),
        other => Err(format!("setfacl: {other:?}")),
    }
}

fn give_away(tree: &Path) {
    for entry in walkdir::WalkDir::new(tree) {
        lchown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[test]
fn a_new_directory_is_made_even_if_nothing_in_it_could_be_read() {
    needs!(tools::strace());
    for durability in ["batch", "file", "none"] {
        let env = Environment::new();
        TestTree::new().file("d/a", "1").file("d/b", "2").write(&env.source);
        let [one, other] = ["d/a", "d/b"].map(|name| env.source.join(name));
        let failing = "inject=read,pread64,preadv,preadv2,readv:error=EIO";
        let options = ["-P", text(&one), "-P", text(&other), "-e", failing];
        let arguments = env.mirror_arguments(&["--durability", durability]);
        let run = env.strace(&options, &arguments).expect(1).names("\"d/a\"").names("\"d/b\"");
        run.finished().counts(&[("files_failed", 2), ("directories_created", 1)]);
        assert!(env.target.join("d").is_dir(), "{durability}");
        assert!(Snapshot::read(&env.target).temporaries().is_empty(), "{durability}");
        env.mirrored(&[]);
        assert_mirrored(&env.source, &env.target);
    }
}

#[test]
fn what_failed_in_a_new_directory_is_not_named_again_with_it() {
    needs!(tools::strace());
    let disk = Disk::new();
    let env = disk.environment();
    TestTree::new().write(&env.source);
    env.mirrored(&[]);
    let tree = ["d/a", "d/b", "d/c", "d/d"];
    tree.into_iter().fold(TestTree::new(), |tree, name| tree.file(name, "x")).write(&env.source);
    let arguments = env.mirror_arguments(&["--durability", "file", "--transfers", "1"]);
    // The last two files' and the directory's own; the database's of other threads pass.
    let run = env.strace(&["-e", "inject=fsync:error=ENOMEM:when=3..5"], &arguments).expect(1);
    let records = run.records();
    for key in ["d/", "d/a", "d/b", "d/c", "d/d"] {
        let named = records.iter().filter(|record| record["event"] == "failed");
        assert_eq!(named.filter(|record| record["key"] == key).count(), 1, "{key}");
    }
}

#[test]
fn a_new_directory_that_is_closed_to_its_owner_is_filled() {
    needs!(tools::root(), tools::tool("setpriv"), tools::tool("setfacl"));
    let env = Environment::new();
    TestTree::new().file("n/d/a", "1").symlink("n/d/b", "a").file("n/e/c", "2").write(&env.source);
    needs!(directory_that_closes_those_in_it(&env.target.join("n")));
    give_away(&env.source);
    give_away(&env.target);
    let arguments = env.mirror_arguments(&[]);
    env.as_nobody(&arguments).unwrap().expect(0);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn leftover_directories_are_swept_whatever_mode_the_target_gives_them() {
    needs!(tools::strace(), tools::tool("setfacl"));
    let env = Environment::new();
    TestTree::new().file("n/d/a", "1").symlink("n/d/b", "a").write(&env.source);
    needs!(directory_that_closes_those_in_it(&env.target.join("n")));
    let arguments = env.mirror_arguments(&[]);
    let failing = ["-e", "trace=/^rename", "-e", "inject=/^rename:error=EEXIST:when=1"];
    // 7: the first rename of each thread fails, that of the manifest too.
    env.strace(&failing, &arguments).expect(7).names("n/d/b").names("manifest");
    assert!(Snapshot::read(&env.target).temporaries().is_empty(), "what was built is removed");
    let killing = ["-e", "trace=/^rename", "-e", "inject=/^rename:signal=KILL:when=1"];
    env.strace(&killing, &arguments).expect(137);
    assert!(!Snapshot::read(&env.target).temporaries().is_empty());
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

/// A directory that a killed run built, under a temporary's name; or that another run is about to put
/// in its place, for which there is a name beside it. With the names in it.
fn leftover(env: &Environment) -> ([PathBuf; 2], [&'static str; 3]) {
    TestTree::new().file("f", "1").write(&env.source);
    let [leftover, placed] = [LEFTOVER, "placed"].map(|name| env.target.join("nested").join(name));
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&leftover).unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        fs::write(leftover.join(name), name).unwrap();
    }
    ([leftover, placed], names)
}

#[test]
fn a_leftover_directory_that_another_run_puts_in_its_place_stays_whole() {
    needs!(tools::strace());
    let env = Environment::new();
    let ([leftover, placed], names) = leftover(&env);
    // Once it was looked into, and before it is removed.
    let listed = ["-P", text(&leftover)];
    let arguments = env.mirror_arguments(&[]);
    env.strace_stopping("getdents64:when=1", &listed, &arguments, |_| {
        fs::rename(&leftover, &placed).unwrap();
    });
    assert_eq!(fs::read_dir(&placed).unwrap().count(), names.len());
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

#[test]
fn a_leftover_directory_is_whole_as_long_as_another_run_could_put_it_in_its_place() {
    needs!(tools::strace());
    let env = Environment::new();
    let ([leftover, _], names) = leftover(&env);
    let whole = |_| {
        let left = fs::read_dir(&leftover).map_or(names.len(), Iterator::count);
        assert_eq!(left, names.len(), "it loses files under its own name");
    };
    env.strace_stopping("unlinkat", &[], &env.mirror_arguments(&[]), whole);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

#[test]
fn a_directory_whose_sync_failed_beside_the_barrier_is_not_taken_for_durable() {
    needs!(tools::mounts(), tools::strace());
    let env = Environment::new();
    // More directories than wait for a barrier, in a file system that is synced one by one.
    let mut tree = TestTree::new().file("d000/e/f", "1");
    for n in 0..200 {
        tree = tree.dir(format!("d{n:03}/e"));
    }
    tree.write(&env.source);
    fs::create_dir(&env.target).unwrap();
    let _mount = tools::Mount::overlay(&env.root, &env.target).expect("mount an overlay");
    let failing = env.target.join("d000");
    fs::create_dir(&failing).unwrap();
    let options = ["-P", text(&failing), "-e", "inject=fsync:error=ETIMEDOUT"];
    env.strace(&options, &env.mirror_arguments(&[])).expect(7).names("durable");
    env.mirrored(&[]).counts(&[("files_unchanged", 0)]);
    assert_mirrored(&env.source, &env.target);
}
