//! The state's database file: its path, and how it is opened, created, checked and put aside.

use super::journal::Journal;
use super::row::{self, ATTRIBUTES, LINKS, TABLE, TO_VERSION_5};
use super::runs::{self, latest_run};
use crate::model::hint::hint;
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, Setting};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, ffi};
use rustix::fs::statvfs;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format version that this code writes. Older versions are converted.
pub(super) const VERSION: i64 = 5;
/// The first version with one file for each target. Older ones had one for each pair of source and
/// target.
const FIRST_OF_TARGET: i64 = 4;
/// Keys that changed since the manifest was last published, and whether they had a row then.
const CHANGED: &str = "CREATE TABLE changed (
    key BLOB PRIMARY KEY NOT NULL,
    was_published INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";
/// The application id of the files: "vdms" in ASCII.
const APPLICATION: i64 = 0x7664_6d73;
/// How long to wait for another connection: for a checkpoint, or another process that verifies.
pub(super) const BUSY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
    /// Without looking for a log or taking `SQLite`'s locks, both of which would create files.
    Immutable,
}

/// Why a database can't be used.
pub(super) enum Trouble {
    Damaged(String),
    Newer(i64),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        if is_corruption(&error) { Self::Damaged(error.to_string()) } else { Self::Failed(error) }
    }
}

/// Returns whether an error of this module means that the database is damaged, so that
/// [`State::set_aside`](super::State::set_aside) helps.
pub fn is_damage(error: &Error) -> bool {
    let source = error.source.as_deref();
    source.and_then(|source| source.downcast_ref::<rusqlite::Error>()).is_some_and(is_corruption)
        || source.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Damage>)
}

fn is_corruption(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Sql;
    match error {
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::InvalidColumnType(..)
        | Sql::Utf8Error(..) => true,
        // A read past the end: the file is shorter than its header says.
        _ => match error.sqlite_error() {
            Some(error) => {
                matches!(error.code, ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase)
                    || error.extended_code == ffi::SQLITE_IOERR_SHORT_READ
            }
            None => false,
        },
    }
}

/// Damage that `SQLite` doesn't notice.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damage(pub(super) String);

/// Returns the path of a target's file.
pub(super) fn path_of(state_dir: &Path, target: &str) -> PathBuf {
    plain(&state_dir.join(format!("{}.sqlite3", short_hash(target))))
}

