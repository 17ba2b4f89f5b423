//! `ls`, `cat` and `put` of objects, with the requests that they cost.

use crate::common::background::{stop, wait_until};
use crate::common::clients::{aws, rclone};
use crate::common::content::bytes;
use crate::common::environment::text;
use crate::common::servers::{RcloneServe, SeaweedFs, Server, environment};
use crate::common::{Environment, Run};
use crate::needs;
use crate::s3::{Fault, Kind, Object, On, S3Server};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MEBIBYTE: usize = 1 << 20;

struct Place {
    env: Environment,
    server: S3Server,
}

impl Place {
    fn new() -> Self {
        Self { env: Environment::new(), server: S3Server::start() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.command(arguments);
        command.envs(self.server.environment());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Runs with this on standard input.
    fn fed(&self, content: &[u8], arguments: &[&str]) -> Run {
        let path = self.env.root.join("input");
        std::fs::write(&path, content).expect("write a file");
        let mut command = self.command(arguments);
        command.stdin(File::open(path).expect("open a file"));
        Run::of(command)
    }

    /// What `cat` writes, byte by byte, and how it ends.
    fn cat(&self, location: &str) -> (Vec<u8>, i32, String) {
        let output = self.command(&["cat", location]).output().expect("run it");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout, output.status.code().expect("it ends by itself"), told)
    }
}

fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

#[test]
fn ls_lists_one_level_by_one_request_and_all_on_demand() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    for key in ["a", "a/b", "a/c/d", "a-b", "d/", "d/e\n", "x//y", ".vidimus/lock", "a/.vidimus/x"]
    {
        bucket.put(key, "12345");
    }
    bucket.put("empty/", "");
    let list = |arguments: &[&str]| place.run(&[&["ls"], arguments].concat()).expect(0).stdout;
    assert_eq!(list(&["s3://bucket"]), "a\na-b\na/\nd/\nempty/\nx/\n");
    assert_eq!((place.server.count(Kind::List), place.server.log().len()), (1, 1));
    assert_eq!(list(&["s3://bucket/a"]), "b\nc/\n");
    assert_eq!(list(&["s3://bucket/a/"]), "b\nc/\n");
    assert_eq!(list(&["s3://bucket/d/"]), "e\\n\n");
    assert_eq!(list(&["--null", "s3://bucket/d/"]), "e\n\0");
    assert_eq!(list(&["s3://bucket/a-b"]), "a-b\n", "an object by itself");
    assert_eq!(list(&["s3://bucket/a/c/d"]), "d\n");
    assert_eq!(list(&["s3://bucket/x/"]), "/\n");
    assert_eq!(list(&["s3://bucket/x//"]), "y\n");
    for empty in ["s3://bucket/empty/", "s3://bucket/empty"] {
        assert_eq!(list(&[empty]), "");
        assert_eq!(list(&["-r", empty]), "");
    }
    assert_eq!(
        list(&["-r", "s3://bucket/"]),
        "a\na-b\na/.vidimus/x\na/b\na/c/d\nd/\nd/e\\n\nempty/\nx//y\n"
    );
    let long = list(&["--long", "s3://bucket/"]);
    let lines: Vec<_> = long.lines().collect();
    let words: Vec<_> = lines[0].split_whitespace().collect();
    assert!(words.len() == 3 && (words[0], words[2]) == ("5", "a"), "{long}");
    assert!(words[1].starts_with("20") && words[1].ends_with('Z'), "{long}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["-", "-", "a/"]);
    place.server.bucket("nothing");
    assert_eq!(list(&["s3://nothing"]), "");
}

#[test]
fn ls_tells_scripts_all_that_a_listing_has() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    let etag = bucket.put("p/file", "content");
    bucket.put("p/deeper/file", "content");
    let records = place.run(&["ls", "--json", "s3://bucket/p"]).expect(0).records();
    let [directory, file, finished] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&directory["key"], &directory["kind"]), (&"deeper/".into(), &"directory".into()));
    assert!(directory.get("mtime").is_none() && directory.get("etag").is_none());
    assert_eq!((&file["event"], &file["key"]), (&"entry".into(), &"file".into()));
    assert_eq!((&file["size"], &file["etag"]), (&7.into(), &etag.into()));
    assert!(file["mtime"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&finished["entries"], &finished["bytes"]), (&2.into(), &7.into()));
    assert_eq!((&finished["requests_list"], &finished["verdict"]), (&1.into(), &"complete".into()));

    place.server.synthetic_bucket("large", 3_001);
    for flags in [&["ls", "--json", "s3://large"][..], &["ls", "-r", "--json", "s3://large/"]] {
        let finished = place.run(flags).expect(0).finished();
        finished.counts(&[("entries", 3_001), ("requests_list", 4), ("requests_head", 0)]);
    }
}

