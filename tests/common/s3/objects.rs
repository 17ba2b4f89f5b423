//! Operations on one object: get, head, put, copy, delete.

use super::content::{Received, sent_checksums, told};
use super::service::bucket;
use super::store::{Object, Store, Version, md5};
use hyper::header::HeaderMap;
use s3s::dto::*;
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;

/// The most bytes of names and values of metadata, a limit of S3.
const METADATA_LIMIT: usize = 2048;

/// The most keys that one request deletes, a limit of S3.
const DELETE_LIMIT: usize = 1000;

/// An object to be read, and the part of it.
fn find(store: &mut Store, name: &str, key: &str, version: Option<&str>) -> S3Result<Object> {
    let bucket = bucket(store, name)?;
    match version {
        None => bucket.get(key).ok_or_else(|| s3_error!(NoSuchKey)),
        Some(version) => match bucket.version(key, version) {
            Some(Version::Object(object)) => Ok(object),
            Some(Version::Deleted { .. }) => Err(s3_error!(MethodNotAllowed)),
            None => Err(s3_error!(NoSuchVersion)),
        },
    }
}

/// Returns whether a condition names this object; `*` names any.
fn names(condition: &ETagCondition, object: &Object) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == object.etag)
}

/// The conditions of a read, which have the same types for a copy's source.
struct ReadIf<'a> {
    matches: Option<&'a ETagCondition>,
    none_match: Option<&'a ETagCondition>,
    modified_since: Option<&'a Timestamp>,
    unmodified_since: Option<&'a Timestamp>,
}

impl ReadIf<'_> {
    fn check(&self, object: &Object) -> S3Result<()> {
        let modified = Timestamp::from(object.modified);
        // A matching ETag takes precedence over times (RFC 9110, section 13.2.2).
        if let Some(condition) = self.matches {
            if !names(condition, object) {
                return Err(s3_error!(PreconditionFailed));
            }
        } else if self.unmodified_since.is_some_and(|since| modified > *since) {
            return Err(s3_error!(PreconditionFailed));
        }
        if let Some(condition) = self.none_match {
            if names(condition, object) {
                return Err(s3_error!(NotModified));
            }
        } else if self.modified_since.is_some_and(|since| modified <= *since) {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }
}

/// Checks the conditions of a write, unless the store ignores them.
pub(super) fn check_write(
    store: &mut Store,
    name: &str,
    key: &str,
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let heeded = store.settings.conditions;
    let object = bucket(store, name)?.get(key).filter(|_| heeded);
    match (matches.filter(|_| heeded), &object) {
        (Some(condition), Some(object)) if !names(condition, object) => {
            return Err(s3_error!(PreconditionFailed));
        }
        (Some(_), None) => return Err(s3_error!(NoSuchKey)),
        _ => {}
    }
    match (none_match, &object) {
        (Some(condition), Some(object)) if names(condition, object) => {
            Err(s3_error!(PreconditionFailed))
        }
        _ => Ok(()),
    }
}

/// The fields about an object in the replies to GET and HEAD.
macro_rules! describe {
    ($output:ident, $object:expr, $checksum:expr) => {{
        let object: &Object = $object;
        let header = |name: &str| object.headers.get(name).cloned();
        let checksum: Checksum = $checksum;
        $output {
            accept_ranges: Some("bytes".into()),
            cache_control: header("cache-control"),
            content_disposition: header("content-disposition"),
            content_encoding: header("content-encoding"),
            content_language: header("content-language"),
            content_type: Some(
                header("content-type").unwrap_or_else(|| "binary/octet-stream".into()),
            ),
            expires: header("expires")
                .and_then(|time| Timestamp::parse(TimestampFormat::HttpDate, &time).ok()),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            metadata: Some(object.metadata.clone().into_iter().collect()),
            storage_class: (object.storage_class != "STANDARD")
                .then(|| object.storage_class.clone().into()),
            version_id: (object.version != "null").then(|| object.version.clone()),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            ..$output::default()
        }
    }};
}

