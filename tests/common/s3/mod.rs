//! An S3 server in this process for tests: it keeps every key as it came, logs every request, and
//! fails as scripted.
//!
//! ```ignore
//! let server = S3Server::start();
//! let bucket = server.bucket("bucket");
//! bucket.put("a//b", b"x");
//! let fault = server.fail(On::nth(Kind::List, 3), Fault::Status(500));
//! let run = Run::of(command.envs(server.environment()));
//! assert_eq!((fault.struck(), server.count(Kind::Head)), (1, 0));
//! ```
//!
//! It isn't part of `common`, so that only test binaries that use it build it: they have
//! `#[path = "../common/s3/mod.rs"] mod s3;` beside their `mod common;`.
//!
//! hyper runs it on a thread of its own; s3s implements the protocol and checks signatures. From
//! outside in: `front` (log and faults), s3s, `service` (one method for each operation), `store`.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses a part of it")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "operations take and give what s3s has"
)]

mod bucket;
mod buckets;
mod content;
mod fault;
mod front;
mod listing;
mod multipart;
mod objects;
mod reply;
mod request;
mod service;
mod store;

pub use crate::common::servers::{ACCESS_KEY, REGION, SECRET_KEY};
pub use bucket::Bucket;
pub use content::{base64, sum};
pub use fault::{Fault, Hold, On, Scripted};
pub use request::{Kind, Request};
pub use store::{Object, Settings, StartAfter, Upload, Version, hex, md5};

use front::Shared;
use hyper_util::rt::TokioIo;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A server on a free port of the loopback device, until it is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server that requires signatures by [`ACCESS_KEY`] and [`SECRET_KEY`].
    pub fn start() -> Self {
        Self::started(false)
    }

    /// Starts a server that accepts requests without a signature, too.
    pub fn start_anonymous() -> Self {
        Self::started(true)
    }

    fn started(anonymous: bool) -> Self {
        let shared = Arc::<Shared>::default();
        let mut builder = S3ServiceBuilder::new(service::Service(shared.store.clone()));
        builder.set_auth(service::Keys);
        builder.set_access(service::Access { anonymous });
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on the loopback device");
        listener.set_nonblocking(true).expect("make a listener non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("make a runtime");
        let seen = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let accepting = tokio::spawn(accept(listener, seen, service));
                let _dropped = stopped.await;
                assert!(!accepting.is_finished(), "the server stopped by itself");
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the variables that configure a child process for this server.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        crate::common::servers::environment(&self.endpoint())
    }

    /// Returns a bucket, after making it if it is missing. Names have at least three characters.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::open(&self.shared.store, name, service::held())
    }

    /// Returns a read-only bucket of `count` keys, from `key-000000000` on, that are computed on
    /// demand.
    pub fn synthetic_bucket(&self, name: &str, count: u32) -> Bucket {
        Bucket::open(&self.shared.store, name, store::Contents::Synthetic(count))
    }

    /// Changes the settings of the store.
    pub fn settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.shared.store.lock().settings);
    }

    /// Adds a fault.
    pub fn fail(&self, on: On, fault: Fault) -> Scripted {
        self.shared.script.lock().add(on, fault)
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.shared.script.lock().clear();
    }

    /// Returns all requests, in order.
    pub fn log(&self) -> Vec<Request> {
        self.shared.log.lock().clone()
    }

    /// Returns the requests of a kind, in order.
    pub fn requests(&self, kind: Kind) -> Vec<Request> {
        self.shared.log.lock().iter().filter(|request| request.kind == kind).cloned().collect()
    }

    /// Returns the number of requests of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.shared.log.lock().iter().filter(|request| request.kind == kind).count()
    }

    /// Returns the number of requests of each kind that occurred.
    pub fn counts(&self) -> std::collections::BTreeMap<Kind, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for request in self.shared.log.lock().iter() {
            *counts.entry(request.kind).or_default() += 1;
        }
        counts
    }

    /// Clears the log of requests.
    pub fn forget(&self) {
        self.shared.log.lock().clear();
    }

    /// Returns the number of requests under way.
    pub fn under_way(&self) -> usize {
        self.shared.gauge.now()
    }

    /// Returns the most requests that were under way at once; each counts until its reply is sent.
    pub fn peak(&self) -> usize {
        self.shared.gauge.peak()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server's thread panicked");
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, service: S3Service) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("listen asynchronously");
    loop {
        let (stream, _) = listener.accept().await.expect("accept a connection");
        stream.set_nodelay(true).expect("set a socket's option");
        let stream = stream.into_std().expect("take a socket out");
        // A second handle, as hyper takes the first.
        let wire = Arc::new(reply::Wire(stream.try_clone().expect("duplicate a handle")));
        let stream = tokio::net::TcpStream::from_std(stream).expect("put a socket back");
        let (shared, service) = (shared.clone(), service.clone());
        let answer = hyper::service::service_fn(move |request| {
            front::answer(shared.clone(), service.clone(), wire.clone(), request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            // It fails if a fault ends the connection or the client closes it.
            let _broken = connection.await;
        });
    }
}
