//! `diff` of places of which one at least is a bucket's.

use crate::common::TestTree;
use crate::common::environment::text;
use crate::s3::{Fault, Kind, On};
use crate::site::Site;
use std::fs;

/// 12 files, a symbolic link, an empty directory and one that is not.
fn tree() -> TestTree {
    let tree = TestTree::new().symlink("l", "d").dir("empty").file("d/f", "in d");
    (0..11).fold(tree, |tree, number| tree.file(format!("f{number:02}"), number.to_string()))
}

fn mirrored() -> Site {
    let site = Site::of(&tree());
    site.up(&[]).expect(0);
    site
}

#[test]
fn a_bucket_and_a_directory_are_compared_by_digest_at_the_cost_of_a_listing() {
    let site = mirrored();
    site.mirror(text(&site.env.source), text(&site.env.target), &[]).expect(0);
    site.server.forget();
    let target = text(&site.env.target);
    let run = site.run(&["diff", "--json", "s3://bucket/m", target]).expect(0);
    run.finished().counts(&[("differences", 0), ("files_by_digest", 12), ("entries", 16)]);
    // The one that is looked at is the manifest's segment.
    assert_eq!((site.server.count(Kind::List), site.server.count(Kind::Head)), (1, 1));
    site.server.forget();
    let run = site.run(&["diff", "--json", "--recorded", "s3://bucket/m", target]).expect(0);
    run.finished().counts(&[("differences", 0), ("files_by_digest", 12), ("entries", 16)]);
    // The pointer, the head and the segment with what is asked of it; nothing is listed.
    assert_eq!(site.server.count(Kind::List), 0);
    fs::write(site.env.source.join("f07"), "8").expect("write");
    site.mirror(text(&site.env.source), target, &[]).expect(0);
    let run = site.run(&["diff", "--no-metadata", target, "s3://bucket/m"]).expect(3);
    run.names("content    f07  (").names("(0 of 16 entries), 1 difference");
}

#[test]
fn what_others_did_to_a_bucket_is_found_by_its_listing() {
    let site = mirrored();
    let source = text(&site.env.source);
    site.bucket.put("m/f03", "7");
    site.bucket.delete("m/f04");
    site.bucket.put("m/g", "new");
    let compare =
        |flags: &[&str]| site.run(&[&["diff"], flags, &[source, "s3://bucket/m"]].concat());
    let run = compare(&[]).expect(3);
    run.names("only in A  f04\n").names("only in B  g\n").names("2 differences");
    compare(&["--content"]).expect(3).names("content    f03  (").names("3 differences");
    let run = site.run(&["diff", "--recorded", "s3://bucket/m", "s3://bucket/m"]).expect(0);
    run.names("neither place was looked at");
}

#[test]
fn a_bucket_without_a_manifest_is_read_for_its_content() {
    let site = mirrored();
    site.lose_manifest();
    site.server.forget();
    let source = text(&site.env.source);
    let run = site.run(&["diff", "--json", "--content", source, "s3://bucket/m"]).expect(0);
    // The link's text too: an object's content tells what it is.
    run.finished().counts(&[("files_by_digest", 13), ("files_by_size", 0), ("files_read", 13)]);
    // Two are for a manifest's pointer, which isn't there; that no head is left of one is listed.
    assert_eq!((site.server.count(Kind::List), site.server.count(Kind::Get)), (2, 15));
}

#[test]
fn a_bucket_without_a_manifest_is_listed_and_compared_by_size() {
    let site = mirrored();
    site.lose_manifest();
    site.server.forget();
    let source = text(&site.env.source);
    let run = site.run(&["diff", "--json", source, "s3://bucket/m"]).expect(0);
    // Links too: a listing doesn't tell them from files.
    run.finished().counts(&[("files_by_size", 13), ("files_by_digest", 0), ("entries", 16)]);
    assert_eq!((site.server.count(Kind::Head), site.server.count(Kind::List)), (0, 2));
    site.bucket.put("m/f03", "another size");
    site.bucket.put("m/g/new", "");
    site.bucket.delete("m/empty/");
    let run = site.run(&["diff", "s3://bucket/m", source]).expect(3);
    let lines: Vec<_> = run.stdout.lines().take(4).collect();
    let expected =
        ["only in B  empty/", "content    f03  (12 B -> 1 B)", "only in A  g/", "only in A  g/new"];
    assert_eq!(lines, expected);
}

#[test]
fn between_buckets_each_key_stands_for_itself() {
    let site = Site::new();
    for (bucket, keys) in [("bucket", ["a", "a//b", "a/c"]), ("other", ["a", "a/", "a/c"])] {
        for key in keys {
            site.server.bucket(bucket).put(key, if key == "a/" { "" } else { "1" });
        }
    }
    let run = site.run(&["diff", "s3://bucket", "s3://other"]).expect(3);
    let lines: Vec<_> = run.stdout.lines().take(2).collect();
    assert_eq!(lines, ["only in B  a/", "only in A  a//b"]);
    // By the manifest of a mirror between the two it is the same; its directories are none.
    site.mirror("s3://bucket", "s3://other", &["--delete"]).expect(0);
    let run = site.run(&["diff", "--json", "s3://bucket", "s3://other"]).expect(0);
    run.finished().counts(&[("differences", 0), ("entries", 3)]);
}

#[test]
fn a_mirror_of_a_bucket_has_directories_that_the_bucket_has_not() {
    let site = Site::new();
    for key in ["d/e/f", "g"] {
        site.bucket.put(&format!("m/{key}"), "1");
    }
    site.server.bucket("other");
    site.mirror("s3://bucket/m", "s3://other/m", &[]).expect(0);
    site.down(&[]).expect(0);
    let target = text(&site.env.target);
    site.run(&["diff", "s3://other/m", target]).expect(0);
    site.run(&["diff", target, "s3://other/m"]).expect(0);
}

#[test]
fn a_listing_that_breaks_off_is_an_error_and_no_difference() {
    let site = mirrored();
    site.lose_manifest();
    for number in 0..1500 {
        site.bucket.put(&format!("m/many/{number:04}"), "");
    }
    let source = text(&site.env.source);
    site.server.fail(On::every(Kind::List).page(2), Fault::Error(403, "AccessDenied"));
    let run = site.run(&["diff", "--no-metadata", source, "s3://bucket/m"]);
    run.expect(1).names("error: cannot list \".\" in B").names("incomplete: ");
    site.server.heal();
    site.server.fail(On::every(Kind::List), Fault::Error(403, "AccessDenied"));
    site.run(&["diff", source, "s3://bucket/m"]).expect(7).names("AccessDenied");
}

#[test]
fn a_prefix_that_nothing_begins_with_is_named() {
    let site = mirrored();
    let source = text(&site.env.source);
    let run = site.run(&["diff", source, "s3://bucket/nowhere"]).expect(7);
    run.names("there is nothing at \"s3://bucket/nowhere");
}
