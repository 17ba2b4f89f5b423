//! What is seen in a terminal, and what is not seen where there is none.

use crate::common::environment::text;
use crate::common::{Environment, Run, tools};
use crate::locks::large;
use crate::mirror::sample;
use crate::needs;
use std::process::Command;

/// Runs a mirror in a pseudo-terminal and yields what the terminal got.
fn in_terminal(env: &Environment, flags: &str, variables: &[(&str, &str)]) -> String {
    let binary = env!("CARGO_BIN_EXE_vidimus");
    let line = format!("'{binary}' mirror '{}' '{}' {flags}", text(&env.source), text(&env.target));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    let mut command = env.hermetic(command);
    command.env("TERM", "xterm-256color").env("COLUMNS", "100").env("LINES", "30");
    command.envs(variables.iter().copied());
    Run::of(command).expect(0).stdout
}

#[test]
fn progress_is_drawn_in_a_terminal() {
    needs!(tools::tool("script"));
    let env = large();
    let seen = in_terminal(&env, "", &[]);
    assert!(seen.contains('\x1b'), "{seen:?}");
    assert!(seen.contains("large-"), "what is in flight: {seen:?}");
    for word in ["files", "iB", "iB/s"] {
        assert!(seen.contains(word), "{word}: {seen:?}");
    }
}

#[test]
fn no_progress_is_drawn_where_it_is_not_wanted() {
    needs!(tools::tool("script"));
    for flags in ["--no-progress", "-q", "--json"] {
        let env = Environment::new();
        sample().write(&env.source);
        let seen = in_terminal(&env, flags, &[]);
        assert!(!seen.contains("\x1b[2K") && !seen.contains("\x1b[1A"), "{flags}: {seen:?}");
    }
}

#[test]
fn no_color_means_no_colour() {
    needs!(tools::tool("script"));
    for (flags, variables) in [("--color never", &[][..]), ("", &[("NO_COLOR", "1")])] {
        let env = Environment::new();
        sample().fifo("pipe").write(&env.source);
        let seen = in_terminal(&env, &format!("{flags} -v --exclude pipe"), variables);
        let colours = ["\x1b[3", "\x1b[1m", "\x1b[9", "\x1b[0;3"];
        assert!(!colours.iter().any(|colour| seen.contains(colour)), "{flags}: {seen:?}");
    }
}

#[test]
fn nothing_is_drawn_where_there_is_no_terminal() {
    let env = large();
    let run = env.vidimus(&["mirror", "source", "target"]).expect(0);
    for output in [&run.stdout, &run.stderr] {
        assert!(!output.contains('\x1b') && !output.contains('\r'), "{output:?}");
    }
}

#[test]
fn quiet_says_nothing_of_a_run_that_went_well() {
    let env = Environment::new();
    sample().write(&env.source);
    let run = env.vidimus(&["mirror", "-q", "source", "target"]).expect(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{}", run.told());
}

#[test]
fn quiet_still_names_failures() {
    let env = Environment::new();
    sample().fifo("pipe").write(&env.source);
    let run = env.vidimus(&["mirror", "-q", "source", "target"]).expect(1);
    assert!(run.stderr.contains("pipe"), "{}", run.told());
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_copying() {
    let env = Environment::new();
    sample().write(&env.source);
    let mut command = env.command(&["mirror", "-v", "source", "target"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::wait(child, "mirror -v into a closed pipe".into());
    assert!(!run.stderr.contains("panicked"), "{}", run.told());
    crate::common::assert_mirrored(&env.source, &env.target);
}
