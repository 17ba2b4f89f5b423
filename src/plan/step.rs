//! The items of a plan.

use crate::backend::Precondition;
use crate::manifest::Row;
use crate::model::{Decision, Entry, EntryError, EntryKind, Key, Notice, Outcome};
use serde::{Deserialize, Serialize};

/// One action on one entry.
///
/// Serialised, it is an item of a plan file and a message to a worker: the decision by its codes,
/// and the entries of both sides with their stamps, by which a later executor can tell whether they
/// are still the ones that were compared. The row isn't part of it: it refers to run and source by
/// numbers of its own state, where it is looked up again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The action and its reason.
    #[serde(flatten)]
    pub decision: Decision,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry, if it has one of the same kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Entry>,
    /// The recorded row.
    #[serde(skip)]
    pub row: Option<Row>,
    /// What must be in its place when it is carried out.
    pub precondition: Precondition,
}

/// One item of a plan.
#[derive(Debug)]
pub enum Planned {
    /// Something to do now.
    Step(Box<Step>),
    /// An entry or a scope that failed.
    Failed(EntryError),
    /// An entry that is left alone for a reason worth reporting.
    Settled(Outcome),
    /// An entry whose step may come later: its directory has to be there then.
    Later(Key),
    /// A row whose key neither side has: remove the row.
    Forget(Key),
    /// A temporary file of a killed run: remove it.
    Sweep(Key),
    /// A leaf that an earlier run set aside for a directory: remove it when the directory is
    /// complete.
    SetAside {
        /// The key that it has now.
        key: Key,
        /// Whether the directory is itself to be deleted, together with the leaf.
        is_deleted: bool,
    },
    /// A notice to report.
    Notice(Notice),
}

/// Returns the precondition for replacing an entry of the target.
pub fn precondition_of(existing: &Entry) -> Precondition {
    match existing.stamp.tag() {
        Some(tag) if existing.kind != EntryKind::Directory => Precondition::Object(tag),
        _ => Precondition::Leaf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Completeness;
    use crate::model::stamp::Inode;
    use crate::model::{Action, Check, Digest, ETag, Metadata, Reason, Stamp, Timestamp};
    use serde_json::json;

    #[test]
    fn a_step_serialises_with_codes_and_stamps_and_is_read_back_without_loss() {
        let time = |nanos| Timestamp { seconds: -1, nanos };
        let inode = Inode { mtime: time(7), ctime: time(999_999_999), number: Some(5) };
        let metadata = Metadata { mode: 0o4755, uid: 1, gid: 2, mtime: time(7) };
        let key = Key::new(&b"a/\xff"[..]);
        let source =
            Entry { stamp: Stamp::of_inode(3, inode), ..Entry::new_file(key, 3, metadata) };
        let tag = ETag::new(b"t").expect("a tag");
        let target = Entry {
            stamp: Stamp::of_object(3, Some(tag)),
            link: Some(b"\xfe"[..].into()),
            recorded: Some(Digest([1; 32])),
            completeness: Completeness::ListingOnly,
            ..source.clone()
        };
        let check = Check::Source { expected: Digest([0xab; 32]) };
        let step = Step {
            decision: Decision::new(Action::Check(check), Reason::SourceDoubtful),
            source,
            target: Some(target),
            row: None,
            precondition: Precondition::Object(tag),
        };
        let metadata = json!({ "mode": "4755", "uid": 1, "gid": 2, "mtime": "-0.999999993" });
        let expected = json!({
            "action": "check",
            "hash": "source",
            "expected": "ab".repeat(32),
            "reason": "source_doubtful",
            "source": {
                "key_base64": "YS//",
                "kind": "file",
                "stamp": {
                    "size": 3,
                    "mtime": "-0.999999993",
                    "ctime": "-0.000000001",
                    "inode": 5,
                },
                "metadata": metadata,
                "completeness": "full",
            },
            "target": {
                "key_base64": "YS//",
                "kind": "file",
                "stamp": { "size": 3, "etag": "t" },
                "metadata": metadata,
                "link_base64": "/g==",
                "completeness": "listing_only",
                "recorded": "01".repeat(32),
            },
            "precondition": { "object": "t" },
        });
        assert_eq!(serde_json::to_value(&step).unwrap(), expected);
        let line = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&line).unwrap(), step);
    }
}
