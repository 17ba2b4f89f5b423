//! Dry runs: they say what would be done, and do nothing.

use crate::common::environment::text;
use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, assert_untouched};
use crate::mirror::{mirrored, sample};
use std::fs;

/// Makes one of every change in a source that was mirrored.
fn edit(env: &Environment) {
    TestTree::new()
        .file("README.md", "hello, world, again\n")
        .file("new/file", "new")
        .symlink("new/link", "file")
        .dir("new/directory")
        .file("empty", "a directory no more")
        .write(&env.source);
    crate::common::tree::set_mtime_of(&env.source.join("bin/run"), 99, 99);
    fs::remove_file(env.source.join("links/loop")).unwrap();
    fs::remove_dir_all(env.source.join("data/deep")).unwrap();
    env.age();
}

/// The lines that tell of changes, sorted: the order of the real run's is its threads'.
fn told(output: &str) -> Vec<String> {
    let mut lines: Vec<_> = output
        .lines()
        .filter(|line| {
            ["README.md", "new/", "empty", "bin/run", "links/loop", "data/deep"]
                .iter()
                .any(|name| line.contains(name))
        })
        .map(|line| line.trim().trim_start_matches("would ").to_owned())
        .collect();
    lines.sort();
    lines
}

/// Without the one decision here that hangs on content, which a dry run does not read: it says
/// `check` and the run says what came of it.
fn settled(lines: Vec<String>) -> Vec<String> {
    let hangs = |line: &String| line.contains("bin/run");
    assert_eq!(lines.iter().filter(|line| hangs(line)).count(), 1, "{lines:?}");
    lines.into_iter().filter(|line| !hangs(line)).collect()
}

#[test]
fn a_dry_run_changes_nothing_anywhere() {
    let env = mirrored(&sample());
    edit(&env);
    let before = [&env.source, &env.target, &env.state].map(|side| Snapshot::read(side));
    env.mirror(&["--dry-run", "--delete"]).expect(0).names("README.md").names("data/deep");
    env.vidimus(&["mirror", "-n", "-v", "--delete", "source", "target"]).expect(0);
    for (before, root) in before.iter().zip([&env.source, &env.target, &env.state]) {
        assert_untouched(before, root);
    }
}

#[test]
fn a_first_dry_run_makes_no_target_and_no_state() {
    let env = Environment::new();
    sample().write(&env.source);
    let before = Snapshot::read(&env.root);
    env.vidimus(&["mirror", "--dry-run", "source", "target"]).expect(0).names("README.md");
    env.mirror(&["--dry-run"]).expect(0);
    assert_untouched(&before, &env.root);
    assert!(!env.target.exists());
    assert!(fs::read_dir(&env.state).unwrap().next().is_none(), "no state is made");
}

#[test]
fn what_a_dry_run_says_is_what_the_run_does() {
    let env = mirrored(&sample());
    edit(&env);
    let arguments = ["mirror", "-v", "--delete", text(&env.source), text(&env.target)];
    let dry = env.vidimus(&[&arguments[..], &["--dry-run"]].concat()).expect(0);
    let real = env.vidimus(&arguments).expect(0);
    let [said, done] = [&dry, &real].map(|run| told(&format!("{}\n{}", run.stdout, run.stderr)));
    assert!(said.len() >= 7, "{}", dry.told());
    assert_eq!(settled(said), settled(done), "{}\n{}", dry.told(), real.told());
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_dry_run_names_the_changes_that_the_run_then_makes() {
    let env = mirrored(&sample());
    edit(&env);
    let changes = |flags: &[&str]| {
        let run = env.mirror(flags).expect(0);
        let lines = run.records().into_iter().filter(|record| record["event"] == "changed");
        let mut changes: Vec<_> = lines
            .map(|record| format!("{} {} ({})", record["change"], record["key"], record["reason"]))
            .collect();
        changes.sort();
        (changes, run.finished())
    };
    let (said, dry) = changes(&["--delete", "--dry-run", "-v"]);
    assert_eq!(dry.record["dry_run"], true, "{}", dry.record);
    dry.counts(&[("files_copied", 0), ("files_deleted", 0), ("bytes_hashed", 0)]);
    let (done, _) = changes(&["--delete", "-v"]);
    assert!(said.len() >= 7, "{said:?}");
    assert_eq!(settled(said), settled(done));
}

#[test]
fn a_dry_run_tells_of_a_refusal() {
    let env = mirrored(&sample());
    for gone in ["data", "links", "bin"] {
        fs::remove_dir_all(env.source.join(gone)).unwrap();
    }
    let before = Snapshot::read(&env.target);
    env.mirror(&["--delete", "--dry-run"]).expect(6);
    assert_untouched(&before, &env.target);
    env.mirror(&["--delete"]).expect(6);
}

#[test]
fn a_dry_run_that_would_have_to_read_says_so_and_does_not() {
    let env = mirrored(&TestTree::new().file("a", "first").mtime(7, 7));
    TestTree::new().file("a", "FIRST").mtime(7, 7).write(&env.source);
    env.age();
    env.mirrored(&["--dry-run"]).counts(&[("bytes_hashed", 0)]);
    env.vidimus(&["mirror", "-n", "-v", "source", "target"]).expect(0).names("check");
}

#[test]
fn a_dry_run_needs_no_rights_to_write_to_the_target() {
    let env = mirrored(&TestTree::new().file("a", "1").file("d/b", "2").file("d/gone", "3"));
    fs::write(env.source.join("d/b"), "changed").unwrap();
    fs::remove_file(env.source.join("d/gone")).unwrap();
    let before = Snapshot::read(&env.target);
    match env.as_nobody(&env.mirror_arguments(&["--dry-run", "--delete"])) {
        Ok(run) => drop(run.expect(0).names("d/b").names("d/gone")),
        Err(missing) => crate::common::tools::skipped(module_path!(), line!(), &missing),
    }
    assert_untouched(&before, &env.target);
}

#[test]
fn deletions_that_would_be_refused_are_shown_as_such() {
    let env = mirrored(&sample());
    for gone in ["data", "links", "bin"] {
        fs::remove_dir_all(env.source.join(gone)).unwrap();
    }
    let arguments = ["mirror", "--delete", text(&env.source), text(&env.target)];
    let dry = env.vidimus(&[&arguments[..], &["-n"]].concat()).expect(6);
    dry.names("delete refused   bin/run  (not in the source)").names("--max-delete");
    let json = env.mirror(&["--delete", "-n"]).expect(6);
    let refused = json.records().into_iter().filter(|record| record["change"] == "delete_refused");
    let refused = refused.count();
    let finished = json.finished();
    assert_eq!(finished.record["would"]["delete_refused"], refused, "{}", finished.record);
    assert_eq!(finished.record["would"]["delete"], 0, "{}", finished.record);
    assert!(refused >= 6);
}

#[test]
fn what_is_in_the_lock_s_way_stops_a_dry_run_as_it_stops_a_run() {
    let sort = |name: &str| match name {
        "file" => TestTree::new().file(".vidimus", "mine"),
        "named pipe" => TestTree::new().fifo(".vidimus"),
        _ => TestTree::new().symlink(".vidimus", "elsewhere"),
    };
    for name in ["file", "named pipe", "link"] {
        let env = Environment::new();
        sample().write(&env.source);
        sort(name).write(&env.target);
        for flags in [&["--dry-run"][..], &[]] {
            let places = [text(&env.source), text(&env.target)];
            let run = env.vidimus(&[&["mirror"], flags, &places].concat()).expect(7);
            run.names("\".vidimus\" is a symbolic link, or not a directory")
                .names("help: rename or remove it");
        }
    }
}
