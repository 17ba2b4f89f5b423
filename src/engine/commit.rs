//! The commit stage: what makes a step done.
//!
//! Batches go through a pipeline, so that one sync serves two of them: the barrier makes batch k's
//! content durable and batch k−1's names; then k−1 is recorded and k put in place. What a row says
//! has survived a power cut. Without barriers (`--durability file` and `none`) files are put in
//! place as they come.

use super::{Context, on_target};
use crate::backend::Staged;
use crate::compare::Reason;
use crate::compare::policy::COARSEST_TIMES;
use crate::manifest::{Row, Writer};
use crate::model::event::Change;
use crate::model::{
    Cause, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Metadata, Operation, Stamp,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::time::{Duration, Instant};

/// Files in a batch: each is a name and a row in memory.
const BATCH_FILES: usize = 8_192;
/// Bytes in a batch: about what a disk writes in a second.
const BATCH_BYTES: u64 = 1 << 30;
/// The age of a batch: what an interruption costs.
const BATCH_AGE: Duration = Duration::from_secs(5);
/// How long a stopped run waits for what it has staged to become durable.
const LAST_SYNC: Duration = Duration::from_millis(1_500);

/// A step that was done, to be made durable and recorded.
pub(super) struct Finished {
    /// The row, but for the target's stamp; its metadata is what the target is to hold.
    pub(super) row: Row,
    /// The file to be put in its place.
    pub(super) staged: Option<Box<dyn Staged>>,
    /// What was done.
    pub(super) change: Option<Change>,
    /// Why.
    pub(super) reason: Reason,
    /// The target's stamp, where nothing was done to it since it was listed or hashed.
    pub(super) stands: Option<Stamp>,
    /// The entry's failure was told already (its metadata could not be set).
    pub(super) told: bool,
}

/// What the commit stage takes.
pub(super) enum Message {
    /// A step was done.
    Finished(Box<Finished>),
    /// A step failed.
    Failed(EntryError),
    /// A key's row is to go.
    Forget(Key),
}

/// The commit stage.
pub struct Committer<'a> {
    context: &'a Context<'a>,
    writer: Writer,
    barriers: bool,
    staged: Vec<Finished>,
    staged_bytes: u64,
    /// What was taken since the last turn.
    taken: usize,
    since: Option<Instant>,
    published: Vec<Finished>,
    forgotten: Vec<Key>,
    /// A barrier failed: nothing that came after the one before it counts.
    broken: bool,
}

impl<'a> Committer<'a> {
    /// Makes the commit stage of a run.
    pub fn new(context: &'a Context<'a>, writer: Writer) -> Self {
        Self {
            barriers: context.target.needs_barrier(),
            context,
            writer,
            staged: Vec::new(),
            staged_bytes: 0,
            taken: 0,
            since: None,
            published: Vec::new(),
            forgotten: Vec::new(),
            broken: false,
        }
    }

    /// Takes messages until all senders are gone.
    pub(super) fn receive(mut self, messages: &Receiver<Vec<Message>>) -> Self {
        loop {
            let due = self.since.map(|since| since + BATCH_AGE);
            let received = match due {
                Some(due) => messages.recv_deadline(due),
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(messages) => messages.into_iter().for_each(|message| self.take(message)),
                Err(RecvTimeoutError::Timeout) => self.advance(),
                Err(RecvTimeoutError::Disconnected) => return self,
            }
        }
    }

    /// Takes one message.
    pub(super) fn take(&mut self, message: Message) {
        self.taken += 1;
        match message {
            Message::Failed(error) => self.context.fail(error),
            Message::Forget(key) => {
                self.forgotten.push(key);
                self.since.get_or_insert_with(Instant::now);
            }
            Message::Finished(finished) => {
                self.since.get_or_insert_with(Instant::now);
                if finished.staged.is_some() && self.barriers {
                    self.staged_bytes += finished.row.source.size;
                    self.staged.push(*finished);
                } else {
                    self.publish(*finished);
                }
            }
        }
        if self.taken >= BATCH_FILES || self.staged_bytes >= BATCH_BYTES {
            self.advance();
        }
    }

    /// Makes all that was taken durable, puts it in place and records it. A run that was stopped
    /// gives that a moment, and discards what isn't durable then.
    pub(super) fn flush(&mut self) {
        self.advance();
        if !self.published.is_empty() || !self.forgotten.is_empty() {
            self.advance();
        }
        // What could not be made durable is removed again.
        self.staged.clear();
    }

    /// One turn of the pipeline.
    fn advance(&mut self) {
        self.since = None;
        self.staged_bytes = 0;
        self.taken = 0;
        if self.staged.is_empty() && self.published.is_empty() && self.forgotten.is_empty() {
            return;
        }
        if self.broken || !self.barrier() {
            self.staged.clear();
            self.published.clear();
            self.forgotten.clear();
            return;
        }
        self.record();
        for finished in std::mem::take(&mut self.staged) {
            self.publish(finished);
        }
        if !self.published.is_empty() {
            self.since = Some(Instant::now());
        }
    }

