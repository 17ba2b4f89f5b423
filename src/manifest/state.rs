//! The state: one `SQLite` file a (source, target) pair in the user's state directory.
//!
//! [`State`] opens it and keeps the record of runs, [`Rows`] streams its rows in key order,
//! [`Writer`] puts rows a batch at a time; each on a connection of its own. It is the journal as
//! well: rows are put as outcomes become durable, so that a run after a crash is an ordinary run. In
//! WAL mode with `synchronous=NORMAL` (<https://sqlite.org/pragma.html#pragma_synchronous>) a power
//! cut may take the last batches but never mixes them, and a row is never older than what it says.
//!
//! Format version 1, in `SQLite`'s `user_version`; `application_id` says whose file it is. This
//! version reads and writes 1; a newer one is refused with an error, anything else that isn't whole
//! is damage: put aside, and begun anew.

use super::row::{self, COLUMNS, TABLE};
use crate::model::key::Escaped;
use crate::model::{Digest, Error, ErrorKind, Key, RunId, Timestamp, Totals, Verdict};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, ffi, params};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::row::{Origin, Row};

/// The format's version that this code reads and writes.
const VERSION: i64 = 1;
/// Whose files these are: "vdms" in ASCII.
const APPLICATION: i64 = 0x7664_6d73;
/// How many rows are read at a time: enough that a page's query costs little beside its rows, few
/// enough that a page is small even with the longest keys.
const PAGE: usize = 1024;
/// How long to wait for another connection: a checkpoint, or the other process of a verification.
const BUSY: Duration = Duration::from_secs(30);

/// What earlier runs of one (source, target) pair did.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    source: String,
    target: String,
    access: Access,
    connection: Connection,
}

/// A state opened for writing.
#[derive(Debug)]
pub struct Opened {
    /// The state.
    pub state: State,
    /// Where the one before it was put, when that was damaged and this one is new.
    pub set_aside: Option<PathBuf>,
}

/// A run's number in its state; rows name runs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunNumber(pub i64);

/// What tells a source's root from another one mounted in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIdentity {
    /// The inode of the root directory.
    pub inode: u64,
    /// The type of its file system: `f_type` of statfs(2).
    pub file_system: u64,
}

/// One run, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub number: RunNumber,
    /// Its id.
    pub id: RunId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs, or when it was killed.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// What it counted.
    pub totals: Option<Totals>,
    /// Its options, as the JSON that [`State::begin_run`] was given.
    pub options: String,
    /// The source's root, where the run's deletions were allowed.
    pub root: Option<RootIdentity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    /// Without looking for a log or taking `SQLite`'s locks, which would make files.
    Immutable,
}

/// Why a database can't be used.
enum Trouble {
    Damaged(String),
    Newer(i64),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        if is_corruption(&error) { Self::Damaged(error.to_string()) } else { Self::Failed(error) }
    }
}

/// Whether an error of this module says that the database is damaged, so that
/// [`State::set_aside`] helps.
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

/// Damage that `SQLite` doesn't see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damage(String);

