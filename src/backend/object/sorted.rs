//! Listings of stores that list in another order than byte order: read completely and sorted on
//! disk.

use super::cause::cause;
use super::page_cursor::{Lister, PageCursor};
use super::{Listed, Page};
use crate::model::{Cause, ETag, Timestamp};
use crate::spool::{Sorted, Sorter, push_key, split_key};
use std::sync::Arc;

/// Bytes of a listing that are sorted in memory.
const SORTED: usize = 8 << 20;

/// Objects of a store that lists in another order than byte order.
pub(super) struct Unordered {
    lister: Arc<dyn Lister>,
    first: Option<Page>,
    sorted: Option<Sorted>,
    /// The last record, in a buffer that is reused.
    last: Vec<u8>,
}

impl Unordered {
    /// Continues from the first page when the first object is requested.
    pub(super) fn new(lister: Arc<dyn Lister>, first: Page) -> Self {
        Self { lister, first: Some(first), sorted: None, last: Vec::new() }
    }

    /// Reads the whole listing and sorts it.
    fn sort(&self, first: Page) -> Result<Sorted, Cause> {
        let mut sorter = Sorter::new(Arc::clone(self.lister.spool_dir()), SORTED);
        let mut pages = PageCursor::from(&*self.lister, first.next);
        let mut objects = first.objects;
        loop {
            for object in &objects {
                sorter.push(&encode(object))?;
            }
            match pages.next().map_err(|error| cause(&error))? {
                Some(page) => objects = page.objects,
                None => return Ok(sorter.finish()?),
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Listed>, Cause> {
        if let Some(first) = self.first.take() {
            self.sorted = Some(self.sort(first)?);
        }
        let Some(sorted) = &mut self.sorted else { return Ok(None) };
        let damaged = || Cause::Other("a spool file of this run was damaged".to_owned());
        loop {
            let Some(record) = sorted.next()? else { return Ok(None) };
            // Some stores list keys below a directory's marker twice.
            if *record != *self.last {
                self.last.clear();
                self.last.extend_from_slice(record);
                return decode(record).ok_or_else(damaged).map(Some);
            }
        }
    }
}

impl Iterator for Unordered {
    type Item = Result<Listed, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.sorted = None;
        }
        next.transpose()
    }
}

/// Encodes an object so that records sort as keys do.
fn encode(object: &Listed) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.key.len() + 64);
    push_key(&mut out, &object.key);
    out.extend_from_slice(&object.size.to_le_bytes());
    let Timestamp { seconds, nanos } = object.modified.unwrap_or_default();
    out.extend_from_slice(&seconds.to_le_bytes());
    out.extend_from_slice(&nanos.to_le_bytes());
    out.push(u8::from(object.modified.is_some()));
    out.push(u8::from(object.archived));
    out.extend_from_slice(object.etag.as_ref().map_or("", ETag::as_str).as_bytes());
    out
}

fn decode(record: &[u8]) -> Option<Listed> {
    let (key, rest) = split_key(record)?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (nanos, rest) = rest.split_first_chunk::<4>()?;
    let (&[dated, archived], tag) = rest.split_first_chunk::<2>()?;
    let modified =
        Timestamp { seconds: i64::from_le_bytes(*seconds), nanos: u32::from_le_bytes(*nanos) };
    Some(Listed {
        key: key.into(),
        size: u64::from_le_bytes(*size),
        etag: ETag::new(tag),
        modified: (dated == 1).then_some(modified),
        archived: archived == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(key: &[u8]) -> Listed {
        Listed {
            key: key.into(),
            size: 1 << 40,
            etag: ETag::new(b"0a-3"),
            modified: Some(Timestamp { seconds: -7, nanos: 9 }),
            archived: true,
        }
    }

    proptest! {
        #[test]
        fn records_keep_every_field_and_sort_as_keys_do(
            one in proptest::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..6),
            other in proptest::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..6),
        ) {
            let (first, second) = (listed(&one), listed(&other));
            prop_assert_eq!(decode(&encode(&first)), Some(first.clone()));
            prop_assert_eq!(encode(&first).cmp(&encode(&second)), one.cmp(&other));
        }
    }
}
