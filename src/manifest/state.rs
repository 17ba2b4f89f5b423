//! The state: one `SQLite` file for each target in the user's state directory.
//!
//! It has a row for each key, from whatever wrote it last: mirrors of several sources, of single
//! files, and streams. A [`State`] is opened for one source, whose runs it records. Methods about
//! "the source" refer to that one, all others to all sources.
//!
//! [`State`] opens the file and records runs, [`Rows`] streams its rows in key order, and
//! [`Writer`] puts rows in batches, each on a connection of its own. The state is also the journal:
//! rows are put when outcomes are durable, so that a run after a crash is an ordinary run. In WAL
//! mode with `synchronous=NORMAL` (<https://sqlite.org/pragma.html#pragma_synchronous>) a power cut
//! may lose the last batches but never mixes them, and a row is never older than its content says.
//! Where that mode isn't safe on a full disk, a rollback journal is used (`journal`).
//!
//! The format version is 5, in `SQLite`'s `user_version`; `application_id` identifies vidimus's
//! files. Version 4 lacks columns and a table, which the first run that writes adds; readers read
//! it as it is. Versions 1 to 3 had one file for each pair of source and target: the first run that
//! writes converts those of its target (`pairs`), and readers see the result of that conversion. A
//! newer version is refused with an error. Anything else that isn't valid is damage: the file is
//! put aside and a new one created.

use super::database::{
    Access, Trouble, VERSION, begin, cannot_make, cannot_open, cannot_put_aside, check, connect,
    failed, has_journal, is_journaled, path_of, pragma, put_aside, refusal, upgrade,
};
use super::row::{self, Row, RunNumber, SourceNumber};
use super::runs::{self, CutOff, RootIdentity, RunRecord, latest_run};
use crate::model::key::Escaped;
use crate::model::notice::Instead;
use crate::model::{Error, ErrorKind, GroupId, Key, Notice, RunId, Timestamp, Totals, Verdict};
use pairs::{Obstacle, Pair};
use rusqlite::{Connection, OptionalExtension as _, params};
use rustix::fs::FlockOperation;
use stamped::ByStamp;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The name of the source of streams from standard input. No other source has it: paths are
/// absolute, and stores have URLs.
pub const STREAM: &str = "-";
/// The name of the source of imported lists of digests, which is unique, too.
pub const IMPORTED: &str = "a list of digests";
/// Pages of the log (of 4 KiB) after which it is written back into the file: 32 MiB.
const LOG_PAGES: u32 = 8_192;
/// How long a writer waits for another connection.
const WRITER_PATIENCE: Duration = Duration::from_mins(15);
/// Whether a run was limited to the names of a list.
const IS_LISTED: &str = "(json_extract(options, '$.filter.is_listed') IS 1)";

/// The most rows of names of one file that are looked for. Each is of another file in the target,
/// if it could not be linked or can't have more names.
const NAMES: usize = 16;

/// What earlier runs into one target did, as seen by a run from one source.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    source: String,
    target: String,
    access: Access,
    connection: Connection,
    /// The temporary directory of a state that was converted from older files for reading only.
    scratch: Option<TempDir>,
    by_stamp: Cell<ByStamp>,
}

/// A state opened for writing.
#[derive(Debug)]
pub struct Opened {
    /// The state.
    pub state: State,
    /// The new path of the previous file, if that was damaged and a new one was created.
    pub set_aside: Option<PathBuf>,
    /// Whether the file existed but was empty: it was truncated, or the run that created it was
    /// killed at once.
    pub was_empty: bool,
}

impl Opened {
    /// That what was recorded before could not be used, where it couldn't, and what is done
    /// instead.
    pub fn lost(&self, instead: Option<Instead>) -> Option<Notice> {
        let aside = self.set_aside.as_ref();
        let set_aside = aside.map(|aside| Escaped(aside.as_os_str().as_bytes()).to_string());
        let is_lost = set_aside.is_some() || self.was_empty;
        is_lost.then_some(Notice::StateLost { set_aside, instead })
    }
}

