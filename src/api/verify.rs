//! Verification of a target against its records.

use super::common::{Common, Running, common_options, count_option};
use super::environment;
use super::error::{RunError, RunOutcome, complete};
use crate::location::Location;
use crate::manifest::keys::PublicKey;
use crate::model::{Error, Observer, Progress, Stop, Timestamp};
use crate::verify::{Budget, Choice, Depth, Repair, Sample, VerifyOptions, VerifyOutcome, verify};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

/// A verification of a target: every recorded entry exists, and content that is read has the
/// recorded digest. [`VerifyAgainst`](super::VerifyAgainst) compares with a source instead.
///
/// What differs is an [`Event::Difference`](crate::model::Event::Difference), and what is repaired
/// an [`Event::Mended`](crate::model::Event::Mended).
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
            allow_incomplete: false,
            depth: Depth::Content(Choice::default()),
            key: None,
            repair_from: None,
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
        let run = |observer: &dyn Observer, progress: &_, stop: &_| {
            self.observed(observer, progress, stop)
        };
        let outcome = self.running.during(run)?;
        if self.options.allow_incomplete && outcome.nothing_differs() {
            return Ok(outcome);
        }
        complete(outcome)
    }

    /// Runs it with an observer in the place of the builder's listeners, whatever its outcome.
    pub(crate) fn observed(
        &self,
        observer: &dyn Observer,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<VerifyOutcome, Error> {
        verify(&self.options, observer, progress, stop)
    }

    /// Returns the options that it runs with.
    pub(crate) fn options(&self) -> &VerifyOptions {
        &self.options
    }
}

impl VerifyOutcome {
    /// Returns whether everything was examined and is as recorded, as far as it is recorded.
    fn nothing_differs(&self) -> bool {
        !self.interrupted
            && self.totals.failed == 0
            && self.differences == 0
            && self.fault.is_none()
    }
}

impl RunOutcome for VerifyOutcome {
    fn is_complete(&self) -> bool {
        self.nothing_differs() && self.unfinished.is_empty()
    }

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
    allow_incomplete: bool,
    depth: Depth,
    key: Option<PublicKey>,
    repair_from: Option<OsString>,
    common: Common,
}

impl VerifyBuilder {
    common_options!();
    count_option!();

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

    /// Reads only files that were not verified since then.
    pub fn unverified_since(self, time: Timestamp) -> Self {
        self.choose(|choice| choice.unverified_since = Some(time))
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

    /// Accepts that runs into the target were killed or not completed: what they left unknown, and
    /// what may be their work, doesn't count as a difference.
    pub fn allow_incomplete(mut self, allow: bool) -> Self {
        self.allow_incomplete = allow;
        self
    }

    /// Repairs what isn't as recorded: files, if this source still has the recorded content;
    /// directories, links and metadata from the record. What was repaired doesn't count as a
    /// difference.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let at = tempfile::tempdir()?;
    /// # std::fs::create_dir(at.path().join("photos"))?;
    /// # std::fs::write(at.path().join("photos/a.jpg"), "a photo")?;
    /// # let (photos, backup, records) =
    /// #     (at.path().join("photos"), at.path().join("backup"), at.path().join("records"));
    /// # vidimus::Mirror::builder(&photos, &backup).state_dir(&records).run()?;
    /// # std::fs::remove_file(backup.join("a.jpg"))?;
    /// use vidimus::Verify;
    ///
    /// let outcome = Verify::builder(&backup).repair_from(&photos).state_dir(&records).run()?;
    /// assert_eq!(outcome.totals.mended, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn repair_from(mut self, source: impl AsRef<OsStr>) -> Self {
        self.repair_from = Some(source.as_ref().to_owned());
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
        let repair = |typed: OsString| -> Result<Repair, Error> {
            let source = Location::parse(&typed)?;
            let source_store = environment::store(&source, self.common.allow_http)?;
            Ok(Repair { source, source_store })
        };
        let options = VerifyOptions {
            target_store: environment::store(&target, self.common.allow_http)?,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            strict: self.strict,
            allow_incomplete: self.allow_incomplete,
            depth: self.depth,
            key: self.key,
            repair: self.repair_from.map(repair).transpose()?,
            checkers: self.common.checkers(has_store)?,
            count_ahead: self.common.count_ahead,
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
