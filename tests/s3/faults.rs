//! The store goes wrong: what passes is tried again and shown, what stays is named, nothing false is
//! written, and nothing is deleted on the word of half a listing.

use crate::common::background::{at_once, wait_until};
use crate::common::content::content;
use crate::common::{Snapshot, beside};
use crate::s3::{Fault, Hold, Kind, Object, On, Scripted};
use crate::scene::{MEBIBYTE, OTHER, PLACE, PREFIX, Scene};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FILES: [(&str, &[u8]); 4] =
    [("a", b"first"), ("b", b"second"), ("d/c", b"third"), ("d/e", b"")];

const PASSING: [Fault; 11] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(429),
    Fault::Error(500, "InternalError"),
    Fault::Error(400, "RequestTimeout"),
    Fault::SlowDown(None),
    Fault::Reset,
    Fault::LostReply,
    Fault::ResetMidBody,
    Fault::ShortBody,
    Fault::Delay(Duration::from_millis(300)),
];

/// Whether the client has to ask again.
fn is_failure(fault: &Fault) -> bool {
    !matches!(fault, Fault::Delay(_))
}

/// The contents of a bucket without what vidimus keeps for itself, directories' markers left out.
fn contents(objects: BTreeMap<String, Object>, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let below = |key: &str| key.strip_prefix(prefix).map(str::to_owned);
    objects
        .into_iter()
        .filter_map(|(key, object)| Some((below(&key)?, object.content.to_vec())))
        .filter(|(key, _)| !key.ends_with('/') && !key.is_empty() && !key.starts_with(".vidimus"))
        .collect()
}

fn of(files: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(key, content)| ((*key).to_owned(), content.to_vec())).collect()
}

/// Without content in the reply there is nothing to cut short.
fn strikes(fault: &Fault, kind: Kind) -> bool {
    let cuts = matches!(fault, Fault::ResetMidBody | Fault::ShortBody);
    !cuts || !matches!(kind, Kind::Put | Kind::Delete)
}

#[test]
fn what_passes_is_tried_again_on_the_way_up_and_counted() {
    for fault in PASSING {
        for kind in [Kind::List, Kind::Put].into_iter().filter(|kind| strikes(&fault, *kind)) {
            let scene = Scene::new().with_files(&FILES);
            let struck = scene.server.fail(On::nth(kind, 1), fault.clone());
            let run = scene.up(&[]);
            assert_eq!(run.code(), 0, "{fault:?} {kind:?}\n{}", run.told());
            assert_eq!(struck.struck(), 1);
            let retried = run.finished().count("requests_retried");
            assert_eq!(retried, u64::from(is_failure(&fault)), "{fault:?} {kind:?}");
            assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES), "{fault:?} {kind:?}");
            assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 0);
        }
    }
}

#[test]
fn what_passes_is_tried_again_on_the_way_down_and_counted() {
    for fault in PASSING {
        let scene = Scene::new().with_objects(&FILES);
        let struck = scene.server.fail(On::nth(Kind::Get, 1).key("p/a"), fault.clone());
        let run = scene.down(&[]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert_eq!(struck.struck(), 1);
        let retried = run.finished().count("requests_retried");
        assert_eq!(retried, u64::from(is_failure(&fault)), "{fault:?}");
        for (name, content) in FILES {
            assert_eq!(scene.downloaded(name).as_deref(), Some(content), "{fault:?} {name}");
        }
    }
}

#[test]
fn what_passes_is_tried_again_within_the_store_and_counted() {
    for fault in PASSING.into_iter().chain([Fault::ErrorInOk("InternalError")]) {
        let scene = Scene::new().with_objects(&FILES);
        let struck = scene.server.fail(On::nth(Kind::Copy, 2), fault.clone());
        let run = scene.across(&[]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert_eq!(struck.struck(), 1);
        let retried = run.finished().count("requests_retried");
        // What was done though no whole reply told is seen to be done.
        let is_done = matches!(fault, Fault::LostReply | Fault::ResetMidBody | Fault::ShortBody);
        assert_eq!(retried, u64::from(is_failure(&fault) && !is_done), "{fault:?}");
        assert_eq!(contents(scene.other.objects(), "q/"), of(&FILES), "{fault:?}");
    }
}

#[test]
fn an_upload_in_parts_survives_what_passes_at_each_of_its_requests() {
    let large = content(20 * MEBIBYTE, 1);
    let faults = [
        Fault::Status(500),
        Fault::SlowDown(None),
        Fault::Reset,
        Fault::LostReply,
        Fault::ErrorInOk("InternalError"),
        Fault::ShortBody,
    ];
    for kind in [Kind::CreateUpload, Kind::Part, Kind::Complete] {
        for fault in &faults {
            let in_body = matches!(fault, Fault::ErrorInOk(_) | Fault::ShortBody);
            if in_body && kind == Kind::Part {
                continue;
            }
            let scene = Scene::new().with_files(&[("large", &large)]);
            let struck = scene.server.fail(On::nth(kind, 1), fault.clone());
            let run = scene.up(&[]);
            assert_eq!(run.code(), 0, "{kind:?} {fault:?}\n{}", run.told());
            assert_eq!(struck.struck(), 1);
            // What was done, though no reply said so, is found and not asked for again.
            let is_done =
                kind == Kind::Complete && matches!(fault, Fault::LostReply | Fault::ShortBody);
            let retried = run.finished().count("requests_retried");
            assert_eq!(retried, u64::from(!is_done), "{kind:?} {fault:?}");
            assert!(scene.uploaded("large").content == large, "{kind:?} {fault:?}");
            // A reply to the beginning that is lost leaves an upload of which nobody knows the name.
            let left = scene.bucket.uploads().len();
            let unknown =
                kind == Kind::CreateUpload && matches!(fault, Fault::LostReply | Fault::ShortBody);
            assert_eq!(left, usize::from(unknown), "{kind:?} {fault:?}");
            // No part is sent twice but the one that failed.
            assert!(scene.server.count(Kind::Part) <= 4, "{kind:?} {fault:?}");
            assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 0);
        }
    }
}

#[test]
fn a_lost_reply_to_a_new_object_is_no_name_taken_and_costs_no_third_upload() {
    let scene = Scene::new().with_files(&FILES);
    let conditional = On::every(Kind::Put).header("if-none-match: *").key("p/a");
    let lost = scene.server.fail(conditional.turns(1..=1), Fault::LostReply);
    let run = scene.up(&[]).expect(0);
    assert_eq!(lost.struck(), 1, "new objects are put where there is none\n{}", run.told());
    run.is_silent_about("NameTaken").is_silent_about("taken");
    let sent = scene.server.requests(Kind::Put);
    assert_eq!(sent.iter().filter(|request| request.key == b"p/a").count(), 2);
    assert_eq!(scene.uploaded("a").content, "first");
}

#[test]
fn what_someone_else_put_meanwhile_is_not_overwritten() {
    let scene = Scene::new().with_files(&FILES);
    scene.server.fail(On::nth(Kind::Put, 1).key("p/a"), Fault::Replaced(b"someone else's"));
    scene.up(&[]).expect(1).names("\"a\"");
    assert_eq!(scene.uploaded("a").content, "someone else's");
    assert_eq!(scene.uploaded("b").content, "second");
}

#[test]
fn what_someone_else_put_is_not_overwritten_by_what_is_sent_in_parts_or_anew() {
    let large = content(20 * MEBIBYTE, 1);
    for (now, kind) in [(&b"new"[..], Kind::Put), (&large, Kind::Complete)] {
        for before in [None, Some(&b"old"[..])] {
            let scene = Scene::new();
            if let Some(before) = before {
                scene.write("x", before);
                scene.env.age();
                scene.up(&[]).expect(0);
            }
            let scene = scene.with_files(&[("x", now)]);
            let on = On::nth(kind, 1).key("p/x");
            scene.server.fail(on, Fault::Replaced(b"someone else's"));
            scene.up(&[]).expect(1).names("\"x\"");
            assert_eq!(scene.uploaded("x").content, "someone else's", "{kind:?} {before:?}");
            assert!(scene.bucket.uploads().is_empty());
            // The next run sees it, and does what it was asked to.
            scene.up(&[]).expect(0);
            assert!(scene.uploaded("x").content == now, "{kind:?} {before:?}");
        }
    }
}

#[test]
fn a_lost_reply_to_what_replaces_an_object_is_no_change_by_someone_else() {
    let large = content(20 * MEBIBYTE, 1);
    for (now, kind) in [(&b"new"[..], Kind::Put), (&large, Kind::Complete)] {
        let scene = Scene::new().with_files(&[("x", b"old")]);
        scene.up(&[]).expect(0);
        let scene = scene.with_files(&[("x", now)]);
        let lost = scene.server.fail(On::nth(kind, 1).key("p/x"), Fault::LostReply);
        scene.up(&[]).expect(0);
        assert_eq!(lost.struck(), 1);
        assert!(scene.uploaded("x").content == now, "{kind:?}");
        assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 0);
    }
}

