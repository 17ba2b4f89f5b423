//! Directory handles beneath a root.
//!
//! [`Root`] opens directories by key without ever following a symbolic link below the root, keeps
//! the handles of those used last, and reaches directories deeper than `PATH_MAX`.

use super::capabilities::{Capabilities, FileSystems};
use super::metadata::look_at_open;
use crate::limits::descriptors::handles;
use crate::model::names::{is_legal_name, is_legal_path};
use rustix::fs::{Mode, OFlags, ResolveFlags, StatxAttributes, makedev, openat, openat2};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Handles kept a root, where so many files may be open: enough for every worker's directory and its
/// parents.
const HANDLES: usize = 128;

/// The longest path handed to the kernel at once: `PATH_MAX` (4,096) with its final NUL.
const LONGEST_PATH: usize = 4_095;

/// What tells one directory from another while a run lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file system's device number.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
}

/// An open directory, with what its new entries inherit.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    /// What it is on.
    pub(super) capabilities: Arc<Capabilities>,
    /// Which directory it is.
    pub identity: Identity,
    /// The group that new entries take, when it isn't the process's.
    pub passed_on_group: Option<u32>,
    /// Whether entries can be added, but none renamed or removed (`chattr +a`).
    pub(super) is_append_only: bool,
}

impl Directory {
    pub(super) fn from_fd(fd: OwnedFd, met: &FileSystems) -> rustix::io::Result<Self> {
        let stat = look_at_open(&fd)?;
        let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Ok(Self {
            capabilities: met.of(device, &fd),
            fd,
            identity: Identity { device, inode: stat.stx_ino },
            passed_on_group: (stat.stx_mode & 0o2000 != 0).then_some(stat.stx_gid),
            is_append_only: stat.stx_attributes.contains(StatxAttributes::APPEND),
        })
    }
}

impl Directory {
    /// Its inode's number; `None` where that is known to identify nothing.
    pub fn number(&self) -> Option<u64> {
        self.capabilities.identifies().then_some(self.identity.inode)
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
    /// A listing left out a file that has the name of vidimus's own directory.
    left_out: AtomicBool,
}

/// The handles used last, by key.
#[derive(Debug)]
struct Handles {
    /// How many are kept.
    most: usize,
    by_key: HashMap<Box<[u8]>, Handle>,
    /// Counts uses, to tell the latest.
    clock: u64,
}

#[derive(Debug)]
struct Handle {
    directory: Arc<Directory>,
    used: u64,
}

impl Root {
    /// Opens the root itself; symbolic links on the way to it are followed, as the user named it.
    pub fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let file_systems = Arc::<FileSystems>::default();
        Ok(Self {
            directory: Arc::new(Directory::from_fd(fd, &file_systems)?),
            file_systems,
            handles: Mutex::new(Handles::new()),
            without_openat2: AtomicBool::new(false),
            leaves_no_trace: rustix::process::geteuid().is_root(),
            left_out: AtomicBool::new(false),
        })
    }

    /// Takes note of a file that a listing leaves out since its name is that of vidimus's own directory.
    pub(super) fn leave_out(&self) {
        self.left_out.store(true, Ordering::Relaxed);
    }

    /// Whether one was left out.
    pub(super) fn has_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The root directory.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The file systems that it lies on, and those mounted below that were met.
    pub(super) fn file_systems(&self) -> &Arc<FileSystems> {
        &self.file_systems
    }

    /// Leaves inode numbers out of all that is looked at from now on: the user knows that they
    /// identify nothing here.
    pub fn ignore_inodes(&self) {
        self.file_systems.ignore_inodes();
    }

    /// Whether files are read without a trace in their access times, which only their owner (or
    /// root) may ask for.
    pub(super) fn leaves_no_trace(&self) -> bool {
        self.leaves_no_trace
    }

    /// Opens the directory of `key` (which ends in `/`, or is empty for the root).
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` when a component is a symbolic link or no directory, `EINVAL` when one
    /// is no name (`..`, say).
    pub fn descend(&self, key: &[u8]) -> rustix::io::Result<Arc<Directory>> {
        if key.is_empty() {
            return Ok(Arc::clone(&self.directory));
        }
        let nearest = self.handles.lock().unwrap_or_else(PoisonError::into_inner).nearest(key);
        let (mut from, mut at) = nearest.unwrap_or_else(|| (Arc::clone(&self.directory), 0));
        if at == key.len() {
            return Ok(from);
        }
        // Without openat2 a `..` would lead out, and with it to what has another name.
        if !is_legal_path(&key[at..]) {
            return Err(Errno::INVAL);
        }
        while at < key.len() {
            let end = longest_prefix(&key[at..]).ok_or(Errno::NAMETOOLONG)? + at;
            let below = self.open_below(&from, &key[at..end])?;
            from = Arc::new(Directory::from_fd(below, &self.file_systems)?);
            at = end;
        }
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).keep(key, &from);
        Ok(from)
    }

    /// Forgets the handle of a directory that was removed or turned out to be gone.
    pub fn forget(&self, key: &[u8]) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).by_key.remove(key);
    }

    /// Opens `path` (components, each followed by `/`) below a directory without following links.
    fn open_below(&self, from: &Directory, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        if !self.without_openat2.load(Ordering::Relaxed) {
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match with_fallback(|flags| openat2(from, path, flags, Mode::empty(), resolve)) {
                // Kernels before 5.6, and sandboxes that don't know the call.
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
            let open = |flags| openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty());
            current = Some(with_fallback(open)?);
        }
        current.ok_or(Errno::INVAL)
    }
}

/// Opens one directory by its name in another, to be read, never through a symbolic link.
pub(super) fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    if !is_legal_name(name) {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens a directory for reading, or, where it may be entered but not read, as a mere handle.
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
        Self { most: handles(HANDLES), by_key: HashMap::new(), clock: 0 }
    }

    /// The handle of the directory, or of the nearest above it, with the length of its key.
    fn nearest(&mut self, key: &[u8]) -> Option<(Arc<Directory>, usize)> {
        self.clock += 1;
        let mut end = key.len();
        while end > 0 {
            if let Some(handle) = self.by_key.get_mut(&key[..end]) {
                handle.used = self.clock;
                return Some((Arc::clone(&handle.directory), end));
            }
            end = key[..end - 1].iter().rposition(|&byte| byte == b'/')? + 1;
        }
        None
    }

    /// Keeps a handle; when there are too many, the half used longest ago is dropped.
    fn keep(&mut self, key: &[u8], directory: &Arc<Directory>) {
        if self.by_key.len() >= self.most {
            let mut uses: Vec<u64> = self.by_key.values().map(|handle| handle.used).collect();
            let (_, &mut median, _) = uses.select_nth_unstable(self.most / 2);
            self.by_key.retain(|_, handle| handle.used > median);
        }
        let handle = Handle { directory: Arc::clone(directory), used: self.clock };
        self.by_key.insert(key.into(), handle);
    }
}

/// The length of the longest run of whole components that fits one path.
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
    fn no_key_leads_above_the_root_or_through_a_link_with_openat2_or_without() {
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
