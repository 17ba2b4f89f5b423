//! Deletions: they come last, children first, and spare each entry that has changed since its
//! listing.
//!
//! When everything else is planned or done, [`settle`] decides whether the planned deletions
//! happen.

use super::Context;
use super::collisions::Spared;
use super::commit::Committer;
use crate::model::reserved::DIRECTORY;
use crate::model::{
    Action, Cause, Entry, EntryError, EntryKind, Error, Event, Key, Notice, Observer, Operation,
    Outcome, Progress, Reason, Status,
};
use crate::plan::{DeleteOptions, DeletionTally, spool_error};
use crate::spool::SpoolReader;

/// The decision about planned deletions.
pub(super) struct Settled {
    /// What becomes of each deletion; `None` if nothing is to be deleted.
    pub(super) deletions: Option<Status>,
    /// Why deletions are refused.
    pub(super) refusal: Option<Error>,
}

/// Decides about the planned deletions: `allow` may refuse them. Whether they
/// [wait](Settled::wait_for_copies) is decided later.
pub(super) fn settle(
    observer: &dyn Observer,
    options: Option<&DeleteOptions>,
    tally: &DeletionTally,
    broke_off: bool,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Settled {
    let settled = |deletions| Settled { deletions, refusal: None };
    if options.is_none() {
        return settled(None);
    }
    if broke_off {
        observer.observe(&Event::Notice(Notice::NothingDeleted));
        return settled(None);
    }
    if let Err(refused) = allow(tally) {
        observer.observe(&Event::Refused(refused.report()));
        return Settled { deletions: Some(Status::Refused), refusal: Some(refused) };
    }
    settled(Some(Status::Done))
}

impl Settled {
    /// Makes the deletions wait if a copy failed.
    pub(super) fn wait_for_copies(
        &mut self,
        progress: &Progress,
        options: Option<&DeleteOptions>,
        tally: &DeletionTally,
    ) {
        let despite_errors = options.is_some_and(|options| options.despite_errors);
        let is_due = self.deletions == Some(Status::Done);
        if is_due && progress.copies_failed.get() > 0 && !despite_errors {
            progress.file_deletions_waiting.add(tally.leaves);
            progress.link_deletions_waiting.add(tally.links);
            progress.directory_deletions_waiting.add(tally.own_directories());
            self.deletions = Some(Status::Waits);
        }
    }
}

/// Calls `report` for each entry whose deletion is planned.
pub(super) fn for_each_planned(
    mut deletions: SpoolReader,
    mut report: impl FnMut(&Entry),
) -> Result<(), Error> {
    while let Some(record) = deletions.next().map_err(spool_error)? {
        report(&Entry::decode(record).ok_or_else(super::finish::spool_damaged)?);
    }
    Ok(())
}

/// Reports the outcome that each planned deletion would have.
pub(super) fn preview_deletions(
    deletions: SpoolReader,
    observer: &dyn Observer,
    is_under_way: &dyn Fn(&Key) -> bool,
    mut report: impl FnMut(Outcome),
) -> Result<(), Error> {
    let mut kept: Option<Key> = None;
    for_each_planned(deletions, |entry| {
        let key = &entry.key;
        if is_of_other_run(key, is_under_way) {
            observer.observe(&Event::Notice(Notice::DirectoryInUse { key: key.clone() }));
        } else if kept.as_ref().is_some_and(|kept| contains(key, kept)) {
            report(Outcome::new(key, Some(entry.kind), Action::Keep, Reason::HoldsKept));
        } else {
            return report(Outcome::new(key, Some(entry.kind), Action::Delete, Reason::Extra));
        }
        kept = Some(key.clone());
    })
}

/// Returns whether `key` is a directory that contains `other`.
fn contains(key: &Key, other: &Key) -> bool {
    key.is_directory() && other.is_within(key.as_bytes())
}

/// Carries out the planned deletions.
pub(super) fn delete(
    context: &Context<'_>,
    mut deletions: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let spared = context.collisions.spared(&*context.target);
    let mut deleting = Deleting { context, committer, spared, last_kept: None };
    let batch = context.target.capabilities().delete_batch;
    let mut entries = Vec::with_capacity(batch);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        entries.push(Entry::decode(record).ok_or_else(super::finish::spool_damaged)?);
        if entries.len() == batch {
            deleting.remove(entries.drain(..));
        }
    }
    deleting.remove(entries.into_iter());
    Ok(())
}

/// Deletions that are under way.
struct Deleting<'c, 'a, 'd> {
    context: &'c Context<'a>,
    committer: &'c mut Committer<'d>,
    spared: Spared<'c>,
    /// The last entry that stays: the directories that contain it stay too.
    last_kept: Option<Key>,
}

