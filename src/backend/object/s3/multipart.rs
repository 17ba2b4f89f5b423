//! Multipart uploads.

use super::super::{
    Body, CompletedPart, Condition, CopySource, Headers, LookForWritten, PartTag, PartsPage,
    StoreError, StoreErrorKind, UploadId, UploadedPart,
};
use super::S3;
use super::call::Request;
use super::checksum::{self, CHECKSUM, Checksums, may_be_the_header};
use super::objects::{read_tag, write_condition, write_source};
use super::reply;
use super::xml::{Xml, once, required};
use crate::model::{ETag, RequestKind};
use bytes::Bytes;
use http::Method;
use http::header::ETAG;
use std::fmt::Write as _;
use std::ops::Range;

impl S3 {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// With [`StoreError::maybe_done`], an upload of unknown id may have begun.
    pub fn create_upload(&self, key: &[u8], headers: &Headers) -> Result<UploadId, StoreError> {
        let query = [("uploads", &b""[..])];
        let mut request =
            Request::new(self, RequestKind::CreateUpload, Method::POST, Some(key), &query)?;
        request.content(Body::default());
        reply::write_headers(headers, &mut request.headers)?;
        let checksums = self.checksums();
        if checksums != Checksums::Refused {
            request.header("x-amz-checksum-algorithm", "CRC64NVME")?;
            request.header("x-amz-checksum-type", "FULL_OBJECT")?;
        }
        let result = self.call(&request, |reply| read_created(&reply));
        match &result {
            Err(error) if checksums == Checksums::Untried && may_be_the_header(error) => {
                request.headers.remove("x-amz-checksum-algorithm");
                request.headers.remove("x-amz-checksum-type");
                let result = self.call(&request, |reply| read_created(&reply));
                if result.is_ok() {
                    self.set_checksums(Checksums::Refused);
                }
                result
            }
            _ => result,
        }
    }

    /// Uploads a part; part numbers are 1 to 10,000.
    pub fn upload_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        body: impl Into<Body>,
    ) -> Result<PartTag, StoreError> {
        let request = self.part(RequestKind::UploadPart, key, upload, number)?;
        let tag = self.with_checksum(request, body.into(), |reply| {
            let checksum = reply::text(&reply.headers, CHECKSUM).and_then(checksum::read);
            Ok(tag(reply::text(&reply.headers, ETAG.as_str()), checksum))
        })?;
        self.or_listed_part(key, upload, number, tag)
    }

    /// Returns a part's tag from the reply, or else from the store's list of parts.
    fn or_listed_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        tag: Option<PartTag>,
    ) -> Result<PartTag, StoreError> {
        match tag {
            Some(tag) => Ok(tag),
            None => match self.listed_part(key, upload, number)? {
                Some(part) => Ok(part.tag),
                None => Err(StoreError::bad_reply("it lacks the entity tag of a part")),
            },
        }
    }

    /// Returns a part from the store's list, if it is there and has a tag.
    fn listed_part(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
    ) -> Result<Option<UploadedPart>, StoreError> {
        let page = self.list_parts(key, upload, number.saturating_sub(1))?;
        Ok(page.parts.into_iter().find(|part| part.number == number))
    }

    /// Makes a part from a range of another object, within the store.
    pub fn upload_part_copy(
        &self,
        key: &[u8],
        upload: &UploadId,
        number: u16,
        from: &CopySource<'_>,
        range: Range<u64>,
    ) -> Result<PartTag, StoreError> {
        if range.is_empty() {
            return Err(StoreError::new(StoreErrorKind::Other).message("an empty range"));
        }
        let mut request = self.part(RequestKind::CopyPart, key, upload, number)?;
        request.content(Body::default());
        write_source(from, &mut request)?;
        let length = range.end - range.start;
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        request.header("x-amz-copy-source-range", &range)?;
        let read = |reply: reply::Reply| {
            let mut xml = reply.document()?;
            let (mut etag, mut checksum) = (None, None);
            while let Some(name) = xml.child()? {
                match name.as_str() {
                    "ETag" => once(&mut etag, xml.text()?, "ETag")?,
                    "ChecksumCRC64NVME" => once(&mut checksum, xml.text()?, "the checksum")?,
                    _ => xml.skip()?,
                }
            }
            xml.end()?;
            Ok(tag(etag.as_deref(), checksum.as_deref().and_then(checksum::read)))
        };
        // No other request uploads a part of this number.
        let look = || {
            let part = self.listed_part(key, upload, number)?;
            Ok(part.filter(|part| part.size == length).map(|part| Some(part.tag)))
        };
        let tag = self.call_or_look(&request, read, look)?;
        self.or_listed_part(key, upload, number, tag)
    }

    /// Completes an upload: its parts become the object. A store may take minutes; if a reply is
    /// lost, `look` returns the object, if it exists, before the request is sent again.
    ///
    /// # Errors
    /// `LostReply` if the upload existed when this call began and is gone: the object has to be
    /// looked up.
    pub fn complete_upload(
        &self,
        key: &[u8],
        upload: &UploadId,
        parts: &[CompletedPart],
        condition: Condition<'_>,
        look: LookForWritten<'_>,
    ) -> Result<Option<ETag>, StoreError> {
        let mut document = String::with_capacity(100 + 120 * parts.len());
        document.push_str("<CompleteMultipartUpload>");
        for CompletedPart { number, tag } in parts {
            let _infallible = write!(
                document,
                "<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag>",
                tag.etag.replace('&', "&amp;").replace('<', "&lt;")
            );
            if let Some(checksum) = tag.checksum {
                let checksum = checksum::text(checksum);
                let _infallible =
                    write!(document, "<ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME>");
            }
            document.push_str("</Part>");
        }
        document.push_str("</CompleteMultipartUpload>");

        let query = [("uploadId", upload.0.as_bytes())];
        let mut request =
            Request::new(self, RequestKind::CompleteUpload, Method::POST, Some(key), &query)?;
        request.header("content-type", "application/xml")?;
        write_condition(condition, &mut request)?;
        request.document(Bytes::from(document));
        let look = || Ok(look()?.map(|written| written.etag));
        let result = self.call_or_look(&request, |reply| read_tag(&reply), look);
        let result = result.and_then(|tag| self.or_listed(key, tag));
        result.map_err(|mut error| {
            if error.kind == StoreErrorKind::NoSuchUpload && error.maybe_done {
                error.kind = StoreErrorKind::LostReply;
            }
            error
        })
    }

    /// Aborts an upload; a missing one counts as aborted.
    pub fn abort_upload(&self, key: &[u8], upload: &UploadId) -> Result<(), StoreError> {
        let query = [("uploadId", upload.0.as_bytes())];
        let request =
            Request::new(self, RequestKind::AbortUpload, Method::DELETE, Some(key), &query)?;
        match self.call(&request, |_| Ok(())) {
            Err(error)
                if matches!(
                    error.kind,
                    StoreErrorKind::NoSuchUpload | StoreErrorKind::NotFound
                ) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    /// Lists the parts of an upload after a number (0 for all).
    pub fn list_parts(
        &self,
        key: &[u8],
        upload: &UploadId,
        after: u16,
    ) -> Result<PartsPage, StoreError> {
        let marker = after.to_string();
        let query = [("part-number-marker", marker.as_bytes()), ("uploadId", upload.0.as_bytes())];
        let request = Request::new(self, RequestKind::ListParts, Method::GET, Some(key), &query)?;
        self.call(&request, |reply| {
            let page = read_parts(reply.document()?)?;
            if page.next.is_some_and(|next| next <= after) {
                return Err(StoreError::bad_reply("the next page has the same marker as this one"));
            }
            Ok(page)
        })
    }

    fn part(
        &self,
        kind: RequestKind,
        key: &[u8],
        upload: &UploadId,
        number: u16,
    ) -> Result<Request, StoreError> {
        let number = number.to_string();
        let query = [("partNumber", number.as_bytes()), ("uploadId", upload.0.as_bytes())];
        Request::new(self, kind, Method::PUT, Some(key), &query)
    }
}

fn read_created(reply: &reply::Reply) -> Result<UploadId, StoreError> {
    let mut xml = reply.document()?;
    let mut id = None;
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "UploadId" => once(&mut id, xml.text()?, "UploadId")?,
            _ => xml.skip()?,
        }
    }
    xml.end()?;
    let id = required(id.filter(|id| !id.is_empty()), "UploadId")?;
    Ok(UploadId(id.into()))
}

