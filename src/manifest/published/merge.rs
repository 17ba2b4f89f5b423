//! All rows of a published manifest: its segments merged, of each key what was said last.

use super::damaged;
use super::head::Head;
use super::line::Published;
use super::reader::ManifestReader;
use super::segment::SegmentReader;
use crate::manifest::Row;
use crate::model::{Error, Key, RunId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rows of a published manifest in key order, with the id of the run that each is of.
///
/// Memory is bounded by a row and a window of 8 MiB at most for each segment, of which there are
/// few.
pub struct Merged {
    readers: Vec<SegmentReader>,
    /// What comes next of each segment.
    next: Vec<Option<Published>>,
    /// Segments by the key that comes next; of one key the latest first.
    heap: BinaryHeap<Reverse<(Key, Reverse<usize>)>>,
    /// The publication that wrote the row that came last.
    sequence: u64,
    /// What says how many rows there are, and from which sources.
    head: Head,
    /// How many rows there were so far.
    rows: u64,
    failed: bool,
}

impl Merged {
    /// Reads the segments that make up a publication.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn of(reader: &ManifestReader<'_>, head: &Head) -> Result<Self, Error> {
        let mut readers = Vec::with_capacity(head.segments.len());
        for segment in &head.segments {
            readers.push(SegmentReader::new(segment, reader.segment(segment)?)?);
        }
        Self::from(readers, head.clone())
    }

    /// The same rows from the first, read from what was fetched for these.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn again(&self) -> Result<Self, Error> {
        let readers = self.readers.iter().map(SegmentReader::again);
        Self::from(readers.collect::<Result<_, _>>()?, self.head.clone())
    }

    fn from(readers: Vec<SegmentReader>, head: Head) -> Result<Self, Error> {
        let next = readers.iter().map(|_| None).collect();
        let mut merged = Self {
            readers,
            next,
            heap: BinaryHeap::new(),
            sequence: 0,
            head,
            rows: 0,
            failed: false,
        };
        for at in 0..merged.readers.len() {
            merged.advance(at)?;
        }
        Ok(merged)
    }

    fn advance(&mut self, at: usize) -> Result<(), Error> {
        self.next[at] = self.readers[at].next()?;
        if let Some(published) = &self.next[at] {
            self.heap.push(Reverse((published.key.clone(), Reverse(at))));
        }
        Ok(())
    }

    /// The next row, with the publication that wrote it; never a key that was removed. After an error,
    /// nothing: that the rows ended is then not known.
    pub fn next_published(&mut self) -> Option<Result<Published, Error>> {
        let next = self.next()?;
        Some(next.map(|(row, run)| Published {
            key: row.key.clone(),
            sequence: self.sequence,
            row: Some((row, run)),
        }))
    }

    fn row(&mut self) -> Result<Option<(Row, RunId)>, Error> {
        while let Some(Reverse((key, Reverse(latest)))) = self.heap.pop() {
            let published = self.next[latest].take();
            self.advance(latest)?;
            while let Some(Reverse((other, Reverse(at)))) = self.heap.peek()
                && *other == key
            {
                let at = *at;
                self.heap.pop();
                self.advance(at)?;
            }
            if let Some(Published { sequence, row: Some(row), .. }) = published {
                if !self.head.has_source(row.0.from) {
                    let how = format!("it lacks source {}, which a row is from", row.0.from.0);
                    return Err(damaged("its head", how));
                }
                self.sequence = sequence;
                self.rows += 1;
                return Ok(Some(row));
            }
        }
        match (self.rows, self.head.rows) {
            (found, rows) if found == rows => Ok(None),
            (found, rows) => Err(damaged("its head", format!("it has {found} rows, not {rows}"))),
        }
    }
}

impl Iterator for Merged {
    type Item = Result<(Row, RunId), Error>;

    /// The next row. After an error, nothing: that the rows ended is then not known.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.row().transpose();
        self.failed = matches!(row, Some(Err(_)));
        row
    }
}
