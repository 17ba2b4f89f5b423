//! The state: one `SQLite` file a (source, target) pair in the user's state directory.
//!
//! [`State`] opens it and keeps the record of runs, [`Rows`] streams its rows in key order,
//! [`Writer`] puts rows a batch at a time; each on a connection of its own. It is the journal as
//! well: rows are put as outcomes become durable, so that a run after a crash is an ordinary run. In
//! WAL mode with `synchronous=NORMAL` (<https://sqlite.org/pragma.html#pragma_synchronous>) a power
//! cut may take the last batches but never mixes them, and a row is never older than what it says.
//! Where that mode can't be trusted on a full disk it is a rollback journal (`journal`).
//!
//! Format version 3, in `SQLite`'s `user_version`; `application_id` says whose file it is. This
//! version writes 3 and reads 2, which had no digests but BLAKE3, and 1, which had no `changed`
//! either; a newer one is refused with an error, anything else that isn't whole is damage: put aside,
//! and begun anew.

use super::database::{
    Access, Trouble, begin, cannot_make, cannot_open, check, connect, failed, has_journal,
    is_journaled, named, path_of, plain, pragma, put_aside, refusal, short_hash, upgrade,
};
use super::row::{self, Row, RunNumber, Verified};
use super::runs::{RootIdentity, RunRecord, latest_run};
use crate::model::key::Escaped;
use crate::model::{Error, ErrorKind, Key, RunId, Stamp, Timestamp, Totals, Verdict};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The source of what was streamed from standard input. No other one has this name: paths are
/// absolute, and stores have URLs.
pub const STREAM: &str = "-";
/// The source of what was imported from a list of digests. It has no other name either.
pub const IMPORTED: &str = "a list of digests";
/// Pages of the log (of 4 KiB) before it is written back into the file: 32 MiB.
const LOG_PAGES: u32 = 8_192;

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
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
        made.map_err(|error| cannot_make(state_dir, error))?;
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
    /// by the index (`-shm`) that stands beside; `SQLite` may rebuild that index. With a rollback
    /// journal what a killed run wrote last is undone.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for a file of a newer version, a damaged one ([`is_damage`](super::is_damage)), or one
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
    /// of all sources: `None` when no run into it is recorded. What was streamed into it
    /// ([`STREAM`]) says nothing of the rest: it counts only where nothing was mirrored to it. What
    /// was imported ([`IMPORTED`]) counts once it is whole.
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
            // An import that did not come to its end published nothing.
            if state.target != target || state.source == IMPORTED && state.published()?.is_none() {
                continue;
            }
            let rank = |run: &RunRecord, state: &Self| (state.source != STREAM, run.started);
            if let Some(run) = state.last_run()?
                && latest.as_ref().is_none_or(|(other, its)| rank(&run, &state) > rank(other, its))
            {
                latest = Some((run, state));
            }
        }
        Ok(latest.map(|(_, state)| state))
    }

    /// Opens the file of this state anew, to record what is found of its rows
    /// ([`Writer::set_verified`]) while they are read. No lock keeps a run from writing to it at the
    /// same time: of two writers one waits for the other's commit, up to 30 s.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be opened for writing.
    pub fn for_recording(&self) -> Result<Self, Error> {
        let open = || {
            let connection = connect(&self.path, Access::Write)?;
            // SQLite opens what it may not write for reading alone.
            if connection.is_readonly(rusqlite::MAIN_DB)? {
                let error = io::Error::from(io::ErrorKind::PermissionDenied);
                return Err(cannot_open(&error));
            }
            Ok(connection)
        };
        Ok(Self {
            path: self.path.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            access: Access::Write,
            connection: open().map_err(|error| self.failed("write", error))?,
        })
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

    /// A run by its number, which rows name it by.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be read.
    pub fn run(&self, number: RunNumber) -> Result<Option<RunRecord>, Error> {
        self.run_where(&format!("number = {}", number.0))
    }

    /// The row of a key; one that can't be decoded is none.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be read.
    pub fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        let version = pragma(&self.connection, "user_version");
        let version = version.map_err(|error| self.failed("read", error))?;
        let query = format!("SELECT {} FROM entries WHERE key = ?1", row::columns(version));
        let found = self.connection.query_row(&query, [key.as_bytes()], |row| Ok(row::decode(row)));
        Ok(found.optional().map_err(|error| self.failed("read", error))?.flatten())
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
        self.rows_from(&Key::root())
    }

    /// [`State::rows`] from a key on.
    ///
    /// # Errors
    /// As those of [`State::rows`].
    pub fn rows_from(&self, first: &Key) -> Result<Rows, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("read", error))?;
        Ok(Rows::new(self.path.clone(), connection, first.as_bytes()))
    }

    /// Begins to write rows. One writer at a time; others wait for its commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when the file can't be opened again.
    pub fn writer(&self) -> Result<Writer, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("write", error))?;
        // What is rewritten often within a run is written back to the file once.
        connection
            .pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
            .map_err(|error| self.failed("write", error))?;
        // What was never published is published whole.
        let tracks = self.published()?.is_some();
        Ok(Writer { path: self.path.clone(), connection, begun: false, tracks })
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
        upgrade(&mut connection)?;
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
            Ok(metadata) if metadata.len() == 0 && !is_journaled(path) => return Ok(None),
            _ => {}
        }
        let access = if has_journal(path) { Access::Read } else { Access::Immutable };
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

