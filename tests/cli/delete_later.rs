//! Nothing is deleted while what may be its successor failed: deletions wait for the next run then,
//! and what a failed copy collided with stays in any case.

use crate::common::environment::NOBODY;
use crate::common::{Environment, TestTree, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".vidimus");
    names.sort();
    names
}

#[test]
fn a_file_that_was_renamed_and_cannot_be_read_keeps_its_copy() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let tree = TestTree::new().file("old", "precious").file("gone/a", "1").file("gone/b", "2");
    tree.file("c", "3").file("d", "4").file("e", "5").write(&env.source);
    for entry in walkdir::WalkDir::new(&env.source) {
        chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    env.age();
    let arguments = env.mirror_arguments(&["--delete", "--max-delete", "100%"]);
    env.as_nobody(&arguments).unwrap().expect(0);
    fs::remove_file(env.source.join("old")).unwrap();
    TestTree::new().file("new", "precious").mode(0o600).write(&env.source);
    fs::remove_dir_all(env.source.join("gone")).unwrap();
    env.age();
    let run = env.as_nobody(&arguments).unwrap().expect(1).names("\"new\"");
    run.finished().counts(&[
        ("files_failed", 1),
        ("copies_failed", 1),
        ("files_deleted", 0),
        ("directories_deleted", 0),
        ("file_deletions_waiting", 3),
        ("directory_deletions_waiting", 1),
    ]);
    assert_eq!(fs::read(env.target.join("old")).unwrap(), b"precious");
    let words: Vec<_> = arguments.iter().filter(|word| *word != "--json").cloned().collect();
    let told = env.as_nobody(&[&words[..], &["-v".to_owned()]].concat()).unwrap().expect(1);
    let told = told.names("deletions waiting 3 files, 1 directory").names("delete later     old");
    told.names("--delete-despite-errors").names("delete later     gone/  (not in the source)");
    // Somebody who wants it so has it so.
    let despite = [&arguments[..], &["--delete-despite-errors".to_owned()]].concat();
    let deleted = env.as_nobody(&despite).unwrap().expect(1).finished();
    deleted.counts(&[("files_deleted", 3), ("file_deletions_waiting", 0)]);
    assert!(!env.target.join("old").exists() && !env.target.join("gone").exists());
}

#[test]
fn a_device_that_cannot_be_made_keeps_nothing_from_being_deleted() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    TestTree::new().file("a", "1").file("b", "2").file("extra", "x").write(&env.source);
    env.as_nobody(&env.mirror_arguments(&[])).unwrap().expect(0);
    fs::remove_file(env.source.join("extra")).unwrap();
    TestTree::new().device("device").write(&env.source);
    let run = env.as_nobody(&env.mirror_arguments(&["--delete"])).unwrap().expect(1);
    run.finished().counts(&[("files_deleted", 1), ("file_deletions_waiting", 0)]);
}

#[test]
fn a_dry_run_says_which_deletions_would_wait() {
    let env = Environment::new();
    // A file where the target has a directory that an option protects can't be replaced.
    TestTree::new().file("a/b", "1").file("c", "2").write(&env.source);
    TestTree::new().file("a", "in the way").file("extra", "x").write(&env.target);
    let flags = ["--delete", "--max-delete", "100%", "--max-size", "5B", "--dry-run"];
    let run = env.mirror(&flags).expect(1);
    let finished = run.finished();
    finished.counts(&[("file_deletions_waiting", 1), ("copies_failed", 2)]);
    assert_eq!(finished.record["would"]["delete_later"], 1, "{}", finished.record);
    assert_eq!(finished.record["would"]["delete"], 0, "{}", finished.record);
    env.mirror(&flags[..5]).expect(1);
    assert!(env.target.join("extra").exists());
}

#[test]
fn a_leaf_in_the_place_of_a_directory_waits_with_its_deletion() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    TestTree::new().file("d/a", "1").file("x", "2").write(&env.source);
    let arguments = env.mirror_arguments(&["--delete", "--max-delete", "100%"]);
    env.as_nobody(&arguments).unwrap().expect(0);
    fs::remove_dir_all(env.source.join("d")).unwrap();
    TestTree::new().file("d", "a file").file("new", "n").mode(0o600).write(&env.source);
    let run = env.as_nobody(&arguments).unwrap().expect(1);
    // No advice to give the flag that was given.
    run.names("is in its place").is_silent_about("--delete deletes");
    assert_eq!(fs::read(env.target.join("d/a")).unwrap(), b"1");
    fs::remove_file(env.source.join("new")).unwrap();
    env.as_nobody(&arguments).unwrap().expect(0);
    assert_eq!(fs::read(env.target.join("d")).unwrap(), b"a file");
}

/// A target that takes names which differ in case alone for one.
fn folding(env: &Environment) -> Result<tools::Mount, String> {
    tools::mounts()?;
    fs::create_dir_all(&env.target).expect("make the target");
    tools::Mount::folding(&env.root.join("image"), &env.target, 60)
}

#[test]
fn a_file_renamed_in_its_case_alone_keeps_its_only_copy() {
    let env = Environment::new();
    let mounted = folding(&env);
    needs!(mounted.as_ref().map(drop).map_err(Clone::clone));
    TestTree::new().file("report", "precious").file("gone", "1").write(&env.source);
    for other in ["a", "b", "c", "d"] {
        TestTree::new().file(format!("kept/{other}"), other).write(&env.source);
    }
    env.mirror(&[]).expect_one_of(&[0, 1]);
    assert_eq!(fs::read(env.target.join("report")).unwrap(), b"precious");
    fs::rename(env.source.join("report"), env.source.join("Report")).unwrap();
    fs::rename(env.source.join("kept"), env.source.join("Kept")).unwrap();
    fs::remove_file(env.source.join("gone")).unwrap();
    let flags = ["--delete", "--max-delete", "100%", "-v"];
    let run = env.mirror(&flags).expect(1).names("\"Report\"");
    run.finished().counts(&[("files_deleted", 0), ("file_deletions_waiting", 6)]);
    assert_eq!(names(&env.target), ["gone", "kept", "report"]);
    let run = env.mirror(&[&flags[..], &["--delete-despite-errors"]].concat()).expect(1);
    run.finished().counts(&[
        ("files_deleted", 1),
        ("file_deletions_waiting", 5),
        ("directory_deletions_waiting", 1),
    ]);
    assert_eq!(names(&env.target), ["kept", "report"]);
    assert_eq!(names(&env.target.join("kept")), ["a", "b", "c", "d"]);
    assert_eq!(fs::read(env.target.join("report")).unwrap(), b"precious");
    drop(mounted);
}
