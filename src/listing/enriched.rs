//! Listings of a target of earlier runs, enriched with their rows. In a store a restore needn't look
//! up directories, and content is compared with the digest that was recorded when it was written.
//! Of a file system rows tell what it doesn't keep.

use crate::backend::{KeySpace, ListItem, Listing};
use crate::manifest::published::RecordedSource;
use crate::manifest::{Row, STREAM, SourceNumber};
use crate::model::entry::Completeness;
use crate::model::{Digest, EntryKind, Error};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// A listing of a target of earlier runs, whose entries get metadata and digests from their rows.
pub struct EnrichedListing<R> {
    listing: Listing,
    /// The sources whose rows have kinds and metadata for this listing.
    with_metadata: HashSet<SourceNumber>,
    /// Rows in key order. `None` at their end or after an error: the listing doesn't need them.
    rows: Option<R>,
    row: Option<Row>,
    /// The error that ended the rows early.
    rows_error: Arc<OnceLock<Error>>,
}

impl<R: Iterator<Item = Result<Row, Error>>> EnrichedListing<R> {
    /// Adds `rows`, in key order and recorded from `sources`, to a `listing` with keys of
    /// `key_space`. Rows with keys of another form only give digests. If the rows can't be read to
    /// their end, the error is put in `rows_error`, and the listing goes on without them.
    pub fn new(
        listing: Listing,
        rows: R,
        rows_error: Arc<OnceLock<Error>>,
        sources: &[RecordedSource],
        key_space: KeySpace,
    ) -> Self {
        let has_metadata = |source: &&RecordedSource| {
            // A stream is a single file, the same in any form.
            key_space == KeySpace::Tree
                && (source.options.key_space == KeySpace::Tree || source.source == STREAM)
        };
        let with_metadata =
            sources.iter().filter(has_metadata).map(|source| source.number).collect();
        Self { listing, with_metadata, rows: Some(rows), row: None, rows_error }
    }

    /// Advances to a key; returns its row, if there is one.
    fn seek(&mut self, key: &[u8]) -> Option<&Row> {
        loop {
            match &self.row {
                Some(row) if row.key.as_bytes() >= key => break,
                _ => {}
            }
            self.row = match self.rows.as_mut().and_then(Iterator::next).transpose() {
                Ok(row) => row,
                Err(error) => {
                    self.rows_error.get_or_init(|| error);
                    None
                }
            };
            if self.row.is_none() {
                self.rows = None;
                return None;
            }
        }
        self.row.as_ref().filter(|row| row.key.as_bytes() == key)
    }
}

