//! The source and target traits for a tree in memory.

use super::list::{list, list_name};
use super::stage::{MemoryDirectory, begin, make_link, make_special};
use super::{Call, Memory};
use crate::backend::{
    Capabilities, Donor, Inspect, Inspected, Intended, Linked, ListItem, ListOptions, Listing,
    MetadataSet, Piece, Precondition, ReadError, Reading, Sink, Source, Stage, StageDirectory,
    Target,
};
use crate::model::error::Side;
use crate::model::names::legal;
use crate::model::reserved::{is_set_aside, is_temporary};
use crate::model::{
    Attribute, AttributeKind, AttributeKinds, Attributes, Cause, Entry, EntryKind, Error, Feature,
    Features, Keeps, Key, Metadata, Stamp,
};
use std::sync::Arc;

/// What a closer look at a file found that is being read.
#[derive(Debug)]
struct OpenFile(Inspected);

impl Inspect for OpenFile {
    fn inspect(&self) -> Inspected {
        self.0.clone()
    }
}

/// A file that can be given other names.
struct MemoryDonor {
    memory: Memory,
    number: u64,
}

impl Donor for MemoryDonor {
    fn has_name(&self, key: &Key) -> Result<bool, Cause> {
        let found = self.memory.disk().entry(key);
        let inode = found.as_ref().and_then(|found| found.stamp.inode());
        Ok(inode.is_some_and(|inode| inode.number == Some(self.number)))
    }

    fn link(&self, key: &Key, place: Precondition) -> Result<Linked, Cause> {
        legal(key)?;
        let mut disk = self.memory.call(Call::HardLink, key)?;
        match disk.existing_key(key.trimmed()) {
            Some(_) if place == Precondition::Absent => return Err(Cause::NameTaken),
            Some(found) if found.is_directory() => {
                if place != Precondition::EmptyDirectory {
                    return Err(Cause::NameTaken);
                }
                disk.remove_directory(&found)?;
            }
            _ => {}
        }
        disk.link(self.number, key).map(|()| Linked::Done)
    }
}

/// Returns an entry's attributes after these were set: of the kinds that they are about it has no
/// others.
pub(super) fn with_attributes(existing: &Attributes, set: &Attributes) -> Attributes {
    let is_set =
        |one: &&Attribute| AttributeKind::of(&one.name).is_some_and(|kind| set.kinds().has(kind));
    let others = existing.iter().filter(|one| !is_set(one));
    Attributes::new(AttributeKinds::ALL, others.chain(set.iter()).cloned().collect())
}

/// A tree in memory on one side of a mirror.
pub struct MemoryPlace {
    memory: Memory,
    side: Side,
}

impl MemoryPlace {
    pub(super) fn new(memory: Memory, side: Side) -> Self {
        Self { memory, side }
    }

    fn supported(&self) -> &Keeps {
        &self.memory.0.options.keeps
    }

    /// Returns the current content of a listed file.
    fn content(&self, listed: &Entry) -> Result<Arc<[u8]>, ReadError> {
        let disk = self.memory.call(Call::Read, &listed.key).map_err(ReadError::Source)?;
        let node = disk.node(&listed.key).filter(|node| node.kind == EntryKind::File);
        let is_same =
            |number| listed.stamp.inode().is_some_and(|inode| inode.number == Some(number));
        match node {
            Some(node) if is_same(node.number) => Ok(Arc::clone(&node.content)),
            None if disk.existing_key(listed.key.trimmed()).is_none() => {
                Err(ReadError::Source(Cause::Vanished))
            }
            _ => Err(ReadError::Changed),
        }
    }

    /// Checks that the file is still the one listed.
    fn check(&self, listed: &Entry) -> Result<(), ReadError> {
        let found = self.memory.disk().entry(&listed.key);
        let is_still =
            |found: Entry| found.kind == EntryKind::File && found.stamp.is_still(&listed.stamp);
        if found.is_some_and(is_still) { Ok(()) } else { Err(ReadError::Changed) }
    }
}

