//! Bandwidth layer: content passes no faster than a limit allows.
//!
//! [`PacedSource`] waits before it passes on each chunk that was read, [`PacedTarget`] before each
//! chunk that is written. Reading from a target isn't limited, and neither are holes and server-side
//! copies.
//! Without a limit there is no layer.

use crate::backend::{
    Capabilities, Donor, Facts, FlagsSet, Headers, Inspected, Intended, KeySpace, ListItem,
    ListOptions, Listing, MetadataSet, Piece, Precondition, Ranges, ReadError, Reading, Sink,
    Source, Stage, StageDirectory, Staged, StagedDirectory, Target, WriteAt, Written,
};
use crate::limits::{Bandwidth, LimitOptions};
use crate::model::{
    Attributes, Cause, Digest, Entry, EntryKind, Error, FileFlags, Keeps, Key, Metadata, Notice,
    SettableAttributes, Stamp, Stop,
};
use std::any::Any;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A bandwidth limit that the sides of a run share.
#[derive(Debug)]
pub struct BandwidthLimit {
    bandwidth: Bandwidth,
    stop: Stop,
    /// Requested when the run ends without having been stopped.
    end: Stop,
}

impl BandwidthLimit {
    /// Makes the limit of a run; `None` if its bandwidth is unlimited. Waits end when `stop` is
    /// requested.
    pub fn new(options: &LimitOptions, stop: &Stop) -> Option<Arc<Self>> {
        let is_limited = !options.bandwidth.is_unlimited();
        is_limited.then(|| {
            let (bandwidth, stop) = (Bandwidth::new(options), stop.clone());
            Arc::new(Self { bandwidth, stop, end: Stop::default() })
        })
    }

    /// Ends all waits because the run is over.
    pub fn end(&self) {
        self.end.request();
    }

    /// Waits until `bytes` may pass.
    fn pass(&self, bytes: usize) -> Result<(), Cause> {
        let is_over = || self.stop.requested() || self.end.requested();
        self.bandwidth.take(bytes as u64, &is_over).map_err(|_| Cause::Stopped)
    }
}

/// A source whose content is read within a bandwidth limit.
pub struct PacedSource<'a> {
    inner: &'a dyn Source,
    limit: Arc<BandwidthLimit>,
}

impl<'a> PacedSource<'a> {
    /// Wraps a source in the limit; `None` if there is no limit.
    pub fn around(inner: &'a dyn Source, limit: Option<&Arc<BandwidthLimit>>) -> Option<Self> {
        limit.map(|limit| Self { inner, limit: Arc::clone(limit) })
    }
}

/// Forwards all methods of [`Source`] but reading to the inner source.
macro_rules! forward_source {
    () => {
        fn capabilities(&self) -> Capabilities {
            self.inner.capabilities()
        }

        fn list(&self, options: &ListOptions) -> Result<Listing, Error> {
            self.inner.list(options)
        }

        fn count(
            &self,
            options: &ListOptions,
            take: &mut dyn FnMut(EntryKind, u64) -> bool,
        ) -> Result<bool, Error> {
            self.inner.count(options, take)
        }

        fn list_name(&self, name: &[u8], options: &ListOptions) -> Result<Vec<ListItem>, Error> {
            self.inner.list_name(name, options)
        }

        fn look(&self, key: &Key) -> Result<Option<Entry>, Cause> {
            self.inner.look(key)
        }

        fn look_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Cause> {
            self.inner.look_all(keys)
        }

        fn names(&self, directory: &Key) -> Result<Vec<Vec<u8>>, Cause> {
            self.inner.names(directory)
        }

        fn inspect(&self, entry: &Entry) -> Result<Inspected, Cause> {
            self.inner.inspect(entry)
        }

        fn map_inspected(&self, kind: EntryKind, inspected: Inspected) -> Inspected {
            self.inner.map_inspected(kind, inspected)
        }

        fn read_small(&self, key: &Key, max_size: u64) -> Result<Option<Vec<u8>>, Cause> {
            self.inner.read_small(key, max_size)
        }

        fn first_part(&self, entry: &Entry) -> Option<u64> {
            self.inner.first_part(entry)
        }

        fn copy_origin(&self) -> Option<&dyn Any> {
            self.inner.copy_origin()
        }

        fn exists(&self) -> Result<bool, Error> {
            self.inner.exists()
        }

        fn set_key_space(&self, key_space: KeySpace) {
            self.inner.set_key_space(key_space);
        }

        fn notices(&self) -> Vec<Notice> {
            self.inner.notices()
        }
    };
}

