//! Parts of notices: severities and consequences.

use crate::model::RunId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something to know that is no failure.
    Note,
    /// Something is damaged, missing or reduced, and nobody requested that. Reported even if only
    /// failures are to be.
    Warning,
}

/// What is done if the state of a target can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Instead {
    /// Everything is compared.
    AllCompared,
    /// Only entries whose record was lost are compared.
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
            Self::RestCompared => out.write_str("entries that only it recorded are compared"),
            Self::TakenOver { entries, run } => write!(
                out,
                "{entries} entries were taken over from the manifest that run {run} published in it"
            ),
        }
    }
}

/// The consequence of lost publications of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overtaken {
    /// The records of so many entries that have changed since were dropped.
    Dropped(u64),
    /// A run would drop the records of such entries.
    ToDrop,
    /// Changes since then may be intended.
    Unknown,
}

impl fmt::Display for Overtaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped(entries) => {
                write!(out, "the records of entries that have changed since are dropped: {entries}")
            }
            Self::ToDrop => {
                out.write_str("a run drops the records of entries that have changed since")
            }
            Self::Unknown => out.write_str("changes since then may be intended"),
        }
    }
}

/// Metadata that a file system may not keep.
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
    /// Owners, groups and times of symbolic links.
    OfLinks,
}

impl Kept {
    /// Returns the text for one entry or several.
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

/// Who can no longer read a published manifest.
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

/// Whether later runs know what this one found out about a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remembered {
    /// They do.
    Yes,
    /// They don't: a dry run saves nothing.
    No,
    /// It could not be saved, and why.
    Failed(String),
}

impl fmt::Display for Remembered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => out.write_str(", and so will later ones"),
            Self::No => Ok(()),
            Self::Failed(cause) => {
                write!(out, ", and that could not be saved for the next run: {cause}")
            }
        }
    }
}
