//! Ways round what a store can't do: copies that it refuses, a key whose signature it refuses, the
//! proxies on the way to it, and what puts that were killed left.

use crate::common::Run;
use crate::common::background::wait_until;
use crate::common::content::content;
use crate::s3::{Fault, Hold, Kind, On, Scripted};
use crate::scene::{MEBIBYTE, PLACE, PREFIX, Scene};
use parking_lot::Mutex;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const TOLD: &str = "not by the store itself";

#[test]
fn what_a_store_refuses_to_copy_is_read_and_written() {
    let large = content(20 * MEBIBYTE, 1);
    let objects: [(&str, &[u8]); 5] =
        [("a", b"first"), ("b", b"second"), ("c+ d%41", b"third"), ("d/", b""), ("large", &large)];
    for (fault, asked) in [
        (Fault::Error(501, "NotImplemented"), 1..=2),
        (Fault::Status(403), 3..=5),
        (Fault::Error(400, "InvalidArgument"), 3..=6),
        (Fault::Error(404, "NoSuchKey"), 3..=5),
    ] {
        let scene = Scene::new().with_objects(&objects);
        let refused: Scripted = scene.server.fail(On::every(Kind::Copy), fault.clone());
        let run = scene.across(&["--transfers", "1"]).expect(0).names(TOLD);
        assert_eq!(run.told().matches(TOLD).count(), 1, "{}", run.told());
        for (key, content) in objects {
            let copy = scene.other.get(&format!("q/{key}"));
            assert!(copy.expect("it was copied").content == content, "{fault:?} {key}");
        }
        assert!(asked.contains(&refused.struck()), "{fault:?}: {}", refused.struck());
        assert_eq!(scene.across(&[]).expect(0).finished().count("files_copied"), 0);
    }
}

#[test]
fn one_key_that_a_store_can_t_copy_costs_the_others_nothing() {
    let scene = Scene::new().with_objects(&[("a", b"first"), ("odd+", b"odd"), ("z", b"last")]);
    scene.server.fail(On::every(Kind::Copy).key("odd"), Fault::Error(404, "NoSuchKey"));
    scene.across(&["--transfers", "1"]).expect(0).names(TOLD).names("odd+");
    assert_eq!(scene.server.count(Kind::Copy), 3);
    assert_eq!(scene.other.get("q/odd+").expect("it was copied").content, "odd");
}

#[test]
fn metadata_is_set_where_a_store_can_t_copy_an_object_onto_itself() {
    let large = content(20 * MEBIBYTE, 1);
    let scene = Scene::new().with_files(&[("a", b"first"), ("large", &large)]);
    scene.up(&[]).expect(0);
    scene.server.fail(On::every(Kind::Copy), Fault::Error(501, "NotImplemented"));
    let before = scene.uploaded("a").metadata;
    for name in ["a", "large"] {
        let path = scene.env.source.join(name);
        let older = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        fs::File::options().write(true).open(path).unwrap().set_modified(older).unwrap();
    }
    let run = scene.up(&[]).expect(0).names(TOLD);
    assert_eq!(run.finished().count("files_copied"), 0);
    assert_ne!(scene.uploaded("a").metadata, before);
    assert_eq!(scene.uploaded("a").content, "first");
    assert!(scene.uploaded("large").content == large);
    assert_eq!(scene.up(&[]).expect(0).finished().count("metadata_updated"), 0);
}

#[test]
fn objects_whose_metadata_can_t_be_set_in_place_cost_the_others_nothing() {
    let files = ["a", "locked1", "locked2", "locked3", "y", "z"];
    let scene = Scene::new().with_files(&files.map(|name| (name, name.as_bytes())));
    scene.up(&[]).expect(0);
    for name in files {
        let older = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        let path = scene.env.source.join(name);
        fs::File::options().write(true).open(path).unwrap().set_modified(older).unwrap();
    }
    scene.server.fail(On::every(Kind::Copy).key("locked"), Fault::Status(403));
    scene.up(&["--transfers", "1"]).expect(0).names(TOLD);
    assert_eq!(scene.server.count(Kind::Copy), files.len(), "each was asked for");
}

