//! What stands in a target, as far as a look tells.

use super::damaged;
use super::head::{Predecessor, Publication, signature_name};
use super::history::History;
use super::reader::{ManifestReader, POINTER};
use crate::model::{Error, ErrorKind};

/// The manifest that stands in a target: the publication that counts, and what of it is damaged or
/// gone.
pub struct ManifestStatus {
    /// The publication that counts, where that can be told.
    pub publication: Option<Publication>,
    /// Whether its pointer says that it is signed; where that can't be told, whether it looks so.
    pub(super) is_signed: bool,
    /// The highest that anything tells of, where that which counts can't be told: numbers go on above
    /// it.
    pub(super) highest: Option<Predecessor>,
    /// What was found wrong, if anything was: [`ErrorKind::Damaged`].
    pub fault: Option<Error>,
}

impl ManifestStatus {
    /// Looks at the pointer, the head, and the sizes of all segments; `known` is what was published
    /// from here last, which must not be gone.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be looked at, [`ErrorKind::Newer`] when a newer version
    /// published it.
    pub fn look(reader: &ManifestReader<'_>, known: Option<&Publication>) -> Result<Self, Error> {
        let (publication, mut is_signed, fault) = match reader.pointed_to(None) {
            Ok(Some((publication, pointer))) => {
                let fault = match known {
                    Some(known) if known.is_replaced_by(&publication) => {
                        Some(put_back(known, &publication))
                    }
                    _ => reader.lacks(&publication.head)?,
                };
                (Some(publication), pointer.signed, fault)
            }
            Ok(None) => {
                let fault = known.map(|_| lost(reader)).transpose()?;
                (None, false, fault)
            }
            Err(error) if error.kind == ErrorKind::Damaged => (None, false, Some(error)),
            Err(error) => return Err(error),
        };
        let mut highest = None;
        if publication.is_none() && fault.is_some() {
            is_signed = reader.is_signed()?.unwrap_or(false);
            highest = reader.highest()?;
        }
        Ok(Self { publication, is_signed, highest, fault })
    }

    /// Looks whether what counts has its signature, where it is said to be signed and nothing was found
    /// wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when that can't be seen.
    pub(super) fn look_for_signature(&mut self, at: &ManifestReader<'_>) -> Result<(), Error> {
        if let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none())
            && self.is_signed
            && !at.has_signature(publication.head.sequence)?
        {
            let name = signature_name(publication.head.sequence);
            self.fault = Some(damaged(&name, "it is missing"));
        }
        Ok(())
    }

    /// Reads all segments, unless something was found wrong already, and holds them against their
    /// digests.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be read.
    pub fn read(&mut self, at: &ManifestReader<'_>) -> Result<(), Error> {
        let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none()) else {
            return Ok(());
        };
        match publication.head.segments.iter().try_for_each(|segment| at.hold(segment)) {
            Err(error) if error.kind == ErrorKind::Damaged => self.fault = Some(error),
            held => held?,
        }
        Ok(())
    }

    /// Reads all heads behind the one that counts, unless something was found wrong already.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be read.
    pub fn follow(&mut self, at: &ManifestReader<'_>) -> Result<(), Error> {
        if let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none()) {
            self.fault = History::fault(publication, at)?;
        }
        Ok(())
    }
}

/// That the pointer to what was published from here is missing, and nothing tells of any publication.
fn lost(reader: &ManifestReader<'_>) -> Result<Error, Error> {
    if !reader.is_empty()? {
        return Ok(damaged(POINTER, "it is missing"));
    }
    let message = "the target lacks the manifest that was published in it";
    let help = if reader.capabilities().remote {
        "is it the bucket, and the prefix, that it was? Else the next mirror publishes it anew"
    } else {
        "is what is mounted there the disk that it was? Else the next mirror publishes it anew"
    };
    Ok(Error::new(ErrorKind::Damaged, message).help(help))
}

fn put_back(known: &Publication, existing: &Publication) -> Error {
    let (known, existing) = (known.head.sequence, existing.head.sequence);
    let how = if existing < known {
        format!("publication {existing} stands there, and {known} was published from here")
    } else {
        format!("its publication {existing} is not the one that was published from here")
    };
    damaged(POINTER, how)
}
