//! Attributes that entries of the target don't have themselves.

use super::{IS_LISTED, State};
use crate::manifest::RunRecord;
use crate::manifest::row::Row;
use crate::model::{Apart, Attributes, AttributesDigest, Error, Extras};
use rusqlite::{OptionalExtension as _, params};
use std::collections::HashSet;
use std::sync::Arc;

impl State {
    /// Returns whether rows tell of entries what the target doesn't have. Costs a look at each row.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn knows_more_than_target(&self) -> Result<bool, Error> {
        // The metadata that was meant: a bit of the second byte, which another of the first says to
        // be there (`Extras::encode`).
        let any = "SELECT EXISTS (
            SELECT 1 FROM entries WHERE substr(extras, 2, 1) >= x'80'
            AND instr('2367ABEF', substr(hex(substr(extras, 1, 1)), 1, 1)) > 0)";
        Ok(self.has_attributes_table()? && (self.keeps_attributes()? || self.ask(any)?))
    }

    /// Returns whether attributes are kept here that entries of the target lack.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn keeps_attributes(&self) -> Result<bool, Error> {
        let any = "SELECT EXISTS (SELECT 1 FROM attributes)";
        Ok(self.has_attributes_table()? && self.ask(any)?)
    }

    /// Files of earlier versions lack the table.
    fn has_attributes_table(&self) -> Result<bool, Error> {
        self.ask("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'attributes')")
    }

    fn ask(&self, query: &str) -> Result<bool, Error> {
        let answer = self.connection.query_row(query, [], |row| row.get(0));
        answer.map_err(|error| self.failed("read", error))
    }

    /// Returns the source's latest run that did everything.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn last_complete_run(&self) -> Result<Option<RunRecord>, Error> {
        self.run_of_source(&format!("verdict = 'complete' AND NOT {IS_LISTED}"))
    }

    /// Loads the attributes that a row's entry doesn't have itself. Where they are lost, so is what
    /// the row says of them.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub fn load_attributes(&self, row: &mut Row) -> Result<(), Error> {
        let Some(Extras { attributes, apart: apart @ Apart::Recorded, .. }) =
            row.extras.as_deref_mut()
        else {
            return Ok(());
        };
        let found = attributes.map(|digest| self.attributes(digest)).transpose()?;
        *apart = match found.flatten() {
            Some(found) => Apart::Loaded(Arc::new(found)),
            None => Apart::Nothing,
        };
        Ok(())
    }

    fn attributes(&self, digest: AttributesDigest) -> Result<Option<Attributes>, Error> {
        let query = "SELECT value FROM attributes WHERE digest = ?1";
        let read = || {
            let mut statement = self.connection.prepare_cached(query)?;
            statement.query_row([&digest.0[..]], |row| row.get::<_, Vec<u8>>(0)).optional()
        };
        let value = read().map_err(|error| self.failed("read", error))?;
        let found = value.and_then(|value| Attributes::decode(&value));
        Ok(found.filter(|found| found.digest() == Some(digest)))
    }

    /// Returns whether any attributes are [private](Attributes::are_private).
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be read.
    pub(super) fn has_private_attributes(&self) -> Result<bool, Error> {
        let query = "SELECT EXISTS (SELECT 1 FROM attributes WHERE is_private)";
        let any = self.connection.query_row(query, [], |row| row.get(0));
        any.map_err(|error| self.failed("read", error))
    }

    /// Removes the attributes that no row refers to: all but those with these digests.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written.
    pub fn keep_attributes(&self, used: &HashSet<AttributesDigest>) -> Result<(), Error> {
        let write = || {
            let transaction = self.connection.unchecked_transaction()?;
            {
                let mut all = transaction.prepare("SELECT digest FROM attributes")?;
                let digests = all.query_map([], |row| row.get::<_, [u8; 16]>(0))?;
                let digests = digests.collect::<rusqlite::Result<Vec<_>>>()?;
                let mut remove = transaction.prepare("DELETE FROM attributes WHERE digest = ?1")?;
                for digest in digests {
                    if !used.contains(&AttributesDigest(digest)) {
                        remove.execute(params![&digest[..]])?;
                    }
                }
            }
            transaction.commit()
        };
        write().map_err(|error| self.failed("write", error))
    }
}
