//! The real servers and the clients to judge by, seen to work with each other and with the server
//! of these tests.

use crate::common::clients::{aws, rclone, s5cmd};
use crate::common::servers::{RcloneServe, SeaweedFs};
use crate::needs;
use crate::s3::{Kind, S3Server, md5};
use std::process::Command;

const MEBIBYTE: usize = 1 << 20;

/// Runs a client and yields what it wrote.
#[track_caller]
pub(crate) fn run(command: Result<Command, String>, arguments: &[&str]) -> String {
    let output = command.expect("it is installed").args(arguments).output().expect("run a client");
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Each client puts what the others find.
fn clients_agree(endpoint: &str, bucket: &str) {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("file");
    let path = file.to_str().expect("test paths are UTF-8");
    std::fs::write(&file, "content").expect("write a file");
    run(rclone(endpoint), &["copyto", path, &format!("s3:{bucket}/by/rclone")]);
    run(aws(endpoint), &["s3", "cp", path, &format!("s3://{bucket}/by/aws")]);
    run(s5cmd(endpoint), &["cp", path, &format!("s3://{bucket}/by/s5cmd")]);

    let keys = ["by/aws", "by/rclone", "by/s5cmd"];
    let mut found = run(rclone(endpoint), &["lsf", "-R", "--files-only", &format!("s3:{bucket}")]);
    assert_eq!(found.lines().collect::<Vec<_>>(), keys);
    found = run(aws(endpoint), &["s3", "ls", "--recursive", &format!("s3://{bucket}")]);
    let found: Vec<_> = found.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(found, keys);
    for key in keys {
        assert_eq!(run(rclone(endpoint), &["cat", &format!("s3:{bucket}/{key}")]), "content");
        assert_eq!(run(s5cmd(endpoint), &["cat", &format!("s3://{bucket}/{key}")]), "content");
        let head = ["s3api", "head-object", "--bucket", bucket, "--key", key, "--query", "ETag"];
        assert!(run(aws(endpoint), &head).contains(&md5(b"content")));
    }
}

#[test]
fn seaweedfs_serves() {
    needs!(SeaweedFs::shared());
    let server = SeaweedFs::shared().expect("it is there");
    clients_agree(&server.endpoint(), &server.bucket());
}

#[test]
fn rclone_serves() {
    needs!(RcloneServe::shared());
    let server = RcloneServe::shared().expect("it is there");
    clients_agree(&server.endpoint(), &server.bucket());
}

#[test]
fn a_server_is_gone_when_it_is_dropped() {
    needs!(RcloneServe::shared());
    let server = RcloneServe::start().expect("it starts");
    let address = server.endpoint().replace("http://", "");
    std::net::TcpStream::connect(&address).expect("it listens");
    drop(server);
    std::net::TcpStream::connect(&address).expect_err("nobody listens");
}

/// Real clients sign, check sums, list, upload in parts and delete in ways of their own.
#[test]
fn real_clients_are_served_by_the_server_of_these_tests() {
    let server = S3Server::start();
    let endpoint = &server.endpoint();
    needs!(rclone(endpoint));
    let bucket = server.bucket("bucket");
    clients_agree(endpoint, "bucket");

    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("large");
    let path = file.to_str().expect("test paths are UTF-8");
    let large: Vec<_> = (0..17 * MEBIBYTE).map(|at| (at % 251) as u8).collect();
    std::fs::write(&file, &large).expect("write a file");
    run(aws(endpoint), &["s3", "cp", path, "s3://bucket/large/aws"]);
    run(s5cmd(endpoint), &["cp", "--part-size", "8", path, "s3://bucket/large/s5cmd"]);
    let parts = ["--s3-upload-cutoff", "8Mi", "--s3-chunk-size", "8Mi"];
    run(rclone(endpoint), &[&["copyto", path, "s3:bucket/large/rclone"][..], &parts].concat());
    for client in ["aws", "s5cmd", "rclone"] {
        let object = bucket.get(&format!("large/{client}")).expect("it is there");
        assert!(object.content == large && object.etag.ends_with("-3"), "{client} {}", object.etag);
    }
    run(aws(endpoint), &["s3", "cp", "s3://bucket/large/rclone", "s3://bucket/copied"]);
    run(rclone(endpoint), &["copyto", "s3:bucket/large/aws", path]);
    assert!(std::fs::read(&file).expect("read a file") == large);

    for key in ["a//b", "./x", "a/../b", "+ é%", "a/", "/a"] {
        bucket.put(key, "content");
        let get = ["s3api", "get-object", "--bucket", "bucket", "--key", key, path];
        run(aws(endpoint), &get);
        assert_eq!(std::fs::read(&file).expect("read a file"), b"content", "{key}");
    }
    run(aws(endpoint), &["s3", "rm", "--recursive", "--quiet", "s3://bucket/large"]);
    run(s5cmd(endpoint), &["rm", "s3://bucket/by/*"]);
    let mut left = bucket.keys();
    left.sort();
    assert_eq!(left, ["+ é%", "./x", "/a", "a/", "a/../b", "a//b", "copied"]);
    assert!(server.count(Kind::DeleteMany) > 0);
}
