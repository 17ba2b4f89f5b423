//! Connections, driven by the threads that use them.
//!
//! A [`PooledConnection`] is one connection with a runtime of its own, which runs only on the
//! thread that makes the request: no other thread has to be woken, and a request costs no more than
//! its system calls for sending and receiving. Idle connections are on a stack, the most recently
//! used one on top, so that warm connections are reused first.

use super::super::{StoreError, StoreErrorKind};
use super::proxy::{Connector, Proxies, Wire};
use super::sending::Sending;
use super::sign::Signer;
use super::tls;
use crate::model::hint::hint;
use crate::model::{Error, Setting, Stop};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use rustls::InvalidMessage;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower_service::Service;

/// The timeout for establishing a connection.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The timeout without any data while waiting.
const STALL_TIME: Duration = Duration::from_secs(30);
/// The same before the store's first reply: there is probably no store.
const FIRST_STALL_TIME: Duration = Duration::from_secs(10);
/// The same for requests for which the store works before it replies: copies of gigabytes and
/// completing thousands of parts take minutes. Meanwhile the kernel probes whether the other end
/// still exists.
pub(super) const WORK_TIME: Duration = Duration::from_hours(1);
/// The idle time before the kernel's first keep-alive probe, the interval of further ones, and the
/// number of unanswered probes after which the connection has failed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_AGAIN: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// How long a request may continue after the run was asked to stop.
const GRACE: Duration = Duration::from_secs(1);
/// How often a long request checks its timeouts and the stop request.
const TICK: Duration = Duration::from_millis(100);
/// How long a connection may be idle and be reused; stores close idle ones after about that time.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// The idle time after which a connection is checked before it is reused.
const IDLE_CHECKED: Duration = Duration::from_millis(500);

type Driver = hyper::client::conn::http1::Connection<Counted, Sending>;

/// Connections to one server.
pub(super) struct Transport {
    idle: Mutex<Vec<PooledConnection>>,
    connector: Connector,
    server: Uri,
}

/// A connection with the runtime that drives it. While idle it runs on no thread.
pub(super) struct PooledConnection {
    /// `None` only while it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    connection: Option<Connection>,
    /// Signs the requests of this connection; kept here so that it needs no lock.
    pub(super) signer: Signer,
}

struct Connection {
    sender: SendRequest<Sending>,
    /// Drives the protocol; `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    moved: Arc<AtomicU64>,
    used: Instant,
}

/// Why a request has no reply.
enum Unsent {
    /// Nothing was written: the request can be sent over another connection.
    Unwritten(Box<Request<Sending>>),
    /// Anything else.
    Lost(StoreError),
}

/// The timeouts of a request.
#[derive(Clone, Copy)]
pub(super) struct Timeouts<'a> {
    pub(super) connect: Duration,
    /// Whether the store works before it replies.
    pub(super) works: bool,
    /// Whether the store has ever replied.
    pub(super) has_replied: &'a AtomicBool,
    pub(super) stop: &'a Stop,
}

impl Timeouts<'_> {
    /// Returns the timeout without any data; it becomes longer once any request has got a reply.
    fn stall(&self) -> Duration {
        match (self.has_replied.load(Ordering::Relaxed), self.works) {
            (false, _) => FIRST_STALL_TIME,
            (true, false) => STALL_TIME,
            (true, true) => WORK_TIME,
        }
    }
}

impl Transport {
    /// Prepares connections to a server, without making one.
    ///
    /// # Errors
    /// Fails if the trusted certificates can't be read.
    pub(super) fn new(
        server: Uri,
        proxies: &Proxies,
        ca_file: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIME));
        http.set_keepalive(Some(PROBE_AFTER));
        http.set_keepalive_interval(Some(PROBE_AGAIN));
        http.set_keepalive_retries(Some(PROBES));
        let tls = tls::config(proxies.need_tls(&server), ca_file)?;
        let connector = Connector::new(http, tls, &server, proxies);
        Ok(Self { idle: Mutex::default(), connector, server })
    }

    /// Takes the most recently used idle connection, or makes a new one.
    pub(super) fn checkout(&self) -> Result<PooledConnection, StoreError> {
        let rested = self.idle.lock().pop();
        if let Some(connection) = rested {
            return Ok(connection);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::new(StoreErrorKind::Network).because(error))?;
        Ok(PooledConnection { runtime: Some(runtime), connection: None, signer: Signer::default() })
    }

    /// Returns a connection to the pool.
    pub(super) fn release(&self, connection: PooledConnection) {
        self.idle.lock().push(connection);
    }
}

