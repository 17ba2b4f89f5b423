//! Rows: what is known about one key, and how the state database stores it.

use crate::model::entry::Completeness;
use crate::model::{
    Apart, AttributeKinds, Attributes, AttributesDigest, Birth, DeviceNumber, Digest, Entry,
    EntryKind, ExtraDigests, Extras, FileFlags, Key, LinkGroup, Metadata, Stamp, Timestamp,
};
use rusqlite::types::ValueRef;
use rusqlite::{Statement, ToSql, params};

/// The number of a run in its state, by which rows refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(pub i64);

/// The number of a source in the state of a target, by which rows and runs refer to it. It is never
/// reused, and the published manifest uses it, too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct SourceNumber(pub i64);

impl SourceNumber {
    /// The first source of a target.
    pub const FIRST: Self = Self(1);
    /// The number of no source: no run from it is recorded.
    pub const NONE: Self = Self(0);
}

/// How it is known that the target's content is the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// vidimus copied it or hashed both sides: the digest is that of source and target.
    Proven,
    /// The target's copy was accepted as found. It has no digest, or one that was computed later
    /// from the target alone, which proves that the copy doesn't change but not that it equals the
    /// source.
    Adopted,
}

/// What is known about one key: what earlier runs recorded, with the target's stamp at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<T = Stamp> {
    /// The entry's key.
    pub key: Key,
    /// The kind of entry, on both sides.
    pub kind: EntryKind,
    /// The digest of the content, if there is content and it is known.
    pub digest: Option<Digest>,
    /// Other digests of the same content that a run was asked to record. Without `digest`, these
    /// are from an imported list for a file that didn't match it.
    pub extra: ExtraDigests,
    /// How it is known to equal the source.
    pub origin: Origin,
    /// The source's stamp when its content was read (or adopted).
    pub source: Stamp,
    /// Whether the content could have changed without a trace after the source's stamp was taken
    /// ([`Stamp::is_racy`]): then the stamp is no evidence.
    pub source_racy: bool,
    /// The target's stamp after the entry was put in place.
    pub target: T,
    /// The metadata that the target was given.
    pub metadata: Metadata,
    /// A symbolic link's text.
    pub link: Option<Box<[u8]>>,
    /// The run that copied or adopted the entry.
    pub run: RunNumber,
    /// The source of that run, which `source` is the stamp of.
    pub from: SourceNumber,
    /// When the target's content was last found to match the digest.
    pub verified_at: Option<Timestamp>,
    /// What few entries have.
    pub extras: Option<Box<Extras>>,
    /// Which of the source entry's attributes were looked for: of others nothing is known.
    pub looked: AttributeKinds,
    /// When the source's entry was created, if its file system says.
    pub born: Option<Birth>,
}

/// What a run knows about one key before the target's stamp is known. It is not a row yet and can't
/// be recorded.
pub type PendingRow = Row<()>;

impl Row {
    /// Returns whether the source's stamp is evidence for a run from the source with this number:
    /// it is that source's, or the row was imported or streamed, so that content alone decides. Any
    /// other row is evidence about the target only.
    pub fn knows_source(&self, number: SourceNumber) -> bool {
        self.from == number || self.source.is_unknown()
    }

    /// Adds the row's metadata to a listed entry, if the row was made for the same stamp of that
    /// side. Returns whether it did.
    pub fn complete(&self, recorded: &Stamp, entry: &mut Entry) -> bool {
        let tells = entry.completeness == Completeness::ListingOnly
            // Between two stores a marker is a file: such a row doesn't apply to a directory.
            && (self.kind == EntryKind::Directory) == (entry.kind == EntryKind::Directory)
            && entry.stamp == *recorded
            // The only directory without a tag is a bucket's root, which has no object.
            && (entry.stamp.tag().is_some() || entry.key.is_root());
        if tells {
            entry.kind = self.kind;
            entry.metadata = self.metadata;
            entry.link.clone_from(&self.link);
            entry.extras = self.extras.clone().and_then(|extras| {
                // Of which side's entry they are depends on the row's: see `tell`.
                Extras { attributes: None, apart: Apart::Nothing, ..*extras }.boxed()
            });
            entry.completeness = Completeness::Full;
        }
        tells
    }

