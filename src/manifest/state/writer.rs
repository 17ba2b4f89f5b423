//! Writing rows into a state.

use crate::manifest::database::failed;
use crate::manifest::row::{self, Row, Verified};
use crate::model::{Apart, Error, Extras, GroupId, Key};
use rusqlite::{Connection, OptionalExtension as _};
use std::path::PathBuf;

/// Puts rows in batches: rows put since the last [`Writer::commit`] are lost when the writer is
/// dropped.
///
/// Writing in key order is fastest.
#[derive(Debug)]
pub struct Writer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) begun: bool,
    /// Whether changed keys are tracked.
    pub(super) tracks: bool,
    /// Whether any key is in the table of links, once that is known.
    pub(super) has_links: Option<bool>,
}

impl Writer {
    /// Inserts a row or replaces the row of its key.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn put(&mut self, row: &Row) -> Result<(), Error> {
        self.track(&row.key)?;
        self.leave_group(&row.key, row.group().map(|group| group.id))?;
        self.write(row::PUT, |statement| row::put(statement, row))?;
        if let Some(Extras { attributes: Some(digest), apart: Apart::Loaded(apart), .. }) =
            row.extras.as_deref()
        {
            self.write(row::PUT_ATTRIBUTES, |statement| {
                row::put_attributes(statement, *digest, apart)
            })?;
        }
        match row.group() {
            Some(group) => {
                self.has_links = Some(true);
                self.write(row::PUT_LINK, |statement| row::link(statement, &row.key, group))
            }
            None => Ok(()),
        }
    }

    /// Removes a key's row, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn remove(&mut self, key: &Key) -> Result<(), Error> {
        if self.tracks {
            // Without a row nothing changes.
            let insert = "INSERT OR IGNORE INTO changed \
                 SELECT ?1, 1 WHERE EXISTS (SELECT 1 FROM entries WHERE key = ?1)";
            self.write(insert, |statement| statement.execute([key.as_bytes()]))?;
        }
        self.leave_group(key, None)?;
        self.write("DELETE FROM entries WHERE key = ?1", |statement| {
            statement.execute([key.as_bytes()])
        })
    }

    /// Takes a key out of the group of links that its row is of, unless that is this one.
    fn leave_group(&mut self, key: &Key, group: Option<GroupId>) -> Result<(), Error> {
        let read = || -> rusqlite::Result<_> {
            let has_links = if let Some(has_links) = self.has_links {
                has_links
            } else {
                let query = "SELECT EXISTS (SELECT 1 FROM links)";
                self.connection.query_row(query, [], |found| found.get(0))?
            };
            if !has_links {
                return Ok((has_links, None));
            }
            let mut statement = self.connection.prepare_cached(row::EXTRAS)?;
            let found = statement.query_row([key.as_bytes()], |found| Ok(row::group(found)));
            Ok((has_links, found.optional()?.flatten()))
        };
        let (has_links, before) = read().map_err(|error| failed(&self.path, "read", error))?;
        self.has_links = Some(has_links);
        match before.filter(|before| Some(before.id) != group) {
            Some(before) => {
                self.write(row::REMOVE_LINK, |statement| row::link(statement, key, before))
            }
            None => Ok(()),
        }
    }

    /// Records when a file was verified, if its row is still the one it was compared with. This is
    /// no change to be published, but further publications include it.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn set_verified(&mut self, verified: &Verified) -> Result<(), Error> {
        self.write(row::VERIFY, |statement| row::verify(statement, verified))
    }

    /// Records that an entry was repaired: the target's stamp and, if given, when its content was
    /// verified. A row of another kind or digest isn't changed.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn set_mended(&mut self, mended: &Row) -> Result<(), Error> {
        self.track(&mended.key)?;
        self.write(row::MEND, |statement| row::mend(statement, mended))
    }

    /// Commits the batch: the rows put since the last commit, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.end("COMMIT")
    }

    /// Discards the rows put since the last commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
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

    /// Records that a key changes, and whether it had a row before.
    fn track(&mut self, key: &Key) -> Result<(), Error> {
        if !self.tracks {
            return Ok(());
        }
        let insert = "INSERT OR IGNORE INTO changed \
             VALUES (?1, EXISTS (SELECT 1 FROM entries WHERE key = ?1))";
        self.write(insert, |statement| statement.execute([key.as_bytes()]))
    }

    pub(super) fn write(
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