fn tag(etag: Option<&str>, checksum: Option<u64>) -> Option<PartTag> {
    let etag = etag?.trim_ascii();
    let etag = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag);
    (!etag.is_empty()).then(|| PartTag { etag: etag.into(), checksum })
}

fn read_parts(mut xml: Xml<'_>) -> Result<PartsPage, StoreError> {
    let mut page = PartsPage::default();
    let (mut truncated, mut next) = (None, None);
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "IsTruncated" => once(&mut truncated, xml.truth()?, "IsTruncated")?,
            "NextPartNumberMarker" => once(&mut next, xml.text()?, "the next number")?,
            // A part without a tag can't be named when the upload is completed.
            "Part" => page.parts.extend(read_part(&mut xml)?),
            _ => xml.skip()?,
        }
    }
    xml.end()?;
    if truncated.unwrap_or(false) {
        let next = next.and_then(|next| next.trim_ascii().parse().ok());
        page.next = Some(required(next, "NextPartNumberMarker")?);
    }
    Ok(page)
}

fn read_part(xml: &mut Xml<'_>) -> Result<Option<UploadedPart>, StoreError> {
    let (mut number, mut size, mut etag, mut checksum) = (None, None, None, None);
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "PartNumber" => once(&mut number, xml.value::<u16>()?, "PartNumber")?,
            "Size" => once(&mut size, xml.value::<u64>()?, "Size")?,
            "ETag" => once(&mut etag, xml.text()?, "ETag")?,
            "ChecksumCRC64NVME" => once(&mut checksum, xml.text()?, "the checksum")?,
            _ => xml.skip()?,
        }
    }
    let (number, size) = (required(number, "PartNumber")?, required(size, "Size")?);
    let tag = tag(etag.as_deref(), checksum.as_deref().and_then(checksum::read));
    Ok(tag.map(|tag| UploadedPart { number, size, tag }))
}
