//! What notices are made of: how much they weigh, and what they say follows.

use crate::model::RunId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a notice weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something to know that is no failure.
    Note,
    /// Something is damaged, gone or less than it was, and nobody asked for that: told to those,
    /// too, who want to hear of nothing else than failures.
    Warning,
}

/// What is done where what was recorded of a target can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Instead {
    /// Everything is compared.
    AllCompared,
    /// What only that record told of is compared.
    RestCompared,
    /// Rows were taken over from the manifest in the target.
    TakenOver {
        /// How many rows.
        entries: u64,
        /// The run that published it.
        run: RunId,
    },
}

impl fmt::Display for Instead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllCompared => out.write_str("everything is compared"),
            Self::RestCompared => out.write_str("what only that recorded is compared"),
            Self::TakenOver { entries, run } => write!(
                out,
                "{entries} entries were taken over from the manifest that run {run} published in it"
            ),
        }
    }
}

/// What it means that what others published since may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overtaken {
    /// The record of so many entries was dropped, which stand no more as they did.
    Dropped(u64),
    /// A run would drop the record of such entries.
    ToDrop,
    /// What changed since may be as it should.
    Unknown,
}

impl fmt::Display for Overtaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped(entries) => write!(
                out,
                "entries that are recorded here and stand no more as they did, and whose record is \
                 dropped: {entries}"
            ),
            Self::ToDrop => {
                out.write_str("a run drops the record of what stands no more as it did")
            }
            Self::Unknown => out.write_str("what changed since may be as it should"),
        }
    }
}

/// What a file system may not keep of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kept {
    /// Modes.
    Mode,
    /// Owners and groups.
    Owner,
    /// Modification times.
    Mtime,
    /// What symbolic links have of these.
    OfLinks,
}

impl Kept {
    /// It, of one entry or of several.
    pub(super) fn of(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::Mode, 1) => "its mode",
            (Self::Mode, _) => "their modes",
            (Self::Owner, 1) => "its owner and group",
            (Self::Owner, _) => "their owners and groups",
            (Self::Mtime, 1) => "its modification time",
            (Self::Mtime, _) => "their modification times",
            (Self::OfLinks, 1) => "owner, group and time of a symbolic link",
            (Self::OfLinks, _) => "owners, groups and times of symbolic links",
        }
    }
}

/// Who can't read a published manifest any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// Its group.
    Group,
    /// Those who are neither its owner nor in its group.
    Others,
}

impl fmt::Display for Readers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Group => "its group",
            Self::Others => "others",
        })
    }
}

/// Whether later runs know what this one learned of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remembered {
    /// They do.
    Yes,
    /// This run keeps nothing.
    No,
    /// It could not be noted; why not.
    Failed(String),
}

impl fmt::Display for Remembered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => out.write_str(", and so will later ones"),
            Self::No => Ok(()),
            Self::Failed(cause) => {
                write!(out, ", and that could not be noted for the next run: {cause}")
            }
        }
    }
}
