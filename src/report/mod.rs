//! Presenters: they show a run to a person, or write it for a script.
//!
//! A presenter implements [`Observer`](crate::model::Observer), [`Presenter`], and [`Concludes`] for
//! what is known of a run of some kind at its end; it sees events and the shared counters, nothing
//! else. [`HumanReport`] prints lines and a summary,
//! [`ProgressReport`] bars or a line every ten seconds, [`JsonReport`] NDJSON; [`Presenters`] are
//! several of them together. A [`Ticker`](crate::ticker::Ticker) samples the counters for them.
//! Results go to stdout, progress and errors to stderr.

pub(crate) mod bars;
pub(crate) mod differences;
pub(crate) mod estimate;
pub(crate) mod failures;
pub(crate) mod flags;
pub(crate) mod format;
pub(crate) mod json;
mod layout;
pub(crate) mod output;
mod presenters;
mod progress;
pub(crate) mod requests;
mod screen;
mod summary;

pub use bars::ProgressStyle;
pub use json::JsonReport;
pub use output::{Output, OutputOptions};
pub use presenters::{Concludes, Presenter, Presenters};
pub use progress::ProgressReport;
pub use summary::{HumanOptions, HumanReport};

use crate::model::{
    Action, Durability, EntryKind, ErrorReport, Event, Outcome, Progress, RunId, Status, Totals,
    Verdict,
};
use estimate::{Estimate, Kind, Sample};
use std::time::Duration;

/// Which deletions a run was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletions {
    /// None: surplus entries of the target stay, unless an entry of another kind replaces them.
    #[default]
    None,
    /// All, in a run in which no copy fails.
    UnlessCopiesFail,
    /// All but those of entries that a failed copy collided with, even if copies fail.
    DespiteErrors,
}

/// How a mirror run ended, as far as the command line knows.
#[derive(Clone, Debug)]
pub struct MirrorEnding {
    /// The run's id, if it began.
    pub run: Option<RunId>,
    /// The source as the user named it.
    pub source: String,
    /// The target as the user named it.
    pub target: String,
    /// The counts.
    pub totals: Totals,
    /// The duration T.
    pub duration: Duration,
    /// How it ended.
    pub verdict: Verdict,
    /// The limit that ended it before all was done, if one did.
    pub limit: Option<crate::model::run::RunLimit>,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Which deletions it was asked to do.
    pub deletions: Deletions,
    /// The durability of its copies.
    pub durability: Durability,
    /// What was refused, if anything was.
    pub refusal: Option<ErrorReport>,
    /// Why the manifest could not be published, though all entries were processed.
    pub unpublished: Option<ErrorReport>,
    /// The error that stopped the run, if any did.
    pub error: Option<ErrorReport>,
    /// The exit code of the process.
    pub exit_code: u8,
}

impl MirrorEnding {
    /// Makes the ending of a run that failed at once.
    pub fn new(source: String, target: String, totals: Totals) -> Self {
        Self {
            run: None,
            source,
            target,
            totals,
            duration: Duration::ZERO,
            verdict: Verdict::Failed,
            limit: None,
            dry_run: false,
            deletions: Deletions::default(),
            durability: Durability::default(),
            refusal: None,
            unpublished: None,
            error: None,
            exit_code: 0,
        }
    }
}

/// Counts of what a run would do, according to a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Would {
    pub(crate) copy: u64,
    pub(crate) copy_bytes: u64,
    pub(crate) check: u64,
    pub(crate) adopt: u64,
    pub(crate) adopt_links: u64,
    pub(crate) update_metadata: u64,
    pub(crate) make_directory: u64,
    pub(crate) make_link: u64,
    pub(crate) link: u64,
    pub(crate) rename: u64,
    pub(crate) rename_directories: u64,
    pub(crate) delete: u64,
    pub(crate) delete_links: u64,
    pub(crate) delete_directories: u64,
    pub(crate) delete_later: u64,
    pub(crate) delete_later_links: u64,
    pub(crate) delete_later_directories: u64,
    pub(crate) delete_refused: u64,
    pub(crate) delete_refused_links: u64,
    pub(crate) delete_refused_directories: u64,
    pub(crate) sweep: u64,
    pub(crate) keep: u64,
}

