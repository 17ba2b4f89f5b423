//! Trees: stated, written, read back and compared.
//!
//! [`TestTree`] states the expected entries; [`Snapshot`] has the actual ones. Both go through
//! directory handles, one component at a time, so that names can be any bytes and trees deeper than
//! `PATH_MAX`.

mod acl;
mod handles;
mod snapshot;

pub use snapshot::{
    Closeness, Seen, Snapshot, assert_mirrored, assert_same, assert_untouched, assert_whole,
    holes_of, show,
};

use handles::{leaf, open_parent, open_root, remove};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, chmodat, chownat, linkat, mkdirat,
    mknodat, openat, statat, symlinkat, utimensat,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Extended attributes, ACLs among them: values by name.
pub type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// The name of a file that no mirror copies: it is reserved for temporaries.
pub const FAILING: &str = ".vidimus.0123456789abcdef";

/// The kind of an entry, with its content.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    /// A device's major and minor number.
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Other,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(content) => {
                let shown = &content[..content.len().min(40)];
                let dots = if content.len() > 40 { "…" } else { "" };
                write!(out, "file of {} bytes \"{}{dots}\"", content.len(), shown.escape_ascii())
            }
            Self::Directory => out.write_str("directory"),
            Self::Symlink(text) => write!(out, "symlink to \"{}\"", text.escape_ascii()),
            Self::Fifo => out.write_str("fifo"),
            Self::Socket => out.write_str("socket"),
            Self::CharacterDevice(major, minor) => {
                write!(out, "character device {major}:{minor}")
            }
            Self::BlockDevice(major, minor) => write!(out, "block device {major}:{minor}"),
            Self::Other => out.write_str("something else"),
        }
    }
}

/// A stated entry; `None` leaves a property to the system.
#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    /// The parts of a file that are written; `None` for all of it.
    written: Option<Vec<Range<usize>>>,
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
    mtime: Option<(i64, u32)>,
    attributes: Option<Attributes>,
}

/// A tree to be written. Keys are bytes with `/` between components; directories above an entry are
/// implied. `mode`, `owner`, `mtime`, `attribute` and `acl` apply to the entry named last (at first
/// to the root).
#[derive(Clone, Debug)]
pub struct TestTree {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Other names of entries, each with the key that the entry is stated at.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    last: Vec<u8>,
}

impl TestTree {
    pub fn new() -> Self {
        let nodes = BTreeMap::from([(Vec::new(), Node::of(Kind::Directory))]);
        Self { nodes, links: BTreeMap::new(), last: Vec::new() }
    }

    fn with(mut self, key: impl AsRef<[u8]>, kind: Kind) -> Self {
        self.last = key.as_ref().to_vec();
        self.nodes.insert(self.last.clone(), Node::of(kind));
        self
    }

