//! The bag around a run's target: `BagIt` 1.0 (RFC 8493).
//!
//! The target is the bag's payload, `data`; [`Bag`] is the directory around it. The lock and the tag
//! files lie there, for whatever lies in the payload has to be listed. Before anything is done to the
//! payload the bag loses its declaration (`bagit.txt`), without which nobody takes it for a bag. It
//! gets that back, with new manifests, once each file of the payload is known to be what a row says:
//! the payload is listed again for that, so that nothing is declared that isn't there, and nothing is
//! there that isn't declared.

use super::Session;
use crate::backend::local::{LocalTarget, Root};
use crate::backend::{ListItem, ListOptions, Place, Source as _, Target};
use crate::manifest::lock::DIRECTORY;
use crate::manifest::{Row, State};
use crate::model::digest::Hex;
use crate::model::error::Side;
use crate::model::stamp::{Likeness, Trust};
use crate::model::{
    Cause, Durability, Entry, EntryError, EntryKind, Error, ErrorKind, Key, Operation,
};
use crate::session::places::{BagPlace, PAYLOAD, printable};
use crate::session::whole::WholeFile;
use crate::session::{random, single};
use ring::digest::{Context, SHA256};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DECLARATION: &str = "bagit.txt";
const INFO: &str = "bag-info.txt";
const MANIFEST: &str = "manifest-sha256.txt";
const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// What this writes in `bag-info.txt`; all else in it is the user's.
const LABELS: [&str; 3] = ["Payload-Oxum", "Bagging-Date", "Bag-Software-Agent"];
/// The most that is read of a `bag-info.txt`, in bytes.
const LONGEST_INFO: u64 = 1 << 20;
/// Bytes of a manifest that are written at a time.
const CHUNK: usize = 256 << 10;

/// How a bag is made.
#[derive(Clone, Copy, Debug)]
pub struct BagOptions {
    /// The mode of its directory. Its tag files have the same, but are not executable.
    pub mode: u32,
}

/// Refuses a directory that is something else already, or whose manifests would be wrong when its
/// payload changes.
pub(super) fn check(place: &BagPlace) -> Result<(), Error> {
    let name = printable(&place.path);
    let unusable = |error: io::Error| {
        Error::new(ErrorKind::Unusable, format!("cannot list the bag \"{name}\"")).because(error)
    };
    let names = match fs::read_dir(&place.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(unusable)?,
    };
    let refused = |found: &OsString, why: &str| {
        let found = printable(Path::new(found));
        let message = format!("\"{name}\" has \"{found}\", {why}");
        Error::new(ErrorKind::Refused, message).help("name a new directory")
    };
    let (mut is_bag, mut stranger) = (false, None);
    for found in names {
        let found = found.map_err(unusable)?.file_name();
        match found.as_bytes() {
            name if name == DECLARATION.as_bytes() => is_bag = true,
            name if is_known(name) => {}
            name if is_other_manifest(name) => {
                return Err(refused(&found, "which would be wrong once the payload changes"));
            }
            _ => stranger = stranger.or(Some(found)),
        }
    }
    if let Some(stranger) = stranger.filter(|_| !is_bag) {
        return Err(refused(&stranger, "and is no bag"));
    }
    // What a killed run left of a bag has no such thing.
    let published = OsString::from(crate::backend::MANIFEST.trim_end_matches('/'));
    if !is_bag && place.path.join(&published).exists() {
        return Err(refused(&published, "and is the target of a mirror"));
    }
    Ok(())
}

/// Whether a name in a bag is one of those that are made here.
fn is_known(name: &[u8]) -> bool {
    [DIRECTORY, PAYLOAD, INFO, MANIFEST, TAG_MANIFEST].iter().any(|known| known.as_bytes() == name)
        || name.strip_prefix(DIRECTORY.as_bytes()).is_some_and(|rest| rest.starts_with(b"."))
}

/// Whether a name in a bag is that of a list of its payload that isn't made here.
fn is_other_manifest(name: &[u8]) -> bool {
    let is_manifest = name.starts_with(b"manifest-") || name.starts_with(b"tagmanifest-");
    name == b"fetch.txt" || (is_manifest && name.ends_with(b".txt"))
}

/// Why a bag can't hold an entry of the source.
pub(super) fn leaves_out(entry: &Entry) -> Option<&'static str> {
    if entry.kind == EntryKind::Symlink {
        Some("a bag holds no symbolic links")
    } else if std::str::from_utf8(entry.key.as_bytes()).is_err() {
        Some("a bag holds no names that are not UTF-8")
    } else {
        None
    }
}

/// A bag that is being made.
pub(super) struct Bag {
    root: Arc<Root>,
    target: LocalTarget,
    path: PathBuf,
    mode: u32,
}

/// What a payload was found to hold.
#[derive(Default)]
struct Payload {
    files: u64,
    bytes: u64,
    empty_directories: u64,
    /// A directory that nothing was found in so far.
    empty: Option<Key>,
}