impl State {
    /// Opens the state of a pair to read and write it; makes it, and the directory, where missing.
    /// The directory has mode 0700, the file 0600.
    ///
    /// `source` and `target` are canonical locations; what isn't UTF-8 in them is escaped by the
    /// caller, without loss. A damaged file is renamed to `<name>.damaged-<n>` and a new one begun.
    /// The caller holds the target's lock.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for a file of a newer version, or one that can't be made, opened or
    /// put aside.
    pub fn open(state_dir: &Path, source: &str, target: &str) -> Result<Opened, Error> {
        let path = path_of(state_dir, source, target);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|error| {
            let dir = Escaped(state_dir.as_os_str().as_bytes());
            Error::new(ErrorKind::Manifest, format!("cannot make the state directory \"{dir}\""))
                .because(error)
                .help("name another one with --state-dir")
        })?;
        match Self::open_or_begin(&path, source, target) {
            Ok(state) => Ok(Opened { state, set_aside: None }),
            Err(Trouble::Damaged(_)) => Self::replace(&path, source, target),
            Err(trouble) => Err(refusal(&path, trouble)),
        }
    }

    /// Opens the state of a pair to read it only: `None` when there is none. For a dry run: makes
    /// and changes no file.
    ///
    /// Without a write-ahead log the file is opened as immutable, which keeps `SQLite` from making
    /// any file beside it; a run that begins to write meanwhile (a dry run takes no lock) can then
    /// show as damage. With a log, left by a killed run or of one under way, it is read through it,
    /// by the index (`-shm`) that stands beside; `SQLite` may rebuild that index.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for a file of a newer version, a damaged one ([`is_damage`]), or one
    /// that can't be read.
    pub fn open_read_only(
        state_dir: &Path,
        source: &str,
        target: &str,
    ) -> Result<Option<Self>, Error> {
        let path = path_of(state_dir, source, target);
        let Some(state) = Self::read(&path)? else { return Ok(None) };
        if (state.source.as_str(), state.target.as_str()) != (source, target) {
            return Err(refusal(&path, Trouble::Damaged("it is another pair's".to_owned())));
        }
        Ok(Some(state))
    }

    /// Opens, to read it only, the state of the pair whose latest run into `target` is the newest
    /// of all sources: `None` when no run into it is recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when the state of any pair with this target can't be used: it could
    /// be the newest.
    pub fn latest_into(state_dir: &Path, target: &str) -> Result<Option<Self>, Error> {
        let listing = |error: io::Error| {
            let dir = Escaped(state_dir.as_os_str().as_bytes());
            Error::new(ErrorKind::Manifest, format!("cannot list the state directory \"{dir}\""))
                .because(error)
        };
        let names = match fs::read_dir(state_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(listing)?,
        };
        let prefix = format!("{}-", short_hash(target));
        let mut latest: Option<(RunRecord, Self)> = None;
        for name in names {
            let name = name.map_err(listing)?.file_name();
            let bytes = name.as_bytes();
            if !bytes.starts_with(prefix.as_bytes()) || !bytes.ends_with(b".sqlite3") {
                continue;
            }
            let Some(state) = Self::read(&plain(&state_dir.join(&name)))? else { continue };
            if state.target != target {
                continue;
            }
            // Ids sort by start.
            if let Some(run) = state.last_run()?
                && latest.as_ref().is_none_or(|(other, _)| run.id > other.id)
            {
                latest = Some((run, state));
            }
        }
        Ok(latest.map(|(_, state)| state))
    }

    /// Puts the file aside, as [`State::open`] does with a damaged one, and begins a new one: for
    /// damage that shows later. All [`Rows`] and [`Writer`]s of it are to be dropped before.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be renamed or a new one can't be made.
    pub fn set_aside(self) -> Result<Opened, Error> {
        let Self { path, source, target, connection, .. } = self;
        drop(connection);
        Self::replace(&path, &source, &target)
    }

    /// The source, as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The target, as it was given.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records that a run begins; `options` is JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn begin_run(
        &self,
        run: &RunId,
        started: Timestamp,
        options: &str,
    ) -> Result<RunNumber, Error> {
        let insert = "INSERT INTO runs (id, started, options) VALUES (?1, ?2, ?3)";
        self.connection
            .execute(insert, params![run.0, row::nanoseconds(started), options])
            .map_err(|error| self.failed("write", error))?;
        Ok(RunNumber(self.connection.last_insert_rowid()))
    }

    /// Records how a run ended. `root` identifies the source's root where the run's deletions were
    /// allowed, and only there.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn finish_run(
        &self,
        run: RunNumber,
        ended: Timestamp,
        verdict: Verdict,
        totals: &Totals,
        root: Option<RootIdentity>,
    ) -> Result<(), Error> {
        let json = |error: serde_json::Error| {
            Error::new(ErrorKind::Manifest, "cannot encode the run's record").because(error)
        };
        let totals = serde_json::to_string(totals).map_err(json)?;
        let root = root.map(|root| serde_json::to_string(&root)).transpose().map_err(json)?;
        let update = "UPDATE runs SET ended = ?2, verdict = ?3, totals = ?4, root = ?5 \
             WHERE number = ?1";
        let ended = row::nanoseconds(ended);
        self.connection
            .execute(update, params![run.0, ended, verdict.to_string(), totals, root])
            .map_err(|error| self.failed("write", error))?;
        Ok(())
    }

    /// The latest run, whether it ended or not.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be read.
    pub fn last_run(&self) -> Result<Option<RunRecord>, Error> {
        self.run_where("TRUE")
    }

    /// The totals of the latest run that went through all entries, to estimate by.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when they can't be read.
    pub fn last_finished_totals(&self) -> Result<Option<Totals>, Error> {
        let run = self.run_where("verdict IN ('complete', 'incomplete', 'refused')")?;
        Ok(run.and_then(|run| run.totals))
    }

    /// The source's root as it was in the latest run whose deletions were allowed.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be read.
    pub fn last_allowed_root(&self) -> Result<Option<RootIdentity>, Error> {
        Ok(self.run_where("root IS NOT NULL")?.and_then(|run| run.root))
    }

    /// Streams the rows in key order. What a [`Writer`] commits meanwhile may show or not.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when the file can't be opened again.
    pub fn rows(&self) -> Result<Rows, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("read", error))?;
        Ok(Rows {
            path: self.path.clone(),
            connection,
            page: Vec::new().into_iter(),
            after: None,
            ended: false,
            skipped: 0,
        })
    }

    /// Begins to write rows. One writer at a time; others wait for its commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when the file can't be opened again.
    pub fn writer(&self) -> Result<Writer, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("write", error))?;
        Ok(Writer { path: self.path.clone(), connection, begun: false })
    }

    fn failed(&self, verb: &str, error: rusqlite::Error) -> Error {
        failed(&self.path, verb, error)
    }

    fn run_where(&self, condition: &str) -> Result<Option<RunRecord>, Error> {
        latest_run(&self.connection, condition).map_err(|error| self.failed("read", error))
    }

    /// Opens the file, or begins a new one where there is none or nothing in it.
    fn open_or_begin(path: &Path, source: &str, target: &str) -> Result<Self, Trouble> {
        // SQLite gives the log and its index the mode of the file.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Trouble::Failed(cannot_open(&error))),
        }
        let mut connection = connect(path, Access::Write)?;
        let is_empty = pragma(&connection, "page_count")? == 0
            || pragma(&connection, "schema_version")? == 0
                && pragma(&connection, "application_id")? == 0;
        if is_empty {
            begin(&mut connection, source, target)?;
        }
        let (recorded_source, recorded_target) = check(&connection)?;
        if (recorded_source.as_str(), recorded_target.as_str()) != (source, target) {
            return Err(Trouble::Damaged("it is another pair's".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            access: Access::Write,
            connection,
        })
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Killed before anything was written to it.
            Ok(metadata) if metadata.len() == 0 && !has_log(path) => return Ok(None),
            _ => {}
        }
        let access = if has_log(path) { Access::Read } else { Access::Immutable };
        let open = || {
            let connection = connect(path, access)?;
            let (source, target) = check(&connection)?;
            Ok(Self { path: path.to_owned(), source, target, access, connection })
        };
        open().map(Some).map_err(|trouble| refusal(path, trouble))
    }

    fn replace(path: &Path, source: &str, target: &str) -> Result<Opened, Error> {
        let set_aside = put_aside(path).map_err(|error| {
            Error::new(ErrorKind::Manifest, format!("cannot put {} aside", named(path)))
                .because(error)
                .help("it is damaged; move it away, the next run compares everything")
        })?;
        let state =
            Self::open_or_begin(path, source, target).map_err(|trouble| refusal(path, trouble))?;
        Ok(Opened { state, set_aside: Some(set_aside) })
    }
}

