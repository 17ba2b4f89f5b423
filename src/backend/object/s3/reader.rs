//! Reading the content of an object.

use super::super::{Head, StoreError, StoreErrorKind, Wanted};
use super::S3;
use super::call::{Exchange, Request, RequestPermit};
use super::checksum::{CHECKSUM_MODE, Checksums};
use super::reply;
use super::transport::PooledConnection;
use crate::model::{ETag, RequestKind};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Body as _;
use hyper::body::Incoming;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many replies in a row may break off before the first byte.
const BREAKS: u32 = 3;

/// Reads an object's content, or a range of it, as it arrives.
///
/// If a reply breaks off, another request continues it. The entity tag ensures that it is the same
/// object.
pub struct S3Reader {
    /// The object's head.
    pub head: Head,
    s3: S3,
    key: Box<[u8]>,
    /// The range still to be read, as offsets in the object.
    left: Range<u64>,
    breaks: u32,
    receiving: Option<Receiving>,
}

/// A reply that is being received. Dropping it before its end closes the connection.
struct Receiving {
    s3: S3,
    connection: Option<PooledConnection>,
    body: Incoming,
    /// The rest of the reply, as offsets in the object.
    left: Range<u64>,
    finished: bool,
    _permit: RequestPermit,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.s3.release(connection, self.finished);
        }
    }
}

/// The requested content encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Unchanged, also by proxies.
    Identity,
    /// Compressed, if it is stored so: some stores decompress it for clients that don't accept
    /// gzip.
    Gzip,
}

/// A reply whose head is as expected.
struct Begun {
    coming: Coming,
    receiving: Receiving,
}

/// What the head of a reply says.
struct Coming {
    head: Head,
    /// The part of the wanted range that the reply contains, as offsets in the object.
    left: Range<u64>,
    /// The range of the object in the reply.
    comes: Range<u64>,
    /// The size of the object, if the reply gives it.
    object_size: Option<u64>,
}

impl S3 {
    /// Begins to read an object, or a range of it.
    ///
    /// A range beyond the object's end stops there. The checksum in the head is present only for a
    /// whole object: what a store sends with a range may be a part's. If a store ignores the range
    /// and sends the whole object, bytes outside the range are dropped.
    ///
    /// # Errors
    /// Also fails if neither the reply, nor `wanted`, nor a further request gives the length.
    pub fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<S3Reader, StoreError> {
        let Begun { coming: Coming { head, left, .. }, receiving } = self.begin_get(key, wanted)?;
        let receiving = Some(receiving);
        Ok(S3Reader { head, s3: self.clone(), key: key.into(), left, breaks: 0, receiving })
    }

    /// Returns whether the store sent a whole object when a range was requested.
    pub fn ignores_ranges(&self) -> bool {
        self.shared.ignores_ranges.load(Ordering::Relaxed)
    }

    fn begin_get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Begun, StoreError> {
        let Some(begun) = self.get_encoded(key, wanted, Encoding::Identity)? else {
            let size = Some(self.size_by_range(key)?);
            return self.begin_get(key, &Wanted { size, ..wanted.clone() });
        };
        let requests_gzip = &self.shared.requests_gzip;
        let object_size = begun.coming.object_size;
        let is_listed = wanted.size.is_none() || object_size == wanted.size;
        if is_listed || !requests_gzip.load(Ordering::Relaxed) {
            return Ok(begun);
        }
        // The content may have been decompressed in transit. Only a reply with the listed size is
        // better: a proxy may compress whatever a client accepts compressed.
        drop(begun);
        match self.get_encoded(key, wanted, Encoding::Gzip)? {
            Some(compressed) if compressed.coming.object_size == wanted.size => Ok(compressed),
            _ => {
                // If the object has changed, the length says nothing about the store.
                if object_size.is_none() {
                    requests_gzip.store(false, Ordering::Relaxed);
                }
                let plain = self.get_encoded(key, wanted, Encoding::Identity)?;
                plain.ok_or_else(no_length)
            }
        }
    }

