//! The recorded rows as the join reads them: the next one is looked at before it is taken.

use crate::manifest::{Row, SourceNumber};
use crate::model::{Entry, Error};

/// The rows that were recorded for the target.
pub struct RecordedRows<R> {
    /// Rows in key order.
    pub rows: R,
    /// The source of this run: rows from it describe the source as well.
    pub from: SourceNumber,
}

/// Rows in key order, of which the next one is looked at before it is taken or left.
pub trait RowCursor {
    /// Returns the key of the next row, once the first was advanced to.
    fn key(&self) -> Option<&[u8]>;

    /// Returns whether the next row shows that its file is unchanged on both sides, so that nothing
    /// is to be done about it and nothing else of the row matters.
    fn shows_unchanged(&self, source: &Entry, target: &Entry) -> bool;

    /// Goes on to the next row.
    ///
    /// # Errors
    /// If the rows can't be read.
    fn advance(&mut self) -> Result<(), Error>;

    /// Takes the next row, and goes on to the one after it; `None` also for a row that can't be
    /// decoded.
    ///
    /// # Errors
    /// If the rows can't be read.
    fn take(&mut self) -> Result<Option<Row>, Error>;
}

/// Rows of an iterator, each of which is taken whole.
pub struct ReadAhead<I> {
    rows: I,
    next: Option<Row>,
}

impl<I> RecordedRows<I> {
    /// Makes rows of an iterator rows that a join can read.
    pub fn read_ahead(self) -> RecordedRows<ReadAhead<I>> {
        RecordedRows { rows: ReadAhead { rows: self.rows, next: None }, from: self.from }
    }
}

impl<I: Iterator<Item = Result<Row, Error>>> RowCursor for ReadAhead<I> {
    fn key(&self) -> Option<&[u8]> {
        self.next.as_ref().map(|row| row.key.as_bytes())
    }

    fn shows_unchanged(&self, _source: &Entry, _target: &Entry) -> bool {
        false
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.next = self.rows.next().transpose()?;
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Row>, Error> {
        let row = self.next.take();
        self.advance()?;
        Ok(row)
    }
}

impl<R: RowCursor + ?Sized> RowCursor for Box<R> {
    fn key(&self) -> Option<&[u8]> {
        (**self).key()
    }

    fn shows_unchanged(&self, source: &Entry, target: &Entry) -> bool {
        (**self).shows_unchanged(source, target)
    }

    fn advance(&mut self) -> Result<(), Error> {
        (**self).advance()
    }

    fn take(&mut self) -> Result<Option<Row>, Error> {
        (**self).take()
    }
}
