//! Input of the engine: steps in order, and what waits for them.

use super::{Plan, Planned, Remainder};
use crate::compare::join::Joined;
use crate::model::Error;

/// A plan of a mirror or of a repair.
pub trait Steps: Iterator<Item = Result<Planned, Error>> {
    /// Returns the work that waits until all steps are done. The iterator must have ended.
    ///
    /// # Errors
    /// If a spool can't be read.
    fn finish(self) -> Result<Remainder, Error>;
}

impl<J: Iterator<Item = Result<Joined, Error>>> Steps for Plan<'_, J> {
    fn finish(self) -> Result<Remainder, Error> {
        Plan::finish(self)
    }
}
