//! Rebuilding a state from a published manifest.

use super::head::Publication;
use super::merge::Merged;
use super::reader::ManifestReader;
use crate::manifest::keys::PublicKey;
use crate::manifest::{RunNumber, State};
use crate::model::Error;
use std::cmp::Reverse;
use std::collections::HashMap;

/// The number of the run that published.
const LATEST: RunNumber = RunNumber(1 << 20);
/// Rows committed together.
const BATCH: u64 = 50_000;

/// Fills a new state with the target's published manifest, which becomes its last publication;
/// returns the number of rows. `key` is the one that its signature was verified with, if that was
/// requested. After an error the state is empty.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the manifest can't be used or the
/// state can't be written.
pub fn rebuild(
    state: &State,
    reader: &ManifestReader<'_>,
    publication: &Publication,
    key: Option<&PublicKey>,
) -> Result<u64, Error> {
    let filled = fill(state, reader, publication, key);
    if filled.is_err() {
        state.clear()?;
    }
    filled
}

fn fill(
    state: &State,
    reader: &ManifestReader<'_>,
    publication: &Publication,
    key: Option<&PublicKey>,
) -> Result<u64, Error> {
    let head = &publication.head;
    let mut writer = state.writer()?;
    // Runs are numbered from the latest down, so that the next run follows it, and runs of one
    // source precede its latest.
    let mut told = head.sources();
    told.sort_by_key(|source| (source.run != head.run, Reverse(source.started)));
    let mut runs = HashMap::new();
    for source in told {
        let number = RunNumber(LATEST.0 - runs.len() as i64);
        runs.insert(source.run, (number, source.number));
    }
    let mut count = 0;
    for row in Merged::of(reader, head)? {
        let (mut row, run) = row?;
        let number = RunNumber(LATEST.0 - runs.len() as i64);
        (row.run, _) = *runs.entry(run).or_insert((number, row.from));
        writer.put(&row)?;
        count += 1;
        if count % BATCH == 0 {
            writer.commit()?;
        }
    }
    writer.commit()?;
    state.set_rebuilt(publication, &runs, key)?;
    Ok(count)
}
