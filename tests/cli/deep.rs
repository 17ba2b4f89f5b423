//! Trees that are deep: memory is bounded whatever their depth.

use crate::common::Environment;
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// In KiB: as much memory may a run take at its peak.
const BOUND: u64 = 64 << 10;

/// Makes a chain of directories with names of 200 bytes, each with a file.
fn make_chain(root: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = "d".repeat(200);
    let mut directory = open(root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&directory, &*name, Mode::RWXU).unwrap();
        directory = openat(&directory, &*name, flags, Mode::empty()).unwrap();
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&directory, "file", create, Mode::RUSR | Mode::WUSR).unwrap();
        fs::File::from(file).write_all(b"content").unwrap();
    }
}

/// Runs a command to its end, and returns the most memory that it took, in KiB.
fn peak_memory(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    peak
}

#[test]
fn memory_is_bounded_however_deep_a_tree_is() {
    let env = Environment::new();
    make_chain(&env.source, 400);
    for run in ["a first copy", "a rerun"] {
        let peak = peak_memory(env.command(&env.mirror_arguments(&[])));
        assert!((1..BOUND).contains(&peak), "{run} took {peak} KiB");
    }
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_unchanged", 400)]);
}
