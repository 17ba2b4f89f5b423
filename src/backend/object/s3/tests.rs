//! The client against a server that does what a script says: what real servers seldom do.

use super::super::{
    CompletedPart, Condition, CopySource, Headers, ListQuery, Outcome, PartTag, RequestLimits, Store as _,
    StoreErrorKind, UploadId, Wanted, WrittenObject,
};
use super::reader::S3Reader;
use super::*;
use crate::limits::{Began, Concurrency};
use crate::model::{ETag, RequestKind};
use bytes::Bytes;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What the server does with the next request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes and keeps the connection.
    Reply(String),
    /// Sends these bytes and closes the connection.
    Last(String),
    /// Closes the connection without a word.
    Hang,
    /// Leaves the request alone for a while.
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

/// Serves a script, one act a request, whatever connection it comes over.
fn serve(script: Vec<Act>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::new(Mutex::new(script.into_iter()));
    let told = Arc::clone(&seen);
    std::thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&told));
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
        seen.lock().expect("not poisoned").push(Seen { line, headers, body, connection });
        let act = script.lock().expect("not poisoned").next().unwrap_or(Act::Hang);
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
        self.seen.lock().expect("not poisoned").clone()
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

/// Counts what it is told.
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
        self.0.lock().expect("not poisoned").begun += 1;
        Concurrency::new(1).begin(&|| false).ok()
    }

    fn end(&self, _: Began, outcome: Outcome) {
        self.0.lock().expect("not poisoned").ended.push(outcome);
    }

    fn retried(&self, _: RequestKind, wait: Duration) {
        self.0.lock().expect("not poisoned").waits.push(wait);
    }
}

impl Tally {
    /// How each try ended; all that began must have.
    fn outcomes(&self) -> Vec<Outcome> {
        let told = self.0.lock().expect("not poisoned");
        assert_eq!(told.begun, told.ended.len());
        told.ended.clone()
    }
}

/// Counts how often credentials were refused, and gives others then.
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

/// A client that has got a good answer already, and its server.
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
fn passing_faults_are_tried_again() {
    let (client, server) = proven(vec![
        error("500 Internal Server Error", "InternalError"),
        error("503 Slow Down", "SlowDown"),
        Act::Hang,
        error("400 Bad Request", "RequestTimeout"),
        Act::Last("HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        error("400 Bad Request", "BadDigest"),
        written(),
    ]);
    assert_eq!(put(&client).expect("written"), Some(etag()));
    assert_eq!(server.seen().len(), 8);
    let outcomes = client.tally.outcomes();
    let failed = Outcome::Failed;
    assert_eq!(
        outcomes[1..],
        [failed, Outcome::SlowDown, failed, failed, failed, failed, Outcome::Done]
    );
    assert_eq!(client.tally.0.lock().expect("not poisoned").waits.len(), 6);
}

#[test]
fn what_will_not_pass_fails_at_once() {
    let (client, server) = proven(vec![error("403 Forbidden", "AccessDenied")]);
    let error = put(&client).expect_err("denied");
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(!error.maybe_done);
    assert_eq!(error.to_string(), "access denied: words (AccessDenied, HTTP status 403)");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_server_that_is_not_there_fails_within_seconds() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let client = client(&format!("http://{free}"));
    let error = client.s3.list(&ListQuery::default()).expect_err("nobody is there");
    assert_eq!(error.kind, StoreErrorKind::Network);
    // Nine waits that double would take half a minute.
    assert_eq!(client.tally.outcomes().len(), 2);
}

#[test]
fn a_server_without_tls_is_an_error_of_tls() {
    let server = serve(vec![]);
    let client = client(&format!("https://{}", server.address));
    // The server takes the greeting for a request line that does not end.
    client.stop.request();
    let error = client.s3.list(&ListQuery::default()).expect_err("stopped");
    assert_eq!(error.kind, StoreErrorKind::Interrupted);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("sent");
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    });
    let client = self::client(&format!("https://{address}"));
    let error = client.s3.list(&ListQuery::default()).expect_err("no TLS");
    assert_eq!(error.kind, StoreErrorKind::Tls, "{error:?}");
}

