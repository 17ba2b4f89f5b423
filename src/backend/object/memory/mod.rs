//! A store in memory: every key, conditions, copies, uploads in parts, and faults by script.
//!
//! [`MemoryService`] is the service with its buckets, [`MemoryStore`] one bucket of it. It does what
//! the best of stores do, unless [`Habits`] say otherwise or a [`Fault`] waits for the next call of a
//! kind. It is there for tests: nothing is sent, nothing waits, and each call is written down.

mod bucket;
mod fault;
mod store;

pub use bucket::{Markers, StoredObject};
pub use fault::{Fault, Faults};
pub use store::{MemoryService, MemoryStore};

/// How a store differs from the best of its kind.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Whether it knows conditions; without them it refuses requests that have one.
    pub knows_conditions: bool,
    /// Whether it sends a part of an object where one is asked for, and not the whole.
    pub reads_ranges: bool,
    /// Whether it keeps a checksum of the whole with each object.
    pub keeps_checksums: bool,
    /// What it does with keys that end in `/`.
    pub markers: Markers,
    /// The largest object that one copy takes, in bytes.
    pub largest_copy: u64,
    /// Objects and prefixes of a page.
    pub page: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            knows_conditions: true,
            reads_ranges: true,
            keeps_checksums: true,
            markers: Markers::Kept,
            largest_copy: 5 << 30,
            page: 1000,
        }
    }
}
