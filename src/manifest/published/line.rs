//! A row as a line of JSON.
//!
//! Times are strings of seconds since the epoch with nine decimals, so that no reader rounds them.
//! Text that isn't UTF-8 is in Base64 under a separate name.

use crate::manifest::{Origin, Row, RunNumber, SourceNumber};
use crate::model::hex::Hex;
use crate::model::key::is_printable;
use crate::model::serial::{bytes, hex, mode, time};
use crate::model::stamp::{Evidence, Inode, NO_NUMBER};
use crate::model::{
    Apart, Attribute, AttributeKinds, Attributes, AttributesDigest, Birth, DeviceNumber, Digest,
    EntryKind, ExtraDigests, Extras, FileFlags, GroupId, Key, LinkGroup, Metadata, RunId,
    SpecialKind, Stamp,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::io::{self, Write as _};
use std::sync::Arc;

/// What the published manifest says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The key.
    pub key: Key,
    /// The publication that wrote it: the later of two wins.
    pub sequence: u64,
    /// The row, whose run number is unset, with the run's id; `None` if the key was removed.
    pub row: Option<(Row, RunId)>,
}

/// A parsed line; [`Published::encode`] writes the same names.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "names of the format")]
struct Line {
    key: Option<String>,
    key_base64: Option<String>,
    sequence: u64,
    #[serde(default)]
    removed: bool,
    kind: Option<String>,
    blake3: Option<String>,
    sha256: Option<String>,
    md5: Option<String>,
    mtime: Option<String>,
    mode: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    link: Option<String>,
    link_base64: Option<String>,
    #[serde(default)]
    adopted: bool,
    run: Option<String>,
    from: Option<i64>,
    verified: Option<String>,
    source: Option<Stamp>,
    #[serde(default)]
    source_racy: bool,
    target: Option<Stamp>,
    links: Option<String>,
    device: Option<String>,
    attributes_blake3: Option<String>,
    #[serde(default)]
    attributes: Vec<AttributeLine>,
    #[serde(default)]
    holes: bool,
    flags: Option<String>,
    accessed: Option<String>,
    meant: Option<Meant>,
    born: Option<String>,
}

/// One attribute that the target's entry doesn't have itself.
#[derive(Deserialize)]
struct AttributeLine {
    name: Option<String>,
    name_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
}

impl AttributeLine {
    fn attribute(&self) -> Result<Attribute, String> {
        let part = |plain: &Option<String>, base64: &Option<String>, missing: &str| {
            Ok::<_, String>(bytes(plain.as_deref(), base64.as_deref())?.ok_or(missing)?)
        };
        Ok(Attribute {
            name: part(&self.name, &self.name_base64, "an attribute has no name")?.into(),
            value: part(&self.value, &self.value_base64, "an attribute has no value")?.into(),
        })
    }
}

/// Metadata that was meant for an entry.
#[derive(Deserialize)]
struct Meant {
    mtime: String,
    mode: String,
    uid: u32,
    gid: u32,
}

impl Published {
    /// Returns whether the line tells of the entry what the target doesn't have.
    pub(super) fn tells_more_than_target(&self) -> bool {
        let row = self.row.as_ref().map(|(row, _)| row);
        let extras = row.and_then(|row| row.extras.as_ref());
        extras.is_some_and(|extras| extras.apart.is_some() || extras.meant.is_some())
    }

    /// Returns whether a reader of version 1 would pass over something that matters in this line,
    /// or take it for damage.
    pub(super) fn needs_version_2(&self) -> bool {
        let needs = |row: &Row| {
            let has_more = row.extras.as_ref().is_some_and(|extras| extras.needs_version_2());
            has_more || matches!(row.kind, EntryKind::Special(_))
        };
        self.row.as_ref().is_some_and(|(row, _)| needs(row))
    }

