//! Proxies, chosen by environment variables as curl interprets them
//! (<https://curl.se/docs/manpage.html#ENVIRONMENT>).
//!
//! For `https://` a proxy is asked for a tunnel (CONNECT, RFC 9110, section 9.3.6) or a SOCKS
//! connection. For `http://` the requests themselves are sent to the proxy, in absolute form (RFC
//! 9112, section 3.2.2). A name and password in a proxy's URL are sent to that proxy only and never
//! printed.

use super::variables::Variables;
use crate::model::{Error, ErrorKind};
use http::Request;
use http::header::{HeaderValue, PROXY_AUTHORIZATION};
use http::uri::{Authority, Scheme, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// The configured proxies, one for each scheme, and the hosts that need none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: String,
    https: String,
    none_for: String,
}

impl Proxies {
    /// Reads them from the environment. A lower-case name takes precedence. `HTTP_PROXY` is ignored
    /// if a web server runs this program, because it may then come from a request's header
    /// (<https://httpoxy.org>).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an invalid address, which the error doesn't repeat because it may
    /// contain a password.
    pub(super) fn of(variables: &Variables) -> Result<Self, Error> {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| Some((name, variables.get(name)?.to_owned())))
        };
        let is_cgi = variables.get("REQUEST_METHOD").is_some();
        let http: &[_] = if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        let all = first(&["all_proxy", "ALL_PROXY"]);
        let none_for = first(&["no_proxy", "NO_PROXY"]).map(|(_, hosts)| hosts).unwrap_or_default();
        let checked = |proxy: Option<(&str, String)>| match proxy {
            None => Ok(String::new()),
            Some((_, url)) if parse(&url).is_some() => Ok(url),
            Some((name, _)) => {
                let message = format!("{name} is not the address of a proxy");
                Err(Error::new(ErrorKind::Usage, message).help(
                    "write it like http://proxy.example.com:3128 or socks5h://localhost:1080",
                ))
            }
        };
        Ok(Self {
            http: checked(first(http).or_else(|| all.clone()))?,
            https: checked(first(&["https_proxy", "HTTPS_PROXY"]).or(all))?,
            // curl accepts spaces as separators, too.
            none_for: none_for.split_whitespace().collect::<Vec<_>>().join(","),
        })
    }

    /// Returns the proxy for a server, if one is to be used.
    fn to(&self, server: &Uri) -> Option<Intercept> {
        let secure = server.scheme() == Some(&Scheme::HTTPS);
        let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let entries = || self.none_for.split(',').filter(|entry| !entry.is_empty());
        // To the matcher `*` means all names, but not addresses.
        if entries().any(|entry| entry == "*") {
            return None;
        }
        let for_port = entries().map(host_and_port);
        let for_port = for_port.filter(|(_, only)| only.is_none_or(|only| only == port));
        let none_for = for_port.map(|(host, _)| host).collect::<Vec<_>>().join(",");
        let matcher = Matcher::builder().http(&self.http).https(&self.https).no(none_for);
        matcher.build().intercept(server)
    }

    /// Returns whether connections to a server need TLS, for the server or its proxy.
    pub(super) fn need_tls(&self, server: &Uri) -> bool {
        let is_secure = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS);
        is_secure(server) || self.to(server).is_some_and(|proxy| is_secure(proxy.uri()))
    }
}

impl fmt::Debug for Proxies {
    /// Prints no part of the addresses.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// Splits an entry of `NO_PROXY` into a host, domain, address or network, and the port to which it
/// is limited, if it has one. curl doesn't support ports there; other programs do.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    let (host, port) = match entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon: an IPv6 address.
        None => match entry.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (entry, None),
        },
    };
    match port.map(str::parse) {
        None => (host, None),
        Some(Ok(port)) => (host, Some(port)),
        // An invalid port: the entry matches nothing.
        Some(Err(_)) => (entry, None),
    }
}

fn parse(url: &str) -> Option<Intercept> {
    let proxy = Matcher::builder().all(url).build().intercept(&Uri::from_static("http://host"))?;
    // The matcher accepts a port that isn't a number.
    let has_legal_port = |it: &Authority| it.as_str() == it.host() || it.port().is_some();
    proxy.uri().authority().is_some_and(has_legal_port).then_some(proxy)
}

/// Makes connections to one server, through its proxy if it has one.
#[derive(Clone)]
pub(super) struct Connector {
    way: Way,
    /// The proxy that requests are sent to in absolute form.
    forward: Option<Forward>,
    /// The proxy's host and port, for messages.
    proxy: Option<String>,
}

