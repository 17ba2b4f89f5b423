//! Deletions: last, children first, each entry only if it still is the one listed.
//!
//! [`settle`] decides, once all else is planned or done, what becomes of them.

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

/// What becomes of the deletions.
pub(super) struct Settled {
    /// What becomes of each of them; `None` where nothing is to be deleted.
    pub(super) deletions: Option<Status>,
    /// Why they are refused.
    pub(super) refusal: Option<Error>,
}

/// Decides what becomes of the deletions that were planned: `allow` may refuse them, and a copy that
/// failed makes them wait.
pub(super) fn settle(
    progress: &Progress,
    observer: &dyn Observer,
    options: Option<&DeleteOptions>,
    tally: &DeletionTally,
    broke_off: bool,
    allow: impl FnOnce(&DeletionTally) -> Result<(), Error>,
) -> Settled {
    let settled = |deletions| Settled { deletions, refusal: None };
    let Some(options) = options else { return settled(None) };
    if broke_off {
        observer.observe(&Event::Notice(Notice::NothingDeleted));
        return settled(None);
    }
    if let Err(refused) = allow(tally) {
        observer.observe(&Event::Refused(refused.report()));
        return Settled { deletions: Some(Status::Refused), refusal: Some(refused) };
    }
    let mut settled = settled(Some(Status::Done));
    settled.wait_for_copies(progress, Some(options), tally);
    settled
}

impl Settled {
    /// Has what would be deleted wait, once a copy failed.
    pub(super) fn wait_for_copies(
        &mut self,
        progress: &Progress,
        options: Option<&DeleteOptions>,
        tally: &DeletionTally,
    ) {
        let despite_errors = options.is_some_and(|options| options.despite_errors);
        let goes = self.deletions == Some(Status::Done);
        if goes && progress.copies_failed.get() > 0 && !despite_errors {
            progress.file_deletions_waiting.add(tally.leaves);
            progress.link_deletions_waiting.add(tally.links);
            progress.directory_deletions_waiting.add(tally.own_directories());
            self.deletions = Some(Status::Waits);
        }
    }
}

/// Names each entry that was to be deleted.
pub(super) fn name_each(
    mut deletions: SpoolReader,
    mut tell: impl FnMut(&Entry),
) -> Result<(), Error> {
    while let Some(record) = deletions.next().map_err(spool_error)? {
        tell(&Entry::decode(record).ok_or_else(super::finish::spool_damaged)?);
    }
    Ok(())
}

/// Says what deleting what was planned would do to each entry.
pub(super) fn preview_deletions(
    deletions: SpoolReader,
    observer: &dyn Observer,
    is_under_way: &dyn Fn(&Key) -> bool,
    mut tell: impl FnMut(Outcome),
) -> Result<(), Error> {
    let mut kept: Option<Key> = None;
    name_each(deletions, |entry| {
        let key = &entry.key;
        if is_anothers(key, is_under_way) {
            observer.observe(&Event::Notice(Notice::DirectoryInUse { key: key.clone() }));
        } else if kept.as_ref().is_some_and(|kept| holds(key, kept)) {
            tell(Outcome::new(key, Some(entry.kind), Action::Keep, Reason::HoldsKept));
        } else {
            return tell(Outcome::new(key, Some(entry.kind), Action::Delete, Reason::Extra));
        }
        kept = Some(key.clone());
    })
}

/// Whether an entry is a directory that another one lies in.
fn holds(key: &Key, other: &Key) -> bool {
    key.is_directory() && other.is_within(key.as_bytes())
}

/// Deletes what was planned.
pub(super) fn delete(
    context: &Context<'_>,
    mut deletions: SpoolReader,
    committer: &mut Committer<'_>,
) -> Result<(), Error> {
    let spared = context.collisions.spared(&*context.target);
    let mut deleting = Deleting { context, committer, spared, stays: None };
    let together = context.target.capabilities().delete_batch;
    let mut entries = Vec::with_capacity(together);
    while let Some(record) = deletions.next().map_err(spool_error)? {
        if context.is_over() {
            return Ok(());
        }
        entries.push(Entry::decode(record).ok_or_else(super::finish::spool_damaged)?);
        if entries.len() == together {
            deleting.remove(entries.drain(..));
        }
    }
    deleting.remove(entries.into_iter());
    Ok(())
}

