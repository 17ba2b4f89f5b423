//! Reading the files of a published manifest from any kind of location.

use super::damaged;
use super::head::{
    Head, Pointer, Predecessor, Publication, Segment, head_name, head_number, signature_name,
};
use super::signature::SignatureStatus;
use crate::backend::{Capabilities, ReadError, Reading, Source};
use crate::manifest::keys::{self, PublicKey, Signature};
use crate::manifest::mode::Closed;
use crate::model::notice::Overtaken;
use crate::model::reserved::{DIRECTORY, MANIFEST};
use crate::model::{
    Cause, Digest, Entry, EntryKind, Error, ErrorKind, Hint, Key, Metadata, Notice,
};
use rustix::io::Errno;
use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind::PermissionDenied;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::rc::Rc;
use tempfile::tempfile_in;

pub(super) const POINTER: &str = "latest.json";
/// The longest head or pointer that is read, in bytes: a head has about 200 bytes a segment.
const LONGEST: u64 = 16 << 20;
/// Size of the read buffer in bytes.
const CHUNK: usize = 256 << 10;

/// The published manifest of a location.
#[derive(Clone)]
pub struct ManifestReader<'a> {
    source: &'a dyn Source,
    /// The prefix of the names of its files.
    prefix: &'static str,
    spool_dir: &'a Path,
    /// The cached content of its directory, which costs a request in a store; cleared when
    /// something is written there.
    directory: Rc<RefCell<Option<DirectoryContent>>>,
}

/// The content of a manifest's directory.
#[derive(Clone, Debug)]
struct DirectoryContent {
    /// The numbers of the heads, in order.
    heads: Rc<[u64]>,
    is_empty: bool,
}

impl<'a> ManifestReader<'a> {
    /// Makes a reader for the manifest of a location; files are buffered in `spool_dir`.
    pub fn of(source: &'a dyn Source, spool_dir: &'a Path) -> Self {
        Self { source, prefix: MANIFEST, spool_dir, directory: Rc::default() }
    }

    /// Makes a reader for a copy of a manifest at the location itself.
    pub fn bare(source: &'a dyn Source, spool_dir: &'a Path) -> Self {
        Self { source, prefix: "", spool_dir, directory: Rc::default() }
    }

    /// Returns the current publication; `None` if nothing was ever published.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] or [`ErrorKind::Newer`] if the manifest can't be used,
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub fn latest(&self) -> Result<Option<Publication>, Error> {
        Ok(self.pointed_to(None)?.map(|(latest, _)| latest))
    }

