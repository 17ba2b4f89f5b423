//! Why a run is not complete.

use crate::model::Error;
use std::error::Error as StdError;
use std::fmt;

/// What a run's outcome says of what is missing.
pub trait RunOutcome {
    /// Tells in one line what is missing, as the end of "the run …".
    fn what_is_missing(&self) -> String;
}

/// Why a run is not complete.
///
/// Prints as a sentence with all causes, by `Debug` too, so that `main` may return it.
#[non_exhaustive]
pub enum RunError<T> {
    /// An error stopped it, or it could not begin. What was done until then stands, and the next run
    /// goes on from there.
    Stopped(Error),
    /// It came to its end, and not all is as it was asked for.
    Incomplete(Box<T>),
}

impl<T> RunError<T> {
    /// The outcome of a run that came to its end.
    pub fn outcome(&self) -> Option<&T> {
        match self {
            Self::Stopped(_) => None,
            Self::Incomplete(outcome) => Some(outcome),
        }
    }
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

/// The causes are in the text already.
impl<T: RunOutcome> StdError for RunError<T> {}
