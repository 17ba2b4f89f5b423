//! Mirrors file trees and object stores, fast, and proves it.
//!
//! The library behind the `vidimus` command; `docs/architecture.md` tells its design.

pub mod backend;
pub mod cli;
pub mod compare;
pub mod engine;
pub mod filter;
pub mod limits;
pub mod listing;
pub mod location;
pub mod manifest;
pub mod model;
pub mod plan;
pub mod report;
pub mod session;
pub mod spool;
pub mod ticker;
pub mod verify;
