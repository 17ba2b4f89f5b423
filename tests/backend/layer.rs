//! Layers around places: whoever wraps a source or a target whole, stages included, changes nothing of
//! what they promise.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vidimus::backend::{
    Capabilities, Donor, FlagsSet, Headers, Inspected, Intended, KeySpace, ListItem, ListOptions,
    Listing, MetadataSet, Precondition, Ranges, ReadError, Sink, Source, Stage, StageDirectory,
    Staged, Target, WriteAt, Written,
};
use vidimus::model::{
    Attributes, Cause, Digest, Entry, EntryKind, Error, FileFlags, Keeps, Key, Metadata, Notice,
    SettableAttributes, Stamp,
};

/// Forwards all that it is asked to what it lies around.
pub(crate) struct Layer<P: ?Sized>(pub(crate) Arc<P>);

/// Forwards all of [`Source`]; the lint holds it to each method that the trait has, or will have.
macro_rules! forward_source {
    ($inner:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl Source for Layer<$inner> {
            fn capabilities(&self) -> Capabilities {
                self.0.capabilities()
            }

            fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
                self.0.list(options)
            }

            fn count(
                &self,
                options: &ListOptions,
                take: &mut dyn FnMut(EntryKind, u64) -> bool,
            ) -> Result<bool, Error> {
                self.0.count(options, take)
            }

            fn list_name(
                &self,
                name: &[u8],
                options: &ListOptions,
            ) -> Result<Vec<ListItem>, Error> {
                self.0.list_name(name, options)
            }

            fn read(
                &self,
                entry: &Entry,
                buffer: &mut [u8],
                sink: &mut Sink<'_>,
            ) -> Result<(), ReadError> {
                self.0.read(entry, buffer, sink)
            }

            fn read_ranges<'a>(
                &'a self,
                entry: &'a Entry,
            ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
                self.0.read_ranges(entry)
            }

            fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
                self.0.look(key)
            }

            fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
                self.0.look_all(keys)
            }

            fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
                self.0.names(directory)
            }

            fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
                self.0.inspect(entry)
            }

            fn map_inspected(&self, kind: EntryKind, inspected: Inspected) -> Inspected {
                self.0.map_inspected(kind, inspected)
            }

            fn read_small(&self, key: &Key, most: u64) -> Result<Option<Vec<u8>>, Cause> {
                self.0.read_small(key, most)
            }

            fn first_part(&self, entry: &Entry) -> Option<u64> {
                self.0.first_part(entry)
            }

            fn copy_origin(&self) -> Option<&dyn Any> {
                self.0.copy_origin()
            }

            fn exists(&self) -> Result<bool, Error> {
                self.0.exists()
            }

            fn set_key_space(&self, key_space: KeySpace) {
                self.0.set_key_space(key_space);
            }

            fn notices(&self) -> Vec<Notice> {
                self.0.notices()
            }
        }
    };
}

forward_source!(dyn Source);
forward_source!(dyn Target);

#[deny(clippy::missing_trait_methods)]
impl Target for Layer<dyn Target> {
    fn rename(&self, listed: &Entry, to: &Key) -> Result<Option<Entry>, Cause> {
        self.0.rename(listed, to)
    }

    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause> {
        Ok(Box::new(LayerStage(self.0.stage(entry, precondition)?)))
    }

    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause> {
        Ok(Box::new(LayerStage(self.0.stage_stream(entry, precondition)?)))
    }

    fn resume(
        &self,
        entry: &Entry,
        temporary: &[u8],
        place: Precondition,
    ) -> Result<Option<Box<dyn Stage>>, Cause> {
        let resumed = self.0.resume(entry, temporary, place)?;
        Ok(resumed.map(|stage| Box::new(LayerStage(stage)) as Box<dyn Stage>))
    }

