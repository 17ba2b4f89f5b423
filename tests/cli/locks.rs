//! One writer a target.

use crate::common::background::wait_until;
use crate::common::{Environment, Run, assert_mirrored};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Command, Stdio};

/// A source with a file that takes a while, and none of it on disk.
pub(crate) fn large() -> Environment {
    let env = Environment::new();
    // The copy of a larger file would be gone on with after a stop.
    for n in 0..12 {
        let file = fs::File::create(env.source.join(format!("large-{n}"))).unwrap();
        file.set_len(60 << 20).unwrap();
    }
    env
}

/// A mirror that is under way: it has begun to write to the target.
pub(crate) fn under_way(env: &Environment, flags: &[&str]) -> Child {
    telling(env, flags, Stdio::piped())
}

/// The same, of one that tells how it goes to `stdout`.
pub(crate) fn telling(env: &Environment, flags: &[&str], stdout: Stdio) -> Child {
    let mut command = env.command(&env.mirror_arguments(flags));
    // Holes would take no time.
    command.env("VIDIMUS_NO_HOLES", "true");
    let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a run that writes", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote");
        let names = fs::read_dir(&env.target).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name()).any(|name| name != ".vidimus")
    });
    child
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn two_runs_at_once_into_one_target_leave_one() {
    let env = large();
    let first = under_way(&env, &[]);
    send(&first, Signal::STOP);
    env.mirror(&[]).expect(5);
    // Another source into the same target is kept out as well.
    env.vidimus(&["mirror", "outside", "target"]).expect(5);
    // Where the lock is not by the state directory alone.
    env.vidimus(&["mirror", "source", "target", "--state-dir", "home/other-state"]).expect(5);
    send(&first, Signal::CONT);
    Run::wait(first, "the first run".into()).expect(0);
    env.mirrored(&[]);
}

#[test]
fn a_dry_run_takes_no_lock() {
    let env = large();
    let first = under_way(&env, &[]);
    send(&first, Signal::STOP);
    let dry = env.mirror(&["--dry-run"]);
    send(&first, Signal::CONT);
    Run::wait(first, "the first run".into()).expect(0);
    dry.expect(0);
}

#[test]
fn what_a_run_is_writing_is_no_leftover_to_a_dry_run_beside_it() {
    let env = large();
    let first = under_way(&env, &[]);
    send(&first, Signal::STOP);
    let killed = env.target.join(".vidimus.0123456789abcdef");
    fs::write(&killed, "left over").unwrap();
    let dry = env.vidimus(&["mirror", "-n", "source", "target"]);
    let explained = env.vidimus(&["explain", "source", "target", "large-0"]);
    send(&first, Signal::CONT);
    Run::wait(first, "the first run".into()).expect(0);
    let dry = dry.expect(0).names("the target is being written to by run ");
    dry.names("sweep            .vidimus.0123456789abcdef").names("sweep             1 leftover");
    explained.expect(0).is_silent_about("left over");
    // It is over, and swept what it met or leaves it to the next.
    let after = env.vidimus(&["mirror", "-n", "source", "target"]).expect(0);
    after.is_silent_about("is being written to");
}

#[test]
fn a_run_under_way_in_a_part_of_the_target_loses_nothing() {
    let mut env = large();
    env.target = env.root.join("outer/part");
    let outer = [env.root.join("other"), env.root.join("outer")];
    fs::create_dir(&outer[0]).unwrap();
    fs::create_dir(&outer[1]).unwrap();
    fs::write(outer[0].join("a"), "a").unwrap();
    let outer = |flags: &[&str]| {
        let mut command = env.command(&["mirror", "-v"]);
        command.args(&outer).args(flags);
        Run::of(command).expect(0)
    };
    let first = under_way(&env, &[]);
    send(&first, Signal::STOP);
    outer(&["--dry-run"]).is_silent_about("left over");
    outer(&[]).is_silent_about("left over");
    send(&first, Signal::CONT);
    Run::wait(first, "the run in a part".into()).expect(0);
    assert_mirrored(&env.source, &env.target);
    fs::write(env.source.join("large-0"), "small now").unwrap();
    fs::File::create(env.source.join("large-12")).unwrap().set_len(192 << 20).unwrap();
    let again = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(env.target.join(".vidimus/lock"))
        .args(["sleep", "60"])
        .spawn();
    let mut holder = again.expect("run flock");
    let deletes = ["--delete", "--max-delete", "100%"];
    wait_until("a lock that is taken", || {
        let run = outer(&[&deletes[..], &["--exclude", "large-*"]].concat());
        run.stderr.contains("another run is under way")
    });
    assert!(env.target.join(".vidimus/lock").exists());
    let dry = outer(&[&deletes[..], &["--exclude", "large-*", "--dry-run"]].concat());
    let dry = dry.names("part/.vidimus/lock\" stays: another run is under way");
    dry.is_silent_about("delete  ").is_silent_about("lock  (not in the source)");
    holder.kill().unwrap();
    holder.wait().unwrap();
    outer(&deletes);
    assert!(!env.target.exists());
}

#[test]
fn a_lock_left_by_a_killed_run_is_taken_over() {
    let env = large();
    let first = under_way(&env, &[]);
    send(&first, Signal::STOP);
    send(&first, Signal::KILL);
    Run::wait(first, "the killed run".into()).expect(137);
    env.mirrored(&[]);
    env.verify(&[]).expect(0);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn many_runs_started_together_leave_a_mirror() {
    let env = Environment::new();
    crate::mirror::sample().write(&env.source);
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let mut command = env.command(&env.mirror_arguments(&[]));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let runs = runs.into_iter().map(|child| Run::wait(child, "one of four".into()));
    let codes: Vec<_> = runs.map(|run| run.expect_one_of(&[0, 5]).code()).collect();
    assert!(codes.contains(&0), "{codes:?}");
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
}

#[test]
fn a_state_directory_that_cannot_be_made_is_told() {
    let env = Environment::new();
    crate::mirror::sample().write(&env.source);
    fs::write(env.root.join("file"), "x").unwrap();
    let run = env.vidimus(&["mirror", "source", "target", "--state-dir", "file/state"]);
    run.expect_one_of(&[4, 7]).names("file/state");
}

#[test]
fn a_run_that_fails_before_it_began_leaves_no_trace() {
    let env = Environment::new();
    crate::mirror::sample().write(&env.source);
    fs::write(env.root.join("file"), "").unwrap();
    let there = env.root.join("there");
    fs::create_dir(&there).unwrap();
    for (words, made) in [
        (&["mirror", "source", "target"][..], &env.target),
        (&["mirror", "source", "there"], &there.join(".vidimus")),
        (&["mirror", "source/README.md", "target"], &env.target),
        (&["bag", "source", "target"], &env.target),
        (&["put", "-", "there/new"], &there.join(".vidimus")),
    ] {
        let run = env.vidimus(&[words, &["--state-dir", "file"]].concat());
        run.expect(4).names("state directory");
        assert!(!made.exists(), "{words:?}");
    }
    // Where standard input can't be read, nothing was put.
    let mut put = env.command(&["put", "-", "there/new"]);
    put.stdin(fs::File::open(&env.source).unwrap());
    Run::of(put).expect(7);
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0);
    env.mirrored(&[]);
    assert!(env.target.join(".vidimus/lock").exists());
}
