//! `--backup-dir`: what is overwritten or deleted is kept, with its key, below the run's id.

use crate::common::environment::text;
use crate::common::{
    Disk, Environment, Snapshot, TestTree, assert_mirrored, assert_untouched, tools,
};
use crate::needs;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tools::Mount;

const DELETE: [&str; 3] = ["--delete", "--max-delete", "100%"];

/// The flags of a run that keeps what it replaces beside the target.
fn kept<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let backup = ["--backup-dir", "../kept"];
    [&DELETE[..], &backup, more].concat()
}

/// The directories of the runs that kept something.
fn runs(backup: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(backup) else { return Vec::new() };
    let mut runs: Vec<_> = found.map(|run| run.unwrap().path()).collect();
    runs.sort();
    runs
}

/// The only run's directory.
#[track_caller]
fn only_run(backup: &Path) -> PathBuf {
    let runs = runs(backup);
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

/// The contents that the run after that replaces or removes.
const OLD: [&str; 4] = ["old content", "gone", "was a file", "was in a directory"];

/// A mirror of a tree of which the source then gets everything new.
fn changed() -> Environment {
    changed_in(Environment::new())
}

fn changed_in(env: Environment) -> Environment {
    TestTree::new()
        .file("d/e/file", "old content")
        .mode(0o640)
        .symlink("d/link", "old text")
        .file("gone/deep/file", "gone")
        .dir("gone/empty")
        .mode(0o711)
        .mtime(1_000_000, 7)
        .file("becomes a directory", "was a file")
        .file("becomes a file/x/y", "was in a directory")
        .file("same", "same")
        .write(&env.source);
    fs::set_permissions(env.source.join("d/e"), fs::Permissions::from_mode(0o750)).unwrap();
    env.age();
    env.mirrored(&[]);
    for name in ["d/link", "becomes a directory"] {
        fs::remove_file(env.source.join(name)).unwrap();
    }
    for name in ["gone", "becomes a file"] {
        fs::remove_dir_all(env.source.join(name)).unwrap();
    }
    TestTree::new()
        .file("d/e/file", "new content, longer")
        .symlink("d/link", "new text")
        .file("becomes a directory/z", "in a directory")
        .file("becomes a file", "a file")
        .file("new/file", "new")
        .write(&env.source);
    env.age();
    env
}

#[test]
fn what_is_overwritten_or_deleted_is_kept_with_its_key_and_metadata() {
    let env = changed();
    let old = Snapshot::read(&env.target);
    env.mirror(&kept(&[])).expect(0).names("are kept in");
    assert_mirrored(&env.source, &env.target);
    let at = only_run(&env.root.join("kept"));
    let found = Snapshot::read(&at);
    for key in [
        "d/e/file",
        "d/link",
        "gone/deep/file",
        "gone/empty",
        "becomes a directory",
        "becomes a file/x/y",
    ] {
        let (old, found) = (old.get(key.as_bytes()), found.get(key.as_bytes()));
        assert_eq!(old.map(|seen| &seen.kind), found.map(|seen| &seen.kind), "{key}");
        assert!(old.is_some(), "{key}");
    }
    let keys: Vec<_> = found.entries.keys().map(|key| key.escape_ascii().to_string()).collect();
    assert!(!keys.iter().any(|key| key.contains(".vidimus") || key == "same"), "{keys:?}");
    let mode = |key: &str| fs::metadata(at.join(key)).unwrap().mode() & 0o7777;
    assert_eq!((mode("d/e/file"), mode("d/e"), mode("gone/empty")), (0o640, 0o750, 0o711));
    assert_eq!(fs::metadata(at.join("gone/empty")).unwrap().mtime(), 1_000_000);
    // A second run with nothing to keep makes nothing.
    env.mirrored(&kept(&["--durability", "file"]));
    only_run(&env.root.join("kept"));
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn a_dry_run_says_where_it_would_be_kept_and_makes_nothing() {
    let env = changed();
    env.mirror(&kept(&["--dry-run"])).expect(0).names("kept").names("named by its id");
    assert!(!env.root.join("kept").exists());
}

#[test]
fn a_backup_directory_in_the_target_takes_no_part_in_the_mirror() {
    let env = changed();
    let flags = ["--backup-dir", "back [up]*"];
    let name = env.target.join("back [up]*");
    env.mirrored(&[&DELETE[..], &flags].concat());
    let first = only_run(&name);
    assert_eq!(fs::read_to_string(first.join("d/e/file")).unwrap(), "old content");
    env.verify(&["--strict"]).expect(0);
    fs::write(env.source.join("same"), "other").unwrap();
    for more in [&[][..], &["--delete-excluded"]] {
        env.mirrored(&[&DELETE[..], &flags, more].concat());
        assert!(first.join("d/e/file").exists());
    }
    assert_eq!(runs(&name).len(), 2);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn a_place_that_cannot_keep_anything_is_refused_before_the_run() {
    let env = changed();
    let before = Snapshot::read(&env.target);
    let try_with = |backup: &str| env.mirror(&["--backup-dir", backup]);
    try_with(".").expect(2).names("is the target itself");
    try_with("../source/kept").expect(6).names("lies in the source");
    try_with("../nowhere/kept").expect(7).names("parent");
    try_with(".vidimus/kept").expect(2).names("a name that it can't have");
    fs::write(env.root.join("file"), "").unwrap();
    try_with("../file").expect(2).names("is not a directory");
    if tools::mounts().is_ok() {
        let other = env.root.join("other");
        fs::create_dir(&other).unwrap();
        let _mount = Mount::tmpfs(&other, "size=1m").expect("mounting was tried before");
        try_with("../other").expect(2).names("another file system");
        try_with("../other/kept").expect(2).names("another file system");
    }
    crate::common::assert_untouched(&before, &env.target);
}

#[test]
fn what_lies_on_another_file_system_below_the_target_is_copied_there() {
    needs!(tools::mounts());
    let env = Environment::new();
    let tree = |content: &str| TestTree::new().file("m/f", content).symlink("m/l", content);
    tree("old").file("m/gone", "gone").write(&env.source);
    fs::create_dir_all(env.target.join("m")).unwrap();
    let _mount = Mount::tmpfs(&env.target.join("m"), "size=1m").expect("it was tried before");
    env.age();
    env.mirrored(&[]);
    fs::remove_file(env.source.join("m/gone")).unwrap();
    fs::remove_file(env.source.join("m/l")).unwrap();
    tree("newer").write(&env.source);
    env.mirrored(&kept(&[]));
    assert_mirrored(&env.source, &env.target);
    let at = only_run(&env.root.join("kept"));
    let read = |key: &str| fs::read_to_string(at.join(key)).unwrap();
    assert_eq!((read("m/f"), read("m/gone")), ("old".into(), "gone".into()));
    assert_eq!(fs::read_link(at.join("m/l")).unwrap(), Path::new("old"));
    let names: Vec<_> = fs::read_dir(at.join("m")).unwrap().collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn what_cannot_be_kept_is_not_overwritten_or_deleted() {
    let env = changed();
    // A file stands where the run's directory belongs.
    fs::write(env.root.join("kept"), "").unwrap();
    env.mirror(&["--delete", "--backup-dir", "../kept"]).expect(2);
    fs::remove_file(env.root.join("kept")).unwrap();
    needs!(tools::root(), tools::tool("chattr").map(drop));
    fs::create_dir(env.root.join("kept")).unwrap();
    let chattr = |flag: &str| {
        let mut command = std::process::Command::new("chattr");
        command.arg(flag).arg(env.root.join("kept")).status().is_ok_and(|done| done.success())
    };
    needs!(if chattr("+i") { Ok(()) } else { Err("chattr +i does not work here".to_owned()) });
    let run = env.mirror(&kept(&[]));
    assert!(chattr("-i"));
    run.expect(1).names("d/e/file");
    let found = contents(&[&env.target]);
    for old in OLD {
        assert!(found.iter().any(|it| it == old), "{old}: {found:?}");
    }
    env.mirrored(&kept(&[]));
    assert_mirrored(&env.source, &env.target);
}

/// The contents of all files in these directories.
fn contents(directories: &[&Path]) -> Vec<String> {
    let files = directories.iter().flat_map(walkdir::WalkDir::new).filter_map(Result::ok);
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
}

/// Every old content is in the target or kept, wherever the run is killed.
#[test]
fn a_killed_run_loses_nothing_that_it_was_to_keep() {
    needs!(tools::strace());
    let disk = Disk::new();
    for set in ["/^(rename|link)", "/^(unlink|rmdir)", "/^mkdir"] {
        let mut killed = 0;
        for at in 1.. {
            let env = changed_in(disk.environment());
            let flags = kept(&["--transfers", "1", "--checkers", "1"]);
            let (trace, inject) =
                (format!("trace={set}"), format!("inject={set}:signal=KILL:when={at}"));
            let run =
                env.strace(&["-e", &trace, "-e", &inject], &env.mirror_arguments(&flags)).code();
            assert!([0, 137].contains(&run), "{set} {at}: {run}");
            for rerun in [false, true] {
                if rerun {
                    env.mirrored(&flags);
                    assert_mirrored(&env.source, &env.target);
                }
                let found = contents(&[&env.target, &env.root.join("kept")]);
                for old in OLD {
                    assert!(found.iter().any(|it| it == old), "{set} {at} {rerun}: {old}");
                }
            }
            let temporaries = Snapshot::read(&env.target).temporaries();
            assert!(temporaries.is_empty(), "{set} {at}: {temporaries:?}");
            if run == 0 {
                break;
            }
            killed += 1;
        }
        assert!(killed > 2, "{set}: {killed}");
    }
}

/// Whoever may write to the target must not choose where its content is kept.
#[test]
fn a_link_in_the_target_leads_no_backup_out_of_it() {
    let env = changed();
    fs::create_dir(env.root.join("out")).unwrap();
    std::os::unix::fs::symlink("../out", env.target.join("bk")).unwrap();
    let before = Snapshot::read(&env.target);
    let absolute = env.target.join("bk/in");
    for name in ["bk", "bk/in", text(&absolute)] {
        env.mirror(&["--backup-dir", name]).expect(2).names("symbolic link").names("bk");
    }
    assert_untouched(&before, &env.target);
    assert_eq!(fs::read_dir(env.root.join("out")).unwrap().count(), 0);
}

#[test]
fn a_name_that_the_source_has_is_no_backup_directory() {
    let env = Environment::new();
    TestTree::new().file("bk/mine", "mine").write(&env.source);
    env.age();
    env.mirror(&["--backup-dir", "bk"]).expect(6).names("the source has a ");
    env.mirrored(&["--backup-dir", "bk2"]);
    assert_eq!(fs::read(env.target.join("bk/mine")).unwrap(), b"mine");
}

#[test]
fn making_a_backup_directory_in_the_target_changes_no_time() {
    let env = Environment::new();
    TestTree::new().file("d/f", "1").write(&env.source);
    env.age();
    env.mirrored(&[]);
    env.age();
    env.mirrored(&[]);
    TestTree::new().file("d/f", "22").write(&env.source);
    env.age();
    env.mirrored(&["--backup-dir", "bk"]);
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(&env.source), time(&env.target));
    env.mirror(&["--backup-dir", "bk", "--exit-changes"]).expect(0);
}
