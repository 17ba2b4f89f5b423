//! Signatures of the manifest that a mirror publishes in a bucket.

use crate::common::TestTree;
use crate::s3::{Fault, Kind, On};
use crate::site::Site;
use std::fs;

const SIGNATURE: &str = "m/.vidimus/manifest/00000002.json.minisig";

/// A mirror that is signed with `ada.key`, and then a change.
fn signed() -> Site {
    let tree = (0..60).fold(TestTree::new(), |tree, number| {
        tree.file(format!("f{number:02}"), number.to_string())
    });
    let site = Site::of(&tree);
    site.run(&["keygen", "--no-password", "-s", "ada.key"]).expect(0);
    site.up(&["--sign", "ada.key"]).expect(0);
    site.env.age();
    fs::write(site.env.source.join("f07"), "changed").expect("write");
    site
}

fn check(site: &Site, code: i32) -> crate::common::Run {
    site.run(&["manifest", "check", "--key", "ada.pub", "s3://bucket/m"]).expect(code)
}

#[test]
fn a_signature_costs_one_request() {
    let site = signed();
    let run = site.up(&["--sign", "ada.key"]).expect(0).finished();
    // The object and four of the manifest; what stands is what is known, and its segment is read.
    run.counts(&[("requests_put", 1 + 4), ("requests_get", 4), ("requests_head", 2)]);
    check(&site, 0).names("2 publications, 61 rows: all is whole, and the signature is valid");
    site.verify(&["--key", "ada.pub"]).expect(0).names("signed    by key");
    fs::remove_dir_all(&site.env.state).expect("remove the state");
    site.verify(&["--key", "ada.pub"]).expect(0);
    // Nothing changed: that what stands is signed takes two more, and one LIST tells of both segments.
    site.env.age();
    site.up(&["--sign", "ada.key"]).expect(0).names("taken over");
    let run = site.up(&["--sign", "ada.key"]).expect(0).finished();
    run.counts(&[("requests_put", 0), ("requests_get", 5), ("requests_head", 0)]);
    run.counts(&[("requests_list", 2)]);
}

#[test]
fn what_can_not_be_signed_does_not_count() {
    let site = signed();
    site.server.fail(On::every(Kind::Put).key(SIGNATURE), Fault::Error(403, "AccessDenied"));
    let run = site.up(&["--sign", "ada.key"]).expect(7);
    run.names("manifest could not be published").names("00000002.json.minisig");
    check(&site, 0).names("publication 1,");
    site.server.heal();
    site.env.age();
    site.up(&["--sign", "ada.key"]).expect(0).finished().counts(&[("files_copied", 0)]);
    check(&site, 0).names("publication 2,");
}

#[test]
fn a_signature_that_was_changed_or_removed_is_found() {
    let site = signed();
    site.up(&["--sign", "ada.key"]).expect(0);
    let whole = site.bucket.get(SIGNATURE).expect("a signature").content;
    let text = String::from_utf8(whole.to_vec()).expect("UTF-8");
    site.bucket.put(SIGNATURE, text.replace("manifest 2 of", "manifest 3 of"));
    check(&site, 4).names("is not valid");
    site.bucket.delete(SIGNATURE);
    check(&site, 4).names("is not signed");
    site.verify(&["--key", "ada.pub"]).expect(4).names("is not signed");
    // It is signed where it stands, under the lock.
    let sign = ["manifest", "sign", "--key", "ada.key", "s3://bucket/m"];
    site.run(&sign).expect(0).names("publication 2 of s3://bucket/m/: signed with key");
    check(&site, 0);
    assert!(site.bucket.get("m/.vidimus/lock").is_none());
    site.run(&sign).expect(0).names("was signed already");
}
