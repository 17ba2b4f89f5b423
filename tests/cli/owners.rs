//! Copies get other owners, groups and modes than their source has, where that is asked for.

use super::manifest::lines;
use crate::common::environment::{NOBODY, text};
use crate::common::tree::{Snapshot, assert_whole};
use crate::common::{Environment, Run, TestTree, tools};
use crate::needs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

const MAPPINGS: [&[&str]; 6] = [
    &["--chown=1:2"],
    &["--chown=:bin", "--chmod=D2775,F664"],
    &["--chmod=Dg+s,ug+w,Fo-w,+X"],
    &["--chmod=u=rwX", "--chmod=go-rwx,+t"],
    &["--usermap=0-6:nobody,7:daemon,*:9", "--groupmap=daemon:5,2-3:0"],
    &["--usermap=bin:1,:4", "--chmod=-w"],
];

fn tree() -> TestTree {
    let tree = TestTree::new().mode(0o755).mtime(1000, 0).file("a", "1").mode(0o644).owner(7, 8);
    let tree = tree.file("program", "2").mode(0o711).owner(2, 2).file("secret", "3").mode(0o400);
    let tree = tree.owner(60_123, 60_124).dir("d").mode(0o700).owner(0, 1).mtime(1001, 0);
    tree.file("d/set", "4")
        .mode(0o6755)
        .owner(1, 1)
        .symlink("d/link", "set")
        .owner(7, 3)
        .mtime(1002, 0)
}

/// Root and rsync, which maps in the same way.
fn oracle() -> Result<(), String> {
    tools::root()?;
    tools::tool("rsync").map(|_| ())
}

#[test]
fn owners_groups_and_modes_are_mapped_as_rsync_maps_them() {
    let env = Environment::new();
    needs!(oracle());
    tree().write(&env.source);
    let source = format!("{}/", text(&env.source));
    for (number, flags) in MAPPINGS.into_iter().enumerate() {
        let expected = env.root.join(format!("rsync-{number}"));
        let rsync =
            Command::new("rsync").arg("-a").args(flags).arg(&source).arg(&expected).status();
        assert!(rsync.expect("run rsync").success(), "{flags:?}");
        // In the first, everything is new; in the others, it is there with other metadata.
        env.mirrored(flags).counts(&[("files_failed", 0)]);
        assert_whole(&expected, &env.target);
        let dry = [flags, &["-n"]].concat();
        env.mirror(&dry).expect(0).is_silent_about("\"changed\"");
        env.mirrored(flags).counts(&[("files_copied", 0), ("metadata_updated", 0)]);
        env.verify(&[]).expect(0);
        let against = ["verify", text(&env.target), "--against", text(&env.source)];
        env.vidimus(&against).expect(0);
    }
    // Without the flags, all is as in the source again.
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_failed", 0)]);
    assert_whole(&env.source, &env.target);
}

#[test]
fn a_mapping_is_shown_by_a_dry_run_and_explained() {
    let env = Environment::new();
    needs!(tools::root());
    tree().write(&env.source);
    env.mirrored(&[]);
    let before = Snapshot::read(&env.target);
    env.mirror(&["-n", "--chmod=Fo-r"]).expect(0).names("\"key\":\"a\"").is_silent_about("program");
    assert!(before == Snapshot::read(&env.target));
    let flags = ["--chown=5", text(&env.source), text(&env.target)];
    let explain = [&["explain"], &flags[..], &["a"]].concat();
    env.vidimus(&explain).expect(0).names("owner");
}

#[test]
fn a_mapping_that_makes_no_sense_is_refused() {
    let env = Environment::new();
    TestTree::new().file("a", "1").write(&env.source);
    for (flags, named) in [
        (&["--chown=nosuchuser"][..], "nosuchuser"),
        (&["--chown=:nosuchgroup"], "nosuchgroup"),
        (&["--chown=:"], "--chown"),
        (&["--chown=1", "--usermap=*:2"], "leave out --chown or --usermap"),
        (&["--chown=:1", "--groupmap=*:2"], "leave out --chown or --groupmap"),
        (&["--usermap=1"], "FROM:TO"),
        (&["--groupmap=9-1:0"], "9-1"),
        (&["--chmod=u+q"], "u+q"),
        (&["--chown=4294967295"], "no user"),
    ] {
        env.mirror(flags).expect(2).names(named);
    }
    assert!(!env.target.exists());
}

#[test]
fn an_owner_of_one_part_goes_with_a_map_of_the_other() {
    let env = Environment::new();
    needs!(tools::root());
    TestTree::new().file("a", "1").owner(3, 4).write(&env.source);
    env.mirrored(&["--chown=9", "--groupmap=4:8"]).counts(&[("files_failed", 0)]);
    assert_eq!(owner(&env.target.join("a")), (9, 8));
}

