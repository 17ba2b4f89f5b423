//! The tag files of a bag: its metadata and manifests.

use super::{
    Bag, CHUNK, DECLARATION, INFO, MANIFEST, Payload, TAG_MANIFEST, Unreadable, leaves_out,
    unvouched,
};
use crate::backend::{KeySpace, ListItem, ListOptions, Precondition, ReadError, Reading};
use crate::filter::{Filter, Rule};
use crate::manifest::bag::PAYLOAD;
use crate::model::hex::Hex;
use crate::model::{Cause, EntryKind, Error, ErrorKind, Key, Metadata, Notice};
use crate::session::atomic_file::AtomicFile;
use crate::session::mirror::Session;
use crate::session::wall_clock;
use ring::digest::{Context, SHA256};
use std::sync::Arc;

/// Labels that are written to `bag-info.txt`; everything else in it is the user's.
const LABELS: [&str; 3] = ["Payload-Oxum", "Bagging-Date", "Bag-Software-Agent"];
/// Maximum size of a `bag-info.txt` in bytes.
pub(super) const LONGEST_INFO: u64 = 1 << 20;

impl Bag {
    /// Lists the user's own tag files, unchanged. Returns false if one can't be listed.
    pub(super) fn list_others(
        &self,
        session: &Session<'_>,
        out: &mut TagFile<'_>,
        unreadable: &mut Unreadable,
    ) -> Result<bool, Error> {
        let payload = [Rule::Exclude(format!("/{PAYLOAD}/"))];
        let filter = Filter::new(&payload, None, None).map_err(|error| {
            Error::new(ErrorKind::Unusable, "cannot list the bag's tag files").because(error)
        })?;
        let others =
            ListOptions { filter: Arc::new(filter), only: None, key_space: KeySpace::Tree };
        let (mut buffer, mut is_whole) = (vec![0; CHUNK], true);
        let mut fail = |error| {
            session.fail(error);
            is_whole = false;
        };
        for item in self.target.list(&others)? {
            let entry = match item? {
                ListItem::Entry(entry) => entry,
                ListItem::Failed(error) | ListItem::BrokeOff(error) => {
                    fail(error);
                    continue;
                }
                ListItem::Leftover(_)
                | ListItem::LeftOut(..)
                | ListItem::MountPoint(_)
                | ListItem::Excluded(_)
                | ListItem::Ignores(..) => continue,
            };
            let ours = [DECLARATION, INFO, MANIFEST, TAG_MANIFEST].map(str::as_bytes);
            if entry.kind == EntryKind::Directory || ours.contains(&entry.key.as_bytes()) {
                continue;
            }
            let is_no_file = || (entry.kind != EntryKind::File).then_some("it is not a file");
            if let Some(why) = leaves_out(&entry).or_else(is_no_file) {
                session.notice(Notice::TagFileLeftOut { key: entry.key, cause: why.to_owned() });
                continue;
            }
            let mut sha256 = Context::new(&SHA256);
            let read = self.target.read(&entry, &mut buffer, &mut |reading| {
                if session.stop.requested() {
                    return Err(Cause::Stopped);
                }
                let Reading::Content(piece) = reading else { return Ok(()) };
                piece.bytes(&mut |chunk| {
                    sha256.update(chunk);
                    Ok(())
                })
            });
            let cause = match read {
                Ok(()) => {
                    let mut line = format!("{}  ", Hex(sha256.finish().as_ref())).into_bytes();
                    escape(entry.key.as_bytes(), &mut line);
                    line.push(b'\n');
                    out.write(&line)?;
                    unreadable.check(&entry.key);
                    continue;
                }
                Err(ReadError::Sink(Cause::Stopped)) => return Ok(false),
                Err(ReadError::Changed) => Cause::Changed { attempts: 1 },
                Err(
                    ReadError::Source(cause) | ReadError::Damaged(cause) | ReadError::Sink(cause),
                ) => cause,
            };
            fail(unvouched(entry.key, cause));
        }
        Ok(is_whole)
    }

