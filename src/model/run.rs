//! Runs: their ids, totals, verdicts and progress counters.

use super::{Entry, EntryError, EntryKind, Key};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A run's id: its start in UTC and four random bytes, `20261121T033800Z-1f2e3d4c`.
///
/// Ids sort by start, to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub String);

impl RunId {
    /// Returns the random bytes at the end, which identify a run's temporaries; `None` if the id
    /// has another form.
    pub fn token(&self) -> Option<u32> {
        let (_, token) = self.0.rsplit_once('-')?;
        u32::from_str_radix(token, 16).ok().filter(|_| token.len() == 8)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was done.
    Complete,
    /// Some entries failed, the rest is done.
    Incomplete,
    /// A guard refused the deletions; finished copies remain.
    Refused,
    /// A signal stopped it; the next run continues.
    Interrupted,
    /// A fatal error stopped it.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        })
    }
}

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of a run. "Files" are all entries but directories.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Totals { $($(#[$doc])* pub $name: u64,)* }

        /// The counters of a running run, shared by its threads and sampled by presenters.
        #[derive(Debug, Default)]
        pub struct Progress {
            $($(#[$doc])* pub $name: Counter,)*
            /// What each worker is copying, one slot per worker.
            pub in_flight: Mutex<Vec<Option<InFlight>>>,
            /// Whether planning is finished, so that the planned totals are final.
            pub plan_final: AtomicBool,
            /// The amount of work, counted in advance.
            pub ahead: Ahead,
            /// Finished copies among those planned.
            pub settled: Settled,
        }

        impl Progress {
            /// Returns the current counts.
            pub fn totals(&self) -> Totals {
                Totals { $($name: self.$name.get(),)* }
            }

            /// Sets all counters to 0 for a new run.
            pub fn reset(&self) {
                $(self.$name.set(0);)*
                self.plan_final.store(false, Ordering::Relaxed);
                self.ahead.reset();
                self.settled.files.set(0);
                self.settled.bytes_unmoved.set(0);
            }
        }
    };
}

totals! {
    /// Everything examined: each key of the source or the target, each part of them that could not
    /// be listed, and anything else that failed by itself. Each failure is of one of these.
    entries,
    /// Entries listed in the source.
    source_entries,
    /// Bytes of the source's regular files as listed.
    source_bytes,
    /// Entries listed in the target.
    target_entries,
    /// Files copied.
    files_copied,
    /// Of these, symbolic links.
    links_copied,
    /// Files found unchanged.
    files_unchanged,
    /// Of these, symbolic links.
    links_unchanged,
    /// Names that were made other names of a file in the target (hard links).
    hard_links_made,
    /// Files renamed in the target, because the source's were moved.
    files_renamed,
    /// Directories renamed in the target, with all in them.
    directories_renamed,
    /// Files found in the target and taken as they are, without a digest.
    files_adopted,
    /// Of these, symbolic links.
    links_adopted,
    /// Adopted files whose content has no known digest.
    adopted_without_digest,
    /// Files whose content in the target is known by the digest that a run from another source
    /// recorded. This source's files have the same size and time, and were not read.
    known_by_digest,
    /// Files without a row that were looked up in a store to decide whether to adopt the target's.
    adoption_files,
    /// Bytes hashed for that decision.
    adoption_bytes,
    /// Microseconds spent on it, summed over the concurrent workers.
    adoption_worker_us,
    /// Files copied server-side whose digest is unknown.
    files_without_digest,
    /// Files deleted.
    files_deleted,
    /// Of these, symbolic links.
    links_deleted,
    /// Files left alone because the options said so (`--update`, `--ignore-existing`, sizes).
    files_skipped,
    /// Of these, symbolic links.
    links_skipped,
    /// Entries of the target that are kept though they have no row: the options protect them, or
    /// ask for no closer look.
    kept_unrecorded,
    /// Entries that failed, including directories.
    files_failed,
    /// Of these, entries whose content may be missing in the target because of it.
    copies_failed,
    /// Entries whose metadata alone was updated.
    metadata_updated,
    /// Directories made.
    directories_created,
    /// Directories deleted.
    directories_deleted,
    /// Files that only the target has, or that a directory replaced, whose deletion waits for a run
    /// in which no copy fails.
    file_deletions_waiting,
    /// Of these, symbolic links.
    link_deletions_waiting,
    /// Directories that only the target has, whose deletion waits as well.
    directory_deletions_waiting,
    /// Further names of hard-linked files, each copied as a file of its own.
    hard_links_lost,
    /// Files copied whose holes were written as zeros.
    holes_lost,
    /// Files and directories copied without their extended attributes.
    attributes_lost,
    /// Files and directories copied without their ACLs.
    acls_lost,
    /// Files and directories whose attributes and ACLs could not be read: their copies' groups got
    /// no permissions.
    attributes_unread,
    /// Entries copied without extended attributes or ACLs, which the manifest keeps instead.
    attributes_kept_apart,
    /// Files to copy, as planned so far.
    files_planned,
    /// Bytes to copy, as planned so far.
    bytes_planned,
    /// Bytes of the files copied.
    bytes_copied,
    /// Bytes read so far, including those of files that are still being copied.
    bytes_moved,
    /// Bytes hashed, including those of files that turned out to be unchanged.
    bytes_hashed,
    /// Deletions planned so far.
    deletions_planned,
    /// Temporary files of killed runs that were removed, and leaves that a directory replaced in an
    /// earlier run.
    leftovers_swept,
    /// Requests to stores, counting each attempt: pages of listings.
    requests_list,
    /// Requests for content.
    requests_get,
    /// Requests for an object's metadata.
    requests_head,
    /// Requests that wrote a whole object.
    requests_put,
    /// Server-side copies.
    requests_copy,
    /// Deletions.
    requests_delete,
    /// Requests of multipart uploads: starts, parts, completions, and listings of them.
    requests_multipart,
    /// Requests for the target's lock.
    requests_lock,
    /// Requests that were retried.
    requests_retried,
    /// Requests that a store throttled.
    requests_throttled,
}

impl Progress {
    /// Counts an entry that the options leave alone; directories aren't counted as files.
    pub fn skip(&self, kind: Option<EntryKind>) {
        self.files_skipped.add(u64::from(kind != Some(EntryKind::Directory)));
        self.links_skipped.add(u64::from(kind == Some(EntryKind::Symlink)));
    }

    /// Counts a file that is to be copied.
    pub fn plan_copy(&self, source: &Entry) {
        self.files_planned.add(1);
        self.bytes_planned.add(source.size());
    }

    /// Counts an entry that failed.
    pub fn fail(&self, error: &EntryError) {
        self.files_failed.add(1);
        self.copies_failed.add(u64::from(error.is_failed_copy()));
    }
}

impl Totals {
    /// Returns the error rate E = F/D: failed entries F of all entries examined D.
    pub fn error_rate(&self) -> f64 {
        error_rate(self.files_failed, self.entries)
    }

    /// Returns the speed S = D/T in bytes a second, with D the bytes copied and T `duration`.
    pub fn throughput(&self, duration: Duration) -> f64 {
        throughput(self.bytes_copied, duration)
    }

    /// Returns whether the run changed the target.
    pub fn changed_anything(&self) -> bool {
        self.files_copied
            + self.hard_links_made
            + self.files_renamed
            + self.directories_renamed
            + self.files_deleted
            + self.metadata_updated
            + self.directories_created
            + self.directories_deleted
            > 0
    }
}

/// Returns the error rate E = F/D of F failures among D entries examined, from 0 to 1; 0 if there
/// were none.
///
/// D counts each key that either side has, each part of a side that could not be listed, and
/// anything else that can fail by itself, so that each failure is of one of the D.
pub fn error_rate(failed: u64, entries: u64) -> f64 {
    if entries == 0 { 0.0 } else { failed as f64 / entries.max(failed) as f64 }
}

/// Returns the speed S = D/T in bytes a second of D bytes in a run of length T; 0 for a run that
/// took no time.
pub fn throughput(bytes: u64, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }
}

/// The amount of work, counted alongside a run for its estimates: names and sizes in the source, or
/// the rows that a target is verified with.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Entries.
    pub entries: Counter,
    /// Of these, regular files.
    pub files: Counter,
    /// Bytes of their content.
    pub bytes: Counter,
    /// Whether the count is complete.
    pub is_whole: AtomicBool,
}

impl Ahead {
    /// Counts an entry; only regular files have a size.
    pub fn add(&self, size: Option<u64>) {
        self.entries.add(1);
        if let Some(size) = size {
            self.files.add(1);
            self.bytes.add(size);
        }
    }

    /// Returns the current counts.
    pub fn counted(&self) -> Counted {
        // Read first: a complete count no longer grows.
        let is_whole = self.is_whole.load(Ordering::Acquire);
        let (entries, files, bytes) = (self.entries.get(), self.files.get(), self.bytes.get());
        Counted { entries, files, bytes, is_whole }
    }

    /// Marks the count as complete.
    pub fn end(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    fn reset(&self) {
        self.is_whole.store(false, Ordering::Relaxed);
        for counter in [&self.entries, &self.files, &self.bytes] {
            counter.set(0);
        }
    }
}

/// The counts of [`Ahead`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Entries.
    pub entries: u64,
    /// Of these, regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Whether the count is complete.
    pub is_whole: bool,
}

/// Finished copies among those planned, whether or not they are published yet.
#[derive(Debug, Default)]
pub struct Settled {
    /// Files read to their end, or failed.
    pub files: Counter,
    /// Bytes of these that were not read: the copy failed, or was done server-side.
    pub bytes_unmoved: Counter,
}

/// A counter that many threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Subtracts `amount` (bytes of a discarded attempt).
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The file that a worker is copying.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The file.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes read so far.
    pub done: u64,
}

