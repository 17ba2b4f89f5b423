//! Looking at one directory: its names are read, sorted, and looked up a chunk at a time.

use crate::backend::local::Walking;
use crate::backend::local::beneath::{Directory, Identity, Root, open_child};
use crate::backend::local::capabilities::Capabilities;
use crate::backend::local::metadata::{kind, kind_of, look_at, look_through};
use crate::backend::local::read::link_text;
use crate::backend::local::stamp::entry;
use crate::backend::{ListItem, ListOptions};
use crate::filter::{Extent, Filter, IgnoreRules, Missing};
use crate::limits::descriptors::handles;
use crate::model::error::Side;
use crate::model::key::Escaped;
use crate::model::names::is_legal_name;
use crate::model::reserved::{DIRECTORY, is_temporary};
use crate::model::{Cause, EntryError, EntryKind, Error, ErrorKind, Key, Operation};
use crate::spool::{Sorted, Sorter};
use parking_lot::Mutex;
use rustix::fs::{FileType, Mode, OFlags, RawDir, Statx, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Entries that one job looks up and sends together.
pub(super) const CHUNK: usize = 256;
/// In bytes: a chunk ends when its keys have as many.
pub(super) const CHUNK_KEYS: usize = 1 << 20;
/// Directories opened ahead in total, one handle each, if the descriptor limit allows.
pub(super) const DIRECTORIES_AHEAD: usize = 64;
/// Directory handles on the stack, if the descriptor limit allows.
pub(super) const HANDLES_HELD: usize = 64;
/// Bytes of one directory's names that are sorted in memory.
const NAMES_SORTED: usize = 1 << 20;
/// Size in bytes of the buffer for directory entries.
const READ_AT_ONCE: usize = 32 << 10;

/// The name at a root that is reserved for vidimus's own directory and never mirrored.
pub(super) const OWN: &[u8] = DIRECTORY.as_bytes();

/// A directory that a walk treats specially.
#[derive(Clone, Debug)]
pub enum Guarded {
    /// Left out with everything below it: the state directory.
    LeaveOut(Identity),
    /// The other side's root, which must not be inside this one.
    Forbidden(Identity),
}

/// State shared by all jobs of one walk.
pub(super) struct Walk {
    pub(super) side: Side,
    pub(super) filter: Arc<Filter>,
    pub(super) guarded: Arc<[Guarded]>,
    pub(super) spool_dir: PathBuf,
    pub(super) root: Arc<Root>,
    /// Most directories that are opened ahead.
    pub(super) max_ahead: usize,
    /// Most directories on the stack that are kept open.
    pub(super) max_open: usize,
    pub(super) directories_ahead: AtomicUsize,
    pub(super) names_ahead: AtomicUsize,
    /// How many entries have flags that their copies won't have, and the first.
    flagged: Mutex<Option<(u64, Key)>>,
}

/// An open directory with sorted names.
pub(super) struct Opened {
    pub(super) directory: Arc<Directory>,
    pub(super) names: Sorted,
    /// The first chunk, already looked up.
    pub(super) first: Vec<ListItem>,
    /// The error if reading stopped before the end: further entries are unknown.
    pub(super) failed: Option<EntryError>,
    /// Whether only the entry that says so takes part of what it holds.
    pub(super) is_excluded: bool,
    /// The rules of ignore files for what it holds.
    pub(super) ignores: Option<Arc<IgnoreRules>>,
}

/// A directory's key, and the rules of ignore files for what is in it.
type Ruled<'a> = (&'a Key, Option<&'a IgnoreRules>);

impl Opened {
    pub(super) fn count(&self) -> usize {
        self.first.len() + self.names.remaining() as usize
    }
}

impl Walk {
    pub(super) fn new(
        root: &Arc<Root>,
        walking: &Walking,
        side: Side,
        options: &ListOptions,
    ) -> Self {
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
            flagged: Mutex::default(),
        }
    }

    pub(super) fn directory(&self, fd: OwnedFd) -> rustix::io::Result<Directory> {
        Directory::from_fd(fd, self.root.file_systems())
    }

    pub(super) fn guard(&self, found: Identity) -> Option<&Guarded> {
        self.guarded.iter().find(|guarded| match guarded {
            Guarded::LeaveOut(identity) | Guarded::Forbidden(identity) => *identity == found,
        })
    }

    /// Builds the error for a walk that reached the other side's root.
    pub(super) fn overlap(&self, key: &Key) -> Error {
        let (side, other) = match self.side {
            Side::Source => (Side::Source, Side::Target),
            Side::Target => (Side::Target, Side::Source),
        };
        let message = format!("the {other} lies in the {side}, at \"{key}\"");
        Error::new(ErrorKind::Refused, message).help(
            "mirror to a place outside the source; two names of one place (a bind mount) count too",
        )
    }

    pub(super) fn open(
        &self,
        parent: &Directory,
        key: &Key,
        ignores: Option<&Arc<IgnoreRules>>,
    ) -> Result<Opened, EntryError> {
        let directory = self
            .open_child(parent, key.name())
            .and_then(|fd| self.directory(fd))
            .map_err(|error| self.error(key.clone(), error))?;
        directory.capabilities.set_mounted_at(key.as_bytes());
        self.read(directory, key, ignores)
    }

    /// Opens a directory by its name in its parent.
    pub(super) fn open_child(
        &self,
        parent: &Directory,
        name: &[u8],
    ) -> rustix::io::Result<OwnedFd> {
        match open_child(parent.as_fd(), name) {
            Err(Errno::LOOP | Errno::NOTDIR) if self.root.follows_links() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(parent, name, flags, Mode::empty())
            }
            opened => opened,
        }
    }

    /// Looks at a name in a directory, and through a symbolic link if these are followed; returns
    /// whether it did.
    pub(super) fn look_at(
        &self,
        directory: &Directory,
        name: &[u8],
    ) -> rustix::io::Result<(Statx, bool)> {
        let stat = look_at(directory, name)?;
        if self.root.follows_links() && kind_of(&stat) == EntryKind::Symlink {
            return look_through(directory, name).map(|stat| (stat, true));
        }
        Ok((stat, false))
    }

    /// Reads and sorts the names of a directory and looks up the first chunk. `ignores` has the rules
    /// of ignore files above it.
    pub(super) fn read(
        &self,
        directory: Directory,
        key: &Key,
        ignores: Option<&Arc<IgnoreRules>>,
    ) -> Result<Opened, EntryError> {
        let ignores = self.ignore_rules(&directory, key, ignores)?;
        let rules = ignores.as_deref();
        let mut sorter = Sorter::new(self.spool_dir.clone(), NAMES_SORTED);
        let tag = self.excluding_tag(&directory);
        let failed = match tag {
            Some(tag) => {
                let names = std::iter::once(tag);
                self.find_names(names, &directory, (key, rules), &mut sorter).err()
            }
            None => self.read_names(&directory, (key, rules), &mut sorter),
        };
        let spool = |error: std::io::Error| self.failure(key.clone(), error.into());
        let mut names = sorter.finish().map_err(spool)?;
        let directory = Arc::new(directory);
        let keys = self
            .take_names(&mut names, key)
            .map_err(|error| self.failure(key.clone(), Cause::Other(error.to_string())))?;
        let first = self.look_at_all(&directory, keys);
        Ok(Opened { directory, names, first, failed, is_excluded: tag.is_some(), ignores })
    }

    /// Reads the names into `sorter`: leaves as `name`, directories as `name/`, each with a NUL
    /// after it, which sorts first.
    fn read_names(
        &self,
        directory: &Directory,
        (key, ignores): Ruled<'_>,
        sorter: &mut Sorter,
    ) -> Option<EntryError> {
        if let Some(names) = self.filter.names().filter(|names| names.extent(key) != Extent::Whole)
        {
            return self.find_names(names.names_in(key), directory, (key, ignores), sorter).err();
        }
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
            let file_type = found.file_type();
            let is_followed = file_type == FileType::Symlink && self.root.follows_links();
            let is_directory = match file_type {
                _ if file_type == FileType::Unknown || is_followed => {
                    match self.look_at(directory, name) {
                        Ok((stat, _)) => kind_of(&stat) == EntryKind::Directory,
                        Err(_) => false, // the lookup that follows reports the error
                    }
                }
                file_type => kind(file_type) == EntryKind::Directory,
            };
            if !is_directory && directory.capabilities.identity_is_unknown() {
                directory.capabilities.check_identity(directory, name, found.ino());
            }
            let taken = self.take_name((key, ignores), name, is_directory, sorter, &mut record);
            if let Err(error) = taken {
                return Some(error);
            }
        }
        None
    }

    /// Looks for some names of a directory, instead of reading it.
    fn find_names<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]>,
        directory: &Directory,
        (key, ignores): Ruled<'_>,
        sorter: &mut Sorter,
    ) -> Result<(), EntryError> {
        let mut record = Vec::with_capacity(64);
        let listed = self.filter.names();
        let may_be_absent = self.side == Side::Target
            || listed.is_none_or(|names| names.missing == Missing::IsAbsent);
        for name in names {
            let is_directory = match self.look_at(directory, name) {
                Ok((stat, _)) => kind_of(&stat) == EntryKind::Directory,
                Err(Errno::NOENT) if may_be_absent && look_at(directory, name).is_err() => continue,
                Err(_) => false, // the lookup that follows reports the error
            };
            let is_above = may_be_absent && self.side == Side::Source && !is_directory;
            let leaf = || Key::child(key.as_bytes(), name, false);
            if is_above && listed.is_some_and(|names| !names.covers(&leaf())) {
                // What is listed below this name doesn't exist.
                continue;
            }
            self.take_name((key, ignores), name, is_directory, sorter, &mut record)?;
        }
        Ok(())
    }

    /// Takes a name of a directory if it takes part; `record` is a buffer.
    fn take_name(
        &self,
        (directory, ignores): Ruled<'_>,
        name: &[u8],
        is_directory: bool,
        sorter: &mut Sorter,
        record: &mut Vec<u8>,
    ) -> Result<(), EntryError> {
        if directory.is_root() && name == OWN {
            if !is_directory {
                self.root.leave_out();
            }
            return Ok(());
        }
        record.clear();
        record.extend_from_slice(name);
        if is_directory {
            record.push(b'/');
        }
        if (self.filter.has_patterns() || ignores.is_some()) && !is_temporary(name) {
            let mut full = directory.as_bytes().to_vec();
            full.extend_from_slice(record);
            let full = Key::new(full);
            if self.filter.excludes(&full) || ignores.is_some_and(|rules| rules.excludes(&full)) {
                return Ok(());
            }
        }
        record.push(0);
        sorter.push(record).map_err(|error| self.failure(directory.clone(), error.into()))
    }

    pub(super) fn take_names(&self, names: &mut Sorted, parent: &Key) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::with_capacity(CHUNK.min(names.remaining() as usize));
        let mut bytes = 0;
        while keys.len() < CHUNK && bytes < CHUNK_KEYS {
            let Some(record) = names.next().map_err(|error| self.spool_error(error))? else {
                break;
            };
            let name = record.strip_suffix(b"\0").unwrap_or(record);
            bytes += parent.as_bytes().len() + name.len();
            keys.push(Key::child(parent.as_bytes(), name, false));
        }
        Ok(keys)
    }

    pub(super) fn look_at_all(&self, directory: &Arc<Directory>, keys: Vec<Key>) -> Vec<ListItem> {
        keys.into_iter().map(|key| self.look(directory, key)).collect()
    }

    pub(super) fn look(&self, directory: &Arc<Directory>, key: Key) -> ListItem {
        if is_temporary(key.name()) {
            return match self.side {
                Side::Target => ListItem::Leftover(key),
                Side::Source => ListItem::Failed(self.failure(key, Cause::ReservedName)),
            };
        }
        let (stat, is_followed) = match self.look_at(directory, key.name()) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::LOOP) if look_at(&**directory, key.name()).is_ok() => {
                let cause = Cause::Other("it is a symbolic link that leads nowhere".to_owned());
                return ListItem::Failed(self.failure(key, cause));
            }
            Err(Errno::NOENT) => {
                let cause = self.missing(&key);
                return ListItem::Failed(self.failure(key, cause));
            }
            Err(error) => return ListItem::Failed(self.error(key, error)),
        };
        let kind = kind_of(&stat);
        if (kind == EntryKind::Directory) != key.is_directory() {
            return ListItem::Failed(self.failure(key, Cause::Changed { attempts: 1 }));
        }
        if self.side == Side::Source
            && !key.is_directory()
            && self.filter.names().is_some_and(|names| !names.covers(&key))
        {
            // The list names what lies below it.
            return ListItem::Failed(self.error(key, Errno::NOTDIR));
        }
        let link = match kind {
            EntryKind::Symlink => match link_text(&**directory, key.name()) {
                Ok(text) => Some(text),
                Err(error) => return ListItem::Failed(self.error(key, error)),
            },
            _ => None,
        };
        if self.side == Side::Source {
            self.count_flagged(&directory.capabilities, &key, &stat);
        }
        let mut found = entry(&directory.capabilities, key, &stat, link);
        if is_followed {
            // What links point to are files of their own.
            found.ungroup();
        }
        ListItem::Entry(found)
    }

    fn count_flagged(&self, file_system: &Capabilities, key: &Key, stat: &Statx) {
        if !file_system.asked.counts(stat) {
            return;
        }
        let mut flagged = self.flagged.lock();
        let (count, first) = flagged.get_or_insert_with(|| (0, key.clone()));
        *count += 1;
        if key.as_bytes() < first.as_bytes() {
            *first = key.clone();
        }
        file_system.asked.met_flagged(&(*count, first.clone()));
    }

    /// Returns why there is nothing at a key: it was looked for because a list names it, or it was
    /// read as a name of its directory.
    fn missing(&self, key: &Key) -> Cause {
        let directory = Key::new(key.parent());
        let is_looked_for =
            self.filter.names().is_some_and(|names| names.extent(&directory) != Extent::Whole);
        if is_looked_for { Cause::NotInSource } else { Cause::Vanished }
    }

    pub(super) fn error(&self, key: Key, error: Errno) -> EntryError {
        self.failure(key, error.into())
    }

    pub(super) fn failure(&self, key: Key, cause: Cause) -> EntryError {
        EntryError::new(Operation::List, self.side, key, cause)
    }

    pub(super) fn spool_error(&self, error: std::io::Error) -> Error {
        let spool_dir = Escaped(self.spool_dir.as_os_str().as_bytes());
        let message = format!("cannot sort names in \"{spool_dir}\"");
        Error::new(ErrorKind::Unusable, message).because(error)
    }
}
