//! What a side tells of a key, and in what two sides differ there.

use crate::backend::KeySpace;
use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{Digest, Entry, EntryKind, Keeps, Key, Metadata, Timestamp};
use std::fmt;

/// What a side tells of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffEntry {
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
    /// Another mtime that stands for the same: a target keeps of the one it was given what it can.
    pub also_mtime: Option<Timestamp>,
    /// Who tells it.
    pub by: Teller,
    /// Whether a manifest vouches for what is told.
    pub has_row: bool,
    /// Whether a manifest tells of another stamp: its digest is none of what stands there now.
    pub is_touched: bool,
    /// Whether its content was read for its digest just now.
    pub is_read: bool,
    /// The entry whose content can be read, where no digest is known.
    pub(super) listed: Option<Box<Entry>>,
}

/// Who tells what is at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// A manifest.
    Row,
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
        /// They are the same, but a manifest had a digest before that file was touched.
        touched: bool,
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

impl DiffEntry {
    /// What a manifest whose keys have this form tells.
    ///
    /// In a manifest between two stores a key is an object, whatever it holds; the metadata of what
    /// others stored is a guess there.
    pub(super) fn by_row(row: Row, key_space: KeySpace) -> Self {
        let Row { key, kind, digest, target, metadata, link, .. } = row;
        let size = target.size;
        let (kind, metadata) = match key_space {
            KeySpace::Tree => (Some(kind), Some(metadata)),
            KeySpace::Flat => (object_kind(&key, size), None),
        };
        Self {
            key,
            kind,
            size,
            digest,
            metadata,
            link,
            also_mtime: target.mtime(),
            by: Teller::Row,
            has_row: true,
            is_touched: false,
            is_read: false,
            listed: None,
        }
    }

    /// What a listing tells, and of an entry that is as its row says, what the row does: its
    /// digest, and of an object what it is.
    pub(super) fn by_listing(mut entry: Entry, row: Option<&Row>, key_space: KeySpace) -> Self {
        let by =
            if entry.completeness == Completeness::Full { Teller::Files } else { Teller::Objects };
        let of_it = row.filter(|row| by == Teller::Objects || row.kind == entry.kind);
        let row = of_it.filter(|row| {
            entry.stamp.compare(&row.target, StampFields::default()) == StampMatch::Same
        });
        let is_touched = row.is_none() && of_it.is_some_and(|row| row.digest.is_some());
        let is_told = match row {
            Some(row) if by == Teller::Objects && key_space == KeySpace::Tree => {
                row.complete(&row.target, &mut entry)
            }
            _ => false,
        };
        let (kind, metadata) = match (by, entry.kind) {
            (Teller::Files, kind) => (Some(kind), Some(entry.metadata)),
            (_, kind) if is_told => (Some(kind), Some(entry.metadata)),
            (_, EntryKind::Directory) => (Some(EntryKind::Directory), None),
            _ => (object_kind(&entry.key, entry.stamp.size), None),
        };
        let digest = row.filter(|row| row.kind == EntryKind::File).and_then(|row| row.digest);
        let can_be_read = digest.is_none() && entry.link.is_none();
        Self {
            key: entry.key.clone(),
            kind,
            size: entry.stamp.size,
            digest,
            metadata,
            link: entry.link.clone(),
            also_mtime: row.map(|row| row.metadata.mtime),
            by,
            has_row: row.is_some(),
            is_touched,
            is_read: false,
            listed: can_be_read.then(|| Box::new(entry)),
        }
    }

    /// The size and, where it is known, the digest of what it holds: a link holds its text.
    pub fn content(&self) -> (u64, Option<Digest>) {
        match &self.link {
            Some(text) => (text.len() as u64, Some(Digest::of(text))),
            None => (self.size, self.digest),
        }
    }

    /// Whether a manifest vouches for it, without a digest of its content.
    fn is_unproven(&self) -> bool {
        self.has_row && self.digest.is_none() && self.link.is_none()
    }

