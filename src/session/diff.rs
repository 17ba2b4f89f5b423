//! In what two places differ: as they are listed now, with the digests that their manifests have.
//!
//! [`diff`] joins two streams in key order, one of each `side`, and holds neither. A digest of a
//! manifest counts as long as the stamp that stands beside it holds; what has none is compared by size
//! and time, or `read` where that is asked for. Where manifests alone are to be compared, and of what
//! is merely a copy of one, nothing is looked at: what it tells was true when its last run ended.

mod entry;
mod join;
mod read;
mod side;

pub use entry::{DiffEntry, Difference, Evidence, Sign};
pub use side::Basis;

use super::manifest::ManifestAt;
use crate::backend::layer::{BandwidthLimit, PacedSource};
use crate::backend::{KeySpace, Source};
use crate::engine::Cores;
use crate::model::{EntryError, EntryKind, Error, Keeps, Notice, Progress, Stop, Totals};
use join::{Join, Joined};
use read::Reader;
use side::Side;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries whose content is read side by side before they are told, in order.
const BATCH: usize = 1_024;

/// What to compare.
#[derive(Debug)]
pub struct DiffOptions {
    /// One side.
    pub a: ManifestAt,
    /// The other one.
    pub b: ManifestAt,
    /// Go by manifests alone, and look at neither place.
    pub recorded: bool,
    /// Read what no digest is known of, where it is of one size on both sides.
    pub content: bool,
    /// Compare mode, owner, group and mtime.
    pub metadata: bool,
    /// Files read at the same time, at least 1.
    pub checkers: usize,
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
    fn only(&mut self, which: Which, told: &DiffEntry);
    /// Takes a symbolic link of one side, where the other is of a file system without links: that is
    /// a difference of metadata.
    fn no_link(&mut self, which: Which, told: &DiffEntry);
    /// Takes what is worth knowing of a side beside.
    fn notice(&mut self, which: Which, notice: &Notice);
    /// Takes a difference of what both have.
    fn differs(&mut self, difference: &Difference, a: &DiffEntry, b: &DiffEntry);
    /// Takes a part of one side that could not be listed, or a file that could not be read; what the
    /// other has there is no difference.
    fn failed(&mut self, which: Which, error: &EntryError);
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DiffTotals {
    /// What was looked at: each key that a side has, and each part of a side that could not be listed.
    /// What failed is among them, once.
    pub entries: u64,
    /// Files whose digests are known on both sides.
    pub files_by_digest: u64,
    /// Those among them that were read for it, on one side or both.
    pub files_read: u64,
    /// Bytes of both sides that were read.
    pub bytes_hashed: u64,
    /// Files of which size, and at most the time, was compared.
    pub files_by_size: u64,
    /// Those among them that a manifest has no digest of.
    pub files_unproven: u64,
    /// Those among them of the same size and time that a manifest had a digest of before they were
    /// touched: what they hold now only reading tells.
    pub files_touched: u64,
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
    /// Parts of a side that could not be listed, and files that could not be read.
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

/// How a comparison ended.
#[derive(Debug)]
#[non_exhaustive]
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
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when a manifest can't be used, [`ErrorKind::Unusable`](crate::model::ErrorKind::Unusable) when a location
/// can't be read.
pub fn diff(
    options: &DiffOptions,
    observer: &mut dyn DiffObserver,
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
        // Read together, told in order.
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
            tally.observer.notice(which, &notice);
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

/// What was found so far.
struct Tally<'o> {
    observer: &'o mut dyn DiffObserver,
    /// The forms of both sides' keys.
    forms: [KeySpace; 2],
    /// What both sides keep of metadata.
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
                self.observer.failed(which, &error);
            }
            Joined::Unknown => self.totals.unknown += 1,
            Joined::Only(which, told) => self.only(which, &told),
            Joined::Both(a, b) => self.both(&a, &b),
        }
        self.totals.entries += 1;
    }

    fn only(&mut self, which: Which, told: &DiffEntry) {
        let (own, other) = match which {
            Which::A => (0, 1),
            Which::B => (1, 0),
        };
        // Where each key stands for itself there are no directories.
        let has_none = (self.forms[own], self.forms[other]) == (KeySpace::Tree, KeySpace::Flat)
            || !self.keeps[other].directories;
        if told.kind == Some(EntryKind::Directory) && has_none {
            return;
        }
        if told.kind == Some(EntryKind::Symlink) && !self.keeps[other].links {
            if self.metadata {
                self.totals.metadata_differs += 1;
                self.observer.no_link(which, told);
            }
            return;
        }
        match which {
            Which::A => self.totals.only_in_a += 1,
            Which::B => self.totals.only_in_b += 1,
        }
        self.observer.only(which, told);
    }

    fn both(&mut self, a: &DiffEntry, b: &DiffEntry) {
        let (evidence, differences) = entry::compare(a, b, self.metadata.then_some(&self.keeps));
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
