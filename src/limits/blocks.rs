//! A pool of the memory blocks that hold content.
//!
//! Blocks are reused rather than freed: the allocator caches freed memory for each thread, which
//! would add to the memory budget, and fresh memory costs one page fault a page. The pool never
//! holds more blocks than were in use at the same time.

use parking_lot::Mutex;
use std::sync::Arc;

/// The free blocks, the most recently used one on top.
#[derive(Debug, Default)]
pub(super) struct Blocks(Mutex<Vec<Vec<u8>>>);

/// A block in use; dropping it returns it to the pool.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    pool: Arc<Blocks>,
}

impl Blocks {
    /// Size of a block in bytes: small, so that small content wastes little.
    pub(super) const SIZE: usize = 256 << 10;

    /// Takes an empty block from the pool, or allocates one.
    pub(super) fn lend(pool: &Arc<Self>) -> Block {
        let free = pool.0.lock().pop();
        let bytes = free.unwrap_or_else(|| Vec::with_capacity(Self::SIZE));
        Block { bytes, pool: Arc::clone(pool) }
    }

    /// Returns the number of free blocks.
    #[cfg(test)]
    pub(super) fn free_count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Block {
    /// Returns the bytes that still fit in.
    pub(super) fn room(&self) -> usize {
        Blocks::SIZE - self.bytes.len()
    }

    /// Appends bytes, at most [`room`](Self::room).
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
        self.pool.0.lock().push(bytes);
    }
}
