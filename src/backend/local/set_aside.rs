//! Replacing a leaf by a directory. The leaf may be the only copy of content that belongs in the
//! directory, so it is not removed: it is moved into the directory under a reserved name and waits
//! there.
//!
//! It moves in two steps, so that it has a name at any moment: first the directory and the leaf
//! exchange names, then the leaf is moved into the directory. If a run is killed in between, the
//! leaf stays beside the directory under the same reserved name.

use super::beneath::{Directory, open_child};
use super::metadata::{kind_of, look_at};
use super::rename::{is_unrenamable, rename_new};
use super::shared::Shared;
use crate::model::reserved::TemporaryName;
use crate::model::{Cause, EntryKind, Key};
use rustix::fs::{AtFlags, Mode, RenameFlags, mkdirat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// Makes the directory `key` in place of a leaf, and returns the key that the leaf has afterwards.
pub(super) fn set_aside_leaf(
    shared: &Shared,
    parent: &Arc<Directory>,
    key: &Key,
) -> Result<Key, Cause> {
    let name = key.name();
    let aside = make_free(shared, parent)?;
    match renameat_with(&**parent, &aside[..], &**parent, name, RenameFlags::EXCHANGE) {
        Ok(()) => {
            if is_directory(parent, &aside)? {
                // The leaf was replaced by a directory meanwhile: put that back.
                renameat_with(&**parent, &aside[..], &**parent, name, RenameFlags::EXCHANGE)?;
                unlinkat(&**parent, &aside[..], AtFlags::REMOVEDIR)?;
                return Err(Cause::TargetChanged);
            }
        }
        Err(error) => {
            unlinkat(&**parent, &aside[..], AtFlags::REMOVEDIR)?;
            if !is_unrenamable(error) {
                return Err(error.into());
            }
            make_in_place(parent, name, &aside)?;
        }
    }
    shared.syncing.entries_changed(parent)?;
    let directory = open_child(parent.as_fd(), name)?;
    match renameat(&**parent, &aside[..], &directory, &aside[..]) {
        Ok(()) => {
            let directory = Directory::from_fd(directory, shared.root.file_systems())?;
            shared.syncing.entries_changed(&Arc::new(directory))?;
            Ok(Key::child(key.as_bytes(), &aside, false))
        }
        // The leaf is just as safe beside the directory.
        Err(_) => Ok(Key::child(key.parent(), &aside, false)),
    }
}

/// Makes a directory under an unused set-aside name; earlier runs may have left entries under some
/// of them.
fn make_free(shared: &Shared, parent: &Directory) -> Result<TemporaryName, Cause> {
    loop {
        let aside = shared.set_aside_in(parent)?;
        match mkdirat(parent, &aside[..], Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            other => return Ok(other.map(|()| aside)?),
        }
    }
}

/// Makes the directory on a file system that can't exchange names.
fn make_in_place(parent: &Directory, name: &[u8], aside: &[u8]) -> Result<(), Cause> {
    if is_directory(parent, name)? {
        return Err(Cause::TargetChanged);
    }
    rename_new(parent, name, aside)?;
    mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(|error| {
        // If this fails too, the leaf is kept under its set-aside name.
        rename_new(parent, aside, name).err().unwrap_or(error.into())
    })
}

fn is_directory(parent: &Directory, name: &[u8]) -> Result<bool, Cause> {
    Ok(kind_of(&look_at(parent, name)?) == EntryKind::Directory)
}
