//! Directory handles beneath a root.
//!
//! [`Root`] opens directories by key without following a symbolic link below the root, caches the
//! most recently used handles, and reaches directories whose path is longer than `PATH_MAX`.

use super::capabilities::{Capabilities, FileSystems};
use super::flags::{flags_of, unprotect_directory};
use super::metadata::look_at_open;
use super::xattr;
use crate::backend::ListedExtras;
use crate::limits::descriptors::handles;
use crate::model::key::LONG_KEY;
use crate::model::names::{is_legal_name, is_legal_path};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, ResolveFlags, StatxAttributes, makedev, openat, openat2};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Handles cached for each root if the descriptor limit allows: enough for every worker's directory
/// and its parents.
const HANDLES: usize = 128;

/// Most of them that have long keys ([`LONG_KEY`]).
const LONG_HANDLES: usize = 16;

/// The longest path passed to the kernel at once: `PATH_MAX` (4,096) without the final NUL.
const LONGEST_PATH: usize = 4_095;

/// Identifies a directory during one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file system's device number.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
}

/// An open directory, and what new entries in it inherit.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    /// The behaviour of the file system that it is on.
    pub(super) capabilities: Arc<Capabilities>,
    /// Identifies the directory.
    pub identity: Identity,
    /// The group of new entries, if it isn't the process's (set-group-id directory).
    pub passed_on_group: Option<u32>,
    /// Whether entries can be added but not renamed or removed.
    is_append_only: AtomicBool,
    /// Whether a flag keeps its entries from being replaced or removed.
    is_protected: AtomicBool,
    /// Whether a file system is mounted on it; `None` if the kernel (before 5.8) doesn't say.
    is_mount: Option<bool>,
    /// Whether new entries inherit an ACL; not known before it is asked for.
    passes_on_acl: OnceLock<bool>,
}

impl Directory {
    pub(super) fn from_fd(fd: OwnedFd, file_systems: &FileSystems) -> rustix::io::Result<Self> {
        let stat = look_at_open(&fd)?;
        let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let says_mounts = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
        Ok(Self {
            capabilities: file_systems.of(device, &fd),
            fd,
            identity: Identity { device, inode: stat.stx_ino },
            passed_on_group: (stat.stx_mode & 0o2000 != 0).then_some(stat.stx_gid),
            is_append_only: stat.stx_attributes.contains(StatxAttributes::APPEND).into(),
            is_protected: flags_of(&stat).protect().into(),
            is_mount: says_mounts
                .then(|| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            passes_on_acl: OnceLock::new(),
        })
    }
}

impl Directory {
    /// Returns whether new entries inherit an ACL. Takes a call the first time.
    pub(super) fn passes_on_acl(&self) -> bool {
        *self.passes_on_acl.get_or_init(|| xattr::passes_on_acl(self))
    }

    /// Returns whether entries can be added but not renamed or removed (`chattr +a`).
    pub(super) fn is_append_only(&self) -> bool {
        self.is_append_only.load(Ordering::Relaxed)
    }

