//! Errors of runs.

use crate::model::Error;
use std::error::Error as StdError;
use std::fmt;

/// The outcome of a run that may be incomplete.
pub trait RunOutcome {
    /// Returns whether everything was done, and found, as requested.
    fn is_complete(&self) -> bool;

    /// Describes in one line what is missing, as the end of "the run …".
    fn what_is_missing(&self) -> String;
}

/// Why a run is not complete.
///
/// Prints as a sentence with all causes, also with `Debug`, so that `main` may return it.
#[non_exhaustive]
pub enum RunError<T> {
    /// An error stopped it, or it could not begin. What was done before remains, and the next run
    /// continues from there.
    Stopped(Error),
    /// It ended, but not everything was done or found as requested.
    Incomplete(Box<T>),
}

impl<T> RunError<T> {
    /// Returns the outcome of a run that ended.
    pub fn outcome(&self) -> Option<&T> {
        match self {
            Self::Stopped(_) => None,
            Self::Incomplete(outcome) => Some(outcome),
        }
    }
}

/// Returns an outcome that is complete; another one is an error.
pub(super) fn complete<T: RunOutcome>(outcome: T) -> Result<T, RunError<T>> {
    if outcome.is_complete() { Ok(outcome) } else { Err(RunError::Incomplete(Box::new(outcome))) }
}

impl<T> From<Error> for RunError<T> {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

impl<T: RunOutcome> fmt::Display for RunError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(error) => out.write_str(&error.sentence()),
            Self::Incomplete(outcome) => write!(out, "the run {}", outcome.what_is_missing()),
        }
    }
}

impl<T: RunOutcome> fmt::Debug for RunError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Has no source, because the text has the causes already.
impl<T: RunOutcome> StdError for RunError<T> {}
