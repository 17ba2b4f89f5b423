//! Entries: one thing at a key.

use super::{
    Apart, AttributeKinds, Attributes, AttributesDigest, DeviceNumber, Digest, Extras, FileFlags,
    Key, LinkGroup, Stamp, Timestamp, serial,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroI64;
use std::sync::Arc;

/// Maximum length in bytes of a symbolic link's text (`PATH_MAX` without its NUL).
pub const LONGEST_LINK: u64 = 4095;

/// Mode bit: the program runs as the file's owner.
pub const SET_UID: u32 = 0o4000;
/// Mode bit: the program runs as the file's group; in a directory, new entries inherit its group.
pub const SET_GID: u32 = 0o2000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; never followed, its text is its content.
    Symlink,
    /// Anything else: made anew in the target, and never opened.
    Special(SpecialKind),
}

/// Which kind of special file an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialKind {
    /// A named pipe.
    Fifo,
    /// A Unix-domain socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A type that this program doesn't know.
    Unknown,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Special(SpecialKind::Fifo) => "named pipe",
            Self::Special(SpecialKind::Socket) => "socket",
            Self::Special(SpecialKind::CharacterDevice) => "character device",
            Self::Special(SpecialKind::BlockDevice) => "block device",
            Self::Special(SpecialKind::Unknown) => "special file of an unknown type",
        })
    }
}

/// POSIX metadata that a mirror keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission, set-id and sticky bits (the low twelve bits of `st_mode`).
    #[serde(with = "serial::octal")]
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// When the content changed.
    pub mtime: Timestamp,
}

impl Metadata {
    /// Returns the metadata that is set if the file gets another owner or group than intended: a
    /// set-id bit never passes to another owner or group. A directory's set-group-id bit only says
    /// which group new entries get, and is kept.
    #[must_use]
    pub fn owned_by(self, uid: u32, gid: u32, kind: EntryKind) -> Self {
        let mut mode = self.mode;
        if uid != self.uid {
            mode &= !SET_UID;
        }
        if gid != self.gid && kind != EntryKind::Directory {
            mode &= !SET_GID;
        }
        Self { mode, uid, gid, ..self }
    }
}

/// When an entry was created, as its file system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth(NonZeroI64);

impl Birth {
    /// Makes it of a time; `None` for the epoch, which stands for a time that isn't known.
    pub fn of(time: Timestamp) -> Option<Self> {
        let seconds = time.seconds.saturating_mul(1_000_000_000);
        Self::of_nanoseconds(seconds.saturating_add(time.nanos.into()))
    }

    /// Makes it of nanoseconds since the epoch; `None` for the epoch.
    pub fn of_nanoseconds(nanoseconds: i64) -> Option<Self> {
        NonZeroI64::new(nanoseconds).map(Self)
    }

    /// Returns the nanoseconds since the epoch.
    pub fn nanoseconds(self) -> i64 {
        self.0.get()
    }

    /// Returns the time.
    pub fn time(self) -> Timestamp {
        let nanoseconds = self.0.get();
        Timestamp {
            seconds: nanoseconds.div_euclid(1_000_000_000),
            nanos: nanoseconds.rem_euclid(1_000_000_000) as u32,
        }
    }
}

/// How much is known about an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// Everything.
    #[default]
    Full,
    /// Key and stamp only, from a store's listing. Kind, metadata and link text are guesses until
    /// the object is looked up, or a row with this stamp is found.
    ListingOnly,
    /// Everything there is, but no metadata was stored with the object: mode, owner, group and
    /// mtime are guesses that no lookup improves.
    NoStoredMetadata,
    /// A directory without an object of its own, implied by keys below it.
    Implicit,
}

impl Completeness {
    const ALL: [Self; 4] = [Self::Full, Self::ListingOnly, Self::NoStoredMetadata, Self::Implicit];
}

/// One thing at a key, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name below the root; ends in `/` if and only if the entry is a directory.
    #[serde(flatten, with = "serial::key")]
    pub key: Key,
    /// File, directory, link or special.
    pub kind: EntryKind,
    /// Cheap evidence of its content.
    pub stamp: Stamp,
    /// Mode, owner, group and mtime.
    pub metadata: Metadata,
    /// A symbolic link's text.
    #[serde(flatten, with = "serial::link")]
    pub link: Option<Box<[u8]>>,
    /// How much of this is known.
    pub completeness: Completeness,
    /// The digest that was stored with this version when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Digest>,
    /// What few entries have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Box<Extras>>,
    /// When it was created, if its file system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<Birth>,
}

impl Entry {
    /// Makes a regular file that doesn't exist yet, and so has no stamp. `size` may be an estimate.
    pub fn new_file(key: Key, size: u64, metadata: Metadata) -> Self {
        Self {
            key,
            kind: EntryKind::File,
            stamp: Stamp::unknown(size),
            metadata,
            link: None,
            completeness: Completeness::Full,
            recorded: None,
            extras: None,
            born: None,
        }
    }