    /// Adds to an entry of the target what the row has of it that its place doesn't keep, if the
    /// entry is the one that was recorded: by its tag in a store, else by what a file system keeps in
    /// any case: kind, size, time and link text.
    pub fn tell(&self, entry: &mut Entry) {
        let is_recorded = self.kind == entry.kind
            && match entry.kind {
                EntryKind::File => {
                    let found = (entry.stamp.size, entry.stamp.mtime(), entry.stamp.tag());
                    found == (self.target.size, self.target.mtime(), self.target.tag())
                }
                EntryKind::Symlink => {
                    (&entry.link, entry.stamp.tag()) == (&self.link, self.target.tag())
                }
                EntryKind::Directory | EntryKind::Special(_) => true,
            };
        if !is_recorded {
            return;
        }
        let Metadata { mode, uid, gid, .. } = self.metadata;
        let has_mode = entry.metadata.mode == mode || entry.kind == EntryKind::Symlink;
        if has_mode
            && (entry.metadata.uid, entry.metadata.gid) == (uid, gid)
            && let Some(meant) = self.meant()
        {
            entry.metadata = meant;
        }
        if self.looked != AttributeKinds::NONE {
            self.tell_attributes(entry);
        }
    }

    /// Returns the metadata that was meant for the entry, if it was given less.
    pub fn meant(&self) -> Option<Metadata> {
        self.extras.as_ref()?.meant
    }

    /// Adds the recorded attributes, if they were looked for. A mode that was given to an entry
    /// without its ACL becomes the one that it has with it.
    fn tell_attributes(&self, entry: &mut Entry) {
        let Some(Extras { attributes, apart, .. }) = self.extras.as_deref() else {
            if self.looked != AttributeKinds::NONE {
                entry.extras.get_or_insert_default().told = self.looked;
            }
            return;
        };
        let extras = entry.extras.get_or_insert_default();
        (extras.attributes, extras.told) = (*attributes, self.looked);
        extras.apart.clone_from(apart);
        if let Some(apart) = apart.loaded()
            && entry.metadata.mode == self.meant().unwrap_or(self.metadata).mode
        {
            entry.metadata.mode = apart.mode_with_acl(entry.metadata.mode);
        }
    }
}

#[cfg(test)]
impl Row {
    /// Makes the row of an entry that the first run copied from the first source; the target's
    /// stamp is the same, and nothing was hashed.
    pub(crate) fn of_copied(entry: Entry) -> Self {
        let (run, from) = (RunNumber(1), SourceNumber::FIRST);
        let by = RecordedBy { run, from, began: Timestamp::default() };
        let (stamp, metadata) = (entry.stamp, entry.metadata);
        let (origin, looked) = (Origin::Proven, AttributeKinds::ALL);
        let pending = PendingRow { origin, looked, ..PendingRow::of(entry, metadata, by) };
        Self { source_racy: false, ..pending.with_target(stamp) }
    }
}

impl<T> Row<T> {
    /// Returns the group of hard links that the entry was one of.
    pub fn group(&self) -> Option<LinkGroup> {
        self.extras.as_ref()?.group
    }

    /// Returns the number of a device.
    pub fn device(&self) -> Option<DeviceNumber> {
        self.extras.as_ref()?.device
    }

    fn having<U>(self, target: U) -> Row<U> {
        let Self { key, kind, digest, extra, origin, source, source_racy, .. } = self;
        let Self { metadata, link, run, from, verified_at, extras, looked, born, .. } = self;
        Row {
            key,
            kind,
            digest,
            extra,
            origin,
            source,
            source_racy,
            target,
            metadata,
            link,
            run,
            from,
            verified_at,
            extras,
            looked,
            born,
        }
    }
}

impl PendingRow {
    /// Begins the row of a source entry whose content was not read; the target is to have this
    /// metadata.
    pub fn of(entry: Entry, metadata: Metadata, by: RecordedBy) -> Self {
        let (nothing, told) = (Apart::Nothing, AttributeKinds::NONE);
        let extras = entry.extras.and_then(|mut extras| {
            // That is of the source's entry.
            (extras.apart, extras.told, extras.meant) = (nothing, told, None);
            extras.boxed()
        });
        let mut row = Self {
            key: entry.key,
            kind: entry.kind,
            digest: None,
            extra: ExtraDigests::default(),
            origin: Origin::Adopted,
            source: entry.stamp,
            source_racy: entry.stamp.is_racy(by.began),
            target: (),
            metadata: entry.metadata,
            link: entry.link,
            run: by.run,
            from: by.from,
            verified_at: None,
            extras,
            looked: AttributeKinds::NONE,
            born: entry.born,
        };
        row.set_given(metadata);
        row
    }

