//! Scripted faults: which requests they affect, and how.

use super::request::{Kind, Request};
use bytes::Bytes;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A fault. If several rules match a request, their faults apply in the order in which they were
/// added, up to the first that gives the reply.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request isn't carried out; the reply has this status and the error code that belongs to
    /// it.
    Status(u16),
    /// The request isn't carried out; the reply has this status and error code.
    Error(u16, &'static str),
    /// The request isn't carried out; 503 `SlowDown`, with `Retry-After` in seconds.
    SlowDown(Option<u32>),
    /// The request isn't carried out; 200 with an error in the body, as Copy and Complete may
    /// return.
    ErrorInOk(&'static str),
    /// The request isn't carried out; this is the reply.
    Reply(u16, Vec<(&'static str, String)>, Bytes),
    /// The request isn't carried out, and the connection is reset.
    Reset,
    /// The request is carried out, and the connection is reset before the reply.
    LostReply,
    /// The request is carried out; the reply is delayed.
    Withheld(Duration),
    /// The request is carried out; the connection is reset after half of the reply's body.
    ResetMidBody,
    /// The request is carried out; the connection is closed after half of the body, short of its
    /// Content-Length.
    ShortBody,
    /// The request is carried out; the reply has half of its body, and a Content-Length to match.
    Truncated,
    /// The request is carried out; one bit in the middle of the reply's body is flipped.
    FlippedBit,
    /// The request is carried out; the reply has this entity tag.
    ETag(&'static str),
    /// The request is carried out; the first entry of the page is moved to its end.
    Disordered,
    /// The request is carried out; the listing is truncated but has no continuation token.
    NoToken,
    /// The object is replaced by this content first, as if by another client.
    Replaced(&'static [u8]),
    /// The object is deleted first, as if by another client.
    Deleted,
    /// The request is carried out after a delay.
    Delay(Duration),
    /// The request is carried out after the test releases it.
    Held(Hold),
    /// The request is carried out; the reply pauses after half of its body.
    Stall(Duration),
}

/// Holds requests until the test releases them.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Semaphore>);

impl Hold {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Releases the held requests and all later ones.
    pub fn release(&self) {
        self.0.close();
    }

    pub(super) async fn wait(&self) {
        let _released = self.0.acquire().await;
    }
}

/// Selects the requests that a fault affects: without restrictions all.
#[derive(Clone, Debug)]
pub struct On {
    kinds: Option<Vec<Kind>>,
    bucket: Option<String>,
    key: Option<Vec<u8>>,
    without: Option<Vec<u8>>,
    header: Option<String>,
    pages: RangeInclusive<u32>,
    turns: RangeInclusive<u64>,
}

impl On {
    /// All requests.
    pub fn any() -> Self {
        Self {
            kinds: None,
            bucket: None,
            key: None,
            without: None,
            header: None,
            pages: 0..=u32::MAX,
            turns: 1..=u64::MAX,
        }
    }

    /// All requests of a kind.
    pub fn every(kind: Kind) -> Self {
        Self::any().or(kind)
    }

    /// The `n`th request of a kind, from 1. With further restrictions, the `n`th that matches all.
    pub fn nth(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(n..=n)
    }

    /// The first `n` requests of a kind.
    pub fn first(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(1..=n)
    }

    /// The `n`th request of a kind and all after it.
    pub fn from(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(n..=u64::MAX)
    }

    /// Adds requests of another kind.
    pub fn or(mut self, kind: Kind) -> Self {
        self.kinds.get_or_insert_default().push(kind);
        self
    }

    /// Restricts it to certain ones among the matching requests, counted from 1.
    pub fn turns(mut self, turns: RangeInclusive<u64>) -> Self {
        self.turns = turns;
        self
    }

    /// Restricts it to a bucket.
    pub fn bucket(mut self, name: &str) -> Self {
        self.bucket = Some(name.into());
        self
    }

    /// Restricts it to keys (of a listing: prefixes) that contain this.
    pub fn key(mut self, part: impl AsRef<[u8]>) -> Self {
        self.key = Some(part.as_ref().into());
        self
    }

    /// Restricts it to keys (of a listing: prefixes) that don't contain this.
    pub fn without(mut self, part: impl AsRef<[u8]>) -> Self {
        self.without = Some(part.as_ref().into());
        self
    }

    /// Restricts it to requests with this in a header, written `name: value` with a lower-case
    /// name.
    pub fn header(mut self, part: &str) -> Self {
        self.header = Some(part.into());
        self
    }

    /// Restricts it to pages of listings, counted from 1.
    pub fn pages(mut self, pages: RangeInclusive<u32>) -> Self {
        self.pages = pages;
        self
    }

    /// Restricts it to one page of listings, counted from 1.
    pub fn page(self, page: u32) -> Self {
        self.pages(page..=page)
    }

    fn matches(&self, request: &Request) -> bool {
        let key = if request.key.is_empty() {
            request.value("prefix").unwrap_or_default().as_bytes()
        } else {
            &request.key
        };
        let has_header = |part: &String| {
            request.headers.iter().any(|(name, value)| {
                format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())).contains(part)
            })
        };
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&request.kind))
            && self.bucket.as_ref().is_none_or(|bucket| *bucket == request.bucket)
            && self.key.as_ref().is_none_or(|part| contains(key, part))
            && self.without.as_ref().is_none_or(|part| !contains(key, part))
            && self.header.as_ref().is_none_or(has_header)
            && self.pages.contains(&request.page)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// A scripted fault, which can be asked how often it struck.
#[derive(Clone, Debug)]
pub struct Scripted(Arc<AtomicU64>);

impl Scripted {
    /// Returns the number of requests that it affected.
    pub fn struck(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The scripted faults.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    on: On,
    fault: Fault,
    seen: u64,
    struck: Arc<AtomicU64>,
}

impl Script {
    pub(super) fn add(&mut self, on: On, fault: Fault) -> Scripted {
        let struck = Arc::<AtomicU64>::default();
        self.rules.push(Rule { on, fault, seen: 0, struck: struck.clone() });
        Scripted(struck)
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Returns the faults for a request.
    pub(super) fn strike(&mut self, request: &Request) -> Vec<Fault> {
        let mut faults = Vec::new();
        for rule in self.rules.iter_mut().filter(|rule| rule.on.matches(request)) {
            rule.seen += 1;
            if rule.on.turns.contains(&rule.seen) {
                rule.struck.fetch_add(1, Ordering::Relaxed);
                faults.push(rule.fault.clone());
            }
        }
        faults
    }
}

/// Returns the error code that belongs to a status.
pub(super) fn code_of(status: u16) -> &'static str {
    match status {
        400 => "InvalidRequest",
        403 => "AccessDenied",
        404 => "NoSuchKey",
        405 => "MethodNotAllowed",
        408 => "RequestTimeout",
        409 => "OperationAborted",
        412 => "PreconditionFailed",
        429 => "TooManyRequests",
        501 => "NotImplemented",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}
