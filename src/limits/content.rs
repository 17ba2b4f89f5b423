//! Content in memory, in blocks that its budget lends and takes back.

use super::blocks::{Block, Blocks};
use bytes::Bytes;
use std::sync::Arc;

/// Content that grows at its end, up to what its permit allows.
#[derive(Debug)]
pub struct Content {
    pool: Arc<Blocks>,
    /// All but the last are full.
    blocks: Vec<Block>,
    length: usize,
}

impl Content {
    /// Bytes of a block: few, so that small content wastes little.
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

    /// Bytes that it has.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Drops what it has; its blocks go back.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.length = 0;
    }

    /// What it has, a block at a time.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(AsRef::as_ref)
    }

    /// Gives what it has away, a block at a time; each goes back once its piece is dropped.
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
    fn content_is_what_was_pushed_whatever_the_chunks() {
        let memory = Memory::new(4 << 20);
        let pattern: Vec<u8> = (0..3 * BLOCK + 7).map(|at| (at % 251) as u8).collect();
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
    fn blocks_are_used_again_also_those_that_were_sent() {
        let memory = Memory::new(4 << 20);
        let held = |count: usize| {
            let mut content = memory.take(1 << 20, &|| false).unwrap().content();
            content.push(&vec![1; count * BLOCK]);
            content
        };
        drop(held(2));
        assert_eq!(memory.blocks_at_rest(), 2);
        let sent: Vec<_> = held(3).into_pieces().collect();
        assert_eq!(memory.blocks_at_rest(), 0);
        let again = sent.clone();
        drop(sent);
        assert_eq!(memory.blocks_at_rest(), 0);
        drop(again);
        assert_eq!(memory.blocks_at_rest(), 3);
        assert!(held(1).pieces().next().unwrap().iter().all(|&byte| byte == 1));
    }
}
