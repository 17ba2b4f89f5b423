//! What is common to object stores: listings, what is kept with an object, conditions, and who
//! limits requests.

use crate::limits::Began;
use crate::model::{ETag, RequestKind, Timestamp};
use std::time::Duration;

/// An object as a listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key in the bucket, as it is.
    pub key: Box<[u8]>,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, where the store lists one that can be sent back.
    pub etag: Option<ETag>,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// Whether its content has to be restored from an archive before it can be read (storage classes
    /// `GLACIER` and `DEEP_ARCHIVE`; a listing does not tell whether that has been done).
    pub archived: bool,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects, in the store's order.
    pub objects: Vec<Listed>,
    /// The prefixes that end in the delimiter, in the store's order.
    pub prefixes: Vec<Box<[u8]>>,
    /// The token of the next page; `None` at the end.
    pub next: Option<String>,
    /// The store's time when it answered.
    pub date: Option<Timestamp>,
    /// Whether the keys come in byte order, as far as can be told from a page.
    pub in_order: bool,
}

/// Which page of which listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListQuery<'a> {
    /// Only keys that begin with it.
    pub prefix: &'a [u8],
    /// Only keys behind it; of no effect beside a token.
    pub after: Option<&'a [u8]>,
    /// The page that the one before named.
    pub token: Option<&'a str>,
    /// Whether keys with a `/` behind the prefix are folded to a prefix.
    pub delimiter: bool,
    /// At most so many objects and prefixes in the page.
    pub limit: Option<u16>,
}

/// What is kept with an object beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The type of the content.
    pub content_type: Option<String>,
    /// `cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`.
    pub other: Vec<(String, String)>,
    /// The user's own (`x-amz-meta-*`): names in lower case, without that prefix.
    pub user: Vec<(String, String)>,
}

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
