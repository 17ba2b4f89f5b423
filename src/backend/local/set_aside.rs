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
    set_aside_by(shared, parent, key, |one, other| {
        renameat_with(&**parent, one, &**parent, other, RenameFlags::EXCHANGE)
    })
}

/// Does the same with `exchange` to exchange two names in the parent, if the file system can.
fn set_aside_by(
    shared: &Shared,
    parent: &Arc<Directory>,
    key: &Key,
    exchange: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
) -> Result<Key, Cause> {
    let name = key.name();
    let aside = make_free(shared, parent)?;
    match exchange(&aside, name) {
        Ok(()) => {
            if is_directory(parent, &aside)? {
                // The leaf was replaced by a directory meanwhile: put that back.
                exchange(&aside, name)?;
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

#[cfg(test)]
mod tests {
    use super::super::beneath::Root;
    use super::*;
    use crate::model::Durability;
    use crate::model::reserved::is_set_aside;
    use std::fs;
    use tempfile::TempDir;

    /// The result of exchanging two names.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Exchange {
        Works,
        Fails(Errno),
    }

    /// The result on a file system that can't exchange names.
    const UNSUPPORTED: [Exchange; 3] = [
        Exchange::Fails(Errno::INVAL),
        Exchange::Fails(Errno::NOSYS),
        Exchange::Fails(Errno::OPNOTSUPP),
    ];

    /// Sets aside the entry at `d/f` below a new root.
    fn set_aside(root: &TempDir, exchange: Exchange) -> Result<Key, Cause> {
        let opened = Arc::new(Root::open(root.path()).unwrap());
        let shared = Shared::new(Arc::clone(&opened), Durability::None, 7).unwrap();
        let parent = opened.descend(b"d/").unwrap();
        let key = Key::new(&b"d/f/"[..]);
        set_aside_by(&shared, &parent, &key, |one, other| match exchange {
            Exchange::Works => renameat_with(&*parent, one, &*parent, other, RenameFlags::EXCHANGE),
            Exchange::Fails(errno) => Err(errno),
        })
    }

    fn names(root: &TempDir, directory: &str) -> Vec<String> {
        let names = fs::read_dir(root.path().join(directory)).unwrap();
        let mut names: Vec<_> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn scene() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        root
    }

    #[test]
    fn a_leaf_lies_in_the_directory_that_took_its_place_with_an_exchange_of_names_or_without() {
        for exchange in [Exchange::Works].into_iter().chain(UNSUPPORTED) {
            for is_link in [false, true] {
                let root = scene();
                let place = root.path().join("d/f");
                if is_link {
                    std::os::unix::fs::symlink("elsewhere", &place).unwrap();
                } else {
                    fs::write(&place, "content").unwrap();
                }
                let key = set_aside(&root, exchange).unwrap();
                assert!(key.as_bytes().starts_with(b"d/f/") && is_set_aside(key.name()), "{key}");
                let aside = root.path().join(std::str::from_utf8(key.as_bytes()).unwrap());
                if is_link {
                    assert_eq!(fs::read_link(aside).unwrap().to_str(), Some("elsewhere"));
                } else {
                    assert_eq!(fs::read(aside).unwrap(), b"content");
                }
                assert_eq!(names(&root, "d"), ["f"], "{exchange:?}");
                assert_eq!(names(&root, "d/f").len(), 1);
            }
        }
    }

    #[test]
    fn a_directory_that_took_the_place_meanwhile_stays_as_it_is() {
        for exchange in [Exchange::Works].into_iter().chain(UNSUPPORTED) {
            let root = scene();
            fs::create_dir(root.path().join("d/f")).unwrap();
            fs::write(root.path().join("d/f/x"), "someone else's").unwrap();
            let refused = set_aside(&root, exchange).unwrap_err();
            assert!(matches!(refused, Cause::TargetChanged), "{exchange:?}: {refused}");
            assert_eq!(
                (names(&root, "d"), names(&root, "d/f")),
                (vec!["f".into()], vec!["x".into()])
            );
        }
    }

    #[test]
    fn a_name_that_an_earlier_run_kept_something_under_is_not_taken() {
        for exchange in [Exchange::Works, UNSUPPORTED[0]] {
            let root = scene();
            let kept = reserved_name(7);
            fs::write(root.path().join("d").join(&kept), "of an earlier run").unwrap();
            fs::write(root.path().join("d/f"), "content").unwrap();
            let key = set_aside(&root, exchange).unwrap();
            assert_ne!(key.name(), kept.as_bytes());
            assert_eq!(fs::read(root.path().join("d").join(&kept)).unwrap(), b"of an earlier run");
        }
    }

    /// Returns the first set-aside name of a run with this token.
    fn reserved_name(token: u64) -> String {
        use crate::model::reserved::{SET_ASIDE, temporary_name};
        String::from_utf8(temporary_name(SET_ASIDE, token).to_vec()).unwrap()
    }

    #[test]
    fn a_failure_leaves_the_leaf_where_it_is_and_nothing_behind() {
        let root = scene();
        fs::write(root.path().join("d/f"), "content").unwrap();
        let failed = set_aside(&root, Exchange::Fails(Errno::IO)).unwrap_err();
        assert!(matches!(failed, Cause::Io(_)), "{failed}");
        assert_eq!(names(&root, "d"), ["f"]);
        assert_eq!(fs::read(root.path().join("d/f")).unwrap(), b"content");
    }
}
