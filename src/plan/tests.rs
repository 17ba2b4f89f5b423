//! The planned deletions and their counts, which are the same on every kind of target.

mod steps;

use super::*;
use crate::backend::{KeySpace, ListItem};
use crate::compare::policy::{PolicyOptions, Surplus};
use crate::compare::{Join, RecordedRows, join};
use crate::filter::Filter;
use crate::manifest::SourceNumber;
use crate::model::stamp::Inode;
use crate::model::{Operation, Stamp, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tree by path: `None` for a directory, or the size of a file in bytes.
type Tree = BTreeMap<String, Option<u64>>;

/// The kind of a target.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A directory, in which each directory of the tree has an entry.
    Local,
    /// A store. A directory has a marker if it is empty or `has_marker` returns true; else the keys
    /// below it imply it.
    Store { has_marker: fn(&str) -> bool },
}

/// Makes a tree, with the directories above each path. A directory replaces a file of its path.
fn tree(paths: &[(String, Option<u64>)]) -> Tree {
    let mut tree: Tree = paths.iter().cloned().collect();
    for (path, _) in paths {
        for (slash, _) in path.match_indices('/') {
            tree.insert(path[..slash].to_owned(), None);
        }
    }
    tree
}

fn entry(key: Key, kind: EntryKind, stamp: Stamp, completeness: Completeness) -> Entry {
    let metadata = Metadata::default();
    Entry {
        key,
        kind,
        stamp,
        metadata,
        link: None,
        completeness,
        recorded: None,
        extras: None,
        born: None,
    }
}

/// Lists a tree, its root first.
fn listing(tree: &Tree, place: Place) -> Vec<Result<ListItem, Error>> {
    let zero = Timestamp::default();
    let local = |size| Stamp::of_inode(size, Inode { mtime: zero, ctime: zero, number: Some(1) });
    let root = entry(Key::root(), EntryKind::Directory, local(0), Completeness::Full);
    let mut entries: Vec<_> = tree
        .iter()
        .map(|(path, size)| {
            let key = Key::child(b"", path.as_bytes(), size.is_none());
            let kind = if size.is_none() { EntryKind::Directory } else { EntryKind::File };
            let size = size.unwrap_or(0);
            let below = format!("{path}/");
            match place {
                Place::Local => entry(key, kind, local(size), Completeness::Full),
                Place::Store { has_marker } => {
                    let is_empty = !tree.keys().any(|other| other.starts_with(&below));
                    let is_implied = kind == EntryKind::Directory && !is_empty && !has_marker(path);
                    let known =
                        if is_implied { Completeness::Implicit } else { Completeness::ListingOnly };
                    entry(key, kind, Stamp::of_object(size, None), known)
                }
            }
        })
        .collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    std::iter::once(root).chain(entries).map(|entry| Ok(ListItem::Entry(entry))).collect()
}

/// Returns the counts of a plan's deletions, and their keys.
fn planned(
    policy: &Policy,
    source: Vec<Result<ListItem, Error>>,
    target: Vec<Result<ListItem, Error>>,
) -> (DeletionTally, Vec<String>) {
    let rows = std::iter::empty::<Result<Row, Error>>();
    let joined: join::Join<_, _, _> = Join::new(
        source.into_iter(),
        target.into_iter(),
        RecordedRows { rows, from: SourceNumber::NONE }.read_ahead(),
        KeySpace::Tree,
    )
    .unwrap();
    let directory = std::env::temp_dir();
    let (surplus, progress) = (Counter::default(), Progress::default());
    let planning = Planning {
        policy,
        achievable: &|metadata, _, _| *metadata,
        count_loss: &|_| {},
        accepts: &|_| Ok(()),
        stands_linked: &|_| Ok(false),
        moved_from: None,
        moves_directories: false,
        is_recount: false,
        is_first_contact: true,
        leaves_out: &|_| None,
        surplus: &surplus,
        progress: &progress,
        spool_dir: &directory,
        root_is_new: false,
        directories_change: true,
        is_over: &|| false,
    };
    let mut plan = Plan::new(joined, planning);
    for planned in plan.by_ref() {
        planned.unwrap();
    }
    let Remainder { mut deletions, tally, .. } = plan.finish().unwrap();
    let mut keys = Vec::new();
    while let Some(record) = deletions.next().unwrap() {
        keys.push(Entry::decode(record).unwrap().key.to_string());
    }
    assert_eq!(progress.deletions_planned.get(), keys.len() as u64);
    (tally, keys)
}

fn policy(filter: Filter, surplus: Surplus, ignore_existing: bool) -> Policy {
    let options = PolicyOptions { ignore_existing, ..PolicyOptions::default() };
    Policy {
        options,
        filter: Arc::new(filter),
        surplus,
        from: SourceNumber::FIRST,
        has_links: true,
        has_devices: true,
        hard_links: crate::compare::HardLinks::Separate,
        looks_for: crate::model::AttributeKinds::NONE,
        inspects: true,
        keeps_apart: false,
        retries_apart: false,
    }
}

fn deleting() -> Policy {
    policy(Filter::default(), Surplus::Delete, false)
}

fn files(paths: &[&str]) -> Tree {
    let paths: Vec<_> = paths.iter().map(|path| ((*path).to_owned(), Some(1))).collect();
    tree(&paths)
}

const BARE: Place = Place::Store { has_marker: |_| false };

#[test]
fn emptying_a_bucket_without_markers_counts_like_emptying_a_directory() {
    let (wrong, target) = (files(&["wrong"]), files(&["d1/x", "d2/y", "d3/z"]));
    let all =
        DeletionTally { source: 1, deletable: 6, leaves: 3, links: 0, directories: 3, implied: 0 };
    let plan = |place| planned(&deleting(), listing(&wrong, Place::Local), listing(&target, place));
    assert_eq!(plan(Place::Local).0, all);
    let (tally, keys) = plan(BARE);
    assert_eq!(tally, DeletionTally { implied: 3, ..all });
    assert_eq!(keys, ["d1/x", "d2/y", "d3/z"], "implied directories take no deletion");
}

