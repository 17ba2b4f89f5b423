//! Every key that a store can hold: from bucket to bucket as it is; to a directory, where that can
//! hold it, and named where it can't.

use crate::common::content::bytes;
use crate::common::{Snapshot, TestTree};
use crate::s3::{Bucket, Kind, Object};
use crate::site::{NAMES, Site};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that no directory can hold, beside each other and beside ones that it can.
const IMPOSSIBLE: [&str; 24] = [
    "/",
    "//",
    "/a",
    "/a/b",
    "a//b",
    "a//",
    "a/../b",
    "a/./b",
    "a/..",
    "a/.",
    ".",
    "..",
    "./",
    "../",
    "./x",
    "../x",
    "../../etc/passwd",
    "x/./",
    "x/../",
    "nul\0byte",
    "full/",
    "both",
    "d/.vidimus.0123456789abcdef",
    ".vidimus.fedcba9876543210/below",
];

/// Keys that a directory can hold.
fn possible() -> Vec<String> {
    let mut keys: Vec<_> = NAMES.iter().map(|name| format!("n/{name}")).collect();
    keys.extend(NAMES.iter().map(|name| format!("d/{name}/leaf")));
    keys.extend(["b", "a/b", "both/below", "c/d/e", "x/y"].map(String::from));
    keys
}

fn longest() -> String {
    // With the prefix `m/` it is as long as S3 allows.
    format!("long/{}", "é".repeat((1024 - 2 - 5) / 2)) + "e"
}

fn below_a_long_name() -> String {
    format!("{}/below", "x".repeat(256))
}

fn object(key: &str) -> Object {
    Object::new(format!("content of {key}"))
        .with_metadata("colour", "blue")
        .with_metadata("mtime", "1500000000.25")
        .with_header("content-type", "application/x-test")
        .with_header("cache-control", "max-age=60")
        .with_header("content-disposition", "attachment; filename=\"x y\"")
        .with_modified(1_400_000_000)
}

/// A site whose bucket has every key below `m/`.
fn site() -> Site {
    let site = Site::new();
    for key in possible().iter().map(String::as_str).chain(IMPOSSIBLE) {
        site.bucket.put_object(&format!("m/{key}"), object(key));
    }
    site.bucket.put_object(&format!("m/{}", longest()), object("long"));
    site.bucket.put_object(&format!("m/{}", below_a_long_name()), object("below"));
    // A marker of a directory, as such.
    let marker = Object::new("").with_header("content-type", "application/x-directory");
    site.bucket.put_object("m/empty/", marker);
    site
}

/// What is compared of objects: all that doesn't change by being copied.
fn kept(objects: BTreeMap<String, Object>) -> BTreeMap<String, impl PartialEq + std::fmt::Debug> {
    let kept = |(key, object): (String, Object)| {
        let Object { content, mut metadata, headers, .. } = object;
        // Whose an upload in parts was.
        metadata.remove("vidimus-upload");
        (key, (content, metadata, headers))
    };
    objects.into_iter().map(kept).collect()
}

/// Two buckets have the same objects.
#[track_caller]
fn assert_same(source: &Bucket, target: &Bucket) {
    let [expected, found] = [source, target].map(|bucket| kept(crate::site::objects_of(bucket)));
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differ: Vec<_> =
        keys.into_iter().filter(|key| expected.get(*key) != found.get(*key)).collect();
    assert!(differ.is_empty(), "these differ: {differ:?}");
}

#[test]
fn between_buckets_every_key_is_mirrored_as_it_is() {
    let site = site();
    let other = site.server.bucket("other");
    site.mirror("s3://bucket", "s3://other", &[]).expect(0);
    assert_same(&site.bucket, &other);
    site.requests();
    let again = site.mirror("s3://bucket", "s3://other", &["--delete"]).expect(0).finished();
    again.counts(&[("files_copied", 0), ("files_deleted", 0), ("metadata_updated", 0)]);
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 2)]));
    site.run(&["verify", "s3://other"]).expect(0);
}

