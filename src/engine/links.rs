//! Hard links: names of files that the target has by now.
//!
//! When all steps are done, each name that waits is given to the file of another name of the same
//! source file: to one that this run put in place, or to one that stands as it was recorded. Names
//! that the target has of one file and the source of several come apart. A name that was linked is
//! recorded at once, with what is known of its file: the name that this was found by may be deleted
//! next. What linking, and deleting other names, changes of a file is its ctime, so that all of
//! them get fresh stamps when deletions are done.

use super::Context;
use super::commit::Committer;
use super::copy::Worker;
use super::finish::spool_damaged;
use crate::backend::{Donor, Linked, Precondition, Target};
use crate::compare::{Pair, Seen};
use crate::manifest::{PendingRow, Row, SourceNumber, State};
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{
    Action, Check, Decision, Entry, EntryError, EntryKind, Error, Feature, GroupId, Key, Operation,
    Outcome, Progress, Reason, Stamp,
};
use crate::plan::links::{Follower, Links, Role, SharedName};
use crate::plan::{Step, spool_error};
use crate::spool::{Sorted, Sorter};
use std::collections::{HashSet, VecDeque};

/// In bytes: as much of the keys that get fresh stamps at the end stays in memory.
const SORTER_MEMORY: usize = 256 << 10;

/// The most names of a file that are linked before they are recorded: each link changes the stamps
/// of all.
const LINKED: usize = 1_024;

/// The most files of which is remembered that they were found as recorded, in some 4 MiB. Of others
/// whose ctime changes, the content is read once more.
const FOUND: usize = (1 << 18) / 8 * 7;

/// Returns whether another name of the same file as an entry of the source stands in the target as
/// it was recorded.
///
/// # Errors
/// Fails if the state can't be read.
pub fn stands_linked(
    target: &dyn Target,
    state: &State,
    from: SourceNumber,
    entry: &Entry,
) -> Result<bool, Error> {
    let Some(group) = entry.group() else { return Ok(false) };
    let stands = |row: Row| {
        let is_other = row.key != entry.key && row.from == from && is_same_file(&row, entry);
        let found = is_other.then(|| target.look(&row.key));
        let stands = matches!(&found, Some(Ok(Some(found))) if found.stamp.is_still(&row.target));
        stands.then_some(row)
    };
    Ok(!state.rows_of(group.id, stands)?.is_empty())
}

/// Returns whether the target has a name of the same file as an entry of the source, which the
/// source still has.
///
/// # Errors
/// Fails if the state can't be read.
pub(super) fn stays_linked(
    context: &Context<'_>,
    state: &State,
    entry: &Entry,
) -> Result<bool, Error> {
    let Some(group) = entry.group() else { return Ok(false) };
    let takes = |row: &Row| matches!(context.source.look(&row.key), Ok(Some(_)));
    Ok(!standing(context, state, group.id, entry, &HashSet::new(), takes)?.is_empty())
}

/// Returns rows of names of the same file as an entry of the source, of those that stand in the
/// target as they were recorded, with the stamps that they have now. Names of a file that this run
/// made, or `found` to be as recorded, stand also if nothing of it but the ctime changed since: the
/// run took other names from it. Those that this run recorded come first. `takes` chooses among
/// them.
fn standing(
    context: &Context<'_>,
    state: &State,
    file: GroupId,
    entry: &Entry,
    found: &HashSet<u64>,
    mut takes: impl FnMut(&Row) -> bool,
) -> Result<VecDeque<Row>, Error> {
    let mut rows = state.rows_of(file, |row| {
        if row.from != context.policy.from || !is_same_file(&row, entry) {
            return None;
        }
        let now = context.target.look(&row.key).ok()??;
        let is_known = row.run == context.run
            || number_of(&row.target).is_some_and(|number| found.contains(&number));
        let stands = now.stamp.is_still(&row.target)
            || is_known && differs_in_ctime(context, &now, &row.target);
        let row = (now.kind == row.kind && stands).then_some(Row { target: now.stamp, ..row });
        row.filter(&mut takes)
    })?;
    rows.make_contiguous().sort_by_key(|row| row.run != context.run);
    Ok(rows)
}