    /// Sets the metadata that the target's entry was given, and keeps what was meant for it, if
    /// that is more.
    pub fn set_given(&mut self, given: Metadata) {
        let before = std::mem::replace(&mut self.metadata, given);
        let meant = self.extras.as_ref().and_then(|extras| extras.meant).unwrap_or(before);
        // Links have no mode of their own.
        let mode = if self.kind == EntryKind::Symlink { given.mode } else { meant.mode };
        let meant = (Metadata { mode, ..meant } != given).then_some(meant);
        if meant.is_some() || self.extras.is_some() {
            let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
            self.extras = Extras { meant, ..extras }.boxed();
        }
    }

    /// Records which attributes the target's entry doesn't have itself.
    pub fn set_apart(&mut self, apart: Apart) {
        if apart.is_some() || self.extras.is_some() {
            let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
            self.extras = Extras { apart, ..extras }.boxed();
        }
    }

    /// Sets the flags that the entry was given.
    pub fn set_flags(&mut self, flags: FileFlags) {
        if !flags.is_empty() || self.extras.is_some() {
            let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
            self.extras = Extras { flags, ..extras }.boxed();
        }
    }

    /// Completes the row with the target's final stamp.
    pub fn with_target(self, target: Stamp) -> Row {
        self.having(target)
    }
}

impl From<Row> for PendingRow {
    /// Copies everything from a row but the target's stamp.
    fn from(row: Row) -> Self {
        row.having(())
    }
}

/// The run that records rows.
#[derive(Clone, Copy, Debug)]
pub struct RecordedBy {
    /// The run.
    pub run: RunNumber,
    /// The source of the run.
    pub from: SourceNumber,
    /// When the run began to list: later changes may leave no trace in stamps.
    pub began: Timestamp,
}

/// A file whose content was found to match its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file's key.
    pub key: Key,
    /// The digest.
    pub digest: Digest,
    /// The target's stamp in the row that the file was compared with.
    pub target: Stamp,
    /// When it was verified.
    pub at: Timestamp,
}

/// Sets when a file was verified, unless its row was replaced since it was read.
pub(super) const VERIFY: &str =
    "UPDATE entries SET verified_at = ?4 WHERE key = ?1 AND digest = ?2 AND target = ?3";

/// Sets the target's stamp of a repaired entry, its extras and, if its content was verified, when;
/// unless its row has other content.
pub(super) const MEND: &str = "UPDATE entries SET target = ?4, extras = ?6, \
     verified_at = coalesce(?5, verified_at) WHERE key = ?1 AND kind = ?2 AND digest IS ?3";

/// Binds a repaired entry to the statement [`MEND`] and executes it. If it could not be given the
/// recorded attributes, nobody looked for them: the next run does.
pub(super) fn mend(statement: &mut Statement<'_>, row: &Row) -> rusqlite::Result<usize> {
    // A name mended in a directory is a file of its own, which the next mirror links again.
    let without_group = |extras: Box<Extras>| {
        let group = extras.group.filter(|_| row.target.inode().is_none());
        Extras { group, ..*extras }
    };
    let extras = row.extras.clone().map(without_group);
    statement.execute(params![
        row.key.as_bytes(),
        row.kind.code(),
        row.digest.as_ref().map(|digest| &digest.0[..]),
        row.target.encode(),
        row.verified_at.map(nanoseconds),
        encode_extras(extras.as_ref(), row.looked),
    ])
}

/// Binds a verified file to the statement [`VERIFY`] and executes it.
pub(super) fn verify(
    statement: &mut Statement<'_>,
    verified: &Verified,
) -> rusqlite::Result<usize> {
    let Verified { key, digest, target, at } = verified;
    statement.execute(params![key.as_bytes(), &digest.0[..], target.encode(), nanoseconds(*at)])
}

/// Inserts a row or replaces the row of its key.
pub(super) const PUT: &str = "INSERT OR REPLACE INTO entries \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
     ?19, ?20)";

