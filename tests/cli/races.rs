//! What is swapped or changed while a run goes on. A parent becomes a symlink: nothing outside a root
//! is written, changed, deleted or read. A name that is linked becomes another file's, a hole is
//! filled, an attribute changes: the copy is that of one state, or the next run makes it so.

use crate::common::background::wait_until;
use crate::common::environment::text;
use crate::common::{
    Environment, Snapshot, TestTree, assert_mirrored, assert_untouched, beside, tools,
};
use crate::needs;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, XattrFlags, lsetxattr, openat, renameat_with};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often a parent is swapped while runs go on, at least, and how many of these there are.
const SWAPS: u64 = 1000;
const ROUNDS: u32 = 8;

fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Swaps the directory `real` with a symlink to the outside again and again while `body` runs;
/// leaves the directory at its name.
fn while_swapping(env: &Environment, real: &Path, mut body: impl FnMut()) {
    let link = env.root.join("swapped");
    let swapped = AtomicU64::new(0);
    let swapping = |over: &AtomicBool| {
        let mut swaps = 0_u64;
        while !over.load(Ordering::Relaxed) {
            if !is_symlink(&link) {
                // A run put a directory of its own in the link's place: that is its right.
                let _there_was_one = fs::remove_dir_all(&link).is_ok();
                let _a_run_still_fills_it =
                    std::os::unix::fs::symlink(&env.outside, &link).is_err();
            }
            if is_symlink(&link)
                && renameat_with(CWD, real, CWD, &link, RenameFlags::EXCHANGE).is_ok()
            {
                swaps += 1;
                swapped.store(swaps, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(swaps % 11 * 60));
                // A run may be replacing the link: then there is nothing to exchange with.
                while renameat_with(CWD, real, CWD, &link, RenameFlags::EXCHANGE).is_err()
                    && renameat_with(CWD, &link, CWD, real, RenameFlags::NOREPLACE).is_err()
                {
                }
            }
            std::thread::sleep(Duration::from_micros(swaps % 7 * 100));
        }
    };
    beside(swapping, || {
        let mut rounds = 0;
        wait_until("a racer that races", || {
            body();
            rounds += 1;
            rounds >= ROUNDS && swapped.load(Ordering::Relaxed) >= SWAPS
        });
    });
}

fn files(content: &str) -> TestTree {
    (0..60).fold(TestTree::new().file("keep", "k"), |tree, n| {
        tree.file(format!("parent/f{n:02}"), format!("{content} {n}"))
            .file(format!("parent/deep/g{n:02}"), format!("{content} {n}"))
    })
}

/// What an attacker would want a run to change: same names, other contents, and extras.
fn bait(env: &Environment) -> Snapshot {
    let tree = (0..60).fold(TestTree::new(), |tree, n| {
        tree.file(format!("f{n:02}"), "PRECIOUS").file(format!("deep/g{n:02}"), "PRECIOUS")
    });
    let tree = tree.file("extra", "PRECIOUS").file("deep/extra", "PRECIOUS");
    tree.dir("deep").mode(0o700).write(&env.outside);
    Snapshot::read(&env.outside)
}

#[test]
fn a_target_parent_swapped_for_a_symlink_leads_no_write_outside() {
    let env = Environment::new();
    files("old").write(&env.source);
    env.mirrored(&[]);
    let before = bait(&env);
    let mut round = 0;
    while_swapping(&env, &env.target.join("parent"), || {
        round += 1;
        let tree = files(&format!("round {round}"));
        tree.dir("parent/deep").mode(0o710 + round % 8).write(&env.source);
        let durability = if round % 2 == 0 { "none" } else { "batch" };
        env.mirror(&["--durability", durability]).expect_one_of(&[0, 1]);
        assert_untouched(&before, &env.outside);
    });
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    assert_mirrored(&env.source, &env.target);
    assert_untouched(&before, &env.outside);
}

#[test]
fn a_target_parent_swapped_for_a_symlink_leads_no_deletion_outside() {
    let env = Environment::new();
    files("old").write(&env.source);
    env.mirrored(&[]);
    let before = bait(&env);
    // The real directory, wherever its name is at the moment.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let real = openat(CWD, env.target.join("parent"), flags, Mode::empty()).unwrap();
    while_swapping(&env, &env.target.join("parent"), || {
        for extra in ["extra", "deep/extra"] {
            let flags = OFlags::WRONLY | OFlags::CREATE;
            let _racing = openat(&real, extra, flags, Mode::from_raw_mode(0o644)).is_err();
        }
        let flags = ["--delete", "--max-delete", "100%", "--durability", "none"];
        env.mirror(&flags).expect_one_of(&[0, 1]);
        assert_untouched(&before, &env.outside);
    });
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    assert_mirrored(&env.source, &env.target);
    assert_untouched(&before, &env.outside);
}

