//! The engine: executes a plan.
//!
//! The `dispatcher` reads the plan on one thread, makes directories as it goes and hands everything
//! else in groups to workers (`copy`, `check`, `update`; `attempt` with `copying` and `holes`;
//! `hash`, `ranges` with `zeros`, `tag`; `partials` for files whose copying is stopped).
//! Finished steps are collected in a `batch`, which the `commit` stage makes durable, puts in place
//! and records. `stages` is the order of a run: when all steps are done, `renames`, `links`, `delete`
//! (except what `collisions` spares), `set_aside`, `successors` and `finish` do what had to wait. `mend` repairs what a verification found, by a
//! plan of its own. The engine never prints, never exits, and reads no environment.

mod ahead;
mod attempt;
mod attributes;
mod batch;
mod check;
mod collisions;
mod commit;
mod copy;
mod copying;
mod delete;
mod dispatcher;
mod finish;
mod hash;
mod holes;
mod links;
mod mend;
mod partials;
mod preview;
mod ranges;
mod refusals;
mod renames;
mod seal;
mod set_aside;
mod stages;
mod subtrees;
mod successors;
mod tag;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod zeros;

pub use ahead::CountAhead;
pub use collisions::Collisions;
pub use commit::{Committer, not_kept};
pub use hash::{BUFFER, Cores, Hashed, ReadSide, Wanted};
pub use holes::Holes;
pub use links::stands_linked;
pub use partials::Partials;
pub use preview::Preview;
pub use refusals::Refusals;
pub use renames::{moved_from, renames_done};
pub use stages::execute;

use crate::backend::layer::BandwidthLimit;
use crate::backend::{Intended, Precondition, Source, Target};
use crate::compare::{HardLinks, Policy};
use crate::manifest::{RecordedBy, RunNumber};
use crate::model::error::Side;
use crate::model::hint::hint;
use crate::model::run::RunLimit;
use crate::model::{
    Action, Cause, Digest, Entry, EntryError, EntryKind, Error, ErrorKind, Event, Feature,
    Features, Hint, Key, Metadata, Notice, Observer, Operation, Outcome, Progress, Reason, Setting,
    Stop, Timestamp,
};
use crate::plan::links::{Follower, Links};
use crate::plan::spool_error;
use crate::spool::{Sorter, Spool};
use parking_lot::Mutex;
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// What a plan is executed for, which decides whose metadata is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Mirror: the source's metadata is right.
    Mirror,
    /// Repair: the recorded metadata is right, and only content is taken from the source.
    Mend {
        /// Keep the headers that the source's store has with an object.
        headers: bool,
    },
}

/// What every part of the engine needs.
pub struct Context<'a> {
    /// The side that entries are read from.
    pub source: Arc<dyn Source>,
    /// The side that entries are written to.
    pub target: Arc<dyn Target>,
    /// The purpose of the run.
    pub purpose: Purpose,
    /// The run's number in the state.
    pub run: RunNumber,
    /// When the run began to list: source stamps since then are not trusted next time.
    pub began: Timestamp,
    /// The counters.
    pub progress: &'a Progress,
    /// Receives the events.
    pub observer: &'a dyn Observer,
    /// The user's request to stop.
    pub stop: &'a Stop,
    /// The rules, for decisions that need content or metadata that a listing doesn't give.
    pub policy: &'a Policy,
    /// Whether the target's store can copy from the source without the content passing through
    /// here.
    pub can_copy_server_side: bool,
    /// What becomes of holes in a target that can have them.
    pub holes: Holes,
    /// The size of a worker's read buffer, in bytes.
    pub buffer: usize,
    /// The number of workers, at least 1.
    pub transfers: usize,
    /// Bytes of content after which no further file is begun.
    pub max_transfer: Option<u64>,
    /// The cores that hash.
    pub cores: Cores,
    /// The bandwidth limit of the target, if there is one: its waits end with the run.
    pub bandwidth: Option<Arc<BandwidthLimit>>,
    /// The error that stopped the run.
    pub fatal: OnceLock<Error>,
    /// Whether a filter hides entries of the target, so that a directory may not be empty.
    pub filtered: bool,
    /// Failed entries, which keep others from being deleted.
    pub collisions: Collisions,
    /// Special files that the target refused.
    pub refusals: Refusals,
    /// Names of files with several, of which a store told that only when they were read.
    pub learned_links: Mutex<Links>,
    /// Entries whose flags are set when all else is done, if the target's flags are set by calls of
    /// their own and the run keeps them.
    pub seals: Option<Mutex<Spool>>,
    /// Numbers of the deletions whose place a rename took, each in 8 bytes (big-endian).
    pub renamed: Mutex<Sorter>,
    /// The directory of spool files.
    pub spool_dir: &'a Path,
    /// The files whose copying was stopped, if runs go on with them.
    pub partials: Option<&'a Partials>,
    /// Returns whether a key lies in a directory of the target into which another run is under way.
    pub is_under_way: &'a (dyn Fn(&Key) -> bool + Sync),
}

