//! A tree in memory, as a source and as a target: for tests.
//!
//! It behaves like a file system: names are leaves or directories, each change sets times, a rename
//! sets the ctime, and what no barrier made durable is lost in a power cut. Failures are
//! [scripted](Memory::on): any call can fail, or find that the tree was changed while it was
//! running.
//!
//! A [`Memory`] is a handle; its clones share the tree. [`Memory::source`] and [`Memory::target`]
//! give the sides for the engine. The handle's own methods act like another program and are not
//! subject to scripts. The tree has a clock of its own, far in the past, that advances with each
//! change, so that no stamp is racy and no test waits.
//!
//! The program itself never uses it. It is part of the library because `tests/backend` checks it
//! with the conformance tests of the other backends.

mod disk;
mod list;
mod nodes;
mod place;
mod script;
mod stage;
#[cfg(test)]
mod tests;

pub use disk::Survivors;
pub use place::MemoryPlace;
pub use script::{Call, When};

use self::disk::Disk;
use self::script::Script;
use crate::model::error::Side;
use crate::model::{
    Attribute, AttributeKinds, Attributes, Cause, Entry, EntryKind, Keeps, Key, Metadata,
    SpecialKind, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tree in memory.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    disk: Mutex<Disk>,
    script: Script,
    options: MemoryOptions,
    /// Counter that makes temporary names unique.
    temporaries: AtomicU64,
}

/// How a tree in memory behaves as a target.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// The metadata that it keeps.
    pub keeps: Keeps,
    /// Whether changes are durable only after a barrier; else at once.
    pub needs_barrier: bool,
    /// Whether new directories are completed before they become visible.
    pub builds_directories: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { keeps: Keeps::ALL, needs_barrier: true, builds_directories: true }
    }
}

