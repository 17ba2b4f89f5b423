//! Decisions: what is done to an entry, and why.
//!
//! The policy decides on an [`Action`], the engine carries it out, and events report it: plan,
//! engine and reports use this one type for what is done to an entry.

use super::error::Side;
use super::{Digest, EntryKind, Reason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Nothing: the entry is up to date.
    Keep,
    /// Nothing: the options exclude the entry from any change.
    Skip,
    /// Accept the target's copy as it is, and record it without a digest.
    Adopt,
    /// Copy the content. If the source's content has the digest `unless`, the target's copy is kept
    /// and only its metadata is set.
    Copy {
        /// The digest of the target's copy, valid as long as its stamp is unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless: Option<Digest>,
    },
    /// Hash the content that may have changed, and copy it if it differs.
    Check(Check),
    /// Look up what the listing left open (HEAD), then decide.
    Look,
    /// Hash the file on one side, and adopt the target's copy if the other side's tag is the MD5 of
    /// that content; else copy.
    CompareTag {
        /// The side whose content is read.
        read: Side,
    },
    /// Hash a file that only the target has, to record digests that its row lacks.
    HashSurplus,
    /// Set the metadata.
    UpdateMetadata,
    /// Set mode, owner and group only. The time isn't set and nothing is recorded, so that a later
    /// run still notices that the content may differ.
    UpdateRights,
    /// Update the row only: the entry itself is up to date.
    Record,
    /// Create the symbolic link.
    MakeLink,
    /// Create the named pipe, socket or device.
    MakeSpecial,
    /// Make the entry another name of a file that the target has (a hard link).
    Link,
    /// Give an entry of the target this name, under which the source has it now.
    Rename,
    /// Create the directory.
    MakeDirectory,
    /// Keep the existing directory; its metadata is compared once everything in it is done.
    KeepDirectory,
    /// Delete the entry from the target.
    Delete,
    /// Remove a leaf that was set aside, once the directory that replaces it is complete.
    RemoveSetAside,
    /// Remove a leftover of a killed run.
    Sweep,
    /// Drop the row: neither side has the entry any more.
    Forget,
    /// Copy or link the entry after the directory in its place has been deleted.
    AfterDeletion,
    /// Repair: copy the file back, if the source's content has the digest of the step's entry (the
    /// recorded one).
    Mend,
    /// Repair: set the recorded metadata, which is that of the step's entry.
    MendMetadata {
        /// Whether the content was found to be the recorded one. Only then is the new stamp
        /// recorded.
        is_proven: bool,
    },
}

impl Action {
    /// Returns the action that makes an entry of a kind anew.
    pub fn making(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Self::Copy { unless: None },
            EntryKind::Directory => Self::MakeDirectory,
            EntryKind::Symlink => Self::MakeLink,
            EntryKind::Special(_) => Self::MakeSpecial,
        }
    }

    /// Returns whether the entry is copied only if its content turns out to differ.
    pub fn is_conditional(self) -> bool {
        match self {
            Self::Copy { unless } => unless.is_some(),
            action => matches!(action, Self::Check(_) | Self::Look | Self::CompareTag { .. }),
        }
    }

    /// Returns the code that stands for the action in plan files, records and histories. It stays
    /// the same from release to release.
    pub fn code(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Skip => "skip",
            Self::Adopt => "adopt",
            Self::Copy { .. } => "copy",
            Self::Check(_) => "check",
            Self::Look => "look",
            Self::CompareTag { .. } => "compare_tag",
            Self::HashSurplus => "hash_surplus",
            Self::UpdateMetadata => "update_metadata",
            Self::UpdateRights => "update_rights",
            Self::Record => "record",
            Self::MakeLink => "make_link",
            Self::MakeSpecial => "make_special",
            Self::Link => "link",
            Self::Rename => "rename",
            Self::MakeDirectory => "make_directory",
            Self::KeepDirectory => "keep_directory",
            Self::Delete => "delete",
            Self::RemoveSetAside => "remove_set_aside",
            Self::Sweep => "sweep",
            Self::Forget => "forget",
            Self::AfterDeletion => "after_deletion",
            Self::Mend => "mend",
            Self::MendMetadata { .. } => "mend_metadata",
        }
    }

    /// Returns one or two words for people that say what changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep | Self::Skip | Self::KeepDirectory | Self::HashSurplus => "keep",
            Self::Adopt => "adopt",
            Self::Copy { unless: None } | Self::AfterDeletion | Self::Mend => "copy",
            Self::Copy { .. } | Self::Check(_) | Self::Look | Self::CompareTag { .. } => "check",
            Self::UpdateMetadata | Self::UpdateRights | Self::MendMetadata { .. } => {
                "update metadata"
            }
            Self::Record => "record",
            Self::MakeLink => "make link",
            Self::MakeSpecial => "make special",
            Self::Link => "link",
            Self::Rename => "rename",
            Self::MakeDirectory => "make directory",
            Self::Delete => "delete",
            Self::RemoveSetAside | Self::Sweep => "sweep",
            Self::Forget => "forget",
        }
    }
}

impl fmt::Display for Action {
    /// Prints [`Action::word`].
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl fmt::Display for Decision {
    /// Prints action and reason, as in `copy (new)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.action, self.reason)
    }
}

/// Whose content is hashed to decide whether to copy, and the digest to compare it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hash", rename_all = "snake_case")]
pub enum Check {
    /// The source's is compared with the recorded digest; the target's stamp is unchanged.
    Source {
        /// The recorded digest.
        expected: Digest,
    },
    /// The target's is compared with the recorded digest; the source's stamp is unchanged.
    Target {
        /// The recorded digest.
        expected: Digest,
    },
    /// Both sides' are compared with the recorded digest.
    Both {
        /// The recorded digest.
        expected: Digest,
    },
    /// Both sides' are compared with each other; no digest is recorded.
    EachOther,
}

impl Check {
    /// Returns whether the source's content is hashed.
    pub fn reads_source(self) -> bool {
        !matches!(self, Self::Target { .. })
    }

    /// Returns whether the target's content is hashed.
    pub fn reads_target(self) -> bool {
        !matches!(self, Self::Source { .. })
    }

    /// Returns the recorded digest to compare with, if there is one.
    pub fn expected(self) -> Option<Digest> {
        match self {
            Self::Source { expected } | Self::Target { expected } | Self::Both { expected } => {
                Some(expected)
            }
            Self::EachOther => None,
        }
    }
}

/// An action and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// Joins an action with its reason.
    pub fn new(action: Action, reason: Reason) -> Self {
        Self { action, reason }
    }
}

#[cfg(test)]
mod tests;
