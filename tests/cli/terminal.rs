//! What is seen in a terminal, and what is not seen where there is none.

use crate::common::environment::text;
use crate::common::pane::{Pane, is_bar};
use crate::common::tree::FAILING;
use crate::common::{Environment, Run, TestTree, tools};
use crate::locks::large;
use crate::mirror::sample;
use crate::needs;
use std::fs;
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
    let seen = in_terminal(&env, "--no-holes", &[]);
    assert!(seen.contains('\x1b'), "{seen:?}");
    assert!(seen.contains("large-"), "what is in flight: {seen:?}");
    for word in ["files", "iB", "iB/s"] {
        assert!(seen.contains(word), "{word}: {seen:?}");
    }
}

/// Begins a first run that takes a while, below ten lines of other output, in a terminal.
fn slow_run(env: &Environment, columns: u16) -> Pane<'_> {
    let directory = env.source.join("a directory with quite a long name/and another below it");
    fs::create_dir_all(&directory).unwrap();
    fs::File::create(directory.join("film.mkv")).unwrap().set_len(200 << 20).unwrap();
    TestTree::new().file("zz/last", "1").failing().write(&env.source);
    let pane = Pane::new(env, columns, &[]);
    let binary = env!("CARGO_BIN_EXE_vidimus");
    let flags = "--no-holes --bwlimit 8MiB/s";
    pane.enter(&format!("clear; seq 101 110; '{binary}' mirror {flags} source target"));
    pane
}

/// The lines from the output before the run on.
fn below<'l>(lines: &'l [String], last: &str) -> &'l [String] {
    let at = lines.iter().position(|line| line == last).expect("what was written before stands");
    &lines[at + 1..]
}

#[test]
fn a_first_run_has_a_share_and_a_time_left_within_seconds_at_any_width() {
    needs!(tools::tool("tmux"));
    let env = Environment::new();
    let pane = slow_run(&env, 200);
    let is_estimated = |lines: &[String]| lines.iter().any(|line| line.ends_with(" left"));
    let lines = pane.wait("a time left", is_estimated);
    let bar = lines.iter().find(|line| is_bar(line)).unwrap();
    assert!(bar.starts_with('[') && bar.contains("of 200.0 MiB") && bar.len() > 190, "{bar}");
    assert!(lines.iter().any(|line| line.contains("1 failed")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("below it/film.mkv")), "{lines:?}");
    for columns in [80, 40] {
        pane.resize(columns);
        let width = usize::from(columns);
        let fits = |line: &String| {
            let is_whole = line.starts_with('[') && line.ends_with(" left");
            is_whole && line.chars().count() < width
        };
        let lines = pane.wait("a bar that fits", |lines| lines.iter().any(fits));
        let lines = below(&lines, "110");
        let bars = lines.iter().filter(|line| is_bar(line)).count();
        assert_eq!(bars, 1, "nothing is left of wider ones: {lines:?}");
        assert!(lines.iter().any(|line| line.contains("…/film.mkv")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("1 failed")), "{lines:?}");
    }
}

#[test]
fn resizing_eats_nothing_and_leaves_nothing() {
    needs!(tools::tool("tmux"));
    let env = Environment::new();
    let pane = slow_run(&env, 100);
    pane.wait("a bar", |lines| lines.iter().any(|line| is_bar(line)));
    for columns in [50, 40, 90, 30, 120, 60] {
        pane.resize(columns);
        let width = columns.into();
        let fits = |line: &String| is_bar(line) && line.chars().count() < width;
        pane.wait("a bar that fits", |lines| lines.iter().any(fits));
    }
    let fits = |line: &String| is_bar(line) && (50..60).contains(&line.chars().count());
    let lines = pane.wait("a bar of sixty columns", |lines| lines.iter().any(fits));
    let lines = below(&lines, "110");
    assert!(lines.iter().all(|line| !line.contains("101")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| is_bar(line)).count(), 1, "{lines:?}");
}

#[test]
fn an_interrupt_leaves_no_bar_above_the_summary_and_a_failure_is_told_once() {
    needs!(tools::tool("tmux"));
    let env = Environment::new();
    let pane = slow_run(&env, 80);
    pane.wait("a bar", |lines| lines.iter().any(|line| is_bar(line)));
    pane.interrupt();
    let lines = pane.wait_for_end();
    let lines = below(&lines, "110");
    let bar = |line: &&String| is_bar(line) || line.contains("film.mkv") || line.contains("^C");
    assert_eq!(lines.iter().find(bar), None, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains(".vidimus.0123")).count(), 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("interrupted: ")), "{lines:?}");
}

/// Widths at which the share, the rate and the time left stand; the wider two have the bytes too.
const WIDTHS: [u16; 3] = [200, 80, 40];

