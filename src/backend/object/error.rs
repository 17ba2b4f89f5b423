//! Errors of object stores.

use crate::model::Hint;
use crate::model::key::Escaped;
use std::fmt;
use std::time::Duration;

/// The kind of a store's error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// There is no such bucket.
    NoBucket,
    /// A condition is not met: the object is not the expected one, or exists although it should
    /// not.
    PreconditionFailed,
    /// The credentials don't allow the request.
    Denied,
    /// The store does not accept the credentials.
    BadCredentials,
    /// There are no credentials.
    NoCredentials,
    /// The store refuses the signature of this request, although it accepted others.
    Signature,
    /// This machine's clock and the store's differ too much for signatures.
    ClockSkew,
    /// The bucket is in another region, which is given if the store reports it.
    WrongRegion(Option<Box<str>>),
    /// The store redirects to another address.
    Redirect,
    /// The object is archived and has to be restored first. Holds its storage class if the store
    /// reports it.
    Archived(Option<Box<str>>),
    /// A concurrent request for the same object interfered.
    Conflict,
    /// There is no such multipart upload.
    NoSuchUpload,
    /// An upload may have been completed, but the reply was lost: it existed when completing began
    /// and is gone now.
    LostReply,
    /// The store asked for fewer requests.
    Throttled,
    /// The store failed.
    Unavailable,
    /// The connection failed.
    Network,
    /// The connection could not be secured.
    Tls,
    /// The proxy refuses the connection or the request.
    Proxy,
    /// The reply is malformed.
    BadReply,
    /// Content doesn't match its checksum.
    Corrupt,
    /// The run was asked to stop.
    Interrupted,
    /// The store doesn't support the request.
    Unsupported,
    /// Content or metadata is larger than the store accepts.
    TooLarge,
    /// The key is longer than the store accepts.
    KeyTooLong,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound => "no such object",
            Self::NoBucket => "no such bucket",
            Self::PreconditionFailed => "the object is not the one expected",
            Self::Denied => "access denied",
            Self::BadCredentials => "the store rejects the credentials",
            Self::NoCredentials => "no credentials",
            Self::Signature => "the store rejects the signature of this request",
            Self::ClockSkew => "this machine's clock and the store's differ too much",
            Self::WrongRegion(_) => "the bucket is in another region",
            Self::Redirect => "the store redirects requests for this bucket to another endpoint",
            Self::Archived(_) => "the object is archived",
            Self::Conflict => "another request changed the same object at the same time",
            Self::NoSuchUpload => "no such upload",
            Self::LostReply => "the upload may be complete, but the reply was lost",
            Self::Throttled => "the store asks to slow down",
            Self::Unavailable => "the store failed",
            Self::Network => "the connection failed",
            Self::Tls => "cannot make a secure connection",
            Self::Proxy => "cannot connect through the proxy",
            Self::BadReply => "the store sent an invalid reply",
            Self::Corrupt => "content was damaged in transit",
            Self::Interrupted => "the run was stopped",
            Self::Unsupported => "the store does not support this",
            Self::TooLarge => "too large for the store",
            Self::KeyTooLong => "the key is too long for the store",
            Self::Other => "the store refused",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())?;
        match self {
            Self::WrongRegion(Some(region)) => write!(out, ": {}", Escaped(region.as_bytes())),
            Self::Archived(class) => {
                if let Some(class) = class {
                    write!(out, " ({})", Escaped(class.as_bytes()))?;
                }
                out.write_str(" and has to be restored first")
            }
            _ => Ok(()),
        }
    }
}

/// An error of a store, without the key, which the caller knows.
///
/// It holds no header and no URL, so no signature. Of the store's reply it holds only the code and
/// the message, cut to [`StoreError::LONGEST`] bytes.
#[derive(Debug)]
pub struct StoreError {
    /// The kind of error.
    pub kind: StoreErrorKind,
    /// The HTTP status of the reply, if one came.
    pub status: Option<u16>,
    /// The store's error code, for example `AccessDenied`.
    pub code: Option<Box<str>>,
    /// The store's message, or the client's.
    pub message: Option<Box<str>>,
    /// Whether this request or an earlier try may have been carried out because a reply was lost.
    pub maybe_done: bool,
    /// A hint that the client adds to those for the kind of error.
    pub help: Option<Box<Hint>>,
    /// How long the store asks to wait before the next request.
    pub(super) retry_after: Option<Duration>,
    /// The underlying error.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Most bytes of a store's code or message that are kept.
    pub const LONGEST: usize = 300;

    /// Makes an error of `kind`, without a reply.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            message: None,
            maybe_done: false,
            help: None,
            retry_after: None,
            source: None,
        }
    }

    /// Returns whether the store may have refused a request only because it doesn't support its
    /// condition.
    pub fn may_be_the_condition(&self) -> bool {
        self.kind == StoreErrorKind::Unsupported
            || (self.kind == StoreErrorKind::Other && self.status == Some(400))
    }

    /// Adds a message.
    #[must_use]
    pub fn message(mut self, message: impl AsRef<str>) -> Self {
        self.message = Some(bounded(message.as_ref()));
        self
    }

    /// Adds a hint.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<Hint>) -> Self {
        self.help = Some(Box::new(help.into()));
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the status, code and message of the store's reply.
    #[must_use]
    pub(super) fn replied(mut self, status: Option<u16>, code: &str, message: &str) -> Self {
        self.status = status;
        self.code = (!code.is_empty()).then(|| bounded(code));
        if !message.is_empty() {
            self.message = Some(bounded(message));
        }
        self
    }

    /// Makes an error for a malformed reply.
    pub(super) fn bad_reply(message: impl AsRef<str>) -> Self {
        Self::new(StoreErrorKind::BadReply).message(message)
    }
}

/// Cuts a store's text to the length that is kept.
fn bounded(text: &str) -> Box<str> {
    let mut end = text.len().min(StoreError::LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind)?;
        if let Some(message) = &self.message {
            write!(out, ": {}", Escaped(message.as_bytes()))?;
        }
        match (&self.code, self.status) {
            (Some(code), Some(status)) => {
                write!(out, " ({}, HTTP status {status})", Escaped(code.as_bytes()))
            }
            (Some(code), None) => write!(out, " ({})", Escaped(code.as_bytes())),
            (None, Some(status)) => write!(out, " (HTTP status {status})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_text_is_escaped_and_cut() {
        let long = "é".repeat(StoreError::LONGEST);
        let error = StoreError::new(StoreErrorKind::Denied).replied(Some(403), "A\x1b[2J", &long);
        let text = error.to_string();
        assert!(text.starts_with("access denied: é"), "{text}");
        assert!(text.ends_with("(A\\u{1b}[2J, HTTP status 403)"), "{text}");
        assert!(text.len() < StoreError::LONGEST + 100, "{text}");
    }
}
