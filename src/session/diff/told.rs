//! What a side tells of a key, and in what two sides differ there.

use crate::backend::Form;
use crate::manifest::Row;
use crate::model::entry::Known;
use crate::model::{Digest, Entry, EntryKind, Key, Metadata, Timestamp};
use std::fmt;

/// What a side tells of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The key.
    pub key: Key,
    /// What it is; `None` for an object, which may be a file or a symbolic link.
    pub kind: Option<EntryKind>,
    /// The size of its content in bytes.
    pub size: u64,
    /// The digest of its content, where it is known.
    pub digest: Option<Digest>,
    /// Its metadata, where it is known.
    pub metadata: Option<Metadata>,
    /// A symbolic link's text.
    pub link: Option<Box<[u8]>>,
    /// Who tells it.
    pub by: Teller,
}

/// Who tells what is at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// A manifest.
    Row {
        /// The mtime that the target kept, where that is known: as good as the one it was given.
        kept: Option<Timestamp>,
    },
    /// The file system itself.
    Files,
    /// A store's listing.
    Objects,
}

/// What tells whether two files have the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Their digests.
    Digest,
    /// Their sizes, and of a file system their modification times.
    SizeAndTime {
        /// A manifest lacks the digest: nobody ever read that file's content.
        unproven: bool,
    },
}

/// In what two sides differ at a key that both have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is a file here, a symbolic link there.
    Type,
    /// Its content.
    Content(Sign),
    /// The text of a symbolic link.
    Link,
    /// Its mode, owner, group or mtime; in words.
    Metadata(String),
}

/// By what content shows to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Both digests are known.
    Digest,
    /// At least one digest isn't known.
    Size,
    /// At least one digest isn't known, and the sizes are equal.
    Time,
}

impl Told {
    /// What a manifest whose keys have this form tells.
    ///
    /// In a manifest between two stores a key is an object, whatever it holds; the metadata of what
    /// others stored is a guess there.
    pub(super) fn by_row(row: Row, form: Form) -> Self {
        let Row { key, kind, digest, target, metadata, link, .. } = row;
        let size = target.size;
        let (kind, metadata) = match form {
            Form::Tree => (Some(kind), Some(metadata)),
            Form::Flat => (object_kind(&key, size), None),
        };
        let by = Teller::Row { kept: target.mtime() };
        Self { key, kind, size, digest, metadata, link, by }
    }

    /// What a listing tells.
    pub(super) fn by_listing(entry: Entry) -> Self {
        let Entry { key, kind, stamp, metadata, link, known, .. } = entry;
        let size = stamp.size;
        if known == Known::Whole {
            let (kind, metadata) = (Some(kind), Some(metadata));
            return Self { key, kind, size, digest: None, metadata, link, by: Teller::Files };
        }
        let kind = match kind {
            EntryKind::Directory => Some(kind),
            _ => object_kind(&key, size),
        };
        let by = Teller::Objects;
        Self { key, kind, size, digest: None, metadata: None, link: None, by }
    }

    /// The size and, where it is known, the digest of what it holds: a link holds its text.
    pub fn content(&self) -> (u64, Option<Digest>) {
        match &self.link {
            Some(text) => (text.len() as u64, Some(Digest::of(text))),
            None => (self.size, self.digest),
        }
    }

    /// Whether a manifest tells it, without a digest of its content.
    fn is_unproven(&self) -> bool {
        matches!(self.by, Teller::Row { .. }) && self.digest.is_none() && self.link.is_none()
    }

    fn has_mtime(&self, mtime: Timestamp) -> bool {
        let kept = if let Teller::Row { kept } = self.by { kept } else { None };
        kept == Some(mtime) || self.metadata.is_some_and(|metadata| metadata.mtime == mtime)
    }
}

/// What an object of which no more is known can be.
fn object_kind(key: &Key, size: u64) -> Option<EntryKind> {
    (key.is_directory() && size == 0).then_some(EntryKind::Directory)
}

