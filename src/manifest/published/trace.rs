//! The history of single keys in the segments of a publication.

use super::head::Head;
use super::line::Published;
use super::reader::ManifestReader;
use super::segment::SegmentReader;
use crate::model::{Error, Key};

/// Reads what each segment of a publication says about `keys`, which are in order; the oldest
/// segment first. Each segment is fetched completely, because its digest covers all of it.
///
/// # Errors
/// Those of [`ManifestReader::latest`].
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
