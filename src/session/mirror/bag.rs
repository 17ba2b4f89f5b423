//! The bag around a run's target: `BagIt` 1.0 (RFC 8493).
//!
//! The target is the bag's payload, `data`; [`Bag`] is the directory around it. The lock and the
//! tag files are in that directory, because everything in the payload has to be listed. Before the
//! payload is changed, the bag's declaration (`bagit.txt`) is removed, so that nobody takes it for
//! a complete bag. At the end the payload is listed again, to make sure that the manifest lists
//! exactly the files that are there. If each file matches its row, new manifests and the
//! declaration are written.

mod readers;
mod tags;

use super::Session;
use crate::backend::{ListItem, ListOptions, Target};
use crate::manifest::bag::{DECLARATION, MARK, PAYLOAD};
use crate::manifest::lock::DIRECTORY;
use crate::manifest::{Row, State};
use crate::model::hex::Hex;
use crate::model::hint::hint;
use crate::model::stamp::{StampFields, StampMatch};
use crate::model::{
    Cause, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Notice, Operation,
    Setting,
};
use crate::place::random;
use crate::place::{Opener, Writes, printable};
use crate::session::places::BagPlace;
use crate::small_directory;
use readers::Unreadable;
use ring::digest::{SHA256, digest};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tags::{LONGEST_INFO, TagFile, escape, key};

const INFO: &str = "bag-info.txt";
const MANIFEST: &str = "manifest-sha256.txt";
const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// Content of the declaration (section 2.1.1).
const DECLARED: &[u8] = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
/// Bytes of a manifest written at a time.
const CHUNK: usize = 256 << 10;

/// Options of a bag.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BagOptions {
    /// The mode of its directory. Its tag files have the same mode without execute permissions.
    pub mode: u32,
}

impl Default for BagOptions {
    /// The owner may write, everybody may read.
    fn default() -> Self {
        Self { mode: 0o755 }
    }
}

/// Refuses a directory that is something else already, or that has other manifests, which would
/// become wrong when its payload changes.
pub(super) fn check(place: &BagPlace) -> Result<(), Error> {
    let name = printable(&place.path);
    let unusable = |error: io::Error| {
        Error::new(ErrorKind::Unusable, format!("cannot list the bag \"{name}\"")).because(error)
    };
    let names = match small_directory::entries(&place.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(unusable)?,
    };
    let refused = |found: &OsStr, why: &str| {
        let found = printable(Path::new(found));
        let message = format!("\"{name}\" has \"{found}\", {why}");
        Error::new(ErrorKind::Refused, message).help("name a new directory")
    };
    let mut foreign = None;
    for found in names {
        let found = found.map_err(unusable)?;
        let found = found.file_name();
        match found.as_bytes() {
            name if is_own(name) => {}
            name if is_other_manifest(name) => {
                return Err(refused(found, "which would be wrong once the payload changes"));
            }
            name if name == PAYLOAD.as_bytes() => {
                // A run creates it before it writes the mark.
                let payload = small_directory::entries(&place.path.join(PAYLOAD));
                let first = payload.and_then(|mut payload| payload.next().transpose());
                let is_empty = first.map_err(unusable)?.is_none();
                foreign = foreign.or((!is_empty).then(|| found.to_owned()));
            }
            _ => foreign = foreign.or_else(|| Some(found.to_owned())),
        }
    }
    if let Some((found, why)) = unusable_tag(&place.path).map_err(unusable)? {
        let message = format!("\"{name}\" has \"{found}\", {why}");
        let help = format!("put a file of at most 1 MiB in the place of \"{found}\", or remove it");
        return Err(Error::new(ErrorKind::Refused, message).help(help));
    }
    if let Some(found) = other_encoding(&place.path).map_err(unusable)? {
        return Err(refused(found.as_ref(), "which is not in UTF-8, as all tag files will be"));
    }
    // Checked last: a run that began meanwhile wrote the mark before everything else found.
    if [DECLARATION, MARK].iter().any(|name| place.path.join(name).exists()) {
        return Ok(());
    }
    if let Some(foreign) = foreign {
        return Err(refused(&foreign, "and is not a bag"));
    }
    let published = OsString::from(crate::model::reserved::MANIFEST.trim_end_matches('/'));
    if place.path.join(&published).exists() {
        return Err(refused(&published, "and is the target of a mirror"));
    }
    Ok(())
}

