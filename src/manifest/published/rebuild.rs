//! Making a state of what was published.

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
/// Rows that are committed together.
const BATCH: u64 = 50_000;

/// Fills a new state with a published manifest of its target, which becomes what was published last;
/// how many rows that were. `key` is the one that it was found to be signed with, where one was asked
/// for. After an error the state is empty.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when the manifest can't be used or the
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
    // Numbered from the latest down, so that the one to come follows it, and those of one source
    // its latest.
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
