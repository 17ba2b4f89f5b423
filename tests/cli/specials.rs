//! Named pipes, sockets and devices: made in the target, and never opened.

use crate::common::environment::text;
use crate::common::{Disk, Environment, TestTree, assert_mirrored, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

/// One of each kind, with a name beside it in a directory that is built whole, and one by itself.
fn specials() -> TestTree {
    let tree = TestTree::new().file("a", "1").fifo("pipe").mode(0o640).mtime(1_600_000_000, 5);
    let tree = tree.socket("d/socket").mode(0o4755).owner(5, 7).mtime(-1, 7);
    let tree = tree.character_device("d/null", 1, 3).mode(0o666).mtime(1_600_000_001, 0);
    tree.block_device("d/disk", 8, 300).mode(0o660).owner(0, 6).fifo("e/alone").file("z", "2")
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
    let (source, target) = (text(&env.source), text(&env.target));
    env.vidimus(&["verify", target, "--against", source]).expect(0);
    env.vidimus(&["diff", source, target]).expect(0);
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("run mkfifo").success());
}

fn mknod(path: &Path, kind: &str, major: u32, minor: u32) {
    let numbers = [major.to_string(), minor.to_string()];
    let made = Command::new("mknod").arg(path).arg(kind).args(numbers).status();
    assert!(made.expect("run mknod").success());
}

#[test]
fn special_files_are_made_and_kept() {
    needs!(tools::root());
    let env = Environment::new();
    specials().write(&env.source);
    env.age();
    env.mirror(&["-n"]).expect(0).names("\"make_special\"");
    env.mirrored(&[]).counts(&[("files_copied", 7), ("files_failed", 0), ("bytes_copied", 2)]);
    specials().assert_at(&env.target);
    settled(&env);
    // Nothing is known of them, and what is there is adopted.
    env.lose_records();
    fs::remove_dir_all(env.target.join(".vidimus")).expect("remove");
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_adopted", 7)]);
    settled(&env);
}

#[test]
fn special_files_change_their_kind_number_and_metadata() {
    needs!(tools::root());
    let env = Environment::new();
    specials().file("f", "file").symlink("l", "f").dir("x").write(&env.source);
    env.age();
    env.mirrored(&[]);
    let at = |name: &str| env.source.join(name);
    fs::set_permissions(at("pipe"), fs::Permissions::from_mode(0o600)).expect("chmod");
    std::os::unix::fs::lchown(at("d/socket"), Some(9), None).expect("chown");
    for name in ["d/null", "d/disk", "e/alone", "a", "f", "l"] {
        fs::remove_file(at(name)).expect("remove");
    }
    mknod(&at("d/null"), "c", 1, 5);
    mknod(&at("d/disk"), "c", 8, 300);
    fs::write(at("e/alone"), "a file now").expect("write");
    for name in ["a", "f", "l"] {
        mkfifo(&at(name));
    }
    fs::remove_dir(at("x")).expect("remove");
    mkfifo(&at("x"));
    env.age();
    let differs = env.vidimus(&["diff", text(&env.source), text(&env.target)]);
    differs.expect(3).names("device 1:5 -> 1:3");
    let explained = env.vidimus(&["explain", text(&env.source), text(&env.target), "d/null"]);
    explained.expect(0).names("would make the special file: the device's number differs");
    let run = env.mirrored(&["--delete"]);
    run.counts(&[("files_copied", 7), ("metadata_updated", 5), ("files_failed", 0)]);
    settled(&env);
    // A directory with something in it, and the reverse.
    fs::remove_dir_all(at("e")).expect("remove");
    mkfifo(&at("e"));
    fs::remove_file(at("x")).expect("remove");
    TestTree::new().file("x/y", "1").write(&env.source);
    env.age();
    env.mirrored(&["--delete"]).counts(&[("files_copied", 2), ("files_failed", 0)]);
    settled(&env);
    fs::remove_file(at("e")).expect("remove");
    env.mirrored(&["--delete"]).counts(&[("files_deleted", 1)]);
    settled(&env);
}