impl PooledConnection {
    /// Closes the connection, which may still have unread data in flight.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Sends a request and waits for the head of the reply.
    ///
    /// # Errors
    /// Errors have the kind `Network`, `Proxy`, `Tls` or `Interrupted`; the connection is closed
    /// then. [`StoreError::maybe_done`] says whether the request may have reached the store.
    pub(super) fn send(
        &mut self,
        transport: &Transport,
        mut request: Request<Sending>,
        timeouts: Timeouts<'_>,
    ) -> Result<Response<Incoming>, StoreError> {
        transport.connector.address(&transport.server, &mut request);
        let runtime =
            self.runtime.as_ref().expect("only a connection that is being dropped has none");
        let place = &mut self.connection;
        let result = runtime.block_on(async {
            let kept = match place.take() {
                Some(kept) => kept.check().await,
                None => None,
            };
            let connection = match kept {
                Some(kept) => place.insert(kept),
                None => place.insert(Connection::open(transport, timeouts).await?),
            };
            let request = match connection.send(request, timeouts).await {
                Err(Unsent::Unwritten(request)) => *request,
                Err(Unsent::Lost(error)) => return Err(error),
                Ok(response) => return Ok(response),
            };
            // The connection was closed while it was idle.
            let connection = place.insert(Connection::open(transport, timeouts).await?);
            connection.send(request, timeouts).await.map_err(|unsent| match unsent {
                Unsent::Lost(error) => error,
                Unsent::Unwritten(_) => StoreError::new(StoreErrorKind::Network)
                    .message("the connection was closed at once"),
            })
        });
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    /// Waits for the next piece of a reply's body; `None` at its end.
    pub(super) fn piece(
        &mut self,
        body: &mut Incoming,
        timeouts: Timeouts<'_>,
    ) -> Result<Option<Bytes>, StoreError> {
        let runtime =
            self.runtime.as_ref().expect("only a connection that is being dropped has none");
        let Some(connection) = self.connection.as_mut() else { return Ok(None) };
        let result = runtime.block_on(async {
            loop {
                let frame = connection.watch(body.frame(), timeouts).await?;
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(lost(error)),
                    // Skip trailers.
                    Some(Ok(frame)) => {
                        if let Ok(piece) = frame.into_data() {
                            return Ok(Some(piece));
                        }
                    }
                }
            }
        });
        if result.is_err() {
            self.connection = None;
        }
        result
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.connection = None;
        if let Some(runtime) = self.runtime.take() {
            // Don't wait for a name lookup that is still running.
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    async fn open(transport: &Transport, timeouts: Timeouts<'_>) -> Result<Self, StoreError> {
        // A connector is a cheap handle; each call needs its own.
        let mut connector = transport.connector.clone();
        let connecting = async {
            std::future::poll_fn(|context| connector.poll_ready(context)).await?;
            connector.call(transport.server.clone()).await
        };
        let start = Instant::now();
        let stream = ticking(connecting, || {
            if timeouts.stop.requested() {
                return Some(StoreError::new(StoreErrorKind::Interrupted));
            }
            let late = start.elapsed() >= timeouts.connect;
            late.then(|| StoreError::new(StoreErrorKind::Network).message("no connection in time"))
        })
        .await?
        .map_err(|error| {
            let server = transport.server.authority().map_or("", |server| server.as_str());
            unconnected(error, server, transport.connector.proxy())
        })?;

        let moved = Arc::new(AtomicU64::new(0));
        let stream = Counted { stream, moved: Arc::clone(&moved) };
        let (sender, driver) = Builder::new()
            .handshake(stream)
            .await
            .map_err(|error| StoreError::new(StoreErrorKind::Network).because(error))?;
        let driver = Some(Box::pin(driver));
        Ok(Self { sender, driver, moved, used: Instant::now() })
    }

    /// Returns the connection to the pool if it can be reused.
    async fn check(mut self) -> Option<Self> {
        let idle = self.used.elapsed();
        if idle > IDLE_TIME {
            return None;
        }
        if idle > IDLE_CHECKED {
            // Let the runtime learn whether the other end has closed the connection.
            tokio::task::yield_now().await;
        }
        let ready = std::future::poll_fn(|context| {
            let ended = self.drive(context);
            match self.sender.poll_ready(context) {
                Poll::Pending if !ended => Poll::Pending,
                ready => Poll::Ready(!ended && matches!(ready, Poll::Ready(Ok(())))),
            }
        });
        // A connection that isn't ready after a complete reply is of no use.
        let ready = tokio::time::timeout(TICK, ready).await.unwrap_or(false);
        ready.then_some(self)
    }

    /// Drives the connection; returns true once it has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(context).is_ready()
        {
            // The error is reported to the waiter for the reply.
            self.driver = None;
        }
        self.driver.is_none()
    }

    async fn send(
        &mut self,
        request: Request<Sending>,
        timeouts: Timeouts<'_>,
    ) -> Result<Response<Incoming>, Unsent> {
        let response = self.sender.try_send_request(request);
        self.watch(response, timeouts).await.map_err(Unsent::Lost)?.map_err(|mut error| match error
            .take_message()
        {
            Some(request) => Unsent::Unwritten(Box::new(request)),
            None => Unsent::Lost(lost(error.into_error())),
        })
    }

    /// Waits for data on the connection, as long as any arrives within the timeout.
    async fn watch<T>(
        &mut self,
        waited_for: impl Future<Output = T>,
        timeouts: Timeouts<'_>,
    ) -> Result<T, StoreError> {
        let mut waited_for = pin!(waited_for);
        let moved = Arc::clone(&self.moved);
        let (mut seen, mut since) = (moved.load(Ordering::Relaxed), Instant::now());
        let mut asked_to_stop = None;
        let result = ticking(
            std::future::poll_fn(|context| {
                self.drive(context);
                waited_for.as_mut().poll(context)
            }),
            || {
                let now = Instant::now();
                let count = moved.load(Ordering::Relaxed);
                if count != seen {
                    (seen, since) = (count, now);
                }
                if timeouts.stop.requested() && now - *asked_to_stop.get_or_insert(now) >= GRACE {
                    let mut error = StoreError::new(StoreErrorKind::Interrupted);
                    error.maybe_done = true;
                    return Some(error);
                }
                let stall = timeouts.stall();
                (now - since >= stall).then(|| {
                    let mut error = StoreError::new(StoreErrorKind::Network)
                        .message(format!("nothing came for {} seconds", stall.as_secs()));
                    error.maybe_done = true;
                    error
                })
            },
        )
        .await;
        self.used = Instant::now();
        result
    }
}

/// Waits for a future and checks every [`TICK`] whether to continue.
async fn ticking<T>(
    waited_for: impl Future<Output = T>,
    mut give_up: impl FnMut() -> Option<StoreError>,
) -> Result<T, StoreError> {
    let mut waited_for = pin!(waited_for);
    let mut tick = pin!(tokio::time::sleep(TICK));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = waited_for.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        while tick.as_mut().poll(context).is_ready() {
            if let Some(error) = give_up() {
                return Poll::Ready(Err(error));
            }
            tick.as_mut().reset(tokio::time::Instant::now() + TICK);
        }
        Poll::Pending
    })
    .await
}

