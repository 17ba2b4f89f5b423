//! The lock of a store: one writer at a time, as far as the store has conditional writes.
//!
//! [`Lease`] is the object `.vidimus/lock`. It is made only if there is none, written again while the
//! run goes on, and deleted at its end. One that was not written again for [`LEASE`], by the store's
//! clock, is a dead run's and taken over, as is one of a process of this machine that is gone. A run
//! whose lock was taken, or that could not write it again in time, is stopped. No promise rests on
//! the lock alone.
//!
//! A store may refuse conditions, or never find one met (`backend::object::conditions`). Then the lock
//! is written without one, right after a look that shows the same that was there before.

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

/// How long a lock holds that is not written again.
const LEASE: Duration = Duration::from_mins(1);
/// How often it is written again.
const RENEWAL: Duration = Duration::from_secs(15);
/// How often a wait looks whether the lock is to be released.
const GLANCE: Duration = Duration::from_millis(200);
/// How soon that is tried again where it failed.
const AGAIN: Duration = Duration::from_secs(3);
/// The run stops so long before its lock lapses.
const MARGIN: Duration = Duration::from_secs(15);
/// Attempts, where others take and release the lock meanwhile.
const ATTEMPTS: u32 = 3;
/// How often a condition may be found unmet though what it asks for stands: then it is left out.
const UNMET: u32 = 2;
/// How long a run that is to stop waits for its lock to be deleted.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Bytes of a lock that are read.
const READ: u64 = 4096;

/// A lock that is held; dropping it releases it.
pub struct Lease {
    shared: Arc<Shared>,
    renewing: Option<JoinHandle<()>>,
}

/// A lock just taken.
pub struct AcquiredLease {
    /// The lock.
    pub lease: Lease,
    /// Whose it was, in words, where a run died without releasing it.
    pub taken_over: Option<String>,
    /// Whether the store lacks conditional writes, so that two runs could hold it.
    pub best_effort: bool,
}

struct Shared {
    store: Arc<dyn Store>,
    key: Vec<u8>,
    /// The lock as messages name it.
    name: String,
    content: Bytes,
    state: Mutex<LeaseState>,
    changed: Condvar,
    ended: AtomicBool,
    lost: OnceLock<String>,
    stop: Stop,
}

struct LeaseState {
    /// `None` in a store that tells none.
    tag: Option<ETag>,
    /// When the request that wrote it began: the store did so then, or later.
    written: Instant,
    /// Whether the store can't hold what is written against the tag.
    unconditional: bool,
}

/// A lock that stands.
#[derive(PartialEq, Eq)]
struct ExistingLock {
    tag: Option<ETag>,
    content: Vec<u8>,
    is_fresh: bool,
}

impl ExistingLock {
    /// Whether it is that of a run which goes on, as far as is known.
    fn is_held(&self) -> bool {
        self.is_fresh && !Holder::read(&self.content).is_some_and(|it| it.is_dead())
    }
}

