//! The examples of the library, run as programs.

use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree};
use crate::needs;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// An example, which `cargo test` builds unless it is told which tests to build.
fn example(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_vidimus")).with_file_name("examples").join(name);
    let missing = || format!("the example {name} is not built (cargo build --examples)");
    path.exists().then_some(path).ok_or_else(missing)
}

fn run(env: &Environment, name: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(example(name).expect("it was needed"));
    command.args(arguments);
    Run::of(env.hermetic(command))
}

#[test]
fn the_examples_mirror_tell_what_they_would_do_and_verify() {
    needs!(example("mirror"), example("events"), example("verify"));
    let env = Environment::new();
    TestTree::new().file("a", "first").file("d/b", "second").write(&env.source);
    let (source, target) = (text(&env.source), text(&env.target));
    let told = run(&env, "events", &[source, target]).expect(0).stdout;
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("copy d/b (new)") && told.contains("make directory d/ (new)"), "{told}");
    assert!(!env.target.exists());
    run(&env, "mirror", &[source, target]).expect(0).names("copied 2 of 4 entries");
    run(&env, "verify", &[target]).expect(0).names("2 files are as recorded");
    fs::write(env.target.join("a"), "other").unwrap();
    run(&env, "verify", &[target]).expect(0).names("2 differences").names("corrupt a (");
}

#[test]
fn an_example_whose_run_is_incomplete_fails_with_a_sentence() {
    needs!(example("mirror"));
    let env = Environment::new();
    TestTree::new().file("a", "first").write(&env.source);
    let nowhere = env.root.join("nowhere");
    let failed = run(&env, "mirror", &[text(&nowhere), text(&env.target)]).expect(1);
    assert!(failed.stderr.starts_with("Error: cannot open the source"), "{}", failed.stderr);
}
