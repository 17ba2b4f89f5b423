//! One run, wired end to end: typed options in, events and an outcome out.

use crate::compare::PolicyOptions;
use crate::filter::Filter;
use crate::location::Location;
use crate::model::{
    Durability, Error, ErrorKind, Observer, Progress, RunId, Stop, Totals, Verdict,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a mirror run is asked to do.
#[derive(Debug)]
pub struct MirrorOptions {
    /// Where entries come from.
    pub source: Location,
    /// Where they go.
    pub target: Location,
    /// Where state databases live; made when missing.
    pub state_dir: PathBuf,
    /// Decide and say, but do nothing.
    pub dry_run: bool,
    /// How entries are compared.
    pub policy: PolicyOptions,
    /// Which entries take part.
    pub filter: Filter,
    /// Delete what only the target has.
    pub delete: Option<DeleteOptions>,
    /// A file that the source's root must hold, else the run is refused.
    pub require_file: Option<PathBuf>,
    /// How durable a file is before it counts as done.
    pub durability: Durability,
    /// Files copied at the same time, at least 1.
    pub transfers: usize,
    /// Directories read and files hashed at the same time, at least 1.
    pub checkers: usize,
}

/// What deletion may do.
#[derive(Clone, Copy, Debug)]
pub struct DeleteOptions {
    /// Delete excluded entries too.
    pub excluded: bool,
    /// How much may be deleted.
    pub max: MaxDelete,
    /// Take the source's root for the right one though its identity changed.
    pub accept_source: bool,
}

/// The most that one run may delete; more is refused whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxDelete {
    /// So many entries.
    Count(u64),
    /// So many percent (0 to 100) of the target's entries.
    Percent(f64),
}

/// How a run ended.
#[derive(Debug)]
pub struct MirrorOutcome {
    /// Its id.
    pub run: RunId,
    /// What it counted.
    pub totals: Totals,
    /// How long it took.
    pub duration: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// What was refused (deletions, by a guard), if anything was.
    pub refusal: Option<Error>,
}

/// Mirrors the source to the target.
///
/// # Errors
/// What stops the run: a location that can't be used, a lock that is held, a guard that refuses
/// before anything was done, a target that is full. Errors of single entries are no errors here:
/// they are events, and the verdict is [`Verdict::Incomplete`].
pub fn mirror(
    options: &MirrorOptions,
    observer: &dyn Observer,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<MirrorOutcome, Error> {
    let _ = (options, observer, progress, stop);
    Err(Error::new(ErrorKind::Usage, "not built yet"))
}