/// Holds a bar to what it tells at each width.
#[track_caller]
fn at_all_widths(pane: &Pane<'_>, bytes: &str) {
    for columns in WIDTHS {
        pane.resize(columns);
        let width = usize::from(columns);
        let fits = |line: &String| {
            let fills = (width - 10..width).contains(&line.chars().count());
            is_bar(line) && line.starts_with('[') && line.ends_with(" left") && fills
        };
        let lines = pane.wait("a bar that fits", |lines| lines.iter().any(fits));
        let bar = lines.iter().find(|line| fits(line)).unwrap();
        assert_eq!(bar.contains(bytes), columns != 40, "{columns}: {bar}");
        assert_eq!(lines.iter().filter(|line| is_bar(line)).count(), 1, "{lines:?}");
    }
}

/// A mirror of 200 MiB, and a file more.
fn large_film() -> Environment {
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    fs::File::create(env.source.join("film.mkv")).unwrap().set_len(200 << 20).unwrap();
    env.mirrored(&["--no-holes"]);
    env
}

#[test]
fn verify_shows_what_there_is_to_read() {
    needs!(tools::tool("tmux"));
    let env = large_film();
    let pane = Pane::new(&env, 80, &[]);
    pane.vidimus("verify --bwlimit 8MiB/s target");
    let lines = pane.wait("the total", |lines| {
        lines.iter().any(|line| line.contains(" of 200.0 MiB hashed") && line.ends_with(" left"))
    });
    assert!(lines.iter().any(|line| line.contains("of 3 entries looked at")), "{lines:?}");
    at_all_widths(&pane, " of 200.0 MiB hashed");
}

#[test]
fn verify_without_a_state_shows_what_the_manifest_tells() {
    needs!(tools::tool("tmux"));
    let env = large_film();
    fs::remove_dir_all(&env.state).unwrap();
    let pane = Pane::new(&env, 80, &[]);
    pane.vidimus("verify --bwlimit 8MiB/s target");
    let bar = pane.wait_for_bar("a time left");
    assert!(bar.contains(" of 200.0 MiB hashed"), "{bar}");
}

#[test]
fn verify_within_a_budget_shows_the_smaller_of_it_and_the_whole() {
    needs!(tools::tool("tmux"));
    let env = large_film();
    let pane = Pane::new(&env, 80, &[]);
    for (budget, told) in [("100MiB", " of 100.0 MiB hashed"), ("1GiB", " of 200.0 MiB hashed")] {
        pane.vidimus(&format!("verify --bwlimit 8MiB/s --budget {budget} target"));
        pane.wait(told, |lines| {
            lines.iter().any(|line| line.contains(told) && line.ends_with(" left"))
        });
        pane.interrupt();
        pane.wait_for_end();
    }
}

#[test]
fn verify_within_a_time_shows_what_it_is_enough_for() {
    needs!(tools::tool("tmux"));
    let env = large_film();
    let pane = Pane::new(&env, 80, &[]);
    pane.vidimus("verify --bwlimit 8MiB/s --budget 12s target");
    let is_told = |line: &String| line.contains(" of ~") && line.ends_with(" left");
    let lines = pane.wait("the total", |lines| lines.iter().any(is_told));
    let bar = lines.iter().find(|line| is_told(line)).unwrap();
    let told = bar.rsplit_once(", ").unwrap().1;
    let left: u64 = told.trim_start_matches('~').split(' ').next().unwrap().parse().unwrap();
    assert!(left < 12 && !bar.contains("200.0 MiB"), "{bar}");
}

#[test]
fn verify_against_a_source_shows_what_both_sides_have() {
    needs!(tools::tool("tmux"));
    let env = large_film();
    let pane = Pane::new(&env, 80, &[]);
    pane.vidimus("verify --bwlimit 8MiB/s --against source target");
    let bar = pane.wait_for_bar("a time left");
    assert!(bar.contains(" of 400.0 MiB hashed"), "both sides are joined: {bar}");
    at_all_widths(&pane, " of 400.0 MiB hashed");
}

#[test]
fn no_progress_is_drawn_where_it_is_not_wanted() {
    needs!(tools::tool("script"));
    // Long enough for what is drawn each tenth of a second.
    let slow = |flags: &str| {
        let env = Environment::new();
        TestTree::new().file("a", vec![7; 1 << 20]).write(&env.source);
        let flags = format!("{flags} --bwlimit 1MiB/s");
        in_terminal(&env, &flags, &[("NO_COLOR", "1")]).replace("\r\n", "\n")
    };
    assert!(slow("").contains('\x1b'), "it is drawn where it is wanted");
    for flags in ["--no-progress", "-q", "--json"] {
        let seen = slow(flags);
        assert!(!seen.contains(['\x1b', '\r']), "{flags}: {seen:?}");
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
    let run = env.vidimus(&["mirror", "--no-holes", "source", "target"]).expect(0);
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
    sample().failing().write(&env.source);
    let run = env.vidimus(&["mirror", "-q", "source", "target"]).expect(1);
    assert!(run.stderr.contains(FAILING), "{}", run.told());
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
