//! What failed, and what in the target is not to be deleted for its sake.
//!
//! What lies in a directory of the target is the only copy of what it held as long as the leaf that is to
//! take the directory's place isn't copied; and so is a leaf as long as something is missing in the
//! directory that took its place.
//!
//! On a target that folds names (in case, say), `Report` can't be made beside `report`; what stands is
//! the only copy where the one was renamed to the other. It is never deleted. The folding isn't known
//! here, and needn't be: what stands under the name that was taken is recognised by a look.

use crate::backend::Target;
use crate::model::{Cause, Entry, EntryError, Key, Operation, Timestamp};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Bytes of keys that are held.
const HELD: usize = 16 << 20;
/// What a key costs beside its bytes.
const OVERHEAD: usize = 64;

/// The names that were found taken, the directories that could not be made, and all copies that failed.
#[derive(Debug, Default)]
pub struct Collisions(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    taken: BTreeSet<Key>,
    unmade: BTreeSet<Key>,
    bytes: usize,
    /// There were more names taken than are held.
    overflowed: bool,
    failed: BTreeSet<Key>,
    /// Bytes of these.
    failed_bytes: usize,
    /// More copies failed than are held.
    too_many_failed: bool,
}

impl Found {
    /// Whether there is room for one more key.
    fn has_room(&mut self, key: &Key) -> bool {
        self.bytes += key.as_bytes().len() + OVERHEAD;
        self.bytes <= HELD
    }
}

impl Collisions {
    /// Takes note of a failure, if it is of that kind.
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

    /// Takes note of a source's entry that the target doesn't have.
    pub(super) fn note_failed(&self, key: &Key) {
        let mut found = self.0.lock();
        found.failed_bytes += key.as_bytes().len() + OVERHEAD;
        if found.failed_bytes <= HELD {
            found.failed.insert(key.clone());
        } else {
            found.too_many_failed = true;
        }
    }

    /// Whether something in a directory could not be copied, as far as is known.
    pub(super) fn is_incomplete(&self, directory: &Key) -> bool {
        let found = self.0.lock();
        let mut from = found.failed.range(directory.clone()..);
        found.too_many_failed
            || found.failed.contains(&Key::root())
            || from.next().is_some_and(|key| key.is_within(directory.as_bytes()))
    }

    /// Whether a directory could not be made, or one above it: what stands there is another.
    pub(super) fn is_unmade(&self, directory: &Key) -> bool {
        let found = self.0.lock();
        !found.unmade.is_empty() && downwards(directory).any(|above| found.unmade.contains(&above))
    }

    /// What is not to be deleted from the target for their sake.
    pub(super) fn spared<'t>(&self, target: &'t dyn Target) -> Spared<'t> {
        let found = self.0.lock();
        let mut spared = Spared {
            target,
            all: found.overflowed || found.too_many_failed,
            failed: found.failed.clone(),
            standing: HashMap::new(),
            looked_at: Vec::new(),
        };
        if target.capabilities().folds_names {
            for key in &found.taken {
                let standing = spared.standing.entry(key.parent().into()).or_default();
                match target.look(key) {
                    Ok(Some(entry)) => standing.marks.extend(marks(&entry)),
                    Ok(None) => {}
                    Err(_) => standing.is_unknown = true,
                }
            }
        }
        spared
    }
}

/// Entries that are not to be deleted.
pub(super) struct Spared<'t> {
    target: &'t dyn Target,
    /// More names were taken than are known.
    all: bool,
    /// What could not be copied: the directory in the place of a leaf of these stays.
    failed: BTreeSet<Key>,
    /// What stands under names that were taken, by the directory that it lies in.
    standing: HashMap<Box<[u8]>, TargetMarks>,
    /// The way down to the entry that was asked about last: the keys that were looked at, and whether
    /// they are spared.
    looked_at: Vec<(Key, bool)>,
}

#[derive(Default)]
struct TargetMarks {
    marks: HashSet<Mark>,
    /// Something that could not be looked at: it may be anything there.
    is_unknown: bool,
}

/// What an entry is recognised by.
#[derive(PartialEq, Eq, Hash)]
enum Mark {
    Inode(u64),
    /// Where a file system has no numbers that stay: size, mtime and ctime.
    Looks(u64, Timestamp, Timestamp),
}

fn marks(entry: &Entry) -> impl Iterator<Item = Mark> {
    let size = entry.stamp.size;
    let of_inode = entry.stamp.inode().copied();
    of_inode.into_iter().flat_map(move |inode| {
        let looks = Mark::Looks(size, inode.mtime, inode.ctime);
        inode.number.map(Mark::Inode).into_iter().chain([looks])
    })
}

impl Spared<'_> {
    /// Whether an entry, or a directory that it lies in, is what a copy collided with.
    pub(super) fn spares(&mut self, key: &Key) -> bool {
        if self.all || self.takes_a_failed_place(key) {
            return true;
        }
        if self.standing.is_empty() {
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
            let is_spared = self.is_standing(&at);
            self.looked_at.push((at, is_spared));
            if is_spared {
                return true;
            }
        }
        false
    }

    /// Whether an entry is, or lies in, a directory in whose place a leaf belongs that could not be
    /// copied.
    fn takes_a_failed_place(&self, key: &Key) -> bool {
        let is_failed = |at: &Key| at.is_directory() && self.failed.contains(at.trimmed());
        !self.failed.is_empty() && downwards(key).any(|at| is_failed(&at))
    }

    fn is_standing(&self, key: &Key) -> bool {
        let Some(standing) = self.standing.get(key.parent()) else { return false };
        standing.is_unknown
            || match self.target.look(key) {
                Ok(Some(entry)) => marks(&entry).any(|mark| standing.marks.contains(&mark)),
                Ok(None) => false,
                Err(_) => true,
            }
    }
}

/// The directories above an entry, the outermost first, and then the entry itself.
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

    /// A hard link shows under a second name what stands under the first, as a folding file system
    /// does.
    #[test]
    fn what_a_copy_collided_with_is_spared_and_nothing_else() {
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
    fn a_directory_that_was_collided_with_is_spared_with_all_in_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("dir/sub")).unwrap();
        fs::write(directory.path().join("dir/sub/file"), "precious").unwrap();
        fs::write(directory.path().join("dir-"), "x").unwrap();
        let target = target(directory.path());
        let collisions = Collisions::default();
        // Here it is found under its own name.
        collisions.note(&failed(Operation::MakeDirectory, "dir/", Cause::NameTaken));
        let mut spared = collisions.spared(&target);
        let asked = ["dir-", "dir/sub/file", "dir/sub/", "dir/"].map(|at| spared.spares(&key(at)));
        assert_eq!(asked, [false, true, true, true]);
        assert!(collisions.is_unmade(&key("dir/")) && collisions.is_unmade(&key("dir/sub/")));
        assert!(!collisions.is_unmade(&key("dir-/")));
    }

    #[test]
    fn more_names_than_are_held_spare_everything() {
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
