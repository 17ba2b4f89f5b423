//! What a mirror keeps of entries, beside content and [`Metadata`](super::Metadata).

use super::AttributeKinds;
use serde::{Deserialize, Serialize};

/// What of the source's entries their copies are to have, and which entries have one.
///
/// Where it is recorded, what an older version didn't know is not preserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent, each by its name in records")]
pub struct Preserve {
    /// Names of one file are names of one file in the target, too.
    #[serde(default)]
    pub links: bool,
    /// Extended attributes, and so file capabilities.
    #[serde(default)]
    pub attributes: bool,
    /// POSIX ACLs.
    #[serde(default)]
    pub acls: bool,
    /// Named pipes, sockets and devices.
    #[serde(default)]
    pub specials: bool,
    /// Symbolic links are followed: copies are of what they point to.
    #[serde(default)]
    pub follows_links: bool,
    /// Times of the last access.
    #[serde(default)]
    pub atimes: bool,
    /// Flags: immutable, append-only, left out by dump.
    #[serde(default)]
    pub flags: bool,
}

impl Preserve {
    /// Nothing, as in versions that recorded nothing of it.
    pub const NOTHING: Self = Self {
        links: false,
        attributes: false,
        acls: false,
        specials: false,
        follows_links: false,
        atimes: false,
        flags: false,
    };

    /// Returns what a run preserves whose options don't say.
    pub fn nothing() -> Self {
        Self::NOTHING
    }

    /// Returns which of an entry's attributes are preserved.
    pub fn attribute_kinds(self) -> AttributeKinds {
        AttributeKinds { extended: self.attributes, acls: self.acls }
    }
}

impl Default for Preserve {
    /// Everything that needs no option.
    fn default() -> Self {
        Self {
            links: true,
            attributes: true,
            acls: true,
            specials: true,
            follows_links: false,
            atimes: false,
            flags: false,
        }
    }
}
