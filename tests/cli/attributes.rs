//! Extended attributes, ACLs and file capabilities of a copy are those of its source.

use crate::common::environment::{NOBODY, text};
use crate::common::{Environment, TestTree, tools};
use crate::needs;
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

type Attributes = BTreeMap<String, Vec<u8>>;

/// Returns the attributes of an entry, ACLs included.
fn attributes(path: &Path) -> Attributes {
    let mut names = vec![0; 64 << 10];
    let length = llistxattr(path, &mut names[..]).expect("list attributes");
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = lgetxattr(path, name, &mut value[..]).expect("read an attribute");
        value.truncate(length);
        value
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).expect("set an attribute");
}

fn set_acl(path: &Path, acl: &str) {
    let arguments = if acl == "-b" { vec!["-b"] } else { vec!["-m", acl] };
    let status = Command::new("setfacl").args(arguments).arg(path).status().expect("run setfacl");
    assert!(status.success(), "setfacl {acl} {}", path.display());
}

/// setfacl, root, and a file system that keeps attributes.
fn all_kinds(env: &Environment) -> Result<(), String> {
    tools::root()?;
    tools::tool("setfacl")?;
    let probe = env.root.join("probe");
    fs::write(&probe, "").expect("write a file");
    lsetxattr(&probe, "user.a", b"a", XattrFlags::empty())
        .map_err(|error| format!("no extended attributes here: {error}"))
}

/// `cap_net_raw=ep`, as setcap writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes a source with attributes of all kinds, on files of all sizes and on directories.
fn with_attributes(env: &Environment) {
    let tree = TestTree::new().file("plain", "1").file("user", "2").mode(0o444);
    let tree = tree.file("acl", "3").mode(0o640).file("program", "4").mode(0o755).owner(7, 8);
    let tree = tree.file("d/large", vec![5; 3 << 20]).file("d/new/x", "6");
    tree.file("d/trusted", "7").dir("e").mode(0o755).write(&env.source);
    let at = |key: &str| env.source.join(key);
    for name in ["user", "d/large", "e", ""] {
        set(&at(name), "user.comment", b"a value\0\xff");
    }
    set(&at("user"), "user.empty", b"");
    set(&at("user"), "user.long", &[b'x'; 3000]);
    set(&at("program"), "security.capability", &CAPABILITY);
    set(&at("d/trusted"), "trusted.a", b"b");
    set_acl(&at("acl"), "u:1:rwx");
    set_acl(&at("d"), "d:u:1:rwx");
    set_acl(&at("e"), "g:2:rx");
}

const NAMES: [&str; 11] =
    ["", "plain", "user", "acl", "program", "d", "d/large", "d/new", "d/new/x", "d/trusted", "e"];

#[track_caller]
fn are_the_same(env: &Environment) {
    for name in NAMES {
        let [source, target] = [&env.source, &env.target].map(|root| root.join(name));
        assert_eq!(attributes(&source), attributes(&target), "{name}");
        let [source, target] = [source, target].map(|path| path.symlink_metadata().unwrap());
        let has = |of: &fs::Metadata| (of.mode(), of.uid(), of.gid(), of.mtime(), of.mtime_nsec());
        assert_eq!(has(&source), has(&target), "{name}");
    }
}

const UNCHANGED: [(&str, u64); 4] =
    [("files_copied", 0), ("metadata_updated", 0), ("bytes_hashed", 0), ("attributes_lost", 0)];

#[test]
fn attributes_are_copied_and_a_rerun_asks_for_none() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]).counts(&[("attributes_lost", 0), ("acls_lost", 0), ("files_failed", 0)]);
    are_the_same(&env);
    env.age();
    env.mirrored(&[]).counts(&UNCHANGED);
    if tools::strace().is_ok() {
        let calls = ["-e", "trace=/.*xattr.*"];
        env.strace(&calls, &env.mirror_arguments(&[])).expect(0);
        assert_eq!(env.trace(), "");
    }
    env.verify(&[]).expect(0);
    let against = ["verify", text(&env.target), "--against", text(&env.source)];
    env.vidimus(&against).expect(0);
    // The manifest tells another machine that there is nothing to look for.
    fs::remove_dir_all(&env.state).unwrap();
    fs::create_dir(&env.state).unwrap();
    env.mirrored(&[]).counts(&UNCHANGED);
    env.mirror(&["-n"]).expect(0).is_silent_about("\"changed\"");
}

