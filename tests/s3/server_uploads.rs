//! The server's uploads in parts, held to what S3 does.

use super::client::{Reply, ask};
use crate::s3::{S3Server, hex};
use s3s::crypto::{Checksum as _, Md5};

const MEBIBYTE: usize = 1 << 20;

struct Upload<'a> {
    server: &'a S3Server,
    target: String,
}

impl<'a> Upload<'a> {
    fn begin(server: &'a S3Server, key: &str) -> Self {
        let headers = [("x-amz-meta-a", "1"), ("content-type", "text/plain")];
        let begun = ask(server, "POST", &format!("/one/{key}?uploads"), &headers, b"").expect(200);
        Self { server, target: format!("/one/{key}?uploadId={}", begun.tag("UploadId")) }
    }

    fn part(&self, number: u32, content: &[u8]) -> String {
        let target = format!("{}&partNumber={number}", self.target);
        let part = ask(self.server, "PUT", &target, &[], content).expect(200);
        part.headers["etag"].clone()
    }

    fn part_copy(&self, number: u32, headers: &[(&str, &str)]) -> Reply {
        let target = format!("{}&partNumber={number}", self.target);
        ask(self.server, "PUT", &target, headers, b"")
    }

    fn complete(&self, parts: &[(u32, &str)], headers: &[(&str, &str)]) -> Reply {
        let part = |&(number, etag): &(u32, &str)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = parts.iter().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        ask(self.server, "POST", &self.target, headers, body.as_bytes())
    }
}

#[test]
fn parts_become_an_object() {
    let server = S3Server::start_anonymous();
    let bucket = server.bucket("one");
    let upload = Upload::begin(&server, "x");
    let (large, small) = (vec![7; 5 * MEBIBYTE], b"end");
    let etags = [upload.part(1, &large), upload.part(3, small)];
    let parts = ask(&server, "GET", &upload.target, &[], b"").expect(200);
    assert_eq!(parts.tags("PartNumber"), ["1", "3"]);
    let page = ask(&server, "GET", &format!("{}&max-parts=1", upload.target), &[], b"");
    assert_eq!(
        (page.tag("IsTruncated"), page.tag("NextPartNumberMarker")),
        ("true".into(), "1".into())
    );
    assert!(bucket.keys().is_empty(), "an upload is no object yet");

    upload.complete(&[(1, &etags[0]), (1, &etags[0])], &[]).expect_error(400, "InvalidPartOrder");
    upload.complete(&[(1, "\"other\"")], &[]).expect_error(400, "InvalidPart");
    upload.complete(&[(1, &etags[0]), (2, &etags[1])], &[]).expect_error(400, "InvalidPart");
    let done = upload.complete(&[(1, &etags[0]), (3, &etags[1])], &[]).expect(200);
    let sums = [Md5::checksum(&large), Md5::checksum(small)].concat();
    let etag = format!("{}-2", hex(&Md5::checksum(&sums)));
    assert!(done.tag("ETag").contains(&etag));
    let object = bucket.get("x").expect("it is there");
    assert_eq!((object.content, object.etag), ([&large[..], small].concat().into(), etag));
    assert_eq!(
        (object.metadata["a"].as_str(), object.headers["content-type"].as_str()),
        ("1", "text/plain")
    );
    upload.complete(&[(1, &etags[0])], &[]).expect_error(404, "NoSuchUpload");
    assert!(bucket.uploads().is_empty());
}

#[test]
fn only_the_last_part_is_small() {
    let server = S3Server::start_anonymous();
    let bucket = server.bucket("one");
    let upload = Upload::begin(&server, "x");
    let etags = [upload.part(1, b"one"), upload.part(2, b"two")];
    let parts = [(1, etags[0].as_str()), (2, &etags[1])];
    upload.complete(&parts, &[]).expect_error(400, "EntityTooSmall");
    server.settings(|settings| settings.part_minimum = 1);
    upload.complete(&parts, &[]).expect(200);
    assert_eq!(bucket.content("x"), "onetwo");
}

#[test]
fn a_completion_has_conditions() {
    let server = S3Server::start_anonymous();
    let bucket = server.bucket("one");
    bucket.put("x", "old");
    let upload = Upload::begin(&server, "x");
    let etag = upload.part(1, b"new");
    upload
        .complete(&[(1, &etag)], &[("if-none-match", "*")])
        .expect_error(412, "PreconditionFailed");
    assert_eq!(bucket.content("x"), "old");
    upload.complete(&[(1, &etag)], &[]).expect(200);
}

#[test]
fn parts_are_copied_by_ranges() {
    let server = S3Server::start_anonymous();
    let etag = format!("\"{}\"", server.bucket("other").put("from//x", "0123456789"));
    let bucket = server.bucket("one");
    server.settings(|settings| settings.part_minimum = 1);
    let upload = Upload::begin(&server, "x");
    let from = ("x-amz-copy-source", "/other/from%2F%2Fx");
    let copy = |number, range| {
        let range = ("x-amz-copy-source-range", range);
        upload.part_copy(number, &[from, range, ("x-amz-copy-source-if-match", &etag)])
    };
    let first = copy(1, "bytes=5-9").expect(200).tag("ETag");
    let second = copy(2, "bytes=0-4").expect(200).tag("ETag");
    copy(3, "bytes=5-10").expect_error(400, "InvalidArgument");
    upload
        .part_copy(3, &[from, ("x-amz-copy-source-if-match", "\"other\"")])
        .expect_error(412, "PreconditionFailed");
    upload.complete(&[(1, &first), (2, &second)], &[]).expect(200);
    assert_eq!(bucket.content("x"), "5678901234");
}

#[test]
fn uploads_are_listed_and_aborted() {
    let server = S3Server::start_anonymous();
    let bucket = server.bucket("one");
    let uploads = ["a", "a", "b/c"].map(|key| Upload::begin(&server, key));
    let list =
        |query: &str| ask(&server, "GET", &format!("/one?uploads{query}"), &[], b"").expect(200);
    assert_eq!(list("").tags("Key"), ["a", "a", "b/c"]);
    assert_eq!(list("&prefix=b/").tags("Key"), ["b/c"]);
    let page = list("&max-uploads=1");
    assert_eq!(page.tag("IsTruncated"), "true");
    let (key, id) = (page.tag("NextKeyMarker"), page.tag("NextUploadIdMarker"));
    let rest = list(&format!("&key-marker={key}&upload-id-marker={id}"));
    assert_eq!(rest.tags("Key"), ["a", "b/c"]);
    assert!(!rest.tags("UploadId").contains(&id));
    ask(&server, "DELETE", &uploads[0].target, &[], b"").expect(204);
    ask(&server, "DELETE", &uploads[0].target, &[], b"").expect_error(404, "NoSuchUpload");
    assert_eq!(bucket.uploads().len(), 2);
}
