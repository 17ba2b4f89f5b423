//! A hermetic environment for the binary, with its own home, state and time zone, and none of the
//! caller's variables.

use super::background::{beside, wait_until};
use super::tools;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// The longest time for a run on the busiest machine; one that takes longer hangs.
const DEADLINE: Duration = Duration::from_mins(5);

/// Free memory that is required, in bytes: twice what the tests of one process use.
const MEMORY: u64 = 4 << 30;

/// A duration beyond the clock tick within which a stamp isn't trusted.
const AGED: Duration = Duration::from_millis(30);

/// A temporary directory with `source`, `target` (not made), `outside`, `home` and `state`.
pub struct Environment {
    pub root: PathBuf,
    pub source: PathBuf,
    pub target: PathBuf,
    pub outside: PathBuf,
    pub state: PathBuf,
    /// Variables that each command gets beside those of every test.
    pub variables: Vec<(&'static str, &'static str)>,
    directory: tempfile::TempDir,
}

impl Environment {
    /// Makes an environment in memory, where syncs cost nothing: on a shared disk small runs mostly
    /// wait for them. If `TMPDIR` is set or memory is short, it is made in the directory of
    /// temporary files.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let is_roomy = || {
            let room = rustix::fs::statvfs(memory);
            room.is_ok_and(|room| room.f_bavail * room.f_frsize >= MEMORY)
        };
        if std::env::var_os("TMPDIR").is_none() && is_roomy() {
            Self::within(memory)
        } else {
            Self::on_disk()
        }
    }

    /// Makes an environment on the disk of temporary files.
    pub fn on_disk() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// Makes an environment in a new directory in `parent`.
    pub fn within(parent: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("vidimus-test-").tempdir_in(parent);
        let directory = directory.expect("make a temporary directory");
        // Tests that drop root's rights must be able to enter it.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("open the directory");
        let root = directory.path().canonicalize().expect("resolve the directory");
        let [source, target, outside, state] =
            ["source", "target", "outside", "state"].map(|name| root.join(name));
        for made in [&source, &outside, &state, &root.join("home")] {
            std::fs::create_dir(made).expect("make a directory");
        }
        Self { root, source, target, outside, state, variables: Vec::new(), directory }
    }

    /// Removes the records of earlier runs from the state directory and the target.
    pub fn lose_records(&self) {
        for directory in [&self.state, &self.target.join(".vidimus/manifest")] {
            if directory.exists() {
                std::fs::remove_dir_all(directory).expect("remove a directory");
            }
        }
        std::fs::create_dir(&self.state).expect("make a directory");
    }

    /// Waits until stamps are old enough to be trusted.
    pub fn age(&self) {
        std::thread::sleep(AGED);
    }

    /// Sets a command's environment and working directory.
    pub fn hermetic(&self, mut command: Command) -> Command {
        command.env_clear().current_dir(&self.root).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.join("home")).env("XDG_STATE_HOME", &self.state);
        command.env("TZ", "UTC").env("LANG", "C.UTF-8");
        // No test may ask another machine for credentials.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().copied());
        command
    }

    /// Returns the binary with arguments, ready to run.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidimus"));
        command.args(arguments);
        self.hermetic(command)
    }

    /// Runs the binary.
    pub fn vidimus<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Returns the arguments of `mirror --json SOURCE TARGET` and `flags`.
    pub fn mirror_arguments(&self, flags: &[&str]) -> Vec<String> {
        let mut arguments: Vec<_> = ["mirror", "--json"].map(String::from).into();
        arguments.extend([text(&self.source), text(&self.target)].map(String::from));
        arguments.extend(flags.iter().copied().map(String::from));
        arguments
    }

    /// Runs `mirror --json SOURCE TARGET` with `flags`.
    pub fn mirror(&self, flags: &[&str]) -> Run {
        self.vidimus(&self.mirror_arguments(flags))
    }

    /// Mirrors successfully, and returns the final record.
    #[track_caller]
    pub fn mirrored(&self, flags: &[&str]) -> Finished {
        self.mirror(flags).expect(0).finished()
    }

    /// Runs `verify --json TARGET` with `flags`.
    pub fn verify(&self, flags: &[&str]) -> Run {
        let mut arguments = vec!["verify", text(&self.target)];
        arguments.extend(flags);
        self.vidimus(&arguments)
    }

    /// Returns the binary under strace, whose output goes to [`Environment::trace`].
    pub fn strace_command<A: AsRef<OsStr>>(&self, options: &[&str], arguments: &[A]) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(self.root.join("trace")).args(options);
        command.arg(env!("CARGO_BIN_EXE_vidimus")).args(arguments);
        self.hermetic(command)
    }

    /// Runs the binary under strace.
    pub fn strace<A: AsRef<OsStr>>(&self, options: &[&str], arguments: &[A]) -> Run {
        Run::of(self.strace_command(options, arguments))
    }

    /// Runs the binary under strace, which stops the process with all threads after each of these
    /// calls (`openat:when=1`; `options` may select them by `-P`). At each stop `meanwhile` is
    /// called with its number, from 1; then the process continues.
    #[track_caller]
    pub fn strace_stopping<A: AsRef<OsStr>>(
        &self,
        calls: &str,
        options: &[&str],
        arguments: &[A],
        meanwhile: impl FnMut(u32) + Send,
    ) -> Run {
        let (calls, when) = calls.split_once(':').unwrap_or((calls, "when=1+"));
        let [trace, inject] =
            [format!("trace={calls}"), format!("inject={calls}:signal=STOP:{when}")];
        let options = [&["-e", &*trace, "-e", &*inject], options].concat();
        let command = self.strace_command(&options, arguments);
        let (stops, run) = beside(|over| self.at_each_stop(over, meanwhile), || Run::of(command));
        assert!(stops > 0, "it was never stopped at {calls}\n{}", run.told());
        run
    }

    /// Waits for each stop of the traced run until that ends; returns the number of stops.
    fn at_each_stop(&self, over: &AtomicBool, mut meanwhile: impl FnMut(u32)) -> u32 {
        let mut stops = 0;
        while !over.load(Ordering::Relaxed) {
            let trace = std::fs::read(self.root.join("trace")).unwrap_or_default();
            let trace = String::from_utf8_lossy(&trace);
            let is_stop = |line: &&str| line.contains(" --- SIGSTOP {");
            let thread = trace.lines().filter(is_stop).nth(stops as usize);
            let Some(thread) = thread.and_then(|line| line.split(' ').next()?.parse().ok()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let stopped = Stopped::wait_for(thread);
            stops += 1;
            meanwhile(stops);
            drop(stopped);
        }
        stops
    }

    /// Returns the output of strace.
    pub fn trace(&self) -> String {
        let trace = std::fs::read(self.root.join("trace")).expect("read the trace");
        String::from_utf8_lossy(&trace).into_owned()
    }

    /// Runs the binary as `nobody`, who owns the state and the directory for `target`.
    pub fn as_nobody<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Run, String> {
        tools::root()?;
        tools::tool("setpriv")?;
        let binary = self.root.join("vidimus");
        if !binary.exists() {
            // `cp` makes the copy: a child that another thread forks at that moment would inherit
            // this process's open handle of it, and the copy could not be executed.
            let copied =
                Command::new("cp").arg(env!("CARGO_BIN_EXE_vidimus")).arg(&binary).status();
            assert!(copied.expect("run cp").success(), "copy the binary");
        }
        let below = walkdir::WalkDir::new(&self.state).into_iter();
        let state = below.map(|entry| entry.expect("list the state").into_path());
        for owned in state.chain([self.root.clone(), self.root.join("home")]) {
            std::os::unix::fs::chown(owned, Some(NOBODY), Some(NOBODY)).expect("give it away");
        }
        let mut command = Command::new("setpriv");
        let id = NOBODY.to_string();
        command.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]);
        command.arg(binary).args(arguments);
        Ok(Run::of(self.hermetic(command)))
    }
}

