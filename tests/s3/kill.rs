//! Runs that end early: killed at each of their requests, or told to stop while requests hang. The
//! next run goes on and comes to what a run that nobody disturbed would have come to.

use crate::common::background::{full_pipe, stop, wait_until, wait_until_it_took};
use crate::common::content::content;
use crate::common::{Run, Snapshot};
use crate::s3::{Bucket, Fault, Kind, Object, On, S3Server, Scripted};
use crate::scene::{MEBIBYTE, OTHER, PLACE, PREFIX, Scene};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_hours(1);
/// One at a time, so that the requests come in one order.
const FLAGS: [&str; 5] = ["--delete", "--max-delete", "100%", "--transfers", "1"];

type Contents = BTreeMap<String, Bytes>;

/// What is uploaded in three parts. It is made once: each run of a sweep looks at it several times.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| content(17 * MEBIBYTE, 1).into());

/// What is there before: to be kept, changed and deleted.
fn old() -> Contents {
    let old = [
        ("changed", "old content"),
        ("d/gone", "gone"),
        ("gone/with/its/directory", "gone"),
        ("large", "small as yet"),
        ("same", "same"),
    ];
    old.map(|(key, content)| (key.to_owned(), content.into())).into()
}

/// What is to be there.
fn new() -> Contents {
    let new = [
        ("changed", "new content".into()),
        ("d/fresh", "fresh".into()),
        ("fresh/and/deep", "fresh".into()),
        ("large", LARGE.clone()),
        ("same", "same".into()),
    ];
    new.map(|(key, content)| (key.to_owned(), content)).into()
}

/// What a bucket holds, markers and what vidimus keeps for itself left out.
fn in_bucket(bucket: &Bucket, prefix: &str) -> Contents {
    let objects = bucket.objects().into_iter();
    let below = objects.filter_map(|(key, object)| {
        let key = key.strip_prefix(prefix)?.to_owned();
        let is_content = !key.is_empty() && !key.ends_with('/') && !key.starts_with(".vidimus");
        is_content.then_some((key, object.content))
    });
    below.collect()
}

fn in_directory(path: &std::path::Path) -> Contents {
    let entries = Snapshot::read(path).entries.into_iter();
    let files = entries.filter_map(|(key, seen)| match seen.kind {
        crate::common::tree::Kind::File(content) => {
            Some((String::from_utf8(key).expect("test keys are UTF-8"), content.into()))
        }
        _ => None,
    });
    files.collect()
}

/// Where content goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Up,
    Down,
    Across,
}

impl Way {
    /// A mirror of what is old, whose source is new.
    fn prepared(self) -> Scene {
        let scene = Scene::new();
        self.fill(&scene, &old());
        scene.env.age();
        self.run(&scene).expect(0);
        for key in old().keys() {
            match self {
                Self::Up => fs::remove_file(scene.env.source.join(key)).expect("remove a file"),
                _ => scene.bucket.delete(&format!("{PREFIX}{key}")),
            }
        }
        if self == Self::Up {
            fs::remove_dir_all(scene.env.source.join("gone")).expect("remove a directory");
        }
        self.fill(&scene, &new());
        scene.env.age();
        scene.server.forget();
        scene
    }

    fn fill(self, scene: &Scene, contents: &Contents) {
        for (key, content) in contents {
            match self {
                Self::Up => scene.write(key, content),
                _ => drop(
                    scene
                        .bucket
                        .put_object(&format!("{PREFIX}{key}"), Object::new(content.clone())),
                ),
            }
        }
    }

    fn command(self, scene: &Scene) -> Command {
        let (from, to) = match self {
            Self::Up => (scene.source(), PLACE),
            Self::Down => (PLACE, scene.target()),
            Self::Across => (PLACE, OTHER),
        };
        scene.mirror_command(from, to, &FLAGS)
    }

    fn run(self, scene: &Scene) -> Run {
        Run::of(self.command(scene))
    }