/// Builds the error for a failed connection to a server; `proxy` is the proxy used.
fn unconnected(
    error: Box<dyn std::error::Error + Send + Sync>,
    server: &str,
    proxy: Option<&str>,
) -> StoreError {
    let mut kind = if proxy.is_some() { StoreErrorKind::Proxy } else { StoreErrorKind::Network };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                return StoreError::new(StoreErrorKind::Tls)
                    .message(format!("{server} answers without TLS, as a plain HTTP server does"))
                    .help(hint![
                        "if the port is right, write http:// in the endpoint: nothing is encrypted \
                         then, which for another machine needs ",
                        Setting::AllowHttp,
                    ]);
            }
            Some(_) => kind = StoreErrorKind::Tls,
            None => {}
        }
        cause = match error.downcast_ref::<io::Error>() {
            // An io::Error's source is that of the error it holds, not that error.
            Some(io) => io.get_ref().map(|held| held as _),
            None => error.source(),
        };
    }
    StoreError::new(kind).because(error).message(proxy.unwrap_or(server))
}

/// Converts the error of a lost connection.
fn lost(error: hyper::Error) -> StoreError {
    let kind = if error.is_parse() { StoreErrorKind::BadReply } else { StoreErrorKind::Network };
    // Canceled means that the request was never taken.
    let maybe_done = !error.is_canceled() && !error.is_user();
    let mut lost = StoreError::new(kind).because(error);
    lost.maybe_done = maybe_done;
    lost
}

/// A stream that counts what moves through it.
struct Counted {
    stream: Wire,
    moved: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.moved.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        // That something came is enough to know; how much, the cursor doesn't tell.
        self.count(&result_of_one(&result));
        result
    }
}

fn result_of_one(result: &Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
    match result {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(1)),
        _ => Poll::Pending,
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.count(&result);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reached_is_named() {
        let error = unconnected("dns error".into(), "store.example:9000", None);
        assert_eq!(error.kind, StoreErrorKind::Network);
        assert!(error.to_string().contains("store.example:9000"), "{error}");
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let error = unconnected(plain.into(), "store.example:9000", None);
        assert_eq!(error.kind, StoreErrorKind::Tls);
        assert!(error.to_string().contains("store.example:9000 answers without TLS"), "{error}");
        assert!(error.help.is_some_and(|help| help.to_string().contains("http://")));
    }

    #[test]
    fn a_store_that_works_is_waited_for() {
        let has_replied = AtomicBool::new(false);
        let stop = Stop::default();
        let stall = |works| {
            Timeouts { connect: CONNECT_TIME, works, has_replied: &has_replied, stop: &stop }
                .stall()
        };
        assert_eq!(stall(true), FIRST_STALL_TIME, "there may be no store");
        has_replied.store(true, Ordering::Relaxed);
        assert_eq!((stall(false), stall(true)), (STALL_TIME, WORK_TIME));
    }
}
