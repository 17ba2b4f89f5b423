//! What requests are signed with, and who provides it.

use crate::model::Error;
use std::fmt;
use std::sync::Arc;

/// An access key with its secret. A clone is a handle to the same one.
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

    /// Whether both have the same secret (the token aside).
    pub(super) fn signs_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.secret() == other.secret()
    }
}

impl fmt::Debug for Credential {
    /// Prints nothing of it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credential(..)")
    }
}

/// Provides what requests are signed with.
pub trait Credentials: Send + Sync {
    /// The credential to sign the next request with, `None` for anonymous requests. Asked for each
    /// request: whoever implements it keeps one and renews it in time.
    ///
    /// # Errors
    /// When there should be one and none can be had.
    fn get(&self) -> Result<Option<Credential>, Error>;

    /// Takes note that the store refused the last one as expired: the next must be a fresh one.
    fn refused(&self);
}

/// One credential that stays as it is, or none.
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