    /// Returns whether the file with the pointer's name is a pointer: in an arbitrary directory
    /// another file of that name is not a damaged manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub fn is_meant(&self) -> Result<bool, Error> {
        let pointer = match self.source.read_small(&self.key(POINTER), LONGEST) {
            Ok(pointer) => pointer.unwrap_or_default(),
            Err(Cause::NoSmallFile { .. }) => return Ok(false),
            Err(cause) => return Err(self.failed("read", POINTER, cause)),
        };
        let name = &b"\"vidimus_manifest\""[..];
        Ok(pointer.windows(name.len()).any(|part| part == name))
    }

    /// Returns the current publication and the pointer to it.
    pub(super) fn pointed_to(
        &self,
        known: Option<&Publication>,
    ) -> Result<Option<(Publication, Pointer)>, Error> {
        let Some(bytes) = self.small(POINTER)? else {
            return match self.heads()?.last() {
                None => Ok(None),
                Some(last) => {
                    let how = format!("it is missing, though publication {last} exists");
                    Err(damaged(POINTER, how))
                }
            };
        };
        let pointer = Pointer::decode(&bytes)?;
        let latest = match known.filter(|known| known.as_predecessor() == pointer.head) {
            Some(known) => known.clone(),
            None => self.publication(&pointer.head)?,
        };
        Ok(Some((latest, pointer)))
    }

    /// Returns whether the current publication is signed according to its pointer, or if that is
    /// unusable, whether the highest publication has a signature. `None` if nothing was ever
    /// published.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn is_signed(&self) -> Result<Option<bool>, Error> {
        if let Some(pointer) = self.usable_pointer()? {
            return Ok(Some(pointer.signed));
        }
        let highest = self.heads()?.last().copied();
        highest.map(|highest| self.has_signature(highest)).transpose()
    }

    /// Returns the pointer, if there is a usable one.
    fn usable_pointer(&self) -> Result<Option<Pointer>, Error> {
        let pointer = self.small(POINTER).and_then(|bytes| {
            let decode = |bytes: Vec<u8>| Pointer::decode(&bytes);
            bytes.map(decode).transpose()
        });
        match pointer {
            Err(error) if error.kind == ErrorKind::Damaged => Ok(None),
            pointer => pointer,
        }
    }

    /// Returns the current publication, if the pointer to it is byte for byte as vidimus writes it.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn latest_to_the_letter(&self) -> Result<Option<Publication>, Error> {
        let Some(bytes) = self.small(POINTER)? else { return Ok(None) };
        let pointer = Pointer::decode(&bytes)?;
        if pointer.encode()? != bytes {
            return Err(damaged(POINTER, "it isn't written as vidimus writes it"));
        }
        self.publication(&pointer.head).map(Some)
    }

    /// Returns the publication that a file of the manifest denotes: the pointer the current one, a
    /// head its own, without further checks. `None` for any other name.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn named(&self, name: &[u8]) -> Result<Option<Publication>, Error> {
        if name == POINTER.as_bytes() {
            return self.latest();
        }
        head_number(name).map(|sequence| self.as_it_stands(sequence)).transpose()
    }

    /// Reads a publication by its number alone, without a digest to verify.
    fn as_it_stands(&self, sequence: u64) -> Result<Publication, Error> {
        let head = self.head(sequence)?;
        Publication::decode(&head, &Predecessor { sequence, blake3: Digest::of(&head) })
    }

    /// Returns the numbers of the existing heads, in order.
    fn heads(&self) -> Result<Rc<[u64]>, Error> {
        // An arbitrary directory may contain any names.
        if self.prefix.is_empty() { Ok(Rc::default()) } else { Ok(self.directory()?.heads) }
    }

    /// Returns the content of its directory.
    fn directory(&self) -> Result<DirectoryContent, Error> {
        if let Some(directory) = &*self.directory.borrow() {
            return Ok(directory.clone());
        }
        let names = self.source.names(&self.key(""));
        let names = match names {
            Err(cause) if self.lies_nowhere(&cause) => Vec::new(),
            names => names.map_err(|cause| self.failed("list", "", cause))?,
        };
        let mut heads: Vec<_> = names.iter().filter_map(|name| head_number(name)).collect();
        heads.sort_unstable();
        let directory = DirectoryContent { heads: heads.into(), is_empty: names.is_empty() };
        self.directory.replace(Some(directory.clone()));
        Ok(directory)
    }

    /// Clears the cached content of the directory, because something was written there.
    pub(super) fn forget(&self) {
        self.directory.take();
    }

    /// Returns the highest publication, by number and digest, that the pointer (even without its
    /// head) or a head (even without a pointer) shows.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub(super) fn highest(&self) -> Result<Option<Predecessor>, Error> {
        let pointed_to = self.usable_pointer()?.map(|pointer| pointer.head);
        let Some(&sequence) = self.heads()?.last() else { return Ok(pointed_to) };
        if let Some(higher) = pointed_to.filter(|it| it.sequence >= sequence) {
            return Ok(Some(higher));
        }
        let bytes = match self.head(sequence) {
            // A damaged head's number is not reused either.
            Err(error) if error.kind == ErrorKind::Damaged => Vec::new(),
            head => head?,
        };
        Ok(Some(Predecessor { sequence, blake3: Digest::of(&bytes) }))
    }

    /// Returns the highest complete publication, with its segments verified, for the case that the
    /// pointer is unusable.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when one can't be read, [`ErrorKind::Newer`] when a newer version
    /// published it.
    pub(super) fn highest_whole(&self) -> Result<Option<Publication>, Error> {
        for &sequence in self.heads()?.iter().rev() {
            let whole = self.as_it_stands(sequence).and_then(|publication| {
                let mut segments = publication.head.segments.iter();
                segments.try_for_each(|segment| self.verify(segment)).map(|()| publication)
            });
            match whole {
                Err(error) if error.kind == ErrorKind::Damaged => {}
                whole => return whole.map(Some),
            }
        }
        Ok(None)
    }

    /// Returns the publication to build on: the current one, or if the pointer or its head is
    /// unusable, the highest complete one with the error.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`], where no publication is whole.
    pub fn latest_or_highest(&self) -> Result<Option<(Publication, Option<Error>)>, Error> {
        self.counting(None)
    }

    /// Does the same as [`ManifestReader::latest_or_highest`] without reading the `known`
    /// publication again.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`], where no publication is whole.
    pub(super) fn counting(
        &self,
        known: Option<&Publication>,
    ) -> Result<Option<(Publication, Option<Error>)>, Error> {
        match self.pointed_to(known) {
            Err(fault) if fault.kind == ErrorKind::Damaged => match self.highest_whole()? {
                Some(highest) => Ok(Some((highest, Some(fault)))),
                None => Err(fault),
            },
            latest => Ok(latest?.map(|(latest, _)| (latest, None))),
        }
    }

    /// Returns whether there are signs of a publication above the usable one, or of any if none is
    /// usable: its records are lost. To be called when something is damaged.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub fn is_overtaken(&self, usable: Option<&Publication>) -> Result<bool, Error> {
        let Some(usable) = usable else { return Ok(true) };
        let highest = self.highest()?;
        Ok(highest.is_some_and(|highest| highest.sequence > usable.head.sequence))
    }

    /// Returns whether a publication has a signature file, valid or not.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub(super) fn has_signature(&self, sequence: u64) -> Result<bool, Error> {
        let name = signature_name(sequence);
        let found = self.source.look(&self.key(&name));
        found.map(|found| found.is_some()).map_err(|cause| self.failed("read", &name, cause))
    }

    /// Returns whether no file of a manifest exists.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub(super) fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.directory()?.is_empty)
    }

    /// Returns the capabilities of the location.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    /// Reads a publication by number and digest.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub fn publication(&self, known: &Predecessor) -> Result<Publication, Error> {
        Publication::decode(&self.head(known.sequence)?, known)
    }

    /// Reads the bytes of a head.
    pub(super) fn head(&self, sequence: u64) -> Result<Vec<u8>, Error> {
        let name = head_name(sequence);
        self.small(&name)?.ok_or_else(|| damaged(&name, "it is missing"))
    }

    /// Verifies the signature of a publication; `key` is the expected one.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`], for the publication or an unreadable signature. An
    /// invalid signature is not an error but [`SignatureStatus::Broken`].
    pub fn signature_status(
        &self,
        publication: &Publication,
        key: Option<&PublicKey>,
    ) -> Result<SignatureStatus, Error> {
        let sequence = publication.head.sequence;
        let name = signature_name(sequence);
        let bytes = match self.source.read_small(&self.key(&name), keys::LONGEST) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(SignatureStatus::None),
            Err(large @ Cause::NoSmallFile { .. }) => {
                return Ok(SignatureStatus::Broken(large.to_string()));
            }
            Err(cause) => return Err(self.failed("read", &name, cause)),
        };
        let signature = match Signature::decode(&bytes) {
            Ok(signature) => signature,
            Err(how) => return Ok(SignatureStatus::Broken(how.to_owned())),
        };
        let Some(key) = key else { return Ok(SignatureStatus::Unchecked(signature)) };
        if signature.key != key.id() {
            return Ok(SignatureStatus::OtherKey(signature));
        }
        let head = self.head(sequence)?;
        // First verify that the head is the one read before, then its signature.
        Publication::decode(&head, &publication.as_predecessor())?;
        if key.vouches_for(&head, &signature) {
            return Ok(SignatureStatus::Good(signature));
        }
        Ok(SignatureStatus::Broken("it is not of this head, or was changed".to_owned()))
    }

    /// Returns what is wrong with the segments of a head without reading them: whether all exist
    /// with the right size.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] if the files can't be read.
    pub(super) fn lacks(&self, head: &Head) -> Result<Option<Error>, Error> {
        let keys: Vec<_> = head.segments.iter().map(|segment| self.key(&segment.name())).collect();
        let found = self.source.look_all(&keys).map_err(|cause| self.failed("read", "", cause))?;
        let wrong = head.segments.iter().zip(found).find_map(|(segment, found)| {
            Some(match found {
                None => damaged(&segment.name(), "it is missing"),
                Some(entry) => not_of_size(segment, &entry)?,
            })
        });
        Ok(wrong)
    }

    /// Verifies a segment's size and digest.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub(super) fn verify(&self, segment: &Segment) -> Result<(), Error> {
        self.read_verified(segment, &mut |_| Ok(()))
    }

    /// Returns a complete, verified segment, positioned at its beginning.
    ///
    /// # Errors
    /// Those of [`ManifestReader::latest`].
    pub(super) fn segment(&self, segment: &Segment) -> Result<File, Error> {
        let spooling = |error: io::Error| {
            Error::new(ErrorKind::Unusable, "cannot store the published manifest on disk")
                .because(error)
        };
        let mut file = tempfile_in(self.spool_dir).map_err(spooling)?;
        let mut spooled = Ok(());
        let read = self.read_verified(segment, &mut |chunk| {
            spooled = file.write_all(chunk);
            if spooled.is_ok() { Ok(()) } else { Err(Cause::Stopped) }
        });
        spooled.map_err(spooling)?;
        read?;
        file.rewind().map_err(spooling)?;
        Ok(file)
    }

    /// Reads a segment to its end and verifies its size and digest.
    fn read_verified(
        &self,
        segment: &Segment,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), Error> {
        let name = segment.name();
        let mut hasher = blake3::Hasher::new();
        self.read(segment, &mut |chunk| {
            hasher.update(chunk);
            take(chunk)
        })?;
        let found = Digest::from(hasher.finalize());
        if found != segment.blake3 {
            let how = format!("its BLAKE3 is {found}, not {}", segment.blake3);
            return Err(damaged(&name, how));
        }
        Ok(())
    }

    /// Reads a head or the pointer; returns `None` if it doesn't exist.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.source.read_small(&self.key(name), LONGEST) {
            Err(large @ Cause::NoSmallFile { .. }) => Err(damaged(name, large)),
            Err(cause) if self.lies_nowhere(&cause) => Ok(None),
            read => read.map_err(|cause| self.failed("read", name, cause)),
        }
    }

    /// Returns whether a file could not be reached because a link has the name of vidimus's own
    /// directory. Such a link is not followed: its target is not this location's manifest.
    fn lies_nowhere(&self, cause: &Cause) -> bool {
        let own = || self.source.look(&Key::new(DIRECTORY.as_bytes()));
        matches!(cause, Cause::Io(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()))
            && !self.prefix.is_empty()
            && matches!(own(), Ok(Some(entry)) if entry.kind == EntryKind::Symlink)
    }

    /// Reads a segment to its end, if it has the right size.
    fn read(
        &self,
        segment: &Segment,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Cause>,
    ) -> Result<(), Error> {
        let name = &segment.name();
        let missing = || damaged(name, "it is missing");
        let found = self.source.look(&self.key(name));
        let entry = found.map_err(|cause| self.failed("read", name, cause))?.ok_or_else(missing)?;
        if let Some(error) = not_of_size(segment, &entry) {
            return Err(error);
        }
        let mut buffer = vec![0; CHUNK];
        let read = self.source.read(&entry, &mut buffer, &mut |reading| match reading {
            Reading::Content(piece) => piece.bytes(take),
            Reading::Opened(_) | Reading::Facts(_) => Ok(()),
        });
        match read {
            Ok(()) => Ok(()),
            // A run that rewrote the manifest meanwhile removed it.
            Err(ReadError::Source(Cause::Vanished)) => Err(missing()),
            Err(ReadError::Changed) => {
                Err(self.failed("read", name, Cause::Changed { attempts: 1 }))
            }
            Err(ReadError::Damaged(cause)) => Err(damaged(name, cause)),
            Err(ReadError::Source(cause) | ReadError::Sink(cause)) => {
                Err(self.failed("read", name, cause))
            }
        }
    }

    /// Builds the error for a file that can't be accessed, with a hint about its owner if that is
    /// why.
    pub(super) fn failed(&self, verb: &str, name: &str, cause: Cause) -> Error {
        let is_denied = matches!(&cause, Cause::Io(error) if error.kind() == PermissionDenied);
        let shown = format!("{MANIFEST}{name}");
        let error =
            Error::unusable(format!("cannot {verb} the published manifest (\"{shown}\")"), cause);
        match self.closed(&self.key(name), verb != "read").filter(|_| is_denied) {
            Some(help) => error.help(help),
            None => error,
        }
    }

    /// Returns how to get access to a file that its mode, or that of a directory above, closes to
    /// this user.
    fn closed(&self, key: &Key, is_written: bool) -> Option<Hint> {
        if !self.capabilities().enforces_modes {
            return None;
        }
        let mut key = if is_written { Key::new(key.parent()) } else { key.clone() };
        loop {
            if let Ok(Some(Entry { metadata: Metadata { uid, gid, mode, .. }, .. })) =
                self.source.look(&key)
            {
                let name = key.to_string();
                return Some(Closed { name: &name, uid, gid, mode, is_written }.help());
            }
            if key.is_root() {
                return None;
            }
            key = Key::new(key.parent());
        }
    }

    /// Returns the key of a file.
    pub(super) fn key(&self, name: &str) -> Key {
        Key::new([self.prefix.as_bytes(), name.as_bytes()].concat())
    }
}

/// Describes that a publication is used because the pointer is unusable.
pub fn used_instead(
    publication: &Publication,
    fault: Option<&Error>,
    follows: Option<Overtaken>,
) -> Notice {
    let (cause, publication) = (fault.map(ToString::to_string), publication.head.sequence);
    Notice::OlderManifestUsed { cause, publication, follows }
}

/// Returns why a segment's file has the wrong kind or size, if it does.
fn not_of_size(segment: &Segment, found: &Entry) -> Option<Error> {
    let (size, expected) = (found.stamp.size, segment.bytes);
    let how = match found.kind {
        EntryKind::File if size == expected => return None,
        EntryKind::File => format!("it has {size} bytes, not {expected}"),
        kind => format!("it is a {kind}"),
    };
    Some(damaged(&segment.name(), how))
}
