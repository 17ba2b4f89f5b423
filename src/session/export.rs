//! Export of a published manifest: a list of all its rows in a format that other programs read.
//!
//! Rows are written as they are read, so that memory doesn't grow with their number. Rows that a
//! format can't represent are reported and left out.

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

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Digests and names of files, for `b3sum --check`.
    B3sum,
    /// The same for `sha256sum --check`. Refused if a file has no recorded SHA-256.
    Sha256sum,
    /// A list of known files for hashdeep: sizes, SHA-256, MD5 if all files have one, and names.
    /// Refused if a file has no recorded SHA-256.
    Hashdeep,
    /// NDJSON: everything in the manifest, one line per row as in a segment.
    Json,
    /// CSV (RFC 4180) with a header.
    Csv,
}

/// The file that an export is written to.
#[derive(Debug)]
pub struct ExportFile {
    /// A local path.
    pub path: PathBuf,
    /// The mode of a new file; an existing file keeps its mode.
    pub mode: u32,
}

/// The resolved destination of an export.
pub struct ExportPlace(Destination);

impl ExportPlace {
    /// Resolves the path; nothing is written yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a directory or a reserved name; [`ErrorKind::Unusable`] if nothing
    /// can be written.
    ///
    /// [`ErrorKind::Usage`]: crate::model::ErrorKind::Usage
    /// [`ErrorKind::Unusable`]: crate::model::ErrorKind::Unusable
    pub fn find(to: &ExportFile) -> Result<Self, Error> {
        let location = SingleLocation::from(to.path.clone());
        file::find(&location, &to.path, &std::env::temp_dir()).map(Self)
    }

    /// Returns whether the file is replaced atomically; else an existing pipe or device is written
    /// to.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, Destination::Whole(_))
    }
}

/// What an export left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files without a digest, in a format that consists of digests.
    pub without_digest: u64,
    /// Rows whose names the format can't represent; each was reported.
    pub left_out: u64,
    /// Features of the replaced file that the new one lacks.
    pub not_kept: Option<Notice>,
}

/// Why an export failed.
#[derive(Debug)]
pub enum ExportError {
    /// The manifest can't be used, or the file can't be written, and is unchanged.
    Fatal(Error),
    /// The format consists of SHA-256, which is not recorded for all files. Nothing was written.
    NoSha256(Missing),
    /// The output failed.
    Output(io::Error),
    /// It was stopped.
    Stopped,
}

/// Files that lack a required digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub first: Key,
    /// The number of files.
    pub files: u64,
}

impl From<Error> for ExportError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Writes a manifest's rows to `out`, and calls `skipped` with each key that is left out, and why.
///
/// # Errors
/// See [`ExportError`]; output that was written before an error is incomplete.
pub fn export(
    manifest: &mut OpenManifest,
    format: ExportFormat,
    skipped: &mut dyn FnMut(&Key, &'static str),
    stop: &Stop,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    Surveyed::new(manifest, format, stop)?.write(skipped, stop, out)
}

/// Writes a manifest's rows to a file, which is replaced atomically and durably, or to an existing
/// device, pipe or open file descriptor, which is written to. It is opened only after checking that
/// the rows have what the format requires.
///
/// # Errors
/// See [`ExportError`].
pub fn export_to(
    to: &ExportFile,
    place: ExportPlace,
    manifest: &mut OpenManifest,
    format: ExportFormat,
    skipped: &mut dyn FnMut(&Key, &'static str),
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
            return rows.write(skipped, stop, &mut open).map_err(|error| match error {
                // A closed pipe is no error to report.
                ExportError::Output(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    failed(error.into())
                }
                error => error,
            });
        }
    };
    let metadata = file.metadata(to.mode, wall_clock());
    let mut atomic =
        AtomicFile::begin(file.target(), file.key.clone(), file.place, metadata).map_err(failed)?;
    let mut put = |chunk: &[u8]| atomic.write(chunk).map_err(failed);
    let exported = rows.each_chunk(skipped, stop, &mut put)?;
    atomic.publish().map_err(failed)?;
    Ok(Exported { not_kept: file.not_kept(), ..exported })
}

/// The rows of a manifest, checked to have what the format requires.
struct Surveyed {
    rows: Merged,
    format: ExportFormat,
    /// Whether each file has an MD5, if the format uses it.
    has_md5: bool,
}

impl Surveyed {
    /// Checks that the rows have what the format requires, which may mean reading all of them.
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
        skipped: &mut dyn FnMut(&Key, &'static str),
        stop: &Stop,
        out: &mut dyn Write,
    ) -> Result<Exported, ExportError> {
        let mut put = |chunk: &[u8]| out.write_all(chunk).map_err(ExportError::Output);
        let exported = self.each_chunk(skipped, stop, &mut put)?;
        out.flush().map_err(ExportError::Output)?;
        Ok(exported)
    }

    fn each_chunk(
        mut self,
        skipped: &mut dyn FnMut(&Key, &'static str),
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
                    skipped(&published.key, why);
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

/// Reads all rows to check that each file has a SHA-256. Returns whether each has an MD5, too.
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