    /// Returns the number of a device.
    pub fn device(&self) -> Option<DeviceNumber> {
        self.extras.as_ref()?.device
    }

    /// Returns the size of a regular file's content in bytes; 0 for any other kind.
    pub fn size(&self) -> u64 {
        if self.kind == EntryKind::File { self.stamp.size } else { 0 }
    }

    /// Sets the digest of its extended attributes and ACLs.
    pub fn set_attributes(&mut self, attributes: Option<AttributesDigest>) {
        if attributes.is_some() || self.extras.is_some() {
            let extras = self.extras.take().map(|extras| *extras).unwrap_or_default();
            self.extras = Extras { attributes, ..extras }.boxed();
        }
    }

    /// Returns the names of the file, if there may be others than this one.
    pub fn group(&self) -> Option<LinkGroup> {
        self.extras.as_ref()?.group
    }

    /// Returns the flags of the file, as chattr(1) sets them.
    pub fn flags(&self) -> FileFlags {
        self.extras.as_ref().map(|extras| extras.flags).unwrap_or_default()
    }

    /// Returns when the file was last read, if that was asked for.
    pub fn accessed(&self) -> Option<Timestamp> {
        self.extras.as_ref()?.accessed
    }

    /// Makes it a file of its own, whatever other names it has.
    pub fn ungroup(&mut self) {
        if let Some(mut extras) = self.extras.take() {
            extras.group = None;
            self.extras = extras.boxed();
        }
    }
}

impl Entry {
    /// Encodes the entry for a spool of this run; only [`Entry::decode`] reads it.
    pub fn encode(&self) -> Vec<u8> {
        let stamp = self.stamp.encode();
        let link = self.link.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(128 + self.key.as_bytes().len() + link.len());
        out.push(self.kind.code());
        out.push(self.completeness as u8);
        out.push(u8::from(self.recorded.is_some()));
        out.extend_from_slice(&self.recorded.map_or([0; 32], |digest| digest.0));
        out.push(stamp.len() as u8);
        out.extend_from_slice(&stamp);
        for number in [self.metadata.mode, self.metadata.uid, self.metadata.gid] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.metadata.mtime.seconds.to_le_bytes());
        out.extend_from_slice(&self.metadata.mtime.nanos.to_le_bytes());
        let extras = self.extras.as_ref().map(|extras| extras.encode()).unwrap_or_default();
        out.push(extras.len() as u8);
        out.extend_from_slice(&extras);
        self.encode_told(&mut out);
        let born = self.born.map_or(0, Birth::nanoseconds);
        out.extend_from_slice(&born.to_le_bytes());
        out.push(u8::from(self.link.is_some()));
        out.extend_from_slice(&(link.len() as u32).to_le_bytes());
        out.extend_from_slice(link);
        out.extend_from_slice(self.key.as_bytes());
        out
    }

    /// Encodes what a record tells of its attributes.
    fn encode_told(&self, out: &mut Vec<u8>) {
        let extras = self.extras.as_ref();
        let told = extras.map(|extras| extras.told).unwrap_or_default();
        out.push(u8::from(told.extended) | u8::from(told.acls) << 1);
        let apart = extras.and_then(|extras| extras.apart.loaded());
        let apart = apart.and_then(|apart| apart.encode()).unwrap_or_default();
        out.extend_from_slice(&(apart.len() as u32).to_le_bytes());
        out.extend_from_slice(&apart);
    }

    /// Decodes what [`Entry::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[kind, completeness, is_recorded], rest) = bytes.split_first_chunk::<3>()?;
        let (recorded, rest) = rest.split_first_chunk::<32>()?;
        let (&stamp_length, rest) = rest.split_first()?;
        let (stamp, mut rest) = rest.split_at_checked(stamp_length.into())?;
        let (mode, uid, gid) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let mtime = time(&mut rest)?;
        let (&extras_length, tail) = rest.split_first()?;
        let (extras, mut tail) = tail.split_at_checked(extras_length.into())?;
        let mut extras = Extras::decode(extras)?;
        decode_told(&mut tail, &mut extras)?;
        let (born, rest) = tail.split_first_chunk::<8>()?;
        let (&has_link, tail) = rest.split_first()?;
        let (length, tail) = tail.split_first_chunk::<4>()?;
        let (link, key) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self {
            key: Key::new(key),
            kind: EntryKind::from_code(kind)?,
            stamp: Stamp::decode(stamp)?,
            metadata: Metadata { mode, uid, gid, mtime },
            link: (has_link == 1).then(|| link.into()),
            recorded: (is_recorded == 1).then_some(Digest(*recorded)),
            extras: extras.boxed(),
            born: Birth::of_nanoseconds(i64::from_le_bytes(*born)),
            completeness: *Completeness::ALL.get(usize::from(completeness))?,
        })
    }
}

