//! Copies that share their content with the source's files, on file systems that can.

use crate::common::tree::assert_whole;
use crate::common::{Environment, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tools::Mount;

const MIB: usize = 1 << 20;

/// An environment on a file system of its own, which goes first.
fn on(mount: impl Fn(&Path, &Path) -> Result<Mount, String>) -> (Environment, Environment, Mount) {
    let outer = Environment::new();
    let mounted = mount(&outer.root.join("image"), &outer.outside).expect("mount");
    let inner = Environment::within(&outer.outside);
    (inner, outer, mounted)
}

/// Bytes in use on a file system.
fn used(path: &Path) -> u64 {
    // What was written is counted once it has its place.
    rustix::fs::syncfs(File::open(path).expect("open")).expect("sync");
    let room = rustix::fs::statvfs(path).expect("look at the file system");
    (room.f_blocks - room.f_bfree) * room.f_frsize
}

fn tree() -> TestTree {
    let content: Vec<u8> = (0..24 * MIB as u32).map(|at| (at / 3) as u8).collect();
    TestTree::new()
        .file("d/large", content)
        .file("odd", vec![5; 3 * MIB + 5])
        .file("small", "some")
        .sparse("sparse", 30 * MIB, &[(9 * MIB, b"a"), (20 * MIB - 1, b"z")])
}

/// Mirrors into a new target; returns how many bytes more are in use.
fn grown(env: &Environment, target: &str, flags: &[&str]) -> u64 {
    let before = used(&env.root);
    let words = [&["mirror", "--json", "source", target], flags].concat();
    let run = env.vidimus(&words).expect(0);
    run.finished().counts(&[("files_copied", 4), ("files_failed", 0)]);
    used(&env.root).saturating_sub(before)
}

fn assert_shared(env: &Environment) {
    tree().write(&env.source);
    let grown_by = grown(env, "target", &[]);
    assert!(grown_by < 12 * MIB as u64, "{grown_by} bytes");
    assert_whole(&env.source, &env.target);
    env.verify(&[]).expect(0);
    // The source's file is written, and its copy stays what it was.
    let source = File::options().write(true).open(env.source.join("d/large")).expect("open");
    source.write_all_at(b"other", 9).expect("write");
    env.verify(&[]).expect(0);
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
    env.verify(&[]).expect(0);
}

#[test]
fn a_copy_on_the_same_xfs_takes_no_space() {
    needs!(tools::mounts(), tools::tool("mkfs.xfs"));
    let (env, _outer, _mount) = on(Mount::xfs);
    assert_shared(&env);
}

#[test]
fn a_copy_on_the_same_btrfs_takes_no_space() {
    needs!(tools::mounts(), tools::tool("mkfs.btrfs"));
    let (env, _outer, _mount) = on(Mount::btrfs);
    assert_shared(&env);
}

/// Each of these asks for something that a shared copy hasn't.
#[test]
fn what_cannot_be_shared_is_copied() {
    needs!(tools::mounts(), tools::tool("mkfs.xfs"));
    let (env, outer, _mount) = on(Mount::xfs);
    tree().write(&env.source);
    for flags in [&["--digest", "sha256"][..], &["--no-holes"], &["--sparse"]] {
        let target = flags[0].trim_start_matches('-');
        let grown_by = grown(&env, target, flags);
        assert!(grown_by > 24 * MIB as u64, "{flags:?}: {grown_by} bytes");
        assert_mirrored(&env.source, &env.root.join(target));
    }
    // Two file systems.
    tree().write(&outer.source);
    let source = outer.source.to_str().expect("UTF-8");
    env.vidimus(&["mirror", source, "target"]).expect(0);
    assert_whole(&outer.source, &env.target);
}

#[test]
fn what_fails_to_be_shared_is_copied() {
    needs!(tools::mounts(), tools::tool("mkfs.xfs"), tools::strace());
    let (env, _outer, _mount) = on(Mount::xfs);
    tree().write(&env.source);
    let sharing = ["-e", "trace=ioctl", "-e", "inject=ioctl:error=EIO"];
    env.strace(&sharing, &env.mirror_arguments(&[])).expect(0);
    assert_whole(&env.source, &env.target);
}
