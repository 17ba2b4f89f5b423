//! Flags of files and times of the last access, which are kept on request.

use crate::common::environment::text;
use crate::common::{Environment, TestTree, tools};
use crate::needs;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A directory whose files can have flags, which it loses in the end so that it can be removed.
struct Flagged(Environment);

impl Flagged {
    fn new() -> Self {
        Self(Environment::on_disk())
    }

    /// Needs root, chattr, and a file system that has flags.
    fn needs() -> Result<(), String> {
        tools::root()?;
        for tool in ["chattr", "lsattr"] {
            tools::tool(tool)?;
        }
        let probe = tempfile::NamedTempFile::new().expect("make a file");
        let set = Command::new("chattr").arg("+d").arg(probe.path()).output().expect("run chattr");
        if set.status.success() { Ok(()) } else { Err("no flags of files here".to_owned()) }
    }

    fn source(&self, flags: &str, name: &str) {
        set(flags, &self.0.source.join(name));
    }

    fn target(&self, flags: &str, name: &str) {
        set(flags, &self.0.target.join(name));
    }

    #[track_caller]
    fn are_kept(&self, names: &[&str]) {
        for name in names {
            let [source, target] = [&self.0.source, &self.0.target].map(|root| root.join(name));
            assert_eq!(flags(&source), flags(&target), "{name}");
            assert_eq!(fs::read(&source).ok(), fs::read(&target).ok(), "{name}");
        }
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        let cleared = Command::new("chattr").arg("-R").arg("-ia").arg(&self.0.root).output();
        cleared.expect("run chattr");
    }
}

#[track_caller]
fn set(flags: &str, path: &Path) {
    let set = Command::new("chattr").arg(flags).arg(path).output().expect("run chattr");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
}

/// Returns those flags of a file that copies have.
fn flags(path: &Path) -> String {
    let listed = Command::new("lsattr").arg("-d").arg(path).output().expect("run lsattr");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let flags = listed.split(' ').next().unwrap_or_default();
    flags.chars().filter(|flag| "iad".contains(*flag)).collect()
}

fn tree(env: &Environment) {
    let tree = TestTree::new().file("i", "1").file("a", "2").file("d", "3").file("plain", "4");
    tree.file("sub/x", "5")
        .file("sub/y", "6")
        .file("frozen/z", "7")
        .link("h", "i")
        .write(&env.source);
}

const NAMES: [&str; 10] = ["", "i", "h", "a", "d", "plain", "sub", "sub/x", "frozen", "frozen/z"];
const UNCHANGED: [(&str, u64); 4] =
    [("files_copied", 0), ("metadata_updated", 0), ("bytes_hashed", 0), ("files_failed", 0)];

#[test]
fn flags_are_set_last_and_are_in_no_runs_way() {
    needs!(Flagged::needs());
    let flagged = Flagged::new();
    let env = &flagged.0;
    tree(env);
    for (flags, name) in [("+i", "i"), ("+a", "a"), ("+d", "d"), ("+i", "sub/x"), ("+i", "frozen")]
    {
        flagged.source(flags, name);
    }
    env.age();
    env.mirrored(&["--flags"]).counts(&[("files_failed", 0)]);
    flagged.are_kept(&NAMES);
    env.age();
    env.mirrored(&["--flags"]).counts(&UNCHANGED);
    env.mirror(&["--flags", "-n"]).expect(0).is_silent_about("\"changed\"");
    // Content, metadata, names and flags change, and something goes.
    for name in ["i", "a", "frozen", "sub/x"] {
        flagged.source("-ia", name);
    }
    fs::write(env.source.join("i"), "longer").expect("write a file");
    fs::write(env.source.join("frozen/new"), "8").expect("write a file");
    fs::remove_file(env.source.join("frozen/z")).expect("remove a file");
    fs::remove_file(env.source.join("sub/x")).expect("remove a file");
    fs::create_dir(env.source.join("sub/x")).expect("make a directory");
    for (flags, name) in [("+i", "i"), ("+i", "frozen"), ("+a", "plain"), ("-d", "d")] {
        flagged.source(flags, name);
    }
    env.age();
    env.mirrored(&["--flags", "--delete"]).counts(&[("files_failed", 0)]);
    flagged.are_kept(&["", "i", "h", "a", "d", "plain", "sub", "sub/x", "frozen", "frozen/new"]);
    assert!(!env.target.join("frozen/z").exists());
    env.age();
    env.mirrored(&["--flags", "--delete"]).counts(&UNCHANGED);
    env.verify(&[]).expect(0);
}

#[test]
fn flags_that_the_target_lost_or_a_killed_run_did_not_set_are_set_by_the_next() {
    needs!(Flagged::needs());
    let flagged = Flagged::new();
    let env = &flagged.0;
    tree(env);
    env.mirrored(&[]);
    flagged.source("+i", "i");
    flagged.source("+a", "sub");
    env.age();
    let noted = env.mirror(&[]).expect(0).names("flags_not_kept");
    noted.names("nodump): 3, ");
    assert_eq!(flags(&env.target.join("i")), "");
    env.mirrored(&["--flags"]).counts(&[("files_copied", 0), ("files_failed", 0)]);
    flagged.are_kept(&NAMES);
    flagged.target("-i", "i");
    flagged.target("-a", "sub");
    env.mirrored(&["--flags"]).counts(&[("files_copied", 0), ("files_failed", 0)]);
    flagged.are_kept(&NAMES);
    env.age();
    env.mirrored(&["--flags"]).counts(&UNCHANGED);
}

