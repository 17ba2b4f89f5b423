//! Credentials that requests are signed with, and their providers.

use crate::model::Error;
use std::fmt;
use std::sync::Arc;

/// An access key with its secret. Clones share it.
#[derive(Clone)]
pub struct Credential(Arc<Parts>);

struct Parts {
    access_key: Box<str>,
    secret: Box<str>,
    token: Option<Box<str>>,
}

impl Credential {
    /// Makes a credential; `token` is the session token of a temporary one.
    pub fn new(
        access_key: impl Into<Box<str>>,
        secret: impl Into<Box<str>>,
        token: Option<Box<str>>,
    ) -> Self {
        Self(Arc::new(Parts { access_key: access_key.into(), secret: secret.into(), token }))
    }

    pub(super) fn access_key(&self) -> &str {
        &self.0.access_key
    }

    pub(super) fn secret(&self) -> &str {
        &self.0.secret
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.0.token.as_deref()
    }

    /// Returns whether both have the same secret (the token may differ).
    pub(super) fn signs_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.secret() == other.secret()
    }
}

impl fmt::Debug for Credential {
    /// Prints no part of the credential.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credential(..)")
    }
}

/// Provides the credentials that requests are signed with.
pub trait Credentials: Send + Sync {
    /// Returns the credential for the next request, `None` for anonymous requests. This is called
    /// for each request, so implementations cache the credential and renew it in time.
    ///
    /// # Errors
    /// Fails if a credential is expected but can't be obtained.
    fn get(&self) -> Result<Option<Credential>, Error>;

    /// Records that the store refused the last credential as expired: the next must be a fresh one.
    fn refused(&self);
}

/// A fixed credential, or none.
#[derive(Clone, Debug)]
pub struct Fixed(pub Option<Credential>);

impl Credentials for Fixed {
    fn get(&self) -> Result<Option<Credential>, Error> {
        Ok(self.0.clone())
    }

    fn refused(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let credential = Credential::new("AK", "hunter2", Some("token".into()));
        assert_eq!(format!("{:?}", Fixed(Some(credential))), "Fixed(Some(Credential(..)))");
    }
}
