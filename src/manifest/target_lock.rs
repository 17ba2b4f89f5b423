//! A target's lock, of whichever kind its place has.

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

/// What can be locked.
pub enum Lockable {
    /// A directory, open.
    Directory(Arc<Root>),
    /// A part of a store.
    Store(Arc<BucketPrefix>),
}

impl Lockable {
    /// Has a target find out what its file system does in a way of its own, once what it is locked by
    /// is there. Where that can't be tried, it is told by `tell`, and what turns up is gone around.
    pub fn learn(&self, target: &dyn Target, tell: &mut dyn FnMut(Notice)) {
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

    /// The run that is writing to it just now, where that is told without asking for the lock; see
    /// [`Lock::writer`].
    pub fn writer(&self) -> Option<Writing> {
        match self {
            Self::Directory(root) => Lock::writer(root.directory().as_fd()),
            Self::Store(_) => None,
        }
    }

    /// Makes sure that what a run keeps in it has a place, as far as that shows without writing; see
    /// [`Lock::check_directory`].
    ///
    /// # Errors
    /// As those of [`Lock::check_directory`].
    pub fn check_directory(&self) -> Result<(), Error> {
        match self {
            Self::Directory(root) => Lock::check_directory(root.directory().as_fd()),
            Self::Store(_) => Ok(()),
        }
    }

    /// Makes sure that no run is writing to it, and keeps others from beginning to as far as that is
    /// possible. Changes nothing.
    ///
    /// # Errors
    /// As those of [`Lock::shared`] and [`Lease::check`].
    pub fn share(&self) -> Result<SharedLock, Error> {
        Ok(match self {
            Self::Directory(root) => {
                let lock = Lock::shared(root.directory().as_fd())?;
                SharedLock { left_behind: lock.as_ref().and_then(Lock::left_behind), _lock: lock }
            }
            Self::Store(place) => SharedLock { left_behind: Lease::check(place)?, _lock: None },
        })
    }

    /// Whether a run holds the lock of a part that this key lies in, so that what is vidimus's own there
    /// is under way. A store that doesn't answer counts as one where that is so: nothing is removed on
    /// its silence.
    pub fn is_held_below(&self, key: &Key) -> bool {
        match self {
            Self::Directory(root) => Lock::is_held_below(root, key),
            Self::Store(place) => Lease::is_held_below(place, key),
        }
    }
}

/// What keeps runs from writing to a target that is read, until it is dropped.
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
    /// Of a directory.
    Lock(Lock),
    /// Of a store.
    Lease(Lease),
}

impl TargetLock {
    /// Takes the lock of a target, for a run that writes; `stop` is requested should it be lost.
    /// What is worth knowing of it goes to `note`.
    ///
    /// # Errors
    /// As those of [`Lock::acquire`] and [`Lease::acquire`].
    pub fn take(
        target: &Lockable,
        request: LockRequest<'_>,
        stop: &Stop,
        tell: &mut dyn FnMut(Notice),
    ) -> Result<Self, Error> {
        let LockRequest { run, mode } = request;
        let (held, taken_over) = match target {
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
        Ok(held)
    }

    /// Says that a run began, so that what was made for the lock stays.
    pub fn keep(&self) {
        match self {
            Self::Lock(lock) => lock.keep(),
            // It goes with the run in any case.
            Self::Lease(_) => {}
        }
    }

    /// Why it was lost, if it was.
    pub fn lost(&self) -> Option<Error> {
        match self {
            Self::Lock(_) => None,
            Self::Lease(lease) => lease.lost(),
        }
    }

    /// Releases it.
    ///
    /// # Errors
    /// When that can't be said in its place: the next run takes it over.
    pub fn release(self) -> Result<(), Error> {
        match self {
            Self::Lock(lock) => lock.release(),
            Self::Lease(lease) => lease.release(),
        }
    }
}
