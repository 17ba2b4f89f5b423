//! Copies get other owners, groups and modes than their source has, where that is asked for.

use crate::common::environment::text;
use crate::common::tree::{Snapshot, assert_whole};
use crate::common::{Environment, TestTree, tools};
use crate::needs;
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

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).expect("it stands");
    (found.uid(), found.gid())
}