    fn has_mtime(&self, mtime: Timestamp) -> bool {
        self.also_mtime == Some(mtime)
            || self.metadata.is_some_and(|metadata| metadata.mtime == mtime)
    }
}

/// Whether reading could tell whether two sides have the same content: their sizes are the same,
/// and one digest at least isn't known.
pub(super) fn is_undecided(a: &DiffEntry, b: &DiffEntry) -> bool {
    use EntryKind::{File, Symlink};
    let is_content = matches!(
        (a.kind, b.kind),
        (None | Some(File), None | Some(File)) | (None, Some(Symlink)) | (Some(Symlink), None)
    );
    let ((a_size, a_digest), (b_size, b_digest)) = (a.content(), b.content());
    is_content && a_size == b_size && (a_digest.is_none() || b_digest.is_none())
}

/// What an object of which no more is known can be.
fn object_kind(key: &Key, size: u64) -> Option<EntryKind> {
    (key.is_directory() && size == 0).then_some(EntryKind::Directory)
}

/// Compares what two sides tell of one key; what told whether the content is the same, where there
/// is any. Metadata is compared where that is wanted, as far as each side `keeps` it.
pub(super) fn compare(
    a: &DiffEntry,
    b: &DiffEntry,
    keeps: Option<&[Keeps; 2]>,
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
    let words = keeps.and_then(|keeps| metadata(a, b, keeps, leaves_mtime));
    (evidence, difference.into_iter().chain(words.map(Difference::Metadata)).collect())
}

fn compare_content(a: &DiffEntry, b: &DiffEntry) -> (Evidence, Option<Sign>) {
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
    let unproven = a.is_unproven() || b.is_unproven();
    let touched = sign.is_none() && (a.is_touched || b.is_touched);
    (Evidence::SizeAndTime { unproven, touched }, sign)
}

/// Whether the modification times are the same, as far as both are known.
fn same_mtime(a: &DiffEntry, b: &DiffEntry) -> bool {
    match (&a.metadata, &b.metadata) {
        (Some(one), Some(other)) => b.has_mtime(one.mtime) || a.has_mtime(other.mtime),
        _ => true,
    }
}