#[test]
fn verify_names_and_repairs_special_files() {
    needs!(tools::root());
    let env = Environment::new();
    specials().write(&env.source);
    env.age();
    env.mirrored(&[]);
    let at = |name: &str| env.target.join(name);
    fs::remove_file(at("pipe")).expect("remove");
    fs::set_permissions(at("e/alone"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::remove_file(at("d/null")).expect("remove");
    mknod(&at("d/null"), "c", 1, 7);
    let found = env.verify(&["--against", text(&env.source)]).expect(3);
    found.names("pipe").names("device 1:3 -> 1:7").names("mode");
    let found = env.verify(&[]).expect(3);
    found.names("pipe").names("device 1:3 -> 1:7").names("mode");
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    specials().assert_at(&env.target);
    env.verify(&[]).expect(0);
}

/// The group bits of a mode beside an ACL are its mask.
#[test]
fn acls_and_attributes_of_special_files_are_kept() {
    needs!(tools::root());
    let disk = Disk::new();
    let env = disk.environment();
    let acl = "u::rw-,u:5:rw-,g::---,m::rw-,o::---";
    let tree = TestTree::new().fifo("pipe").acl(acl).block_device("d/disk", 8, 1);
    let tree = tree.attribute("trusted.note", "x").acl(acl).socket("d/socket").file("f", "");
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]).counts(&[("attributes_lost", 0), ("acls_lost", 0)]);
    tree.assert_at(&env.target);
    settled(&env);
    // Of a change of them alone the ctime tells.
    let changed = TestTree::new().fifo("pipe").acl("u::rw-,u:7:r--,g::---,m::rw-,o::---");
    let changed = changed.socket("d/socket").attribute("trusted.note", "y");
    changed.write(&env.source);
    env.age();
    env.mirrored(&[]);
    settled(&env);
    // Without ACLs the group of a copy gets no more than that would leave it.
    fs::remove_dir_all(&env.target).expect("remove");
    env.mirrored(&["--no-acls"]).counts(&[("acls_lost", 2)]);
    let mode = env.target.join("pipe").symlink_metadata().expect("a pipe").mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn hard_linked_special_files_are_linked() {
    needs!(tools::root());
    let env = Environment::new();
    let tree = specials().link("d/pipe", "pipe").link("y", "d/null").fifo("p").link("q", "p");
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 8), ("hard_links_made", 3)]);
    tree.assert_at(&env.target);
    settled(&env);
    // What is set of one would be set of a name that the source lacks.
    fs::hard_link(env.target.join("pipe"), env.root.join("snapshot")).expect("link");
    fs::set_permissions(env.source.join("pipe"), fs::Permissions::from_mode(0o600)).expect("chmod");
    env.age();
    env.mirrored(&[]);
    settled(&env);
    let mode = env.root.join("snapshot").symlink_metadata().expect("it stays").mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn no_special_file_is_ever_opened() {
    needs!(tools::root(), tools::strace());
    let env = Environment::new();
    specials().write(&env.source);
    env.age();
    let strace = ["-y", "-e", "trace=open,openat,openat2,creat"];
    let mirror = |flags: &[&str]| env.mirror_arguments(flags);
    let (source, target) = (text(&env.source), text(&env.target));
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let commands = [
        mirror(&["-n"]),
        mirror(&[]),
        mirror(&["--checksum"]),
        of(&["verify", target]),
        of(&["verify", target, "--against", source]),
        of(&["diff", "--content", source, target]),
        of(&["ls", "-l", source]),
    ];
    for command in commands {
        env.strace(&strace, &command).expect(0);
        // A change of metadata is made by handles that open nothing.
        let pipe = env.source.join("pipe");
        fs::set_permissions(&pipe, fs::Permissions::from_mode(0o640)).expect("chmod");
        for line in env.trace().lines() {
            let names = ["pipe\"", "socket\"", "null\"", "disk\"", "alone\""];
            let is_of_ours = line.contains(text(&env.root));
            let is_special = names.iter().any(|name| line.contains(name)) && is_of_ours;
            assert!(!is_special || line.contains("O_PATH"), "{command:?}: {line}");
        }
    }
}