    /// Appends a line to a segment, with its line feed. The fields are written by hand, because
    /// there are millions of lines and a run waits for them.
    ///
    /// # Errors
    /// Fails for a kind of entry that no mirror contains.
    pub fn encode(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.push(b'{');
        name(out, ["key", "key_base64"], self.key.as_bytes())?;
        write!(out, ",\"sequence\":{}", self.sequence)?;
        match &self.row {
            None => out.extend_from_slice(b",\"removed\":true"),
            Some((row, run)) => fields(row, run, out)?,
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn fields(row: &Row, run: &RunId, out: &mut Vec<u8>) -> io::Result<()> {
    if row.kind == EntryKind::Special(SpecialKind::Unknown) {
        return Err(io::Error::other("it is a special file of an unknown type"));
    }
    write!(out, ",\"kind\":\"{}\"", row.kind.name())?;
    if row.kind == EntryKind::File {
        write!(out, ",\"size\":{}", row.source.size)?;
    }
    if let Some(digest) = row.digest {
        write!(out, ",\"blake3\":\"{digest}\"")?;
    }
    if let Some(sha256) = &row.extra.sha256 {
        write!(out, ",\"sha256\":\"{}\"", Hex(sha256))?;
    }
    if let Some(md5) = &row.extra.md5 {
        write!(out, ",\"md5\":\"{}\"", Hex(md5))?;
    }
    let Metadata { mode, uid, gid, mtime } = row.metadata;
    let mtime = mtime.decimal();
    write!(out, ",\"mtime\":\"{mtime}\",\"mode\":\"{mode:04o}\",\"uid\":{uid},\"gid\":{gid}")?;
    if let Some(link) = &row.link {
        out.push(b',');
        name(out, ["link", "link_base64"], link)?;
    }
    if row.origin == Origin::Adopted {
        out.extend_from_slice(b",\"adopted\":true");
    }
    out.push(b',');
    name(out, ["run", "run_base64"], run.0.as_bytes())?;
    if row.from != SourceNumber::FIRST {
        write!(out, ",\"from\":{}", row.from.0)?;
    }
    if let Some(at) = row.verified_at {
        write!(out, ",\"verified\":\"{}\"", at.decimal())?;
    }
    if let Some(extras) = &row.extras {
        self::extras(extras, out)?;
    }
    if let Some(born) = row.born {
        write!(out, ",\"born\":\"{}\"", born.time().decimal())?;
    }
    stamp("source", &row.source, out)?;
    if row.source_racy {
        out.extend_from_slice(b",\"source_racy\":true");
    }
    stamp("target", &row.target, out)
}

fn extras(extras: &Extras, out: &mut Vec<u8>) -> io::Result<()> {
    let Extras { group, device, attributes, holes, apart, told: _, flags, accessed, meant } =
        extras;
    if let Some(group) = group {
        write!(out, ",\"links\":\"{}\"", group.id)?;
    }
    if let Some(device) = device {
        write!(out, ",\"device\":\"{device}\"")?;
    }
    if let Some(attributes) = attributes {
        write!(out, ",\"attributes_blake3\":\"{attributes}\"")?;
    }
    if let Some(apart) = apart.loaded() {
        out.extend_from_slice(b",\"attributes\":[");
        for (number, Attribute { name, value }) in apart.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"{" } else { b",{" });
            self::name(out, ["name", "name_base64"], name)?;
            out.push(b',');
            self::name(out, ["value", "value_base64"], value)?;
            out.push(b'}');
        }
        out.push(b']');
    }
    if *holes {
        out.extend_from_slice(b",\"holes\":true");
    }
    if !flags.is_empty() {
        write!(out, ",\"flags\":\"{flags}\"")?;
    }
    if let Some(accessed) = accessed {
        write!(out, ",\"accessed\":\"{}\"", accessed.decimal())?;
    }
    if let Some(Metadata { mode, uid, gid, mtime }) = meant {
        let mtime = mtime.decimal();
        write!(out, ",\"meant\":{{\"mtime\":\"{mtime}\",\"mode\":\"{mode:04o}\"")?;
        write!(out, ",\"uid\":{uid},\"gid\":{gid}}}")?;
    }
    Ok(())
}