#[test]
fn ls_takes_nothing_for_absent_that_it_could_not_see() {
    let place = Place::new();
    place.server.bucket("bucket").put("a/b", "x");
    for missing in ["s3://bucket/b", "s3://bucket/a/b/", "s3://bucket/a/bb"] {
        place.run(&["ls", missing]).expect(7).names("there is nothing at").names(missing);
    }
    for flags in [&["ls", "s3://no-bucket"][..], &["ls", "-r", "s3://no-bucket"]] {
        let run = place.run(flags).expect(7).names("cannot list \"s3://no-bucket");
        run.is_silent_about("the source");
    }
    let run = place.run(&["ls", "--json", "s3://bucket/b"]).expect(7).finished();
    assert_eq!((&run.record["verdict"], &run.record["exit_code"]), (&"failed".into(), &7.into()));

    place.server.synthetic_bucket("large", 2_500);
    let page = On::every(Kind::List).pages(3..=3);
    place.server.fail(page, Fault::Status(403));
    for flags in [&["ls", "s3://large"][..], &["ls", "-r", "s3://large"]] {
        let run = place.run(flags).expect(1).names("cannot list \".\": ");
        assert_eq!(run.stdout.lines().count(), 2_000);
    }
}

#[test]
fn a_store_that_refuses_is_asked_why() {
    let place = Place::new();
    place.server.bucket("bucket").put("a", "content");
    // A reply to HEAD has no body.
    let refused = |told: Run| told.names("cannot look up \"s3://bucket").names("/a\"");
    let mut command = place.command(&["cat", "s3://bucket/a"]);
    command.env("AWS_SECRET_ACCESS_KEY", "another");
    let run = refused(Run::of(command).expect(7));
    run.names("SignatureDoesNotMatch").names("help: check AWS_ACCESS_KEY_ID");
    for command in ["cat", "ls"] {
        let run = place.run(&[command, "s3://bucket/a?anonymous=true"]).expect(7);
        run.names("had no credentials").is_silent_about("knows these");
    }
    // What passes meanwhile is no reason.
    place.server.fail(On::nth(Kind::Head, 1), Fault::Status(403));
    assert_eq!(place.cat("s3://bucket/a").0, b"content");
    place.server.fail(On::every(Kind::Head), Fault::Status(400));
    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>no</Message>\
                <Region>eu-9</Region></Error>";
    let told = Fault::Reply(400, Vec::new(), body.into());
    place.server.fail(On::every(Kind::Get), told);
    for command in ["cat", "ls"] {
        let run = refused(place.run(&[command, "s3://bucket/a"]).expect(7));
        run.names("another region: eu-9").names("AWS_REGION=eu-9");
    }
}

#[test]
fn cat_writes_any_object_as_it_is() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    let content = [&b"\0\xff\r\n"[..], &bytes(300)].concat();
    for key in ["a", "a/", "/a", "a//b", "./x", "x/../y", "é %+", "line\nend"] {
        bucket.put(key, [&content, key.as_bytes()].concat());
    }
    for key in ["a", "a/", "/a", "a//b", "./x", "x/../y", "é %+", "line\nend"] {
        let (found, code, told) = place.cat(&format!("s3://bucket/{key}"));
        assert_eq!((code, &*told), (0, ""), "{key}");
        assert!(found == [&content, key.as_bytes()].concat(), "{key}");
    }
    bucket.put("empty", "");
    assert_eq!(place.cat("s3://bucket/empty"), (Vec::new(), 0, String::new()));

    let large = bytes(40 * MEBIBYTE + 3);
    bucket.put("large", &large);
    place.server.forget();
    let (found, code, told) = place.cat("s3://bucket/large");
    assert!(found == large && code == 0, "{told}");
    let gets = place.server.requests(Kind::Get);
    assert!(gets.len() > 4 && gets.iter().all(|get| get.headers.contains_key("range")));
    assert!(gets.iter().all(|get| get.headers.contains_key("if-match")));
}

