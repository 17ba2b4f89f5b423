//! The join, by stated cases and against an oracle.

use super::*;
use crate::manifest::SourceNumber;
use crate::model::error::Side;
use crate::model::stamp::Inode;
use crate::model::{Cause, EntryKind, ErrorKind, Metadata, Operation, Stamp, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn entry(key: &str, inode: u64) -> Entry {
    let zero = Timestamp::default();
    let key = Key::new(key.as_bytes());
    Entry {
        kind: if key.is_directory() { EntryKind::Directory } else { EntryKind::File },
        stamp: Stamp::of_inode(0, Inode { mtime: zero, ctime: zero, number: Some(inode) }),
        ..Entry::new_file(key, 0, Metadata::default())
    }
}

fn row(key: &str) -> Row {
    Row::of_copied(entry(key, 9))
}

fn failed(side: Side, key: &str) -> ListItem {
    let (operation, cause) = (Operation::List, Cause::Vanished);
    ListItem::Failed(EntryError::new(operation, side, Key::new(key.as_bytes()), cause))
}

/// A listing from text: `a` an entry, `!a` a failed scope, `~a` a leftover, `-a` a key left out,
/// `?` a fatal error.
fn listing(side: Side, items: &[&str]) -> Vec<Result<ListItem, Error>> {
    let inode = if side == Side::Source { 1 } else { 2 };
    let item = |item: &&str| {
        let key = || Key::new(&item.as_bytes()[1..]);
        match item.as_bytes().first() {
            Some(b'!') => Ok(failed(side, &item[1..])),
            Some(b'~') => Ok(ListItem::Leftover(key())),
            Some(b'-') => Ok(ListItem::LeftOut(key(), "a reason".into())),
            Some(b'^') => Ok(ListItem::MountPoint(key())),
            Some(b'?') => Err(Error::new(ErrorKind::Unusable, "broken off")),
            _ => Ok(ListItem::Entry(entry(item, inode))),
        }
    };
    items.iter().map(item).collect()
}

/// Returns what a side has, as a letter.
fn letter(seen: &Seen, inode: u64) -> char {
    match seen {
        Seen::Absent => '-',
        Seen::Unknown => '?',
        Seen::Present(entry) => {
            assert_eq!(
                entry.stamp.inode().expect("an inode").number.expect("a number"),
                inode,
                "an entry of the other side: {entry:?}"
            );
            '+'
        }
    }
}

/// Returns a pair as text: its key; source, target and row; its conflict.
fn pair_text(pair: &Pair) -> String {
    for entry in pair.source.entry().into_iter().chain(pair.target.entry()) {
        assert_eq!(entry.key, pair.key);
    }
    let row = pair.row.as_ref().map_or('-', |row| {
        assert_eq!(row.key, pair.key);
        '+'
    });
    let conflict = match &pair.conflict {
        None => String::new(),
        Some(Conflict::LeafOverDirectory { empty: true }) => " over empty directory".into(),
        Some(Conflict::LeafOverDirectory { empty: false }) => " over directory".into(),
        Some(Conflict::DirectoryOverLeaf(leaf)) => {
            assert_eq!(
                (leaf.key.as_bytes(), leaf.stamp.inode().expect("an inode").number),
                (pair.key.trimmed(), Some(2))
            );
            " over leaf".into()
        }
        Some(Conflict::LeafBesideDirectory) => " beside directory".into(),
        Some(Conflict::Both) => " both".into(),
    };
    let (source, target) = (letter(&pair.source, 1), letter(&pair.target, 2));
    format!("{} {source}{target}{row}{conflict}", pair.key)
}

fn text(joined: Joined) -> String {
    match joined {
        Joined::Pair(pair) => pair_text(&pair),
        Joined::Unchanged(entry) => format!("{} +++", entry.key),
        Joined::Failed(error) | Joined::BrokeOff(error) => {
            format!("!{} {}", error.key, error.side)
        }
        Joined::Leftover(key) => format!("~{key}"),
        Joined::LeftOut(key, why) => format!("-{key} {why}"),
        Joined::MountPoint(key) => format!("^{key}"),
    }
}

/// Rows that show each file to be unchanged.
struct Showing<R>(R);

impl<R: RowCursor> RowCursor for Showing<R> {
    fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    fn shows_unchanged(&self, source: &Entry, _: &Entry) -> bool {
        source.kind == EntryKind::File
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.0.advance()
    }

    fn take(&mut self) -> Result<Option<Row>, Error> {
        self.0.take()
    }
}

/// Joins to the end, as text; an error is the last line.
fn join(source: &[&str], target: &[&str], rows: &[&str]) -> Vec<String> {
    let recorded = || {
        let row = |key: &&str| match *key {
            "?" => Err(Error::new(ErrorKind::Manifest, "damaged")),
            key => Ok(row(key)),
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        RecordedRows { rows: rows.into_iter(), from: SourceNumber::FIRST }.read_ahead()
    };
    let lines = lines([source, target], recorded());
    let RecordedRows { rows, from } = recorded();
    let showing = RecordedRows { rows: Showing(rows), from };
    let stepped_over = self::lines([source, target], showing);
    assert_eq!(stepped_over, lines, "what is certainly unchanged is joined in the same way");
    lines
}

fn lines([source, target]: [&[&str]; 2], recorded: RecordedRows<impl RowCursor>) -> Vec<String> {
    let (source, target) = (listing(Side::Source, source), listing(Side::Target, target));
    match Join::new(source.into_iter(), target.into_iter(), recorded, KeySpace::Tree) {
        Ok(mut join) => {
            let lines = join
                .by_ref()
                .map(|joined| joined.map_or_else(|error| format!("error: {error}"), text))
                .collect();
            assert!(join.next().is_none(), "the end stays the end");
            lines
        }
        Err(error) => vec![format!("error at once: {error}")],
    }
}

#[test]
fn keys_of_all_three_streams_come_once_in_order() {
    assert_eq!(
        join(&["", "a", "c", "d/", "d/x"], &["", "b", "c", "d/", "d/y"], &["0", "c", "d/x", "z"]),
        [". ++-", "0 --+", "a +--", "b -+-", "c +++", "d/ ++-", "d/x +-+", "d/y -+-", "z --+"]
    );
    assert_eq!(join(&[], &[], &[]), [""; 0]);
    assert_eq!(join(&[], &[], &["a", "a/"]), ["a --+", "a/ --+"]);
}

#[test]
fn a_leaf_waits_until_the_cursor_has_left_the_keys_that_begin_with_it() {
    assert_eq!(
        join(&["a", "a-b", "a.c"], &["a/", "a/x"], &[]),
        ["a-b +--", "a.c +--", "a +-- over directory", "a/ -+-", "a/x -+-"]
    );
    assert_eq!(
        join(&["a", "a-", "a-/", "a-/x", "b"], &["a", "a-b", "a.", "a/", "a0"], &["a", "a/"])
            .into_iter()
            .filter(|line| line.starts_with("a ") || line.starts_with("a/ "))
            .collect::<Vec<_>>(),
        ["a +++ over directory", "a/ -++"]
    );
    assert_eq!(
        join(&["a", "a!", "a!-", "b"], &[], &[]),
        ["a!- +--", "a! +--", "a +--", "b +--"],
        "one waiting leaf for each prefix, the longest comes first"
    );
    assert_eq!(
        join(&["a"], &["a-b", "a.c", "b"], &[]),
        ["a-b -+-", "a.c -+-", "a +--", "b -+-"],
        "no directory follows: it is no conflict"
    );
    assert_eq!(join(&["a-b", "d"], &["a", "a.c"], &[]), ["a-b +--", "a.c -+-", "a -+-", "d +--"]);
}

#[test]
fn a_leaf_over_an_empty_directory_is_one_decision() {
    assert_eq!(
        join(&["a", "a-b", "b"], &["a-b", "a/", "a0"], &["a/"]),
        ["a-b ++-", "a +-- over empty directory", "a/ --+", "a0 -+-", "b +--"]
    );
    assert_eq!(join(&["a"], &["a/"], &["a"]), ["a +-+ over empty directory", "a/ ---"]);
}

#[test]
fn a_directory_that_could_not_be_listed_completely_is_not_empty() {
    for unknown in ["!a/", "!a/x", "-a/x/", "!a/x/"] {
        let found = join(&["a"], &["a/", unknown], &[]);
        assert_eq!(found[..2], ["a +-- over directory", "a/ -+-"], "{unknown}");
    }
}

#[test]
fn a_directory_over_a_leaf_is_one_decision() {
    assert_eq!(
        join(&["a-b", "a/", "a/x"], &["a", "a-b"], &["a"]),
        ["a-b ++-", "a --+", "a/ +-- over leaf", "a/x +--"]
    );
}

#[test]
fn a_leaf_and_a_directory_of_one_name_in_the_source_conflict_whatever_the_target_has() {
    for (source, target) in [
        (&["a", "a/"][..], &[][..]),
        (&["a", "a/"], &["a"]),
        (&["a", "a/"], &["a/"]),
        (&["a", "a/"], &["a", "a/"]),
    ] {
        let found = join(source, target, &[]);
        let both = found.len() == 2 && found.iter().all(|line| line.ends_with(" both"));
        assert!(both, "{source:?} and {target:?}: {found:?}");
    }
}

#[test]
fn a_store_with_a_leaf_and_a_directory_of_one_name_is_brought_to_what_the_source_has() {
    let both = ["a", "a/", "a/x"];
    assert_eq!(join(&[], &both, &[]), ["a -+-", "a/ -+-", "a/x -+-"]);
    assert_eq!(join(&["a"], &both, &["a"]), ["a +++ over directory", "a/ -+-", "a/x -+-"]);
    assert_eq!(
        join(&["a/", "a/x"], &both, &["a"]),
        ["a -++ beside directory", "a/ ++-", "a/x ++-"]
    );
}

#[test]
fn a_directory_in_which_something_was_set_aside_is_not_empty() {
    let aside = "~a/.vidimus.6173696400000001";
    assert_eq!(
        join(&["a", "b"], &["a/", aside, "b"], &[]),
        ["a +-- over directory", "a/ -+-", aside, "b ++-"]
    );
}

#[test]
fn keys_missing_below_a_failed_scope_are_unknown_on_that_side_only() {
    // The contents of a directory, listed in part.
    assert_eq!(
        join(
            &["", "d/", "!d/", "d/b", "e"],
            &["", "d", "d-", "d/", "d/a", "d/b", "d/c/", "d/c/x", "d0", "e"],
            &["d/q"]
        )
        .split_off(1),
        [
            "d- -+-",
            "d -+- beside directory",
            "d/ ++-",
            "!d/ source",
            "d/a ?+-",
            "d/b ++-",
            "d/c/ ?+-",
            "d/c/x ?+-",
            "d/q ?-+",
            "d0 -+-",
            "e ++-"
        ]
    );
    assert_eq!(
        join(&["d/", "d/x", "e"], &["d/", "!d/"], &["d/y"]),
        ["d/ ++-", "!d/ target", "d/x +?-", "d/y -?+", "e +--"]
    );
    // A leaf: keys below it are unknown too, as it may be a directory by now; its neighbours
    // aren't.
    assert_eq!(
        join(&["a", "!b", "c"], &["b", "b-", "b.x", "c"], &["b/x"]),
        ["a +--", "!b source", "b- -+-", "b.x -+-", "b/x ?-+", "b ?+-", "c ++-"]
    );
    // The root.
    assert_eq!(
        join(&["", "!", "b"], &["", "a", "b", "c/"], &["z"]),
        [". ++-", "! source", "a ?+-", "b ++-", "c/ ?+-", "z ?-+"]
            .map(|line| line.replace("! ", "!. "))
    );
    // A key that is left out.
    assert_eq!(
        join(&["-s/"], &["s/", "s/x", "t"], &[]),
        ["-s/ a reason", "s/ ?+-", "s/x ?+-", "t -+-"]
    );
    // On both sides.
    assert_eq!(
        join(&["!d/"], &["!d/"], &["d/", "d/x", "e"]),
        ["!d/ source", "!d/ target", "d/ ??+", "d/x ??+", "e --+"]
    );
}

#[test]
fn a_failed_directory_makes_the_leaf_of_its_name_unknown_too() {
    // A directory that became a leaf while it was listed: the target's leaf isn't extra.
    assert_eq!(
        join(&["d-", "!d/", "e"], &["d", "d-", "d.c"], &["d"]),
        ["d- ++-", "d.c -+-", "!d/ source", "d ?++", "e +--"]
    );
    let last = |source: &[&str], target: &[&str], rows: &[&str]| {
        let found = join(source, target, rows);
        found.into_iter().filter(|line| line.starts_with("d ")).collect::<Vec<_>>()
    };
    assert_eq!(last(&["d-", "!d/"], &["d"], &[]), ["d ?+-"], "known only after d-");
    assert_eq!(last(&["d"], &["d-", "!d/"], &["d/"]), ["d +?-"]);
    assert_eq!(last(&["d-", "-d/"], &["d-", "-d/"], &["d"]), ["d ??+"]);
}

#[test]
fn items_that_are_no_entries_are_passed_on() {
    assert_eq!(
        join(&["a"], &["~.vidimus.0123456789abcdef", "a", "~b/.vidimus.0123456789abcdef"], &[]),
        ["~.vidimus.0123456789abcdef", "a ++-", "~b/.vidimus.0123456789abcdef"]
    );
}

#[test]
fn millions_of_keys_that_no_tree_can_have_are_not_kept_in_memory() {
    use std::cell::Cell;
    let fetched = Cell::new(0_u32);
    let strange = (0..100_000).map(|number| {
        fetched.set(number);
        Ok(failed(Side::Source, &format!("a//{number:06}")))
    });
    let entries = [Ok(ListItem::Entry(entry("a/", 1)))].into_iter().chain(strange);
    let source = entries.chain([Ok(ListItem::Entry(entry("b", 1)))]);
    let target = listing(Side::Target, &["a/", "a/x", "b", "c"]).into_iter();
    let recorded = RecordedRows { rows: std::iter::empty(), from: SourceNumber::NONE }.read_ahead();
    let mut join = Join::new(source, target, recorded, KeySpace::Tree).expect("begin");
    let (mut failures, mut pairs) = (0, Vec::new());
    while let Some(joined) = join.next() {
        match joined.expect("no error") {
            Joined::Failed(_) => failures += 1,
            Joined::Pair(pair) => pairs.push(pair_text(&pair)),
            other => panic!("{other:?}"),
        }
        assert!(fetched.get() <= failures + 200, "{} fetched, {failures} failed", fetched.get());
        assert!(join.source.unknown.len() <= 200, "{} scopes", join.source.unknown.len());
    }
    assert_eq!(failures, 100_000);
    assert_eq!(pairs, ["a/ ++-", "a/x -+-", "b ++-", "c -+-"]);
}

#[test]
fn an_error_of_any_stream_ends_the_join() {
    assert_eq!(join(&["?"], &["a"], &[]), ["error at once: broken off"]);
    assert_eq!(join(&["a"], &["?"], &[]), ["error at once: broken off"]);
    assert_eq!(join(&["a"], &["a"], &["?"]), ["error at once: damaged"]);
    let late = ["a ++-", "error: broken off"];
    assert_eq!(join(&["a", "b", "?", "c"], &["a", "b", "c"], &[]), late);
    assert_eq!(join(&["a", "b", "c"], &["a", "b", "?", "c"], &[]), late);
    assert_eq!(join(&["a", "b"], &["a", "b"], &["b", "?"]), ["a ++-", "error: damaged"]);
    // Waiting leaves are dropped: directories of their names might have followed.
    assert_eq!(join(&["a", "a-b", "?"], &["a-c"], &[]), ["error: broken off"]);
}

/// Random keys with names that sort around `/`, few enough to meet often. As in a store, a leaf and
/// a directory may have the same name.
fn some_keys() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop::sample::select(vec!["a", "a-", "a.", "a0", "b", "aa"]);
    let path = prop::collection::vec(name, 1..4);
    let key = (path, any::<bool>())
        .prop_map(|(path, is_directory)| path.join("/") + if is_directory { "/" } else { "" });
    prop::collection::btree_set(key, 0..12)
}

/// Returns a listing of `entries` with each failed scope after the entry of its key.
fn with_failures(entries: &BTreeSet<String>, failed: &BTreeSet<String>) -> Vec<String> {
    let mut items: Vec<_> = entries.iter().map(|key| (key, 0, key.clone())).collect();
    items.extend(failed.iter().map(|key| (key, 1, format!("!{key}"))));
    items.sort();
    items.into_iter().map(|(_, _, item)| item).collect()
}

/// Computes the expected pairs from all keys at once.
fn oracle(
    [source, target]: [&BTreeSet<String>; 2],
    [source_failed, target_failed]: [&BTreeSet<String>; 2],
    rows: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let seen = |keys: &BTreeSet<String>, failed: &BTreeSet<String>, key: &str| {
        let covered = failed.iter().any(|scope| {
            // Entries in a directory may be unknown; that it is a directory is known.
            let is_directory = *scope == format!("{key}/") && keys.contains(scope);
            let scope = scope.trim_end_matches('/');
            !is_directory && (key == scope || key.starts_with(&format!("{scope}/")))
        });
        if keys.contains(key) {
            '+'
        } else if covered {
            '?'
        } else {
            '-'
        }
    };
    let mut pairs = BTreeMap::new();
    for key in source.iter().chain(target).chain(rows) {
        let mut letters = [seen(source, source_failed, key), seen(target, target_failed, key)];
        let name = key.trim_end_matches('/');
        let directory = format!("{name}/");
        let has = |keys: &BTreeSet<String>| (keys.contains(name), keys.contains(&directory));
        let (s, t) = (has(source), has(target));
        let is_directory = key.ends_with('/');
        let mut conflict = "";
        if s == (true, true) {
            conflict = " both";
        } else if t == (true, true) {
            conflict = match (is_directory, s) {
                (false, (true, _)) => " over directory",
                (false, (_, true)) => " beside directory",
                _ => "",
            };
        } else if s.0 && t.1 {
            let below = |keys: &BTreeSet<String>| keys.iter().any(|k| k.starts_with(&directory));
            let entries = target.iter().any(|k| k.starts_with(&directory) && *k != directory);
            let empty = !entries && !below(target_failed);
            match (is_directory, empty) {
                (false, true) => conflict = " over empty directory",
                (false, false) => conflict = " over directory",
                (true, true) => letters[1] = '-',
                (true, false) => {}
            }
        } else if s.1 && t.0 {
            if is_directory {
                conflict = " over leaf";
            } else {
                letters[1] = '-'; // part of the directory's pair
            }
        }
        let [source, target] = letters;
        let row = if rows.contains(key) { '+' } else { '-' };
        pairs.insert(key.clone(), format!("{key} {source}{target}{row}{conflict}"));
    }
    pairs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_key_comes_once_and_as_in_the_oracle(
        source in some_keys(),
        target in some_keys(),
        rows in some_keys(),
        source_failed in prop::option::weighted(0.3, some_keys()),
        target_failed in prop::option::weighted(0.3, some_keys()),
    ) {
        let failed = [source_failed.unwrap_or_default(), target_failed.unwrap_or_default()];
        let items = [with_failures(&source, &failed[0]), with_failures(&target, &failed[1])];
        let [sources, targets] =
            items.each_ref().map(|items| items.iter().map(String::as_str).collect::<Vec<_>>());
        let row_keys: Vec<_> = rows.iter().map(String::as_str).collect();
        let lines = join(&sources, &targets, &row_keys);
        let mut found = BTreeMap::new();
        for pair in lines.into_iter().filter(|line| !line.starts_with('!')) {
            let key = pair.split(' ').next().unwrap_or_default().to_owned();
            prop_assert!(found.insert(key, pair).is_none(), "a key twice");
        }
        prop_assert_eq!(found, oracle([&source, &target], failed.each_ref(), &rows));
    }
}

#[test]
fn a_leftover_is_swept_before_a_leaf_replaces_the_directory_that_holds_it() {
    assert_eq!(
        join(&["a", "b"], &["a/", "~a/.vidimus.0123456789abcdef", "b"], &[]),
        ["~a/.vidimus.0123456789abcdef", "a +-- over empty directory", "a/ ---", "b ++-"]
    );
}