    fn found(self, scene: &Scene) -> Contents {
        match self {
            Self::Up => in_bucket(&scene.bucket, PREFIX),
            Self::Down => in_directory(&scene.env.target),
            Self::Across => in_bucket(&scene.other, "q/"),
        }
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run it")
}

/// Waits until a fault has struck so often; `false` where the child ended first.
fn struck(fault: &Scripted, times: u64, child: &mut Child) -> bool {
    let mut ended = false;
    wait_until("a request that is struck", || {
        ended = child.try_wait().expect("look at a child").is_some();
        ended || fault.struck() >= times
    });
    !ended
}

/// Each key has its old or its new content, or none where it may have none.
fn assert_old_or_new(when: &str, found: &Contents) {
    let (old, new) = (old(), new());
    // The next run sweeps temporaries.
    for (key, content) in found.iter().filter(|(key, _)| !key.contains(".vidimus.")) {
        let sound = old.get(key) == Some(content) || new.get(key) == Some(content);
        assert!(sound, "{when}: {key} is neither old nor new");
    }
    for key in old.keys().filter(|key| new.contains_key(*key)) {
        assert!(found.contains_key(key), "{when}: {key} is gone");
    }
}

/// Kills a run at its first request, its second, and so on, each before it is carried out or behind.
fn sweep(way: Way) {
    let mut killed = 0;
    for hang in [Fault::Delay(FOR_EVER), Fault::Withheld(FOR_EVER)] {
        for n in 1.. {
            let scene = way.prepared();
            let at = scene.server.fail(On::any().turns(n..=n), hang.clone());
            let mut child = spawn(way.command(&scene));
            let when = format!("{way:?} killed at request {n}, {hang:?}");
            let reached = struck(&at, 1, &mut child);
            if reached {
                // What was begun beside it goes on to its end.
                wait_until("nothing beside it", || scene.server.under_way() == 1);
                kill_process(Pid::from_child(&child), Signal::KILL).expect("kill it");
            }
            Run::wait(child, when.clone()).expect(if reached { 137 } else { 0 });
            if !reached {
                break;
            }
            killed += 1;
            assert_old_or_new(&when, &way.found(&scene));
            scene.server.heal();
            let rerun = way.run(&scene);
            assert!(rerun.code() == 0, "{when}\n{}", rerun.told());
            assert!(way.found(&scene) == new(), "{when}: {:?}", way.found(&scene).keys());
            if way == Way::Down {
                let left = Snapshot::read(&scene.env.target).temporaries();
                assert!(left.is_empty(), "{when}: {left:?}");
            }
            let third = way.run(&scene).expect(0).finished();
            third.counts(&[("files_copied", 0), ("metadata_updated", 0), ("files_deleted", 0)]);
        }
    }
    assert!(killed >= 10, "only {killed} requests");
}

#[test]
fn a_run_up_that_is_killed_at_any_request_is_taken_up_by_the_next() {
    sweep(Way::Up);
}

#[test]
fn a_run_down_that_is_killed_at_any_request_is_taken_up_by_the_next() {
    sweep(Way::Down);
}

#[test]
fn a_run_across_that_is_killed_at_any_request_is_taken_up_by_the_next() {
    sweep(Way::Across);
}

/// Sends a signal once a fault has struck, and holds the run to ending soon; then the next one goes
/// on.
fn stopped(way: Way, on: &On, times: u64, fault: &Fault) {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scene = way.prepared();
        let script = scene.server.fail(on.clone(), fault.clone());
        let mut child = spawn(way.command(&scene));
        let when = format!("{way:?} {signal:?} while {fault:?} {on:?}");
        assert!(struck(&script, times, &mut child), "{when}: it ended");
        let run = stop(child, signal, &when).expect(code);
        assert_eq!(run.finished().record["verdict"], "interrupted", "{when}\n{}", run.told());
        assert_old_or_new(&when, &way.found(&scene));
        scene.server.heal();
        way.run(&scene).expect(0);
        assert!(way.found(&scene) == new(), "{when}");
    }
}

#[test]
fn signals_end_a_run_up_whose_requests_hang() {
    stopped(Way::Up, &On::every(Kind::Put), 1, &Fault::Delay(FOR_EVER));
    stopped(Way::Up, &On::every(Kind::Part), 1, &Fault::Delay(FOR_EVER));
    stopped(Way::Up, &On::every(Kind::Complete), 1, &Fault::Withheld(FOR_EVER));
}

