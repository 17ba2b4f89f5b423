//! A run that finds nothing to do asks for the pages of both listings and nothing else.

use crate::common::TestTree;
use crate::common::environment::text;
use crate::s3::{Kind, Object};
use crate::site::{Site, objects_of, pages};
use std::collections::BTreeMap;

/// 40 directories of 70 files, and links: more than two pages of keys, markers counted.
fn many() -> TestTree {
    let mut tree = TestTree::new();
    for directory in 0..40 {
        for file in 0..70 {
            tree = tree.file(format!("d{directory:02}/f{file:03}"), format!("{directory} {file}"));
        }
        tree = tree.symlink(format!("d{directory:02}/link"), "f000").dir(format!("e{directory}"));
    }
    tree
}

#[test]
fn from_a_directory_it_lists_the_bucket_and_does_nothing_else() {
    let site = Site::of(&many());
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 2_840)]);
    let written = site.bucket.keys().len();
    assert!(written > 2_900, "{written} keys");
    site.requests();
    for flags in [&[][..], &["--delete"], &["--dry-run"]] {
        let again = site.up(flags).expect(0).finished();
        again.counts(&[("files_unchanged", 2_840), ("files_copied", 0), ("metadata_updated", 0)]);
        assert_eq!(site.requests(), BTreeMap::from([(Kind::List, site.pages())]), "{flags:?}");
    }
}

#[test]
fn to_a_directory_it_lists_the_bucket_and_does_nothing_else() {
    let site = Site::of(&many());
    site.up(&[]).expect(0);
    site.lose_state();
    site.down(&[]).expect(0).finished().counts(&[("files_copied", 2_840)]);
    site.env.age();
    // What was written within a clock tick of its recording is looked at once more, on the disk.
    site.down(&[]).expect(0);
    site.requests();
    for flags in [&[][..], &["--delete"], &["--dry-run"]] {
        let again = site.down(flags).expect(0).finished();
        again.counts(&[("files_unchanged", 2_840), ("files_copied", 0), ("metadata_updated", 0)]);
        assert_eq!(site.requests(), BTreeMap::from([(Kind::List, site.pages())]), "{flags:?}");
    }
}

#[test]
fn between_buckets_it_lists_both_and_does_nothing_else() {
    let site = Site::of(&many());
    site.up(&[]).expect(0);
    for number in 0..2_000 {
        let object = Object::new(format!("{number}")).with_metadata("a", "b");
        site.bucket.put_object(&format!("m/others/{number}"), object);
    }
    let other = site.server.bucket("other");
    site.requests();
    let copied = site.mirror("s3://bucket/m", "s3://other/m", &[]).expect(0).finished();
    let keys = objects_of(&site.bucket).len();
    assert_eq!(objects_of(&other).len(), keys);
    let requests = site.requests();
    // One COPY an object, no HEAD; the target was empty, and had one page. And what tries whether the
    // store keeps markers.
    let lists = site.pages() + 2;
    let expected = [(Kind::List, lists), (Kind::Put, 1), (Kind::Copy, keys), (Kind::Delete, 1)];
    assert_eq!(requests, BTreeMap::from(expected));
    // One more tells that there are no heads whose pointer is lost.
    let told = lists as u64 + 1;
    copied.counts(&[("requests_copy", keys as u64), ("requests_list", told)]);
    let lists = site.pages() + pages(&other);
    for flags in [&[][..], &["--delete"], &["--dry-run"]] {
        let again = site.mirror("s3://bucket/m", "s3://other/m", flags).expect(0).finished();
        again.counts(&[("files_copied", 0), ("metadata_updated", 0)]);
        // Of the manifest, the pointer is read before and after, the head is read and the segment is
        // looked at.
        again.counts(&[("requests_list", lists as u64), ("requests_get", 3), ("requests_head", 1)]);
        assert_eq!(site.requests(), BTreeMap::from([(Kind::List, lists)]), "{flags:?}");
    }
}

#[test]
fn requests_of_a_first_upload_are_one_an_entry() {
    let site = Site::of(&many());
    let uploaded = site.up(&[]).expect(0).finished();
    let (keys, all) = (objects_of(&site.bucket).len(), site.bucket.keys().len());
    // And what tries whether the store keeps markers.
    let expected = [(Kind::List, 1 + 1), (Kind::Put, keys + 1), (Kind::Delete, 1)];
    assert_eq!(site.requests(), BTreeMap::from(expected));
    uploaded.counts(&[
        ("requests_put", all as u64 + 1),
        ("requests_get", 2),
        // And one that tells that there are no heads whose pointer is lost.
        ("requests_list", 1 + 1 + 1),
        ("requests_head", 1),
    ]);
}

#[test]
fn requests_of_a_first_download_are_one_an_entry() {
    let site = Site::of(&many());
    site.up(&[]).expect(0);
    site.lose_state();
    site.requests();
    site.down(&[]).expect(0);
    // A GET a file or link; a HEAD a directory, whose marker has no content.
    let expected = [(Kind::List, site.pages()), (Kind::Get, 2_840), (Kind::Head, 81)];
    assert_eq!(site.requests(), BTreeMap::from(expected));
}

#[test]
fn a_rerun_of_one_object_lists_its_key() {
    let site = Site::new();
    site.bucket.put("k/x", "content");
    let target = text(&site.env.target);
    site.mirror("s3://bucket/k/x", target, &[]).expect(0);
    site.env.age();
    site.mirror("s3://bucket/k/x", target, &[]).expect(0);
    site.requests();
    site.mirror("s3://bucket/k/x", target, &[]).expect(0);
    let requests = site.requests();
    assert!(!requests.contains_key(&Kind::Get), "{requests:?}");
    assert!(requests[&Kind::List] <= 2, "{requests:?}");
}

#[test]
fn a_dry_run_writes_nothing_and_tells_what_a_run_would_do() {
    let site = Site::of(&TestTree::new().file("d/f", "content").symlink("l", "d/f"));
    let told = site.up(&["--dry-run"]).expect(0);
    let changed = |key: &str| {
        let records = told.records();
        records.iter().any(|record| record["event"] == "changed" && record["key"] == key)
    };
    assert!(changed("d/f") && changed("l") && changed("d/"), "{}", told.told());
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]));
    assert!(site.bucket.keys().is_empty());
    site.up(&[]).expect(0);
    site.requests();
    let told = site.down(&["--dry-run"]).expect(0);
    assert!(told.stdout.contains("\"d/f\""), "{}", told.told());
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]));
    assert!(!site.env.target.exists());
}
