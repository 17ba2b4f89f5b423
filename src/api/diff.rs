//! A comparison of two places.

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

/// One thing that a comparison tells of, in key order.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiffFinding<'a> {
    /// One side alone has an entry.
    Only(Which, &'a DiffEntry),
    /// Both have an entry, and differ in it.
    Differs {
        /// In what.
        difference: &'a Difference,
        /// What the first side has.
        a: &'a DiffEntry,
        /// What the second has.
        b: &'a DiffEntry,
    },
    /// One side has a symbolic link, and the other is of a file system that has none.
    NoLink(Which, &'a DiffEntry),
    /// A part of a side could not be listed, or a file not read.
    Failed(Which, &'a EntryError),
    /// Something to know of a side beside that.
    Notice(Which, &'a Notice),
}

type Listener = Box<dyn Fn(&DiffFinding<'_>) + Send + Sync>;

/// A comparison of two places, by the digests that their manifests have as long as the stamps beside
/// these hold.
pub struct Diff {
    options: DiffOptions,
    listener: Option<Listener>,
    running: Running,
}

impl Diff {
    /// Begins to describe a comparison of `a` with `b`: each a path, a `file://` URL, or
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

    /// Runs it. `Ok` says that both sides were looked at to their end, whether they are equal or not:
    /// [`DiffTotals::differences`](crate::DiffTotals::differences) tells.
    ///
    /// # Errors
    /// [`RunError::Stopped`] where a side can't be opened; [`RunError::Incomplete`] where parts could not
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
            "was stopped before its end".to_owned()
        } else {
            let failed = self.totals.failed;
            format!("is incomplete: {failed} parts could not be listed or read")
        }
    }
}

/// Describes a comparison; all that isn't said has the default of the command line.
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

    /// Goes by manifests alone, and looks at neither place.
    pub fn recorded(mut self, recorded: bool) -> Self {
        self.recorded = recorded;
        self
    }

    /// Reads what no digest is known of, where it is of one size on both sides.
    pub fn content(mut self, content: bool) -> Self {
        self.content = content;
        self
    }

    /// Compares modes, owners, groups and times; it does by default.
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

    /// Makes the comparison; see [`MirrorBuilder::build`](super::MirrorBuilder::build).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::model::ErrorKind::Usage) for a location or setting that makes no
    /// sense.
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

    /// Makes the comparison and runs it, once.
    ///
    /// # Errors
    /// As those of [`DiffBuilder::build`] and [`Diff::run`].
    pub fn run(self) -> Result<DiffOutcome, RunError<DiffOutcome>> {
        self.build()?.run()
    }
}
