//! The lock of a store target: one writer at a time, as far as the store has conditional writes.
//!
//! [`Lease`] is the object `.vidimus/lock`. It is created only if it doesn't exist, rewritten while
//! the run lasts, and deleted at its end. A lock that was not rewritten for [`LEASE`], by the
//! store's clock, belongs to a dead run and is taken over; so is one of a process of this machine
//! that doesn't exist any more. A run whose lock was taken, or could not be rewritten in time, is
//! stopped. No guarantee depends on the lock alone.
//!
//! A store may refuse conditions, or never find one met (`backend::object::conditions`). Then the
//! lock is written without a condition, right after a read that found it unchanged.

use super::holder::{Holder, LeftBehind};
use crate::backend::Headers;
use crate::backend::object::{
    BucketPrefix, Condition, ListQuery, Store, StoreError, StoreErrorKind, Wanted,
};
use crate::model::reserved::{DIRECTORY, LOCK};
use crate::model::{ETag, Error, ErrorKind, Key, RunId, Stop};
use bytes::Bytes;
use crossbeam_channel::bounded;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a lock is valid without being rewritten.
const LEASE: Duration = Duration::from_mins(1);
/// The interval of rewriting the lock.
const RENEWAL: Duration = Duration::from_secs(15);
/// How often a wait checks whether the lock is to be released.
const POLL: Duration = Duration::from_millis(200);
/// The wait before a failed rewrite is retried.
const AGAIN: Duration = Duration::from_secs(3);
/// How long before its lock expires a run stops.
const MARGIN: Duration = Duration::from_secs(15);
/// Attempts to take a lock that others take and release meanwhile.
const ATTEMPTS: u32 = 3;
/// How often a condition may be found unmet although it is met, before it is left out.
const UNMET: u32 = 2;
/// How long a run that is stopped waits for its lock to be deleted.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Most bytes of a lock that are read.
const READ: u64 = 4096;

/// A held lock; dropping it releases it.
pub struct Lease {
    shared: Arc<Shared>,
    renewing: Option<JoinHandle<()>>,
}

/// A lock that was just acquired.
pub struct AcquiredLease {
    /// The lock.
    pub lease: Lease,
    /// A description of the holder, if a run died without releasing the lock.
    pub taken_over: Option<String>,
    /// Whether the store lacks conditional writes, so that two runs could hold the lock.
    pub best_effort: bool,
}

struct Shared {
    store: Arc<dyn Store>,
    key: Vec<u8>,
    /// The lock's name for messages.
    name: String,
    content: Bytes,
    state: Mutex<LeaseState>,
    changed: Condvar,
    ended: AtomicBool,
    lost: OnceLock<String>,
    stop: Stop,
}

struct LeaseState {
    /// The tag of the lock; `None` in a store without tags.
    tag: Option<ETag>,
    /// When the request that last wrote the lock began; the store wrote it then or later.
    written: Instant,
    /// Whether the store can't compare the tag when writing.
    unconditional: bool,
}

/// An existing lock.
#[derive(PartialEq, Eq)]
struct ExistingLock {
    tag: Option<ETag>,
    content: Vec<u8>,
    is_fresh: bool,
}

impl ExistingLock {
    /// Returns whether the lock belongs to a live run, as far as known.
    fn is_held(&self) -> bool {
        self.is_fresh && !Holder::read(&self.content).is_some_and(|it| it.is_dead())
    }
}

