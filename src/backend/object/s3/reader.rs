//! The content of an object as it comes.

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

/// How often in a row a reply may break off without a byte having come.
const BREAKS: u32 = 3;

/// An object's content, or a range of it, as it comes.
///
/// A reply that breaks off is continued by another request for what is missing, of the same object
/// or not at all: by its entity tag.
pub struct S3Reader {
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
    connection: Option<PooledConnection>,
    body: Incoming,
    /// What of the reply is still to come, as offsets in the object.
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

/// How content is to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As it is kept, whoever passes it on.
    Identity,
    /// Packed, where it is kept so: there are stores that unpack it for whoever doesn't ask for that.
    Gzip,
}

/// A reply that begins well.
struct Begun {
    coming: Coming,
    receiving: Receiving,
}

/// What the head of a reply says.
struct Coming {
    head: Head,
    /// What of the wanted is to come, as offsets in the object.
    left: Range<u64>,
    /// What the reply holds.
    comes: Range<u64>,
    /// How long the object is by the reply itself, if that tells.
    told: Option<u64>,
}

impl S3 {
    /// Begins to read an object, or a range of it.
    ///
    /// A range that goes beyond the object's end stops there. The checksum in the head comes with a
    /// whole object only: what a store tells beside a range may be a part's. A store that ignores the
    /// range sends the whole, of which all but the range is dropped.
    ///
    /// # Errors
    /// Also where the reply doesn't tell its length, no size is wanted, and the store doesn't tell the
    /// object's size in any other way.
    pub fn get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<S3Reader, StoreError> {
        let Begun { coming: Coming { head, left, .. }, receiving } = self.begin_get(key, wanted)?;
        let receiving = Some(receiving);
        Ok(S3Reader { head, s3: self.clone(), key: key.into(), left, breaks: 0, receiving })
    }

    /// Whether the store was seen to send the whole of an object of which a part was asked for.
    pub fn ignores_ranges(&self) -> bool {
        self.shared.ignores_ranges.load(Ordering::Relaxed)
    }

    fn begin_get(&self, key: &[u8], wanted: &Wanted<'_>) -> Result<Begun, StoreError> {
        let Some(begun) = self.begin_get_as(key, wanted, Encoding::Identity)? else {
            let size = Some(self.size_by_range(key)?);
            return self.begin_get(key, &Wanted { size, ..wanted.clone() });
        };
        let asks = &self.shared.asks_for_packed;
        let told = begun.coming.told;
        let is_listed = wanted.size.is_none() || told == wanted.size;
        if is_listed || !asks.load(Ordering::Relaxed) {
            return Ok(begun);
        }
        // It may have been unpacked on its way. Only a reply that tells the size that was listed is
        // better: what stands between may pack whatever it is asked to.
        drop(begun);
        match self.begin_get_as(key, wanted, Encoding::Gzip)? {
            Some(packed) if packed.coming.told == wanted.size => Ok(packed),
            _ => {
                // The length of what changed meanwhile says nothing of the store.
                if told.is_none() {
                    asks.store(false, Ordering::Relaxed);
                }
                let plain = self.begin_get_as(key, wanted, Encoding::Identity)?;
                plain.ok_or_else(no_length)
            }
        }
    }