/// Runs the binary on a machine with these users and groups, as passwd(5) and group(5) have them.
fn among(env: &Environment, [users, groups]: [&str; 2], arguments: &[String]) -> Run {
    let mut mounts = String::new();
    for (name, content) in [("passwd", users), ("group", groups)] {
        let file = env.root.join(name);
        fs::write(&file, content).expect("write a file");
        mounts = format!("{mounts}mount --bind {} /etc/{name} && ", text(&file));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mounts} exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_vidimus")).args(arguments);
    Run::of(env.hermetic(command))
}

#[test]
fn owners_are_restored_by_name_where_the_manifest_tells_names() {
    let env = Environment::new();
    needs!(tools::mounts());
    let tree = |uid, gid| {
        let tree =
            TestTree::new().mode(0o755).mtime(5, 0).owner(0, 0).file("a", "1").owner(uid, gid);
        tree.mtime(5, 0).file("b", "2").owner(60_123, 60_124).mtime(5, 0)
    };
    let before = ["root:x:0:0::/:/bin/sh\nada:x:501:1::/:\n", "root:x:0:\nart:x:502:\n"];
    let after = ["root:x:0:0::/:/bin/sh\nada:x:601:1::/:\n", "root:x:0:\nart:x:602:\n"];
    tree(501, 502).write(&env.source);
    among(&env, before, &env.mirror_arguments(&[])).expect(0);
    let head = fs::read(env.target.join(".vidimus/manifest/00000001.json")).expect("read the head");
    let head: serde_json::Value = serde_json::from_slice(&head).expect("JSON");
    assert_eq!(head["users"], json!([{"id": 0, "name": "root"}, {"id": 501, "name": "ada"}]));
    assert_eq!(head["groups"], json!([{"id": 0, "name": "root"}, {"id": 502, "name": "art"}]));
    let restored = env.root.join("restored");
    let restore = |flags: &[&str]| {
        let arguments = ["mirror", "--json", text(&env.target), text(&restored)];
        let arguments = arguments.iter().chain(flags).map(ToString::to_string);
        among(&env, after, &arguments.collect::<Vec<_>>())
    };
    restore(&["--by-name"]).expect(0).is_silent_about("names_unknown");
    tree(601, 602).assert_at(&restored);
    restore(&["--by-name"]).expect(0).finished().counts(&[("metadata_updated", 0)]);
    restore(&["--by-name", "--usermap=ada:7"]).expect(0);
    tree(7, 602).assert_at(&restored);
    restore(&[]).expect(0);
    tree(501, 502).assert_at(&restored);
    env.mirror(&["--by-name"]).expect(0).names("names_unknown");
    env.mirror(&["--by-name", "--numeric-ids"]).expect(2).names("choose one");
}

#[test]
fn an_owner_that_can_not_be_set_is_recorded_and_set_by_a_run_that_may() {
    let env = Environment::new();
    needs!(tools::root());
    let tree = TestTree::new().mode(0o755).file("a", "1").owner(7, 8).dir("d").owner(7, 8);
    let tree = tree.symlink("l", "a").owner(7, 8).file("own", "2").owner(NOBODY, NOBODY);
    tree.write(&env.source);
    let run = env.as_nobody(&env.mirror_arguments(&[])).expect("setpriv");
    run.expect(0);
    let meant = |sequence| {
        let lines = lines(&env, sequence).into_iter();
        let owner = |line: &Value| (line["meant"]["uid"].as_u64(), line["meant"]["gid"].as_u64());
        let key = |line: &Value| line["key"].as_str().unwrap_or_default().to_owned();
        lines.map(|line| (key(&line), owner(&line))).collect::<BTreeMap<_, _>>()
    };
    let of_lines = meant(1);
    for (key, expected) in [("a", Some(7)), ("d/", Some(7)), ("l", Some(7)), ("own", None)] {
        assert_eq!(of_lines[key].0, expected, "{key}");
    }
    assert_eq!(owner(&env.target.join("a")), (NOBODY, NOBODY));
    // A restore by root, first by the record that nobody left, then by the manifest.
    for name in ["by record", "by manifest"] {
        let restored = env.root.join(name);
        let run = env.vidimus(&["mirror", "--json", text(&env.target), text(&restored)]).expect(0);
        run.finished().counts(&[("files_failed", 0)]);
        tree.assert_at(&restored);
        // What is recorded is mapped as what is listed is.
        let mapped = env.root.join(format!("mapped {name}"));
        let words = ["mirror", text(&env.target), text(&mapped), "--chown", "21:22"];
        env.vidimus(&words).expect(0);
        assert_eq!(owner(&mapped.join("a")), (21, 22), "{name}");
        if name == "by record" {
            fs::rename(&env.state, env.root.join("aside")).expect("rename the state");
            fs::create_dir(&env.state).expect("make a state");
        }
    }
    fs::remove_dir_all(&env.state).expect("remove the state");
    fs::rename(env.root.join("aside"), &env.state).expect("rename the state");
    // By root, with the record that nobody left.
    env.mirrored(&[]).counts(&[("files_copied", 0), ("files_failed", 0)]);
    tree.assert_at(&env.target);
    assert!(meant(2).values().all(|owner| *owner == (None, None)));
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).expect("it stands");
    (found.uid(), found.gid())
}
