//! The holder of a lock, as recorded in the lock's file or object.

use crate::model::key::Escaped;
use crate::model::{RunId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, fs};

/// A run that holds a lock.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Holder {
    run: RunId,
    pid: u32,
    host: String,
    started: String,
    /// The process, identified among all others of this machine; `None` if `/proc` is missing, and
    /// in locks of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

/// Identifies a process beyond its number, which is reused, and by containers even at the same
/// time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    /// The kernel's id of this boot.
    boot: String,
    /// The namespace of process numbers.
    namespace: String,
    /// When it started, in clock ticks since the boot (proc(5), `stat`, field 22).
    started: String,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command's name in parentheses, which may contain spaces and
        // parentheses.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            // A zombie: the process has ended.
            return None;
        }
        let started = fields.nth(18)?.to_owned();
        Some(Self { boot, namespace, started })
    }
}

/// A run that died without releasing its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The run's id.
    pub run: RunId,
    /// When it took the lock, rounded down to the second.
    pub started: Timestamp,
}

impl Holder {
    /// Makes the holder for a run of this process.
    pub(super) fn this(run: &RunId) -> Self {
        let pid = std::process::id();
        Self {
            run: run.clone(),
            pid,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            process: Process::of(pid),
        }
    }

    /// Returns the holder's run.
    pub(super) fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the run that left its lock behind, if its process is known to be dead.
    pub(super) fn left_behind(&self) -> Option<LeftBehind> {
        let started = self.started.parse::<jiff::Timestamp>().ok()?;
        let started = Timestamp { seconds: started.as_second(), nanos: 0 };
        // The content may have been written by another program.
        let run = RunId(Escaped(self.run.0.as_bytes()).to_string());
        Some(LeftBehind { run, started })
    }

    /// Returns whether the process is certainly dead: it ran on this machine and doesn't exist any
    /// more.
    pub(super) fn is_dead(&self) -> bool {
        self.exists() == Some(false)
    }

    /// Returns whether the process certainly exists.
    pub(super) fn is_alive(&self) -> bool {
        self.exists() == Some(true)
    }

    /// Returns whether the process exists; `None` if this process can't know.
    fn exists(&self) -> Option<bool> {
        let (process, this) = (self.process.as_ref()?, Process::of(std::process::id())?);
        let is_here = (&process.boot, &process.namespace) == (&this.boot, &this.namespace);
        is_here.then(|| Process::of(self.pid).as_ref() == Some(process))
    }

    /// Parses the content of a lock; `None` if it is not understood.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    /// Describes the holder of a lock, for messages.
    pub(super) fn describe(content: &[u8]) -> String {
        let holder = Self::read(content);
        holder.map_or_else(
            || "an unknown run (its record can't be read)".to_owned(),
            |it| it.to_string(),
        )
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, pid, host, started, .. } = self;
        let [run, host, started] = [&run.0, host, started].map(|text| Escaped(text.as_bytes()));
        write!(out, "run {run} (process {pid} on {host}, since {started})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_run_left_tells_its_id_and_start_and_moves_no_cursor() {
        let holder = |started: &str| Holder {
            started: started.to_owned(),
            ..Holder::this(&RunId("one\u{1b}".to_owned()))
        };
        let started = Timestamp { seconds: 1_795_923_480, nanos: 0 };
        let run = RunId("one\\u{1b}".to_owned());
        let left_behind = holder("2026-11-29T03:38:00Z").left_behind();
        assert_eq!(left_behind, Some(LeftBehind { run, started }));
        assert_eq!(holder("yesterday").left_behind(), None);
    }

    #[test]
    fn a_holder_is_dead_only_if_its_process_is_known_to_be_gone() {
        let mut holder = Holder::this(&RunId("one".to_owned()));
        assert!(!holder.is_dead() && holder.is_alive(), "it is this very process");
        let content = serde_json::to_vec(&holder).unwrap();
        assert!(!Holder::read(&content).unwrap().is_dead());
        let process = holder.process.as_mut().unwrap();
        process.started.push('0');
        assert!(holder.is_dead() && !holder.is_alive(), "its number is another process's now");
        holder.process.as_mut().unwrap().boot.clear();
        assert!(!holder.is_dead() && !holder.is_alive(), "it ran on another machine, or before");
        holder.process = None;
        assert!(!holder.is_dead());
    }
}
