//! Interpretation of replies: errors, and headers of objects.

use super::super::{Head, Headers, StoreError, StoreErrorKind};
use super::checksum::{self, CHECKSUM};
use super::retry::LONGEST_ASKED;
use super::time;
use super::xml::{Xml, once};
use crate::location;
use crate::model::ETag;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use std::time::Duration;

/// Headers that are kept with an object besides its type.
pub(super) const KEPT: [&str; 5] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// The prefix of user metadata headers.
pub(super) const USER: &str = "x-amz-meta-";

/// A reply with its complete body.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// Opens the body's XML. It may be an error despite a successful status, if the store sent that
    /// before the error occurred.
    ///
    /// Stores differ in the name of the outermost element, so the required content identifies a
    /// proper reply.
    pub(super) fn document(&self) -> Result<Xml<'_>, StoreError> {
        let (xml, name) = Xml::open(&self.body)?;
        if name.as_str() == "Error" { Err(self.refusal(true)) } else { Ok(xml) }
    }

    /// Returns the error of this reply. `of_object` says whether the request was for a key.
    pub(super) fn refusal(&self, of_object: bool) -> StoreError {
        let body = ErrorBody::read(&self.body);
        let status = self.status.as_u16();
        let region = text(&self.headers, "x-amz-bucket-region").map(str::to_owned);
        let expected = || region_in(&body.message).map(str::to_owned);
        let region = region.or(body.region.clone()).or_else(expected);
        let region = region.filter(|region| location::region(region).is_ok());
        let kind = match kind(status, &body.code, region, of_object) {
            // The same code is used for malformed access keys.
            StoreErrorKind::WrongRegion(None) if body.message.contains("AKID") => {
                StoreErrorKind::BadCredentials
            }
            StoreErrorKind::Archived(_) => StoreErrorKind::Archived(body.class.map(Into::into)),
            kind => kind,
        };
        let mut error = StoreError::new(kind).replied(Some(status), &body.code, &body.message);
        error.retry_after = retry_after(&self.headers);
        error
    }

    /// Returns the entity tag in the headers, if there is one.
    pub(super) fn etag(&self) -> Option<ETag> {
        etag(&self.headers)
    }
}

/// Finds the region in a message like "the region 'us-east-1' is wrong; expecting 'eu-west-1'".
fn region_in(message: &str) -> Option<&str> {
    message.split_once("expecting '")?.1.split_once('\'').map(|(region, _)| region)
}

/// The content of an error's XML.
#[derive(Default)]
struct ErrorBody {
    code: String,
    message: String,
    region: Option<String>,
    /// The storage class.
    class: Option<String>,
}

impl ErrorBody {
    /// Reads what can be parsed: a proxy may reply with HTML.
    fn read(body: &[u8]) -> Self {
        Self::parse(body).unwrap_or_default()
    }

    fn parse(body: &[u8]) -> Result<Self, StoreError> {
        let mut xml = Xml::expect(body, "Error")?;
        let (mut code, mut message, mut region, mut class) = (None, None, None, None);
        while let Some(name) = xml.child()? {
            match name.as_str() {
                "Code" => once(&mut code, xml.text()?, "Code")?,
                "Message" => once(&mut message, xml.text()?, "Message")?,
                "Region" => once(&mut region, xml.text()?, "Region")?,
                "StorageClass" => once(&mut class, xml.text()?, "StorageClass")?,
                _ => xml.skip()?,
            }
        }
        let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
        Ok(Self { code, message, region, class })
    }
}

