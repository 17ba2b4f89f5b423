//! Proxies: which way a connection goes, as the environment says and curl understands it
//! (<https://curl.se/docs/manpage.html#ENVIRONMENT>).
//!
//! To `https://` a tunnel is asked for (CONNECT, RFC 9110, section 9.3.6), or a SOCKS connection; to
//! `http://` requests themselves go to the proxy, in absolute form (RFC 9112, section 3.2.2). What a
//! proxy's URL holds of a name and password is sent to that proxy alone, and never printed.

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

/// The proxies that are set, one for each scheme, and for which hosts there are none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: String,
    https: String,
    none_for: String,
}

impl Proxies {
    /// Takes them from the environment. A lower-case name comes first; `HTTP_PROXY` may be a request's
    /// header where a web server runs this program (<https://httpoxy.org>), and is passed over then.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for one that is no address of a proxy; it is not repeated, for it may hold
    /// a password.
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
                let message = format!("{name} is no address of a proxy");
                Err(Error::new(ErrorKind::Usage, message).help(
                    "write it like http://proxy.example.com:3128 or socks5h://localhost:1080",
                ))
            }
        };
        Ok(Self {
            http: checked(first(http).or_else(|| all.clone()))?,
            https: checked(first(&["https_proxy", "HTTPS_PROXY"]).or(all))?,
            // curl takes spaces for commas.
            none_for: none_for.split_whitespace().collect::<Vec<_>>().join(","),
        })
    }

    /// The proxy to a server, if one is to be used.
    fn to(&self, server: &Uri) -> Option<Intercept> {
        let secure = server.scheme() == Some(&Scheme::HTTPS);
        let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let entries = || self.none_for.split(',').filter(|entry| !entry.is_empty());
        // The matcher takes it for all names, but not for addresses.
        if entries().any(|entry| entry == "*") {
            return None;
        }
        let for_port = entries().map(host_and_port);
        let for_port = for_port.filter(|(_, only)| only.is_none_or(|only| only == port));
        let none_for = for_port.map(|(host, _)| host).collect::<Vec<_>>().join(",");
        let matcher = Matcher::builder().http(&self.http).https(&self.https).no(none_for);
        matcher.build().intercept(server)
    }

    /// Whether connections to a server need TLS: the server's own, or that to its proxy.
    pub(super) fn need_tls(&self, server: &Uri) -> bool {
        let is_secure = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS);
        is_secure(server) || self.to(server).is_some_and(|proxy| is_secure(proxy.uri()))
    }
}

impl fmt::Debug for Proxies {
    /// Prints nothing of them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Proxies").finish_non_exhaustive()
    }
}

/// An entry of `NO_PROXY`: a host, domain, address or network, and the only port that it is meant for,
/// where it names one. curl knows no ports there; other programs do.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    let (host, port) = match entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // With more colons than one it is an address.
        None => match entry.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (entry, None),
        },
    };
    match port.map(str::parse) {
        None => (host, None),
        Some(Ok(port)) => (host, Some(port)),
        // It names nothing.
        Some(Err(_)) => (entry, None),
    }
}

fn parse(url: &str) -> Option<Intercept> {
    let proxy = Matcher::builder().all(url).build().intercept(&Uri::from_static("http://host"))?;
    // A port that is no number is no error to the matcher.
    let has_legal_port = |it: &Authority| it.as_str() == it.host() || it.port().is_some();
    proxy.uri().authority().is_some_and(has_legal_port).then_some(proxy)
}

/// Makes connections to one server, by way of its proxy if it has one.
#[derive(Clone)]
pub(super) struct Connector {
    way: Way,
    /// The proxy that requests go to themselves.
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
    /// Prepares connections to a server; none is made yet.
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

    /// The host and port of the proxy on the way, if there is one.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Addresses a request to a server (of the connector's) as the way there demands.
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

/// What bytes go over, with all that is wrapped around a socket.
trait Stream: Read + Write + Send + Unpin {}

impl<S: Read + Write + Send + Unpin> Stream for S {}

/// A connection, whatever way it goes.
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

    /// The proxy to a server, as `scheme://host:port`, with these variables set.
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
            let told = format!("{error} {error:?}");
            assert!(told.contains("HTTPS_PROXY") && !told.contains("hunter2"), "{told}");
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
