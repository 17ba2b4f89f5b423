//! A verification of a target against what was recorded of it.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome};
use crate::location::Location;
use crate::manifest::keys::PublicKey;
use crate::model::{Cause, EntryError, Error, Key, Notice, Progress};
use crate::verify::{
    Budget, Choice, Depth, Difference, Sample, VerifyObserver, VerifyOptions, VerifyOutcome, verify,
};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

/// One thing that a verification tells of.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding<'a> {
    /// An entry isn't what was recorded.
    Difference {
        /// The entry.
        key: &'a Key,
        /// How it differs.
        difference: &'a Difference,
        /// Whether it counts: an entry that no run recorded does only where a run was to delete it.
        counts: bool,
    },
    /// An entry could not be read.
    Failed(&'a EntryError),
    /// Something to know beside that.
    Notice(&'a Notice),
}

type Listener = Box<dyn Fn(&Finding<'_>) + Send + Sync>;

/// A verification of a target: each entry that was recorded is there, and what is read of it has the
/// digest that was recorded.
pub struct Verify {
    options: VerifyOptions,
    listener: Option<Listener>,
    running: Running,
}

impl Verify {
    /// Begins to describe a verification of `target`: a path, a `file://` URL, or
    /// `s3://bucket/prefix`. All content is read unless something else is said.
    pub fn builder(target: impl AsRef<OsStr>) -> VerifyBuilder {
        VerifyBuilder {
            target: target.as_ref().to_owned(),
            state_dir: None,
            strict: false,
            depth: Depth::Content(Choice::default()),
            key: None,
            listener: None,
            common: Common::default(),
        }
    }

    /// Runs it. `Ok` says that nothing differs from what was recorded, as far as was looked.
    ///
    /// # Errors
    /// [`RunError::Stopped`] where nothing is recorded, or the target can't be read;
    /// [`RunError::Incomplete`] where something differs or could not be read, the manifest in the target
    /// is damaged, or the verification was stopped.
    pub fn run(&self) -> Result<VerifyOutcome, RunError<VerifyOutcome>> {
        let progress = Arc::new(Progress::default());
        let _ticker = self.running.watch(&progress)?;
        let callback = Callback(self.listener.as_ref());
        let outcome = verify(&self.options, &callback, &progress, &self.running.stop)?;
        let is_whole = !outcome.interrupted
            && outcome.totals.failed == 0
            && outcome.differences == 0
            && outcome.fault.is_none()
            && outcome.unfinished.is_empty();
        if is_whole { Ok(outcome) } else { Err(RunError::Incomplete(Box::new(outcome))) }
    }
}

struct Callback<'a>(Option<&'a Listener>);

impl Callback<'_> {
    fn tell(&self, finding: &Finding<'_>) {
        if let Some(listener) = self.0 {
            listener(finding);
        }
    }
}

impl VerifyObserver for Callback<'_> {
    fn difference(&self, key: &Key, difference: &Difference, counts: bool) {
        self.tell(&Finding::Difference { key, difference, counts });
    }

    fn failed(&self, error: &EntryError) {
        self.tell(&Finding::Failed(error));
    }

    /// Nothing is mended here.
    fn mended(&self, _key: &Key, _mended: Result<(), &Cause>) {}

    fn notice(&self, notice: &Notice) {
        self.tell(&Finding::Notice(notice));
    }
}

impl RunOutcome for VerifyOutcome {
    fn what_is_missing(&self) -> String {
        if self.interrupted {
            "was stopped before its end".to_owned()
        } else if self.totals.failed > 0 {
            format!("is incomplete: {} entries could not be read", self.totals.failed)
        } else if self.differences > 0 {
            format!("found {} differences from what was recorded", self.differences)
        } else if let Some(fault) = &self.fault {
            format!("found the published manifest at fault: {}", fault.sentence())
        } else {
            "found that a mirror into the target did not come to its end".to_owned()
        }
    }
}

/// Describes a verification; all that isn't said has the default of the command line.
#[must_use = "nothing is verified before `run`"]
pub struct VerifyBuilder {
    target: OsString,
    state_dir: Option<PathBuf>,
    strict: bool,
    depth: Depth,
    key: Option<PublicKey>,
    listener: Option<Listener>,
    common: Common,
}

impl VerifyBuilder {
    common_options!();

    /// Looks for the record of runs in this directory; by default as
    /// [`MirrorBuilder::state_dir`](super::MirrorBuilder::state_dir) has it.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Reads nothing: sizes, times and metadata are compared.
    pub fn quick(mut self) -> Self {
        self.depth = Depth::Stamps;
        self
    }

    /// Reads the content of a sample alone.
    pub fn sample(self, sample: Sample) -> Self {
        self.choose(|choice| choice.sample = Some(sample))
    }

    /// Reads no more than this; what was verified longest ago comes first.
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

    /// Counts entries that no run recorded as differences, though no run was to delete them.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Compares with the manifest that is published in the target, signed with this key, and with
    /// nothing else.
    pub fn signed_with(mut self, key: PublicKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Calls `listener` with each finding, from several threads at a time: it must not block for
    /// long.
    pub fn on_finding(mut self, listener: impl Fn(&Finding<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Makes the verification; see [`MirrorBuilder::build`](super::MirrorBuilder::build).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::model::ErrorKind::Usage) for a location or setting that makes no
    /// sense.
    pub fn build(self) -> Result<Verify, Error> {
        let target = Location::parse(&self.target)?;
        let has_store = target.is_remote();
        let options = VerifyOptions {
            target_store: environment::store(&target, self.common.allow_http)?,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            strict: self.strict,
            depth: self.depth,
            key: self.key,
            repair: None,
            checkers: self.common.checkers(has_store)?,
            count_ahead: false,
            limits: self.common.limits,
        };
        Ok(Verify { options, listener: self.listener, running: self.common.running })
    }

    /// Makes the verification and runs it, once.
    ///
    /// # Errors
    /// As those of [`VerifyBuilder::build`] and [`Verify::run`].
    pub fn run(self) -> Result<VerifyOutcome, RunError<VerifyOutcome>> {
        self.build()?.run()
    }
}
