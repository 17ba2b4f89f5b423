//! How much there is to read, counted from the rows beside a verification.

use super::{Budget, Depth};
use crate::engine::CountAhead;
use crate::manifest::Row;
use crate::model::{Ahead, EntryKind, Error, Progress};
use std::sync::Arc;

/// Begins to count, of a budget of bytes no more than that. The verification doesn't hang on it.
pub(super) fn count_ahead(
    rows: impl Iterator<Item = Result<Row, Error>> + Send + 'static,
    depth: Depth,
    progress: &Arc<Progress>,
) -> Option<CountAhead> {
    let count = move |ahead: &Ahead, is_over: &dyn Fn() -> bool| count(rows, depth, ahead, is_over);
    CountAhead::start(Arc::clone(progress), count).ok()
}

/// Counts until nobody wants it any more; whether that is all.
fn count(
    rows: impl Iterator<Item = Result<Row, Error>>,
    depth: Depth,
    ahead: &Ahead,
    is_over: &dyn Fn() -> bool,
) -> bool {
    let mut left = match depth.budget() {
        Some(Budget::Bytes(most)) => most,
        _ => u64::MAX,
    };
    for row in rows {
        // What is wrong with the rows the verification itself tells.
        let Ok(row) = row else { return false };
        if is_over() {
            return false;
        }
        let is_read = row.kind == EntryKind::File
            && row.digest.is_some()
            && left > 0
            && matches!(depth, Depth::Content(choice) if choice.takes(&row));
        let size = if is_read { row.target.size.min(left) } else { 0 };
        left -= size;
        ahead.add(is_read.then_some(size));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Sample};
    use super::*;
    use crate::model::{Counted, Digest, Entry, Key, Metadata};

    fn row(key: &str, kind: EntryKind, size: u64) -> Row {
        let file = Entry::new_file(Key::new(key.as_bytes()), size, Metadata::default());
        let digest = (kind == EntryKind::File).then_some(Digest([1; 32]));
        Row { kind, digest, ..Row::of_copied(file) }
    }

    fn counted(choice: Choice) -> (u64, u64, u64) {
        let adopted = Row { digest: None, ..row("c", EntryKind::File, 1000) };
        let rows = [
            row("", EntryKind::Directory, 0),
            row("a", EntryKind::File, 10),
            row("b", EntryKind::Symlink, 3),
            adopted,
            row("d", EntryKind::File, 20),
            row("e", EntryKind::File, 30),
        ];
        let ahead = Ahead::default();
        assert!(count(rows.into_iter().map(Ok), Depth::Content(choice), &ahead, &|| false));
        let Counted { entries, files, bytes, .. } = ahead.counted();
        (entries, files, bytes)
    }

    #[test]
    fn what_is_read_is_counted_and_no_more_than_a_budget() {
        assert_eq!(counted(Choice::default()), (6, 3, 60));
        let of = |bytes| Choice { budget: Some(Budget::Bytes(bytes)), ..Choice::default() };
        assert_eq!(counted(of(15)), (6, 2, 15));
        assert_eq!(counted(of(100)), (6, 3, 60));
        let time = Some(Budget::Time(std::time::Duration::from_secs(1)));
        assert_eq!(counted(Choice { budget: time, ..Choice::default() }), (6, 3, 60));
        let nothing = Sample::Share { percent: 0.0, seed: 1 };
        assert_eq!(counted(Choice { sample: Some(nothing), ..Choice::default() }), (6, 0, 0));
    }

    #[test]
    fn nobody_who_left_is_counted_for() {
        let ahead = Ahead::default();
        let rows = std::iter::once(Ok(row("a", EntryKind::File, 10)));
        assert!(!count(rows, Depth::Stamps, &ahead, &|| true));
    }
}
