//! The files of a published manifest, in a target of whichever kind.

use super::damaged;
use super::head::{Head, Pointer, Predecessor, Publication, Segment, head_name};
use crate::backend::{MANIFEST as DIRECTORY, Place, ReadError, Reading, Stage, Target};
use crate::model::entry::Known;
use crate::model::{
    Cause, Digest, Entry, EntryKind, Error, ErrorKind, Key, Metadata, Stamp, Timestamp,
};
use crate::spool::nameless;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::path::Path;

const POINTER: &str = "latest.json";
/// The longest head or pointer that is read, in bytes: a head takes about 200 a segment.
const LONGEST: u64 = 16 << 20;
/// Bytes that are handed on at a time.
const CHUNK: usize = 256 << 10;
/// The manifest names what may be hidden in directories that not everybody enters.
const MODES: (u32, u32) = (0o700, 0o600);

/// Where a target keeps its published manifest.
pub struct Shelf<'a> {
    target: &'a dyn Target,
    spool_dir: &'a Path,
    /// When the run that uses it began.
    now: Timestamp,
}

impl<'a> Shelf<'a> {
    /// Makes the shelf of a target. What is read is kept in `spool_dir` meanwhile; files are given
    /// the mtime `now`.
    pub fn new(target: &'a dyn Target, spool_dir: &'a Path, now: Timestamp) -> Self {
        Self { target, spool_dir, now }
    }

    /// The publication that counts; `None` where nothing was ever published.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when what stands there can't be used, [`ErrorKind::Unusable`] when it
    /// can't be read.
    pub fn latest(&self) -> Result<Option<Publication>, Error> {
        self.latest_given(None)
    }

    /// The same, where it is mostly the one that is known already.
    pub(super) fn latest_given(
        &self,
        known: Option<&Publication>,
    ) -> Result<Option<Publication>, Error> {
        let Some(pointer) = self.small(POINTER)? else { return Ok(None) };
        let head = Pointer::decode(&pointer)?.head;
        match known.filter(|known| known.as_predecessor() == head) {
            Some(known) => Ok(Some(known.clone())),
            None => self.publication(&head).map(Some),
        }
    }

    /// A publication by number and digest.
    ///
    /// # Errors
    /// As those of [`Shelf::latest`].
    pub fn publication(&self, known: &Predecessor) -> Result<Publication, Error> {
        let name = head_name(known.sequence);
        let bytes = self.small(&name)?.ok_or_else(|| damaged(&name, "it is missing"))?;
        Publication::decode(&bytes, known)
    }

    /// A segment, whole and as its head says, from its beginning.
    ///
    /// # Errors
    /// As those of [`Shelf::latest`].
    pub(super) fn segment(&self, segment: &Segment) -> Result<File, Error> {
        let name = segment.name();
        let spooling = |error: io::Error| {
            Error::new(ErrorKind::Unusable, "cannot hold the published manifest on disk")
                .because(error)
        };
        let mut file = nameless(self.spool_dir).map_err(spooling)?;
        let (mut hasher, mut spooled) = (blake3::Hasher::new(), Ok(()));
        let read = self.read(&name, segment.bytes, &mut |chunk| {
            hasher.update(chunk);
            spooled = file.write_all(chunk);
            if spooled.is_ok() { Ok(()) } else { Err(Cause::Stopped) }
        });
        spooled.map_err(spooling)?;
        if !read? {
            return Err(damaged(&name, "it is missing"));
        }
        let found = Digest::from(hasher.finalize());
        if found != segment.blake3 {
            let how = format!("its BLAKE3 is {found}, not {}", segment.blake3);
            return Err(damaged(&name, how));
        }
        file.rewind().map_err(spooling)?;
        Ok(file)
    }

    /// Makes the directory, where there is none.
    pub(super) fn make(&self) -> Result<(), Error> {
        let key = Key::new(DIRECTORY.as_bytes());
        let failed = |cause| failed("make", DIRECTORY, cause);
        if self.target.is_store() || self.target.look(&key).map_err(failed)?.is_some() {
            return Ok(());
        }
        self.target.make_directory(&key, Place::New).map_err(failed)
    }

    /// Writes a file from what `write` gives; its size and digest.
    pub(super) fn write<T>(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
    ) -> Result<(T, u64, Digest), Error> {
        let key = key(name);
        let failed = |cause| failed("write", name, cause);
        let place = self.place(&key).map_err(failed)?;
        let metadata = Metadata {
            mode: MODES.1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: self.now,
        };
        let entry = file(key, metadata);
        let stage = self.target.stage_stream(&entry, place).map_err(failed)?;
        let mut out =
            Out { stage, chunk: Vec::new(), hasher: blake3::Hasher::new(), bytes: 0, failed: None };
        let written = write(&mut out).and_then(|made| {
            out.send().map_err(|error| {
                Error::new(ErrorKind::Unusable, "cannot write the manifest").because(error)
            })?;
            Ok(made)
        });
        // What the target said tells more than what the writer made of it.
        if let Some(cause) = out.failed.take() {
            return Err(failed(cause));
        }
        let made = written?;
        let digest = Digest::from(out.hasher.finalize());
        let wanted = self.target.holds(&metadata, EntryKind::File);
        let mut staged = out.stage.finish(&wanted, &digest).map_err(failed)?;
        // Whether it got its mode and owner makes it no other manifest.
        staged.publish().map_err(failed)?;
        Ok((made, out.bytes, digest))
    }

