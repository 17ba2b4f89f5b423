//! `verify --against` where one side or both are stores.

use crate::common::content::bytes;
use crate::common::environment::text;
use crate::common::servers::SeaweedFs;
use crate::common::{Environment, Run, TestTree};
use crate::needs;
use crate::s3::Kind;
use crate::site::{Site, everything, run};

const PLACE: &str = "s3://bucket/m";

fn mirrored() -> Site {
    let tree = TestTree::new()
        .file("a", "content")
        .mode(0o600)
        .file("d/b", "below")
        .file("d/large", bytes(20 << 20))
        .dir("empty")
        .symlink("l", "a");
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    site.requests();
    site
}

fn up(site: &Site, flags: &[&str]) -> Run {
    let source = site.env.source.to_str().unwrap().to_owned();
    site.run(&[&["verify", PLACE, "--against", &source], flags].concat())
}

/// Changes a byte, and nothing that the store tells.
fn rot(site: &Site, key: &str) {
    let mut object = site.bucket.get(key).expect("it is there");
    let mut content = object.content.to_vec();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    object.content = content.into();
    site.bucket.put_object(key, object);
}

#[test]
fn a_bucket_is_held_against_a_directory_by_reading_each_object_once() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    let before = site.bucket.objects();
    up(&site, &["--strict"]).expect(0).names("the target has what the source has");
    assert_eq!(site.bucket.objects(), before);
    let site = mirrored();
    let finished = up(&site, &["--strict", "--json"]).expect(0).finished();
    finished.counts(&[("equal", 3), ("differences", 0)]);
    assert_eq!(finished.count("source_bytes"), (20 << 20) + 12);
    let requests = site.requests();
    // What a listing tells of links and markers is not enough.
    assert!(requests[&Kind::Head] <= 7, "{requests:?}");
    assert!(requests.keys().all(|kind| [Kind::List, Kind::Get, Kind::Head].contains(kind)));
}

#[test]
fn differences_of_objects_are_named_by_their_kind() {
    let site = mirrored();
    rot(&site, "m/a");
    rot(&site, "m/d/large");
    site.bucket.delete("m/d/b");
    site.bucket.delete("m/empty/");
    site.bucket.put("m/new/extra", "x");
    site.bucket.put("m/l", "b");
    let run = up(&site, &[]).expect(3).names("content a (source").names("content d/large (source");
    let run = run.names("missing d/b").names("missing empty/").names("  content   2 files");
    run.names("metadata l: symbolic link -> file")
        .is_silent_about("mode")
        .is_silent_about("extra new");
    up(&site, &["--strict"]).expect(3).names("extra new/extra").is_silent_about("extra new/\n");
    site.bucket.put("m/a", "longer content");
    up(&site, &[]).expect(3).names("content a (another size)");
}

#[test]
fn metadata_is_compared_where_it_is_stored() {
    let site = mirrored();
    let path = site.env.source.join("a");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&path, mode).unwrap();
    up(&site, &[]).expect(3).names("metadata a: mode 0640 -> 0600");
    site.bucket.put("m/a", "content");
    up(&site, &[]).expect(0);
}

#[test]
fn a_directory_is_held_against_a_bucket() {
    let site = mirrored();
    site.down(&[]).expect(0);
    let target = site.env.target.to_str().unwrap().to_owned();
    let down = || site.run(&["verify", "--strict", &target, "--against", PLACE]);
    down().expect(0);
    std::fs::write(site.env.target.join("d/b"), "BELOW").unwrap();
    std::fs::remove_file(site.env.target.join("l")).unwrap();
    down().expect(3).names("content d/b").names("missing l");
    site.run(&["verify", &target, "--against", "s3://bucket/nowhere"]).expect(7).names("nowhere");
    let single = site.env.outside.to_str().unwrap();
    site.mirror("s3://bucket/m/a", single, &[]).expect(0);
    let one = || site.run(&["verify", "--strict", single, "--against", "s3://bucket/m/a"]);
    one().expect(0).names("equal     1 file");
    std::fs::write(site.env.outside.join("a"), "CONTENT").unwrap();
    one().expect(3).names("content a (source");
}

#[test]
fn a_bucket_is_held_against_a_bucket_though_their_tags_are_the_same() {
    let site = mirrored();
    site.bucket.put("m/a//b", "no path");
    let other = site.server.bucket("other");
    site.mirror(PLACE, "s3://other", &[]).expect(0);
    let across = || site.run(&["verify", "--strict", "s3://other", "--against", PLACE]);
    across().expect(0).names("the target has what the source has");
    let mut object = other.get("d/b").expect("it is there");
    object.content = b"beloW".to_vec().into();
    other.put_object("d/b", object);
    across().expect(3).names("content d/b (source").is_silent_about("content a");
    other.delete("a//b");
    across().expect(3).names("missing a//b");
}

/// It lists in an order of its own, and keeps nothing with markers.
#[test]
fn seaweedfs_is_held_against_a_directory_and_the_reverse() {
    needs!(SeaweedFs::shared());
    let server = SeaweedFs::shared().expect("it is there");
    let (env, bucket) = (Environment::new(), server.bucket());
    TestTree::new()
        .file("a", bytes(100))
        .file("a-b/large", bytes(20 << 20))
        .file("a.c", "")
        .dir("empty")
        .symlink("link", "a")
        .write(&env.source);
    env.age();
    let place = format!("s3://{bucket}/m");
    let (source, target) = (text(&env.source), text(&env.target));
    let run = |arguments: &[&str]| run(&env, &server.environment(), arguments);
    run(&["mirror", "-q", source, &place]).expect(0);
    run(&["mirror", "-q", &place, target]).expect(0);
    run(&["verify", "--strict", &place, "--against", source]).expect(0).names("3 files");
    run(&["verify", target, "--against", &place]).expect(0).names("3 files");
    run(&["explain", source, &place, "a-b/large"]).expect(0).names("keep: unchanged");
    run(&["explain", source, &place, "a-b"]).expect(0).names("key       a-b/\n");
    run(&["explain", source, &place, "a-"]).expect(7);
    std::fs::write(env.target.join("a.c"), "c").unwrap();
    run(&["verify", target, "--against", &place]).expect(3).names("content a.c (another size)");
}
