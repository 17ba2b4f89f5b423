//! Reading tables of the state page by page.

use super::State;
use crate::manifest::database::{failed, pragma};
use crate::manifest::row::{self, Row, columns};
use crate::model::{Error, Key};
use rusqlite::Connection;
use std::path::PathBuf;

/// Rows of a page: enough that the cost of a query doesn't matter.
pub(super) const PAGE: usize = 1024;
/// In bytes: a page ends when its keys have as many, since a key of a deep tree is long.
pub(super) const PAGE_KEYS: usize = 1 << 20;

/// The rows of a state, in key order.
pub type Rows = Paged<Row>;

/// The keys that changed since the last publication, in order.
pub type Changes = Paged<Change>;

/// A key that changed since the last publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Whether it had a row then.
    pub was_published: bool,
    /// Its current row, if it has one.
    pub row: Option<Row>,
}

/// The items of a table, in key order.
///
/// Each page is read in a transaction of its own, so that the log doesn't grow during a run. Memory
/// is bounded by a page of 1,024 rows and 1 MiB of keys.
#[derive(Debug)]
pub struct Paged<T> {
    pub(super) path: PathBuf,
    connection: Connection,
    page: std::vec::IntoIter<T>,
    first: Box<[u8]>,
    /// The last key read, decodable or not.
    after: Option<Vec<u8>>,
    ended: bool,
    skipped: u64,
    pub(super) decode: fn(&rusqlite::Row<'_>) -> Option<T>,
}

/// An item that can be read by pages.
pub trait Tabled: Sized {
    /// Returns the query for a file of a format version, up to the condition.
    fn selected(version: i64) -> String;
    /// The column that the items are ordered by.
    const KEY: (&'static str, usize);
    /// Decodes an item; `None` if it is invalid.
    fn decode(row: &rusqlite::Row<'_>) -> Option<Self>;
}

impl Tabled for Row {
    fn selected(version: i64) -> String {
        format!("SELECT {} FROM entries", columns(version))
    }

    const KEY: (&'static str, usize) = ("key", 0);

    fn decode(row: &rusqlite::Row<'_>) -> Option<Self> {
        row::decode(row)
    }
}

impl Tabled for Change {
    fn selected(version: i64) -> String {
        format!(
            "SELECT entries.{}, changed.key, was_published FROM changed \
             LEFT JOIN entries ON entries.key = changed.key",
            columns(version)
        )
    }

    const KEY: (&'static str, usize) = ("changed.key", row::WIDTH);

    fn decode(row: &rusqlite::Row<'_>) -> Option<Self> {
        let has_row = !matches!(row.get_ref(0).ok()?, rusqlite::types::ValueRef::Null);
        Some(Self {
            key: Key::new(row.get_ref(row::WIDTH).ok()?.as_blob().ok()?),
            was_published: row.get(row::WIDTH + 1).ok()?,
            // An invalid row is treated as missing: its entry is compared again.
            row: if has_row { row::decode(row) } else { None },
        })
    }
}

impl<T: Tabled> Paged<T> {
    /// Begins to read at the key `first`.
    pub(super) fn new(path: PathBuf, connection: Connection, first: &[u8]) -> Self {
        let page = Vec::new().into_iter();
        Self {
            path,
            connection,
            page,
            first: first.into(),
            after: None,
            ended: false,
            skipped: 0,
            decode: T::decode,
        }
    }

    /// Goes on at the key `first`.
    fn restart(&mut self, first: &[u8]) {
        self.page = Vec::new().into_iter();
        self.first = first.into();
        self.after = None;
        self.ended = false;
    }

    /// Returns the number of rows skipped because they can't be decoded; their entries are compared
    /// as if they were new.
    #[cfg(test)]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the next row, or the database's error.
    pub(super) fn read(&mut self) -> rusqlite::Result<Option<T>> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            self.turn_page().inspect_err(|_| self.ended = true)?;
        }
    }

    fn turn_page(&mut self) -> rusqlite::Result<()> {
        let (key, column) = T::KEY;
        let from = if self.after.is_some() { ">" } else { ">=" };
        // Another process may have converted the file to the current version since the last page.
        let selected = T::selected(pragma(&self.connection, "user_version")?);
        let query = format!("{selected} WHERE {key} {from} ?1 ORDER BY {key} LIMIT {PAGE}");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = statement.query([self.after.as_deref().unwrap_or(&self.first)])?;
        let mut page = Vec::with_capacity(PAGE);
        let (mut count, mut bytes) = (0, 0);
        while bytes < PAGE_KEYS
            && let Some(row) = found.next()?
        {
            count += 1;
            let after = self.after.get_or_insert_default();
            after.clear();
            after.extend_from_slice(row.get_ref(column)?.as_bytes().unwrap_or_default());
            bytes += after.len();
            match (self.decode)(row) {
                Some(row) => page.push(row),
                None => self.skipped += 1,
            }
        }
        self.ended = count < PAGE && bytes < PAGE_KEYS;
        self.page = page.into_iter();
        Ok(())
    }
}

impl State {
    /// Streams the rows of `keys`, which are in order, each with whether the rows of all keys below
    /// it are wanted too; see [`State::rows`].
    ///
    /// # Errors
    /// Those of [`State::rows`].
    pub fn rows_of_keys(&self, keys: Vec<(Key, bool)>) -> Result<RowsOfKeys, Error> {
        Ok(RowsOfKeys::new(self.rows()?, keys))
    }
}

/// The rows of chosen keys, in key order.
pub struct RowsOfKeys {
    rows: Rows,
    /// Keys in order, each with whether the rows of all keys below it are wanted.
    keys: std::vec::IntoIter<(Key, bool)>,
    /// The directory whose rows are being read.
    within: Option<Key>,
}

impl RowsOfKeys {
    pub(super) fn new(rows: Rows, keys: Vec<(Key, bool)>) -> Self {
        Self { rows, keys: keys.into_iter(), within: None }
    }

    fn read(&mut self) -> rusqlite::Result<Option<Row>> {
        loop {
            if let Some(directory) = &self.within {
                match self.rows.read()?.filter(|row| row.key.is_within(directory.as_bytes())) {
                    None => self.within = None,
                    row => return Ok(row),
                }
            }
            let Some((key, is_whole)) = self.keys.next() else { return Ok(None) };
            if is_whole {
                self.rows.restart(key.as_bytes());
                self.within = Some(key);
            } else if let Some(row) = self.rows.one(key.as_bytes())? {
                return Ok(Some(row));
            }
        }
    }
}

impl Iterator for RowsOfKeys {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| failed(&self.rows.path, "read", error)).transpose()
    }
}

impl<T: Tabled> Paged<T> {
    /// Returns the row of a key; `None` also if it can't be decoded.
    pub(super) fn one(&self, key: &[u8]) -> rusqlite::Result<Option<Row>> {
        let selected = Row::selected(pragma(&self.connection, "user_version")?);
        let mut statement =
            self.connection.prepare_cached(&format!("{selected} WHERE key = ?1"))?;
        let mut found = statement.query([key])?;
        Ok(found.next()?.and_then(row::decode))
    }
}

impl<T: Tabled> Iterator for Paged<T> {
    type Item = Result<T, Error>;

    /// Returns the next row; nothing after an error, because the end is then unknown.
    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| failed(&self.path, "read", error)).transpose()
    }
}
