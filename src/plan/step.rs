//! The items of a plan.

use crate::backend::Precondition;
use crate::compare::{Action, Reason};
use crate::manifest::Row;
use crate::model::error::Side;
use crate::model::{Digest, Entry, EntryError, EntryKind, Key};

/// What is to be done to one entry.
#[derive(Debug)]
pub struct Step {
    /// What.
    pub task: Task,
    /// Why.
    pub reason: Reason,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry of the same kind, where it has one.
    pub target: Option<Entry>,
    /// What was recorded.
    pub row: Option<Row>,
    /// What stands in its place.
    pub precondition: Precondition,
}

/// The kinds of step.
#[derive(Debug)]
pub enum Task {
    /// Copy the file, unless its content has this digest.
    Copy {
        /// The digest of the target's copy.
        unless: Option<Digest>,
    },
    /// Hash, and copy where content differs.
    Check {
        /// Hash the source.
        source: bool,
        /// Hash the target.
        target: bool,
        /// What both should be; `None`: each other.
        expected: Option<Digest>,
    },
    /// Look at what was only listed, and decide then.
    Look,
    /// Hash this side's file; adopt the target's copy where the other side's tag is its MD5, else
    /// copy.
    CompareTag(Side),
    /// Hash the target's file, which the source lacks, for digests that its row lacks.
    HashSurplus,
    /// Set metadata.
    UpdateMetadata,
    /// Set mode, owner and group, and record nothing.
    UpdateRights,
    /// Record what stands: nothing else is to be done.
    Record,
    /// Record the target's copy as it is.
    Adopt,
    /// Make the symbolic link.
    MakeLink,
    /// Make the directory.
    MakeDirectory,
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

impl Task {
    /// The task that carries out an action on a source's entry; `None` for one that is none by itself.
    pub fn of(action: &Action) -> Option<Self> {
        Some(match *action {
            Action::Adopt => Self::Adopt,
            Action::Look => Self::Look,
            Action::CompareTag(side) => Self::CompareTag(side),
            Action::UpdateMetadata => Self::UpdateMetadata,
            Action::UpdateRights => Self::UpdateRights,
            Action::Record => Self::Record,
            Action::MakeLink => Self::MakeLink,
            Action::MakeDirectory => Self::MakeDirectory,
            Action::Copy { unless } => Self::Copy { unless },
            Action::Check { source, target, expected } => Self::Check { source, target, expected },
            Action::Keep
            | Action::HashSurplus
            | Action::Skip
            | Action::KeepDirectory
            | Action::Delete
            | Action::RemoveSetAside
            | Action::Forget
            | Action::AfterDeletion
            | Action::Fail(_) => return None,
        })
    }
}

/// One item of a plan.
#[derive(Debug)]
pub enum Planned {
    /// Something to do now.
    Step(Box<Step>),
    /// An entry or a scope failed.
    Failed(EntryError),
    /// An entry is left alone, for a reason worth telling; what it is, where that is known.
    Kept(Key, Option<EntryKind>, Reason),
    /// A row of nothing: drop it.
    Forget(Key),
    /// A temporary of a killed run: remove it.
    Sweep(Key),
    /// A leaf whose place a directory took in an earlier run: remove it when that directory is whole.
    SetAside {
        /// The key under which it is kept.
        key: Key,
        /// Whether the directory is itself to be deleted, with what was set aside.
        is_doomed: bool,
    },
    /// Something to know.
    Note(String),
}

/// Where what replaces a target's entry goes.
pub fn precondition_of(existing: &Entry) -> Precondition {
    match existing.stamp.tag() {
        Some(tag) if existing.kind != EntryKind::Directory => Precondition::Object(tag),
        _ => Precondition::Leaf,
    }
}