#[test]
fn two_accounts_of_one_endpoint_are_not_asked_to_copy() {
    let scene = Scene::new().with_objects(&[("a", b"first")]);
    let (key, secret) = (crate::s3::ACCESS_KEY, crate::s3::SECRET_KEY);
    let aws = scene.env.root.join("home/.aws");
    fs::create_dir_all(&aws).expect("make a directory");
    let mirror = |one: &str, two: &str, target: &str| {
        let keys = |name: &str, key: &str| {
            format!("[{name}]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
        };
        fs::write(aws.join("credentials"), keys("one", one) + &keys("two", two)).expect("write");
        let (from, to) = (format!("{PLACE}?profile=one"), format!("{target}?profile=two"));
        let mut command = scene.mirror_command(&from, &to, &[]);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("HOME", scene.env.root.join("home"));
        Run::of(command)
    };
    mirror(key, key, "s3://other/same").expect(0).is_silent_about(TOLD);
    assert_eq!(scene.server.count(Kind::Copy), 1);
    // The server knows one key; the other account's own requests are its to refuse.
    let run = mirror("another", key, "s3://other/q");
    run.expect(7).names("InvalidAccessKeyId");
    assert_eq!(scene.server.count(Kind::Copy), 1);
}

#[test]
fn one_key_whose_signature_is_refused_is_named_and_the_rest_is_done() {
    let scene = Scene::new().with_files(&[("a", b"first"), ("a%41", b"odd"), ("z", b"last")]);
    let refused = Fault::Error(403, "SignatureDoesNotMatch");
    scene.server.fail(On::any().key("a%41"), refused.clone());
    scene.up(&[]).expect(1).names("a%41").names("rejects the signature of this request");
    assert_eq!(scene.uploaded("z").content, "last");
    // Where nothing was ever signed well, it is the secret.
    scene.server.heal();
    scene.server.fail(On::any(), refused);
    scene.up(&[]).expect(7).names("rejects the credentials");
}

#[test]
fn a_conflict_of_conditions_is_tried_again() {
    let large = content(20 * MEBIBYTE, 1);
    let scene = Scene::new().with_files(&[("a", b"first"), ("large", &large)]);
    let conflict = || Fault::Error(409, "ConditionalRequestConflict");
    let put = scene.server.fail(On::nth(Kind::Put, 1).key("p/a"), conflict());
    let complete = scene.server.fail(On::nth(Kind::Complete, 1), conflict());
    let run = scene.up(&[]).expect(0);
    assert_eq!((put.struck(), complete.struck()), (1, 1));
    assert_eq!(run.finished().count("requests_retried"), 2);
    assert_eq!(scene.uploaded("a").content, "first");
}

#[test]
fn an_archived_object_is_a_source_that_can_t_be_read() {
    const READ: &str = r#""operation":"read","side":"source","key":"cold""#;
    let scene = Scene::new();
    let archived = crate::s3::Object::new("cold").with_storage_class("GLACIER");
    scene.bucket.put_object(&format!("{PREFIX}cold"), archived);
    scene.down(&[]).expect(1).names(READ).names("has to be restored first");
    let code = Fault::Error(403, "InvalidObjectState");
    scene.server.fail(On::every(Kind::Copy), code);
    scene.across(&[]).expect(1).names(READ).names("has to be restored first");
}

/// What a proxy was asked: first line and `Proxy-Authorization` of each connection.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A proxy that leads everywhere to one server, for HTTP and tunnels.
fn proxy(server: SocketAddr, refusal: Option<&'static str>) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it has an address");
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut piece = [0; 4096];
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => return,
                        Ok(read) => head.extend_from_slice(&piece[..read]),
                    }
                }
                let text = String::from_utf8_lossy(&head).into_owned();
                let first = text.lines().next().unwrap_or_default().to_owned();
                let authorization = text.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    let is_it = name.eq_ignore_ascii_case("proxy-authorization");
                    is_it.then(|| value.to_owned())
                });
                let is_tunnel = first.starts_with("CONNECT ");
                seen.lock().push((first, authorization));
                if let Some(refusal) = refusal {
                    let reply = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(reply.as_bytes()).expect("refuse");
                    return;
                }
                let mut server = TcpStream::connect(server).expect("reach the server");
                if is_tunnel {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("agree");
                } else {
                    server.write_all(&head).expect("pass on");
                }
                pass(stream, server);
            });
        }
    });
    (address, asked)
}