impl Lease {
    /// Acquires the lock for a run that writes; `stop` is requested if the lock is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another run holds it, [`ErrorKind::Unusable`] if the store can't be
    /// written.
    pub fn acquire(place: &BucketPrefix, run: &RunId, stop: &Stop) -> Result<AcquiredLease, Error> {
        let (key, name) = (key(place), name(place));
        let store = Arc::clone(&place.lock_store);
        // A stop request ends the acquisition.
        let begins = store.stopped_by(stop.clone());
        let unwritable = |error: &StoreError| place.unlockable(error);
        let content = serde_json::to_vec(&Holder::this(run)).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot write the target's lock").because(error)
        })?;
        let content = Bytes::from(content);
        let mut taken_over = None;
        let mut best_effort = false;
        let put = |condition: Condition<'_>| {
            begins.put(&key, content.clone().into(), &Headers::default(), condition)
        };
        let (mut tag, mut before, mut unmet) = (None, None, 0);
        let mut written = Instant::now();
        for _ in 0..ATTEMPTS {
            let existing = existing(&*begins, &key).map_err(|error| place.unusable(&error))?;
            let condition = match &existing {
                None => Condition::Absent,
                Some(existing) if existing.content == *content => {
                    // The reply to one of our own attempts was lost.
                    tag = Some(existing.tag);
                    break;
                }
                Some(existing) => {
                    if existing.is_held() {
                        return Err(locked(&name, &existing.content));
                    }
                    taken_over = Some(Holder::describe(&existing.content));
                    existing.tag.as_ref().map_or(Condition::None, Condition::Matches)
                }
            };
            let same = before.as_ref() == Some(&existing);
            unmet = if same { unmet } else { 0 };
            let condition = if unmet < UNMET { condition } else { Condition::None };
            written = Instant::now();
            match put(condition) {
                Ok(stands) => {
                    best_effort = unmet >= UNMET;
                    tag = Some(stands);
                    break;
                }
                Err(error) if error.kind == StoreErrorKind::PreconditionFailed => unmet += 1,
                Err(error) if error.may_be_the_condition() => {
                    best_effort = true;
                    tag = Some(put(Condition::None).map_err(|error| unwritable(&error))?);
                    break;
                }
                Err(error) => return Err(unwritable(&error)),
            }
            before = Some(existing);
        }
        let Some(tag) = tag else { return Err(locked(&name, b"")) };
        // A store that ignores conditions grants this, too.
        let probed = if best_effort { Ok(tag) } else { put(Condition::Absent) };
        let state = Mutex::new(LeaseState { tag, written, unconditional: false });
        let (changed, lost, stop) = (Condvar::new(), OnceLock::new(), stop.clone());
        let ended = AtomicBool::new(false);
        let shared = Shared { store, key, name, content, state, changed, ended, lost, stop };
        let lease = Self::begin(shared)?;
        match probed {
            Ok(tag) => {
                lease.shared.state.lock().tag = tag;
                best_effort = true;
            }
            Err(error) if error.kind == StoreErrorKind::PreconditionFailed => {}
            Err(error) => {
                // Don't leave a lock of a run that never began.
                let (released, mut error) = (lease.release(), unwritable(&error));
                if let Err(stays) = released {
                    error.message = format!("{}; {stays}", error.message);
                }
                return Err(error);
            }
        }
        Ok(AcquiredLease { lease, taken_over, best_effort })
    }

    /// Starts rewriting the lock periodically.
    fn begin(shared: Shared) -> Result<Self, Error> {
        let shared = Arc::new(shared);
        let renewing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("lock".into());
        let renewing = thread.spawn(move || renewing.renew()).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot start a thread").because(error)
        })?;
        Ok(Self { shared, renewing: Some(renewing) })
    }

    /// Checks that no run holds the lock, and returns the run that died with it, if one did.
    /// Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if a run holds it, [`ErrorKind::Unusable`] if the request fails.
    pub fn check(place: &BucketPrefix) -> Result<Option<LeftBehind>, Error> {
        match existing(&*place.lock_store, &key(place)).map_err(|error| place.unusable(&error))? {
            Some(existing) if existing.is_held() => Err(locked(&name(place), &existing.content)),
            existing => {
                let holder = existing.and_then(|existing| Holder::read(&existing.content));
                Ok(holder.and_then(|holder| holder.left_behind()))
            }
        }
    }

    /// Returns whether a run holds the lock of a prefix below, which contains the key and has its
    /// own `.vidimus`. Each candidate takes one request; a failed request counts as a held lock.
    pub(super) fn is_held_below(place: &BucketPrefix, key: &Key) -> bool {
        let name = DIRECTORY.as_bytes();
        let mut end = 0;
        key.trimmed().split(|&byte| byte == b'/').any(|component| {
            let part = &key.as_bytes()[..end];
            end += component.len() + 1;
            let lock = || [&place.prefix, part, name, b"/lock"].concat();
            component == name
                && existing(&*place.lock_store, &lock())
                    .map_or(true, |lock| lock.is_some_and(|lock| lock.is_held()))
        })
    }

    /// Returns why the lock was lost, if it was; the run was asked to stop then.
    pub fn lost(&self) -> Option<Error> {
        self.shared.lost.get().map(|why| {
            let name = &self.shared.name;
            Error::new(ErrorKind::Locked, format!("the target's lock \"{name}\" was lost: {why}"))
                .help("what was copied stays; run again once no other run writes to the target")
        })
    }

    /// Releases the lock.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the lock can't be deleted; it expires by itself.
    pub fn release(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(renewing) = self.renewing.take() else { return Ok(()) };
        let failed = |why: &dyn std::fmt::Display| {
            let message = format!("cannot release the target's lock, it expires by itself: {why}");
            Error::new(ErrorKind::Unusable, message)
        };
        let shared = Arc::clone(&self.shared);
        let (done, released) = bounded(1);
        // On another thread, so that a store that doesn't reply can't delay the stop.
        let ending = std::thread::Builder::new().name("unlock".into()).spawn(move || {
            shared.ended.store(true, Ordering::Relaxed);
            shared.changed.notify_all();
            // Even if the thread panicked, it writes no more.
            renewing.join().ok();
            let lost = shared.lost.get().is_some();
            let deleted =
                if lost { Ok(()) } else { shared.store.delete(&shared.key, Condition::None) };
            done.send(deleted)
        });
        ending.map_err(|error| failed(&error))?;
        let patience = if self.shared.stop.requested() { LAST_WAIT } else { LEASE };
        let result = released.recv_timeout(patience).map_err(|error| failed(&error))?;
        result.map_err(|error| failed(&error))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The lock expires by itself, and an error can't be reported from here.
        self.end().ok();
    }
}

