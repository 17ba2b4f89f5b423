//! Threads and processes beside a run (a racer, a writer), and waiting for what a run does.

use super::environment::Run;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{ErrorKind, PipeReader, PipeWriter, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time, on a busy machine, for something that a run is certain to do soon.
const SOON: Duration = Duration::from_mins(4);

/// Ends the other thread when dropped, also if the test panics: the scope would wait for it
/// forever.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `other` on a thread of its own until `body` ends, which sets the flag that `other` is
/// given. Returns the results of both.
pub fn beside<T: Send, U>(
    other: impl FnOnce(&AtomicBool) -> T + Send,
    body: impl FnOnce() -> U,
) -> (T, U) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| other(&over));
        let done = {
            let _end = End(&over);
            body()
        };
        (other.join().expect("the other thread does not panic"), done)
    })
}

/// Tests each case on a thread of its own, for cases that mostly wait.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// Waits until `is_so` returns true.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what}: it never happens");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a full pipe: writing to it waits for a reader, as long as the returned one isn't read
/// from.
pub fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("make a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("set flags");
    loop {
        match writer.write(b"x") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("cannot fill a pipe: {error}"),
        }
    }
    fcntl_setfl(&writer, OFlags::empty()).expect("set flags");
    (reader, writer)
}

/// Waits until everything that was written to a pipe has been read.
pub fn wait_until_read(pipe: impl AsFd) {
    wait_until("a pipe that is read", || {
        rustix::io::ioctl_fionread(&pipe).expect("look at a pipe") == 0
    });
}

/// Waits until a run has begun to write a temporary file in a directory.
pub fn wait_until_it_writes_to(directory: &Path) {
    wait_until("a temporary", || {
        let names = std::fs::read_dir(directory).expect("list a directory");
        let mut names = names.map(|entry| entry.expect("list a directory").file_name());
        names.any(|name| name.as_bytes().starts_with(b".vidimus."))
    });
}

/// Half of the time that a client waits for a reply, and less than a store may delay one: a child
/// that takes longer to stop has waited for a reply.
const REPLY_WAIT: Duration = Duration::from_secs(15);

/// Sends a child a signal and waits for its end, which no pending reply may delay.
#[track_caller]
pub fn stop(child: Child, signal: Signal, what: &str) -> Run {
    let sent = Instant::now();
    kill_process(Pid::from_child(&child), signal).expect("send a child a signal");
    let run = Run::wait(child, format!("{what}, told to stop by {signal:?}"));
    let took = sent.elapsed();
    assert!(took < REPLY_WAIT, "stopped after {took:?}\n{}", run.told());
    run
}

/// Waits until a child handles SIGTERM itself.
pub fn wait_until_it_listens(child: &Child) {
    wait_until("a child that listens", || is_in(child, "SigCgt:", Signal::TERM));
}

/// Waits until a child has received a signal that was sent to it.
pub fn wait_until_it_took(child: &Child, signal: Signal) {
    wait_until("a child that takes a signal", || !is_in(child, "ShdPnd:", signal));
}

/// Returns whether a signal set in a child's status contains a signal.
fn is_in(child: &Child, set: &str, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("the child runs");
    let set = status.lines().find_map(|line| line.strip_prefix(set)).expect("a set");
    let set = u64::from_str_radix(set.trim(), 16).expect("a number");
    set & 1 << (signal.as_raw() - 1) != 0
}
