use super::super::args::{Cli, Command, command};
use super::*;
use clap::FromArgMatches as _;
use rustix::fs::Mode;
use std::io::Write as _;

pub(super) fn parse(words: &[&str]) -> (MirrorArgs, ArgMatches) {
    let line = ["vidimus", "mirror", "--state-dir", "/state"].iter().chain(words);
    let matches = command().try_get_matches_from(line).unwrap();
    let Command::Mirror(args) = Cli::from_arg_matches(&matches).unwrap().command else {
        panic!("another command");
    };
    let matches = matches.subcommand_matches("mirror").unwrap().clone();
    (*args, matches)
}

fn made(words: &[&str]) -> Result<Mirror, String> {
    let (args, matches) = parse(words);
    mirror(&args, &matches, Mode::from_raw_mode(0o022)).map_err(|error| error.to_string())
}

#[test]
fn a_pattern_file_that_cannot_be_read_is_named() {
    let error = made(&["s", "t", "--exclude-from", "/nowhere/x"]).err().unwrap();
    assert_eq!(error, "cannot read patterns from \"/nowhere/x\"");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a\n\xff\n").unwrap();
    let error = made(&["s", "t", "--include-from", file.path().to_str().unwrap()]);
    assert!(error.err().unwrap().ends_with("line 2 is not UTF-8"));
}

#[test]
fn options_of_deletion_are_refused_without_it() {
    for flags in [
        &["--delete-excluded"][..],
        &["--delete-despite-errors"],
        &["--accept-source"],
        &["--max-delete", "3"],
    ] {
        let error = made(&[flags, &["s", "t"]].concat()).err().unwrap();
        assert!(error.contains("needs --delete"), "{error}");
        made(&[flags, &["--delete", "s", "t"]].concat()).unwrap();
    }
    assert!(made(&["s", "t"]).unwrap().options().delete.is_none());
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    assert!(made(&["-c", "--size-only", "s", "t"]).err().unwrap().contains("--size-only"));
    let sizes = ["--min-size", "2KiB", "--max-size", "1KiB", "s", "t"];
    assert!(made(&sizes).err().unwrap().contains("--min-size"));
    assert!(made(&["a", "b", "c"]).err().unwrap().contains("3 locations"));
}

#[test]
fn verbose_and_quiet_exclude_each_other_and_may_be_repeated() {
    for both in [["-q", "-v"], ["-v", "--quiet"]] {
        let (args, matches) = parse(&[&both[..], &["s", "t"]].concat());
        let error = check_output(&args.flags.run.output, &matches).unwrap_err();
        assert!(error.message.contains("--quiet"), "{error}");
    }

    let shown = |flags: &[&str]| {
        let (args, matches) = parse(&[flags, &["s", "t"]].concat());
        let human = human(&args.flags.run.output, &matches, false);
        (human.verbose, human.quiet)
    };
    assert_eq!(shown(&["-vv"]), (true, false));
    assert_eq!(shown(&[]), (false, false));
}
