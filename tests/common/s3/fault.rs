//! Faults, scripted: which requests, and what goes wrong with them.

use super::request::{Kind, Request};
use bytes::Bytes;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What goes wrong. A request that several rules choose suffers them in the order they were made,
/// up to the first that answers it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing is done; this status, with the error code that S3 pairs with it.
    Status(u16),
    /// Nothing is done; this status and error code.
    Error(u16, &'static str),
    /// Nothing is done; 503 `SlowDown`, with `Retry-After` in seconds.
    SlowDown(Option<u32>),
    /// Nothing is done; 200, whose body is an error of this code, as Copy and Complete may have it.
    ErrorInOk(&'static str),
    /// Nothing is done; this reply, as it is.
    Reply(u16, Vec<(&'static str, String)>, Bytes),
    /// Nothing is done, and the connection is reset.
    Reset,
    /// All is done, and the connection is reset before the reply.
    LostReply,
    /// All is done, and nothing is said of it for a while.
    Withheld(Duration),
    /// All is done, and the connection is reset after half of the reply's body.
    ResetMidBody,
    /// All is done; the reply's body ends after its half, cleanly, short of its Content-Length.
    ShortBody,
    /// All is done; half of the reply's body, and a Content-Length that agrees with that.
    Truncated,
    /// All is done; a bit in the middle of the reply's body is flipped.
    FlippedBit,
    /// All is done; the reply carries this entity tag.
    ETag(&'static str),
    /// All is done; the keys of this page are in the wrong order.
    Disordered,
    /// All is done; the listing says that there is more, but not how to go on.
    NoToken,
    /// The object gets this content first, as if someone else had put it.
    Replaced(&'static [u8]),
    /// The object is deleted first, as if someone else had.
    Deleted,
    /// All goes well after a while.
    Delay(Duration),
    /// All goes well once it is let go.
    Held(Hold),
    /// Nothing comes for a while after half of the reply's body; then the rest does.
    Stall(Duration),
}

/// What holds requests until the test lets them go, for good.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Semaphore>);

impl Hold {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets go what is held and what would be.
    pub fn release(&self) {
        self.0.close();
    }

    pub(super) async fn wait(&self) {
        let _released = self.0.acquire().await;
    }
}

/// Which requests a fault strikes. Without a restriction, every one.
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
    /// Every request, of whatever kind.
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

    /// Every request of this kind.
    pub fn every(kind: Kind) -> Self {
        Self::any().or(kind)
    }

    /// The `n`th request of this kind, from 1. With `key` and the like: the `n`th that matches.
    pub fn nth(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(n..=n)
    }

    /// The first `n` requests of this kind.
    pub fn first(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(1..=n)
    }

    /// The `n`th request of this kind and all after it.
    pub fn from(kind: Kind, n: u64) -> Self {
        Self::every(kind).turns(n..=u64::MAX)
    }

    /// Or requests of this kind.
    pub fn or(mut self, kind: Kind) -> Self {
        self.kinds.get_or_insert_default().push(kind);
        self
    }

    /// Those of the matching requests that come in these turns, from 1.
    pub fn turns(mut self, turns: RangeInclusive<u64>) -> Self {
        self.turns = turns;
        self
    }

    /// About this bucket.
    pub fn bucket(mut self, name: &str) -> Self {
        self.bucket = Some(name.into());
        self
    }

    /// With this in the key; for a listing, in its prefix.
    pub fn key(mut self, part: impl AsRef<[u8]>) -> Self {
        self.key = Some(part.as_ref().into());
        self
    }

    /// Without this in the key; for a listing, in its prefix.
    pub fn without(mut self, part: impl AsRef<[u8]>) -> Self {
        self.without = Some(part.as_ref().into());
        self
    }

    /// With this in a header, written `name: value`, the name in lower case.
    pub fn header(mut self, part: &str) -> Self {
        self.header = Some(part.into());
        self
    }

    /// For these pages of listings, from 1.
    pub fn pages(mut self, pages: RangeInclusive<u32>) -> Self {
        self.pages = pages;
        self
    }

    /// For this page of listings, from 1.
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

/// A fault that was scripted, to ask whether it struck.
#[derive(Clone, Debug)]
pub struct Scripted(Arc<AtomicU64>);

impl Scripted {
    /// How many requests it struck.
    pub fn struck(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The faults that are to come.
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

    /// The faults that strike this request.
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

/// The error code that S3 pairs with a status.
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
