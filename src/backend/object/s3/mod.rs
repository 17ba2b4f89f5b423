//! A client for S3 and compatible stores that accepts any key.
//!
//! Every key that a store holds can be reached: keys are bytes, percent-encoded once and never
//! parsed as paths, so that `./x`, `a/../b`, `a//b` and `/a` are not changed. All methods block.
//! One call is one logical request, retried as long as that makes sense.
//!
//! - `settings`, `variables`, `profile`: how to reach a store, from a location, the environment and
//!   `~/.aws`;
//! - `address`, `encode`: the address of a request;
//! - `sign`, `credential`, `credentials`: signatures, and where credentials are found;
//! - `tls`: which certificates are trusted;
//! - `proxy`: connections through proxies;
//! - `transport`: connections, each driven by the thread that uses it;
//! - `call`, `sending`, `retry`: one request with its retries;
//! - `reply`, `xml`: parsing replies;
//! - `checksum`: verifying content;
//! - `listing`, `objects`, `reader`, `delete`, `multipart`: the requests;
//! - `store`, `help`: [`S3`] as a [`Store`](super::Store).

mod address;
mod call;
mod checksum;
mod clients;
mod credential;
mod credentials;
mod delete;
mod encode;
mod help;
mod listing;
mod multipart;
mod objects;
mod profile;
mod proxy;
mod reader;
mod reply;
mod retry;
mod sending;
mod settings;
mod sign;
mod store;
mod time;
mod tls;
mod transport;
mod variables;
mod xml;

#[cfg(test)]
mod tests;

pub use clients::Clients;
#[cfg(any(test, feature = "internals"))]
pub use credential::Fixed;
pub use credential::{Credential, Credentials};
pub use proxy::Proxies;
pub use settings::{Settings, resolve};

use super::{BucketId, RequestLimits};
use crate::model::{Error, Stop};
use address::Address;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8};
use transport::Transport;

/// A bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// `http://` or `https://`, a host, and a port and path if needed; `None` is AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket is in the path rather than in the host name.
    pub path_style: bool,
    /// A file of certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies to use.
    pub proxies: Proxies,
}

impl S3Config {
    /// Returns the endpoint without the bucket, if that is the first label of its host or its whole
    /// path.
    fn endpoint_without_bucket(&self) -> Option<String> {
        let (scheme, rest) = self.endpoint.as_deref()?.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = self.bucket.to_ascii_lowercase();
        if let Some(host) = host.strip_prefix(&bucket).and_then(|host| host.strip_prefix('.')) {
            return Some(format!("{scheme}://{host}"));
        }
        (path.trim_matches('/') == self.bucket).then(|| format!("{scheme}://{host}"))
    }
}

/// A client for one bucket. Clones share its connections and what was found out about the store.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
    limits: Arc<dyn RequestLimits>,
    stop: Stop,
    /// Most tries of a request.
    tries: u32,
}

struct Shared {
    config: S3Config,
    id: BucketId,
    address: Address,
    transport: Transport,
    credentials: Arc<dyn Credentials>,
    /// Whether the store has ever replied.
    has_replied: AtomicBool,
    /// Whether the store has ever replied successfully.
    proven: AtomicBool,
    /// The store's clock minus this machine's, in seconds; 0 until the store complains about it.
    clock: AtomicI64,
    /// Whether the store accepts checksum headers (`checksum::Checksums`).
    checksums: AtomicU8,
    /// Whether the store refused bulk deletes.
    deletes_singly: AtomicBool,
    /// Whether a read may have the condition `If-Match`; false for a store that never finds a
    /// match.
    supports_read_conditions: AtomicBool,
    /// Whether the store sent a whole object when a range was requested.
    ignores_ranges: AtomicBool,
    /// Whether content of another length than listed is requested again with gzip encoding; false
    /// if replies never have a length.
    requests_gzip: AtomicBool,
}

impl S3 {
    /// Makes a client, without sending a request.
    ///
    /// # Errors
    /// Fails if the configuration doesn't give an address, or the trusted certificates can't be
    /// read.
    pub fn new(
        config: S3Config,
        credentials: Arc<dyn Credentials>,
        limits: Arc<dyn RequestLimits>,
        stop: Stop,
    ) -> Result<Self, Error> {
        let address = Address::new(&config)?;
        let transport =
            Transport::new(address.server.clone(), &config.proxies, config.ca_file.as_deref())?;
        let id = BucketId {
            scheme: "s3",
            endpoint: config.endpoint.clone(),
            region: config.region.clone(),
            bucket: config.bucket.clone(),
        };
        let shared = Shared {
            config,
            id,
            address,
            transport,
            credentials,
            has_replied: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            clock: AtomicI64::new(0),
            checksums: AtomicU8::new(0),
            deletes_singly: AtomicBool::new(false),
            supports_read_conditions: AtomicBool::new(true),
            ignores_ranges: AtomicBool::new(false),
            requests_gzip: AtomicBool::new(true),
        };
        Ok(Self { shared: Arc::new(shared), limits, stop, tries: retry::TRIES })
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("S3").field(&self.shared.config).finish()
    }
}
