//! Signatures of heads, and the check of all that they vouch for.
//!
//! A head names its segments and its predecessor by digest, so that its signature vouches for every
//! row and for the whole chain before it.

use super::head::Publication;
use super::history::History;
use super::merge::Merged;
use super::reader::ManifestReader;
use super::writer::ManifestWriter;
use crate::manifest::keys::{KeyId, PublicKey, SecretKey, Signature};
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};

/// What the signature of a publication is worth.
#[derive(Debug)]
pub enum SignatureStatus {
    /// There is none.
    None,
    /// There is one, and no key to hold it against.
    Unchecked(Signature),
    /// It is by the key that was asked for.
    Good(Signature),
    /// It says that it is by another key.
    OtherKey(Signature),
    /// What stands there isn't the head's signature by the key that it names; in words.
    Broken(String),
}

impl SignatureStatus {
    /// Demands that a publication is signed with `key`; the signature.
    ///
    /// # Errors
    /// [`ErrorKind::Untrusted`] in all other cases.
    pub fn demand(self, publication: &Publication, key: &PublicKey) -> Result<Signature, Error> {
        let sign = || {
            hint![
                "`vidimus manifest sign` signs it, once you trust what it says; a mirror with ",
                Setting::Sign,
                " signs what it publishes",
            ]
        };
        let sequence = publication.head.sequence;
        let (how, help) = match self {
            Self::Good(signature) => return Ok(signature),
            Self::None | Self::Unchecked(_) => ("is not signed".to_owned(), sign()),
            Self::OtherKey(signature) => (
                format!("is signed with key {}, not with {}", signature.key, key.id()),
                "name the public key that belongs to the one it is signed with, if you trust that"
                    .into(),
            ),
            Self::Broken(how) => (format!("has a signature that doesn't hold: {how}"), sign()),
        };
        let message = format!("publication {sequence} of the manifest {how}");
        Err(Error::new(ErrorKind::Untrusted, message).help(help))
    }

    /// The key that it is by, as far as it says so.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Unchecked(signature) | Self::Good(signature) | Self::OtherKey(signature) => {
                Some(signature.key)
            }
            Self::None | Self::Broken(_) => None,
        }
    }
}

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
/// [`ErrorKind::Damaged`] for what isn't, [`ErrorKind::Unusable`] when it can't be read.
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
/// As those of [`check`], and [`ErrorKind::Unusable`] when it can't be written.
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