impl Would {
    fn count(&mut self, outcome: &Outcome) {
        let (all, links, directories) = match (outcome.status, outcome.decision.action) {
            (Status::Waits, _) => (
                &mut self.delete_later,
                Some(&mut self.delete_later_links),
                Some(&mut self.delete_later_directories),
            ),
            (Status::Refused, _) => (
                &mut self.delete_refused,
                Some(&mut self.delete_refused_links),
                Some(&mut self.delete_refused_directories),
            ),
            (Status::Done, Action::Delete) => {
                (&mut self.delete, Some(&mut self.delete_links), Some(&mut self.delete_directories))
            }
            (Status::Done, Action::Adopt) => (&mut self.adopt, Some(&mut self.adopt_links), None),
            (
                Status::Done,
                Action::Copy { unless: None }
                | Action::MakeSpecial
                | Action::AfterDeletion
                | Action::Mend,
            ) => {
                self.copy_bytes += outcome.bytes;
                (&mut self.copy, None, None)
            }
            (
                Status::Done,
                Action::Copy { unless: Some(_) }
                | Action::Check(_)
                | Action::Look
                | Action::CompareTag { .. },
            ) => (&mut self.check, None, None),
            (
                Status::Done,
                Action::UpdateMetadata | Action::UpdateRights | Action::MendMetadata { .. },
            ) => (&mut self.update_metadata, None, None),
            (Status::Done, Action::MakeDirectory) => (&mut self.make_directory, None, None),
            (Status::Done, Action::MakeLink) => (&mut self.make_link, None, None),
            (Status::Done, Action::Link) => (&mut self.link, None, None),
            (Status::Done, Action::Rename) => {
                (&mut self.rename, None, Some(&mut self.rename_directories))
            }
            (Status::Done, Action::Sweep | Action::RemoveSetAside) => (&mut self.sweep, None, None),
            (
                Status::Done,
                Action::Keep
                | Action::Skip
                | Action::KeepDirectory
                | Action::HashSurplus
                | Action::Record
                | Action::Forget,
            ) => (&mut self.keep, None, None),
        };
        *all += 1;
        let of_kind = match outcome.kind {
            Some(EntryKind::Symlink) => links,
            Some(EntryKind::Directory) => directories,
            _ => None,
        };
        if let Some(of_kind) = of_kind {
            *of_kind += 1;
        }
    }
}

/// State from a run's events and samples that presenters share.
#[derive(Debug, Default)]
pub struct Watch {
    run: Option<RunId>,
    sides: Option<(String, String)>,
    refused: bool,
    would: Would,
    estimate: Estimate,
}

impl Watch {
    /// Makes the state of a run whose progress is estimated so.
    pub(crate) fn new(estimate: Estimate) -> Self {
        Self { estimate, ..Self::default() }
    }

    /// Whether it goes by an event.
    pub(crate) fn wants(event: &Event) -> bool {
        matches!(event, Event::Started { .. } | Event::Changed(_) | Event::Refused(_))
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Started { run, source, target, previous, .. } => {
                self.run = Some(run.clone());
                self.sides = Some((source.clone(), target.clone()));
                self.estimate.know(previous.as_deref());
            }
            Event::Changed(outcome) => self.would.count(outcome),
            Event::Refused(_) => self.refused = true,
            _ => {}
        }
    }

    pub(crate) fn sample(&mut self, at: Duration, progress: &Progress) {
        self.estimate.push(at, &Sample::of(progress));
    }

    /// Returns the speed in bytes a second: of copying, or if the run copies nothing, of hashing.
    pub(crate) fn bytes_per_second(&self) -> Option<f64> {
        let moved = match self.estimate.kind() {
            Kind::Mirror => self.estimate.rate(|totals| totals.bytes_moved),
            Kind::Verify | Kind::Against => None,
        };
        let moved = moved.filter(|rate| *rate > 0.0);
        moved.or_else(|| self.estimate.rate(|totals| totals.bytes_hashed))
    }

    pub(crate) fn estimate(&self) -> &Estimate {
        &self.estimate
    }

    pub(crate) fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }

    pub(crate) fn sides(&self) -> Option<(&str, &str)> {
        self.sides.as_ref().map(|(source, target)| (source.as_str(), target.as_str()))
    }

    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn would(&self) -> Would {
        self.would
    }

    pub(crate) fn would_change(&self) -> bool {
        let Would { copy, update_metadata, make_directory, make_link, .. } = self.would;
        let Would { link, rename, delete, .. } = self.would;
        copy + update_metadata + make_directory + make_link + link + rename + delete > 0
    }
}