    fn barrier(&mut self) -> bool {
        if !self.barriers {
            return true;
        }
        // A sync can't be interrupted: it is waited for from beside.
        let target = std::sync::Arc::clone(&self.context.target);
        let (done, result) = bounded(1);
        let spawned = std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || done.send(target.barrier()));
        let result = match spawned {
            Ok(_) => self.wait(&result),
            Err(error) => Err(error.into()),
        };
        let Err(cause) = result else { return true };
        self.broken = true;
        if !matches!(cause, Cause::Stopped) {
            self.context.progress.files_failed.add(self.staged.len() as u64);
            self.context.abort(
                Error::new(ErrorKind::Unusable, "cannot make the target durable")
                    .because(cause)
                    .help("what was not synced is not recorded; run again once the disk is well"),
            );
        }
        false
    }

    /// Waits for a barrier; once the run is to stop, for a moment only.
    fn wait(&self, result: &Receiver<Result<(), Cause>>) -> Result<(), Cause> {
        let mut last = None;
        loop {
            match result.recv_timeout(LAST_SYNC / 10) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(Cause::Stopped),
                Err(RecvTimeoutError::Timeout) if !self.context.stop.requested() => {}
                Err(RecvTimeoutError::Timeout) => {
                    if *last.get_or_insert_with(Instant::now) + LAST_SYNC < Instant::now() {
                        return Err(Cause::Stopped);
                    }
                }
            }
        }
    }

    fn publish(&mut self, mut finished: Finished) {
        let mut written = None;
        if let Some(mut staged) = finished.staged.take() {
            written = Some(staged.stamp());
            let key = &finished.row.key;
            match staged.publish() {
                Ok(None) => {}
                Ok(Some(cause)) => {
                    self.context.fail(on_target(Operation::SetMetadata, key, cause));
                    finished.told = true;
                }
                Err(cause) => {
                    return self.context.fail(on_target(Operation::Publish, key, cause));
                }
            }
        }
        if !self.settle(&mut finished, written) {
            return;
        }
        let progress = self.context.progress;
        let size = match finished.row.kind {
            EntryKind::File => finished.row.source.size,
            _ => 0,
        };
        match finished.change {
            Some(Change::Copy) => {
                progress.files_copied.add(1);
                progress.bytes_copied.add(size);
            }
            Some(Change::MakeLink) => progress.files_copied.add(1),
            Some(Change::UpdateMetadata) => progress.metadata_updated.add(1),
            Some(Change::Adopt) => progress.files_adopted.add(1),
            Some(_) => {}
            None if finished.row.kind == EntryKind::Directory => {}
            None => progress.files_unchanged.add(1),
        }
        if let Some(change) = finished.change {
            self.context.tell(&finished.row.key, change, finished.reason, size);
        }
        self.published.push(finished);
    }

    /// Records what was put in place before the last barrier, in key order.
    fn record(&mut self) {
        let mut published = std::mem::take(&mut self.published);
        published.sort_unstable_by(|one, other| one.row.key.cmp(&other.row.key));
        let mut result = Ok(());
        for key in self.forgotten.drain(..) {
            result = result.and_then(|()| self.writer.remove(&key));
        }
        for finished in published {
            result = result.and_then(|()| self.writer.put(&finished.row));
        }
        if let Err(error) = result.and_then(|()| self.writer.commit()) {
            self.context.abort(error);
        }
    }

    /// Takes the target's stamp, and makes sure that what stands there is what was put there. It is
    /// taken at once, not when the row is written: an edit in between must show next time.
    fn settle(&self, finished: &mut Finished, written: Option<Stamp>) -> bool {
        let row = &mut finished.row;
        if let Some(stamp) = finished.stands {
            row.target = stamp;
            return true;
        }
        let fail = |operation, cause| {
            self.context.fail(on_target(operation, &row.key, cause));
        };
        let mut found = match self.context.target.look(&row.key) {
            Ok(Some(found)) if is_content(&found, row, written) => found,
            Ok(_) => {
                fail(Operation::Publish, Cause::TargetChanged);
                return false;
            }
            Err(cause) => {
                fail(Operation::List, cause);
                return false;
            }
        };
        if !finished.told && not_kept(&found.metadata, &row.metadata, row.kind).is_some() {
            // What a new file inherits isn't always foreseen (default ACLs, mount options).
            let set = self.context.target.set_metadata(&row.key, row.kind, &row.metadata);
            if let (Ok(()), Ok(Some(again))) = (set, self.context.target.look(&row.key)) {
                found = again;
            }
            if let Some(lost) = not_kept(&found.metadata, &row.metadata, row.kind) {
                fail(Operation::SetMetadata, Cause::NotKept(lost));
            }
        }
        row.target = found.stamp;
        true
    }
}

/// Whether an entry can have the content that the row tells, and is the file that was written.
fn is_content(found: &Entry, row: &Row, written: Option<Stamp>) -> bool {
    let is_the_file = written.is_none_or(|written| {
        (written.inode, written.mtime) == (found.stamp.inode, found.stamp.mtime)
    });
    found.kind == row.kind
        && is_the_file
        && match row.kind {
            EntryKind::File => found.stamp.size == row.source.size,
            EntryKind::Symlink => found.link == row.link,
            _ => true,
        }
}

/// What of the metadata the target doesn't hold although it was set.
fn not_kept(found: &Metadata, wanted: &Metadata, kind: EntryKind) -> Option<String> {
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
