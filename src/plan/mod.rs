//! The plan: a stream of steps, and what has to wait for them.
//!
//! [`Plan`] turns joined pairs into [`Planned`] items, in an order in which they can be done at
//! once. What must wait is spooled: deletions (children first), leaves that replace directories,
//! and directories whose metadata is set when everything in them is done (children first). A dry
//! run reads the same plan and carries out nothing.

mod brake;
mod directory;
pub mod guard;
pub mod links;
pub mod moves;
mod step;
mod steps;
pub mod subtrees;
mod tally;

pub use brake::{ChangeTally, MaxChange};
pub use directory::{Differs, Finish};
pub use guard::{DeleteOptions, Evidence, MaxDelete};
pub use step::{Planned, Step, precondition_of};
pub use steps::Steps;
pub use tally::DeletionTally;

use crate::backend::Precondition;
use crate::compare::join::Joined;
use crate::compare::{Conflict, HardLinks, Pair, Policy, Seen};
use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::reserved::is_set_aside;
use crate::model::run::Counter;
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Metadata, Notice,
    Operation, Outcome, Progress, Reason, Setting,
};
use crate::spool::{Spool, SpoolReader};
use directory::{Open, OpenDirectories, known_metadata};
use links::{Held, LinkPlan, Links};
use moves::{MovedFrom, Moves};
use std::collections::VecDeque;
use std::path::Path;
use subtrees::Subtrees;

/// In bytes: as much of each spool stays in memory.
const SPOOL_MEMORY: usize = 256 * 1024;

/// Work that waits until all steps are done.
pub struct Remainder {
    /// The target's entries to delete, children first: [`Entry::encode`]d.
    pub deletions: SpoolReader,
    /// How many these are, and out of how many.
    pub tally: DeletionTally,
    /// The source's leaves to make once the directories in their place are deleted.
    pub after_deletion: SpoolReader,
    /// Names of hard-linked files that wait for another name.
    pub links: Links,
    /// Files of the source that may only have to be renamed in the target.
    pub moves: Moves,
    /// Directories of the source that may only have to be renamed in the target.
    pub subtrees: Subtrees,
    /// The source's directories to finish, children first: a [`Finish`] byte, then the entry.
    pub directories: SpoolReader,
    /// Keys that neither side has, whose rows tell until now where an entry was before.
    pub forgotten: SpoolReader,
    /// A listing broke off, so that even what it gave before is doubtful, and nothing may be
    /// deleted.
    pub broke_off: bool,
}

impl Remainder {
    /// Adds what is left of another plan of the same run.
    ///
    /// # Errors
    /// Fails if a spool's disk can't be written or read.
    pub fn append(&mut self, other: Self, spool_dir: &Path) -> Result<(), Error> {
        for (mine, theirs) in [
            (&mut self.deletions, other.deletions),
            (&mut self.after_deletion, other.after_deletion),
            (&mut self.directories, other.directories),
            (&mut self.forgotten, other.forgotten),
        ] {
            append(mine, theirs, spool_dir)?;
        }
        self.tally.add(&other.tally);
        self.links.append(other.links).map_err(spool_error)?;
        self.moves.append(other.moves)?;
        self.subtrees.append(other.subtrees);
        self.broke_off |= other.broke_off;
        Ok(())
    }
}

fn append(mine: &mut SpoolReader, mut theirs: SpoolReader, spool_dir: &Path) -> Result<(), Error> {
    let mut all = Spool::new(spool_dir, SPOOL_MEMORY);
    for reader in [&mut *mine, &mut theirs] {
        while let Some(record) = reader.next().map_err(spool_error)? {
            all.push(record).map_err(spool_error)?;
        }
    }
    *mine = all.into_reader().map_err(spool_error)?;
    Ok(())
}

