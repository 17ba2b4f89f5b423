//! The engine: executes a plan.
//!
//! The `dispatcher` reads the plan on one thread, makes directories as it goes and hands the rest
//! in groups to workers (`copy`, `check`, `update`; `attempt`, `hash`, `ranges`, `tag`); what they
//! finished gathers in a `batch`, which the `commit` stage makes durable, puts in place and records.
//! When all steps are done, `delete` (but for what `collisions` spares), `set_aside`, `successors` and
//! `finish` work off what waited. What a verification found is mended in the same way, by a plan of
//! its own (`mend`). The engine never prints, never exits, and reads no environment.

mod ahead;
mod attempt;
mod batch;
mod check;
mod collisions;
mod commit;
mod copy;
mod delete;
mod dispatcher;
mod finish;
mod hash;
mod mend;
mod preview;
mod ranges;
mod set_aside;
mod successors;
mod tag;
#[cfg(test)]
pub(crate) mod tests;
mod update;

pub use ahead::CountAhead;
pub use collisions::Collisions;
pub use commit::{Committer, not_kept};
pub use dispatcher::execute;
pub use hash::{BUFFER, Cores, Hashed, ReadSide, Wanted};
pub use preview::Preview;

use crate::backend::layer::BandwidthLimit;
use crate::backend::{Source, Target};
use crate::compare::Policy;
use crate::manifest::{RecordedBy, RunNumber};
use crate::model::error::Side;
use crate::model::{
    Action, Cause, EntryError, EntryKind, Error, ErrorKind, Event, Feature, Features, Hint, Key,
    Notice, Observer, Operation, Outcome, Progress, Reason, Stop, Timestamp,
};
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Whose word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To mirror: what the source is like is right.
    Mirror,
    /// To mend: what was recorded is right, and the source gives content alone.
    Mend {
        /// Keep what the source's store keeps with an object beside its metadata.
        headers: bool,
    },
}

/// What every part of the engine needs.
pub struct Context<'a> {
    /// Where entries come from.
    pub source: Arc<dyn Source>,
    /// Where they go.
    pub target: Arc<dyn Target>,
    /// What it is done for.
    pub purpose: Purpose,
    /// The run's number in the state.
    pub run: RunNumber,
    /// When the run began to list: what changed since is not trusted next time.
    pub began: Timestamp,
    /// The counters.
    pub progress: &'a Progress,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// Whether to stop.
    pub stop: &'a Stop,
    /// The rules, for what can only be decided once somebody looked.
    pub policy: &'a Policy,
    /// Whether the target's store copies what the source has by itself.
    pub can_copy_server_side: bool,
    /// Bytes that a worker reads at once.
    pub buffer: usize,
    /// Workers, at least 1.
    pub transfers: usize,
    /// Who hashes.
    pub cores: Cores,
    /// The limit within which the target is written, where there is one: its waits end with the run.
    pub bandwidth: Option<Arc<BandwidthLimit>>,
    /// What stopped the run.
    pub fatal: OnceLock<Error>,
    /// Whether a filter hides entries of the target, so that a directory may not be empty.
    pub filtered: bool,
    /// What failed, for the sake of which something stays.
    pub collisions: Collisions,
    /// Where what waits spools to.
    pub spool_dir: &'a Path,
    /// Whether another run is under way in a directory below the target's root that a key lies in.
    pub is_under_way: &'a (dyn Fn(&Key) -> bool + Sync),
}

impl Context<'_> {
    /// Who records what is done.
    fn recorded_by(&self) -> RecordedBy {
        RecordedBy { run: self.run, from: self.policy.from, began: self.began }
    }

    /// Takes note of an entry that failed; an error that every other entry would meet too stops the
    /// run, and is told as that, once.
    pub fn fail(&self, mut error: EntryError) {
        if matches!(error.cause, Cause::Stopped) {
            return;
        }
        if self.filtered && matches!(error.cause, Cause::DirectoryStands) {
            error.cause = Cause::DirectoryProtected;
        }
        self.progress.fail(&error);
        self.collisions.note(&error);
        let Some(help) = hopeless(&error) else {
            return self.observer.observe(&Event::Failed(error));
        };
        let what = match error.side {
            Side::Source => "the source can't be read any more",
            Side::Target => "the target can't be written any more",
        };
        self.abort(Error::new(ErrorKind::Unusable, what).because(error).help(help));
    }

    /// Stops the run with a fatal error; the first one counts.
    pub fn abort(&self, error: Error) {
        // A later error is a consequence of the first.
        self.fatal.set(error).ok();
        if let Some(limit) = &self.bandwidth {
            limit.end();
        }
    }

    /// Whether nothing new is to be begun.
    pub fn is_over(&self) -> bool {
        self.stop.requested() || self.fatal.get().is_some()
    }

    /// Takes note that a directory was made.
    fn made_directory(&self, key: &Key, reason: Reason) {
        self.progress.directories_created.add(1);
        let kind = Some(EntryKind::Directory);
        self.tell(|| Outcome::new(key, kind, Action::MakeDirectory, reason));
    }

    /// Takes note that a directory could not be made, nor what was to be in it.
    fn fail_directory<'k>(&self, key: &Key, cause: Cause, members: impl Iterator<Item = &'k Key>) {
        self.fail(EntryError::on_target(Operation::MakeDirectory, key, cause));
        for member in members {
            self.fail(EntryError::on_target(Operation::Write, member, Cause::NoParent));
        }
    }

    /// Takes note of what a source's entry has that the target's hasn't.
    fn lost(&self, key: &Key, features: Features) {
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
            };
            count.add(1);
        }
        if self.observer.wants_changes() {
            self.observer.observe(&Event::NotKept { key: key.clone(), features });
        }
    }

    /// Tells something to know.
    fn notice(&self, notice: Notice) {
        self.observer.observe(&Event::Notice(notice));
    }

    /// Tells what became of an entry, if anybody wants to know.
    fn tell(&self, outcome: impl FnOnce() -> Outcome) {
        if self.observer.wants_changes() {
            self.observer.observe(&Event::Changed(outcome()));
        }
    }
}

/// The way out of a fault that the next entry would meet too.
fn hopeless(error: &EntryError) -> Option<Hint> {
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
        Errno::NOSPC => "make room or mirror to a larger place, then run again: it goes on",
        Errno::DQUOT => "raise the quota, then run again: it goes on",
        Errno::ROFS => "mount the target for writing, then run again",
        Errno::IO => "the target's disk or connection fails: look at the system's log",
        _ => return None,
    };
    Some(help.into())
}

/// The time as file systems stamp it: the kernel's coarse clock.
pub fn now() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Timestamp { seconds: now.tv_sec, nanos: now.tv_nsec as u32 }
}
