//! What is common to object stores: one bucket, and what can be asked of it.
//!
//! [`Store`] is one bucket of a store, whatever protocol it speaks. `listing`, `content` and `upload`
//! hold what goes in and out of it.

mod content;
mod listing;
mod upload;

pub use content::{
    Body, Condition, CopySource, Head, LookForWritten, ObjectReader, Wanted, WrittenObject,
};
pub use listing::{ListQuery, Listed, Page};
pub use upload::{PartTag, PartsPage, UploadId, UploadedPart};

use super::error::StoreError;
use crate::backend::Headers;
use crate::limits::Began;
use crate::model::{ETag, RequestKind, Stop};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// One bucket of a store, by keys as they are.
///
/// Keys are bytes, and each is an object of its own: `./x`, `a//b` and `/a` stay what they are. All
/// methods block; one call is one logical request, which the client sends again as long as there is
/// hope. Errors do not name the key: whoever asked knows it.
///
/// A request whose reply was lost may have been carried out: [`StoreError::maybe_done`] says so.
pub trait Store: Send + Sync {
    /// What tells the bucket from others.
    fn id(&self) -> &BucketId;

    /// What the store can do, and its limits, as far as is known by now.
    fn capabilities(&self) -> StoreCapabilities;

    /// By whom requests are made.
    fn requester(&self) -> Requester;

    /// The same bucket for requests that another wish to stop ends: what has to be cleaned up when
    /// the run is to stop.
    fn stopped_by(&self, stop: Stop) -> Arc<dyn Store>;

    /// The same bucket for requests under limits of their own.
    fn limited_by(&self, limits: Arc<dyn RequestLimits>) -> Arc<dyn Store>;

    /// The same bucket for requests that are sent so many times at most, where a failure is an answer.
    fn trying(&self, tries: u32) -> Arc<dyn Store>;

