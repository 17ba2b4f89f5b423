//! A store in memory with any key, conditions, copies, multipart uploads, and scripted faults.
//!
//! [`MemoryService`] is the service with its buckets, [`MemoryStore`] one bucket of it. It behaves
//! like a fully compliant store, unless [`Habits`] say otherwise or a [`Fault`] is pending. It is
//! for tests: nothing is sent, nothing waits, and each call is recorded.

mod bucket;
mod fault;
mod store;

pub use bucket::{Markers, StoredObject};
pub use fault::{Fault, Faults};
pub use store::{MemoryService, MemoryStore};

/// How a store deviates from a fully compliant one.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Whether it supports conditions; else it refuses requests that have one.
    pub knows_conditions: bool,
    /// Whether it supports ranges; else it sends the whole object.
    pub reads_ranges: bool,
    /// Whether it keeps a checksum of each whole object.
    pub keeps_checksums: bool,
    /// How it treats keys that end in `/`.
    pub markers: Markers,
    /// The largest object that one copy takes, in bytes.
    pub largest_copy: u64,
    /// Most objects and prefixes of a page.
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