#[test]
fn a_change_of_attributes_copies_no_content_and_what_the_source_lost_goes() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.mirrored(&[]);
    env.age();
    let at = |key: &str| env.source.join(key);
    set(&at("plain"), "user.new", b"1");
    for name in ["user", "e"] {
        rustix::fs::removexattr(at(name), "user.comment").unwrap();
    }
    rustix::fs::removexattr(at("program"), "security.capability").unwrap();
    set_acl(&at("acl"), "-b");
    set_acl(&at("d"), "-b");
    set_acl(&at("d/large"), "u:3:r");
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 6)]);
    are_the_same(&env);
    env.mirrored(&[]).counts(&UNCHANGED);
    // What somebody changed in the target is set right again.
    set(&env.target.join("plain"), "user.new", b"2");
    set(&env.target.join("d/large"), "user.stranger", b"3");
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 2)]);
    are_the_same(&env);
    env.mirrored(&[]).counts(&UNCHANGED);
}

/// Users' attributes belong to files and directories alone.
#[test]
fn symbolic_links_and_pipes_keep_those_of_root() {
    const LEAVES: [&str; 3] = ["l", "d/new/l", "p"];
    let env = Environment::new();
    needs!(all_kinds(&env));
    let tree = TestTree::new().symlink("l", "nowhere").symlink("d/new/l", "x").fifo("p");
    tree.file("d/new/x", "1").write(&env.source);
    for name in LEAVES {
        set(&env.source.join(name), "trusted.a", name.as_bytes());
    }
    let are_the_same = || {
        for name in LEAVES {
            let [source, target] = [&env.source, &env.target].map(|root| root.join(name));
            assert_eq!(attributes(&source), attributes(&target), "{name}");
        }
    };
    env.age();
    env.mirrored(&[]).counts(&[("attributes_lost", 0)]);
    are_the_same();
    env.mirrored(&[]).counts(&UNCHANGED);
    for name in LEAVES {
        set(&env.source.join(name), "trusted.a", b"other");
    }
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 3)]);
    are_the_same();
    set(&env.target.join("l"), "trusted.stranger", b"1");
    env.verify(&[]).expect(3).names("attribute trusted.stranger (1 B)");
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 1)]);
    are_the_same();
    env.verify(&[]).expect(0);
}

#[test]
fn an_acl_that_a_new_entry_inherits_in_the_target_is_replaced() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    TestTree::new().file("d/x", "1").mode(0o640).file("d/e/y", "2").write(&env.source);
    TestTree::new().dir("d").write(&env.target);
    for directory in ["", "d"] {
        set_acl(&env.target.join(directory), "d:u:1:rwx");
    }
    env.mirrored(&[]);
    for name in ["", "d", "d/x", "d/e", "d/e/y"] {
        assert_eq!(attributes(&env.target.join(name)), Attributes::new(), "{name}");
    }
    assert_eq!(env.target.join("d/x").metadata().unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn a_mirror_that_was_made_without_attributes_gets_them_without_a_copy() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&["--no-xattrs", "--no-acls"]).counts(&[("attributes_lost", 6), ("acls_lost", 3)]);
    assert_eq!(attributes(&env.target.join("acl")), Attributes::new());
    env.age();
    // One kind after the other.
    env.mirrored(&["--no-acls"]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    assert_eq!(attributes(&env.target.join("acl")), Attributes::new());
    assert_eq!(attributes(&env.target.join("user")), attributes(&env.source.join("user")));
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    are_the_same(&env);
    env.mirrored(&[]).counts(&UNCHANGED);
    // What isn't looked for is left alone.
    set(&env.source.join("plain"), "user.later", b"1");
    env.mirrored(&["--no-xattrs"]).counts(&[("files_copied", 0)]);
    assert_eq!(attributes(&env.target.join("plain")), Attributes::new());
    assert_eq!(attributes(&env.target.join("user")), attributes(&env.source.join("user")));
    env.mirrored(&[]);
    are_the_same(&env);
}

#[test]
fn what_was_repaired_gets_its_attributes_from_the_next_run() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]);
    fs::remove_file(env.target.join("user")).unwrap();
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    are_the_same(&env);
    env.mirrored(&[]).counts(&UNCHANGED);
}

