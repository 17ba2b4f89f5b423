//! Memory limit: how many bytes of content are in memory at the same time.

use super::blocks::Blocks;
use super::content::Content;
use super::{Interrupted, POLL};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

/// A budget of bytes that threads take from and give back to.
///
/// Waiting threads are served in turn, so that small requests don't starve a large one. Clones
/// share the budget.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    size: u64,
    state: Mutex<BudgetState>,
    changed: Condvar,
    blocks: Arc<Blocks>,
}

#[derive(Debug, Default)]
struct BudgetState {
    taken: u64,
    /// Tickets of the waiting threads, the next to be served first.
    waiting: VecDeque<u64>,
    tickets: u64,
}

/// Bytes taken from a budget; dropping the permit gives them back.
#[derive(Debug)]
pub struct MemoryPermit {
    budget: Arc<Budget>,
    bytes: u64,
}

/// Why no memory was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// More than the whole budget was requested: waiting would never end.
    #[error("needs {} MiB of memory at once, more than the limit of {} MiB",
        mebibytes(*.bytes), mebibytes(*.budget))]
    TooLarge {
        /// Bytes requested.
        bytes: u64,
        /// The size of the whole budget in bytes.
        budget: u64,
    },
    /// The run ended before there was room.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Formats a size in MiB with one decimal, rounded up: a budget of that size must suffice.
fn mebibytes(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10).div_ceil(1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

impl Memory {
    /// Makes a budget of `size` bytes.
    pub fn new(size: u64) -> Self {
        let (state, blocks) = (Mutex::default(), Arc::default());
        Self(Arc::new(Budget { size, state, changed: Condvar::new(), blocks }))
    }

    /// Returns the size of the budget in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Takes bytes, waiting for them in turn.
    ///
    /// # Errors
    /// [`MemoryError::TooLarge`] for more than the whole budget, [`MemoryError::Interrupted`] once
    /// `is_over` returns true.
    pub fn take(
        &self,
        bytes: u64,
        is_over: &dyn Fn() -> bool,
    ) -> Result<MemoryPermit, MemoryError> {
        let budget = &self.0;
        if bytes > budget.size {
            return Err(MemoryError::TooLarge { bytes, budget: budget.size });
        }
        let mut state = budget.state.lock();
        let ticket = state.tickets;
        state.tickets += 1;
        state.waiting.push_back(ticket);
        while state.waiting.front() != Some(&ticket) || budget.size - state.taken < bytes {
            if is_over() {
                state.waiting.retain(|waiting| *waiting != ticket);
                budget.changed.notify_all();
                return Err(Interrupted.into());
            }
            budget.changed.wait_for(&mut state, POLL);
        }
        state.waiting.pop_front();
        state.taken += bytes;
        // There may be room for the next one too.
        budget.wake(state);
        Ok(self.permit(bytes))
    }

    /// Takes bytes if they are free and no thread waits.
    pub fn try_take(&self, bytes: u64) -> Option<MemoryPermit> {
        let mut state = self.0.state.lock();
        if !state.waiting.is_empty() || self.0.size - state.taken < bytes {
            return None;
        }
        state.taken += bytes;
        Some(self.permit(bytes))
    }

    fn permit(&self, bytes: u64) -> MemoryPermit {
        MemoryPermit { budget: Arc::clone(&self.0), bytes }
    }

    #[cfg(test)]
    pub(super) fn free_blocks(&self) -> usize {
        self.0.blocks.free_count()
    }
}

impl MemoryPermit {
    /// Makes room for as much content as the permit covers, rounded up to whole blocks. Drop the
    /// content, and all that is made from it, before the permit.
    pub fn content(&self) -> Content {
        Content::new(&self.budget.blocks)
    }
}

impl Budget {
    /// Wakes the waiting threads, if there are any: the system call is saved without them.
    fn wake(&self, state: MutexGuard<'_, BudgetState>) {
        let has_waiters = !state.waiting.is_empty();
        drop(state);
        if has_waiters {
            self.changed.notify_all();
        }
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock();
        state.taken -= self.bytes;
        self.budget.wake(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    fn wait_for(memory: &Memory, waiting: usize) {
        while memory.0.state.lock().waiting.len() < waiting {
            thread::yield_now();
        }
    }

    #[test]
    fn permits_never_exceed_the_budget_and_all_come_back() {
        let (memory, taken) = (Memory::new(100), AtomicU64::new(0));
        thread::scope(|scope| {
            for n in 0..8 {
                let (memory, taken) = (&memory, &taken);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (n * 13 + round * 7) % 101;
                        let permit = memory.take(bytes, &|| false).unwrap();
                        assert!(taken.fetch_add(bytes, Ordering::SeqCst) + bytes <= 100);
                        taken.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(memory.try_take(100).is_some());
    }

    #[test]
    fn a_large_request_is_served_before_later_small_ones() {
        let memory = Memory::new(10);
        let first_permit = memory.take(5, &|| false).unwrap();
        thread::scope(|scope| {
            let large = scope.spawn(|| drop(memory.take(10, &|| false).unwrap()));
            wait_for(&memory, 1);
            assert!(memory.try_take(1).is_none(), "a later request must not overtake");
            drop(first_permit);
            large.join().unwrap();
        });
        assert!(memory.try_take(1).is_some());
    }

    #[test]
    fn more_than_the_budget_is_refused_with_both_sizes() {
        let error = Memory::new(256 << 20).take((600 << 20) + 1, &|| false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "needs 600.1 MiB of memory at once, more than the limit of 256.0 MiB"
        );
    }

    #[test]
    fn a_thread_that_stops_waiting_lets_the_next_one_through() {
        let (memory, over) = (Memory::new(10), AtomicBool::new(false));
        let first_permit = memory.take(5, &|| false).unwrap();
        thread::scope(|scope| {
            let large = scope.spawn(|| memory.take(10, &|| over.load(Ordering::SeqCst)).err());
            wait_for(&memory, 1);
            let small = scope.spawn(|| memory.take(5, &|| false).is_ok());
            wait_for(&memory, 2);
            over.store(true, Ordering::SeqCst);
            assert_eq!(large.join().unwrap(), Some(MemoryError::Interrupted(Interrupted)));
            assert!(small.join().unwrap());
        });
        drop(first_permit);
        assert!(memory.try_take(10).is_some());
    }
}