/// What of the metadata differs, in words; nothing where a side doesn't know it. Other content has
/// another mtime: that says nothing more.
fn metadata(
    a: &DiffEntry,
    b: &DiffEntry,
    keeps: &[Keeps; 2],
    leaves_mtime: bool,
) -> Option<String> {
    let (Some(one), Some(other)) = (&a.metadata, &b.metadata) else { return None };
    let kind = a.kind.or(b.kind).unwrap_or(EntryKind::File);
    if kind == EntryKind::Directory && !keeps.iter().all(|keeps| keeps.directories) {
        return None;
    }
    // What a side can't keep is there as that has it.
    let one = &keeps[1].achievable(*one, kind, Some(other));
    let other = &keeps[0].achievable(*other, kind, Some(one));
    let is_mtime_kept = same_mtime(a, b)
        || keeps[1].is_time(one.mtime, other.mtime)
        || keeps[0].is_time(other.mtime, one.mtime);
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
    if !leaves_mtime && !is_mtime_kept {
        differ("mtime", &one.mtime, &other.mtime);
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All metadata is kept.
    const ALL: Option<&[Keeps; 2]> = Some(&[Keeps::ALL; 2]);
    const KEPT: Timestamp = Timestamp { seconds: 4, nanos: 0 };

    fn metadata() -> Metadata {
        Metadata { mode: 0o644, uid: 1, gid: 2, mtime: Timestamp { seconds: 5, nanos: 6 } }
    }

    fn row(digest: Option<u8>) -> DiffEntry {
        DiffEntry {
            key: Key::new(*b"a"),
            kind: Some(EntryKind::File),
            size: 3,
            digest: digest.map(|byte| Digest([byte; 32])),
            metadata: Some(metadata()),
            link: None,
            also_mtime: Some(KEPT),
            by: Teller::Row,
            has_row: true,
            is_touched: false,
            is_read: false,
            listed: None,
        }
    }

    fn listed() -> DiffEntry {
        DiffEntry { also_mtime: None, by: Teller::Files, has_row: false, ..row(None) }
    }

    fn object() -> DiffEntry {
        DiffEntry {
            kind: None,
            metadata: None,
            also_mtime: None,
            by: Teller::Objects,
            has_row: false,
            ..row(None)
        }
    }

    fn at(told: DiffEntry, seconds: i64) -> DiffEntry {
        let mtime = Timestamp { seconds, nanos: 0 };
        DiffEntry { metadata: told.metadata.map(|metadata| Metadata { mtime, ..metadata }), ..told }
    }

    fn link(text: &[u8]) -> DiffEntry {
        let (kind, link) = (Some(EntryKind::Symlink), Some(text.into()));
        DiffEntry { kind, link, digest: None, ..row(None) }
    }

    const BY_SIZE: Option<Evidence> =
        Some(Evidence::SizeAndTime { unproven: false, touched: false });
    const UNPROVEN: Option<Evidence> =
        Some(Evidence::SizeAndTime { unproven: true, touched: false });

    fn content(sign: Sign) -> Vec<Difference> {
        vec![Difference::Content(sign)]
    }

    #[test]
    fn two_digests_settle_content() {
        let by_digest = Some(Evidence::Digest);
        assert_eq!(compare(&row(Some(1)), &row(Some(1)), ALL), (by_digest, vec![]));
        let other = at(row(Some(2)), 9);
        assert_eq!(compare(&row(Some(1)), &other, ALL), (by_digest, content(Sign::Digest)));
    }

    #[test]
    fn without_two_digests_size_counts_and_in_a_listed_directory_the_time() {
        let one = row(Some(1));
        assert_eq!(compare(&one, &listed(), ALL), (BY_SIZE, vec![]));
        let longer = DiffEntry { size: 4, ..listed() };
        assert_eq!(compare(&one, &longer, ALL), (BY_SIZE, content(Sign::Size)));
        let later = at(listed(), 9);
        assert_eq!(compare(&one, &later, ALL), (BY_SIZE, content(Sign::Time)));
        assert_eq!(compare(&listed(), &later, None), (BY_SIZE, content(Sign::Time)));
        assert_eq!(compare(&one, &at(listed(), 4), ALL), (BY_SIZE, vec![]), "as it was kept");
        assert_eq!(compare(&object(), &later, ALL), (BY_SIZE, vec![]), "a store tells no time");
    }

    #[test]
    fn a_row_without_a_digest_is_compared_by_size_and_counted() {
        assert_eq!(compare(&row(Some(1)), &row(None), ALL), (UNPROVEN, vec![]));
        let later = at(row(None), 9);
        let words = "mtime 1970-01-01T00:00:05.000000006Z -> 1970-01-01T00:00:09Z".to_owned();
        let differences = vec![Difference::Metadata(words)];
        assert_eq!(compare(&row(Some(1)), &later, ALL), (UNPROVEN, differences));
        assert_eq!(compare(&row(Some(1)), &later, None), (UNPROVEN, vec![]));
        let longer = DiffEntry { size: 4, ..row(None) };
        assert_eq!(compare(&row(Some(1)), &longer, None), (UNPROVEN, content(Sign::Size)));
    }

    #[test]
    fn a_touched_file_of_the_same_size_and_time_is_told_apart() {
        let touched = DiffEntry { is_touched: true, ..listed() };
        let evidence = |touched| Some(Evidence::SizeAndTime { unproven: false, touched });
        assert_eq!(compare(&row(Some(1)), &touched, ALL), (evidence(true), vec![]));
        assert_eq!(compare(&touched, &listed(), ALL), (evidence(true), vec![]));
        let longer = DiffEntry { size: 4, ..touched.clone() };
        assert_eq!(compare(&row(Some(1)), &longer, ALL), (evidence(false), content(Sign::Size)));
        let read = DiffEntry { digest: Some(Digest([1; 32])), ..touched };
        assert_eq!(compare(&row(Some(1)), &read, ALL), (Some(Evidence::Digest), vec![]));
    }

    #[test]
    fn metadata_is_told_in_words_beside_other_content() {
        let other = Metadata { mode: 0o4755, uid: 0, gid: 0, ..metadata() };
        let other = DiffEntry { metadata: Some(other), ..row(Some(2)) };
        let words = "mode 0644 -> 4755, owner 1 -> 0, group 2 -> 0".to_owned();
        let (_, differences) = compare(&row(Some(1)), &other, ALL);
        assert_eq!(differences, [Difference::Content(Sign::Digest), Difference::Metadata(words)]);
        assert_eq!(compare(&row(Some(1)), &other, None).1, content(Sign::Digest));
    }

    #[test]
    fn what_a_side_can_t_keep_is_no_difference() {
        let wide = Metadata { mode: 0o777, uid: 0, gid: 0, ..metadata() };
        let told = |metadata| DiffEntry { metadata: Some(metadata), ..listed() };
        let (one, other) = (told(metadata()), told(wide));
        let unkept = Keeps { file_mode: Some(0o777), owner: Some((0, 0)), ..Keeps::ALL };
        for keeps in [[Keeps::ALL, unkept], [unkept, Keeps::ALL], [unkept, unkept]] {
            assert_eq!(compare(&one, &other, Some(&keeps)).1, []);
        }
        let unkept = Keeps { owner: None, ..unkept };
        let words = "owner 1 -> 0, group 2 -> 0".to_owned();
        let differences = [Difference::Metadata(words)];
        assert_eq!(compare(&one, &other, Some(&[Keeps::ALL, unkept])).1, differences);
        // A directory may be kept for what lies in it alone.
        let directory = |told| DiffEntry { kind: Some(EntryKind::Directory), ..told };
        let (one, other) = (directory(one), directory(other));
        let implied = Keeps { directories: false, ..Keeps::ALL };
        assert_eq!(compare(&one, &other, Some(&[Keeps::ALL, implied])).1, []);
        assert_ne!(compare(&one, &other, ALL).1, []);
    }

    #[test]
    fn links_differ_by_their_text_and_not_by_their_mode() {
        let mut other = link(b"x");
        other.metadata.as_mut().unwrap().mode = 0o777;
        assert_eq!(compare(&link(b"x"), &other, ALL), (None, vec![]));
        assert_eq!(compare(&link(b"x"), &link(b"y"), ALL).1, [Difference::Link]);
        assert_eq!(compare(&link(b"x"), &row(Some(1)), ALL), (None, vec![Difference::Type]));
    }

    #[test]
    fn an_object_may_be_a_link_or_a_marker() {
        assert_eq!(compare(&object(), &link(b"123"), ALL), (BY_SIZE, vec![]));
        assert_eq!(compare(&object(), &link(b"12"), ALL).1, content(Sign::Size));
        let copied = DiffEntry { digest: Some(Digest::of(b"123")), by: row(None).by, ..object() };
        assert_eq!(compare(&copied, &link(b"123"), ALL), (Some(Evidence::Digest), vec![]));
        assert_eq!(object_kind(&Key::new(*b"d/"), 0), Some(EntryKind::Directory));
        assert_eq!(object_kind(&Key::new(*b"d/"), 1), None);
        let directory = DiffEntry { kind: Some(EntryKind::Directory), ..row(None) };
        assert_eq!(compare(&object(), &directory, ALL).1, [Difference::Type]);
    }
}
