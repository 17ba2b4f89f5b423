//! What other tools see of what was uploaded: all of it, with the right times and types.

use crate::common::TestTree;
use crate::common::clients::{aws, rclone, s5cmd};
use crate::common::content::bytes;
use crate::common::environment::text;
use crate::common::servers::{SeaweedFs, Server};
use crate::needs;
use crate::real::run;
use crate::site::Site;
use serde_json::Value;

fn tree() -> TestTree {
    TestTree::new()
        .file("page.html", "<p>page</p>")
        .mtime(1_600_000_000, 123_456_789)
        .file("d/photo.JPG", bytes(3 << 20))
        .mtime(1_234_567_890, 1)
        .file("d/e/data.json", "{}")
        .mtime(-1_000, 500_000_000)
        .file("large.bin", bytes(20 << 20))
        .mtime(1_500_000_000, 999_999_999)
        .file("ü +%#?&= 'x'", "odd")
        .mtime(1_500_000_001, 0)
        .file("empty", "")
        .mtime(1_500_000_002, 250_000_000)
}

/// What `rclone lsl` is to say: size, time, name.
const LISTED: [&str; 6] = [
    "11 2020-09-13 12:26:40.123456789 page.html",
    "3145728 2009-02-13 23:31:30.000000001 d/photo.JPG",
    "2 1969-12-31 23:43:20.500000000 d/e/data.json",
    "20971520 2017-07-14 02:40:00.999999999 large.bin",
    "3 2017-07-14 02:40:01.000000000 ü +%#?&= 'x'",
    "0 2017-07-14 02:40:02.250000000 empty",
];

/// Holds what stands at `bucket/m` to what these tools say of it.
fn agrees(endpoint: &str, bucket: &str, source: &str) {
    let place = format!("s3:{bucket}/m");
    let listed = run(rclone(endpoint), &["lsl", &place]);
    let listed = listed.lines().filter(|line| !line.contains(" .vidimus/"));
    let mut listed: Vec<_> = listed.map(str::trim_start).collect();
    listed.sort_unstable();
    let mut expected = LISTED;
    expected.sort_unstable();
    assert_eq!(listed, expected);
    run(rclone(endpoint), &["check", "--download", "--exclude", "/.vidimus/**", source, &place]);
    // Markers are no files to it, and times are right: it has nothing to copy.
    let said =
        run(rclone(endpoint), &["copy", "--dry-run", "--log-format", "", "-v", source, &place]);
    assert!(!said.contains("Skipped copy"), "{said}");

    let query = ["s3api", "list-objects-v2", "--bucket", bucket, "--prefix", "m/"];
    let objects: Value = serde_json::from_str(&run(aws(endpoint), &query)).expect("JSON");
    let objects = objects["Contents"].as_array().expect("objects");
    let files = objects.iter().filter(|object| {
        let key = object["Key"].as_str().expect("a key");
        !key.ends_with('/') && !key.contains(".vidimus/")
    });
    assert_eq!(files.count(), LISTED.len());
    for (key, kind, size, mtime) in [
        ("page.html", "text/html", 11, "1600000000.123456789"),
        ("d/photo.JPG", "image/jpeg", 3 << 20, "1234567890.000000001"),
        ("d/e/data.json", "application/json", 2, "-999.500000000"),
        ("large.bin", "application/octet-stream", 20 << 20, "1500000000.999999999"),
    ] {
        let key = format!("m/{key}");
        let head = ["s3api", "head-object", "--bucket", bucket, "--key", &key];
        let head: Value = serde_json::from_str(&run(aws(endpoint), &head)).expect("JSON");
        assert_eq!(head["ContentType"], kind, "{head}");
        assert_eq!(head["ContentLength"], size, "{head}");
        assert_eq!(head["Metadata"]["mtime"], mtime, "{head}");
    }
    let directory = tempfile::tempdir().expect("make a directory");
    let to = format!("{}/", text(directory.path()));
    run(aws(endpoint), &["s3", "cp", "--quiet", &format!("s3://{bucket}/m/large.bin"), &to]);
    assert!(std::fs::read(directory.path().join("large.bin")).expect("read") == bytes(20 << 20));
    assert_eq!(
        run(s5cmd(endpoint), &["cat", &format!("s3://{bucket}/m/page.html")]),
        "<p>page</p>"
    );
}

#[test]
fn other_tools_see_what_was_uploaded() {
    let site = Site::of(&tree());
    needs!(rclone(&site.server.endpoint()));
    site.up(&[]).expect(0);
    agrees(&site.server.endpoint(), "bucket", text(&site.env.source));
}

#[test]
fn other_tools_see_what_was_uploaded_to_seaweedfs() {
    needs!(SeaweedFs::shared());
    let server: &Server = SeaweedFs::shared().expect("it is there");
    let (site, bucket) = (Site::of(&tree()), server.bucket());
    let place = format!("s3://{bucket}/m");
    let arguments = ["mirror", "--json", text(&site.env.source), &place];
    crate::site::run(&site.env, &server.environment(), &arguments).expect(0);
    agrees(&server.endpoint(), &bucket, text(&site.env.source));
}

#[test]
fn other_tools_fetch_what_was_uploaded() {
    let site = Site::of(&tree());
    let endpoint = site.server.endpoint();
    needs!(rclone(&endpoint));
    site.up(&[]).expect(0);
    let back = site.env.root.join("back");
    run(rclone(&endpoint), &["copy", "s3:bucket/m", text(&back)]);
    tree().assert_at(&back);
}
