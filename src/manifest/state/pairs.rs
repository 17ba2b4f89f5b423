//! Converts files of format versions 1 to 3, one for each pair of source and target, into the
//! single state of the target. For each key the row of the latest run wins.

use super::IMPORTED;
use super::pages::Rows;
use crate::manifest::database::{
    Access, Trouble, cannot_open, cannot_put_aside, check_pair, connect, has_journal, is_journaled,
    plain, put_aside, refusal, short_hash, with_suffix,
};
use crate::manifest::row::{self, RunNumber, SourceNumber};
use crate::manifest::runs::{self, RunRecord};
use crate::model::{Error, RunId, Timestamp};
use crate::small_directory;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The file of a pair.
pub(super) struct Pair {
    path: PathBuf,
    access: Access,
    source: String,
    runs: Vec<RunRecord>,
    /// The values of its table `meta`, except the pair's names.
    meta: Vec<(String, String)>,
}

/// The files found.
pub(super) struct Found {
    /// The files in the order of their latest runs.
    pub(super) pairs: Vec<Pair>,
    /// The new path of the last damaged file.
    pub(super) set_aside: Option<PathBuf>,
}

impl Found {
    /// Puts one of the files aside, by its index.
    pub(super) fn put_aside(&mut self, damaged: usize) -> Result<(), Obstacle> {
        let path = self.pairs.remove(damaged).path;
        self.set_aside = Some(put_pair_aside(&path)?);
        Ok(())
    }
}

/// What prevents the conversion.
pub(super) enum Obstacle {
    /// A problem with the new state.
    State(Trouble),
    /// A problem with one of the files, by its index.
    Pair(usize, Trouble),
    /// Any other error, in full.
    Other(Error),
}

impl From<Trouble> for Obstacle {
    fn from(trouble: Trouble) -> Self {
        Self::State(trouble)
    }
}

impl From<rusqlite::Error> for Obstacle {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.into())
    }
}

impl Obstacle {
    /// Converts the obstacle to an error; the state at `path` is made from `pairs`.
    pub(super) fn refusal(self, path: &Path, pairs: &[Pair]) -> Error {
        match self {
            Self::State(trouble) => refusal(path, trouble),
            Self::Pair(at, trouble) => {
                refusal(pairs.get(at).map_or(path, |pair| &pair.path), trouble)
            }
            Self::Other(error) => error,
        }
    }
}

fn put_pair_aside(path: &Path) -> Result<PathBuf, Obstacle> {
    let aside = put_aside(path);
    aside.map_err(|error| Obstacle::Other(cannot_put_aside(path, error)))
}

impl Pair {
    /// Finds the files of all pairs with a target. Damaged ones are put aside, or are an error if
    /// nothing may be changed. Files without a run and incomplete imports are ignored.
    pub(super) fn all_into(
        state_dir: &Path,
        target: &str,
        puts_aside: bool,
    ) -> Result<Found, Obstacle> {
        let failed = |error: io::Error| {
            Obstacle::Other(refusal(state_dir, Trouble::Failed(cannot_open(&error))))
        };
        let mut found = Found { pairs: Vec::new(), set_aside: None };
        let names = match small_directory::entries(state_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            names => names.map_err(failed)?,
        };
        let prefix = format!("{}-", short_hash(target));
        for name in names {
            let file = name.map_err(failed)?;
            if !is_of_pair(file.file_name(), &prefix) {
                continue;
            }
            let path = plain(file.path());
            match Self::open(&path, target) {
                Ok(pair) => found.pairs.extend(pair),
                Err(Trouble::Damaged(_)) if puts_aside => {
                    found.set_aside = Some(put_pair_aside(&path)?);
                }
                Err(trouble) => return Err(Obstacle::Other(refusal(&path, trouble))),
            }
        }
        found.pairs.sort_by_key(|pair| pair.runs.last().map(|run| run.started));
        Ok(found)
    }

    fn open(path: &Path, target: &str) -> Result<Option<Self>, Trouble> {
        // The run was killed before it wrote anything.
        if fs::metadata(path).is_ok_and(|found| found.len() == 0) && !is_journaled(path) {
            return Ok(None);
        }
        let access = if has_journal(path) { Access::Read } else { Access::Immutable };
        let connection = connect(path, access)?;
        let named = check_pair(&connection)?;
        if named.target != target {
            return Ok(None);
        }
        let source = named.source;
        let query = format!("SELECT {} FROM runs ORDER BY number", runs::COLUMNS);
        let runs: Vec<_> = connection
            .prepare(&query)?
            .query_map([], |row| runs::decode(row, source.clone()))?
            .collect::<Result<_, _>>()?;
        let others = "SELECT name, value FROM meta WHERE name NOT IN ('source', 'target')";
        let meta: Vec<(String, String)> = connection
            .prepare(others)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let is_published = meta.iter().any(|(name, _)| name == super::publication::PUBLISHED);
        let counts = !runs.is_empty() && (source != IMPORTED || is_published);
        Ok(counts.then(|| Self { path: path.to_owned(), access, source, runs, meta }))
    }

