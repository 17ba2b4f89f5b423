//! Verification of a target against its records.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome};
use crate::location::Location;
use crate::manifest::keys::PublicKey;
use crate::model::Error;
use crate::verify::{Budget, Choice, Depth, Sample, VerifyOptions, VerifyOutcome, verify};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A verification of a target: every recorded entry exists, and content that is read has the
/// recorded digest.
pub struct Verify {
    options: VerifyOptions,
    running: Running,
}

impl Verify {
    /// Starts to build a verification of `target`: a path, a `file://` URL, or
    /// `s3://bucket/prefix`. By default all content is read.
    pub fn builder(target: impl AsRef<OsStr>) -> VerifyBuilder {
        VerifyBuilder {
            target: target.as_ref().to_owned(),
            state_dir: None,
            strict: false,
            depth: Depth::Content(Choice::default()),
            key: None,
            common: Common::default(),
        }
    }

    /// Runs it. `Ok` means that nothing differs from what was recorded, as far as it was examined.
    ///
    /// # Errors
    /// [`RunError::Stopped`] if nothing is recorded, or the target can't be read;
    /// [`RunError::Incomplete`] if something differs or could not be read, the manifest in the
    /// target is damaged, or the verification was stopped.
    pub fn run(&self) -> Result<VerifyOutcome, RunError<VerifyOutcome>> {
        let outcome = self
            .running
            .during(|observer, progress, stop| verify(&self.options, observer, progress, stop))?;
        let is_complete = !outcome.interrupted
            && outcome.totals.failed == 0
            && outcome.differences == 0
            && outcome.fault.is_none()
            && outcome.unfinished.is_empty();
        if is_complete { Ok(outcome) } else { Err(RunError::Incomplete(Box::new(outcome))) }
    }
}

impl RunOutcome for VerifyOutcome {
    fn what_is_missing(&self) -> String {
        if self.interrupted {
            "was stopped early".to_owned()
        } else if self.totals.failed > 0 {
            format!("is incomplete: {} entries could not be read", self.totals.failed)
        } else if self.differences > 0 {
            format!("found {} differences from what was recorded", self.differences)
        } else if let Some(fault) = &self.fault {
            format!("found the published manifest at fault: {}", fault.sentence())
        } else {
            "found that a mirror into the target was not completed".to_owned()
        }
    }
}

/// Builds a verification. Options that aren't set have the command line's defaults.
#[must_use = "nothing is verified before `run`"]
pub struct VerifyBuilder {
    target: OsString,
    state_dir: Option<PathBuf>,
    strict: bool,
    depth: Depth,
    key: Option<PublicKey>,
    common: Common,
}

impl VerifyBuilder {
    common_options!();

    /// Sets the directory of the state databases; the default is that of
    /// [`MirrorBuilder::state_dir`](super::MirrorBuilder::state_dir).
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Compares sizes, times and metadata, and reads no content.
    pub fn quick(mut self) -> Self {
        self.depth = Depth::Stamps;
        self
    }

    /// Reads the content of a sample only.
    pub fn sample(self, sample: Sample) -> Self {
        self.choose(|choice| choice.sample = Some(sample))
    }

    /// Limits how much is read; files that were verified longest ago come first.
    pub fn budget(self, budget: Budget) -> Self {
        self.choose(|choice| choice.budget = Some(budget))
    }

    fn choose(mut self, change: impl FnOnce(&mut Choice)) -> Self {
        let mut choice = match self.depth {
            Depth::Content(choice) => choice,
            Depth::Stamps => Choice::default(),
        };
        change(&mut choice);
        self.depth = Depth::Content(choice);
        self
    }

    /// Counts unrecorded entries as differences, even if no run was to delete them.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Compares only with the manifest that is published in the target, which must be signed with
    /// this key.
    pub fn signed_with(mut self, key: PublicKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Builds the verification; see [`MirrorBuilder::build`](super::MirrorBuilder::build).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::model::ErrorKind::Usage) for an illegal location or setting.
    pub fn build(self) -> Result<Verify, Error> {
        let target = Location::parse(&self.target)?;
        let has_store = target.is_remote();
        let options = VerifyOptions {
            target_store: environment::store(&target, self.common.allow_http)?,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            strict: self.strict,
            allow_incomplete: false,
            depth: self.depth,
            key: self.key,
            repair: None,
            checkers: self.common.checkers(has_store)?,
            count_ahead: false,
            limits: self.common.limits,
        };
        Ok(Verify { options, running: self.common.running })
    }

    /// Builds the verification and runs it once.
    ///
    /// # Errors
    /// Those of [`VerifyBuilder::build`] and [`Verify::run`].
    pub fn run(self) -> Result<VerifyOutcome, RunError<VerifyOutcome>> {
        self.build()?.run()
    }
}
