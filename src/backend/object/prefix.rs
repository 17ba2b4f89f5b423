//! A prefix of a bucket: all keys that begin with it.

use super::cause::fatal;
use super::conditions::Conditions;
use super::copies::{Copies, RefusedCopies};
use super::habits::Habits;
use super::markers::Markers;
use super::uploads::Journal;
use super::{Head, ListQuery, Page, Store, StoreError, StoreErrorKind};
use crate::backend::{Facts, KeySpace};
use crate::limits::{Content, Memory, MemoryError, MemoryPermit};
use crate::location::S3Location;
use crate::model::entry::Completeness;
use crate::model::hint::hint;
use crate::model::key::Escaped;
use crate::model::reserved::ROOT_OF_BUCKET;
use crate::model::{
    Cause, Entry, EntryKind, Error, ErrorKind, Key, Metadata, Notice, Setting, Stamp, Stop,
    Timestamp,
};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of the object in a prefix, if the location is a single object.
pub(in crate::backend) type Only = Option<Box<[u8]>>;

/// A prefix of a bucket that is mirrored from or to.
pub struct BucketPrefix {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// The bucket for requests of a lock, which no limit and no stop request delays.
    pub lock_store: Arc<dyn Store>,
    /// The bucket for counting entries ahead, whose requests have limits of their own.
    pub(super) counting: Arc<dyn Store>,
    /// The prefix of all keys: empty, or bytes that end in `/`.
    pub prefix: Box<[u8]>,
    /// The journal of multipart uploads.
    pub(super) journal: Journal,
    /// The directory where listings are sorted.
    pub(super) spool_dir: Arc<Path>,
    /// The memory budget for content.
    pub memory: Memory,
    /// Requested when the run is to stop.
    pub stop: Stop,
    /// Distinguishes the multipart uploads of this run.
    pub token: String,
    /// The conditions that the store supports, as far as known.
    pub(super) conditions: Conditions,
    /// When the store copies in parts.
    pub(super) copies: Copies,
    /// What is known about markers.
    pub(super) markers: Markers,
    /// Refused copies from another prefix.
    pub(super) refused_copies: RefusedCopies,
    /// Refused copies of objects onto themselves, with other metadata.
    pub(super) refused_updates: RefusedCopies,
    /// Whether keys are plain names of objects (flat form).
    pub(super) is_flat: AtomicBool,
    /// Known deviations in how the store lists, if they are remembered.
    pub(super) habits: Option<Habits>,
    /// Notices for the end of the run.
    pub(super) notices: Mutex<Vec<Notice>>,
    /// The first page of the listing, if it was requested already.
    pub(super) first: Mutex<Option<Page>>,
    /// Owner, group and directory mtime to assume where none are stored.
    pub guess: Metadata,
}

/// The parts that a [`BucketPrefix`] is made from.
pub struct PrefixOptions {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// The bucket for requests of a lock; see [`BucketPrefix::lock_store`].
    pub lock_store: Arc<dyn Store>,
    /// The prefix of all keys: empty, or bytes that end in `/`.
    pub prefix: Box<[u8]>,
    /// The directory where listings are sorted.
    pub spool_dir: Arc<Path>,
    /// The memory budget for content.
    pub memory: Memory,
    /// Requested when the run is to stop.
    pub stop: Stop,
    /// Distinguishes the multipart uploads of this run.
    pub token: String,
    /// The metadata to assume where none is stored; see [`BucketPrefix::guess`].
    pub guess: Metadata,
}

impl BucketPrefix {
    /// Makes a prefix of a bucket.
    pub fn new(options: PrefixOptions) -> Self {
        let PrefixOptions { store, lock_store, prefix, spool_dir, memory, .. } = options;
        let PrefixOptions { stop, token, guess, .. } = options;
        let mut journal_of = store.id().to_string();
        journal_of.push('/');
        journal_of.push_str(&String::from_utf8_lossy(&prefix));
        let journal = Journal::new(&spool_dir, journal_of);
        let is_flat = AtomicBool::new(false);
        let first = Mutex::default();
        let copies = Copies::of(&store.capabilities());
        Self {
            counting: Arc::clone(&store),
            store,
            lock_store,
            prefix,
            journal,
            spool_dir,
            memory,
            stop,
            token,
            conditions: Conditions::default(),
            copies,
            markers: Markers::default(),
            refused_copies: RefusedCopies::default(),
            refused_updates: RefusedCopies::default(),
            is_flat,
            habits: None,
            notices: Mutex::default(),
            first,
            guess,
        }
    }

