//! Comparison of two places as listed now, using the digests in their manifests.
//!
//! [`diff`] joins two ordered streams, one for each `side`, and holds neither in memory. A digest
//! from a manifest counts as long as the target's recorded stamp matches the listed one. Files
//! without a digest are compared by size and time, or `read` on request. If only manifests are to
//! be compared, or a side is a mere copy of a manifest, no place is listed: the manifest describes
//! the state at the end of its last run.

mod entry;
mod join;
mod read;
mod side;

pub use side::Basis;

use super::manifest::ManifestAt;
use crate::backend::layer::{BandwidthLimit, PacedSource};
use crate::backend::{KeySpace, Source};
use crate::engine::Cores;
use crate::model::{
    DiffFinding, EntryKind, Error, Event, Keeps, Mismatch, Observer, Progress, Stop, Totals, Which,
};
use entry::{Evidence, SideEntry};
use join::{Join, Joined};
use read::Reader;
use side::Side;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries whose content is read concurrently before they are reported in order.
const BATCH: usize = 1_024;

/// What to compare.
#[derive(Debug)]
pub struct DiffOptions {
    /// One side.
    pub a: ManifestAt,
    /// The other one.
    pub b: ManifestAt,
    /// Compare manifests only, and list neither place.
    pub recorded: bool,
    /// Read files that have the same size on both sides and lack a digest.
    pub content: bool,
    /// Compare mode, owner, group and mtime.
    pub metadata: bool,
    /// Files read at the same time, at least 1.
    pub checkers: usize,
}

/// The counts of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DiffTotals {
    /// Everything examined: each key of either side, and each part of a side that could not be
    /// listed. Each failure is one of these.
    pub entries: u64,
    /// Files whose digests are known on both sides.
    pub files_by_digest: u64,
    /// Of these, files that were read for it, on one side or both.
    pub files_read: u64,
    /// Bytes read on both sides.
    pub bytes_hashed: u64,
    /// Files compared by size, and by time if both are known.
    pub files_by_size: u64,
    /// Of these, files that a manifest lists without a digest.
    pub files_unproven: u64,
    /// Of these, files of the same size and time that were touched since a manifest recorded their
    /// digest: only reading them would show whether the content is the same.
    pub files_touched: u64,
    /// Keys that only A has.
    pub only_in_a: u64,
    /// Keys that only B has.
    pub only_in_b: u64,
    /// Keys at which the sides have entries of different types.
    pub type_differs: u64,
    /// Files whose content differs.
    pub content_differs: u64,
    /// Symbolic links whose text differs.
    pub link_differs: u64,
    /// Entries whose metadata differs.
    pub metadata_differs: u64,
    /// Keys of one side at which the other could not be listed.
    pub unknown: u64,
    /// Parts of a side that could not be listed, and files that could not be read.
    pub failed: u64,
}

impl DiffTotals {
    /// Returns the number of differences; an entry may have several.
    pub fn differences(&self) -> u64 {
        self.only_in_a
            + self.only_in_b
            + self.type_differs
            + self.content_differs
            + self.link_differs
            + self.metadata_differs
    }
}

/// The result of a comparison.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiffOutcome {
    /// Where A's and B's entries were taken from.
    pub bases: [Basis; 2],
    /// The counts of the comparison.
    pub totals: DiffTotals,
    /// Counts of requests to stores.
    pub counted: Totals,
    /// The duration.
    pub duration: Duration,
    /// Whether it was stopped early.
    pub interrupted: bool,
}

