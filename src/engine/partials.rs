//! Large files whose copying was stopped: what the target has of them already, for the next run to
//! go on with.
//!
//! What was copied stays in the target under its temporary name. A small file in the state directory
//! says which file of the source it belongs to, and has the hashes of the ranges that are complete.
//! The next run reads these back and compares them, so nothing needs to be durable: what is lost or
//! damaged is copied again.

use super::ranges::RangeHashes;
use crate::model::reserved::is_temporary;
use crate::model::{Digest, Entry, Key};
use crate::small_directory;
use blake3::hazmat::ChainingValue;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The directory in the state directory.
const DIRECTORY: &str = "partials";
/// How many bytes are copied between two records, for the next run after one that is killed.
pub(super) const INTERVAL: u64 = 256 << 20;

/// The first line of a record. Bytes are hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// The names of the locations.
    source: String,
    target: String,
    key: String,
    /// The stamp under which the source's file was read.
    stamp: String,
    /// The name under which the target has it.
    temporary: String,
    /// The size of a range in bytes.
    length: u64,
}

/// A record of an earlier run.
#[derive(Debug)]
struct Left {
    path: PathBuf,
    header: Header,
    /// The key of the temporary file.
    temporary: Key,
}

/// What an earlier run copied of a file.
#[derive(Debug)]
pub(super) struct Partial {
    /// The name under which the target has it.
    pub(super) temporary: Vec<u8>,
    /// The numbers and hashes of the ranges that are complete.
    pub(super) hashes: Vec<(u64, ChainingValue)>,
}

/// What is known of unfinished copies from a source to a target.
#[derive(Debug)]
pub struct Partials {
    directory: PathBuf,
    source: String,
    target: String,
    /// The records of earlier runs that nobody took yet.
    left: Mutex<Vec<Left>>,
    /// Temporary files that nobody can go on with.
    useless: Mutex<Vec<Key>>,
    /// The records of this run, and those that it took.
    ours: Mutex<BTreeSet<PathBuf>>,
}

impl Partials {
    /// Reads the records in a state directory. The caller holds the target's lock, or only looks.
    ///
    /// # Errors
    /// Fails if they can't be read.
    pub fn open(state_dir: &Path, source: &str, target: &str) -> io::Result<Self> {
        let (source, target) = (source.to_owned(), target.to_owned());
        let (left, useless, ours) = (Mutex::default(), Mutex::default(), Mutex::default());
        let directory = state_dir.join(DIRECTORY);
        let partials = Self { directory, source, target, left, useless, ours };
        partials.read()?;
        Ok(partials)
    }

    fn read(&self) -> io::Result<()> {
        let names = match small_directory::entries(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for name in names {
            let path = name?.into_path();
            let bytes = fs::read(&path)?;
            // One that can't be understood is of another version, or was cut off by a crash.
            let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let Ok(header) = serde_json::from_slice::<Header>(header) else { continue };
            let decode = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
            let Some((key, name)) = decode(&header.key).zip(decode(&header.temporary)) else {
                continue;
            };
            if header.target == self.target && is_temporary(&name) {
                let temporary = Key::child(Key::new(key).parent(), &name, false);
                self.left.lock().push(Left { path, header, temporary });
            }
        }
        Ok(())
    }

    /// Returns whether a key of the target is that of a file to go on with.
    pub fn holds(&self, key: &Key) -> bool {
        self.left.lock().iter().any(|left| left.temporary == *key)
    }

    /// Takes what an earlier run copied of this very file, in ranges of `length` bytes.
    pub(super) fn take(&self, entry: &Entry, length: u64) -> Option<Partial> {
        let mut left = self.left.lock();
        let found = left.iter().position(|left| {
            let temporary = &left.header.temporary;
            left.header == self.header(entry, temporary.clone(), length)
        })?;
        let Left { path, temporary, .. } = left.swap_remove(found);
        let bytes = fs::read(&path);
        self.ours.lock().insert(path);
        // What can't be read any more is copied again.
        let bytes = bytes.ok()?;
        let start = bytes.iter().position(|&byte| byte == b'\n')? + 1;
        let hashes = bytes[start..].as_chunks::<40>().0.iter().map(|record| {
            let (number, hash) = record.split_at(8);
            let number = u64::from_le_bytes(number.try_into().expect("a number has eight bytes"));
            (number, hash.try_into().expect("a hash has 32 bytes"))
        });
        Some(Partial { temporary: temporary.name().to_vec(), hashes: hashes.collect() })
    }

    /// Records what was copied of a file so far, under its temporary name.
    ///
    /// # Errors
    /// Fails if that can't be written: the file is then copied from its beginning next time.
    pub(super) fn record(
        &self,
        entry: &Entry,
        temporary: &[u8],
        hashes: &RangeHashes,
    ) -> io::Result<()> {
        // Threads that copy one file record it in turn.
        let mut ours = self.ours.lock();
        let header = self.header(entry, HEXLOWER.encode(temporary), hashes.length());
        let mut bytes = serde_json::to_vec(&header)?;
        bytes.push(b'\n');
        for (number, hash) in hashes.known() {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&hash);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let name = Digest::of(format!("{}\0{}", self.target, header.key).as_bytes()).to_string();
        let path = self.directory.join(&name[..32]);
        let new = path.with_extension("new");
        let mut file = OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600).open(&new)?.write_all(&bytes)?;
        fs::rename(&new, &path)?;
        ours.insert(path);
        Ok(())
    }

