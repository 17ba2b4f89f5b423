//! Recording which files were verified, beside the hashing.

use super::VerifyObserver;
use crate::manifest::{State, Verified, Writer};
use crate::model::{Error, Notice};
use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};

/// Files recorded together at the most, and what may wait for them: a transaction's cost is nothing
/// among them, and their keys fit any memory.
pub(super) const BATCH: usize = 4_096;
/// How long the first of a batch waits: no more is lost when the verification is killed.
const INTERVAL: Duration = Duration::from_secs(1);

/// What records in a state; `None` where nothing can be recorded, which is told.
pub(super) fn writer(state: Option<&State>, observer: &dyn VerifyObserver) -> Option<Writer> {
    state.map(State::writer).transpose().unwrap_or_else(|error| {
        tell_not_recorded(&error, observer);
        None
    })
}

/// Says that it is not recorded which files were verified, and why; the verification goes on.
pub(super) fn tell_not_recorded(error: &Error, observer: &dyn VerifyObserver) {
    observer.notice(&Notice::NotRecorded { cause: error.sentence() });
}

/// Records what comes, until nobody sends any more. Each batch is a transaction of its own that
/// waits for nothing but the database, so that a run that writes there meanwhile waits for
/// milliseconds.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) when it can't be written: what comes
/// then is recorded no more.
pub(super) fn record(mut writer: Writer, verified: &Receiver<Verified>) -> Result<(), Error> {
    let mut batch = Vec::new();
    while let Ok(first) = verified.recv() {
        batch.push(first);
        let due = Instant::now() + INTERVAL;
        while batch.len() < BATCH
            && let Ok(next) = verified.recv_deadline(due)
        {
            batch.push(next);
        }
        // In the order of the table.
        batch.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for verified in batch.drain(..) {
            writer.set_verified(&verified)?;
        }
        writer.commit()?;
    }
    Ok(())
}
