//! Rows that are decoded as far as necessary.

use super::*;
use crate::model::{AttributeKinds, Extras};

/// Reads to the end; `takes` says of which number of row it is taken whole.
fn read(state: &State, takes: impl Fn(usize) -> bool) -> Vec<(Vec<u8>, Option<Row>)> {
    let mut rows = state.lazy_rows().unwrap();
    rows.advance().unwrap();
    let mut found = Vec::new();
    while let Some(next) = rows.next() {
        let key = next.key().to_vec();
        let row = if takes(found.len()) { Some(rows.take().unwrap().unwrap()) } else { None };
        if row.is_none() {
            rows.advance().unwrap();
        }
        found.push((key, row));
    }
    found
}

#[test]
fn a_row_that_is_taken_is_whole_however_many_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows: Vec<_> = (0..5 * PAGE).map(|n| row(format!("{n:08}"))).collect();
    let (kind, link) = (EntryKind::Symlink, Some(b"text"[..].into()));
    rows[1] = Row { kind, link, digest: None, ..rows[1].clone() };
    rows[2].extras = Extras { holes: true, ..Extras::default() }.boxed();
    fill(dir.path(), &rows);
    let state = open(dir.path());
    let takes: [fn(usize) -> bool; 4] = [
        |_| false,
        |_| true,
        |at| at % 100 < 3,
        // Most of some pages, and none of those that follow.
        |at| (PAGE..2 * PAGE).contains(&at),
    ];
    for takes in takes {
        let expected = rows
            .iter()
            .enumerate()
            .map(|(at, row)| (row.key.as_bytes().to_vec(), takes(at).then(|| row.clone())));
        assert!(read(&state, takes).into_iter().eq(expected));
    }
}

#[test]
fn a_row_shows_what_it_records_of_a_plain_file() {
    let dir = tempfile::tempdir().unwrap();
    let plain = row("a");
    let unlooked = Row { looked: AttributeKinds::NONE, ..row("b") };
    let (kind, digest) = (EntryKind::Directory, None);
    let directory = Row { kind, digest, ..row("c/") };
    let with_holes =
        Row { extras: Extras { holes: true, ..Extras::default() }.boxed(), ..row("d") };
    fill(dir.path(), &[plain.clone(), unlooked, directory, with_holes]);
    let state = open(dir.path());
    let mut rows = state.lazy_rows().unwrap();
    let mut next = || {
        rows.advance().unwrap();
        let next = rows.next().unwrap();
        assert!(next.has_stamps(&stamp(1), &stamp(2)));
        assert!(!next.has_stamps(&stamp(2), &stamp(2)) && !next.has_stamps(&stamp(1), &stamp(1)));
        next.file()
    };
    let file = next().unwrap();
    assert_eq!((file.metadata, file.from), (plain.metadata, plain.from));
    assert_eq!((file.source_racy, file.looked), (plain.source_racy, plain.looked));
    assert_eq!(next().unwrap().looked, AttributeKinds::NONE);
    assert!(next().is_none() && next().is_none(), "a directory, and a file with holes");
}

#[test]
fn a_page_ends_early_after_long_keys() {
    let dir = tempfile::tempdir().unwrap();
    let long = "a".repeat(PAGE_KEYS / 4);
    let rows: Vec<_> = (0..30).map(|n| row(format!("{long}{n:08}"))).collect();
    fill(dir.path(), &rows);
    let state = open(dir.path());
    assert!(all(&state) == rows);
    let keys = rows.iter().map(|row| (row.key.as_bytes().to_vec(), None));
    assert!(read(&state, |_| false).into_iter().eq(keys));
}
