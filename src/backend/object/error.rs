//! Errors of object stores.

use crate::model::Hint;
use crate::model::key::Escaped;
use std::fmt;
use std::time::Duration;

/// What an error of a store means to who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// There is no such bucket.
    NoBucket,
    /// The object is not the one that the request depends on, or there is one where none should be.
    PreconditionFailed,
    /// The credentials do not allow it.
    Denied,
    /// The store does not accept the credentials.
    BadCredentials,
    /// There are no credentials.
    NoCredentials,
    /// The store refuses the signature of this one request; others were signed well.
    Signature,
    /// The clock of this machine and the store's are too far apart for signatures.
    ClockSkew,
    /// The bucket lies in another region, if the store tells which.
    WrongRegion(Option<Box<str>>),
    /// The store sends its clients elsewhere.
    Redirect,
    /// The object is in an archive and has to be restored first; its storage class, if the store
    /// tells.
    Archived(Option<Box<str>>),
    /// Another request for the same object came between.
    Conflict,
    /// There is no such upload in parts.
    NoSuchUpload,
    /// An upload may have been completed, though the reply was lost: there is none now, and there
    /// was one when completing it began.
    LostReply,
    /// The store asked for fewer requests.
    Throttled,
    /// The store failed.
    Unavailable,
    /// The connection failed.
    Network,
    /// The connection could not be secured.
    Tls,
    /// The proxy on the way does not let the connection or the request through.
    Proxy,
    /// What came is no proper reply.
    BadReply,
    /// Content was not what its checksum says.
    Corrupt,
    /// The run was asked to stop.
    Interrupted,
    /// The store does not know how to do it.
    Unsupported,
    /// Content or metadata is larger than the store takes.
    TooLarge,
    /// The key is longer than the store takes.
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
            Self::BadCredentials => "the store refuses the credentials",
            Self::NoCredentials => "no credentials",
            Self::Signature => "the store refuses the signature of this request",
            Self::ClockSkew => "this machine's clock and the store's differ too much",
            Self::WrongRegion(_) => "the bucket lies in another region",
            Self::Redirect => "the store sends requests for this bucket elsewhere",
            Self::Archived(_) => "the object is archived",
            Self::Conflict => "another request for the same object came between",
            Self::NoSuchUpload => "no such upload",
            Self::LostReply => "the upload may be complete, but the reply was lost",
            Self::Throttled => "the store asks for fewer requests",
            Self::Unavailable => "the store failed",
            Self::Network => "the connection failed",
            Self::Tls => "no secure connection",
            Self::Proxy => "no way through the proxy",
            Self::BadReply => "the store's reply makes no sense",
            Self::Corrupt => "content was damaged on its way",
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

/// An error of a store, without the key: who asked knows it.
///
/// It holds no header and no URL, so no signature; of what the store says only the code and the
/// message, and of these [`StoreError::LONGEST`] bytes.
#[derive(Debug)]
pub struct StoreError {
    /// What it means.
    pub kind: StoreErrorKind,
    /// The status of the reply, if one came.
    pub status: Option<u16>,
    /// The store's code for the error, `AccessDenied` say.
    pub code: Option<Box<str>>,
    /// The store's words, or ours.
    pub message: Option<Box<str>>,
    /// The request may have been carried out all the same, by this try or one before: a reply was
    /// lost.
    pub maybe_done: bool,
    /// The way out, where the client knows one that its kind doesn't tell.
    pub help: Option<Box<Hint>>,
    /// How long the store asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The cause below.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// How much of a store's code or message is kept, in bytes.
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

    /// Whether the store may have refused a request for its condition alone, which it doesn't know.
    pub fn may_be_the_condition(&self) -> bool {
        self.kind == StoreErrorKind::Unsupported
            || (self.kind == StoreErrorKind::Other && self.status == Some(400))
    }

    /// Adds words.
    #[must_use]
    pub fn message(mut self, message: impl AsRef<str>) -> Self {
        self.message = Some(bounded(message.as_ref()));
        self
    }

    /// Adds a way out.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<Hint>) -> Self {
        self.help = Some(Box::new(help.into()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the store's own word of it.
    #[must_use]
    pub(super) fn replied(mut self, status: Option<u16>, code: &str, message: &str) -> Self {
        self.status = status;
        self.code = (!code.is_empty()).then(|| bounded(code));
        if !message.is_empty() {
            self.message = Some(bounded(message));
        }
        self
    }

    /// Makes an error for a reply that is not understood.
    pub(super) fn bad_reply(message: impl AsRef<str>) -> Self {
        Self::new(StoreErrorKind::BadReply).message(message)
    }
}

/// A stranger's text, cut to what is kept.
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
    fn what_a_stranger_says_is_escaped_and_cut() {
        let long = "é".repeat(StoreError::LONGEST);
        let error = StoreError::new(StoreErrorKind::Denied).replied(Some(403), "A\x1b[2J", &long);
        let text = error.to_string();
        assert!(text.starts_with("access denied: é"), "{text}");
        assert!(text.ends_with("(A\\u{1b}[2J, HTTP status 403)"), "{text}");
        assert!(text.len() < StoreError::LONGEST + 100, "{text}");
    }
}
