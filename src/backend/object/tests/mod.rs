//! Tests of the logic above stores, with a store in memory.

mod copying;
mod listing;
mod markers;
mod reading;
mod writing;

use super::memory::{Fault, MemoryService, MemoryStore};
use super::prefix::PrefixOptions;
use super::{BucketPrefix, ObjectSource, ObjectTarget, Store};
use crate::backend::{Piece, Precondition, ReadError, Reading, Source, Target as _};
use crate::limits::Memory;
use crate::model::stamp::Inode;
use crate::model::{
    Cause, Digest, Entry, EntryKind, Key, Metadata, Notice, RequestKind, Stamp, Stop, Timestamp,
};
use std::sync::Arc;

const MEBIBYTE: usize = 1 << 20;

/// A bucket with the prefix `p/` as a target, and a directory for the state of runs.
struct Scene {
    service: MemoryService,
    bucket: MemoryStore,
    state: tempfile::TempDir,
    stop: Stop,
}

impl Scene {
    fn new() -> Self {
        let service = MemoryService::default();
        let bucket = service.bucket("b", "key");
        let state = tempfile::tempdir().expect("make a directory");
        Self { service, bucket, state, stop: Stop::default() }
    }

    /// Opens a prefix of a bucket as a new run does.
    fn place(&self, bucket: &MemoryStore, token: &str) -> BucketPrefix {
        let store: Arc<dyn Store> = bucket.stopped_by(self.stop.clone());
        BucketPrefix::new(PrefixOptions {
            lock_store: Arc::clone(&store),
            store,
            prefix: b"p/".as_slice().into(),
            spool_dir: self.state.path().into(),
            memory: Memory::new(64 << 20),
            stop: self.stop.clone(),
            token: token.to_owned(),
            guess: Metadata::default(),
        })
    }

    fn target(&self) -> ObjectTarget {
        ObjectTarget::new(Arc::new(self.place(&self.bucket, "token")))
    }

    fn source(&self) -> ObjectSource {
        ObjectSource::new(Arc::new(self.place(&self.bucket, "token")))
    }

    fn fail(&self, kind: RequestKind, nth: usize, fault: Fault) {
        self.service.faults(|faults| faults.fail(kind, nth, fault));
    }

    fn calls(&self, kind: RequestKind) -> usize {
        self.service.faults(|faults| faults.count(kind))
    }

    fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.bucket.object(key.as_bytes()).map(|object| object.content.to_vec())
    }
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes())
}

/// Makes the entry of a source file.
fn file(name: &str, size: usize) -> Entry {
    let mtime = Timestamp { seconds: 1_700_000_000, nanos: 5 };
    let (size, metadata) = (size as u64, Metadata { mode: 0o640, uid: 1, gid: 2, mtime });
    Entry {
        stamp: Stamp::of_inode(size, Inode { mtime, ctime: mtime, number: Some(1) }),
        ..Entry::new_file(key(name), size, metadata)
    }
}

/// Makes content without repeated parts.
fn bytes(size: usize) -> Vec<u8> {
    let mut content: Vec<u8> = (0..=250).collect::<Vec<u8>>().repeat(size.div_ceil(251));
    content.truncate(size);
    for (number, block) in content.chunks_mut(1000).enumerate() {
        let marked = block.len().min(8);
        block[..marked].fill(number as u8);
    }
    content
}

/// Writes a whole file and returns its entry.
fn write(
    target: &ObjectTarget,
    name: &str,
    content: &[u8],
    precondition: Precondition,
) -> Result<Stamp, Cause> {
    let entry = file(name, content.len());
    let mut stage = target.stage(&entry, precondition)?;
    stage.write(content)?;
    Ok(stage.finish(&(&entry.metadata).into(), &Digest::of(content))?.written().stamp)
}

/// Reads all of an entry's content.
fn read(source: &dyn Source, entry: &Entry) -> Result<Vec<u8>, ReadError> {
    let (mut content, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    source.read(entry, &mut buffer, &mut |reading| {
        if let Reading::Content(Piece::Chunk(chunk)) = reading {
            content.extend_from_slice(chunk);
        }
        Ok(())
    })?;
    Ok(content)
}

fn look(source: &dyn Source, name: &str) -> Entry {
    source.look(&key(name)).expect("look").expect("it is there")
}
