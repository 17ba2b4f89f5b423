//! The commit stage: what makes a step done.
//!
//! Batches go through a pipeline in which one sync serves two of them: the barrier makes the
//! content of batch k durable, and the names of batch k−1; then k−1 is recorded and k put in place.
//! So every row describes what survives a power cut. Without barriers (`--durability file` and
//! `none`) files are put in place as they are finished.

use super::Context;
use super::batch::{
    Abandoning, BATCH_AGE, BATCH_FILES, Batch, Batches, CompletedStep, FinishedDirectory, Record,
};
use crate::backend::Precondition;
use crate::manifest::{PendingRow, Row, Writer};
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{
    Action, AttributeKinds, Cause, Decision, Entry, EntryError, EntryKind, Error, ErrorKind,
    Feature, Features, FileFlags, Key, Metadata, Operation, Outcome, Stamp,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::time::{Duration, Instant};

/// After a barrier the disk is left to other work for so many times the barrier's duration, unless
/// a batch is full.
const REST_FACTOR: u32 = 4;
/// How long a stopped run waits for staged content to become durable.
const LAST_SYNC: Duration = Duration::from_millis(1_500);

/// The commit stage.
pub struct Committer<'a> {
    context: &'a Context<'a>,
    /// Writes to the state, if there is one.
    writer: Option<Writer>,
    barriers: bool,
    /// Steps that are taken one by one after the workers ended.
    batch: Batch,
    /// Steps that were put in place since the last barrier and are recorded after the next one.
    published: Vec<Published>,
    forgotten: Vec<Key>,
    /// When the first of these was put in place, or its row given up.
    since: Option<Instant>,
    /// Before that time no barrier is started for a batch that isn't full.
    rest: Instant,
    /// A barrier failed: nothing that was done after the previous one is recorded.
    broken: bool,
}

/// A step that was put in place and has to be recorded.
struct Published {
    row: Row,
    record: Record,
}

impl<'a> Committer<'a> {
    /// Makes the commit stage of a run; without a `writer` nothing is recorded.
    pub fn new(context: &'a Context<'a>, writer: Option<Writer>) -> Self {
        Self {
            barriers: context.target.capabilities().needs_barrier,
            context,
            writer,
            batch: Batch::default(),
            published: Vec::new(),
            forgotten: Vec::new(),
            since: None,
            rest: Instant::now(),
            broken: false,
        }
    }

    /// Commits batches until they end.
    pub(super) fn work(mut self, batches: &Batches) -> Self {
        let _abandoning = Abandoning(batches);
        loop {
            let due = self.since.map(|since| since + BATCH_AGE);
            let rest = self.barriers.then_some(self.rest);
            let Some(batch) = batches.next(rest, due) else { break };
            self.commit(batch);
        }
        self
    }

    /// Adds one step that was done.
    pub(super) fn take(&mut self, finished: CompletedStep) {
        self.batch.add(finished);
        self.commit_full();
    }

    /// Adds a key whose row is removed.
    pub(super) fn forget(&mut self, key: Key) {
        self.batch.forget(key);
        self.commit_full();
    }

    /// Records an entry that is in its place, with the target's stamp as it is now. The entry must
    /// be the one that had the stamp `recorded`, whatever changed of it but content and time.
    pub(super) fn refresh(&mut self, row: PendingRow, recorded: Stamp) {
        let mut finished = CompletedStep {
            row,
            staged: None,
            done: None,
            target_stamp: None,
            failure_reported: false,
            lost: Features::default(),
            record: Record::Row,
        };
        let Some(stamp) = self.settle(&mut finished, Some(recorded)) else { return };
        let row = finished.row.with_target(stamp);
        self.published.push(Published { row, record: Record::Row });
        self.since.get_or_insert_with(Instant::now);
        if self.published.len() >= BATCH_FILES {
            self.advance(Batch::default());
        }
    }