/// XFS shows root each ACL under two names.
#[test]
fn an_acl_stays_on_xfs_when_something_else_changes() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    fs::create_dir(&env.target).unwrap();
    let mounted = tools::Mount::xfs(&env.root.join("image"), &env.target);
    needs!(mounted.as_ref().map_err(Clone::clone));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]);
    let same = |path: &Path| {
        let mut found = attributes(path);
        found.retain(|name, _| !name.starts_with("trusted.SGI_ACL"));
        found
    };
    for changed in ["e/added", "d/added"] {
        fs::write(env.source.join(changed), "8").unwrap();
        set(&env.source.join("acl"), "user.later", changed.as_bytes());
        env.mirrored(&[]);
        for name in NAMES {
            assert_eq!(same(&env.target.join(name)), attributes(&env.source.join(name)), "{name}");
        }
    }
}

#[test]
fn a_file_that_is_given_away_keeps_its_capability() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]);
    // chown removes it.
    let program = env.source.join("program");
    std::os::unix::fs::chown(&program, Some(70), None).unwrap();
    set(&program, "security.capability", &CAPABILITY);
    env.age();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 1)]);
    are_the_same(&env);
}

#[test]
fn what_somebody_changed_of_a_directory_of_the_target_is_set_right() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]);
    env.mirrored(&[]).counts(&UNCHANGED);
    env.age();
    set(&env.target.join("d"), "user.stranger", b"1");
    rustix::fs::removexattr(env.target.join("e"), "user.comment").unwrap();
    set(&env.target.join("plain"), "user.stranger", b"12");
    let verified = env.verify(&[]).expect(3).names("attributes as recorded -> ");
    verified.names("attribute user.stranger (1 B)").names("attribute user.stranger (2 B)");
    let against = ["verify", text(&env.target), "--against", text(&env.source)];
    let against = env.vidimus(&against).expect(3);
    let against = against.names("metadata plain: attribute user.stranger none -> 2 B");
    let against = against.names("3 entries");
    against.names("metadata e/: attribute user.comment 9 B -> none");
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    are_the_same(&env);
    set(&env.target.join("d"), "user.stranger", b"1");
    rustix::fs::removexattr(env.target.join("e"), "user.comment").unwrap();
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 2)]);
    are_the_same(&env);
    env.mirrored(&[]).counts(&UNCHANGED);
}

/// What a repair doesn't give, nobody gets rights by.
#[test]
fn a_repair_gives_the_recorded_attributes_or_takes_the_groups_rights() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    env.mirrored(&[]);
    let damage = || {
        fs::write(env.target.join("acl"), "X").unwrap();
        fs::remove_dir_all(env.target.join("e")).unwrap();
        std::os::unix::fs::chown(env.target.join("program"), Some(9), None).unwrap();
    };
    damage();
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    are_the_same(&env);
    damage();
    for name in ["acl", "e"] {
        set_acl(&env.source.join(name), "-b");
    }
    env.verify(&["--repair-from", text(&env.source)]);
    let mode = |name: &str| env.target.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("acl"), mode("e")), (0o600, 0o705));
}

/// Nothing is written through a link, and a name that was mended is linked again.
#[test]
fn a_repair_of_a_linked_file_makes_a_new_one() {
    let env = Environment::new();
    TestTree::new().file("a", "1").mode(0o640).link("b", "a").file("c", "2").write(&env.source);
    env.age();
    env.mirrored(&[]);
    let snapshot = env.root.join("snapshot");
    fs::hard_link(env.target.join("c"), &snapshot).unwrap();
    fs::set_permissions(&snapshot, fs::Permissions::from_mode(0o604)).unwrap();
    fs::write(env.target.join("a"), "X").unwrap();
    env.verify(&["--repair-from", text(&env.source)]).expect(0);
    assert_eq!(snapshot.metadata().unwrap().mode() & 0o7777, 0o604);
    env.mirrored(&[]);
    TestTree::new().file("a", "1").mode(0o640).link("b", "a").file("c", "2").assert_at(&env.target);
}