    /// How many bytes an object has, as the reply to a part of it says.
    pub(super) fn size_by_range(&self, key: &[u8]) -> Result<u64, StoreError> {
        let wanted = Wanted { range: Some(0..1), ..Wanted::default() };
        match self.begin_get_as(key, &wanted, Encoding::Identity) {
            Ok(begun) => Ok(begun.ok_or_else(no_length)?.coming.head.size),
            // Of nothing there is no first byte.
            Err(error) if error.status == Some(416) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn begin_get_as(
        &self,
        key: &[u8],
        wanted: &Wanted<'_>,
        encoding: Encoding,
    ) -> Result<Option<Begun>, StoreError> {
        let heeds = &self.shared.heeds_read_conditions;
        let condition = wanted.version.filter(|_| heeds.load(Ordering::Relaxed));
        match (self.begin_get_if(key, wanted, condition, encoding), condition) {
            // Where the tag differs that came with the content, the store isn't at fault.
            (Err(error), Some(tag))
                if error.kind == StoreErrorKind::PreconditionFailed && error.status.is_some() =>
            {
                // There are stores that never find a tag to match. What comes is held against it
                // here in any case.
                if !self.head(key)?.is_some_and(|head| head.etag.as_ref() == Some(tag)) {
                    return Err(error);
                }
                let begun = self.begin_get_if(key, wanted, None, encoding)?;
                heeds.store(false, Ordering::Relaxed);
                Ok(begun)
            }
            (begun, _) => begun,
        }
    }

    /// `condition` is the tag that the store is to hold against the object's. `None` where the reply
    /// leaves open how long the object is.
    fn begin_get_if(
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
                    let reply = self.whole(&request, exchange)?;
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
    StoreError::bad_reply("it does not tell its length")
}

/// What is coming: the object's head, and which part of its content. `None` where that leaves open
/// how long the object is.
fn understand(exchange: &Exchange, wanted: &Wanted<'_>) -> Result<Option<Coming>, StoreError> {
    let length = reply::told_length(&exchange.headers)?;
    let part = reply::text(&exchange.headers, CONTENT_RANGE.as_str());
    let asked = wanted.range.as_ref();
    let is_whole = asked.is_none() || part.is_none();
    let (comes, told) = match exchange.status {
        StatusCode::OK if is_whole => (None, length),
        // There are stores (rclone) that give a part the status of a whole.
        StatusCode::PARTIAL_CONTENT | StatusCode::OK if asked.is_some() => {
            let (comes, size) = part.and_then(content_range).ok_or_else(|| {
                StoreError::bad_reply("it does not tell which part of the object it is")
            })?;
            (Some(comes), size)
        }
        _ => return Err(StoreError::bad_reply("its status is not one of reading")),
    };
    let Some(size) = told.or(wanted.size) else { return Ok(None) };
    let comes = comes.unwrap_or(0..size);
    let left = asked.map_or(0..size, |asked| asked.start..asked.end.min(size));
    let is_asked = if is_whole { left.start <= left.end } else { comes == left };
    if !is_asked || length.is_some_and(|length| comes.end - comes.start != length) {
        return Err(StoreError::bad_reply("it is not the part of the object that was asked for"));
    }
    let mut head = reply::head(&exchange.headers, size);
    if asked.is_some() {
        head.checksum = None;
    }
    if let (Some(asked), Some(got)) = (wanted.version, &head.etag)
        && asked != got
    {
        // The store takes no notice of the condition.
        return Err(StoreError::new(StoreErrorKind::PreconditionFailed));
    }
    // The bounds of a part tell as much as a length.
    let told = if is_whole { told } else { Some(size) };
    Ok(Some(Coming { head, left, comes, told }))
}

/// Reads `bytes 0-9/443`: the range, and the size of the whole; that of `bytes 0-9/*` isn't told.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let size = if size == "*" { None } else { Some(size.parse().ok()?) };
    let end = last.checked_add(1)?;
    (first <= last && size.is_none_or(|size| end <= size)).then_some((first..end, size))
}

impl S3Reader {
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
            let (size, range) = (Some(self.head.size), Some(self.left.clone()));
            let wanted = Wanted { version: Some(&etag), size, range };
            let begun = self.s3.begin_get(&self.key, &wanted)?;
            if begun.coming.left != self.left {
                return Err(StoreError::bad_reply("the object has another size now"));
            }
            self.receiving = Some(begun.receiving);
        }
    }

    /// The next piece of what is left; what a reply holds before and behind that is dropped.
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
            // Whoever has all of it need not ask for the end.
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
        // After an error, too, the end is only where all has come.
        Err(StoreError::new(StoreErrorKind::Other).message("it was given up before"))
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
