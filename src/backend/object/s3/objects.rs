//! Whole objects: reading heads, writing and copying.

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

/// Adds the source of a copy to a request.
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
    /// Requests an object's head; returns `None` if there is none (a reply without a body doesn't
    /// distinguish a missing object from a missing bucket).
    pub fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        let request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &[])?;
        self.ask_head(key, &request)
    }

    /// Requests an object's head with the checksum of its content.
    pub fn head_with_checksum(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        let mut request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &[])?;
        request.header(CHECKSUM_MODE.0, CHECKSUM_MODE.1)?;
        self.ask_head(key, &request)
    }

    fn ask_head(&self, key: &[u8], request: &Request) -> Result<Option<Head>, StoreError> {
        let ask = || {
            let read = |reply: Reply| Ok((reply::optional_length(&reply.headers)?, reply.headers));
            let size_of = |length: Option<u64>| length.map_or_else(|| self.size_by_range(key), Ok);
            let head = self.call(request, read);
            match head.and_then(|(length, headers)| Ok(reply::head(&headers, size_of(length)?))) {
                Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
                result => result.map(Some),
            }
        };
        match ask() {
            Err(error) if is_unexplained(&error) => match self.why_not(key) {
                Ok(()) => ask(),
                Err(why) if why.kind == StoreErrorKind::NotFound => Ok(None),
                Err(why) if why.code.is_none() => Err(error),
                // The hint for HEAD is more precise.
                Err(why) if why.kind == error.kind => Err(StoreError { help: error.help, ..why }),
                Err(why) => Err(why),
            },
            result => result,
        }
    }

    /// Requests the first byte of an object to get the reason of a refusal, which a reply to HEAD,
    /// having no body, doesn't give. This also renews expired credentials and corrects the clock.
    fn why_not(&self, key: &[u8]) -> Result<(), StoreError> {
        let mut request = Request::new(self, RequestKind::Get, Method::GET, Some(key), &[])?;
        request.header(RANGE.as_str(), "bytes=0-0")?;
        match self.call(&request, |_| Ok(())) {
            // The object is empty.
            Err(error) if error.status == Some(416) => Ok(()),
            result => result,
        }
    }

    /// Requests the size in bytes of the first part of an object as it was uploaded; `None` if
    /// there is no object. A store that doesn't know parts reports the size of the whole object.
    pub fn first_part(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let query: [(&str, &[u8]); 1] = [("partNumber", b"1")];
        let request = Request::new(self, RequestKind::Head, Method::HEAD, Some(key), &query)?;
        match self.call(&request, |reply| reply::length(&reply.headers)) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// Writes a whole object, and returns its tag if the store assigns one.
    ///
    /// # Errors
    /// `PreconditionFailed` with [`StoreError::maybe_done`] may mean that an earlier try of this
    /// call succeeded: check the object.
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
        let tag = self.with_checksum(request, body.into(), |reply| Ok(reply.etag()))?;
        self.or_listed(key, tag)
    }

    /// Returns the tag from the reply, or else from the object's head.
    pub(super) fn or_listed(
        &self,
        key: &[u8],
        tag: Option<ETag>,
    ) -> Result<Option<ETag>, StoreError> {
        match tag {
            Some(tag) => Ok(Some(tag)),
            None => Ok(self.head(key)?.and_then(|head| head.etag)),
        }
    }

    /// Copies an object of up to 5 GiB within the store. `replace` gives the copy other headers
    /// than the source's. `condition` applies to the object at `key`. A store may take minutes; if
    /// a reply is lost, `look` returns the copy, if it exists, before the request is sent again.
    ///
    /// # Errors
    /// `PreconditionFailed` also if the source is not the given version. With
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
        let tag = self.call_or_look(&request, |reply| read_tag(&reply), look)?;
        self.or_listed(key, tag)
    }

    /// Sends content with its checksum, or without for a store that refuses it, which is found out
    /// once.
    pub(super) fn with_checksum<T>(
        &self,
        mut request: Request,
        body: Body,
        read: impl Fn(Reply) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let current = self.checksums();
        if current == Checksums::Refused {
            request.content(body);
            return self.call(&request, read);
        }
        let mut checksum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        body.pieces().iter().for_each(|piece| checksum.update(piece));
        request.header(CHECKSUM, &checksum::text(checksum.finalize()))?;
        request.content(body);
        let result = self.call(&request, &read);
        match &result {
            Ok(_) => self.set_checksums(Checksums::Taken),
            Err(error) if current == Checksums::Untried && may_be_the_header(error) => {
                request.headers.remove(CHECKSUM);
                let result = self.call(&request, read);
                if result.is_ok() {
                    self.set_checksums(Checksums::Refused);
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

    pub(super) fn set_checksums(&self, checksums: Checksums) {
        self.shared.checksums.store(checksums as u8, Ordering::Relaxed);
    }
}

/// Returns whether a store refused a request without a reason, which may apply to every request.
fn is_unexplained(error: &StoreError) -> bool {
    error.code.is_none() && matches!(error.status, Some(301 | 307 | 308 | 400 | 401 | 403))
}

/// Reads the new object's tag from a reply's XML, if there is one.
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
        // A tag that can't be sent can't be a condition.
        Condition::Matches(etag) if !etag.is_whole() => Ok(()),
        Condition::Matches(etag) => request.header("if-match", &format!("\"{etag}\"")),
    }
}
