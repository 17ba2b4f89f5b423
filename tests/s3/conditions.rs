//! A store whose conditions can't be met, as Ceph's gateway before 2025: `If-Match` finds no tag to
//! match, `If-None-Match: *` an object where only the mark of a deletion stands.

use crate::common::background::{at_once, wait_until};
use crate::common::content::content;
use crate::s3::{Fault, Hold, Kind, Object, On};
use crate::scene::{MEBIBYTE, PREFIX, Scene};
use std::cell::Cell;

const LOCK: &str = "p/.vidimus/lock";
const TOLD: &str = "the store has no conditional writes (If-Match";

/// `If-Match` is never met, whatever is written or read.
fn never_matching(scene: &Scene) {
    for header in ["if-match: ", "x-amz-copy-source-if-match: "] {
        scene.server.fail(On::any().header(header), Fault::Status(412));
    }
}

#[test]
fn what_changed_is_written_without_a_condition_that_is_never_met() {
    let large = content(20 * MEBIBYTE, 1);
    let scene = Scene::new().with_files(&[("a", b"old"), ("large", b"old"), ("touched", b"same")]);
    never_matching(&scene);
    let run = scene.up(&[]).expect(0);
    run.is_silent_about(TOLD);
    scene.write("a", b"new");
    scene.write("large", &large);
    scene.env.age();
    let run = scene.up(&[]).expect(0).names(TOLD);
    assert_eq!(run.told().matches(TOLD).count(), 1, "{}", run.told());
    assert_eq!(scene.uploaded("a").content, "new");
    assert!(scene.uploaded("large").content == large);
    assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 0);
    // Both of them come down, whole and in ranges.
    scene.down(&[]).expect(0);
    assert_eq!(scene.downloaded("a").as_deref(), Some(&b"new"[..]));
    assert!(scene.downloaded("large").expect("it came") == large);
}

#[test]
fn what_somebody_else_put_is_seen_where_no_condition_is_ever_met() {
    let scene = Scene::new().with_files(&[("a", b"old")]);
    scene.up(&[]).expect(0);
    scene.write("a", b"new");
    scene.env.age();
    scene.server.fail(On::nth(Kind::Put, 1).key("p/a"), Fault::Replaced(b"someone else's"));
    never_matching(&scene);
    scene.up(&[]).expect(1).names("\"a\"").names("changed");
    assert_eq!(scene.uploaded("a").content, "someone else's");
}

#[test]
fn a_new_object_is_written_over_the_mark_of_a_deletion() {
    let scene = Scene::new().with_files(&[("a", b"first"), ("b", b"second")]);
    let over = On::every(Kind::Put).header("if-none-match: *");
    scene.server.fail(over.clone().key("p/a"), Fault::Status(412));
    scene.server.fail(over.key(LOCK), Fault::Status(412));
    scene.up(&[]).expect(0).names(TOLD).names("nothing keeps a second run out");
    assert_eq!(scene.uploaded("a").content, "first");
    assert_eq!(scene.uploaded("b").content, "second");
    assert!(scene.bucket.get(LOCK).is_none());
}

#[test]
fn a_lock_that_lapsed_is_taken_over_where_it_can_t_be_matched_and_one_that_stands_is_named() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    let foreign = || Object::new(r#"{"run":"other","pid":7,"host":"h","started":"?"}"#);
    scene.bucket.put_object(LOCK, foreign());
    never_matching(&scene);
    let run = scene.up(&[]).expect(5);
    run.names(&format!("\"s3://bucket@{}/{LOCK}\"", scene.server.endpoint()).replace('"', "\\\""));
    assert!(scene.bucket.get(&format!("{PREFIX}a")).is_none());
    scene.bucket.put_object(LOCK, foreign().with_modified(1_400_000_000));
    scene.up(&[]).expect(0).names("took over the lock").names("nothing keeps a second run out");
    assert_eq!(scene.uploaded("a").content, "first");
}

/// How the writes of the lock ended.
fn lock_writes(scene: &Scene) -> Vec<Option<u16>> {
    let written = scene.server.requests(Kind::Put).into_iter();
    written.filter(|it| it.key == LOCK.as_bytes()).map(|it| it.status).collect()
}

/// Mirrors, and holds up a file's copy until the lock was written like this: it is renewed after 15 s.
fn renewed(scene: &Scene, renewed: &[Option<u16>], meanwhile: impl Fn()) {
    let hold = Hold::new();
    scene.server.fail(On::every(Kind::Put).key("p/a"), Fault::Held(hold.clone()));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.up(&[]).expect(0));
        wait_until("a lock that is renewed", || {
            meanwhile();
            assert!(!run.is_finished(), "{:?}", lock_writes(scene));
            lock_writes(scene).ends_with(renewed)
        });
        hold.release();
    });
}

#[test]
fn a_lock_is_renewed_where_it_can_t_be_matched() {
    at_once([412, 501], |status| {
        let scene = Scene::new().with_files(&[("a", b"first")]);
        let conditional = On::every(Kind::Put).header("if-match: ").key(LOCK);
        scene.server.fail(conditional, Fault::Status(status));
        renewed(&scene, &[Some(status), Some(200)], || ());
        assert_eq!(scene.uploaded("a").content, "first");
    });
}

/// A renewal whose reply was lost says nothing of when it was done: the lock is written once more.
#[test]
fn a_lock_that_an_earlier_renewal_wrote_is_written_again() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    let acquired = [Some(200), Some(412)];
    let changed = Cell::new(false);
    renewed(&scene, &[&acquired[..], &[Some(412), Some(200)]].concat(), || {
        if !changed.get() && lock_writes(&scene) == acquired {
            // As a store has it that gives each write a tag of its own.
            let lock = scene.bucket.get(LOCK).expect("it is held");
            scene.bucket.put_object(LOCK, lock.with_etag("0123-2"));
            changed.set(true);
        }
    });
    assert!(changed.get());
}