impl Context<'_> {
    /// Returns what the rows of this run have in common.
    fn recorded_by(&self) -> RecordedBy {
        RecordedBy { run: self.run, from: self.policy.from, began: self.began }
    }

    /// Adds what a copy of an entry gets beside metadata, attributes left out.
    fn intended<'m>(&self, wanted: &'m Metadata, entry: &Entry) -> Intended<'m> {
        let preserve = self.policy.options.preserve;
        Intended {
            accessed: entry.accessed().filter(|_| preserve.atimes),
            flags: preserve.flags.then(|| entry.flags()),
            ..wanted.into()
        }
    }

    /// Counts and reports an entry that failed. An error that every other entry would meet too
    /// stops the run instead and is reported once, as its reason.
    pub fn fail(&self, mut error: EntryError) {
        if matches!(error.cause, Cause::Stopped) {
            return;
        }
        if self.filtered && matches!(error.cause, Cause::DirectoryStands) {
            error.cause = Cause::DirectoryProtected;
        }
        self.progress.fail(&error);
        self.collisions.note(&error);
        let Some(error) = self.refusals.keep(error) else { return };
        let Some(help) = fatal_hint(&error) else {
            return self.observer.observe(&Event::Failed(error));
        };
        let what = match error.side {
            Side::Source => "the source can't be read any more",
            Side::Target => "the target can't be written any more",
        };
        self.abort(Error::new(ErrorKind::Unusable, what).because(error).help(help));
    }

    /// Reports the special files that the target refused, if it did.
    fn report_refusals(&self) {
        if let Some(error) = self.refusals.take() {
            self.observer.observe(&Event::Failed(error));
        }
    }

    /// Stops the run with a fatal error; the first one counts.
    pub fn abort(&self, error: Error) {
        // A later error is a consequence of the first.
        self.fatal.set(error).ok();
        if let Some(limit) = &self.bandwidth {
            limit.end();
        }
    }

    /// Returns whether no new work may be started.
    pub fn is_over(&self) -> bool {
        if self.max_transfer.is_some_and(|max| self.progress.bytes_moved.get() >= max) {
            self.stop.reach(RunLimit::Transfer);
        }
        self.stop.is_ending() || self.fatal.get().is_some()
    }

    /// Returns whether even what has begun is broken off.
    fn breaks_off(&self) -> bool {
        self.stop.requested() || self.fatal.get().is_some()
    }

    /// Keeps a name for the end, of which `listed` didn't tell that its file has others.
    fn learn_link(&self, listed: &Entry, read: &Entry, digest: Digest) {
        let Some(group) = read.group().filter(|_| listed.group().is_none()) else { return };
        if self.policy.hard_links != HardLinks::Made {
            return;
        }
        let follower = Follower {
            file: group.id,
            source: Entry { recorded: Some(digest), ..read.clone() },
            target: None,
            place: Precondition::Leaf,
            is_foreseen: true,
        };
        if let Err(error) = self.learned_links.lock().follow(&follower) {
            self.abort(spool_error(error));
        }
    }

    /// Counts and reports a directory that was made.
    fn made_directory(&self, key: &Key, reason: Reason) {
        self.progress.directories_created.add(1);
        let kind = Some(EntryKind::Directory);
        self.report(|| Outcome::new(key, kind, Action::MakeDirectory, reason));
    }

    /// Reports that a directory could not be made, and that its members fail with it.
    fn fail_directory<'k>(&self, key: &Key, cause: Cause, members: impl Iterator<Item = &'k Key>) {
        self.fail(EntryError::on_target(Operation::MakeDirectory, key, cause));
        for member in members {
            self.fail(EntryError::on_target(Operation::Write, member, Cause::NoParent));
        }
    }

    /// Counts and reports features of the source's entry that the target's copy lacks.
    fn report_lost(&self, key: &Key, mut features: Features) {
        if self.policy.hard_links != HardLinks::Separate {
            features.remove(Feature::HardLinks);
        }
        self.report_missing(key, features);
    }

    /// Counts and reports features that the target's copy lacks for sure.
    fn report_missing(&self, key: &Key, features: Features) {
        if features.is_empty() {
            return;
        }
        for feature in features.iter() {
            let count = match feature {
                Feature::HardLinks => &self.progress.hard_links_lost,
                Feature::Holes => &self.progress.holes_lost,
                Feature::Attributes => &self.progress.attributes_lost,
                Feature::Acl => &self.progress.acls_lost,
                Feature::UnreadAttributes => &self.progress.attributes_unread,
                Feature::AttributesApart => &self.progress.attributes_kept_apart,
            };
            count.add(1);
        }
        if self.observer.wants_changes() {
            self.observer.observe(&Event::NotKept { key: key.clone(), features });
        }
    }

    /// Reports a notice.
    fn notice(&self, notice: Notice) {
        self.observer.observe(&Event::Notice(notice));
    }

    /// Reports the outcome of an entry if the observer wants outcomes.
    fn report(&self, outcome: impl FnOnce() -> Outcome) {
        if self.observer.wants_changes() {
            self.observer.observe(&Event::Changed(outcome()));
        }
    }
}

