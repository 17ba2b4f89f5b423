//! One object: what is told of it, what it is written from, and how it is read.

use super::super::error::StoreError;
use crate::backend::Headers;
use crate::model::{ETag, Timestamp};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// An object as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// Its entity tag.
    pub etag: Option<ETag>,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// What is kept with it.
    pub headers: Headers,
    /// Its version, in a bucket that keeps versions.
    pub version: Option<String>,
    /// The CRC-64/NVME of all of its content, where that was asked for and the store keeps it.
    pub checksum: Option<u64>,
}

/// On what a change depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    /// On nothing.
    None,
    /// No object has the key (`If-None-Match: *`).
    Absent,
    /// The object at the key is this one (`If-Match`).
    Matches(&'a ETag),
}

/// What is wanted of an object.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The entity tag that it must have.
    pub version: Option<&'a ETag>,
    /// Its bytes as a listing told them, for a store that doesn't tell them with the content.
    pub size: Option<u64>,
    /// The part that is wanted, which is not empty; all of it where there is none.
    pub range: Option<Range<u64>>,
}

/// An object's content, or a range of it, as it comes.
///
/// It holds a connection until it is dropped.
pub trait ObjectReader: Send {
    /// The object's head. Its checksum comes with a whole object only.
    fn head(&self) -> &Head;

    /// Waits for the next piece of the content; `None` once all of it has come.
    ///
    /// # Errors
    /// When the content can't be read to its end; what has come is as it should be.
    fn read(&mut self) -> Result<Option<Bytes>, StoreError>;
}

/// Where content is copied from, within the store.
#[derive(Clone, Copy, Debug)]
pub struct CopySource<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key in it.
    pub key: &'a [u8],
    /// The entity tag that the object must have.
    pub version: Option<&'a ETag>,
}

/// An object that a request wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenObject {
    /// Its entity tag, if the store gave it one.
    pub etag: Option<ETag>,
}

impl From<Head> for WrittenObject {
    fn from(head: Head) -> Self {
        Self { etag: head.etag }
    }
}

/// Looks whether a write was carried out whose reply was lost; what it wrote, if so.
pub type LookForWritten<'a> = &'a dyn Fn() -> Result<Option<WrittenObject>, StoreError>;

/// What a request carries: bytes in pieces, one behind the other. A clone shares them.
#[derive(Clone, Debug)]
pub struct Body(Arc<[Bytes]>);

impl Body {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// The bytes; no piece is empty where it was made of whole [`Bytes`].
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
