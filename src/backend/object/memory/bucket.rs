//! One bucket: its objects by key, and unfinished uploads.

use super::super::{
    Condition, Head, ListQuery, Listed, Page, StoreError, StoreErrorKind, UploadedPart,
};
use super::Habits;
use crate::backend::Headers;
use crate::model::hex::Hex;
use crate::model::{ETag, Timestamp};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What a store does with keys that end in `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Markers {
    /// Keeps them as objects like any other.
    Kept,
    /// Refuses them with an error of this kind.
    Refused(StoreErrorKind),
    /// Drops the `/`, so that they become other objects.
    LoseTheirSlash,
    /// Keeps them in bulk deletes but reports that they were deleted.
    OutliveBulk,
}

/// A stored object.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// The content.
    pub content: Bytes,
    /// The headers kept with it.
    pub headers: Headers,
    /// The entity tag.
    pub etag: ETag,
    /// When it was written.
    pub modified: Timestamp,
    /// The size of the first part, or of the whole object if it was put at once.
    pub first_part: u64,
}

impl StoredObject {
    pub(super) fn new(content: Bytes, headers: Headers, modified: Timestamp) -> Self {
        let first_part = content.len() as u64;
        let etag = tag(&Hex(&Md5::digest(&content)).to_string());
        Self { content, headers, etag, modified, first_part }
    }

    /// Makes an object from the parts of an upload.
    pub(super) fn of_parts(parts: &[Bytes], headers: Headers, modified: Timestamp) -> Self {
        let sums = parts.iter().fold(Md5::new(), |all, part| all.chain_update(Md5::digest(part)));
        let etag = tag(&format!("{}-{}", Hex(&sums.finalize()), parts.len()));
        let first_part = parts.first().map_or(0, |part| part.len() as u64);
        Self { etag, first_part, ..Self::new(parts.concat().into(), headers, modified) }
    }

    pub(super) fn size(&self) -> u64 {
        self.content.len() as u64
    }

    pub(super) fn head(&self, with_checksum: bool) -> Head {
        Head {
            size: self.size(),
            etag: Some(self.etag),
            modified: Some(self.modified),
            headers: self.headers.clone(),
            version: None,
            checksum: with_checksum.then(|| crc_fast::crc64_nvme(&self.content)),
        }
    }
}

pub(super) fn tag(text: &str) -> ETag {
    ETag::new(text.as_bytes()).expect("a tag has characters")
}

/// An upload in parts under way.
#[derive(Debug)]
pub(super) struct PendingUpload {
    pub(super) key: Box<[u8]>,
    pub(super) headers: Headers,
    pub(super) parts: BTreeMap<u16, (UploadedPart, Bytes)>,
}

/// One bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<Box<[u8]>, StoredObject>,
    /// By upload id.
    pub(super) uploads: BTreeMap<Box<str>, PendingUpload>,
}

impl Bucket {
    /// Checks that the object at a key fulfils a condition.
    pub(super) fn check(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError> {
        let existing = self.objects.get(key);
        let is_met = match condition {
            Condition::None => true,
            Condition::Absent => existing.is_none(),
            Condition::Matches(tag) => existing.is_some_and(|object| object.etag == *tag),
        };
        if is_met {
            return Ok(());
        }
        let kind = match (condition, existing) {
            // S3 returns this if no object exists that could match.
            (Condition::Matches(_), None) => StoreErrorKind::NotFound,
            _ => StoreErrorKind::PreconditionFailed,
        };
        Err(StoreError::new(kind))
    }

    /// Returns a page of keys. The token of the next page is the last key or prefix in hexadecimal
    /// digits.
    pub(super) fn page(&self, query: &ListQuery<'_>, habits: &Habits, now: Timestamp) -> Page {
        let most = query.limit.map_or(habits.page, |limit| habits.page.min(limit.into()));
        let token = query.token.map(read_token);
        let after = token.as_deref().or(query.after);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Page { date: Some(now), in_order: true, ..Page::default() };
        let mut last: Option<Box<[u8]>> = None;
        for (key, object) in self.objects.range::<[u8], _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(query.prefix) else {
                if **key > *query.prefix {
                    break;
                }
                continue;
            };
            let slash = rest.iter().position(|&byte| byte == b'/').filter(|_| query.delimiter);
            let folded = slash.map(|at| &key[..=query.prefix.len() + at]);
            // Skip the prefix that the previous page ended with.
            if folded.is_some() && (folded == last.as_deref() || folded == token.as_deref()) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == most {
                page.next = last.as_deref().map(|last| Hex(last).to_string());
                break;
            }
            last = Some(folded.unwrap_or(key).into());
            match folded {
                Some(prefix) => page.prefixes.push(prefix.into()),
                None => page.objects.push(Listed {
                    key: key.clone(),
                    size: object.size(),
                    etag: Some(object.etag),
                    modified: Some(object.modified),
                    archived: false,
                }),
            }
        }
        page
    }
}

fn read_token(token: &str) -> Vec<u8> {
    HEXLOWER.decode(token.as_bytes()).expect("a token of this store")
}
