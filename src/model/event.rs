//! Events: what the engine says of a run. Presenters fold them; the engine never prints.
//!
//! Only what a person may want to see of single entries is an event (a change, a failure, a note);
//! progress is [`Progress`](super::Progress), counters that a presenter samples.

use super::{EntryError, EntryKind, Features, Key, RunId, Totals};
use std::fmt;

/// What is (or in a dry run: would be) done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Its content and metadata are copied.
    Copy,
    /// Its content is hashed, and copied only where it differs.
    Check,
    /// The target's copy is taken as it is.
    Adopt,
    /// Only its metadata is set.
    UpdateMetadata,
    /// It is made: a directory.
    MakeDirectory,
    /// It is made: a symbolic link.
    MakeLink,
    /// It is removed from the target.
    Delete,
    /// It would be removed from the target, but a copy failed: that waits for a later run.
    DeleteLater,
    /// It would be removed from the target, but that was refused.
    DeleteRefused,
    /// It is removed: a temporary that a killed run left, or what an earlier run set aside.
    Sweep,
    /// It stays as it is, for a reason worth telling.
    Keep,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Copy => "copy",
            Self::Check => "check",
            Self::Adopt => "adopt",
            Self::UpdateMetadata => "update metadata",
            Self::MakeDirectory => "make directory",
            Self::MakeLink => "make link",
            Self::Delete => "delete",
            Self::DeleteLater => "delete later",
            Self::DeleteRefused => "delete refused",
            Self::Sweep => "sweep",
            Self::Keep => "keep",
        })
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
    /// An entry changed (in a dry run: would change).
    Changed {
        /// The entry.
        key: &'a Key,
        /// What it is, where that was looked at.
        kind: Option<EntryKind>,
        /// What is done.
        change: Change,
        /// Why, in words.
        reason: &'a str,
        /// Bytes of its content, where content moves.
        bytes: u64,
    },
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
