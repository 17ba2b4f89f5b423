//! Comparison of one key: what each side knows of the entry, and how they differ.

use crate::backend::KeySpace;
use crate::manifest::Row;
use crate::model::entry::Completeness;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{
    AttributeKinds, AttributesDigest, ContentSign, DeviceNumber, DiffEntry, Entry, EntryKind,
    Keeps, Key, Mismatch, Timestamp,
};
use std::fmt;

/// What a side knows of one key, and how it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SideEntry {
    /// What is reported of it.
    pub(super) entry: DiffEntry,
    /// Another mtime that counts as equal: a target may store the source's mtime with less
    /// precision.
    pub(super) also_mtime: Option<Timestamp>,
    /// Where this comes from.
    pub(super) provenance: Provenance,
    /// Whether a manifest has a valid row for it.
    pub(super) has_row: bool,
    /// Whether it was touched since a manifest recorded a digest, which therefore doesn't count.
    pub(super) is_touched: bool,
    /// Whether its content was read by this comparison.
    pub(super) is_read: bool,
    /// The listed entry, for reading its content, if it has no digest.
    pub(super) listed: Option<Box<Entry>>,
    /// Its extended attributes and ACLs, if a manifest tells which it has.
    pub(super) attributes: Option<Recorded>,
}

/// The recorded digest of an entry's extended attributes and ACLs, if it has some.
pub(super) type Recorded = Option<AttributesDigest>;

/// Returns the attributes that a row tells.
fn attributes_of(row: &Row) -> Option<Recorded> {
    let recorded = row.extras.as_ref().and_then(|extras| extras.attributes);
    (row.looked == AttributeKinds::ALL).then_some(recorded)
}

/// Where knowledge of an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provenance {
    /// A manifest.
    Row,
    /// A file system's listing.
    Files,
    /// A store's listing.
    Objects,
}

/// What a comparison of two files' content is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Their digests.
    Digest,
    /// Their sizes and, on file systems, modification times.
    SizeAndTime {
        /// A manifest lists one without a digest: its content was never read.
        unproven: bool,
        /// They are equal, but one was touched since a manifest recorded its digest.
        touched: bool,
    },
}

impl SideEntry {
    /// Makes an entry from a manifest row.
    ///
    /// In a manifest between two stores (flat key space) each key is an object, whatever it
    /// contains, and metadata of objects that others stored is a guess.
    pub(super) fn by_row(row: Row, key_space: KeySpace) -> Self {
        let device = row.device();
        let attributes = attributes_of(&row).filter(|_| key_space == KeySpace::Tree);
        let Row { key, kind, digest, target, metadata, link, .. } = row;
        let size = target.size;
        let (kind, metadata) = match key_space {
            KeySpace::Tree => (Some(kind), Some(metadata)),
            KeySpace::Flat => (object_kind(&key, size), None),
        };
        Self {
            entry: DiffEntry { key, kind, size, digest, metadata, link, device },
            also_mtime: target.mtime(),
            provenance: Provenance::Row,
            has_row: true,
            is_touched: false,
            is_read: false,
            listed: None,
            attributes,
        }
    }

    /// Makes an entry from a listing. If the stamp matches the row, the row adds the digest and,
    /// for an object, its kind and metadata.
    pub(super) fn by_listing(mut entry: Entry, row: Option<&Row>, key_space: KeySpace) -> Self {
        let provenance = if entry.completeness == Completeness::Full {
            Provenance::Files
        } else {
            Provenance::Objects
        };
        let of_it = row.filter(|row| provenance == Provenance::Objects || row.kind == entry.kind);
        let row = of_it.filter(|row| {
            entry.stamp.compare(&row.target, StampFields::default()) == StampMatch::Same
        });
        let is_touched = row.is_none() && of_it.is_some_and(|row| row.digest.is_some());
        let is_told = match row {
            Some(row) if provenance == Provenance::Objects && key_space == KeySpace::Tree => {
                row.complete(&row.target, &mut entry)
            }
            _ => false,
        };
        let (kind, metadata) = match (provenance, entry.kind) {
            (Provenance::Files, kind) => (Some(kind), Some(entry.metadata)),
            (_, kind) if is_told => (Some(kind), Some(entry.metadata)),
            (_, EntryKind::Directory) => (Some(EntryKind::Directory), None),
            _ => (object_kind(&entry.key, entry.stamp.size), None),
        };
        let digest = row.filter(|row| row.kind == EntryKind::File).and_then(|row| row.digest);
        // A special file is never opened.
        let is_file = entry.link.is_none() && !matches!(entry.kind, EntryKind::Special(_));
        let can_be_read = digest.is_none() && is_file;
        Self {
            entry: DiffEntry {
                key: entry.key.clone(),
                kind,
                size: entry.stamp.size,
                digest,
                metadata,
                link: entry.link.clone(),
                device: entry.device(),
            },
            also_mtime: row.map(|row| row.metadata.mtime),
            provenance,
            has_row: row.is_some(),
            is_touched,
            is_read: false,
            attributes: row.filter(|_| key_space == KeySpace::Tree).and_then(attributes_of),
            listed: can_be_read.then(|| Box::new(entry)),
        }
    }