/// Writes bytes as text, or else in Base64 under the other name.
fn name(out: &mut Vec<u8>, [plain, base64]: [&str; 2], bytes: &[u8]) -> io::Result<()> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        write!(out, "\"{plain}\":")?;
        Ok(serde_json::to_writer(out, text)?)
    } else {
        write!(out, "\"{base64}\":\"{}\"", BASE64_STANDARD.encode(bytes))
    }
}

fn stamp(name: &str, stamp: &Stamp, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, ",\"{name}\":{{\"size\":{}", stamp.size)?;
    match stamp.evidence {
        Evidence::Inode(Inode { mtime, ctime, number }) => {
            let number = number.unwrap_or(NO_NUMBER);
            let (mtime, ctime) = (mtime.decimal(), ctime.decimal());
            write!(out, ",\"mtime\":\"{mtime}\",\"ctime\":\"{ctime}\",\"inode\":{number}")?;
        }
        Evidence::Tag(Some(tag)) => {
            out.extend_from_slice(b",\"etag\":");
            serde_json::to_writer(&mut *out, tag.as_str())?;
        }
        Evidence::Tag(None) => {}
    }
    out.push(b'}');
    Ok(())
}

/// Parses a line without its line feed. Unknown names are ignored.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn decode(line: &[u8]) -> Result<Published, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let key = bytes(line.key.as_deref(), line.key_base64.as_deref())?.ok_or("it has no key")?;
    let (key, sequence) = (Key::new(key), line.sequence);
    let extras = line.extras()?;
    if line.removed {
        return Ok(Published { key, sequence, row: None });
    }
    let row = Row {
        key: key.clone(),
        kind: kind(&line.kind.ok_or("it has no kind")?)?,
        digest: line.blake3.as_deref().map(digest).transpose()?,
        extra: ExtraDigests {
            sha256: line.sha256.as_deref().map(hex).transpose()?,
            md5: line.md5.as_deref().map(hex).transpose()?,
        },
        origin: if line.adopted { Origin::Adopted } else { Origin::Proven },
        source: line.source.ok_or("it has no stamp of the source")?,
        source_racy: line.source_racy,
        target: line.target.ok_or("it has no stamp of the target")?,
        metadata: Metadata {
            mode: mode(&line.mode.ok_or("it has no mode")?)?,
            uid: line.uid.ok_or("it has no owner")?,
            gid: line.gid.ok_or("it has no group")?,
            mtime: time(&line.mtime.ok_or("it has no mtime")?)?,
        },
        link: bytes(line.link.as_deref(), line.link_base64.as_deref())?.map(Into::into),
        run: RunNumber(0),
        from: line.from.map_or(SourceNumber::FIRST, SourceNumber),
        verified_at: line.verified.as_deref().map(time).transpose()?,
        extras,
        // The head says it of the whole segment.
        looked: AttributeKinds::NONE,
        born: line.born.as_deref().map(time).transpose()?.and_then(Birth::of),
    };
    let run = line.run.ok_or("it has no run")?;
    if !is_printable(&run) {
        return Err("its run's id has control characters".to_owned());
    }
    let run = RunId(run);
    Ok(Published { key, sequence, row: Some((row, run)) })
}

