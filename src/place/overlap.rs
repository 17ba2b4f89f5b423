//! Whether one place contains another, whatever their paths are.

use super::printable;
use crate::backend::local::Identity;
use crate::backend::object::BucketPrefix;
use crate::model::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// How two places overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// They are the same.
    Same,
    /// The source contains the target.
    TargetInSource,
    /// The target contains the source.
    SourceInTarget,
}

/// The position of a place among others of its kind.
pub(super) enum Position {
    /// A local directory.
    Directory {
        /// The identities of the directory, or of the nearest existing one above it, and of all
        /// above.
        chain: Vec<Identity>,
        /// Whether the directory itself exists.
        exists: bool,
    },
    /// A prefix in a store.
    Prefix(Arc<BucketPrefix>),
}

impl Position {
    /// Returns the position of the directory at a real path, which need not exist yet.
    pub(super) fn of_directory(path: &Path, exists: bool) -> Result<Self, Error> {
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let chain = existing.ancestors().map(identity).collect::<Result<_, _>>()?;
        Ok(Self::Directory { chain, exists })
    }
}

/// How much of a source takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything below its root.
    Whole,
    /// One file in it.
    SingleFile,
}

/// Returns how a source and a target overlap. A single file as source overlaps with the target only
/// if it would be its own target; that it lies beside other files of the target is none.
pub(super) fn overlap(source: &Position, extent: Extent, target: &Position) -> Option<Overlap> {
    let is_single = extent == Extent::SingleFile;
    match (source, target) {
        (
            Position::Directory { chain: source, .. },
            Position::Directory { chain: target, exists },
        ) => {
            let (source_root, target_root) = (source.first()?, target.first()?);
            let is_one = *exists && source_root == target_root;
            if !is_single && target.contains(source_root) {
                return Some(if is_one { Overlap::Same } else { Overlap::TargetInSource });
            }
            let inside = *exists && source.contains(target_root);
            (inside && (!is_single || is_one)).then_some(Overlap::SourceInTarget)
        }
        (Position::Prefix(source), Position::Prefix(target)) => {
            if !target.store.id().is_same_bucket(source.store.id()) {
                return None;
            }
            let inside = target.prefix.starts_with(&source.prefix);
            let contains = source.prefix.starts_with(&target.prefix);
            match (inside, contains) {
                _ if is_single && source.prefix != target.prefix => None,
                (false, false) => None,
                (true, true) => Some(Overlap::Same),
                (true, false) => Some(Overlap::TargetInSource),
                (false, true) => Some(Overlap::SourceInTarget),
            }
        }
        _ => None,
    }
}

fn identity(path: &Path) -> Result<Identity, Error> {
    let stat = path.metadata().map_err(|error| {
        let message = format!("cannot look up \"{}\"", printable(path));
        Error::new(ErrorKind::Unusable, message).because(error)
    })?;
    Ok(Identity { device: stat.dev(), inode: stat.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(chain: &[u64], exists: bool) -> Position {
        let chain = chain.iter().map(|&inode| Identity { device: 1, inode }).collect();
        Position::Directory { chain, exists }
    }

    #[test]
    fn directories_overlap_where_one_is_above_the_other() {
        let source = at(&[3, 2, 1], true);
        for (target, exists, whole, single) in [
            (&[3, 2, 1][..], true, Some(Overlap::Same), Some(Overlap::SourceInTarget)),
            (&[4, 3, 2, 1], true, Some(Overlap::TargetInSource), None),
            // A directory that has yet to be made in the source.
            (&[3, 2, 1], false, Some(Overlap::TargetInSource), None),
            (&[2, 1], true, Some(Overlap::SourceInTarget), None),
            // Beside the source, in a directory that contains both.
            (&[2, 1], false, None, None),
            (&[5, 2, 1], true, None, None),
        ] {
            let target = at(target, exists);
            assert_eq!(overlap(&source, Extent::Whole, &target), whole);
            assert_eq!(overlap(&source, Extent::SingleFile, &target), single);
        }
    }
}
