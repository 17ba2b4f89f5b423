//! Mirrors file trees and object stores, fast, and proves it.
//!
//! The library behind the `vidimus` command; `docs/architecture.md` tells its design.

pub mod cli;
pub mod compare;
pub mod filter;
pub mod location;
pub mod manifest;
pub mod model;
pub mod report;
pub mod session;
pub mod spool;
pub mod verify;
