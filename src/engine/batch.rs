//! What workers finished, gathered into batches for the commit stage.
//!
//! Workers never wait for a sync: while one batch is made durable and put in its place, the next one
//! fills. A slow sync thus makes larger batches, up to [`HELD`]; only then are workers held back.

use super::Purpose;
use crate::backend::{Staged, StagedDirectory};
use crate::manifest::PendingRow;
use crate::model::{Decision, Features, Key, Reason, Stamp};
use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Files in a batch: each is a name and a row in memory.
pub(super) const BATCH_FILES: usize = 8_192;
/// Bytes in a batch: about what a disk writes in a second.
const BATCH_BYTES: u64 = 1 << 30;
/// The age of a batch: what an interruption costs.
pub(super) const BATCH_AGE: Duration = Duration::from_secs(5);
/// The age of a batch that is committed while the disk has nothing better to do.
const LEAST_AGE: Duration = Duration::from_millis(100);
/// Files that wait while a batch is committed.
const HELD: usize = 2 * BATCH_FILES;

/// A step that was done, to be made durable and recorded.
pub(super) struct CompletedStep {
    /// What is known of it.
    pub(super) row: PendingRow,
    /// The file to be put in its place.
    pub(super) staged: Option<Box<dyn Staged>>,
    /// What was done, and why; `None` where nothing was to be.
    pub(super) done: Option<Decision>,
    /// The target's stamp, where nothing was done to it since it was listed or hashed.
    pub(super) target_stamp: Option<Stamp>,
    /// The entry's failure was told already (its metadata could not be set).
    pub(super) told: bool,
    /// What the source's entry has that the target's hasn't.
    pub(super) lost: Features,
    /// What is recorded of it.
    pub(super) record: Record,
}

/// What is recorded of a step that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Its row, in the place of any of its key.
    Row,
    /// The stamp that the target has now and, where its content was made sure of, when: the rest of
    /// its row stays.
    Stamp,
    /// Nothing.
    Nothing,
}

impl Record {
    /// What is recorded, unless a step says otherwise, of what is done for a purpose.
    pub(super) fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Mirror => Self::Row,
            Purpose::Mend { .. } => Self::Stamp,
        }
    }
}

/// A directory that was built whole, to be put in its place.
pub(super) struct FinishedDirectory {
    pub(super) key: Key,
    /// Why it is made.
    pub(super) reason: Reason,
    pub(super) staged: Box<dyn StagedDirectory>,
    /// What was made in it.
    pub(super) members: Vec<CompletedStep>,
}

/// Steps that are made durable, put in place and recorded together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) finished: Vec<CompletedStep>,
    pub(super) directories: Vec<FinishedDirectory>,
    /// How many were made in those.
    members: usize,
    /// Keys whose rows are to go.
    pub(super) forgotten: Vec<Key>,
    bytes: u64,
    since: Option<Instant>,
}

impl Batch {
    pub(super) fn add(&mut self, finished: CompletedStep) {
        if finished.staged.is_some() {
            self.bytes += finished.row.source.size;
        }
        self.finished.push(finished);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn add_directory(&mut self, directory: FinishedDirectory) {
        self.members += directory.members.len();
        self.bytes += directory.members.iter().map(|member| member.row.source.size).sum::<u64>();
        self.directories.push(directory);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.forgotten.push(key);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is large enough to be committed.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES
    }

    /// Takes out what has still to be put in its place; what stays was done already.
    pub(super) fn split_staged(&mut self) -> Self {
        let (staged, done) =
            std::mem::take(&mut self.finished).into_iter().partition(|made| made.staged.is_some());
        self.finished = done;
        Self {
            finished: staged,
            directories: std::mem::take(&mut self.directories),
            members: std::mem::take(&mut self.members),
            ..Self::default()
        }
    }

    /// Files that are lost when it can't be made durable.
    pub(super) fn files(&self) -> usize {
        self.finished.len() + self.members
    }

    /// What there is to do and to hold; a directory counts even if nothing could be made in it.
    fn len(&self) -> usize {
        self.files() + self.directories.len() + self.forgotten.len()
    }

    fn append(&mut self, mut other: Self) {
        self.finished.append(&mut other.finished);
        self.directories.append(&mut other.directories);
        self.members += other.members;
        self.forgotten.append(&mut other.forgotten);
        self.bytes += other.bytes;
        self.since = self.since.or(other.since);
    }
}

/// Where batches fill and the commit stage takes them.
#[derive(Default)]
pub(super) struct Batches {
    filling: Mutex<Filling>,
    /// Told to the commit stage: there may be a batch to take.
    filled: Condvar,
    /// Told to the workers: there is room.
    taken: Condvar,
}

#[derive(Default)]
struct Filling {
    batch: Batch,
    /// Nothing will be added any more.
    ended: bool,
    /// Nothing will be taken any more: the commit stage broke down.
    abandoned: bool,
}

impl Batches {
    /// Adds what was done; waits when too much is held. False when nobody takes it any more.
    pub(super) fn add(&self, done: Batch) -> bool {
        let mut filling = self.filling.lock();
        while filling.batch.len() >= HELD && !filling.abandoned {
            self.taken.wait(&mut filling);
        }
        if filling.abandoned {
            return false;
        }
        filling.batch.append(done);
        drop(filling);
        self.filled.notify_one();
        true
    }

