//! `verify` of a bucket against what was recorded.

use crate::common::TestTree;
use crate::s3::Kind;
use crate::site::{Site, bytes, everything};

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
    use crate::s3::{Fault, On};
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

#[test]
fn objects_are_mended_from_a_directory() {
    let site = mirrored();
    for key in ["m/a", "m/d/large"] {
        let mut object = site.bucket.get(key).expect("it is there");
        let mut content = object.content.to_vec();
        content[3] ^= 1;
        object.content = content.into();
        site.bucket.put_object(key, object);
    }
    site.bucket.delete("m/d/b");
    let source = site.env.source.to_str().expect("test paths are UTF-8").to_owned();
    site.verify(&["--repair-from", &source]).expect(0).names("mended    3 files");
    site.verify(&[]).expect(0);
    site.requests();
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("files_unchanged", 4)]);
    assert!(!site.requests().contains_key(&Kind::Head));
}
