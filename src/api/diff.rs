//! Comparison of two places.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome};
use crate::location::Location;
use crate::model::Error;
use crate::session::diff::{DiffOptions, DiffOutcome, diff};
use crate::session::manifest::ManifestAt;
use std::ffi::{OsStr, OsString};

/// A comparison of two places, by the digests in their manifests as far as the recorded stamps
/// still match.
pub struct Diff {
    options: DiffOptions,
    running: Running,
}

impl Diff {
    /// Starts to build a comparison of `a` with `b`, each a path, a `file://` URL, or
    /// `s3://bucket/prefix`.
    pub fn builder(a: impl AsRef<OsStr>, b: impl AsRef<OsStr>) -> DiffBuilder {
        DiffBuilder {
            a: a.as_ref().to_owned(),
            b: b.as_ref().to_owned(),
            recorded: false,
            content: false,
            metadata: true,
            common: Common::default(),
        }
    }

    /// Runs it. `Ok` means that both sides were examined completely, whether or not they are equal:
    /// see [`DiffTotals::differences`](crate::DiffTotals::differences).
    ///
    /// # Errors
    /// [`RunError::Stopped`] if a side can't be opened; [`RunError::Incomplete`] if parts could not
    /// be listed or read, or the comparison was stopped.
    pub fn run(&self) -> Result<DiffOutcome, RunError<DiffOutcome>> {
        let outcome = self
            .running
            .during(|observer, progress, stop| diff(&self.options, observer, progress, stop))?;
        if outcome.interrupted || outcome.totals.failed > 0 {
            Err(RunError::Incomplete(Box::new(outcome)))
        } else {
            Ok(outcome)
        }
    }
}

impl RunOutcome for DiffOutcome {
    fn what_is_missing(&self) -> String {
        if self.interrupted {
            "was stopped early".to_owned()
        } else {
            let failed = self.totals.failed;
            format!("is incomplete: {failed} parts could not be listed or read")
        }
    }
}

/// Builds a comparison. Options that aren't set have the command line's defaults.
#[must_use = "nothing is compared before `run`"]
pub struct DiffBuilder {
    a: OsString,
    b: OsString,
    recorded: bool,
    content: bool,
    metadata: bool,
    common: Common,
}

impl DiffBuilder {
    common_options!();

    /// Compares manifests only, and lists neither place.
    pub fn recorded(mut self, recorded: bool) -> Self {
        self.recorded = recorded;
        self
    }

    /// Reads files that have the same size on both sides and lack a digest.
    pub fn content(mut self, content: bool) -> Self {
        self.content = content;
        self
    }

    /// Compares modes, owners, groups and times; enabled by default.
    pub fn metadata(mut self, metadata: bool) -> Self {
        self.metadata = metadata;
        self
    }

    /// Builds the comparison; see [`MirrorBuilder::build`](super::MirrorBuilder::build).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::model::ErrorKind::Usage) for an illegal location or setting.
    pub fn build(self) -> Result<Diff, Error> {
        let at = |typed: &OsStr| -> Result<ManifestAt, Error> {
            let location = Location::parse(typed)?;
            let store = environment::store(&location, self.common.allow_http)?;
            let limits = self.common.limits.clone();
            Ok(ManifestAt { location, store, limits, spool_dir: std::env::temp_dir() })
        };
        let (a, b) = (at(&self.a)?, at(&self.b)?);
        let has_store = a.store.is_some() || b.store.is_some();
        let options = DiffOptions {
            a,
            b,
            recorded: self.recorded,
            content: self.content,
            metadata: self.metadata,
            checkers: self.common.checkers(has_store)?,
        };
        Ok(Diff { options, running: self.common.running })
    }

    /// Builds the comparison and runs it once.
    ///
    /// # Errors
    /// Those of [`DiffBuilder::build`] and [`Diff::run`].
    pub fn run(self) -> Result<DiffOutcome, RunError<DiffOutcome>> {
        self.build()?.run()
    }
}
