//! What the state records about publications.

use super::pages::Changes;
use super::{Access, IMPORTED, State, connect};
use crate::manifest::keys::PublicKey;
use crate::manifest::published::{Publication, RecordedSource};
use crate::manifest::row::{RunNumber, SourceNumber, nanoseconds};
use crate::manifest::{ManifestMode, RecordedOptions, RunRecord};
use crate::model::{EntryKind, Error, ErrorKind, RunId};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::collections::HashMap;

/// The name of the last publication in the table `meta`.
pub(super) const PUBLISHED: &str = "published";
/// The name in the table `meta` of the key that verified the signature of an imported publication;
/// its value is empty if none was required.
pub(super) const TAKEN_OVER: &str = "taken_over";
/// The name in the table `meta` of the damage found in the last publication.
const DISTRUSTED: &str = "distrusted";
/// The name in the table `meta` of the mode that a user requested, in octal digits.
const MODE: &str = "manifest_mode";
/// The name in the table `meta` of the flag that sources have other numbers here than in the
/// published manifest.
pub(super) const RENUMBERED: &str = "renumbered";
/// Sets a value in the table `meta`.
pub(super) const PUT: &str = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";

/// Which rows to consider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSelection {
    /// All rows.
    All,
    /// The rows of keys that changed since the last publication.
    Changes,
}

impl State {
    /// Returns the last publication.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn published(&self) -> Result<Option<Publication>, Error> {
        // An invalid value is treated as missing: everything is published again.
        Ok(self.meta(PUBLISHED)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Returns whether a key may sign the state's content: it was recorded here, or imported from a
    /// publication signed with the same key.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn is_for(&self, key: &PublicKey) -> Result<bool, Error> {
        Ok(self.meta(TAKEN_OVER)?.is_none_or(|signed| signed == key.to_string()))
    }

