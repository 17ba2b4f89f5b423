//! Backends: where entries are listed, read and written.
//!
//! [`Source`] lists and reads; [`Target`] is a source that also writes. The engine uses these
//! traits alone, so that safety on a file system or an object store is decided in one module each.
//! Files are written in two steps: [`Target::stage`] writes a file that nobody sees,
//! [`Staged::publish`] puts the complete file in its place. [`Target::barrier`] makes everything
//! before it durable. A store whose PUT is atomic and durable does all of this in the first step.

mod capabilities;
mod content;
mod headers;
mod inspected;
pub mod layer;
pub mod local;
#[doc(hidden)]
#[cfg(any(test, feature = "internals"))]
pub mod memory;
pub mod object;

pub use capabilities::{Capabilities, Renames};
pub use content::{Piece, Ranges, SMALLEST_RESUMED, range_length};
pub use headers::Headers;
pub use inspected::{Inspect, Inspected};

use crate::filter::{Filter, IgnoreRules};
use crate::model::entry::Completeness;
use crate::model::{
    AttributeKinds, Attributes, Cause, Digest, ETag, Entry, EntryError, EntryKind, Error, Extras,
    Features, FileFlags, Keeps, Key, Metadata, Notice, SettableAttributes, Stamp, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Buffer size in bytes for reading a small file.
const SMALL: usize = 64 << 10;

/// One item of a listing.
#[derive(Debug)]
pub enum ListItem {
    /// An entry.
    Entry(Entry),
    /// The key and everything below it are unknown. A directory whose contents can't be read is
    /// listed as an entry first, then with this.
    Failed(EntryError),
    /// The listing ended early: everything after this item is unknown. The key is the root's.
    BrokeOff(EntryError),
    /// A temporary file of a killed run (targets only).
    Leftover(Key),
    /// An entry that is left out, for a reason worth one warning. Nothing below it is touched.
    LeftOut(Key, String),
    /// A file system is mounted on the directory that was just listed (targets only).
    MountPoint(Key),
    /// A directory that was listed, and of which only what follows takes part (sources only).
    /// Nothing else below it is touched.
    Excluded(Key),
    /// Rules for what is below the directory that was just listed (sources only): what they exclude
    /// is left out, and nothing of it is touched.
    Ignores(Key, Arc<IgnoreRules>),
}

impl ListItem {
    /// Returns the key that the item is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Entry(entry) => &entry.key,
            Self::Failed(error) | Self::BrokeOff(error) => &error.key,
            Self::Leftover(key)
            | Self::LeftOut(key, _)
            | Self::MountPoint(key)
            | Self::Excluded(key)
            | Self::Ignores(key, _) => key,
        }
    }
}

/// A stream of items in byte order of their keys (an item about a key may follow the entry of that
/// key). The listing is complete unless an item says which scope failed or that it ended early, or
/// it ends with an error.
pub type Listing = Box<dyn Iterator<Item = Result<ListItem, Error>> + Send>;

/// What to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Selects the entries that take part; excluded directories are not entered.
    pub filter: Arc<Filter>,
    /// Lists only this name below the root (a single file as source), without the root itself.
    pub only: Option<Box<[u8]>>,
    /// How keys are interpreted.
    pub key_space: KeySpace,
}

/// What a run wants to know of entries that others needn't.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListedExtras {
    /// When files were last read.
    pub accessed: bool,
    /// Their flags.
    pub flags: bool,
}

/// How the keys of a listing are interpreted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySpace {
    /// As a tree: `a/` is a directory that contains everything below it.
    #[default]
    Tree,
    /// As plain names of objects, of any bytes: there are no directories, and no key conflicts with
    /// another. Only between two stores.
    Flat,
}

/// Why content could not be read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// Reading from the source failed.
    Source(Cause),
    /// The entry isn't the one listed, or changed while it was read: look it up again and retry.
    Changed,
    /// The content differs from what was recorded or from what the store has. It may have been
    /// damaged in transit, so one more read is worthwhile.
    Damaged(Cause),
    /// The sink that takes the content failed.
    Sink(Cause),
}