#[test]
fn a_verification_names_hard_links_that_are_separate_files() {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "1").link("b", "a").link("c", "a").file("d", "1");
    tree.write(&env.source);
    // A name elsewhere is none of the mirror's.
    fs::hard_link(env.source.join("d"), env.root.join("elsewhere")).unwrap();
    env.age();
    env.mirrored(&[]);
    let against = ["verify", text(&env.target), "--against", text(&env.source)];
    env.verify(&[]).expect(0);
    env.vidimus(&against).expect(0);
    fs::hard_link(env.source.join("a"), env.source.join("e")).unwrap();
    let explained = env.vidimus(&["explain", "source", text(&env.target), "e"]).expect(0);
    explained.names("one of 4 names").names("would be made a hard link");
    fs::remove_file(env.source.join("e")).unwrap();
    env.mirrored(&[]);
    let at = |name: &str| env.target.join(name);
    fs::copy(at("c"), at("new")).unwrap();
    fs::rename(at("new"), at("c")).unwrap();
    fs::remove_file(at("d")).unwrap();
    fs::hard_link(at("b"), at("d")).unwrap();
    for run in [env.verify(&[]).expect(3), env.vidimus(&against).expect(3)] {
        let run = run.names("a: hard links -> separate files");
        let run = run.names("c: hard links -> separate files");
        let run = run.names("a: separate files -> hard links");
        run.names("d: separate files -> hard links").is_silent_about("b: ");
    }
}

#[test]
fn files_that_another_tool_copied_are_given_their_attributes() {
    let env = Environment::new();
    needs!(all_kinds(&env), tools::tool("rsync"));
    with_attributes(&env);
    let from = format!("{}/", env.source.display());
    let copy = Command::new("rsync").args(["-a", &from, text(&env.target)]).status().unwrap();
    assert!(copy.success());
    set(&env.target.join("plain"), "user.stranger", b"1");
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    are_the_same(&env);
}

#[test]
fn an_attribute_for_which_a_file_has_no_room_ends_no_run() {
    needs!(tools::strace());
    // A file has room for little on ext4, and ENOSPC says so, too.
    for (error, code) in [("ENOSPC", 0), ("E2BIG", 0), ("EDQUOT", 1)] {
        let env = Environment::new();
        needs!(all_kinds(&env));
        TestTree::new().file("a", "1").file("b", "2").file("c", "3").write(&env.source);
        set(&env.source.join("b"), "user.a", b"1");
        env.age();
        let inject = format!("inject=fsetxattr:error={error}");
        let failing = ["-e", "trace=fsetxattr", "-e", &*inject];
        let run = env.strace(&failing, &env.mirror_arguments(&[])).expect(code).finished();
        run.counts(&[("files_failed", u64::try_from(code).unwrap()), ("attributes_kept_apart", 1)]);
        for name in ["a", "b", "c"] {
            assert!(env.target.join(name).exists(), "{name}");
        }
        env.mirrored(&[]).counts(&[("files_copied", 0)]);
        assert_eq!(attributes(&env.target.join("b")), attributes(&env.source.join("b")));
    }
}

/// On ext4 a file has room for 4 KiB of attributes.
#[test]
fn names_of_a_file_whose_attributes_have_no_room_stay_linked() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    fs::create_dir(&env.target).unwrap();
    let mounted = tools::Mount::ext4(&env.root.join("image"), &env.target, 20);
    needs!(mounted.as_ref().map_err(Clone::clone));
    let big = env.root.join("big");
    fs::create_dir(&big).unwrap();
    let on_xfs = tools::Mount::xfs(&env.root.join("xfs"), &big);
    needs!(on_xfs.as_ref().map_err(Clone::clone));
    let source = big.join("s");
    TestTree::new().file("a", "1").link("b", "a").write(&source);
    set(&source.join("a"), "user.large", &vec![b'x'; 60_000]);
    env.age();
    let arguments = ["mirror", "--json", text(&source), text(&env.target)];
    for copied in [1, 0] {
        let run = env.vidimus(&arguments).expect(0).finished();
        run.counts(&[("files_copied", copied), ("files_failed", 0)]);
        assert_eq!(env.target.join("a").metadata().unwrap().nlink(), 2);
    }
}

