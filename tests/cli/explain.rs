//! `explain`: what a run would decide about one key, and what runs did to it.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Run, Snapshot, TestTree, assert_untouched};
use crate::manifest::{lose_state, many};
use crate::mirror::{mirrored, sample};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

fn explain(env: &Environment, flags: &[&str], key: &str) -> Run {
    let arguments = ["explain", text(&env.source), text(&env.target), key];
    env.vidimus(&[&arguments[..], flags].concat())
}

/// The records of the keys that one name has.
fn explained(env: &Environment, flags: &[&str], key: &str) -> Vec<Value> {
    let run = explain(env, &[flags, &["--json"]].concat(), key).expect(0);
    let is_key = |record: &Value| record["event"] == "explanation";
    run.records().into_iter().filter(is_key).collect()
}

/// A mirror, and one of every change since.
fn changed() -> Environment {
    let env = Environment::new();
    sample()
        .file("becomes/a/file", "x")
        .file("becomes a directory", "x")
        .file("cache/kept", "x")
        .file("large", "123456789")
        .file("drifts", "drifts")
        .file("touched/source", "1")
        .file("touched/target", "2")
        .file("goes", "goes")
        .file("newer", "old")
        .write(&env.source);
    env.age();
    env.mirrored(&[]);
    env.age();
    for gone in ["becomes", "data/deep"] {
        fs::remove_dir_all(env.source.join(gone)).unwrap();
    }
    for gone in ["goes", "links/loop", "becomes a directory"] {
        fs::remove_file(env.source.join(gone)).unwrap();
    }
    TestTree::new()
        .file("README.md", "another size")
        .file("becomes", "a file")
        .file("becomes a directory/f", "f")
        .file("new/file", "new")
        .symlink("new/link", "file")
        .symlink("links/dangling", "elsewhere")
        .write(&env.source);
    set_mtime_of(&env.source.join("bin/run"), 99, 99);
    fs::write(env.target.join("drifts"), "drifted").unwrap();
    fs::write(env.target.join("newer"), "own").unwrap();
    for touched in [env.source.join("touched/source"), env.target.join("touched/target")] {
        let metadata = fs::metadata(&touched).unwrap();
        fs::hard_link(&touched, env.outside.join("link")).unwrap();
        fs::remove_file(env.outside.join("link")).unwrap();
        assert_eq!(
            fs::metadata(&touched).unwrap().modified().unwrap(),
            metadata.modified().unwrap()
        );
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(env.source.join("bin/private"), mode).unwrap();
    env.age();
    env
}

/// What a dry run tells of keys: what is done, and why.
fn planned(env: &Environment, flags: &[&str]) -> BTreeMap<String, (String, String)> {
    let run = env.mirror(&[&["--dry-run"], flags].concat()).expect_one_of(&[0, 1]);
    let mut planned = BTreeMap::new();
    for record in run.records() {
        let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        match &*word("event") {
            "changed" => planned.insert(word("key"), (word("change"), word("reason"))),
            "failed" => planned.insert(word("key"), ("fail".to_owned(), word("cause"))),
            _ => None,
        };
    }
    planned
}

#[test]
fn what_is_explained_is_what_a_run_plans() {
    let env = changed();
    for flags in [
        &[][..],
        &["--delete", "--max-delete", "100%", "--delete-despite-errors"],
        &["--checksum", "--exclude", "cache/"],
        &["--update", "--max-size", "8B"],
        &["--ignore-existing"],
        &["--ignore-existing", "--delete", "--max-delete", "100%", "--delete-despite-errors"],
        &[
            "--delete",
            "--delete-despite-errors",
            "--delete-excluded",
            "--max-delete",
            "100%",
            "--exclude",
            "/cache/",
            "--exclude",
            "g*",
        ],
    ] {
        let planned = planned(&env, flags);
        assert!(planned.len() >= 5, "{flags:?}: {planned:?}");
        let [source, target] = [&env.source, &env.target].map(|side| Snapshot::read(side));
        let keys = source.entries.keys().chain(target.entries.keys());
        let mut told = BTreeMap::new();
        for key in keys {
            let key = String::from_utf8(key.clone()).unwrap();
            let key = if key.is_empty() { ".".to_owned() } else { key };
            if key.starts_with(".vidimus") {
                continue;
            }
            for record in explained(&env, flags, &key) {
                let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
                let reason = if record["cause"].is_null() { word("reason") } else { word("cause") };
                told.insert(word("key"), (word("decision"), reason));
            }
        }
        for (key, (change, reason)) in &planned {
            // That something in it changes is no reason of the directory's own.
            let (decided, why) = &told[key];
            assert_eq!((change, reason), (decided, why), "{flags:?}: {key}");
        }
        for (key, (decided, why)) in told {
            let stays = ["keep", "record", "forget"].contains(&&*decided);
            assert!(stays || planned.contains_key(&key), "{flags:?}: {key}: {decided}, {why}");
        }
    }
}

#[test]
fn nothing_is_written_or_locked() {
    let env = changed();
    let before = [&env.source, &env.target, &env.state].map(|side| Snapshot::read(side));
    for key in ["bin/run", "drifts", "becomes", "data/deep/", "nowhere"] {
        explain(&env, &["--delete"], key);
    }
    for (before, side) in before.iter().zip([&env.source, &env.target, &env.state]) {
        assert_untouched(before, side);
    }
    let env = Environment::new();
    sample().write(&env.source);
    let before = Snapshot::read(&env.root);
    explain(&env, &[], "README.md").expect(0).names("copy: new").names("record    none");
    assert_untouched(&before, &env.root);
    // A run that holds the target doesn't keep it waiting.
    env.mirrored(&[]);
    let lock = fs::File::open(env.target.join(".vidimus/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    explain(&env, &[], "README.md").expect(0).names("unchanged");
}

#[test]
fn the_fields_that_differ_are_named_with_what_follows() {
    let env = changed();
    let run = explain(&env, &[], "bin/run").expect(0).names("check: modification time differs");
    run.names("would read 10 B of the source").names("size, inode the same").names("1970-01-01");
    let run = explain(&env, &[], "drifts").expect(0).names("would copy 6 B");
    run.names("is not the one that was put there").names("size 6 -> 7");
    let run = explain(&env, &[], "touched/source").expect(0).names("ctime or inode are not");
    run.is_silent_about("a disk may be failing");
    let checksum = ["--checksum", "--accept-silent-changes"];
    explain(&env, &checksum[..1], "cache/kept").expect(0).names("a disk may be failing");
    explain(&env, &checksum, "cache/kept").expect(0).is_silent_about("a disk may be failing");
    explain(&env, &["--ignore-ctime"], "bin/private").expect(0).names("would set mode;");
    let run = explain(&env, &["--delete"], "goes").expect(0).names("delete: not in the source");
    run.names("--max-delete").names("source    nothing");
    explain(&env, &[], "goes").expect(0).names("without --delete");
    let run = explain(&env, &[], "becomes").expect(0).names("directory with entries");
    run.names("key       becomes/").names("--delete deletes");
    explain(&env, &["--size-only"], "touched/source").expect(0).names("--size-only");
}

#[test]
fn the_rule_that_decides_is_named_with_its_place() {
    let env = mirrored(&sample());
    let patterns = env.root.join("patterns");
    fs::write(&patterns, "# none of these\n\n*.tmp\nda*/\n").unwrap();
    let from = ["--exclude-from", text(&patterns)];
    let run = explain(&env, &from, "data/deep/er/leaf").expect(0).names("left out");
    run.names("line 4 'da*/'")
        .names("the directory data/")
        .names("what the target has of it stays");
    let flags = ["--exclude", "*.md", "--include", "README.md"];
    explain(&env, &flags, "README.md").expect(0).names("taken in by --include 'README.md'");
    explain(&env, &flags[..2], "README.md").expect(0).names("left out by --exclude '*.md'");
    explain(&env, &flags[..2], "bin/run").expect(0).names("no pattern matches");
    let run = explain(&env, &["--max-size", "5B"], "README.md").expect(0);
    run.names("excluded by size");
    let other = "the latest run had other filters";
    explain(&env, &["--exclude", "x"], "README.md").expect(0).names(other);
    explain(&env, &["--delete"], "README.md").expect(0).names("the latest run had no --delete");
    explain(&env, &[], "README.md").expect(0).is_silent_about("the latest run");
    let arguments = ["explain", "source", "target", "README.md"];
    let mut command = env.command(&arguments);
    command.env("VIDIMUS_EXCLUDE", "*.md");
    Run::of(command).expect(0).names("left out by VIDIMUS_EXCLUDE '*.md'");
}

#[test]
fn a_key_is_known_by_its_path_and_with_a_slash_or_without() {
    let env = mirrored(&sample());
    symlink(&env.source, env.root.join("link")).unwrap();
    for key in ["data/deep", "data/deep/", "./data/deep", text(&env.source.join("data/deep"))] {
        explain(&env, &[], key).expect(0).names("key       data/deep/\n");
    }
    explain(&env, &[], text(&env.target.join("README.md"))).expect(0).names("key       README.md");
    for root in [".", "", "./", text(&env.source)] {
        explain(&env, &[], root).expect(0).names("key       .\n");
    }
    for wrong in ["/elsewhere/README.md", "data/../README.md", "data//deep", "../source/README.md"]
    {
        explain(&env, &[], wrong).expect(2).names("help: ");
    }
    explain(&env, &[], ".vidimus/lock").expect(2).names("reserved for vidimus");
}

#[test]
fn a_relative_path_is_a_key_unless_only_what_it_leads_to_is_one() {
    let env = mirrored(&sample());
    symlink(&env.source, env.root.join("link")).unwrap();
    for path in [
        "source/data/deep",
        "./source/data/deep/",
        "target/data/deep",
        "link/data/deep",
        "target/../source/data/deep",
    ] {
        explain(&env, &[], path).expect(0).names("key       data/deep/\n");
    }
    explain(&env, &[], "source").expect(0).names("key       .\n");
    explain(&env, &[], "source/READNE.md").expect(7).names("\"source/READNE.md\"");
    explain(&env, &[], text(&env.source.join("READNE.md"))).expect(7).names("\"READNE.md\"");
    TestTree::new().file("source/data/deep", "a key").write(&env.source);
    explain(&env, &[], "source/data/deep").expect(0).names("key       source/data/deep\n");
}

#[test]
fn a_key_that_is_nowhere_is_told_as_such() {
    let env = mirrored(&sample());
    explain(&env, &[], "READNE.md").expect(7).names("\"READNE.md\"").names("help: ");
    // What lies behind a link is not below the root.
    explain(&env, &[], "links/directory/deep").expect(7);
    explain(&env, &[], "README.md/x").expect(7);
}

#[test]
fn a_key_is_found_as_a_run_prints_it() {
    let env = Environment::new();
    let tree = TestTree::new().file("new\nline", "1").file(b"not\xffutf8", "2").file("a\\b", "3");
    tree.write(&env.source);
    let (source, target) = (text(&env.source), text(&env.target));
    let mut dry = env.vidimus(&["mirror", "--dry-run", source, target]).expect(0);
    for printed in ["new\\nline", "not\\xffutf8", "a\\\\b"] {
        dry = dry.names(printed);
        explain(&env, &[], printed).expect(0).names(&format!("key       {printed}\n"));
    }
    // What a name is comes before what it may stand for.
    explain(&env, &[], "a\\b").expect(0).names("key       a\\\\b\n");
    explain(&env, &[], "no\\\\such").expect(7);
}

#[test]
fn a_single_file_is_explained_alone() {
    let env = Environment::new();
    sample().write(&env.source);
    let file = env.source.join("README.md");
    let run = |key| env.vidimus(&["explain", text(&file), text(&env.target), key]);
    run("README.md").expect(0).names("copy: new");
    env.vidimus(&["mirror", text(&file), text(&env.target)]).expect(0);
    run("README.md").expect(0).names("keep: ");
    run(text(&file)).expect(0);
    run("source/README.md").expect(0);
    run("empty").expect(2).names("README.md");
}

#[test]
fn the_past_is_told_as_far_as_it_reaches() {
    let env = mirrored(&many());
    fs::write(env.source.join("d1/f1"), "second").unwrap();
    env.mirrored(&[]);
    fs::remove_file(env.source.join("d1/f1")).unwrap();
    fs::write(env.source.join("d2/f2"), "second").unwrap();
    env.mirrored(&["--delete"]);
    let run = explain(&env, &[], "d1/f1").expect(0).names("publication 3").names("removed");
    run.names("publication 2").names("publication 1").names("reaches back to publication 1");
    let record = &explained(&env, &[], "d2/f2")[0];
    let sequences: Vec<_> =
        record["past"].as_array().unwrap().iter().map(|it| &it["sequence"]).collect();
    assert_eq!(sequences, [3, 1]);
    assert_eq!(record["past"][0]["blake3"], blake3::hash(b"second").to_hex().as_str());
    assert_eq!(record["row"]["run"], record["past"][0]["run"]);
    // All rows are written anew when much changes.
    for number in 0..100 {
        let path = env.source.join(format!("d{}/f{number}", number % 7));
        fs::write(path, format!("third {number}")).unwrap();
    }
    env.mirrored(&[]);
    explain(&env, &[], "d2/f2")
        .expect(0)
        .names("reaches back to publication 4")
        .names("no rows are left of 3 publications before it");
}

#[test]
fn without_a_state_the_manifest_speaks_and_without_both_the_sides_alone() {
    let env = mirrored(&sample());
    lose_state(&env);
    let run = explain(&env, &[], "README.md").expect(0).names("unchanged");
    run.names("in the manifest in the target");
    assert!(!env.state.exists());
    fs::remove_dir_all(env.target.join(".vidimus")).unwrap();
    let run = explain(&env, &[], "README.md").expect(0).names("record    none").names("adopt: ");
    run.is_silent_about("publication");
}

#[test]
fn what_cannot_be_listed_on_the_way_is_unknown_and_not_absent() {
    let env = mirrored(&sample());
    crate::needs!(crate::common::tools::root());
    std::os::unix::fs::chown(env.source.join("data"), Some(0), Some(0)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(env.source.join("data"), mode).unwrap();
    let arguments =
        ["explain", "--delete", text(&env.source), text(&env.target), "data/deep/er/leaf"];
    for path in [&env.source, &env.target] {
        let run = std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(path).status();
        assert!(run.unwrap().success());
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(env.source.join("data"), mode).unwrap();
    let run = env.as_nobody(&arguments).unwrap().expect(1);
    run.names("cannot list source \"data/\"")
        .names("could not be listed")
        .is_silent_about("delete: ");
}