/// Returns what is kept beside the content, from a request of any kind.
macro_rules! kept_headers {
    ($input:expr) => {{
        let expires = $input.expires.as_ref().map(|time| {
            let mut text = Vec::new();
            time.format(TimestampFormat::HttpDate, &mut text).expect("write to memory");
            String::from_utf8(text).expect("a date is ASCII")
        });
        let headers = [
            ("cache-control", $input.cache_control.clone()),
            ("content-disposition", $input.content_disposition.clone()),
            ("content-encoding", $input.content_encoding.clone()),
            ("content-language", $input.content_language.clone()),
            ("content-type", $input.content_type.as_ref().map(|value| value.as_str().to_owned())),
            ("expires", expires),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        super::objects::kept(
            headers.collect(),
            $input.metadata.clone().unwrap_or_default(),
            $input.storage_class.as_ref().map(StorageClass::as_str),
        )
    }};
}
pub(super) use kept_headers;

/// Returns an object without its content.
pub(super) fn kept(
    headers: BTreeMap<String, String>,
    metadata: Metadata,
    storage_class: Option<&str>,
) -> S3Result<Object> {
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_LIMIT {
        return Err(s3_error!(MetadataTooLarge));
    }
    let metadata = metadata.into_iter().collect();
    let storage_class = storage_class.unwrap_or("STANDARD").to_owned();
    Ok(Object { metadata, headers, storage_class, ..Object::new("") })
}

pub(super) fn get(store: &mut Store, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    let object = find(store, &input.bucket, &input.key, input.version_id.as_deref())?;
    let conditions = ReadIf {
        matches: input.if_match.as_ref(),
        none_match: input.if_none_match.as_ref(),
        modified_since: input.if_modified_since.as_ref(),
        unmodified_since: input.if_unmodified_since.as_ref(),
    };
    conditions.check(&object)?;
    if object.is_archived() {
        return Err(s3_error!(InvalidObjectState));
    }
    let size = object.size();
    let range = input.range.map(|range| range.check(size)).transpose();
    let range = range.map_err(|_| s3_error!(InvalidRange))?;
    let whole = range.is_none() && input.checksum_mode.is_some();
    let checksum = told(object.checksum.as_ref().filter(|_| whole));
    let content_range =
        range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1));
    let content = match range {
        Some(range) => object.content.slice(range.start as usize..range.end as usize),
        None => object.content.clone(),
    };
    Ok(GetObjectOutput {
        content_length: Some(content.len() as i64),
        content_range,
        body: Some(s3s::Body::from(content).into()),
        ..describe!(GetObjectOutput, &object, checksum)
    })
}

pub(super) fn head(store: &mut Store, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    let object = find(store, &input.bucket, &input.key, input.version_id.as_deref())?;
    let conditions = ReadIf {
        matches: input.if_match.as_ref(),
        none_match: input.if_none_match.as_ref(),
        modified_since: input.if_modified_since.as_ref(),
        unmodified_since: input.if_unmodified_since.as_ref(),
    };
    conditions.check(&object)?;
    let checksum = told(object.checksum.as_ref().filter(|_| input.checksum_mode.is_some()));
    let number = input.part_number.filter(|_| store.settings.part_numbers);
    let part = number.and_then(|number| object.parts.get(usize::try_from(number).ok()? - 1));
    let size = part.map_or(object.size(), |&size| size as u64);
    Ok(HeadObjectOutput {
        content_length: Some(size as i64),
        parts_count: part.map(|_| object.parts.len() as i32),
        ..describe!(HeadObjectOutput, &object, checksum)
    })
}

/// Makes an object the latest version of a key; returns the version if the bucket has versions.
pub(super) fn store_object(
    store: &mut Store,
    name: &str,
    key: &str,
    object: Object,
) -> S3Result<Option<String>> {
    let id = store.new_id();
    let version = bucket(store, name)?.put(key, object, || id)?;
    Ok(Some(version).filter(|version| version != "null"))
}

pub(super) fn put(
    store: &mut Store,
    input: PutObjectInput,
    received: Received,
) -> S3Result<PutObjectOutput> {
    let PutObjectInput { bucket, key, .. } = &input;
    check_write(store, bucket, key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
    if received.content.len() as u64 > store.settings.put_limit {
        return Err(s3_error!(EntityTooLarge));
    }
    let sent = sent_checksums!(input);
    let checksum = received.check(input.content_md5.as_deref(), &sent)?;
    let etag = md5(&received.content);
    let content = received.content;
    let told = told(checksum.as_ref());
    let object = Object { content, etag: etag.clone(), checksum, ..kept_headers!(input)? };
    let version_id = store_object(store, bucket, key, object)?;
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        version_id,
        checksum_crc32: told.checksum_crc32,
        checksum_crc32c: told.checksum_crc32c,
        checksum_crc64nvme: told.checksum_crc64nvme,
        checksum_sha1: told.checksum_sha1,
        checksum_sha256: told.checksum_sha256,
        ..PutObjectOutput::default()
    })
}