/// Everything that a plan depends on.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing")]
pub struct Planning<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// Returns the metadata that the target can store for that of a source's entry, given the
    /// metadata of the existing one.
    pub achievable: &'a dyn Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    /// Counts what the target can't store of a source's entry.
    pub count_loss: &'a dyn Fn(&Entry),
    /// Returns why the target can't have an entry with a key.
    pub accepts: &'a dyn Fn(&Key) -> Result<(), Cause>,
    /// Returns whether another name of an entry's file stands in the target as it was recorded.
    pub stands_linked: &'a dyn Fn(&Entry) -> Result<bool, Error>,
    /// Returns where an entry of the source was before that is recorded under another key only;
    /// `None` if nothing is renamed.
    #[expect(clippy::type_complexity, reason = "one of the functions that a plan is given")]
    pub moved_from: Option<&'a dyn Fn(&Entry) -> Result<Option<MovedFrom>, Error>>,
    /// Whether directories that were moved are renamed, too.
    pub moves_directories: bool,
    /// Returns why an entry of the source takes no part although it could be mirrored. It is
    /// reported, and then treated as if the source lacked it.
    pub leaves_out: &'a dyn Fn(&Entry) -> Option<&'static str>,
    /// Counts leaves that only the target has and that stay.
    pub surplus: &'a Counter,
    /// The counters.
    pub progress: &'a Progress,
    /// The directory of spool files.
    pub spool_dir: &'a Path,
    /// Whether no run from the source has completed yet, so that the target has hardly any of its
    /// entries.
    pub is_first_contact: bool,
    /// Whether another plan of this run counted all entries already.
    pub is_recount: bool,
    /// Whether this run made the target's root: then setting its metadata isn't an update.
    pub root_is_new: bool,
    /// Whether changes of entries in the target change the mtime of their directory.
    pub directories_change: bool,
    /// Returns whether the plan has to end early.
    pub is_over: &'a dyn Fn() -> bool,
}

/// Turns joined pairs into steps.
pub struct Plan<'a, J> {
    joined: J,
    with: Planning<'a>,
    open: OpenDirectories,
    deletions: Spool,
    after_deletion: Spool,
    directories: Spool,
    links: LinkPlan,
    moves: Moves,
    subtrees: Subtrees,
    forgotten: Spool,
    tally: DeletionTally,
    /// A directory of the target that is left alone, with all in it, like the source's leaf of its
    /// name.
    protected: Option<Key>,
    /// A listing broke off: nothing is deleted, not even what it lacked before that.
    broke_off: bool,
    /// A directory of the source that can't be made, so that nothing in it can be either.
    blocked: Option<Key>,
    /// Items that come before the next joined pair.
    next: VecDeque<Planned>,
}

impl<'a, J: Iterator<Item = Result<Joined, Error>>> Plan<'a, J> {
    /// Starts a plan.
    pub fn new(joined: J, with: Planning<'a>) -> Self {
        let spool = || Spool::new(with.spool_dir.to_owned(), SPOOL_MEMORY);
        Self {
            joined,
            with,
            open: OpenDirectories::default(),
            deletions: spool(),
            after_deletion: spool(),
            directories: spool(),
            links: LinkPlan::new(with.spool_dir),
            moves: Moves::new(with.spool_dir, with.policy.options.trust),
            subtrees: Subtrees::new(with.spool_dir),
            forgotten: spool(),
            tally: DeletionTally::default(),
            protected: None,
            broke_off: false,
            blocked: None,
            next: VecDeque::new(),
        }
    }

    /// Returns the work that waits until all steps are done. The iterator must have ended.
    pub fn finish(self) -> Result<Remainder, Error> {
        Ok(Remainder {
            deletions: self.deletions.into_reader().map_err(spool_error)?,
            after_deletion: self.after_deletion.into_reader().map_err(spool_error)?,
            directories: self.directories.into_reader().map_err(spool_error)?,
            links: self.links.finish(),
            moves: self.moves,
            subtrees: self.subtrees,
            forgotten: self.forgotten.into_reader().map_err(spool_error)?,
            tally: self.tally,
            broke_off: self.broke_off,
        })
    }

