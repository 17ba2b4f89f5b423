//! The library's interface: builders of runs, with defaults for all options.
//!
//! [`Mirror`], [`Verify`], [`VerifyAgainst`] and [`Diff`] take locations as a user would type them.
//! Callbacks report events, and outcomes are data. The command makes its runs by the same builders,
//! with its presenters as observers. An incomplete run is an error ([`RunError::Incomplete`] has its
//! outcome), so that `?` never takes an incomplete mirror for a complete one.

mod against;
mod common;
mod diff;
pub(crate) mod environment;
mod error;
mod mapping;
mod mirror;
mod verify;

pub use against::{VerifyAgainst, VerifyAgainstBuilder};
pub use common::Snapshot;
pub use diff::{Diff, DiffBuilder};
pub use error::{RunError, RunOutcome};
pub use mirror::{Mirror, MirrorBuilder};
pub use verify::{Verify, VerifyBuilder};

#[cfg(test)]
mod tests;
