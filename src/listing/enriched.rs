//! Listings of a store, with what earlier runs into it recorded: a restore needs no look at
//! directories, and what is copied is held against the digest that it was recorded with.

use crate::backend::{KeySpace, ListItem, Listing};
use crate::manifest::published::RecordedSource;
use crate::manifest::{Row, STREAM, SourceNumber};
use crate::model::entry::Completeness;
use crate::model::{Digest, EntryKind, Error};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// A listing whose entries are told what rows know of them: those of runs whose target it lists.
pub struct EnrichedListing<R> {
    listing: Listing,
    /// The sources whose rows tell kinds and metadata.
    telling: HashSet<SourceNumber>,
    /// `None` once they ended or can't be read: they only help.
    rows: Option<R>,
    row: Option<Row>,
    /// Why they could not be read to their end.
    broke_off: Arc<OnceLock<Error>>,
}

impl<R: Iterator<Item = Result<Row, Error>>> EnrichedListing<R> {
    /// Adds `rows`, in key order, which are from these sources, to a `listing` whose keys have this
    /// form. Rows of another form have digests, but kinds and metadata of their own. Where they
    /// can't be read to their end, that is put in `broke_off`, and the listing goes on without
    /// them.
    pub fn new(
        listing: Listing,
        rows: R,
        broke_off: Arc<OnceLock<Error>>,
        sources: &[RecordedSource],
        key_space: KeySpace,
    ) -> Self {
        let tells = |source: &&RecordedSource| {
            // A stream is a file in any form.
            key_space == KeySpace::Tree
                && (source.options.key_space == KeySpace::Tree || source.source == STREAM)
        };
        let telling = sources.iter().filter(tells).map(|source| source.number).collect();
        Self { listing, telling, rows: Some(rows), row: None, broke_off }
    }

    /// Goes to the row of a key, if there is one.
    fn seek(&mut self, key: &[u8]) -> Option<&Row> {
        loop {
            match &self.row {
                Some(row) if row.key.as_bytes() >= key => break,
                _ => {}
            }
            self.row = match self.rows.as_mut().and_then(Iterator::next).transpose() {
                Ok(row) => row,
                Err(error) => {
                    self.broke_off.get_or_init(|| error);
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
            let telling = std::mem::take(&mut self.telling);
            if let Some(row) = self.seek(entry.key.as_bytes()) {
                let is_directory =
                    [row.kind, entry.kind].iter().all(|kind| *kind == EntryKind::Directory);
                if telling.contains(&row.from) {
                    row.complete(&row.target, entry);
                    // Nothing in the store tells of it, not even a marker that could be another.
                    if is_directory && entry.completeness == Completeness::Implicit {
                        (entry.metadata, entry.completeness) = (row.metadata, Completeness::Full);
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
            self.telling = telling;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterSpec;
    use crate::manifest::RecordedOptions;
    use crate::model::{Durability, ETag, Entry, Key, Metadata, RunId, Stamp, Timestamp};

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
    fn only_the_version_that_was_recorded_is_told_of() {
        let listed = ["a", "b", "c", "e"].map(|key| Ok(ListItem::Entry(entry(key, "1"))));
        let rows = [row("a", "1"), row("b", "2"), row("d", "1"), row("e", "1")].map(Ok);
        let listed = Box::new(listed.into_iter());
        let sources = [source(1, KeySpace::Tree)];
        let told = EnrichedListing::new(
            listed,
            rows.into_iter(),
            Arc::default(),
            &sources,
            KeySpace::Tree,
        );
        let told: Vec<_> = told
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
        assert_eq!(told, expected.map(|(key, known)| (key.to_owned(), known)));
    }

    #[test]
    fn rows_that_break_off_are_told_of_and_end_nothing_else() {
        let listed = ["a", "b", "c"].map(|key| Ok(ListItem::Entry(entry(key, "1"))));
        let broken = || Error::new(crate::model::ErrorKind::Damaged, "no row");
        let rows = [Ok(row("a", "1")), Err(broken()), Ok(row("c", "1"))];
        let broke_off = Arc::new(OnceLock::new());
        let sources = [source(1, KeySpace::Tree)];
        let told = EnrichedListing::new(
            Box::new(listed.into_iter()),
            rows.into_iter(),
            Arc::clone(&broke_off),
            &sources,
            KeySpace::Tree,
        );
        let told = told.map(|item| match item {
            Ok(ListItem::Entry(entry)) => entry.recorded.is_some(),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(broke_off.get().map(ToString::to_string).as_deref(), Some("no row"));
    }

    #[test]
    fn a_directory_without_a_marker_is_as_it_was_recorded_in_this_form() {
        let directory =
            |known| Entry { completeness: known, kind: EntryKind::Directory, ..entry("d/", "") };
        let told = |known, key_space| {
            let listed = Box::new(std::iter::once(Ok(ListItem::Entry(directory(known)))));
            let row = Row { kind: EntryKind::Directory, ..row("d/", "") };
            let sources = [source(1, key_space), source(2, KeySpace::Tree)];
            let (rows, broke_off) = (std::iter::once(Ok(row)), Arc::default());
            let mut told = EnrichedListing::new(listed, rows, broke_off, &sources, KeySpace::Tree);
            match told.next() {
                Some(Ok(ListItem::Entry(entry))) => (entry.metadata.mode, entry.completeness),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(Completeness::Implicit, KeySpace::Tree), (0o600, Completeness::Full));
        assert_eq!(told(Completeness::Implicit, KeySpace::Flat), (0, Completeness::Implicit));
        // Whoever stored metadata since knows better.
        assert_eq!(told(Completeness::Full, KeySpace::Tree), (0, Completeness::Full));
    }
}
