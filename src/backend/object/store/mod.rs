//! The interface to object stores.
//!
//! [`Store`] is one bucket of a store of any protocol. `listing`, `content` and `upload` have the
//! types for its requests and replies.

mod content;
mod listing;
mod upload;

pub use content::{
    Body, Condition, CopySource, Head, LookForWritten, ObjectReader, Wanted, WrittenObject,
};
pub use listing::{ListQuery, Listed, Page};
pub use upload::{CompletedPart, PartTag, PartsPage, UploadId, UploadedPart};

use super::error::StoreError;
use crate::backend::Headers;
use crate::limits::Began;
use crate::model::{ETag, RequestKind, Stop};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// One bucket of a store.
///
/// Keys are bytes, and each is a separate object: `./x`, `a//b` and `/a` are not normalised. All
/// methods block. One call is one logical request, which the client retries as long as that makes
/// sense. Errors don't name the key, which the caller knows.
///
/// A request whose reply was lost may have been carried out: see [`StoreError::maybe_done`].
pub trait Store: Send + Sync {
    /// Returns the identity of the bucket.
    fn id(&self) -> &BucketId;

    /// Returns what the store can do, and its limits, as far as known so far.
    fn capabilities(&self) -> StoreCapabilities;

    /// Returns by whom requests are made.
    fn requester(&self) -> Requester;

    /// Returns the same bucket for requests that another stop request ends: for cleaning up when
    /// the run is stopped.
    fn stopped_by(&self, stop: Stop) -> Arc<dyn Store>;

    /// Returns the same bucket for requests with other limits.
    fn limited_by(&self, limits: Arc<dyn RequestLimits>) -> Arc<dyn Store>;

    /// Returns the same bucket for requests that are sent at most `tries` times, for callers to
    /// whom a failure is an answer.
    fn trying(&self, tries: u32) -> Arc<dyn Store>;

