//! The content of an object as it comes.

use super::super::{Head, StoreError, StoreErrorKind};
use super::S3;
use super::call::{Exchange, Request, Turn};
use super::objects::{CHECKSUM_MODE, Checksums};
use super::reply;
use super::transport::Caller;
use crate::model::{ETag, RequestKind};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Body as _;
use hyper::body::Incoming;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often in a row a reply may break off without a byte having come.
const BREAKS: u32 = 3;

/// An object's content, or a range of it, as it comes.
///
/// It holds a connection until it is dropped. A reply that breaks off is continued by another
/// request for what is missing, of the same object or not at all: by its entity tag.
pub struct Got {
    /// The object's head.
    pub head: Head,
    s3: S3,
    key: Box<[u8]>,
    /// What is still to come, as offsets in the object.
    left: Range<u64>,
    breaks: u32,
    receiving: Option<Receiving>,
}

/// A reply that is being received. Dropped before its end, its connection is closed.
struct Receiving {
    s3: S3,
    caller: Option<Caller>,
    body: Incoming,
    finished: bool,
    _turn: Turn,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            self.s3.rest(caller, self.finished);
        }
    }
}

impl S3 {
    /// Begins to read an object, or a range of it that is not empty; `version` is the entity tag
    /// that it must have.
    ///
    /// A range that goes beyond the object's end stops there. The checksum in the head comes with a
    /// whole object only: what a store tells beside a range may be a part's.
    #[expect(clippy::needless_pass_by_value, reason = "ranges are written where they are used")]
    pub fn get(
        &self,
        key: &[u8],
        version: Option<&ETag>,
        range: Option<Range<u64>>,
    ) -> Result<Got, StoreError> {
        let (head, left, receiving) = self.begin_get(key, version, range.as_ref())?;
        let receiving = Some(receiving);
        Ok(Got { head, s3: self.clone(), key: key.into(), left, breaks: 0, receiving })
    }

    fn begin_get(
        &self,
        key: &[u8],
        version: Option<&ETag>,
        range: Option<&Range<u64>>,
    ) -> Result<(Head, Range<u64>, Receiving), StoreError> {
        let heeds = &self.shared.heeds_read_conditions;
        let condition = version.filter(|_| heeds.load(Ordering::Relaxed));
        match (self.begin_get_if(key, (version, condition), range), condition) {
            // Where the tag differs that came with the content, the store isn't at fault.
            (Err(error), Some(tag))
                if error.kind == StoreErrorKind::PreconditionFailed && error.status.is_some() =>
            {
                // There are stores that never find a tag to match. What comes is held against it
                // here in any case.
                if !self.head(key)?.is_some_and(|head| head.etag.as_ref() == Some(tag)) {
                    return Err(error);
                }
                let begun = self.begin_get_if(key, (version, None), range)?;
                heeds.store(false, Ordering::Relaxed);
                Ok(begun)
            }
            (begun, _) => begun,
        }
    }

    /// `condition` is the tag that the store is to hold against the object's.
    fn begin_get_if(
        &self,
        key: &[u8],
        (version, condition): (Option<&ETag>, Option<&ETag>),
        range: Option<&Range<u64>>,
    ) -> Result<(Head, Range<u64>, Receiving), StoreError> {
        let mut request = Request::new(self, RequestKind::Get, Method::GET, Some(key), &[])?;
        // Content as it is kept, whoever passes it on.
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(tag) = condition.filter(|tag| tag.is_whole()) {
            request.header("if-match", &format!("\"{tag}\""))?;
        }
        if let Some(range) = range {
            if range.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Other).message("an empty range"));
            }
            request.header("range", &format!("bytes={}-{}", range.start, range.end - 1))?;
        } else if self.checksums() != Checksums::Refused {
            request.header(CHECKSUM_MODE.0, CHECKSUM_MODE.1)?;
        }
        let ((head, left, caller, body), turn) = self.run(
            &request,
            |exchange| {
                if !exchange.status.is_success() {
                    let reply = self.whole(&request, exchange)?;
                    return Err(self.refusal(&request, &reply));
                }
                match understand(&exchange, version, range) {
                    Ok((head, left)) => Ok((head, left, exchange.caller, exchange.body)),
                    Err(error) => {
                        self.rest(exchange.caller, false);
                        Err(error)
                    }
                }
            },
            || Ok(false),
        )?;
        let caller = Some(caller);
        let s3 = self.clone();
        Ok((head, left, Receiving { s3, caller, body, finished: false, _turn: turn }))
    }
}

