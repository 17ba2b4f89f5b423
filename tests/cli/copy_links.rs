//! `--copy-links`: what symbolic links of the source point to is copied.

use crate::common::environment::text;
use crate::common::{Environment, Snapshot, TestTree};
use std::fs;
use std::os::unix::fs::symlink;

/// Links to files and directories, in the source and out of it.
fn source() -> Environment {
    let env = Environment::new();
    TestTree::new().file("x/f", "outside").file("x/sub/deep/g", "deep").write(&env.outside);
    let tree = TestTree::new().file("a", "first").mtime(1_600_000_000, 5).file("d/b", "second");
    let tree = tree.symlink("d/to-a", "../a").symlink("m", "d").symlink("d/chain", "to-a");
    tree.symlink("out", text(&env.outside.join("x"))).write(&env.source);
    env.age();
    env
}

/// The same tree without a link.
fn copied() -> TestTree {
    let tree = TestTree::new().file("a", "first").mtime(1_600_000_000, 5).file("d/b", "second");
    let tree = tree.file("d/to-a", "first").file("d/chain", "first").file("m/b", "second");
    let tree = tree.file("m/to-a", "first").file("m/chain", "first").file("out/f", "outside");
    tree.file("out/sub/deep/g", "deep")
}

#[test]
fn what_links_point_to_is_copied() {
    let env = source();
    env.mirror(&["-L", "-n"]).expect(0);
    env.mirrored(&["--copy-links"]).counts(&[("files_copied", 9), ("links_copied", 0)]);
    copied().assert_at(&env.target);
    let groups = Snapshot::read(&env.target);
    assert!(groups.groups().is_empty(), "each is a file of its own");
    env.mirrored(&["-L", "--delete"]).counts(&[
        ("files_copied", 0),
        ("bytes_hashed", 0),
        ("metadata_updated", 0),
        ("files_deleted", 0),
    ]);
    env.verify(&[]).expect(0);
    env.verify(&["--against", text(&env.source)]).expect(0);
    let explained = env.vidimus(&["explain", "-L", "source", "target", "out/sub/deep/g"]);
    explained.expect(0).names("both sides are as they were recorded");
    // What they point to changes, and where.
    fs::write(env.outside.join("x/f"), "OUTSIDE").expect("write");
    fs::remove_file(env.source.join("d/to-a")).expect("remove");
    symlink("b", env.source.join("d/to-a")).expect("link");
    env.age();
    env.mirrored(&["-L"]).counts(&[("files_copied", 5)]);
    assert_eq!(fs::read(env.target.join("out/f")).expect("a file"), b"OUTSIDE");
    assert_eq!(fs::read(env.target.join("m/chain")).expect("a file"), b"second");
}

#[test]
fn links_become_what_they_point_to_and_links_again() {
    let env = source();
    env.mirrored(&[]);
    env.mirrored(&["-L", "--delete", "--max-delete", "100%"]);
    copied().assert_at(&env.target);
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    crate::common::assert_mirrored(&env.source, &env.target);
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_named() {
    let env = source();
    let at = |name: &str| env.source.join(name);
    symlink("nowhere", at("dangling")).expect("link");
    symlink("self", at("self")).expect("link");
    symlink("..", at("d/up")).expect("link");
    TestTree::new().file("dangling", "kept").write(&env.target);
    let run = env.mirror(&["-L", "--delete"]).expect(1);
    let run = run.names("leads nowhere").names("leads back to a directory that contains it");
    run.finished().counts(&[("files_failed", 4)]);
    assert_eq!(fs::read(env.target.join("dangling")).expect("it stays"), b"kept");
    assert_eq!(fs::read(env.target.join("m/b")).expect("a file"), b"second");
    assert!(!env.target.join("d/up").exists() && !env.target.join("m/up").exists());
}

#[test]
fn a_link_into_the_target_is_refused() {
    let env = source();
    env.mirrored(&["-L"]);
    symlink(&env.target, env.source.join("into")).expect("link");
    env.mirror(&["-L"]).expect(6).names("the target lies in the source");
}

/// The walk keeps no more than 64 handles, and `..` of a link's directory is another one.
#[test]
fn a_deep_tree_behind_a_link_is_read_to_its_end() {
    let env = Environment::new();
    let deep = "d/".repeat(100);
    TestTree::new().file(format!("{deep}f"), "deep").file("d/z", "after").write(&env.outside);
    TestTree::new().symlink("l", text(&env.outside)).file("z", "last").write(&env.source);
    env.mirrored(&["-L"]).counts(&[("files_copied", 3)]);
    assert_eq!(fs::read(env.target.join("l").join(deep).join("f")).expect("a file"), b"deep");
    assert_eq!(fs::read(env.target.join("l/d/z")).expect("a file"), b"after");
}

#[test]
fn links_are_either_followed_or_left_out() {
    let env = source();
    env.mirror(&["-L", "--safe-links"]).expect(2).names("--safe-links");
}
