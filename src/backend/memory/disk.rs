//! The tree itself and its durable state: what system calls do to a file system.

use super::Snapshot;
use super::nodes::Nodes;
use crate::model::entry::Completeness;
use crate::model::reserved;
use crate::model::stamp::Inode;
use crate::model::{
    AttributeKinds, Attributes, Cause, DeviceNumber, Entry, EntryKind, Extras, GroupId, Key,
    LinkGroup, Metadata, Stamp, Timestamp,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The time at which the clock of every tree begins, in seconds since the epoch: far in the past.
const BEGINNING: i64 = 1_000_000_000;
/// How far each change advances the clock, in nanoseconds: more than the time step of any file
/// system that stores fractions of a second.
const STEP: u32 = 20_000_001;

/// Which changes since the last barrier survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// None: the tree is as at the last barrier.
    None,
    /// All names and metadata, but no content: a file written since then has its size, and is full
    /// of zeros.
    Names,
}

/// An inode: an entry, whatever its names are.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: EntryKind,
    pub(super) number: u64,
    /// How many names it has.
    pub(super) names: u32,
    pub(super) metadata: Metadata,
    ctime: Timestamp,
    /// A file's content, a link's text, or a device's number as text.
    pub(super) content: Arc<[u8]>,
    /// Its extended attributes and ACLs, of all kinds.
    pub(super) attributes: Attributes,
}

/// A tree and its durable state.
pub(super) struct Disk {
    nodes: Nodes,
    synced: Nodes,
    clock: Timestamp,
    numbers: u64,
    /// Whether the power was cut.
    pub(super) is_off: bool,
}

impl Node {
    pub(super) fn entry(&self, key: Key) -> Entry {
        let inode =
            Inode { mtime: self.metadata.mtime, ctime: self.ctime, number: Some(self.number) };
        let is_special = matches!(self.kind, EntryKind::Special(_));
        let size = if is_special { 0 } else { self.content.len() as u64 };
        let number = || DeviceNumber::parse(str::from_utf8(&self.content).ok()?);
        let device = if is_special { number() } else { None };
        let id = GroupId(self.number);
        let group = (self.names > 1).then_some(LinkGroup { id, names: self.names });
        Entry {
            key,
            kind: self.kind,
            stamp: Stamp::of_inode(size, inode),
            metadata: self.metadata,
            link: (self.kind == EntryKind::Symlink).then(|| (*self.content).into()),
            completeness: Completeness::Full,
            recorded: None,
            extras: Extras { group, device, ..Extras::default() }.boxed(),
            born: None,
        }
    }
}

impl Disk {
    pub(super) fn new() -> Self {
        let mut disk = Self {
            nodes: Nodes::default(),
            synced: Nodes::default(),
            clock: Timestamp { seconds: BEGINNING, nanos: 1 },
            numbers: 1,
            is_off: false,
        };
        let root = disk.new_node(EntryKind::Directory, b"");
        disk.nodes.insert(Key::root(), root);
        disk.sync();
        disk
    }

    pub(super) fn sync(&mut self) {
        self.synced.clone_from(&self.nodes);
    }

    pub(super) fn restore(&mut self, survivors: Survivors) {
        self.is_off = false;
        match survivors {
            Survivors::None => self.nodes.clone_from(&self.synced),
            Survivors::Names => {
                for node in self.nodes.inodes_mut().filter(|node| node.kind == EntryKind::File) {
                    let synced = self.synced.inode(node.number);
                    if synced.is_none_or(|synced| synced.content != node.content) {
                        node.content = vec![0; node.content.len()].into();
                    }
                }
                self.sync();
            }
        }
    }

    pub(super) fn node(&self, key: &Key) -> Option<&Node> {
        self.nodes.get(key)
    }

    pub(super) fn entry(&self, key: &Key) -> Option<Entry> {
        self.nodes.get(key).map(|node| node.entry(key.clone()))
    }

    pub(super) fn durable(&self, key: &Key) -> Option<Entry> {
        self.synced.get(key).map(|node| node.entry(key.clone()))
    }

    pub(super) fn snapshot(&self) -> BTreeMap<Key, Snapshot> {
        let snapshot = |node: &Node| Snapshot {
            kind: node.kind,
            metadata: node.metadata,
            content: Arc::clone(&node.content),
            attributes: node.attributes.clone(),
            first_name: self.nodes.first_name(node).cloned(),
        };
        self.nodes.iter().map(|(key, node)| (key.clone(), snapshot(node))).collect()
    }

