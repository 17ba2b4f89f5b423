//! `diff`: two places as they are listed, or by their manifests alone.

use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::common::{Environment, Run, Snapshot, TestTree, assert_untouched, tools};
use crate::mirror::{mirrored, sample};
use crate::needs;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

/// Mirrors the source to `other` as well.
fn mirror_to(env: &Environment, other: &str) {
    env.vidimus(&["mirror", "--delete", text(&env.source), other]).expect(0);
}

fn diff(env: &Environment, arguments: &[&str]) -> Run {
    env.vidimus(&[&["diff"], arguments].concat())
}

/// Which differences the records tell of which keys.
fn differences(run: &Run) -> Vec<(String, String)> {
    let told = run.records().into_iter().filter(|record| record["event"] == "difference");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    told.map(|record| (text(&record["difference"]), text(&record["key"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(one, other)| (one.to_owned(), other.to_owned())).collect()
}

#[test]
fn two_mirrors_of_one_source_are_equal_by_digest() {
    let env = mirrored(&sample());
    mirror_to(&env, "other");
    let before = [&env.target, &env.root.join("other")].map(|root| Snapshot::read(root));
    let run = diff(&env, &["target", "other"]).expect(0).names("equal: nothing differs\n");
    let begin = "A is target, as it is listed now, with the digests of run ";
    assert!(run.stdout.starts_with(begin), "{}", run.stdout);
    let run = diff(&env, &["--recorded", "target", "other"]).expect(0);
    run.names("A is what the manifest of run ").names("neither place was looked at\n");
    let run = diff(&env, &["--json", "target", "other"]).expect(0);
    let finished = run.finished();
    finished.counts(&[("differences", 0), ("files_by_digest", 7), ("files_by_size", 0)]);
    finished.counts(&[("entries", sample().files() + 6 + 1)]);
    assert_eq!(finished.record["verdict"], "equal");
    assert!(finished.record["a_run"].is_string());
    assert_eq!(finished.record["a_basis"], "listing");
    let record =
        diff(&env, &["--recorded", "--json", "target", "other"]).expect(0).finished().record;
    assert_eq!(
        (&record["b_basis"], &record["b_run_verdict"]),
        (&"manifest".into(), &"complete".into())
    );
    for (before, root) in before.iter().zip(["target", "other"]) {
        assert_untouched(before, &env.root.join(root));
    }
}

#[test]
fn every_kind_of_difference_is_a_line_in_the_order_of_keys() {
    let env = mirrored(&sample());
    fs::write(env.source.join("README.md"), "Hello, World\n").unwrap();
    set_mtime_of(&env.source.join("README.md"), 1_600_000_000, 0);
    fs::remove_file(env.source.join("bin/private")).unwrap();
    fs::set_permissions(env.source.join("bin/run"), Permissions::from_mode(0o700)).unwrap();
    fs::write(env.source.join("bin/zz\nz"), "").unwrap();
    fs::remove_file(env.source.join("links/loop")).unwrap();
    TestTree::new().symlink("links/loop", "other").mtime(1, 1).write(&env.source);
    fs::remove_file(env.source.join("links/dangling")).unwrap();
    fs::write(env.source.join("links/dangling"), "nowhere").unwrap();
    mirror_to(&env, "other");
    let run = diff(&env, &["--no-metadata", "target", "other"]).expect(3);
    let digest = |content: &str| blake3::hash(content.as_bytes()).to_hex()[..16].to_owned();
    let (one, other) = (digest("hello, world\n"), digest("Hello, World\n"));
    let lines: Vec<_> = run.stdout.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            &*format!("content    README.md  ({one}… -> {other}…)"),
            "only in A  bin/private",
            "only in B  bin/zz\\nz",
            "type       links/dangling  (symbolic link -> file)",
            "link       links/loop  (\"loop\" -> \"other\")",
        ]
    );
    run.names("error rate 0% (0 of 19 entries), 5 differences")
        .names("different: ")
        .is_silent_about("bin/run");
    let run = diff(&env, &["target", "other"]).expect(3);
    run.names("metadata   bin/run  (mode 0755 -> 0700)\n");
    // The other way round.
    let run = diff(&env, &["--json", "--no-metadata", "other", "target"]).expect(3);
    let expected = [
        ("content", "README.md"),
        ("only_in_b", "bin/private"),
        ("only_in_a", "bin/zz\nz"),
        ("type", "links/dangling"),
        ("link", "links/loop"),
    ];
    assert_eq!(differences(&run), pairs(&expected));
    let records = run.records();
    assert_eq!(records[0]["a"]["blake3"], blake3::hash(b"Hello, World\n").to_hex().as_str());
    assert_eq!((&records[0]["b"]["size"], &records[0]["b"]["mode"]), (&13.into(), &"0644".into()));
    assert_eq!((&records[1]["a"], &records[1]["b"]["kind"]), (&Value::Null, &"file".into()));
    assert_eq!(records[4]["a"]["link"], "other");
    run.finished().counts(&[("only_in_a", 1), ("only_in_b", 1), ("differences", 5)]);
}

#[test]
fn what_happened_since_the_last_run_is_found_unless_manifests_alone_are_asked_for() {
    let env = mirrored(&sample());
    mirror_to(&env, "other");
    fs::write(env.target.join("README.md"), "hello, WORLD\n").unwrap();
    fs::remove_file(env.target.join("bin/private")).unwrap();
    fs::set_permissions(env.target.join("bin/run"), Permissions::from_mode(0o700)).unwrap();
    fs::write(env.target.join("data/extra"), "").unwrap();
    let run = diff(&env, &["--json", "target", "other"]).expect(3);
    let found = differences(&run);
    let expected = [
        ("content", "README.md"),
        ("metadata", "bin/"),
        ("only_in_b", "bin/private"),
        ("metadata", "bin/run"),
        ("metadata", "data/"),
        ("only_in_a", "data/extra"),
    ];
    assert_eq!(found, pairs(&expected));
    diff(&env, &["--recorded", "target", "other"]).expect(0).names("neither place was looked at");
}

#[test]
fn a_touched_file_loses_its_digest_and_is_read_for_content() {
    let env = mirrored(&sample());
    mirror_to(&env, "other");
    let file = env.target.join("README.md");
    let time = Snapshot::read(&env.target).get("README.md").unwrap().mtime;
    fs::write(&file, "hello, WORLD\n").unwrap();
    set_mtime_of(&file, time.0, time.1);
    let run = diff(&env, &["--json", "target", "other"]).expect(0);
    run.finished().counts(&[("files_by_digest", 6), ("files_by_size", 1), ("files_unproven", 0)]);
    run.finished().counts(&[("files_touched", 1)]);
    diff(&env, &["target", "other"])
        .expect(0)
        .names("1 file was touched since it was recorded: --content reads it")
        .names("equal: nothing differs, but what was touched since it was recorded was not read\n");
    let run = diff(&env, &["--json", "--content", "target", "other"]).expect(3);
    assert_eq!(differences(&run), pairs(&[("content", "README.md")]));
    let counts = [("files_by_digest", 7), ("files_read", 1), ("bytes_hashed", 13)];
    run.finished().counts(&counts).counts(&[("files_by_size", 0)]);
    diff(&env, &["--content", "target", "other"]).expect(3).names("7 files; 1 file read, 13 B\n");
}

#[test]
fn a_file_that_can_t_be_read_is_one_entry_as_it_is_to_verify() {
    needs!(tools::root(), tools::tool("setpriv"));
    let env = Environment::new();
    TestTree::new().file("a", "content").mode(0o600).write(&env.source);
    fs::create_dir(env.root.join("other")).unwrap();
    TestTree::new().file("a", "content").write(&env.root.join("other"));
    for arguments in
        [&["diff", "--content", "source", "other"][..], &["verify", "other", "--against", "source"]]
    {
        let run = env.as_nobody(arguments).unwrap().expect(1);
        run.names("cannot read").names("error rate 50.00% (1 of 2 entries)");
        let run = env.as_nobody(&[arguments, &["--json"]].concat()).unwrap().expect(1);
        let finished = run.finished();
        finished.counts(&[("failed", 1), ("entries", 2)]);
        assert!(finished.record["unknown"].as_u64().unwrap_or_default() == 0, "{}", run.told());
    }
}

#[test]
fn content_is_read_on_both_sides_where_nothing_is_recorded() {
    let env = Environment::new();
    let tree =
        (0..300).fold(sample(), |tree, at| tree.file(format!("many/{at:03}"), format!("{at}")));
    tree.write(&env.source);
    tree.write(&env.root.join("other"));
    let time = Snapshot::read(&env.source).get("many/123").unwrap().mtime;
    fs::write(env.source.join("many/123"), "321").unwrap();
    set_mtime_of(&env.source.join("many/123"), time.0, time.1);
    set_mtime_of(&env.root.join("other/many/123"), time.0, time.1);
    let run = diff(&env, &["--json", "--content", "--no-metadata", "source", "other"]).expect(3);
    assert_eq!(differences(&run), pairs(&[("content", "many/123")]));
    run.finished().counts(&[("files_read", 307), ("files_by_digest", 307)]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_no_difference() {
    needs!(tools::root());
    let env = Environment::new();
    let tree = TestTree::new().file("a", "1").mtime(1, 1).file("b", "2").mtime(1, 1);
    tree.write(&env.source);
    tree.write(&env.root.join("other"));
    fs::set_permissions(env.source.join("b"), Permissions::from_mode(0o000)).unwrap();
    let arguments = ["diff", "--content", "--no-metadata", "source", "other"];
    let run = env.as_nobody(&arguments).unwrap().expect(1);
    run.names("error: cannot read \"b\" in A: permission denied").names("0 differences");
}

#[test]
fn manifests_alone_are_asked_for_where_there_are_some() {
    let env = mirrored(&sample());
    let run = diff(&env, &["--recorded", "source", "target"]).expect(4);
    run.names("\"source\" has no published manifest").names("help: ");
    diff(&env, &["--recorded", "--content", "target", "target"]).expect(2).names("--recorded");
}

#[test]
fn a_copy_of_a_manifest_stands_for_its_target() {
    let env = mirrored(&sample());
    fs::rename(env.target.join(".vidimus/manifest"), env.root.join("copy")).unwrap();
    fs::write(env.source.join("new"), "new").unwrap();
    set_mtime_of(&env.source, 1, 1);
    mirror_to(&env, "other");
    let run = diff(&env, &["--json", "copy", "other"]).expect(3);
    assert_eq!(differences(&run), pairs(&[("metadata", "."), ("only_in_b", "new")]));
    run.finished().counts(&[("files_by_digest", 7)]);
}

#[test]
fn a_place_without_a_manifest_is_listed_and_compared_by_size_and_time() {
    let env = mirrored(&sample());
    let run = diff(&env, &["source", "target"]).expect(0).names("not all files have digests");
    run.names("A is source, as it is listed now\n").names("by size and time  7 files");
    let times = |name: &str| Snapshot::read(&env.source).get(name).unwrap().mtime;
    let (seconds, nanos) = times("README.md");
    fs::write(env.source.join("README.md"), "Hello, World\n").unwrap();
    let run = diff(&env, &["--json", "--no-metadata", "source", "target"]).expect(3);
    assert_eq!(differences(&run), pairs(&[("content", "README.md")]));
    // What neither size nor time tells is not found without digests, and the summary says so.
    set_mtime_of(&env.source.join("README.md"), seconds, nanos);
    diff(&env, &["source", "target"]).expect(0).names("not all files have digests");
    fs::write(env.source.join("README.md"), "longer than it was").unwrap();
    let run = diff(&env, &["-q", "source", "target"]).expect(3);
    assert_eq!(run.stdout, "content    README.md  (18 B -> 13 B)\n");
}

#[test]
fn a_listed_directory_may_hold_a_file_of_the_pointers_name() {
    let env = Environment::new();
    TestTree::new().file("latest.json", "{\"version\": 3}").write(&env.source);
    diff(&env, &["source", "source"]).expect(0).names("as it is listed now");
}

#[test]
fn what_vidimus_keeps_for_itself_is_no_difference() {
    let env = mirrored(&TestTree::new().file("a", "1"));
    let own = TestTree::new().file(".vidimus.0123456789abcdef", "").file(".vidimus/own", "");
    own.write(&env.source);
    let run = diff(&env, &["--no-metadata", "source", "target"]).expect(0);
    run.is_silent_about("0123456789abcdef").is_silent_about("own");
}

#[test]
fn a_row_without_a_digest_is_counted_as_not_proven() {
    let env = Environment::new();
    let tree = TestTree::new().file("a", "1").mtime(1, 1).file("b", "2").mtime(1, 1);
    tree.write(&env.source);
    tree.write(&env.target);
    env.mirrored(&[]).counts(&[("files_adopted", 2)]);
    fs::write(env.source.join("b"), "22").unwrap();
    mirror_to(&env, "other");
    let run = diff(&env, &["--no-metadata", "--json", "target", "other"]).expect(3);
    assert_eq!(differences(&run), pairs(&[("content", "b")]));
    run.finished().counts(&[("files_by_digest", 0), ("files_by_size", 2), ("files_unproven", 2)]);
    let run = diff(&env, &["target", "other"]).expect(3);
    run.names("by size and time  2 files; of 2 files a manifest has no digest");
}

#[test]
fn a_file_against_a_directory_of_its_name_is_two_keys() {
    let env = mirrored(&TestTree::new().file("a", "1").file("a.c", ""));
    fs::remove_file(env.source.join("a")).unwrap();
    TestTree::new().file("a/b", "1").write(&env.source);
    mirror_to(&env, "other");
    let run = diff(&env, &["--no-metadata", "--json", "target", "other"]).expect(3);
    let expected = [("only_in_a", "a"), ("only_in_b", "a/"), ("only_in_b", "a/b")];
    assert_eq!(differences(&run), pairs(&expected));
}

#[test]
fn a_manifest_that_was_tampered_with_is_not_believed() {
    let env = mirrored(&sample());
    mirror_to(&env, "other");
    let segment = env.target.join(".vidimus/manifest/00000001.ndjson.zst");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let run = diff(&env, &["--json", "target", "other"]).expect(4).names("damaged");
    assert_eq!(run.finished().record["verdict"], "failed");
    diff(&env, &["other", "target"]).expect(4).names("help: ");
}

#[test]
fn what_is_no_directory_or_not_there_is_named() {
    let env = mirrored(&sample());
    diff(&env, &["target", "nowhere"]).expect(7).names("\"nowhere\"");
    diff(&env, &["source/README.md", "target"])
        .expect(7)
        .names("is a file, but not one of a manifest");
    diff(&env, &["target"]).expect(2);
}

#[test]
fn what_could_not_be_listed_is_named_and_no_difference() {
    needs!(tools::root());
    let env = mirrored(&sample());
    fs::set_permissions(env.source.join("data"), Permissions::from_mode(0o000)).unwrap();
    let arguments = ["diff", "--no-metadata", "source", "copy"];
    fs::rename(env.target.join(".vidimus/manifest"), env.root.join("copy")).unwrap();
    for entry in fs::read_dir(env.root.join("copy")).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(env.root.join("copy"), Permissions::from_mode(0o755)).unwrap();
    let run = env.as_nobody(&arguments).unwrap().expect(1);
    let run = run.names("error: cannot list \"data/\" in A: permission denied");
    run.names("incomplete: ").names("0 differences").is_silent_about("only in");
}
