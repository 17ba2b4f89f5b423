//! Deleting: only when asked, last, and behind every guard.

use crate::common::environment::{NOBODY, text};
use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, assert_untouched, tools};
use crate::mirror::mirrored;
use crate::needs;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

fn numbered(count: usize) -> TestTree {
    (0..count).fold(TestTree::new(), |tree, n| tree.file(format!("d{}/f{n}", n % 3), n.to_string()))
}

#[test]
fn nothing_is_deleted_without_delete() {
    let env = mirrored(&numbered(6));
    fs::remove_file(env.source.join("d0/f0")).unwrap();
    fs::remove_dir_all(env.source.join("d1")).unwrap();
    fs::write(env.target.join("extra"), "extra").unwrap();
    let before = Snapshot::read(&env.target);
    env.mirrored(&[]).counts(&[("files_deleted", 0)]);
    let after = Snapshot::read(&env.target);
    assert_eq!(before.entries.keys().collect::<Vec<_>>(), after.entries.keys().collect::<Vec<_>>());
}

#[test]
fn extras_are_deleted_with_delete() {
    let env = mirrored(&numbered(9));
    fs::remove_file(env.source.join("d0/f0")).unwrap();
    TestTree::new()
        .file("extra/deep/down/a", "x")
        .symlink("extra/link", "/etc")
        .dir("extra/empty")
        .fifo("extra/pipe")
        .write(&env.target);
    env.mirrored(&["--delete", "--max-delete", "100%"]).counts(&[("files_deleted", 4)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn extra_directories_that_cannot_be_entered_do_not_stop_the_rest() {
    // A file system can refuse to remove: here an immutable file, where chattr works.
    needs!(tools::root(), tools::tool("chattr").map(drop));
    let env = mirrored(&numbered(9));
    TestTree::new().file("extra/stuck", "x").file("other", "x").write(&env.target);
    let stuck = env.target.join("extra/stuck");
    let chattr = |flag: &str| {
        std::process::Command::new("chattr")
            .arg(flag)
            .arg(&stuck)
            .status()
            .is_ok_and(|s| s.success())
    };
    needs!(if chattr("+i") { Ok(()) } else { Err("chattr +i does not work here".to_owned()) });
    let run = env.mirror(&["--delete"]);
    assert!(chattr("-i"));
    run.expect(1).names("extra/stuck");
    assert!(!env.target.join("other").exists());
    assert!(env.target.join("extra/stuck").exists());
    env.mirrored(&["--delete"]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_immutable_target_file_is_named_and_the_rest_copied() {
    needs!(tools::root(), tools::tool("chattr").map(drop));
    let env = mirrored(&numbered(4));
    let stuck = env.target.join("d0/f0");
    let chattr = |flag: &str| {
        std::process::Command::new("chattr")
            .arg(flag)
            .arg(&stuck)
            .status()
            .is_ok_and(|s| s.success())
    };
    needs!(if chattr("+i") { Ok(()) } else { Err("chattr +i does not work here".to_owned()) });
    numbered(4).file("d0/f0", "new").file("d1/f1", "new").write(&env.source);
    let run = env.mirror(&[]);
    assert!(chattr("-i"));
    run.expect(1).names("d0/f0");
    assert_eq!(fs::read(env.target.join("d0/f0")).unwrap(), b"0");
    assert_eq!(fs::read(env.target.join("d1/f1")).unwrap(), b"new");
    assert!(Snapshot::read(&env.target).temporaries().is_empty());
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_empty_source_is_refused_with_delete() {
    let env = mirrored(&numbered(4));
    for entry in fs::read_dir(&env.source).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let before = Snapshot::read(&env.target).without(<[u8]>::is_empty);
    env.mirror(&["--delete", "--max-delete", "100%"]).expect(6).names("empty");
    let after = Snapshot::read(&env.target).without(<[u8]>::is_empty);
    assert_eq!(before.entries.keys().collect::<Vec<_>>(), after.entries.keys().collect::<Vec<_>>());
}

#[test]
fn an_unreadable_directory_blocks_deletions_below_it_and_makes_others_wait() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let tree = TestTree::new()
        .file("closed/a", "1")
        .file("closed/b/c", "2")
        .file("open/d", "3")
        .file("open/e", "4")
        .file("open/f", "5")
        .file("open/g", "6");
    tree.write(&env.source);
    for entry in walkdir::WalkDir::new(&env.source) {
        chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    env.age();
    let arguments = env.mirror_arguments(&["--delete", "--max-delete", "100%"]);
    env.as_nobody(&arguments).unwrap().expect(0);
    fs::remove_file(env.source.join("closed/a")).unwrap();
    fs::remove_file(env.source.join("open/d")).unwrap();
    let closed = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(env.source.join("closed"), permissions).unwrap();
    };
    closed(0o000);
    let run = env.as_nobody(&arguments).unwrap().expect(1).names("closed");
    run.finished().counts(&[("files_deleted", 0), ("file_deletions_waiting", 1)]);
    assert!(env.target.join("open/d").exists());
    let despite = [&arguments[..], &["--delete-despite-errors".to_owned()]].concat();
    let run = env.as_nobody(&despite).unwrap().expect(1).names("closed");
    run.finished().counts(&[("files_deleted", 1), ("file_deletions_waiting", 0)]);
    for (path, there) in [("closed/a", true), ("closed/b/c", true), ("open/d", false)] {
        assert_eq!(env.target.join(path).exists(), there, "{path}");
    }
    closed(0o755);
    env.as_nobody(&arguments).unwrap().expect(0);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn an_unreadable_file_is_named_and_its_old_copy_stays() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    TestTree::new().file("a", "1").file("b", "2").write(&env.source);
    let arguments = env.mirror_arguments(&["--delete"]);
    env.as_nobody(&arguments).unwrap().expect(0);
    TestTree::new().file("a", "changed").mode(0o600).file("b", "changed").write(&env.source);
    env.as_nobody(&arguments).unwrap().expect(1).names("\"a\"").finished().counts(&[
        ("files_failed", 1),
        ("files_copied", 1),
        ("files_deleted", 0),
    ]);
    assert_eq!(fs::read(env.target.join("a")).unwrap(), b"1");
    assert_eq!(fs::read(env.target.join("b")).unwrap(), b"changed");
}

#[test]
fn an_unreadable_target_directory_is_named_and_never_taken_as_empty() {
    let env = Environment::new();
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    TestTree::new().file("d/a", "1").file("b", "2").write(&env.source);
    let arguments = env.mirror_arguments(&["--delete"]);
    env.as_nobody(&arguments).unwrap().expect(0);
    fs::set_permissions(env.target.join("d"), fs::Permissions::from_mode(0o311)).unwrap();
    fs::write(env.source.join("b"), "changed").unwrap();
    let run = env.as_nobody(&arguments).unwrap();
    // Its owner may widen it to look inside; else it is named.
    if run.code() == 0 {
        assert_mirrored(&env.source, &env.target);
    } else {
        run.expect(1).names("d");
    }
    assert_eq!(fs::read(env.target.join("d/a")).unwrap(), b"1");
    assert_eq!(fs::read(env.target.join("b")).unwrap(), b"changed");
}

#[test]
fn more_deletions_than_half_of_the_target_are_refused_by_default() {
    let env = mirrored(&numbered(12));
    for n in 0..12 {
        if n % 3 != 0 {
            fs::remove_file(env.source.join(format!("d{}/f{n}", n % 3))).unwrap();
        }
    }
    fs::write(env.source.join("new"), "new").unwrap();
    let run = env.mirror(&["--delete"]).expect(6).names("--max-delete");
    run.finished().counts(&[("files_copied", 1), ("files_deleted", 0)]);
    assert_eq!(run.finished().record["verdict"], "refused");
    assert!(env.target.join("d1/f1").exists() && env.target.join("d2/f11").exists());
    assert_eq!(fs::read(env.target.join("new")).unwrap(), b"new", "copies stand");
    env.mirrored(&["--delete", "--max-delete", "60%"]).counts(&[("files_deleted", 8)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn max_delete_as_a_count_is_a_bound_of_the_whole_run() {
    let env = mirrored(&numbered(12));
    for n in 0..3 {
        fs::remove_file(env.source.join(format!("d{n}/f{n}"))).unwrap();
    }
    for refused in ["0", "2", "0%", "1%"] {
        env.mirror(&["--delete", "--max-delete", refused]).expect(6);
        for n in 0..3 {
            assert!(env.target.join(format!("d{n}/f{n}")).exists(), "{refused}");
        }
    }
    env.mirrored(&["--delete", "--max-delete", "3"]).counts(&[("files_deleted", 3)]);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_bad_max_delete_is_wrong_usage() {
    let env = Environment::new();
    for bad in ["-1", "x", "101%", "5%%", ""] {
        let bound = format!("--max-delete={bad}");
        env.vidimus(&["mirror", "source", "target", "--delete", &bound]).expect(2);
    }
}

#[test]
fn a_required_file_that_is_missing_refuses_the_run() {
    let env = mirrored(&numbered(4).file(".mounted", ""));
    let flags = ["--delete", "--require-file", ".mounted"];
    env.mirrored(&flags);
    fs::remove_file(env.source.join(".mounted")).unwrap();
    fs::remove_file(env.source.join("d0/f0")).unwrap();
    env.mirror(&flags).expect(6).names(".mounted");
    assert!(env.target.join("d0/f0").exists());
    assert!(env.target.join(".mounted").exists());
}

#[test]
fn a_source_root_of_another_identity_is_refused_until_accepted() {
    let env = mirrored(&numbered(9));
    env.mirrored(&["--delete"]);
    // An unmounted disk: another directory under the same name, not empty.
    fs::rename(&env.source, env.root.join("the disk")).unwrap();
    fs::create_dir(&env.source).unwrap();
    fs::write(env.source.join("new"), "new").unwrap();
    let flags = ["--delete", "--max-delete", "100%"];
    for _ in 0..2 {
        // Refused twice: a refused run does not make the new root the right one.
        env.mirror(&flags).expect(6).names("--accept-source");
        assert!(env.target.join("d0/f0").exists());
    }
    env.mirrored(&["--delete", "--max-delete", "100%", "--accept-source"]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&flags);
}

#[test]
fn a_source_of_another_identity_is_copied_without_delete() {
    let env = mirrored(&numbered(4));
    env.mirrored(&["--delete"]);
    fs::rename(&env.source, env.root.join("the disk")).unwrap();
    fs::create_dir(&env.source).unwrap();
    fs::write(env.source.join("new"), "new").unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 1), ("files_deleted", 0)]);
    // That run deleted nothing, so it vouches for nothing.
    env.mirror(&["--delete", "--max-delete", "100%"]).expect(6);
}

#[test]
fn excluded_entries_are_protected() {
    let env = mirrored(&numbered(9));
    TestTree::new()
        .file("cache/a", "x")
        .file("deep/er/keep.tmp", "x")
        .file("deep/er/goes", "x")
        .file("d0/keep.tmp", "x")
        .write(&env.target);
    let flags = ["--delete", "--exclude", "*.tmp", "--exclude", "/cache/"];
    env.mirrored(&flags);
    for kept in ["cache/a", "deep/er/keep.tmp", "d0/keep.tmp"] {
        assert!(env.target.join(kept).exists(), "{kept}");
    }
    assert!(!env.target.join("deep/er/goes").exists());
    env.mirrored(&[&flags[..], &["--delete-excluded"]].concat());
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn a_file_in_the_place_of_a_directory_that_stays_is_told_why() {
    let tree = numbered(9).file("becomes/kept.tmp", "x").file("becomes/goes", "x");
    let protected = |flags: &[&str]| {
        let env = mirrored(&tree);
        fs::remove_dir_all(env.source.join("becomes")).unwrap();
        fs::write(env.source.join("becomes"), "a file").unwrap();
        env.mirror(&[flags, &["--delete"]].concat())
    };
    let excluding = ["--exclude", "*.tmp"];
    let run = protected(&excluding).expect(1);
    run.names("\"key\":\"becomes\"").names("what is excluded").names("--delete-excluded");
    protected(&["--exclude", "*.tmp", "--exclude", "goes"]).expect(1).names("--delete-excluded");
    protected(&["--exclude", "*.tmp", "--delete-excluded"]).expect(0);
    for dry_run in [&[][..], &["--dry-run"]] {
        let run = protected(&[&["--max-delete", "1"], dry_run].concat()).expect(6);
        run.names("\"key\":\"becomes\"").names("deletions were refused");
    }
    let env = mirrored(&tree);
    fs::remove_dir_all(env.source.join("becomes")).unwrap();
    fs::write(env.source.join("becomes"), "a file").unwrap();
    TestTree::new().file(format!(".vidimus.{:016x}", 1), "reserved").write(&env.source);
    env.mirror(&["--delete"]).expect(1).names("\"key\":\"becomes\"").names("deletions wait");
}

#[test]
fn entries_that_become_excluded_stay_in_the_target() {
    let env = mirrored(&numbered(9));
    env.mirrored(&["--delete", "--exclude", "/d0/"]).counts(&[("files_deleted", 0)]);
    assert!(env.target.join("d0/f0").exists());
}

#[test]
fn targets_outside_are_not_followed_by_deletions() {
    let env = mirrored(&numbered(9));
    TestTree::new().file("precious", "p").file("d/e", "q").write(&env.outside);
    let before = Snapshot::read(&env.outside);
    let outside = text(&env.outside);
    // An extra link to a directory, and one where the source has a directory.
    fs::remove_dir_all(env.target.join("d0")).unwrap();
    TestTree::new().symlink("link", outside).symlink("d0", outside).write(&env.target);
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    assert_untouched(&before, &env.outside);
    assert_mirrored(&env.source, &env.target);
}

#[test]
fn the_targets_own_records_are_never_deleted() {
    let env = mirrored(&numbered(6));
    TestTree::new().file(".vidimus/certificate", "c").file("d0/.vidimus/x", "y").write(&env.target);
    env.mirrored(&["--delete", "--delete-excluded"]);
    assert!(env.target.join(".vidimus/certificate").exists());
    assert!(!env.target.join("d0/.vidimus").exists(), "deeper ones are ordinary");
}

#[test]
fn the_sources_own_records_are_not_copied() {
    let env = Environment::new();
    numbered(2).file(".vidimus/x", "x").file("d0/.vidimus/y", "y").write(&env.source);
    env.mirrored(&[]);
    assert!(!env.target.join(".vidimus/x").exists());
    assert!(env.target.join("d0/.vidimus/y").exists(), "deeper ones are ordinary");
}