#[deny(clippy::missing_trait_methods)]
impl Source for PacedSource<'_> {
    forward_source!();

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.inner.read(entry, buffer, &mut |reading| {
            if let Reading::Content(Piece::Chunk(chunk)) = &reading {
                self.limit.pass(chunk.len())?;
            }
            sink(reading)
        })
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        let ranges = self.inner.read_ranges(entry)?;
        Ok(ranges.map(|inner| {
            Box::new(PacedRanges { inner, limit: &self.limit }) as Box<dyn Ranges + 'a>
        }))
    }
}

struct PacedRanges<'a> {
    inner: Box<dyn Ranges + 'a>,
    limit: &'a BandwidthLimit,
}

#[deny(clippy::missing_trait_methods)]
impl Ranges for PacedRanges<'_> {
    fn facts(&self) -> Option<&Facts> {
        self.inner.facts()
    }

    fn inspect(&self) -> Option<Inspected> {
        self.inner.inspect()
    }

    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn is_hole(&self, bytes: Range<u64>) -> bool {
        self.inner.is_hole(bytes)
    }

    fn readers(&self) -> Option<usize> {
        self.inner.readers()
    }

    fn read(
        &self,
        number: u64,
        buffer: &mut [u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Cause>,
    ) -> Result<(), ReadError> {
        self.inner.read(number, buffer, &mut |piece| {
            if let Piece::Chunk(chunk) = piece {
                self.limit.pass(chunk.len())?;
            }
            take(piece)
        })
    }

    fn keep(&self, offset: u64, piece: Piece<'_>) {
        self.inner.keep(offset, piece);
    }

    fn end(&self) -> Result<(), ReadError> {
        self.inner.end()
    }
}

/// A target whose content is written within a bandwidth limit.
pub struct PacedTarget {
    inner: Arc<dyn Target>,
    limit: Arc<BandwidthLimit>,
}

impl PacedTarget {
    /// Wraps a target in the limit; returns the target itself if there is no limit.
    pub fn around(inner: Arc<dyn Target>, limit: Option<&Arc<BandwidthLimit>>) -> Arc<dyn Target> {
        match limit {
            Some(limit) => Arc::new(Self { inner, limit: Arc::clone(limit) }),
            None => inner,
        }
    }

