//! From a directory to a bucket and back: the same tree.

use crate::common::content::bytes;
use crate::common::environment::{text, with_descriptors};
use crate::common::servers::SeaweedFs;
use crate::common::{Environment, Run, TestTree, assert_mirrored, tools};
use crate::needs;
use crate::s3::Object;
use crate::site::{Site, everything, run};
use std::ffi::OsStr;
use std::fs::FileTimes;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn a_tree_comes_back_as_it_was() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    site.down(&[]).expect(0);
    assert_mirrored(&site.env.source, &site.env.target);
    assert!(site.bucket.uploads().is_empty());
}

#[test]
fn a_tree_comes_back_as_it_was_from_what_the_objects_tell_alone() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    site.lose_state();
    site.down(&[]).expect(0);
    assert_mirrored(&site.env.source, &site.env.target);
    site.down(&["--delete"]).expect(0).finished().counts(&[
        ("files_copied", 0),
        ("metadata_updated", 0),
        ("files_deleted", 0),
    ]);
}

#[test]
fn names_of_one_file_come_back_as_hard_links() {
    let tree = TestTree::new().file("a", "linked").link("d/b", "a").link("z", "a");
    let tree = tree.file("same", "linked").symlink("s", "a").link("t", "s");
    let site = Site::of(&tree);
    let up = site.up(&[]).expect(0);
    up.finished().counts(&[("files_copied", 6), ("hard_links_made", 0), ("hard_links_lost", 0)]);
    assert_eq!(site.bucket.content("m/d/b"), "linked");
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 0), ("bytes_hashed", 0)]);
    // By what is published in the bucket, and by what the objects tell.
    for copied in [3, 6] {
        if copied == 6 {
            site.lose_state();
            std::fs::remove_dir_all(&site.env.target).expect("remove the target");
        }
        let down = site.down(&[]).expect(0);
        down.finished().counts(&[("files_copied", copied), ("hard_links_made", 3)]);
        tree.assert_at(&site.env.target);
        site.down(&[]).expect(0).finished().counts(&[("files_copied", 0), ("hard_links_made", 0)]);
    }
}

#[test]
fn other_owners_and_modes_are_given_on_the_way_up_down_and_across() {
    needs!(tools::root());
    let tree = |uid, mode| {
        let tree = TestTree::new().mode(0o755).owner(uid, 7).file("a", "1").mode(mode);
        let tree = tree.owner(uid, 7).file("large", bytes(9 << 20)).mode(mode).owner(uid, 7);
        tree.dir("d").mode(0o755).owner(uid, 7).symlink("d/link", "a").owner(uid, 7)
    };
    let site = Site::of(&tree(1, 0o644));
    site.up(&["--usermap=1:2,2:3", "--chmod=F640"]).expect(0);
    // By the record, by the manifest, and by what the objects tell.
    for forget in [0, 1, 2] {
        if forget > 0 {
            std::fs::remove_dir_all(&site.env.target).expect("remove the target");
            std::fs::remove_dir_all(&site.env.state).expect("remove the state");
            std::fs::create_dir(&site.env.state).expect("make the state's directory");
        }
        if forget == 2 {
            site.lose_manifest();
        }
        let flags = ["--usermap=2:3,3:4", "--chmod=Fo+r"];
        site.down(&flags).expect(0);
        tree(3, 0o644).assert_at(&site.env.target);
        site.down(&flags).expect(0).finished().counts(&[("metadata_updated", 0)]);
    }
    let target = text(&site.env.target);
    site.run(&["verify", target, "--against", "s3://bucket/m"]).expect(0);
    site.server.bucket("other");
    site.mirror("s3://bucket/m", "s3://other/m", &["--chown=9"]).expect(0);
    site.mirror("s3://other/m", target, &[]).expect(0);
    tree(9, 0o640).assert_at(&site.env.target);
}

/// Returns whether dump leaves a file out.
fn is_left_out_by_dump(path: &Path) -> bool {
    let listed = Command::new("lsattr").arg("-d").arg(path).output().expect("run lsattr");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    listed.split(' ').next().is_some_and(|flags| flags.contains('d'))
}