    /// Returns the damage that a verification found in the last publication, so that it has to be
    /// rewritten.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn distrusted(&self) -> Result<Option<Error>, Error> {
        Ok(self.meta(DISTRUSTED)?.map(|fault| Error::new(ErrorKind::Damaged, fault)))
    }

    /// Returns the number of rows from other sources than the state's.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn rows_of_others(&self) -> Result<u64, Error> {
        let query = "SELECT count(*) FROM entries WHERE from_source <> ?1";
        let count =
            self.connection.query_row(query, [self.number()?.0], |row| row.get::<_, i64>(0));
        count.map(|count| count as u64).map_err(|error| self.failed("read", error))
    }

    /// Returns whether sources have other numbers here than in the last publication, so that it
    /// can't be extended.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn is_renumbered(&self) -> Result<bool, Error> {
        Ok(self.meta(RENUMBERED)?.is_some())
    }

    /// Records that the last publication is damaged.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn distrust(&self, fault: &Error) -> Result<(), Error> {
        let put = self.connection.execute(PUT, [DISTRUSTED, &fault.message]);
        put.map(drop).map_err(|error| self.failed("write", error))
    }

    /// Returns the mode that a user requested for published files, in this run or an earlier one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn manifest_mode(&self) -> Result<Option<ManifestMode>, Error> {
        let mode = self.meta(MODE)?.and_then(|mode| u32::from_str_radix(&mode, 8).ok());
        Ok(mode.and_then(ManifestMode::new))
    }

    /// Records the mode that a user requested, for later runs.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn set_manifest_mode(&self, mode: ManifestMode) -> Result<(), Error> {
        let put = self.connection.execute(PUT, [MODE, &mode.to_string()]);
        put.map(drop).map_err(|error| self.failed("write", error))
    }

    /// Narrows a mode so that it reveals nothing that is closed to a class of users: the names in a
    /// directory that they can't list, the digest of a file that they can't read, attributes that
    /// only root can. `of` selects the rows; the manifest's group is `gid`.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn narrow(
        &self,
        mode: ManifestMode,
        gid: u32,
        of: RowSelection,
    ) -> Result<ManifestMode, Error> {
        let rows = match of {
            RowSelection::All => "entries",
            RowSelection::Changes => "changed JOIN entries ON entries.key = changed.key",
        };
        // The permissions of a class of users, if an entry belongs to another group.
        let needed = format!("CASE kind WHEN {} THEN 5 ELSE 4 END", EntryKind::Directory.code());
        let (group, others) = (format!("CASE gid WHEN {gid} THEN mode / 8 ELSE mode END"), "mode");
        let open = |class: &str| format!("coalesce(min(({class}) & {needed} = {needed}), TRUE)");
        let query = format!(
            "SELECT {}, {}, EXISTS (SELECT 1 FROM sources WHERE name = ?1) FROM {rows} \
             WHERE kind <> {}",
            open(&group),
            open(others),
            EntryKind::Symlink.code()
        );
        let open = self.connection.query_row(&query, [IMPORTED], |row| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?))
        });
        let (group, others, imported) = open.map_err(|error| self.failed("read", error))?;
        // An imported list has no directories.
        if imported || self.has_private_attributes()? {
            return Ok(ManifestMode::PRIVATE);
        }
        let mode = if group { mode } else { mode.without_group() };
        Ok(if others { mode } else { mode.without_others() })
    }

    fn meta(&self, name: &str) -> Result<Option<String>, Error> {
        let query = "SELECT value FROM meta WHERE name = ?1";
        let value = self.connection.query_row(query, [name], |row| row.get(0));
        value.optional().map_err(|error| self.failed("read", error))
    }

    /// Returns the number of keys that changed since the last publication.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn changed(&self) -> Result<u64, Error> {
        let query = "SELECT count(*) FROM changed";
        let count = self.connection.query_row(query, [], |row| row.get::<_, i64>(0));
        count.map(|count| count as u64).map_err(|error| self.failed("read", error))
    }

    /// Streams the keys that changed since the last publication.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the file can't be opened again.
    pub fn changes(&self) -> Result<Changes, Error> {
        let connection =
            connect(&self.path, self.access).map_err(|error| self.failed("read", error))?;
        Ok(Changes::new(self.path.clone(), connection, b""))
    }

    /// Returns the sources of recorded runs by number, with the latest run of each.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be read.
    pub fn recorded_sources(&self) -> Result<Vec<RecordedSource>, Error> {
        let recorded = |(number, run)| {
            let RunRecord { id: run, source, started, verdict, options, .. } = run;
            let options = RecordedOptions::decode(&options)?;
            Ok(RecordedSource { number, source, run, started, verdict, options })
        };
        self.last_runs()?.into_iter().map(recorded).collect()
    }

    /// Records that the whole content of the state is published.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn set_published(&self, publication: &Publication) -> Result<(), Error> {
        self.publish(publication, |_| Ok(()))
    }

    /// Records that the whole content of the state came from a publication, whose signature was
    /// verified with `key` if that was required. `runs` are the runs that rows refer to, and those
    /// that the publication lists, whose sources keep their numbers; the publication's own run is
    /// the latest.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn set_rebuilt(
        &self,
        publication: &Publication,
        runs: &HashMap<RunId, (RunNumber, SourceNumber)>,
        key: Option<&PublicKey>,
    ) -> Result<(), Error> {
        let head = &publication.head;
        let told: HashMap<_, _> =
            head.sources().into_iter().map(|told| (told.run.clone(), told)).collect();
        let options = head.options.encode()?;
        let totals = serde_json::to_string(&head.totals).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot encode the run's record").because(error)
        })?;
        let mut records = Vec::with_capacity(runs.len());
        for (id, (number, source)) in runs {
            let is_latest = *id == head.run;
            let told = told.get(id);
            let options = told.map_or(Ok(options.clone()), |told| told.options.encode())?;
            let started = nanoseconds(told.map_or(head.started, |told| told.started));
            let verdict = told.and_then(|told| told.verdict).map(|verdict| verdict.to_string());
            let ended = verdict.as_ref().map(|_| nanoseconds(head.published));
            let totals = is_latest.then_some(&totals);
            records.push((number.0, &id.0, source.0, started, ended, verdict, totals, options));
        }
        let key = key.map(PublicKey::to_string).unwrap_or_default();
        self.publish(publication, |transaction| {
            transaction.execute(PUT, [TAKEN_OVER, &key])?;
            transaction.execute("DELETE FROM sources", [])?;
            for told in told.values() {
                let insert = "INSERT INTO sources (number, name) VALUES (?1, ?2)";
                transaction.execute(insert, params![told.number.0, told.source])?;
            }
            let insert = "INSERT INTO runs \
                 (number, id, source, started, ended, verdict, totals, options) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            for record in records {
                transaction.execute(insert, record)?;
            }
            Ok(())
        })
    }

    /// Deletes all rows and the records of publications.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn clear(&self) -> Result<(), Error> {
        let write = || {
            let transaction = self.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM entries", [])?;
            transaction.execute("DELETE FROM links", [])?;
            transaction.execute("DELETE FROM attributes", [])?;
            transaction.execute("DELETE FROM changed", [])?;
            let delete = "DELETE FROM meta WHERE name IN (?1, ?2, ?3, ?4)";
            transaction.execute(delete, [PUBLISHED, TAKEN_OVER, DISTRUSTED, RENUMBERED])?;
            transaction.commit()
        };
        write().map_err(|error| self.failed("write", error))
    }

    /// Deletes the rows from the source and the records of publications, so that the next
    /// publication is a full one.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] if the state can't be written.
    pub fn clear_source(&self) -> Result<(), Error> {
        let number = self.number()?;
        let write = || {
            let transaction = self.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM entries WHERE from_source = ?1", [number.0])?;
            let delete = "DELETE FROM links WHERE key NOT IN (SELECT key FROM entries)";
            transaction.execute(delete, [])?;
            transaction.execute("DELETE FROM changed", [])?;
            transaction.execute("DELETE FROM meta WHERE name = ?1", [PUBLISHED])?;
            transaction.commit()
        };
        write().map_err(|error| self.failed("write", error))
    }

    /// Returns the id of a run.
    ///
    /// # Errors
    /// [`ErrorKind::Manifest`] when it can't be read, or there is no such run.
    pub fn run_id(&self, number: RunNumber) -> Result<RunId, Error> {
        let query = "SELECT id FROM runs WHERE number = ?1";
        let id = self.connection.query_row(query, [number.0], |row| row.get(0));
        id.map(RunId).map_err(|error| self.failed("read", error))
    }

    fn publish(
        &self,
        publication: &Publication,
        more: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        debug_assert!(self.access == Access::Write, "only a run publishes");
        let text = serde_json::to_string(publication).map_err(|error| {
            Error::new(ErrorKind::Manifest, "cannot encode what was published").because(error)
        })?;
        let write = || {
            let transaction = self.connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM changed", [])?;
            let delete = "DELETE FROM meta WHERE name IN (?1, ?2)";
            transaction.execute(delete, [DISTRUSTED, RENUMBERED])?;
            transaction.execute(PUT, [PUBLISHED, &text])?;
            more(&transaction)?;
            transaction.commit()
        };
        write().map_err(|error| self.failed("write", error))
    }
}
