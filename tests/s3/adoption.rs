//! First contact: what others uploaded, and what this tool uploaded before its state was lost, is
//! taken as it is.

use crate::common::clients::{aws, rclone, s5cmd};
use crate::common::content::bytes;
use crate::common::environment::{Finished, text};
use crate::common::servers::SeaweedFs;
use crate::common::tree::set_mtime_of;
use crate::common::{TestTree, assert_mirrored};
use crate::needs;
use crate::real::run;
use crate::s3::Kind;
use crate::site::{Site, everything};
use std::collections::BTreeMap;
use std::fs;

/// How many files [`tree`] has.
const FILES: usize = 6;
/// Requests that ask whether there is a manifest: as the run begins, and before it publishes one.
const MANIFEST: u64 = 2;
/// HEADs of a publication that is not signed: whether a killed run left a signature.
const MANIFEST_LOOKS: u64 = 1;

/// Files alone, as every tool uploads them.
fn tree() -> TestTree {
    let file = |tree: TestTree, at: i64, name: &str, content: Vec<u8>| {
        tree.file(name, content).mode(0o644).mtime(1_600_000_000 + at, 123_456_789)
    };
    let mut tree = file(TestTree::new(), 0, "a.txt", b"content".to_vec());
    tree = file(tree, 1, "d/b.html", b"<p>".to_vec());
    tree = file(tree, 2, "d/e/ü +%.json", b"{}".to_vec());
    tree = file(tree, 3, "d/e/empty", Vec::new());
    tree = file(tree, 4, "exactly", bytes(5 << 20));
    file(tree, 5, "z", bytes(100_000))
}

/// A client, for an endpoint.
type Client = fn(&str) -> Result<std::process::Command, String>;

/// Has a client upload the source to `s3://bucket/m`.
fn uploaded_by(client: Client, arguments: &[&str]) -> Site {
    let site = Site::of(&tree());
    let source = format!("{}/", text(&site.env.source));
    let arguments: Vec<_> =
        arguments.iter().map(|argument| argument.replace("SOURCE/", &source)).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    // The AWS CLI and this server wait for each other, a minute long, over an empty body.
    let empty = site.env.source.join("d/e/empty");
    fs::remove_file(&empty).expect("remove");
    run(client(&site.server.endpoint()), &arguments);
    site.bucket.put("m/d/e/empty", "");
    tree().write(&site.env.source);
    site.env.age();
    assert_eq!(site.bucket.keys().len(), FILES, "{:?}", site.bucket.keys());
    site.requests();
    site
}

fn uploads() -> [(&'static str, Client, &'static [&'static str]); 5] {
    [
        ("rclone copy", rclone, &["copy", "SOURCE/", "s3:bucket/m"]),
        ("rclone sync", rclone, &["sync", "--checksum", "SOURCE/", "s3:bucket/m"]),
        ("aws cp", aws, &["s3", "cp", "--recursive", "--quiet", "SOURCE/", "s3://bucket/m/"]),
        ("aws sync", aws, &["s3", "sync", "--quiet", "SOURCE/", "s3://bucket/m"]),
        ("s5cmd cp", s5cmd, &["cp", "SOURCE/", "s3://bucket/m/"]),
    ]
}

/// Everything was adopted: nothing was sent but markers, nothing fetched, a look at each file.
#[track_caller]
fn adopted(site: &Site, finished: &Finished, name: &str) {
    finished.counts(&[("files_copied", 0), ("files_adopted", FILES as u64), ("bytes_copied", 0)]);
    let puts = site.server.requests(Kind::Put);
    assert!(
        puts.iter().all(|put| put.key.ends_with(b"/") || put.key.starts_with(b"m/.vidimus/")),
        "{name}: {puts:?}"
    );
    let requests = site.requests();
    // The manifest's own are left out there: one list request looks for one that lost its pointer.
    let told = [("requests_list", Kind::List, 1), ("requests_head", Kind::Head, MANIFEST_LOOKS)];
    for (count, kind, more) in told {
        let told = finished.count(count);
        assert_eq!(told, requests[&kind] as u64 + more, "{name}: the cost is told");
    }
    assert_eq!(requests[&Kind::Head], FILES, "{name}");
    finished.counts(&[("adoption_files", FILES as u64)]);
    assert!(finished.count("adoption_worker_us") > 0, "{name}");
    // What has a tag alone is hashed; rclone's times tell without.
    let hashed = if name.starts_with("rclone") { 0 } else { finished.count("bytes_hashed") };
    assert_eq!(finished.count("adoption_bytes"), hashed, "{name}");
    assert_eq!(requests.get(&Kind::Get), None, "{name}");
    assert_eq!(requests.get(&Kind::Copy), None, "{name}");
}

#[test]
fn what_other_tools_uploaded_is_adopted() {
    needs!(rclone(""));
    for (name, client, arguments) in uploads() {
        let site = uploaded_by(client, arguments);
        let before = site.bucket.objects();
        let finished = site.up(&[]).expect(0).finished();
        adopted(&site, &finished, name);
        for (key, object) in before {
            assert_eq!(site.bucket.get(&key), Some(object), "{name}: {key} is as it was");
        }
        let again = site.up(&[]).expect(0).finished();
        again.counts(&[("files_unchanged", FILES as u64), ("adoption_files", 0)]);
        assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]), "{name}: a second run");
        site.run(&["verify", "s3://bucket/m"]).expect(0);
    }
}

