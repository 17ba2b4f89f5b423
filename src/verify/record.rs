//! Recording of verified files, beside the hashing.

use crate::manifest::{State, Verified, Writer};
use crate::model::{Error, Notice, Observer};
use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};

/// The most files in a batch, and the most that wait for one. With so many, the cost of a
/// transaction is negligible, and their keys take little memory.
pub(super) const BATCH: usize = 4_096;
/// The longest time that a file waits to be recorded: a killed verification loses no more.
const INTERVAL: Duration = Duration::from_secs(1);

/// Returns a writer to the state; `None` if nothing can be recorded, which is reported.
pub(super) fn writer(state: Option<&State>, observer: &dyn Observer) -> Option<Writer> {
    state.map(State::writer).transpose().unwrap_or_else(|error| {
        report_not_recorded(&error, observer);
        None
    })
}

/// Reports that verified files aren't recorded, and why. The verification goes on.
pub(super) fn report_not_recorded(error: &Error, observer: &dyn Observer) {
    observer.notice(Notice::NotRecorded { cause: error.sentence() });
}

/// Records verified files until all senders are gone. Each batch is a transaction that waits only
/// for the database, so that a run that writes at the same time waits for milliseconds.
///
/// # Errors
/// [`ErrorKind::Manifest`](crate::model::ErrorKind::Manifest) if the state can't be written;
/// nothing more is recorded then.
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
        // The order of the table.
        batch.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for verified in batch.drain(..) {
            writer.set_verified(&verified)?;
        }
        writer.commit()?;
    }
    Ok(())
}