    fn plan(&mut self, mut pair: Pair) -> Result<Option<Planned>, Error> {
        self.close(&pair.key)?;
        if self.with.policy.hard_links == HardLinks::Separate
            && let Seen::Present(source) = &mut pair.source
        {
            source.ungroup();
        }
        self.tally(&pair);
        if let Some(why) = pair.source.entry().and_then(self.with.leaves_out) {
            self.with.progress.skip(kind_of(&pair.source));
            let notice = Notice::left_out(&pair.key, why);
            pair.source = Seen::Absent;
            self.next.push_back(Planned::Notice(notice));
        }
        let moved = moves::moved_from(&self.with, &pair)?;
        self.decide(pair, moved.as_ref())
    }

    fn decide(
        &mut self,
        mut pair: Pair,
        moved: Option<&MovedFrom>,
    ) -> Result<Option<Planned>, Error> {
        let renamed = moved.and_then(|moved| moves::renamed_row(&pair, moved));
        let is_renamed = renamed.is_some();
        pair.row = pair.row.or(renamed);
        let decided = self.with.policy.decide(&pair, self.with.achievable);
        let Pair { key, source, target, row, conflict } = pair;
        let is_counted = !self.with.is_recount && !key.is_root();
        self.tally.source += u64::from(is_counted && source.entry().is_some());
        let over_directory = matches!(conflict, Some(Conflict::LeafOverDirectory { .. }));
        let Decision { action, reason } = match decided {
            // Its row has to be written under this key.
            Ok(Decision { action: Action::Keep, reason }) if is_renamed => {
                Decision::new(Action::Record, reason)
            }
            Ok(decision) => decision,
            Err(cause) => {
                self.keep_target(&key, &target, None);
                if over_directory {
                    self.protect(&key);
                }
                return Ok(Some(Planned::Failed(self.fail(key, &source, &target, cause))));
            }
        };
        let is_deleted = action == Action::Delete && !self.is_protected(&key);
        if !is_deleted {
            let has_both = source.entry().is_some() && target.entry().is_some();
            self.count_unrecorded(action, has_both, row.is_some());
            self.keep_target(&key, &target, Some(reason));
        }
        if over_directory && action == Action::Skip && reason != Reason::NoLinks {
            self.protect(&key);
        }
        if self.is_blocked(&key, source.entry()) {
            return Ok(Some(Planned::Failed(no_parent(key))));
        }
        let precondition = precondition(conflict.as_ref(), &target);
        let decided = (Decision { action, reason }, precondition);
        if let (Some(moved), Seen::Present(source)) = (moved, &source)
            && moves::waits(moved, decided.0, precondition)
            && (source.kind != EntryKind::Directory || self.subtrees.has_room())
        {
            return self.hold_moved(moved, source);
        }
        let decision = match self.links.hold(&self.with, &source, &target, row.as_ref(), decided)? {
            Held::Now(decision) => decision,
            Held::Waits => {
                self.touch();
                return Ok(None);
            }
            Held::Undecided => {
                self.touch();
                return Ok(Some(Planned::Later(key)));
            }
            Held::Refused(cause) => {
                let error = EntryError::on_source(Operation::Mirror, key, cause);
                return Ok(Some(Planned::Failed(error)));
            }
        };
        let pair = Pair { key, source, target, row, conflict: None };
        self.act(pair, decision, (precondition, is_deleted))
    }

