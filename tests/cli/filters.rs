//! Filters: gitignore-like patterns, the last match wins, sizes.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, TestTree, tools};
use crate::needs;
use std::fs;

fn tree() -> TestTree {
    TestTree::new()
        .file("Cargo.toml", "1234567890")
        .file("src/main.rs", "main")
        .file("src/deep/lib.rs", "lib")
        .file("src/deep/notes.txt", "notes")
        .file("target/debug/out.o", "object")
        .file("src/target/inner.rs", "inner")
        .file("big.bin", vec![0; 5000])
        .symlink("link.rs", "src/main.rs")
        .dir("empty")
}

/// The files and links that a mirror with these flags holds.
fn kept(flags: &[&str]) -> Vec<String> {
    let env = Environment::new();
    tree().write(&env.source);
    env.mirrored(flags);
    let walk = walkdir::WalkDir::new(&env.target).sort_by_file_name();
    let files = walk.into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let name = |entry: walkdir::DirEntry| {
        entry.path().strip_prefix(&env.target).unwrap().to_str().unwrap().to_owned()
    };
    files.map(name).filter(|name| !name.starts_with(".vidimus/")).collect()
}

#[test]
fn what_no_pattern_matches_is_included() {
    assert_eq!(kept(&["--exclude", "nothing-like-it"]).len(), 8);
}

#[test]
fn a_pattern_without_a_slash_matches_at_every_depth() {
    let names = kept(&["--exclude", "*.rs"]);
    assert_eq!(names, ["Cargo.toml", "big.bin", "src/deep/notes.txt", "target/debug/out.o"]);
}

#[test]
fn a_leading_slash_anchors_and_a_trailing_one_means_directories() {
    let names = kept(&["--exclude", "/target/"]);
    assert!(!names.iter().any(|name| name.starts_with("target/")));
    assert!(names.contains(&"src/target/inner.rs".to_owned()));
    assert_eq!(kept(&["--exclude", "big.bin/"]).len(), 8, "a file is no directory");
}

#[test]
fn the_last_match_wins() {
    let with = |flags: &[&str]| kept(flags).contains(&"src/main.rs".to_owned());
    assert!(with(&["--exclude", "*.rs", "--include", "main.rs"]));
    assert!(!with(&["--include", "main.rs", "--exclude", "*.rs"]));
    assert!(!with(&["--exclude", "*.rs", "--include", "main.rs", "--exclude", "/src/main.rs"]));
}

#[test]
fn one_kind_of_file_is_picked_from_the_whole_tree() {
    let names = kept(&["--exclude", "*", "--include", "*/", "--include", "*.rs"]);
    assert_eq!(names, ["link.rs", "src/deep/lib.rs", "src/main.rs", "src/target/inner.rs"]);
}

#[test]
fn an_excluded_directory_is_not_walked() {
    // What is below it can't come back: gitignore's rule.
    let names = kept(&["--exclude", "/src/", "--include", "/src/main.rs"]);
    assert!(!names.iter().any(|name| name.starts_with("src/")), "{names:?}");
}

#[test]
fn an_excluded_directory_that_cannot_be_read_is_no_error() {
    let env = Environment::new();
    tree().dir("closed").mode(0o000).write(&env.source);
    let arguments = env.mirror_arguments(&["--exclude", "/closed/"]);
    match env.as_nobody(&arguments) {
        Ok(run) => drop(run.expect(0)),
        Err(missing) => crate::common::tools::skipped(module_path!(), line!(), &missing),
    }
}

#[test]
fn two_stars_span_directories() {
    let names = kept(&["--exclude", "src/**/*.txt"]);
    assert!(!names.contains(&"src/deep/notes.txt".to_owned()));
    assert_eq!(names.len(), 7);
}

#[test]
fn patterns_are_read_from_files_in_their_place() {
    let env = Environment::new();
    tree().write(&env.source);
    fs::write(env.root.join("patterns"), "# a comment\n\n*.rs\n/target/\n").unwrap();
    let patterns = env.root.join("patterns");
    let patterns = patterns.to_str().unwrap();
    env.mirrored(&["--exclude-from", patterns, "--include", "main.rs"]);
    assert!(env.target.join("src/main.rs").exists());
    assert!(!env.target.join("src/deep/lib.rs").exists());
    assert!(!env.target.join("target").exists());

    let env = Environment::new();
    tree().write(&env.source);
    fs::write(env.root.join("patterns"), "main.rs\n*/\n").unwrap();
    env.vidimus(&["mirror", "source", "target", "--exclude", "*", "--include-from", "patterns"])
        .expect(0);
    assert!(env.target.join("src/main.rs").exists());
    assert!(!env.target.join("Cargo.toml").exists());
}

#[test]
fn a_missing_pattern_file_is_wrong_usage_and_named() {
    let env = Environment::new();
    tree().write(&env.source);
    let run = env.vidimus(&["mirror", "source", "target", "--exclude-from", "no-such-file"]);
    run.expect_one_of(&[2, 7]).names("no-such-file");
    assert!(!env.target.exists());
}

#[test]
fn a_broken_pattern_is_wrong_usage_and_shown() {
    let env = Environment::new();
    tree().write(&env.source);
    env.vidimus(&["mirror", "source", "target", "--exclude", "a[z-"]).expect(2).names("a[z-");
}

