//! Deletions: last, children first, each entry only if it still is the one listed.
//!
//! [`settle`] decides, once all else is planned or done, what becomes of them.

use super::collisions::Spared;
use super::commit::Committer;
use super::{Context, on_target};
use crate::compare::Reason;
use crate::model::event::Change;
use crate::model::reserved::DIRECTORY;
use crate::model::{Cause, Entry, EntryKind, Error, Event, Key, Observer, Operation, Progress};
use crate::plan::{DeleteOptions, DeletionTally, NOT_DELETED, spool_error};
use crate::spool::SpoolReader;

/// What becomes of the deletions.
pub(super) struct Settled {
    /// What is done to each of them; `None` where nothing is to be deleted.
    pub(super) change: Option<Change>,
    /// Why they are refused.
    pub(super) refusal: Option<Error>,
}

/// Decides what becomes of the deletions that were planned: `allow` may refuse them, and a copy that
/// failed makes them wait.
pub(super) fn settle(
    (progress, observer): (&Progress, &dyn Observer),
    options: Option<&DeleteOptions>,
    tally: &DeletionTally,
    broke_off: bool,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Settled {
    let settled = |change| Settled { change, refusal: None };
    let Some(options) = options else { return settled(None) };
    if broke_off {
        observer.observe(&Event::Note(NOT_DELETED));
        return settled(None);
    }
    if let Err(refused) = allow(tally) {
        observer.observe(&Event::Refused(&refused));
        return Settled { change: Some(Change::DeleteRefused), refusal: Some(refused) };
    }
    if progress.copies_failed.get() > 0 && !options.despite_errors {
        progress.file_deletions_waiting.add(tally.leaves);
        progress.directory_deletions_waiting.add(tally.own_directories());
        return settled(Some(Change::DeleteLater));
    }
    settled(Some(Change::Delete))
}

/// Names each entry that was to be deleted.
pub(super) fn name_each(
    mut deletions: SpoolReader,
    mut tell: impl FnMut(&Key),
) -> Result<(), Error> {
    while let Some(record) = deletions.next().map_err(spool_error)? {
        tell(&Entry::decode(record).ok_or_else(super::finish::spool_damaged)?.key);
    }
    Ok(())
}

/// Says what deleting what was planned would do to each entry.
pub(super) fn preview_deletions(
    deletions: SpoolReader,
    observer: &dyn Observer,
    is_under_way: &dyn Fn(&Key) -> bool,
    mut tell: impl FnMut(&Key, Change, Reason),
) -> Result<(), Error> {
    let mut kept: Option<Key> = None;
    name_each(deletions, |key| {
        if is_anothers(key, is_under_way) {
            observer.observe(&Event::Note(&anothers(key)));
        } else if kept.as_ref().is_some_and(|kept| holds(key, kept)) {
            tell(key, Change::Keep, Reason::HoldsKept);
        } else {
            return tell(key, Change::Delete, Reason::Extra);
        }
        kept = Some(key.clone());
    })
}

/// Whether an entry is a directory that holds what is kept.
fn holds(key: &Key, kept: &Key) -> bool {
    key.is_directory() && kept.is_within(key.as_bytes())
}

/// Deletes what was planned.
pub(super) fn delete(
    context: &Context<'_>,
    mut deletions: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let mut deleting =
        Deleting { context, spared: context.collisions.spared(&*context.target), kept: None };
    let together = context.target.removes_together();
    let mut entries = Vec::with_capacity(together);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        let entry = Entry::decode(record).ok_or_else(super::finish::spool_damaged)?;
        if deleting.keeps(&entry, committer) {
            continue;
        }
        entries.push(entry);
        if entries.len() == together {
            deleting.remove(&mut entries, committer);
        }
    }
    deleting.remove(&mut entries, committer);
    Ok(())
}

/// Deletions under way.
struct Deleting<'c, 'a> {
    context: &'c Context<'a>,
    spared: Spared<'c>,
    /// What came last and stays: so do the directories that it lies in.
    kept: Option<Key>,
}

impl Deleting<'_, '_> {
    /// Whether an entry stays, for its own sake or that of something in it.
    fn keeps(&mut self, entry: &Entry, committer: &mut Committer<'_>) -> bool {
        let key = &entry.key;
        if self.spared.spares(key) {
            let progress = self.context.progress;
            let waiting = if entry.kind == EntryKind::Directory {
                &progress.directory_deletions_waiting
            } else {
                &progress.file_deletions_waiting
            };
            waiting.add(1);
            self.context.tell(key, Change::DeleteLater, Reason::Collided, 0);
        } else if is_anothers(key, self.context.is_under_way) {
            self.context.observer.observe(&Event::Note(&anothers(key)));
        } else if self.kept.as_ref().is_some_and(|kept| holds(key, kept)) {
            self.context.tell(key, Change::Keep, Reason::HoldsKept, 0);
            // What was deleted in it changed its time, which nobody sets.
            committer.forget(key.clone());
        } else {
            return false;
        }
        self.kept = Some(key.clone());
        true
    }

    /// Removes some entries together.
    fn remove(&mut self, entries: &mut Vec<Entry>, committer: &mut Committer<'_>) {
        let context = self.context;
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
                    continue;
                }
                Err(Cause::NotEmpty) if context.filtered => {
                    let key = &entry.key;
                    let note = format!("\"{key}\" stays: it holds entries that are excluded");
                    context.observer.observe(&Event::Note(&note));
                    committer.forget(entry.key.clone());
                }
                Err(cause) => context.fail(on_target(Operation::Delete, &entry.key, cause)),
            }
            self.kept = Some(entry.key);
        }
    }
}

/// Whether an entry is what vidimus keeps in a place of its own (that one's lock, or manifest), and a run
/// into that place goes on.
fn is_anothers(key: &Key, is_under_way: &dyn Fn(&Key) -> bool) -> bool {
    let mut names = key.trimmed().split(|&byte| byte == b'/');
    names.any(|name| name == DIRECTORY.as_bytes()) && is_under_way(key)
}

/// Why that isn't deleted.
fn anothers(key: &Key) -> String {
    format!("\"{key}\" stays: another run is under way in its directory")
}
