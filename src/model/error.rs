//! Errors, in two tiers: a per-entry error is data (recorded, counted, the run goes on), a fatal
//! error stops the run. Both name the operation, the key or location, and the cause.

use super::hint::hint;
use super::{Digest, EntryKind, Hint, Key, NameLimit, Setting};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// What was being done to an entry when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Listing a directory or looking at an entry.
    List,
    /// Reading content.
    Read,
    /// Writing content under its temporary name.
    Write,
    /// Making a directory.
    MakeDirectory,
    /// Making a symbolic link.
    MakeLink,
    /// Making a named pipe, a socket or a device.
    MakeSpecial,
    /// Giving a file another name (a hard link).
    Link,
    /// Putting a finished file in its place.
    Publish,
    /// Setting mode, owner, group or times.
    SetMetadata,
    /// Setting a directory's time again after entries in it were changed.
    KeepTime,
    /// Removing an entry.
    Delete,
    /// Making what was written durable.
    Sync,
    /// Deciding: the entry can't be mirrored as it is.
    Mirror,
    /// Comparing content with its recorded digest.
    Verify,
    /// Listing the entry as part of a bag.
    Vouch,
}

impl Operation {
    /// Returns the verb of a message: "cannot *read* …".
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::MakeDirectory => "make directory",
            Self::MakeLink => "make symbolic link",
            Self::MakeSpecial => "make special file",
            Self::Link => "link",
            Self::Publish => "put in place",
            Self::SetMetadata => "set metadata of",
            Self::KeepTime => "keep the time of",
            Self::Delete => "delete",
            Self::Sync => "sync",
            Self::Mirror => "mirror",
            Self::Verify => "verify",
            Self::Vouch => "vouch for",
        }
    }
}

/// Which side of a mirror an error happened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side that is copied from.
    Source,
    /// The side that is copied to.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Why an entry failed. Serialised as a code, which stays the same from release to release, and the
