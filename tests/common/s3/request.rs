//! The log of requests, to count and to check.

use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use std::time::Instant;

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ListBuckets,
    HeadBucket,
    CreateBucket,
    DeleteBucket,
    /// The location of a bucket, or its versioning.
    BucketSettings,
    /// A page of objects, by either version of the call.
    List,
    ListVersions,
    ListUploads,
    ListParts,
    Get,
    Head,
    Put,
    Copy,
    Delete,
    DeleteMany,
    CreateUpload,
    Part,
    PartCopy,
    Complete,
    Abort,
    Other,
}

/// A logged request.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub method: Method,
    pub bucket: String,
    /// Decoded; empty for requests about a bucket.
    pub key: Vec<u8>,
    /// As sent, encoded.
    pub path: String,
    /// Names and values, decoded.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    /// The page of a listing, from 1: the server's tokens contain the number.
    pub page: u32,
    pub at: Instant,
    /// The reply's status; `None` if there is no reply yet or it was lost.
    pub status: Option<u16>,
}

impl Request {
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path();
        let (bucket, key) =
            path.strip_prefix('/').unwrap_or(path).split_once('/').unwrap_or((&path[1..], ""));
        let query = query_of(uri.query().unwrap_or_default());
        let value = |name: &str| query.iter().find(|pair| pair.0 == name).map(|pair| &pair.1);
        let page = value("continuation-token").map_or(1, |token| page_of(token));
        Self {
            kind: kind_of(method, bucket, key, &|name| value(name).is_some(), headers),
            method: method.clone(),
            bucket: String::from_utf8_lossy(&decoded(bucket, false)).into_owned(),
            key: decoded(key, false),
            path: path.to_owned(),
            page,
            headers: headers.clone(),
            at: Instant::now(),
            status: None,
            query,
        }
    }

    /// Returns the first value of a name in the query.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    /// Returns the first value of a header if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn kind_of(
    method: &Method,
    bucket: &str,
    key: &str,
    has: &dyn Fn(&str) -> bool,
    headers: &HeaderMap,
) -> Kind {
    let copies = headers.contains_key("x-amz-copy-source");
    match (method.as_str(), bucket.is_empty(), key.is_empty()) {
        ("GET", true, _) => Kind::ListBuckets,
        ("GET", _, true) if has("versions") => Kind::ListVersions,
        ("GET", _, true) if has("uploads") => Kind::ListUploads,
        ("GET" | "PUT", _, true) if has("versioning") || has("location") => Kind::BucketSettings,
        ("GET", _, true) => Kind::List,
        ("HEAD", _, true) => Kind::HeadBucket,
        ("PUT", _, true) => Kind::CreateBucket,
        ("DELETE", _, true) => Kind::DeleteBucket,
        ("POST", _, true) if has("delete") => Kind::DeleteMany,
        ("GET", ..) if has("uploadId") => Kind::ListParts,
        ("GET", ..) => Kind::Get,
        ("HEAD", ..) => Kind::Head,
        ("PUT", ..) if has("uploadId") && copies => Kind::PartCopy,
        ("PUT", ..) if has("uploadId") => Kind::Part,
        ("PUT", ..) if copies => Kind::Copy,
        ("PUT", ..) => Kind::Put,
        ("DELETE", ..) if has("uploadId") => Kind::Abort,
        ("DELETE", ..) => Kind::Delete,
        ("POST", ..) if has("uploads") => Kind::CreateUpload,
        ("POST", ..) if has("uploadId") => Kind::Complete,
        _ => Kind::Other,
    }
}

/// Returns the continuation token after page `page`, whose last entry was `key`. It contains
/// characters that must be encoded in a query, like S3's own.
pub(super) fn token(page: u32, prefix: bool, key: &str) -> String {
    let kind = if prefix { 'p' } else { 'k' };
    format!("{}/+{kind}={}", page + 1, super::store::hex(key.as_bytes()))
}

/// Returns the last entry before a token, and whether it was a common prefix.
pub(super) fn token_key(token: &str) -> Option<(bool, String)> {
    let (kind, key) = token.split_once("/+")?.1.split_once('=')?;
    let digits = |at| u8::from_str_radix(key.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<_>> = (0..key.len()).step_by(2).map(digits).collect();
    Some((kind == "p", String::from_utf8(bytes?).ok()?))
}

fn page_of(token: &str) -> u32 {
    token.split_once('/').and_then(|(page, _)| page.parse().ok()).unwrap_or(1)
}

fn query_of(query: &str) -> Vec<(String, String)> {
    let text = |encoded| String::from_utf8_lossy(&decoded(encoded, true)).into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// Decodes percent-encoding; in a query, `+` is a space.
pub(super) fn decoded(encoded: &str, plus: bool) -> Vec<u8> {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = encoded.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    decoded
}
