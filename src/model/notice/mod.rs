//! Notices: what is worth knowing of a run, or of a place, beside what becomes of entries.
//!
//! Main type: [`Notice`]. As data it is a code, which stays the same from release to release, with
//! what the code says it of; for people it is a sentence. What a system or a store said of a fault
//! is text in it, for no code decides by that.

mod catalogue;
mod follows;

#[cfg(test)]
mod tests;

pub use catalogue::Notice;
pub use follows::{Instead, Kept, Overtaken, Readers, Remembered, Severity};

use super::{Key, Setting};
use std::fmt;

impl Notice {
    /// Makes the note that an entry takes no part.
    pub fn left_out(key: &Key, cause: impl Into<String>) -> Self {
        Self::LeftOut { key: key.clone(), cause: cause.into() }
    }

    /// Tells it with settings named by `name`.
    pub fn say(&self, name: impl Fn(Setting) -> String) -> String {
        self.words().say(name)
    }

    /// Returns the entry that it is about, if it is about one.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::LeftOut { key, .. }
            | Self::DirectoryInUse { key }
            | Self::HoldsExcluded { key }
            | Self::SetAsideStays { key, .. }
            | Self::SetAsideFound { key }
            | Self::LeftoverFound { key }
            | Self::TagFileLeftOut { key, .. }
            | Self::UnreadableByBagit { key } => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().fmt(out)
    }
}