#[test]
fn flags_and_times_of_access_come_back_where_they_are_asked_for() {
    needs!(tools::root(), tools::tool("chattr").map(drop), tools::tool("lsattr").map(drop));
    let site = Site::of(&TestTree::new().file("a", "1").file("large", bytes(9 << 20)));
    let at = |root: &Path, name: &str| root.join(name);
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["a", "large"] {
        let file = std::fs::File::open(at(&site.env.source, name)).expect("open a file");
        file.set_times(FileTimes::new().set_accessed(time)).expect("set a time");
    }
    let flagged = at(&site.env.source, "a");
    let set = Command::new("chattr").arg("+d").arg(&flagged).status().expect("run chattr");
    if !set.success() {
        return tools::skipped(module_path!(), line!(), "no flags of files here");
    }
    site.env.age();
    let flags = ["--flags", "--atimes"];
    site.up(&flags).expect(0);
    site.up(&flags).expect(0).finished().counts(&[("metadata_updated", 0), ("files_copied", 0)]);
    // By the record, and by what the objects tell.
    for _ in 0..2 {
        site.down(&flags).expect(0);
        for name in ["a", "large"] {
            let found = std::fs::metadata(at(&site.env.target, name)).expect("it stands");
            assert_eq!(found.accessed().expect("a time"), time, "{name}");
            assert_eq!(is_left_out_by_dump(&at(&site.env.target, name)), name == "a", "{name}");
        }
        let again = site.down(&flags).expect(0).finished();
        again.counts(&[("metadata_updated", 0), ("files_copied", 0)]);
        site.lose_state();
        std::fs::remove_dir_all(&site.env.target).expect("remove the target");
    }
    site.down(&[]).expect(0);
    assert!(!is_left_out_by_dump(&at(&site.env.target, "a")));
}

#[test]
fn a_tree_comes_back_from_the_root_of_a_bucket() {
    let site = Site::of(&everything());
    let (source, target) = (text(&site.env.source), text(&site.env.target));
    site.mirror(source, "s3://bucket", &[]).expect(0);
    site.mirror("s3://bucket", target, &[]).expect(0);
    assert_mirrored(&site.env.source, &site.env.target);
    site.lose_state();
    std::fs::remove_dir_all(&site.env.target).expect("remove the target");
    site.mirror("s3://bucket", target, &[]).expect(0);
    assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn what_a_store_cannot_hold_is_named_and_the_rest_is_done() {
    let long = ["l".repeat(255), "l".repeat(255), "l".repeat(255), "l".repeat(255)].join("/");
    let tree = TestTree::new()
        .file(b"\xff", "bytes")
        .file(b"d\xfe/f", "below bytes")
        .file(format!("{long}/f"), "too long")
        .symlink(b"link\xfd", "x")
        .file("good", "good")
        .file("z/good", "good");
    let site = Site::of(&tree);
    let failed = site.up(&[]).expect(1).names("must be UTF-8").names("1024");
    let keys: Vec<_> = failed
        .records()
        .iter()
        .filter(|record| record["event"] == "failed")
        .map(|record| record["key"].as_str().expect("a key").to_owned())
        .collect();
    for name in ["\\xff", "d\\xfe/f", "link\\xfd", &format!("{long}/f")] {
        assert!(keys.iter().any(|key| key == name), "{name} in {keys:?}");
    }
    assert_eq!(site.bucket.content("m/good"), "good");
    assert_eq!(site.bucket.content("m/z/good"), "good");
    // A second run does no more, and says the same.
    let again = site.up(&[]).expect(1).finished();
    again.counts(&[("files_copied", 0), ("files_unchanged", 2)]);
    for name in [&b"\xff"[..], b"d\xfe", b"link\xfd", &long.as_bytes()[..255]] {
        let path = site.env.source.join(OsStr::from_bytes(name));
        if path.symlink_metadata().expect("it is there").is_dir() {
            std::fs::remove_dir_all(path).expect("remove a directory");
        } else {
            std::fs::remove_file(path).expect("remove a file");
        }
    }
    site.up(&["--delete"]).expect(0);
    let keys = site.bucket.keys();
    let stands: Vec<_> = keys.iter().filter(|key| !key.starts_with("m/.vidimus/")).collect();
    assert_eq!(stands, ["m/", "m/good", "m/z/", "m/z/good"]);
}

#[test]
fn special_files_come_back_from_empty_objects() {
    needs!(tools::root());
    let tree = TestTree::new().fifo("fifo").mode(0o4640).owner(5, 7).mtime(-1, 5);
    let tree = tree.socket("d/socket").character_device("null", 1, 3).block_device("disk", 8, 300);
    let tree = tree.link("other", "fifo").file("f", "f").file("empty", "");
    let site = Site::of(&tree);
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 7), ("bytes_copied", 1)]);
    let object = site.bucket.get("m/disk").expect("a device is an object");
    let header = |name: &str| object.metadata.get(name).map(String::as_str);
    assert!(object.content.is_empty());
    assert_eq!(header("vidimus-kind"), Some("block-device"));
    assert_eq!(header("vidimus-device"), Some("8:300"));
    let nothing = [("files_copied", 0), ("metadata_updated", 0), ("bytes_hashed", 0)];
    site.up(&[]).expect(0).finished().counts(&nothing);
    site.verify(&[]).expect(0);
    // By what is published in the bucket, and by what the objects tell.
    for lost in [false, true] {
        if lost {
            site.lose_state();
            std::fs::remove_dir_all(&site.env.target).expect("remove the target");
        }
        site.down(&["--no-specials"]).expect(0).finished().counts(&[("files_copied", 2)]);
        site.down(&[]).expect(0);
        tree.assert_at(&site.env.target);
        site.down(&[]).expect(0).finished().counts(&[("files_copied", 0), ("metadata_updated", 0)]);
        let against = ["verify", text(&site.env.target), "--against", "s3://bucket/m"];
        site.run(&against).expect(0);
    }
    // What somebody puts there with content is a file, whatever its metadata says.
    let mut object = site.bucket.get("m/d/socket").expect("it is there");
    object.metadata.remove("vidimus-blake3");
    object.checksum = None;
    site.bucket.put_object("m/d/socket", Object { content: "content".into(), ..object });
    site.down(&[]).expect(0);
    assert_eq!(std::fs::read(site.env.target.join("d/socket")).expect("a file"), b"content");
}