/// variant's data.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", content = "data", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A system call failed.
    #[error("{0}")]
    #[serde(with = "io_error")]
    Io(#[source] Arc<io::Error>),
    /// The entry was listed, but is gone.
    #[error("vanished during the run")]
    Vanished,
    /// A list names the entry, or something in it, and the source lacks it.
    #[error("is listed, it or something in it, but the source does not have it")]
    NotInSource,
    /// The size, mtime or ctime changed during each attempt to read it.
    #[error("changed while it was read ({attempts} attempt{})", if *attempts == 1 { "" } else { "s" })]
    Changed {
        /// How often it was read.
        attempts: u32,
    },
    /// The number of bytes read isn't the listed size, though nothing changed: the kernel generates
    /// such files when they are read, as in /proc and /sys.
    #[error(
        "it has more or fewer bytes than its listed size of {size}, as files in /proc and /sys have: \
         such files can't be copied"
    )]
    NotItsSize {
        /// The size as listed.
        size: u64,
    },
    /// It is a special file of a type that can't be made.
    #[error("is a {0}, which cannot be made")]
    Special(EntryKind),
    /// The target refuses special files of this kind: making devices takes a right that this
    /// process lacks, or the file system has none. Reported once a run, of the first.
    #[error(
        "it is a {kind}, and {}",
        refused(*kind, *others)
    )]
    SpecialRefused {
        /// The kind of the special file.
        kind: EntryKind,
        /// How many others of any kind were refused.
        others: u64,
    },
    /// The target's entry is not the one that was listed.
    #[error("the target's entry changed during the run")]
    TargetChanged,
    /// The target could not be listed at this key, so that its entries are unknown.
    #[error("the target could not be listed here")]
    TargetUnknown,
    /// A directory that isn't empty is in the place of a file or link, and deletion isn't enabled.
    #[error("a directory that is not empty is in its place")]
    DirectoryInTheWay,
    /// A directory is in the place of a file or link, and is not removed.
    #[error("a directory is in its place")]
    DirectoryStands,
    /// A directory in the place of a file or link could not be removed, because it isn't empty: a
    /// filter hides entries of the target.
    #[error(
        "a directory that is not empty is in its place: it holds entries that are excluded and so \
         protected, or that were made meanwhile"
    )]
    DirectoryProtected,
    /// A directory is in the place of a file or link, and all deletions were refused.
    #[error("a directory that would be deleted is in its place, and deletions were refused")]
    DeletionRefused,
    /// A directory is in the place of a file or link, and all deletions are postponed.
    #[error(
        "a directory that would be deleted is in its place, and deletions wait for a run in which no \
         copy fails"
    )]
    DeletionWaits,
    /// A directory that was to be deleted isn't empty.
    #[error(
        "it is not empty: something was made in it since it was listed, or its listing is incomplete"
    )]
    NotEmpty,
    /// A directory that was to be deleted is one on which a file system is mounted.
    #[error("a file system is mounted there, and what it holds is no part of the mirror")]
    MountPoint,
    /// It has the name of a temporary, but not the form of one.
    #[error(
        "it has the name of a temporary, but vidimus did not make it: check it, then remove or rename \
         it"
    )]
    NoTemporary,
    /// A leaf is in the place of a directory, and the options protect it.
    #[error("a file that the options protect is in its place")]
    LeafInTheWay,
    /// Its parent directory could not be made.
    #[error("its directory could not be made")]
    NoParent,
    /// A store has an object at this key and others below it.
    #[error("is a file and a directory at once, and a directory holds only one of them")]
    LeafAndDirectory,
    /// Its directory is append-only: entries can be created, but not renamed or removed.
    #[error("its directory is append-only, so that nothing can be put in its place there")]
    AppendOnly,
    /// The name is reserved for vidimus's temporary files.
    #[error("its name is reserved for vidimus's temporary files")]
    ReservedName,
    /// The name can't exist in a directory.
    #[error(
        "a directory cannot hold this name (empty, \".\", \"..\", with a NUL, or of more than 255 \
         bytes)"
    )]
    IllegalName,
    /// Another cause, as text, with a hint.
    #[error("{message}")]
    Advised {
        /// What is wrong.
        message: String,
        /// What to do about it.
        help: Hint,
    },
    /// The target's file system doesn't allow the name.
    #[error("the target's file system allows no name that {0}")]
    NameRefused(NameLimit),
    /// Another entry appeared under this name since the target was listed, or two keys fold to one
    /// name there.
    #[error(
        "another entry has this name: it was made since the listing, or the target treats two names \
         as one"
    )]
    NameTaken,
    /// The target did not keep metadata as set.
    #[error("the target does not keep {0}")]
    NotKept(String),
    /// The content doesn't have the digest recorded with it.
    #[error("its content is not what was recorded with it: BLAKE3 {found}, recorded {recorded}")]
    OtherDigest {
        /// The digest recorded.
        recorded: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// The source's content doesn't have the recorded digest, though its stamp is unchanged.
    #[error(
        "its content changed and its times did not, as on a failing disk: BLAKE3 {found}, recorded \
         {recorded}"
    )]
    SilentChange {
        /// The digest recorded.
        recorded: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// The content doesn't have the checksum that its store has recorded.
    #[error(
        "its content is not what the store has: CRC-64/NVME {found:016x}, the store's {recorded:016x}"
    )]
    OtherChecksum {
        /// The store's checksum.
        recorded: u64,
        /// The checksum of what was read.
        found: u64,
    },
    /// Fewer or more bytes were written than read.
    #[error("wrote {written} bytes of {expected}")]
    ShortWrite {
        /// Bytes written.
        written: u64,
        /// Bytes read.
        expected: u64,
    },
    /// The run was asked to stop; the entry is as it was.
    #[error("the run was stopped")]
    Stopped,
    /// The store or server refused in a way that every other entry would meet too.
    #[error("{message}")]
    Lost {
        /// Its message.
        message: String,
        /// What to do about it.
        help: Hint,
    },
    /// A request to a store failed.
    #[error("{message}")]
    Store {
        /// The class of the error.
        trouble: Trouble,
        /// The store's message.
        message: String,
        /// What to do about it, if known.
        help: Option<Hint>,
    },
    /// A store refused the marker of a directory, possibly because it supports none.
    #[error("{0}")]
    MarkerRefused(#[source] Box<Cause>),
    /// The entry to read into memory is not a file, or is too large.
    #[error("a {kind} of {size} bytes")]
    NoSmallFile {
        /// What kind of entry it is.
        kind: EntryKind,
        /// Its size in bytes.
        size: u64,
    },
    /// Another cause, as text.
    #[error("{0}")]
    Other(String),
}

/// Class of a store's error, which says what helps: other permissions, waiting, or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trouble {
    /// The object or bucket doesn't exist.
    Missing,
    /// The credentials are not accepted, or lack a permission.
    Denied,
    /// The store can't be reached, or the connection was lost.
    Network,
    /// The store asks for fewer requests.
    Throttled,
    /// The store failed.
    Unavailable,
    /// Data was corrupted in transit.
    Damaged,
    /// Anything else.
    Refused,
}

