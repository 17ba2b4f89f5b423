//! Steps that workers finished, collected in batches for the commit stage.
//!
//! Workers never wait for a sync: while one batch is made durable and put in place, the next one
//! fills. A slow sync thus makes larger batches, up to [`MAX_WAITING`]; only then do workers wait.

use super::Purpose;
use crate::backend::{Staged, StagedDirectory};
use crate::manifest::PendingRow;
use crate::model::{Decision, Features, Key, Reason, Stamp};
use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The most files in a batch: each takes a name and a row in memory.
pub(super) const BATCH_FILES: usize = 8_192;
/// The most bytes in a batch: about what a disk writes in a second.
const BATCH_BYTES: u64 = 1 << 30;
/// The most bytes of keys in a batch, and of attributes that the manifest keeps.
const BATCH_HELD: usize = 16 << 20;
/// How often a step holds its key: in its row, its staged file and that one's place.
const KEY_COPIES: usize = 4;
/// The greatest age of a batch: the work that an interruption loses.
pub(super) const BATCH_AGE: Duration = Duration::from_secs(5);
/// The age at which a batch is committed if the disk is idle.
const MIN_AGE: Duration = Duration::from_millis(100);
/// The most files that wait while a batch is committed.
const MAX_WAITING: usize = 2 * BATCH_FILES;

/// A step that was done and has to be made durable and recorded.
pub(super) struct CompletedStep {
    /// Its row, as far as it is known before the commit.
    pub(super) row: PendingRow,
    /// The file that has to be put in place.
    pub(super) staged: Option<Box<dyn Staged>>,
    /// The decision that was carried out; `None` if there was nothing to do.
    pub(super) done: Option<Decision>,
    /// The target's stamp, if the target wasn't changed since it was listed or hashed.
    pub(super) target_stamp: Option<Stamp>,
    /// Whether a failure of the entry was reported already (its metadata could not be set).
    pub(super) failure_reported: bool,
    /// Features of the source's entry that the target's copy lacks.
    pub(super) lost: Features,
    /// What is recorded about it.
    pub(super) record: Record,
}

/// What is recorded about a step that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Its row, replacing any other of its key.
    Row,
    /// The target's stamp and, if its content was verified, the time of that; the rest of the row
    /// is kept.
    Stamp,
    /// Nothing.
    Nothing,
}

impl Record {
    /// Returns what is recorded in a run with this purpose, unless a step requires something else.
    pub(super) fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Mirror => Self::Row,
            Purpose::Mend { .. } => Self::Stamp,
        }
    }
}

/// A directory that was built completely and has to be put in place.
pub(super) struct FinishedDirectory {
    pub(super) key: Key,
    /// The reason for making it.
    pub(super) reason: Reason,
    pub(super) staged: Box<dyn StagedDirectory>,
    /// The entries that were made in it.
    pub(super) members: Vec<CompletedStep>,
}

/// Steps that are made durable, put in place and recorded together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) finished: Vec<CompletedStep>,
    pub(super) directories: Vec<FinishedDirectory>,
    /// The number of entries in `directories`.
    members: usize,
    /// Keys whose rows are removed.
    pub(super) forgotten: Vec<Key>,
    bytes: u64,
    /// Bytes of keys, and of attributes that the manifest keeps.
    held: usize,
    since: Option<Instant>,
}