impl Source for MemoryPlace {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            folds_names: false,
            writes_anywhere: false,
            needs_barrier: self.memory.0.options.needs_barrier,
            ..Capabilities::FILE_SYSTEM
        }
    }

    fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
        Ok(list(&self.memory, self.side, options))
    }

    fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
        Ok(list_name(&self.memory, self.side, name, options))
    }

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        legal(&entry.key).map_err(ReadError::Source)?;
        let size = entry.stamp.size as usize;
        let (mut done, mut is_first) = (0, true);
        loop {
            let content = self.content(entry)?;
            if content.len() != size {
                return Err(ReadError::Changed);
            }
            let end = size.min(done + buffer.len());
            let chunk = &mut buffer[..end - done];
            chunk.copy_from_slice(&content[done..end]);
            done = end;
            if done == size {
                self.check(entry)?;
            }
            if is_first {
                let open = OpenFile(self.inspect(entry).map_err(ReadError::Source)?);
                sink(Reading::Opened(&open)).map_err(ReadError::Sink)?;
                is_first = false;
            }
            sink(Reading::Content(Piece::Chunk(chunk))).map_err(ReadError::Sink)?;
            if done == size {
                return Ok(());
            }
        }
    }

    fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
        if !key.is_root() {
            legal(key)?;
        }
        let disk = self.memory.call(Call::Look, key)?;
        let found =
            if key.is_root() { Some(key.clone()) } else { disk.existing_key(key.trimmed()) };
        Ok(found.and_then(|found| disk.entry(&found)))
    }

    fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
        let disk = self.memory.disk();
        let node = disk.node(&entry.key).ok_or(rustix::io::Errno::NOENT)?;
        let mut features = Features::default();
        for Attribute { name, .. } in node.attributes.iter() {
            features.add(match AttributeKind::of(name) {
                Some(AttributeKind::Acl) => Feature::Acl,
                _ => Feature::Attributes,
            });
        }
        if entry.group().is_some() {
            features.add(Feature::HardLinks);
        }
        Ok(Inspected { features, mode: node.metadata.mode, attributes: node.attributes.clone() })
    }

    fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
        let disk = self.memory.call(Call::List, directory)?;
        Ok(disk.children(directory).iter().map(|key| key.name().to_vec()).collect())
    }
}

impl Target for MemoryPlace {
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause> {
        let size = Some(entry.stamp.size);
        Ok(Box::new(begin(&self.memory, entry, precondition, size)?))
    }

    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause> {
        Ok(Box::new(begin(&self.memory, entry, precondition, None)?))
    }

