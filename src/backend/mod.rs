//! Backends: where entries are listed, read and written.
//!
//! [`Source`] lists and reads; [`Target`] is a source that also writes. The engine knows nothing
//! else of a place, so that what is safe on a file system and what is safe on an object store is
//! decided here, in one place each. Files are written in two steps: [`Target::stage`] makes a file
//! that nobody sees, [`Staged::publish`] puts it in its place whole; [`Target::barrier`] makes all
//! that happened before it durable. A store whose PUT is atomic and durable does everything in the
//! first step.

mod capabilities;
mod headers;
pub mod layer;
pub mod local;
#[doc(hidden)]
#[cfg(any(test, feature = "internals"))]
pub mod memory;
pub mod object;

pub use capabilities::Capabilities;
pub use headers::Headers;

use crate::filter::Filter;
use crate::model::entry::Completeness;
use crate::model::{
    Cause, Digest, ETag, Entry, EntryError, EntryKind, Error, Features, Keeps, Key, Metadata, Stamp,
};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Where a target keeps its published manifest, below its root.
pub const MANIFEST: &str = ".vidimus/manifest/";

/// What is told once of a file that no listing tells of, since its name is kept for vidimus's own
/// directory.
const LEFT_OUT: &str = "the file \".vidimus\" at the root is left out: its name is kept for \
                        vidimus's own directory; rename it to have it copied";

/// Bytes of a small file that are read at once.
const SMALL: usize = 64 << 10;

/// One item of a listing.
#[derive(Debug)]
pub enum ListItem {
    /// Something is there.
    Entry(Entry),
    /// What is there is unknown: of the key itself and of all below it. A directory whose contents
    /// can't be read is listed as an entry first, then with this.
    Failed(EntryError),
    /// All from here on is unknown: the listing ends, and not because it came to its end. The key is
    /// the root's.
    BrokeOff(EntryError),
    /// A temporary of a killed run (targets only).
    Leftover(Key),
    /// Left out for a reason worth telling once; nothing below it is touched.
    LeftOut(Key, String),
}

impl ListItem {
    /// The key it speaks of.
    pub fn key(&self) -> &Key {
        match self {
            Self::Entry(entry) => &entry.key,
            Self::Failed(error) | Self::BrokeOff(error) => &error.key,
            Self::Leftover(key) | Self::LeftOut(key, _) => key,
        }
    }
}

/// An ordered stream of items, in byte order of their keys (an item about a key may follow the
/// entry of that key). It is complete unless an item says which scope failed or that it broke off,
/// or it ends in an error.
pub type Listing = Box<dyn Iterator<Item = Result<ListItem, Error>> + Send>;

/// What to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// What takes part; excluded directories are not entered.
    pub filter: Arc<Filter>,
    /// Only this name below the root (a single file as source), and not the root itself.
    pub only: Option<Box<[u8]>>,
    /// Which form keys have.
    pub key_space: KeySpace,
}

/// Which form the keys of a listing have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySpace {
    /// A tree: `a/` is a directory, whatever is below it lies in it.
    #[default]
    Tree,
    /// Each key of a store stands for itself, whatever bytes it has: there are no directories, and
    /// nothing is in another's way. Only between two stores.
    Flat,
}

/// Why content could not be read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// The source failed.
    Source(Cause),
    /// The entry isn't the one listed, or changed while it was read: look again and retry.
    Changed,
    /// What came is not what was recorded, or not what the store has: it may have been damaged on its
    /// way, so that it is worth reading once more.
    Damaged(Cause),
    /// Whoever takes the content failed.
    Sink(Cause),
}

/// Takes what is read of a file: at first what only reading tells of it, if anything, then its
/// content, a chunk at a time. A file that fits one chunk comes as one.
pub type Sink<'a> = dyn FnMut(Reading<'_>) -> Result<(), Cause> + 'a;

/// What comes when an entry is read.
#[derive(Debug)]
pub enum Reading<'a> {
    /// The file, open and found to be the one listed, to be inspected.
    Opened(&'a dyn Inspect),
    /// What a listing could not tell.
    Facts(Box<Facts>),
    /// Bytes of its content.
    Chunk(&'a [u8]),
}

/// What an entry was found to have when it was looked at closer than a listing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What a copy of it hasn't.
    pub features: Features,
    /// Its mode, with no more rights for its group than its ACL grants that.
    pub mode: u32,
}

impl Inspected {
    /// Of an entry of which nobody can tell more than a listing.
    pub fn of(entry: &Entry) -> Self {
        Self { features: Features::default(), mode: entry.metadata.mode }
    }
}