    fn commit_full(&mut self) {
        if self.batch.is_full() {
            self.place();
        }
    }

    /// Puts in place what was added.
    pub(super) fn place(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.commit(batch);
        }
    }

    /// Makes everything that was added durable, puts it in place and records it. A stopped run
    /// waits for that only for [`LAST_SYNC`] and discards what isn't durable by then.
    pub(super) fn flush(&mut self) {
        self.place();
        self.advance(Batch::default());
    }

    /// Makes durable what was staged, without putting it in place or adding it.
    pub(super) fn make_durable(&mut self) {
        if self.barriers && !self.broken {
            let barrier = self.begin_barrier();
            self.pass(barrier, 0);
        }
    }

    /// Returns whether something that should have been made durable may not be.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn commit(&mut self, batch: Batch) {
        if self.barriers {
            return self.advance(batch);
        }
        self.put_in_place(batch);
        let is_old = self.since.is_some_and(|since| since + BATCH_AGE <= Instant::now());
        if is_old || self.published.len() + self.forgotten.len() >= BATCH_FILES {
            self.advance(Batch::default());
        }
    }

    /// Advances the pipeline by one batch: records what was in place before the barrier, and puts
    /// the rest of `batch` in place. If the barrier fails, staged files are dropped, which removes
    /// them.
    fn advance(&mut self, mut batch: Batch) {
        let waiting = batch.split_staged();
        self.put_in_place(batch);
        self.since = None;
        if waiting.is_empty() && self.published.is_empty() && self.forgotten.is_empty() {
            return;
        }
        let barrier = (!self.broken && self.barriers).then(|| self.begin_barrier());
        // The rows are written while the barrier runs, and committed once it has succeeded.
        let written = self.write_rows();
        if let Some(barrier) = barrier {
            self.pass(barrier, waiting.files());
        }
        let committed = match &mut self.writer {
            Some(writer) if self.broken => writer.roll_back(),
            Some(writer) => writer.commit(),
            None => Ok(()),
        };
        if let Err(error) = written.and(committed) {
            self.context.abort(error);
        }
        if !self.broken {
            self.put_in_place(waiting);
        }
    }

    fn put_in_place(&mut self, mut batch: Batch) {
        self.forgotten.append(&mut batch.forgotten);
        batch.directories.into_iter().for_each(|directory| self.publish_directory(directory));
        batch.finished.into_iter().for_each(|finished| self.publish(finished));
    }

    fn publish_directory(&mut self, directory: FinishedDirectory) {
        let FinishedDirectory { key, reason, mut staged, members } = directory;
        let context = self.context;
        if let Err(cause) = staged.publish() {
            let unreported = members.iter().filter(|made| !made.failure_reported);
            return context.fail_directory(&key, cause, unreported.map(|made| &made.row.key));
        }
        context.made_directory(&key, reason);
        for member in members {
            self.publish(member);
        }
    }

    /// Starts to make everything so far durable. A sync can't be interrupted, so it runs on a
    /// thread of its own.
    fn begin_barrier(&self) -> Result<Receiver<Result<(), Cause>>, Cause> {
        let target = std::sync::Arc::clone(&self.context.target);
        let (done, result) = bounded(1);
        std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || done.send(target.barrier()))?;
        Ok(result)
    }

    /// Waits for a barrier; `waiting` files are lost if it fails.
    fn pass(&mut self, barrier: Result<Receiver<Result<(), Cause>>, Cause>, waiting: usize) {
        let began = Instant::now();
        if let Err(cause) = barrier.and_then(|result| self.wait(&result)) {
            self.break_down(cause, waiting);
        }
        self.rest = Instant::now() + began.elapsed() * REST_FACTOR;
    }

    /// Ends all recording because a barrier failed; `waiting` files are lost with it.
    fn break_down(&mut self, cause: Cause, waiting: usize) {
        self.broken = true;
        if !matches!(cause, Cause::Stopped) {
            self.context.progress.files_failed.add(waiting as u64);
            self.context.abort(
                Error::new(ErrorKind::Unusable, "cannot make the target durable")
                    .because(cause)
                    .help(
                        "what was not synced is not recorded: check the disk and the system's log, \
                         then run again",
                    ),
            );
        }
    }

    /// Waits for a barrier; once somebody waits for the end, no longer than [`LAST_SYNC`].
    fn wait(&self, result: &Receiver<Result<(), Cause>>) -> Result<(), Cause> {
        let mut last = None;
        loop {
            match result.recv_timeout(LAST_SYNC / 10) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Cause::Other(
                        "the thread that syncs the target stopped unexpectedly".to_owned(),
                    ));
                }
                Err(RecvTimeoutError::Timeout) if !self.context.stop.is_urgent() => {}
                Err(RecvTimeoutError::Timeout) => {
                    if *last.get_or_insert_with(Instant::now) + LAST_SYNC < Instant::now() {
                        return Err(Cause::Stopped);
                    }
                }
            }
        }
    }

    fn publish(&mut self, mut finished: CompletedStep) {
        let mut written = None;
        if let Some(mut staged) = finished.staged.take() {
            let stamp = staged.written().stamp;
            written = Some(stamp);
            finished.target_stamp = staged.is_in_place().then_some(stamp);
            let key = &finished.row.key;
            match staged.publish() {
                Ok(None) => {}
                Ok(Some(cause)) => {
                    self.context.fail(EntryError::on_target(Operation::SetMetadata, key, cause));
                    finished.failure_reported = true;
                }
                Err(cause) => {
                    return self.context.fail(EntryError::on_target(
                        Operation::Publish,
                        key,
                        cause,
                    ));
                }
            }
        }
        let Some(target_stamp) = self.settle(&mut finished, written) else { return };
        let progress = self.context.progress;
        let size = match finished.row.kind {
            EntryKind::File => finished.row.source.size,
            _ => 0,
        };
        let links = u64::from(finished.row.kind == EntryKind::Symlink);
        match finished.done.map(|decision| decision.action) {
            Some(Action::Copy { .. } | Action::Mend) => {
                progress.files_copied.add(1);
                progress.bytes_copied.add(size);
            }
            Some(Action::MakeSpecial) => progress.files_copied.add(1),
            // It was counted and reported when it was renamed.
            Some(Action::Rename) => finished.done = None,
            Some(Action::MakeLink) => {
                progress.files_copied.add(1);
                progress.links_copied.add(1);
            }
            Some(Action::UpdateMetadata) => progress.metadata_updated.add(1),
            Some(Action::Adopt) => {
                progress.files_adopted.add(1);
                progress.links_adopted.add(links);
            }
            Some(_) => {}
            None if finished.row.kind == EntryKind::Directory => {}
            None => {
                progress.files_unchanged.add(1);
                progress.links_unchanged.add(links);
            }
        }
        if let Some(Decision { action, reason }) = finished.done {
            let PendingRow { key, kind, .. } = &finished.row;
            self.context.report(|| Outcome::new(key, Some(*kind), action, reason).moving(size));
        }
        self.context.report_lost(&finished.row.key, finished.lost);
        if finished.lost.has(Feature::UnreadAttributes) {
            // The unknown stamp makes the next run try again.
            finished.row.source = Stamp::unknown(finished.row.source.size);
        }
        // The next run tries again to give the entry what it lacks.
        finished.row.looked = finished.row.looked.without(finished.lost);
        if finished.failure_reported {
            // An attribute may be among what could not be set.
            finished.row.looked = AttributeKinds::NONE;
        }
        let CompletedStep { mut row, record, .. } = finished;
        if self.context.seals.is_some() {
            // It has them once they are set.
            row.set_flags(FileFlags::default());
        }
        self.published.push(Published { row: row.with_target(target_stamp), record });
        self.since.get_or_insert_with(Instant::now);
    }

    /// Writes the rows of what was put in place, in key order, without committing them.
    fn write_rows(&mut self) -> Result<(), Error> {
        let mut published = std::mem::take(&mut self.published);
        published.sort_unstable_by(|one, other| one.row.key.cmp(&other.row.key));
        let forgotten = std::mem::take(&mut self.forgotten);
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for key in forgotten {
            writer.remove(&key)?;
        }
        published.iter().try_for_each(|Published { row, record }| match record {
            Record::Row => writer.put(row),
            Record::Stamp => writer.set_mended(row),
            Record::Nothing => Ok(()),
        })
    }

    /// Returns the target's stamp if the entry there is the one that was put in place; else reports
    /// that and returns `None`. The stamp is taken at once and not when the row is written, so that
    /// the next run notices an edit in between.
    fn settle(&self, finished: &mut CompletedStep, written: Option<Stamp>) -> Option<Stamp> {
        if finished.target_stamp.is_some() {
            return finished.target_stamp;
        }
        let is_reported = finished.failure_reported;
        let row = &mut finished.row;
        let key = row.key.clone();
        let fail = |operation, cause| {
            if !is_reported {
                self.context.fail(EntryError::on_target(operation, &key, cause));
            }
        };
        let mut found = match self.context.target.look(&row.key) {
            Ok(Some(found)) if is_content(&found, row, written) => found,
            Ok(_) => {
                fail(Operation::Publish, Cause::TargetChanged);
                return None;
            }
            Err(cause) => {
                fail(Operation::List, cause);
                return None;
            }
        };
        let existing = Some(&found.metadata);
        row.set_given(self.context.target.achievable_metadata(&row.metadata, row.kind, existing));
        if !finished.failure_reported
            && not_kept(&found.metadata, &row.metadata, row.kind).is_some()
        {
            // A new file may inherit what could not be foreseen (default ACLs, mount options).
            let PendingRow { key, kind, metadata, .. } = &*row;
            let set =
                self.context.target.set_metadata(key, *kind, &metadata.into(), Precondition::Leaf);
            if let (Ok(_), Ok(Some(again))) = (set, self.context.target.look(&row.key)) {
                found = again;
            }
            if let Some(lost) = not_kept(&found.metadata, &row.metadata, row.kind) {
                fail(Operation::SetMetadata, Cause::NotKept(lost));
            }
        }
        Some(found.stamp)
    }
}