    fn builds_directories(&self) -> bool {
        self.0.builds_directories()
    }

    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        self.0.stage_directory(key)
    }

    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause> {
        self.0.make_directory(key, precondition)
    }

    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause> {
        self.0.remove_set_aside(key)
    }

    fn make_link(
        &self,
        entry: &Entry,
        attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.0.make_link(entry, attributes, precondition)
    }

    fn make_special(
        &self,
        entry: &Entry,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.0.make_special(entry, intended, precondition)
    }

    fn donor(&self, key: &Key, recorded: &Stamp) -> Result<Box<dyn Donor>, Cause> {
        self.0.donor(key, recorded)
    }

    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.0.set_metadata(key, kind, intended, precondition)
    }

    fn set_flags(&self, key: &Key, kind: EntryKind, flags: FileFlags) -> Result<FlagsSet, Cause> {
        self.0.set_flags(key, kind, flags)
    }

    fn keeps_directories(&self) -> bool {
        self.0.keeps_directories()
    }

    fn can_copy_server_side(&self, source: &dyn Source) -> bool {
        self.0.can_copy_server_side(source)
    }

    fn copy_server_side(
        &self,
        source: &dyn Source,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        self.0.copy_server_side(source, entry, precondition)
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        self.0.remove(entry)
    }

    fn remove_all(&self, entries: &[Entry]) -> Vec<Result<(), Cause>> {
        self.0.remove_all(entries)
    }

    fn sweep(&self, key: &Key) -> Result<(), Cause> {
        self.0.sweep(key)
    }

    fn barrier(&self) -> Result<(), Cause> {
        self.0.barrier()
    }

    fn accepts(&self, key: &Key) -> Result<(), Cause> {
        self.0.accepts(key)
    }

    fn probe(&self, own: BorrowedFd<'_>) -> Result<(), Cause> {
        self.0.probe(own)
    }

    fn keeps(&self) -> Option<Keeps> {
        self.0.keeps()
    }

    fn limited_keeps(&self) -> Option<Keeps> {
        self.0.limited_keeps()
    }

    fn assume_keeps(&self, keeps: Keeps) {
        self.0.assume_keeps(keeps);
    }

    fn settable_attributes(&self) -> Option<SettableAttributes> {
        self.0.settable_attributes()
    }

    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        self.0.achievable_metadata(source, kind, existing)
    }

    fn count_loss(&self, source: &Entry) {
        self.0.count_loss(source);
    }

    fn abort_stale_uploads(&self, given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        self.0.abort_stale_uploads(given_up)
    }

    fn abort_stale_streams(&self) -> Result<u64, Cause> {
        self.0.abort_stale_streams()
    }
}

struct LayerStage(Box<dyn Stage>);

#[deny(clippy::missing_trait_methods)]
impl Stage for LayerStage {
    fn keep(&mut self, headers: &Headers) {
        self.0.keep(headers);
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        self.0.write(chunk)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Cause> {
        self.0.skip(bytes)
    }

    fn reflink(
        &mut self,
        source: &dyn Source,
        entry: &Entry,
    ) -> Result<Option<Inspected>, ReadError> {
        self.0.reflink(source, entry)
    }

    fn read_back(&self, size: u64, length: u64) -> Result<Option<Box<dyn Ranges + '_>>, Cause> {
        self.0.read_back(size, length)
    }

    fn temporary(&self) -> Option<&[u8]> {
        self.0.temporary()
    }

    fn leave(self: Box<Self>) {
        self.0.leave();
    }

    fn has_written(&mut self, bytes: u64) {
        self.0.has_written(bytes);
    }

    fn anywhere(&self) -> Option<Box<dyn WriteAt + '_>> {
        self.0.anywhere()
    }

    fn finish(
        self: Box<Self>,
        intended: &Intended<'_>,
        digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause> {
        Ok(Box::new(LayerStaged(self.0.finish(intended, digest)?)))
    }
}

struct LayerStaged(Box<dyn Staged>);

#[deny(clippy::missing_trait_methods)]
impl Staged for LayerStaged {
    fn written(&self) -> Written {
        self.0.written()
    }

    fn is_in_place(&self) -> bool {
        self.0.is_in_place()
    }

    fn publish(&mut self) -> Result<Option<Cause>, Cause> {
        self.0.publish()
    }
}
