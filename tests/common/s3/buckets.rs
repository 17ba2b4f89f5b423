//! Operations on buckets.

use super::service::{bucket, held};
use super::store::{BucketState, Contents, Store};
use s3s::dto::*;
use s3s::{S3Result, s3_error};

pub(super) fn list(store: &Store) -> ListBucketsOutput {
    let buckets = store.buckets.iter().map(|(name, bucket)| Bucket {
        name: Some(name.clone()),
        creation_date: Some(bucket.created.into()),
        ..Bucket::default()
    });
    ListBucketsOutput { buckets: Some(buckets.collect()), ..ListBucketsOutput::default() }
}

pub(super) fn head(store: &mut Store, input: &HeadBucketInput) -> S3Result<HeadBucketOutput> {
    bucket(store, &input.bucket)?;
    Ok(HeadBucketOutput {
        bucket_region: Some(super::REGION.into()),
        ..HeadBucketOutput::default()
    })
}

pub(super) fn create(store: &mut Store, input: CreateBucketInput) -> S3Result<CreateBucketOutput> {
    if store.buckets.contains_key(&input.bucket) {
        return Err(s3_error!(BucketAlreadyOwnedByYou));
    }
    let location = Some(format!("/{}", input.bucket));
    store.buckets.insert(input.bucket, BucketState::new(held()));
    Ok(CreateBucketOutput { location })
}

pub(super) fn delete(store: &mut Store, input: &DeleteBucketInput) -> S3Result<DeleteBucketOutput> {
    if matches!(&bucket(store, &input.bucket)?.contents, Contents::Held(keys) if keys.is_empty()) {
        store.buckets.remove(&input.bucket);
        Ok(DeleteBucketOutput {})
    } else {
        Err(s3_error!(BucketNotEmpty))
    }
}

pub(super) fn versioning(
    store: &mut Store,
    input: &GetBucketVersioningInput,
) -> S3Result<GetBucketVersioningOutput> {
    let versioned = bucket(store, &input.bucket)?.versioned;
    let status =
        versioned.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
    Ok(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() })
}

pub(super) fn set_versioning(
    store: &mut Store,
    input: &PutBucketVersioningInput,
) -> S3Result<PutBucketVersioningOutput> {
    let status = input.versioning_configuration.status.as_ref();
    bucket(store, &input.bucket)?.versioned =
        status.is_some_and(|status| status.as_str() == BucketVersioningStatus::ENABLED);
    Ok(PutBucketVersioningOutput::default())
}
