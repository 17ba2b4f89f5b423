//! Tests of the client with a scripted server, for behaviour that is rare in real servers.

mod content;
mod retries;

use super::super::{
    CompletedPart, Condition, CopySource, Headers, ListQuery, Outcome, PartTag, RequestLimits,
    Store as _, StoreErrorKind, UploadId, Wanted, WrittenObject,
};
use super::*;
use crate::limits::{Began, Concurrency};
use crate::model::{ETag, RequestKind};
use bytes::Bytes;
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The server's reaction to the next request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes and keeps the connection.
    Reply(String),
    /// Sends these bytes and closes the connection.
    Last(String),
    /// Closes the connection without a reply.
    Hang,
    /// Doesn't reply for a while.
    Stall(Duration),
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: String,
    body: Vec<u8>,
    connection: usize,
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Serves a script, one act for each request, on any connection.
fn serve(script: Vec<Act>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::new(Mutex::new(script.into_iter()));
    let recorded = Arc::clone(&seen);
    std::thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&recorded));
            let stream = stream.expect("a connection");
            std::thread::spawn(move || converse(stream, connection, &script, &seen));
        }
    });
    Server { address, seen }
}

fn converse(
    stream: TcpStream,
    connection: usize,
    script: &Mutex<std::vec::IntoIter<Act>>,
    seen: &Mutex<Vec<Seen>>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let (mut headers, mut length) = (String::new(), 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
            headers.push_str(&header);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let line = line.trim().to_owned();
        seen.lock().push(Seen { line, headers, body, connection });
        let act = script.lock().next().unwrap_or(Act::Hang);
        match act {
            Act::Reply(reply) => stream.write_all(reply.as_bytes()).expect("sent"),
            Act::Last(reply) => {
                stream.write_all(reply.as_bytes()).expect("sent");
                return;
            }
            Act::Hang => return,
            Act::Stall(time) => {
                std::thread::sleep(time);
                return;
            }
        }
    }
}