#[test]
fn what_changed_since_others_uploaded_it_is_copied() {
    needs!(rclone(""));
    for (name, client, arguments) in uploads() {
        let site = uploaded_by(client, arguments);
        fs::write(site.env.source.join("a.txt"), "CONTENT").expect("write");
        fs::write(site.env.source.join("z"), "shorter").expect("write");
        site.env.age();
        let finished = site.up(&[]).expect(0).finished();
        let adopted = FILES as u64 - 2;
        finished.counts(&[
            ("files_copied", 2),
            ("files_adopted", adopted),
            ("requests_get", MANIFEST),
        ]);
        assert_eq!(site.bucket.content("m/a.txt"), "CONTENT", "{name}");
        assert_eq!(site.bucket.content("m/z"), "shorter", "{name}");
    }
}

#[test]
fn an_edit_that_keeps_size_and_time_is_seen_where_the_tag_tells() {
    needs!(aws(""));
    let (_, client, arguments) = uploads()[2];
    let site = uploaded_by(client, arguments);
    fs::write(site.env.source.join("a.txt"), "CONTENT").expect("write");
    set_mtime_of(&site.env.source.join("a.txt"), 1_600_000_000, 123_456_789);
    site.env.age();
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 1)]);
    assert_eq!(site.bucket.content("m/a.txt"), "CONTENT");
}

#[test]
fn uploads_in_parts_are_adopted_by_the_time_that_rclone_kept() {
    needs!(rclone(""));
    let site = Site::new();
    TestTree::new().file("large", bytes(17 << 20)).mode(0o644).write(&site.env.source);
    set_mtime_of(&site.env.source.join("large"), 1_600_000_000, 123_456_789);
    site.env.age();
    let endpoint = site.server.endpoint();
    let parts = ["--s3-upload-cutoff", "8Mi", "--s3-chunk-size", "8Mi"];
    let copy = ["copy", text(&site.env.source), "s3:bucket/m"];
    run(rclone(&endpoint), &[&copy[..], &parts].concat());
    assert!(site.bucket.get("m/large").expect("it is there").etag.ends_with("-3"));
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("files_adopted", 1)]);
}

/// How clients upload `SOURCE/large` in parts of a size of their own.
const IN_PARTS: [(&str, Client, &[&str]); 3] = [
    ("aws", aws, &["s3", "cp", "--quiet", "SOURCE/large", "s3://BUCKET/m/large"]),
    ("s5cmd", s5cmd, &["cp", "--part-size", "5", "SOURCE/large", "s3://BUCKET/m/large"]),
    ("s5cmd, 7 MiB", s5cmd, &["cp", "--part-size", "7", "SOURCE/large", "s3://BUCKET/m/large"]),
];

