//! Retries: which errors are retried, and what a lost reply may have done.

use super::*;

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
    assert_eq!(client.tally.0.lock().waits.len(), 6);
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
    // Nine doubling waits would take half a minute.
    assert_eq!(client.tally.outcomes().len(), 2);
}

#[test]
fn a_server_without_tls_is_an_error_of_tls() {
    let server = serve(vec![]);
    let client = client(&format!("https://{}", server.address));
    // The server reads the TLS handshake as an endless request line.
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
fn a_lost_reply_differs_from_a_missing_upload() {
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
fn a_long_request_without_a_reply_is_checked_before_it_is_repeated() {
    let copied = "<CopyObjectResult><ETag>&quot;e2&quot;</ETag></CopyObjectResult>";
    let from = CopySource { bucket: "b", key: b"from", version: None };
    let copy = |client: &Client, found: Option<ETag>| {
        let look = || Ok(found.map(|tag| WrittenObject { etag: Some(tag) }));
        client.s3.copy(&from, b"k", None, Condition::None, &look).expect("copied")
    };
    let (client, server) = proven(vec![Act::Hang]);
    assert_eq!(copy(&client, Some(etag())), Some(etag()));
    assert_eq!(server.seen().len(), 2, "the copy was requested once");
    let (client, server) = proven(vec![Act::Hang, reply("200 OK", "", copied)]);
    assert_eq!(copy(&client, None), ETag::new(b"e2"));
    assert_eq!(server.seen().len(), 3, "the copy is requested again if it doesn't exist");
    // An empty reply doesn't prove success either.
    let (client, server) = proven(vec![reply("200 OK", "", "")]);
    assert_eq!(copy(&client, Some(etag())), Some(etag()));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_tag_that_no_reply_tells_is_looked_for() {
    let without_tag = || reply("200 OK", "", "");
    let head = || reply("200 OK", "etag: \"e1\"\r\n", "");
    let (client, server) = proven(vec![without_tag(), head(), without_tag(), without_tag()]);
    assert_eq!(put(&client).expect("written"), Some(etag()));
    assert!(server.seen()[2].line.starts_with("HEAD /b/k "));
    assert_eq!(put(&client).expect("written"), None, "there are stores without tags");
    let listed = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>3</PartNumber>\
        <ETag>&quot;e3&quot;</ETag><Size>1</Size></Part></ListPartsResult>";
    let (client, _server) = proven(vec![without_tag(), reply("200 OK", "", listed)]);
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
