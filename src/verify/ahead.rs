//! How much there is to read, counted from the rows beside a verification.

use super::{Budget, Depth};
use crate::engine::CountAhead;
use crate::manifest::Row;
use crate::model::{Ahead, EntryKind, Error, Progress};
use std::sync::Arc;

/// Begins to count; `None` where it can't be known: how far a time goes shows at its end. The
/// verification doesn't hang on it.
pub(super) fn count_ahead(
    rows: impl Iterator<Item = Result<Row, Error>> + Send + 'static,
    depth: Depth,
    progress: &Arc<Progress>,
) -> Option<CountAhead> {
    if let Some(Budget::Time(_)) = depth.budget() {
        return None;
    }
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
    let most = match depth.budget() {
        Some(Budget::Bytes(most)) => most,
        _ => u64::MAX,
    };
    let mut bytes = 0_u64;
    for row in rows {
        // What is wrong with the rows the verification itself tells.
        let Ok(row) = row else { return false };
        if is_over() {
            return false;
        }
        let is_read = row.kind == EntryKind::File
            && row.digest.is_some()
            && bytes < most
            && matches!(depth, Depth::Content(choice) if choice.takes(&row));
        bytes += if is_read { row.target.size } else { 0 };
        ahead.add(is_read.then_some(row.target.size));
    }
    true
}