/// Deletions under way.
struct Deleting<'c, 'a, 'd> {
    context: &'c Context<'a>,
    committer: &'c mut Committer<'d>,
    spared: Spared<'c>,
    /// What came last and stays: so do the directories that it lies in.
    stays: Option<Key>,
}

/// Where the deletion of an entry stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// Waits until it is known what becomes of all that lies in it.
    Pending,
    Removed,
    Stays,
}

impl Deleting<'_, '_, '_> {
    /// Removes entries that come one after the other, what lies in a directory before it: in as few
    /// requests as they are levels deep, and no directory of which something stays.
    fn remove(&mut self, entries: impl Iterator<Item = Entry>) {
        let mut entries: Vec<_> = entries
            .map(|entry| {
                let state = if self.spares(&entry) { Deletion::Stays } else { Deletion::Pending };
                (entry, state)
            })
            .collect();
        let above = self.stays.take();
        loop {
            let next = self.next_round(&mut entries, above.as_ref());
            if next.is_empty() {
                break;
            }
            let together: Vec<_> = next.iter().map(|&at| entries[at].0.clone()).collect();
            let results = self.context.target.remove_all(&together);
            for (at, result) in next.into_iter().zip(results) {
                let (entry, state) = &mut entries[at];
                *state = self.settle(entry, result);
            }
        }
        let stays = entries.into_iter().rev().find(|(_, state)| *state == Deletion::Stays);
        self.stays = stays.map(|(entry, _)| entry.key).or(above);
    }

    /// Of the entries that are pending, those whose turn it is: nothing in them is pending, too.
    /// Directories that hold what stays are settled: they stay.
    fn next_round(&mut self, entries: &mut [(Entry, Deletion)], above: Option<&Key>) -> Vec<usize> {
        let (mut next, mut stays, mut pending) = (Vec::new(), above.cloned(), None::<Key>);
        for (at, (entry, state)) in entries.iter_mut().enumerate() {
            let key = &entry.key;
            if *state == Deletion::Pending && stays.as_ref().is_some_and(|it| holds(key, it)) {
                let kind = Some(entry.kind);
                self.context.tell(|| Outcome::new(key, kind, Action::Keep, Reason::HoldsKept));
                // What was deleted in it changed its time, which nobody sets.
                self.committer.forget(key.clone());
                *state = Deletion::Stays;
            }
            match state {
                Deletion::Removed => {}
                Deletion::Stays => stays = Some(key.clone()),
                Deletion::Pending => {
                    if !pending.as_ref().is_some_and(|it| holds(key, it)) {
                        next.push(at);
                    }
                    pending = Some(key.clone());
                }
            }
        }
        next
    }

    /// Whether an entry stays for its own sake.
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
            self.context.tell(|| {
                Outcome::new(key, Some(entry.kind), Action::Delete, Reason::Collided)
                    .with_status(Status::Waits)
            });
        } else if is_anothers(key, self.context.is_under_way) {
            self.context.notice(Notice::DirectoryInUse { key: key.clone() });
        } else {
            return false;
        }
        true
    }

    /// What became of an entry.
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
                context.tell(|| Outcome::new(key, kind, Action::Delete, Reason::Extra));
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

/// Whether an entry is what vidimus keeps in a place of its own (that one's lock, or manifest), and a run
/// into that place goes on.
fn is_anothers(key: &Key, is_under_way: &dyn Fn(&Key) -> bool) -> bool {
    let mut names = key.trimmed().split(|&byte| byte == b'/');
    names.any(|name| name == DIRECTORY.as_bytes()) && is_under_way(key)
}