impl<R: Iterator<Item = Result<Row, Error>>> Iterator for EnrichedListing<R> {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut item = self.listing.next()?;
        if let Ok(ListItem::Entry(entry)) = &mut item {
            let with_metadata = std::mem::take(&mut self.with_metadata);
            if let Some(row) = self.seek(entry.key.as_bytes()) {
                let is_directory =
                    [row.kind, entry.kind].iter().all(|kind| *kind == EntryKind::Directory);
                if entry.stamp.inode().is_some() {
                    row.tell(entry);
                } else if with_metadata.contains(&row.from) {
                    if row.complete(&row.target, entry) {
                        row.tell(entry);
                    }
                    // There is no marker in the store that could have changed since.
                    if is_directory && entry.completeness == Completeness::Implicit {
                        (entry.metadata, entry.completeness) = (row.metadata, Completeness::Full);
                        row.tell(entry);
                    }
                }
                let is_version = entry.stamp == row.target && entry.stamp.tag().is_some();
                if is_version {
                    let text = row.link.as_deref().unwrap_or_default();
                    entry.recorded = match row.kind {
                        EntryKind::File => row.digest,
                        _ => Some(Digest::of(text)),
                    };
                }
            }
            self.with_metadata = with_metadata;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterSpec;
    use crate::manifest::RecordedOptions;
    use crate::model::stamp::Inode;
    use crate::model::{
        Apart, Attribute, AttributeKinds, Attributes, Durability, ETag, Entry, Extras, Key,
        Metadata, RunId, Stamp, Timestamp,
    };

    fn source(number: i64, key_space: KeySpace) -> RecordedSource {
        RecordedSource {
            number: SourceNumber(number),
            source: "/s".to_owned(),
            run: RunId("r".to_owned()),
            started: Timestamp::default(),
            verdict: None,
            options: RecordedOptions {
                filter: FilterSpec::default(),
                delete: false,
                durability: Durability::None,
                only: None,
                key_space,
                keeps: None,
                preserve: crate::model::Preserve::NOTHING,
                settable: None,
                source_tells: false,
                mapping: crate::model::MetadataMapping::default(),
            },
        }
    }

    fn entry(key: &str, tag: &str) -> Entry {
        Entry {
            stamp: Stamp::of_object(1, ETag::new(tag.as_bytes())),
            completeness: Completeness::ListingOnly,
            ..Entry::new_file(Key::new(key.as_bytes()), 1, Metadata::default())
        }
    }

    fn row(key: &str, tag: &str) -> Row {
        Row {
            digest: Some(Digest([1; 32])),
            metadata: Metadata { mode: 0o600, ..Metadata::default() },
            ..Row::of_copied(entry(key, tag))
        }
    }

    #[test]
    fn only_the_recorded_version_gets_metadata_and_digest() {
        let listed = ["a", "b", "c", "e"].map(|key| Ok(ListItem::Entry(entry(key, "1"))));
        let rows = [row("a", "1"), row("b", "2"), row("d", "1"), row("e", "1")].map(Ok);
        let listed = Box::new(listed.into_iter());
        let sources = [source(1, KeySpace::Tree)];
        let enriched = EnrichedListing::new(
            listed,
            rows.into_iter(),
            Arc::default(),
            &sources,
            KeySpace::Tree,
        );
        let enriched: Vec<_> = enriched
            .map(|item| match item {
                Ok(ListItem::Entry(entry)) => {
                    assert_eq!(entry.recorded.is_some(), entry.metadata.mode == 0o600);
                    (entry.key.to_string(), entry.completeness)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("a", Completeness::Full),
            ("b", Completeness::ListingOnly),
            ("c", Completeness::ListingOnly),
            ("e", Completeness::Full),
        ];
        assert_eq!(enriched, expected.map(|(key, known)| (key.to_owned(), known)));
    }

    #[test]
    fn an_error_of_the_rows_is_kept_and_the_listing_goes_on() {
        let listed = ["a", "b", "c"].map(|key| Ok(ListItem::Entry(entry(key, "1"))));
        let broken = || Error::new(crate::model::ErrorKind::Damaged, "no row");
        let rows = [Ok(row("a", "1")), Err(broken()), Ok(row("c", "1"))];
        let rows_error = Arc::new(OnceLock::new());
        let sources = [source(1, KeySpace::Tree)];
        let enriched = EnrichedListing::new(
            Box::new(listed.into_iter()),
            rows.into_iter(),
            Arc::clone(&rows_error),
            &sources,
            KeySpace::Tree,
        );
        let has_digest = enriched.map(|item| match item {
            Ok(ListItem::Entry(entry)) => entry.recorded.is_some(),
            other => panic!("{other:?}"),
        });
        assert_eq!(has_digest.collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(rows_error.get().map(ToString::to_string).as_deref(), Some("no row"));
    }

    #[test]
    fn a_directory_without_a_marker_gets_the_metadata_recorded_in_this_form() {
        let directory =
            |known| Entry { completeness: known, kind: EntryKind::Directory, ..entry("d/", "") };
        let enriched = |known, key_space| {
            let listed = Box::new(std::iter::once(Ok(ListItem::Entry(directory(known)))));
            let row = Row { kind: EntryKind::Directory, ..row("d/", "") };
            let sources = [source(1, key_space), source(2, KeySpace::Tree)];
            let (rows, rows_error) = (std::iter::once(Ok(row)), Arc::default());
            let mut enriched =
                EnrichedListing::new(listed, rows, rows_error, &sources, KeySpace::Tree);
            match enriched.next() {
                Some(Ok(ListItem::Entry(entry))) => (entry.metadata.mode, entry.completeness),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(enriched(Completeness::Implicit, KeySpace::Tree), (0o600, Completeness::Full));
        assert_eq!(enriched(Completeness::Implicit, KeySpace::Flat), (0, Completeness::Implicit));
        // Metadata that was stored since is newer than the row.
        assert_eq!(enriched(Completeness::Full, KeySpace::Tree), (0, Completeness::Full));
    }

    #[test]
    fn what_a_file_system_lacks_is_told_of_entries_that_are_as_recorded() {
        let stamp = |size, seconds| {
            let time = |seconds| Timestamp { seconds, nanos: 0 };
            // Another mount may show other inodes and changes.
            let inode = Inode { mtime: time(seconds), ctime: time(size as i64), number: None };
            Stamp::of_inode(size, inode)
        };
        let attribute = Attribute { name: (*b"user.a").into(), value: (*b"1").into() };
        let set = Attributes::checked(vec![attribute]).unwrap();
        let (attributes, apart) = (set.digest(), Apart::Loaded(Arc::new(set)));
        let extras = Extras { attributes, apart, ..Extras::default() };
        let recorded = |key: &str| {
            let extras = Some(Box::new(extras.clone()));
            Row { target: stamp(1, 5), source: stamp(1, 5), extras, ..row(key, "") }
        };
        let listed = |key: &str, size, seconds| {
            let listed = Entry { completeness: Completeness::Full, ..entry(key, "") };
            Ok(ListItem::Entry(Entry { stamp: stamp(size, seconds), ..listed }))
        };
        let listing = [listed("a", 1, 5), listed("b", 2, 5), listed("c", 1, 6), listed("d", 1, 5)];
        let unlooked = Row { looked: AttributeKinds::NONE, ..recorded("d") };
        let rows = [recorded("a"), recorded("b"), recorded("c"), unlooked].map(Ok);
        let enriched = EnrichedListing::new(
            Box::new(listing.into_iter()),
            rows.into_iter(),
            Arc::default(),
            &[source(1, KeySpace::Tree)],
            KeySpace::Tree,
        );
        let told = enriched.map(|item| match item {
            Ok(ListItem::Entry(entry)) => entry.extras.is_some_and(|extras| extras.apart.is_some()),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [true, false, false, false]);
    }
}
