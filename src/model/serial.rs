//! Lossless serialisation of plain data.
//!
//! The forms are those of the published manifest (`docs/manifest.md`). Times are strings of seconds
//! since the epoch with nine decimals, so that no reader rounds them; modes are octal and digests
//! hexadecimal digits. A name that isn't UTF-8 is written in Base64, in a field of another name.

use super::stamp::{Evidence, Inode, NO_NUMBER};
use super::{Digest, ETag, EntryKind, Key, Stamp, Timestamp};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// The key of an entry as the field `key` or `key_base64`, to be flattened into a struct.
pub mod key {
    use super::{Cow, Deserialize, Deserializer, Key, Serialize, Serializer, base64, bytes, utf8};
    use serde::de::Error as _;

    #[derive(Serialize, Deserialize)]
    struct Fields<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_base64: Option<Cow<'a, str>>,
    }

    /// Writes the fields.
    ///
    /// # Errors
    /// Fails if the format's serialiser does.
    pub fn serialize<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
        let key = key.as_bytes();
        Fields { key: utf8(key), key_base64: base64(key) }.serialize(serializer)
    }

    /// Reads the fields.
    ///
    /// # Errors
    /// Fails if neither or both are present, or for illegal Base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let Fields { key, key_base64 } = Fields::deserialize(deserializer)?;
        let key = bytes(key.as_deref(), key_base64.as_deref()).map_err(D::Error::custom)?;
        key.map(Key::new).ok_or_else(|| D::Error::custom("it has no key"))
    }
}

/// The text of a symbolic link as the field `link` or `link_base64`, to be flattened; neither if
/// there is none.
pub mod link {
    use super::{Cow, Deserialize, Deserializer, Serialize, Serializer, base64, bytes, utf8};
    use serde::de::Error as _;

    #[derive(Serialize, Deserialize)]
    struct Fields<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        link_base64: Option<Cow<'a, str>>,
    }

    /// Writes the fields.
    ///
    /// # Errors
    /// Fails if the format's serialiser does.
    pub fn serialize<S: Serializer>(
        link: &Option<Box<[u8]>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let link = link.as_deref();
        let fields = Fields { link: link.and_then(utf8), link_base64: link.and_then(base64) };
        fields.serialize(serializer)
    }

    /// Reads the fields.
    ///
    /// # Errors
    /// Fails if both are present, or for illegal Base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Box<[u8]>>, D::Error> {
        let Fields { link, link_base64 } = Fields::deserialize(deserializer)?;
        let link = bytes(link.as_deref(), link_base64.as_deref()).map_err(D::Error::custom)?;
        Ok(link.map(Into::into))
    }
}

/// The former key of an entry as the field `from` or `from_base64`, to be flattened; neither if there
/// is none.
pub mod from {
    use super::{Cow, Deserialize, Deserializer, Key, Serialize, Serializer, base64, bytes, utf8};
    use serde::de::Error as _;

    #[derive(Serialize, Deserialize)]
    struct Fields<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from_base64: Option<Cow<'a, str>>,
    }

    /// Writes the fields.
    ///
    /// # Errors
    /// Fails if the format's serialiser does.
    pub fn serialize<S: Serializer>(from: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
        let from = from.as_ref().map(Key::as_bytes);
        let fields = Fields { from: from.and_then(utf8), from_base64: from.and_then(base64) };
        fields.serialize(serializer)
    }

    /// Reads the fields.
    ///
    /// # Errors
    /// Fails if both are present, or for illegal Base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Key>, D::Error> {
        let Fields { from, from_base64 } = Fields::deserialize(deserializer)?;
        let from = bytes(from.as_deref(), from_base64.as_deref()).map_err(D::Error::custom)?;
        Ok(from.map(Key::new))
    }
}

/// A mode as four octal digits.
pub mod octal {
    use super::{Cow, Deserialize, Deserializer, Serializer, mode};
    use serde::de::Error as _;