fn part(number: u16, etag: &str, checksum: Option<u64>) -> CompletedPart {
    CompletedPart { number, tag: PartTag { etag: etag.into(), checksum } }
}

#[test]
fn an_error_in_a_good_reply_is_tried_again() {
    let late = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n \n \r\n";
    let body = "<Error><Code>InternalError</Code></Error>";
    let late = format!("{late}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let good = "<CompleteMultipartUploadResult><ETag>&quot;e1-1&quot;</ETag>\
        </CompleteMultipartUploadResult>";
    let (client, server) = proven(vec![Act::Reply(late), reply("200 OK", "", good)]);
    let parts = [part(1, "e1", Some(1))];
    let done =
        client
            .s3
            .complete_upload(b"k", &UploadId("u/1".into()), &parts, Condition::None, &|| Ok(None));
    assert_eq!(done.expect("complete"), ETag::new(b"e1-1"));
    let seen = &server.seen()[2];
    assert_eq!(seen.line, "POST /b/k?uploadId=u%2F1 HTTP/1.1");
    assert_eq!(
        String::from_utf8_lossy(&seen.body),
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"e1\"</ETag>\
         <ChecksumCRC64NVME>AAAAAAAAAAE=</ChecksumCRC64NVME></Part></CompleteMultipartUpload>"
    );
}

#[test]
fn a_lost_reply_is_told_from_an_upload_that_never_was() {
    let gone = || error("404 Not Found", "NoSuchUpload");
    let parts = [part(1, "e1", None)];
    let id = UploadId("u".into());
    let (client, _server) = proven(vec![Act::Hang, gone(), gone()]);
    let error = client
        .s3
        .complete_upload(b"k", &id, &parts, Condition::None, &|| Ok(None))
        .expect_err("lost");
    assert_eq!(error.kind, StoreErrorKind::LostReply);
    let error = client
        .s3
        .complete_upload(b"k", &id, &parts, Condition::None, &|| Ok(None))
        .expect_err("never was");
    assert_eq!(error.kind, StoreErrorKind::NoSuchUpload);
}

#[test]
fn what_the_store_works_on_is_looked_for_before_it_is_asked_for_again() {
    let copied = "<CopyObjectResult><ETag>&quot;e2&quot;</ETag></CopyObjectResult>";
    let from = CopySource { bucket: "b", key: b"from", version: None };
    let copy = |client: &Client, found: Option<ETag>| {
        let look = || Ok(found.map(|tag| WrittenObject { etag: Some(tag) }));
        client.s3.copy(&from, b"k", None, Condition::None, &look).expect("copied")
    };
    let (client, server) = proven(vec![Act::Hang]);
    assert_eq!(copy(&client, Some(etag())), Some(etag()));
    assert_eq!(server.seen().len(), 2, "the copy was asked for once");
    let (client, server) = proven(vec![Act::Hang, reply("200 OK", "", copied)]);
    assert_eq!(copy(&client, None), ETag::new(b"e2"));
    assert_eq!(server.seen().len(), 3, "and again where it does not stand");
    // An empty reply says nothing either.
    let (client, server) = proven(vec![reply("200 OK", "", "")]);
    assert_eq!(copy(&client, Some(etag())), Some(etag()));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_tag_that_no_reply_tells_is_looked_for() {
    let untold = || reply("200 OK", "", "");
    let head = || reply("200 OK", "etag: \"e1\"\r\n", "");
    let (client, server) = proven(vec![untold(), head(), untold(), untold()]);
    assert_eq!(put(&client).expect("written"), Some(etag()));
    assert!(server.seen()[2].line.starts_with("HEAD /b/k "));
    assert_eq!(put(&client).expect("written"), None, "there are stores without tags");
    let listed = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>3</PartNumber>\
        <ETag>&quot;e3&quot;</ETag><Size>1</Size></Part></ListPartsResult>";
    let (client, _server) = proven(vec![untold(), reply("200 OK", "", listed)]);
    let part = client.s3.upload_part(b"k", &UploadId("u".into()), 3, Bytes::from_static(b"x"));
    assert_eq!(&*part.expect("sent").etag, "e3");
}

#[test]
fn a_condition_that_fails_after_a_lost_reply_is_doubtful() {
    let failed = || error("412 Precondition Failed", "PreconditionFailed");
    let (client, server) = proven(vec![Act::Hang, failed(), failed()]);
    let create = || client.s3.put(b"k", Bytes::new(), &Headers::default(), Condition::Absent);
    let error = create().expect_err("there is one");
    assert_eq!((error.kind, error.maybe_done), (StoreErrorKind::PreconditionFailed, true));
    let error = create().expect_err("there is one");
    assert_eq!((error.kind, error.maybe_done), (StoreErrorKind::PreconditionFailed, false));
    assert!(server.seen()[1].headers.contains("if-none-match: *\r\n"));
}

#[test]
fn content_that_breaks_off_is_continued() {
    let head = "HTTP/1.1 200 OK\r\netag: \"e1\"\r\ncontent-length: 9\r\n\r\n1234";
    let rest = "HTTP/1.1 206 Partial Content\r\netag: \"e1\"\r\n\
        content-range: bytes 4-8/9\r\ncontent-length: 5\r\n\r\n56789";
    let (client, server) =
        proven(vec![Act::Last(head.to_owned()), Act::Reply(rest.to_owned()), written()]);
    let mut got = client.s3.get(b"k", &Wanted::default()).expect("a head");
    assert_eq!((got.head.size, got.left()), (9, 9));
    let mut content = Vec::new();
    while let Some(piece) = got.read().expect("content") {
        content.extend_from_slice(&piece);
    }
    assert_eq!(content, b"123456789");
    let seen = server.seen();
    for header in ["if-match: \"e1\"\r\n", "range: bytes=4-8\r\n"] {
        assert!(seen[2].headers.contains(header), "{}", seen[2].headers);
    }
    drop(got);
    put(&client).expect("written");
    assert_eq!(server.seen()[3].connection, seen[2].connection, "it was read to its end");
    client.tally.outcomes();
}

#[test]
fn content_of_another_object_is_not_taken() {
    let head = "HTTP/1.1 200 OK\r\netag: \"e1\"\r\ncontent-length: 9\r\n\r\n1234";
    let other = "HTTP/1.1 206 Partial Content\r\netag: \"e2\"\r\n\
        content-range: bytes 4-8/9\r\ncontent-length: 5\r\n\r\n56789";
    let (client, _server) = proven(vec![Act::Last(head.to_owned()), Act::Reply(other.to_owned())]);
    let mut got = client.s3.get(b"k", &Wanted::default()).expect("a head");
    assert_eq!(got.read().expect("the first part").as_deref(), Some(&b"1234"[..]));
    let error = got.read().expect_err("another object");
    assert_eq!(error.kind, StoreErrorKind::PreconditionFailed);
    got.read().expect_err("an error is no end");
}

#[test]
fn who_stops_at_the_last_byte_leaves_the_connection_in_order() {
    let content = || reply("200 OK", "etag: \"e1\"\r\n", "123456789");
    let (client, server) = proven(vec![content(), content(), written()]);
    let mut got = client.s3.get(b"k", &Wanted::default()).expect("a head");
    while got.left() > 0 {
        got.read().expect("content").expect("there is more");
    }
    drop(got);
    // Of this one nothing is read: what is on its way must not be taken for the next reply.
    drop(client.s3.get(b"k", &Wanted::default()).expect("a head"));
    put(&client).expect("written");
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1]);
}

