//! Trees as they are, and how they differ.

use super::handles::{attributes, names, open_directory, open_root};
use super::{Attributes, Kind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, openat, readlinkat, seek, statat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

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
    /// What the entry takes on the disk, in units of 512 bytes.
    pub blocks: u64,
    pub attributes: Attributes,
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
    /// Type, content, mode, owner, mtime, hard links and attributes: what a mirror preserves.
    Mirror,
    /// Those, and holes.
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
        if !matches!(closeness, Closeness::Untouched) {
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
        if self.attributes != got.attributes {
            lines.push(other_attributes(&self.attributes, &got.attributes));
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

/// Returns how the attributes of an entry differ from those that were expected.
pub fn other_attributes(expected: &Attributes, found: &Attributes) -> String {
    let shown = |of: &Attributes| {
        let each = of.iter().map(|(name, value)| {
            let start = &value[..value.len().min(40)];
            format!("{}={}", name.escape_ascii(), start.escape_ascii())
        });
        each.collect::<Vec<_>>().join(", ")
    };
    format!("expected attributes [{}], found [{}]", shown(expected), shown(found))
}

/// Asserts that source and target have the same entries, with type, content, mode, owner, mtime,
/// link text, hard links and attributes. The root's own `.vidimus/` is left out.
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
        FileType::CharacterDevice => {
            Kind::CharacterDevice(rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        }
        FileType::BlockDevice => {
            Kind::BlockDevice(rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        }
        FileType::Unknown => Kind::Other,
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
        blocks: u64::try_from(stat.st_blocks).expect("no entry takes less than nothing"),
        attributes: attributes(parent, name),
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
