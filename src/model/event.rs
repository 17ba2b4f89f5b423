//! Events: what the engine says of a run. Presenters fold them; the engine never prints.
//!
//! Only what a person may want to see of single entries is an event (a change, a failure, a note);
//! progress is [`Progress`](super::Progress), counters that a presenter samples.

use super::{
    Action, Decision, EntryError, EntryKind, Features, Key, Reason, RunId, Totals, serial,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of an entry, or in a dry run: what would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The entry.
    #[serde(flatten, with = "serial::key")]
    pub key: Key,
    /// What it is, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EntryKind>,
    /// What was done, and why.
    #[serde(flatten)]
    pub decision: Decision,
    /// Whether it was done.
    pub status: Status,
    /// Bytes of its content, where content moves.
    pub bytes: u64,
}

/// Whether what was decided of an entry was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was; in a dry run: it would be.
    Done,
    /// It waits for a run in which no copy fails.
    Waits,
    /// A guard refused it.
    Refused,
}

impl Outcome {
    /// Makes the outcome of what was done to an entry without moving content.
    pub fn new(key: &Key, kind: Option<EntryKind>, action: Action, reason: Reason) -> Self {
        let decision = Decision::new(action, reason);
        Self { key: key.clone(), kind, decision, status: Status::Done, bytes: 0 }
    }

    /// It, with so many bytes of content moved.
    #[must_use]
    pub fn moving(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// It, where that was not simply done.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// What is done, in a word or two.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Done => self.decision.action.word(),
            Status::Waits => "delete later",
            Status::Refused => "delete refused",
        }
    }
}

impl fmt::Display for Outcome {
    /// `copy a/b (new)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({})", self.word(), self.key, self.decision.reason)
    }
}

/// One thing that happened in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run began; the two sides as they print.
    Started {
        /// Its id.
        run: &'a RunId,
        /// The source.
        source: &'a str,
        /// The target.
        target: &'a str,
        /// Whether nothing will be written.
        dry_run: bool,
        /// What the last finished run of this pair counted, to estimate by.
        previous: Option<&'a Totals>,
    },
    /// Something was done to an entry (in a dry run: would be), or is not, for a reason worth telling.
    Changed(Outcome),
    /// An entry was copied without what it has; it is counted.
    Lost {
        /// The entry.
        key: &'a Key,
        /// What its copy hasn't.
        features: Features,
    },
    /// An entry failed; it is counted.
    Failed(&'a EntryError),
    /// Something to know that is no failure.
    Note(&'a str),
    /// Something that is damaged, gone or less than it was, and that nobody asked for: told to those, too,
    /// who want to hear of nothing else than failures.
    Warning(&'a str),
    /// Something was refused; the copies stand.
    Refused(&'a super::Error),
}

/// Who is told of events. Called from several threads; must not block for long.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: &Event<'_>);

    /// Whether [`Event::Changed`] and [`Event::Lost`] are of interest; without, they aren't sent.
    fn wants_changes(&self) -> bool;
}
