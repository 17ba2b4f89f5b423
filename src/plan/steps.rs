//! What the engine executes: steps in order, and what waits for them.

use super::{Plan, Planned, Remainder};
use crate::compare::join::Joined;
use crate::model::Error;

/// A plan, of a mirror or of what is to be mended.
pub trait Steps: Iterator<Item = Result<Planned, Error>> {
    /// What waits until every step is done; to be asked once the iteration ended.
    ///
    /// # Errors
    /// When what waits can't be spooled.
    fn finish(self) -> Result<Remainder, Error>;
}

impl<J: Iterator<Item = Result<Joined, Error>>> Steps for Plan<'_, J> {
    fn finish(self) -> Result<Remainder, Error> {
        Plan::finish(self)
    }
}