/// Maps a store's error code, or without one the status, to a kind of error
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
pub(super) fn kind(
    status: u16,
    code: &str,
    region: Option<String>,
    of_object: bool,
) -> StoreErrorKind {
    use StoreErrorKind as Kind;
    let elsewhere = |region: Option<String>| match region {
        Some(region) => Kind::WrongRegion(Some(region.into())),
        None => Kind::Redirect,
    };
    match code {
        "NoSuchKey" | "NoSuchVersion" => Kind::NotFound,
        "NoSuchBucket" => Kind::NoBucket,
        "NoSuchUpload" => Kind::NoSuchUpload,
        "PreconditionFailed" => Kind::PreconditionFailed,
        "ConditionalRequestConflict" => Kind::Conflict,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Kind::Denied,
        "AuthorizationHeaderMalformed" => Kind::WrongRegion(region.map(Into::into)),
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired"
        | "RequestExpired"
        | "NotSignedUp"
        | "UnrecognizedClientException" => Kind::BadCredentials,
        "RequestTimeTooSkewed" => Kind::ClockSkew,
        "PermanentRedirect" | "TemporaryRedirect" | "Redirect" => elsewhere(region),
        "InvalidObjectState" => Kind::Archived(None),
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "Busy"
        | "TooManyRequests"
        | "BandwidthLimitExceeded" => Kind::Throttled,
        "InternalError" | "RequestTimeout" | "OperationAborted" => Kind::Unavailable,
        "NotImplemented" | "MethodNotAllowed" => Kind::Unsupported,
        "BadDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "IncompleteBody" => Kind::Corrupt,
        "EntityTooLarge" | "MetadataTooLarge" | "MaxMessageLengthExceeded" => Kind::TooLarge,
        "KeyTooLongError" | "KeyTooLong" => Kind::KeyTooLong,
        _ => match status {
            301 | 307 | 308 => elsewhere(region),
            304 | 412 => Kind::PreconditionFailed,
            401 => Kind::BadCredentials,
            403 => Kind::Denied,
            404 if of_object => Kind::NotFound,
            404 => Kind::NoBucket,
            405 | 501 => Kind::Unsupported,
            407 => Kind::Proxy,
            408 | 500 | 502 | 504 => Kind::Unavailable,
            413 => Kind::TooLarge,
            414 => Kind::KeyTooLong,
            429 | 503 => Kind::Throttled,
            _ => Kind::Other,
        },
    }
}

/// Reads how long the store asks to wait: a number of seconds, or until a time by its own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER.as_str())?;
    let seconds = if let Ok(seconds) = value.trim().parse() {
        seconds
    } else {
        let now = text(headers, "date").and_then(time::parse);
        let now = now.map_or_else(time::now, |now| now.seconds);
        u64::try_from(time::parse(value)?.seconds - now).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(LONGEST_ASKED))
}

/// Returns a header's value, if it is plain text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn etag(headers: &HeaderMap) -> Option<ETag> {
    headers.get(ETAG).and_then(|value| ETag::new(value.as_bytes()))
}

/// Returns the length of a body.
///
/// # Errors
/// Fails if the header is missing.
pub(super) fn length(headers: &HeaderMap) -> Result<u64, StoreError> {
    optional_length(headers)?.ok_or_else(|| StoreError::bad_reply("it has no length"))
}

/// Returns the length of a body, if the reply has one: a proxy that sends chunks leaves it out.
pub(super) fn optional_length(headers: &HeaderMap) -> Result<Option<u64>, StoreError> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|length| length.parse().ok());
    length.map(Some).ok_or_else(|| StoreError::bad_reply("its length is not a number"))
}

/// Reads an object's head from the headers.
pub(super) fn head(headers: &HeaderMap, size: u64) -> Head {
    let mut kept = Headers::default();
    for (name, value) in headers {
        let value = || readable(value.as_bytes());
        if name == CONTENT_TYPE {
            kept.content_type = Some(value());
        } else if KEPT.contains(&name.as_str()) {
            kept.other.push((name.as_str().to_owned(), value()));
        } else if let Some(name) = name.as_str().strip_prefix(USER) {
            kept.user.push((name.to_owned(), value()));
        }
    }
    Head {
        size,
        etag: etag(headers),
        modified: text(headers, LAST_MODIFIED.as_str()).and_then(time::parse),
        headers: kept,
        version: text(headers, "x-amz-version-id")
            .filter(|version| *version != "null")
            .map(str::to_owned),
        checksum: whole_checksum(headers),
    }
}

