//! Who holds a lock: what the lock's file or object says.

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
    /// The process, told apart from every other one of this machine; `None` where `/proc` is missing
    /// and of versions that didn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

/// What tells a process from others: a number is used again, by containers even at the same time.
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
        // The command's name comes second, in parentheses, and may hold any of them.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            // It has ended, and only waits for its parent to ask.
            return None;
        }
        let started = fields.nth(18)?.to_owned();
        Some(Self { boot, namespace, started })
    }
}

/// A run that died without releasing its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its id.
    pub run: RunId,
    /// When it took the lock, rounded down to the second.
    pub started: Timestamp,
}

impl Holder {
    /// This process, for a run.
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

    /// Its run.
    pub(super) fn run(&self) -> &RunId {
        &self.run
    }

    /// The run that left its lock behind, once its holder is known to be dead.
    pub(super) fn left(&self) -> Option<LeftBehind> {
        let started = self.started.parse::<jiff::Timestamp>().ok()?;
        let started = Timestamp { seconds: started.as_second(), nanos: 0 };
        // Whoever writes there may have written anything.
        let run = RunId(Escaped(self.run.0.as_bytes()).to_string());
        Some(LeftBehind { run, started })
    }

    /// Whether it is known for certain to have died: it ran on this machine and is there no more.
    pub(super) fn is_dead(&self) -> bool {
        self.goes_on() == Some(false)
    }

    /// Whether it is known for certain to go on.
    pub(super) fn is_alive(&self) -> bool {
        self.goes_on() == Some(true)
    }

    /// Whether its process is there; `None` where this one can't know.
    fn goes_on(&self) -> Option<bool> {
        let (process, this) = (self.process.as_ref()?, Process::of(std::process::id())?);
        let is_here = (&process.boot, &process.namespace) == (&this.boot, &this.namespace);
        is_here.then(|| Process::of(self.pid).as_ref() == Some(process))
    }

    /// Reads what a lock says; `None` of what isn't legible.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok()
    }

    /// Says whose lock it is, in words.
    pub(super) fn tell(content: &[u8]) -> String {
        let holder = Self::read(content);
        holder.map_or_else(|| "a run that is not named legibly".to_owned(), |it| it.to_string())
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
        let left = holder("2026-11-29T03:38:00Z").left();
        assert_eq!(left, Some(LeftBehind { run, started }));
        assert_eq!(holder("yesterday").left(), None);
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
