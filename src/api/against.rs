//! Verification of a target against a source.

use super::common::{self, Common, Running, common_options, count_option, filter_options};
use super::environment;
use super::error::{RunError, RunOutcome, complete};
use crate::filter::FilterSpec;
use crate::location::Location;
use crate::model::{Error, Observer, Progress, Stop};
use crate::verify::{
    Against, AgainstOutcome, Choice, Depth, Sample, VerifyOptions, verify_against,
};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

/// A verification of a target against a source: both are listed, and content is read on both sides,
/// whatever is recorded. What differs is an [`Event::Difference`](crate::model::Event::Difference).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let at = tempfile::tempdir()?;
/// # std::fs::create_dir(at.path().join("photos"))?;
/// # std::fs::write(at.path().join("photos/a.jpg"), "a photo")?;
/// # let (photos, backup, records) =
/// #     (at.path().join("photos"), at.path().join("backup"), at.path().join("records"));
/// # vidimus::Mirror::builder(&photos, &backup).state_dir(&records).run()?;
/// use vidimus::VerifyAgainst;
///
/// let outcome = VerifyAgainst::builder(&backup, &photos).state_dir(&records).run()?;
/// assert_eq!(outcome.totals.equal, 1);
/// # Ok(())
/// # }
/// ```
pub struct VerifyAgainst {
    options: VerifyOptions,
    against: Against,
    running: Running,
}

impl VerifyAgainst {
    /// Starts to build a verification of `target` against `source`, each a path, a `file://` URL,
    /// or `s3://bucket/prefix`. By default all content is read.
    pub fn builder(target: impl AsRef<OsStr>, source: impl AsRef<OsStr>) -> VerifyAgainstBuilder {
        VerifyAgainstBuilder {
            target: target.as_ref().to_owned(),
            source: source.as_ref().to_owned(),
            state_dir: None,
            strict: false,
            sample: None,
            filter: FilterSpec::default(),
            common: Common::default(),
        }
    }

    /// Runs it. `Ok` means that the target has what the source has, as far as it was examined.
    ///
    /// # Errors
    /// [`RunError::Stopped`] if a side can't be read; [`RunError::Incomplete`] if something differs
    /// or could not be read, or the verification was stopped.
    pub fn run(&self) -> Result<AgainstOutcome, RunError<AgainstOutcome>> {
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
    ) -> Result<AgainstOutcome, Error> {
        verify_against(&self.options, &self.against, observer, progress, stop)
    }
}

impl RunOutcome for AgainstOutcome {
    fn is_complete(&self) -> bool {
        !self.interrupted && self.totals.failed == 0 && self.differences == 0
    }

    fn what_is_missing(&self) -> String {
        if self.interrupted {
            "was stopped early".to_owned()
        } else if self.totals.failed > 0 {
            format!("is incomplete: {} entries could not be read", self.totals.failed)
        } else {
            format!("found {} differences from the source", self.differences)
        }
    }
}

/// Builds a verification against a source. Options that aren't set have the command line's
/// defaults.
#[must_use = "nothing is verified before `run`"]
pub struct VerifyAgainstBuilder {
    target: OsString,
    source: OsString,
    state_dir: Option<PathBuf>,
    strict: bool,
    sample: Option<Sample>,
    filter: FilterSpec,
    common: Common,
}

impl VerifyAgainstBuilder {
    common_options!();
    count_option!();
    filter_options!();

    /// Sets the directory of the state databases; the default is that of
    /// [`MirrorBuilder::state_dir`](super::MirrorBuilder::state_dir). Unless a filter is set, the
    /// entries take part that took part in the latest run from this source that is recorded there.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Reads the content of a sample only.
    pub fn sample(mut self, sample: Sample) -> Self {
        self.sample = Some(sample);
        self
    }

    /// Counts entries that the source lacks as differences, even if no run was to delete them.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Builds the verification; see [`MirrorBuilder::build`](super::MirrorBuilder::build).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::model::ErrorKind::Usage) for an illegal location, pattern or
    /// setting.
    pub fn build(self) -> Result<VerifyAgainst, Error> {
        let (target, source) = (Location::parse(&self.target)?, Location::parse(&self.source)?);
        let has_store = target.is_remote() || source.is_remote();
        let has_filter = self.filter != FilterSpec::default();
        let filter = common::filter(self.filter)?;
        let against = Against {
            source_store: environment::store(&source, self.common.allow_http)?,
            source,
            filter: has_filter.then_some(filter),
        };
        let options = VerifyOptions {
            target_store: environment::store(&target, self.common.allow_http)?,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            strict: self.strict,
            allow_incomplete: false,
            depth: Depth::Content(Choice { sample: self.sample, ..Choice::default() }),
            key: None,
            repair: None,
            checkers: self.common.checkers(has_store)?,
            count_ahead: self.common.count_ahead,
            limits: self.common.limits,
        };
        Ok(VerifyAgainst { options, against, running: self.common.running })
    }

    /// Builds the verification and runs it once.
    ///
    /// # Errors
    /// Those of [`VerifyAgainstBuilder::build`] and [`VerifyAgainst::run`].
    pub fn run(self) -> Result<AgainstOutcome, RunError<AgainstOutcome>> {
        self.build()?.run()
    }
}