impl Line {
    fn extras(&self) -> Result<Option<Box<Extras>>, String> {
        let group = self.links.as_deref().map(|links| {
            // How many names the file has is not published.
            let id = GroupId::parse(links).ok_or("it has no valid id of links")?;
            Ok::<_, &str>(LinkGroup { id, names: 0 })
        });
        let device = self
            .device
            .as_deref()
            .map(|device| DeviceNumber::parse(device).ok_or("it has no valid number of a device"));
        let attributes = self.attributes_blake3.as_deref().map(hex).transpose()?;
        let attributes = attributes.map(AttributesDigest);
        let flags = self.flags.as_deref().map(|flags| {
            FileFlags::parse(flags).ok_or_else(|| format!("it has the unknown flags {flags:?}"))
        });
        let meant = self.meant.as_ref().map(|meant| {
            let Meant { mtime, mode: bits, uid, gid } = meant;
            let (mode, mtime) = (mode(bits)?, time(mtime)?);
            Ok::<_, String>(Metadata { mode, uid: *uid, gid: *gid, mtime })
        });
        Ok(Extras {
            group: group.transpose()?,
            device: device.transpose()?,
            attributes,
            holes: self.holes,
            apart: self.apart(attributes)?,
            told: AttributeKinds::NONE,
            flags: flags.transpose()?.unwrap_or_default(),
            accessed: self.accessed.as_deref().map(time).transpose()?,
            meant: meant.transpose()?,
        }
        .boxed())
    }
}

impl Line {
    /// Parses the attributes that the target's entry doesn't have, of which `all` is the digest.
    fn apart(&self, all: Option<AttributesDigest>) -> Result<Apart, String> {
        if self.attributes.is_empty() {
            return Ok(Apart::Nothing);
        }
        let found = self.attributes.iter().map(AttributeLine::attribute);
        let found = Attributes::checked(found.collect::<Result<_, _>>()?)?;
        if found.digest() != all {
            return Err("its attributes are not those of their digest".to_owned());
        }
        Ok(Apart::Loaded(Arc::new(found)))
    }
}

/// Parses the name of a kind.
fn kind(name: &str) -> Result<EntryKind, String> {
    let kind = EntryKind::from_name(name);
    let known = kind.filter(|kind| *kind != EntryKind::Special(SpecialKind::Unknown));
    known.ok_or_else(|| format!("it has the unknown kind {name:?}"))
}

/// Parses only the key of a line.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn key(line: &[u8]) -> Result<Key, String> {
    #[derive(Deserialize)]
    struct KeyLine {
        key: Option<String>,
        key_base64: Option<String>,
    }
    let line: KeyLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(Key::new(bytes(line.key.as_deref(), line.key_base64.as_deref())?.ok_or("it has no key")?))
}

