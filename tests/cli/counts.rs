//! Counts mean the same in every command.

use crate::common::environment::text;
use crate::common::{Environment, TestTree};

/// Three files, two links, three directories with the root; and what takes no part.
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
    let run = env.vidimus(&[&["mirror", "source", "target"], &filter[..]].concat()).expect(1);
    run.names("copied            3 files, 3 B, 2 links").names("(1 of 9 entries)");
    let run = env.vidimus(&[&["mirror", "-n", "source", "new"], &filter[..]].concat()).expect(1);
    run.names("copy              3 files, 3 B, 2 links");
    let run = env.mirror(&filter).expect(1).finished();
    run.counts(&[("files_unchanged", 5), ("links_unchanged", 2), ("entries", 9)]);
    // The pipe is on record nowhere.
    env.verify(&[]).names("verified  3 files, 3 B").names("of 8 entries");
    let run = env.verify(&["--against", text(&env.source)]).expect(3);
    run.names("equal     3 files; 3 B").names("of 9 entries").names("missing   1 entry");
    // What a filter left out is there all the same.
    let run = env.vidimus(&["diff", "source", "target"]).expect(3);
    run.names("by size and time  3 files")
        .names("only in A         4 entries")
        .names("of 12 entries");
}
