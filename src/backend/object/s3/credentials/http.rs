//! Requests to services that provide credentials: a few a run.
//!
//! Services on this machine or the local network are reached directly, others through a proxy if
//! one is set. Requests and replies are secret: no message repeats them.

use crate::backend::object::s3::address::{host, is_loopback};
use crate::backend::object::s3::proxy::{Connector, Proxies};
use crate::backend::object::s3::tls;
use crate::backend::object::s3::variables::Variables;
use bytes::Bytes;
use http::uri::{Scheme, Uri};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use reqsign_core::HttpSend;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The timeout of a service.
const TIME: Duration = Duration::from_secs(10);
/// The timeout of instance metadata, which are close or absent.
const METADATA_TIME: Duration = Duration::from_secs(1);
/// Most bytes of a reply that are read.
const REPLY: usize = 1 << 20;
/// The hosts of instance metadata, if no other is set.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

/// Sends requests to services.
pub(super) trait Ask: HttpSend + Clone {
    /// Takes the reason why the last request got no reply, if it got none.
    fn take_failure(&self) -> Option<String>;
}

/// Sends requests, each over a connection of its own.
#[derive(Clone, Debug)]
pub(in crate::backend::object::s3) struct Http {
    ca_file: Option<PathBuf>,
    proxies: Proxies,
    /// The configured host of instance metadata.
    metadata: Option<String>,
    /// Why the last request got no reply.
    failure: Arc<Mutex<Option<String>>>,
}

impl Http {
    pub(in crate::backend::object::s3) fn new(
        ca_file: Option<&Path>,
        proxies: &Proxies,
        variables: &Variables,
    ) -> Self {
        let metadata = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        Self {
            ca_file: ca_file.map(Path::to_owned),
            proxies: proxies.clone(),
            metadata: metadata.map(|endpoint| host(endpoint).to_owned()),
            failure: Arc::default(),
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_metadata =
            METADATA.contains(&&*host) || self.metadata.as_deref() == Some(host.as_str());
        let is_near = is_metadata || is_near(&host);
        if !is_secure(request.uri()) && !is_near {
            return Err(format!("\"{host}\" would be asked for credentials without encryption"));
        }
        let time = if is_metadata { METADATA_TIME } else { TIME };
        let failed = |error: String| format!("\"{host}\" can't be asked: {error}");
        let proxies = if is_near { Proxies::default() } else { self.proxies.clone() };
        let connector = self.connector(request.uri(), &proxies).map_err(failed)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let reply = async {
            let reply = client.request(request.map(Full::new)).await.map_err(|e| innermost(&e))?;
            let (head, body) = reply.into_parts();
            let body = Limited::new(body, REPLY).collect().await.map_err(|e| innermost(&*e))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(time, reply).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(format!("\"{host}\" did not answer within {} s", time.as_secs())),
        }
    }

    fn connector(&self, server: &Uri, proxies: &Proxies) -> Result<Connector, String> {
        let ca_file = self.ca_file.as_deref();
        let tls = tls::config(proxies.need_tls(server), ca_file);
        let tls = tls.map_err(|error| error.to_string())?;
        Ok(Connector::new(HttpConnector::new(), tls, server, proxies))
    }
}

impl Ask for Http {
    fn take_failure(&self) -> Option<String> {
        self.failure.lock().take()
    }
}

impl HttpSend for Http {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let result = self.send(request).await;
        let failure = result.as_ref().err().cloned();
        *self.failure.lock() = failure;
        result.map_err(reqsign_core::Error::unexpected)
    }
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// Returns whether a host is close: this machine, or a link-local address (where containers get
/// their credentials).
fn is_near(host: &str) -> bool {
    is_loopback(host)
        || match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            // fd00:ec2::/32, which AWS uses for services of the same machine.
            Ok(IpAddr::V6(address)) => address.segments()[..2] == [0xfd00, 0x0ec2],
            Err(_) => false,
        }
}

/// Returns the innermost cause of an error.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The environment's proxy doesn't exist: a request through it would fail.
    #[test]
    fn services_next_door_are_reached_without_a_proxy_and_others_by_it() {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        });
        let set = |name: &str| {
            ["http_proxy", "https_proxy"].contains(&name).then(|| "http://127.0.0.1:1".to_owned())
        };
        let variables = Variables::take(&set);
        let http = Http::new(None, &Proxies::of(&variables).unwrap(), &variables);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |uri: &str| {
            let request = Request::get(uri).body(Bytes::new()).unwrap();
            runtime.block_on(http.send(request))
        };
        assert_eq!(ask(&format!("http://{address}/")).unwrap().into_body(), "ok");
        let error = ask("https://sts.example.invalid/").unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }

    #[test]
    fn credentials_are_not_asked_for_over_the_open_net() {
        for host in ["localhost", "127.0.0.1", "169.254.170.2", "fd00:ec2::23", "::1"] {
            assert!(is_near(host), "{host}");
        }
        for host in ["example.com", "10.0.0.1", "fd00::1", "localhost.example.com", ""] {
            assert!(!is_near(host), "{host}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = Http::new(None, &Proxies::default(), &Variables::default());
        let request = Request::get("http://example.com/hunter2").body(Bytes::new()).unwrap();
        let error = runtime.block_on(http.send(request)).unwrap_err();
        assert!(error.contains("without encryption") && !error.contains("hunter2"), "{error}");
    }
}
