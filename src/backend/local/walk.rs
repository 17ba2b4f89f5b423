//! The walker: lists a tree in key order, reading directories ahead in parallel.
//!
//! One thread emits the entries. It has a stack of levels, one for each directory on the way down.
//! The names of a level are sorted once (on disk if there are very many) and looked up in chunks.
//! The pool opens, reads and sorts the directories that come next. If the pool hasn't begun a job
//! when its result is needed, the emitter does it itself, so that nothing waits for an idle pool.
//!
//! Bounds: [`CHUNK`] entries a chunk; [`CHUNKS_AHEAD`] chunks a level; [`DIRECTORIES_AHEAD`]
//! directories with [`NAMES_AHEAD`] names in total; [`NAMES_HELD`] bytes of names on the stack, the
//! rest on disk; [`HANDLES_HELD`] directory handles on the stack, the rest reopened through `..`
//! and compared with their identity.

use super::Walking;
use super::beneath::{Directory, Identity, Root, open_child};
use super::metadata::{kind, kind_of, look_at, look_at_open};
use super::read::link_text;
use super::stamp::entry;
use crate::backend::{ListItem, ListOptions, Listing};
use crate::filter::Filter;
use crate::limits::descriptors::handles;
use crate::model::error::Side;
use crate::model::names::is_legal_name;
use crate::model::reserved::{DIRECTORY, is_temporary};
use crate::model::{Cause, EntryError, EntryKind, Error, ErrorKind, Key, Operation};
use crate::spool::{Sorted, Sorter};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{FileType, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Entries that one job looks up and sends together.
const CHUNK: usize = 256;
/// Chunks of one level that are looked up ahead.
const CHUNKS_AHEAD: usize = 4;
/// Directories opened ahead in total, one handle each, if the descriptor limit allows.
const DIRECTORIES_AHEAD: usize = 64;
/// Names in directories opened ahead, in total; beyond this no more are opened.
const NAMES_AHEAD: usize = 32_768;
/// Bytes of one directory's names that are sorted in memory.
const NAMES_SORTED: usize = 1 << 20;
/// Bytes of names on the stack before the outermost levels go to disk.
const NAMES_HELD: usize = 4 << 20;
/// Directory handles on the stack, if the descriptor limit allows.
const HANDLES_HELD: usize = 64;
/// Size in bytes of the buffer for directory entries.
const READ_AT_ONCE: usize = 32 << 10;
/// Chunks queued between the emitter and the reader of the listing.
const CHUNKS_SENT: usize = 4;

/// The name at a root that is reserved for vidimus's own directory and never mirrored.
const OWN: &[u8] = DIRECTORY.as_bytes();

/// A directory that a walk treats specially.
#[derive(Clone, Debug)]
pub enum Guarded {
    /// Left out with everything below it: the state directory.
    LeaveOut(Identity),
    /// The other side's root, which must not be inside this one.
    Forbidden(Identity),
}

/// Lists a tree; see [`Source::list`](crate::backend::Source::list).
pub(super) fn list(
    root: &Arc<Root>,
    walking: &Walking,
    side: Side,
    options: &ListOptions,
) -> Result<Listing, Error> {
    begin(root, walking, side, options, Depth::Tree)
}

pub(super) use name::list_name;

/// Lists the root and its entries, without the contents of directories below.
pub(super) fn list_level(
    root: &Arc<Root>,
    walking: &Walking,
    side: Side,
    options: &ListOptions,
) -> Result<Listing, Error> {
    begin(root, walking, side, options, Depth::Level)
}

/// How deep a walk goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Tree,
    Level,
}