/// Returns whether nothing but the ctime differs from a stamp, and that changed during this run.
fn differs_in_ctime(context: &Context<'_>, now: &Entry, before: &Stamp) -> bool {
    let of_names = StampFields { ignore_ctime: true, ignore_inode: false };
    now.stamp.may_be_since(context.began) && now.stamp.compare(before, of_names) == StampMatch::Same
}

fn number_of(stamp: &Stamp) -> Option<u64> {
    stamp.inode().and_then(|inode| inode.number)
}

/// Returns whether an entry of the source is a name of the file whose other name has this row: all
/// that its stamp tells is the same. Names in a store have no stamps in common; there the content
/// decides, as it is recorded of both.
fn is_same_file(row: &Row, entry: &Entry) -> bool {
    row.kind == entry.kind
        && match (row.source.inode(), entry.stamp.inode()) {
            (Some(_), Some(_)) => row.source == entry.stamp,
            _ if row.kind == EntryKind::Symlink => row.link == entry.link,
            // The group says which file it is, and it has no content.
            _ if matches!(row.kind, EntryKind::Special(_)) => row.device() == entry.device(),
            _ => row.digest.is_some() && row.digest == entry.recorded,
        }
}

/// Keys whose rows are right but for the target's stamp, which is taken when all names are made and
/// others deleted.
pub(super) struct Touched(Sorter);

/// Makes the names that wait; returns whose stamps are to be taken later, if there are any.
///
/// # Errors
/// Fails if the state or the spools can't be read.
pub(super) fn make(
    context: &Context<'_>,
    links: Links,
    state: &State,
    committer: &mut Committer<'_>,
) -> Result<Option<Touched>, Error> {
    let none = Links::new(context.spool_dir);
    let learned = std::mem::replace(&mut *context.learned_links.lock(), none);
    if links.count + learned.count == 0 {
        return Ok(None);
    }
    // The rows of this run say which files names are given to.
    committer.flush();
    let mut linking = Linking {
        context,
        state,
        committer,
        worker: Worker::new(context, 0),
        linked: Vec::new(),
        touched: Sorter::new(context.spool_dir, SORTER_MEMORY),
        found: HashSet::new(),
    };
    linking.take_apart(links.shared.finish().map_err(spool_error)?)?;
    linking.follow(links.followers.finish().map_err(spool_error)?)?;
    linking.follow(learned.followers.finish().map_err(spool_error)?)?;
    let Linking { committer, touched, .. } = linking;
    // Deletions wait for what was copied and recorded here, too.
    committer.flush();
    Ok(Some(Touched(touched)))
}

struct Linking<'l, 'k, 'c, 'a> {
    context: &'c Context<'a>,
    state: &'l State,
    committer: &'l mut Committer<'k>,
    worker: Worker<'c, 'a>,
    /// Names that were linked and are not recorded yet, each with a stamp of its file.
    linked: Vec<(PendingRow, Stamp)>,
    touched: Sorter,
    /// Inode numbers of the target's files that this run found to be as they were recorded, or
    /// recorded as it found them: at most [`FOUND`].
    found: HashSet<u64>,
}

/// The file that names are being given to.
struct Leading {
    file: GroupId,
    /// Rows of names that stand in the target.
    standing: VecDeque<Row>,
    /// The one that is open.
    open: Option<OpenName>,
    /// Inode numbers of files that can have no more names.
    full: HashSet<u64>,
    /// Whether none can be found, since the attributes of one that was made could not be read: its
    /// row proves nothing.
    is_unread: bool,
    /// Whether there may be others than those that were found.
    is_outdated: bool,
}

/// A name that stands in the target, and its file, which is open.
struct OpenName {
    row: Row,
    file: Box<dyn Donor>,
}

