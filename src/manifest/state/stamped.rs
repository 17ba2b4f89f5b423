//! Rows by the source's stamp, for entries that were moved.

use super::State;
use crate::manifest::database::Access;
use crate::manifest::row::Row;
use crate::model::{Error, Key, Stamp};
use std::time::Duration;

/// The most rows of other stamps, of one size and mtime, that are looked at.
const LOOKED_AT: usize = 256;
/// The most rows that are returned.
const FOUND: usize = 4;
/// How long the index waits for the run's commit, which waits for the disk.
const PATIENCE: Duration = Duration::from_hours(24);

/// Where rows are found by stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ByStamp {
    /// Nobody looked for one yet.
    #[default]
    Unmade,
    /// In the table of rows, which has an index.
    Indexed,
    /// In a temporary table: the file may not be written.
    Copied,
}

impl State {
    /// Returns rows with the size and mtime of a source's stamp for which `matches` is true: first
    /// those with this very stamp. At most 4, and if there are more than 256 of this size and mtime,
    /// not all are looked at.
    ///
    /// The first call of all makes an index, which takes as long as reading all rows.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read, or not
    /// be written where it may be.
    pub fn rows_stamped(
        &self,
        stamp: &Stamp,
        matches: impl Fn(&Row) -> bool,
    ) -> Result<Vec<Row>, Error> {
        let (first, last) = stamp.encoded_range();
        let whole = stamp.encode();
        let mut found = Vec::new();
        for (from, to) in [(&whole, &whole), (&first, &last)] {
            for key in self.keys_stamped(from, to)? {
                let row = self.row(&key)?.filter(&matches);
                found.extend(row);
                if found.len() == FOUND {
                    return Ok(found);
                }
            }
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Returns keys of rows whose encoded stamp of the source lies in a range.
    fn keys_stamped(&self, from: &[u8], to: &[u8]) -> Result<Vec<Key>, Error> {
        let read = || -> rusqlite::Result<Vec<Key>> {
            let table = match self.by_stamp()? {
                ByStamp::Copied => "temp.stamped",
                _ => "entries INDEXED BY stamped",
            };
            let query =
                format!("SELECT key FROM {table} WHERE source BETWEEN ?1 AND ?2 LIMIT {LOOKED_AT}");
            let mut statement = self.connection.prepare_cached(&query)?;
            let keys = statement.query_map([from, to], |row| {
                Ok(Key::new(row.get_ref(0)?.as_blob().unwrap_or_default()))
            })?;
            keys.collect()
        };
        read().map_err(|error| self.failed("read", error))
    }

    /// Makes the index, or the temporary table, unless that was done.
    fn by_stamp(&self) -> rusqlite::Result<ByStamp> {
        if self.by_stamp.get() != ByStamp::Unmade {
            return Ok(self.by_stamp.get());
        }
        let connection = &self.connection;
        let made = if self.access == Access::Write {
            connection.busy_timeout(PATIENCE)?;
            let made =
                connection.execute_batch("CREATE INDEX IF NOT EXISTS stamped ON entries (source)");
            connection.busy_timeout(crate::manifest::database::BUSY)?;
            made.map(|()| ByStamp::Indexed)?
        } else {
            let query = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema \
                 WHERE type = 'index' AND name = 'stamped')";
            if connection.query_row(query, [], |row| row.get(0))? {
                ByStamp::Indexed
            } else {
                connection.execute_batch(
                    "CREATE TEMP TABLE stamped (source BLOB NOT NULL, key BLOB NOT NULL, \
                      PRIMARY KEY (source, key)) WITHOUT ROWID; \
                     INSERT INTO stamped SELECT source, key FROM entries ORDER BY source, key",
                )?;
                ByStamp::Copied
            }
        };
        self.by_stamp.set(made);
        Ok(made)
    }
}