    /// Returns whether a manifest has a valid row for it, but without a digest.
    fn is_unproven(&self) -> bool {
        self.has_row && self.entry.digest.is_none() && self.entry.link.is_none()
    }

    fn has_mtime(&self, mtime: Timestamp) -> bool {
        self.also_mtime == Some(mtime)
            || self.entry.metadata.is_some_and(|metadata| metadata.mtime == mtime)
    }
}

/// Returns whether reading would show if two sides have the same content: their sizes are equal,
/// and at least one digest is unknown.
pub(super) fn is_undecided(a: &SideEntry, b: &SideEntry) -> bool {
    use EntryKind::{File, Symlink};
    let is_content = matches!(
        (a.entry.kind, b.entry.kind),
        (None | Some(File), None | Some(File)) | (None, Some(Symlink)) | (Some(Symlink), None)
    );
    let ((a_size, a_digest), (b_size, b_digest)) = (a.entry.content(), b.entry.content());
    is_content && a_size == b_size && (a_digest.is_none() || b_digest.is_none())
}

/// Returns the kind of an object about which nothing else is known.
fn object_kind(key: &Key, size: u64) -> Option<EntryKind> {
    (key.is_directory() && size == 0).then_some(EntryKind::Directory)
}

/// Compares what two sides know of one key. Returns what the comparison of content is based on, if
/// there is content. Metadata is compared if `keeps` is given, as far as each side can store it.
pub(super) fn compare(
    a: &SideEntry,
    b: &SideEntry,
    keeps: Option<&[Keeps; 2]>,
) -> (Option<Evidence>, Vec<Mismatch>) {
    use EntryKind::{File, Special, Symlink};
    let (evidence, difference) = match (a.entry.kind, b.entry.kind) {
        // What is known of an object may be its size alone.
        (None | Some(File), None | Some(File))
        | (None, Some(Symlink | Special(_)))
        | (Some(Symlink | Special(_)), None) => {
            let (evidence, sign) = compare_content(a, b);
            (Some(evidence), sign.map(Mismatch::Content))
        }
        (one, other) if one != other => return (None, vec![Mismatch::Type]),
        _ => (None, (a.entry.link != b.entry.link).then_some(Mismatch::Link)),
    };
    let leaves_mtime = matches!(difference, Some(Mismatch::Content(_)));
    let words = keeps.and_then(|keeps| metadata(a, b, keeps, leaves_mtime));
    (evidence, difference.into_iter().chain(words.map(Mismatch::Metadata)).collect())
}

fn compare_content(a: &SideEntry, b: &SideEntry) -> (Evidence, Option<ContentSign>) {
    let ((a_size, a_digest), (b_size, b_digest)) = (a.entry.content(), b.entry.content());
    if let (Some(one), Some(other)) = (a_digest, b_digest) {
        return (Evidence::Digest, (one != other).then_some(ContentSign::Digest));
    }
    let sign = if a_size != b_size {
        Some(ContentSign::Size)
    } else if [a, b].iter().any(|entry| entry.provenance == Provenance::Files) && !same_mtime(a, b)
    {
        Some(ContentSign::Time)
    } else {
        None
    };
    let unproven = a.is_unproven() || b.is_unproven();
    let touched = sign.is_none() && (a.is_touched || b.is_touched);
    (Evidence::SizeAndTime { unproven, touched }, sign)
}

