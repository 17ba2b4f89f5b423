//! Limits: never faster than asked, and stopped all the same.

use crate::common::environment::{text, with_descriptors};
use crate::common::{Environment, Run, TestTree, assert_mirrored, tools};
use crate::locks::{send, under_way};
use crate::needs;
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// Some small files, which come first, and two large ones: 4 MiB together.
fn sample() -> Environment {
    let env = Environment::new();
    let tree = (0..16).fold(TestTree::new(), |tree, n| tree.file(format!("a{n}"), vec![n; 4096]));
    let tree = tree.file("l0", vec![1; 2_000_000]).file("l1", vec![2; 2_128_768]);
    tree.write(&env.source);
    env
}

#[test]
fn a_mirror_is_no_faster_than_its_bandwidth() {
    let env = sample();
    let begun = Instant::now();
    env.mirrored(&["--bwlimit", "2MiB/s"]);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1800), "{took:?}");
    assert_mirrored(&env.source, &env.target);
    // Nothing is copied, nothing waits: 4 MiB at this rate would take longer than a test may.
    env.mirrored(&["--bwlimit", "1kB/s"]);
}

#[test]
fn a_verification_is_no_faster_than_its_bandwidth() {
    let env = sample();
    env.mirrored(&[]);
    let begun = Instant::now();
    env.verify(&["--bwlimit", "2MiB/s"]).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(1800), "{:?}", begun.elapsed());
    env.verify(&["--bwlimit", "10"]).expect(2).names("10MiB/s");
}

#[test]
fn a_timetable_holds_at_its_time_of_the_day() {
    let env = sample();
    let begun = Instant::now();
    env.mirrored(&["--bwlimit", "Mon-Sun 00:00-24:00 2MiB/s, else off"]);
    assert!(begun.elapsed() >= Duration::from_millis(1800), "{:?}", begun.elapsed());
}

#[test]
fn a_run_that_waits_for_its_turn_can_be_stopped() {
    let env = sample();
    // By itself it would end when the tests have long given it up.
    let child = under_way(&env, &["--bwlimit", "10kB/s"]);
    send(&child, Signal::INT);
    Run::wait(child, "a run that is let through slowly".into()).expect(130);
    env.mirrored(&["--bwlimit", "off"]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn what_is_no_limit_is_wrong_usage() {
    let env = Environment::new();
    for (flag, value, words) in [
        ("--bwlimit", "10Mbit/s", "counts bits"),
        ("--bwlimit", "Sat 1MB/s", "else off"),
        ("--max-requests", "100", "100/s"),
        ("--memory", "1MiB", "16MiB"),
    ] {
        env.mirror(&[flag, value]).expect(2).names(words);
    }
}

/// More directories than may be open, beside each other and within each other, and a large file.
fn many_directories() -> TestTree {
    let wide = (0..200).fold(TestTree::new(), |tree, n| {
        tree.file(format!("{}/{n}/a", n % 7), "a").file(format!("{}/{n}/d/b", n % 7), "b")
    });
    let deep = "d/".repeat(100);
    wide.file(format!("{deep}f"), "deep").file("large", vec![7; 20 << 20])
}

#[test]
fn a_low_limit_of_open_files_is_kept_within() {
    for most in [64, 200] {
        let env = Environment::new();
        many_directories().write(&env.source);
        let limited =
            |arguments: &[&str]| Run::of(with_descriptors(&env.command(arguments), most)).expect(0);
        let (source, target) = (text(&env.source), text(&env.target));
        let workers = ["--transfers", "64", "--checkers", "64"];
        limited(&[&["mirror", source, target][..], &workers].concat());
        assert_mirrored(&env.source, &env.target);
        limited(&["mirror", source, target, "--checksum", "--delete"]);
        limited(&["verify", target]);
        limited(&["verify", target, "--against", source]);
        limited(&["diff", source, target, "--content"]);
        let other = env.root.join("other");
        limited(&["mirror", source, text(&other), "--durability", "file"]);
        assert_mirrored(&env.source, &other);
    }
}

#[test]
fn a_low_limit_of_open_files_is_kept_within_where_directories_are_synced_one_by_one() {
    needs!(tools::mounts());
    let env = Environment::new();
    many_directories().write(&env.source);
    let layers = env.root.join("layers");
    fs::create_dir(&layers).unwrap();
    fs::create_dir(&env.target).unwrap();
    let mounted = tools::Mount::overlay(&layers, &env.target);
    needs!(mounted.as_ref().map(drop).map_err(String::clone));
    let arguments = env.mirror_arguments(&[]);
    Run::of(with_descriptors(&env.command(&arguments), 64)).expect(0);
    assert_mirrored(&env.source, &env.target);
}
#[test]
fn a_limit_of_open_files_that_no_run_can_do_with_is_refused_before_it_begins() {
    let env = sample();
    for command in [["mirror", "source", "made"], ["bag", "source", "made"]] {
        let run = Run::of(with_descriptors(&env.command(&command), 20));
        run.expect(7).names("only 20 files").names("ulimit -n 64");
        assert!(!env.root.join("made").exists());
    }
    Run::of(with_descriptors(&env.command(&["mirror", "source", "made"]), 36)).expect(0);
    Run::of(with_descriptors(&env.command(&["bag", "source", "bag"]), 36)).expect(0);
}

#[test]
fn a_mirror_ends_at_its_transfer_and_the_next_goes_on() {
    let env = sample();
    let flags = ["--max-transfer", "1MB", "--transfers", "1"];
    let first = env.mirror(&flags).expect(8).finished();
    assert_eq!(first.record["verdict"], "interrupted");
    assert_eq!(first.record["limit"], "transfer");
    assert_eq!(first.record["level"], "info", "it is no failure");
    env.mirror(&["--max-transfer", "0B"]).expect(2).names("at least a byte");
    // What was begun is finished.
    first.counts(&[("files_copied", 17), ("bytes_copied", 2_065_536)]);
    env.mirror(&["--max-transfer", "1MB", "--dry-run"]).expect(0);
    env.mirror(&flags).expect(8).finished().counts(&[("files_copied", 1)]);
    env.mirrored(&flags).counts(&[("files_copied", 0), ("files_unchanged", 18)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_mirror_ends_with_its_time_or_window() {
    let env = sample();
    let late = env.mirror(&["--bwlimit", "1MiB/s", "--max-duration", "1s", "--transfers", "1"]);
    let late = late.expect(8).finished();
    assert_eq!(late.record["limit"], "duration");
    late.counts(&[("files_copied", 16)]);
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let hour = |later: u64| (since_epoch.as_secs() / 3_600 + later) % 24;
    let closed = format!("{}:00-{}:00", hour(6), hour(18));
    let closed = env.mirror(&["--window", &closed]).expect(8).finished();
    assert_eq!(closed.record["limit"], "window");
    closed.counts(&[("entries", 0)]);
    env.mirrored(&["--window", "Mon-Sun", "--max-duration", "1h"]);
    assert_mirrored(&env.source, &env.target);
    env.mirror(&["--window", "22"]).expect(2).names("22:00-06:00");
}