    /// Plans what was decided.
    fn act(
        &mut self,
        Pair { key, source, target, row, .. }: Pair,
        Decision { action, reason }: Decision,
        (precondition, is_deleted): (Precondition, bool),
    ) -> Result<Option<Planned>, Error> {
        match action {
            Action::Keep => return Ok(self.keep(&key, &source, reason)),
            Action::Skip => {
                self.with.progress.skip(kind_of(&source));
                return Ok(Some(Planned::Settled(Outcome::new(
                    &key,
                    kind_of(&source),
                    Action::Skip,
                    reason,
                ))));
            }
            Action::HashSurplus => return Ok(self.hash_surplus(target, row, reason)),
            // An empty directory in the place of a leaf that is left alone.
            Action::Forget if self.protected.as_ref() == Some(&key) => {
                return Ok(Some(kept(&key, &target)));
            }
            Action::Forget if self.with.moved_from.is_some() => {
                self.forgotten.push(key.as_bytes()).map_err(spool_error)?;
                return Ok(None);
            }
            Action::Forget => return Ok(Some(Planned::Forget(key))),
            Action::RemoveSetAside => {
                return Ok(Some(Planned::SetAside { key, is_deleted: false }));
            }
            Action::Delete if !is_deleted => {
                return Ok(Some(kept(&key, &target)));
            }
            Action::Delete => {
                self.delete(key, target)?;
                return Ok(None);
            }
            Action::AfterDeletion => {
                if let Seen::Present(mut source) = source {
                    if self.with.policy.hard_links != HardLinks::Made {
                        // It is a file of its own until the next run.
                        source.ungroup();
                    }
                    self.plan_copy(&source);
                    self.after_deletion.push(&source.encode()).map_err(spool_error)?;
                    self.touch();
                }
                return Ok(None);
            }
            Action::KeepDirectory => {
                self.keep_directory(key, source, &target, row.as_ref());
                return Ok(None);
            }
            Action::Adopt
            | Action::Copy { .. }
            | Action::Check(_)
            | Action::Look
            | Action::CompareTag { .. }
            | Action::UpdateMetadata
            | Action::UpdateRights
            | Action::Record
            | Action::MakeLink
            | Action::MakeSpecial
            | Action::Link
            | Action::Rename
            | Action::MakeDirectory
            | Action::Sweep
            | Action::Mend
            | Action::MendMetadata { .. } => {}
        }
        // The policy decides on all other actions only for entries that the source has.
        let Seen::Present(source) = source else { return Ok(None) };
        let decision = Decision::new(action, reason);
        Ok(Some(self.step(Step { decision, source, target: None, row, precondition }, target)))
    }

    /// Holds back an entry that the target may have under the name that it had before.
    fn hold_moved(&mut self, moved: &MovedFrom, source: &Entry) -> Result<Option<Planned>, Error> {
        if let Err(cause) = (self.with.accepts)(&source.key) {
            let error = EntryError::on_source(Operation::Mirror, &source.key, cause);
            return Ok(Some(Planned::Failed(error)));
        }
        if source.kind == EntryKind::Directory {
            self.subtrees.begin(moved, source);
        } else {
            self.moves.add(&moved.row, source)?;
        }
        self.touch();
        Ok(None)
    }

    /// Completes a step with the target's entry, and accounts for what it does.
    fn step(&mut self, step: Step, target: Seen) -> Planned {
        let Step { decision, source, row, precondition, .. } = step;
        let (key, action) = (&source.key, decision.action);
        if target.entry().is_none()
            && let Err(cause) = (self.with.accepts)(key)
        {
            if key.is_directory() {
                self.blocked = Some(key.clone());
            }
            let error = EntryError::on_source(Operation::Mirror, source.key, cause);
            return Planned::Failed(error);
        }
        match action {
            Action::Copy { .. } => self.plan_copy(&source),
            Action::MakeDirectory => {
                self.touch();
                let open = Open::new(key.clone());
                self.open.push(Open { source: Some(source.clone()), dirty: true, ..open });
            }
            // A check may end in a copy, so its directory's time is set in any case.
            Action::MakeLink
            | Action::MakeSpecial
            | Action::Check(_)
            | Action::Look
            | Action::CompareTag { .. } => self.touch(),
            // What would be set of its other names, too, makes the entry anew.
            _ if target.entry().and_then(Entry::group).is_some() => self.touch(),
            _ => {}
        }
        let target = match target {
            // Without a look, the kind of a listed entry is a guess.
            Seen::Present(target) if target.kind == source.kind || action == Action::Look => {
                Some(target)
            }
            _ => None,
        };
        let row = row.filter(|row| row.kind == source.kind);
        Planned::Step(Box::new(Step { decision, source, target, row, precondition }))
    }