impl Server {
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

fn reply(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Reply(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"))
}

fn error(status: &str, code: &str) -> Act {
    reply(status, "", &format!("<Error><Code>{code}</Code><Message>words</Message></Error>"))
}

fn written() -> Act {
    reply("200 OK", "etag: \"e1\"\r\n", "")
}

fn page() -> Act {
    let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    reply("200 OK", "", body)
}

/// Records calls of the limits.
#[derive(Default)]
struct Tally(Mutex<RequestCounts>);

#[derive(Default)]
struct RequestCounts {
    begun: usize,
    ended: Vec<Outcome>,
    waits: Vec<Duration>,
}

impl RequestLimits for Tally {
    fn begin(&self, _: RequestKind) -> Option<Began> {
        self.0.lock().begun += 1;
        Concurrency::new(1).begin(&|| false).ok()
    }

    fn end(&self, _: Began, outcome: Outcome) {
        self.0.lock().ended.push(outcome);
    }

    fn retried(&self, _: RequestKind, wait: Duration) {
        self.0.lock().waits.push(wait);
    }
}

impl Tally {
    /// Returns the outcome of each try; all must have ended.
    fn outcomes(&self) -> Vec<Outcome> {
        let tally = self.0.lock();
        assert_eq!(tally.begun, tally.ended.len());
        tally.ended.clone()
    }
}

/// Counts refusals of credentials and provides different ones after each.
#[derive(Default)]
struct Renewing(AtomicU8);

impl Credentials for Renewing {
    fn get(&self) -> Result<Option<Credential>, Error> {
        let generation = self.0.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Some(Credential::new(format!("AK{generation}"), "secret", Some("token".into()))))
    }

    fn refused(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

struct Client {
    s3: S3,
    tally: Arc<Tally>,
    stop: Stop,
}

fn client(endpoint: &str) -> Client {
    let (tally, stop) = (Arc::new(Tally::default()), Stop::default());
    let config = S3Config {
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".to_owned(),
        bucket: "b".to_owned(),
        path_style: true,
        ca_file: None,
        proxies: Proxies::default(),
    };
    let limits = Arc::clone(&tally) as Arc<dyn RequestLimits>;
    let s3 = S3::new(config, Arc::new(Renewing::default()), limits, stop.clone());
    Client { s3: s3.expect("a client"), tally, stop }
}

/// Makes a server and a client that has already got a successful reply.
fn proven(script: Vec<Act>) -> (Client, Server) {
    let server = serve([vec![page()], script].concat());
    let client = client(&format!("http://{}", server.address));
    client.s3.list(&ListQuery::default()).expect("a page");
    (client, server)
}

fn put(client: &Client) -> Result<Option<ETag>, super::super::StoreError> {
    let body = Bytes::from_static(b"123456789");
    client.s3.put(b"k", body, &Headers::default(), Condition::None)
}

fn etag() -> ETag {
    ETag::new(b"e1").expect("a tag")
}

#[test]
fn keys_go_over_the_wire_as_they_are() {
    let keys: [&[u8]; 9] =
        [b"./x", b"a/../b", b"a//b", b"/a", b"a/", b"%2e", b"+ ", "é".as_bytes(), &[b'k'; 1024]];
    let (client, server) = proven(vec![written(); keys.len()]);
    for key in keys {
        client.s3.put(key, Bytes::new(), &Headers::default(), Condition::None).expect("written");
    }
    let long = format!("/b/{}", "k".repeat(1024));
    let paths = ["/b/./x", "/b/a/../b", "/b/a//b", "/b//a", "/b/a/", "/b/%252e", "/b/%2B%20"];
    let paths = paths.into_iter().chain(["/b/%C3%A9", &long]);
    for (seen, path) in server.seen()[1..].iter().zip(paths) {
        assert_eq!(seen.line, format!("PUT {path} HTTP/1.1"));
    }
}

#[test]
fn one_connection_serves_one_thread() {
    let (client, server) = proven(vec![written(); 3]);
    for _ in 0..3 {
        put(&client).expect("written");
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
    let seen = &server.seen()[3];
    assert_eq!(seen.body, b"123456789");
    for header in [
        "content-length: 9\r\n",
        "x-amz-checksum-crc64nvme: rosUhgp5mIg=\r\n",
        "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n",
        "x-amz-security-token: token\r\n",
    ] {
        assert!(seen.headers.contains(header), "{}", seen.headers);
    }
}

#[test]
fn a_store_that_refuses_checksums_is_sent_none_after_that() {
    let refused = || error("501 Not Implemented", "NotImplemented");
    let (client, server) = proven(vec![refused(), written(), written()]);
    put(&client).expect("written without");
    put(&client).expect("written without");
    let with: Vec<_> =
        server.seen().iter().map(|seen| seen.headers.contains("x-amz-checksum-")).collect();
    assert_eq!(with, [false, true, false, false]);
}

#[test]
fn another_refusal_does_not_end_checksums() {
    let refused = || error("501 Not Implemented", "NotImplemented");
    let (client, server) = proven(vec![refused(), refused(), written(), refused()]);
    put(&client).expect_err("refused both ways");
    put(&client).expect("written");
    put(&client).expect_err("the header is known to be accepted by now");
    let with: Vec<_> =
        server.seen().iter().map(|seen| seen.headers.contains("x-amz-checksum-")).collect();
    assert_eq!(with, [false, true, false, true, true]);
}

#[test]
fn expired_credentials_are_replaced() {
    let (client, server) = proven(vec![
        error("400 Bad Request", "ExpiredToken"),
        written(),
        error("403 Forbidden", "ExpiredToken"),
        error("403 Forbidden", "ExpiredToken"),
    ]);
    put(&client).expect("written");
    assert!(server.seen()[1].headers.contains("Credential=AK0/"));
    assert!(server.seen()[2].headers.contains("Credential=AK1/"));
    let error = put(&client).expect_err("the fresh one is refused, too");
    assert_eq!(error.kind, StoreErrorKind::BadCredentials);
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn a_clock_that_is_off_is_set_by_the_stores() {
    let skewed = reply(
        "403 Forbidden",
        "date: Mon, 12 Oct 2009 17:50:30 GMT\r\n",
        "<Error><Code>RequestTimeTooSkewed</Code></Error>",
    );
    let (client, server) = proven(vec![skewed, written()]);
    put(&client).expect("written");
    assert!(server.seen()[2].headers.contains("x-amz-date: 20091012T1750"));
}

#[test]
fn a_stop_ends_waiting() {
    let (client, server) = proven(vec![
        reply("503 Slow Down", "retry-after: 60\r\n", ""),
        Act::Stall(Duration::from_mins(1)),
    ]);
    let (tally, seen) = (&client.tally, &server.seen);
    let waits = || !tally.0.lock().waits.is_empty();
    let hangs = || seen.lock().len() == 3;
    let begun: [&(dyn Fn() -> bool + Sync); 2] = [&waits, &hangs];
    for is_begun in begun {
        // Each has its own stop request, because a stopped client begins nothing.
        let stop = Stop::default();
        let s3 = client.s3.stopped_by(stop.clone());
        let start = Instant::now();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_begun() {
                    std::thread::yield_now();
                }
                stop.request();
            });
            s3.head(b"k").expect_err("stopped")
        });
        assert_eq!(error.kind, StoreErrorKind::Interrupted);
        // Without the stop, either would take longer.
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}

#[test]
fn strange_listings_are_never_an_end() {
    let strange = reply("200 OK", "", "<ListBucketResult><IsTruncated>true</IsTruncated>");
    let html = reply("200 OK", "", "<html>please log in</html>");
    let short = Act::Last("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n<ListBuc".to_owned());
    let (client, server) = proven(vec![strange.clone(), html, strange, short, page()]);
    let error = client.s3.list(&ListQuery::default()).expect_err("strange three times");
    assert_eq!(error.kind, StoreErrorKind::BadReply);
    let query = ListQuery {
        prefix: b"a /",
        after: Some(b"a /b"),
        delimiter: true,
        limit: Some(7),
        token: None,
    };
    client.s3.list(&query).expect("a page after one that was cut short");
    let line = "GET /b?delimiter=%2F&encoding-type=url&list-type=2&max-keys=7&prefix=a%20%2F&\
        start-after=a%20%2Fb HTTP/1.1";
    assert_eq!(server.seen()[5].line, line);
}

#[test]
fn many_are_deleted_at_once_and_the_rest_one_by_one() {
    let done = "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>c&amp;</Key>\
        <Code>AccessDenied</Code><Message>no</Message></Error><Error><Key>d</Key>\
        <Code>SlowDown</Code></Error><Error><Key>e</Key><Code>NoSuchKey</Code></Error>\
        </DeleteResult>";
    let gone = || reply("204 No Content", "", "");
    let gone = || match gone() {
        Act::Reply(text) => Act::Reply(text.replace("content-length: 0\r\n", "")),
        act => act,
    };
    let (client, server) = proven(vec![reply("200 OK", "", done), gone(), gone()]);
    let keys: [&[u8]; 5] = [b"a", b"b\x01", b"c&", b"d", b"e"];
    let failed = client.s3.delete_many(&keys).expect("a reply");
    assert_eq!(failed.len(), 1);
    assert_eq!(&*failed[0].0, b"c&");
    assert_eq!(failed[0].1.kind, StoreErrorKind::Denied);
    let lines: Vec<_> = server.seen().iter().skip(1).map(|seen| seen.line.clone()).collect();
    assert_eq!(
        lines,
        ["POST /b?delete= HTTP/1.1", "DELETE /b/b%01 HTTP/1.1", "DELETE /b/d HTTP/1.1"]
    );
    assert!(server.seen()[1].headers.contains("content-md5: "));
}

#[test]
fn a_store_without_bulk_deletes_gets_single_ones_from_then_on() {
    let refused = error("501 Not Implemented", "NotImplemented");
    let gone = || Act::Reply("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    let (client, server) = proven(vec![refused, gone(), gone()]);
    assert!(client.s3.delete_many(&[b"a"]).expect("a reply").is_empty());
    assert!(client.s3.delete_many(&[b"a"]).expect("a reply").is_empty());
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn no_secret_is_shown() {
    let (client, _server) = proven(vec![error("403 Forbidden", "SignatureDoesNotMatch")]);
    let error = put(&client).expect_err("refused");
    let shown = format!("{error} {error:?} {:?}", client.s3);
    for secret in ["secret", "Signature=", "token", "AK0"] {
        assert!(!shown.replace("SignatureDoesNotMatch", "").contains(secret), "{shown}");
    }
}
