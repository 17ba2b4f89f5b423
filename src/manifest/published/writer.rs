//! Writing the files of a published manifest, with the same traits as any file of a target.

use super::head::{Head, Pointer, Publication, Segment, head_name, signature_name};
use super::reader::{ManifestReader, POINTER};
use crate::backend::{Precondition, Stage, Target};
use crate::manifest::ManifestMode;
use crate::manifest::keys::SecretKey;
use crate::model::{Cause, Digest, Entry, EntryKind, Error, ErrorKind, Key, Metadata, Timestamp};
use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;

/// Size of the write buffer in bytes.
const CHUNK: usize = 256 << 10;
/// Most characters of a target's name in a signature's comment, of up to four bytes each.
const TARGET_CHARACTERS: usize = 1500;

/// A file of a manifest that was written.
pub(super) struct WrittenFile<T> {
    /// The result of writing its content.
    pub(super) made: T,
    /// Its size in bytes.
    pub(super) bytes: u64,
    pub(super) blake3: Digest,
}

/// Writes the published manifest of a target.
///
/// Its files get permissions from their directory: those who may enter it and write in it may read
/// and write them.
pub struct ManifestWriter<'a> {
    /// Reads the existing manifest.
    pub(super) reader: ManifestReader<'a>,
    pub(super) target: &'a dyn Target,
    /// The mtime of written files.
    now: Timestamp,
    /// The key to sign with.
    pub(super) signer: Option<&'a SecretKey>,
    /// The requested mode.
    pub(super) mode: Option<ManifestMode>,
    /// The widest permissions of written files, whatever their directory's.
    pub(super) max_mode: Cell<ManifestMode>,
}

impl<'a> ManifestWriter<'a> {
    /// Makes a writer for the manifest of a target. Files that are read are buffered in
    /// `spool_dir`; written files get the mtime `now`.
    pub fn new(target: &'a dyn Target, spool_dir: &'a Path, now: Timestamp) -> Self {
        let max_mode = Cell::new(ManifestMode::EVERYBODY);
        Self {
            reader: ManifestReader::of(target, spool_dir),
            target,
            now,
            signer: None,
            mode: None,
            max_mode,
        }
    }

    /// Reuses what a reader already knows about the target's manifest.
    #[must_use]
    pub fn going_by(mut self, seen: &ManifestReader<'a>) -> Self {
        self.reader = seen.clone();
        self
    }

    /// Sets the mode of the manifest, if one is requested.
    #[must_use]
    pub fn with_mode(mut self, mode: Option<ManifestMode>) -> Self {
        self.mode = mode;
        self
    }

    /// Signs publications, if a key is given.
    #[must_use]
    pub fn signing_with(mut self, signer: Option<&'a SecretKey>) -> Self {
        self.signer = signer;
        self
    }

