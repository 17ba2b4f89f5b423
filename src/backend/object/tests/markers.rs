//! Markers of directories, and stores that keep none.

use super::*;
use crate::backend::Headers;
use crate::backend::object::StoreErrorKind;
use crate::backend::object::memory::Markers;

fn set_directory(target: &ObjectTarget) -> Result<Option<Stamp>, Cause> {
    let metadata = Metadata { mode: 0o750, ..Metadata::default() };
    let intended = (&metadata).into();
    let set =
        target.set_metadata(&key("d/"), EntryKind::Directory, &intended, Precondition::Leaf)?;
    Ok(set.stamp)
}

#[test]
fn a_marker_is_tried_once_and_nothing_is_left_of_the_trial() {
    let scene = Scene::new();
    let target = scene.target();
    for _ in 0..2 {
        assert!(target.keeps_directories());
        assert!(set_directory(&target).expect("set").is_some());
    }
    assert_eq!(scene.bucket.keys(), [b"p/d/"[..].into()]);
    assert_eq!(scene.calls(RequestKind::Put), 3, "one of them is the trial's");
    assert_eq!(look(&target, "d/").metadata.mode, 0o750);
}

#[test]
fn a_store_that_keeps_no_markers_gets_none_and_a_warning_says_so() {
    for markers in [Markers::LoseTheirSlash, Markers::Refused(StoreErrorKind::Unsupported)] {
        let scene = Scene::new();
        scene.service.set_habits(|habits| habits.markers = markers.clone());
        let target = scene.target();
        assert!(!target.keeps_directories(), "{markers:?}");
        assert!(matches!(set_directory(&target), Ok(None)));
        assert!(scene.bucket.keys().is_empty(), "{:?}", scene.bucket.keys());
        assert!(
            matches!(target.notices()[..], [Notice::NoMarkers { .. }]),
            "{:?}",
            target.notices()
        );
        write(&target, "d/a", b"x", Precondition::Absent).expect("files are written");
    }
}

#[test]
fn a_refusal_counts_only_if_another_object_is_accepted() {
    let scene = Scene::new();
    scene.service.set_habits(|habits| {
        habits.markers = Markers::Refused(StoreErrorKind::Denied);
    });
    let target = scene.target();
    scene.fail(RequestKind::Put, 2, Fault::Refused(StoreErrorKind::Denied));
    assert!(
        target.keeps_directories(),
        "nothing at all may be written: that says nothing of markers"
    );
    assert_eq!(target.notices(), []);

    let denied = Scene::new();
    denied.service.set_habits(|habits| {
        habits.markers = Markers::Refused(StoreErrorKind::Denied);
    });
    assert!(!denied.target().keeps_directories(), "beside it the probe was taken");
}

#[test]
fn a_listed_marker_makes_a_trial_unnecessary() {
    let scene = Scene::new();
    scene.bucket.set(b"p/d/", "", Headers::default());
    let target = scene.target();
    let options = listing::everything(crate::backend::KeySpace::Tree);
    assert_eq!(listing::keys(&target, &options), [".", "d/"]);
    scene.service.faults(super::super::memory::Faults::forget);
    assert!(target.keeps_directories());
    assert!(scene.service.faults(|faults| faults.calls().is_empty()));
}

#[test]
fn markers_that_survive_a_bulk_delete_are_deleted_singly() {
    let scene = Scene::new();
    scene.service.set_habits(|habits| habits.markers = Markers::OutliveBulk);
    let target = scene.target();
    for name in ["d/", "d/a", "e/"] {
        scene.bucket.set(format!("p/{name}").as_bytes(), "", Headers::default());
    }
    let entries: Vec<_> = ["d/", "d/a", "e/"].map(|name| look(&target, name)).into();
    assert!(target.remove_all(&entries).iter().all(Result::is_ok));
    assert!(scene.bucket.keys().is_empty(), "{:?}", scene.bucket.keys());
    assert_eq!((scene.calls(RequestKind::DeleteMany), scene.calls(RequestKind::Delete)), (1, 2));
}
