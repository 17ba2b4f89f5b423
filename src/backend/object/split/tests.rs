use super::*;
use crate::backend::object::habits::Habits;
use crate::backend::object::page_cursor::Lister;
use crate::backend::object::pages::objects;
use crate::backend::object::{StoreError, StoreErrorKind};
use crate::model::Notice;
use parking_lot::Mutex;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

/// How a store treats a listing that begins after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterKey {
    /// As requested.
    Begins,
    /// It omits the key between the first page and the second, as `MinIO` did.
    Skips,
    /// It omits the first key.
    SkipsFirst,
    /// It begins with the key itself.
    Itself,
    /// It begins at the start of the whole listing.
    Ignores,
    /// It reports the end after the first page.
    Ends,
    /// It gives the first page twice.
    Repeats,
    /// It gives the first page in the wrong order.
    Reverses,
    /// It doesn't support that.
    Refuses,
}

/// How a store lists in general.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Everywhere {
    Nothing,
    /// Each page begins with the last key of the previous one.
    RepeatsKeys,
    /// Some pages before the last are empty.
    EmptyPages,
    /// After this many requests, a page comes in the wrong order.
    Reverses(usize),
    /// After this many requests, a page fails.
    Fails(usize),
}

/// A change to the bucket by another program: after this many requests, a key is added or removed.
type Change = (usize, Box<[u8]>);

#[derive(Debug)]
struct Model {
    keys: Mutex<BTreeSet<Box<[u8]>>>,
    page: usize,
    after_key: AfterKey,
    everywhere: Everywhere,
    changes: Vec<Change>,
    requests: Mutex<usize>,
    spool_dir: Arc<Path>,
}

const NOW: i64 = 1_000;

/// The modification time of objects that are not written meanwhile.
const BEFORE: i64 = 10;

impl Model {
    fn listed(&self, key: &[u8]) -> Listed {
        let is_new = self.changes.iter().any(|(_, changed)| **changed == *key);
        let modified = Timestamp { seconds: if is_new { NOW } else { BEFORE }, nanos: 0 };
        Listed { key: key.into(), size: 1, etag: None, modified: Some(modified), archived: false }
    }
}

impl Lister for Model {
    fn prefix(&self) -> &[u8] {
        b""
    }

    fn page(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        let requests = {
            let mut requests = self.requests.lock();
            *requests += 1;
            *requests
        };
        let mut keys = self.keys.lock();
        for (_, key) in self.changes.iter().filter(|(at, _)| *at == requests) {
            if !keys.remove(key) {
                keys.insert(key.clone());
            }
        }
        if let Everywhere::Fails(at) = self.everywhere
            && at == requests
        {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        }
        // A token: the deviation of the first page, then the next key.
        let token = query.token.map(|token| token.split_once(' ').unwrap());
        let first = if token.is_none() { query.after } else { None };
        if query.delimiter {
            let name = |key: &[u8]| {
                let end = key.iter().position(|&byte| byte == b'/')? + 1;
                Some(key[..end].into())
            };
            let prefixes: BTreeSet<Box<[u8]>> = keys.iter().filter_map(|key| name(key)).collect();
            return Ok(Page { prefixes: prefixes.into_iter().collect(), ..Page::default() });
        }
        let begin: Vec<u8> = match (token, first) {
            (Some((_, key)), _) => key.as_bytes().to_vec(),
            (None, Some(_)) if self.after_key == AfterKey::Ignores => Vec::new(),
            (None, Some(after)) if self.after_key == AfterKey::Itself => after.to_vec(),
            (None, Some(after)) => [after, b"\0"].concat(),
            (None, None) => Vec::new(),
        };
        if first.is_some() && self.after_key == AfterKey::Refuses {
            return Err(StoreError::new(StoreErrorKind::Unsupported));
        }
        let mut found: Vec<_> = keys.range(begin.into_boxed_slice()..).collect();
        if first.is_some() && self.after_key == AfterKey::SkipsFirst && !found.is_empty() {
            found.remove(0);
        }
        let empties = self.everywhere == Everywhere::EmptyPages;
        let is_empty = empties && token.is_none_or(|(turn, _)| turn == "full");
        let size = if is_empty { 0 } else { self.page };
        let mut objects: Vec<_> = found.iter().take(size).map(|key| self.listed(key)).collect();
        let mut next = found.get(size).copied();
        if first.is_some() && next.is_some() {
            match self.after_key {
                AfterKey::Skips => next = found.get(size + 1).copied(),
                AfterKey::Ends => next = None,
                AfterKey::Repeats => next = found.first().copied(),
                AfterKey::Reverses => objects.reverse(),
                _ => {}
            }
        }
        if self.everywhere == Everywhere::RepeatsKeys && next.is_some() {
            next = found.get(size.saturating_sub(1)).copied();
        }
        if let Everywhere::Reverses(at) = self.everywhere
            && at == requests
        {
            objects.reverse();
        }
        let turn = if is_empty { "empty" } else { "full" };
        Ok(Page {
            in_order: objects.is_sorted_by(|one, other| one.key < other.key),
            objects,
            next: next.map(|key| format!("{turn} {}", std::str::from_utf8(key).unwrap())),
            date: Some(Timestamp { seconds: NOW, nanos: 0 }),
            ..Page::default()
        })
    }

