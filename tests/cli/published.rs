//! `vidimus manifest`: what a mirror published, shown and exported.

use crate::common::environment::text;
use crate::common::{Environment, Snapshot, assert_untouched};
use crate::manifest::{directory, head, lose_state, many};
use crate::mirror::{mirrored, sample};
use std::fs;

/// Three publications: a hundred files, then one changed, then one removed.
fn three() -> Environment {
    let env = mirrored(&many());
    fs::write(env.source.join("d0/f0"), "changed").expect("write");
    env.mirrored(&[]);
    fs::remove_file(env.source.join("d1/f1")).expect("remove");
    env.mirrored(&["--delete"]);
    env
}

#[test]
fn show_tells_what_the_head_says() {
    let env = three();
    let before = Snapshot::read(&env.target);
    lose_state(&env);
    let run = env.vidimus(&["manifest", "show", text(&env.target)]).expect(0);
    let head = head(&env);
    run.names(head["run"].as_str().unwrap())
        .names("complete")
        .names(text(&env.source))
        .names("rows        107\n")
        .names("3 segments, 112 lines");
    let records = env.vidimus(&["manifest", "show", "--json", "target"]).expect(0).records();
    assert_eq!(records.len(), 2);
    let record = records[0].as_object().unwrap();
    for (name, value) in head.as_object().unwrap() {
        assert_eq!(record[name], *value, "{name}");
    }
    assert_eq!((&record["event"], &record["lines"]), (&"publication".into(), &112.into()));
    let bytes = fs::read(directory(&env).join("00000003.json")).unwrap();
    assert_eq!(record["blake3"], blake3::hash(&bytes).to_hex().as_str());
    assert_eq!((&records[1]["publications"], &records[1]["exit_code"]), (&1.into(), &0.into()));
    assert!(!env.state.exists());
    assert_untouched(&before, &env.target);
}

#[test]
fn a_copy_of_a_manifest_is_one() {
    let env = mirrored(&sample());
    let copy = env.root.join("copy");
    fs::rename(directory(&env), &copy).expect("rename");
    env.vidimus(&["manifest", "show", "copy"]).expect(0).names("complete");
    env.vidimus(&["manifest", "show", "target"]).expect(4).names("no published manifest");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let env = mirrored(&sample());
    let show = |location: &str| env.vidimus(&["manifest", "show", location]);
    show("source").expect(4).names("no published manifest").names("help:");
    show("missing").expect(7).names("missing");
    show("source/README.md").expect(7).names("is a file");
    show("s3://bucket/x?regoin=eu").expect(2);
    fs::write(directory(&env).join("latest.json"), "{}").expect("write");
    show("target").expect(4).names("damaged");
    let finished = env.vidimus(&["manifest", "show", "--json", "target"]).expect(4).finished();
    assert_eq!(
        (&finished.record["exit_code"], &finished.record["verdict"]),
        (&4.into(), &"failed".into())
    );
    assert!(finished.record["error"].as_str().unwrap().contains("damaged"));
}

/// Writes something else in the first head, and what vouches for that.
fn forge(env: &Environment, part: &str, other: &str) {
    let path = directory(env).join("00000001.json");
    let whole = fs::read_to_string(&path).expect("read");
    let forged = whole.replace(part, other);
    assert_ne!(forged, whole);
    fs::write(&path, &forged).expect("write");
    let pointer = format!(
        "{{\"vidimus_manifest\": 1, \"head\": {{\"sequence\": 1, \"blake3\": \"{}\"}}}}",
        blake3::hash(forged.as_bytes())
    );
    fs::write(directory(env).join("latest.json"), pointer).expect("write");
}

/// Nobody knows who wrote it.
#[test]
fn what_a_head_says_is_safe_in_a_terminal() {
    let env = mirrored(&sample());
    let name = format!("\"source\": \"{}\"", env.source.display());
    forge(&env, &name, "\"source\": \"/a\\\\n\\u001b[2J\"");
    env.vidimus(&["manifest", "show", "target"]).expect(0).names("/a\\n\\u{1b}[2J\n");
}

#[test]
fn log_walks_back_to_the_first_publication() {
    let env = three();
    lose_state(&env);
    let log = env.vidimus(&["manifest", "log", "target"]).expect(0).stdout;
    let lines: Vec<Vec<_>> = log.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<_> =
        lines.iter().map(|words| (words[0], words[words.len() - 2..].join(" "))).collect();
    assert_eq!(
        told,
        [("3", "2 changes"), ("2", "2 changes"), ("1", "all rows"), ("3", "is whole")]
            .map(|(number, changed)| (number, changed.to_owned()))
    );
    let run = env.vidimus(&["manifest", "log", "--json", "target"]).expect(0);
    run.finished().counts(&[("publications", 3), ("exit_code", 0)]);
    let records = run.records();
    for (at, changed) in [Some(2), Some(2), None].into_iter().enumerate() {
        let bytes = fs::read(directory(&env).join(format!("{:08}.json", 3 - at))).unwrap();
        assert_eq!(records[at]["blake3"], blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(records[at]["changed"].as_u64(), changed);
    }
}

/// What came before the break is not told of: nothing vouches for it.
#[test]
fn a_broken_chain_is_named() {
    let env = three();
    let path = directory(&env).join("00000002.json");
    let whole = fs::read_to_string(&path).expect("read");
    let tampered = whole.replace("complete", "refused");
    assert_ne!(tampered, whole);
    for tampered in [Some(tampered), None] {
        match tampered {
            Some(tampered) => fs::write(&path, tampered).expect("write"),
            None => fs::remove_file(&path).expect("remove"),
        }
        let run = env.vidimus(&["manifest", "log", "target"]).expect(4);
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
        run.names("broken between publications 2 and 3").names("00000002.json").names("help:");
        let run = env.vidimus(&["manifest", "log", "--json", "target"]).expect(4);
        run.finished().counts(&[("publications", 1), ("exit_code", 4)]);
    }
    // What counts is whole all the same.
    env.vidimus(&["manifest", "show", "target"]).expect(0);
}

#[test]
fn numbers_of_the_chain_go_on_by_one() {
    let env = mirrored(&sample());
    let previous = format!("\"previous\": {{\"sequence\": 4, \"blake3\": \"{}\"}}", "0".repeat(64));
    forge(&env, "\"previous\": null", &previous);
    let run = env.vidimus(&["manifest", "log", "target"]).expect(4);
    run.names("damaged").names("publication 4 came before");
}