/// The rows of a state, in key order.
///
/// They are read a page at a time, each page in a transaction of its own, so that the log doesn't
/// grow while a run goes on. Memory is bounded by a page of 1,024 rows.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    connection: Connection,
    page: std::vec::IntoIter<Row>,
    /// The last key read, decodable or not.
    after: Option<Vec<u8>>,
    ended: bool,
    skipped: u64,
}

impl Rows {
    /// How many rows were passed over because they can't be decoded: each costs a comparison of its
    /// entry as if it were new.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn turn_page(&mut self) -> rusqlite::Result<()> {
        let from = if self.after.is_some() { "key > ?1" } else { "key >= ?1" };
        let query = format!("SELECT {COLUMNS} FROM entries WHERE {from} ORDER BY key LIMIT {PAGE}");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = statement.query([self.after.as_deref().unwrap_or_default()])?;
        let mut page = Vec::with_capacity(PAGE);
        let mut count = 0;
        while let Some(row) = found.next()? {
            count += 1;
            let after = self.after.get_or_insert_default();
            after.clear();
            after.extend_from_slice(row.get_ref(0)?.as_bytes().unwrap_or_default());
            match row::decode(row) {
                Some(row) => page.push(row),
                None => self.skipped += 1,
            }
        }
        self.ended = count < PAGE;
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    /// The next row. After an error, nothing: that the rows ended is then not known.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.turn_page() {
                self.ended = true;
                return Some(Err(failed(&self.path, "read", error)));
            }
        }
    }
}