/// Returns a tag file's name if something there can't be replaced by it, or can't be kept, and why.
fn unusable_tag(bag: &Path) -> io::Result<Option<(&'static str, &'static str)>> {
    for name in [DECLARATION, INFO, MANIFEST, TAG_MANIFEST] {
        let found = match bag.join(name).symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        // Only this one's content is kept.
        let is_kept = name == INFO;
        let why = if found.is_dir() {
            "which is a directory"
        } else if is_kept && found.is_symlink() {
            "which is a symbolic link, and no link in a bag is followed"
        } else if is_kept && !found.is_file() {
            "which is not a file"
        } else if is_kept && found.len() > LONGEST_INFO {
            "which is too long"
        } else {
            continue;
        };
        return Ok(Some((name, why)));
    }
    Ok(None)
}

/// Returns the tag file whose text is not in UTF-8 (RFC 8493, section 2.1.1), if it is one that is
/// kept or the declaration.
fn other_encoding(bag: &Path) -> io::Result<Option<&'static str>> {
    const ENCODING: &str = "Tag-File-Character-Encoding:";
    let read = |name: &str| {
        let path = bag.join(name);
        match path.symlink_metadata() {
            Ok(found) if found.is_file() && found.len() <= LONGEST_INFO => fs::read(path),
            // It will be replaced, whatever it is.
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    for name in [DECLARATION, INFO] {
        let text = String::from_utf8(read(name)?);
        let is_utf8 = text.is_ok_and(|text| {
            let mut encodings = text.lines().filter_map(|line| line.strip_prefix(ENCODING));
            name == INFO || encodings.all(|encoding| encoding.trim().eq_ignore_ascii_case("UTF-8"))
        });
        if !is_utf8 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Returns whether a name in a bag is that of the lock's directory or of a temporary.
fn is_own(name: &[u8]) -> bool {
    name.strip_prefix(DIRECTORY.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// Returns whether a name in a bag is that of a manifest that isn't written here.
fn is_other_manifest(name: &[u8]) -> bool {
    let is_manifest = name.starts_with(b"manifest-") || name.starts_with(b"tagmanifest-");
    let is_made_here = [MANIFEST, TAG_MANIFEST].iter().any(|made| made.as_bytes() == name);
    name == b"fetch.txt" || (is_manifest && name.ends_with(b".txt") && !is_made_here)
}

/// Returns why a bag can't contain an entry of the source.
pub(super) fn leaves_out(entry: &Entry) -> Option<&'static str> {
    if entry.kind == EntryKind::Symlink {
        Some("a bag holds no symbolic links")
    } else if let EntryKind::Special(_) = entry.kind {
        Some("a bag holds no named pipes, sockets or devices")
    } else if std::str::from_utf8(entry.key.as_bytes()).is_err() {
        Some("a bag holds no names that are not UTF-8")
    } else {
        None
    }
}

/// A bag being made.
pub(super) struct Bag {
    target: Arc<dyn Target>,
    path: PathBuf,
    mode: u32,
}

/// What was found in a payload.
#[derive(Default)]
struct Payload {
    files: u64,
    bytes: u64,
    empty_directories: u64,
    /// A directory in which nothing was found so far.
    empty: Option<Key>,
    unreadable: Unreadable,
}

impl Bag {
    /// Prepares work in the bag, whose directory is open. The state directory, which exists, is
    /// never a part of it.
    pub(super) fn of(place: &BagPlace, opener: &Opener) -> Result<Self, Error> {
        let writes = Writes::new(Durability::File, random()?);
        let target = opener.write(&place.place, writes)?;
        Ok(Self { target, path: place.path.clone(), mode: place.mode & !0o111 })
    }

    /// Removes the declaration and leftovers of killed runs, and marks the directory as a bag in
    /// progress. The tag manifest is removed second, because it lists files that are written anew.
    pub(super) fn begin(&self, session: &Session<'_>) -> Result<(), Error> {
        self.sweep(session)?;
        if !self.path.join(MARK).exists() {
            self.write(MARK, b"`vidimus bag` makes a bag of the directory that holds this one.\n")?;
        }
        for name in [DECLARATION, TAG_MANIFEST] {
            let found = self.target.look(&key(name));
            let removed = found.and_then(|found| match found {
                Some(found) => self.target.remove(&found),
                None => Ok(()),
            });
            removed.map_err(|cause| {
                let message = format!("cannot remove \"{name}\" from the bag");
                Error::new(ErrorKind::Unusable, message).because(cause)
            })?;
        }
        Ok(())
    }

    /// Removes temporaries of killed runs from among the tag files.
    fn sweep(&self, session: &Session<'_>) -> Result<(), Error> {
        let failed = |cause: Cause| {
            let message = format!("cannot clean up the bag \"{}\"", printable(&self.path));
            Error::new(ErrorKind::Unusable, message).because(cause)
        };
        // The second is the directory of the mark.
        for directory in ["", &format!("{DIRECTORY}/")] {
            let names = small_directory::entries(&self.path.join(directory));
            for name in names.map_err(|error| failed(error.into()))? {
                let found = name.map_err(|error| failed(error.into()))?;
                let key = Key::child(directory.as_bytes(), found.file_name().as_bytes(), false);
                match self.target.sweep(&key) {
                    Ok(()) => session.swept(&key),
                    // It is not a temporary.
                    Err(Cause::IllegalName) => {}
                    Err(cause) => return Err(failed(cause)),
                }
            }
        }
        Ok(())
    }

    /// Declares the bag complete, unless something in the payload prevents it, which is reported as
    /// a failure. `surplus` is the number of files that the source no longer has.
    pub(super) fn complete(
        &self,
        session: &Session<'_>,
        state: &State,
        payload: &dyn Target,
        surplus: u64,
    ) -> Result<(), Error> {
        let Some((mut found, manifest)) = self.write_manifest(session, state, payload)? else {
            return Ok(());
        };
        let mut tag_manifest = TagFile::begin(self, TAG_MANIFEST)?;
        if !self.list_others(session, &mut tag_manifest, &mut found.unreadable)? {
            return Ok(());
        }
        let info = self.write_info(&found)?;
        let declared = Hex(digest(&SHA256, DECLARED).as_ref()).to_string();
        for (name, digest) in [(INFO, info), (DECLARATION, declared), (MANIFEST, manifest)] {
            tag_manifest.write(format!("{digest}  {name}\n").as_bytes())?;
        }
        tag_manifest.publish()?;
        self.write(DECLARATION, DECLARED)?;
        found.unreadable.report(session);
        if surplus > 0 {
            session.notice(Notice::SurplusInBag { count: surplus });
        }
        if found.empty_directories > 0 {
            session.notice(Notice::EmptyDirectoriesInBag { count: found.empty_directories });
        }
        Ok(())
    }

    /// Writes the manifest of the payload. Returns what the payload contains and the SHA-256 of the
    /// manifest; `None` if something in it can't be listed, in which case nothing is written.
    fn write_manifest(
        &self,
        session: &Session<'_>,
        state: &State,
        payload: &dyn Target,
    ) -> Result<Option<(Payload, String)>, Error> {
        let mut file = TagFile::begin(self, MANIFEST)?;
        let (mut lines, mut found, mut is_whole) = (Vec::new(), Payload::default(), true);
        let mut fail = |error| {
            session.fail(error);
            is_whole = false;
        };
        let key = Key::new(DIRECTORY.as_bytes());
        match payload.look(&key) {
            Ok(None) => {}
            Ok(Some(_)) => {
                let why = "it belongs to a run, and was never part of the payload: remove it";
                fail(unvouched(key, Cause::Other(why.to_owned())));
            }
            Err(cause) => fail(unvouched(key, cause)),
        }
        let all = ListOptions { only: None, filter: Arc::default(), ..session.listing() };
        let mut rows = state.rows()?;
        let mut row = rows.next().transpose()?;
        for item in payload.list(&all)? {
            if session.stop.requested() {
                return Ok(None);
            }
            let entry = match item? {
                ListItem::Entry(entry) => entry,
                ListItem::Failed(error) | ListItem::BrokeOff(error) => {
                    fail(error);
                    continue;
                }
                // Without a filter there is nothing excluded.
                ListItem::Excluded(_) | ListItem::Ignores(..) | ListItem::MountPoint(_) => continue,
                ListItem::LeftOut(key, why) => {
                    fail(unvouched(key, Cause::Other(why)));
                    continue;
                }
                ListItem::Leftover(key) => {
                    fail(unvouched(key, Cause::ReservedName));
                    continue;
                }
            };
            found.enter(&entry);
            if entry.kind == EntryKind::Directory {
                continue;
            }
            while row.as_ref().is_some_and(|row| row.key < entry.key) {
                row = rows.next().transpose()?;
            }
            let row = row.as_ref().filter(|row| row.key == entry.key);
            match vouched(&entry, row, session.options.policy.trust) {
                Ok(sha256) => {
                    lines.extend_from_slice(format!("{}  {PAYLOAD}/", Hex(sha256)).as_bytes());
                    escape(entry.key.as_bytes(), &mut lines);
                    lines.push(b'\n');
                    found.unreadable.check(&entry.key);
                    found.files += 1;
                    found.bytes += entry.stamp.size;
                }
                Err(cause) => fail(unvouched(entry.key, cause)),
            }
            if lines.len() >= CHUNK {
                file.write(&lines)?;
                lines.clear();
            }
        }
        found.leave();
        if !is_whole {
            return Ok(None);
        }
        file.write(&lines)?;
        Ok(Some((found, file.publish()?)))
    }
}

impl Payload {
    /// Adds an entry, in key order.
    fn enter(&mut self, entry: &Entry) {
        let is_in = |directory: &Key| entry.key.is_within(directory.as_bytes());
        if self.empty.as_ref().is_some_and(is_in) {
            self.empty = None;
        }
        self.leave();
        let is_directory = entry.kind == EntryKind::Directory && !entry.key.is_root();
        self.empty = is_directory.then(|| entry.key.clone());
    }

    /// Ends the current directory: if nothing was found in it, it is empty.
    fn leave(&mut self) {
        self.empty_directories += u64::from(self.empty.take().is_some());
    }
}

/// Returns the SHA-256 of a payload file from its row, or why the file can't be listed.
fn vouched<'r>(
    entry: &Entry,
    row: Option<&'r Row>,
    trust: StampFields,
) -> Result<&'r [u8; 32], Cause> {
    let refused = |why: &str| Err(Cause::Other(why.to_owned()));
    let advised = |why: &str, help: &'static str| Cause::Advised {
        message: why.to_owned(),
        help: hint![help, Setting::Delete],
    };
    if entry.kind != EntryKind::File {
        return refused("a bag holds only files and directories: remove it");
    }
    let is_current = |row: &&Row| {
        row.kind == EntryKind::File && entry.stamp.compare(&row.target, trust) == StampMatch::Same
    };
    let Some(row) = row else {
        return Err(advised("no run into this bag brought it there", "remove it, or run with "));
    };
    if std::str::from_utf8(entry.key.as_bytes()).is_err() {
        return refused("its name is not UTF-8: remove it");
    }
    let row = Some(row).filter(is_current).ok_or_else(|| {
        advised(
            "it changed since it was copied",
            "if the source has it, run again; else remove it, or run with ",
        )
    })?;
    let unrecorded = || advised("no SHA-256 of it is recorded", "remove it, or run with ");
    row.extra.sha256.as_ref().ok_or_else(unrecorded)
}

fn unvouched(key: Key, cause: Cause) -> EntryError {
    EntryError::on_target(Operation::Vouch, key, cause)
}
