//! Records of differences, of repairs, and of the sides of a comparison.

use super::{JsonKey, kind};
use crate::model::key::Escaped;
use crate::model::{
    Cause, DiffEntry, DiffFinding, EntryError, EntryKind, Finding, Key, Operation, Which,
};
use crate::report::flags;
use serde::Serialize;

/// The body of the `difference` record of a verification.
#[derive(Debug, Serialize)]
pub(super) struct JsonDifference<'a> {
    #[serde(flatten)]
    key: JsonKey,
    difference: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    counted: bool,
}

impl<'a> From<&'a Finding> for JsonDifference<'a> {
    fn from(Finding { key, difference, counted, .. }: &'a Finding) -> Self {
        let [expected, found] =
            difference.digests().map(|digest| digest.map(|digest| digest.to_string()));
        Self {
            key: key.into(),
            difference: difference.code(),
            expected,
            found,
            detail: difference.detail(),
            counted: *counted,
        }
    }
}

/// The body of a `mended` or `not_mended` record.
#[derive(Debug, Serialize)]
pub(super) struct JsonMended {
    #[serde(flatten)]
    key: JsonKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl JsonMended {
    pub(super) fn new(key: &Key, cause: Option<&Cause>) -> Self {
        Self { key: key.into(), error: cause.map(flags::cause) }
    }
}

/// The body of the `difference` record of a comparison of two places.
#[derive(Debug, Serialize)]
pub(super) struct JsonSideDifference<'a> {
    #[serde(flatten)]
    key: JsonKey,
    difference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<JsonEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<JsonEntry>,
}

impl<'a> From<&'a DiffFinding> for JsonSideDifference<'a> {
    fn from(finding: &'a DiffFinding) -> Self {
        let [a, b] = finding.sides().map(|side| side.map(JsonEntry::from));
        Self {
            key: finding.key().into(),
            difference: finding.word().replace(' ', "_").to_lowercase(),
            detail: finding.metadata(),
            a,
            b,
        }
    }
}

/// What a side knows of an entry; unknown fields are left out. Names and forms are those of
/// `docs/manifest.md`.
#[derive(Debug, Serialize)]
struct JsonEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl From<&DiffEntry> for JsonEntry {
    fn from(entry: &DiffEntry) -> Self {
        let metadata = entry.metadata.as_ref();
        let has_size = matches!(entry.kind, None | Some(EntryKind::File));
        Self {
            kind: entry.kind.map(kind),
            size: has_size.then_some(entry.size),
            blake3: entry.digest.map(|digest| digest.to_string()),
            mtime: metadata.map(|metadata| metadata.mtime.to_string()),
            mode: metadata.map(|metadata| format!("{:04o}", metadata.mode)),
            uid: metadata.map(|metadata| metadata.uid),
            gid: metadata.map(|metadata| metadata.gid),
            link: entry.link.as_ref().map(|link| Escaped(link).to_string()),
        }
    }
}

/// The body of the `failed` record of one of two places.
#[derive(Debug, Serialize)]
pub(super) struct JsonSideFailure {
    operation: &'static str,
    side: Which,
    #[serde(flatten)]
    key: JsonKey,
    cause: String,
    operation_code: Operation,
    cause_code: &'static str,
}

impl JsonSideFailure {
    pub(super) fn new(side: Which, error: &EntryError) -> Self {
        Self {
            operation: error.operation.verb(),
            side,
            key: (&error.key).into(),
            cause: flags::cause(&error.cause),
            operation_code: error.operation,
            cause_code: error.cause.code(),
        }
    }
}