    fn paced(&self, inner: Box<dyn Stage>) -> Box<dyn Stage> {
        Box::new(PacedStage { inner, limit: Arc::clone(&self.limit) })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Source for PacedTarget {
    forward_source!();

    fn read(&self, entry: &Entry, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<(), ReadError> {
        self.inner.read(entry, buffer, sink)
    }

    fn read_ranges<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> Result<Option<Box<dyn Ranges + 'a>>, ReadError> {
        self.inner.read_ranges(entry)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Target for PacedTarget {
    fn stage(&self, entry: &Entry, precondition: Precondition) -> Result<Box<dyn Stage>, Cause> {
        Ok(self.paced(self.inner.stage(entry, precondition)?))
    }

    fn stage_stream(
        &self,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Box<dyn Stage>, Cause> {
        Ok(self.paced(self.inner.stage_stream(entry, precondition)?))
    }

    fn resume(
        &self,
        entry: &Entry,
        temporary: &[u8],
        place: Precondition,
    ) -> Result<Option<Box<dyn Stage>>, Cause> {
        let resumed = self.inner.resume(entry, temporary, place)?;
        Ok(resumed.map(|inner| self.paced(inner)))
    }

    fn builds_directories(&self) -> bool {
        self.inner.builds_directories()
    }

    fn stage_directory(&self, key: &Key) -> Result<Box<dyn StageDirectory>, Cause> {
        let inner = self.inner.stage_directory(key)?;
        Ok(Box::new(PacedDirectory { inner, limit: Arc::clone(&self.limit) }))
    }

    fn make_directory(&self, key: &Key, precondition: Precondition) -> Result<Option<Key>, Cause> {
        self.inner.make_directory(key, precondition)
    }

    fn remove_set_aside(&self, key: &Key) -> Result<(), Cause> {
        self.inner.remove_set_aside(key)
    }

    fn make_link(
        &self,
        entry: &Entry,
        attributes: Option<&Attributes>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.inner.make_link(entry, attributes, precondition)
    }

    fn make_special(
        &self,
        entry: &Entry,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.inner.make_special(entry, intended, precondition)
    }

    fn donor(&self, key: &Key, recorded: &Stamp) -> Result<Box<dyn Donor>, Cause> {
        self.inner.donor(key, recorded)
    }

    fn rename(&self, listed: &Entry, to: &Key) -> Result<Option<Entry>, Cause> {
        self.inner.rename(listed, to)
    }

    fn set_metadata(
        &self,
        key: &Key,
        kind: EntryKind,
        intended: &Intended<'_>,
        precondition: Precondition,
    ) -> Result<MetadataSet, Cause> {
        self.inner.set_metadata(key, kind, intended, precondition)
    }

    fn set_flags(&self, key: &Key, kind: EntryKind, flags: FileFlags) -> Result<FlagsSet, Cause> {
        self.inner.set_flags(key, kind, flags)
    }

    fn keeps_directories(&self) -> bool {
        self.inner.keeps_directories()
    }

    fn can_copy_server_side(&self, source: &dyn Source) -> bool {
        self.inner.can_copy_server_side(source)
    }

    fn copy_server_side(
        &self,
        source: &dyn Source,
        entry: &Entry,
        precondition: Precondition,
    ) -> Result<Option<Stamp>, ReadError> {
        self.inner.copy_server_side(source, entry, precondition)
    }

    fn remove(&self, entry: &Entry) -> Result<(), Cause> {
        self.inner.remove(entry)
    }

    fn remove_all(&self, entries: &[Entry]) -> Vec<Result<(), Cause>> {
        self.inner.remove_all(entries)
    }

    fn sweep(&self, key: &Key) -> Result<(), Cause> {
        self.inner.sweep(key)
    }

    fn barrier(&self) -> Result<(), Cause> {
        self.inner.barrier()
    }

    fn accepts(&self, key: &Key) -> Result<(), Cause> {
        self.inner.accepts(key)
    }

    fn probe(&self, own: BorrowedFd<'_>) -> Result<(), Cause> {
        self.inner.probe(own)
    }

    fn keeps(&self) -> Option<Keeps> {
        self.inner.keeps()
    }

    fn limited_keeps(&self) -> Option<Keeps> {
        self.inner.limited_keeps()
    }

    fn assume_keeps(&self, keeps: Keeps) {
        self.inner.assume_keeps(keeps);
    }

    fn settable_attributes(&self) -> Option<SettableAttributes> {
        self.inner.settable_attributes()
    }

    fn achievable_metadata(
        &self,
        source: &Metadata,
        kind: EntryKind,
        existing: Option<&Metadata>,
    ) -> Metadata {
        self.inner.achievable_metadata(source, kind, existing)
    }

    fn count_loss(&self, source: &Entry) {
        self.inner.count_loss(source);
    }

    fn abort_stale_uploads(&self, given_up: &mut dyn FnMut(&Key)) -> Result<(), Cause> {
        self.inner.abort_stale_uploads(given_up)
    }

    fn abort_stale_streams(&self) -> Result<u64, Cause> {
        self.inner.abort_stale_streams()
    }
}

struct PacedStage {
    inner: Box<dyn Stage>,
    limit: Arc<BandwidthLimit>,
}

#[deny(clippy::missing_trait_methods)]
impl Stage for PacedStage {
    fn keep(&mut self, headers: &Headers) {
        self.inner.keep(headers);
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        self.limit.pass(chunk.len())?;
        self.inner.write(chunk)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Cause> {
        self.inner.skip(bytes)
    }

    fn reflink(
        &mut self,
        source: &dyn Source,
        entry: &Entry,
    ) -> Result<Option<Inspected>, ReadError> {
        self.inner.reflink(source, entry)
    }

    fn read_back(&self, size: u64, length: u64) -> Result<Option<Box<dyn Ranges + '_>>, Cause> {
        self.inner.read_back(size, length)
    }

    fn temporary(&self) -> Option<&[u8]> {
        self.inner.temporary()
    }

    fn leave(self: Box<Self>) {
        self.inner.leave();
    }

    fn has_written(&mut self, bytes: u64) {
        self.inner.has_written(bytes);
    }

    fn anywhere(&self) -> Option<Box<dyn WriteAt + '_>> {
        let inner = self.inner.anywhere()?;
        Some(Box::new(PacedWriteAt { inner, limit: &self.limit }))
    }

    fn finish(
        self: Box<Self>,
        intended: &Intended<'_>,
        digest: &Digest,
    ) -> Result<Box<dyn Staged>, Cause> {
        self.inner.finish(intended, digest)
    }
}

struct PacedWriteAt<'a> {
    inner: Box<dyn WriteAt + 'a>,
    limit: &'a BandwidthLimit,
}

#[deny(clippy::missing_trait_methods)]
impl WriteAt for PacedWriteAt<'_> {
    fn write_at(&self, offset: u64, chunk: &[u8]) -> Result<(), Cause> {
        self.limit.pass(chunk.len())?;
        self.inner.write_at(offset, chunk)
    }

    fn skip_at(&self, offset: u64, bytes: u64) -> Result<(), Cause> {
        self.inner.skip_at(offset, bytes)
    }
}

struct PacedDirectory {
    inner: Box<dyn StageDirectory>,
    limit: Arc<BandwidthLimit>,
}

#[deny(clippy::missing_trait_methods)]
impl StageDirectory for PacedDirectory {
    fn stage(&self, entry: &Entry) -> Result<Box<dyn Stage>, Cause> {
        let (inner, limit) = (self.inner.stage(entry)?, Arc::clone(&self.limit));
        Ok(Box::new(PacedStage { inner, limit }))
    }

    fn make_link(&self, entry: &Entry, attributes: Option<&Attributes>) -> Result<Written, Cause> {
        self.inner.make_link(entry, attributes)
    }

    fn make_special(&self, entry: &Entry, intended: &Intended<'_>) -> Result<Written, Cause> {
        self.inner.make_special(entry, intended)
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn StagedDirectory>, Cause> {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::Memory;
    use crate::limits::Timetable;
    use std::num::NonZeroU64;

    /// A limit so low that each chunk waits until the run ends.
    fn closed(stop: &Stop) -> Arc<BandwidthLimit> {
        let bandwidth = Timetable::always(NonZeroU64::new(1));
        let options = LimitOptions { bandwidth, ..LimitOptions::default() };
        let limit = BandwidthLimit::new(&options, stop).expect("a limit");
        // The first slice passes at once.
        limit.pass(1).expect("it passes");
        limit
    }

    fn tree() -> (Memory, Entry) {
        let memory = Memory::default();
        memory.write("d/f", "content");
        let entry = memory.entry("d/f").expect("it stands");
        (memory, entry)
    }

    #[test]
    fn without_a_limit_there_is_no_layer() {
        let stop = Stop::default();
        assert!(BandwidthLimit::new(&LimitOptions::default(), &stop).is_none());
        let target: Arc<dyn Target> = Arc::new(Memory::default().target());
        let same = PacedTarget::around(Arc::clone(&target), None);
        assert!(std::ptr::addr_eq(Arc::as_ptr(&target), Arc::as_ptr(&same)));
    }

    #[test]
    fn what_is_read_of_a_source_waits_and_a_target_is_read_at_once() {
        let (memory, entry) = tree();
        let stop = Stop::default();
        let limit = closed(&stop);
        stop.request();
        let (source, target) = (memory.source(), Arc::new(memory.target()));
        let read = |side: &dyn Source| side.read(&entry, &mut [0; 100], &mut |_| Ok(()));
        let paced = PacedSource::around(&source, Some(&limit)).expect("a layer");
        assert!(matches!(read(&paced), Err(ReadError::Sink(Cause::Stopped))));
        assert!(read(&*PacedTarget::around(target, Some(&limit))).is_ok());
    }

    #[test]
    fn what_is_written_waits_wherever_it_is_staged() {
        let (memory, entry) = tree();
        let limit = closed(&Stop::default());
        limit.end();
        let target = PacedTarget::around(Arc::new(memory.target()), Some(&limit));
        let directory = target.stage_directory(&Key::new(*b"n/")).expect("stage a directory");
        let stages = [
            target.stage(&entry, Precondition::Leaf),
            target.stage_stream(&entry, Precondition::Leaf),
            directory.stage(&entry),
        ];
        for stage in stages {
            let written = stage.expect("stage a file").write(b"content");
            assert!(matches!(written, Err(Cause::Stopped)), "{written:?}");
        }
    }
}