/// Returns the columns in a file of a format version, in the order of [`TABLE`], [`decode`] and
/// [`put`]. A column that an older version lacks is null, and its only source is the first.
pub(super) fn columns(version: i64) -> String {
    let extra = if version < 3 { "NULL, NULL" } else { "sha256, md5" };
    let from = if version < 4 { "1" } else { "from_source" };
    let extras = if version < 5 { "NULL, NULL" } else { "extras, born" };
    format!(
        "key, kind, digest, origin, source, source_racy, target, mode, uid, gid, mtime, \
         mtime_nanos, link, run, verified_at, {extra}, {from}, {extras}"
    )
}

/// The number of these columns.
pub(super) const WIDTH: usize = 20;

/// The table of rows.
pub(super) const TABLE: &str = "CREATE TABLE entries (
    key BLOB PRIMARY KEY NOT NULL,
    kind INTEGER NOT NULL,
    digest BLOB,
    origin INTEGER NOT NULL,
    source BLOB NOT NULL,
    source_racy INTEGER NOT NULL,
    target BLOB NOT NULL,
    mode INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    mtime_nanos INTEGER NOT NULL,
    link BLOB,
    run INTEGER NOT NULL,
    verified_at INTEGER,
    sha256 BLOB,
    md5 BLOB,
    from_source INTEGER NOT NULL,
    extras BLOB,
    born INTEGER
) STRICT, WITHOUT ROWID;";

/// The keys of each group of hard links. Rows decide: a key whose row is of another group by now may
/// still be here, after a repair.
pub(super) const LINKS: &str = "CREATE TABLE links (
    id INTEGER NOT NULL,
    key BLOB NOT NULL,
    PRIMARY KEY (id, key)
) STRICT, WITHOUT ROWID;";

/// The attributes that entries of the target don't have themselves, by their digest. What no row
/// refers to any more is removed when the manifest is written anew.
pub(super) const ATTRIBUTES: &str = "CREATE TABLE IF NOT EXISTS attributes (
    digest BLOB PRIMARY KEY NOT NULL,
    value BLOB NOT NULL,
    is_private INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// Makes a file of version 4 one of version 5, within a transaction.
pub(super) const TO_VERSION_5: &str = "ALTER TABLE entries ADD COLUMN extras BLOB;
    ALTER TABLE entries ADD COLUMN born INTEGER;";

/// Records that a key is of a group of hard links.
pub(super) const PUT_LINK: &str = "INSERT OR IGNORE INTO links VALUES (?1, ?2)";

/// Removes that record.
pub(super) const REMOVE_LINK: &str = "DELETE FROM links WHERE id = ?1 AND key = ?2";

/// Reads what [`group`] decodes.
pub(super) const EXTRAS: &str = "SELECT extras FROM entries WHERE key = ?1";

/// Decodes the group of hard links that a key is of by the row that [`EXTRAS`] found.
pub(super) fn group(found: &rusqlite::Row<'_>) -> Option<LinkGroup> {
    let bytes = found.get_ref(0).ok()?.as_blob_or_null().ok()?;
    decode_extras(bytes)?.0?.group
}

/// Binds a key and its group to the statement [`PUT_LINK`] or [`REMOVE_LINK`] and executes it.
pub(super) fn link(
    statement: &mut Statement<'_>,
    key: &Key,
    group: LinkGroup,
) -> rusqlite::Result<usize> {
    statement.execute(params![group.id.0 as i64, key.as_bytes()])
}

/// Records a set of attributes.
pub(super) const PUT_ATTRIBUTES: &str = "INSERT OR IGNORE INTO attributes VALUES (?1, ?2, ?3)";

/// Binds a set of attributes to the statement [`PUT_ATTRIBUTES`] and executes it.
pub(super) fn put_attributes(
    statement: &mut Statement<'_>,
    digest: AttributesDigest,
    attributes: &Attributes,
) -> rusqlite::Result<usize> {
    // What is too large was never to be kept apart.
    let Some(value) = attributes.encode() else { return Ok(0) };
    statement.execute(params![&digest.0[..], value, attributes.are_private()])
}