    /// Leaves the directory in the place of a leaf alone, with all in it.
    fn protect(&mut self, leaf: &Key) {
        self.protected = Some(Key::child(leaf.parent(), leaf.name(), true));
    }

    /// Returns whether the source's entry lies in a directory that can't be made.
    fn is_blocked(&self, key: &Key, source: Option<&Entry>) -> bool {
        source.is_some()
            && self.blocked.as_ref().is_some_and(|blocked| key.is_within(blocked.as_bytes()))
    }

    fn fail(&mut self, key: Key, source: &Seen, target: &Seen, cause: Cause) -> EntryError {
        if self.is_blocked(&key, source.entry()) {
            return no_parent(key);
        }
        let is_lost = matches!(cause, Cause::LeafInTheWay | Cause::LeafAndDirectory);
        // If the target has the directory, entries in it can still be mirrored.
        if is_lost && key.is_directory() && target.entry().is_none() {
            self.blocked = Some(key.clone());
        }
        let side = match cause {
            Cause::TargetUnknown | Cause::NotKept(_) => Side::Target,
            _ => Side::Source,
        };
        EntryError::new(Operation::Mirror, side, key, cause)
    }

    fn tally(&self, pair: &Pair) {
        let progress = self.with.progress;
        if self.with.is_recount {
            return;
        }
        if let Some(source) = pair.source.entry() {
            self.count_source(source);
        }
        if pair.target.entry().is_some() {
            progress.target_entries.add(1);
        }
        if pair.source.entry().is_some() || pair.target.entry().is_some() {
            progress.entries.add(1);
        }
    }

    fn count_source(&self, source: &Entry) {
        self.with.progress.source_entries.add(1);
        self.with.progress.source_bytes.add(source.size());
        (self.with.count_loss)(source);
    }

    fn plan_copy(&mut self, source: &Entry) {
        self.with.progress.plan_copy(source);
        self.touch();
    }

    fn keep(&self, key: &Key, source: &Seen, reason: Reason) -> Option<Planned> {
        if matches!(reason, Reason::SizeExcluded | Reason::AgeExcluded | Reason::NotListed) {
            return Some(Planned::Settled(Outcome::new(
                key,
                kind_of(source),
                Action::Keep,
                reason,
            )));
        }
        if let Some(entry) = source.entry().filter(|entry| entry.kind != EntryKind::Directory) {
            let progress = self.with.progress;
            progress.files_unchanged.add(1);
            progress.links_unchanged.add(u64::from(entry.kind == EntryKind::Symlink));
        }
        if reason == Reason::Extra && !key.is_directory() {
            self.with.surplus.add(1);
        }
        None
    }

    /// Plans to hash a leaf that only the target has: its entry takes the place of the source's.
    fn hash_surplus(&self, target: Seen, row: Option<Row>, reason: Reason) -> Option<Planned> {
        let Seen::Present(target) = target else { return None };
        self.with.surplus.add(1);
        let decision = Decision::new(Action::HashSurplus, reason);
        let (source, precondition) = (target.clone(), precondition_of(&target));
        let step = Step { decision, source, target: Some(target), row, precondition };
        Some(Planned::Step(Box::new(step)))
    }

    fn delete(&mut self, key: Key, target: Seen) -> Result<(), Error> {
        let Seen::Present(target) = target else { return Ok(()) };
        if target.kind == EntryKind::Directory {
            self.open.push(Open { to_delete: Some(target), ..Open::new(key) });
            return Ok(());
        }
        self.tally.deletable += 1;
        self.tally.leaves += 1;
        self.tally.links += u64::from(target.kind == EntryKind::Symlink);
        self.push_deletion(&target)
    }

    /// Accounts for an entry that isn't deleted: the directories that contain it stay as well.
    fn keep_target(&mut self, key: &Key, target: &Seen, reason: Option<Reason>) {
        let is_protected = matches!(
            reason,
            Some(Reason::SizeExcluded | Reason::AgeExcluded | Reason::Unknown | Reason::NotListed)
        ) || self.is_protected(key);
        match target {
            Seen::Absent => {}
            Seen::Unknown => self.keep_innermost(),
            Seen::Present(_) => {
                self.keep_innermost();
                if !key.is_root() && !is_protected {
                    self.tally.deletable += 1;
                }
            }
        }
    }

