//! What tells two places apart: their manifests, or listings where there are none.
//!
//! [`diff`] joins two streams in key order, one of each side, and holds neither. A side with a
//! manifest is not looked at itself: what it tells was true when its last run ended. A side without
//! one is listed; digests are not known there, and nothing is read to find them out.

mod join;
mod told;

pub use told::{Difference, Evidence, Sign, Teller, Told};

use super::manifest::{Found, ManifestAt, OpenManifest};
use crate::backend::{Form, ListItem, ListOptions, Listing, Source};
use crate::listing::Checked;
use crate::model::error::Side;
use crate::model::{
    Cause, EntryError, EntryKind, Error, ErrorKind, Operation, Progress, RunId, Stop, Totals,
    Verdict,
};
use join::{Item, Items, Join, Joined};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to compare.
#[derive(Debug)]
pub struct DiffOptions {
    /// One side.
    pub a: ManifestAt,
    /// The other one.
    pub b: ManifestAt,
    /// Leave mode, owner, group and mtime out.
    pub content_only: bool,
}

/// One of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
}

/// Takes what is found, in key order.
pub trait DiffObserver {
    /// Takes what one side alone has.
    fn only(&mut self, which: Which, told: &Told);
    /// Takes a difference of what both have.
    fn differs(&mut self, difference: &Difference, a: &Told, b: &Told);
    /// Takes a part of one side that could not be listed; what the other has there is no difference.
    fn failed(&mut self, which: Which, error: &EntryError);
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DiffTotals {
    /// Keys that at least one side has.
    pub entries: u64,
    /// Files whose digests are known on both sides.
    pub files_by_digest: u64,
    /// Files of which size, and at most the time, was compared.
    pub files_by_size: u64,
    /// Those among them that a manifest has no digest of.
    pub files_unproven: u64,
    /// Keys that only A has.
    pub only_in_a: u64,
    /// Keys that only B has.
    pub only_in_b: u64,
    /// Keys at which the sides have entries of two types.
    pub type_differs: u64,
    /// Files whose content differs.
    pub content_differs: u64,
    /// Symbolic links whose text differs.
    pub link_differs: u64,
    /// Entries whose metadata differs.
    pub metadata_differs: u64,
    /// Keys that one side has where the other could not be listed.
    pub unknown: u64,
    /// Parts of a side that could not be listed.
    pub failed: u64,
}

impl DiffTotals {
    /// All differences; an entry may have several.
    pub fn differences(&self) -> u64 {
        self.only_in_a
            + self.only_in_b
            + self.type_differs
            + self.content_differs
            + self.link_differs
            + self.metadata_differs
    }
}

/// What a side's entries were taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Its manifest.
    Manifest {
        /// The run that published it.
        run: RunId,
        /// How that went: one that is incomplete may lack what it failed at.
        verdict: Verdict,
    },
    /// A listing.
    Listing,
}

