//! The complete check of a publication, and signing one after this check.

use super::head::Publication;
use super::history::History;
use super::merge::Merged;
use super::reader::ManifestReader;
use super::signature::SignatureStatus;
use super::writer::ManifestWriter;
use crate::manifest::keys::SecretKey;
use crate::model::Error;

/// The result of a successful check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedChain {
    /// The number of publications in the chain.
    pub publications: u64,
    /// The number of rows in the current publication.
    pub rows: u64,
    /// The lost publication before the chain, if the chain was begun again.
    pub lost: Option<u64>,
}

/// Checks a publication completely: size and digest of each segment, validity and order of each
/// row, their number, and the chain back to its beginning.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::model::ErrorKind::Damaged) if the check fails,
/// [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) if a file can't be read.
pub fn check(
    reader: &ManifestReader<'_>,
    publication: &Publication,
) -> Result<CheckedChain, Error> {
    let mut rows = 0;
    for row in Merged::of(reader, &publication.head)? {
        row?;
        rows += 1;
    }
    let (mut publications, mut lost) = (0, None);
    for publication in History::from(publication.clone(), reader.clone()) {
        lost = publication?.head.lost.map(|lost| lost.sequence);
        publications += 1;
    }
    Ok(CheckedChain { publications, rows, lost })
}

/// Signs the current publication after a complete check. Returns false if it is already signed with
/// this key; then only a pointer that doesn't say so is updated.
///
/// # Errors
/// Those of [`check`], and [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) if a file
/// can't be written.
pub fn sign(
    writer: &ManifestWriter<'_>,
    latest: &Publication,
    key: &SecretKey,
) -> Result<bool, Error> {
    // Check an already signed one, too: the result promises that.
    check(&writer.reader, latest)?;
    let pointer = writer.reader.pointed_to(Some(latest))?;
    let is_told = pointer.is_some_and(|(_, pointer)| pointer.signed);
    if is_signed(writer, latest, is_told, key)? {
        return Ok(false);
    }
    add(writer, latest, key)?;
    Ok(true)
}

/// Does the same as [`sign`] with the pointer's flag known. An already signed publication is not
/// checked, because it was checked then.
pub(super) fn sign_pointed(
    writer: &ManifestWriter<'_>,
    latest: &Publication,
    is_told: bool,
    key: &SecretKey,
) -> Result<bool, Error> {
    if is_signed(writer, latest, is_told, key)? {
        return Ok(false);
    }
    check(&writer.reader, latest)?;
    add(writer, latest, key)?;
    Ok(true)
}

/// Returns whether a publication is signed with this key, and updates the pointer if it is.
fn is_signed(
    writer: &ManifestWriter<'_>,
    latest: &Publication,
    is_told: bool,
    key: &SecretKey,
) -> Result<bool, Error> {
    let is_signed = matches!(
        writer.reader.signature_status(latest, Some(key.public()))?,
        SignatureStatus::Good(_)
    );
    // The run that signed it was killed, or minisign signed it.
    if is_signed && !is_told {
        writer.point_to(latest, true)?;
    }
    Ok(is_signed)
}

/// Adds the signature to a checked publication.
fn add(writer: &ManifestWriter<'_>, latest: &Publication, key: &SecretKey) -> Result<(), Error> {
    let head = writer.reader.head(latest.head.sequence)?;
    Publication::decode(&head, &latest.as_predecessor())?;
    writer.sign(key, &latest.head, &head)?;
    writer.point_to(latest, true)
}
