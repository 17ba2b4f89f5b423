//! Comparison of two places.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome};
use crate::location::Location;
use crate::model::{EntryError, Error, Notice, Progress};
use crate::session::diff::{
    DiffEntry, DiffObserver, DiffOptions, DiffOutcome, Difference, Which, diff,
};
use crate::session::manifest::ManifestAt;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// Something that a comparison found, reported in key order.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiffFinding<'a> {
    /// One side alone has an entry.
    Only(Which, &'a DiffEntry),
    /// Both sides have an entry, but they differ.
    Differs {
        /// The difference.
        difference: &'a Difference,
        /// The first side's entry.
        a: &'a DiffEntry,
        /// The second side's entry.
        b: &'a DiffEntry,
    },
    /// One side has a symbolic link, and the other is on a file system that supports none.
    NoLink(Which, &'a DiffEntry),
    /// A part of a side could not be listed, or a file not read.
    Failed(Which, &'a EntryError),
    /// A notice about one side.
    Notice(Which, &'a Notice),
}

type Listener = Box<dyn Fn(&DiffFinding<'_>) + Send + Sync>;

/// A comparison of two places, by the digests in their manifests as far as the recorded stamps
/// still match.
pub struct Diff {
    options: DiffOptions,
    listener: Option<Listener>,
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
            listener: None,
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
        let progress = Arc::new(Progress::default());
        let _ticker = self.running.watch(&progress)?;
        let mut callback = Callback(self.listener.as_ref());
        let outcome = diff(&self.options, &mut callback, &progress, &self.running.stop)?;
        if outcome.interrupted || outcome.totals.failed > 0 {
            Err(RunError::Incomplete(Box::new(outcome)))
        } else {
            Ok(outcome)
        }
    }
}

struct Callback<'a>(Option<&'a Listener>);

impl Callback<'_> {
    fn tell(&self, finding: &DiffFinding<'_>) {
        if let Some(listener) = self.0 {
            listener(finding);
        }
    }
}

impl DiffObserver for Callback<'_> {
    fn only(&mut self, which: Which, entry: &DiffEntry) {
        self.tell(&DiffFinding::Only(which, entry));
    }

    fn no_link(&mut self, which: Which, entry: &DiffEntry) {
        self.tell(&DiffFinding::NoLink(which, entry));
    }

    fn notice(&mut self, which: Which, notice: &Notice) {
        self.tell(&DiffFinding::Notice(which, notice));
    }

    fn differs(&mut self, difference: &Difference, a: &DiffEntry, b: &DiffEntry) {
        self.tell(&DiffFinding::Differs { difference, a, b });
    }

    fn failed(&mut self, which: Which, error: &EntryError) {
        self.tell(&DiffFinding::Failed(which, error));
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
    listener: Option<Listener>,
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

    /// Calls `listener` with each finding.
    pub fn on_finding(
        mut self,
        listener: impl Fn(&DiffFinding<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Box::new(listener));
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
        Ok(Diff { options, listener: self.listener, running: self.common.running })
    }

    /// Builds the comparison and runs it once.
    ///
    /// # Errors
    /// Those of [`DiffBuilder::build`] and [`Diff::run`].
    pub fn run(self) -> Result<DiffOutcome, RunError<DiffOutcome>> {
        self.build()?.run()
    }
}