    /// Writes the digits.
    ///
    /// # Errors
    /// Fails if the format's serialiser does.
    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    /// Reads the digits.
    ///
    /// # Errors
    /// Fails if they aren't octal digits, or exceed `7777`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        mode(&Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn utf8(bytes: &[u8]) -> Option<Cow<'_, str>> {
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

fn base64(bytes: &[u8]) -> Option<Cow<'static, str>> {
    std::str::from_utf8(bytes).is_err().then(|| BASE64_STANDARD.encode(bytes).into())
}

/// Returns the bytes of a pair of fields, of which one has text and the other Base64; `None` if
/// neither is present.
///
/// # Errors
/// Fails if both are present, or for illegal Base64.
pub fn bytes(text: Option<&str>, base64: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64).map(Some).map_err(|error| error.to_string())
        }
        (Some(_), Some(_)) => Err("it has a name twice".to_owned()),
    }
}

/// Parses two hexadecimal digits per byte.
///
/// # Errors
/// Fails for other characters, and for fewer or more digits.
pub fn hex<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], String> {
    let bytes = super::hex::decode(text.as_bytes());
    bytes.ok_or_else(|| format!("a digest is not {} hexadecimal digits", 2 * BYTES))
}

/// Parses an octal mode.
///
/// # Errors
/// Fails if it isn't octal digits, or exceeds `7777`.
pub fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("\"{}\" is not a mode", text.escape_default()))
}

/// Parses seconds since the epoch with nine decimals.
///
/// # Errors
/// Fails for any other form, and if the time doesn't fit into a [`Timestamp`].
pub fn time(text: &str) -> Result<Timestamp, String> {
    let read = || {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (seconds, nanos) = digits.split_once('.')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(seconds) || !is_number(nanos) || nanos.len() != 9 {
            return None;
        }
        let (seconds, nanos): (i128, i128) = (seconds.parse().ok()?, nanos.parse().ok()?);
        let all = sign * (seconds.checked_mul(1_000_000_000)? + nanos);
        let seconds = i64::try_from(all.div_euclid(1_000_000_000)).ok()?;
        Some(Timestamp { seconds, nanos: all.rem_euclid(1_000_000_000) as u32 })
    };
    read().ok_or_else(|| format!("\"{}\" is not a time", text.escape_default()))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.decimal())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        time(&Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex(&Cow::<str>::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for ETag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ETag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = Cow::<str>::deserialize(deserializer)?;
        let read = Self::new(tag.as_bytes()).filter(|read| read.as_str() == tag);
        read.ok_or_else(|| D::Error::custom("it has an illegal tag"))
    }
}

impl Serialize for EntryKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for EntryKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            D::Error::custom(format!("\"{}\" is not a kind of entry", name.escape_default()))
        })
    }
}

/// A stamp's fields: a file system's stamp has times and an inode, a store's at most a tag.
#[derive(Serialize, Deserialize)]
struct StampForm {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<ETag>,
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (inode, etag) = match self.evidence {
            Evidence::Inode(inode) => (Some(inode), None),
            Evidence::Tag(tag) => (None, tag),
        };
        let form = StampForm {
            size: self.size,
            mtime: inode.map(|inode| inode.mtime),
            ctime: inode.map(|inode| inode.ctime),
            inode: inode.map(|inode| inode.number.unwrap_or(NO_NUMBER)),
            etag,
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StampForm { size, mtime, ctime, inode, etag } = StampForm::deserialize(deserializer)?;
        match (mtime, ctime, inode, etag) {
            (Some(mtime), Some(ctime), Some(number), None) => {
                let number = Some(number).filter(|&number| number != NO_NUMBER);
                Ok(Self::of_inode(size, Inode { mtime, ctime, number }))
            }
            (None, None, None, tag) => Ok(Self::of_object(size, tag)),
            _ => Err(D::Error::custom("it has an incomplete stamp")),
        }
    }
}