#[derive(Clone)]
enum Way {
    Direct(HttpsConnector<HttpConnector>),
    Tunnel(HttpsConnector<Tunnel<HttpsConnector<HttpConnector>>>),
    Socks4(HttpsConnector<SocksV4<HttpConnector>>),
    Socks5(HttpsConnector<SocksV5<HttpConnector>>),
}

#[derive(Clone)]
struct Forward {
    proxy: Uri,
    authorization: Option<HeaderValue>,
}

impl Connector {
    /// Prepares connections to a server, without making one.
    pub(super) fn new(
        mut http: HttpConnector,
        tls: ClientConfig,
        server: &Uri,
        proxies: &Proxies,
    ) -> Self {
        http.enforce_http(false);
        let direct = HttpsConnector::from((http.clone(), tls.clone()));
        let Some(proxy) = proxies.to(server) else {
            return Self { way: Way::Direct(direct), forward: None, proxy: None };
        };
        let address = proxy.uri().clone();
        let named = address.authority().map(ToString::to_string);
        let mut forward = None;
        let scheme = address.scheme_str().unwrap_or_default();
        let way = match scheme {
            "socks4" | "socks4a" => {
                let socks = SocksV4::new(address.clone(), http).local_dns(scheme == "socks4");
                Way::Socks4(HttpsConnector::from((socks, tls)))
            }
            "socks5" | "socks5h" => {
                let socks = SocksV5::new(address.clone(), http).local_dns(scheme == "socks5");
                let socks = match proxy.raw_auth() {
                    Some((user, password)) => socks.with_auth(user.into(), password.into()),
                    None => socks,
                };
                Way::Socks5(HttpsConnector::from((socks, tls)))
            }
            _ if server.scheme() == Some(&Scheme::HTTP) => {
                let authorization = proxy.basic_auth().cloned();
                forward = Some(Forward { proxy: address, authorization });
                Way::Direct(direct)
            }
            _ => {
                let tunnel = Tunnel::new(address, direct);
                let tunnel = match proxy.basic_auth() {
                    Some(authorization) => tunnel.with_auth(authorization.clone()),
                    None => tunnel,
                };
                Way::Tunnel(HttpsConnector::from((tunnel, tls)))
            }
        };
        Self { way, forward, proxy: named }
    }

    /// Returns the host and port of the proxy, if there is one.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Sets the target of a request to the connector's server, in the form that the proxy needs.
    pub(super) fn address<B>(&self, server: &Uri, request: &mut Request<B>) {
        let Some(Forward { authorization, .. }) = &self.forward else { return };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = server.scheme().cloned();
        parts.authority = server.authority().cloned();
        *request.uri_mut() = Uri::from_parts(parts).expect("a server has a scheme and a host");
        if let Some(authorization) = authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
    }
}

type Connecting =
    Pin<Box<dyn Future<Output = Result<Wire, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.way {
            Way::Direct(way) => way.poll_ready(context),
            Way::Tunnel(way) => way.poll_ready(context),
            Way::Socks4(way) => way.poll_ready(context),
            Way::Socks5(way) => way.poll_ready(context),
        }
    }

    fn call(&mut self, server: Uri) -> Connecting {
        fn wire(stream: impl Stream + 'static) -> Wire {
            Wire(Box::new(stream))
        }
        let server = self.forward.as_ref().map_or(server, |forward| forward.proxy.clone());
        match &mut self.way {
            Way::Direct(way) => {
                let connecting = way.call(server);
                Box::pin(async { Ok(wire(connecting.await?)) })
            }
            Way::Tunnel(way) => {
                let connecting = way.call(server);
                Box::pin(async { Ok(wire(connecting.await?)) })
            }
            Way::Socks4(way) => {
                let connecting = way.call(server);
                Box::pin(async { Ok(wire(connecting.await?)) })
            }
            Way::Socks5(way) => {
                let connecting = way.call(server);
                Box::pin(async { Ok(wire(connecting.await?)) })
            }
        }
    }
}

/// A byte stream with all protocol layers around a socket.
trait Stream: Read + Write + Send + Unpin {}

impl<S: Read + Write + Send + Unpin> Stream for S {}