/// Takes what is read of a file: first facts that only reading reveals, if any, then the content in
/// order, piece by piece. A file without holes that fits in one chunk comes as one.
pub type Sink<'a> = dyn FnMut(Reading<'_>) -> Result<(), Cause> + 'a;

/// One piece of information from reading an entry.
#[derive(Debug)]
pub enum Reading<'a> {
    /// The open file, verified to be the one listed, for inspection.
    Opened(&'a dyn Inspect),
    /// Facts that the listing couldn't give.
    Facts(Box<Facts>),
    /// A piece of its content.
    Content(Piece<'a>),
}

/// What a store keeps with an object and only reading it reveals.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kind of entry.
    pub kind: EntryKind,
    /// The entry's metadata.
    pub metadata: Metadata,
    /// How complete the stored metadata is.
    pub completeness: Completeness,
    /// The digest stored with the object.
    pub digest: Option<Digest>,
    /// What few entries have.
    pub extras: Option<Box<Extras>>,
    /// All headers, as the store keeps them.
    pub headers: Headers,
}

impl Facts {
    /// Adds the facts to an entry.
    pub fn apply_to(&self, entry: &mut Entry) {
        entry.kind = self.kind;
        entry.metadata = self.metadata;
        entry.completeness = self.completeness;
        let before = std::mem::replace(&mut entry.extras, self.extras.clone());
        let is_found = self.extras.as_ref().is_some_and(|extras| extras.apart.is_some());
        if let Some(before) =
            before.filter(|before| before.told != AttributeKinds::NONE && !is_found)
        {
            // They are in the manifest alone.
            let extras = entry.extras.get_or_insert_default();
            (extras.told, extras.attributes) = (before.told, before.attributes);
            extras.apart = before.apart;
            if let Some(apart) = extras.apart.loaded() {
                entry.metadata.mode = apart.mode_with_acl(entry.metadata.mode);
            }
        }
    }
}

/// A place that entries come from.
pub trait Source: Send + Sync {
    /// Returns what the source can do and what it requires.
    fn capabilities(&self) -> Capabilities;

    /// Lists everything below the root, the root first.
    ///
    /// # Errors
    /// Fails if the root can't be read.
    fn list(&self, options: &ListOptions) -> Result<Listing, Error>;

    /// Calls `take` with the kind and size of each entry that [`Source::list`] would give, as
    /// cheaply as possible and in any order, until `take` returns false. Returns whether all
    /// entries were counted. Directories that a store only implies may be left out.
    ///
    /// # Errors
    /// Fails if the location can't be listed.
    fn count(
        &self,
        options: &ListOptions,
        take: &mut dyn FnMut(EntryKind, u64) -> bool,
    ) -> Result<bool, Error> {
        let mut is_complete = true;
        for item in self.list(options)? {
            match item? {
                ListItem::Entry(entry) if !take(entry.kind, entry.size()) => return Ok(false),
                ListItem::Failed(_) | ListItem::BrokeOff(_) => is_complete = false,
                _ => {}
            }
        }
        Ok(is_complete)
    }

    /// Lists what [`Source::list`] would give for one name (a key without a final `/`), as cheaply
    /// as possible: the leaf and the directory of that name, whether or not the filter takes them,
    /// and of the directory one entry in it that the filter takes.
    ///
    /// # Errors
    /// Fails if the location can't be read.
    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error>;

    /// Reads the content of a regular file once, in chunks that fit in `buffer` and holes, and
    /// verifies that it was the listed entry from the first byte to the last.
    ///
    /// # Errors
    /// [`ReadError`] says which side failed. The chunks given to `sink` are invalid then.
    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError>;