#[test]
fn what_someone_else_put_after_a_lost_reply_is_not_taken_for_ones_own() {
    let scene = Scene::new().with_files(&FILES);
    scene.server.fail(On::nth(Kind::Put, 1).key("p/a"), Fault::LostReply);
    scene.server.fail(On::nth(Kind::Put, 2).key("p/a"), Fault::Replaced(b"someone else's"));
    scene.up(&[]).expect(1).names("\"a\"");
    assert_eq!(scene.uploaded("a").content, "someone else's");
}

#[test]
fn deletions_survive_what_passes() {
    for fault in PASSING {
        let scene = Scene::new().with_files(&FILES);
        put(&scene, &numbered(0..5));
        let struck = scene.server.fail(On::nth(Kind::DeleteMany, 1), fault.clone());
        let run = scene.up(&["--delete", "--max-delete", "100%"]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert_eq!(struck.struck(), 1);
        assert_eq!(run.finished().count("files_deleted"), 5, "{fault:?}");
        assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES), "{fault:?}");
    }
}

#[test]
fn verification_sees_what_was_damaged_in_the_store_and_tries_again_what_passes() {
    let scene = Scene::new().with_files(&FILES);
    scene.up(&[]).expect(0);
    let verify = || {
        let arguments = ["verify", "--json", crate::scene::PLACE];
        crate::common::Run::of(scene.command(&arguments))
    };
    scene.server.fail(On::first(Kind::Get, 1), Fault::Reset);
    verify().expect(0);
    scene.server.heal();
    scene.server.fail(On::first(Kind::Get, 1), Fault::FlippedBit);
    verify().expect(0);
    scene.server.heal();
    scene.server.fail(On::every(Kind::Get).key("p/a"), Fault::FlippedBit);
    verify().expect(3).names("\"a\"");
    scene.server.heal();
    scene.server.fail(On::every(Kind::Get).key("p/b"), Fault::Status(403));
    let run = verify().expect_one_of(&[1, 3]);
    run.names("\"b\"");
}

#[test]
fn a_store_that_asks_for_patience_gets_it() {
    let scene = Scene::new().with_files(&FILES);
    scene.server.fail(On::nth(Kind::Put, 1), Fault::SlowDown(Some(2)));
    scene.up(&[]).expect(0);
    let puts = scene.server.requests(Kind::Put);
    let first = &puts[0];
    let again = puts.iter().skip(1).find(|request| request.key == first.key).expect("tried again");
    assert!(again.at - first.at >= Duration::from_secs(2));
}

#[test]
fn a_store_that_never_recovers_fails_entries_by_name() {
    let scene = Scene::new().with_files(&FILES);
    let denied = scene.server.fail(On::every(Kind::Put).key("p/b"), Fault::Status(403));
    let run = scene.up(&[]).expect(1).names("\"b\"").names("access denied");
    assert_eq!(denied.struck(), 1, "what can't pass is not tried again\n{}", run.told());
    assert_eq!(scene.uploaded("a").content, "first");
    scene.server.heal();
    assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 1);
}

/// The faults of content that goes on as if all were well.
fn of_content(length: usize) -> Scene {
    Scene::new().with_files(&[("x", &content(length, 7))])
}

/// Uploads `x`, damages its reading, mirrors it to the target.
fn damaged(length: usize, fault: Fault, turns: std::ops::RangeInclusive<u64>) -> (Scene, i32) {
    let scene = of_content(length);
    scene.up(&[]).expect(0);
    let struck = scene.server.fail(On::every(Kind::Get).key("p/x").turns(turns), fault);
    let run = scene.down(&[]);
    assert!(struck.struck() > 0, "{}", run.told());
    let code = run.code();
    if code != 0 {
        run.names("\"x\"");
    }
    (scene, code)
}

/// What comes in one piece, in several, in one part that is read by one request, and in ranges of
/// what was sent in parts, which has a checksum instead of a digest.
const LENGTHS: [usize; 4] = [10, 300_000, 8 * MEBIBYTE, 20 * MEBIBYTE];

/// From now on only the objects say what they are.
/// Neither the state nor the manifest tells of what was sent.
fn forget_records(scene: &Scene) {
    forget_state(scene);
    for key in scene.bucket.keys().iter().filter(|key| key.starts_with("p/.vidimus/manifest/")) {
        scene.bucket.delete(key);
    }
}

