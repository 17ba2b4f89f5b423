//! The files of a published manifest, in a place of whichever kind.

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
/// The longest head or pointer that is read, in bytes: a head takes about 200 a segment.
const LONGEST: u64 = 16 << 20;
/// Bytes that are handed on at a time.
const CHUNK: usize = 256 << 10;

/// Where a place keeps its published manifest.
#[derive(Clone)]
pub struct ManifestReader<'a> {
    source: &'a dyn Source,
    /// What the names of its files are put behind.
    prefix: &'static str,
    spool_dir: &'a Path,
    /// What its directory was found to hold, which costs a store a request: asked once, until
    /// something is written there.
    seen: Rc<RefCell<Option<Seen>>>,
}

/// What a manifest's directory was found to hold.
#[derive(Clone, Debug)]
struct Seen {
    /// The numbers of the heads, in order.
    heads: Rc<[u64]>,
    is_empty: bool,
}

impl<'a> ManifestReader<'a> {
    /// Reads the manifest of a place. What is read is kept in `spool_dir` meanwhile.
    pub fn of(source: &'a dyn Source, spool_dir: &'a Path) -> Self {
        Self { source, prefix: MANIFEST, spool_dir, seen: Rc::default() }
    }

    /// Reads a copy of a manifest, which is the place itself.
    pub fn bare(source: &'a dyn Source, spool_dir: &'a Path) -> Self {
        Self { source, prefix: "", spool_dir, seen: Rc::default() }
    }

    /// The publication that counts; `None` where nothing was ever published.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] or [`ErrorKind::Newer`] when what stands there can't be used,
    /// [`ErrorKind::Unusable`] when it can't be read: nobody knows then what stands there.
    pub fn latest(&self) -> Result<Option<Publication>, Error> {
        Ok(self.pointed_to(None)?.map(|(latest, _)| latest))
    }

    /// Whether a file of the pointer's name is one: in a place that may hold anything, somebody else's
    /// file of that name is no damaged manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when it can't be read.
    pub fn is_meant(&self) -> Result<bool, Error> {
        let pointer = match self.source.read_small(&self.key(POINTER), LONGEST) {
            Ok(pointer) => pointer.unwrap_or_default(),
            Err(Cause::NoSmallFile { .. }) => return Ok(false),
            Err(cause) => return Err(self.failed("read", POINTER, cause)),
        };
        let name = &b"\"vidimus_manifest\""[..];
        Ok(pointer.windows(name.len()).any(|part| part == name))
    }