    /// Counts an entry of the target that stays as it is and has no row.
    fn count_unrecorded(&self, action: Action, has_both: bool, is_recorded: bool) {
        let is_kept = match action {
            // It is in a directory that is left alone, like the source's leaf of its name.
            Action::Delete => true,
            Action::Skip | Action::Keep => has_both,
            _ => false,
        };
        if is_kept && !is_recorded {
            self.with.progress.kept_unrecorded.add(1);
        }
    }

    /// Marks the innermost directory as not to be deleted, because something in it stays.
    fn keep_innermost(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.stays = true;
        }
    }

    /// Plans the removal of a leaf that was set aside for the directory that contains it: together
    /// with that, or when that is complete. Returns `None` if this run does neither to the
    /// directory.
    fn set_aside(&mut self, key: Key) -> Option<Planned> {
        let directory = self.open.last_mut().filter(|open| open.key.as_bytes() == key.parent())?;
        directory.dirty |= self.with.directories_change;
        if directory.to_delete.is_some() {
            self.subtrees.bar();
        }
        Some(Planned::SetAside { key, is_deleted: directory.to_delete.is_some() })
    }

    /// Keeps a directory that would be deleted with everything in it, because a file system is
    /// mounted there: what that holds is no part of the mirror. Returns `None` for any other.
    fn keep_mount_point(&mut self, key: Key) -> Option<Planned> {
        self.open.pop_if(|open| open.key == key && open.to_delete.is_some())?;
        self.keep_innermost();
        self.protected = Some(key.clone());
        Some(Planned::Failed(EntryError::on_target(Operation::Delete, key, Cause::MountPoint)))
    }

    fn push_deletion(&mut self, target: &Entry) -> Result<(), Error> {
        self.with.progress.deletions_planned.add(1);
        self.touch();
        self.deletions.push(&target.encode()).map_err(spool_error)
    }

    fn keep_directory(&mut self, key: Key, source: Seen, target: &Seen, row: Option<&Row>) {
        let (Seen::Present(mut source), Some(target)) = (source, target.entry()) else { return };
        let is_new = key.is_root() && self.with.root_is_new;
        let achievable = |metadata: &Metadata, kind, existing: Option<&Metadata>| {
            let achievable = (self.with.achievable)(metadata, kind, existing);
            self.with.policy.narrowed(&source, row, achievable)
        };
        let found = self.with.policy.within_window(&target.metadata, source.metadata.mtime);
        let target = &Entry { metadata: found, ..target.clone() };
        let differs =
            if is_new { Differs::No } else { Differs::of(&source, target, row, achievable) };
        // A root that this run made has no rights for others so far, so its mode isn't right.
        let metadata = if is_new { source.metadata } else { known_metadata(&source, target) };
        let wanted = achievable(&metadata, source.kind, Some(&target.metadata));
        source.metadata = metadata;
        let has_other_flags = self.with.policy.has_other_flags(&source, target, row);
        let differs = if has_other_flags { Differs::Yes } else { differs };
        // In a store, recording a directory costs a request; so a row of another source is kept
        // there.
        let is_ours =
            |row: &Row| row.from == self.with.policy.from || !self.with.directories_change;
        let recorded = row.is_some_and(|row| row.metadata == wanted && is_ours(row));
        let differs = match (differs, row) {
            (Differs::No, Some(row))
                if self.with.policy.is_touched(&source, row)
                    || self.with.policy.is_target_touched(target, row)
                    || self.with.policy.is_unlooked(&source, row)
                    || self.with.policy.is_retold(&source, row) =>
            {
                Differs::Touched
            }
            _ => differs,
        };
        let source = Some(source);
        self.open.push(Open { source, differs, dirty: !recorded, ..Open::new(key) });
    }

    fn is_protected(&self, key: &Key) -> bool {
        self.protected.as_ref().is_some_and(|directory| key.is_within(directory.as_bytes()))
    }

    /// Marks the innermost directory as one in which entries change.
    fn touch(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.dirty |= self.with.directories_change;
        }
    }

    /// Closes the directories that don't contain `key`.
    fn close(&mut self, key: &Key) -> Result<(), Error> {
        while let Some(open) = self.open.pop_if(|open| !key.is_within(open.key.as_bytes())) {
            self.spool(open)?;
        }
        Ok(())
    }

    fn spool(&mut self, open: Open) -> Result<(), Error> {
        if let Some(to_delete) = open.to_delete {
            if open.stays {
                self.keep_innermost();
                self.next.push_back(Planned::Settled(Outcome::new(
                    &open.key,
                    Some(EntryKind::Directory),
                    Action::Keep,
                    Reason::HoldsKept,
                )));
                // Deletions in it change its time, which this run doesn't set.
                self.next.push_back(Planned::Forget(open.key));
                return Ok(());
            }
            self.tally.deletable += 1;
            self.tally.directories += 1;
            // A directory that keys imply disappears with them.
            if to_delete.completeness == Completeness::Implicit {
                self.tally.implied += 1;
                return Ok(());
            }
            return self.push_deletion(&to_delete);
        }
        let finish = open.dirty || open.differs != Differs::No;
        let how = match open {
            Open { unread: true, .. } => Finish::Record,
            Open { differs: Differs::Perhaps, .. } => Finish::Look,
            Open { differs: Differs::Yes, .. } => Finish::Update,
            Open { differs: Differs::NotKept, dirty: false, .. } => Finish::NotKept,
            Open { differs: Differs::Touched, dirty: false, .. } => Finish::Inspect,
            _ => Finish::Restore,
        };
        let Some(source) = open.source.filter(|_| finish) else {
            return Ok(());
        };
        let mut record = vec![how as u8];
        record.extend_from_slice(&source.encode());
        self.directories.push(&record).map_err(spool_error)
    }
}