/// Compares two places, and reports what is found in key order. Memory is bounded by that of a manifest reader and a listing.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if a manifest can't be used,
/// [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) if a location can't be read.
pub fn diff(
    options: &DiffOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<DiffOutcome, Error> {
    let began = Instant::now();
    let a = Side::open(&options.a, options.recorded, progress, stop)?;
    let b = Side::open(&options.b, options.recorded, progress, stop)?;
    let forms = side::forms(&a, &b);
    let bandwidth = BandwidthLimit::new(&options.a.limits, stop);
    let paced = [&a, &b].map(|side| PacedSource::around(side.source()?, bandwidth.as_ref()));
    let reader = options.content.then(|| Reader {
        sources: [
            paced[0].as_ref().map(|paced| paced as &dyn Source).or(a.source()),
            paced[1].as_ref().map(|paced| paced as &dyn Source).or(b.source()),
        ],
        checkers: options.checkers,
        cores: Cores::default(),
        progress,
        stop,
    });
    let mut items = Join::new(a.items(forms[0])?, b.items(forms[1])?);
    let keeps = [a.keeps(), b.keeps()];
    let (metadata, totals) = (options.metadata, DiffTotals::default());
    let mut tally = Tally { observer, forms, keeps, metadata, totals };
    while !stop.requested() {
        let Some(joined) = items.next() else { break };
        let Some(reader) = &reader else {
            tally.take(joined?);
            continue;
        };
        // Read concurrently, but reported in order.
        let mut batch = vec![joined?];
        while batch.len() < BATCH
            && let Some(joined) = items.next()
        {
            batch.push(joined?);
        }
        for joined in reader.read(batch) {
            tally.take(joined);
        }
    }
    tally.totals.bytes_hashed = progress.totals().bytes_hashed;
    for (which, side) in [(Which::A, &a), (Which::B, &b)] {
        for notice in side.source().iter().flat_map(|source| source.notices()) {
            observer.observe(&Event::SideNotice { which, notice });
        }
    }
    Ok(DiffOutcome {
        bases: [a.basis(), b.basis()],
        totals: tally.totals,
        counted: progress.totals(),
        duration: began.elapsed(),
        interrupted: stop.requested(),
    })
}

/// Counts and reports what is found.
struct Tally<'o> {
    observer: &'o dyn Observer,
    /// The key spaces of both sides.
    forms: [KeySpace; 2],
    /// Which metadata each side can store.
    keeps: [Keeps; 2],
    /// Whether metadata is compared.
    metadata: bool,
    totals: DiffTotals,
}

impl Tally<'_> {
    fn take(&mut self, joined: Joined) {
        match joined {
            Joined::Failed(which, error) => {
                self.totals.failed += 1;
                self.observer.observe(&Event::SideFailed { which, error });
            }
            Joined::Unknown => self.totals.unknown += 1,
            Joined::Only(which, side) => self.only(which, side),
            Joined::Both(a, b) => self.both(&a, &b),
        }
        self.totals.entries += 1;
    }

    fn only(&mut self, which: Which, SideEntry { entry, .. }: SideEntry) {
        let (own, other) = match which {
            Which::A => (0, 1),
            Which::B => (1, 0),
        };
        // A flat side has no directories.
        let has_none = (self.forms[own], self.forms[other]) == (KeySpace::Tree, KeySpace::Flat)
            || !self.keeps[other].directories;
        if entry.kind == Some(EntryKind::Directory) && has_none {
            return;
        }
        if entry.kind == Some(EntryKind::Symlink) && !self.keeps[other].links {
            if self.metadata {
                self.totals.metadata_differs += 1;
                self.report(DiffFinding::NoLink { which, entry });
            }
            return;
        }
        match which {
            Which::A => self.totals.only_in_a += 1,
            Which::B => self.totals.only_in_b += 1,
        }
        self.report(DiffFinding::Only { which, entry });
    }

    fn both(&mut self, a: &SideEntry, b: &SideEntry) {
        let (evidence, mismatches) = entry::compare(a, b, self.metadata.then_some(&self.keeps));
        match evidence {
            Some(Evidence::Digest) => {
                self.totals.files_by_digest += 1;
                self.totals.files_read += u64::from(a.is_read || b.is_read);
            }
            Some(Evidence::SizeAndTime { unproven, touched }) => {
                self.totals.files_by_size += 1;
                self.totals.files_unproven += u64::from(unproven);
                self.totals.files_touched += u64::from(touched);
            }
            None => {}
        }
        for mismatch in mismatches {
            *match mismatch {
                Mismatch::Type => &mut self.totals.type_differs,
                Mismatch::Content(_) => &mut self.totals.content_differs,
                Mismatch::Link => &mut self.totals.link_differs,
                Mismatch::Metadata(_) => &mut self.totals.metadata_differs,
            } += 1;
            let (a, b) = (a.entry.clone(), b.entry.clone());
            self.report(DiffFinding::Differs { mismatch, a, b });
        }
    }

    fn report(&self, finding: DiffFinding) {
        self.observer.observe(&Event::SideDifference(Box::new(finding)));
    }
}

#[cfg(test)]
mod tests;
