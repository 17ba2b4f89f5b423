//! Writing: conditions, lost replies, and multipart uploads that are resumed and aborted.

use super::*;
use crate::backend::Headers;
use crate::backend::object::StoreErrorKind;

/// Makes content of three parts.
fn large() -> Vec<u8> {
    bytes(20 * MEBIBYTE)
}

#[test]
fn an_object_that_appeared_meanwhile_is_not_overwritten() {
    let scene = Scene::new();
    let target = scene.target();
    let listed = write(&target, "a", b"ours", Precondition::Absent).expect("write");
    let tag = listed.tag().expect("a tag");
    scene.bucket.set(b"p/a", "theirs", Headers::default());
    let taken = write(&target, "a", b"again", Precondition::Absent);
    assert!(matches!(taken, Err(Cause::NameTaken)), "{taken:?}");
    let changed = write(&target, "a", b"again", Precondition::Object(tag));
    assert!(matches!(changed, Err(Cause::TargetChanged)), "{changed:?}");
    assert_eq!(scene.content("p/a").as_deref(), Some(&b"theirs"[..]));
    scene.bucket.forget(b"p/a");
    let gone = write(&target, "a", b"again", Precondition::Object(tag));
    assert!(matches!(gone, Err(Cause::TargetChanged)), "{gone:?}");
    assert_eq!(target.notices(), []);
}

#[test]
fn a_store_without_conditions_is_written_without_them_and_a_warning_says_so() {
    let scene = Scene::new();
    scene.service.set_habits(|habits| habits.knows_conditions = false);
    let target = scene.target();
    for name in ["a", "b"] {
        write(&target, name, b"x", Precondition::Absent).expect("write");
    }
    assert_eq!(scene.calls(RequestKind::Put), 3, "the condition is sent once");
    assert_eq!(target.notices(), [Notice::ConditionsIgnored]);
}

#[test]
fn an_object_whose_reply_was_lost_is_recognised() {
    for fault in [Fault::LostReply, Fault::Silence] {
        let scene = Scene::new();
        let target = scene.target();
        scene.fail(RequestKind::Put, 1, fault.clone());
        let written = write(&target, "a", b"ours", Precondition::Absent);
        // If the store never replies, the result is unknown: the next run finds what exists.
        assert_eq!(written.is_ok(), fault == Fault::LostReply, "{fault:?}: {written:?}");
        assert_eq!(scene.content("p/a").as_deref(), Some(&b"ours"[..]));
    }
}

#[test]
fn an_upload_whose_last_reply_was_lost_is_recognised_by_its_token() {
    for fault in [Fault::LostReply, Fault::Silence] {
        let scene = Scene::new();
        let target = scene.target();
        scene.fail(RequestKind::CompleteUpload, 1, fault.clone());
        let content = large();
        let stamp = write(&target, "a", &content, Precondition::Absent).expect("it stands");
        let object = scene.bucket.object(b"p/a").expect("it stands");
        assert_eq!((stamp.tag(), object.content == content), (Some(object.etag), true));
        assert!(scene.bucket.uploads().is_empty());
        assert_eq!(look(&target, "a").metadata, file("a", 0).metadata);
    }
}

#[test]
fn an_upload_that_failed_is_aborted_and_one_that_was_stopped_is_resumed() {
    let (scene, content) = (Scene::new(), large());
    scene.fail(RequestKind::UploadPart, 2, Fault::Refused(StoreErrorKind::Unavailable));
    let failed = write(&scene.target(), "a", &content, Precondition::Absent);
    assert!(failed.is_err());
    assert!(scene.bucket.uploads().is_empty() && scene.content("p/a").is_none());

    let stopped = scene.target();
    let entry = file("a", content.len());
    let mut stage = stopped.stage(&entry, Precondition::Absent).expect("begin");
    stage.write(&content[..17 * MEBIBYTE]).expect("two parts and a bit");
    while scene.bucket.uploads() != [[1, 2]] {
        std::thread::yield_now();
    }
    scene.stop.request();
    drop(stage);
    assert_eq!(scene.bucket.uploads(), [[1, 2]], "they are kept");

    let scene = Scene { stop: Stop::default(), ..scene };
    scene.service.faults(super::super::memory::Faults::forget);
    let other = [&b"other"[..], &content[5..]].concat();
    write(&scene.target(), "a", &other, Precondition::Absent).expect("go on");
    assert_eq!(scene.calls(RequestKind::UploadPart), 2, "the first differs, the third is missing");
    assert_eq!(scene.calls(RequestKind::CreateUpload), 0);
    assert!(scene.content("p/a") == Some(other));
}

#[test]
fn an_upload_that_is_not_resumed_is_aborted_by_a_later_run() {
    let (scene, content) = (Scene::new(), large());
    let stopped = scene.target();
    let mut stage = stopped.stage(&file("a", content.len()), Precondition::Absent).expect("begin");
    stage.write(&content[..9 * MEBIBYTE]).expect("a part and a bit");
    scene.stop.request();
    drop(stage);
    let mut stream = Scene::new().target().stage_stream(&file("s", 0), Precondition::Absent);
    stream.as_mut().expect("begin").write(b"x").expect("hold");
    drop(stream);
    let scene = Scene { stop: Stop::default(), ..scene };
    let mut given_up = Vec::new();
    scene.target().abort_stale_uploads(&mut |key| given_up.push(key.to_string())).expect("abort");
    assert_eq!((given_up, scene.bucket.uploads().len()), (vec!["a".to_owned()], 0));
}

#[test]
fn a_file_whose_length_changed_is_not_written() {
    let scene = Scene::new();
    let target = scene.target();
    let mut stage = target.stage(&file("a", 3), Precondition::Absent).expect("begin");
    assert!(matches!(stage.write(b"four"), Err(Cause::ShortWrite { written: 4, expected: 3 })));
    let mut stage = target.stage(&file("a", 3), Precondition::Absent).expect("begin");
    stage.write(b"ab").expect("hold");
    let ended = stage.finish(&(&Metadata::default()).into(), &Digest::of(b"ab")).map(drop);
    assert!(matches!(ended, Err(Cause::ShortWrite { written: 2, expected: 3 })), "{ended:?}");
    assert!(scene.bucket.keys().is_empty());
}
