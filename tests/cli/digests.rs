//! Digests beside BLAKE3: `mirror --digest`.

use crate::common::environment::text;
use crate::common::{Environment, TestTree};
use crate::content_changed::state;
use crate::manifest::{lose_state, published};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What coreutils make of a file.
fn by_coreutils(tool: &str, path: &Path) -> String {
    let output = Command::new(tool).arg(path).output().expect("coreutils");
    let line = String::from_utf8(output.stdout).expect("ASCII");
    line.split_whitespace().next().expect("a digest").to_owned()
}

/// Files below, at and above the size of one chunk, and of many, which are hashed with help.
fn tree() -> TestTree {
    TestTree::new()
        .file("empty", "")
        .file("d/small", "small")
        .file("d/chunk", vec![1; 1 << 20])
        .file("large", vec![2; (5 << 20) + 17])
        .symlink("link", "large")
}

/// Its files, in the order of their keys, and their bytes.
const FILES: [&str; 4] = ["d/chunk", "d/small", "empty", "large"];
const BYTES: u64 = (6 << 20) + 17 + 5;

fn old(tree: &TestTree) -> Environment {
    let env = Environment::new();
    tree.write(&env.source);
    env.age();
    env
}

/// Which digests are published of a file; they are right.
fn digests(env: &Environment, key: &str) -> Vec<&'static str> {
    let row = &published(env)[key];
    let mut found = Vec::new();
    for (name, tool) in [("sha256", "sha256sum"), ("md5", "md5sum")] {
        if row[name] != Value::Null {
            assert_eq!(row[name], by_coreutils(tool, &env.target.join(key)), "{name} of {key}");
            found.push(name);
        }
    }
    found
}

