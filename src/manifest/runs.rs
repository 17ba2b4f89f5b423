//! Runs, as the state records them.

use super::row::{self, RunNumber};
use crate::model::{RunId, Timestamp, Totals, Verdict};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

/// What tells a source's root from another one mounted in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIdentity {
    /// The inode of the root directory.
    pub inode: u64,
    /// The type of its file system: `f_type` of statfs(2).
    pub file_system: u64,
}

/// One run, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub number: RunNumber,
    /// Its id.
    pub id: RunId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs, or when it was killed.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// What it counted.
    pub totals: Option<Totals>,
    /// Its options, as the JSON that [`State::begin_run`](super::State::begin_run) was given.
    pub options: String,
    /// The source's root, where the run's deletions were allowed.
    pub root: Option<RootIdentity>,
}

pub(super) fn latest_run(
    connection: &Connection,
    condition: &str,
) -> rusqlite::Result<Option<RunRecord>> {
    let query = format!(
        "SELECT number, id, started, ended, verdict, totals, options, root FROM runs \
         WHERE {condition} ORDER BY number DESC LIMIT 1"
    );
    let run = connection.query_row(&query, [], |row| {
        let verdict: Option<String> = row.get(4)?;
        Ok(RunRecord {
            number: RunNumber(row.get(0)?),
            id: RunId(row.get(1)?),
            started: row::timestamp(row.get(2)?),
            ended: row.get::<_, Option<i64>>(3)?.map(row::timestamp),
            verdict: verdict.map(|text| from_json(4, &format!("\"{text}\""))).transpose()?,
            totals: row.get::<_, Option<String>>(5)?.map(|t| from_json(5, &t)).transpose()?,
            options: row.get(6)?,
            root: row.get::<_, Option<String>>(7)?.map(|t| from_json(7, &t)).transpose()?,
        })
    });
    run.optional()
}

fn from_json<'a, T: Deserialize<'a>>(column: usize, text: &'a str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}