/// Listings, but of what is published.
fn of_the_tree() -> On {
    On::every(Kind::List).without(".vidimus/")
}

fn forget_state(scene: &Scene) {
    fs::remove_dir_all(scene.env.root.join("state")).expect("remove the state");
}

fn with_old_target(scene: &Scene) {
    fs::create_dir(&scene.env.target).expect("make a directory");
    fs::write(scene.env.target.join("x"), "old").expect("write a file");
}

#[test]
fn a_bit_that_flips_on_the_way_down_is_never_written() {
    for (length, has_state) in LENGTHS.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let scene = of_content(length);
        scene.up(&[]).expect(0);
        if !has_state {
            forget_state(&scene);
        }
        with_old_target(&scene);
        let flipped = scene.server.fail(On::every(Kind::Get).key("p/x"), Fault::FlippedBit);
        scene.down(&[]).expect(1).names("\"x\"").names("its content is not what");
        assert!(flipped.struck() >= 2, "{length}: it was read once more");
        assert_eq!(scene.downloaded("x").as_deref(), Some(&b"old"[..]), "{length}");
        scene.server.heal();
        scene.down(&[]).expect(0);
        assert!(scene.downloaded("x").expect("written") == content(length, 7), "{length}");
    }
}

#[test]
fn a_bit_that_flips_once_is_repaired_by_reading_again() {
    for (length, has_state) in LENGTHS.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let scene = of_content(length);
        scene.up(&[]).expect(0);
        if !has_state {
            forget_state(&scene);
        }
        let flipped = scene.server.fail(On::nth(Kind::Get, 1).key("p/x"), Fault::FlippedBit);
        scene.down(&[]).expect(0);
        assert_eq!(flipped.struck(), 1);
        assert!(scene.downloaded("x").expect("written") == content(length, 7), "{length}");
    }
}

#[test]
fn what_rotted_in_the_store_is_read_twice_and_named() {
    for length in LENGTHS {
        let scene = of_content(length);
        scene.up(&[]).expect(0);
        let mut object = scene.uploaded("x");
        let mut rotten = object.content.to_vec();
        rotten[length / 2] ^= 1;
        object.content = rotten.into();
        scene.bucket.put_object("p/x", object);
        with_old_target(&scene);
        forget_state(&scene);
        scene.down(&[]).expect(1).names("\"x\"").names("its content is not what");
        assert_eq!(scene.downloaded("x").as_deref(), Some(&b"old"[..]), "{length}");
    }
}

/// A server in between may, as Google's store does with what it unpacks.
#[test]
fn a_store_that_ignores_ranges_is_read_whole_after_the_first_and_told() {
    for options in [&[][..], &["--digest", "sha256"]] {
        let scene = of_content(40 * MEBIBYTE);
        scene.up(&[]).expect(0);
        forget_state(&scene);
        let object = scene.uploaded("x");
        let headers = vec![("etag", format!("\"{}\"", object.etag))];
        let whole = Fault::Reply(200, headers, object.content.slice(..));
        let ignored = scene.server.fail(On::every(Kind::Get).key("p/x").header("range"), whole);
        scene.down(options).expect(0).names("sends whole objects when asked for a range");
        assert_eq!(ignored.struck(), 1, "{options:?}");
        assert!(scene.downloaded("x").expect("written") == content(40 * MEBIBYTE, 7));
    }
}

#[test]
fn a_known_object_is_mirrored_where_listing_is_denied() {
    let scene = Scene::new().with_files(&FILES);
    scene.up(&[]).expect(0);
    forget_state(&scene);
    scene.server.fail(On::every(Kind::List), Fault::Status(403));
    let target = format!("{}-single", scene.target());
    let run = |location: &str, target: &str| {
        crate::common::Run::of(scene.command(&["mirror", location, target]))
    };
    run(&format!("{PLACE}/a"), &target).expect(0);
    assert_eq!(
        std::fs::read(format!("{target}/a")).ok(),
        Some(scene.uploaded("a").content.to_vec())
    );
    run(PLACE, &target).expect(7).names("s3:ListBucket");
    run(&format!("{PLACE}/none"), &target).expect(7).names("s3:ListBucket");
}

#[test]
fn a_small_object_that_comes_damaged_once_is_shown_as_it_is() {
    let sum = crate::s3::sum("crc64nvme", b"content");
    let object = Object::new("content").with_checksum("crc64nvme", &sum);
    let scene = Scene::new().with_files(&[("digest", b"content")]);
    scene.up(&[]).expect(0);
    scene.bucket.put_object("p/checksum", object);
    for key in ["digest", "checksum"] {
        let location = format!("{PLACE}/{key}");
        let cat = || crate::common::Run::of(scene.command(&["cat", &location]));
        scene.server.fail(On::nth(Kind::Get, 1).key(key), Fault::FlippedBit);
        assert_eq!(cat().expect(0).stdout, "content", "{key}");
        scene.server.heal();
        scene.server.fail(On::every(Kind::Get).key(key), Fault::FlippedBit);
        cat().expect_one_of(&[1, 7]).names("its content is not what");
        scene.server.heal();
    }
}

#[test]
fn a_checksum_costs_one_head_where_a_large_object_has_no_digest_and_else_nothing() {
    for (length, heads) in [(10, 0), (8 * MEBIBYTE, 0), (20 * MEBIBYTE, 1)] {
        let scene = of_content(length);
        scene.up(&[]).expect(0);
        forget_records(&scene);
        scene.server.forget();
        scene.down(&[]).expect(0);
        let asked = scene.server.requests(Kind::Head);
        assert_eq!(asked.iter().filter(|it| it.key == b"p/x").count(), heads, "{length}");
        scene.server.forget();
        scene.env.age();
        scene.down(&[]).expect(0);
        assert_eq!((scene.server.count(Kind::Head), scene.server.count(Kind::Get)), (0, 0));
    }
}

#[test]
fn a_body_that_is_short_and_says_so_is_never_written() {
    for length in [10, 300_000, 20 * MEBIBYTE] {
        let (scene, code) = damaged(length, Fault::Truncated, 1..=u64::MAX);
        assert_eq!((code, scene.downloaded("x")), (1, None), "{length}");
    }
}

#[test]
fn a_body_that_always_ends_early_is_never_written() {
    let (scene, _) = {
        let scene = Scene::new().with_objects(&FILES);
        scene.server.fail(On::every(Kind::Get).key("p/a"), Fault::Truncated);
        let code = scene.down(&[]).expect(1).names("\"a\"").code();
        (scene, code)
    };
    assert_eq!(scene.downloaded("a"), None);
    assert_eq!(scene.downloaded("b").as_deref(), Some(&b"second"[..]));
}

