//! The chain of publications from the current one back to the first, or to one that began a new
//! chain because those before it were lost.

use super::damaged;
use super::head::{Head, Predecessor, Publication, head_name};
use super::reader::ManifestReader;
use crate::model::{Error, ErrorKind};

/// Iterates over publications from the latest back, each verified by the digest in its successor.
///
/// Holds one head in memory.
pub struct History<'s> {
    reader: ManifestReader<'s>,
    latest: Option<Publication>,
    next: Option<Predecessor>,
}

impl<'s> History<'s> {
    /// Begins with a publication that was already read.
    pub fn from(latest: Publication, reader: ManifestReader<'s>) -> Self {
        Self { reader, latest: Some(latest), next: None }
    }

    /// Returns what is wrong with the chain from a publication back, if anything is. Reads all
    /// heads.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if a head can't be read, [`ErrorKind::Newer`] if a newer version
    /// published it.
    pub fn fault(
        latest: &Publication,
        reader: &ManifestReader<'s>,
    ) -> Result<Option<Error>, Error> {
        let mut history = History::from(latest.clone(), reader.clone());
        match history.try_for_each(|publication| publication.map(drop)) {
            Err(error) if error.kind == ErrorKind::Damaged => Ok(Some(error)),
            followed => followed.map(|()| None),
        }
    }

    fn before(&self, known: &Predecessor) -> Result<Publication, Error> {
        self.reader.publication(known).map_err(|error| {
            if error.kind != ErrorKind::Damaged {
                return error;
            }
            let (sequence, after) = (known.sequence, known.sequence.saturating_add(1));
            let message =
                format!("the chain is broken between publications {sequence} and {after}");
            Error::new(ErrorKind::Damaged, message).because(error).help(format!(
                "publications from {after} on are intact; earlier ones can no longer be checked. \
                 Restore {} from a copy, or run `vidimus verify` on the machine that mirrors: its \
                 next mirror begins a new chain",
                head_name(sequence)
            ))
        })
    }
}

impl Iterator for History<'_> {
    type Item = Result<Publication, Error>;

    /// Returns the next publication; nothing after an error, because the earlier ones are then
    /// unknown.
    fn next(&mut self) -> Option<Self::Item> {
        let publication = match (self.latest.take(), self.next.take()) {
            (Some(latest), _) => latest,
            (None, Some(known)) => match self.before(&known) {
                Ok(publication) => publication,
                Err(error) => return Some(Err(error)),
            },
            (None, None) => return None,
        };
        if let Err(error) = follows(&publication.head) {
            return Some(Err(error));
        }
        self.next.clone_from(&publication.head.previous);
        Some(Ok(publication))
    }
}

/// Checks that a head's number is one higher than its predecessor's, also if that is lost.
fn follows(head: &Head) -> Result<(), Error> {
    let before = head.previous.as_ref().or(head.lost.as_ref());
    let before = before.map_or(0, |before| before.sequence);
    if before.checked_add(1) == Some(head.sequence) {
        return Ok(());
    }
    let how = format!("it says that publication {before} came before");
    Err(damaged(&head_name(head.sequence), how))
}
