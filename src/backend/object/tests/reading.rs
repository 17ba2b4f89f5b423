//! Reading: ranges, interrupted replies, lengths, and damaged content.

use super::*;
use crate::backend::Headers;

/// Puts an object of `size` bytes.
fn scene(size: usize) -> (Scene, Vec<u8>) {
    let (scene, content) = (Scene::new(), bytes(size));
    scene.bucket.set(b"p/a", content.clone(), Headers::default());
    (scene, content)
}

#[test]
fn an_interrupted_read_is_resumed() {
    let (scene, content) = scene(MEBIBYTE);
    let source = scene.source();
    let entry = look(&source, "a");
    for (nth, after) in [(1, 0), (2, 100), (3, 70_000)] {
        scene.fail(RequestKind::Get, nth, Fault::BreaksOff(after));
    }
    assert!(read(&source, &entry).expect("read") == content);
    assert_eq!(scene.calls(RequestKind::Get), 4);
}

#[test]
fn a_large_object_is_read_in_ranges_that_may_be_interrupted() {
    let (scene, content) = scene(20 * MEBIBYTE);
    let source = scene.source();
    let entry = look(&source, "a");
    for nth in 1..=2 {
        scene.fail(RequestKind::Get, nth, Fault::BreaksOff(MEBIBYTE as u64));
    }
    assert!(read(&source, &entry).expect("read") == content);
    assert_eq!(scene.calls(RequestKind::Get), 3 + 2);
}

#[test]
fn a_store_that_ignores_ranges_is_read_with_one_request() {
    let (scene, content) = scene(20 * MEBIBYTE);
    scene.service.set_habits(|habits| habits.reads_ranges = false);
    let source = scene.source();
    let entry = look(&source, "a");
    assert!(read(&source, &entry).expect("read") == content);
    assert_eq!(scene.calls(RequestKind::Get), 2, "one range, and then the whole");
    assert!(read(&source, &entry).expect("read") == content);
    assert_eq!(scene.calls(RequestKind::Get), 3, "it is known then");
    assert!(source.read_ranges(&entry).expect("ask").is_none());
    assert_eq!(source.notices(), [Notice::RangesIgnored]);
}

#[test]
fn another_version_or_length_than_was_listed_is_a_change() {
    let (scene, content) = scene(1000);
    let source = scene.source();
    let entry = look(&source, "a");
    let longer = Entry { stamp: Stamp::of_object(1001, entry.stamp.tag()), ..entry.clone() };
    assert!(matches!(read(&source, &longer), Err(ReadError::Changed)));
    let untagged = Entry { stamp: Stamp::of_object(999, None), ..entry.clone() };
    assert!(matches!(read(&source, &untagged), Err(ReadError::Changed)));
    scene.bucket.set(b"p/a", content[1..].to_vec(), Headers::default());
    assert!(matches!(read(&source, &entry), Err(ReadError::Changed)));
    scene.bucket.forget(b"p/a");
    let gone = read(&source, &entry);
    assert!(matches!(gone, Err(ReadError::Source(Cause::Vanished))), "{gone:?}");
}

#[test]
fn a_new_version_between_two_requests_is_noticed() {
    let (scene, content) = scene(MEBIBYTE);
    let source = scene.source();
    let entry = look(&source, "a");
    scene.fail(RequestKind::Get, 1, Fault::BreaksOff(500_000));
    let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
    let result = source.read(&entry, &mut buffer, &mut |reading| {
        if let Reading::Content(Piece::Chunk(chunk)) = reading {
            read += chunk.len();
            let other: Vec<u8> = content.iter().rev().copied().collect();
            scene.bucket.set(b"p/a", other, Headers::default());
        }
        Ok(())
    });
    assert!(matches!(result, Err(ReadError::Changed)), "{result:?}");
    assert!(read > 0 && read < content.len());
}