#[test]
fn a_run_after_one_that_was_killed_at_any_change_of_flags_sets_the_rest() {
    needs!(Flagged::needs(), tools::strace());
    let mut killed = 0;
    for at in 1..=40 {
        let flagged = Flagged::new();
        let env = &flagged.0;
        tree(env);
        for (flags, name) in [("+i", "i"), ("+a", "a"), ("+i", "sub"), ("+i", "frozen")] {
            flagged.source(flags, name);
        }
        env.mirrored(&["--flags"]);
        for name in ["i", "frozen"] {
            flagged.source("-i", name);
        }
        fs::write(env.source.join("i"), "longer").expect("write a file");
        fs::remove_file(env.source.join("frozen/z")).expect("remove a file");
        flagged.source("+i", "i");
        flagged.source("+i", "frozen");
        let inject = format!("inject=ioctl:signal=KILL:when={at}");
        let flags = ["--flags", "--delete", "--transfers", "1", "--checkers", "1"];
        let options = ["-e", "trace=ioctl", "-e", &*inject];
        let run = env.strace(&options, &env.mirror_arguments(&flags));
        assert!([0, 137].contains(&run.code()), "ioctl {at}\n{}", run.told());
        env.mirrored(&["--flags", "--delete"]).counts(&[("files_failed", 0)]);
        flagged.are_kept(&["", "i", "h", "a", "sub", "sub/x", "frozen"]);
        assert!(!env.target.join("frozen/z").exists());
        if run.code() == 0 {
            break;
        }
        killed += 1;
    }
    assert!(killed > 3, "{killed} runs were killed");
}

#[test]
fn a_protected_file_that_moved_is_renamed_and_protected_again() {
    needs!(Flagged::needs());
    let flagged = Flagged::new();
    let env = &flagged.0;
    tree(env);
    flagged.source("+i", "plain");
    env.age();
    env.mirrored(&["--flags"]);
    flagged.source("-i", "plain");
    fs::rename(env.source.join("plain"), env.source.join("sub/moved")).expect("rename a file");
    flagged.source("+i", "sub/moved");
    env.age();
    let run = env.mirrored(&["--flags", "--delete"]);
    run.counts(&[("files_renamed", 1), ("files_copied", 0), ("files_failed", 0)]);
    flagged.are_kept(&["", "sub", "sub/moved"]);
    assert!(!env.target.join("plain").exists());
    env.age();
    env.mirrored(&["--flags", "--delete"]).counts(&UNCHANGED);
}

#[test]
fn what_is_protected_is_kept_in_the_backup_directory() {
    needs!(Flagged::needs());
    let flagged = Flagged::new();
    let env = &flagged.0;
    tree(env);
    flagged.source("+i", "plain");
    flagged.source("+i", "sub");
    env.mirrored(&["--flags"]);
    for name in ["plain", "sub"] {
        flagged.source("-i", name);
    }
    fs::write(env.source.join("plain"), "changed").expect("write a file");
    fs::remove_file(env.source.join("sub/y")).expect("remove a file");
    for name in ["plain", "sub"] {
        flagged.source("+i", name);
    }
    let backup = env.root.join("backup");
    fs::create_dir(&backup).expect("make a directory");
    let run = env.mirror(&["--flags", "--delete", "--backup-dir", text(&backup)]).expect(0);
    let id = run.finished().record["run"].as_str().expect("an id").to_owned();
    flagged.are_kept(&["plain", "sub"]);
    for (name, content) in [("plain", "4"), ("sub/y", "6")] {
        let kept = fs::read(backup.join(&id).join(name)).expect("it is kept");
        assert_eq!(kept, content.as_bytes(), "{name}");
    }
}

fn set_atime(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let times = fs::FileTimes::new().set_accessed(time);
    fs::File::open(path).expect("open a file").set_times(times).expect("set a time");
}

#[test]
fn times_of_access_are_kept_on_request_and_reading_does_not_change_them() {
    let env = Environment::new();
    needs!(tools::root());
    TestTree::new().file("a", "1").file("large", vec![1; 9 << 20]).write(&env.source);
    let atime = |root: &Path, name: &str| fs::metadata(root.join(name)).expect("it stands").atime();
    let set_both = |seconds| {
        set_atime(&env.source.join("a"), seconds);
        set_atime(&env.source.join("large"), seconds + 1);
    };
    set_both(1_000_000_000);
    env.age();
    env.mirrored(&["--atimes"]);
    for (name, seconds) in [("a", 1_000_000_000), ("large", 1_000_000_001)] {
        assert_eq!(atime(&env.source, name), seconds, "{name}");
        assert_eq!(atime(&env.target, name), seconds, "{name}");
    }
    env.age();
    env.mirrored(&["--atimes"]).counts(&UNCHANGED);
    set_both(1_100_000_000);
    env.age();
    // Not asked for, they don't count.
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    assert_eq!(atime(&env.target, "a"), 1_000_000_000);
    env.mirrored(&["--atimes"]).counts(&[("files_copied", 0), ("metadata_updated", 2)]);
    assert_eq!(atime(&env.target, "a"), 1_100_000_000);
    env.mirrored(&["--atimes"]).counts(&UNCHANGED);
    env.verify(&[]).expect(0);
}
