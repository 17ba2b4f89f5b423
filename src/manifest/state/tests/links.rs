//! The keys of each group of hard links.

use super::{open, row};
use crate::manifest::{Row, State};
use crate::model::{Extras, GroupId, LinkGroup};

fn of_group(key: &str, group: u64) -> Row {
    let group = Some(LinkGroup { id: GroupId(group), names: 2 });
    Row { extras: Extras { group, ..Extras::default() }.boxed(), ..row(key) }
}

/// Returns what is recorded of groups, also of those that no row is of.
fn links(state: &State) -> Vec<(i64, String)> {
    let mut found = state.connection.prepare("SELECT id, CAST(key AS TEXT) FROM links").unwrap();
    let links = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    links.map(Result::unwrap).collect()
}

#[test]
fn a_group_has_no_key_whose_row_is_of_another_or_gone() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let put = |rows: &[Row]| {
        let mut writer = state.writer().unwrap();
        for row in rows {
            writer.put(row).unwrap();
        }
        writer.commit().unwrap();
    };
    put(&["a", "b", "c", "d"].map(|key| of_group(key, 1)));
    put(&[of_group("a", 1), of_group("b", 2), row("c")]);
    let mut writer = state.writer().unwrap();
    writer.remove(&row("d").key).unwrap();
    writer.commit().unwrap();
    assert_eq!(links(&state), [(1, "a".to_owned()), (2, "b".to_owned())]);
}
