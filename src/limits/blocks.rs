//! The blocks of memory that content lies in.
//!
//! They are used again rather than freed: the allocator keeps what threads free for each of them,
//! which would come on top of the budget, and fresh memory costs a fault a page. There are never
//! more of them than were in use at the same time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blocks that nobody uses, the one used last on top.
#[derive(Debug, Default)]
pub(super) struct Blocks(Mutex<Vec<Vec<u8>>>);

/// A block in use; dropped, it goes back.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    pool: Arc<Blocks>,
}

impl Blocks {
    /// Bytes of a block: few, so that small content wastes little.
    pub(super) const SIZE: usize = 256 << 10;

    /// Lends an empty block.
    pub(super) fn lend(pool: &Arc<Self>) -> Block {
        let rested = pool.rested().pop();
        let bytes = rested.unwrap_or_else(|| Vec::with_capacity(Self::SIZE));
        Block { bytes, pool: Arc::clone(pool) }
    }

    /// How many nobody uses.
    #[cfg(test)]
    pub(super) fn at_rest(&self) -> usize {
        self.rested().len()
    }

    fn rested(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    /// Bytes that still fit in.
    pub(super) fn room(&self) -> usize {
        Blocks::SIZE - self.bytes.len()
    }

    /// Appends bytes, no more than fit in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room());
        self.bytes.extend_from_slice(bytes);
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.pool.rested().push(bytes);
    }
}