#[test]
fn cat_tells_content_that_is_not_what_was_recorded_with_it() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    let recorded = |content: &[u8], digest: String| {
        let mut object = Object::new(content.to_vec());
        object.metadata.insert("vidimus-blake3".into(), digest);
        object
    };
    for size in [7, 20 * MEBIBYTE] {
        let content = bytes(size);
        bucket.put_object("right", recorded(&content, digest(&content)));
        bucket.put_object("wrong", recorded(&content, digest(b"another")));
        assert_eq!(place.cat("s3://bucket/right").1, 0);
        let (found, code, told) = place.cat("s3://bucket/wrong");
        assert_eq!((found.len(), code), (size, 1));
        assert!(told.contains("wrong") && told.contains(&digest(b"another")), "{told}");
    }
    // Another version takes its place while it is read, after its beginning was written.
    bucket.put("changing", bytes(60 * MEBIBYTE));
    place.server.fail(On::nth(Kind::Get, 6).key("changing"), Fault::Replaced(b"other"));
    let (_, code, told) = place.cat("s3://bucket/changing");
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("changed while it was read"), "{told}");
}

#[test]
fn cat_of_what_has_no_content_says_so() {
    let place = Place::new();
    place.server.bucket("bucket").put("a/b", "x");
    let help = "vidimus ls";
    for directory in ["s3://bucket", "s3://bucket/a", "s3://bucket/a/"] {
        place.run(&["cat", directory]).expect(7).names("is a directory").names(help);
    }
    place.run(&["cat", "s3://bucket/b"]).expect(7).names("there is nothing").names(help);
    place.run(&["cat", "s3://no-bucket/b"]).expect(7).names("no-bucket");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let place = Place::new();
    place.server.bucket("bucket").put("large", bytes(30 * MEBIBYTE));
    place.server.synthetic_bucket("keys", 20_000);
    for arguments in [&["cat", "s3://bucket/large"][..], &["ls", "s3://keys"]] {
        let mut command = place.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut start = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        Run::wait(child, format!("{arguments:?}")).expect(0).is_silent_about("error");
    }
}

#[test]
fn put_sends_a_small_stream_whole_with_its_digest() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    let run = place.fed(b"content", &["put", "--json", "-", "s3://bucket/d/page.html"]).expect(0);
    let object = bucket.get("d/page.html").expect("it stands");
    assert_eq!(&object.content[..], b"content");
    assert_eq!(object.headers["content-type"], "text/html");
    assert_eq!(object.metadata["vidimus-blake3"], digest(b"content"));
    assert_eq!(object.metadata["vidimus-mode"], "0644");
    assert!(object.metadata.contains_key("mtime"));
    let record = run.finished().record;
    assert_eq!((&record["size"], &record["digest"]), (&7.into(), &digest(b"content").into()));
    assert_eq!((&record["key"], &record["etag"]), (&"page.html".into(), &object.etag.into()));
    // Beside the object's: what stands there is looked at; the lock is looked for, made, tried once
    // more, and deleted; whether a signed manifest is there; and, the first time, whether one is there
    // that tells of what lies beside it, or one that lost its pointer.
    run.finished().counts(&[("requests_put", 1), ("requests_lock", 4), ("requests_list", 1)]);
    assert_eq!(place.server.log().len(), 9);
    place.server.forget();
    place.fed(b"content", &["put", "-", "s3://bucket/d/page.html"]).expect(0);
    // As before: nothing was published there.
    assert_eq!(place.server.log().len(), 9);
    assert!(bucket.get("d/.vidimus/lock").is_none());

    place.fed(b"", &["put", "-q", "-", "s3://bucket/empty"]).expect(0).is_silent_about("empty");
    assert_eq!(bucket.content("empty").len(), 0);
    for key in ["a//b", "./x", "é+"] {
        let location = format!("s3://bucket/{key}");
        place
            .fed(key.as_bytes(), &["put", "-", &location])
            .expect(0)
            .names(&digest(key.as_bytes()));
        assert_eq!(place.cat(&location).0, key.as_bytes());
    }
}