#[test]
fn an_object_that_breaks_off_goes_on_where_it_was() {
    let large = content(12 * MEBIBYTE, 3);
    for fault in [Fault::ResetMidBody, Fault::ShortBody] {
        let scene = Scene::new().with_objects(&[("x", &large)]);
        scene.server.fail(On::first(Kind::Get, 3).key("p/x"), fault.clone());
        let run = scene.down(&[]).expect(0);
        assert_eq!(run.finished().count("requests_retried"), 3, "{fault:?}\n{}", run.told());
        assert!(scene.downloaded("x").expect("written") == large, "{fault:?}");
        let mut gets = scene.server.requests(Kind::Get);
        gets.retain(|get| get.key == b"p/x");
        assert!(gets[1..].iter().all(|get| get.header("range").is_some()), "not from its start");
        assert!(gets.iter().all(|get| get.header("if-match").is_some()));
    }
    // And in ranges, each by itself.
    let large = content(40 * MEBIBYTE, 3);
    for fault in [Fault::ResetMidBody, Fault::ShortBody] {
        let scene = Scene::new().with_objects(&[("x", &large)]);
        // The first reply only tells the facts.
        let broken = (2..6)
            .map(|turn| scene.server.fail(On::nth(Kind::Get, turn).key("p/x"), fault.clone()));
        let broken: Vec<_> = broken.collect();
        let run = scene.down(&[]).expect(0);
        assert!(broken.iter().all(|script| script.struck() == 1), "{fault:?}");
        assert_eq!(run.finished().count("requests_retried"), 4, "{fault:?}\n{}", run.told());
        assert!(scene.downloaded("x").expect("written") == large, "{fault:?}");
        let mut gets = scene.server.requests(Kind::Get);
        gets.retain(|get| get.key == b"p/x");
        assert_eq!(gets.len(), 1 + 3 + 4, "{fault:?}");
        assert!(gets.iter().all(|get| get.header("range").is_some()), "{fault:?}");
        assert!(gets.iter().all(|get| get.header("if-match").is_some()), "{fault:?}");
    }
}

/// Someone replaces the object between two ranges of it.
#[test]
fn an_object_that_is_replaced_while_it_is_read_is_never_mixed() {
    let (old, new) = (content(40 * MEBIBYTE, 3), content(40 * MEBIBYTE, 4));
    let new: &'static [u8] = Box::leak(new.into_boxed_slice());
    for turn in [1, 2, 3] {
        let scene = Scene::new().with_objects(&[("x", &old)]);
        let replaced = scene.server.fail(On::nth(Kind::Get, turn).key("p/x"), Fault::Replaced(new));
        scene.down(&[]).expect(0);
        assert_eq!(replaced.struck(), 1);
        assert!(scene.downloaded("x").expect("written") == new, "read anew: {turn}");
    }
    // And one that never rests is named.
    let scene = Scene::new().with_objects(&[("x", &old)]);
    for turn in 1..100 {
        let content: &'static [u8] = Box::leak(vec![turn as u8; 20 * MEBIBYTE].into_boxed_slice());
        scene.server.fail(On::nth(Kind::Get, turn).key("p/x"), Fault::Replaced(content));
    }
    scene.down(&[]).expect(1).names("\"x\"");
    assert_eq!(scene.downloaded("x"), None);
}

#[test]
fn a_store_that_ignores_conditions_does_not_mix_versions() {
    let large = content(40 * MEBIBYTE, 3);
    let scene = Scene::new().with_objects(&[("x", &large)]);
    let other = Fault::ETag("\"00000000000000000000000000000000\"");
    scene.server.fail(On::from(Kind::Get, 3), other);
    scene.down(&[]).expect(1).names("\"x\"");
    assert_eq!(scene.downloaded("x"), None);
}

#[test]
fn an_object_that_vanishes_is_named_and_the_others_come() {
    let scene = Scene::new().with_objects(&FILES);
    scene.server.fail(On::nth(Kind::Get, 1).key("p/a"), Fault::Deleted);
    scene.down(&[]).expect(1).names("\"a\"").names("vanished");
    assert_eq!(scene.downloaded("a"), None);
    assert_eq!(scene.downloaded("b").as_deref(), Some(&b"second"[..]));
    let scene = Scene::new().with_objects(&FILES);
    // What a store doesn't find to copy it may find to read.
    scene.server.fail(On::nth(Kind::Copy, 1).key("q/a"), Fault::Error(404, "NoSuchKey"));
    scene.server.fail(On::nth(Kind::Get, 1).key("p/a"), Fault::Deleted);
    scene.across(&[]).expect(1).names("\"a\"");
    assert_eq!(scene.other.content("q/b"), "second");
}

#[test]
fn an_object_that_changes_before_the_store_copies_it_is_copied_as_it_is_then() {
    let scene = Scene::new().with_objects(&FILES);
    let changed = scene.server.fail(On::nth(Kind::Copy, 1), Fault::Status(412));
    scene.across(&[]).expect(0);
    assert_eq!(changed.struck(), 1);
    assert_eq!(contents(scene.other.objects(), "q/"), of(&FILES));
}

/// A small page, so that few keys make many.
fn paged() -> Scene {
    let scene = Scene::new();
    scene.server.settings(|settings| settings.page = 10);
    scene
}

fn numbered(range: std::ops::Range<u32>) -> Vec<(String, Vec<u8>)> {
    range.map(|n| (format!("k{n:03}"), n.to_string().into_bytes())).collect()
}

fn put(scene: &Scene, files: &[(String, Vec<u8>)]) {
    for (key, content) in files {
        scene.bucket.put(&format!("{PREFIX}{key}"), content);
    }
}

/// A listing that goes wrong on a page, for good, has no say in deletions.
#[test]
fn half_a_listing_of_the_source_deletes_nothing_and_the_rest_is_copied() {
    let faults = [
        ("500", Fault::Status(500)),
        ("denied", Fault::Status(403)),
        ("no token", Fault::NoToken),
        ("disordered", Fault::Disordered),
        ("cut", Fault::Truncated),
    ];
    at_once(faults, |(name, fault)| {
        let scene = paged();
        put(&scene, &numbered(0..45));
        fs::create_dir(&scene.env.target).expect("make a directory");
        for extra in ["a", "k044", "z"] {
            fs::write(scene.env.target.join(extra), "extra").expect("write a file");
        }
        scene.server.fail(On::every(Kind::List).page(3), fault);
        let run = scene.down(&["--delete", "--max-delete", "100%"]);
        assert_eq!(run.code(), 1, "{name}\n{}", run.told());
        let finished = run.finished();
        assert_eq!(finished.count("files_deleted"), 0, "{name}\n{}", run.told());
        for extra in ["a", "k044", "z"] {
            assert!(scene.downloaded(extra).is_some(), "{name} {extra}");
        }
        for (key, content) in numbered(0..20) {
            assert_eq!(scene.downloaded(&key), Some(content), "{name} {key}\n{}", run.told());
        }
        scene.server.heal();
        scene.down(&["--delete", "--max-delete", "100%"]).expect(0);
        assert_eq!(scene.downloaded("z"), None, "{name}");
    });
}