/// Returns whether `found` is the file that was written and can have the content of the row.
fn is_content(found: &Entry, row: &PendingRow, written: Option<Stamp>) -> bool {
    let is_the_file = written.is_none_or(|written| match (written.inode(), found.stamp.inode()) {
        (Some(written), Some(found)) => written.mtime == found.mtime && written.may_be(found),
        (written, found) => written.is_none() && found.is_none(),
    });
    found.kind == row.kind
        && is_the_file
        && match row.kind {
            EntryKind::File => found.stamp.size == row.source.size,
            EntryKind::Symlink => found.link == row.link,
            EntryKind::Special(_) => found.device() == row.device(),
            EntryKind::Directory => true,
        }
}

/// Returns, in words, the metadata that the target doesn't have although it was set.
pub fn not_kept(found: &Metadata, wanted: &Metadata, kind: EntryKind) -> Option<String> {
    let mut lost = Vec::new();
    if kind != EntryKind::Symlink && found.mode != wanted.mode {
        lost.push(format!("mode {:04o} (it has {:04o})", wanted.mode, found.mode));
    }
    if found.uid != wanted.uid {
        lost.push(format!("owner {}", wanted.uid));
    }
    if found.gid != wanted.gid {
        lost.push(format!("group {}", wanted.gid));
    }
    if found.mtime.distance(wanted.mtime) >= COARSEST_TIMES {
        lost.push("its modification time".to_owned());
    }
    (!lost.is_empty()).then(|| lost.join(", "))
}