#[test]
fn between_servers_every_key_is_streamed_as_it_is() {
    let site = site();
    let elsewhere = crate::s3::S3Server::start();
    let other = elsewhere.bucket("other");
    let target = format!("s3://other/m?endpoint={}", elsewhere.endpoint());
    site.bucket.put_object(
        "m/large",
        Object::new(bytes(20 << 20))
            .with_metadata("colour", "red")
            .with_header("content-type", "application/x-large"),
    );
    let copied = site.mirror("s3://bucket/m", &target, &[]).expect(0).finished();
    copied.counts(&[("files_copied", site.bucket.keys().len() as u64)]);
    assert_same(&site.bucket, &other);
    let again = site.mirror("s3://bucket/m", &target, &["--delete"]).expect(0).finished();
    again.counts(&[("files_copied", 0)]);
    // The pointer is read before, and with head and segment of the manifest afterwards.
    again.counts(&[("requests_get", 3), ("requests_head", 1)]);
    site.run(&["verify", &target]).expect(0);
}

/// What vidimus sent in parts carries the token of that upload, which is not that of the next.
#[test]
fn between_servers_what_vidimus_sent_in_parts_is_streamed_too() {
    let tree = crate::common::TestTree::new().file("large", bytes(20 << 20));
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    let elsewhere = crate::s3::S3Server::start();
    let other = elsewhere.bucket("other");
    let target = format!("s3://other/m?endpoint={}", elsewhere.endpoint());
    site.mirror("s3://bucket/m", &target, &[]).expect(0);
    assert!(other.content("m/large") == bytes(20 << 20));
}

#[test]
fn what_was_sent_in_parts_is_sent_on_in_parts() {
    let site = Site::of(&TestTree::new().file("large", bytes(20 << 20)));
    site.up(&[]).expect(0);
    let elsewhere = crate::s3::S3Server::start();
    let other = elsewhere.bucket("other");
    let target = format!("s3://other/m?endpoint={}", elsewhere.endpoint());
    site.mirror("s3://bucket/m", &target, &[]).expect(0);
    let content = |bucket: &crate::s3::Bucket| bucket.get("m/large").expect("it is there").content;
    assert!(content(&other) == content(&site.bucket));
}

#[test]
fn between_buckets_a_lost_state_costs_no_second_copy() {
    let site = site();
    site.server.bucket("other");
    site.mirror("s3://bucket", "s3://other", &[]).expect(0);
    site.lose_state();
    site.requests();
    let adopted = site.mirror("s3://bucket", "s3://other", &["--delete"]).expect(0).finished();
    adopted.counts(&[("files_copied", 0), ("files_deleted", 0), ("metadata_updated", 0)]);
    adopted.counts(&[("files_adopted", site.bucket.keys().len() as u64)]);
    let requests = site.requests();
    for kind in [Kind::Put, Kind::Copy, Kind::Get] {
        assert!(!requests.contains_key(&kind), "{requests:?}");
    }
    site.mirror("s3://bucket", "s3://other", &["--delete"]).expect(0);
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 2)]));
}

#[test]
fn between_buckets_each_key_is_deleted_by_itself() {
    let site = site();
    let other = site.server.bucket("other");
    site.mirror("s3://bucket", "s3://other", &[]).expect(0);
    for gone in ["m/a//b", "m/both", "m/full/", "m/a/../b", "m//"] {
        site.bucket.delete(gone);
    }
    site.mirror("s3://bucket", "s3://other", &["--delete"])
        .expect(0)
        .finished()
        .counts(&[("files_deleted", 5), ("files_copied", 0)]);
    assert_same(&site.bucket, &other);
}

#[test]
fn to_a_directory_what_it_cannot_hold_is_named_and_the_rest_is_done() {
    let site = site();
    let run = site.down(&[]).expect(1).names("--exclude");
    let fetched: BTreeSet<_> =
        site.server.requests(Kind::Get).into_iter().map(|get| get.key).collect();
    let unheld = [longest(), below_a_long_name(), "both/below".into()];
    for key in unheld.iter().map(String::as_str).chain(IMPOSSIBLE) {
        assert!(!fetched.contains(format!("m/{key}").as_bytes()), "{key:?} was fetched");
    }
    let failed: Vec<_> = run
        .records()
        .into_iter()
        .filter(|record| record["event"] == "failed")
        .map(|record| record["key"].as_str().expect("a key").to_owned())
        .collect();
    for key in IMPOSSIBLE {
        assert!(failed.iter().any(|named| named == key), "{key:?} is not named in {failed:?}");
    }
    for key in &unheld {
        assert!(failed.contains(key), "{key:?} is not named in {failed:?}");
    }
    let found = Snapshot::read(&site.env.target);
    for key in possible().iter().filter(|key| *key != "both/below") {
        let content = format!("content of {key}").into_bytes();
        let seen = found.get(key).unwrap_or_else(|| panic!("{key:?} is missing"));
        assert_eq!(seen.kind, crate::common::tree::Kind::File(content), "{key:?}");
        assert_eq!(seen.mtime, (1_500_000_000, 250_000_000), "{key:?}");
    }
    assert!(found.get("both").is_none() && found.get("both/below").is_none());
    assert!(found.get("empty").is_some());
    assert!(!site.env.root.join("x").exists() && !site.env.root.join("etc").exists());

    // A second run does nothing, and names the same. With --delete nothing goes that it named.
    site.env.age();
    site.down(&[]).expect(1);
    site.requests();
    for flags in [&[][..], &["--delete"]] {
        let again = site.down(flags).expect(1);
        again.finished().counts(&[("files_copied", 0), ("files_deleted", 0)]);
        again.finished().counts(&[("files_failed", failed.len() as u64)]);
        assert!(!site.requests().contains_key(&Kind::Get), "nothing is fetched in vain");
    }
    assert_eq!(Snapshot::read(&site.env.target), found);
}

