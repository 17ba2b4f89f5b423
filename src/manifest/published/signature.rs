//! What the signature of a head is worth.
//!
//! A head names its segments and its predecessor by digest, so that its signature vouches for every
//! row and for the whole chain before it.

use super::head::Publication;
use crate::manifest::keys::{PublicKey, Signature};
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
}
