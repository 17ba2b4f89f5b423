//! Exporting a published manifest: one list of all its rows, in a form that other programs read.
//!
//! Rows are written as they are read, whatever their number. What a form can't hold is told of and
//! left out.

use super::manifest::OpenManifest;
use super::put::{LocalFile, cannot_write, local_file};
use super::wall_clock;
use crate::backend::Target as _;
use crate::location::SingleLocation;
use crate::manifest::Row;
use crate::manifest::published::Published;
use crate::model::entry::Known;
use crate::model::{
    Cause, Digest, Entry, EntryKind, Error, ErrorKind, Key, Metadata, RunId, Stamp, Stop,
};
use std::io::{self, Write};
use std::path::PathBuf;

/// Bytes that are handed on at a time.
const CHUNK: usize = 256 << 10;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Digests and names of files, as `b3sum --check` takes them.
    B3sum,
    /// NDJSON: all that the manifest says, a line a row as in a segment.
    Json,
    /// CSV (RFC 4180) with a header.
    Csv,
}

/// Where an export goes that is written whole or not at all.
#[derive(Debug)]
pub struct ExportFile {
    /// A file of this machine.
    pub path: PathBuf,
    /// The mode that it is given.
    pub mode: u32,
}

/// What an export left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files without a digest, in a form that is made of digests.
    pub without_digest: u64,
    /// Rows whose names the form can't hold; each was told of.
    pub left_out: u64,
}

/// Why an export did not come to its end.
#[derive(Debug)]
pub enum ExportError {
    /// The manifest can't be used, or the file can't be written: that has what it had.
    Fatal(Error),
    /// The output failed.
    Output(io::Error),
    /// It was stopped.
    Stopped,
}