#[test]
fn special_files_are_left_out_on_request() {
    needs!(tools::root());
    let env = Environment::new();
    specials().write(&env.source);
    TestTree::new().file("pipe", "in the way").write(&env.target);
    let run = env.mirrored(&["--no-specials", "--delete"]);
    run.counts(&[("files_copied", 2), ("files_skipped", 5), ("files_failed", 0)]);
    assert_eq!(fs::read(env.target.join("pipe")).expect("it stays"), b"in the way");
    env.mirror(&["-n", "--no-specials"]).expect(0).names("no_specials");
    env.verify(&["--against", text(&env.source)]).expect(0);
    env.mirrored(&[]).counts(&[("files_copied", 5)]);
    settled(&env);
}

#[test]
fn devices_are_named_once_where_they_cannot_be_made() {
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let env = Environment::new();
    let tree = TestTree::new().file("a", "1").fifo("pipe").socket("socket");
    tree.device("b").block_device("c", 8, 1).device("d/e").file("d/f", "2").write(&env.source);
    for flags in [&["-n"][..], &[], &[]] {
        let run = env.as_nobody(&env.mirror_arguments(flags)).unwrap().expect(1);
        let failures: Vec<_> = run.records().into_iter().filter(is_failure).collect();
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0]["cause_code"], "special_refused", "{failures:?}");
        run.names("2 other special files are missing").finished().counts(&[("files_failed", 3)]);
    }
    let kind = |name: &str| env.target.join(name).symlink_metadata().map(|found| found.file_type());
    assert!(kind("pipe").expect("a pipe").is_fifo());
    assert!(kind("socket").expect("a socket").is_socket());
    assert!(kind("d/f").expect("a file").is_file());
    assert!(kind("b").is_err() && kind("d/e").is_err());
    let flags = ["--exclude", "/b", "--exclude", "/c", "--exclude", "e"];
    env.as_nobody(&env.mirror_arguments(&flags)).unwrap().expect(0);
    env.as_nobody(&env.mirror_arguments(&["--no-specials"])).unwrap().expect(0);
}

/// exfat-fuse answers with an I/O error.
#[test]
fn what_a_file_system_cannot_have_is_named_once() {
    let env = Environment::new();
    fs::create_dir(&env.target).expect("make the mount point");
    let mounted = tools::Mount::exfat(&env.root.join("image"), &env.target);
    needs!(mounted.as_ref().map_err(Clone::clone));
    TestTree::new().fifo("pipe").socket("d/socket").file("d/f", "2").write(&env.source);
    for _ in 0..2 {
        let run = env.mirror(&[]).expect(1).names("none can be made there");
        let run = run.names("1 other special file is missing");
        run.finished().counts(&[("files_failed", 2)]);
    }
    assert_eq!(fs::read(env.target.join("d/f")).expect("a file"), b"2");
    env.mirrored(&["--no-specials"]).counts(&[("files_skipped", 2)]);
}

fn is_failure(record: &serde_json::Value) -> bool {
    record["event"] == "failed"
}

#[test]
fn what_is_replaced_by_a_special_file_or_was_one_is_kept_in_the_backup() {
    needs!(tools::root());
    let env = Environment::new();
    TestTree::new().fifo("pipe").file("f", "old").device("gone").write(&env.source);
    env.age();
    env.mirrored(&[]);
    for name in ["pipe", "f", "gone"] {
        fs::remove_file(env.source.join(name)).expect("remove");
    }
    TestTree::new().file("pipe", "new").fifo("f").write(&env.source);
    let backup = env.root.join("backup");
    env.mirrored(&["--delete", "--max-delete", "100%", "--backup-dir", text(&backup)]);
    assert_mirrored(&env.source, &env.target);
    let run = fs::read_dir(&backup).expect("list").next().expect("one run").expect("list").path();
    TestTree::new().fifo("pipe").file("f", "old").device("gone").assert_at(&run);
}

/// The kernel hides such a device behind what it means there: a deleted entry.
#[test]
fn an_overlay_refuses_the_device_that_marks_deletions() {
    needs!(tools::root());
    let disk = Disk::new();
    let env = disk.environment();
    fs::create_dir(&env.target).expect("make the target");
    let _mount = tools::Mount::overlay(&env.root, &env.target).expect("mount an overlay");
    TestTree::new().character_device("zero", 0, 0).device("null").write(&env.source);
    let run = env.mirror(&[]).expect(1).names("character device 0:0");
    run.finished().counts(&[("files_copied", 1), ("files_failed", 1)]);
}
