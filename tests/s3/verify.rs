//! `verify` of a bucket against what was recorded.

use crate::common::content::bytes;
use crate::common::tree::set_mtime_of;
use crate::common::{Snapshot, TestTree};
use crate::s3::{Fault, Kind, On};
use crate::site::{Site, everything};

fn mirrored() -> Site {
    let tree = TestTree::new()
        .file("a", "content")
        .file("d/b", "below")
        .file("d/large", bytes(20 << 20))
        .dir("empty")
        .symlink("l", "a");
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    site.requests();
    site
}

#[test]
fn a_clean_bucket_is_proven_and_not_touched() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    let before = site.bucket.objects();
    site.requests();
    site.verify(&[]).expect(0);
    site.verify(&["--strict"]).expect(0);
    assert_eq!(site.bucket.objects(), before);
    let requests = site.requests();
    assert!(requests.keys().all(|kind| [Kind::List, Kind::Get].contains(kind)), "{requests:?}");
}

#[test]
fn a_replaced_object_is_corrupt() {
    let site = mirrored();
    site.bucket.put("m/a", "CONTENT");
    site.verify(&[]).expect(3).names("corrupt").names("a").is_silent_about("large");
    site.bucket.put("m/a", "longer content");
    site.verify(&[]).expect(3).names("corrupt");
    site.up(&[]).expect(0);
    site.verify(&[]).expect(0);
}

#[test]
fn an_object_of_the_same_content_is_not_corrupt() {
    let site = mirrored();
    // Without the metadata, which a listing doesn't tell.
    site.bucket.put("m/a", "content");
    site.verify(&[]).expect(0);
}

/// The store's own tag stays as it was: only reading shows it.
#[test]
fn content_that_rotted_under_its_tag_is_corrupt() {
    let site = mirrored();
    for key in ["m/a", "m/d/large"] {
        let mut object = site.bucket.get(key).expect("it is there");
        let mut content = object.content.to_vec();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        object.content = content.into();
        site.bucket.put_object(key, object);
    }
    site.verify(&[]).expect(3).names("d/large").names("2 files").is_silent_about("d/b");
}

#[test]
fn what_is_missing_is_named() {
    let site = mirrored();
    site.bucket.delete("m/d/b");
    site.bucket.delete("m/l");
    site.bucket.delete("m/empty/");
    let run = site.verify(&[]).expect(3).names("missing");
    run.names("d/b").names("l").names("empty");
}

#[test]
fn extras_count_with_strict_or_after_a_run_that_deleted() {
    let site = mirrored();
    site.bucket.put("m/extra", "x");
    site.bucket.put("m/new/extra", "x");
    site.verify(&[]).expect(0);
    site.verify(&["--strict"]).expect(3).names("extra");
    site.up(&["--delete"]).expect(0);
    site.verify(&[]).expect(0);
    site.bucket.put("m/extra", "x");
    site.verify(&[]).expect(3).names("extra");
}

#[test]
fn a_replaced_link_and_marker_are_named() {
    let site = mirrored();
    site.bucket.put("m/l", "elsewhere");
    site.bucket.put("m/empty/", "");
    site.verify(&[]).expect(3).names("l");
}

#[test]
fn a_bucket_that_was_never_mirrored_to_has_nothing_to_verify() {
    let site = Site::new();
    site.bucket.put("m/f", "f");
    site.verify(&[]).expect(4).names("help");
}

#[test]
fn a_listing_that_fails_is_no_proof() {
    let site = mirrored();
    site.server.settings(|settings| settings.page = 2);
    site.server.fail(On::every(Kind::List).page(2), Fault::Error(403, "AccessDenied"));
    site.verify(&[]).expect(1).names("denied");
}

#[test]
fn quick_lists_and_names_objects_that_were_replaced() {
    let site = mirrored();
    site.verify(&["--quick"]).expect(0);
    let requests = site.requests();
    assert!(!requests.contains_key(&Kind::Get), "{requests:?}");
    site.bucket.put("m/a", "CONTENT");
    site.verify(&["--quick"]).expect(3).names("touched a: tag").is_silent_about("corrupt");
}

/// Changes a byte, and nothing that the store tells.
fn rot(bucket: &crate::s3::Bucket, key: &str) {
    let mut object = bucket.get(key).expect("it is there");
    let mut content = object.content.to_vec();
    content[3] ^= 1;
    object.content = content.into();
    bucket.put_object(key, object);
}

