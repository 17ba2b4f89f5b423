//! The manifest that a mirror publishes in its target.

use crate::common::{
    Disk, Environment, Snapshot, TestTree, assert_mirrored, assert_untouched, tools,
};
use crate::mirror::{mirrored, sample};
use crate::needs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub(crate) fn directory(env: &Environment) -> PathBuf {
    env.target.join(".vidimus/manifest")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read a file")).expect("it is JSON")
}

/// The head that counts.
pub(crate) fn head(env: &Environment) -> Value {
    let directory = directory(env);
    let pointer = json(&directory.join("latest.json"));
    let sequence = pointer["head"]["sequence"].as_u64().expect("a number");
    let path = directory.join(format!("{sequence:08}.json"));
    let digest = blake3::hash(&fs::read(&path).expect("read the head"));
    assert_eq!(pointer["head"]["blake3"], digest.to_hex().as_str());
    let head = json(&path);
    assert_eq!(head["sequence"], sequence);
    head
}

/// The lines of a segment.
pub(crate) fn lines(env: &Environment, sequence: u64) -> Vec<Value> {
    let path = directory(env).join(format!("{sequence:08}.ndjson.zst"));
    let bytes = zstd::decode_all(&fs::read(path).expect("read a segment")[..]).expect("zstd");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).expect("it is JSON")).collect()
}

/// Reads the manifest as docs/manifest.md says, and holds the files against what vouches for them.
pub(crate) fn published(env: &Environment) -> BTreeMap<String, Value> {
    let head = head(env);
    let mut rows = BTreeMap::new();
    for segment in head["segments"].as_array().expect("segments") {
        let sequence = segment["sequence"].as_u64().expect("a number");
        let path = directory(env).join(format!("{sequence:08}.ndjson.zst"));
        let bytes = fs::read(path).expect("read a segment");
        assert_eq!(segment["bytes"], bytes.len());
        assert_eq!(segment["blake3"], blake3::hash(&bytes).to_hex().as_str());
        let lines = lines(env, sequence);
        assert_eq!(segment["lines"], lines.len());
        for line in lines {
            let key = line["key"].as_str().expect("a key").to_owned();
            if line["removed"] == true {
                rows.remove(&key)
            } else {
                rows.insert(key, line)
            };
        }
    }
    assert_eq!(head["rows"], rows.len());
    rows
}

/// As on another machine.
pub(crate) fn lose_state(env: &Environment) {
    fs::remove_dir_all(&env.state).expect("remove the state");
}

/// A tree large enough that a change of a few is a small one.
pub(crate) fn many() -> TestTree {
    (0..100).fold(TestTree::new(), |tree, number| {
        tree.file(format!("d{}/f{number}", number % 7), number.to_string()).mtime(1_600_000_000, 5)
    })
}

#[test]
fn a_mirror_publishes_what_it_recorded() {
    let env = mirrored(&sample());
    let rows = published(&env);
    assert_eq!(rows.len(), sample().files() as usize + 6 + 1, "{:?}", rows.keys());
    let row = &rows["README.md"];
    assert_eq!(row["blake3"], blake3::hash(b"hello, world\n").to_hex().as_str());
    assert_eq!(row["mtime"], "1600000000.123456789");
    assert_eq!((&row["kind"], &row["size"]), (&"file".into(), &13.into()));
    assert_eq!(rows["bin/run"]["mode"], "0755");
    assert_eq!(rows["links/outside"]["link"], "/etc/hostname");
    assert_eq!(rows[""]["kind"], "directory");
    let head = head(&env);
    assert_eq!((&head["previous"], &head["verdict"]), (&Value::Null, &"complete".into()));
    let mode = |path: &Path| fs::metadata(path).expect("stat").permissions().mode() & 0o7777;
    assert_eq!(mode(&directory(&env)), 0o700);
    assert_eq!(mode(&directory(&env).join("latest.json")), 0o600);
}

#[test]
fn a_run_that_changes_nothing_publishes_nothing() {
    let env = mirrored(&sample());
    let before = Snapshot::read(&directory(&env));
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    env.mirror(&["--dry-run"]).expect(0);
    assert_untouched(&before, &directory(&env));
}

