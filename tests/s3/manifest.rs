//! The manifest that a mirror publishes in a bucket.

use crate::common::background::{stop, wait_until};
use crate::common::content::bytes;
use crate::common::{Run, TestTree};
use crate::s3::{Fault, Hold, Kind, On};
use crate::site::Site;
use rustix::process::Signal;
use std::fs;
use std::process::Stdio;

fn tree() -> TestTree {
    let tree = TestTree::new().file("d/large", bytes(20 << 20)).symlink("l", "d").dir("empty");
    (0..60).fold(tree, |tree, number| tree.file(format!("f{number:02}"), number.to_string()))
}

fn mirrored() -> Site {
    let site = Site::of(&tree());
    site.up(&[]).expect(0);
    site.env.age();
    site
}

fn manifest(site: &Site) -> Vec<String> {
    let keys = site.bucket.keys().into_iter();
    keys.filter_map(|key| key.strip_prefix("m/.vidimus/manifest/").map(str::to_owned)).collect()
}

/// As on another machine.
fn lose_state(site: &Site) {
    fs::remove_dir_all(&site.env.state).expect("remove the state");
    site.server.forget();
}

#[test]
fn a_run_that_changes_something_publishes_it_and_no_other() {
    let site = mirrored();
    assert_eq!(manifest(&site), ["00000001.json", "00000001.ndjson.zst", "latest.json"]);
    let before = site.bucket.objects();
    let unchanged = site.up(&[]).expect(0).finished();
    // Its pointer is read, before the run and with its head after it, and its segment is looked at.
    unchanged.counts(&[("requests_get", 3), ("requests_head", 1), ("requests_list", 1)]);
    unchanged.counts(&[("requests_put", 0)]);
    assert_eq!(site.bucket.objects(), before);
    fs::write(site.env.source.join("f07"), "changed").expect("write");
    let changed = site.up(&[]).expect(0).finished();
    // The object and three of the manifest. Before, its segment is read as well, which takes a HEAD
    // and a GET; one HEAD tells that there is no signature of the next one.
    changed.counts(&[("requests_put", 1 + 3), ("requests_get", 4), ("requests_head", 3)]);
    assert_eq!(manifest(&site).len(), 5);
    let bytes_of = |name: &str| {
        let object = site.bucket.get(&format!("m/.vidimus/manifest/{name}"));
        object.expect("a segment").content.len()
    };
    assert!(bytes_of("00000002.ndjson.zst") * 4 < bytes_of("00000001.ndjson.zst"));
}

#[test]
fn without_its_state_a_mirror_takes_it_over_and_asks_for_no_object() {
    let site = mirrored();
    fs::write(site.env.source.join("f07"), "changed").expect("write");
    site.up(&[]).expect(0);
    site.env.age();
    lose_state(&site);
    let run = site.up(&["--delete"]).expect(0).names("taken over");
    run.finished().counts(&[("files_copied", 0), ("files_adopted", 0), ("bytes_hashed", 0)]);
    let requests = site.requests();
    assert!(requests.keys().all(|kind| *kind == Kind::List), "{requests:?}");
    assert_eq!(manifest(&site).len(), 5, "nothing is published again");
}

/// As from a store that keeps no markers: what each directory was like stands in the manifest alone.
#[test]
fn a_restore_without_a_state_makes_directories_as_the_manifest_tells() {
    let tree = TestTree::new().file("closed/f", "f").mode(0o600).dir("closed").mode(0o700);
    let site = Site::of(&tree.mtime(1_600_000_000, 5));
    site.up(&[]).expect(0);
    lose_state(&site);
    for marker in ["m/", "m/closed/"] {
        site.bucket.delete(marker);
    }
    site.down(&["--dry-run"]).expect(0);
    site.down(&[]).expect(0);
    crate::common::assert_mirrored(&site.env.source, &site.env.target);
}

#[test]
fn a_restore_without_a_state_holds_content_against_the_manifest() {
    let site = mirrored();
    lose_state(&site);
    site.server.fail(On::every(Kind::Get).key("m/d/large"), Fault::FlippedBit);
    site.down(&[]).expect(1).names("d/large");
    assert!(!site.env.target.join("d/large").exists());
    site.server.heal();
    site.down(&[]).expect(0);
    // One that can't be used hinders no restore.
    lose_state(&site);
    site.bucket.put("m/.vidimus/manifest/latest.json", "{}");
    site.bucket.delete("m/.vidimus/manifest/00000001.ndjson.zst");
    fs::remove_dir_all(&site.env.target).expect("remove the target");
    site.down(&[]).expect(0).names("can't be used");
}

