//! Backends, held against their traits: a suite that says which kind of backend promises what, and
//! what only the local one does.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/s3/mod.rs"]
mod s3;

mod conformance;
mod fixture;
mod layer;
mod local;
mod local_list;
mod local_read;
mod local_write;
mod memory;
mod object;
