//! The state of a target's manifest, as far as a quick check shows.

use super::damaged;
use super::head::{Predecessor, Publication, signature_name};
use super::history::History;
use super::reader::{ManifestReader, POINTER};
use crate::model::{Error, ErrorKind};

/// The manifest in a target: the current publication, and damaged or missing parts.
pub struct ManifestStatus {
    /// The current publication, if it is known.
    pub publication: Option<Publication>,
    /// Whether it is signed according to its pointer; if that is unusable, whether it seems to be.
    pub(super) is_signed: bool,
    /// The highest publication that exists, if the current one is unknown: new numbers must be
    /// above it.
    pub(super) highest: Option<Predecessor>,
    /// What is wrong, if anything is: [`ErrorKind::Damaged`].
    pub fault: Option<Error>,
}

impl ManifestStatus {
    /// Checks the pointer, the head, and the sizes of all segments; `known` is this state's last
    /// publication, which must still exist.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read, [`ErrorKind::Newer`] if a newer version
    /// published the manifest.
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

    /// Checks that the signature file exists, if the pointer says so and nothing else is wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
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

    /// Reads all segments and verifies their digests, unless something else is wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub fn read(&mut self, at: &ManifestReader<'_>) -> Result<(), Error> {
        let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none()) else {
            return Ok(());
        };
        match publication.head.segments.iter().try_for_each(|segment| at.verify(segment)) {
            Err(error) if error.kind == ErrorKind::Damaged => self.fault = Some(error),
            held => held?,
        }
        Ok(())
    }

    /// Reads all earlier heads, unless something else is wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub fn follow(&mut self, at: &ManifestReader<'_>) -> Result<(), Error> {
        if let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none()) {
            self.fault = History::fault(publication, at)?;
        }
        Ok(())
    }
}

/// Builds the error for a missing pointer when no publication is left.
fn lost(reader: &ManifestReader<'_>) -> Result<Error, Error> {
    if !reader.is_empty()? {
        return Ok(damaged(POINTER, "it is missing"));
    }
    let message = "the target lacks the manifest that was published in it";
    let help = if reader.capabilities().remote {
        "check that bucket and prefix are the right ones; if they are, the next mirror publishes \
         it anew"
    } else {
        "check that the right disk is mounted there; if it is, the next mirror publishes it anew"
    };
    Ok(Error::new(ErrorKind::Damaged, message).help(help))
}

fn put_back(known: &Publication, existing: &Publication) -> Error {
    let (known, existing) = (known.head.sequence, existing.head.sequence);
    let how = if existing < known {
        format!("it has publication {existing}, but {known} was published from here")
    } else {
        format!("its publication {existing} is not the one that was published from here")
    };
    damaged(POINTER, how)
}
