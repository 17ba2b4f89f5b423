//! Layers: what lies around a whole source or target, and is one itself.
//!
//! A layer answers every method of the trait (a lint holds it to those that the trait has, or will
//! have), so that nothing above it knows that it is there.

mod bandwidth;

pub use bandwidth::{BandwidthLimit, PacedSource, PacedTarget};
