//! Giving a file of the target other names: hard links.
//!
//! The file is opened once and looked at through its handle. Each name is then given to what is
//! open, whatever has taken the file's own name meanwhile.

use super::beneath::Directory;
use super::capabilities::is_unsupported;
use super::metadata::{look_at, look_at_open, path_of_handle};
use super::shared::Shared;
use super::stage::Hidden;
use super::stamp::stamp_of;
use crate::backend::{Donor, Linked, Precondition};
use crate::model::names::legal;
use crate::model::{Cause, Key, Stamp};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, linkat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

/// A leaf of the target that is open.
pub(super) struct LocalDonor {
    shared: Arc<Shared>,
    leaf: OwnedFd,
}

impl LocalDonor {
    /// Opens a leaf, if it still has this stamp.
    pub(super) fn open(shared: &Arc<Shared>, key: &Key, stamp: &Stamp) -> Result<Self, Cause> {
        legal(key)?;
        shared.parent(key, |parent, name| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let leaf = openat(&**parent, name, flags, Mode::empty())?;
            let found = stamp_of(&parent.capabilities, &look_at_open(&leaf)?);
            if !found.is_still(stamp) {
                return Err(Cause::TargetChanged);
            }
            shared.unprotect(parent, name)?;
            Ok(Self { shared: Arc::clone(shared), leaf })
        })
    }

    /// Gives the leaf a name that must not exist.
    fn link_new(&self, parent: &Directory, name: &[u8]) -> rustix::io::Result<()> {
        let path = path_of_handle(self.leaf.as_fd());
        match linkat(CWD, path, parent, name, AtFlags::SYMLINK_FOLLOW) {
            // Without /proc only a privileged process can.
            Err(Errno::NOENT) => linkat(&self.leaf, c"", parent, name, AtFlags::EMPTY_PATH),
            other => other,
        }
    }
}

impl Donor for LocalDonor {
    fn has_name(&self, key: &Key) -> Result<bool, Cause> {
        self.shared.parent(key, |parent, name| {
            let found = match look_at(parent, name) {
                Err(Errno::NOENT) => return Ok(false),
                found => found?,
            };
            let ours = look_at_open(&self.leaf)?;
            let number = |stat: &Statx| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
            Ok(number(&found) == number(&ours))
        })
    }

    fn link(&self, key: &Key, place: Precondition) -> Result<Linked, Cause> {
        let shared = &self.shared;
        shared.parent(key, |parent, name| {
            let linked = if place == Precondition::Absent {
                self.link_new(parent, name).map(|()| None)
            } else {
                let temporary = shared.temporary_in(parent)?;
                self.link_new(parent, &temporary).map(|()| Some(temporary))
            };
            match linked {
                Ok(None) => {}
                Ok(Some(temporary)) => {
                    Hidden::temporary(shared, key, temporary, place).publish()?;
                    // A rename between two names of one file leaves both.
                    match unlinkat(&**parent, &temporary[..], AtFlags::empty()) {
                        Err(Errno::NOENT) => {}
                        other => other?,
                    }
                }
                Err(Errno::EXIST) => return Err(Cause::NameTaken),
                Err(Errno::MLINK) => return Ok(Linked::Full),
                Err(error) if is_refusal(error) => return Ok(Linked::Impossible),
                Err(error) => return Err(error.into()),
            }
            shared.syncing.entries_changed(parent)?;
            Ok(Linked::Done)
        })
    }
}

/// Returns whether an error means that the file can have no name there: another file system is
/// mounted, this one has no links, or the kernel protects others' files
/// (`fs.protected_hardlinks`).
fn is_refusal(error: Errno) -> bool {
    is_unsupported(error) || matches!(error, Errno::XDEV | Errno::PERM)
}
