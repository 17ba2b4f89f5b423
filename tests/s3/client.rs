//! A client that does as it is told: it sends a path and headers as they are, and tells how a reply
//! broke off.

use crate::s3::{ACCESS_KEY, REGION, S3Server, SECRET_KEY, hex};
use s3s::crypto::{Checksum as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A reply, as far as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// How the connection ended.
    pub(crate) end: Result<(), io::ErrorKind>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first text between this tag's ends.
    #[track_caller]
    pub(crate) fn tag(&self, name: &str) -> String {
        self.tags(name).into_iter().next().unwrap_or_else(|| panic!("no {name} in {}", self.text()))
    }

    /// All texts between this tag's ends.
    pub(crate) fn tags(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        let parts = text.split(&open).skip(1);
        parts.filter_map(|part| Some(part.split_once(&close)?.0.to_owned())).collect()
    }

    /// The body is as long as the reply said.
    pub(crate) fn is_whole(&self) -> bool {
        let length = self.headers.get("content-length");
        self.end.is_ok() && length.is_some_and(|length| *length == self.body.len().to_string())
    }

    /// Holds the reply to its status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Holds the reply to a status and an error code.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.tag("Code"), code);
        reply
    }
}

/// Sends a request without a signature: `target` is a path and a query.
pub(crate) fn send(
    server: &S3Server,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
        server.address(),
        body.len()
    );
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).map(drop).map_err(|error| error.kind());
    let Some(head) = all.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(end.err().unwrap_or(io::ErrorKind::UnexpectedEof).into());
    };
    let text = String::from_utf8_lossy(&all[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok(Reply {
        status: status.expect("a status line"),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: all[head + 4..].to_vec(),
        end,
    })
}

/// Sends a request without a signature and gets a reply, whole or not.
#[track_caller]
pub(crate) fn ask(
    server: &S3Server,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    send(server, method, target, headers, body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// Sends a request that is signed by this key: AWS Signature Version 4, its body included.
pub(crate) fn ask_signed(
    server: &S3Server,
    (key, secret): (&str, &str),
    method: &str,
    (path, query): (&str, &str),
    body: &[u8],
) -> Reply {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let digest = hex(&Sha256::checksum(body));
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{}\nx-amz-content-sha256:{digest}\nx-amz-date:{time}\n\n\
         {signed}\n{digest}",
        server.address()
    );
    let scope = format!("{}/{REGION}/s3/aws4_request", &time[..8]);
    let canonical = hex(&Sha256::checksum(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mut signing = format!("AWS4{secret}").into_bytes();
    for part in [&time[..8], REGION, "s3", "aws4_request", &text] {
        signing = hmac(&signing, part.as_bytes());
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={}",
        hex(&signing)
    );
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-amz-content-sha256", &digest),
        ("x-amz-date", &time),
    ];
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    ask(server, method, &target, &headers, body)
}

/// The server's own key.
pub(crate) const KEY: (&str, &str) = (ACCESS_KEY, SECRET_KEY);

/// RFC 2104, for keys of up to a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut pad = [with; 64];
        for (byte, key) in pad.iter_mut().zip(key) {
            *byte ^= key;
        }
        pad
    };
    let inner = Sha256::checksum(&[&pad(0x36), text].concat());
    Sha256::checksum(&[&pad(0x5c)[..], &inner].concat()).to_vec()
}

/// Encodes all of a key but its slashes and what never needs it.
pub(crate) fn encode(key: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            char::from(byte).into()
        }
        _ => format!("%{byte:02X}"),
    };
    key.bytes().map(encode).collect()
}

/// Undoes the encoding of a listing.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'%' => {
                let digits = str::from_utf8(&after[..2]).expect("two digits");
                (u8::from_str_radix(digits, 16).expect("two digits"), &after[2..])
            }
            b'+' => (b' ', after),
            _ => (first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).expect("keys are UTF-8")
}