/// The state of one entry, without its inode number and ctime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The kind of entry.
    pub kind: EntryKind,
    /// Mode, owner, group and mtime.
    pub metadata: Metadata,
    /// A file's content, a symbolic link's text, or a device's number as text.
    pub content: Arc<[u8]>,
    /// Extended attributes and ACLs.
    pub attributes: Attributes,
    /// The first of its names, if it has several.
    pub first_name: Option<Key>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl Memory {
    /// Makes an empty tree with only a root.
    pub fn new(options: MemoryOptions) -> Self {
        Self(Arc::new(Shared {
            disk: Mutex::new(Disk::new()),
            script: Script::default(),
            options,
            temporaries: AtomicU64::new(0),
        }))
    }

    /// Returns the tree as a source.
    pub fn source(&self) -> MemoryPlace {
        MemoryPlace::new(self.clone(), Side::Source)
    }

    /// Returns the tree as a target.
    pub fn target(&self) -> MemoryPlace {
        MemoryPlace::new(self.clone(), Side::Target)
    }

    /// Scripts a call: `act` runs before the call does anything and can make it fail with an error.
    /// It may change the tree as another program would.
    pub fn on(
        &self,
        call: Call,
        when: When,
        act: impl Fn(&Self) -> Result<(), Cause> + Send + Sync + 'static,
    ) {
        self.0.script.add(Some(call), when, Box::new(act));
    }

    /// Scripts all calls that change the tree, and barriers.
    pub fn on_change(
        &self,
        when: When,
        act: impl Fn(&Self) -> Result<(), Cause> + Send + Sync + 'static,
    ) {
        self.0.script.add(None, when, Box::new(act));
    }

    /// Scripts a call to fail.
    pub fn fail(&self, call: Call, when: When, errno: rustix::io::Errno) {
        self.on(call, when, move |_| Err(errno.into()));
    }

    /// Clears the script and the recorded calls.
    pub fn clear_script(&self) {
        self.0.script.clear();
    }

    /// Returns the calls so far that change the tree, and barriers, in order.
    pub fn changes(&self) -> Vec<(Call, Key)> {
        self.0.script.changes()
    }

    /// Cuts the power: every call fails until it is [restored](Self::restore_power).
    pub fn cut_power(&self) {
        self.disk().is_off = true;
    }

    /// Restores the power. Of the changes since the last barrier, only `survivors` are kept.
    pub fn restore_power(&self, survivors: Survivors) {
        self.disk().restore(survivors);
    }

    /// Makes all changes durable.
    pub fn sync(&self) {
        self.disk().sync();
    }

    /// Writes a file: creates it with its parent directories, or overwrites the existing one.
    ///
    /// # Panics
    /// If an entry of another kind exists there.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.make(path, EntryKind::File, content.as_ref());
    }

    /// Makes a symbolic link; see [`Memory::write`].
    ///
    /// # Panics
    /// If an entry of another kind exists there.
    pub fn link(&self, path: &str, text: impl AsRef<[u8]>) {
        self.make(path, EntryKind::Symlink, text.as_ref());
    }

    /// Makes another name of the file at a path, in the place of a leaf that may be there.
    ///
    /// # Panics
    /// If there is no such file, or if a directory is in the way.
    pub fn hard_link(&self, of: &str, path: &str) {
        let mut disk = self.disk();
        let key = Key::new(path.as_bytes());
        if !key.parent().is_empty() {
            let parent = Key::new(key.parent());
            let made = disk.make_with_parents(&parent, EntryKind::Directory, b"");
            made.unwrap_or_else(|cause| panic!("cannot make {parent:?}: {cause}"));
        }
        let number = disk.node(&Key::new(of.as_bytes())).map(|node| node.number);
        let linked = disk.link(number.unwrap_or_else(|| panic!("no {of:?}")), &key);
        linked.unwrap_or_else(|cause| panic!("cannot link {of:?} to {path:?}: {cause}"));
    }

    /// Sets an extended attribute or ACL, or removes it.
    ///
    /// # Panics
    /// If nothing exists there.
    pub fn set_attribute(&self, path: &str, name: &str, value: Option<&[u8]>) {
        let mut disk = self.disk();
        let found = disk.existing_key(path.as_bytes()).unwrap_or_else(|| panic!("no {path:?}"));
        disk.update(&found, |node| {
            let others = node.attributes.iter().filter(|one| *one.name != *name.as_bytes());
            let value =
                value.map(|value| Attribute { name: name.as_bytes().into(), value: value.into() });
            let all = others.cloned().chain(value).collect();
            node.attributes = Attributes::new(AttributeKinds::ALL, all);
        });
    }

    /// Makes a special file, a device with the number 1:3; see [`Memory::write`].
    ///
    /// # Panics
    /// If an entry of another kind exists there.
    pub fn special(&self, path: &str, kind: SpecialKind) {
        let kind = EntryKind::Special(kind);
        self.make(path, kind, if kind.is_device() { b"1:3" } else { b"" });
    }

    /// Makes a directory (path without a final `/`), unless it exists; see [`Memory::write`].
    ///
    /// # Panics
    /// If an entry of another kind exists there.
    pub fn directory(&self, path: &str) {
        self.make(&format!("{path}/"), EntryKind::Directory, b"");
    }

    fn make(&self, path: &str, kind: EntryKind, content: &[u8]) {
        let mut disk = self.disk();
        let made = disk.make_with_parents(&Key::new(path.as_bytes()), kind, content);
        made.unwrap_or_else(|cause| panic!("cannot make {path:?}: {cause}"));
    }

    /// Removes the entry at a path, with everything in it, if there is one.
    pub fn remove(&self, path: &str) {
        self.disk().remove_all(path.as_bytes());
    }

    /// Renames a leaf and replaces a leaf of that name, or a directory (path with a final `/`) to a
    /// new name.
    ///
    /// # Panics
    /// If the rename fails.
    pub fn rename(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|path| Key::new(path.as_bytes()));
        let mut disk = self.disk();
        let renamed = if from.is_directory() {
            disk.rename_directory(&from, &to)
        } else {
            disk.rename_over(&from, &to)
        };
        renamed.unwrap_or_else(|cause| panic!("cannot rename {from:?} to {to:?}: {cause}"));
    }

    /// Changes metadata; a symbolic link has no mode of its own.
    ///
    /// # Panics
    /// If nothing exists there.
    pub fn set(&self, path: &str, change: impl FnOnce(&mut Metadata)) {
        let mut disk = self.disk();
        let found = disk.existing_key(path.as_bytes()).unwrap_or_else(|| panic!("no {path:?}"));
        disk.update(&found, |node| {
            let mode = node.metadata.mode;
            change(&mut node.metadata);
            if node.kind == EntryKind::Symlink {
                node.metadata.mode = mode;
            }
        });
    }

    /// Returns the entry at a key as a listing gives it.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        self.disk().entry(&Key::new(path.as_bytes()))
    }

    /// Returns all entries.
    pub fn snapshot(&self) -> BTreeMap<Key, Snapshot> {
        self.disk().snapshot()
    }

    /// Returns the entry at a key, as a listing gives it, that would survive a power cut now.
    pub fn durable(&self, key: &Key) -> Option<Entry> {
        self.disk().durable(key)
    }

    /// Advances the clock, and returns its time: all changes so far were before.
    pub fn time(&self) -> Timestamp {
        self.disk().tick()
    }

    /// Sets the clock to a later time, as that of another tree.
    pub fn set_time(&self, time: Timestamp) {
        self.disk().set_clock(time);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock()
    }

    /// Runs the script for a call and returns the tree afterwards.
    fn call(&self, call: Call, key: &Key) -> Result<MutexGuard<'_, Disk>, Cause> {
        for act in self.0.script.acts(call, key) {
            act(self)?;
        }
        let disk = self.disk();
        if disk.is_off {
            return Err(rustix::io::Errno::IO.into());
        }
        if call.changes() {
            self.0.script.record(call, key);
        }
        Ok(disk)
    }

    /// Returns a new number for a temporary name.
    fn number(&self) -> u64 {
        self.0.temporaries.fetch_add(1, Ordering::Relaxed)
    }
}
