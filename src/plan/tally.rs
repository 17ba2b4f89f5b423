//! Counts by which deletions are judged: how many there are, and out of how many.

/// Numbers of planned deletions, and of the entries that could be deleted.
///
/// Both numbers count the same things on every kind of target: leaves and directories that can be
/// deleted. A directory that a store only has because of the keys below it counts as on a file
/// system: it is deleted when all those keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletionTally {
    /// Entries of the source without its root.
    pub source: u64,
    /// Entries of the target that could be deleted. Its root isn't counted, nor are entries that
    /// the options or a failed listing protect, nor the directories around them that only the
    /// target has.
    pub deletable: u64,
    /// Leaves that are to be deleted.
    pub leaves: u64,
    /// Symbolic links among those leaves.
    pub links: u64,
    /// Directories that are to be deleted.
    pub directories: u64,
    /// Those of the directories that only keys below them imply: deleting them takes no request.
    pub implied: u64,
}

impl DeletionTally {
    /// Adds the counts of another plan.
    pub(super) fn add(&mut self, other: &Self) {
        self.source += other.source;
        self.deletable += other.deletable;
        self.leaves += other.leaves;
        self.links += other.links;
        self.directories += other.directories;
        self.implied += other.implied;
    }

    /// Takes out entries that aren't deleted.
    #[must_use]
    pub fn without(self, moved: &Self) -> Self {
        Self {
            source: self.source,
            deletable: self.deletable.saturating_sub(moved.deletable),
            leaves: self.leaves.saturating_sub(moved.leaves),
            links: self.links.saturating_sub(moved.links),
            directories: self.directories.saturating_sub(moved.directories),
            implied: self.implied,
        }
    }

    /// Returns the number of entries to delete.
    pub fn deletions(&self) -> u64 {
        self.leaves + self.directories
    }

    /// Returns the number of directories that have to be removed by themselves.
    pub fn own_directories(&self) -> u64 {
        self.directories - self.implied
    }
}