/// Compares what two sides tell of one key; what told whether the content is the same, where there is
/// any. With `content_only`, metadata is left out.
pub(super) fn compare(
    a: &Told,
    b: &Told,
    content_only: bool,
) -> (Option<Evidence>, Vec<Difference>) {
    use EntryKind::{File, Symlink};
    let (evidence, difference) = match (a.kind, b.kind) {
        (None | Some(File), None | Some(File)) | (None, Some(Symlink)) | (Some(Symlink), None) => {
            let (evidence, sign) = compare_content(a, b);
            (Some(evidence), sign.map(Difference::Content))
        }
        (one, other) if one != other => return (None, vec![Difference::Type]),
        _ => (None, (a.link != b.link).then_some(Difference::Link)),
    };
    let leaves_mtime = matches!(difference, Some(Difference::Content(_)));
    let words = if content_only { None } else { metadata(a, b, leaves_mtime) };
    (evidence, difference.into_iter().chain(words.map(Difference::Metadata)).collect())
}

fn compare_content(a: &Told, b: &Told) -> (Evidence, Option<Sign>) {
    let ((a_size, a_digest), (b_size, b_digest)) = (a.content(), b.content());
    if let (Some(one), Some(other)) = (a_digest, b_digest) {
        return (Evidence::Digest, (one != other).then_some(Sign::Digest));
    }
    let sign = if a_size != b_size {
        Some(Sign::Size)
    } else if [a, b].iter().any(|told| told.by == Teller::Files) && !same_mtime(a, b) {
        Some(Sign::Time)
    } else {
        None
    };
    (Evidence::SizeAndTime { unproven: a.is_unproven() || b.is_unproven() }, sign)
}

/// Whether the modification times are the same, as far as both are known.
fn same_mtime(a: &Told, b: &Told) -> bool {
    match (&a.metadata, &b.metadata) {
        (Some(one), Some(other)) => b.has_mtime(one.mtime) || a.has_mtime(other.mtime),
        _ => true,
    }
}

