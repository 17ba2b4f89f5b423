//! What places can do, and what they ask for: by this, and not by what they are, everything above
//! decides how to go about them.

/// What a place can do, and what it asks for, as far as that never changes.
///
/// What depends on an entry, or is found out on the way, is asked by methods:
/// [`Target::keeps`](super::Target::keeps), [`Target::builds_directories`](super::Target::builds_directories),
/// [`Source::copy_origin`](super::Source::copy_origin).
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, asked for by its name"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It is reached by requests over a network: each takes a while, which many at once hide; what
    /// comes may be damaged on its way, so that a second reading tells; and to send content costs more
    /// than to read it twice.
    pub remote: bool,
    /// Its entries are open to whom their mode, owner and group say.
    pub enforces_modes: bool,
    /// [`Source::inspect`](super::Source::inspect) tells what a file has that a copy hasn't.
    pub inspects: bool,
    /// A listing tells all of an entry; else no more than that it is there, its size and its stamp.
    pub lists_metadata: bool,
    /// It can be listed with each key standing for itself ([`KeySpace::Flat`](super::KeySpace::Flat)).
    pub flat_keys: bool,
    /// Two different names may be one to it (by case, or by Unicode's forms).
    pub folds_names: bool,
    /// A directory stands wherever something lies in it, with no need to be made before; by itself it
    /// stands once its metadata is set.
    pub implied_directories: bool,
    /// A directory's own times change with the entries in it.
    pub directory_times: bool,
    /// An entry is replaced, and removed, by its key alone: what has that key needs no look.
    pub writes_by_key: bool,
    /// What is finished stands in its place at once, whole and durable; else publishing puts it there.
    pub atomic_put: bool,
    /// What is staged takes content in any order ([`Stage::anywhere`](super::Stage::anywhere)).
    pub writes_anywhere: bool,
    /// What happened is durable only after [`Target::barrier`](super::Target::barrier), so that batches
    /// are worth while.
    pub needs_barrier: bool,
    /// How many entries [`Target::remove_all`](super::Target::remove_all) is best given at a time, at
    /// least 1.
    pub delete_batch: usize,
}

impl Capabilities {
    /// Those of a file system whose target has nothing that waits for a barrier.
    pub const FILE_SYSTEM: Self = Self {
        remote: false,
        enforces_modes: true,
        inspects: true,
        lists_metadata: true,
        flat_keys: false,
        folds_names: true,
        implied_directories: false,
        directory_times: true,
        writes_by_key: false,
        atomic_put: false,
        writes_anywhere: true,
        needs_barrier: false,
        delete_batch: 1,
    };

    /// Those of a store of objects, which deletes so many by one request.
    pub const fn of_store(delete_batch: usize) -> Self {
        Self {
            remote: true,
            enforces_modes: false,
            inspects: false,
            lists_metadata: false,
            flat_keys: true,
            folds_names: false,
            implied_directories: true,
            directory_times: false,
            writes_by_key: true,
            atomic_put: true,
            writes_anywhere: false,
            needs_barrier: false,
            delete_batch,
        }
    }
}
