//! Listings, page by page.

use super::request::{token, token_key};
use super::service::bucket;
use super::store::{BucketState, Contents, Listed, Settings, StartAfter, Store, Version};
use s3s::dto::*;
use s3s::{S3Result, s3_error};

/// The parameters of a page.
struct Query<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    /// The last entry before the page, and whether it is a common prefix.
    after: (bool, &'a str),
    limit: usize,
}

/// A page of a listing.
struct Page<T> {
    entries: Vec<T>,
    prefixes: Vec<String>,
    /// The last entry of the page, if there are more.
    more: Option<(bool, String)>,
}

/// Makes a page of `entries`, which are in key order.
fn page<T>(
    entries: impl Iterator<Item = T>,
    key_of: impl Fn(&T) -> &str,
    query: &Query<'_>,
) -> Page<T> {
    let mut page = Page { entries: Vec::new(), prefixes: Vec::new(), more: None };
    let mut last = (query.after.0, query.after.1.to_owned());
    for entry in entries {
        let key = key_of(&entry);
        let Some(rest) = key.strip_prefix(query.prefix) else {
            if key > query.prefix {
                break;
            }
            continue;
        };
        if key <= query.after.1 || last.0 && key.starts_with(last.1.as_str()) {
            continue;
        }
        if page.entries.len() + page.prefixes.len() == query.limit {
            page.more = (query.limit > 0).then_some(last);
            break;
        }
        let cut = Some(query.delimiter).filter(|delimiter| !delimiter.is_empty());
        if let Some((at, delimiter)) = cut.and_then(|cut| rest.find(cut).map(|at| (at, cut))) {
            let prefix = key[..query.prefix.len() + at + delimiter.len()].to_owned();
            page.prefixes.push(prefix.clone());
            last = (true, prefix);
        } else {
            last = (false, key.to_owned());
            page.entries.push(entry);
        }
    }
    page
}

/// Lists a bucket's objects.
fn list(bucket: &BucketState, query: &Query<'_>) -> Page<Listed> {
    let from = query.prefix.max(query.after.1);
    page(bucket.listed(from), |listed| &listed.key, query)
}

fn limit(asked: Option<i32>, settings: &Settings) -> S3Result<usize> {
    let asked = usize::try_from(asked.unwrap_or(1000));
    let asked = asked.map_err(|_| s3_error!(InvalidArgument, "a negative number of entries"))?;
    Ok(asked.min(settings.page))
}

/// Encodes keys if the client asks for it.
#[derive(Clone, Copy)]
struct Encoding(bool);

impl Encoding {
    fn of(asked: Option<&EncodingType>, settings: &Settings) -> Self {
        Self(asked.is_some() && settings.encoding)
    }

    /// Encodes like S3: a space becomes a plus, a slash stays.
    fn text(self, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let encode = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                char::from(byte).into()
            }
            b' ' => "+".into(),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(encode).collect()
    }

    fn option(self, text: Option<String>) -> Option<String> {
        text.map(|text| self.text(&text))
    }

    fn told(self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }

    fn prefixes(self, prefixes: &[String]) -> Option<Vec<CommonPrefix>> {
        let prefix = |prefix: &String| CommonPrefix { prefix: Some(self.text(prefix)) };
        Some(prefixes.iter().map(prefix).collect())
    }

    fn object(self, listed: Listed) -> Object {
        Object {
            key: Some(self.text(&listed.key)),
            e_tag: Some(ETag::Strong(listed.etag)),
            size: Some(listed.size as i64),
            last_modified: Some(listed.modified.into()),
            storage_class: Some(listed.storage_class.into()),
            ..Object::default()
        }
    }
}

/// Returns the key after which the listing begins for `start-after`.
fn begin(after: &str, start: StartAfter) -> String {
    match start {
        StartAfter::Behind | StartAfter::BehindWithLoss => after.to_owned(),
        StartAfter::Ignored => String::new(),
        // No key of the tests is in between.
        StartAfter::At => match after.char_indices().next_back() {
            Some((at, last)) => {
                format!("{}{}", &after[..at], char::from_u32(last as u32 - 1).unwrap_or('\0'))
            }
            None => String::new(),
        },
    }
}

pub(super) fn objects(
    store: &mut Store,
    input: ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let settings = store.settings.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref(), &settings);
    let limit = limit(input.max_keys, &settings)?;
    let token_in = input.continuation_token.as_deref();
    let after = match (token_in, &input.start_after) {
        (Some(token), _) => token_key(token)
            .ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is incorrect"))?,
        (None, Some(after)) => (false, begin(after, settings.start_after)),
        (None, None) => (false, String::new()),
    };
    let number = token_in.and_then(|token| token.split_once('/')?.0.parse().ok()).unwrap_or(1);
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: (after.0, &after.1),
        limit,
    };
    let held = bucket(store, &input.bucket)?;
    let mut page = list(held, &query);
    if settings.start_after == StartAfter::BehindWithLoss
        && let (None, Some(after), Some((false, last))) = (token_in, &input.start_after, &page.more)
        && held.get(after).is_none()
        && let Some(lost) = held.listed(last).nth(1)
    {
        page.more = Some((false, lost.key));
    }
    Ok(ListObjectsV2Output {
        key_count: Some((page.entries.len() + page.prefixes.len()) as i32),
        is_truncated: Some(page.more.is_some()),
        next_continuation_token: page.more.map(|(prefix, last)| token(number, prefix, &last)),
        contents: Some(page.entries.into_iter().map(|listed| encoding.object(listed)).collect()),
        common_prefixes: encoding.prefixes(&page.prefixes),
        max_keys: Some(limit as i32),
        prefix: encoding.option(Some(query.prefix.to_owned())),
        name: Some(input.bucket),
        delimiter: encoding.option(input.delimiter),
        start_after: encoding.option(input.start_after),
        continuation_token: input.continuation_token,
        encoding_type: encoding.told(),
        ..ListObjectsV2Output::default()
    })
}

