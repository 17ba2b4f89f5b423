//! The items of a plan.

use crate::backend::Precondition;
use crate::manifest::Row;
use crate::model::{Decision, Entry, EntryError, EntryKind, Key, Outcome};

/// What is to be done to one entry.
#[derive(Debug)]
pub struct Step {
    /// What, and why.
    pub decision: Decision,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry of the same kind, where it has one.
    pub target: Option<Entry>,
    /// What was recorded.
    pub row: Option<Row>,
    /// What stands in its place.
    pub precondition: Precondition,
}

/// One item of a plan.
#[derive(Debug)]
pub enum Planned {
    /// Something to do now.
    Step(Box<Step>),
    /// An entry or a scope failed.
    Failed(EntryError),
    /// An entry is left alone, for a reason worth telling.
    Settled(Outcome),
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