    /// Returns the key of the leaf or directory with a name (a key without a final `/`).
    pub(super) fn existing_key(&self, name: &[u8]) -> Option<Key> {
        let leaf = Key::new(name);
        if self.nodes.contains(&leaf) {
            return Some(leaf);
        }
        let directory = Key::child(name, b"", true);
        self.nodes.contains(&directory).then_some(directory)
    }

    /// Returns the keys directly in a directory, in order.
    pub(super) fn children(&self, directory: &Key) -> Vec<Key> {
        let start = directory.as_bytes();
        let mut children: Vec<Key> = Vec::new();
        for key in self.nodes.below(directory) {
            let rest = &key.as_bytes()[start.len()..];
            let is_child =
                rest.iter().position(|&byte| byte == b'/').is_none_or(|at| at + 1 == rest.len());
            if is_child {
                children.push(key.clone());
            }
        }
        children
    }

    pub(super) fn is_empty(&self, directory: &Key) -> bool {
        self.nodes.below(directory).next().is_none()
    }

    pub(super) fn set_clock(&mut self, time: Timestamp) {
        self.clock = self.clock.max(time);
    }

    pub(super) fn tick(&mut self) -> Timestamp {
        let nanos = self.clock.nanos + STEP;
        self.clock.seconds += i64::from(nanos / 1_000_000_000);
        self.clock.nanos = nanos % 1_000_000_000;
        self.clock
    }

    fn new_node(&mut self, kind: EntryKind, content: &[u8]) -> Node {
        self.numbers += 1;
        let now = self.tick();
        let mode = match kind {
            EntryKind::File | EntryKind::Special(_) => 0o600,
            EntryKind::Directory => 0o700,
            EntryKind::Symlink => 0o777,
        };
        Node {
            kind,
            number: self.numbers,
            names: 0,
            metadata: Metadata { mode, uid: 0, gid: 0, mtime: now },
            ctime: now,
            content: content.into(),
            attributes: Attributes::new(AttributeKinds::ALL, Vec::new()),
        }
    }

    /// Updates the times of the directory in which `key` was made or removed.
    fn touch_parent(&mut self, key: &Key) {
        let now = self.tick();
        if let Some(parent) = self.nodes.get_mut(&Key::new(key.parent())) {
            (parent.metadata.mtime, parent.ctime) = (now, now);
        }
    }

