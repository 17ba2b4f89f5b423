//! Mirroring of one place to another.

use super::common::{self, Common, Running, common_options, count_option, filter_options};
use super::environment;
use super::error::{RunError, RunOutcome, complete};
use super::mapping::Mappings;
use crate::compare::PolicyOptions;
use crate::engine::Holes;
use crate::filter::{FilterSpec, NameListText, Separator};
use crate::limits::Until;
use crate::location::Location;
use crate::manifest::ManifestMode;
use crate::manifest::keys::SecretKey;
use crate::model::hint::hint;
use crate::model::{
    Durability, Error, ErrorKind, ExtraKinds, Observer, Progress, Setting, Stop, Verdict,
};
use crate::session::{self, BagOptions, DeleteOptions, MaxChange, MirrorOptions, MirrorOutcome};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
            filter: FilterSpec::default(),
            files_from: None,
            policy: PolicyOptions::default(),
            mappings: Mappings::default(),
            delete: None,
            bag: None,
            max_change: None,
            backup_dir: None,
            require_file: None,
            sign: None,
            manifest_mode: None,
            markers: true,
            renames: true,
            holes: Holes::default(),
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
    ) -> Result<MirrorOutcome, Error> {
        session::mirror(&self.options, observer, progress, stop)
    }

    /// Signs the manifest that is published in the target.
    pub(crate) fn signed(mut self, key: SecretKey) -> Self {
        self.options.sign = Some(key);
        self
    }

    /// Returns the options that it runs with.
    pub(crate) fn options(&self) -> &MirrorOptions {
        &self.options
    }
}

impl RunOutcome for MirrorOutcome {
    fn is_complete(&self) -> bool {
        self.verdict == Verdict::Complete
    }

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
            Verdict::Interrupted => match self.limit {
                Some(limit) => format!("was ended: {}", limit.say()),
                None => "was stopped early".to_owned(),
            },
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
    filter: FilterSpec,
    files_from: Option<NameListText>,
    policy: PolicyOptions,
    mappings: Mappings,
    delete: Option<DeleteOptions>,
    bag: Option<BagOptions>,
    max_change: Option<MaxChange>,
    backup_dir: Option<PathBuf>,
    require_file: Option<PathBuf>,
    sign: Option<SecretKey>,
    manifest_mode: Option<ManifestMode>,
    markers: bool,
    renames: bool,
    holes: Holes,
    durability: Durability,
    transfers: Option<u16>,
    common: Common,
}

impl MirrorBuilder {
    common_options!();
    count_option!();
    filter_options!();

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

    /// Ends a run early, after some time or content or outside of a window; the next one goes on.
    /// [`MirrorOutcome::limit`] says why it ended. Set after [`limits`](Self::limits), which has
    /// this too.
    pub fn until(mut self, until: Until) -> Self {
        self.common.limits.until = until;
        self
    }

    /// Takes modification times as equal that are no further apart, for targets that store them
    /// coarsely or shift them. What a target rounds by itself is known without.
    pub fn modify_window(mut self, window: Duration) -> Self {
        self.policy.modify_window = window;
        self
    }

    /// Leaves out what the target doesn't have: only what it has is brought up to date.
    pub fn existing(mut self, existing: bool) -> Self {
        self.policy.existing = existing;
        self
    }

    /// Copies what symbolic links of the source point to, in it or elsewhere, instead of the links.
    /// The source must be a directory of this machine.
    pub fn copy_links(mut self, copy_links: bool) -> Self {
        self.policy.preserve.follows_links = copy_links;
        self
    }

    /// Leaves out symbolic links that lead out of the source: absolute ones, and those that go up
    /// too far. The source must be a directory of this machine.
    pub fn safe_links(mut self, safe_links: bool) -> Self {
        self.policy.safe_links = safe_links;
        self
    }

    /// Keeps named pipes, sockets and devices, as by default; else they are left out, and what the
    /// target has of them is left alone.
    pub fn specials(mut self, specials: bool) -> Self {
        self.policy.preserve.specials = specials;
        self
    }

    /// Limits the mirror to names below the source. `name/` stands for a directory with everything
    /// in it, any other name for the entry alone; the directories above are looked at too. A name
    /// that the source lacks fails, or is deleted from the target if [`delete`](Self::delete) is
    /// set. No name may hold a NUL: each part of it would be a name.
    pub fn files_from(self, names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut bytes = Vec::new();
        for name in names {
            bytes.extend_from_slice(name.as_ref());
            bytes.push(0);
        }
        self.listed(NameListText { bytes, separator: Separator::Nul })
    }

    /// Limits the mirror to the names of a list.
    pub(crate) fn listed(mut self, list: NameListText) -> Self {
        self.files_from = Some(list);
        self
    }

