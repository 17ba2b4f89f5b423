//! The two sides of a run: opened, listed, joined.

use super::{MirrorOptions, Session};
use crate::backend::layer::{MappedSource, Mapper};
use crate::backend::{KeySpace, ListItem, ListOptions, ListedExtras, Listing, Source};
use crate::compare::{Join, JudgedRows, Policy, RecordedRows, RowCursor};
use crate::filter::{Filter, Missing, NameForm, NameList};
use crate::listing::{EnrichedListing, OrderChecked};
use crate::manifest::published::{ManifestReader, Merged, RecordedSource, used_instead};
use crate::manifest::{Row, State};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::mapping::RecordedNames;
use crate::model::{EntryKind, Error, ErrorKind, Key, Metadata, Notice, Preserve, Setting};
use crate::place::random;
use crate::place::{Sides, Writes};
use crate::session::places::Places;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The rows that a run uses, in key order, and the number of its source in them.
pub(super) type RowsToJoin = RecordedRows<Rows>;
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Error>> + Send>;

/// Returns how names are read for keys of `key_space`.
fn name_form(key_space: KeySpace) -> NameForm {
    match key_space {
        KeySpace::Tree => NameForm::Path,
        KeySpace::Flat => NameForm::Key,
    }
}

/// Limits the filter of a run to the listed names, if there is a list.
///
/// # Errors
/// [`ErrorKind::Usage`] for a name that can't be listed, or a list for a single file.
pub(super) fn limited(
    mut filter: Filter,
    options: &MirrorOptions,
    places: &Places,
) -> Result<Filter, Error> {
    if options.delete.is_some_and(|delete| delete.excluded) {
        filter = filter.deleting_excluded();
    }
    let is_remote = places.source.capabilities().remote;
    let asked = [
        (options.policy.safe_links, Setting::SafeLinks),
        (options.policy.preserve.follows_links, Setting::CopyLinks),
        (filter.directories().one_file_system, Setting::OneFileSystem),
        (filter.directories().exclude_caches, Setting::ExcludeCaches),
        (filter.directories().ignore_files, Setting::IgnoreFiles),
        (!filter.directories().exclude_if_present.is_empty(), Setting::ExcludeIfPresent),
    ];
    if let Some((_, setting)) = asked.into_iter().find(|(is_asked, _)| is_remote && *is_asked) {
        let message = "the source is a bucket, whose directories are not read one by one";
        return Err(Error::new(ErrorKind::Usage, message).help(hint![
            "leave ",
            setting,
            " out, or name patterns by ",
            Setting::Exclude
        ]));
    }
    let Some(text) = &options.files_from else { return Ok(filter) };
    let usage = |message: String| Error::new(ErrorKind::Usage, message);
    if places.source.only.is_some() {
        let message = "a list of names needs a directory as source".to_owned();
        return Err(usage(message).help(hint!["leave ", Setting::FilesFrom, " out"]));
    }
    let missing = if options.delete.is_some() { Missing::IsAbsent } else { Missing::Fails };
    let names = NameList::parse(text, name_form(places.key_space()), missing)
        .map_err(|error| usage(error.to_string()).help("names are relative to the source"))?;
    Ok(filter.limited_to(Arc::new(names)))
}

/// Puts rows into a box.
pub(super) fn boxed<'r, R: RowCursor + 'r>(
    recorded: RecordedRows<R>,
) -> RecordedRows<Box<dyn RowCursor + 'r>> {
    let RecordedRows { rows, from } = recorded;
    RecordedRows { rows: Box::new(rows), from }
}