/// Returns the checksum of an object, if it covers the whole content: a composite one is of the
/// parts' checksums
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).
fn whole_checksum(headers: &HeaderMap) -> Option<u64> {
    let is_whole = text(headers, "x-amz-checksum-type") == Some("FULL_OBJECT");
    text(headers, CHECKSUM).filter(|_| is_whole).and_then(checksum::read)
}

/// Decodes a header's bytes as UTF-8, or else as Latin-1, which HTTP once used.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// Writes the headers to keep with an object into a request.
///
/// # Errors
/// Fails if a name or value can't be a header.
pub(super) fn write_headers(kept: &Headers, headers: &mut HeaderMap) -> Result<(), StoreError> {
    if let Some(content_type) = &kept.content_type {
        headers.insert(CONTENT_TYPE, header_value("content-type", content_type)?);
    }
    for (name, value) in &kept.other {
        if !KEPT.contains(&name.as_str()) {
            return Err(unsendable(name));
        }
        let header: HeaderName = name.parse().map_err(|_| unsendable(name))?;
        headers.insert(header, header_value(name, value)?);
    }
    for (name, value) in &kept.user {
        let header = format!("{USER}{name}").parse::<HeaderName>().map_err(|_| unsendable(name))?;
        // Names that differ only in case would be the same header.
        if headers.insert(header, header_value(name, value)?).is_some() {
            return Err(unsendable(name));
        }
    }
    Ok(())
}

fn header_value(name: &str, value: &str) -> Result<http::HeaderValue, StoreError> {
    http::HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unsendable(name))
}

