//! A file that is replaced atomically: until the new one is published, durably, the old one
//! remains.

use crate::backend::{Precondition, Stage, Target};
use crate::model::{Cause, Digest, Entry, EntryKind, Key, Metadata};

/// A file being written. If dropped before it is published, it is removed.
pub(super) struct AtomicFile<'t> {
    target: &'t dyn Target,
    stage: Box<dyn Stage>,
    hasher: blake3::Hasher,
    metadata: Metadata,
}

impl<'t> AtomicFile<'t> {
    /// Begins to write a file that will have this metadata.
    pub(super) fn begin(
        target: &'t dyn Target,
        key: Key,
        place: Precondition,
        metadata: Metadata,
    ) -> Result<Self, Cause> {
        let stage = target.stage_stream(&Entry::new_file(key, 0, metadata), place)?;
        Ok(Self { target, stage, hasher: blake3::Hasher::new(), metadata })
    }

    /// Appends a chunk.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        self.hasher.update(chunk);
        self.stage.write(chunk)
    }

    /// Publishes the file durably.
    pub(super) fn publish(self) -> Result<(), Cause> {
        let wanted = self.target.achievable_metadata(&self.metadata, EntryKind::File, None);
        let mut staged =
            self.stage.finish(&(&wanted).into(), &Digest::from(self.hasher.finalize()))?;
        // If its mode or owner can't be set, it still is the right file.
        staged.publish()?;
        if self.target.capabilities().needs_barrier {
            self.target.barrier()?;
        }
        Ok(())
    }
}