#[test]
fn a_source_parent_swapped_for_a_symlink_leads_no_read_outside() {
    let env = Environment::new();
    files("ours").write(&env.source);
    let secret = (0..60).fold(TestTree::new().file("only-here", "SECRET"), |tree, n| {
        tree.file(format!("f{n:02}"), format!("SECRET {n}"))
            .file(format!("deep/g{n:02}"), format!("SECRET {n}"))
    });
    secret.write(&env.outside);
    while_swapping(&env, &env.source.join("parent"), || {
        env.mirror(&["--durability", "none"]).expect_one_of(&[0, 1]);
        for (key, seen) in Snapshot::read(&env.target).entries {
            let shown = format!("{:?}", seen.kind);
            assert!(!shown.contains("SECRET"), "{}: {shown}", key.escape_ascii());
        }
        let followed = env.target.join("parent/only-here").exists();
        assert!(!followed || is_symlink(&env.target.join("parent")));
        fs::remove_dir_all(&env.target).unwrap(); // the next round is a first copy
    });
}

/// A mirror of a file to which the source then gives two more names. One of them stands in the
/// target as a file of its own.
fn with_new_names() -> Environment {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "content").file("d/second", "another");
    tree.write(&env.source);
    env.age();
    env.mirrored(&[]);
    let tree = TestTree::new().link("d/second", "a").link("third", "a");
    tree.write(&env.source);
    env.age();
    env
}

/// Puts a file of this content in the place of a name.
fn put(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("write");
    fs::rename(&new, path).expect("rename");
}

/// Does something whenever a run opened `a`, to read it in the source or to link it in the target;
/// then the run ends well or names what changed, and the next one mirrors.
fn at_the_opening_of_a(meanwhile: impl Fn(&Environment) + Sync) {
    let env = with_new_names();
    TestTree::new().file("secret", "SECRET").write(&env.outside);
    let before = Snapshot::read(&env.outside);
    let arguments = env.mirror_arguments(&["--transfers", "1", "--checkers", "1"]);
    let run = env.strace_stopping("openat", &["-P", "a"], &arguments, |_| meanwhile(&env));
    let run = run.expect_one_of(&[0, 1]);
    for name in ["d/second", "third"] {
        let path = env.target.join(name);
        let found = if is_symlink(&path) { None } else { fs::read(path).ok() }.unwrap_or_default();
        let is_one = [&b"content"[..], b"another", b""].contains(&&found[..]);
        assert!(is_one, "{name}: {}\n{}", found.escape_ascii(), run.told());
    }
    assert_untouched(&before, &env.outside);
    env.age();
    env.mirrored(&["--delete", "--max-delete", "100%"]);
    assert_mirrored(&env.source, &env.target);
    assert_untouched(&before, &env.outside);
    env.verify(&["--strict"]).expect(0);
}

#[test]
fn what_takes_the_name_of_a_file_that_is_linked_is_not_linked() {
    needs!(tools::strace());
    at_the_opening_of_a(|env| put(&env.target.join("a"), "STRANGER"));
}

#[test]
fn a_symlink_in_the_place_of_a_name_to_be_is_not_followed() {
    needs!(tools::strace());
    at_the_opening_of_a(|env| {
        for name in ["d/second", "third"] {
            let path = env.target.join(name);
            let _there_was_one = fs::remove_file(&path).is_ok();
            std::os::unix::fs::symlink(env.outside.join("secret"), path).expect("link");
        }
    });
}

#[test]
fn a_name_of_the_source_that_becomes_another_file_is_mirrored_as_that() {
    needs!(tools::strace());
    at_the_opening_of_a(|env| put(&env.source.join("third"), "another"));
}

#[test]
fn a_hole_that_is_filled_while_a_file_is_read_is_copied_as_data() {
    needs!(tools::strace());
    for size in [3 << 20, 20 << 20] {
        let env = Environment::new();
        TestTree::new().sparse("sparse", size, &[(0, b"a"), (size - 1, b"z")]).write(&env.source);
        env.age();
        let path = env.source.join("sparse");
        let arguments = env.mirror_arguments(&[]);
        let calls = "lseek:when=1";
        let run = env.strace_stopping(calls, &["-P", text(&path)], &arguments, |stop| {
            // Each thread that reads it stops once.
            if stop > 1 {
                return;
            }
            let file = fs::File::options().write(true).open(&path).expect("open");
            file.write_all_at(b"filled", size as u64 / 2).expect("write");
        });
        run.expect(0);
        assert_mirrored(&env.source, &env.target);
        env.age();
        env.mirrored(&[]).counts(&[("files_copied", 0)]);
        env.verify(&["--strict"]).expect(0);
    }
}

#[test]
fn an_attribute_that_changes_while_it_is_read_is_that_of_the_source_in_the_end() {
    needs!(tools::strace());
    let env = Environment::new();
    let tree = TestTree::new().file("f", "content").attribute("user.a", "1").dir("d");
    tree.attribute("user.a", "1").file("d/x", "x").write(&env.source);
    env.age();
    let arguments = env.mirror_arguments(&["--transfers", "1", "--checkers", "1"]);
    env.strace_stopping("fgetxattr,getxattr", &[], &arguments, |stop| {
        for name in ["f", "d"] {
            let value = stop.to_string();
            let path = env.source.join(name);
            lsetxattr(&path, "user.a", value.as_bytes(), XattrFlags::empty()).expect("set");
        }
    })
    .expect_one_of(&[0, 1]);
    env.age();
    env.mirrored(&[]);
    assert_mirrored(&env.source, &env.target);
}
