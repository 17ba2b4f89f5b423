//! Power cuts: an ext4 is shut down without writing its journal, mounted again, and verified.
//!
//! `EXT4_IOC_SHUTDOWN` with flag 1 (`EXT4_GOING_FLAGS_NOLOGFLUSH`, fs/ext4/ext4.h of Linux) throws
//! away what was not synced, as a power cut does: files renamed without a sync come back empty. The
//! state lies on another file system, which is not cut.

use crate::common::background::wait_until;
use crate::common::environment::text;
use crate::common::{Environment, TestTree, assert_mirrored, tools};
use crate::locks::send;
use crate::needs;
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// How many files the state has recorded.
fn recorded(env: &Environment) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let count = |path: &Path| {
        let state = Connection::open_with_flags(path, flags).ok()?;
        let query = "SELECT count(*) FROM entries WHERE digest IS NOT NULL";
        state.query_row(query, [], |row| row.get(0)).ok()
    };
    let files = fs::read_dir(env.state.join("vidimus")).into_iter().flatten().flatten();
    let mut files = files.map(|file| file.path());
    files
        .find(|file| file.extension().is_some_and(|it| it == "sqlite3"))
        .and_then(|it| count(&it))
        .unwrap_or(0)
}

#[test]
fn what_a_run_has_recorded_survives_a_power_cut_in_its_midst() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"), tools::tool("python3"));
    for (durability, least) in [("batch", 1), ("batch", 500), ("file", 1), ("file", 500)] {
        let env = Environment::new();
        source().write(&env.source);
        fs::create_dir_all(&env.target).unwrap();
        let image = env.source.with_extension("ext4");
        let mount = tools::Mount::ext4(&image, &env.target, 128).unwrap();
        // Slow enough to be met in its midst.
        let flags = ["--durability", durability, "--quiet", "--bwlimit", "2MiB/s"];
        let mut run = env.command(&env.mirror_arguments(&flags));
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let when = format!("{durability}, {least} files recorded");
        wait_until(&when, || recorded(&env) >= least);
        // It can't come to its end before the cut does.
        send(&run, Signal::STOP);
        cut(&env.target);
        send(&run, Signal::CONT);
        assert!(!run.wait().unwrap().success(), "{when}: it ended before the cut");
        drop(mount);
        let finished = verified_after_cut(&env, &image);
        for kind in ["missing", "corrupt"] {
            assert_eq!(finished[kind], 0, "{when}: {finished}");
        }
        assert!(
            finished["verified"].as_u64().is_some_and(|count| count >= least as u64),
            "{finished}"
        );
        let _mount = tools::Mount::ext4(&image, &env.target, 0).unwrap();
        env.mirror(&["--exclude", "/lost+found/"]).expect(0);
        fs::remove_dir(env.target.join("lost+found")).unwrap();
        env.mirror(&[]).expect(0);
        assert_mirrored(&env.source, &env.target);
    }
}