/// Returns the source of a copy if it fulfils the conditions.
pub(super) fn source(
    store: &mut Store,
    source: &CopySource,
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
) -> S3Result<Object> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "access points are not there"));
    };
    let object = find(store, bucket, key, version_id.as_deref())?;
    let conditions = ReadIf { matches, none_match, modified_since: None, unmodified_since: None };
    // A 304 of a GET is a failed precondition here.
    conditions.check(&object).map_err(|_| s3_error!(PreconditionFailed))?;
    if object.is_archived() {
        return Err(s3_error!(InvalidObjectState));
    }
    Ok(object)
}

/// The conditions of a copy on the object it replaces, which s3s doesn't parse yet.
pub(super) struct WriteIf {
    matches: Option<ETagCondition>,
    none_match: Option<ETagCondition>,
}

impl WriteIf {
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let condition = |name: &str| {
            let value =
                headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
            value.transpose().map_err(|_| s3_error!(InvalidArgument, "no condition"))
        };
        Ok(Self { matches: condition("if-match")?, none_match: condition("if-none-match")? })
    }
}

pub(super) fn copy(
    store: &mut Store,
    input: CopyObjectInput,
    conditions: WriteIf,
) -> S3Result<CopyObjectOutput> {
    bucket(store, &input.bucket)?;
    let matches = input.copy_source_if_match.as_ref();
    let from =
        source(store, &input.copy_source, matches, input.copy_source_if_none_match.as_ref())?;
    let limit = store.settings.copy_limit;
    if from.size() > limit {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: {limit}"
        ));
    }
    let WriteIf { matches, none_match } = &conditions;
    check_write(store, &input.bucket, &input.key, matches.as_ref(), none_match.as_ref())?;
    let replaces = input
        .metadata_directive
        .as_ref()
        .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    let onto_itself = matches!(&input.copy_source, CopySource::Bucket { bucket, key, version_id: None }
        if **bucket == *input.bucket && **key == *input.key);
    let asked = kept_headers!(input)?;
    if onto_itself && !replaces && asked.storage_class == from.storage_class {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location or \
             encryption attributes."
        ));
    }
    let (headers, metadata) =
        if replaces { (asked.headers, asked.metadata) } else { (from.headers, from.metadata) };
    let object = Object {
        headers,
        metadata,
        storage_class: asked.storage_class,
        checksum: from.checksum,
        ..Object::new(from.content)
    };
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        ..CopyObjectResult::default()
    };
    let version_id = store_object(store, &input.bucket, &input.key, object)?;
    Ok(CopyObjectOutput {
        copy_object_result: Some(result),
        version_id,
        ..CopyObjectOutput::default()
    })
}

pub(super) fn delete(store: &mut Store, input: &DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
    let key = &input.key;
    if input.if_match.is_some() {
        check_write(store, &input.bucket, key, input.if_match.as_ref(), None)?;
    }
    let version = input.version_id.as_deref();
    let id = store.new_id();
    let mark = bucket(store, &input.bucket)?.delete(key, version, || id)?;
    Ok(DeleteObjectOutput {
        delete_marker: mark.is_some().then_some(true),
        version_id: mark.or_else(|| input.version_id.clone()),
        ..DeleteObjectOutput::default()
    })
}

pub(super) fn delete_many(
    store: &mut Store,
    input: DeleteObjectsInput,
) -> S3Result<DeleteObjectsOutput> {
    let asked = input.delete.objects;
    if asked.is_empty() || asked.len() > DELETE_LIMIT {
        return Err(s3_error!(MalformedXML));
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for ObjectIdentifier { key, version_id, e_tag, .. } in asked {
        let one = DeleteObjectInput {
            bucket: input.bucket.clone(),
            key: key.clone(),
            version_id: version_id.clone(),
            if_match: e_tag.map(ETagCondition::ETag),
            ..DeleteObjectInput::default()
        };
        match delete(store, &one) {
            Ok(done) => deleted.push(DeletedObject {
                key: Some(key),
                delete_marker: done.delete_marker,
                delete_marker_version_id: done.version_id.filter(|_| done.delete_marker.is_some()),
                version_id,
            }),
            Err(error) if *error.code() == s3s::S3ErrorCode::NoSuchBucket => return Err(error),
            Err(error) => errors.push(Error {
                key: Some(key),
                version_id,
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
            }),
        }
    }
    let quiet = input.delete.quiet == Some(true);
    Ok(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    })
}
