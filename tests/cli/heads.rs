//! What is told, and done, where a part of a published manifest is gone that no segment tells of: its
//! pointer, a head behind the one that counts, or all of it; and where a killed run left its lock.

use crate::common::{Environment, TestTree};
use std::fs;
use std::path::PathBuf;

fn directory(env: &Environment) -> PathBuf {
    env.target.join(".vidimus/manifest")
}

/// A mirror that was published twice.
fn published_twice() -> Environment {
    let env = Environment::new();
    let tree = (0..20).fold(TestTree::new(), |tree, at| tree.file(format!("f{at}"), "content"));
    tree.write(&env.source);
    env.mirrored(&[]);
    fs::write(env.source.join("f0"), "changed").expect("write");
    env.mirrored(&[]);
    assert!(directory(&env).join("00000002.json").exists());
    env
}

/// Loses what is recorded here, not what was published.
fn lose_state(env: &Environment) {
    fs::remove_dir_all(&env.state).expect("remove");
    fs::create_dir(&env.state).expect("make");
}

fn remove(env: &Environment, name: &str) {
    fs::remove_file(directory(env).join(name)).expect("remove");
}

#[test]
fn heads_without_a_pointer_are_told_and_the_highest_that_is_whole_is_taken_over() {
    for (broken, taken_over) in [(None, 2), (Some("00000002.ndjson.zst"), 1)] {
        let env = published_twice();
        lose_state(&env);
        remove(&env, "latest.json");
        if let Some(broken) = broken {
            fs::write(directory(&env).join(broken), "rubbish").expect("write");
        }
        let missing = "latest.json: it is missing, though publication 2 exists";
        env.verify(&[]).expect(4).names(missing);
        env.vidimus(&["manifest", "log", "target"]).expect(4).names(missing);
        env.mirror(&["--dry-run"]).expect(0).names(missing);
        let run = env.mirror(&["-q"]).expect(0).names(missing);
        run.names(&format!("publication {taken_over}, the latest complete one, is used"));
        assert!(directory(&env).join("00000003.json").exists(), "numbers go on");
        env.vidimus(&["manifest", "check", "target"]).expect(0);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn no_number_is_given_twice_where_the_head_that_counts_is_gone() {
    for has_record in [true, false] {
        let env = published_twice();
        if !has_record {
            lose_state(&env);
        }
        remove(&env, "00000002.json");
        let missing = "00000002.json: it is missing";
        env.verify(&[]).expect(4).names(missing);
        env.mirror(&["-q"]).expect(0).names(missing);
        assert!(directory(&env).join("00000003.json").exists());
        env.vidimus(&["manifest", "check", "target"]).expect(0);
        env.verify(&[]).expect(0);
    }
}

#[test]
fn a_head_that_is_gone_is_told_and_the_next_mirror_begins_the_chain_anew() {
    for has_record in [true, false] {
        let env = published_twice();
        remove(&env, "00000001.json");
        if !has_record {
            lose_state(&env);
        }
        env.verify(&[]).expect(4).names("the chain is broken between publications 1 and 2");
        if has_record {
            env.mirror(&["-q"]).expect(0).names("begins a new chain");
            env.vidimus(&["manifest", "check", "target"]).expect(0);
            env.verify(&[]).expect(0);
        }
    }
}

#[test]
fn by_the_manifest_alone_a_killed_run_is_named_by_the_lock_that_it_left() {
    let env = published_twice();
    lose_state(&env);
    let left = r#"{"run":"dead","pid":7,"host":"h","started":"2026-11-21T03:38:00Z"}"#;
    fs::write(env.target.join(".vidimus/lock"), left).expect("write");
    env.verify(&[]).expect(3).names("run dead, whose lock is still there, was killed");
    env.verify(&["--allow-incomplete"]).expect(0).names("run dead, whose lock is still there");
    env.mirrored(&[]);
    env.verify(&[]).expect(0).is_silent_about("run dead");
}

#[test]
fn a_target_that_lacks_all_of_its_manifest_may_not_be_mounted() {
    let env = published_twice();
    fs::rename(&env.target, env.root.join("elsewhere")).expect("rename");
    fs::create_dir(&env.target).expect("make");
    let lacks = "the target lacks the manifest that was published in it";
    env.verify(&[]).expect(4).names(lacks).is_silent_about("is damaged");
    env.mirror(&[]).expect(0).names(lacks).is_silent_about("is damaged");
}
