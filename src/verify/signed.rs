//! The record that counts if a signature is required: only the published manifest.
//!
//! The state isn't signed. It only shows whether an older manifest was put back, and has the time
//! at which a file was verified, for files with the same row in state and manifest.

use super::VerifyOptions;
use super::open::{Manifest, recording, report_unrecorded, spool_dir};
use crate::backend::Target;
use crate::manifest::keys::PublicKey;
use crate::manifest::published::{History, ManifestReader, Publication};
use crate::manifest::{Row, State};
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Notice, Observer, Setting};
use std::iter::Peekable;

/// Returns the manifest published in a target, after checking its integrity and its signature with
/// a key. `name` is the target's in the state.
///
/// # Errors
/// [`ErrorKind::Manifest`] if a check fails, or the manifest is older than what was published from
/// here.
pub(super) fn signed(
    target: &dyn Target,
    name: &str,
    key: &PublicKey,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Result<Manifest, Error> {
    let spool_dir = spool_dir(options);
    let reader = ManifestReader::of(target, &spool_dir);
    let latest = reader.latest()?.ok_or_else(|| {
        Error::new(ErrorKind::Manifest, format!("\"{name}\" has no published manifest"))
            .help("a mirror publishes it in its target, under .vidimus/manifest/")
    })?;
    reader.signature_status(&latest, Some(key))?.demand(&latest, key)?;
    let state = State::latest_into(&options.state_dir, name).unwrap_or_else(|error| {
        observer.notice(Notice::RollbackUnknown { cause: error.sentence() });
        None
    });
    let known = state.as_ref().map(State::published).transpose()?.flatten();
    if let Err(fault) = follow(&latest, &reader, known.as_ref()) {
        if let Some(state) = state.filter(|_| fault.kind == ErrorKind::Damaged) {
            super::published::distrust(&state, &fault, observer);
        }
        return Err(fault);
    }
    let mut manifest = Manifest::published(&reader, &latest, options)?;
    match state {
        Some(state) => add_dates(&mut manifest, &state, options, observer)?,
        None => report_unrecorded(options, observer),
    }
    Ok(manifest)
}

/// Adds the times at which files were verified to a manifest, from rows of the state that are the
/// same.
pub(super) fn add_dates(
    manifest: &mut Manifest,
    state: &State,
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Result<(), Error> {
    if let Some(recording) = recording(state, options, observer) {
        let known = recording.rows()?.peekable();
        let rows = std::mem::replace(&mut manifest.rows, Box::new(std::iter::empty()));
        manifest.rows = Box::new(Dated { rows, known });
        manifest.state = Some(recording);
    }
    Ok(())
}

/// Checks that the chain of publications is unbroken and contains what was published from here.
fn follow(
    latest: &Publication,
    reader: &ManifestReader<'_>,
    known: Option<&Publication>,
) -> Result<(), Error> {
    let is_other = |message: String| {
        Error::new(ErrorKind::Manifest, message).help(hint![
            "somebody restored an older one, or mirrored there without it; the next mirror with ",
            Setting::Sign,
            " from here publishes it anew",
        ])
    };
    let sequence = latest.head.sequence;
    if known.is_some_and(|known| sequence < known.head.sequence) {
        return Err(is_other(format!(
            "the published manifest is older than what was published from here: publication \
             {sequence} is there"
        )));
    }
    for publication in History::from(latest.clone(), reader.clone()) {
        let publication = publication?;
        let sequence = publication.head.sequence;
        let is_here = |known: &Publication| known.head.sequence == sequence;
        if known.is_some_and(|known| is_here(known) && known.digest != publication.digest) {
            return Err(is_other(format!(
                "the published manifest is not the one published from here: its publication \
                 {sequence} is a different one"
            )));
        }
    }
    Ok(())
}

/// A manifest's rows with the times at which files were verified, from equal rows of the state.
struct Dated<R: Iterator> {
    rows: Box<dyn Iterator<Item = Result<Row, Error>>>,
    known: Peekable<R>,
}

impl<R: Iterator<Item = Result<Row, Error>>> Iterator for Dated<R> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = match self.rows.next()? {
            Ok(row) => row,
            error => return Some(error),
        };
        // Rows of the state that can't be read are skipped.
        let is_before =
            |known: &Result<Row, Error>| known.as_ref().map_or(true, |known| known.key < row.key);
        while self.known.next_if(is_before).is_some() {}
        if let Some(Ok(known)) = self.known.peek()
            && (&known.key, known.digest, known.target) == (&row.key, row.digest, row.target)
        {
            row.verified_at = row.verified_at.max(known.verified_at);
        }
        Some(Ok(row))
    }
}