    /// Leaves a file that was taken, but can't be gone on with, to be removed with
    /// [what is left](Self::take_left).
    pub(super) fn give_up(&self, entry: &Entry, partial: &Partial) {
        let temporary = Key::child(entry.key.parent(), &partial.temporary, false);
        self.useless.lock().push(temporary);
    }

    /// Takes the records that no step of a whole plan went on with; returns the keys of their
    /// temporary files.
    pub(super) fn take_left(&self) -> Vec<Key> {
        let left = std::mem::take(&mut *self.left.lock());
        let mut ours = self.ours.lock();
        let take = |Left { path, temporary, .. }| {
            ours.insert(path);
            temporary
        };
        let useless = std::mem::take(&mut *self.useless.lock());
        left.into_iter().map(take).chain(useless).collect()
    }

    /// Ends a run that came to the end of its plan: removes the records that were taken or made.
    ///
    /// # Errors
    /// Fails if one can't be removed.
    pub fn finish(&self) -> io::Result<()> {
        for path in std::mem::take(&mut *self.ours.lock()) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn header(&self, entry: &Entry, temporary: String, length: u64) -> Header {
        Header {
            source: self.source.clone(),
            target: self.target.clone(),
            key: HEXLOWER.encode(entry.key.as_bytes()),
            stamp: HEXLOWER.encode(&entry.stamp.encode()),
            temporary,
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::Memory;
    use crate::model::stamp::Inode;
    use crate::model::{Stamp, Timestamp};

    const NAME: &[u8] = b".vidimus.0123456789abcdef";
    const LENGTH: u64 = 1 << 20;

    fn entry(key: &str, seconds: i64) -> Entry {
        let time = Timestamp { seconds, nanos: 1 };
        let inode = Inode { mtime: time, ctime: time, number: Some(7) };
        let stamp = Stamp::of_inode(4 * LENGTH, inode);
        let memory = Memory::default();
        memory.write(key, "content");
        Entry { stamp, ..memory.entry(key).expect("it was just made") }
    }

    #[test]
    fn what_was_copied_is_taken_once_and_only_for_the_same_file() {
        let dir = tempfile::tempdir().expect("make a directory");
        let open = |source, target| Partials::open(dir.path(), source, target).expect("open");
        let hashes = RangeHashes::new(LENGTH, 4 * LENGTH);
        hashes.set(2, [2; 32]);
        hashes.set(0, [1; 32]);
        let file = entry("d/a", 5);
        open("source", "target").record(&file, NAME, &hashes).expect("record");
        let temporary = Key::new(*b"d/.vidimus.0123456789abcdef");
        let held = open("source", "target");
        assert!(held.holds(&temporary) && !open("source", "other").holds(&temporary));
        for other in [entry("d/b", 5), entry("d/a", 6)] {
            assert!(held.take(&other, LENGTH).is_none(), "{other:?}");
        }
        assert!(held.take(&file, 2 * LENGTH).is_none());
        assert!(open("elsewhere", "target").take(&file, LENGTH).is_none());
        let taken = held.take(&file, LENGTH).expect("it is there");
        assert_eq!(taken.temporary, NAME);
        assert_eq!(taken.hashes, [(0, [1; 32]), (2, [2; 32])]);
        assert!(!held.holds(&temporary) && held.take(&file, LENGTH).is_none());
        assert!(held.take_left().is_empty());
        held.finish().expect("finish");
        assert!(!open("source", "target").holds(&temporary), "the record is removed");
    }

    #[test]
    fn what_nobody_took_is_swept_at_the_end() {
        let dir = tempfile::tempdir().expect("make a directory");
        let open = || Partials::open(dir.path(), "source", "target").expect("open");
        let hashes = RangeHashes::new(LENGTH, 4 * LENGTH);
        open().record(&entry("a", 5), NAME, &hashes).expect("record");
        fs::write(dir.path().join(DIRECTORY).join("cut off"), "{").expect("write");
        let partials = open();
        assert_eq!(partials.take_left(), [Key::new(NAME)]);
        partials.finish().expect("finish");
        open().record(&entry("d/b", 5), NAME, &hashes).expect("record");
        let partials = open();
        let taken = partials.take(&entry("d/b", 5), LENGTH).expect("it is there");
        partials.give_up(&entry("d/b", 5), &taken);
        assert_eq!(partials.take_left(), [Key::new(*b"d/.vidimus.0123456789abcdef")]);
        partials.finish().expect("finish");
        assert!(!open().holds(&Key::new(NAME)));
    }
}