#[test]
fn what_the_target_cannot_keep_the_manifest_keeps() {
    needs!(tools::strace());
    let env = Environment::new();
    needs!(all_kinds(&env));
    TestTree::new().file("a", "1").file("b", "2").mode(0o640).write(&env.source);
    set(&env.source.join("a"), "user.a", b"1");
    set_acl(&env.source.join("b"), "u:1:rwx");
    env.age();
    let failing = ["-e", "trace=fsetxattr", "-e", "inject=fsetxattr:error=EOPNOTSUPP"];
    let run = env.strace(&failing, &env.mirror_arguments(&[])).expect(0);
    run.names("kept in the manifest alone").finished().counts(&APART_OF_TWO);
    // Without the ACL the group gets no more than it had.
    let mode = || env.target.join("b").metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode(), 0o640);
    env.age();
    let run = env.strace(&failing, &env.mirror_arguments(&[])).expect(0).finished();
    run.counts(&UNCHANGED).counts(&[("attributes_kept_apart", 0)]);
    assert_eq!(mode(), 0o640);
    // Who mirrors the target gets them, by the record here or by the manifest.
    let restored = |name: &str| {
        let at = env.root.join(name);
        env.vidimus(&["mirror", "--json", text(&env.target), text(&at)]).expect(0);
        for key in ["a", "b"] {
            let source = env.source.join(key);
            assert_eq!(attributes(&at.join(key)), attributes(&source), "{name} {key}");
            assert_eq!(at.join(key).metadata().unwrap().mode(), source.metadata().unwrap().mode());
        }
        let again = env.vidimus(&["mirror", "--json", text(&env.target), text(&at)]).expect(0);
        again.finished().counts(&UNCHANGED);
    };
    restored("by the record");
    fs::remove_dir_all(&env.state).unwrap();
    fs::create_dir(&env.state).unwrap();
    restored("by the manifest");
    // Now the target can keep them.
    env.mirrored(&[]).counts(&[("files_copied", 0), ("metadata_updated", 2)]);
    for key in ["a", "b"] {
        assert_eq!(attributes(&env.target.join(key)), attributes(&env.source.join(key)), "{key}");
    }
    env.mirrored(&[]).counts(&UNCHANGED);
}

const APART_OF_TWO: [(&str, u64); 4] =
    [("attributes_lost", 0), ("acls_lost", 0), ("attributes_kept_apart", 2), ("files_failed", 0)];

#[test]
fn a_tree_comes_back_whole_from_a_file_system_without_attributes() {
    let env = Environment::new();
    needs!(all_kinds(&env));
    with_attributes(&env);
    env.age();
    let mounted = tools::Mount::exfat(&env.root.join("image"), &env.target);
    needs!(mounted.as_ref().map_err(Clone::clone));
    let kept = [("attributes_lost", 0), ("acls_lost", 0), ("attributes_kept_apart", 8)];
    env.mirrored(&[]).counts(&kept);
    env.mirrored(&[]).counts(&UNCHANGED);
    let at = env.root.join("restored");
    let restored = || {
        env.vidimus(&["mirror", "--json", text(&env.target), text(&at)]).expect(0);
        for name in NAMES {
            assert_eq!(attributes(&at.join(name)), attributes(&env.source.join(name)), "{name}");
        }
    };
    restored();
    // What the source got and lost since, as the record of the copy tells it.
    set(&env.source.join("plain"), "user.new", b"1");
    rustix::fs::removexattr(env.source.join("user"), "user.comment").unwrap();
    set_acl(&env.source.join("e"), "-b");
    env.mirrored(&[]);
    restored();
    fs::remove_dir_all(&env.state).unwrap();
    fs::create_dir(&env.state).unwrap();
    fs::remove_dir_all(&at).unwrap();
    restored();
}

#[test]
fn who_is_not_root_copies_what_users_may_set() {
    needs!(tools::root(), tools::tool("setpriv"));
    let env = Environment::new();
    needs!(all_kinds(&env));
    let tree = TestTree::new().file("a", "1").mode(0o444).file("program", "2").mode(0o755);
    tree.write(&env.source);
    set(&env.source.join("a"), "user.a", b"1");
    set_acl(&env.source.join("a"), "u:1:rwx");
    for entry in walkdir::WalkDir::new(&env.source) {
        let path = entry.unwrap().into_path();
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    set(&env.source.join("program"), "security.capability", &CAPABILITY);
    env.age();
    let run = env.as_nobody(&env.mirror_arguments(&[])).unwrap().expect(0);
    run.finished().counts(&[("attributes_lost", 0), ("attributes_kept_apart", 1)]);
    assert_eq!(attributes(&env.target.join("a")), attributes(&env.source.join("a")));
    let mode = |root: &Path| root.join("a").metadata().unwrap().mode();
    assert_eq!(mode(&env.target), mode(&env.source));
}
