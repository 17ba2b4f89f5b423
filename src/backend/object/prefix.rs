//! A part of a store: a bucket, and the prefix below which keys lie.

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
use crate::model::{
    Cause, Entry, EntryKind, Error, ErrorKind, Key, Metadata, Setting, Stamp, Stop, Timestamp,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What vidimus keeps for itself below a root.
pub(super) const OWN: &[u8] = crate::model::reserved::DIRECTORY.as_bytes();
/// Where a bucket's root has its metadata: there is no key that could be its marker.
const ROOT_OF_BUCKET: &[u8] = b".vidimus/root";

/// The only name that counts in a place, where it is there for a single object.
pub(in crate::backend) type Only = Option<Box<[u8]>>;

/// A part of a store that is mirrored from or to.
pub struct BucketPrefix {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// The bucket, for the requests of a lock: nothing holds them up, not even a wish to stop.
    pub lock_store: Arc<dyn Store>,
    /// The bucket, for a count ahead: it waits for no other request, and none for it.
    pub(super) counting: Arc<dyn Store>,
    /// What all keys begin with: nothing, or bytes that end in `/`.
    pub prefix: Box<[u8]>,
    /// Uploads in parts that were begun.
    pub(super) journal: Journal,
    /// Where listings are sorted.
    pub(super) spool_dir: Arc<Path>,
    /// Where content may be held.
    pub memory: Memory,
    /// Whether nothing new is to be begun.
    pub stop: Stop,
    /// What tells this run's uploads in parts from others'.
    pub token: String,
    /// Which conditions the store was found not to know.
    pub(super) conditions: Conditions,
    /// How the store copies what is large.
    pub(super) copies: Copies,
    /// Whether directories have markers.
    pub(super) markers: Markers,
    /// What it was found not to copy from another place.
    pub(super) refused_copies: RefusedCopies,
    /// What it was found not to copy onto itself, with other metadata.
    pub(super) refused_updates: RefusedCopies,
    /// Its keys were listed in flat form: each is an object and nothing else.
    pub(super) is_flat: AtomicBool,
    /// What is remembered of how its store lists, where anything is.
    pub(super) habits: Option<Habits>,
    /// What its user is to be told at the end of the run.
    pub(super) warnings: Mutex<Vec<String>>,
    /// The first page of its listing, where that came already.
    pub(super) first: Mutex<Option<Page>>,
    /// What to take for the owner, the group and a directory's mtime where nobody stored them.
    pub guess: Metadata,
}

impl BucketPrefix {
    /// Makes a place of a bucket.
    pub fn new(
        (store, lock_store): (Arc<dyn Store>, Arc<dyn Store>),
        prefix: Box<[u8]>,
        spool_dir: Arc<Path>,
        memory: Memory,
        stop: Stop,
        token: String,
        guess: Metadata,
    ) -> Self {
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
            warnings: Mutex::default(),
            first,
            guess,
        }
    }

    /// Its name: a URL without anything but what tells it from other places.
    pub fn name(&self) -> String {
        format!("{}/{}", self.store.id(), Escaped(&self.prefix))
    }

    /// Takes note of what the user is to be told at the end of the run.
    pub(super) fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Takes note of what the user is to be told once, however often it is met.
    pub(super) fn warn_once(&self, warning: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.iter().any(|told| told == warning) {
            warnings.push(warning.to_owned());
        }
    }

    /// What the user is to be told at the end of the run.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let ignored = (!self.store.capabilities().reads_ranges).then(|| {
            "the store sends the whole of an object where a part is asked for: large objects are \
             read by one request each, and what breaks off costs its beginning again"
                .to_owned()
        });
        let learnt = [
            self.conditions.warning(),
            self.refused_copies.warning().or_else(|| self.refused_updates.warning()),
            self.markers.warning(),
            ignored,
        ];
        learnt.into_iter().flatten().chain(warnings.iter().cloned()).collect()
    }

    /// The same place of a shorter prefix.
    #[must_use]
    pub fn above(self, prefix: &[u8]) -> Self {
        Self { prefix: prefix.into(), first: Mutex::default(), ..self }
    }

    /// The same place, where the store is asked to copy objects above so many bytes in parts of so
    /// many (5 MiB at least) instead of what the store sets as the limit.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn copying_in_parts(self, above: u64, part: u64) -> Self {
        Self { copies: Copies { above, part }, ..self }
    }

    /// The same place, where no markers of directories are written.
    #[must_use]
    pub fn without_markers(self) -> Self {
        Self { markers: Markers::unwanted(), ..self }
    }

    /// Whether any key begins with the prefix. What this costs isn't spent in vain: the listing
    /// begins with the page that came.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when the store can't be asked.
    pub fn has_entries(&self) -> Result<bool, Error> {
        self.ask_entries().map_err(|error| self.unusable(&error))
    }

    fn ask_entries(&self) -> Result<bool, StoreError> {
        let query = ListQuery { prefix: &self.prefix, ..ListQuery::default() };
        let page = self.store.list(&query)?;
        let has_entries = !page.objects.is_empty();
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
        Ok(has_entries)
    }

    /// The page that [`BucketPrefix::has_entries`] saw, once.
    pub(super) fn take_first_page(&self) -> Option<Page> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a location leads to as a source: itself, where any key begins with its prefix, else the
    /// place that the single object of that name lies in, and its name there. For that one no right to
    /// list is needed.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when there is neither, or the store can't be asked.
    pub fn as_source(self, location: &S3Location) -> Result<(Self, Only), Error> {
        // Asked of a whole bucket, too: one that is missing shows before a target is made.
        let denied = match self.ask_entries() {
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

    /// Whether there is an object at a key.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when the store can't be asked.
    pub fn has_object(&self, key: &Key) -> Result<bool, Error> {
        let object = self.object_key(key).map_err(|cause| {
            Error::new(ErrorKind::Unusable, format!("cannot open \"{key}\"")).because(cause)
        })?;
        let head = self.store.head(&object).map_err(|error| self.unusable(&error))?;
        Ok(head.is_some())
    }

    /// The error of a place that can't be used.
    pub fn unusable(&self, error: &StoreError) -> Error {
        fatal(&format!("cannot use \"{}\"", self.name()), error)
    }

    /// The error of a place that a lock can't be written to.
    pub fn unlockable(&self, error: &StoreError) -> Error {
        fatal(&format!("cannot write the lock of \"{}\"", self.name()), error)
    }

    /// The key in the bucket of an entry's key.
    ///
    /// # Errors
    /// For keys that a store can't hold.
    pub fn object_key(&self, key: &Key) -> Result<Vec<u8>, Cause> {
        if key.is_root() && self.prefix.is_empty() {
            return Ok(ROOT_OF_BUCKET.to_vec());
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

    /// Holds memory for content, in whole blocks.
    pub(super) fn hold(&self, bytes: u64) -> Result<MemoryPermit, Cause> {
        let bytes = bytes.next_multiple_of(Content::BLOCK);
        self.memory.take(bytes, &|| self.stop.requested()).map_err(|error| match error {
            MemoryError::Interrupted(_) => Cause::Stopped,
            MemoryError::TooLarge { .. } => Cause::Advised {
                message: error.to_string(),
                help: hint!["allow more by ", Setting::Memory],
            },
        })
    }

    /// An entry as a listing shows it.
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
        }
    }

    /// What is known of an object once its head came.
    pub(super) fn facts(&self, head: &Head, kind: EntryKind) -> Facts {
        let guess = self.guess(kind, head.modified);
        let facts = super::metadata::facts(head.headers.clone(), kind, guess);
        // Of an object that stands for itself, no link is made.
        if self.is_flat() { Facts { kind, ..facts } } else { facts }
    }

    /// Takes its keys for what they are in this form, as listing it in that form does.
    pub fn set_key_space(&self, key_space: KeySpace) {
        self.is_flat.store(key_space == KeySpace::Flat, Ordering::Relaxed);
    }

    /// Whether each key is an object and nothing else.
    pub(super) fn is_flat(&self) -> bool {
        self.is_flat.load(Ordering::Relaxed)
    }

    pub(super) fn guess(&self, kind: EntryKind, modified: Option<Timestamp>) -> Metadata {
        let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
        Metadata { mode, mtime: modified.unwrap_or(self.guess.mtime), ..self.guess }
    }
}
