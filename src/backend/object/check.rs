//! Verification of content against the store's checksum.

use super::Head;
use crate::backend::ReadError;
use crate::model::Cause;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use parking_lot::Mutex;

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;

/// Computes the checksum of content read in order; does nothing if the store has none.
pub(super) struct Check(Option<(u64, Digest)>);

impl Check {
    /// Begins to check an object against the checksum in its head.
    pub(super) fn of(head: &Head) -> Self {
        Self(head.checksum.map(|recorded| (recorded, begin())))
    }

    /// Makes a check that does nothing.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if let Some((_, digest)) = &mut self.0 {
            digest.update(piece);
        }
    }

    /// Checks that the pieces are the whole object as stored.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if they aren't.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        let Some((recorded, digest)) = &self.0 else { return Ok(()) };
        compare(*recorded, digest.finalize())
    }
}

/// Computes the checksum of content whose parts are read concurrently.
pub(super) struct CheckInParts {
    whole: Check,
    /// The number, checksum and length in bytes of each complete part.
    parts: Mutex<Vec<(u64, u64, u64)>>,
}

impl CheckInParts {
    /// Makes a check by parts from one of the whole content.
    pub(super) fn new(whole: Check) -> Self {
        Self { whole, parts: Mutex::default() }
    }

    /// Begins to check a part.
    pub(super) fn part(&self) -> Check {
        Check(self.whole.0.as_ref().map(|(recorded, _)| (*recorded, begin())))
    }

    /// Adds a complete part.
    pub(super) fn add(&self, number: u64, part: &Check, length: u64) {
        if let Some((_, digest)) = &part.0 {
            self.parts.lock().push((number, digest.finalize(), length));
        }
    }

    /// Checks that the parts together are the whole object as stored.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if they aren't.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        let Some((recorded, nothing)) = &self.whole.0 else { return Ok(()) };
        let mut parts = self.parts.lock();
        parts.sort_unstable();
        let found = parts.iter().fold(nothing.finalize(), |before, &(_, part, length)| {
            checksum_combine(ALGORITHM, before, part, length)
        });
        compare(*recorded, found)
    }
}

fn begin() -> Digest {
    Digest::new(ALGORITHM)
}

fn compare(recorded: u64, found: u64) -> Result<(), ReadError> {
    if found == recorded {
        return Ok(());
    }
    Err(ReadError::Damaged(Cause::OtherChecksum { recorded, found }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_give_the_checksum_of_the_whole() {
        let content: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let recorded = crc_fast::checksum(ALGORITHM, &content);
        let check = |damaged: bool, order: &[usize]| {
            let whole = CheckInParts::new(Check(Some((recorded, begin()))));
            let parts: Vec<_> = content.chunks(30_000).collect();
            for &number in order {
                let mut part = whole.part();
                part.take(parts[number]);
                if damaged && number == 1 {
                    part.take(b"x");
                }
                whole.add(number as u64, &part, parts[number].len() as u64);
            }
            whole.end()
        };
        assert!(check(false, &[0, 1, 2, 3]).is_ok());
        assert!(check(false, &[3, 1, 0, 2]).is_ok());
        for wrong in [check(true, &[3, 1, 0, 2]), check(false, &[0, 1, 2]), check(false, &[])] {
            assert!(matches!(wrong, Err(ReadError::Damaged(Cause::OtherChecksum { .. }))));
        }
        let nothing = CheckInParts::new(Check::nothing());
        nothing.add(0, &nothing.part(), 5);
        assert!(nothing.end().is_ok());
    }
}
