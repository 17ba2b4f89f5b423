//! The state on a disk that is full, or whose blocks are small.

use crate::common::environment::text;
use crate::common::{Environment, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// An ext4 of 1 KiB blocks, as mkfs.ext4 makes them of small disks, in the place of the state
/// directory. A mapped file there may have holes.
fn small_blocks(env: &Environment) -> tools::Mount {
    let options = ["-b", "1024", "-m", "0", "-O", "^has_journal"];
    let image = env.root.join("image");
    tools::Mount::ext4_of(&image, &env.state, 8, &options).expect("mounting was tried before")
}

/// Fills the disk that `directory` is on but for so many KiB.
fn fill(directory: &Path, but: u64) {
    let mut filling = fs::File::create(directory.join("fill")).unwrap();
    while filling.write_all(&[0; 1024]).is_ok() {}
    let length = filling.metadata().unwrap().len();
    filling.set_len(length - (but << 10)).unwrap();
    filling.sync_all().unwrap();
}

#[test]
fn a_full_state_disk_stops_a_run_and_never_kills_it() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"));
    for kib in [0, 50, 60, 350, 400] {
        let env = Environment::new();
        (0..3000).fold(TestTree::new(), |tree, n| tree.file(format!("{n}"), "")).write(&env.source);
        let _mount = small_blocks(&env);
        fill(&env.state, kib);
        env.mirror(&[]).expect(7).names("--state-dir");
        // Less is left to be written.
        env.mirror(&[]).expect_one_of(&[0, 7]);
        env.verify(&[]).expect_one_of(&[0, 3, 4, 7]);
        fs::remove_file(env.state.join("fill")).unwrap();
        env.mirrored(&[]);
        assert_mirrored(&env.source, &env.target);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn a_state_without_a_log_is_undone_after_a_kill_amid_a_commit() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"), tools::strace());
    let mut killed = 0;
    for call in 1..10 {
        let env = Environment::new();
        let tree = (0..200).fold(TestTree::new(), |tree, n| tree.file(format!("{n}"), ""));
        tree.write(&env.source);
        let _mount = small_blocks(&env);
        env.mirrored(&["--durability", "none"]);
        for n in 0..200 {
            fs::write(env.source.join(format!("{n}")), "x").unwrap();
        }
        let inject = format!("inject=fsync:signal=KILL:when={call}");
        let arguments = env.mirror_arguments(&["--durability", "none"]);
        let run = env.strace(&["-e", "trace=fsync", "-e", &inject], &arguments);
        killed += u32::from(run.code() == 137);
        // A dry run and a verification read what was committed.
        env.mirror(&["--dry-run"]).expect(0).is_silent_about("damaged");
        env.verify(&["--quick"]).expect_one_of(&[0, 3]).is_silent_about("damaged");
        env.mirror(&[]).expect(0).is_silent_about("damaged");
        assert_mirrored(&env.source, &env.target);
        env.verify(&[]).expect(0).is_silent_about("damaged");
    }
    assert!(killed > 5, "{killed} runs were killed");
}

#[test]
fn a_dry_run_beside_a_run_reads_a_state_without_a_log() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"), tools::strace());
    let env = Environment::new();
    let tree = (0..500).fold(TestTree::new(), |tree, n| tree.file(format!("{n}"), ""));
    tree.write(&env.source);
    let _mount = small_blocks(&env);
    env.mirrored(&[]);
    TestTree::new().file("new", "x").write(&env.source);
    // It has put the copy in its place, and has the state open to record that.
    let run = env.strace_stopping("renameat2:when=1", &[], &env.mirror_arguments(&[]), |_| {
        let beside = env.mirror(&["--dry-run"]).expect(0).is_silent_about("damaged");
        beside.finished().counts(&[("entries", 502)]);
    });
    run.expect(0);
    env.vidimus(&["mirror", text(&env.source), text(&env.target)]).expect(0);
    assert_mirrored(&env.source, &env.target);
}
