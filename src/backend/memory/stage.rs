//! Writing to a tree in memory: under a temporary name first, then in its place.

use super::place::with_attributes;
use super::{Call, Memory};
use crate::backend::{
    Intended, Precondition, Stage, StageDirectory, Staged, StagedDirectory, Written,
};
use crate::model::names::legal;
use crate::model::reserved::temporary_name;
use crate::model::{Attributes, Cause, Digest, Entry, EntryKind, Features, Key, Metadata};

/// The first half of temporary names.
const TOKEN: u32 = 0x6d65_6d00;

/// Where an unpublished entry is.
enum Hidden {
    /// Under a temporary name.
    Temporary { name: Key, precondition: Precondition },
    /// Under its own name in an invisible directory.
    Member { key: Key },
}

/// An invisible entry; dropping it unpublished removes it.
struct HiddenEntry {
    memory: Memory,
    hidden: Hidden,
    key: Key,
    is_published: bool,
}

impl HiddenEntry {
    fn hidden_key(&self) -> &Key {
        match &self.hidden {
            Hidden::Temporary { name, .. } => name,
            Hidden::Member { key } => key,
        }
    }

    /// Keeps the entry of that name when dropped.
    fn keep(mut self) {
        self.is_published = true;
    }

    /// Puts the entry in its place.
    fn publish(&mut self) -> Result<(), Cause> {
        let mut disk = self.memory.call(Call::Publish, &self.key)?;
        if let Hidden::Temporary { name, precondition } = &self.hidden {
            match precondition {
                Precondition::Absent => disk.rename_new(name, &self.key)?,
                Precondition::Leaf | Precondition::Object(_) => {
                    disk.rename_over(name, &self.key)?;
                }
                Precondition::EmptyDirectory => {
                    let directory = Key::child(self.key.as_bytes(), b"", true);
                    match disk.remove_directory(&directory) {
                        Err(Cause::NotEmpty) => return Err(Cause::DirectoryStands),
                        other => other?,
                    }
                    disk.rename_new(name, &self.key)?;
                }
            }
        }
        self.is_published = true;
        Ok(())
    }
}

impl Drop for HiddenEntry {
    fn drop(&mut self) {
        let mut disk = self.memory.disk();
        if !self.is_published && !disk.is_off && disk.node(self.hidden_key()).is_some() {
            disk.unlink(self.hidden_key());
        }
    }
}

/// A file that is being written.
pub(super) struct MemoryStage {
    entry: HiddenEntry,
    /// The size, if it is known in advance.
    size: Option<u64>,
    content: Vec<u8>,
}

/// Begins a file under a temporary name.
pub(super) fn begin(
    memory: &Memory,
    entry: &Entry,
    precondition: Precondition,
    size: Option<u64>,
) -> Result<MemoryStage, Cause> {
    legal(&entry.key)?;
    let name = temporary(memory, &entry.key, false);
    let hidden = Hidden::Temporary { name, precondition };
    MemoryStage::begin(memory, &entry.key, hidden, size)
}

fn temporary(memory: &Memory, key: &Key, is_directory: bool) -> Key {
    Key::child(key.parent(), &temporary_name(TOKEN, memory.number()), is_directory)
}

impl MemoryStage {
    fn begin(memory: &Memory, key: &Key, hidden: Hidden, size: Option<u64>) -> Result<Self, Cause> {
        let mut disk = memory.call(Call::Stage, key)?;
        let (memory, key) = (memory.clone(), key.clone());
        let entry = HiddenEntry { memory, hidden, key, is_published: false };
        let created = disk.create(entry.hidden_key(), EntryKind::File, b"");
        drop(disk);
        match created {
            Ok(()) => Ok(Self { entry, size, content: Vec::new() }),
            Err(cause) => {
                // The existing entry is not this stage's to remove.
                entry.keep();
                Err(cause)
            }
        }
    }
}

impl Stage for MemoryStage {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        drop(self.entry.memory.call(Call::Write, &self.entry.key)?);
        self.content.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(
        self: Box<Self>,
        intended: &Intended<'_>,
        _digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause> {
        let wanted = intended.metadata;
        let Self { entry, size, content } = *self;
        let written = content.len() as u64;
        if let Some(expected) = size.filter(|size| written != *size) {
            return Err(Cause::ShortWrite { written, expected });
        }
        let mut disk = entry.memory.call(Call::Finish, &entry.key)?;
        let keeps = &entry.memory.0.options.keeps;
        let hidden_key = entry.hidden_key();
        disk.write(hidden_key, &content);
        disk.update(hidden_key, |node| {
            node.metadata = keeps.achievable(*wanted, EntryKind::File, Some(&node.metadata));
            if let Some(attributes) = intended.attributes {
                node.attributes = with_attributes(&node.attributes, attributes);
            }
        });
        let found = disk.entry(hidden_key);
        drop(disk);
        let found = found.ok_or(rustix::io::Errno::NOENT)?;
        let written =
            Written { stamp: found.stamp, metadata: found.metadata, lost: Features::default() };
        Ok(Box::new(MemoryStaged { entry, written }))
    }
}

struct MemoryStaged {
    entry: HiddenEntry,
    written: Written,
}

impl Staged for MemoryStaged {
    fn written(&self) -> Written {
        self.written
    }