fn begin(
    root: &Arc<Root>,
    walking: &Walking,
    side: Side,
    options: &ListOptions,
    depth: Depth,
) -> Result<Listing, Error> {
    let walk = Arc::new(Walk::new(root, walking, side, options));
    let (sender, receiver) = bounded(CHUNKS_SENT);
    let mut emitter = Emitter {
        walk,
        root: Arc::clone(root),
        depth,
        pool: Arc::clone(&walking.pool),
        sender,
        outgoing: Vec::with_capacity(CHUNK),
        levels: Vec::new(),
    };
    let directory = Arc::clone(root.directory());
    let only = options.only.clone();
    std::thread::Builder::new()
        .name(format!("list-{side}"))
        .spawn(move || {
            let result = match only {
                Some(name) => emitter.emit_one(&directory, &name),
                None => emitter.emit_tree(&directory),
            };
            if result.is_ok() {
                // An empty chunk marks the end; without it the listing has ended early. If the
                // receiver is gone, it needs no more.
                emitter.sender.send(Vec::new()).ok();
            }
        })
        .map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot start a thread to list").because(error)
        })?;
    Ok(Box::new(Items { receiver, chunk: Vec::new().into_iter(), ended: false, side }))
}

struct Items {
    receiver: Receiver<Vec<Result<ListItem, Error>>>,
    chunk: std::vec::IntoIter<Result<ListItem, Error>>,
    ended: bool,
    side: Side,
}

impl Iterator for Items {
    type Item = Result<ListItem, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.chunk.next() {
                self.ended |= item.is_err();
                return Some(item);
            }
            if self.ended {
                return None;
            }
            let Ok(chunk) = self.receiver.recv() else {
                self.ended = true;
                let message = format!("the listing of the {} broke off", self.side);
                return Some(Err(Error::new(ErrorKind::Unusable, message)));
            };
            self.ended = chunk.is_empty();
            self.chunk = chunk.into_iter();
        }
    }
}

/// The reader of the listing is gone.
struct Gone;

/// State shared by all jobs of one walk.
struct Walk {
    side: Side,
    filter: Arc<Filter>,
    guarded: Arc<[Guarded]>,
    spool_dir: PathBuf,
    root: Arc<Root>,
    /// Most directories that are opened ahead.
    max_ahead: usize,
    /// Most directories on the stack that are kept open.
    max_open: usize,
    directories_ahead: AtomicUsize,
    names_ahead: AtomicUsize,
}

/// An open directory with sorted names.
struct Opened {
    directory: Arc<Directory>,
    names: Sorted,
    /// The first chunk, already looked up.
    first: Vec<ListItem>,
    /// The error if reading stopped before the end: further entries are unknown.
    failed: Option<EntryError>,
}

/// One directory on the stack.
struct Level {
    key: Key,
    identity: Identity,
    directory: Option<Arc<Directory>>,
    names: Sorted,
    chunks: VecDeque<Ahead<Vec<ListItem>>>,
    items: VecDeque<ListItem>,
    /// How many of `items` were already searched for directories to open ahead.
    searched: usize,
    ahead: VecDeque<(Key, Ahead<Result<Opened, EntryError>>)>,
}

struct Emitter {
    walk: Arc<Walk>,
    root: Arc<Root>,
    depth: Depth,
    pool: Arc<rayon::ThreadPool>,
    sender: Sender<Vec<Result<ListItem, Error>>>,
    outgoing: Vec<Result<ListItem, Error>>,
    levels: Vec<Level>,
}

impl Emitter {
    fn emit_one(&mut self, root: &Arc<Directory>, name: &[u8]) -> Result<(), Gone> {
        let is_directory = match look_at(&**root, name) {
            Ok(stat) => kind_of(&stat) == EntryKind::Directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(_) => false,
        };
        let key = Key::child(&[], name, is_directory);
        let item = self.walk.look(root, key);
        self.send(item)?;
        self.flush()
    }

