//! What few entries have beside content and [`Metadata`].
//!
//! An entry without any of it has no [`Extras`], so that a plain file costs a null pointer.

use super::attributes::{AttributeKinds, Attributes};
use super::flags::FileFlags;
use super::hex::Hex;
use super::{Metadata, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What few entries have: other names, a device number, attributes, holes, flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// The other names of the same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<LinkGroup>,
    /// The number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceNumber>,
    /// The digest of its extended attributes and ACLs, if it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<AttributesDigest>,
    /// Whether the file had unallocated ranges when it was read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub holes: bool,
    /// Which attributes the entry doesn't have itself.
    #[serde(skip)]
    pub apart: Apart,
    /// Which attributes of the entry a record tells, so that `attributes` and `apart` are all that
    /// is known of them. Not of rows.
    #[serde(skip)]
    pub told: AttributeKinds,
    /// Its flags, as chattr(1) sets them.
    #[serde(skip_serializing_if = "FileFlags::is_empty")]
    pub flags: FileFlags,
    /// When it was last read, where that is to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessed: Option<Timestamp>,
    /// Of a row: the metadata that was meant for the entry, where the target could not be given all
    /// of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meant: Option<Metadata>,
}

/// The attributes that were meant for an entry, and that its place can't keep: they are in the
/// state and in the published manifest.
#[derive(Clone, Debug, Default)]
pub enum Apart {
    /// None: the entry has what was meant for it.
    #[default]
    Nothing,
    /// Some, which the state has by their digest.
    Recorded,
    /// These.
    Loaded(Arc<Attributes>),
}

impl Apart {
    /// Returns whether there are some.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Returns the attributes, if they were loaded.
    pub fn loaded(&self) -> Option<&Arc<Attributes>> {
        match self {
            Self::Loaded(attributes) => Some(attributes),
            Self::Nothing | Self::Recorded => None,
        }
    }
}

/// Loaded or not, the digest says which they are.
impl PartialEq for Apart {
    fn eq(&self, other: &Self) -> bool {
        self.is_some() == other.is_some()
    }
}

impl Eq for Apart {}

/// The names of one file: hard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkGroup {
    /// Tells the file from others of the same root. It stays the same from run to run.
    pub id: GroupId,
    /// How many names the file has (`st_nlink`), below the root or elsewhere; 0 if that is not
    /// known.
    pub names: u32,
}

/// The id of a [`LinkGroup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u64);

impl fmt::Display for GroupId {
    /// Prints 16 hexadecimal digits.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl GroupId {
    /// Parses 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        super::hex::decode(text.as_bytes()).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// The number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    /// Prints as in `8:1`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.major, self.minor)
    }
}

impl DeviceNumber {
    /// Parses what is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// The digest of an entry's extended attributes and ACLs: half of a BLAKE3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttributesDigest(pub [u8; 16]);

impl fmt::Display for AttributesDigest {
    /// Prints 32 hexadecimal digits.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(out)
    }
}

impl AttributesDigest {
    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        super::hex::decode(text.as_bytes()).map(Self)
    }
}

const GROUP: u8 = 1;
const DEVICE: u8 = 1 << 1;
const ATTRIBUTES: u8 = 1 << 2;
const HOLES: u8 = 1 << 3;
const APART: u8 = 1 << 4;
/// A second byte of bits follows. The state has a use for the two bits above.
const MORE: u8 = 1 << 5;
const FLAGS: u8 = 1;
const ACCESSED: u8 = 1 << 1;
/// The highest bit, so that the state finds it by comparing bytes.
const MEANT: u8 = 1 << 7;

impl Extras {
    /// Returns the box that an entry holds; `None` if there is nothing in it.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// Returns whether a reader of the first version of the published manifest must not pass over
    /// them: not so what only a restore needs.
    pub fn needs_version_2(&self) -> bool {
        let Self { group, device, attributes, holes, .. } = self;
        group.is_some() || device.is_some() || attributes.is_some() || *holes
    }

