//! A tree in memory, as a source and as a target: for tests.
//!
//! It behaves as a file system does: names are leaves or directories, each change sets times, a rename
//! sets the ctime, and what no barrier made durable is lost when the power is cut. What a disk does in
//! bad weather is [scripted](Memory::on): any call can fail, or find that somebody changed the tree
//! while it was under way.
//!
//! A [`Memory`] is a handle, whose clones are of the same tree; [`Memory::source`] and
//! [`Memory::target`] are what the engine is given. Its own methods act as another program would: no
//! script sees them. Its clock is its own, far from the present and a step on with each change, so that
//! no stamp is racy and no test waits.
//!
//! The program opens no such place; it is part of the library because `tests/backend` holds it to the
//! same promises as the other backends.

mod disk;
mod list;
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
use crate::model::{Cause, Entry, EntryKind, Keeps, Key, Metadata, SpecialKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A tree in memory.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    disk: Mutex<Disk>,
    script: Script,
    options: MemoryOptions,
    /// Tells temporaries apart.
    temporaries: AtomicU64,
}

/// What a tree in memory is like as a target.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// What it keeps of what is written to it.
    pub keeps: Keeps,
    /// Whether a barrier makes anything durable; else all is at once.
    pub needs_barrier: bool,
    /// Whether new directories are built whole before anybody sees them.
    pub builds_directories: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { keeps: Keeps::ALL, needs_barrier: true, builds_directories: true }
    }
}

/// One entry as it stands, without what tells its versions apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is.
    pub kind: EntryKind,
    /// Mode, owner, group and mtime.
    pub metadata: Metadata,
    /// A file's content, or a symbolic link's text.
    pub content: Arc<[u8]>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl Memory {
    /// Makes an empty tree: its root alone.
    pub fn new(options: MemoryOptions) -> Self {
        Self(Arc::new(Shared {
            disk: Mutex::new(Disk::new()),
            script: Script::default(),
            options,
            temporaries: AtomicU64::new(0),
        }))
    }

    /// The tree as a source.
    pub fn source(&self) -> MemoryPlace {
        MemoryPlace::new(self.clone(), Side::Source)
    }

    /// The tree as a target.
    pub fn target(&self) -> MemoryPlace {
        MemoryPlace::new(self.clone(), Side::Target)
    }

    /// Scripts what happens when the tree is called: `act` is asked before the call does anything, and
    /// makes it fail by an error. It may change the tree as another program would.
    pub fn on(
        &self,
        call: Call,
        when: When,
        act: impl Fn(&Self) -> Result<(), Cause> + Send + Sync + 'static,
    ) {
        self.0.script.add(Some(call), when, Box::new(act));
    }

    /// Scripts what happens at calls that change the tree, whichever these are, and at barriers.
    pub fn on_change(
        &self,
        when: When,
        act: impl Fn(&Self) -> Result<(), Cause> + Send + Sync + 'static,
    ) {
        self.0.script.add(None, when, Box::new(act));
    }

    /// Makes a call fail.
    pub fn fail(&self, call: Call, when: When, errno: rustix::io::Errno) {
        self.on(call, when, move |_| Err(errno.into()));
    }

    /// Forgets all that was scripted, and all calls.
    pub fn clear_script(&self) {
        self.0.script.clear();
    }

    /// The calls so far that change the tree, and the barriers, in order.
    pub fn changes(&self) -> Vec<(Call, Key)> {
        self.0.script.changes()
    }

    /// Cuts the power: every call fails from now on, until it is [back](Self::restore_power).
    pub fn cut_power(&self) {
        self.disk().is_off = true;
    }

    /// Has the power back, and of what no barrier covered only the `survivors`.
    pub fn restore_power(&self, survivors: Survivors) {
        self.disk().restore(survivors);
    }

    /// Makes durable all that stands.
    pub fn sync(&self) {
        self.disk().sync();
    }

    /// Writes a file: a new one, with the directories that it lies in, or into the one that stands there.
    ///
    /// # Panics
    /// Where something else stands there.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.make(path, EntryKind::File, content.as_ref());
    }

    /// Makes a symbolic link; see [`Memory::write`].
    ///
    /// # Panics
    /// Where something else stands there.
    pub fn link(&self, path: &str, text: impl AsRef<[u8]>) {
        self.make(path, EntryKind::Symlink, text.as_ref());
    }

    /// Makes a special file; see [`Memory::write`].
    ///
    /// # Panics
    /// Where something else stands there.
    pub fn special(&self, path: &str, kind: SpecialKind) {
        self.make(path, EntryKind::Special(kind), b"");
    }

    /// Makes a directory (its path without a final `/`), unless it stands there; see [`Memory::write`].
    ///
    /// # Panics
    /// Where something else stands there.
    pub fn directory(&self, path: &str) {
        self.make(&format!("{path}/"), EntryKind::Directory, b"");
    }

    fn make(&self, path: &str, kind: EntryKind, content: &[u8]) {
        let mut disk = self.disk();
        let made = disk.make_with_parents(&Key::new(path.as_bytes()), kind, content);
        made.unwrap_or_else(|cause| panic!("cannot make {path:?}: {cause}"));
    }

    /// Removes what stands at a path, with all in it, if anything does.
    pub fn remove(&self, path: &str) {
        self.disk().remove_all(path.as_bytes());
    }

    /// Renames a leaf, over another one that may stand there.
    ///
    /// # Panics
    /// Where that can't be.
    pub fn rename(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|path| Key::new(path.as_bytes()));
        let renamed = self.disk().rename_over(&from, &to);
        renamed.unwrap_or_else(|cause| panic!("cannot rename {from:?} to {to:?}: {cause}"));
    }

    /// Changes metadata; a symbolic link has no mode of its own.
    ///
    /// # Panics
    /// Where nothing stands there.
    pub fn set(&self, path: &str, change: impl FnOnce(&mut Metadata)) {
        let mut disk = self.disk();
        let found = disk.standing(path.as_bytes()).unwrap_or_else(|| panic!("no {path:?}"));
        disk.update(&found, |node| {
            let mode = node.metadata.mode;
            change(&mut node.metadata);
            if node.kind == EntryKind::Symlink {
                node.metadata.mode = mode;
            }
        });
    }

    /// What stands at a key, as a listing would tell it.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        self.disk().entry(&Key::new(path.as_bytes()))
    }

    /// All that stands.
    pub fn snapshot(&self) -> BTreeMap<Key, Snapshot> {
        self.disk().snapshot()
    }

    /// What stands, and would survive if the power were cut now, as a listing would tell it.
    pub fn durable(&self, key: &Key) -> Option<Entry> {
        self.disk().durable(key)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the script act on a call, which then finds the tree as that left it.
    fn call(&self, call: Call, key: &Key) -> Result<MutexGuard<'_, Disk>, Cause> {
        for act in self.0.script.acts(call, key) {
            act(self)?;
        }
        let disk = self.disk();
        if disk.is_off {
            return Err(rustix::io::Errno::IO.into());
        }
        if call.changes() {
            self.0.script.took(call, key);
        }
        Ok(disk)
    }

    /// A number for a temporary's name.
    fn number(&self) -> u64 {
        self.0.temporaries.fetch_add(1, Ordering::Relaxed)
    }
}