    /// What a file of this name replaces. In a store a PUT replaces what it meets, whole; the lock
    /// keeps others out.
    fn place(&self, key: &Key) -> Result<Place, Cause> {
        if self.target.is_store() {
            return Ok(Place::Leaf);
        }
        match self.target.look(key)? {
            None => Ok(Place::New),
            Some(found) if found.kind == EntryKind::Directory => Err(Cause::DirectoryInTheWay),
            Some(_) => Ok(Place::Leaf),
        }
    }

    pub(super) fn write_head(&self, head: &Head) -> Result<Predecessor, Error> {
        let bytes = head.encode()?;
        let ((), _, blake3) = self.write(&head_name(head.sequence), |out| put(out, &bytes))?;
        Ok(Predecessor { sequence: head.sequence, blake3 })
    }

    /// Makes a publication count; all that it is made of is durable before, and it is then.
    pub(super) fn point_to(&self, head: Predecessor) -> Result<(), Error> {
        let bytes = Pointer::to(head).encode()?;
        self.barrier()?;
        self.write(POINTER, |out| put(out, &bytes))?;
        self.barrier()
    }

    /// Removes a segment that no publication to come will name.
    pub(super) fn remove(&self, segment: &Segment) -> Result<(), Error> {
        let name = segment.name();
        let failed = |cause| failed("remove", &name, cause);
        let key = key(&name);
        let found = if self.target.is_store() {
            Some(file(key, Metadata::default()))
        } else {
            self.target.look(&key).map_err(failed)?
        };
        found.map_or(Ok(()), |entry| self.target.remove(&entry).map_err(failed))
    }

    fn barrier(&self) -> Result<(), Error> {
        if !self.target.needs_barrier() {
            return Ok(());
        }
        self.target.barrier().map_err(|cause| failed("sync", POINTER, cause))
    }

    /// Reads a head or the pointer; `None` where there is none.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.target.read_small(&key(name), LONGEST).map_err(|cause| match cause {
            Cause::Other(how) => damaged(name, how),
            cause => failed("read", name, cause),
        })
    }

    /// Reads a file of `size` bytes; false where there is none.
    fn read(
        &self,
        name: &str,
        size: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<bool, Error> {
        let key = key(name);
        let Some(entry) = self.target.look(&key).map_err(|cause| failed("read", name, cause))?
        else {
            return Ok(false);
        };
        let found = entry.stamp.size;
        if entry.kind != EntryKind::File {
            return Err(damaged(name, format!("it is a {}", entry.kind)));
        }
        if size != found {
            return Err(damaged(name, format!("it has {found} bytes, not {size}")));
        }
        let mut buffer = vec![0; CHUNK];
        let read = self.target.read(&entry, &mut buffer, &mut |reading| match reading {
            Reading::Chunk(chunk) => take(chunk),
            Reading::Facts(_) => Ok(()),
        });
        match read {
            Ok(()) => Ok(true),
            Err(ReadError::Changed) => Err(failed("read", name, Cause::Changed { attempts: 1 })),
            Err(ReadError::Damaged(cause)) => Err(damaged(name, cause)),
            Err(ReadError::Source(cause) | ReadError::Sink(cause)) => {
                Err(failed("read", name, cause))
            }
        }
    }
}

fn key(name: &str) -> Key {
    Key::new([DIRECTORY.as_bytes(), name.as_bytes()].concat())
}

/// A file of which no more is known.
fn file(key: Key, metadata: Metadata) -> Entry {
    let (kind, stamp) = (EntryKind::File, Stamp::of_object(0, None));
    Entry { key, kind, stamp, metadata, link: None, known: Known::Whole, recorded: None }
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(|error| {
        Error::new(ErrorKind::Unusable, "cannot write the manifest").because(error)
    })
}

fn failed(verb: &str, name: &str, cause: Cause) -> Error {
    let name = if name == DIRECTORY { DIRECTORY.to_owned() } else { format!("{DIRECTORY}{name}") };
    let message = format!("cannot {verb} the published manifest (\"{name}\")");
    match cause {
        Cause::Lost { message: cause, help } => {
            Error::new(ErrorKind::Unusable, format!("{message}: {cause}")).help(help)
        }
        cause => Error::new(ErrorKind::Unusable, message).because(cause),
    }
}

/// Hands what is written on to a stage.
struct Out {
    stage: Box<dyn Stage>,
    chunk: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
    failed: Option<Cause>,
}

impl Out {
    fn send(&mut self) -> io::Result<()> {
        self.hasher.update(&self.chunk);
        self.bytes += self.chunk.len() as u64;
        let sent = self.stage.write(&self.chunk);
        self.chunk.clear();
        sent.map_err(|cause| {
            self.failed = Some(cause);
            io::Error::other("the target can't be written")
        })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
