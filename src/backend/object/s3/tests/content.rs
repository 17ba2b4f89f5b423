//! Reading content: interrupted replies, ignored ranges, missing lengths.

use super::super::reader::S3Reader;
use super::*;

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
    // Nothing of this reply is read: its rest must not be taken for the next reply.
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

/// Makes a reply without a length, as proxies send it.
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
    // Each is requested compressed once, because it may have been decompressed in transit.
    for (size, expected) in [
        (9, Ok("123456789".to_owned())),
        (8, Err(StoreErrorKind::BadReply)),
        (10, Err(StoreErrorKind::Network)),
    ] {
        let (client, server) = proven(vec![nine(), nine(), nine(), nine()]);
        let mut got = client.s3.get(b"k", &listed(size)).expect("a head");
        assert_eq!((got.head.size, content(&mut got)), (size, expected));
        drop(got);
        // That made no difference, so compression isn't requested again.
        client.s3.get(b"k", &listed(size)).expect("a head");
        assert_eq!(server.seen().len(), 5);
    }
}

#[test]
fn a_missing_size_is_requested_with_a_range() {
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

/// Google's store decompresses content for clients that don't accept gzip.
#[test]
fn content_decompressed_in_transit_is_requested_as_stored() {
    let unpacked = || chunked("200 OK", "etag: W/\"e1\"\r\n", "123456789");
    let kept = reply("200 OK", "etag: \"e1\"\r\ncontent-encoding: gzip\r\n", "zip");
    let (client, server) = proven(vec![unpacked(), kept, written()]);
    let mut got = client.s3.get(b"k", &listed(3)).expect("a head");
    assert_eq!(content(&mut got).as_deref(), Ok("zip"));
    let accepted_gzip: Vec<_> = server.seen()[1..]
        .iter()
        .map(|seen| seen.headers.contains("accept-encoding: gzip\r\n"))
        .collect();
    assert_eq!(accepted_gzip, [false, true]);
}

/// rclone's server replies like this.
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
