//! What the segments of a publication say of single keys: what earlier runs did to them.

use super::head::Head;
use super::line::Published;
use super::reader::ManifestReader;
use super::segment::SegmentReader;
use crate::model::{Error, Key};

/// Reads what each segment of a publication says of `keys`, which are in order: the oldest first.
/// Each segment is fetched whole, for it is its digest that vouches for it.
///
/// # Errors
/// As those of [`ManifestReader::latest`].
pub fn trace(
    reader: &ManifestReader<'_>,
    head: &Head,
    keys: &[Key],
) -> Result<Vec<Published>, Error> {
    let mut said = Vec::new();
    for segment in &head.segments {
        let mut reader = SegmentReader::new(segment, reader.segment(segment)?)?;
        while let Some(published) = reader.next_of(keys)? {
            said.push(published);
        }
    }
    Ok(said)
}
