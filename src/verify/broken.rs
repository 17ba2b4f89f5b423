//! Entries that a verification found to be repaired. They are kept until everything was compared,
//! and then come in key order, each once.

use crate::model::{Entry, Key};
use crate::spool::{Sorted, Sorter, push_key, split_key};
use std::io;
use std::path::Path;

/// In bytes: as much stays in memory, the rest goes to disk.
const MEMORY: usize = 4 << 20;

/// An entry to be repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mend {
    /// The entry as it was recorded, with the target's stamp.
    pub(super) right: Entry,
    /// The entry that exists instead, if any.
    pub(super) existing: Option<Entry>,
    /// How it is repaired.
    pub(super) how: How,
}

/// How an entry is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A directory's time differs, which doesn't count as a difference. It is set only if something
    /// in the directory is repaired.
    Time,
    /// The metadata is set.
    Metadata {
        /// Whether the content was read and is the recorded one.
        is_proven: bool,
    },
    /// The entry is made anew.
    Anew {
        /// The number of differences that were reported for it.
        differences: u8,
        /// Whether only a SHA-256 of the content is recorded.
        by_sha256: bool,
    },
}

/// The kinds of records about a key; the last record of a key counts.
const TIME: u8 = 0;
const METADATA: u8 = 1;
const PROOF: u8 = 2;
const ANEW: u8 = 3;

/// Collects entries to be repaired, in any order.
pub(super) struct Broken {
    sorter: io::Result<Sorter>,
}

impl Broken {
    /// Makes a collection that sorts in `dir` what doesn't fit in memory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { sorter: Ok(Sorter::new(dir, MEMORY)) }
    }

    /// Adds an entry to be made anew.
    pub(super) fn anew(
        &mut self,
        right: &Entry,
        existing: Option<&Entry>,
        differences: u8,
        by_sha256: bool,
    ) {
        let mut record = record(&right.key, ANEW);
        record.extend_from_slice(&[differences, by_sha256.into(), existing.is_some().into()]);
        push_entries(&mut record, right, existing.unwrap_or(right));
        self.push(&record);
    }

    /// Adds an entry whose metadata has to be set.
    pub(super) fn metadata(&mut self, right: &Entry, existing: &Entry) {
        let mut record = record(&right.key, METADATA);
        push_entries(&mut record, right, existing);
        self.push(&record);
    }

    /// Adds a directory whose time differs, which doesn't count as a difference.
    pub(super) fn time(&mut self, right: &Entry) {
        let mut record = record(&right.key, TIME);
        record.extend_from_slice(&right.encode());
        self.push(&record);
    }

    /// Records that a file whose metadata has to be set has the recorded content.
    pub(super) fn add_proof(&mut self, key: &Key) {
        self.push(&record(key, PROOF));
    }

    fn push(&mut self, record: &[u8]) {
        if let Ok(sorter) = &mut self.sorter
            && let Err(error) = sorter.push(record)
        {
            self.sorter = Err(error);
        }
    }

    /// Ends the collection; returns the entries.
    pub(super) fn finish(self) -> io::Result<Mends> {
        let mut mends = Mends { sorted: self.sorter?.finish()?, ahead: None };
        mends.advance()?;
        Ok(mends)
    }
}

fn record(key: &Key, what: u8) -> Vec<u8> {
    let mut record = Vec::new();
    push_key(&mut record, key.as_bytes());
    record.push(what);
    record
}

fn push_entries(record: &mut Vec<u8>, right: &Entry, existing: &Entry) {
    let right = right.encode();
    record.extend_from_slice(&(right.len() as u32).to_le_bytes());
    record.extend_from_slice(&right);
    record.extend_from_slice(&existing.encode());
}

fn take_entries(record: &[u8]) -> Option<(Entry, Entry)> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    let (right, existing) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((Entry::decode(right)?, Entry::decode(existing)?))
}

/// Returns the entries in key order.
pub(super) struct Mends {
    sorted: Sorted,
    ahead: Option<(Vec<u8>, u8, Vec<u8>)>,
}

impl Mends {
    /// Returns the next entry, or `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Mend>> {
        loop {
            let Some((key, what, body)) = self.ahead.take() else { return Ok(None) };
            self.advance()?;
            let mut is_proven = false;
            while let Some((_, PROOF, _)) = self.ahead.as_ref().filter(|(next, ..)| *next == key) {
                is_proven = true;
                self.advance()?;
            }
            if self.ahead.as_ref().is_some_and(|(next, ..)| *next == key) {
                continue;
            }
            // A proof for an entry that needs no repair is ignored.
            if what != PROOF {
                return decode(what, &body, is_proven)
                    .ok_or_else(|| io::ErrorKind::InvalidData.into())
                    .map(Some);
            }
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        self.ahead = None;
        let Some(record) = self.sorted.next()? else { return Ok(()) };
        let split = split_key(record).and_then(|(key, rest)| {
            rest.split_first().map(|(&what, body)| (key, what, body.to_vec()))
        });
        self.ahead = Some(split.ok_or(io::ErrorKind::InvalidData)?);
        Ok(())
    }
}

fn decode(what: u8, body: &[u8], is_proven: bool) -> Option<Mend> {
    if what == TIME {
        return Some(Mend { right: Entry::decode(body)?, existing: None, how: How::Time });
    }
    if what == METADATA {
        let (right, existing) = take_entries(body)?;
        return Some(Mend { right, existing: Some(existing), how: How::Metadata { is_proven } });
    }
    let (&[differences, by_sha256, is_there], entries) = body.split_first_chunk::<3>()?;
    let (right, existing) = take_entries(entries)?;
    let how = How::Anew { differences, by_sha256: by_sha256 == 1 };
    Some(Mend { right, existing: (is_there == 1).then_some(existing), how })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, ETag, Metadata, Stamp};

    fn entry(key: &str, tag: &[u8]) -> Entry {
        Entry {
            stamp: Stamp::of_object(7, ETag::new(tag)),
            recorded: Some(Digest([1; 32])),
            ..Entry::new_file(Key::new(key.as_bytes()), 7, Metadata::default())
        }
    }

    #[test]
    fn each_entry_comes_once_in_key_order_with_its_last_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut broken = Broken::new(dir.path());
        let (right, existing) = (|key| entry(key, b"right"), |key| entry(key, b"stands"));
        broken.anew(&right("d/gone"), None, 1, false);
        broken.add_proof(&right("proven").key);
        broken.add_proof(&right("whole").key);
        broken.time(&right("d/"));
        broken.add_proof(&right("z").key);
        for key in ["proven", "z", "unread", "rotten"] {
            broken.metadata(&right(key), &existing(key));
        }
        broken.anew(&right("rotten"), Some(&existing("rotten")), 2, true);
        let mut mends = broken.finish().unwrap();
        let metadata = |key, is_proven| {
            let (right, existing) = (right(key), Some(existing(key)));
            Mend { right, existing, how: How::Metadata { is_proven } }
        };
        let anew = |key, existing, differences, by_sha256| {
            let how = How::Anew { differences, by_sha256 };
            Mend { right: right(key), existing, how }
        };
        let expected = [
            Mend { right: right("d/"), existing: None, how: How::Time },
            anew("d/gone", None, 1, false),
            metadata("proven", true),
            anew("rotten", Some(existing("rotten")), 2, true),
            metadata("unread", false),
            metadata("z", true),
        ];
        for expected in expected {
            assert_eq!(mends.next().unwrap(), Some(expected));
        }
        assert_eq!(mends.next().unwrap(), None);
    }
}
