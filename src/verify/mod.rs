//! Verifying: the target's content against the rows of the latest run into it.

use crate::location::Location;
use crate::model::{Digest, Error, ErrorKind, Key, Progress, Stop};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a verification is asked to do.
#[derive(Debug)]
pub struct VerifyOptions {
    /// What to verify.
    pub target: Location,
    /// Where state databases live.
    pub state_dir: PathBuf,
    /// Count extra entries as differences even where the run didn't delete extras.
    pub strict: bool,
    /// Files hashed at the same time, at least 1.
    pub checkers: usize,
}

/// How an entry differs from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The row's entry is not there.
    Missing,
    /// Its content isn't what was recorded.
    Corrupt {
        /// The digest recorded, unless the size alone told.
        expected: Option<Digest>,
        /// The digest found, unless the size alone told.
        found: Option<Digest>,
    },
    /// Its mode, owner, group, mtime, type or link text isn't what was recorded; in words.
    Metadata(String),
    /// No row knows it.
    Extra,
}

/// What a verification found, one call a difference, in any order.
pub trait VerifyObserver: Send + Sync {
    /// Takes one difference; `counted` is false for extras that don't count as such.
    fn difference(&self, key: &Key, difference: &Difference, counted: bool);
    /// Takes an entry that could not be read.
    fn failed(&self, error: &crate::model::EntryError);
}

/// What a verification counted.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct VerifyTotals {
    /// Entries that the rows name.
    pub entries: u64,
    /// Files whose content matched their digest.
    pub verified: u64,
    /// Files whose row has no digest (adopted ones): they exist in the right size.
    pub unproven: u64,
    /// Entries missing.
    pub missing: u64,
    /// Files whose content differs.
    pub corrupt: u64,
    /// Entries whose metadata differs.
    pub metadata: u64,
    /// Entries that no row knows.
    pub extra: u64,
    /// Entries that could not be read.
    pub failed: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
}

/// How a verification ended.
#[derive(Debug)]
pub struct VerifyOutcome {
    /// The run whose rows were compared with.
    pub run: crate::model::RunId,
    /// The source of that run, as it prints.
    pub source: String,
    /// What was counted.
    pub totals: VerifyTotals,
    /// Differences that count.
    pub differences: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Verifies a target. `progress` counts `bytes_hashed` and `entries` as it goes.
///
/// # Errors
/// [`ErrorKind::Manifest`] when no run into the target is recorded or its state can't be used,
/// [`ErrorKind::Unusable`] when the target can't be read, [`ErrorKind::Locked`] when a run is
/// writing to it.
pub fn verify(
    options: &VerifyOptions,
    observer: &dyn VerifyObserver,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<VerifyOutcome, Error> {
    let _ = (options, observer, progress, stop);
    Err(Error::new(ErrorKind::Manifest, "not built yet"))
}
