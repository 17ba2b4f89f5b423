//! Events: what the engine says of a run. Presenters fold them; the engine never prints.
//!
//! Only what a person may want to see of single entries is an event (a change, a failure, a note);
//! progress is [`Progress`](super::Progress), counters that a presenter samples.

use super::{
    Action, Decision, EntryError, EntryKind, ErrorReport, Features, Key, Notice, Reason, RunId,
    Totals, serial,
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

/// One thing that happened in a run: plain data, which a program may keep, send and read back. As data
/// it is a code, which stays the same from release to release, with what the code says it of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The run began; the two sides as they print.
    Started {
        /// Its id.
        run: RunId,
        /// The source.
        source: String,
        /// The target.
        target: String,
        /// Whether nothing will be written.
        dry_run: bool,
        /// What the last finished run of this pair counted, to estimate by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Box<Totals>>,
    },
    /// Something was done to an entry (in a dry run: would be), or is not, for a reason worth telling.
    Changed(Outcome),
    /// An entry was copied without what it has; it is counted.
    NotKept {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// What its copy hasn't.
        features: Features,
    },
    /// An entry failed; it is counted.
    Failed(EntryError),
    /// Something to know beside that.
    Notice(Notice),
    /// Something was refused; the copies stand.
    Refused(ErrorReport),
}

impl Event {
    /// Its code, by which programs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Changed(_) => "changed",
            Self::NotKept { .. } => "not_kept",
            Self::Failed(_) => "failed",
            Self::Notice(_) => "notice",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Event {
    /// In a line, without the names of flags.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { source, target, .. } => write!(out, "mirror {source} to {target}"),
            Self::Changed(outcome) => outcome.fmt(out),
            Self::NotKept { key, features } => write!(out, "not kept of {key}: {features}"),
            Self::Failed(error) => out.write_str(&error.sentence()),
            Self::Notice(notice) => notice.fmt(out),
            Self::Refused(error) => out.write_str(&error.error),
        }
    }
}

/// Who is told of events. Called from several threads; must not block for long.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: &Event);

    /// Whether [`Event::Changed`] and [`Event::NotKept`] are of interest; without, they aren't sent.
    fn wants_changes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Error, ErrorKind, Feature, Operation, Setting, hint::hint};

    /// An event after this one; with [`Event::Started`] in front, all of them. Without a new one in it
    /// this doesn't compile.
    fn following(event: &Event) -> Option<Event> {
        let key = Key::new(&b"a/\xff"[..]);
        Some(match event {
            Event::Started { .. } => {
                let action = Action::Copy { unless: None };
                Event::Changed(Outcome::new(&key, Some(EntryKind::File), action, Reason::New))
            }
            Event::Changed(_) => {
                let mut features = Features::default();
                features.add(Feature::Holes);
                Event::NotKept { key, features }
            }
            Event::NotKept { .. } => {
                Event::Failed(EntryError::on_source(Operation::Read, key, Cause::Vanished))
            }
            Event::Failed(_) => Event::Notice(Notice::left_out(&key, "it is so")),
            Event::Notice(_) => {
                let error = Error::new(ErrorKind::Refused, "too many deletions");
                Event::Refused(error.help(hint!["raise ", Setting::MaxDelete]).report())
            }
            Event::Refused(_) => return None,
        })
    }

    #[test]
    fn events_have_codes_that_stay_and_come_back_as_they_were() {
        let first = Event::Started {
            run: RunId("r1".to_owned()),
            source: "/source".to_owned(),
            target: "/target".to_owned(),
            dry_run: false,
            previous: None,
        };
        let mut told = Vec::new();
        for event in std::iter::successors(Some(first), following) {
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(value["event"], event.code());
            let back: Event = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(back.to_string(), event.to_string());
            assert_eq!(serde_json::to_value(&back).unwrap(), value);
            told.push(format!("{value}\n  {event}"));
        }
        insta::assert_snapshot!(told.join("\n"));
    }
}