/// Binds a row to the statement [`PUT`] and executes it.
pub(super) fn put(statement: &mut Statement<'_>, row: &Row) -> rusqlite::Result<usize> {
    statement.execute(params![
        row.key.as_bytes(),
        row.kind.code(),
        row.digest.as_ref().map(|digest| &digest.0[..]),
        match row.origin {
            Origin::Proven => 0,
            Origin::Adopted => 1,
        },
        row.source.encode(),
        row.source_racy,
        row.target.encode(),
        row.metadata.mode,
        row.metadata.uid,
        row.metadata.gid,
        row.metadata.mtime.seconds,
        row.metadata.mtime.nanos,
        row.link.as_deref(),
        row.run.0,
        row.verified_at.map(nanoseconds).as_ref().map(|at| at as &dyn ToSql),
        row.extra.sha256.as_ref().map(|digest| &digest[..]),
        row.extra.md5.as_ref().map(|digest| &digest[..]),
        row.from.0,
        encode_extras(row.extras.as_deref(), row.looked),
        row.born.map(Birth::nanoseconds),
    ])
}

/// Bits beside those of [`Extras::encode`], in the first byte: what nobody looked for.
const EXTENDED_UNSEEN: u8 = 1 << 6;
const ACLS_UNSEEN: u8 = 1 << 7;

/// Encodes extras, and which attributes were looked for. Null, as in files of version 4, means that
/// there are no extras and nobody looked; no bytes, that somebody looked and found nothing.
fn encode_extras(extras: Option<&Extras>, looked: AttributeKinds) -> Option<Vec<u8>> {
    if extras.is_none() && looked == AttributeKinds::NONE {
        return None;
    }
    let mut bytes = extras.map(Extras::encode).unwrap_or_default();
    if looked != AttributeKinds::ALL {
        if bytes.is_empty() {
            bytes.push(0);
        }
        bytes[0] |= if looked.extended { 0 } else { EXTENDED_UNSEEN };
        bytes[0] |= if looked.acls { 0 } else { ACLS_UNSEEN };
    }
    Some(bytes)
}

/// Decodes what [`encode_extras`] made; `None` if it is invalid.
fn decode_extras(bytes: Option<&[u8]>) -> Option<(Option<Box<Extras>>, AttributeKinds)> {
    const UNSEEN: u8 = EXTENDED_UNSEEN | ACLS_UNSEEN;
    let Some(bytes) = bytes else { return Some((None, AttributeKinds::NONE)) };
    let first = bytes.first().copied().unwrap_or_default();
    let looked =
        AttributeKinds { extended: first & EXTENDED_UNSEEN == 0, acls: first & ACLS_UNSEEN == 0 };
    if first & UNSEEN == 0 {
        return Some((Extras::decode(bytes)?.boxed(), looked));
    }
    let mut bytes = bytes.to_vec();
    bytes[0] &= !UNSEEN;
    Some((Extras::decode(&bytes)?.boxed(), looked))
}

/// A row of a regular file, decoded as far as it takes to see that the file is unchanged.
#[derive(Debug)]
pub(super) struct FileRow {
    /// The key, and both stamps as they are stored.
    bytes: Box<[u8]>,
    key_end: usize,
    source_end: usize,
    pub(super) facts: FileFacts,
}

/// What the row of a file tells beside its key and stamps.
#[derive(Clone, Copy, Debug)]
pub struct FileFacts {
    /// The recorded metadata.
    pub metadata: Metadata,
    /// The source that the row is from.
    pub from: SourceNumber,
    /// Whether the source's stamp could hide a change.
    pub source_racy: bool,
    /// Which attributes were looked for, without finding any.
    pub looked: AttributeKinds,
}

impl FileRow {
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_end]
    }

    /// Returns whether these are the recorded stamps.
    pub(super) fn has_stamps(&self, source: &Stamp, target: &Stamp) -> bool {
        source.is_encoded_as(&self.bytes[self.key_end..self.source_end])
            && target.is_encoded_as(&self.bytes[self.source_end..])
    }

    /// Decodes a row; `None` if it is invalid, of something else than a file, or of a file that has
    /// what few have.
    pub(super) fn decode(row: &rusqlite::Row<'_>) -> Option<Self> {
        const FILE: i64 = 0;
        if integer(row, 1)? != FILE {
            return None;
        }
        let looked = match blob(row, 18)? {
            None => AttributeKinds::NONE,
            Some(b"") => AttributeKinds::ALL,
            Some(_) => return None,
        };
        // A row that isn't sound in all is as good as none: its entry is compared again.
        let has_length = |at, length| Some(blob(row, at)?.is_none_or(|it| it.len() == length));
        let is_sound = has_length(2, size_of::<Digest>())?
            && matches!(integer(row, 3)?, 0 | 1)
            && has_length(15, 32)?
            && has_length(16, 16)?;
        if !is_sound {
            return None;
        }
        let parts = [blob(row, 0)??, blob(row, 4)??, blob(row, 6)??];
        let (key_end, source_end) = (parts[0].len(), parts[0].len() + parts[1].len());
        let source_racy = match integer(row, 5)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let (metadata, from) = (decode_metadata(row)?, SourceNumber(integer(row, 17)?));
        let facts = FileFacts { metadata, from, source_racy, looked };
        Some(Self { bytes: parts.concat().into(), key_end, source_end, facts })
    }
}