/// A SOCKS 5 proxy (RFC 1928) that leads everywhere to one server; what it was asked for.
fn socks(server: SocketAddr) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("it has an address");
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).expect("a greeting");
            stream.write_all(&[5, 0]).expect("no authentication");
            let mut head = [0; 5];
            stream.read_exact(&mut head).expect("a request");
            assert_eq!(head[..4], [5, 1, 0, 3], "it resolves names");
            let mut name = vec![0; usize::from(head[4]) + 2];
            stream.read_exact(&mut name).expect("a name and a port");
            let host = String::from_utf8_lossy(&name[..name.len() - 2]).into_owned();
            seen.lock().push((host, None));
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).expect("agree");
            pass(stream, TcpStream::connect(server).expect("reach the server"));
        }
    });
    (address, asked)
}

/// Passes bytes in both directions, on threads of their own.
fn pass(one: TcpStream, other: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        std::thread::spawn(move || {
            let _broken = std::io::copy(&mut from, &mut to);
            let _closed = to.shutdown(Shutdown::Write);
        });
    };
    copy(one.try_clone().expect("a handle"), other.try_clone().expect("a handle"));
    copy(other, one);
}

/// A name that only a proxy could resolve.
const CORP: &str = "http://s3.corp.invalid:9000";

fn up_by(scene: &Scene, endpoint: &str, variables: &[(&str, String)]) -> Run {
    let mut command: Command =
        scene.mirror_command(scene.source(), PLACE, &["--allow-http", "--transfers", "2"]);
    command.env("AWS_ENDPOINT_URL", endpoint);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Run::of(command)
}

#[test]
fn requests_go_by_way_of_a_proxy_in_absolute_form() {
    let scene = Scene::new().with_files(&[("a", b"first"), ("b//c%41", b"second")]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (address, asked) = proxy(scene.server.address(), None);
        let variables = [(name, format!("http://me:hunter2@{address}"))];
        let run = up_by(&scene, CORP, &variables).expect(0);
        run.is_silent_about("hunter2");
        let asked = asked.lock();
        assert!(!asked.is_empty());
        for (line, authorization) in asked.iter() {
            assert!(line.contains(" http://s3.corp.invalid:9000/bucket"), "{line}");
            assert_eq!(authorization.as_deref(), Some("Basic bWU6aHVudGVyMg=="));
        }
    }
    assert_eq!(scene.uploaded("a").content, "first");
}

#[test]
fn a_socks_proxy_resolves_the_store_s_name() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    let (address, asked) = socks(scene.server.address());
    up_by(&scene, CORP, &[("ALL_PROXY", format!("socks5h://{address}"))]).expect(0);
    let asked = asked.lock();
    assert!(!asked.is_empty() && asked.iter().all(|(host, _)| host == "s3.corp.invalid"));
    assert_eq!(scene.uploaded("a").content, "first");
}

#[test]
fn a_tunnel_is_asked_for_and_its_refusal_names_the_proxy_and_the_way_out() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    for (refusal, says) in [
        ("407 Proxy Authentication Required", "authorization required"),
        ("403 No", "unsuccessful"),
    ] {
        let (address, asked) = proxy(scene.server.address(), Some(refusal));
        let variables = [("https_proxy", format!("http://me:hunter2@{address}"))];
        let run = up_by(&scene, "https://s3.corp.invalid", &variables).expect(7);
        run.names(&format!("cannot connect through the proxy: {address}"))
            .names(says)
            .names("NO_PROXY");
        let asked = asked.lock();
        assert!(!asked.is_empty(), "the proxy was passed by");
        assert!(asked.iter().all(|(line, authorization)| {
            line == "CONNECT s3.corp.invalid:443 HTTP/1.1" && authorization.is_some()
        }));
    }
    let (address, asked) = proxy(scene.server.address(), Some("407 Ask"));
    let run = up_by(&scene, CORP, &[("http_proxy", address.to_string())]).expect(7);
    run.names("cannot connect through the proxy").names("http://user:password@host:port");
    assert!(!asked.lock().is_empty());
}