    /// Removes the flags that keep its entries from being replaced or removed, if there are some.
    pub(super) fn unprotect(&self) -> rustix::io::Result<()> {
        if self.is_protected.load(Ordering::Relaxed) {
            unprotect_directory(self)?;
            self.is_append_only.store(false, Ordering::Relaxed);
            self.is_protected.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the inode number; `None` if the file system's numbers don't identify a file.
    pub fn number(&self) -> Option<u64> {
        self.capabilities.identifies().then_some(self.identity.inode)
    }

    /// Returns whether a file system is mounted on the directory, which lies in `parent`. Where
    /// the kernel doesn't say, any with another device number counts, also a Btrfs subvolume.
    pub(super) fn is_mount_in(&self, parent: Identity) -> bool {
        self.is_mount.unwrap_or(self.identity.device != parent.device)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A root directory, and handles of directories below it.
#[derive(Debug)]
pub struct Root {
    directory: Arc<Directory>,
    file_systems: Arc<FileSystems>,
    handles: Mutex<Handles>,
    without_openat2: AtomicBool,
    leaves_no_trace: bool,
    /// Whether a listing left out a file that has the name of vidimus's own directory.
    left_out: AtomicBool,
    /// Whether symbolic links below the root are followed.
    follows_links: AtomicBool,
}

/// The most recently used handles, by key.
#[derive(Debug)]
struct Handles {
    /// The largest number of handles kept.
    limit: usize,
    by_key: HashMap<Box<[u8]>, Handle>,
    /// Counts uses; the highest value is the latest.
    clock: u64,
}

#[derive(Debug)]
struct Handle {
    directory: Arc<Directory>,
    used: u64,
}

impl Root {
    /// Opens the root. Symbolic links on the way to it are followed, because the user named that
    /// path.
    pub fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::of(rustix::fs::open(path, flags, Mode::empty())?)
    }

    /// Makes a root of an open directory.
    pub(super) fn of(fd: OwnedFd) -> rustix::io::Result<Self> {
        let file_systems = Arc::<FileSystems>::default();
        let directory = Directory::from_fd(fd, &file_systems)?;
        directory.capabilities.set_mounted_at(&[]);
        Ok(Self {
            directory: Arc::new(directory),
            file_systems,
            handles: Mutex::new(Handles::new()),
            without_openat2: AtomicBool::new(false),
            leaves_no_trace: rustix::process::geteuid().is_root(),
            left_out: AtomicBool::new(false),
            follows_links: AtomicBool::new(false),
        })
    }

    /// Records that a listing left out a file that has the name of vidimus's own directory.
    pub(super) fn leave_out(&self) {
        self.left_out.store(true, Ordering::Relaxed);
    }

    /// Returns whether such a file was left out.
    pub(super) fn has_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Returns the root directory.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Returns the file systems seen so far: the root's and those mounted below it.
    pub(super) fn file_systems(&self) -> &Arc<FileSystems> {
        &self.file_systems
    }

    /// Ignores inode numbers from now on, because the user says that they don't identify files
    /// here.
    pub fn ignore_inodes(&self) {
        self.file_systems.ignore_inodes();
    }

    /// Follows symbolic links from now on, out of the root too, because the user asks for what they
    /// point to. Only for sources.
    pub fn follow_links(&self) {
        self.follows_links.store(true, Ordering::Relaxed);
    }

    /// Returns whether symbolic links are followed.
    pub(super) fn follows_links(&self) -> bool {
        self.follows_links.load(Ordering::Relaxed)
    }

    /// Returns the flag with which entries are opened: it refuses symbolic links, unless these are
    /// followed.
    pub(super) fn no_follow(&self) -> OFlags {
        if self.follows_links() { OFlags::empty() } else { OFlags::NOFOLLOW }
    }

    /// Has entries from now on tell more than others need.
    pub fn list_extras(&self, listed: ListedExtras) {
        self.file_systems.ask(listed);
    }

    /// Returns whether files are read without updating their access time, which only their owner or
    /// root may request.
    pub(super) fn leaves_no_trace(&self) -> bool {
        self.leaves_no_trace
    }

    /// Opens the directory of `key` (which ends in `/`, or is empty for the root).
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` if a component is a symbolic link or not a directory, `EINVAL` if one
    /// is not a legal name, such as `..`.
    pub fn descend(&self, key: &[u8]) -> rustix::io::Result<Arc<Directory>> {
        if key.is_empty() {
            return Ok(Arc::clone(&self.directory));
        }
        let nearest = self.handles.lock().nearest(key);
        let (mut from, mut at) = nearest.unwrap_or_else(|| (Arc::clone(&self.directory), 0));
        if at == key.len() {
            return Ok(from);
        }
        // Without openat2 a `..` could lead out of the root, and from there to other names.
        if !is_legal_path(&key[at..]) {
            return Err(Errno::INVAL);
        }
        while at < key.len() {
            let end = longest_prefix(&key[at..]).ok_or(Errno::NAMETOOLONG)? + at;
            let below = self.open_below(&from, &key[at..end])?;
            from = Arc::new(Directory::from_fd(below, &self.file_systems)?);
            at = end;
        }
        self.handles.lock().keep(key, &from);
        Ok(from)
    }

    /// Drops the cached handle of a directory that was removed or no longer exists.
    pub fn forget(&self, key: &[u8]) {
        self.handles.lock().by_key.remove(key);
    }

    /// Drops the cached handles of a directory that was renamed, and of all in it.
    pub(super) fn forget_below(&self, key: &[u8]) {
        self.handles.lock().by_key.retain(|kept, _| !kept.starts_with(key));
    }

    /// Opens `path` (components, each followed by `/`) below a directory, without following links
    /// unless these are followed.
    fn open_below(&self, from: &Directory, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        if !self.without_openat2.load(Ordering::Relaxed) {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let beneath = if self.follows_links() { ResolveFlags::empty() } else { beneath };
            let resolve = beneath | ResolveFlags::NO_MAGICLINKS;
            match with_fallback(|flags| openat2(from, path, flags, Mode::empty(), resolve)) {
                // Kernels before 5.6, and sandboxes that don't allow the call.
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.without_openat2.store(true, Ordering::Relaxed);
                }
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        let mut current: Option<OwnedFd> = None;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let parent = current.as_ref().map_or(from.as_fd(), AsFd::as_fd);
            let open = |flags| openat(parent, name, flags | self.no_follow(), Mode::empty());
            current = Some(with_fallback(open)?);
        }
        current.ok_or(Errno::INVAL)
    }
}

/// Opens a directory for reading by its name in its parent, without following a symbolic link.
pub(super) fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    if !is_legal_name(name) {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens a directory for reading, or with `O_PATH` if it may be searched but not read.
pub(super) fn with_fallback(
    open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match open(flags | OFlags::RDONLY) {
        Err(Errno::ACCESS) => open(flags | OFlags::PATH),
        other => other,
    }
}

impl Handles {
    fn new() -> Self {
        Self { limit: handles(HANDLES), by_key: HashMap::new(), clock: 0 }
    }

    /// Returns the handle of the directory or of its nearest cached ancestor, with the length of
    /// that one's key.
    fn nearest(&mut self, key: &[u8]) -> Option<(Arc<Directory>, usize)> {
        self.clock += 1;
        let mut end = if key.len() > LONG_KEY { self.nearest_long(key) } else { key.len() };
        while end > 0 {
            if let Some(handle) = self.by_key.get_mut(&key[..end]) {
                handle.used = self.clock;
                return Some((Arc::clone(&handle.directory), end));
            }
            end = key[..end - 1].iter().rposition(|&byte| byte == b'/')? + 1;
        }
        None
    }

    /// Returns the length of the longest prefix of a long key at which there may be a handle. There
    /// are few handles of long keys, whereas looking for each prefix takes time with the square of
    /// the depth.
    fn nearest_long(&self, key: &[u8]) -> usize {
        let is_above = |cached: &&[u8]| cached.len() > LONG_KEY && key.starts_with(cached);
        let keys = self.by_key.keys().map(|cached| &**cached);
        let found = keys.filter(is_above).map(<[u8]>::len).max();
        found.unwrap_or_else(|| {
            let end = key[..LONG_KEY].iter().rposition(|&byte| byte == b'/');
            end.map_or(0, |at| at + 1)
        })
    }

    /// Drops the least recently used handle of a long key if there are too many.
    fn make_room_for_long(&mut self) {
        let long = || self.by_key.iter().filter(|(key, _)| key.len() > LONG_KEY);
        if long().count() >= LONG_HANDLES
            && let Some((oldest, _)) = long().min_by_key(|(_, handle)| handle.used)
        {
            let oldest = oldest.clone();
            self.by_key.remove(&oldest);
        }
    }

    /// Caches a handle. If there are too many, the least recently used half is dropped.
    fn keep(&mut self, key: &[u8], directory: &Arc<Directory>) {
        if key.len() > LONG_KEY {
            self.make_room_for_long();
        }
        if self.by_key.len() >= self.limit {
            let mut uses: Vec<u64> = self.by_key.values().map(|handle| handle.used).collect();
            let (_, &mut median, _) = uses.select_nth_unstable(self.limit / 2);
            self.by_key.retain(|_, handle| handle.used > median);
        }
        let handle = Handle { directory: Arc::clone(directory), used: self.clock };
        self.by_key.insert(key.into(), handle);
    }
}

/// Returns the length of the longest prefix of whole components that fits in one path.
fn longest_prefix(path: &[u8]) -> Option<usize> {
    if path.len() < LONGEST_PATH {
        return Some(path.len());
    }
    path[..LONGEST_PATH].iter().rposition(|&byte| byte == b'/').map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn keys_stay_below_the_root_with_and_without_openat2() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        std::fs::create_dir_all(path.join("root/d/e")).unwrap();
        std::fs::create_dir(path.join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", path.join("root/out")).unwrap();
        std::os::unix::fs::symlink("d", path.join("root/in")).unwrap();
        for without_openat2 in [false, true] {
            let root = Root::open(&path.join("root")).unwrap();
            root.without_openat2.store(without_openat2, Ordering::Relaxed);
            let wrong: [&[u8]; 12] = [
                b"../",
                b"../outside/",
                b"d/../",
                b"d/../../outside/",
                b"./",
                b"/",
                b"//",
                b"d//",
                b"d//e/",
                b"out/",
                b"in/",
                b"in/e/",
            ];
            for key in wrong {
                let found = root.descend(key).map(|directory| directory.identity);
                assert!(found.is_err(), "{:?}, {without_openat2}: {found:?}", Key::new(key));
            }
            assert!(root.descend(b"d/e/").is_ok());
            assert!(root.descend(b"").is_ok());
            assert_eq!(root.without_openat2.load(Ordering::Relaxed), without_openat2);
        }
    }
}
