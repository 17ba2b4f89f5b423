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

/// Nobody knows who wrote it.
#[test]
fn what_a_head_says_is_safe_in_a_terminal() {
    let env = mirrored(&sample());
    let path = directory(&env).join("00000001.json");
    let text = fs::read_to_string(&path).expect("read");
    let name = format!("\"source\": \"{}\"", env.source.display());
    assert!(text.contains(&name));
    let text = text.replace(&name, "\"source\": \"/a\\\\n\\u001b[2J\"");
    fs::write(&path, &text).expect("write");
    let pointer = format!(
        "{{\"vidimus_manifest\": 1, \"head\": {{\"sequence\": 1, \"blake3\": \"{}\"}}}}",
        blake3::hash(text.as_bytes())
    );
    fs::write(directory(&env).join("latest.json"), pointer).expect("write");
    env.vidimus(&["manifest", "show", "target"]).expect(0).names("/a\\n\\u{1b}[2J\n");
}