impl Shared {
    /// Rewrites the lock periodically until it is released or lost.
    fn renew(&self) {
        let mut pause = RENEWAL;
        let mut state = self.state.lock();
        loop {
            let woken = Instant::now() + pause;
            while !self.ended.load(Ordering::Relaxed) && Instant::now() < woken {
                let left = woken.saturating_duration_since(Instant::now()).min(POLL);
                self.changed.wait_for(&mut state, left);
            }
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            // The mutex is otherwise only locked to end the lease, which waits for this thread
            // anyway.
            match self.rewrite(&mut state) {
                Ok(None) => {
                    state.written = began;
                    pause = RENEWAL;
                    continue;
                }
                Ok(Some(why)) => return self.lose(why),
                Err(_) => {}
            }
            pause = AGAIN;
            if state.written.elapsed() + MARGIN > LEASE {
                return self.lose("it could not be renewed in time".to_owned());
            }
        }
    }

    /// Rewrites the lock; returns why it is lost, if it is.
    fn rewrite(&self, state: &mut LeaseState) -> Result<Option<String>, StoreError> {
        let put = |condition| {
            self.store.put(&self.key, self.content.clone().into(), &Headers::default(), condition)
        };
        // A tag that can't be sent can't be a condition.
        if !state.unconditional && state.tag.is_some_and(|tag| tag.is_whole()) {
            let condition = state.tag.as_ref().map_or(Condition::None, Condition::Matches);
            match put(condition) {
                Ok(tag) => {
                    state.tag = tag;
                    return Ok(None);
                }
                Err(error)
                    if error.kind == StoreErrorKind::PreconditionFailed
                        || error.may_be_the_condition() => {}
                Err(error) => return Err(error),
            }
        }
        match existing(&*self.store, &self.key)? {
            Some(existing) if existing.content == *self.content => match existing.tag {
                // The lock was written, but the reply was lost.
                Some(tag) if state.tag.is_some_and(|written| written != tag) => {
                    // An earlier attempt wrote it at an unknown time, so its expiry is unknown:
                    // write it again.
                    state.tag = put(Condition::Matches(&tag))?;
                }
                _ => {
                    state.tag = put(Condition::None)?;
                    state.unconditional = true;
                }
            },
            Some(existing) => {
                return Ok(Some(format!(
                    "it is held by {} now",
                    Holder::describe(&existing.content)
                )));
            }
            None => return Ok(Some("somebody deleted it".to_owned())),
        }
        Ok(None)
    }

    fn lose(&self, why: String) {
        // Set only once, because the thread ends here.
        self.lost.set(why).ok();
        self.stop.request();
    }
}

fn key(place: &BucketPrefix) -> Vec<u8> {
    [&place.prefix, LOCK.as_bytes()].concat()
}

/// Returns the lock's name for messages.
fn name(place: &BucketPrefix) -> String {
    format!("{}{LOCK}", place.name())
}

/// Reads the existing lock, if there is one.
fn existing(store: &dyn Store, key: &[u8]) -> Result<Option<ExistingLock>, StoreError> {
    let query = ListQuery { prefix: key, limit: Some(1), ..ListQuery::default() };
    let page = store.list(&query)?;
    let Some(lock) = page.objects.into_iter().find(|object| *object.key == *key) else {
        return Ok(None);
    };
    let age = page.date.zip(lock.modified).map(|(now, then)| now.seconds - then.seconds);
    let is_fresh = age.is_none_or(|age| age < LEASE.as_secs() as i64);
    let mut content = Vec::new();
    if lock.size > 0 && lock.size <= READ {
        let wanted = Wanted { size: Some(lock.size), ..Wanted::default() };
        let mut got = match store.get(key, &wanted) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        while let Some(bytes) = got.read()? {
            content.extend_from_slice(&bytes);
        }
    }
    Ok(Some(ExistingLock { tag: lock.etag, content, is_fresh }))
}

fn locked(name: &str, content: &[u8]) -> Error {
    let by = Holder::describe(content);
    Error::new(ErrorKind::Locked, format!("the target is locked by {by} (\"{name}\")")).help(
        "wait until it ends; the lock of a run that died elsewhere expires after a minute; if you \
         are sure that no run is active, delete that object",
    )
}