    /// The publication that counts, and what points to it.
    pub(super) fn pointed_to(
        &self,
        known: Option<&Publication>,
    ) -> Result<Option<(Publication, Pointer)>, Error> {
        let Some(bytes) = self.small(POINTER)? else {
            return match self.heads()?.last() {
                None => Ok(None),
                Some(last) => {
                    let how = format!("it is missing, and publication {last} stands");
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

    /// Whether what counts is signed, as its pointer says; where that can't be used, whether the highest
    /// publication has a signature. `None` where nothing was ever published.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn is_signed(&self) -> Result<Option<bool>, Error> {
        if let Some(pointer) = self.usable_pointer()? {
            return Ok(Some(pointer.signed));
        }
        let highest = self.heads()?.last().copied();
        highest.map(|highest| self.has_signature(highest)).transpose()
    }

    /// The pointer, where there is one that can be used.
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

    /// The publication that counts, to which the pointer points as vidimus writes it, byte for byte.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn latest_to_the_letter(&self) -> Result<Option<Publication>, Error> {
        let Some(bytes) = self.small(POINTER)? else { return Ok(None) };
        let pointer = Pointer::decode(&bytes)?;
        if pointer.encode()? != bytes {
            return Err(damaged(POINTER, "it isn't written as vidimus writes it"));
        }
        self.publication(&pointer.head).map(Some)
    }

    /// The publication that a file of the manifest names: the one that counts by the pointer, any by
    /// its head, which is taken as it stands. `None` for any other name.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn named(&self, name: &[u8]) -> Result<Option<Publication>, Error> {
        if name == POINTER.as_bytes() {
            return self.latest();
        }
        head_number(name).map(|sequence| self.as_it_stands(sequence)).transpose()
    }

    /// A publication by its number alone.
    fn as_it_stands(&self, sequence: u64) -> Result<Publication, Error> {
        let head = self.head(sequence)?;
        Publication::decode(&head, &Predecessor { sequence, blake3: Digest::of(&head) })
    }

    /// The numbers of the heads that stand, in order.
    fn heads(&self) -> Result<Rc<[u64]>, Error> {
        // A place that may hold anything may hold any number.
        if self.prefix.is_empty() { Ok(Rc::default()) } else { Ok(self.seen()?.heads) }
    }

    /// What its directory holds.
    fn seen(&self) -> Result<Seen, Error> {
        if let Some(seen) = &*self.seen.borrow() {
            return Ok(seen.clone());
        }
        let names = self.source.names(&self.key(""));
        let names = match names {
            Err(cause) if self.lies_nowhere(&cause) => Vec::new(),
            names => names.map_err(|cause| self.failed("list", "", cause))?,
        };
        let mut heads: Vec<_> = names.iter().filter_map(|name| head_number(name)).collect();
        heads.sort_unstable();
        let seen = Seen { heads: heads.into(), is_empty: names.is_empty() };
        self.seen.replace(Some(seen.clone()));
        Ok(seen)
    }

    /// Has its directory looked at anew, for something was written there.
    pub(super) fn forget(&self) {
        self.seen.take();
    }

    /// The highest publication of which anything tells, by number and digest: the pointer, whether its
    /// head is there or not, or a head, whatever points to it.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when that can't be read.
    pub(super) fn highest(&self) -> Result<Option<Predecessor>, Error> {
        let pointed_to = self.usable_pointer()?.map(|pointer| pointer.head);
        let Some(&sequence) = self.heads()?.last() else { return Ok(pointed_to) };
        if let Some(higher) = pointed_to.filter(|it| it.sequence >= sequence) {
            return Ok(Some(higher));
        }
        let bytes = match self.head(sequence) {
            // Its number is taken even so.
            Err(error) if error.kind == ErrorKind::Damaged => Vec::new(),
            head => head?,
        };
        Ok(Some(Predecessor { sequence, blake3: Digest::of(&bytes) }))
    }

    /// The highest publication that is whole, its segments read and held against its head, where
    /// nothing tells which one counts.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when one can't be read, [`ErrorKind::Newer`] when a newer version
    /// published it.
    pub(super) fn highest_whole(&self) -> Result<Option<Publication>, Error> {
        for &sequence in self.heads()?.iter().rev() {
            let whole = self.as_it_stands(sequence).and_then(|publication| {
                let mut segments = publication.head.segments.iter();
                segments.try_for_each(|segment| self.hold(segment)).map(|()| publication)
            });
            match whole {
                Err(error) if error.kind == ErrorKind::Damaged => {}
                whole => return whole.map(Some),
            }
        }
        Ok(None)
    }

    /// The publication to go on from: the one that counts, or where the pointer or its head can't be
    /// used, the highest one that is whole, with what is wrong then.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`], where no publication is whole.
    pub fn latest_or_highest(&self) -> Result<Option<(Publication, Option<Error>)>, Error> {
        self.counting(None)
    }

    /// What [`ManifestReader::latest_or_highest`] finds; a publication that is `known` is not read again.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`], where no publication is whole.
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

    /// Whether anything tells of a publication above one that can be used, or of any where none can: what
    /// that recorded is lost. To be asked where something was found wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when that can't be seen.
    pub fn is_overtaken(&self, usable: Option<&Publication>) -> Result<bool, Error> {
        let Some(usable) = usable else { return Ok(true) };
        let highest = self.highest()?;
        Ok(highest.is_some_and(|highest| highest.sequence > usable.head.sequence))
    }

    /// Whether a publication has a signature, whatever that is worth.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when that can't be seen.
    pub(super) fn has_signature(&self, sequence: u64) -> Result<bool, Error> {
        let name = signature_name(sequence);
        let found = self.source.look(&self.key(&name));
        found.map(|found| found.is_some()).map_err(|cause| self.failed("read", &name, cause))
    }

    /// Whether nothing of a manifest stands.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when that can't be seen.
    pub(super) fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.seen()?.is_empty)
    }

    /// What the place that has it can do.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    /// A publication by number and digest.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub fn publication(&self, known: &Predecessor) -> Result<Publication, Error> {
        Publication::decode(&self.head(known.sequence)?, known)
    }

    /// A head as it is written.
    pub(super) fn head(&self, sequence: u64) -> Result<Vec<u8>, Error> {
        let name = head_name(sequence);
        self.small(&name)?.ok_or_else(|| damaged(&name, "it is missing"))
    }

    /// What the signature of a publication is worth; `key` is the one that it should be by.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`]: of the publication, or where a signature can't be read. One
    /// that makes no sense is no error but [`SignatureStatus::Broken`].
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
        // That the head is what was read of it before; then, that it is what was signed.
        Publication::decode(&head, &publication.as_predecessor())?;
        if key.vouches_for(&head, &signature) {
            return Ok(SignatureStatus::Good(signature));
        }
        Ok(SignatureStatus::Broken("it is not of this head, or was changed".to_owned()))
    }

    /// What is wrong with the segments of a head, as far as a look tells: whether all are there, of the
    /// size that it says.
    ///
    /// # Errors
    /// [`ErrorKind::Unusable`] when they can't be looked at.
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

    /// Holds a segment against its size and digest.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub(super) fn hold(&self, segment: &Segment) -> Result<(), Error> {
        self.held(segment, &mut |_| Ok(()))
    }

    /// A segment, whole and as its head says, from its beginning.
    ///
    /// # Errors
    /// As those of [`ManifestReader::latest`].
    pub(super) fn segment(&self, segment: &Segment) -> Result<File, Error> {
        let spooling = |error: io::Error| {
            Error::new(ErrorKind::Unusable, "cannot hold the published manifest on disk")
                .because(error)
        };
        let mut file = tempfile_in(self.spool_dir).map_err(spooling)?;
        let mut spooled = Ok(());
        let held = self.held(segment, &mut |chunk| {
            spooled = file.write_all(chunk);
            if spooled.is_ok() { Ok(()) } else { Err(Cause::Stopped) }
        });
        spooled.map_err(spooling)?;
        held?;
        file.rewind().map_err(spooling)?;
        Ok(file)
    }

    /// Reads a segment to its end, and holds it against its size and digest.
    fn held(
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

    /// Reads a head or the pointer; `None` where there is none.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.source.read_small(&self.key(name), LONGEST) {
            Err(large @ Cause::NoSmallFile { .. }) => Err(damaged(name, large)),
            Err(cause) if self.lies_nowhere(&cause) => Ok(None),
            read => read.map_err(|cause| self.failed("read", name, cause)),
        }
    }

    /// Whether a file could not be reached because a link has the name of vidimus's own directory. It
    /// is not followed: whatever it leads to is no manifest of this place.
    fn lies_nowhere(&self, cause: &Cause) -> bool {
        let own = || self.source.look(&Key::new(DIRECTORY.as_bytes()));
        matches!(cause, Cause::Io(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()))
            && !self.prefix.is_empty()
            && matches!(own(), Ok(Some(entry)) if entry.kind == EntryKind::Symlink)
    }

    /// Reads a segment to its end, where it is of its size.
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
            Reading::Chunk(chunk) => take(chunk),
            Reading::Opened(_) | Reading::Facts(_) => Ok(()),
        });
        match read {
            Ok(()) => Ok(()),
            // Whoever published anew meanwhile removed it.
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

    /// The error of a file that can't be used, which says whose it is where that is why.
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

    /// How a user comes to what is closed to this one, where modes say so: the entry
    /// itself, or the directory on the way to it that can still be seen.
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

    /// The key of a file.
    pub(super) fn key(&self, name: &str) -> Key {
        Key::new([self.prefix.as_bytes(), name.as_bytes()].concat())
    }
}

/// That a publication is gone by because nothing that can be used tells which one counts: what is at
/// fault, where that isn't told otherwise, and what it means for what others published since.
pub fn gone_by(
    publication: &Publication,
    fault: Option<&Error>,
    follows: Option<Overtaken>,
) -> Notice {
    let (cause, publication) = (fault.map(ToString::to_string), publication.head.sequence);
    Notice::OlderManifestUsed { cause, publication, follows }
}

/// Why what stands in a segment's place isn't it, as far as a look tells.
fn not_of_size(segment: &Segment, found: &Entry) -> Option<Error> {
    let (size, expected) = (found.stamp.size, segment.bytes);
    let how = match found.kind {
        EntryKind::File if size == expected => return None,
        EntryKind::File => format!("it has {size} bytes, not {expected}"),
        kind => format!("it is a {kind}"),
    };
    Some(damaged(&segment.name(), how))
}