#[test]
fn what_changed_is_published_alone() {
    let env = mirrored(&many());
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    fs::remove_file(env.source.join("d1/f1")).expect("remove");
    fs::write(env.source.join("d2/new"), "new").expect("write");
    env.mirrored(&["--delete"]);
    let head = head(&env);
    assert_eq!((&head["sequence"], &head["previous"]["sequence"]), (&2.into(), &1.into()));
    let first = fs::read(directory(&env).join("00000001.json")).expect("the head before stays");
    assert_eq!(head["previous"]["blake3"], blake3::hash(&first).to_hex().as_str());
    let changed = lines(&env, 2);
    let keys: Vec<_> = changed.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["d0/", "d0/f0", "d1/", "d1/f1", "d2/", "d2/new"]);
    assert_eq!(changed[3], serde_json::json!({"key": "d1/f1", "sequence": 2, "removed": true}));
    let rows = published(&env);
    assert_eq!(rows.len(), 100 + 7 + 1);
    assert_eq!(rows["d0/f0"]["blake3"], blake3::hash(b"changed").to_hex().as_str());
    assert_ne!(rows["d0/f0"]["run"], rows["d0/f7"]["run"]);
    // What came and went in between was never there.
    assert!(!rows.contains_key("d1/f1"));
}

#[test]
fn when_much_has_changed_all_is_published_anew_and_the_chain_goes_on() {
    let env = mirrored(&many());
    for round in 0..4_u64 {
        for number in 0..10 {
            let name = format!("d{}/f{number}", number % 7);
            fs::write(env.source.join(name), format!("round {round}")).expect("write");
        }
        env.mirrored(&[]);
        assert_eq!(published(&env).len(), 108);
    }
    let names = |suffix: &str| {
        let names = fs::read_dir(directory(&env)).expect("list");
        names
            .filter(|name| name.as_ref().unwrap().path().to_str().unwrap().ends_with(suffix))
            .count()
    };
    assert_eq!(names(".json"), 5 + 1, "all heads stay");
    let segments = head(&env)["segments"].as_array().expect("segments").len();
    assert!(segments < 5);
    assert_eq!(names(".zst"), segments, "segments that no longer count are gone");
}

#[test]
fn without_its_state_a_mirror_takes_over_what_was_published() {
    let env = mirrored(&many());
    fs::remove_file(env.source.join("d1/f1")).expect("remove");
    env.mirrored(&["--delete"]);
    lose_state(&env);
    let planned = env.mirror(&["--json", "--dry-run"]).expect(0).finished();
    planned.counts(&[("files_unchanged", 99), ("files_adopted", 0), ("files_copied", 0)]);
    assert!(!env.state.exists(), "a dry run makes no state");
    let run = env.mirror(&["--json"]).expect(0).names("taken over");
    let finished = run.finished();
    finished.counts(&[("files_copied", 0), ("files_adopted", 0), ("bytes_hashed", 0)]);
    finished.counts(&[("files_unchanged", 99)]);
    assert_eq!(head(&env)["sequence"], 2, "nothing is published again");
    // And goes on from there.
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&[]).counts(&[("files_copied", 1)]);
    assert_eq!(head(&env)["segments"].as_array().expect("segments").len(), 3);
    assert_eq!(published(&env).len(), 107);
    env.verify(&[]).expect(0);
}

#[test]
fn without_a_state_verify_reads_what_was_published() {
    let env = mirrored(&sample());
    lose_state(&env);
    env.verify(&[]).expect(0);
    fs::write(env.target.join("bin/run"), "#!/bin/sH\n").expect("write");
    env.verify(&[]).expect(3).names("bin/run").names("corrupt");
    assert!(!env.state.exists() || fs::read_dir(&env.state).unwrap().next().is_none());
}

#[test]
fn another_source_takes_nothing_over_and_goes_on_with_the_chain() {
    let env = mirrored(&sample());
    let other = env.root.join("other");
    fs::rename(&env.source, &other).expect("rename");
    let (other, target) = (other.to_str().unwrap(), env.target.to_str().unwrap());
    let run = env.vidimus(&["mirror", "--json", other, target]).expect(0);
    run.is_silent_about("taken over").finished().counts(&[("files_copied", 0)]);
    let head = head(&env);
    assert_eq!((&head["sequence"], &head["previous"]["sequence"]), (&2.into(), &1.into()));
    assert_eq!(head["segments"].as_array().expect("segments").len(), 1);
}

