//! One request: built, signed, sent, retried, and its reply read.

use super::super::{Body, Outcome, RequestLimits, StoreError, StoreErrorKind};
use super::S3;
use super::encode;
use super::reply::{self, Reply};
use super::retry::{Next, Tries, UNPROVEN_TIME};
use super::sending::Sending;
use super::sign::{EMPTY, PAYLOAD, Subject, UNSIGNED};
use super::time::{self, SignedTime};
use super::transport::{CONNECT_TIME, PooledConnection, Timeouts, WORK_TIME};
use crate::limits::Began;
use crate::model::{Hint, RequestKind};
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use ring::digest;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The longest reply that is read into memory, in bytes; a page of 1,000 keys has at most 4 MiB.
const LONGEST_REPLY: usize = 32 << 20;
/// The shortest time that a late try has to connect.
const LEAST_CONNECT_TIME: Duration = Duration::from_millis(500);
/// The hint for a refused request without credentials.
const ANONYMOUS: &str = "the request had no credentials, and not everybody may do this: leave out \
                         ?anonymous=true, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                         AWS_PROFILE";
/// How often a wait checks whether the run is to stop.
const POLL: Duration = Duration::from_millis(50);

/// A request without the headers that change from try to try.
pub(super) struct Request {
    pub(super) kind: RequestKind,
    method: Method,
    uri: Uri,
    pub(super) headers: HeaderMap,
    body: Body,
    of_object: bool,
}

impl Request {
    /// Makes a request without a body. The names in `query` must be in order.
    ///
    /// # Errors
    /// Fails if the key is too long for a request.
    pub(super) fn new(
        s3: &S3,
        kind: RequestKind,
        method: Method,
        key: Option<&[u8]>,
        query: &[(&str, &[u8])],
    ) -> Result<Self, StoreError> {
        let mut target = String::new();
        s3.shared.address.path(key, &mut target);
        debug_assert!(query.is_sorted_by_key(|(name, _)| *name), "they are signed in order");
        for (at, (name, value)) in query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode::query(value, &mut target);
        }
        let uri = Uri::from_maybe_shared(Bytes::from(target))
            .map_err(|error| StoreError::new(StoreErrorKind::KeyTooLong).because(error))?;
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(HOST, s3.shared.address.host.clone());
        headers.insert(PAYLOAD, HeaderValue::from_static(EMPTY));
        let of_object = key.is_some();
        Ok(Self { kind, method, uri, headers, body: Body::default(), of_object })
    }

    /// Sets an object's content as the body. The signature doesn't cover it; its checksum does.
    pub(super) fn content(&mut self, body: Body) {
        self.headers.insert(CONTENT_LENGTH, body.len().into());
        self.headers.insert(PAYLOAD, HeaderValue::from_static(UNSIGNED));
        self.body = body;
    }

    /// Sets a short body, which the signature covers.
    pub(super) fn document(&mut self, body: Bytes) {
        let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, &body).as_ref());
        let hash = HeaderValue::from_str(&hash).expect("hexadecimal digits are plain text");
        self.headers.insert(CONTENT_LENGTH, body.len().into());
        self.headers.insert(PAYLOAD, hash);
        self.body = body.into();
    }

    /// Sets a header.
    ///
    /// # Errors
    /// Fails if the value has characters that no header can hold.
    pub(super) fn header(&mut self, name: &'static str, value: &str) -> Result<(), StoreError> {
        let value = HeaderValue::from_str(value).map_err(|error| {
            StoreError::new(StoreErrorKind::Unsupported)
                .message(format!("the header {name} cannot hold its value"))
                .because(error)
        })?;
        self.headers.insert(name, value);
        Ok(())
    }
}

/// The permit of a request under way; dropping it ends the request for its limits.
pub(super) struct RequestPermit {
    limits: Arc<dyn RequestLimits>,
    began: Began,
    pub(super) outcome: Outcome,
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.limits.end(self.began, self.outcome);
    }
}

/// The head of a reply, with the connection that receives its body.
pub(super) struct Exchange {
    pub(super) connection: PooledConnection,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
}

