//! Implements [`Store`] for [`S3`] and adds hints to errors.

use super::super::{
    Body, BucketId, CompletedPart, Condition, CopySource, Head, Headers, ListQuery, LookForWritten,
    NotDeleted, ObjectReader, Page, PartTag, PartsPage, RequestLimits, Requester, Store,
    StoreCapabilities, StoreError, UploadId, Wanted,
};
use super::S3;
use super::help::{add_help, with_help};
use super::reader::S3Reader;
use crate::model::{ETag, Stop};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The longest key in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const LONGEST_KEY: usize = 1024;
/// The largest object that one copy takes, in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
const LARGEST_COPY: u64 = 5 << 30;
/// Parts of an upload (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MOST_PARTS: u16 = 10_000;

impl Store for S3 {
    fn id(&self) -> &BucketId {
        &self.shared.id
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities {
            longest_key: LONGEST_KEY,
            delete_batch: Self::MOST_DELETED,
            largest_copy: LARGEST_COPY,
            most_parts: MOST_PARTS,
            reads_ranges: !self.ignores_ranges(),
        }
    }

    fn requester(&self) -> Requester {
        match self.shared.credentials.get() {
            Ok(Some(credential)) => Requester::Key(credential.access_key().into()),
            Ok(None) => Requester::Anonymous,
            Err(_) => Requester::Unknown,
        }
    }

    fn stopped_by(&self, stop: Stop) -> Arc<dyn Store> {
        Arc::new(Self { stop, ..self.clone() })
    }

    fn limited_by(&self, limits: Arc<dyn RequestLimits>) -> Arc<dyn Store> {
        Arc::new(Self { limits, ..self.clone() })
    }

    fn trying(&self, tries: u32) -> Arc<dyn Store> {
        Arc::new(Self { tries, ..self.clone() })
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<Page, StoreError> {
        self.list(query).map_err(with_help)
    }

    fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.head(key).map_err(with_help)
    }

    fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.head_with_checksum(key).map_err(with_help)
    }

    fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        self.first_part(key).map_err(with_help)
    }

    fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Box<dyn ObjectReader>, StoreError> {
        Ok(Box::new(self.get(key, wanted).map_err(with_help)?))
    }

    fn put(
        &self,
        key: &[u8],
        body: Body,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        self.put(key, body, headers, condition).map_err(with_help)
    }

    fn copy(
        &self,
        from: &CopySource<'_>,
        key: &[u8],
        replace: Option<&Headers>,
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        self.copy(from, key, replace, condition, look).map_err(with_help)
    }

    fn delete(&self, key: &[u8], condition: Condition<'_>) -> Result<(), StoreError> {
        self.delete(key, condition).map_err(with_help)
    }

    fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<NotDeleted>, StoreError> {
        let mut failed = self.delete_many(keys).map_err(with_help)?;
        for (_, error) in &mut failed {
            add_help(error);
        }
        Ok(failed)
    }

    fn create_upload(&self, key: &[u8], headers: &Headers) -> Result<UploadId, StoreError> {
        self.create_upload(key, headers).map_err(with_help)
    }

    fn upload_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        body: Body,
    ) -> Result<PartTag, StoreError> {
        self.upload_part(key, upload, number, body).map_err(with_help)
    }

    fn upload_part_copy(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        from: &CopySource<'_>,
        range: Range<u64>,
    ) -> Result<PartTag, StoreError> {
        self.upload_part_copy(key, upload, number, from, range).map_err(with_help)
    }

    fn list_parts(
        &self,
        key: &[u8],
        upload: &UploadId,
        after: u16,
    ) -> Result<PartsPage, StoreError> {
        self.list_parts(key, upload, after).map_err(with_help)
    }

    fn complete_upload(
        &self,
        key: &[u8],
        upload: &UploadId,
        parts: &[CompletedPart],
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        self.complete_upload(key, upload, parts, condition, look).map_err(with_help)
    }

    fn abort_upload(&self, key: &[u8], upload: &UploadId) -> Result<(), StoreError> {
        self.abort_upload(key, upload).map_err(with_help)
    }
}

impl ObjectReader for S3Reader {
    fn head(&self) -> &Head {
        &self.head
    }

    fn read(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.read().map_err(with_help)
    }
}
