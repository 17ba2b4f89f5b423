//! The operations of S3, each forwarded to the file that implements it.

use super::content::receive;
use super::store::{BucketState, Contents, ReadOnly, Store};
use super::{buckets, listing, multipart, objects};
use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;

/// S3, in memory.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Mutex<Store>>);

impl Service {
    fn answer<T>(
        &self,
        operation: impl FnOnce(&mut Store) -> S3Result<T>,
    ) -> S3Result<S3Response<T>> {
        operation(&mut self.0.lock()).map(S3Response::new)
    }
}

/// Returns a bucket.
pub(super) fn bucket<'a>(store: &'a mut Store, name: &str) -> S3Result<&'a mut BucketState> {
    store.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket))
}

impl From<ReadOnly> for S3Error {
    fn from(_: ReadOnly) -> Self {
        s3_error!(AccessDenied, "a synthetic bucket can't be written")
    }
}

/// Returns an error with a code that s3s doesn't know.
pub(super) fn custom(status: u16, code: &'static str) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::Custom(code.into()));
    let status = hyper::StatusCode::from_u16(status).expect("a legal status");
    error.set_status_code(status);
    error
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn list_buckets(
        &self,
        _request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.answer(|store| Ok(buckets::list(store)))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.answer(|store| buckets::head(store, &request.input))
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.answer(|store| buckets::create(store, request.input))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.answer(|store| buckets::delete(store, &request.input))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.answer(|store| {
            bucket(store, &request.input.bucket).map(|_| GetBucketLocationOutput::default())
        })
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.answer(|store| buckets::versioning(store, &request.input))
    }

    async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        self.answer(|store| buckets::set_versioning(store, &request.input))
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.answer(|store| listing::objects_v1(store, request.input))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.answer(|store| listing::objects(store, request.input))
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        self.answer(|store| listing::versions(store, request.input))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.answer(|store| objects::get(store, request.input))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.answer(|store| objects::head(store, request.input))
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let content = receive(request.input.body.take(), request.trailing_headers).await?;
        self.answer(|store| objects::put(store, request.input, content))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let conditions = objects::WriteIf::of(&request.headers)?;
        self.answer(|store| objects::copy(store, request.input, conditions))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.answer(|store| objects::delete(store, &request.input))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.answer(|store| objects::delete_many(store, request.input))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.answer(|store| multipart::create(store, request.input))
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let content = receive(request.input.body.take(), request.trailing_headers).await?;
        self.answer(|store| multipart::part(store, request.input, content))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.answer(|store| multipart::part_copy(store, &request.input))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.answer(|store| multipart::complete(store, request.input))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.answer(|store| multipart::abort(store, &request.input))
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        self.answer(|store| multipart::list_parts(store, request.input))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.answer(|store| listing::uploads(store, request.input))
    }
}

/// The only pair of keys.
pub(super) struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == super::ACCESS_KEY {
            Ok(super::SECRET_KEY.into())
        } else {
            Err(s3_error!(InvalidAccessKeyId))
        }
    }
}

/// Whether requests without a signature are accepted.
pub(super) struct Access {
    pub(super) anonymous: bool,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if self.anonymous || context.credentials().is_some() {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied))
        }
    }
}

/// Returns the contents of a new bucket.
pub(super) fn held() -> Contents {
    Contents::Held(std::collections::BTreeMap::new())
}
