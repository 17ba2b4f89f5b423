//! The commit stage: what makes a step done.
//!
//! Batches go through a pipeline, so that one sync serves two of them: the barrier makes batch k's
//! content durable and batch k−1's names; then k−1 is recorded and k put in place. What a row says
//! has survived a power cut. Without barriers (`--durability file` and `none`) files are put in
//! place as they come.

use super::Context;
use super::batch::{
    Abandoning, BATCH_AGE, BATCH_FILES, Batch, Batches, CompletedStep, FinishedDirectory, Record,
};
use crate::backend::Precondition;
use crate::manifest::{PendingRow, Row, Writer};
use crate::model::stamp::COARSEST_TIMES;
use crate::model::{
    Action, Cause, Decision, Entry, EntryError, EntryKind, Error, ErrorKind, Feature, Key,
    Metadata, Operation, Outcome, Stamp,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::time::{Duration, Instant};

/// How many times its own length a barrier is followed by none, unless a batch is full: the disk
/// has other work to do.
const RESTS: u32 = 4;
/// How long a stopped run waits for what it has staged to become durable.
const LAST_SYNC: Duration = Duration::from_millis(1_500);

/// The commit stage.
pub struct Committer<'a> {
    context: &'a Context<'a>,
    /// Where there is a state to record in.
    writer: Option<Writer>,
    barriers: bool,
    /// What comes one at a time: the steps that waited for all others.
    batch: Batch,
    /// What was put in place since the last barrier, to be recorded after the next.
    published: Vec<Published>,
    forgotten: Vec<Key>,
    /// When the first of these was put in place.
    since: Option<Instant>,
    /// Until then no barrier is begun for a batch that isn't full.
    rest: Instant,
    /// A barrier failed: nothing that came after the one before it counts.
    broken: bool,
}

/// What stands in its place, to be recorded.
struct Published {
    row: Row,
    record: Record,
}

impl<'a> Committer<'a> {
    /// Makes the commit stage of a run; without a writer nothing is recorded.
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

    /// Takes one step that was done.
    pub(super) fn take(&mut self, finished: CompletedStep) {
        self.batch.add(finished);
        self.commit_full();
    }

    /// Takes a key whose row is to go.
    pub(super) fn forget(&mut self, key: Key) {
        self.batch.forget(key);
        self.commit_full();
    }

    fn commit_full(&mut self) {
        if self.batch.is_full() {
            self.place();
        }
    }

    /// Puts in its place what was taken.
    pub(super) fn place(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.commit(batch);
        }
    }

    /// Makes all that was taken durable, puts it in place and records it. A run that was stopped
    /// gives that a moment, and discards what isn't durable then.
    pub(super) fn flush(&mut self) {
        self.place();
        self.turn(Batch::default());
    }

    /// Makes durable what was written and isn't in its place yet, nor was given to this stage.
    pub(super) fn make_durable(&mut self) {
        if self.barriers && !self.broken {
            let barrier = self.begin_barrier();
            self.pass(barrier, 0);
        }
    }

    fn commit(&mut self, batch: Batch) {
        if self.barriers {
            return self.turn(batch);
        }
        self.put_in_place(batch);
        let is_old = self.since.is_some_and(|since| since + BATCH_AGE <= Instant::now());
        if is_old || self.published.len() + self.forgotten.len() >= BATCH_FILES {
            self.turn(Batch::default());
        }
    }

    /// One turn of the pipeline: records what stood before the barrier, and puts the rest of a batch
    /// in place. What can't be made durable is dropped, which removes it.
    fn turn(&mut self, mut batch: Batch) {
        let waiting = batch.split_staged();
        self.put_in_place(batch);
        self.since = None;
        if waiting.is_empty() && self.published.is_empty() && self.forgotten.is_empty() {
            return;
        }
        let barrier = (!self.broken && self.barriers).then(|| self.begin_barrier());
        // The rows are written while the barrier is waited for, and count once it is passed.
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
            let untold = members.iter().filter(|made| !made.told);
            return context.fail_directory(&key, cause, untold.map(|made| &made.row.key));
        }
        context.made_directory(&key, reason);
        for member in members {
            self.publish(member);
        }
    }

    /// Begins to make durable what happened so far. A sync can't be interrupted: it is waited for
    /// from beside.
    fn begin_barrier(&self) -> Result<Receiver<Result<(), Cause>>, Cause> {
        let target = std::sync::Arc::clone(&self.context.target);
        let (done, result) = bounded(1);
        std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || done.send(target.barrier()))?;
        Ok(result)
    }

    /// Waits for a barrier that was begun; `waiting` files are lost if it fails.
    fn pass(&mut self, barrier: Result<Receiver<Result<(), Cause>>, Cause>, waiting: usize) {
        let began = Instant::now();
        if let Err(cause) = barrier.and_then(|result| self.wait(&result)) {
            self.break_down(cause, waiting);
        }
        self.rest = Instant::now() + began.elapsed() * RESTS;
    }

    /// A barrier failed, once and for all; `waiting` files are lost by it.
    fn break_down(&mut self, cause: Cause, waiting: usize) {
        self.broken = true;
        if !matches!(cause, Cause::Stopped) {
            self.context.progress.files_failed.add(waiting as u64);
            self.context.abort(
                Error::new(ErrorKind::Unusable, "cannot make the target durable")
                    .because(cause)
                    .help("what was not synced is not recorded; run again once the disk is well"),
            );
        }
    }

    /// Waits for a barrier; once the run is to stop, for a moment only.
    fn wait(&self, result: &Receiver<Result<(), Cause>>) -> Result<(), Cause> {
        let mut last = None;
        loop {
            match result.recv_timeout(LAST_SYNC / 10) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Cause::Other("the sync's thread broke down".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) if !self.context.stop.requested() => {}
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
                    finished.told = true;
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
            self.context.tell(|| Outcome::new(key, Some(*kind), action, reason).moving(size));
        }
        self.context.lost(&finished.row.key, finished.lost);
        if finished.lost.has(Feature::UnreadAttributes) {
            // The next run asks again, and would not if the source's stamp were the recorded one.
            finished.row.source = Stamp::unknown(finished.row.source.size);
        }
        let CompletedStep { row, record, .. } = finished;
        self.published.push(Published { row: row.with_target(target_stamp), record });
        self.since.get_or_insert_with(Instant::now);
    }

    /// Writes the rows of what was put in place, in key order; they don't count yet.
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

    /// Takes the target's stamp, and makes sure that what stands there is what was put there; `None`
    /// where it isn't, which was told. It is taken at once, not when the row is written: an edit in
    /// between must show next time.
    fn settle(&self, finished: &mut CompletedStep, written: Option<Stamp>) -> Option<Stamp> {
        if finished.target_stamp.is_some() {
            return finished.target_stamp;
        }
        let is_told = finished.told;
        let row = &mut finished.row;
        let fail = |operation, cause| {
            if !is_told {
                self.context.fail(EntryError::on_target(operation, &row.key, cause));
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
        row.metadata =
            self.context.target.achievable_metadata(&row.metadata, row.kind, Some(&found.metadata));
        if !finished.told && not_kept(&found.metadata, &row.metadata, row.kind).is_some() {
            // What a new file inherits isn't always foreseen (default ACLs, mount options).
            let PendingRow { key, kind, metadata, .. } = &*row;
            let set = self.context.target.set_metadata(key, *kind, metadata, Precondition::Leaf);
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

/// Whether an entry can have the content that the row tells, and is the file that was written.
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
            _ => true,
        }
}

/// What of the metadata the target doesn't hold although it was set, in words.
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
