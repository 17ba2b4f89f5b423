//! Decisions: what is done to an entry, and why.
//!
//! An [`Action`] is decided on by the policy, carried out by the engine, and told of by events: it is
//! the one word for what is done to an entry, from the plan to the report.

use super::error::Side;
use super::{Digest, Reason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Nothing: it is as it should be.
    Keep,
    /// Nothing: the options leave it alone.
    Skip,
    /// Take the target's copy as it is, and record it without a digest.
    Adopt,
    /// Copy its content; where the content has this digest, the target's copy is kept and only its
    /// metadata set.
    Copy {
        /// The digest of the target's copy, which its stamp vouches for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless: Option<Digest>,
    },
    /// Hash what is in doubt, and copy where it differs.
    Check(Check),
    /// Look at what was only listed, and decide then.
    Look,
    /// Hash one side's file, and take the target's copy as it is where the other side's tag is the
    /// content's MD5; else copy.
    CompareTag {
        /// The side that is read.
        read: Side,
    },
    /// Hash the target's file, which the source lacks, for digests that its row lacks.
    HashSurplus,
    /// Set its metadata.
    UpdateMetadata,
    /// Set its mode, owner and group; neither its time is set nor anything recorded, so that what may be
    /// another content shows to a later run.
    UpdateRights,
    /// It is as it should be; its row isn't.
    Record,
    /// Make the symbolic link.
    MakeLink,
    /// Make the directory.
    MakeDirectory,
    /// The directory stands; its metadata is compared when all in it is done.
    KeepDirectory,
    /// Remove it from the target.
    Delete,
    /// Remove it from the target once the directory that took its place is whole.
    RemoveSetAside,
    /// Remove what a killed run left.
    Sweep,
    /// Drop its row: nothing is there any more.
    Forget,
    /// Copy or link it once a directory in its place has been deleted.
    AfterDeletion,
    /// Copy the file back, if the source's content has the digest of the step's entry, which is as it
    /// was recorded.
    Mend,
    /// Set the metadata of the step's entry, which is as it was recorded.
    MendMetadata {
        /// Whether the content was found to be what was recorded: only then the entry's new stamp
        /// says anything.
        is_proven: bool,
    },
}

impl Action {
    /// Whether the entry is copied only if what is read of it says so.
    pub fn is_conditional(self) -> bool {
        match self {
            Self::Copy { unless } => unless.is_some(),
            action => matches!(action, Self::Check(_) | Self::Look | Self::CompareTag { .. }),
        }
    }

    /// Its code, by which programs know it: in plan files, records and histories. It stays the same from
    /// release to release.
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

    /// What is done to the entry, in a word or two: all that it takes to know what changes.
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
            Self::MakeDirectory => "make directory",
            Self::Delete => "delete",
            Self::RemoveSetAside | Self::Sweep => "sweep",
            Self::Forget => "forget",
        }
    }
}

impl fmt::Display for Action {
    /// Its [`Action::word`].
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl fmt::Display for Decision {
    /// `copy (new)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.action, self.reason)
    }
}

/// Which content is hashed to know whether it has to be copied, and what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hash", rename_all = "snake_case")]
pub enum Check {
    /// The source's, which should have the recorded digest; the target's stamp vouches for its own.
    Source {
        /// The recorded digest.
        expected: Digest,
    },
    /// The target's, which should have the recorded digest; the source's stamp vouches for its own.
    Target {
        /// The recorded digest.
        expected: Digest,
    },
    /// That of both sides, which should have the recorded digest.
    Both {
        /// The recorded digest.
        expected: Digest,
    },
    /// That of both sides, of which none is recorded: they should be the same.
    EachOther,
}

impl Check {
    /// Whether the source's content is hashed.
    pub fn reads_source(self) -> bool {
        !matches!(self, Self::Target { .. })
    }

    /// Whether the target's content is hashed.
    pub fn reads_target(self) -> bool {
        !matches!(self, Self::Source { .. })
    }

    /// The recorded digest that content is compared with, where there is one.
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