    /// Returns the reader of the existing manifest.
    pub fn reader(&self) -> &ManifestReader<'a> {
        &self.reader
    }

    /// Writes a file with the content that `write` produces; returns its size and digest.
    pub(super) fn write<T>(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
    ) -> Result<WrittenFile<T>, Error> {
        let key = self.reader.key(name);
        let failed = |cause| self.reader.failed("write", name, cause);
        self.reader.forget();
        let place = self.place(&key).map_err(failed)?;
        let metadata = self.metadata().map_err(failed)?;
        let entry = Entry::new_file(key, 0, metadata);
        let stage = self.target.stage_stream(&entry, place).map_err(failed)?;
        let mut out =
            Out { stage, chunk: Vec::new(), hasher: blake3::Hasher::new(), bytes: 0, failed: None };
        let written = write(&mut out).and_then(|made| {
            out.send().map_err(|error| {
                Error::new(ErrorKind::Unusable, "cannot write the manifest").because(error)
            })?;
            Ok(made)
        });
        // The target's error is more precise than the one passed through the writer.
        if let Some(cause) = out.failed.take() {
            return Err(failed(cause));
        }
        let made = written?;
        let digest = Digest::from(out.hasher.finalize());
        let wanted = self.target.achievable_metadata(&metadata, EntryKind::File, None);
        let mut staged = out.stage.finish(&(&wanted).into(), &digest).map_err(failed)?;
        // A manifest without the right mode and owner is still usable.
        staged.publish().map_err(failed)?;
        Ok(WrittenFile { made, bytes: out.bytes, blake3: digest })
    }

    /// Returns the metadata of written files.
    fn metadata(&self) -> Result<Metadata, Cause> {
        let mut metadata = Metadata {
            mode: ManifestMode::PRIVATE.file(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: self.now,
        };
        if self.target.capabilities().enforces_modes
            && let Some(directory) = self.target.look(&self.reader.key(""))?
        {
            // Files written by root get the directory's owner, who could replace them anyway.
            let Metadata { mode, uid, gid, .. } = directory.metadata;
            let mode = ManifestMode::of_directory(mode).and(self.max_mode.get());
            metadata = Metadata { mode: mode.file(), uid, gid, ..metadata };
            // The file's actual group would not be the intended one.
            if self.target.achievable_metadata(&metadata, EntryKind::File, None).gid != gid {
                metadata.mode = mode.without_group().file();
            }
        }
        Ok(metadata)
    }

    /// Returns the precondition for a file of this name. A PUT replaces an existing file
    /// atomically, and the lock keeps others out.
    fn place(&self, key: &Key) -> Result<Precondition, Cause> {
        if self.target.capabilities().writes_by_key {
            return Ok(Precondition::Leaf);
        }
        match self.target.look(key)? {
            None => Ok(Precondition::Absent),
            Some(found) if found.kind == EntryKind::Directory => Err(Cause::DirectoryStands),
            Some(_) => Ok(Precondition::Leaf),
        }
    }

    /// Writes a head, and its signature if it is to be signed.
    pub(super) fn write_head(&self, head: Head) -> Result<Publication, Error> {
        let bytes = head.encode()?;
        let written = self.write(&head_name(head.sequence), |out| put(out, &bytes))?;
        if let Some(signer) = self.signer {
            self.sign(signer, &head, &bytes)?;
        }
        Ok(Publication { head, digest: written.blake3 })
    }

    /// Writes the signature of a head with these bytes.
    pub(super) fn sign(&self, signer: &SecretKey, head: &Head, bytes: &[u8]) -> Result<(), Error> {
        let Head { sequence, target, run, published, .. } = head;
        // minisign reads comments of up to 8 KiB; an escaped path may be longer.
        let target: String = target.chars().take(TARGET_CHARACTERS).collect();
        let published = jiff::Timestamp::from_second(published.seconds);
        let published = published.map_or_else(|_| "-".to_owned(), |time| time.to_string());
        let comment =
            format!("vidimus manifest {sequence} of {target}, run {run}, published {published}");
        let signature = signer.sign(bytes, &comment)?;
        self.write(&signature_name(*sequence), |out| put(out, &signature)).map(drop)
    }

    /// Removes the signature of a publication that is to have none; a killed run on any machine may
    /// have left it. It is looked up first, because not every writer to a store may delete there.
    pub(super) fn unsign(&self, sequence: u64) -> Result<(), Error> {
        let name = signature_name(sequence);
        let found = self.target.look(&self.reader.key(&name));
        match found.map_err(|cause| self.reader.failed("read", &name, cause))? {
            Some(_) => self.remove_file(&name),
            None => Ok(()),
        }
    }

    /// Makes a publication the current one. All its files are durable before, and the pointer is
    /// durable afterwards.
    pub(super) fn point_to(&self, publication: &Publication, signed: bool) -> Result<(), Error> {
        let bytes = Pointer::to(publication, signed).encode()?;
        self.barrier()?;
        self.write(POINTER, |out| put(out, &bytes))?;
        self.barrier()
    }

    /// Removes a segment that no further publication will use.
    pub(super) fn remove(&self, segment: &Segment) -> Result<(), Error> {
        self.remove_file(&segment.name())
    }

    fn remove_file(&self, name: &str) -> Result<(), Error> {
        let failed = |cause| self.reader.failed("remove", name, cause);
        self.reader.forget();
        let key = self.reader.key(name);
        let found = if self.target.capabilities().writes_by_key {
            Some(Entry::new_file(key, 0, Metadata::default()))
        } else {
            self.target.look(&key).map_err(failed)?
        };
        found.map_or(Ok(()), |entry| self.target.remove(&entry).map_err(failed))
    }

    fn barrier(&self) -> Result<(), Error> {
        if !self.target.capabilities().needs_barrier {
            return Ok(());
        }
        self.target.barrier().map_err(|cause| self.reader.failed("sync", POINTER, cause))
    }
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(|error| {
        Error::new(ErrorKind::Unusable, "cannot write the manifest").because(error)
    })
}

/// Writes through to a stage.
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
