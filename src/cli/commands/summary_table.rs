//! What the reports of comparisons share: the summary's lines and the exit code.

use super::super::exit::Exit;
use crate::model::Totals;
use crate::report::Output;
use crate::report::requests::requests_by_kind;
use std::fmt::{self, Display, Formatter};

/// The result of a comparison.
#[derive(Clone, Copy)]
pub(super) struct Conclusion {
    /// The verdict's name.
    pub(super) word: &'static str,
    /// Its meaning, in words.
    pub(super) meaning: &'static str,
}

impl Conclusion {
    /// The result of a comparison that was stopped.
    pub(super) const INTERRUPTED: Self =
        Self::new("interrupted", "what was not examined is unknown");

    pub(super) const fn new(word: &'static str, meaning: &'static str) -> Self {
        Self { word, meaning }
    }
}

impl Display for Conclusion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word, self.meaning)
    }
}

/// Reports in quiet mode that a comparison was stopped, because nothing else does.
pub(super) fn tell_interrupted(output: &Output) {
    output.message("error", &Conclusion::INTERRUPTED.to_string());
}

/// The lines of a summary being made.
pub(super) struct SummaryTable {
    width: usize,
    lines: Vec<String>,
}

impl SummaryTable {
    /// Makes a summary that begins with `lines`; the column of names has this width.
    pub(super) fn new(width: usize, lines: Vec<String>) -> Self {
        Self { width, lines }
    }

    /// Adds a value with its name.
    pub(super) fn row(&mut self, name: &str, value: &str) {
        let width = self.width;
        self.lines.push(format!("  {name:<width$}{value}"));
    }

    /// Adds the values whose number isn't 0.
    pub(super) fn counts<'a>(&mut self, counts: impl IntoIterator<Item = (u64, &'a str, String)>) {
        for (number, name, value) in counts {
            if number > 0 {
                self.row(name, &value);
            }
        }
    }

    /// Adds the requests to stores, `figures`, the number of failures not printed, and the verdict.
    pub(super) fn end(
        mut self,
        counted: &Totals,
        figures: String,
        unprinted: Option<String>,
        conclusion: Conclusion,
    ) -> Vec<String> {
        if let Some(requests) = requests_by_kind(counted) {
            self.row("requests", &requests);
        }
        self.lines.push(figures);
        self.lines.extend(unprinted);
        self.lines.push(conclusion.to_string());
        self.lines
    }
}

/// Returns the exit code of a comparison that ended, or was stopped by a signal.
pub(super) fn exit_of(
    is_interrupted: bool,
    failed: u64,
    differences: u64,
    signal: Option<Exit>,
) -> Exit {
    let stopped = if is_interrupted { signal.unwrap_or(Exit::Interrupted) } else { Exit::Done };
    let failed = if failed > 0 { Exit::Incomplete } else { Exit::Done };
    let differs = if differences > 0 { Exit::Differences } else { Exit::Done };
    stopped.and(failed).and(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_entries_outrank_differences_and_a_signal_both() {
        assert_eq!(exit_of(false, 0, 0, None), Exit::Done);
        assert_eq!(exit_of(false, 0, 2, None), Exit::Differences);
        assert_eq!(exit_of(false, 1, 2, None), Exit::Incomplete);
        assert_eq!(exit_of(true, 1, 2, Some(Exit::Terminated)), Exit::Terminated);
        // The signal came when everything was done.
        assert_eq!(exit_of(false, 0, 0, Some(Exit::Terminated)), Exit::Done);
    }
}
