//! `ls`, `cat` and `put` of this machine's files.

use crate::common::background::{wait_until, wait_until_it_writes_to};
use crate::common::environment::text;
use crate::common::{Environment, Run, Snapshot, TestTree, tools};
use crate::locks::{large, send, under_way};
use crate::needs;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Runs with this on standard input.
pub(crate) fn fed(env: &Environment, content: &[u8], arguments: &[&str]) -> Run {
    let path = env.root.join("input");
    fs::write(&path, content).unwrap();
    let mut command = env.command(arguments);
    command.stdin(File::open(path).unwrap());
    Run::of(command)
}

/// What lies in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_command_tells_times_in_utc_wherever_it_runs() {
    let env = Environment::new();
    TestTree::new().file("a", "1").mtime(1_600_000_000, 5).write(&env.source);
    let abroad = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        command.env("TZ", "America/New_York");
        Run::of(command)
    };
    abroad(&["mirror", "source", "target"]).expect(0);
    abroad(&["ls", "--long", "target"]).expect(0).names("2020-09-13T12:26:40Z");
    let explained = abroad(&["explain", "source", "target", "a"]).expect(0);
    explained.names("mtime 2020-09-13T12:26:40.000000005Z");
    TestTree::new().file("a", "1").mtime(1_600_000_001, 5).write(&env.target);
    abroad(&["verify", "target"]).expect(3).names("2020-09-13T12:26:40.000000005Z");
    abroad(&["diff", "source", "target"]).expect(3).names("2020-09-13T12:26:41.000000005Z");
    // What a run's id, and the day in New York, tell of one moment.
    for command in ["show", "log"] {
        let told = abroad(&["manifest", command, "target"]).expect(0).stdout;
        let id = told.split_whitespace().find(|word| word.contains('T') && word.contains("Z-"));
        let id = id.expect("a run").to_owned();
        let hour = format!("{}-{}-{}T{}:", &id[..4], &id[4..6], &id[6..8], &id[9..11]);
        let next = told.contains(&hour) || id[11..13] == *"59";
        assert!(next, "{told}");
    }
}

#[test]
fn ls_lists_one_level_or_all_in_byte_order() {
    let env = Environment::new();
    TestTree::new()
        .file("a", "12345")
        .file("a-b/deep/er", "")
        .file("a.c", "")
        .file("new\nline", "")
        .symlink("link", "a")
        .file(".vidimus/own", "")
        .write(&env.source);
    let list = |arguments: &[&str]| env.vidimus(&[&["ls"], arguments].concat()).expect(0).stdout;
    assert_eq!(list(&["source"]), "a\na-b/\na.c\nlink\nnew\\nline\n");
    assert_eq!(list(&["source/", "-0"]), "a\0a-b/\0a.c\0link\0new\nline\0");
    let all = "a\na-b/\na-b/deep/\na-b/deep/er\na.c\nlink\nnew\\nline\n";
    assert_eq!(list(&["--recursive", "source"]), all);
    assert_eq!(list(&["source/a"]), "a\n");
    let long = list(&["-l", "--human", "source"]);
    let lines: Vec<Vec<_>> = long.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((&lines[0][..2], lines[0].last()), (&["5", "B"][..], Some(&"a")));
    assert_eq!((lines[1][0], lines[1].last()), ("-", Some(&"a-b/")));
    assert_eq!(lines[3][2..], ["link", "->", "a"]);
    let run = env.vidimus(&["ls", "--json", "source"]).expect(0);
    run.finished().counts(&[("entries", 5), ("bytes", 5), ("failed", 0)]);
    let kinds: Vec<_> = run.records().iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds[..4], ["file", "directory", "file", "symlink"]);
}

#[test]
fn ls_of_a_name_that_is_not_utf8_is_told_without_loss() {
    let env = Environment::new();
    TestTree::new().file(b"\xff\xfe", "").write(&env.source);
    let records = env.vidimus(&["ls", "--json", "source"]).expect(0).records();
    assert_eq!(
        (&records[0]["key"], &records[0]["key_hex"]),
        (&"\\xff\\xfe".into(), &"fffe".into())
    );
    let mut command = env.command(&["ls", "--null", "source"]);
    assert_eq!(command.output().unwrap().stdout, b"\xff\xfe\0");
    // The typed one of two that exclude each other holds.
    let mut command = env.command(&["ls", "--null", "source"]);
    command.env("VIDIMUS_JSON", "true");
    assert_eq!(command.output().unwrap().stdout, b"\xff\xfe\0");
}