/// A store that lists in an order of its own, and shows it late.
#[test]
fn an_order_that_shows_late_ends_the_run_and_is_sorted_by_the_next() {
    let scene = paged();
    put(&scene, &numbered(0..45));
    fs::create_dir(&scene.env.target).expect("make a directory");
    fs::write(scene.env.target.join("z"), "extra").expect("write a file");
    scene.server.fail(On::every(Kind::List).page(3), Fault::Disordered);
    let flags = ["--delete", "--max-delete", "100%"];
    let dry = [&flags[..], &["--dry-run"]].concat();
    scene.down(&dry).expect(1).names("out of order").names("a run that is not a dry run");
    let run = scene.down(&flags).expect(1).names("out of order").names("run again");
    assert_eq!(run.finished().count("files_deleted"), 0);
    assert!(scene.downloaded("z").is_some());
    for again in [&dry[..], &flags, &flags] {
        scene.down(again).expect(0);
    }
    for (key, content) in numbered(0..45) {
        assert_eq!(scene.downloaded(&key), Some(content), "{key}");
    }
    assert_eq!(scene.downloaded("z"), None);
}

#[test]
fn half_a_listing_of_the_target_deletes_nothing_and_the_rest_is_copied() {
    let faults = [
        ("500", Fault::Status(500)),
        ("denied", Fault::Status(403)),
        ("no token", Fault::NoToken),
        ("disordered", Fault::Disordered),
    ];
    at_once(faults, |(name, fault)| {
        let scene = paged().with_files(&FILES);
        put(&scene, &numbered(0..45));
        scene.server.fail(On::every(Kind::List).page(3), fault);
        let run = scene.up(&["--delete", "--max-delete", "100%"]);
        assert_eq!(run.code(), 1, "{name}\n{}", run.told());
        assert_eq!(run.finished().count("files_deleted"), 0, "{name}\n{}", run.told());
        assert_eq!(sent(&scene, Kind::DeleteMany) + sent(&scene, Kind::Delete), 0);
        for (key, content) in numbered(0..45) {
            assert_eq!(scene.uploaded(&key).content, content, "{name} {key}");
        }
        for (key, content) in FILES {
            let expected = (name, key, content);
            assert_eq!((name, key, &scene.uploaded(key).content[..]), expected);
        }
        scene.server.heal();
        scene.up(&["--delete", "--max-delete", "100%"]).expect(0);
        assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES), "{name}");
    });
}

#[test]
fn half_a_listing_from_bucket_to_bucket_deletes_nothing() {
    let faults = [Fault::Status(500), Fault::Disordered, Fault::NoToken];
    let sides = [("bucket", 20), ("other", 45)];
    let cases = sides.iter().flat_map(|side| faults.iter().map(move |fault| (*side, fault)));
    at_once(cases, |((bucket, keeps), fault)| {
        let scene = paged();
        put(&scene, &numbered(0..45));
        for n in 0..45 {
            scene.other.put(&format!("q/x{n:03}"), "extra");
        }
        scene.server.fail(On::every(Kind::List).bucket(bucket).page(3), fault.clone());
        let run = scene.across(&["--delete", "--max-delete", "100%"]);
        assert_eq!(run.code(), 1, "{bucket} {fault:?}\n{}", run.told());
        assert_eq!(run.finished().count("files_deleted"), 0, "{bucket} {fault:?}");
        let copied = contents(scene.other.objects(), "q/k").len();
        assert!(copied >= keeps, "{bucket} {fault:?}: {copied}\n{}", run.told());
        assert_eq!(contents(scene.other.objects(), "q/x").len(), 45);
    });
}

#[test]
fn a_target_whose_first_page_fails_ends_the_run() {
    let scene = paged().with_files(&FILES);
    put(&scene, &numbered(0..45));
    scene.server.fail(On::every(Kind::List), Fault::Status(500));
    scene.up(&["--delete", "--max-delete", "100%"]).expect(7);
    assert_eq!(sent(&scene, Kind::Put), 0);
    assert_eq!(sent(&scene, Kind::DeleteMany), 0);
}

/// How many requests of a kind came, but for the lock's and those that try whether the store keeps
/// markers.
fn sent(scene: &Scene, kind: Kind) -> usize {
    let own = [&b".vidimus/lock"[..], b".vidimus/probe", b".vidimus/probe/"];
    let is_own = |key: &[u8]| own.iter().any(|own| key.ends_with(own));
    scene.server.requests(kind).iter().filter(|request| !is_own(&request.key)).count()
}

/// One page of a listing, as a store may write it.
fn page(keys: &[&str], next: Option<&str>) -> Fault {
    let entry = |key: &&str| {
        format!(
            "<Contents><Key>{key}</Key><Size>1</Size><LastModified>2024-01-01T00:00:00.000Z\
             </LastModified><ETag>\"9dd4e461268c8034f5c8564e155c67a6\"</ETag></Contents>"
        )
    };
    let entries: String = keys.iter().map(entry).collect();
    let next = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |token| {
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}\
                 </NextContinuationToken>"
            )
        },
    );
    let body = format!(
        "<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType>{next}{entries}\
         </ListBucketResult>"
    );
    Fault::Reply(200, Vec::new(), body.into())
}

#[test]
fn a_listing_that_goes_round_ends() {
    // Each page points to the other, and both are empty.
    let scene = Scene::new().with_objects(&FILES);
    scene.server.fail(On::every(Kind::List).page(1), page(&[], Some("2/+k=61")));
    scene.server.fail(On::every(Kind::List).page(2), page(&[], Some("3/+k=62")));
    scene.server.fail(On::every(Kind::List).page(3), page(&[], Some("2/+k=61")));
    scene.down(&[]).expect_one_of(&[1, 7]);
    assert!(scene.server.count(Kind::List) < 10, "{:?}", scene.server.counts());
}

#[test]
fn disordered_keys_within_a_page_are_sorted() {
    let scene = Scene::new().with_objects(&FILES);
    scene.server.fail(of_the_tree(), page(&["p/b", "p/a"], None));
    let told = scene.down(&["--dry-run"]).expect(0).finished();
    assert_eq!(told.count("files_planned"), 2);
}

