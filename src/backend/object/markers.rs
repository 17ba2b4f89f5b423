//! Markers: objects whose key ends in `/`, which represent directories, also empty ones, and hold
//! their metadata.
//!
//! Some stores refuse keys that end in `/`, or drop the `/`, so that a file takes the place of a
//! directory; and other users of a bucket may not want markers. Without markers, directories exist
//! only through what they contain: empty directories and the metadata of directories are neither
//! kept nor recorded.

use crate::model::Notice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known about markers in a location.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// Whether the user wants no markers.
    pub(super) are_unwanted: bool,
    /// Whether the listing contained a marker.
    is_any_listed: AtomicBool,
    /// Whether an earlier run found that there are none.
    had_none: AtomicBool,
    /// The result of the trial.
    pub(super) trial: OnceLock<Trial>,
    /// Whether markers survive a bulk delete that reports success, if that was looked up.
    pub(super) outlive_bulk: OnceLock<bool>,
}

/// The result of trying a marker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// The store lists it.
    Kept,
    /// The store doesn't list it, or refuses it; with the reason.
    NotKept(String),
    /// The trial was inconclusive.
    Open,
}

impl Markers {
    /// Makes the state for a user who wants no markers.
    pub(super) fn unwanted() -> Self {
        Self { are_unwanted: true, ..Self::default() }
    }

    /// Returns whether markers are written, as far as is known.
    pub(super) fn are_written(&self) -> bool {
        !self.are_unwanted && self.reason().is_none()
    }

    /// Returns whether markers keep directories, as far as is known: the result of an earlier run
    /// applies until this run tries.
    pub(super) fn are_kept(&self) -> bool {
        self.are_written() && (self.trial.get().is_some() || !self.had_none())
    }

    pub(super) fn had_none(&self) -> bool {
        self.had_none.load(Ordering::Relaxed)
    }

    /// Returns whether the listing showed that markers are kept, so that no trial is needed.
    pub(super) fn need_no_trial(&self) -> bool {
        self.is_any_listed.load(Ordering::Relaxed) && !self.had_none()
    }

    /// Records that an earlier run wrote no markers.
    pub(super) fn assume_none(&self) {
        self.had_none.store(true, Ordering::Relaxed);
    }

    /// Records that the listing contained a marker.
    pub(super) fn set_listed(&self) {
        self.is_any_listed.store(true, Ordering::Relaxed);
    }

    /// Returns the notice to show once if the store keeps no markers.
    pub(super) fn notice(&self) -> Option<Notice> {
        self.reason().map(|why| Notice::NoMarkers { cause: why.to_owned() })
    }

    /// Returns why the store keeps no markers, if that was found out.
    fn reason(&self) -> Option<&str> {
        match self.trial.get() {
            Some(Trial::NotKept(why)) => Some(why),
            _ => None,
        }
    }
}
