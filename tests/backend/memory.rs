//! The tree in memory as a fixture.

use crate::conformance::conformance;
use crate::fixture::Fixture;
use vidimus::backend::memory::{Memory, MemoryOptions};

#[test]
fn the_tree_in_memory_keeps_every_promise() {
    for needs_barrier in [true, false] {
        let make = || {
            let memory = Memory::new(MemoryOptions { needs_barrier, ..MemoryOptions::default() });
            Fixture {
                source: Box::new(memory.source()),
                target: Box::new(memory.target()),
                _keep: Box::new(()),
            }
        };
        conformance(make, &[]);
    }
}
