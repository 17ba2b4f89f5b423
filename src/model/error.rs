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
    /// Putting a finished file in its place.
    Publish,
    /// Setting mode, owner, group or times.
    SetMetadata,
    /// Setting the time of a directory again, which entries made in it changed.
    KeepTime,
    /// Removing an entry.
    Delete,
    /// Making what was written durable.
    Sync,
    /// Deciding: the entry can't be mirrored as it stands.
    Mirror,
    /// Comparing content with its recorded digest.
    Verify,
    /// Declaring it a part of a bag.
    Vouch,
}

impl Operation {
    /// The verb of a message: "cannot *read* …".
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::MakeDirectory => "make directory",
            Self::MakeLink => "make symbolic link",
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
    /// Where entries come from.
    Source,
    /// Where they go.
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

/// Why an entry failed. As data it is a code, which stays the same from release to release, and what
/// the code says it of.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", content = "data", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The system refused.
    #[error("{0}")]
    #[serde(with = "io_error")]
    Io(#[source] Arc<io::Error>),
    /// It was listed, and gone when it was to be read.
    #[error("vanished while the run was going on")]
    Vanished,
    /// Each attempt to read it met a change of size, mtime or ctime.
    #[error("changed while it was read ({attempts} attempt{})", if *attempts == 1 { "" } else { "s" })]
    Changed {
        /// How often it was read.
        attempts: u32,
    },
    /// It has more or fewer bytes than its size says, and nothing changed: what a kernel makes up when
    /// it is read, as in /proc and /sys.
    #[error(
        "its size is listed as {size} bytes, and it has another number, as files in /proc and /sys \
         have: such files can't be copied"
    )]
    NotItsSize {
        /// The size that was listed.
        size: u64,
    },
    /// It is no file, directory or symbolic link.
    #[error("is a {0}; special files are not copied")]
    Special(EntryKind),
    /// The target's entry is not the one that was listed.
    #[error("the target's entry changed while the run was going on")]
    TargetChanged,
    /// The target could not be listed here, so that what it holds is unknown.
    #[error("the target could not be listed here")]
    TargetUnknown,
    /// A directory that holds entries stands where a file or link belongs, and nothing is to be
    /// deleted.
    #[error("a directory that is not empty stands in its place")]
    DirectoryInTheWay,
    /// A directory stands where a file or link belongs, and is not removed for it.
    #[error("a directory stands in its place")]
    DirectoryStands,
    /// A directory stands where a file or link belongs that could not be removed for it: a filter hides
    /// entries of the target.
    #[error(
        "a directory stands in its place that is not empty: it holds what is excluded and so \
         protected, or what was made in it meanwhile"
    )]
    DirectoryProtected,
    /// A directory stands where a file or link belongs, and all deletions were refused.
    #[error("a directory stands in its place that would be deleted, and deletions were refused")]
    DeletionRefused,
    /// A directory stands where a file or link belongs, and all deletions wait.
    #[error(
        "a directory stands in its place that would be deleted, and deletions wait for a run in \
         which no copy fails"
    )]
    DeletionWaits,
    /// A directory that was to be removed holds something.
    #[error(
        "it is not empty: something was made in it since it was listed, or its listing leaves out what \
         it holds"
    )]
    NotEmpty,
    /// It has the name of a temporary, and can't be one.
    #[error(
        "it has the name of a temporary, but is none that vidimus made: look at it, then remove or \
         rename it"
    )]
    NoTemporary,
    /// A leaf stands where a directory belongs, and the options protect it.
    #[error("a file stands in its place that the options leave alone")]
    LeafInTheWay,
    /// The directory that would hold it could not be made.
    #[error("its directory could not be made")]
    NoParent,
    /// One key is a file and a directory at once.
    #[error("is a file and a directory at once, and a directory holds only one of them")]
    LeafAndDirectory,
    /// The directory that holds it takes new entries, and renames and removes none.
    #[error("its directory is append-only, so that nothing can be put in its place there")]
    AppendOnly,
    /// The name is kept for vidimus's own temporary files.
    #[error("its name is kept for vidimus's own temporary files")]
    ReservedName,
    /// The name can't exist in a directory.
    #[error(
        "a directory cannot hold this name (empty, \".\", \"..\", with a NUL, or of more than 255 \
         bytes)"
    )]
    IllegalName,
    /// A fault in words, with a way out.
    #[error("{message}")]
    Advised {
        /// What is wrong.
        message: String,
        /// The way out.
        help: Hint,
    },
    /// The target's file system takes no such name.
    #[error("the target's file system takes no name that {0}")]
    NameRefused(NameLimit),
    /// Another entry appeared under this name since the target was listed, or two keys fold to one
    /// name there.
    #[error(
        "another entry stands under this name: made since the listing, or the target folds two names \
         to one"
    )]
    NameTaken,
    /// What the target keeps is not what was asked.
    #[error("the target does not keep {0}")]
    NotKept(String),
    /// Its content isn't what was recorded with it.
    #[error("its content is not what was recorded with it: BLAKE3 {found}, recorded {recorded}")]
    OtherDigest {
        /// The digest recorded.
        recorded: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// A source's content isn't what was recorded, though nothing else says that it changed.
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
    /// Its content isn't what its store has.
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
        /// Bytes that arrived.
        written: u64,
        /// Bytes that were to arrive.
        expected: u64,
    },
    /// The run was asked to stop; the entry is as it was.
    #[error("the run was stopped")]
    Stopped,
    /// The place refused, in its own words, and would refuse every other entry too.
    #[error("{message}")]
    Lost {
        /// What it said.
        message: String,
        /// The way out.
        help: Hint,
    },
    /// A store did not do it, in its own words.
    #[error("{message}")]
    Store {
        /// What these mean.
        trouble: Trouble,
        /// What it said.
        message: String,
        /// The way out, where there is one.
        help: Option<Hint>,
    },
    /// A store did not take the marker of a directory, in words that may mean that it takes none.
    #[error("{0}")]
    MarkerRefused(#[source] Box<Cause>),
    /// What is to be read at once is no file, or one that is larger than that.
    #[error("a {kind} of {size} bytes")]
    NoSmallFile {
        /// What it is.
        kind: EntryKind,
        /// How many bytes it has.
        size: u64,
    },
    /// A fault in words.
    #[error("{0}")]
    Other(String),
}

