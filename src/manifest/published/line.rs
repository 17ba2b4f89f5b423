//! A row as a line of JSON.
//!
//! Times are strings of seconds since the epoch with nine decimals, so that no reader rounds them;
//! what isn't UTF-8 stands in Base64 under a name of its own.

use crate::manifest::{Origin, Row, RunNumber};
use crate::model::stamp::{Evidence, Inode};
use crate::model::{Digest, ETag, EntryKind, Key, Metadata, RunId, Stamp, Timestamp};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// What the published manifest says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The key.
    pub key: Key,
    /// The publication that said it: of two, the later one counts.
    pub sequence: u64,
    /// Its row, whose run has no number here, and that run's id; `None` where it was removed.
    pub row: Option<(Row, RunId)>,
}

/// A line. Fields are in the order in which they are written.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    sequence: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_base64: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    adopted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<StampLine>,
    #[serde(default, skip_serializing_if = "is_false")]
    source_racy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<StampLine>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    Symlink,
}

/// A stamp: a file system's has times and an inode, a store's at most a tag.
#[derive(Serialize, Deserialize)]
struct StampLine {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Appends a line with its end.
///
/// # Errors
/// When an entry is of a kind that no mirror holds.
pub(super) fn encode(published: &Published, out: &mut Vec<u8>) -> Result<(), String> {
    let (key, key_base64) = text(published.key.as_bytes());
    let mut line = Line { key, key_base64, sequence: published.sequence, ..Line::default() };
    match &published.row {
        None => line.removed = true,
        Some((row, run)) => {
            line.kind = Some(match row.kind {
                EntryKind::File => Kind::File,
                EntryKind::Directory => Kind::Directory,
                EntryKind::Symlink => Kind::Symlink,
                EntryKind::Special(_) => return Err("it is a special file".to_owned()),
            });
            line.size = (row.kind == EntryKind::File).then_some(row.source.size);
            line.blake3 = row.digest.map(|digest| digest.to_string());
            let Metadata { mode, uid, gid, mtime } = row.metadata;
            (line.mtime, line.mode) = (Some(mtime.to_string()), Some(format!("{mode:04o}")));
            (line.uid, line.gid) = (Some(uid), Some(gid));
            if let Some(link) = &row.link {
                (line.link, line.link_base64) = text(link);
            }
            line.adopted = row.origin == Origin::Adopted;
            line.run = Some(run.0.clone());
            line.verified = row.verified_at.map(|at| at.to_string());
            (line.source, line.target) = (Some(stamp(&row.source)), Some(stamp(&row.target)));
            line.source_racy = row.source_racy;
        }
    }
    serde_json::to_writer(&mut *out, &line).map_err(|error| error.to_string())?;
    out.push(b'\n');
    Ok(())
}

/// Decodes a line, without its end. Names that are not known are passed over.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn decode(line: &[u8]) -> Result<Published, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let key = bytes(line.key, line.key_base64)?.ok_or("it has no key")?;
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
        origin: if line.adopted { Origin::Adopted } else { Origin::Proven },
        source: of_stamp(line.source.ok_or("it has no stamp of the source")?)?,
        source_racy: line.source_racy,
        target: of_stamp(line.target.ok_or("it has no stamp of the target")?)?,
        metadata: Metadata {
            mode: mode(&line.mode.ok_or("it has no mode")?)?,
            uid: line.uid.ok_or("it has no owner")?,
            gid: line.gid.ok_or("it has no group")?,
            mtime: time(&line.mtime.ok_or("it has no mtime")?)?,
        },
        link: bytes(line.link, line.link_base64)?.map(Into::into),
        run: RunNumber(0),
        verified_at: line.verified.as_deref().map(time).transpose()?,
    };
    let run = RunId(line.run.ok_or("it has no run")?);
    Ok(Published { key, sequence, row: Some((row, run)) })
}