    pub fn file(self, key: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::File(content.as_ref().to_vec()))
    }

    /// Adds a file of `size` bytes in which only these parts, each at an offset, are written; the
    /// rest are holes.
    pub fn sparse(mut self, key: impl AsRef<[u8]>, size: usize, parts: &[(usize, &[u8])]) -> Self {
        let mut content = vec![0; size];
        let mut written = Vec::new();
        for (offset, part) in parts {
            let range = *offset..offset + part.len();
            content[range.clone()].copy_from_slice(part);
            written.push(range);
        }
        self = self.file(key, content);
        self.last().written = Some(written);
        self
    }

    pub fn dir(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Directory)
    }

    pub fn symlink(self, key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Symlink(text.as_ref().to_vec()))
    }

    /// Adds a file that no mirror copies, with the name [`FAILING`].
    pub fn failing(self) -> Self {
        self.file(FAILING, "")
    }

    pub fn fifo(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Fifo)
    }

    pub fn socket(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Socket)
    }

    /// Adds a character device like `/dev/null` (needs root).
    pub fn device(self, key: impl AsRef<[u8]>) -> Self {
        self.character_device(key, 1, 3)
    }

    /// Adds a character device of a number (needs root).
    pub fn character_device(self, key: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.with(key, Kind::CharacterDevice(major, minor))
    }

    /// Adds a block device of a number (needs root).
    pub fn block_device(self, key: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.with(key, Kind::BlockDevice(major, minor))
    }

    /// Adds another name of the entry at `to` (a hard link).
    pub fn link(mut self, key: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.links.insert(key.as_ref().to_vec(), to.as_ref().to_vec());
        self
    }

    fn last(&mut self) -> &mut Node {
        self.nodes.get_mut(&self.last).expect("the last entry named is in the tree")
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.last().mode = Some(mode);
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.last().owner = Some((uid, gid));
        self
    }

    /// Sets the time: seconds since 1970 (negative before) and nanoseconds.
    pub fn mtime(mut self, seconds: i64, nanos: u32) -> Self {
        self.last().mtime = Some((seconds, nanos));
        self
    }

    /// Gives the entry an extended attribute. One that has a stated attribute has no others.
    pub fn attribute(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let attributes = self.last().attributes.get_or_insert_default();
        attributes.insert(name.as_ref().to_vec(), value.as_ref().to_vec());
        self
    }

    /// Gives the entry this ACL, as in `u::rw-,u:1:rwx,g::r--,m::rwx,o::---`. It decides the mode:
    /// the mask is what the mode says of the group.
    pub fn acl(self, text: &str) -> Self {
        self.attribute("system.posix_acl_access", acl::encode(text))
    }

    /// Gives the directory an ACL that new entries inherit.
    pub fn default_acl(self, text: &str) -> Self {
        self.attribute("system.posix_acl_default", acl::encode(text))
    }

    /// Returns the number of regular files, links and special files, which vidimus counts as files.
    pub fn files(&self) -> u64 {
        self.nodes.values().filter(|node| node.kind != Kind::Directory).count() as u64
    }

    /// Returns the bytes of regular files.
    pub fn bytes(&self) -> u64 {
        let sizes = self.nodes.values().map(|node| match &node.kind {
            Kind::File(content) => content.len() as u64,
            _ => 0,
        });
        sizes.sum()
    }

    /// Writes the tree at `root`: existing entries of the same type are changed in place, others
    /// are replaced, and those that the tree doesn't name stay.
    pub fn write(&self, root: &Path) {
        std::fs::create_dir_all(root).expect("make the tree's root");
        let root = open_root(root);
        for (key, node) in &self.nodes {
            if !key.is_empty() {
                let parent = open_parent(&root, key, true);
                node.make(parent.as_fd(), &leaf(key));
            }
        }
        for (key, to) in &self.links {
            let (parent, name) = (open_parent(&root, key, true), leaf(key));
            let (old_parent, old) = (open_parent(&root, to, false), leaf(to));
            let found = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).ok();
            let of = statat(&old_parent, &old, AtFlags::SYMLINK_NOFOLLOW).expect("it is made");
            match found {
                Some(found) if found.st_ino == of.st_ino => continue,
                Some(found) => {
                    remove(parent.as_fd(), &name, FileType::from_raw_mode(found.st_mode));
                }
                None => {}
            }
            linkat(&old_parent, &old, &parent, &name, AtFlags::empty()).expect("link");
        }
        // Deepest first, since making an entry changes the time of its directory.
        for (key, node) in self.nodes.iter().rev() {
            if key.is_empty() {
                node.set_metadata(root.as_fd(), c".");
            } else {
                node.set_metadata(open_parent(&root, key, false).as_fd(), &leaf(key));
            }
        }
    }

    /// Asserts that `root` has exactly these entries, with the metadata that was stated.
    #[track_caller]
    pub fn assert_at(&self, root: &Path) {
        let found = Snapshot::read(root);
        let mut wrong = Vec::new();
        let mut implied = BTreeSet::new();
        for key in self.nodes.keys().chain(self.links.keys()) {
            for (at, _) in key.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
                implied.insert(key[..at].to_vec());
            }
        }
        for (key, seen) in &found.entries {
            match self.nodes.get(key) {
                Some(node) => {
                    let mut note = |what: String| wrong.push(format!("{}: {what}", show(key)));
                    if node.kind != seen.kind {
                        note(format!("expected {:?}, found {:?}", node.kind, seen.kind));
                    }
                    if node.mode.is_some_and(|mode| mode != seen.mode) {
                        note(format!(
                            "expected mode {:o}, found {:o}",
                            node.mode.unwrap_or(0),
                            seen.mode
                        ));
                    }
                    if node.owner.is_some_and(|owner| owner != seen.owner) {
                        note(format!("expected owner {:?}, found {:?}", node.owner, seen.owner));
                    }
                    if node.mtime.is_some_and(|mtime| mtime != seen.mtime) {
                        note(format!("expected mtime {:?}, found {:?}", node.mtime, seen.mtime));
                    }
                    if node.attributes.as_ref().is_some_and(|stated| *stated != seen.attributes) {
                        let stated = node.attributes.clone().unwrap_or_default();
                        note(snapshot::other_attributes(&stated, &seen.attributes));
                    }
                }
                None if implied.contains(key) && seen.kind == Kind::Directory => {}
                None if self.links.contains_key(key) => {
                    let to = &self.links[key];
                    if found.get(to).is_none_or(|of| of.inode != seen.inode) {
                        wrong.push(format!("{}: not a name of {}", show(key), show(to)));
                    }
                }
                None => wrong.push(format!("{}: unexpected {:?}", show(key), seen.kind)),
            }
        }
        let stated = self.nodes.keys().chain(self.links.keys());
        for key in stated.filter(|&key| !found.entries.contains_key(key)) {
            wrong.push(format!("{}: missing", show(key)));
        }
        assert!(wrong.is_empty(), "{} is not as stated:\n{}", root.display(), wrong.join("\n"));
    }
}

