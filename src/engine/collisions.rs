//! Failed copies, and the entries of the target that must not be deleted because of them.
//!
//! While a leaf that is to replace a directory isn't copied, the directory may contain the only
//! copy of its content. In the same way a leaf that was set aside may be the only copy of a file
//! while anything is missing in the directory that replaced it.
//!
//! On a target that folds names (for instance in case), `Report` can't be made beside `report`; if
//! the one was renamed to the other, the existing file is the only copy. So it is never deleted.
//! The rules of folding aren't known here: the entry that has the taken name is found by looking it
//! up.

use crate::backend::Target;
use crate::model::{Cause, Entry, EntryError, Key, Operation, Timestamp};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The most bytes of keys that are kept.
const MAX_BYTES: usize = 16 << 20;
/// The memory that a key takes beside its bytes.
const OVERHEAD: usize = 64;

/// Names that were already taken, directories that could not be made, and all copies that failed.
#[derive(Debug, Default)]
pub struct Collisions(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    taken: BTreeSet<Key>,
    unmade: BTreeSet<Key>,
    bytes: usize,
    /// More names were taken than are kept.
    overflowed: bool,
    failed: BTreeSet<Key>,
    /// The bytes of `failed`.
    failed_bytes: usize,
    /// More copies failed than are kept.
    too_many_failed: bool,
}

impl Found {
    /// Counts one more key; returns whether there is room for it.
    fn has_room(&mut self, key: &Key) -> bool {
        self.bytes += key.as_bytes().len() + OVERHEAD;
        self.bytes <= MAX_BYTES
    }
}

impl Collisions {
    /// Records a failure, unless it is of no concern here.
    pub(super) fn note(&self, error: &EntryError) {
        if error.is_failed_copy() {
            self.note_failed(&error.key);
        }
        let is_taken = matches!(error.cause, Cause::NameTaken);
        let is_unmade = error.operation == Operation::MakeDirectory;
        if !(is_taken || is_unmade) {
            return;
        }
        let mut found = self.0.lock();
        if !found.has_room(&error.key) {
            found.overflowed |= is_taken;
            return;
        }
        if is_taken {
            found.taken.insert(error.key.clone());
        }
        if is_unmade {
            found.unmade.insert(error.key.clone());
        }
    }

    /// Records an entry that could not be copied.
    pub(super) fn note_failed(&self, key: &Key) {
        let mut found = self.0.lock();
        found.failed_bytes += key.as_bytes().len() + OVERHEAD;
        if found.failed_bytes <= MAX_BYTES {
            found.failed.insert(key.clone());
        } else {
            found.too_many_failed = true;
        }
    }

    /// Returns whether anything in a directory could not be copied, or may not have been.
    pub(super) fn is_incomplete(&self, directory: &Key) -> bool {
        let found = self.0.lock();
        let mut from = found.failed.range(directory.clone()..);
        found.too_many_failed
            || found.failed.contains(&Key::root())
            || from.next().is_some_and(|key| key.is_within(directory.as_bytes()))
    }

    /// Returns whether a directory or one above it could not be made, so that its metadata isn't
    /// set.
    pub(super) fn is_unmade(&self, directory: &Key) -> bool {
        let found = self.0.lock();
        !found.unmade.is_empty() && downwards(directory).any(|above| found.unmade.contains(&above))
    }

    /// Returns the entries of the target that must not be deleted because of failures.
    pub(super) fn spared<'t>(&self, target: &'t dyn Target) -> Spared<'t> {
        let found = self.0.lock();
        let mut spared = Spared {
            target,
            all: found.overflowed || found.too_many_failed,
            failed: found.failed.clone(),
            taken: HashMap::new(),
            looked_at: Vec::new(),
        };
        if target.capabilities().folds_names {
            for key in &found.taken {
                let taken = spared.taken.entry(key.parent().into()).or_default();
                match target.look(key) {
                    Ok(Some(entry)) => taken.marks.extend(marks(&entry)),
                    Ok(None) => {}
                    Err(_) => taken.is_unknown = true,
                }
            }
        }
        spared
    }
}

/// Entries that must not be deleted.
pub(super) struct Spared<'t> {
    target: &'t dyn Target,
    /// All entries: more failures happened than are kept.
    all: bool,
    /// Keys of failed copies: directories in the place of these leaves stay.
    failed: BTreeSet<Key>,
    /// Marks of the entries whose names were taken, by the directory that contains them.
    taken: HashMap<Box<[u8]>, TargetMarks>,
    /// The keys on the path to the last entry that was asked about, each with whether it is spared.
    looked_at: Vec<(Key, bool)>,
}

#[derive(Default)]
struct TargetMarks {
    marks: HashSet<Mark>,
    /// An entry could not be looked up: any entry may be it.
    is_unknown: bool,
}

/// The features by which an entry is recognised.
#[derive(PartialEq, Eq, Hash)]
enum Mark {
    Inode(u64),
    /// For file systems without stable inode numbers: size, mtime and ctime.
    Stat(u64, Timestamp, Timestamp),
}

fn marks(entry: &Entry) -> impl Iterator<Item = Mark> {
    let size = entry.stamp.size;
    let of_inode = entry.stamp.inode().copied();
    of_inode.into_iter().flat_map(move |inode| {
        let looks = Mark::Stat(size, inode.mtime, inode.ctime);
        inode.number.map(Mark::Inode).into_iter().chain([looks])
    })
}

