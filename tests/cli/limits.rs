//! Limits: never faster than asked, and stopped all the same.

use crate::common::{Environment, Run, TestTree, assert_mirrored};
use crate::locks::{send, under_way};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Some small files, which come first, and two large ones: 4 MiB together.
fn sample() -> Environment {
    let env = Environment::in_memory();
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
    // Fast enough to begin, and far from its end.
    let child = under_way(&env, &["--bwlimit", "100kB/s"]);
    let begun = Instant::now();
    send(&child, Signal::INT);
    Run::wait(child, "a run that is let through slowly".into()).expect(130);
    assert!(begun.elapsed() < Duration::from_secs(3), "stopped after {:?}", begun.elapsed());
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
