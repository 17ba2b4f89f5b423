//! The source and target traits for a tree in memory.

use super::list::{list, list_name};
use super::stage::{MemoryDirectory, begin, make_link, make_special};
use super::{Call, Memory};
use crate::backend::{
    Capabilities, Intended, ListItem, ListOptions, Listing, MetadataSet, Piece, Precondition,
    ReadError, Reading, Sink, Source, Stage, StageDirectory, Target,
};
use crate::model::error::Side;
use crate::model::names::legal;
use crate::model::reserved::{is_set_aside, is_temporary};
use crate::model::{Cause, Entry, EntryKind, Error, Keeps, Key, Metadata, Stamp};
use std::sync::Arc;

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
            inspects: false,
            keeps_attributes: false,
            folds_names: false,
            writes_anywhere: false,
            needs_barrier: self.memory.0.options.needs_barrier,
            hard_links: false,
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
        let mut done = 0;
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

    fn make_link(&self, entry: &Entry, precondition: Precondition) -> Result<Option<Stamp>, Cause> {
        make_link(&self.memory, entry, precondition).map(|()| None)
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
        if achievable != existing {
            disk.update(key, |node| node.metadata = achievable);
        }
        Ok(MetadataSet::default())
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
