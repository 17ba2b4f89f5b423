//! Who may use what vidimus keeps in a directory: `.vidimus`, the lock, the published manifest.
//!
//! One user's runs leave it there, and another's are to find it: whoever writes to the same target,
//! or verifies it. The lock tells of processes alone: it is open to all, and to be written by a group
//! that may write to the target's root. The manifest tells the names, sizes and digests of all that lies below, so that it is never open to
//! somebody to whom any of that is closed ([`State::narrow`](super::State::narrow)), unless a
//! user asks for it.

use crate::backend::local::user_name;
use crate::model::hint::hint;
use crate::model::{Hint, Setting};
use std::fmt;

/// The permissions of a file that vidimus keeps in a target: its owner may always read and write it,
/// others never write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestMode(u32);

impl ManifestMode {
    /// Nobody but the owner.
    pub const PRIVATE: Self = Self(0o600);
    /// All that may be asked for.
    pub(super) const EVERYBODY: Self = Self(0o664);

    /// The mode of these bits; `None` where it isn't one that such a file can have: for reading and
    /// writing alone, of which the owner may do both, and the world can't write. Who can't read
    /// doesn't write either.
    pub fn new(bits: u32) -> Option<Self> {
        let is_one = bits & !0o664 == 0 && bits & 0o600 == 0o600 && bits & 0o060 != 0o020;
        is_one.then_some(Self(bits))
    }

    /// What the mode of a target's root allows: to read it for who can list that, to write it for a
    /// group that can replace what it holds (in a directory with the sticky bit nobody can that).
    pub fn of_root(mode: u32) -> Self {
        let class = |shift: u32| (mode >> shift) & 7;
        let read = |shift: u32| if class(shift) & 5 == 5 { 4 << shift } else { 0 };
        let is_shared = class(3) == 7 && mode & 0o1000 == 0;
        Self(0o600 | read(3) | read(0) | if is_shared { 0o020 } else { 0 })
    }

    /// The same of the lock, which tells nothing that anybody may not know.
    pub(super) fn of_lock(root: u32) -> Self {
        Self::of_root(root | 0o055)
    }

    /// What a directory of this mode gives to the files in it.
    pub(super) fn of_directory(mode: u32) -> Self {
        let write = if mode & 0o060 == 0o060 { 0o020 } else { 0 };
        Self(0o600 | mode & 0o044 | write)
    }

    /// What both allow.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Without what the group may do, where it is another than was meant.
    #[must_use]
    pub(super) fn without_group(self) -> Self {
        Self(self.0 & !0o060)
    }

    /// Without what anybody but owner and group may do.
    #[must_use]
    pub(super) fn without_others(self) -> Self {
        Self(self.0 & !0o004)
    }

    /// Whether the group may read.
    pub(super) fn group_reads(self) -> bool {
        self.0 & 0o040 != 0
    }

    /// The bits of a file.
    pub fn file(self) -> u32 {
        self.0
    }

    /// The bits of a directory of such files: who reads them enters it; what a group that writes
    /// makes in it stays the group's.
    pub fn directory(self) -> u32 {
        let shared = if self.0 & 0o020 == 0 { 0 } else { 0o2000 };
        0o100 | self.0 | (self.0 & 0o044) >> 2 | shared
    }
}

impl fmt::Display for ManifestMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o}", self.0)
    }
}

/// What is closed to this user, and how it comes that it is.
pub(super) struct Closed<'a> {
    /// Its name in the target.
    pub(super) name: &'a str,
    /// Its owner.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
    /// Its mode.
    pub(super) mode: u32,
    /// Whether it was to be written.
    pub(super) is_written: bool,
}

impl Closed<'_> {
    /// The way out, in words.
    pub(super) fn help(&self) -> Hint {
        let Self { name, uid, gid, mode, is_written } = *self;
        let is_member = rustix::process::getegid().as_raw() == gid
            || rustix::process::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid));
        let owner = user_name(uid);
        if is_written && !is_member {
            return format!(
                "\"{name}\" belongs to {owner} (mode {mode:04o}), and you are not in its group \
                 ({gid}): run as that user, or as one of that group once it may write there"
            )
            .into();
        }
        let (asked, whom) = match (is_written, is_member) {
            (true, _) => (0o660, "its group"),
            (false, true) => (0o640, "its group"),
            (false, false) => (0o644, "everybody"),
        };
        hint![
            format!(
                "\"{name}\" belongs to {owner} (mode {mode:04o}): run as that user, or have that user \
                 mirror to it with "
            ),
            Setting::ManifestMode,
            format!(" {asked:04o}, which opens it to {whom}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_what_the_root_of_the_target_allows() {
        for (root, file, directory) in [
            (0o700, 0o600, 0o700),
            (0o755, 0o644, 0o755),
            (0o750, 0o640, 0o750),
            (0o2775, 0o664, 0o2775),
            (0o2770, 0o660, 0o2770),
            (0o777, 0o664, 0o2775),
            // Who can't replace another's file in the root can't replace what vidimus keeps.
            (0o3775, 0o644, 0o755),
            (0o1777, 0o644, 0o755),
            // Who enters without listing knows no names.
            (0o711, 0o600, 0o700),
            (0o730, 0o600, 0o700),
            (0o744, 0o600, 0o700),
        ] {
            let mode = ManifestMode::of_root(root);
            assert_eq!((mode.file(), mode.directory()), (file, directory), "{root:o}");
            assert_eq!(ManifestMode::of_directory(mode.directory()), mode, "{root:o}");
        }
    }

    #[test]
    fn modes_that_no_such_file_may_have_are_none() {
        for bits in [0o600, 0o640, 0o660, 0o644, 0o664, 0o604] {
            assert_eq!(ManifestMode::new(bits).map(ManifestMode::file), Some(bits));
        }
        for bits in [0, 0o400, 0o700, 0o666, 0o602, 0o620, 0o755, 0o2660, 0o1600, 0o10600] {
            assert_eq!(ManifestMode::new(bits), None, "{bits:o}");
        }
    }
}