/// The state of an entry's deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// Not yet decided: entries in it come first.
    Pending,
    Removed,
    Stays,
}

impl Deleting<'_, '_, '_> {
    /// Removes entries that are adjacent in deletion order, in as few requests as they have levels
    /// of directories. A directory that contains an entry that stays isn't removed.
    fn remove(&mut self, entries: impl Iterator<Item = Entry>) {
        let mut entries: Vec<_> = entries
            .map(|entry| {
                let state = if self.spares(&entry) { Deletion::Stays } else { Deletion::Pending };
                (entry, state)
            })
            .collect();
        let last_kept = self.last_kept.take();
        loop {
            let next = self.next_round(&mut entries, last_kept.as_ref());
            if next.is_empty() {
                break;
            }
            let batch: Vec<_> = next.iter().map(|&index| entries[index].0.clone()).collect();
            let results = self.context.target.remove_all(&batch);
            for (at, result) in next.into_iter().zip(results) {
                let (entry, state) = &mut entries[at];
                *state = self.settle(entry, result);
            }
        }
        let kept = entries.into_iter().rev().find(|(_, state)| *state == Deletion::Stays);
        self.last_kept = kept.map(|(entry, _)| entry.key).or(last_kept);
    }

    /// Returns the indices of the pending entries that contain no pending entry. Settles
    /// directories that contain an entry that stays: they stay too.
    fn next_round(
        &mut self,
        entries: &mut [(Entry, Deletion)],
        last_kept: Option<&Key>,
    ) -> Vec<usize> {
        let (mut next, mut kept, mut pending) = (Vec::new(), last_kept.cloned(), None::<Key>);
        for (at, (entry, state)) in entries.iter_mut().enumerate() {
            let key = &entry.key;
            if *state == Deletion::Pending && kept.as_ref().is_some_and(|it| contains(key, it)) {
                let kind = Some(entry.kind);
                self.context.report(|| Outcome::new(key, kind, Action::Keep, Reason::HoldsKept));
                // Deletions in it changed its time, which this run doesn't set.
                self.committer.forget(key.clone());
                *state = Deletion::Stays;
            }
            match state {
                Deletion::Removed => {}
                Deletion::Stays => kept = Some(key.clone()),
                Deletion::Pending => {
                    if !pending.as_ref().is_some_and(|it| contains(key, it)) {
                        next.push(at);
                    }
                    pending = Some(key.clone());
                }
            }
        }
        next
    }

    /// Returns whether an entry itself has to stay, and reports that.
    fn spares(&mut self, entry: &Entry) -> bool {
        let key = &entry.key;
        if self.spared.spares(key) {
            let progress = self.context.progress;
            let waiting = if entry.kind == EntryKind::Directory {
                &progress.directory_deletions_waiting
            } else {
                &progress.file_deletions_waiting
            };
            waiting.add(1);
            progress.link_deletions_waiting.add(u64::from(entry.kind == EntryKind::Symlink));
            self.context.report(|| {
                Outcome::new(key, Some(entry.kind), Action::Delete, Reason::Collided)
                    .with_status(Status::Waits)
            });
        } else if is_of_other_run(key, self.context.is_under_way) {
            self.context.notice(Notice::DirectoryInUse { key: key.clone() });
        } else {
            return false;
        }
        true
    }

    /// Counts and reports the result of removing an entry.
    fn settle(&mut self, entry: &Entry, result: Result<(), Cause>) -> Deletion {
        let (context, key) = (self.context, &entry.key);
        match result {
            Ok(()) => {
                let progress = context.progress;
                if entry.kind == EntryKind::Directory {
                    progress.directories_deleted.add(1);
                } else {
                    progress.files_deleted.add(1);
                }
                progress.links_deleted.add(u64::from(entry.kind == EntryKind::Symlink));
                let kind = Some(entry.kind);
                context.report(|| Outcome::new(key, kind, Action::Delete, Reason::Extra));
                self.committer.forget(key.clone());
                return Deletion::Removed;
            }
            Err(Cause::NotEmpty) if context.filtered => {
                context.notice(Notice::HoldsExcluded { key: key.clone() });
                self.committer.forget(key.clone());
            }
            Err(cause) => context.fail(EntryError::on_target(Operation::Delete, key, cause)),
        }
        Deletion::Stays
    }
}

/// Returns whether an entry is part of vidimus's own data (lock, manifest) in a directory below the
/// root into which another run is under way.
fn is_of_other_run(key: &Key, is_under_way: &dyn Fn(&Key) -> bool) -> bool {
    let mut names = key.trimmed().split(|&byte| byte == b'/');
    names.any(|name| name == DIRECTORY.as_bytes()) && is_under_way(key)
}