impl S3 {
    /// Makes a request and reads its reply, which must be successful.
    pub(super) fn call<T>(
        &self,
        request: &Request,
        read: impl Fn(Reply) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call_or_look(request, read, || Ok(None))
    }

    /// Makes a request as [`S3::call`] does. If it may have been carried out without a reply,
    /// `look` is called before it is sent again or fails: what it finds is the result.
    pub(super) fn call_or_look<T>(
        &self,
        request: &Request,
        read: impl Fn(Reply) -> Result<T, StoreError>,
        look: impl Fn() -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let found = RefCell::new(None);
        let read = |exchange| {
            let reply = self.read_reply(request, exchange)?;
            if reply.status.is_success() { read(reply) } else { Err(self.refusal(request, &reply)) }
        };
        let is_done = || {
            *found.borrow_mut() = look()?;
            Ok(found.borrow().is_some())
        };
        match self.run(request, read, is_done) {
            Ok((value, _permit)) => Ok(value),
            Err(error) => found.into_inner().ok_or(error),
        }
    }

    /// Makes a request until `read` succeeds or further tries are pointless. If it may have been
    /// carried out, `is_done` is called; if that returns true or fails, this fails with the
    /// request's error.
    pub(super) fn run<T>(
        &self,
        request: &Request,
        read: impl Fn(Exchange) -> Result<T, StoreError>,
        is_done: impl Fn() -> Result<bool, StoreError>,
    ) -> Result<(T, RequestPermit), StoreError> {
        let (began, mut tries, mut maybe_done) = (Instant::now(), Tries::up_to(self.tries), false);
        let mut paused = Duration::ZERO;
        loop {
            let mut permit = self.begin(request.kind)?;
            let result = self.send(request, began.elapsed()).and_then(&read);
            let mut error = match result {
                Ok(value) => {
                    self.shared.proven.store(true, Ordering::Relaxed);
                    permit.outcome = Outcome::Done;
                    return Ok((value, permit));
                }
                Err(error) => error,
            };
            permit.outcome = self.outcome_of(&error);
            drop(permit);
            let proven = self.shared.proven.load(Ordering::Relaxed);
            let elapsed = began.elapsed();
            // Time that the store needs for its work doesn't count against the request.
            let is_work = takes_work(request.kind) && elapsed < WORK_TIME;
            let next = tries.next(&error, if is_work { paused } else { elapsed }, proven);
            // If this try may have been carried out, the next one may find its result.
            let is_open = error.maybe_done
                || matches!(error.kind, StoreErrorKind::BadReply | StoreErrorKind::Unavailable);
            maybe_done |= is_open;
            if is_open && is_done().unwrap_or(true) {
                error.maybe_done = true;
                return Err(error);
            }
            let wait = match next {
                Next::Stop => {
                    error.maybe_done = maybe_done;
                    return Err(error);
                }
                Next::Wait(wait) => wait,
                Next::Renew => {
                    self.shared.credentials.refused();
                    Duration::ZERO
                }
            };
            self.limits.retried(request.kind, wait);
            paused += wait;
            if !self.pause(wait) {
                return Err(interrupted(maybe_done));
            }
        }
    }

    /// Waits until the limits let the request begin.
    fn begin(&self, kind: RequestKind) -> Result<RequestPermit, StoreError> {
        if self.stop.requested() {
            return Err(interrupted(false));
        }
        let limits = Arc::clone(&self.limits);
        let began = limits.begin(kind).ok_or_else(|| interrupted(false))?;
        let permit = RequestPermit { limits, began, outcome: Outcome::Failed };
        if self.stop.requested() { Err(interrupted(false)) } else { Ok(permit) }
    }

    /// Classifies an error for the limits; some errors also prove that the store works.
    fn outcome_of(&self, error: &StoreError) -> Outcome {
        match error.kind {
            StoreErrorKind::Throttled => Outcome::SlowDown,
            StoreErrorKind::NotFound
            | StoreErrorKind::PreconditionFailed
            | StoreErrorKind::NoSuchUpload => {
                self.shared.proven.store(true, Ordering::Relaxed);
                Outcome::Done
            }
            _ => Outcome::Failed,
        }
    }

