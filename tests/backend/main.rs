//! Backends, held against their traits: a suite that every backend passes, and what only the local
//! one promises.

#[path = "../common/mod.rs"]
mod common;

mod conformance;
mod fixture;
mod local;
mod local_list;
mod local_read;
mod local_write;