/// Puts rows, a batch at a time: what was put since the last [`Writer::commit`] is lost when the
/// writer is dropped.
///
/// Fastest in key order.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    begun: bool,
    /// Whether it keeps which keys changed.
    tracks: bool,
}

impl Writer {
    /// Puts a row in the place of any of its key.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn put(&mut self, row: &Row) -> Result<(), Error> {
        self.track(&row.key)?;
        self.write(row::PUT, |statement| row::put(statement, row))
    }

    /// Removes a key's row, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn remove(&mut self, key: &Key) -> Result<(), Error> {
        self.track(key)?;
        self.write("DELETE FROM entries WHERE key = ?1", |statement| {
            statement.execute([key.as_bytes()])
        })
    }

    /// Records when a file was verified, where its row still is the one that it was held against.
    /// That is no change to be published: a publication takes it along with what did change.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn set_verified(&mut self, verified: &Verified) -> Result<(), Error> {
        self.write(row::VERIFY, |statement| row::verify(statement, verified))
    }

    /// Records that a file was mended, where its row still is the one that it was held against, and
    /// the stamp that the target has of it now.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn set_mended(&mut self, verified: &Verified, stands: &Stamp) -> Result<(), Error> {
        self.track(&verified.key)?;
        self.write(row::MEND, |statement| row::mend(statement, verified, stands))
    }

    /// Ends the batch: what was put since the last commit is kept, all or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.end("COMMIT")
    }

    /// Drops what was put since the last commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be written.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        self.end("ROLLBACK")
    }

    fn end(&mut self, sql: &str) -> Result<(), Error> {
        if std::mem::take(&mut self.begun) {
            self.connection
                .execute_batch(sql)
                .map_err(|error| failed(&self.path, "write", error))?;
        }
        Ok(())
    }

    /// Keeps that a key changes, and whether it had a row before.
    fn track(&mut self, key: &Key) -> Result<(), Error> {
        if !self.tracks {
            return Ok(());
        }
        let insert = "INSERT OR IGNORE INTO changed \
             VALUES (?1, EXISTS (SELECT 1 FROM entries WHERE key = ?1))";
        self.write(insert, |statement| statement.execute([key.as_bytes()]))
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

mod pages;
mod publication;
#[cfg(test)]
mod tests;

pub use pages::{Change, Changes, Rows};