impl Linking<'_, '_, '_, '_> {
    /// Makes files of their own of names that the target has of one file, and the source of
    /// several.
    fn take_apart(&mut self, mut shared: Sorted) -> Result<(), Error> {
        let mut first: Option<SharedName> = None;
        let mut is_any_apart = false;
        while let Some(record) = shared.next().map_err(spool_error)? {
            if self.context.is_over() {
                return Ok(());
            }
            let name = SharedName::decode(record).ok_or_else(spool_damaged)?;
            // A name that follows gets the right file anyway.
            if name.role == Role::Follower {
                continue;
            }
            if self.stands(&name)? {
                self.touched(&name.source.key)?;
            }
            let Some(first) = first.as_ref().filter(|first| first.file == name.file) else {
                first = Some(name);
                continue;
            };
            let file = |name: &SharedName| name.source.group().map(|group| group.id);
            let is_same = file(&name).is_some() && file(&name) == file(first);
            if !is_same && self.is_still_of(&name) {
                self.copy(name.source, Precondition::Leaf, Reason::OwnFile);
                is_any_apart = true;
            }
        }
        if is_any_apart {
            self.committer.flush();
        }
        Ok(())
    }

    /// Returns whether an entry stands in the target as it is recorded by now.
    fn stands(&mut self, name: &SharedName) -> Result<bool, Error> {
        let key = &name.source.key;
        let Some(row) = self.state.row(key)? else { return Ok(false) };
        let Ok(Some(now)) = self.context.target.look(key) else { return Ok(false) };
        // Other names may have been taken from the file since.
        let is_found = row.target.is_still(&name.target.stamp);
        if is_found
            && self.found.len() < FOUND
            && let Some(number) = number_of(&row.target)
        {
            self.found.insert(number);
        }
        Ok(now.stamp.is_still(&row.target)
            || is_found && differs_in_ctime(self.context, &now, &row.target))
    }

    /// Returns whether a name in the target is still one of the file that it was.
    fn is_still_of(&self, name: &SharedName) -> bool {
        let found = self.context.target.look(&name.source.key);
        matches!(found, Ok(Some(found))
            if found.group().is_some_and(|group| group.id == name.file))
    }

    /// Gives the names that follow their files.
    fn follow(&mut self, mut followers: Sorted) -> Result<(), Error> {
        let mut leading: Option<Leading> = None;
        while !self.context.is_over()
            && let Some(record) = followers.next().map_err(spool_error)?
        {
            let follower = Follower::decode(record).ok_or_else(spool_damaged)?;
            let leading = match &mut leading {
                Some(leading) if leading.file == follower.file => leading,
                other => {
                    self.record_linked()?;
                    other.insert(Leading {
                        file: follower.file,
                        standing: VecDeque::new(),
                        open: None,
                        full: HashSet::new(),
                        is_unread: false,
                        is_outdated: true,
                    })
                }
            };
            self.give(leading, follower)?;
        }
        self.record_linked()
    }

    fn give(&mut self, leading: &mut Leading, mut follower: Follower) -> Result<(), Error> {
        let context = self.context;
        let (mut is_looked_at, mut is_impossible) = (false, false);
        while let Some(OpenName { row, file }) = self.open(leading, &follower.source)? {
            let key = &follower.source.key;
            if row.key == *key {
                return Ok(());
            }
            if !is_same_file(row, &follower.source) {
                match context.source.look(key) {
                    Ok(Some(now)) if !is_looked_at && is_same_file(row, &now) => {
                        follower.source = now;
                        is_looked_at = true;
                    }
                    // It was replaced meanwhile. Without a file in its row it is looked at again.
                    _ => {
                        follower.source.ungroup();
                        return self.make_alone(leading, follower);
                    }
                }
                continue;
            }
            if self.is_better_known(row, key)? {
                self.check(leading, &follower.source);
                continue;
            }
            if follower.place == Precondition::Leaf && matches!(file.has_name(key), Ok(true)) {
                self.count_unchanged(&follower.source);
                let Follower { source, target, .. } = follower;
                let own = self.state.row(&source.key)?;
                let tells = |row: &Row| (row.digest, row.metadata, row.looked);
                let is_recorded = own.as_ref().is_some_and(|own| tells(own) == tells(row))
                    && !context.policy.links_changed(&source, target.as_ref(), own.as_ref());
                if is_recorded {
                    return self.touched(&source.key);
                }
                return self.linked(row, source);
            }
            match file.link(key, follower.place) {
                Ok(Linked::Done) => {
                    context.progress.hard_links_made.add(1);
                    let kind = Some(follower.source.kind);
                    context.report(|| Outcome::new(key, kind, Action::Link, Reason::HardLink));
                    return self.linked(row, follower.source);
                }
                Ok(Linked::Full) => {
                    // There may be more files than were found at once.
                    let number = number_of(&row.target);
                    let is_new = number.is_some_and(|number| leading.full.insert(number));
                    leading.is_outdated |= is_new && leading.standing.is_empty();
                    leading.open = None;
                }
                // A name that was made by itself may be on the same file system as this one.
                Ok(Linked::Impossible) => (leading.open, is_impossible) = (None, true),
                Err(cause) => {
                    context.fail(EntryError::on_target(Operation::Link, key, cause));
                    return Ok(());
                }
            }
        }
        if is_impossible || leading.is_unread {
            context.report_missing(&follower.source.key, Feature::HardLinks.into());
        }
        self.make_alone(leading, follower)
    }