fn unsendable(name: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported)
        .message(format!("the metadata {name:?} cannot be sent in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.insert(name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        Reply { status, headers: map, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn refusal(status: u16, headers: &[(&str, &str)], body: &str) -> StoreErrorKind {
        reply(status, headers, body).refusal(true).kind
    }

    fn coded(code: &str) -> String {
        format!("<Error><Code>{code}</Code><Message>m</Message><X><Y/></X></Error>")
    }

    #[test]
    fn codes_say_more_than_statuses() {
        use StoreErrorKind as Kind;
        for (status, code, kind) in [
            (404, "NoSuchKey", Kind::NotFound),
            (404, "NoSuchBucket", Kind::NoBucket),
            (404, "NoSuchUpload", Kind::NoSuchUpload),
            (412, "PreconditionFailed", Kind::PreconditionFailed),
            (409, "ConditionalRequestConflict", Kind::Conflict),
            (409, "OperationAborted", Kind::Unavailable),
            (403, "AccessDenied", Kind::Denied),
            (403, "InvalidAccessKeyId", Kind::BadCredentials),
            (400, "ExpiredToken", Kind::BadCredentials),
            (403, "RequestTimeTooSkewed", Kind::ClockSkew),
            (403, "InvalidObjectState", Kind::Archived(None)),
            (400, "AuthorizationHeaderMalformed", Kind::WrongRegion(None)),
            (503, "SlowDown", Kind::Throttled),
            (400, "RequestTimeout", Kind::Unavailable),
            (200, "InternalError", Kind::Unavailable),
            (200, "SomethingNew", Kind::Other),
            (501, "NotImplemented", Kind::Unsupported),
            (400, "BadDigest", Kind::Corrupt),
            (400, "KeyTooLongError", Kind::KeyTooLong),
            (400, "EntityTooLarge", Kind::TooLarge),
        ] {
            assert_eq!(refusal(status, &[], &coded(code)), kind, "{code}");
        }
    }

    #[test]
    fn statuses_speak_where_no_code_does() {
        use StoreErrorKind as Kind;
        for (status, kind) in [
            (404, Kind::NotFound),
            (403, Kind::Denied),
            (405, Kind::Unsupported),
            (407, Kind::Proxy),
            (412, Kind::PreconditionFailed),
            (429, Kind::Throttled),
            (500, Kind::Unavailable),
            (502, Kind::Unavailable),
            (503, Kind::Throttled),
            (418, Kind::Other),
        ] {
            for body in ["", "<html><body>bad gateway", "<Error>"] {
                assert_eq!(refusal(status, &[], body), kind, "{status}");
            }
        }
        assert_eq!(reply(404, &[], "").refusal(false).kind, Kind::NoBucket);
    }

    #[test]
    fn a_store_tells_the_region_of_a_bucket() {
        let wrong = StoreErrorKind::WrongRegion(Some("eu-west-1".into()));
        let header = [("x-amz-bucket-region", "eu-west-1")];
        assert_eq!(refusal(301, &header, ""), wrong);
        assert_eq!(refusal(301, &header, &coded("PermanentRedirect")), wrong);
        let body =
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(refusal(400, &[], body), wrong);
        let malformed = |message: &str| {
            let body = format!(
                "<Error><Code>AuthorizationHeaderMalformed</Code><Message>{message}</Message></Error>"
            );
            refusal(400, &[], &body)
        };
        let expecting = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        assert_eq!(malformed(expecting), wrong);
        for message in ["the region is wrong", "expecting 'a/../b'", "expecting '"] {
            assert_eq!(malformed(message), StoreErrorKind::WrongRegion(None), "{message}");
        }
        let keys = "a non-empty Access Key (AKID) must be provided";
        assert_eq!(malformed(keys), StoreErrorKind::BadCredentials);
        assert_eq!(refusal(301, &[], ""), StoreErrorKind::Redirect);
        assert_eq!(refusal(403, &header, &coded("AccessDenied")), StoreErrorKind::Denied);
    }

    #[test]
    fn an_archived_object_is_told_with_its_class() {
        let body =
            "<Error><Code>InvalidObjectState</Code><StorageClass>GLACIER</StorageClass></Error>";
        let error = reply(403, &[], body).refusal(true);
        let expected = "the object is archived (GLACIER) and has to be restored first \
                    (InvalidObjectState, HTTP status 403)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_in_a_good_reply_is_an_error() {
        let reply = reply(200, &[], &format!("\n  {}", coded("InternalError")));
        let error = reply.document().err().expect("an error");
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
        assert_eq!(error.to_string(), "the store failed: m (InternalError, HTTP status 200)");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |headers: &[_]| reply(503, headers, "").refusal(true).retry_after;
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "700")]), Some(LONGEST_ASKED));
        let date = ("date", "Mon, 12 Oct 2009 17:50:30 GMT");
        let after = ("retry-after", "Mon, 12 Oct 2009 17:50:35 GMT");
        assert_eq!(wait(&[date, after]), Some(Duration::from_secs(5)));
        assert_eq!(wait(&[("date", after.1), ("retry-after", date.1)]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn only_the_checksum_of_a_whole_object_is_taken_for_one() {
        let checksum = |value: &str, kind: &str| {
            let headers = [("x-amz-checksum-crc64nvme", value), ("x-amz-checksum-type", kind)];
            head(&reply(200, &headers, "").headers, 9).checksum
        };
        assert_eq!(checksum("rosUhgp5mIg=", "FULL_OBJECT"), Some(0xAE8B_1486_0A79_9888));
        assert_eq!(checksum("rosUhgp5mIg=", "COMPOSITE"), None);
        assert_eq!(checksum("rosUhgp5mIg=", ""), None);
        assert_eq!(checksum("rosUhgp5mIg=-2", "FULL_OBJECT"), None);
    }

    #[test]
    fn what_is_kept_with_an_object_comes_back() {
        let kept = Headers {
            content_type: Some("text/plain".to_owned()),
            other: vec![("cache-control".to_owned(), "no-store".to_owned())],
            user: vec![("mtime".to_owned(), "1.5".to_owned()), ("ü".to_owned(), String::new())],
        };
        let mut headers = HeaderMap::new();
        write_headers(&kept, &mut headers).expect_err("a name that no header has");
        let kept = Headers { user: vec![("mtime".to_owned(), "né".to_owned())], ..kept };
        headers.clear();
        write_headers(&kept, &mut headers).expect("sendable");
        assert_eq!(head(&headers, 3).headers, kept);
        for value in ["a\nb", "\u{7f}"] {
            let kept = Headers { content_type: Some(value.to_owned()), ..Headers::default() };
            write_headers(&kept, &mut headers).expect_err("a control character");
        }
    }
}