    fn emit_tree(&mut self, root: &Arc<Directory>) -> Result<(), Gone> {
        let key = Key::root();
        match look_at_open(&**root) {
            Ok(stat) => {
                self.send(ListItem::Entry(entry(&root.capabilities, key.clone(), &stat, None)))?;
            }
            Err(error) => return self.fail(self.walk.error(key, error)),
        }
        let opened = openat(
            &**root,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|fd| self.walk.directory(fd))
        .map_err(|error| self.walk.error(key.clone(), error))
        .and_then(|directory| self.walk.read(directory, &key));
        match opened {
            Ok(opened) => self.enter(key, opened)?,
            Err(error) => return self.fail(error),
        }
        while let Some(level) = self.levels.last_mut() {
            match level.items.pop_front() {
                Some(item) => {
                    level.searched = level.searched.saturating_sub(1);
                    self.emit(item)?;
                }
                None if !self.next_chunk() => self.leave()?,
                None => {}
            }
        }
        self.flush()
    }

    /// Emits one item and enters it if it is a directory.
    fn emit(&mut self, item: ListItem) -> Result<(), Gone> {
        let ListItem::Entry(entry) = &item else { return self.send(item) };
        if entry.kind != EntryKind::Directory || self.depth == Depth::Level {
            return self.send(item);
        }
        let key = entry.key.clone();
        let opened = self.open(&key);
        if let Ok(opened) = &opened {
            match self.walk.guard(opened.directory.identity) {
                Some(Guarded::LeaveOut(_)) => {
                    let why = "it holds vidimus's own state".to_owned();
                    return self.send(ListItem::LeftOut(key, why));
                }
                Some(Guarded::Forbidden(_)) => return self.overlap(&key),
                None => {}
            }
        }
        self.send(item)?;
        match opened {
            Ok(opened) => self.enter(key, opened),
            Err(error) => self.send(ListItem::Failed(error)),
        }
    }

    /// Takes a directory that was opened ahead, or opens it now.
    fn open(&mut self, key: &Key) -> Result<Opened, EntryError> {
        let level = self.levels.last_mut().expect("an entry below the root has a level");
        while let Some((ahead_key, ahead)) = level.ahead.pop_front() {
            if ahead_key == *key {
                let opened = ahead.take();
                self.walk.directories_ahead.fetch_sub(1, Ordering::Relaxed);
                if let Ok(opened) = &opened {
                    self.walk.names_ahead.fetch_sub(opened.count(), Ordering::Relaxed);
                }
                self.open_ahead();
                return opened;
            }
        }
        let directory = level.directory.clone();
        self.open_ahead();
        let directory = directory.expect("the innermost level holds its handle");
        self.walk.open(&directory, key)
    }

    /// Makes the pool open the next directories of this level.
    fn open_ahead(&mut self) {
        if self.depth == Depth::Level {
            return;
        }
        let walk = &self.walk;
        let Some(level) = self.levels.last_mut() else { return };
        let Some(directory) = &level.directory else { return };
        while level.searched < level.items.len() {
            if walk.directories_ahead.load(Ordering::Relaxed) >= walk.max_ahead
                || walk.names_ahead.load(Ordering::Relaxed) >= NAMES_AHEAD
            {
                return;
            }
            let item = &level.items[level.searched];
            level.searched += 1;
            let ListItem::Entry(entry) = item else { continue };
            if entry.kind != EntryKind::Directory {
                continue;
            }
            walk.directories_ahead.fetch_add(1, Ordering::Relaxed);
            let key = entry.key.clone();
            let job = {
                let (walk, directory, key) = (Arc::clone(walk), Arc::clone(directory), key.clone());
                move || {
                    let opened = walk.open(&directory, &key);
                    if let Ok(opened) = &opened {
                        walk.names_ahead.fetch_add(opened.count(), Ordering::Relaxed);
                    }
                    opened
                }
            };
            level.ahead.push_back((key, Ahead::spawn(&self.pool, job)));
        }
    }

    fn enter(&mut self, key: Key, opened: Opened) -> Result<(), Gone> {
        let Opened { directory, names, first, failed } = opened;
        if let Some(error) = failed {
            self.send(ListItem::Failed(error))?;
        }
        self.levels.push(Level {
            key,
            identity: directory.identity,
            directory: Some(directory),
            names,
            chunks: VecDeque::new(),
            items: first.into(),
            searched: 0,
            ahead: VecDeque::new(),
        });
        if let Some(outer) = self.levels.len().checked_sub(self.walk.max_open + 1) {
            self.levels[outer].directory = None;
        }
        self.look_ahead()?;
        self.open_ahead();
        self.spill()
    }

