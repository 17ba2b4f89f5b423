//! The policy: from a pair to a decision, by a pure function.

use crate::model::stamp::Trust;

/// How entries are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyOptions {
    /// Hash the source whatever its stamps say.
    pub checksum: bool,
    /// Files of one size are the same.
    pub size_only: bool,
    /// Leave files alone that are newer in the target.
    pub update: bool,
    /// Leave files alone that exist in the target.
    pub ignore_existing: bool,
    /// Which fields of a stamp count.
    pub trust: Trust,
}
