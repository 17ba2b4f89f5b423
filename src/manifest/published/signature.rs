//! Verification of a head's signature.
//!
//! A head names its segments and its predecessor by digest, so its signature covers every row and
//! the whole chain before it.

use super::head::Publication;
use crate::manifest::keys::{PublicKey, Signature};
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Setting};

/// The result of verifying the signature of a publication.
#[derive(Debug)]
pub enum SignatureStatus {
    /// There is no signature.
    None,
    /// There is a signature, but no key to verify it with.
    Unchecked(Signature),
    /// It is a valid signature by the expected key.
    Good(Signature),
    /// It names another key.
    OtherKey(Signature),
    /// It isn't a valid signature of the head by the key that it names; with the reason.
    Broken(String),
}

impl SignatureStatus {
    /// Requires a publication to be signed with `key`, and returns the signature.
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
                "if you trust the key that it is signed with, give the public key of that".into(),
            ),
            Self::Broken(how) => (format!("has a signature that is not valid: {how}"), sign()),
        };
        let message = format!("publication {sequence} of the manifest {how}");
        Err(Error::new(ErrorKind::Untrusted, message).help(help))
    }
}
