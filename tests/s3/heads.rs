//! What is told, and done, where parts of the manifest are gone from a bucket that no segment tells of:
//! its pointer, a head; and where a killed run left its lock.

use crate::common::{Run, TestTree};
use crate::s3::{Fault, Kind, Object, On};
use crate::site::Site;
use std::fs;

const POINTER: &str = "m/.vidimus/manifest/latest.json";
const HEAD: &str = "m/.vidimus/manifest/00000002.json";

/// A mirror that was published twice, with these flags.
fn published_twice(flags: &[&str]) -> Site {
    let tree = (0..20).fold(TestTree::new(), |tree, at| tree.file(format!("f{at:02}"), "content"));
    let site = Site::of(&tree);
    site.run(&["keygen", "--no-password", "-s", "ada.key"]).expect(0);
    site.up(flags).expect(0);
    fs::write(site.env.source.join("f07"), "changed").expect("write");
    site.env.age();
    site.up(flags).expect(0);
    assert!(site.bucket.get(HEAD).is_some());
    site
}

/// As on another machine.
fn lose_state(site: &Site) {
    fs::remove_dir_all(&site.env.state).expect("remove the state");
}

#[test]
fn a_lost_pointer_or_head_is_told_and_no_digest_is_lost_with_it() {
    for (gone, content, told, gone_by) in [
        (POINTER, None, "latest.json: it is missing, though publication 2 exists", 2),
        (POINTER, Some("{}"), "latest.json: ", 2),
        (HEAD, None, "00000002.json: it is missing", 1),
        (HEAD, Some("{}"), "00000002.json: ", 1),
    ] {
        let site = published_twice(&[]);
        lose_state(&site);
        match content {
            Some(content) => drop(site.bucket.put(gone, content)),
            None => site.bucket.delete(gone),
        }
        // What verify reads is held against the digests all the same; what changed after a publication
        // that is used may be as the lost one above it says.
        let changed = if gone_by == 2 { "corrupt" } else { "unknown" };
        let by = format!("publication {gone_by}, the latest complete one, is used");
        site.bucket.put("m/f03", "CONTENT");
        site.verify(&[]).expect(4).names(told).names(&by).names("f03").names(changed);
        site.bucket.put("m/f03", "content");
        site.run(&["manifest", "log", "s3://bucket/m"]).expect(4).names(told);
        site.up(&["--dry-run"]).expect(0).names(told);
        let run = site.up(&["-q"]).expect(0).names(told).names(&by).finished();
        // One that the lost one told of is compared.
        let adopted = u64::from(gone_by == 1);
        run.counts(&[("files_adopted", adopted), ("adopted_without_digest", 0)]);
        assert!(site.bucket.get("m/.vidimus/manifest/00000003.json").is_some(), "numbers go on");
        site.run(&["manifest", "check", "s3://bucket/m"]).expect(0);
        site.verify(&[]).expect(0);
    }
}

#[test]
fn a_restore_goes_by_the_highest_publication_where_its_pointer_is_lost() {
    let site = published_twice(&[]);
    lose_state(&site);
    site.bucket.delete(POINTER);
    site.server.fail(On::every(Kind::Get).key("m/f07"), Fault::FlippedBit);
    let told = "publication 2, the latest complete one, is used";
    site.down(&[]).expect(1).names("f07").names(told);
    site.server.heal();
    site.down(&[]).expect(0);
    crate::common::assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn a_signature_that_is_demanded_vouches_for_nothing_without_a_pointer() {
    let site = published_twice(&["--sign", "ada.key"]);
    site.bucket.delete(POINTER);
    let missing = "latest.json: it is missing, though publication 2 exists";
    site.verify(&["--key", "ada.pub"]).expect(4).names(missing);
    let run = site.up(&[]).expect(0).names(missing);
    run.names("the manifest was signed, and no longer is: publication 3 has no signature");
}

#[test]
fn a_killed_run_is_named_by_the_lock_that_it_left() {
    let site = published_twice(&["--sign", "ada.key"]);
    lose_state(&site);
    let left = r#"{"run":"dead","pid":7,"host":"h","started":"2026-11-21T03:38:00Z"}"#;
    let left = Object::new(left).with_modified(1_400_000_000);
    site.bucket.put_object("m/.vidimus/lock", left);
    let named = "run dead, whose lock is still there, was killed";
    for flags in [&[][..], &["--key", "ada.pub"]] {
        site.verify(flags).expect(3).names(named);
        site.verify(&[flags, &["--allow-incomplete"]].concat()).expect(0).names(named);
    }
    site.up(&["--sign", "ada.key"]).expect(0);
    site.verify(&["--key", "ada.pub"]).expect(0).is_silent_about("run dead");
}

fn put(site: &Site, location: &str) -> Run {
    fs::write(site.env.root.join("input"), "streamed").expect("write");
    let mut command = site.env.command(&["put", "-", location]);
    command.envs(site.server.environment());
    command.stdin(fs::File::open(site.env.root.join("input")).expect("open"));
    Run::of(command)
}

#[test]
fn one_object_needs_no_right_to_list_and_a_manifest_without_a_pointer_says_which_is_missing() {
    let site = published_twice(&[]);
    lose_state(&site);
    site.bucket.delete(POINTER);
    site.server.fail(On::every(Kind::List), Fault::Error(403, "AccessDenied"));
    site.run(&["cat", "s3://bucket/m/f07"]).expect(0).names("changed");
    site.mirror("s3://bucket/m/f07", "single", &[]).expect(0);
    assert_eq!(fs::read(site.env.root.join("single/f07")).expect("read"), b"changed");
    site.run(&["manifest", "log", "s3://bucket/m"]).expect(7).names("s3:ListBucket");
}

#[test]
fn a_bucket_that_lacks_all_of_its_manifest_may_be_another() {
    let site = published_twice(&[]);
    site.lose_manifest();
    let lacks = "the target lacks the manifest that was published in it";
    site.verify(&[])
        .expect(4)
        .names(lacks)
        .names("check that bucket and prefix are the right ones");
    site.up(&[]).expect(0).names(lacks).is_silent_about("is damaged");
}

/// A put finds out whether there is a manifest to publish anew, and so does a run twice: one request
/// each time tells that no heads are left of one whose pointer is lost.
#[test]
fn that_nothing_was_ever_published_is_asked_once_a_run() {
    let site = Site::of(&TestTree::new().file("f", "content"));
    let lists_heads = || {
        let log = site.server.log();
        let prefix =
            |(name, value): &(String, String)| name == "prefix" && value == "m/.vidimus/manifest/";
        let count = log.iter().filter(|request| request.query.iter().any(prefix)).count();
        site.server.forget();
        count
    };
    site.up(&["--dry-run"]).expect(0);
    assert_eq!(lists_heads(), 1);
    put(&site, "s3://bucket/m/stream").expect(0);
    assert_eq!(lists_heads(), 1);
    site.verify(&[]).expect(0);
    assert_eq!(lists_heads(), 1);
    site.up(&[]).expect(0);
    assert_eq!(lists_heads(), 1);
    // From now on there is a pointer.
    for arguments in [&["verify", "s3://bucket/m"][..], &["ls", "s3://bucket/m"]] {
        site.run(arguments).expect(0);
    }
    site.up(&[]).expect(0);
    assert_eq!(lists_heads(), 0);
}
