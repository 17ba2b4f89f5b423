//! The manifest: what earlier runs did, as evidence for the next one, and the lock that keeps two
//! runs out of one target.
//!
//! [`State`] holds a row for each key of a (source, target) pair in the user's state directory. It
//! is evidence, not authority: a lost or damaged one costs a full compare, never data.

pub use lock::{Acquired, Lock};
pub use state::{
    Opened, Origin, RootIdentity, Row, Rows, RunNumber, RunRecord, State, Writer, is_damage,
};

pub mod lock;
mod row;
pub mod state;