    /// Asks for one page of a listing.
    ///
    /// A key or prefix that comes twice in a row, with the same said of it, is one.
    ///
    /// # Errors
    /// `BadReply` for whatever is doubtful in a page: what is not understood is not taken for absent.
    fn list(&self, query: &ListQuery<'_>) -> Result<Page, StoreError>;

    /// Asks for an object's head; `None` when there is none (a store may be unable to tell a missing
    /// object from a missing bucket here).
    ///
    /// # Errors
    /// When the store can't be asked, or refuses.
    fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError>;

    /// Asks for an object's head with the checksum of its content, where the store keeps one.
    ///
    /// # Errors
    /// As [`Store::head`]; `Unsupported` or `Other` may mean that it can't be asked for.
    fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError>;

    /// Asks how many bytes the first part of an object has, as it was uploaded; `None` when there is
    /// no such object. A store that doesn't know parts tells the size of the whole.
    ///
    /// # Errors
    /// When the store can't be asked, or refuses.
    fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError>;

    /// Begins to read an object, or a range of it.
    ///
    /// A range that goes beyond the object's end stops there. Where a store ignores the range, all but
    /// the range is dropped here, and [`StoreCapabilities::reads_ranges`] is false from then on.
    ///
    /// # Errors
    /// `PreconditionFailed` where the object is not the version wanted; also where the reply doesn't
    /// tell its length, no size is wanted, and the store doesn't tell it in any other way.
    fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// Writes a whole object; its tag, if the store gives it one.
    ///
    /// # Errors
    /// `PreconditionFailed` with [`StoreError::maybe_done`] may mean that an earlier try of this very
    /// call was carried out: look before you believe it.
    fn put(
        &self,
        key: &[u8],
        body: Body,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Copies an object within the store, up to [`StoreCapabilities::largest_copy`]; with `replace`,
    /// what is kept with the copy is that instead of what the source has. `condition` is on what
    /// stands at `key`. A store may take minutes for it: where a reply is lost, `look` is asked before
    /// the request is sent again.
    ///
    /// # Errors
    /// `PreconditionFailed` also where the source is not the version asked for. With
    /// [`StoreError::maybe_done`], see [`Store::put`].
    fn copy(
        &self,
        from: &CopySource<'_>,
        key: &[u8],
        replace: Option<&Headers>,
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Deletes an object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// `PreconditionFailed` when the object is another one than expected.
    fn delete(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError>;

    /// Deletes up to [`StoreCapabilities::delete_batch`] objects, and gives those that could not be.
    ///
    /// # Errors
    /// When the request as a whole failed: any of the objects may be deleted or not.
    fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<NotDeleted>, StoreError>;

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// With [`StoreError::maybe_done`], an upload may have begun of which nobody knows the name.
    fn create_upload(&self, key: &[u8], headers: &Headers) -> Result<UploadId, StoreError>;

    /// Uploads a part; parts have numbers from 1 to [`StoreCapabilities::most_parts`].
    ///
    /// # Errors
    /// `NoSuchUpload` where the upload is gone.
    fn upload_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        body: Body,
    ) -> Result<PartTag, StoreError>;

    /// Makes a part of a range of another object, within the store.
    ///
    /// # Errors
    /// `PreconditionFailed` where the source is not the version asked for.
    fn upload_part_copy(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        from: &CopySource<'_>,
        range: Range<u64>,
    ) -> Result<PartTag, StoreError>;

    /// Lists the parts of an upload behind a number (0 for all).
    ///
    /// # Errors
    /// `NoSuchUpload` where the upload is gone.
    fn list_parts(
        &self,
        key: &[u8],
        upload: &UploadId,
        behind: u16,
    ) -> Result<PartsPage, StoreError>;

    /// Completes an upload: its parts become the object. A store may take minutes for it: where a
    /// reply is lost, `look` is asked before the request is sent again.
    ///
    /// # Errors
    /// `LostReply` when the upload is gone that was there when this call began to complete it: only
    /// a look at the object can tell.
    fn complete_upload(
        &self,
        key: &[u8],
        upload: &UploadId,
        parts: &[(u16, PartTag)],
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError>;

    /// Gives an upload up; one that is not there counts as given up.
    ///
    /// # Errors
    /// When the store can't be asked, or refuses.
    fn abort_upload(&self, key: &[u8], upload: &UploadId) -> Result<(), StoreError>;
}

/// A key whose object could not be deleted, and why.
pub type NotDeleted = (Box<[u8]>, StoreError);

/// What a store can do, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCapabilities {
    /// The longest key that it takes, in bytes.
    pub longest_key: usize,
    /// Objects that one request can delete.
    pub delete_batch: usize,
    /// The largest object that one copy takes, in bytes; a larger one is copied in parts.
    pub largest_copy: u64,
    /// Parts that an upload can have.
    pub most_parts: u16,
    /// Whether a range of an object comes alone: not where the store was seen to send the whole.
    pub reads_ranges: bool,
}

/// What tells a bucket from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketId {
    /// The scheme of its URL.
    pub scheme: &'static str,
    /// Where the store is; `None` where that is what the scheme stands for.
    pub endpoint: Option<String>,
    /// The region that it lies in.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
}

impl BucketId {
    /// Whether both are one bucket, whichever region requests are signed for.
    pub fn is_same_bucket(&self, other: &Self) -> bool {
        self.bucket == other.bucket && self.is_same_service(other)
    }

    /// Whether the store of both is one, which then can copy from one bucket to the other.
    pub fn is_same_store(&self, other: &Self) -> bool {
        self.region == other.region && self.is_same_service(other)
    }

    fn is_same_service(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.endpoint == other.endpoint
    }
}

impl fmt::Display for BucketId {
    /// Prints `scheme://bucket`, and the endpoint where it is one of its own.
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
    /// By nobody in particular: they are not signed.
    Anonymous,
    /// By the owner of a key, which is not the secret that it goes with.
    Key(Box<str>),
    /// It can't be told, as long as no credentials can be had.
    Unknown,
}

impl Requester {
    /// Whether requests made by this one may read what is asked for by the other's, as far as can be
    /// told: what can't be told shows with the first request.
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
    /// With an answer, if only that something is not there.
    Done,
    /// The store asked for fewer requests.
    SlowDown,
    /// Any other way.
    Failed,
}

/// Who decides when a request may begin, and counts.
///
/// Each try of a request is begun and ended; between two tries the second is announced by
/// [`RequestLimits::retried`]. A reading request ends with the last byte of its content.
pub trait RequestLimits: Send + Sync {
    /// Waits until a request may begin; `None` where the run is over first.
    fn begin(&self, kind: RequestKind) -> Option<Began>;

    /// Takes note that a request that was begun has ended.
    fn end(&self, began: Began, outcome: Outcome);

    /// Takes note that a request is tried again after `wait`.
    fn retried(&self, kind: RequestKind, wait: Duration);
}
