//! Server-side copies: lost replies, parts, refusals, and metadata set by a copy.

use super::*;
use crate::backend::object::StoreErrorKind;

/// Makes a source in another bucket of the service, with a file of `size` bytes.
fn source(scene: &Scene, size: usize, signed_by: &str) -> (ObjectSource, MemoryStore, Vec<u8>) {
    let bucket = scene.service.bucket("from", signed_by);
    let target = ObjectTarget::new(Arc::new(scene.place(&bucket, "before")));
    let content = bytes(size);
    write(&target, "a", &content, Precondition::Absent).expect("write");
    scene.service.faults(super::super::memory::Faults::forget);
    (ObjectSource::new(Arc::new(scene.place(&bucket, "before"))), bucket, content)
}

fn copy(
    scene: &Scene,
    source: &ObjectSource,
    precondition: Precondition,
) -> Result<Option<Stamp>, ReadError> {
    scene.target().copy_server_side(source, &look(source, "a"), precondition)
}

#[test]
fn a_copy_keeps_all_headers_and_transfers_no_content() {
    let scene = Scene::new();
    let (source, _, content) = source(&scene, 1000, "key");
    assert!(scene.target().can_copy_server_side(&source));
    let stamp = copy(&scene, &source, Precondition::Absent).expect("copy").expect("it does");
    assert_eq!(stamp.tag(), Some(scene.bucket.object(b"p/a").expect("a copy").etag));
    assert_eq!(scene.content("p/a"), Some(content));
    assert_eq!(look(&scene.target(), "a").metadata, file("a", 0).metadata);
    assert_eq!((scene.calls(RequestKind::Get), scene.calls(RequestKind::Put)), (0, 0));
}

#[test]
fn a_copy_whose_reply_was_lost_is_not_repeated() {
    let scene = Scene::new();
    let (source, _, _) = source(&scene, 1000, "key");
    scene.fail(RequestKind::Copy, 1, Fault::LostReply);
    let written = copy(&scene, &source, Precondition::Absent).expect("copied");
    let object = scene.bucket.object(b"p/a").expect("a copy");
    assert_eq!(written.and_then(|stamp| stamp.tag()), Some(object.etag));
}

#[test]
fn an_object_above_the_limit_of_a_copy_is_copied_in_parts() {
    let scene = Scene::new();
    let (source, _, content) = source(&scene, 3 * MEBIBYTE, "key");
    scene.service.set_habits(|habits| habits.largest_copy = MEBIBYTE as u64);
    copy(&scene, &source, Precondition::Absent).expect("copy").expect("it does");
    assert!(scene.content("p/a") == Some(content) && scene.bucket.uploads().is_empty());
    assert_eq!((scene.calls(RequestKind::Copy), scene.calls(RequestKind::CopyPart)), (0, 1));

    scene.bucket.forget(b"p/a");
    scene.fail(RequestKind::CopyPart, 1, Fault::Refused(StoreErrorKind::Unavailable));
    copy(&scene, &source, Precondition::Absent).expect_err("a part failed");
    assert!(scene.bucket.uploads().is_empty() && scene.content("p/a").is_none());
}

#[test]
fn the_reason_of_an_unmet_condition_is_found() {
    let scene = Scene::new();
    let (source, from, _) = source(&scene, 1000, "key");
    scene.bucket.set(b"p/a", "theirs", crate::backend::Headers::default());
    let taken = copy(&scene, &source, Precondition::Absent);
    assert!(matches!(taken, Err(ReadError::Sink(Cause::NameTaken))), "{taken:?}");
    assert_eq!(scene.content("p/a").as_deref(), Some(&b"theirs"[..]));

    let listed = look(&source, "a");
    from.set(b"p/a", "changed", crate::backend::Headers::default());
    scene.bucket.forget(b"p/a");
    let changed = scene.target().copy_server_side(&source, &listed, Precondition::Absent);
    assert!(matches!(changed, Err(ReadError::Changed)), "{changed:?}");
    assert!(scene.content("p/a").is_none());
}

#[test]
fn a_store_that_refuses_copies_is_soon_not_asked_any_more() {
    let scene = Scene::new();
    let (source, _, _) = source(&scene, 10, "key");
    let (target, entry) = (scene.target(), look(&source, "a"));
    for nth in 1..=3 {
        scene.fail(RequestKind::Copy, nth, Fault::Refused(StoreErrorKind::Denied));
    }
    for _ in 0..5 {
        let copied = target.copy_server_side(&source, &entry, Precondition::Absent);
        assert!(matches!(copied, Ok(None)), "{copied:?}");
    }
    assert_eq!(scene.calls(RequestKind::Copy), 3);
    assert!(
        matches!(target.notices()[..], [Notice::CopiesRefused { .. }]),
        "{:?}",
        target.notices()
    );
}

#[test]
fn with_different_access_keys_no_copy_is_tried() {
    let scene = Scene::new();
    let (source, _, _) = source(&scene, 10, "another key");
    assert!(matches!(copy(&scene, &source, Precondition::Absent), Ok(None)));
    assert_eq!(scene.calls(RequestKind::Copy), 0);
}

#[test]
fn metadata_is_set_by_a_copy_onto_itself_or_by_rewriting() {
    for refused in [None, Some(StoreErrorKind::Unsupported)] {
        let scene = Scene::new();
        let target = scene.target();
        let listed = write(&target, "a", b"content", Precondition::Absent).expect("write");
        let tag = listed.tag().expect("a tag");
        if let Some(kind) = refused.clone() {
            scene.fail(RequestKind::Copy, 1, Fault::Refused(kind.clone()));
            scene.fail(RequestKind::Copy, 2, Fault::Refused(kind));
        }
        let wanted = Metadata { mode: 0o600, ..file("a", 0).metadata };
        let set = target.set_metadata(
            &key("a"),
            EntryKind::File,
            &(&wanted).into(),
            Precondition::Object(tag),
        );
        assert!(set.expect("set").stamp.is_some());
        assert_eq!(look(&target, "a").metadata, wanted);
        assert_eq!(scene.content("p/a").as_deref(), Some(&b"content"[..]));
        assert_eq!(scene.calls(RequestKind::Get), usize::from(refused.is_some()));
    }
}

#[test]
fn metadata_of_another_version_than_the_one_listed_is_not_set() {
    let scene = Scene::new();
    let target = scene.target();
    let listed = write(&target, "a", b"content", Precondition::Absent).expect("write");
    scene.bucket.set(b"p/a", "theirs", crate::backend::Headers::default());
    let precondition = Precondition::Object(listed.tag().expect("a tag"));
    let set = target.set_metadata(
        &key("a"),
        EntryKind::File,
        &(&Metadata::default()).into(),
        precondition,
    );
    assert!(matches!(set, Err(Cause::TargetChanged)), "{set:?}");
    assert_eq!(scene.content("p/a").as_deref(), Some(&b"theirs"[..]));
}