    /// Encodes the extras for spools and the state database: a byte or two of bits that say what
    /// follows, in this order and in little-endian: a group's id and number of names, a device's major and
    /// minor number, the digest of attributes, flags, the time of the last access, and the metadata
    /// that was meant. Holes, and that attributes are kept apart, are a bit alone. Nothing is
    /// encoded as no bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { group, device, attributes, holes, apart, told: _, flags, accessed, meant } =
            self;
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let more = bit(!flags.is_empty(), FLAGS)
            | bit(accessed.is_some(), ACCESSED)
            | bit(meant.is_some(), MEANT);
        let mut out = vec![bit(*holes, HOLES) | bit(apart.is_some(), APART) | bit(more != 0, MORE)];
        if more != 0 {
            out.push(more);
        }
        if let Some(LinkGroup { id, names }) = group {
            out[0] |= GROUP;
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&names.to_le_bytes());
        }
        if let Some(DeviceNumber { major, minor }) = device {
            out[0] |= DEVICE;
            out.extend_from_slice(&major.to_le_bytes());
            out.extend_from_slice(&minor.to_le_bytes());
        }
        if let Some(AttributesDigest(digest)) = attributes {
            out[0] |= ATTRIBUTES;
            out.extend_from_slice(digest);
        }
        if !flags.is_empty() {
            out.push(flags.code());
        }
        if let Some(accessed) = accessed {
            put_time(&mut out, *accessed);
        }
        if let Some(Metadata { mode, uid, gid, mtime }) = meant {
            for number in [mode, uid, gid] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            put_time(&mut out, *mtime);
        }
        if out == [0] { Vec::new() } else { out }
    }

    /// Decodes what [`Extras::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Some((&bits, mut rest)) = bytes.split_first() else { return Some(Self::default()) };
        let more_bits = if bits & MORE == 0 { 0 } else { take::<1>(&mut rest)?[0] };
        let group = if bits & GROUP == 0 {
            None
        } else {
            let id = GroupId(u64::from_le_bytes(take(&mut rest)?));
            Some(LinkGroup { id, names: u32::from_le_bytes(take(&mut rest)?) })
        };
        let device = if bits & DEVICE == 0 {
            None
        } else {
            let major = u32::from_le_bytes(take(&mut rest)?);
            Some(DeviceNumber { major, minor: u32::from_le_bytes(take(&mut rest)?) })
        };
        let attributes =
            if bits & ATTRIBUTES == 0 { None } else { Some(AttributesDigest(take(&mut rest)?)) };
        let flags = if more_bits & FLAGS == 0 { 0 } else { take::<1>(&mut rest)?[0] };
        let flags = FileFlags::from_code(flags)?;
        let accessed = if more_bits & ACCESSED == 0 { None } else { Some(take_time(&mut rest)?) };
        let meant = if more_bits & MEANT == 0 {
            None
        } else {
            let mut number = || Some(u32::from_le_bytes(take(&mut rest)?));
            let [mode, uid, gid] = [number()?, number()?, number()?];
            Some(Metadata { mode, uid, gid, mtime: take_time(&mut rest)? })
        };
        let is_known = bits & !(GROUP | DEVICE | ATTRIBUTES | HOLES | APART | MORE) == 0
            && more_bits & !(FLAGS | ACCESSED | MEANT) == 0;
        (is_known && rest.is_empty()).then_some(Self {
            group,
            device,
            attributes,
            holes: bits & HOLES != 0,
            apart: if bits & APART == 0 { Apart::Nothing } else { Apart::Recorded },
            told: AttributeKinds::NONE,
            flags,
            accessed,
            meant,
        })
    }
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.seconds.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let seconds = i64::from_le_bytes(take(bytes)?);
    Some(Timestamp { seconds, nanos: u32::from_le_bytes(take(bytes)?) })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Extras of every kind.
    pub(crate) fn all() -> Extras {
        Extras {
            group: Some(LinkGroup { id: GroupId(0x0123_4567_89ab_cdef), names: u32::MAX }),
            device: Some(DeviceNumber { major: 8, minor: 1 }),
            attributes: Some(AttributesDigest([0xab; 16])),
            holes: true,
            flags: FileFlags::IMMUTABLE.with(FileFlags::NO_DUMP),
            accessed: Some(Timestamp { seconds: -5, nanos: 999_999_999 }),
            meant: Some(Metadata {
                mode: 0o7777,
                uid: 1,
                gid: u32::MAX,
                mtime: Timestamp { seconds: 1 << 40, nanos: 1 },
            }),
            ..Extras::default()
        }
    }

    #[test]
    fn encoding_keeps_every_field() {
        let none = Extras::default;
        let all = all();
        for extras in [
            none(),
            Extras { group: all.group, ..none() },
            Extras { device: all.device, ..none() },
            Extras { attributes: all.attributes, ..none() },
            Extras { holes: true, ..none() },
            Extras { flags: all.flags, ..none() },
            Extras { accessed: all.accessed, ..none() },
            Extras { meant: all.meant, ..none() },
            all,
        ] {
            let apart = Extras { apart: Apart::Recorded, ..extras.clone() };
            assert_eq!(Extras::decode(&apart.encode()), Some(apart));
            let encoded = extras.encode();
            assert_eq!(encoded.is_empty(), extras == none());
            assert_eq!(Extras::decode(&encoded).as_ref(), Some(&extras));
            let json = serde_json::to_string(&extras).unwrap();
            assert_eq!(serde_json::from_str::<Extras>(&json).unwrap(), extras);
        }
    }

    #[test]
    fn what_is_cut_off_or_not_known_decodes_to_nothing() {
        let whole = all().encode();
        for end in 1..whole.len() {
            assert_eq!(Extras::decode(&whole[..end]), None, "{end}");
        }
        assert_eq!(Extras::decode(&[&whole[..], b"x"].concat()), None);
        assert_eq!(Extras::decode(&[1 << 7]), None, "a bit of a later version");
        assert_eq!(Extras::decode(&[MORE, 1 << 6]), None, "a bit of a later version");
        assert_eq!(Extras::decode(&[MORE, FLAGS, 1 << 7]), None, "a flag of a later version");
    }

    #[test]
    fn ids_and_numbers_are_read_as_they_are_printed() {
        let Extras { group, device, attributes, .. } = all();
        let (id, device) = (group.unwrap().id, device.unwrap());
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!(GroupId::parse(&id.to_string()), Some(id));
        assert_eq!(device.to_string(), "8:1");
        assert_eq!(DeviceNumber::parse("8:1"), Some(device));
        let attributes = attributes.unwrap();
        assert_eq!(AttributesDigest::parse(&attributes.to_string()), Some(attributes));
        for text in ["", "8", "8:", ":1", "8:1:1", "-8:1", "4294967296:1"] {
            assert_eq!(DeviceNumber::parse(text), None, "{text}");
        }
        assert_eq!((GroupId::parse("0f"), AttributesDigest::parse("0f")), (None, None));
    }
}
