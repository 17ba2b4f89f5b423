//! The server's faults, each seen from outside.

use super::client::{Reply, ask, send};
use crate::common::background::wait_until;
use crate::s3::{Fault, Hold, Kind, On, S3Server, md5};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

const CONTENT: &str = "0123456789";

/// A server with an object `x`, and what a GET of it brings.
struct Stage {
    server: S3Server,
}

impl Stage {
    fn new() -> Self {
        let server = S3Server::start_anonymous();
        server.bucket("one").put("x", CONTENT);
        Self { server }
    }

    fn get(&self) -> Reply {
        ask(&self.server, "GET", "/one/x", &[], b"")
    }

    fn try_get(&self) -> io::Result<Reply> {
        send(&self.server, "GET", "/one/x", &[], b"")
    }

    fn on_first_get(&self, fault: Fault) {
        self.server.fail(On::nth(Kind::Get, 1), fault);
    }

    /// The next GET is whole and well.
    #[track_caller]
    fn is_well(&self) {
        let reply = self.get().expect(200);
        assert!(reply.is_whole() && reply.text() == CONTENT, "{reply:?}");
    }
}

#[test]
fn a_status_stands_for_the_reply() {
    let stage = Stage::new();
    stage.on_first_get(Fault::Status(500));
    stage.get().expect_error(500, "InternalError");
    stage.is_well();
    let server = &stage.server;
    server.fail(On::nth(Kind::Put, 1), Fault::SlowDown(Some(7)));
    server.fail(On::nth(Kind::Put, 2), Fault::SlowDown(None));
    server.fail(On::nth(Kind::Put, 3), Fault::ErrorInOk("InternalError"));
    let first = ask(server, "PUT", "/one/y", &[], b"y").expect_error(503, "SlowDown");
    assert_eq!(first.headers["retry-after"], "7");
    let second = ask(server, "PUT", "/one/y", &[], b"y").expect_error(503, "SlowDown");
    assert!(!second.headers.contains_key("retry-after"));
    ask(server, "PUT", "/one/y", &[], b"y").expect_error(200, "InternalError");
    assert!(server.bucket("one").get("y").is_none(), "nothing was done");
}

#[test]
fn a_large_upload_is_taken_before_it_is_refused() {
    let stage = Stage::new();
    stage.server.fail(On::every(Kind::Put), Fault::Status(503));
    let large = vec![0; 8 << 20];
    ask(&stage.server, "PUT", "/one/y", &[], &large).expect(503);
}

#[test]
fn connections_are_reset() {
    let stage = Stage::new();
    stage.on_first_get(Fault::Reset);
    let error = stage.try_get().expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    stage.is_well();

    let stage = Stage::new();
    stage.on_first_get(Fault::ResetMidBody);
    let reply = stage.get().expect(200);
    assert_eq!((reply.text(), reply.end), ("01234".into(), Err(ErrorKind::ConnectionReset)));
    assert_eq!(reply.headers["content-length"], "10");
    stage.is_well();
}

#[test]
fn a_lost_reply_leaves_the_work_done() {
    let stage = Stage::new();
    let lost = stage.server.fail(On::every(Kind::Put).key("y"), Fault::LostReply);
    let error = send(&stage.server, "PUT", "/one/y", &[], b"y").expect_err("no reply");
    assert_eq!((error.kind(), lost.struck()), (ErrorKind::ConnectionReset, 1));
    assert_eq!(stage.server.bucket("one").content("y"), "y");
    assert_eq!(stage.server.requests(Kind::Put)[0].status, None);
}

#[test]
fn a_body_ends_early() {
    let stage = Stage::new();
    stage.on_first_get(Fault::ShortBody);
    let reply = stage.get().expect(200);
    assert_eq!((reply.text(), reply.end), ("01234".into(), Ok(())));
    assert_eq!(reply.headers["content-length"], "10");
    stage.is_well();

    let stage = Stage::new();
    stage.on_first_get(Fault::Truncated);
    let reply = stage.get().expect(200);
    assert!(reply.is_whole());
    assert_eq!(reply.text(), "01234");
    stage.is_well();
}

#[test]
fn a_large_body_breaks_off_in_its_middle() {
    let stage = Stage::new();
    let large = vec![b'x'; 4 << 20];
    stage.server.bucket("one").put("x", &large);
    for (fault, end) in
        [(Fault::ShortBody, Ok(())), (Fault::ResetMidBody, Err(ErrorKind::ConnectionReset))]
    {
        stage.server.heal();
        stage.on_first_get(fault);
        let reply = stage.get().expect(200);
        assert_eq!((reply.body.len(), reply.end), (2 << 20, end));
    }
    assert_eq!(stage.get().expect(200).body, large);
}

#[test]
fn a_bit_flips() {
    let stage = Stage::new();
    stage.on_first_get(Fault::FlippedBit);
    let reply = stage.get().expect(200);
    assert!(reply.is_whole());
    assert_eq!(reply.text(), "0123446789");
    stage.is_well();
}