impl Bag {
    /// Opens the bag, which exists.
    pub(super) fn open(place: &BagPlace, spool_dir: &Path) -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| {
            let message = format!("cannot open the bag \"{}\"", printable(&place.path));
            Error::new(ErrorKind::Unusable, message).because(io::Error::from(error))
        };
        let root = Arc::new(Root::open(&place.path).map_err(failed)?);
        let walking = single::walking(1, spool_dir)?;
        let target = LocalTarget::new(Arc::clone(&root), walking, Durability::File, random());
        let (path, mode) = (place.path.clone(), place.mode & !0o111);
        Ok(Self { root, target: target.map_err(failed)?, path, mode })
    }

    /// Its directory.
    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Takes away what declares the bag whole, and what a killed run left. The tag manifest goes
    /// second: it vouches for what is written anew.
    pub(super) fn begin(&self) -> Result<(), Error> {
        self.sweep()?;
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

    /// Removes the temporaries of a killed run from among the tag files.
    fn sweep(&self) -> Result<(), Error> {
        let failed = |cause: Cause| {
            let message = format!("cannot clean up the bag \"{}\"", printable(&self.path));
            Error::new(ErrorKind::Unusable, message).because(cause)
        };
        for name in fs::read_dir(&self.path).map_err(|error| failed(error.into()))? {
            let name = name.map_err(|error| failed(error.into()))?.file_name();
            match self.target.sweep(&Key::new(name.as_bytes())) {
                // It is no temporary.
                Ok(()) | Err(Cause::IllegalName) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Ok(())
    }

    /// Declares the bag whole, unless something in the payload speaks against it: that is told of as
    /// a failure. `surplus` files of it the source no longer has.
    pub(super) fn complete(
        &self,
        session: &Session<'_>,
        state: &State,
        payload: &dyn Target,
        surplus: u64,
    ) -> Result<(), Error> {
        let Some((found, manifest)) = self.write_manifest(session, state, payload)? else {
            return Ok(());
        };
        let info = self.write_info(&found)?;
        let declaration = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
        let declaration = self.write(DECLARATION, declaration)?;
        let tags = [(INFO, info), (DECLARATION, declaration), (MANIFEST, manifest)];
        let lines = tags.map(|(name, digest)| format!("{digest}  {name}\n"));
        self.write(TAG_MANIFEST, lines.concat().as_bytes())?;
        if surplus > 0 {
            session.note(&format!(
                "files that the source does not have, and that stay in the bag: {surplus}; --delete \
                 removes them"
            ));
        }
        if found.empty_directories > 0 {
            session.note(&format!(
                "empty directories in the bag, which no manifest can list: {}",
                found.empty_directories
            ));
        }
        Ok(())
    }

    /// Lists the payload; gives what it holds and the SHA-256 of that list. `None` where something in
    /// it can't be listed: then nothing is written.
    fn write_manifest(
        &self,
        session: &Session<'_>,
        state: &State,
        payload: &dyn Target,
    ) -> Result<Option<(Payload, String)>, Error> {
        let mut file = TagFile::begin(self, MANIFEST)?;
        let (mut lines, mut found, mut is_whole) = (Vec::new(), Payload::default(), true);
        let mut fail = |error| {
            session.progress.files_failed.add(1);
            session.observer.observe(&crate::model::Event::Failed(&error));
            is_whole = false;
        };
        let key = Key::new(DIRECTORY.as_bytes());
        match payload.look(&key) {
            Ok(None) => {}
            Ok(Some(_)) => {
                let why = "it is a run's own, and was no part of it: remove it";
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
                    found.files += 1;
                    found.bytes += entry.stamp.size;
                }
                Err(why) => fail(unvouched(entry.key, Cause::Other(why.to_owned()))),
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

    /// Writes `bag-info.txt`, in which what somebody else wrote stays.
    fn write_info(&self, found: &Payload) -> Result<String, Error> {
        let kept = self.target.read_small(&key(INFO), LONGEST_INFO).map_err(|cause| {
            let message = format!("cannot read the bag's \"{INFO}\"");
            Error::new(ErrorKind::Unusable, message).because(cause)
        })?;
        let oxum = format!("{}.{}", found.bytes, found.files);
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let agent = concat!("vidimus ", env!("CARGO_PKG_VERSION")).to_owned();
        let mut info = without_labels(&kept.unwrap_or_default());
        for (label, value) in LABELS.iter().zip([oxum, date, agent]) {
            info.extend_from_slice(format!("{label}: {value}\n").as_bytes());
        }
        self.write(INFO, &info)
    }

    /// Writes a tag file; gives its SHA-256.
    fn write(&self, name: &'static str, content: &[u8]) -> Result<String, Error> {
        let mut file = TagFile::begin(self, name)?;
        file.write(content)?;
        file.publish()
    }
}

impl Payload {
    /// Takes note of an entry, in the order of keys.
    fn enter(&mut self, entry: &Entry) {
        let is_in = |directory: &Key| entry.key.is_within(directory.as_bytes());
        if self.empty.as_ref().is_some_and(is_in) {
            self.empty = None;
        }
        self.leave();
        let is_directory = entry.kind == EntryKind::Directory && !entry.key.is_root();
        self.empty = is_directory.then(|| entry.key.clone());
    }

    /// Nothing more comes that could lie in the directory that nothing was found in.
    fn leave(&mut self) {
        self.empty_directories += u64::from(self.empty.take().is_some());
    }
}

/// The SHA-256 that a row tells of a file of the payload, or why it can't be listed.
fn vouched<'r>(
    entry: &Entry,
    row: Option<&'r Row>,
    trust: Trust,
) -> Result<&'r [u8; 32], &'static str> {
    if entry.kind != EntryKind::File {
        return Err("a bag holds files and directories alone: remove it");
    }
    let stands = |row: &&Row| {
        row.kind == EntryKind::File && entry.stamp.compare(&row.target, trust) == Likeness::Same
    };
    let Some(row) = row else {
        return Err("no run into this bag brought it there: remove it, or run with --delete");
    };
    if std::str::from_utf8(entry.key.as_bytes()).is_err() {
        return Err("its name is not UTF-8: remove it");
    }
    let row = Some(row).filter(stands).ok_or(
        "it changed since it was copied: if the source has it, run again; else remove it, or run \
         with --delete",
    )?;
    row.extra.sha256.as_ref().ok_or("no SHA-256 of it is recorded: remove it, or run with --delete")
}

fn unvouched(key: Key, cause: Cause) -> EntryError {
    EntryError { operation: Operation::Vouch, side: Side::Target, key, cause }
}

/// Writes a path as manifests have it (RFC 8493, section 2.1.3).
fn escape(path: &[u8], out: &mut Vec<u8>) {
    for byte in path {
        match byte {
            b'\n' => out.extend_from_slice(b"%0A"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'%' => out.extend_from_slice(b"%25"),
            byte => out.push(*byte),
        }
    }
}

/// What of a `bag-info.txt` is not written here: elements with the lines that continue them.
fn without_labels(info: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(info.len());
    let mut is_ours = false;
    for line in info.split_inclusive(|byte| *byte == b'\n') {
        let continues = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if !continues {
            let label = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
            is_ours = LABELS.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(label));
        }
        if !is_ours {
            kept.extend_from_slice(line);
        }
    }
    if kept.last().is_some_and(|last| *last != b'\n') {
        kept.push(b'\n');
    }
    kept
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes())
}

/// A tag file under way.
struct TagFile<'b> {
    name: &'static str,
    file: WholeFile<'b>,
    sha256: Context,
}

impl<'b> TagFile<'b> {
    fn begin(bag: &'b Bag, name: &'static str) -> Result<Self, Error> {
        let place = match bag.target.look(&key(name)) {
            Ok(None) => Ok(Place::New),
            Ok(Some(found)) if found.kind == EntryKind::Directory => Err(Cause::DirectoryInTheWay),
            Ok(Some(_)) => Ok(Place::Leaf),
            Err(cause) => Err(cause),
        };
        let file =
            place.and_then(|place| WholeFile::begin(&bag.target, key(name), place, bag.mode));
        let file = file.map_err(|cause| cannot_write(name, cause))?;
        Ok(Self { name, file, sha256: Context::new(&SHA256) })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.sha256.update(chunk);
        self.file.write(chunk).map_err(|cause| cannot_write(self.name, cause))
    }

    /// Puts it in its place, durably; gives its SHA-256.
    fn publish(self) -> Result<String, Error> {
        self.file.publish().map_err(|cause| cannot_write(self.name, cause))?;
        Ok(Hex(self.sha256.finish().as_ref()).to_string())
    }
}

fn cannot_write(name: &str, cause: Cause) -> Error {
    Error::new(ErrorKind::Unusable, format!("cannot write the bag's \"{name}\"")).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_the_standard_says_and_no_further() {
        let mut out = Vec::new();
        escape("100% of\r\nnaïve\\ %0A".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "100%25 of%0D%0Anaïve\\ %250A");
    }

    #[test]
    fn what_somebody_wrote_of_a_bag_stays() {
        for (before, after) in [
            ("", ""),
            ("Contact-Name: Ada", "Contact-Name: Ada\n"),
            (
                "Payload-Oxum: 1.1\nExternal-Description: a\n  Payload-Oxum: no\nbagging-date :x\n\t2\n",
                "External-Description: a\n  Payload-Oxum: no\n",
            ),
            ("Bag-Software-Agent: a\r\n b\r\nBag-Size: 1\r\n", "Bag-Size: 1\r\n"),
            ("Payload-Oxums: 1\n", "Payload-Oxums: 1\n"),
        ] {
            assert_eq!(without_labels(before.as_bytes()), after.as_bytes(), "{before}");
        }
    }
}