impl Batch {
    pub(super) fn add(&mut self, finished: CompletedStep) {
        self.held += held_by(&finished);
        if finished.staged.is_some() {
            self.bytes += finished.row.source.size;
        }
        self.finished.push(finished);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn add_directory(&mut self, directory: FinishedDirectory) {
        self.members += directory.members.len();
        self.bytes += directory.members.iter().map(|member| member.row.source.size).sum::<u64>();
        self.held += held_by_key(&directory.key);
        self.held += directory.members.iter().map(held_by).sum::<usize>();
        self.directories.push(directory);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.held += held_by_key(&key);
        self.forgotten.push(key);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the batch is large enough to be committed.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES || self.held >= BATCH_HELD
    }

    /// Returns whether nothing more may be added before it is committed.
    fn is_too_full(&self) -> bool {
        self.len() >= MAX_WAITING || self.held >= 2 * BATCH_HELD
    }

    /// Splits off what has yet to be put in place; `self` keeps what needs no such step.
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

    /// The number of files that are lost if the batch can't be made durable.
    pub(super) fn files(&self) -> usize {
        self.finished.len() + self.members
    }

    /// The amount of work in the batch. A directory counts even if nothing could be made in it.
    fn len(&self) -> usize {
        self.files() + self.directories.len() + self.forgotten.len()
    }

    fn append(&mut self, mut other: Self) {
        self.finished.append(&mut other.finished);
        self.directories.append(&mut other.directories);
        self.members += other.members;
        self.forgotten.append(&mut other.forgotten);
        self.bytes += other.bytes;
        self.held += other.held;
        self.since = self.since.or(other.since);
    }
}

/// Returns the bytes of a step's key, and of its attributes that the manifest keeps.
fn held_by(step: &CompletedStep) -> usize {
    let apart = step.row.extras.as_ref().and_then(|extras| extras.apart.loaded());
    held_by_key(&step.row.key) + apart.map_or(0, |apart| apart.bytes())
}

fn held_by_key(key: &Key) -> usize {
    KEY_COPIES * key.as_bytes().len()
}

/// Hands batches from the workers to the commit stage.
#[derive(Default)]
pub(super) struct Batches {
    filling: Mutex<Filling>,
    /// Wakes the commit stage: there may be a batch to take.
    filled: Condvar,
    /// Wakes the workers: there is room.
    taken: Condvar,
}

#[derive(Default)]
struct Filling {
    batch: Batch,
    /// Nothing more will be added.
    ended: bool,
    /// Nothing more will be taken, because the commit stage failed.
    abandoned: bool,
}

impl Batches {
    /// Adds steps that were done; waits while [`MAX_WAITING`] is reached. Returns false if the
    /// commit stage has ended.
    pub(super) fn add(&self, done: Batch) -> bool {
        let mut filling = self.filling.lock();
        while filling.batch.is_too_full() && !filling.abandoned {
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

    /// Takes the next batch. A full one is taken at once, another one not before `rest` (`None`: at
    /// once). At `deadline` the batch is taken as it is, even empty. Returns `None` at the end.
    pub(super) fn next(&self, rest: Option<Instant>, deadline: Option<Instant>) -> Option<Batch> {
        let mut filling = self.filling.lock();
        loop {
            let now = Instant::now();
            let batch = &filling.batch;
            let ripe = batch.since.map(|since| match rest {
                Some(rest) => rest.max(since + MIN_AGE).min(since + BATCH_AGE),
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

/// Marks, when dropped, that nothing more will be added.
pub(super) struct Ending<'a>(pub(super) &'a Batches);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.filling.lock().ended = true;
        self.0.filled.notify_one();
    }
}

/// Marks, when dropped, that nothing more will be taken, so that no worker waits for room.
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

    /// Returns what `add` to a full batch returns after `release` was called.
    fn goes_on_after(release: impl FnOnce(&Batches)) -> bool {
        let batches = Batches::default();
        assert!(batches.add(forgetting(MAX_WAITING)));
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
    fn a_worker_waits_for_room_until_a_batch_is_taken() {
        let take = |batches: &Batches| {
            assert_eq!(batches.next(None, None).expect("a batch").len(), MAX_WAITING);
        };
        assert!(goes_on_after(take));
    }

    #[test]
    fn a_worker_does_not_wait_for_a_commit_stage_that_ended() {
        assert!(!goes_on_after(|batches| drop(Abandoning(batches))));
    }

    #[test]
    fn a_full_batch_and_the_last_one_are_taken_without_waiting() {
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
    fn a_batch_of_long_keys_is_full_sooner() {
        let mut batch = Batch::default();
        let key = Key::new(vec![b'a'; 300_000]);
        let filled = (0..BATCH_FILES).find(|_| {
            batch.forget(key.clone());
            batch.is_full()
        });
        assert_eq!(filled, Some(BATCH_HELD / (KEY_COPIES * 300_000)));
    }

    #[test]
    fn at_the_deadline_even_an_empty_batch_is_taken() {
        let batches = Batches::default();
        assert!(batches.next(None, Some(Instant::now())).expect("a batch").is_empty());
    }
}