pub(super) fn objects_v1(
    store: &mut Store,
    input: ListObjectsInput,
) -> S3Result<ListObjectsOutput> {
    let settings = store.settings.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref(), &settings);
    let limit = limit(input.max_keys, &settings)?;
    let marker = input.marker.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    // A marker that ends in the delimiter is a common prefix.
    let was_prefix = !delimiter.is_empty() && marker.ends_with(delimiter);
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter,
        after: (was_prefix, marker),
        limit,
    };
    let page = list(bucket(store, &input.bucket)?, &query);
    Ok(ListObjectsOutput {
        is_truncated: Some(page.more.is_some()),
        next_marker: page.more.map(|(_, last)| encoding.text(&last)),
        contents: Some(page.entries.into_iter().map(|listed| encoding.object(listed)).collect()),
        common_prefixes: encoding.prefixes(&page.prefixes),
        max_keys: Some(limit as i32),
        marker: encoding.option(Some(marker.to_owned())),
        prefix: encoding.option(Some(query.prefix.to_owned())),
        name: Some(input.bucket),
        delimiter: encoding.option(input.delimiter),
        encoding_type: encoding.told(),
        ..ListObjectsOutput::default()
    })
}

/// Lists versions, the latest of each key first. A page only ends with the last version of a key.
pub(super) fn versions(
    store: &mut Store,
    input: ListObjectVersionsInput,
) -> S3Result<ListObjectVersionsOutput> {
    let settings = store.settings.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref(), &settings);
    let limit = limit(input.max_keys, &settings)?;
    let marker = input.key_marker.as_deref().unwrap_or_default();
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().unwrap_or_default();
    let query = Query { prefix, delimiter, after: (false, marker), limit };
    let Contents::Held(keys) = &bucket(store, &input.bucket)?.contents else {
        return Err(s3_error!(NotImplemented));
    };
    let from = query.prefix.max(marker).to_owned();
    let page = page(keys.range(from..), |(key, _)| key, &query);
    let (mut versions, mut delete_markers) = (Vec::new(), Vec::new());
    for (key, held) in page.entries {
        for (age, version) in held.iter().rev().enumerate() {
            let key = Some(encoding.text(key));
            let is_latest = Some(age == 0);
            match version {
                Version::Object(object) => versions.push(ObjectVersion {
                    key,
                    is_latest,
                    version_id: Some(object.version.clone()),
                    e_tag: Some(ETag::Strong(object.etag.clone())),
                    size: Some(object.size() as i64),
                    last_modified: Some(object.modified.into()),
                    ..ObjectVersion::default()
                }),
                Version::Deleted { version, modified } => delete_markers.push(DeleteMarkerEntry {
                    key,
                    is_latest,
                    version_id: Some(version.clone()),
                    last_modified: Some((*modified).into()),
                    ..DeleteMarkerEntry::default()
                }),
            }
        }
    }
    Ok(ListObjectVersionsOutput {
        is_truncated: Some(page.more.is_some()),
        next_key_marker: page.more.map(|(_, last)| encoding.text(&last)),
        versions: Some(versions),
        delete_markers: Some(delete_markers),
        common_prefixes: encoding.prefixes(&page.prefixes),
        max_keys: Some(limit as i32),
        key_marker: encoding.option(Some(marker.to_owned())),
        prefix: encoding.option(Some(prefix.to_owned())),
        name: Some(input.bucket),
        encoding_type: encoding.told(),
        ..ListObjectVersionsOutput::default()
    })
}

/// Lists uploads under way, by key and then by start.
pub(super) fn uploads(
    store: &mut Store,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    let settings = store.settings.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref(), &settings);
    let limit = limit(input.max_uploads, &settings)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let key_marker = input.key_marker.as_deref().unwrap_or_default();
    let id_marker = input.upload_id_marker.as_deref().unwrap_or_default();
    let mut open: Vec<_> = bucket(store, &input.bucket)?.uploads.values().collect();
    open.retain(|upload| upload.key.starts_with(prefix));
    // A marker without an upload id skips the whole key.
    open.retain(|upload| {
        let key = upload.key.as_str();
        key > key_marker || key == key_marker && !id_marker.is_empty() && *upload.id > *id_marker
    });
    open.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    let more = open.len() > limit;
    open.truncate(limit);
    let last = open.last().filter(|_| more);
    Ok(ListMultipartUploadsOutput {
        is_truncated: Some(more),
        next_key_marker: last.map(|upload| encoding.text(&upload.key)),
        next_upload_id_marker: last.map(|upload| upload.id.clone()),
        uploads: Some(
            open.iter()
                .map(|upload| MultipartUpload {
                    key: Some(encoding.text(&upload.key)),
                    upload_id: Some(upload.id.clone()),
                    initiated: Some(upload.started.into()),
                    ..MultipartUpload::default()
                })
                .collect(),
        ),
        max_uploads: Some(limit as i32),
        prefix: encoding.option(Some(prefix.to_owned())),
        key_marker: encoding.option(Some(key_marker.to_owned())),
        upload_id_marker: Some(id_marker.to_owned()),
        bucket: Some(input.bucket),
        encoding_type: encoding.told(),
        ..ListMultipartUploadsOutput::default()
    })
}
