//! Writing rows into a state.

use crate::manifest::database::failed;
use crate::manifest::row::{self, Row, Verified};
use crate::model::{Error, Key};
use rusqlite::Connection;
use std::path::PathBuf;

/// Puts rows, a batch at a time: what was put since the last [`Writer::commit`] is lost when the
/// writer is dropped.
///
/// Fastest in key order.
#[derive(Debug)]
pub struct Writer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) begun: bool,
    /// Whether it keeps which keys changed.
    pub(super) tracks: bool,
}

impl Writer {
    /// Puts a row in the place of any of its key.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
    pub fn put(&mut self, row: &Row) -> Result<(), Error> {
        self.track(&row.key)?;
        self.write(row::PUT, |statement| row::put(statement, row))
    }

    /// Removes a key's row, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
    pub fn remove(&mut self, key: &Key) -> Result<(), Error> {
        if self.tracks {
            // Where there is no row, nothing changes.
            let insert = "INSERT OR IGNORE INTO changed \
                 SELECT ?1, 1 WHERE EXISTS (SELECT 1 FROM entries WHERE key = ?1)";
            self.write(insert, |statement| statement.execute([key.as_bytes()]))?;
        }
        self.write("DELETE FROM entries WHERE key = ?1", |statement| {
            statement.execute([key.as_bytes()])
        })
    }

    /// Records when a file was verified, where its row still is the one that it was held against.
    /// That is no change to be published: a publication takes it along with what did change.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
    pub fn set_verified(&mut self, verified: &Verified) -> Result<(), Error> {
        self.write(row::VERIFY, |statement| row::verify(statement, verified))
    }

    /// Records that an entry was mended: the target's stamp of it and, where that is told, when its
    /// content was verified. A row of another kind or digest stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
    pub fn set_mended(&mut self, mended: &Row) -> Result<(), Error> {
        self.track(&mended.key)?;
        self.write(row::MEND, |statement| row::mend(statement, mended))
    }

    /// Ends the batch: what was put since the last commit is kept, all or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.end("COMMIT")
    }

    /// Drops what was put since the last commit.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written.
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
