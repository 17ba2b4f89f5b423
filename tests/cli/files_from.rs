//! `--files-from`: a run that is limited to listed names.

use crate::common::environment::text;
use crate::common::{Environment, Run, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

fn tree() -> TestTree {
    TestTree::new()
        .file("a", "a")
        .file("b", "b")
        .file("d/e/f", "f")
        .file("d/e/g", "g")
        .file("d/h", "h")
        .file("w/x/y", "y")
        .file("w/z", "z")
}

/// An environment with this source and this list.
fn listed(list: &str) -> Environment {
    let env = Environment::new();
    tree().write(&env.source);
    env.age();
    fs::write(list_of(&env), list).unwrap();
    env
}

fn list_of(env: &Environment) -> std::path::PathBuf {
    env.source.with_file_name("list")
}

/// The flags that name the list, and others.
fn flags(env: &Environment, more: &[&str]) -> Vec<String> {
    let list = list_of(env);
    let named = ["--files-from", text(&list)].into_iter().chain(more.iter().copied());
    named.map(str::to_owned).collect()
}

fn mirror(env: &Environment, more: &[&str]) -> Run {
    let flags = flags(env, more);
    env.mirror(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the target holds beside its manifest.
fn kept(env: &Environment) -> Vec<String> {
    let walk = walkdir::WalkDir::new(&env.target).sort_by_file_name().min_depth(1);
    let entries = walk.into_iter().map(Result::unwrap);
    let name = |entry: walkdir::DirEntry| {
        let slash = if entry.file_type().is_dir() { "/" } else { "" };
        format!("{}{slash}", text(entry.path().strip_prefix(&env.target).unwrap()))
    };
    entries.map(name).filter(|name| !name.starts_with(".vidimus")).collect()
}

#[test]
fn only_listed_names_are_mirrored() {
    let env = listed("a\n./d/e/f\n# no\nw/\n");
    mirror(&env, &[]).expect(0).finished().counts(&[("files_copied", 4)]);
    let expected = ["a", "d/", "d/e/", "d/e/f", "w/", "w/x/", "w/x/y", "w/z"];
    assert_eq!(kept(&env), expected);
    mirror(&env, &[]).expect(0).finished().counts(&[("files_copied", 0), ("files_unchanged", 4)]);
    // A directory without its contents.
    fs::write(list_of(&env), "d\n").unwrap();
    mirror(&env, &["--delete"]).expect(0).finished().counts(&[("files_deleted", 0)]);
    assert_eq!(kept(&env), expected);
    env.mirrored(&[]).counts(&[("files_copied", 3), ("files_unchanged", 4)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn listed_names_can_come_from_standard_input_and_hold_newlines() {
    let env = listed("");
    fs::write(env.source.join("new\nline"), "x").unwrap();
    let mut command = env.command(&env.mirror_arguments(&["--files-from", "-", "-0"]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"new\nline\0#none\0").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "#none is no comment here");
    assert_eq!(kept(&env), ["new\nline"]);
}

#[test]
fn a_listed_name_that_the_source_lacks_fails_or_is_deleted() {
    let env = listed("a\nd/e/f\nd/e/gone\nw/\n");
    TestTree::new()
        .file("d/e/gone", "gone")
        .file("d/e/other", "other")
        .file("w/extra", "extra")
        .file("none/of/it", "stays")
        .write(&env.target);
    let run = mirror(&env, &[]).expect(1).names("d/e/gone").names("the source does not have it");
    run.finished().counts(&[("files_failed", 1)]);
    fs::write(list_of(&env), "a\nd/e/f\nd/e/gone\nnone/of/that\nw/\n").unwrap();
    mirror(&env, &["--delete", "--dry-run"]).expect(0).names("w/extra").is_silent_about("other");
    mirror(&env, &["--delete"]).expect(0).finished().counts(&[("files_deleted", 2)]);
    let expected = ["a", "d/", "d/e/", "d/e/f", "d/e/other", "none/", "none/of/", "none/of/it"];
    assert_eq!(kept(&env)[..8], expected);
    assert!(!kept(&env).contains(&"w/extra".to_owned()));
    // All that is listed may be gone from the source.
    fs::write(list_of(&env), "d/e/other\n").unwrap();
    mirror(&env, &["--delete", "--max-delete", "1"]).expect(0);
    assert!(!kept(&env).contains(&"d/e/other".to_owned()));
}

#[test]
fn a_file_in_the_place_of_a_directory_above_a_listed_name_stays_as_it_is() {
    let env = listed("a/x\n");
    fs::create_dir_all(&env.target).unwrap();
    fs::write(env.target.join("a"), "older").unwrap();
    mirror(&env, &[]).expect(1).names("ot a directory");
    mirror(&env, &["--delete"]).expect(0);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"older");
}

#[test]
fn nothing_but_listed_names_is_read() {
    needs!(tools::strace());
    let env = listed("d/e/f\n");
    let flags = flags(&env, &[]);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let arguments = env.mirror_arguments(&flags);
    env.strace(&["-e", "trace=getdents64,statx"], &arguments).expect(0);
    let trace = env.trace();
    assert!(trace.contains("\"f\""), "{trace}");
    for other in ["\"g\"", "\"h\"", "\"w\"", "\"b\""] {
        assert!(!trace.contains(other), "{other} in {trace}");
    }
}

#[test]
fn verify_and_explain_know_what_a_listed_run_says() {
    let env = listed("a\n");
    env.mirrored(&["--delete", "--exclude", "b"]);
    fs::write(env.source.join("a"), "changed").unwrap();
    fs::write(env.source.join("d/h"), "changed").unwrap();
    mirror(&env, &[]).expect(0).finished().counts(&[("files_copied", 1)]);
    // The run before said that nothing else is there; its filter counts, not the list.
    fs::write(env.target.join("extra"), "extra").unwrap();
    env.verify(&[]).expect(3).names("extra").is_silent_about("missing");
    fs::remove_file(env.target.join("extra")).unwrap();
    env.verify(&[]).expect(0);
    let explain = |key: &str| {
        let list = list_of(&env);
        let (source, target) = (text(&env.source), text(&env.target));
        env.vidimus(&["explain", "--files-from", text(&list), source, target, key])
    };
    explain("a").expect(0);
    explain("d/h").expect(2).names("is not listed");
}

#[test]
fn a_list_with_an_illegal_name_or_for_a_single_file_is_refused() {
    let env = listed("a\n../b\n");
    mirror(&env, &[]).expect(2).names("../b");
    let list = list_of(&env);
    let (file, target) = (env.source.join("a"), text(&env.target));
    env.vidimus(&["mirror", "--files-from", text(&list), text(&file), target])
        .expect(2)
        .names("a list of names needs a directory");
    env.mirror(&["--from0"]).expect(2).names("--from0 makes no sense without --files-from");
    env.mirror(&["--files-from", "/none"]).expect(2).names("cannot read names from");
}
