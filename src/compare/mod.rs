//! Comparing: the join of three ordered streams, and the policy that decides.
//!
//! [`Join`] yields a [`Pair`] for each key that the source, the target or
//! the manifest knows; [`Policy::decide`] turns it into an action with its
//! reason, by a pure function.

pub mod join;
pub mod policy;

pub use join::{Conflict, Join, Pair, RecordedRows, Seen};
pub use policy::{Policy, PolicyOptions};