impl State {
    /// Opens the state of a target for reading, and for writing on behalf of a source; creates it
    /// and its directory if missing. The directory has mode 0700, the file 0600.
    ///
    /// `source` and `target` are canonical locations in which the caller has escaped everything
    /// that isn't UTF-8 without loss. A damaged file is renamed to `<name>.damaged-<n>` and a new
    /// one created. Files of older versions are converted and then removed. The caller holds the
    /// target's lock.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for a file of a newer version, or one that can't be created, opened
    /// or put aside.
    pub fn open(state_dir: &Path, source: &str, target: &str) -> Result<Opened, Error> {
        let path = path_of(state_dir, target);
        let failed = |error| cannot_make(state_dir, error);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
        // Two runs that start at the same time, for example into a target without locks, must not
        // both create the file.
        let directory = File::open(state_dir).map_err(failed)?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        match Self::open_or_begin(&path, state_dir, source, target) {
            Ok(opened) => Ok(opened),
            Err(Obstacle::State(Trouble::Damaged(_))) => Self::replace(&path, source, target),
            Err(obstacle) => Err(obstacle.refusal(&path, &[])),
        }
    }

    /// Opens the state of a target for reading only, as a run from a source sees it; `None` if
    /// there is none. This is for dry runs: it changes no file in the state directory.
    ///
    /// Without a write-ahead log the file is opened as immutable, so that `SQLite` creates no file
    /// beside it. If a run begins to write meanwhile (a dry run takes no lock), that can look like
    /// damage. A log of a killed or active run is read through its index (`-shm`), which `SQLite`
    /// may rebuild. With a rollback journal, the last writes of a killed run are undone. If there
    /// are only files of older versions, they are converted in the temporary directory.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] for a file of a newer version, a damaged one
    /// ([`is_damage`](super::is_damage)), or one that can't be read.
    pub fn open_read_only(
        state_dir: &Path,
        source: &str,
        target: &str,
    ) -> Result<Option<Self>, Error> {
        let Some(mut state) = Self::read(state_dir, target)? else { return Ok(None) };
        source.clone_into(&mut state.source);
        Ok(Some(state))
    }

    /// Opens the state of a target for reading only, as the source of its latest run sees it;
    /// `None` if no run into it is recorded. An import ([`IMPORTED`]) counts once it is complete.
    ///
    /// # Errors
    /// Those of [`State::open_read_only`].
    pub fn latest_into(state_dir: &Path, target: &str) -> Result<Option<Self>, Error> {
        let Some(mut state) = Self::read(state_dir, target)? else { return Ok(None) };
        let is_published = state.published()?.is_some();
        // An incomplete import published nothing.
        let condition = format!("{is_published} OR name <> '{IMPORTED}'");
        let Some(run) = state.run_where(&condition)? else { return Ok(None) };
        state.source = run.source;
        Ok(Some(state))
    }