impl Cause {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Vanished => "vanished",
            Self::NotInSource => "not_in_source",
            Self::Changed { .. } => "changed",
            Self::NotItsSize { .. } => "not_its_size",
            Self::Special(_) => "special",
            Self::SpecialRefused { .. } => "special_refused",
            Self::TargetChanged => "target_changed",
            Self::TargetUnknown => "target_unknown",
            Self::DirectoryInTheWay => "directory_in_the_way",
            Self::DirectoryStands => "directory_stands",
            Self::DirectoryProtected => "directory_protected",
            Self::DeletionRefused => "deletion_refused",
            Self::DeletionWaits => "deletion_waits",
            Self::NotEmpty => "not_empty",
            Self::MountPoint => "mount_point",
            Self::NoTemporary => "no_temporary",
            Self::LeafInTheWay => "leaf_in_the_way",
            Self::NoParent => "no_parent",
            Self::LeafAndDirectory => "leaf_and_directory",
            Self::AppendOnly => "append_only",
            Self::ReservedName => "reserved_name",
            Self::IllegalName => "illegal_name",
            Self::NameRefused(_) => "name_refused",
            Self::NameTaken => "name_taken",
            Self::NotKept(_) => "not_kept",
            Self::OtherDigest { .. } => "other_digest",
            Self::SilentChange { .. } => "silent_change",
            Self::OtherChecksum { .. } => "other_checksum",
            Self::ShortWrite { .. } => "short_write",
            Self::Stopped => "stopped",
            Self::Lost { .. } => "lost",
            Self::Store { .. } => "store",
            Self::MarkerRefused(_) => "marker_refused",
            Self::NoSmallFile { .. } => "no_small_file",
            Self::Advised { .. } => "advised",
            Self::Other(_) => "other",
        }
    }

    /// Returns whether a system call was denied for want of a right.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Returns the hint of the store or server that failed, if it has one.
    pub fn help(&self) -> Option<&Hint> {
        match self {
            Self::Lost { help, .. } => Some(help),
            Self::Store { help, .. } => help.as_ref(),
            Self::MarkerRefused(cause) => cause.help(),
            _ => None,
        }
    }

    /// Returns the hint that applies to this cause in any place.
    pub fn way_out(&self) -> Option<Hint> {
        use Setting::{
            AcceptSilentChanges, Delete, DeleteExcluded, Exclude, NoMarkers, NoSpecials,
        };
        Some(match self {
            Self::NotItsSize { .. } | Self::Special(_) => hint!["leave it out by ", Exclude],
            Self::SpecialRefused { kind, .. } if kind.is_device() => {
                hint!["run as root, or leave special files out by ", NoSpecials]
            }
            Self::SpecialRefused { .. } => hint!["leave special files out by ", NoSpecials],
            Self::DirectoryInTheWay => hint![Delete, " deletes what only the target has"],
            Self::DirectoryProtected => hint![DeleteExcluded, " deletes what is excluded, too"],
            Self::MountPoint => hint!["unmount it, or leave it out by ", Exclude],
            Self::LeafAndDirectory => {
                hint!["rename one, or leave the directory out by ", Exclude]
            }
            Self::AppendOnly => {
                hint!["change that by chattr -a, or leave it out by ", Exclude]
            }
            Self::ReservedName | Self::IllegalName => {
                hint!["rename it, or leave it out by ", Exclude]
            }
            Self::NameRefused(_) => {
                hint!["rename it in the source, or leave it out by ", Exclude]
            }
            Self::NameTaken => {
                hint!["rename one of them on either side, or leave one out by ", Exclude]
            }
            Self::SilentChange { .. } => {
                hint!["if it is right as it is, mirror it with ", AcceptSilentChanges]
            }
            Self::MarkerRefused(_) => {
                hint!["if it accepts no markers of directories, ", NoMarkers, " writes none"]
            }
            Self::Advised { help, .. } => help.clone(),
            _ => return None,
        })
    }
}