/// A connection, direct or through a proxy.
pub(super) struct Wire(Box<dyn Stream>);

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(context, bytes)
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the proxy to a server, as `scheme://host:port`, with these variables set.
    fn way(variables: &[(&'static str, &str)], server: &str) -> Option<String> {
        let get = |name: &str| {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::of(&Variables::take(&get)).expect("they are addresses");
        assert!(!format!("{proxies:?}").contains("hunter2"));
        let proxy = proxies.to(&server.parse().expect("an address"))?;
        Some(proxy.uri().to_string().trim_end_matches('/').to_owned())
    }

    #[test]
    fn the_scheme_of_the_server_chooses_the_proxy_and_lower_case_comes_first() {
        let is = |proxy: &str| Some(proxy.to_owned());
        let all = [
            ("HTTP_PROXY", "http://upper:1"),
            ("http_proxy", "http://me:hunter2@lower:1"),
            ("HTTPS_PROXY", "secure:2"),
            ("ALL_PROXY", "socks5h://all:3"),
        ];
        assert_eq!(way(&all, "http://s"), is("http://lower:1"));
        assert_eq!(way(&all[..1], "http://s"), is("http://upper:1"));
        assert_eq!(way(&all, "https://s"), is("http://secure:2"));
        assert_eq!(way(&all[3..], "https://s"), is("socks5h://all:3"));
        assert_eq!(way(&all[3..], "http://s"), is("socks5h://all:3"));
        assert_eq!(way(&all[..1], "https://s"), None);
        let cgi = [("REQUEST_METHOD", "GET"), all[0], all[3]];
        assert_eq!(way(&cgi, "http://s"), is("socks5h://all:3"));
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        for (none_for, server, is_proxied) in [
            ("s3.corp", "https://s3.corp", false),
            ("S3.Corp", "https://s3.corp:9000", false),
            ("corp", "https://s3.corp", false),
            (".corp", "https://s3.corp", false),
            ("orp", "https://s3.corp", true),
            ("a, 10.0.0.0/8", "https://10.2.3.4", false),
            ("a 127.0.0.1", "https://127.0.0.1:9000", false),
            ("::1", "https://[::1]:9000", false),
            ("127.0.0.1", "https://127.0.0.2", true),
            ("*", "https://anything", false),
            ("*", "https://127.0.0.1:9000", false),
            ("*", "https://[::1]:9000", false),
            ("a, *", "https://127.0.0.1:9000", false),
            ("127.0.0.1:9000", "https://127.0.0.1:9000", false),
            ("127.0.0.1:9000", "https://127.0.0.1:9001", true),
            ("127.0.0.1:443", "https://127.0.0.1", false),
            ("127.0.0.1:x", "https://127.0.0.1", true),
            ("[::1]:9000", "https://[::1]:9000", false),
            ("[::1]:9000", "https://[::1]", true),
            ("[::1]", "https://[::1]:9000", false),
            ("fd00::/8", "https://[fd00::1]", false),
            ("s3.corp:9000,a", "https://s3.corp:9000", false),
            ("s3.corp:9000,a", "https://s3.corp", true),
            ("", "https://127.0.0.1", true),
        ] {
            let variables = [("https_proxy", "http://p:1"), ("no_proxy", none_for)];
            assert_eq!(way(&variables, server).is_some(), is_proxied, "{none_for} {server}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_repeated() {
        for url in ["ftp://me:hunter2@p:1", "http://me:hunter2@p:x", "http://", "hunter2 x"] {
            let get = |name: &str| (name == "HTTPS_PROXY").then(|| url.to_owned());
            let error = Proxies::of(&Variables::take(&get)).expect_err(url);
            assert_eq!(error.kind, ErrorKind::Usage);
            let text = format!("{error} {error:?}");
            assert!(text.contains("HTTPS_PROXY") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn requests_to_a_proxy_name_the_server_and_keep_their_path() {
        let proxies = Proxies { http: "http://me:hunter2@p:1".to_owned(), ..Proxies::default() };
        let server = Uri::from_static("http://s3.corp:9000/");
        let tls = super::super::tls::config(false, None).expect("nothing to trust");
        let connector = Connector::new(HttpConnector::new(), tls, &server, &proxies);
        assert_eq!(connector.proxy(), Some("p:1"));
        for path in ["/b//a/../%41?x=%2F", "//a", "/"] {
            let mut request = Request::get(path).body(()).expect("a request");
            connector.address(&server, &mut request);
            assert_eq!(request.uri().to_string(), format!("http://s3.corp:9000{path}"));
            assert_eq!(request.headers()[PROXY_AUTHORIZATION], "Basic bWU6aHVudGVyMg==");
        }
    }
}
