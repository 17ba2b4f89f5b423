//! Verification of content against the store's checksum.

use super::Head;
use crate::backend::{Piece, ReadError};
use crate::model::Cause;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use parking_lot::Mutex;
use std::collections::BTreeMap;

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
    /// The checksum and length in bytes of each complete part, by its number.
    parts: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// The parts that are taken from a copy, by their numbers.
    kept: Mutex<BTreeMap<u64, Kept>>,
}

/// A part that is taken from a copy.
struct Kept {
    check: Check,
    /// How many bytes of it were taken.
    bytes: u64,
}

impl CheckInParts {
    /// Makes a check by parts from one of the whole content.
    pub(super) fn new(whole: Check) -> Self {
        Self { whole, parts: Mutex::default(), kept: Mutex::default() }
    }

    /// Begins to check a part.
    pub(super) fn part(&self) -> Check {
        Check(self.whole.0.as_ref().map(|(recorded, _)| (*recorded, begin())))
    }

    /// Adds a complete part, in place of an earlier one of this number.
    pub(super) fn add(&self, number: u64, part: &Check, length: u64) {
        if let Some((_, digest)) = &part.0 {
            self.parts.lock().insert(number, (digest.finalize(), length));
        }
    }

    /// Takes the next piece of part `number`, of `length` bytes, from a copy of it.
    pub(super) fn keep(&self, number: u64, length: u64, piece: Piece<'_>) {
        if self.whole.0.is_none() {
            return;
        }
        let kept = self.kept.lock().remove(&number);
        let mut kept = kept.unwrap_or_else(|| Kept { check: self.part(), bytes: 0 });
        kept.bytes += piece.size();
        let taken = piece.bytes(&mut |bytes| {
            kept.check.take(bytes);
            Ok(())
        });
        debug_assert!(taken.is_ok(), "a checksum takes all bytes");
        if kept.bytes == length {
            self.add(number, &kept.check, length);
        } else {
            self.kept.lock().insert(number, kept);
        }
    }

    /// Checks that the parts together are the whole object as stored.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if they aren't.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        let Some((recorded, nothing)) = &self.whole.0 else { return Ok(()) };
        let parts = self.parts.lock();
        let found = parts.values().fold(nothing.finalize(), |before, &(part, length)| {
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
        // What a stopped run read counts from its copy, unless it is read again.
        let kept = CheckInParts::new(Check(Some((recorded, begin()))));
        let parts: Vec<_> = content.chunks(30_000).collect();
        for (piece, number) in parts[1].chunks(7_000).zip([1; 5]) {
            kept.keep(number, 30_000, Piece::Chunk(piece));
        }
        kept.keep(2, 30_000, Piece::Hole(30_000));
        for number in [0, 2, 3] {
            let mut part = kept.part();
            part.take(parts[number]);
            kept.add(number as u64, &part, parts[number].len() as u64);
        }
        assert!(kept.end().is_ok());
        let nothing = CheckInParts::new(Check::nothing());
        nothing.keep(0, 5, Piece::Hole(5));
        nothing.add(0, &nothing.part(), 5);
        assert!(nothing.end().is_ok());
    }
}