/// It drops what is kept with markers: directories' metadata is left out here.
#[test]
fn files_come_back_from_seaweedfs() {
    needs!(SeaweedFs::shared());
    let server = SeaweedFs::shared().expect("it is there");
    let (env, bucket) = (Environment::new(), server.bucket());
    let tree = TestTree::new()
        .file("a", bytes(100))
        .mtime(1_600_000_000, 123_456_789)
        .file("b/large", bytes(20 << 20))
        .mtime(-5, 5)
        .file("b/exactly", bytes(8 << 20))
        .file("c/empty", "")
        .file("names/ü +%#?&=", "x")
        .symlink("names/link", "../a");
    tree.write(&env.source);
    env.age();
    let variables = server.environment();
    let place = format!("s3://{bucket}/m");
    run(&env, &variables, &["mirror", "--json", text(&env.source), &place]).expect(0);
    run(&env, &variables, &["mirror", "--json", &place, text(&env.target)]).expect(0);
    tree.assert_at(&env.target);
    let again = run(&env, &variables, &["mirror", "--json", text(&env.source), &place]).expect(0);
    again.finished().counts(&[
        ("files_copied", 0),
        ("requests_put", 0),
        // Of the manifest.
        ("requests_get", 3),
        ("requests_head", 1),
    ]);
    run(&env, &variables, &["verify", &place]).expect(0);
}

/// Between buckets a marker is an object like any other; what that run recorded says nothing of a
/// directory.
#[test]
fn a_copy_in_another_bucket_comes_back_as_the_tree_that_it_was() {
    let tree = everything();
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    let other = site.server.bucket("other");
    site.mirror("s3://bucket/m", "s3://other/copy", &[]).expect(0);
    assert!(!other.keys().is_empty());
    let target = crate::common::environment::text(&site.env.target);
    site.mirror("s3://other/copy", target, &[]).expect(0);
    crate::common::assert_mirrored(&site.env.source, &site.env.target);
    site.env.age();
    let again = site.mirror("s3://other/copy", target, &["--delete"]).expect(0).finished();
    again.counts(&[("files_copied", 0), ("files_deleted", 0), ("files_failed", 0)]);
}

/// The marker of a prefix has no key in a bucket of its own.
#[test]
fn a_prefix_goes_to_a_whole_bucket() {
    let site = Site::of(&everything());
    site.up(&[]).expect(0);
    assert!(site.bucket.get("m/").is_some(), "it has a marker");
    let other = site.server.bucket("other");
    for _ in 0..2 {
        site.mirror("s3://bucket/m", "s3://other", &[]).expect(0);
    }
    let count = |bucket: &crate::s3::Bucket| crate::site::objects_of(bucket).len();
    assert_eq!(count(&other), count(&site.bucket) - 1);
    site.run(&["verify", "s3://other"]).expect(0);
}

#[test]
fn a_low_limit_of_open_files_is_kept_within() {
    let large = vec![7; 40 << 20];
    let tree = (0..60).fold(TestTree::new().file("large", &large), |tree, n| {
        tree.file(format!("{n}/a"), "a").file(format!("{n}/d/b"), "b")
    });
    let site = Site::of(&tree);
    let (source, target) = (text(&site.env.source), text(&site.env.target));
    let limited = |from: &str, to: &str| {
        let mut command = site.env.command(&["mirror", "--json", from, to, "--transfers", "64"]);
        command.envs(site.server.environment());
        Run::of(with_descriptors(&command, 64)).expect(0);
    };
    limited(source, "s3://bucket/p");
    limited("s3://bucket/p", target);
    assert_mirrored(&site.env.source, &site.env.target);
    limited("s3://bucket/p", "s3://bucket/q");
}
