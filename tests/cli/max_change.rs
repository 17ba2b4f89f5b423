//! `--max-change`: a source of which too much changed at once is not mirrored.

use crate::common::{Environment, Snapshot, TestTree, assert_mirrored, assert_untouched};
use std::fs;

const BRAKE: [&str; 2] = ["--max-change", "40%"];

/// A mirror of ten files; of the source `changed` then change.
fn mirrored(changed: usize) -> Environment {
    let env = Environment::new();
    let numbers = |names: std::ops::Range<usize>, content: &str| {
        names.fold(TestTree::new(), |tree, n| tree.file(format!("d/f{n}"), content))
    };
    numbers(0..10, "content").write(&env.source);
    env.age();
    env.mirrored(&BRAKE).counts(&[("files_copied", 10)]);
    numbers(0..changed, "encrypted").write(&env.source);
    env.age();
    env
}

#[test]
fn a_source_of_which_too_much_changed_is_refused_before_the_target_is_touched() {
    let env = mirrored(5);
    fs::write(env.source.join("new"), "new files count for nothing").unwrap();
    let before = Snapshot::read(&env.target);
    let refused = env.mirror(&BRAKE).expect(6);
    refused.names("of 10 files").names("5 changed").names("--accept-changes");
    env.mirror(&[&BRAKE[..], &["--dry-run"]].concat()).expect(6).names("d/f0").names("5 changed");
    assert_untouched(&before, &env.target);
    env.mirror(&BRAKE).expect(6);
    env.mirrored(&[&BRAKE[..], &["--accept-changes"]].concat()).counts(&[("files_copied", 6)]);
    assert_mirrored(&env.source, &env.target);
    env.mirrored(&BRAKE).counts(&[("files_copied", 0)]);
}

#[test]
fn as_much_as_may_change_is_mirrored_and_what_is_gone_counts_too() {
    let env = mirrored(4);
    env.mirrored(&BRAKE).counts(&[("files_copied", 4)]);
    for n in 0..3 {
        fs::remove_file(env.source.join(format!("d/f{n}"))).unwrap();
    }
    fs::write(env.source.join("d/f9"), "short").unwrap();
    env.age();
    env.mirrored(&[&BRAKE[..], &["--delete"]].concat()).counts(&[("files_deleted", 3)]);
    for n in 3..6 {
        fs::remove_file(env.source.join(format!("d/f{n}"))).unwrap();
    }
    let refused = env.mirror(&[&BRAKE[..], &["--delete"]].concat()).expect(6);
    refused.names("of 7 files").names("3 are gone");
    // What the filter leaves out now is neither gone nor changed.
    let flags = [&BRAKE[..], &["--exclude", "/d"]].concat();
    env.mirrored(&flags);
}

#[test]
fn changes_are_accepted_only_where_they_are_limited() {
    let env = Environment::new();
    env.mirror(&["--accept-changes"]).expect(2).names("--max-change");
    env.mirror(&["--max-change", "20"]).expect(2).names("20%");
}

/// What is gone stays in a target from which nothing is deleted, and in its record.
#[test]
fn without_deletion_what_is_gone_counts_for_nothing() {
    let env = mirrored(0);
    for n in 0..5 {
        fs::remove_file(env.source.join(format!("d/f{n}"))).unwrap();
    }
    env.mirror(&[&BRAKE[..], &["--delete"]].concat()).expect(6).names("5 are gone");
    env.mirrored(&BRAKE).counts(&[("files_unchanged", 5)]);
}
