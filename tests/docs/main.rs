//! What README.md, the book in `docs/` and the other pages for people say, against what is so: every
//! console block is run and its output compared, every link leads somewhere.
//!
//! `SNAPSHOTS=overwrite cargo test --test docs` writes outputs that differ into the pages.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/s3/mod.rs"]
mod s3;

mod blocks;
mod compare;
mod console;
mod links;
mod page;
mod reference;
mod schedule;
mod session;
