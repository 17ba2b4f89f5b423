//! Capabilities of sources and targets: code above decides by them and not by the kind of backend.

/// What a source or target can do and what it requires, as far as that never changes.
///
/// What depends on an entry, or is found out during a run, are methods:
/// [`Target::keeps`](super::Target::keeps),
/// [`Target::builds_directories`](super::Target::builds_directories),
/// [`Source::copy_origin`](super::Source::copy_origin).
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, asked for by its name"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Reached by requests over a network: each has a latency that concurrency hides, content may
    /// be damaged in transit so that a second read is worthwhile, and sending content costs more
    /// than reading it twice.
    pub remote: bool,
    /// Mode, owner and group decide who has access to entries.
    pub enforces_modes: bool,
    /// [`Source::inspect`](super::Source::inspect) finds features that a copy doesn't preserve.
    pub inspects: bool,
    /// Entries can have extended attributes and ACLs, as far as their file system keeps them.
    pub keeps_attributes: bool,
    /// A listing gives all metadata of an entry; else only its existence, size and stamp.
    pub lists_metadata: bool,
    /// Can be listed with keys as plain names ([`KeySpace::Flat`](super::KeySpace::Flat)).
    pub flat_keys: bool,
    /// Two different names may be the same to it (by case or Unicode normalisation).
    pub folds_names: bool,
    /// A directory exists as soon as it contains something and needn't be made before. An empty one
    /// exists once its metadata is set.
    pub implied_directories: bool,
    /// The times of a directory change when entries in it do.
    pub directory_times: bool,
    /// An entry is replaced and removed by its key alone, without looking it up first.
    pub writes_by_key: bool,
    /// A finished file is in its place at once, complete and durable; else publishing puts it
    /// there.
    pub atomic_put: bool,
    /// A staged file takes content in any order ([`Stage::anywhere`](super::Stage::anywhere)).
    pub writes_anywhere: bool,
    /// What is never written of a file takes no space and no time, and reads as zeros.
    pub holes: bool,
    /// A staged file may be able to share its content with one of the source
    /// ([`Stage::reflink`](super::Stage::reflink)).
    pub reflinks: bool,
    /// Changes are durable only after [`Target::barrier`](super::Target::barrier), so that batches
    /// pay off.
    pub needs_barrier: bool,
    /// A file can have several names ([`Target::donor`](super::Target::donor)).
    pub hard_links: bool,
    /// Devices can be made, as far as that is known without trying.
    pub devices: bool,
    /// How a file is given another name ([`Target::rename`](super::Target::rename)).
    pub renames: Renames,
    /// The best number of entries for one [`Target::remove_all`](super::Target::remove_all), at
    /// least 1.
    pub delete_batch: usize,
}

/// How a file of a target is given another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renames {
    /// It is renamed.
    InPlace,
    /// The store copies it; it has to be deleted under its old name.
    ByCopy,
}

impl Capabilities {
    /// The capabilities of a file system whose target needs no barrier.
    pub const FILE_SYSTEM: Self = Self {
        remote: false,
        enforces_modes: true,
        inspects: true,
        keeps_attributes: true,
        lists_metadata: true,
        flat_keys: false,
        folds_names: true,
        implied_directories: false,
        directory_times: true,
        writes_by_key: false,
        atomic_put: false,
        writes_anywhere: true,
        holes: false,
        reflinks: false,
        needs_barrier: false,
        hard_links: true,
        devices: true,
        renames: Renames::InPlace,
        delete_batch: 1,
    };

    /// Returns the capabilities of an object store that deletes up to `delete_batch` objects in one
    /// request.
    pub const fn of_store(delete_batch: usize) -> Self {
        Self {
            remote: true,
            enforces_modes: false,
            inspects: false,
            keeps_attributes: false,
            lists_metadata: false,
            flat_keys: true,
            folds_names: false,
            implied_directories: true,
            directory_times: false,
            writes_by_key: true,
            atomic_put: true,
            writes_anywhere: false,
            holes: false,
            reflinks: false,
            needs_barrier: false,
            hard_links: false,
            devices: true,
            renames: Renames::ByCopy,
            delete_batch,
        }
    }
}