#[test]
fn a_store_that_no_proxy_names_is_reached_without_one() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    let (address, asked) = proxy(scene.server.address(), Some("407 Ask"));
    let variables = [("http_proxy", format!("http://{address}")), ("NO_PROXY", "127.0.0.1".into())];
    up_by(&scene, &scene.server.endpoint(), &variables).expect(0);
    assert!(asked.lock().is_empty());
    // A slip is an error, and not a way round the proxy.
    let wrong = [("http_proxy", "ftp://me:hunter2@proxy".to_owned())];
    let run = up_by(&scene, &scene.server.endpoint(), &wrong).expect(2);
    run.names("http_proxy is not the address of a proxy").is_silent_about("hunter2");
}

/// A put of standard input that doesn't end, killed once `is_begun`.
fn killed(mut command: Command, is_begun: impl Fn() -> bool) {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("run it");
    let mut input = child.stdin.take().expect("it is piped");
    let writing = std::thread::spawn(move || {
        let _killed = input.write_all(&vec![7; 40 * MEBIBYTE]);
        input
    });
    wait_until("a put that begins", is_begun);
    child.kill().expect("kill it");
    child.wait().expect("wait for it");
    drop(writing.join().expect("no panic"));
}

#[test]
fn what_a_killed_put_left_is_given_up_by_the_next_one_there() {
    let scene = Scene::new();
    let put = |key: &str| {
        let mut command = scene.command(&["put", "-", &format!("{PLACE}/{key}")]);
        command.stdin(Stdio::null());
        command
    };
    // A part follows the note of its upload.
    killed(put("x"), || scene.server.count(Kind::Part) > 0);
    Run::of(put("elsewhere/y")).expect(0);
    assert_eq!(scene.bucket.uploads().len(), 1, "who puts elsewhere doesn't know whose it is");
    Run::of(put("y")).expect(0);
    assert!(scene.bucket.uploads().is_empty());
    assert_eq!(scene.uploaded("y").content, "");
}

#[test]
fn an_upload_that_a_mirror_can_go_on_with_survives_a_put() {
    let large = content(40 * MEBIBYTE, 3);
    let scene = Scene::new().with_files(&[("large", &large)]);
    let scripted = scene.server.fail(On::from(Kind::Part, 3), Fault::Held(Hold::new()));
    let mut child = scene
        .mirror_command(scene.source(), PLACE, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run it");
    wait_until("two parts that are sent", || scripted.struck() > 0);
    child.kill().expect("kill it");
    child.wait().expect("wait for it");
    scene.server.heal();
    let mut put = scene.command(&["put", "-", &format!("{PLACE}/y")]);
    put.stdin(Stdio::null());
    Run::of(put).expect(0);
    assert_eq!(scene.bucket.uploads().len(), 1);
    let sent = scene.server.count(Kind::Part);
    scene.up(&[]).expect(0);
    assert!(scene.server.count(Kind::Part) - sent < 5, "it went on");
    assert!(scene.uploaded("large").content == large && scene.bucket.uploads().is_empty());
}

#[test]
fn what_a_killed_put_left_in_a_directory_is_removed_by_the_next_one_there() {
    let scene = Scene::new();
    let directory = scene.env.root.join("puts");
    fs::create_dir(&directory).expect("make a directory");
    let foreign = directory.join(".vidimus.0123456789abcdef");
    fs::write(&foreign, "of a mirror that may still go on").expect("write");
    let put = |name: &str| {
        let path = directory.join(name);
        let mut command = scene.command(&["put", "-", path.to_str().expect("UTF-8")]);
        command.stdin(Stdio::null());
        command
    };
    let temporaries = || {
        let names = fs::read_dir(&directory).expect("list").map(|entry| entry.expect("list"));
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        names.map(name).filter(|name| name.starts_with(".vidimus.")).count()
    };
    killed(put("x"), || temporaries() == 2);
    assert_eq!(temporaries(), 2);
    Run::of(put("y")).expect(0);
    assert_eq!(temporaries(), 1);
    assert!(foreign.exists() && directory.join("y").exists());
}