/// Returns the item for an entry that only the target has and that the options leave alone.
fn kept(key: &Key, target: &Seen) -> Planned {
    Planned::Settled(Outcome::new(key, kind_of(target), Action::Keep, Reason::Exists))
}

/// Returns the error for an entry in a directory that can't be made.
fn no_parent(key: Key) -> EntryError {
    EntryError::on_target(Operation::Write, key, Cause::NoParent)
}

/// Returns what must be in the place of an entry when it is put there.
fn precondition(conflict: Option<&Conflict>, target: &Seen) -> Precondition {
    match (conflict, target) {
        (Some(Conflict::LeafOverDirectory { empty: true }), _) => Precondition::EmptyDirectory,
        (Some(Conflict::DirectoryOverLeaf(_)), _) => Precondition::Leaf,
        (_, Seen::Present(existing)) => precondition_of(existing),
        _ => Precondition::Absent,
    }
}

impl<J: Iterator<Item = Result<Joined, Error>>> Plan<'_, J> {
    fn advance(&mut self) -> Result<Option<Planned>, Error> {
        loop {
            if (self.with.is_over)() {
                return Ok(None);
            }
            if let Some(next) = self.next.pop_front() {
                return Ok(Some(next));
            }
            match self.joined.next().transpose()? {
                Some(joined) => {
                    let planned = self.take(joined)?;
                    self.next.extend(planned);
                }
                None => match self.open.pop() {
                    Some(open) => self.spool(open)?,
                    None => return self.undecided_link(),
                },
            }
        }
    }

    /// Returns the step of the next name of a hard-linked file that turned out to have no other in
    /// the target.
    fn undecided_link(&mut self) -> Result<Option<Planned>, Error> {
        let Some(name) = self.links.next_undecided()? else { return Ok(None) };
        let decision = Decision::new(Action::making(name.source.kind), Reason::New);
        let (source, precondition) = (name.source, name.place);
        let step = Step { decision, source, target: None, row: None, precondition };
        Ok(Some(self.step(step, Seen::Absent)))
    }

    /// Takes what the source has in a directory that waits, to be compared later.
    fn hold_below(&mut self, joined: Joined) -> Result<Option<Planned>, Error> {
        if let Joined::Pair(pair) = &joined {
            self.tally(pair);
            self.tally.source += u64::from(!self.with.is_recount && pair.source.entry().is_some());
        }
        let Some(subtree) = self.subtrees.around(joined.key()) else { return Ok(None) };
        match joined {
            Joined::Pair(pair) => {
                if let Seen::Present(source) = &pair.source {
                    subtree.add(source)?;
                }
            }
            Joined::Failed(error) => subtree.add_failed(&error)?,
            Joined::LeftOut(key, why) => subtree.add_left_out(&key, &why)?,
            Joined::Unchanged(source) => subtree.add(&source)?,
            Joined::BrokeOff(_) | Joined::Leftover(_) | Joined::MountPoint(_) => {}
        }
        Ok(None)
    }

    fn take(&mut self, joined: Joined) -> Result<Option<Planned>, Error> {
        if let Joined::BrokeOff(_) = &joined {
            self.subtrees.break_off()?;
        } else if self.subtrees.around(joined.key()).is_some() {
            return self.hold_below(joined);
        }
        Ok(match joined {
            Joined::BrokeOff(error) => {
                self.broke_off = true;
                self.with.progress.entries.add(1);
                Some(Planned::Failed(error))
            }
            Joined::Failed(error) => {
                self.close(&error.key)?;
                match error.side {
                    Side::Source => {
                        if let Some(open) = self.open.last_mut().filter(|it| it.key == error.key) {
                            open.unread = true;
                        }
                    }
                    Side::Target => self.keep_innermost(),
                }
                // The directory was counted, but its contents were not.
                self.with.progress.entries.add(1);
                Some(Planned::Failed(error))
            }
            Joined::Leftover(key) if is_set_aside(key.name()) && !key.is_directory() => {
                self.close(&key)?;
                self.set_aside(key)
            }
            Joined::Leftover(key) => {
                self.close(&key)?;
                self.touch();
                Some(Planned::Sweep(key))
            }
            Joined::LeftOut(key, why) => {
                self.close(&key)?;
                self.keep_innermost();
                Some(Planned::Notice(Notice::left_out(&key, why)))
            }
            Joined::MountPoint(key) => {
                self.close(&key)?;
                self.keep_mount_point(key)
            }
            Joined::Pair(pair) => self.plan(*pair)?,
            Joined::Unchanged(source) => self.keep_unchanged(&source)?,
        })
    }

    /// Accounts for a file that is unchanged on both sides.
    fn keep_unchanged(&mut self, source: &Entry) -> Result<Option<Planned>, Error> {
        self.close(&source.key)?;
        self.count_source(source);
        self.with.progress.target_entries.add(1);
        self.with.progress.entries.add(1);
        self.tally.source += 1;
        self.keep_innermost();
        if !self.is_protected(&source.key) {
            self.tally.deletable += 1;
        }
        if self.is_blocked(&source.key, Some(source)) {
            return Ok(Some(Planned::Failed(no_parent(source.key.clone()))));
        }
        self.with.progress.files_unchanged.add(1);
        Ok(None)
    }
}

/// The items in order. An error stops the run (a listing that broke off, a state that can't be
/// read, a full spool).
impl<J: Iterator<Item = Result<Joined, Error>>> Iterator for Plan<'_, J> {
    type Item = Result<Planned, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// Returns the error for a spool that can't be written or read.
pub fn spool_error(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unusable, "cannot write temporary data to the state directory")
        .because(error)
        .help(hint!["name a directory with free space by ", Setting::StateDir])
}

/// Returns the kind of an entry that exists.
fn kind_of(seen: &Seen) -> Option<EntryKind> {
    seen.entry().map(|entry| entry.kind)
}

#[cfg(test)]
mod tests;