#[test]
fn someone_else_replaces_or_deletes_an_object() {
    let stage = Stage::new();
    let etag = format!("\"{}\"", md5(CONTENT.as_bytes()));
    let server = &stage.server;
    server.fail(On::nth(Kind::Get, 2), Fault::Replaced(b"other"));
    server.fail(On::nth(Kind::Get, 4), Fault::Deleted);
    let range = |from: u8| {
        let range = format!("bytes={from}-");
        ask(server, "GET", "/one/x", &[("range", &range), ("if-match", &etag)], b"")
    };
    range(0).expect(206);
    range(4).expect_error(412, "PreconditionFailed");
    assert_eq!(stage.get().expect(200).text(), "other");
    stage.get().expect_error(404, "NoSuchKey");

    server.fail(On::every(Kind::Head), Fault::ETag("\"wrong\""));
    server.bucket("one").put("x", CONTENT);
    assert_eq!(ask(server, "HEAD", "/one/x", &[], b"").headers["etag"], "\"wrong\"");
}

#[test]
fn a_reply_is_late_or_stalls() {
    let while_ = Duration::from_millis(150);
    for fault in [Fault::Delay(while_), Fault::Stall(while_)] {
        let stage = Stage::new();
        stage.on_first_get(fault);
        let begun = Instant::now();
        let reply = stage.get().expect(200);
        assert!(reply.is_whole() && reply.text() == CONTENT, "{reply:?}");
        assert!(begun.elapsed() >= while_);
    }
}

#[test]
fn a_listing_goes_wrong() {
    let server = S3Server::start_anonymous();
    let bucket = server.bucket("one");
    for key in ["a", "b", "c"] {
        bucket.put(key, "x");
    }
    let list = |query: &str| ask(&server, "GET", &format!("/one?list-type=2{query}"), &[], b"");
    server.fail(On::nth(Kind::List, 1), Fault::Disordered);
    assert_eq!(list("").expect(200).tags("Key"), ["b", "c", "a"]);
    server.fail(On::every(Kind::List).key("n"), Fault::NoToken);
    bucket.put("na", "x");
    bucket.put("nb", "x");
    let page = list("&max-keys=1&prefix=n").expect(200);
    assert_eq!(page.tag("IsTruncated"), "true");
    assert!(page.is_whole() && page.tags("NextContinuationToken").is_empty());

    server.fail(On::every(Kind::List).pages(2..=u32::MAX), Fault::Status(500));
    let token = list("&max-keys=1").expect(200).tag("NextContinuationToken");
    let token = token.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    for _ in 0..2 {
        list(&format!("&continuation-token={token}")).expect(500);
        list("").expect(200);
    }
}

#[test]
fn faults_choose_their_requests() {
    let stage = Stage::new();
    let server = &stage.server;
    let expired = server.fail(On::any().turns(1..=2), Fault::Error(403, "ExpiredToken"));
    let refused = server.fail(
        On::every(Kind::Put).or(Kind::Part).header("x-amz-checksum-crc64nvme: "),
        Fault::Error(400, "InvalidRequest"),
    );
    let bulk = server.fail(On::every(Kind::DeleteMany), Fault::Status(501));
    stage.get().expect_error(403, "ExpiredToken");
    ask(server, "HEAD", "/one/x", &[], b"").expect(403);
    stage.is_well();
    let checksum = [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")];
    ask(server, "PUT", "/one/y", &checksum, b"y").expect_error(400, "InvalidRequest");
    ask(server, "PUT", "/one/y", &[], b"y").expect(200);
    ask(server, "POST", "/one?delete", &[], b"").expect_error(501, "NotImplemented");
    assert_eq!((expired.struck(), refused.struck(), bulk.struck()), (2, 1, 1));
    server.heal();
    ask(server, "PUT", "/one/y", &[], b"y").expect(200);
}

#[test]
fn requests_are_logged_and_counted() {
    let stage = Stage::new();
    let server = &stage.server;
    stage.get();
    ask(server, "GET", "/one?list-type=2&prefix=a%2Bb+c", &[("x-test", "1")], b"");
    let log = server.log();
    assert_eq!(log.iter().map(|request| request.kind).collect::<Vec<_>>(), [Kind::Get, Kind::List]);
    assert_eq!((log[0].bucket.as_str(), &log[0].key[..]), ("one", &b"x"[..]));
    assert_eq!(log[1].value("prefix"), Some("a+b c"));
    assert_eq!((log[1].header("x-test"), log[1].status), (Some("1"), Some(200)));
    assert_eq!((server.count(Kind::Get), server.count(Kind::Head)), (1, 0));
    server.forget();
    assert!(server.log().is_empty());
}

#[test]
fn requests_under_way_are_counted() {
    let stage = Stage::new();
    let hold = Hold::new();
    let scripted = stage.server.fail(On::every(Kind::Get), Fault::Held(hold.clone()));
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| stage.get());
        }
        wait_until("five requests at once", || scripted.struck() == 5);
        hold.release();
    });
    assert_eq!(stage.server.peak(), 5);
}
