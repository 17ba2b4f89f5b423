//! One side of a comparison: a place as it is listed now, or a manifest alone.

use super::entry::SideEntry;
use super::join::{Item, Items};
use crate::backend::{KeySpace, ListItem, ListOptions, Source};
use crate::listing::OrderChecked;
use crate::manifest::Row;
use crate::manifest::published::Merged;
use crate::model::error::Side as OfMirror;
use crate::model::hint::hint;
use crate::model::{
    Cause, EntryError, Error, ErrorKind, Keeps, Key, Operation, Progress, RunId, Setting, Stop,
    Verdict,
};
use crate::session::manifest::{Found, ManifestAt, OpenManifest, no_manifest_at};
use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

/// Where a side's entries are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Its manifest only.
    Manifest {
        /// The run that published it.
        run: RunId,
        /// Its verdict: an incomplete run may lack entries that failed.
        verdict: Verdict,
    },
    /// A listing, with digests from the manifest that this run published, if there is one.
    Listing(Option<RunId>),
}

/// One side, opened.
pub(super) enum Side {
    /// A manifest, whose place is not listed.
    Recorded(Box<OpenManifest>),
    /// A place, with its manifest if it has one.
    Listed(Found),
}

impl Side {
    /// Opens a side. A copy of a manifest, or a file of one, is always compared by the manifest; a
    /// place only if `recorded`.
    pub(super) fn open(
        at: &ManifestAt,
        recorded: bool,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<Self, Error> {
        match OpenManifest::find(at, progress, stop)? {
            Found::Manifest(open) if recorded || open.is_bare() => Ok(Self::Recorded(open)),
            Found::Bare(_) if recorded => Err(no_manifest_at(&at.location).help(hint![
                "without ",
                Setting::Recorded,
                " the places themselves are compared"
            ])),
            found => {
                let side = Self::Listed(found);
                side.has_entries(at)?;
                Ok(side)
            }
        }
    }

    pub(super) fn basis(&self) -> Basis {
        match self {
            Self::Recorded(open) => {
                let head = &open.latest.head;
                Basis::Manifest { run: head.run.clone(), verdict: head.verdict }
            }
            Self::Listed(Found::Manifest(open)) => {
                Basis::Listing(Some(open.latest.head.run.clone()))
            }
            Self::Listed(Found::Bare(_)) => Basis::Listing(None),
        }
    }

    /// Returns the source to read content from, if it can be read.
    pub(super) fn source(&self) -> Option<&dyn Source> {
        match self {
            Self::Recorded(_) => None,
            Self::Listed(Found::Manifest(open)) => Some(open.source()),
            Self::Listed(Found::Bare(source)) => Some(&**source),
        }
    }

    /// Returns the key space, if it isn't free to choose.
    fn key_space(&self) -> Option<KeySpace> {
        match self {
            Self::Recorded(open) | Self::Listed(Found::Manifest(open)) => {
                Some(open.latest.head.options.key_space)
            }
            Self::Listed(Found::Bare(source)) => {
                (!source.capabilities().flat_keys).then_some(KeySpace::Tree)
            }
        }
    }

    /// Returns which metadata it can store, as found by the last run into it, if that is published.
    pub(super) fn keeps(&self) -> Keeps {
        let options = match self {
            Self::Recorded(open) | Self::Listed(Found::Manifest(open)) => {
                Some(&open.latest.head.options)
            }
            Self::Listed(Found::Bare(_)) => None,
        };
        options.and_then(|options| options.keeps).unwrap_or_default()
    }

    /// Returns its items, in key order.
    pub(super) fn items(&self, key_space: KeySpace) -> Result<Items, Error> {
        let (source, rows) = match self {
            Self::Recorded(open) => {
                let rows = open.rows(&open.latest.head)?;
                return Ok(Box::new(rows.map(move |row| {
                    let (row, _) = row?;
                    Ok(Item::Entry(SideEntry::by_row(row, key_space)))
                })));
            }
            Self::Listed(Found::Manifest(open)) => {
                (open.source(), Some(open.rows(&open.latest.head)?))
            }
            Self::Listed(Found::Bare(source)) => (&**source, None),
        };
        let listing =
            source.list(&ListOptions { filter: Arc::default(), only: None, key_space })?;
        let listing = OrderChecked::new(listing, OfMirror::Source);
        let mut rows = Rows(rows.into_iter().flatten().peekable());
        Ok(Box::new(
            listing.filter_map(move |item| item_of(item, &mut rows, key_space).transpose()),
        ))
    }

    /// Checks that there is something at the location.
    fn has_entries(&self, at: &ManifestAt) -> Result<(), Error> {
        if let Self::Listed(Found::Bare(source)) = self
            && !source.exists()?
        {
            let message = format!("there is nothing at \"{}\"", at.location);
            return Err(Error::new(ErrorKind::Unusable, message)
                .help("check its spelling: no key begins with this prefix"));
        }
        Ok(())
    }
}

/// Chooses the key spaces of the two sides: a store is listed as the other side requires; if both
/// are free to choose, the key space is flat.
pub(super) fn forms(a: &Side, b: &Side) -> [KeySpace; 2] {
    match (a.key_space(), b.key_space()) {
        (None, None) => [KeySpace::Flat; 2],
        (a, b) => [a.or(b), b.or(a)].map(Option::unwrap_or_default),
    }
}

/// The rows of the manifest at a place, read in key order.
struct Rows(Peekable<std::iter::Flatten<std::option::IntoIter<Merged>>>);

impl Rows {
    /// Returns the row of a key; keys must be requested in order.
    fn of(&mut self, key: &Key) -> Result<Option<Row>, Error> {
        loop {
            let order = match self.0.peek() {
                None => return Ok(None),
                Some(Err(_)) => Ordering::Less,
                Some(Ok((row, _))) => row.key.cmp(key),
            };
            match order {
                Ordering::Greater => return Ok(None),
                Ordering::Equal => return Ok(self.0.next().transpose()?.map(|(row, _)| row)),
                // The entry no longer exists.
                Ordering::Less => drop(self.0.next().transpose()?),
            }
        }
    }
}

/// Converts an item of a listing; `None` for temporaries.
fn item_of(
    item: Result<ListItem, Error>,
    rows: &mut Rows,
    key_space: KeySpace,
) -> Result<Option<Item>, Error> {
    Ok(Some(match item? {
        ListItem::Entry(entry) => {
            let row = rows.of(&entry.key)?;
            Item::Entry(SideEntry::by_listing(entry, row.as_ref(), key_space))
        }
        ListItem::Excluded(_)
        | ListItem::Ignores(..)
        | ListItem::Leftover(_)
        | ListItem::MountPoint(_)
        | ListItem::Failed(EntryError { cause: Cause::ReservedName, .. }) => return Ok(None),
        ListItem::Failed(error) | ListItem::BrokeOff(error) => Item::Failed(error),
        ListItem::LeftOut(key, why) => {
            Item::Failed(EntryError::on_source(Operation::List, key, Cause::Other(why)))
        }
    }))
}