    /// Leaves the innermost directory; its parent may have to be reopened.
    fn leave(&mut self) -> Result<(), Gone> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        let Some(outer) = self.levels.last_mut() else { return Ok(()) };
        if outer.directory.is_some() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inner = left.directory.expect("the innermost level holds its handle");
        let reopened = if inner.capabilities.identifies() {
            openat(&*inner, c"..", flags, Mode::empty())
                .and_then(|fd| self.walk.directory(fd))
                .map_err(Cause::from)
                .and_then(|directory| {
                    if directory.identity == outer.identity {
                        Ok(Arc::new(directory))
                    } else {
                        Err(Cause::Changed { attempts: 1 })
                    }
                })
        } else {
            // Without inode numbers `..` can't be verified; the key leads to the right directory in
            // any case.
            self.root.descend(outer.key.as_bytes()).map_err(Cause::from)
        };
        match reopened {
            Ok(directory) => {
                outer.directory = Some(directory);
                Ok(())
            }
            Err(cause) => {
                // The directory was moved: the rest of its contents is unknown.
                let key = outer.key.clone();
                self.levels.clear();
                self.send(ListItem::Failed(self.walk.failure(key, cause)))?;
                let moved = "a directory was moved away while it was listed";
                self.end(Error::new(ErrorKind::Unusable, moved))
            }
        }
    }

    /// Advances to the next chunk of the innermost level; returns false at its end.
    fn next_chunk(&mut self) -> bool {
        let Some(level) = self.levels.last_mut() else { return false };
        let Some(chunk) = level.chunks.pop_front() else { return false };
        level.items = chunk.take().into();
        level.searched = 0;
        level.ahead.clear();
        if self.look_ahead().is_err() {
            return false;
        }
        self.open_ahead();
        true
    }

    /// Makes the pool look up the next chunks of this level.
    fn look_ahead(&mut self) -> Result<(), Gone> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let Some(directory) = &level.directory else { return Ok(()) };
        while level.chunks.len() < CHUNKS_AHEAD && level.names.remaining() > 0 {
            match self.walk.take_names(&mut level.names, &level.key) {
                Ok(keys) => {
                    let (walk, directory) = (Arc::clone(&self.walk), Arc::clone(directory));
                    let job = move || walk.look_at_all(&directory, keys);
                    level.chunks.push_back(Ahead::spawn(&self.pool, job));
                }
                Err(error) => return self.end(error),
            }
        }
        Ok(())
    }

    /// Moves names of the outermost levels to disk if the stack has too many.
    fn spill(&mut self) -> Result<(), Gone> {
        let mut bytes: usize = self.levels.iter().map(|level| level.names.memory_bytes()).sum();
        for level in 0..self.levels.len() {
            if bytes <= NAMES_HELD {
                break;
            }
            let names = &mut self.levels[level].names;
            bytes -= names.memory_bytes();
            if let Err(error) = names.spill() {
                return self.end(self.walk.spool_error(error));
            }
        }
        Ok(())
    }

    fn send(&mut self, item: ListItem) -> Result<(), Gone> {
        self.outgoing.push(Ok(item));
        if self.outgoing.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.outgoing, Vec::with_capacity(CHUNK));
        self.sender.send(chunk).map_err(|_| Gone)
    }

    /// Ends the listing with an error.
    fn end(&mut self, error: Error) -> Result<(), Gone> {
        self.outgoing.push(Err(error));
        self.flush()?;
        Err(Gone)
    }

    fn fail(&mut self, error: EntryError) -> Result<(), Gone> {
        let message = format!("cannot list the {}", self.walk.side);
        self.end(Error::new(ErrorKind::Unusable, message).because(error.cause))
    }

    fn overlap(&mut self, key: &Key) -> Result<(), Gone> {
        self.end(self.walk.overlap(key))
    }
}

