//! Recorded rows of which those of unchanged files are left undecoded.

use super::{Policy, RowCursor};
use crate::manifest::{LazyRows, Row};
use crate::model::{Entry, EntryKind, Error, Metadata};

/// The rows of a state, of which those of unchanged files are left.
pub struct JudgedRows<'a> {
    rows: LazyRows,
    policy: &'a Policy,
    achievable: &'a dyn Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
}

impl<'a> JudgedRows<'a> {
    /// Reads rows by the rules of a policy; `achievable` is that of [`Policy::decide`].
    pub fn new(
        rows: LazyRows,
        policy: &'a Policy,
        achievable: &'a dyn Fn(&Metadata, EntryKind, Option<&Metadata>) -> Metadata,
    ) -> Self {
        Self { rows, policy, achievable }
    }
}

impl RowCursor for JudgedRows<'_> {
    fn key(&self) -> Option<&[u8]> {
        Some(self.rows.next()?.key())
    }

    fn shows_unchanged(&self, source: &Entry, target: &Entry) -> bool {
        let row = self.rows.next();
        row.is_some_and(|row| self.policy.is_unchanged(source, target, row, self.achievable))
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.rows.advance()
    }

    fn take(&mut self) -> Result<Option<Row>, Error> {
        self.rows.take()
    }
}
