//! What deletions are weighed by: how many there are, and of how many.

/// The entries that a plan's deletions are counted among.
///
/// Both counts are of the same things, on every kind of target: leaves and directories that can be
/// deleted. A directory that a store only has because of the keys below it is one of them, as it would
/// be on a file system: it is deleted when all of those are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletionTally {
    /// Entries of the source, its root left out.
    pub source: u64,
    /// Entries of the target that could be deleted: its root is left out, and so is what the options
    /// or a listing that failed protect, with the directories that only the target has around it.
    pub deletable: u64,
    /// Of these, the leaves that are to be deleted.
    pub leaves: u64,
    /// Of those leaves, the symbolic links.
    pub links: u64,
    /// Of these, the directories that are to be deleted.
    pub directories: u64,
    /// Of those directories, the ones that only keys below them imply: nothing is to be done to delete
    /// them.
    pub implied: u64,
}

impl DeletionTally {
    /// Entries to delete.
    pub fn deletions(&self) -> u64 {
        self.leaves + self.directories
    }

    /// Directories that are there to be removed by themselves.
    pub fn own_directories(&self) -> u64 {
        self.directories - self.implied
    }
}