/// Whatever is done to its files, nobody believes it, and a mirror makes it good.
#[test]
fn a_manifest_that_was_tampered_with_is_found_and_replaced() {
    let env = mirrored(&many());
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&[]);
    lose_state(&env);
    let good = Snapshot::read(&env.target);
    for name in ["latest.json", "00000002.json", "00000002.ndjson.zst", "00000001.ndjson.zst"] {
        let path = directory(&env).join(name);
        let whole = fs::read(&path).expect("read");
        // The pointer's white space says nothing.
        let said = |at: &usize| !(name == "latest.json" && whole[*at].is_ascii_whitespace());
        let step = (whole.len() / 20).max(1);
        for at in (0..whole.len()).step_by(step).filter(said) {
            let mut tampered = whole.clone();
            tampered[at] ^= 1;
            fs::write(&path, &tampered).expect("write");
            env.verify(&[]).expect(4).names("manifest");
        }
        for tampered in [&whole[..whole.len() / 2], &[], &[&whole[..], b"{}"].concat()] {
            fs::write(&path, tampered).expect("write");
            env.verify(&[]).expect(4).names("manifest");
        }
        fs::remove_file(&path).expect("remove");
        env.verify(&[]).expect(4);
        fs::write(&path, &whole).expect("write");
    }
    env.verify(&[]).expect(0);
    fs::write(directory(&env).join("00000001.ndjson.zst"), "rubbish").expect("write");
    env.mirror(&["--delete"]).expect(0).names("damaged").names("compared");
    assert_eq!(head(&env)["sequence"], 3);
    assert_eq!(published(&env).len(), 108);
    let without = |snapshot: Snapshot| snapshot.without(|key| key.starts_with(b".vidimus"));
    let differences = without(good).differences(
        &without(Snapshot::read(&env.target)),
        crate::common::tree::Closeness::Untouched,
    );
    assert!(differences.is_empty(), "{differences:?}");
    lose_state(&env);
    env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
}

