//! A client for S3 and the stores that speak its protocol, by keys as they are.
//!
//! Every key that a store holds can be reached: keys are bytes, percent-encoded once and never
//! parsed as paths, so that `./x`, `a/../b`, `a//b` and `/a` stay what they are. All methods block;
//! one call is one logical request, tried again within as long as there is hope.
//!
//! - `settings`, `variables`, `profile`: how a store is reached, from a location, the environment and
//!   `~/.aws`;
//! - `address`, `encode`: where a request goes;
//! - `sign`, `credential`, `credentials`: what it is signed with, and where that is found;
//! - `tls`: whose certificates are trusted;
//! - `proxy`: which way connections go;
//! - `transport`: connections, each driven by the thread that uses it;
//! - `call`, `sending`, `retry`: one request from its beginning to its end;
//! - `reply`, `xml`: what came back;
//! - `checksum`: what content is held against;
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

/// Which bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// `http://` or `https://`, a host, a port and a path where they are needed; `None` is AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket stands in the path rather than before the host.
    pub path_style: bool,
    /// A file of certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies on the way.
    pub proxies: Proxies,
}

impl S3Config {
    /// The endpoint without the bucket, where that is the first label of its host or all of its path.
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

/// One bucket. A clone is a handle to the same client: connections and what was learnt of the store
/// are shared.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<Shared>,
    limits: Arc<dyn RequestLimits>,
    stop: Stop,
    /// How often a request is sent at most.
    tries: u32,
}

struct Shared {
    config: S3Config,
    id: BucketId,
    address: Address,
    transport: Transport,
    credentials: Arc<dyn Credentials>,
    /// Whether the store has ever answered.
    heard: AtomicBool,
    /// Whether the store has ever answered well.
    proven: AtomicBool,
    /// The store's clock minus this machine's, in seconds; 0 as long as they need not be compared.
    clock: AtomicI64,
    /// What the store thinks of checksum headers (`checksum::Checksums`).
    checksums: AtomicU8,
    /// Whether the store refused to delete many objects at once.
    deletes_singly: AtomicBool,
    /// Whether the store may be asked to read a version (`If-Match`): not where it never finds one to
    /// match.
    heeds_read_conditions: AtomicBool,
    /// Whether the store sent the whole of an object of which a part was asked for.
    ignores_ranges: AtomicBool,
    /// Whether content of another length than was listed is asked for packed: not where replies never
    /// tell their length.
    asks_for_packed: AtomicBool,
}

impl S3 {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration makes no address, or the certificates to trust can't be read.
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
            heard: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            clock: AtomicI64::new(0),
            checksums: AtomicU8::new(0),
            deletes_singly: AtomicBool::new(false),
            heeds_read_conditions: AtomicBool::new(true),
            ignores_ranges: AtomicBool::new(false),
            asks_for_packed: AtomicBool::new(true),
        };
        Ok(Self { shared: Arc::new(shared), limits, stop, tries: retry::TRIES })
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("S3").field(&self.shared.config).finish()
    }
}
