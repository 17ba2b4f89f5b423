//! Failures of single entries: each is told once.

use crate::common::{Environment, Run, TestTree};

/// A source in which so many entries can't be copied.
fn failing(number: usize) -> Environment {
    let env = Environment::new();
    let tree = (0..number).fold(TestTree::new(), |tree, n| tree.fifo(format!("pipe-{n}-")));
    tree.write(&env.source);
    env
}

/// Mirrors as a person does.
fn mirror(env: &Environment, flags: &[&str]) -> Run {
    env.vidimus(&[&["mirror"], flags, &["source", "target"]].concat()).expect(1)
}

#[test]
fn a_failure_is_told_once() {
    let env = failing(2);
    for flags in [&[][..], &["-v"], &["-q"]] {
        let run = mirror(&env, flags);
        let told = format!("{}{}", run.stdout, run.stderr);
        for name in ["pipe-0-", "pipe-1-"] {
            assert_eq!(told.matches(name).count(), 1, "{flags:?}: {told}");
        }
    }
}

#[test]
fn failures_beyond_a_hundred_are_counted_and_verbose_tells_all() {
    let env = failing(300);
    let more = "100 failures are named above, and 200 more; -v shows all";
    for flags in [&[][..], &["-q"]] {
        let run = mirror(&env, flags).names(more);
        assert_eq!(run.stderr.matches("error: ").count(), 100, "{flags:?}: {}", run.told());
    }
    let run = mirror(&env, &["-v"]).is_silent_about("more; -v");
    for n in 0..300 {
        let name = format!("\"pipe-{n}-\"");
        assert_eq!(run.stderr.matches(&name).count(), 1, "{name}: {}", run.told());
    }
}
