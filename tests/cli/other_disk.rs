//! `--delete` and which disk is mounted at the source: another one in the place of the one that the
//! last run deleted by is refused, the same one never.

use crate::common::{Environment, TestTree, tools};
use crate::needs;
use std::fs;
use std::path::{Path, PathBuf};
use tools::Mount;

/// What another disk would delete, were it taken for the first.
const DELETE: [&str; 5] = ["--delete", "--max-delete", "100%", "--exclude", "/lost+found"];

fn image(env: &Environment, name: &str) -> PathBuf {
    env.root.join(format!("{name}.img"))
}

/// Two disks, made by `mount`: on the first is a file that the second lacks.
fn two_disks(env: &Environment, mount: impl Fn(&Path) -> Result<Mount, String>) {
    for name in ["one", "other"] {
        let _mount = mount(&image(env, name)).expect("mounting was tried before");
        TestTree::new().file("shared", name).file(format!("only on {name}"), "").write(&env.source);
    }
}

/// Mirrors one disk twice, and then the other: the exit code of the last run.
fn mirrored_from_two(
    env: &Environment,
    mount: impl Fn(&Path) -> Result<Mount, String>,
) -> crate::common::Run {
    two_disks(env, &mount);
    for _ in 0..2 {
        let _mount = mount(&image(env, "one")).expect("it was mounted before");
        env.mirror(&DELETE).expect(0).is_silent_about("a different id");
    }
    let _mount = mount(&image(env, "other")).expect("it was mounted before");
    env.mirror(&[&DELETE[..], &["--dry-run"]].concat());
    env.mirror(&DELETE)
}

#[track_caller]
fn assert_refused_until_accepted(
    env: &Environment,
    mount: impl Fn(&Path) -> Result<Mount, String>,
) {
    mirrored_from_two(env, &mount).expect(6).names("--accept-source");
    assert!(env.target.join("only on one").exists());
    let _mount = mount(&image(env, "other")).expect("it was mounted before");
    env.mirrored(&[&DELETE[..], &["--accept-source"]].concat());
    env.mirrored(&DELETE);
    assert!(!env.target.join("only on one").exists());
}

#[test]
fn another_ext4_at_the_mount_point_is_refused() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"));
    let env = Environment::new();
    assert_refused_until_accepted(&env, |image| Mount::ext4(image, &env.source, 16));
}

#[test]
fn another_btrfs_at_the_mount_point_is_refused() {
    needs!(tools::mounts(), tools::tool("mkfs.btrfs"));
    let env = Environment::new();
    assert_refused_until_accepted(&env, |image| Mount::btrfs(image, &env.source));
}

/// Without udev nothing but the root's time of birth tells it from the first.
#[test]
fn another_xfs_at_the_mount_point_is_refused() {
    needs!(tools::mounts(), tools::tool("mkfs.xfs"));
    let env = Environment::new();
    assert_refused_until_accepted(&env, |image| Mount::xfs(image, &env.source));
}

#[test]
fn a_snapshot_made_anew_for_each_run_is_the_same_disk() {
    needs!(tools::mounts(), tools::tool("mkfs.btrfs"));
    let env = Environment::new();
    let _mount = Mount::btrfs(&image(&env, "one"), &env.source).expect("it was tried before");
    let btrfs = |words: &[&str]| {
        let done =
            std::process::Command::new("btrfs").current_dir(&env.source).args(words).output();
        assert!(done.as_ref().is_ok_and(|output| output.status.success()), "{done:?}");
    };
    btrfs(&["subvolume", "create", "live"]);
    TestTree::new().file("a", "a").file("b", "b").write(&env.source.join("live"));
    let arguments = ["mirror", "source/snapshot", "target", "--delete"];
    for name in ["b", "a"] {
        btrfs(&["subvolume", "snapshot", "-r", "live", "snapshot"]);
        env.vidimus(&arguments).expect(0).is_silent_about("a different id");
        btrfs(&["subvolume", "delete", "snapshot"]);
        fs::remove_file(env.source.join("live").join(name)).unwrap();
    }
}

#[test]
fn a_disk_with_another_device_number_is_never_refused() {
    needs!(tools::mounts(), tools::tool("mkfs.xfs"), tools::tool("mkfs.ext4"));
    let env = Environment::new();
    let mount = || Mount::xfs(&image(&env, "one"), &env.source).expect("it was tried before");
    let first = mount();
    TestTree::new().file("a", "a").file("b", "b").write(&env.source);
    env.mirrored(&["--delete"]);
    fs::remove_file(env.source.join("b")).unwrap();
    drop(first);
    // XFS makes its f_fsid of the device's number, which the one mounted first has now.
    let elsewhere = env.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let _first = Mount::ext4(&image(&env, "other"), &elsewhere, 16).expect("it was tried before");
    let _again = mount();
    env.mirrored(&["--delete"]).counts(&[("files_deleted", 1)]);
}

#[test]
fn an_id_that_a_restart_changes_is_told_and_not_refused() {
    needs!(tools::mounts());
    let env = Environment::new();
    let mounted = || {
        let mount = Mount::tmpfs(&env.source, "size=1m").expect("mounting was tried before");
        TestTree::new().file("a", "a").write(&env.source);
        mount
    };
    let mount = mounted();
    TestTree::new().file("b", "b").write(&env.source);
    env.mirror(&["--delete"]).expect(0);
    drop(mount);
    let _mount = mounted();
    env.mirror(&["--delete", "--dry-run"]).expect(0).names("a different id");
    let run = env.mirror(&["--delete"]).expect(0).names("a different id").names("--require-file");
    run.finished().counts(&[("files_deleted", 1)]);
    env.mirror(&["--delete"]).expect(0).is_silent_about("a different id");
}

#[test]
fn one_disk_mounted_in_several_ways_is_the_same() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"));
    let env = Environment::new();
    let disk = env.root.join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = || Mount::ext4(&image(&env, "one"), &disk, 16).expect("it was tried before");
    let first = mount();
    TestTree::new().file("a", "a").file("b", "b").write(&disk.join("photos"));
    let bound = Mount::bind(&disk.join("photos"), &env.source).expect("it was tried before");
    env.mirrored(&["--delete"]);
    drop(bound);
    drop(first);
    let _again = mount();
    fs::remove_file(disk.join("photos/b")).unwrap();
    let _bound = Mount::bind(&disk.join("photos"), &env.source).expect("it was tried before");
    env.mirror(&["--delete"]).expect(0).is_silent_about("a different id");
}

#[test]
fn a_root_recorded_without_its_disk_is_no_reason_to_refuse() {
    needs!(tools::mounts(), tools::tool("mkfs.ext4"));
    let env = Environment::new();
    let mount =
        |name| Mount::ext4(&image(&env, name), &env.source, 16).expect("it was tried before");
    let one = mount("one");
    TestTree::new().file("a", "a").file("b", "b").write(&env.source);
    env.mirrored(&DELETE);
    let state = crate::content_changed::state(&env);
    let recorded = rusqlite::Connection::open(state).unwrap();
    let forget = "UPDATE runs SET root = json_remove(root, '$.id')";
    assert_eq!(recorded.execute(forget, []).unwrap(), 1);
    drop(recorded);
    env.mirror(&DELETE).expect(0).is_silent_about("a different id");
    drop(one);
    let _other = mount("other");
    TestTree::new().file("a", "a").write(&env.source);
    env.mirror(&DELETE).expect(6);
}
