//! Hard links: names of one file in the source are names of one file in the target.

use crate::common::environment::text;
use crate::common::tree::{Closeness, set_mtime_of};
use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

/// Three files: of three names in two directories, of two, and of one; and a linked symlink.
fn groups() -> TestTree {
    let tree = TestTree::new().file("a", "three").mode(0o640).mtime(1_600_000_000, 5);
    let tree = tree.file("d/two", "two").file("single", "single").symlink("s", "to").dir("e");
    tree.link("d/a", "a").link("e/a", "a").link("z", "d/two").link("d/s", "s")
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().expect("look").ino()
}

const NOTHING_DONE: [(&str, u64); 5] = [
    ("files_copied", 0),
    ("hard_links_made", 0),
    ("bytes_hashed", 0),
    ("metadata_updated", 0),
    ("files_deleted", 0),
];

/// Asserts that source and target are the same, and that a run has nothing to do.
#[track_caller]
fn settled(env: &Environment) {
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&["--delete"]).counts(&NOTHING_DONE);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn names_of_one_file_are_copied_once_and_linked() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    env.mirror(&["-n"]).expect(0).names("\"link\"");
    let run = env.mirrored(&[]);
    run.counts(&[("files_copied", 4), ("hard_links_made", 4), ("hard_links_lost", 0)]);
    run.counts(&[("bytes_copied", 14)]);
    groups().assert_at(&env.target);
    settled(&env);
}

#[test]
fn files_gain_lose_and_exchange_names_between_runs() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    env.mirrored(&[]);
    // One is added, without a copy.
    fs::hard_link(env.source.join("single"), env.source.join("e/single")).expect("link");
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 0), ("hard_links_made", 1)]);
    settled(&env);
    // One goes.
    fs::remove_file(env.source.join("d/a")).expect("remove");
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 0), ("files_deleted", 1)]);
    settled(&env);
    // One becomes a file of its own with the same content and time.
    let (old, new) = (env.source.join("e/a"), env.source.join("new"));
    let copied = Command::new("cp").arg("-p").args([&old, &new]).status();
    assert!(copied.expect("run cp").success());
    fs::rename(&new, &old).expect("rename");
    env.age();
    env.mirrored(&["--delete"]);
    settled(&env);
    // Two files exchange a name.
    let at = |name: &str| env.source.join(name);
    for (name, file) in [("z", "single"), ("e/single", "d/two")] {
        fs::remove_file(at(name)).expect("remove");
        fs::hard_link(at(file), at(name)).expect("link");
    }
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 0), ("hard_links_made", 2)]);
    settled(&env);
    // All of one change at once.
    fs::write(at("d/two"), "changed").expect("write");
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 1), ("hard_links_made", 1)]);
    settled(&env);
}

#[test]
fn nothing_is_written_through_a_link() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    env.mirrored(&[]);
    // A snapshot of the target.
    let snapshot = env.root.join("snapshot");
    let made = Command::new("cp").arg("-al").args([&env.target, &snapshot]).status();
    assert!(made.expect("run cp").success());
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("hard_links_made", 0)]);
    let before = Snapshot::read(&snapshot);
    // Content of one, mode of another, and both of a file with one name.
    fs::write(env.source.join("d/two"), "TWO").expect("write");
    fs::set_permissions(env.source.join("a"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::set_permissions(env.source.join("single"), fs::Permissions::from_mode(0o600)).unwrap();
    env.age();
    env.mirrored(&[]);
    settled(&env);
    let after = Snapshot::read(&snapshot);
    let differences = before.differences(&after, Closeness::Mirror);
    assert_eq!(differences, [""; 0]);
}

#[test]
fn names_that_were_linked_in_the_target_by_hand_come_apart() {
    let env = Environment::new();
    TestTree::new().file("a", "same").mtime(1, 0).file("b", "same").mtime(1, 0).write(&env.source);
    env.age();
    env.mirrored(&[]);
    fs::remove_file(env.target.join("b")).expect("remove");
    fs::hard_link(env.target.join("a"), env.target.join("b")).expect("link");
    env.age();
    env.mirrored(&[]);
    assert_ne!(inode(&env.target.join("a")), inode(&env.target.join("b")));
    settled(&env);
}

#[test]
fn separate_copies_of_an_earlier_run_are_linked_without_reading() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    let run = env.mirrored(&["--no-hard-links"]);
    run.counts(&[("files_copied", 8), ("hard_links_made", 0)]);
    run.counts(&[("hard_links_lost", 5)]);
    assert!(Snapshot::read(&env.target).groups().is_empty());
    env.mirrored(&["--no-hard-links"]).counts(&NOTHING_DONE);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("hard_links_made", 4), ("bytes_hashed", 0)]);
    settled(&env);
    // They stay linked.
    env.mirrored(&["--no-hard-links"]).counts(&[("files_copied", 0)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn names_that_a_filter_leaves_out_are_linked_once_it_lets_them_in() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    let run = env.mirrored(&["--exclude", "e/", "--exclude", "/z"]);
    run.counts(&[("hard_links_made", 2)]);
    env.mirrored(&["--exclude", "e/", "--exclude", "/z"]).counts(&NOTHING_DONE);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("hard_links_made", 2), ("bytes_hashed", 0)]);
    settled(&env);
}

