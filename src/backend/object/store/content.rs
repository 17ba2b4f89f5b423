//! Types for one object: its head, its content, and conditions on it.

use super::super::error::StoreError;
use crate::backend::Headers;
use crate::model::{ETag, Timestamp};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The head of an object: everything but its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: Option<ETag>,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// The headers kept with the object.
    pub headers: Headers,
    /// The version id, in a bucket with versioning.
    pub version: Option<String>,
    /// The CRC-64/NVME of the whole content, if it was requested and the store has it.
    pub checksum: Option<u64>,
}

/// The condition of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// No condition.
    None,
    /// The key has no object (`If-None-Match: *`).
    Absent,
    /// The object at the key has this tag (`If-Match`).
    Matches(&'a ETag),
}

/// What to read of an object.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The entity tag that the object must have.
    pub version: Option<&'a ETag>,
    /// The size as listed, for a store that doesn't report it with the content.
    pub size: Option<u64>,
    /// The range to read, which must not be empty; `None` for the whole object.
    pub range: Option<Range<u64>>,
}

/// Reads an object's content, or a range of it, as it arrives.
///
/// It uses a connection until it is dropped.
pub trait ObjectReader: Send {
    /// Returns the object's head. The checksum is present only if the whole object is read.
    fn head(&self) -> &Head;

    /// Waits for the next piece of content; `None` at the end.
    ///
    /// # Errors
    /// Fails if the content can't be read to its end; the pieces before are valid.
    fn read(&mut self) -> Result<Option<Bytes>, StoreError>;
}

/// The source of a server-side copy.
#[derive(Clone, Copy, Debug)]
pub struct CopySource<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key in the bucket.
    pub key: &'a [u8],
    /// The entity tag that the object must have.
    pub version: Option<&'a ETag>,
}

/// An object that a request wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenObject {
    /// The entity tag, if the store assigned one.
    pub etag: Option<ETag>,
}

impl From<Head> for WrittenObject {
    fn from(head: Head) -> Self {
        Self { etag: head.etag }
    }
}

/// Checks whether a write whose reply was lost was carried out, and returns the object if so.
pub type LookForWritten<'a> = &'a dyn Fn() -> Result<Option<WrittenObject>, StoreError>;

/// The body of a request: pieces of bytes in order. Clones share them.
#[derive(Clone, Debug)]
pub struct Body(Arc<[Bytes]>);

impl Body {
    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// Returns the pieces; none is empty if the body was made of whole [`Bytes`].
    pub fn pieces(&self) -> &[Bytes] {
        &self.0
    }
}

impl Default for Body {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        [bytes].into_iter().filter(|bytes| !bytes.is_empty()).collect()
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<T: IntoIterator<Item = Bytes>>(pieces: T) -> Self {
        Self(pieces.into_iter().collect())
    }
}
