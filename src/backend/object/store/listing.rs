//! What a listing of a bucket tells.

use crate::model::{ETag, Timestamp};

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
    /// Whether its content has to be restored from an archive before it can be read (on S3 the storage
    /// classes `GLACIER` and `DEEP_ARCHIVE`; a listing does not tell whether that has been done).
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
