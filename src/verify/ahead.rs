//! The amount that a verification has to read, counted from the rows beside it.

use super::{Budget, Depth};
use crate::engine::CountAhead;
use crate::manifest::Row;
use crate::model::{Ahead, EntryKind, Error, Notice, Observer, Progress};
use std::io;
use std::sync::Arc;

/// Starts to count; with a budget of bytes, up to that. Reports if no thread can be started: the
/// verification doesn't depend on the count.
pub(super) fn count_ahead(
    rows: impl Iterator<Item = Result<Row, Error>> + Send + 'static,
    depth: Depth,
    progress: &Arc<Progress>,
    observer: &dyn Observer,
) -> Option<CountAhead> {
    let count = move |ahead: &Ahead, is_over: &dyn Fn() -> bool| count(rows, depth, ahead, is_over);
    begun(CountAhead::start(Arc::clone(progress), count).map(Some), observer)
}

/// Returns the count if it began, or reports why not.
pub(super) fn begun(
    count: io::Result<Option<CountAhead>>,
    observer: &dyn Observer,
) -> Option<CountAhead> {
    count.unwrap_or_else(|error| {
        observer.notice(Notice::NotCountedAhead { cause: error.to_string() });
        None
    })
}

/// Counts until `is_over` returns true; returns whether everything was counted.
fn count(
    rows: impl Iterator<Item = Result<Row, Error>>,
    depth: Depth,
    ahead: &Ahead,
    is_over: &dyn Fn() -> bool,
) -> bool {
    let mut budget_left = match depth.budget() {
        Some(Budget::Bytes(budget)) => budget,
        _ => u64::MAX,
    };
    for row in rows {
        // The verification itself reports errors of the rows.
        let Ok(row) = row else { return false };
        if is_over() {
            return false;
        }
        let is_read = row.kind == EntryKind::File
            && row.digest.is_some()
            && budget_left > 0
            && matches!(depth, Depth::Content(choice) if choice.takes(&row));
        let size = if is_read { row.target.size.min(budget_left) } else { 0 };
        budget_left -= size;
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
    fn files_to_read_are_counted_up_to_the_budget() {
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
    fn a_count_ends_when_it_is_over() {
        let ahead = Ahead::default();
        let rows = std::iter::once(Ok(row("a", EntryKind::File, 10)));
        assert!(!count(rows, Depth::Stamps, &ahead, &|| true));
    }
}
