//! Multipart uploads.

use super::content::{Received, sent_checksums, sum, told};
use super::objects::{check_write, kept_headers, source, store_object};
use super::service::bucket;
use super::store::{Object, Store, Upload, hex, now};
use bytes::{Bytes, BytesMut};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;

/// The largest part number; the smallest is 1.
const LAST_PART: i32 = 10_000;

/// Returns the upload with an id and a key.
fn open<'a>(store: &'a mut Store, name: &str, key: &str, id: &str) -> S3Result<&'a mut Upload> {
    let upload = bucket(store, name)?.uploads.get_mut(id).filter(|upload| upload.key == key);
    upload.ok_or_else(|| s3_error!(NoSuchUpload))
}

pub(super) fn create(
    store: &mut Store,
    input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    let object = kept_headers!(input)?;
    let id = store.new_id();
    let upload = Upload {
        key: input.key.clone(),
        id: id.clone(),
        started: now(),
        object,
        parts: BTreeMap::new(),
        checksum: whole_checksum(&input),
    };
    bucket(store, &input.bucket)?.uploads.insert(id.clone(), upload);
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    })
}

/// Returns the full-object checksum that an upload asks for; composite ones are not kept.
fn whole_checksum(input: &CreateMultipartUploadInput) -> Option<&'static str> {
    let kind = input.checksum_type.as_ref()?.as_str();
    let algorithm = input.checksum_algorithm.as_ref()?.as_str();
    let known = [("CRC32", "crc32"), ("CRC32C", "crc32c"), ("CRC64NVME", "crc64nvme")];
    let (_, name) = known.into_iter().find(|(known, _)| *known == algorithm)?;
    (kind == ChecksumType::FULL_OBJECT).then_some(name)
}

fn check_number(number: i32) -> S3Result<()> {
    if (1..=LAST_PART).contains(&number) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000"))
    }
}

pub(super) fn part(
    store: &mut Store,
    input: UploadPartInput,
    received: Received,
) -> S3Result<UploadPartOutput> {
    check_number(input.part_number)?;
    if received.content.len() as u64 > store.settings.put_limit {
        return Err(s3_error!(EntityTooLarge));
    }
    let upload = open(store, &input.bucket, &input.key, &input.upload_id)?;
    let checksum = received.check(input.content_md5.as_deref(), &sent_checksums!(input))?;
    let told = told(checksum.as_ref());
    let object = Object { checksum, ..Object::new(received.content) };
    let etag = object.etag.clone();
    upload.parts.insert(input.part_number, object);
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: told.checksum_crc32,
        checksum_crc32c: told.checksum_crc32c,
        checksum_crc64nvme: told.checksum_crc64nvme,
        checksum_sha1: told.checksum_sha1,
        checksum_sha256: told.checksum_sha256,
        ..UploadPartOutput::default()
    })
}

pub(super) fn part_copy(
    store: &mut Store,
    input: &UploadPartCopyInput,
) -> S3Result<UploadPartCopyOutput> {
    check_number(input.part_number)?;
    open(store, &input.bucket, &input.key, &input.upload_id)?;
    let matches = input.copy_source_if_match.as_ref();
    let from =
        source(store, &input.copy_source, matches, input.copy_source_if_none_match.as_ref())?;
    let content = match &input.copy_source_range {
        None => from.content,
        Some(range) => slice(&from.content, range)?,
    };
    if content.len() as u64 > store.settings.copy_limit {
        return Err(s3_error!(InvalidRequest, "the part is larger than a copy may be"));
    }
    let object = Object::new(content);
    let result = CopyPartResult {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        ..CopyPartResult::default()
    };
    let upload = open(store, &input.bucket, &input.key, &input.upload_id)?;
    upload.parts.insert(input.part_number, object);
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
}

/// Returns a copy's range, which must have both ends within the source.
fn slice(content: &Bytes, range: &str) -> S3Result<Bytes> {
    let refused = || s3_error!(InvalidArgument, "the x-amz-copy-source-range is not valid");
    let Range::Int { first, last: Some(last) } = Range::parse(range).map_err(|_| refused())? else {
        return Err(refused());
    };
    let size = content.len() as u64;
    if last >= size {
        return Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {size}"
        ));
    }
    Ok(content.slice(first as usize..=last as usize))
}

pub(super) fn complete(
    store: &mut Store,
    mut input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let asked = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
    let CompleteMultipartUploadInput { bucket: name, key, upload_id: id, .. } = &input;
    let minimum = store.settings.part_minimum;
    let upload = open(store, name, key, id)?.clone();
    if asked.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    let mut content = BytesMut::new();
    let mut sums = Md5::new();
    let mut sizes = Vec::new();
    let mut before = 0;
    for (turn, part) in asked.iter().enumerate() {
        let number = part.part_number.unwrap_or_default();
        if number <= before {
            return Err(s3_error!(InvalidPartOrder));
        }
        before = number;
        let etag = part.e_tag.as_ref().map(ETag::value);
        let held = upload.parts.get(&number).filter(|held| Some(held.etag.as_str()) == etag);
        let held = held.ok_or_else(|| s3_error!(InvalidPart))?;
        if held.size() < minimum && turn + 1 < asked.len() {
            return Err(s3_error!(EntityTooSmall));
        }
        sums.update(&Md5::checksum(&held.content));
        sizes.push(held.content.len());
        content.extend_from_slice(&held.content);
    }
    if input.mpu_object_size.is_some_and(|size| size != content.len() as i64) {
        return Err(s3_error!(InvalidRequest, "the size is not that of the parts"));
    }
    check_write(store, name, key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let etag = format!("{}-{}", hex(sums.finalize().as_ref()), asked.len());
    let content = content.freeze();
    let checksum = upload.checksum.map(|algorithm| (algorithm, sum(algorithm, &content)));
    let object = Object {
        content,
        etag: etag.clone(),
        modified: now(),
        checksum,
        parts: sizes,
        ..upload.object
    };
    let version_id = store_object(store, name, key, object)?;
    bucket(store, name)?.uploads.remove(id);
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{name}/{key}")),
        bucket: Some(name.clone()),
        key: Some(key.clone()),
        e_tag: Some(ETag::Strong(etag)),
        version_id,
        ..CompleteMultipartUploadOutput::default()
    })
}

pub(super) fn abort(
    store: &mut Store,
    input: &AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    open(store, &input.bucket, &input.key, &input.upload_id)?;
    bucket(store, &input.bucket)?.uploads.remove(&input.upload_id);
    Ok(AbortMultipartUploadOutput::default())
}

pub(super) fn list_parts(store: &mut Store, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let page = store.settings.page;
    let limit = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(0).min(page);
    let upload = open(store, &input.bucket, &input.key, &input.upload_id)?;
    let marker = input.part_number_marker.unwrap_or(0);
    let mut parts: Vec<_> = upload
        .parts
        .range(marker.saturating_add(1)..)
        .take(limit + 1)
        .map(|(&number, object)| Part {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            size: Some(object.size() as i64),
            last_modified: Some(object.modified.into()),
            ..Part::default()
        })
        .collect();
    let more = parts.len() > limit;
    parts.truncate(limit);
    Ok(ListPartsOutput {
        is_truncated: Some(more),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        parts: Some(parts),
        part_number_marker: Some(marker),
        max_parts: Some(limit as i32),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    })
}
