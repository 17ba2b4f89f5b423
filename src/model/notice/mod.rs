//! Notices: things worth knowing about a run or a place, beside the outcomes of entries.
//!
//! Main type: [`Notice`]. Serialised as a code, which stays the same from release to release, and
//! the variant's data; printed as a sentence. Messages of a system or a store are text in it,
//! because no code depends on them.

mod catalogue;
mod follows;

#[cfg(test)]
mod tests;

pub use catalogue::Notice;
pub use follows::{Instead, Kept, Overtaken, Readers, Remembered, Severity};

use super::{Key, Setting};
use std::fmt;

impl Notice {
    /// Makes the notice that an entry is left out.
    pub fn left_out(key: &Key, cause: impl Into<String>) -> Self {
        Self::LeftOut { key: key.clone(), cause: cause.into() }
    }

    /// Formats the notice; `name` names the settings.
    pub fn say(&self, name: impl Fn(Setting) -> String) -> String {
        self.words().say(name)
    }

    /// Returns the entry that it is about, if any.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::LeftOut { key, .. }
            | Self::DirectoryInUse { key }
            | Self::HoldsExcluded { key }
            | Self::SetAsideStays { key, .. }
            | Self::SetAsideFound { key }
            | Self::LeftoverFound { key }
            | Self::TagFileLeftOut { key, .. }
            | Self::UnreadableByBagit { key }
            | Self::FlagsNotKept { first: key, .. } => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().fmt(out)
    }
}