/// How a comparison ended.
#[derive(Debug)]
pub struct DiffOutcome {
    /// What A's and B's entries were taken from.
    pub bases: [Basis; 2],
    /// What was counted.
    pub totals: DiffTotals,
    /// The requests to stores.
    pub counted: Totals,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Compares two places. Memory is bounded by what a manifest's reader and a listing hold.
///
/// # Errors
/// [`ErrorKind::Manifest`] when a manifest can't be used, [`ErrorKind::Unusable`] when a location
/// can't be read.
pub fn diff(
    options: &DiffOptions,
    observer: &mut dyn DiffObserver,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<DiffOutcome, Error> {
    let began = Instant::now();
    let a = OpenManifest::find(&options.a, progress, stop)?;
    let b = OpenManifest::find(&options.b, progress, stop)?;
    let forms = forms(&a, &b);
    let bases = [basis(&a), basis(&b)];
    let items = Join::new(items(a, forms[0], &options.a)?, items(b, forms[1], &options.b)?);
    let mut tally = Tally { observer, forms, totals: DiffTotals::default() };
    for joined in items {
        if stop.requested() {
            break;
        }
        tally.take(joined?, options.content_only);
    }
    Ok(DiffOutcome {
        bases,
        totals: tally.totals,
        counted: progress.totals(),
        duration: began.elapsed(),
        interrupted: stop.requested(),
    })
}

fn basis(found: &Found) -> Basis {
    match found {
        Found::Manifest(open) => {
            let head = &open.latest.head;
            Basis::Manifest { run: head.run.clone(), verdict: head.verdict }
        }
        Found::Bare(_) => Basis::Listing,
    }
}

/// Which forms the keys of the two sides have: a listing of a store has the form that the other side
/// has, where that is free to choose too, each key stands for itself.
fn forms(a: &Found, b: &Found) -> [Form; 2] {
    let given = |found: &Found| match found {
        Found::Manifest(open) => Some(open.latest.head.options.form),
        Found::Bare(source) => source.object().is_none().then_some(Form::Tree),
    };
    match (given(a), given(b)) {
        (None, None) => [Form::Flat; 2],
        (a, b) => [a.or(b), b.or(a)].map(Option::unwrap_or_default),
    }
}

fn items(found: Found, form: Form, at: &ManifestAt) -> Result<Items, Error> {
    match found {
        Found::Manifest(open) => {
            let rows = open.rows(&open.latest.head)?;
            Ok(Box::new(rows.map(move |row| {
                let (row, _) = row?;
                Ok(Item::Told(Told::by_row(row, form)))
            })))
        }
        Found::Bare(source) => Ok(Box::new(listed(list(&*source, form, at)?))),
    }
}

fn list(source: &dyn Source, form: Form, at: &ManifestAt) -> Result<Listing, Error> {
    if let Some(place) = source.object()
        && !place.has_entries()?
        && !place.prefix.is_empty()
    {
        let message = format!("there is nothing at \"{}\"", at.location);
        return Err(Error::new(ErrorKind::Unusable, message)
            .help("check its spelling: no key begins with this prefix"));
    }
    source.list(&ListOptions { filter: Arc::default(), only: None, form })
}

/// What a listing tells; temporaries are not told.
fn listed(listing: Listing) -> impl Iterator<Item = Result<Item, Error>> + Send {
    Checked::new(listing, Side::Source).filter_map(|item| {
        Some(Ok(match item {
            Err(error) => return Some(Err(error)),
            Ok(ListItem::Entry(entry)) => Item::Told(Told::by_listing(entry)),
            Ok(
                ListItem::Leftover(_)
                | ListItem::Failed(EntryError { cause: Cause::ReservedName, .. }),
            ) => return None,
            Ok(ListItem::Failed(error) | ListItem::BrokeOff(error)) => Item::Failed(error),
            Ok(ListItem::LeftOut(key, why)) => {
                let (operation, side, cause) = (Operation::List, Side::Source, Cause::Other(why));
                Item::Failed(EntryError { operation, side, key, cause })
            }
        }))
    })
}

/// What was found so far.
struct Tally<'o> {
    observer: &'o mut dyn DiffObserver,
    /// The forms of both sides' keys.
    forms: [Form; 2],
    totals: DiffTotals,
}

impl Tally<'_> {
    fn take(&mut self, joined: Joined, content_only: bool) {
        match joined {
            Joined::Failed(which, error) => {
                self.totals.failed += 1;
                return self.observer.failed(which, &error);
            }
            Joined::Unknown => self.totals.unknown += 1,
            Joined::Only(which, told) => self.only(which, &told),
            Joined::Both(a, b) => self.both(&a, &b, content_only),
        }
        self.totals.entries += 1;
    }

    fn only(&mut self, which: Which, told: &Told) {
        let (own, other) = match which {
            Which::A => (self.forms[0], self.forms[1]),
            Which::B => (self.forms[1], self.forms[0]),
        };
        // Where each key stands for itself there are no directories.
        let is_directory = told.kind == Some(EntryKind::Directory);
        if is_directory && (own, other) == (Form::Tree, Form::Flat) {
            return;
        }
        match which {
            Which::A => self.totals.only_in_a += 1,
            Which::B => self.totals.only_in_b += 1,
        }
        self.observer.only(which, told);
    }

    fn both(&mut self, a: &Told, b: &Told, content_only: bool) {
        let (evidence, differences) = told::compare(a, b, content_only);
        match evidence {
            Some(Evidence::Digest) => self.totals.files_by_digest += 1,
            Some(Evidence::SizeAndTime { unproven }) => {
                self.totals.files_by_size += 1;
                self.totals.files_unproven += u64::from(unproven);
            }
            None => {}
        }
        for difference in differences {
            *match difference {
                Difference::Type => &mut self.totals.type_differs,
                Difference::Content(_) => &mut self.totals.content_differs,
                Difference::Link => &mut self.totals.link_differs,
                Difference::Metadata(_) => &mut self.totals.metadata_differs,
            } += 1;
            self.observer.differs(&difference, a, b);
        }
    }
}

#[cfg(test)]
mod tests;