/// Puts rows, a batch at a time: what was put since the last [`Writer::commit`] is lost when the
/// writer is dropped.
///
/// Fastest in key order.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    begun: bool,
}

impl Writer {
    /// Puts a row in the place of any of its key.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn put(&mut self, row: &Row) -> Result<(), Error> {
        self.write(row::PUT, |statement| row::put(statement, row))
    }

    /// Removes a key's row, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn remove(&mut self, key: &Key) -> Result<(), Error> {
        self.write("DELETE FROM entries WHERE key = ?1", |statement| {
            statement.execute([key.as_bytes()])
        })
    }

    /// Records that a key's content at the target was found to have `digest`; a row that has none
    /// keeps it as observed ([`Origin::Adopted`]).
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn set_verified(
        &mut self,
        key: &Key,
        digest: &Digest,
        verified_at: Timestamp,
    ) -> Result<(), Error> {
        let update = "UPDATE entries SET verified_at = ?2, digest = coalesce(digest, ?3) \
             WHERE key = ?1";
        self.write(update, |statement| {
            let at = row::nanoseconds(verified_at);
            statement.execute(params![key.as_bytes(), at, &digest.0[..]])
        })
    }

    /// Ends the batch: what was put since the last commit is kept, all or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.begun) {
            self.connection
                .execute_batch("COMMIT")
                .map_err(|error| failed(&self.path, "write", error))?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        sql: &str,
        execute: impl FnOnce(&mut rusqlite::Statement<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), Error> {
        let begun = &mut self.begun;
        let connection = &self.connection;
        let run = || {
            if !*begun {
                connection.execute_batch("BEGIN IMMEDIATE")?;
                *begun = true;
            }
            execute(&mut *connection.prepare_cached(sql)?)
        };
        run().map_err(|error| failed(&self.path, "write", error))?;
        Ok(())
    }
}

/// Where a pair's file is: by target, then source, so that all of a target are found by prefix.
fn path_of(state_dir: &Path, source: &str, target: &str) -> PathBuf {
    let name = format!("{}-{}.sqlite3", short_hash(target), short_hash(source));
    plain(&state_dir.join(name))
}

/// Keeps a relative path from being read as a URI: the bundled `SQLite` takes `file:` for one.
fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// The first 64 bits of a BLAKE3, in hexadecimal. Two texts of one hash are told apart by what the
/// file says of itself.
fn short_hash(text: &str) -> String {
    let mut hash = blake3::hash(text.as_bytes()).to_hex().to_string();
    hash.truncate(16);
    hash
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn has_log(path: &Path) -> bool {
    // An empty log without an index says no more than no log; reading through it would make one.
    fs::metadata(with_suffix(path, "-wal"))
        .is_ok_and(|log| log.len() > 0 || with_suffix(path, "-shm").exists())
}

fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let common = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = match access {
        Access::Write => {
            Connection::open_with_flags(path, common | OpenFlags::SQLITE_OPEN_READ_WRITE)?
        }
        Access::Read => {
            Connection::open_with_flags(path, common | OpenFlags::SQLITE_OPEN_READ_ONLY)?
        }
        Access::Immutable => Connection::open_with_flags(
            immutable_uri(path),
            common | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_timeout(BUSY)?;
    if access == Access::Write {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    Ok(connection)
}

/// A path as `SQLite`'s URI (<https://sqlite.org/uri.html>): all but plain characters escaped.
fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut uri = "file:".to_owned();
    if path.is_absolute() {
        // An empty authority, else a path that begins with two slashes would name one.
        uri.push_str("//");
    }
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02x}").expect("a string takes all that is written to it");
        }
    }
    uri.push_str("?immutable=1");
    uri
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn begin(connection: &mut Connection, source: &str, target: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) \
             STRICT, WITHOUT ROWID;
         CREATE TABLE runs (
             number INTEGER PRIMARY KEY,
             id TEXT NOT NULL UNIQUE,
             started INTEGER NOT NULL,
             ended INTEGER,
             verdict TEXT,
             totals TEXT,
             options TEXT NOT NULL,
             root TEXT
         ) STRICT;",
    )?;
    transaction.execute_batch(TABLE)?;
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('source', ?1), ('target', ?2)",
        [source, target],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Checks what can be checked at once: whose file it is, its version and form, the latest run, the