/// What of the metadata differs, in words; nothing where a side doesn't know it. Other content has
/// another mtime: that says nothing more.
fn metadata(a: &Told, b: &Told, leaves_mtime: bool) -> Option<String> {
    let (Some(one), Some(other)) = (&a.metadata, &b.metadata) else { return None };
    let mut words = Vec::new();
    let mut differ = |name: &str, one: &dyn fmt::Display, other: &dyn fmt::Display| {
        words.push(format!("{name} {one} -> {other}"));
    };
    // Linux keeps none for links.
    if a.kind != Some(EntryKind::Symlink) && one.mode != other.mode {
        let (one, other) = (one.mode, other.mode);
        differ("mode", &format_args!("{one:04o}"), &format_args!("{other:04o}"));
    }
    if one.uid != other.uid {
        differ("owner", &one.uid, &other.uid);
    }
    if one.gid != other.gid {
        differ("group", &one.gid, &other.gid);
    }
    if !leaves_mtime && !same_mtime(a, b) {
        differ("mtime", &one.mtime, &other.mtime);
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Timestamp = Timestamp { seconds: 4, nanos: 0 };

    fn metadata() -> Metadata {
        Metadata { mode: 0o644, uid: 1, gid: 2, mtime: Timestamp { seconds: 5, nanos: 6 } }
    }

    fn row(digest: Option<u8>) -> Told {
        Told {
            key: Key::new(*b"a"),
            kind: Some(EntryKind::File),
            size: 3,
            digest: digest.map(|byte| Digest([byte; 32])),
            metadata: Some(metadata()),
            link: None,
            by: Teller::Row { kept: Some(KEPT) },
        }
    }

    fn listed() -> Told {
        Told { by: Teller::Files, ..row(None) }
    }

    fn object() -> Told {
        Told { kind: None, metadata: None, by: Teller::Objects, ..row(None) }
    }

    fn at(told: Told, seconds: i64) -> Told {
        let mtime = Timestamp { seconds, nanos: 0 };
        Told { metadata: told.metadata.map(|metadata| Metadata { mtime, ..metadata }), ..told }
    }

    fn link(text: &[u8]) -> Told {
        let (kind, link) = (Some(EntryKind::Symlink), Some(text.into()));
        Told { kind, link, digest: None, ..row(None) }
    }

    const BY_SIZE: Option<Evidence> = Some(Evidence::SizeAndTime { unproven: false });
    const UNPROVEN: Option<Evidence> = Some(Evidence::SizeAndTime { unproven: true });

    fn content(sign: Sign) -> Vec<Difference> {
        vec![Difference::Content(sign)]
    }

    #[test]
    fn two_digests_settle_content() {
        let by_digest = Some(Evidence::Digest);
        assert_eq!(compare(&row(Some(1)), &row(Some(1)), false), (by_digest, vec![]));
        let other = at(row(Some(2)), 9);
        assert_eq!(compare(&row(Some(1)), &other, false), (by_digest, content(Sign::Digest)));
    }

    #[test]
    fn without_two_digests_size_counts_and_in_a_listed_directory_the_time() {
        let one = row(Some(1));
        assert_eq!(compare(&one, &listed(), false), (BY_SIZE, vec![]));
        let longer = Told { size: 4, ..listed() };
        assert_eq!(compare(&one, &longer, false), (BY_SIZE, content(Sign::Size)));
        let later = at(listed(), 9);
        assert_eq!(compare(&one, &later, false), (BY_SIZE, content(Sign::Time)));
        assert_eq!(compare(&listed(), &later, true), (BY_SIZE, content(Sign::Time)));
        assert_eq!(compare(&one, &at(listed(), 4), false), (BY_SIZE, vec![]), "as it was kept");
        assert_eq!(compare(&object(), &later, false), (BY_SIZE, vec![]), "a store tells no time");
    }

    #[test]
    fn a_row_without_a_digest_is_compared_by_size_and_counted() {
        assert_eq!(compare(&row(Some(1)), &row(None), false), (UNPROVEN, vec![]));
        let later = at(row(None), 9);
        let words = "mtime 5.000000006 -> 9.000000000".to_owned();
        let differences = vec![Difference::Metadata(words)];
        assert_eq!(compare(&row(Some(1)), &later, false), (UNPROVEN, differences));
        assert_eq!(compare(&row(Some(1)), &later, true), (UNPROVEN, vec![]));
        let longer = Told { size: 4, ..row(None) };
        assert_eq!(compare(&row(Some(1)), &longer, true), (UNPROVEN, content(Sign::Size)));
    }

    #[test]
    fn metadata_is_told_in_words_beside_other_content() {
        let other = Metadata { mode: 0o4755, uid: 0, gid: 0, ..metadata() };
        let other = Told { metadata: Some(other), ..row(Some(2)) };
        let words = "mode 0644 -> 4755, owner 1 -> 0, group 2 -> 0".to_owned();
        let (_, differences) = compare(&row(Some(1)), &other, false);
        assert_eq!(differences, [Difference::Content(Sign::Digest), Difference::Metadata(words)]);
        assert_eq!(compare(&row(Some(1)), &other, true).1, content(Sign::Digest));
    }

    #[test]
    fn links_differ_by_their_text_and_not_by_their_mode() {
        let mut other = link(b"x");
        other.metadata.as_mut().unwrap().mode = 0o777;
        assert_eq!(compare(&link(b"x"), &other, false), (None, vec![]));
        assert_eq!(compare(&link(b"x"), &link(b"y"), false).1, [Difference::Link]);
        assert_eq!(compare(&link(b"x"), &row(Some(1)), false), (None, vec![Difference::Type]));
    }

    #[test]
    fn an_object_may_be_a_link_or_a_marker() {
        assert_eq!(compare(&object(), &link(b"123"), false), (BY_SIZE, vec![]));
        assert_eq!(compare(&object(), &link(b"12"), false).1, content(Sign::Size));
        let copied = Told { digest: Some(Digest::of(b"123")), by: row(None).by, ..object() };
        assert_eq!(compare(&copied, &link(b"123"), false), (Some(Evidence::Digest), vec![]));
        assert_eq!(object_kind(&Key::new(*b"d/"), 0), Some(EntryKind::Directory));
        assert_eq!(object_kind(&Key::new(*b"d/"), 1), None);
        let directory = Told { kind: Some(EntryKind::Directory), ..row(None) };
        assert_eq!(compare(&object(), &directory, false).1, [Difference::Type]);
    }
}