#[test]
fn a_key_that_no_directory_can_hold_protects_nothing_else_from_deletion() {
    let site = Site::new();
    for key in ["m/keep", "m/d/keep", "m/a//b"] {
        site.bucket.put(key, key);
    }
    TestTree::new()
        .file("extra", "x")
        .file("d/extra", "x")
        .file("a/extra", "x")
        .write(&site.env.target);
    site.env.age();
    let flags = ["--delete", "--max-delete", "100%"];
    // It may be what one of them is called now: all of them wait.
    let waits = site.down(&flags).expect(1).names("a//b").finished();
    waits.counts(&[("files_deleted", 0), ("file_deletions_waiting", 3)]);
    site.down(&[&flags[..], &["--delete-despite-errors"]].concat()).expect(1).names("a//b");
    let found = Snapshot::read(&site.env.target);
    assert!(found.get("extra").is_none() && found.get("d/extra").is_none());
    assert!(found.get("keep").is_some() && found.get("d/keep").is_some());
}

#[test]
fn in_a_target_bucket_what_no_directory_can_hold_is_left_alone() {
    let site = Site::of(&TestTree::new().file("a/b", "x").file("f", "y").file("g", "z"));
    let strange = ["m/a//b", "m//x", "m/./y", "m/../z", "m/only//strange"];
    for key in strange {
        site.bucket.put(key, key);
    }
    site.bucket.put("m/a/surplus", "surplus");
    site.bucket.put("m/surplus", "surplus");
    let run = site.up(&["--delete", "--max-delete", "100%"]).expect(0).names("left out");
    run.finished().counts(&[("files_copied", 3), ("files_deleted", 2)]);
    for key in strange {
        assert_eq!(site.bucket.content(key), key);
    }
    site.requests();
    let again = site.up(&["--delete"]).expect(0).finished();
    again.counts(&[("files_copied", 0), ("deletions_planned", 0), ("directories_deleted", 0)]);
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]));
}

#[test]
fn what_lies_beside_the_prefix_is_not_touched() {
    let site = Site::of(&TestTree::new().file("f", "f"));
    let beside = ["m", "m-x", "m.x", "mm/f", "l/m/f", "m0"];
    for key in beside {
        site.bucket.put(key, key);
    }
    site.bucket.put("m/gone", "x");
    site.up(&["--delete", "--max-delete", "100%"]).expect(0);
    for key in beside {
        assert_eq!(site.bucket.content(key), key);
    }
    let keys = site.bucket.keys();
    let inside: Vec<_> = keys.iter().filter(|key| key.starts_with("m/")).collect();
    assert_eq!(inside.iter().filter(|key| !key.contains(".vidimus")).count(), 2, "{inside:?}");
    site.down(&[]).expect(0);
    assert_eq!(
        std::fs::read_dir(&site.env.target).expect("list").count(),
        1 + usize::from(site.env.target.join(".vidimus").exists())
    );
}

#[test]
fn rules_exclude_keys_that_no_directory_can_hold() {
    let site = Site::new();
    for key in ["m/a//b", "m/a/./c", "m/b//c", "m/ok"] {
        site.bucket.put(key, key);
    }
    site.down(&["--exclude", "/a/"]).expect(1).names("b//c").is_silent_about("a//b");
    site.down(&["--exclude", "/a/", "--exclude", "/b/"]).expect(0).is_silent_about("left out");
    assert!(site.env.target.join("ok").exists());
}
