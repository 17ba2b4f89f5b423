//! Reading one version of an object, with further requests that resume where one broke off.

use super::cause::cause;
use super::check::Check;
use super::prefix::BucketPrefix;
use super::{Head, ObjectReader, StoreError, StoreErrorKind, Wanted};
use crate::backend::{Facts, Piece, ReadError, Reading, Sink};
use crate::model::{Cause, ETag, Entry, EntryKind};
use bytes::Bytes;
use std::ops::Range;

/// How often a read is resumed.
const RESUMES: u32 = 5;

/// An object that is read completely.
pub(super) struct ObjectRead<'a> {
    pub(super) place: &'a BucketPrefix,
    pub(super) entry: &'a Entry,
    key: Vec<u8>,
    pub(super) tag: Option<ETag>,
}

impl<'a> ObjectRead<'a> {
    /// Prepares to read the listed version of an entry.
    pub(super) fn new(place: &'a BucketPrefix, entry: &'a Entry) -> Result<Self, ReadError> {
        let key = place.object_key(&entry.key).map_err(ReadError::Source)?;
        Ok(Self { place, entry, key, tag: entry.stamp.tag() })
    }

    /// Reads the object with one request, and if that breaks off, resumes it with another.
    pub(super) fn read_sequentially(
        &self,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), ReadError> {
        let size = self.entry.stamp.size;
        let (mut done, mut filled, mut resumes) = (0, 0, 0);
        let mut check = Check::nothing();
        loop {
            let range = (done > 0).then_some(done..size);
            let mut reader = self.get(range)?;
            self.check(reader.head())?;
            if done == 0 {
                let facts = self.place.facts(reader.head(), EntryKind::File);
                if !self.has_digest(&facts) {
                    check = Check::of(reader.head());
                }
                sink(Reading::Facts(Box::new(facts))).map_err(ReadError::Sink)?;
            }
            loop {
                let bytes = match reader.read() {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(error)
                        if resumes < RESUMES && is_transient(&error) && self.tag.is_some() =>
                    {
                        resumes += 1;
                        break;
                    }
                    Err(error) => return Err(read_error(error)),
                };
                done += bytes.len() as u64;
                if done > size {
                    return Err(ReadError::Changed);
                }
                check.take(&bytes);
                if done == size {
                    // Checked before the last piece is passed on, so that a small file is correct
                    // or not written.
                    check.end()?;
                }
                if filled == 0 && bytes.len() as u64 == size && bytes.len() <= buffer.len() {
                    sink(Reading::Content(Piece::Chunk(&bytes))).map_err(ReadError::Sink)?;
                    continue;
                }
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let fits = rest.len().min(buffer.len() - filled);
                    buffer[filled..filled + fits].copy_from_slice(&rest[..fits]);
                    filled += fits;
                    rest = &rest[fits..];
                    if filled == buffer.len() {
                        sink(Reading::Content(Piece::Chunk(buffer))).map_err(ReadError::Sink)?;
                        filled = 0;
                    }
                }
            }
            if done == size {
                if filled > 0 || size == 0 {
                    check.end()?;
                    sink(Reading::Content(Piece::Chunk(&buffer[..filled])))
                        .map_err(ReadError::Sink)?;
                }
                return Ok(());
            }
            if resumes == 0 {
                // The reply was complete, so the object is shorter than listed.
                return Err(ReadError::Changed);
            }
        }
    }

    /// Returns whether a digest is known against which the receiver verifies the content.
    pub(super) fn has_digest(&self, facts: &Facts) -> bool {
        self.entry.recorded.or(facts.digest).is_some()
    }

    /// Requests the object's head, with its checksum if the store has one.
    pub(super) fn head(&self) -> Result<Head, ReadError> {
        use StoreErrorKind as Kind;
        let head = match self.place.store.head_with_checksum(&self.key) {
            Err(error) if matches!(error.kind, Kind::Unsupported | Kind::Other) => {
                self.place.store.head(&self.key)
            }
            head => head,
        };
        let head = head.map_err(read_error)?.ok_or(ReadError::Source(Cause::Vanished))?;
        self.check(&head)?;
        Ok(head)
    }

    /// Begins to read the first of several ranges; returns `None` if the store ignores ranges and
    /// would send the whole object for each.
    pub(super) fn first_range(
        &self,
        length: u64,
    ) -> Result<Option<Box<dyn ObjectReader>>, ReadError> {
        let store = &self.place.store;
        if !store.capabilities().reads_ranges {
            return Ok(None);
        }
        let first = self.open(0..length)?;
        Ok(store.capabilities().reads_ranges.then_some(first))
    }

    /// Begins to read a range of the object.
    pub(super) fn open(&self, range: Range<u64>) -> Result<Box<dyn ObjectReader>, ReadError> {
        let reader = self.get(Some(range))?;
        self.check(reader.head())?;
        Ok(reader)
    }

    /// Reads a range to its end, and resumes it with further requests.
    pub(super) fn stream(
        &self,
        mut reader: Box<dyn ObjectReader>,
        range: &Range<u64>,
        take: &mut dyn FnMut(&Bytes) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let (mut at, mut resumes) = (range.start, 0);
        loop {
            match reader.read() {
                Ok(Some(bytes)) => {
                    at += bytes.len() as u64;
                    if at > range.end {
                        return Err(ReadError::Changed);
                    }
                    take(&bytes)?;
                }
                Ok(None) if at == range.end => return Ok(()),
                Ok(None) => return Err(ReadError::Changed),
                Err(error) if resumes < RESUMES && is_transient(&error) => {
                    resumes += 1;
                    reader = self.open(at..range.end)?;
                }
                Err(error) => return Err(read_error(error)),
            }
        }
    }

    fn get(&self, range: Option<Range<u64>>) -> Result<Box<dyn ObjectReader>, ReadError> {
        let (version, size) = (self.tag.as_ref(), Some(self.entry.stamp.size));
        let wanted = Wanted { version, size, range };
        self.place.store.get(&self.key, &wanted).map_err(read_error)
    }

    /// Checks that this is the listed version, because not every store respects `If-Match`.
    fn check(&self, head: &Head) -> Result<(), ReadError> {
        let is_tag = self.tag.is_none() || head.etag.is_none() || head.etag == self.tag;
        if head.size == self.entry.stamp.size && is_tag { Ok(()) } else { Err(ReadError::Changed) }
    }
}

/// Returns whether another request may succeed in reading the rest.
fn is_transient(error: &StoreError) -> bool {
    use StoreErrorKind as Kind;
    matches!(error.kind, Kind::Network | Kind::Unavailable | Kind::Corrupt | Kind::BadReply)
}

#[expect(clippy::needless_pass_by_value, reason = "results are mapped by it")]
fn read_error(error: StoreError) -> ReadError {
    match error.kind {
        StoreErrorKind::PreconditionFailed => ReadError::Changed,
        _ => ReadError::Source(cause(&error)),
    }
}