#[test]
fn digests_are_made_of_the_reading_that_copies() {
    for flags in [&["--digest", "sha256,md5"][..], &["--digest", "sha256", "--digest", "md5"]] {
        let env = old(&tree());
        env.mirrored(&[flags, &["--transfers", "1"]].concat()).counts(&[("bytes_hashed", BYTES)]);
        for key in FILES {
            assert_eq!(digests(&env, key), ["sha256", "md5"], "{key}");
        }
        assert_eq!(published(&env)["link"]["sha256"], Value::Null);
        let rerun = env.mirrored(flags);
        rerun.counts(&[("bytes_hashed", 0), ("files_unchanged", 5)]);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn the_environment_asks_for_digests_too() {
    let env = old(&tree());
    let mut command = env.command(&env.mirror_arguments(&[]));
    command.env("VIDIMUS_DIGEST", "md5,sha256");
    crate::common::Run::of(command).expect(0);
    assert_eq!(digests(&env, "large"), ["sha256", "md5"]);
}

#[test]
fn what_lacks_a_digest_is_read_once_and_not_copied() {
    let env = old(&tree());
    env.mirrored(&["--digest", "md5"]);
    env.verify(&[]).expect(0);
    let told = env.mirror(&["--dry-run", "--digest", "sha256"]).expect(0);
    assert_eq!(told.stdout.matches("--digest asks for").count(), FILES.len(), "{}", told.stdout);
    let run = env.mirrored(&["--digest", "sha256"]);
    run.counts(&[("files_copied", 0), ("files_unchanged", 5), ("bytes_hashed", BYTES)]);
    for key in FILES {
        // What was there stays.
        assert_eq!(digests(&env, key), ["sha256", "md5"], "{key}");
    }
    assert_ne!(published(&env)["large"]["verified"], Value::Null, "nor is it forgotten");
    env.mirrored(&["--digest", "sha256,md5"]).counts(&[("bytes_hashed", 0)]);
}

#[test]
fn digests_stay_with_what_stays_and_go_with_what_changes() {
    let env = old(&tree());
    env.mirrored(&["--digest", "sha256"]);
    let close = |key: &str| {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(env.source.join(key), mode).expect("chmod");
    };
    close("empty");
    let run = env.mirrored(&["--ignore-ctime"]);
    run.counts(&[("metadata_updated", 1), ("bytes_hashed", 0)]);
    fs::write(env.source.join("d/small"), "other").expect("write");
    close("large");
    // The target's copy is lost, or touched: the same content is copied again.
    fs::write(env.target.join("d/chunk"), "drift").expect("write");
    env.mirrored(&[]).counts(&[("files_copied", 2), ("metadata_updated", 1)]);
    assert_eq!(digests(&env, "d/small"), [""; 0]);
    for key in ["large", "d/chunk", "empty"] {
        assert_eq!(digests(&env, key), ["sha256"], "{key}");
    }
    env.age();
    env.mirrored(&["--digest", "sha256"]).counts(&[("files_copied", 0)]);
    assert_eq!(digests(&env, "d/small"), ["sha256"]);
}

#[test]
fn what_is_adopted_is_read_on_both_sides() {
    let env = old(&tree());
    env.mirrored(&[]);
    env.lose_records();
    env.mirrored(&[]).counts(&[("files_adopted", 5), ("bytes_hashed", 0)]);
    let run = env.mirrored(&["--digest", "sha256"]);
    run.counts(&[("files_copied", 0), ("bytes_hashed", 2 * BYTES)]);
    assert_eq!(digests(&env, "large"), ["sha256"]);
    assert_eq!(published(&env)["large"]["adopted"], Value::Null);
    // Without a record from the first.
    env.lose_records();
    let run = env.mirrored(&["--digest", "md5"]);
    run.counts(&[("files_copied", 0), ("bytes_hashed", 2 * BYTES)]);
    assert_eq!(digests(&env, "large"), ["md5"]);
}

/// Else a list could never be exported of a mirror that deletes nothing.
#[test]
fn what_the_source_no_longer_has_is_read_in_the_target() {
    let env = old(&tree());
    env.mirrored(&[]);
    for key in ["large", "d/small"] {
        fs::remove_file(env.source.join(key)).expect("remove");
    }
    let export = ["manifest", "export", "--format", "sha256sum", "target"];
    env.mirrored(&["--exclude", "d/", "--digest", "sha256"]);
    env.vidimus(&export).expect(2).names("\"d/chunk\" and 1 more file");
    let run = env.mirror(&["--dry-run", "--digest", "sha256"]).expect(0);
    run.names("\"change\":\"keep\"");
    env.mirrored(&["--digest", "sha256"]).counts(&[("files_copied", 0)]);
    let list = env.vidimus(&export).expect(0).stdout;
    assert_eq!(list.lines().count(), FILES.len());
    for key in FILES {
        assert_eq!(digests(&env, key), ["sha256"], "{key}");
    }
    env.verify(&[]).expect(0);
    env.mirrored(&["--digest", "sha256"]).counts(&[("bytes_hashed", 0)]);
    // What is not what was recorded gets none, and is named.
    let large = env.target.join("large");
    let mtime = fs::metadata(&large).expect("stat").modified().expect("a time");
    let file = fs::OpenOptions::new().write(true).open(&large).expect("open");
    std::os::unix::fs::FileExt::write_at(&file, b"rot", 0).expect("write");
    file.set_modified(mtime).expect("set the time");
    env.mirror(&["--digest", "md5"]).expect(1).names("\"large\"").names("BLAKE3");
    assert_eq!(published(&env)["large"]["md5"], Value::Null);
    assert_eq!(
        published(&env)["d/small"]["md5"],
        by_coreutils("md5sum", &env.target.join("d/small"))
    );
}

#[test]
fn another_machine_takes_digests_over() {
    let env = old(&tree());
    env.mirrored(&["--digest", "sha256"]);
    lose_state(&env);
    env.mirrored(&["--digest", "sha256"]).counts(&[("bytes_hashed", 0)]);
}

#[test]
fn what_changed_in_silence_gets_no_digest() {
    let env = old(&tree());
    env.mirrored(&[]);
    let connection = rusqlite::Connection::open(state(&env)).expect("open the state");
    let update = "UPDATE entries SET digest = zeroblob(32) WHERE key = ?1";
    connection.execute(update, [&b"large"[..]]).expect("change a row");
    env.mirror(&["--digest", "sha256"]).expect(1).names("\"large\"").names("failing disk");
    assert_eq!(published(&env)["large"]["sha256"], Value::Null);
}

#[test]
fn digests_of_what_nobody_reads_are_refused() {
    let env = old(&tree());
    let run = env.mirror(&["--digest", "sha256", "--size-only"]).expect(2);
    run.names("--digest and --size-only").names("leave it out");
    env.mirror(&["--digest", "sha1"]).expect(2).names("sha1");
    env.vidimus(&["mirror", "--digest", "sha256,", text(&env.source), "target"]).expect(2);
}
