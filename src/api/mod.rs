//! What a Rust program calls: builders over the sessions below, with defaults for all that isn't said.
//!
//! [`Mirror`], [`Verify`] and [`Diff`] take locations as a user would type them. What happens comes by
//! callbacks, how it ended as data. A run that isn't complete is an error ([`RunError::Incomplete`]
//! holds its outcome), so that `?` takes no half of a mirror for a whole one.

mod common;
mod diff;
pub(crate) mod environment;
mod error;
mod mirror;
mod verify;

pub use common::Snapshot;
pub use diff::{Diff, DiffBuilder, DiffFinding};
pub use error::{RunError, RunOutcome};
pub use mirror::{Mirror, MirrorBuilder};
pub use verify::{Finding, Verify, VerifyBuilder};

#[cfg(test)]
mod tests;