    /// Begins to read a large file in ranges, as the entry that was listed; returns `None` if it is
    /// better read sequentially.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    fn read_ranges<'a>(
        &'a self,
        _entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        Ok(None)
    }

    /// Looks up one entry; returns `None` if there is none.
    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause>;

    /// Looks up entries whose keys are in order, as [`Source::look`] does for each, as cheaply as
    /// possible. For an object, only its existence, size and tag are returned.
    fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        keys.iter().map(|key| self.look(key)).collect()
    }

    /// Returns the names in a directory, of entries of any kind and in any order; none if there is
    /// no such directory. The result is held in memory, so this is for directories that vidimus
    /// itself maintains.
    ///
    /// # Errors
    /// Fails if the directory can't be read.
    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause>;

    /// Inspects a file or directory: which features it has that not every copy preserves, its
    /// attributes, and which rights of its mode an ACL takes away.
    ///
    /// # Errors
    /// Fails if the entry can't be read or isn't the one listed.
    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        Ok(Inspected::of(entry))
    }

    /// Changes what a closer look at the file of an entry found, where the look was not taken by
    /// the source itself, as a layer around the source changes it.
    fn map_inspected(&self, _kind: EntryKind, inspected: Inspected) -> Inspected {
        inspected
    }

    /// Reads the current content of a small file of at most `max_size` bytes; returns `None` if
    /// there is none.
    fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
        let Some(entry) = self.look(key)? else { return Ok(None) };
        if entry.kind != EntryKind::File || entry.stamp.size > max_size {
            return Err(Cause::NoSmallFile { kind: entry.kind, size: entry.stamp.size });
        }
        let mut bytes = Vec::new();
        let mut buffer = vec![0; SMALL];
        let read = self.read(&entry, &mut buffer, &mut |reading| {
            let Reading::Content(piece) = reading else { return Ok(()) };
            piece.bytes(&mut |chunk| {
                bytes.extend_from_slice(chunk);
                Ok(())
            })
        });
        match read {
            Ok(()) => Ok(Some(bytes)),
            Err(ReadError::Changed) => Err(Cause::Changed { attempts: 1 }),
            Err(ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause)) => {
                Err(cause)
            }
        }
    }

    /// Returns the size in bytes of the first part of an object's multipart upload, if the store
    /// reports it. A store that doesn't know may return any number.
    fn first_part(&self, _entry: &Entry) -> Option<u64> {
        None
    }

    /// Returns what a target of the same kind needs to copy from this source on the server side;
    /// see [`Target::can_copy_server_side`]. A layer around a source passes this on, or returns
    /// `None` if it changes the content.
    fn copy_origin(&self) -> Option<&dyn Any> {
        None
    }

    /// Returns whether the location exists. A prefix of a bucket exists if any key begins with it.
    ///
    /// # Errors
    /// Fails if the location can't be read.
    fn exists(&self) -> Result<bool, Error> {
        Ok(true)
    }

    /// Sets how keys are interpreted outside of listings.
    fn set_key_space(&self, _key_space: KeySpace) {}

    /// Returns the notices to show once at the end of a run: what the location can't do, or does
    /// differently.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }
}

/// What must exist at a key before a new entry is put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing exists there; an entry that appears meanwhile is not overwritten.
    Absent,
    /// A file, link or special file exists there and is replaced.
    Leaf,
    /// An object with this tag exists there and is replaced; any other object is not overwritten.
    Object(ETag),
    /// An empty directory exists there and is replaced.
    EmptyDirectory,
}

/// What an entry of the target is to have, beside content.
#[derive(Clone, Copy, Debug)]
pub struct Intended<'a> {
    /// Its metadata, as far as the target [can have it](Target::achievable_metadata).
    pub metadata: &'a Metadata,
    /// Its extended attributes and ACLs: exactly these of the kinds that were looked for. `None`
    /// leaves all as they are.
    pub attributes: Option<&'a Attributes>,
    /// When it was last read; `None` leaves that time as it is.
    pub accessed: Option<Timestamp>,
    /// Its flags, where these are kept beside the content: a file system sets them
    /// [last](Target::set_flags). `None` leaves them as they are.
    pub flags: Option<FileFlags>,
}

impl<'a> From<&'a Metadata> for Intended<'a> {
    fn from(metadata: &'a Metadata) -> Self {
        Self { metadata, attributes: None, accessed: None, flags: None }
    }
}

/// What became of setting an entry's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagsSet {
    /// It has them.
    Done,
    /// It can't have them: the file system has none, or only root may set them.
    NotKept,
}