    /// Returns the name: a URL with only the parts that identify the location.
    pub fn name(&self) -> String {
        format!("{}/{}", self.store.id(), Escaped(&self.prefix))
    }

    /// Adds a notice for the end of the run.
    pub(super) fn add_notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    /// Adds a notice for the end of the run, unless it was added before.
    pub(super) fn add_notice_once(&self, notice: &Notice) {
        let mut notices = self.notices.lock();
        if !notices.contains(notice) {
            notices.push(notice.clone());
        }
    }

    /// Returns the notices for the end of the run.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let notices = self.notices.lock();
        let reads_ranges = self.store.capabilities().reads_ranges;
        let conditional = [
            self.conditions.notice(),
            self.refused_copies.notice().or_else(|| self.refused_updates.notice()),
            self.markers.notice(),
            (!reads_ranges).then_some(Notice::RangesIgnored),
        ];
        conditional.into_iter().flatten().chain(notices.iter().cloned()).collect()
    }

    /// Returns another prefix of the same bucket, within the same limits.
    #[must_use]
    pub fn beside(&self, prefix: Box<[u8]>) -> Self {
        Self::new(PrefixOptions {
            store: Arc::clone(&self.store),
            lock_store: Arc::clone(&self.lock_store),
            prefix,
            spool_dir: Arc::clone(&self.spool_dir),
            memory: self.memory.clone(),
            stop: self.stop.clone(),
            token: self.token.clone(),
            guess: self.guess,
        })
    }

    /// Returns the same with a shorter prefix.
    #[must_use]
    pub fn above(self, prefix: &[u8]) -> Self {
        Self { prefix: prefix.into(), first: Mutex::default(), ..self }
    }

    /// Returns the same with other limits for copies: objects larger than `above` bytes are copied
    /// in parts of at least `part` bytes (5 MiB or more).
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn copying_in_parts(self, above: u64, part: u64) -> Self {
        Self { copies: Copies { above, part }, ..self }
    }

    /// Returns the same without markers of directories.
    #[must_use]
    pub fn without_markers(self) -> Self {
        Self { markers: Markers::unwanted(), ..self }
    }

    /// Returns whether any key begins with the prefix. The requested page is used as the first of
    /// the listing.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the request fails.
    pub fn has_entries(&self) -> Result<bool, Error> {
        self.request_first_page().map_err(|error| self.unusable(&error))
    }

    fn request_first_page(&self) -> Result<bool, StoreError> {
        let query = ListQuery { prefix: &self.prefix, ..ListQuery::default() };
        let page = self.store.list(&query)?;
        let has_entries = !page.objects.is_empty();
        *self.first.lock() = Some(page);
        Ok(has_entries)
    }

    /// Takes the page that [`BucketPrefix::has_entries`] requested.
    pub(super) fn take_first_page(&self) -> Option<Page> {
        self.first.lock().take()
    }

    /// Finds what a location means as a source: this prefix, if any key begins with it, else the
    /// parent prefix of a single object of that name, and its name there. The single object needs
    /// no permission to list.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if there is neither, or a request fails.
    pub fn as_source(self, location: &S3Location) -> Result<(Self, Only), Error> {
        // Also checked for a whole bucket, so that a missing one is noticed before a target is
        // created.
        let denied = match self.request_first_page() {
            Ok(has_entries) if has_entries || self.prefix.is_empty() => return Ok((self, None)),
            Ok(_) => None,
            Err(error) if error.kind == StoreErrorKind::Denied && !self.prefix.is_empty() => {
                Some(self.unusable(&error))
            }
            Err(error) => return Err(self.unusable(&error)),
        };
        let whole = Key::new(self.prefix.clone());
        let only: Box<[u8]> = whole.name().into();
        let above = self.above(whole.parent());
        match (above.has_object(&Key::new(Box::clone(&only))), denied) {
            (Ok(true), _) => return Ok((above, Some(only))),
            (_, Some(denied)) => return Err(denied),
            (has_object, None) => has_object.map(drop)?,
        }
        let message = format!("there is nothing at the source \"{location}\"");
        Err(Error::new(ErrorKind::Unusable, message)
            .help("check its spelling: no key begins with this prefix, and none is equal to it"))
    }

    /// Returns whether there is an object at a key.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the request fails.
    pub fn has_object(&self, key: &Key) -> Result<bool, Error> {
        let object = self.object_key(key).map_err(|cause| {
            Error::new(ErrorKind::Unusable, format!("cannot open \"{key}\"")).because(cause)
        })?;
        let head = self.store.head(&object).map_err(|error| self.unusable(&error))?;
        Ok(head.is_some())
    }

    /// Returns whether there are objects in a directory, or a marker of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the request fails.
    pub fn has_objects_in(&self, directory: &Key) -> Result<bool, Error> {
        let prefix = [&*self.prefix, directory.trimmed(), b"/"].concat();
        let query = ListQuery { prefix: &prefix, limit: Some(1), ..ListQuery::default() };
        let page = self.store.list(&query).map_err(|error| self.unusable(&error))?;
        Ok(!page.objects.is_empty())
    }

    /// Builds the error for a location that can't be used.
    pub fn unusable(&self, error: &StoreError) -> Error {
        fatal(&format!("cannot use \"{}\"", self.name()), error)
    }

    /// Builds the error for a location whose lock can't be written.
    pub fn unlockable(&self, error: &StoreError) -> Error {
        fatal(&format!("cannot write the lock of \"{}\"", self.name()), error)
    }

    /// Returns the key in the bucket for an entry's key.
    ///
    /// # Errors
    /// Fails for keys that a store can't hold.
    pub fn object_key(&self, key: &Key) -> Result<Vec<u8>, Cause> {
        if key.is_root() && self.prefix.is_empty() {
            return Ok(ROOT_OF_BUCKET.as_bytes().to_vec());
        }
        let mut bytes = Vec::with_capacity(self.prefix.len() + key.as_bytes().len());
        bytes.extend_from_slice(&self.prefix);
        bytes.extend_from_slice(key.as_bytes());
        if std::str::from_utf8(&bytes).is_err() {
            let message = "an object's key must be UTF-8".to_owned();
            let help = hint!["rename it, or leave it out by ", Setting::Exclude];
            return Err(Cause::Advised { message, help });
        }
        let longest = self.store.capabilities().longest_key;
        if bytes.len() > longest {
            let length = bytes.len();
            let message = format!("its key would have {length} bytes, and a store takes {longest}");
            let help = hint!["shorten it, or leave it out by ", Setting::Exclude];
            return Err(Cause::Advised { message, help });
        }
        Ok(bytes)
    }

    /// Takes memory for content, in whole blocks.
    pub(super) fn take_memory(&self, bytes: u64) -> Result<MemoryPermit, Cause> {
        let bytes = bytes.next_multiple_of(Content::BLOCK);
        self.memory.take(bytes, &|| self.stop.requested()).map_err(|error| match error {
            MemoryError::Interrupted(_) => Cause::Stopped,
            MemoryError::TooLarge { .. } => Cause::Advised {
                message: error.to_string(),
                help: hint!["allow more by ", Setting::Memory],
            },
        })
    }

    /// Builds an entry from what a listing gives.
    pub(super) fn listed(
        &self,
        key: Key,
        kind: EntryKind,
        stamp: Stamp,
        modified: Option<Timestamp>,
    ) -> Entry {
        let metadata = self.guess(kind, modified);
        Entry {
            key,
            kind,
            stamp,
            metadata,
            link: None,
            completeness: Completeness::ListingOnly,
            recorded: None,
            extras: None,
            born: None,
        }
    }

    /// Returns the facts in an object's head.
    pub(super) fn facts(&self, head: &Head, kind: EntryKind) -> Facts {
        let guess = self.guess(kind, head.modified);
        let facts = super::metadata::facts(head.headers.clone(), kind, guess);
        // Whatever an object's metadata says, its content is kept.
        let has_content = matches!(facts.kind, EntryKind::Special(_)) && head.size > 0;
        // In flat form each object is a plain object, never a link or a special file.
        if has_content || self.is_flat() { Facts { kind, ..facts } } else { facts }
    }

    /// Sets how keys are interpreted outside of listings.
    pub fn set_key_space(&self, key_space: KeySpace) {
        self.is_flat.store(key_space == KeySpace::Flat, Ordering::Relaxed);
    }

    /// Returns whether keys are plain names of objects.
    pub(super) fn is_flat(&self) -> bool {
        self.is_flat.load(Ordering::Relaxed)
    }

    pub(super) fn guess(&self, kind: EntryKind, modified: Option<Timestamp>) -> Metadata {
        let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
        Metadata { mode, mtime: modified.unwrap_or(self.guess.mtime), ..self.guess }
    }
}