    fn publish(&mut self) -> Result<Option<Cause>, Cause> {
        self.entry.publish().map(|()| None)
    }
}

/// Makes a symbolic link.
pub(super) fn make_link(
    memory: &Memory,
    entry: &Entry,
    attributes: Option<&Attributes>,
    precondition: Precondition,
) -> Result<(), Cause> {
    make_leaf(memory, &entry.key, precondition, |name| write_link(memory, entry, attributes, name))
}

/// Makes a special file.
pub(super) fn make_special(
    memory: &Memory,
    entry: &Entry,
    intended: &Intended<'_>,
    precondition: Precondition,
) -> Result<(), Cause> {
    let write = |name: &Key| write_special(memory, entry, intended, name);
    make_leaf(memory, &entry.key, precondition, write)
}

/// Makes a leaf by `write` under a temporary name, and puts it in its place.
fn make_leaf(
    memory: &Memory,
    key: &Key,
    precondition: Precondition,
    write: impl FnOnce(&Key) -> Result<Entry, Cause>,
) -> Result<(), Cause> {
    legal(key)?;
    let name = temporary(memory, key, false);
    write(&name)?;
    let (hidden, key) = (Hidden::Temporary { name, precondition }, key.clone());
    HiddenEntry { memory: memory.clone(), hidden, key, is_published: false }.publish()
}

fn write_special(
    memory: &Memory,
    entry: &Entry,
    intended: &Intended<'_>,
    hidden_key: &Key,
) -> Result<Entry, Cause> {
    let mut disk = memory.call(Call::MakeSpecial, &entry.key)?;
    let number = entry.device().map(|number| number.to_string()).unwrap_or_default();
    disk.create(hidden_key, entry.kind, number.as_bytes())?;
    let keeps = &memory.0.options.keeps;
    disk.update(hidden_key, |node| {
        node.metadata = keeps.achievable(*intended.metadata, entry.kind, Some(&node.metadata));
    });
    disk.entry(hidden_key).ok_or_else(|| rustix::io::Errno::NOENT.into())
}

fn write_link(
    memory: &Memory,
    entry: &Entry,
    attributes: Option<&Attributes>,
    hidden_key: &Key,
) -> Result<Entry, Cause> {
    let mut disk = memory.call(Call::MakeLink, &entry.key)?;
    disk.create(hidden_key, EntryKind::Symlink, entry.link.as_deref().unwrap_or_default())?;
    let keeps = &memory.0.options.keeps;
    disk.update(hidden_key, |node| {
        let wanted = Metadata { mode: node.metadata.mode, ..entry.metadata };
        node.metadata = keeps.achievable(wanted, EntryKind::Symlink, Some(&node.metadata));
        if let Some(attributes) = attributes {
            node.attributes = with_attributes(&node.attributes, attributes);
        }
    });
    disk.entry(hidden_key).ok_or_else(|| rustix::io::Errno::NOENT.into())
}

/// A directory that is being built under a temporary name.
pub(super) struct MemoryDirectory {
    memory: Memory,
    name: Key,
    key: Key,
    is_published: bool,
}

impl MemoryDirectory {
    pub(super) fn begin(memory: &Memory, key: &Key) -> Result<Self, Cause> {
        legal(key)?;
        let name = temporary(memory, key, true);
        memory.call(Call::StageDirectory, key)?.create(&name, EntryKind::Directory, b"")?;
        Ok(Self { memory: memory.clone(), name, key: key.clone(), is_published: false })
    }

    /// Returns the key of an entry in the directory until that is published.
    fn member(&self, entry: &Entry) -> Result<Key, Cause> {
        Ok(Key::child(self.name.as_bytes(), legal(&entry.key)?, false))
    }
}

impl StageDirectory for MemoryDirectory {
    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause> {
        let hidden = Hidden::Member { key: self.member(entry)? };
        let size = Some(entry.stamp.size);
        Ok(Box::new(MemoryStage::begin(&self.memory, &entry.key, hidden, size)?))
    }

    fn make_link(&self, entry: &Entry, attributes: Option<&Attributes>) -> Result<Written, Cause> {
        let found = write_link(&self.memory, entry, attributes, &self.member(entry)?)?;
        Ok(Written { stamp: found.stamp, metadata: found.metadata, lost: Features::default() })
    }

    fn make_special(&self, entry: &Entry, intended: &Intended<'_>) -> Result<Written, Cause> {
        let found = write_special(&self.memory, entry, intended, &self.member(entry)?)?;
        Ok(Written { stamp: found.stamp, metadata: found.metadata, lost: Features::default() })
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause> {
        Ok(self)
    }
}

impl StagedDirectory for MemoryDirectory {
    fn publish(&mut self) -> Result<(), Cause> {
        let mut disk = self.memory.call(Call::PublishDirectory, &self.key)?;
        disk.rename_directory(&self.name, &self.key)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for MemoryDirectory {
    fn drop(&mut self) {
        let mut disk = self.memory.disk();
        if !self.is_published && !disk.is_off {
            disk.remove_all(self.name.trimmed());
        }
    }
}