/// Says why special files were refused, and how many others were.
fn refused(kind: EntryKind, others: u64) -> String {
    let why = if kind.is_device() { "only root makes devices" } else { "none can be made there" };
    match others {
        0 => why.to_owned(),
        1 => format!("{why}; 1 other special file is missing, too"),
        _ => format!("{why}; {others} other special files are missing, too"),
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// An error of one entry; if the key is a directory's and the operation is [`Operation::List`], of
/// everything below it.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("cannot {} {side} \"{key}\": {cause}", operation.verb())]
pub struct EntryError {
    /// What was being done.
    pub operation: Operation,
    /// The side it happened on.
    pub side: Side,
    /// The entry's key.
    #[serde(flatten, with = "super::serial::key")]
    pub key: Key,
    /// Why it failed.
    #[source]
    pub cause: Cause,
}

impl EntryError {
    /// Makes the error of an entry of one side.
    pub fn new(operation: Operation, side: Side, key: impl Into<Key>, cause: Cause) -> Self {
        Self { operation, side, key: key.into(), cause }
    }

    /// Makes the error of an entry of the source.
    pub fn on_source(operation: Operation, key: impl Into<Key>, cause: Cause) -> Self {
        Self::new(operation, Side::Source, key, cause)
    }

    /// Makes the error of an entry of the target.
    pub fn on_target(operation: Operation, key: impl Into<Key>, cause: Cause) -> Self {
        Self::new(operation, Side::Target, key, cause)
    }

    /// Returns whether content of the source may be missing in the target because of this error:
    /// something could not be listed, read or written. An entry that only the target has may then
    /// be the last copy of that content, under an older name.
    pub fn is_failed_copy(&self) -> bool {
        match self.operation {
            Operation::List => self.side == Side::Source,
            Operation::Read
            | Operation::Write
            | Operation::MakeDirectory
            | Operation::MakeLink
            | Operation::Link
            | Operation::Publish
            | Operation::Sync => true,
            // A special file has no content; an entry that merely lost metadata has been copied.
            Operation::Mirror => !matches!(
                self.cause,
                Cause::Special(_) | Cause::SpecialRefused { .. } | Cause::NotKept(_)
            ),
            Operation::MakeSpecial
            | Operation::SetMetadata
            | Operation::KeepTime
            | Operation::Delete
            | Operation::Verify
            | Operation::Vouch => false,
        }
    }
}

/// Serialises a system error as its number, if it has one, and its text.
mod io_error {
    use super::{Arc, Deserialize, Serialize, io};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Form {
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
        text: String,
    }

    pub(super) fn serialize<S: Serializer>(
        error: &io::Error,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Form { errno: error.raw_os_error(), text: error.to_string() }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<io::Error>, D::Error> {
        let Form { errno, text } = Form::deserialize(deserializer)?;
        Ok(errno.map_or_else(|| io::Error::other(text), io::Error::from_raw_os_error).into())
    }
}

/// The class of a fatal error; the command line turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense.
    Usage,
    /// The manifest or state can't be used.
    Manifest,
    /// The published manifest or a part of it is damaged or missing; a run can publish it anew.
    Damaged,
    /// A newer version of vidimus wrote the published manifest.
    Newer,
    /// The published manifest doesn't have the required signature.
    Untrusted,
    /// Another run holds the target.
    Locked,
    /// A guard refused.
    Refused,
    /// Source or target can't be used.
    Unusable,
}

/// An error that stops the run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The class of the error.
    pub kind: ErrorKind,
    /// What happened, to what: a lower-case fragment.
    pub message: String,
    /// A hint, if there is one.
    pub help: Option<Hint>,
    /// The underlying error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Returns the error as data.
    pub fn report(&self) -> ErrorReport {
        ErrorReport { code: self.kind, error: self.sentence(), help: self.help.clone() }
    }

    /// Makes an error of `kind` without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None, source: None }
    }

    /// Makes the error of a place that can't be used, from the cause of an entry's failure.
    pub fn unusable(message: impl Into<String>, cause: Cause) -> Self {
        let help = cause.help().cloned().or_else(|| cause.way_out());
        Self { help, ..Self::new(ErrorKind::Unusable, message).because(cause) }
    }

    /// Adds the underlying error; the command line prints it after the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<Hint>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A fatal error or a refusal, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The class of the error.
    #[serde(rename = "error_code")]
    pub code: ErrorKind,
    /// What happened, to what, and why.
    pub error: String,
    /// A hint, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<Hint>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SpecialKind;

    /// Returns one of each cause. It doesn't compile if a new one is missing.
    fn causes() -> Vec<Cause> {
        let first = io::Error::from_raw_os_error(13).into();
        std::iter::successors(Some(first), following).collect()
    }

    fn following(cause: &Cause) -> Option<Cause> {
        let (recorded, found) = (Digest([1; 32]), Digest([2; 32]));
        Some(match cause {
            Cause::Io(_) => Cause::Vanished,
            Cause::Vanished => Cause::NotInSource,
            Cause::NotInSource => Cause::Changed { attempts: 3 },
            Cause::Changed { .. } => Cause::NotItsSize { size: 5 },
            Cause::NotItsSize { .. } => Cause::Special(EntryKind::Special(SpecialKind::Fifo)),
            Cause::Special(kind) => Cause::SpecialRefused { kind: *kind, others: 2 },
            Cause::SpecialRefused { .. } => Cause::TargetChanged,
            Cause::TargetChanged => Cause::TargetUnknown,
            Cause::TargetUnknown => Cause::DirectoryInTheWay,
            Cause::DirectoryInTheWay => Cause::DirectoryStands,
            Cause::DirectoryStands => Cause::DirectoryProtected,
            Cause::DirectoryProtected => Cause::DeletionRefused,
            Cause::DeletionRefused => Cause::DeletionWaits,
            Cause::DeletionWaits => Cause::NotEmpty,
            Cause::NotEmpty => Cause::MountPoint,
            Cause::MountPoint => Cause::NoTemporary,
            Cause::NoTemporary => Cause::LeafInTheWay,
            Cause::LeafInTheWay => Cause::NoParent,
            Cause::NoParent => Cause::LeafAndDirectory,
            Cause::LeafAndDirectory => Cause::AppendOnly,
            Cause::AppendOnly => Cause::ReservedName,
            Cause::ReservedName => Cause::IllegalName,
            Cause::IllegalName => {
                Cause::Advised { message: "it is wrong".to_owned(), help: "mend it".into() }
            }
            Cause::Advised { .. } => Cause::NameRefused(NameLimit::Colon),
            Cause::NameRefused(_) => Cause::NameTaken,
            Cause::NameTaken => Cause::NotKept("owner 5".to_owned()),
            Cause::NotKept(_) => Cause::OtherDigest { recorded, found },
            Cause::OtherDigest { .. } => Cause::SilentChange { recorded, found },
            Cause::SilentChange { .. } => Cause::OtherChecksum { recorded: 1, found: u64::MAX },
            Cause::OtherChecksum { .. } => Cause::ShortWrite { written: 1, expected: 2 },
            Cause::ShortWrite { .. } => Cause::Stopped,
            Cause::Stopped => Cause::Lost { message: "m".to_owned(), help: "h".into() },
            Cause::Lost { .. } => {
                let (trouble, message) = (Trouble::Throttled, "slow down".to_owned());
                Cause::Store { trouble, message, help: None }
            }
            Cause::Store { .. } => Cause::MarkerRefused(Box::new(Cause::Vanished)),
            Cause::MarkerRefused(_) => Cause::NoSmallFile { kind: EntryKind::File, size: 9 },
            Cause::NoSmallFile { .. } => Cause::Other("what else".to_owned()),
            Cause::Other(_) => return None,
        })
    }

    #[test]
    fn errors_of_entries_have_codes_that_stay_and_come_back_as_they_were() {
        let mut errors = Vec::new();
        for cause in causes() {
            let (code, sentence) = (cause.code(), cause.to_string());
            let key = Key::new(&b"a/\xff"[..]);
            let error = EntryError { operation: Operation::Read, side: Side::Source, key, cause };
            let value = serde_json::to_value(&error).unwrap();
            assert_eq!(value["cause"]["code"], code);
            let back: EntryError = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(serde_json::to_value(&back).unwrap(), value, "{sentence}");
            errors.push(value["cause"].to_string());
        }
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn operations_sides_and_kinds_of_errors_have_codes_that_stay() {
        use Operation as O;
        let operations = [
            O::List,
            O::Read,
            O::Write,
            O::MakeDirectory,
            O::MakeLink,
            O::MakeSpecial,
            O::Link,
            O::Publish,
            O::SetMetadata,
            O::KeepTime,
            O::Delete,
            O::Sync,
            O::Mirror,
            O::Verify,
            O::Vouch,
        ];
        assert_eq!(O::Vouch as usize + 1, operations.len(), "all of them");
        let kinds = [
            ErrorKind::Usage,
            ErrorKind::Manifest,
            ErrorKind::Damaged,
            ErrorKind::Newer,
            ErrorKind::Untrusted,
            ErrorKind::Locked,
            ErrorKind::Refused,
            ErrorKind::Unusable,
        ];
        assert_eq!(ErrorKind::Unusable as usize + 1, kinds.len(), "all of them");
        let sides = [Side::Source, Side::Target];
        insta::assert_snapshot!(serde_json::to_string(&(operations, sides, kinds)).unwrap());
    }
}
