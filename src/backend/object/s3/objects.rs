//! Whole objects: their heads, writing and copying them.

use super::super::{
    Body, Condition, CopySource, Head, Headers, LookForWritten, StoreError, StoreErrorKind,
};
use super::S3;
use super::call::Request;
use super::checksum::{self, CHECKSUM, CHECKSUM_MODE, Checksums, may_be_the_header};
use super::encode;
use super::reply::{self, Reply};
use super::xml::once;
use crate::model::{ETag, RequestKind};
use http::Method;
use http::header::RANGE;
use std::sync::atomic::Ordering;

/// Names in a request where content is copied from.
pub(super) fn write_source(from: &CopySource<'_>, request: &mut Request) -> Result<(), StoreError> {
    let mut source = String::from("/");
    encode::path(from.bucket.as_bytes(), &mut source);
    source.push('/');
    encode::path(from.key, &mut source);
    request.header("x-amz-copy-source", &source)?;
    if let Some(version) = from.version.filter(|version| version.is_whole()) {
        request.header("x-amz-copy-source-if-match", &format!("\"{version}\""))?;
    }
    Ok(())
}

impl S3 {
    /// Asks for an object's head; `None` when there is none (a reply without a body can't tell a
    /// missing object from a missing bucket).
    pub fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        let request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &[])?;
        self.ask_head(key, &request)
    }

    /// Asks for an object's head with the checksum of its content.
    pub fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        let mut request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &[])?;
        request.header(CHECKSUM_MODE.0, CHECKSUM_MODE.1)?;
        self.ask_head(key, &request)
    }

    fn ask_head(&self, key: &[u8], request: &Request) -> Result<Option<Head>, StoreError> {
        let ask = || {
            let read = |reply: Reply| Ok((reply::told_length(&reply.headers)?, reply.headers));
            let size_of = |told: Option<u64>| told.map_or_else(|| self.size_by_range(key), Ok);
            let head = self.call(request, read);
            match head.and_then(|(told, headers)| Ok(reply::head(&headers, size_of(told)?))) {
                Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
                result => result.map(Some),
            }
        };
        match ask() {
            Err(error) if is_unexplained(&error) => match self.why_not(key) {
                Ok(()) => ask(),
                Err(why) if why.kind == StoreErrorKind::NotFound => Ok(None),
                Err(why) if why.code.is_none() => Err(error),
                // What a HEAD needs is known better of itself.
                Err(why) if why.kind == error.kind => Err(StoreError { help: error.help, ..why }),
                Err(why) => Err(why),
            },
            result => result,
        }
    }

    /// Asks for the first byte of an object, for what a refusal says: a reply to HEAD has no body, so
    /// no reason. Expired credentials are renewed on the way, and a clock is set.
    fn why_not(&self, key: &[u8]) -> Result<(), StoreError> {
        let mut request = Request::new(self, RequestKind::Get, Method::GET, Some(key), &[])?;
        request.header(RANGE.as_str(), "bytes=0-0")?;
        match self.call(&request, |_| Ok(())) {
            // There is no first byte.
            Err(error) if error.status == Some(416) => Ok(()),
            result => result,
        }
    }

    /// Asks how many bytes the first part of an object has, as it was uploaded; `None` when there is
    /// no such object. A store that doesn't know parts tells the size of the whole.
    pub fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let query: [(&str, &[u8]); 1] = [("partNumber", b"1")];
        let request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &query)?;
        match self.call(&request, |reply| reply::length(&reply.headers)) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// Writes a whole object; its tag, if the store gives it one.
    ///
    /// # Errors
    /// `PreconditionFailed` with [`StoreError::maybe_done`] may mean that an earlier try of this very
    /// call was carried out: look before you believe it.
    pub fn put(
        &self,
        key: &[u8],
        body: impl Into<Body>,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let mut request = Request::new(self, RequestKind::Put, Method::PUT, Some(key), &[])?;
        reply::write_headers(headers, &mut request.headers)?;
        write_condition(condition, &mut request)?;
        let told = self.with_checksum(request, body.into(), |reply| Ok(reply.etag()))?;
        self.or_listed(key, told)
    }

    /// The tag that a reply told, or else the one that a look at the object tells.
    pub(super) fn or_listed(
        &self,
        key: &[u8],
        told: Option<ETag>,
    ) -> Result<Option<ETag>, StoreError> {
        match told {
            Some(tag) => Ok(Some(tag)),
            None => Ok(self.head(key)?.and_then(|head| head.etag)),
        }
    }

    /// Copies an object within the store, up to 5 GiB; with `replace`, what is kept with the copy is
    /// that instead of what the source has. `condition` is on what stands at `key`. A store may take
    /// minutes for it: where a reply is lost, `look` tells the tag of the copy, if that stands, before
    /// the store is asked for it again.
    ///
    /// # Errors
    /// `PreconditionFailed` also where the source is not the version asked for. With
    /// [`StoreError::maybe_done`], see [`S3::put`].
    pub fn copy(
        &self,
        from: &CopySource<'_>,
        key: &[u8],
        replace: Option<&Headers>,
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let mut request = Request::new(self, RequestKind::Copy, Method::PUT, Some(key), &[])?;
        request.content(Body::default());
        write_source(from, &mut request)?;
        write_condition(condition, &mut request)?;
        if let Some(headers) = replace {
            request.header("x-amz-metadata-directive", "REPLACE")?;
            reply::write_headers(headers, &mut request.headers)?;
        }
        let look = || Ok(look()?.map(|written| written.etag));
        let told = self.call_or_look(&request, |reply| read_tag(&reply), look)?;
        self.or_listed(key, told)
    }

    /// Sends content with its checksum, or without for a store that refuses that: learnt once.
    pub(super) fn with_checksum<T>(
        &self,
        mut request: Request,
        body: Body,
        read: impl Fn(Reply) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let known = self.checksums();
        if known == Checksums::Refused {
            request.content(body);
            return self.call(&request, read);
        }
        let mut checksum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        body.pieces().iter().for_each(|piece| checksum.update(piece));
        request.header(CHECKSUM, &checksum::text(checksum.finalize()))?;
        request.content(body);
        let result = self.call(&request, &read);
        match &result {
            Ok(_) => self.learn(Checksums::Taken),
            Err(error) if known == Checksums::Untried && may_be_the_header(error) => {
                request.headers.remove(CHECKSUM);
                let result = self.call(&request, read);
                if result.is_ok() {
                    self.learn(Checksums::Refused);
                }
                return result;
            }
            Err(_) => {}
        }
        result
    }

    pub(super) fn checksums(&self) -> Checksums {
        match self.shared.checksums.load(Ordering::Relaxed) {
            0 => Checksums::Untried,
            1 => Checksums::Taken,
            _ => Checksums::Refused,
        }
    }

    pub(super) fn learn(&self, checksums: Checksums) {
        self.shared.checksums.store(checksums as u8, Ordering::Relaxed);
    }
}

/// Whether a store refused a request without a reason, which may concern every request.
fn is_unexplained(error: &StoreError) -> bool {
    error.code.is_none() && matches!(error.status, Some(301 | 307 | 308 | 400 | 401 | 403))
}

/// The tag that a reply's XML tells of what was made, if it does.
pub(super) fn read_tag(reply: &Reply) -> Result<Option<ETag>, StoreError> {
    let mut xml = reply.document()?;
    let mut etag = None;
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "ETag" => once(&mut etag, xml.text()?, "ETag")?,
            _ => xml.skip()?,
        }
    }
    xml.end()?;
    Ok(etag.and_then(|etag| ETag::new(etag.as_bytes())))
}

pub(super) fn write_condition(
    condition: Condition<'_>,
    request: &mut Request,
) -> Result<(), StoreError> {
    match condition {
        Condition::None => Ok(()),
        Condition::Absent => request.header("if-none-match", "*"),
        // What can't be sent back can't be asked for.
        Condition::Matches(etag) if !etag.is_whole() => Ok(()),
        Condition::Matches(etag) => request.header("if-match", &format!("\"{etag}\"")),
    }
}
