//! Trees: stated, written, read back and compared.
//!
//! [`TestTree`] states the expected entries; [`Snapshot`] has the actual ones. Both go through
//! directory handles, one component at a time, so that names can be any bytes and trees deeper than
//! `PATH_MAX`.

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Timespec, Timestamps, chmodat, chownat,
    linkat, mkdirat, mknodat, openat, readlinkat, seek, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The kind of an entry, with its content.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    CharacterDevice,
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
            Self::CharacterDevice => out.write_str("character device"),
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
}

/// A tree to be written. Keys are bytes with `/` between components; directories above an entry are
/// implied. `mode`, `owner` and `mtime` apply to the entry named last (at first to the root).
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

    pub fn fifo(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Fifo)
    }

    pub fn socket(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::Socket)
    }

    /// Adds a character device like `/dev/null` (needs root).
    pub fn device(self, key: impl AsRef<[u8]>) -> Self {
        self.with(key, Kind::CharacterDevice)
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
        Self { kind, written: None, mode: None, owner: None, mtime: None }
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
            Kind::CharacterDevice => {
                let null = rustix::fs::makedev(1, 3);
                mknodat(parent, name, FileType::CharacterDevice, private, null)
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
        if let Some((seconds, nanos)) = self.mtime {
            set_mtime(parent, name, seconds, nanos);
        }
    }
}

/// An actual entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    pub inode: u64,
    /// The holes of a file, with their offsets.
    pub holes: Vec<Range<u64>>,
}

/// The actual entries of a tree, without the root's own `.vidimus/`. The root is the empty key;
/// directories have no final `/` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub entries: BTreeMap<Vec<u8>, Seen>,
}

/// Which properties two snapshots must share.
#[derive(Clone, Copy)]
pub enum Closeness {
    /// Type, content, mode, owner and mtime: what every mirror preserves.
    Mirror,
    /// Those, and holes: what a mirror on a common file system preserves.
    Whole,
    /// All of these, ctime and inode: the entry wasn't touched.
    Untouched,
}

impl Snapshot {
    /// Reads the tree at `root`.
    pub fn read(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let root = open_root(root);
        read_into(root.as_fd(), &mut Vec::new(), &mut entries);
        entries.insert(Vec::new(), see(root.as_fd(), c"."));
        Self { entries }
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Seen> {
        self.entries.get(key.as_ref())
    }

    /// Leaves out the entries for which `drop` returns true, and everything below them.
    pub fn without(mut self, drop: impl Fn(&[u8]) -> bool) -> Self {
        let above = |key: &[u8]| {
            let ends = key.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
            ends.chain([key.len()]).any(|end| drop(&key[..end]))
        };
        self.entries.retain(|key, _| key.is_empty() || !above(key));
        self
    }

    /// Returns vidimus's temporary files, wherever they are.
    pub fn temporaries(&self) -> Vec<String> {
        let is_temporary = |key: &&Vec<u8>| {
            key.rsplit(|&byte| byte == b'/')
                .next()
                .is_some_and(|name| name.starts_with(b".vidimus."))
        };
        self.entries.keys().filter(is_temporary).map(|key| show(key)).collect()
    }

    /// Returns the differences of `found` from this snapshot, one line each.
    pub fn differences(&self, found: &Self, closeness: Closeness) -> Vec<String> {
        let mut lines = Vec::new();
        let keys: BTreeSet<_> = self.entries.keys().chain(found.entries.keys()).collect();
        for key in keys {
            let name = show(key);
            match (self.entries.get(key), found.entries.get(key)) {
                (Some(expected), Some(got)) => {
                    for what in expected.differences(got, closeness) {
                        lines.push(format!("{name}: {what}"));
                    }
                }
                (Some(expected), None) => {
                    lines.push(format!("{name}: missing {:?}", expected.kind));
                }
                (None, Some(got)) => lines.push(format!("{name}: unexpected {:?}", got.kind)),
                (None, None) => {}
            }
        }
        if matches!(closeness, Closeness::Mirror) {
            let (expected, found) = (self.groups(), found.groups());
            let shown = |group: &BTreeSet<&[u8]>| {
                group.iter().map(|key| show(key)).collect::<Vec<_>>().join(", ")
            };
            lines
                .extend(expected.difference(&found).map(|it| format!("not linked: {}", shown(it))));
            lines.extend(found.difference(&expected).map(|it| format!("linked: {}", shown(it))));
        }
        lines
    }

    /// Returns the keys of each entry that has several.
    pub fn groups(&self) -> BTreeSet<BTreeSet<&[u8]>> {
        let mut groups: BTreeMap<u64, BTreeSet<&[u8]>> = BTreeMap::new();
        for (key, seen) in self.entries.iter().filter(|(_, seen)| seen.kind != Kind::Directory) {
            groups.entry(seen.inode).or_default().insert(key);
        }
        groups.into_values().filter(|keys| keys.len() > 1).collect()
    }
}

impl Seen {
    fn differences(&self, got: &Self, closeness: Closeness) -> Vec<String> {
        let mut lines = Vec::new();
        if self.kind != got.kind {
            lines.push(format!("expected {:?}, found {:?}", self.kind, got.kind));
        }
        if self.mode != got.mode {
            lines.push(format!("expected mode {:o}, found {:o}", self.mode, got.mode));
        }
        if self.owner != got.owner {
            lines.push(format!("expected owner {:?}, found {:?}", self.owner, got.owner));
        }
        if self.mtime != got.mtime {
            lines.push(format!("expected mtime {:?}, found {:?}", self.mtime, got.mtime));
        }
        if !matches!(closeness, Closeness::Mirror) && self.holes != got.holes {
            lines.push(format!("expected holes {:?}, found {:?}", self.holes, got.holes));
        }
        if matches!(closeness, Closeness::Untouched) {
            if self.ctime != got.ctime {
                lines.push(format!("expected ctime {:?}, found {:?}", self.ctime, got.ctime));
            }
            if self.inode != got.inode {
                lines.push(format!("expected inode {}, found {}", self.inode, got.inode));
            }
        }
        lines
    }
}

/// Asserts that source and target have the same entries, with type, content, mode, owner, mtime and
/// link text. The root's own `.vidimus/` is left out.
#[track_caller]
pub fn assert_mirrored(source: &Path, target: &Path) {
    assert_same(&Snapshot::read(source), &Snapshot::read(target), Closeness::Mirror);
}

/// Does the same, holes included, where both file systems have them.
#[track_caller]
pub fn assert_whole(source: &Path, target: &Path) {
    assert_same(&Snapshot::read(source), &Snapshot::read(target), Closeness::Whole);
}

/// Asserts that nothing in `root` was touched since `before` was read.
#[track_caller]
pub fn assert_untouched(before: &Snapshot, root: &Path) {
    assert_same(before, &Snapshot::read(root), Closeness::Untouched);
}

#[track_caller]
pub fn assert_same(expected: &Snapshot, found: &Snapshot, closeness: Closeness) {
    let differences = expected.differences(found, closeness);
    if !differences.is_empty() {
        let mut text = format!("{} differences:\n", differences.len());
        for line in differences.iter().take(50) {
            writeln!(text, "  {line}").expect("writing to a string");
        }
        panic!("{text}");
    }
}

/// Returns a key for a message.
pub fn show(key: &[u8]) -> String {
    if key.is_empty() { "(root)".into() } else { key.escape_ascii().to_string() }
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

fn open_root(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn leaf(key: &[u8]) -> CString {
    let name = key.rsplit(|&byte| byte == b'/').next().expect("a split yields at least one part");
    CString::new(name).expect("a name has no NUL")
}

fn open_parent(root: &OwnedFd, key: &[u8], make: bool) -> OwnedFd {
    let mut directory = root.try_clone().expect("duplicate a handle");
    let mut components: Vec<_> = key.split(|&byte| byte == b'/').collect();
    components.pop();
    for component in components {
        let name = CString::new(component).expect("a name has no NUL");
        let mut next = open_directory(directory.as_fd(), &name);
        if make && next.is_err() {
            if let Ok(stat) = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                remove(directory.as_fd(), &name, FileType::from_raw_mode(stat.st_mode));
            }
            mkdirat(&directory, &name, Mode::from_raw_mode(0o755)).expect("make a directory");
            next = open_directory(directory.as_fd(), &name);
        }
        directory = next.expect("open a directory");
    }
    directory
}

fn remove(parent: BorrowedFd<'_>, name: &CStr, kind: FileType) {
    if kind != FileType::Directory {
        unlinkat(parent, name, AtFlags::empty()).expect("remove a file");
        return;
    }
    let directory = open_directory(parent, name).expect("open a directory to remove");
    for (name, kind) in names(directory.as_fd()) {
        remove(directory.as_fd(), &name, kind);
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR).expect("remove a directory");
}

fn names(directory: BorrowedFd<'_>) -> Vec<(CString, FileType)> {
    let listing = Dir::read_from(directory).expect("list a directory");
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.expect("list a directory").file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            let stat =
                statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).expect("look at an entry");
            names.push((name, FileType::from_raw_mode(stat.st_mode)));
        }
    }
    names
}