    /// Returns an object's size from the reply to a range of it.
    pub(super) fn size_by_range(&self, key: &[u8]) -> Result<u64, StoreError> {
        let wanted = Wanted { range: Some(0..1), ..Wanted::default() };
        match self.get_encoded(key, &wanted, Encoding::Identity) {
            Ok(begun) => Ok(begun.ok_or_else(no_length)?.coming.head.size),
            // The object is empty.
            Err(error) if error.status == Some(416) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn get_encoded(
        &self,
        key: &[u8],
        wanted: &Wanted<'_>,
        encoding: Encoding,
    ) -> Result<Option<Begun>, StoreError> {
        let supports_conditions = &self.shared.supports_read_conditions;
        let condition = wanted.version.filter(|_| supports_conditions.load(Ordering::Relaxed));
        match (self.get_conditional(key, wanted, condition, encoding), condition) {
            // If the content came with another tag, the condition was rightly unmet.
            (Err(error), Some(tag))
                if error.kind == StoreErrorKind::PreconditionFailed && error.status.is_some() =>
            {
                // Some stores never find a matching tag. The reply's tag is compared here in any
                // case.
                if !self.head(key)?.is_some_and(|head| head.etag.as_ref() == Some(tag)) {
                    return Err(error);
                }
                let begun = self.get_conditional(key, wanted, None, encoding)?;
                supports_conditions.store(false, Ordering::Relaxed);
                Ok(begun)
            }
            (begun, _) => begun,
        }
    }

    /// Begins a GET with `condition` as the tag for `If-Match`. Returns `None` if the reply doesn't
    /// give the object's length.
    fn get_conditional(
        &self,
        key: &[u8],
        wanted: &Wanted<'_>,
        condition: Option<&ETag>,
        encoding: Encoding,
    ) -> Result<Option<Begun>, StoreError> {
        let mut request = Request::new(self, RequestKind::Get, Method::GET, Some(key), &[])?;
        let encoding = match encoding {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
        };
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        if let Some(tag) = condition.filter(|tag| tag.is_whole()) {
            request.header("if-match", &format!("\"{tag}\""))?;
        }
        if let Some(range) = &wanted.range {
            if range.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Other).message("an empty range"));
            }
            request.header("range", &format!("bytes={}-{}", range.start, range.end - 1))?;
        } else if self.checksums() != Checksums::Refused {
            request.header(CHECKSUM_MODE.0, CHECKSUM_MODE.1)?;
        }
        let ((coming, exchange), permit) = self.run(
            &request,
            |exchange| {
                if !exchange.status.is_success() {
                    let reply = self.read_reply(&request, exchange)?;
                    return Err(self.refusal(&request, &reply));
                }
                match understand(&exchange, wanted) {
                    Ok(coming) => Ok((coming, exchange)),
                    Err(error) => {
                        self.release(exchange.connection, false);
                        Err(error)
                    }
                }
            },
            || Ok(false),
        )?;
        let Exchange { connection, body, .. } = exchange;
        let Some(coming) = coming else {
            self.release(connection, false);
            return Ok(None);
        };
        if coming.comes.start < coming.left.start || coming.left.end < coming.comes.end {
            self.shared.ignores_ranges.store(true, Ordering::Relaxed);
        }
        let receiving = Receiving {
            s3: self.clone(),
            connection: Some(connection),
            body,
            left: coming.comes.clone(),
            finished: false,
            _permit: permit,
        };
        Ok(Some(Begun { coming, receiving }))
    }
}

fn no_length() -> StoreError {
    StoreError::bad_reply("it has no length")
}

/// Reads the object's head and the range in a reply. Returns `None` if they don't give the object's
/// length.
fn understand(exchange: &Exchange, wanted: &Wanted<'_>) -> Result<Option<Coming>, StoreError> {
    let length = reply::optional_length(&exchange.headers)?;
    let part = reply::text(&exchange.headers, CONTENT_RANGE.as_str());
    let range = wanted.range.as_ref();
    let is_whole = range.is_none() || part.is_none();
    let (comes, object_size) = match exchange.status {
        StatusCode::OK if is_whole => (None, length),
        // Some stores (rclone) send a range with status 200.
        StatusCode::PARTIAL_CONTENT | StatusCode::OK if range.is_some() => {
            let (comes, size) = part.and_then(content_range).ok_or_else(|| {
                StoreError::bad_reply("it does not say which range of the object it is")
            })?;
            (Some(comes), size)
        }
        _ => return Err(StoreError::bad_reply("its status is not that of a read")),
    };
    let Some(size) = object_size.or(wanted.size) else { return Ok(None) };
    let comes = comes.unwrap_or(0..size);
    let left = range.map_or(0..size, |range| range.start..range.end.min(size));
    let is_wanted = if is_whole { left.start <= left.end } else { comes == left };
    if !is_wanted || length.is_some_and(|length| comes.end - comes.start != length) {
        return Err(StoreError::bad_reply("it is not the requested range of the object"));
    }
    let mut head = reply::head(&exchange.headers, size);
    if range.is_some() {
        head.checksum = None;
    }
    if let (Some(version), Some(found)) = (wanted.version, &head.etag)
        && version != found
    {
        // The store ignored the condition.
        return Err(StoreError::new(StoreErrorKind::PreconditionFailed));
    }
    // The bounds of a range imply the length.
    let object_size = if is_whole { object_size } else { Some(size) };
    Ok(Some(Coming { head, left, comes, object_size }))
}

