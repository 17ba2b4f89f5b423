//! Locations: a single object, and what is not there.

use crate::common::environment::text;
use crate::common::servers::{ACCESS_KEY, SECRET_KEY};
use crate::common::{Snapshot, TestTree};
use crate::s3::{Kind, Object, S3Server};
use crate::site::Site;

#[test]
fn a_single_object_goes_into_a_directory() {
    let site = Site::new();
    let object = Object::new("content").with_metadata("mtime", "1500000000.5");
    site.bucket.put_object("k/x", object);
    for beside in ["k/x-y", "k/x.z", "k/y"] {
        site.bucket.put(beside, "beside");
    }
    let target = text(&site.env.target).to_owned();
    TestTree::new().file("stays", "stays").write(&site.env.target);
    site.mirror("s3://bucket/k/x", &target, &[])
        .expect(0)
        .finished()
        .counts(&[("files_copied", 1)]);
    let found = Snapshot::read(&site.env.target);
    let keys: Vec<_> = found.entries.keys().map(|key| String::from_utf8_lossy(key)).collect();
    assert_eq!(keys, ["", "stays", "x"]);
    assert_eq!(found.get("x").expect("it is there").mtime, (1_500_000_000, 500_000_000));
    site.mirror("s3://bucket/k/x", &target, &[])
        .expect(0)
        .finished()
        .counts(&[("files_copied", 0)]);
    site.mirror("s3://bucket/k/x", &target, &["--delete"]).expect(2).names("--delete");
}

#[test]
fn a_single_object_at_a_buckets_root_goes_into_a_directory() {
    let site = Site::new();
    site.bucket.put("x", "content");
    site.mirror("s3://bucket/x", text(&site.env.target), &[]).expect(0);
    assert_eq!(std::fs::read(site.env.target.join("x")).expect("read"), b"content");
}

#[test]
fn a_single_object_goes_into_another_bucket() {
    let site = Site::new();
    site.bucket.put_object("k/x", Object::new("content").with_header("content-type", "a/b"));
    let other = site.server.bucket("other");
    site.mirror("s3://bucket/k/x", "s3://other/deep/er", &[]).expect(0);
    let copied = other.get("deep/er/x").expect("it is there");
    assert_eq!((&copied.content[..], &*copied.headers["content-type"]), (&b"content"[..], "a/b"));
    // Whether something was published there is looked for, nothing else is read.
    assert_eq!(site.server.count(Kind::Get), 1);
}

#[test]
fn a_single_file_goes_into_a_bucket() {
    let site = Site::of(&TestTree::new().file("d/f", "content").file("d/g", "no"));
    let source = site.env.source.join("d/f");
    site.bucket.put("m/stays", "stays");
    site.mirror(text(&source), "s3://bucket/m", &[]).expect(0);
    let keys = site.bucket.keys();
    let keys: Vec<_> = keys.iter().filter(|key| !key.contains(".vidimus/")).collect();
    assert_eq!(keys, ["m/f", "m/stays"]);
    site.requests();
    site.mirror(text(&source), "s3://bucket/m", &[])
        .expect(0)
        .finished()
        .counts(&[("files_copied", 0)]);
    let requests = site.requests();
    assert!(requests.keys().all(|kind| *kind == Kind::List), "{requests:?}");
}

#[test]
fn where_a_key_is_a_prefix_too_the_prefix_is_meant() {
    let site = Site::new();
    site.bucket.put("k", "object");
    site.bucket.put("k/below", "below");
    site.mirror("s3://bucket/k", text(&site.env.target), &[]).expect(0);
    let found = Snapshot::read(&site.env.target);
    assert!(found.get("below").is_some() && found.get("k").is_none());
}

#[test]
fn what_is_not_there_is_said_with_help_at_once() {
    let site = Site::of(&TestTree::new().file("f", "f"));
    let (source, target) = (text(&site.env.source), text(&site.env.target));
    for (from, to, said) in [
        ("s3://missing", target, "no such bucket"),
        ("s3://missing/prefix", target, "no such bucket"),
        (source, "s3://missing", "no such bucket"),
        (source, "s3://missing/prefix", "no such bucket"),
        ("s3://bucket/nothing", target, "there is nothing at the source"),
        ("s3://bucket/nothing/at/all/", target, "there is nothing at the source"),
    ] {
        for flags in [&[][..], &["--delete"], &["--dry-run"]] {
            site.server.forget();
            let run = site.mirror(from, to, flags).expect(7).names(said).names("help");
            let asked = site.server.log().len();
            assert!(asked < 5, "asked again for what is not there: {:?}", site.server.counts());
            run.is_silent_about(SECRET_KEY).is_silent_about(ACCESS_KEY);
        }
    }
    site.run(&["verify", "s3://missing"]).expect_one_of(&[4, 7]).names("help");
    assert!(!site.env.target.exists(), "nothing was made");
}

#[test]
fn a_place_within_the_other_is_refused() {
    let site = Site::new();
    site.bucket.put("m/f", "f");
    for (from, to) in [
        ("s3://bucket/m", "s3://bucket/m"),
        ("s3://bucket/m", "s3://bucket/m/below"),
        ("s3://bucket/m/", "s3://bucket"),
        ("s3://bucket", "s3://bucket/m"),
    ] {
        site.mirror(from, to, &[]).expect(6).names("help");
    }
    site.mirror("s3://bucket/m", "s3://bucket/mm", &[]).expect(0);
    assert_eq!(site.bucket.content("mm/f"), "f");
}

#[test]
fn wrong_keys_are_said_with_help_and_never_shown() {
    let server = S3Server::start();
    server.bucket("bucket").put("f", "f");
    let site = Site::new();
    let target = text(&site.env.target);
    let mut command = site.env.command(&["mirror", "--json", "s3://bucket", target]);
    command.envs(server.environment()).env("AWS_SECRET_ACCESS_KEY", "canary-of-the-wrong-key");
    let run = crate::common::Run::of(command).expect(7).names("help");
    run.is_silent_about("canary-of-the-wrong-key");
}

#[test]
fn an_object_that_has_the_name_of_vidimus_own_directory_is_told_of() {
    let site = Site::new();
    for key in ["k/.vidimus", "k/x"] {
        site.bucket.put(key, "content");
    }
    let told = "\\\".vidimus\\\" at the root, which is not a directory, is left out";
    let target = text(&site.env.target).to_owned();
    for flags in [&["--dry-run"][..], &[], &[]] {
        site.mirror("s3://bucket/k", &target, flags).expect(0).names(told);
    }
    assert!(!site.env.target.join(".vidimus").is_file());
    // Where it is a target's, nobody misses it.
    site.mirror(&target, "s3://bucket/k", &[]).expect(0).is_silent_about("left out");
}
