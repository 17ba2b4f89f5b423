//! A row as a line of JSON.
//!
//! Times are strings of seconds since the epoch with nine decimals, so that no reader rounds them.
//! Text that isn't UTF-8 is in Base64 under a separate name.

use crate::manifest::{Origin, Row, RunNumber, SourceNumber};
use crate::model::hex::Hex;
use crate::model::key::is_printable;
use crate::model::serial::{bytes, hex, mode, time};
use crate::model::stamp::{Evidence, Inode, NO_NUMBER};
use crate::model::{Digest, EntryKind, ExtraDigests, Key, Metadata, RunId, Stamp};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::io::{self, Write as _};

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
struct Line {
    key: Option<String>,
    key_base64: Option<String>,
    sequence: u64,
    #[serde(default)]
    removed: bool,
    kind: Option<Kind>,
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
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    Symlink,
}

impl Published {
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
    let kind = match row.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Special(_) => return Err(io::Error::other("it is a special file")),
    };
    write!(out, ",\"kind\":\"{kind}\"")?;
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
    stamp("source", &row.source, out)?;
    if row.source_racy {
        out.extend_from_slice(b",\"source_racy\":true");
    }
    stamp("target", &row.target, out)
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
    if line.removed {
        return Ok(Published { key, sequence, row: None });
    }
    let row = Row {
        key: key.clone(),
        kind: match line.kind.ok_or("it has no kind")? {
            Kind::File => EntryKind::File,
            Kind::Directory => EntryKind::Directory,
            Kind::Symlink => EntryKind::Symlink,
        },
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
    };
    let run = line.run.ok_or("it has no run")?;
    if !is_printable(&run) {
        return Err("its run's id has control characters".to_owned());
    }
    let run = RunId(run);
    Ok(Published { key, sequence, row: Some((row, run)) })
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
        }
    }

    fn lines() -> Vec<Published> {
        let run = RunId("20261121T162202Z-f5535a8e".to_owned());
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
        let removed = Published { key: Key::new(*b"gone/"), sequence: u64::MAX, row: None };
        vec![
            of(root),
            of(row("a\u{0}\n\"\\\u{202e}é".as_bytes())),
            of(row(b"\xff/../\x80")),
            of(link),
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
            ("\"kind\":\"file\"", "\"kind\":\"fifo\"", "fifo"),
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