/// What is open, and can be looked at closer than a listing does.
pub trait Inspect: std::fmt::Debug {
    /// Finds out what it has that a copy hasn't. What can't be found out is no error: it is told like
    /// what is lost.
    fn inspect(&self) -> Inspected;
}

/// What a store keeps with an object, and only reading it tells.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it is.
    pub kind: EntryKind,
    /// Its metadata.
    pub metadata: Metadata,
    /// Whether that was stored with it.
    pub completeness: Completeness,
    /// The digest that was recorded with it.
    pub digest: Option<Digest>,
    /// All of it, as the store keeps it.
    pub headers: Headers,
}

impl Facts {
    /// Adds what is known now to an entry.
    pub fn tell(&self, entry: &mut Entry) {
        entry.kind = self.kind;
        entry.metadata = self.metadata;
        entry.completeness = self.completeness;
    }
}

/// A file's content in ranges, at least two, that several threads read at the same time. What they
/// took counts only once [`Ranges::end`] says so.
pub trait Ranges: Sync {
    /// What only reading tells of it, if anything.
    fn facts(&self) -> Option<&Facts>;

    /// Bytes of each range but the last: a power of two, at least 1 MiB, so that each is a subtree
    /// of BLAKE3's.
    fn length(&self) -> u64;

    /// How many are best read at the same time, at least 1; `None` for as many as cores are free.
    fn readers(&self) -> Option<usize>;

    /// Reads one range, the first being 0, in order. What is read may be put in `buffer`.
    ///
    /// # Errors
    /// As those of [`Source::read`]; those of `take` are the sink's.
    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), ReadError>;

    /// Makes sure that the ranges, all of which were read, are the whole.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] where they aren't.
    fn end(&self) -> Result<(), ReadError>;
}

/// A place that entries come from.
pub trait Source: Send + Sync {
    /// What it can do, and what it asks for.
    fn capabilities(&self) -> Capabilities;

    /// Lists everything below the root, the root first.
    ///
    /// # Errors
    /// When the root can't be read.
    fn list(&self, options: &ListOptions) -> Result<Listing, Error>;

    /// Counts what [`Source::list`] would tell, as cheaply as the place allows and in any order: kind
    /// and size of each entry, until `take` wants no more; whether it is all. Directories that a store
    /// only implies may be left out.
    ///
    /// # Errors
    /// When the place can't be listed.
    fn count(
        &self,
        options: &ListOptions,
        take: &mut dyn FnMut(EntryKind, u64) -> bool,
    ) -> Result<bool, Error> {
        let mut is_whole = true;
        for item in self.list(options)? {
            match item? {
                ListItem::Entry(entry) if !take(entry.kind, entry.size()) => return Ok(false),
                ListItem::Failed(_) | ListItem::BrokeOff(_) => is_whole = false,
                _ => {}
            }
        }
        Ok(is_whole)
    }

    /// Lists what [`Source::list`] would tell of one name (a key without a final `/`) and nothing
    /// else, as cheaply as the place allows: the leaf and the directory that have it, whether the
    /// filter takes them or not, and of the directory one entry in it that the filter takes.
    ///
    /// # Errors
    /// When the place can't be asked.
    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error>;

    /// Reads the content of a regular file once, in chunks that fit `buffer`, and makes sure that
    /// it was the entry as listed from the first byte to the last.
    ///
    /// # Errors
    /// [`ReadError`] tells whose fault it was; nothing that was handed out counts then.
    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError>;