#[test]
fn a_key_that_is_told_twice_in_two_ways_is_no_listing() {
    let scene = Scene::new().with_objects(&FILES);
    fs::create_dir(&scene.env.target).expect("make a directory");
    fs::write(scene.env.target.join("extra"), "extra").expect("write a file");
    let Fault::Reply(status, headers, body) = page(&["p/a", "p/a"], None) else { unreachable!() };
    let body = String::from_utf8_lossy(&body).replacen("<Size>1<", "<Size>2<", 1);
    scene.server.fail(of_the_tree(), Fault::Reply(status, headers, body.into()));
    let run = scene.down(&["--delete", "--max-delete", "100%"]).expect(1);
    assert!(scene.downloaded("extra").is_some(), "{}", run.told());
}

/// rustfs/rustfs#2439: keys below a directory's marker come twice.
#[test]
fn a_key_that_is_told_twice_alike_is_one() {
    for keys in [&["p/a", "p/a", "p/b"][..], &["p/a", "p/b", "p/a", "p/b"]] {
        let scene = Scene::new().with_objects(&FILES);
        scene.server.fail(of_the_tree(), page(keys, None));
        let told = scene.down(&["--dry-run"]).expect(0).finished();
        assert_eq!(told.count("files_planned"), 2, "{keys:?}");
    }
}

#[test]
fn keys_that_would_lead_outside_are_named_and_nothing_is_written_there() {
    let scene = Scene::new();
    let hostile = [
        "../outside/x",
        "..",
        "d/../../outside/x",
        "/outside/y",
        "//z",
        "./w",
        "d/./v",
        "d//u",
        "nul\0byte",
        "\u{1b}[2Jescape",
        "new\nline",
        ".vidimus/run/x",
    ];
    for key in hostile {
        scene.bucket.put(&format!("{PREFIX}{key}"), "evil");
    }
    let long = "l".repeat(300);
    scene.bucket.put(&format!("{PREFIX}{long}"), "evil");
    scene.bucket.put(&format!("{PREFIX}good"), "good");
    let outside = Snapshot::read(&scene.env.outside);
    let run = scene.down(&[]).expect(1);
    assert_eq!(scene.downloaded("good").as_deref(), Some(&b"good"[..]), "{}", run.told());
    assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{}", run.told());
    assert!(!run.stderr.contains('\0'), "{}", run.told());
    crate::common::assert_untouched(&outside, &scene.env.outside);
    let found = Snapshot::read(&scene.env.target);
    let names: Vec<_> = found.entries.keys().map(|key| key.escape_ascii().to_string()).collect();
    let made: Vec<_> = names.iter().filter(|name| !name.starts_with('d')).collect();
    assert_eq!(made, ["", "\\x1b[2Jescape", "good", "new\\nline"], "{}", run.told());
    for name in ["outside", "x", "z", "w", "v", "u"] {
        assert!(!scene.env.root.join("d").exists() && !scene.env.target.join(name).exists());
    }
    for key in ["../outside/x", "d/../../outside/x", "/outside/y", "d//u", "nul"] {
        assert!(run.stderr.contains(key) || run.stdout.contains(key), "{key}\n{}", run.told());
    }
}

#[test]
fn a_page_of_keys_that_nobody_asked_for_is_no_listing() {
    for keys in [&["p/a", "x"][..], &["../../etc/passwd"], &["other/a"]] {
        let scene = Scene::new().with_objects(&FILES);
        fs::create_dir(&scene.env.target).expect("make a directory");
        fs::write(scene.env.target.join("extra"), "extra").expect("write a file");
        scene.server.fail(On::every(Kind::List), page(keys, None));
        let run = scene.down(&["--delete", "--max-delete", "100%"]).expect_one_of(&[1, 7]);
        assert!(scene.downloaded("extra").is_some(), "{keys:?}\n{}", run.told());
    }
}

#[test]
fn a_link_in_the_target_does_not_lead_a_key_outside() {
    let scene = Scene::new().with_objects(&[("d/x", b"evil"), ("good", b"good")]);
    fs::create_dir(&scene.env.target).expect("make a directory");
    std::os::unix::fs::symlink(&scene.env.outside, scene.env.target.join("d")).expect("link");
    let outside = Snapshot::read(&scene.env.outside);
    scene.down(&[]).expect_one_of(&[0, 1]);
    crate::common::assert_untouched(&outside, &scene.env.outside);
}

/// A link that the store makes must not be followed by a key that comes later.
#[test]
fn a_link_from_the_store_is_not_followed() {
    let scene = Scene::new();
    let outside = scene.env.outside.to_str().expect("UTF-8").to_owned();
    let link = Object::new(outside)
        .with_metadata("vidimus-kind", "symlink")
        .with_metadata("mtime", "1700000000.0");
    scene.bucket.put_object("p/l", link);
    scene.bucket.put("p/l/x", "evil");
    let before = Snapshot::read(&scene.env.outside);
    scene.down(&[]).expect(1).names("\"l");
    crate::common::assert_untouched(&before, &scene.env.outside);
    scene.bucket.delete("p/l/x");
    scene.down(&[]).expect(0);
    scene.bucket.delete("p/l");
    scene.bucket.put("p/l/x", "evil");
    scene.down(&["--delete", "--max-delete", "100%"]).expect_one_of(&[0, 1]);
    crate::common::assert_untouched(&before, &scene.env.outside);
}

#[test]
fn metadata_that_makes_no_sense_is_taken_for_missing() {
    let scene = Scene::new();
    let junk = |value: &str| {
        Object::new(value.to_owned())
            .with_metadata("mtime", value)
            .with_metadata("vidimus-mode", value)
            .with_metadata("vidimus-uid", value)
            .with_metadata("vidimus-gid", value)
            .with_metadata("vidimus-blake3", value)
    };
    let values = ["NaN", "999999", "-1", "9999999999999999999999", "1e308", "0x10", "%00", "inf"];
    for (n, value) in values.iter().enumerate() {
        scene.bucket.put_object(&format!("p/{n}"), junk(value));
    }
    let mode = Object::new("x").with_metadata("mtime", "1").with_metadata("vidimus-mode", "999999");
    scene.bucket.put_object("p/mode", mode);
    scene.down(&[]).expect(0);
    for (n, value) in values.iter().enumerate() {
        let path = scene.env.target.join(n.to_string());
        assert_eq!(fs::read(&path).expect("written"), value.as_bytes());
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7000, 0, "{value}");
    }
    assert_eq!(scene.down(&[]).expect(0).finished().count("files_copied"), 0);
}