/// Returns advice if every other entry would fail with the same error, so that the run must stop.
fn fatal_hint(error: &EntryError) -> Option<Hint> {
    if let Cause::Lost { help, .. } = &error.cause {
        return Some(help.clone());
    }
    if error.side == Side::Source {
        return None;
    }
    if error.operation == Operation::List || error.operation == Operation::Read {
        return None;
    }
    let Cause::Io(io) = &error.cause else { return None };
    let help = match Errno::from_io_error(io)? {
        Errno::NOSPC => {
            "make room or mirror to a larger place, then run again: it continues where it stopped"
        }
        Errno::DQUOT => "raise the quota, then run again: it continues where it stopped",
        Errno::ROFS => "mount the target for writing, then run again",
        Errno::IO => "the target's disk or connection fails: see the system's log",
        _ => return None,
    };
    Some(help.into())
}

/// Starts a thread of a run.
///
/// # Errors
/// [`ErrorKind::Unusable`] if the system has no room for another.
fn start<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 's,
) -> Result<ScopedJoinHandle<'s, T>, Error> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work).map_err(|error| {
        Error::new(ErrorKind::Unusable, "cannot start a thread").because(error).help(hint![
            "raise the limit of processes (ulimit -u), or run with fewer ",
            Setting::Transfers
        ])
    })
}

/// Returns the time of the kernel's coarse clock, with which file systems stamp files.
pub fn now() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Timestamp { seconds: now.tv_sec, nanos: now.tv_nsec as u32 }
}