    /// Begins to read a large file in ranges, as the entry that was listed; `None` where it is better
    /// read in order.
    ///
    /// # Errors
    /// As those of [`Source::read`].
    fn read_ranges<'a>(
        &'a self,
        _entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        Ok(None)
    }

    /// Looks at one entry again; `None` when nothing is there.
    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause>;

    /// Looks at entries whose keys are in order, as [`Source::look`] does at each, as cheaply as the
    /// place allows. Of an object only that it is there is told, its size and its tag.
    fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
        keys.iter().map(|key| self.look(key)).collect()
    }

    /// The names in a directory, in any order, whatever they are of; none where there is no directory.
    /// Held in memory whole: for what vidimus keeps itself.
    ///
    /// # Errors
    /// When it can't be read.
    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause>;

    /// Inspects a file or directory: what it has that a copy hasn't, and what of its mode an ACL takes
    /// back.
    ///
    /// # Errors
    /// When it can't be asked, or isn't what was listed.
    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        Ok(Inspected::of(entry))
    }

    /// Reads the content of a small file whatever it is now, of `most` bytes at the most; `None` when
    /// nothing is there.
    fn read_small(&self, key: &Key, most: u64) -> Result<Option<Vec<u8>>, Cause> {
        let Some(entry) = self.look(key)? else { return Ok(None) };
        if entry.kind != EntryKind::File || entry.stamp.size > most {
            return Err(Cause::NoSmallFile { kind: entry.kind, size: entry.stamp.size });
        }
        let mut bytes = Vec::new();
        let mut buffer = vec![0; SMALL];
        let read = self.read(&entry, &mut buffer, &mut |reading| {
            if let Reading::Chunk(chunk) = reading {
                bytes.extend_from_slice(chunk);
            }
            Ok(())
        });
        match read {
            Ok(()) => Ok(Some(bytes)),
            Err(ReadError::Changed) => Err(Cause::Changed { attempts: 1 }),
            Err(ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause)) => {
                Err(cause)
            }
        }
    }

    /// The length in bytes of the first of the parts that an object was uploaded in, where its store
    /// tells: one that doesn't know may tell anything.
    fn first_part(&self, _entry: &Entry) -> Option<u64> {
        None
    }

    /// What a target of its own kind copies from without the content passing through here; see
    /// [`Target::can_copy_server_side`]. A layer around a source hands on what that has, or nothing
    /// where it makes the content another.
    fn copy_origin(&self) -> Option<&dyn Any> {
        None
    }

    /// Whether there is anything at all at its place: a part of a store is nothing but the keys that
    /// begin with its prefix.
    ///
    /// # Errors
    /// When it can't be asked.
    fn stands(&self) -> Result<bool, Error> {
        Ok(true)
    }

    /// Takes its keys for what they are in this form, as listing it in that form does.
    fn set_key_space(&self, _key_space: KeySpace) {}

    /// Things to tell once at the end of a run: what the place doesn't do, or does otherwise.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a new entry does to what stands at its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing stands there; whatever turns up is not overwritten.
    Absent,
    /// A file, link or special file stands there and is replaced.
    Leaf,
    /// An object with this tag stands there and is replaced; whatever else turns up is not
    /// overwritten.
    Object(ETag),
    /// An empty directory stands there and is replaced.
    EmptyDirectory,
}

/// A place that entries go to.
pub trait Target: Source {
    /// Begins a file that nobody sees until it is published.
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause>;

    /// Begins a file of which nobody knows the size before its end: the entry's is what is expected
    /// of it, 0 where nothing is.
    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause>;

    /// Whether new directories are best built whole before anybody sees them.
    fn builds_directories(&self) -> bool {
        false
    }

    /// Begins a new directory that nobody sees until it is published with what was made in it.
    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause>;

    /// Makes a directory, closed to others until its metadata is set. A leaf whose place it takes is
    /// kept: the key that it has from now on is returned, for [`Target::remove_set_aside`].
    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause>;

    /// Removes a leaf whose place a directory took, by the key under which it was kept: what is to lie
    /// in that directory is safe.
    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause>;

    /// Makes a symbolic link with its metadata; its stamp, where that is known without a look.
    fn make_link(&self, entry: &Entry, precondition: Precondition) -> Result<Option<Stamp>, Cause>;