fn see(parent: BorrowedFd<'_>, name: &CStr) -> Seen {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).expect("look at an entry");
    let mut holes = Vec::new();
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
            let file = openat(parent, name, flags, Mode::empty())
                .or_else(|_| openat(parent, name, flags - OFlags::NOATIME, Mode::empty()));
            let mut content = Vec::new();
            let mut file = File::from(file.expect("open a file"));
            file.read_to_end(&mut content).expect("read a file");
            holes = holes_of(&file, content.len() as u64);
            Kind::File(content)
        }
        FileType::Directory => Kind::Directory,
        FileType::Symlink => {
            Kind::Symlink(readlinkat(parent, name, Vec::new()).expect("read a link").into_bytes())
        }
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharacterDevice,
        _ => Kind::Other,
    };
    let nanos = |nanos| u32::try_from(nanos).expect("nanoseconds are below a second");
    Seen {
        kind,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        mtime: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
        ctime: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        inode: stat.st_ino,
        holes,
    }
}

/// Returns the holes of a file.
pub fn holes_of(file: &File, size: u64) -> Vec<Range<u64>> {
    let mut holes = Vec::new();
    let mut offset = 0;
    while offset < size {
        // A file system that doesn't know of holes has none.
        let hole = seek(file, SeekFrom::Hole(offset)).unwrap_or(size);
        if hole >= size {
            break;
        }
        offset = match seek(file, SeekFrom::Data(hole)) {
            Err(Errno::NXIO) => size,
            data => data.expect("look for data"),
        };
        holes.push(hole..offset);
    }
    holes
}

fn read_into(directory: BorrowedFd<'_>, prefix: &mut Vec<u8>, into: &mut BTreeMap<Vec<u8>, Seen>) {
    for (name, kind) in names(directory) {
        if prefix.is_empty() && name.as_bytes() == b".vidimus" {
            continue;
        }
        let above = prefix.len();
        prefix.extend_from_slice(name.as_bytes());
        into.insert(prefix.clone(), see(directory, &name));
        if kind == FileType::Directory {
            prefix.push(b'/');
            let below = open_directory(directory, &name).expect("open a directory");
            read_into(below.as_fd(), prefix, into);
        }
        prefix.truncate(above);
    }
}
