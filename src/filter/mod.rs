//! Filters: which entries take part in a mirror.

/// Which entries take part.
#[derive(Debug, Default)]
pub struct Filter {}