/// What a store's word means: whether to ask for a right, for patience, or for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trouble {
    /// What was asked for, or asked of, is not there.
    Missing,
    /// The credentials are not those that it takes.
    Denied,
    /// It can't be reached, or the connection broke off.
    Network,
    /// It asks for fewer requests.
    Throttled,
    /// It failed.
    Unavailable,
    /// What came, or arrived, is not what was sent.
    Damaged,
    /// Anything else.
    Refused,
}

impl Cause {
    /// Its code, by which programs know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Vanished => "vanished",
            Self::Changed { .. } => "changed",
            Self::NotItsSize { .. } => "not_its_size",
            Self::Special(_) => "special",
            Self::TargetChanged => "target_changed",
            Self::TargetUnknown => "target_unknown",
            Self::DirectoryInTheWay => "directory_in_the_way",
            Self::DirectoryStands => "directory_stands",
            Self::DirectoryProtected => "directory_protected",
            Self::DeletionRefused => "deletion_refused",
            Self::DeletionWaits => "deletion_waits",
            Self::NotEmpty => "not_empty",
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

    /// The way out, where the place that failed tells one.
    pub fn help(&self) -> Option<&Hint> {
        match self {
            Self::Lost { help, .. } => Some(help),
            Self::Store { help, .. } => help.as_ref(),
            Self::MarkerRefused(cause) => cause.help(),
            _ => None,
        }
    }

    /// The way out that the cause itself has, wherever it happens.
    pub fn way_out(&self) -> Option<Hint> {
        use Setting::{AcceptSilentChanges, Delete, DeleteExcluded, Exclude, NoMarkers};
        Some(match self {
            Self::NotItsSize { .. } => hint!["leave it out by ", Exclude],
            Self::DirectoryInTheWay => hint![Delete, " deletes what only the target has"],
            Self::DirectoryProtected => hint![DeleteExcluded, " deletes what is excluded, too"],
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
                hint!["if it takes no markers of directories, ", NoMarkers, " writes none"]
            }
            Self::Advised { help, .. } => help.clone(),
            _ => return None,
        })
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

/// An error of one entry (or, where the key is a directory's and the operation is
/// [`Operation::List`], of everything below it).
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("cannot {} {side} \"{key}\": {cause}", operation.verb())]
pub struct EntryError {
    /// What was being done.
    pub operation: Operation,
    /// On which side.
    pub side: Side,
    /// To which entry.
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