    /// Reads from the file, whose index is `at`.
    fn read<T>(
        &self,
        at: usize,
        read: impl FnOnce(Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Obstacle> {
        let read = connect(&self.path, self.access).and_then(read);
        read.map_err(|error| Obstacle::Pair(at, error.into()))
    }

    /// Removes the file and its journal.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        for suffix in ["-wal", "-shm", "-journal"] {
            match fs::remove_file(with_suffix(&self.path, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns whether a file's name is `<target>-<source>.sqlite3`, each with 16 hexadecimal digits.
fn is_of_pair(name: &OsStr, prefix: &str) -> bool {
    let rest = name.as_bytes().strip_prefix(prefix.as_bytes());
    rest.and_then(|rest| rest.strip_suffix(b".sqlite3")).is_some_and(|hash| hash.len() == 16)
}

/// Fills a new state, within a transaction, from the files of pairs, of which the last has the
/// latest run.
pub(super) fn take_over(transaction: &Connection, pairs: &[Pair]) -> Result<(), Obstacle> {
    let mut all: Vec<&RunRecord> = pairs.iter().flat_map(|pair| &pair.runs).collect();
    // A row that came from an import has the import's run, too.
    all.sort_by_key(|run| run.started);
    for pair in pairs {
        transaction.execute("INSERT INTO sources (name) VALUES (?1)", [&pair.source])?;
    }
    let mut numbers: HashMap<&RunId, RunNumber> = HashMap::new();
    for run in all {
        if numbers.contains_key(&run.id) {
            continue;
        }
        let number = RunNumber(numbers.len() as i64 + 1);
        numbers.insert(&run.id, number);
        put_run(transaction, number, run)?;
    }
    let mut written = Written { transaction, begun: HashMap::new() };
    for (at, pair) in pairs.iter().enumerate() {
        let of = |run: &RunRecord| (numbers[&run.id], run.started);
        let runs: HashMap<_, _> = pair.runs.iter().map(|run| (run.number, of(run))).collect();
        let first = pair.runs.first().map_or((RunNumber(0), Timestamp::default()), of);
        let from = SourceNumber(at as i64 + 1);
        let mut rows =
            pair.read(at, |connection| Ok(Rows::new(pair.path.clone(), connection, b"")))?;
        loop {
            let row = rows.read().map_err(|error| Obstacle::Pair(at, error.into()))?;
            let Some(mut row) = row else { break };
            let (run, started) = runs.get(&row.run).copied().unwrap_or(first);
            (row.run, row.from) = (run, from);
            written.put(&row, started)?;
        }
    }
    // The manifests of several files were never published as one.
    if let [pair] = pairs {
        for (name, value) in &pair.meta {
            let put = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
            transaction.execute(put, [name, value])?;
        }
        copy_changes(transaction, pair)?;
    }
    Ok(())
}

/// The rows converted so far.
struct Written<'t> {
    transaction: &'t Connection,
    /// The start of each run that rows refer to.
    begun: HashMap<RunNumber, Timestamp>,
}

impl Written<'_> {
    /// Puts a row, unless its key has one of a later run.
    fn put(&mut self, row: &row::Row, started: Timestamp) -> rusqlite::Result<()> {
        self.begun.insert(row.run, started);
        let query = "SELECT run FROM entries WHERE key = ?1";
        let found = self
            .transaction
            .prepare_cached(query)?
            .query_row([row.key.as_bytes()], |found| found.get(0).map(RunNumber))
            .optional()?;
        if found.is_some_and(|found| self.begun.get(&found).is_some_and(|it| *it > started)) {
            return Ok(());
        }
        row::put(&mut *self.transaction.prepare_cached(row::PUT)?, row).map(drop)
    }
}

fn put_run(transaction: &Connection, number: RunNumber, run: &RunRecord) -> rusqlite::Result<()> {
    let json = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let totals = run.totals.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    let root = run.root.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    let insert = "INSERT INTO runs \
         (number, id, source, started, ended, verdict, totals, options, root) \
         SELECT ?1, ?2, number, ?4, ?5, ?6, ?7, ?8, ?9 FROM sources WHERE name = ?3";
    transaction.execute(
        insert,
        params![
            number.0,
            run.id.0,
            run.source,
            row::nanoseconds(run.started),
            run.ended.map(row::nanoseconds),
            run.verdict.map(|verdict| verdict.to_string()),
            totals,
            run.options,
            root,
        ],
    )?;
    Ok(())
}

/// Copies which keys changed since the only file was published.
fn copy_changes(transaction: &Connection, pair: &Pair) -> Result<(), Obstacle> {
    let mut put =
        transaction.prepare("INSERT INTO changed (key, was_published) VALUES (?1, ?2)")?;
    let mut put = |key: Vec<u8>, was_published: bool| put.execute(params![key, was_published]);
    // An error of writing must not be attributed to the file that is read.
    let mut refused = None;
    pair.read(0, |connection| {
        let has_changes = "SELECT count(*) FROM sqlite_schema WHERE name = 'changed'";
        if connection.query_row(has_changes, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(());
        }
        let mut read = connection.prepare("SELECT key, was_published FROM changed")?;
        let mut changes = read.query([])?;
        while let Some(change) = changes.next()?.filter(|_| refused.is_none()) {
            refused = put(change.get(0)?, change.get(1)?).err();
        }
        Ok(())
    })?;
    refused.map_or(Ok(()), |error| Err(error.into()))
}
