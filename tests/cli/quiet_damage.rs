//! What is told to those, too, who want to hear of failures alone.

use crate::common::background::wait_until_it_listens;
use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree};
use crate::locks::send;
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;

#[test]
fn damage_of_the_manifest_is_told_in_quiet_too_and_what_is_worth_knowing_is_not() {
    let env = Environment::new();
    TestTree::new().file("f", "content").write(&env.source);
    env.mirrored(&[]);
    let pointer = env.target.join(".vidimus/manifest/latest.json");
    fs::remove_file(&pointer).expect("remove");
    let run = env.vidimus(&["mirror", "source", "target", "-q"]).expect(0);
    run.names("warning: ").names("latest.json: it is missing");
    fs::remove_file(&pointer).expect("remove");
    let run = env.mirror(&["-q"]).expect(0).names("\"level\":\"warning\"");
    run.names("latest.json: it is missing");
    let left = r#"{"run":"dead","pid":7,"host":"h","started":"2026-11-21T03:38:00Z"}"#;
    for command in [&["mirror", "source", "target", "-q"][..], &["put", "-", "target/put", "-q"]] {
        fs::write(env.target.join(".vidimus/lock"), left).expect("write");
        let mut run = env.command(command);
        run.stdin(fs::File::open(env.source.join("f")).expect("open"));
        Run::of(run).expect(0).is_silent_about("took over");
    }
}

#[test]
fn verify_tells_warnings_in_quiet_too_and_notes_neither_as_text_nor_as_records() {
    let env = Environment::new();
    TestTree::new().file("f", "content").write(&env.source);
    env.mirrored(&[]);
    fs::remove_dir_all(&env.state).expect("remove the state");
    let typed = format!("{}/f", text(&env.source));
    let against = ["verify", "target", "--against", "source", "--exclude", &typed];
    env.vidimus(&against).expect_one_of(&[0, 3]).names("note: the pattern");
    for quiet in [&["-q"][..], &["-q", "--json"]] {
        let run = env.vidimus(&[&["verify", "target", "--budget", "1B"], quiet].concat()).expect(0);
        run.names("warning").names("cannot record which files were verified");
        let run = env.vidimus(&[&against[..], quiet].concat()).expect_one_of(&[0, 3]);
        run.is_silent_about("the pattern");
    }
}

#[test]
fn a_run_that_did_not_do_all_is_named_in_quiet_too() {
    let env = Environment::new();
    TestTree::new().file("f", "content").failing().write(&env.source);
    env.mirror(&[]).expect(1);
    for _ in 0..2 {
        let run = env.vidimus(&["verify", "-q", "target"]).expect(3).names("error: run ");
        assert!(run.stdout.is_empty(), "{}", run.told());
        run.names("was incomplete").names("help: mirror again").names("--allow-incomplete");
        let run = env.vidimus(&["verify", "-q", "--allow-incomplete", "target"]).expect(0);
        assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{}", run.told());
    }
}

#[test]
fn a_run_that_is_stopped_says_so_in_quiet_too() {
    let env = Environment::new();
    let large = vec![7; 4 << 20];
    TestTree::new().file("large", large).write(&env.source);
    env.mirrored(&[]);
    fs::create_dir(env.root.join("other")).expect("make a directory");
    fs::copy(env.source.join("large"), env.root.join("other/large")).expect("copy");
    for arguments in [
        &["mirror", "source", "fresh"][..],
        &["mirror", "--dry-run", "--checksum", "source", "other"],
        &["verify", "target"],
        &["verify", "--against", "source", "target"],
        &["diff", "--content", "source", "other"],
    ] {
        let mut command = env.command(arguments);
        command.args(["-q", "--bwlimit", "1MiB/s"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("spawn");
        wait_until_it_listens(&child);
        send(&child, Signal::TERM);
        let run = Run::wait(child, format!("{arguments:?}")).expect(143);
        assert!(run.stdout.is_empty(), "{}", run.told());
        run.names("error: ").names("interrupted");
    }
}
