//! Flags of files, as chattr(1) sets them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Those flags of a file or directory that a copy may be given. All others say how a file system
/// stores the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileFlags(u8);

impl FileFlags {
    /// Nobody can change, rename or remove it.
    pub const IMMUTABLE: Self = Self(1);
    /// It can only grow.
    pub const APPEND: Self = Self(1 << 1);
    /// dump(8) leaves it out.
    pub const NO_DUMP: Self = Self(1 << 2);
    const NAMES: [(Self, &str); 3] =
        [(Self::IMMUTABLE, "immutable"), (Self::APPEND, "append"), (Self::NO_DUMP, "nodump")];

    /// Returns these flags and others.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns whether all of these flags are set.
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Returns whether no flag is set.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Returns whether they keep an entry from being replaced, renamed or removed, and its metadata
    /// from being set.
    pub fn protect(self) -> bool {
        self.has(Self::IMMUTABLE) || self.has(Self::APPEND)
    }

    /// Returns the byte in spools and the state database.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Returns the flags of a byte; `None` if it has others.
    pub fn from_code(code: u8) -> Option<Self> {
        (code < 1 << Self::NAMES.len()).then_some(Self(code))
    }

    /// Parses what is printed.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').try_fold(Self::default(), |flags, word| {
            let (flag, _) = Self::NAMES.iter().find(|(_, name)| *name == word)?;
            Some(flags.with(*flag))
        })
    }
}

impl fmt::Display for FileFlags {
    /// Prints as in `immutable,nodump`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(flag, _)| self.has(*flag));
        for (at, (_, name)) in names.enumerate() {
            write!(out, "{}{name}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<FileFlags> for String {
    fn from(flags: FileFlags) -> Self {
        flags.to_string()
    }
}

impl TryFrom<String> for FileFlags {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("\"{text}\" are no flags"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_they_are_printed() {
        for code in 1..8 {
            let flags = FileFlags::from_code(code).unwrap();
            assert_eq!(FileFlags::parse(&flags.to_string()), Some(flags), "{flags}");
            assert_eq!(flags.code(), code);
        }
        assert_eq!(FileFlags::IMMUTABLE.with(FileFlags::NO_DUMP).to_string(), "immutable,nodump");
        assert_eq!((FileFlags::from_code(8), FileFlags::parse("immutable,x")), (None, None));
    }
}
