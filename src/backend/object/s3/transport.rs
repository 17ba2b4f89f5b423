//! Connections, driven by the threads that use them.
//!
//! A [`PooledConnection`] is one connection with a runtime of its own, which runs on the thread that makes the
//! request and nowhere else: no other thread has to be woken, and what a request costs is what the
//! kernel asks for sending and receiving. Callers rest on a stack, the one used last on top, so
//! that the connections in use are the warm ones.

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

/// How long a connection may take to come about.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long nothing may move on a connection that waits for something.
const STALL_TIME: Duration = Duration::from_secs(30);
/// The same as long as the store has never answered: it is rather no store than a slow one.
const FIRST_STALL_TIME: Duration = Duration::from_secs(10);
/// The same where the store works before it answers: copies of gigabytes take minutes, and so does
/// putting together what came in thousands of parts. Meanwhile the kernel asks whether the other end
/// still is there.
pub(super) const WORK_TIME: Duration = Duration::from_hours(1);
/// After how long a silence the kernel asks that, and how often it asks again; after as many
/// questions without an answer the connection has failed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_AGAIN: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// How long a request that was begun may go on once the run is to stop.
const GRACE: Duration = Duration::from_secs(1);
/// How often a request that takes long looks about.
const TICK: Duration = Duration::from_millis(100);
/// How long a connection may rest and be used again; stores close them after about that time.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// After so long a rest, a connection is first asked whether it is still there.
const IDLE_CHECKED: Duration = Duration::from_millis(500);

type Driver = hyper::client::conn::http1::Connection<Counted, Sending>;

/// Connections to one server.
pub(super) struct Transport {
    idle: Mutex<Vec<PooledConnection>>,
    connector: Connector,
    server: Uri,
}

/// A connection and the runtime that drives it; on no thread while it rests.
pub(super) struct PooledConnection {
    /// `None` only while it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
    connection: Option<Connection>,
    /// Signs this caller's requests: kept here so that it needs no lock.
    pub(super) signer: Signer,
}

struct Connection {
    sender: SendRequest<Sending>,
    /// `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    moved: Arc<AtomicU64>,
    used: Instant,
}

/// Why a request has no reply.
enum Unsent {
    /// Nothing of it was written: it can go over another connection.
    Unwritten(Box<Request<Sending>>),
    /// Anything else.
    Lost(StoreError),
}

/// Until when a request may go on.
#[derive(Clone, Copy)]
pub(super) struct Timeouts<'a> {
    pub(super) connect: Duration,
    /// Whether the store has to work before it answers.
    pub(super) works: bool,
    /// Whether the store has ever answered, whatever it said.
    pub(super) heard: &'a AtomicBool,
    pub(super) stop: &'a Stop,
}

impl Timeouts<'_> {
    /// How long nothing may move; longer as soon as another request is answered.
    fn stall(&self) -> Duration {
        match (self.heard.load(Ordering::Relaxed), self.works) {
            (false, _) => FIRST_STALL_TIME,
            (true, false) => STALL_TIME,
            (true, true) => WORK_TIME,
        }
    }
}

impl Transport {
    /// Prepares connections to a server; none is made yet.
    ///
    /// # Errors
    /// When the certificates to trust can't be read.
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

    /// Takes the caller that was used last, or makes one.
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

    /// Lets a caller rest.
    pub(super) fn release(&self, connection: PooledConnection) {
        self.idle.lock().push(connection);
    }
}

impl PooledConnection {
    /// Closes the connection, of which nobody knows any more what is on its way.
    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Sends a request and waits for the head of the reply.
    ///
    /// # Errors
    /// Of kind `Network`, `Proxy`, `Tls` or `Interrupted`. [`StoreError::maybe_done`] tells whether the
    /// request may have reached the store. The connection is closed then.
    pub(super) fn send(
        &mut self,
        transport: &Transport,
        mut request: Request<Sending>,
        timeouts: Timeouts<'_>,
    ) -> Result<Response<Incoming>, StoreError> {
        transport.connector.address(&transport.server, &mut request);
        let runtime = self.runtime.as_ref().expect("only a caller that is dropped has none");
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
            // Closed while it rested.
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

    /// Waits for the next piece of a reply's body; `None` at its end, however it came about.
    pub(super) fn piece(
        &mut self,
        body: &mut Incoming,
        timeouts: Timeouts<'_>,
    ) -> Result<Option<Bytes>, StoreError> {
        let runtime = self.runtime.as_ref().expect("only a caller that is dropped has none");
        let Some(connection) = self.connection.as_mut() else { return Ok(None) };
        let result = runtime.block_on(async {
            loop {
                let frame = connection.watch(body.frame(), timeouts).await?;
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(lost(error)),
                    // Trailers are passed over.
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
            // A name that is being resolved is not waited for.
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    async fn open(transport: &Transport, timeouts: Timeouts<'_>) -> Result<Self, StoreError> {
        // Connectors are handles; each call needs its own.
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

    /// Gives the connection back if it can be used again.
    async fn check(mut self) -> Option<Self> {
        let idle = self.used.elapsed();
        if idle > IDLE_TIME {
            return None;
        }
        if idle > IDLE_CHECKED {
            // Lets the runtime hear from the kernel whether the other end has closed.
            tokio::task::yield_now().await;
        }
        let ready = std::future::poll_fn(|context| {
            let ended = self.drive(context);
            match self.sender.poll_ready(context) {
                Poll::Pending if !ended => Poll::Pending,
                ready => Poll::Ready(!ended && matches!(ready, Poll::Ready(Ok(())))),
            }
        });
        // A connection that is not ready after a reply was read to its end is of no use.
        let ready = tokio::time::timeout(TICK, ready).await.unwrap_or(false);
        ready.then_some(self)
    }

    /// Lets the connection send and receive; `true` once it has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(context).is_ready()
        {
            // How it ended is told to whoever waits for a reply.
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

    /// Waits for what comes over the connection, as long as something moves.
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

/// Waits for a future and asks every [`TICK`] whether to go on.
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

/// The error of a connection to a server that did not come about; `proxy` is the one on the way.
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
                    .message(format!("{server} answers without TLS, as plain HTTP does"))
                    .help(hint![
                        "if it is the right port, write http:// in the endpoint: nothing is \
                         encrypted then, for which another machine needs ",
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

/// The error of a connection that was lost on the way.
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
        let heard = AtomicBool::new(false);
        let stop = Stop::default();
        let stall =
            |works| Timeouts { connect: CONNECT_TIME, works, heard: &heard, stop: &stop }.stall();
        assert_eq!(stall(true), FIRST_STALL_TIME, "there may be no store");
        heard.store(true, Ordering::Relaxed);
        assert_eq!((stall(false), stall(true)), (STALL_TIME, WORK_TIME));
    }
}