/// A stopped process, which continues on drop.
struct Stopped(Pid);

impl Stopped {
    /// Waits until the process of a thread is stopped, with all its threads.
    fn wait_for(thread: u32) -> Self {
        let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
        let status = read(format!("/proc/{thread}/status"));
        let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        let process = process.and_then(|id| id.trim().parse().ok()).expect("a stopped run goes on");
        // From here on the process continues whatever fails.
        let stopped = Self(Pid::from_raw(process).expect("no process has the id 0"));
        let tasks = format!("/proc/{process}/task");
        wait_until("a run that is stopped", || {
            let mut tasks = std::fs::read_dir(&tasks).expect("list threads");
            tasks.all(|task| {
                let status = task.map(|task| read(format!("{}/status", task.path().display())));
                status.is_ok_and(|status| status.contains("\nState:\tt ") || status.is_empty())
            })
        });
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).expect("a stopped run goes on");
    }
}

/// Returns a command that can have no more than `max` open files (as hard limit, too).
pub fn with_descriptors(command: &Command, max: u32) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {max} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        limited.current_dir(directory);
    }
    limited.stdin(Stdio::null());
    limited
}

/// The user id of `nobody`.
pub const NOBODY: u32 = 65534;

/// Returns a test path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self::wait(child.unwrap_or_else(|error| panic!("cannot run {shown}: {error}")), shown)
    }

    /// Waits for a child that was spawned with both outputs piped.
    pub fn wait(child: Child, command: String) -> Self {
        Self::end(child, command, |_| ())
    }

    /// Waits for a child with `--json`, and sends it a signal at its first record of an event.
    pub fn signalled_at(
        child: Child,
        (event, signal): (&'static str, Signal),
        command: String,
    ) -> Self {
        let pid = Pid::from_child(&child);
        let mut pending = Some(signal);
        Self::end(child, command, move |line| {
            let is_wanted = |record: Value| record["event"] == event;
            if serde_json::from_slice(line).is_ok_and(is_wanted)
                && let Some(signal) = pending.take()
            {
                kill_process(pid, signal).expect("the child still runs");
            }
        })
    }

    /// Waits for a child; calls `shown` with each line of its standard output.
    fn end(mut child: Child, command: String, shown: impl FnMut(&[u8]) + Send + 'static) -> Self {
        let pid = Pid::from_child(&child);
        let stdout = drain(child.stdout.take(), shown);
        let stderr = drain(child.stderr.take(), |_| ());
        let (ended, watch) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let hangs = watch.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if hangs {
                let _gone = kill_process(pid, Signal::KILL);
            }
            hangs
        });
        let status = child.wait().expect("wait for a child");
        drop(ended);
        let hangs = watchdog.join().expect("the watchdog does not panic");
        let stdout = String::from_utf8_lossy(&stdout.join().expect("read")).into_owned();
        let stderr = String::from_utf8_lossy(&stderr.join().expect("read")).into_owned();
        let run = Self { status, stdout, stderr, command };
        assert!(!hangs, "hangs, killed after {DEADLINE:?}\n{}", run.told());
        run
    }

    /// Returns the exit code; 128 and the number of the signal for a run that a signal ended.
    pub fn code(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| 128 + signal)).expect("it ended")
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code() == code, "expected exit {code}\n{}", self.told());
        self
    }

    /// Asserts one of several exit codes.
    #[track_caller]
    pub fn expect_one_of(self, codes: &[i32]) -> Self {
        assert!(codes.contains(&self.code()), "expected one of exits {codes:?}\n{}", self.told());
        self
    }

    /// Asserts that either output contains `what`.
    #[track_caller]
    pub fn names(self, what: &str) -> Self {
        let named = self.stderr.contains(what) || self.stdout.contains(what);
        assert!(named, "expected {what:?} to be named\n{}", self.told());
        self
    }

    /// Asserts that neither output contains `what`.
    #[track_caller]
    pub fn is_silent_about(self, what: &str) -> Self {
        let named = self.stderr.contains(what) || self.stdout.contains(what);
        assert!(!named, "expected nothing of {what:?}\n{}", self.told());
        self
    }

    /// Returns the records of a run with `--json`.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("no JSON: {line}: {error}\n{}", self.told()))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// Returns the final record of a run with `--json`.
    #[track_caller]
    pub fn finished(&self) -> Finished {
        let last = self.records().pop();
        let last = last.filter(|record| record["event"] == "finished");
        let told = self.told();
        Finished { record: last.unwrap_or_else(|| panic!("no final record\n{told}")), told }
    }

    /// Returns everything that is known about the run, for messages.
    pub fn told(&self) -> String {
        let mut told = format!("{}\n{}\n", self.command, self.status);
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let end = output.char_indices().nth(4000).map_or(output.len(), |(at, _)| at);
            writeln!(told, "--- {name}\n{}", output[..end].trim_end()).expect("write to a string");
        }
        told
    }
}

/// Reads an output to its end; calls `shown` with each line.
fn drain(
    from: Option<impl Read + Send + 'static>,
    mut shown: impl FnMut(&[u8]) + Send + 'static,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let Some(mut from) = from.map(BufReader::new) else { return all };
        loop {
            let begins = all.len();
            if from.read_until(b'\n', &mut all).expect("read a child's output") == 0 {
                return all;
            }
            shown(&all[begins..]);
        }
    })
}

/// The final record of a run with `--json`.
#[derive(Debug)]
pub struct Finished {
    pub record: Value,
    told: String,
}

impl Finished {
    /// Returns a count from the record.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let value = self.record[name].as_u64();
        value.unwrap_or_else(|| panic!("no count {name:?} in {}", self.record))
    }

    /// Asserts counts of the record.
    #[track_caller]
    pub fn counts(&self, expected: &[(&str, u64)]) -> &Self {
        for &(name, count) in expected {
            let found = self.count(name);
            assert!(found == count, "expected {name} {count}, found {found}\n{}", self.told);
        }
        self
    }
}