    /// Sets what differs from `wanted` of an entry's mode, owner, group and mtime; its stamp, where
    /// that is known without a look. Of an object it must be the version of `place`, where that names
    /// one.
    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        wanted: &Metadata,
        precondition: Precondition,
    ) -> Result<Option<Stamp>, Cause>;

    /// Whether it has directories by themselves: else empty ones are not kept, nor what directories
    /// are like.
    fn keeps_directories(&self) -> bool {
        true
    }

    /// Whether the store can copy what `source` has by itself, without its content passing through
    /// here.
    fn can_copy_server_side(&self, _source: &dyn Source) -> bool {
        false
    }

    /// Has the store copy an entry of a source that it [can copy from](Target::can_copy_server_side), if it still
    /// is the one listed; its stamp, or `None` where the store doesn't: then it is to be read and
    /// written.
    ///
    /// # Errors
    /// [`ReadError::Sink`] for all but a source's entry that changed, or can't be read.
    fn copy_server_side(
        &self,
        _source: &dyn Source,
        _entry: &Entry,
        _place: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        Ok(None)
    }

    /// Removes an entry, if it still is the one listed; a directory only when it is empty.
    fn remove(&self, entry: &Entry) -> Result<(), Cause>;

    /// Removes entries, with what became of each; see [`Target::remove`].
    fn remove_all(&self, entries: &[Entry]) -> Vec<Result<(), Cause>> {
        entries.iter().map(|entry| self.remove(entry)).collect()
    }

    /// Removes a temporary of a killed run.
    fn sweep(&self, key: &Key) -> Result<(), Cause>;

    /// Makes durable all that was staged, published, made, set or removed before.
    ///
    /// # Errors
    /// Nothing since the last barrier may be taken as durable then; it is not to be called again
    /// (the kernel marks pages clean whose write failed).
    fn barrier(&self) -> Result<(), Cause>;

    /// Whether an entry can have this key here at all: asked before anything is read for a new one.
    ///
    /// # Errors
    /// Why it can't, and the way out.
    fn accepts(&self, key: &Key) -> Result<(), Cause>;

    /// Finds out, by trying, what the place does in a way of its own. To be called before anything
    /// is listed, by who holds the lock; `own` is the directory whose `.vidimus` that lies in, the
    /// target's root or one around it.
    ///
    /// # Errors
    /// When nothing can be tried: nothing is learned then, and what turns up is gone around.
    fn learn(&self, _own: BorrowedFd<'_>) -> Result<(), Cause> {
        Ok(())
    }

    /// What the place keeps of metadata, where that was found out; `None` where nothing was, and all is
    /// kept as far as is known.
    fn keeps(&self) -> Option<Keeps> {
        None
    }

    /// The same, where it was found not to be all: what a run records.
    fn found_to_keep(&self) -> Option<Keeps> {
        self.keeps().filter(|keeps| *keeps != Keeps::ALL)
    }

    /// Goes by what an earlier run [found out](Target::keeps), where this one can't try. A place of
    /// which all is known passes over that.
    fn recall(&self, _keeps: Keeps) {}

    /// What metadata the target will hold for a source's entry, given what it could keep; where an
    /// entry `existing` already, with what is that one's of all that can't be set.
    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata;

    /// Takes note of a source's entry that the target is to hold, to tell in the end what is lost of
    /// all of them. To be called once for each, whether it is copied or stands there already.
    fn meets(&self, _source: &Entry) {}

    /// Gives up what earlier runs began and this one, which is done, didn't go on with; each is named
    /// to `given_up`.
    fn abort_stale_uploads(&self, _given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        Ok(())
    }

    /// Gives up what runs that were killed left of streams; how many there were. Whoever asks holds
    /// the target's lock.
    fn give_up_streams(&self) -> Result<u64, Cause> {
        Ok(0)
    }
}

/// A file being written that nobody sees. Dropped unfinished, it is removed.
pub trait Stage {
    /// Takes what another store kept with the content, before any of that; a store keeps it too.
    fn keep(&mut self, _headers: &Headers) {}

    /// Appends.
    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause>;

    /// Takes content in any order instead, where it can.
    fn anywhere(&self) -> Option<Box<dyn WriteAt + '_>> {
        None
    }

    /// Ends the content, which has this digest, and sets the metadata.
    fn finish(
        self: Box<Self>,
        metadata: &Metadata,
        digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause>;
}

/// Takes content in any order, from several threads. Each byte is to be written once.
pub trait WriteAt: Sync {
    /// Writes a chunk at an offset.
    fn write_at(&self, offset: u64, chunk: &[u8]) -> Result<(), Cause>;
}

/// A whole file that nobody sees yet. Dropped unpublished, it is removed.
pub trait Staged: Send {
    /// What it was found to be when it was finished; publishing changes nothing of that but ctime,
    /// and not even that of a file in a directory that nobody sees.
    fn written(&self) -> Written;

    /// Whether it is in its place already, whole and as [`Staged::written`] tells, as in a store.
    fn is_in_place(&self) -> bool {
        false
    }

    /// Puts it in its place, whole. What of its metadata the target refused is `Some`: the content
    /// is in its place all the same.
    fn publish(&mut self) -> Result<Option<Cause>, Cause>;
}

/// What an entry was found to be once it was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Its stamp.
    pub stamp: Stamp,
    /// Its metadata.
    pub metadata: Metadata,
}

/// A directory being built that nobody sees, of files and links. Dropped unfinished, it is removed
/// with all in it.
pub trait StageDirectory {
    /// Begins a file in it; publishing that file makes it part of this directory.
    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause>;

    /// Makes a symbolic link in it with its metadata.
    fn make_link(&self, entry: &Entry) -> Result<Written, Cause>;

    /// Ends it.
    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause>;
}

/// A whole directory that nobody sees yet. Dropped unpublished, it is removed with all in it.
pub trait StagedDirectory: Send {
    /// Puts it in its place, which must be free; closed to others until its metadata is set.
    fn publish(&mut self) -> Result<(), Cause>;
}
