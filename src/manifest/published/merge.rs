//! All rows of a published manifest: its segments merged, with the last row of each key.

use super::damaged;
use super::head::Head;
use super::line::Published;
use super::reader::ManifestReader;
use super::segment::SegmentReader;
use crate::manifest::Row;
use crate::model::{Error, Key, RunId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rows of a published manifest in key order, each with the id of its run.
///
/// Memory is bounded by one row and a window of at most 8 MiB for each of at most 32 segments.
pub struct Merged {
    readers: Vec<SegmentReader>,
    /// The next row of each segment.
    next: Vec<Option<Published>>,
    /// Segments by their next key; for equal keys the latest segment first.
    heap: BinaryHeap<Reverse<(Key, Reverse<usize>)>>,
    /// The publication that wrote the last returned row.
    sequence: u64,
    /// The head, which has the number of rows and their sources.
    head: Head,
    /// The number of rows returned so far.
    rows: u64,
    failed: bool,
}

impl Merged {
    /// Opens the segments of a publication.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn of(reader: &ManifestReader<'_>, head: &Head) -> Result<Self, Error> {
        let mut readers = Vec::with_capacity(head.segments.len());
        for segment in &head.segments {
            readers.push(SegmentReader::new(segment, reader.segment(segment)?)?);
        }
        Self::from(readers, head.clone())
    }

    /// Returns the same rows from the first, using the files already fetched.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
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

    /// Returns the next row with the publication that wrote it, skipping removed keys; nothing
    /// after an error, because the end is then unknown.
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

    /// Returns the next row; nothing after an error, because the end is then unknown.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.row().transpose();
        self.failed = matches!(row, Some(Err(_)));
        row
    }
}