/// Returns whether the modification times are equal, as far as both are known.
fn same_mtime(a: &SideEntry, b: &SideEntry) -> bool {
    match (&a.entry.metadata, &b.entry.metadata) {
        (Some(one), Some(other)) => b.has_mtime(one.mtime) || a.has_mtime(other.mtime),
        _ => true,
    }
}

/// Describes how metadata differs; `None` if it doesn't, or one side's is unknown. With
/// `leaves_mtime` the mtime is ignored, since it changes with the content anyway.
fn metadata(
    a: &SideEntry,
    b: &SideEntry,
    keeps: &[Keeps; 2],
    leaves_mtime: bool,
) -> Option<String> {
    let (Some(one), Some(other)) = (&a.entry.metadata, &b.entry.metadata) else { return None };
    let kind = a.entry.kind.or(b.entry.kind).unwrap_or(EntryKind::File);
    if kind == EntryKind::Directory && !keeps.iter().all(|keeps| keeps.directories) {
        return None;
    }
    // What a side can't store counts as what it has instead.
    let one = &keeps[1].achievable(*one, kind, Some(other));
    let other = &keeps[0].achievable(*other, kind, Some(one));
    let is_mtime_kept = same_mtime(a, b)
        || keeps[1].is_time(one.mtime, other.mtime)
        || keeps[0].is_time(other.mtime, one.mtime);
    let mut words = Vec::new();
    let mut differ = |name: &str, one: &dyn fmt::Display, other: &dyn fmt::Display| {
        words.push(format!("{name} {one} -> {other}"));
    };
    // Linux has no modes of links.
    if a.entry.kind != Some(EntryKind::Symlink) && one.mode != other.mode {
        let (one, other) = (one.mode, other.mode);
        differ("mode", &format_args!("{one:04o}"), &format_args!("{other:04o}"));
    }
    if one.uid != other.uid {
        differ("owner", &one.uid, &other.uid);
    }
    if one.gid != other.gid {
        differ("group", &one.gid, &other.gid);
    }
    if a.entry.device != b.entry.device && a.entry.kind == b.entry.kind {
        let word =
            |device: Option<DeviceNumber>| device.map_or_else(String::new, |it| it.to_string());
        differ("device", &word(a.entry.device), &word(b.entry.device));
    }
    if !leaves_mtime && !is_mtime_kept {
        differ("mtime", &one.mtime, &other.mtime);
    }
    if let (Some(one), Some(other)) = (a.attributes, b.attributes)
        && one != other
    {
        words.push(match (one, other) {
            (Some(_), None) => "attributes -> none".to_owned(),
            (None, _) => "none -> attributes".to_owned(),
            (Some(_), Some(_)) => "attributes differ".to_owned(),
        });
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Metadata};

    /// Both sides keep all metadata.
    const ALL: Option<&[Keeps; 2]> = Some(&[Keeps::ALL; 2]);
    const KEPT: Timestamp = Timestamp { seconds: 4, nanos: 0 };

    fn metadata() -> Metadata {
        Metadata { mode: 0o644, uid: 1, gid: 2, mtime: Timestamp { seconds: 5, nanos: 6 } }
    }

    fn row(digest: Option<u8>) -> SideEntry {
        SideEntry {
            entry: DiffEntry {
                key: Key::new(*b"a"),
                kind: Some(EntryKind::File),
                size: 3,
                digest: digest.map(|byte| Digest([byte; 32])),
                metadata: Some(metadata()),
                link: None,
                device: None,
            },
            also_mtime: Some(KEPT),
            provenance: Provenance::Row,
            has_row: true,
            is_touched: false,
            is_read: false,
            listed: None,
            attributes: None,
        }
    }

    /// Changes what is reported of an entry.
    fn with(mut side: SideEntry, change: impl FnOnce(&mut DiffEntry)) -> SideEntry {
        change(&mut side.entry);
        side
    }

    fn of_length(side: SideEntry, bytes: u64) -> SideEntry {
        with(side, |entry| entry.size = bytes)
    }

    fn of_kind(side: SideEntry, kind: EntryKind) -> SideEntry {
        with(side, |entry| entry.kind = Some(kind))
    }

    fn listed() -> SideEntry {
        SideEntry { also_mtime: None, provenance: Provenance::Files, has_row: false, ..row(None) }
    }

    fn object() -> SideEntry {
        let known = with(row(None), |entry| (entry.kind, entry.metadata) = (None, None));
        let provenance = Provenance::Objects;
        SideEntry { also_mtime: None, provenance, has_row: false, ..known }
    }

    fn at(side: SideEntry, seconds: i64) -> SideEntry {
        let mtime = Timestamp { seconds, nanos: 0 };
        with(side, |entry| {
            entry.metadata = entry.metadata.map(|metadata| Metadata { mtime, ..metadata });
        })
    }

    fn link(text: &[u8]) -> SideEntry {
        with(row(None), |entry| {
            (entry.kind, entry.link) = (Some(EntryKind::Symlink), Some(text.into()));
        })
    }

    const BY_SIZE: Option<Evidence> =
        Some(Evidence::SizeAndTime { unproven: false, touched: false });
    const UNPROVEN: Option<Evidence> =
        Some(Evidence::SizeAndTime { unproven: true, touched: false });

    fn content(sign: ContentSign) -> Vec<Mismatch> {
        vec![Mismatch::Content(sign)]
    }

    #[test]
    fn attributes_that_manifests_tell_are_compared() {
        let with = |attributes| SideEntry { attributes, ..row(Some(1)) };
        let [one, other] = [1, 2].map(|byte| with(Some(Some(AttributesDigest([byte; 16])))));
        let words = |a: &SideEntry, b: &SideEntry| match &compare(a, b, ALL).1[..] {
            [] => String::new(),
            [Mismatch::Metadata(words)] => words.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(words(&one, &one), "");
        assert_eq!(words(&one, &other), "attributes differ");
        assert_eq!(words(&one, &with(Some(None))), "attributes -> none");
        assert_eq!(words(&with(Some(None)), &one), "none -> attributes");
        assert_eq!(words(&one, &with(None)), "", "nobody looked");
    }

    #[test]
    fn two_digests_settle_content() {
        let by_digest = Some(Evidence::Digest);
        assert_eq!(compare(&row(Some(1)), &row(Some(1)), ALL), (by_digest, vec![]));
        let other = at(row(Some(2)), 9);
        assert_eq!(compare(&row(Some(1)), &other, ALL), (by_digest, content(ContentSign::Digest)));
    }

    #[test]
    fn without_two_digests_size_counts_and_on_a_file_system_the_time() {
        let one = row(Some(1));
        assert_eq!(compare(&one, &listed(), ALL), (BY_SIZE, vec![]));
        let longer = of_length(listed(), 4);
        assert_eq!(compare(&one, &longer, ALL), (BY_SIZE, content(ContentSign::Size)));
        let later = at(listed(), 9);
        assert_eq!(compare(&one, &later, ALL), (BY_SIZE, content(ContentSign::Time)));
        assert_eq!(compare(&listed(), &later, None), (BY_SIZE, content(ContentSign::Time)));
        assert_eq!(
            compare(&one, &at(listed(), 4), ALL),
            (BY_SIZE, vec![]),
            "as the target keeps it"
        );
        assert_eq!(compare(&object(), &later, ALL), (BY_SIZE, vec![]), "a store lists no mtime");
    }

    #[test]
    fn a_row_without_a_digest_is_compared_by_size_and_counted() {
        assert_eq!(compare(&row(Some(1)), &row(None), ALL), (UNPROVEN, vec![]));
        let later = at(row(None), 9);
        let words = "mtime 1970-01-01T00:00:05.000000006Z -> 1970-01-01T00:00:09Z".to_owned();
        let differences = vec![Mismatch::Metadata(words)];
        assert_eq!(compare(&row(Some(1)), &later, ALL), (UNPROVEN, differences));
        assert_eq!(compare(&row(Some(1)), &later, None), (UNPROVEN, vec![]));
        let longer = of_length(row(None), 4);
        assert_eq!(compare(&row(Some(1)), &longer, None), (UNPROVEN, content(ContentSign::Size)));
    }

    #[test]
    fn a_touched_file_of_the_same_size_and_time_is_counted_separately() {
        let touched = SideEntry { is_touched: true, ..listed() };
        let evidence = |touched| Some(Evidence::SizeAndTime { unproven: false, touched });
        assert_eq!(compare(&row(Some(1)), &touched, ALL), (evidence(true), vec![]));
        assert_eq!(compare(&touched, &listed(), ALL), (evidence(true), vec![]));
        let longer = of_length(touched.clone(), 4);
        assert_eq!(
            compare(&row(Some(1)), &longer, ALL),
            (evidence(false), content(ContentSign::Size))
        );
        let read = with(touched, |entry| entry.digest = Some(Digest([1; 32])));
        assert_eq!(compare(&row(Some(1)), &read, ALL), (Some(Evidence::Digest), vec![]));
    }

    #[test]
    fn metadata_differences_are_described_beside_other_content() {
        let other = Metadata { mode: 0o4755, uid: 0, gid: 0, ..metadata() };
        let other = with(row(Some(2)), |entry| entry.metadata = Some(other));
        let words = "mode 0644 -> 4755, owner 1 -> 0, group 2 -> 0".to_owned();
        let (_, differences) = compare(&row(Some(1)), &other, ALL);
        assert_eq!(
            differences,
            [Mismatch::Content(ContentSign::Digest), Mismatch::Metadata(words)]
        );
        assert_eq!(compare(&row(Some(1)), &other, None).1, content(ContentSign::Digest));
    }

    #[test]
    fn metadata_that_a_side_cannot_keep_is_no_difference() {
        let wide = Metadata { mode: 0o777, uid: 0, gid: 0, ..metadata() };
        let listed = |metadata| with(listed(), |entry| entry.metadata = Some(metadata));
        let (one, other) = (listed(metadata()), listed(wide));
        let unkept = Keeps { file_mode: Some(0o777), owner: Some((0, 0)), ..Keeps::ALL };
        for keeps in [[Keeps::ALL, unkept], [unkept, Keeps::ALL], [unkept, unkept]] {
            assert_eq!(compare(&one, &other, Some(&keeps)).1, []);
        }
        let unkept = Keeps { owner: None, ..unkept };
        let words = "owner 1 -> 0, group 2 -> 0".to_owned();
        let differences = [Mismatch::Metadata(words)];
        assert_eq!(compare(&one, &other, Some(&[Keeps::ALL, unkept])).1, differences);
        // A side may have no metadata of directories.
        let directory = |entry| of_kind(entry, EntryKind::Directory);
        let (one, other) = (directory(one), directory(other));
        let implied = Keeps { directories: false, ..Keeps::ALL };
        assert_eq!(compare(&one, &other, Some(&[Keeps::ALL, implied])).1, []);
        assert_ne!(compare(&one, &other, ALL).1, []);
    }

    #[test]
    fn links_differ_by_their_text_and_not_by_their_mode() {
        let mut other = link(b"x");
        other.entry.metadata.as_mut().unwrap().mode = 0o777;
        assert_eq!(compare(&link(b"x"), &other, ALL), (None, vec![]));
        assert_eq!(compare(&link(b"x"), &link(b"y"), ALL).1, [Mismatch::Link]);
        assert_eq!(compare(&link(b"x"), &row(Some(1)), ALL), (None, vec![Mismatch::Type]));
    }

    #[test]
    fn an_object_may_be_a_link_or_a_marker() {
        assert_eq!(compare(&object(), &link(b"123"), ALL), (BY_SIZE, vec![]));
        assert_eq!(compare(&object(), &link(b"12"), ALL).1, content(ContentSign::Size));
        let copied = SideEntry { provenance: row(None).provenance, ..object() };
        let copied = with(copied, |entry| entry.digest = Some(Digest::of(b"123")));
        assert_eq!(compare(&copied, &link(b"123"), ALL), (Some(Evidence::Digest), vec![]));
        assert_eq!(object_kind(&Key::new(*b"d/"), 0), Some(EntryKind::Directory));
        assert_eq!(object_kind(&Key::new(*b"d/"), 1), None);
        let directory = of_kind(row(None), EntryKind::Directory);
        assert_eq!(compare(&object(), &directory, ALL).1, [Mismatch::Type]);
    }
}