#[test]
fn files_are_mended_from_a_bucket() {
    let site = mirrored();
    let (source, target) = (&site.env.source, &site.env.target);
    site.env.mirrored(&[]);
    for name in ["a", "d/large"] {
        let mut content = std::fs::read(target.join(name)).unwrap();
        content[3] ^= 1;
        std::fs::write(target.join(name), content).unwrap();
    }
    let (seconds, nanos) = Snapshot::read(target).get("d").unwrap().mtime;
    std::fs::remove_file(target.join("d/b")).unwrap();
    set_mtime_of(&target.join("d"), seconds, nanos);
    // A bit that flips on the way is no other content.
    let flips = On::nth(Kind::Get, 1).key("m/a");
    let flipped = site.server.fail(flips, Fault::FlippedBit);
    let verify = |flags: &[&str]| {
        let target = target.to_str().expect("test paths are UTF-8");
        site.run(&[&["verify", target], flags].concat())
    };
    verify(&["--repair-from", "s3://bucket/m"]).expect(0).names("mended    3 entries");
    assert_eq!(flipped.struck(), 1);
    crate::common::assert_mirrored(source, target);
    verify(&[]).expect(0);
    site.env.mirrored(&[]).counts(&[("files_copied", 0), ("files_unchanged", 4)]);
    // What the bucket has of it is another.
    std::fs::write(target.join("a"), "CONTENT").unwrap();
    rot(&site.bucket, "m/a");
    verify(&["--repair-from", "s3://bucket/m"]).expect(3).names("cannot repair \"a\"");
    assert_eq!(std::fs::read(target.join("a")).unwrap(), b"CONTENT");
    verify(&["--repair-from", "s3://bucket/nowhere"]).expect(7).names("nothing at the source");
    verify(&["--repair-from", "s3://bucket/m/a"]).expect(7).names("it is a file");
    verify(&["--repair-from", "s3://gone/m"]).expect(7).names("no such bucket");
}

#[test]
fn objects_are_mended_from_a_bucket() {
    let site = mirrored();
    let other = site.server.bucket("other");
    site.bucket.put("m/a//b", "no path");
    site.mirror("s3://bucket/m", "s3://other/q", &[]).expect(0);
    let large = other.get("q/d/large").expect("it is there").content;
    for key in ["q/a", "q/d/large"] {
        rot(&other, key);
    }
    for key in ["q/d/b", "q/a//b", "q/empty/"] {
        other.delete(key);
    }
    let verify = |flags: &[&str]| site.run(&[&["verify", "s3://other/q"], flags].concat());
    // What a store copied has no digest unless one was recorded when it was written.
    verify(&[]).expect(3).names("missing a//b").names("corrupt d/large");
    let run = verify(&["--repair-from", "s3://bucket/m"]);
    run.names("mended a\n").names("mended d/large").names("mended d/b").names("mended empty/");
    assert_eq!(other.get("q/d/large").expect("it is there").content, large);
    let key = other.get("q/a").expect("it is there");
    assert_eq!(key.content, site.bucket.get("m/a").expect("it is there").content);
    verify(&[]).names("missing a//b").is_silent_about("corrupt").is_silent_about("missing d");
    site.mirror("s3://bucket/m", "s3://other/q", &[]).expect(0);
    verify(&[]).expect(0);
}

/// What somebody else keeps in a bucket has no metadata of ours: the recorded one is kept with it.
#[test]
fn objects_are_mended_from_a_bucket_of_somebody_else_with_the_recorded_metadata() {
    let site = mirrored();
    let other = site.server.bucket("other");
    let was = site.bucket.get("m/a").expect("it is there");
    for key in ["a", "d/b", "d/large"] {
        let content = site.bucket.get(&format!("m/{key}")).expect("it is there").content;
        other.put(&format!("q/{key}"), content);
    }
    rot(&site.bucket, "m/a");
    rot(&site.bucket, "m/d/large");
    site.verify(&["--repair-from", "s3://other/q"]).expect(0).names("mended    2 entries");
    let is = site.bucket.get("m/a").expect("it is there");
    assert_eq!((is.content, is.metadata), (was.content, was.metadata));
    site.verify(&[]).expect(0);
    site.down(&[]).expect(0);
    crate::common::assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn objects_are_mended_from_a_directory() {
    let site = mirrored();
    for key in ["m/a", "m/d/large"] {
        rot(&site.bucket, key);
    }
    site.bucket.delete("m/d/b");
    let source = site.env.source.to_str().expect("test paths are UTF-8").to_owned();
    site.verify(&["--repair-from", &source]).expect(0).names("mended    3 entries");
    site.verify(&[]).expect(0);
    site.requests();
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("files_unchanged", 4)]);
    assert!(!site.requests().contains_key(&Kind::Head));
}

#[test]
fn links_and_markers_are_mended() {
    let site = mirrored();
    let good = ["m/l", "m/empty/", "m/d/"].map(|key| site.bucket.get(key).expect("it is there"));
    site.bucket.delete("m/l");
    site.bucket.delete("m/empty/");
    site.bucket.delete("m/d/");
    let source = site.env.source.to_str().expect("test paths are UTF-8").to_owned();
    let run = site.verify(&["--repair-from", &source]).expect(0);
    run.names("mended l").names("mended d/").names("mended empty/").names("mended    3 entries");
    for (key, was) in ["m/l", "m/empty/", "m/d/"].into_iter().zip(good) {
        let is = site.bucket.get(key).expect("it is there");
        assert_eq!((is.content, is.metadata), (was.content, was.metadata), "{key}");
    }
    site.verify(&[]).expect(0);
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("metadata_updated", 0)]);
}

#[test]
fn it_sends_no_more_requests_than_it_may() {
    let site = mirrored();
    let begun = std::time::Instant::now();
    // A listing, two small files, and one in two ranges.
    site.verify(&["--max-requests", "2/s"]).expect(0);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1500), "{:?}", begun.elapsed());
}
