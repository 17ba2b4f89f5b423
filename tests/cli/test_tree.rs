//! The tests' own trees: a helper that can't see a difference would make every test green.

use crate::common::tree::Closeness;
use crate::common::{Environment, Snapshot, TestTree, tools};
use crate::mirror::sample;
use crate::needs;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn what_a_tree_states_is_what_is_read_back() {
    let env = Environment::new();
    sample().write(&env.source);
    sample().assert_at(&env.source);
    let seen = Snapshot::read(&env.source);
    assert_eq!(seen.get("data/older than the epoch").unwrap().mtime, (-157_680_000, 999_999_999));
    assert_eq!(seen.get("empty").unwrap().mode, 0o750);
    assert_eq!(sample().files(), 11);
    assert_eq!(sample().bytes(), 13 + 10 + 6 + 1 + 4 + 2);
}

#[test]
fn every_kind_of_difference_is_seen() {
    type Edit<'a> = (&'a str, &'a dyn Fn(&Environment));
    let edits: [Edit<'_>; 9] = [
        ("expected file of", &|env| {
            fs::write(env.target.join("README.md"), "Hello, world\n").unwrap();
        }),
        ("expected mode", &|env| {
            let permissions = fs::Permissions::from_mode(0o751);
            fs::set_permissions(env.target.join("empty"), permissions).unwrap();
        }),
        ("expected mtime", &|env| {
            TestTree::new().dir("empty").mtime(1_000_000_000, 2).write(&env.target);
        }),
        ("missing", &|env| fs::remove_file(env.target.join("links/loop")).unwrap()),
        ("unexpected", &|env| {
            fs::write(env.target.join(b"\xff".escape_ascii().to_string()), "").unwrap();
        }),
        ("expected symlink", &|env| {
            TestTree::new().symlink("links/loop", "pool").write(&env.target);
        }),
        ("expected mtime", &|env| {
            TestTree::new()
                .symlink("links/outside", "/etc/hostname")
                .mtime(-5, 8)
                .write(&env.target);
        }),
        ("expected symlink", &|env| TestTree::new().dir("links/loop").write(&env.target)),
        ("(root): expected mode", &|env| {
            fs::set_permissions(&env.target, fs::Permissions::from_mode(0o700)).unwrap();
        }),
    ];
    for (expected, edit) in edits {
        let env = Environment::new();
        for root in [&env.source, &env.target] {
            sample().mtime(5, 5).write(root);
            for directory in ["links", "data/deep/er", "data/deep", "data", "bin", ""] {
                crate::common::tree::set_mtime_of(&root.join(directory), 7, 7);
            }
            for (key, seen) in Snapshot::read(root).entries {
                if seen.mtime.0 > 1_700_000_000 {
                    let key = String::from_utf8(key).unwrap();
                    crate::common::tree::set_mtime_of(&root.join(key), 7, 7);
                }
            }
        }
        let differences = || {
            let source = Snapshot::read(&env.source);
            source.differences(&Snapshot::read(&env.target), Closeness::Mirror)
        };
        assert!(differences().is_empty(), "{:#?}", differences());
        edit(&env);
        let found = differences();
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
}

/// Holes, names of one file, attributes, ACLs and special files.
fn unusual() -> TestTree {
    let tree = TestTree::new().sparse("holes", 3 << 20, &[(0, b"a"), ((3 << 20) - 1, b"z")]);
    let tree = tree.file("names", "of one file").link("d/other", "names").link("third", "names");
    let tree = tree.file("program", "run").owner(7, 8).attribute("user.long", [b'x'; 3000]);
    let tree = tree.attribute("security.capability", CAPABILITY).mtime(1, 2);
    let tree = tree.file("acl", "3").acl("u::rw-,u:1:rwx,g::r--,m::rwx,o::---");
    let tree = tree.dir("d").default_acl("u::rwx,g::r-x,o::r-x").attribute("trusted.a", b"\0\xff");
    let tree = tree.symlink("link", "to").attribute("trusted.a", "b").fifo("fifo").mode(0o620);
    let tree = tree.socket("d/socket").owner(5, 6).character_device("d/character", 7, 300);
    tree.block_device("block", 259, 1 << 19).attribute("trusted.a", "c").mtime(5, 6)
}

/// `cap_net_raw=ep`, as setcap writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn unusual_entries_are_read_back_as_they_are_stated() {
    needs!(tools::root());
    let env = Environment::new();
    for _ in 0..2 {
        unusual().write(&env.source);
        unusual().assert_at(&env.source);
    }
    let seen = Snapshot::read(&env.source);
    assert_eq!(seen.get("acl").unwrap().mode, 0o670);
    assert!(
        seen.get("holes").unwrap().blocks <= 16 && !seen.get("holes").unwrap().holes.is_empty()
    );
    assert_eq!(seen.get("names").unwrap().holes, []);
    assert_eq!(seen.groups().len(), 1);
}

#[test]
fn differences_of_unusual_entries_are_seen() {
    needs!(tools::root());
    let edits = [
        ("linked: d/other, fourth, names, third", TestTree::new().link("fourth", "names")),
        ("not linked: d/other, names, third", TestTree::new().link("third", "acl")),
        ("expected holes", TestTree::new().file("holes", without_holes())),
        ("acl: expected attributes", TestTree::new().file("acl", "3").acl(OTHER_ACL)),
        ("link: expected attributes", TestTree::new().symlink("link", "to")),
        ("d: expected attributes", TestTree::new().dir("d").attribute("trusted.b", "c")),
        ("block: expected block", TestTree::new().block_device("block", 259, 1)),
        ("d/character: expected", TestTree::new().block_device("d/character", 7, 300)),
        ("fifo: expected fifo", TestTree::new().socket("fifo")),
        ("fifo: expected mode", TestTree::new().fifo("fifo").mode(0o600)),
        ("d/socket: expected owner", TestTree::new().socket("d/socket").owner(5, 5)),
    ];
    for (expected, edit) in edits {
        let env = Environment::new();
        for root in [&env.source, &env.target] {
            unusual().write(root);
        }
        edit.write(&env.target);
        let [before, after] = [&env.source, &env.target].map(|root| Snapshot::read(root));
        let found = before.differences(&after, Closeness::Whole);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:#?}");
    }
}

const OTHER_ACL: &str = "u::rw-,u:1:r--,g::---,m::r--,o::---";

/// The content of `holes`, without any.
fn without_holes() -> Vec<u8> {
    let mut content = vec![0; 3 << 20];
    content[0] = b'a';
    content[(3 << 20) - 1] = b'z';
    content
}

#[test]
fn a_touched_inode_is_seen() {
    let env = Environment::new();
    sample().write(&env.source);
    let before = Snapshot::read(&env.source);
    env.age();
    let path = env.source.join("bin/run");
    fs::set_permissions(&path, fs::metadata(&path).unwrap().permissions()).unwrap();
    let found = before.differences(&Snapshot::read(&env.source), Closeness::Untouched);
    assert!(found.iter().any(|line| line.contains("ctime")), "{found:?}");
    assert!(before.differences(&Snapshot::read(&env.source), Closeness::Mirror).is_empty());
}

#[test]
fn mounts_go_when_they_are_dropped() {
    needs!(tools::mounts());
    let env = Environment::new();
    fs::create_dir(&env.target).unwrap();
    let mounted = || {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(env.target.to_str().unwrap())
    };
    let mount = tools::Mount::tmpfs(&env.target, "size=64k").unwrap();
    assert!(mounted());
    drop(mount);
    assert!(!mounted());
}