/// Has a client upload a large file in parts.
fn in_parts(client: Client, arguments: &[&str], endpoint: &str, (bucket, source): (&str, &str)) {
    let mut command = client(endpoint).expect("it is installed");
    for argument in arguments {
        command.arg(argument.replace("SOURCE", source).replace("BUCKET", bucket));
    }
    let large = fs::File::open(format!("{source}/large")).expect("open");
    let done = command.stdin(large).output().expect("run a client");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn large() -> TestTree {
    TestTree::new().file("large", bytes(37 << 20)).mode(0o644).mtime(1_600_000_000, 5)
}

#[test]
fn uploads_in_parts_that_nothing_is_kept_with_are_adopted_by_the_tag_of_their_parts() {
    needs!(aws(""));
    for (name, client, arguments) in IN_PARTS {
        for part_numbers in [true, false] {
            let site = Site::of(&large());
            let source = text(&site.env.source);
            in_parts(client, arguments, &site.server.endpoint(), ("bucket", source));
            let tag = site.bucket.get("m/large").expect("it is there").etag;
            assert!(tag.contains('-'), "{name}: {tag}");
            site.server.settings(|settings| settings.part_numbers = part_numbers);
            site.requests();
            let finished = site.up(&[]).expect(0).finished();
            finished.counts(&[("files_copied", 0), ("files_adopted", 1), ("bytes_copied", 0)]);
            finished.counts(&[
                ("requests_head", 2 + MANIFEST_LOOKS),
                ("requests_get", MANIFEST),
                ("bytes_hashed", 37 << 20),
            ]);
            let requests = site.requests();
            assert_eq!(requests.get(&Kind::CreateUpload), None, "{name}: {requests:?}");
            site.up(&[]).expect(0).finished().counts(&[("files_unchanged", 1)]);
            assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]), "{name}");
            // Its digest was recorded: what rots in the store is seen.
            site.run(&["verify", "s3://bucket/m"]).expect(0);

            // The other way round.
            site.lose_state();
            TestTree::new().file("large", bytes(37 << 20)).write(&site.env.target);
            site.env.age();
            site.requests();
            let finished = site.down(&[]).expect(0).finished();
            // Whether the bucket holds a manifest that tells of it is asked for.
            finished.counts(&[("files_copied", 0), ("files_adopted", 1), ("requests_get", 1)]);
            let looks = site.server.requests(Kind::Head);
            assert_eq!(looks.iter().filter(|look| look.key == b"m/large").count(), 2, "{name}");
        }
    }
}

/// rclone keeps the time when it got it.
#[test]
fn an_upload_in_parts_with_another_time_gets_the_right_one_and_is_not_sent_again() {
    needs!(rclone(""));
    let site = Site::of(&large());
    let parts = ["rcat", "--s3-chunk-size", "6Mi", "s3:BUCKET/m/large"];
    in_parts(rclone, &parts, &site.server.endpoint(), ("bucket", text(&site.env.source)));
    let tag = site.bucket.get("m/large").expect("it is there").etag;
    assert!(tag.ends_with("-7"), "{tag}");
    let finished = site.up(&[]).expect(0).finished();
    finished.counts(&[("files_copied", 0), ("metadata_updated", 1), ("requests_multipart", 0)]);
    site.up(&[]).expect(0).finished().counts(&[("files_unchanged", 1)]);
}

#[test]
fn an_upload_in_parts_whose_content_is_another_is_sent() {
    needs!(aws(""));
    let site = Site::of(&large());
    let (_, client, arguments) = IN_PARTS[0];
    let source = text(&site.env.source);
    in_parts(client, arguments, &site.server.endpoint(), ("bucket", source));
    let mut other = bytes(37 << 20);
    other[30 << 20] ^= 1;
    fs::write(site.env.source.join("large"), &other).expect("write");
    site.env.age();
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 1), ("files_adopted", 0)]);
    assert!(site.bucket.get("m/large").expect("it is there").content == other);
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("files_unchanged", 1)]);
}

#[test]
fn uploads_in_parts_to_seaweedfs_are_adopted() {
    needs!(aws(""));
    needs!(SeaweedFs::shared());
    let server = SeaweedFs::shared().expect("it is there");
    for (name, client, arguments) in IN_PARTS {
        let site = Site::of(&large());
        let (bucket, source) = (server.bucket(), text(&site.env.source));
        in_parts(client, arguments, &server.endpoint(), (&bucket, source));
        let place = format!("s3://{bucket}/m");
        let arguments = ["mirror", "--json", source, &place];
        let run = crate::site::run(&site.env, &server.environment(), &arguments).expect(0);
        let finished = run.finished();
        finished.counts(&[("files_copied", 0), ("files_adopted", 1), ("requests_get", MANIFEST)]);
        assert_eq!(finished.count("requests_multipart"), 0, "{name}");
    }
}