#[test]
fn put_keeps_the_mode_and_owner_that_are_kept_with_the_object_it_replaces() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    place.fed(b"1", &["put", "-q", "-", "s3://bucket/p/secret"]).expect(0);
    let mut object = bucket.get("p/secret").expect("it stands");
    for (name, value) in [("mode", "4600"), ("uid", "7"), ("gid", "8")] {
        object.metadata.insert(format!("vidimus-{name}"), value.to_owned());
    }
    bucket.put_object("p/secret", object);
    place.fed(b"2", &["put", "-q", "-", "s3://bucket/p/secret"]).expect(0);
    let kept = || {
        let object = bucket.get("p/secret").expect("it stands");
        ["mode", "uid", "gid"].map(|name| object.metadata[&format!("vidimus-{name}")].clone())
    };
    assert_eq!(kept(), ["0600", "7", "8"]);
    assert_eq!(bucket.content("p/secret"), "2");
    // A symbolic link's mode says nothing.
    let mut link = bucket.get("p/secret").expect("it stands");
    link.metadata.insert("vidimus-kind".to_owned(), "symlink".to_owned());
    link.metadata.insert("vidimus-mode".to_owned(), "0777".to_owned());
    bucket.put_object("p/link", link);
    place.fed(b"2", &["put", "-q", "-", "s3://bucket/p/link"]).expect(0);
    assert_eq!(bucket.get("p/link").unwrap().metadata["vidimus-mode"], "0644");
    // Who may only write there puts all the same, and is told.
    place.server.fail(On::every(Kind::Head).key("p/secret"), Fault::Status(403));
    let run = place.fed(b"3", &["put", "-", "s3://bucket/p/secret"]).expect(0);
    run.names("the mode of the replaced file is not kept: ");
    assert_eq!(kept()[0], "0644");
}

#[test]
fn put_sends_a_large_stream_in_equal_parts_and_the_row_has_its_digest() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    for (size, parts) in [(16 * MEBIBYTE, 0), (16 * MEBIBYTE + 1, 2), (40 * MEBIBYTE, 3)] {
        place.server.forget();
        let content = bytes(size);
        let flags = ["put", "--json", "--memory", "48MiB", "-", "s3://bucket/d/dump"];
        let record = place.fed(&content, &flags).expect(0).finished().record;
        assert!(bucket.content("d/dump") == content);
        assert_eq!(place.server.count(Kind::Part), parts, "{size}");
        assert_eq!(record["digest"], digest(&content));
        assert!(bucket.uploads().is_empty());
        let verified = place.run(&["verify", "--json", "s3://bucket/d"]).expect(0).finished();
        verified.counts(&[("verified", 1), ("entries", 1), ("differences", 0)]);
        assert_eq!(verified.record["source"], "-");
    }
    bucket.put("d/dump", bytes(40 * MEBIBYTE - 1));
    place.run(&["verify", "s3://bucket/d"]).expect(3).names("corrupt dump");
    bucket.delete("d/dump");
    place.run(&["verify", "s3://bucket/d"]).expect(3).names("missing dump");

    place.server.forget();
    let flags = ["put", "--expected-size", "200GiB", "-", "s3://bucket/d/dump"];
    place.fed(&bytes(24 * MEBIBYTE), &flags).expect(0);
    assert_eq!(place.server.count(Kind::Part), 2, "parts of 23 MiB");
    let flags = ["put", "--expected-size", "5TiB", "-", "s3://bucket/d/dump"];
    place.fed(b"x", &flags).expect(7).names("--memory");
}

