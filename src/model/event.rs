//! Events: what the engine reports of a run. Presenters print them; the engine never does.
//!
//! There are events of single entries only for what a person may want to see: changes, failures and
//! notices. Progress is reported by [`Progress`](super::Progress), counters that presenters sample.

use super::{
    Action, Cause, Decision, DiffFinding, EntryError, EntryKind, ErrorReport, Features, Finding,
    Key, Notice, Reason, RunId, Totals, Which, serial,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happened to an entry, or would in a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The entry.
    #[serde(flatten, with = "serial::key")]
    pub key: Key,
    /// Its kind, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EntryKind>,
    /// What was done, and why.
    #[serde(flatten)]
    pub decision: Decision,
    /// Whether the action was carried out.
    pub status: Status,
    /// Bytes of content copied; 0 if none.
    pub bytes: u64,
    /// The key that an entry had in the target before it was renamed.
    #[serde(flatten, with = "serial::from")]
    pub from: Option<Key>,
}

/// Whether the decided action was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was; in a dry run: it would be.
    Done,
    /// Postponed to a run in which no copy fails.
    Waits,
    /// Refused by a guard.
    Refused,
}

impl Outcome {
    /// Makes the outcome of an action that moves no content.
    pub fn new(key: &Key, kind: Option<EntryKind>, action: Action, reason: Reason) -> Self {
        let decision = Decision::new(action, reason);
        Self { key: key.clone(), kind, decision, status: Status::Done, bytes: 0, from: None }
    }

    /// Sets the number of bytes of content that were copied.
    #[must_use]
    pub fn moving(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets the key from which the entry was renamed.
    #[must_use]
    pub fn renamed_from(self, key: &Key) -> Self {
        Self { from: Some(key.clone()), ..self }
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Returns one or two words for what was done.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Done => self.decision.action.word(),
            Status::Waits => "delete later",
            Status::Refused => "delete refused",
        }
    }
}

impl fmt::Display for Outcome {
    /// Prints as in `copy a/b (new)` and `rename a/b (moved from c)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({}", self.word(), self.key, self.decision.reason)?;
        if let Some(from) = &self.from {
            write!(out, " from {from}")?;
        }
        out.write_str(")")
    }
}

/// One thing that happened in a run: plain data, which a program may store, send and read back.
/// Serialised as a code, which stays the same from release to release, and the variant's data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The run began. The locations are printed without secrets.
    Started {
        /// The run's id.
        run: RunId,
        /// The source.
        source: String,
        /// The target.
        target: String,
        /// Whether nothing will be written.
        dry_run: bool,
        /// The totals of this pair's last finished run, for estimates.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Box<Totals>>,
    },
    /// An entry was changed (in a dry run: would be), or was not, for a reason worth reporting.
    Changed(Outcome),
    /// An entry was copied, but its copy lacks features; counted in the totals.
    NotKept {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// The features that its copy lacks.
        features: Features,
    },
    /// An entry failed; counted in the totals.
    Failed(EntryError),
    /// Something else worth knowing.
    Notice(Notice),
    /// A guard refused something; finished copies remain.
    Refused(ErrorReport),
    /// A verification found a difference.
    Difference(Finding),
    /// An entry that differed was repaired.
    Mended {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
    },
    /// An entry that differs could not be repaired.
    NotMended {
        /// The entry.
        #[serde(flatten, with = "serial::key")]
        key: Key,
        /// Why.
        cause: Cause,
    },
    /// A comparison of two places found a difference; reported in key order.
    SideDifference(Box<DiffFinding>),
    /// A part of one of two places that are compared could not be listed, or a file not read. What
    /// the other one has there is not reported as a difference.
    SideFailed {
        /// The place.
        which: Which,
        /// What failed.
        error: EntryError,
    },
    /// Something worth knowing about one of two places that are compared.
    SideNotice {
        /// The place.
        which: Which,
        /// The notice.
        notice: Notice,
    },
}

