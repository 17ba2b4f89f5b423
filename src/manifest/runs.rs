//! Runs as recorded in the state.

use super::row::{self, RunNumber};
use crate::backend::local::FileSystemId;
use crate::model::stamp::NO_NUMBER;
use crate::model::{RunId, Timestamp, Totals, Verdict};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

/// Identifies a source's root, to notice another one mounted in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIdentity {
    /// The inode number of the root directory; 0 if it identifies nothing.
    pub inode: u64,
    /// The type of its file system: `f_type` of statfs(2).
    pub file_system: u64,
    /// The identity of the file system; not recorded by earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FileSystemId>,
}

/// Whether a root is the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Nothing indicates another root.
    Same,
    /// Its file system has another id, which may be the same file system after a restart.
    Unsure,
    /// It is another root.
    Other,
}

impl RootIdentity {
    /// Compares the root with that of an earlier run.
    pub fn compare(&self, before: &Self) -> Sameness {
        use FileSystemId::Passing;
        let is_numbered = self.inode != NO_NUMBER && before.inode != NO_NUMBER;
        let is_other = is_numbered && self.inode != before.inode;
        if is_other || self.file_system != before.file_system {
            return Sameness::Other;
        }
        match (&self.id, &before.id) {
            (_, None) => Sameness::Same,
            (now, before) if now == before => Sameness::Same,
            (None | Some(Passing(_)), _) | (_, Some(Passing(_))) => Sameness::Unsure,
            // One is the UUID, the other an id derived from it.
            (Some(now), Some(before))
                if std::mem::discriminant(now) != std::mem::discriminant(before) =>
            {
                Sameness::Unsure
            }
            _ => Sameness::Other,
        }
    }
}

/// Runs that were killed or failed before they recorded everything they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The start of the first such run.
    pub since: Timestamp,
    /// The start of the first such run that may have deleted entries that only the target had, if
    /// any may.
    pub deletes_since: Option<Timestamp>,
}

impl CutOff {
    /// Makes the record of runs of which it is unknown whether they deleted entries.
    pub fn of_unknown_runs(since: Timestamp) -> Self {
        Self { since, deletes_since: Some(since) }
    }

    /// Combines these runs with others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let deletes_since = self.deletes_since.into_iter().chain(other.deletes_since).min();
        Self { since: self.since.min(other.since), deletes_since }
    }
}

/// One run, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// The number.
    pub number: RunNumber,
    /// The id.
    pub id: RunId,
    /// The name of its source.
    pub source: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs, or when it was killed.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// Its totals.
    pub totals: Option<Totals>,
    /// Its options, the JSON given to [`State::begin_run`](super::State::begin_run).
    pub options: String,
    /// The source's root, if the run's deletions were allowed.
    pub root: Option<RootIdentity>,
}

pub(super) fn latest_run(
    connection: &Connection,
    condition: &str,
) -> rusqlite::Result<Option<RunRecord>> {
    let query = format!(
        "SELECT {COLUMNS}, name FROM runs JOIN sources ON sources.number = source \
         WHERE {condition} ORDER BY runs.number DESC LIMIT 1"
    );
    let run = connection.query_row(&query, [], |row| decode(row, row.get(8)?));
    run.optional()
}

/// The columns of a run that all versions have, in the order of [`decode`].
pub(super) const COLUMNS: &str = "runs.number, id, started, ended, verdict, totals, options, root";

/// Decodes the run of a source.
pub(super) fn decode(row: &rusqlite::Row<'_>, source: String) -> rusqlite::Result<RunRecord> {
    let verdict: Option<String> = row.get(4)?;
    Ok(RunRecord {
        number: RunNumber(row.get(0)?),
        id: RunId(row.get(1)?),
        source,
        started: row::timestamp(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(row::timestamp),
        verdict: verdict.map(|text| from_json(4, &format!("\"{text}\""))).transpose()?,
        totals: row.get::<_, Option<String>>(5)?.map(|t| from_json(5, &t)).transpose()?,
        options: row.get(6)?,
        root: row.get::<_, Option<String>>(7)?.map(|t| from_json(7, &t)).transpose()?,
    })
}

fn from_json<'a, T: Deserialize<'a>>(column: usize, text: &'a str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_another_by_inode_type_or_uuid_and_unsure_by_an_id_that_passes() {
        let root = |id: Option<FileSystemId>| RootIdentity { inode: 2, file_system: 0xef53, id };
        let uuid = |text: &str| Some(FileSystemId::Uuid(text.to_owned()));
        let fsid = |number| Some(FileSystemId::Fsid(number));
        let born = |nanos| Some(FileSystemId::Born(-7, nanos));
        let passing = |number| Some(FileSystemId::Passing(number));
        for (before, now, expected) in [
            (uuid("a"), uuid("a"), Sameness::Same),
            (uuid("a"), uuid("b"), Sameness::Other),
            (fsid(1), fsid(1), Sameness::Same),
            (fsid(1), fsid(2), Sameness::Other),
            (born(1), born(1), Sameness::Same),
            (born(1), born(2), Sameness::Other),
            (born(1), passing(1), Sameness::Unsure),
            (passing(1), born(1), Sameness::Unsure),
            (passing(1), passing(1), Sameness::Same),
            (passing(1), passing(2), Sameness::Unsure),
            (uuid("a"), passing(1), Sameness::Unsure),
            (passing(1), uuid("a"), Sameness::Unsure),
            (uuid("a"), fsid(1), Sameness::Unsure),
            (fsid(1), None, Sameness::Unsure),
            (None, fsid(1), Sameness::Same),
            (None, passing(1), Sameness::Same),
            (None, None, Sameness::Same),
        ] {
            assert_eq!(
                root(now.clone()).compare(&root(before.clone())),
                expected,
                "{before:?}, {now:?}"
            );
        }
        let unnumbered = RootIdentity { inode: NO_NUMBER, ..root(None) };
        assert_eq!(unnumbered.compare(&root(None)), Sameness::Same);
        assert_eq!(root(None).compare(&unnumbered), Sameness::Same);
        let other = RootIdentity { inode: 3, ..root(None) };
        assert_eq!(other.compare(&root(None)), Sameness::Other);
        let other = RootIdentity { file_system: 1, ..root(fsid(1)) };
        assert_eq!(other.compare(&root(fsid(1))), Sameness::Other);
    }

    #[test]
    fn what_earlier_versions_recorded_of_a_root_is_read() {
        let old: RootIdentity = serde_json::from_str(r#"{"inode":2,"file_system":61267}"#).unwrap();
        assert_eq!(old, RootIdentity { inode: 2, file_system: 0xef53, id: None });
        let new = RootIdentity { id: Some(FileSystemId::Fsid(7)), ..old.clone() };
        let json = serde_json::to_string(&new).unwrap();
        assert_eq!(json, r#"{"inode":2,"file_system":61267,"id":{"fsid":7}}"#);
        assert_eq!(serde_json::from_str::<RootIdentity>(&json).unwrap(), new);
        assert_eq!(new.compare(&old), Sameness::Same);
    }
}
