//! A file that is written whole or not at all: until it is published, and durable then, its place has
//! what it had.

use crate::backend::{Precondition, Stage, Target};
use crate::model::{Cause, Digest, Entry, EntryKind, Key, Metadata};

/// A file under way. Dropped unpublished, it is removed.
pub(super) struct AtomicFile<'t> {
    target: &'t dyn Target,
    stage: Box<dyn Stage>,
    hasher: blake3::Hasher,
    metadata: Metadata,
}

impl<'t> AtomicFile<'t> {
    /// Begins a file that is to have this metadata.
    pub(super) fn begin(
        target: &'t dyn Target,
        key: Key,
        place: Precondition,
        metadata: Metadata,
    ) -> Result<Self, Cause> {
        let stage = target.stage_stream(&Entry::new_file(key, 0, metadata), place)?;
        Ok(Self { target, stage, hasher: blake3::Hasher::new(), metadata })
    }

    /// Writes what comes next.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        self.hasher.update(chunk);
        self.stage.write(chunk)
    }

    /// Puts it in its place, durably.
    pub(super) fn publish(self) -> Result<(), Cause> {
        let wanted = self.target.achievable_metadata(&self.metadata, EntryKind::File, None);
        let mut staged = self.stage.finish(&wanted, &Digest::from(self.hasher.finalize()))?;
        // Whether it got its mode and owner makes it no other file.
        staged.publish()?;
        if self.target.capabilities().needs_barrier {
            self.target.barrier()?;
        }
        Ok(())
    }
}
