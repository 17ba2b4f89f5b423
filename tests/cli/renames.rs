//! Files that were moved in the source are renamed in the target.

use crate::common::environment::text;
use crate::common::tools::{self, Mount};
use crate::common::{Environment, TestTree, assert_mirrored};
use crate::needs;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().expect("look").ino()
}

fn tree() -> TestTree {
    let tree = TestTree::new().file("a", "moved").file("d/b", "below").file("d/e/c", "deep");
    let tree = tree.file("one", "linked").link("two", "one").file("stays", "stays");
    tree.symlink("s", "stays").file("empty", "")
}

/// A mirrored tree.
fn mirrored() -> Environment {
    let env = Environment::new();
    tree().write(&env.source);
    env.age();
    env.mirrored(&[]);
    env
}

const NOTHING_DONE: [(&str, u64); 5] = [
    ("files_copied", 0),
    ("files_renamed", 0),
    ("bytes_hashed", 0),
    ("metadata_updated", 0),
    ("files_deleted", 0),
];

/// Asserts that source and target are the same, and that a run has nothing to do.
#[track_caller]
fn settled(env: &Environment) {
    assert_mirrored(&env.source, &env.target);
    env.age();
    env.mirrored(&["--delete"]).counts(&NOTHING_DONE);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn what_was_moved_is_renamed_and_neither_copied_nor_deleted() {
    let env = mirrored();
    let (from, to) = (env.source.join("a"), env.source.join("new/name"));
    fs::create_dir(env.source.join("new")).unwrap();
    fs::rename(from, to).unwrap();
    fs::rename(env.source.join("d"), env.source.join("z")).unwrap();
    fs::rename(env.source.join("s"), env.source.join("t")).unwrap();
    fs::rename(env.source.join("one"), env.source.join("first")).unwrap();
    env.age();
    let before = ["a", "d/b", "d/e/c"].map(|key| inode(&env.target.join(key)));
    let dry = env.mirror(&["--delete", "--max-delete", "4", "-n"]).expect(0);
    let renames = |records: Vec<serde_json::Value>| -> Vec<_> {
        let renames = records.into_iter().filter(|record| record["action"] == "rename");
        renames
            .map(|it| [&it["key"], &it["from"], &it["reason_code"]].map(ToString::to_string))
            .collect()
    };
    let quoted = |words: [&str; 3]| words.map(|word| format!("\"{word}\""));
    let expected = [["new/name", "a", "moved"], ["z/", "d/", "moved"]];
    let mut found = renames(dry.records());
    found.sort_unstable();
    assert_eq!(found, expected.map(quoted));
    let explain = ["explain", text(&env.source), text(&env.target), "z", "--delete"];
    env.vidimus(&explain).expect(0).names("rename \"d/\" in the target");
    let explained = env.vidimus(&[&explain[..], &["--json"]].concat());
    assert_eq!(
        renames(explained.records()),
        expected[1..2].iter().copied().map(quoted).collect::<Vec<_>>()
    );
    let run = env.mirrored(&["--delete", "--max-delete", "4"]);
    // The moved file and the linked one were touched: what is in a moved directory isn't read.
    run.counts(&[("files_renamed", 1), ("directories_renamed", 1), ("links_copied", 1)]);
    run.counts(&[("files_copied", 1), ("directories_deleted", 0)]);
    run.counts(&[("bytes_hashed", 11), ("hard_links_made", 1), ("files_deleted", 2)]);
    let after = ["new/name", "z/b", "z/e/c"].map(|key| inode(&env.target.join(key)));
    assert_eq!(before, after);
    settled(&env);
}

#[test]
fn moved_files_are_copied_on_request_and_without_delete() {
    for flags in [&["--delete", "--no-renames"][..], &[]] {
        let env = mirrored();
        fs::rename(env.source.join("a"), env.source.join("b")).unwrap();
        env.age();
        env.mirrored(flags).counts(&[("files_renamed", 0), ("files_copied", 1)]);
        assert_eq!(env.target.join("a").exists(), flags.is_empty());
    }
}

#[test]
fn renames_count_neither_as_deletions_nor_as_changes() {
    let env = mirrored();
    for key in ["a", "d/b", "d/e/c", "stays"] {
        let name = format!("{}.new", key.replace('/', "_"));
        fs::rename(env.source.join(key), env.source.join(name)).unwrap();
    }
    env.age();
    let flags = ["--delete", "--max-delete", "0", "--max-change", "0%"];
    env.mirrored(&flags).counts(&[("files_renamed", 4), ("files_deleted", 0)]);
    settled(&env);
}

#[test]
fn a_large_directory_costs_one_rename() {
    needs!(tools::strace());
    let env = Environment::new();
    let files = |name: &str| {
        let tree = (0..500).fold(TestTree::new(), |tree, n| tree.file(format!("{name}/f{n}"), "f"));
        tree.file(format!("{name}/below/deep"), "deep")
            .link(format!("{name}/linked"), format!("{name}/f0"))
    };
    files("old").file("stays", "stays").write(&env.source);
    env.age();
    env.mirrored(&[]);
    fs::create_dir(env.source.join("in")).unwrap();
    fs::rename(env.source.join("old"), env.source.join("in/new")).unwrap();
    env.age();
    let arguments = env.mirror_arguments(&["--delete", "--max-delete", "0"]);
    let traced = env.strace(&["-e", "trace=/^rename|^unlink|^link"], &arguments).expect(0);
    traced.finished().counts(&[("directories_renamed", 1), ("files_renamed", 0)]);
    traced.finished().counts(&[("files_copied", 0), ("hard_links_made", 0), ("bytes_hashed", 0)]);
    let trace = env.trace();
    let renames = trace.lines().filter(|line| line.contains("\"old\"") && line.contains("rename"));
    assert_eq!(renames.count(), 1, "{trace}");
    assert!(!trace.lines().any(|line| line.contains("\"f1\"")), "{trace}");
    settled(&env);
}

#[test]
fn a_directory_is_not_renamed_where_a_rule_leaves_out_what_is_in_it() {
    let env = mirrored();
    fs::write(env.source.join("d/e/.nobackup"), "").unwrap();
    fs::rename(env.source.join("d"), env.source.join("z")).unwrap();
    env.age();
    let run = env.mirror(&["--delete", "--exclude-if-present", ".nobackup"]).expect(0).finished();
    run.counts(&[("directories_renamed", 0), ("files_renamed", 1)]);
    assert!(env.target.join("z/b").exists() && !env.target.join("z/e/c").exists());
}

#[test]
fn a_directory_is_not_renamed_where_a_filter_hides_what_is_in_it() {
    let env = mirrored();
    fs::write(env.target.join("d/hidden.log"), "hidden").unwrap();
    fs::rename(env.source.join("d"), env.source.join("z")).unwrap();
    env.age();
    let run = env.mirror(&["--delete", "--exclude", "*.log"]).expect(0).finished();
    run.counts(&[("directories_renamed", 0), ("files_renamed", 2), ("bytes_hashed", 0)]);
    assert!(env.target.join("d/hidden.log").exists());
}

#[test]
fn moved_files_get_other_metadata_and_content_of_the_source() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = mirrored();
    let old = env.source.join("a").metadata().unwrap();
    fs::rename(env.source.join("a"), env.source.join("b")).unwrap();
    fs::set_permissions(env.source.join("b"), fs::Permissions::from_mode(0o611)).unwrap();
    // Same size and time, other content.
    fs::rename(env.source.join("d/b"), env.source.join("f")).unwrap();
    let time = env.source.join("f").metadata().unwrap().modified().unwrap();
    fs::write(env.source.join("f"), "other").unwrap();
    fs::File::open(env.source.join("f")).unwrap().set_modified(time).unwrap();
    env.age();
    assert_eq!(env.source.join("b").metadata().unwrap().ino(), old.ino());
    let run = env.mirrored(&["--delete"]);
    run.counts(&[("files_renamed", 1), ("files_copied", 1), ("files_deleted", 1)]);
    settled(&env);
}