/// Their first names wait for the end of the plan: another may be in the target.
#[test]
fn new_directories_with_new_files_of_several_names_are_mirrored() {
    let env = Environment::new();
    TestTree::new().file("old", "old").write(&env.source);
    env.age();
    env.mirrored(&[]);
    let tree =
        TestTree::new().file("b/g", "1").file("b/h", "2").file("b/x", "x").link("b/y", "b/x");
    let tree = tree.file("b/d/g", "1").file("b/d/h", "2").file("b/d/x", "X").link("c/x", "b/d/x");
    tree.file("c/other", "new").file("d", "new").write(&env.source);
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 8), ("hard_links_made", 2)]);
    settled(&env);
}

#[test]
fn a_name_takes_the_place_of_a_directory_that_is_deleted() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let env = Environment::new();
        let tree = TestTree::new().file("a", "x").link("b", "a").symlink("k", "to").link("l", "k");
        tree.file("m", "y").link("n", "m").write(&env.source);
        let both = TestTree::new().file("l/in", "1").file("m/in", "1").file("n/in", "1");
        both.file(format!("{second}/in"), first).write(&env.target);
        env.age();
        let run = env.mirrored(&["--delete", "--max-delete", "100%"]);
        run.counts(&[("files_copied", 3), ("hard_links_made", 3)]);
        settled(&env);
    }
}

/// Somebody moved a name of a linked file over another file.
#[test]
fn names_that_were_moved_in_the_target_come_back_to_their_files() {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "x").link("b", "a").link("f", "a").file("c", "c");
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]);
    env.age();
    fs::rename(env.target.join("b"), env.target.join("c")).expect("rename");
    fs::write(env.source.join("c"), "new").expect("write");
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 1), ("hard_links_made", 1)]);
    settled(&env);
}

/// Nothing of the entries changed, but the runs ask for more, or the file of the target has to.
#[test]
fn linked_files_stay_linked_when_only_their_metadata_has_to_change() {
    let env = Environment::new();
    groups().write(&env.source);
    let attribute = TestTree::new().file("a", "three").attribute("user.a", "b");
    attribute.write(&env.source);
    fs::set_permissions(env.source.join("a"), fs::Permissions::from_mode(0o640)).unwrap();
    env.age();
    for _ in 0..2 {
        env.mirrored(&["--no-xattrs"]);
        env.age();
    }
    env.mirrored(&[]).counts(&[("hard_links_made", 2), ("hard_links_lost", 0)]);
    settled(&env);
    fs::set_permissions(env.source.join("d/two"), fs::Permissions::from_mode(0o600)).unwrap();
    env.age();
    env.mirrored(&["--size-only"]).counts(&[("hard_links_made", 1), ("hard_links_lost", 0)]);
    env.mirrored(&["--checksum"]).counts(&[("files_copied", 0), ("hard_links_made", 0)]);
    settled(&env);
}