/// What is coming: the object's head, and which part of its content.
fn understand(
    exchange: &Exchange,
    version: Option<&ETag>,
    asked: Option<&Range<u64>>,
) -> Result<(Head, Range<u64>), StoreError> {
    let length = reply::length(&exchange.headers)?;
    let range = reply::text(&exchange.headers, CONTENT_RANGE.as_str());
    let (comes, size) = match (exchange.status, asked) {
        (StatusCode::OK, Some(_)) if range.is_none() => (0..length, length),
        // There are stores (rclone) that give a part the status of a whole.
        (StatusCode::PARTIAL_CONTENT | StatusCode::OK, Some(_)) => {
            range.and_then(content_range).ok_or_else(|| {
                StoreError::bad_reply("it does not tell which part of the object it is")
            })?
        }
        (StatusCode::OK, None) => (0..length, length),
        _ => return Err(StoreError::bad_reply("its status is not one of reading")),
    };
    let expected = match asked {
        Some(asked) => asked.start..asked.end.min(size),
        None => 0..size,
    };
    if comes != expected || comes.end - comes.start != length {
        return Err(StoreError::bad_reply("it is not the part of the object that was asked for"));
    }
    let mut head = reply::head(&exchange.headers, size);
    if asked.is_some() {
        head.checksum = None;
    }
    if let (Some(asked), Some(got)) = (version, &head.etag)
        && asked != got
    {
        // The store takes no notice of the condition.
        return Err(StoreError::new(StoreErrorKind::PreconditionFailed));
    }
    Ok((head, comes))
}

/// Reads `bytes 0-9/443`: the range, and the size of the whole.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}

impl Got {
    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Waits for the next piece of the content; `None` once all of it has come.
    ///
    /// # Errors
    /// When the content can't be read to its end; what has come is as it should be.
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
            let (_, left, receiving) =
                self.s3.begin_get(&self.key, Some(&etag), Some(&self.left))?;
            if left != self.left {
                return Err(StoreError::bad_reply("the object has another size now"));
            }
            self.receiving = Some(receiving);
        }
    }

    fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(receiving) = &mut self.receiving else {
            // After an error, too, the end is only where all has come.
            let early = || StoreError::new(StoreErrorKind::Other).message("it was given up before");
            return if self.left.is_empty() { Ok(None) } else { Err(early()) };
        };
        let caller = receiving.caller.as_mut().expect("it is taken only when this is dropped");
        let piece = caller.piece(&mut receiving.body, self.s3.patience(RequestKind::Get))?;
        let Some(piece) = piece else {
            if !self.left.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Network)
                    .message(format!("the content ends {} bytes early", self.left())));
            }
            receiving.finished = true;
            self.receiving = None;
            return Ok(None);
        };
        if piece.len() as u64 > self.left.end - self.left.start {
            return Err(StoreError::bad_reply("more came than was announced"));
        }
        self.left.start += piece.len() as u64;
        self.breaks = 0;
        // Whoever has all of it need not ask for the end.
        receiving.finished = self.left.is_empty() && receiving.body.is_end_stream();
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        assert_eq!(content_range("bytes 2-9/443"), Some((2..10, 443)));
        for text in ["bytes 2-9/*", "bytes */443", "bytes 9-2/443", "bytes 2-443/443", "2-9/443"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