/// An mtime far beyond what file systems hold: named or taken for missing, never a panic.
#[test]
fn an_mtime_beyond_all_time_is_no_panic() {
    for mtime in ["9223372036854775807", "-9223372036854775808", "-9223372036854775807.9"] {
        let scene = Scene::new();
        scene.bucket.put_object("p/x", Object::new("x").with_metadata("mtime", mtime));
        let run = scene.down(&[]).expect_one_of(&[0, 1]);
        run.is_silent_about("panicked");
        let run = scene.across(&[]).expect_one_of(&[0, 1]);
        run.is_silent_about("panicked");
    }
}

#[test]
fn a_link_flag_on_much_content_is_named_and_makes_no_file_that_passes_for_it() {
    for length in [4097, 100_000, 20 * MEBIBYTE] {
        let scene = Scene::new().with_objects(&[("good", b"good")]);
        let object = Object::new(vec![b'x'; length])
            .with_metadata("vidimus-kind", "symlink")
            .with_metadata("mtime", "1700000000.0");
        scene.bucket.put_object("p/l", object);
        let run = scene.down(&[]).expect(1).names("\"l\"");
        assert_eq!(scene.downloaded("l"), None, "{length}\n{}", run.told());
        assert_eq!(scene.downloaded("good").as_deref(), Some(&b"good"[..]));
    }
}

#[test]
fn a_size_in_the_listing_that_is_not_the_objects_is_never_believed() {
    for size in ["0", "1000000", "18446744073709551615", "9223372036854775808"] {
        let scene = Scene::new().with_objects(&[("a", b"first")]);
        let body = format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/a</Key>\
             <Size>{size}</Size><ETag>\"8b04d5e3775d298e78455efc5ca404d5\"</ETag></Contents>\
             </ListBucketResult>"
        );
        scene.server.fail(of_the_tree(), Fault::Reply(200, Vec::new(), body.into()));
        let run = scene.down(&[]).expect_one_of(&[0, 1]);
        run.is_silent_about("panicked");
        let written = scene.downloaded("a");
        assert!(written.is_none() || written.as_deref() == Some(b"first"), "{size} {written:?}");
    }
}

#[test]
fn a_huge_error_is_cut_and_escaped() {
    let scene = Scene::new().with_files(&FILES);
    let huge = format!(
        "<Error><Code>\u{9b}31m</Code><Message>\u{9b}2J{}</Message></Error>",
        "x".repeat(10 * MEBIBYTE)
    );
    scene.server.fail(On::every(Kind::Put).key("p/a"), Fault::Reply(400, Vec::new(), huge.into()));
    let run = scene.up(&[]).expect(1).names("\"a\"");
    assert!(run.stderr.len() + run.stdout.len() < 20_000, "{}", run.stderr.len());
    assert!(!run.stderr.contains('\u{9b}') && !run.stdout.contains('\u{9b}'), "{}", run.told());
    assert_eq!(scene.uploaded("b").content, "second");
}

#[test]
fn a_store_without_conditional_writes_still_works() {
    let refused = [
        Fault::Error(501, "NotImplemented"),
        Fault::Error(400, "InvalidArgument"),
        Fault::Error(400, "InvalidRequest"),
    ];
    for fault in refused {
        let scene = Scene::new().with_files(&FILES);
        let conditional = On::any().header("if-none-match: *");
        let struck = scene.server.fail(conditional, fault.clone());
        let run = scene.up(&[]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert!(struck.struck() > 0);
        assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES), "{fault:?}");
    }
    let scene = Scene::new().with_files(&FILES);
    scene.server.settings(|settings| settings.conditions = false);
    scene.up(&[]).expect(0);
    assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES));
    assert_eq!(scene.up(&[]).expect(0).finished().count("files_copied"), 0);
}

#[test]
fn a_store_without_bulk_deletion_still_deletes() {
    for fault in [Fault::Status(501), Fault::Status(405)] {
        let scene = Scene::new().with_files(&FILES);
        put(&scene, &numbered(0..5));
        scene.server.fail(On::every(Kind::DeleteMany), fault.clone());
        let run = scene.up(&["--delete", "--max-delete", "100%"]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert_eq!(run.finished().count("files_deleted"), 5, "{fault:?}");
        assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES), "{fault:?}");
    }
}

/// A store can hold `a` beside `a/x`; a mirror of a directory that has a file `a` must not.
#[test]
fn a_file_does_not_come_beside_the_directory_that_was_to_be_deleted_for_it() {
    let refused = |scene: &Scene| scene.up(&["--delete", "--max-delete", "0"]).expect(6);
    let broken = |scene: &Scene| {
        scene.server.settings(|settings| settings.page = 3);
        scene.server.fail(On::every(Kind::List).page(2), Fault::Status(403));
        scene.up(&["--delete", "--max-delete", "100%"]).expect(1)
    };
    let denied = |scene: &Scene| {
        let body = "<DeleteResult><Error><Key>p/a/x</Key><Code>AccessDenied</Code></Error>\
                    </DeleteResult>";
        scene.server.fail(On::every(Kind::DeleteMany), Fault::Reply(200, Vec::new(), body.into()));
        scene.up(&["--delete", "--max-delete", "100%"]).expect(1)
    };
    for run in [&refused as &dyn Fn(&Scene) -> crate::common::Run, &broken, &denied] {
        let scene = Scene::new().with_files(&FILES);
        put(&scene, &[("a/x".to_owned(), b"old".to_vec())]);
        put(&scene, &numbered(0..5));
        let run = run(&scene).names("\"a\"");
        assert!(scene.bucket.get("p/a").is_none(), "{}", run.told());
        assert_eq!(scene.uploaded("a/x").content, "old");
        scene.server.heal();
        scene.up(&["--delete", "--max-delete", "100%"]).expect(0);
        assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES));
    }
}

#[test]
fn bulk_deletion_names_each_key_that_stays() {
    let scene = Scene::new().with_files(&FILES);
    put(&scene, &numbered(0..5));
    let body = "<DeleteResult><Error><Key>p/k002</Key><Code>AccessDenied</Code><Message>no\
                </Message></Error></DeleteResult>";
    scene.server.fail(On::every(Kind::DeleteMany), Fault::Reply(200, Vec::new(), body.into()));
    let run = scene.up(&["--delete", "--max-delete", "100%"]).expect(1).names("\"k002\"");
    assert_eq!(run.finished().count("files_deleted"), 4);
}

#[test]
fn a_store_that_refuses_checksums_still_takes_content() {
    let large = content(20 * MEBIBYTE, 5);
    for fault in [Fault::Error(400, "InvalidRequest"), Fault::Error(501, "NotImplemented")] {
        let scene = Scene::new().with_files(&FILES).with_files(&[("large", &large)]);
        let struck: Vec<Scripted> =
            ["x-amz-checksum-crc64nvme", "x-amz-checksum-algorithm", "x-amz-sdk-checksum"]
                .map(|header| scene.server.fail(On::any().header(header), fault.clone()))
                .into();
        let run = scene.up(&[]);
        assert_eq!(run.code(), 0, "{fault:?}\n{}", run.told());
        assert!(struck.iter().map(Scripted::struck).sum::<u64>() > 0);
        assert!(scene.uploaded("large").content == large);
        assert_eq!(scene.uploaded("a").content, "first");
    }
}

