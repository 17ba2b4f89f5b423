//! The lock of a store, where the store doesn't let it be taken.

use crate::common::TestTree;
use crate::s3::{Fault, Kind, On};
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
    site.up(&[]).expect(7).names("cannot release the target's lock, it lapses by itself");
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
