//! What changes in a source is done in a bucket, at the cost of what changed.

use crate::common::TestTree;
use crate::common::content::bytes;
use crate::common::environment::text;
use crate::common::tree::set_mtime_of;
use crate::s3::{Fault, Kind, On, Scripted, Version};
use crate::site::Site;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn tree() -> TestTree {
    TestTree::new()
        .file("d/f", "content")
        .mtime(1_600_000_000, 1)
        .file("d/other", "other")
        .file("d/e/g", "below")
        .dir("empty")
        .symlink("l", "d/f")
}

/// A tree that was mirrored to a bucket, and what that cost forgotten.
fn mirrored() -> Site {
    let site = Site::of(&tree());
    site.up(&[]).expect(0);
    site.env.age();
    site.requests();
    site
}

impl Site {
    /// Mirrors again, at this cost; what is stored is what is there, and a run after that does nothing.
    #[track_caller]
    fn changes(&self, flags: &[&str], cost: &[(Kind, usize)]) {
        self.env.age();
        self.up(flags).expect(0);
        let mut expected = BTreeMap::from([(Kind::List, 1)]);
        expected.extend(cost.iter().copied());
        assert_eq!(self.requests(), expected);
        self.up(flags).expect(0).finished().counts(&[("files_copied", 0), ("metadata_updated", 0)]);
        assert_eq!(self.requests(), BTreeMap::from([(Kind::List, 1)]), "a second run does nothing");
        self.comes_back();
    }

    /// What is stored comes back as what is there, from the objects alone.
    #[track_caller]
    fn comes_back(&self) {
        let (bucket, back) = ("s3://bucket/m", self.env.root.join("back"));
        let state = self.env.root.join("other-state");
        fs::remove_dir_all(&back).ok();
        fs::remove_dir_all(&state).ok();
        let flags = ["--state-dir", text(&state)];
        self.mirror(bucket, text(&back), &flags).expect(0);
        crate::common::assert_mirrored(&self.env.source, &back);
        self.requests();
    }
}

#[test]
fn changed_content_is_put() {
    let site = mirrored();
    fs::write(site.env.source.join("d/f"), "other content").expect("write");
    site.changes(&[], &[(Kind::Put, 1)]);
}

#[test]
fn a_new_time_alone_is_set_by_a_copy_within_the_store() {
    let site = mirrored();
    set_mtime_of(&site.env.source.join("d/f"), 1_700_000_000, 5);
    site.changes(&[], &[(Kind::Head, 1), (Kind::Copy, 1)]);
    let object = site.bucket.get("m/d/f").expect("it is there");
    assert_eq!(object.metadata["mtime"], "1700000000.000000005");
    assert!(object.metadata.contains_key("vidimus-blake3"), "what else was kept is kept");
}

#[test]
fn a_new_time_of_a_large_file_is_set_by_a_copy_within_the_store() {
    let site = mirrored();
    let at = site.env.source.join("large.bin");
    fs::write(&at, bytes(20 << 20)).expect("write");
    site.env.age();
    site.up(&[]).expect(0);
    site.requests();
    set_mtime_of(&at, 1_700_000_000, 5);
    site.changes(&[], &[(Kind::Head, 1), (Kind::Copy, 1)]);
    let content_type =
        &site.bucket.get("m/large.bin").expect("it is there").headers["content-type"];
    assert_eq!(content_type, "application/octet-stream");
}

#[test]
fn a_new_mode_alone_is_set_by_a_copy_within_the_store() {
    let site = mirrored();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(site.env.source.join("d/f"), mode(0o4711)).expect("chmod");
    site.changes(&[], &[(Kind::Head, 1), (Kind::Copy, 1)]);
    assert_eq!(site.bucket.get("m/d/f").expect("it is there").metadata["vidimus-mode"], "4711");
}

