//! Runs: one execution, with an id, totals and a verdict, and the counters that show how far it is.

use super::{Entry, EntryError, EntryKind, Key};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A run's id: its start in UTC and four random bytes, `20261121T033800Z-1f2e3d4c`.
///
/// Ids sort by start, to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub String);

impl RunId {
    /// The random bytes at its end, by which a run's temporaries are told from others'; `None` of an
    /// id of another form.
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
    /// All as asked.
    Complete,
    /// Some entries failed, the rest is done.
    Incomplete,
    /// A guard refused the deletions; the copies stand.
    Refused,
    /// A signal stopped it; the next run goes on.
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
        /// What a run has counted. "Files" are all entries but directories.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Totals { $($(#[$doc])* pub $name: u64,)* }

        /// The counters of a run under way, shared by its threads and sampled by presenters.
        #[derive(Debug, Default)]
        pub struct Progress {
            $($(#[$doc])* pub $name: Counter,)*
            /// What the workers are at, a slot each.
            pub in_flight: Mutex<Vec<Option<InFlight>>>,
            /// Whether the plan is whole, so that what is planned is all there is.
            pub plan_final: AtomicBool,
            /// What there is to go through, as far as it is known beforehand.
            pub ahead: Ahead,
            /// What is over of the copies planned.
            pub settled: Settled,
        }

        impl Progress {
            /// The counters as they stand.
            pub fn totals(&self) -> Totals {
                Totals { $($name: self.$name.get(),)* }
            }

            /// Sets all counters to 0: the run begins anew.
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
    /// What was looked at: each key that the source or the target has, each part of them that could
    /// not be listed, and whatever else failed by itself. What fails is one of these.
    entries,
    /// Entries listed in the source.
    source_entries,
    /// Bytes of the source's regular files as listed.
    source_bytes,
    /// Entries listed in the target.
    target_entries,
    /// Files copied.
    files_copied,
    /// Of these, symbolic links, which were made.
    links_copied,
    /// Files found unchanged.
    files_unchanged,
    /// Of these, symbolic links.
    links_unchanged,
    /// Files found in the target and taken as they are, without a digest.
    files_adopted,
    /// Of these, symbolic links.
    links_adopted,
    /// Files that were adopted and whose content no digest is known of.
    adopted_without_digest,
    /// Files whose content in the target is known by the digest that a run from another source
    /// recorded; this source has files of the same size and time, which were not read.
    known_by_digest,
    /// Files without a row that a store was asked about, to know whether to adopt the target's.
    adoption_files,
    /// Bytes hashed to know that.
    adoption_bytes,
    /// Microseconds that took, summed over the workers, which do it side by side.
    adoption_worker_us,
    /// Files that a store copied by itself and of which no digest was known.
    files_without_digest,
    /// Files deleted.
    files_deleted,
    /// Of these, symbolic links.
    links_deleted,
    /// Files left alone because the options said so (`--update`, `--ignore-existing`, sizes).
    files_skipped,
    /// Of these, symbolic links.
    links_skipped,
    /// Entries of the target that stay as they are though no row tells of them: the options leave them
    /// alone, or ask for no closer look.
    kept_unrecorded,
    /// Entries that failed, directories too.
    files_failed,
    /// Of these, entries whose content may be missing in the target because of it.
    copies_failed,
    /// Entries whose metadata alone was updated.
    metadata_updated,
    /// Directories made.
    directories_created,
    /// Directories deleted.
    directories_deleted,
    /// Files that only the target has, or whose place a directory took, and whose deletion waits for a
    /// run in which no copy fails.
    file_deletions_waiting,
    /// Of these, symbolic links.
    link_deletions_waiting,
    /// Directories that only the target has, and whose deletion waits likewise.
    directory_deletions_waiting,
    /// Names of files with several, each copied as a file of its own.
    hard_links_lost,
    /// Files copied whose holes were written out as zeros.
    holes_lost,
    /// Files and directories copied without their extended attributes.
    attributes_lost,
    /// Files and directories copied without their ACLs.
    acls_lost,
    /// Files and directories whose attributes and ACLs could not be read: the copy's group got no
    /// rights.
    attributes_unread,
    /// Files to copy that the plan has found so far.
    files_planned,
    /// Bytes to copy that the plan has found so far.
    bytes_planned,
    /// Bytes of the files copied.
    bytes_copied,
    /// Bytes read of files that are still being copied, and of all before.
    bytes_moved,
    /// Bytes hashed, those of files that turned out unchanged too.
    bytes_hashed,
    /// Deletions the plan has found so far.
    deletions_planned,
    /// Temporary files of killed runs removed, and leaves whose place a directory took in an earlier run.
    leftovers_swept,
    /// Requests to stores, tries of one counted singly: pages of listings.
    requests_list,
    /// Requests for content.
    requests_get,
    /// Requests for what is kept with an object.
    requests_head,
    /// Requests that wrote a whole object.
    requests_put,
    /// Requests that had a store copy by itself.
    requests_copy,
    /// Requests that deleted.
    requests_delete,
    /// Requests of uploads in parts: their beginnings, parts, ends, and listings of them.
    requests_multipart,
    /// Requests for the target's lock.
    requests_lock,
    /// Requests that had to be sent again.
    requests_retried,
    /// Requests that a store answered by asking for fewer of them.
    requests_throttled,
}

impl Progress {
    /// Counts an entry that is left alone; a directory is none of the files.
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
    /// Error rate E = F/D: entries that failed of all that were looked at.
    pub fn error_rate(&self) -> f64 {
        error_rate(self.files_failed, self.entries)
    }

    /// Speed S = D/T in bytes a second, of a run that took so long; D is the bytes copied.
    pub fn throughput(&self, duration: Duration) -> f64 {
        throughput(self.bytes_copied, duration)
    }

    /// Whether the run changed the target.
    pub fn changed_anything(&self) -> bool {
        self.files_copied
            + self.files_deleted
            + self.metadata_updated
            + self.directories_created
            + self.directories_deleted
            > 0
    }
}

/// Error rate E = F/D: F entries failed of D looked at, between 0 and 1; 0 where nothing was.
///
/// D counts each key that any side has, and beside them each part of a side that could not be listed
/// and whatever else can fail by itself, so that each failure is of one of the D.
pub fn error_rate(failed: u64, entries: u64) -> f64 {
    if entries == 0 { 0.0 } else { failed as f64 / entries.max(failed) as f64 }
}

/// Speed S = D/T in bytes a second, D the bytes that a run of length T is measured by; 0 for a run that
/// took no time.
pub fn throughput(bytes: u64, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }
}

/// What there is to go through, counted beside a run to estimate by: names and sizes of the source, or
/// what the rows tell that a target is verified by.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Entries.
    pub entries: Counter,
    /// Of these, regular files.
    pub files: Counter,
    /// Bytes of their content.
    pub bytes: Counter,
    /// Whether that is all.
    pub is_whole: AtomicBool,
}

impl Ahead {
    /// Counts an entry; the size is that of a regular file.
    pub fn add(&self, size: Option<u64>) {
        self.entries.add(1);
        if let Some(size) = size {
            self.files.add(1);
            self.bytes.add(size);
        }
    }