    fn habits(&self) -> Option<&Habits> {
        None
    }

    fn add_notice(&self, _notice: Notice) {}

    fn spool_dir(&self) -> &Arc<Path> {
        &self.spool_dir
    }
}

/// Lists everything; returns the keys, and whether the listing was complete.
fn list(model: Model) -> (Vec<Box<[u8]>>, bool) {
    let lister: Arc<dyn Lister> = Arc::new(model);
    let Ok(first) = lister.page(&ListQuery::default()) else { return (Vec::new(), false) };
    let (mut keys, mut is_whole) = (Vec::new(), true);
    for object in objects(lister, first).unwrap() {
        match object {
            Ok(object) => keys.push(object.key),
            Err(_) => is_whole = false,
        }
    }
    (keys, is_whole)
}

fn key() -> impl Strategy<Value = Box<[u8]>> {
    "[a-d]/[a-c]{1,2}|[a-d][ab]?|[a-d]/".prop_map(|key| key.into_bytes().into())
}

fn after_key() -> impl Strategy<Value = AfterKey> {
    prop::sample::select(vec![
        AfterKey::Begins,
        AfterKey::Skips,
        AfterKey::SkipsFirst,
        AfterKey::Itself,
        AfterKey::Ignores,
        AfterKey::Ends,
        AfterKey::Repeats,
        AfterKey::Reverses,
        AfterKey::Refuses,
    ])
}

fn everywhere() -> impl Strategy<Value = Everywhere> {
    prop_oneof![
        4 => Just(Everywhere::Nothing),
        1 => Just(Everywhere::RepeatsKeys),
        1 => Just(Everywhere::EmptyPages),
        1 => (1..20_usize).prop_map(Everywhere::Reverses),
        1 => (1..20_usize).prop_map(Everywhere::Fails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// However a store treats a listing that begins after a key: no key is lost, none comes twice
    /// or out of order, and if pages fail or come in the wrong order, the listing says so.
    #[test]
    fn every_unchanged_key_is_listed_or_the_listing_ends_early(
        keys in btree_set(key(), 0..60),
        page in 2..6_usize,
        after_key in after_key(),
        everywhere in everywhere(),
        changes in vec((1..20_usize, key()), 0..3),
    ) {
        let model = Model {
            keys: Mutex::new(keys.clone()),
            page,
            after_key,
            everywhere,
            changes: changes.clone(),
            requests: Mutex::default(),
            spool_dir: std::env::temp_dir().into(),
        };
        let changed = |key: &[u8]| changes.iter().any(|(_, changed)| **changed == *key);
        let (listed, is_whole) = list(model);
        let told = format!("{after_key:?} {everywhere:?}: {listed:?} of {keys:?}");
        prop_assert!(listed.is_sorted_by(|one, other| one < other), "{told}");
        prop_assert!(listed.iter().all(|key| keys.contains(key) || changed(key)), "{told}");
        if is_whole {
            let is_missing = |key: &[u8]| !changed(key) && listed.iter().all(|found| **found != *key);
            prop_assert!(!keys.iter().any(|key| is_missing(key)), "{told}");
        } else {
            prop_assert!(
                matches!(everywhere, Everywhere::Reverses(_) | Everywhere::Fails(_)),
                "{told}"
            );
        }
    }
}

fn beginning(keys: &[&str], is_all: bool) -> Beginning {
    let keys = keys.iter().map(|key| key.as_bytes().into()).collect();
    Beginning { keys, is_all, listed_at: Some(Timestamp { seconds: NOW, nanos: 0 }) }
}

fn seen(keys: &[&str], seconds: i64) -> Vec<Listed> {
    let modified = Some(Timestamp { seconds, nanos: 0 });
    let listed = |key: &&str| {
        let key = key.as_bytes().into();
        Listed { key, size: 1, etag: None, modified, archived: false }
    };
    keys.iter().map(listed).collect()
}

#[test]
fn a_range_is_proven_by_the_keys_after_its_first_page() {
    for (keys, is_all, came, ended, join) in [
        (&["b", "c"][..], false, &["b"][..], false, Join::Open),
        (&["b", "c"], false, &["b", "c"], false, Join::Proven),
        (&["b", "c"], false, &["b", "c", "d"], false, Join::Proven),
        (&["b", "c"], false, &["b", "c"], true, Join::Proven),
        (&["b", "c"], false, &["b", "b", "c"], false, Join::Proven),
        (&["b", "c"], false, &["b"], true, Join::Broken),
        (&["b", "c"], false, &["c"], false, Join::Broken),
        (&["b", "d"], false, &["b", "c"], false, Join::Lost),
        (&["b"], true, &["b"], false, Join::Open),
        (&["b"], true, &["b"], true, Join::Proven),
        (&["b"], true, &["b", "c"], false, Join::Lost),
        (&[], true, &[], true, Join::Proven),
    ] {
        let found = beginning(keys, is_all).join(&seen(came, BEFORE), ended);
        assert_eq!(found, join, "{keys:?} {is_all} {came:?} {ended}");
    }
    // A key added meanwhile doesn't prove that the store loses keys.
    let put = beginning(&["b", "d"], false).join(&seen(&["b", "c"], NOW), false);
    assert_eq!(put, Join::Broken);
}