    /// Writes `bag-info.txt`, keeping what the user wrote.
    pub(super) fn write_info(&self, found: &Payload) -> Result<String, Error> {
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

    /// Writes a tag file. Returns its SHA-256.
    pub(super) fn write(&self, name: &'static str, content: &[u8]) -> Result<String, Error> {
        let mut file = TagFile::begin(self, name)?;
        file.write(content)?;
        file.publish()
    }
}

/// Escapes a path for a manifest (RFC 8493, section 2.1.3).
pub(super) fn escape(path: &[u8], out: &mut Vec<u8>) {
    for byte in path {
        match byte {
            b'\n' => out.extend_from_slice(b"%0A"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'%' => out.extend_from_slice(b"%25"),
            byte => out.push(*byte),
        }
    }
}

/// Returns the elements of a `bag-info.txt` that are not written here, with their continuation
/// lines.
fn without_labels(info: &[u8]) -> Vec<u8> {
    // A byte-order mark is not allowed in tag files in UTF-8 (RFC 8493).
    let info = info.strip_prefix("\u{feff}".as_bytes()).unwrap_or(info);
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

pub(super) fn key(name: &str) -> Key {
    Key::new(name.as_bytes())
}

/// A tag file being written.
pub(super) struct TagFile<'b> {
    name: &'static str,
    file: AtomicFile<'b>,
    sha256: Context,
}

impl<'b> TagFile<'b> {
    pub(super) fn begin(bag: &'b Bag, name: &'static str) -> Result<Self, Error> {
        let mut mode = bag.mode;
        let place = match bag.target.look(&key(name)) {
            Ok(None) => Ok(Precondition::Absent),
            Ok(Some(found)) if found.kind == EntryKind::Directory => Err(Cause::DirectoryStands),
            Ok(Some(found)) => {
                if found.kind == EntryKind::File {
                    mode = found.metadata.mode & 0o777;
                }
                Ok(Precondition::Leaf)
            }
            Err(cause) => Err(cause),
        };
        let metadata = Metadata {
            mode,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: wall_clock(),
        };
        let file =
            place.and_then(|place| AtomicFile::begin(&*bag.target, key(name), place, metadata));
        let file = file.map_err(|cause| cannot_write(name, cause))?;
        Ok(Self { name, file, sha256: Context::new(&SHA256) })
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.sha256.update(chunk);
        self.file.write(chunk).map_err(|cause| cannot_write(self.name, cause))
    }

    /// Publishes the file durably. Returns its SHA-256.
    pub(super) fn publish(self) -> Result<String, Error> {
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
    fn paths_are_escaped_as_the_standard_requires_and_no_further() {
        let mut out = Vec::new();
        escape("100% of\r\nnaïve\\ %0A".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "100%25 of%0D%0Anaïve\\ %250A");
    }

    #[test]
    fn elements_that_the_user_wrote_are_kept() {
        for (before, after) in [
            ("", ""),
            ("Contact-Name: Ada", "Contact-Name: Ada\n"),
            (
                "Payload-Oxum: 1.1\nExternal-Description: a\n  Payload-Oxum: no\nbagging-date :x\n\t2\n",
                "External-Description: a\n  Payload-Oxum: no\n",
            ),
            ("Bag-Software-Agent: a\r\n b\r\nBag-Size: 1\r\n", "Bag-Size: 1\r\n"),
            ("Payload-Oxums: 1\n", "Payload-Oxums: 1\n"),
            ("\u{feff}Contact-Name: Ada\n", "Contact-Name: Ada\n"),
            ("\u{feff}Payload-Oxum: 1.1\n", ""),
        ] {
            assert_eq!(without_labels(before.as_bytes()), after.as_bytes(), "{before}");
        }
    }
}
