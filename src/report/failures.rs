//! Failures of single entries, as every command tells a person of them.
//!
//! Main type: [`Failures`]. Each is told once, when it comes; beyond a hundred they are only counted,
//! unless all are asked for. Records tell all of them: there nothing is counted here.

use super::Output;
use super::format::count;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many failures are told where nobody asked for all of them.
const TOLD: u64 = 100;

/// The failures of a run, told as they come, by any thread.
#[derive(Debug)]
pub(crate) struct Failures {
    count: AtomicU64,
    most: u64,
}

impl Failures {
    /// None so far; with `all`, every one that comes is to be told.
    pub(crate) fn new(all: bool) -> Self {
        Self { count: AtomicU64::new(0), most: if all { u64::MAX } else { TOLD } }
    }

    /// Counts one, and tells it, within the bound, on stderr.
    pub(crate) fn tell(&self, output: &Output, text: &str) {
        if self.add() {
            output.message("error", text);
        }
    }

    /// Counts one, and yields whether it is to be told.
    fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) < self.most
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The line that says how many were not told; `None` where all were.
    pub(crate) fn untold(&self) -> Option<String> {
        let more = self.count().checked_sub(self.most).filter(|more| *more > 0)?;
        let (told, more) = (count(self.most), count(more));
        Some(format!("{told} failures are named above, and {more} more; -v shows all"))
    }

    /// Says on stderr how many were not told, where no summary does.
    pub(crate) fn tell_untold(&self, output: &Output) {
        if let Some(untold) = self.untold() {
            output.message("note", &untold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_up_to_a_bound_unless_all_are_asked_for() {
        let told = |all| {
            let failures = Failures::new(all);
            let told = (0..1300).filter(|_| failures.add()).count();
            (told, failures.untold(), failures.count())
        };
        let untold = "100 failures are named above, and 1,200 more; -v shows all";
        assert_eq!(told(false), (100, Some(untold.into()), 1300));
        assert_eq!(told(true), (1300, None, 1300));
        let failures = Failures::new(false);
        assert!(failures.add());
        assert_eq!(failures.untold(), None);
    }
}