/// Renaming a directory leaves the files in it as they are, so that their new names are linked to
/// the old ones, which are then deleted.
#[test]
fn a_renamed_directory_keeps_what_is_known_of_linked_files() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    env.mirrored(&["--delete"]);
    env.age();
    env.mirrored(&["--delete"]);
    let deletes = ["--delete", "--max-delete", "100%"];
    for (old, new, more) in [("d", "f", Some("--no-renames")), ("e", "b", None)] {
        fs::rename(env.source.join(old), env.source.join(new)).expect("rename");
        env.age();
        let flags: Vec<_> = deletes.into_iter().chain(more).collect();
        env.mirrored(&flags).counts(&[("files_copied", 0), ("files_adopted", 0)]);
        env.verify(&["--strict"]).expect(0);
        settled(&env);
    }
}

/// The name without a record comes first.
#[test]
fn a_name_that_was_linked_on_both_sides_is_proven_by_its_file() {
    for is_damaged in [false, true] {
        let env = Environment::new();
        TestTree::new().file("z", "content").mtime(1, 0).write(&env.source);
        env.age();
        env.mirrored(&[]);
        for root in [&env.source, &env.target] {
            fs::hard_link(root.join("z"), root.join("a")).expect("link");
        }
        if is_damaged {
            fs::write(env.target.join("z"), "CONTENT").expect("damage");
            set_mtime_of(&env.target.join("z"), 1, 0);
        }
        env.age();
        let run = env.mirrored(&[]);
        run.counts(&[("files_copied", u64::from(is_damaged)), ("adopted_without_digest", 0)]);
        settled(&env);
    }
}

/// What a repair leaves, for one: each name is as it is recorded.
#[test]
fn names_that_became_files_of_their_own_are_linked_again() {
    let env = Environment::new();
    groups().write(&env.source);
    env.age();
    env.mirrored(&[]);
    for name in ["a", "d/a", "e/a", "d/two", "z"] {
        let path = env.target.join(name);
        let size = path.metadata().expect("look").len() as usize;
        fs::write(&path, "?".repeat(size)).expect("damage");
    }
    env.age();
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    env.age();
    env.mirrored(&["--delete"]);
    settled(&env);
}

/// A copy that rsync made is taken as it is.
#[test]
fn links_that_are_there_are_adopted() {
    let env = Environment::new();
    needs!(tools::tool("rsync"));
    let tree = TestTree::new().file("a", "three").mode(0o640).mtime(1_600_000_000, 5);
    tree.link("d/a", "a").link("b", "a").file("d/two", "two").link("z", "d/two").write(&env.source);
    env.age();
    let source = format!("{}/", text(&env.source));
    let copied = Command::new("rsync").args(["-aH", &source, text(&env.target)]).status();
    assert!(copied.expect("run rsync").success());
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("hard_links_made", 0)]);
    settled(&env);
}

#[test]
fn ten_thousand_names_are_of_one_file() {
    let env = Environment::new();
    TestTree::new().file("first", "content").dir("names").write(&env.source);
    for number in 0..10_000 {
        let name = env.source.join(format!("names/{number:05}"));
        fs::hard_link(env.source.join("first"), name).expect("link");
    }
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 1), ("hard_links_made", 10_000)]);
    assert_eq!(env.target.join("first").symlink_metadata().expect("look").nlink(), 10_001);
    env.mirrored(&[]).counts(&NOTHING_DONE);
}

/// Others' files can't be linked to (`fs.protected_hardlinks`); one's own can.
#[test]
fn whoever_is_not_root_links_too() {
    let env = Environment::new();
    needs!(tools::root());
    needs!(tools::tool("setpriv"));
    TestTree::new().file("a", "content").link("d/b", "a").link("c", "a").write(&env.source);
    env.age();
    let run = env.as_nobody(&env.mirror_arguments(&[])).expect("setpriv").expect(0);
    run.finished().counts(&[("hard_links_made", 2), ("hard_links_lost", 0)]);
    let (found, expected) = (Snapshot::read(&env.target), Snapshot::read(&env.source));
    assert_eq!(found.groups(), expected.groups());
}