    /// The counts as they stand.
    pub fn counted(&self) -> Counted {
        // Looked at first: a count that is whole doesn't grow.
        let is_whole = self.is_whole.load(Ordering::Acquire);
        let (entries, files, bytes) = (self.entries.get(), self.files.get(), self.bytes.get());
        Counted { entries, files, bytes, is_whole }
    }

    /// Says that all is counted.
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

/// What [`Ahead`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Entries.
    pub entries: u64,
    /// Of these, regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Whether that is all.
    pub is_whole: bool,
}

/// What is over of the copies planned, whether it stands in its place yet or not.
#[derive(Debug, Default)]
pub struct Settled {
    /// Files read to their end, or failed.
    pub files: Counter,
    /// Bytes of those that were not moved: they failed, or a store copied them by itself.
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

    /// Takes `amount` back (bytes of an attempt that was discarded).
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker is at.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The file.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes read so far.
    pub done: u64,
}

/// How durable a file is before its row says "done".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// One by one: each file and its directory is synced.
    File,
    /// A batch at a time: one sync of the file system for many files.
    #[default]
    Batch,
    /// At the kernel's pace; a power cut may lose or empty files that were copied.
    None,
}

/// A wish to stop, set from a signal handler or another thread and looked at by all workers.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to stop: nothing new is begun.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run is to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
