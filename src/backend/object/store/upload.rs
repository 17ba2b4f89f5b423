//! Types for multipart uploads.

use crate::model::ETag;

/// The store's id for a multipart upload. Anyone with it and the credentials can resume the upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(pub Box<str>);

/// What identifies a part when the upload is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTag {
    /// The entity tag as the store gave it, without quotes.
    pub etag: Box<str>,
    /// The CRC-64/NVME, if the store computes it: some require it when completing.
    pub checksum: Option<u64>,
}

/// A part that was sent, as named when the upload is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// The number, from 1.
    pub number: u16,
    /// The tag.
    pub tag: PartTag,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// The number, from 1.
    pub number: u16,
    /// The size in bytes.
    pub size: u64,
    /// The tag.
    pub tag: PartTag,
}

impl UploadedPart {
    /// Returns the MD5 of the content if the tag looks like one.
    pub fn md5(&self) -> Option<[u8; 16]> {
        ETag::new(self.tag.etag.as_bytes())?.md5()
    }
}

/// One page of an upload's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// The parts, by number.
    pub parts: Vec<UploadedPart>,
    /// The number after which the next page begins; `None` at the end.
    pub next: Option<u16>,
}