/// Returns a column of bytes or NULL; `None` for one of another type.
#[expect(clippy::option_option, reason = "one is for NULL, the other for what it can't be")]
fn blob<'r>(row: &'r rusqlite::Row<'_>, at: usize) -> Option<Option<&'r [u8]>> {
    match row.get_ref(at).ok()? {
        ValueRef::Blob(bytes) => Some(Some(bytes)),
        ValueRef::Null => Some(None),
        _ => None,
    }
}

fn integer(row: &rusqlite::Row<'_>, at: usize) -> Option<i64> {
    match row.get_ref(at).ok()? {
        ValueRef::Integer(value) => Some(value),
        _ => None,
    }
}

fn decode_metadata(row: &rusqlite::Row<'_>) -> Option<Metadata> {
    let unsigned = |at: usize| u32::try_from(integer(row, at)?).ok();
    Some(Metadata {
        mode: unsigned(7)?,
        uid: unsigned(8)?,
        gid: unsigned(9)?,
        mtime: Timestamp {
            seconds: integer(row, 10)?,
            nanos: unsigned(11).filter(|&nanos| nanos < 1_000_000_000)?,
        },
    })
}

/// Decodes a row; `None` if it is invalid.
pub(super) fn decode(row: &rusqlite::Row<'_>) -> Option<Row> {
    let blob = |at| blob(row, at);
    let integer = |at| integer(row, at);
    let (extras, looked) = decode_extras(blob(18)?)?;
    Some(Row {
        key: Key::new(blob(0)??),
        kind: EntryKind::from_code(u8::try_from(integer(1)?).ok()?)?,
        digest: match blob(2)? {
            None => None,
            Some(bytes) => Some(Digest(bytes.try_into().ok()?)),
        },
        extra: ExtraDigests {
            sha256: blob(15)?.map(TryInto::try_into).transpose().ok()?,
            md5: blob(16)?.map(TryInto::try_into).transpose().ok()?,
        },
        origin: match integer(3)? {
            0 => Origin::Proven,
            1 => Origin::Adopted,
            _ => return None,
        },
        source: Stamp::decode(blob(4)??)?,
        source_racy: match integer(5)? {
            0 => false,
            1 => true,
            _ => return None,
        },
        target: Stamp::decode(blob(6)??)?,
        metadata: decode_metadata(row)?,
        link: blob(12)?.map(Into::into),
        run: RunNumber(integer(13)?),
        from: SourceNumber(integer(17)?),
        verified_at: match row.get_ref(14).ok()? {
            ValueRef::Null => None,
            ValueRef::Integer(at) => Some(timestamp(at)),
            _ => return None,
        },
        extras,
        looked,
        born: match row.get_ref(19).ok()? {
            ValueRef::Null => None,
            ValueRef::Integer(at) => Birth::of_nanoseconds(at),
            _ => return None,
        },
    })
}

/// Encodes a wall-clock time as nanoseconds since the epoch, saturating at the limits of `i64` (the
/// year 2262).
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos))
}

/// Decodes a time from [`nanoseconds`].
pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp {
        seconds: nanoseconds.div_euclid(1_000_000_000),
        nanos: nanoseconds.rem_euclid(1_000_000_000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_looked_is_told_from_that_there_is_nothing() {
        let all = crate::model::extras::tests::all();
        let mut encoded = Vec::new();
        for extras in [None, Some(Box::new(all))] {
            for (extended, acls) in [(false, false), (false, true), (true, false), (true, true)] {
                let looked = AttributeKinds { extended, acls };
                let bytes = encode_extras(extras.as_deref(), looked);
                assert_eq!(decode_extras(bytes.as_deref()), Some((extras.clone(), looked)));
                encoded.push(bytes);
            }
        }
        assert_eq!((&encoded[0], encoded[3].as_deref()), (&None, Some(&b""[..])));
    }
}