impl Lease {
    /// Takes the lock of a place, for a run that writes; `stop` is requested should it be lost.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when another run holds it, [`ErrorKind::Unusable`] when the store can't
    /// be written.
    pub fn acquire(place: &BucketPrefix, run: &RunId, stop: &Stop) -> Result<AcquiredLease, Error> {
        let (key, name) = (key(place), name(place));
        let store = Arc::clone(&place.lock_store);
        // Until it is held, a wish to stop ends it.
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
            let standing = standing(&*begins, &key).map_err(|error| place.unusable(&error))?;
            let condition = match &standing {
                None => Condition::Absent,
                Some(standing) if standing.content == *content => {
                    // The reply to an attempt of ours was lost.
                    tag = Some(standing.tag);
                    break;
                }
                Some(standing) => {
                    if standing.is_held() {
                        return Err(locked(&name, &standing.content));
                    }
                    taken_over = Some(Holder::tell(&standing.content));
                    standing.tag.as_ref().map_or(Condition::None, Condition::Matches)
                }
            };
            let same = before.as_ref() == Some(&standing);
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
            before = Some(standing);
        }
        let Some(tag) = tag else { return Err(locked(&name, b"")) };
        // A store may take no notice of conditions: then this is granted too.
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
                // Nobody else is to wait for a run that never began.
                let (released, mut error) = (lease.release(), unwritable(&error));
                if let Err(stays) = released {
                    error.message = format!("{}; {stays}", error.message);
                }
                return Err(error);
            }
        }
        Ok(AcquiredLease { lease, taken_over, best_effort })
    }

    /// Begins to write the lock again and again.
    fn begin(shared: Shared) -> Result<Self, Error> {
        let shared = Arc::new(shared);
        let renewing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("lock".into());
        let renewing = thread.spawn(move || renewing.renew()).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot start a thread").because(error)
        })?;
        Ok(Self { shared, renewing: Some(renewing) })
    }

    /// Makes sure that no run holds the lock of a place; the run that died with it, if one did. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when one does, [`ErrorKind::Unusable`] when the store can't be asked.
    pub fn check(place: &BucketPrefix) -> Result<Option<LeftBehind>, Error> {
        match standing(&*place.lock_store, &key(place)).map_err(|error| place.unusable(&error))? {
            Some(standing) if standing.is_held() => Err(locked(&name(place), &standing.content)),
            standing => {
                let holder = standing.and_then(|standing| Holder::read(&standing.content));
                Ok(holder.and_then(|holder| holder.left()))
            }
        }
    }

    /// Whether a run holds the lock of a part of a place that this key lies in, where that part's own
    /// `.vidimus` is on the way to it: each is asked for by one request. A store that doesn't answer
    /// counts as one where that is so.
    pub(super) fn is_held_below(place: &BucketPrefix, key: &Key) -> bool {
        let name = DIRECTORY.as_bytes();
        let mut end = 0;
        key.trimmed().split(|&byte| byte == b'/').any(|component| {
            let part = &key.as_bytes()[..end];
            end += component.len() + 1;
            let lock = || [&place.prefix, part, name, b"/lock"].concat();
            component == name
                && standing(&*place.lock_store, &lock())
                    .map_or(true, |lock| lock.is_some_and(|lock| lock.is_held()))
        })
    }

    /// Why the lock was lost, if it was: the run was asked to stop then.
    pub fn lost(&self) -> Option<Error> {
        self.shared.lost.get().map(|why| {
            let name = &self.shared.name;
            Error::new(ErrorKind::Locked, format!("the target's lock \"{name}\" was lost: {why}"))
                .help("what was copied stands; run again once no other run writes to the target")
        })
    }

    /// Releases the lock.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it can't be deleted: it lapses by itself.
    pub fn release(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(renewing) = self.renewing.take() else { return Ok(()) };
        let failed = |why: &dyn std::fmt::Display| {
            let message = format!("cannot release the target's lock, it lapses by itself: {why}");
            Error::new(ErrorKind::Unusable, message)
        };
        let shared = Arc::clone(&self.shared);
        let (done, released) = bounded(1);
        // From beside: a store that is silent holds no run that is to stop.
        let ending = std::thread::Builder::new().name("unlock".into()).spawn(move || {
            shared.ended.store(true, Ordering::Relaxed);
            shared.changed.notify_all();
            // Whatever became of the thread, it writes no more.
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
        // It lapses by itself, and nobody is left to tell.
        self.end().ok();
    }
}

impl Shared {
    /// Writes the lock again and again, until it is released or lost.
    fn renew(&self) {
        let mut pause = RENEWAL;
        let mut state = self.state.lock();
        loop {
            let woken = Instant::now() + pause;
            while !self.ended.load(Ordering::Relaxed) && Instant::now() < woken {
                let left = woken.saturating_duration_since(Instant::now()).min(GLANCE);
                self.changed.wait_for(&mut state, left);
            }
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            // Nobody else takes this mutex but to end the lease, which waits for this thread anyhow.
            match self.write_again(&mut state) {
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

    /// Writes the lock again; why it is lost, if it is.
    fn write_again(&self, state: &mut LeaseState) -> Result<Option<String>, StoreError> {
        let put = |condition| {
            self.store.put(&self.key, self.content.clone().into(), &Headers::default(), condition)
        };
        // Only what can be sent back can be asked for.
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
        match standing(&*self.store, &self.key)? {
            Some(standing) if standing.content == *self.content => match standing.tag {
                // It was written, and the reply lost.
                Some(tag) if state.tag.is_some_and(|written| written != tag) => {
                    // By an attempt that is older than this one: nobody here knows by how much, and
                    // so not when the lock lapses.
                    state.tag = put(Condition::Matches(&tag))?;
                }
                _ => {
                    state.tag = put(Condition::None)?;
                    state.unconditional = true;
                }
            },
            Some(standing) => {
                return Ok(Some(format!("it is held by {} now", Holder::tell(&standing.content))));
            }
            None => return Ok(Some("somebody deleted it".to_owned())),
        }
        Ok(None)
    }

    fn lose(&self, why: String) {
        // Set once: the thread ends with it.
        self.lost.set(why).ok();
        self.stop.request();
    }
}

fn key(place: &BucketPrefix) -> Vec<u8> {
    [&place.prefix, LOCK.as_bytes()].concat()
}

/// The lock of a place as messages name it.
fn name(place: &BucketPrefix) -> String {
    format!("{}{LOCK}", place.name())
}

/// The lock that stands, if one does.
fn standing(store: &dyn Store, key: &[u8]) -> Result<Option<ExistingLock>, StoreError> {
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
    let by = Holder::tell(content);
    Error::new(ErrorKind::Locked, format!("the target is locked by {by} (\"{name}\")")).help(
        "wait until it ends; the lock of a run that died elsewhere lapses after a minute, and where \
         surely no run goes on that object may be deleted",
    )
}