    /// Whether content of the source may be missing in the target because of it: something could not
    /// be listed, read or written. What only the target has may be the last copy of just that, under
    /// an older name.
    pub fn is_failed_copy(&self) -> bool {
        match self.operation {
            Operation::List => self.side == Side::Source,
            Operation::Read
            | Operation::Write
            | Operation::MakeDirectory
            | Operation::MakeLink
            | Operation::Publish
            | Operation::Sync => true,
            // A special file has no content, and of an entry that lacks metadata it is there.
            Operation::Mirror => !matches!(self.cause, Cause::Special(_) | Cause::NotKept(_)),
            Operation::SetMetadata
            | Operation::KeepTime
            | Operation::Delete
            | Operation::Verify
            | Operation::Vouch => false,
        }
    }
}

/// A system's error as data: its number, where it has one, and its text.
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

/// What a fatal error means to the caller; the command line turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// What was asked makes no sense.
    Usage,
    /// The manifest or state can't be used.
    Manifest,
    /// The published manifest, or a part of it, is not what it should be, or is gone: it can be
    /// published anew.
    Damaged,
    /// A newer version made the published manifest.
    Newer,
    /// The published manifest isn't signed as is demanded.
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
    /// What it means to the caller.
    pub kind: ErrorKind,
    /// What happened, to what: a lower-case fragment.
    pub message: String,
    /// A way out, where there is one.
    pub help: Option<Hint>,
    /// The system's or a library's word.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// What it tells, as data.
    pub fn report(&self) -> ErrorReport {
        ErrorReport { code: self.kind, error: self.sentence(), help: self.help.clone() }
    }

    /// Makes an error of `kind` without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None, source: None }
    }

    /// Makes the error of a place that can't be used, of what an entry would have failed with.
    pub fn unusable(message: impl Into<String>, cause: Cause) -> Self {
        let help = cause.help().cloned().or_else(|| cause.way_out());
        Self { help, ..Self::new(ErrorKind::Unusable, message).because(cause) }
    }

    /// Adds the cause; the command line prints it behind the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<Hint>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a fatal error or a refusal tells, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What it means to the caller.
    #[serde(rename = "error_code")]
    pub code: ErrorKind,
    /// What happened, to what, and why.
    pub error: String,
    /// A way out, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<Hint>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SpecialKind;

    /// One of each cause. Without a new one in it this doesn't compile.
    fn causes() -> Vec<Cause> {
        let first = io::Error::from_raw_os_error(13).into();
        std::iter::successors(Some(first), following).collect()
    }

    fn following(cause: &Cause) -> Option<Cause> {
        let (recorded, found) = (Digest([1; 32]), Digest([2; 32]));
        Some(match cause {
            Cause::Io(_) => Cause::Vanished,
            Cause::Vanished => Cause::Changed { attempts: 3 },
            Cause::Changed { .. } => Cause::NotItsSize { size: 5 },
            Cause::NotItsSize { .. } => Cause::Special(EntryKind::Special(SpecialKind::Fifo)),
            Cause::Special(_) => Cause::TargetChanged,
            Cause::TargetChanged => Cause::TargetUnknown,
            Cause::TargetUnknown => Cause::DirectoryInTheWay,
            Cause::DirectoryInTheWay => Cause::DirectoryStands,
            Cause::DirectoryStands => Cause::DirectoryProtected,
            Cause::DirectoryProtected => Cause::DeletionRefused,
            Cause::DeletionRefused => Cause::DeletionWaits,
            Cause::DeletionWaits => Cause::NotEmpty,
            Cause::NotEmpty => Cause::NoTemporary,
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
        let mut told = Vec::new();
        for cause in causes() {
            let (code, sentence) = (cause.code(), cause.to_string());
            let key = Key::new(&b"a/\xff"[..]);
            let error = EntryError { operation: Operation::Read, side: Side::Source, key, cause };
            let value = serde_json::to_value(&error).unwrap();
            assert_eq!(value["cause"]["code"], code);
            let back: EntryError = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(serde_json::to_value(&back).unwrap(), value, "{sentence}");
            told.push(value["cause"].to_string());
        }
        insta::assert_snapshot!(told.join("\n"));
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