#[test]
fn content_damaged_on_the_way_up_is_refused_and_sent_again() {
    let scene = Scene::new().with_files(&FILES);
    scene.server.fail(On::nth(Kind::Put, 1), Fault::Error(400, "BadDigest"));
    let run = scene.up(&[]).expect(0);
    assert_eq!(run.finished().count("requests_retried"), 1);
    assert_eq!(contents(scene.bucket.objects(), PREFIX), of(&FILES));
}

/// Rewrites a file over and over, while it is uploaded slowly.
fn restless(length: usize, change: impl Fn(&std::path::Path, u32) + Sync) -> Scene {
    let scene = Scene::new().with_files(&[("good", b"good"), ("x", &content(length, 1))]);
    let path = scene.env.source.join("x");
    scene.server.fail(On::every(Kind::Part), Fault::Delay(Duration::from_millis(150)));
    let ((), run) = beside(
        |over| {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                change(&path, round);
                round += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        },
        || scene.up(&["--memory", "16MiB"]),
    );
    // It is there, or named.
    if scene.bucket.get("p/x").is_some() {
        run.expect(0);
    } else {
        run.expect(1).names("\"x\"");
    }
    assert_eq!(scene.uploaded("good").content, "good");
    assert_eq!(scene.bucket.uploads().len(), 0, "given up");
    scene
}

#[test]
fn a_source_file_that_is_rewritten_while_it_is_uploaded_is_never_mixed() {
    for length in [20_000, 40 * MEBIBYTE] {
        let scene = restless(length, |path, round| {
            let content = vec![round as u8; length];
            fs::write(path, content).expect("write a file");
        });
        // Between its truncation and its last byte the file is shorter: a state like any other.
        if let Some(object) = scene.bucket.get("p/x") {
            let is_first = object.content == content(length, 1);
            let of_one_round = object.content.windows(2).all(|pair| pair[0] == pair[1]);
            assert!(is_first || of_one_round, "{length}: mixed");
        }
    }
}

#[test]
fn a_source_file_that_shrinks_or_grows_while_it_is_uploaded_is_never_cut() {
    for length in [20_000_u64, 40 << 20] {
        let scene = restless(length as usize, |path, round| {
            let file = fs::File::options().write(true).open(path).expect("open a file");
            file.set_len(if round % 2 == 0 { length / 2 } else { length }).expect("set a length");
        });
        if let Some(object) = scene.bucket.get("p/x") {
            let (first, rest) =
                object.content.split_at(object.content.len().min(length as usize / 2));
            assert!(first == &content(length as usize, 1)[..first.len()]);
            let is_rest = rest == &content(length as usize, 1)[first.len()..];
            assert!(rest.iter().all(|byte| *byte == 0) || is_rest);
        }
    }
}

#[test]
fn a_source_file_that_vanishes_while_it_is_uploaded_leaves_no_upload() {
    let large = content(60 * MEBIBYTE, 1);
    let scene = Scene::new().with_files(&[("good", b"good"), ("x", &large)]);
    let path = scene.env.source.join("x");
    let hold = Hold::new();
    let scripted = scene.server.fail(On::every(Kind::Part), Fault::Held(hold.clone()));
    let ((), run) = beside(
        |_| {
            wait_until("a part that is sent", || scripted.struck() > 0);
            fs::remove_file(&path).expect("remove a file");
            hold.release();
        },
        || scene.up(&["--memory", "16MiB"]),
    );
    assert_eq!(scene.bucket.uploads().len(), 0);
    // It was open: what was read may be whole.
    match scene.bucket.get("p/x") {
        Some(object) => assert!(object.content == large),
        None => drop(run.expect(1).names("\"x\"")),
    }
}

/// Many large files through little memory.
fn bounded(from: &str, to: &str, scene: &Scene) {
    use std::process::Stdio;
    let mut command = scene.mirror_command(from, to, &["--memory", "32MiB", "--transfers", "8"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run it");
    let status = format!("/proc/{}/status", child.id());
    let (peak, run) = beside(
        |over| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
                peak = peak.max(kib.unwrap_or(0_u64));
                std::thread::sleep(Duration::from_millis(10));
            }
            peak / 1024
        },
        || crate::common::Run::wait(child, format!("{from} to {to}")),
    );
    run.expect(0);
    // Threads and buffers of a debug build come on top of the budget.
    assert!(peak > 0 && peak <= 32 + 64, "{from} to {to}: {peak} MiB");
}

#[test]
fn many_large_files_pass_through_little_memory_in_every_direction() {
    let scene = Scene::new();
    for n in 0..10 {
        scene.write(&format!("large{n}"), &content((17 + n) * MEBIBYTE, n as u64 + 1));
    }
    scene.env.age();
    bounded(scene.source(), PLACE, &scene);
    bounded(PLACE, scene.target(), &scene);
    bounded(PLACE, OTHER, &scene);
    for n in 0..10 {
        let expected = content((17 + n) * MEBIBYTE, n as u64 + 1);
        assert!(scene.downloaded(&format!("large{n}")).expect("written") == expected, "{n}");
        assert!(scene.other.content(&format!("q/large{n}")) == expected, "{n}");
    }
}

/// Between two stores content is both read and written under one budget.
#[test]
fn many_large_objects_pass_from_store_to_store_through_little_memory() {
    let scene = Scene::new();
    let elsewhere = crate::s3::S3Server::start();
    let bucket = elsewhere.bucket("elsewhere");
    for n in 0..8 {
        let content = content((17 + 3 * n) * MEBIBYTE, n as u64 + 1);
        scene.bucket.put(&format!("{PREFIX}large{n}"), content);
    }
    let to = format!("s3://elsewhere/?endpoint={}", elsewhere.endpoint());
    // As little as there may be.
    scene.mirror(PLACE, &to, &["--memory", "16MiB", "--transfers", "1"]).expect(0);
    for n in 0..8 {
        bucket.delete(&format!("large{n}"));
    }
    bounded(PLACE, &to, &scene);
    for n in 0..8 {
        bucket.delete(&format!("large{n}"));
    }
    scene.mirror(PLACE, &to, &["--memory", "64MiB"]).expect(0);
    for n in 0..8 {
        let expected = content((17 + 3 * n) * MEBIBYTE, n as u64 + 1);
        assert!(bucket.content(&format!("large{n}")) == expected, "{n}");
    }
}
