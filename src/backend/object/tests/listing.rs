//! Listings: every key, in order, through pages that may fail.

use super::*;
use crate::backend::object::StoreErrorKind;
use crate::backend::{Headers, KeySpace, ListItem, ListOptions};
use crate::filter::Filter;

pub(super) fn everything(key_space: KeySpace) -> ListOptions {
    ListOptions { filter: Arc::new(Filter::default()), only: None, key_space }
}

/// Returns the keys of a listing; items that are not entries as text.
pub(super) fn keys(source: &dyn Source, options: &ListOptions) -> Vec<String> {
    let items = source.list(options).expect("begin a listing");
    let told = items.map(|item| match item.expect("a listing that goes on") {
        ListItem::Entry(entry) => entry.key.to_string(),
        ListItem::BrokeOff(_) => "broke off".to_owned(),
        other => format!("other {}", other.key()),
    });
    told.collect()
}

fn scene(keys: impl IntoIterator<Item = String>) -> Scene {
    let scene = Scene::new();
    for key in keys {
        scene.bucket.set(format!("p/{key}").as_bytes(), key, Headers::default());
    }
    scene
}

#[test]
fn flat_keys_are_listed_as_they_are() {
    let hostile = ["/a", "a", "a//b", "a/", "./x", "a/../b", "é\u{1}"];
    let scene = scene(hostile.map(str::to_owned));
    let mut expected = hostile.map(|key| Key::new(key.as_bytes()));
    expected.sort();
    let listed = keys(&scene.source(), &everything(KeySpace::Flat));
    assert_eq!(listed, expected.map(|key| key.to_string()));
}

#[test]
fn a_long_listing_that_is_split_has_each_key_once_and_in_order() {
    let names = (0..400).map(|n| format!("d{:02}/f{:03}", n % 20, n));
    let scene = scene(names.clone());
    scene.service.set_habits(|habits| habits.page = 5);
    let source = scene.source();
    let mut expected: Vec<_> = names.collect();
    expected.sort_unstable();
    assert_eq!(keys(&source, &everything(KeySpace::Flat)), expected);
    let whole = 400_usize.div_ceil(5);
    assert!(scene.calls(RequestKind::List) > whole, "ranges of it were begun elsewhere");
}

#[test]
fn a_failed_page_is_never_taken_for_the_end() {
    for nth in 2..=12 {
        let scene = scene((0..60).map(|n| format!("f{n:02}")));
        scene.service.set_habits(|habits| habits.page = 5);
        scene.fail(RequestKind::List, nth, Fault::Refused(StoreErrorKind::Denied));
        let listed = keys(&scene.source(), &everything(KeySpace::Flat));
        let (last, before) = listed.split_last().expect("something");
        let is_whole = listed.len() == 60 && last == "f59";
        // The failed request may have been the one that finds where to split, which is optional.
        assert!(is_whole || last == "broke off", "{nth}: {listed:?}");
        assert!(before.is_sorted());
    }
    let refused = scene(["a".to_owned()]);
    refused.fail(RequestKind::List, 1, Fault::Refused(StoreErrorKind::Denied));
    assert!(refused.source().list(&everything(KeySpace::Tree)).is_err());
}

#[test]
fn directories_are_derived_from_keys() {
    let scene = scene(["a-b", "a/b", "a/c/d", "z"].map(str::to_owned));
    let listed = keys(&scene.source(), &everything(KeySpace::Tree));
    assert_eq!(listed, [".", "a-b", "a/", "a/b", "a/c/", "a/c/d", "z"]);
}
