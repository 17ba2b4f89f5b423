//! Files to read, ordered by the time since they were last verified, longest first.

use super::tally::{Expected, Job};
use crate::model::{Entry, Stamp, Timestamp};
use crate::spool::{Sorted, Sorter, push_key};
use std::io;
use std::path::Path;

/// In bytes: as much is sorted in memory, the rest on disk.
const MEMORY: usize = 32 << 20;

/// Collects files, in any order.
pub(super) struct Stalest {
    sorter: Sorter,
    files: u64,
    bytes: u64,
}

impl Stalest {
    /// Makes a collection that sorts in `dir` what doesn't fit in memory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { sorter: Sorter::new(dir, MEMORY), files: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, job: &Job) -> io::Result<()> {
        self.files += 1;
        self.bytes += job.entry.stamp.size;
        self.sorter.push(&encode(job))
    }

    /// Ends the collection. Files come in the order in which they were last verified, never
    /// verified ones first, and then by key.
    pub(super) fn finish(self) -> io::Result<SortedJobs> {
        Ok(SortedJobs { sorted: self.sorter.finish()?, files: self.files, bytes: self.bytes })
    }
}

/// Returns files in order.
pub(super) struct SortedJobs {
    sorted: Sorted,
    /// The number of files left.
    pub(super) files: u64,
    /// The bytes of those.
    pub(super) bytes: u64,
}

impl SortedJobs {
    /// Returns the next file, or `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Job>> {
        let Some(record) = self.sorted.next()? else { return Ok(None) };
        let job = decode(record).ok_or(io::ErrorKind::InvalidData)?;
        self.files -= 1;
        self.bytes -= job.entry.stamp.size;
        Ok(Some(job))
    }
}

/// Encodes a file: first the sort key, then the rest, whose lengths are at the end.
pub(super) fn encode(job: &Job) -> Vec<u8> {
    let (entry, stamp) = (job.entry.encode(), job.recorded.encode());
    let key = job.entry.key.as_bytes();
    let mut out = Vec::with_capacity(32 + key.len() + entry.len() + stamp.len());
    out.push(job.verified_at.is_some().into());
    let Timestamp { seconds, nanos } = job.verified_at.unwrap_or_default();
    // An order-preserving encoding of signed numbers.
    out.extend_from_slice(&(seconds ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(&nanos.to_be_bytes());
    push_key(&mut out, key);
    out.extend_from_slice(&stamp);
    out.extend_from_slice(&entry);
    out.extend_from_slice(&(entry.len() as u32).to_le_bytes());
    out.push(stamp.len() as u8);
    out.push(job.is_reported.into());
    out.push(job.is_unsettled.into());
    if let Expected::Sha256(digest) = job.expected {
        out.extend_from_slice(&digest);
    }
    out.push(job.expected.blake3().is_none().into());
    out
}

/// Decodes a record of [`encode`]; returns `None` for anything else.
pub(super) fn decode(record: &[u8]) -> Option<Job> {
    let (&is_sha256, record) = record.split_last()?;
    let (record, sha256) = match is_sha256 {
        0 => (record, None),
        _ => record.split_last_chunk::<32>().map(|(record, digest)| (record, Some(*digest)))?,
    };
    let (&is_unsettled, record) = record.split_last()?;
    let (&is_reported, record) = record.split_last()?;
    let (&stamp_length, record) = record.split_last()?;
    let (record, entry_length) = record.split_last_chunk::<4>()?;
    let at = record.len().checked_sub(u32::from_le_bytes(*entry_length) as usize)?;
    let (record, entry) = record.split_at_checked(at)?;
    let stamp = record.get(record.len().checked_sub(stamp_length.into())?..)?;
    let (&[was_verified], record) = record.split_first_chunk::<1>()?;
    let (seconds, record) = record.split_first_chunk::<8>()?;
    let seconds = i64::from_be_bytes(*seconds) ^ i64::MIN;
    let nanos = u32::from_be_bytes(*record.first_chunk::<4>()?);
    let entry = Entry::decode(entry)?;
    Some(Job {
        expected: match sha256 {
            Some(digest) => Expected::Sha256(digest),
            None => Expected::Blake3(entry.recorded?),
        },
        recorded: Stamp::decode(stamp)?,
        is_reported: is_reported == 1,
        is_unsettled: is_unsettled == 1,
        verified_at: (was_verified == 1).then_some(Timestamp { seconds, nanos }),
        entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Completeness;
    use crate::model::{Digest, ETag, Key, Metadata};
    use proptest::prelude::*;

    fn job(key: Vec<u8>, verified_at: Option<Timestamp>) -> Job {
        let expected = Digest::of(&key);
        let stamp = Stamp::of_object(key.len() as u64, ETag::new(b"new"));
        let entry = Entry {
            stamp,
            completeness: Completeness::ListingOnly,
            recorded: Some(expected),
            ..Entry::new_file(Key::new(key), stamp.size, Metadata::default())
        };
        let recorded = Stamp::of_object(7, ETag::new(b"old"));
        let (is_reported, is_unsettled) = (expected.0[0] > 99, expected.0[2] > 99);
        let expected = match expected.0[1] {
            0..100 => Expected::Blake3(expected),
            _ => Expected::Sha256([7; 32]),
        };
        Job { entry, expected, recorded, verified_at, is_reported, is_unsettled }
    }

    proptest! {
        #[test]
        fn files_come_in_the_order_of_their_verification_then_by_key(
            jobs in prop::collection::vec(
                (
                    prop::collection::vec(prop::sample::select(&b"\0\x01a\xff"[..]), 0..4),
                    prop::option::of((-2..3_i64, 0..2_u32)),
                ),
                0..50,
            ),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut stalest = Stalest::new(dir.path());
            let mut expected: Vec<_> = jobs
                .into_iter()
                .map(|(key, at)| (at.map(|(seconds, nanos)| Timestamp { seconds, nanos }), key))
                .collect();
            for (at, key) in &expected {
                stalest.push(&job(key.clone(), *at)).unwrap();
            }
            expected.sort();
            let mut sorted = stalest.finish().unwrap();
            prop_assert_eq!(sorted.files, expected.len() as u64);
            for (at, key) in expected {
                let found = sorted.next().unwrap().unwrap();
                let wanted = job(key, at);
                prop_assert_eq!(found.entry, wanted.entry);
                prop_assert_eq!(found.verified_at, wanted.verified_at);
                prop_assert_eq!(found.recorded, wanted.recorded);
                prop_assert_eq!(found.is_reported, wanted.is_reported);
                prop_assert_eq!(found.is_unsettled, wanted.is_unsettled);
                prop_assert_eq!(found.expected, wanted.expected);
            }
            prop_assert!(sorted.next().unwrap().is_none());
            prop_assert_eq!((sorted.files, sorted.bytes), (0, 0));
        }
    }
}