    fn builds_directories(&self) -> bool {
        self.memory.0.options.builds_directories
    }

    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        Ok(Box::new(MemoryDirectory::begin(&self.memory, key)?))
    }

    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause> {
        legal(key)?;
        let mut disk = self.memory.call(Call::MakeDirectory, key)?;
        if precondition != Precondition::Absent {
            return disk.set_aside(key, self.memory.number()).map(Some);
        }
        disk.create(key, EntryKind::Directory, b"").map(|()| None)
    }

    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause> {
        if !is_set_aside(key.name()) {
            return Err(Cause::IllegalName);
        }
        self.memory.call(Call::RemoveSetAside, key)?.unlink(key);
        Ok(())
    }

    fn make_link(
        &self,
        entry: &Entry,
        attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        make_link(&self.memory, entry, attributes, precondition).map(|()| MetadataSet::default())
    }

    fn make_special(
        &self,
        entry: &Entry,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        make_special(&self.memory, entry, intended, precondition)?;
        Ok(MetadataSet::default())
    }

    fn donor(&self, key: &Key, recorded: &Stamp) -> Result<Box<dyn Donor>, Cause> {
        let disk = self.memory.disk();
        let found = disk.node(key).filter(|node| node.entry(key.clone()).stamp.is_still(recorded));
        let number = found.ok_or(Cause::TargetChanged)?.number;
        Ok(Box::new(MemoryDonor { memory: self.memory.clone(), number }))
    }

    fn rename(&self, listed: &Entry, to: &Key) -> Result<Option<Entry>, Cause> {
        legal(to)?;
        let mut disk = self.memory.call(Call::Rename, &listed.key)?;
        let found = disk.existing_key(listed.key.trimmed()).and_then(|key| disk.entry(&key));
        let number = |entry: &Entry| entry.stamp.inode().and_then(|inode| inode.number);
        let is_still = |found: Entry| match listed.kind {
            EntryKind::Directory => found.kind == listed.kind && number(&found) == number(listed),
            _ => found.stamp.is_still(&listed.stamp),
        };
        if !found.is_some_and(is_still) {
            return Err(Cause::TargetChanged);
        }
        if listed.kind == EntryKind::Directory {
            disk.rename_directory(&listed.key, to)?;
        } else {
            disk.rename_new(&listed.key, to)?;
        }
        Ok(disk.entry(to))
    }

    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        _precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        let wanted = intended.metadata;
        if !key.is_root() {
            legal(key)?;
        }
        let mut disk = self.memory.call(Call::SetMetadata, key)?;
        let found =
            if key.is_root() { Some(key.clone()) } else { disk.existing_key(key.trimmed()) };
        let node = found.as_ref().and_then(|found| disk.node(found));
        let node = node.ok_or(rustix::io::Errno::NOENT)?;
        if node.kind != kind {
            return Err(Cause::TargetChanged);
        }
        let existing = node.metadata;
        let mut achievable = self.supported().achievable(*wanted, kind, Some(&existing));
        if kind == EntryKind::Symlink {
            achievable.mode = existing.mode;
        }
        let existing = node.attributes.clone();
        let attributes = intended
            .attributes
            .map_or_else(|| existing.clone(), |intended| with_attributes(&existing, intended));
        let are_attributes_changed = attributes != existing;
        if achievable != node.metadata || are_attributes_changed {
            disk.update(key, |node| (node.metadata, node.attributes) = (achievable, attributes));
        }
        Ok(MetadataSet { are_attributes_changed, ..MetadataSet::default() })
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        let key = &entry.key;
        legal(key)?;
        let mut disk = self.memory.call(Call::Remove, key)?;
        let Some(existing) = disk.existing_key(key.trimmed()) else { return Ok(()) };
        let found = disk.entry(&existing).filter(|found| found.kind == entry.kind);
        let is_listed = found.is_some_and(|found| {
            let numbers = [&found, entry].map(|entry| entry.stamp.inode().map(|it| it.number));
            numbers[0] == numbers[1]
                && (found.kind == EntryKind::Directory
                    || found.stamp.size == entry.stamp.size
                        && found.stamp.mtime() == entry.stamp.mtime())
        });
        if !is_listed {
            return Err(Cause::TargetChanged);
        }
        if key.is_directory() {
            return disk.remove_directory(key);
        }
        disk.unlink(key);
        Ok(())
    }

    fn sweep(&self, key: &Key) -> Result<(), Cause> {
        if !is_temporary(key.name()) {
            return Err(Cause::IllegalName);
        }
        let mut disk = self.memory.call(Call::Sweep, key)?;
        if disk.children(key).iter().any(Key::is_directory) {
            return Err(Cause::NoTemporary);
        }
        disk.remove_all(key.trimmed());
        Ok(())
    }

    fn barrier(&self) -> Result<(), Cause> {
        self.memory.call(Call::Barrier, &Key::root())?.sync();
        Ok(())
    }

    fn accepts(&self, key: &Key) -> Result<(), Cause> {
        if key.is_root() {
            return Ok(());
        }
        let name = legal(key)?;
        if is_temporary(name) {
            return Err(Cause::ReservedName);
        }
        match self.supported().names.keeps_out(name) {
            Some(limit) => Err(Cause::NameRefused(limit)),
            None => Ok(()),
        }
    }

    fn keeps(&self) -> Option<Keeps> {
        let keeps = self.supported();
        (*keeps != Keeps::ALL).then_some(*keeps)
    }

    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        self.supported().achievable(*source, kind, existing)
    }
}