#[test]
fn sizes_filter_files_and_nothing_else() {
    let small = kept(&["--max-size", "1KiB"]);
    assert!(!small.contains(&"big.bin".to_owned()));
    assert!(small.contains(&"link.rs".to_owned()) && small.contains(&"src/main.rs".to_owned()));
    let large = kept(&["--min-size", "10B"]);
    assert!(large.contains(&"Cargo.toml".to_owned()), "the bound itself is inside: {large:?}");
    assert!(large.contains(&"big.bin".to_owned()) && !large.contains(&"src/main.rs".to_owned()));
    let env = Environment::new();
    tree().write(&env.source);
    env.mirrored(&["--min-size", "1MiB"]);
    assert!(env.target.join("empty").is_dir(), "directories have no size");
}

#[test]
fn a_size_without_a_unit_is_wrong_usage() {
    let env = Environment::new();
    env.vidimus(&["mirror", "source", "target", "--max-size", "10"]).expect(2).names("unit");
}

#[test]
fn the_order_of_flags_on_the_line_is_the_order_of_patterns() {
    // clap collects each flag's values apart; the order between flags must not be lost.
    let names = kept(&["--include", "*.rs", "--exclude", "/src/main.rs", "--include", "*.toml"]);
    assert!(!names.contains(&"src/main.rs".to_owned()), "{names:?}");
}

#[test]
fn empty_directories_of_a_picked_kind_are_kept() {
    let env = Environment::new();
    tree().write(&env.source);
    env.mirrored(&["--exclude", "*", "--include", "*/"]);
    for directory in ["empty", "src/deep", "target/debug"] {
        assert!(env.target.join(directory).is_dir(), "{directory}");
    }
}

#[test]
fn what_excluded_directories_hold_in_the_target_stays_and_is_no_extra() {
    let env = Environment::new();
    tree().file("cache/keep", "x").file("cache/.skip", "").write(&env.source);
    TestTree::new().file("cache/old", "old").file("other", "x").write(&env.target);
    let flags = ["--exclude-if-present", ".skip", "--delete", "--max-delete", "100%"];
    env.mirrored(&flags).counts(&[("files_deleted", 1)]);
    let cache = env.target.join("cache");
    assert!(cache.join("old").exists() && cache.join(".skip").exists());
    assert!(!cache.join("keep").exists());
    env.verify(&[]).expect(0);
    env.verify(&["--against", text(&env.source)]).expect(0);
    let explain = |flags: &[&str]| {
        let (source, target) = (text(&env.source), text(&env.target));
        env.vidimus(&[&["explain"], flags, &[source, target, "cache/keep"]].concat())
    };
    explain(&flags).expect(0).names("left out");
    env.mirrored(&[&flags[..], &["--delete-excluded"]].concat()).counts(&[("files_deleted", 1)]);
    assert!(!cache.join("old").exists());
    env.mirrored(&[]);
    assert!(cache.join("keep").exists());
}

#[test]
fn a_mount_is_not_entered_on_request() {
    needs!(tools::mounts());
    let env = Environment::new();
    tree().dir("mount").write(&env.source);
    let mount = env.source.join("mount");
    let _mount = tools::Mount::tmpfs(&mount, "size=1m").expect("mounting was tried before");
    fs::write(mount.join("on it"), "x").unwrap();
    TestTree::new().file("mount/old", "old").write(&env.target);
    let flags = ["-x", "--delete", "--max-delete", "100%"];
    env.mirror(&flags).expect(0).names("another file system").finished();
    assert!(env.target.join("mount/old").exists() && !env.target.join("mount/on it").exists());
    env.verify(&[]).expect(0);
    env.mirrored(&["--delete", "--max-delete", "100%"]).counts(&[("files_deleted", 1)]);
    assert!(env.target.join("mount/on it").exists());
}

#[test]
fn files_are_left_out_by_age() {
    let env = Environment::new();
    tree().write(&env.source);
    set_mtime_of(&env.source.join("big.bin"), 1_000_000_000, 0);
    env.mirrored(&["--max-age", "52w", "--min-age", "0s"]).counts(&[("files_skipped", 1)]);
    assert!(!env.target.join("big.bin").exists());
    env.verify(&["--against", text(&env.source)]).expect(0);
    env.mirrored(&["--min-age", "52w"]).counts(&[("files_copied", 1)]);
    env.mirror(&["--min-age", "2d", "--max-age", "1d"]).expect(2).names("no file is both");
}

#[test]
fn only_what_exists_is_brought_up_to_date() {
    let env = Environment::new();
    tree().write(&env.source);
    env.age();
    TestTree::new().file("Cargo.toml", "old").write(&env.target);
    env.mirrored(&["--existing"]).counts(&[("files_copied", 1), ("directories_created", 0)]);
    assert_eq!(fs::read(env.target.join("Cargo.toml")).unwrap(), b"1234567890");
    assert!(!env.target.join("src").exists());
}

#[test]
fn links_that_lead_out_are_left_out_on_request() {
    let env = Environment::new();
    tree().symlink("src/up", "../link.rs").symlink("src/out", "../../x").write(&env.source);
    // A name before `..` may be that of a link that goes up itself.
    TestTree::new().symlink("src/over", "up/../../x").write(&env.source);
    env.mirrored(&["--safe-links"]).counts(&[("links_skipped", 2)]);
    assert!(fs::symlink_metadata(env.target.join("src/over")).is_err());
    assert!(fs::symlink_metadata(env.target.join("src/up")).is_ok());
    assert!(fs::symlink_metadata(env.target.join("src/out")).is_err());
}
