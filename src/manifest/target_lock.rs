//! The lock of a target of any kind.

use super::bag;
use super::holder::LeftBehind;
use super::lease::{AcquiredLease, Lease};
use super::lock::{Acquired, Lock, Writing};
use super::mode::ManifestMode;
use crate::backend::Target;
use crate::backend::local::Root;
use crate::backend::object::BucketPrefix;
use crate::model::{Cause, Error, Key, Notice, RunId, Stop};
use std::os::fd::AsFd as _;
use std::sync::Arc;

/// A target that can be locked.
pub enum Lockable {
    /// A directory, open.
    Directory(Arc<Root>),
    /// A prefix of a bucket.
    Store(Arc<BucketPrefix>),
}

impl Lockable {
    /// Makes a target probe its file system, once the lock's directory exists. If it can't, `note`
    /// is called, and deviations are worked around as they occur.
    pub fn probe(&self, target: &dyn Target, tell: &mut dyn FnMut(Notice)) {
        let Self::Directory(root) = self else { return };
        let root = root.directory().as_fd();
        let learned = bag::around(root).map_err(Cause::from).and_then(|bag| {
            let own = bag.as_ref().map_or(root, |bag| bag.as_fd());
            target.probe(own)
        });
        if let Err(cause) = learned {
            tell(Notice::TargetUntried { cause: cause.to_string() });
        }
    }

    /// Returns the run that is writing to the target, if that is known without acquiring the lock;
    /// see [`Lock::writer`].
    pub fn writer(&self) -> Option<Writing> {
        match self {
            Self::Directory(root) => Lock::writer(root.directory().as_fd()),
            Self::Store(_) => None,
        }
    }

    /// Checks that vidimus's own directory can be used, as far as that shows without writing; see
    /// [`Lock::check_directory`].
    ///
    /// # Errors
    /// Those of [`Lock::check_directory`].
    pub fn check_directory(&self) -> Result<(), Error> {
        match self {
            Self::Directory(root) => Lock::check_directory(root.directory().as_fd()),
            Self::Store(_) => Ok(()),
        }
    }

    /// Checks that no run is writing to the target, and keeps runs from beginning as far as
    /// possible. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Lock::shared`] and [`Lease::check`].
    pub fn share(&self) -> Result<SharedLock, Error> {
        Ok(match self {
            Self::Directory(root) => {
                let lock = Lock::shared(root.directory().as_fd())?;
                SharedLock { left_behind: lock.as_ref().and_then(Lock::left_behind), _lock: lock }
            }
            Self::Store(place) => SharedLock { left_behind: Lease::check(place)?, _lock: None },
        })
    }

    /// Returns whether a run holds the lock of a directory or prefix below that contains this key,
    /// so that vidimus's own files there are in use. A store that doesn't reply counts as locked,
    /// so that nothing is removed.
    pub fn is_held_below(&self, key: &Key) -> bool {
        match self {
            Self::Directory(root) => Lock::is_held_below(root, key),
            Self::Store(place) => Lease::is_held_below(place, key),
        }
    }
}

/// Keeps runs from writing to a target that is read, until it is dropped.
pub struct SharedLock {
    /// The run that died with the target's lock, if one did.
    pub left_behind: Option<LeftBehind>,
    _lock: Option<Lock>,
}

/// Who asks for a lock, and how it is to be.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The mode that the lock of a directory is to have; `None`: as the root's.
    pub mode: Option<ManifestMode>,
}

impl<'a> LockRequest<'a> {
    /// A run asks, and for no mode.
    pub fn of(run: &'a RunId) -> Self {
        Self { run, mode: None }
    }
}

/// A target's lock.
pub enum TargetLock {
    /// The lock of a directory.
    Lock(Lock),
    /// The lock of a store.
    Lease(Lease),
}

impl TargetLock {
    /// Acquires the lock of a target for a run that writes; `stop` is requested if the lock is
    /// lost. `note` gets messages about it. A requested mode applies to the lock of a directory.
    ///
    /// # Errors
    /// Those of [`Lock::acquire`] and [`Lease::acquire`].
    pub fn take(
        target: &Lockable,
        request: LockRequest<'_>,
        stop: &Stop,
        tell: &mut dyn FnMut(Notice),
    ) -> Result<Self, Error> {
        let LockRequest { run, mode } = request;
        let (lock, taken_over) = match target {
            Lockable::Store(place) => {
                let AcquiredLease { lease, taken_over, best_effort } =
                    Lease::acquire(place, run, stop)?;
                if best_effort {
                    tell(Notice::LockWithoutConditions);
                }
                (Self::Lease(lease), taken_over)
            }
            Lockable::Directory(root) => {
                let Acquired { lock, taken_over, best_effort } =
                    Lock::acquire(root.directory().as_fd(), run, mode)?;
                if best_effort {
                    tell(Notice::LockByContent);
                }
                (Self::Lock(lock), taken_over)
            }
        };
        if let Some(holder) = taken_over {
            tell(Notice::LockTakenOver { holder });
        }
        Ok(lock)
    }

    /// Records that a run began, so that the files made for the lock are kept.
    pub fn keep(&self) {
        match self {
            Self::Lock(lock) => lock.keep(),
            // It is deleted at the run's end in any case.
            Self::Lease(_) => {}
        }
    }

    /// Returns why the lock was lost, if it was.
    pub fn lost(&self) -> Option<Error> {
        match self {
            Self::Lock(_) => None,
            Self::Lease(lease) => lease.lost(),
        }
    }

    /// Releases the lock.
    ///
    /// # Errors
    /// Fails if the release can't be recorded: the next run takes the lock over.
    pub fn release(self) -> Result<(), Error> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::Lease(lease) => lease.release(),
        }
    }
}
