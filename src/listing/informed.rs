//! Listings of a store, with what an earlier run into it recorded: a restore needs no look at
//! directories, and what is copied is held against the digest that it was recorded with.

use crate::backend::{Form, ListItem, Listing};
use crate::manifest::Row;
use crate::model::{Digest, EntryKind, Error};

/// A listing whose entries are told what rows know of them: those of a run whose target it lists.
pub struct Informed<R> {
    listing: Listing,
    form: Form,
    /// `None` once they ended or can't be read: they only help.
    rows: Option<R>,
    row: Option<Row>,
}

impl<R: Iterator<Item = Result<Row, Error>>> Informed<R> {
    /// Adds `rows`, in key order, to a `listing` whose keys have this form.
    pub fn new(listing: Listing, rows: R, form: Form) -> Self {
        Self { listing, form, rows: Some(rows), row: None }
    }

    /// Goes to the row of a key, if there is one.
    fn seek(&mut self, key: &[u8]) -> Option<&Row> {
        loop {
            match &self.row {
                Some(row) if row.key.as_bytes() >= key => break,
                _ => {}
            }
            let next = self.rows.as_mut().and_then(Iterator::next);
            if !matches!(next, Some(Ok(_))) {
                self.rows = None;
            }
            self.row = next?.ok();
            self.row.as_ref()?;
        }
        self.row.as_ref().filter(|row| row.key.as_bytes() == key)
    }
}

impl<R: Iterator<Item = Result<Row, Error>>> Iterator for Informed<R> {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut item = self.listing.next()?;
        if let Ok(ListItem::Entry(entry)) = &mut item {
            let form = self.form;
            if let Some(row) = self.seek(entry.key.as_bytes()) {
                if form == Form::Tree {
                    row.tell(&row.target, entry);
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
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Origin, RunNumber, SourceNumber};
    use crate::model::entry::Known;
    use crate::model::{ETag, Entry, ExtraDigests, Key, Metadata, Stamp};

    fn entry(key: &str, tag: &str) -> Entry {
        Entry {
            key: Key::new(key.as_bytes()),
            kind: EntryKind::File,
            stamp: Stamp::of_object(1, ETag::new(tag.as_bytes())),
            metadata: Metadata::default(),
            link: None,
            known: Known::Listed,
            recorded: None,
        }
    }

    fn row(key: &str, tag: &str) -> Row {
        let Entry { key, kind, stamp, .. } = entry(key, tag);
        Row {
            key,
            kind,
            digest: Some(Digest([1; 32])),
            extra: ExtraDigests::default(),
            origin: Origin::Proven,
            source: stamp,
            source_racy: false,
            target: stamp,
            metadata: Metadata { mode: 0o600, ..Metadata::default() },
            link: None,
            run: RunNumber(1),
            from: SourceNumber::FIRST,
            verified_at: None,
        }
    }

    #[test]
    fn only_the_version_that_was_recorded_is_told_of() {
        let listed = ["a", "b", "c", "e"].map(|key| Ok(ListItem::Entry(entry(key, "1"))));
        let rows = [row("a", "1"), row("b", "2"), row("d", "1"), row("e", "1")].map(Ok);
        let told = Informed::new(Box::new(listed.into_iter()), rows.into_iter(), Form::Tree);
        let told: Vec<_> = told
            .map(|item| match item {
                Ok(ListItem::Entry(entry)) => {
                    assert_eq!(entry.recorded.is_some(), entry.metadata.mode == 0o600);
                    (entry.key.to_string(), entry.known)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected =
            [("a", Known::Whole), ("b", Known::Listed), ("c", Known::Listed), ("e", Known::Whole)];
        assert_eq!(told, expected.map(|(key, known)| (key.to_owned(), known)));
    }
}