#[test]
fn the_cost_of_first_contact_is_in_the_summary() {
    let site = Site::of(&tree());
    for (name, content) in [("a.txt", b"content".to_vec()), ("exactly", bytes(5 << 20))] {
        // As a tool puts it that keeps nothing with it.
        site.bucket.put(&format!("m/{name}"), content);
    }
    let source = text(&site.env.source);
    let seen = site.run(&["mirror", source, "s3://bucket/m"]).expect(0).stdout;
    assert!(seen.contains("  adopted           2 files\n"), "{seen}");
    assert!(seen.contains("  cost of adopting  2 files looked at, 5.0 MiB hashed, "), "{seen}");
}

#[test]
fn a_lost_state_costs_a_look_at_each_object_and_no_copy() {
    let tree = everything();
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    site.lose_state();
    let before = site.bucket.objects();
    site.requests();
    let finished = site.up(&["--delete"]).expect(0).finished();
    finished.counts(&[("files_copied", 0), ("files_deleted", 0), ("bytes_copied", 0)]);
    let requests = site.requests();
    assert_eq!(requests.get(&Kind::Copy), None, "{requests:?}");
    let leaves = before.keys().filter(|key| !key.ends_with('/')).count();
    let adopted = finished.count("files_adopted") as usize;
    assert_eq!(adopted, leaves, "{requests:?}");
    // The digest that was kept with an object proves that it stays what it was.
    // What was sent in parts has none.
    finished.counts(&[("adopted_without_digest", 2)]);
    let verified = site.verify(&["--json"]).expect(0).finished();
    verified.counts(&[("unproven", 2)]);
    site.requests();
    let after = site.bucket.objects();
    for (key, object) in before {
        let found = after.get(&key).expect("it is still there");
        assert_eq!((&found.content, &found.metadata), (&object.content, &object.metadata), "{key}");
    }
    finished.counts(&[("metadata_updated", 0)]);
    site.up(&[]).expect(0);
    assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]));
    site.down(&[]).expect(0);
    assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn a_directory_that_another_tool_downloaded_is_adopted() {
    needs!(rclone(""));
    for (name, client, arguments) in uploads() {
        let site = uploaded_by(client, arguments);
        // As if that tool had fetched it: with times where the tool kept them, else of now.
        tree().write(&site.env.target);
        if !name.starts_with("rclone") {
            set_mtime_of(&site.env.target.join("a.txt"), 1_700_000_000, 0);
        }
        site.env.age();
        let finished = site.down(&[]).expect(0).finished();
        finished.counts(&[("files_copied", 0), ("files_adopted", FILES as u64)]);
        let requests = site.requests();
        assert_eq!(requests.get(&Kind::Get), None, "{name}: {requests:?}");
        assert_eq!(finished.count("requests_head"), requests[&Kind::Head] as u64, "{name}");
        site.down(&[]).expect(0).finished().counts(&[("files_unchanged", FILES as u64)]);
        assert_eq!(site.requests(), BTreeMap::from([(Kind::List, 1)]), "{name}: a second run");
    }
}

#[test]
fn a_lost_state_of_a_download_costs_a_look_at_each_object_and_no_copy() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    site.down(&[]).expect(0);
    site.lose_state();
    site.requests();
    let finished = site.down(&["--delete"]).expect(0).finished();
    finished.counts(&[("files_copied", 0), ("files_deleted", 0)]);
    // The lock's file changed the root's time.
    assert!(finished.count("metadata_updated") <= 1);
    let gets = site.server.requests(Kind::Get);
    // A link's text is content of its object; and there is no manifest any more.
    let link = |key: &[u8]| key.starts_with(b"m/links/") || key.ends_with(b"/latest.json");
    assert!(gets.iter().all(|get| link(&get.key)), "{} GETs", gets.len());
    assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn between_buckets_tags_tell_what_is_the_same() {
    let site = Site::new();
    let other = site.server.bucket("other");
    for (key, there) in [("same", "content"), ("edited", "CONTENT"), ("longer", "longer content")] {
        site.bucket.put(key, "content");
        other.put(key, there);
    }
    let finished = site.mirror("s3://bucket", "s3://other", &[]).expect(0).finished();
    finished.counts(&[("files_copied", 2), ("files_adopted", 1), ("requests_copy", 2)]);
    for key in ["same", "edited", "longer"] {
        assert_eq!(other.content(key), "content", "{key}");
    }
}
