//! Comparison: the join of three ordered streams, and the policy that decides.
//!
//! [`Join`] yields a [`Pair`] for each key of the source, the target or the recorded rows.
//! [`Policy::decide`] is a pure function that turns it into an action with its reason.

pub mod join;
pub mod policy;

pub use join::{Conflict, Join, Pair, RecordedRows, Seen};
pub use policy::{HardLinks, Policy, PolicyOptions};
