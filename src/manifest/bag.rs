//! What tells a bag (`BagIt`, RFC 8493) from other directories: that it declares itself one, or that a
//! run makes one of it.

/// Where a bag has its payload (section 2.1.2).
pub const PAYLOAD: &str = "data";
/// What declares a directory a bag (section 2.1.1).
pub const DECLARATION: &str = "bagit.txt";
/// What a run leaves in a directory before it makes anything else of a bag there: it tells what is not
/// declared, or not any more, from a directory that is something else.
pub const MARK: &str = ".vidimus/bag";