    /// Returns a file of the target that names can be given to, and the row of its name; `None` if
    /// there is none.
    fn open<'l>(
        &mut self,
        leading: &'l mut Leading,
        entry: &Entry,
    ) -> Result<Option<&'l OpenName>, Error> {
        while leading.open.is_none() {
            let Some(row) = leading.standing.pop_front() else {
                if !std::mem::take(&mut leading.is_outdated) {
                    return Ok(None);
                }
                self.committer.flush();
                let Self { context, state, found, .. } = self;
                // One name of each file that can have more.
                let mut files = leading.full.clone();
                let takes =
                    |row: &Row| number_of(&row.target).is_none_or(|number| files.insert(number));
                leading.standing = standing(context, state, leading.file, entry, found, takes)?;
                if leading.standing.is_empty() {
                    let unread = |row: Row| {
                        (row.run == context.run && row.source.is_unknown()).then_some(row)
                    };
                    leading.is_unread = !state.rows_of(leading.file, unread)?.is_empty();
                }
                continue;
            };
            // One that changed since it was looked at is none to give names to.
            if let Ok(file) = self.context.target.donor(&row.key, &row.target) {
                self.touched(&row.key)?;
                leading.open = Some(OpenName { row, file });
            }
        }
        Ok(leading.open.as_ref())
    }

    /// Returns whether the content of a name has a digest on record, and that of the file which it
    /// is given to was adopted without one.
    fn is_better_known(&self, donor: &Row, key: &Key) -> Result<bool, Error> {
        let is_unproven = donor.kind == EntryKind::File && donor.digest.is_none();
        Ok(is_unproven && self.state.row(key)?.is_some_and(|row| row.digest.is_some()))
    }

    /// Compares the content of the open file with the source's, and copies it if it differs.
    fn check(&mut self, leading: &mut Leading, name: &Entry) {
        let Some(OpenName { row, .. }) = leading.open.take() else { return };
        leading.standing.clear();
        if let Ok(Some(target)) = self.context.target.look(&row.key) {
            let Progress { files_adopted, adopted_without_digest, .. } = self.context.progress;
            if row.run == self.context.run && adopted_without_digest.get() > 0 {
                // It isn't adopted after all.
                files_adopted.sub(1);
                adopted_without_digest.sub(1);
            }
            let source = Entry { key: row.key.clone(), ..name.clone() };
            let decision = Decision::new(Action::Check(Check::EachOther), Reason::SourceDoubtful);
            let (target, row) = (Some(target), Some(row));
            let precondition = Precondition::Leaf;
            let step = Step { decision, source, target, row, precondition };
            leading.is_outdated = self.carry_out(&step);
        }
    }

    /// Makes a name a file of its own, as if it had no other.
    fn make_alone(&mut self, leading: &mut Leading, follower: Follower) -> Result<(), Error> {
        let Follower { source, target, place, .. } = follower;
        let is_needed = leading.open.is_none();
        let Some(target) = target else {
            // Of a file that can't be copied no name gives the others one.
            leading.is_outdated = self.copy(source, place, Reason::New) && is_needed;
            return Ok(());
        };
        let context = self.context;
        let row = self.state.row(&source.key)?;
        let key = source.key.clone();
        let pair = Pair {
            key: key.clone(),
            source: Seen::Present(source.clone()),
            target: Seen::Present(target.clone()),
            row: row.clone(),
            conflict: None,
        };
        let achievable = |metadata: &_, kind, existing: Option<&_>| {
            context.target.achievable_metadata(metadata, kind, existing)
        };
        let decision = match context.policy.decide(&pair, achievable) {
            Ok(Decision { action: Action::Keep, .. })
                if !context.policy.links_changed(&source, Some(&target), row.as_ref()) =>
            {
                self.count_unchanged(&source);
                return Ok(());
            }
            Ok(Decision { action: Action::Keep, reason }) => Decision::new(Action::Record, reason),
            Ok(decision) => decision,
            Err(cause) => {
                context.fail(EntryError::on_source(Operation::Mirror, &key, cause));
                return Ok(());
            }
        };
        let target = Some(target);
        let step = Step { decision, source, target, row, precondition: place };
        leading.is_outdated = self.carry_out(&step) && is_needed;
        Ok(())
    }

    /// Copies an entry; returns whether there is something to record.
    fn copy(&mut self, source: Entry, precondition: Precondition, reason: Reason) -> bool {
        let decision = Decision::new(Action::making(source.kind), reason);
        self.carry_out(&Step { decision, source, target: None, row: None, precondition })
    }

    /// Returns whether there is something to record.
    fn carry_out(&mut self, step: &Step) -> bool {
        if matches!(step.decision.action, Action::Copy { .. }) {
            self.context.progress.plan_copy(&step.source);
        }
        match self.worker.step(step) {
            Ok(Some(finished)) => {
                self.committer.take(finished);
                return true;
            }
            Ok(None) => {}
            Err(error) => self.context.fail(error),
        }
        false
    }

    fn count_unchanged(&self, entry: &Entry) {
        let progress = self.context.progress;
        progress.files_unchanged.add(1);
        progress.links_unchanged.add(u64::from(entry.kind == EntryKind::Symlink));
    }

    fn touched(&mut self, key: &Key) -> Result<(), Error> {
        self.touched.push(key.as_bytes()).map_err(spool_error)
    }

    /// Takes a name for one of the file of another name that has this row.
    fn linked(&mut self, donor: &Row, mut entry: Entry) -> Result<(), Error> {
        if !entry.flags().is_empty() {
            self.context.seal(&entry);
        }
        let attributes = donor.extras.as_ref().and_then(|extras| extras.attributes);
        entry.set_attributes(attributes);
        let row = PendingRow {
            digest: donor.digest,
            extra: donor.extra,
            origin: donor.origin,
            source_racy: donor.source_racy,
            verified_at: donor.verified_at,
            looked: donor.looked,
            ..PendingRow::of(entry, donor.metadata, self.context.recorded_by())
        };
        self.linked.push((row, donor.target));
        if self.linked.len() < LINKED { Ok(()) } else { self.record_linked() }
    }

    /// Records the names that were linked, with the stamps that their files have now.
    fn record_linked(&mut self) -> Result<(), Error> {
        for (row, stamp) in std::mem::take(&mut self.linked) {
            self.touched(&row.key)?;
            self.committer.refresh(row, stamp);
        }
        Ok(())
    }
}

impl Touched {
    /// Records the stamps that the files have now, when nothing more changes these.
    ///
    /// # Errors
    /// Fails if the state or the sorter can't be read.
    pub(super) fn record(
        self,
        context: &Context<'_>,
        state: &State,
        committer: &mut Committer<'_>,
    ) -> Result<(), Error> {
        committer.flush();
        let mut touched = self.0.finish().map_err(spool_error)?;
        let mut last = None;
        while !context.is_over()
            && let Some(record) = touched.next().map_err(spool_error)?
        {
            let key = Key::new(record);
            if last.as_ref() == Some(&key) {
                continue;
            }
            if let Some(row) = state.row(&key)? {
                let found = context.target.look(&key);
                let is_right = matches!(&found, Ok(Some(now)) if now.stamp.is_still(&row.target));
                if !is_right {
                    let recorded = row.target;
                    committer.refresh(row.into(), recorded);
                }
            }
            last = Some(key);
        }
        Ok(())
    }
}