#[test]
fn a_reply_that_is_not_the_range_asked_for_is_refused() {
    let part = |range: &str, length: usize| {
        let body = "x".repeat(length);
        let headers = format!("etag: \"e1\"\r\ncontent-range: bytes {range}\r\n");
        reply("206 Partial Content", &headers, &body)
    };
    let wrong = part("0-3/9", 4);
    let (client, _server) =
        proven(vec![wrong.clone(), wrong.clone(), wrong, part("2-8/9", 7), part("0-8/9", 9)]);
    let error = client.s3.get(b"k", &within(2..20)).err().expect("another range");
    assert_eq!(error.kind, StoreErrorKind::BadReply);
    let got = client.s3.get(b"k", &within(2..20)).expect("up to the end");
    assert_eq!((got.left(), got.head.size), (7, 9));
    client.s3.get(b"k", &within(5..5)).err().expect("an empty range");
}

fn within(range: std::ops::Range<u64>) -> Wanted<'static> {
    Wanted { range: Some(range), ..Wanted::default() }
}

fn listed(size: u64) -> Wanted<'static> {
    Wanted { size: Some(size), ..Wanted::default() }
}

/// A reply that doesn't tell its length, as proxies pass it on.
fn chunked(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Reply(format!(
        "HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    ))
}

fn content(got: &mut S3Reader) -> Result<String, StoreErrorKind> {
    let mut content = Vec::new();
    while let Some(piece) = got.read().map_err(|error| error.kind)? {
        content.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(content).expect("text"))
}

#[test]
fn content_without_a_length_is_counted_against_what_was_listed() {
    let nine = || chunked("200 OK", "", "123456789");
    // Each is asked for packed once: it may have been unpacked on its way.
    for (size, expected) in [
        (9, Ok("123456789".to_owned())),
        (8, Err(StoreErrorKind::BadReply)),
        (10, Err(StoreErrorKind::Network)),
    ] {
        let (client, server) = proven(vec![nine(), nine(), nine(), nine()]);
        let mut got = client.s3.get(b"k", &listed(size)).expect("a head");
        assert_eq!((got.head.size, content(&mut got)), (size, expected));
        drop(got);
        // That makes no difference here, and is not asked for again.
        client.s3.get(b"k", &listed(size)).expect("a head");
        assert_eq!(server.seen().len(), 5);
    }
}

#[test]
fn the_size_that_neither_head_nor_listing_tells_is_asked_for_by_a_range() {
    let part = || {
        let headers = "etag: \"e1\"\r\ncontent-range: bytes 0-0/9\r\n";
        chunked("206 Partial Content", headers, "1")
    };
    let whole = || chunked("200 OK", "etag: \"e1\"\r\n", "123456789");
    let head = || Act::Last("HTTP/1.1 200 OK\r\netag: \"e1\"\r\n\r\n".to_owned());
    let (client, server) =
        proven(vec![whole(), part(), whole(), whole(), whole(), head(), part(), head()]);
    let mut got = client.s3.get(b"k", &Wanted::default()).expect("a head");
    assert_eq!((got.head.size, content(&mut got)), (9, Ok("123456789".to_owned())));
    assert!(server.seen()[2].headers.contains("range: bytes=0-0\r\n"));
    let head = client.s3.head(b"k").expect("a head").expect("it is there");
    assert_eq!((head.size, head.etag), (9, Some(etag())));
}

#[test]
fn an_object_of_nothing_has_a_size_though_no_reply_tells() {
    let (client, _server) = proven(vec![
        Act::Last("HTTP/1.1 200 OK\r\n\r\n".to_owned()),
        error("416 Range Not Satisfiable", "InvalidRange"),
    ]);
    assert_eq!(client.s3.head(b"k").expect("a head").expect("it is there").size, 0);
}

#[test]
fn a_store_that_ignores_a_range_gives_it_all_the_same_and_is_known_for_it() {
    let whole = || reply("200 OK", "etag: \"e1\"\r\n", "123456789");
    let (client, _server) = proven(vec![whole(), whole(), written()]);
    assert!(!client.s3.ignores_ranges());
    for (range, expected) in [(2..5, "345"), (5..20, "6789")] {
        let mut got = client.s3.get(b"k", &within(range)).expect("a head");
        assert_eq!((got.head.size, content(&mut got).as_deref()), (9, Ok(expected)));
    }
    assert!(client.s3.ignores_ranges());
    put(&client).expect("written");
}

#[test]
fn what_breaks_off_is_continued_where_ranges_are_ignored() {
    let broken = "HTTP/1.1 200 OK\r\netag: \"e1\"\r\ncontent-length: 9\r\n\r\n1234";
    let whole = reply("200 OK", "etag: \"e1\"\r\n", "123456789");
    let (client, _server) = proven(vec![Act::Last(broken.to_owned()), whole]);
    let mut got = client.s3.get(b"k", &Wanted::default()).expect("a head");
    assert_eq!(content(&mut got).as_deref(), Ok("123456789"));
}

#[test]
fn a_part_of_an_object_whose_size_was_listed_need_not_tell_that() {
    let headers = "content-range: bytes 2-4/*\r\n";
    let part = || reply("206 Partial Content", headers, "345");
    let (client, _server) = proven(vec![part(), part(), part()]);
    let mut got = client.s3.get(b"k", &Wanted { size: Some(9), ..within(2..5) }).expect("a head");
    assert_eq!((got.head.size, content(&mut got).as_deref()), (9, Ok("345")));
    let error = client.s3.get(b"k", &within(2..5)).err().expect("nobody knows its size");
    assert_eq!(error.kind, StoreErrorKind::BadReply);
}

/// Google's store unpacks what is kept packed, for whoever doesn't ask for that.
#[test]
fn content_that_is_unpacked_on_its_way_is_asked_for_as_it_is_kept() {
    let unpacked = || chunked("200 OK", "etag: W/\"e1\"\r\n", "123456789");
    let kept = reply("200 OK", "etag: \"e1\"\r\ncontent-encoding: gzip\r\n", "zip");
    let (client, server) = proven(vec![unpacked(), kept, written()]);
    let mut got = client.s3.get(b"k", &listed(3)).expect("a head");
    assert_eq!(content(&mut got).as_deref(), Ok("zip"));
    let asked: Vec<_> = server.seen()[1..]
        .iter()
        .map(|seen| seen.headers.contains("accept-encoding: gzip\r\n"))
        .collect();
    assert_eq!(asked, [false, true]);
}

/// rclone's server answers so.
#[test]
fn a_range_under_the_status_of_a_whole_is_a_range() {
    let headers = "etag: \"e1\"\r\ncontent-range: bytes 0-4/9\r\n";
    let (client, _server) = proven(vec![reply("200 OK", headers, "12345")]);
    let mut got =
        client.s3.get(b"k", &Wanted { version: Some(&etag()), ..within(0..5) }).expect("it comes");
    assert_eq!((got.head.size, got.left()), (9, 5));
    assert_eq!(got.read().expect("all of it").as_deref(), Some(&b"12345"[..]));
    assert_eq!(got.read().expect("the end"), None);
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
    put(&client).expect_err("the header is fine, as is known by now");
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
    let waits = || !tally.0.lock().expect("not poisoned").waits.is_empty();
    let hangs = || seen.lock().expect("not poisoned").len() == 3;
    let begun: [&(dyn Fn() -> bool + Sync); 2] = [&waits, &hangs];
    for is_begun in begun {
        // A wish of its own for each, since a stopped client begins nothing.
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
        // Either would take longer by itself.
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
fn a_store_that_deletes_one_by_one_is_asked_so_after_that() {
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
