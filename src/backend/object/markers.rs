//! Markers: the objects that stand for directories, empty ones too, and hold their metadata.
//!
//! There are stores that refuse keys which end in `/`, or drop that `/`, so that a file comes of a
//! directory; and buckets whose other users are disturbed by markers. Without them a directory is
//! what lies in it: empty ones, and what directories are like, are not kept, nor recorded.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a place has markers.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// Its user wants none.
    pub(super) are_unwanted: bool,
    /// Its listing has one.
    is_any_listed: AtomicBool,
    /// An earlier run found that it has none.
    had_none: AtomicBool,
    /// What trying came to.
    pub(super) trial: OnceLock<Trial>,
    /// Whether they stay where many objects are deleted by one request, though the reply is that they
    /// are gone; once it was looked at.
    pub(super) outlive_bulk: OnceLock<bool>,
}

/// What trying a marker came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// The store lists it.
    Kept,
    /// It doesn't, or takes none; why, in words.
    NotKept(String),
    /// Nothing was found out.
    Open,
}

impl Markers {
    /// No markers.
    pub(super) fn unwanted() -> Self {
        Self { are_unwanted: true, ..Self::default() }
    }

    /// Whether markers are written, as far as is known.
    pub(super) fn are_written(&self) -> bool {
        !self.are_unwanted && self.lack().is_none()
    }

    /// Whether directories are kept by their markers, as far as is known: what an earlier run found
    /// holds until this one tries.
    pub(super) fn are_kept(&self) -> bool {
        self.are_written() && (self.trial.get().is_some() || !self.had_none())
    }

    pub(super) fn had_none(&self) -> bool {
        self.had_none.load(Ordering::Relaxed)
    }

    /// Whether the listing showed that they are kept, so that nothing has to be tried.
    pub(super) fn need_no_trial(&self) -> bool {
        self.is_any_listed.load(Ordering::Relaxed) && !self.had_none()
    }

    /// Takes note that an earlier run wrote none.
    pub(super) fn recall_none(&self) {
        self.had_none.store(true, Ordering::Relaxed);
    }

    /// Takes note that the place's listing has one.
    pub(super) fn are_shown(&self) {
        self.is_any_listed.store(true, Ordering::Relaxed);
    }

    /// What to tell once, if the store keeps none.
    pub(super) fn warning(&self) -> Option<String> {
        self.lack().map(|why| {
            format!(
                "the store takes no markers of directories ({why}): empty directories, and modes, \
                 owners and times of all, are not kept; --no-markers writes none"
            )
        })
    }

    /// Why the store keeps none, where that was found out.
    fn lack(&self) -> Option<&str> {
        match self.trial.get() {
            Some(Trial::NotKept(why)) => Some(why),
            _ => None,
        }
    }
}
