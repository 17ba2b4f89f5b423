//! Exporting a published manifest: one list of all its rows, in a form that other programs read.
//!
//! Rows are written as they are read, whatever their number. What a form can't hold is told of and
//! left out.

mod lines;

use super::atomic_file::AtomicFile;
use super::manifest::OpenManifest;
use super::wall_clock;
use crate::location::SingleLocation;
use crate::manifest::published::Merged;
use crate::model::{Cause, EntryKind, Error, Key, Notice, Stop};
use crate::place::file::{self, Destination, cannot_write};
use lines::Line;
use std::io::{self, Write};
use std::path::PathBuf;

/// Bytes that are handed on at a time.
const CHUNK: usize = 256 << 10;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Digests and names of files, as `b3sum --check` takes them.
    B3sum,
    /// The same for `sha256sum --check`. Refused where a file has no SHA-256 on record.
    Sha256sum,
    /// A list of known files for hashdeep: sizes, SHA-256, MD5 where all files have it, and names.
    /// Refused where a file has no SHA-256 on record.
    Hashdeep,
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
    /// The mode that it is given, unless a file stands there: that file's mode stays.
    pub mode: u32,
}

/// Where an export goes.
pub struct ExportPlace(Destination);

impl ExportPlace {
    /// Finds out where the path leads; nothing is written yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a directory, or a name that is vidimus's own;
    /// [`ErrorKind::Unusable`] where nothing can be written.
    ///
    /// [`ErrorKind::Usage`]: crate::model::ErrorKind::Usage
    /// [`ErrorKind::Unusable`]: crate::model::ErrorKind::Unusable
    pub fn find(to: &ExportFile) -> Result<Self, Error> {
        let location = SingleLocation::from(to.path.clone());
        file::find(&location, &to.path, &std::env::temp_dir()).map(Self)
    }

    /// Whether it is written whole or not at all; else what stands there is written to.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, Destination::Whole(_))
    }
}

/// What an export left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files without a digest, in a form that is made of digests.
    pub without_digest: u64,
    /// Rows whose names the form can't hold; each was told of.
    pub left_out: u64,
    /// What is lost of a file that stood in the place of this one.
    pub not_kept: Option<Notice>,
}

/// Why an export did not come to its end.
#[derive(Debug)]
pub enum ExportError {
    /// The manifest can't be used, or the file can't be written: that has what it had.
    Fatal(Error),
    /// The form is made of SHA-256, which is not on record of all files. Nothing was written.
    NoSha256(Missing),
    /// The output failed.
    Output(io::Error),
    /// It was stopped.
    Stopped,
}

/// Files without a digest that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub first: Key,
    /// How many they are.
    pub files: u64,
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
    Surveyed::new(manifest, format, stop)?.write(tell, stop, out)
}

/// Does the same to a file, which has what it had until all is written, and durably has that then; or
/// to a device, a pipe or what a process has open, as it stands. Nothing is opened before it is known
/// that the form can be made.
///
/// # Errors
/// See [`ExportError`].
pub fn export_to(
    to: &ExportFile,
    place: ExportPlace,
    manifest: &mut OpenManifest,
    format: ExportFormat,
    tell: &mut dyn FnMut(&Key, &'static str),
    stop: &Stop,
) -> Result<Exported, ExportError> {
    let location = SingleLocation::from(to.path.clone());
    let failed = |cause| match cause {
        Cause::Stopped => ExportError::Stopped,
        cause => ExportError::Fatal(cannot_write(&location, cause)),
    };
    let rows = Surveyed::new(manifest, format, stop)?;
    let file = match place.0 {
        Destination::Whole(file) => file,
        Destination::Through(through) => {
            let mut open = through.open(&location)?;
            return rows.write(tell, stop, &mut open).map_err(|error| match error {
                // A reader who left is told nothing.
                ExportError::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    failed(error.into())
                }
                error => error,
            });
        }
    };
    let metadata = file.metadata(to.mode, wall_clock());
    let mut whole =
        AtomicFile::begin(file.target(), file.key.clone(), file.place, metadata).map_err(failed)?;
    let mut put = |chunk: &[u8]| whole.write(chunk).map_err(failed);
    let exported = rows.each_chunk(tell, stop, &mut put)?;
    whole.publish().map_err(failed)?;
    Ok(Exported { not_kept: file.not_kept(), ..exported })
}

/// The rows of a manifest, in a form that is known to hold them.
struct Surveyed {
    rows: Merged,
    format: ExportFormat,
    /// Whether each file has an MD5, where the form asks for that.
    has_md5: bool,
}

impl Surveyed {
    /// Makes sure that the rows have what the form is made of, which may take reading all of them.
    fn new(
        manifest: &mut OpenManifest,
        format: ExportFormat,
        stop: &Stop,
    ) -> Result<Self, ExportError> {
        let mut rows = manifest.latest_rows()?;
        let mut has_md5 = false;
        if matches!(format, ExportFormat::Sha256sum | ExportFormat::Hashdeep) {
            has_md5 = survey(&mut rows, stop)?;
            rows = rows.again()?;
        }
        Ok(Self { rows, format, has_md5 })
    }

    fn write(
        self,
        tell: &mut dyn FnMut(&Key, &'static str),
        stop: &Stop,
        out: &mut dyn Write,
    ) -> Result<Exported, ExportError> {
        let mut put = |chunk: &[u8]| out.write_all(chunk).map_err(ExportError::Output);
        let exported = self.each_chunk(tell, stop, &mut put)?;
        out.flush().map_err(ExportError::Output)?;
        Ok(exported)
    }

    fn each_chunk(
        mut self,
        tell: &mut dyn FnMut(&Key, &'static str),
        stop: &Stop,
        put: &mut dyn FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<Exported, ExportError> {
        let has_md5 = self.has_md5;
        let mut exported = Exported::default();
        let mut chunk = Vec::with_capacity(CHUNK);
        match self.format {
            ExportFormat::Csv => chunk.extend_from_slice(lines::CSV_HEADER),
            ExportFormat::Hashdeep => chunk.extend_from_slice(lines::hashdeep_header(has_md5)),
            ExportFormat::B3sum | ExportFormat::Sha256sum | ExportFormat::Json => {}
        }
        while let Some(published) = self.rows.next_published() {
            if stop.requested() {
                return Err(ExportError::Stopped);
            }
            let published = published?;
            let Some((row, run)) = &published.row else { continue };
            let line = match self.format {
                ExportFormat::B3sum => lines::b3sum(row, &mut chunk),
                ExportFormat::Sha256sum => lines::sha256sum(row, &mut chunk),
                ExportFormat::Hashdeep => lines::hashdeep(row, has_md5, &mut chunk),
                ExportFormat::Json => lines::json(&published, &mut chunk)?,
                ExportFormat::Csv => lines::csv(row, run, &mut chunk),
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
}

/// Reads all rows to see whether each file has a SHA-256; gives whether each has an MD5 too.
fn survey(rows: &mut Merged, stop: &Stop) -> Result<bool, ExportError> {
    let (mut missing, mut all_have_md5, mut any) = (None::<Missing>, true, false);
    for row in rows {
        if stop.requested() {
            return Err(ExportError::Stopped);
        }
        let (row, _) = row?;
        if row.kind != EntryKind::File {
            continue;
        }
        any = true;
        all_have_md5 &= row.extra.md5.is_some();
        if row.extra.sha256.is_none() {
            missing.get_or_insert(Missing { first: row.key, files: 0 }).files += 1;
        }
    }
    match missing {
        Some(missing) => Err(ExportError::NoSha256(missing)),
        None => Ok(any && all_have_md5),
    }
}
