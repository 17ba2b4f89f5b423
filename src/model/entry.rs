//! Entries: one thing at a key.

use super::{Key, Stamp, Timestamp};
use std::fmt;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its text is content, never followed.
    Symlink,
    /// Neither of them: never opened, never copied.
    Special(SpecialKind),
}

/// Which kind of special file an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialKind {
    /// A named pipe.
    Fifo,
    /// A Unix-domain socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A type this system doesn't name.
    Unknown,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Special(SpecialKind::Fifo) => "named pipe",
            Self::Special(SpecialKind::Socket) => "socket",
            Self::Special(SpecialKind::CharacterDevice) => "character device",
            Self::Special(SpecialKind::BlockDevice) => "block device",
            Self::Special(SpecialKind::Unknown) => "special file of an unknown type",
        })
    }
}

/// POSIX metadata that a mirror keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission, set-id and sticky bits (the low twelve bits of `st_mode`).
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// When the content changed.
    pub mtime: Timestamp,
}

/// One thing at a key, as a listing saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the root; ends in `/` just when it is a directory.
    pub key: Key,
    /// What it is.
    pub kind: EntryKind,
    /// Evidence of its content.
    pub stamp: Stamp,
    /// Mode, owner, group and mtime.
    pub metadata: Metadata,
    /// A symbolic link's text.
    pub link: Option<Box<[u8]>>,
}

impl Entry {
    /// The size of its content in bytes: a regular file's; 0 for anything else.
    pub fn size(&self) -> u64 {
        if self.kind == EntryKind::File { self.stamp.size } else { 0 }
    }
}
