//! Types for listings of a bucket.

use crate::model::{ETag, Timestamp};

/// An object as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key in the bucket.
    pub key: Box<[u8]>,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, if the store lists one that can be sent back.
    pub etag: Option<ETag>,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// Whether the object has to be restored from an archive before it can be read (on S3 the
    /// storage classes `GLACIER` and `DEEP_ARCHIVE`; a listing doesn't say whether that was done).
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
    /// The store's time of its reply.
    pub date: Option<Timestamp>,
    /// Whether the keys are in byte order, as far as this page shows.
    pub in_order: bool,
}

/// Selects a page of a listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListQuery<'a> {
    /// Lists only keys that begin with this.
    pub prefix: &'a [u8],
    /// Lists only keys after this one; ignored if there is a token.
    pub after: Option<&'a [u8]>,
    /// The token of the page, from the page before.
    pub token: Option<&'a str>,
    /// Whether keys with a `/` after the prefix are folded into common prefixes.
    pub delimiter: bool,
    /// Most objects and prefixes in the page.
    pub limit: Option<u16>,
}