    /// Makes the target a bag of `BagIt` 1.0 with SHA-256 manifests, whose payload is the source's
    /// content; run again, it is brought up to date. A bag that isn't whole is never declared to be
    /// one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let at = tempfile::tempdir()?;
    /// # std::fs::create_dir(at.path().join("photos"))?;
    /// # std::fs::write(at.path().join("photos/a.jpg"), "a photo")?;
    /// # let (photos, bag, records) =
    /// #     (at.path().join("photos"), at.path().join("bag"), at.path().join("records"));
    /// use vidimus::{BagOptions, Mirror};
    ///
    /// Mirror::builder(&photos, &bag).bag(BagOptions::default()).state_dir(&records).run()?;
    /// assert!(bag.join("manifest-sha256.txt").exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn bag(mut self, options: BagOptions) -> Self {
        self.bag = Some(options);
        self
    }

    /// Hashes each file of the source, even if its size and times are unchanged.
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.policy.checksum = checksum;
        self
    }

    /// Takes files of the same size for the same.
    pub fn size_only(mut self, size_only: bool) -> Self {
        self.policy.size_only = size_only;
        self
    }

    /// Skips files that are newer in the target.
    pub fn update(mut self, update: bool) -> Self {
        self.policy.update = update;
        self
    }

    /// Skips files that exist in the target.
    pub fn ignore_existing(mut self, ignore_existing: bool) -> Self {
        self.policy.ignore_existing = ignore_existing;
        self
    }

    /// Keeps hard links: names of one file in the source are names of one file in the target. The
    /// default; without it each name is copied by itself.
    pub fn hard_links(mut self, hard_links: bool) -> Self {
        self.policy.preserve.links = hard_links;
        self
    }

    /// Renames files in the target that were moved in the source, instead of copying them, where they
    /// are deleted under their old names; by default they are renamed.
    pub fn renames(mut self, renames: bool) -> Self {
        self.renames = renames;
        self
    }

    /// Keeps extended attributes, and so file capabilities; by default they are kept.
    pub fn extended_attributes(mut self, extended_attributes: bool) -> Self {
        self.policy.preserve.attributes = extended_attributes;
        self
    }

    /// Keeps POSIX ACLs; by default they are kept.
    pub fn acls(mut self, acls: bool) -> Self {
        self.policy.preserve.acls = acls;
        self
    }

    /// Gives all copies this owner and group, as `user:group`, `user` or `:group`, each a name of
    /// this machine or a number. By default they have the source's, by number.
    pub fn chown(mut self, owner: impl Into<String>) -> Self {
        self.mappings.chown = Some(owner.into());
        self
    }

    /// Changes the modes of copies, as in `D755,F644` or `u=rwX,go-w`: changes as of chmod(1) with
    /// commas between them, for directories alone after a `D`, and for all else after an `F`. A
    /// change that names neither `u`, `g`, `o` nor `a` is for all.
    pub fn chmod(mut self, changes: impl Into<String>) -> Self {
        self.mappings.chmod = Some(changes.into());
        self
    }

    /// Leaves the bits of `umask` alone where a change of a mode names no class.
    pub(crate) fn umask(mut self, umask: u32) -> Self {
        self.mappings.umask = umask;
        self
    }

    /// Gives copies other owners, by rules `FROM:TO` with commas between them, of which the first
    /// that matches counts. FROM is a number, a range (`0-99`), a name or a pattern of names, or `*`
    /// for all; TO is a number or a name. Names are those of this machine.
    pub fn usermap(mut self, rules: impl Into<String>) -> Self {
        self.mappings.user_map = Some(rules.into());
        self
    }

    /// Gives copies to the users and groups that have the same name here as on the machine that the
    /// source comes from, where its manifest tells names. Used for a restore; by default numbers
    /// count.
    pub fn by_name(mut self, by_name: bool) -> Self {
        self.mappings.by_name = by_name;
        self
    }

    /// Gives copies other groups, as [`usermap`](Self::usermap) does for owners.
    pub fn groupmap(mut self, rules: impl Into<String>) -> Self {
        self.mappings.group_map = Some(rules.into());
        self
    }

    /// Keeps when files were last read, as far as that is possible: only root reads the source
    /// without changing it. By default it isn't kept.
    pub fn atimes(mut self, atimes: bool) -> Self {
        self.policy.preserve.atimes = atimes;
        self
    }

    /// Keeps the flags of files and directories: immutable, append-only, left out by dump. What such
    /// flags protect in the target is replaced and deleted all the same. By default they aren't
    /// kept.
    pub fn flags(mut self, flags: bool) -> Self {
        self.policy.preserve.flags = flags;
        self
    }

    /// Accepts another ctime as evidence that a file is unchanged, for file systems that change it.
    pub fn ignore_ctime(mut self, ignore_ctime: bool) -> Self {
        self.policy.trust.ignore_ctime = ignore_ctime;
        self
    }

    /// Accepts another inode number as evidence that a file is unchanged, for file systems that
    /// number inodes anew.
    pub fn ignore_inode(mut self, ignore_inode: bool) -> Self {
        self.policy.trust.ignore_inode = ignore_inode;
        self
    }

    /// Copies content of the source that changed though its size and times did not; by default such
    /// an entry fails, for its disk may be damaged.
    pub fn accept_silent_changes(mut self, accept: bool) -> Self {
        self.policy.accept_silent_changes = accept;
        self
    }

    /// Records SHA-256 or MD5 beside BLAKE3.
    pub fn digests(mut self, kinds: ExtraKinds) -> Self {
        self.policy.digests = kinds;
        self
    }

    /// Refuses the run, before it changes the target, if more than `percent` of the files that
    /// earlier runs from this source recorded changed or are gone. By default nothing is refused.
    pub fn max_change(mut self, percent: f64) -> Self {
        self.max_change = Some(MaxChange(percent));
        self
    }

    /// Keeps what is overwritten or deleted in this directory of the target's file system, below
    /// the run's id; a relative path begins at the target. By default nothing is kept.
    pub fn backup_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.backup_dir = Some(directory.into());
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

    /// Sets the permissions of the lock and the manifest in a directory; by default they are those
    /// of the target's root.
    pub fn manifest_mode(mut self, mode: ManifestMode) -> Self {
        self.manifest_mode = Some(mode);
        self
    }

    /// Sets whether directories are written to a store as objects (markers); enabled by default.
    pub fn markers(mut self, markers: bool) -> Self {
        self.markers = markers;
        self
    }

    /// Sets what becomes of holes in a target that can have them; by default they are kept.
    pub fn holes(mut self, holes: Holes) -> Self {
        self.holes = holes;
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
    /// [`ErrorKind::Usage`] for an illegal location, pattern or setting, settings that contradict
    /// each other, or if there is no directory for the state.
    pub fn build(mut self) -> Result<Mirror, Error> {
        self.refuse_contradictions()?;
        if self.bag.is_some() {
            self.policy.digests.sha256 = true;
        }
        let (source, target) = (Location::parse(&self.source)?, Location::parse(&self.target)?);
        let has_store = source.is_remote() || target.is_remote();
        let options = MirrorOptions {
            source_store: environment::store(&source, self.common.allow_http)?,
            target_store: environment::store(&target, self.common.allow_http)?,
            source,
            target,
            state_dir: environment::state_dir(self.state_dir.as_deref())?,
            dry_run: self.dry_run,
            bag: self.bag,
            policy: self.policy,
            mapping: self.mappings.build()?,
            filter: common::filter(self.filter)?,
            files_from: self.files_from,
            delete: self.delete,
            max_change: self.max_change,
            backup_dir: self.backup_dir,
            require_file: self.require_file,
            sign: self.sign,
            manifest_mode: self.manifest_mode,
            markers: self.markers,
            renames: self.renames,
            holes: self.holes,
            durability: self.durability,
            transfers: environment::at_least_one("transfers", self.transfers)
                .map(|transfers| environment::workers(transfers, has_store))?,
            checkers: self.common.checkers(false)?,
            count_ahead: self.common.count_ahead,
            limits: self.common.limits,
        };
        Ok(Mirror { options, running: self.common.running })
    }

    fn refuse_contradictions(&self) -> Result<(), Error> {
        let PolicyOptions { checksum, size_only, update, ignore_existing, digests, .. } =
            self.policy;
        let usage = |message: &str| Error::new(ErrorKind::Usage, message);
        if size_only && (checksum || digests != ExtraKinds::default()) {
            return Err(usage("sizes alone can't be compared where content is to be read")
                .help(hint!["leave out ", Setting::Checksum, " and ", Setting::Digest]));
        }
        if self.max_change.is_some_and(|MaxChange(percent)| !(0.0..=100.0).contains(&percent)) {
            return Err(usage("a share of files that may change is from 0 to 100 percent"));
        }
        if self.policy.preserve.follows_links && self.policy.safe_links {
            let message = "links are followed, so that none can be left out by where it leads";
            return Err(usage(message).help(hint!["leave out ", Setting::SafeLinks]));
        }
        if self.common.limits.until.max_transfer == Some(0) {
            return Err(usage("a run that may copy nothing would never get on").help(hint![
                "give ",
                Setting::MaxTransfer,
                " at least a byte"
            ]));
        }
        if self.bag.is_none() {
            return Ok(());
        }
        if self.backup_dir.is_some() {
            return Err(usage("a bag keeps nothing of what it replaces")
                .help(hint!["leave out ", Setting::BackupDir]));
        }
        if self.durability == Durability::None {
            return Err(usage("a bag is declared whole, which has to be durable").help(hint![
                "leave ",
                Setting::Durability,
                " as it is"
            ]));
        }
        let leaves_out = ignore_existing || self.policy.existing || self.policy.safe_links;
        if size_only || update || leaves_out || self.files_from.is_some() {
            return Err(usage("a bag has exactly what its source has: files can't be left alone"));
        }
        if self.sign.is_some() || self.manifest_mode.is_some() {
            return Err(usage("no manifest is published in a bag, which has its own").help(hint![
                "leave out ",
                Setting::Sign,
                " and ",
                Setting::ManifestMode
            ]));
        }
        Ok(())
    }

    /// Builds the mirror and runs it once.
    ///
    /// # Errors
    /// Those of [`MirrorBuilder::build`] and [`Mirror::run`].
    pub fn run(self) -> Result<MirrorOutcome, RunError<MirrorOutcome>> {
        self.build()?.run()
    }
}