/// Prevents a relative path from being read as a URI: the bundled `SQLite` interprets `file:`.
pub(super) fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// Returns the first 64 bits of a text's BLAKE3 in hexadecimal. Texts with equal hashes are
/// distinguished by the content of the file.
pub(super) fn short_hash(text: &str) -> String {
    let mut hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    hash.truncate(16);
    hash
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns whether the file has a journal, so that it may be incomplete or inconsistent without it.
pub(super) fn has_journal(path: &Path) -> bool {
    has_log(path) || rollback_journal(path).is_some()
}

/// Returns whether the file has a journal that isn't empty.
pub(super) fn is_journaled(path: &Path) -> bool {
    has_log(path) || rollback_journal(path).is_some_and(|length| length > 0)
}

fn has_log(path: &Path) -> bool {
    // An empty log without an index has no content, and reading through it would create an index.
    fs::metadata(with_suffix(path, "-wal"))
        .is_ok_and(|log| log.len() > 0 || with_suffix(path, "-shm").exists())
}

/// Returns the length in bytes of the rollback journal, which is empty unless the file is being
/// written or was when a run was killed.
fn rollback_journal(path: &Path) -> Option<u64> {
    fs::metadata(with_suffix(path, "-journal")).ok().map(|journal| journal.len())
}

pub(super) fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let common = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match access {
        Access::Write => {
            Connection::open_with_flags(path, common | OpenFlags::SQLITE_OPEN_READ_WRITE)?
        }
        Access::Read => {
            // The first to open the file undoes what a killed run left half written.
            let rights = match rollback_journal(path) {
                None | Some(0) => OpenFlags::SQLITE_OPEN_READ_ONLY,
                Some(_) => OpenFlags::SQLITE_OPEN_READ_WRITE,
            };
            Connection::open_with_flags(path, common | rights)?
        }
        Access::Immutable => Connection::open_with_flags(
            immutable_uri(path),
            common | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_timeout(BUSY)?;
    if access == Access::Write {
        Journal::of(path).keep(&connection)?;
    }
    Ok(connection)
}

/// The bytes that are escaped in a path of a URI.
const NOT_PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// Formats a path as a URI for `SQLite` (<https://sqlite.org/uri.html>), escaping all but plain
/// characters.
pub(super) fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    if path.is_absolute() {
        // An empty authority: without it a path that begins with two slashes would name one.
        uri.push_str("//");
    }
    uri.extend(percent_encode(path.as_os_str().as_bytes(), NOT_PLAIN));
    uri.push_str("?immutable=1");
    uri
}

pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Creates the tables of a target's state, within a transaction.
pub(super) fn begin(transaction: &Connection, target: &str) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) \
             STRICT, WITHOUT ROWID;
         CREATE TABLE sources (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             name TEXT NOT NULL UNIQUE
         ) STRICT;
         CREATE TABLE runs (
             number INTEGER PRIMARY KEY,
             id TEXT NOT NULL UNIQUE,
             source INTEGER NOT NULL,
             started INTEGER NOT NULL,
             ended INTEGER,
             verdict TEXT,
             totals TEXT,
             options TEXT NOT NULL,
             root TEXT
         ) STRICT;",
    )?;
    transaction.execute_batch(TABLE)?;
    transaction.execute_batch(LINKS)?;
    transaction.execute_batch(ATTRIBUTES)?;
    transaction.execute_batch(CHANGED)?;
    transaction.execute("INSERT INTO meta (name, value) VALUES ('target', ?1)", [target])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

/// Does the quick checks: the file's owner, version and schema, the latest run, and the first and
/// last row. Returns the target recorded in the file.
pub(super) fn check(connection: &Connection) -> Result<String, Trouble> {
    let version = version(connection)?;
    if !(FIRST_OF_TARGET..=VERSION).contains(&version) {
        return Err(Trouble::Damaged(format!("it has the unknown version {version}")));
    }
    legible(|| {
        latest_run(connection, "TRUE")?;
        ends(connection, version)?;
        meta(connection, "target")
    })
}

/// Converts a file of a target that was [checked](check) to the current version, if it is older.
pub(super) fn upgrade(connection: &mut Connection) -> Result<(), Trouble> {
    if version(connection)? == VERSION {
        return Ok(connection.execute_batch(ATTRIBUTES)?);
    }
    legible(|| {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TO_VERSION_5)?;
        transaction.execute_batch(LINKS)?;
        transaction.execute_batch(ATTRIBUTES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()
    })
}

/// The source and the target that an older file of one pair names.
pub(super) struct NamedPair {
    pub(super) source: String,
    pub(super) target: String,
}

/// Does the same checks as [`check`] for an older file of one pair.
pub(super) fn check_pair(connection: &Connection) -> Result<NamedPair, Trouble> {
    let version = version(connection)?;
    if !(1..FIRST_OF_TARGET).contains(&version) {
        return Err(Trouble::Damaged(format!("it has the unknown version {version}")));
    }
    legible(|| {
        let query = format!("SELECT {} FROM runs ORDER BY number DESC LIMIT 1", runs::COLUMNS);
        connection.query_row(&query, [], |row| runs::decode(row, String::new())).optional()?;
        ends(connection, version)?;
        let (source, target) = (meta(connection, "source")?, meta(connection, "target")?);
        Ok(NamedPair { source, target })
    })
}

fn version(connection: &Connection) -> Result<i64, Trouble> {
    if pragma(connection, "application_id")? != APPLICATION {
        return Err(Trouble::Damaged("it is not a file of vidimus".to_owned()));
    }
    let version = pragma(connection, "user_version")?;
    if version > VERSION { Err(Trouble::Newer(version)) } else { Ok(version) }
}

/// Reads a value of the table `meta`.
fn meta(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
}