/// Where a run that changes nothing finds it by a look, and where only reading it tells.
#[test]
fn a_manifest_that_was_damaged_or_removed_is_told_and_published_anew() {
    let env = mirrored(&many());
    env.verify(&[]).expect(0);
    let damage = |name: &str, damage: fn(&mut Vec<u8>)| {
        let path = directory(&env).join(name);
        let mut bytes = fs::read(&path).expect("read");
        damage(&mut bytes);
        fs::write(&path, bytes).expect("write");
    };
    fs::remove_file(directory(&env).join("latest.json")).expect("remove");
    env.mirror(&["--dry-run"]).expect(0).names("latest.json").names("a run publishes it anew");
    env.verify(&["--quick"]).expect(4).names("latest.json").names("missing");
    env.mirror(&[]).expect(0).names("latest.json").names("publication 2 contains all rows again");
    env.verify(&[]).expect(0);
    damage("00000002.ndjson.zst", |bytes| bytes.truncate(100));
    env.mirror(&[])
        .expect(0)
        .names("it has 100 bytes")
        .names("publication 3 contains all rows again");
    env.verify(&[]).expect(0);
    damage("00000003.ndjson.zst", |bytes| bytes[50] ^= 1);
    env.mirror(&[]).expect(0).is_silent_about("damaged");
    let run = env.verify(&["--json", "--quick"]).expect(4).names("BLAKE3");
    run.names(r#""verdict":"damaged""#).finished().counts(&[("differences", 0)]);
    env.mirror(&["--dry-run"]).expect(0).names("a run publishes it anew");
    env.mirror(&[]).expect(0).names("BLAKE3").names("publication 4 contains all rows again");
    env.verify(&[]).expect(0);
    env.mirror(&[]).expect(0).is_silent_about("damaged");
    assert_eq!(published(&env).len(), 108);
    let log = env.vidimus(&["manifest", "log", "target"]).expect(0);
    log.names("the chain of heads is whole").names("`manifest check` reads the rows too");
}

/// The disk fails, or somebody else may read it alone.
#[test]
fn what_can_not_be_read_of_a_manifest_is_no_damage() {
    needs!(tools::strace());
    let env = mirrored(&many());
    let before = Snapshot::read(&directory(&env));
    for (name, code) in [("latest.json", "EIO"), ("00000001.json", "EACCES")] {
        let path = directory(&env).join(name);
        let traced = ["-P", path.to_str().expect("UTF-8")];
        let injected = format!("inject=read,pread64:error={code}");
        let options = [&traced[..], &["-e", &injected]].concat();
        for arguments in [
            &env.mirror_arguments(&[])[..],
            &env.mirror_arguments(&["--state-dir", "elsewhere"]),
            &["verify", "target"].map(Into::into),
            &["verify", "target", "--state-dir", "elsewhere"].map(Into::into),
            &["manifest", "check", "target"].map(Into::into),
        ] {
            let run = env.strace(&options, arguments).expect(7);
            run.names("cannot read the published manifest").is_silent_about("damaged");
            fs::remove_dir_all(env.root.join("elsewhere")).ok();
        }
        assert_untouched(&before, &directory(&env));
    }
}

#[test]
fn a_manifest_of_a_newer_version_is_refused_and_kept() {
    let env = mirrored(&sample());
    let pointer = directory(&env).join("latest.json");
    let text = fs::read_to_string(&pointer).expect("read");
    let newer = text.replace("\"vidimus_manifest\": 1", "\"vidimus_manifest\": 3");
    fs::write(&pointer, &newer).expect("write");
    fs::write(env.source.join("bin/run"), "changed").expect("write");
    env.mirror(&[]).expect(4).names("version 3");
    lose_state(&env);
    env.verify(&[]).expect(4).names("version 3").names("newer vidimus");
    env.vidimus(&["manifest", "check", "target"]).expect(4).names("newer vidimus");
    env.mirror(&[]).expect(4).names("version 3");
    assert_eq!(fs::read_to_string(&pointer).expect("read"), newer);
}

#[test]
fn a_single_file_is_published_with_what_is_and_makes_no_manifest_of_its_own() {
    let env = Environment::new();
    let file = env.root.join("single");
    fs::write(&file, "x").expect("write");
    let (file, target) = (file.to_str().unwrap(), env.target.to_str().unwrap());
    env.vidimus(&["mirror", file, target]).expect(0);
    assert!(!directory(&env).exists());
    sample().write(&env.source);
    env.mirrored(&[]);
    fs::write(file, "other").expect("write");
    env.vidimus(&["mirror", file, target]).expect(0);
    let digest = blake3::hash(b"other").to_hex().to_string();
    let rows = published(&env);
    assert_eq!(rows["single"]["blake3"], *digest);
    assert!(rows.contains_key("README.md"));
}

#[test]
fn a_manifest_that_cannot_be_published_is_named_and_published_by_the_next_run() {
    needs!(tools::strace());
    let disk = Disk::new();
    let env = disk.environment();
    sample().write(&env.source);
    env.mirrored(&[]);
    env.lose_records();
    // A file where the directory should be.
    fs::write(directory(&env), "").expect("write");
    env.mirror(&[]).expect(7).names("manifest").names("published");
    assert_mirrored(&env.source, &env.target);
    fs::remove_file(directory(&env)).expect("remove");
    env.mirrored(&[]).counts(&[("files_copied", 0)]);
    assert_eq!(published(&env).len(), sample().files() as usize + 7);
    let count = |env: &Environment| fs::read_dir(directory(env)).expect("list").count();
    // Synced at last: a run of which even that fails is published again by the next.
    fs::write(env.source.join("README.md"), "changed").expect("write");
    let injected = ["-e", "inject=syncfs,fsync:error=EIO:when=2+"];
    env.strace(&injected, &env.mirror_arguments(&["--transfers", "1"])).expect_one_of(&[4, 7]);
    env.mirrored(&[]);
    published(&env);
    env.verify(&[]).expect(0);
    assert!(count(&env) >= 3);
}

/// A run is killed at each call that could leave half a publication: the one before counts, whole,
/// and the next run publishes what is missing.
#[test]
fn a_run_that_is_killed_while_it_publishes_leaves_the_manifest_before_it() {
    needs!(tools::strace());
    let mut seen = BTreeSet::new();
    for injected in [
        // Segment and head are new, the pointer replaces one.
        "renameat2:signal=KILL:when=1",
        "renameat2:signal=KILL:when=2",
        "renameat:signal=KILL:when=1",
        "/^unlink:signal=KILL:when=1",
    ] {
        let env = mirrored(&many());
        let before = published(&env);
        for number in 0..30 {
            let name = format!("d{}/f{number}", number % 7);
            fs::write(env.source.join(name), format!("changed {number}")).expect("write");
        }
        killed_while_publishing(&env, injected, &[]);
        let is_new = head(&env)["sequence"] == 2;
        seen.insert(is_new);
        if is_new {
            assert_eq!(published(&env).len(), 108, "{injected}");
        } else {
            assert_eq!(published(&env), before, "{injected}");
        }
        env.mirrored(&[]);
        let rows = published(&env);
        for number in 0..30 {
            let digest = blake3::hash(format!("changed {number}").as_bytes());
            let row = &rows[&format!("d{}/f{number}", number % 7)];
            assert_eq!(row["blake3"], digest.to_hex().as_str(), "{injected}");
        }
        assert!(Snapshot::read(&env.target).temporaries().is_empty(), "{injected}");
        assert_eq!(Snapshot::read(&directory(&env)).temporaries(), Vec::<String>::new());
        lose_state(&env);
        env.verify(&[]).expect(0);
        env.mirrored(&[]).counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    }
    assert_eq!(seen.len(), 2, "before the pointer is replaced, and after it");
}

/// Runs a mirror that is killed at a call that has to do with its manifest.
pub(crate) fn killed_while_publishing(env: &Environment, injected: &str, flags: &[&str]) {
    let injected = format!("inject={injected}");
    let directory = directory(env);
    let options = ["-P", crate::common::environment::text(&directory), "-e", &injected];
    let flags = [&["--transfers", "1"], flags].concat();
    env.strace(&options, &env.mirror_arguments(&flags)).expect(137);
}
