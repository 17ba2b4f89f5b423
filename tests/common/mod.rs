//! Support for the black-box tests: trees stated declaratively, a hermetic environment for the
//! binary, and the system's tools, without which tests are skipped loudly.

#![allow(
    clippy::similar_names,
    clippy::unused_self,
    clippy::wrong_self_convention,
    reason = "helpers read as sentences: `run.is_silent_about(…)`, `seen`, `see`"
)]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses a part of it")]

pub mod background;
pub mod clients;
pub mod content;
pub mod disk;
pub mod environment;
pub mod pane;
pub mod servers;
pub mod tools;
pub mod tree;

pub use background::beside;
pub use disk::Disk;
pub use environment::{Environment, Run};
pub use tree::{Snapshot, TestTree, assert_mirrored, assert_untouched};
