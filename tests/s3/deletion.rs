//! What is deleted from a bucket, and when: as it would be from a directory.

use crate::common::TestTree;
use crate::common::environment::text;
use crate::s3::{Fault, Kind, On};
use crate::site::Site;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The exit code of a run that deletes, and what a refusal says.
type Verdict = (i32, Option<String>);

impl Site {
    /// What a dry run with `--delete` into this target says of the deletions.
    fn verdict(&self, target: &str) -> Verdict {
        let run = self.mirror(text(&self.env.source), target, &["--delete", "--dry-run"]);
        let refused = run.records().into_iter().find(|record| record["event"] == "refused");
        (run.code(), refused.map(|record| record["error"].as_str().expect("a text").to_owned()))
    }
}

fn paths() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop::sample::select(vec!["a.", "b", "c", "d"]);
    let directory = prop::sample::select(vec!["x", "y", "y-"]);
    let path = (prop::collection::vec(directory, 0..3), name)
        .prop_map(|(above, name)| [above, vec![name]].concat().join("/"));
    prop::collection::btree_set(path, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A bucket has no directories but those that its keys imply; the guard counts them all the same.
    #[test]
    fn a_bucket_is_guarded_as_a_directory_is(source in paths(), target in paths()) {
        let site = Site::new();
        for path in &source {
            TestTree::new().file(path, "s").write(&site.env.source);
        }
        for path in &target {
            TestTree::new().file(path, "t").write(&site.env.target);
            site.bucket.put(&format!("m/{path}"), b"t");
        }
        prop_assert_eq!(site.verdict("s3://bucket/m"), site.verdict(text(&site.env.target)));
    }
}

#[test]
fn a_wrong_source_does_not_empty_a_bucket_without_markers() {
    let site = Site::of(&TestTree::new().file("wrong", "1"));
    let keys: Vec<_> = (0..20).map(|n| format!("m/d{n:02}/precious")).collect();
    for key in &keys {
        site.bucket.put(key, b"x");
    }
    let all = "20 files and 20 directories of the target's 40 entries would be deleted";
    site.up(&["--delete"]).expect(6).names(all);
    assert!(keys.iter().all(|key| site.bucket.get(key).is_some()));
}

#[test]
fn a_bucket_of_one_object_is_no_empty_source() {
    let site = Site::new();
    site.bucket.put("m/a", b"stays");
    let other = site.server.bucket("other");
    for key in ["m/a", "m/b"] {
        other.put(key, b"x");
    }
    site.mirror("s3://bucket/m", "s3://other/m", &["--delete"]).expect(0);
    assert!(other.get("m/a").is_some() && other.get("m/b").is_none());
}

#[test]
fn a_directory_s_marker_stays_while_something_in_it_does() {
    let site = Site::of(&TestTree::new().file("keep", "1"));
    site.up(&[]).expect(0);
    for key in ["m/d/", "m/d/e/", "m/d/e/stays", "m/d/goes", "m/f/", "m/f/goes"] {
        site.bucket.put(key, b"");
    }
    let refused = "<DeleteResult><Error><Key>m/d/e/stays</Key><Code>AccessDenied</Code></Error>\
                   </DeleteResult>";
    let reply = Fault::Reply(200, Vec::new(), refused.into());
    site.server.fail(On::nth(Kind::DeleteMany, 1), reply);
    let run = site.up(&["--delete", "--max-delete", "100%"]).expect(1).names("d/e/stays");
    for key in ["m/d/", "m/d/e/"] {
        assert!(site.bucket.get(key).is_some(), "{key} holds what stays");
    }
    assert!(site.bucket.get("m/f/").is_none());
    assert_eq!(run.finished().count("directories_deleted"), 1);
}

#[test]
fn markers_that_outlive_a_bulk_request_are_deleted_one_by_one() {
    let site = Site::of(&TestTree::new().file("keep", "1"));
    site.up(&[]).expect(0);
    let markers = ["m/a/", "m/b/", "m/c/"];
    for key in markers {
        site.bucket.put(key, b"");
    }
    // All are said to be gone.
    let reply = Fault::Reply(200, Vec::new(), "<DeleteResult/>".into());
    site.server.fail(On::every(Kind::DeleteMany), reply);
    let run = site.up(&["--delete", "--max-delete", "100%"]).expect(0);
    assert!(markers.iter().all(|key| site.bucket.get(key).is_none()), "{:?}", site.bucket.keys());
    run.finished().counts(&[("directories_deleted", 3)]);
    site.verify(&[]).expect(0);
}
