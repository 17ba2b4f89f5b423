//! Digests beside BLAKE3 of what comes from a store or goes to one.

use crate::common::TestTree;
use crate::common::content::bytes;
use crate::common::environment::text;
use crate::needs;
use crate::s3::Kind;
use crate::site::Site;
use serde_json::Value;
use std::process::Command;

/// A file that goes in one piece, one that goes in parts and comes in ranges.
fn tree() -> TestTree {
    TestTree::new().file("small", "small").file("large", bytes(20 << 20))
}

const BOTH: [&str; 2] = ["--digest", "sha256,md5"];

/// What the manifest of a place says of the files is what coreutils say.
fn are_right(site: &Site, place: &str) {
    let export = site.run(&["manifest", "export", "--format", "json", place]).expect(0);
    for name in ["small", "large"] {
        let rows = export.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let row = rows.into_iter().find(|row: &Value| row["key"] == name).expect("a row");
        for (kind, tool) in [("sha256", "sha256sum"), ("md5", "md5sum")] {
            let output = Command::new(tool).arg(site.env.source.join(name)).output();
            let line = String::from_utf8(output.expect("coreutils").stdout).expect("ASCII");
            let found = row[kind].as_str().unwrap_or_default();
            assert!(!found.is_empty() && line.starts_with(found), "{kind} {name} {place}: {row}");
        }
    }
}

#[test]
fn digests_are_made_of_what_goes_up_and_of_what_comes_down() {
    let site = Site::of(&tree());
    site.up(&BOTH).expect(0);
    are_right(&site, "s3://bucket/m");
    site.down(&BOTH).expect(0).finished().counts(&[("files_copied", 2)]);
    are_right(&site, text(&site.env.target));
    site.env.age();
    site.down(&BOTH).expect(0);
    site.requests();
    site.down(&BOTH).expect(0).finished().counts(&[("bytes_hashed", 0)]);
    assert!(site.requests().keys().all(|kind| *kind == Kind::List), "nothing is read again");
}

#[test]
fn what_is_hashed_passes_through_this_machine() {
    let site = Site::of(&tree());
    site.up(&[]).expect(0);
    site.server.bucket("other");
    site.requests();
    let across = |flags: &[&str]| site.mirror("s3://bucket/m", "s3://other/m", flags).expect(0);
    across(&BOTH).finished().counts(&[("files_without_digest", 0)]);
    assert_eq!(site.requests().get(&Kind::Copy), None);
    are_right(&site, "s3://other/m");
}

#[test]
fn a_bag_is_made_of_what_lies_in_a_bucket() {
    needs!(crate::common::clients::bagit(".".as_ref()));
    let site = Site::of(&tree().dir("empty"));
    site.up(&[]).expect(0);
    let bag = site.env.root.join("bag");
    site.run(&["bag", "s3://bucket/m", text(&bag)]).expect(0);
    let validate = crate::common::clients::bagit(&bag).expect("the need was met");
    crate::common::Run::of(validate).expect(0);
    site.env.age();
    site.run(&["bag", "--json", "s3://bucket/m", text(&bag)]).expect(0);
    let run = site.run(&["bag", "--json", "s3://bucket/m", text(&bag)]).expect(0);
    run.finished().counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
}

/// The store copied by itself: nobody read it, and what came later is read on both sides.
#[test]
fn what_a_store_copied_by_itself_is_read_when_it_is_asked_for() {
    let site = Site::of(&tree());
    site.up(&[]).expect(0);
    site.server.bucket("other");
    let across = |flags: &[&str]| site.mirror("s3://bucket/m", "s3://other/m", flags).expect(0);
    across(&[]);
    let run = across(&BOTH);
    run.finished().counts(&[("files_copied", 0)]);
    are_right(&site, "s3://other/m");
    across(&BOTH).finished().counts(&[("bytes_hashed", 0)]);
}
