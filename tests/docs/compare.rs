//! An output against what a page shows of it.

use regex::Regex;
use snapbox::Redactions;
use snapbox::filter::NormalizeToExpected;
use std::sync::LazyLock;

/// What differs between two runs of one command: a page shows it as it once was.
static VARYING: LazyLock<Redactions> = LazyLock::new(|| {
    let mut varying = Redactions::new();
    for (placeholder, pattern) in [
        ("[RUN]", r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"),
        ("[TIME]", r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z"),
        ("[DURATION]", r"time [0-9.]+ (ms|s)"),
        ("[SPEED]", r"[0-9.]+ ([KMG]i)?B/s"),
        ("[INODE]", r"inode [0-9]+"),
        ("[OWNER]", r"owner [0-9]+, group [0-9]+"),
        ("[KEY]", r"key [0-9A-F]{16}"),
        ("[SEED]", r"%@[0-9a-f]{8}"),
    ] {
        let pattern = Regex::new(pattern).expect("these are regular expressions");
        varying.insert(placeholder, pattern).expect("placeholders stand in brackets");
    }
    varying
});

/// Whether a page that shows `expected` is true of `actual`. In it `…` stands for anything in a line,
/// and on a line of its own for any lines.
pub(crate) fn agrees(expected: &str, actual: &str) -> bool {
    let lines = expected.lines().map(|line| match line {
        "…" => "...".to_owned(),
        _ => line.replace('…', "[..]"),
    });
    let pattern = VARYING.redact(&lines.map(|line| line + "\n").collect::<String>());
    let actual = VARYING.redact(actual);
    let found =
        NormalizeToExpected::new().redact().normalize(actual.into(), &pattern.clone().into());
    found.render().is_some_and(|found| found == pattern)
}

#[test]
fn only_what_varies_may_differ() {
    let shown = "copied  28 files\nin run 20261121T051725Z-e8e5af75\ntime 25 ms, speed 4.5 MiB/s\n";
    assert!(agrees(shown, shown));
    let later = "copied  28 files\nin run 20270102T030405Z-00000000\ntime 1.5 s, speed 0 B/s\n";
    assert!(agrees(shown, later));
    for other in [
        shown.replace("28", "29"),
        shown.replace("copied", "Copied"),
        shown.replace("  ", " "),
        shown.replace("ms,", "ms;"),
        format!("{shown}more\n"),
        shown.lines().take(2).collect(),
        String::new(),
    ] {
        assert!(!agrees(shown, &other), "{other}");
    }
}

#[test]
fn an_ellipsis_stands_for_what_is_left_out() {
    assert!(agrees("a\n…\nd\n", "a\nb\nc\nd\n"));
    assert!(!agrees("a\n…\nd\n", "a\nb\nc\n"));
    assert!(agrees("a … d\n", "a b c d\n") && !agrees("a … d\n", "a b\nc d\n"));
    assert!(agrees("7baa… it is\n", "7baa… it is\n"));
}