    /// Waits; returns false if the run is to stop.
    fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.stop.requested() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    /// Sends a request once.
    fn send(&self, request: &Request, elapsed: Duration) -> Result<Exchange, StoreError> {
        let shared = &self.shared;
        let mut message = http::Request::new(Sending::from(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = request.uri.clone();
        *message.headers_mut() = request.headers.clone();

        let credential = shared.credentials.get().map_err(|error| {
            let help = error.help.clone();
            let none = StoreError::new(StoreErrorKind::NoCredentials).because(error);
            match help {
                Some(help) => none.help(help),
                None => none,
            }
        })?;
        let mut connection = shared.transport.checkout()?;
        if let Some(credential) = credential {
            let clock = time::now().saturating_add(shared.clock.load(Ordering::Relaxed));
            let clock = SignedTime::new(clock).ok_or_else(|| {
                StoreError::new(StoreErrorKind::ClockSkew)
                    .message("its date is outside the years 0 to 9999")
            })?;
            let subject = Subject {
                method: request.method.as_str(),
                path: request.uri.path(),
                query: request.uri.query().unwrap_or_default(),
                region: &shared.config.region,
            };
            connection.signer.sign(&credential, clock, &subject, message.headers_mut()).map_err(
                |error| {
                    StoreError::new(StoreErrorKind::BadCredentials)
                        .message("they have characters that no header can hold")
                        .because(error)
                },
            )?;
        } else {
            message.headers_mut().remove(PAYLOAD);
        }

        let connect = if shared.proven.load(Ordering::Relaxed) {
            CONNECT_TIME
        } else {
            UNPROVEN_TIME.saturating_sub(elapsed).max(LEAST_CONNECT_TIME)
        };
        let timeouts = Timeouts { connect, ..self.timeouts(request.kind) };
        let sent = connection.send(&shared.transport, message, timeouts);
        match sent {
            Ok(response) => {
                shared.has_replied.store(true, Ordering::Relaxed);
                let (head, body) = response.into_parts();
                Ok(Exchange { connection, status: head.status, headers: head.headers, body })
            }
            Err(error) => {
                shared.transport.release(connection);
                Err(error)
            }
        }
    }

    /// Reads a reply to its end and returns the connection to the pool.
    pub(super) fn read_reply(
        &self,
        request: &Request,
        mut exchange: Exchange,
    ) -> Result<Reply, StoreError> {
        let body = self.body(request, &mut exchange);
        let Exchange { mut connection, status, headers, .. } = exchange;
        if body.is_err() {
            connection.close();
        }
        self.shared.transport.release(connection);
        Ok(Reply { status, headers, body: body? })
    }

    fn body(&self, request: &Request, exchange: &mut Exchange) -> Result<Bytes, StoreError> {
        let (mut first, mut more) = (Bytes::new(), BytesMut::new());
        while !exchange.body.is_end_stream() {
            let piece =
                exchange.connection.piece(&mut exchange.body, self.timeouts(request.kind))?;
            let Some(piece) = piece else { break };
            if first.len() + more.len() + piece.len() > LONGEST_REPLY {
                return Err(StoreError::bad_reply("it is too long"));
            }
            if first.is_empty() {
                first = piece;
            } else {
                more.extend_from_slice(&piece);
            }
        }
        let length = first.len() + more.len();
        let expected = reply::length(&exchange.headers).unwrap_or(length as u64);
        if request.method != Method::HEAD && expected != length as u64 {
            return Err(StoreError::bad_reply("it is shorter than it says"));
        }
        if more.is_empty() {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(length);
        all.extend_from_slice(&first);
        all.extend_from_slice(&more);
        Ok(all.freeze())
    }

    /// Returns the timeouts of a request.
    pub(super) fn timeouts(&self, kind: RequestKind) -> Timeouts<'_> {
        let works = takes_work(kind);
        Timeouts {
            connect: CONNECT_TIME,
            works,
            has_replied: &self.shared.has_replied,
            stop: &self.stop,
        }
    }

    /// Returns the error of a reply. If the clocks differ, the store's is used from now on.
    pub(super) fn refusal(&self, request: &Request, reply: &Reply) -> StoreError {
        let mut error = reply.refusal(request.of_object);
        let proven = self.shared.proven.load(Ordering::Relaxed);
        if proven && error.code.as_deref() == Some("SignatureDoesNotMatch") {
            // The store encodes this key in another way than it is signed; the secret is right.
            error.kind = StoreErrorKind::Signature;
        }
        if !proven && error.help.is_none() {
            error.help = self.endpoint_help(&error.kind).map(Box::new);
        }
        let is_denied =
            matches!(error.kind, StoreErrorKind::Denied | StoreErrorKind::BadCredentials);
        if is_denied && error.help.is_none() && matches!(self.shared.credentials.get(), Ok(None)) {
            error.help = Some(Box::new(ANONYMOUS.into()));
        }
        if error.kind == StoreErrorKind::Denied && error.help.is_none() {
            let right = right_of(request.kind);
            let help = format!(
                "the store knows these credentials, but their policy seems to lack {right}"
            );
            error.help = Some(Box::new(help.into()));
        }
        let date = reply::text(&reply.headers, "date").and_then(time::parse);
        if let (StoreErrorKind::ClockSkew, Some(date)) = (&error.kind, date) {
            self.shared.clock.store(date.seconds - time::now(), Ordering::Relaxed);
        }
        error
    }

    /// Returns a hint if the endpoint seems to include the bucket, which then occurs twice.
    fn endpoint_help(&self, kind: &StoreErrorKind) -> Option<Hint> {
        let is_lost = matches!(
            kind,
            StoreErrorKind::NoBucket
                | StoreErrorKind::NotFound
                | StoreErrorKind::Denied
                | StoreErrorKind::Redirect
                | StoreErrorKind::Unsupported
                | StoreErrorKind::Other
        );
        let without = self.shared.config.endpoint_without_bucket().filter(|_| is_lost)?;
        Some(format!("the endpoint seems to contain the bucket's name: write {without}").into())
    }

    /// Returns a connection to the pool if its reply was read to the end, else closes it.
    pub(super) fn release(&self, mut connection: PooledConnection, finished: bool) {
        if !finished {
            connection.close();
        }
        self.shared.transport.release(connection);
    }
}

/// Returns whether the store must copy or remove content, perhaps a lot, before it replies.
fn takes_work(kind: RequestKind) -> bool {
    use RequestKind as Kind;
    matches!(
        kind,
        Kind::Copy | Kind::CopyPart | Kind::CompleteUpload | Kind::AbortUpload | Kind::DeleteMany
    )
}

fn interrupted(maybe_done: bool) -> StoreError {
    let mut error = StoreError::new(StoreErrorKind::Interrupted);
    error.maybe_done = maybe_done;
    error
}

/// Returns the permission that a request needs, as policies name it
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>).
fn right_of(kind: RequestKind) -> &'static str {
    use RequestKind as Kind;
    match kind {
        Kind::List => "s3:ListBucket (it may not list)",
        Kind::Get => "s3:GetObject (it may not read)",
        Kind::Head => {
            "s3:GetObject (it may not read), and s3:ListBucket, without which a store says the same \
             of what is missing"
        }
        Kind::Put | Kind::CreateUpload | Kind::UploadPart | Kind::CompleteUpload => {
            "s3:PutObject (it may not write)"
        }
        Kind::Copy | Kind::CopyPart => "s3:PutObject, and s3:GetObject of what is copied",
        Kind::Delete | Kind::DeleteMany => "s3:DeleteObject (it may not delete)",
        Kind::AbortUpload => "s3:AbortMultipartUpload (it may not abort uploads)",
        Kind::ListUploads => "s3:ListBucketMultipartUploads (it may not list uploads)",
        Kind::ListParts => "s3:ListMultipartUploadParts (it may not list parts)",
    }
}