impl Opened {
    fn count(&self) -> usize {
        self.first.len() + self.names.remaining() as usize
    }
}

impl Walk {
    fn new(root: &Arc<Root>, walking: &Walking, side: Side, options: &ListOptions) -> Self {
        Self {
            side,
            filter: Arc::clone(&options.filter),
            guarded: Arc::clone(&walking.guarded),
            spool_dir: walking.spool_dir.clone(),
            root: Arc::clone(root),
            max_ahead: handles(DIRECTORIES_AHEAD),
            max_open: handles(HANDLES_HELD),
            directories_ahead: AtomicUsize::new(0),
            names_ahead: AtomicUsize::new(0),
        }
    }

    pub(super) fn directory(&self, fd: OwnedFd) -> rustix::io::Result<Directory> {
        Directory::from_fd(fd, self.root.file_systems())
    }

    fn guard(&self, found: Identity) -> Option<&Guarded> {
        self.guarded.iter().find(|guarded| match guarded {
            Guarded::LeaveOut(identity) | Guarded::Forbidden(identity) => *identity == found,
        })
    }

    /// Builds the error for a walk that reached the other side's root.
    fn overlap(&self, key: &Key) -> Error {
        let (side, other) = match self.side {
            Side::Source => (Side::Source, Side::Target),
            Side::Target => (Side::Target, Side::Source),
        };
        let message = format!("the {other} lies in the {side}, at \"{key}\"");
        Error::new(ErrorKind::Refused, message).help(
            "mirror to a place outside the source; two names of one place (a bind mount) count too",
        )
    }

    fn open(&self, parent: &Directory, key: &Key) -> Result<Opened, EntryError> {
        let directory = open_child(parent.as_fd(), key.name())
            .and_then(|fd| self.directory(fd))
            .map_err(|error| self.error(key.clone(), error))?;
        self.read(directory, key)
    }

    /// Reads and sorts the names of a directory and looks up the first chunk.
    fn read(&self, directory: Directory, key: &Key) -> Result<Opened, EntryError> {
        let mut sorter = Sorter::new(self.spool_dir.clone(), NAMES_SORTED);
        let failed = self.read_names(&directory, key, &mut sorter);
        let spool = |error| self.failure(key.clone(), Cause::Io(error));
        let mut names = sorter.finish().map_err(spool)?;
        let directory = Arc::new(directory);
        let keys = self
            .take_names(&mut names, key)
            .map_err(|error| self.failure(key.clone(), Cause::Other(error.to_string())))?;
        let first = self.look_at_all(&directory, keys);
        Ok(Opened { directory, names, first, failed })
    }

    /// Reads the names into `sorter`: leaves as `name`, directories as `name/`, each with a NUL
    /// after it, which sorts first.
    fn read_names(
        &self,
        directory: &Directory,
        key: &Key,
        sorter: &mut Sorter,
    ) -> Option<EntryError> {
        let mut buffer: Vec<u8> = Vec::with_capacity(READ_AT_ONCE);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        let mut record = Vec::with_capacity(64);
        while let Some(found) = entries.next() {
            let found = match found {
                Ok(found) => found,
                Err(error) => return Some(self.error(key.clone(), error)),
            };
            let name = found.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if !is_legal_name(name) {
                return Some(self.failure(key.clone(), Cause::IllegalName));
            }
            let is_directory = match found.file_type() {
                FileType::Unknown => match look_at(directory, name) {
                    Ok(stat) => kind_of(&stat) == EntryKind::Directory,
                    Err(_) => false, // the lookup that follows reports the error
                },
                file_type => kind(file_type) == EntryKind::Directory,
            };
            if !is_directory && directory.capabilities.identity_is_unknown() {
                directory.capabilities.check_identity(directory, name, found.ino());
            }
            if key.is_root() && name == OWN {
                if !is_directory {
                    self.root.leave_out();
                }
                continue;
            }
            record.clear();
            record.extend_from_slice(name);
            if is_directory {
                record.push(b'/');
            }
            if self.filter.has_patterns() && !is_temporary(name) {
                let mut full = key.as_bytes().to_vec();
                full.extend_from_slice(&record);
                if self.filter.excludes(&Key::new(full)) {
                    continue;
                }
            }
            record.push(0);
            if let Err(error) = sorter.push(&record) {
                return Some(self.failure(key.clone(), Cause::Io(error)));
            }
        }
        None
    }

