//! Opens the stores of a run with shared limits and counters.

use super::habits::{self, Habits};
use super::protocols::{Clients, StoreSettings};
use super::{BucketPrefix, Outcome, PrefixOptions, RequestLimits};
use crate::limits::{Began, Concurrency, LimitOptions, Memory, Reply, Requests};
use crate::location::S3Location;
use crate::model::{Error, ErrorKind, Metadata, Progress, RequestKind, Stop, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The smallest memory budget that is divided between two stores, in bytes.
const LEAST_DIVIDED: u64 = 64 << 20;

/// Opens stores within the limits of one run.
pub struct Stores {
    memory: Memory,
    spool_dir: Arc<Path>,
    /// Most concurrent requests to each store.
    requests: usize,
    rate: Arc<Requests>,
    progress: Arc<Progress>,
    stop: Stop,
    token: String,
    began: Timestamp,
    habits: Option<habits::Memory>,
    clients: Clients,
}

impl Stores {
    /// Makes the opener of a run. Each side may have up to `requests` requests under way, counted
    /// separately, because reading one side waits for writing the other. `token` distinguishes the
    /// run's uploads, `began` is its start time; listings are sorted in `spool_dir`.
    pub fn new(
        limits: &LimitOptions,
        requests: usize,
        progress: &Arc<Progress>,
        stop: &Stop,
        token: String,
        began: Timestamp,
        spool_dir: &Path,
    ) -> Self {
        Self {
            memory: Memory::new(limits.memory),
            spool_dir: spool_dir.into(),
            requests,
            rate: Arc::new(Requests::new(limits.requests)),
            progress: Arc::clone(progress),
            stop: stop.clone(),
            token,
            began,
            habits: None,
            clients: Clients::default(),
        }
    }

    /// Remembers deviations in how stores list in the state directory; new ones are recorded if
    /// `records`.
    #[must_use]
    pub fn with_habits(self, state_dir: &Path, records: bool) -> Self {
        let habits = Some(habits::Memory { state_dir: state_dir.to_owned(), records });
        Self { habits, ..self }
    }

    /// Divides the memory budget between a store that is read and one that is written, because
    /// reading ahead waits for writing, which must never wait for reading.
    pub fn divided(&self) -> [Memory; 2] {
        let all = self.memory.size();
        // A reader has no use for less than two ranges.
        let reading = if all < LEAST_DIVIDED { 0 } else { all / 4 };
        [reading, all - reading].map(Memory::new)
    }

    /// Opens a location's store, without sending a request.
    ///
    /// # Errors
    /// Fails if the settings don't give an address.
    pub fn connect(
        &self,
        location: &S3Location,
        settings: Option<&StoreSettings>,
    ) -> Result<BucketPrefix, Error> {
        let settings = settings.ok_or_else(|| {
            let message = format!("there are no settings to reach \"{location}\"");
            Error::new(ErrorKind::Usage, message)
        })?;
        // Each store has its own limit: a thread that reads one while writing the other keeps a
        // request open that waits for requests of the other.
        let gate = |at_once| Gate {
            concurrency: Concurrency::new(at_once),
            rate: Arc::clone(&self.rate),
            progress: Arc::clone(&self.progress),
            stop: self.stop.clone(),
        };
        let limits = Arc::new(gate(self.requests));
        let store = self.clients.open(&location.bucket, settings, limits, self.stop.clone())?;
        // If its pages waited for workers that read large objects, a count would come too late to
        // be useful.
        let counting = store.limited_by(Arc::new(gate(1)));
        let lock_store = store
            .limited_by(Arc::new(LockGate(Arc::clone(&self.progress))))
            .stopped_by(Stop::default());
        let guess = Metadata {
            mode: 0,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: self.began,
        };
        let (memory, stop) = (self.memory.clone(), self.stop.clone());
        let habits = self.habits.clone().map(|habits| Habits::of(store.id(), habits));
        let place = BucketPrefix::new(PrefixOptions {
            store,
            lock_store,
            prefix: location.prefix.clone(),
            spool_dir: Arc::clone(&self.spool_dir),
            memory,
            stop,
            token: self.token.clone(),
            guess,
        });
        Ok(BucketPrefix { counting, habits, ..place })
    }
}

/// Limits requests and counts them.
struct Gate {
    concurrency: Concurrency,
    rate: Arc<Requests>,
    progress: Arc<Progress>,
    stop: Stop,
}

impl RequestLimits for Gate {
    fn begin(&self, kind: RequestKind) -> Option<Began> {
        let is_over = || self.stop.requested();
        self.rate.take(&is_over).ok()?;
        let began = self.concurrency.begin(&is_over).ok()?;
        let progress = &self.progress;
        let counter = match kind {
            RequestKind::List => &progress.requests_list,
            RequestKind::Get => &progress.requests_get,
            RequestKind::Head => &progress.requests_head,
            RequestKind::Put => &progress.requests_put,
            RequestKind::Copy | RequestKind::CopyPart => &progress.requests_copy,
            RequestKind::Delete | RequestKind::DeleteMany => &progress.requests_delete,
            RequestKind::CreateUpload
            | RequestKind::UploadPart
            | RequestKind::CompleteUpload
            | RequestKind::AbortUpload
            | RequestKind::ListUploads
            | RequestKind::ListParts => &progress.requests_multipart,
        };
        counter.add(1);
        Some(began)
    }

    fn end(&self, began: Began, outcome: Outcome) {
        let reply = match outcome {
            Outcome::Done => Reply::Answered,
            Outcome::SlowDown => {
                self.progress.requests_throttled.add(1);
                Reply::SlowDown
            }
            Outcome::Failed => Reply::Failed,
        };
        self.concurrency.end(began, reply);
    }

    fn retried(&self, _kind: RequestKind, _wait: Duration) {
        self.progress.requests_retried.add(1);
    }
}

/// Lets requests of a lock through without limits, and counts them.
struct LockGate(Arc<Progress>);

impl RequestLimits for LockGate {
    fn begin(&self, _kind: RequestKind) -> Option<Began> {
        self.0.requests_lock.add(1);
        Some(Began::now())
    }

    fn end(&self, _began: Began, outcome: Outcome) {
        if outcome == Outcome::SlowDown {
            self.0.requests_throttled.add(1);
        }
    }

    fn retried(&self, _kind: RequestKind, _wait: Duration) {
        self.0.requests_retried.add(1);
    }
}