#[test]
fn without_a_state_verify_reads_it() {
    let site = mirrored();
    lose_state(&site);
    site.verify(&[]).expect(0);
    site.bucket.put("m/f07", "7x");
    site.verify(&[]).expect(3).names("f07").names("corrupt");
    site.bucket.delete("m/.vidimus/manifest/00000001.ndjson.zst");
    site.verify(&[]).expect(4).names("00000001.ndjson.zst").names("missing");
}

#[test]
fn what_can_not_be_published_is_named_and_published_by_the_next_run() {
    for name in ["00000001.ndjson.zst", "00000001.json", "latest.json"] {
        let site = Site::of(&tree());
        let key = format!("m/.vidimus/manifest/{name}");
        site.server.fail(On::every(Kind::Put).key(&key), Fault::Error(403, "AccessDenied"));
        site.up(&[]).expect(7).names("manifest could not be published").names(name);
        site.server.heal();
        site.env.age();
        site.up(&[]).expect(0).finished().counts(&[("files_copied", 0)]);
        lose_state(&site);
        site.verify(&[]).expect(0);
    }
}

#[test]
fn it_is_shown_and_exported_by_reading_its_files_alone() {
    let site = mirrored();
    fs::write(site.env.source.join("f07"), "changed").expect("write");
    site.up(&[]).expect(0);
    site.server.forget();
    let location = "s3://bucket/m";
    site.run(&["manifest", "show", location]).expect(0).names("publication 2,");
    let log = site.run(&["manifest", "log", "--json", location]).expect(0);
    log.finished().counts(&[("publications", 2)]);
    let run = site.run(&["manifest", "export", "--format", "b3sum", location]).expect(0);
    assert_eq!(run.stdout.lines().count(), 61);
    run.names(&format!("{}  f07\n", blake3::hash(b"changed")));
    assert!(site.requests().is_empty());
}

#[test]
fn an_export_that_is_stopped_leaves_the_file_as_it_was() {
    let site = mirrored();
    let output = site.env.root.join("list");
    fs::write(&output, "before").expect("write");
    let before = fs::read_dir(&site.env.root).expect("list").count();
    let segment = "m/.vidimus/manifest/00000001.ndjson.zst";
    let scripted = site.server.fail(On::every(Kind::Get).key(segment), Fault::Held(Hold::new()));
    for (at, (signal, code)) in [(Signal::INT, 130), (Signal::TERM, 143)].into_iter().enumerate() {
        let arguments = ["manifest", "export", "--format", "json", "--output", "list"];
        let mut command = site.env.command(&[&arguments[..], &["s3://bucket/m"]].concat());
        command.envs(site.server.environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("run the binary");
        wait_until("a segment that is asked for", || scripted.struck() == at as u64 + 1);
        stop(child, signal, "export").expect(code).names("stopped");
        assert_eq!(fs::read_to_string(&output).expect("read"), "before");
        assert_eq!(fs::read_dir(&site.env.root).expect("list").count(), before);
    }
}

#[test]
fn an_export_goes_on_with_what_a_mirror_published_meanwhile() {
    let site = mirrored();
    let segment = "m/.vidimus/manifest/00000001.ndjson.zst";
    let hold = Hold::new();
    let scripted = site.server.fail(On::every(Kind::Get).key(segment), Fault::Held(hold.clone()));
    let mut command =
        site.env.command(&["manifest", "export", "--format", "b3sum", "s3://bucket/m"]);
    command.envs(site.server.environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("run the binary");
    wait_until("a segment that is asked for", || scripted.struck() > 0);
    for number in 0..30 {
        fs::write(site.env.source.join(format!("f{number:02}")), "changed").expect("write");
    }
    site.up(&[]).expect(0);
    assert!(!manifest(&site).contains(&"00000001.ndjson.zst".to_owned()));
    hold.release();
    let run = Run::wait(child, "export".into()).expect(0);
    assert_eq!(run.stdout.matches(&*blake3::hash(b"changed").to_hex()).count(), 30);
    assert_eq!(run.stdout.lines().count(), 61);
}

#[test]
fn a_bit_that_flips_on_the_way_is_found() {
    let site = mirrored();
    lose_state(&site);
    for name in ["latest.json", "00000001.json", "00000001.ndjson.zst"] {
        let key = format!("m/.vidimus/manifest/{name}");
        site.server.fail(On::every(Kind::Get).key(&key), Fault::FlippedBit);
        site.verify(&[]).expect_one_of(&[4, 7]).names("manifest");
        site.server.heal();
    }
    site.verify(&[]).expect(0);
}