impl Session<'_> {
    pub(super) fn listing(&self) -> ListOptions {
        ListOptions {
            filter: Arc::clone(&self.filter),
            only: self.places.source.only.clone(),
            key_space: self.places.key_space(),
        }
    }

    /// Returns the options of the target's listing, in which excluded entries are listed only to
    /// delete them.
    pub(super) fn target_listing(&self) -> ListOptions {
        let all = self.options.delete.is_some_and(|delete| delete.excluded);
        let filter = if all { Arc::clone(&self.backup_filter) } else { Arc::clone(&self.filter) };
        ListOptions { filter, ..self.listing() }
    }

    /// Returns the state's rows of the keys that this run is about.
    pub(super) fn rows(&self, state: &State) -> Result<RowsToJoin, Error> {
        let from = state.number()?;
        let rows: Rows = match (&self.places.source.only, self.filter.names()) {
            // A file may be replaced by a file or a directory of its name.
            (Some(name), _) => {
                let keys = [Key::new(&**name), Key::child(b"", name, true)];
                let rows = keys.iter().filter_map(|key| state.row(key).transpose());
                Box::new(rows.collect::<Vec<_>>().into_iter())
            }
            (None, Some(names)) => {
                Box::new(state.rows_of_keys(names.keys(name_form(self.places.key_space())))?)
            }
            (None, None) => Box::new(state.rows()?),
        };
        Ok(self.take_part(RowsToJoin { rows, from }))
    }

    /// Filters rows of keys that the listings don't have: all but those of a single file or of a
    /// list, and
    /// between two stores, which have no directories, those of directories from another source.
    pub(super) fn take_part(&self, recorded: RowsToJoin) -> RowsToJoin {
        let RowsToJoin { rows, from } = recorded;
        let with_rows = |rows| RowsToJoin { rows, from };
        if let Some(name) = self.places.source.only.clone() {
            let is_it = move |row: &Row| row.key.trimmed() == &*name;
            return with_rows(Box::new(rows.filter(move |row| row.as_ref().map_or(true, &is_it))));
        }
        if let Some(names) = self.filter.names().cloned() {
            let is_listed = move |row: &Row| names.takes(&row.key);
            return with_rows(Box::new(
                rows.filter(move |row| row.as_ref().map_or(true, &is_listed)),
            ));
        }
        if self.places.key_space() == KeySpace::Tree {
            return with_rows(rows);
        }
        let is_listed = move |row: &Row| row.kind != EntryKind::Directory || row.from == from;
        with_rows(Box::new(rows.filter(move |row| row.as_ref().map_or(true, is_listed))))
    }

    /// Returns the state's rows of the keys that this run is about, those of unchanged files
    /// undecoded where all rows are wanted.
    pub(super) fn judged_rows<'p>(
        &self,
        state: &State,
        policy: &'p Policy,
        achievable: &'p dyn Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Result<RecordedRows<Box<dyn RowCursor + 'p>>, Error> {
        let are_all = self.places.source.only.is_none() && self.filter.names().is_none();
        // A bag doesn't hold all files.
        if !are_all || self.places.key_space() == KeySpace::Flat || self.options.bag.is_some() {
            return Ok(boxed(self.rows(state)?.read_ahead()));
        }
        let rows = JudgedRows::new(state.lazy_rows()?, policy, achievable);
        Ok(RecordedRows { rows: Box::new(rows), from: state.number()? })
    }

    pub(super) fn join<R: RowCursor>(
        &self,
        source: Listing,
        target: Listing,
        recorded: RecordedRows<R>,
    ) -> Result<Join<OrderChecked, OrderChecked, R>, Error> {
        let source = OrderChecked::new(self.without_marker(source), Side::Source);
        Join::new(
            source,
            OrderChecked::new(target, Side::Target),
            recorded,
            self.places.key_space(),
        )
    }

    /// Filters the source's root out of its listing if the target can't have an entry for it.
    fn without_marker(&self, listing: Listing) -> Listing {
        let has_root_entry = self.places.target.has_root_entry();
        if self.places.key_space() == KeySpace::Tree || has_root_entry {
            return listing;
        }
        let is_marker = |item: &Result<ListItem, Error>| matches!(item, Ok(ListItem::Entry(entry)) if entry.key.is_root());
        Box::new(listing.filter(move |item| !is_marker(item)))
    }

    /// Adds recorded metadata to a source's listing that has none, or what a file system doesn't
    /// keep. It comes from the state of earlier runs into that source, or else from the manifest
    /// published in it: on a machine without records, a restore gets metadata and digests from
    /// there. Once a run has completed, its own rows have them, too, and a store's manifest is read
    /// only if it told more than the store has.
    pub(super) fn enrich(
        &self,
        source: &dyn Source,
        listing: Listing,
        reads_manifest: bool,
    ) -> Result<Listing, Error> {
        let Places { source: place, .. } = self.places;
        if place.only.is_some() {
            return Ok(listing);
        }
        let lists_metadata = source.capabilities().lists_metadata;
        if let Some((state, tells_more)) = self.state_of_source() {
            let is_needed = tells_more || !lists_metadata;
            return if is_needed { self.enrich_from_state(state, listing) } else { Ok(listing) };
        }
        if !lists_metadata && !reads_manifest {
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
            let tells_more = latest.head.tells_more_than_target();
            if lists_metadata && !tells_more {
                return Ok(None);
            }
            self.source_tells.store(tells_more && !lists_metadata, Ordering::Relaxed);
            if let Some(fault) = fault {
                self.notice(used_instead(&latest, Some(&fault), None));
            }
            Ok(Some((Merged::of(&kept, &latest.head)?, latest.head.sources())))
        });
        match published {
            Ok(Some((merged, sources))) => {
                let rows = merged.map(|row| row.map(|(row, _)| row));
                Ok(self.enrich_from_rows(listing, rows, &sources))
            }
            Ok(None) => Ok(listing),
            Err(error) if error.kind == ErrorKind::Damaged || lists_metadata => {
                let (source, cause) = (place.name.clone(), error.sentence());
                self.notice(Notice::SourceManifestUnusable { source, cause });
                Ok(listing)
            }
            // Its metadata would be lost, since no later run would read it again.
            Err(error) => Err(self.manifest_unreadable(Side::Source, error)),
        }
    }

    fn enrich_from_rows(
        &self,
        listing: Listing,
        rows: impl Iterator<Item = Result<Row, Error>> + Send + 'static,
        sources: &[RecordedSource],
    ) -> Listing {
        let broke_off = Arc::clone(&self.record_broke_off);
        let mapper = self.mapper.get().cloned().flatten();
        let rows = rows.map(move |row| {
            row.map(|mut row| {
                if let Some(mapper) = &mapper {
                    mapper.map_recorded(&mut row.metadata, row.kind);
                    let meant = row.extras.as_mut().and_then(|extras| extras.meant.as_mut());
                    if let Some(meant) = meant {
                        mapper.map_recorded(meant, row.kind);
                    }
                }
                row
            })
        });
        Box::new(EnrichedListing::new(listing, rows, broke_off, sources, self.places.key_space()))
    }

    /// Reports if the record of the source could not be read to its end.
    pub(super) fn report_broken_record(&self) {
        if let Some(error) = self.record_broke_off.get() {
            let (source, cause) = (self.places.source.name.clone(), error.sentence());
            self.notice(Notice::SourceRecordBreaksOff { source, cause });
        }
    }

    /// Returns the state of runs into the source, and whether that tells more of entries than the
    /// source has.
    fn state_of_source(&self) -> Option<(State, bool)> {
        let Places { source, .. } = self.places;
        let latest = State::latest_into(&self.options.state_dir, &source.name);
        let found = latest.and_then(|state| {
            let tells_more = state.as_ref().map(State::knows_more_than_target).transpose()?;
            Ok(state.zip(tells_more))
        });
        found.unwrap_or_else(|error| {
            let (source, cause) = (source.name.clone(), error.sentence());
            self.notice(Notice::SourceRecordUnusable { source, cause });
            None
        })
    }

    fn enrich_from_state(&self, state: State, listing: Listing) -> Result<Listing, Error> {
        // Rows before the first listed key are not needed.
        let mut listing = listing.peekable();
        let first = match listing.peek() {
            Some(Ok(item)) => item.key().clone(),
            _ => Key::root(),
        };
        let (rows, sources) = (state.rows_from(&first)?, state.recorded_sources()?);
        let rows = rows.map(move |row| {
            let mut row = row?;
            state.load_attributes(&mut row)?;
            Ok(row)
        });
        Ok(self.enrich_from_rows(Box::new(listing), rows, &sources))
    }

    /// Returns the names of users and groups that the manifest in the source tells, if owners are
    /// given by name.
    fn names_in(&self, source: &dyn Source) -> Result<RecordedNames, Error> {
        if !self.options.mapping.by_name {
            return Ok(RecordedNames::default());
        }
        let found = ManifestReader::of(source, &self.spool_dir()).latest_or_highest();
        let found = found.map_err(|error| self.manifest_unreadable(Side::Source, error))?;
        let names = found.map(|(latest, _)| latest.head.names()).unwrap_or_default();
        if names.is_empty() {
            self.notice(Notice::NamesUnknown { source: self.places.source.name.clone() });
        }
        Ok(names)
    }

    /// Returns the directory of spool files: a dry run makes no state.
    fn spool_dir(&self) -> PathBuf {
        if self.options.dry_run { std::env::temp_dir() } else { self.options.state_dir.clone() }
    }

    /// Opens both sides; see [`Opener::sides`](crate::place::Opener::sides).
    pub(super) fn open(&self) -> Result<Sides, Error> {
        let Places { source, target, .. } = self.places;
        if self.options.policy.trust.ignore_inode {
            source.ignore_inodes();
            target.ignore_inodes();
        }
        if self.options.policy.preserve.follows_links {
            source.follow_links();
        }
        let Preserve { atimes: accessed, flags, .. } = self.options.policy.preserve;
        let listed = ListedExtras { accessed, flags };
        source.list_extras(listed);
        target.list_extras(listed);
        // The run's id identifies the lock's holder, and this token its temporaries.
        let token = self.run.token().map_or_else(random, Ok)?;
        let writes = Writes {
            durability: self.options.durability,
            token,
            backup: self.backup.as_ref(),
            clears_flags: flags,
        };
        let Sides { source, target } = self.opener.sides(source, target, writes)?;
        let mapper = if let Some(mapper) = self.mapper.get() {
            mapper
        } else {
            let mapper = Mapper::new(&self.options.mapping, self.names_in(&*source)?);
            self.mapper.get_or_init(|| mapper)
        };
        Ok(Sides { source: MappedSource::around(source, mapper.as_ref()), target })
    }
}
