//! Content held against the checksum that its store has of it.

use super::Head;
use crate::backend::ReadError;
use crate::model::Cause;
use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of content that comes piece by piece; nothing is computed where the store has none.
pub(super) struct Check(Option<(u64, Digest)>);

impl Check {
    /// Begins to check an object against what its head says.
    pub(super) fn of(head: &Head) -> Self {
        Self(head.checksum.map(|recorded| (recorded, Digest::new(CrcAlgorithm::Crc64Nvme))))
    }

    /// Begins to check nothing.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if let Some((_, digest)) = &mut self.0 {
            digest.update(piece);
        }
    }

    /// Makes sure that what was taken is the whole object as it is in the store.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when it isn't.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        let Some((recorded, digest)) = &self.0 else { return Ok(()) };
        let (recorded, found) = (*recorded, digest.finalize());
        if found == recorded {
            return Ok(());
        }
        Err(ReadError::Damaged(Cause::OtherChecksum { recorded, found }))
    }
}
