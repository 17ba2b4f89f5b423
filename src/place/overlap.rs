//! Whether one place lies in another, by whatever names.

use super::printable;
use crate::backend::local::Identity;
use crate::backend::object::BucketPrefix;
use crate::model::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// How two places lie in each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// They are one.
    Same,
    /// The target lies in the source.
    TargetInSource,
    /// The source lies in the target.
    SourceInTarget,
}

/// Where a place lies among others of its kind.
pub(super) enum Position {
    /// A directory of this machine.
    Directory {
        /// It, or the nearest one above it that stands, and all above that.
        chain: Vec<Identity>,
        /// Whether it stands itself.
        exists: bool,
    },
    /// A part of a store.
    Prefix(Arc<BucketPrefix>),
}

impl Position {
    /// Of the directory at a real path, which may be still to be made.
    pub(super) fn of_directory(path: &Path, exists: bool) -> Result<Self, Error> {
        let stands = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let chain = stands.ancestors().map(identity).collect::<Result<_, _>>()?;
        Ok(Self::Directory { chain, exists })
    }
}

/// What of a source counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All below its root.
    Whole,
    /// One file in it.
    SingleFile,
}

/// How a source, of which a single file may be all that counts, and a target lie in each other. A file
/// beside the other ones of a target is no overlap, unless it is its own target.
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
            let holds = source.prefix.starts_with(&target.prefix);
            match (inside, holds) {
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
        let message = format!("cannot look at \"{}\"", printable(path));
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
            // It is to be made in the source.
            (&[3, 2, 1], false, Some(Overlap::TargetInSource), None),
            (&[2, 1], true, Some(Overlap::SourceInTarget), None),
            // Beside the source, in a directory that holds both.
            (&[2, 1], false, None, None),
            (&[5, 2, 1], true, None, None),
        ] {
            let target = at(target, exists);
            assert_eq!(overlap(&source, Extent::Whole, &target), whole);
            assert_eq!(overlap(&source, Extent::SingleFile, &target), single);
        }
    }
}