/// Parses `bytes 0-9/443` into the range and the size of the whole object, which is unknown in
/// `bytes 0-9/*`.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let size = if size == "*" { None } else { Some(size.parse().ok()?) };
    let end = last.checked_add(1)?;
    (first <= last && size.is_none_or(|size| end <= size)).then_some((first..end, size))
}

impl S3Reader {
    /// Returns the number of bytes still to be read.
    pub fn left(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Waits for the next piece of content; `None` at the end.
    ///
    /// # Errors
    /// Fails if the content can't be read to its end; the pieces before are valid.
    pub fn read(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let error = match self.piece() {
                Ok(piece) => return Ok(piece),
                Err(error) => error,
            };
            self.receiving = None;
            self.breaks += 1;
            let passing = matches!(error.kind, StoreErrorKind::Network | StoreErrorKind::BadReply);
            let Some(etag) = self.head.etag else { return Err(error) };
            if !passing || self.breaks > BREAKS {
                return Err(error);
            }
            self.s3.limits.retried(RequestKind::Get, Duration::ZERO);
            let (size, range) = (Some(self.head.size), Some(self.left.clone()));
            let wanted = Wanted { version: Some(&etag), size, range };
            let begun = self.s3.begin_get(&self.key, &wanted)?;
            if begun.coming.left != self.left {
                return Err(StoreError::bad_reply("the object has another size now"));
            }
            self.receiving = Some(begun.receiving);
        }
    }

    /// Returns the next piece within the range; bytes before and after it are dropped.
    fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(receiving) = &mut self.receiving {
            let connection =
                receiving.connection.as_mut().expect("it is taken only when this is dropped");
            let piece =
                connection.piece(&mut receiving.body, self.s3.timeouts(RequestKind::Get))?;
            let Some(piece) = piece else {
                if !self.left.is_empty() {
                    return Err(StoreError::new(StoreErrorKind::Network)
                        .message(format!("the content ends {} bytes early", self.left())));
                }
                receiving.finished = true;
                self.receiving = None;
                break;
            };
            let length = piece.len() as u64;
            if length > receiving.left.end - receiving.left.start {
                return Err(StoreError::bad_reply("more came than was announced"));
            }
            let begins = receiving.left.start;
            receiving.left.start += length;
            let within = |at: u64| at.saturating_sub(begins).min(length) as usize;
            let piece = piece.slice(within(self.left.start)..within(self.left.end));
            self.left.start += piece.len() as u64;
            // With all bytes received, don't wait for the end of the body.
            receiving.finished = receiving.left.is_empty() && receiving.body.is_end_stream();
            if self.left.is_empty() && !receiving.left.is_empty() {
                self.receiving = None;
            }
            if !piece.is_empty() {
                self.breaks = 0;
                return Ok(Some(piece));
            }
        }
        if self.left.is_empty() {
            return Ok(None);
        }
        // Also after an error, the end is reported only if all bytes were read.
        Err(StoreError::new(StoreErrorKind::Other).message("an earlier read of it failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        assert_eq!(content_range("bytes 2-9/443"), Some((2..10, Some(443))));
        assert_eq!(content_range("bytes 2-9/*"), Some((2..10, None)));
        for text in [
            "bytes 2-18446744073709551615/*",
            "bytes */443",
            "bytes 9-2/443",
            "bytes 2-443/443",
            "2-9/443",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
