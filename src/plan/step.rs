//! The items of a plan.

use crate::backend::Precondition;
use crate::manifest::Row;
use crate::model::{Decision, Entry, EntryError, EntryKind, Key, Notice, Outcome};
use serde::{Deserialize, Serialize};

/// What is to be done to one entry.
///
/// As data it is what a plan file holds and a worker is sent: the decision by its codes, and both sides'
/// entries with their stamps, which tell whoever carries it out later whether they are still what it
/// was decided on. What was recorded is not part of that: a row names its run and source by numbers of
/// its own state, where it is looked up again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What, and why.
    #[serde(flatten)]
    pub decision: Decision,
    /// The source's entry.
    pub source: Entry,
    /// The target's entry of the same kind, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Entry>,
    /// What was recorded.
    #[serde(skip)]
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
    Notice(Notice),
}

/// Where what replaces a target's entry goes.
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
    fn a_step_is_data_with_codes_and_stamps_and_comes_back_without_loss() {
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
