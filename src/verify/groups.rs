//! Handing files over to be hashed, in groups.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Files after which a group is handed over.
const GROUP_FILES: usize = 64;
/// Bytes of its files after which a group is handed over.
const GROUP_BYTES: u64 = 4 << 20;
/// Groups of files waiting to be hashed, a worker.
const GROUPS_WAITING: usize = 4;

/// Takes files one by one; what is gathered goes with [`Groups::send`].
pub(super) struct Groups<T> {
    jobs: Sender<Vec<T>>,
    group: Vec<T>,
    bytes: u64,
}

impl<T> Groups<T> {
    /// Makes one, and where so many workers take from.
    pub(super) fn new(workers: usize) -> (Self, Receiver<Vec<T>>) {
        let (jobs, waiting) = bounded(workers * GROUPS_WAITING);
        (Self { jobs, group: Vec::new(), bytes: 0 }, waiting)
    }

    /// Takes a file of so many bytes.
    pub(super) fn push(&mut self, job: T, bytes: u64) {
        self.bytes += bytes;
        self.group.push(job);
        if self.group.len() >= GROUP_FILES || self.bytes >= GROUP_BYTES {
            self.send();
        }
    }

    /// Hands over what was taken.
    pub(super) fn send(&mut self) {
        self.bytes = 0;
        // Workers end only when this side does.
        self.jobs.send(std::mem::take(&mut self.group)).ok();
    }
}
