//! A target's lock, of whichever kind its place has.

use crate::manifest::{Lease, Lock};
use crate::model::Error;

/// A target's lock.
pub(super) enum Held {
    /// Of a directory.
    Lock(Lock),
    /// Of a store.
    Lease(Lease),
}

impl Held {
    pub(super) fn lost(&self) -> Option<Error> {
        match self {
            Self::Lock(_) => None,
            Self::Lease(lease) => lease.lost(),
        }
    }

    pub(super) fn release(self) -> Result<(), Error> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::Lease(lease) => lease.release(),
        }
    }
}
