//! Reading tables of the state a page at a time.

use crate::manifest::database::{failed, pragma};
use crate::manifest::row::{self, Row, columns};
use crate::model::{Error, Key};
use rusqlite::Connection;
use std::path::PathBuf;

/// How many rows are read at a time: enough that a page's query costs little beside its rows, few
/// enough that a page is small even with the longest keys.
pub(super) const PAGE: usize = 1024;

/// The rows of a state, in key order.
pub type Rows = Paged<Row>;

/// The keys that changed since they were published last, in order.
pub type Changes = Paged<Change>;

/// A key that changed since it was published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Whether it had a row then.
    pub was_published: bool,
    /// Its row now, if it has one.
    pub row: Option<Row>,
}

/// What a table holds, in key order.
///
/// It is read a page at a time, each page in a transaction of its own, so that the log doesn't grow
/// while a run goes on. Memory is bounded by a page of 1,024 rows.
#[derive(Debug)]
pub struct Paged<T> {
    path: PathBuf,
    connection: Connection,
    page: std::vec::IntoIter<T>,
    first: Box<[u8]>,
    /// The last key read, decodable or not.
    after: Option<Vec<u8>>,
    ended: bool,
    skipped: u64,
}

/// What can be read so.
pub trait Tabled: Sized {
    /// Which columns of what are read in a file of a format version, up to the condition.
    fn selected(version: i64) -> String;
    /// The column by whose order they are read.
    const KEY: (&'static str, usize);
    /// Decodes one; `None` where what stands there is none.
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
            // One that can't be decoded is none: its entry is compared anew.
            row: if has_row { row::decode(row) } else { None },
        })
    }
}

impl<T: Tabled> Paged<T> {
    /// Begins to read, from the key `first` on.
    pub(super) fn new(path: PathBuf, connection: Connection, first: &[u8]) -> Self {
        let page = Vec::new().into_iter();
        Self { path, connection, page, first: first.into(), after: None, ended: false, skipped: 0 }
    }

    /// How many rows were passed over because they can't be decoded: each costs a comparison of its
    /// entry as if it were new.
    #[cfg(test)]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next row, or the database's own word for why it can't be read.
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
        // Another process may have made it one of this version since the last page.
        let selected = T::selected(pragma(&self.connection, "user_version")?);
        let query = format!("{selected} WHERE {key} {from} ?1 ORDER BY {key} LIMIT {PAGE}");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = statement.query([self.after.as_deref().unwrap_or(&self.first)])?;
        let mut page = Vec::with_capacity(PAGE);
        let mut count = 0;
        while let Some(row) = found.next()? {
            count += 1;
            let after = self.after.get_or_insert_default();
            after.clear();
            after.extend_from_slice(row.get_ref(column)?.as_bytes().unwrap_or_default());
            match T::decode(row) {
                Some(row) => page.push(row),
                None => self.skipped += 1,
            }
        }
        self.ended = count < PAGE;
        self.page = page.into_iter();
        Ok(())
    }
}

impl<T: Tabled> Iterator for Paged<T> {
    type Item = Result<T, Error>;

    /// The next row. After an error, nothing: that the rows ended is then not known.
    fn next(&mut self) -> Option<Self::Item> {
        self.read().map_err(|error| failed(&self.path, "read", error)).transpose()
    }
}