#[test]
fn a_backup_keeps_nothing_of_renamed_files() {
    let env = mirrored();
    fs::rename(env.source.join("a"), env.source.join("b")).unwrap();
    env.age();
    let backup = env.root.join("backup");
    let flags = ["--delete", "--backup-dir", backup.to_str().unwrap()];
    env.mirrored(&flags).counts(&[("files_renamed", 1)]);
    assert!(!backup.exists() || fs::read_dir(&backup).unwrap().next().is_none());
}

#[test]
fn names_exchanged_in_the_source_are_not_renamed() {
    let env = mirrored();
    let at = |name: &str| env.source.join(name);
    fs::rename(at("a"), at("x")).unwrap();
    fs::rename(at("stays"), at("a")).unwrap();
    fs::rename(at("x"), at("stays")).unwrap();
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_renamed", 0), ("files_copied", 2)]);
    settled(&env);
}

#[test]
fn a_file_that_moved_onto_another_file_system_of_the_target_is_copied() {
    needs!(tools::mounts());
    let env = Environment::new();
    TestTree::new().file("a", "moved").file("d/b", "b").write(&env.source);
    env.age();
    env.mirrored(&[]);
    let mounted = Mount::tmpfs(&env.target.join("d"), "size=1m").expect("it was tried before");
    env.mirrored(&[]);
    fs::rename(env.source.join("a"), env.source.join("d/a")).unwrap();
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_renamed", 0), ("files_copied", 1)]);
    assert_mirrored(&env.source, &env.target);
    drop(mounted);
}
