//! The lock of a store, where the store doesn't let it be taken.

use crate::common::TestTree;
use crate::s3::{Fault, Kind, Object, On};
use crate::site::Site;

const LOCK: &str = "m/.vidimus/lock";

fn site() -> Site {
    Site::of(&TestTree::new().file("f", "content"))
}

#[test]
fn a_lock_that_could_not_be_probed_is_removed_at_once() {
    let site = site();
    let fault = Fault::Error(403, "AccessDenied");
    site.server.fail(On::from(Kind::Put, 2).key(LOCK), fault.clone());
    let run = site.up(&[]).expect(7).names("AccessDenied");
    run.is_silent_about("released");
    assert!(site.bucket.keys().is_empty(), "{:?}", site.bucket.keys());

    // Where it can't be removed either, that is said.
    site.server.heal();
    site.server.fail(On::from(Kind::Put, 2).key(LOCK), fault.clone());
    site.server.fail(On::every(Kind::Delete), fault);
    site.up(&[]).expect(7).names("cannot release the target's lock, it expires by itself");
    assert_eq!(site.bucket.keys(), [LOCK]);
    site.server.heal();
    site.up(&[]).expect(0);
    assert_eq!(site.bucket.content("m/f"), "content");
}

#[test]
fn a_target_that_can_only_be_read_ends_the_run_with_help() {
    let site = site();
    for denied in [Fault::Error(403, "AccessDenied"), Fault::Status(403), Fault::Status(405)] {
        site.server.heal();
        site.server.fail(On::every(Kind::Put), denied);
        site.up(&[]).expect(7).names("cannot write the lock of \\\"s3://bucket");
        assert!(site.bucket.keys().is_empty());
        site.up(&["--dry-run"]).expect(0);
    }
}

#[test]
fn what_a_run_under_way_in_a_part_keeps_there_is_not_deleted() {
    const OWN: [&str; 2] = ["m/sub/.vidimus/lock", "m/sub/.vidimus/manifest/latest.json"];
    let holder = br#"{"run":"inner","pid":7,"host":"elsewhere","started":"2026-11-21T03:38:00Z"}"#;
    let site = site();
    let deletes = ["--delete", "--max-delete", "100%"];
    let is_there = |key: &str| site.bucket.keys().iter().any(|found| found == key);
    let stays = |key: &str| {
        let key = key.strip_prefix("m/").expect("it lies in the target");
        format!("\\\"{key}\\\" stays: another run is under way in its directory")
    };
    site.up(&[]).expect(0);
    let put = |lock| {
        site.bucket.put_object(OWN[0], lock);
        site.bucket.put(OWN[1], "a manifest");
        site.bucket.put("m/sub/x", "content");
    };
    put(Object::new(&holder[..]));
    let dry = site.up(&[&deletes[..], &["--dry-run"]].concat()).expect(0);
    let run = site.up(&deletes).expect(0);
    for key in OWN {
        let (dry, run) = (dry.stdout.contains(&stays(key)), run.stdout.contains(&stays(key)));
        assert!(dry && run && is_there(key), "{key}: {dry} {run} {}", is_there(key));
    }
    run.finished().counts(&[("files_deleted", 1)]);
    assert!(!is_there("m/sub/x"));
    // Whether a run holds it can't be asked: nothing is removed on that.
    site.server.fail(On::every(Kind::Get).key(OWN[0]), Fault::Error(403, "AccessDenied"));
    site.up(&deletes).expect(0).names("another run is under way");
    assert!(OWN.into_iter().all(is_there));
    site.server.heal();
    // A run that didn't renew it for longer than it holds is dead.
    put(Object::new(&holder[..]).with_modified(1_700_000_000));
    site.up(&deletes).expect(0).finished().counts(&[("files_deleted", 3)]);
    assert!(!OWN.into_iter().any(is_there) && !is_there("m/sub/x"));
}
