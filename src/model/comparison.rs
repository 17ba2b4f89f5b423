//! Comparisons of two places: what each side knows of an entry, and how the two differ.
//!
//! Main type: [`DiffFinding`], plain data as all events are.

use super::key::Escaped;
use super::{DeviceNumber, Digest, EntryKind, Key, Metadata, serial};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
}

impl fmt::Display for Which {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// What a side knows of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffEntry {
    /// The key.
    #[serde(flatten, with = "serial::key")]
    pub key: Key,
    /// The kind; `None` for an object that may be a file or a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EntryKind>,
    /// The size of its content in bytes.
    pub size: u64,
    /// The digest of its content, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its metadata, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// A symbolic link's text.
    #[serde(flatten, with = "serial::link")]
    pub link: Option<Box<[u8]>>,
    /// The number of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceNumber>,
}

impl DiffEntry {
    /// Returns the size and, if known, the digest of its content; a link's content is its text.
    pub fn content(&self) -> (u64, Option<Digest>) {
        match &self.link {
            Some(text) => (text.len() as u64, Some(Digest::of(text))),
            None => (self.size, self.digest),
        }
    }
}

/// How two entries of one key differ. Serialised as a code, which stays the same from release to
/// release, and the variant's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mismatch", content = "data", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mismatch {
    /// The entries are of different types.
    Type,
    /// The content differs.
    Content(ContentSign),
    /// The texts of symbolic links differ.
    Link,
    /// Mode, owner, group or mtime differ; described in words.
    Metadata(String),
}

/// How a difference of content was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentSign {
    /// By the digests.
    Digest,
    /// By the sizes; at least one digest is unknown.
    Size,
    /// By the times; the sizes are equal, and at least one digest is unknown.
    Time,
}

/// A difference between two places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiffFinding {
    /// One side alone has an entry.
    Only {
        /// That side.
        which: Which,
        /// Its entry.
        entry: DiffEntry,
    },
    /// One side has a symbolic link, and the other is on a file system that supports none. This is
    /// a difference of metadata.
    NoLink {
        /// The side with the link.
        which: Which,
        /// The link.
        entry: DiffEntry,
    },
    /// Both sides have an entry, but they differ.
    Differs {
        /// How they differ.
        #[serde(flatten)]
        mismatch: Mismatch,
        /// The first side's entry.
        a: DiffEntry,
        /// The second side's entry.
        b: DiffEntry,
    },
}

impl DiffFinding {
    /// Returns the key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Only { entry, .. }
            | Self::NoLink { entry, .. }
            | Self::Differs { a: entry, .. } => &entry.key,
        }
    }

    /// Returns one to three words for the difference.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Only { which: Which::A, .. } => "only in A",
            Self::Only { which: Which::B, .. } => "only in B",
            Self::NoLink { .. } | Self::Differs { mismatch: Mismatch::Metadata(_), .. } => {
                "metadata"
            }
            Self::Differs { mismatch: Mismatch::Type, .. } => "type",
            Self::Differs { mismatch: Mismatch::Content(_), .. } => "content",
            Self::Differs { mismatch: Mismatch::Link, .. } => "link",
        }
    }

    /// Returns the entries of both sides, as far as they have one.
    pub fn sides(&self) -> [Option<&DiffEntry>; 2] {
        match self {
            Self::Only { which, entry } | Self::NoLink { which, entry } => match which {
                Which::A => [Some(entry), None],
                Which::B => [None, Some(entry)],
            },
            Self::Differs { a, b, .. } => [Some(a), Some(b)],
        }
    }

    /// Describes a difference of metadata.
    pub fn metadata(&self) -> Option<&str> {
        match self {
            Self::NoLink { which: Which::A, .. } => Some("symbolic link -> none: B has no links"),
            Self::NoLink { which: Which::B, .. } => Some("none -> symbolic link: A has no links"),
            Self::Differs { mismatch: Mismatch::Metadata(words), .. } => Some(words),
            _ => None,
        }
    }
}

impl fmt::Display for DiffFinding {
    /// Prints as in `content a/b (size 3 -> 4)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.word(), self.key())?;
        if let Some(words) = self.metadata() {
            return write!(out, " ({words})");
        }
        let Self::Differs { mismatch, a, b } = self else { return Ok(()) };
        let [(one, _), (other, _)] = [a, b].map(DiffEntry::content);
        match mismatch {
            Mismatch::Type => {
                let kind = |entry: &DiffEntry| {
                    entry.kind.map_or_else(|| "object".to_owned(), |kind| kind.to_string())
                };
                write!(out, " ({} -> {})", kind(a), kind(b))
            }
            Mismatch::Content(ContentSign::Digest) => out.write_str(" (digest)"),
            Mismatch::Content(ContentSign::Size) => write!(out, " (size {one} -> {other})"),
            Mismatch::Content(ContentSign::Time) => out.write_str(" (same size, other mtime)"),
            Mismatch::Link => {
                let text = |entry: &'_ DiffEntry| {
                    Escaped(entry.link.as_deref().unwrap_or_default()).to_string()
                };
                write!(out, " (\"{}\" -> \"{}\")", text(a), text(b))
            }
            Mismatch::Metadata(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind, size: u64, link: Option<&[u8]>) -> DiffEntry {
        let link = link.map(Into::into);
        let key = Key::new(&b"a/\xff"[..]);
        DiffEntry { key, kind: Some(kind), size, digest: None, metadata: None, link, device: None }
    }

    fn differs(mismatch: Mismatch) -> DiffFinding {
        let (a, b) = (entry(EntryKind::File, 3, None), entry(EntryKind::File, 4, None));
        DiffFinding::Differs { mismatch, a, b }
    }

    #[test]
    fn findings_come_back_as_they_were_and_print_as_one_line() {
        let link = || entry(EntryKind::Symlink, 0, Some(b"x\n\xff"));
        let of_content = |sign| differs(Mismatch::Content(sign));
        let of_links = DiffFinding::Differs { mismatch: Mismatch::Link, a: link(), b: link() };
        let cases = [
            (DiffFinding::Only { which: Which::A, entry: link() }, r"only in A a/\xff"),
            (DiffFinding::Only { which: Which::B, entry: link() }, r"only in B a/\xff"),
            (
                DiffFinding::NoLink { which: Which::B, entry: link() },
                r"metadata a/\xff (none -> symbolic link: A has no links)",
            ),
            (differs(Mismatch::Type), r"type a/\xff (file -> file)"),
            (of_content(ContentSign::Digest), r"content a/\xff (digest)"),
            (of_content(ContentSign::Size), r"content a/\xff (size 3 -> 4)"),
            (of_content(ContentSign::Time), r"content a/\xff (same size, other mtime)"),
            (of_links, r#"link a/\xff ("x\n\xff" -> "x\n\xff")"#),
            (
                differs(Mismatch::Metadata("mode 0644 -> 0600".to_owned())),
                r"metadata a/\xff (mode 0644 -> 0600)",
            ),
        ];
        for (finding, line) in cases {
            assert_eq!(finding.to_string(), line);
            let value = serde_json::to_value(&finding).unwrap();
            assert_eq!(serde_json::from_value::<DiffFinding>(value).unwrap(), finding);
        }
    }
}