    /// Takes the next batch: a full one at once, any other after the `rest` (`None`: there is no
    /// need of one), or what there is, be it nothing, at `deadline`. `None` is the end.
    pub(super) fn next(&self, rest: Option<Instant>, deadline: Option<Instant>) -> Option<Batch> {
        let mut filling = self.filling.lock();
        loop {
            let now = Instant::now();
            let batch = &filling.batch;
            let ripe = batch.since.map(|since| match rest {
                Some(rest) => rest.max(since + LEAST_AGE).min(since + BATCH_AGE),
                None => since,
            });
            let due = ripe.into_iter().chain(deadline).min();
            if filling.ended || batch.is_full() || due.is_some_and(|due| due <= now) {
                let batch = std::mem::take(&mut filling.batch);
                let is_end = filling.ended && batch.is_empty();
                drop(filling);
                self.taken.notify_all();
                return (!is_end).then_some(batch);
            }
            match due {
                None => self.filled.wait(&mut filling),
                Some(due) => {
                    self.filled.wait_until(&mut filling, due);
                }
            }
        }
    }
}

/// Says, when it is dropped, that nothing more will be added.
pub(super) struct Ending<'a>(pub(super) &'a Batches);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.filling.lock().ended = true;
        self.0.filled.notify_one();
    }
}

/// Says, when it is dropped, that nothing more will be taken, so that nobody waits for room.
pub(super) struct Abandoning<'a>(pub(super) &'a Batches);

impl Drop for Abandoning<'_> {
    fn drop(&mut self) {
        self.0.filling.lock().abandoned = true;
        self.0.taken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn forgetting(keys: usize) -> Batch {
        let mut batch = Batch::default();
        (0..keys).for_each(|key| batch.forget(Key::new(key.to_string().into_bytes())));
        batch
    }

    /// What a thread that adds to full batches does once `release` was called.
    fn goes_on_after(release: impl FnOnce(&Batches)) -> bool {
        let batches = Batches::default();
        assert!(batches.add(forgetting(HELD)));
        std::thread::scope(|scope| {
            let (sender, added) = channel();
            let batches = &batches;
            scope.spawn(move || {
                sender.send(batches.add(forgetting(1))).expect("it is waited for");
            });
            assert!(added.recv_timeout(Duration::from_millis(50)).is_err(), "it waits for room");
            release(batches);
            added.recv_timeout(Duration::from_secs(30)).expect("it goes on")
        })
    }

    #[test]
    fn whoever_adds_waits_for_room_until_a_batch_is_taken() {
        let take = |batches: &Batches| {
            assert_eq!(batches.next(None, None).expect("a batch").len(), HELD);
        };
        assert!(goes_on_after(take));
    }

    #[test]
    fn whoever_adds_does_not_wait_for_a_commit_stage_that_is_gone() {
        assert!(!goes_on_after(|batches| drop(Abandoning(batches))));
    }

    #[test]
    fn a_full_batch_is_taken_though_the_disk_rests_and_the_last_one_though_it_is_small() {
        let batches = Batches::default();
        let rest = Some(Instant::now() + Duration::from_hours(1));
        assert!(batches.add(forgetting(BATCH_FILES)));
        assert_eq!(batches.next(rest, None).expect("a batch").len(), BATCH_FILES);
        assert!(batches.add(forgetting(1)));
        drop(Ending(&batches));
        assert_eq!(batches.next(rest, None).expect("the last one").len(), 1);
        assert!(batches.next(rest, None).is_none());
    }

    #[test]
    fn at_the_deadline_there_is_a_batch_be_it_empty() {
        let batches = Batches::default();
        assert!(batches.next(None, Some(Instant::now())).expect("a batch").is_empty());
    }
}
