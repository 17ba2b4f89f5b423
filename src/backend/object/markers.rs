//! Markers: the objects that stand for directories, empty ones too, and hold their metadata.
//!
//! There are stores that refuse keys which end in `/`, and buckets whose other users are disturbed by
//! them. Without markers a directory is what lies in it: empty ones, and what directories are like,
//! are not kept, nor recorded.

use super::place::told;
use super::{StoreError, StoreErrorKind};
use crate::model::Key;
use std::sync::{Mutex, PoisonError};

/// Whether a place has markers.
#[derive(Debug, Default)]
pub(super) struct Markers(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Written,
    /// Its user wants none.
    Unwanted,
    /// The store took none; how it said so.
    Refused(String),
}

impl Markers {
    /// No markers.
    pub(super) fn unwanted() -> Self {
        Self(Mutex::new(State::Unwanted))
    }

    /// Whether markers are written.
    pub(super) fn are_written(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Written)
    }

    /// Takes note of an error in writing one; whether it means that the store takes none.
    pub(super) fn are_refused(&self, key: &Key, error: &StoreError) -> bool {
        let is_refusal = match error.kind {
            StoreErrorKind::Unsupported | StoreErrorKind::Signature => true,
            StoreErrorKind::Other => error.status.is_some_and(|it| (400..500).contains(&it)),
            _ => false,
        };
        if is_refusal {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Written) {
                *state = State::Refused(format!("\"{key}\": {}", told(error)));
            }
        }
        is_refusal
    }

    /// What to tell once, if any was refused.
    pub(super) fn warning(&self) -> Option<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Refused(how) => Some(format!(
                "the store takes no markers of directories ({how}): empty directories, and modes, \
                 owners and times of all, are not kept; --no-markers writes none"
            )),
            State::Written | State::Unwanted => None,
        }
    }
}