    fn check_parent(&self, key: &Key) -> Result<(), Cause> {
        let is_there = self.nodes.contains(&Key::new(key.parent()));
        if is_there { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    /// Makes an entry, unless the name is taken.
    pub(super) fn create(
        &mut self,
        key: &Key,
        kind: EntryKind,
        content: &[u8],
    ) -> Result<(), Cause> {
        self.check_parent(key)?;
        if self.existing_key(key.trimmed()).is_some() {
            return Err(Cause::NameTaken);
        }
        let node = self.new_node(kind, content);
        self.nodes.insert(key.clone(), node);
        self.touch_parent(key);
        Ok(())
    }

    /// Makes an entry and its parent directories; an existing entry of the same kind is
    /// overwritten.
    pub(super) fn make_with_parents(
        &mut self,
        key: &Key,
        kind: EntryKind,
        content: &[u8],
    ) -> Result<(), Cause> {
        if !key.parent().is_empty() {
            self.make_with_parents(&Key::new(key.parent()), EntryKind::Directory, b"")?;
        }
        match self.nodes.get(key) {
            Some(node) if node.kind != kind => Err(Cause::NameTaken),
            Some(_) if kind == EntryKind::Directory => Ok(()),
            Some(_) => {
                self.write(key, content);
                Ok(())
            }
            None => self.create(key, kind, content),
        }
    }

    /// Changes an entry and its ctime.
    pub(super) fn update(&mut self, key: &Key, change: impl FnOnce(&mut Node)) {
        let now = self.tick();
        if let Some(node) = self.nodes.get_mut(key) {
            change(node);
            node.ctime = now;
        }
    }

    /// Writes a file's content.
    pub(super) fn write(&mut self, key: &Key, content: &[u8]) {
        self.update(key, |node| node.content = content.into());
        if let Some(node) = self.nodes.get_mut(key) {
            node.metadata.mtime = node.ctime;
        }
    }

    /// Removes a leaf, or an empty directory. The ctime of a file with other names changes.
    pub(super) fn unlink(&mut self, key: &Key) {
        let now = self.tick();
        if let Some(node) = self.nodes.remove(key) {
            node.ctime = now;
        }
        self.touch_parent(key);
    }

    /// Makes a key another name of the inode of this number; a leaf there is replaced.
    pub(super) fn link(&mut self, number: u64, key: &Key) -> Result<(), Cause> {
        self.check_parent(key)?;
        if self.nodes.inode(number).is_none() {
            return Err(Cause::TargetChanged);
        }
        match self.nodes.get(key) {
            Some(node) if node.number == number => return Ok(()),
            Some(_) => self.unlink(key),
            None => {}
        }
        self.nodes.add_name(key.clone(), number);
        self.update(key, |_| {});
        self.touch_parent(key);
        Ok(())
    }

    /// Removes the entry with a name and everything in it.
    pub(super) fn remove_all(&mut self, name: &[u8]) {
        let Some(found) = self.existing_key(name) else { return };
        if found.is_directory() {
            let below: Vec<Key> = self.nodes.below(&found).cloned().collect();
            for key in below.iter().rev() {
                self.unlink(key);
            }
        }
        self.unlink(&found);
    }

    /// Renames a leaf and replaces a leaf of that name.
    pub(super) fn rename_over(&mut self, from: &Key, to: &Key) -> Result<(), Cause> {
        self.check_parent(to)?;
        if self.existing_key(to.trimmed()).is_some_and(|found| found.is_directory()) {
            return Err(Errno::ISDIR.into());
        }
        let number = self.nodes.get(from).ok_or(Errno::NOENT)?.number;
        // As rename(2): if both are names of one file, both stay.
        if self.nodes.get(to).is_some_and(|node| node.number == number) {
            return Ok(());
        }
        self.link(number, to)?;
        self.unlink(from);
        Ok(())
    }

    /// Renames a leaf to a name that must not exist.
    pub(super) fn rename_new(&mut self, from: &Key, to: &Key) -> Result<(), Cause> {
        if self.existing_key(to.trimmed()).is_some() {
            return Err(Cause::NameTaken);
        }
        self.rename_over(from, to)
    }

    /// Renames a directory to a name that must not exist. The entries in it don't change.
    pub(super) fn rename_directory(&mut self, from: &Key, to: &Key) -> Result<(), Cause> {
        self.check_parent(to)?;
        if self.existing_key(to.trimmed()).is_some() {
            return Err(Cause::NameTaken);
        }
        let members: Vec<Key> = self.nodes.below(from).cloned().collect();
        if !self.nodes.rename(from, to.clone()) {
            return Err(Errno::NOENT.into());
        }
        for member in members {
            let rest = &member.as_bytes()[from.as_bytes().len()..];
            self.nodes.rename(&member, Key::new([to.as_bytes(), rest].concat()));
        }
        self.update(to, |_| {});
        self.touch_parent(from);
        self.touch_parent(to);
        Ok(())
    }

    /// Removes a directory that must be empty.
    pub(super) fn remove_directory(&mut self, key: &Key) -> Result<(), Cause> {
        if !self.nodes.contains(key) {
            return Err(Errno::NOENT.into());
        }
        if !self.is_empty(key) {
            return Err(Cause::NotEmpty);
        }
        self.unlink(key);
        Ok(())
    }

    /// Replaces a leaf by a directory and moves the leaf into it; returns the leaf's new key.
    pub(super) fn set_aside(&mut self, key: &Key, number: u64) -> Result<Key, Cause> {
        let leaf = self.existing_key(key.trimmed()).ok_or(Errno::NOENT)?;
        if leaf.is_directory() {
            return Err(Cause::TargetChanged);
        }
        let hidden = Key::new(format!("set aside {number}").into_bytes());
        self.nodes.rename(&leaf, hidden.clone());
        self.create(key, EntryKind::Directory, b"")?;
        let name = reserved::temporary_name(reserved::SET_ASIDE, number);
        let aside = Key::child(key.as_bytes(), &name, false);
        self.nodes.rename(&hidden, aside.clone());
        self.update(&aside, |_| {});
        self.touch_parent(&aside);
        Ok(aside)
    }
}