/// Bytes as text, or else in Base64.
fn text(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64).map(Some).map_err(|error| error.to_string())
        }
        (Some(_), Some(_)) => Err("it has a name twice".to_owned()),
    }
}

fn stamp(stamp: &Stamp) -> StampLine {
    let line = StampLine { size: stamp.size, mtime: None, ctime: None, inode: None, etag: None };
    match stamp.evidence {
        Evidence::Inode(Inode { mtime, ctime, number }) => StampLine {
            mtime: Some(mtime.to_string()),
            ctime: Some(ctime.to_string()),
            inode: Some(number),
            ..line
        },
        Evidence::Tag(tag) => StampLine { etag: tag.map(|tag| tag.to_string()), ..line },
    }
}

fn of_stamp(line: StampLine) -> Result<Stamp, String> {
    match (line.mtime, line.ctime, line.inode, line.etag) {
        (Some(mtime), Some(ctime), Some(number), None) => {
            let inode = Inode { mtime: time(&mtime)?, ctime: time(&ctime)?, number };
            Ok(Stamp::of_inode(line.size, inode))
        }
        (None, None, None, None) => Ok(Stamp::of_object(line.size, None)),
        (None, None, None, Some(tag)) => {
            let tag = ETag::new(tag.as_bytes()).filter(|found| found.as_str() == tag);
            Ok(Stamp::of_object(line.size, Some(tag.ok_or("it has a tag that none can be")?)))
        }
        _ => Err("it has half a stamp".to_owned()),
    }
}

/// Reads 64 hexadecimal digits.
pub(super) fn digest(text: &str) -> Result<Digest, String> {
    blake3::Hash::from_hex(text).map(Into::into).map_err(|error| error.to_string())
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("\"{}\" is no mode", text.escape_default()))
}

/// Reads seconds since the epoch with nine decimals, as a timestamp prints.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
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
    read().ok_or_else(|| format!("\"{}\" is no time", text.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &[u8]) -> Row {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        Row {
            key: Key::new(key),
            kind: EntryKind::File,
            digest: Some(Digest([0xab; 32])),
            origin: Origin::Proven,
            source: Stamp::of_inode(
                5,
                Inode { mtime: time(-2, 999_999_999), ctime: time(9, 0), number: u64::MAX },
            ),
            source_racy: true,
            target: Stamp::of_object(5, ETag::new(b"\"d41d8cd9-2\"")),
            metadata: Metadata { mode: 0o4755, uid: 0, gid: u32::MAX, mtime: time(i64::MAX, 1) },
            link: None,
            run: RunNumber(0),
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
            origin: Origin::Adopted,
            verified_at: None,
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
            encode(&published, &mut line).unwrap();
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            assert_eq!(decode(line.trim_ascii_end()).as_ref(), Ok(&published));
        }
    }

    #[test]
    fn lines_read_well() {
        let mut line = Vec::new();
        encode(&lines()[1], &mut line).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"key\":\"a\\u0000\\n\\\"\\\\\u{202e}é\",\"sequence\":7,\"kind\":\"file\",\
             \"size\":5,\"blake3\":\"abababababababababababababababababababababababababababababababab\
             \",\"mtime\":\"9223372036854775807.000000001\",\"mode\":\"4755\",\"uid\":0,\
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
            ("\"mode\":\"0644\"", "\"mode\":\"10000\"", "no mode"),
            ("\"1.000000000\"", "\"1.0\"", "no time"),
            ("\"1.000000000\"", "\"99999999999999999999.000000000\"", "no time"),
            ("\"source\":{\"size\":1}", "\"source\":{\"size\":1,\"inode\":2}", "half a stamp"),
            ("\"target\":{\"size\":1}", "\"target\":{\"size\":1,\"etag\":\"\"}", "tag"),
            ("\"kind\":\"file\"", "\"kind\":\"fifo\"", "fifo"),
        ] {
            let line = whole.replace(part, other);
            assert_ne!(line, whole);
            let error = decode(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