/// first row and the last. Gives the pair it says it is of.
fn check(connection: &Connection) -> Result<(String, String), Trouble> {
    if pragma(connection, "application_id")? != APPLICATION {
        return Err(Trouble::Damaged("it is no file of vidimus".to_owned()));
    }
    let version = pragma(connection, "user_version")?;
    if version > VERSION {
        return Err(Trouble::Newer(version));
    }
    if version != VERSION {
        return Err(Trouble::Damaged(format!("it has the unknown version {version}")));
    }
    // From here on a table or column that is missing is damage too.
    let read = || -> rusqlite::Result<_> {
        let meta = |name: &str| {
            let query = "SELECT value FROM meta WHERE name = ?1";
            connection.query_row(query, [name], |row| row.get::<_, String>(0))
        };
        latest_run(connection, "TRUE")?;
        for order in ["ASC", "DESC"] {
            let query = format!("SELECT {COLUMNS} FROM entries ORDER BY key {order} LIMIT 1");
            connection.query_row(&query, [], |row| Ok(row::decode(row))).optional()?;
        }
        Ok((meta("source")?, meta("target")?))
    };
    read().map_err(|error| match &error {
        rusqlite::Error::QueryReturnedNoRows => {
            Trouble::Damaged("it doesn't say which pair it is of".to_owned())
        }
        rusqlite::Error::SqlInputError { msg, .. } => Trouble::Damaged(msg.clone()),
        other if other.sqlite_error_code() == Some(ffi::ErrorCode::Unknown) => {
            Trouble::Damaged(other.to_string())
        }
        _ => error.into(),
    })
}

fn latest_run(connection: &Connection, condition: &str) -> rusqlite::Result<Option<RunRecord>> {
    let query = format!(
        "SELECT number, id, started, ended, verdict, totals, options, root FROM runs \
         WHERE {condition} ORDER BY number DESC LIMIT 1"
    );
    let run = connection.query_row(&query, [], |row| {
        let verdict: Option<String> = row.get(4)?;
        Ok(RunRecord {
            number: RunNumber(row.get(0)?),
            id: RunId(row.get(1)?),
            started: row::timestamp(row.get(2)?),
            ended: row.get::<_, Option<i64>>(3)?.map(row::timestamp),
            verdict: verdict.map(|text| from_json(4, &format!("\"{text}\""))).transpose()?,
            totals: row.get::<_, Option<String>>(5)?.map(|t| from_json(5, &t)).transpose()?,
            options: row.get(6)?,
            root: row.get::<_, Option<String>>(7)?.map(|t| from_json(7, &t)).transpose()?,
        })
    });
    run.optional()
}

fn from_json<'a, T: Deserialize<'a>>(column: usize, text: &'a str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

/// Renames a file, and its log with it, to the first `<name>.damaged-<n>` that is free.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let aside = with_suffix(path, &format!(".damaged-{number}"));
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        fs::rename(path, &aside)?;
        rename_if_there(&with_suffix(path, "-wal"), &with_suffix(&aside, "-wal"))?;
        rename_if_there(&with_suffix(path, "-shm"), &with_suffix(&aside, "-shm"))?;
        return Ok(aside);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn named(path: &Path) -> String {
    format!("the state \"{}\"", Escaped(path.as_os_str().as_bytes()))
}

fn failed(path: &Path, verb: &str, error: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Manifest, format!("cannot {verb} {}", named(path))).because(error)
}

fn cannot_open(error: &io::Error) -> rusqlite::Error {
    let code = ffi::Error::new(ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

fn refusal(path: &Path, trouble: Trouble) -> Error {
    match trouble {
        Trouble::Failed(error) => failed(path, "open", error),
        Trouble::Damaged(how) => {
            Error::new(ErrorKind::Manifest, format!("{} is damaged", named(path)))
                .because(Damage(how))
                .help("the next mirror puts it aside and compares everything")
        }
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

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
