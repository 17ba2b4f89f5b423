//! Mirroring of one place to another.

use super::common::{Common, Running, common_options};
use super::environment;
use super::error::{RunError, RunOutcome};
use crate::compare::PolicyOptions;
use crate::filter::{Filter, Rule};
use crate::location::Location;
use crate::manifest::keys::SecretKey;
use crate::model::{Durability, Error, ErrorKind, ExtraKinds, Verdict};
use crate::session::{self, DeleteOptions, MirrorOptions, MirrorOutcome};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A mirror of a source to a target, which copies what changed and records proof.
///
/// It may be [run](Mirror::run) any number of times: each run copies what changed since the last
/// one.
pub struct Mirror {
    options: MirrorOptions,
    running: Running,
}

impl Mirror {
    /// Starts to build a mirror of `source` to `target`, each a path, a `file://` URL, or
    /// `s3://bucket/prefix`, as on the command line. The source's content is mirrored, without a
    /// directory of the source's name.
    pub fn builder(source: impl AsRef<OsStr>, target: impl AsRef<OsStr>) -> MirrorBuilder {
        MirrorBuilder {
            source: source.as_ref().to_owned(),
            target: target.as_ref().to_owned(),
            state_dir: None,
            dry_run: false,
            rules: Vec::new(),
            min_size: None,
            max_size: None,
            policy: PolicyOptions::default(),
            delete: None,
            require_file: None,
            sign: None,
            markers: true,
            durability: Durability::default(),
            transfers: None,
            common: Common::default(),
        }
    }

    /// Runs it. `Ok` means that the target equals the source: each entry was copied, or was up to
    /// date.
    ///
    /// # Errors
    /// [`RunError::Stopped`] for whatever stops a run: a location that can't be used, a lock that
    /// another run holds, a full target. [`RunError::Incomplete`] if entries failed, deletions were
    /// refused, the run was stopped, or its manifest could not be published.
    pub fn run(&self) -> Result<MirrorOutcome, RunError<MirrorOutcome>> {
        let outcome = self.running.during(|observer, progress, stop| {
            session::mirror(&self.options, observer, progress, stop)
        })?;
        if outcome.verdict == Verdict::Complete {
            Ok(outcome)
        } else {
            Err(RunError::Incomplete(Box::new(outcome)))
        }
    }
}

impl RunOutcome for MirrorOutcome {
    fn what_is_missing(&self) -> String {
        let because = |error: &Option<Error>, otherwise: &str| {
            error.as_ref().map_or_else(|| otherwise.to_owned(), Error::sentence)
        };
        match self.verdict {
            Verdict::Complete => "is complete".to_owned(),
            Verdict::Incomplete => {
                let (failed, of) = (self.totals.files_failed, self.totals.entries);
                format!("is incomplete: {failed} of {of} entries failed")
            }
            Verdict::Refused => {
                format!("refused deletions: {}", because(&self.refusal, "a guard refused them"))
            }
            Verdict::Interrupted => "was stopped early".to_owned(),
            Verdict::Failed => {
                format!("failed: {}", because(&self.unpublished, "it did not come to its end"))
            }
        }
    }
}

/// Builds a mirror. Options that aren't set have the command line's defaults.
#[must_use = "nothing is mirrored before `run`"]
pub struct MirrorBuilder {
    source: OsString,
    target: OsString,
    state_dir: Option<PathBuf>,
    dry_run: bool,
    rules: Vec<Rule>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    policy: PolicyOptions,
    delete: Option<DeleteOptions>,
    require_file: Option<PathBuf>,
    sign: Option<SecretKey>,
    markers: bool,
    durability: Durability,
    transfers: Option<u16>,
    common: Common,
}

impl MirrorBuilder {
    common_options!();

    /// Sets the directory of the state databases; by default `vidimus` below `XDG_STATE_HOME`, or
    /// below `~/.local/state`.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Reports what would be done, but does nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Deletes entries that only the target has, within these limits; by default nothing is
    /// deleted.
    pub fn delete(mut self, options: DeleteOptions) -> Self {
        self.delete = Some(options);
        self
    }

    /// Excludes entries that match a pattern, in the syntax of `.gitignore`. The last pattern that
    /// matches decides.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.rules.push(Rule::Exclude(pattern.into()));
        self
    }

    /// Includes entries that match a pattern, even if an earlier one excludes them.
    pub fn include(mut self, pattern: impl Into<String>) -> Self {
        self.rules.push(Rule::Include(pattern.into()));
        self
    }

    /// Excludes files of fewer bytes.
    pub fn min_size(mut self, bytes: u64) -> Self {
        self.min_size = Some(bytes);
        self
    }

    /// Excludes files of more bytes.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Hashes each file of the source, even if its size and times are unchanged.
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.policy.checksum = checksum;
        self
    }

    /// Records SHA-256 or MD5 beside BLAKE3.
    pub fn digests(mut self, kinds: ExtraKinds) -> Self {
        self.policy.digests = kinds;
        self
    }

    /// Refuses the run unless the source's root contains this file, which shows that it is mounted.
    pub fn require_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.require_file = Some(path.into());
        self
    }

    /// Signs the manifest that is published in the target.
    pub fn sign(mut self, key: SecretKey) -> Self {
        self.sign = Some(key);
        self
    }

    /// Sets whether directories are written to a store as objects (markers); enabled by default.
    pub fn markers(mut self, markers: bool) -> Self {
        self.markers = markers;
        self
    }

    /// Sets what is synced before a file counts as done.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how many files are copied concurrently; by default one per processor, and 32 if a side
    /// is a store.
    pub fn transfers(mut self, transfers: u16) -> Self {
        self.transfers = Some(transfers);
        self
    }

    /// Builds the mirror. The access to stores is determined by their locations, the environment
    /// (`AWS_…`) and the profiles in `~/.aws`, as in the AWS command line.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an illegal location, pattern or setting, or if there is no
    /// directory for the state.
    pub fn build(self) -> Result<Mirror, Error> {
        let (source, target) = (Location::parse(&self.source)?, Location::parse(&self.target)?);
        let has_store = source.is_remote() || target.is_remote();
        let filter = Filter::new(&self.rules, self.min_size, self.max_size)
            .map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
        let options = MirrorOptions {
            source_store: environment::store(&source, self.common.allow_http)?,
            target_store: environment::store(&target, self.common.allow_http)?,
            source,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            dry_run: self.dry_run,
            bag: None,
            policy: self.policy,
            filter,
            delete: self.delete,
            require_file: self.require_file,
            sign: self.sign,
            manifest_mode: None,
            markers: self.markers,
            durability: self.durability,
            transfers: environment::at_least_one("transfers", self.transfers)
                .map(|transfers| environment::workers(transfers, has_store))?,
            checkers: self.common.checkers(false)?,
            count_ahead: false,
            limits: self.common.limits,
        };
        Ok(Mirror { options, running: self.common.running })
    }

    /// Builds the mirror and runs it once.
    ///
    /// # Errors
    /// Those of [`MirrorBuilder::build`] and [`Mirror::run`].
    pub fn run(self) -> Result<MirrorOutcome, RunError<MirrorOutcome>> {
        self.build()?.run()
    }
}
