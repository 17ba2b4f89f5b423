//! Permissions of vidimus's own files in a directory: `.vidimus`, the lock, the published manifest.
//!
//! One user's runs create them, and other users who write to the same target or verify it need
//! them. The lock names only processes: all may read it, and a group that may write the target's
//! root may write it. The manifest contains the names, sizes and digests of everything below, so it
//! is never readable by somebody who may not read all of that
//! ([`State::narrow`](super::State::narrow)), unless a user requests it.

use crate::backend::local::user_name;
use crate::model::hint::hint;
use crate::model::{Hint, Setting};
use std::fmt;

/// The permissions of vidimus's own files in a target: the owner may always read and write them,
/// others may never write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestMode(u32);

impl ManifestMode {
    /// Nobody but the owner.
    pub const PRIVATE: Self = Self(0o600);
    /// The widest permissions that can be requested.
    pub(super) const EVERYBODY: Self = Self(0o664);

    /// Makes a mode from these bits; `None` unless the owner may read and write, others may not
    /// write, nobody may execute, and write permission implies read permission.
    pub fn new(bits: u32) -> Option<Self> {
        let is_one = bits & !0o664 == 0 && bits & 0o600 == 0o600 && bits & 0o060 != 0o020;
        is_one.then_some(Self(bits))
    }

    /// Derives the mode from a target's root: readable by those who can list the root, and writable
    /// by a group that can replace its entries (which the sticky bit prevents).
    pub fn of_root(mode: u32) -> Self {
        let class = |shift: u32| (mode >> shift) & 7;
        let read = |shift: u32| if class(shift) & 5 == 5 { 4 << shift } else { 0 };
        let is_shared = class(3) == 7 && mode & 0o1000 == 0;
        Self(0o600 | read(3) | read(0) | if is_shared { 0o020 } else { 0 })
    }

    /// Derives the mode of the lock, whose content is not confidential.
    pub(super) fn of_lock(root: u32) -> Self {
        Self::of_root(root | 0o055)
    }

    /// Derives the mode of files in a directory of this mode.
    pub(super) fn of_directory(mode: u32) -> Self {
        let write = if mode & 0o060 == 0o060 { 0o020 } else { 0 };
        Self(0o600 | mode & 0o044 | write)
    }

    /// Returns the permissions that both allow.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Removes the group's permissions, if the group is not the intended one.
    #[must_use]
    pub(super) fn without_group(self) -> Self {
        Self(self.0 & !0o060)
    }

    /// Removes the permissions of everybody but owner and group.
    #[must_use]
    pub(super) fn without_others(self) -> Self {
        Self(self.0 & !0o004)
    }

    /// Returns whether the group may read.
    pub(super) fn group_reads(self) -> bool {
        self.0 & 0o040 != 0
    }

    /// Returns the mode bits of a file.
    pub fn file(self) -> u32 {
        self.0
    }

    /// Returns the mode bits of a directory of such files: readers may enter it, and if the group
    /// may write, new files get its group.
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

/// A file or directory that this user can't access, and its owner and mode.
pub(super) struct Closed<'a> {
    /// The name in the target.
    pub(super) name: &'a str,
    /// The owner.
    pub(super) uid: u32,
    /// The group.
    pub(super) gid: u32,
    /// The mode.
    pub(super) mode: u32,
    /// Whether write access was wanted.
    pub(super) is_written: bool,
}

impl Closed<'_> {
    /// Returns how to get access.
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
            // With the sticky bit, users can't replace others' files in the root, and neither
            // vidimus's own.
            (0o3775, 0o644, 0o755),
            (0o1777, 0o644, 0o755),
            // With only search permission, users don't know the names.
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