#[test]
fn what_is_missing_or_cannot_be_read_is_named() {
    let env = Environment::new();
    TestTree::new().file("a", "x").dir("d").fifo("pipe").write(&env.source);
    for command in ["ls", "cat"] {
        env.vidimus(&[command, "source/b"]).expect(7).names("source/b").names("help:");
    }
    env.vidimus(&["cat", "source/d"]).expect(7).names("is a directory").names("vidimus ls");
    env.vidimus(&["cat", "source/pipe"]).expect(7).names("named pipe");
    env.vidimus(&["ls", "gs://bucket/x"]).expect(2).names("gs://");
    env.vidimus(&["cat", "s3://id:canary@bucket/x"]).expect(2).is_silent_about("canary");
}

#[test]
fn cat_writes_a_file_as_it_is() {
    let env = Environment::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(env.source.join("file"), &content).unwrap();
    std::os::unix::fs::symlink("file", env.source.join("link")).unwrap();
    for path in ["source/file", "source/link"] {
        assert!(env.command(&["cat", path]).output().unwrap().stdout == content);
    }
    let mut command = env.command(&["cat", "source/file"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    Run::wait(child, "cat, left".into()).expect(0).is_silent_about("error");
}

#[test]
fn put_makes_or_replaces_a_file_that_verify_knows() {
    let env = Environment::new();
    for content in [&b"first"[..], b"the second, which is longer"] {
        let run = fed(&env, content, &["put", "--json", "-", "outside/dump"]).expect(0);
        let digest = blake3::hash(content).to_hex();
        assert_eq!(run.finished().record["digest"], digest.as_str());
        assert_eq!(fs::read(env.outside.join("dump")).unwrap(), content);
        let mode = fs::metadata(env.outside.join("dump")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        let verified = env.vidimus(&["verify", "--json", "outside"]).expect(0).finished();
        verified.counts(&[("verified", 1), ("entries", 1), ("extra", 0)]);
    }
    assert_eq!(names(&env.outside), [".vidimus", "dump"], "nothing is made beside the lock");
    fs::write(env.outside.join("other"), "x").unwrap();
    env.vidimus(&["verify", "outside"]).expect(0).names("extra     1 entry");
    fs::write(env.outside.join("dump"), "the second, which was changed").unwrap();
    env.vidimus(&["verify", "outside"]).expect(3).names("corrupt dump");
    let run = fed(&env, b"x", &["put", "-", "outside/dump"]).expect(0);
    run.names("put outside/dump").names("size    1 B");
}

#[test]
fn put_gives_no_more_rights_than_the_umask_leaves() {
    let env = Environment::new();
    let binary = env!("CARGO_BIN_EXE_vidimus");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("umask 077; echo x | {binary} put - outside/secret")]);
    Run::of(env.hermetic(command)).expect(0);
    let mode = fs::metadata(env.outside.join("secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn put_that_fails_or_is_stopped_leaves_what_stood() {
    let env = Environment::new();
    fs::write(env.outside.join("old"), "old").unwrap();
    let mut command = env.command(&["put", "-", "outside/old"]);
    command.stdin(File::open(&env.source).unwrap());
    Run::of(command).expect(7).names("standard input");

    let mut command = env.command(&["put", "-", "outside/old"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&vec![7; 3 << 20]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Its input goes on: `input` is still open.
    Run::wait(child, "put, stopped".into()).expect(130).names("stopped");
    drop(input);

    assert_eq!(fs::read(env.outside.join("old")).unwrap(), b"old");
    assert!(Snapshot::read(&env.outside).temporaries().is_empty());
    env.vidimus(&["verify", "outside"]).expect(4).names("no run into");
}

#[test]
fn put_names_one_file() {
    let env = Environment::new();
    for location in ["outside", "outside/", "outside/..", "/"] {
        fed(&env, b"x", &["put", "-", location]).expect(2).names("names a directory");
    }
    fed(&env, b"x", &["put", "-", "outside/.vidimus"]).expect(2).names("is reserved for vidimus");
    TestTree::new().fifo("pipe").write(&env.source);
    fed(&env, b"x", &["put", "-", "source/pipe"]).expect(7).names("there is already a named pipe");
    fed(&env, b"x", &["put", "-", "nowhere/file"]).expect(7).names("make its directory");
    fed(&env, b"x", &["put", "input", "outside/file"]).expect(2).names("put - LOCATION");
    assert_eq!(fs::read_dir(&env.outside).unwrap().count(), 0);
}

/// A `put` that holds the lock of `outside` and waits for its stream.
fn waiting(env: &Environment, name: &str) -> Child {
    let mut command = env.command(&["put", "-q", "-", &format!("outside/{name}")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let lock = env.outside.join(".vidimus/lock");
    wait_until("a lock that is taken", || fs::metadata(&lock).map_or(0, |lock| lock.len()) > 0);
    child
}

#[test]
fn one_writer_at_a_time_puts_in_a_directory_or_mirrors_to_it() {
    let env = Environment::new();
    fs::write(env.source.join("mirrored"), "x").unwrap();
    let mut first = waiting(&env, "first");
    let holder = format!("process {}", first.id());
    fed(&env, b"x", &["put", "-", "outside/second"]).expect(5).names("locked by").names(&holder);
    env.vidimus(&["mirror", "source", "outside"]).expect(5).names(&holder);
    env.vidimus(&["verify", "outside"]).expect_one_of(&[4, 5]);
    fed(&env, b"x", &["put", "-", "source/elsewhere"]).expect(0);
    first.stdin.take().unwrap().write_all(b"content").unwrap();
    Run::wait(first, "the first put".into()).expect(0);
    assert_eq!(names(&env.outside), [".vidimus", "first"]);
    fed(&env, b"x", &["put", "-", "outside/second"]).expect(0);

    // A put keeps out of a directory that a mirror writes to, and takes over a dead one's lock.
    let env = large();
    let mirror = under_way(&env, &[]);
    send(&mirror, Signal::STOP);
    let holder = format!("process {}", mirror.id());
    fed(&env, b"x", &["put", "-", "target/put"]).expect(5).names(&holder);
    send(&mirror, Signal::KILL);
    Run::wait(mirror, "a killed mirror".into()).expect(137);
    fed(&env, b"x", &["put", "-", "target/put"]).expect(0).names("took over the lock");
}

#[test]
fn many_that_put_at_once_are_recorded_if_they_say_so() {
    let env = Environment::new();
    let put = |name: &str| {
        let mut command = env.command(&["put", "-q", "-", &format!("outside/{name}")]);
        command.stdin(File::open(env.source.join("input")).unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    fs::write(env.source.join("input"), "content").unwrap();
    let children: Vec<_> = (0..8).map(|number| put(&format!("dump{number}"))).collect();
    let runs = children.into_iter().map(|child| Run::wait(child, "put".into()));
    let runs = runs.map(|run| run.expect_one_of(&[0, 5]).is_silent_about("damaged").code());
    let done = runs.filter(|code| *code == 0).count() as u64;
    assert!(done >= 1);
    let verified = env.vidimus(&["verify", "--json", text(&env.outside)]).expect(0).finished();
    verified.counts(&[("verified", done), ("entries", done), ("extra", 0)]);
    assert_eq!(verified.record["source"], "-");
}

#[test]
fn put_is_no_faster_than_its_bandwidth_and_stops_while_it_waits() {
    let env = Environment::new();
    let content = vec![7; 4 << 20];
    let begun = Instant::now();
    fed(&env, &content, &["put", "--bwlimit", "2MiB/s", "-", "outside/slow"]).expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(1800), "{:?}", begun.elapsed());

    let mut command = env.command(&["put", "--bwlimit", "1kB/s", "-", "outside/slower"]);
    command.stdin(File::open(env.root.join("input")).unwrap());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_writes_to(&env.outside);
    // By itself it would end after an hour.
    send(&child, Signal::INT);
    Run::wait(child, "put, let through slowly".into()).expect(130).names("nothing was put");
    assert_eq!(names(&env.outside), [".vidimus", "slow"]);
}

#[test]
fn put_shows_how_far_it_is_in_a_terminal_only() {
    needs!(tools::tool("script"));
    let env = Environment::new();
    fs::write(env.root.join("input"), vec![7; 4 << 20]).unwrap();
    let binary = env!("CARGO_BIN_EXE_vidimus");
    let in_terminal = |flags: &str| {
        let input = text(&env.root.join("input")).to_owned();
        let line = format!("'{binary}' put {flags} --bwlimit 2MiB/s - outside/dump < '{input}'");
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        let mut command = env.hermetic(command);
        command.env("TERM", "xterm-256color").env("COLUMNS", "100").env("LINES", "30");
        Run::of(command).expect(0).stdout
    };
    let seen = in_terminal("");
    assert!(seen.contains("\x1b[") && seen.contains("1.0 MiB"), "{seen:?}");
    assert!(seen.contains("MiB/s") && seen.contains("outside/dump"), "{seen:?}");
    for flags in ["--no-progress", "-q", "--json"] {
        assert!(!in_terminal(flags).contains('\x1b'), "{flags}");
    }
    let run = fed(&env, b"x", &["put", "-", "outside/dump"]).expect(0);
    assert!(run.stderr.is_empty() && !run.stdout.contains('\x1b'), "{}", run.told());
}
