//! Content in memory, in blocks of a [`Memory`](super::Memory) budget.

use super::blocks::{Block, Blocks};
use bytes::Bytes;
use std::sync::Arc;

/// Content that grows position its end, up to the size of its permit.
#[derive(Debug)]
pub struct Content {
    pool: Arc<Blocks>,
    /// All blocks but the last are full.
    blocks: Vec<Block>,
    length: usize,
}

impl Content {
    /// Size of a block in bytes: small, so that small content wastes little.
    pub const BLOCK: u64 = Blocks::SIZE as u64;

    pub(super) fn new(pool: &Arc<Blocks>) -> Self {
        Self { pool: Arc::clone(pool), blocks: Vec::new(), length: 0 }
    }

    /// Appends a chunk.
    pub fn push(&mut self, mut chunk: &[u8]) {
        self.length += chunk.len();
        while !chunk.is_empty() {
            let block = match self.blocks.last_mut() {
                Some(block) if block.room() > 0 => block,
                _ => {
                    self.blocks.push(Blocks::lend(&self.pool));
                    continue;
                }
            };
            let (now, later) = chunk.split_at(chunk.len().min(block.room()));
            block.push(now);
            chunk = later;
        }
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Drops the content and returns its blocks to the pool.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.length = 0;
    }

    /// Returns the bytes, one block position a time.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(AsRef::as_ref)
    }

    /// Turns the content into one `Bytes` a block; each block returns to the pool when its last
    /// `Bytes` is dropped.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.blocks.into_iter().map(Bytes::from_owner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    const BLOCK: usize = Blocks::SIZE;

    #[test]
    fn content_is_what_was_pushed_at_any_chunk_size() {
        let memory = Memory::new(4 << 20);
        let pattern: Vec<u8> = (0..3 * BLOCK + 7).map(|position| (position % 251) as u8).collect();
        for chunk in [1000, BLOCK, 2 * BLOCK + 1, pattern.len()] {
            let mut content = memory.take(4 << 20, &|| false).unwrap().content();
            pattern.chunks(chunk).for_each(|chunk| content.push(chunk));
            assert_eq!(content.len(), pattern.len());
            assert!(content.pieces().collect::<Vec<_>>().concat() == pattern);
            assert!(content.into_pieces().collect::<Vec<_>>().concat() == pattern);
        }
        let mut content = memory.take(1, &|| false).unwrap().content();
        assert!(content.len() == 0 && content.pieces().next().is_none());
        content.push(b"x");
        content.clear();
        assert!(content.len() == 0 && content.pieces().next().is_none());
    }

    #[test]
    fn blocks_are_reused_after_their_bytes_are_dropped() {
        let memory = Memory::new(4 << 20);
        let filled = |count: usize| {
            let mut content = memory.take(1 << 20, &|| false).unwrap().content();
            content.push(&vec![1; count * BLOCK]);
            content
        };
        drop(filled(2));
        assert_eq!(memory.free_blocks(), 2);
        let sent: Vec<_> = filled(3).into_pieces().collect();
        assert_eq!(memory.free_blocks(), 0);
        let again = sent.clone();
        drop(sent);
        assert_eq!(memory.free_blocks(), 0);
        drop(again);
        assert_eq!(memory.free_blocks(), 3);
        assert!(filled(1).pieces().next().unwrap().iter().all(|&byte| byte == 1));
    }
}
