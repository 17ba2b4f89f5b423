//! Directories of the source that take part without what they hold: mount points and caches.

use super::look::Walk;
use crate::backend::local::beneath::{Directory, Identity};
use crate::backend::local::metadata::{kind_of, look_at};
use crate::model::EntryKind;
use crate::model::error::Side;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read, retry_on_intr};

/// The name of a cache's tag.
const TAG: &[u8] = b"CACHEDIR.TAG";
/// What a cache's tag begins with: <https://bford.info/cachedir/>.
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

impl Walk {
    /// Returns whether a directory lies on another file system than the root, and is not entered
    /// therefore.
    pub(super) fn is_elsewhere(&self, identity: Identity, root: Identity) -> bool {
        self.side == Side::Source
            && self.filter.directories().one_file_system
            && identity.device != root.device
    }

    /// Returns the name by which a directory is excluded but for the entry of that name.
    pub(super) fn excluding_tag(&self, directory: &Directory) -> Option<&[u8]> {
        let rules = self.filter.directories();
        if self.side == Side::Target || rules.is_empty() {
            return None;
        }
        if rules.exclude_caches && is_cache(directory) {
            return Some(TAG);
        }
        let mut names = rules.exclude_if_present.iter().map(String::as_bytes);
        // One that can't be looked at is there.
        names.find(|name| {
            !matches!(look_at(directory, name), Err(Errno::NOENT | Errno::NAMETOOLONG))
        })
    }
}

/// Returns whether a directory has a cache's tag. One that can't be read is none.
fn is_cache(directory: &Directory) -> bool {
    if !look_at(directory, TAG).is_ok_and(|found| kind_of(&found) == EntryKind::File) {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = openat(directory, TAG, flags, Mode::empty()) else { return false };
    let mut found = [0; SIGNATURE.len()];
    let mut length = 0;
    while length < found.len() {
        match retry_on_intr(|| read(&tag, &mut found[length..])) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(read) => length += read,
            Err(_) => return false,
        }
    }
    found == *SIGNATURE
}
