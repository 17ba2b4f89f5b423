//! The check of all that a head vouches for, and the signature of one that was found to be whole.

use super::head::Publication;
use super::history::History;
use super::merge::Merged;
use super::reader::ManifestReader;
use super::signature::SignatureStatus;
use super::writer::ManifestWriter;
use crate::manifest::keys::SecretKey;
use crate::model::Error;

/// What was found to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedChain {
    /// Publications of the chain.
    pub publications: u64,
    /// Rows of the one that counts.
    pub rows: u64,
    /// The publication that came before the chain and was lost, where the chain begins anew.
    pub lost: Option<u64>,
}

/// Makes sure that a publication is whole: each segment of its size and digest, each row of sense and
/// in its place, as many as the head says, and the chain unbroken back to its beginning.
///
/// # Errors
/// [`ErrorKind::Damaged`](crate::model::ErrorKind::Damaged) for what isn't, [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) when it can't be read.
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

/// Signs the publication that counts, once it was found to be whole; false where it is signed with
/// this key already, and stays as it is, but for a pointer that doesn't tell.
///
/// # Errors
/// As those of [`check`], and [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) when it can't be written.
pub fn sign(
    writer: &ManifestWriter<'_>,
    latest: &Publication,
    key: &SecretKey,
) -> Result<bool, Error> {
    // One that is signed already is to be whole too: that is what the answer says.
    check(&writer.reader, latest)?;
    let pointer = writer.reader.pointed_to(Some(latest))?;
    let is_told = pointer.is_some_and(|(_, pointer)| pointer.signed);
    if is_signed(writer, latest, is_told, key)? {
        return Ok(false);
    }
    add(writer, latest, key)?;
    Ok(true)
}

/// [`sign`], where it is known whether the pointer tells of a signature. What is signed already is
/// not read for that: it was found to be whole then.
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

/// Whether a publication is signed with this key; the pointer tells then.
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
    // The run that signed it was killed, or it was minisign.
    if is_signed && !is_told {
        writer.point_to(latest.as_predecessor(), true)?;
    }
    Ok(is_signed)
}

/// Adds the signature to a publication that was found to be whole.
fn add(writer: &ManifestWriter<'_>, latest: &Publication, key: &SecretKey) -> Result<(), Error> {
    let head = writer.reader.head(latest.head.sequence)?;
    Publication::decode(&head, &latest.as_predecessor())?;
    writer.sign(key, &latest.head, &head)?;
    writer.point_to(latest.as_predecessor(), true)
}
