//! Reading rows only as far as it takes to see that an entry is unchanged.

use super::State;
use super::pages::{Paged, Tabled};
use crate::manifest::database::{connect, failed};
use crate::manifest::row::{self, FileFacts, FileRow, Row, columns};
use crate::model::{EntryKind, Error, Stamp};

/// So many rows are looked at before it is decided how those that follow are read.
const SAMPLE: u32 = 1024;
/// The most rows of a sample that are read one by one: if more are wanted whole, so probably are
/// those that follow, and all are decoded at once.
const READ_ONE_BY_ONE: u32 = SAMPLE / 8;

/// A row that is decoded as far as necessary.
#[derive(Debug)]
pub struct LazyRow(Decoded);

#[derive(Debug)]
enum Decoded {
    File(FileRow),
    Whole(Box<Row>),
}

impl LazyRow {
    /// Returns the key.
    pub fn key(&self) -> &[u8] {
        match &self.0 {
            Decoded::File(file) => file.key(),
            Decoded::Whole(row) => row.key.as_bytes(),
        }
    }

    /// Returns what is recorded of a regular file that has nothing that only few have.
    pub fn file(&self) -> Option<FileFacts> {
        match &self.0 {
            Decoded::File(file) => Some(file.facts),
            Decoded::Whole(row) => {
                (row.kind == EntryKind::File && row.extras.is_none()).then(|| {
                    let Row { metadata, from, source_racy, looked, .. } = **row;
                    FileFacts { metadata, from, source_racy, looked }
                })
            }
        }
    }

    /// Returns whether these stamps, of a file system each, are the recorded ones to the bit.
    pub fn has_stamps(&self, source: &Stamp, target: &Stamp) -> bool {
        match &self.0 {
            Decoded::File(file) => file.has_stamps(source, target),
            Decoded::Whole(row) => {
                source.inode().is_some() && (&row.source, &row.target) == (source, target)
            }
        }
    }

    fn whole(row: &rusqlite::Row<'_>) -> Option<Self> {
        row::decode(row).map(|row| Self(Decoded::Whole(Box::new(row))))
    }
}

#[cfg(test)]
impl From<Row> for LazyRow {
    fn from(row: Row) -> Self {
        Self(Decoded::Whole(Box::new(row)))
    }
}

impl Tabled for LazyRow {
    fn selected(version: i64) -> String {
        format!("SELECT {} FROM entries", columns(version))
    }

    const KEY: (&'static str, usize) = ("key", 0);

    fn decode(row: &rusqlite::Row<'_>) -> Option<Self> {
        match FileRow::decode(row) {
            Some(file) => Some(Self(Decoded::File(file))),
            None => Self::whole(row),
        }
    }
}

/// The rows of a state in key order, the next of which is looked at before it is taken or left.
#[derive(Debug)]
pub struct LazyRows {
    rows: Paged<LazyRow>,
    next: Option<LazyRow>,
    /// How many rows of the sample were looked at, and how many taken.
    looked_at: u32,
    taken: u32,
}

impl LazyRows {
    /// Returns the next row, once the first was advanced to.
    pub fn next(&self) -> Option<&LazyRow> {
        self.next.as_ref()
    }

    /// Goes on to the next row.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn advance(&mut self) -> Result<(), Error> {
        self.looked_at += 1;
        if self.looked_at >= SAMPLE {
            let most_are_taken = self.taken > READ_ONE_BY_ONE;
            self.rows.decode = if most_are_taken { LazyRow::whole } else { LazyRow::decode };
            (self.looked_at, self.taken) = (0, 0);
        }
        self.next = self.rows.next().transpose()?;
        Ok(())
    }

    /// Takes the next row whole, and goes on to the one after it; `None` also if it can't be
    /// decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn take(&mut self) -> Result<Option<Row>, Error> {
        let Some(LazyRow(row)) = self.next.take() else { return Ok(None) };
        let row = match row {
            Decoded::Whole(row) => {
                self.taken += u32::from(row.kind == EntryKind::File);
                Some(*row)
            }
            Decoded::File(file) => {
                self.taken += 1;
                let row = self.rows.one(file.key());
                row.map_err(|error| failed(&self.rows.path, "read", error))?
            }
        };
        self.advance()?;
        Ok(row)
    }
}

impl State {
    /// Streams the rows in key order, as [`State::rows`] does, for a run of which most find nothing
    /// changed.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the file can't be opened again.
    pub fn lazy_rows(&self) -> Result<LazyRows, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("read", error))?;
        let rows = Paged::new(self.path.clone(), connection, b"");
        Ok(LazyRows { rows, next: None, looked_at: 0, taken: 0 })
    }
}