/// Reads the first and the last row.
fn ends(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    let columns = row::columns(version);
    for order in ["ASC", "DESC"] {
        let query = format!("SELECT {columns} FROM entries ORDER BY key {order} LIMIT 1");
        connection.query_row(&query, [], |row| Ok(row::decode(row))).optional()?;
    }
    Ok(())
}

/// Treats a missing table or column as damage, too.
fn legible<T>(read: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, Trouble> {
    read().map_err(|error| match &error {
        rusqlite::Error::QueryReturnedNoRows => {
            Trouble::Damaged("it does not name its target".to_owned())
        }
        rusqlite::Error::SqlInputError { msg, .. } => Trouble::Damaged(msg.clone()),
        other if other.sqlite_error_code() == Some(ffi::ErrorCode::Unknown) => {
            Trouble::Damaged(other.to_string())
        }
        _ => error.into(),
    })
}

/// Renames a file and its journal to the first unused `<name>.damaged-<n>`.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let aside = with_suffix(path, &format!(".damaged-{number}"));
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        fs::rename(path, &aside)?;
        for journal in ["-wal", "-shm", "-journal"] {
            rename_if_there(&with_suffix(path, journal), &with_suffix(&aside, journal))?;
        }
        return Ok(aside);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Builds the error for a damaged file that can't be [put aside](put_aside).
pub(super) fn cannot_put_aside(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Manifest, format!("cannot put {} aside", named(path)))
        .because(error)
        .help("it is damaged; move it away, and the next run compares everything")
}

pub(super) fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn named(path: &Path) -> String {
    format!("the state \"{}\"", Escaped(path.as_os_str().as_bytes()))
}

pub(super) fn failed(path: &Path, verb: &str, error: rusqlite::Error) -> Error {
    let message = format!("cannot {verb} {}", named(path));
    match &error {
        rusqlite::Error::SqliteFailure(code, _) if is_disk_s_fault(*code, path) => {
            Error::new(ErrorKind::Unusable, message).because(error).help(hint![
                "its disk is full or failing, or a quota is exceeded: make room, or name a \
                 directory on another disk with ",
                Setting::StateDir,
            ])
        }
        _ => Error::new(ErrorKind::Manifest, message).because(error),
    }
}

/// Returns whether a write to the disk of `path` failed for lack of space or because of the disk.
fn is_disk_s_fault(error: ffi::Error, path: &Path) -> bool {
    match error.code {
        ffi::ErrorCode::DiskFull => true,
        // A file could not be created; SQLite doesn't report the system's error.
        ffi::ErrorCode::CannotOpen => path
            .parent()
            .and_then(|dir| statvfs(dir).ok())
            .is_some_and(|found| found.f_bavail == 0 || found.f_files > 0 && found.f_favail == 0),
        _ => matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_FSYNC
                | ffi::SQLITE_IOERR_TRUNCATE
                | ffi::SQLITE_IOERR_SHMSIZE
        ),
    }
}

/// Builds the error for a state directory that can't be created.
pub(super) fn cannot_make(state_dir: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Unusable,
        _ => ErrorKind::Manifest,
    };
    let dir = Escaped(state_dir.as_os_str().as_bytes());
    Error::new(kind, format!("cannot make the state directory \"{dir}\""))
        .because(error)
        .help(hint!["name another one with ", Setting::StateDir])
}

pub(super) fn cannot_open(error: &io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ffi::SQLITE_FULL,
        _ => ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
}

pub(super) fn refusal(path: &Path, trouble: Trouble) -> Error {
    match trouble {
        Trouble::Failed(error) => failed(path, "open", error),
        Trouble::Damaged(how) => Error::new(
            ErrorKind::Manifest,
            format!("{} is damaged", named(path)),
        )
        .because(Damage(how))
        .help(
            "the next mirror puts it aside, and uses the manifest published in the target, or \
             compares everything",
        ),
        Trouble::Newer(version) => Error::new(
            ErrorKind::Manifest,
            format!(
                "{} has format version {version}; this vidimus knows versions up to {VERSION}",
                named(path)
            ),
        )
        .help("use the newer vidimus, or move the file away and compare everything"),
    }
}
