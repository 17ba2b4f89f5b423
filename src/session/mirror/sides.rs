//! The two sides of a run: opened, listed, joined.

use super::Session;
use crate::backend::{KeySpace, ListItem, ListOptions, Listing, Source};
use crate::compare::{Join, RecordedRows};
use crate::listing::{EnrichedListing, OrderChecked};
use crate::manifest::published::{ManifestReader, Merged, RecordedSource, used_instead};
use crate::manifest::{Row, State};
use crate::model::error::Side;
use crate::model::{EntryKind, Error, ErrorKind, Key, Notice};
use crate::place::random;
use crate::place::{Sides, Writes};
use crate::session::places::Places;
use std::sync::Arc;

/// What a run goes by: rows in key order, and the number that those from its own source name that
/// by.
pub(super) type RowsToJoin = RecordedRows<Rows>;
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Error>> + Send>;

impl Session<'_> {
    pub(super) fn listing(&self) -> ListOptions {
        ListOptions {
            filter: Arc::clone(&self.filter),
            only: self.places.source.only.clone(),
            key_space: self.places.key_space(),
        }
    }

    /// In the target, excluded entries are looked at only when they are to be deleted.
    pub(super) fn target_listing(&self) -> ListOptions {
        let all = self.options.delete.is_some_and(|delete| delete.excluded);
        let filter = if all { Arc::default() } else { Arc::clone(&self.filter) };
        ListOptions { filter, ..self.listing() }
    }

    /// What the state knows of the keys that this run is about.
    pub(super) fn rows(&self, state: &State) -> Result<RowsToJoin, Error> {
        let from = state.number()?;
        let rows: Rows = match &self.places.source.only {
            // A file goes where one stands, or a directory of its name.
            Some(name) => {
                let keys = [Key::new(&**name), Key::child(b"", name, true)];
                let rows = keys.iter().filter_map(|key| state.row(key).transpose());
                Box::new(rows.collect::<Vec<_>>().into_iter())
            }
            None => Box::new(state.rows()?),
        };
        Ok(self.take_part(RowsToJoin { rows, from }))
    }

    /// Leaves out rows of keys that the listings don't tell of: all but that of a single file, and
    /// between two stores, where there are none, directories that another source has.
    pub(super) fn take_part(&self, recorded: RowsToJoin) -> RowsToJoin {
        let RowsToJoin { rows, from } = recorded;
        let told = |rows| RowsToJoin { rows, from };
        if let Some(name) = self.places.source.only.clone() {
            let is_it = move |row: &Row| row.key.trimmed() == &*name;
            return told(Box::new(rows.filter(move |row| row.as_ref().map_or(true, &is_it))));
        }
        if self.places.key_space() == KeySpace::Tree {
            return told(rows);
        }
        let is_told = move |row: &Row| row.kind != EntryKind::Directory || row.from == from;
        told(Box::new(rows.filter(move |row| row.as_ref().map_or(true, is_told))))
    }

    pub(super) fn join(
        &self,
        source: Listing,
        target: Listing,
        recorded: RowsToJoin,
    ) -> Result<Join<OrderChecked, OrderChecked, Rows>, Error> {
        let source = OrderChecked::new(self.without_marker(source), Side::Source);
        Join::new(
            source,
            OrderChecked::new(target, Side::Target),
            recorded,
            self.places.key_space(),
        )
    }

    /// Leaves out the source's own root where that of the target can have no entry.
    fn without_marker(&self, listing: Listing) -> Listing {
        let has_root_entry = self.places.target.has_root_entry();
        if self.places.key_space() == KeySpace::Tree || has_root_entry {
            return listing;
        }
        let is_marker = |item: &Result<ListItem, Error>| matches!(item, Ok(ListItem::Entry(entry)) if entry.key.is_root());
        Box::new(listing.filter(move |item| !is_marker(item)))
    }

    /// Adds to a listing that tells no metadata what earlier runs into it recorded here, or else,
    /// at first contact (until a run did all it was to do), what is published in the store itself:
    /// on a machine that has no record a restore gets metadata from there, and holds content
    /// against the digests. Later runs are told by rows of their own, and ask for nothing.
    pub(super) fn informed_by_any(
        &self,
        source: &dyn Source,
        listing: Listing,
        is_first_contact: bool,
    ) -> Result<Listing, Error> {
        if let Some(state) = self.recorded_of_source() {
            return self.told_by(&state, listing);
        }
        if source.capabilities().lists_metadata
            || self.places.source.only.is_some()
            || !is_first_contact
        {
            return Ok(listing);
        }
        let spool_dir = if self.options.dry_run {
            std::env::temp_dir()
        } else {
            self.options.state_dir.clone()
        };
        let kept = ManifestReader::of(source, &spool_dir);
        let published = kept.latest_or_highest().and_then(|found| {
            let Some((latest, fault)) = found else { return Ok(None) };
            if let Some(fault) = fault {
                self.notice(used_instead(&latest, Some(&fault), None));
            }
            Ok(Some((Merged::of(&kept, &latest.head)?, latest.head.sources())))
        });
        match published {
            Ok(Some((merged, sources))) => {
                let rows = merged.map(|row| row.map(|(row, _)| row));
                Ok(self.inform(listing, rows, &sources))
            }
            Ok(None) => Ok(listing),
            Err(error) if error.kind == ErrorKind::Damaged => {
                let (source, cause) = (self.places.source.name.clone(), error.to_string());
                self.notice(Notice::SourceManifestUnusable { source, cause });
                Ok(listing)
            }
            // What it says would be lost, and no later run would ask for it again.
            Err(error) => Err(self.unread(Side::Source, error)),
        }
    }

    fn inform(
        &self,
        listing: Listing,
        rows: impl Iterator<Item = Result<Row, Error>> + Send + 'static,
        sources: &[RecordedSource],
    ) -> Listing {
        let broke_off = Arc::clone(&self.record_broke_off);
        Box::new(EnrichedListing::new(listing, rows, broke_off, sources, self.places.key_space()))
    }

    /// Tells that what was recorded of the source could not be read to its end, where it couldn't.
    pub(super) fn tell_broken_off(&self) {
        if let Some(error) = self.record_broke_off.get() {
            let (source, cause) = (self.places.source.name.clone(), error.to_string());
            self.notice(Notice::SourceRecordBreaksOff { source, cause });
        }
    }

    /// What is recorded here of runs into the source, where its listing tells less.
    fn recorded_of_source(&self) -> Option<State> {
        let Places { source, .. } = self.places;
        if source.capabilities().lists_metadata || source.only.is_some() {
            return None;
        }
        State::latest_into(&self.options.state_dir, &source.name).unwrap_or_else(|error| {
            let (source, cause) = (source.name.clone(), error.to_string());
            self.notice(Notice::SourceRecordUnusable { source, cause });
            None
        })
    }

    fn told_by(&self, state: &State, listing: Listing) -> Result<Listing, Error> {
        // Rows before the first key have nothing to tell.
        let mut listing = listing.peekable();
        let first = match listing.peek() {
            Some(Ok(item)) => item.key().clone(),
            _ => Key::root(),
        };
        let (rows, sources) = (state.rows_from(&first)?, state.recorded_sources()?);
        Ok(self.inform(Box::new(listing), rows, &sources))
    }

    /// Makes both sides; see [`Opener::sides`](crate::place::Opener::sides).
    pub(super) fn open(&self) -> Result<Sides, Error> {
        let Places { source, target, .. } = self.places;
        if self.options.policy.trust.ignore_inode {
            source.ignore_inodes();
            target.ignore_inodes();
        }
        // Who holds the lock is told by his run, and its temporaries by this.
        let token = self.run.token().map_or_else(random, Ok)?;
        self.opener.sides(source, target, Writes { durability: self.options.durability, token })
    }
}
