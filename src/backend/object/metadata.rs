//! POSIX metadata and the digest of an entry in the user metadata of its object.
//!
//! `mtime` is written as rclone does it, in seconds since the epoch with nine decimals
//! (<https://rclone.org/s3/#modification-times-and-hashes>). Mode, owner, group, kind and digest
//! have names of vidimus's own. A symbolic link is an object whose content is the link's text, a
//! special file an empty object. All values are ASCII, because other clients fail on anything else.
//! Extended attributes and ACLs are there if they fit; the manifest has them in any case.

use super::Headers;
use crate::backend::Facts;
use crate::model::entry::Completeness;
use crate::model::{
    Apart, AttributeKinds, Attributes, AttributesDigest, DeviceNumber, Digest, EntryKind, Extras,
    Features, FileFlags, GroupId, LinkGroup, Metadata, SpecialKind, Timestamp, hex,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;

const MTIME: &str = "mtime";
const MODE: &str = "vidimus-mode";
const UID: &str = "vidimus-uid";
const GID: &str = "vidimus-gid";
const KIND: &str = "vidimus-kind";
const DIGEST: &str = "vidimus-blake3";
const LINKS: &str = "vidimus-links";
const DEVICE: &str = "vidimus-device";
const HOLES: &str = "vidimus-holes";
const FLAGS: &str = "vidimus-flags";
const ACCESSED: &str = "vidimus-atime";
const ATTRIBUTES: &str = "vidimus-attributes-blake3";
const ATTRIBUTE_SET: &str = "vidimus-attributes";

/// The most bytes of user metadata, names and values together, with which attributes are added to
/// it: S3 takes 2 KiB, and the token of an upload comes later
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const LARGEST: usize = 2_048 - 128;
/// The bytes of a name's prefix in a request; some stores count them.
const PREFIX: usize = "x-amz-meta-".len();

/// The kinds of leaves that are no files, by their names.
const KINDS: [(&str, EntryKind); 5] = [
    ("symlink", EntryKind::Symlink),
    ("fifo", EntryKind::Special(SpecialKind::Fifo)),
    ("socket", EntryKind::Special(SpecialKind::Socket)),
    ("character-device", EntryKind::Special(SpecialKind::CharacterDevice)),
    ("block-device", EntryKind::Special(SpecialKind::BlockDevice)),
];

/// Returns the headers of an object that vidimus writes.
pub(super) fn headers(
    key: &[u8],
    kind: EntryKind,
    metadata: &Metadata,
    extras: Option<&Extras>,
    digest: Option<&Digest>,
) -> Headers {
    let mut headers = Headers { content_type: content_type(key, kind), ..Headers::default() };
    set(&mut headers, kind, metadata);
    if let Some(extras) = extras {
        put_extras(&mut headers, extras);
    }
    if let Some(digest) = digest {
        put(&mut headers, DIGEST, digest.to_string());
    }
    if let Some(apart) = extras.and_then(|extras| extras.apart.loaded()) {
        put_attributes(&mut headers, apart);
    }
    headers
}

/// Replaces the attributes, with all of them if they fit, and their digest in any case.
pub(super) fn put_attributes(headers: &mut Headers, attributes: &Attributes) {
    headers.user.retain(|(name, _)| name != ATTRIBUTES && name != ATTRIBUTE_SET);
    let Some(digest) = attributes.digest() else { return };
    put(headers, ATTRIBUTES, digest.to_string());
    let Some(value) = attributes.encode() else { return };
    let value = BASE64_STANDARD.encode(value);
    let others = headers.user.iter().map(|(name, value)| PREFIX + name.len() + value.len());
    if others.sum::<usize>() + PREFIX + ATTRIBUTE_SET.len() + value.len() <= LARGEST {
        put(headers, ATTRIBUTE_SET, value);
    }
}

/// Returns which attributes an object with these headers lacks.
pub(super) fn lost(headers: &Headers, attributes: Option<&Attributes>) -> Features {
    let has_all = headers.user.iter().any(|(name, _)| name == ATTRIBUTE_SET);
    attributes.filter(|_| !has_all).map(Attributes::features).unwrap_or_default()
}

/// Sets the metadata and leaves other headers as they are.
pub fn set(headers: &mut Headers, kind: EntryKind, metadata: &Metadata) {
    let Metadata { mode, uid, gid, mtime } = metadata;
    put(headers, MTIME, mtime.decimal().to_string());
    put(headers, MODE, format!("{mode:04o}"));
    put(headers, UID, uid.to_string());
    put(headers, GID, gid.to_string());
    if let Some((name, _)) = KINDS.iter().find(|(_, named)| *named == kind) {
        put(headers, KIND, (*name).to_owned());
    }
}

/// Sets what few entries have.
fn put_extras(headers: &mut Headers, extras: &Extras) {
    let Extras { group, device, attributes, holes, flags, accessed, .. } = extras;
    if let Some(LinkGroup { id, .. }) = group {
        put(headers, LINKS, id.to_string());
    }
    if let Some(device) = device {
        put(headers, DEVICE, device.to_string());
    }
    if let Some(attributes) = attributes {
        put(headers, ATTRIBUTES, attributes.to_string());
    }
    if *holes {
        put(headers, HOLES, "1".to_owned());
    }
    set_kept(headers, Some(*flags), *accessed);
}

/// Sets those of what few entries have that change without their content.
pub(super) fn set_kept(
    headers: &mut Headers,
    flags: Option<FileFlags>,
    accessed: Option<Timestamp>,
) {
    if let Some(flags) = flags {
        headers.user.retain(|(name, _)| name != FLAGS);
        if !flags.is_empty() {
            put(headers, FLAGS, flags.to_string());
        }
    }
    if let Some(accessed) = accessed {
        put(headers, ACCESSED, accessed.decimal().to_string());
    }
}

/// Sets one header of the user metadata.
pub(super) fn put(headers: &mut Headers, name: &str, value: String) {
    headers.user.retain(|(existing, _)| existing != name);
    headers.user.push((name.to_owned(), value));
}

/// Reads the metadata of an object for a leaf or a directory. `guess` replaces missing values.
/// Other programs may have written anything: a value that can't be parsed is treated as missing.
pub(super) fn facts(headers: Headers, kind: EntryKind, guess: Metadata) -> Facts {
    let value = |name: &str| {
        headers.user.iter().find(|(existing, _)| existing == name).map(|(_, value)| &**value)
    };
    let mtime = value(MTIME).and_then(parse_time);
    let mode = value(MODE).and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let number = |name| value(name).and_then(|number| number.parse().ok());
    let metadata = Metadata {
        mode: mode.filter(|mode| *mode <= 0o7777).unwrap_or(guess.mode),
        uid: number(UID).unwrap_or(guess.uid),
        gid: number(GID).unwrap_or(guess.gid),
        mtime: mtime.unwrap_or(guess.mtime),
    };
    let digest = value(ATTRIBUTES).and_then(AttributesDigest::parse);
    let set = value(ATTRIBUTE_SET).and_then(|set| BASE64_STANDARD.decode(set).ok());
    let set = set.and_then(|set| Attributes::decode(&set));
    let set = set.filter(|set| digest.is_some() && set.digest() == digest);
    let mode = set.as_ref().map_or(metadata.mode, |set| set.mode_with_acl(metadata.mode));
    let metadata = Metadata { mode, ..metadata };
    let extras = Extras {
        group: value(LINKS).and_then(GroupId::parse).map(|id| LinkGroup { id, names: 0 }),
        device: value(DEVICE).and_then(DeviceNumber::parse),
        attributes: digest,
        holes: value(HOLES) == Some("1"),
        told: if set.is_some() { AttributeKinds::ALL } else { AttributeKinds::NONE },
        apart: set.map_or(Apart::Nothing, |set| Apart::Loaded(Arc::new(set))),
        flags: value(FLAGS).and_then(FileFlags::parse).unwrap_or_default(),
        accessed: value(ACCESSED).and_then(parse_time),
        meant: None,
    };
    let named = value(KIND).filter(|_| kind == EntryKind::File);
    let named = KINDS.iter().find(|(name, _)| named == Some(name)).map(|(_, kind)| *kind);
    // A device without a number can't be made.
    let named = named.filter(|kind| !kind.is_device() || extras.device.is_some());
    Facts {
        kind: named.unwrap_or(kind),
        metadata,
        completeness: if mtime.is_some() {
            Completeness::Full
        } else {
            Completeness::NoStoredMetadata
        },
        digest: value(DIGEST).and_then(parse_digest),
        extras: extras.boxed(),
        headers,
    }
}

/// Parses seconds with a fraction; digits after the ninth are dropped, as rclone does.
fn parse_time(text: &str) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    // Keeps `-seconds - 1` below greater than `i64::MIN`.
    let seconds: i64 = whole.parse().ok().filter(|seconds| *seconds < i64::MAX)?;
    let fraction = &fraction[..fraction.len().min(9)];
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp { seconds: -seconds, nanos: 0 },
        (true, nanos) => Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn parse_digest(text: &str) -> Option<Digest> {
    hex::decode(text.as_bytes()).map(Digest)
}

/// Returns the content type that the name suggests.
fn content_type(key: &[u8], kind: EntryKind) -> Option<String> {
    let name = key.rsplit(|&byte| byte == b'/').next().unwrap_or(key);
    Some(match kind {
        EntryKind::Directory => "application/x-directory".to_owned(),
        EntryKind::Symlink => "text/plain".to_owned(),
        _ => {
            let extension = std::str::from_utf8(name).ok()?.rsplit_once('.')?.1;
            mime_guess::from_ext(extension).first_raw()?.to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attribute;

    fn at(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp { seconds, nanos }
    }

    #[test]
    fn metadata_and_digest_are_read_back_as_written() {
        for mtime in [at(1_700_000_000, 123_456_789), at(0, 0), at(-1, 500_000_000), at(-7, 0)] {
            let leaves = KINDS.map(|(_, kind)| kind);
            for kind in [EntryKind::File, EntryKind::Directory].into_iter().chain(leaves) {
                let metadata = Metadata { mode: 0o4755, uid: u32::MAX, gid: 7, mtime };
                let digest = Digest::of(b"content");
                let group = Some(LinkGroup { id: GroupId(7), names: 0 });
                // Only rows say what was meant.
                let extras = Extras { group, meant: None, ..crate::model::extras::tests::all() };
                let headers = headers(b"a", kind, &metadata, Some(&extras), Some(&digest));
                let leaf = if kind == EntryKind::Directory { kind } else { EntryKind::File };
                let facts = facts(headers, leaf, Metadata::default());
                assert_eq!((facts.kind, facts.metadata), (kind, metadata));
                assert_eq!((facts.digest, facts.completeness), (Some(digest), Completeness::Full));
                assert_eq!(facts.extras.as_deref(), Some(&extras));
            }
        }
    }

    /// Returns extras with attributes of `size` bytes in all, or a little more.
    fn with_attributes(size: usize) -> Extras {
        let acl = [
            &[2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 7, 0, 1, 0, 0, 0][..],
            &[4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ];
        let found = [("system.posix_acl_access", acl.concat()), ("user.a", vec![7; size])];
        let found = found
            .map(|(name, value)| Attribute { name: name.as_bytes().into(), value: value.into() });
        let set = Attributes::checked(found.to_vec()).expect("valid");
        let (attributes, apart) = (set.digest(), Apart::Loaded(Arc::new(set)));
        Extras { attributes, apart, ..Extras::default() }
    }

    #[test]
    fn attributes_are_beside_an_object_if_they_fit() {
        let metadata = Metadata { mode: 0o640, ..Metadata::default() };
        for (size, fits) in [(0, true), (1_000, true), (1_500, false), (60_000, false)] {
            let extras = with_attributes(size);
            let attributes = extras.apart.loaded().expect("attributes");
            let sent = headers(b"a", EntryKind::File, &metadata, Some(&extras), None);
            let bytes = sent.user.iter().map(|(name, value)| PREFIX + name.len() + value.len());
            assert!(bytes.sum::<usize>() <= LARGEST, "{size}");
            assert_eq!(lost(&sent, Some(attributes)).is_empty(), fits, "{size}");
            let facts = facts(sent.clone(), EntryKind::File, Metadata::default());
            let found = facts.extras.as_deref().expect("extras");
            assert_eq!(found.attributes, extras.attributes);
            assert_eq!(found.apart.loaded(), Some(attributes).filter(|_| fits));
            // With its ACL it has the mode of that.
            assert_eq!(facts.metadata.mode, if fits { 0o670 } else { 0o640 });
            let mut none = sent;
            put_attributes(&mut none, &Attributes::default());
            assert!(none.user.iter().all(|(name, _)| !name.contains("attributes")));
        }
    }

    #[test]
    fn attributes_that_nobody_wrote_so_are_none() {
        let extras = with_attributes(1);
        let sent = headers(b"a", EntryKind::File, &Metadata::default(), Some(&extras), None);
        let encoded = |name: &str| {
            let mut bytes = (name.len() as u16).to_le_bytes().to_vec();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&[0; 4]);
            BASE64_STANDARD.encode(bytes)
        };
        let foreign = ["system.foo", "security.selinux", "x"].map(encoded);
        for value in foreign.into_iter().chain(["*".to_owned(), "AA==".to_owned(), "YQ".repeat(99)])
        {
            let mut headers = sent.clone();
            put(&mut headers, ATTRIBUTE_SET, value.clone());
            let facts = facts(headers, EntryKind::File, Metadata::default());
            let found = facts.extras.expect("the digest");
            assert_eq!(
                (found.apart, found.told),
                (Apart::Nothing, AttributeKinds::NONE),
                "{value}"
            );
        }
    }

    #[test]
    fn invalid_values_are_treated_as_missing() {
        let guess = Metadata { mode: 0o644, uid: 1, gid: 2, mtime: at(5, 0) };
        let of = |name: &str, value: &str| {
            let user = vec![(name.to_owned(), value.to_owned())];
            facts(Headers { user, ..Headers::default() }, EntryKind::File, guess)
        };
        for (name, value) in [
            (MTIME, "yesterday"),
            (MTIME, "1.5e3"),
            (MTIME, ""),
            (MTIME, "99999999999999999999"),
            (MTIME, "-9223372036854775807.9"),
            (MODE, "99"),
            (MODE, "777777"),
            (UID, "-1"),
            (DIGEST, "+f"),
            (KIND, "device"),
            (KIND, "block-device"),
            (LINKS, "7"),
            (DEVICE, "8"),
            (ATTRIBUTES, "0f"),
            (HOLES, "2"),
        ] {
            let facts = of(name, value);
            assert_eq!((facts.metadata, facts.kind), (guess, EntryKind::File), "{name} {value}");
            assert_eq!(facts.extras, None, "{name} {value}");
            assert_eq!(
                (facts.completeness, facts.digest),
                (Completeness::NoStoredMetadata, None),
                "{name} {value}"
            );
        }
        assert_eq!(of(MTIME, "12.3456789012").metadata.mtime, at(12, 345_678_901));
        assert_eq!(of(MTIME, "12").metadata.mtime, at(12, 0));
    }

    #[test]
    fn content_types_follow_from_names() {
        let file = |key: &[u8]| content_type(key, EntryKind::File);
        assert_eq!(file(b"a/b.JPG").as_deref(), Some("image/jpeg"));
        assert_eq!(file(b"a.html/b"), None);
        assert_eq!(file(b"\xff.txt"), None);
    }
}