/// A file of a target that can be given other names.
pub trait Donor {
    /// Returns whether a key is a name of the file.
    ///
    /// # Errors
    /// Fails if it can't be looked at.
    fn has_name(&self, key: &Key) -> Result<bool, Cause>;

    /// Makes a key another name of the file. What is in its place is replaced, if `place` says so.
    ///
    /// # Errors
    /// [`Cause::NameTaken`] if something else is there than that.
    fn link(&self, key: &Key, place: Precondition) -> Result<Linked, Cause>;
}

/// The result of giving a file another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It has the name.
    Done,
    /// It has as many names as a file can have there.
    Full,
    /// It can't have that name: another file system is mounted there, or this one has no hard
    /// links, or protects this file from them.
    Impossible,
}

/// What became of setting an entry's metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataSet {
    /// Its stamp, if that is known without reading it back.
    pub stamp: Option<Stamp>,
    /// Whether attributes were set or removed.
    pub are_attributes_changed: bool,
    /// Which features that were intended the target can't give it.
    pub lost: Features,
}

/// A place that entries go to.
pub trait Target: Source {
    /// Begins a file that stays invisible until it is published.
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause>;

    /// Begins a file of unknown size; the entry's size is the expected one, 0 if there is no
    /// estimate.
    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause>;

    /// Goes on with a file that an earlier run [left](Stage::leave) under a temporary name; returns
    /// `None` if there is no such file, or not one of ours.
    fn resume(
        &self,
        _entry: &Entry,
        _temporary: &[u8],
        _place: Precondition,
    ) -> Result<Option<Box<dyn Stage>>, Cause> {
        Ok(None)
    }

    /// Returns whether new directories are best completed before they become visible.
    fn builds_directories(&self) -> bool {
        false
    }

    /// Begins a new directory that stays invisible, with everything made in it, until it is
    /// published.
    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause>;

    /// Makes a directory that is closed to others until its metadata is set. A leaf that it
    /// replaces is set aside; the returned key of that leaf is for [`Target::remove_set_aside`].
    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause>;

    /// Removes a leaf that a directory replaced, by the key under which it was set aside. The
    /// content of the new directory must be complete.
    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause>;

