//! A large object in ranges that several threads read at the same time. Data is passed on as it
//! arrives; nothing is buffered, so ranges can be long.

use super::ObjectReader;
use super::check::{Check, CheckInParts};
use super::object_read::ObjectRead;
use crate::backend::{Facts, Piece, Ranges, ReadError};
use crate::model::{Cause, Entry, EntryKind};
use parking_lot::Mutex;

/// Size of a range in bytes: long enough that the cost of a request doesn't matter, short enough
/// that the last ranges end at about the same time. A power of two, as [`Ranges::length`] requires.
const RANGE: u64 = 16 << 20;
/// Ranges of one object that are read at the same time.
const READERS: u64 = 4;

/// An object that is read in ranges.
pub(super) struct ObjectRanges<'a> {
    object: ObjectRead<'a>,
    readers: usize,
    facts: Facts,
    /// The reply to the first range, which gave the facts, until it is read.
    first: Mutex<Option<Box<dyn ObjectReader>>>,
    check: CheckInParts,
}

impl<'a> ObjectRanges<'a> {
    /// Returns how many ranges are best read at the same time; `None` if the object is better read
    /// with one request.
    pub(super) fn readers(entry: &Entry) -> Option<usize> {
        let ranges = entry.stamp.size.div_ceil(RANGE);
        (ranges > 1 && entry.stamp.tag().is_some()).then_some(ranges.min(READERS) as usize)
    }

    /// Requests the first range; returns `None` if the store ignores ranges.
    pub(super) fn begin(object: ObjectRead<'a>, readers: usize) -> Result<Option<Self>, ReadError> {
        let Some(first) = object.first_range(RANGE)? else { return Ok(None) };
        let facts = object.place.facts(first.head(), EntryKind::File);
        let (first, check) = if object.has_digest(&facts) {
            (Some(first), Check::nothing())
        } else {
            // Replies to ranges don't have the checksum of the whole object, so request its head.
            // Drop the reply first: a thread that holds a request permit must not wait for another.
            drop(first);
            (None, Check::of(&object.head()?))
        };
        let (first, check) = (Mutex::new(first), CheckInParts::new(check));
        Ok(Some(Self { object, readers, facts, first, check }))
    }
}

impl Ranges for ObjectRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        Some(&self.facts)
    }

    fn length(&self) -> u64 {
        RANGE
    }

    fn readers(&self) -> Option<usize> {
        Some(self.readers)
    }

    fn read(
        &self,
        number: u64,
        _buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        let size = self.object.entry.stamp.size;
        let range = number * RANGE..size.min((number + 1) * RANGE);
        let mut first = self.first.lock();
        let begun = if number == 0 { first.take() } else { None };
        drop(first);
        let reader = match begun {
            Some(begun) => begun,
            None => self.object.open(range.clone())?,
        };
        let mut check = self.check.part();
        self.object.stream(reader, &range, &mut |bytes| {
            check.take(bytes);
            take(Piece::Chunk(bytes)).map_err(ReadError::Sink)
        })?;
        self.check.add(number, &check, range.end - range.start);
        Ok(())
    }

    fn keep(&self, offset: u64, piece: Piece<'_>) {
        let (number, size) = (offset / RANGE, self.object.entry.stamp.size);
        let range = number * RANGE..size.min((number + 1) * RANGE);
        self.check.keep(number, range.end - range.start, piece);
    }

    fn end(&self) -> Result<(), ReadError> {
        self.check.end()
    }
}