#[test]
fn signals_end_a_run_down_whose_requests_hang() {
    stopped(Way::Down, &On::every(Kind::Get), 1, &Fault::Delay(FOR_EVER));
    stopped(Way::Down, &On::every(Kind::Get).key("large"), 1, &Fault::Stall(FOR_EVER));
}

#[test]
fn signals_end_a_run_across_whose_requests_hang() {
    stopped(Way::Across, &On::every(Kind::Copy), 1, &Fault::Delay(FOR_EVER));
    stopped(Way::Across, &On::every(Kind::DeleteMany), 1, &Fault::Delay(FOR_EVER));
}

#[test]
fn signals_end_a_run_that_backs_off() {
    stopped(Way::Up, &On::every(Kind::Put), 3, &Fault::Status(500));
    stopped(Way::Down, &On::every(Kind::Get), 1, &Fault::SlowDown(Some(60)));
    stopped(Way::Across, &On::every(Kind::Copy), 4, &Fault::Reset);
}

#[test]
fn signals_end_a_run_whose_first_listing_hangs() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for way in [Way::Up, Way::Down] {
            let scene = way.prepared();
            let script = scene.server.fail(On::every(Kind::List), Fault::Delay(FOR_EVER));
            let mut child = spawn(way.command(&scene));
            assert!(struck(&script, 1, &mut child), "it ended");
            stop(child, signal, &format!("{way:?}")).expect(code);
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let scene = Way::Up.prepared();
    let script = scene.server.fail(On::every(Kind::Put), Fault::Delay(FOR_EVER));
    // Nobody takes what it tells at its end: the first signal alone never ends it.
    let (_reader, writer) = full_pipe();
    let mut command = Way::Up.command(&scene);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("run it");
    assert!(struck(&script, 1, &mut child), "it ended");
    kill_process(Pid::from_child(&child), Signal::INT).expect("stop it");
    wait_until_it_took(&child, Signal::INT);
    kill_process(Pid::from_child(&child), Signal::INT).expect("the first doesn't end it");
    Run::wait(child, "a run that gets two signals".into()).expect(130);
}

/// A server that takes connections and says nothing on them.
#[test]
fn signals_end_a_run_whose_server_is_silent() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let endpoint = format!("http://{}", silent.local_addr().expect("it has an address"));
    let scene = Scene::new().with_files(&[("a", b"first")]);
    let mut command = scene.mirror_command(scene.source(), PLACE, &[]);
    command.env("AWS_ENDPOINT_URL", endpoint);
    let child = spawn(command);
    let (_connection, _) = silent.accept().expect("it comes");
    stop(child, Signal::TERM, "a silent server").expect(143);
}

/// A store that never answers is given up, not waited for without end.
#[test]
fn requests_that_hang_are_tried_again_after_half_a_minute() {
    let scene = Scene::new().with_files(&[("a", b"first")]);
    scene.bucket.put("p/x/y", "second");
    let hangs = scene.server.fail(On::nth(Kind::Put, 1), Fault::Delay(FOR_EVER));
    let (up, down) = std::thread::scope(|scope| {
        let other = S3Server::start();
        other.bucket("bucket").put("p/large", content(MEBIBYTE, 1));
        let stalls = other.fail(On::nth(Kind::Get, 1), Fault::Stall(FOR_EVER));
        let env = &scene.env;
        let down = scope.spawn(move || {
            let target = env.target.to_str().expect("test paths are UTF-8");
            let mut command = env.command(&["mirror", "--json", PLACE, target]);
            command.envs(other.environment());
            let run = Run::of(command);
            assert_eq!(stalls.struck(), 1);
            run
        });
        let up = scene.up(&[]);
        (up, down.join().expect("no panic"))
    });
    assert_eq!(hangs.struck(), 1);
    assert_eq!(up.expect(0).finished().count("requests_retried"), 1);
    assert_eq!(down.expect(0).finished().count("requests_retried"), 1);
    assert!(scene.downloaded("large").expect("written") == content(MEBIBYTE, 1));
    assert_eq!(scene.uploaded("a").content, "first");
}
