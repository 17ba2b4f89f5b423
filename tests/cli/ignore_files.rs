//! Ignore files: what `.vidimusignore` in directories of the source leaves out.

use crate::common::environment::text;
use crate::common::tools::tool;
use crate::common::{Environment, Snapshot, TestTree};
use crate::needs;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

/// Ignore files at three depths, that take back what others ignore.
fn tree() -> TestTree {
    TestTree::new()
        .file(".vidimusignore", "*.o\n/build/\ncache\n# a comment\n\n!important.o\n")
        .file("a.c", "1")
        .file("a.o", "2")
        .file("important.o", "3")
        .file("build/x", "4")
        .file("d/build/x", "5")
        .file("d/cache/y", "6")
        .file("d/.vidimusignore", "!*.o\nlocal*\n/e/secret\n")
        .file("d/a.o", "7")
        .file("d/local.c", "8")
        .file("d/e/secret", "9")
        .file("d/e/f/secret", "10")
        .file("d/e/.vidimusignore", "!local.c\n*.o\n")
        .file("d/e/local.c", "11")
        .file("d/e/b.o", "12")
        .file("z", "13")
}

const IGNORED: [&str; 6] = ["a.o", "build", "d/cache", "d/local.c", "d/e/secret", "d/e/b.o"];

fn mirrored() -> Environment {
    let env = Environment::new();
    tree().write(&env.source);
    env.mirrored(&["--ignore-files"]);
    env
}

#[test]
fn rules_of_inner_directories_go_before_those_above() {
    let env = mirrored();
    for name in IGNORED {
        assert!(!env.target.join(name).exists(), "{name}");
    }
    for name in ["important.o", "d/build/x", "d/a.o", "d/e/f/secret", "d/e/local.c", "z"] {
        assert!(env.target.join(name).exists(), "{name}");
    }
    env.mirrored(&["--ignore-files"]).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
    env.verify(&[]).expect(0);
    env.verify(&["--against", text(&env.source)]).expect(0);
    // Without the flag they are files like any other.
    env.mirrored(&[]).counts(&[("files_copied", 6)]);
}

#[test]
fn git_ignores_the_same() {
    needs!(tool("git").map(drop));
    let env = mirrored();
    let repository = env.root.join("repository");
    tree().write(&repository);
    for directory in ["", "d", "d/e"] {
        let at = |name: &str| repository.join(directory).join(name);
        fs::rename(at(".vidimusignore"), at(".gitignore")).expect("rename");
    }
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&repository).args(arguments);
        env.hermetic(command).output().expect("run git")
    };
    assert!(git(&["init", "-q"]).status.success());
    let listed = git(&["ls-files", "-z", "--others", "--exclude-standard"]).stdout;
    let expected: BTreeSet<Vec<u8>> = listed
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && !name.ends_with(b".gitignore"))
        .map(<[u8]>::to_vec)
        .collect();
    let found = Snapshot::read(&env.target).entries.into_keys();
    let found: BTreeSet<_> = found
        .filter(|key| env.target.join(std::ffi::OsStr::from_bytes(key)).is_file())
        .filter(|key| !key.ends_with(b".vidimusignore"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_ignored_stays_in_the_target_unless_it_is_to_be_deleted() {
    let env = mirrored();
    let extra = TestTree::new().file("a.o", "old").file("d/cache/old", "x").file("d/extra", "y");
    extra.file("d/gone/local", "z").file("d/e/new.o", "n").write(&env.target);
    let flags = ["--ignore-files", "--delete", "--max-delete", "100%"];
    let deletes = |flags: &[&str]| {
        let run = env.mirror(&[flags, &["-n"]].concat()).expect(0);
        run.finished().record["would"]["delete"].as_u64().expect("a number")
    };
    assert_eq!(deletes(&flags), 1);
    env.mirrored(&flags).counts(&[("files_deleted", 1), ("directories_deleted", 0)]);
    assert!(!env.target.join("d/extra").exists());
    for name in ["a.o", "d/cache/old", "d/gone/local", "d/e/new.o"] {
        assert!(env.target.join(name).exists(), "{name}");
    }
    env.verify(&["--against", text(&env.source)]).expect(0);
    let all = [&flags[..], &["--delete-excluded"]].concat();
    assert_eq!(deletes(&all), 6);
    env.mirrored(&all).counts(&[("files_deleted", 4), ("directories_deleted", 2)]);
    for name in ["a.o", "d/cache", "d/gone", "d/e/new.o"] {
        assert!(!env.target.join(name).exists(), "{name}");
    }
}

#[test]
fn options_go_before_ignore_files_and_a_list_is_ignored_too() {
    let env = Environment::new();
    tree().write(&env.source);
    let flags = ["--ignore-files", "--include", "/a.o", "--exclude", "z"];
    env.mirrored(&flags);
    assert!(env.target.join("a.o").exists() && !env.target.join("z").exists());
    let list = env.root.join("list");
    fs::write(&list, "d/\na.o\n").expect("write a list");
    fs::remove_dir_all(&env.target).expect("remove");
    env.mirrored(&["--ignore-files", "--files-from", text(&list)]);
    assert!(env.target.join("d/a.o").exists() && !env.target.join("a.o").exists());
    assert!(!env.target.join("d/local.c").exists());
}

#[test]
fn explain_says_that_a_file_is_ignored() {
    let env = mirrored();
    let explain = |name: &str| {
        let arguments = ["explain", "--ignore-files", "source", "target", name];
        env.vidimus(&arguments).expect(0)
    };
    for name in ["a.o", "d/e/secret", "d/cache/y"] {
        explain(name).names(".vidimusignore");
    }
    explain("d/a.o").is_silent_about(".vidimusignore");
}

/// Nothing is known of what such a directory holds.
#[test]
fn an_ignore_file_that_is_wrong_leaves_its_directory_alone() {
    let env = mirrored();
    TestTree::new().file("d/.vidimusignore", "*.o\n\n[b\n").write(&env.source);
    fs::remove_file(env.source.join("d/a.o")).expect("remove");
    fs::write(env.source.join("z"), "changed").expect("write");
    let run = env.mirror(&["--ignore-files", "--delete"]).expect(1);
    run.names("line 3 of its .vidimusignore").names("\"d/\"");
    assert!(env.target.join("d/a.o").exists());
    assert_eq!(fs::read(env.target.join("z")).expect("a file"), b"changed");
    // What isn't a file holds no rules.
    fs::remove_file(env.source.join("d/.vidimusignore")).expect("remove");
    TestTree::new().fifo("d/.vidimusignore").write(&env.source);
    env.mirrored(&["--ignore-files"]);
}
