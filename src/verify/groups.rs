//! Groups of files that are handed over to be hashed.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The number of files at which a group is handed over.
const GROUP_FILES: usize = 64;
/// The number of bytes at which a group is handed over.
const GROUP_BYTES: u64 = 4 << 20;
/// The most groups that wait to be hashed, for each worker.
const GROUPS_WAITING: usize = 4;

/// Collects files into groups. [`Groups::send`] hands over the last one.
pub(super) struct Groups<T> {
    jobs: Sender<Vec<T>>,
    group: Vec<T>,
    bytes: u64,
}

impl<T> Groups<T> {
    /// Returns a collection, and the channel from which `workers` receive groups.
    pub(super) fn new(workers: usize) -> (Self, Receiver<Vec<T>>) {
        let (jobs, waiting) = bounded(workers * GROUPS_WAITING);
        (Self { jobs, group: Vec::new(), bytes: 0 }, waiting)
    }

    /// Adds a file of `bytes`.
    pub(super) fn push(&mut self, job: T, bytes: u64) {
        self.bytes += bytes;
        self.group.push(job);
        if self.group.len() >= GROUP_FILES || self.bytes >= GROUP_BYTES {
            self.send();
        }
    }

    /// Hands over the collected files.
    pub(super) fn send(&mut self) {
        self.bytes = 0;
        // Workers end only after this side.
        self.jobs.send(std::mem::take(&mut self.group)).ok();
    }
}
