//! Importing rows that others published into a state.

use super::publication::{PUBLISHED, PUT, RENUMBERED, TAKEN_OVER};
use super::{State, Writer};
use crate::manifest::keys::PublicKey;
use crate::manifest::published::Publication;
use crate::manifest::row::{Row, RunNumber, SourceNumber, nanoseconds};
use crate::model::{Error, ErrorKind, Key, RunId};
use rusqlite::{OptionalExtension as _, params};
use std::collections::HashMap;

/// An import of a publication by others into a state. It counts as the state's last publication
/// only after [`TakingIn::finish`].
pub(crate) struct TakingIn<'s> {
    state: &'s State,
    writer: Writer,
    /// The numbers of sources here, by their numbers in the publication.
    sources: HashMap<SourceNumber, SourceNumber>,
    runs: HashMap<RunId, RunNumber>,
}

impl State {
    /// Begins an import: records the sources and runs of the publication, as the latest.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn take_in(&self, publication: &Publication) -> Result<TakingIn<'_>, Error> {
        let head = &publication.head;
        let mut told = head.sources();
        told.sort_by_key(|source| (source.run == head.run, source.started));
        let totals = serde_json::to_string(&head.totals).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot encode the run's record").because(error)
        })?;
        let options = told.iter().map(|told| told.options.encode());
        let options: Vec<_> = options.collect::<Result<_, _>>()?;
        let mut sources = HashMap::new();
        let record = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            for (told, options) in told.iter().zip(options) {
                // The number of another source here is not reused.
                let insert = "INSERT OR IGNORE INTO sources (number, name) VALUES (?1, ?2)";
                transaction.execute(insert, params![told.number.0, told.source])?;
                let insert = "INSERT OR IGNORE INTO sources (name) VALUES (?1)";
                transaction.execute(insert, [&told.source])?;
                let number = "SELECT number FROM sources WHERE name = ?1";
                let number: i64 =
                    transaction.query_row(number, [&told.source], |row| row.get(0))?;
                sources.insert(told.number, SourceNumber(number));
                let verdict = told.verdict.map(|verdict| verdict.to_string());
                let ended = verdict.as_ref().map(|_| nanoseconds(head.published));
                let totals = (told.run == head.run).then_some(&totals);
                let insert = "INSERT OR IGNORE INTO runs \
                     (id, source, started, ended, verdict, totals, options) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
                let started = nanoseconds(told.started);
                let values = params![told.run.0, number, started, ended, verdict, totals, options];
                transaction.execute(insert, values)?;
            }
            transaction.commit()
        };
        record().map_err(|error| self.failed("write", error))?;
        let writer = Writer { tracks: false, ..self.writer()? };
        Ok(TakingIn { state: self, writer, sources, runs: HashMap::new() })
    }
}

impl TakingIn<'_> {
    /// Converts a published row to the numbers of runs and sources here.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when its run can't be recorded.
    pub(crate) fn row(&mut self, mut row: Row, run: RunId) -> Result<Row, Error> {
        row.from = self.sources.get(&row.from).copied().unwrap_or(SourceNumber::NONE);
        row.run = if let Some(number) = self.runs.get(&run) {
            *number
        } else {
            let number = self.number(&run, row.from)?;
            self.runs.insert(run, number);
            number
        };
        Ok(row)
    }

    /// Returns a run's number; an unlisted run is older than all recorded ones.
    fn number(&mut self, run: &RunId, source: SourceNumber) -> Result<RunNumber, Error> {
        let query = "SELECT number FROM runs WHERE id = ?1";
        let found = self.writer.connection.query_row(query, [&run.0], |row| row.get(0));
        let found = found.optional().map_err(|error| self.state.failed("read", error))?;
        if let Some(number) = found {
            return Ok(RunNumber(number));
        }
        let insert = "INSERT INTO runs (number, id, source, started, options) \
             SELECT min(number) - 1, ?1, ?2, 0, options FROM runs";
        self.writer.write(insert, |statement| statement.execute(params![run.0, source.0]))?;
        Ok(RunNumber(self.writer.connection.last_insert_rowid()))
    }

    /// Puts a published row.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn put(&mut self, row: &Row) -> Result<(), Error> {
        self.writer.put(row)
    }

    /// Removes the row of a key that was removed there.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn remove(&mut self, key: &Key) -> Result<(), Error> {
        self.writer.remove(key)
    }

    /// Records that a key's row here is to be published, and whether the publication has a row.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn set_changed(&mut self, key: &Key, was_published: bool) -> Result<(), Error> {
        let put = "INSERT OR REPLACE INTO changed VALUES (?1, ?2)";
        self.writer
            .write(put, |statement| statement.execute(params![key.as_bytes(), was_published]))
    }

    /// Commits what was put since the last commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        self.writer.commit()
    }

    /// Makes the publication the state's last one, with its signature verified with `key` if that
    /// was required. If its number of a source belongs to another source here, the next publication
    /// is a full one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub(crate) fn finish(
        mut self,
        publication: &Publication,
        key: Option<&PublicKey>,
    ) -> Result<(), Error> {
        self.commit()?;
        let Self { state, sources, .. } = self;
        let has_numbers = sources.iter().all(|(theirs, ours)| theirs == ours);
        let text = serde_json::to_string(publication).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot encode what was published").because(error)
        })?;
        let key = key.map(PublicKey::to_string).unwrap_or_default();
        let write = || {
            let transaction = state.connection.unchecked_transaction()?;
            transaction.execute(PUT, [PUBLISHED, &text])?;
            if !has_numbers {
                transaction.execute(PUT, [RENUMBERED, ""])?;
            }
            transaction.execute(PUT, [TAKEN_OVER, &key])?;
            transaction.commit()
        };
        write().map_err(|error| state.failed("write", error))
    }
}
