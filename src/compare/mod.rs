//! Comparison: the join of three ordered streams, and the policy that decides.
//!
//! [`Join`] yields a [`Pair`] for each key of the source, the target or the recorded rows.
//! [`Policy::decide`] is a pure function that turns it into an action with its reason.

mod cursor;
pub mod join;
mod judged;
pub mod policy;

pub use cursor::{ReadAhead, RecordedRows, RowCursor};
pub use join::{Conflict, Join, Pair, Seen};
pub use judged::JudgedRows;
pub use policy::{HardLinks, Policy, PolicyOptions};
