//! Comparison of two places.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome, complete};
use crate::location::Location;
use crate::model::hint::hint;
use crate::model::{Error, ErrorKind, Observer, Progress, Setting, Stop};
use crate::session::diff::{DiffOptions, DiffOutcome, diff};
use crate::session::manifest::ManifestAt;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// A comparison of two places, by the digests in their manifests as far as the recorded stamps
/// still match. What differs is an [`Event::SideDifference`](crate::model::Event::SideDifference).
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
        let run = |observer: &dyn Observer, progress: &_, stop: &_| {
            self.observed(observer, progress, stop)
        };
        complete(self.running.during(run)?)
    }

    /// Runs it with an observer in the place of the builder's listeners, whatever its outcome.
    pub(crate) fn observed(
        &self,
        observer: &dyn Observer,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<DiffOutcome, Error> {
        diff(&self.options, observer, progress, stop)
    }
}

impl RunOutcome for DiffOutcome {
    fn is_complete(&self) -> bool {
        !self.interrupted && self.totals.failed == 0
    }

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
    /// [`ErrorKind::Usage`] for an illegal location or setting, or
    /// settings that contradict each other.
    pub fn build(self) -> Result<Diff, Error> {
        if self.recorded && self.content {
            let message = "content is not read where manifests alone are compared";
            let help = hint!["leave out ", Setting::Recorded];
            return Err(Error::new(ErrorKind::Usage, message).help(help));
        }
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