#[test]
fn a_directorys_new_mode_is_put_with_its_marker() {
    let site = mirrored();
    let mode = fs::Permissions::from_mode(0o2710);
    fs::set_permissions(site.env.source.join("d"), mode).expect("chmod");
    site.changes(&[], &[(Kind::Put, 1)]);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_put() {
    let site = mirrored();
    fs::write(site.env.source.join("d/f"), "CONTENT").expect("write");
    set_mtime_of(&site.env.source.join("d/f"), 1_600_000_000, 1);
    site.changes(&[], &[(Kind::Put, 1)]);
}

#[test]
fn a_touch_that_changes_ctime_alone_costs_nothing() {
    let site = mirrored();
    set_mtime_of(&site.env.source.join("d/f"), 1_600_000_000, 1);
    site.changes(&[], &[]);
}

#[test]
fn a_link_of_another_text_is_put() {
    let site = mirrored();
    fs::remove_file(site.env.source.join("l")).expect("remove");
    std::os::unix::fs::symlink("nowhere", site.env.source.join("l")).expect("link");
    // The root's own time changed with it.
    site.changes(&[], &[(Kind::Put, 2)]);
}

#[test]
fn a_file_becomes_a_directory_and_a_file_again() {
    let site = mirrored();
    let at = site.env.source.join("d/f");
    fs::remove_file(&at).expect("remove");
    fs::create_dir(&at).expect("make");
    fs::write(at.join("inner"), "inner").expect("write");
    site.changes(&[], &[(Kind::Delete, 1), (Kind::Put, 3)]);
    assert!(site.bucket.get("m/d/f").is_none());
    fs::remove_dir_all(&at).expect("remove");
    fs::write(&at, "file").expect("write");
    site.env.age();
    site.up(&[]).expect(1).names("d/f");
    assert!(site.bucket.get("m/d/f").is_none() && site.bucket.get("m/d/f/inner").is_some());
    site.requests();
    let delete = ["--delete"];
    // A look makes sure that the directory is gone before the file takes its place. The marker goes
    // once what lay in its directory is gone.
    let look = [(Kind::List, 2), (Kind::Head, 1)];
    site.changes(&delete, &[&look[..], &[(Kind::Delete, 2), (Kind::Put, 1)]].concat());
    assert!(site.bucket.get("m/d/f/").is_none() && site.bucket.get("m/d/f/inner").is_none());
}

/// A PUT of this key is refused until all is well again.
fn refused(site: &Site, key: &str) -> Scripted {
    site.server.fail(On::every(Kind::Put).key(key), Fault::Status(400))
}

#[test]
fn a_file_that_became_a_directory_stays_until_all_in_that_is_sent() {
    let site = mirrored();
    let at = site.env.source.join("d/f");
    fs::remove_file(&at).expect("remove");
    TestTree::new().file("d/f/f", "precious").file("d/f/g", "2").write(&site.env.source);
    site.env.age();
    refused(&site, "m/d/f/f");
    let run = site.up(&[]).expect(1).names("d/f/f").finished();
    run.counts(&[("copies_failed", 1), ("file_deletions_waiting", 1)]);
    assert!(site.bucket.get("m/d/f").is_some() && site.bucket.get("m/d/f/g").is_some());
    // So does it in the next runs, whatever they delete.
    let delete = ["--delete", "--max-delete", "100%", "--delete-despite-errors"];
    site.up(&delete).expect(1);
    assert!(site.bucket.get("m/d/f").is_some());
    site.up(&["--dry-run"]).expect(0).names("a directory took its place");
    site.server.heal();
    site.up(&[]).expect(0).finished().counts(&[("leftovers_swept", 1)]);
    assert!(site.bucket.get("m/d/f").is_none());
    site.verify(&["--strict"]).expect(0);
    site.comes_back();
}

#[test]
fn a_directory_that_became_a_file_stays_until_that_is_sent() {
    let site = mirrored();
    let at = site.env.source.join("d/f");
    fs::remove_file(&at).expect("remove");
    TestTree::new().file("d/f/f", "precious").write(&site.env.source);
    site.env.age();
    site.up(&[]).expect(0);
    fs::remove_dir_all(&at).expect("remove");
    fs::write(&at, "precious").expect("write");
    site.env.age();
    refused(&site, "m/d/f");
    let delete = ["--delete", "--max-delete", "100%"];
    site.up(&delete).expect(1).names("d/f");
    assert!(site.bucket.get("m/d/f/f").is_some());
    site.up(&[&delete[..], &["--delete-despite-errors"]].concat()).expect(1);
    assert!(site.bucket.get("m/d/f/f").is_some());
    site.server.heal();
    site.up(&delete).expect(0);
    assert!(site.bucket.get("m/d/f/f").is_none() && site.bucket.get("m/d/f").is_some());
    site.comes_back();
}

#[test]
fn what_a_store_has_as_file_and_directory_is_brought_to_what_the_source_has() {
    let site = mirrored();
    // As a killed run leaves it, or another program.
    site.bucket.put("m/d/f/f", "beside");
    site.up(&[]).expect(1).names("d/f");
    let delete = ["--delete", "--max-delete", "100%"];
    site.up(&delete).expect(0);
    assert!(site.bucket.get("m/d/f/f").is_none() && site.bucket.get("m/d/f").is_some());
    site.comes_back();
}

#[test]
fn a_link_becomes_a_file_a_directory_and_a_link_again() {
    let site = mirrored();
    let at = site.env.source.join("l");
    fs::remove_file(&at).expect("remove");
    fs::write(&at, "file").expect("write");
    site.changes(&[], &[(Kind::Put, 2)]);
    fs::remove_file(&at).expect("remove");
    fs::create_dir(&at).expect("make");
    site.changes(&[], &[(Kind::Delete, 1), (Kind::Put, 2)]);
    fs::remove_dir(&at).expect("remove");
    std::os::unix::fs::symlink("d/f", &at).expect("link");
    site.changes(&[], &[(Kind::Delete, 1), (Kind::Put, 2)]);
}

#[test]
fn what_the_source_lacks_is_deleted_in_bulk() {
    let mut tree = TestTree::new();
    for number in 0..2_300 {
        tree = tree.file(format!("d{}/{number}", number % 2), "x");
    }
    let site = Site::of(&tree);
    site.up(&[]).expect(0);
    fs::remove_dir_all(site.env.source.join("d1")).expect("remove");
    site.requests();
    site.env.age();
    site.up(&[]).expect(0).finished().counts(&[("files_deleted", 0)]);
    assert_eq!(site.requests()[&Kind::List], 3);
    let deleted = site.up(&["--delete", "--max-delete", "51%"]).expect(0).finished();
    deleted.counts(&[("files_deleted", 1_150), ("directories_deleted", 1)]);
    // The directory by itself, once it is empty; and the manifest's segments that no longer count.
    deleted.counts(&[("requests_delete", 2 + 1 + 2)]);
    let requests = site.requests();
    let kinds = [Kind::List, Kind::DeleteMany, Kind::Delete];
    assert_eq!(kinds.map(|kind| requests[&kind]), [3, 2, 1]);
    assert!(!site.bucket.keys().iter().any(|key| key.starts_with("m/d1/")));
    site.comes_back();
}

#[test]
fn guards_refuse_deletions_in_a_bucket() {
    let site = mirrored();
    let before = site.bucket.objects();
    fs::remove_dir_all(site.env.source.join("d")).expect("remove");
    site.up(&["--delete"]).expect(6).names("--max-delete");
    site.up(&["--delete", "--max-delete", "1"]).expect(6).names("--max-delete");
    let kept = site.bucket.objects();
    assert!(before.keys().all(|key| kept.contains_key(key)));
    fs::remove_dir_all(site.env.source.join("empty")).expect("remove");
    fs::remove_file(site.env.source.join("l")).expect("remove");
    site.up(&["--delete", "--max-delete", "100%"]).expect(6).names("empty");
    assert!(before.keys().all(|key| site.bucket.get(key).is_some()));
    let requests = site.requests();
    assert!(!requests.contains_key(&Kind::Delete) && !requests.contains_key(&Kind::DeleteMany));
}

#[test]
fn an_empty_bucket_empties_no_directory() {
    let site = Site::new();
    site.bucket.put("m/", "");
    TestTree::new().file("f", "f").write(&site.env.target);
    site.down(&["--delete", "--max-delete", "100%"]).expect(6).names("empty");
    let bucket = site.server.bucket("nothing");
    assert!(bucket.keys().is_empty());
    let target = text(&site.env.target).to_owned();
    site.mirror("s3://nothing", &target, &["--delete", "--max-delete", "100%"]).expect(6);
    assert!(site.env.target.join("f").exists());
}

#[test]
fn a_versioned_bucket_keeps_what_is_replaced_and_deleted() {
    let site = Site::of(&tree());
    site.bucket.set_versioned(true);
    site.up(&[]).expect(0);
    fs::write(site.env.source.join("d/f"), "second").expect("write");
    fs::remove_file(site.env.source.join("d/other")).expect("remove");
    site.env.age();
    site.up(&["--delete"]).expect(0);
    let [first, second] = &site.bucket.versions("m/d/f")[..] else { panic!("two versions") };
    let content = |version: &Version| match version {
        Version::Object(object) => object.content.clone(),
        Version::Deleted { .. } => panic!("it was replaced"),
    };
    assert_eq!((&content(first)[..], &content(second)[..]), (&b"content"[..], &b"second"[..]));
    let versions = site.bucket.versions("m/d/other");
    assert!(matches!(versions[..], [Version::Object(_), Version::Deleted { .. }]), "{versions:?}");
    site.comes_back();
}

#[test]
fn what_somebody_else_put_in_a_target_is_put_right() {
    let site = mirrored();
    site.bucket.put("m/d/f", "theirs!");
    site.bucket.put("m/d/e/g", "their other content");
    site.bucket.delete("m/d/other");
    site.changes(&[], &[(Kind::Put, 3)]);
    site.bucket.put("m/l", "theirs");
    site.bucket.delete("m/empty/");
    site.changes(&[], &[(Kind::Put, 2)]);
}

#[test]
fn changes_of_a_bucket_are_done_in_a_directory() {
    let site = Site::new();
    for key in ["m/a", "m/b", "m/c", "m/d/e"] {
        site.bucket.put(key, key);
    }
    site.down(&[]).expect(0);
    site.env.age();
    site.down(&[]).expect(0);
    site.bucket.put("m/a", "M/a");
    site.bucket.delete("m/b");
    site.bucket.put("m/b/inner", "inner");
    site.bucket.delete("m/d/e");
    site.bucket.put("m/d", "now a file");
    fs::write(site.env.target.join("c"), "drifted").expect("write");
    site.requests();
    site.down(&["--delete", "--max-delete", "100%"]).expect(0);
    let requests = site.requests();
    assert_eq!((requests[&Kind::List], requests[&Kind::Get]), (1, 4), "{requests:?}");
    let read = |name: &str| fs::read_to_string(site.env.target.join(name)).expect("read");
    assert_eq!(
        [read("a"), read("b/inner"), read("c"), read("d")],
        ["M/a", "inner", "m/c", "now a file"]
    );
}

/// The request is sent again, and finds what the first one wrote.
#[test]
fn an_object_whose_reply_was_lost_is_known_for_ones_own() {
    use crate::s3::{Fault, On};
    let site = Site::of(&tree());
    for key in ["m/d/f", "m/l"] {
        site.server.fail(On::first(Kind::Put, 1).key(key), Fault::LostReply);
    }
    site.up(&[]).expect(0).finished().counts(&[("files_copied", 4), ("requests_retried", 2)]);
    site.comes_back();
}

#[test]
fn a_summary_tells_requests_by_kind_and_what_had_to_be_sent_again() {
    use crate::s3::{Fault, On};
    let site = Site::of(&tree());
    site.server.fail(On::first(Kind::Put, 1).key("m/l"), Fault::SlowDown(None));
    let source = crate::common::environment::text(&site.env.source);
    let seen = site.run(&["mirror", source, "s3://bucket/m"]).expect(0).stdout;
    let line = seen.lines().find(|line| line.starts_with("  requests  ")).expect("the line");
    let requests = site.requests();
    // With the manifest's own: what stands is asked for twice and listed once, then a signature that
    // is not to be is asked for, and three objects are put.
    let (lists, puts) = (requests[&Kind::List] + 1, requests[&Kind::Put] + 3);
    assert!(line.contains(&format!(" {lists} list, 2 get, 1 head, {puts} put, ")), "{line}");
    assert!(line.ends_with(" lock; 1 retried, 1 throttled"), "{line}");
    let seen = site.verify(&[]).expect(0).stdout;
    assert!(seen.contains("  requests  1 list, "), "{seen}");
    let verified = site.verify(&["--json"]).expect(0).finished();
    // Segments of the manifest are looked at before they are read.
    verified.counts(&[("requests_list", 1), ("requests_retried", 0)]);
    assert!(verified.count("requests_get") > 0 && verified.count("requests_lock") > 0);
}