#[test]
fn verify_takes_what_was_mirrored_and_what_was_put_beside_it_for_the_whole() {
    let place = Place::new();
    std::fs::write(place.env.source.join("mirrored"), "content").unwrap();
    let source = text(&place.env.source).to_owned();
    place.run(&["mirror", &source, "s3://bucket/p"]).expect(7);
    let bucket = place.server.bucket("bucket");
    place.run(&["mirror", &source, "s3://bucket/p"]).expect(0);
    place.fed(b"dump", &["put", "-", "s3://bucket/p/put"]).expect(0);
    let verified = place.run(&["verify", "--json", "s3://bucket/p"]).expect(0).finished();
    verified.counts(&[("verified", 2), ("extra", 0), ("differences", 0)]);
    bucket.put("p/mirrored", "CONTENT");
    bucket.put("p/put", "DUMP");
    let verified = place.run(&["verify", "s3://bucket/p"]).expect(3);
    verified.names("corrupt mirrored").names("corrupt put");
}

#[test]
fn put_that_fails_leaves_what_stood_and_no_upload() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    bucket.put("old", "old");
    let flags = ["put", "-", "s3://bucket/old"];
    for (on, fault) in [
        (On::nth(Kind::Part, 2), Fault::Status(403)),
        (On::every(Kind::Complete), Fault::ErrorInOk("AccessDenied")),
        (On::every(Kind::CreateUpload), Fault::Status(403)),
    ] {
        place.server.fail(on, fault);
        place.fed(&bytes(40 * MEBIBYTE), &flags).expect(7).names("s3://bucket/old");
        place.server.heal();
        assert_eq!(&bucket.content("old")[..], b"old");
        assert!(bucket.uploads().is_empty());
    }
    // A directory can be opened, but not read.
    let mut command = place.command(&flags);
    command.stdin(File::open(&place.env.source).expect("open it"));
    Run::of(command).expect(7).names("standard input");
    assert_eq!(&bucket.content("old")[..], b"old");
    place.run(&["verify", "s3://bucket/"]).expect(4).names("no run into");
    place.fed(b"x", &["put", "-", "s3://no-bucket/old"]).expect(7).names("no-bucket");
}

#[test]
fn a_lost_reply_to_the_last_request_is_looked_into() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    place.server.fail(On::nth(Kind::Complete, 1), Fault::LostReply);
    place.fed(&bytes(20 * MEBIBYTE), &["put", "-", "s3://bucket/dump"]).expect(0);
    assert!(bucket.content("dump") == bytes(20 * MEBIBYTE) && bucket.uploads().is_empty());
}

#[test]
fn put_keeps_out_of_a_place_that_another_run_writes_to() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    bucket.put("old", "old");
    let mut first = waiting(&place);
    let holder = format!("process {}", first.id());
    let second = place.fed(b"second", &["put", "-", "s3://bucket/second"]);
    second.expect(5).names("locked by").names(&holder);
    let source = text(&place.env.source).to_owned();
    place.run(&["mirror", &source, "s3://bucket"]).expect(5).names(&holder);
    place.fed(b"x", &["put", "-", "s3://bucket/d/elsewhere"]).expect(0);
    drop(first.stdin.take());
    Run::wait(first, "the first put".into()).expect(0);
    assert!(bucket.content("old") == bytes(40 * MEBIBYTE) && bucket.get("second").is_none());
    place.fed(b"second", &["put", "-", "s3://bucket/second"]).expect(0);
    assert!(bucket.get(".vidimus/lock").is_none());
}

#[test]
fn put_that_loses_its_lock_puts_nothing() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    bucket.put("old", "old");
    let mut child = waiting(&place);
    bucket.put(".vidimus/lock", r#"{"run":"other","pid":7,"host":"h","started":"?"}"#);
    let input = child.stdin.take();
    let run = Run::wait(child, "put, its lock taken".into()).expect(5);
    run.names(".vidimus/lock\\\" was lost").names("nothing was put");
    assert_eq!(&bucket.content("old")[..], b"old");
    assert!(bucket.uploads().is_empty() && bucket.get(".vidimus/lock").is_some());
    drop(input);
}