/// Parses 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> Result<Digest, String> {
    hex(text).map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ETag, Timestamp};

    fn row(key: &[u8]) -> Row {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        Row {
            key: Key::new(key),
            kind: EntryKind::File,
            digest: Some(Digest([0xab; 32])),
            extra: ExtraDigests { sha256: Some([0xcd; 32]), md5: Some([0x0f; 16]) },
            origin: Origin::Proven,
            source: Stamp::of_inode(
                5,
                Inode { mtime: time(-2, 999_999_999), ctime: time(9, 0), number: Some(u64::MAX) },
            ),
            source_racy: true,
            target: Stamp::of_object(5, ETag::new(b"\"d41d8cd9-2\"")),
            metadata: Metadata { mode: 0o4755, uid: 0, gid: u32::MAX, mtime: time(i64::MAX, 1) },
            link: None,
            run: RunNumber(0),
            from: SourceNumber::FIRST,
            verified_at: Some(time(1_700_000_000, 5)),
            extras: None,
            looked: AttributeKinds::NONE,
            born: None,
        }
    }

    fn lines() -> Vec<Published> {
        let run = RunId("20261121T162202Z-f5535a8e".to_owned());
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        let of = |row: Row| Published {
            key: row.key.clone(),
            sequence: 7,
            row: Some((row, run.clone())),
        };
        let link = Row {
            kind: EntryKind::Symlink,
            link: Some((*b"a\xff\n").into()),
            digest: None,
            extra: ExtraDigests::default(),
            origin: Origin::Adopted,
            verified_at: None,
            from: SourceNumber(i64::MAX),
            ..row(b"l")
        };
        let root = Row {
            kind: EntryKind::Directory,
            target: Stamp::of_object(0, None),
            metadata: Metadata {
                mtime: Timestamp { seconds: i64::MIN, nanos: 0 },
                ..Metadata::default()
            },
            ..row(b"")
        };
        let device = Row {
            kind: EntryKind::Special(SpecialKind::BlockDevice),
            digest: None,
            extras: Some(Box::new(Extras {
                group: Some(LinkGroup { id: GroupId(u64::MAX), names: 0 }),
                ..crate::model::extras::tests::all()
            })),
            born: Birth::of(time(-1, 500_000_000)),
            ..row(b"sda1")
        };
        let removed = Published { key: Key::new(*b"gone/"), sequence: u64::MAX, row: None };
        vec![
            of(root),
            of(row("a\u{0}\n\"\\\u{202e}é".as_bytes())),
            of(row(b"\xff/../\x80")),
            of(link),
            of(device),
            removed,
        ]
    }

    #[test]
    fn lines_come_back_as_they_were_whatever_the_bytes() {
        for published in lines() {
            let mut line = Vec::new();
            published.encode(&mut line).unwrap();
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            assert_eq!(decode(line.trim_ascii_end()).as_ref(), Ok(&published));
            assert_eq!(key(line.trim_ascii_end()).as_ref(), Ok(&published.key));
        }
    }

    /// Returns the line of a file that doesn't have its attributes itself.
    fn with_attributes() -> (Attributes, String) {
        let all: [(&[u8], &[u8]); 2] =
            [(b"system.posix_acl_access", b"\x02\0"), (b"user.a\xff", b"1\"")];
        let all = all.map(|(name, value)| Attribute { name: name.into(), value: value.into() });
        let set = Attributes::checked(all.to_vec()).unwrap();
        let apart = Apart::Loaded(Arc::new(set.clone()));
        let extras = Extras { attributes: set.digest(), apart, ..Extras::default() };
        let row = Row { extras: Some(Box::new(extras)), ..row(b"a") };
        let row = Some((row, RunId("r".to_owned())));
        let mut line = Vec::new();
        let published = Published { key: Key::new(*b"a"), sequence: 1, row };
        assert!(published.tells_more_than_target());
        published.encode(&mut line).unwrap();
        (set, String::from_utf8(line).unwrap())
    }

    #[test]
    fn attributes_that_the_target_lacks_come_back_as_they_were() {
        let (set, line) = with_attributes();
        assert!(
            line.contains(
                ",\"attributes\":[{\"name\":\"system.posix_acl_access\",\"value\":\"\\u0002\\u0000\"},\
                 {\"name_base64\":\"dXNlci5h/w==\",\"value\":\"1\\\"\"}]"
            ),
            "{line}"
        );
        let Published { row, .. } = decode(line.trim_ascii_end().as_bytes()).unwrap();
        let extras = row.unwrap().0.extras.unwrap();
        assert_eq!(extras.apart.loaded().map(|apart| &**apart), Some(&set));
    }

    #[test]
    fn attributes_that_nobody_wrote_so_are_refused() {
        let (_, line) = with_attributes();
        for (part, other, expected) in [
            ("dXNlci5h/w==", "c3lzdGVtLmZvbw==", "no mirror keeps the attribute \"system.foo\""),
            ("dXNlci5h/w==", "YQ==", "no entry can have the attribute \"a\""),
            ("dXNlci5h/w==", "YS5i", "attributes are out of order"),
            ("\"1\\\"\"", "\"2\"", "its attributes are not those of their digest"),
            (",\"value\":\"1\\\"\"", "", "an attribute has no value"),
        ] {
            assert!(line.contains(part), "{line}");
            let line = line.replace(part, other);
            assert_eq!(decode(line.trim_ascii_end().as_bytes()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn lines_read_well() {
        let mut line = Vec::new();
        lines()[1].encode(&mut line).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"key\":\"a\\u0000\\n\\\"\\\\\u{202e}é\",\"sequence\":7,\"kind\":\"file\",\
             \"size\":5,\"blake3\":\"abababababababababababababababababababababababababababababababab\
             \",\"sha256\":\"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\",\
             \"md5\":\"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\",\"mtime\":\"9223372036854775807.000000001\",\"mode\":\"4755\",\"uid\":0,\
             \"gid\":4294967295,\"run\":\"20261121T162202Z-f5535a8e\",\
             \"verified\":\"1700000000.000000005\",\"source\":{\"size\":5,\
             \"mtime\":\"-1.000000001\",\"ctime\":\"9.000000000\",\"inode\":18446744073709551615},\
             \"source_racy\":true,\"target\":{\"size\":5,\"etag\":\"d41d8cd9-2\"}}\n"
        );
    }

    #[test]
    fn what_few_entries_have_reads_well_and_needs_version_2() {
        let lines = lines();
        let device = lines.iter().find(|line| line.key == Key::new(*b"sda1")).unwrap();
        let mut line = Vec::new();
        device.encode(&mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        for part in [
            ",\"kind\":\"block_device\",",
            ",\"links\":\"ffffffffffffffff\",\"device\":\"8:1\",",
            ",\"attributes_blake3\":\"abababababababababababababababab\",\"holes\":true,",
            ",\"born\":\"-0.500000000\",",
        ] {
            assert!(line.contains(part), "{line} has {part}");
        }
        let needing = lines.iter().filter(|line| line.needs_version_2());
        assert!(needing.eq([device]));
        // A time of creation is passed over without a loss.
        let (plain, run) = lines[1].row.clone().unwrap();
        let born = Row { born: Birth::of_nanoseconds(1), ..plain };
        assert!(!Published { row: Some((born, run)), ..lines[1].clone() }.needs_version_2());
    }

    #[test]
    fn what_is_no_row_is_named() {
        let whole = "{\"key\":\"a\",\"sequence\":1,\"kind\":\"file\",\"mtime\":\"1.000000000\",\
                     \"mode\":\"0644\",\"uid\":1,\"gid\":1,\"run\":\"r\",\"source\":{\"size\":1},\
                     \"target\":{\"size\":1},\"a later version's\":[1]}";
        decode(whole.as_bytes()).unwrap();
        for (part, other, why) in [
            ("\"key\":\"a\",", "", "no key"),
            ("\"key\":\"a\",", "\"key\":\"a\",\"key_base64\":\"YQ==\",", "twice"),
            ("\"key\":\"a\",", "\"key_base64\":\"?\",", "Invalid"),
            ("\"mode\":\"0644\"", "\"mode\":\"10000\"", "not a mode"),
            ("\"1.000000000\"", "\"1.0\"", "not a time"),
            ("\"1.000000000\"", "\"99999999999999999999.000000000\"", "not a time"),
            ("\"source\":{\"size\":1}", "\"source\":{\"size\":1,\"inode\":2}", "incomplete stamp"),
            ("\"target\":{\"size\":1}", "\"target\":{\"size\":1,\"etag\":\"\"}", "tag"),
            ("\"kind\":\"file\"", "\"kind\":\"door\"", "unknown kind \"door\""),
            ("\"kind\":\"file\"", "\"kind\":\"special\"", "unknown kind \"special\""),
            ("\"uid\":1", "\"uid\":1,\"links\":\"7\"", "id of links"),
            ("\"uid\":1", "\"uid\":1,\"device\":\"8\"", "number of a device"),
            ("\"uid\":1", "\"uid\":1,\"attributes_blake3\":\"0f\"", "32 hexadecimal"),
            ("\"uid\":1", "\"uid\":1,\"md5\":\"0f\"", "32 hexadecimal"),
            ("\"uid\":1", "\"uid\":1,\"sha256\":\"+f\"", "64 hexadecimal"),
            ("\"run\":\"r\"", "\"run\":\"\\u001b[2J\"", "control characters"),
        ] {
            let line = whole.replace(part, other);
            assert_ne!(line, whole);
            let error = decode(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
