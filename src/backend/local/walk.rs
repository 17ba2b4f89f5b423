//! The walker: lists a tree in key order, reading directories ahead in parallel.
//!
//! One thread emits the entries. It has a stack of levels, one for each directory on the way down.
//! The names of a level are sorted once (on disk if there are very many) and looked up in chunks.
//! The pool opens, reads and sorts the directories that come next. If the pool hasn't begun a job
//! when its result is needed, the emitter does it itself, so that nothing waits for an idle pool.
//!
//! Bounds: [`CHUNK`] entries a chunk; [`CHUNKS_AHEAD`] chunks a level;
//! [`DIRECTORIES_AHEAD`](look::DIRECTORIES_AHEAD) directories with [`NAMES_AHEAD`] names in total;
//! [`CHUNK_KEYS`] bytes of keys in a chunk; below a key of [`LONG_KEY`] bytes nothing is looked at ahead,
//! and only the innermost level has whole keys;
//! [`NAMES_HELD`] bytes of names on the stack, the rest on disk;
//! [`HANDLES_HELD`](look::HANDLES_HELD) directory handles on the stack, the rest reopened through
//! `..` and compared with their identity.

mod ahead;
mod excluded;
mod ignore;
mod look;
mod name;

pub use look::Guarded;
pub(super) use name::list_name;

use super::Walking;
use super::beneath::{Directory, Identity, Root};
use super::metadata::{kind_of, look_at_open};
use super::stamp::entry;
use crate::backend::{ListItem, ListOptions, Listing};
use crate::filter::IgnoreRules;
use crate::model::error::Side;
use crate::model::key::LONG_KEY;
use crate::model::{Cause, EntryError, EntryKind, Error, ErrorKind, Key};
use crate::spool::Sorted;
use ahead::Ahead;
use crossbeam_channel::{Receiver, Sender, bounded};
use look::{CHUNK, CHUNK_KEYS, Opened, Walk};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Chunks of one level that are looked up ahead.
const CHUNKS_AHEAD: usize = 4;
/// Names in directories opened ahead, in total; beyond this no more are opened.
const NAMES_AHEAD: usize = 32_768;
/// Bytes of names on the stack before the outermost levels go to disk.
const NAMES_HELD: usize = 4 << 20;
/// Chunks queued between the emitter and the reader of the listing.
const CHUNKS_SENT: usize = 4;

/// Why a mount point is left out.
const OTHER_FILE_SYSTEM: &str = "another file system is mounted there";

/// Lists a tree; see [`Source::list`](crate::backend::Source::list).
pub(super) fn list(
    root: &Arc<Root>,
    walking: &Walking,
    side: Side,
    options: &ListOptions,
) -> Result<Listing, Error> {
    begin(root, walking, side, options, Depth::Tree)
}

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
        outgoing_bytes: 0,
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

/// One directory on the stack.
struct Level {
    /// Its key; the root's while it is folded.
    key: Key,
    /// The length of its key.
    length: usize,
    identity: Identity,
    directory: Option<Arc<Directory>>,
    names: Sorted,
    /// The rules of ignore files for what is in it.
    ignores: Option<Arc<IgnoreRules>>,
    chunks: VecDeque<Ahead<Vec<ListItem>>>,
    items: VecDeque<ListItem>,
    /// Whether `items` have names alone for keys.
    are_folded: bool,
    /// How many of `items` were already searched for directories to open ahead.
    searched: usize,
    ahead: VecDeque<(Key, Ahead<Result<Opened, EntryError>>)>,
}

impl Level {
    fn is_deep(&self) -> bool {
        self.length > LONG_KEY
    }

    /// Drops a long key, and that part of its items' keys, while a directory in it is listed.
    fn fold(&mut self) {
        if !self.is_deep() {
            return;
        }
        self.key = Key::root();
        if !std::mem::replace(&mut self.are_folded, true) {
            for key in self.items.iter_mut().filter_map(key_of) {
                *key = Key::child(b"", key.name(), key.is_directory());
            }
        }
    }

    /// Takes the key back from that of a directory in it.
    fn unfold(&mut self, inner: &Key) {
        if self.is_deep() {
            self.key = Key::new(&inner.as_bytes()[..self.length]);
        }
    }

    /// Takes the next item, whose key is whole.
    fn take_item(&mut self) -> Option<ListItem> {
        let mut item = self.items.pop_front()?;
        self.searched = self.searched.saturating_sub(1);
        if self.are_folded
            && let Some(key) = key_of(&mut item)
        {
            *key = Key::child(self.key.as_bytes(), key.name(), key.is_directory());
        }
        Some(item)
    }
}

/// Returns the key of an item that a look at a name gave.
fn key_of(item: &mut ListItem) -> Option<&mut Key> {
    match item {
        ListItem::Entry(entry) => Some(&mut entry.key),
        ListItem::Failed(error) => Some(&mut error.key),
        ListItem::Leftover(key) => Some(key),
        _ => None,
    }
}

struct Emitter {
    walk: Arc<Walk>,
    root: Arc<Root>,
    depth: Depth,
    pool: Arc<rayon::ThreadPool>,
    sender: Sender<Vec<Result<ListItem, Error>>>,
    outgoing: Vec<Result<ListItem, Error>>,
    /// Bytes of the keys in it.
    outgoing_bytes: usize,
    levels: Vec<Level>,
}

