//! `--files-from` with buckets: only what is listed is asked for.

use crate::common::environment::text;
use crate::common::{TestTree, assert_mirrored};
use crate::s3::Kind;
use crate::site::Site;
use std::fs;

fn site() -> Site {
    let many = (0..1_200).fold(TestTree::new(), |tree, n| tree.file(format!("m/f{n}"), "x"));
    Site::of(&many.file("a", "a").file("d/e/f", "f").file("d/e/g", "g").file("w/x/y", "y"))
}

#[test]
fn listed_names_are_asked_for_one_by_one_in_both_directions() {
    let site = site();
    let list = site.env.source.with_file_name("list");
    fs::write(&list, "a\nd/e/f\nm/f7\nw/\nnone/x\n").unwrap();
    let flags = ["--files-from", text(&list)];
    site.up(&flags).expect(1).names("none").finished().counts(&[("files_copied", 4)]);
    fs::write(&list, "a\nd/e/f\nm/f7\nw/\n").unwrap();
    site.requests();
    site.up(&flags).expect(0).finished().counts(&[("files_copied", 0), ("files_unchanged", 4)]);
    // Names and directories above them, each as object and as directory; none of the rest.
    let requests = site.requests();
    assert!(requests[&Kind::List] <= 16 && requests.len() == 1, "{requests:?}");
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 1_200)]);
    site.requests();
    fs::write(&list, "d/e/g\nm/f9\nm/none\nw/\n").unwrap();
    site.down(&flags).expect(1).names("m/none").finished().counts(&[("files_copied", 3)]);
    site.down(&["--files-from", text(&list), "--delete", "--max-delete", "100%"])
        .expect(0)
        .finished()
        .counts(&[("files_copied", 0), ("files_unchanged", 3)]);
    site.down(&[]).expect(0).finished().counts(&[("files_unchanged", 3)]);
    assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn listed_keys_between_buckets_are_taken_as_they_are() {
    let site = Site::new();
    let other = site.server.bucket("other");
    for key in ["m/a//b", "m/a", "m/c/d", "m/c/e", "m/f"] {
        site.bucket.put(key, b"x");
    }
    other.put("n/c/old", b"x");
    let list = site.env.source.with_file_name("list");
    fs::write(&list, "a//b\nc/\n").unwrap();
    let flags = ["--files-from", text(&list), "--delete", "--max-delete", "100%"];
    site.mirror("s3://bucket/m", "s3://other/n", &flags).expect(0);
    let keys: Vec<_> = other.keys().into_iter().filter(|key| !key.contains(".vidimus")).collect();
    assert_eq!(keys, ["n/a//b", "n/c/d", "n/c/e"]);
}

#[test]
fn an_object_and_the_prefix_of_its_name_are_two_listed_keys() {
    let site = Site::new();
    let other = site.server.bucket("other");
    for key in ["m/a", "m/a/x", "m/b"] {
        site.bucket.put(key, b"x");
    }
    let list = site.env.source.with_file_name("list");
    fs::write(&list, "a\na/\n").unwrap();
    let flags = ["--files-from", text(&list)];
    site.mirror("s3://bucket/m", "s3://other/n", &flags).expect(0);
    let keys: Vec<_> = other.keys().into_iter().filter(|key| !key.contains(".vidimus")).collect();
    assert_eq!(keys, ["n/a", "n/a/x"]);
    // Nothing begins with it, and it isn't the object of the name without the slash.
    fs::write(&list, "b/\n").unwrap();
    site.mirror("s3://bucket/m", "s3://other/n", &flags).expect(1).names("b/");
}