impl Node {
    fn of(kind: Kind) -> Self {
        Self { kind, written: None, mode: None, owner: None, mtime: None, attributes: None }
    }

    fn make(&self, parent: BorrowedFd<'_>, name: &CStr) {
        let exists = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let exists = exists.map(|stat| FileType::from_raw_mode(stat.st_mode));
        let kept = matches!(
            (&self.kind, exists),
            (Kind::File(_), Some(FileType::RegularFile))
                | (Kind::Directory, Some(FileType::Directory))
        );
        if let (Some(kind), false) = (exists, kept) {
            remove(parent, name, kind);
        }
        let private = Mode::from_raw_mode(0o644);
        match &self.kind {
            Kind::File(content) => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW;
                let file = openat(parent, name, flags, private).expect("create a file");
                let file = File::from(file);
                let all = 0..content.len();
                for part in self.written.as_deref().unwrap_or(std::slice::from_ref(&all)) {
                    let (part, offset) = (&content[part.clone()], part.start as u64);
                    file.write_all_at(part, offset).expect("write a file");
                }
                file.set_len(content.len() as u64).expect("give a file its size");
            }
            Kind::Directory if kept => {}
            Kind::Directory => {
                mkdirat(parent, name, Mode::from_raw_mode(0o755)).expect("make a directory");
            }
            Kind::Symlink(text) => {
                let text = CString::new(text.clone()).expect("a link's text has no NUL");
                symlinkat(text, parent, name).expect("make a symbolic link");
            }
            Kind::Fifo => mknodat(parent, name, FileType::Fifo, private, 0).expect("make a fifo"),
            Kind::Socket => {
                mknodat(parent, name, FileType::Socket, private, 0).expect("make a socket");
            }
            Kind::CharacterDevice(major, minor) => {
                let number = rustix::fs::makedev(*major, *minor);
                mknodat(parent, name, FileType::CharacterDevice, private, number)
                    .expect("make a device");
            }
            Kind::BlockDevice(major, minor) => {
                let number = rustix::fs::makedev(*major, *minor);
                mknodat(parent, name, FileType::BlockDevice, private, number)
                    .expect("make a device");
            }
            Kind::Other => panic!("can't make an unknown thing"),
        }
    }

    fn set_metadata(&self, parent: BorrowedFd<'_>, name: &CStr) {
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .expect("set an owner");
        }
        if let Some(mode) = self.mode {
            chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty()).expect("set a mode");
        }
        for (name_of_attribute, value) in self.attributes.iter().flatten() {
            handles::set_attribute(parent, name, name_of_attribute, value);
        }
        if let Some((seconds, nanos)) = self.mtime {
            set_mtime(parent, name, seconds, nanos);
        }
    }
}

/// Sets an entry's mtime (for a link its own).
pub fn set_mtime_of(path: &Path, seconds: i64, nanos: u32) {
    use std::os::unix::ffi::OsStrExt as _;
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
    set_mtime(CWD, &name, seconds, nanos);
}

fn set_mtime(parent: BorrowedFd<'_>, name: &CStr, seconds: i64, nanos: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set an mtime");
}