#[test]
fn put_sends_no_more_requests_than_it_may() {
    let place = Place::new();
    place.server.bucket("bucket");
    let begun = Instant::now();
    // The beginning of an upload, three parts and its end.
    let flags = ["put", "--max-requests", "2/s", "-", "s3://bucket/dump"];
    place.fed(&bytes(40 * MEBIBYTE), &flags).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// A `put` that has sent 40 MiB and waits for more.
fn waiting(place: &Place) -> Child {
    let mut command = place.command(&["put", "--json", "-", "s3://bucket/old"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run it");
    let input = child.stdin.as_mut().expect("it is piped");
    input.write_all(&bytes(40 * MEBIBYTE)).expect("feed it");
    wait_until("parts that are sent", || place.server.count(Kind::Part) >= 2);
    child
}

#[test]
fn put_that_is_interrupted_leaves_what_stood_and_no_upload() {
    let place = Place::new();
    let bucket = place.server.bucket("bucket");
    bucket.put("old", "old");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        place.server.forget();
        let mut child = waiting(&place);
        let input = child.stdin.take();
        let run = stop(child, signal, "put").expect(code);
        assert_eq!(run.finished().record["verdict"], "interrupted");
        assert_eq!(&bucket.content("old")[..], b"old");
        assert!(bucket.uploads().is_empty());
        drop(input);
    }
}

#[test]
fn put_names_one_object() {
    let place = Place::new();
    place.server.bucket("bucket");
    for location in ["s3://bucket", "s3://bucket/", "s3://bucket/d/"] {
        place.fed(b"x", &["put", "-", location]).expect(2).names("names a directory");
    }
    for location in ["s3://bucket/.vidimus/lock", "s3://bucket/d/.vidimus"] {
        place.fed(b"x", &["put", "-", location]).expect(2).names("is reserved for vidimus");
    }
    place.fed(b"x", &["put", "file", "s3://bucket/d"]).expect(2).names("put - LOCATION");
    assert!(place.server.log().is_empty());
}

/// What is put is what other clients find, and what they put is what `ls` and `cat` tell.
fn clients_agree(server: &Server) {
    let env = Environment::new();
    let (endpoint, bucket) = (server.endpoint(), server.bucket());
    let run = |arguments: &[&str], input: &[u8]| {
        std::fs::write(env.root.join("input"), input).unwrap();
        let mut command = env.command(arguments);
        command.envs(environment(&endpoint)).stdin(File::open(env.root.join("input")).unwrap());
        command.output().unwrap()
    };
    let small = bytes(1000);
    let large = bytes(36 * MEBIBYTE);
    for (key, content) in [("d/small.txt", &small), ("d/large", &large), ("d/deeper/x", &small)] {
        let location = format!("s3://{bucket}/{key}");
        let put = run(&["put", "-q", "-", &location], content);
        assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
        let mut judge = rclone(&endpoint).expect("it is installed");
        let seen = judge.args(["cat", &format!("s3:{bucket}/{key}")]).output().unwrap();
        assert!(seen.stdout == *content, "rclone sees {key}");
        let ours = run(&["cat", &location], b"");
        let told = String::from_utf8_lossy(&ours.stderr);
        assert!(ours.stdout == *content, "{key}, {} bytes: {told}", ours.stdout.len());
    }
    let mut client = aws(&endpoint).expect("it is installed");
    std::fs::write(env.root.join("theirs"), &large).unwrap();
    let theirs = env.root.join("theirs");
    let status = client.args(["s3", "cp", "--quiet"]).arg(theirs);
    assert!(status.arg(format!("s3://{bucket}/d/theirs")).status().unwrap().success());
    assert!(run(&["cat", &format!("s3://{bucket}/d/theirs")], b"").stdout == large);

    let listed = |arguments: &[&str]| {
        let out = run(&[&["ls"], arguments].concat(), b"");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let place = format!("s3://{bucket}/d");
    assert_eq!(listed(&[&place]), "deeper/\nlarge\nsmall.txt\ntheirs\n");
    assert_eq!(listed(&["-r", &place]), "deeper/x\nlarge\nsmall.txt\ntheirs\n");
    assert_eq!(listed(&[&format!("{place}/large")]), "large\n");
    assert_eq!(run(&["ls", &format!("{place}/none")], b"").status.code(), Some(7));
    assert_eq!(run(&["cat", &place], b"").status.code(), Some(7));
    let verified = run(&["verify", &place], b"");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn clients_agree_on_seaweedfs() {
    needs!(SeaweedFs::shared());
    clients_agree(SeaweedFs::shared().expect("it is there"));
}

#[test]
fn clients_agree_on_rclone() {
    needs!(RcloneServe::shared());
    clients_agree(RcloneServe::shared().expect("it is there"));
}