fn decode_told(bytes: &mut &[u8], extras: &mut Extras) -> Option<()> {
    let (&told, rest) = bytes.split_first()?;
    extras.told = AttributeKinds { extended: told & 1 != 0, acls: told & 2 != 0 };
    *bytes = rest;
    let length = number(bytes)? as usize;
    let (apart, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    if length > 0 {
        extras.apart = Apart::Loaded(Arc::new(Attributes::decode(apart)?));
    }
    Some(())
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let (seconds, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(Timestamp { seconds: i64::from_le_bytes(*seconds), nanos: number(bytes)? })
}

impl EntryKind {
    /// Returns whether it is a device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Special(SpecialKind::CharacterDevice | SpecialKind::BlockDevice))
    }

    const ALL: [Self; 8] = [
        Self::File,
        Self::Directory,
        Self::Symlink,
        Self::Special(SpecialKind::Fifo),
        Self::Special(SpecialKind::Socket),
        Self::Special(SpecialKind::CharacterDevice),
        Self::Special(SpecialKind::BlockDevice),
        Self::Special(SpecialKind::Unknown),
    ];

    /// Returns the name in plan files and histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Special(SpecialKind::Fifo) => "fifo",
            Self::Special(SpecialKind::Socket) => "socket",
            Self::Special(SpecialKind::CharacterDevice) => "character_device",
            Self::Special(SpecialKind::BlockDevice) => "block_device",
            Self::Special(SpecialKind::Unknown) => "special",
        }
    }

    /// Returns the kind of a name; `None` for unknown names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the number in spools and the state database.
    pub fn code(self) -> u8 {
        Self::ALL.iter().position(|&kind| kind == self).map_or(u8::MAX, |at| at as u8)
    }

    /// Returns the kind of a number; `None` for unknown numbers.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_keeps_every_field() {
        let value = crate::model::Attribute { name: (*b"user.a").into(), value: (*b"1").into() };
        let apart_set = Attributes::new(AttributeKinds::ALL, vec![value]);
        let extras = || {
            let (apart, told) = (Apart::Loaded(Arc::new(apart_set.clone())), AttributeKinds::ALL);
            Some(Box::new(Extras { apart, told, ..crate::model::extras::tests::all() }))
        };
        for (kind, link, extras) in
            [(EntryKind::File, None, None), (EntryKind::Symlink, Some(&b"a\0b"[..]), extras())]
        {
            let time = Timestamp { seconds: -7, nanos: 999_999_999 };
            let entry = Entry {
                key: Key::new(&b"a/\xff"[..]),
                kind,
                stamp: Stamp::of_object(1 << 40, crate::model::ETag::new(b"tag")),
                metadata: Metadata { mode: 0o7777, uid: u32::MAX, gid: 5, mtime: time },
                link: link.map(Into::into),
                completeness: Completeness::Implicit,
                recorded: Some(Digest([9; 32])),
                born: extras.as_ref().and_then(|_| Birth::of(time)),
                extras,
            };
            let decoded = Entry::decode(&entry.encode()).expect("an entry");
            let apart = decoded.extras.as_ref().and_then(|extras| extras.apart.loaded());
            assert_eq!(apart.map(|apart| &**apart), entry.extras.as_ref().map(|_| &apart_set));
            assert_eq!(decoded, entry);
        }
    }

    #[test]
    fn a_time_of_creation_is_kept_but_the_epoch() {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        for time in [time(1_700_000_000, 5), time(-1, 500_000_000), time(0, 1)] {
            assert_eq!(Birth::of(time).map(Birth::time), Some(time));
        }
        assert_eq!(Birth::of(time(0, 0)), None);
        let latest = Birth::of(time(i64::MAX, 0)).expect("a time");
        assert_eq!(latest.nanoseconds(), i64::MAX, "the year 2262");
    }

    #[test]
    fn a_set_id_bit_is_not_passed_to_another_owner_or_group() {
        let intended = Metadata { mode: 0o7755, uid: 1, gid: 2, mtime: Timestamp::default() };
        for (uid, gid, file, directory) in [
            (1, 2, 0o7755, 0o7755),
            (9, 2, 0o3755, 0o3755),
            (1, 9, 0o5755, 0o7755),
            (9, 9, 0o1755, 0o3755),
        ] {
            for (kind, mode) in [(EntryKind::File, file), (EntryKind::Directory, directory)] {
                let owned = intended.owned_by(uid, gid, kind);
                assert_eq!(owned, Metadata { mode, uid, gid, ..intended }, "{kind} {uid} {gid}");
            }
        }
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(EntryKind::from_code(8), None);
    }
}
