//! A large file whose copying was stopped: the next run goes on with it, if it is still that file.

use crate::common::{Environment, Run, Snapshot, TestTree, assert_mirrored};
use crate::locks::send;
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn content(mebibytes: u64) -> Vec<u8> {
    (0..mebibytes * MIB / 4).flat_map(|at| (at as u32).to_le_bytes()).collect()
}

/// The temporary files in the target's directory `d`.
fn temporaries(env: &Environment) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(env.target.join("d")).into_iter().filter_map(Result::ok);
    let is_temporary = |path: &PathBuf| path.to_string_lossy().contains("/.vidimus.");
    entries.map(walkdir::DirEntry::into_path).filter(is_temporary).collect()
}

fn records(env: &Environment) -> usize {
    fs::read_dir(env.state.join("vidimus/partials")).map_or(0, Iterator::count)
}

/// Begins to copy a file of so many MiB, and stops the run by a signal when half of them are there.
fn stopped(mebibytes: u64, signal: Signal) -> Environment {
    let env = Environment::new();
    TestTree::new().file("d/large", content(mebibytes)).write(&env.source);
    env.age();
    let rate = format!("{}MiB/s", mebibytes / 2);
    let mut command = env.command(&env.mirror_arguments(&["--bwlimit", &rate]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start it");
    let has_half = || {
        let used = |path: &PathBuf| path.metadata().map_or(0, |found| found.blocks() * 512);
        temporaries(&env).iter().any(|path| used(path) > mebibytes / 2 * MIB)
    };
    while !has_half() {
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, signal);
    let run = Run::wait(child, format!("a run that gets {signal:?}"));
    assert_eq!(run.status.code(), (signal == Signal::INT).then_some(130), "{}", run.told());
    assert_eq!((temporaries(&env).len(), records(&env)), (1, 1), "{}", run.told());
    env
}

/// Mirrors to the end; returns how many MiB were moved.
fn completed(env: &Environment) -> u64 {
    let run = env.mirrored(&[]);
    run.counts(&[("files_failed", 0)]);
    assert_mirrored(&env.source, &env.target);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
    assert_eq!(records(env), 0);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    env.verify(&[]).expect(0);
    run.count("bytes_moved") / MIB
}

#[test]
fn a_copy_that_was_stopped_is_gone_on_with() {
    let env = stopped(80, Signal::INT);
    env.mirror(&["-n"]).expect(0).is_silent_about("\"action\":\"sweep\"");
    let moved = completed(&env);
    assert!((20..50).contains(&moved), "{moved} MiB");
}

/// What is recorded every 256 MiB survives.
#[test]
fn a_copy_that_was_killed_is_gone_on_with() {
    let env = stopped(600, Signal::KILL);
    let moved = completed(&env);
    assert!((250..400).contains(&moved), "{moved} MiB");
}

/// Nothing of it was synced, and somebody else may have written to it.
#[test]
fn what_was_lost_or_damaged_is_copied_again() {
    let env = stopped(80, Signal::INT);
    let path = &temporaries(&env)[0];
    let size = path.metadata().expect("look").len();
    let file = File::options().write(true).open(path).expect("open");
    file.write_all_at(b"damage", 5 * MIB + 1).expect("write");
    file.write_all_at(b"damage", 79 * MIB).expect("write");
    file.set_len(size.max(80 * MIB) + 9).expect("grow");
    let moved = completed(&env);
    assert!((20..52).contains(&moved), "{moved} MiB");

    let env = stopped(80, Signal::INT);
    let file = File::options().write(true).open(&temporaries(&env)[0]).expect("open");
    file.set_len(10 * MIB).expect("shrink");
    assert_eq!(completed(&env), 80);
}

#[test]
fn a_copy_of_another_file_is_not_gone_on_with() {
    let env = stopped(80, Signal::INT);
    let file = File::options().write(true).open(env.source.join("d/large")).expect("open");
    file.write_all_at(b"changed", 3).expect("write");
    env.age();
    assert_eq!(completed(&env), 80);

    let env = stopped(80, Signal::INT);
    fs::remove_file(env.source.join("d/large")).expect("remove");
    assert_eq!(completed(&env), 0);

    // Nobody remembers it.
    let env = stopped(80, Signal::INT);
    env.lose_records();
    assert_eq!(completed(&env), 80);
}