    /// Makes a symbolic link with its metadata and attributes.
    fn make_link(
        &self,
        entry: &Entry,
        attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause>;

    /// Makes a named pipe, a socket or a device, with its metadata.
    ///
    /// # Errors
    /// [`Cause::SpecialRefused`] if the target can't have it.
    fn make_special(
        &self,
        entry: &Entry,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause>;

    /// Opens a leaf to give it other names, if it still has the stamp with which it was recorded.
    /// Only for targets that have [hard links](Capabilities::hard_links).
    ///
    /// # Errors
    /// [`Cause::TargetChanged`] if it is another leaf.
    fn donor(&self, _key: &Key, _recorded: &Stamp) -> Result<Box<dyn Donor>, Cause> {
        Err(Cause::TargetChanged)
    }

    /// Renames a file, or where it is [renamed in place](Renames::InPlace) a directory, to a key at
    /// which nothing is, if it is still the one listed. Returns the entry
    /// under its new key; `None` if it can't be renamed there: then it has to be copied. Where it is
    /// [renamed by a copy](Renames::ByCopy) it stays under its old key, too.
    ///
    /// # Errors
    /// [`Cause::TargetChanged`] if another entry has the name by now, [`Cause::NameTaken`] if
    /// something is at the new key.
    fn rename(&self, _listed: &Entry, _to: &Key) -> Result<Option<Entry>, Cause> {
        Ok(None)
    }

    /// Sets those of an entry's mode, owner, group, mtime and attributes that differ from what is
    /// intended. Without its ACL, the entry's group gets no more rights than that would leave it. An
    /// object must be the version
    /// that `precondition` names, if it names one.
    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause>;

    /// Gives a file or directory exactly these flags. From then on it may be impossible to change
    /// it or what it holds.
    fn set_flags(
        &self,
        _key: &Key,
        _kind: EntryKind,
        _flags: FileFlags,
    ) -> Result<FlagsSet, Cause> {
        Ok(FlagsSet::NotKept)
    }

    /// Returns whether directories exist on their own. If not, empty ones and the metadata of
    /// directories are not kept.
    fn keeps_directories(&self) -> bool {
        true
    }

    /// Returns whether the store can copy entries of `source` itself, without their content passing
    /// through this process.
    fn can_copy_server_side(&self, _source: &dyn Source) -> bool {
        false
    }

    /// Makes the store copy an entry of a source that it [can copy
    /// from](Target::can_copy_server_side), if that is still the entry listed. Returns the stamp of
    /// the copy, or `None` if the store doesn't copy it: then it has to be read and written.
    ///
    /// # Errors
    /// [`ReadError::Sink`] for everything but a source entry that changed or can't be read.
    fn copy_server_side(
        &self,
        _source: &dyn Source,
        _entry: &Entry,
        _place: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        Ok(None)
    }

    /// Removes an entry if it is still the one listed; a directory only if it is empty.
    fn remove(&self, entry: &Entry) -> Result<(), Cause>;

    /// Removes entries and returns the result of each; see [`Target::remove`].
    fn remove_all(&self, entries: &[Entry]) -> Vec<Result<(), Cause>> {
        entries.iter().map(|entry| self.remove(entry)).collect()
    }

    /// Removes a temporary file of a killed run.
    fn sweep(&self, key: &Key) -> Result<(), Cause>;

    /// Makes everything durable that was staged, published, made, set or removed before.
    ///
    /// # Errors
    /// On failure nothing since the last barrier is known to be durable. The barrier must not be
    /// retried, because the kernel marks pages clean whose write failed.
    fn barrier(&self) -> Result<(), Cause>;

    /// Checks whether the target can hold this key at all, before anything is read for a new entry.
    ///
    /// # Errors
    /// The reason why it can't, with a hint.
    fn accepts(&self, key: &Key) -> Result<(), Cause>;

    /// Finds out by trying how the file system behaves. Must be called before the first listing, by
    /// the holder of the lock. `own` is the directory that contains `.vidimus`: the target's root
    /// or one above it.
    ///
    /// # Errors
    /// Fails if nothing can be tried. The run can go on: deviations are then found and worked
    /// around as they occur.
    fn probe(&self, _own: BorrowedFd<'_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Returns which metadata the target keeps, if that was found out; with `None` it is assumed to
    /// keep all.
    fn keeps(&self) -> Option<Keeps> {
        None
    }

    /// Returns the same if not everything is kept: this is what a run records.
    fn limited_keeps(&self) -> Option<Keeps> {
        self.keeps().filter(|keeps| *keeps != Keeps::ALL)
    }

    /// Assumes what an earlier run [found out](Target::keeps), if this run can't probe. A target
    /// whose behaviour is known ignores it.
    fn assume_keeps(&self, _keeps: Keeps) {}

    /// Returns which attributes can be set of entries of the target, found out by trying; `None` if
    /// that can't be found out, or never changes.
    fn settable_attributes(&self) -> Option<SettableAttributes> {
        None
    }

    /// Returns the metadata that the target will have for a source's entry, given what it can keep.
    /// What can't be set is taken from the `existing` entry, if there is one.
    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata;

    /// Counts what the target can't keep of a source's entry, for the warnings at the end. Must be
    /// called once for each entry, whether it is copied or unchanged.
    fn count_loss(&self, _source: &Entry) {}

    /// Aborts uploads that earlier runs began and this one, now complete, didn't resume; calls
    /// `given_up` with the key of each.
    fn abort_stale_uploads(&self, _given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        Ok(())
    }

    /// Removes what killed runs left of streams, and returns how many there were. The caller holds
    /// the target's lock.
    fn abort_stale_streams(&self) -> Result<u64, Cause> {
        Ok(0)
    }
}

/// An invisible file that is being written. Dropping it unfinished removes it.
pub trait Stage {
    /// Takes the headers that another store kept with the content, before any content. A store
    /// keeps them too.
    fn keep(&mut self, _headers: &Headers) {}

    /// Appends a chunk.
    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause>;

    /// Appends this many zeros; as a hole, if the target has [holes](Capabilities::holes).
    fn skip(&mut self, bytes: u64) -> Result<(), Cause> {
        Piece::Hole(bytes).bytes(&mut |zeros| self.write(zeros))
    }

    /// Returns a writer that takes content in any order instead, if that is possible.
    fn anywhere(&self) -> Option<Box<dyn WriteAt + '_>> {
        None
    }

    /// Makes the file, to which nothing was written yet, share the content of a source's entry,
    /// which takes no reading or writing. Returns what a closer look at the entry found; `None` if
    /// the content can't be shared: then it has to be written. What is shared has to be
    /// [read back](Stage::read_back).
    ///
    /// # Errors
    /// Those of [`Source::read`].
    fn reflink(
        &mut self,
        _source: &dyn Source,
        _entry: &Entry,
    ) -> Result<Option<Inspected>, ReadError> {
        Ok(None)
    }

    /// Returns the content that the file has by now, of `size` bytes, to be read in ranges of
    /// `length` bytes; `None` if it can't be read.
    fn read_back(&self, _size: u64, _length: u64) -> Result<Option<Box<dyn Ranges + '_>>, Cause> {
        Ok(None)
    }

    /// Returns the temporary name by which a later run can [go on](Target::resume) with the file, if
    /// it can.
    fn temporary(&self) -> Option<&[u8]> {
        None
    }

    /// Leaves the unfinished file under its temporary name.
    fn leave(self: Box<Self>) {}

    /// Tells a file that is resumed that it has this many bytes of its content.
    fn has_written(&mut self, _bytes: u64) {}

    /// Ends the content, whose digest is `digest`, and sets the metadata.
    fn finish(
        self: Box<Self>,
        intended: &Intended<'_>,
        digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause>;
}

/// Takes content in any order, from several threads. Each byte must be written or skipped once.
pub trait WriteAt: Sync {
    /// Writes a chunk at an offset.
    fn write_at(&self, offset: u64, chunk: &[u8]) -> Result<(), Cause>;

    /// Leaves a hole of this many bytes, where the target has [holes](Capabilities::holes).
    fn skip_at(&self, offset: u64, bytes: u64) -> Result<(), Cause>;
}

/// A complete file that is not visible yet. Dropping it unpublished removes it.
pub trait Staged: Send {
    /// Returns the file's state when it was finished. Publishing changes only its ctime, and in an
    /// invisible directory not even that.
    fn written(&self) -> Written;

    /// Returns whether the file is in its place already, complete and as [`Staged::written`] says,
    /// as in a store.
    fn is_in_place(&self) -> bool {
        false
    }

    /// Puts the complete file in its place. Returns `Some` if the target refused part of the
    /// metadata; the content is in its place even then.
    fn publish(&mut self) -> Result<Option<Cause>, Cause>;
}

/// The state of an entry after it was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The entry's stamp.
    pub stamp: Stamp,
    /// The entry's metadata.
    pub metadata: Metadata,
    /// Which features that were intended the target can't give it.
    pub lost: Features,
}

/// An invisible directory of leaves that is being built. Dropping it unfinished removes it
/// with its contents.
pub trait StageDirectory {
    /// Begins a file in the directory; publishing that file makes it part of the directory.
    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause>;

    /// Makes a symbolic link with its metadata and attributes in the directory.
    fn make_link(&self, entry: &Entry, attributes: Option<&Attributes>) -> Result<Written, Cause>;

    /// Makes a special file with its metadata in the directory; see [`Target::make_special`].
    fn make_special(&self, entry: &Entry, intended: &Intended<'_>) -> Result<Written, Cause>;

    /// Ends the directory.
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause>;
}

/// A complete directory that is not visible yet. Dropping it unpublished removes it with its
/// contents.
pub trait StagedDirectory: Send {
    /// Puts the directory in its place, where nothing may exist. It is closed to others until its
    /// metadata is set.
    fn publish(&mut self) -> Result<(), Cause>;
}
