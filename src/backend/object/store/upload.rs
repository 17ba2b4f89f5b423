//! Uploads in parts.

use crate::model::ETag;

/// The store's name for an upload in parts. Whoever has it and the credentials can go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(pub Box<str>);

/// What a part is known by when the upload is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTag {
    /// Its entity tag, as the store told it but for the quotes.
    pub etag: Box<str>,
    /// Its CRC-64/NVME, where the store keeps it: some want it back.
    pub checksum: Option<u64>,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// Its number, from 1.
    pub number: u16,
    /// Its size in bytes.
    pub size: u64,
    /// What it is known by.
    pub tag: PartTag,
}

impl UploadedPart {
    /// The MD5 of its content that its tag may be.
    pub fn md5(&self) -> Option<[u8; 16]> {
        ETag::new(self.tag.etag.as_bytes())?.md5()
    }
}

/// One page of an upload's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// The parts, by number.
    pub parts: Vec<UploadedPart>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u16>,
}