    /// Requests one page of a listing.
    ///
    /// A key or prefix that occurs twice in a row with the same attributes counts once.
    ///
    /// # Errors
    /// `BadReply` for anything doubtful in a page: what isn't understood is not taken for absent.
    fn list(&self, query: &ListQuery<'_>) -> Result<Page, StoreError>;

    /// Requests an object's head; returns `None` if there is no object (here a store may not
    /// distinguish a missing object from a missing bucket).
    ///
    /// # Errors
    /// Fails if the request fails or is refused.
    fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError>;

    /// Requests an object's head with the checksum of its content, if the store has one.
    ///
    /// # Errors
    /// As [`Store::head`]; `Unsupported` or `Other` may mean that the checksum can't be requested.
    fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError>;

    /// Requests the size in bytes of the first part of an object as it was uploaded; `None` if
    /// there is no object. A store that doesn't know parts reports the size of the whole object.
    ///
    /// # Errors
    /// Fails if the request fails or is refused.
    fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError>;

    /// Begins to read an object, or a range of it.
    ///
    /// A range beyond the object's end stops there. If a store ignores the range, bytes outside it
    /// are dropped here, and [`StoreCapabilities::reads_ranges`] is false from then on.
    ///
    /// # Errors
    /// `PreconditionFailed` if the object is not the wanted version. Also fails if neither the
    /// reply, nor `wanted`, nor a further request gives its length.
    fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// Writes a whole object, and returns its tag if the store assigns one.
    ///
    /// # Errors
    /// `PreconditionFailed` with [`StoreError::maybe_done`] may mean that an earlier try of this
    /// call succeeded: check the object.
    fn put(
        &self,
        key: &[u8],
        body: Body,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Copies an object of up to [`StoreCapabilities::largest_copy`] bytes within the store.
    /// `replace` gives the copy other headers than the source's. `condition` applies to the object
    /// at `key`. A store may take minutes; if a reply is lost, `look` is called before the request
    /// is sent again.
    ///
    /// # Errors
    /// `PreconditionFailed` also if the source is not the given version. With
    /// [`StoreError::maybe_done`], see [`Store::put`].
    fn copy(
        &self,
        from: &CopySource<'_>,
        key: &[u8],
        replace: Option<&Headers>,
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Deletes an object; a missing one counts as deleted.
    ///
    /// # Errors
    /// `PreconditionFailed` if the object is not the expected one.
    fn delete(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError>;

    /// Deletes up to [`StoreCapabilities::delete_batch`] objects, and returns those that could not
    /// be deleted.
    ///
    /// # Errors
    /// Fails if the whole request fails; any of the objects may have been deleted.
    fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<NotDeleted>, StoreError>;

    /// Begins a multipart upload.
    ///
    /// # Errors
    /// With [`StoreError::maybe_done`], an upload of unknown id may have begun.
    fn create_upload(&self, key: &[u8], headers: &Headers) -> Result<UploadId, StoreError>;

    /// Uploads a part; part numbers are 1 to [`StoreCapabilities::most_parts`].
    ///
    /// # Errors
    /// `NoSuchUpload` if the upload is gone.
    fn upload_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        body: Body,
    ) -> Result<PartTag, StoreError>;

    /// Makes a part from a range of another object, within the store.
    ///
    /// # Errors
    /// `PreconditionFailed` if the source is not the given version.
    fn upload_part_copy(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        from: &CopySource<'_>,
        range: Range<u64>,
    ) -> Result<PartTag, StoreError>;

    /// Lists the parts of an upload after a number (0 for all).
    ///
    /// # Errors
    /// `NoSuchUpload` if the upload is gone.
    fn list_parts(
        &self,
        key: &[u8],
        upload: &UploadId,
        after: u16,
    ) -> Result<PartsPage, StoreError>;

    /// Completes an upload: its parts become the object. A store may take minutes; if a reply is
    /// lost, `look` is called before the request is sent again.
    ///
    /// # Errors
    /// `LostReply` if the upload existed when this call began and is gone: the object has to be
    /// looked up.
    fn complete_upload(
        &self,
        key: &[u8],
        upload: &UploadId,
        parts: &[CompletedPart],
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Aborts an upload; a missing one counts as aborted.
    ///
    /// # Errors
    /// Fails if the request fails or is refused.
    fn abort_upload(&self, key: &[u8], upload: &UploadId) -> Result<(), StoreError>;
}

/// A key whose object could not be deleted, and the error.
pub type NotDeleted = (Box<[u8]>, StoreError);

/// What a store can do, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCapabilities {
    /// The longest key that it accepts, in bytes.
    pub longest_key: usize,
    /// Most objects that one request can delete.
    pub delete_batch: usize,
    /// The largest object that one copy takes, in bytes; a larger one is copied in parts.
    pub largest_copy: u64,
    /// Most parts of an upload.
    pub most_parts: u16,
    /// Whether ranges of an object can be read; false once the store was seen to send the whole
    /// object.
    pub reads_ranges: bool,
}

/// The identity of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketId {
    /// The scheme of its URL.
    pub scheme: &'static str,
    /// The store's address; `None` if the scheme implies it.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
}

impl BucketId {
    /// Returns whether both are the same bucket, whatever the region that requests are signed for.
    pub fn is_same_bucket(&self, other: &Self) -> bool {
        self.bucket == other.bucket && self.is_same_service(other)
    }

    /// Returns whether both buckets are in the same store, which can copy between them.
    pub fn is_same_store(&self, other: &Self) -> bool {
        self.region == other.region && self.is_same_service(other)
    }

    fn is_same_service(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.endpoint == other.endpoint
    }
}

impl fmt::Display for BucketId {
    /// Prints `scheme://bucket`, and the endpoint if it is not the default.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.bucket)?;
        match &self.endpoint {
            Some(endpoint) => write!(out, "@{endpoint}"),
            None => Ok(()),
        }
    }
}

/// By whom the requests to a bucket are made.
#[derive(Clone, PartialEq, Eq)]
pub enum Requester {
    /// Anonymously: requests are not signed.
    Anonymous,
    /// By the owner of this access key id, which is not secret.
    Key(Box<str>),
    /// Unknown, because there are no credentials yet.
    Unknown,
}

impl Requester {
    /// Returns whether this requester may read what the other may, as far as known; otherwise the
    /// first request shows it.
    pub fn may_read_as(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Anonymous | Self::Unknown) | (Self::Unknown, _) => true,
            (own, other) => own == other,
        }
    }
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, even that something doesn't exist.
    Done,
    /// The store asked for fewer requests.
    SlowDown,
    /// In any other way.
    Failed,
}

/// Decides when a request may begin, and counts requests.
///
/// Each try of a request is begun and ended; [`RequestLimits::retried`] is called before a further
/// try. A reading request ends with the last byte of its content.
pub trait RequestLimits: Send + Sync {
    /// Waits until a request may begin; returns `None` if the run ends first.
    fn begin(&self, kind: RequestKind) -> Option<Began>;

    /// Records that a request has ended.
    fn end(&self, began: Began, outcome: Outcome);

    /// Records that a request is tried again after `wait`.
    fn retried(&self, kind: RequestKind, wait: Duration);
}
