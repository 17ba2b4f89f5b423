//! What an attempt to copy a file has come to.

use super::attributes::Kept;
use super::{Context, Purpose};
use crate::backend::{Facts, Inspected, Piece, Stage};
use crate::model::{
    AttributeKinds, Cause, Digest, Entry, ExtraDigests, Feature, InFlight, Progress, Timestamp,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes: files of at least this size are shown while they are copied.
const SHOWN_SIZE: u64 = 4 << 20;

/// The state of an attempt.
pub(super) struct Copying {
    pub(super) began: Timestamp,
    /// The digest of all content, once that is known.
    pub(super) digest: Option<Digest>,
    pub(super) extra: ExtraDigests,
    pub(super) stage: Option<Box<dyn Stage>>,
    /// Bytes written.
    pub(super) done: u64,
    /// Bytes that the target has as holes.
    pub(super) skipped: u64,
    /// Bytes that an earlier run wrote.
    pub(super) resumed: u64,
    pub(super) facts: Option<Box<Facts>>,
    pub(super) read_entry: Option<Entry>,
    pub(super) link: Option<Box<[u8]>>,
    pub(super) kept: Kept,
    /// Why the source's content can't be copied, where reading was aborted for it.
    pub(super) fault: Option<Cause>,
    pub(super) purpose: Purpose,
}

impl Copying {
    /// Finds out which attributes the copy gets, and which features of the file it lacks.
    pub(super) fn inspect(
        &mut self,
        context: &Context<'_>,
        entry: &Entry,
        inspect: impl FnOnce() -> Inspected,
    ) {
        if self.purpose != Purpose::Mirror {
            let mut read_entry = entry.clone();
            self.kept = context.mended(&mut read_entry, || Ok(inspect()));
            self.read_entry = Some(read_entry);
            return;
        }
        let inspected = inspect();
        let has_holes = inspected.features.has(Feature::Holes);
        let is_told = entry.extras.as_ref().is_some_and(|it| it.told != AttributeKinds::NONE);
        let is_plain =
            inspected.attributes.is_empty() && inspected.mode == entry.metadata.mode && !is_told;
        let mut read_entry = entry.clone();
        self.kept = context.kept(inspected, &mut read_entry);
        if !is_plain || has_holes {
            if has_holes {
                // They are recorded, and a store keeps that with the object.
                read_entry.extras.get_or_insert_default().holes = true;
            }
            self.read_entry = Some(read_entry);
        }
    }

    /// Keeps the facts about the entry that reading returned.
    pub(super) fn set_facts(&mut self, context: &Context<'_>, entry: &Entry, facts: Box<Facts>) {
        match self.purpose {
            Purpose::Mirror => {}
            Purpose::Mend { headers: true } => return self.facts = Some(facts),
            Purpose::Mend { headers: false } => {
                let (mut found, mut read_entry) = (entry.clone(), entry.clone());
                facts.apply_to(&mut found);
                self.kept = context.mended(&mut read_entry, || Ok(Inspected::told(&found)));
                self.read_entry = Some(read_entry);
                return;
            }
        }
        let mut read_entry = entry.clone();
        facts.apply_to(&mut read_entry);
        self.kept = context.kept(Inspected::told(&read_entry), &mut read_entry);
        (self.read_entry, self.facts) = (Some(read_entry), Some(facts));
    }
}

/// What several threads moved of a file.
#[derive(Default)]
pub(super) struct Moved {
    done: AtomicU64,
    skipped: AtomicU64,
    /// How many intervals were over when a thread last asked.
    intervals: AtomicU64,
}

impl Moved {
    /// Counts a piece.
    pub(super) fn add(&self, piece: Piece<'_>, progress: &Progress) {
        progress.bytes_moved.add(piece.stored());
        self.done.fetch_add(piece.stored(), Ordering::Relaxed);
        self.skipped.fetch_add(piece.size() - piece.stored(), Ordering::Relaxed);
    }

    /// Returns the bytes that were moved, and those of holes.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.skipped.load(Ordering::Relaxed))
    }

    /// Returns whether another `interval` of bytes was written; true to one thread for each.
    pub(super) fn is_due(&self, interval: u64) -> bool {
        let over = self.done.load(Ordering::Relaxed) / interval;
        self.intervals.fetch_max(over, Ordering::Relaxed) < over
    }

    /// Returns the sum of both.
    pub(super) fn all(&self) -> u64 {
        let (done, skipped) = self.counts();
        done + skipped
    }
}

pub(super) fn is_shown(entry: &Entry) -> bool {
    entry.size() >= SHOWN_SIZE
}

pub(super) fn in_flight(entry: &Entry, done: u64) -> InFlight {
    InFlight { key: entry.key.clone(), size: entry.stamp.size, done }
}

pub(super) fn show(context: &Context<'_>, slot: usize, in_flight: Option<InFlight>) {
    let mut slots = context.progress.in_flight.lock();
    if slots.len() <= slot {
        slots.resize(slot + 1, None);
    }
    slots[slot] = in_flight;
}