impl Spared<'_> {
    /// Returns whether an entry or a directory that contains it must not be deleted.
    pub(super) fn spares(&mut self, key: &Key) -> bool {
        if self.all || self.takes_a_failed_place(key) {
            return true;
        }
        if self.taken.is_empty() {
            return false;
        }
        while self.looked_at.pop_if(|(above, _)| !key.is_within(above.as_bytes())).is_some() {}
        for at in downwards(key) {
            if let Some((_, is_spared)) = self.looked_at.iter().find(|(known, _)| *known == at) {
                if *is_spared {
                    return true;
                }
                continue;
            }
            let is_spared = self.is_taken(&at);
            self.looked_at.push((at, is_spared));
            if is_spared {
                return true;
            }
        }
        false
    }

    /// Returns whether an entry is, or is in, a directory in the place of a leaf that could not be
    /// copied.
    fn takes_a_failed_place(&self, key: &Key) -> bool {
        let is_failed = |at: &Key| at.is_directory() && self.failed.contains(at.trimmed());
        !self.failed.is_empty() && downwards(key).any(|at| is_failed(&at))
    }

    fn is_taken(&self, key: &Key) -> bool {
        let Some(taken) = self.taken.get(key.parent()) else { return false };
        taken.is_unknown
            || match self.target.look(key) {
                Ok(Some(entry)) => marks(&entry).any(|mark| taken.marks.contains(&mark)),
                Ok(None) => false,
                Err(_) => true,
            }
    }
}

/// Returns the keys of the directories that contain an entry, outermost first, and then its own.
fn downwards(key: &Key) -> impl Iterator<Item = Key> {
    let bytes = key.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
    let leaf = (!key.is_directory()).then_some(bytes.len());
    ends.chain(leaf).map(|end| Key::new(&bytes[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::local::{LocalTarget, Root, Walking};
    use crate::model::Durability;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::sync::Arc;

    fn key(key: &str) -> Key {
        Key::new(key.as_bytes())
    }

    fn target(at: &Path) -> LocalTarget {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
        let walking = Walking { pool, spool_dir: at.into(), guarded: [].into() };
        let root = Arc::new(Root::open(at).unwrap());
        LocalTarget::new(root, walking, Durability::None, 1).unwrap()
    }

    fn failed(operation: Operation, at: &str, cause: Cause) -> EntryError {
        EntryError::on_target(operation, key(at), cause)
    }

    /// A hard link makes one file appear under two names, as on a file system that folds names.
    #[test]
    fn only_the_entry_that_a_copy_collided_with_is_spared() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("d")).unwrap();
        for (name, other) in [("report", "Report"), ("d/report", "d/Report")] {
            fs::write(path(name), "precious").unwrap();
            fs::hard_link(path(name), path(other)).unwrap();
        }
        fs::write(path("other"), "of another size").unwrap();
        assert_ne!(
            path("other").metadata().unwrap().ino(),
            path("report").metadata().unwrap().ino()
        );
        let target = target(directory.path());
        let collisions = Collisions::default();
        let is_spared = |at: &str| collisions.spared(&target).spares(&key(at));
        collisions.note(&failed(Operation::Publish, "Report", Cause::TargetChanged));
        assert!(!is_spared("report"), "another failure");
        collisions.note(&failed(Operation::Publish, "Report", Cause::NameTaken));
        assert!(is_spared("report"));
        assert!(!is_spared("other") && !is_spared("d/report") && !is_spared("gone"));
        collisions.note(&failed(Operation::Publish, "d/Report", Cause::NameTaken));
        let mut spared = collisions.spared(&target);
        let asked =
            ["d/other", "d/report", "d/", "other", "report"].map(|at| spared.spares(&key(at)));
        assert_eq!(asked, [false, true, false, false, true]);
    }

    #[test]
    fn a_directory_whose_name_was_taken_is_spared_with_all_in_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("dir/sub")).unwrap();
        fs::write(directory.path().join("dir/sub/file"), "precious").unwrap();
        fs::write(directory.path().join("dir-"), "x").unwrap();
        let target = target(directory.path());
        let collisions = Collisions::default();
        // In this test it is found under its own name.
        collisions.note(&failed(Operation::MakeDirectory, "dir/", Cause::NameTaken));
        let mut spared = collisions.spared(&target);
        let asked = ["dir-", "dir/sub/file", "dir/sub/", "dir/"].map(|at| spared.spares(&key(at)));
        assert_eq!(asked, [false, true, true, true]);
        assert!(collisions.is_unmade(&key("dir/")) && collisions.is_unmade(&key("dir/sub/")));
        assert!(!collisions.is_unmade(&key("dir-/")));
    }

    #[test]
    fn more_names_than_are_kept_spare_everything() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path());
        let collisions = Collisions::default();
        let long = "x".repeat(1 << 20);
        for number in 0..16 {
            collisions.note(&failed(
                Operation::Write,
                &format!("{number}{long}"),
                Cause::NameTaken,
            ));
        }
        assert!(collisions.spared(&target).spares(&key("anything")));
    }
}