    /// Opens the file of this state again, to record verifications ([`Writer::set_verified`]) while
    /// rows are read. No lock keeps a run from writing at the same time: of two writers, one waits
    /// up to 30 s for the other's commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file can't be opened for writing.
    pub fn for_recording(&self) -> Result<Self, Error> {
        let open = || {
            if self.scratch.is_some() {
                let why = "it is an older vidimus's; the next mirror takes it over";
                return Err(cannot_open(&io::Error::other(why)));
            }
            let connection = connect(&self.path, Access::Write)?;
            // SQLite silently opens a write-protected file for reading only.
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
            scratch: None,
            by_stamp: Cell::default(),
        })
    }

    /// Puts the file aside, as [`State::open`] does with a damaged one, and creates a new one: for
    /// damage that is found later. All its [`Rows`] and [`Writer`]s must be dropped before.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file can't be renamed or a new one can't be created.
    pub fn set_aside(self) -> Result<Opened, Error> {
        let Self { path, source, target, connection, .. } = self;
        drop(connection);
        Self::replace(&path, &source, &target)
    }

    /// Reads the whole file and checks it for damage, for callers that can't retract rows they have
    /// passed on.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file is damaged ([`is_damage`](super::is_damage)) or can't be
    /// read.
    pub fn check_whole(&self) -> Result<(), Error> {
        let check = "PRAGMA quick_check(1)";
        let found = self.connection.query_row(check, [], |row| row.get::<_, String>(0));
        match found.map_err(|error| self.failed("read", error))? {
            found if found == "ok" => Ok(()),
            found => Err(refusal(&self.path, Trouble::Damaged(found))),
        }
    }

    /// Returns the source as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the source's number in this state; [`SourceNumber::NONE`] if no run from it is
    /// recorded.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn number(&self) -> Result<SourceNumber, Error> {
        let query = "SELECT number FROM sources WHERE name = ?1";
        let number = self.connection.query_row(query, [&self.source], |row| row.get(0));
        let number = number.optional().map_err(|error| self.failed("read", error))?;
        Ok(number.map_or(SourceNumber::NONE, SourceNumber))
    }

    /// Returns the target as it was given.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Records the start of a run; `options` is JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn begin_run(
        &self,
        run: &RunId,
        started: Timestamp,
        options: &str,
    ) -> Result<RunNumber, Error> {
        let begin = || {
            let transaction = self.connection.unchecked_transaction()?;
            let name = "INSERT OR IGNORE INTO sources (name) VALUES (?1)";
            transaction.execute(name, [&self.source])?;
            let insert = "INSERT INTO runs (id, source, started, options) \
                 SELECT ?1, number, ?3, ?4 FROM sources WHERE name = ?2";
            let started = row::nanoseconds(started);
            transaction.execute(insert, params![run.0, self.source, started, options])?;
            let number = RunNumber(transaction.last_insert_rowid());
            transaction.commit().map(|()| number)
        };
        begin().map_err(|error| self.failed("write", error))
    }

    /// Updates the options of a run, with what it found out meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn set_options(&self, run: RunNumber, options: &str) -> Result<(), Error> {
        let update = "UPDATE runs SET options = ?2 WHERE number = ?1";
        let updated = self.connection.execute(update, params![run.0, options]);
        updated.map(drop).map_err(|error| self.failed("write", error))
    }

    /// Records the end of a run. `root` identifies the source's root if the run's deletions were
    /// allowed.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
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

    /// Returns the latest run from any source, whether it ended or not.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_run(&self) -> Result<Option<RunRecord>, Error> {
        self.run_where("TRUE")
    }

    /// Returns the latest run from the source, whether it ended or not.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_run_from_source(&self) -> Result<Option<RunRecord>, Error> {
        self.run_of_source("TRUE")
    }

    /// Returns the latest run from the source that was not limited to listed names.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_unlisted_run_from_source(&self) -> Result<Option<RunRecord>, Error> {
        self.run_of_source(&format!("NOT {IS_LISTED}"))
    }

    /// Returns the latest run from each source, by source number. One that did all that was listed
    /// for it says nothing of the rest, and is returned only if there is no other.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_runs(&self) -> Result<Vec<(SourceNumber, RunRecord)>, Error> {
        let latest = format!(
            "SELECT {}, name, sources.number FROM runs JOIN sources ON sources.number = source \
             WHERE runs.number IN (SELECT coalesce(\
              max(CASE WHEN verdict IN ('complete', 'refused') AND {IS_LISTED} THEN NULL \
               ELSE number END), max(number)) FROM runs GROUP BY source) \
             ORDER BY sources.number",
            runs::COLUMNS
        );
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(&latest)?;
            let decode = |row: &rusqlite::Row<'_>| {
                Ok((SourceNumber(row.get(9)?), runs::decode(row, row.get(8)?)?))
            };
            statement.query_map([], decode)?.collect()
        };
        read().map_err(|error| self.failed("read", error))
    }

    /// Returns whether any row is from a source.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn has_rows_from(&self, source: SourceNumber) -> Result<bool, Error> {
        let query = "SELECT EXISTS (SELECT 1 FROM entries WHERE from_source = ?1)";
        let found = self.connection.query_row(query, [source.0], |row| row.get(0));
        found.map_err(|error| self.failed("read", error))
    }

    /// Returns the incomplete runs from a source that no complete one followed; `None` if there are
    /// none.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn cut_off(&self, source: SourceNumber) -> Result<Option<CutOff>, Error> {
        // A run with unknown options may have deleted entries.
        let query = format!(
            "SELECT min(started), \
              min(CASE WHEN json_extract(options, '$.delete') IS NOT 0 THEN started END) \
             FROM runs WHERE source = ?1 \
             AND (verdict IS NULL OR verdict = ?2) AND number > \
             (SELECT coalesce(max(number), 0) FROM runs \
              WHERE source = ?1 AND verdict IN (?3, ?4) AND NOT {IS_LISTED})"
        );
        let verdicts = [Verdict::Failed, Verdict::Complete, Verdict::Refused];
        let [failed, complete, refused] = verdicts.map(|verdict| verdict.to_string());
        let found = self.connection.query_row(
            &query,
            params![source.0, failed, complete, refused],
            |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
        );
        let (since, deletes_since) = found.map_err(|error| self.failed("read", error))?;
        Ok(since.map(|since| CutOff {
            since: row::timestamp(since),
            deletes_since: deletes_since.map(row::timestamp),
        }))
    }

    /// Returns the latest mirror run from any source.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_mirror(&self) -> Result<Option<RunRecord>, Error> {
        self.run_where(&format!("name NOT IN ('{STREAM}', '{IMPORTED}')"))
    }

    /// Returns the latest run from any source for a whole tree, whether it completed or not.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_whole_run(&self) -> Result<Option<RunRecord>, Error> {
        self.run_where(&format!(
            "name NOT IN ('{STREAM}', '{IMPORTED}') AND json_extract(options, '$.only') IS NULL \
             AND NOT {IS_LISTED}"
        ))
    }

    /// Returns a run by its number.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn run(&self, number: RunNumber) -> Result<Option<RunRecord>, Error> {
        self.run_where(&format!("runs.number = {}", number.0))
    }

    /// Returns the row of a key; `None` also if it can't be decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        let version = pragma(&self.connection, "user_version");
        let version = version.map_err(|error| self.failed("read", error))?;
        let query = format!("SELECT {} FROM entries WHERE key = ?1", row::columns(version));
        let found = self.connection.query_row(&query, [key.as_bytes()], |row| Ok(row::decode(row)));
        Ok(found.optional().map_err(|error| self.failed("read", error))?.flatten())
    }

    /// Returns what `take` makes of the rows of names of one file, at most 16.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn rows_of(
        &self,
        file: GroupId,
        mut take: impl FnMut(Row) -> Option<Row>,
    ) -> Result<VecDeque<Row>, Error> {
        let query = format!(
            "SELECT {} FROM links JOIN entries USING (key) WHERE id = ?1",
            row::columns(VERSION)
        );
        let mut read = || {
            let mut statement = self.connection.prepare_cached(&query)?;
            let mut found = statement.query([file.0 as i64])?;
            let mut rows = VecDeque::new();
            while let Some(row) = found.next()?.filter(|_| rows.len() < NAMES) {
                let is_of_file = |row: &Row| row.group().is_some_and(|group| group.id == file);
                rows.extend(row::decode(row).filter(is_of_file).and_then(&mut take));
            }
            Ok(rows)
        };
        // An older version has no groups.
        match pragma(&self.connection, "user_version") {
            Ok(version) if version < VERSION => Ok(VecDeque::new()),
            Ok(_) => read(),
            Err(error) => Err(error),
        }
        .map_err(|error| self.failed("read", error))
    }

    /// Returns the totals of the source's latest run that processed all entries, as a basis for
    /// estimates.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_finished_totals(&self) -> Result<Option<Totals>, Error> {
        let run = self.run_of_source(&format!(
            "verdict IN ('complete', 'incomplete', 'refused') AND NOT {IS_LISTED}"
        ))?;
        Ok(run.and_then(|run| run.totals))
    }

    /// Returns the source's root in its latest run whose deletions were allowed.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn last_allowed_root(&self) -> Result<Option<RootIdentity>, Error> {
        Ok(self.run_of_source("root IS NOT NULL")?.and_then(|run| run.root))
    }

    /// Returns whether no run from the source has completed yet, so that rows don't cover
    /// everything in it.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn is_first_contact(&self) -> Result<bool, Error> {
        let whole = format!("verdict IN ('complete', 'refused') AND NOT {IS_LISTED}");
        Ok(self.run_of_source(&whole)?.is_none())
    }

    /// Streams the rows in key order. Rows that a [`Writer`] commits meanwhile may be included.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file can't be opened again.
    pub fn rows(&self) -> Result<Rows, Error> {
        self.rows_from(&Key::root())
    }

    /// Streams the rows from a key on; see [`State::rows`].
    ///
    /// # Errors
    /// Those of [`State::rows`].
    pub fn rows_from(&self, first: &Key) -> Result<Rows, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("read", error))?;
        Ok(Rows::new(self.path.clone(), connection, first.as_bytes()))
    }

    /// Begins to write rows. There is one writer at a time; others wait for its commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file can't be opened again.
    pub fn writer(&self) -> Result<Writer, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("write", error))?;
        // The index by stamps is made while rows are written.
        connection.busy_timeout(WRITER_PATIENCE).map_err(|error| self.failed("write", error))?;
        // Pages that are rewritten often within a run are written back to the file once.
        connection
            .pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
            .map_err(|error| self.failed("write", error))?;
        // Changes are tracked only after the first publication, which contains all rows.
        let tracks = self.published()?.is_some();
        Ok(Writer { path: self.path.clone(), connection, begun: false, tracks, has_links: None })
    }

    fn failed(&self, verb: &str, error: rusqlite::Error) -> Error {
        failed(&self.path, verb, error)
    }

    fn run_where(&self, condition: &str) -> Result<Option<RunRecord>, Error> {
        latest_run(&self.connection, condition).map_err(|error| self.failed("read", error))
    }

    fn run_of_source(&self, condition: &str) -> Result<Option<RunRecord>, Error> {
        self.run_where(&format!("source = {} AND {condition}", self.number()?.0))
    }

    /// Opens the file. If there is none or it is empty, creates it from the older files in the
    /// directory.
    fn open_or_begin(
        path: &Path,
        state_dir: &Path,
        source: &str,
        target: &str,
    ) -> Result<Opened, Obstacle> {
        let was_empty = is_emptied(path);
        let mut connection = Self::make(path)?;
        let mut set_aside = None;
        let mut taken_over = Vec::new();
        if is_empty(&connection)? {
            // No reader waits for this transaction, which may exceed the intended memory.
            connection.pragma_update(None, "cache_spill", true)?;
            let mut found = Pair::all_into(state_dir, target, true)?;
            loop {
                match Self::begin_of(&mut connection, target, &found.pairs) {
                    Ok(()) => break,
                    // Damage found while reading rows: put that file aside and use the others.
                    Err(Obstacle::Pair(at, Trouble::Damaged(_))) => found.put_aside(at)?,
                    Err(obstacle) => {
                        return Err(Obstacle::Other(obstacle.refusal(path, &found.pairs)));
                    }
                }
            }
            (taken_over, set_aside) = (found.pairs, found.set_aside);
        }
        let state = Self::of(path, connection, source, target)?;
        // The older files are obsolete now.
        taken_over
            .iter()
            .try_for_each(Pair::remove)
            .map_err(|error| Trouble::Failed(cannot_open(&error)))?;
        let was_empty = was_empty && taken_over.is_empty() && set_aside.is_none();
        Ok(Opened { state, set_aside, was_empty })
    }

    /// Creates a state from files of older versions, if there are any.
    fn begin_of(connection: &mut Connection, target: &str, pairs: &[Pair]) -> Result<(), Obstacle> {
        let transaction = connection.transaction()?;
        begin(&transaction, target)?;
        pairs::take_over(&transaction, pairs)?;
        Ok(transaction.commit()?)
    }

    /// Opens a file for writing and creates it if it is missing.
    fn make(path: &Path) -> Result<Connection, Trouble> {
        // SQLite creates the log and its index with the file's mode.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Trouble::Failed(cannot_open(&error))),
        }
        Ok(connect(path, Access::Write)?)
    }

    /// Checks a file that was opened for writing, and converts it if it is of an older version.
    fn of(
        path: &Path,
        mut connection: Connection,
        source: &str,
        target: &str,
    ) -> Result<Self, Trouble> {
        if check(&connection)? != target {
            return Err(Trouble::Damaged("it is another target's".to_owned()));
        }
        upgrade(&mut connection)?;
        Ok(Self {
            path: path.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            access: Access::Write,
            connection,
            scratch: None,
            by_stamp: Cell::default(),
        })
    }

    /// Opens the state of a target for reading, for no source in particular.
    fn read(state_dir: &Path, target: &str) -> Result<Option<Self>, Error> {
        let path = path_of(state_dir, target);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::read_pairs(state_dir, target);
            }
            // Truncated, or its run was killed before it wrote anything.
            _ if is_emptied(&path) => {
                let of_pairs = Self::read_pairs(state_dir, target)?;
                let damaged = || refusal(&path, Trouble::Damaged("it is empty".to_owned()));
                return of_pairs.map(Some).ok_or_else(damaged);
            }
            _ => {}
        }
        Self::read_file(&path, target, None).map(Some)
    }

    fn read_file(path: &Path, target: &str, scratch: Option<TempDir>) -> Result<Self, Error> {
        let access = if has_journal(path) { Access::Read } else { Access::Immutable };
        let open = || {
            let connection = connect(path, access)?;
            if check(&connection)? != target {
                return Err(Trouble::Damaged("it is another target's".to_owned()));
            }
            Ok(connection)
        };
        let connection = open().map_err(|trouble| refusal(path, trouble))?;
        let (path, target) = (path.to_owned(), target.to_owned());
        let source = String::new();
        let by_stamp = Cell::default();
        Ok(Self { path, source, target, access, connection, scratch, by_stamp })
    }

    /// Converts files of older versions in a temporary directory.
    fn read_pairs(state_dir: &Path, target: &str) -> Result<Option<Self>, Error> {
        let found = Pair::all_into(state_dir, target, false);
        let found = found.map_err(|obstacle| obstacle.refusal(state_dir, &[]))?;
        if found.pairs.is_empty() {
            return Ok(None);
        }
        let scratch = tempfile::tempdir().map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot make a temporary directory").because(error)
        })?;
        let path = path_of(scratch.path(), target);
        let made = Self::make(&path)
            .map_err(Obstacle::from)
            .and_then(|mut connection| Self::begin_of(&mut connection, target, &found.pairs));
        made.map_err(|obstacle| obstacle.refusal(&path, &found.pairs))?;
        Self::read_file(&path, target, Some(scratch)).map(Some)
    }

    fn replace(path: &Path, source: &str, target: &str) -> Result<Opened, Error> {
        let set_aside = put_aside(path).map_err(|error| cannot_put_aside(path, error))?;
        let make = || {
            let mut connection = Self::make(path)?;
            let transaction = connection.transaction()?;
            begin(&transaction, target)?;
            transaction.commit()?;
            Self::of(path, connection, source, target)
        };
        let state = make().map_err(|trouble| refusal(path, trouble))?;
        Ok(Opened { state, set_aside: Some(set_aside), was_empty: false })
    }
}

/// Returns whether a file exists but is empty, also its journal.
fn is_emptied(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) && !is_journaled(path)
}

/// Returns whether nothing was written to a file yet.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(pragma(connection, "page_count")? == 0
        || pragma(connection, "schema_version")? == 0 && pragma(connection, "application_id")? == 0)
}

mod attributes;
mod lazy;
mod pages;
mod pairs;
mod publication;
mod rekey;
mod stamped;
mod taking_in;
#[cfg(test)]
mod tests;
mod writer;

pub use lazy::{LazyRow, LazyRows};
pub use pages::{Changes, Rows};
pub use publication::RowSelection;
pub(crate) use taking_in::TakingIn;
pub use writer::Writer;