impl Event {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Changed(_) => "changed",
            Self::NotKept { .. } => "not_kept",
            Self::Failed(_) => "failed",
            Self::Notice(_) => "notice",
            Self::Refused(_) => "refused",
            Self::Difference(_) => "difference",
            Self::Mended { .. } => "mended",
            Self::NotMended { .. } => "not_mended",
            Self::SideDifference(_) => "side_difference",
            Self::SideFailed { .. } => "side_failed",
            Self::SideNotice { .. } => "side_notice",
        }
    }
}

impl fmt::Display for Event {
    /// Prints one line, without names of flags.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { source, target, .. } => write!(out, "mirror {source} to {target}"),
            Self::Changed(outcome) => outcome.fmt(out),
            Self::NotKept { key, features } => write!(out, "not kept of {key}: {features}"),
            Self::Failed(error) => out.write_str(&error.sentence()),
            Self::Notice(notice) => notice.fmt(out),
            Self::Refused(error) => out.write_str(&error.error),
            Self::Difference(finding) => finding.fmt(out),
            Self::Mended { key } => write!(out, "mended {key}"),
            Self::NotMended { key, cause } => {
                write!(out, "cannot repair \"{key}\": {}", cause.sentence())
            }
            Self::SideDifference(finding) => finding.fmt(out),
            Self::SideFailed { which, error } => {
                let EntryError { operation, key, cause, .. } = error;
                write!(
                    out,
                    "cannot {} \"{key}\" in {which}: {}",
                    operation.verb(),
                    cause.sentence()
                )
            }
            Self::SideNotice { which, notice } => write!(out, "in {which}: {notice}"),
        }
    }
}

/// Receiver of events. Called from several threads; must not block for long.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: &Event);

    /// Takes a notice.
    fn notice(&self, notice: Notice) {
        self.observe(&Event::Notice(notice));
    }

    /// Returns whether to send [`Event::Changed`] and [`Event::NotKept`].
    fn wants_changes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ContentSign, DiffEntry, Difference, Digest, Error, ErrorKind, Feature, Metadata, Mismatch,
        Operation, Setting, Timestamp, hint::hint,
    };

    fn compared(key: &Key, size: u64) -> DiffEntry {
        let mtime = Timestamp { seconds: 5, nanos: 0 };
        DiffEntry {
            key: key.clone(),
            kind: Some(EntryKind::File),
            size,
            digest: Some(Digest([2; 32])),
            metadata: Some(Metadata { mode: 0o644, uid: 1, gid: 2, mtime }),
            link: None,
            device: None,
        }
    }

    /// Returns the next event; starting from [`Event::Started`] this yields all of them. It doesn't
    /// compile if a new one is missing.
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
            Event::Refused(_) => {
                let difference =
                    Difference::Corrupt { expected: Some(Digest([1; 32])), found: None };
                Event::Difference(Finding::new(&key, difference, true))
            }
            Event::Difference(_) => Event::Mended { key },
            Event::Mended { .. } => Event::NotMended { key, cause: Cause::Vanished },
            Event::NotMended { .. } => {
                let mismatch = Mismatch::Content(ContentSign::Size);
                let (a, b) = (compared(&key, 3), compared(&key, 4));
                Event::SideDifference(Box::new(DiffFinding::Differs { mismatch, a, b }))
            }
            Event::SideDifference(_) => {
                let error = EntryError::on_source(Operation::Read, key, Cause::Vanished);
                Event::SideFailed { which: Which::A, error }
            }
            Event::SideFailed { .. } => {
                Event::SideNotice { which: Which::B, notice: Notice::left_out(&key, "it is so") }
            }
            Event::SideNotice { .. } => return None,
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
        let mut events = Vec::new();
        for event in std::iter::successors(Some(first), following) {
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(value["event"], event.code());
            let back: Event = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(back.to_string(), event.to_string());
            assert_eq!(serde_json::to_value(&back).unwrap(), value);
            events.push(format!("{value}\n  {event}"));
        }
        insta::assert_snapshot!(events.join("\n"));
    }
}
