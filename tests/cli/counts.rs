//! Counts mean the same in every command.

use crate::common::environment::text;
use crate::common::{Environment, TestTree};

/// Three files, a named pipe, two links, three directories with the root; and what takes no part.
fn tree() -> TestTree {
    TestTree::new()
        .file("a", "1")
        .file("d/b", "22")
        .file("d/empty", "")
        .symlink("l", "a")
        .symlink("d/l", "nowhere")
        .dir("e")
        .fifo("pipe")
        .file("left out/x", "xxx")
        .file("y.tmp", "y")
}

#[test]
fn files_and_entries_are_the_same_in_mirror_verify_and_diff() {
    let env = Environment::new();
    tree().write(&env.source);
    env.age();
    let filter = ["--exclude", "/left out/", "--exclude", "*.tmp"];
    let run = env.vidimus(&[&["mirror", "source", "target"], &filter[..]].concat()).expect(0);
    run.names("copied            4 files, 3 B, 2 links").names("(0 of 9 entries)");
    let run = env.vidimus(&[&["mirror", "-n", "source", "new"], &filter[..]].concat()).expect(0);
    run.names("copy              4 files, 3 B, 2 links");
    let run = env.mirror(&filter).expect(0).finished();
    run.counts(&[("files_unchanged", 6), ("links_unchanged", 2), ("entries", 9)]);
    // The pipe has no content.
    env.verify(&[]).names("verified  3 files, 3 B").names("of 9 entries");
    let run = env.verify(&["--against", text(&env.source)]).expect(0);
    run.names("equal     3 files; 3 B").names("of 9 entries");
    // What a filter left out is there all the same.
    let run = env.vidimus(&["diff", "source", "target"]).expect(3);
    run.names("by size and time  3 files")
        .names("only in A         3 entries")
        .names("of 12 entries");
}

/// The same in text and records, in a dry run, a refusal and a run.
#[test]
fn links_are_no_files_in_what_is_deleted_and_left_alone() {
    let env = Environment::new();
    TestTree::new().file("a", "1").symlink("l", "a").write(&env.source);
    let target = TestTree::new().file("extra", "x").symlink("gone/l", "x").symlink("gone/m", "y");
    target.symlink("l", "elsewhere").write(&env.target);
    env.age();
    let mirror = |flags: &[&str]| {
        let all = ["--delete", "--ignore-existing", "--max-delete"];
        env.vidimus(&[&["mirror", "source", "target"], &all[..], flags].concat())
    };
    mirror(&["100%", "-n"]).expect(0).names("delete            1 file, 2 links, 1 directory");
    let would = mirror(&["100%", "-n", "--json"]).expect(0).finished();
    let would = &would.record["would"];
    assert_eq!((&would["delete"], &would["delete_links"]), (&4.into(), &2.into()), "{would}");
    assert_eq!(would["delete_directories"], 1, "{would}");
    let refused = mirror(&["1"]).expect(6);
    refused
        .names("1 file, 2 links and 1 directory of the target's")
        .names("left alone        1 link");
    // The file that was new was copied before that.
    let run = mirror(&["100%", "--json", "-v"]).expect(0);
    run.finished().counts(&[
        ("files_deleted", 3),
        ("links_deleted", 2),
        ("directories_deleted", 1),
        ("files_skipped", 2),
        ("links_skipped", 1),
    ]);
    let kinds: Vec<_> = run.records().iter().map(|told| told["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "symlink").count(), 3, "{kinds:?}");
}
