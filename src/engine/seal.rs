//! The flags of copies, which come last: an immutable file can't be put in its place, and nothing
//! can be made in an immutable directory.
//!
//! A row says which flags its entry has only when they were set. So a run that is killed before
//! leaves entries whose flags differ from the source's, and the next one sets them.

use super::Context;
use super::commit::Committer;
use super::finish::spool_damaged;
use crate::backend::FlagsSet;
use crate::manifest::{PendingRow, State};
use crate::model::{Entry, EntryError, Error, Notice, Operation};
use crate::plan::spool_error;
use crate::spool::Spool;

impl Context<'_> {
    /// Has the flags of an entry of the source set on its copy when all else is done, if this run
    /// keeps flags.
    pub(super) fn seal(&self, entry: &Entry) {
        let Some(seals) = &self.seals else { return };
        if let Err(error) = seals.lock().push(&entry.encode()) {
            self.abort(spool_error(error));
        }
    }
}

/// Sets the flags that waited, and records them.
///
/// # Errors
/// Fails if the state or the spool can't be read.
pub(super) fn seal(
    context: &Context<'_>,
    state: &State,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let Some(seals) = &context.seals else { return Ok(()) };
    let waiting = std::mem::replace(&mut *seals.lock(), Spool::new(context.spool_dir, 0));
    if waiting.is_empty() {
        return Ok(());
    }
    // Rows are read.
    committer.flush();
    let mut waiting = waiting.into_reader().map_err(spool_error)?;
    let mut lost = 0_u64;
    while let Some(record) = waiting.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        let entry = Entry::decode(record).ok_or_else(spool_damaged)?;
        // What failed has no row, or is not there.
        let Some(row) = state.row(&entry.key)? else { continue };
        match context.target.set_flags(&entry.key, entry.kind, entry.flags()) {
            Ok(FlagsSet::Done) => {}
            Ok(FlagsSet::NotKept) => lost += 1,
            Err(cause) => {
                let failed = EntryError::on_target(Operation::SetMetadata, &entry.key, cause);
                context.fail(failed);
                continue;
            }
        }
        let target = row.target;
        let mut row = PendingRow::from(row);
        row.set_flags(entry.flags());
        committer.refresh(row, target);
    }
    if lost > 0 {
        context.notice(Notice::FlagsNotSet { count: lost });
    }
    Ok(())
}
