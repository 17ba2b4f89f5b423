//! Failures of single entries, as every command prints them for people.
//!
//! Main type: [`Failures`]. Each is printed once, when it happens; beyond a hundred they are only
//! counted, unless `-v` asks for all. NDJSON has a record of each, without this bound.

use super::Output;
use super::format::count;
use std::sync::atomic::{AtomicU64, Ordering};

/// Maximum number of failures that are printed by default.
const PRINTED: u64 = 100;

/// The failures of a run, printed as they happen, by any thread.
#[derive(Debug)]
pub(crate) struct Failures {
    count: AtomicU64,
    most: u64,
}

impl Failures {
    /// Makes an empty counter; with `all`, every failure is printed.
    pub(crate) fn new(all: bool) -> Self {
        Self { count: AtomicU64::new(0), most: if all { u64::MAX } else { PRINTED } }
    }

    /// Counts one, and prints it on stderr, unless there were too many.
    pub(crate) fn report(&self, output: &Output, text: &str) {
        if self.add() {
            output.message("error", text);
        }
    }

    /// Counts one. Returns whether to print it.
    fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) < self.most
    }

    /// Returns the number of failures.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the line that says how many were not printed; `None` if all were.
    pub(crate) fn unprinted(&self) -> Option<String> {
        let more = self.count().checked_sub(self.most).filter(|more| *more > 0)?;
        let (printed, more) = (count(self.most), count(more));
        Some(format!("{printed} failures are named above, and {more} more; -v shows all"))
    }

    /// Prints on stderr how many were not printed, for commands without a summary.
    pub(crate) fn report_unprinted(&self, output: &Output) {
        if let Some(unprinted) = self.unprinted() {
            output.message("note", &unprinted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_printed_up_to_a_bound_unless_all_are_requested() {
        let printed = |all| {
            let failures = Failures::new(all);
            let printed = (0..1300).filter(|_| failures.add()).count();
            (printed, failures.unprinted(), failures.count())
        };
        let unprinted = "100 failures are named above, and 1,200 more; -v shows all";
        assert_eq!(printed(false), (100, Some(unprinted.into()), 1300));
        assert_eq!(printed(true), (1300, None, 1300));
        let failures = Failures::new(false);
        assert!(failures.add());
        assert_eq!(failures.unprinted(), None);
    }
}
