//! Power cuts: an ext4 is shut down without writing its journal, mounted again, and verified.
//!
//! `EXT4_IOC_SHUTDOWN` with flag 1 (`EXT4_GOING_FLAGS_NOLOGFLUSH`, fs/ext4/ext4.h of Linux) throws
//! away what was not synced, as a power cut does: files renamed without a sync come back empty. The
//! state lies on another file system, which is not cut.

use crate::common::environment::text;
use crate::common::{Environment, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Cuts the power of the file system mounted at `at`.
fn cut(at: &Path) {
    let script = "import fcntl, os, struct, sys\n\
                  fd = os.open(sys.argv[1], os.O_RDONLY)\n\
                  fcntl.ioctl(fd, 0x8004587D, struct.pack('I', 1))";
    let done = Command::new("python3").args(["-c", script, text(at)]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A source of many small files and some large ones.
fn source() -> TestTree {
    (0..1500).fold(TestTree::new(), |tree, n| {
        let size = if n % 100 == 0 { 700_000 } else { 100 + n * 7 % 5000 };
        tree.file(format!("d{}/f{n:04}", n % 30), vec![n as u8 | 1; size])
    })
}

/// Mounts the target anew and says what `verify` finds of the rows.
fn verified_after_cut(env: &Environment, image: &Path) -> serde_json::Value {
    let _mount = tools::Mount::ext4(image, &env.target, 0).unwrap();
    let run = env.verify(&["--json"]).expect_one_of(&[0, 3]);
    run.records().pop().unwrap()
}

#[test]
fn what_a_run_has_finished_survives_a_power_cut() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"), tools::tool("python3"));
    for durability in ["batch", "file"] {
        let env = Environment::new();
        source().write(&env.source);
        fs::create_dir_all(&env.target).unwrap();
        let image = env.source.with_extension("ext4");
        let mount = tools::Mount::ext4(&image, &env.target, 128).unwrap();
        env.mirrored(&["--durability", durability]);
        cut(&env.target);
        drop(mount);
        let finished = verified_after_cut(&env, &image);
        for kind in ["missing", "corrupt"] {
            assert_eq!(finished[kind], 0, "{durability}: {finished}");
        }
        assert_eq!(finished["verified"], 1500, "{durability}: {finished}");
    }
}

#[test]
fn what_a_run_has_recorded_survives_a_power_cut_in_its_midst() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"), tools::tool("python3"));
    for (durability, milliseconds) in [("batch", 60), ("batch", 200), ("file", 150), ("file", 400)]
    {
        let env = Environment::new();
        source().write(&env.source);
        fs::create_dir_all(&env.target).unwrap();
        let image = env.source.with_extension("ext4");
        let mount = tools::Mount::ext4(&image, &env.target, 128).unwrap();
        let arguments = env.mirror_arguments(&["--durability", durability, "--quiet"]);
        let mut run = env.command(&arguments);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        cut(&env.target);
        run.wait().unwrap();
        drop(mount);
        let finished = verified_after_cut(&env, &image);
        for kind in ["missing", "corrupt"] {
            assert_eq!(finished[kind], 0, "{durability} {milliseconds} ms: {finished}");
        }
        let _mount = tools::Mount::ext4(&image, &env.target, 0).unwrap();
        env.mirror(&["--exclude", "/lost+found/"]).expect(0);
        fs::remove_dir(env.target.join("lost+found")).unwrap();
        env.mirror(&[]).expect(0);
        assert_mirrored(&env.source, &env.target);
    }
}
