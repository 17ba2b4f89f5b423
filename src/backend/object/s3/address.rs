//! The host and path of requests.

use super::S3Config;
use super::encode;
use crate::model::{Error, ErrorKind};
use http::HeaderValue;
use http::uri::{Authority, Uri};
use std::net::IpAddr;

/// A bucket's address.
#[derive(Debug)]
pub(super) struct Address {
    /// Scheme and host to connect to.
    pub(super) server: Uri,
    /// The `Host` header.
    pub(super) host: HeaderValue,
    /// The start of each path: the endpoint's own path and, in path style, the bucket.
    base: Box<str>,
}

impl Address {
    /// Derives a bucket's address.
    ///
    /// # Errors
    /// Fails if the endpoint or the bucket's name doesn't give an address. The error doesn't repeat
    /// an endpoint that may contain a password.
    pub(super) fn new(config: &S3Config) -> Result<Self, Error> {
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None if config.region.starts_with("cn-") => {
                format!("https://s3.{}.amazonaws.com.cn", config.region)
            }
            None => format!("https://s3.{}.amazonaws.com", config.region),
        };
        let usage = |message: String| Error::new(ErrorKind::Usage, message);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(usage(format!("an endpoint of scheme {scheme:?} is not supported"))),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(usage("the endpoint contains a user name or password".to_owned()));
        }
        let wrong = || usage(format!("the endpoint {endpoint:?} is not the URL of a server"));
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(&host);
        if host.is_empty() || path.contains(['?', '#']) {
            return Err(wrong());
        }

        let mut base = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            base.push('/');
            base.push_str(part);
        }
        let host = if config.path_style {
            base.push('/');
            encode::path(config.bucket.as_bytes(), &mut base);
            host.to_owned()
        } else {
            format!("{}.{host}", config.bucket)
        };
        let authority: Authority = host.parse().map_err(|_| wrong())?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?;
        let server = Uri::builder()
            .scheme(if secure { "https" } else { "http" })
            .authority(authority)
            .path_and_query(format!("{base}/"))
            .build()
            .map_err(|_| wrong())?;
        Ok(Self { server, host, base: base.into() })
    }

    /// Appends the path of a key or of the bucket.
    pub(super) fn path(&self, key: Option<&[u8]>, out: &mut String) {
        out.push_str(&self.base);
        match key {
            Some(key) => {
                out.push('/');
                encode::path(key, out);
            }
            None if self.base.is_empty() => out.push('/'),
            None => {}
        }
    }
}

/// Returns the host of a checked endpoint, without port and brackets.
pub(super) fn host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Returns whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::Proxies;
    use super::*;

    fn address(endpoint: Option<&str>, path_style: bool) -> Result<Address, Error> {
        Address::new(&S3Config {
            endpoint: endpoint.map(str::to_owned),
            region: "eu-central-1".to_owned(),
            bucket: "my.bucket".to_owned(),
            path_style,
            ca_file: None,
            proxies: Proxies::default(),
        })
    }

    fn parts(endpoint: Option<&str>, path_style: bool, key: Option<&[u8]>) -> String {
        let address = address(endpoint, path_style).expect("an address");
        let mut path = String::new();
        address.path(key, &mut path);
        let scheme = address.server.scheme_str().expect("it has one");
        format!("{scheme} {} {path}", address.host.to_str().expect("ASCII"))
    }

    #[test]
    fn hosts_and_paths_of_both_styles() {
        let aws = "https my.bucket.s3.eu-central-1.amazonaws.com";
        assert_eq!(parts(None, false, None), format!("{aws} /"));
        assert_eq!(parts(None, false, Some(b"/a")), format!("{aws} //a"));
        assert_eq!(
            parts(None, true, Some(b"./a")),
            "https s3.eu-central-1.amazonaws.com /my.bucket/./a"
        );
        let local = Some("http://127.0.0.1:8333/base//x/");
        assert_eq!(parts(local, true, None), "http 127.0.0.1:8333 /base/x/my.bucket");
        assert_eq!(parts(local, true, Some(b"k")), "http 127.0.0.1:8333 /base/x/my.bucket/k");
        assert_eq!(parts(Some("HTTPS://H:443"), true, None), "https h /my.bucket");
        assert_eq!(parts(Some("http://[::1]:80"), true, None), "http [::1] /my.bucket");
        assert_eq!(parts(Some("h:9000"), false, None), "https my.bucket.h:9000 /");
    }

    #[test]
    fn an_invalid_address_is_refused_without_repeating_a_secret() {
        for endpoint in ["ftp://h", "https://", "https://h?x", "https://a b", "https://u:hunter2@h"]
        {
            let error = address(Some(endpoint), true).expect_err(endpoint);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_path_is_sent_as_it_is() {
        for path in ["//a", "/./x", "/a/../b", "/a//b", "/%2e%2E/", "/a/"] {
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(uri.to_string(), path);
            assert_eq!(uri.host(), None);
        }
    }
}