impl Emitter {
    fn emit_one(&mut self, root: &Arc<Directory>, name: &[u8]) -> Result<(), Gone> {
        let is_directory = match self.walk.look_at(root, name) {
            Ok((stat, _)) => kind_of(&stat) == EntryKind::Directory,
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
        .and_then(|directory| self.walk.read(directory, &key, None));
        match opened {
            Ok(opened) => self.enter(key, opened)?,
            Err(error) => return self.fail(error),
        }
        while let Some(level) = self.levels.last_mut() {
            match level.take_item() {
                Some(item) => self.emit(item)?,
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
            if self.is_circle(opened.directory.identity) {
                let why = "a symbolic link leads back to a directory that contains it";
                let cause = Cause::Other(why.to_owned());
                return self.send(ListItem::Failed(self.walk.failure(key, cause)));
            }
        }
        self.send(item)?;
        match opened {
            Ok(opened)
                if self.walk.is_elsewhere(opened.directory.identity, self.root_identity()) =>
            {
                self.send(ListItem::LeftOut(key, OTHER_FILE_SYSTEM.to_owned()))
            }
            Ok(opened) => {
                if self.is_mount_point(&opened.directory) {
                    self.send(ListItem::MountPoint(key.clone()))?;
                }
                self.enter(key, opened)
            }
            Err(error) => self.send(ListItem::Failed(error)),
        }
    }

    /// Returns whether a directory of the innermost level is one on which the target has a file
    /// system mounted.
    fn is_mount_point(&self, directory: &Directory) -> bool {
        let parent = self.levels.last().map(|level| level.identity);
        self.walk.side == Side::Target && parent.is_some_and(|parent| directory.is_mount_in(parent))
    }

    /// Returns whether a directory, which a followed link may lead to, is one on the way to it.
    fn is_circle(&self, found: Identity) -> bool {
        self.root.follows_links() && self.levels.iter().any(|level| level.identity == found)
    }

    fn root_identity(&self) -> Identity {
        self.root.directory().identity
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
        let (directory, ignores) = (level.directory.clone(), level.ignores.clone());
        self.open_ahead();
        let directory = directory.expect("the innermost level holds its handle");
        self.walk.open(&directory, key, ignores.as_ref())
    }

    /// Makes the pool open the next directories of this level.
    fn open_ahead(&mut self) {
        if self.depth == Depth::Level {
            return;
        }
        let walk = &self.walk;
        let Some(level) = self.levels.last_mut().filter(|level| !level.is_deep()) else { return };
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
                let ignores = level.ignores.clone();
                move || {
                    let opened = walk.open(&directory, &key, ignores.as_ref());
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
        let Opened { directory, names, first, failed, is_excluded, ignores } = opened;
        if is_excluded && !self.walk.filter.deletes_excluded() {
            self.send(ListItem::Excluded(key.clone()))?;
        }
        let own = ignores.as_ref().filter(|rules| *rules.directory() == key);
        if let Some(own) = own.filter(|_| !self.walk.filter.deletes_excluded()) {
            self.send(ListItem::Ignores(key.clone(), Arc::clone(own)))?;
        }
        if let Some(error) = failed {
            self.send(ListItem::Failed(error))?;
        }
        if let Some(outer) = self.levels.last_mut() {
            outer.fold();
        }
        self.levels.push(Level {
            length: key.as_bytes().len(),
            key,
            identity: directory.identity,
            directory: Some(directory),
            names,
            ignores,
            chunks: VecDeque::new(),
            items: first.into(),
            are_folded: false,
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
        outer.unfold(&left.key);
        if outer.directory.is_some() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inner = left.directory.expect("the innermost level holds its handle");
        let reopened = if self.root.follows_links() {
            // `..` of a directory that a link led to is another one.
            match self.root.descend(outer.key.as_bytes()) {
                Ok(directory) if directory.identity == outer.identity => Ok(directory),
                Ok(_) => Err(Cause::Changed { attempts: 1 }),
                Err(error) => Err(error.into()),
            }
        } else if inner.capabilities.identifies() {
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
        let items = match (level.chunks.pop_front(), &level.directory) {
            (Some(chunk), _) => chunk.take(),
            // In a deep directory nothing is looked at ahead.
            (None, Some(directory)) if level.names.remaining() > 0 => {
                match self.walk.take_names(&mut level.names, &level.key) {
                    Ok(keys) => self.walk.look_at_all(directory, keys),
                    Err(error) => return self.end(error).is_ok(),
                }
            }
            _ => return false,
        };
        (level.items, level.are_folded) = (items.into(), false);
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
        let is_shallow = |level: &&mut Level| !level.is_deep();
        let Some(level) = self.levels.last_mut().filter(is_shallow) else { return Ok(()) };
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
        self.outgoing_bytes += item.key().as_bytes().len();
        self.outgoing.push(Ok(item));
        let is_full = self.outgoing.len() >= CHUNK || self.outgoing_bytes >= CHUNK_KEYS;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        self.outgoing_bytes = 0;
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
