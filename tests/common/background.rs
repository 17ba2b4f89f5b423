//! Something that goes on beside a run: a racer, a writer; and waiting for what a run does.

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

/// How long what a run is bound to do soon may take on a busy machine.
const SOON: Duration = Duration::from_mins(4);

/// Ends what goes on, also where the test panics: the scope would wait for it forever.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `other` on a thread of its own until `body` ends; `other` looks at the flag it gets.
/// Yields what both yield.
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
        (other.join().expect("what goes on beside does not panic"), done)
    })
}

/// Tests each case on a thread of its own: for cases that wait much and work little.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what}: it never comes to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A pipe in which nothing has room: who writes to it waits for a reader. It is full as long as the
/// reader is held and not read from.
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

/// Waits until all that was written to a pipe is read.
pub fn wait_until_read(pipe: impl AsFd) {
    wait_until("a pipe that is read", || {
        rustix::io::ioctl_fionread(&pipe).expect("look at a pipe") == 0
    });
}

/// Waits until a run has begun to write something under a temporary name to a directory.
pub fn wait_until_it_writes_to(directory: &Path) {
    wait_until("a temporary", || {
        let names = std::fs::read_dir(directory).expect("list a directory");
        let mut names = names.map(|entry| entry.expect("list a directory").file_name());
        names.any(|name| name.as_bytes().starts_with(b".vidimus."))
    });
}

/// Half of what a client waits for a reply, and less than a store may have it wait: who takes longer to
/// stop has waited for that.
const WAITED_FOR_A_REPLY: Duration = Duration::from_secs(15);

/// Tells a child to stop and waits for its end, which no reply may hold up.
#[track_caller]
pub fn stop(child: Child, signal: Signal, what: &str) -> Run {
    let told = Instant::now();
    kill_process(Pid::from_child(&child), signal).expect("tell a child to stop");
    let run = Run::wait(child, format!("{what}, told to stop by {signal:?}"));
    let took = told.elapsed();
    assert!(took < WAITED_FOR_A_REPLY, "stopped after {took:?}\n{}", run.told());
    run
}

/// Waits until a child stops by itself when it is told to end.
pub fn wait_until_it_listens(child: &Child) {
    wait_until("a child that listens", || is_in(child, "SigCgt:", Signal::TERM));
}

/// Waits until a child has taken a signal that was sent to it.
pub fn wait_until_it_took(child: &Child, signal: Signal) {
    wait_until("a child that takes a signal", || !is_in(child, "ShdPnd:", signal));
}

/// Whether a child's status has a signal in this set.
fn is_in(child: &Child, set: &str, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("the child runs");
    let set = status.lines().find_map(|line| line.strip_prefix(set)).expect("a set");
    let set = u64::from_str_radix(set.trim(), 16).expect("a number");
    set & 1 << (signal.as_raw() - 1) != 0
}
