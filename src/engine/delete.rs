//! Deletions: last, children first, each entry only if it still is the one listed.

use super::commit::Committer;
use super::{Context, on_target};
use crate::compare::Reason;
use crate::model::event::Change;
use crate::model::{Cause, Entry, EntryKind, Error, Event, Operation};
use crate::plan::spool_error;
use crate::spool::SpoolReader;

/// Deletes what was planned.
pub(super) fn delete(
    context: &Context<'_>,
    mut deletions: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let together = context.target.removes_together();
    let mut entries = Vec::with_capacity(together);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        entries.push(Entry::decode(record).ok_or_else(super::finish::spool_damaged)?);
        if entries.len() == together {
            remove(context, &mut entries, committer);
        }
    }
    remove(context, &mut entries, committer);
    Ok(())
}

/// Removes some entries together.
fn remove(context: &Context<'_>, entries: &mut Vec<Entry>, committer: &mut Committer<'_>) {
    let results = context.target.remove_all(entries);
    for (entry, result) in entries.drain(..).zip(results) {
        match result {
            Ok(()) => {
                let progress = context.progress;
                if entry.kind == EntryKind::Directory {
                    progress.directories_deleted.add(1);
                } else {
                    progress.files_deleted.add(1);
                }
                context.tell(&entry.key, Change::Delete, Reason::Extra, 0);
                committer.forget(entry.key);
            }
            Err(Cause::DirectoryInTheWay) if context.filtered => {
                let note = format!("\"{}\" stays: it holds entries that are excluded", entry.key);
                context.observer.observe(&Event::Note(&note));
            }
            Err(cause) => context.fail(on_target(Operation::Delete, &entry.key, cause)),
        }
    }
}