/// What must be synced before a file's row is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Each file and its directory.
    File,
    /// A batch of files, by one sync of the file system.
    #[default]
    Batch,
    /// Nothing: a power cut may lose or truncate copied files.
    None,
}

/// A limit that ends a run before all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLimit {
    /// As much was read as the run may transfer.
    Transfer,
    /// The run took as long as it may.
    Duration,
    /// The time of the day or week in which it may run is over.
    Window,
}

impl RunLimit {
    /// Returns how the run ended, as the beginning of a sentence about it.
    pub fn say(self) -> &'static str {
        match self {
            Self::Transfer => "it has transferred as much as it may",
            Self::Duration => "it has taken as long as it may",
            Self::Window => "it may not run at this time",
        }
    }
}

/// A request to stop, set from a signal handler or another thread and checked by all workers.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    limit: Arc<OnceLock<RunLimit>>,
}

impl Stop {
    /// Asks the run to stop: no new work is started.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Ends the run because it reached a limit; the first one counts. What is being copied when it
    /// reaches that of [transfer](RunLimit::Transfer) is finished.
    pub fn reach(&self, limit: RunLimit) {
        self.limit.get_or_init(|| limit);
    }

    /// Returns the limit that the run reached, if any.
    pub fn limit(&self) -> Option<RunLimit> {
        self.limit.get().copied()
    }

    /// Returns whether the run is to stop, and to break off what it is doing.
    pub fn requested(&self) -> bool {
        self.is_urgent() || self.limit().is_some_and(|limit| limit != RunLimit::Transfer)
    }

    /// Returns whether no new work may be started.
    pub fn is_ending(&self) -> bool {
        self.is_urgent() || self.limit().is_some()
    }

    /// Returns whether somebody waits for the end of the run.
    pub fn is_urgent(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Returns the same request for another run, which has reached no limit yet.
    #[must_use]
    pub fn for_run(&self) -> Self {
        Self { flag: self.flag(), limit: Arc::default() }
    }

    /// Returns the flag of requests, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ends_a_run_and_the_first_counts() {
        let stop = Stop::default();
        stop.reach(RunLimit::Transfer);
        assert!(stop.is_ending() && !stop.requested());
        stop.reach(RunLimit::Duration);
        assert_eq!(stop.limit(), Some(RunLimit::Transfer));
        stop.request();
        assert!(stop.requested() && stop.is_urgent());
        let late = Stop::default();
        late.reach(RunLimit::Window);
        assert!(late.requested() && late.is_ending() && !late.is_urgent());
        assert!(!late.for_run().is_ending() && stop.for_run().requested());
    }
}
