//! SIGINT and SIGTERM: a run stops soon, and the next one goes on.

use crate::common::background::{full_pipe, wait_until_it_took, wait_until_read};
use crate::common::{Environment, Run, Snapshot, TestTree, assert_mirrored};
use crate::locks::{large, send, telling, under_way};
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;

/// Many small files.
fn many(count: usize) -> Environment {
    let env = Environment::new();
    for n in 0..count {
        let directory = env.source.join(format!("d{}", n % 40));
        if n < 40 {
            fs::create_dir(&directory).unwrap();
        }
        fs::write(directory.join(format!("f{n}")), n.to_string()).unwrap();
    }
    env
}

fn interrupted(env: &Environment, signal: Signal, code: i32) {
    let child = under_way(env, &[]);
    // It can't come to its end before the signal does.
    send(&child, Signal::STOP);
    send(&child, signal);
    send(&child, Signal::CONT);
    let run = Run::wait(child, format!("a run that gets {signal:?}")).expect(code);
    let finished = run.finished();
    assert_eq!(finished.record["verdict"], "interrupted", "{}", run.told());
    let files = walkdir::WalkDir::new(&env.source).into_iter();
    let files = files.filter(|entry| entry.as_ref().is_ok_and(|it| it.file_type().is_file()));
    let copied = finished.count("files_copied");
    assert!(copied < files.count() as u64, "it went on to its end: {}", run.told());
    assert!(
        Snapshot::read(&env.target).temporaries().is_empty(),
        "in flight: finished or discarded"
    );
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    env.verify(&[]).expect(0);
}

#[test]
fn sigint_among_many_small_files() {
    interrupted(&many(6000), Signal::INT, 130);
}

#[test]
fn sigterm_among_many_small_files() {
    interrupted(&many(6000), Signal::TERM, 143);
}

#[test]
fn sigint_within_large_files() {
    interrupted(&large(), Signal::INT, 130);
}

#[test]
fn sigterm_within_large_files() {
    interrupted(&large(), Signal::TERM, 143);
}

#[test]
fn an_interrupted_run_deletes_nothing() {
    let env = Environment::new();
    fs::File::create(env.source.join("large")).unwrap().set_len(8 << 20).unwrap();
    let extra = (0..100).fold(TestTree::new(), |tree, n| tree.file(format!("extra-{n}"), "x"));
    extra.write(&env.target);
    let slowly = ["--delete", "--max-delete", "100%", "--no-holes", "--bwlimit", "1MiB/s"];
    let mut command = env.command(&env.mirror_arguments(&slowly));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // By then the listings are complete.
    let at = ("progress", Signal::INT);
    let run = Run::signalled_at(child, at, "an interrupted run".into()).expect(130);
    run.finished().counts(&[("files_deleted", 0)]);
    let left = (0..100).filter(|n| env.target.join(format!("extra-{n}")).exists()).count();
    assert_eq!(left, 100, "{}", run.told());
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_second_signal_ends_at_once() {
    let env = large();
    // Nobody takes what it tells at its end: the first signal alone never ends it.
    let (_reader, writer) = full_pipe();
    let child = telling(&env, &[], writer.into());
    send(&child, Signal::INT);
    wait_until_it_took(&child, Signal::INT);
    send(&child, Signal::INT);
    Run::wait(child, "a run that gets two signals".into()).expect(130);
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
}

/// Patterns, lists and keys that never come.
#[test]
fn a_signal_ends_a_command_that_waits_for_its_input() {
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    std::fs::create_dir(&env.target).unwrap();
    TestTree::new().fifo("pipe").write(&env.outside);
    // Who writes to it holds it open.
    let pipe = std::fs::File::options().read(true).write(true).open(env.outside.join("pipe"));
    let pipe = pipe.unwrap();
    for arguments in [
        &["mirror", "--exclude-from", "-", "source", "other"][..],
        &["bag", "--include-from", "-", "source", "other"],
        &["verify", "--against", "source", "--exclude-from", "-", "target"],
        &["explain", "--exclude-from", "-", "source", "other", "a"],
        &["manifest", "import", "--format", "b3sum", "target", "-"],
        &["manifest", "import", "--format", "b3sum", "target", "outside/pipe"],
        &["mirror", "--sign", "outside/pipe", "source", "other"],
        &["verify", "--key", "outside/pipe", "target"],
        &["put", "-", "outside/put"],
    ] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut command = env.command(arguments);
            command.stdin(pipe.try_clone().unwrap());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            // A line that doesn't end: whoever took it waits for more.
            rustix::io::write(&pipe, b"0").unwrap();
            wait_until_read(&pipe);
            send(&child, signal);
            let code = if signal == Signal::INT { 130 } else { 143 };
            Run::wait(child, format!("{arguments:?}")).expect(code);
        }
    }
    assert!(!env.root.join("other").exists() && !env.outside.join("put").exists());
}
