//! What stands in a target, as far as a look tells.

use super::damaged;
use super::head::Publication;
use super::shelf::{POINTER, Shelf};
use crate::model::{Error, ErrorKind};

/// The manifest that stands in a target: the publication that counts, and what of it is damaged or
/// gone.
pub struct Standing {
    /// The publication that counts, where that can be told.
    pub publication: Option<Publication>,
    /// Whether its pointer says that it is signed.
    pub(super) is_signed: bool,
    /// What was found wrong, if anything was: [`ErrorKind::Damaged`].
    pub fault: Option<Error>,
}

impl Standing {
    /// Looks at the pointer, the head, and the sizes of all segments; `known` is what was published
    /// from here last, which must not be gone.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be looked at, [`ErrorKind::Newer`] when a newer version
    /// published it.
    pub fn look(shelf: &Shelf<'_>, known: Option<&Publication>) -> Result<Self, Error> {
        let (publication, is_signed, fault) = match shelf.pointed_to(None) {
            Ok(Some((publication, pointer))) => {
                let fault = match known {
                    Some(known) if known.is_replaced_by(&publication) => {
                        Some(put_back(known, &publication))
                    }
                    _ => shelf.lacks(&publication.head)?,
                };
                (Some(publication), pointer.signed, fault)
            }
            Ok(None) => (None, false, known.map(|_| damaged(POINTER, "it is missing"))),
            Err(error) if error.kind == ErrorKind::Damaged => (None, false, Some(error)),
            Err(error) => return Err(error),
        };
        Ok(Self { publication, is_signed, fault })
    }

    /// Reads all segments, unless something was found wrong already, and holds them against their
    /// digests.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be read.
    pub fn read(&mut self, at: &Shelf<'_>) -> Result<(), Error> {
        let Some(publication) = self.publication.as_ref().filter(|_| self.fault.is_none()) else {
            return Ok(());
        };
        for segment in &publication.head.segments {
            match at.hold(segment) {
                Err(error) if error.kind == ErrorKind::Damaged => {
                    self.fault = Some(error);
                    break;
                }
                held => held?,
            }
        }
        Ok(())
    }
}

fn put_back(known: &Publication, stands: &Publication) -> Error {
    let (known, stands) = (known.head.sequence, stands.head.sequence);
    let how = if stands < known {
        format!("publication {stands} stands there, and {known} was published from here")
    } else {
        format!("its publication {stands} is not the one that was published from here")
    };
    damaged(POINTER, how)
}