impl From<Error> for ExportError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Writes a manifest's rows to `out`; why one is left out goes to `tell`.
///
/// # Errors
/// See [`ExportError`]; what was written before one is not the whole.
pub fn export(
    manifest: &mut OpenManifest,
    format: ExportFormat,
    tell: &mut dyn FnMut(&Key, &'static str),
    stop: &Stop,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let mut put = |chunk: &[u8]| out.write_all(chunk).map_err(ExportError::Output);
    let exported = rows(manifest, format, tell, stop, &mut put)?;
    out.flush().map_err(ExportError::Output)?;
    Ok(exported)
}

/// Does the same to a file, which has what it had until all is written, and durably has that then.
///
/// # Errors
/// See [`ExportError`].
pub fn export_to(
    file: &ExportFile,
    manifest: &mut OpenManifest,
    format: ExportFormat,
    tell: &mut dyn FnMut(&Key, &'static str),
    stop: &Stop,
) -> Result<Exported, ExportError> {
    let location = SingleLocation::Local(file.path.clone());
    let failed = |cause| match cause {
        Cause::Stopped => ExportError::Stopped,
        cause => ExportError::Fatal(cannot_write(&location, cause)),
    };
    let LocalFile { target, key, place, .. } =
        local_file(&location, &file.path, &manifest.spool_dir)?;
    let metadata = Metadata {
        mode: file.mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: wall_clock(),
    };
    let (kind, stamp) = (EntryKind::File, Stamp::of_object(0, None));
    let entry =
        Entry { key, kind, stamp, metadata, link: None, known: Known::Whole, recorded: None };
    let mut stage = target.stage_stream(&entry, place).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut put = |chunk: &[u8]| {
        hasher.update(chunk);
        stage.write(chunk).map_err(failed)
    };
    let exported = rows(manifest, format, tell, stop, &mut put)?;
    let wanted = target.holds(&metadata, kind);
    let mut staged = stage.finish(&wanted, &Digest::from(hasher.finalize())).map_err(failed)?;
    // Whether it got its mode and owner makes it no other list.
    staged.publish().map_err(failed)?;
    if target.needs_barrier() {
        target.barrier().map_err(failed)?;
    }
    Ok(exported)
}

fn rows(
    manifest: &mut OpenManifest,
    format: ExportFormat,
    tell: &mut dyn FnMut(&Key, &'static str),
    stop: &Stop,
    put: &mut dyn FnMut(&[u8]) -> Result<(), ExportError>,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    if format == ExportFormat::Csv {
        chunk.extend_from_slice(CSV_HEADER);
    }
    let mut rows = manifest.latest_rows()?;
    while let Some(published) = rows.next_published() {
        if stop.requested() {
            return Err(ExportError::Stopped);
        }
        let published = published?;
        let Some((row, run)) = &published.row else { continue };
        let line = match format {
            ExportFormat::B3sum => b3sum(row, &mut chunk),
            ExportFormat::Json => json(&published, &mut chunk)?,
            ExportFormat::Csv => csv(row, run, &mut chunk),
        };
        match line {
            Line::Written | Line::NotOfThisForm => {}
            Line::NoDigest => exported.without_digest += 1,
            Line::LeftOut(why) => {
                exported.left_out += 1;
                tell(&published.key, why);
            }
        }
        if chunk.len() >= CHUNK {
            put(&chunk)?;
            chunk.clear();
        }
    }
    put(&chunk)?;
    Ok(exported)
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Written,
    /// A directory or link, where only files are listed.
    NotOfThisForm,
    /// A file whose content nobody read.
    NoDigest,
    /// Its name can't be written.
    LeftOut(&'static str),
}

/// Writes the line that `b3sum --check` takes in the target's root.
///
/// The escapes, and what the reader refuses, are those of b3sum 1.8: `\`, line feed and carriage
/// return are escaped, and a `\` before the digest says so.
fn b3sum(row: &Row, out: &mut Vec<u8>) -> Line {
    if row.kind != EntryKind::File {
        return Line::NotOfThisForm;
    }
    let Some(digest) = &row.digest else { return Line::NoDigest };
    let name = match text(row.key.as_bytes()) {
        Ok(name) => name,
        Err(why) => return Line::LeftOut(why),
    };
    if name.contains('\u{fffd}') {
        return Line::LeftOut("b3sum refuses the character U+FFFD");
    }
    // Names of objects may be anything; as a path such a one leads elsewhere.
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Line::LeftOut("its name is no path inside the target");
    }
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    // `-` is standard input.
    let here = if name == "-" { "./" } else { "" };
    out.extend_from_slice(format!("{mark}{digest}  {here}{escaped}\n").as_bytes());
    Line::Written
}

fn json(published: &Published, out: &mut Vec<u8>) -> Result<Line, Error> {
    published.encode(out).map_err(|why| {
        let message = format!("\"{}\" can't be exported: {why}", published.key);
        Error::new(ErrorKind::Manifest, message)
    })?;
    Ok(Line::Written)
}

const CSV_HEADER: &[u8] = b"key,kind,size,blake3,mtime,mode,uid,gid,link,run,verified\r\n";

fn csv(row: &Row, run: &RunId, out: &mut Vec<u8>) -> Line {
    let link = row.link.as_deref().map(text).transpose();
    let (key, link) = match (text(row.key.as_bytes()), link) {
        (Ok(key), Ok(link)) => (key, link.unwrap_or_default()),
        (Err(why), _) => return Line::LeftOut(why),
        (_, Err(_)) => return Line::LeftOut("its link leads to a name that is not UTF-8"),
    };
    let (kind, size) = match row.kind {
        EntryKind::File => ("file", row.source.size.to_string()),
        EntryKind::Directory => ("directory", String::new()),
        EntryKind::Symlink => ("symlink", String::new()),
        EntryKind::Special(_) => return Line::NotOfThisForm,
    };
    let Metadata { mode, uid, gid, mtime } = row.metadata;
    let fields = [
        key.to_owned(),
        kind.to_owned(),
        size,
        row.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        mtime.to_string(),
        format!("{mode:04o}"),
        uid.to_string(),
        gid.to_string(),
        link.to_owned(),
        run.0.clone(),
        row.verified_at.map(|at| at.to_string()).unwrap_or_default(),
    ];
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            out.extend_from_slice(format!("\"{}\"", field.replace('"', "\"\"")).as_bytes());
        } else {
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    Line::Written
}

/// A name as text that other programs read.
fn text(name: &[u8]) -> Result<&str, &'static str> {
    match std::str::from_utf8(name) {
        Ok(name) if name.contains('\0') => Err("its name holds a NUL"),
        Ok(name) => Ok(name),
        Err(_) => Err("its name is not UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Origin, RunNumber};
    use crate::model::{ExtraDigests, Timestamp};

    fn file(key: &[u8]) -> Row {
        Row {
            key: Key::new(key),
            kind: EntryKind::File,
            digest: Some(Digest([0xab; 32])),
            extra: ExtraDigests::default(),
            origin: Origin::Proven,
            source: Stamp::of_object(5, None),
            source_racy: false,
            target: Stamp::of_object(5, None),
            metadata: Metadata {
                mode: 0o644,
                uid: 1,
                gid: 2,
                mtime: Timestamp { seconds: -2, nanos: 500_000_000 },
            },
            link: None,
            run: RunNumber(0),
            verified_at: Some(Timestamp { seconds: 7, nanos: 0 }),
        }
    }

    #[test]
    fn names_are_escaped_as_b3sum_reads_them() {
        for (key, line) in [
            ("a  b", "@  a  b"),
            ("d/é\t", "@  d/é\t"),
            ("a\\n\n\r", "\\@  a\\\\n\\n\\r"),
            ("-", "@  ./-"),
            ("d/-", "@  d/-"),
        ] {
            let mut out = Vec::new();
            assert_eq!(b3sum(&file(key.as_bytes()), &mut out), Line::Written);
            let line = line.replace('@', &"ab".repeat(32)) + "\n";
            assert_eq!(String::from_utf8(out).unwrap(), line, "{key:?}");
        }
    }

    #[test]
    fn what_b3sum_can_not_check_is_left_out() {
        for key in [
            &b"\xff"[..],
            b"a\0",
            "\u{fffd}".as_bytes(),
            b"/etc/passwd",
            b"../a",
            b"a/./b",
            b"a//b",
            b"a/",
        ] {
            let mut out = Vec::new();
            let line = b3sum(&file(key), &mut out);
            assert!(matches!(line, Line::LeftOut(_)), "{line:?}");
            assert!(out.is_empty());
        }
        let mut row = file(b"a");
        row.digest = None;
        assert_eq!(b3sum(&row, &mut Vec::new()), Line::NoDigest);
        row.kind = EntryKind::Directory;
        assert_eq!(b3sum(&row, &mut Vec::new()), Line::NotOfThisForm);
    }

    #[test]
    fn csv_quotes_what_would_end_a_field() {
        let run = RunId("r".to_owned());
        let mut out = Vec::new();
        assert_eq!(csv(&file(b"a \"b\",\n"), &run, &mut out), Line::Written);
        let link = Row {
            kind: EntryKind::Symlink,
            link: Some((*b"x,y").into()),
            digest: None,
            verified_at: None,
            ..file(b"l")
        };
        assert_eq!(csv(&link, &run, &mut out), Line::Written);
        let expected = format!(
            "\"a \"\"b\"\",\n\",file,5,{},-1.500000000,0644,1,2,,r,7.000000000\r\n\
             l,symlink,,,-1.500000000,0644,1,2,\"x,y\",r,\r\n",
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let lost = Row { link: Some((*b"\xff").into()), ..link };
        for row in [lost, file(b"\xff"), file(b"\0")] {
            assert!(matches!(csv(&row, &run, &mut Vec::new()), Line::LeftOut(_)));
        }
    }
}