#[test]
fn protected_entries_are_not_counted_as_deletable() {
    // Files of more than one byte are excluded, and keep the directories that contain them.
    let filter = Filter::new(&[], None, Some(1)).unwrap();
    let policy = policy(filter, Surplus::Delete, false);
    let mut target = files(&["a", "d/e/gone", "d/e/f/gone", "g/gone"]);
    target.extend([("large".to_owned(), Some(9)), ("d/e/large".to_owned(), Some(9))]);
    for place in [Place::Local, BARE] {
        let source = listing(&files(&["a"]), Place::Local);
        let (tally, keys) = planned(&policy, source, listing(&target, place));
        let counted = (tally.leaves, tally.directories, tally.deletable);
        assert_eq!(counted, (3, 2, 6), "{place:?}");
        let own: &[&str] = match place {
            Place::Local => &["d/e/f/gone", "d/e/f/", "d/e/gone", "g/gone", "g/"],
            Place::Store { .. } => &["d/e/f/gone", "d/e/gone", "g/gone"],
        };
        assert_eq!(keys, own);
    }
}

#[test]
fn a_directory_stays_if_something_in_it_could_not_be_listed_or_is_left_out() {
    let failed = |key: &str| {
        let (operation, side, cause) = (Operation::List, Side::Target, Cause::Vanished);
        ListItem::Failed(EntryError::new(operation, side, Key::new(key.as_bytes()), cause))
    };
    let left_out = |key: &str| ListItem::LeftOut(Key::new(key.as_bytes()), "it is ours".into());
    for item in [failed("d/e/"), left_out("d/e/state/")] {
        let mut target = listing(&files(&["d/a", "d/e/b", "f/c"]), Place::Local);
        let at = target.iter().position(|item| {
            item.as_ref().is_ok_and(|item| *item.key() == Key::new(&b"d/e/b"[..]))
        });
        target[at.unwrap()] = Ok(item);
        let source = listing(&files(&["x"]), Place::Local);
        let (tally, keys) = planned(&deleting(), source, target);
        assert_eq!(keys, ["d/a", "f/c", "f/"]);
        assert_eq!((tally.deletions(), tally.deletable), (3, 3));
    }
}

#[test]
fn a_mount_point_that_would_go_stays_with_all_in_it_and_is_in_no_count() {
    let mount = Key::new(&b"d/m/"[..]);
    let with_mount = |paths: &[&str]| {
        let mut listing = listing(&files(paths), Place::Local);
        let at = listing.iter().position(|it| it.as_ref().is_ok_and(|it| *it.key() == mount));
        listing.insert(at.unwrap() + 1, Ok(ListItem::MountPoint(mount.clone())));
        listing
    };
    let target = || with_mount(&["d/a", "d/m/b", "d/m/e/x", "d/n", "f/c"]);
    let (tally, keys) = planned(&deleting(), listing(&files(&["x"]), Place::Local), target());
    assert_eq!(keys, ["d/a", "d/n", "f/c", "f/"]);
    assert_eq!((tally.deletions(), tally.deletable), (4, 4));
    // One that the source has as a directory is a directory like any other.
    let source = listing(&files(&["d/m/b", "f/c"]), Place::Local);
    let (tally, keys) = planned(&deleting(), source, target());
    assert_eq!(keys, ["d/a", "d/m/e/x", "d/m/e/", "d/n"]);
    assert_eq!(tally.deletions(), 4);
}

#[test]
fn a_source_of_one_object_with_a_flat_key_is_not_empty() {
    // A listing between two stores has no root.
    let object = || {
        let key = Key::new(&b"k"[..]);
        Ok(ListItem::Entry(entry(
            key,
            EntryKind::File,
            Stamp::of_object(1, None),
            Completeness::ListingOnly,
        )))
    };
    let (tally, _) = planned(&deleting(), vec![object()], vec![object()]);
    assert_eq!((tally.source, tally.deletable), (1, 1));
}

fn trees() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "a-", "b", "c"]), 1..4);
    let content = prop::option::weighted(0.8, prop::sample::select(vec![1_u64, 9]));
    let paths = prop::collection::vec((path.prop_map(|names| names.join("/")), content), 0..12);
    paths.prop_map(|paths| tree(&paths))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// For all trees and options, the counts for a store equal those for a directory.
    #[test]
    fn local_and_store_are_counted_alike(
        source in trees(),
        target in trees(),
        max_size in prop::option::of(Just(5_u64)),
        excluded_go in any::<bool>(),
        ignore_existing in any::<bool>(),
    ) {
        let filter = Filter::new(&[], None, max_size).unwrap();
        let surplus = if excluded_go { Surplus::DeleteExcluded } else { Surplus::Delete };
        let policy = policy(filter, surplus, ignore_existing);
        let plan = |place| {
            planned(&policy, listing(&source, Place::Local), listing(&target, place))
        };
        let (local, keys) = plan(Place::Local);
        prop_assert_eq!(local.deletions(), keys.len() as u64);
        prop_assert!(local.deletions() <= local.deletable);
        prop_assert!(local.deletable <= target.len() as u64);
        for has_marker in [|_: &str| false, |_: &str| true, |path: &str| path.len().is_multiple_of(3)] {
            let (store, keys) = plan(Place::Store { has_marker });
            prop_assert_eq!(store.deletions() - store.implied, keys.len() as u64);
            prop_assert_eq!(DeletionTally { implied: 0, ..store }, local);
        }
    }
}
