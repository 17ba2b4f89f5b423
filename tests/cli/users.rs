//! One target, several users: each runs as himself, with a record of his own.

use crate::common::environment::text;
use crate::common::{Environment, Run, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

const ADA: u32 = 62_001;
const BOB: u32 = 62_002;
/// The group that both are in.
const GROUP: u32 = 62_100;
/// One that nobody is in.
const OTHER: u32 = 62_200;

/// Runs the binary as a user who is in these groups.
fn run_as(env: &Environment, (uid, groups): (u32, &str), arguments: &[&str]) -> Run {
    let home = env.root.join(format!("home-{uid}"));
    if !home.exists() {
        fs::create_dir(&home).expect("make a home");
        chown(&home, Some(uid), Some(uid)).expect("give it away");
    }
    let binary = env.root.join("vidimus");
    if !binary.exists() {
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_vidimus")).arg(&binary).status();
        assert!(copied.expect("run cp").success(), "copy the binary");
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}")]);
    command.arg(format!("--groups={groups}")).arg(binary).args(arguments);
    let mut command = env.hermetic(command);
    command.env("HOME", &home).env_remove("XDG_STATE_HOME");
    Run::of(command)
}

fn ada(env: &Environment, arguments: &[&str]) -> Run {
    run_as(env, (ADA, "62100"), arguments)
}

fn bob(env: &Environment, arguments: &[&str]) -> Run {
    run_as(env, (BOB, "62100"), arguments)
}

/// Somebody else, who is in no group of theirs.
fn eve(env: &Environment, arguments: &[&str]) -> Run {
    run_as(env, (62_003, "62003"), arguments)
}

/// A source of Ada's, and a target of this mode that root made for the group.
fn shared(mode: u32) -> Environment {
    let env = Environment::new();
    for (name, content) in [("a", "one"), ("sub/b", "two")] {
        let path = env.source.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
        fs::write(path, content).expect("write a file");
    }
    for directory in [&env.source, &env.source.join("sub")] {
        set_mode(directory, 0o755);
    }
    for entry in walkdir::WalkDir::new(&env.source) {
        chown(entry.expect("list").path(), Some(ADA), Some(ADA)).expect("give it away");
    }
    fs::create_dir(&env.target).expect("make a directory");
    chown(&env.target, Some(0), Some(GROUP)).expect("give it away");
    set_mode(&env.target, mode);
    env
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a mode");
}

/// Mode and group of all that vidimus keeps in the target.
fn kept(env: &Environment) -> Vec<(String, u32, u32)> {
    let own = env.target.join(".vidimus");
    let entries = walkdir::WalkDir::new(&own).sort_by_file_name().into_iter();
    let kept = entries.map(|entry| {
        let entry = entry.expect("list");
        let metadata = entry.metadata().expect("look");
        let name = entry.path().strip_prefix(&own).expect("it lies there");
        (text(name).to_owned(), metadata.mode() & 0o7777, metadata.gid())
    });
    kept.collect()
}

/// Asserts that all of that has the modes that these stand for.
#[track_caller]
fn assert_modes(env: &Environment, (lock, manifest): (u32, u32), (own, reader): (u32, u32)) {
    for (name, mode, gid) in kept(env) {
        let expected = match &*name {
            "" => own,
            "lock" => lock,
            "manifest" => reader,
            _ => manifest,
        };
        assert_eq!(mode, expected, "{name}: {mode:o} is not {expected:o}");
        assert!(gid == GROUP || mode & 0o060 == 0, "{name} is not the group's: {gid}");
    }
}

#[test]
fn a_second_user_of_the_group_verifies_and_mirrors_into_its_target() {
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let env = shared(0o2775);
    ada(&env, &["mirror", "source", "target"]).expect(0);
    assert_modes(&env, (0o664, 0o664), (0o2775, 0o2775));
    bob(&env, &["verify", "target"]).expect(0).names("verified  2 files");
    // Whoever may only read verifies as well.
    eve(&env, &["verify", "target"]).expect(0);
    let other = env.root.join("other");
    fs::create_dir(&other).expect("make a directory");
    fs::write(other.join("of-bob"), "three").expect("write a file");
    bob(&env, &["mirror", "other", "target"]).expect(0).names("copied            1 file");
    assert_modes(&env, (0o664, 0o664), (0o2775, 0o2775));
    bob(&env, &["put", "-", "target/put"]).expect(0);
    // What a user's directory has is his to set, and no failure of another's run.
    ada(&env, &["mirror", "source", "target"]).expect(0).names("belong to other users");
    for user in [ada, bob, eve] {
        user(&env, &["verify", "target"]).expect(0).names("0 differences");
    }
}

#[test]
fn what_is_closed_to_a_user_is_not_told_to_him_by_the_manifest() {
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let env = shared(0o2775);
    ada(&env, &["mirror", "source", "target"]).expect(0);
    assert_modes(&env, (0o664, 0o664), (0o2775, 0o2775));
    // Not of its group, whom others' rights count for.
    set_mode(&env.source.join("a"), 0o660);
    fs::write(env.source.join("new"), "new").expect("write a file");
    ada(&env, &["mirror", "source", "target"]).expect(0).names("no longer readable by its group");
    assert_modes(&env, (0o664, 0o600), (0o2775, 0o700));
    let run = bob(&env, &["verify", "target"]).expect(7);
    let run = run.names(&format!("\".vidimus/manifest/\" belongs to user {ADA} (mode 0700)"));
    run.names("have that user mirror to it with --manifest-mode");
    let run = bob(&env, &["mirror", "source/sub", "target"]).expect(7);
    run.names(&format!("belongs to user {ADA}"));
    // Asked for, it is open to the group all the same, now and in runs to come.
    ada(&env, &["mirror", "--manifest-mode", "0660", "source", "target"]).expect(0);
    assert_modes(&env, (0o660, 0o660), (0o2770, 0o2770));
    fs::write(env.source.join("newer"), "new").expect("write a file");
    ada(&env, &["mirror", "source", "target"]).expect(0);
    assert_modes(&env, (0o660, 0o660), (0o2770, 0o2770));
    // Bob may list the manifest, and not read the file.
    bob(&env, &["verify", "--quick", "target"]).expect(0);
    let run = eve(&env, &["verify", "target"]).expect(7);
    let run = run.names(&format!("\".vidimus\" belongs to user {ADA} (mode 2770)"));
    run.names("--manifest-mode 0644");
    for mode in ["0666", "0400", "rw", "0755"] {
        let run = ada(&env, &["mirror", "--manifest-mode", mode, "source", "target"]).expect(2);
        run.names("0600, 0640, 0660, 0644 or 0664");
    }
}

#[test]
fn a_directory_that_is_closed_closes_the_manifest() {
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    for (mode, manifest, reader) in [(0o755, 0o644, 0o755), (0o700, 0o600, 0o700)] {
        let env = shared(0o755);
        chown(&env.target, Some(ADA), Some(GROUP)).expect("give it away");
        chown(&env.source, Some(ADA), Some(GROUP)).expect("give it away");
        set_mode(&env.source.join("sub"), mode);
        ada(&env, &["mirror", "source", "target"]).expect(0);
        assert_modes(&env, (0o644, manifest), (0o755, reader));
    }
}

#[test]
fn a_target_that_a_run_makes_is_as_open_as_its_source() {
    needs!(tools::root(), tools::tool("setpriv").map(drop));
    let env = shared(0o2775);
    fs::remove_dir(&env.target).expect("remove the target");
    set_mode(&env.root, 0o777);
    chown(&env.source, Some(ADA), Some(GROUP)).expect("give it away");
    set_mode(&env.source, 0o2775);
    ada(&env, &["mirror", "source", "target"]).expect(0);
    assert_modes(&env, (0o664, 0o664), (0o2775, 0o2775));
    bob(&env, &["mirror", "source/a", "target"]).expect(0);
}

#[test]
fn a_manifest_is_opened_to_another_group_only_if_all_that_it_tells_is_open_to_that() {
    needs!(tools::root());
    for (old, expected) in [(0o640, 0o600), (0o644, 0o640)] {
        let env = Environment::new();
        for number in 0..20 {
            fs::write(env.source.join(format!("{number:02}")), "one").expect("write a file");
        }
        let path = env.source.join("old");
        fs::write(&path, "closed to others").expect("write a file");
        set_mode(&path, old);
        chown(&path, None, Some(GROUP)).expect("give it to the group");
        chown(&env.source, None, Some(GROUP)).expect("give it to the group");
        set_mode(&env.source, 0o750);
        let manifest = |mode, group| {
            let all = kept(&env);
            let files = all.iter().filter(|(name, ..)| name.starts_with("manifest/"));
            for (name, is, gid) in files {
                assert_eq!(*is, mode, "{name} beside {old:o}: {is:o}");
                assert!(is & 0o060 == 0 || *gid == group, "{name} is of the group {gid}");
            }
        };
        env.mirrored(&[]);
        manifest(0o640, GROUP);
        chown(&env.source, None, Some(OTHER)).expect("give it to another group");
        fs::write(env.source.join("new"), "new").expect("write a file");
        env.mirrored(&[]).counts(&[("files_copied", 1)]);
        manifest(expected, OTHER);
        fs::write(env.source.join("newer"), "new").expect("write a file");
        env.mirrored(&[]).counts(&[("files_copied", 1)]);
        manifest(expected, OTHER);
    }
}
