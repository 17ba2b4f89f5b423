//! Layers: wrappers around a source or target that are one themselves.
//!
//! A layer implements every method of the trait, also those with a default (a lint checks this), so
//! that code above doesn't notice it.

mod bandwidth;
mod mapping;

pub use bandwidth::{BandwidthLimit, PacedSource, PacedTarget};
pub use mapping::{MappedSource, Mapper};