    fn take_names(&self, names: &mut Sorted, parent: &Key) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::with_capacity(CHUNK.min(names.remaining() as usize));
        while keys.len() < CHUNK {
            let Some(record) = names.next().map_err(|error| self.spool_error(error))? else {
                break;
            };
            let name = record.strip_suffix(b"\0").unwrap_or(record);
            keys.push(Key::child(parent.as_bytes(), name, false));
        }
        Ok(keys)
    }

    fn look_at_all(&self, directory: &Arc<Directory>, keys: Vec<Key>) -> Vec<ListItem> {
        keys.into_iter().map(|key| self.look(directory, key)).collect()
    }

    fn look(&self, directory: &Arc<Directory>, key: Key) -> ListItem {
        if is_temporary(key.name()) {
            return match self.side {
                Side::Target => ListItem::Leftover(key),
                Side::Source => ListItem::Failed(self.failure(key, Cause::ReservedName)),
            };
        }
        let stat = match look_at(&**directory, key.name()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return ListItem::Failed(self.failure(key, Cause::Vanished)),
            Err(error) => return ListItem::Failed(self.error(key, error)),
        };
        let kind = kind_of(&stat);
        if (kind == EntryKind::Directory) != key.is_directory() {
            return ListItem::Failed(self.failure(key, Cause::Changed { attempts: 1 }));
        }
        let link = match kind {
            EntryKind::Symlink => match link_text(&**directory, key.name()) {
                Ok(text) => Some(text),
                Err(error) => return ListItem::Failed(self.error(key, error)),
            },
            _ => None,
        };
        ListItem::Entry(entry(&directory.capabilities, key, &stat, link))
    }

    fn error(&self, key: Key, error: Errno) -> EntryError {
        self.failure(key, error.into())
    }

    fn failure(&self, key: Key, cause: Cause) -> EntryError {
        EntryError::new(Operation::List, self.side, key, cause)
    }

    fn spool_error(&self, error: std::io::Error) -> Error {
        let message = format!("cannot sort names in \"{}\"", self.spool_dir.display());
        Error::new(ErrorKind::Unusable, message).because(error)
    }
}

/// A job that is run by the pool, or by the thread that needs its result first.
struct Ahead<T>(Arc<(Mutex<Work<T>>, Condvar)>);

enum Work<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Running,
    Done(T),
}

impl<T: Send + 'static> Ahead<T> {
    fn spawn(pool: &rayon::ThreadPool, job: impl FnOnce() -> T + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Work::Waiting(Box::new(job))), Condvar::new()));
        let theirs = Arc::downgrade(&shared);
        pool.spawn(move || {
            // The walk was dropped: the result isn't needed any more.
            let Some(theirs) = theirs.upgrade() else { return };
            let (work, done) = &*theirs;
            let job = {
                let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
                match std::mem::replace(&mut *work, Work::Running) {
                    Work::Waiting(job) => job,
                    other => {
                        *work = other;
                        return;
                    }
                }
            };
            let result = job();
            *work.lock().unwrap_or_else(PoisonError::into_inner) = Work::Done(result);
            done.notify_all();
        });
        Self(shared)
    }

    fn take(self) -> T {
        let (work, done) = &*self.0;
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *work, Work::Running) {
                Work::Done(result) => return result,
                Work::Waiting(job) => {
                    drop(work);
                    return job();
                }
                Work::Running => {
                    work = done.wait(work).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

mod name;
